/* Group 0 while the cluster's CA is being changed (ADR 0091).
 *
 * Invariants: 1. at most two CAs are trusted, and the newer one signs for nodes; 2. the old one
 * goes only in an own command, and without force only when every node that is not gone has
 * confirmed;
 * 3. generations only rise. */
#include "catalog/fsm_private.h"

enum { PEM_MAX = 16384 };

static void get_settings(const struct change *change, struct bnd_buf *value,
                         struct bnd_settings *out) {
    struct state_key key = make_key(change->context->slot, TAG_SETTINGS, bnd_slice(NULL, 0));
    BND_ASSERT(get(change, &key, value) == 0);
    BND_ASSERT(bnd_settings_decode(bnd_buf_slice(value), out) == 0);
}

static void put_settings(const struct change *change, const struct bnd_settings *settings) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_settings_encode(&value, settings);
    BND_ASSERT(!value.failed);
    struct state_key key = make_key(change->context->slot, TAG_SETTINGS, bnd_slice(NULL, 0));
    put(change, &key, bnd_buf_slice(&value));
    struct counters counters = get_counters(change);
    counters.revision++;
    put_counters(change, &counters);
}

static bool is_set_up(const struct change *change) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct state_key key = make_key(change->context->slot, TAG_SETTINGS, bnd_slice(NULL, 0));
    return get(change, &key, &value) == 0;
}

static bool fits(struct bnd_slice bytes) {
    return bytes.len > 0 && bytes.len <= PEM_MAX;
}

int catalog_ca_begin(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_settings settings;
    if (!fits(command->a) || !fits(command->b) || !fits(command->c) || !is_set_up(change)) {
        return BND_INVALID;
    }
    get_settings(change, &value, &settings);
    if (settings.old_ca_cert.len > 0 || command->number != settings.ca_generation) {
        return BND_PRECONDITION;
    }
    settings.old_ca_cert = settings.ca_cert;
    settings.old_ca_key = settings.ca_key;
    settings.ca_cert = command->a;
    settings.ca_key = command->b;
    settings.ca_link = command->c;
    settings.ca_generation++;
    put_settings(change, &settings);
    return 0;
}

int catalog_ca_confirm(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    BND_AUTO_BUF struct bnd_buf known = {0};
    struct bnd_settings settings;
    struct bnd_node_record node;
    struct state_key key = number_key(change->context->slot, TAG_NODE, command->id);
    if (get(change, &key, &known) != 0) {
        return BND_NOTFOUND;
    }
    BND_ASSERT(bnd_node_decode(bnd_buf_slice(&known), &node) == 0);
    get_settings(change, &value, &settings);
    if (command->number != settings.ca_generation) {
        return BND_EPOCH;
    }
    if (node.ca_generation != settings.ca_generation) {
        node.ca_generation = settings.ca_generation;
        store_node(change, &node);
        struct counters counters = get_counters(change);
        counters.revision++;
        put_counters(change, &counters);
    }
    return 0;
}

static bool all_have(const struct change *change, uint32_t generation) {
    const struct bnd_state_ops *ops = batch_ops(change);
    struct state_key from = make_key(change->context->slot, TAG_NODE, bnd_slice(NULL, 0));
    struct state_key to = make_key(change->context->slot, TAG_NODE + 1, bnd_slice(NULL, 0));
    struct bnd_state_iter *iter =
        ops->batch_iter(change->context->batch, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    bool all = true;
    BND_ASSERT(iter != NULL); /* apply cannot fail */
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_node_record node;
        BND_ASSERT(bnd_node_decode(ops->iter_value(iter), &node) == 0);
        all = all && (node.state == BND_NODE_GONE || node.ca_generation == generation);
    }
    BND_ASSERT(ops->iter_status(iter) == 0);
    ops->iter_destroy(iter);
    return all;
}

int catalog_ca_finish(const struct change *change, const struct bnd_catalog_command *command) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_settings settings;
    if (!is_set_up(change)) {
        return BND_NOTFOUND;
    }
    get_settings(change, &value, &settings);
    if (command->number != settings.ca_generation) {
        return BND_EPOCH;
    }
    if (settings.old_ca_cert.len == 0) {
        return BND_NOTFOUND;
    }
    if (command->a.len == 0 && !all_have(change, settings.ca_generation)) {
        return BND_PRECONDITION;
    }
    settings.ca_link = bnd_slice(NULL, 0);
    settings.old_ca_cert = bnd_slice(NULL, 0);
    settings.old_ca_key = bnd_slice(NULL, 0);
    put_settings(change, &settings);
    return 0;
}
