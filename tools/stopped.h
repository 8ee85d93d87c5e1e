/* The data directory of a stopped node, as `bindery doctor --data` and `bindery recover` read it.
 * Each step needs those before it. */
#ifndef BND_TOOLS_STOPPED_H
#define BND_TOOLS_STOPPED_H

#include "node/files.h"
#include "node/identity.h"
#include "raft/offline.h"

struct tools_stopped {
    struct bnd_env *env;
    const char *data; /* borrowed */
    int lock;
    struct node_identity identity;
    struct bnd_state *state; /* read only; or NULL */
    char journal_dir[NODE_PATH_MAX];
    char state_dir[NODE_PATH_MAX];
    char bodies_dir[NODE_PATH_MAX];
    struct bnd_raft_offline_group *groups; /* in order of gid */
    size_t groups_count, groups_cap;
    uint64_t torn_bytes;
};

/* Takes the directory's lock and reads who it belongs to. BND_NOTFOUND: no member's directory;
 * BND_LOCKED: the node runs; errors of node_identity_load. tools_stopped_close in any case. */
int tools_stopped_open(struct tools_stopped *stopped, const char *data, struct bnd_error *err);
/* Opens the state to be read. Errors of bnd_rocks_open_read_only. */
int tools_stopped_state(struct tools_stopped *stopped, struct bnd_error *err);
/* Reads the journal and how each group stands. Errors of bnd_raft_offline_each. */
int tools_stopped_groups(struct tools_stopped *stopped, struct bnd_error *err);
void tools_stopped_close(struct tools_stopped *stopped);

/* What raft/offline.h reads from. */
struct bnd_raft_offline tools_stopped_raft(const struct tools_stopped *stopped);
/* "group 0", "shard N" (of objects) or "sql shard N". */
const char *tools_group_text(uint64_t gid, char out[32]);

#endif
