#include "tests/sim/sql/request.h"

#include "base/assert.h"

#include <stdio.h>
#include <string.h>

#define PAD_MAX 6000u /* of a list's row: now and then it takes pages of its own */

struct writer {
    struct bnd_buf *out;
    uint32_t statements;
};

static struct writer begin(struct bnd_buf *out, enum bnd_sql_session session,
                           const uint8_t *bookmark) {
    struct bnd_sql_request header = {.results = BND_SQL_ROWS, .session = session};
    if (bookmark != NULL) {
        memcpy(header.bookmark, bookmark, sizeof header.bookmark);
    }
    bnd_sql_request_begin(out, &header);
    return (struct writer){.out = out};
}

static void end(struct writer *writer) {
    bnd_sql_request_end(writer->out, writer->statements);
}

/* With integers as parameters. */
static void add(struct writer *writer, const char *text, const int64_t *params, uint32_t count) {
    bnd_sql_request_statement(writer->out, bnd_slice_str(text), count);
    for (uint32_t i = 0; i < count; i++) {
        const struct bnd_sql_value value = {.type = BND_SQL_INTEGER, .integer = params[i]};
        bnd_sql_request_param(writer->out, &value);
    }
    writer->statements++;
}

void simsql_request_setup(struct bnd_buf *out) {
    static const char *const texts[] = {
        "CREATE TABLE tx(n INTEGER PRIMARY KEY, tok INTEGER, kind INTEGER, a INTEGER, b INTEGER, c "
        "INTEGER, drawn INTEGER)",
        "CREATE TABLE acc(id INTEGER PRIMARY KEY, bal INTEGER)",
        "CREATE TABLE log(k INTEGER, pos INTEGER, tok INTEGER, pad TEXT, PRIMARY KEY(k, pos))",
        "CREATE INDEX log_tok ON log(tok)",
        "CREATE TABLE reg(k INTEGER PRIMARY KEY, v INTEGER)",
        "CREATE TABLE uniq(tok INTEGER PRIMARY KEY)",
    };
    struct writer writer = begin(out, BND_SQL_PRIMARY, NULL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        add(&writer, texts[i], NULL, 0);
    }
    for (int64_t i = 0; i < SIMSQL_ACCOUNTS; i++) {
        const int64_t params[] = {i, SIMSQL_BALANCE};
        add(&writer, "INSERT INTO acc VALUES(?, ?)", params, 2);
    }
    end(&writer);
}

static void add_append(struct writer *writer, const struct simsql_op *op, struct bnd_sim_rng *rng) {
    static char pad[PAD_MAX + 8];
    size_t len = bnd_sim_rng_below(rng, bnd_sim_rng_chance(rng, 100) ? PAD_MAX : 200);
    for (size_t i = 0; i < len; i += 8) { /* half of which packs to nothing */
        uint64_t drawn = op->token % 2 == 0 ? 0 : bnd_sim_rng_u64(rng);
        for (size_t k = 0; k < 8; k++) {
            pad[i + k] = (char)('A' + (drawn >> (8 * k) & 0x1f));
        }
    }
    const struct bnd_sql_value params[] = {
        {.type = BND_SQL_INTEGER, .integer = op->a},
        {.type = BND_SQL_INTEGER, .integer = op->token},
        {.type = BND_SQL_TEXT, .bytes = bnd_slice((const uint8_t *)pad, len)},
        {.type = BND_SQL_INTEGER, .integer = op->a},
    };
    bnd_sql_request_statement(writer->out,
                              bnd_slice_str("INSERT INTO log SELECT ?, coalesce(max(pos), 0) + 1, "
                                            "?, ? FROM log WHERE k = ?"),
                              4);
    for (size_t i = 0; i < 4; i++) {
        bnd_sql_request_param(writer->out, &params[i]);
    }
    writer->statements++;
}

