/* One body on disk: format, writer, reader (SPEC.md, "Bodies"; ADR 0051). Blocking: for the pool,
 * for start-up and for `bindery inspect body`.
 *
 *   header, 64 bytes | blocks: 16 bytes XXH3-128, then up to 65,536 bytes of data | footer, 64
 * bytes
 *
 * Every block but the last is full. A block's hash is seeded by version id and block number, so
 * that a block of another body, or of another place, never looks right. The footer is written last
 * and synced with the rest before the file gets its name: a file under its name is complete, or
 * damaged.
 *
 * Names: bodies/<first byte of the version id, hex>/<group id, 16 hex>-<version id, 32 hex>; while
 * being written bodies/tmp/<version id>-<number>. */
#ifndef BND_OBJECTS_BODIES_FILE_H
#define BND_OBJECTS_BODIES_FILE_H

#include "base/env.h"
#include "objects/objects.h"

#define BODY_BLOCK_BYTES 65536u
#define BODY_HASH_BYTES 16u
#define BODY_HEADER_BYTES 64u
#define BODY_FOOTER_BYTES 64u
#define BODY_PATH_MAX 1024u
#define BODY_NAME_MAX (16 + 1 + 32 + 1)
enum { BODY_FORMAT = 1 };

struct body_id {
    uint64_t gid;
    uint8_t version[BND_OBJECT_ID_BYTES];
};

/* Path of a complete body; false if dir is too long. */
bool body_path(const char *dir, const struct body_id *id, char out[BODY_PATH_MAX]);
/* The directory of bodies whose version begins with this byte. */
bool body_fan_path(const char *dir, unsigned first, char out[BODY_PATH_MAX]);
/* BND_INVALID: not the name of a body. */
int body_name_parse(const char *name, struct body_id *out);

/* Makes the directories, refuses a directory of a newer format, and deletes unfinished bodies.
 * BND_VERSION, BND_IO, BND_NOSPACE. */
int body_dir_open(struct bnd_env *env, const char *dir, struct bnd_error *err);

/* A body being written. One thread at a time. */
struct body_writer {
    struct bnd_env *env;
    struct bnd_file *file; /* NULL: not open */
    struct body_id id;
    uint64_t size;     /* data so far */
    uint64_t place;    /* next byte of the file */
    uint64_t unsynced; /* bytes since the last sync */
    uint64_t chain;    /* hash over the blocks' hashes */
    bool ended;        /* a block that was not full was written */
    char path[BODY_PATH_MAX];
};

/* number: makes the temporary name unique. */
int body_writer_open(struct body_writer *writer, struct bnd_env *env, const char *dir,
                     const struct body_id *id, uint64_t number, struct bnd_error *err);
/* All but the last append must be a multiple of BODY_BLOCK_BYTES: else BND_INVALID. Syncs now and
 * then, so that the end does not have to wait for all. */
int body_writer_append(struct body_writer *writer, struct bnd_slice data, struct bnd_error *err);
/* Makes it durable under its name: footer, sync, rename, sync of the directory. Replaces a body of
 * the same name. The writer is closed by it, whatever it returns. */
int body_writer_finish(struct body_writer *writer, const char *dir, uint64_t deadline_ms,
                       struct bnd_error *err);
/* Deletes what was written. Idempotent; allowed on a zeroed writer. */
void body_writer_abort(struct body_writer *writer);

struct body_info {
    struct body_id id;
    uint64_t size;
    uint64_t created_ms;
    uint64_t deadline_ms;
};

/* Reads header and footer and checks them against each other, the file's size, and id (NULL: any).
 * BND_NOTFOUND, BND_CORRUPT, BND_VERSION, BND_IO. */
int body_stat(struct bnd_env *env, const char *path, const struct body_id *id,
              struct body_info *out, struct bnd_error *err);

/* Reads and verifies data [offset, offset + len), len <= BND_OBJECT_CHUNK_MAX, into out (reset
 * first). size: what the body must have. BND_NOTFOUND; BND_CORRUPT names the block; BND_RANGE. */
struct body_read_range {
    uint64_t size;
    uint64_t offset;
    size_t len;
    uint64_t deadline_ms; /* out */
};
int body_read(struct bnd_env *env, const char *path, const struct body_id *id,
              struct body_read_range *range, struct bnd_buf *out, struct bnd_error *err);

/* For `bindery inspect body`: tells what the file holds, as far as it can be read, damage or not:
 * header, footer, and every block whose hash does not match (each: every block). Version and size
 * come from whichever of header, footer, name and length is not damaged. print gets lines,
 * borrowed. BND_CORRUPT if anything is damaged; BND_NOTFOUND, BND_IO. */
struct body_inspection {
    const char *path;
    bool each;
    bool json; /* each line is a JSON object */
    void (*print)(void *data, const char *line);
    void *data;
};
int body_inspect(struct bnd_env *env, const struct body_inspection *look, struct bnd_error *err);

/* Verifies every block and the footer's chain. BND_CORRUPT names the first bad block. */
int body_verify(struct bnd_env *env, const char *path, struct body_info *out,
                struct bnd_error *err);

#endif
