/* The journal: one durable, ordered log for all Raft groups of a node (architecture 7; SPEC.md,
 * "Journal").
 *
 * Records are collected in memory; bnd_journal_submit writes what is collected as one checksummed
 * batch with one O_DIRECT + DSYNC write; while it is under way the next batch collects (group
 * commit). Each record gets a log sequence number (lsn), rising by 1; `durable` tells the highest
 * lsn below which all is on disk.
 *
 * What it promises:
 *  1. After `durable(lsn)` every record up to lsn is found again by bnd_journal_open, in order.
 *  2. A batch is found whole or not at all. Damage in the last batch is a torn tail and is dropped;
 *     damage before a valid later batch is BND_CORRUPT with file and offset; old bytes of a
 *     recycled segment never look valid (the segment's generation seeds every checksum).
 *  3. Any write error is final: `failed` is called once, nothing is answered after it, and the
 *     process stops.
 *  4. Recycling forgets nothing: segments open with a checkpoint of every group's term, vote, start
 *     and configuration; live entries of a segment to be recycled are rewritten first. A rewrite
 *     never implies truncation.
 *  5. A destroyed group's term, vote and floor stay known, so that a group made again cannot vote
 *     twice in a term, or for less than it had acknowledged.
 *
 * One loop owns a journal. It does not log and does not know Raft's rules; it keeps, per group,
 * term, vote, start (index, term, slot, configuration) and the entries above start. */
#ifndef BND_ENGINE_JOURNAL_H
#define BND_ENGINE_JOURNAL_H

#include "base/env.h"
#include "base/histogram.h"

struct bnd_journal;

#define BND_JOURNAL_SEGMENT_BYTES (UINT64_C(64) << 20) /* by default */

struct bnd_journal_config {
    struct bnd_env *env;  /* borrowed for the journal's life */
    const char *dir;      /* copied; made if missing */
    uint64_t cluster_id;  /* written into every segment; another one at open is BND_DENIED */
    uint64_t node_id;     /* likewise */
    size_t segment_bytes; /* multiple of BND_DIRECT_ALIGN; 0: 64 MiB */
    /* Most bytes of one batch; 0: 4 MiB. A record must fit: else BND_TOOBIG. */
    size_t batch_bytes_max;
    /* Records collected and not yet durable; above it calls answer BND_FULL; 0: 64 MiB. */
    size_t queue_bytes_max;
    /* A write unanswered for this long of running-loop time is `failed`; 0: 3 s. */
    uint64_t hang_ns;
    void *owner;
    /* All records up to lsn are durable. On the loop, never from inside a call. */
    void (*durable)(void *owner, uint64_t lsn);
    /* Final. The process must stop (status 75). */
    void (*failed)(void *owner, const struct bnd_error *why);
};

/* One Raft entry. kind is the caller's (the library's entry type). */
struct bnd_journal_entry {
    uint64_t index;
    uint64_t term;
    uint8_t kind;
    struct bnd_slice data;
};

/* Where a group's log begins: entries start at index + 1. For a new group index and term are 0. */
struct bnd_journal_start {
    uint64_t index;
    uint64_t term;
    uint32_t slot;           /* the state slot that holds everything up to index */
    struct bnd_slice config; /* encoded configuration as of index; may be empty for index 0 */
    uint64_t config_index;
};

/* Where the log of a destroyed group ended: what was acknowledged up to there is gone, and the
 * group, made again under this id, still answers for it (raft/guard.h, G9). Index 0: there is none.
 */
struct bnd_journal_floor {
    uint64_t index;
    uint64_t term;
};

/* A group as recovered. */
struct bnd_journal_group {
    uint64_t gid;
    bool exists; /* false: destroyed, only term, vote and floor are meaningful */
    uint64_t term;
    uint64_t vote;
    struct bnd_journal_floor floor; /* of the last time it was destroyed */
    struct bnd_journal_start start;
    const struct bnd_journal_entry *entries; /* consecutive, from start.index + 1 */
    size_t entries_count;
};

struct bnd_journal_stats {
    uint64_t lsn_last, lsn_durable;
    uint64_t batches, bytes_written, bytes_queued;
    uint64_t segments, segments_free, rewritten_records;
    uint64_t torn_bytes;         /* dropped by the last open */
    struct bnd_histogram writes; /* from a write's submission to its being durable */
};

/* Opens or makes the journal in config->dir and scans all of it (blocking). On success *out is
 * owned by the caller. BND_CORRUPT: damage before a valid later batch. BND_VERSION: a newer format.
 * BND_DENIED: another cluster's or node's. BND_IO, BND_NOSPACE, BND_NOMEM. On failure the files are
 * untouched. */
