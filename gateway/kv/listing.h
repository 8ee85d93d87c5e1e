/* A page of a namespace's keys, as both KV surfaces are asked for it: internal to gateway/. */
#ifndef BND_GATEWAY_KV_LISTING_H
#define BND_GATEWAY_KV_LISTING_H

#include "gateway/kv/cursor.h"
#include "gateway/kv/rules.h"
#include "gateway/s3/query.h"
#include "kv/kv.h"

/* Zero it before kv_listing_read; free it whatever that says. */
struct kv_listing {
    struct bnd_kv_list list; /* cb and data are the caller's */
    struct kv_cursor_scope scope;
    struct bnd_buf after;
    struct s3_query query;
};

/* How a surface names things. */
struct kv_listing_words {
    const char *limit;
    uint32_t limit_min;
    const char *bad_cursor; /* the text of the refusal */
};

/* Reads prefix, limit and cursor of a request's query. space: query.len + 1 bytes that live as long
 * as the page. False: *refusal says why. */
bool kv_listing_read(struct kv_listing *page, uint64_t namespace_id, struct bnd_slice query,
                     uint8_t *space, const struct kv_listing_words *words,
                     struct kv_refusal *refusal);
void kv_listing_free(struct kv_listing *page);

/* Asks for the page: as bnd_kv_list. */
int kv_listing_ask(struct kv_listing *page, struct bnd_kv *kv);
/* The same from `last` on: after an answer without keys that is not the end (the pagers of some
 * clients would end there). */
int kv_listing_ask_on(struct kv_listing *page, struct bnd_kv *kv, struct bnd_slice last);

/* Appends the keys as JSON objects with commas between them. metadata_text: metadata is told as the
 * text of its JSON, not as JSON. */
void kv_listing_entries(struct bnd_buf *out, const struct bnd_kv_list_entry *entries, size_t count,
                        bool metadata_text);

#endif
