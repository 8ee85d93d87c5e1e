/* Parsing and checking of signatures. The canonical request is in canonical.c. */
#include "gateway/s3/sigv4.h"

#include "base/assert.h"
#include "gateway/s3/canonical.h"
#include "gateway/s3/hash.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* ---- small readers
 * -------------------------------------------------------------------------------------- */

static struct bnd_slice text_after(struct bnd_slice text, size_t skip) {
    return bnd_slice(text.data + skip, text.len - skip);
}

static bool find_byte(struct bnd_slice text, char byte, size_t *out) {
    const uint8_t *found = text.len == 0 ? NULL : memchr(text.data, byte, text.len);
    if (found == NULL) {
        return false;
    }
    *out = (size_t)(found - text.data);
    return true;
}

/* The header's value, or an empty slice with data NULL. */
static struct bnd_slice header(const struct bnd_http_head *head, const char *name) {
    size_t from = 0;
    const struct bnd_http_header *found =
        bnd_http_head_find(head->headers, head->header_count, name, &from);
    return found == NULL ? bnd_slice(NULL, 0) : found->value;
}

static bool digits(struct bnd_slice text, uint64_t *out) {
    uint64_t value = 0;
    if (text.len == 0 || text.len > 18) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar (Hinnant, "days_from_civil").
 */
static int64_t days_of(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

/* YYYYMMDDTHHMMSSZ */
static bool parse_time(struct bnd_slice text, uint64_t *out_ms) {
    uint64_t date = 0;
    uint64_t time = 0;
    if (text.len != 16 || text.data[8] != 'T' || text.data[15] != 'Z' ||
        !digits(bnd_slice(text.data, 8), &date) || !digits(bnd_slice(text.data + 9, 6), &time)) {
        return false;
    }
    unsigned month = (unsigned)(date / 100 % 100);
    unsigned day = (unsigned)(date % 100);
    uint64_t hour = time / 10000;
    uint64_t minute = time / 100 % 100;
    uint64_t second = time % 100;
    if (date < 19700101 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
        minute > 59 || second > 60) {
        return false;
    }
    uint64_t days = (uint64_t)days_of((int64_t)(date / 10000), month, day);
    *out_ms = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000;
    return true;
}

/* ---- the parts of a signature
 * --------------------------------------------------------------------------- */

/* access-key/date/region/s3/aws4_request, where the access key may hold slashes itself. */
static bool parse_credential(struct bnd_slice text, struct s3_signature *out) {
    struct bnd_slice parts[5];
    for (int i = 4; i >= 1; i--) {
        size_t at = text.len;
        while (at > 0 && text.data[at - 1] != '/') {
            at--;
        }
        if (at == 0) {
            return false;
        }
        parts[i] = text_after(text, at);
        text.len = at - 1;
    }
    parts[0] = text;
    uint64_t date = 0;
    if (parts[0].len == 0 || parts[1].len != 8 || !digits(parts[1], &date) ||
        !bnd_slice_eq(parts[3], bnd_slice_str("s3")) ||
        !bnd_slice_eq(parts[4], bnd_slice_str("aws4_request"))) {
        return false;
    }
    out->access_key = parts[0];
    out->date = parts[1];
    out->region = parts[2];
    return true;
}

static bool region_known(struct bnd_slice region) {
    return region.len == 0 || bnd_slice_eq(region, bnd_slice_str("auto")) ||
           bnd_slice_eq(region, bnd_slice_str("us-east-1"));
}

static bool hex_signature(struct bnd_slice text) {
    uint8_t bytes[S3_SIGNATURE_LEN / 2];
    return bnd_hex_decode(text, bytes, sizeof bytes) == 0;
}

/* True if `name` (lower case) is one of the names in "a;b;c". */
static bool list_holds(struct bnd_slice list, struct bnd_slice name) {
    while (list.len > 0) {
        size_t end = list.len;
        (void)find_byte(list, ';', &end);
        if (end == name.len) {
            size_t i = 0;
            while (i < end &&
                   list.data[i] ==
                       (name.data[i] | (name.data[i] >= 'A' && name.data[i] <= 'Z' ? 32 : 0))) {
                i++;
            }
            if (i == end) {
                return true;
            }
        }
        list = end == list.len ? bnd_slice(NULL, 0) : text_after(list, end + 1);
    }
    return false;
}

/* host and every x-amz-* header must be signed, or a man in the middle could change what the
 * request means. */
static bool needed_headers_signed(const struct bnd_http_head *head, struct bnd_slice list) {
    if (!list_holds(list, bnd_slice_str("host"))) {
        return false;
    }
    for (size_t i = 0; i < head->header_count; i++) {
        struct bnd_slice name = head->headers[i].name;
        if (name.len > 6 && bnd_http_text_is(bnd_slice(name.data, 6), "x-amz-") &&
            !list_holds(list, name)) {
            return false;
        }
    }
    return true;
}

static enum s3_error parse_payload(struct bnd_slice value, bool presigned, struct s3_signature *out,
                                   const char **why) {
    static const struct {
        const char *text;
        enum s3_payload payload;
    } known[] = {
        {"UNSIGNED-PAYLOAD", S3_PAYLOAD_UNSIGNED},
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", S3_PAYLOAD_CHUNKED_SIGNED},
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", S3_PAYLOAD_CHUNKED_SIGNED_TRAILER},
        {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", S3_PAYLOAD_CHUNKED_UNSIGNED_TRAILER},
    };
    if (value.data == NULL && presigned) {
        value = bnd_slice_str("UNSIGNED-PAYLOAD");
    }
    if (value.data == NULL) {
        *why = "Missing required header for this request: x-amz-content-sha256";
        return S3_MissingSecurityHeader;
    }
    out->payload_text = value;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (bnd_slice_eq(value, bnd_slice_str(known[i].text))) {
            out->payload = known[i].payload;
            return S3_OK;
        }
    }
    if (bnd_hex_decode(value, out->payload_hash, sizeof out->payload_hash) != 0) {
        *why = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING-... value, or a SHA-256 "
               "in hex.";
        return S3_InvalidArgument;
    }
    out->payload = S3_PAYLOAD_HASH;
    return S3_OK;
}

/* ---- in the Authorization header
 * ------------------------------------------------------------------------ */

/* Splits "Credential=..., SignedHeaders=..., Signature=..." in any order. */
static bool parse_authorization(struct bnd_slice value, struct s3_signature *out) {
    struct bnd_slice algorithm = bnd_slice_str("AWS4-HMAC-SHA256");
    if (!bnd_slice_starts(value, algorithm)) {
        return false;
    }
    value = text_after(value, algorithm.len);
    unsigned seen = 0;
    while (value.len > 0) {
        while (value.len > 0 && (value.data[0] == ' ' || value.data[0] == ',')) {
            value = text_after(value, 1);
        }
        size_t end = value.len;
        size_t equals = 0;
        (void)find_byte(value, ',', &end);
        struct bnd_slice piece = bnd_slice(value.data, end);
        value = text_after(value, end);
        if (piece.len == 0) {
            continue;
        }
        if (!find_byte(piece, '=', &equals)) {
            return false;
        }
        struct bnd_slice name = bnd_slice(piece.data, equals);
        struct bnd_slice content = text_after(piece, equals + 1);
        if (bnd_slice_eq(name, bnd_slice_str("Credential"))) {
            seen |= parse_credential(content, out) ? 1 : 0;
        } else if (bnd_slice_eq(name, bnd_slice_str("SignedHeaders"))) {
            out->signed_headers = content;
            seen |= 2;
        } else if (bnd_slice_eq(name, bnd_slice_str("Signature"))) {
            out->signature = content;
            seen |= hex_signature(content) ? 4 : 0;
        }
    }
    return seen == 7;
}

static enum s3_error parse_header(const struct bnd_http_head *head, struct s3_signature *out,
                                  const char **why) {
    if (!parse_authorization(header(head, "authorization"), out)) {
        *why = "The authorization header must be AWS4-HMAC-SHA256 with Credential, SignedHeaders "
               "and Signature.";
        return S3_AuthorizationHeaderMalformed;
    }
    out->time = header(head, "x-amz-date");
    if (out->time.data == NULL || !parse_time(out->time, &out->time_ms)) {
        *why = "x-amz-date is missing or not of the form YYYYMMDDTHHMMSSZ.";
        return S3_AccessDenied;
    }
    return parse_payload(header(head, "x-amz-content-sha256"), false, out, why);
}

/* ---- presigned
 * ------------------------------------------------------------------------------------------ */

/* The decoded value of a query parameter, kept in out->decoded from *used on. */
static bool query_value(const struct bnd_http_head *head, const char *name,
                        struct s3_signature *out, size_t *used, struct bnd_slice *value) {
    struct bnd_slice raw;
    size_t len = 0;
    if (!bnd_http_query_find(head->query, name, &raw) || raw.len > sizeof out->decoded - *used) {
        return false;
    }
    uint8_t *place = (uint8_t *)out->decoded + *used;
    if (bnd_http_percent_decode(raw, 0, place, &len) != 0) {
        return false;
    }
    *value = bnd_slice(place, len);
    *used += len;
    return true;
}

static enum s3_error parse_query(const struct bnd_http_head *head, struct s3_signature *out,
                                 const char **why) {
    struct bnd_slice algorithm;
    struct bnd_slice credential;
    struct bnd_slice expires;
    size_t used = 0;
    *why = "The query must hold X-Amz-Algorithm=AWS4-HMAC-SHA256, X-Amz-Credential, X-Amz-Date, "
           "X-Amz-Expires, "
           "X-Amz-SignedHeaders and X-Amz-Signature.";
    if (!query_value(head, "X-Amz-Algorithm", out, &used, &algorithm) ||
        !bnd_slice_eq(algorithm, bnd_slice_str("AWS4-HMAC-SHA256")) ||
        !query_value(head, "X-Amz-Credential", out, &used, &credential) ||
        !parse_credential(credential, out) ||
        !query_value(head, "X-Amz-Date", out, &used, &out->time) ||
        !parse_time(out->time, &out->time_ms) ||
        !query_value(head, "X-Amz-Expires", out, &used, &expires) ||
        !digits(expires, &out->expires_s) ||
        !query_value(head, "X-Amz-SignedHeaders", out, &used, &out->signed_headers) ||
        !query_value(head, "X-Amz-Signature", out, &used, &out->signature) ||
        !hex_signature(out->signature)) {
        return S3_AuthorizationQueryParametersError;
    }
    if (out->expires_s < 1 || out->expires_s > S3_PRESIGN_MAX_S) {
        *why = "X-Amz-Expires must be between 1 and 604800 seconds.";
        return S3_AuthorizationQueryParametersError;
    }
    struct bnd_slice payload = header(head, "x-amz-content-sha256");
    if (payload.data == NULL && query_value(head, "X-Amz-Content-Sha256", out, &used, &payload)) {
        return parse_payload(payload, true, out, why);
    }
    return parse_payload(payload, true, out, why);
}

static enum s3_error check_time(const struct s3_signature *signature, uint64_t now_ms,
                                const char **why) {
    if (!signature->presigned) {
        uint64_t apart =
            now_ms > signature->time_ms ? now_ms - signature->time_ms : signature->time_ms - now_ms;
        *why = s3_error_message(S3_RequestTimeTooSkewed);
        return apart > S3_SKEW_MAX_MS ? S3_RequestTimeTooSkewed : S3_OK;
    }
    if (signature->time_ms > now_ms + S3_SKEW_MAX_MS) {
        *why = "Request is not valid yet";
        return S3_AccessDenied;
    }
    *why = "Request has expired";
    return now_ms > signature->time_ms + signature->expires_s * 1000 ? S3_AccessDenied : S3_OK;
}

bool s3_signature_present(const struct bnd_http_head *head) {
    struct bnd_slice value;
    return header(head, "authorization").data != NULL ||
           bnd_http_query_find(head->query, "X-Amz-Signature", &value) ||
           bnd_http_query_find(head->query, "X-Amz-Algorithm", &value);
}

enum s3_error s3_signature_parse(const struct bnd_http_head *head, uint64_t now_ms,
                                 struct s3_signature *out, const char **why) {
    memset(out, 0, sizeof *out);
    out->presigned = header(head, "authorization").data == NULL;
    enum s3_error malformed =
        out->presigned ? S3_AuthorizationQueryParametersError : S3_AuthorizationHeaderMalformed;
    enum s3_error error =
        out->presigned ? parse_query(head, out, why) : parse_header(head, out, why);
    if (error != S3_OK) {
        return error;
    }
    if (!region_known(out->region)) {
        *why = "The region is wrong; expecting 'auto' (or us-east-1).";
        return malformed;
    }
    if (!bnd_slice_eq(out->date, bnd_slice(out->time.data, 8))) {
        *why = "The date of the credential's scope is not that of the request.";
        return malformed;
    }
    if (!needed_headers_signed(head, out->signed_headers)) {
        *why = "There were headers present in the request which were not signed";
        return S3_AccessDenied;
    }
    return check_time(out, now_ms, why);
}

/* ---- signing
 * -------------------------------------------------------------------------------------------- */

void s3_signing_key_derive(struct bnd_slice secret, struct bnd_slice date, struct bnd_slice region,
                           struct s3_signing_key *out) {
    uint8_t first[4 + S3_SECRET_MAX];
    uint8_t a[32];
    uint8_t b[32];
    BND_ASSERT(secret.len <= sizeof first - 4);
    memcpy(first, "AWS4", 4);
    memcpy(first + 4, secret.data, secret.len);
    s3_hmac(bnd_slice(first, 4 + secret.len), date, a);
    s3_hmac(bnd_slice(a, sizeof a), region, b);
    s3_hmac(bnd_slice(b, sizeof b), bnd_slice_str("s3"), a);
    s3_hmac(bnd_slice(a, sizeof a), bnd_slice_str("aws4_request"), out->bytes);
    OPENSSL_cleanse(first, sizeof first);
}

static void scope_append(const struct s3_signature *signature, struct bnd_buf *out) {
    bnd_buf_append_slice(out, signature->time);
    bnd_buf_append_str(out, "\n");
    bnd_buf_append_slice(out, signature->date);
    bnd_buf_append_str(out, "/");
    bnd_buf_append_slice(out, signature->region);
    bnd_buf_append_str(out, "/s3/aws4_request\n");
}

static void append_hex(struct bnd_buf *out, const uint8_t hash[32]) {
    char text[65];
    bnd_hex_encode(hash, 32, text);
    bnd_buf_append(out, text, 64);
}

enum s3_error s3_signature_compute(const struct s3_signature *signature,
                                   const struct bnd_http_head *head,
                                   const struct s3_signing_key *key, uint8_t out[32]) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    uint8_t hash[32];
    if (s3_canonical_hash(signature, head, hash) != 0) {
        return S3_InternalError;
    }
    bnd_buf_append_str(&text, "AWS4-HMAC-SHA256\n");
    scope_append(signature, &text);
    append_hex(&text, hash);
    if (text.failed) {
        return S3_InternalError;
    }
    s3_hmac(bnd_slice(key->bytes, sizeof key->bytes), bnd_buf_slice(&text), out);
    return S3_OK;
}

enum s3_error s3_signature_verify(const struct s3_signature *signature,
                                  const struct bnd_http_head *head,
                                  const struct s3_signing_key *key) {
    uint8_t computed[32];
    uint8_t given[32];
    enum s3_error error = s3_signature_compute(signature, head, key, computed);
    if (error != S3_OK) {
        return error;
    }
    if (bnd_hex_decode(signature->signature, given, sizeof given) != 0 ||
        CRYPTO_memcmp(given, computed, sizeof given) != 0) {
        return S3_SignatureDoesNotMatch;
    }
    return S3_OK;
}

/* Both forms are short and of bounded length: a fixed buffer, no allocation per chunk. */
static void sign_piece(const struct s3_signature *signature, const struct s3_signing_key *key,
                       const char *algorithm, const char *middle, const uint8_t hash[32],
                       char out[S3_SIGNATURE_LEN + 1]) {
    char text[512];
    char hash_text[65];
    uint8_t computed[32];
    bnd_hex_encode(hash, 32, hash_text);
    int len = snprintf(text, sizeof text, "%s\n%.*s\n%.*s/%.*s/s3/aws4_request\n%s%s", algorithm,
                       (int)signature->time.len, (const char *)signature->time.data,
                       (int)signature->date.len, (const char *)signature->date.data,
                       (int)signature->region.len, (const char *)signature->region.data, middle,
                       hash_text);
    BND_ASSERT(len > 0 && (size_t)len < sizeof text);
    s3_hmac(bnd_slice(key->bytes, sizeof key->bytes), bnd_slice(text, (size_t)len), computed);
    bnd_hex_encode(computed, sizeof computed, out);
}

void s3_chunk_sign(const struct s3_signature *signature, const struct s3_signing_key *key,
                   const char previous[S3_SIGNATURE_LEN], const uint8_t hash[32],
                   char out[S3_SIGNATURE_LEN + 1]) {
    char middle[2 * S3_SIGNATURE_LEN + 3];
    int len = snprintf(middle, sizeof middle, "%.64s\n%s\n", previous, EMPTY_SHA256);
    BND_ASSERT(len == 2 * S3_SIGNATURE_LEN + 2);
    sign_piece(signature, key, "AWS4-HMAC-SHA256-PAYLOAD", middle, hash, out);
}

void s3_trailer_sign(const struct s3_signature *signature, const struct s3_signing_key *key,
                     const char previous[S3_SIGNATURE_LEN], const uint8_t hash[32],
                     char out[S3_SIGNATURE_LEN + 1]) {
    char middle[S3_SIGNATURE_LEN + 2];
    int len = snprintf(middle, sizeof middle, "%.64s\n", previous);
    BND_ASSERT(len == S3_SIGNATURE_LEN + 1);
    sign_piece(signature, key, "AWS4-HMAC-SHA256-TRAILER", middle, hash, out);
}
