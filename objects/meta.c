/* Names, etags, fields and the owned object: pure parts of objects.h. */
#include "objects/manifest.h"

#include "base/assert.h"
#include "base/error.h"

#include <stdio.h>

void bnd_object_id_text(const uint8_t id[BND_OBJECT_ID_BYTES], char out[BND_OBJECT_ID_TEXT]) {
    bnd_hex_encode(id, BND_OBJECT_ID_BYTES, out);
}

int bnd_object_id_parse(struct bnd_slice text, uint8_t out[BND_OBJECT_ID_BYTES]) {
    return bnd_hex_decode(text, out, BND_OBJECT_ID_BYTES);
}

size_t bnd_checksum_bytes(enum bnd_checksum kind) {
    static const uint8_t bytes[BND_CHECKSUM_COUNT] = {16, 20, 32, 48, 64, 4, 4, 8};
    BND_ASSERT(kind < BND_CHECKSUM_COUNT);
    return bytes[kind];
}

struct bnd_object_fields bnd_object_fields_none(void) {
    return (struct bnd_object_fields){.cache_expiry_ms = BND_OBJECT_NO_TIME};
}

void bnd_object_custom_add(struct bnd_buf *custom, struct bnd_slice name, struct bnd_slice value) {
    bnd_buf_bytes(custom, name);
    bnd_buf_bytes(custom, value);
}

bool bnd_object_custom_next(struct bnd_reader *custom, struct bnd_slice *out_name,
                            struct bnd_slice *out_value) {
    if (custom->failed || custom->rest.len == 0) {
        return false;
    }
    struct bnd_slice name = bnd_read_bytes(custom);
    struct bnd_slice value = bnd_read_bytes(custom);
    if (custom->failed) {
        return false;
    }
    *out_name = name;
    *out_value = value;
    return true;
}

void bnd_object_etag_text(const struct bnd_object_meta *meta, char out[BND_OBJECT_ETAG_TEXT]) {
    bnd_hex_encode(meta->etag_md5, sizeof meta->etag_md5, out);
    if (meta->parts > 0) {
        (void)snprintf(out + 32, BND_OBJECT_ETAG_TEXT - 32, "-%u",
                       (unsigned)(meta->parts % 100000)); /* decoders keep it <= 10,000 */
    }
}

void bnd_object_move(struct bnd_object *to, struct bnd_object *from) {
    *to = *from;
    *from = (struct bnd_object){0};
}

void bnd_object_free(struct bnd_object *object) {
    bnd_buf_free(&object->bytes);
    *object = (struct bnd_object){0};
}

int bnd_object_part_range(const struct bnd_object *object, uint32_t number, uint64_t *out_offset,
                          uint64_t *out_length) {
    if (object->meta.profile != BND_PROFILE_PARTS) {
        return BND_INVALID;
    }
    if (number == 0 || number > object->meta.parts) {
        return BND_RANGE;
    }
    struct bnd_reader r = bnd_reader(object->parts);
    struct objects_segment segment = {0};
    uint64_t offset = 0;
    for (uint32_t i = 0; i < number; i++) {
        offset += segment.size;
        if (!objects_segment_next(&r, &segment)) {
            return BND_CORRUPT;
        }
    }
    *out_offset = offset;
    *out_length = segment.size;
    return 0;
}
