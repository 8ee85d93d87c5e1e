/* A node's life. Order of making, and in reverse of unmaking:
 *
 *   lock, identity, state, mesh, rpc, objects, KV, SQL, Raft host, shard client, catalog, gateway
 *
 * 1. The client ports open only when the node knows its cluster and has a certificate to show.
 * 2. After a fatal stop nothing is taken down: recovery starts from what is durable. */
#include "node/node.h"

#include "base/alloc.h"
#include "catalog/fsm.h"
#include "engine/rocks/rocks.h"
#include "gateway/gateway.h"
#include "net/mesh_tcp.h"
#include "node/admission.h"
#include "node/budget.h"
#include "node/certificates.h"
#include "node/client_tls.h"
#include "node/clock_text.h"
#include "node/departure.h"
#include "node/disk.h"
#include "node/fence.h"
#include "node/files.h"
#include "node/identity.h"
#include "node/kv_node.h"
#include "node/last_view.h"
#include "node/members.h"
#include "node/metrics.h"
#include "node/ports.h"
#include "node/readiness.h"
#include "node/repair.h"
#include "node/scrub.h"
#include "node/shard_map.h"
#include "node/sql_node.h"
#include "raft/client.h"

#include <string.h>

#define GRACE_NS (5000 * BND_MS)

struct bnd_node {
    struct bnd_env *env;
    struct bnd_config config;
    struct node_budget budget;
    struct bnd_node_callbacks callbacks;
    struct bnd_node_addresses addresses;
    struct node_identity identity;
    struct bnd_state *state;
    struct bnd_mesh_tcp *mesh;
    struct bnd_rpc *rpc;
    struct bnd_objects *objects;
    struct bnd_raft_host *host;
    struct bnd_shard_client *client;
    struct bnd_catalog *catalog;
    struct bnd_gateway *gateway;
    struct bnd_tls_context *tls;
    struct node_certificates certificates;
    struct node_last_view last_view;
    struct bnd_pacer pacer; /* of what comes here when groups move */
    struct node_admission admission;
    struct node_members members;
    struct node_departure departure;
    struct node_kv kv;
    struct node_sql sql;
    struct node_fence fence;
    struct node_scrub scrub;
    struct node_shard_map map;
    struct node_disk disk;
    struct node_genesis genesis;
    struct bnd_buf ca_key; /* of a genesis under way */
    bool in_genesis;
    bool secrets_unshown; /* of a cluster just made, until its ports are open */
    bool departing;       /* its ports stay closed */
    bool stopping;
    bool started_ready;
    uint64_t started_ms;
};

bool bnd_node_is_member(struct bnd_env *env, const char *data) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    return node_file_read(env, data, "node.toml", &text, NULL) != BND_NOTFOUND;
}

/* ---- the client ports
 * ----------------------------------------------------------------------------------- */

static bool node_ready(void *owner, struct bnd_buf *out) {
    const struct bnd_node *node = owner;
    const struct node_readiness is = {.host = node->host,
                                      .catalog = node->catalog,
                                      .disk = &node->disk,
                                      .in_genesis = node->in_genesis,
                                      .stopping = node->stopping};
    return node_is_ready(&is, out);
}

static void node_moving(void *owner, struct bnd_gateway_moving *out) {
    const struct bnd_node *node = owner;
    out->bytes_per_s = node->pacer.bytes_per_s;
    out->replica_bytes = node_replica_bytes(node->host, node->state, node->objects);
}

static void node_metrics(void *owner, struct bnd_buf *out) {
    struct bnd_node *node = owner;
    struct node_metrics_sources from = {.env = node->env,
                                        .data = node->config.data,
                                        .identity = &node->identity,
                                        .mesh = node->mesh,
                                        .view = bnd_catalog_view(node->catalog),
                                        .started_ms = node->started_ms,
                                        .host = node->host,
                                        .state = node->state,
                                        .sql = node->sql.sql,
                                        .scrubbed_bytes = node->scrub.bytes,
                                        .disk = &node->disk};
    node_metrics_print(&from, out);
}

static size_t node_wanted(void *owner, uint64_t gid, uint64_t out[BND_REPLICAS_MAX]) {
    const struct bnd_node *node = owner;
    return node_shard_map_group(&node->map, gid, out);
}

