/* What a core says only once it is on disk, and in which order it writes. */
#include "tests/unit/raft/core_world.h"

static struct bnd_journal_entry barrier_entry(uint64_t index, uint64_t term) {
    return (struct bnd_journal_entry){.index = index, .term = term, .kind = BND_CORE_BARRIER};
}

static void give_append(struct world *w, uint64_t from, uint64_t term,
                        struct bnd_message_append append) {
    struct bnd_message m = {.gid = 7, .term = term, .type = BND_MESSAGE_APPEND, .append = append};
    world_give(w, from, 1, &m);
}

static void give_vote(struct world *w, uint64_t from, uint64_t term) {
    struct bnd_message m = {
        .gid = 7,
        .term = term,
        .type = BND_MESSAGE_VOTE,
        .vote = {.candidate = from, .last_index = 9, .last_term = term - 1, .disrupt = true}};
    world_give(w, from, 1, &m);
}

/* The messages of this type that node 1 wants to send; *out is the last. */
static size_t mail_of(struct world *w, enum bnd_message_type type, struct bnd_message *out,
                      uint64_t *out_after) {
    struct world_node *n = &w->nodes[1];
    size_t count = 0;
    for (size_t i = 0; i < n->mail_count; i++) {
        struct bnd_message m;
        assert_int_equal(bnd_message_decode(bnd_buf_slice(&n->mail[i].bytes), &m, NULL), 0);
        if (m.type == type) {
            bnd_message_release(out);
            *out = m;
            *out_after = n->mail[i].after_op;
            count++;
        } else {
            bnd_message_release(&m);
        }
    }
    return count;
}

static struct world *follower(void) {
    struct world *w = world_make(3, 3, UINT32_MAX);
    w->keep_mail = true;
    w->nodes[1].disk_stuck = true;
    w->nodes[1].disk.vote = 3; /* in term 1 */
    world_open(w, 1);
    return w;
}

static void a_new_term_is_written_without_a_vote_and_a_vote_with_it(void **state) {
    (void)state;
    struct world *w = follower();
    struct bnd_message m = {0};
    uint64_t after = 0;
    give_append(w, 2, 5, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    assert_int_equal(w->nodes[1].disk.term, 5);
    assert_int_equal(w->nodes[1].disk.vote, 0);
    give_vote(w, 3, 5); /* the term is known: only the vote is new */
    assert_int_equal(mail_of(w, BND_MESSAGE_VOTE_RESULT, &m, &after), 1);
    assert_true(m.vote_result.granted);
    assert_int_equal(w->nodes[1].disk.vote, 3);
    assert_int_equal(after, w->nodes[1].op_last); /* it waits for that record */
    give_vote(w, 2, 5);
    assert_true(mail_of(w, BND_MESSAGE_VOTE_RESULT, &m, &after) == 1 || !m.vote_result.granted);
    world_sync(w, 1);
    world_crash(w, 1);
    world_open(w, 1); /* and it holds after a crash */
    assert_int_equal(world_status(w, 1).term, 5);
    assert_int_equal(world_status(w, 1).vote, 3);
    give_vote(w, 2, 5);
    assert_true(mail_of(w, BND_MESSAGE_VOTE_RESULT, &m, &after) == 0 || !m.vote_result.granted);
    bnd_message_release(&m);
    world_free(w);
}

static void what_follows_a_truncation_waits_for_it(void **state) {
    (void)state;
    struct world *w = follower();
    struct bnd_message m = {0};
    uint64_t after = 0;
    struct bnd_journal_entry old = barrier_entry(2, 2);
    give_append(w, 2, 2,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &old, .entries_count = 1});
    world_sync(w, 1);
    give_append(w, 3, 3, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    world_sync(w, 1); /* the term is durable; what comes now waits for something else */
    struct bnd_journal_entry new = barrier_entry(2, 3);
    give_append(w, 3, 3,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &new, .entries_count = 1});
    assert_int_equal(w->nodes[1].truncates, 1);
    size_t before = mail_of(w, BND_MESSAGE_APPEND_RESULT, &m, &after);
    give_append(w, 3, 3,
                (struct bnd_message_append){.prev_index = 1, .prev_term = 1}); /* a heartbeat */
    assert_int_equal(mail_of(w, BND_MESSAGE_APPEND_RESULT, &m, &after), before + 1);
    assert_true(after > w->nodes[1].op_durable);
    bnd_message_release(&m);
    world_free(w);
}

