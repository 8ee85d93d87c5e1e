/* Histograms: every duration is counted under the least bound that is not below it, and what is
 * printed is what Prometheus reads. */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static size_t bucket_of(uint64_t ns) {
    struct bnd_histogram histogram = {0};
    bnd_histogram_add(&histogram, ns);
    assert_int_equal(bnd_histogram_count(&histogram), 1);
    size_t i = 0;
    while (histogram.counts[i] == 0) {
        i++;
    }
    return i;
}

static void test_bounds(void **state) {
    assert_int_equal(bucket_of(0), 0);
    for (size_t i = 0; i + 1 < BND_HISTOGRAM_BUCKETS; i++) {
        uint64_t bound = BND_HISTOGRAM_FIRST_NS << i;
        assert_int_equal(bucket_of(bound), i); /* "le" includes the bound */
        assert_int_equal(bucket_of(bound + 1), i + 1);
    }
    assert_int_equal(bucket_of(UINT64_MAX), BND_HISTOGRAM_BUCKETS - 1);
}

static bool has_line(const struct bnd_buf *out, const char *line) {
    return strstr((const char *)out->data, line) != NULL;
}

static void test_print(void **state) {
    struct bnd_histogram histogram = {0};
    BND_AUTO_BUF struct bnd_buf out = {0};
    bnd_histogram_add(&histogram, 1000);
    bnd_histogram_add(&histogram, 100000);
    bnd_histogram_add(&histogram, UINT64_C(20000000000));
    bnd_histogram_print(&histogram, "x_seconds", "port=\"s3\"", &out);
    bnd_buf_u8(&out, 0);
    assert_true(has_line(&out, "x_seconds_bucket{port=\"s3\",le=\"0.000065536\"} 1\n"));
    assert_true(has_line(&out, "x_seconds_bucket{port=\"s3\",le=\"0.000131072\"} 2\n"));
    assert_true(has_line(&out, "x_seconds_bucket{port=\"s3\",le=\"8.589934592\"} 2\n"));
    assert_true(has_line(&out, "x_seconds_bucket{port=\"s3\",le=\"+Inf\"} 3\n"));
    assert_true(has_line(&out, "x_seconds_sum{port=\"s3\"} 20.000101000\n"));
    assert_true(has_line(&out, "x_seconds_count{port=\"s3\"} 3\n"));
    bnd_buf_reset(&out);
    bnd_histogram_print(&histogram, "y", "", &out);
    bnd_buf_u8(&out, 0);
    assert_true(has_line(&out, "y_bucket{le=\"+Inf\"} 3\n"));
    assert_true(has_line(&out, "y_count 3\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
