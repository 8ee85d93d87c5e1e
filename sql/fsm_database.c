/* Databases as a whole: made, deleted, restored, forked. */
#include "sql/fsm_private.h"

#include "base/error.h"

/* Of a version without a change set: upon the hash before it. */
static void hash_without_pages(uint8_t hash[BND_SQL_HASH_BYTES], uint64_t version,
                               uint32_t page_count, const struct sql_fork_row *target) {
    uint8_t bytes[BND_SQL_HASH_BYTES + 8 + 4 + 4 + 8];
    memcpy(bytes, hash, BND_SQL_HASH_BYTES);
    bnd_put_u64(bytes + 16, version);
    bnd_put_u32(bytes + 24, page_count);
    bnd_put_u32(bytes + 28, target->epoch);
    bnd_put_u64(bytes + 32, target->version);
    sql_hash_put(hash, bnd_slice(bytes, sizeof bytes));
}

/* A number that was never given out. The counter's new value is written last of all. */
static int next_number(const struct sql_change *change, uint32_t *out) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_key key;
    sql_key_tag(&key, change->context->slot, SQL_TAG_COUNTERS);
    int rv = sql_change_get(change, &key, value);
    if (rv == BND_NOTFOUND) {
        *out = 1;
        return 0;
    }
    rv = rv != 0 ? rv : sql_number_decode(sql_key_rest(&key), bnd_buf_slice(value), out);
    if (rv == 0 && *out == 0) {
        return BND_CORRUPT;
    }
    return rv == 0 && *out == UINT32_MAX ? BND_FULL : rv;
}

static int put_next_number(const struct sql_change *change, uint32_t number) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_key key;
    sql_key_tag(&key, change->context->slot, SQL_TAG_COUNTERS);
    bnd_buf_reset(value);
    sql_number_encode(value, &key, number);
    return sql_change_put_value(change, &key);
}

/* Nothing stands under the command's uuid. Else EXISTS and its record, or NOTFOUND: it was deleted.
 */
static int check_new(const struct sql_change *change) {
    struct sql_database_row row;
    int rv = sql_change_database(change, change->command->uuid, &row);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? 0 : rv;
    }
    if (row.record.state != SQL_DATABASE_LIVE) {
        return BND_NOTFOUND;
    }
    sql_record_encode(change->reply, &row.record);
    return BND_EXISTS;
}

/* Writes the version that a database begins with, or that a restore makes: its commit record, its
 * epoch, its database record. */
static int put_beginning(const struct sql_change *change, const struct sql_database_row *row,
                         const struct sql_epoch_row *epoch) {
    const struct sql_database_record *record = &row->record;
    struct sql_commit_row commit = {.record = {.epoch = record->epoch,
                                               .version = record->version,
                                               .stamp_ms = record->stamp_ms,
                                               .page_count = record->page_count}};
    memcpy(commit.record.hash, record->hash, sizeof record->hash);
    int rv = sql_change_put_epoch(change, record->number, record->epoch, epoch);
    rv = rv != 0 ? rv : sql_change_put_commit(change, record->number, &commit);
    return rv != 0 ? rv : sql_change_put_database(change, change->command->uuid, row);
}

int sql_apply_create(const struct sql_change *change) {
    struct sql_database_row row = {.record = {.state = SQL_DATABASE_LIVE,
                                              .stamp_ms = change->context->stamp_ms,
                                              .created_ms = change->context->stamp_ms}};
    struct sql_epoch_row epoch = {.stamp_ms = change->context->stamp_ms};
    int rv = check_new(change);
    rv = rv != 0 ? rv : next_number(change, &row.record.number);
    if (rv != 0) {
        return rv;
    }
    sql_hash_put(row.record.hash, bnd_slice(change->command->uuid, sizeof change->command->uuid));
    rv = put_beginning(change, &row, &epoch);
    rv = rv != 0 ? rv : put_next_number(change, row.record.number + 1);
    sql_record_encode(change->reply, &row.record);
    return rv;
}

int sql_apply_delete(const struct sql_change *change) {
    struct sql_database_row row;
    int rv = sql_change_database(change, change->command->uuid, &row);
    if (rv != 0 || row.record.state == SQL_DATABASE_DELETED) {
        return rv;
    }
    sql_staged_drop(change, &row);
    row.record.state = SQL_DATABASE_DELETED;
    rv = sql_change_put_database(change, change->command->uuid, &row);
    return rv != 0 ? rv : sql_dead_add(change, row.record.number);
}

/* A version that a database has or had, whatever epoch it is in. BND_NOTFOUND: there is none, it is
 * not kept any more, or it is another than the bookmark is of: another database's. */
