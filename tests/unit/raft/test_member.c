/* Groups that move to their wanted members: the real host, over the simulated world, under load. */
#define NODES 5
#include "tests/unit/raft/host_cluster.h"
#include "tests/unit/raft/host_load.h"

static struct cluster cluster;
static struct load load;

/* Every node up; the group on the first `voters` of them. */
static struct cluster *begin(uint64_t seed, size_t voters) {
    cluster.config = (struct bnd_raft_host_config){0};
    cluster_open(&cluster, seed);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster.nodes[i]);
        cluster.nodes[i].wants_groups = true;
    }
    cluster_bootstrap(&cluster, GID, voters);
    load_start(&load, &cluster, GID, 0);
    return &cluster;
}

/* nodes: digits. */
static void want_on(struct node *node, const char *nodes) {
    struct bnd_raft_member members[NODES];
    size_t count = 0;
    for (; nodes[count] != 0; count++) {
        members[count] = (struct bnd_raft_member){(uint64_t)(nodes[count] - '0'), BND_RAFT_VOTER};
    }
    bnd_sim_env_enter(node->env);
    bnd_raft_group_want(node->host, GID, members, count);
    bnd_sim_env_leave(node->env);
}

static void want(struct cluster *c, const char *nodes) {
    for (size_t i = 0; i < NODES; i++) {
        if (c->nodes[i].env != NULL) {
            want_on(&c->nodes[i], nodes);
        }
    }
}

/* "1v 2s": the members as the leader has them, in order of node. */
static void members_text(const struct bnd_raft_group_status *status, char *out) {
    for (uint64_t node = 1; node <= NODES; node++) {
        for (size_t i = 0; i < status->members_count; i++) {
            if (status->members[i].node == node) {
                *out++ = (char)('0' + node);
                *out++ = "-sv"[status->members[i].role];
                *out++ = ' ';
            }
        }
    }
    *out = 0;
}

struct members_wait {
    struct cluster *cluster;
    uint64_t gid; /* 0: GID */
    const char *text;
    char is[NODES * 3 + 1];
};

static bool members_are(void *data) {
    struct members_wait *wait = data;
    struct leader_wait leader = {.cluster = wait->cluster, .gid = wait->gid == 0 ? GID : wait->gid};
    wait->is[0] = 0;
    if (has_leader(&leader)) {
        struct bnd_raft_group_status status = node_status(leader.leader, leader.gid);
        members_text(&status, wait->is);
    }
    return strcmp(wait->is, wait->text) == 0;
}

static void await_members(struct cluster *c, const char *text) {
    struct members_wait wait = {.cluster = c, .text = text};
    if (!bnd_sim_run_until_true(c->world, members_are, &wait, 60 * SECOND)) {
        fail_msg("the members are %s, not %s", wait.is, text);
    }
}

static void end(struct cluster *c) {
    load_stop(&load);
    assert_true(load.acknowledged > 0);
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "load"), load.acknowledged);
    cluster_close(c);
}

static void one_becomes_three_under_load(void **state) {
    (void)state;
    struct cluster *c = begin(1, 1);
    bnd_sim_run_for(c->world, SECOND);
    want(c, "123");
    await_members(c, "1v 2v 3v ");
    bnd_sim_run_for(c->world, SECOND);
    assert_true(load.longest_ns < 2 * SECOND); /* nobody waited for an election */
    /* They are replicas: any of them may die. */
    struct node *old = cluster_leader(c, GID);
    load_node_dies(&load, old);
    node_crash(old, BND_SIM_POWER);
    assert_ptr_not_equal(cluster_leader(c, GID), old);
    bnd_sim_run_for(c->world, 2 * SECOND);
    node_start(old);
    end(c);
}

/* Looks at each pass of the world whether two voters ever last. */
struct even_watch {
    struct cluster *cluster;
    uint64_t since_ns, longest_ns;
    bool done;
};

