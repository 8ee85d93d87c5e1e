/* The peer protocol's bytes: hello, frames, join head (SPEC.md, "Peer protocol"). No I/O, no state
 * but that of a half-received message; everything read is hostile. */
#ifndef BND_NET_FRAME_H
#define BND_NET_FRAME_H

#include "net/mesh.h"
#include "net/pki.h"

#define BND_FRAME_VERSION 1 /* highest version of the protocol spoken, and the lowest */
#define BND_FRAME_HELLO_BYTES 44
#define BND_FRAME_HEAD_BYTES 8
#define BND_FRAME_MAX (64u << 10) /* head included */
#define BND_FRAME_PAYLOAD_MAX (BND_FRAME_MAX - BND_FRAME_HEAD_BYTES)
#define BND_FRAME_PING_BYTES 16
#define BND_FRAME_JOIN_HEAD_BYTES 16
#define BND_FRAME_JOIN_REQUEST_MAX (64u << 10)
#define BND_FRAME_JOIN_REPLY_MAX (1u << 20)

enum bnd_frame_kind {
    BND_FRAME_PING = 0x80,
    BND_FRAME_PONG = 0x81
}; /* below: enum bnd_mesh_kind */

/* The acceptor's answer in a hello: 0, or why it refuses. Numbers are the wire's. */
enum bnd_hello_status {
    BND_HELLO_OK = 0,
    BND_HELLO_CLUSTER = 1, /* of another cluster */
    BND_HELLO_IDENTITY =
        2, /* the certificate says another node, or this is not the node that was meant */
    BND_HELLO_UNKNOWN = 3, /* not a member that is known here */
    BND_HELLO_VERSION = 4, /* no version in common */
    BND_HELLO_BUSY = 5,    /* a connection the other way is being made */
    BND_HELLO_GONE = 6,    /* a member no more, for ever */
    BND_HELLO_STATUSES
};

/* Returns constant text for a log line. */
const char *bnd_hello_text(unsigned status);

struct bnd_hello {
    uint16_t version;     /* the highest spoken; in an answer the chosen one */
    uint16_t version_min; /* the lowest spoken */
    uint8_t lane;
    uint8_t status;
    uint8_t cluster[BND_PKI_CLUSTER_BYTES];
    uint64_t sender;
    uint64_t receiver;
};

void bnd_hello_encode(const struct bnd_hello *hello, uint8_t out[BND_FRAME_HELLO_BYTES]);
/* BND_CORRUPT: no hello. Versions are not judged here. */
int bnd_hello_decode(const uint8_t in[BND_FRAME_HELLO_BYTES], struct bnd_hello *out);

/* Bytes a message of `total` bytes takes on the wire. */
size_t bnd_frame_wire_bytes(size_t total);
/* Appends a message (at most BND_MESH_MESSAGE_MAX) cut into frames. Without memory buf->failed is
 * set. */
void bnd_frame_append(struct bnd_buf *buf, uint8_t kind, const struct bnd_slice *parts,
                      size_t count);

/* Joins what was cut. Zero-initialised is ready. */
struct bnd_frame_joiner {
    struct bnd_buf partial; /* a frame that has not arrived wholly */
    struct bnd_buf message; /* the frames so far of a message of several */
    uint32_t total;         /* of that message; 0: none begun */
    uint8_t kind;
};

void bnd_frame_joiner_free(struct bnd_frame_joiner *joiner);

/* payload is borrowed until the call returns. Returns false to stop: the rest of the input is
 * dropped. */
typedef bool (*bnd_frame_cb)(void *owner, uint8_t kind, struct bnd_slice payload);

/* Calls cb for each message and ping that is complete. 0; BND_CORRUPT: the stream must be closed;
 * BND_NOMEM. */
int bnd_frame_feed(struct bnd_frame_joiner *joiner, struct bnd_slice input, bnd_frame_cb cb,
                   void *owner);

/* status: of the answer, 0 in a request. */
void bnd_join_head_encode(int status, uint32_t length, uint8_t out[BND_FRAME_JOIN_HEAD_BYTES]);
/* BND_CORRUPT: no head, or a length above length_max. BND_VERSION. */
int bnd_join_head_decode(const uint8_t in[BND_FRAME_JOIN_HEAD_BYTES], uint32_t length_max,
                         int *out_status, uint32_t *out_length);

#endif
