/* Opening, closing, reading: the store around RocksDB.
 *
 * Invariants:
 *  1. The write-ahead log is off for every write; the Raft journal is the log (architecture:
 * journal and state).
 *  2. Families are flushed together only: by RocksDB itself under atomic_flush, by persist, by
 * close. No code here calls rocksdb_flush or rocksdb_flush_cf (see persist.c). Failure modes:
 * RocksDB reports errors as text, mapped once in rocks_error_take; a failed flush or compaction
 * stops its writes until the next open. Memory that RocksDB itself cannot get ends the process
 * (C++). */
#include "base/alloc.h"
#include "engine/rocks/arena.h"
#include "engine/rocks/rocks_private.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define READ_TIER_PERSISTED 2
#define BLOCK_BYTES (16U * 1024U)
#define BLOOM_BITS 10
#define OPEN_FILES_MAX 1000
#define LOG_FILE_BYTES_MAX (8U << 20)
#define LOG_FILES_KEPT 4
#define BYTES_PER_SYNC (1U << 20)
#define MEMTABLE_BYTES_MAX (UINT64_C(64) << 20)
#define MEMTABLES_BYTES_MAX (UINT64_C(256) << 20)
#define BACKGROUND_JOBS_DEFAULT 2
/* KV values of this size and more stand in blob files, so that compactions do not move them. */
#define BLOB_BYTES_MIN (4U << 10)
#define BLOB_FILE_BYTES (64U << 20)
#define BLOB_GC_AGE 0.25        /* the oldest quarter of the blob files is collected first */
#define BLOB_GC_FORCE_SHARE 0.5 /* and once half of it is garbage, whatever else compacts */
/* A page of SQL is a seek, a walk of at most 4 KiB, and an image of 4 KiB; its neighbours are
 * seldom wanted next (docs/design/0102-page-histories.md). */
#define PAGES_BLOCK_BYTES (4U << 10)

static const char *const cf_names[ROCKS_CFS] = {
    [BND_CF_RAFT] = "raft",
    [BND_CF_CATALOG] = "catalog",
    [BND_CF_OBJECTS] = "objects",
    [BND_CF_KV] = "kv",
    [BND_CF_SQL] = "sql",
    [ROCKS_CF_MARK] = "default",
};

/* ---- errors -------------------------------------------------------------------------------------
 */

/* First match wins: the specific texts come before the classes RocksDB puts in front. */
static int code_of(const char *text) {
    static const struct {
        const char *part;
        int code;
    } table[] = {
        {"Corruption", BND_CORRUPT}, /* first: what follows it may say anything */
        {"No space left on device", BND_NOSPACE},
        {"Disk quota exceeded", BND_NOSPACE},
        {"Space limit", BND_NOSPACE},
        {" lock ", BND_LOCKED}, /* "While lock file", "lock hold by current process" */
        {"Result incomplete", BND_BUSY},
        {"Resource busy", BND_BUSY},
        {"Cannot allocate memory", BND_NOMEM},
        {"Memory limit", BND_NOMEM},
        {"Invalid argument", BND_CORRUPT}, /* of open: families or options that are not ours */
        {"Not implemented", BND_UNSUPPORTED},
        {"Shutdown in progress", BND_CANCELED},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strstr(text, table[i].part) != NULL) {
            return table[i].code;
        }
    }
    return BND_IO;
}

