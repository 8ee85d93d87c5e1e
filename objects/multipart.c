/* Uploads in parts, on the caller's side: create, complete, abort, list of parts. */
#include "objects/objects_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <openssl/evp.h>

/* One struct for the four: they differ in whom they tell what. */
struct multipart_op {
    struct objects_op op;
    struct bnd_multipart_create *create; /* one of the four */
    struct bnd_multipart_complete *complete;
    struct bnd_multipart_abort *abort;
    struct bnd_multipart_parts *parts;
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
    uint64_t gid;
    int status;
    uint32_t part;
    struct bnd_object object;
    struct bnd_buf page; /* of parts */
};

static void multipart_answered(struct objects_op *op, size_t call, int status,
                               struct bnd_slice reply) {
    struct multipart_op *multipart = (struct multipart_op *)op;
    (void)call; /* there is one */
    if (status == 0 && multipart->complete != NULL) {
        status = reply.len == 16 ? 0 : BND_CORRUPT;
        multipart->object.meta.uploaded_ms = status == 0 ? bnd_get_u64(reply.data) : 0;
        multipart->object.meta.size = status == 0 ? bnd_get_u64(reply.data + 8) : 0;
    } else if (status == 0 && multipart->parts != NULL) {
        bnd_buf_append_slice(&multipart->page, reply);
        status = multipart->page.failed ? BND_NOMEM : 0;
    } else if (multipart->complete != NULL && reply.len == 4) {
        multipart->part = bnd_get_u32(reply.data);
    }
    multipart->status = status;
}

static int tell_parts(struct multipart_op *multipart) {
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&multipart->page));
    struct bnd_multipart_parts_page page = {.truncated = bnd_read_u8(&r) == 1};
    struct objects_upload_record record;
    if (objects_upload_decode(bnd_read_bytes(&r), &record) != 0 || r.failed) {
        return BND_CORRUPT;
    }
    BND_AUTO struct bnd_multipart_part *parts = bnd_calloc(BND_OBJECT_LIST_MAX, sizeof *parts);
    if (parts == NULL) {
        return BND_NOMEM;
    }
    while (!r.failed && r.rest.len > 0 && page.count < BND_OBJECT_LIST_MAX) {
        objects_part_read(&r, &parts[page.count++]);
    }
    if (!bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    page.parts = parts;
    page.initiated_ms = record.initiated_ms;
    page.checksum = record.checksum;
    page.composite = record.composite;
    page.fields = record.fields;
    multipart->parts->cb(multipart->parts, 0, &page);
    return 0;
}

static void tell(struct multipart_op *multipart, int status) {
    if (multipart->create != NULL) {
        multipart->create->cb(multipart->create, status, status == 0 ? multipart->upload_id : NULL);
    } else if (multipart->complete != NULL) {
        multipart->complete->cb(multipart->complete, status,
                                status == 0 ? &multipart->object : NULL, multipart->part);
    } else if (multipart->abort != NULL) {
        multipart->abort->cb(multipart->abort, status);
    } else {
        status = status == 0 ? tell_parts(multipart) : status;
        if (status != 0) {
            multipart->parts->cb(multipart->parts, status, NULL);
        }
    }
}

static void multipart_finish(struct objects_op *op) {
    tell((struct multipart_op *)op, ((struct multipart_op *)op)->status);
}

static void multipart_cancel(struct objects_op *op, int status) {
    tell((struct multipart_op *)op, status);
}

static void multipart_free(struct objects_op *op) {
    struct multipart_op *multipart = (struct multipart_op *)op;
    bnd_object_free(&multipart->object);
    bnd_buf_free(&multipart->page);
}

static struct multipart_op *multipart_start(struct bnd_objects *objects,
                                            const struct bnd_object_name *name, int *out_rv) {
    *out_rv = objects_name_check(name);
    struct multipart_op *op =
        *out_rv == 0 ? objects_op_create(objects, sizeof *op, 1, out_rv) : NULL;
    if (op != NULL) {
        op->op.answered = multipart_answered;
        op->op.finish = multipart_finish;
        op->op.cancel = multipart_cancel;
        op->op.free = multipart_free;
        op->gid = objects_gid(objects, name);
    }
    return op;
}

static int multipart_send(struct multipart_op *op, const struct objects_command *command) {
    int rv = objects_op_command(&op->op, 0, op->gid, command);
    if (rv != 0) {
        objects_op_drop(&op->op);
    }
    return rv;
}

