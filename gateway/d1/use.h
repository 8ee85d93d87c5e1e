/* One use of a D1 database that a client named, by its uuid or its name: internal to gateway/.
 *
 * Group 0 is asked once for each database and remembered (catalog.h): what it does not know is not
 * asked for in the SQL groups, which make a database that they are asked for. Only when the SQL
 * group says that there is none (any more), group 0 is asked again:
 *   - it knows no such database: there is none;
 *   - the name has become another's: that one is used;
 *   - it was deleted in the SQL group and the process died before group 0 knew: that is made good;
 *   - the SQL group never knew it: it is made. */
#ifndef BND_GATEWAY_D1_USE_H
#define BND_GATEWAY_D1_USE_H

#include "catalog/catalog.h"
#include "sql/sql.h"

struct d1_use {
    /* set by the owner */
    struct bnd_catalog *catalog;
    struct bnd_sql *sql;
    struct bnd_slice named; /* borrowed to the end */
    /* Starts what the use is for, on `uuid`. A code: it could not be started, and nothing more is
     * called. */
    int (*act)(struct d1_use *use);
    void (*failed)(struct d1_use *use, int status); /* BND_NOTFOUND: there is no such database */
    void *data;
    /* what came of it */
    uint8_t uuid[BND_SQL_UUID_BYTES];
    bool known; /* group 0 has it: it was asked during this use */
    /* private */
    bool found;                      /* uuid is its own */
    char text[BND_D1_UUID_TEXT + 1]; /* what is remembered by, of who named a uuid */
    struct bnd_catalog_call call;
    struct bnd_sql_admin admin;
};

/* act or failed is called, maybe before this returns. */
void d1_use_start(struct d1_use *use);
/* The SQL group said BND_NOTFOUND to what act had started. True: act is called again, or failed;
 * false: both groups know it, so what is missing is something else. */
bool d1_use_missing(struct d1_use *use);

#endif
