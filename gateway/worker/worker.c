/* Requests of the bindings port from their arrival to their operation. */
#include "gateway/worker/worker_private.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

#include <openssl/crypto.h>
#include <string.h>

#define SPARE_MAX 256u
#define SESSIONS 64u /* a power of two */
#define BEARER_MAX 128u
#define BINDING_MAX 96u

/* What a token may do with what is bound, as of one revision of the view: saves a hash and two
 * searches per request. */
struct session {
    uint64_t revision;
    uint64_t id; /* the kind's */
    uint32_t permissions;
    uint8_t bearer_len; /* 0: empty */
    uint8_t binding_len;
    uint8_t bearer[BEARER_MAX];
    uint8_t binding[BINDING_MAX];
};

struct worker {
    const struct bnd_gateway_services *services;
    uint64_t seed;
    struct bnd_link spare; /* ops that are not in use */
    size_t spare_count;
    struct session sessions[SESSIONS];
};

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

void worker_release(struct worker_op *op) {
    struct worker *worker = op->worker;
    if (op->clean != NULL) {
        op->clean(op);
    }
    if (worker->spare_count == SPARE_MAX) {
        bnd_free(op);
        return;
    }
    worker->spare_count++;
    bnd_list_push(&worker->spare, &op->spare);
}

void worker_abort(struct worker_op *op) {
    bnd_http_abort(op->http);
    worker_release(op);
}

void worker_respond(struct worker_op *op, const struct bnd_http_response *response) {
    if (bnd_http_respond(op->http, response) != 0) {
        bnd_http_abort(op->http);
    }
    worker_release(op);
}

void worker_audit(const struct worker_op *op, unsigned status) {
    char from[BND_ADDRESS_MAX];
    if ((status != 401 && status != 403) || op->services->audit == NULL) {
        return;
    }
    bnd_http_peer(op->http, from);
    const struct bnd_audit_call call = {.port = "bindings",
                                        .method = op->http->head->method_token,
                                        .path = op->http->head->path,
                                        .id = "-",
                                        .from = from,
                                        .status = status};
    bnd_audit_refusal(op->services->audit, &call);
}

void worker_fail(struct worker_op *op, unsigned status, const char *text) {
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("text/plain; charset=utf-8")},
        {bnd_slice_str("Retry-After"), bnd_slice_str("1")},
    };
    const struct bnd_http_response response = {.status = status,
                                               .reason = text,
                                               .headers = headers,
                                               .header_count = status == 503 ? 2 : 1,
                                               .body = bnd_slice_str(text)};
    worker_audit(op, status);
    worker_respond(op, &response);
}

/* ---- who asks, and for what
 * -------------------------------------------------------------------------------------- */

static const struct worker_kind *const kinds[] = {&worker_kv_kind, &worker_d1_kind};

struct credentials {
    struct bnd_slice bearer;  /* empty: none */
    struct bnd_slice binding; /* the whole header; data NULL: none */
};

static struct credentials credentials_of(const struct bnd_http_request *http) {
    struct credentials c = {0};
    const struct bnd_slice *authorization = bnd_http_header(http, "authorization");
    const struct bnd_slice *binding = bnd_http_header(http, "x-bindery-binding");
    if (authorization != NULL && authorization->len > 7 &&
        bnd_http_text_is(bnd_slice(authorization->data, 7), "bearer ")) {
        c.bearer = bnd_slice(authorization->data + 7, authorization->len - 7);
    }
    if (binding != NULL) {
        c.binding = *binding;
    }
    return c;
}

/* Fills kind and what is named. False: no kind that is known, or nothing is. */
static bool find_kind(struct worker_op *op, struct bnd_slice binding) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct bnd_slice prefix = bnd_slice_str(kinds[i]->prefix);
        if (bnd_slice_starts(binding, prefix) && binding.len > prefix.len) {
            op->kind = kinds[i];
            op->named = bnd_slice(binding.data + prefix.len, binding.len - prefix.len);
            return true;
        }
    }
    return false;
}

static struct session *session_of(struct worker *worker, const struct credentials *c) {
    const struct bnd_slice parts[] = {c->bearer, c->binding};
    return &worker->sessions[bnd_hash64_parts(parts, 2, worker->seed) & (SESSIONS - 1)];
}

static bool session_fits(const struct session *session, const struct credentials *c,
                         uint64_t revision) {
    return session->revision == revision && session->bearer_len == c->bearer.len &&
           session->binding_len == c->binding.len &&
           memcmp(session->binding, c->binding.data, c->binding.len) == 0 &&
           CRYPTO_memcmp(session->bearer, c->bearer.data, c->bearer.len) == 0;
}

/* True: op has its id and permissions. Looked up in the view, however old: a node cut off from
 * group 0 goes on serving whom it knows (the store decides what may be written then). */
