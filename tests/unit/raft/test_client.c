/* The shard client: calls from nodes and from a process without storage, over crashes and losses.
 */
#include "tests/unit/raft/host_fixture.h"

/* A call over the shard client, awaited. */
struct call {
    struct bnd_shard_call call;
    struct waiting waiting;
};

static void on_called(struct bnd_shard_call *shard_call, int status, struct bnd_slice reply) {
    struct call *call = shard_call->data;
    call->waiting.done = true;
    call->waiting.status = status;
    call->waiting.reply_len = reply.len;
    if (reply.len > 0) {
        memcpy(call->waiting.reply, reply.data, reply.len);
    }
}

static void call_start_to(struct bnd_sim_env *env, struct bnd_shard_client *client, uint64_t gid,
                          struct call *call, enum bnd_shard_call_kind kind, struct bnd_slice body) {
    call->call = (struct bnd_shard_call){.cb = on_called, .data = call};
    call->waiting.done = false;
    bnd_sim_env_enter(env);
    assert_int_equal(bnd_shard_call(client, &call->call, kind, gid, &body, 1, 0), 0);
    bnd_sim_env_leave(env);
    assert_false(call->waiting.done);
}

static void call_start(struct bnd_sim_env *env, struct bnd_shard_client *client, struct call *call,
                       enum bnd_shard_call_kind kind, struct bnd_slice body) {
    call_start_to(env, client, GID, call, kind, body);
}

static struct call shard_call;

/* ADD 1 through the client: the sum, or a negative code. */
static int64_t client_add_to(struct cluster *c, struct bnd_sim_env *env,
                             struct bnd_shard_client *client, uint64_t gid) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    call_start_to(env, client, gid, &shard_call, BND_SHARD_WRITE, bnd_buf_slice(&command));
    assert_true(bnd_sim_run_until_true(c->world, is_done, &shard_call.waiting, 60 * SECOND));
    return shard_call.waiting.status == 0 ? (int64_t)bnd_get_u64(shard_call.waiting.reply)
                                          : shard_call.waiting.status;
}

static int64_t client_add(struct cluster *c, struct bnd_sim_env *env,
                          struct bnd_shard_client *client) {
    return client_add_to(c, env, client, GID);
}

static int64_t client_get(struct cluster *c, struct bnd_sim_env *env,
                          struct bnd_shard_client *client) {
    BND_AUTO_BUF struct bnd_buf query = {0};
    kv_get(&query, bnd_slice_str("a"));
    call_start(env, client, &shard_call, BND_SHARD_READ, bnd_buf_slice(&query));
    assert_true(bnd_sim_run_until_true(c->world, is_done, &shard_call.waiting, 60 * SECOND));
    return shard_call.waiting.status == 0 ? (int64_t)bnd_get_u64(shard_call.waiting.reply)
                                          : shard_call.waiting.status;
}

static void know_members_of(struct bnd_sim_env *env, struct bnd_shard_client *client,
                            uint64_t gid) {
    static const uint64_t nodes[NODES] = {1, 2, 3};
    bnd_sim_env_enter(env);
    bnd_shard_client_members(client, gid, nodes, NODES);
    bnd_sim_env_leave(env);
}

static void know_members(struct bnd_sim_env *env, struct bnd_shard_client *client) {
    know_members_of(env, client, GID);
}

static void any_node_takes_calls_and_hides_a_leader_crash(void **state) {
    (void)state;
    struct cluster *c = three(18);
    for (size_t i = 0; i < NODES; i++) {
        know_members(c->nodes[i].env, c->nodes[i].client);
    }
    int64_t sum = 0;
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(client_add(c, c->nodes[i].env, c->nodes[i].client), ++sum);
        assert_int_equal(client_get(c, c->nodes[i].env, c->nodes[i].client), sum);
    }
    struct node *leader = cluster_leader(c, GID);
    struct node *other = other_than(c, leader);
    node_crash(leader, BND_SIM_POWER);
    assert_int_equal(client_add(c, other->env, other->client), ++sum);
    assert_int_equal(client_get(c, other->env, other->client), sum);
    cluster_close(c);
}

/* A process without storage, with a clock of its own that is wrong by a day. */
struct gateway {
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *env;
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_shard_client *client;
};

static void gateway_open(struct gateway *gateway, struct cluster *c) {
    const struct bnd_sim_clock clock = {.offset_ms = -86400 * 1000};
    gateway->disk = bnd_sim_disk_create(c->world, 9, 0);
    gateway->env = bnd_sim_env_create(c->world, gateway->disk, &clock, 9);
    bnd_sim_env_enter(gateway->env);
    gateway->mesh = bnd_sim_net_attach(c->net, gateway->env);
    assert_int_equal(bnd_rpc_create(bnd_sim_env(gateway->env), gateway->mesh, 0, &gateway->rpc), 0);
    const struct bnd_shard_client_config config = {.env = bnd_sim_env(gateway->env),
                                                   .rpc = gateway->rpc};
    assert_int_equal(bnd_shard_client_create(&config, &gateway->client), 0);
    bnd_sim_env_leave(gateway->env);
}

