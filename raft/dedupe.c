/* See dedupe.h. Records of BND_CF_RAFT (keys: tuple.h), little-endian:
 *   outcome 'd' minter seq: u64 deadline_ms, i32 status, u32 length, reply
 *   minter  'm' minter:     u64 low_seq, u64 until_ms
 *   expiry  'x' deadline minter seq: empty; seq 0 is the minter's record
 *
 * A minter's record is made when outcomes of its are dropped by low_seq, and stays until the latest
 * deadline among the dropped: so long a late copy of a dropped id could come. */
#include "raft/dedupe.h"

#include "base/assert.h"

struct outcome {
    uint64_t deadline_ms;
    int status;
    struct bnd_slice reply;
};

struct minter {
    bool known;
    uint64_t low_seq;
    uint64_t until_ms;
};

static void put(struct dedupe *d, struct bnd_slice key, struct bnd_slice value) {
    d->state->ops->batch_put(d->batch, BND_CF_RAFT, key, value);
}

static void expiry(struct dedupe *d, bool present, uint64_t deadline_ms, uint64_t minter,
                   uint64_t seq) {
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    const uint64_t numbers[] = {deadline_ms, minter, seq};
    struct bnd_slice key = tuple_key(bytes, d->slot, TUPLE_KEY_EXPIRY, numbers, 3);
    if (present) {
        put(d, key, bnd_slice(NULL, 0));
    } else {
        d->state->ops->batch_delete(d->batch, BND_CF_RAFT, key);
    }
}

static int outcome_decode(struct bnd_slice bytes, struct outcome *out) {
    struct bnd_reader r = bnd_reader(bytes);
    out->deadline_ms = bnd_read_u64(&r);
    out->status = (int)(int32_t)bnd_read_u32(&r);
    out->reply = bnd_read_bytes(&r);
    return bnd_reader_done(&r) ? 0 : BND_CORRUPT;
}

static int minter_load(struct dedupe *d, uint64_t minter, struct minter *out) {
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    bnd_buf_reset(d->scratch);
    int rv = d->state->ops->batch_get(
        d->batch, BND_CF_RAFT, tuple_key(bytes, d->slot, TUPLE_KEY_MINTER, &minter, 1), d->scratch);
    *out = (struct minter){0};
    if (rv != 0) {
        return rv == BND_NOTFOUND ? 0 : rv;
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(d->scratch));
    *out =
        (struct minter){.known = true, .low_seq = bnd_read_u64(&r), .until_ms = bnd_read_u64(&r)};
    return bnd_reader_done(&r) ? 0 : BND_CORRUPT;
}

static void minter_store(struct dedupe *d, uint64_t minter, const struct minter *old,
                         uint64_t low_seq, uint64_t until_ms) {
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    uint8_t value[16];
    bnd_put_u64(value, low_seq);
    bnd_put_u64(value + 8, until_ms);
    put(d, tuple_key(bytes, d->slot, TUPLE_KEY_MINTER, &minter, 1), bnd_slice(value, sizeof value));
    if (!old->known) {
        (*d->count)++;
    } else if (old->until_ms != until_ms) {
        expiry(d, false, old->until_ms, minter, 0);
    }
    if (!old->known || old->until_ms != until_ms) {
        expiry(d, true, until_ms, minter, 0);
    }
}

/* One record to drop, read before the batch changes under the iterator. */
struct drop {
    uint64_t seq;
    uint64_t deadline_ms;
};

/* Drops the outcomes of a minter in [from, to); *out_until becomes the latest deadline among them,
 * *out_next the first seq not looked at (to, unless there were too many). */
