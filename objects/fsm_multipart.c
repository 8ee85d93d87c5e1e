/* Uploads in parts: create, part, complete, abort, list of parts. */
#include "objects/fsm_private.h"

#include "base/error.h"

static void upload_key(const struct objects_change *change, struct objects_key *key) {
    objects_key_upload(key, change->context->slot, change->command->bucket, change->command->key,
                       change->command->upload_id);
}

/* BND_NOTFOUND: no such upload of this key. */
static int upload_load(const struct objects_change *change, struct bnd_buf *bytes,
                       struct objects_upload_record *out) {
    struct objects_key key;
    upload_key(change, &key);
    int rv = objects_change_get(change, &key, bytes);
    return rv == 0 ? objects_upload_decode(bnd_buf_slice(bytes), out) : rv;
}

int objects_apply_create(const struct objects_change *change) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct objects_upload_record record = change->command->create;
    struct objects_key key;
    int rv = objects_change_unsealed(change);
    if (rv != 0) {
        return rv;
    }
    upload_key(change, &key);
    rv = objects_change_get(change, &key, &value);
    if (rv != BND_NOTFOUND) {
        return rv == 0 ? BND_EXISTS : rv;
    }
    bnd_buf_reset(&value);
    record.initiated_ms = change->context->stamp_ms;
    objects_upload_encode(&value, &record);
    if (value.failed) {
        return BND_NOMEM;
    }
    objects_change_put(change, &key, bnd_buf_slice(&value));
    return 0;
}

static int part_decode(struct bnd_slice value, struct bnd_multipart_part *out) {
    struct bnd_reader r = bnd_reader(value);
    objects_part_read(&r, out);
    return bnd_reader_done(&r) ? 0 : BND_CORRUPT;
}

/* Stores the part in place of an older one of its number. */
static int part_store(const struct objects_change *change) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct bnd_multipart_part part = change->command->part;
    struct bnd_multipart_part old;
    struct objects_key key;
    objects_key_part(&key, change->context->slot, change->command->upload_id, part.number);
    int rv = objects_change_get(change, &key, &value);
    if (rv == 0) {
        rv = part_decode(bnd_buf_slice(&value), &old);
        rv = rv == 0 ? objects_body_release(change, old.version) : rv;
    }
    if (rv != 0 && rv != BND_NOTFOUND) {
        return rv;
    }
    part.uploaded_ms = change->context->stamp_ms;
    bnd_buf_reset(&value);
    objects_part_encode(&value, &part);
    if (value.failed) {
        return BND_NOMEM;
    }
    objects_change_put(change, &key, bnd_buf_slice(&value));
    return objects_body_add(change, part.version, part.size);
}

int objects_apply_part(const struct objects_change *change) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct objects_upload_record upload;
    if (change->command->have_count == 0) {
        return BND_INVALID;
    }
    int rv = objects_change_unsealed(change);
    if (rv == 0) {
        rv = objects_body_late(change);
    }
    if (rv == 0) {
        rv = upload_load(change, &bytes, &upload);
    }
    if (rv == 0) {
        rv = part_store(change);
    }
    if (rv == 0) {
        rv = objects_body_free_due(change, OBJECTS_FREES_PER_COMMAND);
    }
    if (rv == 0) {
        bnd_buf_u64(change->reply, change->context->stamp_ms);
    }
    return rv;
}

/* What completion makes of the stored parts and the wanted ones. */
struct join {
    struct bnd_buf segments; /* wanted, in order */
    struct bnd_buf dropped;  /* versions of parts not wanted */
    struct bnd_buf numbers;  /* of all stored parts (u32) */
    uint64_t size;
    uint64_t first_size;
    uint64_t last_size;
    uint32_t last_number;
};

static void join_free(struct join *join) {
    bnd_buf_free(&join->segments);
    bnd_buf_free(&join->dropped);
    bnd_buf_free(&join->numbers);
}

/* Names the part that a refusal is about: 0, the list as a whole. */
static int refuse(const struct objects_change *change, int code, uint32_t number) {
    bnd_buf_u32(change->reply, number);
    return code;
}

