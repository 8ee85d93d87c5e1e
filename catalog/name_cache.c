#include "catalog/name_cache.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/hash.h"

struct catalog_name_set {
    struct catalog_name ways[CATALOG_NAME_WAYS];
    uint8_t next;
};

int catalog_name_cache_init(struct catalog_name_cache *cache, size_t names) {
    cache->sets_count = 1;
    while (cache->sets_count * CATALOG_NAME_WAYS < names) {
        cache->sets_count *= 2;
    }
    cache->sets = bnd_calloc(cache->sets_count, sizeof *cache->sets);
    return cache->sets == NULL ? BND_NOMEM : 0;
}

void catalog_name_cache_free(struct catalog_name_cache *cache) {
    bnd_free(cache->sets);
    cache->sets = NULL;
}

static struct catalog_name_set *set_of(const struct catalog_name_cache *cache,
                                       struct bnd_slice name) {
    return &cache->sets[bnd_hash64(name, 0) & (cache->sets_count - 1)];
}

struct catalog_name *catalog_name_find(const struct catalog_name_cache *cache,
                                       struct bnd_slice name) {
    struct catalog_name_set *set = set_of(cache, name);
    for (size_t i = 0; i < CATALOG_NAME_WAYS; i++) {
        struct catalog_name *way = &set->ways[i];
        if (way->len > 0 && bnd_slice_eq(bnd_slice(way->name, way->len), name)) {
            return way;
        }
    }
    return NULL;
}

struct catalog_name *catalog_name_put(struct catalog_name_cache *cache, struct bnd_slice name) {
    BND_ASSERT(name.len > 0 && name.len <= CATALOG_NAME_MAX);
    struct catalog_name *way = catalog_name_find(cache, name);
    if (way == NULL) {
        struct catalog_name_set *set = set_of(cache, name);
        way = &set->ways[set->next];
        set->next = (uint8_t)((set->next + 1) % CATALOG_NAME_WAYS);
    }
    way->len = (uint8_t)name.len;
    memcpy(way->name, name.data, name.len);
    return way;
}

void catalog_name_drop(struct catalog_name_cache *cache, struct bnd_slice name) {
    struct catalog_name *found = catalog_name_find(cache, name);
    if (found != NULL) {
        found->len = 0;
    }
}
