#include "node/certificates.h"

#include "node/authority.h"
#include "node/client_tls.h"
#include "node/files.h"

#define RENEW_BEFORE_S UINT64_C(2592000) /* 30 days */
#define FIRST_NS (60000 * BND_MS)
#define EVERY_NS (UINT64_C(86400000) * BND_MS)
#define RETRY_NS (10000 * BND_MS)
#define CALL_NS (10000 * BND_MS)
#define PORTS_FIRST 2 /* the first CA, which is not being changed */

/* ---- the node's own ---------------------------------------------------------------------------*/

static int sign(struct bnd_env *env, const struct node_identity *identity,
                const struct bnd_settings *settings, struct bnd_buf *out, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf csr = {0};
    int rv = bnd_pki_csr_create(bnd_buf_slice(&identity->node_key), &csr, err);
    return rv != 0 ? rv
                   : node_authority_sign(env, identity, settings, bnd_buf_slice(&csr),
                                         identity->node, out, err);
}

/* Not for long any more, of another CA, or with a link that it should not have, or without one. */
static int is_due(struct bnd_env *env, const struct node_identity *identity,
                  const struct bnd_settings *settings, bool *out, struct bnd_error *err) {
    struct bnd_slice cert = bnd_buf_slice(&identity->node_cert);
    uint64_t expiry_s = 0;
    size_t wanted = settings->ca_link.len > 0 ? 2 : 1;
    int rv = bnd_pki_expiry(cert, &expiry_s, err);
    if (rv == 0) {
        *out = expiry_s <= bnd_wall_ms(env) / 1000 + RENEW_BEFORE_S ||
               !bnd_pki_signed_by(settings->ca_cert, cert) || bnd_pki_count(cert) != wanted;
    }
    return rv;
}

/* Writes certs/<name> and then keeps it in memory, too. Takes fresh. */
static int replace(struct bnd_env *env, const char *certs, const char *name, struct bnd_buf *fresh,
                   struct bnd_buf *kept, struct bnd_error *err) {
    int rv = fresh->failed ? BND_FAIL(err, NOMEM, "no memory for certificates")
                           : node_file_write(env, certs, name, bnd_buf_slice(fresh), err);
    if (rv == 0) {
        struct bnd_buf old = *kept;
        *kept = *fresh;
        *fresh = old;
    }
    bnd_buf_free(fresh);
    return rv;
}

/* At no moment is there a certificate on disk whose CA is not trusted there: the next start would
 * refuse it. So both CAs are trusted before it is replaced, whatever was heard of the change. */
static int renew_files(struct bnd_env *env, const char *certs, struct node_identity *identity,
                       const struct bnd_settings *settings, struct bnd_error *err) {
    struct bnd_buf both = {0};
    struct bnd_buf fresh = {0};
    int rv = sign(env, identity, settings, &fresh, err);
    if (rv == 0 && !bnd_pki_signed_by(bnd_buf_slice(&identity->ca_cert), bnd_buf_slice(&fresh))) {
        node_authority_trusted(settings, &both);
        bnd_buf_append_slice(&both, bnd_buf_slice(&identity->ca_cert));
        rv = replace(env, certs, "ca.pem", &both, &identity->ca_cert, err);
    }
    if (rv != 0) {
        bnd_buf_free(&fresh);
        return rv;
    }
    return replace(env, certs, "node.pem", &fresh, &identity->node_cert, err);
}

int node_certificate_renew(struct bnd_env *env, const char *dir, struct node_identity *identity,
                           const struct bnd_settings *settings, bool *out_renewed,
                           struct bnd_error *err) {
    struct bnd_buf trusted = {0};
    char certs[NODE_PATH_MAX];
    bool due = false;
    *out_renewed = false;
    int rv = node_path(dir, "certs", certs, err);
    rv = rv != 0 ? rv : is_due(env, identity, settings, &due, err);
    if (rv == 0 && due) {
        rv = renew_files(env, certs, identity, settings, err);
        *out_renewed = rv == 0;
    }
    if (rv != 0) {
        return rv;
    }
    node_authority_trusted(settings, &trusted);
    if (!trusted.failed &&
        bnd_slice_eq(bnd_buf_slice(&trusted), bnd_buf_slice(&identity->ca_cert))) {
        bnd_buf_free(&trusted);
        return 0;
    }
    rv = replace(env, certs, "ca.pem", &trusted, &identity->ca_cert, err);
    *out_renewed = *out_renewed || rv == 0;
    return rv;
}

