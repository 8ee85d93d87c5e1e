/* Three storage nodes of objects/ in the simulated world, under an ideal Raft: every command is
 * applied by every live node in one order, and reads come from the first live one. The service, its
 * state machines, its body store, the RPC layer and the files are the real ones. */
#ifndef BND_TESTS_UNIT_OBJECTS_CLUSTER_H
#define BND_TESTS_UNIT_OBJECTS_CLUSTER_H

#include "objects/bodies/file.h"
#include "objects/fsm.h"
#include "objects/objects.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "tests/sim/env.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NODES = 3, SHARDS = 4, LOG_MAX = 4096 };

struct cluster;

struct bnd_shard_client {
    struct cluster *cluster;
    struct node *node;
};

struct node {
    struct cluster *cluster;
    uint64_t id;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_env *sim;
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_objects *objects;
    struct bnd_shard_client client;
    struct bnd_fsm fsm[SHARDS];
    struct bnd_fsm system; /* group 0, for tests that give it one */
    uint64_t applied;      /* of the log */
    bool up;
    bool lags; /* does not apply for now */
    bool left; /* it is in no group any more, and nobody's replica */
};

struct logged {
    uint64_t gid;
    uint64_t stamp_ms;
    bool time_suspended;
    uint8_t *bytes;
    size_t len;
};

struct cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct node nodes[NODES];
    struct logged log[LOG_MAX];
    uint64_t log_len;
    uint64_t stamp_ms;
    uint64_t stamp_skip_ms; /* moves the leader's clock */
    bool time_suspended;    /* in every group */
    bool refuse;            /* shard calls are answered BND_UNAVAILABLE */
    uint64_t calls_left;    /* so many more, then refuse is set; 0: no end */
    uint64_t voters;
    size_t upload_bytes_max; /* of nodes started from now on */
    size_t reader_bytes_max;
    struct bnd_pacer pacer; /* of all nodes */
};

static inline struct bnd_fsm *fsm_of(struct node *node, uint64_t gid) {
    return gid == BND_GID_SYSTEM ? &node->system : &node->fsm[bnd_gid_shard(gid)];
}

static inline uint32_t slot_of(uint64_t gid) {
    return gid == BND_GID_SYSTEM ? SHARDS + 1 : bnd_gid_shard(gid) + 1;
}

/* ---- the ideal Raft ---------------------------------------------------------------------------
 */

static inline int node_apply(struct node *node, const struct logged *entry, struct bnd_buf *reply) {
    bnd_sim_env_enter(node->sim);
    struct bnd_state_batch *batch = node->state->ops->batch_create(node->state);
    assert_non_null(batch);
    struct bnd_fsm *fsm = fsm_of(node, entry->gid);
    node->applied++;
    struct bnd_fsm_apply context = {.gid = entry->gid,
                                    .index = node->applied,
                                    .term = 1,
                                    .stamp_ms = entry->stamp_ms,
                                    .time_suspended = entry->time_suspended,
                                    .slot = slot_of(entry->gid),
                                    .state_version = 1,
                                    .state = node->state,
                                    .batch = batch};
    size_t before = node->state->ops->batch_bytes(batch);
    int rv = fsm->ops->apply(fsm->self, &context, bnd_slice(entry->bytes, entry->len), reply);
    if (rv != 0) { /* a refused command leaves the batch alone */
        assert_int_equal(node->state->ops->batch_bytes(batch), before);
    }
    assert_int_equal(node->state->ops->write(node->state, batch), 0);
    if (fsm->ops->written != NULL) {
        fsm->ops->written(fsm->self, node->applied);
    }
    node->state->ops->batch_destroy(batch);
    bnd_sim_env_leave(node->sim);
    return rv;
}

static inline void node_catch_up(struct node *node) {
    while (node->up && !node->lags && node->applied < node->cluster->log_len) {
        struct bnd_buf reply = {0};
        bnd_sim_env_enter(node->sim);
        (void)node_apply(node, &node->cluster->log[node->applied], &reply);
        bnd_buf_free(&reply);
        bnd_sim_env_leave(node->sim);
    }
}

/* Applies on every live node; all must say the same. The reply is the last node's, in plain memory.
 */
