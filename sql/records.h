/* Records of an SQL group beside its pages (SPEC.md, "SQL state"). Decoded forms borrow. Inside
 * sql/ and for inspect. */
#ifndef BND_SQL_RECORDS_H
#define BND_SQL_RECORDS_H

#include "sql/history.h"

#define SQL_ATTEMPT_BYTES 16u
/* The cutoff of a database that was deleted: only what its forks stand upon is kept. */
#define SQL_CUTOFF_ALL (BND_SQL_VERSION_MAX + 1)
/* Never given out: of a branch that took its source's place, and has no number any more. */
#define SQL_NUMBER_NONE UINT32_MAX

struct sql_database_row {
    struct sql_database_record record;
    uint32_t staged;                    /* parts that are put down, 0 to staged - 1 */
    uint8_t attempt[SQL_ATTEMPT_BYTES]; /* that they are of */
};
void sql_database_encode(struct bnd_buf *out, const struct sql_key *key,
                         const struct sql_database_row *row);

struct sql_epoch_row {
    uint32_t parent_number; /* 0: there is none */
    uint32_t parent_epoch;
    uint64_t parent_version;
    uint64_t first_version;
    uint64_t stamp_ms;
    uint64_t cutoff; /* who reads the epoch below it finds nothing any more; 0: none */
};
void sql_epoch_encode(struct bnd_buf *out, const struct sql_key *key,
                      const struct sql_epoch_row *row);

struct sql_commit_row {
    struct sql_commit_record record; /* its version is the key's */
    uint32_t pages_count;
    struct bnd_slice pages; /* varints, each the distance to the page before */
};
void sql_commit_encode(struct bnd_buf *out, const struct sql_key *key,
                       const struct sql_commit_row *row);

struct sql_fork_row {
    uint32_t epoch; /* of the source */
    uint64_t version;
};
void sql_fork_encode(struct bnd_buf *out, const struct sql_key *key,
                     const struct sql_fork_row *row);

/* A branch: a fork that nobody has a name for. It is deleted when its time is over. */
struct sql_lease_row {
    uint8_t branch[BND_SQL_UUID_BYTES];
    uint8_t source[BND_SQL_UUID_BYTES];
    bool holds; /* the source, which it may take the place of */
    struct bnd_sql_bookmark at; /* of the source, that it was made of */
    uint64_t until_ms;
};
void sql_lease_encode(struct bnd_buf *out, const struct sql_key *key,
                      const struct sql_lease_row *row);

/* Of PINNED, UNPINNED and counters: one number. */
void sql_number_encode(struct bnd_buf *out, const struct sql_key *key, uint32_t number);

enum sql_section {
    SQL_SECTION_EPOCHS,
    SQL_SECTION_PAGES,
    SQL_SECTION_COMMITS,
    SQL_SECTION_END,
};
struct sql_dead_row {
    uint32_t parent_number; /* of its first epoch; 0: none */
    enum sql_section section;
    struct bnd_slice last; /* key without slot that was deleted last in the section; empty: none */
};
void sql_dead_encode(struct bnd_buf *out, const struct sql_key *key,
                     const struct sql_dead_row *row);

/* The pass of the retention that is under way (fsm_retain.c). */
struct sql_pass_row {
    uint32_t number;
    uint64_t cutoff;
    enum sql_section section;
    bool row_goes_on;      /* what was looked at last is kept, and stands upon what comes next */
    struct bnd_slice last; /* key without slot that was looked at last in it; empty: none */
};
void sql_pass_encode(struct bnd_buf *out, const struct sql_key *key,
                     const struct sql_pass_row *row);

/* key: without its slot, of the tag in question (checked). All: BND_CORRUPT. */
int sql_database_decode(struct bnd_slice key, struct bnd_slice value, struct sql_database_row *out);
int sql_epoch_decode(struct bnd_slice key, struct bnd_slice value, struct sql_epoch_row *out);
int sql_commit_decode(struct bnd_slice key, struct bnd_slice value, struct sql_commit_row *out);
int sql_fork_decode(struct bnd_slice key, struct bnd_slice value, struct sql_fork_row *out);
int sql_lease_decode(struct bnd_slice key, struct bnd_slice value, struct sql_lease_row *out);
int sql_number_decode(struct bnd_slice key, struct bnd_slice value, uint32_t *out);
int sql_dead_decode(struct bnd_slice key, struct bnd_slice value, struct sql_dead_row *out);
int sql_pass_decode(struct bnd_slice key, struct bnd_slice value, struct sql_pass_row *out);

#endif
