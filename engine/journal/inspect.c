/* `bindery inspect journal`: prints what the files hold, as far as it can be decoded. Never writes,
 * goes on behind damage, uses recovery's decoders but none of its judgement. */
#include "base/json.h"
#include "engine/journal/journal_private.h"

#include <stdarg.h>
#include <stdio.h>

struct inspection {
    struct bnd_env *env;
    const struct bnd_journal_look *look;
    uint64_t segment; /* being shown; 0: none */
};

/* One line: by `text`, or the fields of a JSON object by `json`, of the same arguments. */
static void say(const struct inspection *i, const char *text, const char *json, ...)
    __attribute__((format(printf, 2, 4), format(printf, 3, 4)));

static void say(const struct inspection *i, const char *text, const char *json, ...) {
    char line[1024];
    int at = 0;
    va_list args;
    va_start(args, json);
    if (i->look->json) {
        at = snprintf(line, sizeof line, "{\"segment\":%" PRIu64 ",", i->segment);
    }
    /* A cut line is still one; as JSON none is cut: names and messages are short. */
    (void)vsnprintf(line + at, sizeof line - (size_t)at - 1, i->look->json ? json : text, args);
    va_end(args);
    if (i->look->json) {
        size_t len = strlen(line); /* there is room for one more */
        line[len] = '}';
        line[len + 1] = 0;
    }
    i->look->print(i->look->data, line);
}

static const char *pick(const struct inspection *i, const char *text, const char *json) {
    return i->look->json ? json : text;
}

/* What goes between quotes in JSON, and as it is into text. */
static const char *shown(const struct inspection *i, const char *text, struct bnd_buf *space) {
    bnd_buf_reset(space);
    bnd_json_text(space, text);
    bnd_buf_u8(space, 0);
    return !i->look->json ? text : space->failed ? "" : (const char *)space->data;
}

static void say_start(const struct inspection *i, const char *name, uint64_t gid,
                      const struct bnd_journal_start *start) {
    say(i,
        "    %s group %" PRIu64 " start %" PRIu64 " term %" PRIu64 " slot %" PRIu32
        " config %zu bytes of %" PRIu64,
        "\"record\":\"%s\",\"group\":%" PRIu64 ",\"start\":%" PRIu64 ",\"term\":%" PRIu64
        ",\"slot\":%" PRIu32 ",\"config_bytes\":%zu,\"config_index\":%" PRIu64,
        name, gid, start->index, start->term, start->slot, start->config.len, start->config_index);
}

static void say_checkpoint_group(const struct inspection *i, const char *name,
                                 const struct journal_record *record) {
    say(i,
        "    %s %" PRIu64 "%s term %" PRIu64 " vote %" PRIx64 " last %" PRIu64 " floor %" PRIu64
        " of term %" PRIu64,
        "\"record\":\"%s\",\"group\":%" PRIu64 ",\"exists\":%s,\"term\":%" PRIu64
        ",\"vote\":\"%" PRIx64 "\",\"last\":%" PRIu64 ",\"floor\":%" PRIu64
        ",\"floor_term\":%" PRIu64,
        name, record->gid, record->exists ? pick(i, "", "true") : pick(i, " (destroyed)", "false"),
        record->term, record->vote, record->last, record->floor.index, record->floor.term);
    say_start(i, name, record->gid, &record->start);
}

static void say_record(const struct inspection *i, const struct journal_record *record) {
    const char *name = journal_kind_name(record->kind);
    switch (record->kind) {
    case JOURNAL_CREATE:
    case JOURNAL_COMPACT:
    case JOURNAL_INSTALL:
        say_start(i, name, record->gid, &record->start);
        return;
    case JOURNAL_DESTROY:
        say(i, "    %s group %" PRIu64 " that ended at %" PRIu64 " of term %" PRIu64,
            "\"record\":\"%s\",\"group\":%" PRIu64 ",\"index\":%" PRIu64 ",\"term\":%" PRIu64, name,
            record->gid, record->floor.index, record->floor.term);
        return;
    case JOURNAL_META:
        say(i, "    %s group %" PRIu64 " term %" PRIu64 " vote %" PRIx64,
            "\"record\":\"%s\",\"group\":%" PRIu64 ",\"term\":%" PRIu64 ",\"vote\":\"%" PRIx64 "\"",
            name, record->gid, record->term, record->vote);
        return;
    case JOURNAL_ENTRY:
    case JOURNAL_REWRITE:
        say(i, "    %s group %" PRIu64 " index %" PRIu64 " term %" PRIu64 " kind %u, %zu bytes",
            "\"record\":\"%s\",\"group\":%" PRIu64 ",\"index\":%" PRIu64 ",\"term\":%" PRIu64
            ",\"kind\":%u,\"bytes\":%zu",
            name, record->gid, record->entry.index, record->entry.term, record->entry.kind,
            record->entry.data.len);
        return;
    case JOURNAL_TRUNCATE:
        say(i, "    %s group %" PRIu64 " from %" PRIu64,
            "\"record\":\"%s\",\"group\":%" PRIu64 ",\"from\":%" PRIu64, name, record->gid,
            record->entry.index);
        return;
    case JOURNAL_CHECKPOINT_BEGIN:
    case JOURNAL_CHECKPOINT_END:
        say(i, "    %s of %" PRIu64 " groups", "\"record\":\"%s\",\"groups\":%" PRIu64, name,
            record->count);
        return;
    case JOURNAL_CHECKPOINT_GROUP:
        say_checkpoint_group(i, name, record);
        return;
    }
}

