/* The map of KV's shards in group 0 (ADR 0090): what placement/kv_map decides, kept and told. */
#include "catalog/fsm_private.h"
#include "placement/kv_map.h"
#include "placement/shard.h"

static struct state_key shard_key(const struct change *change, uint64_t shard) {
    return number_key(change->context->slot, TAG_KV_SHARD, shard);
}

static void load(const struct change *change, uint64_t shard, struct bnd_buf *value,
                 struct bnd_kv_shard *out) {
    struct state_key key = shard_key(change, shard);
    *out = (struct bnd_kv_shard){0};
    if (get(change, &key, value) == 0) {
        BND_ASSERT(bnd_kv_shard_decode(bnd_buf_slice(value), out) == 0);
    }
}

/* 0: the cluster is not set up yet. */
static uint32_t shards_of(const struct change *change) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_settings settings;
    struct state_key key = make_key(change->context->slot, TAG_SETTINGS, bnd_slice(NULL, 0));
    if (get(change, &key, &value) != 0) {
        return 0;
    }
    BND_ASSERT(bnd_settings_decode(bnd_buf_slice(&value), &settings) == 0);
    return settings.shards;
}

/* May it become a replica: does it store, and is not on its way out? */
static bool may_join(const struct change *change, uint64_t id) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_node_record node;
    struct state_key key = number_key(change->context->slot, TAG_NODE, id);
    if (get(change, &key, &value) != 0) {
        return false;
    }
    BND_ASSERT(bnd_node_decode(bnd_buf_slice(&value), &node) == 0);
    return node.role == BND_NODE_STORAGE && node.weight > 0 &&
           (node.state == BND_NODE_ACTIVE || node.state == BND_NODE_DRAINING);
}

/* The numbers of a command's field: at most what any of them has. */
struct numbers {
    uint64_t values[2 + BND_KV_REPLICAS_MAX];
    size_t count;
};

static bool read_numbers(struct bnd_slice bytes, struct numbers *out) {
    struct bnd_reader r = bnd_reader(bytes);
    *out = (struct numbers){0};
    while (r.rest.len > 0 && !r.failed && out->count < sizeof out->values / sizeof out->values[0]) {
        out->values[out->count++] = bnd_read_u64(&r);
    }
    return bnd_reader_done(&r);
}

static int init(const struct change *change, const struct numbers *nodes,
                struct bnd_kv_shard *shard) {
    for (size_t i = 0; i < nodes->count; i++) {
        if (!may_join(change, nodes->values[i])) {
            return BND_PRECONDITION;
        }
    }
    return bnd_kv_shard_init(shard, nodes->values, nodes->count);
}

static int move(const struct change *change, uint32_t epoch, const struct numbers *numbers,
                struct bnd_kv_shard *shard) {
    uint64_t joins = numbers->values[0];
    if (joins != 0 && !may_join(change, joins)) {
        return BND_PRECONDITION;
    }
    return bnd_kv_shard_move(shard, epoch, joins, numbers->values[1]);
}

static int confirm(uint32_t epoch, const struct numbers *numbers, struct bnd_kv_shard *shard) {
    struct bnd_kv_confirmation confirmation = {
        .node = numbers->values[0],
        .horizon = numbers->values[1],
        .equal = numbers->values + 2,
        .equal_count = numbers->count - 2,
    };
    return bnd_kv_shard_confirm(shard, epoch, &confirmation);
}

