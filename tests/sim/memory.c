/* Open addressing with linear probing and backward-shift deletion; at most half full. */
#include "tests/sim/memory.h"

#include "base/assert.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *bnd_sim_zalloc(size_t bytes) {
    void *memory = calloc(1, bytes == 0 ? 1 : bytes);
    BND_ASSERT(memory != NULL);
    return memory;
}

void *bnd_sim_realloc(void *memory, size_t bytes) {
    void *moved = realloc(memory, bytes == 0 ? 1 : bytes);
    BND_ASSERT(moved != NULL);
    return moved;
}

void *bnd_sim_memdup(const void *data, size_t bytes) {
    void *copy = malloc(bytes == 0 ? 1 : bytes);
    BND_ASSERT(copy != NULL);
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    return copy;
}

char *bnd_sim_strdup(const char *text) {
    return bnd_sim_memdup(text, strlen(text) + 1);
}

void bnd_sim_free(void *memory) {
    free(memory);
}

static size_t home_of(const struct bnd_sim_blocks *blocks, const void *memory) {
    uint64_t mixed = ((uint64_t)(uintptr_t)memory >> 4) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 20) & (blocks->cap - 1);
}

static void insert(struct bnd_sim_blocks *blocks, void *memory) {
    size_t i = home_of(blocks, memory);
    while (blocks->slots[i] != NULL) {
        BND_ASSERT(blocks->slots[i] != memory);
        i = (i + 1) & (blocks->cap - 1);
    }
    blocks->slots[i] = memory;
}

void bnd_sim_blocks_add(struct bnd_sim_blocks *blocks, void *memory) {
    if (2 * (blocks->count + 1) > blocks->cap) {
        struct bnd_sim_blocks bigger = {.cap = blocks->cap == 0 ? 256 : 2 * blocks->cap};
        bigger.slots = bnd_sim_zalloc(bigger.cap * sizeof *bigger.slots);
        for (size_t i = 0; i < blocks->cap; i++) {
            if (blocks->slots[i] != NULL) {
                insert(&bigger, blocks->slots[i]);
            }
        }
        bnd_sim_free(blocks->slots);
        blocks->slots = bigger.slots;
        blocks->cap = bigger.cap;
    }
    insert(blocks, memory);
    blocks->count++;
}

void bnd_sim_blocks_remove(struct bnd_sim_blocks *blocks, void *memory) {
    if (blocks->count == 0) {
        return;
    }
    size_t mask = blocks->cap - 1;
    size_t hole = home_of(blocks, memory);
    while (blocks->slots[hole] != memory) {
        if (blocks->slots[hole] == NULL) {
            return;
        }
        hole = (hole + 1) & mask;
    }
    blocks->count--;
    for (size_t i = (hole + 1) & mask; blocks->slots[i] != NULL; i = (i + 1) & mask) {
        size_t home = home_of(blocks, blocks->slots[i]);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            blocks->slots[hole] = blocks->slots[i];
            hole = i;
        }
    }
    blocks->slots[hole] = NULL;
}

void bnd_sim_blocks_free_all(struct bnd_sim_blocks *blocks) {
    for (size_t i = 0; i < blocks->cap; i++) {
        free(blocks->slots[i]);
    }
    bnd_sim_free(blocks->slots);
    *blocks = (struct bnd_sim_blocks){0};
}
