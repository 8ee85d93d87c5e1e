#include "tests/sim/kv/oracle.h"

#include "base/assert.h"
#include "placement/shard.h"
#include "tests/sim/kv/tell.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>

#define PLAN_NS (1000 * BND_MS)
#define POLL_NS (1000 * BND_MS)
#define LEAVER_SILENT_NS (10 * SIMKV_SECOND)

/* ---- who reaches it ---------------------------------------------------------------------------*/

bool simkv_oracle_reached(const struct simkv_machine *machine) {
    struct simkv_cluster *cluster = machine->cluster;
    size_t linked = 0;
    for (size_t i = 0; i < cluster->machines_count; i++) {
        linked += cluster->machines[i].base.life == BND_SIM_UP &&
                  simkv_linked(cluster, machine->place, i);
    }
    return machine->base.life == BND_SIM_UP && 2 * linked > cluster->machines_count;
}

/* Where the planner runs, or NULL. */
static struct simkv_machine *leader(struct simkv_cluster *cluster) {
    for (size_t i = 0; i < cluster->machines_count; i++) {
        if (simkv_oracle_reached(&cluster->machines[i])) {
            return &cluster->machines[i];
        }
    }
    return NULL;
}

/* ---- views ------------------------------------------------------------------------------------*/

static void changed(struct simkv_cluster *cluster, uint32_t shard) {
    struct bnd_buf bytes = {0};
    cluster->view.revision++;
    bnd_kv_shard_encode(&bytes, &cluster->view.shards[shard]);
    bnd_sim_trace(cluster->world, "map ", shard, cluster->view.revision, bnd_buf_slice(&bytes));
    bnd_buf_free(&bytes);
}

static void set_view(struct simkv_machine *machine) {
    const struct simkv_view *known = &machine->known;
    struct bnd_kv_view view = {
        .revision = known->revision,
        .shards = known->shards,
        .shards_count = machine->cluster->shards_count,
        .namespaces = known->namespaces,
        .namespaces_count = known->namespaces_count,
        .namespace_next = known->namespace_next,
    };
    BND_ASSERT(bnd_kv_view_set(machine->kv, &view) == 0);
}

static void on_answer(struct bnd_sim_event *event) {
    struct simkv_machine *machine = event->data;
    bool news = machine->known.revision != machine->told.revision;
    if (machine->kv == NULL) {
        return; /* it stops, and its journal is being closed */
    }
    machine->asking = false;
    machine->confirmed_ns = machine->asked_ns;
    machine->known = machine->told;
    if (news) {
        set_view(machine);
    }
    if (machine->ask_again) {
        machine->ask_again = false;
        simkv_oracle_ask(machine);
    }
}

static void on_poll(struct bnd_sim_event *event) {
    struct simkv_machine *machine = event->data;
    bnd_sim_env_at(machine->base.env, event, POLL_NS);
    if (!machine->asking) {
        simkv_oracle_ask(machine);
    }
}

/* The answer is of the time of the question, and comes after a while. */
void simkv_oracle_ask(struct simkv_machine *machine) {
    struct simkv_cluster *cluster = machine->cluster;
    struct bnd_sim_rng *rng = &cluster->rng;
    if (machine->asking) {
        machine->ask_again = true;
        return;
    }
    if (!simkv_oracle_reached(machine) || bnd_sim_rng_chance(rng, cluster->lossy_per_mille)) {
        return;
    }
    bool slow = !cluster->calm && bnd_sim_rng_chance(rng, 60);
    machine->asking = true;
    machine->asked_ns = simkv_now_ns(cluster);
    machine->told = cluster->view;
    bnd_sim_env_at(machine->base.env, &machine->answer,
                   bnd_sim_rng_range(rng, BND_MS, (slow ? 2000 : 20) * BND_MS));
}

void simkv_oracle_join(struct simkv_machine *machine) {
    machine->asking = false;
    machine->ask_again = false;
    machine->confirmed_ns = 0;
    machine->known = (struct simkv_view){0};
    machine->poll = (struct bnd_sim_event){.run = on_poll, .data = machine};
    machine->answer = (struct bnd_sim_event){.run = on_answer, .data = machine};
    bnd_sim_env_at(machine->base.env, &machine->poll, BND_MS);
}

/* ---- what nodes tell --------------------------------------------------------------------------*/

struct sent {
    struct bnd_link link;
    struct bnd_timer timer;
    struct simkv_cluster *cluster;
    uint64_t from;
    struct bnd_kv_tell tell;
};

static void on_told(struct bnd_timer *timer) {
    struct sent *sent = timer->data;
    struct simkv_cluster *cluster = sent->cluster;
    struct bnd_kv_shard *shard = &cluster->view.shards[sent->tell.shard];
    struct bnd_kv_shard was = *shard;
    int rv = simkv_tell_make(shard, sent->from, &sent->tell);
    if (rv == 0 && !simkv_map_same(&was, shard)) {
        cluster->counts.fills += sent->tell.kind == BND_KV_TELL_FILLED;
        cluster->counts.collected += shard->collected != was.collected;
        changed(cluster, sent->tell.shard);
    }
    if (cluster->verbose) {
        (void)fprintf(stderr,
                      "%" PRIu64 " map: node %" PRIu64 " tells %d of shard %u at epoch %u, horizon "
                      "%" PRIu64 ": %d\n",
                      simkv_now_ns(cluster) / BND_MS, sent->from, (int)sent->tell.kind,
                      sent->tell.shard, sent->tell.epoch, sent->tell.horizon >> 16, rv);
    }
    bnd_link_remove(&sent->link);
    bnd_sim_free(sent);
}

