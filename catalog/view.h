/* The decoded view: internal to catalog/. */
#ifndef BND_CATALOG_VIEW_H
#define BND_CATALOG_VIEW_H

#include "catalog/catalog.h"

struct catalog_view {
    struct bnd_catalog_view view;
    uint8_t *bytes; /* what the records borrow from */
    struct bnd_buf secrets;
};

/* Decodes a full answer of BND_CATALOG_QUERY_VIEW (it holds more than the revision) into an owned
 * *out. BND_CORRUPT, BND_NOMEM. A key whose secret cannot be unsealed is left out. */
int catalog_view_decode(struct bnd_slice reply, const uint8_t cluster_key[BND_CLUSTER_KEY_LEN],
                        struct catalog_view **out);
void catalog_view_free(struct catalog_view *view); /* NULL allowed */

#endif