int bnd_multipart_create(struct bnd_objects *objects, struct bnd_multipart_create *create,
                         const struct bnd_multipart_create_options *options) {
    int rv = objects_fields_check(&options->fields);
    struct multipart_op *op = rv == 0 ? multipart_start(objects, &options->name, &rv) : NULL;
    if (op == NULL) {
        return rv;
    }
    op->create = create;
    objects_mint_id(objects, op->upload_id);
    struct objects_command command = {
        .kind = OBJECTS_CREATE,
        .bucket = options->name.bucket.id,
        .key = options->name.key,
        .upload_id = op->upload_id,
        .create = {.checksum = options->checksum,
                   .composite = options->composite,
                   .fields = options->fields},
    };
    return multipart_send(op, &command);
}

/* The md5 of the parts' md5s, and the parts as the command wants them. */
static int join_refs(const struct bnd_multipart_complete_options *options, struct bnd_buf *items,
                     uint8_t out_md5[16]) {
    BND_AUTO_BUF struct bnd_buf sums = {0};
    for (size_t i = 0; i < options->count; i++) {
        objects_part_ref_encode(items, &options->parts[i]);
        bnd_buf_append(&sums, options->parts[i].etag_md5, sizeof options->parts[i].etag_md5);
    }
    unsigned len = 0;
    if (items->failed || sums.failed ||
        EVP_Digest(sums.data, sums.len, out_md5, &len, EVP_md5(), NULL) != 1) {
        return BND_NOMEM;
    }
    BND_ASSERT(len == 16);
    return 0;
}

int bnd_multipart_complete(struct bnd_objects *objects, struct bnd_multipart_complete *complete,
                           const struct bnd_multipart_complete_options *options) {
    BND_AUTO_BUF struct bnd_buf items = {0};
    BND_AUTO_BUF struct bnd_buf manifest = {0};
    struct objects_conditions room;
    struct bnd_object_meta meta = {.profile = BND_PROFILE_PARTS,
                                   .parts = (uint32_t)options->count,
                                   .fields = bnd_object_fields_none(),
                                   .checksums = options->checksums};
    int rv = options->count == 0 || options->count > BND_OBJECT_PARTS_MAX ? BND_INVALID : 0;
    rv = rv == 0 ? objects_conditions_wrap(&options->conditions, &room) : rv;
    rv = rv == 0 ? join_refs(options, &items, meta.etag_md5) : rv;
    struct multipart_op *op = rv == 0 ? multipart_start(objects, &options->name, &rv) : NULL;
    if (op == NULL) {
        return rv;
    }
    op->complete = complete;
    objects_mint_id(objects, meta.version);
    op->object.meta = meta;
    objects_manifest_encode(&manifest, &meta, bnd_slice(NULL, 0), OBJECTS_WHOLE);
    if (manifest.failed) {
        objects_op_drop(&op->op);
        return BND_NOMEM;
    }
    struct objects_command command = {
        .kind = OBJECTS_COMPLETE,
        .bucket = options->name.bucket.id,
        .key = options->name.key,
        .upload_id = options->upload_id,
        .conditions = &room,
        .manifest = bnd_buf_slice(&manifest),
        .part_min = options->part_min,
        .equal_sizes = options->equal_sizes,
        .count = (uint32_t)options->count,
        .items = bnd_buf_slice(&items),
    };
    return multipart_send(op, &command);
}

int bnd_multipart_abort(struct bnd_objects *objects, struct bnd_multipart_abort *abort,
                        const struct bnd_object_name *name, const uint8_t *upload_id) {
    int rv = 0;
    struct multipart_op *op = multipart_start(objects, name, &rv);
    if (op == NULL) {
        return rv;
    }
    op->abort = abort;
    struct objects_command command = {
        .kind = OBJECTS_ABORT, .bucket = name->bucket.id, .key = name->key, .upload_id = upload_id};
    return multipart_send(op, &command);
}

int bnd_multipart_parts(struct bnd_objects *objects, struct bnd_multipart_parts *parts,
                        const struct bnd_multipart_parts_options *options) {
    int rv = options->limit == 0 || options->limit > BND_OBJECT_LIST_MAX ? BND_INVALID : 0;
    struct multipart_op *op = rv == 0 ? multipart_start(objects, &options->name, &rv) : NULL;
    if (op == NULL) {
        return rv;
    }
    op->parts = parts;
    struct objects_query query = {
        .kind = OBJECTS_PARTS,
        .bucket = options->name.bucket.id,
        .key = options->name.key,
        .upload_id = options->upload_id,
        .after_part = options->after,
        .limit = options->limit,
    };
    rv = objects_op_query(&op->op, 0, op->gid, &query);
    if (rv != 0) {
        objects_op_drop(&op->op);
    }
    return rv;
}
