/* The journal's inside, shared by its files only.
 *
 * Vocabulary: a record is *collected* into the open batch; a batch is *sealed* into the queue and
 * *written*; a segment is *planned* (a struct and a generation), *ready* (its file exists),
 * *collecting* (the open batch goes there), *retired* (its file became a free one). Order of the
 * list `segments`: retired first ones are gone; old ones; collecting; planned or ready spares. */
#ifndef BND_ENGINE_JOURNAL_PRIVATE_H
#define BND_ENGINE_JOURNAL_PRIVATE_H

#include "base/alloc.h"
#include "base/queue.h"
#include "engine/journal/format.h"

#include <inttypes.h>

#define JOURNAL_DIR_MAX 1024
#define JOURNAL_PATH_MAX (JOURNAL_DIR_MAX + 32)
#define JOURNAL_FREE_MAX 4      /* free files kept for recycling; more are removed */
#define JOURNAL_SPARE_BATCHES 3 /* batch buffers kept for use again */
#define JOURNAL_HANG_TICKS 8    /* a hang is this many timer ticks without an answer */
#define JOURNAL_RETRY_NS                                                                           \
    (10 * BND_MS)            /* pool full or no memory for background work: look again after this */
#define JOURNAL_CLOSED_MIN 2 /* old segments below which nothing is relocated */

struct journal_segment {
    struct bnd_link link;
    struct journal_place place; /* salt, generation; its offset is unused */
    uint64_t bytes;
    uint64_t end;          /* where the next sealed batch goes */
    uint64_t batch_last;   /* last batch sealed into it; 0: none */
    uint64_t live_count;   /* entries needed by a group that stand here */
    uint64_t live_bytes;   /* about: a partly dropped run counts its mean */
    uint64_t dead_batch;   /* batch whose records ended the need for the last live entry */
    bool anchor;           /* begins with CHECKPOINT_BEGIN */
    uint64_t anchor_batch; /* batch of its CHECKPOINT_END; 0: none yet */
    struct bnd_file *file; /* NULL: planned */
    uint8_t *data;         /* recovery only: the file's content, borrowed by recovered entries */
    size_t data_len;
};

/* Consecutive entries of a group that stand in one segment, in order. A record of index i at offset
 * `at` of the segment is the live one iff a run of that segment holds i and at >= run.at. */
struct journal_run {
    struct journal_segment *segment;
    uint64_t first;
    uint64_t count;
    uint64_t at; /* offset of the first entry when the run began; never rises */
    uint64_t bytes;
    bool ended; /* a truncation cut it: it may not grow, older copies of its next index may follow
                   it */
};

struct journal_group {
    uint64_t gid;
    bool exists;
    uint64_t term;
    uint64_t vote;
    struct bnd_journal_floor floor;
    struct bnd_journal_start start; /* config is owned */
    uint64_t last;
    struct journal_run *runs; /* ascending; holes between them only during recovery */
    size_t runs_count;
    size_t runs_cap;
    /* Recovery only: entries[i] is of index entries_base + i; index 0 marks a hole; what lies
     * outside (start.index, last] is stale. */
    struct bnd_journal_entry *entries;
    uint64_t entries_base;
    size_t entries_count;
    size_t entries_cap;
};

/* Where a collected record stands. */
struct journal_spot {
    struct journal_segment *segment;
    uint64_t at;
    uint64_t batch;
};

struct journal_batch {
    struct bnd_link link;
    uint8_t *data; /* aligned; journal->batch_bytes long */
    size_t length;
    size_t room; /* most length here: by the batch bound and the segment's end */
    uint64_t number;
    struct journal_segment *segment;
    uint64_t offset;
    uint32_t records;
    uint64_t lsn_last;
    size_t queued; /* bytes counted in bytes_queued */
};

/* The one job on the pool: making the next segment, or retiring the oldest. */
struct journal_job {
    struct bnd_work work;
    bool busy;
    bool waiting;                    /* decided, but the pool was full */
    struct journal_segment *prepare; /* NULL: retire */
    uint64_t free_number;  /* prepare: the free file to recycle, 0: none; retire: the file */
    bool keep;             /* retire: keep the file as a free one */
    struct bnd_file *file; /* out */
    int rv;
    struct bnd_error err;
};

