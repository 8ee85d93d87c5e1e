/* What the operations that write bodies share: private to gateway/s3. */
#ifndef BND_GATEWAY_S3_PUT_H
#define BND_GATEWAY_S3_PUT_H

#include "gateway/s3/body.h"

/* Ends the request with what the status of an upload, or of a multipart operation, means. */
void s3_fail_upload(struct s3_request *request, int status);
/* The MD5 and the client's checksum of a body that has come to its end. */
void s3_take_checksums(const struct s3_body *body, struct bnd_upload_commit *commit);
/* Reads uploadId and partNumber. */
enum s3_error s3_part_read(const struct s3_request *request, uint8_t id[BND_OBJECT_ID_BYTES],
                           uint32_t *out_part, const char **why);

/* <ChecksumCRC32>...</ChecksumCRC32> and the like, for each that S3 knows. parts: of an object made
 * of parts, for composite checksums, whose text ends with their number; 0: none. */
void s3_checksums_element(const struct bnd_object_checksums *checksums, uint32_t parts,
                          struct bnd_buf *xml);

#endif