int bnd_journal_open(const struct bnd_journal_config *config, struct bnd_journal **out,
                     struct bnd_error *err);

/* Reads the journal of a stopped node as bnd_journal_open would, changes no file, and calls
 * each(group) for every recovered group in order of gid, with data borrowed for the call. A
 * directory that is not there is BND_NOTFOUND; errors of bnd_journal_open; a non-zero return of
 * each stops and is returned. out (may be NULL): bytes that a torn last write left. Blocking. Of
 * config only env, dir, cluster_id and node_id are looked at. */
int bnd_journal_read(const struct bnd_journal_config *config,
                     int (*each)(void *data, const struct bnd_journal_group *group), void *data,
                     struct bnd_journal_stats *out, struct bnd_error *err);

/* Finishes the write under way, then frees everything; records not submitted are forgotten.
 * `closed` comes last, later. NULL journal: returns at once, no callback. */
void bnd_journal_close(struct bnd_journal *journal, void (*closed)(void *data), void *data);

/* Calls each(group) for every recovered group, in order of gid, with borrowed data that stays valid
 * until bnd_journal_recovered. A non-zero return stops and is returned. */
int bnd_journal_each_group(struct bnd_journal *journal,
                           int (*each)(void *data, const struct bnd_journal_group *group),
                           void *data);

/* Frees the recovered entries; call once, after the groups were read. */
void bnd_journal_recovered(struct bnd_journal *journal);

/* Each of these collects one record and sets *out_lsn (may be NULL). They copy their data. Order of
 * calls is order on disk. Errors, with nothing collected: BND_FULL (queue bound; an entry:
 * 4,194,304 of its group stand above start), BND_TOOBIG, BND_NOMEM, BND_INVALID (the record may not
 * follow: no such group, a term below the current one, an index other than said below), BND_IO (the
 * journal has failed). */

/* The next `records` records, with data_bytes of entry data and configurations in all, go into one
 * batch: after a crash all of them are there or none. For calls that follow at once, from the same
 * callback. Errors as above, with nothing collected; BND_TOOBIG: no batch holds so many. */
int bnd_journal_together(struct bnd_journal *journal, size_t records, size_t data_bytes);

/* Makes a group (or makes a destroyed one again: term, vote and floor are kept). */
int bnd_journal_create(struct bnd_journal *journal, uint64_t gid,
                       const struct bnd_journal_start *start, uint64_t *out_lsn);
int bnd_journal_destroy(struct bnd_journal *journal, uint64_t gid,
                        const struct bnd_journal_floor *floor, uint64_t *out_lsn);
int bnd_journal_meta(struct bnd_journal *journal, uint64_t gid, uint64_t term, uint64_t vote,
                     uint64_t *out_lsn);
/* entry->index must be the group's last index + 1. */
int bnd_journal_append(struct bnd_journal *journal, uint64_t gid,
                       const struct bnd_journal_entry *entry, uint64_t *out_lsn);
/* Drops entries from `index` on; index must be above start.index. */
int bnd_journal_truncate(struct bnd_journal *journal, uint64_t gid, uint64_t index,
                         uint64_t *out_lsn);
/* Compaction: entries up to start->index are no longer needed (the state slot holds them,
 * persisted). Entries above stay. start->index must not be below the current one. */
int bnd_journal_compact(struct bnd_journal *journal, uint64_t gid,
                        const struct bnd_journal_start *start, uint64_t *out_lsn);
/* Snapshot installed: the whole log is replaced by start; no entry stays. One record, so that slot
 * and log switch together. */
int bnd_journal_install(struct bnd_journal *journal, uint64_t gid,
                        const struct bnd_journal_start *start, uint64_t *out_lsn);

/* Starts writing what is collected, unless a write is under way (then it follows by itself). */
void bnd_journal_submit(struct bnd_journal *journal);

/* The highest durable lsn. */
uint64_t bnd_journal_durable(const struct bnd_journal *journal);

/* Bytes of records collected and not durable yet. */
uint64_t bnd_journal_queued(const struct bnd_journal *journal);

void bnd_journal_stats(const struct bnd_journal *journal, struct bnd_journal_stats *out);

/* Read-only look at a journal's files for `bindery inspect`: survives corruption, calls print(line)
 * for each header, batch and record, decoding as much as possible. */
struct bnd_journal_look {
    const char *dir;
    bool records;
    bool json; /* each line is a JSON object */
    void (*print)(void *data, const char *line);
    void *data;
};
int bnd_journal_inspect(struct bnd_env *env, const struct bnd_journal_look *look,
                        struct bnd_error *err);

#endif
