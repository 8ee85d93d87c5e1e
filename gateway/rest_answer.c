/* The ways in which REST requests end, and Cloudflare's envelope. */
#include "base/alloc.h"
#include "gateway/date.h"
#include "gateway/rest_request.h"

#include <string.h>

/* ---- documents
 * ------------------------------------------------------------------------------------------ */

json_t *rest_text_json(struct bnd_slice text) {
    json_t *json = text.data == NULL ? NULL : json_stringn((const char *)text.data, text.len);
    return json != NULL ? json : json_null();
}

json_t *rest_time_json(uint64_t ms) {
    char text[GATEWAY_DATE_TEXT];
    gateway_date_iso(ms, text);
    return json_string(text);
}

json_t *rest_envelope(json_t *result) {
    return json_pack("{s:b, s:[], s:[], s:o?}", "success", 1, "errors", "messages", "result",
                     result);
}

json_t *rest_envelope_error(int code, struct bnd_slice message) {
    return json_pack("{s:b, s:[{s:i, s:o}], s:[], s:n}", "success", 0, "errors", "code", code,
                     "message", rest_text_json(message), "messages", "result");
}

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

/* Calls that change the cluster, and calls that were not allowed. */
static void audit(const struct rest_request *request, unsigned status) {
    const struct bnd_http_head *head = request->http->head;
    const struct rest_route *route = request->route;
    uint32_t control =
        BND_PERM_BUCKET_ADMIN | BND_PERM_KV_ADMIN | BND_PERM_D1_ADMIN | BND_PERM_CLUSTER_ADMIN;
    bool changes = route != NULL && (route->permission & control) != 0 &&
                   head->method != BND_HTTP_GET && head->method != BND_HTTP_HEAD;
    bool asked = route != NULL && route->permission != 0;
    bool nobody = asked && request->who[0] == 0 && status == 400; /* without credentials */
    bool refused = status == 401 || status == 403 || nobody;
    if ((!changes && !refused) || request->services->audit == NULL) {
        return;
    }
    char from[BND_ADDRESS_MAX];
    bnd_http_peer(request->http, from);
    const struct bnd_audit_call call = {
        .port = "rest",
        .who = bnd_slice_str(request->who),
        .method = head->method_token,
        .path = head->path,
        .id = request->id,
        .from = from,
        .status = status,
    };
    if (refused) {
        bnd_audit_refusal(request->services->audit, &call);
    } else {
        bnd_audit_control(request->services->audit, &call);
    }
}

void rest_abort(struct rest_request *request) {
    audit(request, 0);
    bnd_http_abort(request->http);
    rest_release(request);
}

static void respond(struct rest_request *request, unsigned status, const char *type,
                    struct bnd_slice body) {
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str(type)},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
        {bnd_slice_str("Retry-After"), bnd_slice_str("1")},
    };
    struct bnd_http_response response = {
        .status = status, .headers = headers, .header_count = status == 503 ? 3 : 2, .body = body};
    audit(request, status);
    if (bnd_http_respond(request->http, &response) != 0) {
        bnd_http_abort(request->http);
    }
    rest_release(request);
}

void rest_text(struct rest_request *request, unsigned status, struct bnd_slice text) {
    respond(request, status, "text/plain; charset=utf-8", text);
}

void rest_exposition(struct rest_request *request, struct bnd_slice text) {
    respond(request, 200, "text/plain; version=0.0.4; charset=utf-8", text);
}

static int append(const char *text, size_t len, void *data) {
    struct bnd_buf *out = data;
    bnd_buf_append(out, text, len);
    return out->failed ? -1 : 0;
}

void rest_reply_json(struct rest_request *request, unsigned status, json_t *document) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    bool ok = document != NULL && json_dump_callback(document, append, &text,
                                                     JSON_COMPACT | JSON_REAL_PRECISION(15)) == 0;
    json_decref(document);
    if (!ok) {
        rest_abort(request);
        return;
    }
    respond(request, status, "application/json", bnd_buf_slice(&text));
}

void rest_reply_text(struct rest_request *request, const struct bnd_buf *text) {
    if (text->failed) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    respond(request, 200, "application/json", bnd_buf_slice(text));
}

void rest_reply(struct rest_request *request, json_t *result) {
    rest_reply_json(request, 200, rest_envelope(result));
}

void rest_fail_text(struct rest_request *request, unsigned status, int code,
                    struct bnd_slice message) {
    rest_reply_json(request, status, rest_envelope_error(code, message));
}

void rest_fail(struct rest_request *request, unsigned status, int code, const char *message) {
    rest_fail_text(request, status, code, bnd_slice_str(message));
}

void rest_fail_code(struct rest_request *request, int status) {
    switch (bnd_code_class(status)) {
    case BND_CLASS_RETRY:
    case BND_CLASS_UNKNOWN:
    case BND_CLASS_FULL:
        rest_fail(request, status == BND_NOSPACE ? 507 : 503, REST_UNAVAILABLE,
                  bnd_code_text(status));
        return;
    case BND_CLASS_CALLER:
        rest_fail(request, status == BND_NOTFOUND ? 404 : 400, REST_BAD_REQUEST,
                  bnd_code_text(status));
        return;
    default:
        bnd_log(request->services->env, BND_LOG_ERROR, "rest", "%.*s: %s", (int)request->path.len,
                (const char *)request->path.data, bnd_code_text(status));
        rest_fail(request, 500, REST_UNAVAILABLE, bnd_code_text(status));
    }
}