static inline int cluster_apply(struct cluster *cluster, uint64_t gid, struct bnd_slice bytes,
                                uint8_t *out, size_t *out_len) {
    assert_true(cluster->log_len < LOG_MAX);
    struct logged *entry = &cluster->log[cluster->log_len++];
    uint64_t now = cluster->stamp_skip_ms;
    for (size_t i = 0; i < NODES; i++) {
        if (cluster->nodes[i].up) {
            now += bnd_wall_ms(bnd_sim_env(cluster->nodes[i].sim));
            break;
        }
    }
    cluster->stamp_ms = now > cluster->stamp_ms ? now : cluster->stamp_ms;
    *entry = (struct logged){.gid = gid,
                             .stamp_ms = cluster->stamp_ms,
                             .time_suspended = cluster->time_suspended,
                             .len = bytes.len};
    entry->bytes = malloc(bytes.len);
    memcpy(entry->bytes, bytes.data, bytes.len);
    int rv = 0;
    bool first = true;
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        if (!node->up || node->lags) {
            continue;
        }
        struct bnd_buf reply = {0};
        bnd_sim_env_enter(node->sim);
        int got = node_apply(node, entry, &reply);
        if (first) {
            rv = got;
            *out_len = reply.len;
            assert_true(reply.len <= 4096); /* raft/dedupe keeps it */
            memcpy(out, reply.data == NULL ? (const uint8_t *)"" : reply.data, reply.len);
        }
        assert_int_equal(got, rv);
        assert_int_equal(reply.len, *out_len);
        assert_memory_equal(reply.data == NULL ? (const uint8_t *)"" : reply.data, out, reply.len);
        first = false;
        bnd_buf_free(&reply);
        bnd_sim_env_leave(node->sim);
    }
    return rv;
}

static inline int cluster_read(struct cluster *cluster, uint64_t gid, struct bnd_slice bytes,
                               uint8_t *out, size_t *out_len) {
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        if (!node->up || node->lags) {
            continue;
        }
        struct bnd_buf reply = {0};
        bnd_sim_env_enter(node->sim);
        struct bnd_fsm *fsm = fsm_of(node, gid);
        struct bnd_fsm_read context = {.gid = gid,
                                       .applied = node->applied,
                                       .stamp_ms = cluster->stamp_ms,
                                       .slot = slot_of(gid),
                                       .state = node->state};
        int rv = fsm->ops->read(fsm->self, &context, bytes, &reply);
        *out_len = reply.len;
        assert_true(reply.len <= 1 << 20);
        memcpy(out, reply.data == NULL ? (const uint8_t *)"" : reply.data, reply.len);
        bnd_buf_free(&reply);
        bnd_sim_env_leave(node->sim);
        return rv;
    }
    return BND_UNAVAILABLE;
}

struct pending {
    struct bnd_sim_event event;
    struct cluster *cluster;
    struct bnd_shard_call *call; /* NULL: cancelled */
    enum bnd_shard_call_kind kind;
    uint64_t gid;
    uint8_t *bytes;
    size_t len;
};

static inline void pending_free(struct pending *pending) {
    free(pending->bytes);
    free(pending);
}

static inline void pending_run(struct bnd_sim_event *event) {
    struct pending *pending = event->data;
    struct cluster *cluster = pending->cluster;
    static uint8_t reply[1 << 20];
    size_t len = 0;
    struct bnd_slice bytes = bnd_slice(pending->bytes, pending->len);
    int rv = BND_UNAVAILABLE;
    if (cluster->calls_left > 0) {
        cluster->refuse = --cluster->calls_left == 0;
    }
    if (!cluster->refuse) {
        rv = pending->kind == BND_SHARD_WRITE
                 ? cluster_apply(cluster, pending->gid, bytes, reply, &len)
                 : cluster_read(cluster, pending->gid, bytes, reply, &len);
    }
    struct bnd_shard_call *call = pending->call;
    pending_free(pending);
    if (call != NULL) {
        call->priv[0] = NULL;
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, reply, len);
        call->cb(call, rv, bnd_slice(copy, len));
        free(copy);
    }
}

static inline void pending_drop(struct bnd_sim_event *event) {
    pending_free(event->data);
}

int bnd_shard_call(struct bnd_shard_client *client, struct bnd_shard_call *call,
                   enum bnd_shard_call_kind kind, uint64_t gid, const struct bnd_slice *parts,
                   size_t count, uint64_t timeout_ns) {
    (void)timeout_ns;
    assert_int_equal(count, 1);
    struct pending *pending = calloc(1, sizeof *pending);
    pending->cluster = client->cluster;
    pending->call = call;
    pending->kind = kind;
    pending->gid = gid;
    pending->len = parts[0].len;
    pending->bytes = malloc(parts[0].len + 1);
    memcpy(pending->bytes, parts[0].data, parts[0].len);
    pending->event.run = pending_run;
    pending->event.drop = pending_drop;
    pending->event.data = pending;
    call->priv[0] = pending;
    bnd_sim_env_at(client->node->sim, &pending->event, BND_MS);
    return 0;
}

