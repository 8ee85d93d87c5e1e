/* Imports and exports on their way, at this process: internal to gateway/.
 *
 * An import is announced, its file is put under a URL that nobody can guess, and then it is
 * ingested; an export is a branch of the database, and is read under such a URL. All at the same
 * process. Bounded: so many files, those in memory each as large as a transaction may be and all
 * together a quarter of what requests may hold (front.h), the others on disk; dropped when nobody
 * has used it for a while; an export that somebody has got, or an import whose end was told, is
 * dropped before that when another file needs its room.
 */
#ifndef BND_GATEWAY_D1_FILES_H
#define BND_GATEWAY_D1_FILES_H

#include "base/env.h"
#include "base/queue.h"
#include "gateway/d1/branch.h"
#include "gateway/front.h"
#include "sql/request.h"

#define D1_FILES_MAX 16u
/* A request is a little more than its text. */
#define D1_IMPORT_MEMORY_MAX (BND_SQL_REQUEST_MAX - 1024u)
#define D1_IMPORT_BYTES_MAX (UINT64_C(5) << 30) /* as D1's */
#define D1_FILE_KEPT_NS (UINT64_C(900) * 1000 * BND_MS)
#define D1_FILE_ID_TEXT 33 /* 32 hex digits */
#define D1_ETAG_TEXT 33

struct d1_spool;
struct d1_load;

struct d1_file {
    char id[D1_FILE_ID_TEXT];
    char etag[D1_ETAG_TEXT]; /* import: MD5 that the file must have, lowercase hex */
    uint8_t uuid[BND_SQL_UUID_BYTES];
    struct bnd_buf bytes;   /* import: in memory, */
    struct d1_spool *spool; /* or on disk */
    struct d1_load *load;   /* import from disk: begun */
    bool whole;             /* import: uploaded */
    bool busy;              /* a request works with it: it is not dropped */
    bool got; /* export: as a whole; import: its end was told. Others may have its room */
    /* export: */
    struct d1_branch branch;
    bool no_schema, no_data;
    struct bnd_buf tables; /* JSON array of the names that are wanted; empty: all */
    /* private */
    uint64_t used_ns; /* last seen busy or loading */
    size_t charged;
    struct bnd_link link;
};

struct d1_files {
    struct bnd_env *env; /* borrowed, like front */
    struct gateway_front *front;
    struct bnd_link list; /* oldest first */
    size_t count;
    size_t bytes; /* charged for all of them */
    struct bnd_timer timer;
};

void d1_files_init(struct d1_files *files, struct bnd_env *env, struct gateway_front *front);
void d1_files_free(struct d1_files *files);

/* A new one for that database; etag "": an export. NULL: there are too many, or there is no
 * memory. */
struct d1_file *d1_file_open(struct d1_files *files, const uint8_t uuid[BND_SQL_UUID_BYTES],
                             const char *etag);
/* NULL: not known (any more). */
struct d1_file *d1_file_find(struct d1_files *files, struct bnd_slice id);
/* The newest import into that database that was begun from disk; NULL: there is none. */
struct d1_file *d1_file_loading(struct d1_files *files, const uint8_t uuid[BND_SQL_UUID_BYTES]);
/* Bytes that uploads under way will still write to disk. */
uint64_t d1_files_to_come(const struct d1_files *files);
/* In memory. BND_TOOBIG, BND_FULL, BND_NOMEM. */
int d1_file_take(struct d1_files *files, struct d1_file *file, struct bnd_slice bytes);
/* Forgets the bytes that it has, and what came of them. */
void d1_file_clear(struct d1_files *files, struct d1_file *file);
void d1_file_drop(struct d1_files *files, struct d1_file *file);

#endif
