/* Invariants: (1) a node has an env, and what hangs on it, exactly while its life is not DOWN; (2)
 * a life that ends other than by a clean close is ended between events of the world, never from
 * inside its own callbacks. */
#include "tests/sim/cluster.h"

#include "base/assert.h"
#include "base/hash.h"
#include "tests/sim/membership.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>

#define SECOND (1000 * BND_MS)

/* ---- what hosts ask and tell
 * ------------------------------------------------------------------------ */

static void on_applied(void *owner, const struct kv_applied *applied) {
    struct bnd_sim_replica *replica = owner;
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    struct bnd_sim_applied told = {.index = applied->index,
                                   .position = applied->position,
                                   .term = applied->term,
                                   .command = applied->command,
                                   .status = applied->status,
                                   .hash = applied->hash};
    bnd_sim_trace(cluster->world, "appl", replica->node->id << 32 | replica->gid, applied->index,
                  applied->command);
    bnd_sim_ledger_applied(&cluster->groups[replica->gid - 1].ledger, replica->node->id, &told);
}

static int on_fsm_make(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err) {
    struct bnd_sim_node *node = owner;
    struct bnd_sim_replica *replica = &node->replicas[gid - 1];
    if (kv_fsm_make(&replica->observer, out) != 0) {
        return BND_FAIL(err, NOMEM, "no memory for a state machine");
    }
    replica->fsm = *out;
    return 0;
}

static bool on_group_wanted(void *owner, uint64_t gid, uint64_t from) {
    (void)from; /* as node/node.c: only the node's own map counts */
    return bnd_sim_membership_knows(owner, gid);
}

/* A third of the time a node lacks something of a group, as after a move; not for long. */
static bool on_holds_all(void *owner, uint64_t gid, uint64_t node) {
    const struct bnd_sim_node *asker = owner;
    uint64_t half_second = bnd_sim_world_now_ns(asker->cluster->world) / (500 * BND_MS);
    uint8_t bytes[8];
    bnd_put_u64(bytes, gid << 32 | node);
    return bnd_hash64(bnd_slice(bytes, sizeof bytes), half_second) % 3 != 0;
}

static void on_group_removed(void *owner, uint64_t gid) {
    struct bnd_sim_node *node = owner;
    node->cluster->counts.departures++;
    (void)bnd_raft_group_destroy(node->host, gid); /* a full journal: it is told again */
}

static void on_group_changed(void *owner, uint64_t gid) {
    struct bnd_sim_node *node = owner;
    bnd_sim_trace(node->cluster->world, "chan", node->id, gid, (struct bnd_slice){0});
}

static void on_fatal(void *owner, const struct bnd_error *why) {
    struct bnd_sim_node *node = owner;
    struct bnd_sim_cluster *cluster = node->cluster;
    node->fatal_why = *why;
    /* Rolling a configuration back is not handled in memory (B9, G4): a stop is the answer to it.
     */
    bool rollback = why->code == BND_UNSUPPORTED;
    cluster->counts.fatals++;
    cluster->counts.rollbacks += rollback;
    bnd_sim_machine_fatal(&node->base, why, rollback);
}

static void on_pass(struct bnd_hook *hook) {
    bnd_sim_watch_pass(hook->data);
}

/* ---- lives
 * ------------------------------------------------------------------------------------------ */

static void forget_life(struct bnd_sim_node *node) {
    struct bnd_sim_cluster *cluster = node->cluster;
    node->host = NULL;
    node->acks_count = 0;
    node->installs = 0;
    bnd_sim_membership_forget(node);
    for (size_t g = 0; g < BND_SIM_GROUPS_MAX; g++) {
        node->replicas[g].seen.valid = false;
    }
    if (cluster->died != NULL) {
        cluster->died(cluster->died_data, node);
    }
}

void bnd_sim_node_crash(struct bnd_sim_node *node, enum bnd_sim_crash kind) {
    if (node->base.life == BND_SIM_DOWN) {
        return;
    }
    node->cluster->counts.crashes++;
    bnd_sim_machine_crash(&node->base, kind);
    forget_life(node);
}

