#include "kv/spread_wire.h"

#include "placement/shard.h"

/* ---- items of lists
 * ------------------------------------------------------------------------------ */

static void fail(struct bnd_reader *r) {
    r->failed = true;
}

static struct bnd_slice read_key(struct bnd_reader *r) {
    struct bnd_slice key = bnd_read_bytes(r);
    if (key.len > BND_KV_KEY_MAX) {
        fail(r);
    }
    return key;
}

void kv_name_put(struct bnd_buf *out, uint64_t namespace_id, struct bnd_slice key) {
    bnd_buf_u64(out, namespace_id);
    bnd_buf_bytes(out, key);
}

bool kv_name_next(struct bnd_reader *r, uint64_t *out_namespace, struct bnd_slice *out_key) {
    if (r->failed || r->rest.len == 0) {
        return false;
    }
    *out_namespace = bnd_read_u64(r);
    *out_key = read_key(r);
    return !r->failed;
}

void kv_listed_put(struct bnd_buf *out, const struct kv_listed *listed) {
    kv_name_put(out, listed->namespace_id, listed->key);
    bnd_buf_u64(out, listed->version.hlc);
    bnd_buf_u64(out, listed->version.writer);
}

bool kv_listed_next(struct bnd_reader *r, struct kv_listed *out) {
    if (!kv_name_next(r, &out->namespace_id, &out->key)) {
        return false;
    }
    out->version.hlc = bnd_read_u64(r);
    out->version.writer = bnd_read_u64(r);
    if (out->version.hlc == 0) {
        fail(r);
    }
    return !r->failed;
}

void kv_given_put(struct bnd_buf *out, const struct kv_given *given) {
    kv_name_put(out, given->namespace_id, given->key);
    bnd_buf_bytes(out, given->record);
}

bool kv_given_next(struct bnd_reader *r, struct kv_given *out) {
    if (!kv_name_next(r, &out->namespace_id, &out->key)) {
        return false;
    }
    out->record = bnd_read_bytes(r);
    return !r->failed;
}

static void put_sum(struct bnd_buf *out, struct bnd_hash128 sum) {
    bnd_buf_u64(out, sum.low);
    bnd_buf_u64(out, sum.high);
}

static struct bnd_hash128 read_sum(struct bnd_reader *r) {
    struct bnd_hash128 sum = {.low = bnd_read_u64(r)};
    sum.high = bnd_read_u64(r);
    return sum;
}

static bool sum_zero(struct bnd_hash128 sum) {
    return sum.low == 0 && sum.high == 0;
}

void kv_sums_put(struct bnd_buf *out, const struct kv_sums *sums) {
    uint8_t filled = 0;
    for (unsigned i = 0; i < KV_SUMS_SECONDS_MAX; i++) {
        filled |= (uint8_t)(sum_zero(sums->sums[i]) ? 0 : 1u << i);
    }
    bnd_buf_u32(out, sums->shard);
    bnd_buf_u32(out, sums->epoch);
    bnd_buf_u8(out, sums->known);
    bnd_buf_u8(out, filled);
    for (unsigned i = 0; i < KV_SUMS_SECONDS_MAX; i++) {
        if (!sum_zero(sums->sums[i])) {
            put_sum(out, sums->sums[i]);
        }
    }
}

bool kv_sums_next(struct bnd_reader *r, struct kv_sums *out) {
    if (r->failed || r->rest.len == 0) {
        return false;
    }
    *out = (struct kv_sums){.shard = bnd_read_u32(r)};
    out->epoch = bnd_read_u32(r);
    out->known = bnd_read_u8(r);
    uint8_t filled = bnd_read_u8(r);
    for (unsigned i = 0; i < KV_SUMS_SECONDS_MAX; i++) {
        if ((filled >> i & 1) != 0) {
            out->sums[i] = read_sum(r);
            if (sum_zero(out->sums[i])) {
                fail(r);
            }
        }
    }
    if (out->shard >= BND_SHARDS_MAX || (filled & ~out->known) != 0) {
        fail(r);
    }
    return !r->failed;
}

/* ---- what is asked
 * ----------------------------------------------------------------------------------- */

static bool of_a_piece(enum kv_spread_op op) {
    return op == KV_SPREAD_PIECE || op == KV_SPREAD_HAVE || op == KV_SPREAD_OFFER;
}

static void put_items(struct bnd_buf *out, struct bnd_slice items, uint32_t count) {
    bnd_buf_u32(out, count);
    bnd_buf_append_slice(out, items);
}

