/* Targets and the table of operations: method, level and sub-resource name one of them. */
#include "gateway/s3/target.h"

#include "base/utf8.h"
#include "gateway/http/server.h"
#include "gateway/s3/s3.h"
#include "objects/objects.h"

enum level { SERVICE, BUCKET, OBJECT };

/* What a parameter makes of a request. */
enum selector { PLAIN, LOCATION, UPLOADS, UPLOAD_ID, DELETE_MANY, COPY, UPLOAD_ID_COPY };

static const struct {
    enum bnd_http_method method;
    enum level level;
    enum selector selector;
    enum s3_operation operation;
} operations[] = {
    {BND_HTTP_GET, SERVICE, PLAIN, S3_LIST_BUCKETS},
    {BND_HTTP_PUT, BUCKET, PLAIN, S3_CREATE_BUCKET},
    {BND_HTTP_HEAD, BUCKET, PLAIN, S3_HEAD_BUCKET},
    {BND_HTTP_DELETE, BUCKET, PLAIN, S3_DELETE_BUCKET},
    {BND_HTTP_GET, BUCKET, LOCATION, S3_BUCKET_LOCATION},
    {BND_HTTP_GET, BUCKET, PLAIN, S3_LIST_OBJECTS},
    {BND_HTTP_GET, BUCKET, UPLOADS, S3_LIST_UPLOADS},
    {BND_HTTP_POST, BUCKET, DELETE_MANY, S3_DELETE_OBJECTS},
    {BND_HTTP_GET, OBJECT, PLAIN, S3_GET_OBJECT},
    {BND_HTTP_HEAD, OBJECT, PLAIN, S3_HEAD_OBJECT},
    {BND_HTTP_PUT, OBJECT, PLAIN, S3_PUT_OBJECT},
    {BND_HTTP_PUT, OBJECT, COPY, S3_COPY_OBJECT},
    {BND_HTTP_DELETE, OBJECT, PLAIN, S3_DELETE_OBJECT},
    {BND_HTTP_POST, OBJECT, UPLOADS, S3_CREATE_UPLOAD},
    {BND_HTTP_PUT, OBJECT, UPLOAD_ID, S3_UPLOAD_PART},
    {BND_HTTP_PUT, OBJECT, UPLOAD_ID_COPY, S3_UPLOAD_PART_COPY},
    {BND_HTTP_POST, OBJECT, UPLOAD_ID, S3_COMPLETE_UPLOAD},
    {BND_HTTP_DELETE, OBJECT, UPLOAD_ID, S3_ABORT_UPLOAD},
    {BND_HTTP_GET, OBJECT, UPLOAD_ID, S3_LIST_PARTS},
};

/* Parameters of S3 that ask for what neither R2 nor Bindery has. */
static const char *const parameters_refused[] = {
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "versionId",
    "versioning",
    "versions",
    "website",
};

/* Likewise headers; those with a value here are allowed with it, as they ask for what is the case
 * anyway. */
static const struct {
    const char *name;
    const char *allowed;
} headers_refused[] = {
    {"x-amz-acl", "private"},
    {"x-amz-bypass-governance-retention", "false"},
    {"x-amz-copy-source-server-side-encryption-customer-algorithm", NULL},
    {"x-amz-expected-bucket-owner", NULL},
    {"x-amz-grant-full-control", NULL},
    {"x-amz-grant-read", NULL},
    {"x-amz-grant-read-acp", NULL},
    {"x-amz-grant-write", NULL},
    {"x-amz-grant-write-acp", NULL},
    {"x-amz-if-match-initiated-time", NULL},
    {"x-amz-if-match-last-modified-time", NULL},
    {"x-amz-if-match-size", NULL},
    {"x-amz-bucket-object-lock-enabled", "false"},
    {"x-amz-mfa", NULL},
    {"x-amz-mp-object-size", NULL},
    {"x-amz-object-lock-legal-hold", "OFF"},
    {"x-amz-object-lock-mode", NULL},
    {"x-amz-object-lock-retain-until-date", NULL},
    {"x-amz-request-payer", NULL},
    {"x-amz-security-token", NULL},
    {"x-amz-server-side-encryption", NULL},
    {"x-amz-server-side-encryption-aws-kms-key-id", NULL},
    {"x-amz-server-side-encryption-customer-algorithm", NULL},
    {"x-amz-source-expected-bucket-owner", NULL},
    {"x-amz-tagging", ""},
    {"x-amz-tagging-directive", "COPY"},
    {"x-amz-website-redirect-location", NULL},
    {"x-amz-write-offset-bytes", NULL},
};

