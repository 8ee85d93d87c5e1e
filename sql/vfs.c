/* See vfs.h. What SQLite's pager does over it in rollback mode, and what that means here:
 *
 *     xLock(SHARED)           nothing: a view's version does not move while a statement runs
 *     xRead 16 bytes of page 1   "has somebody else written?": spoiled when the view has moved
 *     xWrite                  into the running transaction (only at its end: cache_spill is off)
 *     SQLITE_FCNTL_SYNC       the change set is made: from here on only a truncation may follow
 *     COMMIT_PHASETWO         it is the next pending version
 *     xUnlock                 what was written without a PHASETWO is rolled back
 *
 * Invariants:
 *  1. Only the view that the thread has entered with can be opened.
 *  2. No file of the operating system is opened, tested or deleted.
 *  3. A read-only view is never written. */
#include "sql/vfs.h"

#include "sql/sqlite.h"

#include <stdio.h>

#define UNIX_EPOCH_MS INT64_C(210866760000000) /* in SQLite's: since noon of -4713-11-24 */
#define SEED_BYTES 48

/* What this thread does for SQLite now. */
struct scope {
    struct bnd_env *env;
    struct sql_view *view; /* that may be opened */
};
static _Thread_local struct scope scope;

static uint8_t seed[SEED_BYTES];

struct file {
    sqlite3_file base;
    struct sql_view *view;
    bool read_only;
    bool locked; /* above SHARED */
};

static struct sql_view *view_of(sqlite3_file *base) {
    return ((struct file *)(void *)base)->view;
}

/* ---- files
 * ---------------------------------------------------------------------------------------------- */

