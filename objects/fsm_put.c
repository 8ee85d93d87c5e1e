/* Puts and deletes. */
#include "objects/fsm_private.h"

#include "base/error.h"

int objects_old_load(const struct objects_change *change, struct objects_old *out) {
    const struct objects_command *command = change->command;
    struct bnd_slice body;
    struct objects_key key;
    objects_key_object(&key, change->context->slot, command->bucket, command->key);
    int rv = objects_change_get(change, &key, &out->bytes);
    out->exists = rv == 0;
    if (rv == 0) {
        rv = objects_manifest_decode(bnd_buf_slice(&out->bytes), &out->meta, &body);
    }
    if (rv == 0 && out->meta.profile == BND_PROFILE_PARTS) {
        objects_key_version(&key, change->context->slot, OBJECTS_TAG_TABLE,
                            bnd_slice(out->meta.version, sizeof out->meta.version));
        rv = objects_change_get(change, &key, &out->table);
        rv = rv == BND_NOTFOUND ? BND_CORRUPT : rv;
    }
    if (rv != 0 && rv != BND_NOTFOUND) {
        return rv;
    }
    enum bnd_condition_result result =
        bnd_object_conditions_check(&command->conditions->view, out->exists ? &out->meta : NULL);
    return result == BND_CONDITION_OK ? 0 : BND_PRECONDITION;
}

int objects_old_release(const struct objects_change *change, const struct objects_old *old) {
    if (!old->exists || old->meta.profile == BND_PROFILE_INLINE) {
        return 0;
    }
    if (old->meta.profile == BND_PROFILE_COPIES) {
        return objects_body_release(change, old->meta.version);
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&old->table));
    struct objects_segment segment;
    int rv = 0;
    while (rv == 0 && objects_segment_next(&r, &segment)) {
        rv = objects_body_release(change, segment.version);
    }
    struct objects_key key;
    objects_key_version(&key, change->context->slot, OBJECTS_TAG_TABLE,
                        bnd_slice(old->meta.version, sizeof old->meta.version));
    objects_change_delete(change, &key);
    return rv == 0 && r.failed ? BND_CORRUPT : rv;
}

void objects_old_free(struct objects_old *old) {
    bnd_buf_free(&old->bytes);
    bnd_buf_free(&old->table);
}

/* The put's manifest is whole, and of a kind that a put may bring. */
static int check_manifest(const struct objects_command *command, struct bnd_object_meta *out) {
    struct bnd_slice body;
    if (objects_manifest_decode(command->manifest, out, &body) != 0) {
        return BND_INVALID;
    }
    bool has_body = out->profile == BND_PROFILE_COPIES;
    if (!has_body && body.data == NULL) {
        return BND_INVALID; /* an inline object without its bytes, or one in parts */
    }
    return has_body == (command->have_count > 0) ? 0 : BND_INVALID;
}

static int store_put(const struct objects_change *change, const struct bnd_object_meta *meta) {
    BND_AUTO_BUF struct bnd_buf manifest = {0};
    bnd_buf_append_slice(&manifest, change->command->manifest);
    if (manifest.failed) {
        return BND_NOMEM;
    }
    objects_manifest_stamp(manifest.data, change->context->stamp_ms);
    struct objects_key key;
    objects_key_object(&key, change->context->slot, change->command->bucket, change->command->key);
    objects_change_put(change, &key, bnd_buf_slice(&manifest));
    bnd_buf_u64(change->reply, change->context->stamp_ms);
    if (meta->profile != BND_PROFILE_COPIES) {
        objects_plain_remember(&change->fsm->plain, &key);
        return 0;
    }
    int rv = objects_body_add(change, meta->version, meta->size);
    return rv == 0 ? objects_body_free_due(change, OBJECTS_FREES_PER_COMMAND) : rv;
}

/* Nothing need be known of what the put replaces (plain.h). */
static bool replaces_no_body(const struct objects_change *change) {
    struct objects_key key;
    objects_key_object(&key, change->context->slot, change->command->bucket, change->command->key);
    return !bnd_object_conditions_given(&change->command->conditions->view) &&
           objects_plain_knows(&change->fsm->plain, &key);
}

int objects_apply_put(const struct objects_change *change) {
    struct bnd_object_meta meta;
    int rv = check_manifest(change->command, &meta);
    if (rv == 0) {
        rv = objects_change_unsealed(change);
    }
    if (rv == 0 && meta.profile == BND_PROFILE_COPIES) {
        rv = objects_body_late(change);
    }
    if (rv != 0) {
        return rv;
    }
    if (replaces_no_body(change)) {
        return store_put(change, &meta);
    }
    struct objects_old old = {0};
    rv = objects_old_load(change, &old);
    if (rv == 0) {
        rv = objects_old_release(change, &old);
    }
    objects_old_free(&old);
    return rv == 0 ? store_put(change, &meta) : rv;
}

/* Deletes command->key; *out_existed says whether it was there. */
static int delete_one(const struct objects_change *change, bool *out_existed) {
    struct objects_old old = {0};
    int rv = objects_old_load(change, &old);
    if (rv == 0) {
        rv = objects_old_release(change, &old);
    }
    if (rv == 0 && old.exists) {
        struct objects_key key;
        objects_key_object(&key, change->context->slot, change->command->bucket,
                           change->command->key);
        objects_change_delete(change, &key);
    }
    *out_existed = old.exists;
    objects_old_free(&old);
    return rv;
}

int objects_apply_delete(const struct objects_change *change) {
    bool existed = false;
    int rv = delete_one(change, &existed);
    if (rv == 0) {
        bnd_buf_u8(change->reply, existed ? 1 : 0);
    }
    return rv;
}

static bool next_key(struct bnd_reader *r, struct bnd_slice *out) {
    *out = bnd_read_bytes(r);
    return !r->failed && out->len > 0 && out->len <= BND_OBJECT_KEY_MAX;
}

int objects_apply_delete_many(const struct objects_change *change) {
    struct objects_command one = *change->command;
    struct objects_conditions none = {.view = bnd_object_conditions_none()};
    struct objects_change single = *change;
    single.command = &one;
    one.conditions = &none;
    struct bnd_reader r = bnd_reader(one.items);
    for (uint32_t i = 0; i < one.count; i++) { /* all keys are checked before one is deleted */
        if (!next_key(&r, &one.key)) {
            return BND_INVALID;
        }
    }
    if (!bnd_reader_done(&r)) {
        return BND_INVALID;
    }
    r = bnd_reader(one.items);
    int rv = 0;
    for (uint32_t i = 0; rv == 0 && i < one.count; i++) {
        bool existed = false;
        (void)next_key(&r, &one.key); /* checked above */
        rv = delete_one(&single, &existed);
        bnd_buf_u8(change->reply, existed ? 1 : 0);
    }
    return rv;
}