void kv_spread_ask_encode(struct bnd_buf *out, const struct kv_spread_ask *ask) {
    bnd_buf_u8(out, (uint8_t)ask->op);
    if (ask->op == KV_SPREAD_SUMS) {
        bnd_buf_u64(out, ask->second);
        bnd_buf_u8(out, ask->seconds_count);
        put_items(out, ask->items, ask->items_count);
        return;
    }
    bnd_buf_u32(out, ask->shard);
    bnd_buf_u32(out, ask->epoch);
    bnd_buf_u64(out, ask->refused);
    bnd_buf_u64(out, ask->collected);
    if (ask->op == KV_SPREAD_TREE || ask->op == KV_SPREAD_FILLED) {
        put_sum(out, ask->root);
    } else if (ask->op == KV_SPREAD_LIST) {
        for (size_t i = 0; i < KV_TREE_BUCKETS / 64; i++) {
            bnd_buf_u64(out, ask->buckets.bits[i]);
        }
        kv_name_put(out, ask->namespace_id, ask->key);
    } else if (of_a_piece(ask->op)) {
        kv_name_put(out, ask->namespace_id, ask->key);
        bnd_buf_append(out, ask->blob, KV_BLOB_ID_BYTES);
        bnd_buf_u32(out, ask->number);
        bnd_buf_bytes(out, ask->bytes);
    } else {
        bnd_buf_u8(out, ask->fresh);
        put_items(out, ask->items, ask->items_count);
    }
}

/* The rest of the message is `count` items of an op. */
static void read_items(struct bnd_reader *r, struct kv_spread_ask *ask) {
    uint64_t namespace_id;
    struct bnd_slice key;
    struct kv_given given;
    struct kv_sums sums;
    ask->items_count = bnd_read_u32(r);
    ask->items = r->rest;
    uint32_t count = 0;
    bool more = true;
    while (more && count <= ask->items_count) {
        more = ask->op == KV_SPREAD_FETCH  ? kv_name_next(r, &namespace_id, &key)
               : ask->op == KV_SPREAD_GIVE ? kv_given_next(r, &given)
                                           : kv_sums_next(r, &sums);
        count += more ? 1 : 0;
    }
    uint32_t most = ask->op == KV_SPREAD_SUMS ? BND_SHARDS_MAX : KV_SPREAD_ITEMS_MAX;
    if (count != ask->items_count || count > most) {
        fail(r);
    }
}

static void read_piece(struct bnd_reader *r, struct kv_spread_ask *ask) {
    ask->namespace_id = bnd_read_u64(r);
    ask->key = read_key(r);
    ask->blob = bnd_read_raw(r, KV_BLOB_ID_BYTES).data;
    ask->number = bnd_read_u32(r);
    ask->bytes = bnd_read_bytes(r);
    bool offered = ask->op == KV_SPREAD_OFFER;
    if (ask->bytes.len > BND_KV_INLINE_MAX || offered != (ask->bytes.len > 0) ||
        ask->number > BND_KV_VALUE_MAX / BND_KV_INLINE_MAX) {
        fail(r);
    }
}

static void read_rest(struct bnd_reader *r, struct kv_spread_ask *ask) {
    if (ask->op == KV_SPREAD_TREE || ask->op == KV_SPREAD_FILLED) {
        ask->root = read_sum(r);
    } else if (ask->op == KV_SPREAD_LIST) {
        for (size_t i = 0; i < KV_TREE_BUCKETS / 64; i++) {
            ask->buckets.bits[i] = bnd_read_u64(r);
        }
        ask->namespace_id = bnd_read_u64(r);
        ask->key = read_key(r);
    } else if (of_a_piece(ask->op)) {
        read_piece(r, ask);
    } else if (ask->op == KV_SPREAD_FETCH || ask->op == KV_SPREAD_GIVE) {
        uint8_t fresh = bnd_read_u8(r);
        ask->fresh = fresh == 1;
        if (fresh > 1) {
            fail(r);
        }
        read_items(r, ask);
    } else {
        fail(r);
    }
}

int kv_spread_ask_decode(struct bnd_slice bytes, struct kv_spread_ask *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct kv_spread_ask ask = {.op = (enum kv_spread_op)bnd_read_u8(&r)};
    if (ask.op == KV_SPREAD_SUMS) {
        ask.second = bnd_read_u64(&r);
        ask.seconds_count = bnd_read_u8(&r);
        if (ask.seconds_count == 0 || ask.seconds_count > KV_SUMS_SECONDS_MAX) {
            fail(&r);
        }
        read_items(&r, &ask);
    } else {
        ask.shard = bnd_read_u32(&r);
        ask.epoch = bnd_read_u32(&r);
        ask.refused = bnd_read_u64(&r);
        ask.collected = bnd_read_u64(&r);
        read_rest(&r, &ask);
    }
    if (!bnd_reader_done(&r) || ask.shard >= BND_SHARDS_MAX) {
        return BND_CORRUPT;
    }
    *out = ask;
    return 0;
}

/* ---- what is answered
 * -------------------------------------------------------------------------------- */

enum { ANSWER_EQUAL = 1, ANSWER_FILLED = 2 };

