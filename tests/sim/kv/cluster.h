/* A cluster of real KV nodes over the simulated world: its machines and their lives, an oracle in
 * the place of group 0 (oracle.h), and what is counted.
 *
 * A machine has a disk, a store and a clock that outlive its processes, and a node id that lasts
 * until the machine is wiped: then it is a new node in the same place. */
#ifndef BND_TESTS_SIM_KV_CLUSTER_H
#define BND_TESTS_SIM_KV_CLUSTER_H

#include "engine/journal/journal.h"
#include "kv/kv.h"
#include "tests/sim/check.h"
#include "tests/sim/machine.h"
#include "tests/sim/mesh.h"

#define SIMKV_MACHINES_MAX 5
#define SIMKV_SHARDS_MAX 4
#define SIMKV_NAMESPACES_MAX 4
#define SIMKV_NAMESPACE_IDS 12 /* ids are below */
#define SIMKV_SECOND (1000 * BND_MS)

struct simkv_cluster;
struct simkv_history;

/* What group 0 says: a bnd_kv_view with its memory. */
struct simkv_view {
    uint64_t revision;
    struct bnd_kv_shard shards[SIMKV_SHARDS_MAX];
    struct bnd_kv_namespace namespaces[SIMKV_NAMESPACES_MAX];
    size_t namespaces_count;
    uint64_t namespace_next;
};

struct simkv_machine {
    struct bnd_sim_machine base;
    struct simkv_cluster *cluster;
    size_t place;      /* in cluster->machines */
    uint64_t id;       /* of the node; another one after a wipe */
    bool weighs;       /* replicas are placed here */
    uint64_t place_id; /* what it is placed by */
    uint64_t away_until_ns;   /* kept down, or cut off, until then */
    uint64_t silent_since_ns; /* to the planner; 0: it is heard of */
    bool clock_fit;           /* as of the last look */
    struct bnd_journal *journal;
    struct bnd_kv *kv;
    struct bnd_hook hook;
    /* of group 0: one question at a time */
    struct bnd_sim_event poll, answer;
    bool asking, ask_again;
    uint64_t asked_ns, confirmed_ns;
    struct simkv_view told; /* under way */
    struct simkv_view known;
    struct bnd_kv_stats seen; /* of this life, already counted */
};

/* What a batch must have done to count. */
struct simkv_counts {
    uint64_t puts, gets, lists, large, restamped, exchanges, moves, fills, left_out, collected,
        tombstones, wipes, wiped_shards, crashes, fatals, local, refused, aways;
};

struct simkv_cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct bnd_sim_rng rng; /* of the faults */
    struct bnd_sim_check check;
    struct simkv_counts counts;
    uint32_t rules_off;
    size_t small_bytes; /* of bnd_kv_config: every second seed's scans wait for threads */
    bool verbose;
    struct simkv_machine machines[SIMKV_MACHINES_MAX];
    size_t machines_count;
    bool cut[SIMKV_MACHINES_MAX][SIMKV_MACHINES_MAX]; /* from, to */
    uint64_t next_id;
    /* the oracle */
    struct simkv_view view;
    uint32_t shards_count;
    size_t replicas; /* wanted */
    uint64_t horizon_age_ms, horizon_every_ms, absent_ms;
    unsigned lossy_per_mille; /* of what is told to group 0 */
    struct bnd_timer planner;
    struct bnd_link tells;
    bool calm; /* faults are over */
    uint64_t calm_since_ns;
    /* A life ended: its answers will not come. */
    void (*died)(void *data, struct simkv_machine *machine);
    void *died_data;
};

struct simkv_config {
    uint64_t seed;
    uint32_t rules_off;
    bool verbose;
};

/* Draws the shape from the seed, makes and starts the machines. */
struct simkv_cluster *simkv_cluster_create(const struct simkv_config *config);
/* Ends every life by a crash and frees. */
void simkv_cluster_destroy(struct simkv_cluster *cluster);

void simkv_start(struct simkv_machine *machine);
void simkv_crash(struct simkv_machine *machine, enum bnd_sim_crash kind);
/* Begins a clean stop; life becomes DOWN by itself. */
void simkv_stop(struct simkv_machine *machine);
/* Down, and its disk is lost: the next life is a new node's, with an empty disk. */
void simkv_wipe(struct simkv_machine *machine);

/* One direction, also in what reaches group 0. */
void simkv_cut(struct simkv_cluster *cluster, size_t from, size_t to, bool noticed);
void simkv_isolate(struct simkv_cluster *cluster, size_t place, bool noticed);
void simkv_heal_net(struct simkv_cluster *cluster);
static inline bool simkv_linked(const struct simkv_cluster *cluster, size_t a, size_t b) {
    return a == b || (!cluster->cut[a][b] && !cluster->cut[b][a]);
}
/* NULL: nobody has this id any more. */
struct simkv_machine *simkv_machine_of(struct simkv_cluster *cluster, uint64_t id);
static inline uint64_t simkv_now_ns(const struct simkv_cluster *cluster) {
    return bnd_sim_world_now_ns(cluster->world);
}
/* What an exact clock reads. */
static inline uint64_t simkv_wall_ms(const struct simkv_cluster *cluster) {
    return bnd_sim_wall_ms(cluster->world, NULL);
}
/* Adds what the life has done since the last time. */
void simkv_count(struct simkv_machine *machine);

#endif
