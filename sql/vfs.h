/* The SQLite VFS over page histories (ADR 0100). Each file of it is one connection's view of one
 * database: a reader's, pinned to a version, or the writer's, which runs ahead on pending versions.
 * Inside sql/ only. */
#ifndef BND_SQL_VFS_H
#define BND_SQL_VFS_H

#include "sql/change_set.h"

struct sql_view;

/* Registers the VFS with SQLite, once per process; later calls do nothing. It has no state but its
 * table: files find their view by its name. */
int sql_vfs_register(void);
#define SQL_VFS_NAME "bindery"

struct sql_view_config {
    struct sql_at at;         /* what is read first; version 0: an empty database */
    uint32_t page_count;      /* at it */
    bool writer;
    size_t pages_bytes_max;   /* of clean pages kept; 0: 4 MiB. Pending ones are kept beside them */
};

int sql_view_create(const struct sql_view_config *config, struct sql_view **out);
/* After the connection on it was closed. NULL allowed. */
void sql_view_destroy(struct sql_view *view);
/* The file name for sql_connection_config.name; lives with the view. */
const char *sql_view_name(const struct sql_view *view);

/* Moves a reader on to a newer version of the same epoch, while no statement of its connection
 * runs. */
void sql_view_pin(struct sql_view *view, uint64_t version, uint32_t page_count);

/* The writer: the pending transaction that the last run of its connection left, if any: *out_set
 * and the page count at it (the view's version is then its version). False: that run changed
 * nothing. Taken once per run. The set is the caller's. */
bool sql_view_take(struct sql_view *view, struct sql_change_set *out_set, uint32_t *out_page_count);
uint64_t sql_view_version(const struct sql_view *view); /* newest, pending included */
/* Everything up to this version is committed: its pages may be forgotten. */
void sql_view_committed(struct sql_view *view, uint64_t version);
/* What the VFS met that SQLite tells as "disk I/O error" only: 0, BND_CORRUPT, BND_IO, BND_TOOBIG, ... */
int sql_view_error(const struct sql_view *view);

#endif
