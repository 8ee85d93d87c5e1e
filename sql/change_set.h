/* The pages that one transaction changed, as the leader proposes them (ADR 0102; SPEC.md, "SQL
 * commands"). Inside sql/ only. */
#ifndef BND_SQL_CHANGE_SET_H
#define BND_SQL_CHANGE_SET_H

#include "sql/history.h"

#define SQL_CHANGE_SET_MAX (16u << 20) /* encoded; above it the transaction fails */
#define SQL_ANSWER_KEPT_MAX 3072u      /* of an answer that is kept for a retry */

struct sql_change_set {
    struct bnd_buf pages; /* encoded so far; failed: no memory */
    uint32_t count;
    uint32_t last; /* page */
};

/* Adds a page. Pages in rising order; `version` is the one being made, the same for all. old NULL:
 * it has no bytes before (new, or back after a shrink). old and found: as of the base version; the
 * chain rule of ADR 0102 then says which form it has. *out_found: what it is in the new version. A
 * page that is equal is left out (and *out_found is *found). */
void sql_change_set_page(struct sql_change_set *set, uint32_t page,
                         const uint8_t old[SQL_PAGE_BYTES], const struct sql_page_found *found,
                         const uint8_t new[SQL_PAGE_BYTES], uint64_t version,
                         struct sql_page_found *out_found);
void sql_change_set_free(struct sql_change_set *set);

/* One page of an encoded change set; borrows. */
struct sql_page_change {
    uint32_t page;
    uint64_t back; /* SPANS: versions from the one being made to the one they are upon, not 0 */
    struct sql_page_value value;
};

/* Reads a change set page by page; *page is the last one (0 at first). BND_INVALID: pages do not
 * rise, or what follows is none. */
int sql_change_set_next(struct bnd_reader *r, uint32_t *page, struct sql_page_change *out);

#endif
