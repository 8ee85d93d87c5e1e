/* Guards at work in a core, on and off, and all of them together under seeded faults. */
#include "raft/core_libraft_private.h"
#include "tests/unit/raft/core_world.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct bnd_journal_entry barrier_entry(uint64_t index, uint64_t term) {
    return (struct bnd_journal_entry){.index = index, .term = term, .kind = BND_CORE_BARRIER};
}

static void give_append(struct world *w, uint64_t from, uint64_t to, uint64_t term,
                        struct bnd_message_append append) {
    struct bnd_message m = {.gid = 7, .term = term, .type = BND_MESSAGE_APPEND, .append = append};
    world_give(w, from, to, &m);
}

/* The last APPEND_RESULT that node 1 sent; false if there is none. */
static bool last_result(struct world *w, struct bnd_message *out) {
    struct world_node *n = &w->nodes[1];
    for (size_t i = n->mail_count; i > 0; i--) {
        struct bnd_slice bytes = bnd_buf_slice(&n->mail[i - 1].bytes);
        if (bytes.data[0] == BND_MESSAGE_APPEND_RESULT) {
            assert_int_equal(bnd_message_decode(bytes, out, NULL), 0);
            return true;
        }
    }
    return false;
}

/* Node 1 has an entry 2 of term 2 that the leader of term 3 has never seen; a heartbeat after
 * entry 1. */
