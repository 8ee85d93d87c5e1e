/* Clients of a simulated KV cluster: each stays with one node for a while, has one operation at a
 * time, and writes down in the history what it was told. An operation dies with the node it was
 * given to: then it may or may not have happened. */
#ifndef BND_TESTS_SIM_KV_CLIENTS_H
#define BND_TESTS_SIM_KV_CLIENTS_H

#include "tests/sim/kv/history.h"

struct simkv_clients;

/* Takes the cluster's `died`. think_ns: the most between two operations. */
struct simkv_clients *simkv_clients_create(struct simkv_cluster *cluster,
                                           struct simkv_history *history, size_t count,
                                           uint64_t think_ns);
/* After the machines are all down. */
void simkv_clients_destroy(struct simkv_clients *clients);
/* No new operations; those under way go on. */
void simkv_clients_stop(struct simkv_clients *clients);
/* From now on at most think_ns lie between a client's operations. */
void simkv_clients_hurry(struct simkv_clients *clients, uint64_t think_ns);
/* The next write that is acknowledged is the last: `behind` fires 1 ns after it, and there are no
 * new operations. NULL: not any more. */
void simkv_clients_stop_behind_ack(struct simkv_clients *clients, struct bnd_timer *behind);
bool simkv_clients_idle(const struct simkv_clients *clients);
/* Puts acknowledged since the last call. */
uint64_t simkv_clients_acked(struct simkv_clients *clients);

/* Reads every key of every namespace on every machine, and lists them, all at once: what the nodes
 * answer must be what they hold. Runs the world until done. */
void simkv_clients_read_all(struct simkv_clients *clients);

#endif