static void open_gateway(struct bnd_node *node) {
    struct bnd_error err = {0};
    if (node->gateway != NULL || node->departing || node->stopping || node->in_genesis) {
        return;
    }
    int rv = node_client_tls(node->env, &node->config, &node->identity,
                             bnd_catalog_view(node->catalog), &node->tls, &err);
    if (rv == BND_BUSY) {
        return; /* the first view comes back here */
    }
    struct bnd_gateway_config config = {
        .services = {.env = node->env,
                     .catalog = node->catalog,
                     .objects = node->objects,
                     .kv = node->kv.kv,
                     .sql = node->sql.sql,
                     .client = node->client,
                     .host = node->host,
                     .mesh = bnd_mesh_tcp_mesh(node->mesh),
                     .rpc = node->rpc,
                     .dir = node->config.data,
                     .self = node->identity.node,
                     .started_ms = node->started_ms,
                     .owner = node,
                     .ready = node_ready,
                     .wanted = node_wanted,
                     .moving = node_moving,
                     .metrics = node_metrics},
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
    rv = rv != 0 ? rv : bnd_gateway_create(&config, &node->gateway, &err);
    if (rv != 0) {
        node->callbacks.stopped(node->callbacks.data, 1, &err);
        return;
    }
    bnd_log(node->env, BND_LOG_INFO, "node",
            "node %llu serves: REST %s, bindings %s, S3 %s, peers %s",
            (unsigned long long)node->identity.node, node->addresses.rest, node->addresses.bindings,
            node->addresses.s3, node->addresses.peers);
}

/* The credentials of a new cluster were shown: the next start is an ordinary one. */
static void end_genesis(struct bnd_node *node) {
    struct bnd_error err = {0};
    memset(&node->genesis.secrets, 0, sizeof node->genesis.secrets);
    node->secrets_unshown = false;
    if (node_genesis_finish(node->env, node->config.data, &err) != 0) {
        bnd_log(node->env, BND_LOG_ERROR, "node", "certs/ca.key could not be removed: %s",
                err.message);
    }
}

/* Once, when the ports are open: their certificate may have waited for the first view. */
static void tell_ready(struct bnd_node *node) {
    if (node->started_ready || node->gateway == NULL || node->in_genesis) {
        return;
    }
    node->started_ready = true;
    node->callbacks.ready(node->callbacks.data,
                          node->secrets_unshown ? &node->genesis.secrets : NULL);
    if (node->secrets_unshown) {
        end_genesis(node);
    }
}

/* ---- the view
 * ------------------------------------------------------------------------------------------- */

static void on_view(void *owner, const struct bnd_catalog_view *view) {
    struct bnd_node *node = owner;
    if (node_shard_map_update(&node->map, view) != 0) {
        bnd_log(node->env, BND_LOG_ERROR, "node", "no memory for the shard map of revision %llu",
                (unsigned long long)view->revision);
        return;
    }
    node_members_update(&node->members, view);
    node_last_view_keep(&node->last_view);
    node_certificates_update(&node->certificates, view);
    node_shard_map_publish(&node->map, node->client, node->host);
    node_kv_view(&node->kv, view);
    node_sql_view(&node->sql, view);
    open_gateway(node);
    tell_ready(node);
}

/* There may be no majority: the ports say so, and refuse everything else. */
static void on_unheard(void *owner) {
    open_gateway(owner);
}

/* ---- genesis
 * -------------------------------------------------------------------------------------------- */

static void on_genesis_done(struct node_genesis *genesis, int status, const char *step) {
    struct bnd_node *node = genesis->data;
    struct bnd_error err = {0};
    if (status != 0) {
        (void)bnd_error_set(&err, status, "setting up the cluster: %s: %s", step,
                            bnd_code_text(status));
        node->callbacks.stopped(node->callbacks.data, 1, &err);
        return;
    }
    node->in_genesis = false;
    node->secrets_unshown = true;
    open_gateway(node);
    tell_ready(node);
}

static int begin_genesis(struct bnd_node *node, struct bnd_error *err) {
    node->in_genesis = true;
    node->genesis = (struct node_genesis){
        .env = node->env,
        .host = node->host,
        .catalog = node->catalog,
        .config = &node->config,
        .identity = &node->identity,
        .peer_address = node->addresses.advertise,
        .ca_key = bnd_buf_slice(&node->ca_key),
        .done = on_genesis_done,
        .data = node,
    };
    return node_genesis_run(&node->genesis, err);
}

/* ---- Raft's calls
 * --------------------------------------------------------------------------------------- */

static int make_fsm(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err) {
    struct bnd_node *node = owner;
    switch (bnd_gid_kind(gid)) {
    case BND_GROUP_SYSTEM:
        bnd_catalog_fsm_make(out);
        return 0;
    case BND_GROUP_OBJECTS:
        return bnd_objects_fsm_make(node->objects, gid, out, err);
    case BND_GROUP_SQL:
        return bnd_sql_fsm_make(node->sql.sql, gid, out, err);
    case BND_GROUP_KV:
    case BND_GROUP_KV_LOG:
        break; /* no group of Raft's */
    }
    return BND_FAIL(err, VERSION, "group %llu is of a kind this version does not know",
                    (unsigned long long)gid);
}

static bool group_wanted(void *owner, uint64_t gid, uint64_t from) {
    struct bnd_node *node = owner;
    uint64_t nodes[BND_REPLICAS_MAX];
    size_t count = node->map.revision == 0 ? 0 : node_shard_map_group(&node->map, gid, nodes);
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] == node->identity.node) {
            return true;
        }
    }
    return false;
}

