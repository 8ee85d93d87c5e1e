/* Heads and deletes. */
#include "base/alloc.h"
#include "base/assert.h"
#include "objects/objects_private.h"

/* ---- head -------------------------------------------------------------------------------------
 */

struct head_op {
    struct objects_op op;
    struct bnd_object_head *head;
    uint64_t gid;
    int status;
    struct bnd_object object;
};

static void head_answered(struct objects_op *op, size_t call, int status, struct bnd_slice reply) {
    struct head_op *head = (struct head_op *)op;
    (void)call; /* there is one */
    if (status == 0) {
        struct bnd_reader r = bnd_reader(reply);
        struct bnd_slice manifest = bnd_read_bytes(&r);
        struct bnd_slice segments = bnd_read_bytes(&r);
        status = bnd_reader_done(&r)
                     ? objects_object_decode(manifest, segments, head->gid, &head->object)
                     : BND_CORRUPT;
    }
    head->status = status;
}

static void head_finish(struct objects_op *op) {
    struct head_op *head = (struct head_op *)op;
    op->objects->stats.heads += head->status == 0 ? 1 : 0;
    head->head->cb(head->head, head->status, head->status == 0 ? &head->object : NULL);
}

static void head_cancel(struct objects_op *op, int status) {
    struct head_op *head = (struct head_op *)op;
    head->head->cb(head->head, status, NULL);
}

static void head_free(struct objects_op *op) {
    bnd_object_free(&((struct head_op *)op)->object);
}

int bnd_object_head(struct bnd_objects *objects, struct bnd_object_head *head,
                    const struct bnd_object_name *name) {
    int rv = objects_name_check(name);
    struct head_op *op = rv == 0 ? objects_op_create(objects, sizeof *op, 1, &rv) : NULL;
    if (op == NULL) {
        return rv;
    }
    op->op.answered = head_answered;
    op->op.finish = head_finish;
    op->op.cancel = head_cancel;
    op->op.free = head_free;
    op->head = head;
    op->gid = objects_gid(objects, name);
    struct objects_query query = {
        .kind = OBJECTS_HEAD, .bucket = name->bucket.id, .key = name->key};
    rv = objects_op_query(&op->op, 0, op->gid, &query);
    if (rv != 0) {
        objects_op_drop(&op->op);
    }
    return rv;
}

/* ---- delete -----------------------------------------------------------------------------------
 */

struct delete_op {
    struct objects_op op;
    struct bnd_object_delete *del;
    int status;
    bool existed;
};

static void delete_answered(struct objects_op *op, size_t call, int status,
                            struct bnd_slice reply) {
    struct delete_op *del = (struct delete_op *)op;
    (void)call; /* there is one */
    del->status = status == 0 && reply.len != 1 ? BND_CORRUPT : status;
    del->existed = del->status == 0 && reply.data[0] == 1;
}

static void delete_finish(struct objects_op *op) {
    struct delete_op *del = (struct delete_op *)op;
    op->objects->stats.deletes += del->status == 0 ? 1 : 0;
    del->del->cb(del->del, del->status, del->existed);
}

static void delete_cancel(struct objects_op *op, int status) {
    struct delete_op *del = (struct delete_op *)op;
    del->del->cb(del->del, status, false);
}

int bnd_object_delete(struct bnd_objects *objects, struct bnd_object_delete *del,
                      const struct bnd_object_name *name,
                      const struct bnd_object_conditions *conditions) {
    struct objects_conditions room;
    int rv = objects_name_check(name);
    if (rv == 0 && conditions == NULL) {
        return objects_delete_add(objects, del, name);
    }
    rv = rv == 0 ? objects_conditions_wrap(conditions, &room) : rv;
    struct delete_op *op = rv == 0 ? objects_op_create(objects, sizeof *op, 1, &rv) : NULL;
    if (op == NULL) {
        return rv;
    }
    op->op.answered = delete_answered;
    op->op.finish = delete_finish;
    op->op.cancel = delete_cancel;
    op->del = del;
    struct objects_command command = {
        .kind = OBJECTS_DELETE, .bucket = name->bucket.id, .key = name->key, .conditions = &room};
    rv = objects_op_command(&op->op, 0, objects_gid(objects, name), &command);
    if (rv != 0) {
        objects_op_drop(&op->op);
    }
    return rv;
}

/* ---- delete many ------------------------------------------------------------------------------
 */

