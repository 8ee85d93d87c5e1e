/* A connection on a database in memory, and what tests ask of it. A request is begun, statements
 * and parameters are added, then it goes; ask() is one statement without any. */
#ifndef BND_TESTS_UNIT_SQL_CONNECTION_RIG_H
#define BND_TESTS_UNIT_SQL_CONNECTION_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "sql/connection.h"

struct rig {
    struct sql_connection *connection;
    struct bnd_sql_request header; /* of the next request */
    struct bnd_buf request;
    uint32_t statements;
    struct sql_run run;
    char part[4096]; /* results() */
};

static inline void rig_open(struct rig *rig) {
    struct sql_connection_config config = {.name = ":memory:"};
    *rig = (struct rig){.header = {.results = BND_SQL_OBJECTS, .session = BND_SQL_PRIMARY},
                        .run = {.served = {.node = "n1", .primary = true}}};
    assert_int_equal(sql_connection_open(&config, &rig->connection, NULL), 0);
}

static inline void rig_close(struct rig *rig) {
    sql_connection_close(rig->connection);
    bnd_buf_free(&rig->request);
    bnd_buf_free(&rig->run.text);
}

static inline void begin(struct rig *rig) {
    bnd_buf_reset(&rig->request);
    bnd_sql_request_begin(&rig->request, &rig->header);
    rig->statements = 0;
}

static inline void add(struct rig *rig, const char *text, uint32_t params) {
    bnd_sql_request_statement(&rig->request, bnd_slice_str(text), params);
    rig->statements++;
}

static inline void param(struct rig *rig, struct bnd_sql_value value) {
    bnd_sql_request_param(&rig->request, &value);
}

static inline int go(struct rig *rig) {
    struct bnd_sql_request request;
    bnd_sql_request_end(&rig->request, rig->statements);
    assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&rig->request), &request), 0);
    rig->run.request = &request;
    int rv = sql_connection_run(rig->connection, &rig->run);
    bnd_buf_u8(&rig->run.text, 0); /* a string for the tests */
    rig->run.request = NULL;
    return rv;
}

static inline const char *text(struct rig *rig) {
    return (const char *)rig->run.text.data;
}

/* Must be done; its answer. */
static inline const char *done(struct rig *rig) {
    assert_int_equal(go(rig), 0);
    if (rig->run.outcome != BND_SQL_DONE) {
        fail_msg("%s", text(rig));
    }
    return text(rig);
}

/* Must fail with exactly this. */
static inline void failed(struct rig *rig, const char *message) {
    assert_int_equal(go(rig), 0);
    assert_int_equal(rig->run.outcome, BND_SQL_FAILED);
    assert_string_equal(text(rig), message);
}

static inline const char *ask(struct rig *rig, const char *sql) {
    begin(rig);
    add(rig, sql, 0);
    return done(rig);
}

static inline void ask_fails(struct rig *rig, const char *sql, const char *message) {
    begin(rig);
    add(rig, sql, 0);
    failed(rig, message);
}

/* Results of the element n of the answer. */
static inline const char *results(struct rig *rig, int n) {
    const char *at = text(rig);
    for (int i = 0; i <= n; i++) {
        at = strstr(at, "\"results\":");
        assert_non_null(at);
        at += strlen("\"results\":");
    }
    const char *end = strstr(at, ",\"meta\":");
    assert_non_null(end);
    assert_true((size_t)(end - at) < sizeof rig->part);
    snprintf(rig->part, sizeof rig->part, "%.*s", (int)(end - at), at);
    return rig->part;
}

/* What a statement answers, as rows. */
static inline const char *rows(struct rig *rig, const char *sql) {
    (void)ask(rig, sql);
    return results(rig, 0);
}

#endif
