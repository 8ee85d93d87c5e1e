/* What the generators for KV share: requests and answers as they go over the wire, and the keys and
 * values that are asked for. HTTP is the binding protocol as workerd speaks it, RESP is Redis'. */
#ifndef BND_BENCH_KV_WIRE_H
#define BND_BENCH_KV_WIRE_H

#include "bench/wire.h"

#define KV_KEY_LEN 9u /* k and 8 digits */
#define KV_LIST_KEYS 1000u

struct kv_wire {
    bool redis;
    const char *binding, *token; /* HTTP: X-Bindery-Binding, and the bearer token */
    unsigned key_base;           /* added to a key's number in its name */
    struct wire_endpoints endpoints;
    struct bnd_buf fields; /* HTTP: the header fields that every request has; kv_wire_prepare */
};

/* Takes --redis 1, --endpoint, --binding, --token and --key-base; false: another option. Ends the
 * process if the value makes no sense. */
bool kv_wire_option(struct kv_wire *wire, const char *name, const char *value);
/* After the last option; false: some are missing. */
bool kv_wire_prepare(struct kv_wire *wire);

/* ---- requests: each is appended --------------------------------------------------------------*/

void kv_wire_get(const struct kv_wire *wire, struct bnd_buf *out, unsigned key);
void kv_wire_put(const struct kv_wire *wire, struct bnd_buf *out, unsigned key,
                 struct bnd_slice value);
/* HTTP: the keys from 1,000 * thousand on, by their prefix. */
void kv_wire_list(const struct kv_wire *wire, struct bnd_buf *out, unsigned thousand);
/* Redis: WAIT 1 0. */
void kv_wire_wait(struct bnd_buf *out);

/* ---- answers ---------------------------------------------------------------------------------*/

struct kv_answer {
    bool ok;        /* 200, or no error */
    bool found;     /* a GET's value is there: HTTP 404 and RESP's nil are answers without one */
    int64_t number; /* RESP: an integer, else -1 */
    struct bnd_slice body; /* borrowed from the bytes */
};

/* Of the answer that the bytes begin with: its length, 0 while it is incomplete (wire_http_answer).
 */
size_t kv_wire_answer(const struct kv_wire *wire, uint8_t *bytes, size_t len,
                      struct kv_answer *out);
/* True if a list has exactly the keys of the thousand, in order, and says that there are no more.
 */
bool kv_wire_list_right(const struct kv_wire *wire, struct bnd_slice body, unsigned thousand);

/* ---- keys and values -------------------------------------------------------------------------*/

/* The value of each key follows from its number, so that another run's GET knows it: its size is
 * log-uniform from bytes_min to bytes_max, its text a piece of one random text. */
struct kv_values {
    uint8_t *text;
    uint32_t *sizes; /* [keys] */
};

/* Ends the process without memory. */
void kv_values_make(struct kv_values *values, unsigned keys, size_t bytes_min, size_t bytes_max);
struct bnd_slice kv_values_of(const struct kv_values *values, unsigned key);

/* Numbers below `count` with Zipf's distribution, as YCSB draws them (Gray et al., "Quickly
 * generating billion-record synthetic databases"), the popular ones scattered over the keys. */
struct kv_zipf {
    uint64_t count;
    double theta, alpha, zetan, eta;
};
void kv_zipf_make(struct kv_zipf *zipf, uint64_t count, double theta);
uint64_t kv_zipf_draw(const struct kv_zipf *zipf, uint64_t *state);

#endif
