/* Heads of requests for the tests of gateway/s3: text with "\n" in, a parsed head out. */
#ifndef BND_TESTS_S3_HEAD_H
#define BND_TESTS_S3_HEAD_H

#include "gateway/http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct s3_test_head {
    struct bnd_http_head head;
    struct bnd_http_header headers[BND_HTTP_HEADERS_MAX];
    struct bnd_buf text;
};

/* lines: "GET /x HTTP/1.1\nHost: h\n", without the empty line. */
static inline struct s3_test_head *s3_test_head_make(const char *lines) {
    struct s3_test_head *made = calloc(1, sizeof *made);
    const char *why = NULL;
    assert_non_null(made);
    for (const char *c = lines; *c != 0; c++) {
        if (*c == '\n') {
            bnd_buf_u8(&made->text, '\r');
        }
        bnd_buf_u8(&made->text, (uint8_t)*c);
    }
    bnd_buf_append_str(&made->text, "\r\n");
    made->head.headers = made->headers;
    unsigned refused =
        bnd_http_head_parse(bnd_buf_slice(&made->text), BND_HTTP_HEADERS_MAX, &made->head, &why);
    if (refused != 0) {
        fail_msg("%u %s: %s", refused, why, lines);
    }
    return made;
}

static inline void s3_test_head_free(struct s3_test_head *made) {
    bnd_buf_free(&made->text);
    free(made);
}

#endif
