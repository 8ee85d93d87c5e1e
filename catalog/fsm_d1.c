/* D1 databases in group 0: made, deleted, found by uuid and name, listed. There can be many, so no
 * command walks over them, and the view has none of them (docs/design/0104-d1-surfaces.md). */
#include "catalog/fsm_private.h"

#define COUNT_VERSION 1

static struct state_key uuid_key(uint32_t slot, struct bnd_slice uuid) {
    return make_key(slot, TAG_D1_DATABASE, uuid);
}

static struct state_key count_key(uint32_t slot) {
    return make_key(slot, TAG_D1_COUNT, bnd_slice(NULL, 0));
}

/* BND_CORRUPT. */
static int decode_count(struct bnd_slice bytes, uint32_t *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    uint32_t count = bnd_read_u32(&r);
    if (version != COUNT_VERSION || !bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    *out = count;
    return 0;
}

static uint32_t get_count(const struct change *change) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct state_key key = count_key(change->context->slot);
    uint32_t count = 0;
    if (get(change, &key, &value) == 0) {
        BND_ASSERT(decode_count(bnd_buf_slice(&value), &count) == 0);
    }
    return count;
}

static void put_count(const struct change *change, uint32_t count) {
    uint8_t value[1 + 4] = {COUNT_VERSION};
    struct state_key key = count_key(change->context->slot);
    bnd_put_u32(value + 1, count);
    put(change, &key, bnd_slice(value, sizeof value));
}

/* ---- commands
 * ------------------------------------------------------------------------------------------------
 */

static int create(const struct change *change, const struct bnd_catalog_command *command) {
    uint32_t slot = change->context->slot;
    if (!bnd_d1_name_valid(command->a) || command->b.len != BND_D1_UUID_BYTES) {
        return BND_INVALID;
    }
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct state_key by_name = make_key(slot, TAG_D1_NAME, command->a);
    struct state_key by_uuid = uuid_key(slot, command->b);
    if (get(change, &by_name, &old) == 0) {
        by_uuid = uuid_key(slot, bnd_buf_slice(&old));
    }
    if (get(change, &by_uuid, &old) == 0) {
        bnd_buf_append_slice(change->reply, bnd_buf_slice(&old));
        return BND_EXISTS;
    }
    uint32_t count = get_count(change);
    if (count >= command->number || count == UINT32_MAX) {
        return BND_FULL;
    }
    int rv = catalog_sql_found(change);
    if (rv != 0) {
        return rv;
    }
    struct bnd_d1_database record = {.created_ms = change->context->stamp_ms, .name = command->a};
    BND_AUTO_BUF struct bnd_buf value = {0};
    memcpy(record.uuid, command->b.data, sizeof record.uuid);
    bnd_d1_database_encode(&value, &record);
    BND_ASSERT(!value.failed);
    put(change, &by_uuid, bnd_buf_slice(&value));
    put(change, &by_name, command->b);
    put_count(change, count + 1);
    bnd_buf_append_slice(change->reply, bnd_buf_slice(&value));
    return 0;
}

static int delete (const struct change *change, const struct bnd_catalog_command *command) {
    uint32_t slot = change->context->slot;
    if (command->b.len != BND_D1_UUID_BYTES) {
        return BND_INVALID;
    }
    BND_AUTO_BUF struct bnd_buf old = {0};
    struct bnd_d1_database record;
    struct state_key by_uuid = uuid_key(slot, command->b);
    if (get(change, &by_uuid, &old) != 0) {
        return BND_NOTFOUND;
    }
    BND_ASSERT(bnd_d1_database_decode(bnd_buf_slice(&old), &record) == 0);
    struct state_key by_name = make_key(slot, TAG_D1_NAME, record.name);
    uint32_t count = get_count(change);
    BND_ASSERT(count > 0);
    drop(change, &by_uuid);
    drop(change, &by_name);
    put_count(change, count - 1);
    bnd_buf_append_slice(change->reply, bnd_buf_slice(&old));
    return 0;
}

int catalog_d1_apply(const struct change *change, const struct bnd_catalog_command *command) {
    return command->op == BND_CATALOG_D1_CREATE ? create(change, command)
                                                : delete (change, command);
}

