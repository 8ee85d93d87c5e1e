/* The state machine of group 0: settings, nodes, join tokens, bearer tokens, S3 keys, buckets.
 *
 * Keys in BND_CF_CATALOG: slot (BE32), a tag byte, the record's name (SPEC.md, "Catalog").
 * Invariants: 1. every check comes before the first write of a command; 2. ids of nodes, buckets
 * and KV namespaces come from counters that only rise, so none is used twice; 3. the revision rises
 * with every change of what the view holds (all but buckets, D1 databases and join tokens). */
#include "catalog/fsm.h"

#include "base/assert.h"
#include "catalog/command.h"
#include "catalog/fsm_private.h"
#include "placement/rendezvous.h"

/* How long a join token stays after it expired, so that a joiner that crashed right after redeeming
 * may retry. */
#define JOIN_KEEP_MS UINT64_C(604800000)

static bool name_fits(struct bnd_slice name) {
    return name.len > 0 && name.len <= KEY_NAME_MAX;
}

/* ---- the cluster and its nodes
 * ------------------------------------------------------------------------- */

/* Also into the reply. */
/* The record of an id, borrowing from *value; BND_NOTFOUND. */
static int get_node(const struct change *change, uint64_t id, struct bnd_buf *value,
                    struct bnd_node_record *out) {
    struct state_key key = number_key(change->context->slot, TAG_NODE, id);
    if (get(change, &key, value) != 0) {
        return BND_NOTFOUND;
    }
    BND_ASSERT(bnd_node_decode(bnd_buf_slice(value), out) == 0);
    return 0;
}

static bool stores(const struct bnd_node_record *node) {
    return node->role == BND_NODE_STORAGE && node->weight > 0 &&
           (node->state == BND_NODE_ACTIVE || node->state == BND_NODE_DRAINING);
}

struct node_census {
    uint64_t place;  /* asked about */
    size_t storing;  /* nodes that replicas are placed on */
    size_t on_place; /* nodes with that place that are not gone */
};

static struct node_census count_nodes(const struct change *change, uint64_t place) {
    struct node_census census = {.place = place};
    struct state_key from = make_key(change->context->slot, TAG_NODE, bnd_slice(NULL, 0));
    struct state_key to = make_key(change->context->slot, TAG_NODE + 1, bnd_slice(NULL, 0));
    const struct bnd_state_ops *ops = batch_ops(change);
    struct bnd_state_iter *iter =
        ops->batch_iter(change->context->batch, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    BND_ASSERT(iter != NULL);
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_node_record node;
        BND_ASSERT(bnd_node_decode(ops->iter_value(iter), &node) == 0);
        census.storing += stores(&node);
        census.on_place += node.place == place && node.state != BND_NODE_GONE;
    }
    ops->iter_destroy(iter);
    return census;
}

static size_t replicas_wanted(const struct change *change) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_settings settings;
    struct state_key key = make_key(change->context->slot, TAG_SETTINGS, bnd_slice(NULL, 0));
    BND_ASSERT(get(change, &key, &value) == 0);
    BND_ASSERT(bnd_settings_decode(bnd_buf_slice(&value), &settings) == 0);
    return settings.replicas;
}

static int init_cluster(const struct change *change, const struct bnd_catalog_command *command) {
    struct bnd_settings settings;
    struct bnd_node_record node;
    if (bnd_settings_decode(command->a, &settings) != 0 ||
        bnd_node_decode(command->b, &node) != 0) {
        return BND_INVALID;
    }
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct state_key key = make_key(change->context->slot, TAG_SETTINGS, bnd_slice(NULL, 0));
    if (get(change, &key, &old) == 0) {
        return BND_EXISTS;
    }
    struct counters counters = get_counters(change);
    put(change, &key, command->a);
    node.joined_ms = change->context->stamp_ms;
    node.place = node.id;
    put_node(change, &node);
    counters.next_node = node.id + 1;
    counters.revision++;
    put_counters(change, &counters);
    return 0;
}

