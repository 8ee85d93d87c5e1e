/* Branches: forks without a name, for what takes longer than a transaction (ADR 0106). An export
 * reads one; an import writes one that holds its source, so that nothing else changes it, and then
 * takes its place. A branch is there as long as somebody renews its lease: when the process that
 * worked with it is gone, it is deleted, and its source is free again. */
#include "sql/fsm_private.h"

#include "base/error.h"
#include "sql/sql.h"

#define ENDED_MAX 16u /* leases that end with one command */

static void key_of(const struct sql_change *change, uint32_t number, struct sql_key *out) {
    sql_key_number(out, change->context->slot, SQL_TAG_LEASE, number);
}

/* BND_NOTFOUND: the number is no branch's. */
static int get_lease(const struct sql_change *change, uint32_t number, struct sql_lease_row *out) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_key key;
    key_of(change, number, &key);
    int rv = sql_change_get(change, &key, value);
    return rv != 0 ? rv : sql_lease_decode(sql_key_rest(&key), bnd_buf_slice(value), out);
}

static int put_lease(const struct sql_change *change, uint32_t number,
                     const struct sql_lease_row *row) {
    struct sql_fsm *fsm = change->fsm;
    struct sql_key key;
    key_of(change, number, &key);
    bnd_buf_reset(&fsm->value);
    sql_lease_encode(&fsm->value, &key, row);
    if (fsm->lease_known && row->until_ms < fsm->lease_ms) {
        fsm->lease_ms = row->until_ms;
    }
    return sql_change_put_value(change, &key);
}

static void drop_lease(const struct sql_change *change, uint32_t number) {
    struct sql_key key;
    key_of(change, number, &key);
    sql_change_delete(change, &key);
}

/* ---- begin, go on -----------------------------------------------------------------------------*/

static int renew(const struct sql_change *change, const struct sql_database_row *branch) {
    const struct sql_command *command = change->command;
    struct sql_lease_row lease;
    int rv = get_lease(change, branch->record.number, &lease);
    if (rv != 0 && rv != BND_NOTFOUND) {
        return rv;
    }
    if (rv == BND_NOTFOUND || lease.holds != command->u.branch.holds ||
        memcmp(lease.source, command->u.branch.source, sizeof lease.source) != 0) {
        return BND_EXISTS;
    }
    lease.until_ms = change->context->stamp_ms + BND_SQL_LEASE_MS;
    rv = put_lease(change, branch->record.number, &lease);
    sql_record_encode(change->reply, &branch->record);
    bnd_sql_bookmark_append(change->reply, &lease.at);
    return rv;
}

/* What the branch begins as, and the number that the source has there. */
static int find_place(const struct sql_change *change, const struct sql_database_record *source,
                      struct sql_commit_record *out, uint32_t *out_number) {
    const struct sql_command *command = change->command;
    if (command->u.branch.past) {
        return sql_find_version(change, source, &command->u.branch.target, out, out_number);
    }
    *out = (struct sql_commit_record){
        .epoch = source->epoch, .version = source->version, .page_count = source->page_count};
    memcpy(out->hash, source->hash, sizeof out->hash);
    *out_number = source->number;
    return 0;
}

static int make(const struct sql_change *change, struct sql_database_row *source) {
    const struct sql_command *command = change->command;
    struct sql_commit_record at;
    struct sql_database_record made;
    uint32_t number = 0;
    int rv = find_place(change, &source->record, &at, &number);
    if (rv != 0) {
        return rv;
    }
    struct sql_lease_row lease = {.holds = command->u.branch.holds,
                                  .at = {.epoch = at.epoch, .version = at.version},
                                  .until_ms = change->context->stamp_ms + BND_SQL_LEASE_MS};
    memcpy(lease.branch, command->uuid, sizeof lease.branch);
    memcpy(lease.source, command->u.branch.source, sizeof lease.source);
    memcpy(lease.at.hash, at.hash, sizeof lease.at.hash);
    rv = sql_fork_make(change, number, &at, at.epoch + 1, &made);
    rv = rv != 0 ? rv : put_lease(change, made.number, &lease);
    bnd_sql_bookmark_append(change->reply, &lease.at);
    if (rv == 0 && lease.holds) {
        source->record.state = SQL_DATABASE_HELD;
        rv = sql_change_put_database(change, lease.source, source);
    }
    return rv;
}

int sql_apply_branch(const struct sql_change *change) {
    const struct sql_command *command = change->command;
    struct sql_database_row row;
    int rv = sql_change_database(change, command->uuid, &row);
    if (rv == 0) {
        return row.record.state == SQL_DATABASE_DELETED ? BND_NOTFOUND : renew(change, &row);
    }
    rv = rv == BND_NOTFOUND ? sql_change_live(change, command->u.branch.source, &row) : rv;
    if (rv != 0) {
        return rv;
    }
    if (command->u.branch.holds && row.record.state == SQL_DATABASE_HELD) {
        return BND_LOCKED;
    }
    if (row.record.version == BND_SQL_VERSION_MAX || row.record.epoch == UINT32_MAX) {
        return BND_FULL;
    }
    return make(change, &row);
}

/* ---- the end ----------------------------------------------------------------------------------*/

