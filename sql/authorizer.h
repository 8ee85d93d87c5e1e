/* What SQL a client of a database may run: D1's own rules (reference/sql.md, 4). Nothing here
 * touches the database. Inside sql/ only. */
#ifndef BND_SQL_AUTHORIZER_H
#define BND_SQL_AUTHORIZER_H

#include <stdbool.h>

struct sql_authorizer {
    bool trusted; /* the connection's own statements: everything goes */
    /* Since the caller cleared them. */
    bool transaction; /* a BEGIN, SAVEPOINT or the like was refused */
    bool pragma;      /* a PRAGMA was met: it acts when it is prepared, not when it runs */
    bool setting;     /* one that changes the connection */
    bool writes;      /* one that writes though SQLite calls it read-only (optimize) */
};

/* For sqlite3_set_authorizer; data is a struct sql_authorizer. */
int sql_authorize(void *data, int action, const char *first, const char *second,
                  const char *database, const char *trigger);

#endif
