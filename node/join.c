#include "node/join.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "node/files.h"
#include "node/join_message.h"

#include <stdio.h>
#include <string.h>

#define RETRY_NS (1000 * BND_MS)
/* A member can be a second late to hear of a new CA that the token pins; not later. */
enum { ATTEMPTS_MAX = 60, DENIED_MAX = 5 };

struct node_join {
    struct node_join_options options;
    struct bnd_join_token token;
    struct node_identity identity;
    struct bnd_buf request;
    struct bnd_join_call *call;
    struct bnd_timer retry;
    const char *next; /* in config->join */
    unsigned attempts;
    unsigned denied; /* of them: by a CA that is not the token's */
    char asked[BND_ADDRESS_MAX];
    struct bnd_error last;
};

static void finish(struct node_join *join, int status) {
    node_join_done_cb done = join->options.done;
    void *data = join->options.data;
    struct bnd_error err = join->last;
    node_identity_free(&join->identity);
    bnd_buf_free(&join->request);
    bnd_free(join);
    done(data, status, &err);
}

/* Takes the next address of the comma-separated list, from the start again after the last. */
static void next_address(struct node_join *join) {
    if (*join->next == 0) {
        join->next = join->options.config->join;
    }
    size_t len = strcspn(join->next, ",");
    int used = snprintf(join->asked, sizeof join->asked, "%.*s", (int)len, join->next);
    (void)used; /* a cut address fails to connect and is named in the error */
    join->next += len;
    join->next += *join->next == ',';
}

/* Takes a good reply: identity and peers to disk, node.toml last. */
static int accept_reply(struct node_join *join, const struct node_join_reply *reply) {
    struct bnd_env *env = join->options.env;
    const char *dir = join->options.config->data;
    struct node_identity *identity = &join->identity;
    struct bnd_pki_identity proved;
    int rv = 0;
    if (!bnd_pki_has_fingerprint(reply->ca_cert, join->token.ca_fingerprint)) {
        rv = BND_FAIL(&join->last, DENIED, "%s: its CA is not the one of the join token",
                      join->asked);
    }
    rv = rv != 0 ? rv
                 : bnd_pki_node_verify(reply->ca_cert, reply->node_cert, bnd_wall_ms(env), &proved,
                                       &join->last);
    if (rv == 0 && (proved.node != reply->node ||
                    memcmp(proved.cluster, reply->cluster.data, sizeof proved.cluster) != 0)) {
        rv = BND_FAIL(&join->last, CORRUPT, "%s: its reply and its certificate disagree",
                      join->asked);
    }
    if (rv != 0) {
        return rv;
    }
    memcpy(identity->cluster, reply->cluster.data, sizeof identity->cluster);
    memcpy(identity->cluster_key, reply->cluster_key.data, sizeof identity->cluster_key);
    identity->node = reply->node;
    identity->shards = reply->shards;
    identity->role = join->options.role;
    bnd_buf_append_slice(&identity->ca_cert, reply->ca_cert);
    bnd_buf_append_slice(&identity->node_cert, reply->node_cert);
    if (identity->ca_cert.failed || identity->node_cert.failed) {
        return BND_FAIL(&join->last, NOMEM, "no memory for the certificates");
    }
    rv = node_file_write(env, dir, "peers", reply->peers, &join->last);
    return rv != 0 ? rv : node_identity_save(env, dir, identity, &join->last);
}

static void ask(struct node_join *join);

static void on_retry(struct bnd_timer *timer) {
    ask(timer->data);
}

