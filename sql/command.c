/* See command.h. */
#include "sql/command.h"

#include "base/error.h"
#include "sql/records.h"

static void encode_commit(struct bnd_buf *out, const struct sql_commit *commit) {
    bnd_buf_u32(out, commit->number);
    bnd_buf_u32(out, commit->epoch);
    bnd_buf_u64(out, commit->term);
    bnd_buf_u64(out, commit->base);
    bnd_buf_u32(out, commit->page_count);
    bnd_buf_u32(out, commit->pages_count);
    bnd_buf_u32(out, commit->pages_bytes);
    bnd_buf_u32(out, commit->answer_bytes);
    bnd_buf_u32(out, commit->staged);
    bnd_buf_append(out, commit->attempt, sizeof commit->attempt);
    bnd_buf_append_slice(out, commit->packed);
}

enum branch_of { BRANCH_OF_PRESENT = 0, BRANCH_THAT_HOLDS = 1, BRANCH_OF_VERSION = 2 };

static void encode_branch_of(struct bnd_buf *out, const struct sql_command *command) {
    if (command->u.branch.past) {
        bnd_buf_u8(out, BRANCH_OF_VERSION);
        bnd_sql_bookmark_append(out, &command->u.branch.target);
    } else {
        bnd_buf_u8(out, command->u.branch.holds ? BRANCH_THAT_HOLDS : BRANCH_OF_PRESENT);
    }
}

void sql_command_encode(struct bnd_buf *out, const struct sql_command *command) {
    bnd_buf_u8(out, (uint8_t)command->op);
    if (command->op == SQL_TICK) {
        return;
    }
    bnd_buf_append(out, command->uuid, sizeof command->uuid);
    switch (command->op) {
    case SQL_COMMIT:
        encode_commit(out, &command->u.commit);
        break;
    case SQL_STAGE:
        bnd_buf_u32(out, command->u.stage.number);
        bnd_buf_append(out, command->u.stage.attempt, sizeof command->u.stage.attempt);
        bnd_buf_u32(out, command->u.stage.part);
        bnd_buf_append_slice(out, command->u.stage.bytes);
        break;
    case SQL_RESTORE:
        bnd_buf_u64(out, command->u.restore.base);
        bnd_sql_bookmark_append(out, &command->u.restore.target);
        break;
    case SQL_FORK:
        bnd_buf_append(out, command->u.fork.source, sizeof command->u.fork.source);
        bnd_sql_bookmark_append(out, &command->u.fork.target);
        break;
    case SQL_RETAIN:
        bnd_buf_u64(out, command->u.retain.cutoff);
        bnd_buf_u64(out, command->u.retain.keep_ms);
        break;
    case SQL_BRANCH:
        bnd_buf_append(out, command->u.branch.source, sizeof command->u.branch.source);
        encode_branch_of(out, command);
        break;
    case SQL_SWAP:
        bnd_buf_append(out, command->u.swap.branch, sizeof command->u.swap.branch);
        bnd_buf_u64(out, command->u.swap.version);
        break;
    case SQL_CREATE:
    case SQL_DELETE:
    case SQL_TICK:
        break;
    }
}

static void read_commit(struct bnd_reader *r, struct sql_commit *out) {
    out->number = bnd_read_u32(r);
    out->epoch = bnd_read_u32(r);
    out->term = bnd_read_u64(r);
    out->base = bnd_read_u64(r);
    out->page_count = bnd_read_u32(r);
    out->pages_count = bnd_read_u32(r);
    out->pages_bytes = bnd_read_u32(r);
    out->answer_bytes = bnd_read_u32(r);
    out->staged = bnd_read_u32(r);
    bnd_read_into(r, out->attempt, sizeof out->attempt);
    out->packed = bnd_read_raw(r, r->rest.len);
    r->failed = r->failed || out->page_count == 0 || out->base >= BND_SQL_VERSION_MAX ||
                out->pages_bytes > SQL_CHANGE_SET_MAX || out->answer_bytes > SQL_ANSWER_KEPT_MAX ||
                out->staged > SQL_PARTS_MAX || (out->staged > 0 && out->packed.len > 0);
}

static void read_branch(struct bnd_reader *r, struct sql_command *out) {
    bnd_read_into(r, out->u.branch.source, sizeof out->u.branch.source);
    uint8_t of = bnd_read_u8(r);
    out->u.branch.holds = of == BRANCH_THAT_HOLDS;
    out->u.branch.past = of == BRANCH_OF_VERSION;
    if (out->u.branch.past) {
        bnd_sql_bookmark_read(r, &out->u.branch.target);
    }
    r->failed = r->failed || of > BRANCH_OF_VERSION;
}

