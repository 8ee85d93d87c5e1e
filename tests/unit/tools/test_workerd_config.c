/* From wrangler projects to workerd configurations. That a released workerd takes them is seen by
 * tests/clients. */
#include "tools/jsonc.h"
#include "tools/workerd_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- comments
 * ------------------------------------------------------------------------------------------ */

static void stripped(const char *text, const char *expected) {
    char copy[256];
    struct bnd_error err = {0};
    (void)snprintf(copy, sizeof copy, "%s", text);
    assert_int_equal(tools_jsonc_strip((uint8_t *)copy, strlen(copy), &err), 0);
    assert_string_equal(copy, expected);
}

static void test_comments_become_blanks(void **state) {
    stripped("{} // x", "{}     ");
    stripped("{/* a\nb */}", "{    \n    }");
    stripped("[1,/*,*/2 , ]//", "[1,     2   ]  ");
    stripped("{\"a//b\":\"/*\\\"*/\", // c\n}", "{\"a//b\":\"/*\\\"*/\"      \n}");
    stripped("[1,[2,],]", "[1,[2 ] ]");
}

static void test_only_real_trailing_commas_go(void **state) {
    static const char *const kept[] = {"[,]", "{,}", "[1,,]", "{\"a\":,}", "[1,,2]"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        char copy[32];
        (void)snprintf(copy, sizeof copy, "%s", kept[i]);
        assert_int_equal(tools_jsonc_strip((uint8_t *)copy, strlen(copy), NULL), 0);
        json_t *document = json_loads(copy, 0, NULL);
        assert_null(document);
    }
}

static void test_what_has_no_end_is_refused(void **state) {
    static const char *const bad[] = {"{\n/* x", "{\n/*/", "{\n/", "{\n/x/", "\n\"abc", "\n\"a\\"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char copy[32];
        struct bnd_error err = {0};
        (void)snprintf(copy, sizeof copy, "%s", bad[i]);
        assert_int_equal(tools_jsonc_strip((uint8_t *)copy, strlen(copy), &err), BND_INVALID);
        assert_non_null(strstr(err.message, "line 2"));
    }
}

/* ---- projects
 * ------------------------------------------------------------------------------------------- */

#define HEAD "{\"name\":\"app\",\"compatibility_date\":\"2026-04-01\""

static int parse(const char *text, const struct tools_project_options *options,
                 struct tools_project *out, json_t **document, struct bnd_error *err) {
    *document = json_loads(text, 0, NULL);
    assert_non_null(*document);
    return tools_project_parse(*document, options, out, err);
}

