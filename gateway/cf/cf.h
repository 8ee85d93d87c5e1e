/* Cloudflare's REST API v4, as far as wrangler's r2 commands use it: internal to gateway/cf.
 *
 * Every request about a bucket or object asks group 0 for the bucket first (this API is for tools,
 * S3 is for data), so what is not there is known to be not there. */
#ifndef BND_GATEWAY_CF_CF_H
#define BND_GATEWAY_CF_CF_H

#include "gateway/rest_request.h"

/* R2's error codes (https://developers.cloudflare.com/r2/api/error-codes/). */
enum cf_code {
    CF_BUCKET_EXISTS = 10004,
    CF_BUCKET_NAME = 10005,
    CF_NO_BUCKET = 10006,
    CF_NO_KEY = 10007,
    CF_BUCKET_NOT_EMPTY = 10008,
    CF_METADATA = 10012,
    CF_OBJECT_NAME = 10020,
    CF_ARGUMENT = 10029,
    CF_TOO_LARGE = 100100,
};

/* Segments of "/client/v4/accounts/<account>/r2/buckets/<name>/objects/<key>". */
enum cf_segment { CF_SEGMENT_BUCKET = REST_SEGMENT_BUCKET, CF_SEGMENT_KEY = 8 };

/* First in the state of every operation on objects; request->data points to it. */
struct cf_op {
    struct bnd_bucket_ref bucket;
    struct bnd_object_name name; /* key: of the path, NULL in a list */
    void (*found)(struct rest_request *request);
    void (*clean)(struct rest_request *request); /* of what the operation holds; may be NULL */
};

/* Allocates bytes (zeroed; a struct cf_op first) for the operation, checks the key if the path has
 * one, finds the bucket and calls found, later; or ends the request. */
void cf_open(struct rest_request *request, size_t bytes,
             void (*found)(struct rest_request *request),
             void (*clean)(struct rest_request *request));

/* Ends the request with R2's code for what the objects service or the catalog said. */
void cf_fail(struct rest_request *request, int status);

/* "Standard" or "InfrequentAccess". */
const char *cf_storage_class(struct bnd_slice stored);

/* {"key","version","etag","size","last_modified","storage_class"}; NULL without memory. */
json_t *cf_object_json(struct bnd_slice key, const struct bnd_object_meta *meta);

void cf_run_object_put(struct rest_request *request);
void cf_run_object_get(struct rest_request *request);
void cf_run_object_delete(struct rest_request *request);
void cf_run_object_list(struct rest_request *request);

void cf_run_bucket_list(struct rest_request *request);
void cf_run_bucket_create(struct rest_request *request);
void cf_run_bucket_get(struct rest_request *request);
void cf_run_bucket_delete(struct rest_request *request);

#endif
