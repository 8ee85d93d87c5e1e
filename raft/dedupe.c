/* See dedupe.h. A record lives in the group's tuple while it is young, and then under a key of its
 * own in BND_CF_RAFT (keys: tuple.h), little-endian:
 *   outcome 'd' minter seq: u64 deadline_ms, i32 status, u32 length, reply
 *   mark    'm' minter:     u64 low_seq, u64 until_ms
 *
 * A minter's mark is made when outcomes of its are dropped by low_seq, and stays until the latest
 * deadline among the dropped: so long a late copy of a dropped id could come. */
#include "raft/dedupe.h"

#include "base/assert.h"

/* ---- records in the state ---------------------------------------------------------------------*/

static struct bnd_slice record_key(uint8_t bytes[TUPLE_KEY_BYTES_MAX], uint32_t slot,
                                   uint64_t minter, uint64_t seq) {
    const uint64_t numbers[] = {minter, seq};
    return seq == 0 ? tuple_key(bytes, slot, TUPLE_KEY_MINTER, numbers, 1)
                    : tuple_key(bytes, slot, TUPLE_KEY_OUTCOME, numbers, 2);
}

static void delete_key(struct dedupe *d, const struct dedupe_record *record) {
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    d->state->ops->batch_delete(d->batch, BND_CF_RAFT,
                                record_key(bytes, d->slot, record->minter->id, record->seq));
}

/* Takes a record from table and state. */
static void drop(struct dedupe *d, struct dedupe_record *record) {
    if (!dedupe_record_young(record)) {
        delete_key(d, record);
    }
    dedupe_table_remove(d->table, record);
}

/* Gives a record its own key. */
static int store_alone(struct dedupe *d, const struct dedupe_record *record) {
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    bnd_buf_reset(d->scratch);
    if (record->seq == 0) {
        bnd_buf_u64(d->scratch, record->minter->low_seq);
        bnd_buf_u64(d->scratch, record->deadline_ms);
    } else {
        bnd_buf_u64(d->scratch, record->deadline_ms);
        bnd_buf_u32(d->scratch, (uint32_t)(int32_t)record->status);
        bnd_buf_bytes(d->scratch, bnd_slice(record->reply, record->reply_len));
    }
    if (d->scratch->failed) {
        return BND_NOMEM;
    }
    d->state->ops->batch_put(d->batch, BND_CF_RAFT,
                             record_key(bytes, d->slot, record->minter->id, record->seq),
                             bnd_buf_slice(d->scratch));
    return 0;
}

/* What does not fit into the tuple any more gets keys. */
static int settle(struct dedupe *d) {
    while (d->table->young_bytes > DEDUPE_YOUNG_BYTES_MAX) {
        struct dedupe_record *oldest = dedupe_table_young(d->table);
        int rv = store_alone(d, oldest);
        if (rv != 0) {
            return rv;
        }
        dedupe_table_settle(d->table, oldest);
    }
    return 0;
}

static int mark_store(struct dedupe *d, const struct dedupe_minter *minter, uint64_t low_seq,
                      uint64_t until_ms) {
    if (minter->mark != NULL && !dedupe_record_young(minter->mark)) {
        delete_key(d, minter->mark);
    }
    return dedupe_table_mark(d->table, minter->id, low_seq, until_ms);
}

int dedupe_tuple_store(struct bnd_state *state, struct bnd_state_batch *batch, uint32_t slot,
                       const struct tuple *tuple, const struct dedupe_table *table) {
    BND_AUTO_BUF struct bnd_buf young = {0};
    (void)bnd_buf_reserve(&young, table->young_bytes); /* without memory it has failed */
    for (const struct bnd_link *link = table->young.next; link != &table->young;
         link = link->next) {
        const struct dedupe_record *record =
            BND_CONTAINER(link, const struct dedupe_record, young_link);
        bnd_buf_u64(&young, record->minter->id);
        bnd_buf_u64(&young, record->seq);
        bnd_buf_u64(&young, record->deadline_ms);
        if (record->seq == 0) {
            bnd_buf_u64(&young, record->minter->low_seq);
        } else {
            bnd_buf_u32(&young, (uint32_t)(int32_t)record->status);
            bnd_buf_bytes(&young, bnd_slice(record->reply, record->reply_len));
        }
    }
    BND_ASSERT(young.failed || young.len == table->young_bytes);
    return young.failed ? BND_NOMEM : tuple_store(state, batch, slot, tuple, bnd_buf_slice(&young));
}

/* ---- loading ----------------------------------------------------------------------------------*/

