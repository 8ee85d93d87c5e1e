#include "node/client_tls.h"

#include "node/files.h"

#include <openssl/crypto.h>
#include <string.h>

#define RENEW_BEFORE_S UINT64_C(2592000) /* 30 days */

static int make_context(const struct bnd_buf *cert, const struct bnd_buf *key,
                        struct bnd_tls_context **out, struct bnd_error *err) {
    struct bnd_tls_config tls = {
        .role = BND_TLS_SERVER,
        .verify = BND_TLS_VERIFY_NONE,
        .certificate_pem = bnd_buf_slice(cert),
        .key_pem = bnd_buf_slice(key),
        .alpn = "http/1.1",
    };
    return bnd_tls_context_create(&tls, out, err);
}

static int from_user(struct bnd_env *env, const struct bnd_config *config,
                     struct bnd_tls_context **out, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf cert = {0};
    BND_AUTO_BUF struct bnd_buf key = {0};
    int rv = bnd_pki_load(env, config->tls_cert, &cert, err);
    rv = rv != 0 ? rv : bnd_pki_load(env, config->tls_key, &key, err);
    rv = rv != 0 ? rv : make_context(&cert, &key, out, err);
    if (key.data != NULL) {
        OPENSSL_cleanse(key.data, key.cap);
    }
    return rv == 0
               ? 0
               : BND_WRAP(err, rv, "tls_cert %s, tls_key %s", config->tls_cert, config->tls_key);
}

/* The hosts that server.pem was issued for, as its neighbour file says. */
static void hosts_text(const struct bnd_config *config, struct bnd_buf *out) {
    bnd_buf_printf(out, "%s\n%s\nlocalhost\n", config->listen,
                   config->advertise[0] != 0 ? config->advertise : config->listen);
}

static bool still_good(struct bnd_env *env, const char *certs, const struct bnd_buf *hosts,
                       struct bnd_buf *cert, struct bnd_buf *key) {
    BND_AUTO_BUF struct bnd_buf issued_for = {0};
    uint64_t expiry_s = 0;
    return node_file_read(env, certs, "server.hosts", &issued_for, NULL) == 0 &&
           bnd_slice_eq(bnd_buf_slice(&issued_for), bnd_buf_slice(hosts)) &&
           node_file_read(env, certs, "server.pem", cert, NULL) == 0 &&
           node_file_read(env, certs, "server.key", key, NULL) == 0 &&
           bnd_pki_expiry(bnd_buf_slice(cert), &expiry_s, NULL) == 0 &&
           expiry_s > bnd_wall_ms(env) / 1000 + RENEW_BEFORE_S;
}

static int issue(struct bnd_env *env, const struct bnd_config *config,
                 const struct node_identity *identity, const struct bnd_catalog_view *view,
                 struct bnd_buf *cert, struct bnd_buf *key, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf ca_key = {0};
    BND_AUTO_BUF struct bnd_buf csr = {0};
    const char *hosts[3] = {config->listen, "localhost", config->advertise};
    size_t host_count =
        config->advertise[0] != 0 && strcmp(config->advertise, config->listen) != 0 ? 3 : 2;
    int rv = bnd_unseal(identity->cluster_key, view->settings.ca_key, &ca_key);
    if (rv != 0) {
        return BND_FAIL(err, CORRUPT, "the CA key cannot be unsealed with this node's cluster key");
    }
    struct bnd_pki_ca ca = {view->settings.ca_cert, bnd_buf_slice(&ca_key)};
    rv = bnd_pki_key_create(key, err);
    rv = rv != 0 ? rv : bnd_pki_csr_create(bnd_buf_slice(key), &csr, err);
    rv = rv != 0 ? rv
                 : bnd_pki_server_sign(&ca, bnd_buf_slice(&csr), hosts, host_count,
                                       bnd_wall_ms(env), cert, err);
    OPENSSL_cleanse(ca_key.data, ca_key.cap);
    return rv;
}

static int save(struct bnd_env *env, const char *certs, const struct bnd_buf *cert,
                const struct bnd_buf *key, const struct bnd_buf *hosts, struct bnd_error *err) {
    int rv = node_file_write(env, certs, "server.key", bnd_buf_slice(key), err);
    rv = rv != 0 ? rv : node_file_write(env, certs, "server.pem", bnd_buf_slice(cert), err);
    return rv != 0 ? rv : node_file_write(env, certs, "server.hosts", bnd_buf_slice(hosts), err);
}

static int from_cluster(struct bnd_env *env, const struct bnd_config *config,
                        const struct node_identity *identity, const struct bnd_catalog_view *view,
                        struct bnd_tls_context **out, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf cert = {0};
    BND_AUTO_BUF struct bnd_buf key = {0};
    BND_AUTO_BUF struct bnd_buf hosts = {0};
    char certs[NODE_PATH_MAX];
    int rv = node_path(config->data, "certs", certs, err);
    if (rv != 0) {
        return rv;
    }
    hosts_text(config, &hosts);
    if (!still_good(env, certs, &hosts, &cert, &key)) {
        if (view == NULL) {
            return BND_FAIL(err, BUSY, "the certificate of the client ports waits for group 0");
        }
        rv = issue(env, config, identity, view, &cert, &key, err);
        rv = rv != 0 ? rv : save(env, certs, &cert, &key, &hosts, err);
    }
    rv = rv != 0 ? rv : make_context(&cert, &key, out, err);
    if (key.data != NULL) {
        OPENSSL_cleanse(key.data, key.cap);
    }
    return rv;
}

int node_client_tls(struct bnd_env *env, const struct bnd_config *config,
                    const struct node_identity *identity, const struct bnd_catalog_view *view,
                    struct bnd_tls_context **out, struct bnd_error *err) {
    if (config->insecure) {
        *out = NULL;
        return 0;
    }
    if (config->tls_cert[0] != 0) {
        return from_user(env, config, out, err);
    }
    return from_cluster(env, config, identity, view, out, err);
}
