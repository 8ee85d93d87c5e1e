/* One node with the real Raft host and shard client, on the simulated disk: put, list, crash, read
 * again. */
#include "objects/objects.h"

#include "raft/client.h"
#include "raft/core.h"
#include "raft/host.h"
#include "tests/sim/env.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NODE = 1, BIG = 300000 };

struct rig {
    struct bnd_sim_world *world;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_net *net;
    struct bnd_sim_env *sim;
    struct bnd_rpc *rpc;
    struct bnd_raft_host *host;
    struct bnd_shard_client *client;
    struct bnd_objects *objects;
    bool done;
    int status;
};

static int fsm_make(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err) {
    return bnd_objects_fsm_make(((struct rig *)owner)->objects, gid, out, err);
}

static bool group_wanted(void *owner, uint64_t gid, uint64_t from) {
    (void)owner;
    (void)gid;
    (void)from;
    return false;
}

static void group_changed(void *owner, uint64_t gid) {
    (void)owner;
    (void)gid;
}

static void fatal(void *owner, const struct bnd_error *why) {
    (void)owner;
    fail_msg("fatal: %s", why->message);
}

static int replicas(void *owner, uint32_t shard, struct bnd_object_replicas *out) {
    (void)owner;
    (void)shard;
    *out = (struct bnd_object_replicas){.nodes = {NODE}, .count = 1, .voters = 1};
    return 0;
}

static uint64_t stamp_ms(void *owner) {
    const struct rig *rig = owner;
    return rig->host == NULL ? 0 : bnd_raft_stamp_ms(rig->host);
}

static bool is_done(void *data) {
    return ((struct rig *)data)->done;
}

static void await(struct rig *rig) {
    assert_true(bnd_sim_run_until_true(rig->world, is_done, rig, 60000 * BND_MS));
}

static void on_status(void *data, int status) {
    struct rig *rig = data;
    rig->status = status;
    rig->done = true;
}

static void boot(struct rig *rig, bool first) {
    struct bnd_error err = {0};
    const uint64_t gid = bnd_gid(BND_GROUP_OBJECTS, 0);
    const uint64_t self = NODE;
    rig->host = NULL;
    rig->sim = bnd_sim_env_create(rig->world, rig->disk, NULL, NODE);
    bnd_sim_env_enter(rig->sim);
    struct bnd_env *env = bnd_sim_env(rig->sim);
    struct bnd_mesh *mesh = bnd_sim_net_attach(rig->net, rig->sim);
    assert_int_equal(env->ops->dir_make(env, "data", NULL), 0);
    assert_int_equal(env->ops->dir_sync(env, "", NULL), 0);
    assert_int_equal(bnd_rpc_create(env, mesh, 0, &rig->rpc), 0);
    struct bnd_objects_config objects = {.env = env,
                                         .rpc = rig->rpc,
                                         .mesh = mesh,
                                         .shards = 1,
                                         .self = NODE,
                                         .bodies_dir = "data/bodies",
                                         .owner = rig,
                                         .replicas = replicas,
                                         .stamp_ms = stamp_ms};
    assert_int_equal(bnd_objects_create(&objects, &rig->objects, &err), 0);
    struct bnd_raft_host_config host = {.env = env,
                                        .mesh = mesh,
                                        .rpc = rig->rpc,
                                        .state = bnd_sim_store_open(rig->store, rig->sim),
                                        .journal_dir = "data/journal",
                                        .journal_segment_bytes = 8 << 20,
                                        .cluster_id = 5,
                                        .node_id = NODE,
                                        .guards = BND_RAFT_GUARDS_ALL,
                                        .owner = rig,
                                        .fsm_make = fsm_make,
                                        .group_wanted = group_wanted,
                                        .group_changed = group_changed,
                                        .fatal = fatal};
    if (bnd_raft_host_create(&host, &rig->host, &err) != 0) {
        fail_msg("host: %s", err.message);
    }
    if (first) {
        struct bnd_raft_member member = {.node = NODE, .role = BND_RAFT_VOTER};
        rig->done = false;
        assert_int_equal(bnd_raft_group_bootstrap(rig->host, gid, &member, 1, on_status, rig), 0);
        bnd_sim_env_leave(rig->sim);
        await(rig);
        assert_int_equal(rig->status, 0);
        bnd_sim_env_enter(rig->sim);
    }
    struct bnd_shard_client_config client = {.env = env, .rpc = rig->rpc, .host = rig->host};
    assert_int_equal(bnd_shard_client_create(&client, &rig->client), 0);
    bnd_shard_client_members(rig->client, gid, &self, 1);
    bnd_objects_start(rig->objects, rig->client);
    bnd_sim_env_leave(rig->sim);
}