static void refused(const char *text, int code, const char *why) {
    struct tools_project project;
    struct tools_project_options options = {0};
    struct bnd_error err = {0};
    json_t *document = NULL;
    assert_int_equal(parse(text, &options, &project, &document, &err), code);
    if (strstr(err.message, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    }
    json_decref(document);
}

static void test_bad_projects_are_refused(void **state) {
    refused("{}", BND_INVALID, "name");
    refused("{\"name\":\"a/b\",\"compatibility_date\":\"x\"}", BND_INVALID, "name");
    refused("{\"name\":\"app\"}", BND_INVALID, "compatibility_date");
    refused(HEAD ",\"durable_object\":{}}", BND_INVALID, "did you mean durable_objects?");
    refused(HEAD ",\"r2_buckets\":[]}", BND_UNSUPPORTED, "r2_buckets");
    refused(HEAD ",\"kv_namespaces\":{}}", BND_INVALID, "kv_namespaces: no list");
    refused(HEAD ",\"kv_namespaces\":[{\"id\":\"0\"}]}", BND_INVALID, "no binding");
    refused(HEAD ",\"kv_namespaces\":[{\"binding\":\"KV\"}]}", BND_INVALID,
            "KV needs the id of a namespace");
    refused(HEAD ",\"kv_namespaces\":[{\"binding\":\"KV\",\"id\":\"x\"}]}", BND_INVALID,
            "KV needs the id of a namespace");
    refused(HEAD ",\"d1_databases\":{}}", BND_INVALID, "d1_databases: no list");
    refused(HEAD ",\"d1_databases\":[{\"database_name\":\"a\"}]}", BND_INVALID, "no binding");
    refused(HEAD ",\"d1_databases\":[{\"binding\":\"DB\"}]}", BND_INVALID,
            "DB needs the database_id of a database");
    refused(HEAD ",\"d1_databases\":[{\"binding\":\"DB\",\"database_id\":\"x\","
                 "\"database_name\":\"a\"}]}",
            BND_INVALID, "DB needs the database_id of a database");
    refused(HEAD ",\"d1_databases\":[{\"binding\":\"DB\",\"database_name\":\"a b\"}]}", BND_INVALID,
            "DB needs the database_id of a database");
    refused(HEAD ",\"vars\":[]}", BND_INVALID, "vars");
    refused(HEAD ",\"durable_objects\":{}}", BND_INVALID, "bindings");
    refused(HEAD ",\"durable_objects\":{\"bindings\":[{\"name\":\"A\",\"class_name\":\"B\"}]}}",
            BND_INVALID, "which no migration makes");
    refused(HEAD ",\"durable_objects\":{\"bindings\":[{\"name\":\"A\",\"class_name\":\"B\","
                 "\"script_name\":\"other\"}]}}",
            BND_UNSUPPORTED, "other");
    refused(HEAD ",\"migrations\":[{\"new_classes\":[\"A\",\"A\"]}]}", BND_INVALID, "twice");
    refused(HEAD ",\"migrations\":[{\"deleted_classes\":[\"A\"]}]}", BND_INVALID, "deleted");
    refused(HEAD ",\"migrations\":[{\"renamed_classes\":[{\"from\":\"A\",\"to\":\"B\"}]}]}",
            BND_INVALID, "renamed");
    refused(HEAD ",\"migrations\":[{\"transferred_classes\":[]}]}", BND_UNSUPPORTED, "transferred");
    refused(HEAD ",\"migrations\":[{\"new_classes\":\"A\"}]}", BND_INVALID, "no list");
}

/* Objects are found by the key of their namespace: it must outlive a rename, and a class made anew
 * under an old name must not find the old one's. */
static void test_keys_of_classes(void **state) {
    struct tools_project project;
    struct tools_project_options options = {0};
    json_t *document = NULL;
    assert_int_equal(parse(HEAD
                           ",\"migrations\":["
                           "{\"tag\":\"1\",\"new_classes\":[\"A\"],\"new_sqlite_classes\":[\"B\"]},"
                           "{\"tag\":\"2\",\"renamed_classes\":[{\"from\":\"B\",\"to\":\"C\"}]},"
                           "{\"tag\":\"3\",\"deleted_classes\":[\"A\"]},"
                           "{\"tag\":\"4\",\"new_sqlite_classes\":[\"A\",\"B\"]}]}",
                           &options, &project, &document, NULL),
                     0);
    assert_int_equal(project.classes_count, 4);
    assert_false(project.classes[0].live);
    assert_string_equal(project.classes[0].key, "app-A");
    assert_string_equal(project.classes[1].name, "C");
    assert_string_equal(project.classes[1].key, "app-B");
    assert_true(project.classes[1].sql);
    assert_string_equal(project.classes[2].key, "app-A~2");
    assert_string_equal(project.classes[3].key, "app-B~2");
    json_decref(document);
}

static void test_environments(void **state) {
    static const char text[] =
        HEAD ",\"vars\":{\"X\":\"top\"},\"r2_buckets\":[],"
             "\"migrations\":[{\"new_sqlite_classes\":[\"A\"]}],"
             "\"env\":{\"dev\":{\"vars\":{\"X\":\"dev\"}},\"own\":{\"name\":\"mine\"}}}";
    struct tools_project project;
    struct tools_project_options options = {.environment = "dev"};
    struct bnd_error err = {0};
    json_t *document = NULL;
    assert_int_equal(parse(text, &options, &project, &document, NULL), 0);
    assert_string_equal(project.name, "app-dev");
    assert_string_equal(json_string_value(json_object_get(project.vars, "X")), "dev");
    assert_string_equal(project.classes[0].key, "app-dev-A");
    json_decref(document);
    options.environment = "own";
    assert_int_equal(parse(text, &options, &project, &document, NULL), 0);
    assert_string_equal(project.name, "mine");
    assert_null(project.vars);
    json_decref(document);
    options.environment = "nope";
    assert_int_equal(parse(text, &options, &project, &document, &err), BND_INVALID);
    json_decref(document);
}

/* ---- configurations
 * ------------------------------------------------------------------------------------- */

static void configured(const char *text, struct tools_workerd_options *options,
                       struct bnd_buf *out) {
    struct tools_project project;
    struct tools_project_options plain = {0};
    json_t *document = NULL;
    assert_int_equal(parse(text, &plain, &project, &document, NULL), 0);
    assert_int_equal(tools_workerd_config(&project, options, out, NULL), 0);
    bnd_buf_u8(out, 0);
    json_decref(document);
}

static void test_objects_get_a_cluster(void **state) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    char file[] = "w.mjs";
    struct tools_workerd_options options = {.modules = {{"w.mjs", file}},
                                            .modules_count = 1,
                                            .listen = "127.0.0.1:1",
                                            .peers = "10.0.0.1:2",
                                            .disk = "/d",
                                            .bucket = "b",
                                            .endpoint = "http://h:3",
                                            .access_key = "AK",
                                            .secret_key = "S\"]K",
                                            .cluster_key = "key"};
    configured(HEAD
               ",\"migrations\":[{\"new_sqlite_classes\":[\"A\"]}],\"vars\":{\"V\":\"\\\"\\n\","
               "\"J\":[1]},\"durable_objects\":{\"bindings\":"
               "[{\"name\":\"O\",\"class_name\":\"A\"}]}}",
               &options, &out);
    static const char *const lines[] = {
        "(name = \"w.mjs\", esModule = embed \"w.mjs\")",
        "(className = \"A\", uniqueKey = \"app-A\", enableSql = true)",
        "(name = \"O\", durableObjectNamespace = \"A\")",
        "(name = \"V\", text = \"\\\"\\x0a\")",
        "(name = \"J\", json = \"[1]\")",
        "disk = (path = \"/d\", writable = true)",
        "bucket = \"s3://b/app\"",
        "\"aws_endpoint=http://h:3\"",
        "\"aws_secret_access_key=S\\\"]K\"",
        "address = \"10.0.0.1:2\"",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr((const char *)out.data, lines[i]) == NULL) {
            fail_msg("%s is not in\n%s", lines[i], (const char *)out.data);
        }
    }
}

