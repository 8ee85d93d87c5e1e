/* See file.h. */
#include "objects/bodies/file_private.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

#include <stdio.h>

enum {
    SLOT_BYTES = BODY_BLOCK_BYTES + BODY_HASH_BYTES,
    SYNC_EVERY_BYTES = 32 << 20,
    BLOCKS_PER_READ = BND_OBJECT_CHUNK_MAX / BODY_BLOCK_BYTES + 1,
};

static const uint8_t header_magic[8] = {'B', 'N', 'D', 'B', 'O', 'D', 'Y', '1'};
static const uint8_t footer_magic[8] = {'B', 'N', 'D', 'B', 'E', 'N', 'D', '1'};

_Static_assert(BND_OBJECT_CHUNK_MAX % BODY_BLOCK_BYTES == 0, "chunks are whole blocks");

bool body_path(const char *dir, const struct body_id *id, char out[BODY_PATH_MAX]) {
    char version[BND_OBJECT_ID_TEXT];
    bnd_object_id_text(id->version, version);
    int len = snprintf(out, BODY_PATH_MAX, "%s/%02x/%016llx-%s", dir, id->version[0],
                       (unsigned long long)id->gid, version);
    return len > 0 && len < (int)BODY_PATH_MAX;
}

bool body_fan_path(const char *dir, unsigned first, char out[BODY_PATH_MAX]) {
    int len = snprintf(out, BODY_PATH_MAX, "%s/%02x", dir, first);
    return len > 0 && len < (int)BODY_PATH_MAX;
}

static bool tmp_path(const char *dir, const char *name, char out[BODY_PATH_MAX]) {
    int len = snprintf(out, BODY_PATH_MAX, "%s/tmp%s%s", dir, name[0] == 0 ? "" : "/", name);
    return len > 0 && len < (int)BODY_PATH_MAX;
}

int body_name_parse(const char *name, struct body_id *out) {
    struct body_id id;
    uint8_t gid[8];
    if (strlen(name) != BODY_NAME_MAX - 1 || name[16] != '-' ||
        bnd_hex_decode(bnd_slice(name, 16), gid, sizeof gid) != 0 ||
        bnd_hex_decode(bnd_slice(name + 17, 32), id.version, sizeof id.version) != 0) {
        return BND_INVALID;
    }
    id.gid = bnd_get_be64(gid);
    *out = id;
    return 0;
}

/* ---- the directory ----------------------------------------------------------------------------
 */

struct cleaning {
    struct bnd_env *env;
    const char *dir;
};

static int delete_tmp(void *data, const char *name) {
    const struct cleaning *cleaning = data;
    char path[BODY_PATH_MAX];
    if (!tmp_path(cleaning->dir, name, path)) {
        return BND_INVALID;
    }
    return cleaning->env->ops->unlink(cleaning->env, path, NULL);
}

