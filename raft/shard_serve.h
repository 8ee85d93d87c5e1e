/* Serving BND_RPC_SHARD on a node with a host, and what a local caller shares with it (internal).
 */
#ifndef BND_RAFT_SHARD_SERVE_H
#define BND_RAFT_SHARD_SERVE_H

#include "net/rpc.h"
#include "raft/fsm.h"
#include "raft/host.h"

/* Requests and replies longer than this go on the bulk lane, not before heartbeats. */
#define SHARD_BULK_BYTES (256u << 10)

/* Registers the handler. The host must live until every request is replied to: its close does so,
 * and rpc outlives it. */
void shard_serve(struct bnd_raft_host *host, struct bnd_rpc *rpc);

/* Runs a query on the group's state machine, inside a granted read. Code or 0, and *reply. */
int shard_query(struct bnd_raft_host *host, const struct bnd_fsm_read *context,
                struct bnd_slice query, struct bnd_buf *reply);

/* This node. */
uint64_t shard_node_id(const struct bnd_raft_host *host);
/* Who leads the group as far as this node knows; 0: not known, or no such group here. */
uint64_t shard_leader(const struct bnd_raft_host *host, uint64_t gid);

#endif
