#include "sql/request.h"

#include "base/assert.h"
#include "sql/bookmark.h"

#define VERSION 1

enum request_flags { SCRIPT = 1, READ_ONLY = 2, UNLINKED = 4, PAGES = 8, FILL = 16 };

enum { HEAD_BYTES = 4 };

static void read_bookmark(struct bnd_reader *r, uint8_t out[BND_SQL_BOOKMARK_BYTES]) {
    struct bnd_sql_bookmark bookmark;
    bnd_sql_bookmark_read(r, &bookmark);
    if (!r->failed) {
        bnd_sql_bookmark_put(out, &bookmark);
    }
}

/* ---- requests
 * ------------------------------------------------------------------------------------ */

void bnd_sql_request_begin(struct bnd_buf *out, const struct bnd_sql_request *header) {
    BND_ASSERT(out->len == 0);
    bnd_buf_u8(out, VERSION);
    bnd_buf_u8(out, (uint8_t)header->results);
    bnd_buf_u8(out, (uint8_t)header->session);
    bnd_buf_u8(out, (uint8_t)((header->script ? SCRIPT : 0) | (header->read_only ? READ_ONLY : 0) |
                              (header->unlinked ? UNLINKED : 0) |
                              (header->pages_count > 0 ? PAGES : 0) | (header->fill ? FILL : 0)));
    if (header->session == BND_SQL_BOOKMARK) {
        bnd_buf_append(out, header->bookmark, sizeof header->bookmark);
    }
    bnd_buf_u32(out, 0); /* bnd_sql_request_end knows */
    if (header->pages_count > 0) {
        bnd_buf_u32(out, header->pages_first);
        bnd_buf_u32(out, header->pages_count);
    }
}

void bnd_sql_request_statement(struct bnd_buf *out, struct bnd_slice text, uint32_t params_count) {
    bnd_buf_bytes(out, text);
    bnd_buf_u32(out, params_count);
}

void bnd_sql_request_param(struct bnd_buf *out, const struct bnd_sql_value *value) {
    bnd_buf_u8(out, (uint8_t)value->type);
    uint64_t bits = (uint64_t)value->integer;
    switch (value->type) {
    case BND_SQL_NULL:
        break;
    case BND_SQL_REAL:
        memcpy(&bits, &value->real, sizeof bits);
        bnd_buf_u64(out, bits);
        break;
    case BND_SQL_INTEGER:
        bnd_buf_u64(out, bits);
        break;
    case BND_SQL_TEXT:
    case BND_SQL_BLOB:
        bnd_buf_bytes(out, value->bytes);
        break;
    default:
        BND_UNREACHABLE("a type of SQL values");
    }
}

void bnd_sql_request_end(struct bnd_buf *out, uint32_t statements_count) {
    if (out->failed) {
        return;
    }
    size_t at = HEAD_BYTES + (out->data[2] == BND_SQL_BOOKMARK ? BND_SQL_BOOKMARK_BYTES : 0);
    BND_ASSERT(out->len >= at + sizeof statements_count);
    bnd_put_u32(out->data + at, statements_count);
}

static struct bnd_sql_value read_value(struct bnd_reader *r) {
    struct bnd_sql_value value = {.type = (enum bnd_sql_type)bnd_read_u8(r)};
    uint64_t bits;
    switch (value.type) {
    case BND_SQL_NULL:
        break;
    case BND_SQL_INTEGER:
        value.integer = (int64_t)bnd_read_u64(r);
        break;
    case BND_SQL_REAL:
        bits = bnd_read_u64(r);
        memcpy(&value.real, &bits, sizeof bits);
        break;
    case BND_SQL_TEXT:
    case BND_SQL_BLOB:
        value.bytes = bnd_read_bytes(r);
        break;
    default:
        r->failed = true;
    }
    return value;
}

/* A statement with its parameters; the reader is then behind them. */
static struct bnd_sql_statement read_statement(struct bnd_reader *r) {
    struct bnd_sql_statement statement = {.text = bnd_read_bytes(r)};
    statement.params_count = bnd_read_u32(r);
    statement.params = *r;
    for (uint32_t i = 0; i < statement.params_count && !r->failed; i++) {
        (void)read_value(r); /* to find the end */
    }
    return statement;
}

