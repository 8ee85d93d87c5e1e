/* The journal's bytes (SPEC.md, "Journal"): pure functions, used by the writer, recovery,
 * relocation, inspect and the fuzzer. Decoders take any bytes. */
#ifndef BND_ENGINE_JOURNAL_FORMAT_H
#define BND_ENGINE_JOURNAL_FORMAT_H

#include "engine/journal/journal.h"

#define JOURNAL_VERSION 2
#define JOURNAL_BLOCK 4096
#define JOURNAL_BATCH_HEADER 56
#define JOURNAL_RECORD_HEADER 16
#define JOURNAL_RECORD_FIXED_MAX 48 /* of a record with an lsn, without data */
#define JOURNAL_ENTRIES_MAX (1 << 22) /* entries of one group above its start */
#define JOURNAL_INDEX_MAX (UINT64_C(1) << 62)
_Static_assert(JOURNAL_BLOCK == BND_DIRECT_ALIGN, "a block is one direct write");

static inline uint64_t journal_padded(uint64_t bytes) {
    return (bytes + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK * JOURNAL_BLOCK;
}

struct journal_segment_header {
    uint64_t cluster_id;
    uint64_t node_id;
    uint64_t generation;
    uint64_t salt;
    uint64_t bytes;
};

void journal_segment_header_encode(const struct journal_segment_header *header,
                                   uint8_t out[JOURNAL_BLOCK]);
/* BND_CORRUPT, or BND_VERSION for a newer format; *err is without the file's name. */
int journal_segment_header_decode(struct bnd_slice block, struct journal_segment_header *out,
                                  struct bnd_error *err);

/* Where a batch stands: the seed of its hashes. */
struct journal_place {
    uint64_t salt;
    uint64_t generation;
    uint64_t offset;
};

struct journal_batch_header {
    uint32_t length; /* header and records */
    uint32_t records;
    uint64_t number;
    uint64_t lsn_last;
    uint64_t body_hash; /* set by seal */
};

/* Writes the header (its body_hash is computed) before the records, which begin at
 * batch[JOURNAL_BATCH_HEADER]. */
void journal_batch_seal(uint8_t *batch, const struct journal_place *place,
                        const struct journal_batch_header *header);
/* True if bytes begin with a valid header for this place. Says nothing about the records. */
bool journal_batch_header_decode(struct bnd_slice bytes, const struct journal_place *place,
                                 struct journal_batch_header *out);
/* True if bytes hold all records of the batch, undamaged. */
bool journal_batch_body_valid(struct bnd_slice bytes, const struct journal_place *place,
                              const struct journal_batch_header *header);

enum journal_kind {
    JOURNAL_CREATE = 1,
    JOURNAL_DESTROY = 2,
    JOURNAL_META = 3,
    JOURNAL_ENTRY = 4,
    JOURNAL_TRUNCATE = 5,
    JOURNAL_COMPACT = 6,
    JOURNAL_INSTALL = 7,
    JOURNAL_REWRITE = 8,
    JOURNAL_CHECKPOINT_BEGIN = 9,
    JOURNAL_CHECKPOINT_GROUP = 10,
    JOURNAL_CHECKPOINT_END = 11,
};

/* One record; the fields its kind does not have are 0. Slices are borrowed. */
struct journal_record {
    enum journal_kind kind;
    uint64_t gid;
    struct bnd_journal_entry entry; /* ENTRY, REWRITE; TRUNCATE: its index */
    struct bnd_journal_start start; /* CREATE, COMPACT, INSTALL, CHECKPOINT_GROUP */
    uint64_t term;                  /* META, CHECKPOINT_GROUP */
    uint64_t vote;
    bool exists; /* CHECKPOINT_GROUP */
    uint64_t last;
    struct bnd_journal_floor floor; /* DESTROY, CHECKPOINT_GROUP */
    uint64_t count;                 /* CHECKPOINT_BEGIN, _END */
};

static inline bool journal_kind_has_lsn(enum journal_kind kind) {
    return kind >= JOURNAL_CREATE && kind <= JOURNAL_INSTALL;
}
const char *journal_kind_name(enum journal_kind kind);
size_t journal_record_bytes(const struct journal_record *record);
/* Writes exactly journal_record_bytes(record). */
void journal_record_encode(const struct journal_record *record, uint8_t *out);
/* Takes one record off *rest. BND_CORRUPT leaves *rest and *out as they were. */
int journal_record_decode(struct bnd_slice *rest, struct journal_record *out);

#endif
