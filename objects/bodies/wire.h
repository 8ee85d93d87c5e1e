/* Messages of BND_RPC_BODY (SPEC.md, "Bodies"). Codecs only. */
#ifndef BND_OBJECTS_BODIES_WIRE_H
#define BND_OBJECTS_BODIES_WIRE_H

#include "objects/bodies/file.h"

enum body_op {
    BODY_OPEN = 1,   /* begin a body */
    BODY_APPEND = 2, /* bytes at an offset; none: still there */
    BODY_FINISH = 3, /* make it durable under its name */
    BODY_ABORT = 4,
    BODY_READ = 5,
    BODY_CHECK = 6, /* does it hold every live body of the group? */
    BODY_HAVE = 7,  /* is this body there, or nothing that could name it? */
};

struct body_request {
    enum body_op op;
    struct body_id id;
    uint64_t offset;       /* APPEND, READ */
    uint64_t size;         /* FINISH, READ: of the body */
    uint64_t deadline_ms;  /* FINISH, HAVE */
    uint32_t len;          /* READ */
    struct bnd_slice data; /* APPEND */
};

/* All but data, which is sent behind it. */
#define BODY_REQUEST_HEAD_BYTES (1 + 8 + 16 + 8 + 8 + 8 + 4)
void body_request_encode(uint8_t out[BODY_REQUEST_HEAD_BYTES], const struct body_request *request);
int body_request_decode(struct bnd_slice bytes, struct body_request *out); /* BND_INVALID */

/* Every reply with status 0 begins with a time: of READ the body's deadline, else the server's
 * newest stamp; of READ the bytes follow; of CHECK u8 1 if the rest is known, u64 how many are
 * missing or damaged. */
#define BODY_REPLY_HEAD_BYTES 8

#endif