static enum s3_error check_refused(const struct bnd_http_head *head, const struct s3_query *query,
                                   const char **why) {
    for (size_t i = 0; i < sizeof parameters_refused / sizeof parameters_refused[0]; i++) {
        if (s3_query_has(query, parameters_refused[i])) {
            *why = "The sub-resource in the query is not implemented.";
            return S3_NotImplemented;
        }
    }
    for (size_t i = 0; i < head->header_count; i++) {
        const struct bnd_http_header *field = &head->headers[i];
        if (field->name.len < 6 || !bnd_http_text_is(bnd_slice(field->name.data, 6), "x-amz-")) {
            continue;
        }
        for (size_t k = 0; k < sizeof headers_refused / sizeof headers_refused[0]; k++) {
            const char *allowed = headers_refused[k].allowed;
            if (bnd_http_text_is(field->name, headers_refused[k].name) &&
                (allowed == NULL || !bnd_slice_eq(field->value, bnd_slice_str(allowed)))) {
                *why = "A header of the request asks for what is not implemented.";
                return S3_NotImplemented;
            }
        }
    }
    return S3_OK;
}

/* ---- hosts
 * ------------------------------------------------------------------------------------ */

static struct bnd_slice without_port(struct bnd_slice host) {
    size_t len = host.len;
    while (len > 0 && host.data[len - 1] >= '0' && host.data[len - 1] <= '9') {
        len--;
    }
    return len > 0 && host.data[len - 1] == ':' ? bnd_slice(host.data, len - 1) : host;
}

static bool is_address(struct bnd_slice host) {
    if (host.len == 0 || host.data[0] == '[') {
        return true;
    }
    for (size_t i = 0; i < host.len; i++) {
        if ((host.data[i] < '0' || host.data[i] > '9') && host.data[i] != '.') {
            return false;
        }
    }
    return true;
}

static bool domain_is_ours(struct bnd_slice domain, const char *configured) {
    return (configured != NULL && bnd_http_text_is(domain, configured)) ||
           bnd_http_text_is(domain, "localhost") || bnd_http_text_is(domain, "s3") ||
           (domain.len > 3 && (domain.data[0] | 32) == 's' && domain.data[1] == '3' &&
            (domain.data[2] == '.' || domain.data[2] == '-'));
}

/* The bucket named by the Host field, in lower case in space; an empty slice for path-style. The
 * field itself, not the authority of an absolute target, as it is what is signed. */
static struct bnd_slice host_bucket(const struct bnd_http_head *head, const char *configured,
                                    uint8_t *space) {
    size_t from = 0;
    const struct bnd_http_header *field =
        bnd_http_head_find(head->headers, head->header_count, "host", &from);
    struct bnd_slice none = bnd_slice(NULL, 0);
    struct bnd_slice host = field == NULL ? none : without_port(field->value);
    const uint8_t *dot = host.len == 0 ? NULL : memchr(host.data, '.', host.len);
    if (dot == NULL || is_address(host) ||
        (configured != NULL && bnd_http_text_is(host, configured))) {
        return none;
    }
    size_t label = (size_t)(dot - host.data);
    if (!domain_is_ours(bnd_slice(dot + 1, host.len - label - 1), configured)) {
        return none;
    }
    for (size_t i = 0; i < label; i++) {
        uint8_t c = host.data[i];
        space[i] = c >= 'A' && c <= 'Z' ? c | 32 : c;
    }
    return bnd_slice(space, label);
}

