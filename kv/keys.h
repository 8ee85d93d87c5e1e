/* Keys of column family KV (SPEC.md, "KV"). */
#ifndef BND_KV_KEYS_H
#define BND_KV_KEYS_H

#include "base/bytes.h"
#include "kv/record.h"

enum kv_tag {
    KV_TAG_RECORD = 'r', /* namespace, key -> record */
    KV_TAG_VALUE = 'v',  /* namespace, key -> value of a SPLIT record */
    KV_TAG_PIECE = 'p',  /* blob, number -> piece */
    KV_TAG_FREE = 'f',   /* ms, blob -> empty: the blob goes at that time */
    KV_TAG_MARKS = 'm',
    KV_TAG_APPLIED = 'a', /* slot 0 */
    KV_TAG_SHARD = 's',   /* slot 0: shard -> empty: the shard has marks */
};

#define KV_KEY_BYTES_MAX (4u + 1u + 8u + BND_KV_KEY_MAX + 1u)

struct kv_key {
    uint8_t bytes[KV_KEY_BYTES_MAX];
    size_t len;
};

static inline struct bnd_slice kv_key_slice(const struct kv_key *key) {
    return bnd_slice(key->bytes, key->len);
}

static inline void kv_key_tag(struct kv_key *out, uint32_t slot, enum kv_tag tag) {
    bnd_put_be32(out->bytes, slot);
    out->bytes[4] = (uint8_t)tag;
    out->len = 5;
}
/* The first key past all of a tag. */
static inline void kv_key_past_tag(struct kv_key *out, uint32_t slot, enum kv_tag tag) {
    kv_key_tag(out, slot, (enum kv_tag)(tag + 1));
}
/* Of records and values. key may be one byte longer than a key: where to go on after one. */
static inline void kv_key_name(struct kv_key *out, uint32_t shard, enum kv_tag tag,
                               uint64_t namespace_id, struct bnd_slice key) {
    kv_key_tag(out, KV_SLOT(shard), tag);
    bnd_put_be64(out->bytes + 5, namespace_id);
    if (key.len > 0) {
        memcpy(out->bytes + 13, key.data, key.len);
    }
    out->len = 13 + key.len;
}
static inline void kv_key_piece(struct kv_key *out, uint32_t shard, const uint8_t *blob,
                                uint32_t number) {
    kv_key_tag(out, KV_SLOT(shard), KV_TAG_PIECE);
    memcpy(out->bytes + 5, blob, KV_BLOB_ID_BYTES);
    bnd_put_be32(out->bytes + 5 + KV_BLOB_ID_BYTES, number);
    out->len = 5 + KV_BLOB_ID_BYTES + 4;
}
static inline void kv_key_free(struct kv_key *out, uint32_t shard, uint64_t ms,
                               const uint8_t *blob) {
    kv_key_tag(out, KV_SLOT(shard), KV_TAG_FREE);
    bnd_put_be64(out->bytes + 5, ms);
    memcpy(out->bytes + 13, blob, KV_BLOB_ID_BYTES);
    out->len = 13 + KV_BLOB_ID_BYTES;
}
static inline void kv_key_shard(struct kv_key *out, uint32_t shard) {
    kv_key_tag(out, 0, KV_TAG_SHARD);
    bnd_put_be32(out->bytes + 5, shard);
    out->len = 9;
}

#endif
