#include "sql/connection_private.h"

#include "base/alloc.h"

#define CACHE_BYTES (2u << 20)
#define MEMORY_BYTES_MAX (128u << 20)
#define PROGRESS_STEPS 4096 /* of the byte code, between two looks at the clock: some 50 us */

static void set_limits(sqlite3 *db) {
    static const struct {
        int id, value;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, 2000000}, /* D1: a row, a string, a blob */
        {SQLITE_LIMIT_SQL_LENGTH, 100000},   {SQLITE_LIMIT_COLUMN, 100},
        {SQLITE_LIMIT_EXPR_DEPTH, 100},      {SQLITE_LIMIT_COMPOUND_SELECT, 5},
        {SQLITE_LIMIT_VDBE_OP, 25000},       {SQLITE_LIMIT_FUNCTION_ARG, 127},
        {SQLITE_LIMIT_ATTACHED, 0},          {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50},
        {SQLITE_LIMIT_VARIABLE_NUMBER, 100}, {SQLITE_LIMIT_TRIGGER_DEPTH, 10},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        (void)sqlite3_limit(db, limits[i].id, limits[i].value); /* tells the one before */
    }
}

/* SQLite asks every so many steps whether to go on. */
static int progress(void *data) {
    struct sql_connection *self = data;
    return sql_connection_stopped(self) ||
           (self->deadline_ns != UINT64_MAX && sql_clock_ns(&self->clock) >= self->deadline_ns);
}

static int own_text(struct sql_connection *self, const char *text) {
    self->authorizer.trusted = true;
    int code = sqlite3_exec(self->db, text, NULL, NULL, NULL);
    self->authorizer.trusted = false;
    return code;
}

static int own_prepare(struct sql_connection *self, const char *text, sqlite3_stmt **out) {
    self->authorizer.trusted = true;
    int code = sqlite3_prepare_v3(self->db, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    self->authorizer.trusted = false;
    return code;
}

int sql_connection_own(struct sql_connection *self, sqlite3_stmt *statement) {
    self->authorizer.trusted = true;
    int code = sqlite3_step(statement);
    int ended = sqlite3_reset(statement);
    self->authorizer.trusted = false;
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : ended;
}

/* journal_mode comes first: what comes before it could open a journal that is a file. A writer is
 * alone on its file: it need not look for others, nor tell them by a new change counter, which
 * would put page 1 into every transaction (ADR 0100, "A connection"). */
static int set_up(struct sql_connection *self, const struct sql_connection_config *config) {
    char text[256];
    size_t cache = config->cache_bytes == 0 ? CACHE_BYTES : config->cache_bytes;
    (void)sqlite3_snprintf(sizeof text, text,
                           "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA "
                           "locking_mode=%s; PRAGMA cache_size=-%llu; PRAGMA cache_spill=OFF; PRAGMA foreign_keys=ON;"
                           "SELECT count(*) FROM sqlite_schema",
                           config->read_only ? "NORMAL" : "EXCLUSIVE",
                           (unsigned long long)(cache >> 10));
    set_limits(self->db);
    int code = sqlite3_db_config(self->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_set_authorizer(self->db, sql_authorize, &self->authorizer);
    }
    sqlite3_progress_handler(self->db, PROGRESS_STEPS, progress, self);
    if (code == SQLITE_OK) {
        code = own_text(self, text);
    }
    const struct {
        const char *text;
        sqlite3_stmt **statement;
    } own[] = {{"BEGIN", &self->begin}, {"COMMIT", &self->commit}, {"ROLLBACK", &self->rollback}};
    for (size_t i = 0; i < sizeof own / sizeof *own && code == SQLITE_OK; i++) {
        code = own_prepare(self, own[i].text, own[i].statement);
    }
    return code;
}

static int open_failed(struct sql_connection *self, int code, const char *name,
                       struct bnd_error *err) {
    const char *message = self->db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(self->db);
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return BND_FAIL(err, NOMEM, "database %s: %s", name, message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return BND_FAIL(err, CORRUPT, "database %s: %s", name, message);
    default:
        return BND_FAIL(err, IO, "database %s: %s", name, message);
    }
}

int sql_connection_open(const struct sql_connection_config *config, struct sql_connection **out,
                        struct bnd_error *err) {
    sql_sqlite_start();
    struct sql_connection *self = bnd_zalloc(sizeof *self);
    if (self == NULL) {
        return BND_FAIL(err, NOMEM, "database %s", config->name);
    }
    sql_cache_init(&self->cache);
    self->deadline_ns = UINT64_MAX;
    self->memory.bytes_max =
        config->memory_bytes_max == 0 ? MEMORY_BYTES_MAX : config->memory_bytes_max;
    int flags =
        SQLITE_OPEN_NOMUTEX |
        (config->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    sql_memory_enter(&self->memory);
    int code = sqlite3_open_v2(config->name, &self->db, flags, config->vfs);
    if (code == SQLITE_OK) {
        code = set_up(self, config);
    }
    sql_memory_leave();
    if (code != SQLITE_OK) {
        int rv = open_failed(self, code, config->name, err);
        sql_connection_close(self);
        return rv;
    }
    *out = self;
    return 0;
}

void sql_connection_close(struct sql_connection *self) {
    if (self == NULL) {
        return;
    }
    sql_memory_enter(&self->memory);
    sql_cache_clear(&self->cache);
    sqlite3_stmt *const own[] = {self->begin, self->commit, self->rollback};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        (void)sqlite3_finalize(own[i]); /* tells how its last run ended */
    }
    BND_ASSERT(sqlite3_close(self->db) == SQLITE_OK);
    sql_memory_leave();
    bnd_free(self);
}

size_t sql_connection_bytes(const struct sql_connection *self) {
    return self->memory.bytes;
}

/* Settings as the connection was opened with; each of these makes its statements prepare again. */
static bool settings_back(struct sql_connection *self) {
    int code = own_text(self, "PRAGMA case_sensitive_like=OFF; PRAGMA ignore_check_constraints=OFF;"
                              "PRAGMA legacy_alter_table=OFF; PRAGMA recursive_triggers=OFF;"
                              "PRAGMA reverse_unordered_selects=OFF; PRAGMA foreign_keys=ON");
    self->authorizer.setting = code != SQLITE_OK;
    return code == SQLITE_OK;
}

bool sql_connection_settle(struct sql_connection *self) {
    /* What ends a transaction may not fail for want of time or room. */
    size_t bytes_max = self->memory.bytes_max;
    self->memory.bytes_max = SIZE_MAX;
    self->stop = NULL;
    self->deadline_ns = UINT64_MAX;
    if (sqlite3_get_autocommit(self->db) == 0) {
        (void)sql_connection_own(self, self->rollback); /* the next line knows */
    }
    bool good =
        sqlite3_get_autocommit(self->db) != 0 && (!self->authorizer.setting || settings_back(self));
    self->memory.bytes_max = bytes_max;
    return good;
}
