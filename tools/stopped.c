#include "tools/stopped.h"

#include "base/alloc.h"
#include "engine/io/io.h"
#include "engine/rocks/rocks.h"
#include "placement/shard.h"

#include <stdio.h>
#include <sys/stat.h>

int tools_stopped_open(struct tools_stopped *stopped, const char *data, struct bnd_error *err) {
    char toml[NODE_PATH_MAX];
    struct stat about;
    *stopped = (struct tools_stopped){.data = data, .lock = -1};
    int rv = bnd_io_env_create(NULL, &stopped->env, err);
    rv = rv != 0 ? rv : node_path(data, "node.toml", toml, err);
    rv = rv != 0 ? rv : node_path(data, "journal", stopped->journal_dir, err);
    rv = rv != 0 ? rv : node_path(data, "state", stopped->state_dir, err);
    rv = rv != 0 ? rv : node_path(data, "bodies", stopped->bodies_dir, err);
    if (rv == 0 && stat(toml, &about) != 0) {
        rv = BND_FAIL(err, NOTFOUND, "%s is no node's data directory: it has no node.toml", data);
    }
    rv = rv != 0 ? rv : node_lock(data, &stopped->lock, err);
    return rv != 0
               ? rv
               : node_identity_load(stopped->env, data, BND_NODE_STORAGE, &stopped->identity, err);
}

int tools_stopped_state(struct tools_stopped *stopped, struct bnd_error *err) {
    return bnd_rocks_open_read_only(stopped->env, stopped->state_dir, &stopped->state, err);
}

struct bnd_raft_offline tools_stopped_raft(const struct tools_stopped *stopped) {
    return (struct bnd_raft_offline){.env = stopped->env,
                                     .state = stopped->state,
                                     .journal_dir = stopped->journal_dir,
                                     .cluster_id = node_cluster_number(stopped->identity.cluster),
                                     .node_id = stopped->identity.node,
                                     .is_other = bnd_gid_is_log};
}

static int keep_group(void *data, const struct bnd_raft_offline_group *group) {
    struct tools_stopped *stopped = data;
    if (!BND_ROOM(stopped->groups, stopped->groups_count, stopped->groups_cap, 128)) {
        return BND_NOMEM;
    }
    stopped->groups[stopped->groups_count++] = *group;
    return 0;
}

int tools_stopped_groups(struct tools_stopped *stopped, struct bnd_error *err) {
    struct bnd_raft_offline from = tools_stopped_raft(stopped);
    stopped->groups_count = 0;
    return bnd_raft_offline_each(&from, keep_group, stopped, &stopped->torn_bytes, err);
}

void tools_stopped_close(struct tools_stopped *stopped) {
    if (stopped->state != NULL) {
        stopped->state->ops->close(stopped->state);
    }
    node_identity_free(&stopped->identity);
    if (stopped->lock >= 0) {
        node_unlock(stopped->lock);
    }
    bnd_free(stopped->groups);
    bnd_io_env_destroy(stopped->env);
    *stopped = (struct tools_stopped){.lock = -1};
}

const char *tools_group_text(uint64_t gid, char out[32]) {
    if (bnd_gid_kind(gid) == BND_GROUP_SYSTEM) {
        (void)snprintf(out, 32, "group 0");
    } else {
        const char *kind = bnd_gid_kind(gid) == BND_GROUP_SQL ? "sql " : "";
        (void)snprintf(out, 32, "%sshard %u", kind, bnd_gid_shard(gid));
    }
    return out;
}