void bnd_shard_call_cancel(struct bnd_shard_call *call) {
    struct pending *pending = call->priv[0];
    if (pending != NULL) {
        pending->call = NULL;
        call->priv[0] = NULL;
    }
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static inline int replicas(void *owner, uint32_t shard, struct bnd_object_replicas *out) {
    const struct node *node = owner;
    (void)shard;
    *out = (struct bnd_object_replicas){.voters = node->cluster->voters};
    for (size_t i = 0; i < NODES; i++) {
        if (!node->cluster->nodes[i].left) {
            out->nodes[out->count++] = node->cluster->nodes[i].id;
        }
    }
    return 0;
}

static inline uint64_t stamp_ms(void *owner) {
    return ((const struct node *)owner)->cluster->stamp_ms;
}

static inline bool time_suspended(void *owner, uint64_t gid) {
    (void)gid;
    return ((const struct node *)owner)->cluster->time_suspended;
}

static inline void node_start(struct node *node) {
    struct cluster *cluster = node->cluster;
    struct bnd_error err = {0};
    node->sim = bnd_sim_env_create(cluster->world, node->disk, NULL, node->id);
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    assert_int_equal(env->ops->dir_make(env, "data", NULL), 0);
    assert_int_equal(env->ops->dir_sync(env, "", NULL), 0); /* the root */
    node->mesh = bnd_sim_net_attach(cluster->net, node->sim);
    assert_int_equal(bnd_rpc_create(env, node->mesh, 0, &node->rpc), 0);
    node->state = bnd_sim_store_open(node->store, node->sim);
    struct bnd_objects_config config = {.env = env,
                                        .rpc = node->rpc,
                                        .mesh = node->mesh,
                                        .shards = SHARDS,
                                        .self = node->id,
                                        .bodies_dir = "data/bodies",
                                        .owner = node,
                                        .replicas = replicas,
                                        .stamp_ms = stamp_ms,
                                        .time_suspended = time_suspended,
                                        .pacer = &cluster->pacer,
                                        .upload_bytes_max = cluster->upload_bytes_max,
                                        .reader_bytes_max = cluster->reader_bytes_max,
                                        .sweep_ns = 2000 * BND_MS};
    int rv = bnd_objects_create(&config, &node->objects, &err);
    if (rv != 0) {
        fail_msg("objects: %s", err.message);
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        uint64_t gid = bnd_gid(BND_GROUP_OBJECTS, i);
        assert_int_equal(bnd_objects_fsm_make(node->objects, gid, &node->fsm[i], &err), 0);
        assert_int_equal(node->fsm[i].ops->open(node->fsm[i].self, gid, i + 1, node->state, &err),
                         0);
    }
    node->client = (struct bnd_shard_client){.cluster = cluster, .node = node};
    bnd_objects_start(node->objects, &node->client);
    node->up = true;
    node->applied =
        0; /* the whole log again: what was persisted is applied twice, to the same end */
    bnd_sim_env_leave(node->sim);
}

static inline void set_flag(void *data) {
    *(bool *)data = true;
}

static inline bool flag_set(void *data) {
    return *(bool *)data;
}

static inline void node_close_groups(struct node *node) {
    for (uint32_t i = 0; i < SHARDS && !node->left; i++) {
        node->fsm[i].ops->close(node->fsm[i].self);
    }
}

/* Its replicas are destroyed; its files stay. */
static inline void node_leave(struct node *node) {
    bnd_sim_env_enter(node->sim);
    node_close_groups(node);
    bnd_sim_env_leave(node->sim);
    node->lags = true;
    node->left = true;
}

static inline void node_stop(struct node *node) {
    bool closed = false;
    bnd_sim_env_enter(node->sim);
    node_close_groups(node);
    bnd_objects_close(node->objects, set_flag, &closed);
    bnd_sim_env_leave(node->sim);
    assert_true(bnd_sim_run_until_true(node->cluster->world, flag_set, &closed, 60000 * BND_MS));
    bnd_sim_env_enter(node->sim);
    bnd_rpc_destroy(node->rpc);
    node->state->ops->close(node->state);
    bnd_sim_net_detach(node->mesh);
    bnd_sim_env_leave(node->sim);
    bnd_sim_env_stop(node->sim); /* aborts if anything is left behind */
    node->up = false;
}

static inline void node_crash(struct node *node, enum bnd_sim_crash kind) {
    bnd_sim_env_crash(node->sim, kind);
    node->up = false;
    bnd_sim_store_wipe(node->store); /* the log is applied again from its start */
}

static inline void cluster_start(struct cluster *cluster, uint64_t seed) {
    *cluster = (struct cluster){.voters = NODES};
    cluster->world = bnd_sim_world_create(seed);
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = 0; /* loss within a connection is the sender's timeout: tested apart */
    cluster->net = bnd_sim_net_create(cluster->world, &net);
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        node->cluster = cluster;
        node->id = i + 1;
        node->disk = bnd_sim_disk_create(cluster->world, node->id, 0);
        node->store = bnd_sim_store_create(cluster->world, node->id);
        node_start(node);
    }
    bnd_sim_run_for(cluster->world, 1000 * BND_MS); /* connections */
}

