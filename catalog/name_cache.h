/* What is remembered of things that have names and are many: set-associative, bounded, no lists.
 * A name has CATALOG_NAME_WAYS places; the oldest of a full set is replaced. Internal to catalog/.
 */
#ifndef BND_CATALOG_NAME_CACHE_H
#define BND_CATALOG_NAME_CACHE_H

#include "base/bytes.h"

#define CATALOG_NAME_MAX 64u
#define CATALOG_NAME_WAYS 4u
#define CATALOG_NAME_VALUE_BYTES 24u

struct catalog_name {
    uint8_t len; /* 0: free */
    uint8_t name[CATALOG_NAME_MAX];
    _Alignas(8) uint8_t value[CATALOG_NAME_VALUE_BYTES]; /* the owner's */
};

struct catalog_name_cache {
    struct catalog_name_set *sets;
    size_t sets_count; /* a power of two */
};

/* Room for at least so many. BND_NOMEM. */
int catalog_name_cache_init(struct catalog_name_cache *cache, size_t names);
void catalog_name_cache_free(struct catalog_name_cache *cache);

/* What is remembered of the name, or NULL. Valid until the next put. */
struct catalog_name *catalog_name_find(const struct catalog_name_cache *cache,
                                       struct bnd_slice name);
/* The place of a name of 1 to CATALOG_NAME_MAX bytes, its own or another's; its value is the
 * caller's to fill. */
struct catalog_name *catalog_name_put(struct catalog_name_cache *cache, struct bnd_slice name);
void catalog_name_drop(struct catalog_name_cache *cache, struct bnd_slice name);

#endif