/* ---- queries
 * ------------------------------------------------------------------------------------------------
 */

static int read_value(const struct bnd_fsm_read *context, const struct state_key *key,
                      struct bnd_buf *out) {
    return context->state->ops->get(context->state, BND_CF_CATALOG, key_slice(key), out);
}

static int read_database(const struct bnd_fsm_read *context, const struct bnd_catalog_query *query,
                         struct bnd_buf *reply) {
    BND_AUTO_BUF struct bnd_buf uuid = {0};
    bnd_buf_append_slice(&uuid, query->a);
    if (query->a.len == 0 && query->b.len > 0 && query->b.len <= BND_D1_NAME_MAX) {
        struct state_key by_name = make_key(context->slot, TAG_D1_NAME, query->b);
        int rv = read_value(context, &by_name, &uuid);
        if (rv != 0) {
            return rv;
        }
    }
    if (uuid.failed) {
        return BND_NOMEM;
    }
    if (uuid.len != BND_D1_UUID_BYTES) {
        return BND_INVALID;
    }
    struct state_key by_uuid = uuid_key(context->slot, bnd_buf_slice(&uuid));
    return read_value(context, &by_uuid, reply);
}

static bool contains(struct bnd_slice text, struct bnd_slice part) {
    return part.len == 0 || memmem(text.data, text.len, part.data, part.len) != NULL;
}

struct page {
    uint64_t from;
    uint64_t limit;
    uint32_t total; /* that fit, up to here */
    uint32_t count; /* of those in the reply */
};

/* Over names of a filter, or over all of them as far as the page goes: their total is known. */
static int read_page(const struct bnd_fsm_read *context, struct bnd_slice part, struct page *page,
                     struct bnd_buf *reply) {
    const struct bnd_state_ops *ops = context->state->ops;
    struct state_key from = make_key(context->slot, TAG_D1_NAME, bnd_slice(NULL, 0));
    struct state_key to = make_key(context->slot, TAG_D1_NAME + 1, bnd_slice(NULL, 0));
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_state_iter *iter =
        ops->iter(context->state, BND_CF_CATALOG, key_slice(&from), key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        if (!contains(bnd_slice(key.data + 5, key.len - 5), part)) {
            continue;
        }
        uint32_t at = page->total++;
        if (at < page->from) {
            continue;
        }
        if (page->count == page->limit) {
            if (part.len == 0) {
                break;
            }
            continue;
        }
        struct state_key by_uuid = uuid_key(context->slot, ops->iter_value(iter));
        bnd_buf_reset(&value);
        rv = read_value(context, &by_uuid, &value);
        bnd_buf_bytes(reply, bnd_buf_slice(&value));
        page->count++;
    }
    rv = rv != 0 ? rv : ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv;
}

static int read_databases(const struct bnd_fsm_read *context, const struct bnd_catalog_query *query,
                          struct bnd_buf *reply) {
    struct bnd_reader r = bnd_reader(query->b);
    struct page page = {.from = bnd_read_u64(&r), .limit = query->number};
    if (!bnd_reader_done(&r) || page.limit == 0 || page.limit > LIST_LIMIT_MAX) {
        return BND_INVALID;
    }
    size_t total_at = reply->len;
    bnd_buf_u32(reply, 0);
    bnd_buf_u32(reply, 0);
    int rv = read_page(context, query->a, &page, reply);
    BND_AUTO_BUF struct bnd_buf value = {0};
    if (rv == 0 && query->a.len == 0) {
        struct state_key key = count_key(context->slot);
        rv = read_value(context, &key, &value);
        rv = rv == BND_NOTFOUND ? 0
             : rv != 0          ? rv
                                : decode_count(bnd_buf_slice(&value), &page.total);
    }
    if (rv == 0 && !reply->failed) {
        bnd_put_u32(reply->data + total_at, page.total);
        bnd_put_u32(reply->data + total_at + 4, page.count);
    }
    return reply->failed ? BND_NOMEM : rv;
}

int catalog_d1_read(const struct bnd_fsm_read *context, const struct bnd_catalog_query *query,
                    struct bnd_buf *reply) {
    return query->kind == BND_CATALOG_QUERY_D1_DATABASE ? read_database(context, query, reply)
                                                        : read_databases(context, query, reply);
}
