/* Group 0's state machine inside: keys, counters, and access to the batch of the entry that is
 * being applied. */
#ifndef BND_CATALOG_FSM_PRIVATE_H
#define BND_CATALOG_FSM_PRIVATE_H

#include "base/assert.h"
#include "catalog/command.h"
#include "catalog/fsm.h"
#include "catalog/keys.h"

enum {
    TAG_SETTINGS = CATALOG_TAG_SETTINGS,
    TAG_COUNTERS = CATALOG_TAG_COUNTERS,
    TAG_NODE = CATALOG_TAG_NODE,
    TAG_BUCKET = CATALOG_TAG_BUCKET,
    TAG_JOIN = CATALOG_TAG_JOIN,
    TAG_TOKEN = CATALOG_TAG_TOKEN,
    TAG_KEY = CATALOG_TAG_KEY,
    TAG_KV_NAMESPACE = CATALOG_TAG_KV_NAMESPACE,
    TAG_KV_SHARD = CATALOG_TAG_KV_SHARD,
    TAG_D1_DATABASE = CATALOG_TAG_D1_DATABASE,
    TAG_D1_NAME = CATALOG_TAG_D1_NAME,
    TAG_D1_COUNT = CATALOG_TAG_D1_COUNT,
    TAG_SQL_FOUNDERS = CATALOG_TAG_SQL_FOUNDERS,
    KEY_NAME_MAX = 128,
    COUNTERS_VERSION = 1,
    COUNTERS_VERSION_KV = 2, /* since the first KV namespace */
    TOKENS_MAX = 4096,       /* of each kind: the view of all of them is one message */
    LIST_LIMIT_MAX = 1000,
};

struct state_key {
    uint8_t bytes[5 + KEY_NAME_MAX];
    size_t len;
};

static inline struct state_key make_key(uint32_t slot, uint8_t tag, struct bnd_slice name) {
    struct state_key key;
    BND_ASSERT(name.len <= KEY_NAME_MAX);
    bnd_put_be32(key.bytes, slot);
    key.bytes[4] = tag;
    if (name.len > 0) {
        memcpy(key.bytes + 5, name.data, name.len);
    }
    key.len = 5 + name.len;
    return key;
}

static inline struct state_key number_key(uint32_t slot, uint8_t tag, uint64_t number) {
    uint8_t name[8];
    bnd_put_be64(name, number);
    return make_key(slot, tag, bnd_slice(name, sizeof name));
}

static inline struct bnd_slice key_slice(const struct state_key *key) {
    return bnd_slice(key->bytes, key->len);
}

struct counters {
    uint64_t revision;
    uint64_t next_node;
    uint64_t next_bucket;
    uint32_t tokens;
    uint32_t keys;
    uint32_t joins;
    uint32_t kv_namespaces;
    uint64_t next_kv_namespace;
};

/* ---- access to the batch, in the words of this file
 * ---------------------------------------------------- */

struct change {
    const struct bnd_fsm_apply *context;
    struct bnd_buf *reply;
};

static inline const struct bnd_state_ops *batch_ops(const struct change *change) {
    return change->context->state->ops;
}

static inline int get(const struct change *change, const struct state_key *key,
                      struct bnd_buf *out) {
    bnd_buf_reset(out);
    int rv =
        batch_ops(change)->batch_get(change->context->batch, BND_CF_CATALOG, key_slice(key), out);
    BND_ASSERT(rv == 0 ||
               rv == BND_NOTFOUND); /* apply cannot fail: a broken store stops the node */
    return rv;
}

static inline void put(const struct change *change, const struct state_key *key,
                       struct bnd_slice value) {
    batch_ops(change)->batch_put(change->context->batch, BND_CF_CATALOG, key_slice(key), value);
}

static inline void drop(const struct change *change, const struct state_key *key) {
    batch_ops(change)->batch_delete(change->context->batch, BND_CF_CATALOG, key_slice(key));
}

/* BND_CORRUPT. */
static inline int catalog_counters_decode(struct bnd_slice bytes, struct counters *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct counters counters = {.next_kv_namespace = 1};
    uint8_t version = bnd_read_u8(&r);
    counters.revision = bnd_read_u64(&r);
    counters.next_node = bnd_read_u64(&r);
    counters.next_bucket = bnd_read_u64(&r);
    counters.tokens = bnd_read_u32(&r);
    counters.keys = bnd_read_u32(&r);
    counters.joins = bnd_read_u32(&r);
    if (version == COUNTERS_VERSION_KV) {
        counters.next_kv_namespace = bnd_read_u64(&r);
        counters.kv_namespaces = bnd_read_u32(&r);
    }
    if (!bnd_reader_done(&r) || version < COUNTERS_VERSION || version > COUNTERS_VERSION_KV) {
        return BND_CORRUPT;
    }
    *out = counters;
    return 0;
}

