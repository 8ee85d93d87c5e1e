/* See shard_wire.h. Little-endian:
 *   request: u8 version (1), u8 kind, u64 gid,
 *            [write, execute: u64 minter, u64 seq, u64 low_seq, u64 deadline_ms,] body to the end
 *   reply:   u8 version (1), u8 executed, i32 status, u64 leader, u64 stamp_ms, body to the end */
#include "raft/shard_wire.h"

#include "base/error.h"

enum { SHARD_WIRE_VERSION = 1 };

void shard_request_head(const struct shard_request *request, struct bnd_buf *out) {
    bnd_buf_reset(out);
    bnd_buf_u8(out, SHARD_WIRE_VERSION);
    bnd_buf_u8(out, (uint8_t)request->kind);
    bnd_buf_u64(out, request->gid);
    if (shard_has_id(request->kind)) {
        bnd_buf_u64(out, request->id.minter);
        bnd_buf_u64(out, request->id.seq);
        bnd_buf_u64(out, request->low_seq);
        bnd_buf_u64(out, request->deadline_ms);
    }
}

void shard_reply_head(const struct shard_reply *reply, struct bnd_buf *out) {
    bnd_buf_reset(out);
    bnd_buf_u8(out, SHARD_WIRE_VERSION);
    bnd_buf_u8(out, reply->executed);
    bnd_buf_u32(out, (uint32_t)(int32_t)reply->status);
    bnd_buf_u64(out, reply->leader);
    bnd_buf_u64(out, reply->stamp_ms);
}

int shard_request_decode(struct bnd_slice bytes, struct shard_request *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    uint8_t kind = bnd_read_u8(&r);
    struct shard_request request = {.gid = bnd_read_u64(&r)};
    bool has_id = shard_has_id((enum shard_kind)kind);
    if (has_id) {
        request.id.minter = bnd_read_u64(&r);
        request.id.seq = bnd_read_u64(&r);
        request.low_seq = bnd_read_u64(&r);
        request.deadline_ms = bnd_read_u64(&r);
    }
    if (r.failed || kind < SHARD_READ || kind > SHARD_EXECUTE) {
        return BND_CORRUPT;
    }
    if (version != SHARD_WIRE_VERSION) {
        return BND_VERSION;
    }
    if (has_id &&
        (request.id.minter == 0 || request.id.seq == 0 || request.low_seq > request.id.seq)) {
        return BND_CORRUPT;
    }
    request.kind = (enum shard_kind)kind;
    request.body = r.rest;
    *out = request;
    return 0;
}

int shard_reply_decode(struct bnd_slice bytes, struct shard_reply *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    uint8_t executed = bnd_read_u8(&r);
    struct shard_reply reply = {.executed = executed == 1};
    reply.status = (int)(int32_t)bnd_read_u32(&r);
    reply.leader = bnd_read_u64(&r);
    reply.stamp_ms = bnd_read_u64(&r);
    reply.body = r.rest;
    if (r.failed || executed > 1 || reply.status > 0) {
        return BND_CORRUPT;
    }
    if (version != SHARD_WIRE_VERSION) {
        return BND_VERSION;
    }
    *out = reply;
    return 0;
}
