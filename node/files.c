#include "node/files.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20 };

int node_path(const char *dir, const char *name, char out[NODE_PATH_MAX], struct bnd_error *err) {
    int len = snprintf(out, NODE_PATH_MAX, "%s/%s", dir, name);
    if (len < 0 || len >= NODE_PATH_MAX) {
        return BND_FAIL(err, TOOBIG, "path too long: %.100s.../%s", dir, name);
    }
    return 0;
}

static int write_synced(struct bnd_env *env, const char *path, struct bnd_slice data,
                        struct bnd_error *err) {
    struct bnd_file *file = NULL;
    int rv = env->ops->file_open(env, path, BND_OPEN_WRITE | BND_OPEN_CREATE, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = env->ops->file_truncate(env, file, 0, err);
    rv = rv != 0 ? rv : env->ops->file_pwrite(env, file, data.data, data.len, 0, err);
    rv = rv != 0 ? rv : env->ops->file_sync(env, file, err);
    env->ops->file_close(env, file);
    return rv;
}

int node_file_write(struct bnd_env *env, const char *dir, const char *name, struct bnd_slice data,
                    struct bnd_error *err) {
    char path[NODE_PATH_MAX];
    char temporary[NODE_PATH_MAX];
    char new_name[256];
    int len = snprintf(new_name, sizeof new_name, "%s.new", name);
    if (len < 0 || (size_t)len >= sizeof new_name) {
        return BND_FAIL(err, TOOBIG, "file name too long: %.100s", name);
    }
    int rv = node_path(dir, name, path, err);
    rv = rv != 0 ? rv : node_path(dir, new_name, temporary, err);
    rv = rv != 0 ? rv : write_synced(env, temporary, data, err);
    rv = rv != 0 ? rv : env->ops->rename(env, temporary, path, err);
    return rv != 0 ? rv : env->ops->dir_sync(env, dir, err);
}

/* ---- kept up to date --------------------------------------------------------------------------*/

struct node_keeping {
    struct bnd_work work;
    struct node_kept *kept; /* NULL: a newer write is under way, or nobody asks any more */
    struct bnd_env *env;
    char *dir;
    char *name;
    struct bnd_buf data;
    struct bnd_error err;
    int status;
};

static void keeping_free(struct node_keeping *keeping) {
    bnd_free(keeping->dir);
    bnd_free(keeping->name);
    bnd_buf_free(&keeping->data);
    bnd_free(keeping);
}

void node_kept_close(struct node_kept *kept) {
    if (kept->keeping != NULL) {
        kept->keeping->kept = NULL;
    }
    *kept = (struct node_kept){0};
}

static void run_keeping(struct bnd_work *work) {
    struct node_keeping *keeping = work->data;
    keeping->status = node_file_write(keeping->env, keeping->dir, keeping->name,
                                      bnd_buf_slice(&keeping->data), &keeping->err);
}

static void keeping_done(struct bnd_work *work, int status) {
    struct node_keeping *keeping = work->data;
    if (status != 0) { /* the pool has ended, and with it whom this would hold up */
        run_keeping(work);
    }
    if (keeping->status != 0) {
        bnd_log(keeping->env, BND_LOG_WARN, "node", "%s/%s is not kept: %s", keeping->dir,
                keeping->name, keeping->err.message);
    }
    if (keeping->kept != NULL) {
        keeping->kept->keeping = NULL;
        keeping->kept->hash = keeping->status == 0 ? keeping->kept->hash : 0;
    }
    keeping_free(keeping);
}

static int begin(struct node_keeping *keeping) {
    bool copied = keeping->dir != NULL && keeping->name != NULL && !keeping->data.failed;
    return copied ? keeping->env->ops->work(keeping->env, &keeping->work) : BND_NOMEM;
}

void node_kept_write(struct node_kept *kept, struct bnd_env *env, const char *dir, const char *name,
                     struct bnd_slice data) {
    uint64_t hash = bnd_hash64(data, 0);
    if (hash == kept->hash) {
        return;
    }
    node_kept_close(kept);
    struct node_keeping *keeping = bnd_zalloc(sizeof *keeping);
    int rv = BND_NOMEM;
    if (keeping != NULL) {
        keeping->env = env;
        keeping->dir = bnd_strdup(dir);
        keeping->name = bnd_strdup(name);
        bnd_buf_append_slice(&keeping->data, data);
        keeping->work.run = run_keeping;
        keeping->work.done = keeping_done;
        keeping->work.data = keeping;
        keeping->work.pin = bnd_hash64(bnd_slice_str(name), 0) | 1;
        rv = begin(keeping);
    }
    if (rv == 0) {
        keeping->kept = kept;
        *kept = (struct node_kept){.keeping = keeping, .hash = hash};
        return;
    }
    bnd_log(env, BND_LOG_WARN, "node", "%s/%s is not kept: %s", dir, name, bnd_code_text(rv));
    if (keeping != NULL) {
        keeping_free(keeping);
    }
}

/* ---- reading, the lock ------------------------------------------------------------------------*/

int node_file_read(struct bnd_env *env, const char *dir, const char *name, struct bnd_buf *out,
                   struct bnd_error *err) {
    char path[NODE_PATH_MAX];
    struct bnd_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    int rv = node_path(dir, name, path, err);
    rv = rv != 0 ? rv : env->ops->file_open(env, path, BND_OPEN_READ, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = env->ops->file_size(env, file, &size, err);
    if (rv == 0 && size > FILE_MAX) {
        rv = BND_FAIL(err, TOOBIG, "%s: larger than %d bytes", path, FILE_MAX);
    }
    bnd_buf_reset(out);
    if (rv == 0 && !bnd_buf_reserve(out, (size_t)size + 1)) {
        rv = BND_FAIL(err, NOMEM, "%s: no memory to read it", path);
    }
    rv = rv != 0 ? rv : env->ops->file_pread(env, file, out->data, (size_t)size, 0, &got, err);
    env->ops->file_close(env, file);
    if (rv == 0) {
        out->len = got;
    }
    return rv;
}

int node_lock(const char *dir, int *out_fd, struct bnd_error *err) {
    char path[NODE_PATH_MAX];
    int rv = node_path(dir, "LOCK", path, err);
    if (rv != 0) {
        return rv;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return bnd_error_set(err, bnd_code_from_errno(errno), "%s: %s", path, strerror(errno));
    }
    char pid[32] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t got = read(fd, pid, sizeof pid - 1);
        pid[got > 0 ? got : 0] = 0;
        (void)close(fd); /* nothing was written */
        return BND_FAIL(err, LOCKED, "%s: the data directory is in use by process %s", path, pid);
    }
    int len = snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        rv = bnd_error_set(err, bnd_code_from_errno(errno), "%s: %s", path, strerror(errno));
        (void)close(fd); /* gives the lock back; the error is already told */
        return rv;
    }
    *out_fd = fd;
    return 0;
}

void node_unlock(int fd) {
    if (fd >= 0) {
        (void)close(fd); /* the lock goes with it */
    }
}
