/* Reads on this node's replica (sql_private.h): a request with a bookmark is run here once the
 * replica has come that far; one without constraint at once; one of no session once the replica has
 * all that was committed when it came (ADR 0108). What is not there within a moment, or turns out
 * to write, goes to the leader, which keeps every session's guarantees. */
#include "base/alloc.h"
#include "sql/sql_private.h"

#define WAIT_NS (UINT64_C(5) * BND_MS)
#define WAITS_MAX                                                                                  \
    2u /* a follower may hear of a commit 100 ms later, and the leader answers in one */

struct sql_replica_read {
    struct sql_local local;
    struct bnd_sql_call *call;
    struct bnd_timer timer; /* until it is looked again whether the version is there */
    unsigned waits;
    uint64_t version; /* at least, or SQL_READ_NEWEST */
    uint8_t uuid[BND_SQL_UUID_BYTES];
    size_t len;
    uint8_t request[];
};

static void forget(struct sql_replica_read *read) {
    struct bnd_sql_call *call = read->call;
    sql_local_cancel(&read->local);
    bnd_timer_stop(call->sql->config.env, &read->timer);
    call->replica = NULL;
    bnd_free(read);
}

void sql_replica_forget(struct bnd_sql_call *call) {
    forget(call->replica);
}

static void go_to_leader(struct sql_replica_read *read) {
    struct bnd_sql_call *call = read->call;
    int rv = sql_call_leader(call, read->uuid, bnd_slice(read->request, read->len));
    forget(read);
    if (rv != 0) {
        sql_call_end(call, rv, bnd_slice(NULL, 0));
    }
}

static void on_local(struct sql_local *local, int status, struct bnd_slice answer) {
    struct sql_replica_read *read = local->data;
    struct bnd_sql_call *call = read->call;
    if (status != 0) {
        go_to_leader(read);
        return;
    }
    forget(read);
    sql_call_end(call, 0, answer);
}

/* BND_BUSY: it will be looked again. */
static int look(struct sql_replica_read *read) {
    struct bnd_sql *sql = read->call->sql;
    uint64_t gid = 0;
    int rv = sql_gid(sql, read->uuid, &gid);
    rv = rv == 0 ? sql_leader_read(sql->leader, &read->local, gid, read->uuid, read->version,
                                   bnd_slice(read->request, read->len))
                 : rv;
    if (rv == BND_BUSY && read->waits++ < WAITS_MAX) {
        bnd_timer_start(sql->config.env, &read->timer, WAIT_NS);
        return 0;
    }
    return rv;
}

static void on_timer(struct bnd_timer *timer) {
    struct sql_replica_read *read = timer->data;
    if (look(read) != 0) {
        go_to_leader(read);
    }
}

int sql_replica_ask(struct bnd_sql_call *call, const uint8_t uuid[BND_SQL_UUID_BYTES],
                    struct bnd_slice request) {
    struct bnd_sql_request header;
    if (call->sql->leader == NULL || bnd_sql_request_decode(request, &header) != 0 ||
        header.session == BND_SQL_PRIMARY) {
        return BND_UNSUPPORTED;
    }
    struct sql_replica_read *read = bnd_zalloc(sizeof *read + request.len);
    if (read == NULL) {
        return BND_NOMEM;
    }
    struct bnd_sql_bookmark bookmark = {0};
    if (header.session == BND_SQL_BOOKMARK) {
        bnd_sql_bookmark_get(header.bookmark, &bookmark);
    }
    if (header.session == BND_SQL_NO_SESSION) {
        bookmark.version = SQL_READ_NEWEST;
    }
    read->local = (struct sql_local){.cb = on_local, .data = read};
    read->call = call;
    read->timer = (struct bnd_timer){.cb = on_timer, .data = read};
    read->version = bookmark.version;
    read->len = request.len;
    memcpy(read->uuid, uuid, BND_SQL_UUID_BYTES);
    memcpy(read->request, request.data, request.len);
    int rv = look(read);
    if (rv != 0) {
        bnd_free(read);
        return rv;
    }
    call->replica = read;
    return 0;
}