static bool is_fill(const struct bnd_sql_request *request) {
    struct bnd_reader r = request->statements;
    if (request->statements_count != 1 || request->script || request->read_only) {
        return false;
    }
    struct bnd_sql_statement statement = read_statement(&r);
    return statement.params_count == 1 && read_value(&statement.params).type == BND_SQL_INTEGER;
}

/* Instead of statements. */
static void read_pages(struct bnd_reader *r, struct bnd_sql_request *out) {
    out->pages_first = bnd_read_u32(r);
    out->pages_count = bnd_read_u32(r);
    r->failed = r->failed || out->statements_count > 0 || out->pages_first == 0 ||
                out->pages_count == 0 || out->pages_count > BND_SQL_PAGES_MAX;
}

int bnd_sql_request_decode(struct bnd_slice bytes, struct bnd_sql_request *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_sql_request request = {0};
    uint8_t version = bnd_read_u8(&r);
    if (!r.failed && version != VERSION) {
        return BND_VERSION;
    }
    request.results = (enum bnd_sql_results)bnd_read_u8(&r);
    request.session = (enum bnd_sql_session)bnd_read_u8(&r);
    uint8_t flags = bnd_read_u8(&r);
    if (r.failed || request.results < BND_SQL_OBJECTS || request.results > BND_SQL_ROWS ||
        request.session < BND_SQL_PRIMARY || request.session > BND_SQL_NO_SESSION ||
        (flags & ~(SCRIPT | READ_ONLY | UNLINKED | PAGES | FILL)) != 0 ||
        bytes.len > BND_SQL_REQUEST_MAX) {
        return BND_CORRUPT;
    }
    request.script = (flags & SCRIPT) != 0;
    request.read_only = (flags & READ_ONLY) != 0;
    request.unlinked = (flags & UNLINKED) != 0;
    request.fill = (flags & FILL) != 0;
    if (request.session == BND_SQL_BOOKMARK) {
        read_bookmark(&r, request.bookmark);
    }
    request.statements_count = bnd_read_u32(&r);
    if ((flags & PAGES) != 0) {
        read_pages(&r, &request);
    }
    request.statements = r;
    if (request.statements_count > BND_SQL_STATEMENTS_MAX) {
        return BND_CORRUPT;
    }
    for (uint32_t i = 0; i < request.statements_count && !r.failed; i++) {
        (void)read_statement(&r); /* to know that it is sound */
    }
    if (!bnd_reader_done(&r) || (request.fill && !is_fill(&request))) {
        return BND_CORRUPT;
    }
    *out = request;
    return 0;
}

void bnd_sql_request_next(struct bnd_sql_request *request, struct bnd_sql_statement *out) {
    *out = read_statement(&request->statements);
    BND_ASSERT(!request->statements.failed);
}

void bnd_sql_statement_next(struct bnd_sql_statement *statement, struct bnd_sql_value *out) {
    *out = read_value(&statement->params);
    BND_ASSERT(!statement->params.failed);
}

/* ---- answers
 * ------------------------------------------------------------------------------------- */

void bnd_sql_answer_encode(struct bnd_buf *out, const struct bnd_sql_answer *answer) {
    bnd_buf_u8(out, VERSION);
    bnd_buf_u8(out, (uint8_t)answer->outcome);
    bnd_buf_u8(out, answer->wrote ? 1 : 0);
    bnd_buf_append(out, answer->bookmark, sizeof answer->bookmark);
    bnd_buf_append_slice(out, answer->text);
}

int bnd_sql_answer_decode(struct bnd_slice bytes, struct bnd_sql_answer *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_sql_answer answer = {0};
    uint8_t version = bnd_read_u8(&r);
    if (!r.failed && version != VERSION) {
        return BND_VERSION;
    }
    answer.outcome = (enum bnd_sql_outcome)bnd_read_u8(&r);
    uint8_t wrote = bnd_read_u8(&r);
    read_bookmark(&r, answer.bookmark);
    if (r.failed || answer.outcome < BND_SQL_DONE || answer.outcome > BND_SQL_LOST || wrote > 1 ||
        r.rest.len > BND_SQL_ANSWER_MAX) {
        return BND_CORRUPT;
    }
    answer.wrote = wrote == 1;
    answer.text = r.rest;
    *out = answer;
    return 0;
}