void simkv_oracle_tell(struct simkv_machine *machine, const struct bnd_kv_tell *tell) {
    struct simkv_cluster *cluster = machine->cluster;
    struct bnd_sim_rng *rng = &cluster->rng;
    BND_ASSERT(tell->shard < cluster->shards_count);
    if (!simkv_oracle_reached(machine) || bnd_sim_rng_chance(rng, cluster->lossy_per_mille)) {
        return;
    }
    struct sent *sent = bnd_sim_zalloc(sizeof *sent);
    *sent = (struct sent){.cluster = cluster, .from = machine->id, .tell = *tell};
    sent->timer = (struct bnd_timer){.cb = on_told, .data = sent};
    bnd_list_push(&cluster->tells, &sent->link);
    bool slow = bnd_sim_rng_chance(rng, 50);
    bnd_sim_world_at(cluster->world, &sent->timer,
                     bnd_sim_rng_range(rng, BND_MS, (slow ? 3000 : 30) * BND_MS));
}

/* ---- the planner ------------------------------------------------------------------------------*/

static enum bnd_kv_node node_of(void *data, uint64_t id) {
    struct simkv_cluster *cluster = data;
    const struct simkv_machine *machine = simkv_machine_of(cluster, id);
    if (machine == NULL) {
        return BND_KV_NODE_GONE; /* its disk is lost, and an operator has said so */
    }
    if (machine->silent_since_ns == 0) {
        return BND_KV_NODE_UP;
    }
    uint64_t silent_ns = simkv_now_ns(cluster) - machine->silent_since_ns;
    bool absent = silent_ns >= cluster->absent_ms * BND_MS ||
                  (!machine->weighs && silent_ns >= LEAVER_SILENT_NS);
    return absent ? BND_KV_NODE_ABSENT : BND_KV_NODE_DOWN;
}

static void hear(struct simkv_cluster *cluster, const struct simkv_machine *leads) {
    for (size_t i = 0; i < cluster->machines_count; i++) {
        struct simkv_machine *machine = &cluster->machines[i];
        bool heard = machine->base.life == BND_SIM_UP && simkv_linked(cluster, leads->place, i);
        if (heard) {
            machine->silent_since_ns = 0;
        } else if (machine->silent_since_ns == 0) {
            machine->silent_since_ns = simkv_now_ns(cluster);
        }
    }
}

static size_t wanted(struct simkv_cluster *cluster, uint32_t shard,
                     uint64_t out[BND_REPLICAS_MAX]) {
    struct bnd_place_node nodes[SIMKV_MACHINES_MAX];
    for (size_t i = 0; i < cluster->machines_count; i++) {
        const struct simkv_machine *machine = &cluster->machines[i];
        nodes[i] = (struct bnd_place_node){.id = machine->id,
                                           .place = machine->place_id,
                                           .weight = machine->weighs ? 100 : 0,
                                           .zone = machine->id};
    }
    return bnd_place_group(nodes, cluster->machines_count, bnd_gid(BND_GROUP_KV, shard),
                           cluster->replicas, out);
}

static int make_step(struct simkv_cluster *cluster, uint32_t number,
                     const struct bnd_kv_step *step) {
    struct bnd_kv_shard *shard = &cluster->view.shards[number];
    switch (step->kind) {
    case BND_KV_STEP_NONE:
        return BND_INVALID;
    case BND_KV_STEP_INIT:
        return bnd_kv_shard_init(shard, step->nodes, step->nodes_count);
    case BND_KV_STEP_MOVE:
        cluster->counts.moves++;
        return bnd_kv_shard_move(shard, shard->epoch, step->joins, step->leaves);
    case BND_KV_STEP_LEFT:
        return bnd_kv_shard_left(shard, shard->epoch, step->leaves);
    case BND_KV_STEP_UNFILLED:
        cluster->counts.left_out++;
        return bnd_kv_shard_unfilled(shard, shard->epoch, step->leaves);
    case BND_KV_STEP_PROPOSE:
        return bnd_kv_shard_propose(shard, shard->epoch, step->horizon);
    }
    return BND_INVALID;
}

static struct bnd_kv_step next_step(struct simkv_cluster *cluster, uint32_t number) {
    uint64_t nodes[BND_REPLICAS_MAX];
    struct bnd_kv_plan plan = {
        .wanted = nodes,
        .node = node_of,
        .data = cluster,
        .now_ms = simkv_wall_ms(cluster),
        .horizon_age_ms = cluster->horizon_age_ms,
        .horizon_every_ms = cluster->horizon_every_ms,
    };
    plan.wanted_count = wanted(cluster, number, nodes);
    return bnd_kv_plan_step(&cluster->view.shards[number], &plan);
}

