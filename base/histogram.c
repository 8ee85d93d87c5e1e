#include "base/histogram.h"

uint64_t bnd_histogram_count(const struct bnd_histogram *histogram) {
    uint64_t count = 0;
    for (size_t i = 0; i < BND_HISTOGRAM_BUCKETS; i++) {
        count += histogram->counts[i];
    }
    return count;
}

/* Seconds, exact: a bound is a whole number of nanoseconds. */
static void print_seconds(uint64_t ns, struct bnd_buf *out) {
    bnd_buf_printf(out, "%llu.%09llu", (unsigned long long)(ns / 1000000000),
                   (unsigned long long)(ns % 1000000000));
}

void bnd_histogram_print(const struct bnd_histogram *histogram, const char *name,
                         const char *labels, struct bnd_buf *out) {
    const char *comma = labels[0] == 0 ? "" : ",";
    const char *open = labels[0] == 0 ? "" : "{";
    const char *close = labels[0] == 0 ? "" : "}";
    uint64_t count = 0;
    for (size_t i = 0; i < BND_HISTOGRAM_BUCKETS; i++) {
        count += histogram->counts[i];
        bnd_buf_printf(out, "%s_bucket{%s%sle=\"", name, labels, comma);
        if (i + 1 < BND_HISTOGRAM_BUCKETS) {
            print_seconds(BND_HISTOGRAM_FIRST_NS << i, out);
        } else {
            bnd_buf_append_str(out, "+Inf");
        }
        bnd_buf_printf(out, "\"} %llu\n", (unsigned long long)count);
    }
    bnd_buf_printf(out, "%s_sum%s%s%s ", name, open, labels, close);
    print_seconds(histogram->sum_ns, out);
    bnd_buf_printf(out, "\n%s_count%s%s%s %llu\n", name, open, labels, close,
                   (unsigned long long)count);
}
