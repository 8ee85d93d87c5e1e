/* What BND_RPC_SHARD carries (internal; SPEC.md, "Shard calls"). */
#ifndef BND_RAFT_SHARD_WIRE_H
#define BND_RAFT_SHARD_WIRE_H

#include "base/bytes.h"
#include "raft/host.h"

enum shard_kind {
    SHARD_READ = 1,
    SHARD_WRITE = 2,
    SHARD_STAMP = 3, /* asks for the time in stamps, before a first deadline is minted */
    SHARD_EXECUTE = 4,
};

struct shard_request {
    enum shard_kind kind;
    uint64_t gid;
    struct bnd_raft_request_id id; /* WRITE and EXECUTE only, and the next two */
    uint64_t low_seq;
    uint64_t deadline_ms;
    struct bnd_slice body; /* command, query or request; borrowed */
};

/* Does a call of the kind have an id? */
static inline bool shard_has_id(enum shard_kind kind) {
    return kind == SHARD_WRITE || kind == SHARD_EXECUTE;
}

struct shard_reply {
    bool executed; /* status and body are the state machine's, or the executor's */
    int status;
    uint64_t leader; /* a hint; 0: not known */
    uint64_t stamp_ms;
    struct bnd_slice body;
};

/* The bytes before the body: the caller sends head and body as two parts. */
void shard_request_head(const struct shard_request *request, struct bnd_buf *out);
void shard_reply_head(const struct shard_reply *reply, struct bnd_buf *out);

/* BND_VERSION, BND_CORRUPT: cut, unknown kind, an impossible id. */
int shard_request_decode(struct bnd_slice bytes, struct shard_request *out);
int shard_reply_decode(struct bnd_slice bytes, struct shard_reply *out);

#endif
