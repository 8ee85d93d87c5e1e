/* The SQLite VFS over page histories (ADR 0100): SQLite's files, clock and chance. Each file of it
 * is one connection's view of one database (sql/view.h); there are no others: journal and temporary
 * files stay in memory, and everything else is refused. Inside sql/ only.
 *
 * SQLite hands a VFS neither a connection nor a context, so what a file or a moment is comes from
 * the thread that asks. */
#ifndef BND_SQL_VFS_H
#define BND_SQL_VFS_H

#include "base/env.h"
#include "sql/view.h"

#define SQL_VFS_NAME "bindery"

/* Registers the VFS with SQLite and makes it the default, so that nothing in the process has SQLite
 * open a file by accident; again: nothing more of that. SQLite's generator of random numbers
 * (random(), one per process) begins anew, from env's. On env's loop, while no connection runs.
 * BND_NOMEM. */
int sql_vfs_register(struct bnd_env *env);

/* From here on, on this thread, SQLite's wall clock is env's, and only this view (NULL: none) can
 * be opened, under its name; until leave. */
void sql_vfs_enter(struct bnd_env *env, struct sql_view *view);
void sql_vfs_leave(void);

#endif
