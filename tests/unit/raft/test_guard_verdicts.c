/* Each guard as a pure function: where it acts, where it does not, and that its switch switches it
 * off. */
#include "base/alloc.h"
#include "raft/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

/* Terms of entries 1, 2, ... */
struct terms {
    uint64_t term[8];
};

static uint64_t term_of(const void *log, uint64_t index) {
    const struct terms *terms = log;
    return index >= 1 && index <= 8 ? terms->term[index - 1] : 0;
}

static struct terms five = {{1, 1, 2, 3, 3}};

static struct bnd_guard_state follower(void) {
    return (struct bnd_guard_state){
        .guards = UINT32_MAX,
        .role = BND_CORE_FOLLOWER,
        .self = 1,
        .term = 4,
        .commit = 2,
        .stored = 5,
        .last_index = 5,
        .last_change = 1,
        .term_of = term_of,
        .log = &five,
    };
}

static struct bnd_guard_state leader(void) {
    struct bnd_guard_state s = follower();
    s.role = BND_CORE_LEADER;
    s.vote = 1;
    s.barrier_index = 6;
    s.last_index = 6;
    return s;
}

static struct bnd_message message(enum bnd_message_type type, uint64_t term) {
    return (struct bnd_message){.from = 2, .to = 1, .term = term, .type = type};
}

static enum bnd_guard_verdict verdict(const struct bnd_guard_state *s,
                                      const struct bnd_message *m) {
    uint64_t index = 0;
    return bnd_guard_incoming(s, m, &index);
}

static void g1_holds_results_until_the_barrier_is_stored(void **state) {
    (void)state;
    struct bnd_guard_state s = leader();
    struct bnd_message m = message(BND_MESSAGE_APPEND_RESULT, 4);
    assert_int_equal(verdict(&s, &m), BND_GUARD_HOLD);
    s.guards &= ~(uint32_t)BND_GUARD_BARRIER;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    s.guards = UINT32_MAX;
    s.stored = 6;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    s.stored = 5;
    m.term = 5; /* a higher term must step us down at once */
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    s = follower();
    m.term = 4;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
}

static void g2_acknowledges_only_what_was_verified(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_message m = message(BND_MESSAGE_APPEND_RESULT, 4);
    m.append_result.last_index = 5;
    s.commit = 0;
    assert_false(bnd_guard_outgoing(&s, 0, &m)); /* nothing verified */
    s.commit = 2;
    assert_true(bnd_guard_outgoing(&s, 0, &m));
    assert_int_equal(m.append_result.last_index, 2);
    m.append_result.last_index = 5;
    assert_true(bnd_guard_outgoing(&s, 3, &m)); /* the one being answered */
    assert_int_equal(m.append_result.last_index, 3);
    m.append_result.last_index = 5;
    s.verified_term = 3; /* another leader's word */
    s.verified_index = 5;
    assert_true(bnd_guard_outgoing(&s, 0, &m));
    assert_int_equal(m.append_result.last_index, 2);
    m.append_result.last_index = 5;
    s.verified_term = 4;
    s.verified_index = 4;
    assert_true(bnd_guard_outgoing(&s, 0, &m));
    assert_int_equal(m.append_result.last_index, 4);
    m.append_result.last_index = 3; /* never raised */
    assert_true(bnd_guard_outgoing(&s, 0, &m));
    assert_int_equal(m.append_result.last_index, 3);
    m.append_result = (struct bnd_message_append_result){.rejected = 5, .last_index = 5};
    assert_true(bnd_guard_outgoing(&s, 0, &m));
    assert_int_equal(m.append_result.last_index, 5);
    m.append_result.rejected = 0;
    s.guards &= ~(uint32_t)BND_GUARD_ACK;
    s.verified_term = 0;
    assert_true(bnd_guard_outgoing(&s, 0, &m));
    assert_int_equal(m.append_result.last_index, 5);
}

static void g3_no_election_while_writes_are_pending(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_message m = message(BND_MESSAGE_TIMEOUT_NOW, 4);
    assert_true(bnd_guard_may_tick(&s));
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    s.ops_pending = 1;
    assert_false(bnd_guard_may_tick(&s));
    assert_int_equal(verdict(&s, &m), BND_GUARD_DROP);
    s.role = BND_CORE_CANDIDATE;
    assert_false(bnd_guard_may_tick(&s));
    s.role = BND_CORE_LEADER;
    assert_true(bnd_guard_may_tick(&s));
    s.role = BND_CORE_FOLLOWER;
    s.guards &= ~(uint32_t)BND_GUARD_ELECTION;
    assert_true(bnd_guard_may_tick(&s));
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
}

