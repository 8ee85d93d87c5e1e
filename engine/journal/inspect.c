/* `bindery inspect journal`: prints what the files hold, as far as it can be decoded. Never writes,
 * goes on behind damage, uses recovery's decoders but none of its judgement. */
#include "engine/journal/journal_private.h"

#include <stdarg.h>
#include <stdio.h>

struct inspection {
    struct bnd_env *env;
    const char *dir;
    bool records;
    void (*print)(void *data, const char *line);
    void *data;
};

static void say(const struct inspection *look, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct inspection *look, const char *fmt, ...) {
    char line[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args); /* a cut line is still one */
    va_end(args);
    look->print(look->data, line);
}

static void say_start(const struct inspection *look, const char *name, uint64_t gid,
                      const struct bnd_journal_start *start) {
    say(look,
        "    %s group %" PRIu64 " start %" PRIu64 " term %" PRIu64 " slot %" PRIu32
        " config %zu bytes of %" PRIu64,
        name, gid, start->index, start->term, start->slot, start->config.len, start->config_index);
}

static void say_record(const struct inspection *look, const struct journal_record *record) {
    const char *name = journal_kind_name(record->kind);
    switch (record->kind) {
    case JOURNAL_CREATE:
    case JOURNAL_COMPACT:
    case JOURNAL_INSTALL:
        say_start(look, name, record->gid, &record->start);
        return;
    case JOURNAL_DESTROY:
        say(look, "    %s group %" PRIu64 " that ended at %" PRIu64 " of term %" PRIu64, name,
            record->gid, record->floor.index, record->floor.term);
        return;
    case JOURNAL_META:
        say(look, "    %s group %" PRIu64 " term %" PRIu64 " vote %" PRIx64, name, record->gid,
            record->term, record->vote);
        return;
    case JOURNAL_ENTRY:
    case JOURNAL_REWRITE:
        say(look, "    %s group %" PRIu64 " index %" PRIu64 " term %" PRIu64 " kind %u, %zu bytes",
            name, record->gid, record->entry.index, record->entry.term, record->entry.kind,
            record->entry.data.len);
        return;
    case JOURNAL_TRUNCATE:
        say(look, "    %s group %" PRIu64 " from %" PRIu64, name, record->gid, record->entry.index);
        return;
    case JOURNAL_CHECKPOINT_BEGIN:
    case JOURNAL_CHECKPOINT_END:
        say(look, "    %s of %" PRIu64 " groups", name, record->count);
        return;
    case JOURNAL_CHECKPOINT_GROUP:
        say(look,
            "    %s %" PRIu64 "%s term %" PRIu64 " vote %" PRIx64 " last %" PRIu64 " floor %" PRIu64
            " of term %" PRIu64,
            name, record->gid, record->exists ? "" : " (destroyed)", record->term, record->vote,
            record->last, record->floor.index, record->floor.term);
        say_start(look, name, record->gid, &record->start);
        return;
    }
}

static void show_records(const struct inspection *look, const uint8_t *batch,
                         const struct journal_batch_header *header) {
    struct bnd_slice rest =
        bnd_slice(batch + JOURNAL_BATCH_HEADER, header->length - JOURNAL_BATCH_HEADER);
    while (rest.len > 0) {
        struct journal_record record;
        if (journal_record_decode(&rest, &record) != 0) {
            say(look, "    no record of this format, %zu bytes left", rest.len);
            return;
        }
        say_record(look, &record);
    }
}

/* Prints the batches of a segment; where none begins, looks on block by block. */
static void show_batches(const struct inspection *look, struct bnd_slice file,
                         struct journal_place place) {
    uint64_t gap = 0;
    for (uint64_t at = JOURNAL_BLOCK; at < file.len;) {
        struct bnd_slice bytes = bnd_slice(file.data + at, file.len - at);
        struct journal_batch_header header;
        place.offset = at;
        if (!journal_batch_header_decode(bytes, &place, &header)) {
            gap = gap == 0 ? at : gap;
            at += JOURNAL_BLOCK;
            continue;
        }
        if (gap != 0) {
            say(look, "  offset %" PRIu64 ": DAMAGED up to %" PRIu64, gap, at);
            gap = 0;
        }
        bool valid = journal_batch_body_valid(bytes, &place, &header);
        say(look,
            "  offset %" PRIu64 ": batch %" PRIu64 ", %" PRIu32 " bytes, %" PRIu32
            " records, lsn to %" PRIu64 "%s",
            at, header.number, header.length, header.records, header.lsn_last,
            valid ? "" : ", DAMAGED or torn");
        if (valid && look->records) {
            show_records(look, file.data + at, &header);
        }
        at += valid ? journal_padded(header.length) : JOURNAL_BLOCK;
    }
    if (gap != 0) {
        say(look, "  offset %" PRIu64 ": end, or an unreadable last batch", gap);
    }
}

static int content_read(const struct inspection *look, const char *path, uint8_t **out,
                        size_t *out_len, struct bnd_error *err) {
    struct bnd_env *env = look->env;
    struct bnd_file *file = NULL;
    uint64_t size = 0;
    int rv = env->ops->file_open(env, path, BND_OPEN_READ, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = env->ops->file_size(env, file, &size, err);
    uint8_t *data = rv == 0 ? bnd_alloc((size_t)size) : NULL;
    if (rv == 0 && data == NULL) {
        rv = BND_FAIL(err, NOMEM, "no memory to read %" PRIu64 " bytes", size);
    }
    if (rv == 0) {
        rv = env->ops->file_pread(env, file, data, (size_t)size, 0, out_len, err);
    }
    env->ops->file_close(env, file);
    if (rv != 0) {
        bnd_free(data);
        return rv;
    }
    *out = data;
    return 0;
}

static int show_file(void *data, const char *name) {
    struct inspection *look = data;
    uint64_t number = 0;
    enum journal_file kind = journal_file_parse(name, &number);
    if (kind != JOURNAL_FILE_SEGMENT) {
        say(look, "%s: %s", name, kind == JOURNAL_FILE_OTHER ? "not the journal's" : "not in use");
        return 0;
    }
    char path[JOURNAL_PATH_MAX];
    journal_path(look->dir, number, JOURNAL_FILE_SEGMENT, path);
    struct bnd_error err = {0};
    struct journal_segment_header header;
    BND_AUTO uint8_t *content = NULL;
    size_t len = 0;
    int rv = content_read(look, path, &content, &len, &err);
    if (rv == 0) {
        rv = journal_segment_header_decode(bnd_slice(content, len), &header, &err);
    }
    if (rv != 0) {
        say(look, "%s: UNREADABLE: %s", name, err.message);
        return 0;
    }
    say(look,
        "%s: generation %" PRIu64 ", cluster %" PRIx64 ", node %" PRIx64 ", %" PRIu64 " bytes%s",
        name, header.generation, header.cluster_id, header.node_id, header.bytes,
        header.generation == number && header.bytes == len ? ""
                                                           : ", DAMAGED: not as the file says");
    show_batches(look, bnd_slice(content, len),
                 (struct journal_place){.salt = header.salt, .generation = header.generation});
    return 0;
}

int bnd_journal_inspect(struct bnd_env *env, const char *dir, bool records,
                        void (*print)(void *data, const char *line), void *data,
                        struct bnd_error *err) {
    struct inspection look = {
        .env = env, .dir = dir, .records = records, .print = print, .data = data};
    if (strlen(dir) >= JOURNAL_DIR_MAX) {
        return BND_FAIL(err, INVALID, "journal directory's path is too long");
    }
    return env->ops->dir_list(env, dir, show_file, &look, err);
}