static void add_transfer(struct writer *writer, const struct simsql_op *op) {
    const int64_t from[] = {op->c, op->a};
    const int64_t to[] = {op->c, op->b};
    add(writer, "UPDATE acc SET bal = bal - ? WHERE id = ?", from, 2);
    add(writer, "UPDATE acc SET bal = bal + ? WHERE id = ?", to, 2);
}

static void add_work(struct writer *writer, const struct simsql_op *op, struct bnd_sim_rng *rng) {
    const int64_t set[] = {op->a, op->b, op->b};
    switch (op->kind) {
    case SIMSQL_APPEND:
        add_append(writer, op, rng);
        break;
    case SIMSQL_TRANSFER:
        add_transfer(writer, op);
        break;
    case SIMSQL_REGISTER:
        add(writer, "INSERT INTO reg VALUES(?, ?) ON CONFLICT(k) DO UPDATE SET v = ?", set, 3);
        break;
    case SIMSQL_CLEAR:
        add(writer, "DELETE FROM log WHERE k = ?", &op->a, 1);
        break;
    case SIMSQL_UNIQUE:
        add(writer, "INSERT INTO uniq VALUES(?)", &op->token, 1);
        break;
    case SIMSQL_FAIL:
        add(writer, "INSERT INTO acc VALUES(0, 0)", NULL, 0);
        break;
    case SIMSQL_CHANCE:
        add(writer, "INSERT INTO acc SELECT 0, 0 WHERE random() & 1", NULL, 0);
        break;
    case SIMSQL_READ:
    case SIMSQL_DUMP:
        BND_UNREACHABLE("a read writes nothing");
    }
}

static const char list_text[] =
    "SELECT coalesce(group_concat(tok), '') FROM (SELECT tok FROM log WHERE k = ? ORDER BY pos)";
static const char register_text[] = "SELECT coalesce((SELECT v FROM reg WHERE k = ?), -1)";

void simsql_request_op(struct bnd_buf *out, const struct simsql_op *op, const uint8_t *bookmark,
                       struct bnd_sim_rng *rng) {
    enum bnd_sql_session plain = op->b % 4 == 0 ? BND_SQL_PRIMARY : BND_SQL_NO_SESSION;
    enum bnd_sql_session session = !op->stale         ? plain
                                   : bookmark == NULL ? BND_SQL_UNCONSTRAINED
                                                      : BND_SQL_BOOKMARK;
    struct writer writer = begin(out, session, bookmark);
    if (op->kind == SIMSQL_READ) {
        add(&writer, "SELECT coalesce(max(n), 0) FROM tx", NULL, 0);
        add(&writer, "SELECT sum(bal) FROM acc", NULL, 0);
        add(&writer, list_text, &op->a, 1);
        add(&writer, register_text, &op->b, 1);
        if (op->c == 1) {
            add(&writer, "DELETE FROM log WHERE k = -1", NULL, 0);
        }
    } else {
        const int64_t row[] = {op->token, (int64_t)op->kind, op->a, op->b, op->c};
        add(&writer,
            "INSERT INTO tx SELECT coalesce(max(n), 0) + 1, ?, ?, ?, ?, ?, random() & 0xffff FROM "
            "tx "
            "RETURNING n, drawn",
            row, 5);
        add_work(&writer, op, rng);
    }
    end(&writer);
}

void simsql_request_dump(struct bnd_buf *out) {
    struct writer writer = begin(out, BND_SQL_PRIMARY, NULL);
    add(&writer, "SELECT n, tok, kind, a, b, c, drawn FROM tx ORDER BY n", NULL, 0);
    add(&writer, "SELECT id, bal FROM acc ORDER BY id", NULL, 0);
    for (int64_t k = 0; k < SIMSQL_KEYS; k++) {
        add(&writer, list_text, &k, 1);
    }
    for (int64_t k = 0; k < SIMSQL_KEYS; k++) {
        add(&writer, register_text, &k, 1);
    }
    end(&writer);
}
