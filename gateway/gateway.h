/* The gateway of one process: its three client ports and what stands behind them (architecture 2,
 * 12).
 *
 *   REST      /client/v4/... (gateway/cf), /livez /readyz /metrics and /bindery/v1/... (gateway/admin)
 *   bindings  workerd's external services, routed by X-Bindery-Binding (gateway/worker)
 *   S3        gateway/s3
 *
 * It holds no state of its own but connections: everything is in the catalog, the objects service
 * and the groups behind them. One per loop. */
#ifndef BND_GATEWAY_GATEWAY_H
#define BND_GATEWAY_GATEWAY_H

#include "base/env.h"
#include "catalog/catalog.h"
#include "gateway/audit.h"
#include "gateway/d1/rules.h"
#include "gateway/http/server.h"
#include "gateway/kv/rules.h"
#include "net/mesh.h"
#include "objects/objects.h"
#include "placement/rendezvous.h"
#include "raft/client.h"
#include "raft/host.h"

struct bnd_gateway;
struct bnd_kv;
struct bnd_sql;
struct gateway_front;

/* Everything that requests are served with. All borrowed until the gateway's on_closed. Handlers of
 * every port get this struct as their owner's services. */
/* What the moving of replicas costs. */
struct bnd_gateway_moving {
    uint64_t replica_bytes; /* state and bodies of an average replica of this node; 0: not known */
    uint64_t bytes_per_s;   /* that a node takes in; 0: no bound */
};

struct bnd_gateway_services {
    struct bnd_env *env;
    struct bnd_catalog *catalog;
    struct bnd_objects *objects;
    struct bnd_shard_client *client;
    struct bnd_kv *kv;          /* NULL in tests of what has nothing to do with KV */
    struct bnd_sql *sql;        /* NULL: D1 is refused */
    struct bnd_raft_host *host; /* NULL in a gateway process */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc; /* NULL in tests of what asks no other node */
    const char *dir;     /* of the process's data, for uploads; borrowed. NULL: there is none */
    uint64_t self;
    uint64_t started_ms; /* wall clock */
    uint8_t cluster_key[BND_CLUSTER_KEY_LEN];
    struct bnd_audit *audit; /* the gateway's own, like front: set by bnd_gateway_create */
    struct gateway_front *front;
    void *owner;
    /* Appends one "name: ok" or "name: why not" line per check to *out (may be NULL); true if all
     * are ok. */
    bool (*ready)(void *owner, struct bnd_buf *out);
    /* The nodes that should hold a group, best first; returns how many. */
    size_t (*wanted)(void *owner, uint64_t gid, uint64_t out[BND_REPLICAS_MAX]);
    /* For how much there is still to be moved; NULL in a gateway process. */
    void (*moving)(void *owner, struct bnd_gateway_moving *out);
    /* Appends metrics of what only node/ knows (journal, state, process) in Prometheus text. May be
     * NULL. */
    void (*metrics)(void *owner, struct bnd_buf *out);
};

struct bnd_gateway_config {
    struct bnd_gateway_services services;
    const char *rest_address; /* "host:port"; NULL: that port is not opened */
    const char *bindings_address;
    const char *s3_address;
    const char *s3_domain;       /* of virtual-host style names; NULL: only the built-in ones */
    struct bnd_tls_context *tls; /* of all three; NULL: plain */
    size_t memory_bytes;         /* most bytes of request buffers; 0: 64 MiB */
    size_t held_bytes; /* most bytes of values and answers of KV and D1 that requests hold; 0: 64
                          MiB */
    struct kv_limits kv_limits;  /* a field of 0: Cloudflare's */
    struct d1_limits d1_limits;  /* a field of 0: its default */
    /* Of each port; buffer_bytes_max is a part of memory_bytes. connections_max 0: as many as
     * memory_bytes has room for, at most 16,384. */
    struct bnd_http_limits limits;
};

/* Opens the ports. The error names the address. */
int bnd_gateway_create(const struct bnd_gateway_config *config, struct bnd_gateway **out,
                       struct bnd_error *err);

/* Another context for connections made from now on; the old one may be destroyed after it. */
void bnd_gateway_set_tls(struct bnd_gateway *gateway, struct bnd_tls_context *tls);

/* Closes the ports: requests under way get grace_ns to finish. on_closed comes last. NULL gateway:
 * returns at once, no callback. */
void bnd_gateway_close(struct bnd_gateway *gateway, uint64_t grace_ns,
                       void (*on_closed)(void *data), void *data);

#endif