#define KV_ID "0123456789abcdef0123456789abcdef"

static void test_kv_gets_a_service_per_namespace(void **state) {
    static const char project[] = HEAD
        ",\"kv_namespaces\":[{\"binding\":\"KV\",\"id\":\"" KV_ID "\"},"
        "{\"binding\":\"SAME\",\"id\":\"" KV_ID "\"}]}";
    static const char *const lines[] = {
        "(name = \"KV\", kvNamespace = \"bindery-kv-" KV_ID "\")",
        "(name = \"SAME\", kvNamespace = \"bindery-kv-" KV_ID "\")",
        "(name = \"bindery-kv-" KV_ID "\", external = (address = \"10.0.0.1:7701\", ",
        "(name = \"X-Bindery-Binding\", value = \"kv:" KV_ID "\")",
        "(name = \"Authorization\", value = \"Bearer t\\\"k\")",
    };
    char file[] = "w.js";
    for (int tls = 0; tls < 2; tls++) {
        BND_AUTO_BUF struct bnd_buf out = {0};
        struct tools_workerd_options options = {.modules = {{"w.js", file}},
                                                .modules_count = 1,
                                                .listen = "127.0.0.1:1",
                                                .bindings = "10.0.0.1:7701",
                                                .bindings_tls = tls == 1,
                                                .ca = bnd_slice_str("PEM\n"),
                                                .token = "t\"k"};
        configured(project, &options, &out);
        const char *text = (const char *)out.data;
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            if (strstr(text, lines[i]) == NULL) {
                fail_msg("%s is not in\n%s", lines[i], text);
            }
        }
        const char *service = strstr(text, "(name = \"bindery-kv-");
        assert_null(strstr(service + 1, "(name = \"bindery-kv-")); /* one for both */
        assert_int_equal(strstr(text, "certificateHost = \"10.0.0.1\"") != NULL, tls);
        assert_int_equal(strstr(text, "trustedCertificates = [\"PEM\\x0a\"]") != NULL, tls);
        assert_null(strstr(text, "experimental"));
        assert_non_null(strstr(text, "holds secrets"));
    }
}

#define D1_ID "01234567-89ab-cdef-0123-456789abcdef"

