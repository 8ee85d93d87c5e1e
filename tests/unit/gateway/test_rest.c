/* The REST port's pure parts: what a path means, and the envelope that wrangler reads. */
#include "base/alloc.h"
#include "gateway/rest_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ACCOUNT "/client/v4/accounts/0123"
#define KV ACCOUNT "/storage/kv/namespaces"
#define KV_PATTERN "/client/v4/accounts/*/storage/kv/namespaces"

static const struct rest_route *find(enum bnd_http_method method, const char *path, bool *known) {
    const struct rest_route *tables[] = {rest_admin_routes, rest_credential_routes, rest_cf_routes,
                                         rest_kv_routes};
    *known = false;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        const struct rest_route *route =
            rest_route_find(tables[i], method, bnd_slice_str(path), known);
        if (route != NULL) {
            return route;
        }
    }
    return NULL;
}

static void test_every_call_of_wrangler_has_its_route(void **state) {
    static const struct {
        enum bnd_http_method method;
        const char *path;
        const char *pattern;
    } calls[] = {
        {BND_HTTP_GET, "/client/v4/user/tokens/verify", "/client/v4/user/tokens/verify"},
        {BND_HTTP_GET, ACCOUNT "/tokens/verify", "/client/v4/accounts/*/tokens/verify"},
        {BND_HTTP_POST, "/client/v4/graphql", "/client/v4/graphql"},
        {BND_HTTP_POST, ACCOUNT "/r2/buckets", "/client/v4/accounts/*/r2/buckets"},
        {BND_HTTP_DELETE, ACCOUNT "/r2/buckets/b", "/client/v4/accounts/*/r2/buckets/*"},
        {BND_HTTP_GET, ACCOUNT "/r2/buckets/b/objects",
         "/client/v4/accounts/*/r2/buckets/*/objects"},
        {BND_HTTP_PUT, ACCOUNT "/r2/buckets/b/objects/k",
         "/client/v4/accounts/*/r2/buckets/*/objects/**"},
        {BND_HTTP_HEAD, ACCOUNT "/r2/buckets/b/objects/a//c/",
         "/client/v4/accounts/*/r2/buckets/*/objects/**"},
        {BND_HTTP_POST, KV, KV_PATTERN},
        {BND_HTTP_PUT, KV "/0", KV_PATTERN "/*"},
        {BND_HTTP_GET, KV "/0/keys", KV_PATTERN "/*/keys"},
        {BND_HTTP_PUT, KV "/0/values/a//b", KV_PATTERN "/*/values/**"},
        {BND_HTTP_GET, KV "/0/metadata/a/b", KV_PATTERN "/*/metadata/**"},
        {BND_HTTP_DELETE, KV "/0/bulk", KV_PATTERN "/*/bulk"},
        {BND_HTTP_POST, KV "/0/bulk/delete", KV_PATTERN "/*/bulk/delete"},
        {BND_HTTP_POST, KV "/0/bulk/get", KV_PATTERN "/*/bulk/get"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        bool known = false;
        const struct rest_route *route = find(calls[i].method, calls[i].path, &known);
        assert_non_null(route);
        assert_string_equal(route->pattern, calls[i].pattern);
    }
}

static void test_what_is_no_route(void **state) {
    static const char *const paths[] = {
        "",
        "*",
        "/",
        "livez",
        "/livez/",
        "//livez",
        "/client/v4",
        "/client/v4/accounts//r2/buckets",
        ACCOUNT "/r2/buckets/",
        ACCOUNT "/r2/buckets//objects/k",
        ACCOUNT "/r2/buckets/b/objects/",
        ACCOUNT "/r2/bucketsx",
        "/bindery/v1/tokens/",
        "/bindery/v1/tokens/a/b",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        bool known = false;
        const struct rest_route *route = find(BND_HTTP_GET, paths[i], &known);
        if (route != NULL || known) {
            fail_msg("%s was taken for a route", paths[i]);
        }
    }
    bool known = false;
    assert_null(find(BND_HTTP_PATCH, ACCOUNT "/r2/buckets/b", &known));
    assert_true(known);
    assert_null(find(BND_HTTP_HEAD, "/bindery/v1/join-tokens", &known)); /* POST only */
}

/* Health is for everybody, nothing else is; and each account's path is checked against the
 * cluster's. */
static void test_what_needs_a_token(void **state) {
    const struct rest_route *tables[] = {rest_admin_routes, rest_credential_routes, rest_cf_routes,
                                         rest_kv_routes};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct rest_route *route = tables[i]; route->pattern != NULL; route++) {
            bool health = strcmp(route->pattern, "/livez") == 0 ||
                          strcmp(route->pattern, "/readyz") == 0 ||
                          strcmp(route->pattern, "/metrics") == 0;
            assert_int_equal(route->permission == 0, health);
            bool account = strncmp(route->pattern, "/client/v4/accounts/*", 21) == 0;
            assert_int_equal((route->flags & REST_ACCOUNT) != 0, account);
            if (strncmp(route->pattern, "/bindery/", 9) == 0) {
                assert_int_equal(route->permission, BND_PERM_CLUSTER_ADMIN);
            }
        }
    }
}

