/* Repairing a damaged state from the other replicas, without hands (ADR 0086).
 *
 * A node that meets damaged bytes in its state marks its directory (file `damaged`) and stops with
 * status 75. Its next start finds the mark, verifies every table file, keeps the groups whose keys
 * lie in sound files, and makes the others anew, empty: their leaders fill them again. */
#ifndef BND_NODE_REPAIR_H
#define BND_NODE_REPAIR_H

#include "engine/rocks/rocks.h"
#include "node/identity.h"

/* Leaves the mark, with what was met. Any thread. Blocking. */
int node_repair_mark(struct bnd_env *env, const char *data, const char *what,
                     struct bnd_error *err);

/* Does nothing without the mark. Else, before state and journal are opened: as above; the mark goes
 * last, so that a crash anywhere begins it again. Runs env's loop meanwhile. BND_CORRUPT: a damaged
 * group has no other replica (nothing was changed), or the journal is damaged, too. BND_CANCELED:
 * the loop was stopped. BND_NOSPACE, BND_IO, BND_NOMEM. */
int node_repair_run(struct bnd_env *env, const char *data, const struct node_identity *identity,
                    struct bnd_error *err);

/* Opens the state of `data`: repaired before, if it is marked; marked and repaired at once, if it
 * cannot even be opened. Errors of both. */
int node_repair_open(const char *data, const struct node_identity *identity,
                     const struct bnd_rocks_config *config, struct bnd_state **out,
                     struct bnd_error *err);

#endif