/* The bodies of object groups lie beside their state. */
static bool holds_all(void *owner, uint64_t gid, uint64_t id) {
    struct bnd_node *node = owner;
    return bnd_gid_kind(gid) != BND_GROUP_OBJECTS || bnd_objects_hold_all(node->objects, gid, id);
}

static void on_execute(void *owner, struct bnd_raft_execution *execution) {
    node_sql_execute(&((struct bnd_node *)owner)->sql, execution);
}

static void on_group_changed(void *owner, uint64_t gid) {
    struct bnd_node *node = owner;
    struct bnd_raft_group_status status;
    if (bnd_gid_kind(gid) == BND_GROUP_SQL) {
        bnd_sql_group_changed(node->sql.sql, gid);
    }
    if (bnd_raft_group_status(node->host, gid, &status) == 0) {
        bnd_log(node->env, BND_LOG_DEBUG, "raft", "group %llx: term %llu, leader %llu, %zu members",
                (unsigned long long)gid, (unsigned long long)status.term,
                (unsigned long long)status.leader, status.members_count);
    }
}

/* Inside the callback, as the host asks: later the group may be this node's again. */
static void on_group_removed(void *owner, uint64_t gid) {
    struct bnd_node *node = owner;
    int rv = bnd_raft_group_destroy(node->host, gid);
    bnd_log(node->env, BND_LOG_INFO, "raft", "group %llx has left this node: %s",
            (unsigned long long)gid, bnd_code_text(rv));
}

static void on_fatal(void *owner, const struct bnd_error *why) {
    struct bnd_node *node = owner;
    node->callbacks.stopped(node->callbacks.data, BND_NODE_EXIT_STOP, why);
}

static int other_group(void *owner, const struct bnd_journal_group *group, bool *out_other,
                       struct bnd_error *err) {
    struct bnd_node *node = owner;
    return node_kv_take_group(&node->kv, group, out_other, err);
}

static void on_durable(void *owner, uint64_t lsn) {
    struct bnd_node *node = owner;
    if (node->kv.kv != NULL) { /* it closes before the journal */
        bnd_kv_durable(node->kv.kv, lsn);
    }
}

static void on_clock_changed(void *owner, int64_t ahead_ms, bool off) {
    struct bnd_node *node = owner;
    node->kv.clock_off = off;
    node_tell_clock(node->env, ahead_ms, off);
}

static void on_time_jumped(void *owner, uint64_t gid, uint64_t from_ms, uint64_t to_ms) {
    const struct bnd_node *node = owner;
    node_tell_jump(node->env, gid, from_ms, to_ms);
}

static void on_disk_changed(void *owner, enum bnd_raft_space space) {
    struct bnd_node *node = owner;
    bnd_raft_host_space(node->host, space);
}

static bool disk_full(void *owner) {
    const struct bnd_node *node = owner;
    return node->disk.space != BND_RAFT_SPACE_OK;
}

