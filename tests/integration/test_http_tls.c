/* The same server behind TLS: a download larger than every buffer, and an upload. */
#include "net/pki.h"
#include "net/tls.h"
#include "tests/integration/http_rig.h"

#include <openssl/ssl.h>
#include <time.h>

#define BODY_BYTES ((size_t)8 << 20)

static struct rig rig;

static struct bnd_tls_context *server_context(void) {
    static const uint8_t cluster[BND_PKI_CLUSTER_BYTES] = {1};
    uint64_t now_ms = (uint64_t)time(NULL) * 1000;
    struct bnd_error err = {0};
    BND_AUTO_BUF struct bnd_buf ca_pem = {0};
    BND_AUTO_BUF struct bnd_buf ca_key = {0};
    BND_AUTO_BUF struct bnd_buf key = {0};
    BND_AUTO_BUF struct bnd_buf csr = {0};
    BND_AUTO_BUF struct bnd_buf certificate = {0};
    assert_int_equal(bnd_pki_ca_create(cluster, now_ms, &ca_pem, &ca_key, &err), 0);
    assert_int_equal(bnd_pki_key_create(&key, &err), 0);
    assert_int_equal(bnd_pki_csr_create(bnd_buf_slice(&key), &csr, &err), 0);
    const struct bnd_pki_ca ca = {bnd_buf_slice(&ca_pem), bnd_buf_slice(&ca_key)};
    const char *const hosts[] = {"127.0.0.1"};
    assert_int_equal(
        bnd_pki_server_sign(&ca, bnd_buf_slice(&csr), hosts, 1, now_ms, &certificate, &err), 0);
    const struct bnd_tls_config config = {.role = BND_TLS_SERVER,
                                          .verify = BND_TLS_VERIFY_NONE,
                                          .certificate_pem = bnd_buf_slice(&certificate),
                                          .key_pem = bnd_buf_slice(&key),
                                          .alpn = "http/1.1"};
    struct bnd_tls_context *context = NULL;
    if (bnd_tls_context_create(&config, &context, &err) != 0) {
        fail_msg("%s", err.message);
    }
    return context;
}

static void tls_send(SSL *ssl, const void *data, size_t len) {
    size_t done = 0;
    assert_int_equal(SSL_write_ex(ssl, data, len, &done), 1);
    assert_int_equal(done, len);
}

static void tls_await(SSL *ssl, struct bnd_buf *in, const char *text) {
    while (!buf_has(in, text)) {
        uint8_t bytes[4096];
        size_t n = 0;
        assert_int_equal(SSL_read_ex(ssl, bytes, sizeof bytes, &n), 1);
        bnd_buf_append(in, bytes, n);
    }
}

static void test_both_ways(void **state) {
    struct bnd_tls_context *context = server_context();
    rig_start(&rig, NULL, context);
    int fd = client_open(&rig);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    assert_int_equal(SSL_connect(ssl), 1);
    BND_AUTO_BUF struct bnd_buf in = {0};
    char head[128];
    int n = snprintf(head, sizeof head,
                     "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", BODY_BYTES);
    tls_send(ssl, head, (size_t)n);
    for (size_t sent = 0; sent < BODY_BYTES; sent += RIG_PIECE) {
        tls_send(ssl, rig_piece, RIG_PIECE);
    }
    tls_await(ssl, &in, "\r\n\r\n8388608 ");
    n = snprintf(head, sizeof head,
                 "GET /stream?%zu HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", BODY_BYTES);
    tls_send(ssl, head, (size_t)n);
    size_t total = 0;
    size_t got = 0;
    uint8_t bytes[4096];
    while (SSL_read_ex(ssl, bytes, sizeof bytes, &got) == 1) {
        total += got;
    }
    assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN); /* close_notify, not a cut */
    assert_in_range(total, BODY_BYTES, BODY_BYTES + 300);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    rig_stop(&rig, 0);
    bnd_tls_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_ways)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
