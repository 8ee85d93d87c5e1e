/* The first node of a new cluster makes it: identity and CA, the groups, group 0's first entry, the
 * first credentials.
 *
 * Every step can be cut by a crash and is finished by the next start: certs/ca.key exists from
 * before the identity until the cluster is set up and its credentials were printed; a start that
 * finds it goes on from there (credentials are then made anew, since the lost ones were never
 * shown). */
#ifndef BND_NODE_GENESIS_H
#define BND_NODE_GENESIS_H

#include "catalog/catalog.h"
#include "catalog/issue.h"
#include "node/config.h"
#include "node/identity.h"
#include "node/join_message.h"
#include "raft/host.h"

/* Makes the identity of node 1 of a new cluster and saves it in dir, the CA's key first. Blocking.
 */
int node_genesis_identity(struct bnd_env *env, const struct bnd_config *config,
                          struct node_identity *out, struct bnd_error *err);

/* Reads the CA key of a genesis under way into *out. BND_NOTFOUND: there is none (the cluster is
 * set up). */
int node_genesis_pending(struct bnd_env *env, const char *dir, struct bnd_buf *out,
                         struct bnd_error *err);

/* What the operator is shown, once. */
struct node_genesis_secrets {
    char token[BND_TOKEN_TEXT_LEN + 1];
    char access_key[BND_ACCESS_KEY_TEXT];
    char secret_key[BND_SECRET_KEY_TEXT];
    char join[BND_JOIN_TOKEN_TEXT];
};

struct node_genesis {
    struct bnd_env *env;
    struct bnd_raft_host *host;
    struct bnd_catalog *catalog;
    const struct bnd_config *config;
    const struct node_identity *identity;
    const char *peer_address;
    struct bnd_slice ca_key; /* PEM; borrowed until done */
    /* The cluster is set up; or why not (the node stops and a later start goes on). */
    void (*done)(struct node_genesis *genesis, int status, const char *step);
    void *data;
    struct node_genesis_secrets secrets; /* filled when done with 0; the caller wipes them */
    /* private */
    size_t making; /* groups that are not durable yet */
    struct bnd_catalog_call call;
    struct bnd_timer retry;
    int step;
};

/* Makes the groups, of one voter each, those that an earlier start has not made; then runs the
 * steps, each a command to group 0, which may still be electing. Errors of
 * bnd_raft_group_bootstrap: done does not come. */
int node_genesis_run(struct node_genesis *genesis, struct bnd_error *err);
void node_genesis_cancel(struct node_genesis *genesis);

/* Removes certs/ca.key: the cluster is set up and its credentials were shown. Blocking. */
int node_genesis_finish(struct bnd_env *env, const char *dir, struct bnd_error *err);

#endif
