/* Who makes the groups of SQL (ADR 0100, "Founding"): told once, with the first database, so that
 * the first members of each group are the same on every node that makes it. */
#include "catalog/fsm_private.h"
#include "catalog/place.h"
#include "placement/shard.h"

_Static_assert(BND_SQL_FOUNDERS_MAX == BND_REPLICAS_MAX, "the holders of group 0");

static struct state_key founders_key(uint32_t slot) {
    return make_key(slot, TAG_SQL_FOUNDERS, bnd_slice(NULL, 0));
}

static void put_founders(const struct change *change, const uint64_t *nodes, size_t count) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_sql_founders_encode(&value, nodes, count);
    BND_ASSERT(!value.failed);
    struct state_key key = founders_key(change->context->slot);
    put(change, &key, bnd_buf_slice(&value));
}

/* Appends a struct bnd_place_node for each node that holds replicas. */
static void find_places(const struct change *change, struct bnd_buf *out) {
    const struct bnd_state_ops *ops = batch_ops(change);
    struct state_key from = number_key(change->context->slot, TAG_NODE, 0);
    struct state_key to = number_key(change->context->slot, TAG_NODE, UINT64_MAX);
    struct bnd_state_iter *iter =
        ops->batch_iter(change->context->batch, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    BND_ASSERT(iter != NULL); /* apply cannot fail */
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_node_record node;
        BND_ASSERT(bnd_node_decode(ops->iter_value(iter), &node) == 0);
        const struct bnd_place_node place = bnd_catalog_place(&node);
        if (place.weight > 0) {
            bnd_buf_append(out, &place, sizeof place);
        }
    }
    BND_ASSERT(ops->iter_status(iter) == 0 && !out->failed);
    ops->iter_destroy(iter);
}

static size_t replicas(const struct change *change) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_settings settings;
    struct state_key key = make_key(change->context->slot, TAG_SETTINGS, bnd_slice(NULL, 0));
    if (get(change, &key, &value) != 0) {
        return 0; /* the cluster is not set up */
    }
    BND_ASSERT(bnd_settings_decode(bnd_buf_slice(&value), &settings) == 0);
    return settings.replicas < BND_REPLICAS_MAX ? settings.replicas : BND_REPLICAS_MAX;
}

int catalog_sql_found(const struct change *change) {
    BND_AUTO_BUF struct bnd_buf places = {0};
    struct state_key key = founders_key(change->context->slot);
    if (get(change, &key, &places) == 0) {
        return 0; /* the first ones stay */
    }
    bnd_buf_reset(&places);
    find_places(change, &places);
    uint64_t nodes[BND_REPLICAS_MAX];
    size_t wanted = replicas(change);
    size_t count =
        bnd_place_group((const struct bnd_place_node *)(const void *)places.data,
                        places.len / sizeof(struct bnd_place_node), BND_GID_SYSTEM, wanted, nodes);
    count = bnd_place_voters(count, wanted);
    if (count == 0) {
        return BND_PRECONDITION;
    }
    for (size_t i = 1; i < count; i++) {
        for (size_t at = i; at > 0 && nodes[at - 1] > nodes[at]; at--) {
            uint64_t swap = nodes[at];
            nodes[at] = nodes[at - 1];
            nodes[at - 1] = swap;
        }
    }
    put_founders(change, nodes, count);
    struct counters counters = get_counters(change);
    counters.revision++;
    put_counters(change, &counters);
    return 0;
}

void catalog_sql_found_recover(const struct change *change, uint64_t survivor) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct state_key key = founders_key(change->context->slot);
    if (get(change, &key, &value) == 0) {
        put_founders(change, &survivor, 1);
    }
}

int catalog_sql_found_read(const struct bnd_fsm_read *context, struct bnd_buf *reply) {
    struct state_key key = founders_key(context->slot);
    int rv = context->state->ops->get(context->state, BND_CF_CATALOG, key_slice(&key), reply);
    return rv == BND_NOTFOUND ? 0 : rv;
}
