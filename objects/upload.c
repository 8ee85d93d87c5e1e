/* Uploads: bytes gathered up to the inline bound, then streamed to the body store; one command
 * commits.
 *
 *   OPEN --write--> OPEN ... --commit--> FINISHING (body only) --> COMMITTING --> OVER
 *
 * At most one thing is under way: a write, or the commit. */
#include "objects/objects_private.h"

#include "base/alloc.h"
#include "base/assert.h"

enum { UPLOADS_MAX_DEFAULT = 1024 };
enum upload_state { UPLOAD_OPEN, UPLOAD_WRITING, UPLOAD_FINISHING, UPLOAD_COMMITTING, UPLOAD_OVER };

struct bnd_upload {
    struct bnd_objects *objects;
    struct bnd_link link;
    enum upload_state state;
    bool in_call; /* a callback of the user is running: destroy waits for it */
    bool destroyed;
    struct bnd_bucket_ref bucket;
    struct bnd_buf key;
    uint64_t gid;
    uint64_t size_given;
    bool is_part;
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
    uint32_t part;
    uint64_t size;
    uint8_t version[BND_OBJECT_ID_BYTES];
    struct bnd_buf body; /* while it may be inline */
    struct bnd_body_put *put;
    struct bnd_body_placed placed;
    int failed;
    struct bnd_task task; /* answers writes that went nowhere */
    bool task_waits;
    bnd_upload_write_cb write_cb;
    bnd_upload_commit_cb commit_cb;
    void *data;
    struct objects_op *op; /* the commit's call */
    /* the commit, copied */
    struct bnd_buf command_manifest;
    struct bnd_buf conditions; /* an encoded DELETE, whose conditions are decoded again */
    struct bnd_object_meta meta;
};

static struct bnd_object_name name_of(const struct bnd_upload *upload) {
    return (struct bnd_object_name){.bucket = upload->bucket, .key = bnd_buf_slice(&upload->key)};
}

static void upload_free(struct bnd_upload *upload) {
    if (bnd_link_linked(&upload->link)) {
        bnd_link_remove(&upload->link);
        upload->objects->stats.uploads_open--;
    }
    bnd_buf_free(&upload->key);
    bnd_buf_free(&upload->body);
    bnd_buf_free(&upload->command_manifest);
    bnd_buf_free(&upload->conditions);
    if (upload->op != NULL) {
        objects_op_drop(upload->op);
        upload->op = NULL;
    }
    bnd_body_put_destroy(upload->put);
    upload->put = NULL;
    upload->destroyed = true;
    if (!upload->in_call && !upload->task_waits) {
        bnd_free(upload);
    }
}

int bnd_upload_begin(struct bnd_objects *objects, const struct bnd_upload_options *options,
                     struct bnd_upload **out, struct bnd_error *err) {
    size_t max = objects->config.uploads_max;
    bool is_part = options->upload_id != NULL;
    if (objects_name_check(&options->name) != 0 ||
        (is_part && (options->part == 0 || options->part > BND_OBJECT_PARTS_MAX))) {
        return BND_FAIL(err, INVALID, "key of %zu bytes, part %u: out of bounds",
                        options->name.key.len, options->part);
    }
    if (options->size != BND_OBJECT_SIZE_UNKNOWN && options->size > BND_OBJECT_BODY_MAX) {
        return BND_FAIL(err, TOOBIG, "%llu bytes in one upload", (unsigned long long)options->size);
    }
    if (objects->closing || objects->stats.uploads_open >= (max == 0 ? UPLOADS_MAX_DEFAULT : max)) {
        return BND_FAIL(err, FULL, "too many uploads are open");
    }
    struct bnd_upload *upload = bnd_zalloc(sizeof *upload);
    if (upload == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for an upload");
    }
    bnd_buf_append_slice(&upload->key, options->name.key);
    if (upload->key.failed) {
        bnd_free(upload);
        return BND_FAIL(err, NOMEM, "no memory for an upload");
    }
    upload->objects = objects;
    upload->bucket = options->name.bucket;
    upload->gid = objects_gid(objects, &options->name);
    upload->size_given = options->size;
    upload->is_part = is_part;
    if (is_part) {
        memcpy(upload->upload_id, options->upload_id, BND_OBJECT_ID_BYTES);
        upload->part = options->part;
    }
    objects_mint_id(objects, upload->version);
    bnd_list_push(&objects->uploads, &upload->link);
    objects->stats.uploads_open++;
    *out = upload;
    return 0;
}

