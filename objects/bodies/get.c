/* Reading a range of a body from one replica after the other, this node first. */
#include "objects/bodies/bodies_private.h"

#include "base/assert.h"

#define CALL_NS (5000 * BND_MS)

static bool try_next(struct bnd_body_get *get);

/* What is told when nobody could serve it: damage above absence above silence. */
static int worse(int a, int b) {
    if (a == BND_CORRUPT || b == BND_CORRUPT) {
        return BND_CORRUPT;
    }
    if (a == 0) {
        return b;
    }
    return a == b ? a : BND_UNAVAILABLE;
}

static void on_reply(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct bnd_body_get *get = call->data;
    if (status == 0 && reply.len != BODY_REPLY_HEAD_BYTES + (size_t)get->range.len) {
        status = BND_CORRUPT;
    }
    if (status != 0) {
        get->worst = worse(
            get->worst, status == BND_CORRUPT || status == BND_NOTFOUND ? status : BND_UNAVAILABLE);
        if (!try_next(get)) {
            get->cb(get, get->worst, bnd_slice(NULL, 0));
        }
        return;
    }
    get->cb(get, 0, bnd_slice(reply.data + BODY_REPLY_HEAD_BYTES, get->range.len));
}

/* Asks the next replica that can be asked. False: none is left. */
static bool try_next(struct bnd_body_get *get) {
    struct bnd_bodies *bodies = get->bodies;
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    struct body_request request = {.op = BODY_READ,
                                   .id = {.gid = get->range.gid},
                                   .offset = get->range.offset,
                                   .size = get->range.size,
                                   .len = get->range.len};
    memcpy(request.id.version, get->range.version, sizeof request.id.version);
    body_request_encode(head, &request);
    struct bnd_slice part = bnd_slice(head, sizeof head);
    while (get->tried < get->replicas.count) {
        uint64_t node = get->replicas.nodes[get->tried++];
        get->call.cb = on_reply;
        get->call.data = get;
        int rv = bnd_rpc_call(bodies->config.rpc, &get->call, node, BND_MESH_BULK, BND_RPC_BODY,
                              &part, 1, CALL_NS);
        if (rv == 0) {
            get->from = node;
            return true;
        }
        get->worst = worse(get->worst, BND_UNAVAILABLE);
    }
    return false;
}

/* Moves a node to the front, if it is there. */
static void prefer(struct bnd_object_replicas *replicas, uint64_t node) {
    for (size_t i = 1; i < replicas->count; i++) {
        if (replicas->nodes[i] == node) {
            memmove(replicas->nodes + 1, replicas->nodes, i * sizeof replicas->nodes[0]);
            replicas->nodes[0] = node;
            return;
        }
    }
}

int bnd_body_get(struct bnd_bodies *bodies, struct bnd_body_get *get,
                 const struct bnd_body_range *range) {
    struct bnd_object_replicas replicas = {0};
    BND_ASSERT(range->len > 0 && range->len <= BND_OBJECT_CHUNK_MAX);
    BND_ASSERT(range->offset + range->len <= range->size);
    int rv = bodies->config.replicas(bodies->config.owner, bnd_gid_shard(range->gid), &replicas);
    if (rv != 0 || replicas.count > BND_REPLICAS_MAX) {
        return rv != 0 ? rv : BND_UNAVAILABLE;
    }
    prefer(&replicas, bodies->config.self);
    prefer(&replicas, get->from); /* the one that served the last range, if any */
    get->bodies = bodies;
    get->range = *range;
    get->replicas = replicas;
    get->tried = 0;
    get->worst = 0;
    return try_next(get) ? 0 : BND_UNAVAILABLE;
}

void bnd_body_get_cancel(struct bnd_body_get *get) {
    bnd_rpc_cancel(&get->call);
}
