/* Records of an object group: what is accepted survives a second journey unchanged. The first byte
 * says which. */
#include "objects/manifest.h"
#include "tests/fuzz/fuzz.h"

static void manifest(struct bnd_slice bytes) {
    struct bnd_object_meta meta;
    struct bnd_object_meta again;
    struct bnd_slice body;
    struct bnd_slice body_again;
    struct bnd_buf out = {0};
    if (objects_manifest_decode(bytes, &meta, &body) != 0) {
        return;
    }
    unsigned with = OBJECTS_WITH_HTTP | OBJECTS_WITH_CUSTOM;
    objects_manifest_encode(&out, &meta, body, body.data != NULL ? OBJECTS_WHOLE : with);
    BND_ASSERT(objects_manifest_decode(bnd_buf_slice(&out), &again, &body_again) == 0);
    BND_ASSERT(again.size == meta.size && again.profile == meta.profile);
    BND_ASSERT(memcmp(&again.checksums, &meta.checksums, sizeof meta.checksums) == 0);
    BND_ASSERT(bnd_slice_eq(again.fields.custom, meta.fields.custom));
    BND_ASSERT(bnd_slice_eq(body, body_again) && (body.data == NULL) == (body_again.data == NULL));
    char etag[BND_OBJECT_ETAG_TEXT];
    bnd_object_etag_text(&meta, etag);
    struct bnd_reader custom = bnd_reader(meta.fields.custom);
    struct bnd_slice name;
    struct bnd_slice value;
    while (bnd_object_custom_next(&custom, &name, &value)) {
        BND_ASSERT(name.len > 0);
    }
    BND_ASSERT(bnd_reader_done(&custom));
    bnd_buf_free(&out);
}

static void upload(struct bnd_slice bytes) {
    struct objects_upload_record record;
    struct objects_upload_record again;
    struct bnd_buf out = {0};
    if (objects_upload_decode(bytes, &record) == 0) {
        objects_upload_encode(&out, &record);
        BND_ASSERT(objects_upload_decode(bnd_buf_slice(&out), &again) == 0);
        BND_ASSERT(again.initiated_ms == record.initiated_ms);
        bnd_buf_free(&out);
    }
}

static void body(struct bnd_slice bytes) {
    struct objects_body_record record;
    struct bnd_buf out = {0};
    if (objects_body_decode(bytes, &record) == 0) {
        objects_body_encode(&out, &record);
        fuzz_same(&out, bytes);
    }
}

static void part(struct bnd_slice bytes) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_multipart_part part;
    struct bnd_buf out = {0};
    objects_part_read(&r, &part);
    if (bnd_reader_done(&r)) {
        objects_part_encode(&out, &part);
        fuzz_same(&out, bytes);
    }
}

static void segments(struct bnd_slice bytes) {
    (void)objects_segments_check(bytes, 3, 300); /* any answer will do */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_part *const parts[] = {manifest, upload, body, part, segments};
    return fuzz_one_of(parts, sizeof parts / sizeof *parts, data, size);
}
