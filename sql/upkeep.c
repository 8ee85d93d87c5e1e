/* What the groups that this node leads are asked to delete (sql_private.h): the dead, and what the
 * retention does not keep. Only the leader asks; what is then done is the state machine's, which
 * asks the entry's stamp whether it may (ADR 0105).
 *
 * A lap over the databases of a group looks at a few with each tick, from the uuid on that was
 * looked at last. Nothing here has to be remembered: what is lost with a leader is asked for again.
 */
#include "base/alloc.h"
#include "sql/records.h"
#include "sql/sql_private.h"

#define TICK_NS (UINT64_C(5000) * BND_MS)
#define PASS_NS (UINT64_C(50) * BND_MS) /* between the steps of a pass */
#define LOOK_NS_MIN (UINT64_C(100) * BND_MS)
#define LOOKS_MAX 64u /* databases, with each tick, of all groups */
#define GROUP_LOOKS_MAX 16u
/* A pass looks at every page of a database. It is worth that when so many versions can go, or so
 * much of the time has passed again since. */
#define GAIN_MIN 64u
#define GAIN_PAGES 4u /* one version for so many pages */
#define LATE_PARTS 8u /* of keep_ms */
#define IDLE_FORK_MS UINT64_C(3600000)

/* ---- proposals --------------------------------------------------------------------------------*/

struct proposal {
    struct bnd_raft_propose propose; /* first */
    struct bnd_sql *sql;
    uint64_t gid;
    bool retains;
};

static struct sql_fsm *machine_of(struct bnd_sql *sql, uint64_t gid) {
    for (struct bnd_link *link = sql->machines.next; link != &sql->machines; link = link->next) {
        struct sql_fsm *fsm = BND_CONTAINER(link, struct sql_fsm, link);
        if (fsm->gid == gid) {
            return fsm;
        }
    }
    return NULL;
}

static void on_proposed(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct proposal *proposal = (struct proposal *)propose;
    struct sql_fsm *fsm = machine_of(proposal->sql, proposal->gid);
    (void)reply;
    proposal->sql->stats.cutoffs += proposal->retains && status == 0;
    if (fsm != NULL) {
        fsm->proposing = false;
    }
    bnd_free(proposal);
}

/* One at a time in a group. What cannot be proposed is asked for again with a later tick. */
static void propose(struct bnd_sql *sql, struct sql_fsm *fsm, const struct sql_command *command) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    if (fsm->proposing) {
        return;
    }
    struct proposal *proposal = bnd_zalloc(sizeof *proposal);
    sql_command_encode(&bytes, command);
    if (proposal == NULL || bytes.failed) {
        bnd_free(proposal);
        return;
    }
    *proposal = (struct proposal){
        .propose = {.id = {.minter = bnd_random(sql->config.env) | 1, .seq = 1},
                    .low_seq = 1,
                    .deadline_ms =
                        bnd_raft_group_stamp_ms(sql->host, fsm->gid) + 2 * TICK_NS / BND_MS,
                    .command = bnd_buf_slice(&bytes),
                    .cb = on_proposed},
        .sql = sql,
        .gid = fsm->gid,
        .retains = command->op == SQL_RETAIN,
    };
    fsm->proposing = bnd_raft_propose(sql->host, fsm->gid, &proposal->propose) == 0;
    if (!fsm->proposing) {
        bnd_free(proposal);
    }
}

static bool leads(const struct bnd_sql *sql, const struct sql_fsm *fsm) {
    struct bnd_raft_group_status status;
    return bnd_raft_group_status(sql->host, fsm->gid, &status) == 0 && status.ready;
}

static void on_tick(struct bnd_timer *timer) {
    struct bnd_sql *sql = timer->data;
    const struct sql_command tick = {.op = SQL_TICK};
    bnd_timer_start(sql->config.env, timer, TICK_NS);
    uint64_t wall_ms = bnd_wall_ms(sql->config.env); /* where nothing is written, no stamp moves */
    for (struct bnd_link *link = sql->machines.next; link != &sql->machines; link = link->next) {
        struct sql_fsm *fsm = BND_CONTAINER(link, struct sql_fsm, link);
        uint64_t stamp_ms = bnd_raft_group_stamp_ms(sql->host, fsm->gid);
        uint64_t now_ms = wall_ms > stamp_ms ? wall_ms : stamp_ms;
        bool due = !fsm->due_known || fsm->due_ms <= now_ms || !fsm->pass_known ||
                   !fsm->lease_known || fsm->lease_ms <= now_ms;
        if (due && leads(sql, fsm)) {
            propose(sql, fsm, &tick);
        }
    }
}