static bool time_suspended(void *owner, uint64_t gid) {
    const struct bnd_node *node = owner;
    return node->host != NULL && bnd_raft_time_suspended(node->host, gid);
}

static int replicas_of(void *owner, uint32_t shard, struct bnd_object_replicas *out) {
    struct bnd_node *node = owner;
    return node_shard_map_replicas(&node->map, node->host, shard, out);
}

static uint64_t newest_stamp(void *owner) {
    struct bnd_node *node = owner;
    return node->host == NULL ? 0 : bnd_raft_stamp_ms(node->host);
}

static void close_groups(void *data);

/* ---- leaving for ever
 * ----------------------------------------------------------------------------------- */

static void on_departing_closed(void *data) {
    struct bnd_node *node = data;
    node->gateway = NULL;
    if (node->stopping) {
        close_groups(node);
    } else {
        node_departure_go(&node->departure);
    }
}

static void on_departing(void *owner) {
    struct bnd_node *node = owner;
    bnd_log(node->env, BND_LOG_INFO, "node", "this node holds nothing any more, and leaves");
    node->departing = true;
    if (node->gateway == NULL) {
        node_departure_go(&node->departure);
    } else {
        bnd_gateway_close(node->gateway, GRACE_NS, on_departing_closed, node);
    }
}

/* Whatever starts on this directory again is refused before it asks anybody. */
static void on_departed(void *owner) {
    struct bnd_node *node = owner;
    struct bnd_error err = {0};
    bnd_log(node->env, BND_LOG_INFO, "node", "this node is gone for ever");
    if (node_departure_mark(node->env, node->config.data, &err) != 0) {
        bnd_log(node->env, BND_LOG_ERROR, "node", "%s", err.message);
    }
    bnd_node_stop(node);
}

/* Others have the cluster now: what this node still serves may be refused there. */
static void on_fenced(void *owner, const struct bnd_error *why) {
    const struct bnd_node *node = owner;
    node->callbacks.stopped(node->callbacks.data, BND_NODE_EXIT_FENCED, why);
}

/* ---- making
 * --------------------------------------------------------------------------------------------- */

static int load_identity(struct bnd_node *node, struct bnd_error *err) {
    const char *data = node->config.data;
    int rv = node_departure_refuse(node->env, data, err);
    if (rv != 0) {
        return rv;
    }
    rv = node_identity_load(node->env, data, BND_NODE_STORAGE, &node->identity, err);
    if (rv == BND_NOTFOUND) {
        rv = node_genesis_identity(node->env, &node->config, &node->identity, err);
    }
    if (rv != 0) {
        return rv;
    }
    rv = node_genesis_pending(node->env, data, &node->ca_key, err);
    return rv == BND_NOTFOUND ? 0 : rv;
}

/* On any thread, and final: nothing more is answered from damaged bytes. The next start repairs. */
static void on_state_corrupt(void *owner, const char *what) {
    struct bnd_node *node = owner;
    struct bnd_error err = {0};
    if (node_repair_mark(node->env, node->config.data, what, &err) != 0) {
        bnd_log(node->env, BND_LOG_ERROR, "node", "the mark for a repair: %s", err.message);
    }
    (void)BND_FAIL(&err, CORRUPT, "the state is damaged, the next start repairs it: %s", what);
    node->callbacks.stopped(node->callbacks.data, BND_NODE_EXIT_STOP, &err);
}

static int open_state(struct bnd_node *node, struct bnd_error *err) {
    char dir[NODE_PATH_MAX];
    int rv = node_path(node->config.data, "state", dir, err);
    const struct bnd_rocks_config config = {
        .env = node->env,
        .dir = dir,
        .memory_bytes = node->budget.state,
        .corrupt = on_state_corrupt,
        .owner = node,
    };
    rv = rv != 0 ? rv
                 : node_repair_open(node->config.data, &node->identity, &config, &node->state, err);
    return rv == 0 ? 0 : BND_WRAP(err, rv, "state");
}

