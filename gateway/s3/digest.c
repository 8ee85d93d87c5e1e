/* Digests of bodies: OpenSSL's hashes, ISA-L's CRCs, and a CRC64NVME of our own (ISA-L 2.30 has no
 * Rocksoft polynomial). */
#include "gateway/s3/digest.h"

#include "base/assert.h"
#include "gateway/http/head.h"
#include "gateway/s3/hash.h"

#include <isa-l/crc.h>
#include <pthread.h>

/* Reflected polynomials. */
#define POLY_CRC32 UINT64_C(0xedb88320)
#define POLY_CRC32C UINT64_C(0x82f63b78)
#define POLY_CRC64NVME UINT64_C(0x9a6c9329ac4bc9b5)

/* ---- CRC64NVME, eight bytes a step
 * ------------------------------------------------------------------------------------------ */

static uint64_t crc64_tables[8][256];
static pthread_once_t crc64_once = PTHREAD_ONCE_INIT;

static void crc64_fill(void) {
    for (unsigned i = 0; i < 256; i++) {
        uint64_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLY_CRC64NVME : 0);
        }
        crc64_tables[0][i] = crc;
    }
    for (unsigned i = 0; i < 256; i++) {
        for (unsigned k = 1; k < 8; k++) {
            uint64_t before = crc64_tables[k - 1][i];
            crc64_tables[k][i] = (before >> 8) ^ crc64_tables[0][before & 255];
        }
    }
}

static uint64_t crc64nvme(uint64_t crc, struct bnd_slice data) {
    const uint8_t *p = data.data;
    size_t len = data.len;
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word = crc ^ bnd_get_u64(p);
        crc = 0;
        for (unsigned k = 0; k < 8; k++) {
            crc ^= crc64_tables[7 - k][word >> (8 * k) & 255];
        }
    }
    for (; len > 0; p++, len--) {
        crc = (crc >> 8) ^ crc64_tables[0][(crc ^ *p) & 255];
    }
    return ~crc;
}

/* ---- joining
 * ---------------------------------------------------------------------------------------------------
 */

/* a * b modulo the polynomial, all reflected: the highest bit is the coefficient of x^0. */
static uint64_t multiply(uint64_t a, uint64_t b, uint64_t poly, unsigned width) {
    uint64_t product = 0;
    for (uint64_t bit = UINT64_C(1) << (width - 1); bit != 0; bit >>= 1) {
        if ((a & bit) != 0) {
            product ^= b;
        }
        b = (b >> 1) ^ ((b & 1) != 0 ? poly : 0);
    }
    return product;
}

/* crc(A B) = crc(A) * x^(8 |B|) + crc(B): the conditioning of both ends cancels out. */
static uint64_t join(uint64_t first, uint64_t second, uint64_t second_len, uint64_t poly,
                     unsigned width) {
    uint64_t power = UINT64_C(1) << (width - 1);      /* x^0 */
    uint64_t square = UINT64_C(1) << (width - 1 - 8); /* x^8 */
    for (uint64_t n = second_len; n != 0; n >>= 1) {
        if ((n & 1) != 0) {
            power = multiply(power, square, poly, width);
        }
        square = multiply(square, square, poly, width);
    }
    return multiply(power, first, poly, width) ^ second;
}

void s3_crc_join(enum bnd_checksum kind, uint8_t *first, const uint8_t *second,
                 uint64_t second_len) {
    if (kind == BND_CHECKSUM_CRC64NVME) {
        bnd_put_be64(
            first, join(bnd_get_be64(first), bnd_get_be64(second), second_len, POLY_CRC64NVME, 64));
        return;
    }
    BND_ASSERT(kind == BND_CHECKSUM_CRC32 || kind == BND_CHECKSUM_CRC32C);
    uint64_t poly = kind == BND_CHECKSUM_CRC32 ? POLY_CRC32 : POLY_CRC32C;
    bnd_put_be32(first,
                 (uint32_t)join(bnd_get_be32(first), bnd_get_be32(second), second_len, poly, 32));
}

/* ---- digests
 * ------------------------------------------------------------------------------------------ */

