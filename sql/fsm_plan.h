/* What of one number's history stays when its database has a cutoff (ADR 0105): every version from
 * the cutoff on; the versions that forks begin with; and what an epoch that stays stands upon.
 * Inside the state machine only.
 *
 * A plan is a look into the state and no more: it is made anew whenever epochs or forks change. */
#ifndef BND_SQL_FSM_PLAN_H
#define BND_SQL_FSM_PLAN_H

#include "sql/fsm_private.h"

struct sql_plan_epoch {
    uint32_t epoch;
    struct sql_epoch_row row;
    bool ranges; /* it has versions from the cutoff on */
    bool stays;
};

struct sql_plan_pin { /* the version as a whole stays, with what it stands upon */
    uint32_t epoch;
    uint64_t version;
};

struct sql_plan {
    uint32_t number; /* 0: there is none */
    uint64_t cutoff;
    struct sql_plan_epoch *epochs; /* rising */
    size_t epochs_count, epochs_cap;
    struct sql_plan_pin *pins; /* rising */
    size_t pins_count, pins_cap;
};

/* The machine's plan for a number. BND_CORRUPT, BND_IO, BND_NOMEM. */
int sql_plan_get(const struct sql_change *change, uint32_t number, uint64_t cutoff,
                 const struct sql_plan **out);
/* Does anybody who may read the epoch see this version of a page? above: the version of the page
 * that comes next in the epoch; UINT64_MAX: there is none. */
bool sql_plan_sees(const struct sql_plan *plan, uint32_t epoch, uint64_t version, uint64_t above);

#endif
