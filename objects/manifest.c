/* See manifest.h. Every length is checked against its bound before it is believed. */
#include "objects/manifest.h"

#include "base/assert.h"
#include "base/error.h"

enum {
    FLAG_NO_BODY = 1,
    FIELD_CACHE_EXPIRY = 1 << 5,
    FIELD_STORAGE_CLASS = 1 << 6,
    FIELD_CUSTOM = 1 << 7,
    TEXT_FIELDS = 5,
    /* Every pair costs 8 bytes beside its own. */
    CUSTOM_PACKED_MAX = BND_OBJECT_CUSTOM_MAX * 9,
    UPLOADED_OFFSET = 1 + 1 + 1 + BND_OBJECT_ID_BYTES + 8,
};

static struct bnd_slice *text_field(struct bnd_object_fields *fields, unsigned i) {
    struct bnd_slice *const all[TEXT_FIELDS] = {
        &fields->content_type,     &fields->content_language, &fields->content_disposition,
        &fields->content_encoding, &fields->cache_control,
    };
    return all[i];
}

static bool custom_ok(struct bnd_slice custom) {
    struct bnd_reader r = bnd_reader(custom);
    struct bnd_slice name = {0};
    struct bnd_slice value = {0};
    size_t total = 0;
    if (custom.len > CUSTOM_PACKED_MAX) {
        return false;
    }
    while (bnd_object_custom_next(&r, &name, &value)) {
        if (name.len == 0) {
            return false;
        }
        total += name.len + value.len;
    }
    return bnd_reader_done(&r) && total <= BND_OBJECT_CUSTOM_MAX;
}

int objects_fields_check(const struct bnd_object_fields *fields) {
    struct bnd_object_fields copy = *fields;
    for (unsigned i = 0; i < TEXT_FIELDS; i++) {
        if (text_field(&copy, i)->len > BND_OBJECT_FIELD_MAX) {
            return BND_INVALID;
        }
    }
    if (fields->storage_class.len > BND_OBJECT_FIELD_MAX || !custom_ok(fields->custom)) {
        return BND_INVALID;
    }
    return 0;
}

void objects_fields_encode(struct bnd_buf *out, const struct bnd_object_fields *fields,
                           unsigned with) {
    struct bnd_object_fields copy = *fields;
    bool http = (with & OBJECTS_WITH_HTTP) != 0;
    bool custom = (with & OBJECTS_WITH_CUSTOM) != 0 && fields->custom.len > 0;
    unsigned bits = 0;
    for (unsigned i = 0; http && i < TEXT_FIELDS; i++) {
        bits |= text_field(&copy, i)->data != NULL ? 1u << i : 0;
    }
    if (http && fields->cache_expiry_ms != BND_OBJECT_NO_TIME) {
        bits |= FIELD_CACHE_EXPIRY;
    }
    bits |= fields->storage_class.data != NULL ? FIELD_STORAGE_CLASS : 0;
    bits |= custom ? FIELD_CUSTOM : 0;
    bnd_buf_u8(out, (uint8_t)bits);
    for (unsigned i = 0; i < TEXT_FIELDS; i++) {
        if ((bits & (1u << i)) != 0) {
            bnd_buf_bytes(out, *text_field(&copy, i));
        }
    }
    if ((bits & FIELD_CACHE_EXPIRY) != 0) {
        bnd_buf_u64(out, fields->cache_expiry_ms);
    }
    if ((bits & FIELD_STORAGE_CLASS) != 0) {
        bnd_buf_bytes(out, fields->storage_class);
    }
    if ((bits & FIELD_CUSTOM) != 0) {
        bnd_buf_bytes(out, fields->custom);
    }
}

void objects_fields_read(struct bnd_reader *r, struct bnd_object_fields *out) {
    *out = bnd_object_fields_none();
    unsigned bits = bnd_read_u8(r);
    for (unsigned i = 0; i < TEXT_FIELDS; i++) {
        if ((bits & (1u << i)) != 0) {
            *text_field(out, i) = bnd_read_bytes(r);
        }
    }
    if ((bits & FIELD_CACHE_EXPIRY) != 0) {
        out->cache_expiry_ms = bnd_read_u64(r);
    }
    if ((bits & FIELD_STORAGE_CLASS) != 0) {
        out->storage_class = bnd_read_bytes(r);
    }
    if ((bits & FIELD_CUSTOM) != 0) {
        out->custom = bnd_read_bytes(r);
    }
    if (!r->failed && objects_fields_check(out) != 0) {
        r->failed = true;
    }
}

