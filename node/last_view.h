/* How the cluster was when this node last heard of it, kept in the data directory (SPEC.md, "Data
 * directory"): after a start without a majority it is to be asked what is wrong, too. */
#ifndef BND_NODE_LAST_VIEW_H
#define BND_NODE_LAST_VIEW_H

#include "catalog/catalog.h"
#include "node/files.h"

#define NODE_UNHEARD_MS 3000
#define NODE_KEEP_MS 5000

struct node_last_view {
    struct bnd_env *env; /* all borrowed */
    const char *data;
    struct bnd_catalog *catalog;
    void *owner;
    /* Group 0 has not answered for NODE_UNHEARD_MS, and the catalog remembers a view. */
    void (*unheard)(void *owner);
    /* private */
    struct bnd_timer timer;
    struct bnd_timer keeping; /* until the newest view is kept */
    uint64_t kept_ns;         /* when one was written last; 0: never */
    bool behind;              /* a newer one is not written yet */
    struct node_kept kept;
};

/* Lets the catalog remember what was kept; what is missing or damaged is none. Blocking but short.
 */
void node_last_view_start(struct node_last_view *last);
/* There is a newer view: the newest one is written at once, or once NODE_KEEP_MS have gone since
 * the last (moves and horizons of KV change it many times in a row). On the pool; a failure is
 * logged, and the next view tries again. */
void node_last_view_keep(struct node_last_view *last);
/* Before the catalog goes; what is not written yet is written while the node ends. Also if never
 * started. */
void node_last_view_stop(struct node_last_view *last);

#endif
