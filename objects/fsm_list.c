/* One shard's share of a page: objects, or uploads in parts, with common prefixes by seeking past
 * them. A page costs its own length, not that of what its prefixes hide. */
#include "objects/fsm_private.h"

#include "base/error.h"

/* An answer ends at the first item above this: it must fit a message, and many come at once. */
enum { PAGE_BYTES_MAX = 256 * 1024 };

struct walk {
    const struct bnd_fsm_read *context;
    const struct objects_query *query;
    struct bnd_state_iter *iter;
    struct bnd_buf *reply;
    uint8_t name[BND_OBJECT_KEY_MAX]; /* of an upload, unescaped */
};

static void place(const struct walk *walk, struct objects_key *out, struct bnd_slice key) {
    if (walk->query->kind == OBJECTS_LIST) {
        objects_key_object(out, walk->context->slot, walk->query->bucket, key);
    } else {
        objects_key_upload(out, walk->context->slot, walk->query->bucket, key, NULL);
    }
}

/* Where the walk begins: behind `after`, not before the prefix. False: nowhere. */
static bool first_place(const struct walk *walk, struct objects_key *out) {
    const struct objects_query *query = walk->query;
    place(walk, out, query->prefix);
    if (query->after.len == 0) {
        return true;
    }
    struct objects_key after;
    place(walk, &after, query->after);
    bool exact = query->kind == OBJECTS_UPLOADS && query->upload_id != NULL;
    if (query->after_prefix) {
        if (!objects_key_past(&after)) {
            return false;
        }
    } else if (exact) {
        objects_key_upload(&after, walk->context->slot, query->bucket, query->after,
                           query->upload_id);
        (void)objects_key_past(&after); /* cannot fail: a tag is in it */
    } else if (query->kind == OBJECTS_UPLOADS) {
        memcpy(after.bytes + after.len, "\0\1", 2); /* behind every upload of this key */
        after.len += 2;
    } else {
        after.bytes[after.len++] = 0; /* the next key there can be */
    }
    if (bnd_slice_cmp(objects_key_slice(&after), objects_key_slice(out)) > 0) {
        *out = after;
    }
    return true;
}

/* The key of the item the iterator is at; for an upload also its id. */
static int current(struct walk *walk, struct bnd_slice *out_key, const uint8_t **out_upload) {
    struct bnd_slice rest = walk->context->state->ops->iter_key(walk->iter);
    if (rest.len < 5 + 8) {
        return BND_CORRUPT;
    }
    rest.data += 5 + 8;
    rest.len -= 5 + 8;
    if (walk->query->kind == OBJECTS_LIST) {
        *out_key = rest;
        *out_upload = NULL;
        return rest.len > 0 && rest.len <= BND_OBJECT_KEY_MAX ? 0 : BND_CORRUPT;
    }
    size_t len = 0;
    int rv = objects_key_upload_parse(rest, walk->name, &len, out_upload);
    *out_key = bnd_slice(walk->name, len);
    return rv;
}

/* The length of the common prefix that hides this key, 0 if none does. */
static size_t common_prefix(const struct objects_query *query, struct bnd_slice key) {
    struct bnd_slice delimiter = query->delimiter;
    if (delimiter.len == 0 || key.len < query->prefix.len) {
        return 0;
    }
    struct bnd_slice rest = bnd_slice(key.data + query->prefix.len, key.len - query->prefix.len);
    const uint8_t *found = memmem(rest.data, rest.len, delimiter.data, delimiter.len);
    return found == NULL ? 0 : (size_t)(found - key.data) + delimiter.len;
}

static int emit_object(const struct walk *walk, struct bnd_slice key) {
    BND_AUTO_BUF struct bnd_buf brief = {0};
    struct bnd_object_meta meta;
    struct bnd_slice body;
    int rv =
        objects_manifest_decode(walk->context->state->ops->iter_value(walk->iter), &meta, &body);
    if (rv != 0) {
        return rv;
    }
    unsigned with = ((walk->query->include & BND_LIST_HTTP) != 0 ? OBJECTS_WITH_HTTP : 0u) |
                    ((walk->query->include & BND_LIST_CUSTOM) != 0 ? OBJECTS_WITH_CUSTOM : 0u);
    objects_manifest_encode(&brief, &meta, body, with);
    struct objects_item item = {.key = key, .value = bnd_buf_slice(&brief)};
    objects_item_encode(walk->reply, &item);
    return brief.failed ? BND_NOMEM : 0;
}

