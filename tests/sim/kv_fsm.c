/* See kv_fsm.h. A command is u8 op, then length-prefixed fields. */
#include "tests/sim/kv_fsm.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/hash.h"

enum { KV_PUT = 1, KV_DELETE, KV_APPEND, KV_ADD, KV_CAS, KV_GET, KV_HASH, KV_ADD_ON };

struct kv_fsm {
    const struct kv_observer *observer;
    struct bnd_state *state;
    uint64_t gid;
    struct bnd_buf key, value;
};

static void op_fields(struct bnd_buf *out, uint8_t op, struct bnd_slice a, struct bnd_slice b) {
    bnd_buf_u8(out, op);
    bnd_buf_bytes(out, a);
    bnd_buf_bytes(out, b);
}

void kv_put(struct bnd_buf *out, struct bnd_slice key, struct bnd_slice value) {
    op_fields(out, KV_PUT, key, value);
}

void kv_delete(struct bnd_buf *out, struct bnd_slice key) {
    op_fields(out, KV_DELETE, key, bnd_slice(NULL, 0));
}

void kv_append(struct bnd_buf *out, struct bnd_slice key, struct bnd_slice bytes) {
    op_fields(out, KV_APPEND, key, bytes);
}

void kv_add(struct bnd_buf *out, struct bnd_slice key, uint64_t delta) {
    uint8_t bytes[8];
    bnd_put_u64(bytes, delta);
    op_fields(out, KV_ADD, key, bnd_slice(bytes, sizeof bytes));
}

void kv_cas(struct bnd_buf *out, struct bnd_slice key, struct bnd_slice expected,
            struct bnd_slice value) {
    op_fields(out, KV_CAS, key, value);
    bnd_buf_bytes(out, expected);
}

void kv_add_on(struct bnd_buf *out, struct bnd_slice key, uint64_t base, uint64_t delta) {
    uint8_t bytes[16];
    bnd_put_u64(bytes, delta);
    bnd_put_u64(bytes + 8, base);
    op_fields(out, KV_ADD_ON, key, bnd_slice(bytes, 8));
    bnd_buf_bytes(out, bnd_slice(bytes + 8, 8));
}

void kv_get(struct bnd_buf *out, struct bnd_slice key) {
    op_fields(out, KV_GET, key, bnd_slice(NULL, 0));
}

void kv_hash(struct bnd_buf *out) {
    op_fields(out, KV_HASH, bnd_slice(NULL, 0), bnd_slice(NULL, 0));
}

static void state_key(struct bnd_buf *out, uint32_t slot, char kind, struct bnd_slice key) {
    bnd_buf_reset(out);
    bnd_buf_be32(out, slot);
    bnd_buf_u8(out, (uint8_t)kind);
    bnd_buf_append_slice(out, key);
    BND_ASSERT(!out->failed); /* a test that runs out of memory is over */
}

static int kv_open(void *fsm, uint64_t gid, uint32_t slot, struct bnd_state *state,
                   struct bnd_error *err) {
    struct kv_fsm *kv = fsm;
    (void)err; /* nothing is kept in memory, so nothing can fail */
    kv->gid = gid;
    kv->state = state;
    if (kv->observer != NULL && kv->observer->opened != NULL) {
        kv->observer->opened(kv->observer->owner, gid, slot);
    }
    return 0;
}

/* Leaves the key's value in kv->value, empty if there is none, and its state key in kv->key. */
static void load(struct kv_fsm *kv, const struct bnd_fsm_apply *context, struct bnd_slice key) {
    state_key(&kv->key, context->slot, 'k', key);
    bnd_buf_reset(&kv->value);
    int rv = kv->state->ops->batch_get(context->batch, BND_CF_OBJECTS, bnd_buf_slice(&kv->key),
                                       &kv->value);
    BND_ASSERT(rv == 0 || rv == BND_NOTFOUND);
    if (rv == BND_NOTFOUND) {
        bnd_buf_reset(&kv->value);
    }
}