/* A table that is read in pieces may meet a record twice. */
static int load_once(struct dedupe_table *table, uint64_t minter, uint64_t seq,
                     uint64_t deadline_ms, int status, struct bnd_slice reply) {
    if (dedupe_table_outcome(dedupe_table_minter(table, minter), seq) != NULL) {
        return BND_CORRUPT;
    }
    return dedupe_table_add(table, minter, seq, deadline_ms, status, reply);
}

static int load_outcome(struct dedupe_table *table, struct bnd_slice key, struct bnd_slice value) {
    struct bnd_reader r = bnd_reader(value);
    uint64_t deadline_ms = bnd_read_u64(&r);
    int status = (int)(int32_t)bnd_read_u32(&r);
    struct bnd_slice reply = bnd_read_bytes(&r);
    uint64_t seq = key.len == 21 ? bnd_get_be64(key.data + 13) : 0;
    if (!bnd_reader_done(&r) || seq == 0) {
        return BND_CORRUPT;
    }
    return load_once(table, bnd_get_be64(key.data + 5), seq, deadline_ms, status, reply);
}

static int load_mark(struct dedupe_table *table, struct bnd_slice key, struct bnd_slice value) {
    if (key.len != 13 || value.len != 16) {
        return BND_CORRUPT;
    }
    return dedupe_table_mark(table, bnd_get_be64(key.data + 5), bnd_get_u64(value.data),
                             bnd_get_u64(value.data + 8));
}

static int load_kind(struct bnd_state *state, uint32_t slot, enum tuple_key kind,
                     struct dedupe_table *table) {
    uint8_t from_bytes[TUPLE_KEY_BYTES_MAX];
    uint8_t to_bytes[TUPLE_KEY_BYTES_MAX];
    struct bnd_slice from = tuple_key(from_bytes, slot, kind, NULL, 0);
    struct bnd_slice to = tuple_key(to_bytes, slot, kind, NULL, 0);
    to_bytes[to.len - 1]++; /* the next letter */
    struct bnd_state_iter *iter = state->ops->iter(state, BND_CF_RAFT, from, to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    for (; rv == 0 && state->ops->iter_valid(iter); state->ops->iter_next(iter)) {
        struct bnd_slice key = state->ops->iter_key(iter);
        struct bnd_slice value = state->ops->iter_value(iter);
        rv = kind == TUPLE_KEY_OUTCOME ? load_outcome(table, key, value)
                                       : load_mark(table, key, value);
    }
    rv = rv == 0 ? state->ops->iter_status(iter) : rv;
    state->ops->iter_destroy(iter);
    while (dedupe_table_young(table) != NULL) { /* they have keys */
        dedupe_table_settle(table, dedupe_table_young(table));
    }
    return rv;
}

static int load_young(struct dedupe_table *table, struct bnd_slice young) {
    struct bnd_reader r = bnd_reader(young);
    int rv = 0;
    while (rv == 0 && r.rest.len > 0) {
        uint64_t minter = bnd_read_u64(&r);
        uint64_t seq = bnd_read_u64(&r);
        uint64_t deadline_ms = bnd_read_u64(&r);
        if (seq == 0) {
            const struct dedupe_minter *known = dedupe_table_minter(table, minter);
            uint64_t low_seq = bnd_read_u64(&r);
            bool twice = known != NULL && known->mark != NULL;
            rv = r.failed || twice ? BND_CORRUPT
                                   : dedupe_table_mark(table, minter, low_seq, deadline_ms);
        } else {
            int status = (int)(int32_t)bnd_read_u32(&r);
            struct bnd_slice reply = bnd_read_bytes(&r);
            rv = r.failed ? BND_CORRUPT : load_once(table, minter, seq, deadline_ms, status, reply);
        }
    }
    return rv == 0 && !bnd_reader_done(&r) ? BND_CORRUPT : rv;
}

static int load_tuple(struct bnd_state *state, uint32_t slot, struct dedupe_table *table) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    uint8_t key[TUPLE_KEY_BYTES_MAX];
    struct tuple tuple;
    struct bnd_slice young;
    int rv = state->ops->get(state, BND_CF_RAFT, tuple_key(key, slot, TUPLE_KEY_APPLIED, NULL, 0),
                             &value);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? 0 : rv;
    }
    rv = tuple_decode(bnd_buf_slice(&value), &tuple, &young, NULL);
    return rv == 0 ? load_young(table, young) : rv;
}

