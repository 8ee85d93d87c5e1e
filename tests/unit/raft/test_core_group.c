/* Cores as a group: election, replication, truncation, restart, membership, installs, compaction.
 */
#include "tests/unit/raft/core_world.h"

static void sole_voter_elects_itself_in_a_new_term(void **state) {
    (void)state;
    struct world *w = world_make(1, 1, UINT32_MAX);
    world_open(w, 1);
    assert_int_equal(world_status(w, 1).role, BND_CORE_LEADER);
    assert_int_equal(world_status(w, 1).term, 2);
    assert_false(world_status(w, 1).ready); /* its barrier is not durable */
    world_settle(w);
    assert_true(world_status(w, 1).ready);
    uint64_t index = world_propose(w, 1, "one");
    assert_int_equal(w->nodes[1].applied_last, index - 1);
    world_settle(w);
    world_assert_applied(w, 1, index, "one");
    assert_int_equal(w->nodes[1].applied[1].kind, BND_CORE_CONFIGURATION);
    assert_int_equal(w->nodes[1].applied[2].kind, BND_CORE_BARRIER);
    assert_int_equal(w->nodes[1].applied[2].len, 0);
    world_crash(w, 1);
    world_open(w, 1);
    world_settle(w);
    assert_int_equal(world_status(w, 1).term, 3);
    world_assert_applied(w, 1, index, "one");
    world_free(w);
}

static void three_replicate_and_elect_after_silence(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    world_open_all(w);
    uint64_t old = world_elect(w);
    uint64_t first = world_propose(w, old, "kept");
    world_run(w, 100);
    for (uint64_t id = 1; id <= 3; id++) {
        world_assert_applied(w, id, first, "kept");
    }
    w->nodes[old].cut = true;
    uint64_t lost = world_propose(w, old, "lost");
    world_settle(w);
    uint64_t leader = world_elect(w);
    assert_true(leader != old);
    uint64_t second = world_propose(w, leader, "second");
    world_run(w, 200);
    world_assert_applied(w, leader, second, "second");
    assert_true(w->nodes[old].applied_last < lost);
    assert_int_not_equal(world_status(w, old).role, BND_CORE_LEADER); /* quorum was checked */
    w->nodes[old].cut = false;
    world_run(w, 1000);
    assert_true(w->nodes[old].truncates > 0);
    world_assert_applied(w, old, second, "second");
    for (uint64_t i = 1; i <= second; i++) {
        assert_int_equal(w->nodes[old].applied[i].term, w->nodes[leader].applied[i].term);
    }
    assert_int_equal(w->nodes[old].fatals, 0);
    world_free(w);
}

static void messages_wait_for_the_vote(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    for (uint64_t id = 1; id <= 3; id++) {
        world_open(w, id);
        w->nodes[id].disk_stuck = true;
    }
    world_run(w, 3000);
    for (uint64_t id = 1; id <= 3; id++) {
        struct world_node *n = &w->nodes[id];
        for (size_t i = 0; i < n->mail_count; i++) { /* only what waits is left */
            assert_true(n->mail[i].after_op > 0 && n->mail[i].after_op <= n->op_last);
        }
        assert_int_not_equal(world_status(w, id).role, BND_CORE_LEADER);
        n->disk_stuck = false;
    }
    assert_true(world_elect(w) != 0);
    world_free(w);
}

static void a_large_append_is_split(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    w->message_bytes_max = 200;
    world_open_all(w);
    uint64_t leader = world_elect(w);
    uint64_t behind = leader % 3 + 1;
    w->nodes[behind].cut = true;
    uint64_t last = 0;
    char text[WORLD_TEXT];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(text, sizeof text, "a rather long proposal, number %d", i);
        last = world_propose(w, leader, text);
        world_settle(w);
    }
    w->nodes[behind].cut = false;
    world_run(w, 1000);
    world_assert_applied(w, behind, last, text);
    assert_true(w->biggest_append > 150);
    assert_true(w->biggest_append < 300);
    world_free(w);
}

