/* The journal's files: names, making a segment ahead of its use, retiring the oldest.
 *
 * One job is under way at most, on the pool, so that changes of the directory reach the disk in
 * order: a gap in the generations always means damage.
 *
 * Crash points of a recycled file: `.seg` to `.free` is synced before the header is overwritten,
 * the header is synced before the name is a `.seg` again. So a `.seg` has a valid header for its
 * name at every moment. Failure: any error of a job is final for the journal; a full pool is
 * retried after a while. */
#include "engine/journal/journal_private.h"

#include <stdio.h>

#define ZERO_CHUNK ((size_t)1 << 20)
#define NUMBER_DIGITS 16

static const char *const suffixes[] = {
    [JOURNAL_FILE_SEGMENT] = ".seg", [JOURNAL_FILE_FREE] = ".free", [JOURNAL_FILE_TMP] = ".tmp"};

void journal_path(const char *dir, uint64_t number, enum journal_file kind,
                  char out[JOURNAL_PATH_MAX]) {
    BND_ASSERT(kind != JOURNAL_FILE_OTHER);
    int len = snprintf(out, JOURNAL_PATH_MAX, "%s/%016" PRIx64 "%s", dir, number, suffixes[kind]);
    BND_ASSERT(len > 0 && len < JOURNAL_PATH_MAX);
}

enum journal_file journal_file_parse(const char *name, uint64_t *out_number) {
    uint64_t number = 0;
    for (int i = 0; i < NUMBER_DIGITS; i++) {
        char c = name[i];
        if (c >= '0' && c <= '9') {
            number = number << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            number = number << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return JOURNAL_FILE_OTHER;
        }
    }
    for (int kind = JOURNAL_FILE_SEGMENT; kind <= JOURNAL_FILE_TMP; kind++) {
        if (strcmp(name + NUMBER_DIGITS, suffixes[kind]) == 0) {
            *out_number = number;
            return (enum journal_file)kind;
        }
    }
    return JOURNAL_FILE_OTHER;
}

/* ---- the list
 * ---------------------------------------------------------------------------------------- */

struct journal_segment *journal_segment_next(const struct bnd_journal *journal,
                                             const struct journal_segment *segment) {
    return segment->link.next == &journal->segments ? NULL : journal_segment_of(segment->link.next);
}

struct journal_segment *journal_segment_plan(struct bnd_journal *journal) {
    struct journal_segment *segment = bnd_zalloc(sizeof *segment);
    if (segment == NULL) {
        return NULL;
    }
    segment->place.generation = 1;
    if (!bnd_list_empty(&journal->segments)) {
        segment->place.generation =
            journal_segment_of(journal->segments.prev)->place.generation + 1;
    }
    segment->place.salt = bnd_random(journal->env);
    segment->bytes = journal->segment_bytes;
    segment->end = JOURNAL_BLOCK;
    bnd_list_push(&journal->segments, &segment->link);
    return segment;
}

void journal_segment_free(struct bnd_journal *journal, struct journal_segment *segment) {
    if (segment->file != NULL) {
        journal->env->ops->file_close(journal->env, segment->file);
    }
    bnd_free(segment->data);
    bnd_free(segment);
}

/* ---- making a file: blocking, any thread
 * --------------------------------------------------------------- */

static int fill_zero(struct bnd_env *env, struct bnd_file *file, uint64_t bytes,
                     struct bnd_error *err) {
    size_t chunk = bytes < ZERO_CHUNK ? (size_t)bytes : ZERO_CHUNK;
    BND_AUTO uint8_t *zero = bnd_zalloc(chunk);
    if (zero == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to zero a segment");
    }
    int rv = 0;
    for (uint64_t at = 0; rv == 0 && at < bytes; at += chunk) {
        size_t len = bytes - at < chunk ? (size_t)(bytes - at) : chunk;
        rv = env->ops->file_pwrite(env, file, zero, len, at, err);
    }
    return rv;
}

static int fill(struct bnd_journal *journal, const struct journal_segment *segment, bool fresh,
                struct bnd_file *file, struct bnd_error *err) {
    struct bnd_env *env = journal->env;
    uint8_t blocks[2 * JOURNAL_BLOCK] = {0};
    journal_segment_header_encode(
        &(struct journal_segment_header){.cluster_id = journal->config.cluster_id,
                                         .node_id = journal->config.node_id,
                                         .generation = segment->place.generation,
                                         .salt = segment->place.salt,
                                         .bytes = segment->bytes},
        blocks);
    int rv = fresh ? fill_zero(env, file, segment->bytes, err) : 0;
    if (rv == 0) {
        rv = env->ops->file_pwrite(env, file, blocks, sizeof blocks, 0, err);
    }
    return rv == 0 ? env->ops->file_sync(env, file, err) : rv;
}

