/* A node's own certificate: kept while it is good, signed anew before it ends. */
#include "base/alloc.h"
#include "catalog/issue.h"
#include "node/authority.h"
#include "node/certificates.h"
#include "node/files.h"
#include "tests/sim/disk.h"
#include "tests/sim/env.h"
#include "tests/sim/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DAY_MS INT64_C(86400000)

static void it_is_signed_anew_in_its_last_month(void **state) {
    (void)state;
    struct bnd_sim_clock clock = {0};
    struct bnd_sim_world *world = bnd_sim_world_create(1);
    struct bnd_sim_disk *disk = bnd_sim_disk_create(world, 1, 0);
    struct bnd_sim_env *sim = bnd_sim_env_create(world, disk, &clock, 1);
    bnd_sim_env_enter(sim);
    struct bnd_env *env = bnd_sim_env(sim);
    struct node_identity identity = {.node = 7, .cluster = {1, 2, 3}, .cluster_key = {9}};
    struct bnd_buf ca_key = {0};
    struct bnd_buf csr = {0};
    struct bnd_buf sealed = {0};
    const struct bnd_pki_identity name = {.node = 7, .cluster = {1, 2, 3}};
    uint64_t now = bnd_wall_ms(env);
    assert_int_equal(bnd_pki_ca_create(identity.cluster, now, &identity.ca_cert, &ca_key, NULL), 0);
    assert_int_equal(bnd_pki_key_create(&identity.node_key, NULL), 0);
    assert_int_equal(bnd_pki_csr_create(bnd_buf_slice(&identity.node_key), &csr, NULL), 0);
    const struct bnd_pki_ca ca = {bnd_buf_slice(&identity.ca_cert), bnd_buf_slice(&ca_key)};
    assert_int_equal(
        bnd_pki_node_sign(&ca, bnd_buf_slice(&csr), &name, now, &identity.node_cert, NULL), 0);
    assert_int_equal(bnd_seal(env, identity.cluster_key, bnd_buf_slice(&ca_key), &sealed), 0);
    const struct bnd_settings settings = {.ca_cert = bnd_buf_slice(&identity.ca_cert),
                                          .ca_key = bnd_buf_slice(&sealed)};
    assert_int_equal(env->ops->dir_make(env, "data", NULL), 0);
    assert_int_equal(env->ops->dir_make(env, "data/certs", NULL), 0);

    bool renewed = true;
    clock.offset_ms = (BND_PKI_LEAF_DAYS - 31) * DAY_MS;
    assert_int_equal(node_certificate_renew(env, "data", &identity, &settings, &renewed, NULL), 0);
    assert_false(renewed);
    clock.offset_ms = (BND_PKI_LEAF_DAYS - 29) * DAY_MS;
    assert_int_equal(node_certificate_renew(env, "data", &identity, &settings, &renewed, NULL), 0);
    assert_true(renewed);

    struct bnd_buf file = {0};
    struct bnd_pki_identity read;
    assert_int_equal(bnd_pki_load(env, "data/certs/node.pem", &file, NULL), 0);
    assert_true(bnd_slice_eq(bnd_buf_slice(&file), bnd_buf_slice(&identity.node_cert)));
    uint64_t later = bnd_wall_ms(env) + (BND_PKI_LEAF_DAYS - 1) * (uint64_t)DAY_MS;
    assert_int_equal(bnd_pki_node_verify(bnd_buf_slice(&identity.ca_cert), bnd_buf_slice(&file),
                                         later, &read, NULL),
                     0);
    assert_int_equal(read.node, 7);
    assert_int_equal(node_certificate_renew(env, "data", &identity, &settings, &renewed, NULL), 0);
    assert_false(renewed);

    identity.cluster_key[0] = 1;
    clock.offset_ms *= 2;
    assert_int_equal(node_certificate_renew(env, "data", &identity, &settings, &renewed, NULL),
                     BND_CORRUPT);
    bnd_buf_free(&ca_key);
    bnd_buf_free(&csr);
    bnd_buf_free(&sealed);
    bnd_buf_free(&file);
    node_identity_free(&identity);
    bnd_sim_env_leave(sim);
    bnd_sim_env_stop(sim);
    bnd_sim_disk_destroy(disk);
    bnd_sim_world_destroy(world);
}

