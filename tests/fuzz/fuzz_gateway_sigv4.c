/* What stands between a stranger's head and the check of its signature: parameters, target,
 * conditions, signature, canonical request. None of these signatures is right: the key is not one
 * that they were made with. */
#include "gateway/s3/conditions.h"
#include "gateway/s3/sigv4.h"
#include "gateway/s3/target.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#define NOW_MS UINT64_C(1369353600000)

static void read_target(const struct bnd_http_head *head) {
    struct s3_query query;
    struct s3_target target;
    struct s3_conditions conditions;
    const char *why = NULL;
    uint8_t *space = malloc(s3_target_space(head) + head->query.len);
    BND_ASSERT(space != NULL);
    enum s3_error error = s3_query_parse(head->query, space + s3_target_space(head), &query, &why);
    if (error == S3_OK) {
        error = s3_target_parse(head, &query, NULL, space, &target, &why);
    }
    BND_ASSERT(error == S3_OK || why != NULL);
    if (error == S3_OK) {
        BND_ASSERT(target.bucket.len == 0 || bnd_bucket_name_valid(target.bucket));
        BND_ASSERT(target.key.len == 0 || target.bucket.len > 0);
        BND_ASSERT(s3_operation_name(target.operation) != NULL);
    }
    (void)s3_conditions_read(head, "", &conditions, &why); /* either answer is well */
    free(space);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct bnd_http_header headers[BND_HTTP_HEADERS_MAX];
    struct bnd_http_head head = {.headers = headers};
    struct s3_signature signature;
    const struct s3_signing_key key = {{7}};
    const char *why = NULL;
    if (bnd_http_head_parse(bnd_slice(data, size), BND_HTTP_HEADERS_MAX, &head, &why) != 0) {
        return 0;
    }
    read_target(&head);
    if (!s3_signature_present(&head) ||
        s3_signature_parse(&head, NOW_MS, &signature, &why) != S3_OK) {
        return 0;
    }
    enum s3_error error = s3_signature_verify(&signature, &head, &key);
    BND_ASSERT(error == S3_SignatureDoesNotMatch || error == S3_InternalError);
    return 0;
}
