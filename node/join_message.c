#include "node/join_message.h"

/* REPLACE_VERSION has one field more. */
enum { JOIN_VERSION = 1, REPLACE_VERSION = 2 };

void node_join_request_encode(struct bnd_buf *out, const struct node_join_request *request) {
    bnd_buf_u8(out, request->replaces == 0 ? JOIN_VERSION : REPLACE_VERSION);
    bnd_buf_bytes(out, request->id);
    bnd_buf_bytes(out, request->secret);
    bnd_buf_bytes(out, request->csr);
    bnd_buf_bytes(out, request->address);
    bnd_buf_bytes(out, request->zone);
    bnd_buf_u8(out, (uint8_t)request->role);
    if (request->replaces != 0) {
        bnd_buf_u64(out, request->replaces);
    }
}

int node_join_request_decode(struct bnd_slice bytes, struct node_join_request *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    struct node_join_request request = {.id = bnd_read_bytes(&r)};
    request.secret = bnd_read_bytes(&r);
    request.csr = bnd_read_bytes(&r);
    request.address = bnd_read_bytes(&r);
    request.zone = bnd_read_bytes(&r);
    uint8_t role = bnd_read_u8(&r);
    request.role = (enum bnd_node_role)role;
    request.replaces = version == REPLACE_VERSION ? bnd_read_u64(&r) : 0;
    if ((version != JOIN_VERSION && version != REPLACE_VERSION) || !bnd_reader_done(&r) ||
        request.id.len != BND_JOIN_ID_LEN || role < BND_NODE_STORAGE || role > BND_NODE_GATEWAY) {
        return BND_CORRUPT;
    }
    *out = request;
    return 0;
}

void node_join_reply_encode(struct bnd_buf *out, const struct node_join_reply *reply) {
    bnd_buf_u8(out, JOIN_VERSION);
    bnd_buf_u32(out, (uint32_t)-reply->status);
    bnd_buf_bytes(out, reply->message);
    bnd_buf_bytes(out, reply->cluster);
    bnd_buf_u64(out, reply->node);
    bnd_buf_u32(out, reply->shards);
    bnd_buf_bytes(out, reply->node_cert);
    bnd_buf_bytes(out, reply->ca_cert);
    bnd_buf_bytes(out, reply->cluster_key);
    bnd_buf_bytes(out, reply->peers);
}

int node_join_reply_decode(struct bnd_slice bytes, struct node_join_reply *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    uint32_t status = bnd_read_u32(&r);
    struct node_join_reply reply = {.status = status > 1000 ? BND_CORRUPT : -(int)status};
    reply.message = bnd_read_bytes(&r);
    reply.cluster = bnd_read_bytes(&r);
    reply.node = bnd_read_u64(&r);
    reply.shards = bnd_read_u32(&r);
    reply.node_cert = bnd_read_bytes(&r);
    reply.ca_cert = bnd_read_bytes(&r);
    reply.cluster_key = bnd_read_bytes(&r);
    reply.peers = bnd_read_bytes(&r);
    bool complete = reply.cluster.len == BND_PKI_CLUSTER_BYTES && reply.node != 0 &&
                    reply.shards != 0 && reply.cluster_key.len == BND_CLUSTER_KEY_LEN;
    if (version != JOIN_VERSION || !bnd_reader_done(&r) || (reply.status == 0 && !complete)) {
        return BND_CORRUPT;
    }
    *out = reply;
    return 0;
}
