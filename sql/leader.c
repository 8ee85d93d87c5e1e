/* The executor's databases, ids, groups and memory (leader_private.h).
 *
 * Invariants:
 *  1. A database is in `databases` and in `lru` from its first task until it is idle and closed:
 * for want of memory, because nobody asked for a while, or because its group is led elsewhere.
 *  2. `groups` has the term of each group that this node leads and is ready in, as the host told
 * it.
 *  3. After `closed` there is no database, and nothing on the pool. */
#include "sql/leader_private.h"

#include "base/alloc.h"

#define MEMORY_BYTES_DEFAULT ((size_t)64 << 20)
#define BUCKETS_MIN 256u
#define RETRY_NS (UINT64_C(2) * BND_MS)
#define TICK_NS (UINT64_C(5000) * BND_MS)
#define IDLE_NS (UINT64_C(60000) * BND_MS)

/* ---- databases
 * -------------------------------------------------------------------------------------------- */

static struct sql_database **bucket_of(const struct sql_leader *leader,
                                       const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    return &leader->databases[(bnd_get_u64(uuid) ^ bnd_get_u64(uuid + 8)) &
                              (leader->databases_buckets - 1)];
}

static void databases_grow(struct sql_leader *leader) {
    struct sql_database **old = leader->databases;
    size_t count = leader->databases_buckets;
    struct sql_database **grown = bnd_calloc(count * 2, sizeof *grown);
    if (grown == NULL) {
        return; /* chains grow longer */
    }
    leader->databases = grown;
    leader->databases_buckets = count * 2;
    for (size_t i = 0; i < count; i++) {
        struct sql_database *database = old[i];
        while (database != NULL) {
            struct sql_database *next = database->bucket_next;
            struct sql_database **bucket = bucket_of(leader, database->uuid);
            database->bucket_next = *bucket;
            *bucket = database;
            database = next;
        }
    }
    bnd_free(old);
}

static struct sql_database *database_find(const struct sql_leader *leader,
                                          const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct sql_database *database = *bucket_of(leader, uuid);
    while (database != NULL && memcmp(database->uuid, uuid, BND_SQL_UUID_BYTES) != 0) {
        database = database->bucket_next;
    }
    return database;
}

void sql_leader_changed(struct sql_leader *leader, const uint8_t uuid[BND_SQL_UUID_BYTES],
                        uint64_t version, uint32_t pages_count, struct bnd_slice pages) {
    struct sql_database *database = leader == NULL ? NULL : database_find(leader, uuid);
    if (database != NULL) {
        sql_database_changed(database, version, pages_count, pages);
    }
}

static struct sql_database *database_of(struct sql_leader *leader, uint64_t gid,
                                        const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct sql_database *database = database_find(leader, uuid);
    if (database != NULL) {
        return database->gid == gid ? database : NULL;
    }
    database = bnd_alloc(sizeof *database);
    if (database == NULL) {
        return NULL;
    }
    if (leader->databases_count >= leader->databases_buckets) {
        databases_grow(leader);
    }
    sql_database_init(database, leader, gid, uuid);
    struct sql_database **bucket = bucket_of(leader, uuid);
    database->bucket_next = *bucket;
    *bucket = database;
    bnd_list_push(&leader->lru, &database->lru_link);
    leader->databases_count++;
    leader->config.stats->databases_open = leader->databases_count;
    return database;
}

static void database_close(struct sql_database *database) {
    struct sql_leader *leader = database->leader;
    struct sql_database **at = bucket_of(leader, database->uuid);
    while (*at != database) {
        at = &(*at)->bucket_next;
    }
    *at = database->bucket_next;
    bnd_link_remove(&database->lru_link);
    leader->databases_count--;
    leader->bytes -= database->bytes;
    leader->config.stats->databases_open = leader->databases_count;
    leader->config.stats->pages_bytes = leader->bytes;
    sql_database_free(database);
}

/* Closes what is idle, least used first: down to the bound, and what nobody asked for. */
static void close_idle(struct sql_leader *leader, uint64_t unused_since_ns) {
    struct bnd_link *link = leader->lru.next;
    while (link != &leader->lru) {
        struct sql_database *database = BND_CONTAINER(link, struct sql_database, lru_link);
        link = link->next;
        if (leader->bytes <= leader->config.memory_bytes && database->used_ns >= unused_since_ns) {
            break;
        }
        if (sql_database_idle(database)) {
            database_close(database);
        }
    }
}