/* ---- paths
 * ------------------------------------------------------------------------------------- */

static enum s3_error take_key(struct bnd_slice raw, uint8_t *space, struct bnd_slice *out,
                              const char **why) {
    size_t len = 0;
    if (bnd_http_percent_decode(raw, 0, space, &len) != 0) {
        *why = "The path has a broken percent escape.";
        return S3_InvalidURI;
    }
    *out = bnd_slice(space, len);
    if (len > BND_OBJECT_KEY_MAX) {
        *why = s3_error_message(S3_KeyTooLongError);
        return S3_KeyTooLongError;
    }
    if (!bnd_utf8_valid(*out) || memchr(space, 0, len) != NULL) {
        *why = "A key must be UTF-8 without NUL.";
        return S3_InvalidURI;
    }
    return S3_OK;
}

/* Splits "bucket[/key]". */
static enum s3_error take_bucket_and_key(struct bnd_slice raw, uint8_t *space,
                                         struct bnd_slice *out_bucket, struct bnd_slice *out_key,
                                         const char **why) {
    const uint8_t *slash = raw.len == 0 ? NULL : memchr(raw.data, '/', raw.len);
    struct bnd_slice bucket = slash == NULL ? raw : bnd_slice(raw.data, (size_t)(slash - raw.data));
    size_t len = 0;
    if (bnd_http_percent_decode(bucket, 0, space, &len) != 0) {
        *why = "The path has a broken percent escape.";
        return S3_InvalidURI;
    }
    *out_bucket = bnd_slice(space, len);
    if (len > 0 && !bnd_bucket_name_valid(*out_bucket)) {
        *why = s3_error_message(S3_InvalidBucketName);
        return S3_InvalidBucketName;
    }
    *out_key = bnd_slice(NULL, 0);
    if (slash == NULL) {
        return S3_OK;
    }
    struct bnd_slice rest = bnd_slice(slash + 1, raw.len - bucket.len - 1);
    return take_key(rest, space + len, out_key, why);
}

enum s3_error s3_copy_source_parse(struct bnd_slice source, uint8_t *space,
                                   struct bnd_slice *out_bucket, struct bnd_slice *out_key,
                                   const char **why) {
    const uint8_t *query = source.len == 0 ? NULL : memchr(source.data, '?', source.len);
    if (query != NULL) {
        *why = "Versions of objects are not implemented.";
        return S3_NotImplemented;
    }
    if (source.len > 0 && source.data[0] == '/') {
        source = bnd_slice(source.data + 1, source.len - 1);
    }
    enum s3_error error = take_bucket_and_key(source, space, out_bucket, out_key, why);
    if (error == S3_OK && (out_bucket->len == 0 || out_key->len == 0)) {
        *why = "x-amz-copy-source must be /bucket/key.";
        error = S3_InvalidArgument;
    }
    return error;
}

/* ---- the whole
 * --------------------------------------------------------------------------------- */

size_t s3_target_space(const struct bnd_http_head *head) {
    size_t from = 0;
    const struct bnd_http_header *field =
        bnd_http_head_find(head->headers, head->header_count, "host", &from);
    return head->path.len + (field == NULL ? 0 : field->value.len) + 1;
}

static enum selector selector_of(const struct bnd_http_head *head, const struct s3_query *query,
                                 enum level level) {
    size_t from = 0;
    bool copy =
        level == OBJECT && head->method == BND_HTTP_PUT &&
        bnd_http_head_find(head->headers, head->header_count, "x-amz-copy-source", &from) != NULL;
    if (level == OBJECT && s3_query_has(query, "uploadId")) {
        return copy ? UPLOAD_ID_COPY : UPLOAD_ID;
    }
    if (level != SERVICE && s3_query_has(query, "uploads")) {
        return UPLOADS;
    }
    if (level == BUCKET && s3_query_has(query, "location")) {
        return LOCATION;
    }
    if (level == BUCKET && s3_query_has(query, "delete")) {
        return DELETE_MANY;
    }
    return copy ? COPY : PLAIN;
}