static bool watch_even(void *data) {
    struct even_watch *watch = data;
    struct bnd_raft_group_status status = node_status(&watch->cluster->nodes[0], GID);
    size_t voters = 0;
    for (size_t i = 0; i < status.members_count; i++) {
        voters += status.members[i].role == BND_RAFT_VOTER;
    }
    uint64_t now = bnd_sim_world_now_ns(watch->cluster->world);
    if (voters != 2) {
        watch->since_ns = 0;
    } else if (watch->since_ns == 0) {
        watch->since_ns = now;
    } else if (now - watch->since_ns > watch->longest_ns) {
        watch->longest_ns = now - watch->since_ns;
    }
    return voters == 3;
}

static void the_promotions_are_back_to_back(void **state) {
    (void)state;
    struct cluster *c = begin(2, 1);
    want(c, "123");
    struct even_watch watch = {.cluster = c};
    assert_true(bnd_sim_run_until_true(c->world, watch_even, &watch, 60 * SECOND));
    assert_true(watch.longest_ns < SECOND / 2);
    end(c);
}

static void of_two_the_second_stays_standby(void **state) {
    (void)state;
    struct cluster *c = begin(3, 1);
    want(c, "12");
    await_members(c, "1v 2s ");
    bnd_sim_run_for(c->world, 5 * SECOND);
    await_members(c, "1v 2s ");
    assert_true(node_status(&c->nodes[1], GID).applied > 1); /* and it follows */
    want(c, "123");
    await_members(c, "1v 2v 3v ");
    want(c, "13");
    await_members(c, "1v 3s ");
    end(c);
}

static void a_dead_wanted_node_delays_nobody(void **state) {
    (void)state;
    struct cluster *c = begin(4, 1);
    node_crash(&c->nodes[1], BND_SIM_KILL);
    bnd_sim_run_for(c->world, 5 * SECOND);
    want(c, "1234");
    await_members(c, "1v 3s 4s "); /* never two voters alone */
    await_members(c, "1v 3v 4v ");
    node_start(&c->nodes[1]);
    await_members(c, "1v 2s 3v 4v ");
    end(c);
}

static void a_silent_standby_is_not_promoted(void **state) {
    (void)state;
    struct cluster *c = begin(5, 1);
    want(c, "12");
    await_members(c, "1v 2s ");
    bnd_sim_net_isolate(c->net, 2, false);
    bnd_sim_run_for(c->world, 3 * SECOND);
    want(c, "123");
    bnd_sim_run_for(c->world, 10 * SECOND);
    await_members(c, "1v 2s 3s ");
    bnd_sim_net_heal(c->net);
    await_members(c, "1v 2v 3v ");
    end(c);
}

static void three_become_five_and_one(void **state) {
    (void)state;
    struct cluster *c = begin(6, 3);
    want(c, "12345");
    await_members(c, "1v 2v 3v 4v 5v ");
    struct node *leader = cluster_leader(c, GID);
    char last[2] = {(char)('0' + leader->id), 0};
    want(c, last);
    char text[4] = {last[0], 'v', ' ', 0};
    await_members(c, text);
    end(c);
}

static void a_leader_that_is_not_wanted_hands_over(void **state) {
    (void)state;
    struct cluster *c = begin(7, 3);
    struct node *old = cluster_leader(c, GID);
    bnd_sim_run_for(c->world, SECOND);
    char wanted[4];
    size_t count = 0;
    for (uint64_t node = 1; node <= 4; node++) {
        if (node != old->id) {
            wanted[count++] = (char)('0' + node);
        }
    }
    wanted[count] = 0;
    load.longest_ns = 0;
    want(c, wanted);
    char text[10] = {wanted[0], 'v', ' ', wanted[1], 'v', ' ', wanted[2], 'v', ' ', 0};
    await_members(c, text);
    assert_true(cluster_leader(c, GID) != old);
    bnd_sim_run_for(c->world, SECOND);
    assert_true(load.longest_ns < 2 * SECOND);
    end(c);
}

