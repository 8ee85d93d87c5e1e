/* Requests that the leader executes (ADR 0101): who is asked, under which id, and what the asker is
 * told when leaderships, connections and executors fail. */
#include "base/alloc.h"
#include "tests/unit/raft/host_fixture.h"

#define PENDING_MAX 64

enum conduct {
    HOLD,   /* until the test replies */
    ECHO,   /* replies the body, at once */
    REFUSE, /* replies `refusal` */
    ADD,    /* proposes ADD 1 to "a" under the id, and replies its outcome */
};

struct adding {
    struct bnd_raft_propose propose;
    struct bnd_raft_execution *execution;
};

static struct executor {
    enum conduct conduct;
    int refusal;
    unsigned refusals; /* then it echoes; 0: for ever */
    size_t seen;
    uint64_t node[PENDING_MAX]; /* by execution */
    struct bnd_raft_request_id id[PENDING_MAX];
    uint64_t low_seq[PENDING_MAX];
    struct bnd_raft_execution *pending[PENDING_MAX]; /* HOLD */
} executor;

static void on_added(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct adding *adding = propose->data;
    bool executed = status == 0;
    bnd_raft_execution_reply(adding->execution, executed, status, reply);
    bnd_free(adding);
}

static void add_for(struct node *node, struct bnd_raft_execution *execution) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    struct adding *adding = bnd_zalloc(sizeof *adding); /* its life's: gone with a crash */
    adding->execution = execution;
    adding->propose = (struct bnd_raft_propose){
        .id = execution->id,
        .low_seq = execution->low_seq,
        .deadline_ms = execution->deadline_ms,
        .command = bnd_buf_slice(&command),
        .cb = on_added,
        .data = adding,
    };
    int rv = bnd_raft_propose(node->host, execution->gid, &adding->propose);
    if (rv != 0) {
        bnd_free(adding);
        bnd_raft_execution_reply(execution, false, rv, bnd_slice(NULL, 0));
    }
}

static void on_execute(void *owner, struct bnd_raft_execution *execution) {
    struct node *node = owner;
    struct bnd_raft_group_status status;
    assert_int_equal(bnd_raft_group_status(node->host, execution->gid, &status), 0);
    assert_true(status.state == BND_RAFT_LEADER && status.ready);
    size_t at = executor.seen++ % PENDING_MAX;
    executor.node[at] = node->id;
    executor.id[at] = execution->id;
    executor.low_seq[at] = execution->low_seq;
    executor.pending[at] = NULL;
    switch (executor.conduct) {
    case HOLD:
        executor.pending[at] = execution;
        break;
    case ADD:
        add_for(node, execution);
        break;
    case REFUSE:
        bnd_raft_execution_reply(execution, false, executor.refusal, bnd_slice(NULL, 0));
        if (executor.refusals > 0 && --executor.refusals == 0) {
            executor.conduct = ECHO;
        }
        break;
    default:
        bnd_raft_execution_reply(execution, true, 0, execution->body);
        break;
    }
}

static void reply_held(struct cluster *c, size_t at, bool executed, int status, const char *text) {
    struct node *node = &c->nodes[executor.node[at] - 1];
    bnd_sim_env_enter(node->env);
    bnd_raft_execution_reply(executor.pending[at], executed, status, bnd_slice_str(text));
    bnd_sim_env_leave(node->env);
    executor.pending[at] = NULL;
}

/* ---- calls ------------------------------------------------------------------------------------*/

struct call {
    struct bnd_shard_call call;
    bool done;
    unsigned told;
    int status;
    size_t len;
    char text[64]; /* the first bytes */
};

static void on_called(struct bnd_shard_call *shard_call, int status, struct bnd_slice reply) {
    struct call *call = shard_call->data;
    call->done = true;
    call->told++;
    call->status = status;
    call->len = reply.len;
    memset(call->text, 0, sizeof call->text);
    if (reply.len > 0) {
        memcpy(call->text, reply.data, reply.len < sizeof call->text ? reply.len : 63);
    }
}

static bool call_done(void *data) {
    return ((struct call *)data)->done;
}

static void start_in(struct node *node, struct call *call, uint64_t gid, struct bnd_slice body) {
    static const uint64_t nodes[NODES] = {1, 2, 3};
    *call = (struct call){.call = {.cb = on_called, .data = call}};
    bnd_sim_env_enter(node->env);
    bnd_shard_client_members(node->client, gid, nodes, NODES);
    assert_int_equal(
        bnd_shard_call(node->client, &call->call, BND_SHARD_EXECUTE, gid, &body, 1, 30 * SECOND),
        0);
    bnd_sim_env_leave(node->env);
    assert_false(call->done);
}

