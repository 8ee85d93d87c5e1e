/* Settings: precedence, and errors that name source, setting and value. */
#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *write_file(const char *text) {
    char *path = strdup("/tmp/bindery-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static int load(const char *toml, char *const *environment, const struct bnd_config_flag *flags,
                size_t count, struct bnd_config *out, struct bnd_error *err) {
    char *path = toml == NULL ? NULL : write_file(toml);
    struct bnd_config_sources sources = {
        .file = path, .flags = flags, .flags_count = count, .environment = environment};
    int rv = bnd_config_load(&sources, out, err);
    if (path != NULL) {
        unlink(path);
        free(path);
    }
    return rv;
}

static void flag_beats_environment_beats_file_beats_default(void **state) {
    (void)state;
    struct bnd_config config;
    char *environment[] = {"BINDERY_BASE_PORT=8000", "BINDERY_ZONE=env", "HOME=/root", NULL};
    struct bnd_config_flag flags[] = {{"base-port", "9000"}};
    const char *toml =
        "base_port = 7000\nzone = \"file\"\nmemory = \"64MiB\"\njoin = [\"a:1\", \"b:2\"]\n"
        "token = \"t\"\ns3_domain = \"s3-1.example.com\"\n";
    assert_int_equal(load(toml, environment, flags, 1, &config, NULL), 0);
    assert_int_equal(config.base_port, 9000);
    assert_string_equal(config.zone, "env");
    assert_int_equal(config.memory, 64 << 20);
    assert_string_equal(config.join, "a:1,b:2");
    assert_int_equal(config.shards, 64);
    assert_string_equal(config.s3_domain, "s3-1.example.com");
}

static void refused(const char *toml, const char *message) {
    struct bnd_config config;
    struct bnd_error err = {0};
    assert_int_equal(load(toml, NULL, NULL, 0, &config, &err), BND_INVALID);
    if (strstr(err.message, message) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", message, err.message);
    }
}

static void errors_name_the_setting_and_the_nearest_one(void **state) {
    (void)state;
    refused("base_prot = 1\n", "unknown setting base_prot; did you mean base_port?");
    refused("banana = 1\n", "unknown setting banana");
    refused("base_port = \"x\"\n", "base_port must be a whole number, not 'x'");
    refused("base_port = 65533\n", "base_port must be 1 to 65532");
    refused("memory = \"12parsecs\"\n", "memory must be a size such as 512MiB, not '12parsecs'");
    refused("memory = \"99999999999TiB\"\n", "memory must be a size");
    refused("insecure = 1\n", "insecure must be true or false");
    refused("insecure = true\nlisten = \"10.0.0.1\"\n", "insecure is refused on 10.0.0.1");
    refused("shards = 48\n", "shards must be a power of two");
    refused("replicas = 2\n", "replicas must be 1, 3 or 5");
    refused("kv_bulk_get_max = 1001\n", "kv_bulk_bytes_max must be at most 1GiB");
    refused("kv_bulk_bytes_max = \"2GiB\"\n", "kv_bulk_bytes_max must be at most 1GiB");
    refused("kv_horizon_s = 4\n", "kv_horizon_s must be 5 to 31536000, not 4");
    refused("kv_horizon_s = 31536001\n", "kv_horizon_s must be 5 to 31536000");
    refused("kv_absent_s = 86399\n", "kv_absent_s must be kv_horizon_s (86400) to 31536000");
    refused("kv_absent_s = 31536001\n", "kv_absent_s must be kv_horizon_s (86400) to 31536000");
    refused("moves = 0\n", "moves must be 1 to 1024");
    refused("move_rate = \"1000\"\n", "move_rate must be 0 or at least 1MiB");
    refused("election_ms = 200\n", "election_ms must be 3 x heartbeat_ms");
    refused("tls_cert = \"a.pem\"\n", "must be given together");
    refused("join = \"a:1\"\n", "join needs a token");
    refused("log_level = \"loud\"\n", "log_level must be debug, info, warn or error");
    static const char *const domains[] = {"S3.example.com", "10.0.0.1", "-a.b", "a-.b", "a..b",
                                          "a.b-",           "a.b.",     ".a",   "a_b",  "a b"};
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
        char toml[64];
        (void)snprintf(toml, sizeof toml, "s3_domain = \"%s\"\n", domains[i]);
        refused(toml, "s3_domain must be a DNS name in lower case such as s3.example.com, not");
    }
    refused("zone = 1979-05-27\n", "line 1: zone: no setting has a value of this kind");
    refused("base_port = \n", "line 1:");
}

static void unknown_names_are_refused_from_every_source(void **state) {
    (void)state;
    struct bnd_config config = {.base_port = 1};
    struct bnd_error err = {0};
    char *environment[] = {"BINDERY_MEMROY=1GiB", NULL};
    assert_int_equal(load(NULL, environment, NULL, 0, &config, &err), BND_INVALID);
    assert_non_null(
        strstr(err.message, "environment: unknown setting memroy; did you mean memory?"));
    struct bnd_config_flag flags[] = {{"secure", "true"}};
    assert_int_equal(load(NULL, NULL, flags, 1, &config, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "did you mean insecure?"));
    assert_int_equal(config.base_port, 1); /* untouched on failure */
}

static void a_missing_file_is_named(void **state) {
    (void)state;
    struct bnd_config config;
    struct bnd_error err = {0};
    struct bnd_config_sources sources = {.file = "/nonexistent/bindery.toml"};
    assert_int_equal(bnd_config_load(&sources, &config, &err), BND_NOTFOUND);
    assert_non_null(strstr(err.message, "/nonexistent/bindery.toml"));
}

static void a_secret_is_not_printed(void **state) {
    (void)state;
    struct bnd_config config;
    struct bnd_buf text = {0};
    assert_int_equal(load("join = \"a:1\"\ntoken = \"hush\"\n", NULL, NULL, 0, &config, NULL), 0);
    bnd_config_print(&config, &text);
    bnd_buf_u8(&text, 0);
    assert_null(strstr((char *)text.data, "hush"));
    assert_non_null(strstr((char *)text.data, "base_port = 7700\n"));
    bnd_buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flag_beats_environment_beats_file_beats_default),
        cmocka_unit_test(errors_name_the_setting_and_the_nearest_one),
        cmocka_unit_test(unknown_names_are_refused_from_every_source),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_secret_is_not_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
