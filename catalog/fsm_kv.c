/* KV namespaces in group 0: made, renamed, deleted, set; and told. There are few (a process's limit
 * comes with the command), so titles and public ids are looked for by walking over them. */
#include "catalog/fsm_private.h"

/* Above any limit: the view of all of them is one message. */
#define NAMESPACES_MAX 16384u

struct known {
    bool there;
    struct bnd_kv_namespace_record record; /* borrows from bytes */
    struct bnd_buf bytes;
};

static void known_free(struct known *known) {
    bnd_buf_free(&known->bytes);
}
#define AUTO_KNOWN __attribute__((cleanup(known_free)))

/* The namespace of this title or public id; the other one is empty. */
static void find(const struct change *change, struct bnd_slice title, struct bnd_slice public_id,
                 struct known *out) {
    const struct bnd_state_ops *ops = batch_ops(change);
    struct state_key from = make_key(change->context->slot, TAG_KV_NAMESPACE, bnd_slice(NULL, 0));
    struct state_key to = make_key(change->context->slot, TAG_KV_NAMESPACE + 1, bnd_slice(NULL, 0));
    struct bnd_state_iter *iter =
        ops->batch_iter(change->context->batch, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    BND_ASSERT(iter != NULL); /* apply cannot fail */
    for (; !out->there && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_kv_namespace_record record;
        BND_ASSERT(bnd_kv_namespace_decode(ops->iter_value(iter), &record) == 0);
        if (bnd_slice_eq(record.title, title) || bnd_slice_eq(record.public_id, public_id)) {
            bnd_buf_append_slice(&out->bytes, ops->iter_value(iter));
            BND_ASSERT(!out->bytes.failed);
            out->there = true;
        }
    }
    BND_ASSERT(ops->iter_status(iter) == 0);
    ops->iter_destroy(iter);
    if (out->there) {
        BND_ASSERT(bnd_kv_namespace_decode(bnd_buf_slice(&out->bytes), &out->record) == 0);
    }
}

/* Also the reply. */
static void store(const struct change *change, const struct bnd_kv_namespace_record *record,
                  struct counters *counters) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    bnd_kv_namespace_encode(&value, record);
    BND_ASSERT(!value.failed);
    struct state_key key = number_key(change->context->slot, TAG_KV_NAMESPACE, record->id);
    put(change, &key, bnd_buf_slice(&value));
    bnd_buf_append_slice(change->reply, bnd_buf_slice(&value));
    counters->revision++;
    put_counters(change, counters);
}

static bool consistency_valid(uint64_t number) {
    return number == BND_KV_EVENTUAL || number == BND_KV_CONSISTENCY_LOCAL;
}

static int create(const struct change *change, const struct bnd_catalog_command *command) {
    AUTO_KNOWN struct known other = {0};
    if (!bnd_kv_title_valid(command->a) || !bnd_kv_public_id_valid(command->b) ||
        !consistency_valid(command->number)) {
        return BND_INVALID;
    }
    find(change, command->a, command->b, &other);
    if (other.there) {
        bnd_buf_append_slice(change->reply, bnd_buf_slice(&other.bytes));
        return BND_EXISTS;
    }
    struct counters counters = get_counters(change);
    if (counters.kv_namespaces >= command->id || counters.kv_namespaces >= NAMESPACES_MAX) {
        return BND_FULL;
    }
    struct bnd_kv_namespace_record record = {
        .id = counters.next_kv_namespace++,
        .consistency = (enum bnd_kv_consistency)command->number,
        .created_ms = change->context->stamp_ms,
        .public_id = command->b,
        .title = command->a,
    };
    counters.kv_namespaces++;
    store(change, &record, &counters);
    return 0;
}

