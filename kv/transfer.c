/* Records from a peer and to it, batch after batch, each in the log (here, or there) before the
 * next is asked for. The pieces of a large value go before its record. */
#include "kv/spread_private.h"

static void step(struct spread_transfer *transfer);

static void later(struct spread_transfer *transfer, uint64_t after_ns) {
    bnd_timer_start(transfer->spread->kv->config.env, &transfer->timer, after_ns);
}

static void on_timer(struct bnd_timer *timer) {
    step(timer->data);
}

static void finish(struct spread_transfer *transfer, int status) {
    transfer->cb(transfer, status);
}

static struct kv_spread_ask ask_of(const struct spread_transfer *transfer, enum kv_spread_op op) {
    return (struct kv_spread_ask){.op = op,
                                  .shard = transfer->scope.shard,
                                  .epoch = transfer->scope.epoch,
                                  .refused = transfer->scope.refused,
                                  .collected = transfer->scope.collected,
                                  .fresh = transfer->fresh};
}

static void call(struct spread_transfer *transfer, const struct kv_spread_ask *ask,
                 void (*cb)(struct spread_call *, int, struct bnd_slice)) {
    transfer->call.peer = transfer->peer;
    transfer->call.cb = cb;
    transfer->call.data = transfer;
    spread_call(transfer->spread, &transfer->call, ask);
}

static struct kv_spread_ask ask_piece(const struct spread_transfer *transfer, enum kv_spread_op op,
                                      uint64_t namespace_id, struct bnd_slice key) {
    struct kv_spread_ask ask = ask_of(transfer, op);
    ask.namespace_id = namespace_id;
    ask.key = key;
    ask.blob = transfer->blob;
    ask.number = transfer->pieces_at;
    return ask;
}

static uint32_t pieces_of(const struct kv_record *record) {
    return (record->flags & KV_RECORD_BLOB) == 0
               ? 0
               : (record->size + BND_KV_INLINE_MAX - 1) / BND_KV_INLINE_MAX;
}

/* ---- what is wanted
 * ---------------------------------------------------------------------------------- */

static struct bnd_reader rest(const struct bnd_buf *names, size_t at) {
    return bnd_reader(bnd_slice(names->data + at, names->len - at));
}

/* The next record of the batch and its name, without moving on. False: there is none. */
static bool fetched_peek(const struct spread_transfer *transfer, struct kv_given *out) {
    struct bnd_reader names = rest(&transfer->want, transfer->want_at);
    struct bnd_reader records = transfer->fetched;
    return kv_fetched_next(&records, &out->record) &&
           kv_name_next(&names, &out->namespace_id, &out->key);
}

static void fetched_skip(struct spread_transfer *transfer) {
    struct bnd_reader names = rest(&transfer->want, transfer->want_at);
    struct kv_given given;
    (void)kv_fetched_next(&transfer->fetched, &given.record); /* peeked */
    (void)kv_name_next(&names, &given.namespace_id, &given.key);
    transfer->want_at = transfer->want.len - names.rest.len;
    transfer->pieces = 0;
}

static void on_piece(struct spread_call *of, int status, struct bnd_slice bytes) {
    struct spread_transfer *transfer = of->data;
    struct kv_given given;
    if (status != 0 || !fetched_peek(transfer, &given)) {
        finish(transfer, status != 0 ? status : BND_CORRUPT);
        return;
    }
    const struct kv_piece piece = {.shard = transfer->scope.shard,
                                   .namespace_id = given.namespace_id,
                                   .key = given.key,
                                   .blob = transfer->blob,
                                   .number = transfer->pieces_at,
                                   .bytes = bytes};
    bool sound = bytes.len > 0 && bytes.len <= BND_KV_INLINE_MAX;
    int rv = sound ? spread_take_piece(transfer->spread, &piece, transfer->ticket) : BND_CORRUPT;
    if (rv == 0) {
        transfer->pieces_at++;
    } else if (rv != BND_FULL) {
        finish(transfer, rv);
        return;
    }
    later(transfer, rv == BND_FULL ? SPREAD_WAIT_NS : 0); /* FULL: it is asked for again */
}

/* 0: the record's pieces are in the log; 1: one is being fetched; else an error. */
static int take_pieces(struct spread_transfer *transfer, const struct kv_given *given,
                       const struct kv_record *record) {
    if (transfer->pieces == 0) {
        int rv = kv_store_pieces(transfer->spread->kv->store, transfer->scope.shard, record->blob,
                                 &transfer->pieces_at);
        if (rv != 0) {
            return rv;
        }
        transfer->pieces = pieces_of(record);
        memcpy(transfer->blob, record->blob, KV_BLOB_ID_BYTES);
    }
    if (transfer->pieces_at >= transfer->pieces) {
        return 0;
    }
    const struct kv_spread_ask ask =
        ask_piece(transfer, KV_SPREAD_PIECE, given->namespace_id, given->key);
    call(transfer, &ask, on_piece);
    return 1;
}

