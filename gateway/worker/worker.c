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
#define BINDING_MAX 64u

/* What a token may do with a namespace, as of one revision of the view: saves a hash and two
 * searches per request. */
struct session {
    uint64_t revision;
    uint64_t namespace_id;
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

void kv_op_release(struct kv_op *op) {
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

void kv_op_abort(struct kv_op *op) {
    bnd_http_abort(op->http);
    kv_op_release(op);
}

void kv_op_respond(struct kv_op *op, const struct bnd_http_response *response) {
    if (bnd_http_respond(op->http, response) != 0) {
        bnd_http_abort(op->http);
    }
    kv_op_release(op);
}

static void audit_refusal(const struct kv_op *op, unsigned status) {
    char from[BND_ADDRESS_MAX];
    bnd_http_peer(op->http, from);
    const struct bnd_audit_call call = {.port = "bindings",
                                        .method = op->http->head->method_token,
                                        .path = op->http->head->path,
                                        .id = "-",
                                        .from = from,
                                        .status = status};
    bnd_audit_refusal(op->services->audit, &call);
}

void kv_op_fail(struct kv_op *op, unsigned status, const char *text) {
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("text/plain; charset=utf-8")},
        {bnd_slice_str("Retry-After"), bnd_slice_str("1")},
    };
    const struct bnd_http_response response = {.status = status,
                                               .reason = text,
                                               .headers = headers,
                                               .header_count = status == 503 ? 2 : 1,
                                               .body = bnd_slice_str(text)};
    if ((status == 401 || status == 403) && op->services->audit != NULL) {
        audit_refusal(op, status);
    }
    kv_op_respond(op, &response);
}

void kv_op_refuse(struct kv_op *op, const struct kv_refusal *refusal) {
    kv_op_fail(op, refusal->status, refusal->text);
}

/* "Unknown" is said so: a put that met a lack of replicas may have been stored. */
void kv_op_fail_code(struct kv_op *op, int status) {
    switch (bnd_code_class(status)) {
    case BND_CLASS_UNKNOWN:
        kv_op_fail(op, 503, "It is not known whether this was stored: try again");
        return;
    case BND_CLASS_RETRY:
        kv_op_fail(op, 503,
                   op->http->head->method == BND_HTTP_GET
                       ? "No replica can be reached"
                       : "Too few replicas can be reached; a write may or may not have been "
                         "stored");
        return;
    case BND_CLASS_FULL:
        kv_op_fail(op, status == BND_NOSPACE ? 507 : 503, bnd_code_text(status));
        return;
    case BND_CLASS_CALLER:
        kv_op_fail(op, 400,
                   status == BND_NOTFOUND ? "The KV namespace does not exist"
                                          : bnd_code_text(status));
        return;
    default:
        bnd_log(op->services->env, BND_LOG_ERROR, "kv", "%.*s of a binding: %s",
                (int)op->http->head->method_token.len,
                (const char *)op->http->head->method_token.data, bnd_code_text(status));
        kv_op_fail(op, 500, bnd_code_text(status));
    }
}

/* ---- to the operation
 * -------------------------------------------------------------------------------------------- */

struct bnd_slice kv_parameter(const struct kv_op *op, const char *name) {
    struct bnd_slice value;
    return bnd_http_query_find(op->http->head->query, name, &value) ? value : bnd_slice(NULL, 0);
}

/* The key is the whole path behind its first slash, one segment. False: the op has ended. */
static bool read_key(struct kv_op *op) {
    struct bnd_slice raw = op->http->head->path;
    struct kv_refusal refusal;
    raw = bnd_slice(raw.data + 1, raw.len - 1);
    if (raw.len > 0 && memchr(raw.data, '/', raw.len) != NULL) {
        kv_op_fail(op, 404, "No such route: a key is one segment of the path");
        return false;
    }
    if (raw.len > sizeof op->key) {
        kv_op_fail(op, 414, "UTF-8 encoded length exceeds key length limit of 512.");
        return false;
    }
    if (bnd_http_text_is(kv_parameter(op, "urlencoded"), "true")) {
        if (bnd_http_percent_decode(raw, 0, op->key, &op->key_len) != 0) {
            kv_op_fail(op, 400, "Could not URL-decode key name");
            return false;
        }
    } else {
        memcpy(op->key, raw.data, raw.len);
        op->key_len = raw.len;
    }
    if (!kv_key_check(kv_op_key(op), &refusal)) {
        kv_op_refuse(op, &refusal);
        return false;
    }
    return true;
}

