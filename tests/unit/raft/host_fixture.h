/* The one cluster of a test program, and how most tests begin. */
#ifndef BND_TESTS_UNIT_RAFT_HOST_FIXTURE_H
#define BND_TESTS_UNIT_RAFT_HOST_FIXTURE_H

#include "tests/unit/raft/host_cluster.h"

static struct cluster cluster;

static struct cluster *fresh(uint64_t seed) {
    cluster.config = (struct bnd_raft_host_config){0};
    cluster_open(&cluster, seed);
    return &cluster;
}

static struct cluster *three(uint64_t seed) {
    struct cluster *c = fresh(seed);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&c->nodes[i]);
    }
    cluster_bootstrap(c, GID, NODES);
    return c;
}

static struct node *other_than(struct cluster *c, const struct node *node) {
    return node == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
}

#endif
