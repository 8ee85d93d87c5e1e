/* Keys of BND_CF_SQL and the frame of its values (SPEC.md, "SQL state"). Inside sql/ and for
 * inspect.
 *
 * A value begins with a format and ends with a check over its key and itself, so that a byte that
 * has changed, and a value that has come under another's key, are found by whoever reads it. */
#ifndef BND_SQL_KEYS_H
#define BND_SQL_KEYS_H

#include "base/bytes.h"
#include "sql/request.h"

enum sql_tag {
    SQL_TAG_COUNTERS = 'n',
    SQL_TAG_DATABASE = 'd',
    SQL_TAG_EPOCH = 'e',
    SQL_TAG_COMMIT = 'c',
    SQL_TAG_PAGE = 'p',
    SQL_TAG_STAGED = 's',
    SQL_TAG_FORK = 'f',
    SQL_TAG_LEASE = 'l',
    SQL_TAG_PINNED = 'w',
    SQL_TAG_DEAD = 'x',
    SQL_TAG_PASS = 'r',
    SQL_TAG_UNPINNED = 'u',
};

#define SQL_KEY_SLOT_BYTES 4u
#define SQL_KEY_MAX (SQL_KEY_SLOT_BYTES + 1u + 4u + 4u + 4u + 8u)
#define SQL_KEY_PAGE_BYTES (SQL_KEY_MAX - SQL_KEY_SLOT_BYTES) /* of one without its slot */

struct sql_key {
    uint8_t bytes[SQL_KEY_MAX];
    size_t len;
};

static inline struct bnd_slice sql_key_slice(const struct sql_key *key) {
    return bnd_slice(key->bytes, key->len);
}
static inline struct bnd_slice sql_key_rest(const struct sql_key *key) {
    return bnd_slice(key->bytes + SQL_KEY_SLOT_BYTES, key->len - SQL_KEY_SLOT_BYTES);
}

/* Only the slot and the tag: counters, the pass, and the beginning of the others. */
void sql_key_tag(struct sql_key *out, uint32_t slot, enum sql_tag tag);
void sql_key_database(struct sql_key *out, uint32_t slot, const uint8_t uuid[BND_SQL_UUID_BYTES]);
/* Only the number: PINNED, UNPINNED, LEASE (of the branch), and the beginning of EPOCH, COMMIT, PAGE,
 * STAGED, FORK. */
void sql_key_number(struct sql_key *out, uint32_t slot, enum sql_tag tag, uint32_t number);
/* EPOCH (epoch), STAGED (part), FORK (number of the fork). */
void sql_key_pair(struct sql_key *out, uint32_t slot, enum sql_tag tag, uint32_t number,
                  uint32_t second);
void sql_key_commit(struct sql_key *out, uint32_t slot, uint32_t number, uint64_t version);
/* The first of the page's versions in this epoch that is not above `version`. */
void sql_key_page(struct sql_key *out, uint32_t slot, uint32_t number, uint32_t page,
                  uint32_t epoch, uint64_t version);
void sql_key_dead(struct sql_key *out, uint32_t slot, uint64_t due_ms, uint32_t number);
/* Of a slot, and what follows it. */
void sql_key_rest_set(struct sql_key *out, uint32_t slot, struct bnd_slice rest);
/* Makes *key the first key above every key that begins with it. */
void sql_key_past(struct sql_key *key);

#define SQL_VALUE_CHECK_BYTES 4u

/* Appends the format; fields follow. Returns where the value begins in out. */
size_t sql_value_begin(struct bnd_buf *out);
/* Appends the check. */
void sql_value_end(struct bnd_buf *out, size_t begin, const struct sql_key *key);
/* Checks a value that stands under a key (without its slot): *out reads its fields. BND_CORRUPT. */
int sql_value_open(struct bnd_slice key, struct bnd_slice value, struct bnd_reader *out);

#endif