/* True: everything is as the settings say, on disk and in the mesh. */
static bool renew_node(struct node_certificates *c) {
    const struct bnd_catalog_view *view = bnd_catalog_view(c->catalog);
    struct bnd_error err = {0};
    bool renewed = false;
    if (view == NULL) {
        return false;
    }
    int rv = node_certificate_renew(c->env, c->config->data, c->identity, &view->settings, &renewed,
                                    &err);
    c->mesh_stale = c->mesh_stale || renewed;
    const struct bnd_mesh_tcp_tls tls = {bnd_buf_slice(&c->identity->node_cert),
                                         bnd_buf_slice(&c->identity->node_key),
                                         bnd_buf_slice(&c->identity->ca_cert)};
    if (rv == 0 && c->mesh_stale) {
        rv = bnd_mesh_tcp_renew(c->mesh, &tls, &err);
        c->mesh_stale = rv != 0;
    }
    if (rv != 0) {
        bnd_log(c->env, BND_LOG_ERROR, "certs", "the node's certificate was not renewed: %s",
                err.message);
    } else if (renewed) {
        bnd_log(c->env, BND_LOG_INFO, "certs",
                "the node's certificate was renewed; it trusts %zu CA",
                bnd_pki_count(bnd_buf_slice(&c->identity->ca_cert)));
    }
    return rv == 0;
}

/* ---- the client ports' ------------------------------------------------------------------------*/

static void renew_ports(struct node_certificates *c) {
    struct bnd_tls_context *fresh = NULL;
    struct bnd_error err = {0};
    if (*c->gateway == NULL || c->config->insecure) {
        return;
    }
    int rv =
        node_client_tls(c->env, c->config, c->identity, bnd_catalog_view(c->catalog), &fresh, &err);
    if (rv != 0) {
        bnd_log(c->env, BND_LOG_ERROR, "certs", "the client ports keep their old certificate: %s",
                err.message);
        return;
    }
    bnd_gateway_set_tls(*c->gateway, fresh);
    bnd_tls_context_destroy(*c->tls);
    *c->tls = fresh;
    bnd_log(c->env, BND_LOG_INFO, "certs", "the client ports have their certificate anew");
}

/* ---- a change of the CA ----------------------------------------------------------------------*/

static void retry_later(struct node_certificates *c) {
    bnd_timer_start(c->env, &c->retry, RETRY_NS);
}

static void on_confirmed(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct node_certificates *c = call->data;
    c->calling = false;
    if (status != 0) {
        retry_later(c);
    }
}

/* Tells group 0 that this node has a certificate of the newest CA, if that is news. */
static void confirm(struct node_certificates *c, const struct bnd_catalog_view *view) {
    const struct bnd_node_record *own = bnd_catalog_find_node(view, c->identity->node);
    if (view->settings.old_ca_cert.len == 0 || own == NULL || c->calling ||
        own->ca_generation == view->settings.ca_generation) {
        return;
    }
    struct bnd_catalog_command command = {.op = BND_CATALOG_CA_CONFIRM,
                                          .id = c->identity->node,
                                          .number = view->settings.ca_generation};
    c->call.cb = on_confirmed;
    c->call.data = c;
    c->calling = bnd_catalog_write(c->catalog, &c->call, &command, CALL_NS) == 0;
    if (!c->calling) {
        retry_later(c);
    }
}

void node_certificates_update(struct node_certificates *c, const struct bnd_catalog_view *view) {
    const struct bnd_settings *settings = &view->settings;
    uint64_t ports = 2 * (uint64_t)settings->ca_generation + (settings->old_ca_cert.len > 0);
    if (!renew_node(c)) {
        retry_later(c);
        return;
    }
    if (ports != c->ports_seen) {
        c->ports_seen = ports;
        renew_ports(c);
    }
    confirm(c, view);
}

static void on_retry(struct bnd_timer *timer) {
    struct node_certificates *c = timer->data;
    const struct bnd_catalog_view *view = bnd_catalog_view(c->catalog);
    if (view != NULL) {
        node_certificates_update(c, view);
    }
}

/* ---- when -------------------------------------------------------------------------------------*/

void node_certificates_reload(struct node_certificates *certificates) {
    (void)renew_node(certificates); /* has told why not; it is tried again tomorrow */
    renew_ports(certificates);
}

static void on_timer(struct bnd_timer *timer) {
    struct node_certificates *certificates = timer->data;
    bnd_timer_start(certificates->env, timer, EVERY_NS);
    node_certificates_reload(certificates);
}

void node_certificates_start(struct node_certificates *certificates) {
    certificates->timer = (struct bnd_timer){.cb = on_timer, .data = certificates};
    certificates->retry = (struct bnd_timer){.cb = on_retry, .data = certificates};
    certificates->ports_seen = PORTS_FIRST;
    bnd_timer_start(certificates->env, &certificates->timer, FIRST_NS);
}

void node_certificates_stop(struct node_certificates *certificates) {
    if (certificates->timer.cb != NULL) {
        bnd_timer_stop(certificates->env, &certificates->timer);
        bnd_timer_stop(certificates->env, &certificates->retry);
    }
    if (certificates->calling) {
        bnd_catalog_cancel(&certificates->call);
        certificates->calling = false;
    }
}
