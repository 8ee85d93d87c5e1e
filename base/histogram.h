/* Durations in a fixed number of buckets: what /metrics shows as a Prometheus histogram.
 *
 * Bucket i counts durations up to 2^i x BND_HISTOGRAM_FIRST_NS, the last one everything above: from
 * 65.536 us to 8.6 s in steps of two. Adding is a shift, a count of zeros and two additions; no
 * memory is ever allocated. A histogram belongs to one loop; it is never reset. */
#ifndef BND_BASE_HISTOGRAM_H
#define BND_BASE_HISTOGRAM_H

#include "base/bytes.h"

#define BND_HISTOGRAM_BUCKETS 19 /* the last one has no upper bound */
#define BND_HISTOGRAM_FIRST_SHIFT 16
#define BND_HISTOGRAM_FIRST_NS (UINT64_C(1) << BND_HISTOGRAM_FIRST_SHIFT)

struct bnd_histogram {
    uint64_t counts[BND_HISTOGRAM_BUCKETS];
    uint64_t sum_ns;
};

static inline void bnd_histogram_add(struct bnd_histogram *histogram, uint64_t ns) {
    /* The least i with ns <= 2^i x FIRST: bits of what is above the first bound. */
    uint64_t above = ns == 0 ? 0 : (ns - 1) >> BND_HISTOGRAM_FIRST_SHIFT;
    unsigned i = above == 0 ? 0 : 64 - (unsigned)__builtin_clzll(above);
    histogram->counts[i < BND_HISTOGRAM_BUCKETS ? i : BND_HISTOGRAM_BUCKETS - 1]++;
    histogram->sum_ns += ns;
}

/* All durations counted so far. */
uint64_t bnd_histogram_count(const struct bnd_histogram *histogram);

/* Appends the lines of `name` in Prometheus' text format, in seconds: buckets (cumulative), sum and
 * count. labels: "" or `port="s3"`, without braces. The TYPE line is the caller's: it stands once
 * before all histograms of one name. */
void bnd_histogram_print(const struct bnd_histogram *histogram, const char *name,
                         const char *labels, struct bnd_buf *out);

#endif