static void a_node_joins_is_promoted_and_removed(void **state) {
    (void)state;
    struct world *w = world_make(3, 1, UINT32_MAX);
    world_open_all(w);
    assert_int_equal(bnd_core_member_add(w->nodes[1].core, 2), BND_BUSY); /* G7 */
    world_settle(w);
    struct bnd_core *core = w->nodes[1].core;
    assert_int_equal(bnd_core_member_add(core, 0), BND_INVALID);
    assert_int_equal(bnd_core_member_add(core, 1), BND_INVALID);
    assert_int_equal(bnd_core_member_assign(core, 2, BND_RAFT_VOTER), BND_NOTFOUND);
    assert_int_equal(bnd_core_member_add(core, 2), 0);
    assert_true(world_status(w, 1).changing);
    assert_int_equal(bnd_core_member_add(core, 3), BND_BUSY);
    world_run(w, 100);
    assert_int_equal(bnd_core_member_add(core, 2), BND_EXISTS);
    assert_int_equal(bnd_core_member_assign(core, 2, BND_RAFT_STANDBY), 0);
    world_run(w, 500);
    uint64_t index = world_propose(w, 1, "to the standby");
    world_run(w, 200);
    world_assert_applied(w, 2, index, "to the standby");
    assert_int_equal(world_status(w, 2).configuration.count, 2);
    assert_int_equal(bnd_core_member_assign(core, 2, BND_RAFT_VOTER), 0);
    world_run(w, 500);
    assert_int_equal(bnd_raft_configuration_voters(&(struct bnd_raft_configuration){0}), 0);
    struct bnd_core_status status = world_status(w, 1);
    assert_int_equal(bnd_raft_configuration_voters(&status.configuration), 2);
    assert_true(status.configuration_committed);
    assert_int_equal(bnd_core_transfer(core, 3), BND_INVALID);
    assert_int_equal(bnd_core_transfer(core, 2), 0);
    world_run(w, 200);
    assert_int_equal(world_leader(w), 2);
    assert_int_equal(bnd_core_member_remove(core, 2), BND_NOTLEADER);
    assert_int_equal(bnd_core_member_remove(w->nodes[2].core, 1), 0);
    world_run(w, 1000);
    status = world_status(w, 2);
    assert_int_equal(status.configuration.count, 1);
    assert_true(status.ready);
    index = world_propose(w, 2, "alone");
    world_settle(w);
    world_assert_applied(w, 2, index, "alone");
    world_free(w);
}

/* What a host does: the receiver takes everything up to the sender's applied index. */
static void install(struct world *w, uint64_t from, uint64_t to) {
    struct world_node *n = &w->nodes[from];
    assert_true(n->installs_wanted > 0);
    assert_int_equal(n->install_wanted.to, to);
    assert_true(n->install_wanted.install.start.index <= n->applied_last);
    struct bnd_core_status status = world_status(w, from);
    struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&status.configuration, &bytes);
    struct bnd_message message = {
        .gid = 7,
        .term = status.term,
        .type = BND_MESSAGE_INSTALL,
        .install = {.start = {.index = n->applied_last,
                              .term = n->applied[n->applied_last].term,
                              .config = bnd_buf_slice(&bytes),
                              .config_index = status.configuration_index},
                    .export_id = 77},
    };
    world_give(w, from, to, &message);
    bnd_buf_free(&bytes);
}

static void compaction_frees_and_an_install_follows(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    w->log_bytes_max = 4096;
    world_open_all(w);
    uint64_t leader = world_elect(w);
    uint64_t behind = leader % 3 + 1;
    w->nodes[behind].cut = true;
    for (int i = 0; i < 100; i++) {
        (void)world_propose(w, leader, "a proposal that takes some room");
        world_settle(w);
        assert_true(world_status(w, leader).log_bytes < 4096 + 256);
    }
    struct bnd_core_status status = world_status(w, leader);
    assert_true(status.first_index > 50);
    struct bnd_journal_entry entry;
    assert_int_equal(bnd_core_entry(w->nodes[leader].core, status.first_index - 1, &entry),
                     BND_NOTFOUND);
    assert_int_equal(bnd_core_entry(w->nodes[leader].core, status.first_index, &entry), 0);
    assert_int_equal(entry.index, status.first_index);
    bnd_core_keep_above(w->nodes[leader].core, status.first_index);
    w->nodes[behind].cut = false;
    world_run(w, 300);
    install(w, leader, behind);
    assert_int_equal(w->nodes[behind].installs, 1);
    assert_int_equal(w->nodes[behind].install_export, 77);
    uint64_t last = world_propose(w, leader, "after the install");
    world_run(w, 500);
    world_assert_applied(w, behind, last, "after the install");
    assert_true(world_status(w, leader).first_index <= status.first_index + 1);
    world_crash(w, behind);
    world_open(w, behind);
    world_run(w, 500);
    world_assert_applied(w, behind, last, "after the install");
    world_free(w);
}