static void start(struct node *node, struct call *call, struct bnd_slice body) {
    start_in(node, call, GID, body);
}

static void await(struct cluster *c, struct call *call, uint64_t ns) {
    assert_true(bnd_sim_run_until_true(c->world, call_done, call, ns));
    assert_int_equal(call->told, 1);
}

static bool seen_enough(void *data) {
    return executor.seen >= *(const size_t *)data;
}

static void await_seen(struct cluster *c, size_t count) {
    assert_true(bnd_sim_run_until_true(c->world, seen_enough, &count, 20 * SECOND));
    assert_int_equal(executor.seen, count);
}

static struct cluster *with_voters(uint64_t seed, enum conduct conduct, size_t voters) {
    executor = (struct executor){.conduct = conduct};
    cluster.config = (struct bnd_raft_host_config){.execute = on_execute};
    cluster_open(&cluster, seed);
    struct bnd_sim_net_config net; /* a lost message makes an outcome unknown */
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = 0;
    bnd_sim_net_configure(cluster.net, &net);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster.nodes[i]);
    }
    cluster_bootstrap(&cluster, GID, voters);
    (void)cluster_leader(&cluster, GID);
    return &cluster;
}

static struct cluster *with(uint64_t seed, enum conduct conduct) {
    return with_voters(seed, conduct, NODES);
}

static bool same_id(size_t a, size_t b) {
    return executor.id[a].minter == executor.id[b].minter &&
           executor.id[a].seq == executor.id[b].seq;
}

/* ---- tests ------------------------------------------------------------------------------------*/

static void the_leader_executes_whoever_is_asked(void **state) {
    (void)state;
    static struct call call;
    struct cluster *c = with(201, ECHO);
    struct node *leader = cluster_leader(c, GID);
    for (size_t i = 0; i < NODES; i++) {
        start(&c->nodes[i], &call, bnd_slice_str("hello"));
        await(c, &call, 2 * SECOND);
        assert_int_equal(call.status, 0);
        assert_string_equal(call.text, "hello");
        assert_int_equal(executor.node[i], leader->id);
        assert_true(executor.id[i].seq == 1 && executor.low_seq[i] == 1);
    }
    assert_int_equal(executor.seen, NODES);
    cluster_close(c);
}

/* A code of the executor's is an outcome like any other; what it refuses comes again. */
static void outcomes_are_final_and_refusals_are_not(void **state) {
    (void)state;
    static struct call call;
    struct cluster *c = with(202, HOLD);
    struct node *other = other_than(c, cluster_leader(c, GID));
    start(other, &call, bnd_slice_str("x"));
    await_seen(c, 1);
    reply_held(c, 0, true, BND_NOTFOUND, "no such thing");
    await(c, &call, 2 * SECOND);
    assert_int_equal(call.status, BND_NOTFOUND);
    assert_string_equal(call.text, "no such thing");
    executor = (struct executor){.conduct = REFUSE, .refusal = BND_BUSY, .refusals = 3};
    start(other, &call, bnd_slice_str("x"));
    await(c, &call, 5 * SECOND);
    assert_int_equal(call.status, 0);
    assert_int_equal(executor.seen, 4);
    assert_true(same_id(0, 1) && same_id(0, 3));
    cluster_close(c);
}

/* What the asker is told when its time is over without an outcome. */
static void unknown_is_told_only_where_it_is(void **state) {
    (void)state;
    static struct call call;
    struct cluster *c = with(203, REFUSE);
    struct node *leader = cluster_leader(c, GID);
    struct node *askers[] = {leader, other_than(c, leader)};
    executor = (struct executor){.conduct = REFUSE, .refusal = BND_FULL};
    start(leader, &call, bnd_slice_str("x")); /* elsewhere the last attempt may be on its way */
    await(c, &call, 31 * SECOND);
    assert_int_equal(call.status, BND_UNAVAILABLE);
    for (size_t i = 0; i < 2; i++) {
        executor = (struct executor){.conduct = REFUSE, .refusal = BND_UNKNOWN};
        start(askers[i], &call, bnd_slice_str("x"));
        await(c, &call, 31 * SECOND);
        assert_int_equal(call.status, BND_UNKNOWN);
        executor = (struct executor){.conduct = HOLD};
        start(askers[i], &call, bnd_slice_str("x"));
        await(c, &call, 31 * SECOND);
        assert_int_equal(call.status, BND_UNKNOWN);
        for (size_t at = 0; at < executor.seen; at++) {
            reply_held(c, at, true, 0, "too late");
        }
    }
    cluster_close(c);
}