static int drop_outcomes(struct dedupe *d, uint64_t minter, uint64_t from, uint64_t *next,
                         uint64_t *until_ms) {
    const struct bnd_state_ops *ops = d->state->ops;
    uint8_t from_bytes[TUPLE_KEY_BYTES_MAX];
    uint8_t to_bytes[TUPLE_KEY_BYTES_MAX];
    uint64_t to = *next;
    const uint64_t from_numbers[] = {minter, from};
    const uint64_t to_numbers[] = {minter, to};
    struct bnd_slice from_key = tuple_key(from_bytes, d->slot, TUPLE_KEY_OUTCOME, from_numbers, 2);
    struct bnd_slice to_key = tuple_key(to_bytes, d->slot, TUPLE_KEY_OUTCOME, to_numbers, 2);
    struct bnd_state_iter *iter = ops->batch_iter(d->batch, BND_CF_RAFT, from_key, to_key);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    struct bnd_buf *found = d->scratch; /* pairs of u64 seq, u64 deadline */
    bnd_buf_reset(found);
    int rv = 0;
    for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct outcome outcome;
        rv = key.len == 21 ? outcome_decode(ops->iter_value(iter), &outcome) : BND_CORRUPT;
        uint64_t seq = rv == 0 ? bnd_get_be64(key.data + 13) : 0;
        if (found->len == DEDUPE_DROP_MAX * 16) {
            *next = seq;
            break;
        }
        if (rv == 0) {
            bnd_buf_u64(found, seq);
            bnd_buf_u64(found, outcome.deadline_ms);
        }
    }
    rv = rv == 0 ? ops->iter_status(iter) : rv;
    ops->iter_destroy(iter);
    if (rv != 0 || found->failed) {
        return rv != 0 ? rv : BND_NOMEM;
    }
    for (size_t at = 0; at < found->len; at += 16) {
        const uint64_t numbers[] = {minter, bnd_get_u64(found->data + at)};
        uint64_t deadline_ms = bnd_get_u64(found->data + at + 8);
        ops->batch_delete(d->batch, BND_CF_RAFT,
                          tuple_key(from_bytes, d->slot, TUPLE_KEY_OUTCOME, numbers, 2));
        expiry(d, false, deadline_ms, minter, numbers[1]);
        *until_ms = deadline_ms > *until_ms ? deadline_ms : *until_ms;
        BND_ASSERT(*d->count > 0);
        (*d->count)--;
    }
    return 0;
}

/* Raises the minter's low_seq as far as the operation says. */
static int raise_low_seq(struct dedupe *d, const struct entry_operation *operation,
                         struct minter *minter) {
    if (operation->low_seq <= minter->low_seq) {
        return 0;
    }
    uint64_t next = operation->low_seq;
    uint64_t until_ms = minter->until_ms;
    int rv = drop_outcomes(d, operation->id.minter, minter->low_seq, &next, &until_ms);
    if (rv != 0) {
        return rv;
    }
    /* Without a record and without an outcome dropped there is nothing a late copy could repeat. */
    if (minter->known || until_ms > 0) {
        minter_store(d, operation->id.minter, minter, next, until_ms);
        *minter = (struct minter){.known = true, .low_seq = next, .until_ms = until_ms};
    }
    return 0;
}

static struct bnd_slice outcome_key(const struct dedupe *d, uint8_t bytes[TUPLE_KEY_BYTES_MAX],
                                    const struct bnd_raft_request_id *id) {
    const uint64_t numbers[] = {id->minter, id->seq};
    return tuple_key(bytes, d->slot, TUPLE_KEY_OUTCOME, numbers, 2);
}

