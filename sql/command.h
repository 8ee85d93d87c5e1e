/* Commands and queries of an SQL group (SPEC.md, "SQL commands"). Decoded forms borrow. Numbers are
 * part of the format: never reuse one. Inside sql/ only. */
#ifndef BND_SQL_COMMAND_H
#define BND_SQL_COMMAND_H

#include "sql/change_set.h"

enum sql_op {
    SQL_CREATE = 1,  /* -> record; EXISTS: it is there (-> record), NOTFOUND: it was deleted */
    SQL_DELETE = 2,  /* leaves a tombstone; NOTFOUND: it never was */
    SQL_COMMIT = 3,  /* -> bookmark (28 bytes), kept answer; CONFLICT: term, epoch or base; NOTFOUND */
    SQL_STAGE = 4,   /* a part of a change set that is too long for one command */
    SQL_RESTORE = 5, /* base; target epoch and version -> bookmark made, bookmark before; CONFLICT; NOTFOUND: no such version */
    SQL_FORK = 6,    /* new uuid; source uuid, epoch, version -> record; NOTFOUND, EXISTS */
    SQL_TICK = 7,    /* deletes what is dead, so much at a time */
};

struct sql_commit {
    uint32_t number, epoch;
    uint64_t term; /* of the leadership it was made in: in an entry of another it is CONFLICT (ADR 0100) */
    uint64_t base; /* version it was made on; it becomes base + 1 */
    uint32_t page_count;
    uint32_t pages_count;
    uint8_t attempt[16]; /* of its staged parts */
    uint32_t staged;     /* how many there are; then pages and answer are in them */
    struct bnd_slice pages;  /* packed */
    struct bnd_slice answer; /* encoded bnd_sql_answer with an empty bookmark; empty: too long to keep */
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
            uint32_t epoch;
            uint64_t version;
        } restore;
        struct {
            uint8_t source[BND_SQL_UUID_BYTES];
            uint32_t epoch;
            uint64_t version;
        } fork;
    } u;
};

void sql_command_encode(struct bnd_buf *out, const struct sql_command *command);
/* BND_INVALID. */
int sql_command_decode(struct bnd_slice bytes, struct sql_command *out);

enum sql_query_kind {
    SQL_QUERY_DATABASE = 1, /* uuid -> record, bookmark; NOTFOUND */
    SQL_QUERY_AT_TIME = 2,  /* uuid, stamp_ms -> bookmark; NOTFOUND */
};
struct sql_query {
    enum sql_query_kind kind;
    uint8_t uuid[BND_SQL_UUID_BYTES];
    uint64_t stamp_ms;
};
void sql_query_encode(struct bnd_buf *out, const struct sql_query *query);
int sql_query_decode(struct bnd_slice bytes, struct sql_query *out);

#endif
