/* The mesh: messages between the nodes of a cluster (architecture 4 and 6). net/mesh_tcp implements
 * it over one mutually authenticated TLS stream per peer pair and lane; tests/sim with seeded
 * delay, loss and cuts.
 *
 * Promise: at most once, in order per (sender, receiver, lane) while a connection lasts; any
 * message may be lost at any time. The sender of every message is authenticated: it is the node of
 * this cluster that it claims to be. Messages above NET frame size are cut into frames and joined
 * again. */
#ifndef BND_NET_MESH_H
#define BND_NET_MESH_H

#include "base/bytes.h"
#include "base/env.h"

#define BND_MESH_MESSAGE_MAX (8u << 20)
#define BND_MESH_PARTS_MAX 16 /* rpc uses one of them */

/* CONTROL goes first: raft, reads, small calls. BULK has a stream of its own: bodies, state
 * exports. */
enum bnd_mesh_lane { BND_MESH_CONTROL, BND_MESH_BULK, BND_MESH_LANES };

/* First byte of every message: who receives it. */
enum bnd_mesh_kind {
    BND_MESH_RAFT = 1, /* raft/transport */
    BND_MESH_READ = 2, /* raft/readindex */
    BND_MESH_RPC = 3,  /* net/rpc */
    BND_MESH_KV = 4,   /* kv: pushes, their answers, digests */
    BND_MESH_KINDS = 8,
};

struct bnd_mesh;

/* message is borrowed until the call returns. */
typedef void (*bnd_mesh_recv_cb)(void *owner, uint64_t from, struct bnd_slice message);
/* up: a connection to the node on CONTROL is ready. Down comes before the next up. */
typedef void (*bnd_mesh_peer_cb)(void *owner, uint64_t node, bool up);

struct bnd_mesh_ops {
    uint64_t (*self)(struct bnd_mesh *mesh);
    /* Registers the one receiver of a kind. Messages of a kind without one are dropped. */
    void (*receive)(struct bnd_mesh *mesh, enum bnd_mesh_kind kind, bnd_mesh_recv_cb cb,
                    void *owner);
    /* Adds a watcher of connections; called at once for peers already up. At most 8. */
    void (*watch)(struct bnd_mesh *mesh, bnd_mesh_peer_cb cb, void *owner);
    /* Copies the parts and queues them; they leave at the end of the loop pass. BND_CLOSED: no
     * connection. BND_FULL: the peer's queue is at its bound; nothing was queued. BND_TOOBIG. A
     * message to self is delivered later on this loop. */
    int (*send)(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane,
                enum bnd_mesh_kind kind, const struct bnd_slice *parts, size_t count);
    /* Bytes queued to a peer and not yet in the kernel: bulk senders pace themselves by it. */
    size_t (*queued)(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane);
    bool (*up)(struct bnd_mesh *mesh, uint64_t node);
    /* Nanoseconds since anything was heard from the node; UINT64_MAX: never. */
    uint64_t (*silence_ns)(struct bnd_mesh *mesh, uint64_t node);
    /* How far the node's wall clock is ahead of ours (negative: behind), measured in the last
     * seconds to within half a round trip. False: not known. */
    bool (*clock_offset_ms)(struct bnd_mesh *mesh, uint64_t node, int64_t *out_ms);
};

struct bnd_mesh {
    const struct bnd_mesh_ops *ops;
};

#endif
