/* `bindery inspect body`: one body's file told part by part, by the decoders of file.c and none of
 * their judgement: what is damaged is said, and the rest goes on. */
#include "base/alloc.h"
#include "base/json.h"
#include "objects/bodies/file_private.h"

#include <stdarg.h>
#include <stdio.h>

struct inspecting {
    const struct body_inspection *look;
    struct body_reading reading;
    uint64_t file_bytes;
    uint64_t damaged; /* parts */
    uint64_t chain;   /* over the blocks' hashes as they were computed */
    bool version_known;
    uint8_t version[BND_OBJECT_ID_BYTES];
    struct body_footer footer;
    bool footer_ok;
};

/* One line: by `text`, or the fields of a JSON object by `json`, of the same arguments. */
static void say(struct inspecting *i, const char *text, const char *json, ...)
    __attribute__((format(printf, 2, 4), format(printf, 3, 4)));

static void say(struct inspecting *i, const char *text, const char *json, ...) {
    char line[1024];
    size_t at = i->look->json;
    va_list args;
    line[0] = '{';
    va_start(args, json);
    (void)vsnprintf(line + at, sizeof line - 2, i->look->json ? json : text, args); /* fits */
    va_end(args);
    if (i->look->json) {
        size_t len = strlen(line); /* there is room for one more */
        line[len] = '}';
        line[len + 1] = 0;
    }
    i->look->print(i->look->data, line);
}

static void say_damage(struct inspecting *i, const char *part, const char *problem) {
    BND_AUTO_BUF struct bnd_buf space = {0};
    bnd_json_text(&space, problem);
    bnd_buf_u8(&space, 0);
    i->damaged++;
    say(i, "%s: DAMAGED: %s", "\"part\":\"%s\",\"damaged\":true,\"problem\":\"%s\"", part,
        !i->look->json ? problem
        : space.failed ? ""
                       : (const char *)space.data);
}

static void see_version(struct inspecting *i, const uint8_t *version) {
    if (!i->version_known) {
        memcpy(i->version, version, sizeof i->version);
        i->version_known = true;
    }
}

static void inspect_header(struct inspecting *i) {
    uint8_t bytes[BODY_HEADER_BYTES];
    char version[BND_OBJECT_ID_TEXT];
    struct body_info info;
    struct bnd_error err = {0};
    int rv = body_read_exactly(&i->reading, bytes, sizeof bytes, 0, &err);
    rv = rv != 0 ? rv : body_parse_header(&i->reading, bytes, NULL, &info, &err);
    if (rv != 0) {
        say_damage(i, "header", err.message);
        return;
    }
    bnd_object_id_text(info.id.version, version);
    say(i, "header: ok: group %llx, version %s, made at %llu ms",
        "\"part\":\"header\",\"damaged\":false,\"group\":\"%llx\",\"version\":\"%s\",\"made_ms\":%"
        "llu",
        (unsigned long long)info.id.gid, version, (unsigned long long)info.created_ms);
    see_version(i, info.id.version);
}

static void inspect_footer(struct inspecting *i) {
    uint8_t bytes[BODY_FOOTER_BYTES];
    char version[BND_OBJECT_ID_TEXT];
    struct bnd_error err = {0};
    int rv =
        body_read_exactly(&i->reading, bytes, sizeof bytes, i->file_bytes - sizeof bytes, &err);
    rv = rv != 0 ? rv : body_parse_footer(&i->reading, bytes, &i->footer, &err);
    if (rv != 0) {
        say_damage(i, "footer", err.message);
        return;
    }
    bnd_object_id_text(i->footer.version, version);
    say(i, "footer: ok: version %s, %llu bytes in %llu blocks, deadline %llu ms",
        "\"part\":\"footer\",\"damaged\":false,\"version\":\"%s\",\"bytes\":%llu,\"blocks\":%llu,"
        "\"deadline_ms\":%llu",
        version, (unsigned long long)i->footer.size, (unsigned long long)i->footer.blocks,
        (unsigned long long)i->footer.deadline_ms);
    i->footer_ok = true;
    if (i->version_known && memcmp(i->version, i->footer.version, sizeof i->version) != 0) {
        say_damage(i, "body", "header and footer are of different bodies");
    }
    see_version(i, i->footer.version);
}

static void see_name(struct inspecting *i) {
    const char *slash = strrchr(i->look->path, '/');
    struct body_id id;
    if (body_name_parse(slash == NULL ? i->look->path : slash + 1, &id) == 0) {
        see_version(i, id.version);
    }
}

