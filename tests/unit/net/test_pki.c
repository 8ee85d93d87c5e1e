/* Certificates: what the cluster's CA signs, and what is believed of a certificate. */
#include "net/pki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW_MS UINT64_C(1790000000000)
#define DAY_MS UINT64_C(86400000)

static const uint8_t CLUSTER[16] = {0xab, 0xcd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};

struct fixture {
    struct bnd_buf ca;
    struct bnd_buf ca_key;
    struct bnd_buf key;
    struct bnd_buf csr;
    struct bnd_buf cert;
    struct bnd_error err;
};

static struct bnd_pki_ca ca_of(const struct fixture *f) {
    return (struct bnd_pki_ca){bnd_buf_slice(&f->ca), bnd_buf_slice(&f->ca_key)};
}

static int setup(void **state) {
    static struct fixture fixture;
    struct fixture *f = &fixture;
    assert_int_equal(bnd_pki_ca_create(CLUSTER, NOW_MS, &f->ca, &f->ca_key, &f->err), 0);
    assert_int_equal(bnd_pki_key_create(&f->key, &f->err), 0);
    assert_int_equal(bnd_pki_csr_create(bnd_buf_slice(&f->key), &f->csr, &f->err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    bnd_buf_free(&f->ca);
    bnd_buf_free(&f->ca_key);
    bnd_buf_free(&f->key);
    bnd_buf_free(&f->csr);
    bnd_buf_free(&f->cert);
    return 0;
}

static int sign_node(struct fixture *f, uint64_t node) {
    struct bnd_pki_ca ca = ca_of(f);
    struct bnd_pki_identity identity = {.node = node};
    memcpy(identity.cluster, CLUSTER, sizeof CLUSTER);
    return bnd_pki_node_sign(&ca, bnd_buf_slice(&f->csr), &identity, NOW_MS, &f->cert, &f->err);
}

static int verify_at(struct fixture *f, uint64_t now_ms, struct bnd_pki_identity *out) {
    return bnd_pki_node_verify(bnd_buf_slice(&f->ca), bnd_buf_slice(&f->cert), now_ms, out,
                               &f->err);
}

static void test_node_certificate_names_its_node(void **state) {
    struct fixture *f = *state;
    static const uint64_t ids[] = {1, 7, 4294967296, UINT64_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct bnd_pki_identity read = {.node = 0};
        assert_int_equal(sign_node(f, ids[i]), 0);
        assert_int_equal(verify_at(f, NOW_MS, &read), 0);
        assert_true(read.node == ids[i]);
        assert_memory_equal(read.cluster, CLUSTER, 16);
    }
    assert_int_equal(sign_node(f, 0), BND_INVALID);
}

static void test_certificate_is_valid_for_its_year_and_a_slow_clock(void **state) {
    struct fixture *f = *state;
    struct bnd_pki_identity read;
    uint64_t expiry_s = 0;
    assert_int_equal(sign_node(f, 3), 0);
    assert_int_equal(verify_at(f, NOW_MS - DAY_MS + 60000, &read), 0);
    assert_int_equal(verify_at(f, NOW_MS - DAY_MS - 60000, &read), BND_DENIED);
    assert_int_equal(verify_at(f, NOW_MS + 365 * DAY_MS - 60000, &read), 0);
    assert_int_equal(verify_at(f, NOW_MS + 365 * DAY_MS + 60000, &read), BND_DENIED);
    assert_non_null(strstr(f->err.message, "expired"));
    assert_int_equal(bnd_pki_expiry(bnd_buf_slice(&f->cert), &expiry_s, &f->err), 0);
    assert_true(expiry_s == (NOW_MS + 365 * DAY_MS) / 1000);
    assert_int_equal(bnd_pki_expiry(bnd_buf_slice(&f->ca), &expiry_s, &f->err), 0);
    assert_true(expiry_s == (NOW_MS + 3650 * DAY_MS) / 1000);
}

static void test_certificate_of_another_ca_is_refused(void **state) {
    struct fixture *f = *state;
    struct bnd_buf other = {0};
    struct bnd_buf other_key = {0};
    struct bnd_pki_identity read;
    assert_int_equal(bnd_pki_ca_create(CLUSTER, NOW_MS, &other, &other_key, &f->err), 0);
    assert_int_equal(sign_node(f, 3), 0);
    assert_int_equal(
        bnd_pki_node_verify(bnd_buf_slice(&other), bnd_buf_slice(&f->cert), NOW_MS, &read, &f->err),
        BND_DENIED);
    struct bnd_pki_ca mixed = {bnd_buf_slice(&f->ca), bnd_buf_slice(&other_key)};
    struct bnd_pki_identity identity = {.node = 1};
    assert_int_equal(
        bnd_pki_node_sign(&mixed, bnd_buf_slice(&f->csr), &identity, NOW_MS, &f->cert, &f->err),
        BND_INVALID);
    bnd_buf_free(&other);
    bnd_buf_free(&other_key);
}

static void test_server_certificate_is_no_node(void **state) {
    struct fixture *f = *state;
    struct bnd_pki_ca ca = ca_of(f);
    struct bnd_pki_identity read;
    static const char *const hosts[] = {"127.0.0.1", "::1", "node-1.example"};
    assert_int_equal(
        bnd_pki_server_sign(&ca, bnd_buf_slice(&f->csr), hosts, 3, NOW_MS, &f->cert, &f->err), 0);
    assert_int_equal(verify_at(f, NOW_MS, &read), BND_DENIED);
    static const char *const posing[] = {"bindery://abcd0102030405060708090a0b0c0d0e/node/1"};
    assert_int_equal(
        bnd_pki_server_sign(&ca, bnd_buf_slice(&f->csr), posing, 1, NOW_MS, &f->cert, &f->err), 0);
    assert_int_equal(verify_at(f, NOW_MS, &read), BND_DENIED);
    assert_int_equal(
        bnd_pki_server_sign(&ca, bnd_buf_slice(&f->csr), hosts, 0, NOW_MS, &f->cert, &f->err),
        BND_INVALID);
}

static void test_request_must_be_signed_by_its_key(void **state) {
    struct fixture *f = *state;
    /* Flip one bit in the request's signature: the last base64 characters before the footer. */
    char *footer = strstr((char *)f->csr.data, "\n-----END");
    assert_non_null(footer);
    char *digit = footer - 12;
    *digit = *digit == 'A' ? 'B' : 'A';
    int rv = sign_node(f, 1);
    assert_true(rv == BND_DENIED || rv == BND_INVALID);
}

static void test_fingerprints_tell_keys_apart(void **state) {
    struct fixture *f = *state;
    uint8_t first[32];
    uint8_t again[32];
    uint8_t ca[32];
    struct bnd_buf key = {0};
    struct bnd_buf csr = {0};
    assert_int_equal(bnd_pki_csr_fingerprint(bnd_buf_slice(&f->csr), first, &f->err), 0);
    assert_int_equal(bnd_pki_csr_create(bnd_buf_slice(&f->key), &csr, &f->err), 0);
    assert_int_equal(bnd_pki_csr_fingerprint(bnd_buf_slice(&csr), again, &f->err), 0);
    assert_memory_equal(first, again, 32);
    assert_int_equal(bnd_pki_key_create(&key, &f->err), 0);
    assert_int_equal(bnd_pki_csr_create(bnd_buf_slice(&key), &csr, &f->err), 0);
    assert_int_equal(bnd_pki_csr_fingerprint(bnd_buf_slice(&csr), again, &f->err), 0);
    assert_memory_not_equal(first, again, 32);
    assert_int_equal(bnd_pki_fingerprint(bnd_buf_slice(&f->ca), ca, &f->err), 0);
    bnd_buf_free(&key);
    bnd_buf_free(&csr);
}

static void test_garbage_is_refused_and_outputs_stay(void **state) {
    struct fixture *f = *state;
    uint8_t digest[32];
    struct bnd_pki_identity read = {.node = 42};
    struct bnd_slice garbage =
        bnd_slice_str("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_int_equal(bnd_pki_fingerprint(garbage, digest, &f->err), BND_INVALID);
    assert_int_equal(bnd_pki_fingerprint(bnd_slice(NULL, 0), digest, &f->err), BND_INVALID);
    assert_int_equal(bnd_pki_identity_read(garbage, &read, &f->err), BND_CORRUPT);
    assert_int_equal(bnd_pki_identity_read(bnd_slice(NULL, 0), &read, &f->err), BND_CORRUPT);
    assert_int_equal(bnd_pki_csr_create(garbage, &f->cert, &f->err), BND_INVALID);
    assert_true(read.node == 42);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_node_certificate_names_its_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_certificate_is_valid_for_its_year_and_a_slow_clock,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_certificate_of_another_ca_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_certificate_is_no_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_request_must_be_signed_by_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fingerprints_tell_keys_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_is_refused_and_outputs_stay, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
