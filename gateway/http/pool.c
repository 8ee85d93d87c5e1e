/* Blocks for everything a connection needs only while it is at work.
 *
 * Free blocks are kept up to KEEP_BYTES, newest first, so that a busy server does not go to the
 * allocator and a quiet one gives its memory back. */
#include "base/alloc.h"
#include "gateway/http/server_private.h"

#define KEEP_BYTES ((size_t)(16u << 20))

/* The smallest holds a request or an answer of a few fields: what many connections have at once, so
 * that it stays in the processor's caches. The largest holds one whole chunk and its struct. */
static const size_t class_caps[HTTP_BLOCK_CLASSES] = {
    1024 - sizeof(struct http_block),
    4096 - sizeof(struct http_block),
    16384 - sizeof(struct http_block),
    BND_HTTP_CHUNK_BYTES + sizeof(struct http_chunk),
};

static size_t size_of(const struct http_block *block) {
    return sizeof *block + block->cap;
}

struct http_block *http_block_get(struct http_pool *pool, size_t bytes) {
    uint32_t class = 0;
    while (class < HTTP_BLOCK_CLASSES && class_caps[class] < bytes) {
        class ++;
    }
    struct http_block *block = class < HTTP_BLOCK_CLASSES ? pool->free[class] : NULL;
    if (block != NULL) {
        pool->free[class] = block->next;
        pool->free_bytes -= size_of(block);
    } else {
        size_t cap = class < HTTP_BLOCK_CLASSES ? class_caps[class] : bytes;
        block = bnd_alloc(sizeof *block + cap);
        if (block == NULL) {
            return NULL;
        }
        block->class = class;
        block->cap = cap;
    }
    block->next = NULL;
    block->off = 0;
    block->len = 0;
    block->out = (struct bnd_http_write){0};
    pool->used_bytes += size_of(block);
    return block;
}

void http_block_put(struct http_pool *pool, struct http_block *block) {
    if (block == NULL) {
        return;
    }
    size_t size = size_of(block);
    BND_ASSERT(pool->used_bytes >= size);
    pool->used_bytes -= size;
    if (block->class == HTTP_BLOCK_CLASSES || pool->free_bytes + size > KEEP_BYTES) {
        bnd_free(block);
        return;
    }
    block->next = pool->free[block->class];
    pool->free[block->class] = block;
    pool->free_bytes += size;
}

void http_pool_free(struct http_pool *pool) {
    BND_ASSERT(pool->used_bytes == 0);
    for (unsigned class = 0; class < HTTP_BLOCK_CLASSES; class ++) {
        struct http_block *block = pool->free[class];
        while (block != NULL) {
            struct http_block *next = block->next;
            bnd_free(block);
            block = next;
        }
        pool->free[class] = NULL;
    }
    pool->free_bytes = 0;
}