static void test_d1_is_wrapped_around_a_service(void **state) {
    static const char project[] =
        HEAD ",\"d1_databases\":[{\"binding\":\"DB\",\"database_id\":\"" D1_ID
             "\",\"database_name\":\"one\",\"migrations_dir\":\"m\"},"
             "{\"binding\":\"SAME\",\"database_id\":\"" D1_ID "\"},"
             "{\"binding\":\"TWO\",\"database_name\":\"two\"}]}";
    static const char *const lines[] = {
        "(name = \"DB\", wrapped = (moduleName = \"cloudflare-internal:d1-api\",",
        "innerBindings = [(name = \"fetcher\", service = \"bindery-d1-" D1_ID "\")]",
        "innerBindings = [(name = \"fetcher\", service = \"bindery-d1-two\")]",
        "(name = \"bindery-d1-" D1_ID "\", external = (address = \"10.0.0.1:7701\", ",
        "(name = \"X-Bindery-Binding\", value = \"d1:" D1_ID "\")",
        "(name = \"X-Bindery-Binding\", value = \"d1:two\")",
    };
    char file[] = "w.js";
    BND_AUTO_BUF struct bnd_buf out = {0};
    struct tools_workerd_options options = {.modules = {{"w.js", file}},
                                            .modules_count = 1,
                                            .listen = "127.0.0.1:1",
                                            .bindings = "10.0.0.1:7701",
                                            .token = "tk"};
    configured(project, &options, &out);
    const char *text = (const char *)out.data;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr(text, lines[i]) == NULL) {
            fail_msg("%s is not in\n%s", lines[i], text);
        }
    }
    const char *service = strstr(text, "(name = \"bindery-d1-" D1_ID);
    assert_null(strstr(service + 1, "(name = \"bindery-d1-" D1_ID)); /* one for both */
    assert_non_null(strstr(text, "holds secrets"));
}

static void test_no_objects_no_secrets(void **state) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    char file[] = "w.js";
    struct tools_workerd_options options = {
        .modules = {{"w.js", file}}, .modules_count = 1, .listen = "127.0.0.1:1"};
    configured(HEAD "}", &options, &out);
    assert_null(strstr((const char *)out.data, "cluster"));
    assert_null(strstr((const char *)out.data, "secret"));
    assert_null(strstr((const char *)out.data, "localDisk"));
}

static void test_module_without_type(void **state) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    char file[] = "w.exe";
    struct tools_project project = {.name = "a", .compatibility_date = "x"};
    struct tools_workerd_options options = {
        .modules = {{"w.exe", file}}, .modules_count = 1, .listen = "127.0.0.1:1"};
    assert_int_equal(tools_workerd_config(&project, &options, &out, NULL), BND_INVALID);
}

static void test_toml_is_the_same_project(void **state) {
    char path[] = "/tmp/bindery-project-XXXXXX.toml";
    static const char text[] = "name = \"app\"\ncompatibility_date = \"2026-04-01\"\n"
                               "[[migrations]]\ntag = \"1\"\nnew_sqlite_classes = [\"A\"]\n";
    int fd = mkstemps(path, 5);
    struct tools_project project;
    struct tools_project_options options = {0};
    json_t *document = NULL;
    struct bnd_error err = {0};
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), (long)sizeof text - 1);
    assert_int_equal(tools_project_read(path, &document, &err), 0);
    assert_int_equal(tools_project_parse(document, &options, &project, &err), 0);
    assert_string_equal(project.classes[0].key, "app-A");
    json_decref(document);
    assert_int_equal(write(fd, "x = = 1\n", 8), 8);
    close(fd);
    assert_int_equal(tools_project_read(path, &document, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "line 6"));
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comments_become_blanks),
        cmocka_unit_test(test_only_real_trailing_commas_go),
        cmocka_unit_test(test_what_has_no_end_is_refused),
        cmocka_unit_test(test_bad_projects_are_refused),
        cmocka_unit_test(test_keys_of_classes),
        cmocka_unit_test(test_environments),
        cmocka_unit_test(test_objects_get_a_cluster),
        cmocka_unit_test(test_kv_gets_a_service_per_namespace),
        cmocka_unit_test(test_d1_is_wrapped_around_a_service),
        cmocka_unit_test(test_no_objects_no_secrets),
        cmocka_unit_test(test_module_without_type),
        cmocka_unit_test(test_toml_is_the_same_project),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
