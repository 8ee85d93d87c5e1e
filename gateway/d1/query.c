#include "gateway/d1/query.h"

#include "base/assert.h"

#define AT_ONCE_MAX (1u << 20) /* larger answers are sent from where they lie */

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

static void end_code(struct d1_query *query, int status) {
    d1_failure(status, query->named, &query->failure);
    bnd_buf_reset(&query->text);
    bnd_buf_append_str(&query->text, query->failure.text);
    query->ended(query, D1_REFUSED);
}

static void end_text(struct d1_query *query, unsigned status, enum d1_code code,
                     struct bnd_slice text) {
    query->failure.status = status;
    query->failure.code = code;
    bnd_buf_reset(&query->text);
    bnd_buf_append_slice(&query->text, text);
    query->ended(query, D1_REFUSED);
}

/* Counts what it has grown to. */
static int charge(struct d1_query *query) {
    size_t held = d1_body_bytes(&query->body) + query->text.cap;
    if (held <= query->charged) {
        return 0;
    }
    int rv = gateway_charge(query->services->front, held - query->charged);
    query->charged = rv == 0 ? held : query->charged;
    return rv;
}

/* ---- the answer
 * ------------------------------------------------------------------------------------------------
 */

static void put_bookmark(struct d1_query *query, const uint8_t bytes[BND_SQL_BOOKMARK_BYTES]) {
    struct bnd_sql_bookmark bookmark;
    bnd_sql_bookmark_get(bytes, &bookmark);
    bnd_sql_bookmark_text(&bookmark, query->bookmark);
}

static void take_answer(struct d1_query *query, const struct bnd_sql_answer *answer) {
    put_bookmark(query, answer->bookmark);
    switch (answer->outcome) {
    case BND_SQL_FAILED:
        end_text(query, 400, D1_SQL, answer->text);
        return;
    case BND_SQL_LOST:
        end_text(query, 503, D1_UNAVAILABLE, bnd_slice_str(d1_text_lost));
        return;
    case BND_SQL_DONE:
        break;
    }
    bnd_buf_append_str(&query->text, query->before);
    bnd_buf_append_slice(&query->text, answer->text);
    bnd_buf_append_str(&query->text, query->after);
    if (query->text.failed || charge(query) != 0) {
        end_text(query, 503, D1_UNAVAILABLE,
                 bnd_slice_str("It was executed, but this process has no memory for the answer"));
        return;
    }
    query->ended(query, D1_ANSWERED);
}

static void on_answer(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct d1_query *query = call->data;
    if (status == 0) {
        take_answer(query, answer);
    } else if (status != BND_NOTFOUND || !d1_use_missing(&query->use)) {
        end_code(query, status);
    }
}

static int act(struct d1_use *use) {
    struct d1_query *query = use->data;
    query->call = (struct bnd_sql_call){.cb = on_answer, .data = query};
    return bnd_sql_query(use->sql, &query->call, use->uuid, bnd_buf_slice(&query->body.request));
}

static void on_failed(struct d1_use *use, int status) {
    end_code(use->data, status);
}

/* ---- the body
 * ------------------------------------------------------------------------------------------------
 */

static void refuse_body(struct d1_query *query, int rv) {
    if (query->body.why[0] == 0) {
        end_code(query, rv);
    } else {
        end_text(query, rv == BND_TOOBIG ? 413 : 400, D1_MALFORMED, bnd_slice_str(query->body.why));
    }
}

static void execute(struct d1_query *query) {
    int rv = d1_body_end(&query->body);
    if (rv != 0) {
        refuse_body(query, rv);
        return;
    }
    query->use = (struct d1_use){.catalog = query->services->catalog,
                                 .sql = query->services->sql,
                                 .named = query->named,
                                 .act = act,
                                 .failed = on_failed,
                                 .data = query};
    d1_use_start(&query->use);
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct d1_query *query = read->data;
    if (status != 0) {
        query->ended(query, D1_GONE);
        return;
    }
    if (chunk == NULL) {
        execute(query);
        return;
    }
    query->body_text += chunk->bytes.len;
    int rv =
        query->body_text > D1_BODY_TEXT_MAX ? BND_TOOBIG : d1_body_feed(&query->body, chunk->bytes);
    bnd_http_chunk_release(chunk);
    rv = rv != 0 ? rv : charge(query);
    if (rv != 0) {
        refuse_body(query, rv);
        return;
    }
    bnd_http_body_read(query->http, read);
}

void d1_query_start(struct d1_query *query) {
    BND_ASSERT(query->services->sql != NULL && query->services->front != NULL);
    d1_body_init(&query->body, &query->header, query->rest);
    query->read =
        (struct bnd_http_read){.cb = on_piece, .data = query, .bytes_min = BND_HTTP_CHUNK_BYTES};
    bnd_http_body_read(query->http, &query->read);
}

bool d1_session_read(struct bnd_slice text, struct bnd_sql_request *header) {
    struct bnd_sql_bookmark bookmark;
    header->session = BND_SQL_PRIMARY;
    if (text.len == 0 || bnd_slice_eq(text, bnd_slice_str("first-primary"))) {
        return true;
    }
    if (bnd_slice_eq(text, bnd_slice_str("first-unconstrained"))) {
        header->session = BND_SQL_UNCONSTRAINED;
        return true;
    }
    header->session = BND_SQL_BOOKMARK;
    if (bnd_sql_bookmark_parse(text, &bookmark) != 0) {
        return false;
    }
    bnd_sql_bookmark_put(header->bookmark, &bookmark);
    return true;
}

/* ---- sending
 * ------------------------------------------------------------------------------------------------
 */

static void on_sent(struct bnd_http_write *write, int status) {
    struct d1_query *query = write->data;
    if (status == 0) {
        bnd_http_end(query->http);
    }
    query->sent(query, status);
}

void d1_query_send(struct d1_query *query, const struct bnd_http_header *headers, size_t count,
                   void (*sent)(struct d1_query *query, int status)) {
    struct bnd_slice text = bnd_buf_slice(&query->text);
    struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = count, .body = text};
    query->sent = sent;
    if (text.len <= AT_ONCE_MAX) {
        sent(query, bnd_http_respond(query->http, &response));
        return;
    }
    response.body = bnd_slice(NULL, 0);
    query->write = (struct bnd_http_write){.cb = on_sent, .data = query};
    int rv = bnd_http_begin(query->http, &response, text.len);
    rv = rv != 0 ? rv : bnd_http_write(query->http, &query->write, text);
    if (rv != 0) {
        sent(query, rv);
    }
}

void d1_query_free(struct d1_query *query) {
    gateway_discharge(query->services->front, query->charged);
    query->charged = 0;
    d1_body_free(&query->body);
    bnd_buf_free(&query->text);
}
