/* What an uploader says about an object, from headers and back: internal to gateway/s3. */
#ifndef BND_GATEWAY_S3_FIELDS_H
#define BND_GATEWAY_S3_FIELDS_H

#include "gateway/s3/reply.h"
#include "objects/objects.h"

/* Reads Content-Type, -Language, -Disposition, -Encoding (without aws-chunked), Cache-Control,
 * Expires, x-amz-storage-class and x-amz-meta-*. Slices point into the head and into *space, which
 * is appended to and must live as long. S3_MetadataTooLarge, S3_InvalidArgument;
 * S3_ServiceUnavailable without memory. */
enum s3_error s3_fields_read(const struct bnd_http_head *head, struct bnd_buf *space,
                             struct bnd_object_fields *out, const char **why);

/* Adds them to an answer, Content-Type always. What no header can hold is left out and counted in
 * x-amz-missing-meta. The slices must live until the answer is sent. */
void s3_fields_write(const struct bnd_object_fields *fields, struct s3_reply *reply);

/* Adds the checksums that S3 knows, and their type. */
void s3_checksums_write(const struct bnd_object_meta *meta, struct s3_reply *reply);

#endif
