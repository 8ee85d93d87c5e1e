#include "node/identity.h"

#include "node/files.h"
#include "node/toml_file.h"
#include "placement/shard.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDENTITY_FORMAT = 1 };

uint64_t node_cluster_number(const uint8_t cluster[BND_PKI_CLUSTER_BYTES]) {
    return bnd_get_u64(cluster);
}

struct identity_fields {
    uint64_t format;
    uint64_t node;
    uint64_t shards;
    char cluster[2 * BND_PKI_CLUSTER_BYTES + 1];
    enum bnd_node_role role;
};

static const char *const role_names[] = {
    [BND_NODE_STORAGE] = "storage", [BND_NODE_GATEWAY] = "gateway"};

/* 0: none that this version knows. */
static enum bnd_node_role role_of(const char *name) {
    for (size_t i = BND_NODE_STORAGE; i <= BND_NODE_GATEWAY; i++) {
        if (strcmp(name, role_names[i]) == 0) {
            return (enum bnd_node_role)i;
        }
    }
    return 0;
}

static int take_field(void *data, const char *key, const char *value) {
    struct identity_fields *fields = data;
    if (strcmp(key, "format") == 0) {
        fields->format = strtoull(value, NULL, 10);
    } else if (strcmp(key, "node") == 0) {
        fields->node = strtoull(value, NULL, 10);
    } else if (strcmp(key, "shards") == 0) {
        fields->shards = strtoull(value, NULL, 10);
    } else if (strcmp(key, "role") == 0) {
        fields->role = role_of(value);
    } else if (strcmp(key, "cluster") == 0 && strlen(value) < sizeof fields->cluster) {
        memcpy(fields->cluster, value, strlen(value) + 1);
    }
    return 0;
}

static int parse(const char *dir, const struct bnd_buf *text, struct node_identity *out,
                 struct bnd_error *err) {
    struct identity_fields fields = {0};
    char message[200] = "";
    if (node_toml_each((const char *)text->data, text->len, take_field, &fields, message,
                       sizeof message) != 0) {
        return BND_FAIL(err, CORRUPT, "%s/node.toml: %s", dir, message);
    }
    if (fields.format > IDENTITY_FORMAT) {
        return BND_FAIL(err, VERSION, "%s/node.toml: format %llu, this program knows up to %d", dir,
                        (unsigned long long)fields.format, IDENTITY_FORMAT);
    }
    if (fields.format == 0 || fields.node == 0 || fields.shards == 0 || fields.role == 0 ||
        fields.shards > BND_SHARDS_MAX ||
        bnd_hex_decode(bnd_slice_str(fields.cluster), out->cluster, sizeof out->cluster) != 0) {
        return BND_FAIL(err, CORRUPT,
                        "%s/node.toml: format, node, role, shards or cluster is missing or damaged",
                        dir);
    }
    out->node = fields.node;
    out->shards = (uint32_t)fields.shards;
    out->role = fields.role;
    return 0;
}

static int read_cert(struct bnd_env *env, const char *dir, const char *name, struct bnd_buf *out,
                     struct bnd_error *err) {
    int rv = node_file_read(env, dir, name, out, err);
    return rv == BND_NOTFOUND ? BND_FAIL(err, CORRUPT, "%s/%s is missing", dir, name) : rv;
}

/* What node.toml says and what the certificate says must be the same node of the same cluster. */
static int check(struct bnd_env *env, const char *dir, const struct node_identity *identity,
                 struct bnd_error *err) {
    struct bnd_pki_identity proved;
    int rv =
        bnd_pki_node_verify(bnd_buf_slice(&identity->ca_cert), bnd_buf_slice(&identity->node_cert),
                            bnd_wall_ms(env), &proved, err);
    if (rv != 0) {
        return BND_WRAP(err, rv, "%s/certs/node.pem", dir);
    }
    if (proved.node != identity->node ||
        memcmp(proved.cluster, identity->cluster, sizeof proved.cluster) != 0) {
        return BND_FAIL(err, CORRUPT, "%s: node.toml and certs/node.pem are of different nodes",
                        dir);
    }
    return 0;
}