/* It had taken a change whose commit it never heard of; the state that it is given covers it. */
static void after_an_install_it_may_change_members(void **state) {
    (void)state;
    struct world *w = world_make(3, 3, UINT32_MAX);
    w->log_bytes_max = 4096;
    world_open_all(w);
    uint64_t leader = world_elect(w);
    uint64_t behind = leader % 3 + 1;
    world_run(w, 500);
    world_settle(w);
    assert_int_equal(bnd_core_member_add(w->nodes[leader].core, 4), 0);
    for (int i = 0; i < 20; i++) { /* to the others only: nobody's answer goes out yet */
        w->now_ms += 10;
        bnd_core_tick(w->nodes[leader].core);
        world_sync(w, leader);
        world_mail_out(w, leader);
        world_sync(w, behind);
    }
    assert_int_equal(world_status(w, behind).configuration.count, 4);
    assert_false(world_status(w, behind).configuration_committed);
    w->nodes[behind].cut = true;
    for (int i = 0; i < 100; i++) {
        (void)world_propose(w, leader, "a proposal that takes some room");
        world_settle(w);
    }
    w->nodes[behind].cut = false;
    world_run(w, 300);
    install(w, leader, behind);
    (void)world_propose(w, leader, "after the install");
    world_run(w, 500);
    assert_int_equal(w->nodes[behind].installs, 1);
    assert_int_equal(bnd_core_transfer(w->nodes[leader].core, behind), 0);
    world_run(w, 500);
    assert_int_equal(world_leader(w), behind);
    assert_int_equal(bnd_core_member_remove(w->nodes[behind].core, 4), 0);
    world_run(w, 500);
    assert_int_equal(world_status(w, leader).configuration.count, 3);
    world_free(w);
}

static void damaged_recovery_is_refused(void **state) {
    (void)state;
    struct bnd_error err;
    struct bnd_core *core = NULL;
    struct bnd_raft_configuration c = {.members = {{1, BND_RAFT_VOTER}}, .count = 1};
    struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&c, &bytes);
    struct bnd_journal_entry entries[] = {
        {.index = 1, .term = 1, .kind = BND_CORE_CONFIGURATION, .data = bnd_buf_slice(&bytes)},
        {.index = 2, .term = 2, .kind = BND_CORE_COMMAND, .data = bnd_slice_str("x")},
    };
    struct bnd_env env = {.ops = &world_env};
    struct bnd_core_config config = {.env = &env,
                                     .ops = &world_ops,
                                     .self = 1,
                                     .term = 2,
                                     .entries = entries,
                                     .entries_count = 2};
    config.self = 0;
    assert_int_equal(bnd_core_open(&config, &core, &err), BND_INVALID);
    config.self = 1;
    config.term = 1;
    assert_int_equal(bnd_core_open(&config, &core, &err), BND_CORRUPT);
    config.term = 2;
    entries[1].index = 3;
    assert_int_equal(bnd_core_open(&config, &core, &err), BND_CORRUPT);
    entries[1].index = 2;
    entries[1].kind = 9;
    assert_int_equal(bnd_core_open(&config, &core, &err), BND_CORRUPT);
    entries[1].kind = BND_CORE_COMMAND;
    config.start = (struct bnd_journal_start){
        .index = 2, .term = 1, .config = bnd_buf_slice(&bytes), .config_index = 1};
    assert_int_equal(bnd_core_open(&config, &core, &err), BND_CORRUPT);
    config.start.term = 2;
    config.start.config.len--;
    assert_int_equal(bnd_core_open(&config, &core, &err), BND_CORRUPT);
    assert_null(core);
    config.start.config.len++;
    assert_int_equal(bnd_core_open(&config, &core, &err), 0);
    bnd_core_close(core); /* never started */
    bnd_buf_free(&bytes);
}

static void a_storage_failure_is_fatal(void **state) {
    (void)state;
    struct world *w = world_make(1, 1, UINT32_MAX);
    world_open(w, 1);
    world_settle(w);
    (void)world_propose(w, 1, "x");
    bnd_core_persist_failed(w->nodes[1].core);
    assert_int_equal(w->nodes[1].fatals, 1);
    assert_int_equal(w->nodes[1].fatal_code, BND_IO);
    uint64_t index = 0, term = 0;
    assert_int_equal(bnd_core_propose(w->nodes[1].core, bnd_slice_str("y"), &index, &term),
                     BND_NOTLEADER);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sole_voter_elects_itself_in_a_new_term),
        cmocka_unit_test(three_replicate_and_elect_after_silence),
        cmocka_unit_test(messages_wait_for_the_vote),
        cmocka_unit_test(a_large_append_is_split),
        cmocka_unit_test(a_node_joins_is_promoted_and_removed),
        cmocka_unit_test(compaction_frees_and_an_install_follows),
        cmocka_unit_test(after_an_install_it_may_change_members),
        cmocka_unit_test(damaged_recovery_is_refused),
        cmocka_unit_test(a_storage_failure_is_fatal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
