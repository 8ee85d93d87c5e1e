/* Group 0 after the loss of a quorum (ADR 0085). */
#include "catalog/fsm_private.h"

/* More ids than the lost majority can have issued after what this node knows. */
#define RECOVER_GAP (1u << 20)

/* Appends the records of all nodes that are lost, as they shall be: u32 length, record. */
static void lost_nodes(const struct change *change, uint64_t survivor, struct bnd_buf *out) {
    const struct bnd_state_ops *ops = batch_ops(change);
    struct state_key from = number_key(change->context->slot, TAG_NODE, 0);
    struct state_key to = number_key(change->context->slot, TAG_NODE, UINT64_MAX);
    struct bnd_state_iter *iter =
        ops->batch_iter(change->context->batch, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    BND_ASSERT(iter != NULL); /* apply cannot fail */
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        BND_AUTO_BUF struct bnd_buf value = {0};
        struct bnd_node_record node;
        BND_ASSERT(bnd_node_decode(ops->iter_value(iter), &node) == 0);
        if (node.id != survivor && node.role == BND_NODE_STORAGE && node.state != BND_NODE_GONE) {
            node.state = BND_NODE_GONE;
            bnd_node_encode(&value, &node);
            bnd_buf_bytes(out, bnd_buf_slice(&value));
            out->failed = out->failed || value.failed;
        }
    }
    BND_ASSERT(ops->iter_status(iter) == 0);
    ops->iter_destroy(iter);
    BND_ASSERT(!out->failed);
}

/* The nodes that were lost may have issued ids that this one never heard of: a node id issued twice
 * would let the old one in, and a bucket id issued twice would show the old one's objects. */
int catalog_recover(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf lost = {0};
    BND_AUTO_BUF struct bnd_buf known = {0};
    struct state_key key = number_key(change->context->slot, TAG_NODE, command->id);
    if (get(change, &key, &known) != 0) {
        return BND_NOTFOUND;
    }
    lost_nodes(change, command->id, &lost);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&lost));
    while (r.rest.len > 0) {
        struct bnd_node_record node;
        BND_ASSERT(bnd_node_decode(bnd_read_bytes(&r), &node) == 0);
        store_node(change, &node);
    }
    catalog_kv_map_recover(change, command->id, RECOVER_GAP);
    catalog_sql_found_recover(change, command->id);
    struct counters counters = get_counters(change);
    counters.revision += RECOVER_GAP;
    counters.next_node += RECOVER_GAP;
    counters.next_bucket += RECOVER_GAP;
    counters.next_kv_namespace += RECOVER_GAP;
    put_counters(change, &counters);
    return 0;
}
