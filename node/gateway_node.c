/* A gateway's life. Order of making, and in reverse of unmaking:
 *
 *   lock, identity, mesh, rpc, objects, shard client, SQL, catalog, KV, client ports
 *
 * Invariants: 1. the client ports open only with the first view, so that every request can be
 * judged and sent on; 2. nothing of a request is kept on disk here: what a gateway's death
 * interrupts is unknown to its client until it asks again under its request id. */
#include "node/gateway_node.h"

#include "base/alloc.h"
#include "gateway/gateway.h"
#include "node/budget.h"
#include "node/certificates.h"
#include "node/client_tls.h"
#include "node/fence.h"
#include "node/files.h"
#include "node/kv_node.h"
#include "node/members.h"
#include "node/metrics.h"
#include "node/ports.h"
#include "node/shard_map.h"
#include "node/sql_node.h"

#include <string.h>

#define GRACE_NS (5000 * BND_MS)

struct bnd_gateway_node {
    struct bnd_env *env;
    struct bnd_config config;
    struct node_budget budget;
    struct bnd_node_callbacks callbacks;
    struct bnd_node_addresses addresses;
    struct node_identity identity;
    struct bnd_mesh_tcp *mesh;
    struct bnd_rpc *rpc;
    struct bnd_objects *objects;
    struct bnd_shard_client *client;
    struct bnd_catalog *catalog;
    struct bnd_gateway *ports;
    struct bnd_tls_context *tls;
    struct node_certificates certificates;
    struct node_members members;
    struct node_fence fence; /* only to admit: a gateway is told nothing by others */
    struct node_shard_map map;
    struct node_kv kv;
    struct node_sql sql;
    bool stopping;
    uint64_t started_ms;
};

/* ---- the client ports
 * ----------------------------------------------------------------------------------- */

/* How many of the nodes that store can be reached. */
static size_t nodes_up(const struct bnd_gateway_node *node, size_t *out_all) {
    struct bnd_mesh *mesh = bnd_mesh_tcp_mesh(node->mesh);
    size_t up = 0;
    for (size_t i = 0; i < node->map.nodes_count; i++) {
        up += mesh->ops->up(mesh, node->map.nodes[i].id);
    }
    *out_all = node->map.nodes_count;
    return up;
}

/* A majority of the nodes is what requests to all shards may need; group 0 having answered lately
 * says that elections work. */
static bool ready(void *owner, struct bnd_buf *out) {
    struct bnd_gateway_node *node = owner;
    size_t all = 0;
    size_t up = nodes_up(node, &all);
    bool fresh = bnd_catalog_age_ms(node->catalog) < BND_CATALOG_STALE_MS;
    bool majority = 2 * up > all;
    if (out != NULL) {
        bnd_buf_printf(out, "catalog: %s\n", fresh ? "ok" : "group 0 has not answered for 5 s");
        bnd_buf_printf(out, "nodes: %s\n", majority ? "ok" : "most nodes cannot be reached");
        bnd_buf_printf(out, "running: %s\n", node->stopping ? "the gateway is stopping" : "ok");
    }
    return fresh && majority && !node->stopping;
}

static void metrics(void *owner, struct bnd_buf *out) {
    struct bnd_gateway_node *node = owner;
    size_t all = 0;
    size_t up = nodes_up(node, &all);
    bnd_buf_printf(out,
                   "# TYPE bindery_gateway_nodes gauge\nbindery_gateway_nodes %zu\n"
                   "# TYPE bindery_gateway_nodes_up gauge\nbindery_gateway_nodes_up %zu\n",
                   all, up);
    struct node_metrics_sources from = {.env = node->env,
                                        .data = node->config.data,
                                        .identity = &node->identity,
                                        .mesh = node->mesh,
                                        .view = bnd_catalog_view(node->catalog),
                                        .started_ms = node->started_ms};
    node_metrics_print(&from, out);
}

static size_t wanted(void *owner, uint64_t gid, uint64_t out[BND_REPLICAS_MAX]) {
    const struct bnd_gateway_node *node = owner;
    return node_shard_map_group(&node->map, gid, out);
}

