/* KV in a process: bnd_kv with what the node, or a gateway, has for it. Its view comes from the
 * catalog, what its replicas tell goes to group 0 through the planner. */
#ifndef BND_NODE_KV_NODE_H
#define BND_NODE_KV_NODE_H

#include "catalog/catalog.h"
#include "kv/kv.h"
#include "node/disk.h"
#include "node/kv_planner.h"

struct node_kv {
    struct bnd_env *env; /* all borrowed */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state; /* NULL, as disk: a gateway, which stores nothing */
    const struct node_disk *disk;
    uint64_t self;
    size_t cache_bytes;
    void *owner;
    void (*fatal)(void *owner, const struct bnd_error *why);
    /* read by others */
    struct bnd_kv *kv;
    /* private */
    struct bnd_catalog *catalog;
    struct node_kv_planner planner;
    bool clock_off;
    uint64_t asked_ns; /* when the newer view was asked for last */
    void (*closed)(void *data);
    void *closed_data;
};

/* Before the Raft host, whose other_group and durable are the next two. */
int node_kv_create(struct node_kv *node, struct bnd_error *err);
/* For bnd_raft_host_config.other_group: takes KV's log. */
int node_kv_take_group(struct node_kv *node, const struct bnd_journal_group *group, bool *out_other,
                       struct bnd_error *err);
/* Once host and catalog are there; both NULL-able parts of planner are set: a gateway plans
 * nothing, and has no host. planner is copied. */
int node_kv_start(struct node_kv *node, const struct node_kv_planner *planner,
                  struct bnd_error *err);
void node_kv_view(struct node_kv *node, const struct bnd_catalog_view *view);
/* Before the catalog goes: it is not asked any more, so that puts are refused. */
void node_kv_leave_catalog(struct node_kv *node);
/* Before the Raft host is closed, whose journal it uses. closed comes later, also if it was never
 * created. */
void node_kv_close(struct node_kv *node, void (*closed)(void *data), void *data);

#endif
