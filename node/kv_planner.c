#include "node/kv_planner.h"

#include "base/assert.h"
#include "placement/shard.h"

#define PERIOD_NS (1000 * BND_MS)
#define CALL_NS (10000 * BND_MS)
/* A node that is being decommissioned and silent for so long is not waited for. */
#define LEAVER_SILENT_MS 60000
/* One whose place another has taken was dead when that was asked for. */
#define REPLACED_SILENT_MS 5000

/* ---- what is known of the nodes ---------------------------------------------------------------*/

static uint64_t silence_ms(const struct node_kv_planner *planner, uint64_t node) {
    uint64_t here = bnd_now_ns(planner->env) - planner->started_ns;
    uint64_t silence = planner->mesh->ops->silence_ns(planner->mesh, node);
    return (silence < here ? silence : here) / BND_MS;
}

/* A later node has its place. */
static bool is_replaced(const struct bnd_catalog_view *view, const struct bnd_node_record *node) {
    for (size_t i = 0; i < view->nodes_count; i++) {
        if (view->nodes[i].id > node->id && view->nodes[i].place == node->place) {
            return true;
        }
    }
    return false;
}

/* For how long a silent node that is being decommissioned is waited for. */
static uint64_t leaver_patience_ms(const struct bnd_catalog_view *view,
                                   const struct bnd_node_record *node) {
    return is_replaced(view, node) ? REPLACED_SILENT_MS : LEAVER_SILENT_MS;
}

static enum bnd_kv_node node_of(void *data, uint64_t id) {
    const struct node_kv_planner *planner = data;
    const struct bnd_catalog_view *view = bnd_catalog_view(planner->catalog);
    const struct bnd_node_record *node = bnd_catalog_find_node(view, id);
    if (node == NULL || node->state == BND_NODE_GONE) {
        return BND_KV_NODE_GONE;
    }
    if (id == planner->self || planner->mesh->ops->up(planner->mesh, id)) {
        return BND_KV_NODE_UP;
    }
    uint64_t patience_ms = planner->config->kv_absent_s * 1000;
    uint64_t leaver_ms = leaver_patience_ms(view, node);
    if (node->state == BND_NODE_LEAVING && leaver_ms < patience_ms) {
        patience_ms = leaver_ms;
    }
    return silence_ms(planner, id) >= patience_ms ? BND_KV_NODE_ABSENT : BND_KV_NODE_DOWN;
}

bool node_kv_needs(const struct bnd_catalog_view *view, uint64_t node) {
    for (uint32_t i = 0; i < view->kv_shards_count; i++) {
        const struct bnd_kv_shard *shard = &view->kv_shards[i];
        if (shard->leaving == node || bnd_kv_shard_find(shard, node) < shard->replicas_count) {
            return true;
        }
    }
    return false;
}

/* ---- commands ---------------------------------------------------------------------------------*/

static void on_done(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct node_kv_command *command = call->data;
    (void)status; /* what was refused, or is unknown, is decided again by the next view */
    (void)reply;
    command->busy = false;
}

static struct node_kv_command *idle(struct node_kv_command *commands) {
    for (size_t i = 0; i < NODE_KV_COMMANDS_MAX; i++) {
        if (!commands[i].busy) {
            return &commands[i];
        }
    }
    return NULL;
}

static bool under_way(const struct node_kv_command *commands, uint32_t shard) {
    for (size_t i = 0; i < NODE_KV_COMMANDS_MAX; i++) {
        if (commands[i].busy && commands[i].shard == shard) {
            return true;
        }
    }
    return false;
}

static void send(struct node_kv_planner *planner, struct node_kv_command *command,
                 struct bnd_catalog_command *what, const struct bnd_buf *numbers) {
    what->a = bnd_buf_slice(numbers);
    command->shard = (uint32_t)what->id;
    command->call = (struct bnd_catalog_call){.cb = on_done, .data = command};
    command->busy =
        !numbers->failed && bnd_catalog_write(planner->catalog, &command->call, what, CALL_NS) == 0;
}