void sql_leader_used(struct sql_database *database) {
    struct sql_leader *leader = database->leader;
    size_t bytes = sizeof *database + sql_connected_bytes(&database->writer);
    for (size_t i = 0; i < SQL_READERS_MAX; i++) {
        struct sql_reader *reader = &database->readers[i];
        bytes += reader->busy ? 0 : sql_connected_bytes(&reader->connected);
    }
    bytes += database->changed == NULL ? 0 : SQL_CHANGED_MAX * sizeof *database->changed;
    leader->bytes = leader->bytes - database->bytes + bytes;
    database->bytes = bytes;
    leader->config.stats->pages_bytes = leader->bytes;
    bnd_link_remove(&database->lru_link);
    bnd_list_push(&leader->lru, &database->lru_link);
    if (leader->bytes > leader->config.memory_bytes && !leader->trimming) {
        leader->trimming = true; /* later: the caller goes on with the database */
        bnd_defer(leader->config.env, &leader->trim);
    }
}

static void on_trim(struct bnd_task *task) {
    struct sql_leader *leader = task->data;
    leader->trimming = false;
    if (!leader->closing) {
        close_idle(leader, 0);
    }
}

/* ---- groups
 * -----------------------------------------------------------------------------------------------
 */

static struct sql_group_seen *group_seen(const struct sql_leader *leader, uint64_t gid) {
    for (size_t i = 0; i < leader->groups_count; i++) {
        if (leader->groups[i].gid == gid) {
            return &leader->groups[i];
        }
    }
    return NULL;
}

uint64_t sql_leader_term(const struct sql_leader *leader, uint64_t gid) {
    const struct sql_group_seen *seen = group_seen(leader, gid);
    return seen == NULL ? 0 : seen->term;
}

/* The term this node leads the group in; 0: it does not. */
static uint64_t term_now(const struct sql_leader *leader, uint64_t gid) {
    struct bnd_raft_group_status status;
    int rv = bnd_raft_group_status(leader->host, gid, &status);
    return rv == 0 && status.state == BND_RAFT_LEADER ? status.term : 0;
}

static void databases_lost(struct sql_leader *leader, uint64_t gid) {
    struct bnd_link *link = leader->lru.next;
    while (link != &leader->lru) {
        struct sql_database *database = BND_CONTAINER(link, struct sql_database, lru_link);
        link = link->next;
        if (database->gid == gid) {
            sql_database_lost(database);
        }
    }
}

void sql_leader_group_changed(struct sql_leader *leader, uint64_t gid) {
    struct sql_group_seen *seen = group_seen(leader, gid);
    if (leader->closing || seen == NULL || seen->term == 0) {
        return;
    }
    if (term_now(leader, gid) != seen->term) {
        seen->term = 0;
        databases_lost(leader, gid);
    }
}

/* The host gives executions only where this node leads and is ready. */
static bool group_leads(struct sql_leader *leader, uint64_t gid) {
    uint64_t term = term_now(leader, gid);
    struct sql_group_seen *seen = group_seen(leader, gid);
    if (seen == NULL) {
        if (!BND_ROOM(leader->groups, leader->groups_count, leader->groups_cap, 16)) {
            return false;
        }
        seen = &leader->groups[leader->groups_count++];
        *seen = (struct sql_group_seen){.gid = gid};
    }
    if (seen->term != 0 && seen->term != term) {
        seen->term = 0;
        databases_lost(leader, gid);
    }
    seen->term = term;
    return term != 0;
}

/* ---- in
 * ---------------------------------------------------------------------------------------------------
 */

static void execute_task(struct sql_leader *leader, struct bnd_raft_execution *execution) {
    struct sql_task *task =
        sql_rule(leader, SQL_RULE_JOIN) ? sql_task_find(leader, &execution->id) : NULL;
    if (task != NULL) {
        sql_task_join(task, execution);
        return;
    }
    uint64_t gid = execution->gid;
    task = sql_task_create(leader, execution);
    if (task == NULL) {
        return;
    }
    leader->config.stats->queries++;
    struct sql_database *database = database_of(leader, gid, task->uuid);
    if (database == NULL) {
        sql_task_refuse(task, BND_BUSY);
        return;
    }
    sql_database_add(database, task);
}

