#include "sql/connection_private.h"

#include "base/alloc.h"
#include "base/hash.h"

void sql_cache_init(struct sql_cache *cache) {
    *cache = (struct sql_cache){0};
    bnd_list_init(&cache->used);
}

static struct sql_kept **chain_of(struct sql_cache *cache, uint64_t hash) {
    return &cache->chains[hash % SQL_CACHE_CHAINS];
}

static void drop(struct sql_cache *cache, struct sql_kept *kept) {
    struct sql_kept **at = chain_of(cache, kept->hash);
    while (*at != kept) {
        at = &(*at)->next;
    }
    *at = kept->next;
    bnd_link_remove(&kept->link);
    cache->bytes -= kept->bytes;
    cache->count--;
    (void)sqlite3_finalize(kept->statement); /* tells how its last run ended */
    bnd_free(kept);
}

static struct sql_kept *oldest(struct sql_cache *cache) {
    return BND_CONTAINER(cache->used.next, struct sql_kept, link);
}

void sql_cache_clear(struct sql_cache *cache) {
    while (!bnd_list_empty(&cache->used)) {
        drop(cache, oldest(cache));
    }
    BND_ASSERT(cache->bytes == 0 && cache->count == 0);
}

sqlite3_stmt *sql_cache_find(struct sql_cache *cache, struct bnd_slice text) {
    uint64_t hash = bnd_hash64(text, 0);
    struct sql_kept *kept = *chain_of(cache, hash);
    while (kept != NULL &&
           (kept->hash != hash || !bnd_slice_eq(bnd_slice(kept->text, kept->text_bytes), text))) {
        kept = kept->next;
    }
    if (kept == NULL) {
        return NULL;
    }
    bnd_link_remove(&kept->link);
    bnd_list_push(&cache->used, &kept->link);
    return kept->statement;
}

bool sql_cache_put(struct sql_cache *cache, struct bnd_slice text, sqlite3_stmt *statement) {
    size_t bytes = (size_t)sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_MEMUSED, 0) + text.len +
                   sizeof(struct sql_kept);
    if (bytes > SQL_CACHE_BYTES_EACH_MAX) {
        return false;
    }
    struct sql_kept *kept = bnd_alloc(sizeof *kept + text.len);
    if (kept == NULL) {
        return false;
    }
    while (cache->count == SQL_CACHE_COUNT_MAX || cache->bytes + bytes > SQL_CACHE_BYTES_MAX) {
        drop(cache, oldest(cache));
    }
    *kept = (struct sql_kept){.hash = bnd_hash64(text, 0),
                              .statement = statement,
                              .bytes = bytes,
                              .text_bytes = text.len};
    memcpy(kept->text, text.data, text.len);
    struct sql_kept **chain = chain_of(cache, kept->hash);
    kept->next = *chain;
    *chain = kept;
    bnd_list_push(&cache->used, &kept->link);
    cache->bytes += bytes;
    cache->count++;
    return true;
}