int s3_digest_init(struct s3_digest *digest, unsigned kinds) {
    *digest = (struct s3_digest){.kinds = kinds};
    if ((kinds & 1u << BND_CHECKSUM_CRC64NVME) != 0) {
        (void)pthread_once(&crc64_once, crc64_fill);
    }
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        const EVP_MD *hash = s3_hash(kind);
        if ((kinds & 1u << kind) == 0 || hash == NULL) {
            continue;
        }
        digest->hashes[kind] = EVP_MD_CTX_new();
        if (digest->hashes[kind] == NULL ||
            EVP_DigestInit_ex2(digest->hashes[kind], hash, NULL) != 1) {
            return BND_NOMEM;
        }
    }
    return 0;
}

void s3_digest_update(struct s3_digest *digest, struct bnd_slice data) {
    if (data.len == 0) {
        return;
    }
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        if (digest->hashes[kind] != NULL) {
            int done = EVP_DigestUpdate(digest->hashes[kind], data.data, data.len);
            BND_ASSERT(done == 1);
        }
    }
    if ((digest->kinds & 1u << BND_CHECKSUM_CRC32) != 0) {
        digest->crc32 = crc32_gzip_refl(digest->crc32, data.data, data.len);
    }
    if ((digest->kinds & 1u << BND_CHECKSUM_CRC32C) != 0) {
        /* ISA-L's crc32_iscsi takes and gives the register without conditioning, its length is an
         * int, and it does not change the buffer that it takes without const. */
        uint32_t state = ~digest->crc32c;
        for (size_t at = 0; at < data.len;) {
            size_t n = data.len - at < (1u << 30) ? data.len - at : 1u << 30;
            state = crc32_iscsi((unsigned char *)(uintptr_t)(data.data + at), (int)n, state);
            at += n;
        }
        digest->crc32c = ~state;
    }
    if ((digest->kinds & 1u << BND_CHECKSUM_CRC64NVME) != 0) {
        digest->crc64nvme = crc64nvme(digest->crc64nvme, data);
    }
}

void s3_digest_final(struct s3_digest *digest, struct bnd_object_checksums *out) {
    *out = (struct bnd_object_checksums){.present = (uint8_t)digest->kinds};
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        if (digest->hashes[kind] != NULL) {
            unsigned len = 0;
            int done = EVP_DigestFinal_ex(digest->hashes[kind], out->value[kind], &len);
            BND_ASSERT(done == 1);
            BND_ASSERT(len == bnd_checksum_bytes(kind));
        }
    }
    bnd_put_be32(out->value[BND_CHECKSUM_CRC32], digest->crc32);
    bnd_put_be32(out->value[BND_CHECKSUM_CRC32C], digest->crc32c);
    bnd_put_be64(out->value[BND_CHECKSUM_CRC64NVME], digest->crc64nvme);
}

void s3_digest_free(struct s3_digest *digest) {
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        EVP_MD_CTX_free(digest->hashes[kind]);
        digest->hashes[kind] = NULL;
    }
}

/* ---- names
 * -------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *header;
    const char *element;
} names[BND_CHECKSUM_COUNT] = {
    [BND_CHECKSUM_SHA1] = {"SHA1", "x-amz-checksum-sha1", "ChecksumSHA1"},
    [BND_CHECKSUM_SHA256] = {"SHA256", "x-amz-checksum-sha256", "ChecksumSHA256"},
    [BND_CHECKSUM_CRC32] = {"CRC32", "x-amz-checksum-crc32", "ChecksumCRC32"},
    [BND_CHECKSUM_CRC32C] = {"CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C"},
    [BND_CHECKSUM_CRC64NVME] = {"CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME"},
};

enum bnd_checksum s3_checksum_named(struct bnd_slice name) {
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        if (names[kind].name != NULL && bnd_http_text_is(name, names[kind].name)) {
            return kind;
        }
    }
    return BND_CHECKSUM_COUNT;
}

const char *s3_checksum_name(enum bnd_checksum kind) {
    return names[kind].name;
}

const char *s3_checksum_header(enum bnd_checksum kind) {
    return names[kind].header;
}

const char *s3_checksum_element(enum bnd_checksum kind) {
    return names[kind].element;
}
