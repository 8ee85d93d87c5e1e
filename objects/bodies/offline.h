/* Bodies of a stopped node against what its groups' states say: for `bindery doctor --data`.
 * Blocking, reads only. */
#ifndef BND_OBJECTS_BODIES_OFFLINE_H
#define BND_OBJECTS_BODIES_OFFLINE_H

#include "engine/state.h"
#include "objects/bodies/file.h"

enum bnd_bodies_finding { BND_BODIES_MISSING, BND_BODIES_DAMAGED };

struct bnd_bodies_check {
    struct bnd_env *env;
    struct bnd_state *state;
    const char *dir; /* DATA/bodies */
    /* path and text are borrowed for the call. */
    void (*found)(void *data, enum bnd_bodies_finding what, const char *path, const char *text);
    void *data;
    uint64_t referenced, present, bytes, missing, damaged; /* out, over all groups */
};

/* Verifies every block of every body that the state of group gid, in that slot, refers to; bodies
 * about to be freed may be absent. 0, whatever was found; BND_CORRUPT, BND_IO, BND_NOMEM: the state
 * cannot be read. */
int bnd_bodies_check_group(struct bnd_bodies_check *check, uint64_t gid, uint32_t slot,
                           struct bnd_error *err);

#endif