static struct bnd_object_name name_of(const char *key) {
    return (struct bnd_object_name){.bucket = {.id = 3}, .key = bnd_slice_str(key)};
}

static void on_written(struct bnd_upload *upload, void *data, int status) {
    (void)upload;
    on_status(data, status);
}

static void on_committed(struct bnd_upload *upload, void *data, int status,
                         struct bnd_object *object) {
    (void)upload;
    (void)object;
    on_status(data, status);
}

static void put(struct rig *rig, const char *key, size_t len) {
    static uint8_t bytes[100000];
    struct bnd_upload *upload = NULL;
    struct bnd_upload_options options = {.name = name_of(key), .size = len};
    memset(bytes, 'x', sizeof bytes);
    bnd_sim_env_enter(rig->sim);
    assert_int_equal(bnd_upload_begin(rig->objects, &options, &upload, NULL), 0);
    for (size_t at = 0; at < len; at += sizeof bytes) {
        size_t n = len - at < sizeof bytes ? len - at : sizeof bytes;
        rig->done = false;
        assert_int_equal(bnd_upload_write(upload, bnd_slice(bytes, n), on_written, rig), 0);
        bnd_sim_env_leave(rig->sim);
        await(rig);
        assert_int_equal(rig->status, 0);
        bnd_sim_env_enter(rig->sim);
    }
    struct bnd_upload_commit commit = {.fields = bnd_object_fields_none(),
                                       .conditions = bnd_object_conditions_none()};
    rig->done = false;
    assert_int_equal(bnd_upload_commit(upload, &commit, on_committed, rig), 0);
    bnd_sim_env_leave(rig->sim);
    await(rig);
    assert_int_equal(rig->status, 0);
    bnd_sim_env_enter(rig->sim);
    bnd_upload_destroy(upload);
    bnd_sim_env_leave(rig->sim);
}

static struct bnd_object_reader *reader;
static size_t got;

static void on_chunk(struct bnd_object_reader *self, void *data, int status,
                     struct bnd_slice chunk) {
    struct rig *rig = data;
    for (size_t i = 0; i < chunk.len; i++) {
        assert_int_equal(chunk.data[i], 'x');
    }
    got += chunk.len;
    if (status != 0 || chunk.len == 0) {
        on_status(rig, status);
    } else {
        assert_int_equal(bnd_object_reader_next(self, on_chunk, rig), 0);
    }
}

static void on_head(struct bnd_object_head *head, int status, struct bnd_object *object) {
    struct rig *rig = head->data;
    assert_int_equal(status, 0);
    assert_int_equal(bnd_object_reader_open(rig->objects, object, 0, object->meta.size, &reader),
                     0);
    assert_int_equal(bnd_object_reader_next(reader, on_chunk, rig), 0);
}

static void check(struct rig *rig, const char *key, size_t len) {
    struct bnd_object_head head = {.cb = on_head, .data = rig};
    struct bnd_object_name name = name_of(key);
    rig->done = false;
    got = 0;
    bnd_sim_env_enter(rig->sim);
    assert_int_equal(bnd_object_head(rig->objects, &head, &name), 0);
    bnd_sim_env_leave(rig->sim);
    await(rig);
    assert_int_equal(rig->status, 0);
    assert_int_equal(got, len);
    bnd_sim_env_enter(rig->sim);
    bnd_object_reader_destroy(reader);
    bnd_sim_env_leave(rig->sim);
}

static void test_acknowledged_objects_survive_power_loss(void **state) {
    static struct rig rig;
    (void)state;
    rig.world = bnd_sim_world_create(1);
    rig.disk = bnd_sim_disk_create(rig.world, NODE, 0);
    rig.store = bnd_sim_store_create(rig.world, NODE);
    rig.net = bnd_sim_net_create(rig.world, NULL);
    boot(&rig, true);
    for (int i = 0; i < 5; i++) {
        put(&rig, "small", 1000);
        put(&rig, "large", BIG + (size_t)i);
        check(&rig, "small", 1000);
        check(&rig, "large", BIG + (size_t)i);
        bnd_sim_env_crash(rig.sim, BND_SIM_POWER);
        boot(&rig, false);
        check(&rig, "small", 1000);
        check(&rig, "large", BIG + (size_t)i);
    }
    bnd_sim_env_crash(rig.sim, BND_SIM_KILL);
    bnd_sim_store_destroy(rig.store);
    bnd_sim_disk_destroy(rig.disk);
    bnd_sim_net_destroy(rig.net);
    bnd_sim_world_destroy(rig.world);
}

int main(void) {
    struct bnd_error err;
    assert_int_equal(bnd_core_library_init(&err), 0); /* libraft's memory goes with its node */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acknowledged_objects_survive_power_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