static uint64_t acknowledged_with(uint32_t guards) {
    struct world *w = world_make(3, 3, guards);
    w->keep_mail = true;
    w->nodes[1].disk.term = 2;
    w->nodes[1].disk.entries[1] = (struct world_entry){.term = 2, .kind = BND_CORE_BARRIER};
    w->nodes[1].disk.count = 2;
    world_open(w, 1);
    give_append(w, 2, 1, 3, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    struct bnd_message result;
    assert_true(last_result(w, &result));
    assert_int_equal(result.append_result.rejected, 0);
    world_free(w);
    return result.append_result.last_index;
}

static void g2_stops_false_acknowledgements(void **state) {
    (void)state;
    assert_int_equal(acknowledged_with(UINT32_MAX), 1);
    assert_int_equal(acknowledged_with(~(uint32_t)BND_GUARD_ACK), 2);
}

/* What the leader of term 2 has matched says nothing about the log of the leader of term 3. */
static void g2_what_an_older_leader_verified_is_forgotten(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    struct bnd_journal_entry old = barrier_entry(2, 2);
    struct bnd_message result;
    w->keep_mail = true;
    world_open(w, 1);
    give_append(w, 2, 1, 2,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &old, .entries_count = 1});
    world_settle(w);
    assert_true(last_result(w, &result));
    assert_int_equal(result.append_result.last_index, 2);
    for (int i = 0; i < 2; i++) {
        give_append(w, 3, 1, 3, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
        assert_true(last_result(w, &result));
        assert_int_equal(result.term, 3);
        assert_int_equal(result.append_result.rejected, 0);
        assert_int_equal(result.append_result.last_index, 1);
    }
    world_free(w);
}

/* Node 1 becomes leader of three with an old entry; node 2 acknowledges it before the barrier is
 * stored. */
static uint64_t commit_with(uint32_t guards) {
    struct world *w = world_make(3, 3, guards);
    w->nodes[1].disk.term = 2;
    w->nodes[1].disk.entries[1] = (struct world_entry){.term = 2, .kind = BND_CORE_BARRIER};
    w->nodes[1].disk.count = 2;
    world_open(w, 1);
    world_open(w, 2);
    struct world_node *n = &w->nodes[1];
    while (world_status(w, 1).role != BND_CORE_LEADER) {
        w->now_ms += 10;
        bnd_core_tick(n->core);
        world_mail_out(w, 1);
        world_mail_out(w, 2);
        world_sync(w, 2);
        if (world_status(w, 1).role != BND_CORE_LEADER) { /* the barrier stays in the air */
            world_sync(w, 1);
        }
    }
    assert_int_equal(world_status(w, 1).barrier_index, 3);
    assert_int_equal(world_status(w, 1).stored, 2);
    struct bnd_message m = {.gid = 7,
                            .term = world_status(w, 1).term,
                            .type = BND_MESSAGE_APPEND_RESULT,
                            .append_result = {.last_index = 2}};
    world_give(w, 2, 1, &m);
    struct bnd_core_status status = world_status(w, 1);
    uint64_t commit = status.commit;
    world_run(w, 500);
    assert_true(world_status(w, 1).commit >= 3);
    assert_int_equal(world_status(w, 1).held, 0);
    world_free(w);
    return commit;
}

static void g1_stops_commits_of_an_old_term_by_counting(void **state) {
    (void)state;
    assert_int_equal(commit_with(UINT32_MAX), 1);
    assert_int_equal(commit_with(~(uint32_t)BND_GUARD_BARRIER), 2); /* of term 2, in term 3 */
}

static void g3_no_candidate_with_pending_writes(void **state) {
    (void)state;
    for (int off = 0; off < 2; off++) {
        struct world *w = world_make(3, 3, off ? ~(uint32_t)BND_GUARD_ELECTION : UINT32_MAX);
        w->keep_mail = true;
        world_open(w, 1);
        struct bnd_journal_entry entry = barrier_entry(2, 2);
        give_append(w, 2, 1, 2,
                    (struct bnd_message_append){
                        .prev_index = 1, .prev_term = 1, .entries = &entry, .entries_count = 1});
        w->nodes[1].disk_stuck = true;
        world_run(w, 2000);
        assert_int_equal(world_status(w, 1).role, off ? BND_CORE_CANDIDATE : BND_CORE_FOLLOWER);
        w->nodes[1].disk_stuck = false;
        world_run(w, 2000);
        assert_int_equal(world_status(w, 1).role, BND_CORE_CANDIDATE);
        world_free(w);
    }
}

static void g4_rollback_of_a_configuration_is_truncated_and_fatal(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    world_open(w, 1);
    struct world_entry *c = &w->nodes[1].disk.entries[0];
    struct bnd_journal_entry change = {
        .index = 2, .term = 2, .kind = BND_CORE_CONFIGURATION, .data = bnd_slice(c->data, c->len)};
    give_append(w, 2, 1, 2,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &change, .entries_count = 1});
    world_settle(w);
    assert_int_equal(world_status(w, 1).configuration_index, 2);
    assert_false(world_status(w, 1).configuration_committed);
    struct bnd_journal_entry other = barrier_entry(2, 3);
    give_append(w, 3, 1, 3,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &other, .entries_count = 1});
    assert_int_equal(w->nodes[1].fatals, 1);
    assert_int_equal(w->nodes[1].truncated_at, 2);
    world_crash(w, 1);
    world_open(w, 1); /* recovery goes on without the entry */
    assert_int_equal(world_status(w, 1).configuration_index, 1);
    assert_int_equal(world_status(w, 1).last_index, 1);
    world_free(w);
}

static void b9_a_conflict_waits_and_keeps_its_place(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    w->keep_mail = true;
    world_open(w, 1);
    struct bnd_journal_entry old = barrier_entry(2, 2);
    give_append(w, 2, 1, 2,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &old, .entries_count = 1});
    struct bnd_journal_entry new[] = {barrier_entry(2, 3), barrier_entry(3, 3)};
    give_append(w, 3, 1, 3,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = new, .entries_count = 1});
    give_append(w, 3, 1, 3,
                (struct bnd_message_append){
                    .prev_index = 2, .prev_term = 3, .entries = &new[1], .entries_count = 1});
    assert_int_equal(world_status(w, 1).delayed, 2);
    assert_int_equal(w->nodes[1].truncates, 0);
    world_settle(w);
    assert_int_equal(world_status(w, 1).delayed, 0);
    assert_int_equal(w->nodes[1].truncates, 1);
    assert_int_equal(world_status(w, 1).last_index, 3);
    assert_int_equal(world_status(w, 1).last_term, 3);
    world_free(w);
}