static void a_dead_voter_is_replaced(void **state) {
    (void)state;
    struct cluster *c = begin(8, 3);
    struct node *leader = cluster_leader(c, GID);
    struct node *dead = &c->nodes[leader->id == 3 ? 1 : 2];
    node_crash(dead, BND_SIM_POWER);
    char wanted[4];
    size_t count = 0;
    for (uint64_t node = 1; node <= 4; node++) {
        if (node != dead->id) {
            wanted[count++] = (char)('0' + node);
        }
    }
    wanted[count] = 0;
    want(c, wanted);
    char text[10] = {wanted[0], 'v', ' ', wanted[1], 'v', ' ', wanted[2], 'v', ' ', 0};
    await_members(c, text);
    end(c);
}

static void a_wish_outlives_leaders(void **state) {
    (void)state;
    struct cluster *c = begin(9, 3);
    want(c, "12345");
    for (int i = 0; i < 6; i++) {
        bnd_sim_run_for(c->world, 150 * BND_MS);
        struct leader_wait wait = {.cluster = c, .gid = GID};
        if (has_leader(&wait)) {
            load_node_dies(&load, wait.leader);
            node_crash(wait.leader, BND_SIM_POWER);
            node_start(wait.leader);
            want_on(wait.leader, "12345");
        }
    }
    await_members(c, "1v 2v 3v 4v 5v ");
    end(c);
}

static bool is_removed(void *data) {
    return ((struct node *)data)->removed > 0;
}

/* Who is removed hears nothing more of the group, and asks; only who is asked for. */
static void a_removed_replica_learns_of_it(void **state) {
    (void)state;
    struct cluster *c = begin(10, 3);
    struct node *old = cluster_leader(c, GID);
    uint64_t slot = node_status(old, GID).slot;
    char wanted[4];
    size_t count = 0;
    for (uint64_t node = 1; node <= 4; node++) {
        if (node != old->id) {
            wanted[count++] = (char)('0' + node);
        }
    }
    wanted[count] = 0;
    old->wants_groups = false;
    want(c, wanted);
    assert_true(bnd_sim_run_until_true(c->world, is_removed, old, 60 * SECOND));
    bnd_sim_run_for(c->world, 10 * SECOND);
    assert_int_equal(old->removed, 1);
    for (size_t i = 0; i < NODES; i++) {
        assert_true(&c->nodes[i] == old || c->nodes[i].removed == 0);
    }
    struct bnd_raft_group_status status;
    assert_int_equal(bnd_raft_group_status(old->host, GID, &status), BND_NOTFOUND);
    uint8_t from[4];
    uint8_t to[4];
    bnd_put_be32(from, (uint32_t)slot);
    bnd_put_be32(to, (uint32_t)slot + 1);
    assert_true(bnd_sim_store_hash(old->store, false, bnd_slice(from, 4), bnd_slice(to, 4), 4) ==
                bnd_sim_store_hash(old->store, false, bnd_slice(to, 4), bnd_slice(to, 4), 4));
    /* It can be a member again. */
    old->wants_groups = true;
    want(c, "12345");
    await_members(c, "1v 2v 3v 4v 5v ");
    end(c);
}

/* Left out by its own wish alone, a member is not told that it may go. */
static void a_member_is_not_told_to_leave(void **state) {
    (void)state;
    struct cluster *c = begin(11, 3);
    struct node *leader = cluster_leader(c, GID);
    struct node *other = &c->nodes[leader->id == 1 ? 1 : 0];
    want_on(other, other->id == 1 ? "23" : "13");
    bnd_sim_run_for(c->world, 10 * SECOND);
    assert_int_equal(other->removed, 0);
    end(c);
}

enum { MOVING_GROUPS = 4, FIRST_MOVING = 20 };

