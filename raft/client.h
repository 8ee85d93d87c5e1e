/* The shard client: one call to a group, wherever its leader is (architecture 5, "Requests").
 *
 * Every service and the gateway talk to groups through it. A write is minted one request id and one
 * deadline and is retried under them, with bounded, jittered waits, over leader changes, broken
 * connections and overload, until it has an outcome or its time is over; a read is asked again
 * freely. On a node without storage (gateway process) host is NULL and every call goes over the
 * mesh. The same file serves BND_RPC_SHARD: it proposes, reads or executes on this node for callers
 * elsewhere, and answers BND_NOTLEADER with a hint. */
#ifndef BND_RAFT_CLIENT_H
#define BND_RAFT_CLIENT_H

#include "net/rpc.h"
#include "raft/host.h"

struct bnd_shard_client;

struct bnd_shard_client_config {
    struct bnd_env *env;
    struct bnd_rpc *rpc;
    struct bnd_raft_host *host; /* NULL in a gateway process */
    size_t calls_max;           /* 0: 65,536 under way; above it BND_FULL */
    size_t bytes_max;           /* 0: 64 MiB of requests under way */
};

int bnd_shard_client_create(const struct bnd_shard_client_config *config,
                            struct bnd_shard_client **out);
/* Answers what is under way with BND_CANCELED (reads) or BND_UNKNOWN (all others), then frees. NULL
 * allowed. */
void bnd_shard_client_destroy(struct bnd_shard_client *client);

/* The host has closed and answered everything, and may be gone: from here on this client's calls go
 * over the mesh only, as in a gateway process, and others' are BND_UNSUPPORTED here. */
void bnd_shard_client_hostless(struct bnd_shard_client *client);

/* Where a group's replicas are, by the newest shard map. Calls already under way follow. */
void bnd_shard_client_members(struct bnd_shard_client *client, uint64_t gid, const uint64_t *nodes,
                              size_t count);
/* One more node to ask for the group, until bnd_shard_client_members comes next: for who has no map
 * yet, or an old one. Without memory it is not asked. */
void bnd_shard_client_member_add(struct bnd_shard_client *client, uint64_t gid, uint64_t node);

/* EXECUTE: the body is no command but a request, which the leader's node executes
 * (bnd_raft_host_config.execute; ADR 0101). It has the id, the deadline and the retries of a write;
 * an attempt ends when the executor has replied, the node's connection is lost or its silence is 3 s,
 * or after 10 s. */
enum bnd_shard_call_kind { BND_SHARD_READ, BND_SHARD_WRITE, BND_SHARD_EXECUTE };

struct bnd_shard_call {
    /* status 0 or the state machine's (the executor's) code, with its reply (borrowed until cb returns); or, with an
     * empty reply: BND_UNAVAILABLE (certainly not executed: no leader, overload), BND_NOSPACE
     * (likewise: the disks of a majority are nearly full), BND_UNKNOWN (a write or EXECUTE whose
     * outcome could not be learnt in time), BND_TOOBIG, BND_CANCELED. */
    void (*cb)(struct bnd_shard_call *call, int status, struct bnd_slice reply);
    void *data;
    /* private */
    struct bnd_link link;
    void *priv[4];
};

/* Sends `parts` (copied, joined; at most BND_RAFT_COMMAND_MAX, for EXECUTE
 * BND_RAFT_EXECUTE_BODY_MAX) to the state machine of gid: apply for WRITE, read for READ.
 * timeout_ns: how long it may wait for a leader and an answer; at most 30 s, 0: 15 s. BND_FULL:
 * bound met, cb never called. */
int bnd_shard_call(struct bnd_shard_client *client, struct bnd_shard_call *call,
                   enum bnd_shard_call_kind kind, uint64_t gid, const struct bnd_slice *parts,
                   size_t count, uint64_t timeout_ns);
/* Forgets a call: cb will not come. A write may still be executed. Idempotent. */
void bnd_shard_call_cancel(struct bnd_shard_call *call);

/* The node last known to lead the group, 0 if none. */
uint64_t bnd_shard_client_leader(const struct bnd_shard_client *client, uint64_t gid);

#endif