/* An AppendEntries after entry 2 whose entry 3 has term 4 where ours has 2. */
static struct bnd_message conflicting(struct bnd_journal_entry entries[2]) {
    entries[0] = (struct bnd_journal_entry){.index = 3, .term = 4, .kind = BND_CORE_BARRIER};
    entries[1] = (struct bnd_journal_entry){.index = 4, .term = 4, .kind = BND_CORE_BARRIER};
    struct bnd_message m = message(BND_MESSAGE_APPEND, 4);
    m.append = (struct bnd_message_append){
        .prev_index = 2, .prev_term = 1, .entries = entries, .entries_count = 2};
    return m;
}

static void g4_no_rollback_and_no_snapshot_of_a_configuration(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_journal_entry entries[2];
    struct bnd_message m = conflicting(entries);
    uint64_t index = 0;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    assert_true(bnd_guard_may_compact(&s));
    s.last_change = 4;
    assert_int_equal(bnd_guard_incoming(&s, &m, &index), BND_GUARD_FATAL_ROLLBACK);
    assert_int_equal(index, 3);
    assert_false(bnd_guard_may_compact(&s));
    s.guards &= ~(uint32_t)BND_GUARD_CONFIGURATION;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    assert_true(bnd_guard_may_compact(&s));
    s.guards = UINT32_MAX;
    m.term = 3; /* an old leader's: only answered */
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    m.term = 4;
    m.append.prev_term = 3; /* will be rejected: nothing goes */
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
}

static void g7_changes_wait_for_the_barrier(void **state) {
    (void)state;
    struct bnd_guard_state s = leader();
    assert_false(bnd_guard_may_change(&s));
    s.commit = 6;
    assert_true(bnd_guard_may_change(&s));
    s.barrier_index = 0;
    assert_false(bnd_guard_may_change(&s));
    s.guards &= ~(uint32_t)BND_GUARD_MEMBERSHIP;
    assert_true(bnd_guard_may_change(&s));
}

static void g8_a_sole_voter_takes_a_new_term(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_message m = message(BND_MESSAGE_TIMEOUT_NOW, 4);
    assert_false(bnd_guard_must_raise_term(&s));
    s.sole_voter = true;
    assert_true(bnd_guard_must_raise_term(&s));
    assert_int_equal(verdict(&s, &m), BND_GUARD_DROP);
    s.role = BND_CORE_LEADER;
    assert_false(bnd_guard_must_raise_term(&s));
    s.role = BND_CORE_FOLLOWER;
    s.guards &= ~(uint32_t)BND_GUARD_SOLE_VOTER;
    assert_false(bnd_guard_must_raise_term(&s));
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
}

static void b9_a_conflict_waits_for_pending_writes(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_journal_entry entries[2];
    struct bnd_message m = conflicting(entries);
    assert_int_equal(bnd_guard_conflict(&s, &m), 3);
    s.ops_pending = 1;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELAY);
    entries[0].term = 2;
    entries[1].term = 3;
    assert_int_equal(bnd_guard_conflict(&s, &m), 0);
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    struct bnd_message i = message(BND_MESSAGE_INSTALL, 4);
    assert_int_equal(verdict(&s, &i), BND_GUARD_DELAY);
    s.guards &= ~(uint32_t)BND_GUARD_CONFLICT;
    assert_int_equal(verdict(&s, &i), BND_GUARD_DELIVER);
    entries[0].term = 4;
    entries[1].term = 4;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
}

static void b12_no_second_vote(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_message m = message(BND_MESSAGE_VOTE, 4);
    m.vote.candidate = 2;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    s.vote = 2;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    s.vote = 3;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DROP);
    m.vote.pre_vote = true;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    m.vote.pre_vote = false;
    m.term = 5;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    m.term = 4;
    s.guards &= ~(uint32_t)BND_GUARD_VOTE;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
}

static void b3b_nothing_to_nobody(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_message m = message(BND_MESSAGE_VOTE, 4);
    assert_true(bnd_guard_outgoing(&s, 0, &m));
    m.to = 0;
    assert_false(bnd_guard_outgoing(&s, 0, &m));
    s.guards &= ~(uint32_t)BND_GUARD_ADDRESS;
    assert_true(bnd_guard_outgoing(&s, 0, &m));
}

static void two_leaders_in_a_term_are_fatal(void **state) {
    (void)state;
    struct bnd_guard_state s = leader();
    struct bnd_message m = message(BND_MESSAGE_APPEND, 4);
    assert_int_equal(verdict(&s, &m), BND_GUARD_FATAL_TWO_LEADERS);
    m.term = 5;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    m.term = 3;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
}

