/* Between the files of the state machine. */
#ifndef BND_SQL_FSM_PRIVATE_H
#define BND_SQL_FSM_PRIVATE_H

#include "sql/fsm.h"

/* One command being applied. */
struct sql_change {
    struct sql_fsm *fsm;
    const struct bnd_fsm_apply *context;
    const struct sql_command *command;
    struct bnd_buf *reply;
};

/* What is stored under a key of the batch, into *out (reset first). BND_NOTFOUND or a local error.
 */
int sql_change_get(const struct sql_change *change, const struct sql_key *key, struct bnd_buf *out);
void sql_change_put(const struct sql_change *change, const struct sql_key *key,
                    struct bnd_slice value);
void sql_change_delete(const struct sql_change *change, const struct sql_key *key);
/* Keys in [from, to), which must outlive it. NULL: no memory. */
struct bnd_state_iter *sql_change_iter(const struct sql_change *change, const struct sql_key *from,
                                       const struct sql_key *to);
/* Puts what was encoded into the machine's `value`. BND_NOMEM: it failed, nothing was written. */
int sql_change_put_value(const struct sql_change *change, const struct sql_key *key);

/* The database of a uuid, deleted ones too. BND_NOTFOUND: it never was. */
int sql_change_database(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                        struct sql_database_row *out);
/* One that is live; else BND_NOTFOUND. */
int sql_change_live(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                    struct sql_database_row *out);
/* As BND_NOTFOUND is nothing that is missing here: what the state must hold is damaged. */
static inline int sql_must(int rv) {
    return rv == BND_NOTFOUND ? BND_CORRUPT : rv;
}

/* Writers: BND_NOMEM, and then nothing was written. */
int sql_change_put_database(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                            const struct sql_database_row *row);
int sql_change_put_commit(const struct sql_change *change, uint32_t number,
                          const struct sql_commit_row *row);
int sql_change_put_epoch(const struct sql_change *change, uint32_t number, uint32_t epoch,
                         const struct sql_epoch_row *row);
int sql_change_get_epoch(const struct sql_change *change, uint32_t number, uint32_t epoch,
                         struct sql_epoch_row *out);

/* The epoch that a number began with. BND_NOTFOUND: the number is gone. */
int sql_change_first_epoch(const struct sql_change *change, uint32_t number, uint32_t *out_epoch,
                           struct sql_epoch_row *out);

/* Of a version, over what SPEC.md says ("SQL state"). */
void sql_hash_put(uint8_t out[BND_SQL_HASH_BYTES], struct bnd_slice bytes);
/* Of one without a change set: upon the hash before it. */
void sql_hash_without_pages(uint8_t hash[BND_SQL_HASH_BYTES], uint64_t version, uint32_t page_count,
                            const struct sql_fork_row *target);
void sql_reply_bookmark(const struct sql_change *change, const struct sql_database_record *record);

/* Commands. */
int sql_apply_create(const struct sql_change *change);
int sql_apply_delete(const struct sql_change *change);
int sql_apply_restore(const struct sql_change *change);
int sql_apply_fork(const struct sql_change *change);
int sql_apply_commit(const struct sql_change *change);
int sql_apply_stage(const struct sql_change *change);
int sql_apply_retain(const struct sql_change *change);
int sql_apply_branch(const struct sql_change *change);
int sql_apply_swap(const struct sql_change *change);

/* fsm_database.c. Writes the version that a database begins with, or that a restore makes: its
 * commit record, its epoch, its database record. */
int sql_database_begin(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES],
                       const struct sql_database_row *row, const struct sql_epoch_row *epoch);
/* The command's uuid as a fork of a number at a version of it (below the last one there can be),
 * beginning with that epoch. The reply gets its record. */
int sql_fork_make(const struct sql_change *change, uint32_t source,
                  const struct sql_commit_record *at, uint32_t epoch,
                  struct sql_database_record *out);
/* A version that a database has or had, whatever epoch it is in, and the number that it has there.
 * BND_NOTFOUND: there is none, it is not kept any more, or it is another than the bookmark is of:
 * another database's. */
int sql_find_version(const struct sql_change *change, const struct sql_database_record *record,
                     const struct bnd_sql_bookmark *target, struct sql_commit_record *out,
                     uint32_t *out_number);
/* BND_NOTFOUND: it never was. */
int sql_database_delete(const struct sql_change *change, const uint8_t uuid[BND_SQL_UUID_BYTES]);

/* fsm_branch.c: a number that was deleted is no branch any more, and holds nothing. */
int sql_branch_ended(const struct sql_change *change, uint32_t number);
/* Deletes the branches whose lease is over. */
int sql_branches_end(const struct sql_change *change);

/* fsm_commit.c: the staged parts of a database, and what is known of pages. */
void sql_staged_drop(const struct sql_change *change, struct sql_database_row *row);
void sql_heads_clear(struct sql_fsm *fsm);

/* fsm_sweep.c: a number whose database was deleted: it is swept when its time comes, and nothing
 * descends from it any more. */
int sql_dead_add(const struct sql_change *change, uint32_t number);
/* Deletes at most `keys` keys of what is due. */
int sql_dead_sweep(const struct sql_change *change, unsigned keys);

/* fsm_retain.c: goes on with the pass that is under way: with a large step, or with a smaller one
 * if this entry is one that does. */
int sql_pass_step(const struct sql_change *change, bool large);
/* Ends it, if it is over this number: all of it goes. */
int sql_pass_end(const struct sql_change *change, uint32_t number);
/* A fork of the parent is gone: asks for a pass, if something was kept for it. */
int sql_unpinned(const struct sql_change *change, uint32_t parent, const struct sql_fork_row *fork);

/* fsm_plan.c: epochs or forks of some number have changed. */
void sql_plan_clear(struct sql_fsm *fsm);
void sql_plan_free(struct sql_fsm *fsm);

static inline bool sql_fsm_rule(const struct sql_fsm *fsm, enum sql_rule rule) {
    return (fsm->hooks.rules_off & rule) == 0;
}

#endif