static int inspect_block(struct inspecting *i, uint64_t block, size_t len, uint8_t *raw) {
    uint8_t hash[BODY_HASH_BYTES];
    struct bnd_error err = {0};
    uint64_t place = BODY_HEADER_BYTES + block * (BODY_BLOCK_BYTES + BODY_HASH_BYTES);
    int rv = body_read_exactly(&i->reading, raw, BODY_HASH_BYTES + len, place, &err);
    if (rv == 0) {
        body_block_hash(i->version, block, bnd_slice(raw + BODY_HASH_BYTES, len), hash);
        i->chain = body_chain_next(i->chain, raw);
        rv = memcmp(hash, raw, sizeof hash) == 0
                 ? 0
                 : BND_FAIL(&err, CORRUPT, "the data does not match its hash");
    }
    char text[2 * BODY_HASH_BYTES + 1];
    if (rv != 0) {
        char part[96];
        (void)snprintf(part, sizeof part, "block %llu (bytes %llu to %llu)",
                       (unsigned long long)block, (unsigned long long)(block * BODY_BLOCK_BYTES),
                       (unsigned long long)(block * BODY_BLOCK_BYTES + len - 1)); /* fits */
        say_damage(i, part, err.message);
    } else if (i->look->each) {
        bnd_hex_encode(raw, BODY_HASH_BYTES, text);
        say(i, "block %llu: ok: %zu bytes, hash %s",
            "\"part\":\"block %llu\",\"damaged\":false,\"bytes\":%zu,\"hash\":\"%s\"",
            (unsigned long long)block, len, text);
    }
    return rv;
}

/* Bytes of data that a file of this length has room for. */
static uint64_t data_bytes(const struct inspecting *i) {
    uint64_t inside = i->file_bytes - BODY_HEADER_BYTES - BODY_FOOTER_BYTES;
    uint64_t slot = BODY_BLOCK_BYTES + BODY_HASH_BYTES;
    uint64_t blocks = (inside + slot - 1) / slot;
    return inside < blocks * BODY_HASH_BYTES ? 0 : inside - blocks * BODY_HASH_BYTES;
}

static void inspect_blocks(struct inspecting *i, uint8_t *raw) {
    uint64_t size = data_bytes(i);
    uint64_t good = 0;
    uint64_t count = 0;
    for (uint64_t at = 0; at < size; at += BODY_BLOCK_BYTES, count++) {
        size_t len = size - at < BODY_BLOCK_BYTES ? (size_t)(size - at) : BODY_BLOCK_BYTES;
        good += inspect_block(i, count, len, raw) == 0;
    }
    say(i, "blocks: %llu of %llu match their hashes", "\"blocks_sound\":%llu,\"blocks\":%llu",
        (unsigned long long)good, (unsigned long long)count);
    /* A damaged hash would break the chain a second time. */
    bool chained = good < count || i->footer.chain == i->chain;
    if (i->footer_ok && (i->footer.size != size || !chained)) {
        say_damage(i, "body", "the footer is not of these blocks");
    }
}

static int inspect_open(struct inspecting *i, struct bnd_error *err) {
    int rv = i->reading.env->ops->file_size(i->reading.env, i->reading.file, &i->file_bytes, err);
    if (rv == 0 && i->file_bytes < BODY_HEADER_BYTES + BODY_FOOTER_BYTES) {
        return BND_FAIL(err, CORRUPT, "%s: %llu bytes are too few for a body", i->look->path,
                        (unsigned long long)i->file_bytes);
    }
    BND_AUTO uint8_t *raw = rv == 0 ? bnd_alloc(BODY_BLOCK_BYTES + BODY_HASH_BYTES) : NULL;
    if (rv != 0 || raw == NULL) {
        return rv != 0 ? rv : BND_FAIL(err, NOMEM, "no memory for a block");
    }
    inspect_header(i);
    inspect_footer(i);
    see_name(i);
    if (!i->version_known) {
        say(i, "blocks: not checked: %s",
            "\"part\":\"blocks\",\"checked\":false,\"problem\":\"%s\"",
            "no version id is left to check them by");
    } else {
        inspect_blocks(i, raw);
    }
    return i->damaged == 0 ? 0
                           : BND_FAIL(err, CORRUPT, "%s: %llu parts are damaged", i->look->path,
                                      (unsigned long long)i->damaged);
}

int body_inspect(struct bnd_env *env, const struct body_inspection *look, struct bnd_error *err) {
    struct inspecting i = {.look = look, .reading = {.env = env, .path = look->path}};
    int rv = env->ops->file_open(env, look->path, BND_OPEN_READ, &i.reading.file, err);
    if (rv == 0) {
        rv = inspect_open(&i, err);
        env->ops->file_close(env, i.reading.file);
    }
    return rv;
}