struct delete_many_op {
    struct objects_op op;
    struct bnd_object_delete_many *del;
    size_t count;
    int *results;
    uint32_t *groups; /* call of each key */
    uint64_t *gids;   /* of each call */
    size_t gids_count;
};

static void many_answered(struct objects_op *op, size_t call, int status, struct bnd_slice reply) {
    struct delete_many_op *many = (struct delete_many_op *)op;
    (void)reply; /* which of them existed: of no interest here */
    for (size_t i = 0; i < many->count; i++) {
        if (many->groups[i] == call) {
            many->results[i] = status;
            op->objects->stats.deletes += status == 0 ? 1 : 0;
        }
    }
}

static void many_finish(struct objects_op *op) {
    struct delete_many_op *many = (struct delete_many_op *)op;
    many->del->cb(many->del, many->results, many->count);
}

static void many_cancel(struct objects_op *op, int status) {
    struct delete_many_op *many = (struct delete_many_op *)op;
    for (size_t call = 0; call < many->gids_count; call++) {
        if (op->calls[call].under_way) {
            many_answered(op, call, status, bnd_slice(NULL, 0));
        }
    }
    many_finish(op);
}

static void many_free(struct objects_op *op) {
    struct delete_many_op *many = (struct delete_many_op *)op;
    bnd_free(many->results);
    bnd_free(many->groups);
    bnd_free(many->gids);
}

/* Gives each key the call of its group. */
static void many_group(struct delete_many_op *many, struct bnd_bucket_ref bucket,
                       const struct bnd_slice *keys) {
    for (size_t i = 0; i < many->count; i++) {
        struct bnd_object_name name = {.bucket = bucket, .key = keys[i]};
        uint64_t gid = objects_gid(many->op.objects, &name);
        size_t group = 0;
        while (group < many->gids_count && many->gids[group] != gid) {
            group++;
        }
        if (group == many->gids_count) {
            many->gids[many->gids_count++] = gid;
        }
        many->groups[i] = (uint32_t)group;
    }
}

static int many_send(struct delete_many_op *many, size_t group, struct bnd_bucket_ref bucket,
                     const struct bnd_slice *keys) {
    BND_AUTO_BUF struct bnd_buf items = {0};
    struct objects_command command = {.kind = OBJECTS_DELETE_MANY, .bucket = bucket.id};
    for (size_t i = 0; i < many->count; i++) {
        if (many->groups[i] == group) {
            bnd_buf_bytes(&items, keys[i]);
            command.count++;
        }
    }
    if (items.failed) {
        return BND_NOMEM;
    }
    command.items = bnd_buf_slice(&items);
    return objects_op_command(&many->op, group, many->gids[group], &command);
}

/* Sends a command to each group; keys whose command could not be sent have their result. */
static int many_send_all(struct delete_many_op *many, struct bnd_bucket_ref bucket,
                         const struct bnd_slice *keys) {
    int rv = 0;
    for (size_t group = 0; group < many->gids_count; group++) {
        rv = many_send(many, group, bucket, keys);
        if (rv != 0) {
            many_answered(&many->op, group, rv, bnd_slice(NULL, 0));
        }
    }
    return many->op.waiting == 0 ? rv : 0;
}

int bnd_object_delete_many(struct bnd_objects *objects, struct bnd_object_delete_many *del,
                           struct bnd_bucket_ref bucket, const struct bnd_slice *keys,
                           size_t count) {
    int rv = count == 0 || count > BND_OBJECT_DELETE_MAX ? BND_INVALID : 0;
    for (size_t i = 0; rv == 0 && i < count; i++) {
        rv = objects_name_check(&(struct bnd_object_name){.bucket = bucket, .key = keys[i]});
    }
    struct delete_many_op *op = rv == 0 ? objects_op_create(objects, sizeof *op, count, &rv) : NULL;
    if (op == NULL) {
        return rv;
    }
    op->op.answered = many_answered;
    op->op.finish = many_finish;
    op->op.cancel = many_cancel;
    op->op.free = many_free;
    op->del = del;
    op->count = count;
    op->results = bnd_calloc(count, sizeof *op->results);
    op->groups = bnd_calloc(count, sizeof *op->groups);
    op->gids = bnd_calloc(count, sizeof *op->gids);
    if (op->results == NULL || op->groups == NULL || op->gids == NULL) {
        objects_op_drop(&op->op);
        return BND_NOMEM;
    }
    many_group(op, bucket, keys);
    rv = many_send_all(op, bucket, keys);
    if (rv != 0) {
        objects_op_drop(&op->op);
    }
    return rv;
}