static int join_take(const struct objects_change *change, struct join *join,
                     const struct bnd_multipart_part *part) {
    const struct objects_command *command = change->command;
    if (join->last_number != 0) { /* the one before was not the last */
        bool small = join->last_size < command->part_min;
        bool other = command->equal_sizes && join->last_size != join->first_size;
        if (small || other) {
            return refuse(change, BND_RANGE, join->last_number);
        }
    } else {
        join->first_size = part->size;
    }
    struct objects_segment segment = {.size = part->size};
    memcpy(segment.version, part->version, sizeof segment.version);
    objects_segment_encode(&join->segments, &segment);
    join->size += part->size;
    join->last_number = part->number;
    join->last_size = part->size;
    return join->size > BND_OBJECT_SIZE_MAX ? refuse(change, BND_TOOBIG, part->number) : 0;
}

/* Walks stored and wanted parts side by side, both by number: a wanted one out of order is behind
 * the walk, and not found. */
static int join_walk(const struct objects_change *change, struct bnd_state_iter *iter,
                     struct join *join) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct bnd_reader wanted = bnd_reader(change->command->items);
    uint32_t left = change->command->count;
    int rv = 0;
    while (left > 0) {
        struct bnd_multipart_part_ref ref = objects_part_ref_read(&wanted);
        struct bnd_multipart_part part = {0};
        left--;
        for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
            rv = part_decode(ops->iter_value(iter), &part);
            if (rv != 0 || part.number >= ref.number) {
                break;
            }
            bnd_buf_append(&join->dropped, part.version, sizeof part.version);
            bnd_buf_u32(&join->numbers, part.number);
        }
        bool same = ops->iter_valid(iter) && part.number == ref.number &&
                    memcmp(part.etag_md5, ref.etag_md5, sizeof ref.etag_md5) == 0;
        if (rv == 0) {
            rv = same ? join_take(change, join, &part) : refuse(change, BND_INVALID, ref.number);
        }
        if (rv != 0) {
            return rv;
        }
        bnd_buf_u32(&join->numbers, part.number);
        ops->iter_next(iter);
    }
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_multipart_part part;
        if (part_decode(ops->iter_value(iter), &part) != 0) {
            return BND_CORRUPT;
        }
        bnd_buf_append(&join->dropped, part.version, sizeof part.version);
        bnd_buf_u32(&join->numbers, part.number);
    }
    return 0;
}

static int join_parts(const struct objects_change *change, struct join *join) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct objects_key from;
    struct objects_key to;
    objects_key_part(&from, change->context->slot, change->command->upload_id, 0);
    objects_key_part(&to, change->context->slot, change->command->upload_id, UINT32_MAX);
    struct bnd_state_iter *iter = objects_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = join_walk(change, iter, join);
    if (ops->iter_status(iter) != 0) {
        rv = ops->iter_status(iter);
    }
    ops->iter_destroy(iter);
    bool failed = join->segments.failed || join->dropped.failed || join->numbers.failed;
    return rv == 0 && failed ? BND_NOMEM : rv;
}

/* Forgets the upload and its parts, and gives up the bodies that were not taken. */
static int upload_end(const struct objects_change *change, const struct join *join) {
    struct objects_key key;
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&join->numbers));
    while (r.rest.len > 0) {
        objects_key_part(&key, change->context->slot, change->command->upload_id, bnd_read_u32(&r));
        objects_change_delete(change, &key);
    }
    int rv = 0;
    r = bnd_reader(bnd_buf_slice(&join->dropped));
    while (rv == 0 && r.rest.len > 0) {
        rv = objects_body_release(change, bnd_read_raw(&r, BND_OBJECT_ID_BYTES).data);
    }
    upload_key(change, &key);
    objects_change_delete(change, &key);
    return rv;
}

/* The new object's manifest and segments. The reply is kept under the request id, so it is small:
 * when, and how large. */