static void open_ports(struct bnd_gateway_node *node, const struct bnd_catalog_view *view) {
    struct bnd_error err = {0};
    int rv = node_client_tls(node->env, &node->config, &node->identity, view, &node->tls, &err);
    struct bnd_gateway_config config = {
        .services = {.env = node->env,
                     .catalog = node->catalog,
                     .objects = node->objects,
                     .kv = node->kv.kv,
                     .sql = node->sql.sql,
                     .client = node->client,
                     .mesh = bnd_mesh_tcp_mesh(node->mesh),
                     .rpc = node->rpc,
                     .dir = node->config.data,
                     .self = node->identity.node,
                     .started_ms = node->started_ms,
                     .owner = node,
                     .ready = ready,
                     .wanted = wanted,
                     .metrics = metrics},
        .rest_address = node->addresses.rest,
        .bindings_address = node->addresses.bindings,
        .s3_address = node->addresses.s3,
        .s3_domain = node->config.s3_domain[0] != 0 ? node->config.s3_domain : NULL,
        .tls = node->tls,
        .memory_bytes = node->budget.ports,
        .held_bytes = node->budget.held,
        .limits = node_port_limits(&node->config),
        .kv_limits = node_kv_limits(&node->config),
        .d1_limits = node_d1_limits(&node->config),
    };
    memcpy(config.services.cluster_key, node->identity.cluster_key, BND_CLUSTER_KEY_LEN);
    rv = rv != 0 ? rv : bnd_gateway_create(&config, &node->ports, &err);
    if (rv != 0) {
        node->callbacks.stopped(node->callbacks.data, 1, &err);
        return;
    }
    bnd_log(node->env, BND_LOG_INFO, "node", "gateway %llu serves: REST %s, bindings %s, S3 %s",
            (unsigned long long)node->identity.node, node->addresses.rest, node->addresses.bindings,
            node->addresses.s3);
    node->callbacks.ready(node->callbacks.data, NULL);
}

static void on_view(void *owner, const struct bnd_catalog_view *view) {
    struct bnd_gateway_node *node = owner;
    if (node_shard_map_update(&node->map, view) != 0) {
        bnd_log(node->env, BND_LOG_ERROR, "node", "no memory for the shard map of revision %llu",
                (unsigned long long)view->revision);
        return;
    }
    node_members_update(&node->members, view);
    node_certificates_update(&node->certificates, view);
    node_shard_map_publish(&node->map, node->client, NULL);
    node_kv_view(&node->kv, view);
    node_sql_view(&node->sql, view);
    if (node->ports == NULL && !node->stopping) {
        open_ports(node, view);
    }
}

/* ---- making
 * --------------------------------------------------------------------------------------------- */

static int replicas_of(void *owner, uint32_t shard, struct bnd_object_replicas *out) {
    struct bnd_gateway_node *node = owner;
    return node_shard_map_replicas(&node->map, NULL, shard, out);
}

static int open_mesh(struct bnd_gateway_node *node, struct bnd_error *err) {
    struct bnd_mesh_tcp_config config = {
        .env = node->env,
        .self = node->identity.node,
        .listen_address = node->addresses.peers,
        .tls = {bnd_buf_slice(&node->identity.node_cert), bnd_buf_slice(&node->identity.node_key),
                bnd_buf_slice(&node->identity.ca_cert)},
        .queue_bytes_max = {node->budget.peer_queue, node->budget.peer_queue},
        .admits = node_fence_admits,
        .gone_owner = &node->fence,
    };
    memcpy(config.cluster, node->identity.cluster, sizeof config.cluster);
    int rv = bnd_mesh_tcp_create(&config, &node->mesh, err);
    if (rv != 0) {
        return BND_WRAP(err, rv, "peers");
    }
    rv = bnd_rpc_create(node->env, bnd_mesh_tcp_mesh(node->mesh), 0, &node->rpc);
    return rv == 0 ? 0 : bnd_error_set(err, rv, "rpc: %s", bnd_code_text(rv));
}

static int open_clients(struct bnd_gateway_node *node, struct bnd_error *err) {
    struct bnd_objects_config objects = {
        .env = node->env,
        .rpc = node->rpc,
        .mesh = bnd_mesh_tcp_mesh(node->mesh),
        .shards = node->identity.shards,
        .self = node->identity.node,
        .owner = node,
        .replicas = replicas_of,
        .upload_bytes_max = node->budget.uploads,
        .reader_bytes_max = node->budget.readers,
    };
    struct bnd_shard_client_config client = {
        .env = node->env, .rpc = node->rpc, .bytes_max = node->budget.calls};
    int rv = bnd_objects_create(&objects, &node->objects, err);
    if (rv != 0) {
        return BND_WRAP(err, rv, "objects");
    }
    rv = bnd_shard_client_create(&client, &node->client);
    if (rv != 0) {
        return bnd_error_set(err, rv, "shard client: %s", bnd_code_text(rv));
    }
    bnd_objects_start(node->objects, node->client);
    node->sql = (struct node_sql){.env = node->env,
                                  .self = node->identity.node,
                                  .memory_bytes = node->budget.sql_pages};
    rv = node_sql_create(&node->sql, err);
    if (rv == 0) {
        node_sql_start(&node->sql, node->client, NULL);
    }
    return rv;
}