static void b18_who_does_not_vote_grants_all_the_same(void **state) {
    (void)state;
    struct bnd_guard_state before = follower();
    struct bnd_guard_state s = follower();
    struct bnd_message m = message(BND_MESSAGE_VOTE, 4);
    m.vote = (struct bnd_message_vote){.candidate = 2, .last_index = 5, .last_term = 3};
    assert_true(bnd_guard_grants_vote(&before, &s, &m));
    m.vote.last_index = 4; /* less than our log */
    assert_false(bnd_guard_grants_vote(&before, &s, &m));
    m.vote.last_term = 4; /* of a later term, however short */
    assert_true(bnd_guard_grants_vote(&before, &s, &m));
    s.vote = 3;
    assert_false(bnd_guard_grants_vote(&before, &s, &m)); /* once in a term */
    m.vote.pre_vote = true;
    assert_true(bnd_guard_grants_vote(&before, &s, &m)); /* which binds nobody */
    m.vote.pre_vote = false;
    s.vote = 2;
    assert_true(bnd_guard_grants_vote(&before, &s, &m)); /* asked again */
    m.term = 3;
    assert_false(bnd_guard_grants_vote(&before, &s, &m));
    m.term = 4;
    before.has_leader = true;
    assert_false(bnd_guard_grants_vote(&before, &s, &m));
    m.vote.disrupt = true;
    assert_true(bnd_guard_grants_vote(&before, &s, &m));
    s.voter = true; /* the library had its reasons */
    assert_false(bnd_guard_grants_vote(&before, &s, &m));
    s.voter = false;
    s.guards &= ~(uint32_t)BND_GUARD_STANDBY;
    assert_false(bnd_guard_grants_vote(&before, &s, &m));
}

static void b18_who_does_not_vote_forgets_a_leader(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    assert_false(bnd_guard_must_forget_leader(&s));
    s.has_leader = true;
    assert_true(bnd_guard_must_forget_leader(&s));
    s.voter = true; /* it stands instead */
    assert_false(bnd_guard_must_forget_leader(&s));
    s.voter = false;
    s.guards &= ~(uint32_t)BND_GUARD_STANDBY;
    assert_false(bnd_guard_must_forget_leader(&s));
}

static void b19_a_refusal_tells_our_term(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    struct bnd_message m = message(BND_MESSAGE_VOTE, 3);
    m.vote.pre_vote = true;
    assert_int_equal(bnd_guard_refusal_term(&s, &m, 3), 4);
    m.term = 5; /* a later one is for the log's sake: it may stand */
    assert_int_equal(bnd_guard_refusal_term(&s, &m, 5), 5);
    m.term = 3;
    m.vote.pre_vote = false;
    assert_int_equal(bnd_guard_refusal_term(&s, &m, 4), 4);
    m.vote.pre_vote = true;
    s.guards &= ~(uint32_t)BND_GUARD_TERM;
    assert_int_equal(bnd_guard_refusal_term(&s, &m, 3), 3);
}

static void g10_a_configuration_waits_for_its_commit(void **state) {
    (void)state;
    struct bnd_guard_state s = leader();
    s.last_change = 5;
    const struct bnd_message_append whole = {.prev_index = 3, .prev_term = 2, .entries_count = 3};
    struct bnd_message m = message(BND_MESSAGE_APPEND, 4);
    m.append = whole; /* 4, 5, 6 */
    bnd_guard_withhold(&s, true, &m);
    assert_int_equal(m.append.entries_count, 3);
    bnd_guard_withhold(&s, false, &m);
    assert_int_equal(m.append.entries_count, 1);
    m.append = whole;
    s.commit = 5;
    bnd_guard_withhold(&s, false, &m);
    assert_int_equal(m.append.entries_count, 3);
    s.commit = 2;
    s.last_change = 3; /* it has that one */
    bnd_guard_withhold(&s, false, &m);
    assert_int_equal(m.append.entries_count, 3);
    s.last_change = 4;
    s.guards &= ~(uint32_t)BND_GUARD_WITHHOLD;
    bnd_guard_withhold(&s, false, &m);
    assert_int_equal(m.append.entries_count, 3);
}

