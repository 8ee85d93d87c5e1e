/* Raft messages over the mesh: one encoded message (raft/message.h) per BND_MESH_RAFT message; the
 * mesh joins all of a pass, of all groups, into one flush per peer.
 *
 * A message waits until the META, TRUNCATE or install record it depends on is durable, and behind
 * the group's earlier messages that wait; nothing else waits, so that a leader and its followers
 * write the same entry at the same time. Any message may be lost: what is malformed, unwanted or
 * over a bound is counted and dropped. */
#include "raft/host_private.h"

#include "base/alloc.h"

/* An AppendEntries stamped this far ahead of our clock is dropped (architecture 5, "Time"). */
#define STAMP_AHEAD_MS_MAX 2000u

struct held_message {
    struct bnd_link link;
    uint64_t after_op;
    uint64_t to;
    size_t len;
    uint8_t bytes[];
};

/* ---- out --------------------------------------------------------------------------------------*/

static int mesh_send(struct bnd_raft_host *host, uint64_t to, struct bnd_slice bytes) {
    struct bnd_mesh *mesh = host->config.mesh;
    int rv = mesh->ops->send(mesh, to, BND_MESH_CONTROL, BND_MESH_RAFT, &bytes, 1);
    host->stats.messages_sent += rv == 0;
    return rv;
}

static int hold(struct group *group, uint64_t to, struct bnd_slice bytes, uint64_t after_op) {
    struct bnd_raft_host *host = group->host;
    if (host->held_bytes + bytes.len > HELD_BYTES_MAX) {
        return BND_FULL;
    }
    struct held_message *held = bnd_alloc(sizeof *held + bytes.len);
    if (held == NULL) {
        return BND_NOMEM;
    }
    held->link = (struct bnd_link){0};
    held->after_op = after_op;
    held->to = to;
    held->len = bytes.len;
    memcpy(held->bytes, bytes.data, bytes.len);
    bnd_list_push(&group->held, &held->link);
    host->held_bytes += bytes.len;
    host->stats.messages_held++;
    return 0;
}

int transport_send(struct group *group, const struct bnd_message *message, uint64_t after_op) {
    struct bnd_raft_host *host = group->host;
    if (host->dead) {
        return BND_CLOSED;
    }
    struct bnd_message stamped = *message;
    if (stamped.type == BND_MESSAGE_APPEND) {
        stamped.append.stamp_ms = bnd_wall_ms(host->config.env);
    } else if (stamped.type == BND_MESSAGE_APPEND_RESULT) {
        stamped.append_result.space = (uint8_t)host->space;
    }
    bnd_buf_reset(&host->frame);
    bnd_message_encode(&stamped, &host->frame);
    if (host->frame.failed) {
        return BND_NOMEM;
    }
    struct bnd_slice bytes = bnd_buf_slice(&host->frame);
    if (after_op > group->ops.durable || !bnd_list_empty(&group->held)) {
        return hold(group, message->to, bytes, after_op);
    }
    return mesh_send(host, message->to, bytes);
}

static void held_free(struct group *group, struct held_message *held) {
    group->host->held_bytes -= held->len;
    bnd_link_remove(&held->link);
    bnd_free(held);
}

void transport_release(struct group *group) {
    while (!bnd_list_empty(&group->held) && !group->host->dead) {
        struct held_message *held = BND_CONTAINER(group->held.next, struct held_message, link);
        if (held->after_op > group->ops.durable) {
            return;
        }
        /* A message that cannot leave now is lost, as on any network. */
        (void)mesh_send(group->host, held->to, bnd_slice(held->bytes, held->len));
        held_free(group, held);
    }
}

void transport_forget(struct group *group) {
    while (!bnd_list_empty(&group->held)) {
        held_free(group, BND_CONTAINER(group->held.next, struct held_message, link));
    }
}

/* ---- in ---------------------------------------------------------------------------------------*/

bool transport_has_room(const struct group *group) {
    return group->backlog.bytes.len - group->backlog.at < BACKLOG_GROUP_BYTES_MAX &&
           !host_congested(group->host);
}

/* Without any room only what a new leader needs to serve reads: barriers, configurations. */
static bool fits(const struct bnd_raft_host *host, const struct bnd_message_append *append) {
    for (size_t i = 0; host->space == BND_RAFT_SPACE_NONE && i < append->entries_count; i++) {
        if (append->entries[i].kind == BND_CORE_COMMAND) {
            return false;
        }
    }
    return true;
}

/* May this message reach the core now? */
static bool wanted(const struct group *group, const struct bnd_message *message) {
    struct bnd_raft_host *host = group->host;
    if (message->type == BND_MESSAGE_TIMEOUT_NOW) {
        return !host->retiring;
    }
    if (message->type != BND_MESSAGE_APPEND) {
        return true;
    }
    if (message->append.stamp_ms > bnd_wall_ms(host->config.env) + STAMP_AHEAD_MS_MAX) {
        return false;
    }
    if (message->append.entries_count == 0) {
        return true; /* a heartbeat keeps the election timer quiet and adds nothing to the log */
    }
    return fits(host, &message->append) && transport_has_room(group);
}

/* A leader speaks to a group we do not have: make it, empty. */
static void unknown_group(struct bnd_raft_host *host, const struct bnd_message *message) {
    bool leader = message->type == BND_MESSAGE_APPEND || message->type == BND_MESSAGE_INSTALL;
    if (!leader || !host->config.group_wanted(host->config.owner, message->gid, message->from)) {
        host->frames_dropped++;
        return;
    }
    /* Without room the leader's next message tries again. */
    (void)host_group_make(host, message->gid, NULL, NULL, NULL);
}

static void on_message(void *owner, uint64_t from, struct bnd_slice bytes) {
    struct bnd_raft_host *host = owner;
    if (host->dead || host->closing) {
        return;
    }
    struct bnd_message message;
    if (bnd_message_decode(bytes, &message, NULL) != 0) {
        host->frames_dropped++;
        return;
    }
    message.from = from;
    message.to = host->config.node_id;
    if (message.type == BND_MESSAGE_APPEND_RESULT) {
        space_heard(host, from, message.append_result.space);
    }
    struct group *group = group_find(host, message.gid);
    if (group == NULL || group->phase == GROUP_GONE) {
        unknown_group(host, &message);
    } else if (group->phase != GROUP_RUNNING || group->destroying) {
        host->frames_dropped++;
    } else if (message.type == BND_MESSAGE_INSTALL) {
        if (host->space == BND_RAFT_SPACE_OK) { /* else the leader invites again */
            import_invited(group, &message);    /* the core gets it with the state */
        }
    } else if (wanted(group, &message)) {
        bnd_core_recv(group->core, &message);
    } else {
        host->frames_dropped++;
    }
    bnd_message_release(&message);
}

void transport_open(struct bnd_raft_host *host) {
    struct bnd_mesh *mesh = host->config.mesh;
    mesh->ops->receive(mesh, BND_MESH_RAFT, on_message, host);
}
