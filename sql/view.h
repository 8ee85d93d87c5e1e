/* One connection's view of one database: the file that SQLite believes to have open. A reader's is
 * pinned to a version; the writer's runs ahead on pending versions, which are nowhere else yet
 * (ADR 0100, "Execution"). What a page is, comes from the view's own pages or else from the
 * history.
 *
 * One thread at a time, the same as its connection's; readers and the writer of a database share
 * nothing. Inside sql/ only. */
#ifndef BND_SQL_VIEW_H
#define BND_SQL_VIEW_H

#include "sql/change_set.h"

struct sql_view;

struct sql_view_config {
    struct sql_at at;    /* what is read first; version 0: an empty database */
    uint32_t page_count; /* at it */
    bool writer;
    size_t pages_bytes_max; /* of clean pages kept; 0: 4 MiB. Pending ones are kept beside them */
    bool unspoiled; /* a reader that moves may find the counter that it knows: the simulator's, with
                       that rule switched off */
};

/* BND_NOMEM. */
int sql_view_create(const struct sql_view_config *config, struct sql_view **out);
/* After the connection on it was closed. NULL allowed. */
void sql_view_destroy(struct sql_view *view);
/* The file name for sql_connection_config.name, under SQL_VFS_NAME; lives with the view. */
const char *sql_view_name(const struct sql_view *view);

uint64_t sql_view_version(const struct sql_view *view); /* pending ones included */
size_t sql_view_bytes(const struct sql_view *view);     /* of memory */
/* After each run of the connection: lets go of the moment of the state that the run's pages were
 * read at, and of what the state keeps for it. */
void sql_view_rest(struct sql_view *view);

/* A page as it is in the view's version, between two runs: straight from the history if it is not
 * here, and not kept. page: from 1 to the version's page count. BND_NOTFOUND, BND_CORRUPT, BND_IO,
 * BND_NOMEM. */
int sql_view_page(struct sql_view *view, uint32_t page, uint8_t out[SQL_PAGE_BYTES]);

/* ---- readers ---- */

/* Moves a reader on to a newer version of the same epoch, while no statement of its connection
 * runs. changed: the pages that may differ between the two ([changed_count], any order, twice
 * allowed); NULL: any may. */
void sql_view_pin(struct sql_view *view, uint64_t version, uint32_t page_count,
                  const uint32_t *changed, size_t changed_count);

/* ---- the writer ---- */

/* A pending transaction: what SQLite committed on the version before `version`. */
struct sql_pending {
    uint64_t version;
    uint32_t page_count;       /* at it */
    struct sql_change_set set; /* the caller's from now on */
    const uint32_t *pages;     /* [pages_count] in it; borrowed until the next run */
    size_t pages_count;
};

/* What the last run of the connection left. False: it changed nothing. Taken once per run. */
bool sql_view_take(struct sql_view *view, struct sql_pending *out);
/* Everything up to this version is committed and can be read in the state: its pages may be
 * forgotten. */
void sql_view_committed(struct sql_view *view, uint64_t version);
/* Forgets everything and goes to a committed version. A connection must not live on over it: what
 * it keeps of page 1 and of the schema may look right and be of what was dropped. Only the
 * simulator, with that rule switched off, keeps one. spoil: it forgets at least its pages, which a
 * schema survives. */
void sql_view_drop(struct sql_view *view, const struct sql_at *at, uint32_t page_count, bool spoil);

/* ---- both ---- */

/* What the VFS met since this was asked last and SQLite tells as "disk I/O error" or "disk is full"
 * only: 0; BND_TOOBIG (the transaction changes too much: it is rolled back and the connection is
 * fine); BND_NOTFOUND (a page is not there, or not any more), BND_CORRUPT, BND_IO, BND_NOMEM. */
int sql_view_error(struct sql_view *view);

/* ---- for sql/vfs.c; the errors are those above ---- */

/* offset and len lie within one page. Bytes beyond the end are zeros and *out_short is set. */
int sql_view_read(struct sql_view *view, uint64_t offset, size_t len, uint8_t *out,
                  bool *out_short);
/* A whole page. */
int sql_view_write(struct sql_view *view, uint32_t page, const uint8_t bytes[SQL_PAGE_BYTES]);
void sql_view_truncate(struct sql_view *view, uint32_t page_count);
uint32_t sql_view_size(const struct sql_view *view); /* pages, in the running transaction */
/* The change set of what was written, while SQLite can still roll back: BND_TOOBIG. */
int sql_view_prepare(struct sql_view *view);
/* Makes what was written the next pending version. */
int sql_view_commit(struct sql_view *view);
/* Forgets what was written since the last commit. */
void sql_view_rollback(struct sql_view *view);
/* Notes for sql_view_error; returns code. */
int sql_view_failed(struct sql_view *view, int code);

#endif
