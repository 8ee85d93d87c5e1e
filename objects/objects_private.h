/* Between the files of objects/: the process's struct, and operations under way. */
#ifndef BND_OBJECTS_OBJECTS_PRIVATE_H
#define BND_OBJECTS_OBJECTS_PRIVATE_H

#include "objects/bodies/bodies.h"
#include "objects/command.h"
#include "objects/fsm.h"

struct bnd_objects {
    struct bnd_objects_config config;
    struct bnd_shard_client *client;
    struct bnd_bodies *bodies;
    struct bnd_link ops;     /* struct objects_op */
    struct bnd_link uploads; /* struct bnd_upload */
    struct bnd_link readers; /* struct bnd_object_reader */
    uint64_t reader_bytes;   /* reserved by open readers */
    struct bnd_link deletes; /* struct delete_batch */
    size_t deletes_count;    /* in them */
    struct bnd_timer deletes_timer;
    bool deletes_due;
    struct bnd_objects_stats stats;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* An operation of one or more shard calls. Embedded first in what each kind of operation needs. */
struct objects_op {
    struct bnd_objects *objects;
    struct bnd_link link;
    bool write;
    unsigned waiting; /* calls not answered yet */
    /* One call was answered. Reply borrowed. */
    void (*answered)(struct objects_op *op, size_t call, int status, struct bnd_slice reply);
    /* All were: tell the user. Frees nothing: the op is freed after it. */
    void (*finish)(struct objects_op *op);
    /* The process closes: tell the user with this status. */
    void (*cancel)(struct objects_op *op, int status);
    void (*free)(struct objects_op *op); /* what the op holds beside itself; may be NULL */
    size_t calls_count;
    struct objects_op_call *calls;
};

struct objects_op_call {
    struct bnd_shard_call call;
    struct objects_op *op;
    bool under_way;
};

/* Allocates an op of `bytes` (struct objects_op first) with room for `calls` calls, and counts it.
 * NULL with *out_rv BND_FULL, BND_NOMEM or BND_CANCELED. */
void *objects_op_create(struct bnd_objects *objects, size_t bytes, size_t calls, int *out_rv);
/* Sends call i. On an error nothing was sent; the op goes on waiting for the others. */
int objects_op_call(struct objects_op *op, size_t i, enum bnd_shard_call_kind kind, uint64_t gid,
                    struct bnd_slice payload);
/* Takes back calls under way, and frees the op without telling anyone. */
void objects_op_drop(struct objects_op *op);
/* Encodes and sends as call i. BND_NOMEM, and as objects_op_call. */
int objects_op_command(struct objects_op *op, size_t i, uint64_t gid,
                       const struct objects_command *command);
int objects_op_query(struct objects_op *op, size_t i, uint64_t gid,
                     const struct objects_query *query);

/* A version id or upload id. */
void objects_mint_id(struct bnd_objects *objects, uint8_t out[BND_OBJECT_ID_BYTES]);
uint64_t objects_gid(const struct bnd_objects *objects, const struct bnd_object_name *name);
/* BND_INVALID unless the key's length is in bounds. */
int objects_name_check(const struct bnd_object_name *name);
/* BND_INVALID if a list is too long. Wraps a view for a command. */
int objects_conditions_wrap(const struct bnd_object_conditions *conditions,
                            struct objects_conditions *out);
/* An object from an encoded manifest (copied) and segments. BND_CORRUPT, BND_NOMEM. */
int objects_object_decode(struct bnd_slice manifest, struct bnd_slice segments, uint64_t gid,
                          struct bnd_object *out);

/* Deletes an object without conditions, together with others (delete_batch.c). BND_FULL, BND_NOMEM,
 * BND_CANCELED. */
int objects_delete_add(struct bnd_objects *objects, struct bnd_object_delete *del,
                       const struct bnd_object_name *name);

/* Close: ends all, with callbacks. */
void objects_uploads_cancel(struct bnd_objects *objects);
void objects_readers_cancel(struct bnd_objects *objects);
void objects_deletes_cancel(struct bnd_objects *objects); /* after the ops' */

#endif
