/* Shared by the files of the core; free of the library's types. */
#ifndef BND_RAFT_CORE_PRIVATE_H
#define BND_RAFT_CORE_PRIVATE_H

#include "raft/core.h"

/* Checks what was recovered (see bnd_core_open) and tells how many of config->entries are to be
 * left out at the beginning: all, when they end below the start. */
int core_check_recovered(const struct bnd_core_config *config, size_t *out_skip,
                         struct bnd_error *err);

#endif