void objects_checksums_encode(struct bnd_buf *out, const struct bnd_object_checksums *checksums) {
    bnd_buf_u8(out, checksums->present);
    bnd_buf_u8(out, checksums->composite & checksums->present);
    for (unsigned i = 0; i < BND_CHECKSUM_COUNT; i++) {
        if ((checksums->present & (1u << i)) != 0) {
            bnd_buf_append(out, checksums->value[i], bnd_checksum_bytes((enum bnd_checksum)i));
        }
    }
}

void objects_checksums_read(struct bnd_reader *r, struct bnd_object_checksums *out) {
    *out = (struct bnd_object_checksums){0};
    out->present = bnd_read_u8(r);
    out->composite = bnd_read_u8(r);
    if ((out->composite & ~out->present) != 0) {
        r->failed = true;
    }
    for (unsigned i = 0; i < BND_CHECKSUM_COUNT; i++) {
        if ((out->present & (1u << i)) != 0) {
            bnd_read_into(r, out->value[i], bnd_checksum_bytes((enum bnd_checksum)i));
        }
    }
}

void objects_manifest_encode(struct bnd_buf *out, const struct bnd_object_meta *meta,
                             struct bnd_slice body, unsigned with) {
    bool has_body = meta->profile == BND_PROFILE_INLINE && (with & OBJECTS_WITH_BODY) != 0;
    BND_ASSERT(!has_body || body.len == meta->size);
    bnd_buf_u8(out, OBJECTS_MANIFEST_FORMAT);
    bnd_buf_u8(out, (uint8_t)meta->profile);
    bnd_buf_u8(out, meta->profile == BND_PROFILE_INLINE && !has_body ? FLAG_NO_BODY : 0);
    bnd_buf_append(out, meta->version, sizeof meta->version);
    bnd_buf_u64(out, meta->size);
    bnd_buf_u64(out, meta->uploaded_ms);
    bnd_buf_append(out, meta->etag_md5, sizeof meta->etag_md5);
    bnd_buf_u32(out, meta->parts);
    objects_checksums_encode(out, &meta->checksums);
    objects_fields_encode(out, &meta->fields, with);
    if (has_body) {
        bnd_buf_append_slice(out, body);
    }
}

void objects_manifest_stamp(uint8_t *manifest, uint64_t uploaded_ms) {
    bnd_put_u64(manifest + UPLOADED_OFFSET, uploaded_ms);
}

static bool shape_ok(const struct bnd_object_meta *meta, unsigned flags, size_t body_len) {
    switch (meta->profile) {
    case BND_PROFILE_INLINE:
        if (meta->parts != 0 || meta->size > BND_OBJECT_INLINE_MAX || flags > FLAG_NO_BODY) {
            return false;
        }
        return body_len == ((flags & FLAG_NO_BODY) != 0 ? 0 : meta->size);
    case BND_PROFILE_COPIES:
        return meta->parts == 0 && meta->size <= BND_OBJECT_BODY_MAX && flags == 0 && body_len == 0;
    case BND_PROFILE_PARTS:
        return meta->parts >= 1 && meta->parts <= BND_OBJECT_PARTS_MAX &&
               meta->size <= BND_OBJECT_SIZE_MAX && flags == 0 && body_len == 0;
    }
    return false;
}

int objects_manifest_decode(struct bnd_slice bytes, struct bnd_object_meta *out,
                            struct bnd_slice *out_body) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_object_meta meta = {0};
    uint8_t format = bnd_read_u8(&r);
    uint8_t profile = bnd_read_u8(&r);
    uint8_t flags = bnd_read_u8(&r);
    if (format != OBJECTS_MANIFEST_FORMAT) {
        return BND_CORRUPT;
    }
    meta.profile = (enum bnd_object_profile)profile; /* shape_ok knows them */
    bnd_read_into(&r, meta.version, sizeof meta.version);
    meta.size = bnd_read_u64(&r);
    meta.uploaded_ms = bnd_read_u64(&r);
    bnd_read_into(&r, meta.etag_md5, sizeof meta.etag_md5);
    meta.parts = bnd_read_u32(&r);
    objects_checksums_read(&r, &meta.checksums);
    objects_fields_read(&r, &meta.fields);
    if (r.failed || !shape_ok(&meta, flags, r.rest.len)) {
        return BND_CORRUPT;
    }
    bool has_body = meta.profile == BND_PROFILE_INLINE && (flags & FLAG_NO_BODY) == 0;
    /* rest.data points behind the fields even when the body is empty */
    *out_body = has_body ? r.rest : bnd_slice(NULL, 0);
    *out = meta;
    return 0;
}

