/* The Raft host, on one node and on three. */
#include "raft/message.h"
#include "raft/readindex.h"
#include "tests/unit/raft/host_fixture.h"

static void one_node_serves_and_keeps_what_it_acknowledged(void **state) {
    (void)state;
    struct cluster *c = fresh(1);
    struct node *node = &c->nodes[0];
    node_start(node);
    cluster_bootstrap(c, GID, 1);
    assert_ptr_equal(cluster_leader(c, GID), node);
    for (int64_t i = 1; i <= 20; i++) {
        assert_int_equal(add_one(node, GID, "a"), i);
    }
    assert_int_equal(read_counter(node, GID, "a"), 20);
    node_crash(node, BND_SIM_POWER);
    node_start(node);
    (void)cluster_leader(c, GID);
    assert_int_equal(read_counter(node, GID, "a"), 20);
    assert_int_equal(add_one(node, GID, "a"), 21);
    cluster_close(c);
}

static void a_leader_crash_loses_nothing(void **state) {
    (void)state;
    struct cluster *c = three(2);
    for (int64_t i = 1; i <= 10; i++) {
        assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), i);
    }
    struct node *old = cluster_leader(c, GID);
    node_crash(old, BND_SIM_POWER);
    struct node *next = cluster_leader(c, GID);
    assert_ptr_not_equal(next, old);
    assert_int_equal(read_counter(next, GID, "a"), 10);
    assert_int_equal(add_one(next, GID, "a"), 11);
    node_start(old);
    node_crash(next, BND_SIM_POWER);
    next = cluster_leader(c, GID);
    assert_int_equal(read_counter(next, GID, "a"), 11);
    cluster_close(c);
}

static void only_the_leader_serves(void **state) {
    (void)state;
    struct cluster *c = three(3);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = other_than(c, leader);
    assert_int_equal(add_one(follower, GID, "a"), BND_NOTLEADER);
    assert_int_equal(read_counter(follower, GID, "a"), BND_NOTLEADER);
    assert_int_equal(add_one(leader, GID + 1, "a"), BND_NOTFOUND);
    assert_int_equal(read_counter(leader, GID + 1, "a"), BND_NOTFOUND);
    assert_int_equal(node_status(follower, GID).leader, leader->id);
    cluster_close(c);
}

/* Proposes ADD 1 under a fixed id. */
static int add_under(struct node *node, struct attempt *attempt, uint64_t minter, uint64_t seq,
                     uint64_t low_seq, uint64_t deadline_ms) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    *attempt = (struct attempt){0};
    attempt->propose.id = (struct bnd_raft_request_id){.minter = minter, .seq = seq};
    attempt->propose.low_seq = low_seq;
    attempt->propose.deadline_ms = deadline_ms;
    return propose_wait(node, GID, attempt, bnd_buf_slice(&command));
}

static struct attempt attempt;

static void a_retry_gets_the_first_outcome_from_the_next_leader(void **state) {
    (void)state;
    struct cluster *c = three(4);
    struct node *leader = cluster_leader(c, GID);
    uint64_t until = deadline(leader, 30000);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 1);
    assert_int_equal(add_under(leader, &attempt, 5, 2, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 2);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 1);
    node_crash(leader, BND_SIM_POWER);
    leader = cluster_leader(c, GID);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 1);
    assert_int_equal(add_under(leader, &attempt, 5, 2, 2, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 2);
    /* Its outcome is forgotten: it is refused, not executed again. */
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), BND_EXPIRED);
    assert_int_equal(read_counter(leader, GID, "a"), 2);
    cluster_close(c);
}