static void gateway_close(struct gateway *gateway) {
    bnd_sim_env_enter(gateway->env);
    bnd_shard_client_destroy(gateway->client);
    bnd_rpc_destroy(gateway->rpc);
    bnd_sim_net_detach(gateway->mesh);
    bnd_sim_env_leave(gateway->env);
    bnd_sim_env_stop(gateway->env);
    bnd_sim_disk_destroy(gateway->disk);
}

static void a_gateway_needs_no_clock(void **state) {
    (void)state;
    struct cluster *c = three(19);
    struct gateway gateway;
    gateway_open(&gateway, c);
    know_members(gateway.env, gateway.client);
    for (int64_t i = 1; i <= 5; i++) {
        assert_int_equal(client_add(c, gateway.env, gateway.client), i);
    }
    node_crash(cluster_leader(c, GID), BND_SIM_POWER);
    assert_int_equal(client_add(c, gateway.env, gateway.client), 6);
    assert_int_equal(client_get(c, gateway.env, gateway.client), 6);
    gateway_close(&gateway);
    cluster_close(c);
}

static void move_clocks(struct cluster *c, int64_t ms) {
    for (size_t i = 0; i < NODES; i++) {
        c->nodes[i].clock.offset_ms += ms;
    }
}

/* A clock that was wrong for a moment has moved one group's time by three hours, and no other's:
 * writes go on in both, through whoever learnt the time of the one or of the other first. */
static void each_group_has_a_time_of_its_own(void **state) {
    (void)state;
    enum { OTHER = GID + 1, HOURS_MS = 3 * 3600 * 1000 };
    struct cluster *c = three(33);
    cluster_bootstrap(c, OTHER, NODES);
    for (size_t i = 0; i < NODES; i++) {
        know_members(c->nodes[i].env, c->nodes[i].client);
        know_members_of(c->nodes[i].env, c->nodes[i].client, OTHER);
    }
    assert_int_equal(add_one(cluster_leader(c, OTHER), OTHER, "a"), 1);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 1);
    move_clocks(c, HOURS_MS);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 2);
    move_clocks(c, -HOURS_MS);
    for (int64_t i = 0; i < NODES; i++) {
        struct node *node = &c->nodes[i];
        assert_int_equal(client_add_to(c, node->env, node->client, OTHER), 2 * i + 2);
        assert_int_equal(client_add(c, node->env, node->client), i + 3);
        assert_int_equal(client_add_to(c, node->env, node->client, OTHER), 2 * i + 3);
    }
    cluster_close(c);
}

/* Who has no map asks everybody it knows, however many; whom it meets takes nobody's place. */
static void who_is_met_is_asked_too(void **state) {
    (void)state;
    enum { STRANGERS = 2 * BND_RAFT_MEMBERS_MAX };
    struct cluster *c = three(27);
    struct gateway gateway;
    gateway_open(&gateway, c);
    bnd_sim_env_enter(gateway.env);
    for (uint64_t i = 0; i < STRANGERS; i++) {
        bnd_shard_client_member_add(gateway.client, GID, 100 + i);
    }
    bnd_shard_client_member_add(gateway.client, GID, cluster_leader(c, GID)->id);
    bnd_sim_env_leave(gateway.env);
    assert_int_equal(client_add(c, gateway.env, gateway.client), 1);
    know_members(gateway.env, gateway.client);
    bnd_sim_env_enter(gateway.env);
    bnd_shard_client_member_add(gateway.client, GID, 100);
    bnd_sim_env_leave(gateway.env);
    node_crash(cluster_leader(c, GID), BND_SIM_POWER);
    assert_int_equal(client_add(c, gateway.env, gateway.client), 2);
    gateway_close(&gateway);
    cluster_close(c);
}

static void without_a_majority_a_call_says_so(void **state) {
    (void)state;
    struct cluster *c = three(20);
    struct node *leader = cluster_leader(c, GID);
    know_members(leader->env, leader->client);
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != leader) {
            node_crash(&c->nodes[i], BND_SIM_POWER);
        }
    }
    assert_int_equal(client_add(c, leader->env, leader->client), BND_UNKNOWN); /* it was proposed */
    assert_int_equal(client_add(c, leader->env, leader->client), BND_UNAVAILABLE);
    assert_int_equal(client_get(c, leader->env, leader->client), BND_UNAVAILABLE);
    cluster_close(c);
}

static bool drop_rpc_to(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                        struct bnd_slice bytes) {
    (void)from;
    (void)bytes;
    return kind != BND_MESH_RPC || to != ((struct node *)data)->id;
}

