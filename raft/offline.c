/* Reading and rewriting the logs of a stopped node (offline.h). */
#include "raft/offline.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "engine/journal/journal.h"
#include "raft/core.h"
#include "raft/dedupe.h"
#include "raft/entry.h"
#include "raft/tuple.h"

#include <stdio.h>

/* ---- reading
 * ------------------------------------------------------------------------------------------------
 */

struct reading {
    const struct bnd_raft_offline *from;
    int (*each)(void *data, const struct bnd_raft_offline_group *group);
    void *data;
};

static int take_configuration(struct bnd_slice bytes, struct bnd_raft_offline_group *out,
                              struct bnd_error *err) {
    return bytes.len == 0 ? 0 : bnd_raft_configuration_decode(bytes, &out->configuration, err);
}

/* What the entries say, in order: the newest stamp and configuration; each must be readable. */
static int take_entries(const struct bnd_journal_group *recovered,
                        struct bnd_raft_offline_group *out, struct bnd_error *err) {
    for (size_t i = 0; i < recovered->entries_count; i++) {
        const struct bnd_journal_entry *entry = &recovered->entries[i];
        struct entry decoded;
        int rv = 0;
        if (entry->kind == BND_CORE_COMMAND) {
            rv = entry_decode(entry->data, &decoded, err);
            bool newer = rv == 0 && decoded.stamp_ms > out->stamp_ms;
            out->stamp_ms = newer ? decoded.stamp_ms : out->stamp_ms;
        } else if (entry->kind == BND_CORE_CONFIGURATION) {
            rv = take_configuration(entry->data, out, err);
        }
        if (rv != 0) {
            return BND_WRAP(err, rv, "entry %llu", (unsigned long long)entry->index);
        }
        out->last = entry->index;
        out->last_term = entry->term;
    }
    return 0;
}

/* As the host's own check (group.c): the state lies within the log. */
static int check_fit(const struct bnd_journal_group *recovered,
                     const struct bnd_raft_offline_group *group, struct bnd_error *err) {
    uint64_t start = recovered->start.index;
    if (group->applied < start || group->applied > start + recovered->entries_count) {
        return BND_FAIL(err, CORRUPT,
                        "the state holds %llu, the journal what is above %llu up to %llu",
                        (unsigned long long)group->applied, (unsigned long long)start,
                        (unsigned long long)(start + recovered->entries_count));
    }
    uint64_t term = group->applied == start ? recovered->start.term
                                            : recovered->entries[group->applied - start - 1].term;
    if (term != group->applied_term) {
        return BND_FAIL(err, CORRUPT, "index %llu has term %llu in the journal, %llu in the state",
                        (unsigned long long)group->applied, (unsigned long long)term,
                        (unsigned long long)group->applied_term);
    }
    return 0;
}

static int take_group(const struct bnd_raft_offline *from,
                      const struct bnd_journal_group *recovered, struct bnd_raft_offline_group *out,
                      struct bnd_error *err) {
    struct tuple tuple = {0};
    int rv = take_configuration(recovered->start.config, out, err);
    rv = rv != 0 ? rv : tuple_load(from->state, out->slot, false, &tuple, err);
    if (rv != 0) {
        return rv;
    }
    out->applied = tuple.index;
    out->applied_term = tuple.term;
    out->stamp_ms = tuple.stamp_ms;
    if (tuple.configuration.count > 0) {
        out->configuration = tuple.configuration;
    }
    rv = check_fit(recovered, out, err);
    return rv != 0 ? rv : take_entries(recovered, out, err);
}

static int read_group(void *data, const struct bnd_journal_group *recovered) {
    const struct reading *reading = data;
    struct bnd_error why = {0};
    bool other = reading->from->is_other != NULL && reading->from->is_other(recovered->gid);
    if (!recovered->exists || other) {
        return 0;
    }
    struct bnd_raft_offline_group group = {.gid = recovered->gid,
                                           .term = recovered->term,
                                           .slot = recovered->start.slot,
                                           .last = recovered->start.index,
                                           .last_term = recovered->start.term};
    group.status = take_group(reading->from, recovered, &group, &why);
    (void)snprintf(group.why, sizeof group.why, "%s", why.message);
    return reading->each(reading->data, &group);
}

int bnd_raft_offline_each(const struct bnd_raft_offline *from,
                          int (*each)(void *data, const struct bnd_raft_offline_group *group),
                          void *data, uint64_t *out_torn, struct bnd_error *err) {
    struct reading reading = {.from = from, .each = each, .data = data};
    struct bnd_journal_stats stats = {0};
    struct bnd_journal_config config = {.env = from->env,
                                        .dir = from->journal_dir,
                                        .cluster_id = from->cluster_id,
                                        .node_id = from->node_id};
    int rv = bnd_journal_read(&config, read_group, &reading, &stats, err);
    if (rv == 0 && out_torn != NULL) {
        *out_torn = stats.torn_bytes;
    }
    return rv;
}

