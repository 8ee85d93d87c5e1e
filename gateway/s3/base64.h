/* Base64 (RFC 4648): internal to gateway/s3. Pure. */
#ifndef BND_GATEWAY_S3_BASE64_H
#define BND_GATEWAY_S3_BASE64_H

#include "base/bytes.h"

/* Appends the text: url gives the URL-safe alphabet without padding, else the standard one with it.
 */
void s3_base64_encode(struct bnd_buf *out, struct bnd_slice data, bool url);
/* Appends the bytes. False unless text is exactly what s3_base64_encode would write: one spelling
 * per value. */
bool s3_base64_decode(struct bnd_slice text, bool url, struct bnd_buf *out);
/* The same into exactly len bytes. */
bool s3_base64_decode_exact(struct bnd_slice text, uint8_t *out, size_t len);

#endif
