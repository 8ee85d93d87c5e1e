/* Databases made, deleted, looked at, restored, forked and branched (sql.h): plain commands and
 * queries of their groups (sql/command.h), which need no SQLite. */
#include "placement/shard.h"
#include "sql/sql_private.h"

#define RESTORE_ATTEMPTS_MAX 8u

enum kind {
    ADMIN_CREATE = 1,
    ADMIN_DELETE,
    ADMIN_INFO,
    ADMIN_AT_TIME,
    ADMIN_RESTORE_BASE, /* what is the version that it is made on? */
    ADMIN_RESTORE,
    ADMIN_FORK,
    ADMIN_BRANCH,
    ADMIN_SWAP,
};

void sql_admin_end(struct bnd_sql_admin *admin, int status) {
    bnd_link_remove(&admin->link);
    admin->cb(admin, status);
}

/* ---- replies
 * ---------------------------------------------------------------------------------------------- */

static int take_record(struct bnd_sql_admin *admin, struct bnd_slice reply) {
    struct sql_database_record record;
    int rv = sql_record_decode(reply, &record);
    if (rv != 0) {
        return rv;
    }
    admin->info = (struct bnd_sql_info){
        .bookmark = {.epoch = record.epoch, .version = record.version},
        .stamp_ms = record.stamp_ms,
        .created_ms = record.created_ms,
        .size_bytes = (uint64_t)record.page_count * SQL_PAGE_BYTES,
    };
    memcpy(admin->info.bookmark.hash, record.hash, BND_SQL_HASH_BYTES);
    return 0;
}

static int take_bookmarks(struct bnd_slice reply, struct bnd_sql_bookmark *first,
                          struct bnd_sql_bookmark *second) {
    struct bnd_reader r = bnd_reader(reply);
    bnd_sql_bookmark_read(&r, first);
    if (second != NULL) {
        bnd_sql_bookmark_read(&r, second);
    }
    return bnd_reader_done(&r) ? 0 : BND_CORRUPT;
}

static int take_branch(struct bnd_sql_admin *admin, struct bnd_slice reply) {
    if (reply.len < BND_SQL_BOOKMARK_BYTES) {
        return BND_CORRUPT;
    }
    size_t len = reply.len - BND_SQL_BOOKMARK_BYTES;
    int rv = take_record(admin, bnd_slice(reply.data, len));
    return rv != 0 ? rv
                   : take_bookmarks(bnd_slice(reply.data + len, BND_SQL_BOOKMARK_BYTES),
                                    &admin->previous, NULL);
}

static int restore(struct bnd_sql_admin *admin);
static int look(struct bnd_sql_admin *admin, enum kind kind, uint64_t stamp_ms);

/* The database changed between the look and the restore: look again. */
static int restore_again(struct bnd_sql_admin *admin) {
    return ++admin->attempts < RESTORE_ATTEMPTS_MAX ? look(admin, ADMIN_RESTORE_BASE, 0)
                                                    : BND_CONFLICT;
}

static void on_reply(struct bnd_shard_call *shard, int status, struct bnd_slice reply) {
    struct bnd_sql_admin *admin = shard->data;
    int rv = status;
    bool more = false;
    switch (admin->kind) {
    case ADMIN_CREATE:
    case ADMIN_FORK:
        if (status == 0 || status == BND_EXISTS) {
            rv = take_record(admin, reply);
            rv = rv == 0 ? status : rv;
        }
        break;
    case ADMIN_BRANCH:
        rv = status == 0 ? take_branch(admin, reply) : status;
        break;
    case ADMIN_INFO:
        rv = status == 0 ? take_record(admin, reply) : status;
        break;
    case ADMIN_AT_TIME:
        rv = status == 0 ? take_bookmarks(reply, &admin->bookmark, NULL) : status;
        break;
    case ADMIN_SWAP:
        rv = status == 0 ? take_bookmarks(reply, &admin->bookmark, &admin->previous) : status;
        break;
    case ADMIN_RESTORE_BASE:
        rv = status == 0 ? take_record(admin, reply) : status;
        more = rv == 0;
        rv = more ? restore(admin) : rv;
        break;
    case ADMIN_RESTORE:
        more = status == BND_CONFLICT;
        rv = more ? restore_again(admin) : status;
        rv = status == 0 ? take_bookmarks(reply, &admin->bookmark, &admin->previous) : rv;
        break;
    default:
        break;
    }
    if (!more || rv != 0) {
        sql_admin_end(admin, rv);
    }
}

/* ---- commands and queries
 * --------------------------------------------------------------------------------- */

static int send(struct bnd_sql_admin *admin, enum kind kind, enum bnd_shard_call_kind how,
                const struct bnd_buf *bytes) {
    uint64_t gid = 0;
    int rv = bytes->failed ? BND_NOMEM : sql_gid(admin->sql, admin->uuid, &gid);
    if (rv != 0) {
        return rv;
    }
    struct bnd_slice part = bnd_buf_slice(bytes);
    admin->kind = (uint8_t)kind;
    admin->shard = (struct bnd_shard_call){.cb = on_reply, .data = admin};
    rv = bnd_shard_call(admin->sql->client, &admin->shard, how, gid, &part, 1, 0);
    if (rv == 0 && !bnd_link_linked(&admin->link)) {
        bnd_list_push(&admin->sql->admins, &admin->link);
    }
    return rv;
}

