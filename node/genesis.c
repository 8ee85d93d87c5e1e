#include "node/genesis.h"

#include "base/assert.h"
#include "node/files.h"
#include "placement/shard.h"

#include <openssl/crypto.h>
#include <string.h>

#define JOIN_TOKEN_LIFE_MS UINT64_C(86400000)
#define CALL_TIMEOUT_NS (30000 * BND_MS)
#define RETRY_NS (500 * BND_MS)

int node_genesis_identity(struct bnd_env *env, const struct bnd_config *config,
                          struct node_identity *out, struct bnd_error *err) {
    struct node_identity identity = {
        .node = 1, .shards = (uint32_t)config->shards, .role = BND_NODE_STORAGE};
    const char *dir = config->data;
    BND_AUTO_BUF struct bnd_buf ca_key = {0};
    BND_AUTO_BUF struct bnd_buf csr = {0};
    char certs[NODE_PATH_MAX];
    env->ops->random_secret(env, identity.cluster, sizeof identity.cluster);
    env->ops->random_secret(env, identity.cluster_key, sizeof identity.cluster_key);
    uint64_t now = bnd_wall_ms(env);
    struct bnd_pki_identity name = {.node = identity.node};
    memcpy(name.cluster, identity.cluster, sizeof name.cluster);
    int rv = bnd_pki_ca_create(identity.cluster, now, &identity.ca_cert, &ca_key, err);
    rv = rv != 0 ? rv : bnd_pki_key_create(&identity.node_key, err);
    rv = rv != 0 ? rv : bnd_pki_csr_create(bnd_buf_slice(&identity.node_key), &csr, err);
    if (rv == 0) {
        struct bnd_pki_ca ca = {bnd_buf_slice(&identity.ca_cert), bnd_buf_slice(&ca_key)};
        rv = bnd_pki_node_sign(&ca, bnd_buf_slice(&csr), &name, now, &identity.node_cert, err);
    }
    rv = rv != 0 ? rv : node_path(dir, "certs", certs, err);
    rv = rv != 0 ? rv : env->ops->dir_make(env, certs, err);
    rv = rv != 0 ? rv : node_file_write(env, certs, "ca.key", bnd_buf_slice(&ca_key), err);
    rv = rv != 0 ? rv : node_identity_save(env, dir, &identity, err);
    if (ca_key.data != NULL) {
        OPENSSL_cleanse(ca_key.data, ca_key.cap);
    }
    if (rv != 0) {
        node_identity_free(&identity);
        return rv;
    }
    *out = identity;
    return 0;
}

int node_genesis_pending(struct bnd_env *env, const char *dir, struct bnd_buf *out,
                         struct bnd_error *err) {
    return node_file_read(env, dir, "certs/ca.key", out, err);
}

int node_genesis_finish(struct bnd_env *env, const char *dir, struct bnd_error *err) {
    char certs[NODE_PATH_MAX];
    char path[NODE_PATH_MAX];
    int rv = node_path(dir, "certs", certs, err);
    rv = rv != 0 ? rv : node_path(certs, "ca.key", path, err);
    rv = rv != 0 ? rv : env->ops->unlink(env, path, err);
    return rv != 0 ? rv : env->ops->dir_sync(env, certs, err);
}

/* ---- the steps
 * ------------------------------------------------------------------------------------------ */

enum step { STEP_INIT, STEP_TOKEN, STEP_KEY, STEP_JOIN, STEP_DONE };
static const char *const step_names[] = {"cluster settings", "admin token", "S3 key", "join token",
                                         "done"};

static int encode_init(struct node_genesis *genesis, struct bnd_buf *settings_bytes,
                       struct bnd_buf *node_bytes) {
    BND_AUTO_BUF struct bnd_buf sealed = {0};
    BND_AUTO_BUF struct bnd_buf csr = {0};
    uint8_t key_hash[BND_PKI_FINGERPRINT_BYTES];
    char account[2 * BND_PKI_CLUSTER_BYTES + 1];
    const struct node_identity *identity = genesis->identity;
    bnd_hex_encode(identity->cluster, sizeof identity->cluster, account);
    int rv = bnd_seal(genesis->env, identity->cluster_key, genesis->ca_key, &sealed);
    rv = rv != 0 ? rv : bnd_pki_csr_create(bnd_buf_slice(&identity->node_key), &csr, NULL);
    rv = rv != 0 ? rv : bnd_pki_csr_fingerprint(bnd_buf_slice(&csr), key_hash, NULL);
    if (rv != 0) {
        return rv;
    }
    struct bnd_settings settings = {
        .cluster_id = node_cluster_number(identity->cluster),
        .shards = identity->shards,
        .hash_version = BND_SHARD_HASH_VERSION,
        .replicas = (uint32_t)genesis->config->replicas,
        .account = bnd_slice_str(account),
        .ca_cert = bnd_buf_slice(&identity->ca_cert),
        .ca_key = bnd_buf_slice(&sealed),
        .ca_generation = 1,
    };
    struct bnd_node_record node = {
        .id = identity->node,
        .state = BND_NODE_ACTIVE,
        .role = BND_NODE_STORAGE,
        .weight = 100,
        .address = bnd_slice_str(genesis->peer_address),
        .zone = bnd_slice_str(genesis->config->zone),
        .key_hash = bnd_slice(key_hash, sizeof key_hash),
    };
    bnd_settings_encode(settings_bytes, &settings);
    bnd_node_encode(node_bytes, &node);
    return settings_bytes->failed || node_bytes->failed ? BND_NOMEM : 0;
}

