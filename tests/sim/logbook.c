#include "tests/sim/logbook.h"

#include "base/hash.h"
#include "raft/core.h"
#include "tests/sim/memory.h"

#include <inttypes.h>

struct bnd_sim_logged {
    uint64_t index, term; /* term 0: an empty place */
    uint64_t hash;        /* of kind and data */
    uint64_t node;        /* where it was seen first */
};

void bnd_sim_logbook_init(struct bnd_sim_logbook *logbook, uint64_t gid,
                          struct bnd_sim_check *check) {
    *logbook = (struct bnd_sim_logbook){.gid = gid, .check = check};
}

void bnd_sim_logbook_free(struct bnd_sim_logbook *logbook) {
    bnd_sim_free(logbook->committed);
    bnd_sim_free(logbook->logged);
    *logbook = (struct bnd_sim_logbook){0};
}

/* ---- entries
 * ------------------------------------------------------------------------------------------ */

static struct bnd_sim_logged *place_of(struct bnd_sim_logged *places, size_t cap, uint64_t index,
                                       uint64_t term) {
    size_t i = (size_t)((index * UINT64_C(0x9e3779b97f4a7c15) + term) >> 7) & (cap - 1);
    while (places[i].term != 0 && (places[i].index != index || places[i].term != term)) {
        i = (i + 1) & (cap - 1);
    }
    return &places[i];
}

static void grow(struct bnd_sim_logbook *logbook) {
    size_t cap = logbook->logged_cap == 0 ? 1024 : 2 * logbook->logged_cap;
    struct bnd_sim_logged *places = bnd_sim_zalloc(cap * sizeof *places);
    for (size_t i = 0; i < logbook->logged_cap; i++) {
        const struct bnd_sim_logged *old = &logbook->logged[i];
        if (old->term != 0) {
            *place_of(places, cap, old->index, old->term) = *old;
        }
    }
    bnd_sim_free(logbook->logged);
    logbook->logged = places;
    logbook->logged_cap = cap;
}

void bnd_sim_logbook_entry(struct bnd_sim_logbook *logbook, uint64_t node,
                           const struct bnd_journal_entry *entry) {
    if (2 * (logbook->logged_count + 1) > logbook->logged_cap) {
        grow(logbook);
    }
    struct bnd_sim_logged *logged =
        place_of(logbook->logged, logbook->logged_cap, entry->index, entry->term);
    uint64_t hash = bnd_hash64(entry->data, entry->kind);
    if (logged->term == 0) {
        *logged = (struct bnd_sim_logged){entry->index, entry->term, hash, node};
        logbook->logged_count++;
    } else if (logged->hash != hash) {
        bnd_sim_violation(logbook->check,
                          "log matching: group %" PRIu64 " index %" PRIu64 " of term %" PRIu64
                          ": nodes %" PRIu64 " and %" PRIu64 " hold different entries",
                          logbook->gid, entry->index, entry->term, logged->node, node);
    }
}

/* ---- commits
 * ------------------------------------------------------------------------------------------ */

static void make_room(struct bnd_sim_logbook *logbook, uint64_t index) {
    if (index < logbook->committed_cap) {
        return;
    }
    size_t old = logbook->committed_cap;
    size_t cap = old == 0 ? 256 : old;
    while (cap <= index) {
        cap *= 2;
    }
    logbook->committed = bnd_sim_realloc(logbook->committed, cap * sizeof *logbook->committed);
    memset(logbook->committed + old, 0, (cap - old) * sizeof *logbook->committed);
    logbook->committed_cap = cap;
}

void bnd_sim_logbook_committed(struct bnd_sim_logbook *logbook, uint64_t node, uint64_t index,
                               uint64_t term, uint64_t known_in) {
    make_room(logbook, index);
    struct bnd_sim_committed *committed = &logbook->committed[index];
    if (committed->known_in == 0) {
        *committed = (struct bnd_sim_committed){.term = term, .known_in = known_in};
        logbook->committed_last = index > logbook->committed_last ? index : logbook->committed_last;
    } else if (committed->term != term) {
        bnd_sim_divergence(logbook->check,
                           "group %" PRIu64 " index %" PRIu64 ": node %" PRIu64 " has term %" PRIu64
                           " committed, others term %" PRIu64,
                           logbook->gid, index, node, term, committed->term);
    }
}

void bnd_sim_logbook_leader(struct bnd_sim_logbook *logbook, uint64_t node, uint64_t term,
                            uint64_t last_index, uint64_t (*term_of)(void *log, uint64_t index),
                            void *log) {
    uint64_t index = logbook->committed_last;
    while (index > 0 && (logbook->committed[index].known_in == 0 || /* seen only below an install */
                         logbook->committed[index].known_in >= term)) {
        index--;
    }
    if (index == 0) {
        return;
    }
    uint64_t own = index > last_index ? 0 : term_of(log, index);
    if (index > last_index || (own != 0 && own != logbook->committed[index].term)) {
        bnd_sim_divergence(logbook->check,
                           "group %" PRIu64 ": node %" PRIu64 " leads term %" PRIu64
                           " without the committed entry %" PRIu64 " of term %" PRIu64,
                           logbook->gid, node, term, index, logbook->committed[index].term);
    }
}

/* ---- configurations
 * ----------------------------------------------------------------------------------- */

static bool votes(const struct bnd_raft_configuration *configuration, uint64_t node) {
    size_t i = bnd_raft_configuration_find(configuration, node);
    return i < configuration->count && configuration->members[i].role == BND_RAFT_VOTER;
}

struct bnd_sim_member_changes
bnd_sim_logbook_configuration(struct bnd_sim_logbook *logbook, uint64_t index,
                              const struct bnd_raft_configuration *configuration) {
    struct bnd_sim_member_changes changes = {0};
    if (index <= logbook->configuration_index) {
        return changes;
    }
    const struct bnd_raft_configuration *old = &logbook->configuration;
    for (size_t i = 0; logbook->configuration_index > 0 && i < configuration->count; i++) {
        uint64_t node = configuration->members[i].node;
        changes.joins += votes(configuration, node) && !votes(old, node);
    }
    for (size_t i = 0; i < old->count; i++) {
        changes.removals += bnd_raft_configuration_find(configuration, old->members[i].node) ==
                            configuration->count;
    }
    logbook->configuration = *configuration;
    logbook->configuration_index = index;
    return changes;
}
