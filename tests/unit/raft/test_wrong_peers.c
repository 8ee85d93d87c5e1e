/* Peers that answer what a sound one would not, or late: what does not fit is not taken. Exports
 * and questions about membership at one node are answered by the test. */
#include "raft/export_chunk.h"
#include "raft/host_private.h"
#include "tests/unit/raft/catchup_cluster.h"

/* A group's state at one index, as an export gives it in one chunk. */
struct copy {
    uint64_t index, term;
    struct bnd_buf pairs;
    uint32_t count;
};

static void copy_state(struct node *node, struct copy *out) {
    const struct group *group = group_running(node->host, GID);
    const struct bnd_state_ops *ops = node->state->ops;
    uint8_t from[4];
    uint8_t to[4];
    bnd_put_be32(from, group->slot);
    bnd_put_be32(to, group->slot + 1);
    *out = (struct copy){.index = group->written.index, .term = group->written.term};
    for (size_t family = 0; family < BND_CF_COUNT; family++) {
        struct bnd_state_iter *iter =
            ops->iter(node->state, (enum bnd_state_cf)family, bnd_slice(from, 4), bnd_slice(to, 4));
        for (; ops->iter_valid(iter); ops->iter_next(iter)) {
            struct bnd_slice key = ops->iter_key(iter);
            const struct export_pair pair = {.family = (enum bnd_state_cf)family,
                                             .key = bnd_slice(key.data + 4, key.len - 4),
                                             .value = ops->iter_value(iter)};
            export_pair_encode(&pair, &out->pairs);
            out->count++;
        }
        ops->iter_destroy(iter);
    }
}

enum wrong { NOTHING, EXPORT_ID, SEQ, ENTRIES, COUNT, HASH, AFTER_LAST, LATER_TERM };

struct sender {
    enum wrong wrong;
    uint64_t index, term;    /* as announced */
    uint64_t said_term;      /* in its chunks */
    const struct copy *copy; /* NULL: one pair, and more to come */
    struct export_total total;
    uint64_t opens, seq_max, questions;
};

static void chunk_of(struct sender *sender, uint64_t seq, struct bnd_buf *out) {
    BND_AUTO_BUF struct bnd_buf pair = {0};
    BND_AUTO_BUF struct bnd_buf entry = {0};
    const struct export_pair one = {BND_CF_OBJECTS, bnd_slice_str("x"), bnd_slice_str("1")};
    struct bnd_journal_entry later = {
        .index = sender->index + 2, .term = sender->term, .kind = BND_CORE_BARRIER};
    bool whole = sender->copy != NULL || sender->wrong == AFTER_LAST;
    struct export_chunk chunk = {.last = whole,
                                 .export_id = sender->opens + (sender->wrong == EXPORT_ID),
                                 .seq = seq + (sender->wrong == SEQ),
                                 .term = sender->said_term,
                                 .last_index = sender->index};
    if (sender->copy != NULL && seq == 1) {
        chunk.pairs_count = sender->copy->count;
        chunk.pairs = bnd_buf_slice(&sender->copy->pairs);
    } else if (sender->copy == NULL) {
        export_pair_encode(&one, &pair);
        chunk.pairs_count = 1;
        chunk.pairs = bnd_buf_slice(&pair);
    }
    if (sender->wrong == LATER_TERM && seq > 1) { /* once the state is there */
        chunk.term++;
        chunk.last_index++;
    }
    if (sender->wrong == ENTRIES || (sender->wrong == LATER_TERM && seq == 2)) {
        later.index -= sender->wrong == LATER_TERM;
        export_entry_encode(&later, &entry);
        chunk.entries_count = 1;
        chunk.entries = bnd_buf_slice(&entry);
    }
    sender->total = export_total_add(seq == 1 ? (struct export_total){0} : sender->total,
                                     chunk.pairs_count, chunk.pairs);
    chunk.total = sender->total;
    chunk.total.pairs += sender->wrong == COUNT;
    chunk.total.hash.low ^= sender->wrong == HASH;
    export_chunk_encode(&chunk, out);
}

