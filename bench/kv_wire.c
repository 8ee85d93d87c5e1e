#include "bench/kv_wire.h"

#include "base/alloc.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES (4u << 20)        /* that values are pieces of */
#define SCATTER UINT64_C(2654435761) /* a prime: prime to any number of keys below it */

/* ---- options ---------------------------------------------------------------------------------*/

bool kv_wire_option(struct kv_wire *wire, const char *name, const char *value) {
    if (strcmp(name, "--endpoint") == 0) {
        wire_endpoint_add(&wire->endpoints, value);
    } else if (strcmp(name, "--redis") == 0) {
        wire->redis = atoi(value) != 0;
    } else if (strcmp(name, "--binding") == 0) {
        wire->binding = value;
    } else if (strcmp(name, "--token") == 0) {
        wire->token = value;
    } else if (strcmp(name, "--key-base") == 0) {
        wire->key_base = (unsigned)atoi(value);
    } else {
        return false;
    }
    return true;
}

bool kv_wire_prepare(struct kv_wire *wire) {
    if (wire->endpoints.count == 0 ||
        (!wire->redis && (wire->binding == NULL || wire->token == NULL))) {
        return false;
    }
    if (!wire->redis) {
        bnd_buf_printf(&wire->fields,
                       "Host: fake-host\r\nX-Bindery-Binding: %s\r\nAuthorization: Bearer %s\r\n",
                       wire->binding, wire->token);
    }
    return !wire->fields.failed;
}

/* ---- requests --------------------------------------------------------------------------------*/

static void key_text(const struct kv_wire *wire, unsigned key, char text[KV_KEY_LEN]) {
    key += wire->key_base;
    text[0] = 'k';
    for (unsigned at = KV_KEY_LEN - 1; at > 0; at--) {
        text[at] = (char)('0' + key % 10);
        key /= 10;
    }
}

#define LITERAL(out, text) bnd_buf_append(out, text, sizeof(text) - 1)

/* CF-KV-FLPROD-405 is sent by workerd with every request. */
static void http_head(const struct kv_wire *wire, struct bnd_buf *out, struct bnd_slice method,
                      struct bnd_slice target) {
    bnd_buf_append_slice(out, method);
    bnd_buf_append_slice(out, target);
    LITERAL(out, " HTTP/1.1\r\n");
    bnd_buf_append_slice(out, bnd_buf_slice(&wire->fields));
    LITERAL(out, "CF-KV-FLPROD-405: https://fake-host");
    bnd_buf_append_slice(out, target);
    LITERAL(out, "\r\n");
}

static void http_head_of_key(const struct kv_wire *wire, struct bnd_buf *out,
                             struct bnd_slice method, unsigned key) {
    char target[1 + KV_KEY_LEN + 16] = "/";
    key_text(wire, key, target + 1);
    memcpy(target + 1 + KV_KEY_LEN, "?urlencoded=true", 16);
    http_head(wire, out, method, bnd_slice(target, sizeof target));
}

void kv_wire_get(const struct kv_wire *wire, struct bnd_buf *out, unsigned key) {
    if (wire->redis) {
        char text[KV_KEY_LEN];
        key_text(wire, key, text);
        LITERAL(out, "*2\r\n$3\r\nGET\r\n$9\r\n");
        bnd_buf_append(out, text, sizeof text);
    } else {
        http_head_of_key(wire, out, bnd_slice_str("GET "), key);
    }
    LITERAL(out, "\r\n");
}