/* ---- a change of the CA -----------------------------------------------------------------------*/

struct world {
    struct bnd_sim_world *world;
    struct bnd_sim_clock clock;
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *sim;
    struct bnd_env *env;
    struct node_identity identity;
    struct bnd_settings settings[3]; /* before, during, after */
    struct bnd_buf sealed;
    struct bnd_issue_ca next;
};

static void write_file(struct world *w, const char *name, const struct bnd_buf *bytes) {
    assert_int_equal(node_file_write(w->env, "data/certs", name, bnd_buf_slice(bytes), NULL), 0);
}

static void world_open(struct world *w) {
    struct bnd_buf ca_key = {0};
    struct bnd_buf csr = {0};
    memset(w, 0, sizeof *w);
    w->world = bnd_sim_world_create(1);
    w->disk = bnd_sim_disk_create(w->world, 1, 0);
    w->sim = bnd_sim_env_create(w->world, w->disk, &w->clock, 1);
    bnd_sim_env_enter(w->sim);
    w->env = bnd_sim_env(w->sim);
    w->identity = (struct node_identity){.node = 7, .cluster = {1, 2, 3}, .cluster_key = {9}};
    uint64_t now = bnd_wall_ms(w->env);
    assert_int_equal(
        bnd_pki_ca_create(w->identity.cluster, now, &w->identity.ca_cert, &ca_key, NULL), 0);
    assert_int_equal(bnd_seal(w->env, w->identity.cluster_key, bnd_buf_slice(&ca_key), &w->sealed),
                     0);
    struct bnd_buf old_ca = {0};
    bnd_buf_append_slice(&old_ca, bnd_buf_slice(&w->identity.ca_cert));
    w->settings[0] = (struct bnd_settings){
        .ca_cert = bnd_buf_slice(&old_ca), .ca_key = bnd_buf_slice(&w->sealed), .ca_generation = 1};
    assert_int_equal(
        bnd_issue_next_ca(w->env, w->identity.cluster_key, &w->settings[0], &w->next, NULL), 0);
    w->settings[1] = (struct bnd_settings){.ca_cert = bnd_buf_slice(&w->next.certificate),
                                           .ca_key = bnd_buf_slice(&w->next.sealed_key),
                                           .ca_generation = 2,
                                           .ca_link = bnd_buf_slice(&w->next.link),
                                           .old_ca_cert = w->settings[0].ca_cert,
                                           .old_ca_key = w->settings[0].ca_key};
    w->settings[2] = (struct bnd_settings){
        .ca_cert = w->settings[1].ca_cert, .ca_key = w->settings[1].ca_key, .ca_generation = 2};
    assert_int_equal(bnd_pki_key_create(&w->identity.node_key, NULL), 0);
    assert_int_equal(bnd_pki_csr_create(bnd_buf_slice(&w->identity.node_key), &csr, NULL), 0);
    assert_int_equal(node_authority_sign(w->env, &w->identity, &w->settings[0], bnd_buf_slice(&csr),
                                         7, &w->identity.node_cert, NULL),
                     0);
    assert_int_equal(w->env->ops->dir_make(w->env, "data", NULL), 0);
    assert_int_equal(w->env->ops->dir_make(w->env, "data/certs", NULL), 0);
    write_file(w, "ca.pem", &w->identity.ca_cert);
    write_file(w, "node.pem", &w->identity.node_cert);
    bnd_buf_free(&ca_key);
    bnd_buf_free(&csr);
}

static void world_close(struct world *w) {
    struct bnd_slice old_ca = w->settings[0].ca_cert;
    bnd_free((void *)old_ca.data);
    bnd_buf_free(&w->sealed);
    bnd_issue_ca_free(&w->next);
    node_identity_free(&w->identity);
    bnd_sim_env_leave(w->sim);
    bnd_sim_env_stop(w->sim);
    bnd_sim_disk_destroy(w->disk);
    bnd_sim_world_destroy(w->world);
}