void kv_tree_answer_encode(struct bnd_buf *out, const struct kv_tree *tree, bool equal,
                           bool filled) {
    bnd_buf_u8(out, (uint8_t)((equal ? ANSWER_EQUAL : 0) | (filled ? ANSWER_FILLED : 0)));
    for (uint32_t i = 0; !equal && i < KV_TREE_BUCKETS; i++) {
        put_sum(out, tree->buckets[i]);
    }
}

int kv_tree_answer_decode(struct bnd_slice bytes, struct kv_tree_answer *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t flags = bnd_read_u8(&r);
    bool equal = (flags & ANSWER_EQUAL) != 0;
    if (r.failed || flags > (ANSWER_EQUAL | ANSWER_FILLED) ||
        r.rest.len != (equal ? 0 : (size_t)KV_TREE_BUCKETS * 16)) {
        return BND_CORRUPT;
    }
    *out = (struct kv_tree_answer){
        .equal = equal, .filled = (flags & ANSWER_FILLED) != 0, .buckets = r.rest};
    return 0;
}

struct bnd_hash128 kv_tree_answer_sum(struct bnd_slice buckets, uint32_t bucket) {
    BND_ASSERT(buckets.len == (size_t)KV_TREE_BUCKETS * 16 && bucket < KV_TREE_BUCKETS);
    const uint8_t *at = buckets.data + (size_t)bucket * 16;
    return (struct bnd_hash128){.low = bnd_get_u64(at), .high = bnd_get_u64(at + 8)};
}

/* count: what stands before the list. */
static bool listed_check(struct bnd_slice items, uint32_t count) {
    struct bnd_reader r = bnd_reader(items);
    struct kv_listed listed;
    uint32_t found = 0;
    while (found <= KV_SPREAD_ITEMS_MAX && kv_listed_next(&r, &listed)) {
        found++;
    }
    return bnd_reader_done(&r) && found == count && found <= KV_SPREAD_ITEMS_MAX;
}

void kv_list_answer_encode(struct bnd_buf *out, const struct kv_list_answer *answer) {
    bnd_buf_u8(out, answer->complete);
    kv_name_put(out, answer->namespace_id, answer->key);
    put_items(out, answer->items, answer->items_count);
}

int kv_list_answer_decode(struct bnd_slice bytes, struct kv_list_answer *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t complete = bnd_read_u8(&r);
    struct kv_list_answer answer = {.complete = complete == 1, .namespace_id = bnd_read_u64(&r)};
    answer.key = read_key(&r);
    answer.items_count = bnd_read_u32(&r);
    answer.items = r.rest;
    if (r.failed || complete > 1 || !listed_check(answer.items, answer.items_count)) {
        return BND_CORRUPT;
    }
    *out = answer;
    return 0;
}

bool kv_fetched_next(struct bnd_reader *r, struct bnd_slice *out_record) {
    if (r->failed || r->rest.len == 0) {
        return false;
    }
    *out_record = bnd_read_bytes(r);
    return !r->failed;
}

int kv_fetched_check(struct bnd_slice bytes) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_slice record;
    uint32_t count = 0;
    while (count <= KV_SPREAD_ITEMS_MAX && kv_fetched_next(&r, &record)) {
        count++;
    }
    return bnd_reader_done(&r) && count <= KV_SPREAD_ITEMS_MAX ? 0 : BND_CORRUPT;
}

void kv_differing_put(struct bnd_buf *out, const struct kv_differing *differing) {
    bnd_buf_u32(out, differing->shard);
    bnd_buf_u64(out, differing->second);
    bnd_buf_u8(out, differing->lost);
    bnd_buf_u32(out, differing->items_count);
    bnd_buf_bytes(out, differing->items);
}

bool kv_differing_next(struct bnd_reader *r, struct kv_differing *out) {
    if (r->failed || r->rest.len == 0) {
        return false;
    }
    *out = (struct kv_differing){.shard = bnd_read_u32(r)};
    out->second = bnd_read_u64(r);
    uint8_t lost = bnd_read_u8(r);
    out->lost = lost == 1;
    out->items_count = bnd_read_u32(r);
    out->items = bnd_read_bytes(r);
    if (out->shard >= BND_SHARDS_MAX || lost > 1 || !listed_check(out->items, out->items_count)) {
        fail(r);
    }
    return !r->failed;
}

int kv_differing_check(struct bnd_slice bytes) {
    struct bnd_reader r = bnd_reader(bytes);
    struct kv_differing differing;
    uint32_t count = 0;
    while (count <= KV_SPREAD_ITEMS_MAX && kv_differing_next(&r, &differing)) {
        count++;
    }
    return bnd_reader_done(&r) && count <= KV_SPREAD_ITEMS_MAX ? 0 : BND_CORRUPT;
}
