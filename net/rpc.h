/* Calls between nodes over the mesh: one request, one reply, a deadline (architecture 5).
 *
 * A call is answered exactly once: by the reply, by BND_CLOSED when the peer is or becomes
 * unreachable, by BND_TIMEOUT at the deadline, or by BND_CANCELED at close. Only BND_CLOSED from
 * bnd_rpc_call itself means that the request certainly never left; every later failure leaves the
 * outcome unknown. */
#ifndef BND_NET_RPC_H
#define BND_NET_RPC_H

#include "net/mesh.h"

/* Services: each has one handler per node. */
enum bnd_rpc_service {
    BND_RPC_SHARD = 1,  /* raft/client: operations and reads on a group's leader */
    BND_RPC_JOIN = 2,   /* catalog: membership */
    BND_RPC_BODY = 3,   /* objects/bodies: large bodies, on the bulk lane */
    BND_RPC_EXPORT = 4, /* raft/catchup: state ranges, on the bulk lane */
    BND_RPC_SURVEY = 5, /* raft/survey: the groups that a node leads */
    BND_RPC_KV = 6,     /* kv: puts and reads on a replica, exchanges */
    BND_RPC_SERVICES = 8,
};

struct bnd_rpc;

struct bnd_rpc_call {
    /* reply is borrowed until the call returns; empty unless status is 0. */
    void (*cb)(struct bnd_rpc_call *call, int status, struct bnd_slice reply);
    void *data;
    /* private */
    struct bnd_link link;
    struct bnd_timer timer;
    struct bnd_rpc *rpc;
    uint64_t id;
    uint64_t to;
};

/* A request being served. Lives until it is replied to; if the caller is gone the reply is dropped.
 */
struct bnd_rpc_request {
    struct bnd_rpc *rpc;
    uint64_t from;
    uint64_t id;
    enum bnd_mesh_lane lane;
    struct bnd_slice payload; /* borrowed until the handler returns: copy what is needed later */
};

/* Must lead to exactly one bnd_rpc_reply, from inside or later. Takes the request. */
typedef void (*bnd_rpc_handler)(void *owner, struct bnd_rpc_request *request);

/* One per node and mesh. in_flight_max bounds calls and served requests each (0: 65,536). */
int bnd_rpc_create(struct bnd_env *env, struct bnd_mesh *mesh, size_t in_flight_max,
                   struct bnd_rpc **out);
/* Answers every call under way with BND_CANCELED (from inside), then frees. Requests being served
 * must have been replied to, or be replied to never. The mesh must say nothing more to it: close
 * the mesh first (this call does not use it), or in the same pass. NULL allowed. */
void bnd_rpc_destroy(struct bnd_rpc *rpc);

/* handler NULL: no more; callers get BND_UNSUPPORTED. */
void bnd_rpc_serve(struct bnd_rpc *rpc, enum bnd_rpc_service service, bnd_rpc_handler handler,
                   void *owner);

/* Sends parts (copied; fewer than BND_MESH_PARTS_MAX) to a node, self included. BND_CLOSED: no
 * connection; BND_FULL: too many in flight or peer queue full; BND_TOOBIG: in all three nothing was
 * sent and cb is never called. */
int bnd_rpc_call(struct bnd_rpc *rpc, struct bnd_rpc_call *call, uint64_t to,
                 enum bnd_mesh_lane lane, enum bnd_rpc_service service,
                 const struct bnd_slice *parts, size_t count, uint64_t timeout_ns);
/* Forgets a call: its callback will not come. Idempotent. */
void bnd_rpc_cancel(struct bnd_rpc_call *call);

/* Replies (status: 0 or a code that the caller gets) and frees the request. parts are copied (fewer
 * than BND_MESH_PARTS_MAX). A reply above the mesh's bound becomes BND_TOOBIG; one that the peer's
 * queue does not take is lost and the caller's deadline decides. A caller whose node lacks the
 * service gets BND_UNSUPPORTED, one over in_flight_max BND_FULL: both without execution. */
void bnd_rpc_reply(struct bnd_rpc_request *request, int status, const struct bnd_slice *parts,
                   size_t count);

#endif