enum s3_error s3_target_parse(const struct bnd_http_head *head, const struct s3_query *query,
                              const char *domain, uint8_t *space, struct s3_target *out,
                              const char **why) {
    struct bnd_slice path = head->path;
    enum s3_error error = S3_OK;
    if (path.len == 0 || path.data[0] != '/') {
        *why = "The request must name a path.";
        return S3_InvalidURI;
    }
    path = bnd_slice(path.data + 1, path.len - 1);
    out->bucket = host_bucket(head, domain, space);
    out->key = bnd_slice(NULL, 0);
    if (out->bucket.len > 0) {
        if (!bnd_bucket_name_valid(out->bucket)) {
            *why = s3_error_message(S3_InvalidBucketName);
            return S3_InvalidBucketName;
        }
        error = take_key(path, space + out->bucket.len, &out->key, why);
    } else {
        error = take_bucket_and_key(path, space, &out->bucket, &out->key, why);
    }
    if (error == S3_OK && out->bucket.len == 0 && out->key.len > 0) {
        *why = s3_error_message(S3_InvalidBucketName);
        error = S3_InvalidBucketName;
    }
    error = error != S3_OK ? error : check_refused(head, query, why);
    if (error != S3_OK) {
        return error;
    }
    enum level level = out->bucket.len == 0 ? SERVICE : out->key.len == 0 ? BUCKET : OBJECT;
    enum selector selector = selector_of(head, query, level);
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (operations[i].method == head->method && operations[i].level == level &&
            operations[i].selector == selector) {
            out->operation = operations[i].operation;
            return S3_OK;
        }
    }
    *why = s3_error_message(S3_MethodNotAllowed);
    return S3_MethodNotAllowed;
}

static const char *const operation_names[S3_OPERATIONS + 1] = {
    [0] = "other",
    [S3_LIST_BUCKETS + 1] = "ListBuckets",
    [S3_CREATE_BUCKET + 1] = "CreateBucket",
    [S3_HEAD_BUCKET + 1] = "HeadBucket",
    [S3_DELETE_BUCKET + 1] = "DeleteBucket",
    [S3_BUCKET_LOCATION + 1] = "GetBucketLocation",
    [S3_LIST_OBJECTS + 1] = "ListObjects",
    [S3_LIST_UPLOADS + 1] = "ListMultipartUploads",
    [S3_DELETE_OBJECTS + 1] = "DeleteObjects",
    [S3_GET_OBJECT + 1] = "GetObject",
    [S3_HEAD_OBJECT + 1] = "HeadObject",
    [S3_PUT_OBJECT + 1] = "PutObject",
    [S3_COPY_OBJECT + 1] = "CopyObject",
    [S3_DELETE_OBJECT + 1] = "DeleteObject",
    [S3_CREATE_UPLOAD + 1] = "CreateMultipartUpload",
    [S3_UPLOAD_PART + 1] = "UploadPart",
    [S3_UPLOAD_PART_COPY + 1] = "UploadPartCopy",
    [S3_COMPLETE_UPLOAD + 1] = "CompleteMultipartUpload",
    [S3_ABORT_UPLOAD + 1] = "AbortMultipartUpload",
    [S3_LIST_PARTS + 1] = "ListParts",
};
_Static_assert(S3_OPERATIONS + 1 <= BND_HTTP_OPERATIONS_MAX, "each operation is counted apart");

const char *s3_operation_name(enum s3_operation operation) {
    return operation_names[operation + 1];
}

const char *const *s3_operation_names(size_t *out_count) {
    *out_count = S3_OPERATIONS + 1;
    return operation_names;
}
