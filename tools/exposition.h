/* Reading Prometheus' text format (exposition format 0.0.4), as far as /metrics uses it: samples
 * with a name, labels and a value; comments are skipped. */
#ifndef BND_TOOLS_EXPOSITION_H
#define BND_TOOLS_EXPOSITION_H

#include "base/bytes.h"

struct tools_sample {
    struct bnd_slice name;
    struct bnd_slice labels; /* what stands between the braces; empty: none */
    double value;
};

struct tools_metrics {
    struct bnd_buf text;
    struct tools_sample *samples; /* sorted by name, then labels; slices of text */
    size_t count;
};

/* Takes text (zeroed) and reads it. BND_CORRUPT: a line that is none of the format, or 100,000
 * samples or more; BND_NOMEM. text is freed on failure. */
int tools_metrics_parse(struct bnd_buf *text, struct tools_metrics *out);
void tools_metrics_free(struct tools_metrics *metrics); /* zeroed is allowed, and left behind */

/* The sample of exactly this name and these labels, or NULL. */
const struct tools_sample *tools_metrics_find(const struct tools_metrics *metrics, const char *name,
                                              struct bnd_slice labels);
/* Its value without labels; `otherwise` if it is not there. */
double tools_metric(const struct tools_metrics *metrics, const char *name, double otherwise);
/* The first sample of that name, in *out_count how many follow each other with it. NULL: none. */
const struct tools_sample *tools_metrics_named(const struct tools_metrics *metrics,
                                               const char *name, size_t *out_count);

/* The value of a label, or a slice with data NULL. */
struct bnd_slice tools_label(struct bnd_slice labels, const char *label);

/* How many observations lie at or below each bound. */
#define TOOLS_BOUNDS_MAX 64
struct tools_histogram {
    double bounds[TOOLS_BOUNDS_MAX]; /* rising; the last may be infinite */
    double counts[TOOLS_BOUNDS_MAX]; /* cumulative */
    size_t count;
};

/* Adds what the histogram `name` (without _bucket) with these labels (without le, which comes last;
 * NULL data: with any) has counted in `now` since `before` (NULL: since its beginning). */
void tools_histogram_add(struct tools_histogram *histogram, const struct tools_metrics *now,
                         const struct tools_metrics *before, const char *name,
                         struct bnd_slice labels);
double tools_histogram_total(const struct tools_histogram *histogram);
/* The q-quantile (0 to 1), interpolated within its bucket as histogram_quantile() does; -1 without
 * observations. */
double tools_histogram_quantile(const struct tools_histogram *histogram, double q);

#endif
