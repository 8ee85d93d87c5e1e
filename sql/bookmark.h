/* A place in a database's history, as clients hold it: restore epoch, version, position, hash in
 * the 8-8-8-32 lowercase hex form of D1, so that text order is history order (architecture 9). */
#ifndef BND_SQL_BOOKMARK_H
#define BND_SQL_BOOKMARK_H

#include "base/bytes.h"
#include "base/error.h"
#include "sql/request.h"

#define BND_SQL_HASH_BYTES 16
#define BND_SQL_VERSION_MAX UINT64_C(0xffffffffffff)

/* In text: epoch (8 digits), the upper 32 of the version's 48 bits (8), its lower 16 bits and 16
 * zero bits (8), hash (32). */
struct bnd_sql_bookmark {
    uint32_t epoch;
    uint64_t version; /* at most BND_SQL_VERSION_MAX */
    uint8_t hash[BND_SQL_HASH_BYTES];
};

void bnd_sql_bookmark_text(const struct bnd_sql_bookmark *bookmark,
                           char out[BND_SQL_BOOKMARK_TEXT + 1]);
/* BND_INVALID: not of that form. */
int bnd_sql_bookmark_parse(struct bnd_slice text, struct bnd_sql_bookmark *out);
/* Epoch u32, version u64, hash. */
void bnd_sql_bookmark_put(uint8_t out[BND_SQL_BOOKMARK_BYTES],
                          const struct bnd_sql_bookmark *bookmark);
void bnd_sql_bookmark_append(struct bnd_buf *out, const struct bnd_sql_bookmark *bookmark);
/* Of bytes that were put. */
void bnd_sql_bookmark_get(const uint8_t bytes[BND_SQL_BOOKMARK_BYTES],
                          struct bnd_sql_bookmark *out);
/* Of bytes that came from elsewhere: a version above BND_SQL_VERSION_MAX fails the reader. */
void bnd_sql_bookmark_read(struct bnd_reader *r, struct bnd_sql_bookmark *out);

#endif
