/* See arena.h. The memory is malloc's, so that delete[] needs no counterpart: where the kernel has
 * no huge page, or is told to use none, it is as any other. */
#include "engine/rocks/arena.h"

#include <new>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

namespace {

constexpr size_t huge_page_bytes = 2u << 20;
constexpr size_t blocks_min = 8; /* of a memtable, or it would be full when it begins */

} // namespace

size_t rocks_arena_block_bytes(size_t memtable_bytes) {
    return memtable_bytes / blocks_min >= huge_page_bytes ? huge_page_bytes : 0;
}

#ifndef SANITIZED
/* Replaces the library's for the whole process ([replacement.functions] of the C++ standard). */
void *operator new[](size_t bytes) {
    void *memory = nullptr;
    if (bytes == huge_page_bytes && posix_memalign(&memory, huge_page_bytes, bytes) == 0) {
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* a wish */
        return memory;
    }
    return ::operator new(bytes);
}
#endif