int sql_branch_ended(const struct sql_change *change, uint32_t number) {
    struct sql_lease_row lease;
    struct sql_database_row source;
    int rv = get_lease(change, number, &lease);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? 0 : rv;
    }
    drop_lease(change, number);
    if (!lease.holds) {
        return 0;
    }
    rv = sql_must(sql_change_database(change, lease.source, &source));
    if (rv != 0 || source.record.state != SQL_DATABASE_HELD) {
        return rv; /* it was deleted */
    }
    source.record.state = SQL_DATABASE_LIVE;
    return sql_change_put_database(change, lease.source, &source);
}

/* Leases that are over, at most ENDED_MAX; and when the first of the others is. */
static int find_ended(const struct sql_change *change, struct sql_lease_row *out, size_t *out_count,
                      uint64_t *out_next_ms) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct sql_key from;
    sql_key_tag(&from, change->context->slot, SQL_TAG_LEASE);
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter = sql_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    *out_count = 0;
    *out_next_ms = UINT64_MAX;
    for (; rv == 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct sql_lease_row row;
        rv =
            sql_lease_decode(bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES),
                             ops->iter_value(iter), &row);
        if (rv != 0) {
            break;
        }
        if (row.until_ms <= change->context->stamp_ms && *out_count < ENDED_MAX) {
            out[(*out_count)++] = row;
        } else if (row.until_ms < *out_next_ms) {
            *out_next_ms = row.until_ms;
        }
    }
    rv = rv == 0 ? ops->iter_status(iter) : rv;
    ops->iter_destroy(iter);
    return rv;
}

int sql_branches_end(const struct sql_change *change) {
    struct sql_fsm *fsm = change->fsm;
    struct sql_lease_row ended[ENDED_MAX];
    size_t count = 0;
    uint64_t next_ms = 0;
    if (change->context->time_suspended ||
        (fsm->lease_known && fsm->lease_ms > change->context->stamp_ms)) {
        return 0;
    }
    int rv = find_ended(change, ended, &count, &next_ms);
    for (size_t i = 0; rv == 0 && i < count; i++) {
        rv = sql_must(sql_database_delete(change, ended[i].branch));
    }
    if (rv == 0) {
        fsm->lease_known = true;
        fsm->lease_ms = next_ms;
    }
    return rv;
}

/* ---- in its source's place --------------------------------------------------------------------*/

/* The branch holds the database, was made on its present, and is as its maker left it. */
static int check_swap(const struct sql_change *change, const struct sql_database_row *database,
                      struct sql_database_row *out_branch, struct sql_epoch_row *out_epoch) {
    const struct sql_command *command = change->command;
    struct sql_lease_row lease;
    int rv = sql_change_live(change, command->u.swap.branch, out_branch);
    rv = rv != 0 ? rv : get_lease(change, out_branch->record.number, &lease);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? BND_PRECONDITION : rv;
    }
    const struct sql_database_record *record = &out_branch->record;
    rv = sql_must(sql_change_get_epoch(change, record->number, record->epoch, out_epoch));
    if (rv != 0) {
        return rv;
    }
    bool its_own = lease.holds && memcmp(lease.source, command->uuid, sizeof lease.source) == 0;
    bool on_present = out_epoch->parent_number == database->record.number &&
                      out_epoch->parent_epoch == database->record.epoch &&
                      out_epoch->parent_version == database->record.version;
    bool as_left = record->version == command->u.swap.version;
    if (!its_own || !on_present || !as_left) {
        return BND_PRECONDITION;
    }
    return record->version == BND_SQL_VERSION_MAX ? BND_FULL : 0;
}

/* The branch's number is the database's now, with one version more that has no pages: the first
 * that anybody sees. What was the database's goes on as what it stands upon. */
static int take_place(const struct sql_change *change, const struct sql_database_row *before,
                      struct sql_database_row *branch, struct sql_epoch_row *epoch) {
    const struct sql_fork_row target = {.epoch = branch->record.epoch,
                                        .version = branch->record.version};
    struct sql_database_row row = {.record = branch->record};
    row.record.state = SQL_DATABASE_LIVE;
    row.record.version++;
    row.record.stamp_ms = change->context->stamp_ms;
    row.record.created_ms = before->record.created_ms;
    sql_hash_without_pages(row.record.hash, row.record.version, row.record.page_count, &target);
    epoch->first_version = row.record.version;
    epoch->stamp_ms = row.record.stamp_ms;
    int rv = sql_database_begin(change, change->command->uuid, &row, epoch);
    branch->record.state = SQL_DATABASE_DELETED;
    branch->record.number = SQL_NUMBER_NONE; /* both are the database's, and are kept as its own */
    rv = rv != 0 ? rv : sql_change_put_database(change, change->command->u.swap.branch, branch);
    sql_reply_bookmark(change, &row.record);
    sql_reply_bookmark(change, &before->record);
    return rv;
}

int sql_apply_swap(const struct sql_change *change) {
    struct sql_database_row database;
    struct sql_database_row branch;
    struct sql_epoch_row epoch;
    int rv = sql_change_live(change, change->command->uuid, &database);
    rv = rv != 0 ? rv : check_swap(change, &database, &branch, &epoch);
    if (rv != 0) {
        return rv;
    }
    sql_staged_drop(change, &database);
    sql_staged_drop(change, &branch);
    drop_lease(change, branch.record.number);
    rv = take_place(change, &database, &branch, &epoch);
    return rv != 0 ? rv : sql_dead_add(change, database.record.number);
}
