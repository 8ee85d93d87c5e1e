/* Surveys: what the leaders of a cluster tell, over the simulated world. */
#define NODES 3
#include "raft/survey.h"
#include "raft/survey_wire.h"
#include "tests/unit/raft/host_cluster.h"

#define OTHER_GID 8u

static struct cluster cluster;

static struct cluster *begin(uint64_t seed) {
    cluster.config = (struct bnd_raft_host_config){0};
    cluster_open(&cluster, seed);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster.nodes[i]);
    }
    cluster_bootstrap(&cluster, GID, NODES);
    cluster_bootstrap(&cluster, OTHER_GID, NODES);
    (void)cluster_leader(&cluster, GID);
    (void)cluster_leader(&cluster, OTHER_GID);
    return &cluster;
}

struct told {
    bool done;
    unsigned calls;
    size_t count, silent;
    struct bnd_survey_group groups[4];
};

static void on_told(void *data, const struct bnd_survey_result *result) {
    struct told *told = data;
    told->done = true;
    told->calls++;
    told->count = result->groups_count;
    told->silent = result->nodes_silent;
    for (size_t i = 0; i < result->groups_count; i++) {
        told->groups[i] = result->groups[i];
        assert_ptr_equal(bnd_survey_find(result, result->groups[i].gid), &result->groups[i]);
    }
    assert_null(bnd_survey_find(result, 99));
}

static bool is_told(void *data) {
    return ((struct told *)data)->done;
}

static struct bnd_survey *start(struct node *node, const uint64_t *nodes, size_t count,
                                struct told *told) {
    struct bnd_survey *survey = NULL;
    *told = (struct told){0};
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_survey_start(bnd_sim_env(node->env), node->rpc, nodes, count, 2 * SECOND,
                                      on_told, told, &survey),
                     0);
    bnd_sim_env_leave(node->env);
    assert_false(told->done); /* never from inside */
    return survey;
}

static void each_group_is_told_of_by_its_leader(void **state) {
    (void)state;
    struct cluster *c = begin(1);
    const uint64_t all[] = {1, 2, 3};
    struct told told;
    (void)start(&c->nodes[0], all, 3, &told);
    assert_true(bnd_sim_run_until_true(c->world, is_told, &told, 5 * SECOND));
    assert_int_equal(told.count, 2);
    assert_int_equal(told.silent, 0);
    for (size_t i = 0; i < 2; i++) {
        const struct bnd_survey_group *group = &told.groups[i];
        assert_int_equal(group->gid, i == 0 ? GID : OTHER_GID);
        struct node *leader = cluster_leader(c, group->gid);
        struct bnd_raft_group_status status = node_status(leader, group->gid);
        assert_int_equal(group->leader, leader->id);
        assert_int_equal(group->term, status.term);
        assert_int_equal(group->commit, status.commit);
        assert_true(group->committed);
        assert_int_equal(group->configuration.count, 3);
    }
    cluster_close(c);
}

static void who_does_not_answer_is_counted(void **state) {
    (void)state;
    struct cluster *c = begin(2);
    const uint64_t all[] = {1, 2, 3};
    struct told told;
    bnd_sim_net_isolate(c->net, 1, false);
    (void)start(&c->nodes[0], all, 3, &told);
    assert_true(bnd_sim_run_until_true(c->world, is_told, &told, 5 * SECOND));
    assert_int_equal(told.silent, 2);
    (void)start(&c->nodes[0], all, 0, &told);
    assert_true(bnd_sim_run_until_true(c->world, is_told, &told, SECOND));
    assert_int_equal(told.count, 0);
    bnd_sim_net_heal(c->net);
    cluster_close(c);
}

static void a_canceled_survey_says_nothing(void **state) {
    (void)state;
    struct cluster *c = begin(3);
    const uint64_t all[] = {1, 2, 3};
    struct told told;
    for (size_t count = 0; count <= 3; count += 3) {
        struct bnd_survey *survey = start(&c->nodes[0], all, count, &told);
        bnd_sim_env_enter(c->nodes[0].env);
        bnd_survey_cancel(survey);
        bnd_sim_env_leave(c->nodes[0].env);
        bnd_sim_run_for(c->world, 5 * SECOND);
        assert_int_equal(told.calls, 0);
    }
    bnd_survey_cancel(NULL);
    cluster_close(c);
}

static void ignore(void *data, const struct bnd_survey_group *group) {
    (void)group;
    (*(size_t *)data)++;
}

static void damaged_answers_are_refused(void **state) {
    (void)state;
    struct bnd_buf bytes = {0};
    struct bnd_survey_group group = {
        .gid = 7, .term = 2, .committed = true, .time_suspended = true};
    group.configuration.count = 1;
    group.configuration.members[0] = (struct bnd_raft_member){3, BND_RAFT_VOTER};
    survey_reply_begin(&bytes);
    survey_group_encode(&group, &bytes);
    size_t calls = 0;
    assert_int_equal(survey_reply_decode(bnd_buf_slice(&bytes), ignore, &calls), 0);
    assert_int_equal(calls, 1);
    for (size_t len = 0; len < bytes.len; len++) {
        int rv = survey_reply_decode(bnd_slice(bytes.data, len), ignore, &calls);
        assert_int_equal(rv, len == 1 ? 0 : BND_CORRUPT); /* one byte: no groups */
    }
    bytes.data[1 + 32] |= 4; /* a flag that nobody knows */
    assert_int_equal(survey_reply_decode(bnd_buf_slice(&bytes), ignore, &calls), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_group_is_told_of_by_its_leader),
        cmocka_unit_test(who_does_not_answer_is_counted),
        cmocka_unit_test(a_canceled_survey_says_nothing),
        cmocka_unit_test(damaged_answers_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
