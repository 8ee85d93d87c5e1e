/* Requests that are executed on a group's leader, between those who ask (the shard client here,
 * shard_serve for others) and the executor (bnd_raft_host_config.execute). Internal; ADR 0101. */
#ifndef BND_RAFT_EXECUTE_H
#define BND_RAFT_EXECUTE_H

#include "raft/host.h"

struct execution;

struct execute_request {
    uint64_t gid;
    struct bnd_raft_request_id id;
    uint64_t low_seq;
    uint64_t deadline_ms;
    struct bnd_slice body; /* copied */
};

/* executed: status and bytes are the executor's outcome; else status is a host's code (host.h, 4).
 * bytes are borrowed until it returns. */
typedef void (*execute_cb)(void *data, bool executed, int status, struct bnd_slice bytes);

/* Queues a request for the executor. Answered through told, later, once. Immediate errors (told
 * never called), all of them certainly not executed: BND_NOTFOUND, BND_NOTLEADER, BND_FULL,
 * BND_TOOBIG, BND_UNSUPPORTED (no executor), BND_CANCELED (closing). */
int execute_begin(struct bnd_raft_host *host, const struct execute_request *request,
                  execute_cb told, void *data, struct execution **out);

/* told will not come; what the executor has goes on. Not after told. */
void execute_forget(struct execution *execution);

#endif
