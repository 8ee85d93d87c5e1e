#include "tools/exposition.h"

#include "base/alloc.h"
#include "base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MAX 100000u

/* ---- reading
 * ------------------------------------------------------------------------------------------------
 */

static int compare(const void *left, const void *right) {
    const struct tools_sample *a = left;
    const struct tools_sample *b = right;
    int order = bnd_slice_cmp(a->name, b->name);
    return order != 0 ? order : bnd_slice_cmp(a->labels, b->labels);
}

/* The length of the labels that begin after '{', up to the '}' that is not inside quotes, or
 * SIZE_MAX. */
static size_t labels_length(struct bnd_slice rest) {
    bool quoted = false;
    for (size_t i = 0; i < rest.len; i++) {
        if (quoted && rest.data[i] == '\\') {
            i++;
        } else if (rest.data[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && rest.data[i] == '}') {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool read_value(struct bnd_slice rest, double *out) {
    char text[64];
    char *end = NULL;
    if (rest.len < 2 || rest.data[0] != ' ' || rest.len > sizeof text) {
        return false;
    }
    memcpy(text, rest.data + 1, rest.len - 1);
    text[rest.len - 1] = 0;
    *out = strtod(text, &end);
    return end != text && *end == 0;
}

static bool read_line(struct bnd_slice line, struct tools_sample *out) {
    size_t name = 0;
    while (name < line.len && line.data[name] != '{' && line.data[name] != ' ') {
        name++;
    }
    struct bnd_slice rest = bnd_slice(line.data + name, line.len - name);
    out->name = bnd_slice(line.data, name);
    out->labels = bnd_slice(NULL, 0);
    if (name == 0 || rest.len == 0) {
        return false;
    }
    if (rest.data[0] == '{') {
        rest = bnd_slice(rest.data + 1, rest.len - 1);
        size_t length = labels_length(rest);
        if (length == SIZE_MAX) {
            return false;
        }
        out->labels = bnd_slice(rest.data, length);
        rest = bnd_slice(rest.data + length + 1, rest.len - length - 1);
    }
    return read_value(rest, &out->value);
}

static int append(struct tools_metrics *metrics, size_t *cap, const struct tools_sample *sample) {
    if (!BND_ROOM(metrics->samples, metrics->count, *cap, 256)) {
        return BND_NOMEM;
    }
    metrics->samples[metrics->count++] = *sample;
    return metrics->count < SAMPLES_MAX ? 0 : BND_CORRUPT;
}

int tools_metrics_parse(struct bnd_buf *text, struct tools_metrics *out) {
    struct tools_metrics metrics = {.text = *text};
    struct bnd_slice rest = bnd_buf_slice(text);
    size_t cap = 0;
    int rv = 0;
    *text = (struct bnd_buf){0};
    while (rv == 0 && rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t length = end == NULL ? rest.len : (size_t)(end - rest.data);
        struct bnd_slice line = bnd_slice(rest.data, length);
        size_t skip = length + (end != NULL);
        rest = bnd_slice(rest.data + skip, rest.len - skip);
        struct tools_sample sample;
        if (line.len > 0 && line.data[0] != '#') {
            rv = read_line(line, &sample) ? append(&metrics, &cap, &sample) : BND_CORRUPT;
        }
    }
    if (rv != 0) {
        tools_metrics_free(&metrics);
        return rv;
    }
    if (metrics.count > 0) {
        qsort(metrics.samples, metrics.count, sizeof *metrics.samples, compare);
    }
    *out = metrics;
    return 0;
}

void tools_metrics_free(struct tools_metrics *metrics) {
    bnd_free(metrics->samples);
    bnd_buf_free(&metrics->text);
    *metrics = (struct tools_metrics){0};
}

/* ---- finding
 * ------------------------------------------------------------------------------------------------
 */

const struct tools_sample *tools_metrics_find(const struct tools_metrics *metrics, const char *name,
                                              struct bnd_slice labels) {
    struct tools_sample key = {.name = bnd_slice_str(name), .labels = labels};
    return metrics->count == 0
               ? NULL
               : bsearch(&key, metrics->samples, metrics->count, sizeof *metrics->samples, compare);
}

double tools_metric(const struct tools_metrics *metrics, const char *name, double otherwise) {
    const struct tools_sample *sample = tools_metrics_find(metrics, name, bnd_slice(NULL, 0));
    return sample == NULL ? otherwise : sample->value;
}

const struct tools_sample *tools_metrics_named(const struct tools_metrics *metrics,
                                               const char *name, size_t *out_count) {
    size_t low = 0;
    size_t high = metrics->count;
    struct bnd_slice wanted = bnd_slice_str(name);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bnd_slice_cmp(metrics->samples[middle].name, wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out_count = 0;
    while (low + *out_count < metrics->count &&
           bnd_slice_eq(metrics->samples[low + *out_count].name, wanted)) {
        (*out_count)++;
    }
    return *out_count == 0 ? NULL : &metrics->samples[low];
}

struct bnd_slice tools_label(struct bnd_slice labels, const char *label) {
    size_t length = strlen(label);
    for (size_t i = 0; i + length + 2 <= labels.len; i++) {
        bool begins = i == 0 || labels.data[i - 1] == ',';
        if (!begins || memcmp(labels.data + i, label, length) != 0 ||
            memcmp(labels.data + i + length, "=\"", 2) != 0) {
            continue;
        }
        const uint8_t *value = labels.data + i + length + 2;
        size_t left = labels.len - i - length - 2;
        const uint8_t *end = left == 0 ? NULL : memchr(value, '"', left);
        return end == NULL ? bnd_slice(NULL, 0) : bnd_slice(value, (size_t)(end - value));
    }
    return bnd_slice(NULL, 0);
}

/* ---- histograms
 * --------------------------------------------------------------------------------------------- */

static double bound_of(struct bnd_slice le) {
    char text[64];
    if (le.len == 0 || le.len >= sizeof text) {
        return NAN;
    }
    memcpy(text, le.data, le.len);
    text[le.len] = 0;
    return strtod(text, NULL); /* "+Inf" is infinite */
}

static void add_bucket(struct tools_histogram *histogram, double bound, double count) {
    size_t i = 0;
    while (i < histogram->count && histogram->bounds[i] < bound) {
        i++;
    }
    if (i == histogram->count || histogram->bounds[i] > bound) {
        if (histogram->count == TOOLS_BOUNDS_MAX) {
            return;
        }
        for (size_t k = histogram->count; k > i; k--) {
            histogram->bounds[k] = histogram->bounds[k - 1];
            histogram->counts[k] = histogram->counts[k - 1];
        }
        histogram->bounds[i] = bound;
        histogram->counts[i] = 0;
        histogram->count++;
    }
    histogram->counts[i] += count;
}

/* The labels without their last, le. */
static struct bnd_slice without_le(struct bnd_slice labels) {
    size_t comma = labels.len;
    while (comma > 0 && labels.data[comma - 1] != ',') {
        comma--;
    }
    return bnd_slice(labels.data, comma == 0 ? 0 : comma - 1);
}

void tools_histogram_add(struct tools_histogram *histogram, const struct tools_metrics *now,
                         const struct tools_metrics *before, const char *name,
                         struct bnd_slice labels) {
    char bucket[128];
    size_t length = strlen(name);
    size_t count = 0;
    if (length + sizeof "_bucket" > sizeof bucket) {
        return;
    }
    memcpy(bucket, name, length);
    memcpy(bucket + length, "_bucket", sizeof "_bucket");
    const struct tools_sample *sample = tools_metrics_named(now, bucket, &count);
    for (size_t i = 0; i < count; i++) {
        double bound = bound_of(tools_label(sample[i].labels, "le"));
        if (isnan(bound) ||
            (labels.data != NULL && !bnd_slice_eq(without_le(sample[i].labels), labels))) {
            continue;
        }
        const struct tools_sample *old =
            before == NULL ? NULL : tools_metrics_find(before, bucket, sample[i].labels);
        bool restarted = old != NULL && old->value > sample[i].value;
        add_bucket(histogram, bound, sample[i].value - (old == NULL || restarted ? 0 : old->value));
    }
}

double tools_histogram_total(const struct tools_histogram *histogram) {
    return histogram->count == 0 ? 0 : histogram->counts[histogram->count - 1];
}

double tools_histogram_quantile(const struct tools_histogram *histogram, double q) {
    double total = tools_histogram_total(histogram);
    double rank = q * total;
    if (total <= 0) {
        return -1;
    }
    size_t i = 0;
    while (i + 1 < histogram->count && histogram->counts[i] < rank) {
        i++;
    }
    double low = i == 0 ? 0 : histogram->bounds[i - 1];
    double below = i == 0 ? 0 : histogram->counts[i - 1];
    double here = histogram->counts[i] - below;
    if (isinf(histogram->bounds[i]) || here <= 0) {
        return low;
    }
    return low + (histogram->bounds[i] - low) * (rank - below) / here;
}
