/* Any text given as SQL to a connection in memory: the run ends in one of its ways, its answer is
 * UTF-8 that ends as it should, the connection is as good as before. The first byte chooses how it
 * is asked. Seeds: tests/fuzz/corpus/fuzz_sql_connection. */
#include <string.h>

#include "base/utf8.h"
#include "sql/connection.h"
#include "tests/fuzz/fuzz.h"

/* Time passes each time it is looked at. */
static uint64_t tick(void *data) {
    return *(uint64_t *)data += 1000000;
}

static void ask(struct sql_connection *connection, struct sql_run *run, uint8_t how,
                struct bnd_slice text) {
    struct bnd_buf bytes = {0};
    struct bnd_sql_request request = {.results = how & 1 ? BND_SQL_ROWS : BND_SQL_OBJECTS,
                                      .session = BND_SQL_PRIMARY,
                                      .script = (how & 2) != 0,
                                      .read_only = (how & 4) != 0};
    bnd_sql_request_begin(&bytes, &request);
    bnd_sql_request_statement(&bytes, text, 0);
    bnd_sql_request_end(&bytes, 1);
    BND_ASSERT(bnd_sql_request_decode(bnd_buf_slice(&bytes), &request) == 0);
    run->request = &request;
    run->read_only = (how & 8) != 0;
    int rv = sql_connection_run(connection, run);
    BND_ASSERT(rv == 0 || rv == BND_TOOBIG);
    if (rv == 0 && !run->wants_writer) {
        struct bnd_slice answer = bnd_buf_slice(&run->text);
        BND_ASSERT(answer.len > 0 && bnd_utf8_valid(answer));
        BND_ASSERT(run->outcome == BND_SQL_FAILED ||
                   (answer.data[0] == '[' && answer.data[answer.len - 1] == ']'));
    }
    bnd_buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len == 0) {
        return 0;
    }
    uint64_t now = 0;
    struct sql_connection *connection = NULL;
    struct sql_connection_config config = {.name = ":memory:", .memory_bytes_max = 16u << 20};
    struct sql_run run = {
        .served = {.node = "n"}, .clock = {.now_ns = tick, .data = &now}, .timeout_ms = 200};
    BND_ASSERT(sql_connection_open(&config, &connection, NULL) == 0);
    ask(connection, &run, 2, bnd_slice_str("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x')"));
    ask(connection, &run, data[0], bnd_slice(data + 1, len - 1));
    ask(connection, &run, data[0], bnd_slice(data + 1, len - 1)); /* what is kept by now */
    run.read_only = false;
    ask(connection, &run, 0, bnd_slice_str("SELECT 'A' LIKE 'a' AS l"));
    BND_ASSERT(run.outcome == BND_SQL_DONE);
    BND_ASSERT(memmem(run.text.data, run.text.len, "[{\"l\":1}]", 9) != NULL);
    bnd_buf_free(&run.text);
    sql_connection_close(connection);
    return 0;
}
