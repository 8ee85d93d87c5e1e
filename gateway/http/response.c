/* Answers: the handler's side of the output. */
#include "gateway/http/server_private.h"

#include <stdio.h>
#include <time.h>

const char *bnd_http_reason(unsigned status) {
    static const struct {
        unsigned status;
        const char *reason;
    } table[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].status == status) {
            return table[i].reason;
        }
    }
    return "";
}

#define DATE_LATE_NS (50 * BND_MS)

/* RFC 9110 5.6.7, made once per second. The wall clock is not asked for every answer. */
static const char *date_of(struct bnd_http_server *server) {
    uint64_t now_ns = bnd_now_ns(server->env);
    if (server->date[0] != 0 && now_ns - server->date_ns < DATE_LATE_NS) {
        return server->date;
    }
    server->date_ns = now_ns;
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    uint64_t now_s = bnd_wall_ms(server->env) / 1000;
    if (now_s != server->date_s || server->date[0] == 0) {
        time_t at = (time_t)now_s;
        struct tm tm = {0};
        (void)gmtime_r(&at, &tm); /* fails only for years beyond int */
        (void)snprintf(server->date, sizeof server->date, "%s, %02u %s %04u %02u:%02u:%02u GMT",
                       days[(unsigned)tm.tm_wday % 7], (unsigned)tm.tm_mday % 100,
                       months[(unsigned)tm.tm_mon % 12], (unsigned)(tm.tm_year + 1900) % 10000,
                       (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
                       (unsigned)tm.tm_sec % 100);
        server->date_s = now_s;
    }
    return server->date;
}

/* ---- heads
 * -------------------------------------------------------------------------------------- */

static bool is_own_field(struct bnd_slice name) {
    switch (name.len) {
    case 4:
        return bnd_http_text_is(name, "date");
    case 10:
        return bnd_http_text_is(name, "connection");
    case 14:
        return bnd_http_text_is(name, "content-length");
    case 17:
        return bnd_http_text_is(name, "transfer-encoding");
    default:
        return false;
    }
}

static int check(const struct bnd_http_response *response) {
    if (response->status < 200 || response->status > 599) {
        return BND_INVALID;
    }
    if (response->reason != NULL && !bnd_http_value_valid(bnd_slice_str(response->reason))) {
        return BND_INVALID;
    }
    for (size_t i = 0; i < response->header_count; i++) {
        const struct bnd_http_header *field = &response->headers[i];
        if (!bnd_http_token_valid(field->name) || !bnd_http_value_valid(field->value) ||
            is_own_field(field->name)) {
            return BND_INVALID;
        }
    }
    return 0;
}

static uint8_t *put(uint8_t *at, struct bnd_slice s) {
    if (s.len > 0) {
        memcpy(at, s.data, s.len);
    }
    return at + s.len;
}

static uint8_t *put_text(uint8_t *at, const char *text) {
    return put(at, bnd_slice_str(text));
}

static uint8_t *put_number(uint8_t *at, uint64_t number) {
    uint8_t digits[20];
    size_t from = sizeof digits;
    do {
        digits[--from] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(at, bnd_slice(digits + from, sizeof digits - from));
}

#define STATUS_LINE_LEN 13 /* up to the reason: the status has three digits */
#define OWN_FIELDS_MAX 128 /* Date 37, length or framing 38, Connection 24, the empty line 2 */

/* The server's own fields and the empty line; returns their length. Written by hand, as the status
 * line: formatted output was a third of what an answer cost outside the kernel. */
static size_t own_fields(struct http_request *r, uint64_t content_length,
                         uint8_t out[OWN_FIELDS_MAX]) {
    uint8_t *at = put_text(put_text(put_text(out, "Date: "), date_of(r->pub.server)), "\r\n");
    if (r->chunked) {
        at = put_text(at, "Transfer-Encoding: chunked\r\n");
    } else if (content_length != BND_HTTP_LENGTH_CHUNKED) {
        at = put_text(put_number(put_text(at, "Content-Length: "), content_length), "\r\n");
    }
    at = put_text(at, r->close_after               ? "Connection: close\r\n"
                      : r->head.version_minor == 0 ? "Connection: keep-alive\r\n"
                                                   : "");
    return (size_t)(put_text(at, "\r\n") - out);
}

/* Appends status line, fields and body. False: no memory. */
static bool write_answer(struct http_request *r, const struct bnd_http_response *response,
                         uint64_t content_length) {
    uint8_t tail[OWN_FIELDS_MAX];
    size_t tail_len = own_fields(r, content_length, tail);
    struct bnd_slice reason = bnd_slice_str(
        response->reason != NULL ? response->reason : bnd_http_reason(response->status));
    struct bnd_slice body = r->bodiless ? bnd_slice(NULL, 0) : response->body;
    size_t len = STATUS_LINE_LEN + reason.len + 2 + tail_len + body.len;
    for (size_t i = 0; i < response->header_count; i++) {
        len += response->headers[i].name.len + response->headers[i].value.len + 4;
    }
    uint8_t *begin = http_out_reserve(r, len);
    if (begin == NULL) {
        return false;
    }
    uint8_t *at = put_text(put_number(put_text(begin, "HTTP/1.1 "), response->status), " ");
    at = put(put(at, reason), bnd_slice("\r\n", 2));
    for (size_t i = 0; i < response->header_count; i++) {
        at = put(put(at, response->headers[i].name), bnd_slice(": ", 2));
        at = put(put(at, response->headers[i].value), bnd_slice("\r\n", 2));
    }
    at = put(put(at, bnd_slice(tail, tail_len)), body);
    BND_ASSERT((size_t)(at - begin) == len);
    r->pub.server->counters.responses[response->status / 100]++;
    return true;
}

/* Whether the connection can carry another request after this answer. */
static bool must_close(const struct http_request *r, const struct bnd_http_response *response) {
    const struct http_conn *conn = r->conn;
    if (response->close || !r->head.keep_alive || conn->server->closing) {
        return true;
    }
    if (conn->rx_request != r) {
        return false;
    }
    /* The client may or may not send a body it was not told to send. */
    return (r->expect_unanswered && r->pub.has_body) ||
           (!conn->rx_is_chunked && conn->rx_left > conn->server->limits.drain_bytes_max);
}

static void ended(struct http_request *r) {
    r->answer = HTTP_ENDED;
    r->read = NULL;
    http_body_drop(r);
    if (!r->internal) {
        struct bnd_http_server *server = r->pub.server;
        server->counters.requests_open--;
        BND_ASSERT(r->pub.operation < BND_HTTP_OPERATIONS_MAX);
        bnd_histogram_add(&server->durations[r->pub.operation],
                          bnd_now_ns(server->env) - r->pub.arrived_ns);
    }
    if (r->conn != NULL) {
        http_conn_touch(r->conn);
    } else {
        http_request_maybe_free(r);
    }
}

static bool is_gone(const struct http_request *r) {
    return r->conn == NULL || r->conn->dead;
}

static bool has_no_body(const struct http_request *r, unsigned status) {
    return r->head.method == BND_HTTP_HEAD || status == 204 || status == 304;
}

int bnd_http_respond(struct bnd_http_request *request, const struct bnd_http_response *response) {
    struct http_request *r = http_request_of(request);
    BND_ASSERT(r->answer == HTTP_WAITING);
    int rc = check(response);
    if (rc != 0) {
        return rc;
    }
    if (!is_gone(r)) {
        r->bodiless = has_no_body(r, response->status);
        r->close_after = must_close(r, response);
        bool length = response->status != 204 && response->status != 304;
        if (!write_answer(r, response, length ? response->body.len : BND_HTTP_LENGTH_CHUNKED)) {
            http_conn_cut(r->conn, BND_NOMEM);
        }
    }
    ended(r);
    return 0;
}

/* ---- streams
 * ------------------------------------------------------------------------------------ */

int bnd_http_begin(struct bnd_http_request *request, const struct bnd_http_response *response,
                   uint64_t content_length) {
    struct http_request *r = http_request_of(request);
    BND_ASSERT(r->answer == HTTP_WAITING);
    BND_ASSERT(response->body.len == 0);
    int rc = check(response);
    if (rc != 0) {
        return rc;
    }
    r->answer = HTTP_STREAMING;
    r->bodiless = has_no_body(r, response->status);
    r->left = content_length;
    if (is_gone(r)) {
        return 0;
    }
    r->close_after = must_close(r, response);
    if (content_length == BND_HTTP_LENGTH_CHUNKED) {
        r->chunked =
            r->head.version_minor > 0 && response->status != 204 && response->status != 304;
        r->close_after = r->close_after || (r->head.version_minor == 0 && !r->bodiless);
    }
    if (!write_answer(r, response, content_length)) {
        http_conn_cut(r->conn, BND_NOMEM);
    }
    http_conn_touch(r->conn);
    return 0;
}

int bnd_http_write(struct bnd_http_request *request, struct bnd_http_write *write,
                   struct bnd_slice bytes) {
    struct http_request *r = http_request_of(request);
    BND_ASSERT(r->answer == HTTP_STREAMING);
    BND_ASSERT(write->cb != NULL);
    if (is_gone(r)) {
        return BND_CLOSED;
    }
    if (r->left != BND_HTTP_LENGTH_CHUNKED) {
        if (bytes.len > r->left) {
            return BND_INVALID;
        }
        r->left -= bytes.len;
    }
    write->priv_link = (struct bnd_link){0};
    write->priv_bytes = r->bodiless ? bnd_slice(NULL, 0) : bytes;
    write->priv_sent = 0;
    write->priv_frame_len = 0;
    if (r->chunked && !r->bodiless && bytes.len > 0) {
        int n = snprintf(write->priv_frame, sizeof write->priv_frame, "%s%zx\r\n",
                         r->framed ? "\r\n" : "", bytes.len);
        BND_ASSERT(n > 0 && (size_t)n < sizeof write->priv_frame);
        write->priv_frame_len = (uint8_t)n;
        r->framed = true;
    }
    http_out_push(r, write);
    http_conn_touch(r->conn);
    return 0;
}

void bnd_http_end(struct bnd_http_request *request) {
    struct http_request *r = http_request_of(request);
    BND_ASSERT(r->answer == HTTP_STREAMING);
    if (!is_gone(r) && !r->bodiless) {
        if (r->chunked) {
            const char *text = r->framed ? "\r\n0\r\n\r\n" : "0\r\n\r\n";
            uint8_t *at = http_out_reserve(r, strlen(text));
            if (at == NULL) {
                http_conn_cut(r->conn, BND_NOMEM);
            } else {
                memcpy(at, text, strlen(text));
            }
        } else if (r->left != BND_HTTP_LENGTH_CHUNKED && r->left > 0) {
            bnd_log(r->pub.server->env, BND_LOG_ERROR, "http",
                    "an answer ended %llu bytes short of its length: connection cut",
                    (unsigned long long)r->left);
            http_conn_cut(r->conn, BND_CLOSED);
        }
    }
    ended(r);
}

void bnd_http_abort(struct bnd_http_request *request) {
    struct http_request *r = http_request_of(request);
    BND_ASSERT(r->answer != HTTP_ENDED);
    if (!is_gone(r)) {
        http_conn_cut(r->conn, BND_CLOSED);
    }
    ended(r);
}