static inline struct counters get_counters(const struct change *change) {
    struct counters counters = {.next_node = 1, .next_bucket = 1, .next_kv_namespace = 1};
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct state_key key = make_key(change->context->slot, TAG_COUNTERS, bnd_slice(NULL, 0));
    if (get(change, &key, &value) == 0) {
        BND_ASSERT(catalog_counters_decode(bnd_buf_slice(&value), &counters) == 0);
    }
    return counters;
}

/* Clusters without KV keep the form that a version before it can read. */
static inline void put_counters(const struct change *change, const struct counters *counters) {
    uint8_t value[1 + 3 * 8 + 3 * 4 + 8 + 4];
    bool kv = counters->next_kv_namespace > 1;
    value[0] = kv ? COUNTERS_VERSION_KV : COUNTERS_VERSION;
    bnd_put_u64(value + 1, counters->revision);
    bnd_put_u64(value + 9, counters->next_node);
    bnd_put_u64(value + 17, counters->next_bucket);
    bnd_put_u32(value + 25, counters->tokens);
    bnd_put_u32(value + 29, counters->keys);
    bnd_put_u32(value + 33, counters->joins);
    bnd_put_u64(value + 37, counters->next_kv_namespace);
    bnd_put_u32(value + 45, counters->kv_namespaces);
    struct state_key key = make_key(change->context->slot, TAG_COUNTERS, bnd_slice(NULL, 0));
    put(change, &key, bnd_slice(value, kv ? sizeof value : sizeof value - 12));
}

static inline void store_node(const struct change *change, const struct bnd_node_record *node) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_node_encode(&value, node);
    BND_ASSERT(!value.failed);
    struct state_key key = number_key(change->context->slot, TAG_NODE, node->id);
    put(change, &key, bnd_buf_slice(&value));
}

static inline void put_node(const struct change *change, const struct bnd_node_record *node) {
    store_node(change, node);
    bnd_node_encode(change->reply, node);
}

/* fsm_recover.c: BND_CATALOG_RECOVER. */
int catalog_recover(const struct change *change, const struct bnd_catalog_command *command);

/* fsm_kv.c: BND_CATALOG_KV_CREATE .. BND_CATALOG_KV_SET, and what queries and views tell of the
 * namespaces: u64 next id, u32 count, records. public_id empty: all of them; BND_NOTFOUND. */
int catalog_kv_apply(const struct change *change, const struct bnd_catalog_command *command);
int catalog_kv_read(const struct bnd_fsm_read *context, struct bnd_slice public_id,
                    struct bnd_buf *reply);

/* fsm_kv_map.c: BND_CATALOG_KV_MAP_INIT .. BND_CATALOG_KV_MAP_UNFILLED. */
int catalog_kv_map_apply(const struct change *change, const struct bnd_catalog_command *command);
/* The node is a replica of a shard of KV, or hands one over. */
bool catalog_kv_map_needs(const struct change *change, uint64_t node);
/* All other nodes that store are lost. gap: of epochs, above what they can have reached. */
void catalog_kv_map_recover(const struct change *change, uint64_t survivor, uint32_t gap);
/* Appends the view's section. */
int catalog_kv_map_read(const struct bnd_fsm_read *context, struct bnd_buf *reply);

/* fsm_d1.c: BND_CATALOG_D1_CREATE, BND_CATALOG_D1_DELETE; the two queries. */
int catalog_d1_apply(const struct change *change, const struct bnd_catalog_command *command);
int catalog_d1_read(const struct bnd_fsm_read *context, const struct bnd_catalog_query *query,
                    struct bnd_buf *reply);

/* fsm_sql_found.c: for every command that makes something in SQL's groups. The nodes that should hold
 * group 0 now become SQL's founders, unless there are some: then they stay. BND_PRECONDITION: there
 * is no such node, and nothing is changed. */
int catalog_sql_found(const struct change *change);
/* All other nodes that store are lost. */
void catalog_sql_found_recover(const struct change *change, uint64_t survivor);
/* Appends the view's section; nothing: SQL has no groups. */
int catalog_sql_found_read(const struct bnd_fsm_read *context, struct bnd_buf *reply);

/* fsm_ca.c: the change of the cluster's CA. */
int catalog_ca_begin(const struct change *change, const struct bnd_catalog_command *command);
int catalog_ca_confirm(const struct change *change, const struct bnd_catalog_command *command);
int catalog_ca_finish(const struct change *change, const struct bnd_catalog_command *command);

#endif