static void store(struct kv_fsm *kv, const struct bnd_fsm_apply *context, struct bnd_slice value) {
    const struct bnd_state_ops *ops = kv->state->ops;
    if (value.len == 0) {
        ops->batch_delete(context->batch, BND_CF_OBJECTS, bnd_buf_slice(&kv->key));
    } else {
        ops->batch_put(context->batch, BND_CF_OBJECTS, bnd_buf_slice(&kv->key), value);
    }
}

static int apply_add(struct kv_fsm *kv, const struct bnd_fsm_apply *context, struct bnd_slice delta,
                     struct bnd_buf *reply) {
    if (delta.len != 8 || (kv->value.len != 0 && kv->value.len != 8)) {
        return BND_INVALID;
    }
    uint64_t old = kv->value.len == 8 ? bnd_get_u64(kv->value.data) : 0;
    uint8_t sum[8];
    bnd_put_u64(sum, old + bnd_get_u64(delta.data));
    store(kv, context, bnd_slice(sum, sizeof sum));
    bnd_buf_append(reply, sum, sizeof sum);
    return 0;
}

static int apply_add_on(struct kv_fsm *kv, const struct bnd_fsm_apply *context,
                        struct bnd_slice delta, struct bnd_slice base, struct bnd_buf *reply) {
    uint64_t now = kv->value.len == 8 ? bnd_get_u64(kv->value.data) : 0;
    if (base.len != 8) {
        return BND_INVALID;
    }
    return bnd_get_u64(base.data) == now ? apply_add(kv, context, delta, reply) : BND_CONFLICT;
}

static int apply_op(struct kv_fsm *kv, const struct bnd_fsm_apply *context,
                    struct bnd_slice command, struct bnd_buf *reply) {
    struct bnd_reader r = bnd_reader(command);
    uint8_t op = bnd_read_u8(&r);
    struct bnd_slice key = bnd_read_bytes(&r);
    struct bnd_slice value = bnd_read_bytes(&r);
    bool third = op == KV_CAS || op == KV_ADD_ON;
    struct bnd_slice expected = third ? bnd_read_bytes(&r) : bnd_slice(NULL, 0);
    if (!bnd_reader_done(&r) || op < KV_PUT || (op > KV_CAS && op != KV_ADD_ON)) {
        return BND_INVALID;
    }
    load(kv, context, key);
    switch (op) {
    case KV_ADD:
        return apply_add(kv, context, value, reply);
    case KV_ADD_ON:
        return apply_add_on(kv, context, value, expected, reply);
    case KV_APPEND:
        if (kv->value.len + value.len > KV_VALUE_MAX) {
            return BND_TOOBIG;
        }
        bnd_buf_append_slice(&kv->value, value);
        BND_ASSERT(!kv->value.failed);
        store(kv, context, bnd_buf_slice(&kv->value));
        bnd_buf_u64(reply, kv->value.len);
        return 0;
    case KV_CAS:
        if (!bnd_slice_eq(bnd_buf_slice(&kv->value), expected)) {
            size_t shown = kv->value.len < KV_SHOWN_MAX ? kv->value.len : KV_SHOWN_MAX;
            bnd_buf_append(reply, kv->value.data, shown);
            return BND_PRECONDITION;
        }
        break;
    default:
        break; /* PUT, DELETE: a delete's value is empty */
    }
    if (value.len > KV_VALUE_MAX) {
        return BND_TOOBIG;
    }
    store(kv, context, value);
    return 0;
}

/* The hash record: u64 hash, u64 index. Returns the new hash. */
static uint64_t extend_hash(struct kv_fsm *kv, const struct bnd_fsm_apply *context,
                            struct bnd_slice command) {
    state_key(&kv->key, context->slot, 'h', bnd_slice(NULL, 0));
    bnd_buf_reset(&kv->value);
    int rv = kv->state->ops->batch_get(context->batch, BND_CF_OBJECTS, bnd_buf_slice(&kv->key),
                                       &kv->value);
    BND_ASSERT((rv == 0 && kv->value.len == 16) || rv == BND_NOTFOUND);
    uint8_t place[16];
    bnd_put_u64(place, context->index);
    bnd_put_u64(place + 8, context->position);
    const struct bnd_slice parts[] = {bnd_slice(place, sizeof place), command};
    uint64_t hash = bnd_hash64_parts(parts, 2, rv == 0 ? bnd_get_u64(kv->value.data) : 0);
    uint8_t record[16];
    bnd_put_u64(record, hash);
    bnd_put_u64(record + 8, context->index);
    store(kv, context, bnd_slice(record, sizeof record));
    return hash;
}

