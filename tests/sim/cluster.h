/* A cluster of real Raft hosts over the simulated world: its machines, their lives, and what is
 * watched in them.
 *
 * Each machine has a disk, a store and a clock that outlive its processes. Everything the hosts do
 * is told to a ledger per group; white-box watchers (tests/sim/watch.c) look at every core after
 * every pass of its loop and at every Raft message at its sending. */
#ifndef BND_TESTS_SIM_CLUSTER_H
#define BND_TESTS_SIM_CLUSTER_H

#include "raft/host.h"
#include "tests/sim/history.h"
#include "tests/sim/kv_fsm.h"
#include "tests/sim/ledger.h"
#include "tests/sim/logbook.h"
#include "tests/sim/machine.h"
#include "tests/sim/mesh.h"

#define BND_SIM_NODES_MAX 8 /* ids; none is used twice */
#define BND_SIM_FOUNDERS_MAX 5
#define BND_SIM_GROUPS_MAX 3
#define BND_SIM_ACKS_MAX 64

struct bnd_sim_cluster;
struct bnd_sim_node;

/* Who should be in a group. Version 0: nothing is known. */
struct bnd_sim_want {
    uint64_t version;
    struct bnd_raft_member members[BND_SIM_NODES_MAX];
    size_t count;
};

/* What a core looked like after the last pass. */
struct bnd_sim_seen {
    bool valid;
    bool leader;
    bool ready;
    uint64_t term;
    uint64_t following; /* 0: nobody */
    uint64_t commit;
    uint64_t last_index;
    uint64_t last_term;
    uint64_t first_index;
    uint64_t configuration_index;
    bool configuration_committed;
    uint64_t ops_last;
    uint64_t installs;
    uint64_t
        orphan_since_ns; /* it does not vote, and has named a leader that is none since; 0: no */
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

struct bnd_sim_node {
    struct bnd_sim_machine base;
    struct bnd_sim_cluster *cluster;
    uint64_t id;
    bool exists; /* takes part: not yet, or lost for good, if not */
    struct bnd_error fatal_why;
    struct bnd_raft_host *host;
    struct bnd_hook hook;
    struct bnd_sim_replica replicas[BND_SIM_GROUPS_MAX];
    struct bnd_sim_ack acks[BND_SIM_ACKS_MAX];
    size_t acks_count;
    uint64_t installs; /* of this life */
    size_t log_bytes_max;
    struct bnd_sim_want known[BND_SIM_GROUPS_MAX];
    struct bnd_sim_event learn;
    bool learning;
};

/* A candidate asked for votes, with a log that ends there. */
struct bnd_sim_request {
    uint64_t candidate, term, last_index, last_term;
};

struct bnd_sim_group {
    uint64_t gid;
    struct bnd_sim_ledger ledger;
    struct bnd_sim_history history;
    struct bnd_sim_logbook logbook;
    struct bnd_sim_want want;
    struct {
        uint64_t voter, term, candidate;
    } * votes;
    size_t votes_count, votes_cap;
    struct bnd_sim_request *requests;
    size_t requests_count, requests_cap;
};

/* What a run must have done to count. */
struct bnd_sim_counts {
    uint64_t elections, truncations, crashes, fatals;
    uint64_t installs;   /* of states beyond the log */
    uint64_t joins;      /* voters added, as committed */
    uint64_t removals;   /* members removed, as committed */
    uint64_t departures; /* replicas destroyed after that */
    uint64_t rollbacks;  /* stops because of a configuration entry that was rolled back (G4) */
    uint64_t losses;     /* machines lost for good */
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
    uint64_t wishes_after_ns; /* members stay as they are until then */
    /* A life ended: its answers will not come. */
    void (*died)(void *data, struct bnd_sim_node *node);
    void *died_data;
};

struct bnd_sim_cluster_config {
    uint64_t seed;
    uint32_t guards;
    bool verbose;
    size_t nodes;  /* that make the cluster, all voters: 1, 3 or 5 */
    size_t spares; /* more machines, in no group at first */
    size_t groups;
    struct bnd_raft_host_config host; /* bounds only */
    size_t log_bytes_max;             /* of about every other machine; 0: the host's default */
    unsigned slow_disks_per_mille;    /* of the machines: writes take up to 40 ms */
};

/* Makes the machines, starts the first `nodes` and bootstraps the groups on them (runs the world
 * until done). */
struct bnd_sim_cluster *bnd_sim_cluster_create(const struct bnd_sim_cluster_config *config);
/* Ends every life by a crash and frees. */
void bnd_sim_cluster_destroy(struct bnd_sim_cluster *cluster);

/* Starts a machine's next life.  */
void bnd_sim_node_start(struct bnd_sim_node *node);
void bnd_sim_node_crash(struct bnd_sim_node *node, enum bnd_sim_crash kind);
/* Begins a clean stop; life becomes DOWN by itself. */
void bnd_sim_node_stop(struct bnd_sim_node *node);

/* Compares the states of all replicas of a settled group. */
void bnd_sim_cluster_compare(struct bnd_sim_cluster *cluster, size_t group);

/* watch.c */
void bnd_sim_watch_pass(struct bnd_sim_node *node);
bool bnd_sim_watch_message(void *cluster, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                           struct bnd_slice message);

#endif
