/* Large values, piece by piece: from the state, or from a replica. */
#include "kv/forward.h"

#include "kv/requests.h"

#define CALL_NS (UINT64_C(5000) * BND_MS)

struct read_op {
    struct kv_op op; /* first */
    struct bnd_kv_read *read;
    uint32_t shard;
    struct kv_tried tried;
    struct bnd_rpc_call call;
    struct bnd_task task;
    bool calling, waiting; /* waiting: for its task */
    bool over;             /* told already: the task frees it */
    int last;
    struct bnd_buf piece; /* read here: blob id, piece */
    int status;
};

static void read_free(struct read_op *op) {
    bnd_buf_free(&op->piece);
    kv_op_free(&op->op);
}

static void end(struct read_op *op, int status, struct bnd_slice piece) {
    struct bnd_kv_read *read = op->read;
    if (op->calling) {
        bnd_rpc_cancel(&op->call);
        op->calling = false;
    }
    if (status == 0) {
        read->offset += piece.len;
    }
    struct bnd_buf kept = op->piece; /* what piece may borrow from */
    op->piece = (struct bnd_buf){0};
    if (op->waiting) {
        op->over = true;
    } else {
        read_free(op);
    }
    read->cb(read, status, piece);
    bnd_buf_free(&kept);
}

static void on_fail(struct kv_op *op, int status) {
    if (!((struct read_op *)op)->over) {
        end((struct read_op *)op, status, bnd_slice(NULL, 0));
    }
}

static void on_tick(struct kv_op *op, uint64_t now_ns) {
    /* Its call has a deadline of its own. */
}

/* 0: the end. */
static size_t piece_bytes(const struct bnd_kv_read *read) {
    uint64_t left = read->size - read->offset;
    return left < BND_KV_INLINE_MAX ? (size_t)left : BND_KV_INLINE_MAX;
}

/* An answer: the blob's id, and a piece. */
static void take(struct read_op *op, struct bnd_slice answer) {
    if (answer.len != KV_BLOB_ID_BYTES + piece_bytes(op->read)) {
        end(op, BND_CORRUPT, bnd_slice(NULL, 0));
        return;
    }
    memcpy(op->read->blob, answer.data, KV_BLOB_ID_BYTES);
    end(op, 0, bnd_slice(answer.data + KV_BLOB_ID_BYTES, answer.len - KV_BLOB_ID_BYTES));
}

static int ask_next(struct read_op *op);

static void on_reply(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct read_op *op = call->data;
    op->calling = false;
    if (status == 0) {
        take(op, reply);
        return;
    }
    op->last = status;
    if (ask_next(op) != 0) { /* a replica that lacks it is not the last word */
        end(op, status == BND_NOTFOUND ? BND_NOTFOUND : BND_UNAVAILABLE, bnd_slice(NULL, 0));
    }
}

static void call_of(const struct bnd_kv_read *read, struct kv_call_read *out) {
    *out = (struct kv_call_read){.namespace_id = read->namespace_id,
                                 .key = read->key,
                                 .version = read->version,
                                 .number = (uint32_t)(read->offset / BND_KV_INLINE_MAX)};
    memcpy(out->blob, read->blob, sizeof out->blob);
}

static int ask_next(struct read_op *op) {
    struct bnd_kv *kv = op->op.kv;
    struct kv_call_read read;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    call_of(op->read, &read);
    kv_call_read_encode(&bytes, &read);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    uint64_t node = 0;
    while (!bytes.failed && (node = kv_candidate(kv, op->shard, &op->tried, false)) != 0) {
        op->call = (struct bnd_rpc_call){.cb = on_reply, .data = op};
        if (bnd_rpc_call(kv->config.rpc, &op->call, node, BND_MESH_BULK, BND_RPC_KV, &part, 1,
                         CALL_NS) == 0) {
            op->calling = true;
            return 0;
        }
    }
    return BND_UNAVAILABLE;
}

static void on_task(struct bnd_task *task) {
    struct read_op *op = task->data;
    op->waiting = false;
    if (op->over) {
        read_free(op);
    } else if (op->status == 0) {
        take(op, bnd_buf_slice(&op->piece));
    } else {
        end(op, op->status, bnd_slice(NULL, 0));
    }
}

int kv_read_here(struct bnd_kv *kv, uint32_t shard, const struct kv_call_read *read,
                 struct bnd_buf *out) {
    static const uint8_t none[KV_BLOB_ID_BYTES];
    uint8_t blob[KV_BLOB_ID_BYTES];
    memcpy(blob, read->blob, sizeof blob);
    int rv = 0;
    if (memcmp(blob, none, sizeof blob) == 0) {
        struct kv_record record;
        rv = kv_store_get(kv->store, shard, read->namespace_id, read->key, out, &record);
        bool is_it = rv == 0 && kv_version_cmp(record.version, read->version) == 0 &&
                     (record.flags & KV_RECORD_BLOB) != 0;
        if (!is_it) {
            return rv == 0 ? BND_NOTFOUND : rv;
        }
        memcpy(blob, record.blob, sizeof blob);
    }
    uint32_t pieces = 0;
    BND_AUTO_BUF struct bnd_buf piece = {0};
    rv = kv_store_pieces(kv->store, shard, blob, &pieces);
    if (rv == 0 && read->number >= pieces) {
        rv = BND_NOTFOUND; /* swept, or superseded before all of it had come here */
    }
    rv = rv != 0 ? rv : kv_store_piece_get(kv->store, shard, blob, read->number, &piece);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_reset(out);
    bnd_buf_append(out, blob, sizeof blob);
    bnd_buf_append_slice(out, bnd_buf_slice(&piece));
    return out->failed ? BND_NOMEM : 0;
}

int bnd_kv_read(struct bnd_kv *kv, struct bnd_kv_read *read) {
    bool sound = read->offset <= read->size && read->size <= BND_KV_VALUE_MAX;
    if (read->key.len == 0 || read->key.len > BND_KV_KEY_MAX || !sound) {
        return BND_INVALID;
    }
    if (kv->closing || kv->view.shards_count == 0) {
        return BND_UNAVAILABLE;
    }
    struct read_op *op = kv_op_new(kv, sizeof *op, on_tick, on_fail);
    if (op == NULL) {
        return BND_FULL;
    }
    op->read = read;
    op->shard = kv_shard_of(kv, read->namespace_id, read->key);
    bool at_end = piece_bytes(read) == 0;
    if (at_end || kv_serves(kv, op->shard)) {
        struct kv_call_read call;
        call_of(read, &call);
        if (at_end) {
            bnd_buf_append(&op->piece, read->blob, sizeof read->blob);
        } else {
            op->status = kv_read_here(kv, op->shard, &call, &op->piece);
        }
        op->task = (struct bnd_task){.cb = on_task, .data = op};
        op->waiting = true;
        bnd_defer(kv->config.env, &op->task);
        return 0;
    }
    int rv = ask_next(op);
    if (rv != 0) {
        read_free(op);
    }
    return rv;
}
