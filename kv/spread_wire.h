/* What replicas say to each other to become equal: bytes (SPEC.md, "KV: spread"). Pure.
 *
 * Decoders take any bytes: BND_CORRUPT for what is not exactly one message. What they give borrows
 * from the message. Lists are left encoded, checked to the end, and read with the *_next functions,
 * which end (false) after the last item. */
#ifndef BND_KV_SPREAD_WIRE_H
#define BND_KV_SPREAD_WIRE_H

#include "kv/record.h"
#include "kv/tree.h"

#define KV_SPREAD_ITEMS_MAX 4096u /* of one list */
#define KV_SUMS_SECONDS_MAX 8u

enum kv_spread_op {
    KV_SPREAD_TREE = 1,   /* are our trees equal; if not, your sums */
    KV_SPREAD_LIST = 2,   /* the versions you have in these buckets, after this place */
    KV_SPREAD_FETCH = 3,  /* these records */
    KV_SPREAD_PIECE = 4,  /* this piece of a large value */
    KV_SPREAD_HAVE = 5,   /* how many pieces of it do you have */
    KV_SPREAD_OFFER = 6,  /* a piece for you */
    KV_SPREAD_GIVE = 7,   /* records for you */
    KV_SPREAD_FILLED = 8, /* I am equal with you: count me from now on */
    KV_SPREAD_SUMS = 9,   /* my sums of the last seconds */
};

struct kv_spread_ask {
    enum kv_spread_op op;
    /* All but SUMS: the shard, and what the asker knows of it. */
    uint32_t shard, epoch;
    uint64_t refused, collected;
    struct bnd_hash128 root;   /* TREE, FILLED */
    struct kv_buckets buckets; /* LIST */
    uint64_t namespace_id;     /* LIST: after this place; PIECE, HAVE, OFFER: of this record */
    struct bnd_slice key;
    const uint8_t *blob;    /* PIECE, HAVE, OFFER: [KV_BLOB_ID_BYTES] */
    uint32_t number;        /* PIECE, OFFER */
    struct bnd_slice bytes; /* OFFER: the piece */
    bool fresh;             /* GIVE: of the last seconds: below a refused horizon it is refused */
    struct bnd_slice items; /* FETCH: names; GIVE: given records; SUMS: sums */
    uint32_t items_count;
    uint64_t second;       /* SUMS: the first */
    uint8_t seconds_count; /* SUMS: 1 .. KV_SUMS_SECONDS_MAX */
};
void kv_spread_ask_encode(struct bnd_buf *out, const struct kv_spread_ask *ask);
int kv_spread_ask_decode(struct bnd_slice bytes, struct kv_spread_ask *out);

/* Names: FETCH. */
void kv_name_put(struct bnd_buf *out, uint64_t namespace_id, struct bnd_slice key);
bool kv_name_next(struct bnd_reader *r, uint64_t *out_namespace, struct bnd_slice *out_key);

/* Names with versions: what LIST and SUMS answer. */
struct kv_listed {
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_kv_version version;
};
void kv_listed_put(struct bnd_buf *out, const struct kv_listed *listed);
bool kv_listed_next(struct bnd_reader *r, struct kv_listed *out);

/* Records on their way: GIVE. */
struct kv_given {
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_slice record; /* encoded; what is none is found by who stores it */
};
void kv_given_put(struct bnd_buf *out, const struct kv_given *given);
bool kv_given_next(struct bnd_reader *r, struct kv_given *out);

/* One shard's sums of the seconds asked: SUMS. Sums that are not known are zero. */
struct kv_sums {
    uint32_t shard, epoch;
    uint8_t known; /* bit i: of second + i */
    struct bnd_hash128 sums[KV_SUMS_SECONDS_MAX];
};
void kv_sums_put(struct bnd_buf *out, const struct kv_sums *sums);
bool kv_sums_next(struct bnd_reader *r, struct kv_sums *out);

/* ---- answers
 * ------------------------------------------------------------------------------------- */

struct kv_tree_answer {
    bool equal;
    bool filled;              /* the answering replica is */
    struct bnd_slice buckets; /* not equal: KV_TREE_BUCKETS sums */
};
void kv_tree_answer_encode(struct bnd_buf *out, const struct kv_tree *tree, bool equal,
                           bool filled);
int kv_tree_answer_decode(struct bnd_slice bytes, struct kv_tree_answer *out);
/* Of a decoded answer's buckets. */
struct bnd_hash128 kv_tree_answer_sum(struct bnd_slice buckets, uint32_t bucket);

struct kv_list_answer {
    bool complete; /* to the end of the shard; else up to and with this place: */
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_slice items; /* of kv_listed */
    uint32_t items_count;
};
void kv_list_answer_encode(struct bnd_buf *out, const struct kv_list_answer *answer);
int kv_list_answer_decode(struct bnd_slice bytes, struct kv_list_answer *out);

/* FETCH: of each name, in order, the encoded record, or empty where there is none any more. Names
 * that found no room have no answer: ask again. */
bool kv_fetched_next(struct bnd_reader *r, struct bnd_slice *out_record);
int kv_fetched_check(struct bnd_slice bytes);

/* One second of one shard where the sums differ: SUMS. */
struct kv_differing {
    uint32_t shard;
    uint64_t second;
    bool lost;              /* the list is not whole */
    struct bnd_slice items; /* of kv_listed */
    uint32_t items_count;
};
void kv_differing_put(struct bnd_buf *out, const struct kv_differing *differing);
bool kv_differing_next(struct bnd_reader *r, struct kv_differing *out);
int kv_differing_check(struct bnd_slice bytes);

#endif
