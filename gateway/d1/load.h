/* An import that is larger than a transaction (ADR 0106): its file is executed piece by piece, each
 * a transaction, in a branch that holds the database; then the branch takes the database's place.
 * What fails in the middle leaves the database as it was. Internal to gateway/.
 *
 *   look through ──> branch ──> read, cut at statements, execute ──> indexes ──> foreign keys ──>
 *   swap
 *
 * Bounded: a piece of the text, the request made of it, and its answer. */
#ifndef BND_GATEWAY_D1_LOAD_H
#define BND_GATEWAY_D1_LOAD_H

#include "base/queue.h"
#include "gateway/d1/again.h"
#include "gateway/d1/branch.h"
#include "gateway/d1/outline.h"
#include "gateway/d1/split.h"
#include "gateway/d1/spool.h"
#include "gateway/front.h"

#define D1_LOAD_PIECE_BYTES (1u << 20)         /* of text, executed as one transaction */
#define D1_LOAD_CHARGE_BYTES ((size_t)6 << 20) /* what one holds, about */

enum d1_load_state { D1_LOADING, D1_LOADED, D1_LOAD_FAILED };

/* Who is told of its end. */
struct d1_load_wait {
    void (*cb)(struct d1_load_wait *wait);
    void *data;
    struct bnd_link link;
};

struct d1_load {
    /* set by the owner */
    struct bnd_env *env; /* borrowed, like sql, front and spool */
    struct bnd_sql *sql;
    struct gateway_front *front;
    struct d1_spool *spool; /* the file; nothing else uses it meanwhile */
    uint8_t uuid[BND_SQL_UUID_BYTES];
    int64_t fill_rows_max; /* entries of an index in one transaction; 0: as many as may fit */
    /* what came of it */
    enum d1_load_state state;
    uint64_t statements, rows_read, rows_written, size_bytes;
    double duration_ms;               /* of what was executed */
    struct bnd_sql_bookmark bookmark; /* of the database: before, and then of what was made */
    int status;                       /* FAILED: a code of sql/ or of the disk; 0: text says why */
    struct bnd_buf text;              /* FAILED */
    /* private */
    struct bnd_link waits;
    struct d1_branch branch;
    uint64_t version; /* the branch's newest */
    uint64_t offset;  /* read so far */
    struct d1_split split;
    struct bnd_buf piece; /* text in hand */
    struct bnd_buf moved; /* statements that come behind the one in hand */
    size_t statement_at;  /* in it: where the statement in hand begins; all before is whole */
    bool unlinked;        /* the file puts off foreign keys to its end */
    bool outlined;        /* the file has been looked through */
    struct d1_outline outline;
    size_t fills_at;                   /* in it: indexes that are filled */
    char filling[D1_OUTLINE_NAME_MAX]; /* this one now; "": none */
    int64_t fill_rows;                 /* so many entries in one transaction */
    size_t piece_bytes;                /* of text in one transaction */
    struct bnd_buf request;
    struct bnd_sql_call call;
    struct bnd_sql_admin admin;
    bool calling, asking;
    struct d1_again again; /* what is called or asked */
    size_t charged;
};

/* Zero what is not set. A code: it cannot begin (BND_FULL: no room now), and is to be freed. */
int d1_load_start(struct d1_load *load);
/* Told once, when it ends. wait stays the caller's; unlinked with bnd_link_remove. */
void d1_load_wait(struct d1_load *load, struct d1_load_wait *wait);
/* At any time, with nobody waiting: ends it and all that it has, but the spool and itself. */
void d1_load_free(struct d1_load *load);

#endif