static inline void cluster_stop(struct cluster *cluster) {
    for (size_t i = 0; i < NODES; i++) {
        if (cluster->nodes[i].up) {
            node_stop(&cluster->nodes[i]);
        }
        bnd_sim_store_destroy(cluster->nodes[i].store);
        bnd_sim_disk_destroy(cluster->nodes[i].disk);
    }
    bnd_sim_net_destroy(cluster->net);
    bnd_sim_world_destroy(cluster->world);
    for (uint64_t i = 0; i < cluster->log_len; i++) {
        free(cluster->log[i].bytes);
    }
}

/* ---- a client on a node: one thing at a time --------------------------------------------------
 */

struct answer {
    bool done;
    int status;
    bool flag;
    uint32_t part;
    uint8_t id[BND_OBJECT_ID_BYTES];
    uint8_t version[BND_OBJECT_ID_BYTES];
    uint64_t size;
    uint64_t uploaded_ms;
    char etag[BND_OBJECT_ETAG_TEXT];
    char text[4096]; /* of whatever the test is about */
    struct bnd_object object;
};

static inline void await(struct cluster *cluster, struct answer *answer) {
    assert_true(bnd_sim_run_until_true(cluster->world, flag_set, &answer->done, 120000 * BND_MS));
}

static inline void answer_object(struct answer *answer, int status, struct bnd_object *object) {
    answer->status = status;
    answer->done = true;
    if (object != NULL) {
        answer->size = object->meta.size;
        answer->uploaded_ms = object->meta.uploaded_ms;
        memcpy(answer->version, object->meta.version, sizeof answer->version);
        bnd_object_etag_text(&object->meta, answer->etag);
    }
}

static inline void on_written(struct bnd_upload *upload, void *data, int status) {
    (void)upload;
    ((struct answer *)data)->status = status;
    ((struct answer *)data)->done = true;
}

static inline void on_committed(struct bnd_upload *upload, void *data, int status,
                                struct bnd_object *object) {
    (void)upload;
    answer_object(data, status, object);
}

struct put {
    struct bnd_object_name name;
    struct bnd_object_conditions conditions;
    struct bnd_object_fields fields;
    const uint8_t *upload_id;
    uint32_t part;
    uint8_t md5; /* the first byte of the etag */
};

static inline struct put put_of(uint64_t bucket, const char *key) {
    return (struct put){
        .name = {.bucket = {.id = bucket, .segments = 2}, .key = bnd_slice_str(key)},
        .conditions = bnd_object_conditions_none(),
        .fields = bnd_object_fields_none()};
}

/* Writes what pattern() gives for len bytes. */
static inline uint8_t pattern(uint64_t seed, uint64_t i) {
    return (uint8_t)((i * 2654435761u + seed * 40503u + (i >> 13)) >> 7);
}

static inline int node_put(struct node *node, const struct put *put, uint64_t seed, size_t len,
                           struct answer *out) {
    struct bnd_upload *upload = NULL;
    struct bnd_upload_options options = {
        .name = put->name, .size = len, .upload_id = put->upload_id, .part = put->part};
    static uint8_t chunk[100000];
    *out = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    int rv = bnd_upload_begin(node->objects, &options, &upload, NULL);
    bnd_sim_env_leave(node->sim);
    for (size_t at = 0; rv == 0 && at < len; at += sizeof chunk) {
        size_t n = len - at < sizeof chunk ? len - at : sizeof chunk;
        for (size_t i = 0; i < n; i++) {
            chunk[i] = pattern(seed, at + i);
        }
        out->done = false;
        bnd_sim_env_enter(node->sim);
        rv = bnd_upload_write(upload, bnd_slice(chunk, n), on_written, out);
        bnd_sim_env_leave(node->sim);
        if (rv == 0) {
            await(node->cluster, out);
            rv = out->status;
        }
    }
    struct bnd_upload_commit commit = {
        .fields = put->fields, .conditions = put->conditions, .etag_md5 = {put->md5}};
    if (rv == 0) {
        out->done = false;
        bnd_sim_env_enter(node->sim);
        rv = bnd_upload_commit(upload, &commit, on_committed, out);
        bnd_sim_env_leave(node->sim);
    }
    if (rv == 0) {
        await(node->cluster, out);
        rv = out->status;
    }
    bnd_sim_env_enter(node->sim);
    bnd_upload_destroy(upload);
    bnd_sim_env_leave(node->sim);
    return rv;
}

