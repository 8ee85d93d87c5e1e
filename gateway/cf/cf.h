/* What the routes of the Cloudflare API share: internal to gateway/cf. Codes are R2's (reference:
 * R2 error codes). */
#ifndef BND_GATEWAY_CF_CF_H
#define BND_GATEWAY_CF_CF_H

#include "gateway/rest_request.h"

enum cf_code {
    CF_BUCKET_EXISTS = 10004,
    CF_BUCKET_NAME = 10005,
    CF_NO_BUCKET = 10006,
    CF_NO_KEY = 10007,
    CF_BUCKET_NOT_EMPTY = 10008,
    CF_NO_ACCOUNT = 7003,
    CF_BAD_BODY = 10001,
};

/* Segments of /client/v4/accounts/A/r2/buckets/B/objects/KEY */
enum { CF_ACCOUNT = 3, CF_BUCKET = 6, CF_KEY = 8 };

/* True if the path's account is this cluster's; else the request has been ended. */
bool cf_account(struct rest_request *request);

/* Finds the path's bucket and calls found with it (maybe at once); ends the request if there is
 * none. fresh: asks group 0 in any case. */
void cf_bucket(struct rest_request *request, bool fresh,
               void (*found)(struct rest_request *request, const struct bnd_bucket_record *bucket));

/* The routes of cf/objects.c. */
void cf_object_put(struct rest_request *request);
void cf_object_get(struct rest_request *request);
void cf_object_delete(struct rest_request *request);

#endif
