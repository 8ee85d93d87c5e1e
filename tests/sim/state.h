/* The simulated state: `struct bnd_state` in memory with the durability of engine/rocks
 * (engine/state.h).
 *
 * A store is the node's disk side and outlives incarnations: it holds the persisted version.
 * Opening it gives the state of one incarnation, which starts from that version; a crash of either
 * kind leaves what was persisted, with each persist under way finished or not. */
#ifndef BND_TESTS_SIM_STATE_H
#define BND_TESTS_SIM_STATE_H

#include "engine/state.h"
#include "tests/sim/env.h"

struct bnd_sim_store;

struct bnd_sim_store *bnd_sim_store_create(struct bnd_sim_world *world, uint64_t node);
/* No state may be open. NULL allowed. */
void bnd_sim_store_destroy(struct bnd_sim_store *store);
void bnd_sim_store_wipe(struct bnd_sim_store *store);

/* The state is gone after its close, or when the env ends by a crash. At most one is open. A close
 * finds no batch or iterator alive, or it aborts. */
struct bnd_state *bnd_sim_store_open(struct bnd_sim_store *store, struct bnd_sim_env *env);

/* A persist takes up to so long (default 30 ms). */
void bnd_sim_store_persist_max(struct bnd_sim_store *store, uint64_t duration_ns);
/* write answers BND_BUSY and no persist ends for so long. */
void bnd_sim_store_stall(struct bnd_sim_store *store, uint64_t duration_ns);
/* write and persist fail with this code from now on; 0: no more. */
void bnd_sim_store_fail(struct bnd_sim_store *store, int code);

/* A hash of the keys in [from, to) of all families, each without its first `skip` bytes (the slot),
 * and of their values: equal contents, equal hash. Of what is readable now, or of what is
 * persisted. */
uint64_t bnd_sim_store_hash(const struct bnd_sim_store *store, bool persisted_only,
                            struct bnd_slice from, struct bnd_slice to, size_t skip);

#endif
