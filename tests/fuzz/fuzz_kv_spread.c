/* What replicas ask each other and answer: what is accepted encodes to the same bytes. The first
 * byte chooses the decoder. */
#include "kv/spread_wire.h"
#include "tests/fuzz/fuzz.h"

static void try_ask(struct bnd_slice bytes, struct bnd_buf *again) {
    struct kv_spread_ask ask;
    if (kv_spread_ask_decode(bytes, &ask) == 0) {
        kv_spread_ask_encode(again, &ask);
        fuzz_same(again, bytes);
    }
}

static void try_list(struct bnd_slice bytes, struct bnd_buf *again) {
    struct kv_list_answer answer;
    struct kv_listed listed;
    BND_AUTO_BUF struct bnd_buf items = {0};
    if (kv_list_answer_decode(bytes, &answer) == 0) {
        struct bnd_reader r = bnd_reader(answer.items);
        while (kv_listed_next(&r, &listed)) {
            kv_listed_put(&items, &listed);
        }
        answer.items = bnd_buf_slice(&items);
        kv_list_answer_encode(again, &answer);
        fuzz_same(again, bytes);
    }
}

static void try_differing(struct bnd_slice bytes, struct bnd_buf *again) {
    struct kv_differing differing;
    if (kv_differing_check(bytes) == 0) {
        struct bnd_reader r = bnd_reader(bytes);
        while (kv_differing_next(&r, &differing)) {
            kv_differing_put(again, &differing);
        }
        fuzz_same(again, bytes);
    }
}

static void try_tree(struct bnd_slice bytes) {
    struct kv_tree_answer answer;
    if (kv_tree_answer_decode(bytes, &answer) == 0 && !answer.equal) {
        (void)kv_tree_answer_sum(answer.buckets, KV_TREE_BUCKETS - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_buf again = {0};
    if (size == 0) {
        return 0;
    }
    struct bnd_slice bytes = bnd_slice(data + 1, size - 1);
    switch (data[0]) {
    case 'a':
        try_ask(bytes, &again);
        break;
    case 'l':
        try_list(bytes, &again);
        break;
    case 'd':
        try_differing(bytes, &again);
        break;
    case 't':
        try_tree(bytes);
        break;
    case 'f':
        (void)kv_fetched_check(bytes);
        break;
    default:
        break;
    }
    return 0;
}
