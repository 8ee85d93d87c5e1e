/* If-* headers: internal to gateway/s3. Pure. */
#ifndef BND_GATEWAY_S3_CONDITIONS_H
#define BND_GATEWAY_S3_CONDITIONS_H

#include "gateway/http/head.h"
#include "gateway/s3/error.h"
#include "objects/objects.h"

/* Conditions with the storage of their lists: not to be moved once read. */
struct s3_conditions {
    struct bnd_object_conditions conditions;
    struct bnd_etag match[BND_OBJECT_ETAGS_MAX];
    struct bnd_etag not_match[BND_OBJECT_ETAGS_MAX];
};

/* Reads If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since, or with
 * prefix "x-amz-copy-source-" their namesakes. Slices point into the head. Dates that are none are
 * ignored (RFC 9110 13.1.3), lists that are none give S3_InvalidArgument. */
enum s3_error s3_conditions_read(const struct bnd_http_head *head, const char *prefix,
                                 struct s3_conditions *out, const char **why);

/* True if any of them was given. */
bool s3_conditions_any(const struct s3_conditions *conditions);

#endif
