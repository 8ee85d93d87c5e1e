/* REST requests from their arrival to their route. */
#include "base/alloc.h"
#include "base/assert.h"
#include "gateway/rest_request.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WAIT_NS (2500 * BND_MS) /* for a token that may be newer than this node's view */
#define WAIT_STEP_NS (20 * BND_MS)
#define WAITING_MAX 64u

json_t *rest_body_object(struct rest_request *request) {
    json_error_t error;
    if (request->body.len == 0) {
        json_t *empty = json_object();
        if (empty == NULL) {
            rest_fail_code(request, BND_NOMEM);
        }
        return empty;
    }
    json_t *body = json_loadb((const char *)request->body.data, request->body.len,
                              JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(body)) {
        json_decref(body);
        rest_fail(request, 400, REST_BAD_REQUEST, "the body must be a JSON object");
        return NULL;
    }
    return body;
}

struct bnd_slice rest_segment(const struct rest_request *request, size_t n) {
    return rest_path_segment(request->path, n);
}

struct bnd_slice rest_segments_from(const struct rest_request *request, size_t n) {
    return rest_path_from(request->path, n);
}

/* ---- the body
 * ------------------------------------------------------------------------------------------- */

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    if (status != 0) {
        rest_abort(request);
        return;
    }
    if (chunk == NULL) {
        request->route->run(request);
        return;
    }
    bool fits = request->body.len + chunk->bytes.len <= REST_BODY_MAX;
    if (fits) {
        bnd_buf_append_slice(&request->body, chunk->bytes);
    }
    bnd_http_chunk_release(chunk);
    if (!fits || request->body.failed) {
        rest_fail(request, fits ? 503 : 413, REST_BAD_REQUEST, "the body is larger than 1 MiB");
        return;
    }
    bnd_http_body_read(request->http, read);
}

static void begin(struct rest_request *request) {
    if ((request->route->flags & REST_BODY) == 0) {
        request->route->run(request);
        return;
    }
    request->read = (struct bnd_http_read){.cb = on_piece, .data = request};
    bnd_http_body_read(request->http, &request->read);
}

/* ---- tokens
 * --------------------------------------------------------------------------------------------- */

static struct bnd_slice bearer(const struct rest_request *request) {
    const struct bnd_slice *value = bnd_http_header(request->http, "authorization");
    if (value == NULL || value->len <= 7 ||
        !bnd_http_text_is(bnd_slice(value->data, 7), "bearer ")) {
        return bnd_slice(NULL, 0);
    }
    return bnd_slice(value->data + 7, value->len - 7);
}

const struct bnd_token_record *rest_token(const struct rest_request *request) {
    const struct bnd_catalog *catalog = request->services->catalog;
    return (request->route->flags & REST_LAST_VIEW) != 0
               ? bnd_catalog_find_last_token(catalog, bearer(request))
               : bnd_catalog_find_token(catalog, bearer(request));
}

/* Is it known well enough who may do what? */
static bool can_judge(const struct rest_request *request) {
    const struct bnd_catalog *catalog = request->services->catalog;
    return (request->route->flags & REST_LAST_VIEW) != 0
               ? bnd_catalog_last_view(catalog) != NULL
               : bnd_catalog_view(catalog) != NULL &&
                     bnd_catalog_age_ms(catalog) <= BND_CATALOG_STALE_MS;
}

static bool other_account(const struct rest_request *request) {
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    return (request->route->flags & REST_ACCOUNT) != 0 &&
           !bnd_slice_eq(rest_segment(request, 3), view->settings.account);
}

/* Text of the form of an account id, if not this one's. */
static bool account_formed(struct bnd_slice text) {
    bool hex = text.len == 32;
    for (size_t i = 0; i < text.len && hex; i++) {
        hex = isxdigit(text.data[i]) != 0;
    }
    return hex;
}

