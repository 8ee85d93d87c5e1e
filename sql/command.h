/* Commands and queries of an SQL group (SPEC.md, "SQL commands"). Decoded forms borrow. Numbers are
 * part of the format: never reuse one. Inside sql/ only. */
#ifndef BND_SQL_COMMAND_H
#define BND_SQL_COMMAND_H

#include "sql/change_set.h"

enum sql_op {
    SQL_CREATE = 1,  /* -> record; EXISTS: it is there (-> record), NOTFOUND: it was deleted */
    SQL_DELETE = 2,  /* leaves a tombstone, again too; NOTFOUND: it never was */
    SQL_COMMIT = 3,  /* -> bookmark, kept answer; CONFLICT: term, number, epoch, base or
                        parts; NOTFOUND */
    SQL_STAGE = 4,   /* a part of a change set that is too long for one command; the first one drops
                        those of other attempts. CONFLICT: number, or not the next part; NOTFOUND */
    SQL_RESTORE = 5, /* base; target epoch and version -> bookmark made, bookmark before; CONFLICT:
                        base; NOTFOUND: no such database or version */
    SQL_FORK = 6,    /* new uuid; source uuid, epoch, version -> record; NOTFOUND: no such source or
                        version, or the new one was deleted; EXISTS: it is there (-> record) */
    SQL_TICK = 7,    /* deletes what is dead or not kept any more, so much at a time */
    SQL_RETAIN = 8,  /* uuid, cutoff, ms: from now on no version below the cutoff can be restored,
                        forked or read, and what only they need is deleted. PRECONDITION: a pass is
                        under way, the cutoff is younger than so many ms, or time is suspended;
                        NOTFOUND */
    SQL_BRANCH = 9,  /* new uuid; source uuid, does it hold the source, or epoch and version. A fork
                        of the source's present, or of that version, for BND_SQL_LEASE_MS; again: its
                        lease begins anew. -> record, bookmark of the source that it was made of.
                        NOTFOUND: no such source or version, or the branch was deleted; LOCKED:
                        another branch holds the source; EXISTS: the uuid is something else's */
    SQL_SWAP = 10,   /* branch, its version: what the branch is, the database that it holds is from
                        now on -> bookmark made, bookmark before. NOTFOUND: no such database;
                        PRECONDITION: the branch is gone, does not hold it or is at another version */
};

/* A change set that is too long for one command is cut into parts of so many bytes. */
#define SQL_PART_BYTES (512u << 10)
#define SQL_PARTS_MAX 64u
#define SQL_COMMIT_HEAD_BYTES 77u /* what a COMMIT has before the packed bytes */

struct sql_commit {
    uint32_t number, epoch;
    uint64_t term;           /* it was made in; in an entry of another it is CONFLICT (ADR 0100) */
    uint64_t base;           /* version it was made on; it becomes base + 1 */
    uint32_t page_count;     /* of the database after it, not 0 */
    uint32_t pages_count;    /* in the change set */
    uint32_t pages_bytes;    /* of the change set, unpacked */
    uint32_t answer_bytes;   /* unpacked; 0: none is kept, it was too long */
    uint32_t staged;         /* parts; if there are any, they hold the packed bytes */
    uint8_t attempt[16];     /* that the parts are of */
    struct bnd_slice packed; /* the change set, then the answer: an encoded bnd_sql_answer with an
                                empty bookmark (sql/pack.h) */
};

struct sql_command {
    enum sql_op op;
    uint8_t uuid[BND_SQL_UUID_BYTES];
    union {
        struct sql_commit commit;
        struct {
            uint32_t number;
            uint8_t attempt[16];
            uint32_t part;
            struct bnd_slice bytes;
        } stage;
        struct {
            uint64_t base;
            struct bnd_sql_bookmark target;
        } restore;
        struct {
            uint8_t source[BND_SQL_UUID_BYTES];
            struct bnd_sql_bookmark target;
        } fork;
        struct {
            uint64_t cutoff;  /* SQL_CUTOFF_ALL: it was deleted and has forks */
            uint64_t keep_ms; /* what came after the cutoff is older than this */
        } retain;
        struct {
            uint8_t source[BND_SQL_UUID_BYTES];
            bool holds;                     /* then it is of the present */
            bool past;                      /* it is of */
            struct bnd_sql_bookmark target; /* this */
        } branch;
        struct {
            uint8_t branch[BND_SQL_UUID_BYTES];
            uint64_t version;
        } swap;
    } u;
};

void sql_command_encode(struct bnd_buf *out, const struct sql_command *command);
/* BND_INVALID. */
int sql_command_decode(struct bnd_slice bytes, struct sql_command *out);

enum sql_query_kind {
    SQL_QUERY_DATABASE = 1, /* uuid -> record; NOTFOUND */
    SQL_QUERY_AT_TIME = 2,  /* uuid, stamp_ms -> bookmark; NOTFOUND: it is younger */
};
struct sql_query {
    enum sql_query_kind kind;
    uint8_t uuid[BND_SQL_UUID_BYTES];
    uint64_t stamp_ms;
};
void sql_query_encode(struct bnd_buf *out, const struct sql_query *query);
/* BND_INVALID. */
int sql_query_decode(struct bnd_slice bytes, struct sql_query *out);

/* A record in replies: of a database that is live. */
void sql_record_encode(struct bnd_buf *out, const struct sql_database_record *record);
/* BND_CORRUPT. */
int sql_record_decode(struct bnd_slice bytes, struct sql_database_record *out);

#endif
