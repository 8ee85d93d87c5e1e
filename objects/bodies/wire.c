/* See wire.h. */
#include "objects/bodies/wire.h"

void body_request_encode(uint8_t out[BODY_REQUEST_HEAD_BYTES], const struct body_request *request) {
    out[0] = (uint8_t)request->op;
    bnd_put_u64(out + 1, request->id.gid);
    memcpy(out + 9, request->id.version, 16);
    bnd_put_u64(out + 25, request->offset);
    bnd_put_u64(out + 33, request->size);
    bnd_put_u64(out + 41, request->deadline_ms);
    bnd_put_u32(out + 49, request->len);
}

int body_request_decode(struct bnd_slice bytes, struct body_request *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct body_request request = {0};
    uint8_t op = bnd_read_u8(&r);
    request.id.gid = bnd_read_u64(&r);
    struct bnd_slice version = bnd_read_raw(&r, 16);
    request.offset = bnd_read_u64(&r);
    request.size = bnd_read_u64(&r);
    request.deadline_ms = bnd_read_u64(&r);
    request.len = bnd_read_u32(&r);
    if (r.failed || op < BODY_OPEN || op > BODY_HAVE || request.size > BND_OBJECT_BODY_MAX ||
        request.offset > BND_OBJECT_BODY_MAX || request.len > BND_OBJECT_CHUNK_MAX ||
        r.rest.len > (op == BODY_APPEND ? BND_OBJECT_CHUNK_MAX : 0)) {
        return BND_INVALID;
    }
    request.op = (enum body_op)op;
    memcpy(request.id.version, version.data, 16);
    request.data = r.rest;
    *out = request;
    return 0;
}