static void many_outcomes_are_kept_and_forgotten_alike_by_all(void **state) {
    (void)state;
    struct cluster *c = three(12);
    struct node *leader = cluster_leader(c, GID);
    uint64_t until = deadline(leader, 30000);
    for (uint64_t seq = 1; seq <= 64; seq++) {
        assert_int_equal(add_under(leader, &attempt, 5, seq, 1, until), 0);
    }
    assert_int_equal(add_under(leader, &attempt, 5, 65, 60, until), 0);
    assert_int_equal(add_under(leader, &attempt, 5, 59, 1, until), BND_EXPIRED);
    assert_int_equal(add_under(leader, &attempt, 5, 60, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 60);
    node_crash(leader, BND_SIM_POWER);
    leader = cluster_leader(c, GID);
    assert_int_equal(add_under(leader, &attempt, 5, 59, 1, until), BND_EXPIRED);
    assert_int_equal(read_counter(leader, GID, "a"), 65);
    cluster_close(c);
}

static void a_refusal_of_the_machine_is_an_outcome_too(void **state) {
    (void)state;
    struct cluster *c = three(5);
    struct node *leader = cluster_leader(c, GID);
    BND_AUTO_BUF struct bnd_buf cas = {0};
    kv_cas(&cas, bnd_slice_str("k"), bnd_slice_str("x"), bnd_slice_str("y"));
    attempt = (struct attempt){0};
    assert_int_equal(propose_wait(leader, GID, &attempt, bnd_buf_slice(&cas)), BND_PRECONDITION);
    struct bnd_raft_request_id id = attempt.propose.id;
    uint64_t until = attempt.propose.deadline_ms;
    BND_AUTO_BUF struct bnd_buf put = {0};
    kv_put(&put, bnd_slice_str("k"), bnd_slice_str("x"));
    attempt = (struct attempt){0};
    assert_int_equal(propose_wait(leader, GID, &attempt, bnd_buf_slice(&put)), 0);
    attempt = (struct attempt){0};
    attempt.propose.id = id;
    attempt.propose.low_seq = 1;
    attempt.propose.deadline_ms = until;
    assert_int_equal(propose_wait(leader, GID, &attempt, bnd_buf_slice(&cas)), BND_PRECONDITION);
    cluster_close(c);
}

static void an_id_past_its_deadline_is_refused(void **state) {
    (void)state;
    struct cluster *c = three(6);
    struct node *leader = cluster_leader(c, GID);
    uint64_t past = deadline(leader, -1);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, past), BND_EXPIRED);
    assert_int_equal(add_under(leader, &attempt, 5, 2, 1, deadline(leader, 700000)), BND_INVALID);
    assert_int_equal(read_counter(leader, GID, "a"), BND_NOTFOUND);
    cluster_close(c);
}

static void a_full_table_refuses_until_records_expire(void **state) {
    (void)state;
    cluster.config = (struct bnd_raft_host_config){.dedupe_entries_max = 4};
    struct cluster *c = &cluster;
    cluster_open(c, 7);
    node_start(&c->nodes[0]);
    cluster_bootstrap(c, GID, 1);
    struct node *leader = cluster_leader(c, GID);
    uint64_t until = deadline(leader, 5000);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        assert_int_equal(add_under(leader, &attempt, 5, seq, 1, until), 0);
    }
    assert_int_equal(add_under(leader, &attempt, 5, 5, 1, until), BND_FULL);
    assert_int_equal(add_under(leader, &attempt, 5, 4, 1, until), 0); /* a retry needs no room */
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 4);
    assert_int_equal(add_under(leader, &attempt, 5, 5, 5, until), 0); /* low_seq made room */
    assert_int_equal(add_under(leader, &attempt, 6, 1, 1, until), 0);
    assert_int_equal(add_under(leader, &attempt, 6, 2, 1, until), 0);
    assert_int_equal(add_under(leader, &attempt, 6, 3, 1, until), BND_FULL);
    bnd_sim_run_for(c->world, 6 * SECOND);
    until = deadline(leader, 5000);
    assert_int_equal(add_under(leader, &attempt, 6, 3, 1, until), 0); /* swept */
    cluster_close(c);
}

static void one_entry_executes_an_id_once(void **state) {
    (void)state;
    struct cluster *c = three(8);
    struct node *leader = cluster_leader(c, GID);
    static struct attempt twins[2];
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    uint64_t last = node_status(leader, GID).last_index;
    bnd_sim_env_enter(leader->env); /* both within one pass */
    for (size_t i = 0; i < 2; i++) {
        twins[i] = (struct attempt){0};
        twins[i].propose.id = (struct bnd_raft_request_id){.minter = 5, .seq = 1};
        twins[i].propose.low_seq = 1;
        assert_int_equal(propose_start(leader, GID, &twins[i], bnd_buf_slice(&command)), 0);
    }
    bnd_sim_env_leave(leader->env);
    for (size_t i = 0; i < 2; i++) {
        assert_true(bnd_sim_run_until_true(c->world, is_done, &twins[i].waiting, 10 * SECOND));
        assert_int_equal(twins[i].waiting.status, 0);
        assert_int_equal(bnd_get_u64(twins[i].waiting.reply), 1);
    }
    assert_int_equal(node_status(leader, GID).last_index, last + 1);
    assert_int_equal(read_counter(leader, GID, "a"), 1);
    cluster_close(c);
}

