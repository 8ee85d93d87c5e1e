/* A cluster of real SQL nodes over the simulated world: Raft hosts with groups of kind SQL, shard
 * clients and bnd_sql on every machine, and a gateway that stores nothing. What group 0 and the
 * shard map are to real nodes is decided here in one place (membership, as tests/sim/membership.h);
 * databases have no names, their uuids are known.
 *
 * A machine has a disk, a store and a clock that outlive its processes. */
#ifndef BND_TESTS_SIM_SQL_CLUSTER_H
#define BND_TESTS_SIM_SQL_CLUSTER_H

#include "raft/client.h"
#include "raft/host.h"
#include "sql/sql.h"
#include "tests/sim/check.h"
#include "tests/sim/machine.h"
#include "tests/sim/mesh.h"

#define SIMSQL_MACHINES_MAX 6 /* the last one is the gateway */
#define SIMSQL_SHARDS 2
#define SIMSQL_SECOND (1000 * BND_MS)

struct simsql_cluster;

struct simsql_want {
    uint64_t version; /* 0: nothing is known */
    struct bnd_raft_member members[SIMSQL_MACHINES_MAX];
    size_t count;
};

struct simsql_machine {
    struct bnd_sim_machine base;
    struct simsql_cluster *cluster;
    uint64_t id; /* place + 1 */
    bool gateway;
    bool lost; /* for good, with its disk */
    struct bnd_raft_host *host;
    struct bnd_shard_client *client;
    struct bnd_sql *sql;
    struct simsql_want known[SIMSQL_SHARDS];
    struct bnd_sim_event learn;
    bool learning;
    bool led[SIMSQL_SHARDS];
    struct bnd_sql_stats seen; /* of this life, already counted */
    uint64_t installs_seen;
};

/* What a command did, the same on every replica. */
struct simsql_applied {
    uint64_t index;
    uint32_t position;
    uint64_t hash; /* of command, status and reply */
};

struct simsql_group {
    uint64_t gid;
    struct simsql_want want;
    struct simsql_applied *applied; /* rising */
    size_t applied_count, applied_cap;
};

/* What a batch must have done to count. */
struct simsql_counts {
    uint64_t transactions, reads, failures, conflicts, entries, crashes, fatals, elections,
        installs, wishes, departures, restores, restores_under_load, forks, follower_reads,
        index_reads, refused, unknown, cutoffs, collected, too_old, imports, imports_failed,
        abandoned, exports, locked, times, deletions, parts, losses;
};

struct simsql_cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct bnd_sim_rng rng; /* of the faults */
    struct bnd_sim_check check;
    struct simsql_counts counts;
    struct bnd_raft_host_config config; /* bounds */
    uint32_t rules_off;
    uint64_t keep_ms;      /* 0: for ever */
    uint32_t cut_at_bytes; /* of change sets; 0: only large ones are */
    bool jumped;           /* a clock was far off: a group of few may have followed it */
    bool verbose;
    struct simsql_machine machines[SIMSQL_MACHINES_MAX];
    size_t nodes_count; /* that store: the first ones */
    struct simsql_group groups[SIMSQL_SHARDS];
    /* A life ended: its answers will not come. */
    void (*died)(void *data, struct simsql_machine *machine);
    void *died_data;
};

struct simsql_config {
    uint64_t seed;
    uint32_t rules_off;
    bool verbose;
};

/* Draws the shape from the seed, makes and starts the machines, founds the groups. */
struct simsql_cluster *simsql_cluster_create(const struct simsql_config *config);
void simsql_cluster_destroy(struct simsql_cluster *cluster);

static inline uint64_t simsql_now_ns(const struct simsql_cluster *cluster) {
    return bnd_sim_world_now_ns(cluster->world);
}

/* What a clock that is right has, since the beginning. */
static inline uint64_t simsql_right_ms(const struct simsql_cluster *cluster) {
    return simsql_now_ns(cluster) / BND_MS + bnd_sim_world_passed_ms(cluster->world);
}

void simsql_start(struct simsql_machine *machine);
void simsql_crash(struct simsql_machine *machine, enum bnd_sim_crash kind);
/* Begins a clean stop; life becomes DOWN by itself. */
void simsql_stop(struct simsql_machine *machine);
/* Adds what the machine's present life has done to the counts. */
void simsql_count(struct simsql_machine *machine);

/* Wishes other members for a drawn group. */
void simsql_wish(struct simsql_cluster *cluster);
/* Loses a drawn machine for good, with its disk, if all is well enough for it; another one may join
 * for it. False: not now. */
bool simsql_lose(struct simsql_cluster *cluster);
/* True if every group has a ready leader, its members are as wanted, and every wanted node has
 * applied all of it. */
bool simsql_settled(const struct simsql_cluster *cluster);
/* Compares the states of all replicas of settled groups. */
void simsql_compare(struct simsql_cluster *cluster);
/* Compares the pages of a database at its versions, as the replicas of its settled group read them:
 * every `step`-th version, and the newest. */
void simsql_compare_pages(struct simsql_cluster *cluster, const uint8_t uuid[BND_SQL_UUID_BYTES],
                          uint64_t step);

#endif
