/* A bound on bytes per second that several users share: each accounts for what it has moved, and
 * waits until it is told to go on. On one loop. */
#ifndef BND_BASE_PACER_H
#define BND_BASE_PACER_H

#include <stdint.h>

/* What was not used is not saved up for longer than this. */
#define BND_PACER_SLACK_NS UINT64_C(100000000)

struct bnd_pacer {
    uint64_t bytes_per_s; /* 0: no bound */
    uint64_t free_ns;     /* private: when all that was accounted for is paid */
};

/* Accounts for bytes moved by now_ns (monotonic) and returns when the caller may move more: at
 * once, if that is not later than now_ns. NULL: no bound. */
static inline uint64_t bnd_pacer_add(struct bnd_pacer *pacer, uint64_t now_ns, uint64_t bytes) {
    if (pacer == 0 || pacer->bytes_per_s == 0) {
        return now_ns;
    }
    uint64_t from = now_ns > BND_PACER_SLACK_NS ? now_ns - BND_PACER_SLACK_NS : 0;
    from = pacer->free_ns > from ? pacer->free_ns : from;
    uint64_t seconds = bytes / pacer->bytes_per_s;
    uint64_t rest = bytes % pacer->bytes_per_s;
    /* rest < bytes_per_s: the product fits for rates below 18 GB/s, beyond which it is coarse. */
    uint64_t part = rest < UINT64_MAX / UINT64_C(1000000000)
                        ? rest * UINT64_C(1000000000) / pacer->bytes_per_s
                        : rest / (pacer->bytes_per_s / UINT64_C(1000000000));
    pacer->free_ns = from + seconds * UINT64_C(1000000000) + part;
    return pacer->free_ns;
}

#endif