/* A leader cut off from the others keeps proposals until their fate is known, and never guesses. */
static void a_deposed_leader_tells_the_truth(void **state) {
    (void)state;
    struct cluster *c = three(9);
    struct node *old = cluster_leader(c, GID);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    bnd_sim_net_isolate(c->net, old->id, false);
    static struct attempt cut;
    cut = (struct attempt){0};
    assert_int_equal(propose_start(old, GID, &cut, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, 8 * SECOND);
    assert_false(cut.waiting.done);
    assert_int_not_equal(node_status(old, GID).state, BND_RAFT_LEADER);
    struct node *next = cluster_leader(c, GID);
    assert_ptr_not_equal(next, old);
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(add_one(next, GID, "a"), i);
    }
    bnd_sim_net_heal(c->net);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &cut.waiting, 30 * SECOND));
    assert_int_equal(cut.waiting.status, BND_NOTLEADER); /* another term's entry is at its index */
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "a"), 3);
    cluster_close(c);
}

static void a_cut_off_leader_serves_no_read(void **state) {
    (void)state;
    struct cluster *c = three(10);
    struct node *old = cluster_leader(c, GID);
    assert_int_equal(add_one(old, GID, "a"), 1);
    bnd_sim_net_isolate(c->net, old->id, false);
    static struct reading reading;
    assert_int_equal(read_start(old, GID, &reading, "a"), 0);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &reading.waiting, 30 * SECOND));
    assert_int_equal(reading.waiting.status, BND_NOTLEADER);
    cluster_close(c);
}

static void put_big(struct node *node, uint64_t gid, const char *key, size_t bytes) {
    static uint8_t value[60u << 10];
    memset(value, 'v', sizeof value);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_put(&command, bnd_slice_str(key), bnd_slice(value, bytes));
    attempt = (struct attempt){0};
    assert_int_equal(propose_wait(node, gid, &attempt, bnd_buf_slice(&command)), 0);
}

static bool is_compacted(void *data) {
    return node_status(data, GID).persisted > 0;
}

static void compaction_bounds_log_and_journal(void **state) {
    (void)state;
    cluster.config = (struct bnd_raft_host_config){
        .log_bytes_group_max = 256u << 10,
        .unpersisted_bytes_max = 1u << 20,
    };
    struct cluster *c = &cluster;
    cluster_open(c, 11);
    struct node *node = &c->nodes[0];
    node_start(node);
    cluster_bootstrap(c, GID, 1);
    (void)cluster_leader(c, GID);
    for (int i = 0; i < 600; i++) { /* 30 MiB through a log of 256 KiB and segments of 4 MiB */
        put_big(node, GID, i % 2 == 0 ? "x" : "y", 50u << 10);
        assert_true(node_status(node, GID).log_bytes < 512u << 10);
    }
    assert_int_equal(add_one(node, GID, "a"), 1);
    assert_true(bnd_sim_run_until_true(c->world, is_compacted, node, 30 * SECOND));
    assert_true(bnd_sim_disk_used(node->disk) < 6 * (4u << 20));
    uint64_t before = node->applied_commands;
    node_crash(node, BND_SIM_POWER);
    node_start(node);
    (void)cluster_leader(c, GID);
    /* Only what was not persisted is applied again. */
    assert_true(node->applied_commands - before < 100);
    assert_int_equal(read_counter(node, GID, "a"), 1);
    assert_int_equal(add_one(node, GID, "a"), 2);
    cluster_close(c);
}

static void a_stalled_store_stops_admission_and_recovers(void **state) {
    (void)state;
    struct cluster *c = three(12);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    bnd_sim_store_stall(leader->store, 3 * SECOND);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    static struct attempt first;
    first = (struct attempt){0};
    assert_int_equal(propose_start(leader, GID, &first, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, SECOND);
    assert_false(first.waiting.done); /* committed, but not written: no answer */
    attempt = (struct attempt){0};
    assert_int_equal(propose_start(leader, GID, &attempt, bnd_buf_slice(&command)), BND_BUSY);
    static struct reading reading; /* sees what was committed before it, or waits for it */
    assert_int_equal(read_start(leader, GID, &reading, "a"), 0);
    bnd_sim_run_for(c->world, SECOND);
    assert_false(reading.waiting.done);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &reading.waiting, 10 * SECOND));
    assert_int_equal(reading.waiting.status, 0);
    assert_int_equal(bnd_get_u64(reading.waiting.reply), 2);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &first.waiting, 10 * SECOND));
    assert_int_equal(first.waiting.status, 0);
    assert_int_equal(bnd_get_u64(first.waiting.reply), 2);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 3);
    cluster_close(c);
}

