/* Leaderships given away: to preferred leaders, and before a clean stop; under a client's load. */
#define NODES 3
#include "tests/unit/raft/host_cluster.h"
#include "tests/unit/raft/host_load.h"

static struct cluster cluster;
static struct load load;

static struct cluster *begin(uint64_t seed) {
    cluster.config = (struct bnd_raft_host_config){0};
    cluster_open(&cluster, seed);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster.nodes[i]);
    }
    cluster_bootstrap(&cluster, GID, NODES);
    load_start(&load, &cluster, GID, 0);
    return &cluster;
}

static void end(struct cluster *c) {
    load_stop(&load);
    assert_true(load.acknowledged > 0);
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "load"), load.acknowledged);
    cluster_close(c);
}

static void prefer_on(struct node *node, const uint64_t *order, size_t count) {
    bnd_sim_env_enter(node->env);
    bnd_raft_group_prefer(node->host, GID, order, count);
    bnd_sim_env_leave(node->env);
}

static void prefer(struct cluster *c, const uint64_t *order, size_t count) {
    for (size_t i = 0; i < NODES; i++) {
        if (c->nodes[i].env != NULL) {
            prefer_on(&c->nodes[i], order, count);
        }
    }
}

struct leads_wait {
    struct cluster *cluster;
    uint64_t id;
};

static bool leads(void *data) {
    struct leads_wait *wait = data;
    struct leader_wait leader = {.cluster = wait->cluster, .gid = GID};
    return has_leader(&leader) && leader.leader->id == wait->id;
}

static void await_leader(struct cluster *c, uint64_t id) {
    struct leads_wait wait = {.cluster = c, .id = id};
    assert_true(bnd_sim_run_until_true(c->world, leads, &wait, 60 * SECOND));
}

/* Two others than the leader, in this order, then the leader. */
static void others_first(const struct node *leader, uint64_t order[NODES]) {
    size_t count = 0;
    for (uint64_t id = 1; id <= NODES; id++) {
        if (id != leader->id) {
            order[count++] = id;
        }
    }
    order[count] = leader->id;
}

static void the_preferred_voter_leads_and_stays(void **state) {
    (void)state;
    struct cluster *c = begin(1);
    uint64_t order[NODES];
    others_first(cluster_leader(c, GID), order);
    bnd_sim_run_for(c->world, SECOND);
    load.longest_ns = 0;
    prefer(c, order, NODES);
    await_leader(c, order[0]);
    uint64_t term = node_status(&c->nodes[order[0] - 1], GID).term;
    bnd_sim_run_for(c->world, 30 * SECOND);
    assert_int_equal(node_status(&c->nodes[order[0] - 1], GID).term, term);
    assert_true(load.longest_ns < SECOND / 2); /* less than any election by timeout */
    end(c);
}

static void a_dead_preferred_voter_leads_again_after_its_return(void **state) {
    (void)state;
    struct cluster *c = begin(2);
    uint64_t order[NODES];
    others_first(cluster_leader(c, GID), order);
    prefer(c, order, NODES);
    await_leader(c, order[0]);
    struct node *first = &c->nodes[order[0] - 1];
    load_node_dies(&load, first);
    node_crash(first, BND_SIM_POWER);
    await_leader(c, order[1]);
    bnd_sim_run_for(c->world, 15 * SECOND);
    load.longest_ns = 0;
    node_start(first);
    prefer_on(first, order, NODES);
    await_leader(c, order[0]);
    assert_true(load.longest_ns < SECOND / 2);
    end(c);
}

/* Who is not named gives the leadership away at once, also to the last of the list. */
static void who_is_not_named_does_not_lead(void **state) {
    (void)state;
    struct cluster *c = begin(3);
    struct node *old = cluster_leader(c, GID);
    uint64_t order[NODES];
    others_first(old, order);
    struct node *first = &c->nodes[order[0] - 1];
    load_node_dies(&load, first);
    node_crash(first, BND_SIM_KILL);
    bnd_sim_run_for(c->world, SECOND);
    prefer(c, order, 2);
    await_leader(c, order[1]);
    node_start(first);
    end(c);
}

static void on_retired(void *data) {
    ((struct waiting *)data)->done = true;
}

static void a_clean_stop_waits_for_no_election(void **state) {
    (void)state;
    struct cluster *c = begin(4);
    struct node *old = cluster_leader(c, GID);
    uint64_t order[NODES];
    others_first(old, order);
    uint64_t old_first[NODES] = {old->id, order[0], order[1]};
    bnd_sim_run_for(c->world, SECOND);
    prefer(c, old_first, NODES); /* and yet it does not lead again */
    load.longest_ns = 0;
    struct waiting waiting = {0};
    bnd_sim_env_enter(old->env);
    bnd_raft_host_retire(old->host, on_retired, &waiting);
    bnd_sim_env_leave(old->env);
    assert_false(waiting.done); /* never from inside */
    assert_true(bnd_sim_run_until_true(c->world, is_done, &waiting, SECOND / 2));
    assert_ptr_not_equal(cluster_leader(c, GID), old);
    bnd_sim_run_for(c->world, 30 * SECOND);
    assert_ptr_not_equal(cluster_leader(c, GID), old);
    load_node_dies(&load, old);
    node_stop(old);
    bnd_sim_run_for(c->world, SECOND);
    assert_true(load.longest_ns < SECOND / 2);
    end(c);
}

/* Alone it has nobody to hand over to: the stop does not wait for ever. */
static void a_leader_without_heirs_retires_at_once(void **state) {
    (void)state;
    struct cluster *c = begin(5);
    struct node *old = cluster_leader(c, GID);
    load_stop(&load);
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != old) {
            node_crash(&c->nodes[i], BND_SIM_KILL);
        }
    }
    bnd_sim_run_for(c->world, SECOND / 2);
    struct waiting waiting = {0};
    bnd_sim_env_enter(old->env);
    bnd_raft_host_retire(old->host, on_retired, &waiting);
    bnd_sim_env_leave(old->env);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &waiting, 3 * SECOND));
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_preferred_voter_leads_and_stays),
        cmocka_unit_test(a_dead_preferred_voter_leads_again_after_its_return),
        cmocka_unit_test(who_is_not_named_does_not_lead),
        cmocka_unit_test(a_clean_stop_waits_for_no_election),
        cmocka_unit_test(a_leader_without_heirs_retires_at_once),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