void bnd_upload_destroy(struct bnd_upload *upload) {
    if (upload != NULL) {
        upload_free(upload);
    }
}

/* ---- writes -----------------------------------------------------------------------------------
 */

static void tell_write(struct bnd_upload *upload, int status) {
    upload->state = status == 0 ? UPLOAD_OPEN : UPLOAD_OVER;
    upload->failed = status;
    upload->in_call = true;
    upload->write_cb(upload, upload->data, status);
    upload->in_call = false;
    if (upload->destroyed) {
        bnd_free(upload);
    }
}

static void on_put_write(void *data, int status) {
    tell_write(data, status);
}

static void tell_commit(struct bnd_upload *upload, int status, struct bnd_object *object) {
    upload->state = UPLOAD_OVER;
    upload->in_call = true;
    upload->commit_cb(upload, upload->data, status, object);
    upload->in_call = false;
    if (upload->destroyed) {
        bnd_free(upload);
    }
}

static void on_task(struct bnd_task *task) {
    struct bnd_upload *upload = task->data;
    upload->task_waits = false;
    if (upload->destroyed) {
        bnd_free(upload);
    } else if (upload->state == UPLOAD_WRITING) {
        tell_write(upload, upload->failed);
    } else {
        tell_commit(upload, upload->failed, NULL);
    }
}

/* Answers what is under way, later. */
static void answer_later(struct bnd_upload *upload, int status) {
    BND_ASSERT(!upload->task_waits);
    upload->failed = status;
    upload->task_waits = true;
    upload->task.cb = on_task;
    upload->task.data = upload;
    bnd_defer(upload->objects->config.env, &upload->task);
}

/* The body is too large to be inline: it goes to the store from here on. */
static int upload_stream(struct bnd_upload *upload) {
    return upload->put != NULL ? 0
                               : bnd_body_put_open(upload->objects->bodies, upload->gid,
                                                   upload->version, &upload->put);
}

int bnd_upload_write(struct bnd_upload *upload, struct bnd_slice data, bnd_upload_write_cb cb,
                     void *data_cb) {
    BND_ASSERT(upload->state == UPLOAD_OPEN || upload->state == UPLOAD_OVER);
    if (upload->state == UPLOAD_OVER) {
        return upload->failed != 0 ? upload->failed : BND_INVALID;
    }
    if (data.len > BND_OBJECT_CHUNK_MAX) {
        return BND_TOOBIG;
    }
    upload->write_cb = cb;
    upload->data = data_cb;
    upload->state = UPLOAD_WRITING;
    uint64_t max =
        upload->size_given == BND_OBJECT_SIZE_UNKNOWN ? BND_OBJECT_BODY_MAX : upload->size_given;
    if (data.len > max - upload->size) {
        answer_later(upload, BND_TOOBIG);
        return 0;
    }
    upload->size += data.len;
    upload->objects->stats.bytes_in += data.len;
    if (upload->put != NULL) {
        bnd_body_put_write(upload->put, data, on_put_write, upload);
        return 0;
    }
    bnd_buf_append_slice(&upload->body, data);
    int rv = upload->body.failed ? BND_NOMEM : 0;
    if (rv != 0 || upload->size <= BND_OBJECT_INLINE_MAX) {
        answer_later(upload, rv);
        return 0;
    }
    rv = upload_stream(upload);
    if (rv != 0) {
        answer_later(upload, rv);
        return 0;
    }
    bnd_body_put_write(upload->put, bnd_buf_slice(&upload->body), on_put_write, upload);
    bnd_buf_free(&upload->body);
    return 0;
}

