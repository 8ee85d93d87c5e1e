#include "node/certificates.h"

#include "node/client_tls.h"
#include "node/files.h"

#include <openssl/crypto.h>

#define RENEW_BEFORE_S UINT64_C(2592000) /* 30 days */
#define FIRST_NS (60000 * BND_MS)
#define EVERY_NS (UINT64_C(86400000) * BND_MS)

/* ---- the node's own ---------------------------------------------------------------------------*/

static int sign(struct bnd_env *env, const struct node_identity *identity,
                const struct bnd_settings *settings, struct bnd_buf *out, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf ca_key = {0};
    BND_AUTO_BUF struct bnd_buf csr = {0};
    struct bnd_pki_identity name = {.node = identity->node};
    memcpy(name.cluster, identity->cluster, sizeof name.cluster);
    if (bnd_unseal(identity->cluster_key, settings->ca_key, &ca_key) != 0) {
        return BND_FAIL(err, CORRUPT, "the CA key cannot be unsealed with this node's cluster key");
    }
    const struct bnd_pki_ca ca = {settings->ca_cert, bnd_buf_slice(&ca_key)};
    int rv = bnd_pki_csr_create(bnd_buf_slice(&identity->node_key), &csr, err);
    rv = rv != 0 ? rv
                 : bnd_pki_node_sign(&ca, bnd_buf_slice(&csr), &name, bnd_wall_ms(env), out, err);
    OPENSSL_cleanse(ca_key.data, ca_key.cap);
    return rv;
}

int node_certificate_renew(struct bnd_env *env, const char *dir, struct node_identity *identity,
                           const struct bnd_settings *settings, bool *out_renewed,
                           struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf fresh = {0};
    char certs[NODE_PATH_MAX];
    uint64_t expiry_s = 0;
    *out_renewed = false;
    int rv = bnd_pki_expiry(bnd_buf_slice(&identity->node_cert), &expiry_s, err);
    if (rv != 0 || expiry_s > bnd_wall_ms(env) / 1000 + RENEW_BEFORE_S) {
        return rv;
    }
    rv = node_path(dir, "certs", certs, err);
    rv = rv != 0 ? rv : sign(env, identity, settings, &fresh, err);
    rv = rv != 0 ? rv : node_file_write(env, certs, "node.pem", bnd_buf_slice(&fresh), err);
    if (rv == 0) {
        struct bnd_buf old = identity->node_cert;
        identity->node_cert = fresh;
        fresh = old;
        *out_renewed = true;
    }
    return rv;
}

static void renew_node(struct node_certificates *c) {
    const struct bnd_catalog_view *view = bnd_catalog_view(c->catalog);
    struct bnd_error err = {0};
    bool renewed = false;
    if (view == NULL) {
        return;
    }
    int rv = node_certificate_renew(c->env, c->config->data, c->identity, &view->settings, &renewed,
                                    &err);
    const struct bnd_mesh_tcp_tls tls = {bnd_buf_slice(&c->identity->node_cert),
                                         bnd_buf_slice(&c->identity->node_key),
                                         bnd_buf_slice(&c->identity->ca_cert)};
    if (rv == 0 && renewed) {
        rv = bnd_mesh_tcp_renew(c->mesh, &tls, &err);
    }
    if (rv != 0) {
        bnd_log(c->env, BND_LOG_ERROR, "certs", "the node's certificate was not renewed: %s",
                err.message);
    } else if (renewed) {
        bnd_log(c->env, BND_LOG_INFO, "certs", "the node's certificate was renewed");
    }
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

/* ---- when -------------------------------------------------------------------------------------*/

void node_certificates_reload(struct node_certificates *certificates) {
    renew_node(certificates);
    renew_ports(certificates);
}

static void on_timer(struct bnd_timer *timer) {
    struct node_certificates *certificates = timer->data;
    bnd_timer_start(certificates->env, timer, EVERY_NS);
    node_certificates_reload(certificates);
}

void node_certificates_start(struct node_certificates *certificates) {
    certificates->timer = (struct bnd_timer){.cb = on_timer, .data = certificates};
    bnd_timer_start(certificates->env, &certificates->timer, FIRST_NS);
}

void node_certificates_stop(struct node_certificates *certificates) {
    if (certificates->timer.cb != NULL) {
        bnd_timer_stop(certificates->env, &certificates->timer);
    }
}
