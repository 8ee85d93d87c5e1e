/* The state machine of group 0. */
#ifndef BND_CATALOG_FSM_H
#define BND_CATALOG_FSM_H

#include "raft/fsm.h"

/* Fills *out; the machine keeps nothing in memory, so it needs no closing and cannot fail. */
void bnd_catalog_fsm_make(struct bnd_fsm *out);

#endif