static int encode_join(struct node_genesis *genesis, struct bnd_join_token *token,
                       struct bnd_buf *record) {
    int rv = bnd_join_token_make(genesis->env, bnd_buf_slice(&genesis->identity->ca_cert), token);
    if (rv == 0) {
        bnd_issue_join(bnd_slice_str(token->secret), bnd_wall_ms(genesis->env) + JOIN_TOKEN_LIFE_MS,
                       record);
        bnd_join_token_text(token, genesis->secrets.join);
    }
    return rv;
}

/* Sends the command of the current step; a step begun again makes new secrets. */
static int send_step(struct node_genesis *genesis) {
    BND_AUTO_BUF struct bnd_buf a = {0};
    BND_AUTO_BUF struct bnd_buf b = {0};
    struct bnd_join_token join;
    struct bnd_catalog_command command = {0};
    struct node_genesis_secrets *secrets = &genesis->secrets;
    char token_id[BND_TOKEN_ID_TEXT];
    const struct bnd_issue_scope admin = {.permissions = BND_PERM_ALL,
                                          .label = bnd_slice_str("admin")};
    int rv = 0;
    switch ((enum step)genesis->step) {
    case STEP_INIT:
        command.op = BND_CATALOG_INIT;
        rv = encode_init(genesis, &a, &b);
        break;
    case STEP_TOKEN:
        command.op = BND_CATALOG_TOKEN_PUT;
        bnd_issue_token(genesis->env, &admin, &a, token_id, secrets->token);
        break;
    case STEP_KEY:
        command.op = BND_CATALOG_KEY_PUT;
        rv = bnd_issue_s3_key(genesis->env, genesis->identity->cluster_key, &admin, &a,
                              secrets->access_key, secrets->secret_key);
        break;
    case STEP_JOIN:
        command.op = BND_CATALOG_JOIN_TOKEN;
        rv = encode_join(genesis, &join, &b);
        bnd_buf_append(&a, join.id, sizeof join.id);
        break;
    case STEP_DONE:
        BND_UNREACHABLE("genesis step");
    }
    if (rv != 0 || a.failed || b.failed) {
        return rv != 0 ? rv : BND_NOMEM;
    }
    command.a = bnd_buf_slice(&a);
    command.b = bnd_buf_slice(&b);
    return bnd_catalog_write(genesis->catalog, &genesis->call, &command, CALL_TIMEOUT_NS);
}

static void begin_step(struct node_genesis *genesis);

static void on_retry(struct bnd_timer *timer) {
    begin_step(timer->data);
}

static void retry_later(struct node_genesis *genesis) {
    genesis->retry.cb = on_retry;
    genesis->retry.data = genesis;
    bnd_timer_start(genesis->env, &genesis->retry, RETRY_NS);
}

static void on_step(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct node_genesis *genesis = call->data;
    bool settled = status == 0 || (genesis->step == STEP_INIT && status == BND_EXISTS);
    enum bnd_class class = bnd_code_class(status);
    if (settled) {
        genesis->step++;
    }
    if (settled && genesis->step != STEP_DONE) {
        begin_step(genesis);
    } else if (settled) {
        genesis->done(genesis, 0, step_names[STEP_DONE]);
    } else if (class == BND_CLASS_RETRY || class == BND_CLASS_UNKNOWN) {
        retry_later(genesis);
    } else {
        genesis->done(genesis, status, step_names[genesis->step]);
    }
}

static void begin_step(struct node_genesis *genesis) {
    genesis->call.cb = on_step;
    genesis->call.data = genesis;
    if (send_step(genesis) != 0) {
        retry_later(genesis);
    }
}

/* ---- the groups
 * ----------------------------------------------------------------------------------------- */

static void groups_made(struct node_genesis *genesis) {
    BND_ASSERT(genesis->making > 0);
    genesis->making--;
    if (genesis->making == 0) {
        genesis->step = STEP_INIT;
        begin_step(genesis);
    }
}

static void on_group_made(void *data, int status) {
    struct node_genesis *genesis = data;
    if (status != 0) {
        genesis->done(genesis, status, "making the groups");
    } else {
        groups_made(genesis);
    }
}

static int make_group(struct node_genesis *genesis, uint64_t gid) {
    struct bnd_raft_member self = {.node = genesis->identity->node, .role = BND_RAFT_VOTER};
    int rv = bnd_raft_group_bootstrap(genesis->host, gid, &self, 1, on_group_made, genesis);
    if (rv == 0) {
        genesis->making++;
    }
    return rv == BND_EXISTS ? 0 : rv;
}

int node_genesis_run(struct node_genesis *genesis, struct bnd_error *err) {
    genesis->making = 1; /* until all are asked for */
    int rv = make_group(genesis, BND_GID_SYSTEM);
    for (uint32_t shard = 0; rv == 0 && shard < genesis->identity->shards; shard++) {
        rv = make_group(genesis, bnd_gid(BND_GROUP_OBJECTS, shard));
    }
    if (rv != 0) {
        return bnd_error_set(err, rv, "making the groups of a new cluster: %s", bnd_code_text(rv));
    }
    groups_made(genesis);
    return 0;
}

void node_genesis_cancel(struct node_genesis *genesis) {
    bnd_timer_stop(genesis->env, &genesis->retry);
    bnd_catalog_cancel(&genesis->call);
}