static void on_request_of_test(void *owner, struct bnd_rpc_request *request) {
    struct sender *sender = owner;
    struct export_request asked;
    BND_AUTO_BUF struct bnd_buf reply = {0};
    int rv = 0;
    assert_int_equal(export_request_decode(request->payload, &asked, NULL), 0);
    if (asked.op == EXPORT_OPEN) {
        const struct export_opened opened = {++sender->opens, sender->index, sender->term};
        export_opened_encode(&opened, &reply);
    } else if (asked.op == EXPORT_PULL) {
        sender->seq_max = asked.seq > sender->seq_max ? asked.seq : sender->seq_max;
        chunk_of(sender, asked.seq, &reply);
    } else if (asked.op == EXPORT_MEMBER) {
        const struct export_member told = {.member = false, .as_of = 1};
        sender->questions++;
        export_member_encode(&told, &reply);
    } else {
        rv = BND_BUSY;
    }
    const struct bnd_slice part = bnd_buf_slice(&reply);
    bnd_rpc_reply(request, rv, &part, rv == 0 ? 1 : 0);
}

static void answer_for(struct node *node, struct sender *sender) {
    bnd_rpc_serve(node->rpc, BND_RPC_EXPORT, on_request_of_test, sender);
}

/* What a test of an import is played by: a follower, which the test lets fall behind, and `sender`,
 * which has a sound copy of the leader's state until the test says otherwise. */
struct scene {
    struct cluster *c;
    struct node *leader, *behind;
    struct copy copy;
    struct sender sender;
};

static void scene_begin(struct scene *s, uint64_t seed) {
    *s = (struct scene){0};
    s->c = begin(seed, 3);
    s->behind = follower(s->c);
    s->leader = cluster_leader(s->c, GID);
}

static void scene_copy(struct scene *s) {
    copy_state(s->leader, &s->copy);
    s->sender = (struct sender){.index = s->copy.index,
                                .term = s->copy.term,
                                .said_term = node_status(s->leader, GID).term,
                                .copy = &s->copy};
}

/* The sender answers in the leader's place. */
static void scene_answer(struct scene *s) {
    answer_for(s->leader, &s->sender);
    bnd_sim_net_heal(s->c->net);
}

static void scene_end(struct scene *s) {
    cluster_close(s->c);
    bnd_buf_free(&s->copy.pairs);
}

/* What was sent is not installed; what the leader itself sends then is. */
static void scene_end_without_install(struct scene *s) {
    assert_true(s->sender.opens > 1);
    assert_int_equal(stats_of(s->behind).installs_received, 0);
    bnd_sim_env_enter(s->leader->env);
    export_open(s->leader->host);
    bnd_sim_env_leave(s->leader->env);
    await_equal(s->c);
    assert_int_equal(stats_of(s->behind).installs_received, 1);
    scene_end(s);
}

static void chunks_that_do_not_follow_end_the_import(void **state) {
    (void)state;
    for (enum wrong wrong = NOTHING; wrong <= AFTER_LAST; wrong++) {
        struct cluster *c = begin(61, 3);
        struct node *behind = follower(c);
        struct node *leader = cluster_leader(c, GID);
        lag(c, behind, 20, 8000);
        struct bnd_raft_group_status status = node_status(leader, GID);
        struct sender sender = {
            .wrong = wrong, .index = status.applied, .term = status.term, .said_term = status.term};
        bnd_sim_store_persist_max(behind->store,
                                  30 * SECOND); /* of AFTER_LAST: meanwhile it pulls */
        answer_for(leader, &sender);
        bnd_sim_net_heal(c->net);
        bnd_sim_run_for(c->world, 3 * SECOND);
        if (wrong == NOTHING) {
            assert_int_equal(sender.opens, 1);
            assert_true(sender.seq_max > 10);
        } else {
            assert_true(sender.opens > 1); /* it began anew */
            assert_int_equal(sender.seq_max, wrong == AFTER_LAST ? 2 : 1);
        }
        assert_int_equal(stats_of(behind).installs_received, 0);
        bnd_sim_store_persist_max(behind->store, 30 * BND_MS);
        cluster_close(c);
    }
}

/* The sender is of a later term than any leader that its receiver knows: what it says may be
 * committed in that term, and no leader before it need have it. */
