/* The stored form of an object: manifest, segments, and the records beside them (SPEC.md,
 * "Objects").
 *
 * Codecs only: no state, no I/O. Decoders accept any bytes and give views that borrow from them. */
#ifndef BND_OBJECTS_MANIFEST_H
#define BND_OBJECTS_MANIFEST_H

#include "objects/objects.h"

enum { OBJECTS_MANIFEST_FORMAT = 1 };

/* How much of a manifest is written. */
enum objects_manifest_part {
    OBJECTS_WITH_HTTP = 1,
    OBJECTS_WITH_CUSTOM = 2,
    OBJECTS_WITH_BODY = 4, /* of an INLINE object */
    OBJECTS_WHOLE = 7,
};

/* Appends the manifest of meta. body: of an INLINE object, of meta->size bytes. */
void objects_manifest_encode(struct bnd_buf *out, const struct bnd_object_meta *meta,
                             struct bnd_slice body, unsigned with);

/* Decodes what encode wrote: *out_body has data NULL if the body was left out. BND_CORRUPT for
 * anything else, a number or length outside its bounds, or bytes left over. Outputs untouched then.
 */
int objects_manifest_decode(struct bnd_slice bytes, struct bnd_object_meta *out,
                            struct bnd_slice *out_body);

/* Sets uploaded_ms in an encoded manifest, in place. */
void objects_manifest_stamp(uint8_t *manifest, uint64_t uploaded_ms);

/* BND_INVALID if a field is above its bound or custom metadata is not well packed. */
int objects_fields_check(const struct bnd_object_fields *fields);

/* The fields alone, as in a manifest: for the record of an upload in parts. */
void objects_fields_encode(struct bnd_buf *out, const struct bnd_object_fields *fields,
                           unsigned with);
void objects_fields_read(struct bnd_reader *r, struct bnd_object_fields *out);
void objects_checksums_encode(struct bnd_buf *out, const struct bnd_object_checksums *checksums);
void objects_checksums_read(struct bnd_reader *r, struct bnd_object_checksums *out);

/* One body of an object made of parts. The record of all is the segments one after the other. */
struct objects_segment {
    uint8_t version[BND_OBJECT_ID_BYTES];
    uint64_t size;
};
#define OBJECTS_SEGMENT_BYTES (BND_OBJECT_ID_BYTES + 8)

void objects_segment_encode(struct bnd_buf *out, const struct objects_segment *segment);
/* False at the end, or when too few bytes are left (r->failed). */
bool objects_segment_next(struct bnd_reader *r, struct objects_segment *out);
/* 0 if the record holds `parts` segments that add up to size. BND_CORRUPT. */
int objects_segments_check(struct bnd_slice segments, uint32_t parts, uint64_t size);

/* A part of an upload. */
void objects_part_encode(struct bnd_buf *out, const struct bnd_multipart_part *part);
void objects_part_read(struct bnd_reader *r, struct bnd_multipart_part *out);

/* An upload in parts, begun. */
struct objects_upload_record {
    uint64_t initiated_ms;
    uint8_t checksum;
    bool composite;
    struct bnd_object_fields fields;
};
void objects_upload_encode(struct bnd_buf *out, const struct objects_upload_record *record);
int objects_upload_decode(struct bnd_slice bytes, struct objects_upload_record *out);

/* A body in the body store, as the group knows it. */
struct objects_body_record {
    uint64_t size;
    uint64_t free_after_ms; /* 0: referenced; else nothing refers to it but readers, until then */
    uint8_t have_count;     /* nodes that had it, durable, when it was committed */
    uint64_t have[BND_REPLICAS_MAX];
};
void objects_body_encode(struct bnd_buf *out, const struct objects_body_record *record);
void objects_body_read(struct bnd_reader *r, struct objects_body_record *out);
int objects_body_decode(struct bnd_slice bytes, struct objects_body_record *out);

#endif
