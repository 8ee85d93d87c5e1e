#include "node/departure.h"

#include "base/alloc.h"
#include "node/files.h"
#include "node/kv_planner.h"
#include "placement/shard.h"

#define GONE_FILE "gone"
#define PERIOD_NS (1000 * BND_MS)
#define SURVEY_NS (2000 * BND_MS)
#define CALL_NS (10000 * BND_MS)

/* ---- the directory ----------------------------------------------------------------------------*/

int node_departure_refuse(struct bnd_env *env, const char *data, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    if (node_file_read(env, data, GONE_FILE, &text, NULL) == BND_NOTFOUND) {
        return 0;
    }
    return BND_FAIL(err, DENIED,
                    "data: %s belonged to a node that was decommissioned; a new node starts with "
                    "an empty directory",
                    data);
}

int node_departure_mark(struct bnd_env *env, const char *data, struct bnd_error *err) {
    return node_file_write(env, data, GONE_FILE, bnd_slice_str("This node was decommissioned.\n"),
                           err);
}

/* ---- who leaves -------------------------------------------------------------------------------*/

static bool is_up(const struct node_departure *departure, uint64_t node) {
    return node == departure->self || departure->mesh->ops->up(departure->mesh, node);
}

static bool leads_system(const struct node_departure *departure) {
    struct bnd_raft_group_status status;
    return bnd_raft_group_status(departure->host, BND_GID_SYSTEM, &status) == 0 && status.ready;
}

/* Itself, or as group 0's leader whoever is down. */
static void find_leaving(struct node_departure *departure, const struct bnd_catalog_view *view) {
    bool leads = leads_system(departure);
    departure->leaving_count = 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct bnd_node_record *node = &view->nodes[i];
        bool ours = node->id == departure->self || (leads && !is_up(departure, node->id));
        if (node->state == BND_NODE_LEAVING && ours &&
            departure->leaving_count < NODE_DEPARTURES_MAX) {
            departure->leaving[departure->leaving_count++] = node->id;
        }
    }
}

/* ---- what is known of the groups --------------------------------------------------------------*/

/* Every group is led, and the members that its leader told are committed. */
static bool is_complete(const struct bnd_catalog_view *view,
                        const struct bnd_survey_result *result) {
    size_t committed = 0;
    for (size_t i = 0; i < result->groups_count; i++) {
        committed += result->groups[i].committed;
    }
    size_t kinds = view->sql_founders_count > 0 ? 2 : 1; /* with as many shards each */
    return committed == kinds * view->settings.shards + 1 && committed == result->groups_count;
}

static bool is_member(const struct bnd_survey_result *result, uint64_t node) {
    for (size_t i = 0; i < result->groups_count; i++) {
        const struct bnd_raft_configuration *members = &result->groups[i].configuration;
        if (bnd_raft_configuration_find(members, node) < members->count) {
            return true;
        }
    }
    return false;
}

static void count_group(void *data, uint64_t gid) {
    (void)gid;
    (*(size_t *)data)++;
}

/* Its own groups it must have destroyed too: until then it still asks whether it may. */
static bool may_go(const struct node_departure *departure, const struct bnd_survey_result *result,
                   uint64_t node) {
    size_t here = 0;
    if (node_kv_needs(bnd_catalog_view(departure->catalog), node)) {
        return false;
    }
    if (node == departure->self) {
        bnd_raft_each_group(departure->host, count_group, &here);
    }
    return here == 0 && !is_member(result, node);
}

/* ---- the record -------------------------------------------------------------------------------*/

static void on_written(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct node_departure *departure = call->data;
    uint64_t node = departure->going;
    (void)reply;
    departure->going = 0;
    bool gone = status == 0 || status == BND_DENIED; /* or it was before */
    if (gone) {
        bnd_log(departure->env, BND_LOG_INFO, "node", "node %llu is decommissioned",
                (unsigned long long)node);
    }
    if (gone && node == departure->self) {
        bnd_timer_stop(departure->env, &departure->timer);
        departure->departed(departure->owner);
    }
}

static void let_go(struct node_departure *departure, uint64_t node) {
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_NODE_STATE, .id = node, .number = BND_NODE_GONE};
    departure->call = (struct bnd_catalog_call){.cb = on_written, .data = departure};
    if (bnd_catalog_write(departure->catalog, &departure->call, &command, CALL_NS) == 0) {
        departure->going = node;
    }
}

static void take_leave(struct node_departure *departure) {
    if (!departure->departing_told) {
        departure->departing_told = true;
        departure->departing(departure->owner);
    }
}

void node_departure_go(struct node_departure *departure) {
    departure->may_go = true; /* a later tick looks once more */
}

static void on_survey(void *data, const struct bnd_survey_result *result) {
    struct node_departure *departure = data;
    const struct bnd_catalog_view *view = bnd_catalog_view(departure->catalog);
    departure->survey = NULL;
    if (!is_complete(view, result)) {
        return; /* at a later tick */
    }
    for (size_t i = 0; i < departure->leaving_count && departure->going == 0; i++) {
        uint64_t node = departure->leaving[i];
        if (!may_go(departure, result, node)) {
            continue;
        }
        if (node == departure->self && !departure->may_go) {
            take_leave(departure);
        } else {
            let_go(departure, node); /* the next one at a later tick */
        }
    }
}

static void on_timer(struct bnd_timer *timer) {
    struct node_departure *departure = timer->data;
    const struct bnd_catalog_view *view = bnd_catalog_view(departure->catalog);
    bnd_timer_start(departure->env, timer, PERIOD_NS);
    if (view == NULL || departure->survey != NULL || departure->going != 0) {
        return;
    }
    find_leaving(departure, view);
    BND_AUTO uint64_t *asked = bnd_calloc(view->nodes_count + 1, sizeof *asked);
    if (departure->leaving_count == 0 || asked == NULL) {
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        if (view->nodes[i].role == BND_NODE_STORAGE && is_up(departure, view->nodes[i].id)) {
            asked[count++] = view->nodes[i].id;
        }
    }
    (void)bnd_survey_start(departure->env, departure->rpc, asked, count, SURVEY_NS, on_survey,
                           departure, &departure->survey); /* without memory: at a later tick */
}

void node_departure_start(struct node_departure *departure) {
    departure->timer = (struct bnd_timer){.cb = on_timer, .data = departure};
    bnd_timer_start(departure->env, &departure->timer, PERIOD_NS);
}

void node_departure_close(struct node_departure *departure) {
    if (departure->env == NULL) {
        return;
    }
    bnd_timer_stop(departure->env, &departure->timer);
    bnd_survey_cancel(departure->survey);
    departure->survey = NULL;
    if (departure->going != 0) {
        bnd_catalog_cancel(&departure->call);
        departure->going = 0;
    }
}