/* Deletes join tokens that expired long ago; returns how many. */
static uint32_t sweep_joins(const struct change *change) {
    if (change->context->time_suspended) {
        return 0;
    }
    struct state_key from = make_key(change->context->slot, TAG_JOIN, bnd_slice(NULL, 0));
    struct state_key to = make_key(change->context->slot, TAG_JOIN + 1, bnd_slice(NULL, 0));
    const struct bnd_state_ops *ops = batch_ops(change);
    BND_AUTO_BUF struct bnd_buf dead = {0};
    struct bnd_state_iter *iter =
        ops->batch_iter(change->context->batch, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    BND_ASSERT(iter != NULL);
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_join_record join;
        BND_ASSERT(bnd_join_decode(ops->iter_value(iter), &join) == 0);
        if (join.expires_ms + JOIN_KEEP_MS < change->context->stamp_ms) {
            bnd_buf_bytes(&dead, ops->iter_key(iter));
        }
    }
    ops->iter_destroy(iter);
    BND_ASSERT(!dead.failed);
    uint32_t swept = 0;
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&dead));
    while (!bnd_reader_done(&r)) {
        ops->batch_delete(change->context->batch, BND_CF_CATALOG, bnd_read_bytes(&r));
        swept++;
    }
    return swept;
}

static int put_join_token(const struct change *change, const struct bnd_catalog_command *command) {
    struct bnd_join_record join;
    if (!name_fits(command->a) || bnd_join_decode(command->b, &join) != 0 || join.node != 0) {
        return BND_INVALID;
    }
    struct counters counters = get_counters(change);
    counters.joins -= sweep_joins(change);
    if (counters.joins >= TOKENS_MAX) {
        return BND_FULL; /* so nothing was swept */
    }
    struct state_key key = make_key(change->context->slot, TAG_JOIN, command->a);
    put(change, &key, command->b);
    counters.joins++;
    put_counters(change, &counters);
    return 0;
}

/* Has it a place to give: does it store, and has nobody taken it yet? */
static bool may_be_replaced(const struct change *change, uint64_t id, struct bnd_buf *value,
                            struct bnd_node_record *out) {
    return get_node(change, id, value, out) == 0 && out->role == BND_NODE_STORAGE &&
           out->state != BND_NODE_GONE && count_nodes(change, out->place).on_place == 1;
}

/* Gives the node the place of another, which leaves; or its own, if replaced->id is 0. */
static void take_place(const struct change *change, struct bnd_node_record *node,
                       struct bnd_node_record *replaced) {
    node->place = node->id;
    if (replaced->id != 0) {
        node->place = replaced->place;
        node->weight = replaced->weight;
        replaced->state = BND_NODE_LEAVING;
        store_node(change, replaced);
    }
}

/* One token, one public key, one role: the first redeems it, and may ask again after a crash;
 * another is refused. */
static int join(const struct change *change, const struct bnd_catalog_command *command) {
    struct bnd_node_record node;
    struct bnd_join_record token;
    if (!name_fits(command->a) || bnd_node_decode(command->b, &node) != 0 ||
        node.key_hash.len != BND_SECRET_HASH_LEN) {
        return BND_INVALID;
    }
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct state_key key = make_key(change->context->slot, TAG_JOIN, command->a);
    if (get(change, &key, &old) != 0 || bnd_join_decode(bnd_buf_slice(&old), &token) != 0 ||
        !bnd_slice_eq(token.secret_hash, command->c)) {
        return BND_DENIED;
    }
    if (token.node != 0) {
        if (!bnd_slice_eq(token.key_hash, node.key_hash)) {
            return BND_DENIED;
        }
        BND_AUTO_BUF struct bnd_buf known = {0};
        struct state_key node_key = number_key(change->context->slot, TAG_NODE, token.node);
        struct bnd_node_record issued;
        BND_ASSERT(get(change, &node_key, &known) == 0);
        BND_ASSERT(bnd_node_decode(bnd_buf_slice(&known), &issued) == 0);
        if (issued.role != node.role) {
            return BND_DENIED;
        }
        bnd_buf_append_slice(change->reply, bnd_buf_slice(&known));
        return 0;
    }
    if (token.expires_ms < change->context->stamp_ms) {
        return BND_EXPIRED;
    }
    struct bnd_node_record replaced = {0};
    BND_AUTO_BUF struct bnd_buf replaced_bytes = {0};
    if (node.place != 0 && !may_be_replaced(change, node.place, &replaced_bytes, &replaced)) {
        return BND_PRECONDITION;
    }
    struct counters counters = get_counters(change);
    node.id = counters.next_node++;
    node.state = BND_NODE_ACTIVE;
    node.joined_ms = change->context->stamp_ms;
    take_place(change, &node, &replaced);
    token.node = node.id;
    token.key_hash = node.key_hash;
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_join_encode(&value, &token);
    BND_ASSERT(!value.failed);
    put(change, &key, bnd_buf_slice(&value));
    put_node(change, &node);
    counters.revision++;
    put_counters(change, &counters);
    return 0;
}