int journal_segment_make(struct bnd_journal *journal, const struct journal_segment *segment,
                         uint64_t free_number, struct bnd_file **out, struct bnd_error *err) {
    struct bnd_env *env = journal->env;
    const char *dir = journal->config.dir;
    bool fresh = free_number == 0;
    char from[JOURNAL_PATH_MAX];
    char path[JOURNAL_PATH_MAX];
    journal_path(dir, segment->place.generation, JOURNAL_FILE_SEGMENT, path);
    if (fresh) {
        journal_path(dir, segment->place.generation, JOURNAL_FILE_TMP, from);
    } else {
        journal_path(dir, free_number, JOURNAL_FILE_FREE, from);
    }
    struct bnd_file *file = NULL;
    unsigned flags = BND_OPEN_WRITE | (fresh ? BND_OPEN_CREATE : 0);
    int rv = env->ops->file_open(env, from, flags, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = fill(journal, segment, fresh, file, err);
    env->ops->file_close(env, file);
    if (rv == 0) {
        rv = env->ops->rename(env, from, path, err);
    }
    if (rv == 0) {
        rv = env->ops->dir_sync(env, dir, err);
    }
    if (rv == 0) {
        rv = env->ops->file_open(env, path, BND_OPEN_READ | BND_OPEN_WRITE | BND_OPEN_DIRECT, out,
                                 err);
    }
    return rv;
}

/* ---- the job
 * ----------------------------------------------------------------------------------------- */

static int retire(struct bnd_journal *journal, struct journal_job *job) {
    struct bnd_env *env = journal->env;
    char path[JOURNAL_PATH_MAX];
    char to[JOURNAL_PATH_MAX];
    journal_path(journal->config.dir, job->free_number, JOURNAL_FILE_SEGMENT, path);
    journal_path(journal->config.dir, job->free_number, JOURNAL_FILE_FREE, to);
    int rv = job->keep ? env->ops->rename(env, path, to, &job->err)
                       : env->ops->unlink(env, path, &job->err);
    return rv == 0 ? env->ops->dir_sync(env, journal->config.dir, &job->err) : rv;
}

static void job_run(struct bnd_work *work) {
    struct bnd_journal *journal = work->data;
    struct journal_job *job = &journal->job;
    job->rv = job->prepare == NULL ? retire(journal, job)
                                   : journal_segment_make(journal, job->prepare, job->free_number,
                                                          &job->file, &job->err);
}

static void job_done(struct bnd_work *work, int status) {
    struct bnd_journal *journal = work->data;
    struct journal_job *job = &journal->job;
    job->busy = false;
    if (status != 0) {
        job->rv = bnd_error_set(&job->err, status, "%s", bnd_code_text(status));
    }
    if (job->rv == 0 && job->prepare != NULL) {
        job->prepare->file = job->file;
    } else if (job->rv == 0 && job->keep) {
        journal->free_numbers[journal->free_count++] = job->free_number;
    }
    if (journal->closing) {
        journal_close_step(journal);
        return;
    }
    if (job->rv != 0) {
        journal_fail(journal, &job->err);
        return;
    }
    journal_write_next(journal);
    journal_background(journal);
}

static void job_start(struct bnd_journal *journal) {
    struct journal_job *job = &journal->job;
    job->work = (struct bnd_work){.run = job_run, .done = job_done, .data = journal};
    job->file = NULL;
    job->busy = journal->env->ops->work(journal->env, &job->work) == 0;
    job->waiting = !job->busy; /* the pool is full */
    if (job->waiting) {
        journal_retry_later(journal);
    }
}

/* The first segment without a file; the one after the collecting one is planned here, so that it is
 * ready long before it is needed. */
static struct journal_segment *to_prepare(struct bnd_journal *journal) {
    if (journal_segment_next(journal, journal->collecting) == NULL &&
        journal_segment_plan(journal) == NULL) {
        journal_retry_later(journal);
    }
    struct journal_segment *segment = journal->collecting;
    while (segment->file == NULL && segment->link.prev != &journal->segments) {
        segment = journal_segment_of(segment->link.prev); /* collecting may be ahead of the files */
    }
    while (segment != NULL && segment->file != NULL) {
        segment = journal_segment_next(journal, segment);
    }
    return segment;
}

/* True if the log can be read from a later segment on. */
static bool anchored_after(const struct bnd_journal *journal,
                           const struct journal_segment *segment) {
    for (struct journal_segment *later = journal_segment_next(journal, segment); later != NULL;
         later = journal_segment_next(journal, later)) {
        if (later->anchor && later->anchor_batch != 0 &&
            later->anchor_batch <= journal->batch_durable) {
            return true;
        }
    }
    return false;
}

static bool may_retire(const struct bnd_journal *journal, const struct journal_segment *segment) {
    uint64_t durable = journal->batch_durable;
    return segment != journal->collecting && segment->live_count == 0 &&
           segment->batch_last <= durable && segment->dead_batch <= durable &&
           segment->file != NULL && segment != journal->relocation.segment &&
           anchored_after(journal, segment);
}

void journal_segments_work(struct bnd_journal *journal) {
    struct journal_job *job = &journal->job;
    if (job->busy || journal_stopped(journal)) {
        return;
    }
    if (job->waiting) {
        job_start(journal);
        return;
    }
    struct journal_segment *segment = to_prepare(journal);
    if (segment != NULL) {
        job->prepare = segment;
        job->free_number = 0;
        if (journal->free_count > 0) {
            job->free_number = journal->free_numbers[--journal->free_count];
        }
        job_start(journal);
        return;
    }
    segment = journal_segment_oldest(journal);
    if (!may_retire(journal, segment)) {
        return;
    }
    job->prepare = NULL;
    job->free_number = segment->place.generation;
    job->keep = segment->bytes == journal->segment_bytes && journal->free_count < JOURNAL_FREE_MAX;
    bnd_link_remove(&segment->link);
    journal_segment_free(journal, segment);
    job_start(journal);
}