static void remember_who(struct rest_request *request, const struct bnd_token_record *token) {
    size_t len = token->id.len < BND_TOKEN_ID_MAX ? token->id.len : BND_TOKEN_ID_MAX;
    memcpy(request->who, token->id.data, len);
    request->who[len] = 0;
}

static void no_route(struct rest_request *request) {
    rest_fail(request, 404, REST_NO_ROUTE,
              "Could not route to this path, perhaps your object identifier is invalid?");
}

/* A token of one bucket opens what is below that bucket, and what every token opens. */
static bool in_scope(const struct rest_request *request, const struct bnd_token_record *token) {
    const struct rest_route *route = request->route;
    return token->bucket.len == 0 || route->permission == REST_ANY_TOKEN ||
           ((route->flags & REST_BUCKET) != 0 &&
            bnd_slice_eq(rest_segment(request, REST_SEGMENT_BUCKET), token->bucket));
}

/* True when the request has been ended or begun. */
static bool decide(struct rest_request *request) {
    if (!can_judge(request)) {
        rest_fail(request, 503, REST_UNAVAILABLE, "this node cannot reach group 0");
        return true;
    }
    const struct bnd_token_record *token = rest_token(request);
    if (token == NULL) {
        return false;
    }
    uint32_t needed = request->route->permission & BND_PERM_ALL;
    remember_who(request, token);
    if (other_account(request) && account_formed(rest_segment(request, 3))) {
        rest_fail(request, 403, REST_UNAUTHORIZED, "Unauthorized to access requested resource");
    } else if (other_account(request)) {
        no_route(request);
    } else if ((token->permissions & needed) != needed || !in_scope(request, token)) {
        rest_fail(request, 403, REST_AUTHENTICATION, "Authentication error");
    } else {
        begin(request);
    }
    return true;
}

/* The token is not known. */
static void refuse(struct rest_request *request) {
    if ((request->route->flags & REST_VERIFY) != 0) {
        rest_fail(request, 401, REST_INVALID_TOKEN, "Invalid API Token");
    } else {
        rest_fail(request, 401, REST_AUTHENTICATION, "Authentication error");
    }
}

/* There is none. */
static void refuse_nobody(struct rest_request *request) {
    if (bnd_http_header(request->http, "authorization") == NULL) {
        rest_fail(request, 400, REST_NO_CREDENTIALS,
                  "Missing X-Auth-Key, X-Auth-Email or Authorization headers");
    } else {
        rest_fail(request, 400, REST_BAD_HEADERS, "Invalid request headers");
    }
}

/* Tokens made a moment ago on another node: the view is asked for anew, and they are looked for
 * until it is. */
static void on_wait(struct bnd_timer *timer) {
    struct bnd_rest *rest = timer->data;
    uint64_t now = bnd_now_ns(rest->services->env);
    struct bnd_link *link = rest->waiting.next;
    while (link != &rest->waiting) {
        struct rest_request *request = BND_CONTAINER(link, struct rest_request, wait_link);
        link = link->next;
        bool known = bnd_catalog_find_token(rest->services->catalog, bearer(request)) != NULL;
        bool refreshed = bnd_catalog_answered(rest->services->catalog, request->question);
        if (!known && !refreshed && now - request->wait_since_ns < WAIT_NS) {
            continue;
        }
        bnd_link_remove(&request->wait_link);
        rest->waiting_count--;
        if (!decide(request)) {
            refuse(request);
        }
    }
    if (rest->waiting_count > 0) {
        bnd_timer_start(rest->services->env, &rest->wait_timer, WAIT_STEP_NS);
    }
}

static void authorize(struct rest_request *request) {
    struct bnd_rest *rest = request->rest;
    if (bearer(request).len == 0) {
        refuse_nobody(request);
        return;
    }
    if (decide(request)) {
        return;
    }
    if (rest->waiting_count >= WAITING_MAX) {
        rest_fail(request, 503, REST_UNAVAILABLE, "too many requests with unknown tokens");
        return;
    }
    request->wait_since_ns = bnd_now_ns(rest->services->env);
    bnd_list_push(&rest->waiting, &request->wait_link);
    rest->waiting_count++;
    request->question = bnd_catalog_refresh(rest->services->catalog);
    bnd_timer_start(rest->services->env, &rest->wait_timer, WAIT_STEP_NS);
}

