/* Scans of a shard, and pages merged from the scans of several. */
#include "kv/store_private.h"

#define NAME_AT 13u /* slot, tag, namespace id */

int kv_scan_open(struct kv_scan *scan, struct kv_store *store, const struct kv_scan_range *range) {
    struct bnd_slice first = bnd_slice_cmp(range->after, range->prefix) >= 0 && range->after.len > 0
                                 ? range->after
                                 : range->prefix;
    kv_key_name(&scan->from, range->shard, KV_TAG_RECORD, range->namespace_id, first);
    if (first.data == range->after.data && first.len > 0) {
        scan->from.bytes[scan->from.len++] = 0; /* the least key above it */
    }
    kv_key_name(&scan->to, range->shard, KV_TAG_RECORD, range->namespace_id, range->prefix);
    if (range->namespace_id == 0) {
        kv_key_past_tag(&scan->to, KV_SLOT(range->shard), KV_TAG_RECORD);
    } else {
        while (scan->to.bytes[scan->to.len - 1] == 0xff) {
            scan->to.len--;
        }
        scan->to.bytes[scan->to.len - 1]++;
    }
    scan->store = store;
    scan->begun = false;
    scan->iter = store->ops->iter(store->config.state, BND_CF_KV, kv_key_slice(&scan->from),
                                  kv_key_slice(&scan->to));
    return scan->iter == NULL ? BND_NOMEM : 0;
}

int kv_scan_next(struct kv_scan *scan, struct kv_scanned *out) {
    const struct bnd_state_ops *ops = scan->store->ops;
    if (scan->begun && ops->iter_valid(scan->iter)) {
        ops->iter_next(scan->iter);
    }
    scan->begun = true;
    if (!ops->iter_valid(scan->iter)) {
        int rv = ops->iter_status(scan->iter);
        return rv != 0 ? rv : BND_NOTFOUND;
    }
    struct bnd_slice key = ops->iter_key(scan->iter);
    if (key.len <= NAME_AT || key.len > NAME_AT + BND_KV_KEY_MAX) {
        return BND_CORRUPT;
    }
    out->namespace_id = bnd_get_be64(key.data + 5);
    out->key = bnd_slice(key.data + NAME_AT, key.len - NAME_AT);
    return kv_record_decode(ops->iter_value(scan->iter), &out->record);
}

void kv_scan_close(struct kv_scan *scan) {
    if (scan->iter != NULL) {
        scan->store->ops->iter_destroy(scan->iter);
        scan->iter = NULL;
    }
}

/* ---- pages
 * --------------------------------------------------------------------------------------- */

void kv_page_entry_encode(struct bnd_buf *out, const struct bnd_kv_list_entry *entry) {
    bnd_buf_u16(out, (uint16_t)entry->key.len);
    bnd_buf_append_slice(out, entry->key);
    bnd_buf_u64(out, entry->expires_ms);
    bnd_buf_u16(out, (uint16_t)entry->metadata.len);
    bnd_buf_append_slice(out, entry->metadata);
}

struct bnd_kv_list_entry kv_page_entry_read(struct bnd_reader *r) {
    struct bnd_kv_list_entry entry = {0};
    uint16_t key = bnd_read_u16(r);
    entry.key = bnd_read_raw(r, key);
    entry.expires_ms = bnd_read_u64(r);
    uint16_t metadata = bnd_read_u16(r);
    entry.metadata = bnd_read_raw(r, metadata);
    r->failed = r->failed || key == 0 || key > BND_KV_KEY_MAX || metadata > BND_KV_METADATA_MAX;
    return entry;
}

void kv_page_free(struct kv_page *page) {
    bnd_buf_free(&page->entries);
}

struct source {
    struct kv_scan scan;
    struct kv_scanned at;
};

struct merge {
    struct source *sources;
    struct source **heap; /* least key first */
    size_t count;
};

static bool source_less(const struct source *a, const struct source *b) {
    return bnd_slice_cmp(a->at.key, b->at.key) < 0;
}

static void sift_down(struct merge *merge, size_t at) {
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < merge->count; child++) {
            least = source_less(merge->heap[child], merge->heap[least]) ? child : least;
        }
        if (least == at) {
            return;
        }
        struct source *swap = merge->heap[at];
        merge->heap[at] = merge->heap[least];
        merge->heap[least] = swap;
        at = least;
    }
}

/* The source at the top goes on to its next record, or leaves. */
static int advance(struct merge *merge) {
    int rv = kv_scan_next(&merge->heap[0]->scan, &merge->heap[0]->at);
    if (rv == BND_NOTFOUND) {
        merge->heap[0] = merge->heap[--merge->count];
        rv = 0;
    }
    if (rv == 0) {
        sift_down(merge, 0);
    }
    return rv;
}

static int merge_open(struct merge *merge, struct kv_store *store,
                      const struct kv_list_query *query) {
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < query->shards_count; i++) {
        struct source *source = &merge->sources[i];
        const struct kv_scan_range range = {.shard = query->shards[i],
                                            .namespace_id = query->namespace_id,
                                            .prefix = query->prefix,
                                            .after = query->after};
        rv = kv_scan_open(&source->scan, store, &range);
        rv = rv != 0 ? rv : kv_scan_next(&source->scan, &source->at);
        if (rv == 0) {
            merge->heap[merge->count++] = source;
        }
        rv = rv == BND_NOTFOUND ? 0 : rv;
    }
    for (size_t i = merge->count / 2; rv == 0 && i > 0; i--) {
        sift_down(merge, i - 1);
    }
    return rv;
}

static int fill_page(struct merge *merge, const struct kv_list_query *query, struct kv_page *out) {
    uint32_t looked = 0;
    int rv = 0;
    while (rv == 0 && merge->count > 0 && out->count < query->limit && looked < query->scan_max) {
        const struct kv_scanned *at = &merge->heap[0]->at;
        if (!kv_seen_absent(kv_record_seen(&at->record), query->now_ms)) {
            const struct bnd_kv_list_entry entry = {.key = at->key,
                                                    .expires_ms = at->record.expires_ms,
                                                    .metadata = at->record.metadata};
            kv_page_entry_encode(&out->entries, &entry);
            out->count++;
        }
        memcpy(out->last, at->key.data, at->key.len);
        out->last_len = at->key.len;
        looked++;
        rv = advance(merge);
    }
    out->complete = merge->count == 0;
    return rv == 0 && out->entries.failed ? BND_NOMEM : rv;
}

int kv_store_list(struct kv_store *store, const struct kv_list_query *query, struct kv_page *out) {
    BND_AUTO struct source *sources = bnd_calloc(query->shards_count + 1, sizeof *sources);
    BND_AUTO struct source **heap = bnd_calloc(query->shards_count + 1, sizeof(struct source *));
    if (sources == NULL || heap == NULL) {
        return BND_NOMEM;
    }
    struct merge merge = {.sources = sources, .heap = heap};
    int rv = merge_open(&merge, store, query);
    rv = rv != 0 ? rv : fill_page(&merge, query, out);
    for (size_t i = 0; i < query->shards_count; i++) {
        kv_scan_close(&sources[i].scan);
    }
    return rv;
}
