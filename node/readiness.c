#include "node/readiness.h"

#include "raft/host.h"

static void check_line(struct bnd_buf *out, const char *name, bool ok, const char *why) {
    if (out != NULL) {
        bnd_buf_printf(out, "%s: %s\n", name, ok ? "ok" : why);
    }
}

struct group_check {
    struct bnd_raft_host *host;
    size_t leaderless;
};

static void check_group(void *data, uint64_t gid) {
    struct group_check *check = data;
    struct bnd_raft_group_status status;
    /* One that never had a leader is being founded: what the node served it still serves. */
    if (bnd_raft_group_status(check->host, gid, &status) == 0 && status.leader == 0 &&
        status.last_index > 1) {
        check->leaderless++;
    }
}

bool node_is_ready(const struct node_readiness *is, struct bnd_buf *out) {
    struct group_check check = {.host = is->host};
    bool fresh = bnd_catalog_age_ms(is->catalog) < BND_CATALOG_STALE_MS;
    bnd_raft_each_group(is->host, check_group, &check);
    check_line(out, "catalog", fresh, "group 0 has not answered for 5 s");
    check_line(out, "groups", check.leaderless == 0, "some groups have no leader");
    check_line(out, "genesis", !is->in_genesis, "the cluster is being set up");
    check_line(out, "running", !is->stopping, "the node is stopping");
    if (out != NULL) { /* for people: it serves reads and deletes also without room */
        bnd_buf_append_str(out, "disk: ");
        node_disk_text(is->disk, out);
        bnd_buf_append_str(out, "\n");
    }
    return fresh && check.leaderless == 0 && !is->in_genesis && !is->stopping;
}
