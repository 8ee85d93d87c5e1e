/* Records: what is stored under a key, and their bytes on disk and on the wire (SPEC.md, "KV"). */
#ifndef BND_KV_RECORD_H
#define BND_KV_RECORD_H

#include "base/bytes.h"
#include "base/error.h"
#include "kv/kv.h"

#define KV_BLOB_ID_BYTES 16u
#define KV_RECORD_HEADER_BYTES 36u
#define KV_RECORD_BYTES_MAX (KV_RECORD_HEADER_BYTES + BND_KV_METADATA_MAX + BND_KV_INLINE_MAX)

/* The slot of a shard's state, above all that Raft gives out. */
#define KV_SLOT(shard) (UINT32_C(0x80000000) | (shard))

enum kv_record_flags {
    KV_RECORD_TOMBSTONE = 1, /* no metadata, no value */
    KV_RECORD_BLOB = 2,      /* the value is in pieces under `blob` */
    KV_RECORD_SPLIT = 4,     /* in the state only: the value is under a key of its own */
};

struct kv_record {
    struct bnd_kv_version version;
    uint32_t epoch; /* of the shard's map, as the coordinator had it */
    uint8_t flags;
    uint64_t expires_ms; /* 0: never */
    uint32_t size;       /* of the value */
    struct bnd_slice metadata;
    struct bnd_slice value; /* empty with BLOB and SPLIT */
    uint8_t blob[KV_BLOB_ID_BYTES];
};

static inline int kv_version_cmp(struct bnd_kv_version a, struct bnd_kv_version b) {
    if (a.hlc != b.hlc) {
        return a.hlc < b.hlc ? -1 : 1;
    }
    return a.writer < b.writer ? -1 : a.writer > b.writer;
}

/* What decides whether a key has a value: known of every record without its value. */
struct kv_seen {
    struct bnd_kv_version version; /* hlc 0: there is no record */
    uint64_t expires_ms;
    bool tombstone;
};

static inline struct kv_seen kv_record_seen(const struct kv_record *record) {
    return (struct kv_seen){.version = record->version,
                            .expires_ms = record->expires_ms,
                            .tombstone = (record->flags & KV_RECORD_TOMBSTONE) != 0};
}
/* A reader finds nothing: none, deleted, or expired at this time. */
static inline bool kv_seen_absent(struct kv_seen seen, uint64_t now_ms) {
    return seen.version.hlc == 0 || seen.tombstone ||
           (seen.expires_ms != 0 && seen.expires_ms <= now_ms);
}
/* Dead below the horizon (ADR 0090, "Tree"): the same for everybody, whatever the time is. Such a
 * record may be deleted once the horizon is collected, and counts in no tree. */
static inline bool kv_seen_dead(struct kv_seen seen, uint64_t horizon) {
    return seen.version.hlc != 0 && seen.version.hlc < horizon &&
           (seen.tombstone || (seen.expires_ms != 0 && seen.expires_ms <= horizon >> 16));
}

/* Bytes that kv_record_encode makes. */
size_t kv_record_bytes(const struct kv_record *record);
/* Writes exactly kv_record_bytes bytes. */
void kv_record_encode(const struct kv_record *record, uint8_t *out);
/* out borrows. BND_CORRUPT for what is not exactly one record. */
int kv_record_decode(struct bnd_slice bytes, struct kv_record *out);

#endif
