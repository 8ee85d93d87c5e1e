/* All nodes of a cluster, asked side by side over their REST ports: what `bindery top` and
 * `bindery doctor` look at.
 *
 * A node's REST port is three below the peer port that group 0 knows (README.md, "Running a cluster
 * by hand"); the node that was named by --url is asked there. */
#ifndef BND_TOOLS_FLEET_H
#define BND_TOOLS_FLEET_H

#include "tools/api.h"
#include "tools/exposition.h"

#define TOOLS_FLEET_MAX 256

struct tools_node {
    long long id;
    char url[128];
    bool gateway;
    char state[16]; /* in group 0: active, draining, gone */
    /* Of the last read: */
    char problem[192];            /* "": it answered; else why not */
    json_t *status;               /* NULL if it did not answer, or refused */
    struct tools_metrics metrics; /* empty likewise */
    double at_s;                  /* monotonic, when its metrics came */
    double took_s;                /* until they came */
    long long certificate_s;      /* when its certificate ends, since 1970; 0: not known, no TLS */
};

struct tools_fleet {
    const struct tools_api *api; /* borrowed */
    struct tools_node *nodes;    /* by id; the ones gone are left out */
    size_t count;
    long long revision; /* of group 0, that the list is from */
};

/* Asks the node of --url who belongs to the cluster. -1; or the exit status after telling why not.
 */
int tools_fleet_open(const struct tools_api *api, struct tools_fleet *out);
/* Asks all of them for their status and metrics and waits, at most about 5 s; then takes over the
 * newest list of nodes that any of them told. What was read before is freed. False: no memory. */
bool tools_fleet_read(struct tools_fleet *fleet);
void tools_fleet_free(struct tools_fleet *fleet);

/* The node of this id, or NULL. */
const struct tools_node *tools_fleet_find(const struct tools_fleet *fleet, long long id);

/* How far the node's clock is ahead of the cluster's, seconds: the median of what the other nodes
 * measured. False: nobody knows. */
bool tools_fleet_clock(const struct tools_fleet *fleet, long long id, double *out_s);

#endif