static void send_step(struct node_kv_planner *planner, struct node_kv_command *command,
                      uint32_t shard, const struct bnd_kv_step *step) {
    const struct bnd_kv_shard *known = &bnd_catalog_view(planner->catalog)->kv_shards[shard];
    BND_AUTO_BUF struct bnd_buf numbers = {0};
    struct bnd_catalog_command what = {.id = shard, .number = known->epoch};
    switch (step->kind) {
    case BND_KV_STEP_INIT:
        what.op = BND_CATALOG_KV_MAP_INIT;
        for (size_t i = 0; i < step->nodes_count; i++) {
            bnd_buf_u64(&numbers, step->nodes[i]);
        }
        break;
    case BND_KV_STEP_MOVE:
        what.op = BND_CATALOG_KV_MAP_MOVE;
        bnd_buf_u64(&numbers, step->joins);
        bnd_buf_u64(&numbers, step->leaves);
        break;
    case BND_KV_STEP_LEFT:
        what.op = BND_CATALOG_KV_MAP_LEFT;
        bnd_buf_u64(&numbers, step->leaves);
        break;
    case BND_KV_STEP_UNFILLED:
        what.op = BND_CATALOG_KV_MAP_UNFILLED;
        bnd_buf_u64(&numbers, step->leaves);
        break;
    case BND_KV_STEP_PROPOSE:
        what.op = BND_CATALOG_KV_MAP_PROPOSE;
        bnd_buf_u64(&numbers, step->horizon);
        break;
    case BND_KV_STEP_NONE:
        BND_UNREACHABLE("a step that is none");
    }
    if (step->kind != BND_KV_STEP_PROPOSE) {
        bnd_log(planner->env, BND_LOG_INFO, "kv", "shard %u, epoch %u: %s, joins %llu, leaves %llu",
                shard, known->epoch, bnd_kv_step_text(step->kind), (unsigned long long)step->joins,
                (unsigned long long)step->leaves);
    }
    send(planner, command, &what, &numbers);
}

void node_kv_planner_tell(struct node_kv_planner *planner, const struct bnd_kv_tell *tell) {
    static const enum bnd_catalog_op ops[] = {
        [BND_KV_TELL_FILLED] = BND_CATALOG_KV_MAP_FILLED,
        [BND_KV_TELL_LEFT] = BND_CATALOG_KV_MAP_LEFT,
        [BND_KV_TELL_CONFIRM] = BND_CATALOG_KV_MAP_CONFIRM,
        [BND_KV_TELL_UNFILLED] = BND_CATALOG_KV_MAP_UNFILLED,
    };
    struct node_kv_command *command = idle(planner->tells);
    if (command == NULL || under_way(planner->tells, tell->shard)) {
        return;
    }
    BND_AUTO_BUF struct bnd_buf numbers = {0};
    struct bnd_catalog_command what = {
        .op = ops[tell->kind], .id = tell->shard, .number = tell->epoch};
    bnd_buf_u64(&numbers, planner->self);
    if (tell->kind == BND_KV_TELL_FILLED || tell->kind == BND_KV_TELL_CONFIRM) {
        bnd_buf_u64(&numbers, tell->horizon);
    }
    for (size_t i = 0; tell->kind == BND_KV_TELL_CONFIRM && i < tell->equal_count; i++) {
        bnd_buf_u64(&numbers, tell->equal[i]);
    }
    send(planner, command, &what, &numbers);
}

/* ---- the plan ---------------------------------------------------------------------------------*/

/* The view is fresh, KV is used, and this node leads group 0. */
static bool may_plan(const struct node_kv_planner *planner) {
    const struct bnd_catalog_view *view = bnd_catalog_view(planner->catalog);
    struct bnd_raft_group_status status;
    return view != NULL && view->kv_shards_count > 0 && view->kv_namespace_next > 1 &&
           planner->map->revision == view->revision &&
           bnd_catalog_age_ms(planner->catalog) < BND_CATALOG_STALE_MS &&
           bnd_raft_group_status(planner->host, BND_GID_SYSTEM, &status) == 0 && status.ready;
}