static void plan_all(struct simkv_cluster *cluster) {
    for (uint32_t i = 0; i < cluster->shards_count; i++) {
        struct bnd_kv_step step = next_step(cluster, i);
        uint64_t collected = cluster->view.shards[i].collected;
        if (step.kind == BND_KV_STEP_NONE) {
            continue;
        }
        int rv = make_step(cluster, i, &step);
        if (rv != 0) {
            bnd_sim_violation(&cluster->check, "the planner's step %d for shard %u is refused: %d",
                              (int)step.kind, i, rv);
        }
        cluster->counts.collected += cluster->view.shards[i].collected != collected;
        if (cluster->verbose) {
            (void)fprintf(stderr,
                          "%" PRIu64 " map: shard %u: %s, joins %" PRIu64 ", leaves %" PRIu64
                          ", horizon %" PRIu64 ", epoch now %u\n",
                          simkv_now_ns(cluster) / BND_MS, i, bnd_kv_step_text(step.kind),
                          step.joins, step.leaves, step.horizon >> 16,
                          cluster->view.shards[i].epoch);
        }
        changed(cluster, i);
    }
}

static void on_plan(struct bnd_timer *timer) {
    struct simkv_cluster *cluster = timer->data;
    struct simkv_machine *leads = leader(cluster);
    bnd_sim_world_at(cluster->world, timer, PLAN_NS);
    if (leads != NULL) {
        hear(cluster, leads);
        plan_all(cluster);
    }
}

void simkv_oracle_start(struct simkv_cluster *cluster) {
    cluster->view.namespace_next = 1;
    simkv_oracle_namespaces(cluster);
    simkv_oracle_namespaces(cluster);
    cluster->view.namespaces[1].local = true;
    bnd_list_init(&cluster->tells);
    cluster->planner = (struct bnd_timer){.cb = on_plan, .data = cluster};
    plan_all(cluster);
    bnd_sim_world_at(cluster->world, &cluster->planner, PLAN_NS);
}

void simkv_oracle_end(struct simkv_cluster *cluster) {
    bnd_sim_world_cancel(cluster->world, &cluster->planner);
    while (!bnd_list_empty(&cluster->tells)) {
        struct sent *sent = BND_CONTAINER(bnd_list_pop(&cluster->tells), struct sent, link);
        bnd_sim_world_cancel(cluster->world, &sent->timer);
        bnd_sim_free(sent);
    }
}

bool simkv_oracle_settled(struct simkv_cluster *cluster) {
    for (uint32_t i = 0; i < cluster->shards_count; i++) {
        const struct bnd_kv_shard *shard = &cluster->view.shards[i];
        uint64_t nodes[BND_REPLICAS_MAX];
        size_t count = wanted(cluster, i, nodes);
        if (shard->leaving != 0 || shard->replicas_count != count) {
            return false;
        }
        for (size_t j = 0; j < count; j++) {
            size_t at = bnd_kv_shard_find(shard, nodes[j]);
            if (at == shard->replicas_count || !shard->replicas[at].filled) {
                return false;
            }
        }
    }
    return true;
}

void simkv_oracle_print(struct simkv_cluster *cluster) {
    for (uint32_t i = 0; i < cluster->shards_count; i++) {
        const struct bnd_kv_shard *shard = &cluster->view.shards[i];
        uint64_t nodes[BND_REPLICAS_MAX];
        size_t count = wanted(cluster, i, nodes);
        (void)fprintf(stderr, "shard %u, epoch %u: leaving %" PRIu64 ", replicas", i, shard->epoch,
                      shard->leaving);
        for (size_t j = 0; j < shard->replicas_count; j++) {
            (void)fprintf(stderr, " %" PRIu64 "%s", shard->replicas[j].node,
                          shard->replicas[j].filled ? "" : " (filling)");
        }
        (void)fprintf(stderr, ", wanted");
        for (size_t j = 0; j < count; j++) {
            (void)fprintf(stderr, " %" PRIu64, nodes[j]);
        }
        (void)fprintf(stderr, "\n");
    }
}

void simkv_oracle_namespaces(struct simkv_cluster *cluster) {
    struct simkv_view *view = &cluster->view;
    if (view->namespace_next == SIMKV_NAMESPACE_IDS) {
        return;
    }
    if (view->namespaces_count == SIMKV_NAMESPACES_MAX - 1) {
        view->namespaces_count--; /* the last one made; the first two stay */
    } else {
        view->namespaces[view->namespaces_count++] =
            (struct bnd_kv_namespace){.id = view->namespace_next++};
    }
    view->revision++;
    if (cluster->verbose) {
        (void)fprintf(stderr, "%" PRIu64 " map: %zu namespaces, the next is %" PRIu64 "\n",
                      simkv_now_ns(cluster) / BND_MS, view->namespaces_count, view->namespace_next);
    }
    bnd_sim_trace(cluster->world, "name", view->namespaces_count, view->namespace_next,
                  bnd_slice(NULL, 0));
}
