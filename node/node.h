/* A node: the composition root (architecture 2, 4). It makes every part, wires them, and takes them
 * down in order. */
#ifndef BND_NODE_NODE_H
#define BND_NODE_NODE_H

#include "base/env.h"
#include "node/config.h"
#include "node/genesis.h"

struct bnd_node;

/* Exit status of deliberate stops: disk, journal, a Raft case that is not covered. tools/up and
 * systemd restart. */
#define BND_NODE_EXIT_STOP 75

/* It is a member no more and stops; to start it again is of no use. tools/package's unit does not.
 */
#define BND_NODE_EXIT_FENCED 77

struct bnd_node_callbacks {
    void *data;
    /* The node serves; or, for a new cluster, was just set up: secrets to show once, else NULL. */
    void (*ready)(void *data, const struct node_genesis_secrets *secrets);
    /* Everything is closed, the node is gone. status: 0 after bnd_node_stop, else
     * BND_NODE_EXIT_STOP or BND_NODE_EXIT_FENCED with the reason in err; the process should exit
     * with it. */
    void (*stopped)(void *data, int status, const struct bnd_error *err);
};

/* The addresses of a node's ports, by the settings. */
struct bnd_node_addresses {
    char rest[BND_ADDRESS_MAX];
    char bindings[BND_ADDRESS_MAX];
    char s3[BND_ADDRESS_MAX];
    char peers[BND_ADDRESS_MAX];     /* listened on */
    char advertise[BND_ADDRESS_MAX]; /* told to others */
};
int bnd_node_addresses(const struct bnd_config *config, struct bnd_node_addresses *out,
                       struct bnd_error *err);

/* True if the data directory holds a node's identity (or the start of a new cluster). Blocking. */
bool bnd_node_is_member(struct bnd_env *env, const char *data);

/* Starts the node of config->data, whose directory holds an identity or is empty (then it makes a
 * new cluster; joining comes before, node/join.h). Blocking until journal and state are recovered;
 * then runs on env's loop. *out is owned by the callee until `stopped`. BND_LOCKED: a second
 * process; and what any part says, with its name. */
int bnd_node_start(struct bnd_env *env, const struct bnd_config *config,
                   const struct bnd_node_callbacks *callbacks, struct bnd_node **out,
                   struct bnd_error *err);

/* A clean stop: clients first, then leadership is handed over, groups, journal, state. Idempotent.
 */
void bnd_node_stop(struct bnd_node *node);

/* Reads the client ports' certificate again, and renews what nears its end (node/certificates.h).
 */
void bnd_node_reload(struct bnd_node *node);

#endif
