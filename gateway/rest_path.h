/* Paths and routes of the REST port: internal to gateway/. Pure. */
#ifndef BND_GATEWAY_REST_PATH_H
#define BND_GATEWAY_REST_PATH_H

#include "gateway/http/head.h"

struct rest_request;

/* What a path means: the first route whose method and pattern fit. A pattern is a path whose
 * segments may be "*" (any one segment of at least a byte) or, last, "**" (any rest of at least a
 * byte, slashes and empty segments included). */
struct rest_route {
    enum bnd_http_method method;
    const char *pattern;
    uint32_t permission; /* of the token; 0: no token is asked for; REST_ANY_TOKEN */
    unsigned flags;      /* enum rest_route_flags */
    void (*run)(struct rest_request *request);
};

#define REST_ANY_TOKEN (UINT32_C(1) << 31) /* a permission that every token has */

enum rest_route_flags {
    REST_BODY = 1,       /* run once the body, of at most REST_BODY_MAX bytes, has been read */
    REST_ACCOUNT = 2,    /* segment 3 is the account id, which must be this cluster's */
    REST_VERIFY = 4,     /* asks whether the token is good: an unknown one is said to be invalid */
    REST_LAST_VIEW = 16, /* only shows: also when group 0 does not answer, to whom the last known
                            tokens belong (bnd_catalog_last_view) */
    REST_BUCKET = 8, /* segment REST_SEGMENT_BUCKET is the bucket's name: what a token of that one
                        bucket may ask for, beside what every token may */
};

#define REST_SEGMENT_BUCKET 6

/* The n-th segment of a path (0 is the first), or everything from it on; data NULL if there is
 * none. */
struct bnd_slice rest_path_segment(struct bnd_slice path, size_t n);
struct bnd_slice rest_path_from(struct bnd_slice path, size_t n);

bool rest_path_fits(struct bnd_slice path, const char *pattern);

/* The first of routes (ended by a NULL pattern) that fits, or NULL; HEAD takes GET's. *known
 * becomes true if a route fits but for its method. */
const struct rest_route *rest_route_find(const struct rest_route *routes,
                                         enum bnd_http_method method, struct bnd_slice path,
                                         bool *known);

#endif
