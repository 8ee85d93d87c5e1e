#include "kv/hlc.h"

uint64_t kv_hlc_next(struct kv_hlc *clock, uint64_t wall_ms) {
    uint64_t wall = kv_hlc_of(wall_ms);
    clock->last = clock->last + 1 > wall ? clock->last + 1 : wall;
    return clock->last;
}

void kv_hlc_see(struct kv_hlc *clock, uint64_t hlc, uint64_t wall_ms) {
    if (hlc > clock->last && !kv_hlc_ahead(hlc, wall_ms)) {
        clock->last = hlc;
    }
}