static inline void on_head(struct bnd_object_head *head, int status, struct bnd_object *object) {
    struct answer *answer = head->data;
    answer_object(answer, status, object);
    if (object != NULL) {
        bnd_object_move(&answer->object, object);
    }
}

/* The object stays in out->object: free it on the same node. */
static inline int node_head(struct node *node, const struct bnd_object_name *name,
                            struct answer *out) {
    struct bnd_object_head head = {.cb = on_head, .data = out};
    *out = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    int rv = bnd_object_head(node->objects, &head, name);
    bnd_sim_env_leave(node->sim);
    if (rv == 0) {
        await(node->cluster, out);
        rv = out->status;
    }
    return rv;
}

static inline void answer_free(struct node *node, struct answer *answer) {
    bnd_sim_env_enter(node->sim);
    bnd_object_free(&answer->object);
    bnd_sim_env_leave(node->sim);
}

struct reading {
    bool done;
    int status;
    uint64_t seed;
    uint64_t at;
    uint64_t got;
    bool end;
};

static inline void on_chunk(struct bnd_object_reader *reader, void *data, int status,
                            struct bnd_slice chunk) {
    struct reading *reading = data;
    (void)reader;
    reading->done = true;
    reading->status = status;
    reading->end = status == 0 && chunk.len == 0;
    for (size_t i = 0; i < chunk.len; i++) {
        assert_int_equal(chunk.data[i], pattern(reading->seed, reading->at + i));
    }
    reading->at += chunk.len;
    reading->got += chunk.len;
}

/* Reads a range of a head's object (which it takes) and compares it with pattern(seed). */
static inline int node_read(struct node *node, struct answer *head, uint64_t seed, uint64_t offset,
                            uint64_t length) {
    struct bnd_object_reader *reader = NULL;
    struct reading reading = {.seed = seed, .at = offset};
    bnd_sim_env_enter(node->sim);
    int rv = bnd_object_reader_open(node->objects, &head->object, offset, length, &reader);
    bnd_sim_env_leave(node->sim);
    while (rv == 0 && !reading.end) {
        reading.done = false;
        bnd_sim_env_enter(node->sim);
        rv = bnd_object_reader_next(reader, on_chunk, &reading);
        bnd_sim_env_leave(node->sim);
        if (rv == 0) {
            assert_true(bnd_sim_run_until_true(node->cluster->world, flag_set, &reading.done,
                                               120000 * BND_MS));
            rv = reading.status;
        }
    }
    bnd_sim_env_enter(node->sim);
    bnd_object_reader_destroy(reader);
    bnd_sim_env_leave(node->sim);
    if (rv == 0) {
        assert_int_equal(reading.got, length);
    }
    return rv;
}

/* ---- files of bodies --------------------------------------------------------------------------
 */

static inline struct body_id id_of(const struct put *put, const uint8_t *version) {
    struct body_id id = {.gid = bnd_object_gid(put->name.bucket.id, put->name.bucket.segments,
                                               put->name.key, SHARDS)};
    memcpy(id.version, version, sizeof id.version);
    return id;
}

/* 0 if the node's file of this body is whole. */
static inline int file_of(struct node *node, const struct body_id *id) {
    char path[BODY_PATH_MAX];
    struct body_info info;
    assert_true(body_path("data/bodies", id, path));
    bnd_sim_env_enter(node->sim);
    int rv = body_verify(bnd_sim_env(node->sim), path, &info, NULL);
    bnd_sim_env_leave(node->sim);
    return rv;
}

static inline void file_lose(struct node *node, const struct body_id *id) {
    char path[BODY_PATH_MAX];
    assert_true(body_path("data/bodies", id, path));
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    assert_int_equal(env->ops->unlink(env, path, NULL), 0);
    bnd_sim_env_leave(node->sim);
}

/* One bit, in the middle. */
static inline void file_damage(struct node *node, const struct body_id *id) {
    char path[BODY_PATH_MAX];
    assert_true(body_path("data/bodies", id, path));
    assert_int_equal(bnd_sim_disk_flip(node->disk, path, 200000, 3), 0);
}

#endif