static int store_joined(const struct objects_change *change, const struct join *join,
                        struct bnd_object_meta *meta, const struct bnd_object_fields *fields) {
    BND_AUTO_BUF struct bnd_buf manifest = {0};
    struct objects_key key;
    meta->profile = BND_PROFILE_PARTS;
    meta->size = join->size;
    meta->parts = change->command->count;
    meta->uploaded_ms = change->context->stamp_ms;
    meta->fields = *fields;
    objects_manifest_encode(&manifest, meta, bnd_slice(NULL, 0), OBJECTS_WHOLE);
    bnd_buf_u64(change->reply, meta->uploaded_ms);
    bnd_buf_u64(change->reply, meta->size);
    if (manifest.failed) {
        return BND_NOMEM;
    }
    objects_key_object(&key, change->context->slot, change->command->bucket, change->command->key);
    objects_change_put(change, &key, bnd_buf_slice(&manifest));
    objects_key_version(&key, change->context->slot, OBJECTS_TAG_TABLE,
                        bnd_slice(meta->version, sizeof meta->version));
    objects_change_put(change, &key, bnd_buf_slice(&join->segments));
    return 0;
}

/* All checks of a completion are passed: replaces what is there. */
static int complete(const struct objects_change *change, struct join *join,
                    struct bnd_object_meta *meta, const struct bnd_object_fields *fields) {
    struct objects_old old = {0};
    int rv = objects_old_load(change, &old);
    if (rv == 0) {
        rv = objects_old_release(change, &old);
    }
    objects_old_free(&old);
    if (rv == 0) {
        rv = upload_end(change, join);
    }
    return rv == 0 ? store_joined(change, join, meta, fields) : rv;
}

int objects_apply_complete(const struct objects_change *change) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct objects_upload_record upload;
    struct bnd_object_meta meta;
    struct bnd_slice body;
    struct join join = {0};
    if (objects_manifest_decode(change->command->manifest, &meta, &body) != 0) {
        return refuse(change, BND_INVALID, 0);
    }
    int rv = objects_change_unsealed(change);
    if (rv == 0) {
        rv = upload_load(change, &bytes, &upload);
    }
    if (rv == 0) {
        rv = join_parts(change, &join);
    }
    if (rv == 0) {
        rv = complete(change, &join, &meta, &upload.fields);
    }
    join_free(&join);
    return rv;
}

int objects_apply_abort(const struct objects_change *change) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct objects_upload_record upload;
    struct join join = {0};
    int rv = upload_load(change, &bytes, &upload);
    if (rv == 0) {
        rv = join_parts(change, &join); /* no part is wanted: all are dropped */
    }
    if (rv == 0) {
        rv = upload_end(change, &join);
    }
    join_free(&join);
    return rv;
}

/* Parts above the number asked for, up to the limit: u8 truncated, u32 bytes of the record, the
 * record, then the parts. */
static int read_parts(const struct bnd_fsm_read *context, const struct objects_query *query,
                      struct bnd_buf *parts, bool *out_truncated) {
    const struct bnd_state_ops *ops = context->state->ops;
    struct objects_key from;
    struct objects_key to;
    if (query->after_part >= BND_OBJECT_PARTS_MAX) {
        return 0;
    }
    objects_key_part(&from, context->slot, query->upload_id, query->after_part + 1);
    objects_key_part(&to, context->slot, query->upload_id, UINT32_MAX);
    struct bnd_state_iter *iter =
        ops->iter(context->state, BND_CF_OBJECTS, objects_key_slice(&from), objects_key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    uint32_t count = 0;
    for (; ops->iter_valid(iter) && count < query->limit; ops->iter_next(iter), count++) {
        bnd_buf_append_slice(parts, ops->iter_value(iter));
    }
    *out_truncated = ops->iter_valid(iter);
    int rv = ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv;
}

int objects_read_parts(const struct bnd_fsm_read *context, const struct objects_query *query,
                       struct bnd_buf *reply) {
    BND_AUTO_BUF struct bnd_buf record = {0};
    BND_AUTO_BUF struct bnd_buf parts = {0};
    bool truncated = false;
    struct objects_key key;
    objects_key_upload(&key, context->slot, query->bucket, query->key, query->upload_id);
    int rv =
        context->state->ops->get(context->state, BND_CF_OBJECTS, objects_key_slice(&key), &record);
    if (rv == 0) {
        rv = read_parts(context, query, &parts, &truncated);
    }
    if (rv != 0) {
        return rv;
    }
    bnd_buf_u8(reply, truncated ? 1 : 0);
    bnd_buf_bytes(reply, bnd_buf_slice(&record));
    bnd_buf_append_slice(reply, bnd_buf_slice(&parts));
    return reply->failed || parts.failed ? BND_NOMEM : 0;
}