static void bump_revision(const struct change *change) {
    struct counters counters = get_counters(change);
    counters.revision++;
    put_counters(change, &counters);
}

static int set_node(const struct change *change, const struct bnd_catalog_command *command) {
    struct bnd_node_record node;
    struct bnd_node_record known;
    if (bnd_node_decode(command->a, &node) != 0) {
        return BND_INVALID;
    }
    BND_AUTO_BUF struct bnd_buf old = {0};
    if (get_node(change, node.id, &old, &known) != 0) {
        return BND_NOTFOUND;
    }
    if (known.state == BND_NODE_GONE) {
        return BND_DENIED; /* a decommissioned id is refused for ever */
    }
    known.address = node.address;
    known.zone = node.zone;
    put_node(change, &known);
    bump_revision(change);
    return 0;
}

/* Without this node groups have fewer voters, or no home at all. */
static bool is_needed(const struct change *change, const struct bnd_node_record *node, bool force) {
    size_t storing = count_nodes(change, 0).storing;
    size_t left = storing - stores(node);
    size_t wanted = replicas_wanted(change);
    return left == 0 ||
           (!force && bnd_place_voters(left, wanted) < bnd_place_voters(storing, wanted));
}

static bool may_become(const struct change *change, const struct bnd_node_record *node,
                       enum bnd_node_state state, bool force) {
    if (node->role == BND_NODE_GATEWAY) {
        return state == BND_NODE_GONE; /* it has nothing that could be moved */
    }
    switch (state) {
    case BND_NODE_ACTIVE:
        return node->state != BND_NODE_LEAVING || count_nodes(change, node->place).on_place == 1;
    case BND_NODE_DRAINING:
        return node->state == BND_NODE_ACTIVE || node->state == BND_NODE_DRAINING;
    case BND_NODE_LEAVING:
        return node->state == BND_NODE_LEAVING || !is_needed(change, node, force);
    case BND_NODE_GONE:
        return node->state == BND_NODE_LEAVING && !catalog_kv_map_needs(change, node->id);
    }
    return false;
}

static int set_node_state(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct bnd_node_record node;
    if (get_node(change, command->id, &old, &node) != 0) {
        return BND_NOTFOUND;
    }
    if (node.state == BND_NODE_GONE) {
        return BND_DENIED;
    }
    if (command->number > BND_NODE_LEAVING ||
        !may_become(change, &node, (enum bnd_node_state)command->number, command->a.len > 0)) {
        return BND_PRECONDITION;
    }
    node.state = (enum bnd_node_state)command->number;
    put_node(change, &node);
    bump_revision(change);
    return 0;
}

static int replace_node(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf old = {0};
    BND_AUTO_BUF struct bnd_buf fresh = {0};
    struct bnd_node_record replaced;
    struct bnd_node_record node;
    if (get_node(change, command->id, &old, &replaced) != 0 ||
        get_node(change, command->number, &fresh, &node) != 0) {
        return BND_NOTFOUND;
    }
    if (node.id == replaced.id || !stores(&node) || node.place != node.id ||
        !may_be_replaced(change, replaced.id, &old, &replaced)) {
        return BND_PRECONDITION;
    }
    take_place(change, &node, &replaced);
    put_node(change, &node);
    bump_revision(change);
    return 0;
}