static void a_failing_store_stops_the_node(void **state) {
    (void)state;
    struct cluster *c = fresh(13);
    struct node *node = &c->nodes[0];
    node_start(node);
    cluster_bootstrap(c, GID, 1);
    (void)cluster_leader(c, GID);
    bnd_sim_store_fail(node->store, BND_IO);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    attempt = (struct attempt){0};
    assert_int_equal(propose_start(node, GID, &attempt, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, 2 * SECOND);
    assert_int_equal(node->fatal, BND_IO);
    assert_false(attempt.waiting.done);
    bnd_sim_store_fail(node->store, 0);
    node_crash(node, BND_SIM_KILL);
    node_start(node);
    (void)cluster_leader(c, GID);
    assert_int_equal(read_counter(node, GID, "a"), 1); /* it was committed */
    cluster_close(c);
}

static void state_behind_the_journal_is_refused(void **state) {
    (void)state;
    cluster.config = (struct bnd_raft_host_config){.unpersisted_bytes_max = 64u << 10};
    struct cluster *c = &cluster;
    cluster_open(c, 14);
    struct node *node = &c->nodes[0];
    node_start(node);
    cluster_bootstrap(c, GID, 1);
    (void)cluster_leader(c, GID);
    for (int i = 0; i < 20; i++) { /* the journal follows one persist behind */
        put_big(node, GID, "x", 50u << 10);
        bnd_sim_run_for(c->world, SECOND);
    }
    assert_true(is_compacted(node));
    bnd_sim_run_for(c->world, SECOND); /* the compaction reaches the disk */
    node_crash(node, BND_SIM_KILL);
    bnd_sim_store_wipe(node->store);
    struct bnd_error err = {0};
    assert_int_equal(node_try_start(node, &err), BND_CORRUPT);
    node_crash(node, BND_SIM_KILL);
    cluster_close(c);
}

static void many_groups_share_a_node(void **state) {
    (void)state;
    struct cluster *c = fresh(15);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&c->nodes[i]);
    }
    for (uint64_t gid = 1; gid <= 12; gid++) {
        cluster_bootstrap(c, gid, NODES);
    }
    for (uint64_t gid = 1; gid <= 12; gid++) {
        for (uint64_t n = 1; n <= gid; n++) {
            assert_int_equal(add_one(cluster_leader(c, gid), gid, "a"), n);
        }
    }
    for (size_t i = 0; i < NODES; i++) {
        node_crash(&c->nodes[i], BND_SIM_POWER);
    }
    for (size_t i = 0; i < NODES; i++) {
        node_start(&c->nodes[i]);
    }
    for (uint64_t gid = 1; gid <= 12; gid++) {
        assert_int_equal(read_counter(cluster_leader(c, gid), gid, "a"), gid);
    }
    cluster_close(c);
}

static bool follows(void *data) {
    struct node *node = data;
    struct bnd_raft_group_status status;
    return bnd_raft_group_status(node->host, GID, &status) == 0 && status.applied >= 4;
}

