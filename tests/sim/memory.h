/* Memory of the simulator itself: outside the accounting and the failures that it imposes on the
 * code under test, which allocates through base/alloc.h. A simulator without memory aborts: nobody
 * recovers from that. */
#ifndef BND_TESTS_SIM_MEMORY_H
#define BND_TESTS_SIM_MEMORY_H

#include <stddef.h>

/* Zeroed, owned, never NULL. Freed by bnd_sim_free. */
void *bnd_sim_zalloc(size_t bytes);
/* As realloc; new bytes are undefined. */
void *bnd_sim_realloc(void *memory, size_t bytes);
void *bnd_sim_memdup(const void *data, size_t bytes);
char *bnd_sim_strdup(const char *text);
void bnd_sim_free(void *memory);

/* A set of live blocks: what one simulated process has allocated. Zero-initialised is empty. */
struct bnd_sim_blocks {
    void **slots; /* open addressing; NULL: empty */
    size_t cap;   /* a power of two, or 0 */
    size_t count;
};
void bnd_sim_blocks_add(struct bnd_sim_blocks *blocks, void *memory);
/* Blocks that are not in the set are ignored: they were made outside of the process. */
void bnd_sim_blocks_remove(struct bnd_sim_blocks *blocks, void *memory);
/* Frees every block in it (made by base/alloc), and the set. */
void bnd_sim_blocks_free_all(struct bnd_sim_blocks *blocks);

#endif