static int on_close(sqlite3_file *base) {
    sql_view_rollback(view_of(base));
    return SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *out, int len, sqlite3_int64 offset) {
    bool cut = false;
    int rv = sql_view_read(view_of(base), (uint64_t)offset, (size_t)len, out, &cut);
    if (rv != 0) {
        (void)sql_view_failed(view_of(base), rv);
        return rv == BND_NOMEM ? SQLITE_NOMEM : SQLITE_IOERR_READ;
    }
    return cut ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int on_write(sqlite3_file *base, const void *data, int len, sqlite3_int64 offset) {
    const struct file *file = (const struct file *)(const void *)base;
    if (file->read_only) {
        return SQLITE_READONLY;
    }
    int rv = BND_CORRUPT; /* of a database with other pages: a page 1 that is not ours */
    if (len == (int)SQL_PAGE_BYTES && offset % SQL_PAGE_BYTES == 0) {
        rv = sql_view_write(file->view, (uint32_t)(offset / SQL_PAGE_BYTES) + 1, data);
    }
    switch (sql_view_failed(file->view, rv)) {
    case 0:
        return SQLITE_OK;
    case BND_TOOBIG:
        return SQLITE_FULL;
    case BND_NOMEM:
        return SQLITE_NOMEM;
    default:
        return SQLITE_IOERR_WRITE;
    }
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size) {
    const struct file *file = (const struct file *)(const void *)base;
    if (file->read_only) {
        return SQLITE_READONLY;
    }
    if (size % SQL_PAGE_BYTES != 0) {
        (void)sql_view_failed(file->view, BND_CORRUPT);
        return SQLITE_IOERR_TRUNCATE;
    }
    sql_view_truncate(file->view, (uint32_t)(size / SQL_PAGE_BYTES));
    return SQLITE_OK;
}

static int on_sync(sqlite3_file *base, int flags) {
    (void)base; /* durability is the group's business */
    (void)flags;
    return SQLITE_OK;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *out) {
    *out = (sqlite3_int64)sql_view_size(view_of(base)) * SQL_PAGE_BYTES;
    return SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int level) {
    struct file *file = (struct file *)(void *)base;
    file->locked = file->locked || level > SQLITE_LOCK_SHARED;
    return SQLITE_OK;
}

static int on_unlock(sqlite3_file *base, int level) {
    struct file *file = (struct file *)(void *)base;
    if (file->locked && level <= SQLITE_LOCK_SHARED) {
        file->locked = false;
        sql_view_rollback(file->view); /* finds nothing after a PHASETWO */
    }
    return SQLITE_OK;
}

static int on_check_reserved(sqlite3_file *base, int *out) {
    (void)base;
    *out = 0; /* there is one writer */
    return SQLITE_OK;
}

static int on_control(sqlite3_file *base, int op, void *arg) {
    struct sql_view *view = view_of(base);
    int rv = 0;
    switch (op) {
    case SQLITE_FCNTL_SYNC:
        rv = sql_view_failed(view, sql_view_prepare(view));
        break;
    case SQLITE_FCNTL_COMMIT_PHASETWO:
        rv = sql_view_failed(view, sql_view_commit(view));
        break;
    case SQLITE_FCNTL_SIZE_HINT:
    case SQLITE_FCNTL_CHUNK_SIZE:
        break;
    case SQLITE_FCNTL_HAS_MOVED:
        *(int *)arg = 0;
        break;
    default:
        return SQLITE_NOTFOUND;
    }
    if (rv == BND_TOOBIG) {
        return SQLITE_FULL;
    }
    return rv == 0 ? SQLITE_OK : SQLITE_IOERR;
}

static int on_sector_size(sqlite3_file *base) {
    (void)base;
    return (int)SQL_PAGE_BYTES; /* larger ones make the pager journal neighbours of a page */
}

static int on_characteristics(sqlite3_file *base) {
    (void)base;
    return SQLITE_IOCAP_ATOMIC | SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
           SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_reserved,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
};

/* ---- the VFS
 * ---------------------------------------------------------------------------------------------- */

static int on_open(sqlite3_vfs *base, const char *name, sqlite3_file *out, int flags,
                   int *out_flags) {
    struct file *file = (struct file *)(void *)out;
    *file = (struct file){0}; /* no methods: SQLite does not close what was not opened */
    (void)base;
    if (name == NULL || (flags & SQLITE_OPEN_MAIN_DB) == 0 || scope.view == NULL ||
        strcmp(sql_view_name(scope.view), name) != 0) {
        return SQLITE_CANTOPEN;
    }
    file->view = scope.view;
    file->read_only = (flags & SQLITE_OPEN_READONLY) != 0;
    file->base.pMethods = &file_methods;
    if (out_flags != NULL) {
        *out_flags = flags;
    }
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *base, const char *name, int sync) {
    (void)base;
    (void)name;
    (void)sync;
    return SQLITE_IOERR_DELETE_NOENT;
}

static int on_access(sqlite3_vfs *base, const char *name, int flags, int *out) {
    (void)base;
    (void)name;
    (void)flags;
    *out = 0; /* neither hot journal nor WAL */
    return SQLITE_OK;
}

static int on_full_path(sqlite3_vfs *base, const char *name, int len, char *out) {
    (void)base;
    int needed = snprintf(out, (size_t)len, "%s", name);
    return needed < len ? SQLITE_OK : SQLITE_CANTOPEN;
}

static void *on_dl_open(sqlite3_vfs *base, const char *name) {
    (void)base;
    (void)name;
    return NULL;
}

static void on_dl_error(sqlite3_vfs *base, int len, char *out) {
    (void)base;
    (void)snprintf(out, (size_t)len, "extensions cannot be loaded");
}

static void (*on_dl_symbol(sqlite3_vfs *base, void *library, const char *name))(void) {
    (void)base;
    (void)library;
    (void)name;
    return NULL;
}

static void on_dl_close(sqlite3_vfs *base, void *library) {
    (void)base;
    (void)library;
}

/* Asked once, when SQLite's generator begins. */
static int on_randomness(sqlite3_vfs *base, int len, char *out) {
    (void)base;
    for (int i = 0; i < len; i++) {
        out[i] = (char)seed[i % SEED_BYTES];
    }
    return len;
}

static int on_sleep(sqlite3_vfs *base, int us) {
    (void)base;
    return us; /* nothing here waits for anything */
}

static int on_time_ms(sqlite3_vfs *base, sqlite3_int64 *out) {
    (void)base;
    *out = (sqlite3_int64)(scope.env == NULL ? 0 : bnd_wall_ms(scope.env)) + UNIX_EPOCH_MS;
    return SQLITE_OK;
}

static int on_time_days(sqlite3_vfs *base, double *out) {
    sqlite3_int64 ms = 0;
    (void)on_time_ms(base, &ms);
    *out = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int on_last_error(sqlite3_vfs *base, int len, char *out) {
    (void)base;
    if (len > 0) {
        out[0] = 0;
    }
    return 0;
}

static sqlite3_vfs table = {
    .iVersion = 2,
    .szOsFile = sizeof(struct file),
    .mxPathname = 64,
    .zName = SQL_VFS_NAME,
    .xOpen = on_open,
    .xDelete = on_delete,
    .xAccess = on_access,
    .xFullPathname = on_full_path,
    .xDlOpen = on_dl_open,
    .xDlError = on_dl_error,
    .xDlSym = on_dl_symbol,
    .xDlClose = on_dl_close,
    .xRandomness = on_randomness,
    .xSleep = on_sleep,
    .xCurrentTime = on_time_days,
    .xGetLastError = on_last_error,
    .xCurrentTimeInt64 = on_time_ms,
};

int sql_vfs_register(struct bnd_env *env) {
    sql_sqlite_start();
    if (sqlite3_vfs_register(&table, 1) != SQLITE_OK) {
        return BND_NOMEM;
    }
    env->ops->random_secret(env, seed, SEED_BYTES);
    sqlite3_randomness(0, NULL);
    return 0;
}

void sql_vfs_enter(struct bnd_env *env, struct sql_view *view) {
    scope = (struct scope){.env = env, .view = view};
}

void sql_vfs_leave(void) {
    scope = (struct scope){0};
}