static bool known(struct worker_op *op, const struct credentials *c,
                  const struct bnd_catalog_view *view) {
    struct session *session = session_of(op->worker, c);
    bool small = c->bearer.len <= BEARER_MAX && c->binding.len <= BINDING_MAX;
    if (small && session_fits(session, c, view->revision)) {
        op->id = session->id;
        op->permissions = session->permissions;
        return true;
    }
    const struct bnd_token_record *token = bnd_catalog_find_token(op->services->catalog, c->bearer);
    if (!small || token == NULL || !op->kind->find(op->services, op->named, &op->id)) {
        return false;
    }
    op->permissions = token->bucket.len == 0 ? token->permissions : 0; /* of one bucket: R2's */
    session->revision = view->revision;
    session->id = op->id;
    session->permissions = op->permissions;
    session->bearer_len = (uint8_t)c->bearer.len;
    session->binding_len = (uint8_t)c->binding.len;
    memcpy(session->bearer, c->bearer.data, c->bearer.len);
    memcpy(session->binding, c->binding.data, c->binding.len);
    return true;
}

/* Group 0 has been asked: token or what is bound are not there. */
static void refuse(struct worker_op *op, const struct credentials *c) {
    if (bnd_catalog_find_token(op->services->catalog, c->bearer) == NULL) {
        op->kind->fail(op, 401, "The bearer token is not valid");
        return;
    }
    op->kind->fail(op, 400, op->kind->missing);
}

static void on_view(struct gateway_view_wait *wait, int status) {
    struct worker_op *op = wait->data;
    const struct bnd_catalog_view *view = bnd_catalog_view(op->services->catalog);
    struct credentials c = credentials_of(op->http);
    if (view != NULL && known(op, &c, view)) {
        op->kind->run(op);
    } else if (status != 0) {
        op->kind->fail(op, 503, "This node cannot reach group 0");
    } else {
        refuse(op, &c);
    }
}

static void begin(struct worker_op *op) {
    const struct bnd_catalog_view *view = bnd_catalog_view(op->services->catalog);
    struct credentials c = credentials_of(op->http);
    if (c.binding.data == NULL) {
        worker_fail(op, 400, "X-Bindery-Binding is missing: see bindery workerd-config");
    } else if (!find_kind(op, c.binding)) {
        worker_fail(op, 501, "No binding of this kind is served by this version");
    } else if (c.bearer.len == 0) {
        op->kind->fail(op, 401, "The bearer token is missing");
    } else if (view != NULL && known(op, &c, view)) {
        op->kind->run(op);
    } else {
        op->wait = (struct gateway_view_wait){.cb = on_view, .data = op};
        if (gateway_view_wait(op->services->front, &op->wait) != 0) {
            op->kind->fail(op, 503, "Too many requests with unknown tokens");
        }
    }
}

/* ---- arrival
 * ------------------------------------------------------------------------------------------------
 */

/* A spare one, or a new one; only what may be read before it is written is cleared. */
static struct worker_op *take_op(struct worker *worker) {
    struct worker_op *op = NULL;
    if (worker->spare_count > 0) {
        op = BND_CONTAINER(worker->spare.next, struct worker_op, spare);
        bnd_link_remove(&op->spare);
        worker->spare_count--;
    } else {
        op = bnd_zalloc(sizeof *op);
    }
    if (op != NULL) {
        op->worker = worker;
        op->services = worker->services;
        op->data = NULL;
        op->clean = NULL;
    }
    return op;
}

static void on_request(void *owner, struct bnd_http_request *http) {
    struct worker_op *op = take_op(owner);
    if (op == NULL) {
        bnd_http_abort(http);
        return;
    }
    op->http = http;
    begin(op);
}

const struct bnd_http_handler *worker_handler(void) {
    /* on_abort is of no interest: whatever a request waits for answers it by itself. */
    static const struct bnd_http_handler handler = {.on_request = on_request};
    return &handler;
}

const char *const *worker_operation_names(size_t *out_count) {
    static const char *const names[] = {"other",     "kv_get",  "kv_bulk_get", "kv_put",
                                        "kv_delete", "kv_list", "d1_query",    "d1_execute"};
    *out_count = sizeof names / sizeof names[0];
    return names;
}

int worker_create(const struct bnd_gateway_services *services, struct worker **out) {
    struct worker *worker = bnd_zalloc(sizeof *worker);
    if (worker == NULL) {
        return BND_NOMEM;
    }
    worker->services = services;
    worker->seed = bnd_random(services->env);
    bnd_list_init(&worker->spare);
    *out = worker;
    return 0;
}

void worker_destroy(struct worker *worker) {
    if (worker == NULL) {
        return;
    }
    while (worker->spare_count > 0) {
        struct worker_op *op = BND_CONTAINER(worker->spare.next, struct worker_op, spare);
        bnd_link_remove(&op->spare);
        worker->spare_count--;
        bnd_free(op);
    }
    OPENSSL_cleanse(worker->sessions, sizeof worker->sessions);
    bnd_free(worker);
}