static int rename_namespace(const struct change *change, const struct bnd_catalog_command *command,
                            struct bnd_kv_namespace_record *record) {
    AUTO_KNOWN struct known other = {0};
    if (!bnd_kv_title_valid(command->a)) {
        return BND_INVALID;
    }
    find(change, command->a, bnd_slice(NULL, 0), &other);
    if (other.there && other.record.id != record->id) {
        return BND_EXISTS;
    }
    struct counters counters = get_counters(change);
    record->title = command->a;
    store(change, record, &counters);
    return 0;
}

static int set(const struct change *change, const struct bnd_catalog_command *command,
               struct bnd_kv_namespace_record *record) {
    if (!consistency_valid(command->number)) {
        return BND_INVALID;
    }
    struct counters counters = get_counters(change);
    record->consistency = (enum bnd_kv_consistency)command->number;
    store(change, record, &counters);
    return 0;
}

static int delete (const struct change *change, const struct known *known) {
    struct counters counters = get_counters(change);
    struct state_key key = number_key(change->context->slot, TAG_KV_NAMESPACE, known->record.id);
    BND_ASSERT(counters.kv_namespaces > 0);
    drop(change, &key);
    bnd_buf_append_slice(change->reply, bnd_buf_slice(&known->bytes));
    counters.kv_namespaces--;
    counters.revision++;
    put_counters(change, &counters);
    return 0;
}

int catalog_kv_apply(const struct change *change, const struct bnd_catalog_command *command) {
    if (command->op == BND_CATALOG_KV_CREATE) {
        return create(change, command);
    }
    AUTO_KNOWN struct known known = {0};
    find(change, bnd_slice(NULL, 0), command->b, &known);
    if (!known.there) {
        return BND_NOTFOUND;
    }
    switch (command->op) {
    case BND_CATALOG_KV_RENAME:
        return rename_namespace(change, command, &known.record);
    case BND_CATALOG_KV_DELETE:
        return delete (change, &known);
    case BND_CATALOG_KV_SET:
        return set(change, command, &known.record);
    default:
        BND_UNREACHABLE("a command of KV namespaces");
    }
}

static int append_namespaces(const struct bnd_fsm_read *context, struct bnd_slice public_id,
                             struct bnd_buf *reply) {
    const struct bnd_state_ops *ops = context->state->ops;
    struct state_key from = make_key(context->slot, TAG_KV_NAMESPACE, bnd_slice(NULL, 0));
    struct state_key to = make_key(context->slot, TAG_KV_NAMESPACE + 1, bnd_slice(NULL, 0));
    struct bnd_state_iter *iter =
        ops->iter(context->state, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    size_t count_at = reply->len;
    uint32_t count = 0;
    int rv = 0;
    bnd_buf_u32(reply, 0);
    for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_kv_namespace_record record;
        rv = bnd_kv_namespace_decode(ops->iter_value(iter), &record);
        if (rv == 0 && (public_id.len == 0 || bnd_slice_eq(record.public_id, public_id))) {
            bnd_buf_bytes(reply, ops->iter_value(iter));
            count++;
        }
    }
    rv = rv != 0 ? rv : ops->iter_status(iter);
    ops->iter_destroy(iter);
    if (rv == 0 && !reply->failed) {
        bnd_put_u32(reply->data + count_at, count);
    }
    rv = reply->failed ? BND_NOMEM : rv;
    return rv == 0 && count == 0 && public_id.len > 0 ? BND_NOTFOUND : rv;
}

int catalog_kv_read(const struct bnd_fsm_read *context, struct bnd_slice public_id,
                    struct bnd_buf *reply) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct state_key key = make_key(context->slot, TAG_COUNTERS, bnd_slice(NULL, 0));
    int rv = context->state->ops->get(context->state, BND_CF_CATALOG, key_slice(&key), &value);
    if (rv != 0) {
        return rv;
    }
    struct counters counters;
    rv = catalog_counters_decode(bnd_buf_slice(&value), &counters);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_u64(reply, counters.next_kv_namespace);
    return append_namespaces(context, public_id, reply);
}
