/* The body of a request on its way in: private to gateway/s3's operations.
 *
 * Reads the body piece by piece, undoes the aws-chunked coding, computes the digests (on the pool
 * when the body is more than one piece) and checks, at the end, everything that the client said
 * about it: length, Content-MD5, the signed SHA-256, chunk signatures, x-amz-checksum-* in header
 * or trailer. One piece is in memory at a time. */
#ifndef BND_GATEWAY_S3_BODY_H
#define BND_GATEWAY_S3_BODY_H

#include "gateway/s3/chunked.h"
#include "gateway/s3/digest.h"
#include "gateway/s3/s3_private.h"

struct s3_body {
    uint64_t length; /* decoded, or BND_OBJECT_SIZE_UNKNOWN */
    uint64_t received;
    bool list_of_parts; /* set before open: x-amz-checksum-* headers are about something else */
    enum bnd_checksum checksum;           /* that the client gave, or BND_CHECKSUM_COUNT */
    struct bnd_object_checksums computed; /* at the end: MD5 and the client's */
    /* private */
    struct s3_request *request;
    void (*on_data)(struct s3_request *request, struct bnd_slice data);
    void (*on_end)(struct s3_request *request);
    struct bnd_object_checksums expected;
    bool in_trailer; /* the checksum comes there */
    bool aws_chunked;
    bool decoded_end;
    bool asked;
    struct s3_chunked *decoder; /* of an aws-chunked body */
    uint8_t *plain;             /* what the decoder made of a piece */
    struct s3_digest digest;
    struct bnd_http_read read;
    struct bnd_http_chunk *chunk;
    struct bnd_slice data;
    struct bnd_work work;
};

/* Reads the headers; nothing is asked for yet. extra_kinds: bits 1 << enum bnd_checksum to compute
 * besides. On an error *why is a constant sentence, and the body needs closing all the same.
 * on_data: a piece of 1..BND_HTTP_CHUNK_BYTES bytes, lent until s3_body_next. on_end: all has come
 * and everything was right. If something is wrong the request is ended by s3_fail or s3_abort. */
enum s3_error s3_body_open(struct s3_body *body, struct s3_request *request, unsigned extra_kinds,
                           const char **why);
/* Asks for the next piece, and gives back the one before. */
void s3_body_next(struct s3_body *body);
void s3_body_close(struct s3_body *body); /* zeroed: allowed */

#endif