int bnd_raft_offline_slot_next(const struct bnd_raft_offline *from,
                               const struct bnd_raft_offline_group *groups, size_t count,
                               uint32_t *out, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    struct bnd_slice key = tuple_key(bytes, 0, TUPLE_KEY_SLOT_NEXT, NULL, 0);
    int rv = from->state->ops->get(from->state, BND_CF_RAFT, key, &value);
    if ((rv != 0 && rv != BND_NOTFOUND) || (rv == 0 && value.len != 4)) {
        return bnd_error_set(err, rv == 0 ? BND_CORRUPT : rv, "cannot read the next slot");
    }
    uint32_t next = rv == 0 ? bnd_get_u32(value.data) : 1;
    for (size_t i = 0; i < count; i++) {
        next = groups[i].slot >= next ? groups[i].slot + 1 : next;
    }
    *out = next;
    return 0;
}

/* ---- writing
 * ------------------------------------------------------------------------------------------------
 */

struct recovering {
    struct bnd_journal *journal;
    const struct bnd_raft_recovery *recovery;
    uint64_t *lost_terms; /* of recovery->lost, before */
    uint64_t lsn;         /* of the last record */
    bool over;
    int status;
    struct bnd_error why;
    void (*done)(void *data, int status, const struct bnd_error *err);
    void *data;
};

static void recovering_free(struct recovering *recovering) {
    bnd_free(recovering->lost_terms);
    bnd_free(recovering);
}

static void on_closed(void *data) {
    struct recovering *recovering = data;
    recovering->done(recovering->data, recovering->status, &recovering->why);
    recovering_free(recovering);
}

static void end(struct recovering *recovering, int status, const struct bnd_error *why) {
    if (recovering->over) {
        return;
    }
    recovering->over = true;
    recovering->status = status;
    recovering->why = why == NULL ? (struct bnd_error){0} : *why;
    bnd_journal_close(recovering->journal, on_closed, recovering);
}

static void on_durable(void *owner, uint64_t lsn) {
    struct recovering *recovering = owner;
    if (lsn >= recovering->lsn) {
        end(recovering, 0, NULL);
    }
}

static void on_failed(void *owner, const struct bnd_error *why) {
    end(owner, why->code == 0 ? BND_IO : why->code, why);
}

/* The one command, under a stamp that no entry before it is above. */
static int append_command(struct recovering *recovering, const struct bnd_raft_recovery *recovery,
                          const struct bnd_raft_offline_group *group,
                          const struct bnd_journal_entry *before, uint64_t wall_ms) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    uint64_t stamp_ms = wall_ms > group->stamp_ms ? wall_ms : group->stamp_ms;
    struct entry_operation operation = {.id = {.minter = recovery->minter, .seq = 1},
                                        .low_seq = 1,
                                        .deadline_ms = stamp_ms + DEDUPE_DEADLINE_MS_MAX / 2,
                                        .command = recovery->command};
    entry_begin(&bytes);
    entry_append(&bytes, &operation);
    if (bytes.failed) {
        return BND_NOMEM;
    }
    entry_seal(&bytes, stamp_ms, 1);
    struct bnd_journal_entry entry = {.index = before->index + 1,
                                      .term = before->term,
                                      .kind = BND_CORE_COMMAND,
                                      .data = bnd_buf_slice(&bytes)};
    return bnd_journal_append(recovering->journal, group->gid, &entry, &recovering->lsn);
}

/* A new term, voted for by this node, and this node alone (its entry). */
static int append_configuration(struct recovering *recovering, uint64_t node, uint64_t gid,
                                const struct bnd_journal_entry *sole) {
    int rv = bnd_journal_meta(recovering->journal, gid, sole->term, node, &recovering->lsn);
    return rv != 0 ? rv : bnd_journal_append(recovering->journal, gid, sole, &recovering->lsn);
}

/* One batch for all records, unless there are too many for one (offline.h). */
static int begin_batch(struct recovering *recovering, const struct bnd_raft_recovery *recovery,
                       size_t configuration_bytes) {
    size_t records = 2 * recovery->groups_count + 3 * recovery->lost_count + 1;
    size_t bytes = (recovery->groups_count + recovery->lost_count) * configuration_bytes +
                   ENTRY_HEADER_BYTES + ENTRY_OPERATION_BYTES + recovery->command.len;
    int rv = bnd_journal_together(recovering->journal, records, bytes);
    return rv == BND_TOOBIG ? 0 : rv;
}