/* ---- a database that may get a cutoff ---------------------------------------------------------*/

static bool has_key(const struct sql_fsm *fsm, enum sql_tag tag, uint32_t number) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct sql_key key;
    sql_key_number(&key, fsm->slot, tag, number);
    return fsm->state->ops->get(fsm->state, BND_CF_SQL, sql_key_slice(&key), &value) == 0;
}

static bool is_old(const struct sql_at *at, uint64_t version, uint64_t before_ms) {
    struct sql_commit_record commit;
    return sql_history_commit(at, version, &commit) == 0 && commit.stamp_ms <= before_ms;
}

/* The cutoff that a live database should have; false: the one that it has. */
static bool draw_cutoff(const struct bnd_sql *sql, const struct sql_fsm *fsm,
                        const struct sql_database_record *record, uint64_t *out) {
    uint64_t now_ms = bnd_raft_group_stamp_ms(sql->host, fsm->gid);
    uint64_t keep_ms = sql->config.keep_ms;
    const struct sql_at at = {.state = fsm->state,
                              .slot = fsm->slot,
                              .number = record->number,
                              .epoch = record->epoch,
                              .version = record->version};
    struct sql_commit_record oldest;
    struct sql_commit_record cutoff;
    bool unpinned = has_key(fsm, SQL_TAG_UNPINNED, record->number);
    if (keep_ms == 0 || now_ms < keep_ms || sql_history_oldest(&at, record->cutoff, &oldest) != 0 ||
        !is_old(&at, oldest.version + 1, now_ms - keep_ms) ||
        sql_history_at_time(&at, record->cutoff, now_ms - keep_ms, &cutoff) != 0) {
        *out = record->cutoff;
        return unpinned;
    }
    uint64_t gain = cutoff.version - oldest.version;
    uint64_t worth = record->page_count / GAIN_PAGES;
    *out = cutoff.version;
    uint64_t late_ms = keep_ms + keep_ms / LATE_PARTS;
    return unpinned || gain >= (worth < GAIN_MIN ? GAIN_MIN : worth) ||
           (now_ms >= late_ms && is_old(&at, oldest.version + 1, now_ms - late_ms));
}

static bool wants_pass(const struct bnd_sql *sql, const struct sql_fsm *fsm,
                       const struct sql_database_record *record, uint64_t *out_cutoff) {
    if (record->state == SQL_DATABASE_LIVE) {
        return draw_cutoff(sql, fsm, record, out_cutoff);
    }
    *out_cutoff = SQL_CUTOFF_ALL;
    return has_key(fsm, SQL_TAG_PINNED, record->number) &&
           (record->cutoff != SQL_CUTOFF_ALL || has_key(fsm, SQL_TAG_UNPINNED, record->number));
}

/* ---- a fork that may have no name -------------------------------------------------------------*/

static bool is_fork(const struct sql_fsm *fsm, uint32_t number) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct sql_epoch_row first;
    struct sql_key key;
    sql_key_pair(&key, fsm->slot, SQL_TAG_EPOCH, number, 0);
    int rv = fsm->state->ops->get(fsm->state, BND_CF_SQL, sql_key_slice(&key), &value);
    return rv == 0 && sql_epoch_decode(sql_key_rest(&key), bnd_buf_slice(&value), &first) == 0 &&
           first.parent_number != 0;
}

static void tell_idle_fork(const struct bnd_sql *sql, const struct sql_fsm *fsm,
                           const struct sql_database_record *record) {
    if (sql->config.idle_fork != NULL && record->state == SQL_DATABASE_LIVE &&
        record->stamp_ms + IDLE_FORK_MS <= bnd_raft_group_stamp_ms(sql->host, fsm->gid) &&
        is_fork(fsm, record->number) && !has_key(fsm, SQL_TAG_LEASE, record->number)) {
        sql->config.idle_fork(sql->config.owner, fsm->looked_at);
    }
}

/* ---- laps -------------------------------------------------------------------------------------*/

/* Some databases behind fsm->looked_at: the first that wants a pass, into *out. One that is refused
 * it does so keep none of the others waiting. */
