/* Metrics of a node: whatever a process answers is refused or read within its bounds. */
#include "base/alloc.h"
#include "tests/fuzz/fuzz.h"
#include "tools/exposition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_buf text = {0};
    struct tools_metrics metrics = {0};
    bnd_buf_append(&text, data, size);
    if (tools_metrics_parse(&text, &metrics) == 0) {
        struct tools_histogram histogram = {0};
        for (size_t i = 0; i < metrics.count; i++) {
            const struct tools_sample *sample = &metrics.samples[i];
            BND_ASSERT(sample->name.len > 0);
            BND_ASSERT(i == 0 || bnd_slice_cmp(sample[-1].name, sample->name) <= 0);
            struct bnd_slice le = tools_label(sample->labels, "le");
            BND_ASSERT(le.len <= sample->labels.len);
        }
        tools_histogram_add(&histogram, &metrics, NULL, "x", bnd_slice(NULL, 0));
        BND_ASSERT(histogram.count <= TOOLS_BOUNDS_MAX);
        (void)tools_histogram_quantile(&histogram, 0.99);
    }
    BND_ASSERT(text.data == NULL);
    tools_metrics_free(&metrics);
    return 0;
}