static int command(struct bnd_sql_admin *admin, enum kind kind, struct sql_command *what) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    memcpy(what->uuid, admin->uuid, BND_SQL_UUID_BYTES);
    sql_command_encode(&bytes, what);
    return send(admin, kind, BND_SHARD_WRITE, &bytes);
}

static int look(struct bnd_sql_admin *admin, enum kind kind, uint64_t stamp_ms) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct sql_query query = {
        .kind = kind == ADMIN_AT_TIME ? SQL_QUERY_AT_TIME : SQL_QUERY_DATABASE,
        .stamp_ms = stamp_ms,
    };
    memcpy(query.uuid, admin->uuid, BND_SQL_UUID_BYTES);
    sql_query_encode(&bytes, &query);
    return send(admin, kind, BND_SHARD_READ, &bytes);
}

static int restore(struct bnd_sql_admin *admin) {
    struct sql_command what = {.op = SQL_RESTORE};
    what.u.restore.base = admin->info.bookmark.version;
    what.u.restore.target = admin->target;
    return command(admin, ADMIN_RESTORE, &what);
}

static void begin(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                  const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    admin->sql = sql;
    admin->link = (struct bnd_link){0};
    admin->attempts = 0;
    memcpy(admin->uuid, uuid, BND_SQL_UUID_BYTES);
}

int bnd_sql_create_database(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                            const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct sql_command what = {.op = SQL_CREATE};
    begin(sql, admin, uuid);
    return command(admin, ADMIN_CREATE, &what);
}

int bnd_sql_delete_database(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                            const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct sql_command what = {.op = SQL_DELETE};
    begin(sql, admin, uuid);
    return command(admin, ADMIN_DELETE, &what);
}

int bnd_sql_info(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                 const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    begin(sql, admin, uuid);
    return look(admin, ADMIN_INFO, 0);
}

int bnd_sql_at_time(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                    const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t stamp_ms) {
    begin(sql, admin, uuid);
    return look(admin, ADMIN_AT_TIME, stamp_ms);
}

int bnd_sql_restore(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                    const uint8_t uuid[BND_SQL_UUID_BYTES], const struct bnd_sql_bookmark *target) {
    begin(sql, admin, uuid);
    admin->target = *target;
    return look(admin, ADMIN_RESTORE_BASE, 0);
}

int bnd_sql_fork(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                 const uint8_t uuid[BND_SQL_UUID_BYTES], const struct bnd_sql_bookmark *at,
                 const uint8_t uuid_new[BND_SQL_UUID_BYTES]) {
    struct sql_command what = {.op = SQL_FORK};
    uint64_t from = 0;
    uint64_t to = 0;
    int rv = sql_gid(sql, uuid, &from);
    rv = rv == 0 ? sql_gid(sql, uuid_new, &to) : rv;
    if (rv != 0 || from != to) {
        return rv == 0 ? BND_INVALID : rv;
    }
    begin(sql, admin, uuid_new);
    memcpy(what.u.fork.source, uuid, BND_SQL_UUID_BYTES);
    what.u.fork.target = *at;
    return command(admin, ADMIN_FORK, &what);
}

int bnd_sql_branch(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                   const uint8_t uuid[BND_SQL_UUID_BYTES],
                   const uint8_t branch[BND_SQL_UUID_BYTES], bool holds) {
    struct sql_command what = {.op = SQL_BRANCH};
    begin(sql, admin, branch);
    memcpy(what.u.branch.source, uuid, BND_SQL_UUID_BYTES);
    what.u.branch.holds = holds;
    return command(admin, ADMIN_BRANCH, &what);
}

int bnd_sql_branch_at(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                      const uint8_t uuid[BND_SQL_UUID_BYTES],
                      const uint8_t branch[BND_SQL_UUID_BYTES], const struct bnd_sql_bookmark *at) {
    struct sql_command what = {.op = SQL_BRANCH};
    begin(sql, admin, branch);
    memcpy(what.u.branch.source, uuid, BND_SQL_UUID_BYTES);
    what.u.branch.past = true;
    what.u.branch.target = *at;
    return command(admin, ADMIN_BRANCH, &what);
}

int bnd_sql_swap(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                 const uint8_t uuid[BND_SQL_UUID_BYTES], const uint8_t branch[BND_SQL_UUID_BYTES],
                 uint64_t version) {
    struct sql_command what = {.op = SQL_SWAP};
    begin(sql, admin, uuid);
    memcpy(what.u.swap.branch, branch, BND_SQL_UUID_BYTES);
    what.u.swap.version = version;
    return command(admin, ADMIN_SWAP, &what);
}

/* Version 4 (RFC 9562); on average as many draws as there are shards. */
void bnd_sql_fork_uuid(struct bnd_sql *sql, const uint8_t uuid[BND_SQL_UUID_BYTES],
                       uint8_t out[BND_SQL_UUID_BYTES]) {
    uint64_t wanted = 0;
    uint64_t drawn = 0;
    int rv = sql_gid(sql, uuid, &wanted);
    do {
        sql->config.env->ops->random_secret(sql->config.env, out, BND_SQL_UUID_BYTES);
        out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
        out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
    } while (rv == 0 && sql_gid(sql, out, &drawn) == 0 && drawn != wanted);
}

void bnd_sql_admin_cancel(struct bnd_sql_admin *admin) {
    if (bnd_link_linked(&admin->link)) {
        bnd_link_remove(&admin->link);
        bnd_shard_call_cancel(&admin->shard);
    }
}