void sql_leader_execute(struct sql_leader *leader, struct bnd_raft_execution *execution) {
    if (leader->closing || !group_leads(leader, execution->gid)) {
        bnd_raft_execution_reply(execution, false, BND_NOTLEADER, bnd_slice(NULL, 0));
        return;
    }
    execute_task(leader, execution);
}

/* The replica's database as it stands. BND_BUSY: it has not come to this version. */
static int look_local(const struct sql_leader *leader, uint64_t gid,
                      const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version,
                      struct sql_base *out) {
    struct bnd_raft_group_status status;
    if (bnd_raft_group_status(leader->host, gid, &status) != 0) {
        return BND_NOTFOUND;
    }
    int rv = sql_base_look(leader, status.slot, uuid, out);
    if (rv != 0) {
        return rv == BND_DENIED ? BND_NOTFOUND : rv;
    }
    return out->at.version < version ? BND_BUSY : 0;
}

int sql_leader_read(struct sql_leader *leader, struct sql_local *local, uint64_t gid,
                    const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version,
                    struct bnd_slice request) {
    struct sql_base base;
    bool newest = version == SQL_READ_NEWEST;
    if (leader->closing) {
        return BND_CANCELED;
    }
    int rv = newest ? 0 : look_local(leader, gid, uuid, version, &base);
    if (rv != 0) {
        return rv;
    }
    struct sql_database *database = database_of(leader, gid, uuid);
    struct sql_task *task = database == NULL ? NULL : sql_task_create_local(leader, local, request);
    if (task == NULL) {
        return BND_NOMEM;
    }
    task->primary = bnd_raft_leads(leader->host, gid);
    bool here = sql_task_reads(task) && (task->primary || !sql_task_asks_last_row(task));
    rv = here ? sql_database_add_local(database, task, newest ? NULL : &base) : BND_UNSUPPORTED;
    if (rv != 0) {
        sql_local_cancel(local);
        sql_task_refuse(task, rv);
        return rv;
    }
    leader->config.stats->queries++;
    return 0;
}

void sql_local_cancel(struct sql_local *local) {
    if (local->task != NULL) {
        local->task->local = NULL;
        local->task = NULL;
    }
}

/* ---- the pool
 * --------------------------------------------------------------------------------------------- */

static void on_closed(struct bnd_task *task) {
    struct sql_leader *leader = task->data;
    while (!bnd_list_empty(&leader->lru)) {
        database_close(BND_CONTAINER(leader->lru.next, struct sql_database, lru_link));
    }
    leader->closed(leader->closed_data);
}

int sql_leader_work(struct sql_leader *leader, struct bnd_work *work, bool reads) {
    if (leader->works >= SQL_WORKS_MAX || (reads && leader->reads >= SQL_READS_MAX)) {
        return BND_FULL;
    }
    int rv = leader->config.env->ops->work(leader->config.env, work);
    leader->works += rv == 0;
    leader->reads += rv == 0 && reads;
    return rv;
}

void sql_leader_worked(struct sql_leader *leader, bool reads) {
    leader->works--;
    leader->reads -= reads;
    if (leader->closing && leader->works == 0) {
        bnd_defer(leader->config.env, &leader->closed_task);
    } else if (!leader->closing && !bnd_list_empty(&leader->starved)) {
        bnd_timer_start(leader->config.env, &leader->retry, 0);
    }
}

void sql_leader_ready(struct sql_database *database) {
    struct sql_leader *leader = database->leader;
    if (bnd_link_linked(&database->ready_link)) {
        return;
    }
    if (bnd_list_empty(&leader->ready)) {
        bnd_defer(leader->config.env, &leader->start);
    }
    bnd_list_push(&leader->ready, &database->ready_link);
}

static void on_start(struct bnd_task *task) {
    struct sql_leader *leader = task->data;
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&leader->ready)) != NULL) {
        sql_database_kick(BND_CONTAINER(link, struct sql_database, ready_link));
    }
}

void sql_leader_starved(struct sql_database *database) {
    struct sql_leader *leader = database->leader;
    if (!bnd_link_linked(&database->starved_link)) {
        if (bnd_list_empty(&leader->starved)) {
            bnd_timer_start(leader->config.env, &leader->retry, RETRY_NS);
        }
        bnd_list_push(&leader->starved, &database->starved_link);
    }
}

