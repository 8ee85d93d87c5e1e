/* The head of an answer under construction. */
#include "gateway/s3/reply.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>

static bool room_for_one(struct s3_reply *reply) {
    size_t cap = reply->grown == NULL ? S3_REPLY_HEADERS : reply->grown_cap;
    if (reply->count < cap) {
        return true;
    }
    struct bnd_http_header *grown =
        bnd_realloc(reply->grown, 2 * cap * sizeof(struct bnd_http_header));
    if (grown == NULL) {
        reply->failed = true;
        return false;
    }
    if (reply->grown == NULL) {
        memcpy(grown, reply->fixed, sizeof reply->fixed);
    }
    reply->grown = grown;
    reply->grown_cap = 2 * cap;
    return true;
}

bool s3_reply_add(struct s3_reply *reply, struct bnd_slice name, struct bnd_slice value) {
    if (!bnd_http_token_valid(name) || !bnd_http_value_valid(value)) {
        return false;
    }
    if (room_for_one(reply)) {
        struct bnd_http_header *headers = reply->grown == NULL ? reply->fixed : reply->grown;
        headers[reply->count++] = (struct bnd_http_header){.name = name, .value = value};
    }
    return true;
}

void s3_reply_text(struct s3_reply *reply, const char *name, struct bnd_slice value) {
    (void)s3_reply_add(reply, bnd_slice_str(name), value); /* left out: no client could read it */
}

char *s3_reply_space(struct s3_reply *reply, size_t len) {
    if (len <= sizeof reply->arena - reply->used) {
        char *place = reply->arena + reply->used;
        reply->used += len;
        return place;
    }
    struct s3_reply_block *block = bnd_alloc(sizeof *block + len);
    if (block == NULL) {
        reply->failed = true;
        return NULL;
    }
    block->next = reply->blocks;
    reply->blocks = block;
    return block->bytes;
}

void s3_reply_printf(struct s3_reply *reply, const char *name, const char *fmt, ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    BND_ASSERT(len >= 0 && (size_t)len < sizeof text);
    char *place = s3_reply_space(reply, (size_t)len);
    if (place != NULL) {
        memcpy(place, text, (size_t)len);
        s3_reply_text(reply, name, bnd_slice(place, (size_t)len));
    }
}

void s3_reply_number(struct s3_reply *reply, const char *name, uint64_t value) {
    s3_reply_printf(reply, name, "%llu", (unsigned long long)value);
}

const struct bnd_http_header *s3_reply_headers(const struct s3_reply *reply) {
    return reply->grown == NULL ? reply->fixed : reply->grown;
}

void s3_reply_free(struct s3_reply *reply) {
    while (reply->blocks != NULL) {
        struct s3_reply_block *next = reply->blocks->next;
        bnd_free(reply->blocks);
        reply->blocks = next;
    }
    bnd_free(reply->grown);
    reply->grown = NULL;
}
