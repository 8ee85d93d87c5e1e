/* What a core may be opened with. Recovered data came from disk: nothing here is asserted. */
#include "raft/core_private.h"

static int check_start(const struct bnd_core_config *config, struct bnd_error *err) {
    const struct bnd_journal_start *start = &config->start;
    if (start->index == 0) {
        if (config->entries_count > 0 && config->entries[0].index == 1 &&
            config->entries[0].kind != BND_CORE_CONFIGURATION) {
            return BND_FAIL(err, CORRUPT, "group %llu: entry 1 is no configuration",
                            (unsigned long long)config->gid);
        }
        return 0;
    }
    if (start->term == 0 || start->term > config->term || start->config_index == 0 ||
        start->config_index > start->index) {
        return BND_FAIL(err, CORRUPT, "group %llu: start %llu has an impossible term or place",
                        (unsigned long long)config->gid, (unsigned long long)start->index);
    }
    struct bnd_raft_configuration ignored;
    int rv = bnd_raft_configuration_decode(start->config, &ignored, err);
    return rv == 0 ? 0 : BND_WRAP(err, rv, "group %llu: start", (unsigned long long)config->gid);
}

static int check_entry(const struct bnd_core_config *config, size_t place, struct bnd_error *err) {
    const struct bnd_journal_entry *entry = &config->entries[place];
    const struct bnd_journal_entry *before = place > 0 ? entry - 1 : NULL;
    unsigned long long gid = config->gid;
    unsigned long long index = entry->index;
    if (before != NULL && (entry->index != before->index + 1 || entry->term < before->term)) {
        return BND_FAIL(err, CORRUPT, "group %llu: entry %llu of term %llu after %llu of %llu", gid,
                        index, (unsigned long long)entry->term, (unsigned long long)before->index,
                        (unsigned long long)before->term);
    }
    if (entry->term == 0 || entry->term > config->term) {
        return BND_FAIL(err, CORRUPT, "group %llu: entry %llu has term %llu, the group %llu", gid,
                        index, (unsigned long long)entry->term, (unsigned long long)config->term);
    }
    if (entry->index == config->start.index && entry->term != config->start.term) {
        return BND_FAIL(err, CORRUPT, "group %llu: entry %llu contradicts the start", gid, index);
    }
    if (entry->index == config->start.index + 1 && entry->term < config->start.term) {
        return BND_FAIL(err, CORRUPT, "group %llu: entry %llu is older than the start", gid, index);
    }
    struct bnd_raft_configuration ignored;
    switch (entry->kind) {
    case BND_CORE_COMMAND:
    case BND_CORE_BARRIER:
        return 0;
    case BND_CORE_CONFIGURATION: {
        int rv = bnd_raft_configuration_decode(entry->data, &ignored, err);
        return rv == 0 ? 0 : BND_WRAP(err, rv, "group %llu: entry %llu", gid, index);
    }
    default:
        return BND_FAIL(err, CORRUPT, "group %llu: entry %llu is of unknown kind %u", gid, index,
                        entry->kind);
    }
}

int core_check_recovered(const struct bnd_core_config *config, size_t *out_skip,
                         struct bnd_error *err) {
    int rv = check_start(config, err);
    if (rv != 0) {
        return rv;
    }
    size_t count = config->entries_count;
    if (count > 0 &&
        (config->entries[0].index == 0 || config->entries[0].index > config->start.index + 1)) {
        return BND_FAIL(err, CORRUPT, "group %llu: entries begin at %llu, the state ends at %llu",
                        (unsigned long long)config->gid,
                        (unsigned long long)config->entries[0].index,
                        (unsigned long long)config->start.index);
    }
    for (size_t i = 0; i < count; i++) {
        rv = check_entry(config, i, err);
        if (rv != 0) {
            return rv;
        }
    }
    bool below = count > 0 && config->entries[count - 1].index < config->start.index;
    *out_skip = below ? count : 0;
    return 0;
}