static void on_reply(void *data, int status, struct bnd_slice bytes, const char *failure) {
    struct node_join *join = data;
    struct node_join_reply reply = {0};
    join->call = NULL;
    if (status == 0) {
        status = node_join_reply_decode(bytes, &reply);
        failure = status == 0 ? "" : "its reply is malformed";
    }
    bool refused = status == 0 && reply.status != 0;
    if (refused) {
        status = reply.status;
        (void)BND_FAIL(&join->last, DENIED, "%s: %.*s", join->asked, (int)reply.message.len,
                       (const char *)reply.message.data);
    } else if (status == BND_DENIED) {
        join->denied++;
        (void)BND_FAIL(
            &join->last, DENIED,
            "%s: its CA is not the one of the join token (%s); `bindery token join` on a "
            "member prints a new token",
            join->asked, failure);
    } else if (status != 0) {
        (void)bnd_error_set(&join->last, status, "%s: %s%s%s", join->asked, bnd_code_text(status),
                            failure[0] == 0 ? "" : ": ", failure);
    } else {
        finish(join, accept_reply(join, &reply));
        return;
    }
    bool final = refused && bnd_code_class(status) == BND_CLASS_CALLER;
    if (final || (refused && status == BND_EXPIRED) || join->denied >= DENIED_MAX ||
        ++join->attempts >= ATTEMPTS_MAX) {
        finish(join, status);
        return;
    }
    bnd_timer_start(join->options.env, &join->retry, RETRY_NS);
}

static void ask(struct node_join *join) {
    next_address(join);
    struct bnd_join_call_options options = {
        .env = join->options.env,
        .address = join->asked,
        .ca_fingerprint = join->token.ca_fingerprint,
        .request = bnd_buf_slice(&join->request),
        .cb = on_reply,
        .data = join,
    };
    int rv = bnd_mesh_join_call(&options, &join->call, &join->last);
    if (rv == 0) {
        return;
    }
    if (rv == BND_INVALID || ++join->attempts >= ATTEMPTS_MAX) {
        finish(join, BND_WRAP(&join->last, rv, "%s", join->asked));
        return;
    }
    bnd_timer_start(join->options.env, &join->retry, RETRY_NS);
}

/* The key of an earlier, cut attempt, or a new one that is on disk before anybody sees it. */
static int load_or_make_key(struct bnd_env *env, const char *dir, struct bnd_buf *out,
                            struct bnd_error *err) {
    char certs[NODE_PATH_MAX];
    int rv = node_path(dir, "certs", certs, err);
    rv = rv != 0 ? rv : env->ops->dir_make(env, certs, err);
    if (rv != 0) {
        return rv;
    }
    rv = node_file_read(env, certs, "join.key", out, err);
    if (rv != BND_NOTFOUND) {
        return rv;
    }
    rv = bnd_pki_key_create(out, err);
    return rv != 0 ? rv : node_file_write(env, certs, "join.key", bnd_buf_slice(out), err);
}

static int build_request(struct node_join *join, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf csr = {0};
    const struct bnd_config *config = join->options.config;
    int rv = load_or_make_key(join->options.env, config->data, &join->identity.node_key, err);
    rv = rv != 0 ? rv : bnd_pki_csr_create(bnd_buf_slice(&join->identity.node_key), &csr, err);
    if (rv != 0) {
        return rv;
    }
    struct node_join_request request = {
        .id = bnd_slice(join->token.id, sizeof join->token.id),
        .secret = bnd_slice_str(join->token.secret),
        .csr = bnd_buf_slice(&csr),
        .address = bnd_slice_str(join->options.peer_address),
        .zone = bnd_slice_str(config->zone),
        .role = join->options.role,
        .replaces = config->replaces,
    };
    node_join_request_encode(&join->request, &request);
    return join->request.failed ? BND_FAIL(err, NOMEM, "no memory for the join request") : 0;
}

int node_join_start(const struct node_join_options *options, struct node_join **out,
                    struct bnd_error *err) {
    struct node_join *join = bnd_zalloc(sizeof *join);
    if (join == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to join");
    }
    join->options = *options;
    join->next = options->config->join;
    join->retry.cb = on_retry;
    join->retry.data = join;
    int rv = bnd_join_token_parse(options->config->token, &join->token);
    rv = rv != 0 ? BND_FAIL(err, INVALID,
                            "token: this is no join token; `bindery token join` prints one")
                 : 0;
    rv = rv != 0 ? rv : build_request(join, err);
    if (rv != 0) {
        node_identity_free(&join->identity);
        bnd_buf_free(&join->request);
        bnd_free(join);
        return rv;
    }
    *out = join;
    bnd_timer_start(options->env, &join->retry, 0);
    return 0;
}
