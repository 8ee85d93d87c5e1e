/* What `bindery top` shows, as JSON: rates between two reads of a fleet, and how each group stands.
 * The screen is printed from the same document that --json prints. */
#ifndef BND_TOOLS_TOP_VIEW_H
#define BND_TOOLS_TOP_VIEW_H

#include "tools/fleet.h"

/* A node's metrics of an earlier read. */
struct tools_top_past {
    struct {
        long long id;
        double at_s;
        struct tools_metrics metrics;
    } nodes[TOOLS_FLEET_MAX];
    size_t count;
};

/* Takes the metrics out of the fleet, to be compared with the next read's; what past held is freed.
 */
void tools_top_remember(struct tools_top_past *past, struct tools_fleet *fleet);
void tools_top_forget(struct tools_top_past *past);

/* {"nodes": [...], "operations": [...], "groups": [...]}: docs/ops/README.md names the fields.
 * Rates and quantiles of a node not read before are null. Owned; NULL: no memory. */
json_t *tools_top_view(const struct tools_top_past *past, const struct tools_fleet *fleet);

#endif
