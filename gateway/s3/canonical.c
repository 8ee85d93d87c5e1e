#include "gateway/s3/canonical.h"

#include "base/alloc.h"
#include "gateway/s3/hash.h"

#include <stdlib.h>
#include <string.h>

enum { PARAMETERS_MAX = 256 };

static bool unreserved(uint8_t c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void s3_uri_encode(struct bnd_buf *out, struct bnd_slice text, bool keep_slash) {
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (unreserved(c) || (c == '/' && keep_slash)) {
            bnd_buf_u8(out, c);
        } else {
            char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
            bnd_buf_append(out, escaped, sizeof escaped);
        }
    }
}

/* Decodes raw into scratch (which has room for it) and appends it encoded anew. */
static int recode(struct bnd_buf *out, struct bnd_slice raw, unsigned flags, bool keep_slash,
                  uint8_t *scratch) {
    size_t len = 0;
    int rv = bnd_http_percent_decode(raw, flags, scratch, &len);
    if (rv == 0) {
        s3_uri_encode(out, bnd_slice(scratch, len), keep_slash);
    }
    return rv;
}

/* ---- the query
 * ------------------------------------------------------------------------------------------ */

/* A parameter as offsets into the buffer of encoded texts, which moves while it grows. */
struct parameter {
    size_t name, name_len;
    size_t value, value_len;
    const struct bnd_buf *texts;
};

/* Where all texts are empty the buffer has no memory at all. */
static struct bnd_slice text_at(const struct parameter *p, size_t at, size_t len) {
    return len == 0 ? bnd_slice("", 0) : bnd_slice(p->texts->data + at, len);
}

static struct bnd_slice parameter_name(const struct parameter *p) {
    return text_at(p, p->name, p->name_len);
}

static struct bnd_slice parameter_value(const struct parameter *p) {
    return text_at(p, p->value, p->value_len);
}

static int parameter_order(const void *a, const void *b) {
    int order = bnd_slice_cmp(parameter_name(a), parameter_name(b));
    return order != 0 ? order : bnd_slice_cmp(parameter_value(a), parameter_value(b));
}

static int append_query(struct bnd_buf *out, const struct bnd_http_head *head, bool presigned,
                        uint8_t *scratch) {
    BND_AUTO_BUF struct bnd_buf texts = {0};
    BND_AUTO struct parameter *parameters = bnd_calloc(PARAMETERS_MAX, sizeof *parameters);
    struct bnd_slice rest = head->query;
    struct bnd_slice name;
    struct bnd_slice value;
    size_t count = 0;
    if (parameters == NULL) {
        return BND_NOMEM;
    }
    while (bnd_http_query_next(&rest, &name, &value, NULL)) {
        if (presigned && bnd_slice_eq(name, bnd_slice_str("X-Amz-Signature"))) {
            continue;
        }
        if (count == PARAMETERS_MAX) {
            return BND_INVALID;
        }
        struct parameter *p = &parameters[count++];
        *p = (struct parameter){.name = texts.len, .texts = &texts};
        int rv = recode(&texts, name, BND_HTTP_DECODE_PLUS, false, scratch);
        p->name_len = texts.len - p->name;
        p->value = texts.len;
        rv = rv != 0 ? rv : recode(&texts, value, BND_HTTP_DECODE_PLUS, false, scratch);
        p->value_len = texts.len - p->value;
        if (rv != 0 || texts.failed) {
            return rv != 0 ? rv : BND_NOMEM;
        }
    }
    qsort(parameters, count, sizeof *parameters, parameter_order);
    for (size_t i = 0; i < count; i++) {
        bnd_buf_append_str(out, i == 0 ? "" : "&");
        bnd_buf_append_slice(out, parameter_name(&parameters[i]));
        bnd_buf_append_str(out, "=");
        bnd_buf_append_slice(out, parameter_value(&parameters[i]));
    }
    return 0;
}

/* ---- the headers
 * ---------------------------------------------------------------------------------------- */

/* The value with inner runs of blanks as one. */
static void append_value(struct bnd_buf *out, struct bnd_slice value) {
    for (size_t i = 0; i < value.len; i++) {
        bool blank = value.data[i] == ' ' || value.data[i] == '\t';
        if (!blank) {
            bnd_buf_u8(out, value.data[i]);
        } else if (i > 0 && value.data[i - 1] != ' ' && value.data[i - 1] != '\t') {
            bnd_buf_u8(out, ' ');
        }
    }
}

static bool same_name(struct bnd_slice sent, struct bnd_slice lower) {
    if (sent.len != lower.len) {
        return false;
    }
    for (size_t i = 0; i < sent.len; i++) {
        uint8_t c = sent.data[i];
        if ((c >= 'A' && c <= 'Z' ? c | 32 : c) != lower.data[i]) {
            return false;
        }
    }
    return true;
}

static void append_header(struct bnd_buf *out, const struct bnd_http_head *head,
                          struct bnd_slice name) {
    bool first = true;
    bnd_buf_append_slice(out, name);
    bnd_buf_append_str(out, ":");
    for (size_t i = 0; i < head->header_count; i++) {
        if (same_name(head->headers[i].name, name)) {
            bnd_buf_append_str(out, first ? "" : ",");
            append_value(out, head->headers[i].value);
            first = false;
        }
    }
    bnd_buf_append_str(out, "\n");
}

static void append_headers(struct bnd_buf *out, const struct s3_signature *signature,
                           const struct bnd_http_head *head) {
    struct bnd_slice list = signature->signed_headers;
    while (list.len > 0) {
        const uint8_t *semicolon = memchr(list.data, ';', list.len);
        size_t len = semicolon == NULL ? list.len : (size_t)(semicolon - list.data);
        append_header(out, head, bnd_slice(list.data, len));
        size_t skip = semicolon == NULL ? len : len + 1;
        list = bnd_slice(list.data + skip, list.len - skip);
    }
}

int s3_canonical_hash(const struct s3_signature *signature, const struct bnd_http_head *head,
                      uint8_t out[32]) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    BND_AUTO uint8_t *scratch = bnd_alloc(head->path.len + head->query.len + 1);
    if (scratch == NULL) {
        return BND_NOMEM;
    }
    bnd_buf_append_slice(&text, head->method_token);
    bnd_buf_append_str(&text, "\n");
    int rv = recode(&text, head->path, 0, true, scratch);
    bnd_buf_append_str(&text, "\n");
    if (rv == 0 && head->query.len > 0) {
        rv = append_query(&text, head, signature->presigned, scratch);
    }
    bnd_buf_append_str(&text, "\n");
    append_headers(&text, signature, head);
    bnd_buf_append_str(&text, "\n");
    bnd_buf_append_slice(&text, signature->signed_headers);
    bnd_buf_append_str(&text, "\n");
    bnd_buf_append_slice(&text, signature->payload_text);
    if (rv != 0 || text.failed) {
        return rv != 0 ? rv : BND_NOMEM;
    }
    s3_sha256(bnd_buf_slice(&text), out);
    return 0;
}