/* What the next start would find: read from the files, and good in itself. */
static void reload(struct world *w) {
    struct bnd_pki_identity read;
    assert_int_equal(node_file_read(w->env, "data/certs", "ca.pem", &w->identity.ca_cert, NULL), 0);
    assert_int_equal(node_file_read(w->env, "data/certs", "node.pem", &w->identity.node_cert, NULL),
                     0);
    assert_int_equal(bnd_pki_node_verify(bnd_buf_slice(&w->identity.ca_cert),
                                         bnd_buf_slice(&w->identity.node_cert), bnd_wall_ms(w->env),
                                         &read, NULL),
                     0);
    assert_int_equal(read.node, 7);
}

static int renew(struct world *w, const struct bnd_settings *settings, bool *renewed) {
    return node_certificate_renew(w->env, "data", &w->identity, settings, renewed, NULL);
}

/* How it must be once the settings have been followed. */
static void check_follows(struct world *w, const struct bnd_settings *settings) {
    struct bnd_buf trusted = {0};
    bool renewed = true;
    reload(w);
    node_authority_trusted(settings, &trusted);
    assert_true(bnd_slice_eq(bnd_buf_slice(&w->identity.ca_cert), bnd_buf_slice(&trusted)));
    assert_true(bnd_pki_signed_by(settings->ca_cert, bnd_buf_slice(&w->identity.node_cert)));
    assert_int_equal(bnd_pki_count(bnd_buf_slice(&w->identity.node_cert)),
                     settings->ca_link.len > 0 ? 2 : 1);
    assert_int_equal(renew(w, settings, &renewed), 0);
    assert_false(renewed);
    bnd_buf_free(&trusted);
}

static void a_node_follows_the_change_of_the_ca(void **state) {
    (void)state;
    struct world w;
    bool renewed = false;
    world_open(&w);
    check_follows(&w, &w.settings[0]);
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(renew(&w, &w.settings[i], &renewed), 0);
        assert_true(renewed);
        check_follows(&w, &w.settings[i]);
    }
    world_close(&w);
}

/* The n-th call of the disk fails, and all after it: the files fit each other, and the next try
 * ends well. Also where only the end of a change was heard of. */
static void cut_anywhere(size_t from, size_t to) {
    bool cut = true;
    for (uint64_t n = 1; cut; n++) {
        struct world w;
        bool renewed = false;
        world_open(&w);
        for (size_t i = 1; i <= from; i++) {
            assert_int_equal(renew(&w, &w.settings[i], &renewed), 0);
        }
        bnd_sim_disk_fail(w.disk, n, BND_IO, true);
        cut = renew(&w, &w.settings[to], &renewed) != 0;
        bnd_sim_disk_heal(w.disk);
        assert_true(n < 100);
        assert_true(n > 4 || cut); /* it does use the disk */
        reload(&w);
        assert_int_equal(renew(&w, &w.settings[to], &renewed), 0);
        check_follows(&w, &w.settings[to]);
        world_close(&w);
    }
}

static void a_change_cut_anywhere_leaves_files_that_fit(void **state) {
    (void)state;
    cut_anywhere(0, 1);
    cut_anywhere(1, 2);
    cut_anywhere(0, 2);
}

/* The clients of the ports were given the old CA, and have both only when the operator says so. */
static void the_ports_keep_the_old_ca_until_the_end(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    for (size_t i = 0; i < 3; i++) {
        struct node_authority authority = node_authority_of_ports(&w.settings[i]);
        const struct bnd_settings *expected = &w.settings[i == 2 ? 2 : 0];
        assert_true(bnd_slice_eq(authority.cert, expected->ca_cert));
        assert_true(bnd_slice_eq(authority.key, expected->ca_key));
    }
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_signed_anew_in_its_last_month),
        cmocka_unit_test(a_node_follows_the_change_of_the_ca),
        cmocka_unit_test(a_change_cut_anywhere_leaves_files_that_fit),
        cmocka_unit_test(the_ports_keep_the_old_ca_until_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
