/* See shard_serve.h. A request lives until its proposal, read or execution is answered; how many do
 * is bounded by the rpc's in-flight bound and by the host's own. */
#include "raft/shard_serve.h"

#include "base/alloc.h"
#include "raft/execute.h"
#include "raft/host_private.h"
#include "raft/shard_wire.h"

struct serving {
    struct bnd_raft_host *host;
    struct bnd_rpc_request *request;
    uint64_t gid;
    union {
        struct bnd_raft_propose propose;
        struct bnd_raft_read read;
        struct execution *execution;
    };
    size_t query_len;
    uint8_t query[];
};

uint64_t shard_node_id(const struct bnd_raft_host *host) {
    return host->config.node_id;
}

uint64_t shard_leader(const struct bnd_raft_host *host, uint64_t gid) {
    const struct group *group = group_running(host, gid);
    if (group == NULL) {
        return 0;
    }
    return group->status.role == BND_CORE_LEADER ? host->config.node_id : group->status.leader;
}

int shard_query(struct bnd_raft_host *host, const struct bnd_fsm_read *context,
                struct bnd_slice query, struct bnd_buf *reply) {
    struct group *group = group_running(host, context->gid);
    BND_ASSERT(group != NULL); /* inside a granted read */
    int rv = group->fsm.ops->read(group->fsm.self, context, query, reply);
    return reply->failed ? BND_NOMEM : rv;
}

static void reply_to(struct bnd_raft_host *host, struct bnd_rpc_request *request, uint64_t gid,
                     const struct shard_reply *outcome) {
    struct shard_reply reply = *outcome;
    BND_AUTO_BUF struct bnd_buf head = {0};
    reply.stamp_ms = host_group_now_ms(host, gid);
    reply.leader = reply.status == BND_NOTLEADER ? shard_leader(host, gid) : 0;
    if (reply.leader == host->config.node_id) {
        reply.leader = 0; /* stepping down: not here, at least */
    }
    shard_reply_head(&reply, &head);
    if (head.failed) {
        bnd_rpc_reply(request, BND_UNKNOWN, NULL, 0);
        return;
    }
    const struct bnd_slice parts[] = {bnd_buf_slice(&head), reply.body};
    bnd_rpc_reply(request, 0, parts, 2);
}

static void refuse(struct bnd_raft_host *host, struct bnd_rpc_request *request, uint64_t gid,
                   int status) {
    const struct shard_reply reply = {.status = status};
    reply_to(host, request, gid, &reply);
}

static void on_proposed(struct bnd_raft_propose *propose, int status, struct bnd_slice body) {
    struct serving *serving = propose->data;
    const struct shard_reply reply = {
        .executed = propose_executed(propose),
        .status = status,
        .body = body,
    };
    reply_to(serving->host, serving->request, serving->gid, &reply);
    bnd_free(serving);
}

static void on_read(struct bnd_raft_read *read, int status, const struct bnd_fsm_read *context) {
    struct serving *serving = read->data;
    BND_AUTO_BUF struct bnd_buf body = {0};
    struct shard_reply reply = {.status = status};
    if (status == 0) {
        struct bnd_slice query = bnd_slice(serving->query, serving->query_len);
        reply.status = shard_query(serving->host, context, query, &body);
        reply.executed = reply.status != BND_NOMEM;
        reply.body = reply.executed ? bnd_buf_slice(&body) : bnd_slice(NULL, 0);
    }
    reply_to(serving->host, serving->request, serving->gid, &reply);
    bnd_free(serving);
}

static void on_executed(void *data, bool executed, int status, struct bnd_slice body) {
    struct serving *serving = data;
    const struct shard_reply reply = {.executed = executed, .status = status, .body = body};
    if (body.len > SHARD_BULK_BYTES) {
        serving->request->lane = BND_MESH_BULK;
    }
    reply_to(serving->host, serving->request, serving->gid, &reply);
    bnd_free(serving);
}

static int begin_execute(struct serving *serving, const struct shard_request *request) {
    const struct execute_request execute = {
        .gid = request->gid,
        .id = request->id,
        .low_seq = request->low_seq,
        .deadline_ms = request->deadline_ms,
        .body = request->body,
    };
    return execute_begin(serving->host, &execute, on_executed, serving, &serving->execution);
}

static int begin(struct serving *serving, const struct shard_request *request) {
    if (request->kind == SHARD_EXECUTE) {
        return begin_execute(serving, request);
    }
    if (request->kind == SHARD_WRITE) {
        serving->propose = (struct bnd_raft_propose){
            .id = request->id,
            .low_seq = request->low_seq,
            .deadline_ms = request->deadline_ms,
            .command = request->body,
            .cb = on_proposed,
            .data = serving,
        };
        return bnd_raft_propose(serving->host, request->gid, &serving->propose);
    }
    serving->query_len = request->body.len;
    if (request->body.len > 0) {
        memcpy(serving->query, request->body.data, request->body.len);
    }
    serving->read = (struct bnd_raft_read){.cb = on_read, .data = serving};
    return bnd_raft_read(serving->host, request->gid, &serving->read);
}

static void on_request(void *owner, struct bnd_rpc_request *rpc_request) {
    struct bnd_raft_host *host = owner;
    struct shard_request request;
    int rv = shard_request_decode(rpc_request->payload, &request);
    if (rv != 0) {
        bnd_rpc_reply(rpc_request, rv, NULL, 0);
        return;
    }
    if (request.kind == SHARD_STAMP) {
        const struct shard_reply reply = {.executed = true};
        reply_to(host, rpc_request, request.gid, &reply);
        return;
    }
    size_t query = request.kind == SHARD_READ ? request.body.len : 0;
    struct serving *serving = bnd_zalloc(sizeof *serving + query);
    if (serving == NULL) {
        refuse(host, rpc_request, request.gid, BND_BUSY);
        return;
    }
    serving->host = host;
    serving->request = rpc_request;
    serving->gid = request.gid;
    rv = begin(serving, &request);
    if (rv != 0) {
        bnd_free(serving);
        refuse(host, rpc_request, request.gid, rv);
    }
}

void shard_serve(struct bnd_raft_host *host, struct bnd_rpc *rpc) {
    bnd_rpc_serve(rpc, BND_RPC_SHARD, on_request, host);
}
