/* A node's own certificate: kept while it is good, signed anew before it ends. */
#include "node/certificates.h"
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_signed_anew_in_its_last_month),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
