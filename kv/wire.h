/* What nodes say to each other for puts, reads and lists (SPEC.md, "KV: messages"). Decoders take
 * any bytes: BND_CORRUPT, or a reader that fails, for what is not exactly one message. What they
 * give borrows. */
#ifndef BND_KV_WIRE_H
#define BND_KV_WIRE_H

#include "kv/log.h"
#include "kv/store.h"

/* First byte of a BND_MESH_KV message. */
enum kv_message { KV_MESSAGE_PUSHES = 1, KV_MESSAGE_ACKS = 2 };

/* One thing to be stored by a replica. */
struct kv_pushed {
    uint64_t seq;          /* the sender's own; comes back with the ack */
    enum kv_log_kind kind; /* RECORD or PIECE */
    uint32_t shard, epoch;
    uint64_t namespace_id;
    struct bnd_slice key;
    const uint8_t *blob;   /* PIECE: [KV_BLOB_ID_BYTES] */
    uint32_t number;       /* PIECE */
    struct bnd_slice body; /* an encoded record, checked; or a piece */
};
/* All but the body, which follows it directly. */
void kv_pushed_head(struct bnd_buf *out, const struct kv_pushed *pushed);
/* Fails the reader for what is none. */
struct kv_pushed kv_pushed_read(struct bnd_reader *r);

enum kv_ack_status {
    KV_ACK_OK,      /* durable and applied there, or that very version was */
    KV_ACK_NEWER,   /* a newer version stands there: `version` */
    KV_ACK_AHEAD,   /* the version is too far ahead of that node's clock */
    KV_ACK_TOO_OLD, /* below the horizon that it refuses: version.hlc */
    KV_ACK_EPOCH,   /* its map has another epoch: version.hlc; or it is no replica */
    KV_ACK_LACKS,   /* pieces of the value are missing there */
    KV_ACK_FULL,    /* no room there now */
    KV_ACK_GONE,    /* the namespace is deleted */
    KV_ACK_STATUSES,
    KV_ACK_LOST = 255, /* never on the wire: the peer is gone, or said nothing */
};
struct kv_ack {
    uint64_t seq;
    enum kv_ack_status status;
    struct bnd_kv_version version;
};
void kv_ack_put(struct bnd_buf *out, const struct kv_ack *ack);
struct kv_ack kv_ack_read(struct bnd_reader *r);

/* ---- calls of BND_RPC_KV: the first byte; below KV_SPREAD_OPS_END they are the spread's
 * ------------ */

enum kv_call { KV_CALL_PUT = 64, KV_CALL_GET = 65, KV_CALL_READ = 66, KV_CALL_LIST = 67 };

/* A put to be coordinated there. */
struct kv_write_params {
    uint64_t namespace_id;
    struct bnd_slice key, metadata;
    struct bnd_slice value; /* empty with a blob */
    uint64_t expires_ms;
    uint64_t
        above_hlc; /* somebody has stored it under this, and could not go on: stamp above; 0: no */
    uint32_t size; /* of the value, or of the blob */
    uint8_t flags; /* of kv_record: TOMBSTONE, BLOB */
    uint8_t blob[KV_BLOB_ID_BYTES];
};
/* All but the value, which follows it. */
void kv_call_put_head(struct bnd_buf *out, const struct kv_write_params *params);
int kv_call_put_decode(struct bnd_slice bytes, struct kv_write_params *out);
struct kv_put_answer {
    enum bnd_kv_durability durability;
    struct bnd_kv_version version;
};
void kv_put_answer_encode(struct bnd_buf *out, const struct kv_put_answer *answer);
int kv_put_answer_decode(struct bnd_slice bytes, struct kv_put_answer *out);

/* The record of a key, a tombstone too. any: also from a replica that is not filled. Answer: the
 * encoded record; BND_NOTFOUND. */
struct kv_call_get {
    uint64_t namespace_id;
    struct bnd_slice key;
    bool any;
};
void kv_call_get_encode(struct bnd_buf *out, const struct kv_call_get *get);
int kv_call_get_decode(struct bnd_slice bytes, struct kv_call_get *out);

/* A piece of a large value: by its blob, or where that is not known (all zero) by the version. */
struct kv_call_read {
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_kv_version version;
    uint8_t blob[KV_BLOB_ID_BYTES];
    uint32_t number;
};
void kv_call_read_encode(struct bnd_buf *out, const struct kv_call_read *read);
int kv_call_read_decode(struct bnd_slice bytes, struct kv_call_read *out);
/* Answer: the blob id, then the piece; no piece: it is past the end. */

/* A page over some shards. */
struct kv_call_list {
    uint64_t namespace_id;
    struct bnd_slice prefix, after;
    uint32_t limit;
    struct bnd_slice shards; /* u32 each */
    uint32_t shards_count;
};
void kv_call_list_encode(struct bnd_buf *out, const struct kv_call_list *list);
int kv_call_list_decode(struct bnd_slice bytes, struct kv_call_list *out);
static inline uint32_t kv_call_list_shard(const struct kv_call_list *list, uint32_t i) {
    return bnd_get_u32(list->shards.data + 4 * (size_t)i);
}
/* The head of an answer; the page's entries follow. */
void kv_page_head(struct bnd_buf *out, const struct kv_page *page);
struct kv_page_view {
    bool complete;
    uint32_t count;
    struct bnd_slice last, entries; /* of kv_page_entry_read, checked, in rising order */
};
int kv_page_decode(struct bnd_slice bytes, struct kv_page_view *out);

#endif