/* A write was executed, its answer lost, and nobody is left to ask: it must not be called "not
 * executed". */
static void a_lost_answer_stays_unknown(void **state) {
    (void)state;
    struct cluster *c = three(25);
    struct node *leader = cluster_leader(c, GID);
    struct node *asker = other_than(c, leader);
    know_members(asker->env, asker->client);
    assert_int_equal(client_add(c, asker->env, asker->client), 1);
    bnd_sim_net_filter(c->net, drop_rpc_to, asker);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    call_start(asker->env, asker->client, &shard_call, BND_SHARD_WRITE, bnd_buf_slice(&command));
    bnd_sim_run_for(c->world, SECOND);
    assert_int_equal(read_counter(leader, GID, "a"), 2);
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != asker) {
            node_crash(&c->nodes[i], BND_SIM_KILL);
        }
    }
    assert_true(bnd_sim_run_until_true(c->world, is_done, &shard_call.waiting, 60 * SECOND));
    assert_int_equal(shard_call.waiting.status, BND_UNKNOWN);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

/* Without a majority nothing is decided about it: not that it was executed, and not that it never
 * will be. */
static void an_entry_without_outcome_is_unknown(void **state) {
    (void)state;
    struct cluster *c = three(18);
    struct node *leader = cluster_leader(c, GID);
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != leader) {
            node_crash(&c->nodes[i], BND_SIM_POWER);
        }
    }
    assert_int_equal(add_one(leader, GID, "a"), BND_UNKNOWN);
    cluster_close(c);
}

/* A clean stop while an entry is under way: others may still execute it. */
static void a_stop_leaves_what_flies_unknown(void **state) {
    (void)state;
    struct cluster *c = three(20);
    struct node *leader = cluster_leader(c, GID);
    BND_AUTO_BUF struct bnd_buf command = {0};
    static struct attempt flying;
    kv_add(&command, bnd_slice_str("a"), 1);
    bnd_sim_net_isolate(c->net, leader->id, false);
    flying = (struct attempt){0};
    assert_int_equal(propose_start(leader, GID, &flying, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, SECOND / 10);
    assert_false(flying.waiting.done);
    node_stop(leader);
    assert_true(flying.waiting.done);
    assert_int_equal(flying.waiting.status, BND_UNKNOWN);
    bnd_sim_net_heal(c->net);
    cluster_close(c);
}

/* A node that stops closes its host first: what still calls from there goes to others, and others
 * do not stay with it. (With a freed host the address sanitizer ends it.) */
static void a_client_outlives_its_host(void **state) {
    (void)state;
    struct cluster *c = three(26);
    struct node *leader = cluster_leader(c, GID);
    struct node *other = other_than(c, leader);
    know_members(leader->env, leader->client);
    know_members(other->env, other->client);
    assert_int_equal(client_add(c, other->env, other->client), 1);
    node_close_host(leader);
    bnd_shard_client_hostless(leader->client);
    assert_int_equal(client_add(c, leader->env, leader->client), 2);
    assert_int_equal(client_add(c, other->env, other->client), 3);
    assert_int_equal(client_get(c, leader->env, leader->client), 3);
    node_destroy_client(leader);
    node_end(leader);
    cluster_close(c);
}

static void impossible_proposals_are_refused(void **state) {
    (void)state;
    static const uint8_t command[BND_RAFT_COMMAND_MAX + 1];
    struct cluster *c = three(19);
    struct attempt attempt = {0};
    assert_int_equal(
        propose_start(cluster_leader(c, GID), GID, &attempt, bnd_slice(command, sizeof command)),
        BND_TOOBIG);
    const struct bnd_raft_request_id id = {.minter = 99, .seq = 3};
    attempt.propose.id = (struct bnd_raft_request_id){.minter = 99};
    assert_int_equal(propose_start(cluster_leader(c, GID), GID, &attempt, bnd_slice(command, 1)),
                     BND_INVALID);
    attempt.propose.id = id;
    attempt.propose.low_seq = 4;
    assert_int_equal(propose_start(cluster_leader(c, GID), GID, &attempt, bnd_slice(command, 1)),
                     BND_INVALID);
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_node_takes_calls_and_hides_a_leader_crash),
        cmocka_unit_test(a_gateway_needs_no_clock),
        cmocka_unit_test(each_group_has_a_time_of_its_own),
        cmocka_unit_test(who_is_met_is_asked_too),
        cmocka_unit_test(without_a_majority_a_call_says_so),
        cmocka_unit_test(a_lost_answer_stays_unknown),
        cmocka_unit_test(an_entry_without_outcome_is_unknown),
        cmocka_unit_test(a_stop_leaves_what_flies_unknown),
        cmocka_unit_test(a_client_outlives_its_host),
        cmocka_unit_test(impossible_proposals_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
