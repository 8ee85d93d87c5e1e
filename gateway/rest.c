/* REST requests from their arrival to their route, and the ways in which they end. */
#include "base/alloc.h"
#include "gateway/rest_request.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_NS (2500 * BND_MS) /* for a token that may be newer than this node's view */
#define WAITING_MAX 64u
enum {
    CODE_AUTHENTICATION = 10000,
    CODE_NO_ROUTE = 7003,
    CODE_BAD_BODY = 10001,
    CODE_UNAVAILABLE = 10500
};

/* ---- ends
 * -----------------------------------------------------------------------------------------------
 */

void rest_release(struct rest_request *request) {
    if (request->clean != NULL) {
        request->clean(request);
    }
    bnd_buf_free(&request->body);
    bnd_free(request);
}

void rest_respond(struct rest_request *request, const struct bnd_http_response *response) {
    if (bnd_http_respond(request->http, response) != 0) {
        bnd_http_abort(request->http);
    }
    rest_release(request);
}

static void respond(struct rest_request *request, unsigned status, const char *type,
                    struct bnd_slice body) {
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str(type)},
        {bnd_slice_str("Retry-After"), bnd_slice_str("1")},
    };
    struct bnd_http_response response = {
        .status = status, .headers = headers, .header_count = status == 503 ? 2 : 1, .body = body};
    rest_respond(request, &response);
}

void rest_text(struct rest_request *request, unsigned status, struct bnd_slice text) {
    respond(request, status, "text/plain; charset=utf-8", text);
}

/* jansson allocates with malloc, in its own memory functions. */
static void json_free_text(char *text) {
    json_free_t give_back = NULL;
    json_get_alloc_funcs(NULL, &give_back);
    give_back(text);
}

/* Takes document; NULL: there was no memory for it. */
static void respond_json(struct rest_request *request, unsigned status, json_t *document) {
    char *text =
        document == NULL ? NULL : json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(document);
    if (text == NULL) {
        bnd_http_abort(request->http);
        rest_release(request);
        return;
    }
    respond(request, status, "application/json", bnd_slice_str(text));
    json_free_text(text);
}

void rest_reply(struct rest_request *request, json_t *result) {
    respond_json(
        request, 200,
        json_pack("{s:b, s:[], s:[], s:o?}", "success", 1, "errors", "messages", "result", result));
}

void rest_fail(struct rest_request *request, unsigned status, int code, const char *message) {
    respond_json(request, status,
                 json_pack("{s:b, s:[{s:i, s:s}], s:[], s:n}", "success", 0, "errors", "code", code,
                           "message", message, "messages", "result"));
}

void rest_fail_code(struct rest_request *request, int status) {
    switch (bnd_code_class(status)) {
    case BND_CLASS_RETRY:
    case BND_CLASS_UNKNOWN:
    case BND_CLASS_FULL:
        rest_fail(request, 503, CODE_UNAVAILABLE, bnd_code_text(status));
        return;
    case BND_CLASS_CALLER:
        rest_fail(request, status == BND_NOTFOUND ? 404 : 400, CODE_BAD_BODY,
                  bnd_code_text(status));
        return;
    default:
        bnd_log(request->services->env, BND_LOG_ERROR, "rest", "%.*s: %s", (int)request->path.len,
                (const char *)request->path.data, bnd_code_text(status));
        rest_fail(request, 500, CODE_UNAVAILABLE, bnd_code_text(status));
    }
}

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
        rest_fail(request, 400, CODE_BAD_BODY, "the body must be a JSON object");
        return NULL;
    }
    return body;
}

/* ---- paths
 * ---------------------------------------------------------------------------------------------- */

struct bnd_slice rest_segments_from(const struct rest_request *request, size_t n) {
    struct bnd_slice rest = request->path;
    for (size_t i = 0; i <= n; i++) {
        const uint8_t *slash = rest.len == 0 ? NULL : memchr(rest.data, '/', rest.len);
        if (slash == NULL) {
            return bnd_slice(NULL, 0);
        }
        size_t skip = (size_t)(slash - rest.data) + 1;
        rest = bnd_slice(rest.data + skip, rest.len - skip);
    }
    return rest;
}

struct bnd_slice rest_segment(const struct rest_request *request, size_t n) {
    struct bnd_slice rest = rest_segments_from(request, n);
    const uint8_t *slash = rest.len == 0 ? NULL : memchr(rest.data, '/', rest.len);
    return slash == NULL ? rest : bnd_slice(rest.data, (size_t)(slash - rest.data));
}

static bool pattern_fits(const struct rest_request *request, const char *pattern) {
    for (size_t n = 0;; n++) {
        pattern++; /* the slash */
        size_t len = strcspn(pattern, "/");
        struct bnd_slice rest = rest_segments_from(request, n);
        struct bnd_slice segment = rest_segment(request, n);
        if (len == 2 && memcmp(pattern, "**", 2) == 0) {
            return rest.len > 0;
        }
        bool any = len == 1 && pattern[0] == '*';
        if (segment.data == NULL ||
            (any ? segment.len == 0 : !bnd_slice_eq(segment, bnd_slice(pattern, len)))) {
            return false;
        }
        pattern += len;
        if (*pattern == 0) {
            return rest.len == segment.len;
        }
    }
}

