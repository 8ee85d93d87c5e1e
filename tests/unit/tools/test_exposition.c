/* Reading /metrics: samples, labels, and quantiles of what came between two scrapes. */
#include "base/error.h"
#include "base/histogram.h"
#include "tools/exposition.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct tools_metrics parsed(const char *text) {
    struct bnd_buf buf = {0};
    struct tools_metrics metrics = {0};
    bnd_buf_append_str(&buf, text);
    assert_int_equal(tools_metrics_parse(&buf, &metrics), 0);
    return metrics;
}

static void test_samples(void **state) {
    struct tools_metrics metrics = parsed("# TYPE b counter\nb{p=\"x\"} 2\n\na 1.5\n"
                                          "b{p=\"}\\\"{\",q=\"y\"} 3e3\nb_total -1");
    size_t count = 0;
    assert_true(tools_metric(&metrics, "a", 0) == 1.5);
    assert_true(tools_metric(&metrics, "b", 7) == 7); /* it has labels */
    assert_true(tools_metric(&metrics, "b_total", 0) == -1);
    const struct tools_sample *b = tools_metrics_named(&metrics, "b", &count);
    assert_int_equal(count, 2);
    assert_true(b[0].value + b[1].value == 3002);
    b = tools_metrics_find(&metrics, "b", bnd_slice_str("p=\"x\""));
    assert_true(b != NULL && b->value == 2);
    assert_null(tools_metrics_find(&metrics, "b", bnd_slice_str("p=\"z\"")));
    assert_null(tools_metrics_named(&metrics, "c", &count));
    tools_metrics_free(&metrics);
}

static void test_labels(void **state) {
    struct bnd_slice labels = bnd_slice_str("port=\"s3\",operation=\"GetObject\"");
    assert_true(bnd_slice_eq(tools_label(labels, "port"), bnd_slice_str("s3")));
    assert_true(bnd_slice_eq(tools_label(labels, "operation"), bnd_slice_str("GetObject")));
    assert_null(tools_label(labels, "ort").data);
    assert_null(tools_label(bnd_slice_str("port=\"s3"), "port").data);
}

static void test_refused(void **state) {
    static const char *const bad[] = {"a",           "a x",     "a{b=\"c\" 1", "a{} ",       " 1",
                                      "a{b=\"}\" 1", "a 1 2 3", "{} 1",        "a{b=\"c\"}1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bnd_buf buf = {0};
        struct tools_metrics metrics = {0};
        bnd_buf_append_str(&buf, bad[i]);
        if (tools_metrics_parse(&buf, &metrics) != BND_CORRUPT) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_null(buf.data);
    }
}

/* What base/histogram.h prints is read back with the quantiles of what was added in between. */
static void test_quantiles(void **state) {
    struct bnd_histogram source = {0};
    struct bnd_buf text = {0};
    struct tools_metrics before = {0};
    struct tools_metrics now = {0};
    struct tools_histogram between = {0};
    bnd_histogram_add(&source, UINT64_C(5000000000)); /* long ago: must not count */
    bnd_histogram_print(&source, "x", "port=\"s3\"", &text);
    assert_int_equal(tools_metrics_parse(&text, &before), 0);
    for (int i = 0; i < 98; i++) {
        bnd_histogram_add(&source, 50000);
    }
    bnd_histogram_add(&source, 1000000);
    bnd_histogram_add(&source, 1000000);
    bnd_histogram_print(&source, "x", "port=\"s3\"", &text);
    bnd_histogram_print(&source, "x", "port=\"rest\"", &text); /* another series of that name */
    assert_int_equal(tools_metrics_parse(&text, &now), 0);
    tools_histogram_add(&between, &now, &before, "x", bnd_slice_str("port=\"s3\""));
    assert_int_equal(between.count, BND_HISTOGRAM_BUCKETS);
    assert_true(tools_histogram_total(&between) == 100);
    double p50 = tools_histogram_quantile(&between, 0.5);
    double p99 = tools_histogram_quantile(&between, 0.99);
    assert_true(p50 > 0.00003 && p50 < 0.000065536);
    assert_true(p99 > 0.000524288 && p99 <= 0.001048576);
    struct tools_histogram none = {0};
    assert_true(tools_histogram_quantile(&none, 0.5) == -1);
    /* A process that began anew counts from 0. */
    struct tools_histogram anew = {0};
    tools_histogram_add(&anew, &before, &now, "x", bnd_slice_str("port=\"s3\""));
    assert_true(tools_histogram_total(&anew) == 1);
    tools_metrics_free(&before);
    tools_metrics_free(&now);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_quantiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
