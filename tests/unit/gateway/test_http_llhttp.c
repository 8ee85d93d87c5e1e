/* Our head parser against llhttp 8.1 (Debian node-llhttp), on heads made by mutating real ones.
 *
 * Where both accept, they must have read the same thing. Where one refuses, the reason - ours when
 * we refuse, llhttp's when it does - must be in the reviewed list llhttp-differences.txt, and each
 * line of that list must have been met, so that it cannot outlive its cause. */
#include "base/bytes.h"
#include "gateway/http/head.h"

#include <llhttp/llhttp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROUNDS 300000
#define LIST_MAX 64

static const char *const seeds[] = {
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "PUT /b/k?partNumber=1&uploadId=x HTTP/1.1\r\nHost: h:7702\r\nContent-Length: 5\r\n"
    "Expect: 100-continue\r\nx-amz-meta-a: \xc3\xbc\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    "GET http://a.b:1/x?y HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, x\r\n\r\n",
    "HEAD /a%20b HTTP/1.0\r\nConnection: Keep-Alive\r\nA:\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nAccept: a\tb \r\n\r\n",
    "DELETE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
};
/* What mutations insert. */
static const char *const pieces[] = {
    "\r",
    "\n",
    "\r\n",
    " ",
    "\t",
    ":",
    ",",
    "\x01",
    "\x7f",
    "\xff",
    "chunked",
    "identity",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: h\r\n",
    "HTTP/1.1",
    "HTTP/2.0",
    "0",
    "9",
    "-",
    "+",
    "/",
    "?",
    "#",
    "*",
    "\r\n ",
    "close",
    "gzip, ",
    "PURGE ",
    "GET",
};

struct seen {
    bool complete;
    struct bnd_buf url;
    struct bnd_buf fields; /* name: value, one per line */
    uint64_t content_length;
    bool chunked;
    bool keep_alive;
};

struct difference {
    char text[160]; /* "refused: <why>" or "llhttp: <error>" */
    unsigned met;
};

static struct difference differences[LIST_MAX];
static size_t difference_count;

static void load(const char *path) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[400];
    while (fgets(line, sizeof line, file) != NULL) {
        char *end = strstr(line, " | ");
        if (line[0] == '#' || end == NULL) {
            continue;
        }
        *end = 0;
        assert_true(difference_count < LIST_MAX);
        assert_true(strlen(line) < sizeof differences[0].text);
        memcpy(differences[difference_count++].text, line, strlen(line) + 1);
    }
    (void)fclose(file);
}

static bool is_known(const char *text) {
    for (size_t i = 0; i < difference_count; i++) {
        if (strcmp(differences[i].text, text) == 0) {
            differences[i].met++;
            return true;
        }
    }
    return false;
}

static int on_url(llhttp_t *p, const char *at, size_t len) {
    bnd_buf_append(&((struct seen *)p->data)->url, at, len);
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t len) {
    bnd_buf_append(&((struct seen *)p->data)->fields, at, len);
    return 0;
}

static int on_field_complete(llhttp_t *p) {
    bnd_buf_append_str(&((struct seen *)p->data)->fields, ": ");
    return 0;
}

static int on_value_complete(llhttp_t *p) {
    struct bnd_buf *fields = &((struct seen *)p->data)->fields;
    while (fields->len > 0 &&
           (fields->data[fields->len - 1] == ' ' || fields->data[fields->len - 1] == '\t')) {
        fields->len--; /* llhttp leaves white space behind values; also behind ": " of empty ones */
    }
    bnd_buf_append_str(fields, "\n");
    return 0;
}

static int on_headers_complete(llhttp_t *p) {
    struct seen *seen = p->data;
    seen->complete = true;
    seen->content_length = p->content_length;
    seen->chunked = (p->flags & F_CHUNKED) != 0;
    seen->keep_alive = llhttp_should_keep_alive(p) != 0;
    return 2; /* no body */
}

static enum llhttp_errno ask_llhttp(struct bnd_slice text, struct seen *out) {
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_field;
    settings.on_header_field_complete = on_field_complete;
    settings.on_header_value = on_field;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers_complete;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = out;
    enum llhttp_errno rc = llhttp_execute(&parser, (const char *)text.data, text.len);
    return out->complete ? HPE_OK : rc;
}

