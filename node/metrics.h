/* What only the composition root can count, in Prometheus' text format: the process, its disk, its
 * certificates, its peers, and the Raft groups taken together. */
#ifndef BND_NODE_METRICS_H
#define BND_NODE_METRICS_H

#include "catalog/view.h"
#include "engine/state.h"
#include "net/mesh_tcp.h"
#include "node/disk.h"
#include "node/identity.h"
#include "objects/objects.h"
#include "raft/host.h"
#include "sql/sql.h"

struct node_metrics_sources {
    struct bnd_env *env; /* of engine/io; all borrowed */
    const char *data;    /* the data directory */
    const struct node_identity *identity;
    struct bnd_mesh_tcp *mesh;
    const struct bnd_catalog_view *view; /* may be NULL */
    uint64_t started_ms;
    struct bnd_raft_host *host; /* NULL, as state: a gateway has none */
    struct bnd_state *state;
    const struct bnd_sql *sql; /* may be NULL */
    uint64_t scrubbed_bytes;      /* of the state's files, since start */
    const struct node_disk *disk; /* likewise */
};

/* Appends everything to *out. On the loop; reads /proc, statfs, nothing else. */
void node_metrics_print(const struct node_metrics_sources *from, struct bnd_buf *out);

/* What one replica of a group on this node takes, state and bodies, on average. */
uint64_t node_replica_bytes(struct bnd_raft_host *host, struct bnd_state *state,
                            const struct bnd_objects *objects);

/* The type of the file system at path, as mount names it ("ext4", "xfs"), or "other". */
const char *node_filesystem_name(const char *path);

#endif
