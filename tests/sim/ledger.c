#include "tests/sim/ledger.h"

#include "base/hash.h"
#include "tests/sim/memory.h"

#include <inttypes.h>

uint64_t bnd_sim_command_hash(struct bnd_slice command) {
    uint64_t hash = bnd_hash64(command, 0);
    return hash == 0 ? 1 : hash;
}

void bnd_sim_ledger_init(struct bnd_sim_ledger *ledger, uint64_t gid, struct bnd_sim_check *check) {
    *ledger = (struct bnd_sim_ledger){.gid = gid, .check = check};
}

void bnd_sim_ledger_free(struct bnd_sim_ledger *ledger) {
    bnd_sim_free(ledger->entries);
    bnd_sim_free(ledger->leaders);
    bnd_sim_free(ledger->seen);
    *ledger = (struct bnd_sim_ledger){0};
}

/* Adds a hash; false if it was there. */
static bool seen_put(uint64_t *slots, size_t cap, uint64_t hash) {
    size_t i = (size_t)hash & (cap - 1);
    while (slots[i] != 0) {
        if (slots[i] == hash) {
            return false;
        }
        i = (i + 1) & (cap - 1);
    }
    slots[i] = hash;
    return true;
}

static bool seen_add(struct bnd_sim_ledger *ledger, uint64_t hash) {
    if (2 * (ledger->count + 1) > ledger->seen_cap) {
        size_t cap = ledger->seen_cap == 0 ? 256 : 2 * ledger->seen_cap;
        uint64_t *slots = bnd_sim_zalloc(cap * sizeof *slots);
        for (size_t i = 0; i < ledger->seen_cap; i++) {
            if (ledger->seen[i] != 0) {
                (void)seen_put(slots, cap, ledger->seen[i]);
            }
        }
        bnd_sim_free(ledger->seen);
        ledger->seen = slots;
        ledger->seen_cap = cap;
    }
    return seen_put(ledger->seen, ledger->seen_cap, hash);
}

static bool before(const struct bnd_sim_ledger_entry *e, uint64_t index, uint32_t position) {
    return e->index != index ? e->index < index : e->position < position;
}

static struct bnd_sim_ledger_entry *find(struct bnd_sim_ledger *ledger, uint64_t index,
                                         uint32_t position) {
    size_t low = 0;
    size_t high = ledger->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (before(&ledger->entries[middle], index, position)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return &ledger->entries[low]; /* may be the end */
}

static void compare(struct bnd_sim_ledger *ledger, uint64_t node,
                    const struct bnd_sim_ledger_entry *e, const struct bnd_sim_applied *a) {
    if (e->command != bnd_sim_command_hash(a->command)) {
        bnd_sim_divergence(ledger->check,
                           "group %" PRIu64 " index %" PRIu64 ".%" PRIu32 ": node %" PRIu64
                           " applied another command than others",
                           ledger->gid, a->index, a->position, node);
    } else if (e->term != a->term || e->status != a->status) {
        bnd_sim_divergence(ledger->check,
                           "group %" PRIu64 " index %" PRIu64 ".%" PRIu32 ": node %" PRIu64
                           " has term %" PRIu64 " outcome %d, others term %" PRIu64 " outcome %d",
                           ledger->gid, a->index, a->position, node, a->term, a->status, e->term,
                           e->status);
    } else if (e->hash != a->hash) {
        bnd_sim_divergence(ledger->check,
                           "group %" PRIu64 " index %" PRIu64 ".%" PRIu32
                           ": the state of node %" PRIu64 " differs from others",
                           ledger->gid, a->index, a->position, node);
    }
}

void bnd_sim_ledger_applied(struct bnd_sim_ledger *ledger, uint64_t node,
                            const struct bnd_sim_applied *a) {
    struct bnd_sim_ledger_entry *e = find(ledger, a->index, a->position);
    if (e != ledger->entries + ledger->count) {
        if (e->index == a->index && e->position == a->position) {
            compare(ledger, node, e, a);
        } else {
            bnd_sim_divergence(ledger->check,
                               "group %" PRIu64 " index %" PRIu64 ".%" PRIu32 ": node %" PRIu64
                               " executed a command where others executed none",
                               ledger->gid, a->index, a->position, node);
        }
        return;
    }
    uint64_t hash = bnd_sim_command_hash(a->command);
    if (!seen_add(ledger, hash)) {
        bnd_sim_divergence(ledger->check,
                           "group %" PRIu64 " index %" PRIu64 ".%" PRIu32
                           ": a command was executed a second time",
                           ledger->gid, a->index, a->position);
    }
    if (ledger->count == ledger->cap) {
        ledger->cap = ledger->cap == 0 ? 256 : 2 * ledger->cap;
        ledger->entries = bnd_sim_realloc(ledger->entries, ledger->cap * sizeof *ledger->entries);
    }
    ledger->entries[ledger->count++] = (struct bnd_sim_ledger_entry){.index = a->index,
                                                                     .position = a->position,
                                                                     .term = a->term,
                                                                     .command = hash,
                                                                     .status = a->status,
                                                                     .hash = a->hash};
}

void bnd_sim_ledger_leader(struct bnd_sim_ledger *ledger, uint64_t node, uint64_t life,
                           uint64_t term) {
    for (size_t i = ledger->leaders_count; i-- > 0;) {
        if (ledger->leaders[i].term != term) {
            continue;
        }
        if (ledger->leaders[i].node != node) {
            bnd_sim_violation(ledger->check,
                              "group %" PRIu64 " term %" PRIu64 ": nodes %" PRIu64 " and %" PRIu64
                              " both lead",
                              ledger->gid, term, ledger->leaders[i].node, node);
        } else if (ledger->leaders[i].life == 0) {
            ledger->leaders[i].life = life;
        } else if (life != 0 && ledger->leaders[i].life != life) {
            bnd_sim_violation(ledger->check,
                              "G8: group %" PRIu64 " term %" PRIu64 ": node %" PRIu64
                              " leads again after a restart",
                              ledger->gid, term, node);
        }
        return;
    }
    if (ledger->leaders_count == ledger->leaders_cap) {
        ledger->leaders_cap = ledger->leaders_cap == 0 ? 32 : 2 * ledger->leaders_cap;
        ledger->leaders =
            bnd_sim_realloc(ledger->leaders, ledger->leaders_cap * sizeof *ledger->leaders);
    }
    ledger->leaders[ledger->leaders_count].term = term;
    ledger->leaders[ledger->leaders_count].node = node;
    ledger->leaders[ledger->leaders_count++].life = life;
}

uint64_t bnd_sim_ledger_leader_of(const struct bnd_sim_ledger *ledger, uint64_t term) {
    for (size_t i = ledger->leaders_count; i-- > 0;) {
        if (ledger->leaders[i].term == term) {
            return ledger->leaders[i].node;
        }
    }
    return 0;
}
