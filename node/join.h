/* Joining a cluster: a new node's side (architecture 2, 5).
 *
 * The node's key is on disk before it is shown to anybody (certs/join.key), because the token
 * belongs to the first key that redeems it: a start after a crash asks again with the same key and
 * gets the same id. */
#ifndef BND_NODE_JOIN_H
#define BND_NODE_JOIN_H

#include "net/mesh_tcp.h"
#include "node/config.h"
#include "node/identity.h"

struct node_join;

/* status 0: the identity is saved in the data directory, and so are the peers' addresses. Else err
 * says what refused: each member asked, and why. The join is gone after it. */
typedef void (*node_join_done_cb)(void *data, int status, const struct bnd_error *err);

struct node_join_options {
    struct bnd_env *env;
    const struct bnd_config *config; /* data, join, token, zone; borrowed until done */
    const char *peer_address;        /* "host:port" that members will reach this node by */
    enum bnd_node_role role;         /* what to join as */
    node_join_done_cb done;
    void *data;
};

/* Asks the members of config->join in turn, several times over, for at most a minute. BND_INVALID:
 * the token is none; errors of files. */
int node_join_start(const struct node_join_options *options, struct node_join **out,
                    struct bnd_error *err);

#endif