/* ---- arrival
 * -------------------------------------------------------------------------------------------- */

/* What requests do, as /metrics counts them: by route table, health apart. */
static const char *const operation_names[] = {"other", "cluster", "clock",     "credentials", "r2",
                                              "kv",    "d1",      "d1_file", "health"};
#define OPERATION_HEALTH 8

/* False: the request has been ended, and is gone. */
static bool find_route(struct rest_request *request) {
    static const struct rest_route *const tables[] = {
        rest_admin_routes, rest_clock_routes, rest_credential_routes, rest_cf_routes,
        rest_kv_routes,    rest_d1_routes,    rest_d1_file_routes};
    bool known = false;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        const struct rest_route *route =
            rest_route_find(tables[i], request->http->head->method, request->path, &known);
        if (route != NULL) {
            request->route = route;
            request->http->operation =
                (uint8_t)(i == 0 && route->permission == 0 ? OPERATION_HEALTH : i + 1);
            return true;
        }
    }
    if (known) {
        rest_fail(request, 405, REST_NO_METHOD, "Method not available for that URI.");
    } else {
        no_route(request);
    }
    return false;
}

static void on_request(void *owner, struct bnd_http_request *http) {
    struct bnd_rest *rest = owner;
    size_t raw = http->head->path.len;
    struct rest_request *request = bnd_zalloc(sizeof *request + raw + 1);
    if (request == NULL) {
        bnd_http_abort(http);
        return;
    }
    request->rest = rest;
    request->http = http;
    request->services = rest->services;
    (void)snprintf(request->id, sizeof request->id, "%016llx",
                   (unsigned long long)bnd_random(rest->services->env));
    size_t len = 0;
    if (bnd_http_percent_decode(http->head->path, 0, request->space, &len) != 0) {
        rest_fail(request, 400, REST_NO_ROUTE, "the path has a broken %-escape");
        return;
    }
    request->path = bnd_slice(request->space, len);
    if (!find_route(request)) {
        return;
    }
    if (request->route->permission == 0) {
        begin(request);
    } else {
        authorize(request);
    }
}

const struct bnd_http_handler *bnd_rest_handler(void) {
    /* on_abort is of no interest: whatever a request waits for answers it by itself. */
    static const struct bnd_http_handler handler = {.on_request = on_request};
    return &handler;
}

const char *const *bnd_rest_operation_names(size_t *out_count) {
    *out_count = sizeof operation_names / sizeof operation_names[0];
    return operation_names;
}

int bnd_rest_create(const struct bnd_gateway_services *services, struct bnd_rest **out) {
    struct bnd_rest *rest = bnd_zalloc(sizeof *rest);
    if (rest == NULL) {
        return BND_NOMEM;
    }
    rest->services = services;
    bnd_list_init(&rest->waiting);
    d1_files_init(&rest->files, services->env, services->front);
    rest->wait_timer = (struct bnd_timer){.cb = on_wait, .data = rest};
    *out = rest;
    return 0;
}

void bnd_rest_watch(struct bnd_rest *rest, const struct bnd_rest_port *ports, size_t count) {
    BND_ASSERT(count <= BND_REST_PORTS_MAX);
    for (size_t i = 0; i < count; i++) {
        rest->ports[i] = ports[i];
    }
    rest->ports_count = count;
}

void bnd_rest_destroy(struct bnd_rest *rest) {
    if (rest != NULL) {
        bnd_timer_stop(rest->services->env, &rest->wait_timer);
        d1_files_free(&rest->files);
        bnd_free(rest);
    }
}
