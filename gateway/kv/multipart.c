#include "gateway/kv/multipart.h"

#include "base/error.h"
#include "gateway/http/head.h"

#include <string.h>

enum state {
    PREAMBLE, /* up to the first delimiter: passed over */
    BODY,     /* of a part */
    AFTER,    /* a delimiter: CR LF and a head, or -- */
    AFTER_CR,
    AFTER_DASH,
    HEAD,
    EPILOGUE,
};

#define TYPE "multipart/form-data"

/* ---- the content type
 * ------------------------------------------------------------------------------------ */

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t';
}

static struct bnd_slice trim(struct bnd_slice text) {
    while (text.len > 0 && is_space(text.data[0])) {
        text = bnd_slice(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && is_space(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* Takes the text before the next ';' that is not within quotes, and the ';'. */
static struct bnd_slice take_field(struct bnd_slice *rest) {
    bool quoted = false;
    size_t i = 0;
    for (; i < rest->len && (quoted || rest->data[i] != ';'); i++) {
        if (rest->data[i] == '\\' && quoted && i + 1 < rest->len) {
            i++;
        } else if (rest->data[i] == '"') {
            quoted = !quoted;
        }
    }
    struct bnd_slice field = trim(bnd_slice(rest->data, i));
    size_t skip = i < rest->len ? i + 1 : i;
    *rest = bnd_slice(rest->data + skip, rest->len - skip);
    return field;
}

/* The value of a parameter, without its quotes and their escapes, into out; false if the field is
 * another one, or the value does not fit. */
static bool parameter(struct bnd_slice field, const char *name, uint8_t *out, size_t cap,
                      size_t *out_len) {
    const uint8_t *equals = field.len == 0 ? NULL : memchr(field.data, '=', field.len);
    if (equals == NULL ||
        !bnd_http_text_is(trim(bnd_slice(field.data, (size_t)(equals - field.data))), name)) {
        return false;
    }
    struct bnd_slice value =
        trim(bnd_slice(equals + 1, field.len - (size_t)(equals - field.data) - 1));
    bool quoted = value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"';
    if (quoted) {
        value = bnd_slice(value.data + 1, value.len - 2);
    }
    *out_len = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (quoted && value.data[i] == '\\' && i + 1 < value.len) {
            i++;
        }
        if (*out_len == cap) {
            return false;
        }
        out[(*out_len)++] = value.data[i];
    }
    return true;
}

bool kv_multipart_is(struct bnd_slice content_type) {
    return bnd_http_text_is(take_field(&content_type), TYPE);
}

static bool boundary_valid(struct bnd_slice boundary) {
    static const char more[] = "'()+_,-./:=? ";
    for (size_t i = 0; i < boundary.len; i++) {
        uint8_t c = boundary.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (c == 0 || strchr(more, c) == NULL)) {
            return false;
        }
    }
    return boundary.len > 0 && boundary.data[boundary.len - 1] != ' ';
}

int kv_multipart_init(struct kv_multipart *form, struct bnd_slice content_type) {
    size_t len = 0;
    bool found = false;
    memset(form, 0, sizeof *form);
    (void)take_field(&content_type);
    while (!found && content_type.len > 0) {
        found = parameter(take_field(&content_type), "boundary", form->delimiter + 4,
                          KV_MULTIPART_BOUNDARY_MAX, &len);
    }
    if (!found || !boundary_valid(bnd_slice(form->delimiter + 4, len))) {
        return BND_INVALID;
    }
    memcpy(form->delimiter, "\r\n--", 4);
    form->delimiter_len = (uint8_t)(len + 4);
    form->state = PREAMBLE;
    form->matched = 2; /* as if a line had ended before the body */
    return 0;
}

/* ---- parts
 * ------------------------------------------------------------------------------------------------
 */

/* Bytes up to the next delimiter, which is taken. CR is in a delimiter at its beginning only, so
 * what did not go on to be one cannot hide the beginning of another. Returns true at the delimiter;
 * *text: bytes before it, if any were told. */
static bool take_bytes(struct kv_multipart *form, struct bnd_slice *input, struct bnd_slice *text) {
    size_t at = 0;
    if (form->matched == 0) {
        const uint8_t *cr = memchr(input->data, '\r', input->len);
        at = cr == NULL ? input->len : (size_t)(cr - input->data);
        if (at > 0) {
            *text = bnd_slice(input->data, at);
            *input = bnd_slice(input->data + at, input->len - at);
            return false;
        }
    }
    while (at < input->len && form->matched < form->delimiter_len &&
           input->data[at] == form->delimiter[form->matched]) {
        form->matched++;
        at++;
    }
    *input = bnd_slice(input->data + at, input->len - at);
    if (form->matched == form->delimiter_len) {
        form->matched = 0;
        return true;
    }
    if (input->len > 0) { /* it was none */
        memcpy(form->held, form->delimiter, form->matched);
        *text = bnd_slice(form->held, form->matched);
        form->matched = 0;
    }
    return false;
}

/* The name in "Content-Disposition: form-data; name=..."; others leave it empty. */
static void read_head(struct kv_multipart *form) {
    struct bnd_slice rest = bnd_slice(form->head, form->head_len);
    form->name[0] = 0;
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data) + 1;
        struct bnd_slice line = bnd_slice(rest.data, len);
        rest = bnd_slice(rest.data + len, rest.len - len);
        while (line.len > 0 &&
               (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r')) {
            line.len--;
        }
        const uint8_t *colon = line.len == 0 ? NULL : memchr(line.data, ':', line.len);
        if (colon == NULL || !bnd_http_text_is(bnd_slice(line.data, (size_t)(colon - line.data)),
                                               "content-disposition")) {
            continue;
        }
        struct bnd_slice fields = bnd_slice(colon + 1, line.len - (size_t)(colon - line.data) - 1);
        while (fields.len > 0) {
            size_t name_len = 0;
            if (parameter(take_field(&fields), "name", (uint8_t *)form->name, KV_MULTIPART_NAME_MAX,
                          &name_len)) {
                form->name[name_len] = 0;
                return;
            }
        }
    }
}

/* True once the empty line was there. */
static int take_head(struct kv_multipart *form, struct bnd_slice *input, bool *whole) {
    *whole = false;
    while (input->len > 0 && !*whole) {
        if (form->head_len == KV_MULTIPART_HEAD_MAX) {
            return BND_INVALID;
        }
        form->head[form->head_len++] = input->data[0];
        *input = bnd_slice(input->data + 1, input->len - 1);
        size_t len = form->head_len;
        *whole = (len == 2 && memcmp(form->head, "\r\n", 2) == 0) ||
                 (len >= 4 && memcmp(form->head + len - 4, "\r\n\r\n", 4) == 0);
    }
    return 0;
}

/* One byte of what follows a delimiter. */
static int after_delimiter(struct kv_multipart *form, struct bnd_slice *input) {
    uint8_t c = input->data[0];
    *input = bnd_slice(input->data + 1, input->len - 1);
    if (form->state == AFTER && is_space(c)) {
        return 0;
    }
    if (form->state == AFTER && (c == '\r' || c == '-')) {
        form->state = c == '\r' ? AFTER_CR : AFTER_DASH;
        return 0;
    }
    if (form->state == AFTER_CR && c == '\n') {
        form->state = HEAD;
        form->head_len = 0;
        return 0;
    }
    if (form->state == AFTER_DASH && c == '-') {
        form->state = EPILOGUE;
        return 0;
    }
    return BND_INVALID;
}

static int head_event(struct kv_multipart *form, struct bnd_slice *input, struct bnd_slice *text) {
    bool whole = false;
    int rv = take_head(form, input, &whole);
    if (rv != 0 || !whole) {
        return rv != 0 ? rv : KV_MULTIPART_MORE;
    }
    read_head(form);
    form->state = BODY;
    form->matched = 0;
    *text = bnd_slice_str(form->name);
    return KV_MULTIPART_PART;
}

int kv_multipart_next(struct kv_multipart *form, struct bnd_slice *input, struct bnd_slice *text) {
    *text = bnd_slice(NULL, 0);
    while (input->len > 0 && form->state != EPILOGUE) {
        switch ((enum state)form->state) {
        case PREAMBLE:
        case BODY:
            if (take_bytes(form, input, text)) {
                form->state = AFTER;
            } else if (text->len > 0 && form->state == BODY) {
                return KV_MULTIPART_BYTES;
            }
            break;
        case HEAD: {
            int event = head_event(form, input, text);
            if (event != KV_MULTIPART_MORE) {
                return event;
            }
            break;
        }
        default: {
            int rv = after_delimiter(form, input);
            if (rv != 0) {
                return rv;
            }
        }
        }
    }
    if (form->state == EPILOGUE) {
        *input = bnd_slice(NULL, 0);
        return KV_MULTIPART_DONE;
    }
    return KV_MULTIPART_MORE;
}