static int rewrite(struct recovering *recovering, const struct bnd_raft_offline *from,
                   const struct bnd_raft_recovery *recovery) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    const struct bnd_raft_configuration sole = {.members = {{from->node_id, BND_RAFT_VOTER}},
                                                .count = 1};
    bnd_raft_configuration_encode(&sole, &bytes);
    if (bytes.failed) {
        return BND_NOMEM;
    }
    struct bnd_journal_entry entry = {.kind = BND_CORE_CONFIGURATION,
                                      .data = bnd_buf_slice(&bytes)};
    int rv = begin_batch(recovering, recovery, bytes.len);
    for (size_t i = 0; rv == 0 && i < recovery->groups_count; i++) {
        const struct bnd_raft_offline_group *group = &recovery->groups[i];
        entry.index = group->last + 1;
        entry.term = group->term + 1;
        rv = append_configuration(recovering, from->node_id, group->gid, &entry);
        if (rv == 0 && group->gid == recovery->command_gid && recovery->command.len > 0) {
            rv = append_command(recovering, recovery, group, &entry, bnd_wall_ms(from->env));
        }
    }
    for (size_t i = 0; rv == 0 && i < recovery->lost_count; i++) {
        struct bnd_journal_start start = {.slot = recovery->slot_next + (uint32_t)i};
        entry.index = 1;
        entry.term = recovering->lost_terms[i] + 1;
        rv = bnd_journal_create(recovering->journal, recovery->lost[i], &start, &recovering->lsn);
        rv = rv != 0 ? rv
                     : append_configuration(recovering, from->node_id, recovery->lost[i], &entry);
    }
    return rv;
}

/* A group that was destroyed here keeps its term: one made again goes on above it. */
static int note_term(void *data, const struct bnd_journal_group *group) {
    struct recovering *recovering = data;
    const struct bnd_raft_recovery *recovery = recovering->recovery;
    for (size_t i = 0; i < recovery->lost_count; i++) {
        if (recovery->lost[i] == group->gid) {
            recovering->lost_terms[i] = group->term;
        }
    }
    return 0;
}

static int make_anew(struct recovering *recovering, const struct bnd_raft_anew *anew) {
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < anew->count; i++) {
        struct bnd_journal_start start = {.slot = anew->slot_next + (uint32_t)i};
        uint64_t gid = anew->groups[i].gid;
        struct bnd_journal_floor floor = {.index = anew->groups[i].last,
                                          .term = anew->groups[i].last_term};
        rv = bnd_journal_together(recovering->journal, 2, 0);
        rv = rv != 0 ? rv
                     : bnd_journal_destroy(recovering->journal, gid, &floor, &recovering->lsn);
        rv = rv != 0 ? rv : bnd_journal_create(recovering->journal, gid, &start, &recovering->lsn);
    }
    return rv;
}

static int open_journal(const struct bnd_raft_offline *from, struct recovering *recovering,
                        struct bnd_error *err) {
    struct bnd_journal_config config = {.env = from->env,
                                        .dir = from->journal_dir,
                                        .cluster_id = from->cluster_id,
                                        .node_id = from->node_id,
                                        .owner = recovering,
                                        .durable = on_durable,
                                        .failed = on_failed};
    recovering->lsn = UINT64_MAX;
    return bnd_journal_open(&config, &recovering->journal, err);
}

/* After all records were collected, or one was refused: then nothing of them is on disk. */
static void write_or_end(struct recovering *recovering, int rv) {
    if (rv == 0) {
        bnd_journal_submit(recovering->journal);
        return;
    }
    struct bnd_error why = {0};
    (void)bnd_error_set(&why, rv, "journal: %s", bnd_code_text(rv));
    end(recovering, rv, &why);
}

int bnd_raft_make_anew(const struct bnd_raft_offline *from, const struct bnd_raft_anew *anew,
                       void (*done)(void *data, int status, const struct bnd_error *err),
                       void *data, struct bnd_error *err) {
    struct recovering *recovering = bnd_zalloc(sizeof *recovering);
    if (recovering == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to make groups anew");
    }
    recovering->done = done;
    recovering->data = data;
    int rv = open_journal(from, recovering, err);
    if (rv != 0) {
        bnd_free(recovering);
        return rv;
    }
    bnd_journal_recovered(recovering->journal);
    write_or_end(recovering, make_anew(recovering, anew));
    return 0;
}

int bnd_raft_recover(const struct bnd_raft_offline *from, const struct bnd_raft_recovery *recovery,
                     void (*done)(void *data, int status, const struct bnd_error *err), void *data,
                     struct bnd_error *err) {
    struct recovering *recovering = bnd_zalloc(sizeof *recovering);
    uint64_t *terms = bnd_calloc(recovery->lost_count + 1, sizeof *terms);
    if (recovering == NULL || terms == NULL) {
        bnd_free(recovering);
        bnd_free(terms);
        return BND_FAIL(err, NOMEM, "no memory to recover");
    }
    recovering->recovery = recovery;
    recovering->lost_terms = terms;
    recovering->done = done;
    recovering->data = data;
    int rv = open_journal(from, recovering, err);
    if (rv != 0) {
        recovering_free(recovering);
        return rv;
    }
    rv = bnd_journal_each_group(recovering->journal, note_term, recovering);
    bnd_journal_recovered(recovering->journal);
    rv = rv != 0 ? rv : rewrite(recovering, from, recovery);
    recovering->recovery = NULL; /* borrowed for this call only */
    write_or_end(recovering, rv);
    return 0;
}
