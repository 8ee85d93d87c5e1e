#include "bench/d1_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LITERAL(out, text) bnd_buf_append(out, text, sizeof(text) - 1)

/* ---- options ---------------------------------------------------------------------------------*/

bool d1_wire_option(struct d1_wire *wire, const char *name, const char *value) {
#define IS(text) (strcmp(name, "--" text) == 0)
    if (IS("endpoint")) {
        wire_endpoint_add(&wire->endpoints, value);
    } else if (IS("binding") && wire->databases < D1_DATABASES_MAX) {
        wire->bindings[wire->databases++] = value;
    } else if (IS("token")) {
        wire->token = value;
    } else if (IS("session")) {
        wire->session = value;
    } else if (IS("rqlite")) {
        wire->level = value;
    } else if (IS("values")) {
        wire->values = atoi(value) != 0;
    } else {
        return false;
    }
#undef IS
    return true;
}

bool d1_wire_prepare(struct d1_wire *wire) {
    if (wire->level != NULL) { /* it has one database */
        wire->databases = 1;
        return wire->endpoints.count > 0;
    }
    return wire->endpoints.count > 0 && wire->databases > 0 && wire->token != NULL && !wire->values;
}

/* ---- requests --------------------------------------------------------------------------------*/

/* rqlite: [["SQL", parameter, ...], ...]; D1: {"sql": "SQL", "params": [...]}, or an array of it.
 */
void d1_wire_begin(struct d1_wire *wire, bool batch) {
    bnd_buf_reset(&wire->body);
    if (batch || wire->level != NULL) {
        LITERAL(&wire->body, "[");
    }
}

static void separate(struct d1_wire *wire) {
    uint8_t last = wire->body.len > 0 ? wire->body.data[wire->body.len - 1] : '[';
    if (last != '[') {
        LITERAL(&wire->body, ",");
    }
}

void d1_wire_statement(struct d1_wire *wire, const char *sql) {
    separate(wire);
    if (wire->level != NULL) {
        LITERAL(&wire->body, "[\"");
        bnd_buf_append_str(&wire->body, sql);
        LITERAL(&wire->body, "\"");
    } else {
        LITERAL(&wire->body, "{\"sql\":\"");
        bnd_buf_append_str(&wire->body, sql);
        LITERAL(&wire->body, "\",\"params\":[");
    }
}

void d1_wire_integer(struct d1_wire *wire, uint64_t value) {
    separate(wire);
    wire_append_number(&wire->body, value);
}

void d1_wire_text(struct d1_wire *wire, struct bnd_slice value) {
    separate(wire);
    LITERAL(&wire->body, "\"");
    bnd_buf_append_slice(&wire->body, value);
    LITERAL(&wire->body, "\"");
}

void d1_wire_statement_end(struct d1_wire *wire) {
    bnd_buf_append_str(&wire->body, wire->level != NULL ? "]" : "]}");
}

static void append_target(struct d1_wire *wire, enum d1_kind kind) {
    struct bnd_buf *out = &wire->request;
    LITERAL(out, "POST ");
    if (wire->level == NULL) {
        bnd_buf_append_str(out, kind == D1_WRITES ? "/execute?resultsFormat=NONE"
                                                  : "/query?resultsFormat=ROWS_AND_COLUMNS");
    } else if (kind == D1_READS) {
        LITERAL(out, "/db/query?level=");
        bnd_buf_append_str(out, wire->level);
    } else {
        bnd_buf_append_str(out, kind == D1_WRITES ? "/db/execute" : "/db/execute?transaction");
    }
    LITERAL(out, " HTTP/1.1\r\nHost: d1\r\nContent-Type: application/json\r\n");
}

struct bnd_slice d1_wire_end(struct d1_wire *wire, enum d1_kind kind, unsigned database) {
    if (wire->body.len > 0 && wire->body.data[0] == '[') {
        LITERAL(&wire->body, "]");
    }
    struct bnd_buf *out = &wire->request;
    bnd_buf_reset(out);
    append_target(wire, kind);
    if (wire->level == NULL) {
        LITERAL(out, "X-Bindery-Binding: ");
        bnd_buf_append_str(out, wire->bindings[database]);
        LITERAL(out, "\r\nAuthorization: Bearer ");
        bnd_buf_append_str(out, wire->token);
        LITERAL(out, "\r\n");
    }
    if (wire->session != NULL) {
        LITERAL(out, "x-cf-d1-session-commit-token: ");
        bnd_buf_append_str(out, wire->session);
        LITERAL(out, "\r\n");
    }
    LITERAL(out, "Content-Length: ");
    wire_append_number(out, wire->body.len);
    LITERAL(out, "\r\n\r\n");
    bnd_buf_append_slice(out, bnd_buf_slice(&wire->body));
    if (wire->body.failed || out->failed) {
        errno = ENOMEM;
        wire_die("request");
    }
    return bnd_buf_slice(out);
}

