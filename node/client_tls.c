#include "node/client_tls.h"

#include "node/authority.h"
#include "node/files.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define RENEW_BEFORE_S UINT64_C(2592000) /* 30 days */
#define HOSTS_MAX 5

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

/* The names by which clients reach this process: what its certificate is issued for. */
struct hosts {
    const char *names[HOSTS_MAX];
    size_t count;
    char buckets[2 + BND_CONFIG_TEXT_MAX]; /* "*.s3.example.com": every bucket's own name */
};

static void collect_hosts(const struct bnd_config *config, struct hosts *out) {
    out->count = 0;
    out->names[out->count++] = config->listen;
    out->names[out->count++] = "localhost";
    if (config->advertise[0] != 0 && strcmp(config->advertise, config->listen) != 0) {
        out->names[out->count++] = config->advertise;
    }
    if (config->s3_domain[0] != 0) {
        (void)snprintf(out->buckets, sizeof out->buckets, "*.%s", config->s3_domain); /* fits */
        out->names[out->count++] = config->s3_domain;
        out->names[out->count++] = out->buckets;
    }
}

/* The same as the text of server.hosts, which tells whom the server.pem beside it is for. */
static void hosts_text(const struct hosts *hosts, struct bnd_buf *out) {
    for (size_t i = 0; i < hosts->count; i++) {
        bnd_buf_printf(out, "%s\n", hosts->names[i]);
    }
}

/* Without a view nobody knows which CA it should be of: the one it had is as good as any. */
static bool still_good(struct bnd_env *env, const char *certs, const struct bnd_buf *hosts,
                       const struct bnd_catalog_view *view, struct bnd_buf *cert,
                       struct bnd_buf *key) {
    BND_AUTO_BUF struct bnd_buf issued_for = {0};
    uint64_t expiry_s = 0;
    return node_file_read(env, certs, "server.hosts", &issued_for, NULL) == 0 &&
           bnd_slice_eq(bnd_buf_slice(&issued_for), bnd_buf_slice(hosts)) &&
           node_file_read(env, certs, "server.pem", cert, NULL) == 0 &&
           node_file_read(env, certs, "server.key", key, NULL) == 0 &&
           bnd_pki_expiry(bnd_buf_slice(cert), &expiry_s, NULL) == 0 &&
           expiry_s > bnd_wall_ms(env) / 1000 + RENEW_BEFORE_S &&
           (view == NULL ||
            bnd_pki_signed_by(node_authority_of_ports(&view->settings).cert, bnd_buf_slice(cert)));
}

static int issue(struct bnd_env *env, const struct hosts *hosts,
                 const struct node_identity *identity, const struct bnd_catalog_view *view,
                 struct bnd_buf *cert, struct bnd_buf *key, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf ca_key = {0};
    BND_AUTO_BUF struct bnd_buf csr = {0};
    const struct node_authority authority = node_authority_of_ports(&view->settings);
    int rv = bnd_unseal(identity->cluster_key, authority.key, &ca_key);
    if (rv != 0) {
        return BND_FAIL(err, CORRUPT, "the CA key cannot be unsealed with this node's cluster key");
    }
    struct bnd_pki_ca ca = {authority.cert, bnd_buf_slice(&ca_key)};
    rv = bnd_pki_key_create(key, err);
    rv = rv != 0 ? rv : bnd_pki_csr_create(bnd_buf_slice(key), &csr, err);
    rv = rv != 0 ? rv
                 : bnd_pki_server_sign(&ca, bnd_buf_slice(&csr), hosts->names, hosts->count,
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
    BND_AUTO_BUF struct bnd_buf issued_for = {0};
    struct hosts hosts;
    char certs[NODE_PATH_MAX];
    int rv = node_path(config->data, "certs", certs, err);
    if (rv != 0) {
        return rv;
    }
    collect_hosts(config, &hosts);
    hosts_text(&hosts, &issued_for);
    if (!still_good(env, certs, &issued_for, view, &cert, &key)) {
        if (view == NULL) {
            return BND_FAIL(err, BUSY, "the certificate of the client ports waits for group 0");
        }
        rv = issue(env, &hosts, identity, view, &cert, &key, err);
        rv = rv != 0 ? rv : save(env, certs, &cert, &key, &issued_for, err);
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
