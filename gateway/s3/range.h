/* Ranges of bytes (RFC 9110 14): internal to gateway/s3. Pure. */
#ifndef BND_GATEWAY_S3_RANGE_H
#define BND_GATEWAY_S3_RANGE_H

#include "base/bytes.h"

enum s3_range {
    S3_RANGE_WHOLE, /* none was given, or one that RFC 9110 says to ignore */
    S3_RANGE_PART,
    S3_RANGE_UNSATISFIABLE,
};

/* Reads "bytes=a-b", "bytes=a-" or "bytes=-n" against a size. Several ranges and other units are
 * ignored, as S3 does. *out_offset and *out_length are set for WHOLE and PART. */
enum s3_range s3_range_read(struct bnd_slice text, uint64_t size, uint64_t *out_offset,
                            uint64_t *out_length);

/* Reads x-amz-copy-source-range: "bytes=a-b" with both ends inside size; false for anything else.
 */
bool s3_copy_range_read(struct bnd_slice text, uint64_t size, uint64_t *out_offset,
                        uint64_t *out_length);

#endif
