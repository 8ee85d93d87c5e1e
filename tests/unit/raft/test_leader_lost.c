/* Elections that begin when the leader's connection ends (ADR 0077). */
#include "tests/unit/raft/host_fixture.h"

/* The election timeout is 1,000 to 2,000 ms: who sees the leader's connection end is faster. (The
 * simulated network does not always tell.) */
static void a_dead_leader_is_followed_before_the_election_timeout(void **state) {
    (void)state;
    unsigned soon = 0;
    for (uint64_t seed = 50; seed < 70; seed++) {
        struct cluster *c = three(seed);
        struct node *old = cluster_leader(c, GID);
        assert_int_equal(add_one(old, GID, "a"), 1);
        bnd_sim_run_for(c->world, SECOND);
        node_crash(old, BND_SIM_KILL);
        uint64_t since_ns = bnd_sim_world_now_ns(c->world);
        (void)cluster_leader(c, GID);
        soon += bnd_sim_world_now_ns(c->world) - since_ns < 900 * BND_MS;
        cluster_close(c);
    }
    assert_in_range(soon, 12, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_leader_is_followed_before_the_election_timeout),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