void kv_wire_put(const struct kv_wire *wire, struct bnd_buf *out, unsigned key,
                 struct bnd_slice value) {
    if (wire->redis) {
        char text[KV_KEY_LEN];
        key_text(wire, key, text);
        LITERAL(out, "*3\r\n$3\r\nSET\r\n$9\r\n");
        bnd_buf_append(out, text, sizeof text);
        LITERAL(out, "\r\n$");
        wire_append_number(out, value.len);
        LITERAL(out, "\r\n");
        bnd_buf_append_slice(out, value);
        LITERAL(out, "\r\n");
        return;
    }
    http_head_of_key(wire, out, bnd_slice_str("PUT "), key);
    LITERAL(out, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: ");
    wire_append_number(out, value.len);
    LITERAL(out, "\r\n\r\n");
    bnd_buf_append_slice(out, value);
}

void kv_wire_list(const struct kv_wire *wire, struct bnd_buf *out, unsigned thousand) {
    char target[64], key[KV_KEY_LEN];
    key_text(wire, thousand * KV_LIST_KEYS, key);
    int len = snprintf(target, sizeof target, "/?key_count_limit=%u&prefix=%.*s", KV_LIST_KEYS,
                       (int)KV_KEY_LEN - 3, key);
    http_head(wire, out, bnd_slice_str("GET "), bnd_slice(target, (size_t)len));
    LITERAL(out, "\r\n");
}

void kv_wire_wait(struct bnd_buf *out) {
    LITERAL(out, "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
}

/* ---- answers ---------------------------------------------------------------------------------*/

static int64_t number_of(const uint8_t *at, const uint8_t *end) {
    int64_t number = 0;
    bool minus = at < end && *at == '-';
    for (at += minus; at < end && *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (*at - '0');
    }
    return minus ? -number : number;
}

static size_t redis_answer(struct bnd_slice bytes, struct kv_answer *out) {
    const uint8_t *line = memmem(bytes.data, bytes.len, "\r\n", 2);
    if (line == NULL) {
        return 0;
    }
    size_t head = (size_t)(line - bytes.data) + 2;
    int64_t number = number_of(bytes.data + 1, line);
    *out = (struct kv_answer){.ok = bytes.data[0] != '-', .found = true, .number = -1};
    if (bytes.data[0] == ':') {
        out->number = number;
    } else if (bytes.data[0] == '$' && number < 0) {
        out->found = false;
    } else if (bytes.data[0] == '$') {
        out->body = bnd_slice(bytes.data + head, (size_t)number);
        return bytes.len >= head + (size_t)number + 2 ? head + (size_t)number + 2 : 0;
    }
    return head;
}

static size_t http_answer(uint8_t *bytes, size_t len, struct kv_answer *out) {
    struct wire_http http;
    size_t end = wire_http_answer(bytes, len, &http);
    if (end > 0) {
        *out = (struct kv_answer){.ok = http.status == 200 || http.status == 404,
                                  .found = http.status == 200,
                                  .number = -1,
                                  .body = http.body};
    }
    return end;
}

size_t kv_wire_answer(const struct kv_wire *wire, uint8_t *bytes, size_t len,
                      struct kv_answer *out) {
    return wire->redis ? redis_answer(bnd_slice(bytes, len), out) : http_answer(bytes, len, out);
}

bool kv_wire_list_right(const struct kv_wire *wire, struct bnd_slice body, unsigned thousand) {
    static const char name[] = "\"name\":\"", complete[] = "\"list_complete\":true";
    struct bnd_slice rest = body;
    for (unsigned i = 0; i < KV_LIST_KEYS; i++) {
        char key[KV_KEY_LEN];
        key_text(wire, thousand * KV_LIST_KEYS + i, key);
        const uint8_t *at = memmem(rest.data, rest.len, name, sizeof name - 1);
        if (at == NULL) {
            return false;
        }
        at += sizeof name - 1;
        rest = bnd_slice(at, rest.len - (size_t)(at - rest.data));
        if (!bnd_slice_starts(rest, bnd_slice(key, sizeof key))) {
            return false;
        }
    }
    return memmem(rest.data, rest.len, name, sizeof name - 1) == NULL &&
           memmem(body.data, body.len, complete, sizeof complete - 1) != NULL;
}

/* ---- keys and values -------------------------------------------------------------------------*/

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 33)) * UINT64_C(0xFF51AFD7ED558CCD);
    x = (x ^ (x >> 33)) * UINT64_C(0xC4CEB9FE1A85EC53);
    return x ^ (x >> 33);
}

static double unit(uint64_t x) {
    return (double)(x >> 11) / (double)(UINT64_C(1) << 53);
}

void kv_values_make(struct kv_values *values, unsigned keys, size_t bytes_min, size_t bytes_max) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t state = 1;
    values->text = bnd_alloc(TEXT_BYTES);
    values->sizes = bnd_calloc(keys, sizeof *values->sizes);
    errno = ENOMEM;
    if (values->text == NULL || values->sizes == NULL || bytes_max >= TEXT_BYTES) {
        wire_die("values");
    }
    for (size_t at = 0; at < TEXT_BYTES; at++) {
        values->text[at] = (uint8_t)letters[wire_random(&state) >> 58];
    }
    double spread = log((double)bytes_max / (double)bytes_min);
    for (unsigned key = 0; key < keys; key++) {
        values->sizes[key] =
            (uint32_t)(0.5 + (double)bytes_min * exp(spread * unit(mix(key + UINT64_C(1)))));
    }
}

struct bnd_slice kv_values_of(const struct kv_values *values, unsigned key) {
    size_t len = values->sizes[key];
    return bnd_slice(values->text + mix(~(uint64_t)key) % (TEXT_BYTES - len), len);
}

static double zeta(uint64_t count, double theta) {
    double sum = 0;
    for (uint64_t i = 1; i <= count; i++) {
        sum += pow((double)i, -theta);
    }
    return sum;
}

void kv_zipf_make(struct kv_zipf *zipf, uint64_t count, double theta) {
    *zipf = (struct kv_zipf){.count = count, .theta = theta, .alpha = 1 / (1 - theta)};
    zipf->zetan = zeta(count, theta);
    zipf->eta = (1 - pow(2.0 / (double)count, 1 - theta)) / (1 - zeta(2, theta) / zipf->zetan);
}

uint64_t kv_zipf_draw(const struct kv_zipf *zipf, uint64_t *state) {
    double u = unit(wire_random(state));
    double uz = u * zipf->zetan;
    uint64_t rank =
        uz < 1 ? 0
        : uz < 1 + pow(0.5, zipf->theta)
            ? 1
            : (uint64_t)((double)zipf->count * pow(zipf->eta * u - zipf->eta + 1, zipf->alpha));
    rank = rank < zipf->count ? rank : zipf->count - 1;
    return rank * SCATTER % zipf->count;
}