static int open_mesh(struct bnd_node *node, struct bnd_error *err) {
    struct bnd_mesh_tcp_config config = {
        .env = node->env,
        .self = node->identity.node,
        .listen_address = node->addresses.peers,
        .tls = {bnd_buf_slice(&node->identity.node_cert), bnd_buf_slice(&node->identity.node_key),
                bnd_buf_slice(&node->identity.ca_cert)},
        .queue_bytes_max = {node->budget.peer_queue, node->budget.peer_queue},
        .on_join = node_admission_on_join,
        .join_owner = &node->admission,
        .is_gone = node_fence_is_gone,
        .admits = node_fence_admits,
        .told_gone = node_fence_told,
        .gone_owner = &node->fence,
    };
    node->fence = (struct node_fence){
        .self = node->identity.node, .owner = node, .departed = on_departed, .fenced = on_fenced};
    memcpy(config.cluster, node->identity.cluster, sizeof config.cluster);
    node->admission = (struct node_admission){.env = node->env, .identity = &node->identity};
    int rv = bnd_mesh_tcp_create(&config, &node->mesh, err);
    if (rv != 0) {
        return BND_WRAP(err, rv, "peers");
    }
    rv = bnd_rpc_create(node->env, bnd_mesh_tcp_mesh(node->mesh), 0, &node->rpc);
    return rv == 0 ? 0 : bnd_error_set(err, rv, "rpc: %s", bnd_code_text(rv));
}

static int open_objects(struct bnd_node *node, struct bnd_error *err) {
    char dir[NODE_PATH_MAX];
    int rv = node_path(node->config.data, "bodies", dir, err);
    struct bnd_objects_config config = {
        .env = node->env,
        .rpc = node->rpc,
        .mesh = bnd_mesh_tcp_mesh(node->mesh),
        .shards = node->identity.shards,
        .self = node->identity.node,
        .bodies_dir = dir,
        .owner = node,
        .replicas = replicas_of,
        .stamp_ms = newest_stamp,
        .time_suspended = time_suspended,
        .disk_full = disk_full,
        .pacer = &node->pacer,
        .upload_bytes_max = node->budget.uploads,
        .reader_bytes_max = node->budget.readers,
        .store_bytes_max = node->budget.store,
    };
    rv = rv != 0 ? rv : bnd_objects_create(&config, &node->objects, err);
    return rv == 0 ? 0 : BND_WRAP(err, rv, "bodies");
}

static int open_kv(struct bnd_node *node, struct bnd_error *err) {
    node->kv = (struct node_kv){
        .env = node->env,
        .mesh = bnd_mesh_tcp_mesh(node->mesh),
        .rpc = node->rpc,
        .state = node->state,
        .disk = &node->disk,
        .self = node->identity.node,
        .cache_bytes = node->budget.kv_cache,
        .owner = node,
        .fatal = on_fatal,
    };
    return node_kv_create(&node->kv, err);
}

static int open_sql(struct bnd_node *node, struct bnd_error *err) {
    node->sql = (struct node_sql){
        .env = node->env,
        .state = node->state,
        .self = node->identity.node,
        .memory_bytes = node->budget.sql_pages,
        .keep_ms = node->config.d1_retention_s * 1000,
    };
    return node_sql_create(&node->sql, err);
}

static int open_host(struct bnd_node *node, struct bnd_error *err) {
    char dir[NODE_PATH_MAX];
    int rv = node_path(node->config.data, "journal", dir, err);
    struct bnd_raft_host_config config = {
        .env = node->env,
        .mesh = bnd_mesh_tcp_mesh(node->mesh),
        .rpc = node->rpc,
        .state = node->state,
        .journal_dir = dir,
        .cluster_id = node_cluster_number(node->identity.cluster),
        .node_id = node->identity.node,
        .heartbeat_ms = (uint32_t)node->config.heartbeat_ms,
        .tick_ms = (uint32_t)node->config.heartbeat_ms / 2,
        .election_ms = (uint32_t)node->config.election_ms,
        .moves_max = (uint32_t)node->config.moves,
        .pacer = &node->pacer,
        .guards = BND_RAFT_GUARDS_ALL,
        .proposals_bytes_max = node->budget.proposals,
        .proposals_group_bytes_max = node->budget.proposals_group,
        .log_bytes_node_max = node->budget.logs,
        .executions_bytes_max = node->budget.executions,
        .owner = node,
        .fsm_make = make_fsm,
        .group_wanted = group_wanted,
        .holds_all = holds_all,
        .execute = on_execute,
        .group_changed = on_group_changed,
        .group_removed = on_group_removed,
        .clock_changed = on_clock_changed,
        .time_jumped = on_time_jumped,
        .other_group = other_group,
        .durable = on_durable,
        .fatal = on_fatal,
    };
    rv = rv != 0 ? rv : bnd_raft_host_create(&config, &node->host, err);
    if (rv != 0) {
        return BND_WRAP(err, rv, "raft");
    }
    node->disk = (struct node_disk){
        .env = node->env, .path = node->config.data, .owner = node, .changed = on_disk_changed};
    node_disk_start(&node->disk);
    return 0;
}

