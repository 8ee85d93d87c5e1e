#include "bench/histogram.h"

#include <stdio.h>

static unsigned bucket_of(uint64_t us) {
    if (us < HISTOGRAM_STEPS) {
        return (unsigned)us;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(us) - 6u; /* leaves 64..127 */
    unsigned bucket = (shift + 1) * HISTOGRAM_STEPS + (unsigned)(us >> shift) - HISTOGRAM_STEPS;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_end(unsigned bucket) {
    if (bucket < HISTOGRAM_STEPS) {
        return bucket;
    }
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    return ((uint64_t)(bucket % HISTOGRAM_STEPS) + HISTOGRAM_STEPS + 1) << shift;
}

void histogram_add(struct histogram *histogram, uint64_t us) {
    histogram->counts[bucket_of(us)]++;
    histogram->total++;
    histogram->max = us > histogram->max ? us : histogram->max;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other) {
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram->counts[i] += other->counts[i];
    }
    histogram->total += other->total;
    histogram->max = other->max > histogram->max ? other->max : histogram->max;
}

uint64_t histogram_at(const struct histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)((double)histogram->total * share);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (histogram->counts[i] > 0 && seen > wanted) {
            uint64_t end = upper_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}

void histogram_print(const struct histogram *histogram, const char *prefix) {
    printf("\"%sp50_us\": %llu, \"%sp99_us\": %llu, \"%smax_us\": %llu, ", prefix,
           (unsigned long long)histogram_at(histogram, 0.5), prefix,
           (unsigned long long)histogram_at(histogram, 0.99), prefix,
           (unsigned long long)histogram->max);
}