static bool is_moving(const struct bnd_kv_shard *shard) {
    for (size_t i = 0; i < shard->replicas_count; i++) {
        if (!shard->replicas[i].filled) {
            return true;
        }
    }
    return shard->leaving != 0;
}

/* While the cluster's time is in doubt no horizon is proposed (architecture 5, "Time"). */
static uint64_t time_for_horizons_ms(const struct node_kv_planner *planner) {
    return bnd_raft_time_suspended(planner->host, BND_GID_SYSTEM)
               ? 0
               : bnd_raft_group_stamp_ms(planner->host, BND_GID_SYSTEM);
}

static struct bnd_kv_step step_of(struct node_kv_planner *planner, uint32_t number) {
    const struct bnd_catalog_view *view = bnd_catalog_view(planner->catalog);
    uint64_t wanted[BND_REPLICAS_MAX];
    size_t count = node_shard_map_group(planner->map, bnd_gid(BND_GROUP_KV, number), wanted);
    struct bnd_kv_plan plan = {
        .wanted = wanted,
        .wanted_count = count < BND_KV_REPLICAS_MAX ? count : BND_KV_REPLICAS_MAX,
        .node = node_of,
        .data = planner,
        .now_ms = time_for_horizons_ms(planner),
        .horizon_age_ms = planner->config->kv_horizon_s * 1000,
        .horizon_every_ms = planner->config->kv_horizon_s * 1000,
    };
    return bnd_kv_plan_step(&view->kv_shards[number], &plan);
}

static void plan(struct node_kv_planner *planner) {
    const struct bnd_catalog_view *view = bnd_catalog_view(planner->catalog);
    if (!may_plan(planner)) {
        return;
    }
    uint32_t moving = 0;
    for (uint32_t i = 0; i < view->kv_shards_count; i++) {
        moving += is_moving(&view->kv_shards[i]);
    }
    uint32_t first = planner->next;
    for (uint32_t i = 0; i < view->kv_shards_count; i++) {
        uint32_t shard = (first + i) % view->kv_shards_count;
        struct node_kv_command *command = idle(planner->plans);
        if (command == NULL) {
            planner->next = shard; /* the rest when these are done */
            return;
        }
        if (under_way(planner->plans, shard)) {
            continue;
        }
        struct bnd_kv_step step = step_of(planner, shard);
        bool begins = step.kind == BND_KV_STEP_MOVE && !is_moving(&view->kv_shards[shard]);
        if (step.kind == BND_KV_STEP_NONE || (begins && moving >= planner->config->moves)) {
            continue;
        }
        moving += begins;
        send_step(planner, command, shard, &step);
    }
}

static void on_timer(struct bnd_timer *timer) {
    struct node_kv_planner *planner = timer->data;
    bnd_timer_start(planner->env, timer, PERIOD_NS);
    plan(planner);
}

void node_kv_planner_view(struct node_kv_planner *planner) {
    plan(planner);
}

void node_kv_planner_start(struct node_kv_planner *planner) {
    planner->started_ns = bnd_now_ns(planner->env);
    planner->timer = (struct bnd_timer){.cb = on_timer, .data = planner};
    bnd_timer_start(planner->env, &planner->timer, PERIOD_NS);
}

static void cancel(struct node_kv_command *commands) {
    for (size_t i = 0; i < NODE_KV_COMMANDS_MAX; i++) {
        if (commands[i].busy) {
            bnd_catalog_cancel(&commands[i].call);
            commands[i].busy = false;
        }
    }
}

void node_kv_planner_close(struct node_kv_planner *planner) {
    if (planner->env == NULL) {
        return;
    }
    bnd_timer_stop(planner->env, &planner->timer);
    cancel(planner->plans);
    cancel(planner->tells);
}