/* Node 1 has an entry of term 2 on its way to the disk when term 3's leader cuts it off. */
static unsigned cuts_with_pending_writes(uint32_t guards) {
    struct world *w = world_make(3, 3, guards);
    w->keep_mail = true;
    world_open(w, 1);
    struct bnd_journal_entry old = barrier_entry(2, 2);
    struct bnd_journal_entry fresh = barrier_entry(2, 3);
    give_append(w, 2, 1, 2,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &old, .entries_count = 1});
    give_append(w, 3, 1, 3,
                (struct bnd_message_append){
                    .prev_index = 1, .prev_term = 1, .entries = &fresh, .entries_count = 1});
    assert_true(w->nodes[1].op_durable < w->nodes[1].op_last);
    unsigned cuts = w->nodes[1].truncates;
    world_settle(w);
    world_free(w);
    return cuts;
}

static void b9_nothing_is_cut_off_under_way(void **state) {
    (void)state;
    assert_int_equal(cuts_with_pending_writes(UINT32_MAX), 0);
    assert_int_equal(cuts_with_pending_writes(~(uint32_t)BND_GUARD_CONFLICT), 1);
}

/* A leader of three whose barrier nobody has: may it remove a voter? */
static int changes_early(uint32_t guards) {
    struct world *w = world_make(3, 3, guards);
    world_open(w, 1);
    world_open(w, 2);
    while (world_status(w, 1).role != BND_CORE_LEADER) {
        w->now_ms += 10;
        bnd_core_tick(w->nodes[1].core);
        world_sync(w, 1);
        world_mail_out(w, 1);
        world_sync(w, 2);
        world_mail_out(w, 2);
    }
    assert_false(world_status(w, 1).ready);
    int rv = bnd_core_member_remove(w->nodes[1].core, 3);
    assert_int_equal(world_status(w, 1).configuration.count, rv == 0 ? 2 : 3);
    world_free(w);
    return rv;
}

static void g7_no_change_of_members_before_the_barrier(void **state) {
    (void)state;
    assert_int_equal(changes_early(UINT32_MAX), BND_BUSY);
    assert_int_equal(changes_early(~(uint32_t)BND_GUARD_MEMBERSHIP), 0);
}

/* The library takes a candidate that it believes to be given the leadership for one that may have
 * a second vote in a term. It believes so only while raft_transfer runs, which we never call. */
static uint64_t second_vote(uint32_t guards) {
    struct world *w = world_make(3, 3, guards);
    w->keep_mail = true;
    world_open(w, 1);
    struct raft_transfer transfer = {.id = 3};
    w->nodes[1].core->raft.transfer = &transfer;
    struct bnd_message vote = {.gid = 7,
                               .term = 5,
                               .type = BND_MESSAGE_VOTE,
                               .vote = {.candidate = 2, .last_index = 1, .last_term = 1}};
    world_give(w, 2, 1, &vote);
    assert_int_equal(world_status(w, 1).vote, 2);
    vote.vote.candidate = 3;
    world_give(w, 3, 1, &vote);
    assert_int_equal(world_status(w, 1).term, 5);
    uint64_t voted = world_status(w, 1).vote;
    w->nodes[1].core->raft.transfer = NULL;
    world_free(w);
    return voted;
}

static void b12_one_vote_in_a_term(void **state) {
    (void)state;
    assert_int_equal(second_vote(UINT32_MAX), 2);
    assert_int_equal(second_vote(~(uint32_t)BND_GUARD_VOTE), 3);
}

/* A candidate with an entry on its way to the disk (so guard G3 is off) gives way to another: whom
 * does the finished write answer? */
static unsigned answers_to_nobody(uint32_t guards) {
    struct world *w = world_make(3, 3, guards);
    w->keep_mail = true;
    world_open(w, 1);
    struct bnd_journal_entry entry = barrier_entry(2, 2);
    give_append(
        w, 2, 1, 2,
        (struct bnd_message_append){
            .prev_index = 1, .prev_term = 1, .commit = 1, .entries = &entry, .entries_count = 1});
    w->nodes[1].disk_stuck = true;
    world_run(w, 1000);
    assert_int_equal(world_status(w, 1).role, BND_CORE_CANDIDATE);
    struct bnd_message vote = {.gid = 7,
                               .term = 9,
                               .type = BND_MESSAGE_VOTE,
                               .vote = {.candidate = 3, .last_index = 1, .last_term = 1}};
    world_give(w, 3, 1, &vote);
    assert_int_equal(world_status(w, 1).role, BND_CORE_FOLLOWER);
    assert_int_equal(world_status(w, 1).leader, 0);
    world_sync(w, 1);
    unsigned count = 0;
    for (size_t i = 0; i < w->nodes[1].mail_count; i++) {
        count += w->nodes[1].mail[i].to == 0;
    }
    world_free(w);
    return count;
}