static void show_records(const struct inspection *i, const uint8_t *batch,
                         const struct journal_batch_header *header) {
    struct bnd_slice rest =
        bnd_slice(batch + JOURNAL_BATCH_HEADER, header->length - JOURNAL_BATCH_HEADER);
    while (rest.len > 0) {
        struct journal_record record;
        if (journal_record_decode(&rest, &record) != 0) {
            say(i, "    no record of this format, %zu bytes left",
                "\"damaged\":true,\"problem\":\"no record of this format\",\"bytes_left\":%zu",
                rest.len);
            return;
        }
        say_record(i, &record);
    }
}

/* Prints the batches of a segment; where none begins, looks on block by block. */
static void show_batches(const struct inspection *i, struct bnd_slice file,
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
            say(i, "  offset %" PRIu64 ": DAMAGED up to %" PRIu64,
                "\"offset\":%" PRIu64 ",\"damaged\":true,\"to\":%" PRIu64, gap, at);
            gap = 0;
        }
        bool valid = journal_batch_body_valid(bytes, &place, &header);
        say(i,
            "  offset %" PRIu64 ": batch %" PRIu64 ", %" PRIu32 " bytes, %" PRIu32
            " records, lsn to %" PRIu64 "%s",
            "\"offset\":%" PRIu64 ",\"batch\":%" PRIu64 ",\"bytes\":%" PRIu32
            ",\"records\":%" PRIu32 ",\"lsn\":%" PRIu64 ",\"damaged\":%s",
            at, header.number, header.length, header.records, header.lsn_last,
            valid ? pick(i, "", "false") : pick(i, ", DAMAGED or torn", "true"));
        if (valid && i->look->records) {
            show_records(i, file.data + at, &header);
        }
        at += valid ? journal_padded(header.length) : JOURNAL_BLOCK;
    }
    if (gap != 0) {
        say(i, "  offset %" PRIu64 ": end, or an unreadable last batch",
            "\"offset\":%" PRIu64 ",\"end\":true", gap);
    }
}

static int content_read(const struct inspection *i, const char *path, uint8_t **out,
                        size_t *out_len, struct bnd_error *err) {
    struct bnd_env *env = i->env;
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
    struct inspection *i = data;
    BND_AUTO_BUF struct bnd_buf space = {0};
    uint64_t number = 0;
    enum journal_file kind = journal_file_parse(name, &number);
    if (kind != JOURNAL_FILE_SEGMENT) {
        i->segment = 0;
        say(i, "%s: %s", "\"file\":\"%s\",\"use\":\"%s\"", shown(i, name, &space),
            kind == JOURNAL_FILE_OTHER ? "not the journal's" : "not in use");
        return 0;
    }
    char path[JOURNAL_PATH_MAX];
    i->segment = number;
    journal_path(i->look->dir, number, JOURNAL_FILE_SEGMENT, path);
    struct bnd_error err = {0};
    struct journal_segment_header header;
    BND_AUTO uint8_t *content = NULL;
    size_t len = 0;
    int rv = content_read(i, path, &content, &len, &err);
    if (rv == 0) {
        rv = journal_segment_header_decode(bnd_slice(content, len), &header, &err);
    }
    if (rv != 0) {
        say(i, "%s: UNREADABLE: %s", "\"file\":\"%s\",\"damaged\":true,\"problem\":\"%s\"", name,
            shown(i, err.message, &space));
        return 0;
    }
    bool fits = header.generation == number && header.bytes == len;
    say(i, "%s: generation %" PRIu64 ", cluster %" PRIx64 ", node %" PRIx64 ", %" PRIu64 " bytes%s",
        "\"file\":\"%s\",\"generation\":%" PRIu64 ",\"cluster\":\"%" PRIx64 "\",\"node\":\"%" PRIx64
        "\",\"bytes\":%" PRIu64 ",\"damaged\":%s",
        name, header.generation, header.cluster_id, header.node_id, header.bytes,
        fits ? pick(i, "", "false") : pick(i, ", DAMAGED: not as the file says", "true"));
    show_batches(i, bnd_slice(content, len),
                 (struct journal_place){.salt = header.salt, .generation = header.generation});
    return 0;
}

int bnd_journal_inspect(struct bnd_env *env, const struct bnd_journal_look *look,
                        struct bnd_error *err) {
    struct inspection inspection = {.env = env, .look = look};
    if (strlen(look->dir) >= JOURNAL_DIR_MAX) {
        return BND_FAIL(err, INVALID, "journal directory's path is too long");
    }
    return env->ops->dir_list(env, look->dir, show_file, &inspection, err);
}