static int open_clients(struct bnd_node *node, struct bnd_error *err) {
    struct bnd_shard_client_config client = {
        .env = node->env,
        .rpc = node->rpc,
        .host = node->host,
        .bytes_max = node->budget.calls,
    };
    int rv = bnd_shard_client_create(&client, &node->client);
    if (rv != 0) {
        return bnd_error_set(err, rv, "shard client: %s", bnd_code_text(rv));
    }
    bnd_objects_start(node->objects, node->client);
    node_sql_start(&node->sql, node->client, node->host);
    node->members = (struct node_members){
        .env = node->env,
        .data = node->config.data,
        .advertise = node->addresses.advertise,
        .zone = node->config.zone,
        .identity = &node->identity,
        .mesh = node->mesh,
        .client = node->client,
    };
    rv = node_members_load(&node->members, err);
    if (rv != 0) {
        return rv;
    }
    struct bnd_catalog_config catalog = {
        .env = node->env, .client = node->client, .owner = node, .changed = on_view};
    memcpy(catalog.cluster_key, node->identity.cluster_key, BND_CLUSTER_KEY_LEN);
    rv = bnd_catalog_create(&catalog, &node->catalog);
    if (rv != 0) {
        return bnd_error_set(err, rv, "catalog: %s", bnd_code_text(rv));
    }
    node->last_view = (struct node_last_view){.env = node->env,
                                              .data = node->config.data,
                                              .catalog = node->catalog,
                                              .owner = node,
                                              .unheard = on_unheard};
    node_last_view_start(&node->last_view);
    node->fence.members = &node->members;
    node->fence.catalog = node->catalog;
    node->sql.catalog = node->catalog;
    node->admission.catalog = node->catalog;
    node->admission.mesh = bnd_mesh_tcp_mesh(node->mesh);
    node->members.catalog = node->catalog;
    node->departure = (struct node_departure){
        .env = node->env,
        .mesh = bnd_mesh_tcp_mesh(node->mesh),
        .rpc = node->rpc,
        .host = node->host,
        .catalog = node->catalog,
        .self = node->identity.node,
        .owner = node,
        .departing = on_departing,
        .departed = on_departed,
    };
    node_departure_start(&node->departure);
    const struct node_kv_planner planner = {
        .host = node->host, .catalog = node->catalog, .map = &node->map, .config = &node->config};
    return node_kv_start(&node->kv, &planner, err);
}

/* The data directory itself, and its lock, before anything in it is touched. The lock is kept to the
 * process's end: what the pool still writes is written under it. */
static int open_directory(struct bnd_node *node, struct bnd_error *err) {
    if (node->config.data[0] == 0) {
        return BND_FAIL(err, INVALID, "data: the data directory must be given (--data DIR)");
    }
    int lock = -1;
    int rv = node->env->ops->dir_make(node->env, node->config.data, err);
    rv = rv != 0 ? rv : node_lock(node->config.data, &lock, err);
    return rv != 0 ? rv : node_disk_may_start(node->env, node->config.data, err);
}