/* ---- buckets
 * ------------------------------------------------------------------------------------------- */

static int get_bucket(const struct change *change, struct bnd_slice name, struct bnd_buf *value,
                      struct bnd_bucket_record *out) {
    if (!bnd_bucket_name_valid(name)) {
        return BND_INVALID;
    }
    struct state_key key = make_key(change->context->slot, TAG_BUCKET, name);
    if (get(change, &key, value) != 0) {
        return BND_NOTFOUND;
    }
    BND_ASSERT(bnd_bucket_decode(bnd_buf_slice(value), out) == 0);
    return 0;
}

static void put_bucket(const struct change *change, const struct bnd_bucket_record *bucket) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_bucket_encode(&value, bucket);
    BND_ASSERT(!value.failed);
    struct state_key key = make_key(change->context->slot, TAG_BUCKET, bucket->name);
    put(change, &key, bnd_buf_slice(&value));
    bnd_buf_append_slice(change->reply, bnd_buf_slice(&value));
}

static int create_bucket(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct bnd_bucket_record bucket;
    int rv = get_bucket(change, command->a, &old, &bucket);
    if (rv == BND_INVALID || command->number > UINT8_MAX) {
        return BND_INVALID;
    }
    if (rv == 0) {
        bnd_buf_append_slice(change->reply, bnd_buf_slice(&old));
        return BND_EXISTS;
    }
    struct counters counters = get_counters(change);
    bucket = (struct bnd_bucket_record){
        .id = counters.next_bucket++,
        .state = BND_BUCKET_ACTIVE,
        .segments = (uint8_t)command->number,
        .created_ms = change->context->stamp_ms,
        .name = command->a,
    };
    put_bucket(change, &bucket);
    put_counters(change, &counters);
    return 0;
}

static int seal_bucket(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct bnd_bucket_record bucket;
    int rv = get_bucket(change, command->a, &old, &bucket);
    if (rv != 0) {
        return rv;
    }
    bucket.state = BND_BUCKET_DELETING;
    bucket.attempt++;
    bucket.attempt_ms = change->context->stamp_ms;
    put_bucket(change, &bucket);
    return 0;
}

/* Ends deletion attempt `number` of the bucket: only the newest attempt may decide. */
static int end_attempt(const struct change *change, const struct bnd_catalog_command *command,
                       bool removed) {
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct bnd_bucket_record bucket;
    int rv = get_bucket(change, command->a, &old, &bucket);
    if (rv != 0) {
        return rv;
    }
    if (bucket.id != command->id) {
        return BND_NOTFOUND;
    }
    if (bucket.state != BND_BUCKET_DELETING || bucket.attempt != command->number) {
        return BND_EPOCH;
    }
    if (removed) {
        struct state_key key = make_key(change->context->slot, TAG_BUCKET, command->a);
        drop(change, &key);
        return 0;
    }
    bucket.state = BND_BUCKET_ACTIVE;
    put_bucket(change, &bucket);
    return 0;
}

/* ---- tokens and keys
 * ----------------------------------------------------------------------------------- */

/* Puts a record that must not be there yet, or drops one that must be; *count is that kind's
 * counter. */
static int put_new(const struct change *change, const struct state_key *key, struct bnd_slice value,
                   size_t count_offset) {
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct counters counters = get_counters(change);
    uint32_t *count = (uint32_t *)(void *)((char *)&counters + count_offset);
    if (get(change, key, &old) == 0) {
        return BND_EXISTS;
    }
    if (*count >= TOKENS_MAX) {
        return BND_FULL;
    }
    put(change, key, value);
    (*count)++;
    counters.revision++;
    put_counters(change, &counters);
    return 0;
}