static int emit_upload(const struct walk *walk, struct bnd_slice key, const uint8_t *upload_id) {
    BND_AUTO_BUF struct bnd_buf brief = {0};
    struct objects_upload_record record;
    int rv = objects_upload_decode(walk->context->state->ops->iter_value(walk->iter), &record);
    if (rv != 0) {
        return rv;
    }
    struct bnd_object_fields storage = bnd_object_fields_none();
    storage.storage_class = record.fields.storage_class;
    record.fields = storage;
    bnd_buf_append(&brief, upload_id, BND_OBJECT_ID_BYTES);
    objects_upload_encode(&brief, &record);
    struct objects_item item = {.key = key, .value = bnd_buf_slice(&brief)};
    objects_item_encode(walk->reply, &item);
    return brief.failed ? BND_NOMEM : 0;
}

/* Gives the current item, and moves behind it and what it hides. */
static int emit(struct walk *walk) {
    const struct bnd_state_ops *ops = walk->context->state->ops;
    struct bnd_slice key;
    const uint8_t *upload_id;
    int rv = current(walk, &key, &upload_id);
    if (rv != 0) {
        return rv;
    }
    size_t hidden = common_prefix(walk->query, key);
    if (hidden == 0) {
        rv = upload_id == NULL ? emit_object(walk, key) : emit_upload(walk, key, upload_id);
        ops->iter_next(walk->iter);
        return rv;
    }
    struct objects_item item = {.is_prefix = true, .key = bnd_slice(key.data, hidden)};
    objects_item_encode(walk->reply, &item);
    struct objects_key past;
    place(walk, &past, item.key);
    (void)objects_key_past(&past); /* cannot fail: a tag is in it */
    ops->iter_seek(walk->iter, objects_key_slice(&past));
    return 0;
}

static int walk_page(struct walk *walk) {
    const struct bnd_state_ops *ops = walk->context->state->ops;
    int rv = 0;
    for (uint32_t count = 0; rv == 0 && ops->iter_valid(walk->iter); count++) {
        if (count == walk->query->limit || walk->reply->len > PAGE_BYTES_MAX) {
            walk->reply->data[0] = 1; /* truncated */
            break;
        }
        rv = emit(walk);
        if (walk->reply->failed) {
            return BND_NOMEM;
        }
    }
    return rv == 0 ? ops->iter_status(walk->iter) : rv;
}

int objects_read_list(const struct bnd_fsm_read *context, const struct objects_query *query,
                      struct bnd_buf *reply) {
    struct walk walk = {.context = context, .query = query, .reply = reply};
    struct objects_key from;
    struct objects_key to;
    place(&walk, &to, query->prefix);
    BND_AUTO_BUF struct bnd_buf page = {0};
    bnd_buf_u8(&page, 0);
    if (page.failed) {
        return BND_NOMEM;
    }
    walk.reply = &page;
    int rv = 0;
    bool some = objects_key_past(&to) && first_place(&walk, &from);
    if (some && bnd_slice_cmp(objects_key_slice(&from), objects_key_slice(&to)) < 0) {
        walk.iter = context->state->ops->iter(context->state, BND_CF_OBJECTS,
                                              objects_key_slice(&from), objects_key_slice(&to));
        if (walk.iter == NULL) {
            return BND_NOMEM;
        }
        rv = walk_page(&walk);
        context->state->ops->iter_destroy(walk.iter);
    }
    if (rv == 0) {
        bnd_buf_append_slice(reply, bnd_buf_slice(&page));
    }
    return rv == 0 && reply->failed ? BND_NOMEM : rv;
}
