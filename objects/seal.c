/* Sealing and unsealing a bucket in every shard. */
#include "objects/objects_private.h"

#include "base/assert.h"

struct seal_op {
    struct objects_op op;
    struct bnd_bucket_seal *seal;
    int status; /* the first that is not 0; BND_EPOCH above all */
    bool holds;
};

static void seal_answered(struct objects_op *op, size_t call, int status, struct bnd_slice reply) {
    struct seal_op *seal = (struct seal_op *)op;
    (void)call; /* all shards are equal */
    if (status == 0 && reply.len != 1) {
        status = BND_CORRUPT;
    }
    if (status == 0) {
        seal->holds = seal->holds || reply.data[0] == 1;
    } else if (seal->status == 0 || status == BND_EPOCH) {
        seal->status = status;
    }
}

static void seal_finish(struct objects_op *op) {
    struct seal_op *seal = (struct seal_op *)op;
    seal->seal->cb(seal->seal, seal->status, seal->holds);
}

static void seal_cancel(struct objects_op *op, int status) {
    struct seal_op *seal = (struct seal_op *)op;
    seal->seal->cb(seal->seal, status, true);
}

static int seal_all(struct bnd_objects *objects, struct bnd_bucket_seal *seal,
                    const struct objects_command *command) {
    int rv = command->attempt == 0 ? BND_INVALID : 0;
    uint32_t shards = objects->config.shards;
    struct seal_op *op = rv == 0 ? objects_op_create(objects, sizeof *op, shards, &rv) : NULL;
    if (op == NULL) {
        return rv;
    }
    op->op.answered = seal_answered;
    op->op.finish = seal_finish;
    op->op.cancel = seal_cancel;
    op->seal = seal;
    for (uint32_t i = 0; i < shards; i++) {
        rv = objects_op_command(&op->op, i, bnd_gid(BND_GROUP_OBJECTS, i), command);
        if (rv != 0) {
            seal_answered(&op->op, i, rv, bnd_slice(NULL, 0));
        }
    }
    if (op->op.waiting > 0) {
        return 0;
    }
    objects_op_drop(&op->op);
    return rv;
}

int bnd_bucket_seal(struct bnd_objects *objects, struct bnd_bucket_seal *seal,
                    struct bnd_bucket_ref bucket, uint64_t attempt) {
    struct objects_command command = {
        .kind = OBJECTS_SEAL, .bucket = bucket.id, .attempt = attempt};
    return seal_all(objects, seal, &command);
}

int bnd_bucket_unseal(struct bnd_objects *objects, struct bnd_bucket_seal *seal,
                      struct bnd_bucket_ref bucket, uint64_t attempt) {
    struct objects_command command = {
        .kind = OBJECTS_UNSEAL, .bucket = bucket.id, .attempt = attempt};
    return seal_all(objects, seal, &command);
}
