/* A branch of a database while this process works with it (bnd_sql_branch): made, renewed as long
 * as it is kept, deleted in the end; should the process die, it is deleted when its lease is over.
 * Internal to gateway/. */
#ifndef BND_GATEWAY_D1_BRANCH_H
#define BND_GATEWAY_D1_BRANCH_H

#include "base/env.h"
#include "sql/sql.h"

struct d1_branch {
    /* set by the owner */
    struct bnd_env *env; /* borrowed, like sql */
    struct bnd_sql *sql;
    /* Once: 0: it is there. BND_NOTFOUND: no such database, or no such place in its history;
     * BND_LOCKED: another branch holds it. */
    void (*cb)(struct d1_branch *branch, int status);
    void *data;
    bool past; /* `at` is set, too: the branch begins there, not at the present */
    /* what came of it */
    uint8_t uuid[BND_SQL_UUID_BYTES];
    struct bnd_sql_bookmark at;   /* of the database: what the branch began as */
    struct bnd_sql_bookmark made; /* the branch's own first one */
    uint64_t bytes;               /* of it then, as a file */
    /* private */
    uint8_t source[BND_SQL_UUID_BYTES];
    bool holds;
    bool there; /* or it may be */
    bool made_known;
    struct bnd_sql_admin admin;
    bool asking;
    struct bnd_timer timer;
};

/* holds: not of a past one. A code: it could not be asked for, cb does not come. */
int d1_branch_begin(struct d1_branch *branch, const uint8_t source[BND_SQL_UUID_BYTES], bool holds);
/* At any time, also of a zeroed one: cb does not come any more. Deletes the branch, as well as it
 * can. */
void d1_branch_end(struct d1_branch *branch);
/* It has taken the database's place: there is nothing to be deleted. */
void d1_branch_taken(struct d1_branch *branch);

#endif
