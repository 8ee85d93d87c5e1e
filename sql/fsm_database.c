/* Databases as a whole: made, deleted, restored, forked. */
#include "sql/fsm_private.h"

#include "base/error.h"

void sql_hash_without_pages(uint8_t hash[BND_SQL_HASH_BYTES], uint64_t version, uint32_t page_count,
                            const struct sql_fork_row *target) {
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
    return rv == 0 && *out == SQL_NUMBER_NONE ? BND_FULL : rv;
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
    if (row.record.state == SQL_DATABASE_DELETED) {
        return BND_NOTFOUND;
    }
    sql_record_encode(change->reply, &row.record);
    return BND_EXISTS;
}

int sql_database_begin(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                       const struct sql_database_row *row, const struct sql_epoch_row *epoch) {
    const struct sql_database_record *record = &row->record;
    struct sql_commit_row commit = {.record = {.epoch = record->epoch,
                                               .version = record->version,
                                               .stamp_ms = record->stamp_ms,
                                               .page_count = record->page_count}};
    memcpy(commit.record.hash, record->hash, sizeof record->hash);
    int rv = sql_change_put_epoch(change, record->number, record->epoch, epoch);
    rv = rv != 0 ? rv : sql_change_put_commit(change, record->number, &commit);
    return rv != 0 ? rv : sql_change_put_database(change, uuid, row);
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
    rv = sql_database_begin(change, change->command->uuid, &row, &epoch);
    rv = rv != 0 ? rv : put_next_number(change, row.record.number + 1);
    sql_record_encode(change->reply, &row.record);
    return rv;
}

int sql_database_delete(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct sql_database_row row;
    int rv = sql_change_database(change, uuid, &row);
    if (rv != 0 || row.record.state == SQL_DATABASE_DELETED) {
        return rv;
    }
    sql_staged_drop(change, &row);
    row.record.state = SQL_DATABASE_DELETED;
    rv = sql_change_put_database(change, uuid, &row);
    rv = rv != 0 ? rv : sql_branch_ended(change, row.record.number);
    return rv != 0 ? rv : sql_dead_add(change, row.record.number);
}

int sql_apply_delete(const struct sql_change *change) {
    return sql_database_delete(change, change->command->uuid);
}

/* The number that a database had in the target's epoch, with the epoch's record: its own, or one
 * that it had before an import gave it its own. BND_NOTFOUND: no such epoch, it was not the
 * database's at that version, or it ended below the cutoff. */
static int find_epoch(const struct sql_change *change, const struct sql_database_record *record,
                      const struct bnd_sql_bookmark *target, uint32_t *number,
                      struct sql_epoch_row *out) {
    *number = record->number;
    for (;;) {
        struct sql_epoch_row row;
        uint32_t first = 0;
        int rv = sql_change_get_epoch(change, *number, target->epoch, out);
        if (rv != BND_NOTFOUND || record->cutoff > 0) {
            return rv;
        }
        rv = sql_must(sql_change_first_epoch(change, *number, &first, &row));
        if (rv != 0) {
            return rv;
        }
        /* Of what it was some may be gone, and then so is what it was before. */
        if (target->epoch >= first || row.parent_number == *number || row.cutoff > 0) {
            return *number == record->number ? BND_CORRUPT : BND_NOTFOUND;
        }
        if (target->version > row.parent_version) {
            return BND_NOTFOUND; /* the import had come by then */
        }
        *number = row.parent_number;
    }
}

/* BND_NOTFOUND: when the import came, the version was not kept any more of what is the former
 * number since. A pass that is under way gives the cutoff to its first epoch first. */
static int check_former(const struct sql_change *change, uint32_t number, uint64_t version) {
    struct sql_epoch_row first;
    uint32_t epoch = 0;
    int rv = sql_must(sql_change_first_epoch(change, number, &epoch, &first));
    return rv == 0 && version < first.cutoff ? BND_NOTFOUND : rv;
}