static void compare(struct bnd_slice text, const struct bnd_http_head *head,
                    const struct seen *seen) {
    BND_AUTO_BUF struct bnd_buf fields = {0};
    for (size_t i = 0; i < head->header_count; i++) {
        bnd_buf_append_slice(&fields, head->headers[i].name);
        bnd_buf_append_str(&fields, head->headers[i].value.len > 0 ? ": " : ":");
        bnd_buf_append_slice(&fields, head->headers[i].value);
        bnd_buf_append_str(&fields, "\n");
    }
    bool same = bnd_slice_eq(bnd_buf_slice(&fields), bnd_buf_slice(&seen->fields)) &&
                bnd_slice_eq(head->target, bnd_buf_slice(&seen->url)) &&
                head->chunked == seen->chunked && head->content_length == seen->content_length;
    bool same_keep = head->keep_alive == seen->keep_alive;
    if (!same || (!same_keep && !is_known("read differently: keep-alive"))) {
        fail_msg("read differently:\n%.*s\n--- llhttp: url %.*s, length %llu, chunked %d, keep %d\n"
                 "%.*s--- ours: length %llu, chunked %d, keep %d\n%.*s",
                 (int)text.len, (const char *)text.data, (int)seen->url.len,
                 (const char *)seen->url.data, (unsigned long long)seen->content_length,
                 seen->chunked, seen->keep_alive, (int)seen->fields.len,
                 (const char *)seen->fields.data, (unsigned long long)head->content_length,
                 head->chunked, head->keep_alive, (int)fields.len, (const char *)fields.data);
    }
}

static void check(struct bnd_slice text, unsigned *accepted) {
    size_t checked = 0;
    long len = bnd_http_head_scan(text, &checked);
    if (len == 0) {
        return; /* no end: nobody has an opinion yet */
    }
    struct bnd_http_header fields[BND_HTTP_HEADERS_MAX];
    struct bnd_http_head head = {.headers = fields};
    const char *why = "a line of the head does not end with CR LF";
    unsigned status = len < 0 ? 400
                              : bnd_http_head_parse(bnd_slice(text.data, (size_t)len),
                                                    BND_HTTP_HEADERS_MAX, &head, &why);
    struct seen seen = {0};
    enum llhttp_errno rc = ask_llhttp(len < 0 ? text : bnd_slice(text.data, (size_t)len), &seen);
    char reason[160] = "";
    if (status != 0 && seen.complete) {
        (void)snprintf(reason, sizeof reason, "refused: %s", why);
    } else if (status == 0 && !seen.complete) {
        (void)snprintf(reason, sizeof reason, "llhttp: %s", llhttp_errno_name(rc));
    }
    if (reason[0] != 0 && !is_known(reason)) {
        print_message("not in the list: %s\n%.*s\n", reason, (int)text.len,
                      (const char *)text.data);
        return;
    }
    if (status == 0 && seen.complete) {
        compare(text, &head, &seen);
        (*accepted)++;
    }
    bnd_buf_free(&seen.url);
    bnd_buf_free(&seen.fields);
}

static uint32_t chance(uint64_t *state, size_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % below);
}

static void mutate(uint64_t *state, const char *seed, struct bnd_buf *out) {
    bnd_buf_reset(out);
    bnd_buf_append_str(out, seed);
    for (uint32_t n = chance(state, 4); n > 0 && out->len > 1; n--) {
        size_t at = chance(state, out->len);
        BND_AUTO_BUF struct bnd_buf tail = {0};
        const char *piece = pieces[chance(state, sizeof pieces / sizeof pieces[0])];
        size_t cut = chance(state, 3) == 0 ? 1 : 0; /* replace, or insert */
        bnd_buf_append(&tail, out->data + at + cut, out->len - at - cut);
        out->len = at;
        if (chance(state, 4) != 0) {
            bnd_buf_append_str(out, piece);
        }
        bnd_buf_append_slice(out, bnd_buf_slice(&tail));
    }
}

static void test_agrees_with_llhttp(void **state) {
    load(HTTP_DIFFERENCES);
    BND_AUTO_BUF struct bnd_buf text = {0};
    uint64_t random = 1;
    unsigned accepted = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        mutate(&random, seeds[chance(&random, sizeof seeds / sizeof seeds[0])], &text);
        check(bnd_buf_slice(&text), &accepted);
    }
    assert_true(accepted > ROUNDS / 10);
    for (size_t i = 0; i < difference_count; i++) {
        if (differences[i].met == 0) {
            fail_msg("never met, to be removed: %s", differences[i].text);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_agrees_with_llhttp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
