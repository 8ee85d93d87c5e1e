/* Latencies in microseconds, in buckets of at most 1.6 % width: exact below 64. */
#ifndef BND_BENCH_HISTOGRAM_H
#define BND_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 64u /* per power of two */
#define HISTOGRAM_BUCKETS (HISTOGRAM_STEPS * 32u)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
};

void histogram_add(struct histogram *histogram, uint64_t us);

/* Adds what another one has. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The upper end of the bucket that holds the value below which `share` (0 to 1) of all lie; 0 if
 * there is none. */
uint64_t histogram_at(const struct histogram *histogram, double share);

/* Prints p50, p99 and the largest as three members of a JSON object, `, ` after each. The prefix
 * becomes part of their names. */
void histogram_print(const struct histogram *histogram, const char *prefix);

#endif