int sql_find_version(const struct sql_change *change, const struct sql_database_record *record,
                     const struct bnd_sql_bookmark *target, struct sql_commit_record *out,
                     uint32_t *out_number) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_commit_row row;
    struct sql_epoch_row epoch;
    struct sql_key key;
    uint32_t number = 0;
    bool kept = target->version >= record->cutoff || !sql_fsm_rule(change->fsm, SQL_RULE_CUTOFF);
    if (target->epoch > record->epoch || target->version > record->version || !kept) {
        return BND_NOTFOUND;
    }
    int rv = find_epoch(change, record, target, &number, &epoch);
    if (rv != 0 || target->version < epoch.first_version) {
        return rv != 0 ? rv : BND_NOTFOUND;
    }
    rv = number == record->number ? 0 : check_former(change, number, target->version);
    if (rv != 0) {
        return rv;
    }
    sql_key_commit(&key, change->context->slot, number, target->version);
    rv = sql_must(sql_change_get(change, &key, value));
    rv = rv != 0 ? rv : sql_commit_decode(sql_key_rest(&key), bnd_buf_slice(value), &row);
    if (rv != 0) {
        return rv;
    }
    *out = row.record;
    *out_number = number;
    bool same = row.record.epoch == target->epoch &&
                memcmp(row.record.hash, target->hash, sizeof target->hash) == 0;
    return same ? 0 : BND_NOTFOUND;
}

int sql_apply_restore(const struct sql_change *change) {
    const struct sql_fork_row target = {.epoch = change->command->u.restore.target.epoch,
                                        .version = change->command->u.restore.target.version};
    struct sql_database_row row;
    struct sql_commit_record commit;
    uint32_t number = 0;
    int rv = sql_change_live(change, change->command->uuid, &row);
    struct sql_database_record *record = &row.record;
    if (rv != 0) {
        return rv;
    }
    if (change->command->u.restore.base != record->version) {
        return BND_CONFLICT;
    }
    if (record->state == SQL_DATABASE_HELD) {
        return BND_LOCKED;
    }
    rv = sql_find_version(change, record, &change->command->u.restore.target, &commit, &number);
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
    sql_hash_without_pages(record->hash, record->version, record->page_count, &target);
    const struct sql_epoch_row epoch = {.parent_number = number,
                                        .parent_epoch = target.epoch,
                                        .parent_version = target.version,
                                        .first_version = record->version,
                                        .stamp_ms = record->stamp_ms};
    rv = sql_database_begin(change, change->command->uuid, &row, &epoch);
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

int sql_fork_make(const struct sql_change *change, uint32_t source,
                  const struct sql_commit_record *at, uint32_t epoch,
                  struct sql_database_record *out) {
    const struct sql_fork_row target = {.epoch = at->epoch, .version = at->version};
    struct sql_database_row row = {.record = {.state = SQL_DATABASE_LIVE,
                                              .epoch = epoch,
                                              .stamp_ms = change->context->stamp_ms,
                                              .created_ms = change->context->stamp_ms}};
    int rv = next_number(change, &row.record.number);
    if (rv != 0) {
        return rv;
    }
    row.record.version = at->version + 1;
    row.record.page_count = at->page_count;
    memcpy(row.record.hash, at->hash, sizeof at->hash);
    sql_hash_without_pages(row.record.hash, row.record.version, row.record.page_count, &target);
    const struct sql_epoch_row first = {.parent_number = source,
                                        .parent_epoch = target.epoch,
                                        .parent_version = target.version,
                                        .first_version = row.record.version,
                                        .stamp_ms = row.record.stamp_ms};
    rv = sql_database_begin(change, change->command->uuid, &row, &first);
    rv = rv != 0 ? rv : put_fork(change, source, row.record.number, &target);
    rv = rv != 0 ? rv : put_next_number(change, row.record.number + 1);
    sql_record_encode(change->reply, &row.record);
    *out = row.record;
    return rv;
}

int sql_apply_fork(const struct sql_change *change) {
    struct sql_database_row source;
    struct sql_database_record made;
    struct sql_commit_record commit;
    uint32_t number = 0;
    int rv = check_new(change);
    rv = rv != 0 ? rv : sql_change_live(change, change->command->u.fork.source, &source);
    rv = rv != 0 ? rv
                 : sql_find_version(change, &source.record, &change->command->u.fork.target,
                                    &commit, &number);
    if (rv != 0) {
        return rv;
    }
    return commit.version == BND_SQL_VERSION_MAX ? BND_FULL
                                                 : sql_fork_make(change, number, &commit, 0, &made);
}