struct step {
    enum worker_operation operation;
    uint32_t permission;
    bool key;
    void (*run)(struct kv_op *op);
};

static const struct step *step_of(const struct bnd_http_head *head) {
    static const struct step get = {WORKER_KV_GET, BND_PERM_KV_READ, true, kv_run_get};
    static const struct step put = {WORKER_KV_PUT, BND_PERM_KV_WRITE, true, kv_run_put};
    static const struct step delete = {WORKER_KV_DELETE, BND_PERM_KV_WRITE, true, kv_run_delete};
    static const struct step list = {WORKER_KV_LIST, BND_PERM_KV_READ, false, kv_run_list};
    static const struct step bulk = {WORKER_KV_BULK_GET, BND_PERM_KV_READ, false, kv_run_bulk_get};
    switch (head->method) {
    case BND_HTTP_GET:
        return head->path.len == 1 ? &list : &get;
    case BND_HTTP_PUT:
        return &put;
    case BND_HTTP_DELETE:
        return &delete;
    case BND_HTTP_POST:
        return bnd_slice_eq(head->path, bnd_slice_str("/bulk/get")) ? &bulk : NULL;
    default:
        return NULL;
    }
}

static void run(struct kv_op *op) {
    const struct bnd_http_head *head = op->http->head;
    const struct step *step = head->path.data[0] == '/' ? step_of(head) : NULL;
    const struct bnd_slice *consistency = bnd_http_header(op->http, "x-bindery-consistency");
    if (step == NULL) {
        kv_op_fail(op, 405, "A KV binding does not have this call");
        return;
    }
    op->http->operation = (uint8_t)step->operation;
    if ((op->permissions & step->permission) == 0) {
        kv_op_fail(op, 403, "The token may not do this with KV");
        return;
    }
    op->newest = consistency != NULL && bnd_http_text_is(*consistency, "newest");
    if (consistency != NULL && !op->newest && !bnd_http_text_is(*consistency, "any")) {
        kv_op_fail(op, 400, "X-Bindery-Consistency must be newest or any");
        return;
    }
    if (!step->key || read_key(op)) {
        step->run(op);
    }
}

/* ---- who asks, and for what
 * -------------------------------------------------------------------------------------- */

struct credentials {
    struct bnd_slice bearer;  /* empty: none */
    struct bnd_slice binding; /* what follows "kv:"; empty: none */
};

