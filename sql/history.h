/* Reading a database at a version, from the state (ADR 0100; SPEC.md, "SQL"). Thread-safe: any
 * thread, while the slot is the group's. What was collected or destroyed meanwhile is
 * BND_NOTFOUND. Inside sql/ only. */
#ifndef BND_SQL_HISTORY_H
#define BND_SQL_HISTORY_H

#include "engine/state.h"
#include "sql/bookmark.h"
#include "sql/page.h"

enum sql_database_state {
    SQL_DATABASE_LIVE = 1,
    SQL_DATABASE_DELETED = 2,
    SQL_DATABASE_HELD = 3, /* as LIVE, but nothing may change it: it is being imported into */
};

/* What the state says of a database. */
struct sql_database_record {
    enum sql_database_state state;
    uint32_t number; /* what its keys begin with: unique in the group, never reused */
    uint32_t epoch;
    uint64_t version;    /* newest; 0: nothing was ever written */
    uint32_t page_count; /* at it */
    uint64_t stamp_ms;   /* of it */
    uint64_t created_ms;
    uint8_t hash[BND_SQL_HASH_BYTES]; /* of it */
    uint64_t cutoff;                  /* versions below it are not kept any more; 0: all are */
};

/* BND_NOTFOUND, BND_CORRUPT, BND_IO, BND_NOMEM. */
int sql_history_database(struct bnd_state *state, uint32_t slot,
                         const uint8_t uuid[BND_SQL_UUID_BYTES], struct sql_database_record *out);

/* A version of a database that is read. */
struct sql_at {
    struct bnd_state *state;
    uint32_t slot;
    uint32_t number;
    uint32_t epoch;
    uint64_t version;
};

/* Where a page's bytes came from: what the next change of it needs to know. */
struct sql_page_found {
    uint64_t version;     /* that made them */
    bool inherited;       /* from a parent epoch: its first version here must be an image */
    uint16_t spans;       /* in a row on top of its image */
    uint32_t spans_bytes; /* of them */
};

/* The page's bytes at a version; page 1 is the first. found may be NULL. BND_NOTFOUND: it has none,
 * or the version is not kept any more; BND_CORRUPT, BND_IO, BND_NOMEM: out is of no use then. */
int sql_history_page(const struct sql_at *at, uint32_t page, uint8_t out[SQL_PAGE_BYTES],
                     struct sql_page_found *found);

/* A slot's pages as the state has them at one moment: to read many of them, each for less than half
 * of what it costs alone. It keeps memory and files of the state that would be gone by now: for a
 * run, not for longer. One thread at a time. */
struct sql_snapshot;
int sql_snapshot_open(struct bnd_state *state, uint32_t slot,
                      struct sql_snapshot **out);       /* NOMEM */
void sql_snapshot_close(struct sql_snapshot *snapshot); /* NULL allowed */
/* As sql_history_page. at: of this state and slot. */
int sql_snapshot_page(struct sql_snapshot *snapshot, const struct sql_at *at, uint32_t page,
                      uint8_t out[SQL_PAGE_BYTES], struct sql_page_found *found);

struct sql_commit_record {
    uint32_t epoch;
    uint64_t version;
    uint64_t stamp_ms;
    uint32_t page_count;
    uint8_t hash[BND_SQL_HASH_BYTES];
};

/* What an iterator over epoch records of one number stands on. BND_NOTFOUND: on none. */
struct sql_epoch_row;
int sql_history_epoch_here(struct bnd_state *state, struct bnd_state_iter *iter,
                           uint32_t *out_epoch, struct sql_epoch_row *out);

/* BND_NOTFOUND: no such version of this database, or it is above at's (its forks begin with their
 * own first). Of at only state, slot, number and version count here and below. */
int sql_history_commit(const struct sql_at *at, uint64_t version, struct sql_commit_record *out);
/* The oldest version that is kept, of a database with this cutoff. */
int sql_history_oldest(const struct sql_at *at, uint64_t cutoff, struct sql_commit_record *out);
/* What the database was at a time: its newest version with a stamp at or before it, also one that a
 * restore took back since, or one that it had before an import (ADR 0106). BND_NOTFOUND: the
 * database is younger, or that version is below the cutoff. */
int sql_history_at_time(const struct sql_at *at, uint64_t cutoff, uint64_t stamp_ms,
                        struct sql_commit_record *out);

#endif