static void a_state_of_a_later_term_waits_for_its_leader(void **state) {
    (void)state;
    for (uint64_t later = 0; later < 2; later++) {
        struct scene s;
        scene_begin(&s, 62);
        lag(s.c, s.behind, 20, 8000);
        scene_copy(&s);
        s.sender.said_term += later;
        scene_answer(&s);
        bnd_sim_run_for(s.c->world, 5 * SECOND);
        assert_int_equal(stats_of(s.behind).installs_received, 1 - later);
        scene_end(&s);
    }
}

/* The state is installed under its leader; an entry that comes with it later is of a later term. */
static void an_entry_of_a_later_term_waits_for_its_leader(void **state) {
    (void)state;
    struct scene s;
    scene_begin(&s, 67);
    lag(s.c, s.behind, 20, 8000);
    scene_copy(&s);
    s.sender.wrong = LATER_TERM;
    scene_answer(&s);
    bnd_sim_run_for(s.c->world, 5 * SECOND);
    assert_int_equal(stats_of(s.behind).installs_received, 1);
    assert_true(s.sender.seq_max > 2);
    assert_int_equal(node_status(s.behind, GID).last_index, s.copy.index);
    scene_end(&s);
}

static void a_state_that_is_not_the_announced_one_is_not_installed(void **state) {
    (void)state;
    struct scene s;
    scene_begin(&s, 63);
    lag(s.c, s.behind, 20, 8000);
    scene_copy(&s);
    s.sender.index++;
    scene_answer(&s);
    bnd_sim_run_for(s.c->world, 5 * SECOND);
    scene_end_without_install(&s);
}

/* By the time the state is there the log has passed it: it is not installed, and the next one is.
 */
static void a_state_older_than_the_log_is_given_up(void **state) {
    (void)state;
    struct scene s;
    scene_begin(&s, 64);
    put_value(s.c, 1000, 10);
    await_equal(s.c);
    scene_copy(&s);
    put_value(s.c, 1001, 10);
    await_equal(s.c);
    lag(s.c, s.behind, 20, 8000);
    scene_answer(&s);
    bnd_sim_run_for(s.c->world, 5 * SECOND);
    scene_end_without_install(&s);
}

/* Of Raft's messages to a node, all but those that drops() names pass. */
static bool passes(const struct node *node, uint64_t to, enum bnd_mesh_kind kind,
                   struct bnd_slice bytes, bool (*drops)(const struct bnd_message *message)) {
    struct bnd_message message;
    if (kind != BND_MESH_RAFT || to != node->id || bnd_message_decode(bytes, &message, NULL) != 0) {
        return true;
    }
    bool dropped = drops(&message);
    bnd_message_release(&message);
    return !dropped;
}

static bool is_heartbeat(const struct bnd_message *message) {
    return message->type == BND_MESSAGE_APPEND && message->append.entries_count == 0;
}

static bool no_heartbeats(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                          struct bnd_slice bytes) {
    (void)from;
    return passes(data, to, kind, bytes, is_heartbeat);
}

struct reaching {
    struct node *node;
    uint64_t index;
};

static bool has_in_log(void *data) {
    const struct reaching *reaching = data;
    return node_status(reaching->node, GID).last_index >= reaching->index;
}

static bool has_committed(void *data) {
    const struct reaching *reaching = data;
    return node_status(reaching->node, GID).commit >= reaching->index;
}

/* The log ends where the state does, and has not heard that its last entry is committed: there is
 * nothing to install, the state tells it, and the next import begins. */
static void a_state_as_far_as_the_log_commits_it(void **state) {
    (void)state;
    struct scene s;
    scene_begin(&s, 68);
    await_equal(s.c);
    bnd_sim_net_filter(s.c->net, no_heartbeats, s.behind);
    put_value(s.c, 1000, 10);
    scene_copy(&s);
    struct reaching reaching = {s.behind, s.copy.index};
    assert_true(bnd_sim_run_until_true(s.c->world, has_in_log, &reaching, SECOND / 4));
    lag(s.c, s.behind, 20, 8000);
    bnd_sim_net_filter(s.c->net, NULL, NULL);
    assert_int_equal(node_status(s.behind, GID).last_index, s.copy.index);
    assert_false(has_committed(&reaching));
    scene_answer(&s);
    assert_true(bnd_sim_run_until_true(s.c->world, has_committed, &reaching, 5 * SECOND));
    bnd_sim_run_for(s.c->world, 3 * SECOND);
    scene_end_without_install(&s);
}