static int kv_apply(void *fsm, const struct bnd_fsm_apply *context, struct bnd_slice command,
                    struct bnd_buf *reply) {
    struct kv_fsm *kv = fsm;
    int status = apply_op(kv, context, command, reply);
    uint64_t hash = status == 0 ? extend_hash(kv, context, command) : 0;
    if (kv->observer != NULL && kv->observer->applied != NULL) {
        struct kv_applied applied = {
            .gid = context->gid,
            .index = context->index,
            .term = context->term,
            .stamp_ms = context->stamp_ms,
            .position = context->position,
            .slot = context->slot,
            .command = command,
            .status = status,
            .hash = hash,
        };
        kv->observer->applied(kv->observer->owner, &applied);
    }
    return status;
}

static void kv_written(void *fsm, uint64_t index) {
    struct kv_fsm *kv = fsm;
    if (kv->observer != NULL && kv->observer->written != NULL) {
        kv->observer->written(kv->observer->owner, kv->gid, index);
    }
}

int kv_state_hash(struct bnd_state *state, uint32_t slot, uint64_t *out_hash, uint64_t *out_index) {
    BND_AUTO_BUF struct bnd_buf key = {0};
    BND_AUTO_BUF struct bnd_buf value = {0};
    state_key(&key, slot, 'h', bnd_slice(NULL, 0));
    int rv = state->ops->get(state, BND_CF_OBJECTS, bnd_buf_slice(&key), &value);
    if (rv != 0 && rv != BND_NOTFOUND) {
        return rv;
    }
    if (rv == 0 && value.len != 16) {
        return BND_CORRUPT;
    }
    *out_hash = rv == 0 ? bnd_get_u64(value.data) : 0;
    *out_index = rv == 0 ? bnd_get_u64(value.data + 8) : 0;
    return 0;
}

static int kv_read(void *fsm, const struct bnd_fsm_read *context, struct bnd_slice query,
                   struct bnd_buf *reply) {
    struct kv_fsm *kv = fsm;
    struct bnd_reader r = bnd_reader(query);
    uint8_t op = bnd_read_u8(&r);
    struct bnd_slice key = bnd_read_bytes(&r);
    (void)bnd_read_bytes(&r); /* queries have no second field: checked to be whole below */
    if (!bnd_reader_done(&r) || (op != KV_GET && op != KV_HASH)) {
        return BND_INVALID;
    }
    if (op == KV_GET) {
        state_key(&kv->key, context->slot, 'k', key);
        return context->state->ops->get(context->state, BND_CF_OBJECTS, bnd_buf_slice(&kv->key),
                                        reply);
    }
    uint64_t hash = 0;
    uint64_t index = 0;
    int rv = kv_state_hash(context->state, context->slot, &hash, &index);
    if (rv == 0) {
        bnd_buf_u64(reply, hash);
        bnd_buf_u64(reply, index);
    }
    return rv;
}

/* As a service's: all but deletes. */
static bool kv_grows(void *fsm, struct bnd_slice command) {
    return command.len > 0 && command.data[0] != KV_DELETE;
}

static void kv_close(void *fsm) {
    struct kv_fsm *kv = fsm;
    bnd_buf_free(&kv->key);
    bnd_buf_free(&kv->value);
    bnd_free(kv);
}

static const struct bnd_fsm_ops kv_ops = {
    .open = kv_open,
    .apply = kv_apply,
    .written = kv_written,
    .read = kv_read,
    .grows = kv_grows,
    .close = kv_close,
};

int kv_fsm_make(const struct kv_observer *observer, struct bnd_fsm *out) {
    struct kv_fsm *kv = bnd_zalloc(sizeof *kv);
    if (kv == NULL) {
        return BND_NOMEM;
    }
    kv->observer = observer;
    *out = (struct bnd_fsm){.ops = &kv_ops, .self = kv};
    return 0;
}
