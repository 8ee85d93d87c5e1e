/* One REST request on its way: internal to gateway/, gateway/admin and gateway/cf.
 *
 * A request is one allocation, ended by exactly one of the rest_ ends below, which free it. What
 * cannot be taken back (calls of services) is waited for, also when the client has gone. */
#ifndef BND_GATEWAY_REST_REQUEST_H
#define BND_GATEWAY_REST_REQUEST_H

#include "gateway/d1/files.h"
#include "gateway/rest.h"
#include "gateway/rest_path.h"

#include <jansson.h>

#define REST_BODY_MAX (1u << 20)
#define REST_ID_TEXT 17

/* Cloudflare's codes (the numbers of R2 are in gateway/cf/cf.h). */
enum rest_code {
    REST_INVALID_TOKEN = 1000, /* of tokens/verify */
    REST_BAD_HEADERS = 6003,
    REST_NO_METHOD = 7001,
    REST_NO_ROUTE = 7003,
    REST_NO_CREDENTIALS = 9106,
    REST_UNAUTHORIZED = 9109, /* to access the account */
    REST_AUTHENTICATION = 10000,
    REST_BAD_REQUEST = 10001,
    REST_UNAVAILABLE = 10500,
};

struct rest_request;

struct bnd_rest {
    const struct bnd_gateway_services *services;
    struct bnd_link waiting; /* requests whose token is not known yet: it may be new */
    size_t waiting_count;
    struct bnd_timer wait_timer;
    struct bnd_rest_port ports[BND_REST_PORTS_MAX];
    size_t ports_count;
    struct d1_files files;
};

struct rest_request {
    struct bnd_rest *rest;
    struct bnd_http_request *http;
    const struct bnd_gateway_services *services;
    const struct rest_route *route;
    struct bnd_slice path; /* decoded; lives with the request */
    struct bnd_buf body;   /* of a route with REST_BODY */
    struct bnd_catalog_call call;
    char id[REST_ID_TEXT];          /* X-Bindery-Request-Id, in the audit log, too */
    char who[BND_TOKEN_ID_MAX + 1]; /* id of the token; "": none was known */
    void *data;                     /* the operation's own, freed by clean */
    void (*clean)(struct rest_request *request);
    /* private to rest.c */
    struct bnd_http_read read;
    uint64_t wait_since_ns;
    uint64_t question; /* to group 0, asked after the request came */
    struct bnd_link wait_link;
    uint8_t space[];
};

extern const struct rest_route rest_admin_routes[];
extern const struct rest_route rest_clock_routes[];
extern const struct rest_route rest_credential_routes[];
extern const struct rest_route rest_cf_routes[];
extern const struct rest_route rest_kv_routes[];
extern const struct rest_route rest_d1_routes[];
extern const struct rest_route rest_d1_file_routes[];

struct bnd_slice rest_segment(const struct rest_request *request, size_t n);
struct bnd_slice rest_segments_from(const struct rest_request *request, size_t n);

/* The token that authorized the request, or NULL if it was revoked since. Borrowed until the next
 * return to the loop. */
const struct bnd_token_record *rest_token(const struct rest_request *request);

/* The body as a JSON object (an empty body is {}); NULL: the request has been ended with 400.
 * Owned. */
json_t *rest_body_object(struct rest_request *request);

/* Text as JSON; null where it is absent or not UTF-8. */
json_t *rest_text_json(struct bnd_slice text);
/* "2009-10-12T17:50:30.000Z". */
json_t *rest_time_json(uint64_t ms);

/* Cloudflare's envelope: takes result (NULL: null). NULL without memory. */
json_t *rest_envelope(json_t *result);
json_t *rest_envelope_error(int code, struct bnd_slice message);

/* ---- ends
 * -----------------------------------------------------------------------------------------------
 */

/* The envelope of a success; takes result (NULL: null). */
void rest_reply(struct rest_request *request, json_t *result);
/* Any document; takes it (NULL: there was no memory for it). */
void rest_reply_json(struct rest_request *request, unsigned status, json_t *document);
/* A JSON document as text; its failed is looked at here. */
void rest_reply_text(struct rest_request *request, const struct bnd_buf *text);
/* The envelope of a failure with one error. message is borrowed. */
void rest_fail(struct rest_request *request, unsigned status, int code, const char *message);
/* The same with a message of any length and any bytes, as SQLite's about the client's own text. */
void rest_fail_text(struct rest_request *request, unsigned status, int code,
                    struct bnd_slice message);
/* The same for a code of the services: 503 for what may be tried again or is not known, never 500
 * for those. */
void rest_fail_code(struct rest_request *request, int status);
/* Plain text, as health is. */
void rest_text(struct rest_request *request, unsigned status, struct bnd_slice text);
/* Metrics in Prometheus' text format. */
void rest_exposition(struct rest_request *request, struct bnd_slice text);
/* Cuts the connection. */
void rest_abort(struct rest_request *request);
/* Frees a request whose HTTP request has been ended otherwise. */
void rest_release(struct rest_request *request);

#endif
