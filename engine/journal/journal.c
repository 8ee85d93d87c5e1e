/* The journal's life and its calls: open, the records a caller may add, close, failure.
 *
 * Open reads everything first (recover.c) and only then changes files: it overwrites what may be
 * left of a torn batch, so that it stays dropped, and finishes a checkpoint that a crash cut.
 * Failure modes: an error of any write, of the pool's job, or of reading back is final
 * (journal_fail). */
#include "engine/journal/journal_private.h"

#define BATCH_BYTES_DEFAULT ((size_t)4 << 20)
#define QUEUE_BYTES_DEFAULT ((size_t)64 << 20)
#define HANG_NS_DEFAULT (3000 * BND_MS)

/* ---- failure and close
 * --------------------------------------------------------------------------------- */

static void fail_run(struct bnd_task *task) {
    struct bnd_journal *journal = task->data;
    journal->fail_pending = false;
    if (journal->closing) {
        journal_close_step(journal);
        return;
    }
    journal->config.failed(journal->config.owner, &journal->why);
}

void journal_fail(struct bnd_journal *journal, const struct bnd_error *why) {
    if (journal->failed) {
        return;
    }
    journal->failed = true;
    journal->why = *why;
    if (!journal->closing) {
        journal->fail_pending = true;
        bnd_defer(journal->env, &journal->fail_task);
    }
}

static void batches_free(struct bnd_link *list) {
    for (struct bnd_link *link = bnd_list_pop(list); link != NULL; link = bnd_list_pop(list)) {
        journal_batch_free(BND_CONTAINER(link, struct journal_batch, link));
    }
}

static void destroy(struct bnd_journal *journal) {
    for (size_t i = 0; i < journal->slots_count; i++) {
        journal_group_free(journal->slots[i]);
    }
    bnd_free(journal->slots);
    struct bnd_link *link = bnd_list_pop(&journal->segments);
    for (; link != NULL; link = bnd_list_pop(&journal->segments)) {
        journal_segment_free(journal, journal_segment_of(link));
    }
    batches_free(&journal->sealed);
    batches_free(&journal->spare);
    journal_batch_free(journal->open);
    bnd_free(journal->relocation.data);
    bnd_free((void *)journal->config.dir);
    bnd_free(journal);
}

static void close_run(struct bnd_task *task) {
    struct bnd_journal *journal = task->data;
    void (*closed)(void *data) = journal->closed;
    void *data = journal->closed_data;
    destroy(journal);
    if (closed != NULL) {
        closed(data);
    }
}

void journal_close_step(struct bnd_journal *journal) {
    if (!journal->closing || journal->close_pending || journal->writing != NULL ||
        journal->job.busy || journal->relocation.busy || journal->fail_pending) {
        return;
    }
    journal->close_pending = true;
    bnd_defer(journal->env, &journal->close_task);
}

void bnd_journal_close(struct bnd_journal *journal, void (*closed)(void *data), void *data) {
    if (journal == NULL) {
        return;
    }
    BND_ASSERT(!journal->closing);
    journal->closing = true;
    journal->closed = closed;
    journal->closed_data = data;
    bnd_timer_stop(journal->env, &journal->hang_timer);
    bnd_timer_stop(journal->env, &journal->retry_timer);
    journal_close_step(journal);
}

void journal_background(struct bnd_journal *journal) {
    journal_segments_work(journal);
    journal_relocate(journal);
}

static void retry_run(struct bnd_timer *timer) {
    struct bnd_journal *journal = timer->data;
    if (!journal_stopped(journal)) {
        bnd_journal_submit(journal);
        journal_background(journal);
    }
}

void journal_retry_later(struct bnd_journal *journal) {
    if (!journal_stopped(journal)) {
        bnd_timer_start(journal->env, &journal->retry_timer, JOURNAL_RETRY_NS);
    }
}

/* ---- open
 * ------------------------------------------------------------------------------------------------
 */

