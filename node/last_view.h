/* How the cluster was when this node last heard of it, kept in the data directory (SPEC.md, "Data
 * directory"): after a start without a majority it is to be asked what is wrong, too. */
#ifndef BND_NODE_LAST_VIEW_H
#define BND_NODE_LAST_VIEW_H

#include "catalog/catalog.h"

#define NODE_UNHEARD_MS 3000

struct node_last_view {
    struct bnd_env *env; /* all borrowed */
    const char *data;
    struct bnd_catalog *catalog;
    void *owner;
    /* Group 0 has not answered for NODE_UNHEARD_MS, and the catalog remembers a view. */
    void (*unheard)(void *owner);
    struct bnd_timer timer; /* private */
};

/* Lets the catalog remember what was kept; what is missing or damaged is none. Blocking but short.
 */
void node_last_view_start(struct node_last_view *last);
/* Keeps a newer one; a failure is logged. Blocking but short. */
void node_last_view_keep(struct node_last_view *last, const struct bnd_catalog_view *view);
void node_last_view_stop(struct node_last_view *last); /* also if never started */

#endif