/* ---- membership
 * -------------------------------------------------------------------------------------- */

static void want_but(struct node *node, const struct node *without) {
    struct bnd_raft_member members[NODES];
    size_t count = 0;
    for (uint64_t id = 1; id <= NODES; id++) {
        if (id != without->id) {
            members[count++] = (struct bnd_raft_member){id, BND_RAFT_VOTER};
        }
    }
    bnd_sim_env_enter(node->env);
    bnd_raft_group_want(node->host, GID, members, count);
    bnd_sim_env_leave(node->env);
}

/* Its own wish leaves it out, and an old answer says that it was no member before it was added. */
static void an_old_answer_removes_nobody_added_since(void **state) {
    (void)state;
    struct cluster *c = begin(65, 1);
    struct sender sender = {0};
    want_all(c);
    assert_true(bnd_sim_run_until_true(c->world, all_voters, c, 60 * SECOND));
    await_equal(c);
    struct node *member = follower(c);
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != member) {
            answer_for(&c->nodes[i], &sender);
        }
    }
    want_but(member, member);
    bnd_sim_run_for(c->world, 10 * SECOND);
    assert_true(sender.questions > 1);
    assert_int_equal(member->removed, 0);
    cluster_close(c);
}

static bool is_good_news(const struct bnd_message *message) {
    return message->type == BND_MESSAGE_APPEND_RESULT && message->append_result.rejected == 0;
}

static bool no_good_news(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                         struct bnd_slice bytes) {
    (void)from;
    return passes(data, to, kind, bytes, is_good_news);
}

struct question {
    struct bnd_rpc_call call;
    bool done;
    int status;
    struct export_member told;
};

static void on_told(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct question *question = call->data;
    question->done = true;
    question->status = status;
    if (status == 0) {
        assert_int_equal(export_member_decode(reply, &question->told, NULL), 0);
    }
}

static bool is_told(void *question) {
    return ((struct question *)question)->done;
}

static bool has_two_members(void *node) {
    return node_status(node, GID).members_count == 2;
}

/* Its removal is proposed, and not committed: it may be needed yet. */
static void a_removal_under_way_is_not_told(void **state) {
    (void)state;
    struct cluster *c = begin(66, 3);
    struct node *leader = cluster_leader(c, GID);
    struct node *member = follower(c);
    static struct question question;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    await_equal(c);
    bnd_sim_run_for(c->world, 3 * SECOND);
    want_but(leader, member);
    bnd_sim_run_for(c->world, 2 * SECOND - SECOND / 10); /* nobody goes before two elections */
    assert_int_equal(node_status(leader, GID).members_count, 3);
    bnd_sim_net_filter(c->net, no_good_news, leader);
    assert_true(bnd_sim_run_until_true(c->world, has_two_members, leader, SECOND / 4));
    const struct export_request request = {.op = EXPORT_MEMBER, .gid = GID};
    export_request_encode(&request, &bytes);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    question = (struct question){.call = {.cb = on_told, .data = &question}};
    bnd_sim_env_enter(member->env);
    assert_int_equal(bnd_rpc_call(member->rpc, &question.call, leader->id, BND_MESH_CONTROL,
                                  BND_RPC_EXPORT, &part, 1, SECOND),
                     0);
    bnd_sim_env_leave(member->env);
    assert_true(bnd_sim_run_until_true(c->world, is_told, &question, 2 * SECOND));
    assert_int_equal(question.status, BND_BUSY);
    bnd_sim_net_filter(c->net, NULL, NULL);
    assert_true(
        bnd_sim_run_until_true(c->world, has_two_members, cluster_leader(c, GID), 20 * SECOND));
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_that_do_not_follow_end_the_import),
        cmocka_unit_test(a_state_of_a_later_term_waits_for_its_leader),
        cmocka_unit_test(an_entry_of_a_later_term_waits_for_its_leader),
        cmocka_unit_test(a_state_that_is_not_the_announced_one_is_not_installed),
        cmocka_unit_test(a_state_older_than_the_log_is_given_up),
        cmocka_unit_test(a_state_as_far_as_the_log_commits_it),
        cmocka_unit_test(an_old_answer_removes_nobody_added_since),
        cmocka_unit_test(a_removal_under_way_is_not_told),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
