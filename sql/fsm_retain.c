/* The retention (ADR 0105): RETAIN gives a database a cutoff and begins a pass over its number,
 * which goes on with the commands after it and deletes what nobody can read any more:
 *
 *   epochs    those without a version that stays go; the others get the cutoff, so that who reads
 *             one below it is told, and never sees what is left there (history.c)
 *   pages     of each, the versions that nobody sees, but for what one that stays stands upon
 *   commits   those below the cutoff
 *
 * Invariants: 1. there is one pass at a time in a group; 2. nothing is deleted that a version from
 * the cutoff on, or a fork, needs: the plan is as the state was when the key was looked at, and the
 * state only ever needs less of what is below the cutoff; 3. what a step does follows from the
 * state and the entry alone, so it is the same on every replica. */
#include "sql/fsm_plan.h"

#include "base/error.h"

/* A pass begins with RETAIN, and goes on with each TICK and with every so many-th entry. */
#define TICK_KEYS_MAX 512u
#define ENTRIES_APART 32u
#define ENTRY_KEYS_MAX 256u
#define STEP_BYTES_MAX ((size_t)1 << 20) /* of values that are looked at */

struct pass {
    struct sql_pass_row row;
    uint8_t last[SQL_KEY_PAGE_BYTES]; /* what row.last points to */
    unsigned keys;                    /* that may still be looked at in this step */
    size_t bytes;
};

static void pass_key(const struct sql_change *change, struct sql_key *out) {
    sql_key_tag(out, change->context->slot, SQL_TAG_PASS);
}

/* BND_NOTFOUND: none is under way. */
static int pass_get(const struct sql_change *change, struct pass *out) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_key key;
    pass_key(change, &key);
    int rv = sql_change_get(change, &key, value);
    rv = rv != 0 ? rv : sql_pass_decode(sql_key_rest(&key), bnd_buf_slice(value), &out->row);
    if (rv == 0) {
        memcpy(out->last, out->row.last.data, out->row.last.len);
        out->row.last.data = out->last;
    }
    return rv;
}

static int pass_put(const struct sql_change *change, const struct sql_pass_row *row) {
    struct sql_key key;
    pass_key(change, &key);
    bnd_buf_reset(&change->fsm->value);
    sql_pass_encode(&change->fsm->value, &key, row);
    return sql_change_put_value(change, &key);
}

/* ---- a cutoff ---------------------------------------------------------------------------------*/

/* Versions below it were superseded for so long, in stamps. */
static int check_age(const struct sql_change *change, const struct sql_database_record *record) {
    struct bnd_buf *value = &change->fsm->value;
    uint64_t cutoff = change->command->u.retain.cutoff;
    uint64_t keep_ms = change->command->u.retain.keep_ms;
    struct sql_commit_row row;
    struct sql_key key;
    if (cutoff < record->cutoff || cutoff > record->version) {
        return BND_PRECONDITION;
    }
    sql_key_commit(&key, change->context->slot, record->number, cutoff);
    int rv = sql_change_get(change, &key, value);
    rv = rv != 0 ? rv : sql_commit_decode(sql_key_rest(&key), bnd_buf_slice(value), &row);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? BND_PRECONDITION : rv;
    }
    bool old = row.record.stamp_ms <= change->context->stamp_ms &&
               change->context->stamp_ms - row.record.stamp_ms >= keep_ms;
    return old || cutoff == record->cutoff ? 0 : BND_PRECONDITION;
}

/* One that was deleted waits for its forks, and is nobody's but theirs. */
static int check_deleted(const struct sql_change *change,
                         const struct sql_database_record *record) {
    struct sql_key key;
    sql_key_number(&key, change->context->slot, SQL_TAG_PINNED, record->number);
    int rv = sql_change_get(change, &key, &change->fsm->value);
    if (rv == BND_NOTFOUND || (rv == 0 && change->command->u.retain.cutoff != SQL_CUTOFF_ALL)) {
        return BND_PRECONDITION;
    }
    return rv;
}

/* What an import has made so far is nobody's history, and gets none of its own (ADR 0106). */
static int check_no_branch(const struct sql_change *change, uint32_t number) {
    struct sql_key key;
    sql_key_number(&key, change->context->slot, SQL_TAG_LEASE, number);
    int rv = sql_change_get(change, &key, &change->fsm->value);
    return rv == BND_NOTFOUND ? 0 : rv != 0 ? rv : BND_PRECONDITION;
}