static int config_check(const struct bnd_journal_config *config, struct bnd_error *err) {
    uint64_t segment =
        config->segment_bytes == 0 ? BND_JOURNAL_SEGMENT_BYTES : config->segment_bytes;
    size_t batch = config->batch_bytes_max == 0 ? BATCH_BYTES_DEFAULT : config->batch_bytes_max;
    size_t queue = config->queue_bytes_max == 0 ? QUEUE_BYTES_DEFAULT : config->queue_bytes_max;
    if (strlen(config->dir) >= JOURNAL_DIR_MAX) {
        return BND_FAIL(err, INVALID, "journal directory's path is %d bytes or longer",
                        JOURNAL_DIR_MAX);
    }
    if (segment % JOURNAL_BLOCK != 0 || batch < JOURNAL_BLOCK || batch > UINT32_MAX / 2 ||
        segment < JOURNAL_BLOCK + journal_padded(batch) || queue < batch) {
        return BND_FAIL(err, INVALID,
                        "journal: segment %" PRIu64
                        ", batch %zu, queue %zu bytes do not fit together",
                        segment, batch, queue);
    }
    return 0;
}

static struct bnd_journal *create(const struct bnd_journal_config *config) {
    struct bnd_journal *journal = bnd_zalloc(sizeof *journal);
    char *dir = bnd_strdup(config->dir);
    if (journal == NULL || dir == NULL) {
        bnd_free(journal);
        bnd_free(dir);
        return NULL;
    }
    journal->config = *config;
    journal->config.dir = dir;
    journal->env = config->env;
    size_t batch = config->batch_bytes_max == 0 ? BATCH_BYTES_DEFAULT : config->batch_bytes_max;
    journal->batch_bytes = (size_t)journal_padded(batch);
    journal->segment_bytes =
        config->segment_bytes == 0 ? BND_JOURNAL_SEGMENT_BYTES : config->segment_bytes;
    if (config->queue_bytes_max == 0) {
        journal->config.queue_bytes_max = QUEUE_BYTES_DEFAULT;
    }
    if (config->hang_ns < JOURNAL_HANG_TICKS) {
        journal->config.hang_ns = HANG_NS_DEFAULT;
    }
    bnd_list_init(&journal->segments);
    bnd_list_init(&journal->sealed);
    bnd_list_init(&journal->spare);
    journal->fail_task = (struct bnd_task){.cb = fail_run, .data = journal};
    journal->close_task = (struct bnd_task){.cb = close_run, .data = journal};
    journal->hang_timer = (struct bnd_timer){.cb = journal_hang_tick, .data = journal};
    journal->retry_timer = (struct bnd_timer){.cb = retry_run, .data = journal};
    return journal;
}

/* The directory that holds `dir` must know its new entry. */
static int parent_sync(struct bnd_env *env, const char *dir, struct bnd_error *err) {
    char parent[JOURNAL_DIR_MAX];
    size_t len = strlen(dir);
    while (len > 0 && dir[len - 1] == '/') {
        len--;
    }
    while (len > 0 && dir[len - 1] != '/') {
        len--;
    }
    if (len == 0) {
        return 0;
    }
    memcpy(parent, dir, len);
    parent[len > 1 ? len - 1 : 1] = 0;
    return env->ops->dir_sync(env, parent, err);
}

/* Zeroes the block at `offset` of a segment if it is not zero (SPEC recovery 4), and makes the
 * whole file durable: if a process was killed and not the machine, its last write may have been
 * read from a cache. */