static int drop_known(const struct change *change, const struct state_key *key,
                      size_t count_offset) {
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct counters counters = get_counters(change);
    uint32_t *count = (uint32_t *)(void *)((char *)&counters + count_offset);
    if (get(change, key, &old) != 0) {
        return BND_NOTFOUND;
    }
    BND_ASSERT(*count > 0);
    drop(change, key);
    (*count)--;
    counters.revision++;
    put_counters(change, &counters);
    return 0;
}

static int put_token(const struct change *change, const struct bnd_catalog_command *command) {
    struct bnd_token_record token;
    if (bnd_token_decode(command->a, &token) != 0 || !name_fits(token.id)) {
        return BND_INVALID;
    }
    token.created_ms = change->context->stamp_ms;
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_token_encode(&value, &token);
    BND_ASSERT(!value.failed);
    struct state_key key = make_key(change->context->slot, TAG_TOKEN, token.id);
    return put_new(change, &key, bnd_buf_slice(&value), offsetof(struct counters, tokens));
}

static int put_s3_key(const struct change *change, const struct bnd_catalog_command *command) {
    struct bnd_key_record record;
    if (bnd_key_decode(command->a, &record) != 0 || !name_fits(record.access_key)) {
        return BND_INVALID;
    }
    record.created_ms = change->context->stamp_ms;
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_key_encode(&value, &record);
    BND_ASSERT(!value.failed);
    struct state_key key = make_key(change->context->slot, TAG_KEY, record.access_key);
    return put_new(change, &key, bnd_buf_slice(&value), offsetof(struct counters, keys));
}

static int drop_named(const struct change *change, uint8_t tag, struct bnd_slice name,
                      size_t count_offset) {
    if (!name_fits(name)) {
        return BND_NOTFOUND;
    }
    struct state_key key = make_key(change->context->slot, tag, name);
    return drop_known(change, &key, count_offset);
}

static int catalog_apply(void *fsm, const struct bnd_fsm_apply *context, struct bnd_slice bytes,
                         struct bnd_buf *reply) {
    struct bnd_catalog_command command;
    if (bnd_catalog_command_decode(bytes, &command) != 0) {
        return BND_INVALID;
    }
    struct change change = {.context = context, .reply = reply};
    switch (command.op) {
    case BND_CATALOG_INIT:
        return init_cluster(&change, &command);
    case BND_CATALOG_BUCKET_CREATE:
        return create_bucket(&change, &command);
    case BND_CATALOG_BUCKET_SEAL:
        return seal_bucket(&change, &command);
    case BND_CATALOG_BUCKET_UNSEAL:
        return end_attempt(&change, &command, false);
    case BND_CATALOG_BUCKET_REMOVE:
        return end_attempt(&change, &command, true);
    case BND_CATALOG_JOIN_TOKEN:
        return put_join_token(&change, &command);
    case BND_CATALOG_JOIN:
        return join(&change, &command);
    case BND_CATALOG_NODE_SET:
        return set_node(&change, &command);
    case BND_CATALOG_NODE_STATE:
        return set_node_state(&change, &command);
    case BND_CATALOG_NODE_REPLACE:
        return replace_node(&change, &command);
    case BND_CATALOG_TOKEN_PUT:
        return put_token(&change, &command);
    case BND_CATALOG_TOKEN_DELETE:
        return drop_named(&change, TAG_TOKEN, command.a, offsetof(struct counters, tokens));
    case BND_CATALOG_KEY_PUT:
        return put_s3_key(&change, &command);
    case BND_CATALOG_KEY_DELETE:
        return drop_named(&change, TAG_KEY, command.a, offsetof(struct counters, keys));
    case BND_CATALOG_RECOVER:
        return catalog_recover(&change, &command);
    case BND_CATALOG_KV_CREATE:
    case BND_CATALOG_KV_RENAME:
    case BND_CATALOG_KV_DELETE:
    case BND_CATALOG_KV_SET:
        return catalog_kv_apply(&change, &command);
    case BND_CATALOG_KV_MAP_INIT:
    case BND_CATALOG_KV_MAP_MOVE:
    case BND_CATALOG_KV_MAP_FILLED:
    case BND_CATALOG_KV_MAP_LEFT:
    case BND_CATALOG_KV_MAP_PROPOSE:
    case BND_CATALOG_KV_MAP_CONFIRM:
    case BND_CATALOG_KV_MAP_UNFILLED:
        return catalog_kv_map_apply(&change, &command);
    case BND_CATALOG_CA_BEGIN:
        return catalog_ca_begin(&change, &command);
    case BND_CATALOG_CA_CONFIRM:
        return catalog_ca_confirm(&change, &command);
    case BND_CATALOG_CA_FINISH:
        return catalog_ca_finish(&change, &command);
    case BND_CATALOG_D1_CREATE:
    case BND_CATALOG_D1_DELETE:
        return catalog_d1_apply(&change, &command);
    case BND_CATALOG_OPS:
        break;
    }
    return BND_INVALID; /* as the decoder says of numbers that are no command's */
}

