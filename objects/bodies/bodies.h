/* The body store's seam (architecture 8, ADR 0051). objects/ knows bodies only through this header:
 * a body is written once, read by ranges, and given up by its group; where and how its bytes lie is
 * the store's. Erasure coding over volumes takes the place of what is behind it.
 *
 * A process without a directory (a gateway) writes and reads bodies of others, and stores none. */
#ifndef BND_OBJECTS_BODIES_BODIES_H
#define BND_OBJECTS_BODIES_BODIES_H

#include "objects/fsm.h"
#include "objects/objects.h"

struct bnd_bodies;

struct bnd_bodies_config {
    struct bnd_env *env;
    struct bnd_rpc *rpc;
    struct bnd_mesh *mesh;
    uint64_t self;
    const char *dir; /* copied; NULL: stores nothing */
    void *owner;
    int (*replicas)(void *owner, uint32_t shard, struct bnd_object_replicas *out);
    uint64_t (*stamp_ms)(void *owner);
    bool (*time_suspended)(void *owner, uint64_t gid); /* NULL: never */
    bool (*disk_full)(void *owner);                    /* NULL: never */
    struct bnd_pacer *pacer;                           /* NULL: no bound */
    size_t window_bytes;
    size_t uploads_max;
    size_t bytes_max;
    size_t put_bytes_max; /* 0: 64 MiB: of all puts, not yet on their replicas */
    uint64_t sweep_ns;
};

/* As bnd_objects_create, _start, _close. */
int bnd_bodies_create(const struct bnd_bodies_config *config, struct bnd_bodies **out,
                      struct bnd_error *err);
void bnd_bodies_start(struct bnd_bodies *bodies, struct bnd_shard_client *client);
void bnd_bodies_close(struct bnd_bodies *bodies, void (*closed)(void *data), void *data);
/* Sets the fields of bodies in *out. */
void bnd_bodies_stats(const struct bnd_bodies *bodies, struct bnd_objects_stats *out);

/* The groups whose state says which bodies must be here. */
void bnd_bodies_group_add(struct bnd_bodies *bodies, struct objects_fsm *fsm);
void bnd_bodies_group_remove(struct bnd_bodies *bodies, struct objects_fsm *fsm);
/* A body of a group here was committed: fetched if this node is not among those that have it. */
void bnd_bodies_committed(struct bnd_bodies *bodies, uint64_t gid, const uint8_t *version,
                          const struct objects_body_record *record);

/* As bnd_objects_hold_all. */
bool bnd_bodies_hold_all(struct bnd_bodies *bodies, uint64_t gid, uint64_t node);

/* ---- writing ----------------------------------------------------------------------------------
 */

struct bnd_body_put;

/* status 0: the next write may be made; else the put has failed for good: abort it. */
typedef void (*bnd_body_put_cb)(void *data, int status);

/* Begins a body on the group's replicas. BND_UNAVAILABLE, BND_NOMEM. */
int bnd_body_put_open(struct bnd_bodies *bodies, uint64_t gid, const uint8_t *version,
                      struct bnd_body_put **out);
/* Appends (copied), as bnd_upload_write. One call at a time, finish included. */
void bnd_body_put_write(struct bnd_body_put *put, struct bnd_slice data, bnd_body_put_cb cb,
                        void *cb_data);

/* Appends to a put that nothing was written to, before its finish: at most one chunk, at once. */
void bnd_body_put_preload(struct bnd_body_put *put, struct bnd_slice data);

struct bnd_body_placed {
    uint64_t deadline_ms; /* in the group's stamps: after it the store may free the body */
    uint8_t have_count;   /* nodes that have it, durable: at least a majority of the voters */
    uint64_t have[BND_REPLICAS_MAX];
    bool degraded; /* some replica does not */
};
/* Ends the body: cb with 0 once a majority of the voters has it durable (see *out_placed, which
 * must live until then). */
void bnd_body_put_finish(struct bnd_body_put *put, struct bnd_body_placed *out_placed,
                         bnd_body_put_cb cb, void *cb_data);
/* Frees the put at any time; what is not finished is deleted everywhere. NULL allowed. */
void bnd_body_put_destroy(struct bnd_body_put *put);

/* ---- reading ----------------------------------------------------------------------------------
 */

struct bnd_body_range {
    uint64_t gid;
    uint8_t version[BND_OBJECT_ID_BYTES];
    uint64_t size;   /* of the body */
    uint64_t offset; /* in the body */
    uint32_t len;    /* 1..BND_OBJECT_CHUNK_MAX, inside the body */
};

struct bnd_body_get {
    /* status 0: exactly range.len verified bytes, borrowed. Codes as bnd_object_reader_cb. */
    void (*cb)(struct bnd_body_get *get, int status, struct bnd_slice bytes);
    void *data;
    /* private */
    struct bnd_bodies *bodies;
    struct bnd_rpc_call call;
    struct bnd_body_range range;
    struct bnd_object_replicas replicas;
    size_t tried;
    int worst;
    uint64_t from; /* the node asked; kept for the next get, which asks it first */
};

/* Gets a range from some replica, trying all. The struct may be used again from its callback on. */
int bnd_body_get(struct bnd_bodies *bodies, struct bnd_body_get *get,
                 const struct bnd_body_range *range);
void bnd_body_get_cancel(struct bnd_body_get *get); /* no callback; idempotent */

#endif