/* Two of three members make the group; the third makes it, empty, when its leader speaks to it. */
static void a_member_without_the_group_is_filled_by_its_leader(void **state) {
    (void)state;
    struct cluster *c = fresh(21);
    struct bnd_raft_member members[NODES] = {
        {1, BND_RAFT_VOTER}, {2, BND_RAFT_VOTER}, {3, BND_RAFT_VOTER}};
    static struct waiting made[2];
    for (size_t i = 0; i < NODES; i++) {
        node_start(&c->nodes[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        made[i].done = false;
        bnd_sim_env_enter(c->nodes[i].env);
        assert_int_equal(bnd_raft_group_bootstrap(c->nodes[i].host, GID, members, NODES,
                                                  on_bootstrapped, &made[i]),
                         0);
        bnd_sim_env_leave(c->nodes[i].env);
    }
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    assert_int_equal(add_one(leader, GID, "a"), 2);
    assert_int_equal(read_counter(&c->nodes[2], GID, "a"), BND_NOTFOUND);
    c->nodes[2].wants_groups = true;
    assert_true(bnd_sim_run_until_true(c->world, follows, &c->nodes[2], 30 * SECOND));
    node_crash(leader, BND_SIM_POWER);
    leader = cluster_leader(c, GID);
    assert_int_equal(read_counter(leader, GID, "a"), 2);
    bnd_sim_env_enter(leader->env);
    assert_int_equal(bnd_raft_group_bootstrap(leader->host, GID, members, NODES, NULL, NULL),
                     BND_EXISTS);
    bnd_sim_env_leave(leader->env);
    cluster_close(c);
}

/* Every entry of a burst is cut near entry_bytes_max, and what exceeds the node's bound is refused
 * at once and not executed. */
static void a_burst_is_coalesced_and_bounded(void **state) {
    (void)state;
    cluster.config = (struct bnd_raft_host_config){
        .entry_bytes_max = 4096,
        .proposals_bytes_max = 64u << 10,
    };
    struct cluster *c = &cluster;
    cluster_open(c, 22);
    node_start(&c->nodes[0]);
    cluster_bootstrap(c, GID, 1);
    struct node *node = cluster_leader(c, GID);
    enum { BURST = 2000 };
    static struct bnd_raft_propose proposals[BURST];
    static struct waiting answers[1];
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    uint64_t last = node_status(node, GID).last_index;
    int64_t taken = 0;
    bnd_sim_env_enter(node->env);
    for (size_t i = 0; i < BURST; i++) {
        proposals[i] = (struct bnd_raft_propose){
            .id = {.minter = 7, .seq = i + 1},
            .low_seq = 1,
            .deadline_ms = bnd_wall_ms(bnd_sim_env(node->env)) + 30000,
            .command = bnd_buf_slice(&command),
            .cb = on_proposed,
            .data = &answers[0],
        };
        int rv = bnd_raft_propose(node->host, GID, &proposals[i]);
        assert_true(rv == 0 || rv == BND_FULL);
        taken += rv == 0;
    }
    bnd_sim_env_leave(node->env);
    assert_true(taken > 500 && taken < BURST);
    assert_int_equal(read_counter(node, GID, "a"), BND_NOTFOUND); /* none was answered yet */
    bnd_sim_run_for(c->world, SECOND);
    assert_int_equal(read_counter(node, GID, "a"), taken);
    uint64_t entries = node_status(node, GID).last_index - last;
    assert_true(entries >= 15 && entries <= 20); /* 64 KiB in pieces of 4 KiB */
    assert_int_equal(add_one(node, GID, "a"), taken + 1);
    cluster_close(c);
}

struct vote_watch {
    uint64_t node;
    uint64_t votes; /* promises of the node: votes given and candidacies */
};

static bool watch_votes(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                        struct bnd_slice bytes) {
    struct vote_watch *watch = data;
    struct bnd_message message;
    (void)to;
    if (from != watch->node || kind != BND_MESH_RAFT ||
        bnd_message_decode(bytes, &message, NULL) != 0) {
        return true;
    }
    watch->votes += (message.type == BND_MESSAGE_VOTE && !message.vote.pre_vote) ||
                    (message.type == BND_MESSAGE_VOTE_RESULT && message.vote_result.granted &&
                     !message.vote_result.pre_vote);
    bnd_message_release(&message);
    return true;
}

/* A vote that a crash could take back would let a node vote twice. */
static void no_vote_leaves_before_it_is_on_disk(void **state) {
    (void)state;
    struct cluster *c = three(23);
    struct node *leader = cluster_leader(c, GID);
    struct node *slow = other_than(c, leader);
    struct vote_watch watch = {.node = slow->id};
    bnd_sim_run_for(c->world, SECOND);
    bnd_sim_disk_stall(slow->disk, 2500 * BND_MS); /* below what the journal takes for a hang */
    bnd_sim_net_filter(c->net, watch_votes, &watch);
    node_crash(leader, BND_SIM_POWER);
    bnd_sim_run_for(c->world, 2450 * BND_MS);
    assert_int_equal(watch.votes, 0);
    (void)cluster_leader(c, GID);
    assert_int_not_equal(watch.votes, 0);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

struct read_watch {
    uint64_t from, to;
    uint64_t answers, yes;
};

static bool watch_reads(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                        struct bnd_slice bytes) {
    struct read_watch *watch = data;
    struct read_frame frame;
    if (from != watch->from || to != watch->to || kind != BND_MESH_READ ||
        read_frame_decode(bytes, &frame, NULL) != 0 || frame.kind != READ_FRAME_ANSWER) {
        return true;
    }
    for (uint32_t i = 0; i < frame.count; i++) {
        struct read_item item;
        read_frame_next(&frame, &item);
        watch->answers++;
        watch->yes += item.ok;
    }
    return true;
}

static void ask_term(struct node *leader, uint64_t to, uint64_t gid, uint64_t term) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    const struct read_item item = {.gid = gid, .term = term};
    read_frame_begin(&bytes, READ_FRAME_ASK, 1u << 20);
    read_frame_item(&bytes, READ_FRAME_ASK, &item);
    read_frame_end(&bytes, 1);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    bnd_sim_env_enter(leader->env);
    for (int i = 0; i < 8; i++) { /* some may be lost */
        assert_int_equal(
            leader->mesh->ops->send(leader->mesh, to, BND_MESH_CONTROL, BND_MESH_READ, &part, 1),
            0);
    }
    bnd_sim_env_leave(leader->env);
    bnd_sim_run_for(leader->cluster->world, 500 * BND_MS);
}

static void a_voter_confirms_only_its_own_term_and_leader(void **state) {
    (void)state;
    struct cluster *c = three(24);
    struct node *leader = cluster_leader(c, GID);
    struct node *voter = other_than(c, leader);
    bnd_sim_run_for(c->world, SECOND);
    uint64_t term = node_status(leader, GID).term;
    struct read_watch watch = {.from = voter->id, .to = leader->id};
    bnd_sim_net_filter(c->net, watch_reads, &watch);
    ask_term(leader, voter->id, GID, term - 1);
    ask_term(leader, voter->id, GID, term + 1);
    ask_term(leader, voter->id, GID + 1, term);
    assert_true(watch.answers > 0);
    assert_int_equal(watch.yes, 0);
    ask_term(leader, voter->id, GID, term);
    assert_true(watch.yes > 0);
    watch = (struct read_watch){.from = leader->id, .to = voter->id};
    ask_term(voter, leader->id, GID, term); /* a leader is nobody's follower */
    assert_true(watch.answers > 0);
    assert_int_equal(watch.yes, 0);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

struct change_wait {
    struct cluster *cluster;
    struct node *old;
};

static bool another_leads(void *data) {
    struct change_wait *wait = data;
    struct leader_wait leader = {.cluster = wait->cluster, .gid = GID};
    return has_leader(&leader) && leader.leader != wait->old;
}

/* A clean stop does not cost an election timeout. */
static void a_leader_hands_over(void **state) {
    (void)state;
    struct cluster *c = three(26);
    struct node *old = cluster_leader(c, GID);
    assert_int_equal(add_one(old, GID, "a"), 1);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    attempt = (struct attempt){0};
    assert_int_equal(propose_start(old, GID, &attempt, bnd_buf_slice(&command)), 0);
    bnd_sim_env_enter(old->env);
    bnd_raft_step_down_all(old->host);
    bnd_sim_env_leave(old->env);
    struct change_wait wait = {.cluster = c, .old = old};
    assert_true(bnd_sim_run_until_true(c->world, another_leads, &wait, 800 * BND_MS));
    assert_true(bnd_sim_run_until_true(c->world, is_done, &attempt.waiting, 10 * SECOND));
    assert_true(attempt.waiting.status == 0 || attempt.waiting.status == BND_NOTLEADER);
    struct node *next = cluster_leader(c, GID);
    assert_int_equal(add_one(next, GID, "a"), attempt.waiting.status == 0 ? 3 : 2);
    cluster_close(c);
}

static void a_destroyed_group_is_gone_and_can_be_made_again(void **state) {
    (void)state;
    struct cluster *c = fresh(16);
    struct node *node = &c->nodes[0];
    node_start(node);
    cluster_bootstrap(c, GID, 1);
    (void)cluster_leader(c, GID);
    assert_int_equal(add_one(node, GID, "a"), 1);
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_raft_group_destroy(node->host, GID), 0);
    bnd_sim_env_leave(node->env);
    bnd_sim_run_for(c->world, SECOND);
    assert_int_equal(read_counter(node, GID, "a"), BND_NOTFOUND);
    node_crash(node, BND_SIM_POWER);
    node_start(node);
    assert_int_equal(read_counter(node, GID, "a"), BND_NOTFOUND);
    cluster_bootstrap(c, GID, 1);
    (void)cluster_leader(c, GID);
    assert_int_equal(add_one(node, GID, "a"), 1);
    cluster_close(c);
}

/* A crash while the record of the end is on its way brings the whole group back, or nothing of it.
 */
static void a_group_ends_with_its_record(void **state) {
    (void)state;
    unsigned back = 0;
    for (uint64_t seed = 100; seed < 120; seed++) {
        struct cluster *c = fresh(seed);
        struct node *node = &c->nodes[0];
        c->config.unpersisted_bytes_max =
            1; /* what is persisted is all that the journal has dropped */
        node_start(node);
        cluster_bootstrap(c, GID, 1);
        (void)cluster_leader(c, GID);
        for (int64_t i = 1; i <= 4; i++) {
            assert_int_equal(add_one(node, GID, "a"), i);
            bnd_sim_run_for(c->world, SECOND / 2);
        }
        bnd_sim_disk_stall(node->disk, SECOND);
        bnd_sim_env_enter(node->env);
        assert_int_equal(bnd_raft_group_destroy(node->host, GID), 0);
        bnd_sim_env_leave(node->env);
        bnd_sim_run_for(c->world, SECOND / 2);
        node_crash(node, BND_SIM_POWER);
        bnd_sim_disk_heal(node->disk);
        node_start(node);
        bnd_sim_run_for(c->world, SECOND);
        int64_t count = read_counter(node, GID, "a");
        assert_true(count == 4 || count == BND_NOTFOUND);
        back += count == 4;
        cluster_close(c);
    }
    assert_true(back > 0);
}

/* The store stalls when the group goes: what is persisted meanwhile says nothing about it any more.
 */
static void a_group_ends_while_the_store_stalls(void **state) {
    (void)state;
    for (uint64_t seed = 200; seed < 260; seed++) {
        struct cluster *c = fresh(seed);
        struct node *node = &c->nodes[0];
        c->config.unpersisted_bytes_max = 1;
        node_start(node);
        cluster_bootstrap(c, GID, 1);
        (void)cluster_leader(c, GID);
        for (int64_t i = 1; i <= 4; i++) {
            assert_int_equal(add_one(node, GID, "a"), i);
            bnd_sim_run_for(c->world, SECOND / 4);
        }
        assert_int_equal(add_one(node, GID, "a"), 5);
        bnd_sim_run_for(c->world, (seed - 200) * BND_MS);
        bnd_sim_store_stall(node->store, SECOND / 5);
        BND_AUTO_BUF struct bnd_buf command = {0};
        kv_add(&command, bnd_slice_str("a"), 1);
        attempt = (struct attempt){0};
        assert_int_equal(propose_start(node, GID, &attempt, bnd_buf_slice(&command)), 0);
        bnd_sim_run_for(c->world, SECOND / 10);
        bnd_sim_env_enter(node->env);
        assert_int_equal(bnd_raft_group_destroy(node->host, GID), 0);
        bnd_sim_env_leave(node->env);
        bnd_sim_run_for(c->world, SECOND);
        assert_int_equal(node->fatal, 0);
        assert_int_equal(read_counter(node, GID, "a"), BND_NOTFOUND);
        cluster_close(c);
    }
}

/* Node 2, as if it led the group in this term, sends its entry 1: node 1 alone votes. */
static void send_first_entry(struct node *to, struct node *from, uint64_t term) {
    const struct bnd_raft_configuration alone = {.count = 1, .members = {{1, BND_RAFT_VOTER}}};
    BND_AUTO_BUF struct bnd_buf configuration = {0};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&alone, &configuration);
    const struct bnd_journal_entry entry = {.index = 1,
                                            .term = 1,
                                            .kind = BND_CORE_CONFIGURATION,
                                            .data = bnd_buf_slice(&configuration)};
    const struct bnd_message append = {.gid = GID,
                                       .term = term,
                                       .type = BND_MESSAGE_APPEND,
                                       .append = {.entries = &entry, .entries_count = 1}};
    bnd_message_encode(&append, &bytes);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    bnd_sim_env_enter(from->env);
    assert_int_equal(
        from->mesh->ops->send(from->mesh, to->id, BND_MESH_CONTROL, BND_MESH_RAFT, &part, 1), 0);
    bnd_sim_env_leave(from->env);
    bnd_sim_run_for(from->cluster->world, SECOND / 4);
}

/* G9: by the first entries of its old log it votes alone; it may lead again only with all of it. */
static void a_replica_made_again_does_not_lead_by_an_old_log(void **state) {
    (void)state;
    struct cluster *c = fresh(31);
    struct node *node = &c->nodes[0];
    struct node *other = &c->nodes[1];
    node_start(node);
    node_start(other);
    cluster_bootstrap(c, GID, 1);
    (void)cluster_leader(c, GID);
    assert_int_equal(add_one(node, GID, "a"), 1);
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_raft_group_destroy(node->host, GID), 0);
    bnd_sim_env_leave(node->env);
    node->wants_groups = true;
    bnd_sim_run_for(c->world, SECOND);
    struct bnd_raft_group_status status = {0};
    for (int i = 0; i < 20 && status.last_index == 0; i++) { /* made by one, filled by another */
        send_first_entry(node, other, 9);
        (void)bnd_raft_group_status(node->host, GID, &status);
    }
    assert_int_equal(status.last_index, 1);
    bnd_sim_run_for(c->world, 5 * SECOND);
    assert_int_equal(node_status(node, GID).state, BND_RAFT_FOLLOWER);
    node_crash(node, BND_SIM_POWER);
    node_start(node);
    assert_int_equal(bnd_raft_group_status(node->host, GID, &status), BND_NOTFOUND);
    bnd_sim_run_for(c->world, 5 * SECOND);
    assert_int_equal(bnd_raft_group_status(node->host, GID, &status), BND_NOTFOUND);
    cluster_close(c);
}