static void g9_a_replica_answers_for_the_log_it_had(void **state) {
    (void)state;
    struct bnd_guard_state s = follower();
    s.floor_index = 7;
    s.floor_term = 3; /* our log ends at 5 of term 3 */
    struct bnd_message m = message(BND_MESSAGE_VOTE, 5);
    struct bnd_message now = message(BND_MESSAGE_TIMEOUT_NOW, 4);
    m.vote = (struct bnd_message_vote){.candidate = 2, .last_index = 6, .last_term = 3};
    assert_int_equal(verdict(&s, &m), BND_GUARD_DROP);
    m.vote.pre_vote = true;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DROP);
    m.vote.last_index = 7;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    m.vote = (struct bnd_message_vote){.candidate = 2, .last_index = 2, .last_term = 4};
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    m.vote.last_term = 2;
    assert_int_equal(verdict(&s, &m), BND_GUARD_DROP);
    assert_false(bnd_guard_may_tick(&s));
    assert_int_equal(verdict(&s, &now), BND_GUARD_DROP);
    s.floor_index = 5;
    assert_true(bnd_guard_may_tick(&s));
    assert_int_equal(verdict(&s, &now), BND_GUARD_DELIVER);
    s.floor_index = 7;
    s.guards &= ~(uint32_t)BND_GUARD_FLOOR;
    assert_true(bnd_guard_may_tick(&s));
    assert_int_equal(verdict(&s, &m), BND_GUARD_DELIVER);
    assert_int_equal(verdict(&s, &now), BND_GUARD_DELIVER);
}

/* An AppendEntries of `count` entries behind prev, of these terms, after the guard. */
static struct bnd_message cut(struct bnd_guard_state s, uint64_t term, uint64_t prev, size_t count,
                              const uint64_t *terms) {
    static struct bnd_journal_entry entries[8];
    struct bnd_message m = message(BND_MESSAGE_APPEND, term);
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct bnd_journal_entry){.index = prev + 1 + i, .term = terms[i]};
    }
    m.append = (struct bnd_message_append){.prev_index = prev,
                                           .prev_term = 1,
                                           .commit = 9,
                                           .entries = entries,
                                           .entries_count = count};
    bnd_guard_cut_prefix(&s, &m);
    return m;
}

static void a_prefix_below_our_commit_is_cut(void **state) {
    (void)state;
    static const uint64_t ours[] = {1, 1, 2, 3, 3};
    static const uint64_t other[] = {1, 1, 1, 3, 3};
    struct bnd_guard_state s = follower();
    s.commit = 3;
    struct bnd_message m = cut(s, 4, 0, 5, ours);
    assert_int_equal(m.append.prev_index, 3);
    assert_int_equal(m.append.prev_term, 2);
    assert_int_equal(m.append.entries_count, 2);
    assert_int_equal(m.append.entries[0].index, 4);
    assert_int_equal(m.append.commit, 5); /* never above what it carries */
    m = cut(s, 4, 0, 2, ours);            /* all of it is below */
    assert_int_equal(m.append.prev_index, 3);
    assert_int_equal(m.append.entries_count, 0);
    assert_int_equal(m.append.commit, 3);
    assert_int_equal(cut(s, 4, 3, 2, ours).append.prev_index, 3); /* nothing is below */
    assert_int_equal(cut(s, 4, 3, 2, ours).append.commit, 9);
    assert_int_equal(cut(s, 3, 0, 5, ours).append.prev_index,
                     0); /* of a stale leader: only answered */
    assert_int_equal(cut(s, 4, 0, 5, other).append.prev_index,
                     0); /* contradicts what is committed */
    s.term = 1;
    assert_int_equal(cut(s, 1, 0, 2, ours).append.prev_index,
                     0); /* no leader of term 1 has an entry of 2 */
    s = follower();
    s.commit = 9; /* of unknown term */
    assert_int_equal(cut(s, 4, 0, 5, ours).append.prev_index, 0);
    s.commit = 3;
    s.guards &= ~(uint32_t)BND_GUARD_PREFIX;
    assert_int_equal(cut(s, 4, 0, 5, ours).append.prev_index, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(g1_holds_results_until_the_barrier_is_stored),
        cmocka_unit_test(g2_acknowledges_only_what_was_verified),
        cmocka_unit_test(g3_no_election_while_writes_are_pending),
        cmocka_unit_test(g4_no_rollback_and_no_snapshot_of_a_configuration),
        cmocka_unit_test(g7_changes_wait_for_the_barrier),
        cmocka_unit_test(g8_a_sole_voter_takes_a_new_term),
        cmocka_unit_test(b9_a_conflict_waits_for_pending_writes),
        cmocka_unit_test(b12_no_second_vote),
        cmocka_unit_test(b3b_nothing_to_nobody),
        cmocka_unit_test(a_prefix_below_our_commit_is_cut),
        cmocka_unit_test(two_leaders_in_a_term_are_fatal),
        cmocka_unit_test(b18_who_does_not_vote_grants_all_the_same),
        cmocka_unit_test(b18_who_does_not_vote_forgets_a_leader),
        cmocka_unit_test(b19_a_refusal_tells_our_term),
        cmocka_unit_test(g10_a_configuration_waits_for_its_commit),
        cmocka_unit_test(g9_a_replica_answers_for_the_log_it_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
