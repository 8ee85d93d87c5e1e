/* A node's record as placement sees it: the one place that says whether a node may hold replicas. */
#ifndef BND_CATALOG_PLACE_H
#define BND_CATALOG_PLACE_H

#include "base/hash.h"
#include "catalog/records.h"
#include "placement/rendezvous.h"

/* Weight 0: it holds nothing, or nothing any more. One that is drained keeps what it stores. */
static inline struct bnd_place_node bnd_catalog_place(const struct bnd_node_record *node) {
    bool holds = node->role == BND_NODE_STORAGE &&
                 (node->state == BND_NODE_ACTIVE || node->state == BND_NODE_DRAINING);
    return (struct bnd_place_node){
        .id = node->id,
        .place = node->place,
        .weight = holds ? node->weight : 0,
        .zone = node->zone.len > 0 ? bnd_hash64(node->zone, 1) : node->id,
    };
}

#endif