static void want_group(struct cluster *c, uint64_t gid, const char *nodes) {
    for (size_t i = 0; i < NODES; i++) {
        struct bnd_raft_member members[NODES];
        size_t count = 0;
        for (; nodes[count] != 0; count++) {
            members[count] =
                (struct bnd_raft_member){(uint64_t)(nodes[count] - '0'), BND_RAFT_VOTER};
        }
        bnd_sim_env_enter(c->nodes[i].env);
        bnd_raft_group_want(c->nodes[i].host, gid, members, count);
        bnd_sim_env_leave(c->nodes[i].env);
    }
}

struct turns {
    struct cluster *cluster;
    const char *text;
    size_t most; /* groups that one node exchanged members of at a time */
};

static bool all_moved(void *data) {
    struct turns *turns = data;
    size_t moved = 0;
    size_t moving[NODES] = {0};
    for (uint64_t gid = FIRST_MOVING; gid < FIRST_MOVING + MOVING_GROUPS; gid++) {
        struct leader_wait leader = {.cluster = turns->cluster, .gid = gid};
        if (!has_leader(&leader)) {
            continue;
        }
        char is[NODES * 3 + 1];
        struct bnd_raft_group_status status = node_status(leader.leader, gid);
        members_text(&status, is);
        moved += strcmp(is, turns->text) == 0;
        size_t *count = &moving[leader.leader->id - 1];
        *count += status.members_count != 3;
        turns->most = *count > turns->most ? *count : turns->most;
    }
    return moved == MOVING_GROUPS;
}

/* Exchanging members is throttled, and whoever waits has its turn. */
static size_t exchange(uint64_t seed, uint32_t moves_max) {
    cluster.config = (struct bnd_raft_host_config){.moves_max = moves_max};
    cluster_open(&cluster, seed);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster.nodes[i]);
        cluster.nodes[i].wants_groups = true;
    }
    for (uint64_t gid = FIRST_MOVING; gid < FIRST_MOVING + MOVING_GROUPS; gid++) {
        cluster_bootstrap(&cluster, gid, 3);
        (void)cluster_leader(&cluster, gid);
        const uint64_t first = 2; /* one node leads all */
        for (size_t i = 0; i < 3; i++) {
            bnd_sim_env_enter(cluster.nodes[i].env);
            bnd_raft_group_prefer(cluster.nodes[i].host, gid, &first, 1);
            bnd_sim_env_leave(cluster.nodes[i].env);
        }
    }
    bnd_sim_run_for(cluster.world, 10 * SECOND);
    for (uint64_t gid = FIRST_MOVING; gid < FIRST_MOVING + MOVING_GROUPS; gid++) {
        want_group(&cluster, gid, "234");
    }
    struct turns turns = {.cluster = &cluster, .text = "2v 3v 4v "};
    assert_true(bnd_sim_run_until_true(cluster.world, all_moved, &turns, 120 * SECOND));
    cluster_close(&cluster);
    return turns.most;
}

static void only_so_many_groups_exchange_members_at_a_time(void **state) {
    (void)state;
    assert_int_equal(exchange(12, 1), 1);
    assert_int_equal(exchange(12, 2), 2);
    assert_int_equal(exchange(12, 16), MOVING_GROUPS);
}

/* A group that cannot get on gives its turn to the next. */
static void a_stuck_group_does_not_hold_up_the_others(void **state) {
    (void)state;
    cluster.config = (struct bnd_raft_host_config){.moves_max = 1};
    cluster_open(&cluster, 13);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster.nodes[i]);
        cluster.nodes[i].wants_groups = i != 4; /* node 5 never takes a group */
    }
    for (uint64_t gid = FIRST_MOVING; gid < FIRST_MOVING + MOVING_GROUPS; gid++) {
        cluster_bootstrap(&cluster, gid, 3);
        (void)cluster_leader(&cluster, gid);
        want_group(&cluster, gid, gid == FIRST_MOVING ? "235" : "234");
    }
    struct members_wait wait = {.cluster = &cluster, .text = "2v 3v 4v "};
    for (uint64_t gid = FIRST_MOVING + 1; gid < FIRST_MOVING + MOVING_GROUPS; gid++) {
        wait.gid = gid;
        assert_true(bnd_sim_run_until_true(cluster.world, members_are, &wait, 120 * SECOND));
    }
    cluster_close(&cluster);
}

