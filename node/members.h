/* What every member, node or gateway, keeps up with from view to view: connections to the others,
 * where they are after the next start, and its own address and zone in group 0. */
#ifndef BND_NODE_MEMBERS_H
#define BND_NODE_MEMBERS_H

#include "catalog/catalog.h"
#include "net/mesh_tcp.h"
#include "node/files.h"
#include "node/identity.h"
#include "raft/client.h"

struct node_members {
    struct bnd_env *env; /* all borrowed */
    const char *data;    /* the data directory */
    const char *advertise;
    const char *zone;
    const struct node_identity *identity;
    struct bnd_mesh_tcp *mesh;
    struct bnd_shard_client *client;
    struct bnd_catalog *catalog; /* set before the first view */
    /* private */
    bool told;
    struct node_kept peers;
    struct bnd_catalog_call call;
    struct bnd_timer retry;
};

/* Before the first view: connects to the members of the file `peers` and asks them for group 0;
 * without that file a node asks itself. Blocking. Errors of files; BND_CORRUPT. */
int node_members_load(struct node_members *members, struct bnd_error *err);

/* Without a fresh view: group 0 is asked for at this member, too, which has come by itself. */
void node_members_meet(struct node_members *members, uint64_t node);

/* Takes a new view: connects to who is in it and leaves who is gone, remembers the addresses, and
 * tells group 0 this member's own and its zone, once per start, if they changed. Gateways do not
 * connect to each other. Failures are logged. */
void node_members_update(struct node_members *members, const struct bnd_catalog_view *view);

/* Before the catalog goes. */
void node_members_close(struct node_members *members);

#endif