static void b3b_nothing_is_sent_to_nobody(void **state) {
    (void)state;
    uint32_t guards = ~(uint32_t)BND_GUARD_ELECTION;
    assert_int_equal(answers_to_nobody(guards), 0);
    assert_true(answers_to_nobody(guards & ~(uint32_t)BND_GUARD_ADDRESS) > 0);
}

/* Node 1 holds a state up to 10 and no entries; its leader sends its log from the beginning. */
static uint64_t end_after_prefix(uint32_t guards) {
    struct world *w = world_make(3, 3, guards);
    w->keep_mail = true;
    struct world_disk *d = &w->nodes[1].disk;
    memcpy(d->start_config, d->entries[0].data, d->entries[0].len);
    d->start_config_len = d->entries[0].len;
    d->start_index = 10;
    d->start_term = 2;
    d->start_config_index = 1;
    d->term = 2;
    d->count = 0;
    struct world_entry first = d->entries[0];
    world_open(w, 1);
    struct bnd_journal_entry entries[] = {
        {.index = 1, .term = 1, .kind = first.kind, .data = bnd_slice(first.data, first.len)},
        barrier_entry(2, 2),
        barrier_entry(3, 2)};
    give_append(w, 2, 1, 2,
                (struct bnd_message_append){.commit = 3, .entries = entries, .entries_count = 3});
    uint64_t last = world_status(w, 1).last_index;
    world_free(w);
    return last;
}

static void prefix_no_entry_under_another_index(void **state) {
    (void)state;
    assert_int_equal(end_after_prefix(UINT32_MAX), 10);
    pid_t pid = fork(); /* without it the library appends 1 to 3 as 11 to 13, if it lives so long */
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* not cmocka's to report */
        (void)signal(SIGABRT, SIG_DFL);
        _exit(end_after_prefix(~(uint32_t)BND_GUARD_PREFIX) == 10 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_not_equal(status, 0);
}

static void g6_and_g8_can_be_switched_off(void **state) {
    (void)state;
    struct world *w = world_make(1, 1, ~(uint32_t)(BND_GUARD_SOLE_VOTER | BND_GUARD_STORAGE));
    world_open(w, 1);
    assert_int_equal(world_status(w, 1).role, BND_CORE_LEADER);
    assert_int_equal(world_status(w, 1).term, 1); /* the term it had before */
    bnd_core_persist_failed(w->nodes[1].core);
    assert_int_equal(w->nodes[1].fatals, 0);
    assert_int_equal(world_status(w, 1).last_index, 1); /* the library dropped its barrier */
    world_free(w);
}

static struct world_entry configuration_entry(uint64_t term, enum bnd_raft_role second) {
    const struct bnd_raft_configuration configuration = {
        .count = 2, .members = {{1, BND_RAFT_VOTER}, {2, second}}};
    struct world_entry entry = {.term = term, .kind = BND_CORE_CONFIGURATION};
    struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&configuration, &bytes);
    entry.len = bytes.len;
    assert_true(bytes.len <= WORLD_TEXT);
    memcpy(entry.data, bytes.data, bytes.len);
    bnd_buf_free(&bytes);
    return entry;
}

/* Node 1 has made node 2 a voter; it went down before node 2 heard of that. Does it lead again? */
static bool leads_with_a_standby(uint32_t guards) {
    struct world *w = world_make(2, 1, guards);
    for (uint64_t id = 1; id <= 2; id++) {
        struct world_disk *d = &w->nodes[id].disk;
        d->term = 2;
        d->entries[0] = configuration_entry(1, BND_RAFT_STANDBY);
        d->count = 1;
    }
    w->nodes[1].disk.entries[1] = configuration_entry(2, BND_RAFT_VOTER);
    w->nodes[1].disk.count = 2;
    world_open(w, 1);
    world_open(w, 2);
    give_append(w, 1, 2, 2, (struct bnd_message_append){.prev_index = 1, .prev_term = 1});
    assert_int_equal(world_status(w, 2).leader, 1); /* the last heartbeat before it went */
    world_run(w, 5000);
    bool leads = world_leader(w) == 1;
    assert_true(!leads || world_status(w, 2).last_index >= 3);
    world_free(w);
    return leads;
}

