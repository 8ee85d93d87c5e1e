/* The end of a decommission: once no group and no shard of KV counts on a leaving node any more, its record becomes
 * GONE, for ever (ADR 0074).
 *
 * A leaving node that is up sees to that itself, so that it learns of it before the others refuse
 * it, and closes its client ports first, while it can still serve what is under way; for one that
 * is down, the node that leads group 0 does. Both ask every node for the groups it
 * leads (raft/survey.h) and go on only if every group was told of, with committed members. */
#ifndef BND_NODE_DEPARTURE_H
#define BND_NODE_DEPARTURE_H

#include "catalog/catalog.h"
#include "net/rpc.h"
#include "raft/host.h"
#include "raft/survey.h"

#define NODE_DEPARTURES_MAX 16 /* looked after at a time */

struct node_departure {
    struct bnd_env *env; /* all borrowed */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_raft_host *host;
    struct bnd_catalog *catalog;
    uint64_t self;
    void *owner;
    /* This node holds nothing any more: its ports are to be closed, then node_departure_go. Once.
     */
    void (*departing)(void *owner);
    /* This node is gone: it should stop, and never start again. Once. */
    void (*departed)(void *owner);
    /* private */
    struct bnd_timer timer;
    struct bnd_survey *survey;
    struct bnd_catalog_call call;
    uint64_t leaving[NODE_DEPARTURES_MAX];
    size_t leaving_count;
    bool departing_told, may_go;
    uint64_t going; /* whose record is being written; 0: nobody's */
};

/* A directory whose node was decommissioned is marked by a file, and refused (BND_DENIED).
 * Blocking. */
int node_departure_refuse(struct bnd_env *env, const char *data, struct bnd_error *err);
int node_departure_mark(struct bnd_env *env, const char *data, struct bnd_error *err);

void node_departure_start(struct node_departure *departure);
/* After `departing`: nobody is served here any more. */
void node_departure_go(struct node_departure *departure);
/* Before catalog, rpc and host go. Idempotent; also if it was never started. */
void node_departure_close(struct node_departure *departure);

#endif
