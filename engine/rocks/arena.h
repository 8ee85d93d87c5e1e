/* Memory of memtables in huge pages. A search in a memtable of 64 MiB goes through a dozen places
 * anywhere in it: with 4 KiB pages most of its time is page table walks. RocksDB takes that memory
 * by `new char[]`, one block at a time; its own option for huge pages needs a reserved pool. */
#ifndef BND_ENGINE_ROCKS_ARENA_H
#define BND_ENGINE_ROCKS_ARENA_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The block size for memtables that flush at `memtable_bytes`: that of a huge page, which arena.cc
 * then asks the kernel for, or 0, RocksDB's own choice, where such blocks were too large a part. */
size_t rocks_arena_block_bytes(size_t memtable_bytes);

#ifdef __cplusplus
}
#endif

#endif