/* ---- queries
 * ------------------------------------------------------------------------------------------- */

/* Appends count u32 and every record of a tag, each as bytes. */
static int append_all(const struct bnd_fsm_read *context, uint8_t tag, struct bnd_buf *reply) {
    const struct bnd_state_ops *ops = context->state->ops;
    struct state_key from = make_key(context->slot, tag, bnd_slice(NULL, 0));
    struct state_key to = make_key(context->slot, (uint8_t)(tag + 1), bnd_slice(NULL, 0));
    struct bnd_state_iter *iter =
        ops->iter(context->state, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    size_t count_at = reply->len;
    uint32_t count = 0;
    bnd_buf_u32(reply, 0);
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        bnd_buf_bytes(reply, ops->iter_value(iter));
        count++;
    }
    int rv = ops->iter_status(iter);
    ops->iter_destroy(iter);
    if (rv == 0 && !reply->failed) {
        bnd_put_u32(reply->data + count_at, count);
    }
    return reply->failed ? BND_NOMEM : rv;
}

static int read_one(const struct bnd_fsm_read *context, uint8_t tag, struct bnd_slice name,
                    struct bnd_buf *out) {
    struct state_key key = make_key(context->slot, tag, name);
    return context->state->ops->get(context->state, BND_CF_CATALOG, key_slice(&key), out);
}

/* What views of version 1 do not have. */
static int append_sections(const struct bnd_fsm_read *context, struct bnd_buf *reply) {
    BND_AUTO_BUF struct bnd_buf body = {0};
    int rv = catalog_kv_read(context, bnd_slice(NULL, 0), &body);
    bnd_buf_u8(reply, BND_CATALOG_SECTION_KV_NAMESPACES);
    bnd_buf_bytes(reply, bnd_buf_slice(&body));
    bnd_buf_reset(&body);
    rv = rv != 0 ? rv : catalog_kv_map_read(context, &body);
    bnd_buf_u8(reply, BND_CATALOG_SECTION_KV_MAP);
    bnd_buf_bytes(reply, bnd_buf_slice(&body));
    bnd_buf_reset(&body);
    rv = rv != 0 ? rv : catalog_sql_found_read(context, &body);
    if (body.len > 0) {
        bnd_buf_u8(reply, BND_CATALOG_SECTION_SQL);
        bnd_buf_bytes(reply, bnd_buf_slice(&body));
    }
    return rv != 0 ? rv : reply->failed ? BND_NOMEM : 0;
}

