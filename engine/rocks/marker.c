/* The file FORMAT in the state directory: its bytes are in SPEC.md, "State".
 *
 * It is there, whole and durable, before RocksDB makes its first file; so a directory with content
 * and without it is not ours, and is left alone. */
#include "base/hash.h"
#include "engine/rocks/rocks_private.h"

#include <stdio.h>

#define MARKER_LEN 24U
#define MARKER_VERSION 1U
#define PATH_LEN_MAX 4096U

static const uint8_t magic[8] = {'B', 'N', 'D', 'Y', 'S', 'T', 'A', 'T'};

static void encode(uint8_t out[MARKER_LEN]) {
    memcpy(out, magic, sizeof magic);
    bnd_put_u32(out + 8, MARKER_VERSION);
    bnd_put_u32(out + 12, 0);
    bnd_put_u64(out + 16, bnd_hash64(bnd_slice(out, 16), 0));
}

/* The version comes before the hash: a newer format may have another length or hash. */
static int decode(const uint8_t *data, size_t len, const char *path, struct bnd_error *err) {
    if (len < 12 || memcmp(data, magic, sizeof magic) != 0) {
        return BND_FAIL(err, CORRUPT, "%s: no format marker of a state directory", path);
    }
    uint32_t version = bnd_get_u32(data + 8);
    if (version > MARKER_VERSION) {
        return BND_FAIL(err, VERSION, "%s: format %u, this program knows up to %u", path, version,
                        MARKER_VERSION);
    }
    if (len != MARKER_LEN || version == 0 || bnd_get_u32(data + 12) != 0 ||
        bnd_get_u64(data + 16) != bnd_hash64(bnd_slice(data, 16), 0)) {
        return BND_FAIL(err, CORRUPT, "%s: the format marker is damaged", path);
    }
    return 0;
}

static int refuse_any(void *data, const char *name) {
    if (strcmp(name, "FORMAT.tmp") == 0) { /* a first open that was cut short */
        return 0;
    }
    return BND_FAIL((struct bnd_error *)data, INVALID, "'%s' is there without a FORMAT file", name);
}

static int create(struct bnd_env *env, const char *dir, const char *path, struct bnd_error *err) {
    char tmp[PATH_LEN_MAX + 16];
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    uint8_t bytes[MARKER_LEN];
    encode(bytes);
    struct bnd_file *file = NULL;
    int rv = env->ops->file_open(env, tmp, BND_OPEN_WRITE | BND_OPEN_CREATE, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = env->ops->file_pwrite(env, file, bytes, sizeof bytes, 0, err);
    rv = rv != 0 ? rv : env->ops->file_truncate(env, file, sizeof bytes, err);
    rv = rv != 0 ? rv : env->ops->file_sync(env, file, err);
    env->ops->file_close(env, file);
    rv = rv != 0 ? rv : env->ops->rename(env, tmp, path, err);
    return rv != 0 ? rv : env->ops->dir_sync(env, dir, err);
}

static int marker_path(const char *dir, char path[PATH_LEN_MAX], struct bnd_error *err) {
    int len = snprintf(path, PATH_LEN_MAX, "%s/FORMAT", dir);
    return len < 0 || len >= (int)PATH_LEN_MAX
               ? BND_FAIL(err, TOOBIG, "state directory: the path is too long")
               : 0;
}

int rocks_marker_read(struct bnd_env *env, const char *dir, struct bnd_error *err) {
    char path[PATH_LEN_MAX];
    struct bnd_file *file = NULL;
    int rv = marker_path(dir, path, err);
    rv = rv != 0 ? rv : env->ops->file_open(env, path, BND_OPEN_READ, &file, err);
    if (rv != 0) {
        return rv;
    }
    uint8_t bytes[MARKER_LEN + 1];
    size_t got = 0;
    rv = env->ops->file_pread(env, file, bytes, sizeof bytes, 0, &got, err);
    env->ops->file_close(env, file);
    return rv != 0 ? rv : decode(bytes, got, path, err);
}

int rocks_marker_check(struct bnd_env *env, const char *dir, struct bnd_error *err) {
    char path[PATH_LEN_MAX];
    int rv = rocks_marker_read(env, dir, err);
    if (rv != BND_NOTFOUND) {
        return rv;
    }
    rv = marker_path(dir, path, err);
    rv = rv != 0 ? rv : env->ops->dir_make(env, dir, err);
    if (rv != 0) {
        return rv;
    }
    struct bnd_error inner = {0};
    rv = env->ops->dir_list(env, dir, refuse_any, &inner, &inner);
    if (rv != 0) {
        return bnd_error_set(err, rv, "%s is no state directory: %s", dir, inner.message);
    }
    return create(env, dir, path, err);
}