static int block_kill(struct bnd_journal *journal, const struct journal_segment *segment,
                      uint64_t offset, struct bnd_error *err) {
    static const uint8_t zero[JOURNAL_BLOCK];
    struct bnd_env *env = journal->env;
    uint8_t block[JOURNAL_BLOCK] = {0};
    char path[JOURNAL_PATH_MAX];
    struct bnd_file *file = NULL;
    size_t len = 0;
    journal_path(journal->config.dir, segment->place.generation, JOURNAL_FILE_SEGMENT, path);
    int rv = env->ops->file_open(env, path, BND_OPEN_READ | BND_OPEN_WRITE, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = env->ops->file_pread(env, file, block, sizeof block, offset, &len, err);
    if (rv == 0 && memcmp(block, zero, sizeof block) != 0) {
        rv = env->ops->file_pwrite(env, file, zero, sizeof zero, offset, err);
    }
    rv = rv == 0 ? env->ops->file_sync(env, file, err) : rv;
    env->ops->file_close(env, file);
    return rv;
}

static int tail_kill(struct bnd_journal *journal, struct bnd_error *err) {
    struct journal_segment *segment = journal->collecting;
    int rv = block_kill(journal, segment, segment->end, err);
    segment = journal_segment_next(journal, segment);
    for (; rv == 0 && segment != NULL; segment = journal_segment_next(journal, segment)) {
        rv = block_kill(journal, segment, segment->end, err);
    }
    return rv;
}

/* Removes files that cannot be recycled: half-zeroed ones, free ones of another size. */
static int files_tidy(struct bnd_journal *journal, const struct journal_scan *scan,
                      struct bnd_error *err) {
    struct bnd_env *env = journal->env;
    char path[JOURNAL_PATH_MAX];
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < scan->tmp_count; i++) {
        journal_path(journal->config.dir, scan->tmp_numbers[i], JOURNAL_FILE_TMP, path);
        rv = env->ops->unlink(env, path, err);
    }
    size_t kept = 0;
    for (size_t i = 0; rv == 0 && i < journal->free_count; i++) {
        struct bnd_file *file = NULL;
        uint64_t size = 0;
        journal_path(journal->config.dir, journal->free_numbers[i], JOURNAL_FILE_FREE, path);
        rv = env->ops->file_open(env, path, BND_OPEN_READ, &file, err);
        if (rv != 0) {
            return rv;
        }
        rv = env->ops->file_size(env, file, &size, err);
        env->ops->file_close(env, file);
        if (rv == 0 && size == journal->segment_bytes) {
            journal->free_numbers[kept++] = journal->free_numbers[i];
        } else if (rv == 0) {
            rv = env->ops->unlink(env, path, err);
        }
    }
    journal->free_count = kept;
    return rv;
}

static int files_open(struct bnd_journal *journal, struct bnd_error *err) {
    struct bnd_env *env = journal->env;
    int rv = 0;
    for (struct bnd_link *link = journal->segments.next; rv == 0 && link != &journal->segments;
         link = link->next) {
        struct journal_segment *segment = journal_segment_of(link);
        char path[JOURNAL_PATH_MAX];
        journal_path(journal->config.dir, segment->place.generation, JOURNAL_FILE_SEGMENT, path);
        rv = env->ops->file_open(env, path, BND_OPEN_READ | BND_OPEN_WRITE | BND_OPEN_DIRECT,
                                 &segment->file, err);
    }
    return rv;
}

static int first_segment(struct bnd_journal *journal, struct bnd_error *err) {
    struct journal_segment *segment = journal_segment_plan(journal);
    if (segment == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for a journal segment");
    }
    return journal_segment_make(journal, segment, 0, &segment->file, err);
}

/* Everything after recovery: makes the log ready for its next record. */
static int begin(struct bnd_journal *journal, const struct journal_scan *scan,
                 struct bnd_error *err) {
    bool fresh = bnd_list_empty(&journal->segments);
    /* Names too may have been read before they were durable: the files' and the directory's own. */
    int rv = fresh ? 0 : journal->env->ops->dir_sync(journal->env, journal->config.dir, err);
    if (rv == 0 && !fresh) {
        rv = files_open(journal, err);
    }
    if (rv == 0) {
        rv = files_tidy(journal, scan, err);
    }
    if (rv == 0 && fresh) {
        rv = first_segment(journal, err);
    }
    rv = rv == 0 ? parent_sync(journal->env, journal->config.dir, err) : rv;
    if (rv != 0) {
        return rv;
    }
    journal->collecting = scan->end != NULL ? scan->end : journal_segment_oldest(journal);
    journal->batch_next = journal->batch_next == 0 ? 1 : journal->batch_next;
    journal->batch_durable = journal->batch_next - 1;
    journal->lsn_durable = journal->lsn_last;
    rv = tail_kill(journal, err);
    if (rv == 0 && (scan->incomplete || journal->batch_next == 1)) {
        struct journal_segment *anchor =
            journal->batch_next == 1 ? journal->collecting : scan->anchor;
        rv = journal_checkpoint(journal, anchor);
        if (rv != 0) {
            return BND_FAIL(err, NOMEM, "no memory for the journal's checkpoint");
        }
    }
    return rv;
}

