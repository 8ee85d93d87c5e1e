#include "node/kv_node.h"

#include "base/alloc.h"
#include "raft/host.h"

/* A newer view is asked for at most so often. */
#define ASK_NS (20 * BND_MS)

/* ---- what KV asks
 * --------------------------------------------------------------------------------- */

static void on_tell(void *owner, const struct bnd_kv_tell *tell) {
    struct node_kv *node = owner;
    if (node->catalog != NULL) {
        node_kv_planner_tell(&node->planner, tell);
    }
}

static bool view_fresh(void *owner) {
    const struct node_kv *node = owner;
    return node->catalog != NULL && bnd_catalog_age_ms(node->catalog) < BND_CATALOG_STALE_MS;
}

static bool clock_fit(void *owner) {
    const struct node_kv *node = owner;
    return !node->clock_off;
}

static bool has_room(void *owner) {
    const struct node_kv *node = owner;
    return node->disk == NULL || node->disk->space == BND_RAFT_SPACE_OK;
}

static void view_wanted(void *owner) {
    struct node_kv *node = owner;
    uint64_t now = bnd_now_ns(node->env);
    if (node->catalog != NULL && now - node->asked_ns > ASK_NS) {
        node->asked_ns = now;
        (void)bnd_catalog_refresh(node->catalog); /* the view comes by itself */
    }
}

static void on_fatal(void *owner, const struct bnd_error *why) {
    struct node_kv *node = owner;
    node->fatal(node->owner, why);
}

/* ---- life
 * ------------------------------------------------------------------------------------------ */

int node_kv_create(struct node_kv *node, struct bnd_error *err) {
    const struct bnd_kv_config config = {.env = node->env,
                                         .mesh = node->mesh,
                                         .rpc = node->rpc,
                                         .state = node->state,
                                         .self = node->self,
                                         .cache_bytes = node->cache_bytes,
                                         .owner = node,
                                         .tell = on_tell,
                                         .view_fresh = view_fresh,
                                         .clock_fit = clock_fit,
                                         .has_room = has_room,
                                         .view_wanted = view_wanted,
                                         .fatal = on_fatal};
    return bnd_kv_create(&config, &node->kv, err);
}

int node_kv_take_group(struct node_kv *node, const struct bnd_journal_group *group, bool *out_other,
                       struct bnd_error *err) {
    *out_other = group->gid == BND_GID_KV_LOG;
    return *out_other ? bnd_kv_recover(node->kv, group, err) : 0;
}

int node_kv_start(struct node_kv *node, const struct node_kv_planner *planner,
                  struct bnd_error *err) {
    struct bnd_journal *journal =
        node->state == NULL ? NULL : bnd_raft_host_shared_journal(planner->host);
    int rv = bnd_kv_start(node->kv, journal, err);
    if (rv != 0) {
        return rv;
    }
    node->catalog = planner->catalog;
    node->planner = *planner;
    node->planner.env = node->env;
    node->planner.mesh = node->mesh;
    node->planner.self = node->self;
    if (node->state != NULL) {
        node_kv_planner_start(&node->planner);
    }
    return 0;
}

void node_kv_view(struct node_kv *node, const struct bnd_catalog_view *view) {
    if (node->state != NULL) {
        node_kv_planner_view(&node->planner);
    }
    if (view->kv_shards_count == 0) {
        return; /* group 0 is of a version without KV */
    }
    BND_AUTO struct bnd_kv_namespace *namespaces =
        bnd_calloc(view->kv_namespaces_count + 1, sizeof *namespaces);
    int rv = BND_NOMEM;
    if (namespaces != NULL) {
        for (size_t i = 0; i < view->kv_namespaces_count; i++) {
            namespaces[i].id = view->kv_namespaces[i].id;
            namespaces[i].local = view->kv_namespaces[i].consistency == BND_KV_CONSISTENCY_LOCAL;
        }
        const struct bnd_kv_view is = {.revision = view->revision,
                                       .shards = view->kv_shards,
                                       .shards_count = view->kv_shards_count,
                                       .namespaces = namespaces,
                                       .namespaces_count = view->kv_namespaces_count,
                                       .namespace_next = view->kv_namespace_next};
        rv = bnd_kv_view_set(node->kv, &is);
    }
    if (rv != 0) {
        bnd_log(node->env, BND_LOG_ERROR, "kv", "no memory for the map of revision %llu",
                (unsigned long long)view->revision);
    }
}

void node_kv_leave_catalog(struct node_kv *node) {
    if (node->catalog != NULL && node->state != NULL) {
        node_kv_planner_close(&node->planner);
    }
    node->catalog = NULL;
}

static void on_closed(void *data) {
    struct node_kv *node = data;
    node->kv = NULL;
    node->closed(node->closed_data);
}

void node_kv_close(struct node_kv *node, void (*closed)(void *data), void *data) {
    node->closed = closed;
    node->closed_data = data;
    bnd_kv_close(node->kv, on_closed, node);
}