int sql_apply_retain(const struct sql_change *change) {
    struct sql_database_row row;
    struct pass under_way;
    int rv = sql_change_database(change, change->command->uuid, &row);
    if (rv != 0) {
        return rv;
    }
    if (change->context->time_suspended) {
        return BND_PRECONDITION;
    }
    rv = row.record.state == SQL_DATABASE_LIVE ? check_age(change, &row.record)
                                               : check_deleted(change, &row.record);
    rv = rv != 0 ? rv : check_no_branch(change, row.record.number);
    if (rv != 0) {
        return rv;
    }
    rv = pass_get(change, &under_way);
    if (rv != BND_NOTFOUND) {
        return rv != 0 ? rv : BND_PRECONDITION;
    }
    const struct sql_pass_row begun = {.number = row.record.number,
                                       .cutoff = change->command->u.retain.cutoff};
    struct sql_key wish;
    row.record.cutoff = begun.cutoff;
    rv = sql_change_put_database(change, change->command->uuid, &row);
    rv = rv != 0 ? rv : pass_put(change, &begun);
    sql_key_number(&wish, change->context->slot, SQL_TAG_UNPINNED, begun.number);
    sql_change_delete(change, &wish);
    change->fsm->pass_known = true;
    change->fsm->passing = true;
    return rv;
}

int sql_unpinned(const struct sql_change *change, uint32_t parent,
                 const struct sql_fork_row *fork) {
    struct sql_epoch_row epoch;
    struct sql_key key;
    int rv = sql_change_get_epoch(change, parent, fork->epoch, &epoch);
    if (rv != 0 || epoch.cutoff <= fork->version) {
        return rv == BND_NOTFOUND ? 0 : rv; /* nothing was kept for it alone */
    }
    sql_key_number(&key, change->context->slot, SQL_TAG_UNPINNED, parent);
    bnd_buf_reset(&change->fsm->value);
    sql_number_encode(&change->fsm->value, &key, parent);
    return sql_change_put_value(change, &key);
}

/* ---- a step of a section ----------------------------------------------------------------------*/

static void looked_at(struct pass *pass, struct bnd_slice rest) {
    memcpy(pass->last, rest.data, rest.len);
    pass->row.last = bnd_slice(pass->last, rest.len);
    pass->keys--;
}

static void end_section(struct pass *pass) {
    pass->row.section++;
    pass->row.last.len = 0;
    pass->row.row_goes_on = false;
}

static int step_epoch(const struct sql_change *change, const struct pass *pass,
                      const struct sql_plan_epoch *epoch, const struct sql_key *key) {
    if (!epoch->stays) {
        sql_change_delete(change, key);
        return 0;
    }
    if (epoch->row.cutoff == pass->row.cutoff) {
        return 0;
    }
    struct sql_epoch_row row = epoch->row;
    row.cutoff = pass->row.cutoff;
    bnd_buf_reset(&change->fsm->value);
    sql_epoch_encode(&change->fsm->value, key, &row);
    return sql_change_put_value(change, key);
}

/* The plan is good for the whole step: what it says of the epochs that come does not change with
 * those that went. */
static int step_epochs(const struct sql_change *change, struct pass *pass) {
    const struct sql_plan *plan = NULL;
    int rv = sql_plan_get(change, pass->row.number, pass->row.cutoff, &plan);
    size_t i = 0;
    for (; rv == 0 && i < plan->epochs_count && pass->keys > 0; i++) {
        struct sql_key key;
        sql_key_pair(&key, change->context->slot, SQL_TAG_EPOCH, pass->row.number,
                     plan->epochs[i].epoch);
        if (pass->row.last.len > 0 &&
            memcmp(sql_key_rest(&key).data, pass->last, pass->row.last.len) <= 0) {
            continue;
        }
        rv = step_epoch(change, pass, &plan->epochs[i], &key);
        looked_at(pass, sql_key_rest(&key));
    }
    if (rv == 0 && i == plan->epochs_count) {
        end_section(pass);
    }
    sql_plan_clear(change->fsm);
    return rv;
}

#define ROW_BYTES (SQL_KEY_PAGE_BYTES - 8u) /* of a page's key: what its versions share */

/* A version of a page: *out_stays. */
static int look_at_page(const struct sql_plan *plan, struct pass *pass, struct bnd_slice rest,
                        struct bnd_slice value, bool *out_stays) {
    struct sql_page_value page;
    bool same =
        pass->row.last.len == SQL_KEY_PAGE_BYTES && memcmp(pass->last, rest.data, ROW_BYTES) == 0;
    uint64_t above = same ? ~bnd_get_be64(pass->last + ROW_BYTES) : UINT64_MAX;
    uint64_t version = ~bnd_get_be64(rest.data + ROW_BYTES);
    int rv = sql_page_value_decode(rest, value, &page);
    if (rv != 0) {
        return rv;
    }
    *out_stays = (same && pass->row.row_goes_on) ||
                 sql_plan_sees(plan, bnd_get_be32(rest.data + 9), version, above);
    pass->row.row_goes_on = *out_stays && page.form == SQL_PAGE_SPANS;
    return 0;
}

