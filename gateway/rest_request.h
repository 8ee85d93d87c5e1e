/* One REST request on its way: internal to gateway/.
 *
 * A request is one allocation, ended by exactly one of the rest_reply functions, which free it.
 * What cannot be taken back (calls of services) is waited for, also when the client has gone. */
#ifndef BND_GATEWAY_REST_REQUEST_H
#define BND_GATEWAY_REST_REQUEST_H

#include "gateway/rest.h"

#include <jansson.h>

#define REST_BODY_MAX (1u << 20)

struct rest_request;

struct bnd_rest {
    const struct bnd_gateway_services *services;
    struct bnd_link waiting; /* requests whose token is not known yet: it may be new */
    size_t waiting_count;
    struct bnd_timer wait_timer;
};

struct rest_request {
    struct bnd_rest *rest;
    struct bnd_http_request *http;
    const struct bnd_gateway_services *services;
    void (*run)(
        struct rest_request *request); /* once authorized, and the body is read if it wants one */
    bool wants_body;
    uint32_t permission;
    uint64_t wait_since_ns;
    struct bnd_link wait_link;
    struct bnd_http_read read;
    struct bnd_buf body;
    struct bnd_catalog_call call;
    void (*bucket_found)(struct rest_request *request, const struct bnd_bucket_record *bucket);
    void *data; /* the operation's own, freed by clean */
    void (*clean)(struct rest_request *request);
    struct bnd_slice path; /* decoded; lives with the request */
    uint8_t space[];
};

/* What a path means: the first route whose method and pattern fit. A pattern is a path whose
 * segments may be "*" (any one segment) or, last, "**" (any rest, at least one byte). */
struct rest_route {
    enum bnd_http_method method;
    const char *pattern;
    uint32_t permission; /* 0: no token is asked for */
    bool wants_body;
    void (*run)(struct rest_request *request);
};

/* Ended by a NULL pattern. */
extern const struct rest_route rest_admin_routes[];
extern const struct rest_route rest_cf_routes[];

/* The n-th segment of the path (0 is the first), or everything from it on; data NULL if there is
 * none. */
struct bnd_slice rest_segment(const struct rest_request *request, size_t n);
struct bnd_slice rest_segments_from(const struct rest_request *request, size_t n);

/* {"success":true,"errors":[],"messages":[],"result":result}; takes result (NULL: null). */
void rest_reply(struct rest_request *request, json_t *result);
/* The envelope of a failure with one error. message is borrowed. */
void rest_fail(struct rest_request *request, unsigned status, int code, const char *message);
/* The same for a code of the services: 503 for what may be tried again or is not known, never 500
 * for those. */
void rest_fail_code(struct rest_request *request, int status);
/* Plain text, as health and metrics are. */
void rest_text(struct rest_request *request, unsigned status, struct bnd_slice text);

/* Any answer; head and body are copied. headers may be NULL. */
void rest_respond(struct rest_request *request, const struct bnd_http_response *response);
/* A streamed response was ended, or the connection is cut: frees the request. */
void rest_release(struct rest_request *request);

/* The body as a JSON object (an empty body is {}); NULL: the request has been ended with 400.
 * Owned. */
json_t *rest_body_object(struct rest_request *request);

#endif