static int open_catalog(struct bnd_gateway_node *node, struct bnd_error *err) {
    node->members = (struct node_members){
        .env = node->env,
        .data = node->config.data,
        .advertise = node->addresses.advertise,
        .zone = node->config.zone,
        .identity = &node->identity,
        .mesh = node->mesh,
        .client = node->client,
    };
    int rv = node_members_load(&node->members, err);
    if (rv != 0) {
        return rv;
    }
    struct bnd_catalog_config catalog = {
        .env = node->env, .client = node->client, .owner = node, .changed = on_view};
    memcpy(catalog.cluster_key, node->identity.cluster_key, BND_CLUSTER_KEY_LEN);
    rv = bnd_catalog_create(&catalog, &node->catalog);
    node->members.catalog = node->catalog;
    node->fence.members = &node->members;
    node->fence.catalog = node->catalog;
    return rv == 0 ? 0 : bnd_error_set(err, rv, "catalog: %s", bnd_code_text(rv));
}

static void on_kv_fatal(void *owner, const struct bnd_error *why) {
    struct bnd_gateway_node *node = owner;
    node->callbacks.stopped(node->callbacks.data, BND_NODE_EXIT_STOP, why);
}

static int open_kv(struct bnd_gateway_node *node, struct bnd_error *err) {
    const struct node_kv_planner planner = {.catalog = node->catalog};
    node->kv = (struct node_kv){.env = node->env,
                                .mesh = bnd_mesh_tcp_mesh(node->mesh),
                                .rpc = node->rpc,
                                .self = node->identity.node,
                                .cache_bytes = node->budget.kv_cache,
                                .owner = node,
                                .fatal = on_kv_fatal};
    int rv = node_kv_create(&node->kv, err);
    return rv != 0 ? rv : node_kv_start(&node->kv, &planner, err);
}

int bnd_gateway_node_start(struct bnd_env *env, const struct bnd_config *config,
                           const struct bnd_node_callbacks *callbacks,
                           struct bnd_gateway_node **out, struct bnd_error *err) {
    struct bnd_gateway_node *node = bnd_zalloc(sizeof *node);
    if (node == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for a gateway");
    }
    node->env = env;
    node->config = *config;
    node->budget = node_budget(config->memory);
    node->callbacks = *callbacks;
    node->started_ms = bnd_wall_ms(env);
    int lock = -1; /* kept to the process's end: what the pool still writes is written under it */
    int rv = bnd_node_addresses(config, &node->addresses, err);
    rv = rv != 0 ? rv : node_lock(node->config.data, &lock, err);
    rv = rv != 0
             ? rv
             : node_identity_load(env, node->config.data, BND_NODE_GATEWAY, &node->identity, err);
    rv = rv != 0 ? rv : open_mesh(node, err);
    rv = rv != 0 ? rv : open_clients(node, err);
    rv = rv != 0 ? rv : open_catalog(node, err);
    rv = rv != 0 ? rv : open_kv(node, err);
    if (rv != 0) {
        return rv; /* the process ends, and with it what was opened */
    }
    node->certificates = (struct node_certificates){
        .env = env,
        .config = &node->config,
        .identity = &node->identity,
        .mesh = node->mesh,
        .catalog = node->catalog,
        .gateway = &node->ports,
        .tls = &node->tls,
    };
    node_certificates_start(&node->certificates);
    *out = node;
    return 0;
}

/* ---- unmaking
 * ------------------------------------------------------------------------------------------- */

static void on_mesh_closed(void *data) {
    struct bnd_gateway_node *node = data;
    struct bnd_node_callbacks callbacks = node->callbacks;
    bnd_tls_context_destroy(node->tls);
    node_shard_map_free(&node->map);
    node_identity_free(&node->identity);
    bnd_free(node);
    callbacks.stopped(callbacks.data, 0, NULL);
}

static void on_objects_closed(void *data) {
    struct bnd_gateway_node *node = data;
    bnd_shard_client_destroy(node->client);
    bnd_mesh_tcp_close(node->mesh, on_mesh_closed, node);
    bnd_rpc_destroy(node->rpc);
}

static void on_sql_closed(void *data) {
    struct bnd_gateway_node *node = data;
    node_sql_destroy(&node->sql);
    bnd_objects_close(node->objects, on_objects_closed, node);
}

static void on_kv_closed(void *data) {
    struct bnd_gateway_node *node = data;
    node_sql_close(&node->sql, on_sql_closed, node);
}

static void on_ports_closed(void *data) {
    struct bnd_gateway_node *node = data;
    node_certificates_stop(&node->certificates);
    node_members_close(&node->members);
    node_kv_leave_catalog(&node->kv);
    node->fence.catalog = NULL;
    bnd_catalog_destroy(node->catalog);
    node_kv_close(&node->kv, on_kv_closed, node);
}

void bnd_gateway_node_stop(struct bnd_gateway_node *node) {
    if (node->stopping) {
        return;
    }
    node->stopping = true;
    bnd_log(node->env, BND_LOG_INFO, "node", "stopping");
    if (node->ports == NULL) {
        on_ports_closed(node);
    } else {
        bnd_gateway_close(node->ports, GRACE_NS, on_ports_closed, node);
    }
}

void bnd_gateway_node_reload(struct bnd_gateway_node *node) {
    if (!node->stopping) {
        node_certificates_reload(&node->certificates);
    }
}
