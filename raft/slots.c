/* Slots (host_private.h): a slot's number is journalled with its group and kept, as the next one,
 * in the state. The journal's numbers and the persisted one may each be behind the other; the
 * larger stands. */
#include "raft/host_private.h"

#include "base/alloc.h"

#include <stdlib.h>

/* The next slot never used: above every slot in the journal, and not below what the state says. */
static int load_next(struct bnd_raft_host *host, struct bnd_error *err) {
    struct bnd_state *state = host->config.state;
    BND_AUTO_BUF struct bnd_buf value = {0};
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    struct bnd_slice key = tuple_key(bytes, 0, TUPLE_KEY_SLOT_NEXT, NULL, 0);
    int rv = state->ops->get_persisted(state, BND_CF_RAFT, key, &value);
    if (rv != 0 && rv != BND_NOTFOUND) {
        return bnd_error_set(err, rv, "cannot read the next slot");
    }
    if (rv == 0 && value.len != 4) {
        return BND_FAIL(err, CORRUPT, "the next slot has %zu bytes", value.len);
    }
    uint32_t next = rv == 0 ? bnd_get_u32(value.data) : 1;
    for (size_t i = 0; i < host->groups_count; i++) {
        uint32_t slot = host->groups[i]->slot;
        if (host->groups[i]->core != NULL && slot >= next) {
            next = slot + 1;
        }
    }
    host->slot_next = next == 0 ? 1 : next;
    host->slot_stored = rv == 0 ? bnd_get_u32(value.data) : 0;
    return 0;
}

void slots_drop(struct bnd_raft_host *host, uint32_t from, uint32_t to) {
    uint8_t from_key[4];
    uint8_t to_key[4];
    bnd_put_be32(from_key, from);
    bnd_put_be32(to_key, to);
    struct bnd_state *state = host->config.state;
    /* What is not dropped now is dropped at the next start: nobody reads an unused slot. */
    (void)state->ops->drop_range(state, bnd_slice(from_key, 4), bnd_slice(to_key, 4));
}

void slots_drop_later(struct bnd_raft_host *host, uint32_t slot) {
    if (!BND_ROOM(host->doomed, host->doomed_count, host->doomed_cap, 16)) {
        return; /* the next start drops it */
    }
    host->doomed[host->doomed_count++] = (struct doomed_slot){.slot = slot, .lsn = host->lsn_last};
}

void slots_pass(struct bnd_raft_host *host) {
    size_t kept = 0;
    for (size_t i = 0; i < host->doomed_count; i++) {
        struct doomed_slot doomed = host->doomed[i];
        if (doomed.lsn <= host->lsn_durable) {
            slots_drop(host, doomed.slot, doomed.slot + 1);
        } else {
            host->doomed[kept++] = doomed;
        }
    }
    host->doomed_count = kept;
}

static int compare_slots(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* Deletes what a crash left in slots that no group owns. */
static int drop_unused(struct bnd_raft_host *host, struct bnd_error *err) {
    BND_AUTO uint32_t *used = bnd_calloc(host->groups_count + 1, sizeof *used);
    if (used == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for slots");
    }
    size_t count = 0;
    for (size_t i = 0; i < host->groups_count; i++) {
        if (host->groups[i]->core != NULL) {
            used[count++] = host->groups[i]->slot;
        }
    }
    qsort(used, count, sizeof *used, compare_slots);
    used[count] = host->slot_next;
    uint32_t from = 1;
    for (size_t i = 0; i <= count; i++) {
        if (used[i] < from) {
            return BND_FAIL(err, CORRUPT, "two groups own slot %u", used[i]);
        }
        if (used[i] > from) {
            slots_drop(host, from, used[i]);
        }
        from = used[i] + 1;
    }
    return 0;
}

int slots_open(struct bnd_raft_host *host, struct bnd_error *err) {
    int rv = load_next(host, err);
    return rv == 0 ? drop_unused(host, err) : rv;
}

uint32_t slots_new(struct bnd_raft_host *host) {
    BND_ASSERT(host->slot_next != 0 && host->slot_next != UINT32_MAX);
    return host->slot_next++;
}

void slots_store(struct bnd_raft_host *host, struct bnd_state_batch *batch) {
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    uint8_t next[4];
    host->slot_storing = host->slot_next;
    if (host->slot_storing == host->slot_stored) {
        return;
    }
    bnd_put_u32(next, host->slot_next);
    host->config.state->ops->batch_put(batch, BND_CF_RAFT,
                                       tuple_key(bytes, 0, TUPLE_KEY_SLOT_NEXT, NULL, 0),
                                       bnd_slice(next, sizeof next));
}

void slots_stored(struct bnd_raft_host *host) {
    host->slot_stored = host->slot_storing;
}
