/* See fsm_plan.h. */
#include "sql/fsm_plan.h"

#include "base/alloc.h"
#include "base/error.h"

#include <stdlib.h>

void sql_plan_clear(struct sql_fsm *fsm) {
    if (fsm->plan != NULL) {
        fsm->plan->number = 0;
    }
}

void sql_plan_free(struct sql_fsm *fsm) {
    if (fsm->plan != NULL) {
        bnd_free(fsm->plan->epochs);
        bnd_free(fsm->plan->pins);
        bnd_free(fsm->plan);
        fsm->plan = NULL;
    }
}

/* ---- what the state says ----------------------------------------------------------------------*/

static int add_epoch(struct sql_plan *plan, struct bnd_slice rest, struct bnd_slice value) {
    struct sql_plan_epoch *epoch = NULL;
    if (!BND_ROOM(plan->epochs, plan->epochs_count, plan->epochs_cap, 8)) {
        return BND_NOMEM;
    }
    epoch = &plan->epochs[plan->epochs_count];
    *epoch = (struct sql_plan_epoch){0};
    int rv = sql_epoch_decode(rest, value, &epoch->row);
    if (rv == 0) {
        epoch->epoch = bnd_get_be32(rest.data + 5);
        plan->epochs_count++;
    }
    return rv;
}

static int add_pin(struct sql_plan *plan, uint32_t epoch, uint64_t version) {
    if (!BND_ROOM(plan->pins, plan->pins_count, plan->pins_cap, 8)) {
        return BND_NOMEM;
    }
    plan->pins[plan->pins_count++] = (struct sql_plan_pin){.epoch = epoch, .version = version};
    return 0;
}

static int add_fork(struct sql_plan *plan, struct bnd_slice rest, struct bnd_slice value) {
    struct sql_fork_row fork;
    int rv = sql_fork_decode(rest, value, &fork);
    return rv != 0 ? rv : add_pin(plan, fork.epoch, fork.version);
}

/* Every key of a tag of the plan's number. */
static int look(const struct sql_change *change, struct sql_plan *plan, enum sql_tag tag,
                int (*add)(struct sql_plan *plan, struct bnd_slice rest, struct bnd_slice value)) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct sql_key from;
    sql_key_number(&from, change->context->slot, tag, plan->number);
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter = sql_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        rv = add(plan, bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES),
                 ops->iter_value(iter));
    }
    rv = rv != 0 ? rv : ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv;
}

/* ---- what stays -------------------------------------------------------------------------------*/

static struct sql_plan_epoch *find(const struct sql_plan *plan, uint32_t epoch) {
    size_t low = 0;
    size_t high = plan->epochs_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (plan->epochs[middle].epoch < epoch) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < plan->epochs_count && plan->epochs[low].epoch == epoch ? &plan->epochs[low] : NULL;
}

static int compare_pins(const void *one, const void *two) {
    const struct sql_plan_pin *a = one;
    const struct sql_plan_pin *b = two;
    if (a->epoch != b->epoch) {
        return a->epoch < b->epoch ? -1 : 1;
    }
    return a->version == b->version ? 0 : a->version < b->version ? -1 : 1;
}

/* An epoch's versions end where the next one's begin; if that one is gone, below the cutoff. The
 * first stays in any case, without its pages if nobody needs them: it says whose fork the number
 * is, which a restore to what was before two imports does not (ADR 0106). */
static void mark_ranges(struct sql_plan *plan) {
    for (size_t i = 0; i < plan->epochs_count; i++) {
        bool last = i + 1 == plan->epochs_count;
        plan->epochs[i].ranges = plan->cutoff < SQL_CUTOFF_ALL &&
                                 (last || plan->epochs[i + 1].row.first_version > plan->cutoff);
        plan->epochs[i].stays = plan->epochs[i].ranges || i == 0;
    }
}

static int mark_forks(struct sql_plan *plan) {
    for (size_t i = 0; i < plan->pins_count; i++) {
        struct sql_plan_epoch *epoch = find(plan, plan->pins[i].epoch);
        if (epoch == NULL) {
            return BND_CORRUPT;
        }
        epoch->stays = true;
    }
    return 0;
}

/* Parents are older: from the newest on, whoever stays keeps what it stands upon. */
static int mark_parents(struct sql_plan *plan) {
    for (size_t i = plan->epochs_count; i > 0; i--) {
        const struct sql_plan_epoch *epoch = &plan->epochs[i - 1];
        if (!epoch->stays || epoch->row.parent_number != plan->number) {
            continue;
        }
        struct sql_plan_epoch *parent = find(plan, epoch->row.parent_epoch);
        if (parent == NULL) {
            return BND_CORRUPT;
        }
        parent->stays = true;
        int rv = add_pin(plan, epoch->row.parent_epoch, epoch->row.parent_version);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int make(const struct sql_change *change, struct sql_plan *plan) {
    plan->epochs_count = 0;
    plan->pins_count = 0;
    int rv = look(change, plan, SQL_TAG_EPOCH, add_epoch);
    if (rv == 0 && sql_fsm_rule(change->fsm, SQL_RULE_PIN)) {
        rv = look(change, plan, SQL_TAG_FORK, add_fork);
    }
    if (rv != 0) {
        return rv;
    }
    mark_ranges(plan);
    rv = mark_forks(plan);
    rv = rv != 0 ? rv : mark_parents(plan);
    if (plan->pins_count > 0) {
        qsort(plan->pins, plan->pins_count, sizeof *plan->pins, compare_pins);
    }
    return rv;
}

int sql_plan_get(const struct sql_change *change, uint32_t number, uint64_t cutoff,
                 const struct sql_plan **out) {
    struct sql_fsm *fsm = change->fsm;
    if (fsm->plan == NULL) {
        fsm->plan = bnd_zalloc(sizeof *fsm->plan);
        if (fsm->plan == NULL) {
            return BND_NOMEM;
        }
    }
    struct sql_plan *plan = fsm->plan;
    if (plan->number != number || plan->cutoff != cutoff) {
        plan->number = number;
        plan->cutoff = cutoff;
        int rv = make(change, plan);
        if (rv != 0) {
            plan->number = 0;
            return rv;
        }
    }
    *out = plan;
    return 0;
}

static bool is_pinned(const struct sql_plan *plan, uint32_t epoch, uint64_t version,
                      uint64_t above) {
    const struct sql_plan_pin wanted = {.epoch = epoch, .version = version};
    size_t low = 0;
    size_t high = plan->pins_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_pins(&plan->pins[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < plan->pins_count && plan->pins[low].epoch == epoch &&
           plan->pins[low].version < above;
}

bool sql_plan_sees(const struct sql_plan *plan, uint32_t epoch, uint64_t version, uint64_t above) {
    const struct sql_plan_epoch *of = find(plan, epoch);
    if (of == NULL || !of->stays) {
        return false;
    }
    return (of->ranges && above > plan->cutoff) || is_pinned(plan, epoch, version, above);
}
