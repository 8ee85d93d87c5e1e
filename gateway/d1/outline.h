/* What a large SQL file makes, looked at before it is executed: which of its indexes can be made
 * before the rows come instead of after them. Internal to gateway/. Pure.
 *
 * Dumps make their indexes last. Of a large table that is one statement that sorts all rows and
 * changes more pages than a transaction may; made behind its CREATE TABLE the same index grows with
 * the rows. The result is the same if nothing of the file drops or alters something, and of a
 * UNIQUE one if besides every row comes by a plain INSERT INTO, before there is any trigger: then a
 * row that breaks it fails the import either way.
 *
 * An index whose rows come in another order than its own changes a page for each row then. So a
 * plain one (of columns alone), if nothing of the file reads, is made empty where it stands, and
 * filled in its own order when all rows are there (BND_SQL_FILL_SUFFIX). A UNIQUE one only if it
 * stands behind all rows, where to look at all of them is what its statement does, and if no
 * foreign key may be looked up in it before. */
#ifndef BND_GATEWAY_D1_OUTLINE_H
#define BND_GATEWAY_D1_OUTLINE_H

#include "base/bytes.h"

#define D1_OUTLINE_BYTES_MAX                                                                       \
    ((size_t)1 << 20) /* of texts that are kept; more stay where they are */
#define D1_OUTLINE_NAME_MAX 128
#define D1_OUTLINE_INDEXES_MAX 8192u /* that are known; more stay where they are */

struct d1_outline_index {
    char table[D1_OUTLINE_NAME_MAX];
    bool unique;
    bool plain;     /* could be filled */
    bool made;      /* or not to be moved any more */
    bool empty;     /* made so */
    size_t at, len; /* its text in outline->texts */
};

struct d1_outline {
    bool fills;    /* set by the owner: plain indexes are filled in the end */
    bool unlinked; /* and this: the file puts off foreign keys before its first row */
    bool rows;     /* there have been some */
    /* private */
    bool alters;  /* something is dropped or altered */
    bool meddles; /* rows come otherwise than by plain INSERTs */
    bool trigger; /* there is one: an INSERT behind it is not plain */
    bool links;   /* a table has foreign keys */
    size_t early; /* indexes that have rows behind them */
    struct d1_outline_index *indexes;
    size_t count, cap;
    size_t passed; /* of them, while the file is executed */
    struct bnd_buf texts;
};

/* First every statement of the file, in order, as it ends. BND_NOMEM. */
int d1_outline_add(struct d1_outline *outline, struct bnd_slice statement);
/* Then every statement once more. True: it is to be left out, it was made before. Behind a CREATE
 * TABLE *out gets the statements that make its indexes now. */
bool d1_outline_place(struct d1_outline *outline, struct bnd_slice statement, struct bnd_buf *out);
/* Indexes that are made before their rows, once all statements have been added. */
size_t d1_outline_moved(const struct d1_outline *outline);
/* The next index from *at on (0 at first; moved behind it) that was made empty and is to be filled.
 * False: there is none. */
bool d1_outline_empty(const struct d1_outline *outline, size_t *at, char out[D1_OUTLINE_NAME_MAX]);
void d1_outline_free(struct d1_outline *outline);

#endif
