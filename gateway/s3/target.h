/* What a request is about: bucket, key, operation. Internal to gateway/s3; pure. */
#ifndef BND_GATEWAY_S3_TARGET_H
#define BND_GATEWAY_S3_TARGET_H

#include "catalog/records.h"
#include "gateway/s3/query.h"

enum s3_operation {
    S3_LIST_BUCKETS,
    S3_CREATE_BUCKET,
    S3_HEAD_BUCKET,
    S3_DELETE_BUCKET,
    S3_BUCKET_LOCATION,
    S3_LIST_OBJECTS,
    S3_LIST_UPLOADS,
    S3_DELETE_OBJECTS,
    S3_GET_OBJECT,
    S3_HEAD_OBJECT,
    S3_PUT_OBJECT,
    S3_COPY_OBJECT,
    S3_DELETE_OBJECT,
    S3_CREATE_UPLOAD,
    S3_UPLOAD_PART,
    S3_UPLOAD_PART_COPY,
    S3_COMPLETE_UPLOAD,
    S3_ABORT_UPLOAD,
    S3_LIST_PARTS,
    S3_OPERATIONS
};

struct s3_target {
    enum s3_operation operation;
    struct bnd_slice bucket; /* a valid name, or empty: the service */
    struct bnd_slice key;    /* decoded, UTF-8 without NUL, 1..1024 bytes; empty: the bucket */
};

/* Bytes of space that s3_target_parse needs. */
size_t s3_target_space(const struct bnd_http_head *head);

/* Reads the target: path-style, or virtual-host style where the Host field is
 * <bucket>.<domain>, <bucket>.localhost or <bucket>.s3.<anything> (also s3-...). domain may be
 * NULL. The slices of *out point into space. Whatever is not one of the operations gives
 * S3_NotImplemented if S3 has it (acl, tagging, versioning, ...; also by a header, such as
 * x-amz-tagging), or S3_MethodNotAllowed; *why is then a constant sentence. */
enum s3_error s3_target_parse(const struct bnd_http_head *head, const struct s3_query *query,
                              const char *domain, uint8_t *space, struct s3_target *out,
                              const char **why);

/* Reads "/bucket/key" or "bucket/key", percent-encoded, of x-amz-copy-source; space: source.len
 * bytes. A versionId gives S3_NotImplemented. */
enum s3_error s3_copy_source_parse(struct bnd_slice source, uint8_t *space,
                                   struct bnd_slice *out_bucket, struct bnd_slice *out_key,
                                   const char **why);

/* "PutObject", ...: for logs and metrics. */
const char *s3_operation_name(enum s3_operation operation);

#endif