int node_identity_load(struct bnd_env *env, const char *dir, enum bnd_node_role role,
                       struct node_identity *out, struct bnd_error *err) {
    struct node_identity identity = {0};
    BND_AUTO_BUF struct bnd_buf text = {0};
    BND_AUTO_BUF struct bnd_buf key = {0};
    int rv = node_file_read(env, dir, "node.toml", &text, err);
    rv = rv != 0 ? rv : parse(dir, &text, &identity, err);
    if (rv == 0 && identity.role != role) {
        rv = BND_FAIL(err, INVALID, "data: %s is the directory of a %s node: use `bindery %s`", dir,
                      role_names[identity.role],
                      identity.role == BND_NODE_GATEWAY ? "gateway" : "start");
    }
    rv = rv != 0 ? rv : read_cert(env, dir, "certs/ca.pem", &identity.ca_cert, err);
    rv = rv != 0 ? rv : read_cert(env, dir, "certs/node.pem", &identity.node_cert, err);
    rv = rv != 0 ? rv : read_cert(env, dir, "certs/node.key", &identity.node_key, err);
    rv = rv != 0 ? rv : read_cert(env, dir, "certs/cluster.key", &key, err);
    if (rv == 0 && bnd_hex_decode(bnd_buf_slice(&key), identity.cluster_key,
                                  sizeof identity.cluster_key) != 0) {
        rv = BND_FAIL(err, CORRUPT, "%s/certs/cluster.key is not a key", dir);
    }
    rv = rv != 0 ? rv : check(env, dir, &identity, err);
    if (key.data != NULL) {
        OPENSSL_cleanse(key.data, key.cap);
    }
    if (rv != 0) {
        node_identity_free(&identity);
        return rv;
    }
    *out = identity;
    return 0;
}

int node_identity_save(struct bnd_env *env, const char *dir, const struct node_identity *identity,
                       struct bnd_error *err) {
    char certs[NODE_PATH_MAX];
    char key[2 * BND_CLUSTER_KEY_LEN + 1];
    char cluster[2 * BND_PKI_CLUSTER_BYTES + 1];
    char text[256];
    bnd_hex_encode(identity->cluster_key, sizeof identity->cluster_key, key);
    bnd_hex_encode(identity->cluster, sizeof identity->cluster, cluster);
    (void)snprintf(text, sizeof text,
                   "# Written by bindery; do not edit or copy to another node.\nformat = %d\n"
                   "cluster = \"%s\"\nnode = %llu\nrole = \"%s\"\nshards = %u\n",
                   IDENTITY_FORMAT, cluster, (unsigned long long)identity->node,
                   role_names[identity->role], identity->shards);
    int rv = node_path(dir, "certs", certs, err);
    rv = rv != 0 ? rv : env->ops->dir_make(env, certs, err);
    rv = rv != 0 ? rv
                 : node_file_write(env, certs, "ca.pem", bnd_buf_slice(&identity->ca_cert), err);
    rv = rv != 0
             ? rv
             : node_file_write(env, certs, "node.pem", bnd_buf_slice(&identity->node_cert), err);
    rv = rv != 0 ? rv
                 : node_file_write(env, certs, "node.key", bnd_buf_slice(&identity->node_key), err);
    rv = rv != 0 ? rv : node_file_write(env, certs, "cluster.key", bnd_slice_str(key), err);
    rv = rv != 0 ? rv : env->ops->dir_sync(env, dir, err);
    rv = rv != 0 ? rv : node_file_write(env, dir, "node.toml", bnd_slice_str(text), err);
    OPENSSL_cleanse(key, sizeof key);
    return rv;
}

void node_identity_free(struct node_identity *identity) {
    if (identity->node_key.data != NULL) {
        OPENSSL_cleanse(identity->node_key.data, identity->node_key.cap);
    }
    bnd_buf_free(&identity->ca_cert);
    bnd_buf_free(&identity->node_cert);
    bnd_buf_free(&identity->node_key);
    OPENSSL_cleanse(identity->cluster_key, sizeof identity->cluster_key);
}