static int find_version(const struct sql_change *change, const struct sql_database_record *record,
                        const struct bnd_sql_bookmark *target, struct sql_commit_record *out) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_commit_row row;
    struct sql_epoch_row epoch;
    struct sql_key key;
    bool kept = target->version >= record->cutoff || !sql_fsm_rule(change->fsm, SQL_RULE_CUTOFF);
    if (target->epoch > record->epoch || target->version > record->version || !kept) {
        return BND_NOTFOUND;
    }
    int rv = sql_change_get_epoch(change, record->number, target->epoch, &epoch);
    if (rv == BND_NOTFOUND && record->cutoff > 0) {
        return rv; /* an epoch that ended below the cutoff */
    }
    if (rv != 0 || target->version < epoch.first_version) {
        return rv != 0 ? sql_must(rv) : BND_NOTFOUND;
    }
    sql_key_commit(&key, change->context->slot, record->number, target->version);
    rv = sql_must(sql_change_get(change, &key, value));
    rv = rv != 0 ? rv : sql_commit_decode(sql_key_rest(&key), bnd_buf_slice(value), &row);
    if (rv != 0) {
        return rv;
    }
    *out = row.record;
    bool same = row.record.epoch == target->epoch &&
                memcmp(row.record.hash, target->hash, sizeof target->hash) == 0;
    return same ? 0 : BND_NOTFOUND;
}

int sql_apply_restore(const struct sql_change *change) {
    const struct sql_fork_row target = {.epoch = change->command->u.restore.target.epoch,
                                        .version = change->command->u.restore.target.version};
    struct sql_database_row row;
    struct sql_commit_record commit;
    int rv = sql_change_live(change, change->command->uuid, &row);
    struct sql_database_record *record = &row.record;
    if (rv != 0) {
        return rv;
    }
    if (change->command->u.restore.base != record->version) {
        return BND_CONFLICT;
    }
    rv = find_version(change, record, &change->command->u.restore.target, &commit);
    if (rv != 0) {
        return rv;
    }
    if (record->version == BND_SQL_VERSION_MAX || record->epoch == UINT32_MAX) {
        return BND_FULL;
    }
    const struct sql_database_record before = *record;
    record->version++;
    record->epoch++;
    record->page_count = commit.page_count;
    record->stamp_ms = change->context->stamp_ms;
    hash_without_pages(record->hash, record->version, record->page_count, &target);
    const struct sql_epoch_row epoch = {.parent_number = record->number,
                                        .parent_epoch = target.epoch,
                                        .parent_version = target.version,
                                        .first_version = record->version,
                                        .stamp_ms = record->stamp_ms};
    rv = put_beginning(change, &row, &epoch);
    sql_reply_bookmark(change, record);
    sql_reply_bookmark(change, &before);
    return rv;
}

/* Says in the state that the source must be kept for the fork. */
static int put_fork(const struct sql_change *change, uint32_t source, uint32_t number,
                    const struct sql_fork_row *fork) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_key key;
    sql_key_pair(&key, change->context->slot, SQL_TAG_FORK, source, number);
    sql_plan_clear(change->fsm);
    bnd_buf_reset(value);
    sql_fork_encode(value, &key, fork);
    return sql_change_put_value(change, &key);
}

static int find_source(const struct sql_change *change, const struct bnd_sql_bookmark *target,
                       struct sql_database_row *out, struct sql_commit_record *out_commit) {
    int rv = sql_change_live(change, change->command->u.fork.source, out);
    return rv != 0 ? rv : find_version(change, &out->record, target, out_commit);
}

int sql_apply_fork(const struct sql_change *change) {
    const struct sql_fork_row target = {.epoch = change->command->u.fork.target.epoch,
                                        .version = change->command->u.fork.target.version};
    struct sql_database_row source;
    struct sql_commit_record commit;
    struct sql_database_row row = {.record = {.state = SQL_DATABASE_LIVE,
                                              .stamp_ms = change->context->stamp_ms,
                                              .created_ms = change->context->stamp_ms}};
    int rv = check_new(change);
    rv = rv != 0 ? rv : find_source(change, &change->command->u.fork.target, &source, &commit);
    rv = rv != 0 ? rv : next_number(change, &row.record.number);
    if (rv != 0) {
        return rv;
    }
    if (commit.version == BND_SQL_VERSION_MAX) {
        return BND_FULL;
    }
    row.record.version = commit.version + 1;
    row.record.page_count = commit.page_count;
    memcpy(row.record.hash, commit.hash, sizeof commit.hash);
    hash_without_pages(row.record.hash, row.record.version, row.record.page_count, &target);
    const struct sql_epoch_row epoch = {.parent_number = source.record.number,
                                        .parent_epoch = target.epoch,
                                        .parent_version = target.version,
                                        .first_version = row.record.version,
                                        .stamp_ms = row.record.stamp_ms};
    rv = put_beginning(change, &row, &epoch);
    rv = rv != 0 ? rv : put_fork(change, source.record.number, row.record.number, &target);
    rv = rv != 0 ? rv : put_next_number(change, row.record.number + 1);
    sql_record_encode(change->reply, &row.record);
    return rv;
}
