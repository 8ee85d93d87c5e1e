/* A hash of every page of one version of a database, as this node's replica has it (sql.h): read in
 * slices on the pool, among the reads.
 *
 *   start ──> slice on the pool ──> still there? ──> the next slice ... ──> told
 *     ^  └── the pool has no room: a moment later ──┘
 *
 * Invariants: 1. what was read while the slot was replaced or the database deleted is not told; 2.
 * a run is in sql->digests until it is told; at its end the service waits for those on the pool. */
#include "base/alloc.h"
#include "base/hash.h"
#include "sql/leader_private.h"
#include "sql/sql_private.h"

#define SLICE_PAGES 512u
#define ROOM_NS (UINT64_C(10) * BND_MS)

struct run {
    struct bnd_link link;
    struct bnd_sql *sql;
    struct bnd_sql_digest *digest;
    uint8_t uuid[BND_SQL_UUID_BYTES];
    uint64_t gid;
    struct sql_at at;
    uint32_t next; /* page */
    int status;    /* of the slice */
    bool working;
    struct bnd_work work;
    struct bnd_timer timer;
};

static void end(struct run *run, int status) {
    struct bnd_sql_digest *digest = run->digest;
    bnd_link_remove(&run->link);
    bnd_timer_stop(run->sql->config.env, &run->timer);
    bnd_free(run);
    digest->cb(digest, status);
}

void sql_digests_close(struct bnd_sql *sql) {
    struct bnd_link waiting;
    struct bnd_link *link = NULL;
    bnd_list_take(&sql->digests, &waiting);
    while ((link = bnd_list_pop(&waiting)) != NULL) {
        struct run *run = BND_CONTAINER(link, struct run, link);
        bnd_list_push(&sql->digests, link);
        if (!run->working) {
            end(run, BND_CANCELED);
        }
    }
}

/* ---- a slice ----------------------------------------------------------------------------------*/

static void on_run(struct bnd_work *work) {
    struct run *run = work->data;
    struct bnd_sql_digest *digest = run->digest;
    struct sql_snapshot *snapshot = NULL;
    uint8_t page[SQL_PAGE_BYTES];
    uint32_t left = SLICE_PAGES;
    run->status = sql_snapshot_open(run->at.state, run->at.slot, &snapshot);
    while (run->status == 0 && run->next <= digest->pages && left-- > 0) {
        run->status = sql_snapshot_page(snapshot, &run->at, run->next, page, NULL);
        if (run->status == 0) {
            digest->hash = bnd_hash64(bnd_slice(page, sizeof page), digest->hash);
            run->next++;
        }
    }
    sql_snapshot_close(snapshot);
}

static bool still_there(const struct run *run) {
    struct bnd_raft_group_status status;
    struct sql_base now;
    return bnd_raft_group_status(run->sql->host, run->gid, &status) == 0 &&
           status.slot == run->at.slot &&
           sql_base_look(run->sql->leader, status.slot, run->uuid, &now) == 0 &&
           now.at.number == run->at.number;
}

static bool is_wanted(const struct run *run) {
    const struct bnd_sql_digest *digest = run->digest;
    return digest->wanted == NULL || digest->wanted(digest);
}

static void start(struct run *run);

static void on_done(struct bnd_work *work, int status) {
    struct run *run = work->data;
    run->working = false;
    sql_leader_worked(run->sql->leader, true);
    if (status != 0 || run->sql->closing || !is_wanted(run)) {
        end(run, BND_CANCELED);
    } else if (!still_there(run)) {
        end(run, BND_BUSY);
    } else if (run->status != 0) {
        run->digest->damaged = run->status == BND_CORRUPT ? run->next : 0;
        end(run, run->status);
    } else if (run->next <= run->digest->pages) {
        start(run);
    } else {
        end(run, 0);
    }
}

static void on_room(struct bnd_timer *timer) {
    struct run *run = timer->data;
    if (is_wanted(run)) {
        start(run);
    } else {
        end(run, BND_CANCELED);
    }
}

static void start(struct run *run) {
    run->work = (struct bnd_work){.run = on_run, .done = on_done, .data = run};
    run->working = sql_leader_work(run->sql->leader, &run->work, true) == 0;
    if (!run->working) {
        bnd_timer_start(run->sql->config.env, &run->timer, ROOM_NS);
    }
}

/* ---- what is read -----------------------------------------------------------------------------*/

/* The version that is asked for, into run->at and the digest. */
static int look(struct run *run, uint64_t version) {
    struct bnd_sql_digest *digest = run->digest;
    struct bnd_raft_group_status status;
    struct sql_commit_record commit;
    struct sql_base base;
    int rv = bnd_raft_group_status(run->sql->host, run->gid, &status);
    rv = rv != 0 ? BND_UNSUPPORTED : sql_base_look(run->sql->leader, status.slot, run->uuid, &base);
    if (rv != 0) {
        return rv == BND_DENIED ? BND_NOTFOUND : rv == BND_NOTFOUND ? BND_BUSY : rv;
    }
    version = version == 0 ? base.at.version : version;
    if (version > base.at.version) {
        return BND_BUSY;
    }
    rv = sql_history_commit(&base.at, version, &commit);
    if (rv != 0) {
        return rv;
    }
    run->at = base.at;
    run->at.epoch = commit.epoch;
    run->at.version = version;
    digest->at = (struct bnd_sql_bookmark){.epoch = commit.epoch, .version = version};
    memcpy(digest->at.hash, commit.hash, sizeof digest->at.hash);
    digest->pages = commit.page_count;
    return 0;
}

int bnd_sql_digest(struct bnd_sql *sql, struct bnd_sql_digest *digest,
                   const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version) {
    uint64_t gid = 0;
    int rv = sql->leader == NULL ? BND_UNSUPPORTED : sql_gid(sql, uuid, &gid);
    if (rv != 0) {
        return rv;
    }
    struct run *run = bnd_zalloc(sizeof *run);
    if (run == NULL) {
        return BND_NOMEM;
    }
    run->sql = sql;
    run->digest = digest;
    run->gid = gid;
    run->next = 1;
    run->timer = (struct bnd_timer){.cb = on_room, .data = run};
    memcpy(run->uuid, uuid, BND_SQL_UUID_BYTES);
    digest->hash = 0;
    digest->damaged = 0;
    rv = look(run, version);
    if (rv != 0) {
        bnd_free(run);
        return rv;
    }
    bnd_list_push(&sql->digests, &run->link);
    start(run);
    return 0;
}
