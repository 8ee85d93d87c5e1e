/* The state machine's table, its access to the state, and queries. */
#include "sql/fsm.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "sql/fsm_private.h"

#define SCRATCH_KEPT_MAX (64u << 10) /* there is a machine per group */

/* ---- the state --------------------------------------------------------------------------------*/

int sql_change_get(const struct sql_change *change, const struct sql_key *key,
                   struct bnd_buf *out) {
    bnd_buf_reset(out);
    return change->context->state->ops->batch_get(change->context->batch, BND_CF_SQL,
                                                  sql_key_slice(key), out);
}

void sql_change_put(const struct sql_change *change, const struct sql_key *key,
                    struct bnd_slice value) {
    change->context->state->ops->batch_put(change->context->batch, BND_CF_SQL, sql_key_slice(key),
                                           value);
}

void sql_change_delete(const struct sql_change *change, const struct sql_key *key) {
    change->context->state->ops->batch_delete(change->context->batch, BND_CF_SQL,
                                              sql_key_slice(key));
}

struct bnd_state_iter *sql_change_iter(const struct sql_change *change, const struct sql_key *from,
                                       const struct sql_key *to) {
    return change->context->state->ops->batch_iter(change->context->batch, BND_CF_SQL,
                                                   sql_key_slice(from), sql_key_slice(to));
}

int sql_change_database(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                        struct sql_database_row *out) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_key key;
    sql_key_database(&key, change->context->slot, uuid);
    int rv = sql_change_get(change, &key, value);
    return rv != 0 ? rv : sql_database_decode(sql_key_rest(&key), bnd_buf_slice(value), out);
}

int sql_change_live(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                    struct sql_database_row *out) {
    int rv = sql_change_database(change, uuid, out);
    return rv == 0 && out->record.state == SQL_DATABASE_DELETED ? BND_NOTFOUND : rv;
}

int sql_change_put_value(const struct sql_change *change, const struct sql_key *key) {
    struct bnd_buf *value = &change->fsm->value;
    if (value->failed) {
        return BND_NOMEM;
    }
    sql_change_put(change, key, bnd_buf_slice(value));
    return 0;
}

int sql_change_put_database(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                            const struct sql_database_row *row) {
    struct sql_key key;
    sql_key_database(&key, change->context->slot, uuid);
    bnd_buf_reset(&change->fsm->value);
    sql_database_encode(&change->fsm->value, &key, row);
    return sql_change_put_value(change, &key);
}

int sql_change_put_commit(const struct sql_change *change, uint32_t number,
                          const struct sql_commit_row *row) {
    struct sql_key key;
    sql_key_commit(&key, change->context->slot, number, row->record.version);
    bnd_buf_reset(&change->fsm->value);
    sql_commit_encode(&change->fsm->value, &key, row);
    return sql_change_put_value(change, &key);
}

int sql_change_put_epoch(const struct sql_change *change, uint32_t number, uint32_t epoch,
                         const struct sql_epoch_row *row) {
    struct sql_key key;
    sql_key_pair(&key, change->context->slot, SQL_TAG_EPOCH, number, epoch);
    bnd_buf_reset(&change->fsm->value);
    sql_epoch_encode(&change->fsm->value, &key, row);
    sql_plan_clear(change->fsm);
    return sql_change_put_value(change, &key);
}

int sql_change_get_epoch(const struct sql_change *change, uint32_t number, uint32_t epoch,
                         struct sql_epoch_row *out) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_key key;
    sql_key_pair(&key, change->context->slot, SQL_TAG_EPOCH, number, epoch);
    int rv = sql_change_get(change, &key, value);
    return rv != 0 ? rv : sql_epoch_decode(sql_key_rest(&key), bnd_buf_slice(value), out);
}

int sql_change_first_epoch(const struct sql_change *change, uint32_t number, uint32_t *out_epoch,
                           struct sql_epoch_row *out) {
    struct sql_key from;
    sql_key_number(&from, change->context->slot, SQL_TAG_EPOCH, number);
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter = sql_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = sql_history_epoch_here(change->context->state, iter, out_epoch, out);
    change->context->state->ops->iter_destroy(iter);
    return rv;
}

void sql_hash_put(uint8_t out[BND_SQL_HASH_BYTES], struct bnd_slice bytes) {
    struct bnd_hash128 hash = bnd_hash128(bytes, 0);
    bnd_put_u64(out, hash.low);
    bnd_put_u64(out + 8, hash.high);
}

void sql_reply_bookmark(const struct sql_change *change, const struct sql_database_record *record) {
    struct bnd_sql_bookmark bookmark = {.epoch = record->epoch, .version = record->version};
    memcpy(bookmark.hash, record->hash, sizeof bookmark.hash);
    bnd_sql_bookmark_append(change->reply, &bookmark);
}

/* ---- commands ---------------------------------------------------------------------------------*/

static int fsm_open(void *self, uint64_t gid, uint32_t slot, struct bnd_state *state,
                    struct bnd_error *err) {
    struct sql_fsm *fsm = self;
    if (gid != fsm->gid) {
        return BND_FAIL(err, INVALID, "state machine of group %llx opened as %llx",
                        (unsigned long long)fsm->gid, (unsigned long long)gid);
    }
    fsm->slot = slot;
    fsm->state = state;
    fsm->due_known = false;
    fsm->pass_known = false;
    sql_plan_clear(fsm);
    fsm->lease_known = false;
    sql_heads_clear(fsm);
    if (fsm->hooks.opened != NULL) {
        fsm->hooks.opened(fsm->hooks.owner, fsm);
    }
    return 0;
}