static int read_view(const struct bnd_fsm_read *context, const struct bnd_catalog_query *query,
                     struct bnd_buf *reply) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    int rv = read_one(context, TAG_COUNTERS, bnd_slice(NULL, 0), &value);
    if (rv != 0) {
        return rv; /* NOTFOUND: the cluster is not set up yet */
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&value));
    (void)bnd_read_u8(&r);
    uint64_t revision = bnd_read_u64(&r);
    bnd_buf_u64(reply, revision);
    if (revision == query->number) {
        return 0;
    }
    bnd_buf_reset(&value);
    rv = read_one(context, TAG_SETTINGS, bnd_slice(NULL, 0), &value);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_bytes(reply, bnd_buf_slice(&value));
    static const uint8_t tags[] = {TAG_NODE, TAG_TOKEN, TAG_KEY};
    for (size_t i = 0; i < sizeof tags && rv == 0; i++) {
        rv = append_all(context, tags[i], reply);
    }
    bool sections = query->a.len > 0 && query->a.data[0] >= BND_CATALOG_VIEW_SECTIONS;
    return rv == 0 && sections ? append_sections(context, reply) : rv;
}

static int read_buckets(const struct bnd_fsm_read *context, const struct bnd_catalog_query *query,
                        struct bnd_buf *reply) {
    if (query->a.len > BND_BUCKET_NAME_MAX || query->b.len > BND_BUCKET_NAME_MAX ||
        query->number == 0 || query->number > LIST_LIMIT_MAX) {
        return BND_INVALID;
    }
    const struct bnd_state_ops *ops = context->state->ops;
    struct bnd_slice begin = bnd_slice_cmp(query->a, query->b) > 0 ? query->a : query->b;
    struct state_key from = make_key(context->slot, TAG_BUCKET, begin);
    struct state_key to = make_key(context->slot, TAG_BUCKET + 1, bnd_slice(NULL, 0));
    struct bnd_state_iter *iter =
        ops->iter(context->state, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    uint32_t count = 0;
    bnd_buf_u8(reply, 0);
    bnd_buf_u32(reply, 0);
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct bnd_slice name = bnd_slice(key.data + 5, key.len - 5);
        if (query->b.len > 0 && bnd_slice_eq(name, query->b)) {
            continue;
        }
        if (!bnd_slice_starts(name, query->a)) {
            break;
        }
        if (count == query->number) {
            if (!reply->failed) {
                reply->data[0] = 1;
            }
            break;
        }
        bnd_buf_bytes(reply, ops->iter_value(iter));
        count++;
    }
    int rv = ops->iter_status(iter);
    ops->iter_destroy(iter);
    if (!reply->failed) {
        bnd_put_u32(reply->data + 1, count);
    }
    return reply->failed ? BND_NOMEM : rv;
}

static int catalog_read(void *fsm, const struct bnd_fsm_read *context, struct bnd_slice bytes,
                        struct bnd_buf *reply) {
    struct bnd_catalog_query query;
    if (bnd_catalog_query_decode(bytes, &query) != 0) {
        return BND_INVALID;
    }
    switch (query.kind) {
    case BND_CATALOG_QUERY_BUCKET:
        return name_fits(query.a) ? read_one(context, TAG_BUCKET, query.a, reply) : BND_NOTFOUND;
    case BND_CATALOG_QUERY_BUCKETS:
        return read_buckets(context, &query, reply);
    case BND_CATALOG_QUERY_VIEW:
        return read_view(context, &query, reply);
    case BND_CATALOG_QUERY_KV_NAMESPACES:
        return catalog_kv_read(context, query.a, reply);
    case BND_CATALOG_QUERY_D1_DATABASE:
    case BND_CATALOG_QUERY_D1_DATABASES:
        return catalog_d1_read(context, &query, reply);
    case BND_CATALOG_QUERIES:
        break;
    }
    BND_UNREACHABLE("catalog query");
}

static int catalog_open(void *fsm, uint64_t gid, uint32_t slot, struct bnd_state *state,
                        struct bnd_error *err) {
    return 0; /* nothing is kept in memory */
}

static void catalog_close(void *fsm) {
}

void bnd_catalog_fsm_make(struct bnd_fsm *out) {
    static const struct bnd_fsm_ops ops = {
        .open = catalog_open,
        .apply = catalog_apply,
        .written = NULL,
        .read = catalog_read,
        .close = catalog_close,
    };
    *out = (struct bnd_fsm){.ops = &ops, .self = NULL};
}
