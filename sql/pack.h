/* From a finished change set to the commands that propose it, and back (SPEC.md, "SQL commands").
 * Inside sql/ only. */
#ifndef BND_SQL_PACK_H
#define BND_SQL_PACK_H

#include "sql/command.h"

/* The memory that packing needs, kept from one to the next. Used by one thread at a time. */
struct sql_packer;
int sql_packer_create(struct sql_packer **out); /* BND_NOMEM */
/* What is longer than so many bytes is cut into parts of so many, not only what is longer than a
 * command of Raft: more parts than there may be is for the caller to see to. */
void sql_packer_cut_at(struct sql_packer *packer, uint32_t bytes);
void sql_packer_destroy(struct sql_packer *packer); /* NULL allowed */

/* The commands of a transaction in the order in which they must be proposed: the commit last, under
 * the client's id; before it the parts, if it is too long for one. Each may be proposed only when
 * the one before it was. *out: reset, then count times bytes (bnd_read_bytes). header: number,
 * epoch, term, base, page_count, and attempt, 16 random bytes; the rest is filled in. answer: at
 * most SQL_ANSWER_KEPT_MAX, empty: none is kept. The set stays as it is, and the caller's.
 * BND_TOOBIG: it has more than SQL_CHANGE_SET_MAX; BND_NOMEM. */
int sql_packer_commit(struct sql_packer *packer, const uint8_t uuid[BND_SQL_UUID_BYTES],
                      const struct sql_commit *header, struct sql_change_set *set,
                      struct bnd_slice answer, struct bnd_buf *out, uint32_t *out_count);

struct sql_unpacker;
int sql_unpacker_create(struct sql_unpacker **out);       /* BND_NOMEM */
void sql_unpacker_destroy(struct sql_unpacker *unpacker); /* NULL allowed */

/* Appends exactly `bytes` bytes, or nothing. BND_INVALID: packed is not one frame of so many;
 * BND_NOMEM. */
int sql_unpack(struct sql_unpacker *unpacker, struct bnd_slice packed, size_t bytes,
               struct bnd_buf *out);

#endif
