#include "node/admission.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "catalog/issue.h"
#include "node/authority.h"
#include "node/join_message.h"
#include "node/peers.h"

#include <stdio.h>

enum { ADMISSIONS_MAX = 16 };
#define CALL_TIMEOUT_NS (20000 * BND_MS)

#define TOKEN_TEXT (2 * BND_JOIN_ID_LEN + 1)

struct admission {
    struct node_admission *owner;
    char token[TOKEN_TEXT]; /* its id, for the audit log */
    struct bnd_join_request *request;
    struct bnd_catalog_call call;
    struct bnd_buf csr;
};

/* token: the id of the join token as text, "-" if it could not be read. */
static void answer(struct node_admission *owner, struct bnd_join_request *request,
                   const char *token, const struct node_join_reply *reply) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    char from[BND_ADDRESS_MAX];
    bnd_mesh_join_peer(request, from);
    node_join_reply_encode(&bytes, reply);
    bnd_mesh_join_reply(request, bytes.failed ? BND_NOMEM : 0, bnd_buf_slice(&bytes));
    bool admitted = reply->status == 0;
    bnd_log(owner->env, admitted ? BND_LOG_INFO : BND_LOG_WARN, "audit",
            "port=peers who=%s call=JOIN status=%s node=%llu from=%s: %.*s", token,
            bnd_code_name(reply->status), (unsigned long long)reply->node, from,
            (int)reply->message.len, (const char *)reply->message.data);
}

static void refuse(struct node_admission *owner, struct bnd_join_request *request,
                   const char *token, int status, const char *message) {
    struct node_join_reply reply = {.status = status, .message = bnd_slice_str(message)};
    answer(owner, request, token, &reply);
}

static void token_text(struct bnd_slice id, char out[TOKEN_TEXT]) {
    (void)snprintf(out, TOKEN_TEXT, "-");
    for (size_t i = 0; i < id.len && id.len == BND_JOIN_ID_LEN; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", id.data[i]);
    }
}

static const char *refusal(int status) {
    switch (status) {
    case BND_DENIED:
        return "the join token is unknown, or was redeemed by another node";
    case BND_PRECONDITION:
        return "the node to replace stores nothing, or its place is taken already";
    case BND_EXPIRED:
        return "the join token is past its time; `bindery token join` prints a new one";
    default:
        return bnd_code_text(status);
    }
}

static void admit(struct admission *admission, const struct bnd_node_record *node) {
    struct node_admission *owner = admission->owner;
    BND_AUTO_BUF struct bnd_buf cert = {0};
    BND_AUTO_BUF struct bnd_buf trusted = {0};
    BND_AUTO_BUF struct bnd_buf peers = {0};
    struct bnd_error err = {0};
    const struct bnd_catalog_view *view = bnd_catalog_view(owner->catalog);
    int rv = node_authority_sign(owner->env, owner->identity, &view->settings,
                                 bnd_buf_slice(&admission->csr), node->id, &cert, &err);
    if (rv != 0) {
        refuse(owner, admission->request, admission->token, rv, err.message);
        return;
    }
    node_authority_trusted(&view->settings, &trusted);
    node_peers_encode(&peers, view->nodes, view->nodes_count);
    struct node_join_reply reply = {
        .cluster = bnd_slice(owner->identity->cluster, sizeof owner->identity->cluster),
        .node = node->id,
        .shards = view->settings.shards,
        .node_cert = bnd_buf_slice(&cert),
        .ca_cert = bnd_buf_slice(&trusted),
        .cluster_key = bnd_slice(owner->identity->cluster_key, sizeof owner->identity->cluster_key),
        .peers = bnd_buf_slice(&peers),
    };
    if (trusted.failed || peers.failed) {
        refuse(owner, admission->request, admission->token, BND_NOMEM, "out of memory");
        return;
    }
    answer(owner, admission->request, admission->token, &reply);
    bnd_log(owner->env, BND_LOG_INFO, "join", "%s %llu admitted at %.*s",
            node->role == BND_NODE_GATEWAY ? "gateway" : "node", (unsigned long long)node->id,
            (int)node->address.len, (const char *)node->address.data);
}

static void on_decided(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct admission *admission = call->data;
    struct node_admission *owner = admission->owner;
    struct bnd_node_record node;
    if (status == 0) {
        status = bnd_node_decode(reply, &node);
    }
    if (status == 0) {
        admit(admission, &node);
    } else {
        refuse(owner, admission->request, admission->token, status, refusal(status));
    }
    owner->open--;
    bnd_buf_free(&admission->csr);
    bnd_free(admission);
}

/* Proposes the join to group 0. On failure nothing was kept. */
static int propose(struct admission *admission, const struct node_join_request *request) {
    uint8_t key_hash[BND_PKI_FINGERPRINT_BYTES];
    uint8_t secret_hash[BND_SHA256_LEN];
    struct bnd_error err = {0};
    int rv = bnd_pki_csr_fingerprint(request->csr, key_hash, &err);
    if (rv != 0) {
        return rv;
    }
    bnd_sha256(request->secret, secret_hash);
    struct bnd_node_record node = {
        .state = BND_NODE_ACTIVE,
        .role = request->role,
        .place = request->replaces,
        .weight = request->role == BND_NODE_GATEWAY ? 0 : 100,
        .address = request->address,
        .zone = request->zone,
        .key_hash = bnd_slice(key_hash, sizeof key_hash),
    };
    BND_AUTO_BUF struct bnd_buf record = {0};
    bnd_node_encode(&record, &node);
    bnd_buf_append_slice(&admission->csr, request->csr);
    if (record.failed || admission->csr.failed) {
        return BND_NOMEM;
    }
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_JOIN,
        .a = request->id,
        .b = bnd_buf_slice(&record),
        .c = bnd_slice(secret_hash, sizeof secret_hash),
    };
    admission->call.cb = on_decided;
    admission->call.data = admission;
    return bnd_catalog_write(admission->owner->catalog, &admission->call, &command,
                             CALL_TIMEOUT_NS);
}

void node_admission_on_join(void *owner_data, struct bnd_join_request *request,
                            struct bnd_slice payload) {
    struct node_admission *owner = owner_data;
    struct node_join_request decoded;
    if (node_join_request_decode(payload, &decoded) != 0 ||
        decoded.address.len >= BND_ADDRESS_MAX) {
        refuse(owner, request, "-", BND_INVALID, "the join request is malformed");
        return;
    }
    if (owner->catalog == NULL || bnd_catalog_view(owner->catalog) == NULL ||
        owner->open >= ADMISSIONS_MAX) {
        refuse(owner, request, "-", BND_BUSY, "not ready to admit nodes; try again");
        return;
    }
    if (decoded.replaces != 0 && (decoded.replaces == owner->identity->node ||
                                  owner->mesh->ops->up(owner->mesh, decoded.replaces))) {
        refuse(owner, request, "-", BND_PRECONDITION, "the node to replace is up: decommission it");
        return;
    }
    struct admission *admission = bnd_zalloc(sizeof *admission);
    if (admission == NULL) {
        refuse(owner, request, "-", BND_NOMEM, "out of memory");
        return;
    }
    admission->owner = owner;
    admission->request = request;
    token_text(decoded.id, admission->token);
    owner->open++;
    int rv = propose(admission, &decoded);
    if (rv != 0) {
        refuse(owner, request, admission->token, rv, refusal(rv));
        owner->open--;
        bnd_buf_free(&admission->csr);
        bnd_free(admission);
    }
}
