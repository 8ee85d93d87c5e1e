/* What the log says of clocks (ADR 0072): words only. */
#ifndef BND_NODE_CLOCK_TEXT_H
#define BND_NODE_CLOCK_TEXT_H

#include "base/env.h"

/* As bnd_raft_host_config.clock_changed and time_jumped are told. */
void node_tell_clock(struct bnd_env *env, int64_t ahead_ms, bool off);
void node_tell_jump(struct bnd_env *env, uint64_t gid, uint64_t from_ms, uint64_t to_ms);

#endif
