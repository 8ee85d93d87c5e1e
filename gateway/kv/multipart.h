/* multipart/form-data (RFC 7578), as it comes, in constant memory: internal to gateway/.
 *
 * The caller pulls: each call takes some input and says one thing, so that a slow consumer of a
 * part simply asks later. Only the names of parts are read; file names and types are passed over.
 */
#ifndef BND_GATEWAY_KV_MULTIPART_H
#define BND_GATEWAY_KV_MULTIPART_H

#include "base/bytes.h"

#define KV_MULTIPART_BOUNDARY_MAX 70u /* RFC 2046 5.1.1 */
#define KV_MULTIPART_HEAD_MAX 4096u   /* of one part */
#define KV_MULTIPART_NAME_MAX 64u

enum kv_multipart_event {
    KV_MULTIPART_MORE,  /* the input is used up */
    KV_MULTIPART_PART,  /* a part begins; text: its name, "" if it has none */
    KV_MULTIPART_BYTES, /* of the part; text: 1 byte or more, borrowed */
    KV_MULTIPART_DONE,  /* the closing delimiter was there; what follows is ignored */
};

struct kv_multipart {
    /* private */
    uint8_t state;
    uint8_t matched; /* bytes of the delimiter seen so far */
    uint8_t delimiter_len;
    uint8_t delimiter[KV_MULTIPART_BOUNDARY_MAX + 4]; /* CR LF - - boundary */
    uint8_t held[KV_MULTIPART_BOUNDARY_MAX + 4];      /* told as bytes: a false beginning of it */
    size_t head_len;
    uint8_t head[KV_MULTIPART_HEAD_MAX];
    char name[KV_MULTIPART_NAME_MAX + 1];
};

/* True if a Content-Type's value is multipart/form-data, whatever its parameters. */
bool kv_multipart_is(struct bnd_slice content_type);
/* BND_INVALID: it has no boundary, or one that cannot be. */
int kv_multipart_init(struct kv_multipart *form, struct bnd_slice content_type);
/* Takes bytes from the beginning of *input. Returns an event with *text, or BND_INVALID. After the
 * end of the body the last event must have been DONE. */
int kv_multipart_next(struct kv_multipart *form, struct bnd_slice *input, struct bnd_slice *text);

#endif