/* Longer than an attempt of a write; and so long that it is asked for again, in case the answer was
 * lost. */
static void an_execution_may_take_its_time(void **state) {
    (void)state;
    static struct call call;
    struct cluster *c = with(204, HOLD);
    struct node *other = other_than(c, cluster_leader(c, GID));
    start(other, &call, bnd_slice_str("x"));
    bnd_sim_run_for(c->world, 8 * SECOND);
    assert_int_equal(executor.seen, 1);
    assert_false(call.done);
    bnd_sim_run_for(c->world, 4 * SECOND);
    assert_int_equal(executor.seen, 2);
    assert_true(same_id(0, 1));
    reply_held(c, 0, true, 0, "first"); /* of the attempt that nobody hears any more */
    bnd_sim_run_for(c->world, SECOND);
    assert_false(call.done);
    reply_held(c, 1, true, 0, "first");
    await(c, &call, 2 * SECOND);
    assert_string_equal(call.text, "first");
    cluster_close(c);
}

/* Whoever asked hears of it at once, here and elsewhere, and asks the next leader under the same
 * id; what the old one replies in the end is not heard. */
static void a_lost_leadership_moves_executions(void **state) {
    (void)state;
    static struct call local;
    static struct call remote;
    struct cluster *c = with(205, HOLD);
    struct node *old = cluster_leader(c, GID);
    struct node *other = other_than(c, old);
    start(old, &local, bnd_slice_str("local"));
    start(other, &remote, bnd_slice_str("remote"));
    await_seen(c, 2);
    bnd_sim_net_isolate(c->net, old->id, true);
    bnd_sim_run_for(c->world, 5 * SECOND); /* a cut connection is noticed, and another leads */
    assert_ptr_not_equal(cluster_leader(c, GID), old);
    await_seen(c, 3);
    assert_int_not_equal(executor.node[2], old->id);
    reply_held(c, 2, true, 0, "new");
    await(c, &remote, 2 * SECOND);
    assert_string_equal(remote.text, "new");
    bnd_sim_net_heal(c->net);
    await_seen(c, 4);
    assert_int_not_equal(executor.node[3], old->id);
    assert_true(same_id(2, 0) != same_id(2, 1));
    assert_true(same_id(3, 0) != same_id(3, 1));
    reply_held(c, 0, true, 0, "old");
    reply_held(c, 1, true, 0, "old");
    assert_false(local.done);
    reply_held(c, 3, true, 0, "new");
    await(c, &local, 2 * SECOND);
    assert_string_equal(local.text, "new");
    cluster_close(c);
}

/* Of what ran here when the leadership was lost nobody says that it was not executed. */
static void a_lost_leadership_leaves_outcomes_unknown(void **state) {
    (void)state;
    static struct call call;
    struct cluster *c = with(213, HOLD);
    struct node *old = cluster_leader(c, GID);
    start(old, &call, bnd_slice_str("x"));
    await_seen(c, 1);
    bnd_sim_net_isolate(c->net, old->id, true);
    await(c, &call, 31 * SECOND);
    assert_int_equal(call.status, BND_UNKNOWN);
    reply_held(c, 0, true, 0, "too late");
    bnd_sim_net_heal(c->net);
    cluster_close(c);
}

/* The executor proposes under the id: of all attempts together one has an outcome. */
static void an_id_is_executed_once_over_crashes(void **state) {
    (void)state;
    enum { CALLS = 60 };
    static struct call calls[CALLS];
    struct cluster *c = with(206, ADD);
    int64_t acknowledged = 0;
    for (size_t round = 0; round < 4; round++) {
        struct node *leader = cluster_leader(c, GID);
        struct node *asker = other_than(c, leader);
        for (size_t i = 0; i < CALLS; i++) {
            start(asker, &calls[i], bnd_slice_str("x"));
            bnd_sim_run_for(c->world, BND_MS);
            if (i == CALLS / 2) {
                node_crash(leader, BND_SIM_POWER);
            }
        }
        for (size_t i = 0; i < CALLS; i++) {
            await(c, &calls[i], 31 * SECOND);
            assert_int_equal(calls[i].status, 0);
            acknowledged++;
        }
        node_start(leader);
    }
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "a"), acknowledged);
    assert_true(executor.seen > (size_t)acknowledged);
    cluster_close(c);
}

