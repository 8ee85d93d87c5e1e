/* The pages that one transaction changed, as the leader proposes them (ADR 0100; SPEC.md, "SQL
 * commands"). Inside sql/ only. */
#ifndef BND_SQL_CHANGE_SET_H
#define BND_SQL_CHANGE_SET_H

#include "sql/history.h"

#define SQL_CHANGE_SET_MAX (16u << 20) /* encoded; above it the transaction fails */
#define SQL_ANSWER_KEPT_MAX 3072u      /* of an answer that is kept for a retry */
#define SQL_CHAIN_SPANS_MAX 16u
#define SQL_CHAIN_BYTES_MAX 4096u

struct sql_change_set {
    struct bnd_buf pages; /* encoded so far */
    uint32_t count;
};

/* Adds a page. Pages in rising order. old NULL: it has no bytes before (new, or back after a
 * shrink). old and found: as of the base version (chain rule of the ADR). *out_found: what it is
 * then. A page that is equal is left out. */
void sql_change_set_page(struct sql_change_set *set, uint32_t page,
                         const uint8_t old[SQL_PAGE_BYTES], const struct sql_page_found *found,
                         const uint8_t new[SQL_PAGE_BYTES], uint64_t version,
                         struct sql_page_found *out_found);
void sql_change_set_free(struct sql_change_set *set);

#endif
