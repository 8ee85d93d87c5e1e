/* One version of a page: a whole image, or the runs of bytes ("spans") that it replaces in the
 * version before (ADR 0102; SPEC.md, "SQL state"). Pure functions. Inside sql/ only. */
#ifndef BND_SQL_PAGE_H
#define BND_SQL_PAGE_H

#include "sql/keys.h"

#define SQL_PAGE_BYTES 4096u
#define SQL_CHAIN_SPANS_MAX 16u   /* versions of spans in a row */
#define SQL_CHAIN_BYTES_MAX 4096u /* and their bytes */

/* Writes what turns old into new. Returns its length; 0: they are equal; SIZE_MAX: it has more than
 * `room` bytes, of which none is good. */
size_t sql_spans_diff(const uint8_t old[SQL_PAGE_BYTES], const uint8_t new[SQL_PAGE_BYTES],
                      uint8_t *out, size_t room);
/* At least one run, all within a page, nothing left over. */
bool sql_spans_valid(struct bnd_slice spans);
/* spans: valid. */
void sql_spans_apply(struct bnd_slice spans, uint8_t page[SQL_PAGE_BYTES]);

enum sql_page_form { SQL_PAGE_IMAGE = 1, SQL_PAGE_SPANS = 2 };

struct sql_page_value {
    enum sql_page_form form;
    uint8_t place;          /* SPANS: 1 to SQL_CHAIN_SPANS_MAX, in a row on top of an image */
    uint16_t row_bytes;     /* SPANS: of all in the row, this one's with them */
    struct bnd_slice bytes; /* SQL_PAGE_BYTES of an image; valid spans */
};

/* Appends the value under a key. */
void sql_page_value_encode(struct bnd_buf *out, const struct sql_key *key,
                           const struct sql_page_value *value);
/* key without its slot. Borrows from bytes. BND_CORRUPT. */
int sql_page_value_decode(struct bnd_slice key, struct bnd_slice bytes, struct sql_page_value *out);
/* What follows the form in a change set and in a value: false if it is none. */
bool sql_page_value_sound(const struct sql_page_value *value);

#endif