static void on_closed(void *data) {
    bnd_sim_machine_closed(&((struct bnd_sim_node *)data)->base);
}

static void on_retired(void *data) {
    struct bnd_sim_node *node = data;
    bnd_raft_host_close(node->host, on_closed, node);
}

/* As node/node.c: the leaderships first. */
void bnd_sim_node_stop(struct bnd_sim_node *node) {
    if (node->base.life != BND_SIM_UP || node->base.fatal) {
        return;
    }
    node->base.life = BND_SIM_CLOSING;
    bnd_sim_env_enter(node->base.env);
    bnd_raft_host_retire(node->host, on_retired, node);
    bnd_sim_env_leave(node->base.env);
}

static void on_reap(struct bnd_timer *timer) {
    struct bnd_sim_node *node = timer->data;
    if (node->base.fatal) {
        bnd_sim_node_crash(node, BND_SIM_KILL);
    } else if (node->base.life == BND_SIM_CLOSED) {
        bnd_sim_env_enter(node->base.env);
        bnd_sim_env(node->base.env)->ops->hook_remove(bnd_sim_env(node->base.env), &node->hook);
        bnd_sim_machine_end(&node->base);
        forget_life(node);
    }
}

void bnd_sim_node_start(struct bnd_sim_node *node) {
    struct bnd_sim_cluster *cluster = node->cluster;
    struct bnd_env *env = bnd_sim_machine_begin(&node->base, node->id);
    struct bnd_raft_host_config config = cluster->config;
    config.log_bytes_group_max = node->log_bytes_max;
    bnd_sim_machine_host(&node->base, &config);
    config.guards = cluster->guards;
    config.owner = node;
    config.fsm_make = on_fsm_make;
    config.group_wanted = on_group_wanted;
    config.group_changed = on_group_changed;
    config.group_removed = on_group_removed;
    config.holds_all = on_holds_all;
    config.fatal = on_fatal;
    struct bnd_error err = {0};
    int rv = bnd_raft_host_create(&config, &node->host, &err);
    if (rv == 0) {
        node->hook = (struct bnd_hook){.cb = on_pass, .data = node};
        env->ops->hook_add(env, &node->hook);
    }
    if (bnd_sim_machine_up(&node->base, rv, &err)) {
        bnd_sim_membership_start(node);
    } else {
        bnd_sim_node_crash(node, BND_SIM_KILL);
    }
}

/* ---- groups
 * ----------------------------------------------------------------------------------------- */

void bnd_sim_cluster_compare(struct bnd_sim_cluster *cluster, size_t g) {
    const struct bnd_sim_group *group = &cluster->groups[g];
    uint64_t first = 0;
    for (size_t i = 0; i < group->want.count; i++) {
        const struct bnd_sim_node *node = &cluster->nodes[group->want.members[i].node - 1];
        struct bnd_raft_group_status status;
        BND_ASSERT(bnd_raft_group_status(node->host, group->gid, &status) == 0);
        uint8_t from[4];
        uint8_t to[4];
        bnd_put_be32(from, status.slot);
        bnd_put_be32(to, status.slot + 1);
        uint64_t hash =
            bnd_sim_store_hash(node->base.store, false, bnd_slice(from, 4), bnd_slice(to, 4), 4);
        if (i == 0) {
            first = hash;
        } else if (hash != first) {
            bnd_sim_divergence(&cluster->check,
                               "group %" PRIu64 ": the settled states of nodes %" PRIu64
                               " and %" PRIu64 " differ",
                               group->gid, group->want.members[0].node, node->id);
        }
    }
}

static void on_bootstrapped(void *data, int status) {
    BND_ASSERT(status == 0);
    (*(size_t *)data)--;
}

static bool none_left(void *data) {
    return *(const size_t *)data == 0;
}