/* ---- the commit -------------------------------------------------------------------------------
 */

struct commit_op {
    struct objects_op op;
    struct bnd_upload *upload;
    int status;
    uint64_t stamp_ms;
};

static void commit_answered(struct objects_op *op, size_t call, int status,
                            struct bnd_slice reply) {
    struct commit_op *commit = (struct commit_op *)op;
    (void)call; /* there is one */
    if (status == 0) {
        status = reply.len == 8 ? 0 : BND_CORRUPT;
        commit->stamp_ms = status == 0 ? bnd_get_u64(reply.data) : 0;
    } else if (status == BND_EXPIRED && reply.len == 1) {
        status = BND_UNAVAILABLE; /* refused by apply: certainly not executed */
    }
    commit->status = status;
}

static void count_commit(const struct bnd_upload *upload) {
    struct bnd_objects_stats *stats = &upload->objects->stats;
    stats->puts_inline += upload->put == NULL ? 1 : 0;
    stats->puts_body += upload->put != NULL ? 1 : 0;
    stats->uploads_degraded += upload->put != NULL && upload->placed.degraded ? 1 : 0;
}

static void commit_finish(struct objects_op *op) {
    struct commit_op *commit = (struct commit_op *)op;
    struct bnd_upload *upload = commit->upload;
    struct bnd_object object = {0};
    int rv = commit->status;
    upload->op = NULL; /* freed after this */
    if (rv == 0) {
        count_commit(upload);
        objects_manifest_stamp(upload->command_manifest.data, commit->stamp_ms);
        rv = objects_object_decode(bnd_buf_slice(&upload->command_manifest), bnd_slice(NULL, 0),
                                   upload->gid, &object);
        /* It is committed; only its description is lost. */
        rv = rv == 0 ? 0 : BND_UNKNOWN;
    }
    tell_commit(upload, rv, rv == 0 ? &object : NULL);
    bnd_object_free(&object);
}

static void commit_cancel(struct objects_op *op, int status) {
    struct bnd_upload *upload = ((struct commit_op *)op)->upload;
    upload->op = NULL;
    tell_commit(upload, status, NULL);
}

static void command_part(const struct bnd_upload *upload, struct objects_command *command) {
    command->kind = OBJECTS_PART;
    command->upload_id = upload->upload_id;
    command->part.number = upload->part;
    command->part.size = upload->size;
    memcpy(command->part.version, upload->version, sizeof upload->version);
    memcpy(command->part.etag_md5, upload->meta.etag_md5, sizeof upload->meta.etag_md5);
    command->part.checksums = upload->meta.checksums;
}

/* Proposes the commit: the body, if it has one of its own, is durable by now. */
static int propose(struct bnd_upload *upload) {
    int rv = 0;
    struct objects_conditions room = {.view = bnd_object_conditions_none()};
    struct objects_command kept;
    rv = objects_command_decode(bnd_buf_slice(&upload->conditions), &room, &kept);
    BND_ASSERT(rv == 0); /* encoded at the commit */
    struct commit_op *op = objects_op_create(upload->objects, sizeof *op, 1, &rv);
    if (op == NULL) {
        return rv;
    }
    op->op.answered = commit_answered;
    op->op.finish = commit_finish;
    op->op.cancel = commit_cancel;
    op->upload = upload;
    struct objects_command command = {
        .kind = OBJECTS_PUT,
        .bucket = upload->bucket.id,
        .key = bnd_buf_slice(&upload->key),
        .conditions = &room,
        .deadline_ms = upload->placed.deadline_ms,
        .have_count = upload->placed.have_count,
        .manifest = bnd_buf_slice(&upload->command_manifest),
    };
    memcpy(command.have, upload->placed.have, sizeof command.have);
    if (upload->is_part) {
        command_part(upload, &command);
    }
    rv = objects_op_command(&op->op, 0, upload->gid, &command);
    if (rv != 0) {
        objects_op_drop(&op->op);
        return rv;
    }
    upload->op = &op->op;
    upload->state = UPLOAD_COMMITTING;
    return 0;
}

