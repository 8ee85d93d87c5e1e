#include "gateway/kv/listing.h"

#include "gateway/json_scan.h"

bool kv_listing_read(struct kv_listing *page, uint64_t namespace_id, struct bnd_slice query,
                     uint8_t *space, const struct kv_listing_words *words,
                     struct kv_refusal *refusal) {
    const char *why = NULL;
    if (s3_query_parse(query, space, &page->query, &why) != S3_OK) {
        return kv_refuse(refusal, 400, KV_BAD_REQUEST, "%s", why);
    }
    struct bnd_slice prefix = s3_query_get(&page->query, "prefix");
    page->scope = (struct kv_cursor_scope){namespace_id, prefix};
    page->list.namespace_id = namespace_id;
    page->list.prefix = prefix;
    if (!kv_prefix_check(prefix, refusal) ||
        !kv_limit_check(s3_query_get(&page->query, words->limit), words->limit_min, words->limit,
                        &page->list.limit, refusal)) {
        return false;
    }
    return kv_cursor_decode(s3_query_get(&page->query, "cursor"), &page->scope, &page->after) ||
           kv_refuse(refusal, 400, KV_BAD_CURSOR, "%s", words->bad_cursor);
}

void kv_listing_free(struct kv_listing *page) {
    bnd_buf_free(&page->after);
}

int kv_listing_ask(struct kv_listing *page, struct bnd_kv *kv) {
    page->list.after = bnd_buf_slice(&page->after);
    return page->after.failed ? BND_NOMEM : bnd_kv_list(kv, &page->list);
}

int kv_listing_ask_on(struct kv_listing *page, struct bnd_kv *kv, struct bnd_slice last) {
    bnd_buf_reset(&page->after);
    bnd_buf_append_slice(&page->after, last);
    return kv_listing_ask(page, kv);
}

static void put_entry(struct bnd_buf *out, const struct bnd_kv_list_entry *entry,
                      bool metadata_text) {
    bnd_buf_append_str(out, "{\"name\":");
    gateway_json_string(out, entry->key);
    if (entry->expires_ms > 0) {
        bnd_buf_printf(out, ",\"expiration\":%llu", (unsigned long long)(entry->expires_ms / 1000));
    }
    if (entry->metadata.len > 0) {
        bnd_buf_append_str(out, ",\"metadata\":");
        if (metadata_text) {
            gateway_json_string(out, entry->metadata);
        } else {
            bnd_buf_append_slice(out, entry->metadata);
        }
    }
    bnd_buf_u8(out, '}');
}

void kv_listing_entries(struct bnd_buf *out, const struct bnd_kv_list_entry *entries, size_t count,
                        bool metadata_text) {
    for (size_t i = 0; i < count; i++) {
        bnd_buf_append_str(out, i > 0 ? "," : "");
        put_entry(out, &entries[i], metadata_text);
    }
}