static void bootstrap(struct bnd_sim_cluster *cluster, size_t nodes) {
    size_t left = nodes * cluster->groups_count;
    bnd_sim_membership_found(cluster, nodes);
    for (size_t g = 0; g < cluster->groups_count; g++) {
        struct bnd_sim_group *group = &cluster->groups[g];
        for (size_t n = 0; n < nodes; n++) {
            struct bnd_sim_node *node = &cluster->nodes[n];
            bnd_sim_env_enter(node->base.env);
            BND_ASSERT(bnd_raft_group_bootstrap(node->host, group->gid, group->want.members, nodes,
                                                on_bootstrapped, &left) == 0);
            bnd_sim_env_leave(node->base.env);
        }
    }
    BND_ASSERT(bnd_sim_run_until_true(cluster->world, none_left, &left, 60 * SECOND));
}

/* ---- the whole
 * -------------------------------------------------------------------------------------- */

static void node_make(struct bnd_sim_cluster *cluster, const struct bnd_sim_cluster_config *config,
                      size_t n) {
    struct bnd_sim_node *node = &cluster->nodes[n];
    node->cluster = cluster;
    node->id = n + 1;
    node->base.world = cluster->world;
    node->base.net = cluster->net;
    node->base.check = &cluster->check;
    bnd_sim_machine_make(&node->base, node->id,
                         bnd_sim_rng_chance(&cluster->rng, config->slow_disks_per_mille), on_reap,
                         node);
    node->log_bytes_max = bnd_sim_rng_chance(&cluster->rng, 600) ? config->log_bytes_max : 0;
    for (size_t g = 0; g < BND_SIM_GROUPS_MAX; g++) {
        struct bnd_sim_replica *replica = &node->replicas[g];
        replica->node = node;
        replica->gid = g + 1;
        replica->observer = (struct kv_observer){.owner = replica, .applied = on_applied};
    }
}

struct bnd_sim_cluster *bnd_sim_cluster_create(const struct bnd_sim_cluster_config *config) {
    BND_ASSERT(config->nodes <= BND_SIM_FOUNDERS_MAX);
    BND_ASSERT(config->nodes + config->spares <= BND_SIM_NODES_MAX &&
               config->groups <= BND_SIM_GROUPS_MAX);
    struct bnd_sim_cluster *cluster = bnd_sim_zalloc(sizeof *cluster);
    cluster->world = bnd_sim_world_create(config->seed);
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.full_per_mille = 2;
    cluster->net = bnd_sim_net_create(cluster->world, &net);
    cluster->config = config->host;
    cluster->guards = config->guards;
    cluster->verbose = config->verbose;
    cluster->check.print = config->verbose;
    cluster->groups_count = config->groups;
    bnd_sim_rng_init(&cluster->rng, config->seed, "faults", 0);
    bnd_sim_net_filter(cluster->net, bnd_sim_watch_message, cluster);
    for (size_t g = 0; g < config->groups; g++) {
        cluster->groups[g].gid = g + 1;
        bnd_sim_ledger_init(&cluster->groups[g].ledger, g + 1, &cluster->check);
        bnd_sim_logbook_init(&cluster->groups[g].logbook, g + 1, &cluster->check);
    }
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        node_make(cluster, config, n);
    }
    for (size_t n = 0; n < config->nodes + config->spares; n++) {
        cluster->nodes[n].exists = true;
        bnd_sim_node_start(&cluster->nodes[n]);
    }
    bootstrap(cluster, config->nodes);
    return cluster;
}

void bnd_sim_cluster_destroy(struct bnd_sim_cluster *cluster) {
    if (cluster == NULL) {
        return;
    }
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        bnd_sim_node_crash(&cluster->nodes[n], BND_SIM_KILL);
        bnd_sim_machine_destroy(&cluster->nodes[n].base);
    }
    for (size_t g = 0; g < cluster->groups_count; g++) {
        bnd_sim_ledger_free(&cluster->groups[g].ledger);
        bnd_sim_logbook_free(&cluster->groups[g].logbook);
        bnd_sim_history_free(&cluster->groups[g].history);
        bnd_sim_free(cluster->groups[g].votes);
        bnd_sim_free(cluster->groups[g].requests);
    }
    bnd_sim_net_destroy(cluster->net);
    bnd_sim_world_destroy(cluster->world);
    bnd_sim_free(cluster);
}