static void what_follows_an_install_waits_for_it(void **state) {
    (void)state;
    struct world *w = follower();
    struct bnd_message m = {0};
    struct bnd_buf bytes = {0};
    uint64_t after = 0;
    struct bnd_core_status status = world_status(w, 1);
    bnd_raft_configuration_encode(&status.configuration, &bytes);
    give_append(w, 3, 3, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    world_sync(w, 1);
    struct bnd_message install = {
        .gid = 7,
        .term = 3,
        .type = BND_MESSAGE_INSTALL,
        .install = {
            .start = {.index = 9, .term = 2, .config = bnd_buf_slice(&bytes), .config_index = 4},
            .export_id = 77}};
    world_give(w, 3, 1, &install);
    assert_int_equal(w->nodes[1].installs, 1);
    assert_int_equal(world_status(w, 1).configuration_index, 4);
    size_t before = mail_of(w, BND_MESSAGE_APPEND_RESULT, &m, &after);
    give_append(w, 3, 3, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    if (mail_of(w, BND_MESSAGE_APPEND_RESULT, &m, &after) > before) {
        assert_true(after > w->nodes[1].op_durable);
    }
    world_sync(w, 1);
    assert_int_equal(world_status(w, 1).applied, 9);
    assert_int_equal(world_status(w, 1).commit, 9);
    bnd_message_release(&m);
    bnd_buf_free(&bytes);
    world_free(w);
}

/* Entries of an earlier leader become durable after the next one's append was refused: they are not
 * acknowledged to it. */
static void a_refused_append_verifies_nothing(void **state) {
    (void)state;
    struct world *w = follower();
    struct bnd_message m = {0};
    struct bnd_journal_entry old[] = {barrier_entry(2, 2), barrier_entry(3, 2),
                                      barrier_entry(4, 2)};
    give_append(w, 2, 2,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = old, .entries_count = 3});
    struct bnd_journal_entry new = barrier_entry(4, 3);
    give_append(w, 3, 3,
                (struct bnd_message_append){
                    .prev_index = 3, .prev_term = 3, .entries = &new, .entries_count = 1});
    world_sync(w, 1);
    world_sync(w, 1);
    struct world_node *n = &w->nodes[1];
    for (size_t i = 0; i < n->mail_count; i++) {
        assert_int_equal(bnd_message_decode(bnd_buf_slice(&n->mail[i].bytes), &m, NULL), 0);
        if (m.type == BND_MESSAGE_APPEND_RESULT && m.term == 3 && m.append_result.rejected == 0) {
            assert_true(m.append_result.last_index <= 1);
        }
        bnd_message_release(&m);
    }
    world_free(w);
}

/* Two appends under way, the first of them durable: only that one is acknowledged. */
static void an_append_is_acknowledged_once_it_is_durable(void **state) {
    (void)state;
    struct world *w = follower();
    struct bnd_message m = {0};
    uint64_t after = 0;
    struct bnd_journal_entry entries[] = {barrier_entry(2, 2), barrier_entry(3, 2)};
    give_append(w, 2, 2, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    world_sync(w, 1);
    for (size_t i = 0; i < 2; i++) {
        give_append(w, 2, 2,
                    (struct bnd_message_append){.prev_index = 1 + i,
                                                .prev_term = 1 + i,
                                                .entries = &entries[i],
                                                .entries_count = 1});
    }
    struct world_node *n = &w->nodes[1];
    assert_int_equal(world_status(w, 1).last_index, 3);
    n->op_durable = n->op_last - 1;
    bnd_core_persisted(n->core, n->op_durable);
    assert_true(mail_of(w, BND_MESSAGE_APPEND_RESULT, &m, &after) > 0);
    assert_int_equal(m.append_result.last_index, 2);
    assert_int_equal(world_status(w, 1).stored, 2);
    bnd_core_persisted(n->core, n->op_durable); /* told again */
    assert_int_equal(world_status(w, 1).stored, 2);
    world_sync(w, 1);
    (void)mail_of(w, BND_MESSAGE_APPEND_RESULT, &m, &after);
    assert_int_equal(m.append_result.last_index, 3);
    bnd_message_release(&m);
    world_free(w);
}

static void a_dead_core_says_nothing(void **state) {
    (void)state;
    struct world *w = follower();
    bnd_core_persist_failed(w->nodes[1].core);
    assert_int_equal(w->nodes[1].fatals, 1);
    size_t mail = w->nodes[1].mail_count;
    uint64_t ops = w->nodes[1].op_last;
    give_vote(w, 3, 5);
    give_append(w, 2, 6, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    world_run(w, 2000);
    assert_int_equal(w->nodes[1].mail_count, mail);
    assert_int_equal(w->nodes[1].op_last, ops);
    assert_int_equal(w->nodes[1].fatals, 1);
    world_free(w);
}

/* A leader that hands over to one that lacks entries, or has no vote, would only cost an election.
 */
static void leadership_goes_to_voters_that_have_the_log(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    world_open_all(w);
    uint64_t leader = world_elect(w);
    uint64_t behind = leader % 3 + 1;
    world_run(w, 200);
    w->nodes[behind].cut = true;
    uint64_t index = world_propose(w, leader, "not there");
    world_settle(w);
    assert_int_equal(bnd_core_transfer(w->nodes[leader].core, behind), BND_BUSY);
    w->nodes[behind].cut = false;
    world_run(w, 200);
    world_assert_applied(w, behind, index, "not there");
    assert_int_equal(bnd_core_member_assign(w->nodes[leader].core, behind, BND_RAFT_STANDBY), 0);
    world_run(w, 200);
    assert_int_equal(bnd_core_transfer(w->nodes[leader].core, behind), BND_INVALID);
    assert_int_equal(bnd_core_transfer(w->nodes[leader].core, leader), BND_INVALID);
    world_free(w);
}

/* An entry below our commit that contradicts it: the library gives up, and the core with it. */
static void a_contradicted_commit_is_fatal(void **state) {
    (void)state;
    struct world *w = follower();
    struct bnd_journal_entry old[] = {barrier_entry(2, 2), barrier_entry(3, 2)};
    give_append(
        w, 2, 2,
        (struct bnd_message_append){
            .prev_index = 1, .prev_term = 1, .commit = 3, .entries = old, .entries_count = 2});
    world_sync(w, 1);
    give_append(w, 2, 2, (struct bnd_message_append){.prev_index = 3, .prev_term = 2, .commit = 3});
    assert_int_equal(world_status(w, 1).commit, 3);
    struct bnd_journal_entry new[] = {barrier_entry(2, 3), barrier_entry(3, 3)};
    give_append(w, 3, 3,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = new, .entries_count = 2});
    world_sync(w, 1);
    assert_int_equal(w->nodes[1].fatals, 1);
    assert_int_equal(w->nodes[1].truncates, 0);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_term_is_written_without_a_vote_and_a_vote_with_it),
        cmocka_unit_test(what_follows_a_truncation_waits_for_it),
        cmocka_unit_test(what_follows_an_install_waits_for_it),
        cmocka_unit_test(a_refused_append_verifies_nothing),
        cmocka_unit_test(an_append_is_acknowledged_once_it_is_durable),
        cmocka_unit_test(a_dead_core_says_nothing),
        cmocka_unit_test(leadership_goes_to_voters_that_have_the_log),
        cmocka_unit_test(a_contradicted_commit_is_fatal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