static void bodies_and_answers_are_large(void **state) {
    (void)state;
    static uint8_t body[BND_RAFT_EXECUTE_BODY_MAX + 1];
    static uint8_t answer[BND_RAFT_EXECUTE_REPLY_MAX];
    static struct call call;
    struct cluster *c = with(207, HOLD);
    struct node *leader = cluster_leader(c, GID);
    struct node *askers[] = {leader, other_than(c, leader)};
    for (size_t i = 0; i < 2; i++) {
        executor = (struct executor){.conduct = HOLD};
        start(askers[i], &call, bnd_slice(body, sizeof body - 1));
        await_seen(c, 1);
        assert_int_equal(executor.pending[0]->body.len, sizeof body - 1);
        bnd_sim_env_enter(leader->env);
        bnd_raft_execution_reply(executor.pending[0], true, 0, bnd_slice(answer, sizeof answer));
        bnd_sim_env_leave(leader->env);
        await(c, &call, 5 * SECOND);
        assert_int_equal(call.status, 0);
        assert_int_equal(call.len, sizeof answer);
        start(askers[i], &call, bnd_slice(body, sizeof body));
        await(c, &call, SECOND);
        assert_int_equal(call.status, BND_TOOBIG);
    }
    cluster_close(c);
}

static void what_is_under_way_is_bounded(void **state) {
    (void)state;
    static struct call calls[5];
    executor = (struct executor){.conduct = HOLD};
    cluster.config = (struct bnd_raft_host_config){
        .execute = on_execute, .executions_max = 3, .executions_bytes_max = 2000};
    cluster_open(&cluster, 208);
    struct node *node = &cluster.nodes[0];
    node_start(node);
    cluster_bootstrap(&cluster, GID, 1);
    (void)cluster_leader(&cluster, GID);
    static const uint8_t body[900];
    for (size_t i = 0; i < 3; i++) { /* the third is over the bytes */
        start(node, &calls[i], bnd_slice(body, sizeof body));
    }
    start(node, &calls[3], bnd_slice(NULL, 0));
    start(node, &calls[4], bnd_slice(NULL, 0)); /* over the count */
    bnd_sim_run_for(cluster.world, 5 * SECOND);
    assert_int_equal(executor.seen, 3);
    for (size_t at = 0; at < 3; at++) {
        reply_held(&cluster, at, true, 0, "done");
    }
    await_seen(&cluster, 5);
    reply_held(&cluster, 3, true, 0, "done");
    reply_held(&cluster, 4, true, 0, "done");
    for (size_t i = 0; i < 5; i++) {
        await(&cluster, &calls[i], SECOND);
        assert_int_equal(calls[i].status, 0);
    }
    cluster_close(&cluster);
}

/* A call that runs for long keeps what its own group remembers, and nothing else. */
static void low_seq_is_per_group(void **state) {
    (void)state;
    static struct call slow;
    static struct call fast;
    struct cluster *c = with(209, HOLD);
    struct node *leader = cluster_leader(c, GID);
    start(leader, &slow, bnd_slice_str("slow"));
    await_seen(c, 1);
    executor.conduct = ECHO;
    for (size_t i = 1; i <= 3; i++) {
        start(leader, &fast, bnd_slice_str("fast"));
        await(c, &fast, SECOND);
        assert_int_equal(executor.id[i].seq, i + 1);
        assert_int_equal(executor.low_seq[i], 1);
    }
    reply_held(c, 0, true, 0, "done");
    await(c, &slow, SECOND);
    start(leader, &fast, bnd_slice_str("fast"));
    await(c, &fast, SECOND);
    assert_int_equal(executor.low_seq[4], 5);
    cluster_close(c);
}

/* Canceled, waiting or running, here or elsewhere: the callback does not come, and nothing breaks
 * when the executor replies. */
static void canceled_calls_are_forgotten(void **state) {
    (void)state;
    static struct call calls[4];
    struct cluster *c = with(210, HOLD);
    struct node *leader = cluster_leader(c, GID);
    struct node *other = other_than(c, leader);
    start(leader, &calls[0], bnd_slice_str("x"));
    start(other, &calls[1], bnd_slice_str("x"));
    await_seen(c, 2);
    start(leader, &calls[2], bnd_slice_str("x"));
    start(other, &calls[3], bnd_slice_str("x"));
    for (size_t i = 0; i < 4; i++) {
        struct node *node = i % 2 == 0 ? leader : other;
        bnd_sim_env_enter(node->env);
        bnd_shard_call_cancel(&calls[i].call);
        bnd_sim_env_leave(node->env);
    }
    bnd_sim_run_for(c->world, SECOND);
    for (size_t at = 0; at < executor.seen; at++) {
        reply_held(c, at, true, 0, "done");
    }
    bnd_sim_run_for(c->world, SECOND);
    for (size_t i = 0; i < 4; i++) {
        assert_false(calls[i].done);
    }
    cluster_close(c);
}

