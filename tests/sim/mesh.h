/* The simulated network: `struct bnd_mesh` for each node over seeded delay, loss and cuts.
 *
 * Keeps net/mesh.h's promise and no more: at most once, in order per (sender, receiver, lane) while
 * a connection lasts. Messages of different links, lanes and connections overtake each other
 * freely. A connection comes up some time after both ends live and no cut lies between them; a cut
 * or a dead end is noticed only after a drawn while (or, for some cuts, never), and messages sent
 * until then are lost. */
#ifndef BND_TESTS_SIM_MESH_H
#define BND_TESTS_SIM_MESH_H

#include "net/mesh.h"
#include "tests/sim/env.h"

#define BND_SIM_NET_NODES 16
#define BND_SIM_NET_QUEUE_BYTES                                                                    \
    (32u << 20) /* per link and lane, not yet delivered; above it BND_FULL */

struct bnd_sim_net;

/* Delays are drawn from [min, max], `slow_per_mille` of them from [min, slow]. The default is 0.1
 * to 5 ms, 20 per mille up to 200 ms, loss 5 per mille, never full. */
struct bnd_sim_net_config {
    uint64_t delay_ns_min;
    uint64_t delay_ns_max;
    uint64_t delay_ns_slow;
    unsigned slow_per_mille;
    unsigned loss_per_mille;
    unsigned full_per_mille; /* sends that are answered BND_FULL */
    uint64_t connect_ns_max; /* a connection is made within so long */
    uint64_t notice_ns_max;  /* a broken one is noticed within so long */
};
void bnd_sim_net_config_default(struct bnd_sim_net_config *config);

/* config is copied; NULL: the default. */
struct bnd_sim_net *bnd_sim_net_create(struct bnd_sim_world *world,
                                       const struct bnd_sim_net_config *config);
/* Every node must be detached (its env ended). NULL allowed. */
void bnd_sim_net_destroy(struct bnd_sim_net *net);
void bnd_sim_net_configure(struct bnd_sim_net *net, const struct bnd_sim_net_config *config);

/* Puts an incarnation on the network under its env's node id; it leaves when the env ends. The mesh
 * is borrowed until then. At most BND_SIM_NET_NODES different ids. */
struct bnd_mesh *bnd_sim_net_attach(struct bnd_sim_net *net, struct bnd_sim_env *env);
/* Leaves before the env ends (a node's clean stop): the mesh is gone. */
void bnd_sim_net_detach(struct bnd_mesh *mesh);

/* Cuts or heals one direction. What is under way in it is lost. `noticed`: whether the connection
 * breaks by it; else messages in that direction vanish silently. */
void bnd_sim_net_cut(struct bnd_sim_net *net, uint64_t from, uint64_t to, bool cut, bool noticed);
/* Cuts both directions between the node and every other. */
void bnd_sim_net_isolate(struct bnd_sim_net *net, uint64_t node, bool noticed);
void bnd_sim_net_heal(struct bnd_sim_net *net); /* all cuts */

/* Sees every message at its sending and may drop it: for tests that aim. NULL: none. */
void bnd_sim_net_filter(struct bnd_sim_net *net,
                        bool (*passes)(void *data, uint64_t from, uint64_t to,
                                       enum bnd_mesh_kind kind, struct bnd_slice message),
                        void *data);

struct bnd_sim_net_stats {
    uint64_t sent, delivered, lost, connections;
};
void bnd_sim_net_stats(const struct bnd_sim_net *net, struct bnd_sim_net_stats *out);

#endif
