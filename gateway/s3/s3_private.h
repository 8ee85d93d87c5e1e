/* One S3 request on its way: private to gateway/s3.
 *
 * A request is one allocation. It is parsed, authenticated, given its bucket, and then belongs to
 * its operation, which ends it with exactly one of s3_respond, s3_fail, s3_fail_code and s3_abort;
 * all of them free it. Nothing may be under way for it then: what cannot be taken back (calls of
 * the objects service) is waited for, also when the client has gone. */
#ifndef BND_GATEWAY_S3_S3_PRIVATE_H
#define BND_GATEWAY_S3_S3_PRIVATE_H

#include "gateway/s3/reply.h"
#include "gateway/s3/s3.h"
#include "gateway/s3/sigv4.h"
#include "gateway/s3/target.h"

#define S3_OP_BYTES 4096 /* of the operation's own state */
#define S3_REQUEST_ID 17

struct s3_request;
struct s3_key_cache;

/* How an operation is served. */
struct s3_step {
    /* The bucket is known if the operation asks for it. May be called once more, with another
     * bucket id, when the first turns out to be gone (s3_missing): then op is zeroed again. */
    void (*run)(struct s3_request *request);
    void (*clean)(struct s3_request *request); /* frees what op holds; NULL: nothing */
    uint32_t permission;                       /* enum bnd_permission */
    bool bucket;                               /* wants request->bucket */
};

struct s3_service {
    const struct bnd_gateway_services *services;
    struct s3_key_cache *keys;
    char *domain;
    size_t xml_bytes;
    size_t xml_bytes_max;
    struct bnd_link waiting; /* requests whose access key is not known yet */
    size_t waiting_count;
    struct bnd_timer wait_timer;
};

struct s3_request {
    struct s3_service *service;
    struct bnd_http_request *http;
    const struct s3_step *step;
    struct s3_target target;
    struct s3_query query;
    struct s3_signature signature;
    struct s3_signing_key signing_key;
    char restricted[BND_BUCKET_NAME_MAX + 1]; /* the key's bucket; "": every bucket */
    uint32_t permissions;
    struct bnd_catalog_bucket bucket;
    bool bucket_fresh;     /* learnt from group 0 after this request arrived */
    bool bucket_asked;     /* so was what s3_bucket_find found last */
    enum s3_error missing; /* what s3_missing tells when the bucket is still the same, or */
    void (*missing_same)(struct s3_request *request); /* how it goes on then */
    struct bnd_catalog_call call;
    void (*bucket_found)(struct s3_request *request, const struct bnd_bucket_record *bucket);
    uint64_t wait_since_ns;
    uint64_t question; /* to group 0, asked after the request came; 0: none */
    struct bnd_link wait_link;
    struct s3_reply reply;
    char id[S3_REQUEST_ID];
    _Alignas(16) uint8_t op[S3_OP_BYTES];
    uint8_t space[]; /* decoded path and query */
};

/* ---- service.c: ends of a request
 * ------------------------------------------------------------------------------------- */

/* Answers with the headers of request->reply and a body (copied). */
void s3_respond(struct s3_request *request, unsigned status, struct bnd_slice body);
/* The same with an XML document; out of memory if xml->failed. */
void s3_respond_xml(struct s3_request *request, const struct bnd_buf *xml);
/* An S3 error. why: a constant or borrowed sentence, NULL: the standard one. */
void s3_fail(struct s3_request *request, enum s3_error error, const char *why);
/* The error of a code from the objects service or the catalog; what means "unknown outcome" is 503
 * like what means "not executed", never 500 (reference/durable-objects.md). */
void s3_fail_code(struct s3_request *request, int code);
/* Cuts the connection. */
void s3_abort(struct s3_request *request);
/* Frees a request whose HTTP request has been ended otherwise (bnd_http_end). */
void s3_release(struct s3_request *request);

/* The S3 error of a code. */
enum s3_error s3_error_of(int code);
/* The first field of that name, or a slice with data NULL. */
struct bnd_slice s3_header(const struct s3_request *request, const char *name);
/* "ETag" in quotes and, if uploaded, "Last-Modified". */
void s3_reply_object(struct s3_request *request, const struct bnd_object_meta *meta,
                     bool last_modified);
const struct s3_step *s3_step_of(enum s3_operation operation);

/* ---- auth.c
 * ------------------------------------------------------------------------------------- */

/* Checks signature and permissions, then calls s3_authorized; or ends the request. */
void s3_authorize(struct s3_request *request);
void s3_authorized(struct s3_request *request); /* in service.c */
/* May the request's key do this with the objects of that bucket? */
bool s3_allowed(const struct s3_request *request, uint32_t permission, struct bnd_slice bucket);
int s3_auth_open(struct s3_service *service);
void s3_auth_close(struct s3_service *service);

/* ---- bucket.c
 * ------------------------------------------------------------------------------------- */

/* Finds the bucket `name` and calls found, maybe at once, with a borrowed record, or with NULL when
 * there is none; ends the request on errors. fresh: asks group 0 in any case. What group 0 says is
 * remembered. name is borrowed until found. */
void s3_bucket_find(struct s3_request *request, struct bnd_slice name, bool fresh,
                    void (*found)(struct s3_request *request,
                                  const struct bnd_bucket_record *bucket));
/* Makes it the request's own bucket: for the callback of s3_bucket_find. */
void s3_bucket_take(struct s3_request *request, const struct bnd_bucket_record *bucket);
/* What was asked for is not there (or the bucket looks empty, or its shards are sealed): tells "no
 * such bucket" from `error` by group 0; runs the operation again if the remembered bucket id was an
 * old one. `same`, if not NULL, goes on in place of the error when the bucket is the same. */
void s3_missing(struct s3_request *request, enum s3_error error,
                void (*same)(struct s3_request *request));
/* A write found the bucket sealed. */
void s3_locked(struct s3_request *request);
/* The bucket as the objects service wants it. */
struct bnd_bucket_ref s3_bucket_ref(const struct s3_request *request);
struct bnd_object_name s3_object_name(const struct s3_request *request);

/* ---- the operations
 * ------------------------------------------------------------------------------------- */

extern const struct s3_step s3_step_list_buckets, s3_step_create_bucket, s3_step_head_bucket,
    s3_step_delete_bucket, s3_step_bucket_location, s3_step_list_objects, s3_step_list_uploads,
    s3_step_delete_objects, s3_step_get, s3_step_head, s3_step_put, s3_step_copy, s3_step_delete,
    s3_step_create_upload, s3_step_upload_part, s3_step_upload_part_copy, s3_step_complete,
    s3_step_abort_upload, s3_step_list_parts;

/* The operation's state in request->op. */
#define S3_OP(request, type)                                                                       \
    __extension__({                                                                                \
        _Static_assert(sizeof(type) <= S3_OP_BYTES, #type " is too large");                        \
        (type *)(void *)(request)->op;                                                             \
    })

#endif
