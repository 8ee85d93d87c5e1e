/* Anything decoded is encoded again to the same bytes. The first byte says what the rest is.
 * Seeds: tests/fuzz/corpus/fuzz_kv_wire. */
#include "base/alloc.h"
#include "base/assert.h"
#include "kv/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void same(struct bnd_buf *again, struct bnd_slice bytes) {
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(again), bytes));
    bnd_buf_free(again);
}

static void fuzz_record(struct bnd_slice bytes) {
    struct kv_record record;
    if (kv_record_decode(bytes, &record) != 0) {
        return;
    }
    BND_AUTO uint8_t *again = bnd_alloc(kv_record_bytes(&record));
    kv_record_encode(&record, again);
    BND_ASSERT(bnd_slice_eq(bnd_slice(again, kv_record_bytes(&record)), bytes));
}

static void fuzz_log_entry(struct bnd_slice bytes) {
    struct kv_log_entry *entry = NULL;
    if (kv_log_entry_decode(bytes, &entry) == 0) {
        BND_ASSERT(bnd_slice_eq(bnd_slice(entry->bytes, entry->len), bytes));
        kv_log_entry_unref(entry);
    }
}

static void fuzz_pushes(struct bnd_slice bytes) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_buf again = {0};
    while (r.rest.len > 0) {
        struct kv_pushed pushed = kv_pushed_read(&r);
        if (r.failed) {
            break;
        }
        kv_pushed_head(&again, &pushed);
        bnd_buf_append_slice(&again, pushed.body);
    }
    BND_ASSERT(bnd_slice_starts(bytes, bnd_buf_slice(&again)));
    bnd_buf_free(&again);
}

static void fuzz_acks(struct bnd_slice bytes) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_buf again = {0};
    while (r.rest.len > 0) {
        struct kv_ack ack = kv_ack_read(&r);
        if (r.failed) {
            break;
        }
        kv_ack_put(&again, &ack);
    }
    BND_ASSERT(bnd_slice_starts(bytes, bnd_buf_slice(&again)));
    bnd_buf_free(&again);
}

static void fuzz_put(struct bnd_slice bytes) {
    struct kv_write_params params;
    struct bnd_buf again = {0};
    if (kv_call_put_decode(bytes, &params) == 0) {
        kv_call_put_head(&again, &params);
        bnd_buf_append_slice(&again, params.value);
        same(&again, bytes);
    }
}

static void fuzz_put_answer(struct bnd_slice bytes) {
    struct kv_put_answer answer;
    struct bnd_buf again = {0};
    if (kv_put_answer_decode(bytes, &answer) == 0) {
        kv_put_answer_encode(&again, &answer);
        same(&again, bytes);
    }
}

static void fuzz_get(struct bnd_slice bytes) {
    struct kv_call_get get;
    struct bnd_buf again = {0};
    if (kv_call_get_decode(bytes, &get) == 0) {
        kv_call_get_encode(&again, &get);
        same(&again, bytes);
    }
}

static void fuzz_read(struct bnd_slice bytes) {
    struct kv_call_read read;
    struct bnd_buf again = {0};
    if (kv_call_read_decode(bytes, &read) == 0) {
        kv_call_read_encode(&again, &read);
        same(&again, bytes);
    }
}

static void fuzz_list(struct bnd_slice bytes) {
    struct kv_call_list list;
    struct bnd_buf again = {0};
    if (kv_call_list_decode(bytes, &list) == 0) {
        for (uint32_t i = 0; i < list.shards_count; i++) {
            (void)kv_call_list_shard(&list, i);
        }
        kv_call_list_encode(&again, &list);
        same(&again, bytes);
    }
}

static void fuzz_page(struct bnd_slice bytes) {
    struct kv_page_view view;
    struct kv_page page = {0};
    struct bnd_buf again = {0};
    if (kv_page_decode(bytes, &view) != 0) {
        return;
    }
    page.complete = view.complete;
    page.count = view.count;
    page.last_len = view.last.len;
    if (view.last.len > 0) {
        memcpy(page.last, view.last.data, view.last.len);
    }
    kv_page_head(&again, &page);
    struct bnd_reader r = bnd_reader(view.entries);
    for (uint32_t i = 0; i < view.count; i++) {
        struct bnd_kv_list_entry entry = kv_page_entry_read(&r);
        kv_page_entry_encode(&again, &entry);
    }
    same(&again, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static void (*const targets[])(struct bnd_slice bytes) = {
        fuzz_record,     fuzz_log_entry, fuzz_pushes, fuzz_acks, fuzz_put,
        fuzz_put_answer, fuzz_get,       fuzz_read,   fuzz_list, fuzz_page,
    };
    if (len > 0) {
        targets[data[0] % (sizeof targets / sizeof targets[0])](bnd_slice(data + 1, len - 1));
    }
    return 0;
}