static int dispatch(const struct sql_change *change) {
    switch (change->command->op) {
    case SQL_CREATE:
        return sql_apply_create(change);
    case SQL_DELETE:
        return sql_apply_delete(change);
    case SQL_COMMIT:
        return sql_apply_commit(change);
    case SQL_STAGE:
        return sql_apply_stage(change);
    case SQL_RESTORE:
        return sql_apply_restore(change);
    case SQL_FORK:
        return sql_apply_fork(change);
    case SQL_RETAIN:
        return sql_apply_retain(change);
    case SQL_BRANCH:
        return sql_apply_branch(change);
    case SQL_SWAP:
        return sql_apply_swap(change);
    case SQL_TICK:
        return 0; /* what it is for is done after every command */
    }
    return BND_INVALID;
}

static void trim(struct bnd_buf *scratch) {
    if (scratch->cap > SCRATCH_KEPT_MAX || scratch->failed) {
        bnd_buf_free(scratch);
    }
}

static int fsm_apply(void *self, const struct bnd_fsm_apply *context, struct bnd_slice bytes,
                     struct bnd_buf *reply) {
    struct sql_fsm *fsm = self;
    struct sql_command command;
    int rv = sql_command_decode(bytes, &command);
    if (rv != 0) {
        return rv;
    }
    struct sql_change change = {
        .fsm = fsm, .context = context, .command = &command, .reply = reply};
    rv = dispatch(&change);
    rv = rv != 0 ? rv : sql_branches_end(&change);
    if (rv == 0) {
        bool tick = command.op == SQL_TICK;
        rv = sql_dead_sweep(&change, tick ? SQL_SWEEP_TICK_MAX : SQL_SWEEP_COMMAND_MAX);
        rv = rv != 0 ? rv : sql_pass_step(&change, tick || command.op == SQL_RETAIN);
    }
    trim(&fsm->joined);
    trim(&fsm->unpacked);
    trim(&fsm->pages);
    trim(&fsm->value);
    return rv == 0 && reply->failed ? BND_NOMEM : rv;
}

/* ---- queries ----------------------------------------------------------------------------------*/

static int read_at_time(const struct bnd_fsm_read *context,
                        const struct sql_database_record *record, uint64_t stamp_ms,
                        struct bnd_buf *reply) {
    struct sql_commit_record commit;
    const struct sql_at at = {.state = context->state,
                              .slot = context->slot,
                              .number = record->number,
                              .epoch = record->epoch,
                              .version = record->version};
    int rv = sql_history_at_time(&at, record->cutoff, stamp_ms, &commit);
    if (rv != 0) {
        return rv;
    }
    struct bnd_sql_bookmark bookmark = {.epoch = commit.epoch, .version = commit.version};
    memcpy(bookmark.hash, commit.hash, sizeof bookmark.hash);
    bnd_sql_bookmark_append(reply, &bookmark);
    return 0;
}

static int fsm_read(void *self, const struct bnd_fsm_read *context, struct bnd_slice bytes,
                    struct bnd_buf *reply) {
    (void)self; /* nothing is kept beside the state */
    struct sql_query query;
    struct sql_database_record record;
    int rv = sql_query_decode(bytes, &query);
    rv = rv != 0 ? rv : sql_history_database(context->state, context->slot, query.uuid, &record);
    if (rv != 0) {
        return rv;
    }
    if (record.state == SQL_DATABASE_DELETED) {
        return BND_NOTFOUND;
    }
    switch (query.kind) {
    case SQL_QUERY_DATABASE:
        sql_record_encode(reply, &record);
        break;
    case SQL_QUERY_AT_TIME:
        rv = read_at_time(context, &record, query.stamp_ms, reply);
        break;
    }
    return rv == 0 && reply->failed ? BND_NOMEM : rv;
}

/* What frees is taken while the disk has its reserve, and what ends an import. */
static bool fsm_grows(void *self, struct bnd_slice command) {
    switch (command.len == 0 ? 0 : command.data[0]) {
    case SQL_CREATE:
    case SQL_COMMIT:
    case SQL_STAGE:
    case SQL_RESTORE:
    case SQL_FORK:
    case SQL_BRANCH:
        return true;
    default:
        return false;
    }
}

/* ---- life -------------------------------------------------------------------------------------*/

static void fsm_close(void *self) {
    struct sql_fsm *fsm = self;
    if (fsm->hooks.closed != NULL) {
        fsm->hooks.closed(fsm->hooks.owner, fsm);
    }
    sql_unpacker_destroy(fsm->unpacker);
    sql_plan_free(fsm);
    bnd_free(fsm->heads);
    bnd_buf_free(&fsm->joined);
    bnd_buf_free(&fsm->unpacked);
    bnd_buf_free(&fsm->pages);
    bnd_buf_free(&fsm->value);
    bnd_free(fsm);
}

int sql_fsm_create(uint64_t gid, const struct sql_fsm_hooks *hooks, struct bnd_fsm *out) {
    static const struct bnd_fsm_ops ops = {
        .open = fsm_open,
        .apply = fsm_apply,
        .read = fsm_read,
        .grows = fsm_grows,
        .close = fsm_close,
    };
    struct sql_fsm *fsm = bnd_zalloc(sizeof *fsm);
    if (fsm == NULL) {
        return BND_NOMEM;
    }
    int rv = sql_unpacker_create(&fsm->unpacker);
    if (rv != 0) {
        bnd_free(fsm);
        return rv;
    }
    if (hooks != NULL) {
        fsm->hooks = *hooks;
    }
    fsm->gid = gid;
    *out = (struct bnd_fsm){.ops = &ops, .self = fsm};
    return 0;
}