/* By node id: what it lacks beside the log. */
static bool lacking[NODES + 1];

static bool holds_all(void *owner, uint64_t gid, uint64_t node) {
    (void)owner;
    (void)gid;
    return !lacking[node];
}

static struct cluster *begin_holding(uint64_t seed, size_t voters) {
    memset(lacking, 0, sizeof lacking);
    cluster.config = (struct bnd_raft_host_config){.holds_all = holds_all};
    cluster_open(&cluster, seed);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster.nodes[i]);
        cluster.nodes[i].wants_groups = true;
    }
    cluster_bootstrap(&cluster, GID, voters);
    load_start(&load, &cluster, GID, 0);
    return &cluster;
}

static void nobody_votes_before_it_holds_all(void **state) {
    (void)state;
    struct cluster *c = begin_holding(14, 1);
    lacking[2] = true;
    want(c, "123");
    bnd_sim_run_for(c->world, 20 * SECOND);
    await_members(c, "1v 2s 3s "); /* two voters would not be safer than one */
    lacking[2] = false;
    await_members(c, "1v 2v 3v ");
    end(c);
}

static void a_voter_stays_until_the_others_hold_all(void **state) {
    (void)state;
    struct cluster *c = begin_holding(15, 3);
    struct node *leader = cluster_leader(c, GID);
    uint64_t goes = leader->id == 1 ? 2 : 1;
    uint64_t stays = 6 - goes - leader->id;
    char wanted[4] = {(char)('0' + leader->id), (char)('0' + stays), '4', 0};
    lacking[stays] = true;
    want(c, wanted);
    await_members(c, "1v 2v 3v 4v ");
    bnd_sim_run_for(c->world, 20 * SECOND);
    await_members(c, "1v 2v 3v 4v ");
    lacking[stays] = false;
    lacking[goes] = true; /* its own lack holds nobody up */
    const char *after = goes == 1 ? "2v 3v 4v " : "1v 3v 4v ";
    await_members(c, after);
    end(c);
}

/* What is dead has nothing to give. */
static void a_dead_voter_is_taken_away_all_the_same(void **state) {
    (void)state;
    struct cluster *c = begin_holding(16, 3);
    struct node *leader = cluster_leader(c, GID);
    struct node *dead = &c->nodes[leader->id == 1 ? 1 : 0];
    uint64_t stays = 6 - dead->id - leader->id;
    char wanted[4] = {(char)('0' + leader->id), (char)('0' + stays), '4', 0};
    node_crash(dead, BND_SIM_POWER);
    bnd_sim_run_for(c->world, 5 * SECOND);
    lacking[stays] = true;
    want(c, wanted);
    const char *after = dead->id == 1 ? "2v 3v 4v " : "1v 3v 4v ";
    await_members(c, after);
    end(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_becomes_three_under_load),
        cmocka_unit_test(the_promotions_are_back_to_back),
        cmocka_unit_test(of_two_the_second_stays_standby),
        cmocka_unit_test(a_dead_wanted_node_delays_nobody),
        cmocka_unit_test(a_silent_standby_is_not_promoted),
        cmocka_unit_test(three_become_five_and_one),
        cmocka_unit_test(a_leader_that_is_not_wanted_hands_over),
        cmocka_unit_test(a_dead_voter_is_replaced),
        cmocka_unit_test(a_wish_outlives_leaders),
        cmocka_unit_test(a_removed_replica_learns_of_it),
        cmocka_unit_test(a_member_is_not_told_to_leave),
        cmocka_unit_test(nobody_votes_before_it_holds_all),
        cmocka_unit_test(a_voter_stays_until_the_others_hold_all),
        cmocka_unit_test(a_dead_voter_is_taken_away_all_the_same),
        cmocka_unit_test(only_so_many_groups_exchange_members_at_a_time),
        cmocka_unit_test(a_stuck_group_does_not_hold_up_the_others),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