static int make_transition(const struct change *change, const struct bnd_catalog_command *command,
                           const struct numbers *numbers, struct bnd_kv_shard *shard) {
    uint32_t epoch = (uint32_t)command->number;
    const uint64_t *values = numbers->values;
    size_t count = numbers->count;
    switch (command->op) {
    case BND_CATALOG_KV_MAP_INIT:
        return init(change, numbers, shard);
    case BND_CATALOG_KV_MAP_MOVE:
        return count == 2 ? move(change, epoch, numbers, shard) : BND_INVALID;
    case BND_CATALOG_KV_MAP_FILLED:
        return count == 2 ? bnd_kv_shard_filled(shard, epoch, values[0], values[1]) : BND_INVALID;
    case BND_CATALOG_KV_MAP_LEFT:
        return count == 1 ? bnd_kv_shard_left(shard, epoch, values[0]) : BND_INVALID;
    case BND_CATALOG_KV_MAP_PROPOSE:
        return count == 1 ? bnd_kv_shard_propose(shard, epoch, values[0]) : BND_INVALID;
    case BND_CATALOG_KV_MAP_CONFIRM:
        return count >= 2 ? confirm(epoch, numbers, shard) : BND_INVALID;
    case BND_CATALOG_KV_MAP_UNFILLED:
        return count == 1 ? bnd_kv_shard_unfilled(shard, epoch, values[0]) : BND_INVALID;
    default:
        BND_UNREACHABLE("a command of the KV map");
    }
}

int catalog_kv_map_apply(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf was = {0};
    BND_AUTO_BUF struct bnd_buf is = {0};
    struct numbers numbers;
    struct bnd_kv_shard shard;
    if (!read_numbers(command->a, &numbers) || command->number > UINT32_MAX ||
        command->id >= shards_of(change)) {
        return BND_INVALID;
    }
    load(change, command->id, &was, &shard);
    int rv = make_transition(change, command, &numbers, &shard);
    if (rv != 0) {
        return rv;
    }
    bnd_kv_shard_encode(&is, &shard);
    BND_ASSERT(!is.failed);
    if (!bnd_slice_eq(bnd_buf_slice(&is), bnd_buf_slice(&was))) {
        struct state_key key = shard_key(change, command->id);
        struct counters counters = get_counters(change);
        put(change, &key, bnd_buf_slice(&is));
        counters.revision++;
        put_counters(change, &counters);
    }
    return 0;
}

bool catalog_kv_map_needs(const struct change *change, uint64_t node) {
    uint32_t shards = shards_of(change);
    for (uint32_t i = 0; i < shards; i++) {
        BND_AUTO_BUF struct bnd_buf value = {0};
        struct bnd_kv_shard shard;
        load(change, i, &value, &shard);
        if (shard.leaving == node || bnd_kv_shard_find(&shard, node) < shard.replicas_count) {
            return true;
        }
    }
    return false;
}

/* Shards that were never made stay so: the planner makes them, if KV is used at all. */
void catalog_kv_map_recover(const struct change *change, uint64_t survivor, uint32_t gap) {
    uint32_t shards = shards_of(change);
    for (uint32_t i = 0; i < shards; i++) {
        BND_AUTO_BUF struct bnd_buf was = {0};
        BND_AUTO_BUF struct bnd_buf is = {0};
        struct bnd_kv_shard shard;
        load(change, i, &was, &shard);
        if (shard.epoch > 0) {
            struct state_key key = shard_key(change, i);
            bnd_kv_shard_recover(&shard, survivor, gap);
            bnd_kv_shard_encode(&is, &shard);
            BND_ASSERT(!is.failed);
            put(change, &key, bnd_buf_slice(&is));
        }
    }
}

int catalog_kv_map_read(const struct bnd_fsm_read *context, struct bnd_buf *reply) {
    const struct bnd_state_ops *ops = context->state->ops;
    struct state_key from = make_key(context->slot, TAG_KV_SHARD, bnd_slice(NULL, 0));
    struct state_key to = make_key(context->slot, TAG_KV_SHARD + 1, bnd_slice(NULL, 0));
    struct bnd_state_iter *iter =
        ops->iter(context->state, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    size_t count_at = reply->len;
    uint32_t count = 0;
    bnd_buf_u32(reply, 0);
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        bnd_buf_u32(reply, (uint32_t)bnd_get_be64(key.data + key.len - 8));
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