struct journal_relocation {
    struct bnd_io io;
    bool busy;
    struct journal_segment *segment; /* NULL: none under way */
    uint64_t offset;                 /* of the next batch to look at */
    uint64_t wait_batch;             /* go on once this batch is durable */
    uint8_t *data;
    size_t cap;
    size_t len;
};

struct bnd_journal {
    struct bnd_journal_config config; /* dir is owned */
    struct bnd_env *env;
    size_t batch_bytes;
    uint64_t segment_bytes;

    struct journal_group **slots; /* open hash by gid */
    size_t slots_count;
    size_t groups_count;

    struct bnd_link segments;
    struct journal_segment *collecting;
    uint64_t free_numbers[JOURNAL_FREE_MAX];
    size_t free_count;

    struct journal_batch *open;
    struct bnd_link sealed;
    struct bnd_link spare;
    size_t spare_count;
    struct journal_batch *writing;
    struct bnd_io write_io;
    bool submitted; /* the open batch is to be written */
    bool checkpointing;
    uint64_t checkpoint_bytes; /* of the groups in the last checkpoint: what a rollover costs */
    uint64_t since_checkpoint; /* bytes of other records collected since */

    uint64_t batch_next;
    uint64_t batch_durable;
    uint64_t lsn_last;
    uint64_t lsn_durable;
    size_t bytes_queued;
    uint64_t batches;
    uint64_t bytes_written;
    uint64_t rewritten;
    uint64_t torn_bytes;

    struct journal_job job;
    struct journal_relocation relocation;
    struct bnd_histogram writes;
    uint64_t write_since_ns;
    struct bnd_timer hang_timer;
    unsigned hang_ticks;
    struct bnd_timer retry_timer;

    bool failed;
    bool fail_pending;
    struct bnd_error why;
    struct bnd_task fail_task;
    bool closing;
    bool close_pending;
    struct bnd_task close_task;
    void (*closed)(void *data);
    void *closed_data;
};

/* ---- journal.c
 * ------------------------------------------------------------------------------------- */

/* Final: `failed` comes once, from the loop. The first reason wins. */
void journal_fail(struct bnd_journal *journal, const struct bnd_error *why);
/* Frees the journal if it is closing and nothing is under way any more. */
void journal_close_step(struct bnd_journal *journal);
static inline bool journal_stopped(const struct bnd_journal *journal) {
    return journal->failed || journal->closing;
}
/* Background work that waits: relocation, preparing, retiring. After each change that may let it go
 * on. */
void journal_background(struct bnd_journal *journal);
void journal_retry_later(struct bnd_journal *journal);

/* ---- groups.c
 * -------------------------------------------------------------------------------------- */

struct journal_group *journal_group_find(const struct bnd_journal *journal, uint64_t gid);
bool journal_groups_reserve(
    struct bnd_journal *journal); /* room for one more insert; false: no memory */
void journal_group_insert(struct bnd_journal *journal, struct journal_group *group); /* takes */
void journal_group_free(struct journal_group *group);
/* Owned array of all groups by rising gid, or NULL (no memory). */
struct journal_group **journal_groups_sorted(const struct bnd_journal *journal);

bool journal_group_reserve_run(struct journal_group *group); /* room for two more runs */
/* The entry of this index stands at spot from now on: last + 1 (append), a hole (recovery) or a
 * known one (rewrite). The run must be reserved. */
void journal_group_place(struct journal_group *group, uint64_t index,
                         const struct journal_spot *spot, size_t bytes);
/* True if the record of index at offset `at` of segment is the one the group needs. */
bool journal_group_needs(const struct journal_group *group, uint64_t index,
                         const struct journal_segment *segment, uint64_t at);
/* Drop entries; `batch` holds the record that says so. */
void journal_group_drop_from(struct journal_group *group, uint64_t index, uint64_t batch);
void journal_group_drop_to(struct journal_group *group, uint64_t index, uint64_t batch);
/* Takes the config copy (may be NULL) as the group's; start is copied. */
void journal_group_set_start(struct journal_group *group, const struct bnd_journal_start *start,
                             uint8_t *config);

/* Applies a checked record to its group, except placing entries: the same code for calls and
 * recovery. config: owned copy of record->start.config, taken. */
