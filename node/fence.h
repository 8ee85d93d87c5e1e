/* Nodes that are members no more are told so when they dial, and stop: they were recovered without
 * (ADR 0085), or decommissioned while they were down. Both sides of it. And nodes that are not
 * known yet, taken by who has no fresh view (ADR 0074). */
#ifndef BND_NODE_FENCE_H
#define BND_NODE_FENCE_H

#include "catalog/catalog.h"
#include "node/members.h"

struct node_fence {
    struct bnd_catalog *catalog;  /* borrowed; NULL: nothing is known, and nothing is done */
    struct node_members *members; /* borrowed */
    uint64_t self;
    void *owner;
    /* It was leaving, and now knows that it may go. */
    void (*departed)(void *owner);
    /* It knew nothing of it: it must serve nobody any more. */
    void (*fenced)(void *owner, const struct bnd_error *why);
    bool told; /* private: one of the two was called */
};

/* For bnd_mesh_tcp_config.is_gone and told_gone, with a struct node_fence as owner. */
bool node_fence_is_gone(void *owner, uint64_t node);
/* For bnd_mesh_tcp_config.admits: while this process has no view, or a stale one, it takes any node
 * that has the cluster's certificate and was not gone in the last one: group 0 may be on nodes that
 * all came after it last heard of the members, and whoever asks only those it knows would never
 * learn of them. */
bool node_fence_admits(void *owner, uint64_t node);
void node_fence_told(void *owner, uint64_t by);

#endif