/* Of the record in hand: 0: it is in the log, or not wanted; 1: something is awaited; else an
 * error, BND_FULL among them. */
static int take_one(struct spread_transfer *transfer, const struct kv_given *given) {
    struct kv_record record;
    bool wanted = false;
    if (given->record.len == 0) {
        return 0; /* the peer has it no more */
    }
    int rv = spread_wants(transfer->spread, transfer->scope.shard, given, transfer->fresh, &record,
                          &wanted);
    if (rv != 0 || !wanted) {
        return rv;
    }
    if ((record.flags & KV_RECORD_BLOB) != 0) {
        rv = take_pieces(transfer, given, &record);
    }
    return rv != 0 ? rv
                   : spread_take(transfer->spread, transfer->scope.shard, given, transfer->fresh,
                                 transfer->ticket);
}

static void on_taken(void *data, int status) {
    struct spread_transfer *transfer = data;
    transfer->ticket = NULL;
    transfer->settled = false;
    if (status != 0) {
        finish(transfer, status);
        return;
    }
    step(transfer);
}

static void take_batch(struct spread_transfer *transfer) {
    struct kv_given given;
    int rv = 0;
    while (rv == 0 && fetched_peek(transfer, &given)) {
        rv = take_one(transfer, &given);
        if (rv == 0) {
            fetched_skip(transfer);
        }
    }
    if (rv == 1) {
        return; /* on_piece goes on */
    }
    if (rv == BND_FULL) {
        later(transfer, SPREAD_WAIT_NS);
        return;
    }
    if (rv != 0) {
        finish(transfer, rv);
        return;
    }
    transfer->fetched = (struct bnd_reader){0};
    transfer->settled = true;
    if (spread_ticket_settle(transfer->ticket, &rv)) {
        transfer->ticket = NULL;
        transfer->settled = false;
        later(transfer, 0);
    }
}

static void on_fetched(struct spread_call *of, int status, struct bnd_slice reply) {
    struct spread_transfer *transfer = of->data;
    status = status == 0 ? kv_fetched_check(reply) : status;
    if (status != 0 || reply.len == 0) { /* no answer to any name: it would be asked for ever */
        finish(transfer, status != 0 ? status : BND_CORRUPT);
        return;
    }
    bnd_buf_reset(&transfer->batch);
    bnd_buf_append_slice(&transfer->batch, reply);
    transfer->ticket = spread_ticket_new(on_taken, transfer);
    if (transfer->ticket == NULL || transfer->batch.failed) {
        finish(transfer, BND_NOMEM);
        return;
    }
    transfer->fetched = bnd_reader(bnd_buf_slice(&transfer->batch));
    take_batch(transfer);
}

static void fetch_batch(struct spread_transfer *transfer) {
    struct kv_spread_ask ask = ask_of(transfer, KV_SPREAD_FETCH);
    struct bnd_reader names = rest(&transfer->want, transfer->want_at);
    struct kv_given given;
    while (ask.items_count < SPREAD_BATCH_ITEMS &&
           kv_name_next(&names, &given.namespace_id, &given.key)) {
        ask.items_count++;
    }
    ask.items = bnd_slice(transfer->want.data + transfer->want_at,
                          transfer->want.len - transfer->want_at - names.rest.len);
    call(transfer, &ask, on_fetched);
}

/* ---- what is given
 * ----------------------------------------------------------------------------------- */

static void on_offered(struct spread_call *of, int status, struct bnd_slice reply) {
    struct spread_transfer *transfer = of->data;
    (void)reply;
    if (status != 0) {
        finish(transfer, status);
        return;
    }
    transfer->pieces_at++;
    later(transfer, 0);
}

static void on_have(struct spread_call *of, int status, struct bnd_slice reply) {
    struct spread_transfer *transfer = of->data;
    struct bnd_reader r = bnd_reader(reply);
    uint32_t have = bnd_read_u32(&r);
    if (status != 0 || !bnd_reader_done(&r)) {
        finish(transfer, status != 0 ? status : BND_CORRUPT);
        return;
    }
    transfer->pieces_at = have;
    later(transfer, 0);
}

/* As take_pieces, the other way. */
static int offer_pieces(struct spread_transfer *transfer, uint64_t namespace_id,
                        struct bnd_slice key, const struct kv_record *record) {
    struct kv_spread *spread = transfer->spread;
    bool in_hand =
        transfer->pieces != 0 && memcmp(transfer->blob, record->blob, KV_BLOB_ID_BYTES) == 0;
    if (!in_hand) {
        transfer->pieces = pieces_of(record);
        memcpy(transfer->blob, record->blob, KV_BLOB_ID_BYTES);
        transfer->pieces_at = 0;
        const struct kv_spread_ask ask = ask_piece(transfer, KV_SPREAD_HAVE, namespace_id, key);
        call(transfer, &ask, on_have);
        return 1;
    }
    if (transfer->pieces_at >= transfer->pieces) {
        return 0;
    }
    BND_AUTO_BUF struct bnd_buf piece = {0};
    int rv = kv_store_piece_get(spread->kv->store, transfer->scope.shard, record->blob,
                                transfer->pieces_at, &piece);
    if (rv != 0) {
        return rv;
    }
    struct kv_spread_ask ask = ask_piece(transfer, KV_SPREAD_OFFER, namespace_id, key);
    ask.bytes = bnd_buf_slice(&piece);
    call(transfer, &ask, on_offered);
    return 1;
}

