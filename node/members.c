#include "node/members.h"

#include "node/peers.h"
#include "placement/shard.h"

#include <string.h>

#define CALL_NS (10000 * BND_MS)
#define RETRY_NS (1000 * BND_MS)

/* ---- before the first view
 * ------------------------------------------------------------------------------ */

void node_members_meet(struct node_members *members, uint64_t node) {
    bnd_shard_client_member_add(members->client, BND_GID_SYSTEM, node);
}

static int add_known(void *data, uint64_t id, const char *address) {
    struct node_members *members = data;
    node_members_meet(members, id);
    return id == members->identity->node ? 0 : bnd_mesh_tcp_set_peer(members->mesh, id, address);
}

int node_members_load(struct node_members *members, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    int rv = node_file_read(members->env, members->data, "peers", &bytes, err);
    if (rv == BND_NOTFOUND) {
        node_members_meet(members, members->identity->node);
        return 0;
    }
    rv = rv != 0 ? rv : node_peers_each(bnd_buf_slice(&bytes), add_known, members);
    return rv == 0 ? 0 : bnd_error_set(err, rv, "%s/peers: %s", members->data, bnd_code_text(rv));
}

/* ---- from view to view
 * ---------------------------------------------------------------------------------- */

static void tell_place(struct node_members *members, const struct bnd_catalog_view *view);

static void on_retry(struct bnd_timer *timer) {
    struct node_members *members = timer->data;
    tell_place(members, bnd_catalog_view(members->catalog));
}

/* No other view need come for a long time: what failed is said again. */
static void retry_later(struct node_members *members) {
    members->told = false;
    members->retry.cb = on_retry;
    members->retry.data = members;
    bnd_timer_start(members->env, &members->retry, RETRY_NS);
}

static void on_told(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct node_members *members = call->data;
    if (status != 0) {
        bnd_log(members->env, BND_LOG_WARN, "node",
                "group 0 does not know this node's address yet: %s", bnd_code_text(status));
        retry_later(members);
    }
}

static void tell_place(struct node_members *members, const struct bnd_catalog_view *view) {
    const struct bnd_node_record *own = bnd_catalog_find_node(view, members->identity->node);
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    if (own == NULL || members->told ||
        (bnd_slice_eq(own->address, bnd_slice_str(members->advertise)) &&
         bnd_slice_eq(own->zone, bnd_slice_str(members->zone)))) {
        return;
    }
    struct bnd_node_record changed = *own;
    changed.address = bnd_slice_str(members->advertise);
    changed.zone = bnd_slice_str(members->zone);
    bnd_node_encode(&bytes, &changed);
    struct bnd_catalog_command command = {.op = BND_CATALOG_NODE_SET, .a = bnd_buf_slice(&bytes)};
    members->call.cb = on_told;
    members->call.data = members;
    members->told = !bytes.failed &&
                    bnd_catalog_write(members->catalog, &members->call, &command, CALL_NS) == 0;
    if (!members->told) {
        retry_later(members);
    }
}

static void set_peer(struct node_members *members, const struct bnd_node_record *record) {
    char address[BND_ADDRESS_MAX];
    bool gateways = record->role == BND_NODE_GATEWAY && members->identity->role == BND_NODE_GATEWAY;
    if (record->id == members->identity->node || record->address.len >= sizeof address ||
        gateways) {
        return;
    }
    if (record->state == BND_NODE_GONE) {
        bnd_mesh_tcp_remove_peer(members->mesh, record->id);
        return;
    }
    memcpy(address, record->address.data, record->address.len);
    address[record->address.len] = 0;
    int rv = bnd_mesh_tcp_set_peer(members->mesh, record->id, address);
    if (rv != 0) {
        bnd_log(members->env, BND_LOG_WARN, "node", "peer %llu at %s: %s",
                (unsigned long long)record->id, address, bnd_code_text(rv));
    }
}

static void remember(struct node_members *members, const struct bnd_catalog_view *view) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    node_peers_encode(&bytes, view->nodes, view->nodes_count);
    if (!bytes.failed) { /* mostly the same as before: most views change something else */
        node_kept_write(&members->peers, members->env, members->data, "peers",
                        bnd_buf_slice(&bytes));
    }
}

void node_members_update(struct node_members *members, const struct bnd_catalog_view *view) {
    for (size_t i = 0; i < view->nodes_count; i++) {
        set_peer(members, &view->nodes[i]);
    }
    remember(members, view);
    tell_place(members, view);
}

void node_members_close(struct node_members *members) {
    bnd_timer_stop(members->env, &members->retry);
    bnd_catalog_cancel(&members->call);
    node_kept_close(&members->peers);
}