/* ---- answers ---------------------------------------------------------------------------------*/

static bool take(struct bnd_slice *rest, const char *text) {
    size_t len = strlen(text);
    if (rest->len < len || memcmp(rest->data, text, len) != 0) {
        return false;
    }
    *rest = bnd_slice(rest->data + len, rest->len - len);
    return true;
}

/* Past the next place where the text stands. */
static bool skip_to(struct bnd_slice *rest, const char *text) {
    const uint8_t *at = rest->len > 0 ? memmem(rest->data, rest->len, text, strlen(text)) : NULL;
    if (at == NULL) {
        return false;
    }
    *rest = bnd_slice(at, rest->len - (size_t)(at - rest->data));
    return take(rest, text);
}

static bool take_integer(struct bnd_slice *rest, uint64_t *out) {
    size_t at = 0;
    *out = 0;
    while (at < rest->len && rest->data[at] >= '0' && rest->data[at] <= '9') {
        *out = *out * 10 + (uint64_t)(rest->data[at++] - '0');
    }
    *rest = bnd_slice(rest->data + at, rest->len - at);
    return at > 0;
}

static bool take_value(struct bnd_slice *rest, uint64_t id) {
    struct bnd_slice value = d1_value(id);
    if (!take(rest, "\"") || !bnd_slice_starts(*rest, value)) {
        return false;
    }
    *rest = bnd_slice(rest->data + value.len, rest->len - value.len);
    return take(rest, "\"");
}

bool d1_wire_done(const struct d1_wire *wire, const struct wire_http *http) {
    struct bnd_slice success = http->body, failure = http->body;
    return http->status == 200 && !skip_to(&failure, "\"error\"") &&
           (wire->level != NULL || skip_to(&success, "\"success\":true"));
}

/* At the first row of an answer. */
static bool rows_of(const struct d1_wire *wire, const struct wire_http *http,
                    struct bnd_slice *out) {
    *out = http->body;
    return http->status == 200 && skip_to(out, wire->level != NULL ? "\"values\":[" : "\"rows\":[");
}

bool d1_wire_row(const struct d1_wire *wire, const struct wire_http *http, uint64_t id) {
    struct bnd_slice rest;
    uint64_t k;
    return rows_of(wire, http, &rest) && take(&rest, "[") && take_integer(&rest, &k) && k >= id &&
           take(&rest, ",") && take_value(&rest, id) && take(&rest, "]]") &&
           d1_wire_done(wire, http);
}

bool d1_wire_scan(const struct d1_wire *wire, const struct wire_http *http, uint64_t id) {
    struct bnd_slice rest;
    if (!rows_of(wire, http, &rest)) {
        return false;
    }
    for (unsigned i = 0; i < D1_SCAN_ROWS; i++) {
        uint64_t found, k;
        if ((i > 0 && !take(&rest, ",")) || !take(&rest, "[") || !take_integer(&rest, &found) ||
            found != id + i || !take(&rest, ",") || !take_integer(&rest, &k) || k < found ||
            !take(&rest, ",") || !take_value(&rest, found) || !take(&rest, "]")) {
            return false;
        }
    }
    return take(&rest, "]") && d1_wire_done(wire, http);
}

bool d1_wire_numbers(const struct d1_wire *wire, const struct wire_http *http, uint64_t out[2]) {
    struct bnd_slice rest;
    return rows_of(wire, http, &rest) && take(&rest, "[") && take_integer(&rest, &out[0]) &&
           take(&rest, ",") && take_integer(&rest, &out[1]) && d1_wire_done(wire, http);
}

static const char *changes_of(const struct d1_wire *wire) {
    return wire->level != NULL ? "\"rows_affected\":" : "\"changes\":";
}

bool d1_wire_wrote(const struct d1_wire *wire, const struct wire_http *http, uint64_t *last_id) {
    struct bnd_slice changes = http->body, last = http->body;
    uint64_t changed, id;
    if (!d1_wire_done(wire, http) || !skip_to(&changes, changes_of(wire)) ||
        !take_integer(&changes, &changed) || changed != 1) {
        return false;
    }
    if (last_id == NULL) {
        return true;
    }
    if (!skip_to(&last, wire->level != NULL ? "\"last_insert_id\":" : "\"last_row_id\":") ||
        !take_integer(&last, &id) || id <= *last_id) {
        return false;
    }
    *last_id = id;
    return true;
}

bool d1_wire_wrote_all(const struct d1_wire *wire, const struct wire_http *http, unsigned rows) {
    struct bnd_slice rest = http->body;
    uint64_t total = 0, changed = 0;
    while (skip_to(&rest, changes_of(wire)) && take_integer(&rest, &changed)) {
        if (!wire->values && changed != 1) {
            return false;
        }
        total += changed;
    }
    return total == rows && d1_wire_done(wire, http);
}
