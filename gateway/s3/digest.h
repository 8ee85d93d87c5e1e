/* Digests of bodies: internal to gateway/s3. A digest may be fed on a pool thread, one thread at a
 * time. */
#ifndef BND_GATEWAY_S3_DIGEST_H
#define BND_GATEWAY_S3_DIGEST_H

#include "objects/objects.h"

struct s3_digest {
    unsigned kinds;                   /* bits 1 << enum bnd_checksum */
    void *hashes[BND_CHECKSUM_COUNT]; /* of OpenSSL; NULL for CRCs and what is not asked for */
    uint32_t crc32;
    uint32_t crc32c;
    uint64_t crc64nvme;
};

/* BND_NOMEM (then free it all the same). */
int s3_digest_init(struct s3_digest *digest, unsigned kinds);
void s3_digest_update(struct s3_digest *digest, struct bnd_slice data);
/* Sets out->present and the values. Once. */
void s3_digest_final(struct s3_digest *digest, struct bnd_object_checksums *out);
void s3_digest_free(struct s3_digest *digest);

/* The CRC of two joined pieces, from the CRC of each and the length of the second: big-endian
 * values of BND_CHECKSUM_CRC32, _CRC32C or _CRC64NVME, the first changed in place. */
void s3_crc_join(enum bnd_checksum kind, uint8_t *first, const uint8_t *second,
                 uint64_t second_len);

/* The checksum that S3 calls "crc32", "CRC32C", "sha256", ... in any case; BND_CHECKSUM_COUNT if it
 * is none of S3's five. */
enum bnd_checksum s3_checksum_named(struct bnd_slice name);
/* "CRC32" and "x-amz-checksum-crc32" and "ChecksumCRC32"; NULL for kinds that S3 does not know. */
const char *s3_checksum_name(enum bnd_checksum kind);
const char *s3_checksum_header(enum bnd_checksum kind);
const char *s3_checksum_element(enum bnd_checksum kind);

#endif
