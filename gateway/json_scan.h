/* JSON (RFC 8259) as it comes, in pieces of any size, in constant memory: internal to gateway/.
 *
 * Purpose: bulk bodies of 100 MB are never in memory as text, and metadata is checked without being
 * taken apart. Strict: no comments, no trailing commas, no NaN, UTF-8 checked; nesting to
 * GATEWAY_JSON_DEPTH_MAX. Strings are told decoded, an escaped lone surrogate as U+FFFD (as the
 * runtime's own encoder does). No allocation but of the capture. */
#ifndef BND_GATEWAY_JSON_SCAN_H
#define BND_GATEWAY_JSON_SCAN_H

#include "base/bytes.h"

#define GATEWAY_JSON_DEPTH_MAX 1024u

enum gateway_json_event {
    GATEWAY_JSON_OBJECT_BEGIN,
    GATEWAY_JSON_OBJECT_END,
    GATEWAY_JSON_ARRAY_BEGIN,
    GATEWAY_JSON_ARRAY_END,
    GATEWAY_JSON_NAME,   /* of a member; in pieces like STRING */
    GATEWAY_JSON_STRING, /* pieces, the last one (maybe empty) with last set */
    GATEWAY_JSON_NUMBER, /* its text, likewise */
    GATEWAY_JSON_TRUE,
    GATEWAY_JSON_FALSE,
    GATEWAY_JSON_NULL,
};

struct gateway_json {
    /* bytes are borrowed for the call. Not 0: scanning stops with that code. NULL: nobody asks. */
    int (*on)(void *data, enum gateway_json_event event, struct bnd_slice bytes, bool last);
    void *data;
    /* While set, the raw text of what is scanned is appended to it, up to capture_max bytes and one
     * more, so that the owner sees that it was too much. */
    struct bnd_buf *capture;
    size_t capture_max;
    size_t depth; /* containers that are open: at an event of one, itself included */
    /* private */
    uint8_t state, number, is_name, literal_at;
    uint8_t utf8_left, utf8_low, utf8_high;
    uint8_t hex_left;
    const char *literal;
    uint32_t hex, surrogate;
    uint8_t objects[GATEWAY_JSON_DEPTH_MAX / 8]; /* a bit per container: it is an object */
};

void gateway_json_init(struct gateway_json *json,
                       int (*on)(void *data, enum gateway_json_event event, struct bnd_slice bytes,
                                 bool last),
                       void *data);
/* 0, BND_INVALID for what is no JSON, or what on() said. Not to be called again after an error. */
int gateway_json_feed(struct gateway_json *json, struct bnd_slice bytes);
/* 0: exactly one value has been there. */
int gateway_json_end(struct gateway_json *json);

/* True for exactly one JSON value. */
bool gateway_json_valid(struct bnd_slice text);

/* Appends text as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void gateway_json_string(struct bnd_buf *out, struct bnd_slice text);
/* Appends valid JSON without white space between tokens and with DEL escaped: fit for a header's
 * value. */
void gateway_json_compact(struct bnd_buf *out, struct bnd_slice text);

#endif