static void on_finished(void *data, int status) {
    struct bnd_upload *upload = data;
    int rv = status == 0 ? propose(upload) : status;
    if (rv != 0) {
        tell_commit(upload, rv, NULL);
    }
}

/* Copies what the commit says. */
static int keep_commit(struct bnd_upload *upload, const struct bnd_upload_commit *commit) {
    struct objects_conditions conditions;
    struct bnd_object_conditions none = bnd_object_conditions_none();
    struct bnd_object_meta *meta = &upload->meta;
    int rv = objects_conditions_wrap(upload->is_part ? &none : &commit->conditions, &conditions);
    if (rv != 0) {
        return rv;
    }
    bool to_store = upload->is_part || upload->size > BND_OBJECT_INLINE_MAX;
    *meta = (struct bnd_object_meta){
        .size = upload->size,
        .profile = to_store ? BND_PROFILE_COPIES : BND_PROFILE_INLINE,
        .checksums = commit->checksums,
        .fields = upload->is_part ? bnd_object_fields_none() : commit->fields,
    };
    memcpy(meta->version, upload->version, sizeof meta->version);
    memcpy(meta->etag_md5, commit->etag_md5, sizeof meta->etag_md5);
    rv = objects_fields_check(&meta->fields);
    if (rv != 0) {
        return rv;
    }
    objects_manifest_encode(&upload->command_manifest, meta, bnd_buf_slice(&upload->body),
                            OBJECTS_WHOLE);
    meta->fields = bnd_object_fields_none(); /* the caller's from here on */
    struct objects_command kept = {
        .kind = OBJECTS_DELETE, .key = name_of(upload).key, .conditions = &conditions};
    objects_command_encode(&upload->conditions, &kept);
    return upload->command_manifest.failed || upload->conditions.failed ? BND_NOMEM : 0;
}

int bnd_upload_commit(struct bnd_upload *upload, const struct bnd_upload_commit *commit,
                      bnd_upload_commit_cb cb, void *data) {
    BND_ASSERT(upload->state == UPLOAD_OPEN || upload->state == UPLOAD_OVER);
    if (upload->state == UPLOAD_OVER) {
        return upload->failed != 0 ? upload->failed : BND_INVALID;
    }
    bool short_of =
        upload->size_given != BND_OBJECT_SIZE_UNKNOWN && upload->size != upload->size_given;
    int rv = short_of ? BND_INVALID : keep_commit(upload, commit);
    if (rv != 0) {
        return rv;
    }
    upload->commit_cb = cb;
    upload->data = data;
    if (upload->put == NULL && !upload->is_part) {
        return propose(upload);
    }
    upload->state = UPLOAD_FINISHING;
    bool fresh = upload->put == NULL;
    rv = upload_stream(upload);
    if (rv != 0) {
        answer_later(upload, rv);
        return 0;
    }
    if (fresh && upload->body.len > 0) { /* a small part: its bytes have not been sent */
        bnd_body_put_preload(upload->put, bnd_buf_slice(&upload->body));
    }
    bnd_body_put_finish(upload->put, &upload->placed, on_finished, upload);
    return 0;
}

void objects_uploads_cancel(struct bnd_objects *objects) {
    while (!bnd_list_empty(&objects->uploads)) {
        struct bnd_upload *upload = BND_CONTAINER(objects->uploads.next, struct bnd_upload, link);
        enum upload_state state = upload->state;
        bnd_link_remove(&upload->link);
        objects->stats.uploads_open--;
        upload->in_call = true;
        if (state == UPLOAD_WRITING) {
            upload->write_cb(upload, upload->data, BND_CANCELED);
        } else if (state == UPLOAD_FINISHING) {
            upload->commit_cb(upload, upload->data, BND_CANCELED, NULL);
        }
        upload->in_call = false;
        if (!upload->destroyed) {
            upload->state = UPLOAD_OVER;
            upload_free(upload);
        } else if (!upload->task_waits) {
            bnd_free(upload);
        }
    }
}