int sql_command_decode(struct bnd_slice bytes, struct sql_command *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct sql_command command = {.op = 0};
    uint8_t op = bnd_read_u8(&r);
    if (op < SQL_CREATE || op > SQL_SWAP) {
        return BND_INVALID;
    }
    command.op = (enum sql_op)op;
    if (op != SQL_TICK) {
        bnd_read_into(&r, command.uuid, sizeof command.uuid);
    }
    switch (command.op) {
    case SQL_COMMIT:
        read_commit(&r, &command.u.commit);
        break;
    case SQL_STAGE:
        command.u.stage.number = bnd_read_u32(&r);
        bnd_read_into(&r, command.u.stage.attempt, sizeof command.u.stage.attempt);
        command.u.stage.part = bnd_read_u32(&r);
        command.u.stage.bytes = bnd_read_raw(&r, r.rest.len);
        r.failed = r.failed || command.u.stage.part >= SQL_PARTS_MAX ||
                   command.u.stage.bytes.len == 0 || command.u.stage.bytes.len > SQL_PART_BYTES;
        break;
    case SQL_RESTORE:
        command.u.restore.base = bnd_read_u64(&r);
        bnd_sql_bookmark_read(&r, &command.u.restore.target);
        break;
    case SQL_FORK:
        bnd_read_into(&r, command.u.fork.source, sizeof command.u.fork.source);
        bnd_sql_bookmark_read(&r, &command.u.fork.target);
        break;
    case SQL_RETAIN:
        command.u.retain.cutoff = bnd_read_u64(&r);
        command.u.retain.keep_ms = bnd_read_u64(&r);
        r.failed = r.failed || command.u.retain.cutoff > SQL_CUTOFF_ALL;
        break;
    case SQL_BRANCH:
        read_branch(&r, &command);
        break;
    case SQL_SWAP:
        bnd_read_into(&r, command.u.swap.branch, sizeof command.u.swap.branch);
        command.u.swap.version = bnd_read_u64(&r);
        break;
    case SQL_CREATE:
    case SQL_DELETE:
    case SQL_TICK:
        break;
    }
    if (!bnd_reader_done(&r)) {
        return BND_INVALID;
    }
    *out = command;
    return 0;
}

void sql_query_encode(struct bnd_buf *out, const struct sql_query *query) {
    bnd_buf_u8(out, (uint8_t)query->kind);
    bnd_buf_append(out, query->uuid, sizeof query->uuid);
    if (query->kind == SQL_QUERY_AT_TIME) {
        bnd_buf_u64(out, query->stamp_ms);
    }
}

int sql_query_decode(struct bnd_slice bytes, struct sql_query *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct sql_query query = {.kind = 0};
    uint8_t kind = bnd_read_u8(&r);
    bnd_read_into(&r, query.uuid, sizeof query.uuid);
    if (kind == SQL_QUERY_AT_TIME) {
        query.stamp_ms = bnd_read_u64(&r);
    }
    if (!bnd_reader_done(&r) || (kind != SQL_QUERY_DATABASE && kind != SQL_QUERY_AT_TIME)) {
        return BND_INVALID;
    }
    query.kind = (enum sql_query_kind)kind;
    *out = query;
    return 0;
}

void sql_record_encode(struct bnd_buf *out, const struct sql_database_record *record) {
    bnd_buf_u32(out, record->number);
    bnd_buf_u32(out, record->epoch);
    bnd_buf_u64(out, record->version);
    bnd_buf_u32(out, record->page_count);
    bnd_buf_u64(out, record->stamp_ms);
    bnd_buf_u64(out, record->created_ms);
    bnd_buf_append(out, record->hash, sizeof record->hash);
}

int sql_record_decode(struct bnd_slice bytes, struct sql_database_record *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct sql_database_record record = {.state = SQL_DATABASE_LIVE};
    record.number = bnd_read_u32(&r);
    record.epoch = bnd_read_u32(&r);
    record.version = bnd_read_u64(&r);
    record.page_count = bnd_read_u32(&r);
    record.stamp_ms = bnd_read_u64(&r);
    record.created_ms = bnd_read_u64(&r);
    bnd_read_into(&r, record.hash, sizeof record.hash);
    if (!bnd_reader_done(&r) || record.number == 0 || record.version > BND_SQL_VERSION_MAX) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}
