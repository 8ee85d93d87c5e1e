/* A cluster of real Raft hosts over the simulated world: its machines, their lives, and what is watched in them.
 *
 * Each machine has a disk, a store and a clock that outlive its processes. Everything the hosts do is told to a
 * ledger per group; white-box watchers (tests/sim/watch.c) look at every core after every pass of its loop and
 * at every Raft message at its sending. */
#ifndef BND_TESTS_SIM_CLUSTER_H
#define BND_TESTS_SIM_CLUSTER_H

#include "net/rpc.h"
#include "raft/host.h"
#include "tests/sim/env.h"
#include "tests/sim/history.h"
#include "tests/sim/kv_fsm.h"
#include "tests/sim/ledger.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"

#define BND_SIM_NODES_MAX 5
#define BND_SIM_GROUPS_MAX 3
#define BND_SIM_ACKS_MAX 64

struct bnd_sim_cluster;
struct bnd_sim_node;

/* What a core looked like after the last pass. */
struct bnd_sim_seen {
    bool valid;
    bool leader;
    bool ready;
    uint64_t term;
    uint64_t commit;
    uint64_t last_index;
    uint64_t last_term;
    uint64_t configuration_index;
    uint64_t ops_last;
};

/* A positive answer to AppendEntries that left in this pass. */
struct bnd_sim_ack {
    uint64_t gid, term, index;
};

struct bnd_sim_replica {
    struct bnd_sim_node *node;
    uint64_t gid;
    struct kv_observer observer;
    struct bnd_fsm fsm; /* of the present life; for reads */
    struct bnd_sim_seen seen;
};

enum bnd_sim_life { BND_SIM_DOWN, BND_SIM_UP, BND_SIM_CLOSING, BND_SIM_CLOSED };

struct bnd_sim_node {
    struct bnd_sim_cluster *cluster;
    uint64_t id;
    bool exists; /* takes part in this seed */
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_clock clock;
    enum bnd_sim_life life;
    uint64_t lives;
    bool disk_failed; /* an error was injected in this life: a fatal stop is right */
    bool fatal;
    struct bnd_error fatal_why;
    struct bnd_sim_env *env;
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_raft_host *host;
    struct bnd_hook hook;
    struct bnd_timer reaper; /* in the world: ends a life that stopped itself */
    struct bnd_sim_replica replicas[BND_SIM_GROUPS_MAX];
    struct bnd_sim_ack acks[BND_SIM_ACKS_MAX];
    size_t acks_count;
};

struct bnd_sim_group {
    uint64_t gid;
    struct bnd_sim_ledger ledger;
    struct bnd_sim_history history;
    struct bnd_raft_member want[BND_SIM_NODES_MAX];
    size_t want_count;
    struct {
        uint64_t voter, term, candidate;
    } *votes;
    size_t votes_count, votes_cap;
};

/* What a run must have done to count. */
struct bnd_sim_counts {
    uint64_t elections, truncations, installs, joins, removals, crashes, fatals;
};

struct bnd_sim_cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct bnd_sim_rng rng; /* of the faults */
    struct bnd_sim_check check;
    struct bnd_sim_counts counts;
    struct bnd_raft_host_config config; /* bounds; 0: the host's default */
    uint32_t guards;
    bool verbose;
    struct bnd_sim_node nodes[BND_SIM_NODES_MAX]; /* node id - 1 */
    struct bnd_sim_group groups[BND_SIM_GROUPS_MAX];
    size_t groups_count;
    /* A life ended: its answers will not come. */
    void (*died)(void *data, struct bnd_sim_node *node);
    void *died_data;
};

struct bnd_sim_cluster_config {
    uint64_t seed;
    uint32_t guards;
    bool verbose;
    size_t nodes;  /* that make the cluster, all voters: 1, 3 or 5 */
    size_t groups;
    struct bnd_raft_host_config host; /* bounds only */
};

/* Makes the machines, starts the first `nodes` and bootstraps the groups on them (runs the world until done). */
struct bnd_sim_cluster *bnd_sim_cluster_create(const struct bnd_sim_cluster_config *config);
/* Ends every life by a crash and frees. */
void bnd_sim_cluster_destroy(struct bnd_sim_cluster *cluster);

/* Starts a machine's next life.  */
void bnd_sim_node_start(struct bnd_sim_node *node);
void bnd_sim_node_crash(struct bnd_sim_node *node, enum bnd_sim_crash kind);
/* Begins a clean stop; life becomes DOWN by itself. */
void bnd_sim_node_stop(struct bnd_sim_node *node);

/* True if the group has a ready leader, exactly the wanted members as voters, and every wanted node is up and has
 * applied all that is committed. */
bool bnd_sim_cluster_settled(struct bnd_sim_cluster *cluster, size_t group);
/* Compares the states of all replicas of a settled group. */
void bnd_sim_cluster_compare(struct bnd_sim_cluster *cluster, size_t group);

/* watch.c */
void bnd_sim_watch_pass(struct bnd_sim_node *node);
bool bnd_sim_watch_message(void *cluster, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                           struct bnd_slice message);

#endif