static void b18_a_standby_votes_for_whoever_counts_it(void **state) {
    (void)state;
    assert_true(leads_with_a_standby(UINT32_MAX));
    assert_false(leads_with_a_standby(~(uint32_t)BND_GUARD_STANDBY)); /* ever */
}

static void b18_a_standby_votes_once_in_a_term(void **state) {
    (void)state;
    struct world *w = world_make(3, 2, UINT32_MAX);
    struct world_disk *disk = &w->nodes[3].disk;
    struct bnd_raft_configuration members = {
        .count = 3, .members = {{1, BND_RAFT_VOTER}, {2, BND_RAFT_VOTER}, {3, BND_RAFT_STANDBY}}};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&members, &bytes);
    disk->term = disk->count = 1;
    disk->entries[0] =
        (struct world_entry){.term = 1, .kind = BND_CORE_CONFIGURATION, .len = bytes.len};
    memcpy(disk->entries[0].data, bytes.data, bytes.len);
    w->keep_mail = true;
    for (uint64_t candidate = 1; candidate <= 2; candidate++) {
        world_open(w, 3);
        struct bnd_message vote = {
            .gid = 7,
            .term = 5,
            .type = BND_MESSAGE_VOTE,
            .vote = {.candidate = candidate, .last_index = 1, .last_term = 1}};
        world_give(w, candidate, 3, &vote);
        assert_int_equal(disk->term, 5);
        assert_int_equal(disk->vote, 1);
        world_crash(w, 3); /* what it promised is on its disk */
    }
    world_free(w);
}

/* Of two voters node 1 has the higher term and node 2 the longer log. Does any of them lead? */
static uint64_t leader_of_unlike(uint32_t guards) {
    struct world *w = world_make(2, 2, guards);
    w->nodes[1].disk.term = 8;
    w->nodes[2].disk.term = 4;
    w->nodes[2].disk.entries[1] = (struct world_entry){.term = 4, .kind = BND_CORE_BARRIER};
    w->nodes[2].disk.count = 2;
    world_open(w, 1);
    world_open(w, 2);
    world_run(w, 20000);
    uint64_t leader = world_leader(w);
    world_free(w);
    return leader;
}

static void b19_the_longer_log_learns_of_the_higher_term(void **state) {
    (void)state;
    assert_int_equal(leader_of_unlike(UINT32_MAX), 2);
    assert_int_equal(leader_of_unlike(~(uint32_t)BND_GUARD_TERM), 0); /* ever */
}

/* Of two voters the leader makes the other a standby, and goes down before its own disk has that.
 * Is there a leader again? */
static bool leads_after_demotion(uint32_t guards) {
    struct world *w = world_make(2, 2, guards);
    world_open(w, 1);
    world_open(w, 2);
    uint64_t leader = world_elect(w);
    uint64_t other = 3 - leader;
    struct world_disk durable = w->nodes[leader].disk;
    w->nodes[leader].disk_stuck = true;
    assert_int_equal(bnd_core_member_assign(w->nodes[leader].core, other, BND_RAFT_STANDBY), 0);
    world_settle(w);
    world_crash(w, leader);
    w->nodes[leader].disk = durable;
    w->nodes[leader].disk_stuck = false;
    world_open(w, leader);
    world_run(w, 20000);
    bool leads = world_leader(w) != 0;
    world_free(w);
    return leads;
}

static void g10_a_demotion_half_done_leaves_a_leader(void **state) {
    (void)state;
    assert_true(leads_after_demotion(UINT32_MAX));
    assert_false(leads_after_demotion(~(uint32_t)BND_GUARD_WITHHOLD)); /* ever */
}

/* Node 1 was destroyed with a log up to 5 of term 2 and is made again; node 2, which has only
 * entry 1 and a configuration in which node 1 votes, asks for its vote. */
