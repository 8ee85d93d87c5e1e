/* The hybrid logical clock of a node: 48 bits of wall-clock ms, 16 bits of counter (ADR 0090).
 * Pure: the caller brings the time. */
#ifndef BND_KV_HLC_H
#define BND_KV_HLC_H

#include <stdbool.h>
#include <stdint.h>

/* A version further ahead of a node's wall clock than this is refused by it. */
#define KV_HLC_AHEAD_MS 2000u

struct kv_hlc {
    uint64_t last; /* the highest given out or seen */
};

static inline uint64_t kv_hlc_of(uint64_t wall_ms) {
    return wall_ms << 16;
}
static inline uint64_t kv_hlc_ms(uint64_t hlc) {
    return hlc >> 16;
}
static inline bool kv_hlc_ahead(uint64_t hlc, uint64_t wall_ms) {
    return kv_hlc_ms(hlc) > wall_ms + KV_HLC_AHEAD_MS;
}

/* Whether the wall clock has gone on as the monotonic one has, for the last seconds: how far it is
 * off is measured only now and then, and what is stamped meanwhile by a clock that has jumped would
 * win for as long as the jump. Tell it the time often. */
#define KV_CLOCK_JUMP_MS 500
#define KV_CLOCK_DOUBT_NS (UINT64_C(3000000000))
struct kv_clock {
    bool known;
    int64_t ahead_ms;  /* of the monotonic clock */
    uint64_t doubt_ns; /* until then */
};
bool kv_clock_steady(struct kv_clock *clock, uint64_t wall_ms, uint64_t now_ns);

/* Above everything given out and seen, and not below the wall clock. A clock that was ahead of it
 * by more than the bound, because the wall clock was, follows it back: others would refuse what is
 * stamped. Versions stay unique where it matters, within a key: its stored version is above them. */
uint64_t kv_hlc_next(struct kv_hlc *clock, uint64_t wall_ms);
/* What others have stamped moves the clock on; but not what is ahead of the wall clock by more than
 * the bound: one such stamp must not carry all later ones along. */
void kv_hlc_see(struct kv_hlc *clock, uint64_t hlc, uint64_t wall_ms);

#endif