int dedupe_load(struct bnd_state *state, uint32_t slot, uint64_t count, struct dedupe_table *out,
                struct bnd_error *err) {
    BND_ASSERT(out->count == 0);
    int rv = load_kind(state, slot, TUPLE_KEY_OUTCOME, out);
    rv = rv == 0 ? load_kind(state, slot, TUPLE_KEY_MINTER, out) : rv;
    rv = rv == 0 ? load_tuple(state, slot, out) : rv;
    if (rv == 0 && out->count == count) {
        return 0;
    }
    size_t found = out->count;
    dedupe_table_clear(out);
    if (rv == 0) {
        return BND_FAIL(err, CORRUPT, "slot %u holds %zu request ids, its tuple says %llu", slot,
                        found, (unsigned long long)count);
    }
    return bnd_error_set(err, rv, "the request ids of slot %u cannot be read", slot);
}

/* ---- the rules --------------------------------------------------------------------------------*/

/* Drops the minter's outcomes below low_seq, at most DEDUPE_DROP_MAX, and leaves a mark that says
 * so: below it everything is refused, above it nothing was dropped. */
static int drop_answered(struct dedupe *d, struct dedupe_minter *minter, uint64_t low_seq) {
    uint64_t until_ms = minter->mark == NULL ? 0 : minter->mark->deadline_ms;
    uint64_t mark = low_seq;
    size_t dropped = 0;
    struct bnd_link *link = minter->outcomes.next;
    while (link != &minter->outcomes) {
        struct dedupe_record *record = BND_CONTAINER(link, struct dedupe_record, link);
        link = link->next;
        if (record->seq >= low_seq) {
            break;
        }
        if (dropped == DEDUPE_DROP_MAX) {
            mark = record->seq;
            break;
        }
        until_ms = record->deadline_ms > until_ms ? record->deadline_ms : until_ms;
        if (dropped++ == 0) { /* first: the minter must not go with its last outcome */
            int rv = mark_store(d, minter, minter->low_seq, until_ms);
            if (rv != 0) {
                return rv;
            }
        }
        drop(d, record);
    }
    int rv = dropped == 0 ? 0 : mark_store(d, minter, mark, until_ms);
    return rv == 0 ? settle(d) : rv;
}

static int raise_low_seq(struct dedupe *d, const struct entry_operation *operation) {
    struct dedupe_minter *minter = dedupe_table_minter(d->table, operation->id.minter);
    bool raises = minter != NULL && operation->low_seq > minter->low_seq;
    return raises ? drop_answered(d, minter, operation->low_seq) : 0;
}

int dedupe_check(struct dedupe *d, const struct entry_operation *operation,
                 enum dedupe_verdict *out_verdict, int *out_status, struct bnd_buf *reply) {
    int rv = raise_low_seq(d, operation);
    if (rv != 0) {
        return rv;
    }
    const struct dedupe_minter *minter = dedupe_table_minter(d->table, operation->id.minter);
    *out_verdict = DEDUPE_REFUSED;
    if (minter != NULL && operation->id.seq < minter->low_seq) {
        *out_status = BND_EXPIRED;
        return 0;
    }
    const struct dedupe_record *first = dedupe_table_outcome(minter, operation->id.seq);
    if (first != NULL) {
        *out_verdict = DEDUPE_ANSWERED;
        *out_status = first->status;
        bnd_buf_append(reply, first->reply, first->reply_len);
    } else if (d->stamp_ms > operation->deadline_ms) {
        *out_status = BND_EXPIRED;
    } else if (operation->deadline_ms - d->stamp_ms > DEDUPE_DEADLINE_MS_MAX) {
        *out_status = BND_INVALID;
    } else if (d->table->count >= d->count_max) {
        *out_status = BND_FULL;
    } else {
        *out_verdict = DEDUPE_EXECUTE;
    }
    return 0;
}

int dedupe_store(struct dedupe *d, const struct entry_operation *operation, int status,
                 struct bnd_slice reply) {
    BND_ASSERT(reply.len <= BND_RAFT_REPLY_MAX);
    const struct bnd_raft_request_id *id = &operation->id;
    int rv = dedupe_table_add(d->table, id->minter, id->seq, operation->deadline_ms, status, reply);
    return rv == 0 ? settle(d) : rv;
}

void dedupe_sweep(struct dedupe *d, size_t max) {
    for (size_t i = 0; i < max; i++) {
        struct dedupe_record *oldest = dedupe_table_oldest(d->table);
        if (oldest == NULL || oldest->deadline_ms >= d->stamp_ms) {
            return;
        }
        drop(d, oldest);
    }
}