static bool votes_for_less(uint32_t guards, uint64_t last_index, uint64_t last_term) {
    struct world *w = world_make(3, 3, guards);
    w->keep_mail = true;
    w->nodes[1].disk.count = 0;
    w->nodes[1].disk.term = 2;
    w->nodes[1].floor = (struct bnd_journal_floor){.index = 5, .term = 2};
    world_open(w, 1);
    struct bnd_message vote = {
        .gid = 7,
        .term = 3,
        .type = BND_MESSAGE_VOTE,
        .vote = {.candidate = 2, .last_index = last_index, .last_term = last_term}};
    world_give(w, 2, 1, &vote);
    uint64_t voted = world_status(w, 1).vote;
    world_free(w);
    return voted == 2;
}

static void g9_a_replica_made_again_votes_for_no_less_than_it_had(void **state) {
    (void)state;
    assert_false(votes_for_less(UINT32_MAX, 1, 1));
    assert_false(votes_for_less(UINT32_MAX, 4, 2));
    assert_true(votes_for_less(UINT32_MAX, 5, 2));
    assert_true(votes_for_less(UINT32_MAX, 2, 3));
    assert_true(votes_for_less(~(uint32_t)BND_GUARD_FLOOR, 1, 1));
}

/* While it is filled again, by an old log in which it is the only voter, it does not stand. */
static void g9_a_replica_made_again_waits_for_its_log(void **state) {
    (void)state;
    for (int off = 0; off < 2; off++) {
        struct world *w = world_make(3, 1, off ? ~(uint32_t)BND_GUARD_FLOOR : UINT32_MAX);
        w->keep_mail = true;
        struct world_entry first = w->nodes[1].disk.entries[0];
        w->nodes[1].disk.count = 0;
        w->nodes[1].floor = (struct bnd_journal_floor){.index = 5, .term = 2};
        world_open(w, 1);
        struct bnd_journal_entry entry = {
            .index = 1, .term = 1, .kind = first.kind, .data = bnd_slice(first.data, first.len)};
        give_append(w, 2, 1, 3, (struct bnd_message_append){.entries = &entry, .entries_count = 1});
        world_run(w, 3000);
        assert_int_equal(world_status(w, 1).role, off ? BND_CORE_LEADER : BND_CORE_FOLLOWER);
        world_free(w);
    }
}

/* Below its floor it stands for nothing, but does not wait for a leader that has gone either: it may
 * be counted. */
static void g9_a_replica_made_again_forgets_a_leader_that_has_gone(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    w->keep_mail = true;
    w->nodes[1].disk.count = 0;
    w->nodes[1].floor = (struct bnd_journal_floor){.index = 5, .term = 2};
    world_open(w, 1);
    give_append(w, 2, 1, 3, (struct bnd_message_append){0});
    assert_int_equal(world_status(w, 1).leader, 2);
    world_run(w, 5000);
    assert_int_equal(world_status(w, 1).leader, 0);
    struct bnd_message vote = {.gid = 7,
                               .term = 4,
                               .type = BND_MESSAGE_VOTE,
                               .vote = {.candidate = 3, .last_index = 6, .last_term = 3}};
    world_give(w, 3, 1, &vote);
    assert_int_equal(world_status(w, 1).vote, 3);
    world_free(w);
}

/* What was applied first at an index is applied there by all. */
static void check_equal(struct world *w, struct world_entry *ledger, uint64_t *seen) {
    for (uint64_t id = 1; id <= w->count; id++) {
        struct world_node *n = &w->nodes[id];
        for (uint64_t i = 1; i <= n->applied_last; i++) {
            struct world_entry *e = &n->applied[i];
            if (e->term == 0) {
                continue; /* came with an install */
            }
            if (i > *seen) {
                ledger[i] = *e;
                *seen = i;
            }
            assert_int_equal(ledger[i].term, e->term);
            assert_int_equal(ledger[i].kind, e->kind);
            assert_int_equal(ledger[i].len, e->len);
            assert_memory_equal(ledger[i].data, e->data, e->len);
        }
    }
}

