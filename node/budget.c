#include "node/budget.h"

#include "engine/rocks/rocks.h"
#include "net/mesh.h"

#define MIB (UINT64_C(1) << 20)
#define MEMORY_MAX (UINT64_C(1) << 46) /* keeps every product below in range */

/* A share of memory in 32nds, within bounds. */
static size_t share(uint64_t memory, uint64_t parts, uint64_t least, uint64_t most) {
    uint64_t bytes = (memory < MEMORY_MAX ? memory : MEMORY_MAX) / 32 * parts;
    bytes = bytes < least ? least : bytes;
    return (size_t)(bytes > most ? most : bytes);
}

struct node_budget node_budget(uint64_t memory) {
    return (struct node_budget){
        .state = share(memory, 7, BND_ROCKS_MEMORY_BYTES_MIN, UINT64_MAX),
        .kv_cache = share(memory, 3, 4 * MIB, UINT64_MAX),
        .sql_pages = share(memory, 2, 8 * MIB, UINT64_MAX),
        .ports = share(memory, 4, 16 * MIB, UINT64_MAX),
        .held = share(memory, 2, 40 * MIB, 1024 * MIB), /* a value of KV of any size, as JSON */
        .uploads = share(memory, 2, 8 * MIB, 256 * MIB),
        .readers = share(memory, 2, 8 * MIB, 1024 * MIB),
        .store = share(memory, 2, 4 * MIB, 256 * MIB),
        .peer_queue = share(memory, 1, BND_MESH_MESSAGE_MAX + 2 * MIB, 16 * MIB),
        .proposals = share(memory, 2, 4 * MIB, 32 * MIB),
        .proposals_group = share(memory, 1, 4 * MIB, 8 * MIB),
        .logs = share(memory, 2, 4 * MIB, 64 * MIB),
        .calls = share(memory, 1, 8 * MIB, 64 * MIB),
        .executions = share(memory, 1, 8 * MIB, 64 * MIB),
    };
}