static struct credentials credentials_of(const struct bnd_http_request *http) {
    struct credentials c = {0};
    const struct bnd_slice *authorization = bnd_http_header(http, "authorization");
    const struct bnd_slice *binding = bnd_http_header(http, "x-bindery-binding");
    if (authorization != NULL && authorization->len > 7 &&
        bnd_http_text_is(bnd_slice(authorization->data, 7), "bearer ")) {
        c.bearer = bnd_slice(authorization->data + 7, authorization->len - 7);
    }
    if (binding != NULL && bnd_slice_starts(*binding, bnd_slice_str("kv:"))) {
        c.binding = bnd_slice(binding->data + 3, binding->len - 3);
    }
    return c;
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

/* True: op has namespace and permissions. Looked up in the view, however old: a node cut off from
 * group 0 goes on serving whom it knows (the store decides what may be written then). */
static bool known(struct kv_op *op, const struct credentials *c,
                  const struct bnd_catalog_view *view) {
    struct session *session = session_of(op->worker, c);
    bool small = c->bearer.len <= BEARER_MAX && c->binding.len <= BINDING_MAX;
    if (small && session_fits(session, c, view->revision)) {
        op->namespace_id = session->namespace_id;
        op->permissions = session->permissions;
        return true;
    }
    const struct bnd_token_record *token = bnd_catalog_find_token(op->services->catalog, c->bearer);
    const struct bnd_kv_namespace_record *namespace =
        bnd_catalog_find_kv_namespace(op->services->catalog, c->binding);
    if (!small || token == NULL || namespace == NULL) {
        return false;
    }
    op->namespace_id = namespace->id;
    op->permissions = token->bucket.len == 0 ? token->permissions : 0; /* of one bucket: not KV's */
    session->revision = view->revision;
    session->namespace_id = namespace->id;
    session->permissions = op->permissions;
    session->bearer_len = (uint8_t)c->bearer.len;
    session->binding_len = (uint8_t)c->binding.len;
    memcpy(session->bearer, c->bearer.data, c->bearer.len);
    memcpy(session->binding, c->binding.data, c->binding.len);
    return true;
}

/* Group 0 has been asked: token or namespace are not there. */
static void refuse(struct kv_op *op, const struct credentials *c) {
    if (bnd_catalog_find_token(op->services->catalog, c->bearer) == NULL) {
        kv_op_fail(op, 401, "The bearer token is not valid");
        return;
    }
    kv_op_fail(op, 400, "The KV namespace does not exist");
}

static void on_view(struct gateway_view_wait *wait, int status) {
    struct kv_op *op = wait->data;
    const struct bnd_catalog_view *view = bnd_catalog_view(op->services->catalog);
    struct credentials c = credentials_of(op->http);
    if (view != NULL && known(op, &c, view)) {
        run(op);
    } else if (status != 0) {
        kv_op_fail(op, 503, "This node cannot reach group 0");
    } else {
        refuse(op, &c);
    }
}

static void begin(struct kv_op *op) {
    const struct bnd_catalog_view *view = bnd_catalog_view(op->services->catalog);
    struct credentials c = credentials_of(op->http);
    if (bnd_http_header(op->http, "x-bindery-binding") == NULL) {
        kv_op_fail(op, 400, "X-Bindery-Binding is missing: see bindery workerd-config");
    } else if (c.binding.len == 0) {
        kv_op_fail(op, 501, "No binding of this kind is served by this version");
    } else if (c.bearer.len == 0) {
        kv_op_fail(op, 401, "The bearer token is missing");
    } else if (view != NULL && known(op, &c, view)) {
        run(op);
    } else {
        op->wait = (struct gateway_view_wait){.cb = on_view, .data = op};
        if (gateway_view_wait(op->services->front, &op->wait) != 0) {
            kv_op_fail(op, 503, "Too many requests with unknown tokens");
        }
    }
}

/* ---- arrival
 * ------------------------------------------------------------------------------------------------
 */

/* A spare one, or a new one; only what may be read before it is written is cleared. */
static struct kv_op *take_op(struct worker *worker) {
    struct kv_op *op = NULL;
    if (worker->spare_count > 0) {
        op = BND_CONTAINER(worker->spare.next, struct kv_op, spare);
        bnd_link_remove(&op->spare);
        worker->spare_count--;
    } else {
        op = bnd_zalloc(sizeof *op);
    }
    if (op != NULL) {
        op->worker = worker;
        op->services = worker->services;
        op->key_len = 0;
        op->data = NULL;
        op->clean = NULL;
    }
    return op;
}

static void on_request(void *owner, struct bnd_http_request *http) {
    struct kv_op *op = take_op(owner);
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
    static const char *const names[] = {"other",  "kv_get",    "kv_bulk_get",
                                        "kv_put", "kv_delete", "kv_list"};
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
        struct kv_op *op = BND_CONTAINER(worker->spare.next, struct kv_op, spare);
        bnd_link_remove(&op->spare);
        worker->spare_count--;
        bnd_free(op);
    }
    OPENSSL_cleanse(worker->sessions, sizeof worker->sessions);
    bnd_free(worker);
}
