#include "objects/bodies/offline.h"

#include "objects/keys.h"
#include "objects/manifest.h"

static void check_body(struct bnd_bodies_check *check, const struct body_id *id,
                       const struct objects_body_record *record) {
    char path[BODY_PATH_MAX];
    struct body_info info = {0};
    struct bnd_error why = {0};
    if (!body_path(check->dir, id, path)) {
        return;
    }
    check->referenced++;
    int rv = body_verify(check->env, path, &info, &why);
    if (rv == 0 && (info.size != record->size || info.id.gid != id->gid ||
                    memcmp(info.id.version, id->version, sizeof id->version) != 0)) {
        rv = BND_FAIL(&why, CORRUPT, "%s: a body of %llu bytes, the state says %llu", path,
                      (unsigned long long)info.size, (unsigned long long)record->size);
    }
    if (rv == 0) {
        check->present++;
        check->bytes += info.size;
    } else if (rv != BND_NOTFOUND) {
        check->damaged++;
        check->found(check->data, BND_BODIES_DAMAGED, path, why.message);
    } else if (record->free_after_ms == 0) {
        check->missing++;
        check->found(check->data, BND_BODIES_MISSING, path, "it is not there");
    }
}

/* Key: slot, tag, version. */
static int check_record(struct bnd_bodies_check *check, uint64_t gid, struct bnd_slice key,
                        struct bnd_slice value) {
    struct objects_body_record record;
    struct body_id id = {.gid = gid};
    if (key.len != 5 + sizeof id.version || objects_body_decode(value, &record) != 0) {
        return BND_CORRUPT;
    }
    memcpy(id.version, key.data + 5, sizeof id.version);
    check_body(check, &id, &record);
    return 0;
}

int bnd_bodies_check_group(struct bnd_bodies_check *check, uint64_t gid, uint32_t slot,
                           struct bnd_error *err) {
    const struct bnd_state_ops *ops = check->state->ops;
    struct objects_key from;
    struct objects_key to;
    objects_key_version(&from, slot, OBJECTS_TAG_BODY, bnd_slice(NULL, 0));
    objects_key_version(&to, slot, (enum objects_tag)(OBJECTS_TAG_BODY + 1), bnd_slice(NULL, 0));
    struct bnd_state_iter *iter =
        ops->iter(check->state, BND_CF_OBJECTS, objects_key_slice(&from), objects_key_slice(&to));
    if (iter == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to read the state");
    }
    int rv = 0;
    for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        rv = check_record(check, gid, ops->iter_key(iter), ops->iter_value(iter));
    }
    rv = rv != 0 ? rv : ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv == 0 ? 0
                   : bnd_error_set(err, rv, "group %llx: its bodies' records cannot be read: %s",
                                   (unsigned long long)gid, bnd_code_text(rv));
}