int bnd_journal_read(const struct bnd_journal_config *config,
                     int (*each)(void *data, const struct bnd_journal_group *group), void *data,
                     struct bnd_journal_stats *out, struct bnd_error *err) {
    int rv = config_check(config, err);
    struct bnd_journal *journal = rv == 0 ? create(config) : NULL;
    if (rv == 0 && journal == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to read the journal");
    }
    if (rv != 0) {
        return rv;
    }
    struct journal_scan scan = {0};
    rv = journal_recover(journal, &scan, err);
    if (rv == 0) {
        rv = bnd_journal_each_group(journal, each, data);
    }
    if (rv == 0 && out != NULL) {
        bnd_journal_stats(journal, out);
    }
    bnd_free(scan.numbers);
    destroy(journal);
    return rv;
}

int bnd_journal_open(const struct bnd_journal_config *config, struct bnd_journal **out,
                     struct bnd_error *err) {
    int rv = config_check(config, err);
    if (rv != 0) {
        return rv;
    }
    struct bnd_journal *journal = create(config);
    if (journal == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to open the journal");
    }
    struct journal_scan scan = {0};
    rv = config->env->ops->dir_make(config->env, config->dir, err);
    if (rv == 0) {
        rv = journal_recover(journal, &scan, err);
    }
    if (rv == 0) {
        if (journal->segment_bytes < journal->batch_bytes + JOURNAL_BLOCK) {
            journal->segment_bytes = journal->batch_bytes + JOURNAL_BLOCK;
        }
        rv = begin(journal, &scan, err);
    }
    bnd_free(scan.numbers);
    if (rv != 0) {
        destroy(journal);
        return rv;
    }
    journal_background(journal);
    *out = journal;
    return 0;
}

static int group_show(const struct journal_group *group,
                      int (*each)(void *data, const struct bnd_journal_group *group), void *data) {
    struct bnd_journal_group shown = {.gid = group->gid,
                                      .exists = group->exists,
                                      .term = group->term,
                                      .vote = group->vote,
                                      .floor = group->floor,
                                      .start = group->start,
                                      .entries_count = (size_t)(group->last - group->start.index)};
    if (shown.entries_count > 0) {
        BND_ASSERT(group->entries !=
                   NULL); /* not after bnd_journal_recovered, nor after new records */
        shown.entries = group->entries + (group->start.index + 1 - group->entries_base);
    }
    return each(data, &shown);
}

int bnd_journal_each_group(struct bnd_journal *journal,
                           int (*each)(void *data, const struct bnd_journal_group *group),
                           void *data) {
    struct journal_group **groups = journal_groups_sorted(journal);
    if (groups == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < journal->groups_count; i++) {
        rv = group_show(groups[i], each, data);
    }
    bnd_free(groups);
    return rv;
}

void bnd_journal_recovered(struct bnd_journal *journal) {
    journal_recover_forget(journal);
}

/* ---- records
 * --------------------------------------------------------------------------------------------- */

/* What may fail comes first: once the record is collected, the mirror follows without fail. */
static int add(struct bnd_journal *journal, const struct journal_record *record,
               uint64_t *out_lsn) {
    struct journal_group *group = journal_group_find(journal, record->gid);
    int rv = journal_group_check(group, record, NULL);
    if (rv != 0) {
        return rv;
    }
    const struct journal_record checkpointed = {.kind = JOURNAL_CHECKPOINT_GROUP,
                                                .start = record->start};
    if (journal_record_bytes(&checkpointed) > journal->batch_bytes - JOURNAL_BATCH_HEADER) {
        return BND_TOOBIG;
    }
    uint8_t *config = NULL;
    struct journal_group *made = NULL;
    if (record->start.config.len > 0) {
        config = bnd_memdup(record->start.config.data, record->start.config.len);
        rv = config == NULL ? BND_NOMEM : 0;
    }
    if (rv == 0 && group == NULL) {
        made = bnd_zalloc(sizeof *made);
        rv = made == NULL || !journal_groups_reserve(journal) ? BND_NOMEM : 0;
    }
    if (rv == 0 && record->kind == JOURNAL_ENTRY && !journal_group_reserve_run(group)) {
        rv = BND_NOMEM;
    }
    struct journal_spot spot;
    if (rv == 0) {
        rv = journal_collect(journal, record, &spot);
    }
    if (rv != 0) {
        bnd_free(made);
        bnd_free(config);
        return rv;
    }
    if (made != NULL) {
        made->gid = record->gid;
        journal_group_insert(journal, made);
        group = made;
    }
    if (record->kind == JOURNAL_ENTRY) {
        journal_group_place(group, record->entry.index, &spot, journal_record_bytes(record));
    } else {
        journal_group_apply(group, record, config, spot.batch);
    }
    if (out_lsn != NULL) {
        *out_lsn = journal->lsn_last;
    }
    return 0;
}