static struct call siblings[3]; /* in groups of their own */

static void on_called_once(struct bnd_shard_call *shard_call, int status, struct bnd_slice reply) {
    on_called(shard_call, status, reply);
    bnd_shard_call_cancel(&siblings[1].call);
}

/* Who is told from inside a pass cancels what that pass would have executed next. */
static void a_call_cancels_another_groups(void **state) {
    (void)state;
    struct cluster *c = with_voters(213, ECHO, 1);
    struct node *leader = cluster_leader(c, GID);
    for (size_t i = 1; i < 3; i++) {
        cluster_bootstrap(c, GID + i, 1);
        assert_ptr_equal(cluster_leader(c, GID + i), leader);
    }
    for (size_t i = 0; i < 3; i++) {
        start_in(leader, &siblings[i], GID + i, bnd_slice_str("x"));
    }
    siblings[0].call.cb = on_called_once;
    await(c, &siblings[0], SECOND);
    await(c, &siblings[2], SECOND);
    bnd_sim_run_for(c->world, SECOND);
    assert_int_equal(executor.seen, 2);
    assert_false(siblings[1].done);
    cluster_close(c);
}

/* What an executor can ask about an id before it says that nothing was changed. */
static void an_earlier_outcome_can_be_seen(void **state) {
    (void)state;
    static struct call call;
    struct cluster *c = with(212, ADD);
    struct node *leader = cluster_leader(c, GID);
    int status = 1;
    struct bnd_slice reply;
    for (size_t i = 0; i < 2; i++) {
        start(leader, &call, bnd_slice_str("x"));
        await(c, &call, SECOND);
        assert_int_equal(call.status, 0);
    }
    const struct bnd_raft_request_id *first = &executor.id[0];
    const struct bnd_raft_request_id *last = &executor.id[1];
    const struct bnd_raft_request_id next = {.minter = last->minter, .seq = last->seq + 1};
    assert_int_equal(bnd_raft_outcome(leader->host, GID, last, &status, &reply), 0);
    assert_int_equal(status, 0);
    assert_int_equal(reply.len, 8);
    assert_int_equal(bnd_get_u64(reply.data), 2);
    assert_int_equal(bnd_raft_outcome(leader->host, GID, &next, &status, &reply), BND_NOTFOUND);
    assert_int_equal(bnd_raft_outcome(leader->host, GID, first, &status, &reply), BND_EXPIRED);
    assert_int_equal(bnd_raft_outcome(leader->host, GID + 1, last, &status, &reply), BND_NOTFOUND);
    cluster_close(c);
}

/* Groups end with requests in the executor, which replies to what nobody asks any more. */
static void a_group_that_goes_answers(void **state) {
    (void)state;
    static struct call call;
    struct cluster *c = with(211, HOLD);
    struct node *leader = cluster_leader(c, GID);
    start(leader, &call, bnd_slice_str("x"));
    await_seen(c, 1);
    bnd_sim_env_enter(leader->env);
    assert_int_equal(bnd_raft_group_destroy(leader->host, GID), 0);
    assert_true(bnd_raft_group_known(leader->host, GID));
    assert_false(bnd_raft_group_known(leader->host, GID + 1));
    bnd_sim_env_leave(leader->env);
    await_seen(c, 2); /* by the next leader */
    assert_int_not_equal(executor.node[1], leader->id);
    assert_true(same_id(0, 1));
    reply_held(c, 0, true, 0, "old");
    reply_held(c, 1, true, 0, "new");
    await(c, &call, SECOND);
    assert_string_equal(call.text, "new");
    node_crash(leader, BND_SIM_POWER);
    node_start(leader);
    assert_true(bnd_raft_group_known(leader->host, GID)); /* its tombstone */
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leader_executes_whoever_is_asked),
        cmocka_unit_test(outcomes_are_final_and_refusals_are_not),
        cmocka_unit_test(unknown_is_told_only_where_it_is),
        cmocka_unit_test(an_execution_may_take_its_time),
        cmocka_unit_test(a_lost_leadership_moves_executions),
        cmocka_unit_test(a_lost_leadership_leaves_outcomes_unknown),
        cmocka_unit_test(an_id_is_executed_once_over_crashes),
        cmocka_unit_test(bodies_and_answers_are_large),
        cmocka_unit_test(what_is_under_way_is_bounded),
        cmocka_unit_test(low_seq_is_per_group),
        cmocka_unit_test(canceled_calls_are_forgotten),
        cmocka_unit_test(a_call_cancels_another_groups),
        cmocka_unit_test(an_earlier_outcome_can_be_seen),
        cmocka_unit_test(a_group_that_goes_answers),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