/* Of a commit nothing stays: the section ends at the cutoff. */
static int look_at(const struct sql_plan *plan, struct pass *pass, struct bnd_slice rest,
                   struct bnd_slice value, bool *out_stays) {
    *out_stays = false;
    if (pass->row.section == SQL_SECTION_COMMITS) {
        return rest.len <= SQL_KEY_PAGE_BYTES ? 0 : BND_CORRUPT; /* what pass->last has room for */
    }
    return rest.len == SQL_KEY_PAGE_BYTES ? look_at_page(plan, pass, rest, value, out_stays)
                                          : BND_CORRUPT;
}

static void section_range(const struct sql_change *change, const struct pass *pass,
                          struct sql_key *from, struct sql_key *to) {
    uint32_t slot = change->context->slot;
    if (pass->row.section == SQL_SECTION_COMMITS) {
        sql_key_commit(from, slot, pass->row.number, 0);
        sql_key_commit(to, slot, pass->row.number, pass->row.cutoff);
    } else {
        sql_key_number(from, slot, SQL_TAG_PAGE, pass->row.number);
        *to = *from;
        sql_key_past(to);
    }
    if (pass->row.last.len > 0) {
        sql_key_rest_set(from, slot, pass->row.last);
    }
}

/* Looks at what the step may; *doomed gets the keys, without slot, of what does not stay. */
static int walk(const struct sql_change *change, const struct sql_plan *plan, struct pass *pass,
                struct bnd_buf *doomed) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct sql_key from;
    struct sql_key to;
    section_range(change, pass, &from, &to);
    struct bnd_state_iter *iter = sql_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    bool more = false;
    for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct bnd_slice rest =
            bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES);
        bool stays = false;
        if (bnd_slice_eq(rest, pass->row.last)) {
            continue; /* it stayed */
        }
        more = pass->keys == 0 || pass->bytes >= STEP_BYTES_MAX;
        if (more) {
            break;
        }
        rv = look_at(plan, pass, rest, ops->iter_value(iter), &stays);
        pass->bytes += ops->iter_value(iter).len;
        if (rv == 0 && !stays) {
            bnd_buf_bytes(doomed, rest);
        }
        looked_at(pass, rest);
    }
    rv = rv != 0 ? rv : ops->iter_status(iter);
    ops->iter_destroy(iter);
    if (rv == 0 && !more) {
        end_section(pass);
    }
    return rv != 0 ? rv : doomed->failed ? BND_NOMEM : 0;
}

static int step_keys(const struct sql_change *change, struct pass *pass) {
    BND_AUTO_BUF struct bnd_buf doomed = {0};
    const struct sql_plan *plan = NULL;
    int rv = pass->row.section == SQL_SECTION_COMMITS
                 ? 0
                 : sql_plan_get(change, pass->row.number, pass->row.cutoff, &plan);
    rv = rv != 0 ? rv : walk(change, plan, pass, &doomed);
    if (rv != 0) {
        return rv;
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&doomed));
    while (r.rest.len > 0) {
        struct sql_key key;
        sql_key_rest_set(&key, change->context->slot, bnd_read_bytes(&r));
        sql_change_delete(change, &key);
        change->fsm->collected++;
    }
    return 0;
}

/* ---- a step of the pass -----------------------------------------------------------------------*/

static void end(const struct sql_change *change) {
    struct sql_key key;
    pass_key(change, &key);
    sql_change_delete(change, &key);
    change->fsm->passing = false;
}

int sql_pass_end(const struct sql_change *change, uint32_t number) {
    struct pass pass;
    int rv = pass_get(change, &pass);
    if (rv == 0 && pass.row.number == number) {
        end(change);
    }
    return rv == BND_NOTFOUND ? 0 : rv;
}

static int step(const struct sql_change *change, struct pass *pass) {
    int rv = 0;
    while (rv == 0 && pass->keys > 0 && pass->bytes < STEP_BYTES_MAX &&
           pass->row.section < SQL_SECTION_END) {
        rv = pass->row.section == SQL_SECTION_EPOCHS ? step_epochs(change, pass)
                                                     : step_keys(change, pass);
    }
    if (rv != 0) {
        return rv;
    }
    if (pass->row.section < SQL_SECTION_END) {
        return pass_put(change, &pass->row);
    }
    end(change);
    return 0;
}

int sql_pass_step(const struct sql_change *change, bool large) {
    struct sql_fsm *fsm = change->fsm;
    bool due =
        large || (change->context->index % ENTRIES_APART == 0 && change->context->position == 0);
    if (!due || (fsm->pass_known && !fsm->passing)) {
        return 0;
    }
    struct pass pass = {.keys = large ? TICK_KEYS_MAX : ENTRY_KEYS_MAX};
    int rv = pass_get(change, &pass);
    if (rv != 0 && rv != BND_NOTFOUND) {
        return rv;
    }
    fsm->pass_known = true;
    fsm->passing = rv == 0;
    return rv == 0 ? step(change, &pass) : 0;
}
