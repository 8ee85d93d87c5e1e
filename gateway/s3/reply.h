/* The head of an answer under construction: internal to gateway/s3. */
#ifndef BND_GATEWAY_S3_REPLY_H
#define BND_GATEWAY_S3_REPLY_H

#include "gateway/http/server.h"
#include "gateway/s3/error.h"

#define S3_REPLY_HEADERS 24
#define S3_REPLY_ARENA 768

struct s3_reply_block {
    struct s3_reply_block *next;
    char bytes[];
};

/* Zero-initialised is empty. Not to be moved. */
struct s3_reply {
    struct bnd_http_header *grown; /* of more than S3_REPLY_HEADERS */
    size_t grown_cap;
    size_t count;
    size_t used;
    bool failed;                   /* out of memory */
    struct s3_reply_block *blocks; /* what did not fit into the arena */
    struct bnd_http_header fixed[S3_REPLY_HEADERS];
    char arena[S3_REPLY_ARENA];
};

/* Adds a header; name and value are borrowed until the answer is sent. A value that no header can
 * hold is left out, and false returned. */
bool s3_reply_add(struct s3_reply *reply, struct bnd_slice name, struct bnd_slice value);
void s3_reply_text(struct s3_reply *reply, const char *name, struct bnd_slice value);
/* The value is made here, of at most a few hundred bytes. */
void s3_reply_printf(struct s3_reply *reply, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void s3_reply_number(struct s3_reply *reply, const char *name, uint64_t value);

/* Room for len bytes that lives as long as the reply; NULL without memory. */
char *s3_reply_space(struct s3_reply *reply, size_t len);

const struct bnd_http_header *s3_reply_headers(const struct s3_reply *reply);
void s3_reply_free(struct s3_reply *reply);

#endif
