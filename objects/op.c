/* Operations: one or more calls to groups, answered to the user once all are in. */
#include "base/alloc.h"
#include "base/assert.h"
#include "objects/objects_private.h"

enum { REQUESTS_MAX_DEFAULT = 65536 };

void *objects_op_create(struct bnd_objects *objects, size_t bytes, size_t calls, int *out_rv) {
    size_t max = objects->config.requests_max;
    BND_ASSERT(bytes >= sizeof(struct objects_op));
    BND_ASSERT(objects->client != NULL);
    if (objects->closing) {
        *out_rv = BND_CANCELED;
        return NULL;
    }
    if (objects->stats.requests_open >= (max == 0 ? REQUESTS_MAX_DEFAULT : max)) {
        *out_rv = BND_FULL;
        return NULL;
    }
    struct objects_op *op = bnd_zalloc(bytes);
    struct objects_op_call *room = bnd_calloc(calls, sizeof *room);
    if (op == NULL || room == NULL) {
        bnd_free(op);
        bnd_free(room);
        *out_rv = BND_NOMEM;
        return NULL;
    }
    op->objects = objects;
    op->calls = room;
    op->calls_count = calls;
    bnd_list_push(&objects->ops, &op->link);
    objects->stats.requests_open++;
    return op;
}

static void op_free(struct objects_op *op) {
    op->objects->stats.requests_open--;
    if (bnd_link_linked(&op->link)) {
        bnd_link_remove(&op->link);
    }
    if (op->free != NULL) {
        op->free(op);
    }
    bnd_free(op->calls);
    bnd_free(op);
}

void objects_op_drop(struct objects_op *op) {
    for (size_t i = 0; i < op->calls_count; i++) {
        if (op->calls[i].under_way) {
            bnd_shard_call_cancel(&op->calls[i].call);
        }
    }
    op_free(op);
}

static void on_answer(struct bnd_shard_call *call, int status, struct bnd_slice reply) {
    struct objects_op_call *mine = call->data;
    struct objects_op *op = mine->op;
    mine->under_way = false;
    op->waiting--;
    op->answered(op, (size_t)(mine - op->calls), status, reply);
    if (op->waiting > 0) {
        return;
    }
    bnd_link_remove(&op->link); /* the user may close everything from its callback */
    op->finish(op);
    if (op->waiting == 0) {
        op_free(op);
    } else { /* it asked for more in place of telling the user */
        bnd_list_push(&op->objects->ops, &op->link);
    }
}

int objects_op_call(struct objects_op *op, size_t i, enum bnd_shard_call_kind kind, uint64_t gid,
                    struct bnd_slice payload) {
    BND_ASSERT(i < op->calls_count);
    struct objects_op_call *call = &op->calls[i];
    *call = (struct objects_op_call){.op = op};
    call->call.cb = on_answer;
    call->call.data = call;
    op->write = kind == BND_SHARD_WRITE;
    int rv = bnd_shard_call(op->objects->client, &call->call, kind, gid, &payload, 1,
                            op->objects->config.timeout_ns);
    if (rv == 0) {
        call->under_way = true;
        op->waiting++;
    }
    return rv;
}

int objects_op_command(struct objects_op *op, size_t i, uint64_t gid,
                       const struct objects_command *command) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    objects_command_encode(&bytes, command);
    return bytes.failed ? BND_NOMEM
                        : objects_op_call(op, i, BND_SHARD_WRITE, gid, bnd_buf_slice(&bytes));
}

int objects_op_query(struct objects_op *op, size_t i, uint64_t gid,
                     const struct objects_query *query) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    objects_query_encode(&bytes, query);
    return bytes.failed ? BND_NOMEM
                        : objects_op_call(op, i, BND_SHARD_READ, gid, bnd_buf_slice(&bytes));
}