static const struct rest_route *find_route(const struct rest_request *request,
                                           const struct rest_route *routes) {
    enum bnd_http_method method = request->http->head->method;
    for (; routes->pattern != NULL; routes++) {
        bool method_fits =
            routes->method == method || (routes->method == BND_HTTP_GET && method == BND_HTTP_HEAD);
        if (method_fits && pattern_fits(request, routes->pattern)) {
            return routes;
        }
    }
    return NULL;
}

/* ---- the body
 * ------------------------------------------------------------------------------------------- */

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    if (status != 0) {
        bnd_http_abort(request->http);
        rest_release(request);
        return;
    }
    if (chunk == NULL) {
        request->run(request);
        return;
    }
    bool fits = request->body.len + chunk->bytes.len <= REST_BODY_MAX;
    if (fits) {
        bnd_buf_append_slice(&request->body, chunk->bytes);
    }
    bnd_http_chunk_release(chunk);
    if (!fits || request->body.failed) {
        rest_fail(request, fits ? 503 : 413, CODE_BAD_BODY, "the body is larger than 1 MiB");
        return;
    }
    bnd_http_body_read(request->http, read);
}

static void begin(struct rest_request *request) {
    if (!request->wants_body) {
        request->run(request);
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

/* True when the request has been ended or begun. */
static bool decide(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    if (bnd_catalog_view(services->catalog) == NULL ||
        bnd_catalog_age_ms(services->catalog) > BND_CATALOG_STALE_MS) {
        rest_fail(request, 503, CODE_UNAVAILABLE, "this node cannot reach group 0");
        return true;
    }
    const struct bnd_token_record *token =
        bnd_catalog_find_token(services->catalog, bearer(request));
    if (token == NULL) {
        return false;
    }
    if ((token->permissions & request->permission) != request->permission) {
        rest_fail(request, 403, CODE_AUTHENTICATION,
                  "Authentication error: the token does not allow this");
    } else {
        begin(request);
    }
    return true;
}

static void refuse(struct rest_request *request) {
    rest_fail(request, 401, CODE_AUTHENTICATION, "Authentication error");
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
        bool refreshed =
            bnd_catalog_age_ms(rest->services->catalog) < (now - request->wait_since_ns) / BND_MS;
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
        bnd_timer_start(rest->services->env, &rest->wait_timer, 50 * BND_MS);
    }
}

static void authorize(struct rest_request *request) {
    struct bnd_rest *rest = request->rest;
    if (bearer(request).len == 0) {
        refuse(request);
        return;
    }
    if (decide(request)) {
        return;
    }
    if (rest->waiting_count >= WAITING_MAX) {
        rest_fail(request, 503, CODE_UNAVAILABLE, "too many requests with unknown tokens");
        return;
    }
    request->wait_since_ns = bnd_now_ns(rest->services->env);
    bnd_list_push(&rest->waiting, &request->wait_link);
    rest->waiting_count++;
    bnd_catalog_refresh(rest->services->catalog);
    bnd_timer_start(rest->services->env, &rest->wait_timer, 50 * BND_MS);
}

/* ---- arrival
 * -------------------------------------------------------------------------------------------- */

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
    size_t len = 0;
    if (bnd_http_percent_decode(http->head->path, 0, request->space, &len) != 0) {
        rest_fail(request, 400, CODE_NO_ROUTE, "the path has a broken %-escape");
        return;
    }
    request->path = bnd_slice(request->space, len);
    const struct rest_route *route = find_route(request, rest_admin_routes);
    route = route != NULL ? route : find_route(request, rest_cf_routes);
    if (route == NULL) {
        rest_fail(request, 404, CODE_NO_ROUTE,
                  "Could not route to this path, perhaps your object identifier is invalid?");
        return;
    }
    request->run = route->run;
    request->wants_body = route->wants_body;
    request->permission = route->permission;
    if (route->permission == 0) {
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

int bnd_rest_create(const struct bnd_gateway_services *services, struct bnd_rest **out) {
    struct bnd_rest *rest = bnd_zalloc(sizeof *rest);
    if (rest == NULL) {
        return BND_NOMEM;
    }
    rest->services = services;
    bnd_list_init(&rest->waiting);
    rest->wait_timer = (struct bnd_timer){.cb = on_wait, .data = rest};
    *out = rest;
    return 0;
}

void bnd_rest_destroy(struct bnd_rest *rest) {
    if (rest != NULL) {
        bnd_timer_stop(rest->services->env, &rest->wait_timer);
        bnd_free(rest);
    }
}
