/* Between the files of the state machine. */
#ifndef BND_OBJECTS_FSM_PRIVATE_H
#define BND_OBJECTS_FSM_PRIVATE_H

#include "objects/fsm.h"

/* One command being applied. */
struct objects_change {
    struct objects_fsm *fsm;
    const struct bnd_fsm_apply *context;
    const struct objects_command *command;
    struct bnd_buf *reply;
};

/* What is stored under a key of the batch, into *out (reset first). BND_NOTFOUND or a local error.
 */
int objects_change_get(const struct objects_change *change, const struct objects_key *key,
                       struct bnd_buf *out);
void objects_change_put(const struct objects_change *change, const struct objects_key *key,
                        struct bnd_slice value);
void objects_change_delete(const struct objects_change *change, const struct objects_key *key);
struct bnd_state_iter *objects_change_iter(const struct objects_change *change,
                                           const struct objects_key *from,
                                           const struct objects_key *to);

/* BND_LOCKED if the bucket is sealed. */
int objects_change_unsealed(const struct objects_change *change);

/* The object now under a key, decoded over *bytes. */
struct objects_old {
    struct bnd_buf bytes;
    struct bnd_buf table;
    struct bnd_object_meta meta;
    bool exists;
};
/* Loads it and checks the command's conditions against it: BND_PRECONDITION. */
int objects_old_load(const struct objects_change *change, struct objects_old *out);
/* Gives up its bodies, and its table. The manifest itself is left to be overwritten or deleted. */
int objects_old_release(const struct objects_change *change, const struct objects_old *old);
void objects_old_free(struct objects_old *old);

/* Bodies (fsm_bodies.c). */
int objects_body_late(const struct objects_change *change); /* BND_EXPIRED and one byte of reply */
int objects_body_add(const struct objects_change *change, const uint8_t *version, uint64_t size);
int objects_body_release(const struct objects_change *change, const uint8_t *version);
int objects_body_free_due(const struct objects_change *change, unsigned limit);

/* Commands. */
int objects_apply_put(const struct objects_change *change);
int objects_apply_delete(const struct objects_change *change);
int objects_apply_delete_many(const struct objects_change *change);
int objects_apply_create(const struct objects_change *change);
int objects_apply_part(const struct objects_change *change);
int objects_apply_complete(const struct objects_change *change);
int objects_apply_abort(const struct objects_change *change);
int objects_apply_seal(const struct objects_change *change);
int objects_apply_unseal(const struct objects_change *change);

/* Queries. */
int objects_read_head(const struct bnd_fsm_read *context, const struct objects_query *query,
                      struct bnd_buf *reply);
int objects_read_list(const struct bnd_fsm_read *context, const struct objects_query *query,
                      struct bnd_buf *reply);
int objects_read_parts(const struct bnd_fsm_read *context, const struct objects_query *query,
                       struct bnd_buf *reply);

#endif
