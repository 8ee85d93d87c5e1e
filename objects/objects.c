/* The process's object service: made, started, closed; and what every operation needs. */
#include "objects/objects.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "objects/objects_private.h"

#include <string.h>

static void on_body(void *owner, struct objects_fsm *fsm, const uint8_t *version,
                    const struct objects_body_record *record) {
    struct bnd_objects *objects = owner;
    bnd_bodies_committed(objects->bodies, fsm->gid, version, record);
}

static void on_closed(void *owner, struct objects_fsm *fsm) {
    struct bnd_objects *objects = owner;
    bnd_bodies_group_remove(objects->bodies, fsm);
}

int bnd_objects_create(const struct bnd_objects_config *config, struct bnd_objects **out,
                       struct bnd_error *err) {
    if (config->shards == 0 || config->shards > BND_SHARDS_MAX ||
        (config->shards & (config->shards - 1)) != 0) {
        return BND_FAIL(err, INVALID, "%u shards: must be a power of two", config->shards);
    }
    struct bnd_objects *objects = bnd_zalloc(sizeof *objects);
    if (objects == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for objects");
    }
    objects->config = *config;
    bnd_list_init(&objects->ops);
    bnd_list_init(&objects->uploads);
    bnd_list_init(&objects->readers);
    bnd_list_init(&objects->deletes);
    struct bnd_bodies_config bodies = {
        .env = config->env,
        .rpc = config->rpc,
        .mesh = config->mesh,
        .self = config->self,
        .dir = config->bodies_dir,
        .owner = config->owner,
        .replicas = config->replicas,
        .stamp_ms = config->stamp_ms,
        .time_suspended = config->time_suspended,
        .disk_full = config->disk_full,
        .pacer = config->pacer,
        .window_bytes = config->upload_window,
        .uploads_max = config->store_uploads_max,
        .bytes_max = config->store_bytes_max,
        .put_bytes_max = config->upload_bytes_max,
        .sweep_ns = config->sweep_ns,
    };
    int rv = bnd_bodies_create(&bodies, &objects->bodies, err);
    if (rv != 0) {
        bnd_free(objects);
        return rv;
    }
    objects->config.bodies_dir = NULL; /* the caller's */
    *out = objects;
    return 0;
}

void bnd_objects_start(struct bnd_objects *objects, struct bnd_shard_client *client) {
    BND_ASSERT(objects->client == NULL && client != NULL);
    objects->client = client;
    bnd_bodies_start(objects->bodies, client);
}

int bnd_objects_fsm_make(struct bnd_objects *objects, uint64_t gid, struct bnd_fsm *out,
                         struct bnd_error *err) {
    if (bnd_gid_kind(gid) != BND_GROUP_OBJECTS) {
        return BND_FAIL(err, INVALID, "group %llx holds no objects", (unsigned long long)gid);
    }
    struct objects_fsm_hooks hooks = {.owner = objects, .body = on_body, .closed = on_closed};
    int rv = objects_fsm_create(gid, &hooks, out);
    if (rv != 0) {
        return BND_FAIL(err, NOMEM, "no memory for a state machine");
    }
    bnd_bodies_group_add(objects->bodies, out->self);
    return 0;
}

static void bodies_closed(void *data) {
    struct bnd_objects *objects = data;
    void (*closed)(void *) = objects->closed;
    void *closed_data = objects->closed_data;
    bnd_free(objects);
    if (closed != NULL) {
        closed(closed_data);
    }
}

void bnd_objects_close(struct bnd_objects *objects, void (*closed)(void *data), void *data) {
    BND_ASSERT(!objects->closing);
    objects->closing = true;
    objects->closed = closed;
    objects->closed_data = data;
    while (!bnd_list_empty(&objects->ops)) {
        struct objects_op *op = BND_CONTAINER(objects->ops.next, struct objects_op, link);
        op->cancel(op, op->write ? BND_UNKNOWN : BND_CANCELED);
        objects_op_drop(op);
    }
    objects_deletes_cancel(objects);
    objects_uploads_cancel(objects);
    objects_readers_cancel(objects);
    bnd_bodies_close(objects->bodies, bodies_closed, objects);
}

void bnd_objects_stats(const struct bnd_objects *objects, struct bnd_objects_stats *out) {
    *out = objects->stats;
    bnd_bodies_stats(objects->bodies, out);
}

bool bnd_objects_hold_all(struct bnd_objects *objects, uint64_t gid, uint64_t node) {
    return !objects->closing && bnd_bodies_hold_all(objects->bodies, gid, node);
}

/* ---- what operations share --------------------------------------------------------------------
 */

void objects_mint_id(struct bnd_objects *objects, uint8_t out[BND_OBJECT_ID_BYTES]) {
    bnd_put_be64(out, bnd_random(objects->config.env));
    bnd_put_be64(out + 8, bnd_random(objects->config.env));
}

uint64_t objects_gid(const struct bnd_objects *objects, const struct bnd_object_name *name) {
    return bnd_object_gid(name->bucket.id, name->bucket.segments, name->key,
                          objects->config.shards);
}

int objects_name_check(const struct bnd_object_name *name) {
    return name->key.len == 0 || name->key.len > BND_OBJECT_KEY_MAX ? BND_INVALID : 0;
}

int objects_conditions_wrap(const struct bnd_object_conditions *conditions,
                            struct objects_conditions *out) {
    if (conditions->match_count > BND_OBJECT_ETAGS_MAX ||
        conditions->not_match_count > BND_OBJECT_ETAGS_MAX) {
        return BND_INVALID;
    }
    out->view = *conditions;
    return 0;
}

int objects_object_decode(struct bnd_slice manifest, struct bnd_slice segments, uint64_t gid,
                          struct bnd_object *out) {
    struct bnd_object object = {.gid = gid};
    bnd_buf_append_slice(&object.bytes, manifest);
    bnd_buf_append_slice(&object.bytes, segments);
    if (object.bytes.failed) {
        bnd_buf_free(&object.bytes);
        return BND_NOMEM;
    }
    int rv = objects_manifest_decode(bnd_slice(object.bytes.data, manifest.len), &object.meta,
                                     &object.body);
    if (rv == 0 && segments.len > 0) {
        object.parts = bnd_slice(object.bytes.data + manifest.len, segments.len);
        rv = objects_segments_check(object.parts, object.meta.parts, object.meta.size);
    }
    if (rv != 0) {
        bnd_buf_free(&object.bytes);
        return rv;
    }
    *out = object;
    return 0;
}