/* The file "format" holds the one number of the layout of this directory. */
static int check_format(struct bnd_env *env, const char *dir, struct bnd_error *err) {
    char path[BODY_PATH_MAX];
    struct bnd_file *file = NULL;
    uint8_t bytes[12] = {'B', 'N', 'D', 'B', 'D', 'I', 'R', '1', BODY_FORMAT, 0, 0, 0};
    uint8_t found[sizeof bytes];
    size_t got = 0;
    if (snprintf(path, sizeof path, "%s/format", dir) >= (int)sizeof path) {
        return BND_FAIL(err, INVALID, "path too long: %s", dir);
    }
    int rv = env->ops->file_open(env, path, BND_OPEN_READ, &file, NULL);
    if (rv == 0) {
        rv = env->ops->file_pread(env, file, found, sizeof found, 0, &got, err);
        env->ops->file_close(env, file);
        if (rv == 0 && got == sizeof found && memcmp(found, bytes, sizeof bytes) == 0) {
            return 0;
        }
        if (rv == 0 && got != 0) { /* empty: a crash while it was made, before any body */
            return BND_FAIL(err, VERSION, "%s: not a bodies directory of format %d", dir,
                            BODY_FORMAT);
        }
    }
    if (rv != 0 && rv != BND_NOTFOUND) {
        return BND_WRAP(err, rv, "%s", path);
    }
    rv = env->ops->file_open(env, path, BND_OPEN_WRITE | BND_OPEN_CREATE, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = env->ops->file_pwrite(env, file, bytes, sizeof bytes, 0, err);
    rv = rv == 0 ? env->ops->file_sync(env, file, err) : rv;
    env->ops->file_close(env, file);
    return rv;
}

/* The entry of the directory itself must last, too. */
static int sync_parent(struct bnd_env *env, const char *dir, struct bnd_error *err) {
    char parent[BODY_PATH_MAX] = ".";
    const char *slash = strrchr(dir, '/');
    if (slash != NULL) {
        size_t len = slash == dir ? 1 : (size_t)(slash - dir);
        memcpy(parent, dir, len);
        parent[len] = 0;
    }
    return env->ops->dir_sync(env, parent, err);
}

int body_dir_open(struct bnd_env *env, const char *dir, struct bnd_error *err) {
    char path[BODY_PATH_MAX];
    struct cleaning cleaning = {.env = env, .dir = dir};
    if (strlen(dir) > BODY_PATH_MAX / 2) {
        return BND_FAIL(err, INVALID, "path too long: %s", dir);
    }
    int rv = env->ops->dir_make(env, dir, err);
    rv = rv == 0 ? check_format(env, dir, err) : rv;
    for (unsigned i = 0; rv == 0 && i < 256; i++) {
        (void)body_fan_path(dir, i, path); /* fits: dir is at most half of it */
        rv = env->ops->dir_make(env, path, err);
    }
    (void)tmp_path(dir, "", path);
    rv = rv == 0 ? env->ops->dir_make(env, path, err) : rv;
    rv = rv == 0 ? env->ops->dir_sync(env, dir, err) : rv;
    rv = rv == 0 ? sync_parent(env, dir, err) : rv;
    return rv == 0 ? env->ops->dir_list(env, path, delete_tmp, &cleaning, err) : rv;
}

/* ---- header, blocks, footer -------------------------------------------------------------------
 */

static void put_sum(uint8_t bytes[64]) {
    bnd_put_u64(bytes + 56, bnd_hash64(bnd_slice(bytes, 56), 0));
}

static bool sum_ok(const uint8_t bytes[64]) {
    return bnd_get_u64(bytes + 56) == bnd_hash64(bnd_slice(bytes, 56), 0);
}

static void make_header(uint8_t out[BODY_HEADER_BYTES], const struct body_id *id,
                        uint64_t created_ms) {
    memset(out, 0, BODY_HEADER_BYTES);
    memcpy(out, header_magic, 8);
    bnd_put_u32(out + 8, BODY_FORMAT);
    bnd_put_u32(out + 12, BODY_BLOCK_BYTES);
    bnd_put_u64(out + 16, id->gid);
    memcpy(out + 24, id->version, 16);
    bnd_put_u64(out + 40, created_ms);
    put_sum(out);
}

static uint64_t block_seed(const uint8_t *version, uint64_t block) {
    uint8_t bytes[BND_OBJECT_ID_BYTES + 8];
    memcpy(bytes, version, BND_OBJECT_ID_BYTES);
    bnd_put_u64(bytes + BND_OBJECT_ID_BYTES, block);
    return bnd_hash64(bnd_slice(bytes, sizeof bytes), 0);
}

void body_block_hash(const uint8_t *version, uint64_t block, struct bnd_slice data,
                     uint8_t out[BODY_HASH_BYTES]) {
    struct bnd_hash128 hash = bnd_hash128(data, block_seed(version, block));
    bnd_put_u64(out, hash.low);
    bnd_put_u64(out + 8, hash.high);
}

uint64_t body_chain_next(uint64_t chain, const uint8_t hash[BODY_HASH_BYTES]) {
    return bnd_hash64(bnd_slice(hash, BODY_HASH_BYTES), chain);
}

static uint64_t blocks_of(uint64_t size) {
    return (size + BODY_BLOCK_BYTES - 1) / BODY_BLOCK_BYTES;
}

static uint64_t file_bytes(uint64_t size) {
    return BODY_HEADER_BYTES + size + blocks_of(size) * BODY_HASH_BYTES + BODY_FOOTER_BYTES;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

int body_writer_open(struct body_writer *writer, struct bnd_env *env, const char *dir,
                     const struct body_id *id, uint64_t number, struct bnd_error *err) {
    char version[BND_OBJECT_ID_TEXT];
    char name[80];
    uint8_t header[BODY_HEADER_BYTES];
    *writer = (struct body_writer){.env = env, .id = *id};
    bnd_object_id_text(id->version, version);
    (void)snprintf(name, sizeof name, "%s-%llu", version, (unsigned long long)number);
    if (!tmp_path(dir, name, writer->path)) {
        return BND_FAIL(err, INVALID, "path too long: %s", dir);
    }
    int rv = env->ops->file_open(env, writer->path,
                                 BND_OPEN_WRITE | BND_OPEN_CREATE | BND_OPEN_EXCLUSIVE,
                                 &writer->file, err);
    if (rv != 0) {
        writer->file = NULL;
        return rv;
    }
    make_header(header, id, bnd_wall_ms(env));
    rv = env->ops->file_pwrite(env, writer->file, header, sizeof header, 0, err);
    writer->place = sizeof header;
    if (rv != 0) {
        body_writer_abort(writer);
    }
    return rv;
}

static int write_sync(struct body_writer *writer, struct bnd_error *err) {
    int rv = writer->env->ops->file_sync(writer->env, writer->file, err);
    writer->unsynced = rv == 0 ? 0 : writer->unsynced;
    return rv;
}

int body_writer_append(struct body_writer *writer, struct bnd_slice data, struct bnd_error *err) {
    BND_ASSERT(writer->file != NULL);
    if (writer->ended && data.len > 0) {
        return BND_FAIL(err, INVALID, "%s: bytes after the last block", writer->path);
    }
    BND_AUTO_BUF struct bnd_buf out = {0};
    uint64_t chain = writer->chain;
    uint64_t block = writer->size / BODY_BLOCK_BYTES;
    for (size_t at = 0; at < data.len; at += BODY_BLOCK_BYTES, block++) {
        size_t len = data.len - at < BODY_BLOCK_BYTES ? data.len - at : BODY_BLOCK_BYTES;
        uint8_t hash[BODY_HASH_BYTES];
        body_block_hash(writer->id.version, block, bnd_slice(data.data + at, len), hash);
        chain = body_chain_next(chain, hash);
        bnd_buf_append(&out, hash, sizeof hash);
        bnd_buf_append(&out, data.data + at, len);
        writer->ended = len < BODY_BLOCK_BYTES;
    }
    if (out.failed) {
        return BND_FAIL(err, NOMEM, "%s: no memory for a chunk", writer->path);
    }
    int rv = out.len == 0 ? 0
                          : writer->env->ops->file_pwrite(writer->env, writer->file, out.data,
                                                          out.len, writer->place, err);
    if (rv != 0) {
        return rv;
    }
    writer->place += out.len;
    writer->unsynced += out.len;
    writer->size += data.len;
    writer->chain = chain;
    return writer->unsynced >= SYNC_EVERY_BYTES ? write_sync(writer, err) : 0;
}

static int write_footer(struct body_writer *writer, uint64_t deadline_ms, struct bnd_error *err) {
    uint8_t footer[BODY_FOOTER_BYTES] = {0};
    memcpy(footer, footer_magic, 8);
    bnd_put_u64(footer + 8, writer->size);
    bnd_put_u64(footer + 16, deadline_ms);
    bnd_put_u64(footer + 24, blocks_of(writer->size));
    bnd_put_u64(footer + 32, writer->chain);
    memcpy(footer + 40, writer->id.version, 16);
    put_sum(footer);
    return writer->env->ops->file_pwrite(writer->env, writer->file, footer, sizeof footer,
                                         writer->place, err);
}

int body_writer_finish(struct body_writer *writer, const char *dir, uint64_t deadline_ms,
                       struct bnd_error *err) {
    BND_ASSERT(writer->file != NULL);
    struct bnd_env *env = writer->env;
    char path[BODY_PATH_MAX];
    char fan[BODY_PATH_MAX];
    if (!body_path(dir, &writer->id, path) || !body_fan_path(dir, writer->id.version[0], fan)) {
        body_writer_abort(writer);
        return BND_FAIL(err, INVALID, "path too long: %s", dir);
    }
    int rv = write_footer(writer, deadline_ms, err);
    rv = rv == 0 ? write_sync(writer, err) : rv;
    if (rv != 0) {
        body_writer_abort(writer);
        return rv;
    }
    env->ops->file_close(env, writer->file);
    writer->file = NULL;
    rv = env->ops->rename(env, writer->path, path, err);
    if (rv != 0) {
        (void)env->ops->unlink(env, writer->path, NULL); /* or by the next start */
        return rv;
    }
    return env->ops->dir_sync(env, fan, err);
}

void body_writer_abort(struct body_writer *writer) {
    if (writer->file != NULL) {
        writer->env->ops->file_close(writer->env, writer->file);
        writer->file = NULL;
        (void)writer->env->ops->unlink(writer->env, writer->path, NULL); /* or by the next start */
    }
}

/* ---- reading ----------------------------------------------------------------------------------
 */

int body_read_exactly(const struct body_reading *reading, uint8_t *out, size_t len, uint64_t offset,
                      struct bnd_error *err) {
    size_t got = 0;
    int rv =
        reading->env->ops->file_pread(reading->env, reading->file, out, len, offset, &got, err);
    if (rv == 0 && got != len) {
        return BND_FAIL(err, CORRUPT, "%s: ends early at byte %llu", reading->path,
                        (unsigned long long)(offset + got));
    }
    return rv;
}

int body_parse_header(const struct body_reading *reading, const uint8_t *bytes,
                      const struct body_id *id, struct body_info *info, struct bnd_error *err) {
    if (memcmp(bytes, header_magic, 8) != 0 || !sum_ok(bytes)) {
        return BND_FAIL(err, CORRUPT, "%s: header is damaged", reading->path);
    }
    if (bnd_get_u32(bytes + 8) != BODY_FORMAT || bnd_get_u32(bytes + 12) != BODY_BLOCK_BYTES) {
        return BND_FAIL(err, VERSION, "%s: body format %u is not known", reading->path,
                        (unsigned)bnd_get_u32(bytes + 8));
    }
    info->id.gid = bnd_get_u64(bytes + 16);
    memcpy(info->id.version, bytes + 24, 16);
    info->created_ms = bnd_get_u64(bytes + 40);
    if (id != NULL && (info->id.gid != id->gid || memcmp(info->id.version, id->version, 16) != 0)) {
        return BND_FAIL(err, CORRUPT, "%s: header is of another body", reading->path);
    }
    return 0;
}

int body_parse_footer(const struct body_reading *reading, const uint8_t *bytes,
                      struct body_footer *out, struct bnd_error *err) {
    struct body_footer footer = {
        .size = bnd_get_u64(bytes + 8),
        .deadline_ms = bnd_get_u64(bytes + 16),
        .blocks = bnd_get_u64(bytes + 24),
        .chain = bnd_get_u64(bytes + 32),
    };
    memcpy(footer.version, bytes + 40, sizeof footer.version);
    if (memcmp(bytes, footer_magic, 8) != 0 || !sum_ok(bytes) ||
        footer.size > BND_OBJECT_BODY_MAX || footer.blocks != blocks_of(footer.size)) {
        return BND_FAIL(err, CORRUPT, "%s: footer is damaged", reading->path);
    }
    *out = footer;
    return 0;
}

static int stat_open(const struct body_reading *reading, const struct body_id *id,
                     struct body_info *out, uint64_t *out_chain, struct bnd_error *err) {
    uint8_t header[BODY_HEADER_BYTES];
    uint8_t footer[BODY_FOOTER_BYTES];
    struct body_info info;
    struct body_footer end;
    uint64_t bytes = 0;
    int rv = reading->env->ops->file_size(reading->env, reading->file, &bytes, err);
    rv = rv == 0 ? body_read_exactly(reading, header, sizeof header, 0, err) : rv;
    rv = rv == 0 ? body_parse_header(reading, header, id, &info, err) : rv;
    rv = rv == 0 ? body_read_exactly(reading, footer, sizeof footer, bytes - BODY_FOOTER_BYTES, err)
                 : rv;
    if (rv != 0) {
        return rv;
    }
    rv = body_parse_footer(reading, footer, &end, err);
    if (rv != 0) {
        return rv;
    }
    info.size = end.size;
    info.deadline_ms = end.deadline_ms;
    if (memcmp(end.version, info.id.version, 16) != 0 || bytes != file_bytes(info.size)) {
        return BND_FAIL(err, CORRUPT, "%s: footer is damaged", reading->path);
    }
    *out_chain = end.chain;
    *out = info;
    return 0;
}

int body_stat(struct bnd_env *env, const char *path, const struct body_id *id,
              struct body_info *out, struct bnd_error *err) {
    struct body_reading reading = {.env = env, .path = path};
    uint64_t chain = 0;
    int rv = env->ops->file_open(env, path, BND_OPEN_READ, &reading.file, err);
    if (rv == 0) {
        rv = stat_open(&reading, id, out, &chain, err);
        env->ops->file_close(env, reading.file);
    }
    return rv;
}

/* Reads and verifies blocks [first, first + count) of a body of `size` bytes into out. */
static int read_blocks(const struct body_reading *reading, const struct body_id *id,
                       const uint64_t size_first_count[3], struct bnd_buf *out, uint64_t *chain,
                       struct bnd_error *err) {
    uint64_t size = size_first_count[0];
    uint64_t first = size_first_count[1];
    uint64_t count = size_first_count[2];
    uint64_t data = size - first * BODY_BLOCK_BYTES;
    data = data < count * BODY_BLOCK_BYTES ? data : count * BODY_BLOCK_BYTES;
    size_t bytes = (size_t)(data + count * BODY_HASH_BYTES);
    BND_AUTO uint8_t *raw = bnd_alloc(bytes);
    if (raw == NULL) {
        return BND_FAIL(err, NOMEM, "%s: no memory to read", reading->path);
    }
    int rv = body_read_exactly(reading, raw, bytes, BODY_HEADER_BYTES + first * SLOT_BYTES, err);
    for (size_t at = 0; rv == 0 && at < bytes; first++) {
        uint8_t hash[BODY_HASH_BYTES];
        size_t len = bytes - at - BODY_HASH_BYTES;
        len = len < BODY_BLOCK_BYTES ? len : BODY_BLOCK_BYTES;
        struct bnd_slice block = bnd_slice(raw + at + BODY_HASH_BYTES, len);
        body_block_hash(id->version, first, block, hash);
        if (memcmp(hash, raw + at, sizeof hash) != 0) {
            return BND_FAIL(err, CORRUPT, "%s: block %llu does not match its hash", reading->path,
                            (unsigned long long)first);
        }
        *chain = body_chain_next(*chain, hash);
        bnd_buf_append_slice(out, block);
        at += BODY_HASH_BYTES + len;
    }
    return rv == 0 && out->failed ? BND_FAIL(err, NOMEM, "no memory to read a body") : rv;
}

int body_read(struct bnd_env *env, const char *path, const struct body_id *id,
              struct body_read_range *range, struct bnd_buf *out, struct bnd_error *err) {
    if (range->offset > range->size || range->len > range->size - range->offset ||
        range->len > BND_OBJECT_CHUNK_MAX) {
        return BND_FAIL(err, RANGE, "%s: no bytes %llu+%zu", path,
                        (unsigned long long)range->offset, range->len);
    }
    struct body_reading reading = {.env = env, .path = path};
    struct body_info info;
    uint64_t chain = 0;
    BND_AUTO_BUF struct bnd_buf blocks = {0};
    int rv = env->ops->file_open(env, path, BND_OPEN_READ, &reading.file, err);
    if (rv != 0) {
        return rv;
    }
    rv = stat_open(&reading, id, &info, &chain, err);
    if (rv == 0 && info.size != range->size) {
        rv = BND_FAIL(err, CORRUPT, "%s: %llu bytes in place of %llu", path,
                      (unsigned long long)info.size, (unsigned long long)range->size);
    }
    uint64_t first = range->offset / BODY_BLOCK_BYTES;
    uint64_t end = blocks_of(range->offset + range->len);
    if (rv == 0 && range->len > 0) {
        BND_ASSERT(end - first <= BLOCKS_PER_READ);
        const uint64_t what[3] = {info.size, first, end - first};
        rv = read_blocks(&reading, id, what, &blocks, &chain, err);
    }
    env->ops->file_close(env, reading.file);
    if (rv == 0) {
        bnd_buf_reset(out);
        if (range->len > 0) {
            bnd_buf_append(out, blocks.data + (range->offset - first * BODY_BLOCK_BYTES),
                           range->len);
        }
        range->deadline_ms = info.deadline_ms;
        rv = out->failed ? BND_FAIL(err, NOMEM, "no memory to read a body") : 0;
    }
    return rv;
}

int body_verify(struct bnd_env *env, const char *path, struct body_info *out,
                struct bnd_error *err) {
    struct body_reading reading = {.env = env, .path = path};
    struct body_info info;
    uint64_t chain = 0;
    uint64_t found = 0;
    BND_AUTO_BUF struct bnd_buf blocks = {0};
    int rv = env->ops->file_open(env, path, BND_OPEN_READ, &reading.file, err);
    if (rv != 0) {
        return rv;
    }
    rv = stat_open(&reading, NULL, &info, &chain, err);
    uint64_t count = rv == 0 ? blocks_of(info.size) : 0;
    for (uint64_t block = 0; rv == 0 && block < count; block++) {
        const uint64_t what[3] = {info.size, block, 1};
        bnd_buf_reset(&blocks);
        rv = read_blocks(&reading, &info.id, what, &blocks, &found, err);
    }
    env->ops->file_close(env, reading.file);
    if (rv == 0 && found != chain) {
        rv = BND_FAIL(err, CORRUPT, "%s: blocks and footer do not belong together", path);
    }
    if (rv == 0) {
        *out = info;
    }
    return rv;
}