/* Puts a record into the batch. 0; 1: something is awaited, or the batch goes first; else an
 * error. */
static int give_one(struct spread_transfer *transfer, uint64_t namespace_id, struct bnd_slice key) {
    struct kv_record record;
    bnd_buf_reset(&transfer->scratch);
    int rv = kv_store_get_encoded(transfer->spread->kv->store, transfer->scope.shard, namespace_id,
                                  key, &transfer->scratch);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? 0 : rv;
    }
    rv = kv_record_decode(bnd_buf_slice(&transfer->scratch), &record);
    if (rv == 0 && (record.flags & KV_RECORD_BLOB) != 0) {
        rv = transfer->batch_count > 0 ? 1 /* it went out of turn else */
                                       : offer_pieces(transfer, namespace_id, key, &record);
    }
    if (rv == 0) {
        const struct kv_given given = {
            .namespace_id = namespace_id, .key = key, .record = bnd_buf_slice(&transfer->scratch)};
        kv_given_put(&transfer->batch, &given);
        transfer->batch_count++;
        transfer->pieces = 0;
        transfer->spread->kv->stats.records_sent++;
    }
    return rv;
}

static void on_given(struct spread_call *of, int status, struct bnd_slice reply) {
    struct spread_transfer *transfer = of->data;
    (void)reply;
    if (status != 0) {
        finish(transfer, status);
        return;
    }
    bnd_buf_reset(&transfer->batch);
    transfer->batch_count = 0;
    later(transfer, 0);
}

static void give_batch(struct spread_transfer *transfer) {
    int rv = 0;
    while (rv == 0 && transfer->give_at < transfer->give.len &&
           transfer->batch_count < SPREAD_BATCH_ITEMS && transfer->batch.len < SPREAD_BATCH_BYTES) {
        struct bnd_reader names = rest(&transfer->give, transfer->give_at);
        uint64_t namespace_id = 0;
        struct bnd_slice key = {0};
        if (!kv_name_next(&names, &namespace_id, &key)) {
            rv = BND_CORRUPT;
            break;
        }
        rv = give_one(transfer, namespace_id, key);
        transfer->give_at = rv == 0 ? transfer->give.len - names.rest.len : transfer->give_at;
    }
    if (rv < 0 || transfer->batch.failed) {
        finish(transfer, rv < 0 ? rv : BND_NOMEM);
        return;
    }
    if (transfer->batch_count > 0) {
        struct kv_spread_ask ask = ask_of(transfer, KV_SPREAD_GIVE);
        ask.items = bnd_buf_slice(&transfer->batch);
        ask.items_count = transfer->batch_count;
        call(transfer, &ask, on_given);
    } else if (rv == 0) {
        later(transfer, 0); /* nothing was left of those names */
    }
}

/* ---- both
 * -------------------------------------------------------------------------------------------- */

static void step(struct spread_transfer *transfer) {
    if (transfer->ticket != NULL) {
        take_batch(transfer);
    } else if (transfer->want_at < transfer->want.len) {
        fetch_batch(transfer);
    } else if (transfer->give_at < transfer->give.len) {
        if (transfer->batch_count == 0) {
            bnd_buf_reset(&transfer->batch);
        }
        give_batch(transfer);
    } else {
        finish(transfer, 0);
    }
}

void spread_transfer_begin(struct kv_spread *spread, struct spread_transfer *transfer) {
    transfer->spread = spread;
    transfer->want_at = 0;
    transfer->give_at = 0;
    transfer->batch_count = 0;
    transfer->pieces = 0;
    transfer->fetched = (struct bnd_reader){0};
    transfer->timer.cb = on_timer;
    transfer->timer.data = transfer;
    later(transfer, 0);
}

void spread_transfer_end(struct kv_spread *spread, struct spread_transfer *transfer) {
    if (transfer->spread != NULL) {
        bnd_timer_stop(spread->kv->config.env, &transfer->timer);
        spread_ticket_void(transfer->ticket, transfer->settled);
    }
    spread_call_end(spread, &transfer->call);
    bnd_buf_free(&transfer->want);
    bnd_buf_free(&transfer->give);
    bnd_buf_free(&transfer->batch);
    bnd_buf_free(&transfer->scratch);
    transfer->ticket = NULL;
    transfer->settled = false;
    transfer->spread = NULL;
}
