#include "node/authority.h"

#include <openssl/crypto.h>
#include <string.h>

void node_authority_trusted(const struct bnd_settings *settings, struct bnd_buf *out) {
    bnd_buf_append_slice(out, settings->ca_cert);
    bnd_buf_append_slice(out, settings->old_ca_cert);
}

int node_authority_sign(struct bnd_env *env, const struct node_identity *self,
                        const struct bnd_settings *settings, struct bnd_slice csr_pem,
                        uint64_t node, struct bnd_buf *out, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf ca_key = {0};
    struct bnd_buf signed_pem = {0};
    struct bnd_pki_identity name = {.node = node};
    memcpy(name.cluster, self->cluster, sizeof name.cluster);
    if (bnd_unseal(self->cluster_key, settings->ca_key, &ca_key) != 0) {
        return BND_FAIL(err, CORRUPT, "the CA key cannot be unsealed with this node's cluster key");
    }
    const struct bnd_pki_ca ca = {settings->ca_cert, bnd_buf_slice(&ca_key)};
    int rv = bnd_pki_node_sign(&ca, csr_pem, &name, bnd_wall_ms(env), &signed_pem, err);
    OPENSSL_cleanse(ca_key.data, ca_key.cap);
    bnd_buf_append_slice(&signed_pem, settings->ca_link);
    if (rv == 0 && signed_pem.failed) {
        rv = BND_FAIL(err, NOMEM, "no memory for a certificate");
    }
    if (rv != 0) {
        bnd_buf_free(&signed_pem);
        return rv;
    }
    bnd_buf_free(out);
    *out = signed_pem;
    return 0;
}

struct node_authority node_authority_of_ports(const struct bnd_settings *settings) {
    bool changing = settings->old_ca_cert.len > 0;
    return (struct node_authority){
        .cert = changing ? settings->old_ca_cert : settings->ca_cert,
        .key = changing ? settings->old_ca_key : settings->ca_key,
    };
}