void journal_group_apply(struct journal_group *group, const struct journal_record *record,
                         uint8_t *config, uint64_t batch);
/* 0, or BND_INVALID with what is wrong: may this record follow in the log? group NULL: unknown. */
int journal_group_check(const struct journal_group *group, const struct journal_record *record,
                        struct bnd_error *err);

/* ---- writer.c
 * -------------------------------------------------------------------------------------- */

/* Collects a record. Client records (journal_kind_has_lsn) get an lsn and count for the queue
 * bound. BND_FULL, BND_TOOBIG, BND_NOMEM: nothing collected; BND_IO: the journal has failed. */
int journal_collect(struct bnd_journal *journal, const struct journal_record *record,
                    struct journal_spot *out);
/* Collects a whole checkpoint of the groups as they are now; `segment` is its anchor (NULL: none).
 */
int journal_checkpoint(struct bnd_journal *journal, struct journal_segment *segment);
/* Starts the next write if none is under way and one is wanted. */
void journal_write_next(struct bnd_journal *journal);
void journal_batch_free(struct journal_batch *batch);
void journal_hang_tick(struct bnd_timer *timer);

/* ---- segments.c
 * ------------------------------------------------------------------------------------ */

enum journal_file { JOURNAL_FILE_SEGMENT, JOURNAL_FILE_FREE, JOURNAL_FILE_TMP, JOURNAL_FILE_OTHER };

void journal_path(const char *dir, uint64_t number, enum journal_file kind,
                  char out[JOURNAL_PATH_MAX]);
enum journal_file journal_file_parse(const char *name, uint64_t *out_number);
/* Plans the segment after the last one. NULL: no memory. */
struct journal_segment *journal_segment_plan(struct bnd_journal *journal);
void journal_segment_free(struct bnd_journal *journal, struct journal_segment *segment);
/* Makes the segment's file, from the free file `free_number` if not 0. Blocking, any thread. */
int journal_segment_make(struct bnd_journal *journal, const struct journal_segment *segment,
                         uint64_t free_number, struct bnd_file **out, struct bnd_error *err);
struct journal_segment *journal_segment_next(const struct bnd_journal *journal,
                                             const struct journal_segment *segment);
static inline struct journal_segment *journal_segment_of(struct bnd_link *link) {
    return BND_CONTAINER(link, struct journal_segment, link);
}
static inline struct journal_segment *journal_segment_oldest(const struct bnd_journal *journal) {
    return journal_segment_of(journal->segments.next);
}
/* Starts preparing or retiring, if something is to be done and the job is idle. */
void journal_segments_work(struct bnd_journal *journal);

/* ---- recover.c
 * ------------------------------------------------------------------------------------- */

/* Reads all of the journal into the (empty) object without changing a file. */
struct journal_scan {
    uint64_t *numbers; /* scratch: generations present, rising */
    size_t count;
    size_t cap;
    uint64_t tmp_numbers[16];
    size_t tmp_count;
    bool incomplete;                /* the log ends inside a checkpoint */
    struct journal_segment *anchor; /* of the checkpoint being read, or NULL */
    bool anchored;                  /* the groups are known */
    bool restoring;              /* inside the first checkpoint of a log whose beginning is gone */
    uint64_t checkpoint_groups;  /* CHECKPOINT_GROUPs since BEGIN */
    uint64_t checkpoint_count;   /* as said by BEGIN */
    bool ended;                  /* the end of the log is found: nothing valid may follow */
    struct journal_segment *end; /* where */
};
int journal_recover(struct bnd_journal *journal, struct journal_scan *scan, struct bnd_error *err);
/* Applies the batches in segment->data. Used by journal_recover and the fuzzer. */
int journal_recover_segment(struct bnd_journal *journal, struct journal_scan *scan,
                            struct journal_segment *segment, struct bnd_error *err);
/* Every entry between start and last must be known. */
int journal_recover_check(struct bnd_journal *journal, const struct journal_scan *scan,
                          struct bnd_error *err);
void journal_recover_forget(struct bnd_journal *journal); /* entries and file contents */

/* ---- relocate.c
 * ------------------------------------------------------------------------------------ */

/* Begins or goes on rewriting the live entries of the oldest segment, if that is worth it. */
void journal_relocate(struct bnd_journal *journal);

#endif