int rocks_error_take(struct rocks *rocks, char *text, const char *what, struct bnd_error *err) {
    if (text == NULL) {
        return 0;
    }
    int code = code_of(text);
    if (err != NULL) {
        (void)bnd_error_set(err, code, "state: %s: %s", what, text);
    } else if (code != BND_BUSY) {
        bnd_log(rocks->env, BND_LOG_ERROR, "rocks", "%s: %s", what, text);
    }
    if (code == BND_CORRUPT && rocks->corrupt != NULL) {
        rocks->corrupt(rocks->owner, text);
    }
    rocksdb_free(text);
    return code;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

int rocks_get_with(struct rocks *rocks, const rocksdb_readoptions_t *options, enum bnd_state_cf cf,
                   struct bnd_slice key, struct bnd_buf *out) {
    BND_ASSERT(cf < BND_CF_COUNT);
    if (rocks->cfs[cf] == NULL) { /* opened to be read, and older than the family */
        return BND_NOTFOUND;
    }
    char *text = NULL;
    rocksdb_pinnableslice_t *pinned = rocksdb_get_pinned_cf(rocks->db, options, rocks->cfs[cf],
                                                            (const char *)key.data, key.len, &text);
    int rv = rocks_error_take(rocks, text, "read", NULL);
    if (rv != 0) {
        return rv;
    }
    if (pinned == NULL) {
        return BND_NOTFOUND;
    }
    size_t len = 0;
    const char *value = rocksdb_pinnableslice_value(pinned, &len);
    bnd_buf_reset(out);
    bnd_buf_append(out, value, len);
    rocksdb_pinnableslice_destroy(pinned);
    return out->failed ? BND_NOMEM : 0;
}

static int rocks_get(struct bnd_state *state, enum bnd_state_cf cf, struct bnd_slice key,
                     struct bnd_buf *out) {
    struct rocks *rocks = rocks_of(state);
    return rocks_get_with(rocks, rocks->read_options, cf, key, out);
}

static int rocks_get_persisted(struct bnd_state *state, enum bnd_state_cf cf, struct bnd_slice key,
                               struct bnd_buf *out) {
    struct rocks *rocks = rocks_of(state);
    return rocks_get_with(rocks, rocks->persisted_options, cf, key, out);
}

static struct bnd_state_iter *rocks_iter(struct bnd_state *state, enum bnd_state_cf cf,
                                         struct bnd_slice from, struct bnd_slice to) {
    return rocks_iter_create(rocks_of(state), NULL, cf, from, to);
}

static size_t rocks_unpersisted_bytes(struct bnd_state *state) {
    struct rocks *rocks = rocks_of(state);
    return atomic_load(&rocks->bytes_written) - atomic_load(&rocks->bytes_persisted);
}

uint64_t bnd_rocks_live_bytes(struct bnd_state *state) {
    struct rocks *rocks = rocks_of(state);
    uint64_t sum = 0;
    for (size_t i = 0; i < BND_CF_COUNT; i++) {
        uint64_t bytes = 0;
        if (rocksdb_property_int_cf(rocks->db, rocks->cfs[i], "rocksdb.estimate-live-data-size",
                                    &bytes) == 0) {
            sum += bytes;
        }
    }
    return sum;
}

void bnd_rocks_each_file(struct bnd_state *state,
                         void (*each)(void *data, const struct bnd_rocks_file *file), void *data) {
    struct rocks *rocks = rocks_of(state);
    const rocksdb_livefiles_t *files = rocksdb_livefiles(rocks->db);
    int count = files == NULL ? 0 : rocksdb_livefiles_count(files);
    for (int i = 0; i < count; i++) {
        const char *name = rocksdb_livefiles_name(files, i); /* "/000012.sst" */
        struct bnd_rocks_file file = {.bytes = rocksdb_livefiles_size(files, i),
                                      .number = strtoull(name + 1, NULL, 10)};
        int len = snprintf(file.path, sizeof file.path, "%s/rocks%s", rocks->dir, name);
        if (len > 0 && (size_t)len < sizeof file.path && file.number > 0) {
            each(data, &file);
        }
    }
    if (files != NULL) {
        rocksdb_livefiles_destroy(files);
    }
}

/* ---- dropping -----------------------------------------------------------------------------------
 */

/* Files are not deleted here: the range may be filled anew, and its new files would go with the
 * old. The tombstones hide the old keys at once; compactions, asked for here, give the space back.
 */
static int rocks_drop_range(struct bnd_state *state, struct bnd_slice from, struct bnd_slice to) {
    struct rocks *rocks = rocks_of(state);
    if (bnd_slice_cmp(from, to) >= 0) {
        return 0;
    }
    uint64_t next = atomic_load(&rocks->mark) + 1;
    uint8_t mark[ROCKS_MARK_LEN];
    bnd_put_u64(mark, next);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (int i = 0; i < BND_CF_COUNT; i++) {
        rocksdb_writebatch_delete_range_cf(batch, rocks->cfs[i], (const char *)from.data, from.len,
                                           (const char *)to.data, to.len);
    }
    rocksdb_writebatch_put_cf(batch, rocks->cfs[ROCKS_CF_MARK], ROCKS_MARK_KEY, ROCKS_MARK_KEY_LEN,
                              (const char *)mark, sizeof mark);
    char *text = NULL;
    rocksdb_write(rocks->db, rocks->write_options, batch, &text);
    rocksdb_writebatch_destroy(batch);
    int rv = rocks_error_take(rocks, text, "drop range", NULL);
    if (rv != 0) {
        return rv;
    }
    atomic_store(&rocks->mark, next);
    atomic_fetch_add(&rocks->bytes_written, from.len + to.len);
    for (int i = 0; i < BND_CF_COUNT; i++) {
        text = NULL;
        rocksdb_suggest_compact_range_cf(rocks->db, rocks->cfs[i], (const char *)from.data,
                                         from.len, (const char *)to.data, to.len, &text);
        (void)rocks_error_take(rocks, text, "suggest compaction", NULL); /* only a hint */
    }
    return 0;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void rocks_free(struct rocks *rocks) {
    if (rocks->db != NULL) {
        for (int i = 0; i < ROCKS_CFS; i++) {
            if (rocks->cfs[i] != NULL) {
                rocksdb_column_family_handle_destroy(rocks->cfs[i]);
            }
        }
        rocksdb_close(rocks->db); /* flushes all families first */
    }
    rocksdb_compactoptions_destroy(rocks->compact_options);
    rocksdb_readoptions_destroy(rocks->persisted_options);
    rocksdb_readoptions_destroy(rocks->read_options);
    rocksdb_writeoptions_destroy(rocks->write_options);
    rocksdb_writeoptions_destroy(rocks->waiting_options);
    rocksdb_cache_destroy(rocks->cache);
    (void)pthread_mutex_destroy(&rocks->write_mutex);
    bnd_free(rocks->dir);
    bnd_free(rocks);
}

static void rocks_close(struct bnd_state *state) {
    struct rocks *rocks = rocks_of(state);
    BND_ASSERT(rocks->persists_under_way == 0);
    BND_ASSERT(atomic_load(&rocks->batches_and_iters_open) == 0);
    rocks_free(rocks);
}

/* What a store that was opened to be read has in common with any other. */
#define SHARED_OPS                                                                                 \
    .close = rocks_close, .batch_create = rocks_batch_create,                                      \
    .batch_destroy = rocks_batch_destroy, .batch_clear = rocks_batch_clear,                        \
    .batch_bytes = rocks_batch_bytes, .batch_put = rocks_batch_put,                                \
    .batch_delete = rocks_batch_delete, .batch_get = rocks_batch_get,                              \
    .batch_over = rocks_batch_over, .batch_iter = rocks_batch_iter, .get = rocks_get,              \
    .iter = rocks_iter, .iter_valid = rocks_iter_valid, .iter_next = rocks_iter_next,              \
    .iter_seek = rocks_iter_seek, .iter_key = rocks_iter_key, .iter_value = rocks_iter_value,      \
    .iter_status = rocks_iter_status, .iter_destroy = rocks_iter_destroy,                          \
    .unpersisted_bytes = rocks_unpersisted_bytes

static const struct bnd_state_ops ops = {
    SHARED_OPS,
    .write = rocks_write,
    .write_waiting = rocks_write_waiting,
    .persist = rocks_persist,
    .get_persisted = rocks_get_persisted,
    .drop_range = rocks_drop_range,
};

static int refuse_write(struct bnd_state *state, struct bnd_state_batch *batch) {
    return BND_UNSUPPORTED;
}

static int refuse_persist(struct bnd_state *state, struct bnd_state_persist *persist) {
    return BND_UNSUPPORTED;
}

static int refuse_drop(struct bnd_state *state, struct bnd_slice from, struct bnd_slice to) {
    return BND_UNSUPPORTED;
}

static const struct bnd_state_ops read_only_ops = {
    SHARED_OPS,
    .write = refuse_write,
    .write_waiting = refuse_write,
    .persist = refuse_persist,
    .get_persisted = rocks_get,
    .drop_range = refuse_drop,
};

/* Index and filter in pieces of 4 KiB under a top that is pinned: whole, the index of a full file
 * of pages has a MiB, more than a shard of the cache, and each seek would read it again. */
static void table_options_set(rocksdb_options_t *o, rocksdb_cache_t *cache, size_t block_bytes) {
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_block_size(table, block_bytes);
    rocksdb_block_based_options_set_index_type(
        table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_block_based_options_set_filter_policy(/* takes it */
                                                  table, rocksdb_filterpolicy_create_bloom_full(
                                                             BLOOM_BITS));
    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_block_based_options_destroy(table);
}

/* reference/engine.md C. No prefix extractor: keys shorter than its prefix would abort Debian's
 * build. */
static rocksdb_options_t *options_create(const struct bnd_rocks_config *config,
                                         rocksdb_cache_t *cache) {
    uint64_t memtables = config->memory_bytes / 4;
    memtables = memtables < MEMTABLES_BYTES_MAX ? memtables : MEMTABLES_BYTES_MAX;
    uint64_t memtable = memtables / 2 < MEMTABLE_BYTES_MAX ? memtables / 2 : MEMTABLE_BYTES_MAX;
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_create_missing_column_families(o, 1);
    rocksdb_options_set_atomic_flush(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_db_write_buffer_size(o, (size_t)memtables);
    rocksdb_options_set_write_buffer_size(o, (size_t)memtable);
    rocksdb_options_set_arena_block_size(o, rocks_arena_block_bytes((size_t)memtable));
    rocksdb_options_set_max_write_buffer_number(o, 4);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
    rocksdb_options_set_max_background_jobs(
        o, config->background_jobs == 0 ? BACKGROUND_JOBS_DEFAULT : config->background_jobs);
    rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
    rocksdb_options_set_bytes_per_sync(o, BYTES_PER_SYNC);
    rocksdb_options_set_max_log_file_size(o, LOG_FILE_BYTES_MAX);
    rocksdb_options_set_keep_log_file_num(o, LOG_FILES_KEPT);
    table_options_set(o, cache, BLOCK_BYTES);
    return o;
}

static rocksdb_options_t *blob_options_create(const rocksdb_options_t *from) {
    rocksdb_options_t *o = rocksdb_options_create_copy((rocksdb_options_t *)from);
    rocksdb_options_set_enable_blob_files(o, 1);
    rocksdb_options_set_min_blob_size(o, BLOB_BYTES_MIN);
    rocksdb_options_set_blob_file_size(o, BLOB_FILE_BYTES);
    rocksdb_options_set_blob_compression_type(o, rocksdb_lz4_compression);
    rocksdb_options_set_enable_blob_gc(o, 1);
    rocksdb_options_set_blob_gc_age_cutoff(o, BLOB_GC_AGE);
    rocksdb_options_set_blob_gc_force_threshold(o, BLOB_GC_FORCE_SHARE);
    return o;
}

static rocksdb_options_t *page_options_create(const rocksdb_options_t *from,
                                              rocksdb_cache_t *cache) {
    rocksdb_options_t *o = rocksdb_options_create_copy((rocksdb_options_t *)from);
    table_options_set(o, cache, PAGES_BLOCK_BYTES);
    return o;
}

struct families {
    rocksdb_options_t *plain, *blobs, *pages;
};

static const rocksdb_options_t *options_of(const struct families *families, int cf) {
    return cf == BND_CF_KV ? families->blobs : cf == BND_CF_SQL ? families->pages : families->plain;
}

/* A store that an older program left lacks the families that came later: opened to be written it
 * gets them (create_missing_column_families), opened to be read it is read without them. */
static char *open_to_read(struct rocks *rocks, const struct families *families, const char *path) {
    char *text = NULL;
    size_t there = 0;
    const char *names[ROCKS_CFS];
    const rocksdb_options_t *options[ROCKS_CFS];
    rocksdb_column_family_handle_t *handles[ROCKS_CFS];
    int places[ROCKS_CFS];
    int count = 0;
    char **all = rocksdb_list_column_families(families->plain, path, &there, &text);
    if (text != NULL) {
        return text;
    }
    for (int i = 0; i < ROCKS_CFS; i++) {
        bool known = false;
        for (size_t k = 0; k < there; k++) {
            known = known || strcmp(all[k], cf_names[i]) == 0;
        }
        if (known) {
            names[count] = cf_names[i];
            options[count] = options_of(families, i);
            places[count++] = i;
        }
    }
    rocksdb_list_column_families_destroy(all, there);
    rocksdb_options_set_paranoid_checks(families->plain, 0);
    rocks->db = rocksdb_open_for_read_only_column_families(families->plain, path, count, names,
                                                           options, handles, 0, &text);
    for (int i = 0; text == NULL && i < count; i++) {
        rocks->cfs[places[i]] = handles[i];
    }
    return text;
}

static int open_db(struct rocks *rocks, const struct bnd_rocks_config *config, bool read_only,
                   struct bnd_error *err) {
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/rocks", config->dir);
    if (len < 0 || (size_t)len >= sizeof path) {
        return BND_FAIL(err, TOOBIG, "state directory: the path is too long");
    }
    struct families families = {.plain = options_create(config, rocks->cache)};
    families.blobs = blob_options_create(families.plain);
    families.pages = page_options_create(families.plain, rocks->cache);
    const rocksdb_options_t *all[ROCKS_CFS];
    for (int i = 0; i < ROCKS_CFS; i++) {
        all[i] = options_of(&families, i);
    }
    char *text = NULL;
    if (read_only) {
        text = open_to_read(rocks, &families, path);
    } else {
        rocks->db = rocksdb_open_column_families(families.plain, path, ROCKS_CFS, cf_names, all,
                                                 rocks->cfs, &text);
    }
    rocksdb_options_destroy(families.pages);
    rocksdb_options_destroy(families.blobs);
    rocksdb_options_destroy(families.plain);
    struct bnd_error why = {0};
    int rv = rocks_error_take(rocks, text, "open", &why);
    if (rv == 0) {
        int damaged = rocks_level0_check(rocks, cf_names, read_only, &why);
        rv = read_only ? 0 : damaged; /* to be looked at, as far as it can */
    }
    return rv == 0 ? 0 : bnd_error_set(err, rv, "%s", why.message);
}

static int open_store(const struct bnd_rocks_config *config, const struct bnd_state_ops *table,
                      struct bnd_state **out, struct bnd_error *err) {
    struct rocks *rocks = bnd_zalloc(sizeof *rocks);
    char *dir = bnd_strdup(config->dir);
    if (rocks == NULL || dir == NULL) {
        bnd_free(dir);
        bnd_free(rocks);
        return BND_FAIL(err, NOMEM, "state: out of memory");
    }
    rocks->base.ops = table;
    rocks->env = config->env;
    rocks->dir = dir;
    BND_ASSERT(pthread_mutex_init(&rocks->write_mutex, NULL) == 0);
    rocks->cache = rocksdb_cache_create_lru((size_t)(config->memory_bytes / 4 * 3));
    rocks->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_options, 1);
    rocksdb_writeoptions_set_no_slowdown(rocks->write_options, 1);
    rocks->waiting_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->waiting_options, 1);
    rocks->read_options = rocksdb_readoptions_create();
    rocks->persisted_options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(rocks->persisted_options, READ_TIER_PERSISTED);
    rocks->compact_options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_exclusive_manual_compaction(rocks->compact_options, 0);
    uint64_t mark = 0;
    int rv = open_db(rocks, config, table == &read_only_ops, err);
    if (rv == 0 && table != &read_only_ops) {
        rv = rocks_mark_read(rocks, rocks->read_options, &mark);
        if (rv != 0) {
            (void)bnd_error_set(err, rv, "state %s: cannot read the last write's mark",
                                config->dir);
        }
    }
    if (rv != 0) {
        rocks_free(rocks);
        return rv;
    }
    atomic_store(&rocks->mark, mark);
    rocks->corrupt = config->corrupt;
    rocks->owner = config->owner;
    *out = &rocks->base;
    return 0;
}

int bnd_rocks_open(const struct bnd_rocks_config *config, struct bnd_state **out,
                   struct bnd_error *err) {
    if (config->memory_bytes < BND_ROCKS_MEMORY_BYTES_MIN) {
        return BND_FAIL(err, INVALID, "state: memory_bytes %llu is below %llu",
                        (unsigned long long)config->memory_bytes,
                        (unsigned long long)BND_ROCKS_MEMORY_BYTES_MIN);
    }
    int rv = rocks_marker_check(config->env, config->dir, err);
    return rv != 0 ? rv : open_store(config, &ops, out, err);
}

int bnd_rocks_open_read_only(struct bnd_env *env, const char *dir, struct bnd_state **out,
                             struct bnd_error *err) {
    struct bnd_rocks_config config = {
        .env = env, .dir = dir, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    int rv = rocks_marker_read(env, dir, err);
    return rv != 0 ? rv : open_store(&config, &read_only_ops, out, err);
}
