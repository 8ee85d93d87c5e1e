#include "kv/hlc.h"

bool kv_clock_steady(struct kv_clock *clock, uint64_t wall_ms, uint64_t now_ns) {
    int64_t ahead_ms = (int64_t)wall_ms - (int64_t)(now_ns / 1000000);
    int64_t moved_ms = ahead_ms - clock->ahead_ms;
    if (clock->known && (moved_ms > KV_CLOCK_JUMP_MS || moved_ms < -KV_CLOCK_JUMP_MS)) {
        clock->doubt_ns = now_ns + KV_CLOCK_DOUBT_NS;
    }
    clock->known = true;
    clock->ahead_ms = ahead_ms;
    return now_ns >= clock->doubt_ns;
}

uint64_t kv_hlc_next(struct kv_hlc *clock, uint64_t wall_ms) {
    uint64_t wall = kv_hlc_of(wall_ms);
    if (kv_hlc_ahead(clock->last + 1, wall_ms)) {
        clock->last = wall;
    }
    clock->last = clock->last + 1 > wall ? clock->last + 1 : wall;
    return clock->last;
}

void kv_hlc_see(struct kv_hlc *clock, uint64_t hlc, uint64_t wall_ms) {
    if (hlc > clock->last && !kv_hlc_ahead(hlc, wall_ms)) {
        clock->last = hlc;
    }
}
