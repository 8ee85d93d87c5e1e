/* Group 0 without Raft: the map's transitions (placement/kv_map.h) made in one place. Nodes learn
 * of it late, what they tell is lost at times, and whoever does not reach a majority of the
 * machines does not reach it. */
#ifndef BND_TESTS_SIM_KV_ORACLE_H
#define BND_TESTS_SIM_KV_ORACLE_H

#include "tests/sim/kv/cluster.h"

/* Makes shards and namespaces; plans from now on. */
void simkv_oracle_start(struct simkv_cluster *cluster);
void simkv_oracle_end(struct simkv_cluster *cluster);

/* A life begins: it asks. */
void simkv_oracle_join(struct simkv_machine *machine);
/* From a node. */
void simkv_oracle_tell(struct simkv_machine *machine, const struct bnd_kv_tell *tell);
void simkv_oracle_ask(struct simkv_machine *machine);

bool simkv_oracle_reached(const struct simkv_machine *machine);
/* Every shard has the replicas it should have, all filled, and no horizon is open. */
bool simkv_oracle_settled(struct simkv_cluster *cluster);
void simkv_oracle_print(struct simkv_cluster *cluster); /* to stderr */
/* A namespace goes for ever, or another is made. */
void simkv_oracle_namespaces(struct simkv_cluster *cluster);

#endif