/* What a token of one bucket may ask for: below the bucket, and nowhere else. */
static void test_what_is_below_a_bucket(void **state) {
    const struct rest_route *tables[] = {rest_admin_routes, rest_clock_routes,
                                         rest_credential_routes, rest_cf_routes};
    size_t count = 0;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct rest_route *route = tables[i]; route->pattern != NULL; route++) {
            bool below = strncmp(route->pattern, "/client/v4/accounts/*/r2/buckets/*", 34) == 0;
            assert_int_equal((route->flags & REST_BUCKET) != 0, below);
            count += below;
        }
    }
    assert_int_equal(count, 6);
    struct bnd_slice path = bnd_slice_str(ACCOUNT "/r2/buckets/b/objects/k");
    assert_true(bnd_slice_eq(rest_path_segment(path, REST_SEGMENT_BUCKET), bnd_slice_str("b")));
}

/* Without a majority of group 0 nothing is served to whom the last known tokens belong, but what
 * only shows the cluster. */
static void test_what_an_old_view_is_good_for(void **state) {
    const struct rest_route *tables[] = {rest_admin_routes, rest_clock_routes,
                                         rest_credential_routes, rest_cf_routes};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct rest_route *route = tables[i]; route->pattern != NULL; route++) {
            bool shows = strcmp(route->pattern, "/bindery/v1/status") == 0;
            assert_int_equal((route->flags & REST_LAST_VIEW) != 0, shows);
            assert_true(!shows || route->method == BND_HTTP_GET);
        }
    }
}

static void test_segments(void **state) {
    struct bnd_slice path = bnd_slice_str("/a/b//c");
    assert_true(bnd_slice_eq(rest_path_segment(path, 0), bnd_slice_str("a")));
    assert_true(bnd_slice_eq(rest_path_segment(path, 1), bnd_slice_str("b")));
    assert_int_equal(rest_path_segment(path, 2).len, 0);
    assert_true(bnd_slice_eq(rest_path_segment(path, 3), bnd_slice_str("c")));
    assert_null(rest_path_segment(path, 4).data);
    assert_true(bnd_slice_eq(rest_path_from(path, 1), bnd_slice_str("b//c")));
    assert_true(bnd_slice_eq(rest_path_from(path, 2), bnd_slice_str("/c")));
}

static void check_json(json_t *got, const char *expected) {
    assert_non_null(got);
    char *text = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text, expected);
    free(text);
    json_decref(got);
}

static void test_envelope(void **state) {
    check_json(rest_envelope(NULL),
               "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":null}");
    check_json(rest_envelope(json_pack("{s:i}", "a", 1)),
               "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":{\"a\":1}}");
    check_json(rest_envelope_error(10006, bnd_slice_str("The specified bucket does not exist.")),
               "{\"success\":false,\"errors\":[{\"code\":10006,\"message\":\"The specified bucket "
               "does not exist.\"}],\"messages\":[],\"result\":null}");
    check_json(rest_text_json(bnd_slice("\xff", 1)), "null");
    check_json(rest_text_json(bnd_slice("", 0)), "\"\"");
    check_json(rest_time_json(1255369830000), "\"2009-10-12T17:50:30.000Z\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_of_wrangler_has_its_route),
        cmocka_unit_test(test_what_is_no_route),
        cmocka_unit_test(test_what_needs_a_token),
        cmocka_unit_test(test_what_is_below_a_bucket),
        cmocka_unit_test(test_what_an_old_view_is_good_for),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_envelope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