static void faults(struct world *w, struct world_disk *durable, uint64_t chance) {
    uint64_t id = chance / 8 % w->count + 1;
    struct world_node *n = &w->nodes[id];
    switch (chance % 8) {
    case 0:
        n->cut = true;
        break;
    case 1:
    case 2:
        n->cut = false;
        break;
    case 3:
        n->disk_stuck = true;
        break;
    case 4:
        n->disk_stuck = false;
        break;
    case 5: /* what was not synced is lost */
        world_crash(w, id);
        n->disk = durable[id];
        world_open(w, id);
        break;
    default:
        break;
    }
}

static void seeded_faults_never_divide_the_group(void **state) {
    (void)state;
    static struct world_disk durable[WORLD_NODES + 1];
    static struct world_entry ledger[WORLD_LOG];
    uint64_t total = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = world_make(3, 3, UINT32_MAX);
        w->seed = seed;
        memset(ledger, 0, sizeof ledger);
        uint64_t seen = 0, proposed = 0;
        for (uint64_t id = 1; id <= 3; id++) {
            durable[id] = w->nodes[id].disk;
            world_open(w, id);
        }
        for (int step = 0; step < 300; step++) {
            faults(w, durable, world_random(&w->env));
            for (uint64_t id = 1; id <= 3; id++) {
                char text[WORLD_TEXT];
                uint64_t index = 0, term = 0;
                (void)snprintf(text, sizeof text, "%llu/%llu", (unsigned long long)id,
                               (unsigned long long)proposed++);
                if (world_status(w, id).last_index < WORLD_LOG - 100) {
                    (void)bnd_core_propose(w->nodes[id].core, bnd_slice_str(text), &index, &term);
                }
            }
            world_run(w, 30);
            for (uint64_t id = 1; id <= 3; id++) {
                struct world_node *n = &w->nodes[id];
                assert_int_equal(n->fatals, 0);
                if (n->op_durable == n->op_last) {
                    durable[id] = n->disk;
                }
            }
            check_equal(w, ledger, &seen);
        }
        for (uint64_t id = 1; id <= 3; id++) {
            w->nodes[id].cut = false;
            w->nodes[id].disk_stuck = false;
        }
        world_run(w, 1000); /* a leader that was cut off may not know it yet */
        uint64_t leader = world_elect(w);
        uint64_t last = world_propose(w, leader, "healed");
        world_run(w, 1000);
        for (uint64_t id = 1; id <= 3; id++) {
            world_assert_applied(w, id, last, "healed");
        }
        check_equal(w, ledger, &seen);
        total += seen;
        world_free(w);
    }
    assert_true(total > 1000); /* the faults left room for work */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(g1_stops_commits_of_an_old_term_by_counting),
        cmocka_unit_test(g2_stops_false_acknowledgements),
        cmocka_unit_test(g2_what_an_older_leader_verified_is_forgotten),
        cmocka_unit_test(g3_no_candidate_with_pending_writes),
        cmocka_unit_test(g4_rollback_of_a_configuration_is_truncated_and_fatal),
        cmocka_unit_test(b9_a_conflict_waits_and_keeps_its_place),
        cmocka_unit_test(g7_no_change_of_members_before_the_barrier),
        cmocka_unit_test(b9_nothing_is_cut_off_under_way),
        cmocka_unit_test(b12_one_vote_in_a_term),
        cmocka_unit_test(b3b_nothing_is_sent_to_nobody),
        cmocka_unit_test(prefix_no_entry_under_another_index),
        cmocka_unit_test(g6_and_g8_can_be_switched_off),
        cmocka_unit_test(b18_a_standby_votes_for_whoever_counts_it),
        cmocka_unit_test(b18_a_standby_votes_once_in_a_term),
        cmocka_unit_test(b19_the_longer_log_learns_of_the_higher_term),
        cmocka_unit_test(g10_a_demotion_half_done_leaves_a_leader),
        cmocka_unit_test(g9_a_replica_made_again_votes_for_no_less_than_it_had),
        cmocka_unit_test(g9_a_replica_made_again_waits_for_its_log),
        cmocka_unit_test(g9_a_replica_made_again_forgets_a_leader_that_has_gone),
        cmocka_unit_test(seeded_faults_never_divide_the_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