int dedupe_check(struct dedupe *d, const struct entry_operation *operation,
                 enum dedupe_verdict *out_verdict, int *out_status, struct bnd_buf *reply) {
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    struct minter minter;
    int rv = minter_load(d, operation->id.minter, &minter);
    rv = rv == 0 ? raise_low_seq(d, operation, &minter) : rv;
    if (rv != 0) {
        return rv;
    }
    *out_verdict = DEDUPE_REFUSED;
    if (operation->id.seq < minter.low_seq) {
        *out_status = BND_EXPIRED;
        return 0;
    }
    bnd_buf_reset(d->scratch);
    rv = d->state->ops->batch_get(d->batch, BND_CF_RAFT, outcome_key(d, bytes, &operation->id),
                                  d->scratch);
    if (rv == 0) {
        struct outcome outcome;
        rv = outcome_decode(bnd_buf_slice(d->scratch), &outcome);
        if (rv == 0) {
            *out_verdict = DEDUPE_ANSWERED;
            *out_status = outcome.status;
            bnd_buf_append_slice(reply, outcome.reply);
        }
        return rv;
    }
    if (rv != BND_NOTFOUND) {
        return rv;
    }
    if (d->stamp_ms > operation->deadline_ms) {
        *out_status = BND_EXPIRED;
    } else if (operation->deadline_ms - d->stamp_ms > DEDUPE_DEADLINE_MS_MAX) {
        *out_status = BND_INVALID;
    } else if (*d->count >= d->count_max) {
        *out_status = BND_FULL;
    } else {
        *out_verdict = DEDUPE_EXECUTE;
    }
    return 0;
}

int dedupe_store(struct dedupe *d, const struct entry_operation *operation, int status,
                 struct bnd_slice reply) {
    BND_ASSERT(reply.len <= BND_RAFT_REPLY_MAX);
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    bnd_buf_reset(d->scratch);
    bnd_buf_u64(d->scratch, operation->deadline_ms);
    bnd_buf_u32(d->scratch, (uint32_t)(int32_t)status);
    bnd_buf_bytes(d->scratch, reply);
    if (d->scratch->failed) {
        return BND_NOMEM;
    }
    put(d, outcome_key(d, bytes, &operation->id), bnd_buf_slice(d->scratch));
    expiry(d, true, operation->deadline_ms, operation->id.minter, operation->id.seq);
    (*d->count)++;
    return 0;
}

/* Collects the keys of up to max records whose deadline is before the stamp. */
static int collect_expired(struct dedupe *d, size_t max) {
    const struct bnd_state_ops *ops = d->state->ops;
    uint8_t from_bytes[TUPLE_KEY_BYTES_MAX];
    uint8_t to_bytes[TUPLE_KEY_BYTES_MAX];
    struct bnd_slice from = tuple_key(from_bytes, d->slot, TUPLE_KEY_EXPIRY, NULL, 0);
    struct bnd_slice to = tuple_key(to_bytes, d->slot, TUPLE_KEY_EXPIRY, &d->stamp_ms, 1);
    struct bnd_state_iter *iter = ops->batch_iter(d->batch, BND_CF_RAFT, from, to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    bnd_buf_reset(d->scratch);
    int rv = 0;
    for (size_t i = 0; i < max && rv == 0 && ops->iter_valid(iter); i++, ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        rv = key.len == TUPLE_KEY_BYTES_MAX ? 0 : BND_CORRUPT;
        bnd_buf_append_slice(d->scratch, key);
    }
    rv = rv == 0 ? ops->iter_status(iter) : rv;
    ops->iter_destroy(iter);
    return rv != 0 ? rv : d->scratch->failed ? BND_NOMEM : 0;
}

int dedupe_sweep(struct dedupe *d, size_t max) {
    int rv = collect_expired(d, max);
    if (rv != 0) {
        return rv;
    }
    for (size_t at = 0; at < d->scratch->len; at += TUPLE_KEY_BYTES_MAX) {
        uint8_t bytes[TUPLE_KEY_BYTES_MAX];
        struct bnd_slice key = bnd_slice(d->scratch->data + at, TUPLE_KEY_BYTES_MAX);
        const uint64_t numbers[] = {bnd_get_be64(key.data + 13), bnd_get_be64(key.data + 21)};
        bool outcome = numbers[1] != 0;
        d->state->ops->batch_delete(d->batch, BND_CF_RAFT,
                                    tuple_key(bytes, d->slot,
                                              outcome ? TUPLE_KEY_OUTCOME : TUPLE_KEY_MINTER,
                                              numbers, outcome ? 2 : 1));
        d->state->ops->batch_delete(d->batch, BND_CF_RAFT, key);
        BND_ASSERT(*d->count > 0);
        (*d->count)--;
    }
    return 0;
}