/* Entries stamped far ahead of a follower's clock do not move its group's time. */
static void a_fast_leader_is_not_followed(void **state) {
    (void)state;
    struct cluster *c = three(17);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    leader->clock.offset_ms = 3600 * 1000;
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    attempt = (struct attempt){0};
    attempt.propose.deadline_ms = deadline(other_than(c, leader), 30000);
    assert_int_equal(propose_start(leader, GID, &attempt, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, 10 * SECOND);
    struct node *next = cluster_leader(c, GID);
    assert_ptr_not_equal(next, leader);
    assert_int_equal(add_one(next, GID, "a"), 2);
    assert_true(node_status(next, GID).stamp_ms < deadline(next, 2000));
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_serves_and_keeps_what_it_acknowledged),
        cmocka_unit_test(a_leader_crash_loses_nothing),
        cmocka_unit_test(only_the_leader_serves),
        cmocka_unit_test(a_retry_gets_the_first_outcome_from_the_next_leader),
        cmocka_unit_test(many_outcomes_are_kept_and_forgotten_alike_by_all),
        cmocka_unit_test(a_refusal_of_the_machine_is_an_outcome_too),
        cmocka_unit_test(an_id_past_its_deadline_is_refused),
        cmocka_unit_test(a_full_table_refuses_until_records_expire),
        cmocka_unit_test(one_entry_executes_an_id_once),
        cmocka_unit_test(a_deposed_leader_tells_the_truth),
        cmocka_unit_test(a_cut_off_leader_serves_no_read),
        cmocka_unit_test(compaction_bounds_log_and_journal),
        cmocka_unit_test(a_stalled_store_stops_admission_and_recovers),
        cmocka_unit_test(a_failing_store_stops_the_node),
        cmocka_unit_test(state_behind_the_journal_is_refused),
        cmocka_unit_test(many_groups_share_a_node),
        cmocka_unit_test(a_destroyed_group_is_gone_and_can_be_made_again),
        cmocka_unit_test(a_group_ends_with_its_record),
        cmocka_unit_test(a_group_ends_while_the_store_stalls),
        cmocka_unit_test(a_replica_made_again_does_not_lead_by_an_old_log),
        cmocka_unit_test(a_fast_leader_is_not_followed),
        cmocka_unit_test(a_leader_hands_over),
        cmocka_unit_test(a_voter_confirms_only_its_own_term_and_leader),
        cmocka_unit_test(no_vote_leaves_before_it_is_on_disk),
        cmocka_unit_test(a_burst_is_coalesced_and_bounded),
        cmocka_unit_test(a_member_without_the_group_is_filled_by_its_leader),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