int bnd_node_start(struct bnd_env *env, const struct bnd_config *config,
                   const struct bnd_node_callbacks *callbacks, struct bnd_node **out,
                   struct bnd_error *err) {
    struct bnd_node *node = bnd_zalloc(sizeof *node);
    if (node == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for a node");
    }
    node->env = env;
    node->config = *config;
    node->budget = node_budget(config->memory);
    node->pacer.bytes_per_s = config->move_rate;
    node->callbacks = *callbacks;
    node->started_ms = bnd_wall_ms(env);
    int rv = bnd_node_addresses(config, &node->addresses, err);
    rv = rv != 0 ? rv : open_directory(node, err);
    rv = rv != 0 ? rv : load_identity(node, err);
    rv = rv != 0 ? rv : open_state(node, err);
    rv = rv != 0 ? rv : open_mesh(node, err);
    rv = rv != 0 ? rv : open_objects(node, err);
    rv = rv != 0 ? rv : open_kv(node, err);
    rv = rv != 0 ? rv : open_sql(node, err);
    rv = rv != 0 ? rv : open_host(node, err);
    rv = rv != 0 ? rv : open_clients(node, err);
    if (rv == 0 && node->ca_key.len > 0) {
        rv = begin_genesis(node, err);
    }
    if (rv != 0) {
        return rv; /* the process ends: what was opened is closed by its end, and nothing is half
                      written */
    }
    node->certificates = (struct node_certificates){
        .env = env,
        .config = &node->config,
        .identity = &node->identity,
        .mesh = node->mesh,
        .catalog = node->catalog,
        .gateway = &node->gateway,
        .tls = &node->tls,
    };
    node_certificates_start(&node->certificates);
    node->scrub = (struct node_scrub){.env = env,
                                      .data = node->config.data,
                                      .state = node->state,
                                      .pass_s = config->scrub_s,
                                      .owner = node,
                                      .damaged = on_state_corrupt};
    node_scrub_start(&node->scrub);
    *out = node;
    return 0;
}

/* ---- unmaking
 * ------------------------------------------------------------------------------------------- */

static void on_mesh_closed(void *data) {
    struct bnd_node *node = data;
    struct bnd_node_callbacks callbacks = node->callbacks;
    node->state->ops->close(node->state);
    bnd_tls_context_destroy(node->tls);
    node_shard_map_free(&node->map);
    node_identity_free(&node->identity);
    bnd_buf_free(&node->ca_key);
    bnd_free(node);
    callbacks.stopped(callbacks.data, 0, NULL);
}

static void on_objects_closed(void *data) {
    struct bnd_node *node = data;
    bnd_shard_client_destroy(node->client);
    bnd_mesh_tcp_close(node->mesh, on_mesh_closed, node);
    bnd_rpc_destroy(node->rpc);
}

static void on_host_closed(void *data) {
    struct bnd_node *node = data;
    node_sql_destroy(&node->sql);
    bnd_shard_client_hostless(node->client);
    bnd_objects_close(node->objects, on_objects_closed, node);
}

static void on_sql_closed(void *data) {
    struct bnd_node *node = data;
    bnd_raft_host_close(node->host, on_host_closed, node);
}

static void on_kv_closed(void *data) {
    struct bnd_node *node = data;
    node_sql_close(&node->sql, on_sql_closed, node);
}

static void on_disk_stopped(void *data) {
    struct bnd_node *node = data;
    node_kv_close(&node->kv, on_kv_closed, node);
}

static void close_groups(void *data) {
    struct bnd_node *node = data;
    if (node->in_genesis) {
        node_genesis_cancel(&node->genesis);
    }
    node_certificates_stop(&node->certificates);
    node_last_view_stop(&node->last_view);
    node_scrub_stop(&node->scrub);
    node_members_close(&node->members);
    node_departure_close(&node->departure);
    node_kv_leave_catalog(&node->kv);
    node->fence.catalog = NULL;
    node->sql.catalog = NULL;
    node->admission.catalog = NULL;
    bnd_catalog_destroy(node->catalog);
    node_disk_stop(&node->disk, on_disk_stopped, node);
}

/* The others lead now: what still comes here is sent on to them until the ports are closed. */
static void on_retired(void *data) {
    struct bnd_node *node = data;
    if (node->departing && node->gateway != NULL) {
        return; /* the ports are being closed already */
    }
    if (node->gateway == NULL) {
        close_groups(node);
    } else {
        bnd_gateway_close(node->gateway, GRACE_NS, close_groups, node);
    }
}

void bnd_node_stop(struct bnd_node *node) {
    if (node->stopping) {
        return;
    }
    node->stopping = true;
    bnd_log(node->env, BND_LOG_INFO, "node", "stopping");
    bnd_raft_host_retire(node->host, on_retired, node);
}

void bnd_node_reload(struct bnd_node *node) {
    if (!node->stopping) {
        node_certificates_reload(&node->certificates);
    }
}
