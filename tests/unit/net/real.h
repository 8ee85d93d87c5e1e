/* What the tests with real sockets share: a loop that runs until something is true, and a cluster's
 * certificates. */
#ifndef BND_TESTS_UNIT_NET_REAL_H
#define BND_TESTS_UNIT_NET_REAL_H

#include "engine/io/io.h"
#include "net/pki.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define REAL_PATIENCE_NS (20000 * BND_MS)

struct real {
    struct bnd_env *env;
    char log[8192]; /* what was logged, newest last, cut at the end */
    bool (*done)(void *data);
    void *done_data;
    bool late;
};

static inline void real_log(void *data, enum bnd_log_level level, const char *component,
                            const char *line) {
    struct real *real = data;
    size_t used = strlen(real->log);
    (void)snprintf(real->log + used, sizeof real->log - used, "%s: %s\n", component, line);
}

static inline void real_open(struct real *real) {
    struct bnd_io_options options = {.backend = BND_IO_THREADS, .log = real_log, .log_data = real};
    struct bnd_error err;
    memset(real, 0, sizeof *real);
    (void)signal(
        SIGPIPE,
        SIG_IGN); /* these tests write between runs of the loop, which blocks it while it runs */
    assert_int_equal(bnd_io_env_create(&options, &real->env, &err), 0);
}

static inline void real_check(struct bnd_hook *hook) {
    struct real *real = hook->data;
    if (real->done(real->done_data)) {
        bnd_io_env_stop(real->env);
    }
}

static inline void real_late(struct bnd_timer *timer) {
    struct real *real = timer->data;
    real->late = true;
    bnd_io_env_stop(real->env);
}

/* Runs the loop until done(data); false: not within `patience`. */
static inline bool real_run_for(struct real *real, uint64_t patience_ns, bool (*done)(void *),
                                void *data) {
    struct bnd_hook hook = {.cb = real_check, .data = real};
    struct bnd_timer timer = {.cb = real_late, .data = real};
    real->done = done;
    real->done_data = data;
    real->late = false;
    real->env->ops->hook_add(real->env, &hook);
    bnd_timer_start(real->env, &timer, patience_ns);
    bnd_io_env_run(real->env);
    bnd_timer_stop(real->env, &timer);
    real->env->ops->hook_remove(real->env, &hook);
    return !real->late;
}

static inline void real_run(struct real *real, bool (*done)(void *), void *data) {
    if (!real_run_for(real, REAL_PATIENCE_NS, done, data)) {
        fail_msg("nothing happened in time; log:\n%s", real->log);
    }
}

static inline void real_set(void *flag) {
    *(bool *)flag = true;
}

static inline bool real_is_set(void *flag) {
    return *(bool *)flag;
}

struct certs {
    struct bnd_buf ca;
    struct bnd_buf ca_key;
    struct bnd_buf cert;
    struct bnd_buf key;
};

static inline void certs_free(struct certs *certs) {
    bnd_buf_free(&certs->ca);
    bnd_buf_free(&certs->ca_key);
    bnd_buf_free(&certs->cert);
    bnd_buf_free(&certs->key);
}

/* A CA for cluster {number, 0, ...}. */
static inline void certs_ca(struct real *real, uint8_t number, struct certs *certs) {
    uint8_t cluster[16] = {number};
    struct bnd_error err;
    assert_int_equal(
        bnd_pki_ca_create(cluster, bnd_wall_ms(real->env), &certs->ca, &certs->ca_key, &err), 0);
}

/* A node's or (node 0) a server's certificate for 127.0.0.1, replacing the one before. */
static inline void certs_leaf(struct real *real, uint8_t cluster_number, uint64_t node,
                              struct certs *certs) {
    struct bnd_pki_ca ca = {bnd_buf_slice(&certs->ca), bnd_buf_slice(&certs->ca_key)};
    struct bnd_pki_identity identity = {{cluster_number}, node};
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    struct bnd_buf csr = {0};
    struct bnd_error err;
    assert_int_equal(bnd_pki_key_create(&certs->key, &err), 0);
    assert_int_equal(bnd_pki_csr_create(bnd_buf_slice(&certs->key), &csr, &err), 0);
    uint64_t now = bnd_wall_ms(real->env);
    if (node == 0) {
        assert_int_equal(
            bnd_pki_server_sign(&ca, bnd_buf_slice(&csr), hosts, 2, now, &certs->cert, &err), 0);
    } else {
        assert_int_equal(
            bnd_pki_node_sign(&ca, bnd_buf_slice(&csr), &identity, now, &certs->cert, &err), 0);
    }
    bnd_buf_free(&csr);
}

#endif
