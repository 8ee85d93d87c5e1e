/* See tuple.h. Value of the 'a' key, little-endian:
 *   u8 version (3), u64 index, u64 term, u64 configuration_index, u64 stamp_ms, u32 state_version,
 *   u64 dedupe_count, u64 jump_from_ms, u64 jump_to_ms, u32 length, encoded configuration (empty at
 *   index 0), u32 length, young request ids
 * Version 2 had no young request ids, version 1 no jump either. */
#include "raft/tuple.h"

#include "base/assert.h"

enum {
    TUPLE_VERSION = 3,
    TUPLE_VERSION_YOUNG = 3,
    TUPLE_VERSION_JUMP = 2,
    TUPLE_VERSION_FIRST = 1
};

/* About: a tuple with a configuration of five. */
#define TUPLE_BYTES 128u

struct bnd_slice tuple_key(uint8_t key[TUPLE_KEY_BYTES_MAX], uint32_t slot, enum tuple_key kind,
                           const uint64_t *numbers, size_t count) {
    BND_ASSERT(5 + 8 * count <= TUPLE_KEY_BYTES_MAX);
    bnd_put_be32(key, slot);
    key[4] = (uint8_t)kind;
    for (size_t i = 0; i < count; i++) {
        bnd_put_be64(key + 5 + 8 * i, numbers[i]);
    }
    return bnd_slice(key, 5 + 8 * count);
}

void tuple_encode(const struct tuple *tuple, struct bnd_slice young, struct bnd_buf *out) {
    bnd_buf_u8(out, TUPLE_VERSION);
    bnd_buf_u64(out, tuple->index);
    bnd_buf_u64(out, tuple->term);
    bnd_buf_u64(out, tuple->configuration_index);
    bnd_buf_u64(out, tuple->stamp_ms);
    bnd_buf_u32(out, tuple->state_version);
    bnd_buf_u64(out, tuple->dedupe_count);
    bnd_buf_u64(out, tuple->jump_from_ms);
    bnd_buf_u64(out, tuple->jump_to_ms);
    size_t at = out->len;
    bnd_buf_u32(out, 0);
    if (tuple->configuration.count > 0) {
        bnd_raft_configuration_encode(&tuple->configuration, out);
    }
    if (!out->failed) {
        bnd_put_u32(out->data + at, (uint32_t)(out->len - at - 4));
    }
    bnd_buf_bytes(out, young);
}

int tuple_decode(struct bnd_slice bytes, struct tuple *out, struct bnd_slice *out_young,
                 struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    if (!r.failed && (version < TUPLE_VERSION_FIRST || version > TUPLE_VERSION)) {
        return BND_FAIL(err, VERSION, "applied tuple version %u is not known", version);
    }
    struct tuple tuple = {.index = bnd_read_u64(&r), .term = bnd_read_u64(&r)};
    tuple.configuration_index = bnd_read_u64(&r);
    tuple.stamp_ms = bnd_read_u64(&r);
    tuple.state_version = bnd_read_u32(&r);
    tuple.dedupe_count = bnd_read_u64(&r);
    if (version >= TUPLE_VERSION_JUMP) {
        tuple.jump_from_ms = bnd_read_u64(&r);
        tuple.jump_to_ms = bnd_read_u64(&r);
    }
    struct bnd_slice configuration = bnd_read_bytes(&r);
    struct bnd_slice young = bnd_slice(NULL, 0);
    if (version >= TUPLE_VERSION_YOUNG) {
        young = bnd_read_bytes(&r);
    }
    if (!bnd_reader_done(&r) || tuple.configuration_index > tuple.index) {
        return BND_FAIL(err, CORRUPT, "applied tuple of %zu bytes is damaged", bytes.len);
    }
    if (tuple.state_version != TUPLE_STATE_VERSION) {
        return BND_FAIL(err, VERSION, "state version %u is not known", tuple.state_version);
    }
    if (configuration.len > 0) {
        int rv = bnd_raft_configuration_decode(configuration, &tuple.configuration, err);
        if (rv != 0) {
            return BND_WRAP(err, rv, "applied tuple");
        }
    }
    *out = tuple;
    *out_young = young;
    return 0;
}

int tuple_load(struct bnd_state *state, uint32_t slot, bool persisted, struct tuple *out,
               struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    struct bnd_slice key = tuple_key(bytes, slot, TUPLE_KEY_APPLIED, NULL, 0);
    int rv = persisted ? state->ops->get_persisted(state, BND_CF_RAFT, key, &value)
                       : state->ops->get(state, BND_CF_RAFT, key, &value);
    if (rv == BND_NOTFOUND) {
        *out = (struct tuple){.state_version = TUPLE_STATE_VERSION};
        return 0;
    }
    if (rv != 0) {
        return bnd_error_set(err, rv, "cannot read the applied tuple of slot %u", slot);
    }
    struct bnd_slice young;
    rv = tuple_decode(bnd_buf_slice(&value), out, &young, err);
    return rv == 0 ? 0 : BND_WRAP(err, rv, "slot %u", slot);
}

int tuple_store(struct bnd_state *state, struct bnd_state_batch *batch, uint32_t slot,
                const struct tuple *tuple, struct bnd_slice young) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    uint8_t bytes[TUPLE_KEY_BYTES_MAX];
    (void)bnd_buf_reserve(&value, TUPLE_BYTES + young.len); /* grows once, as a rule */
    tuple_encode(tuple, young, &value);
    if (value.failed) {
        return BND_NOMEM;
    }
    state->ops->batch_put(batch, BND_CF_RAFT, tuple_key(bytes, slot, TUPLE_KEY_APPLIED, NULL, 0),
                          bnd_buf_slice(&value));
    return 0;
}