static bool look(const struct bnd_sql *sql, struct sql_fsm *fsm, unsigned *looks,
                 struct sql_command *out) {
    unsigned left = *looks < GROUP_LOOKS_MAX ? *looks : GROUP_LOOKS_MAX;
    const struct bnd_state_ops *ops = fsm->state->ops;
    struct sql_key from;
    struct sql_key to;
    bool found = false;
    sql_key_database(&from, fsm->slot, fsm->looked_at);
    from.bytes[from.len++] = 0; /* the first key above it */
    sql_key_tag(&to, fsm->slot, SQL_TAG_DATABASE);
    sql_key_past(&to);
    struct bnd_state_iter *iter =
        ops->iter(fsm->state, BND_CF_SQL, sql_key_slice(&from), sql_key_slice(&to));
    if (iter == NULL) {
        return false;
    }
    for (; !found && left > 0 && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct sql_database_row row;
        left--;
        (*looks)--;
        struct bnd_slice key = ops->iter_key(iter);
        struct bnd_slice rest =
            bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES);
        if (sql_database_decode(rest, ops->iter_value(iter), &row) != 0) {
            continue; /* whoever uses it is told */
        }
        memcpy(fsm->looked_at, rest.data + 1, sizeof fsm->looked_at);
        *out = (struct sql_command){.op = SQL_RETAIN};
        tell_idle_fork(sql, fsm, &row.record);
        found = wants_pass(sql, fsm, &row.record, &out->u.retain.cutoff) &&
                !has_key(fsm, SQL_TAG_LEASE, row.record.number);
        memcpy(out->uuid, fsm->looked_at, sizeof out->uuid);
        out->u.retain.keep_ms = sql->config.keep_ms;
    }
    if (!found && !ops->iter_valid(iter)) { /* the end of a lap */
        memset(fsm->looked_at, 0, sizeof fsm->looked_at);
    }
    ops->iter_destroy(iter);
    return found;
}

/* True: a pass is under way, and goes on soon. */
static bool retain(struct bnd_sql *sql, struct sql_fsm *fsm, unsigned *looks) {
    const struct sql_command tick = {.op = SQL_TICK};
    struct sql_command command;
    if (!fsm->pass_known || !leads(sql, fsm)) {
        return false;
    }
    if (fsm->passing) {
        propose(sql, fsm, &tick);
    } else if (!bnd_raft_time_suspended(sql->host, fsm->gid) && look(sql, fsm, looks, &command)) {
        propose(sql, fsm, &command);
    } else {
        return false;
    }
    return true;
}

static uint64_t look_ns(const struct bnd_sql *sql) {
    uint64_t ns = sql->config.keep_ms / (2 * LATE_PARTS) * BND_MS;
    ns = ns < LOOK_NS_MIN ? LOOK_NS_MIN : ns;
    return sql->config.keep_ms == 0 || ns > TICK_NS ? TICK_NS : ns;
}

static void on_retain(struct bnd_timer *timer) {
    struct bnd_sql *sql = timer->data;
    unsigned looks = LOOKS_MAX;
    bool passing = false;
    struct bnd_link *first = bnd_list_pop(&sql->machines);
    if (first != NULL) { /* each is the first in turn */
        bnd_list_push(&sql->machines, first);
    }
    for (struct bnd_link *link = sql->machines.next; link != &sql->machines; link = link->next) {
        passing |= retain(sql, BND_CONTAINER(link, struct sql_fsm, link), &looks);
    }
    bnd_timer_start(sql->config.env, timer, passing ? PASS_NS : look_ns(sql));
}

/* ---- life -------------------------------------------------------------------------------------*/

void sql_upkeep_init(struct bnd_sql *sql) {
    sql->tick = (struct bnd_timer){.cb = on_tick, .data = sql};
    sql->retain = (struct bnd_timer){.cb = on_retain, .data = sql};
}

void sql_upkeep_start(struct bnd_sql *sql) {
    bnd_timer_start(sql->config.env, &sql->tick, TICK_NS);
    bnd_timer_start(sql->config.env, &sql->retain, look_ns(sql));
}

void sql_upkeep_stop(struct bnd_sql *sql) {
    bnd_timer_stop(sql->config.env, &sql->tick);
    bnd_timer_stop(sql->config.env, &sql->retain);
}
