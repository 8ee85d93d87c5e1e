#include "node/fence.h"

/* By a view that group 0 has confirmed lately: who is cut off from it tells nobody anything. */
bool node_fence_is_gone(void *owner, uint64_t node) {
    const struct node_fence *fence = owner;
    if (fence->catalog == NULL || bnd_catalog_age_ms(fence->catalog) > BND_CATALOG_STALE_MS) {
        return false;
    }
    const struct bnd_node_record *record =
        bnd_catalog_find_node(bnd_catalog_view(fence->catalog), node);
    return record != NULL && record->state == BND_NODE_GONE;
}

bool node_fence_admits(void *owner, uint64_t node) {
    const struct node_fence *fence = owner;
    if (fence->catalog == NULL || bnd_catalog_age_ms(fence->catalog) <= BND_CATALOG_STALE_MS) {
        return false;
    }
    const struct bnd_catalog_view *last = bnd_catalog_last_view(fence->catalog);
    const struct bnd_node_record *record = bnd_catalog_find_node(last, node);
    if (record != NULL && record->state == BND_NODE_GONE) {
        return false;
    }
    node_members_meet(fence->members, node);
    return true;
}

void node_fence_told(void *owner, uint64_t by) {
    struct node_fence *fence = owner;
    if (fence->told) {
        return;
    }
    fence->told = true;
    const struct bnd_node_record *self =
        fence->catalog == NULL
            ? NULL
            : bnd_catalog_find_node(bnd_catalog_last_view(fence->catalog), fence->self);
    if (self != NULL && (self->state == BND_NODE_LEAVING || self->state == BND_NODE_GONE)) {
        fence->departed(fence->owner);
        return;
    }
    struct bnd_error why = {0};
    (void)BND_FAIL(&why, DENIED,
                   "node %llu says that this one is a member no more: the cluster was recovered "
                   "without it, or it was decommissioned",
                   (unsigned long long)by);
    fence->fenced(fence->owner, &why);
}