void objects_segment_encode(struct bnd_buf *out, const struct objects_segment *segment) {
    bnd_buf_append(out, segment->version, sizeof segment->version);
    bnd_buf_u64(out, segment->size);
}

bool objects_segment_next(struct bnd_reader *r, struct objects_segment *out) {
    if (r->failed || r->rest.len == 0) {
        return false;
    }
    struct objects_segment segment;
    bnd_read_into(r, segment.version, sizeof segment.version);
    segment.size = bnd_read_u64(r);
    if (r->failed) {
        return false;
    }
    *out = segment;
    return true;
}

int objects_segments_check(struct bnd_slice segments, uint32_t parts, uint64_t size) {
    struct bnd_reader r = bnd_reader(segments);
    struct objects_segment segment;
    uint64_t total = 0;
    uint32_t count = 0;
    while (objects_segment_next(&r, &segment)) {
        if (segment.size > BND_OBJECT_BODY_MAX || ++count > parts) {
            return BND_CORRUPT;
        }
        total += segment.size;
    }
    return bnd_reader_done(&r) && count == parts && total == size ? 0 : BND_CORRUPT;
}

void objects_part_encode(struct bnd_buf *out, const struct bnd_multipart_part *part) {
    bnd_buf_u32(out, part->number);
    bnd_buf_u64(out, part->size);
    bnd_buf_u64(out, part->uploaded_ms);
    bnd_buf_append(out, part->version, sizeof part->version);
    bnd_buf_append(out, part->etag_md5, sizeof part->etag_md5);
    objects_checksums_encode(out, &part->checksums);
}

void objects_part_read(struct bnd_reader *r, struct bnd_multipart_part *out) {
    out->number = bnd_read_u32(r);
    out->size = bnd_read_u64(r);
    out->uploaded_ms = bnd_read_u64(r);
    bnd_read_into(r, out->version, sizeof out->version);
    bnd_read_into(r, out->etag_md5, sizeof out->etag_md5);
    objects_checksums_read(r, &out->checksums);
    if (out->number == 0 || out->number > BND_OBJECT_PARTS_MAX || out->size > BND_OBJECT_BODY_MAX) {
        r->failed = true;
    }
}

void objects_upload_encode(struct bnd_buf *out, const struct objects_upload_record *record) {
    bnd_buf_u64(out, record->initiated_ms);
    bnd_buf_u8(out, record->checksum);
    bnd_buf_u8(out, record->composite ? 1 : 0);
    objects_fields_encode(out, &record->fields, OBJECTS_WHOLE);
}

int objects_upload_decode(struct bnd_slice bytes, struct objects_upload_record *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct objects_upload_record record;
    record.initiated_ms = bnd_read_u64(&r);
    record.checksum = bnd_read_u8(&r);
    uint8_t composite = bnd_read_u8(&r);
    record.composite = composite == 1;
    objects_fields_read(&r, &record.fields);
    if (!bnd_reader_done(&r) || composite > 1) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

void objects_body_encode(struct bnd_buf *out, const struct objects_body_record *record) {
    BND_ASSERT(record->have_count <= BND_REPLICAS_MAX);
    bnd_buf_u64(out, record->size);
    bnd_buf_u64(out, record->free_after_ms);
    bnd_buf_u8(out, record->have_count);
    for (unsigned i = 0; i < record->have_count; i++) {
        bnd_buf_u64(out, record->have[i]);
    }
}

void objects_body_read(struct bnd_reader *r, struct objects_body_record *out) {
    *out = (struct objects_body_record){0};
    out->size = bnd_read_u64(r);
    out->free_after_ms = bnd_read_u64(r);
    uint8_t count = bnd_read_u8(r);
    if (count > BND_REPLICAS_MAX || out->size > BND_OBJECT_BODY_MAX) {
        r->failed = true;
        return;
    }
    out->have_count = count;
    for (unsigned i = 0; i < count; i++) {
        out->have[i] = bnd_read_u64(r);
    }
}

int objects_body_decode(struct bnd_slice bytes, struct objects_body_record *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct objects_body_record record;
    objects_body_read(&r, &record);
    if (!bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}
