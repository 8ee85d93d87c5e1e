/* Commands, queries, answers of shards and body requests: what is accepted survives a second
 * journey. The first byte says which. */
#include "objects/bodies/wire.h"
#include "objects/keys.h"
#include "objects/merge.h"
#include "tests/fuzz/fuzz.h"

static void command(struct bnd_slice bytes) {
    struct objects_conditions room;
    struct objects_conditions room_again;
    struct objects_command command;
    struct objects_command again;
    struct bnd_buf out = {0};
    if (objects_command_decode(bytes, &room, &command) != 0) {
        return;
    }
    objects_command_encode(&out, &command);
    BND_ASSERT(objects_command_decode(bnd_buf_slice(&out), &room_again, &again) == 0);
    BND_ASSERT(again.kind == command.kind && again.bucket == command.bucket);
    BND_ASSERT(bnd_slice_eq(again.key, command.key) && bnd_slice_eq(again.items, command.items));
    BND_ASSERT(bnd_slice_eq(again.manifest, command.manifest) && again.count == command.count);
    bnd_buf_free(&out);
}

static void query(struct bnd_slice bytes) {
    struct objects_query query;
    struct objects_query again;
    struct bnd_buf out = {0};
    if (objects_query_decode(bytes, &query) == 0) {
        objects_query_encode(&out, &query);
        BND_ASSERT(objects_query_decode(bnd_buf_slice(&out), &again) == 0);
        BND_ASSERT(again.kind == query.kind && bnd_slice_eq(again.after, query.after));
        bnd_buf_free(&out);
    }
}

/* Two answers, merged: in order, and none above the bound. */
static void answers(struct bnd_slice bytes) {
    struct objects_answer both[2];
    memset(both, 0, sizeof both);
    struct objects_merge merge;
    memset(&merge, 0, sizeof merge);
    size_t half = bytes.len / 2;
    bool good = objects_answer_set(&both[0], bnd_slice(bytes.data, half)) == 0 &&
                objects_answer_set(&both[1], bnd_slice(bytes.data + half, bytes.len - half)) == 0;
    if (good) {
        struct objects_item item;
        struct bnd_slice last = {0};
        BND_ASSERT(objects_merge(&merge, both, 2, 5) == 0);
        struct bnd_reader r = bnd_reader(bnd_buf_slice(&merge.items));
        uint32_t count = 0;
        for (; objects_item_next(&r, &item); count++) {
            BND_ASSERT(bnd_slice_cmp(last, item.key) <= 0);
            last = item.key;
        }
        BND_ASSERT(count == merge.count && count <= 5);
    }
    objects_answer_free(&both[0]);
    objects_answer_free(&both[1]);
    bnd_buf_free(&merge.items);
}

static void body_request(struct bnd_slice bytes) {
    struct body_request request;
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    if (body_request_decode(bytes, &request) == 0) {
        body_request_encode(head, &request);
        BND_ASSERT(memcmp(head, bytes.data, sizeof head) == 0);
    }
}

static void upload_key(struct bnd_slice bytes) {
    uint8_t key[BND_OBJECT_KEY_MAX];
    const uint8_t *id = NULL;
    size_t len = 0;
    struct objects_key again;
    if (objects_key_upload_parse(bytes, key, &len, &id) == 0) {
        objects_key_upload(&again, 0, 0, bnd_slice(key, len), id);
        BND_ASSERT(bnd_slice_eq(bnd_slice(again.bytes + 13, again.len - 13), bytes));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_part *const parts[] = {command, query, answers, body_request, upload_key};
    return fuzz_one_of(parts, sizeof parts / sizeof *parts, data, size);
}