int bnd_journal_create(struct bnd_journal *journal, uint64_t gid,
                       const struct bnd_journal_start *start, uint64_t *out_lsn) {
    struct journal_record record = {.kind = JOURNAL_CREATE, .gid = gid, .start = *start};
    return add(journal, &record, out_lsn);
}

int bnd_journal_destroy(struct bnd_journal *journal, uint64_t gid,
                        const struct bnd_journal_floor *floor, uint64_t *out_lsn) {
    struct journal_record record = {.kind = JOURNAL_DESTROY, .gid = gid, .floor = *floor};
    return add(journal, &record, out_lsn);
}

int bnd_journal_meta(struct bnd_journal *journal, uint64_t gid, uint64_t term, uint64_t vote,
                     uint64_t *out_lsn) {
    struct journal_record record = {.kind = JOURNAL_META, .gid = gid, .term = term, .vote = vote};
    return add(journal, &record, out_lsn);
}

int bnd_journal_append(struct bnd_journal *journal, uint64_t gid,
                       const struct bnd_journal_entry *entry, uint64_t *out_lsn) {
    struct journal_record record = {.kind = JOURNAL_ENTRY, .gid = gid, .entry = *entry};
    return add(journal, &record, out_lsn);
}

int bnd_journal_truncate(struct bnd_journal *journal, uint64_t gid, uint64_t index,
                         uint64_t *out_lsn) {
    struct journal_record record = {
        .kind = JOURNAL_TRUNCATE, .gid = gid, .entry = {.index = index}};
    return add(journal, &record, out_lsn);
}

int bnd_journal_compact(struct bnd_journal *journal, uint64_t gid,
                        const struct bnd_journal_start *start, uint64_t *out_lsn) {
    struct journal_record record = {.kind = JOURNAL_COMPACT, .gid = gid, .start = *start};
    return add(journal, &record, out_lsn);
}

int bnd_journal_install(struct bnd_journal *journal, uint64_t gid,
                        const struct bnd_journal_start *start, uint64_t *out_lsn) {
    struct journal_record record = {.kind = JOURNAL_INSTALL, .gid = gid, .start = *start};
    return add(journal, &record, out_lsn);
}

void bnd_journal_submit(struct bnd_journal *journal) {
    journal->submitted = true;
    journal_write_next(journal);
}

/* ---- looking
 * --------------------------------------------------------------------------------------------- */

uint64_t bnd_journal_durable(const struct bnd_journal *journal) {
    return journal->lsn_durable;
}

uint64_t bnd_journal_queued(const struct bnd_journal *journal) {
    return journal->bytes_queued;
}

void bnd_journal_stats(const struct bnd_journal *journal, struct bnd_journal_stats *out) {
    *out = (struct bnd_journal_stats){.lsn_last = journal->lsn_last,
                                      .lsn_durable = journal->lsn_durable,
                                      .batches = journal->batches,
                                      .bytes_written = journal->bytes_written,
                                      .bytes_queued = journal->bytes_queued,
                                      .segments_free = journal->free_count,
                                      .rewritten_records = journal->rewritten,
                                      .torn_bytes = journal->torn_bytes,
                                      .writes = journal->writes};
    bool ahead = false;
    for (const struct bnd_link *link = journal->segments.next; link != &journal->segments;
         link = link->next) {
        const struct journal_segment *segment = BND_CONTAINER(link, struct journal_segment, link);
        out->segments += !ahead;
        out->segments_free += ahead && segment->file != NULL;
        ahead = ahead || segment == journal->collecting;
    }
}