static void on_retry(struct bnd_timer *timer) {
    struct sql_leader *leader = timer->data;
    struct bnd_link starved;
    struct bnd_link *link = NULL;
    bnd_list_take(&leader->starved, &starved);
    while ((link = bnd_list_pop(&starved)) != NULL) {
        sql_database_kick(BND_CONTAINER(link, struct sql_database, starved_link));
    }
}

int sql_leader_packer(struct sql_leader *leader, struct sql_packer **out) {
    if (leader->packers_count > 0) {
        *out = leader->packers[--leader->packers_count];
        return 0;
    }
    int rv = sql_packer_create(out);
    if (rv == 0 && leader->config.cut_at_bytes > 0) {
        sql_packer_cut_at(*out, leader->config.cut_at_bytes);
    }
    return rv;
}

void sql_leader_packer_back(struct sql_leader *leader, struct sql_packer *packer) {
    if (BND_ROOM(leader->packers, leader->packers_count, leader->packers_cap, 8)) {
        leader->packers[leader->packers_count++] = packer;
    } else {
        sql_packer_destroy(packer);
    }
}

/* ---- life
 * -------------------------------------------------------------------------------------------------
 */

static void on_tick(struct bnd_timer *timer) {
    struct sql_leader *leader = timer->data;
    uint64_t now_ns = bnd_now_ns(leader->config.env);
    close_idle(leader, now_ns > IDLE_NS ? now_ns - IDLE_NS : 0);
    bnd_timer_start(leader->config.env, &leader->tick, TICK_NS);
}

int sql_leader_create(const struct sql_leader_config *config, struct sql_leader **out) {
    struct sql_leader *leader = bnd_zalloc(sizeof *leader);
    if (leader == NULL) {
        return BND_NOMEM;
    }
    leader->config = *config;
    leader->config.memory_bytes =
        config->memory_bytes == 0 ? MEMORY_BYTES_DEFAULT : config->memory_bytes;
    leader->databases_buckets = BUCKETS_MIN;
    leader->ids_buckets = BUCKETS_MIN * 16;
    leader->databases = bnd_calloc(leader->databases_buckets, sizeof *leader->databases);
    leader->ids = bnd_calloc(leader->ids_buckets, sizeof *leader->ids);
    bnd_list_init(&leader->lru);
    bnd_list_init(&leader->starved);
    bnd_list_init(&leader->ready);
    if (leader->databases == NULL || leader->ids == NULL) {
        sql_leader_destroy(leader);
        return BND_NOMEM;
    }
    leader->retry = (struct bnd_timer){.cb = on_retry, .data = leader};
    leader->tick = (struct bnd_timer){.cb = on_tick, .data = leader};
    leader->start = (struct bnd_task){.cb = on_start, .data = leader};
    leader->trim = (struct bnd_task){.cb = on_trim, .data = leader};
    leader->closed_task = (struct bnd_task){.cb = on_closed, .data = leader};
    *out = leader;
    return 0;
}

void sql_leader_start(struct sql_leader *leader, struct bnd_shard_client *client,
                      struct bnd_raft_host *host) {
    leader->client = client;
    leader->host = host;
    bnd_timer_start(leader->config.env, &leader->tick, TICK_NS);
}

void sql_leader_close(struct sql_leader *leader, void (*closed)(void *data), void *data) {
    BND_ASSERT(!leader->closing);
    leader->closing = true;
    leader->closed = closed;
    leader->closed_data = data;
    bnd_timer_stop(leader->config.env, &leader->retry);
    bnd_timer_stop(leader->config.env, &leader->tick);
    for (struct bnd_link *link = leader->lru.next; link != &leader->lru; link = link->next) {
        sql_database_stop(BND_CONTAINER(link, struct sql_database, lru_link));
    }
    if (leader->works == 0) {
        bnd_defer(leader->config.env, &leader->closed_task);
    }
}

void sql_leader_destroy(struct sql_leader *leader) {
    if (leader == NULL) {
        return;
    }
    BND_ASSERT(bnd_list_empty(&leader->lru) && leader->works == 0);
    while (leader->packers_count > 0) {
        sql_packer_destroy(leader->packers[--leader->packers_count]);
    }
    bnd_free(leader->packers);
    bnd_free(leader->groups);
    bnd_free(leader->databases);
    bnd_free(leader->ids);
    bnd_free(leader);
}
