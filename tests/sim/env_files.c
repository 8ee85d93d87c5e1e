/* The file half of a simulated node's environment: latency, injected errors and the end of power in
 * front of tests/sim/disk.h.
 *
 * Invariant: an asynchronous request is answered once, later; or, when the power is off, never. */
#include "base/assert.h"
#include "tests/sim/env_private.h"

/* ---- blocking
 * --------------------------------------------------------------------------------------- */

static int op_file_open(struct bnd_env *base, const char *path, unsigned flags,
                        struct bnd_file **out, struct bnd_error *err) {
    struct bnd_sim_env *env = sim_of(base);
    struct bnd_sim_inode *inode = NULL;
    int rv = bnd_sim_disk_open(env->disk, path, flags, &inode, err);
    if (rv != 0) {
        return rv;
    }
    struct bnd_file *file = bnd_sim_zalloc(sizeof *file);
    file->inode = inode;
    file->flags = flags;
    bnd_list_push(&env->files, &file->link);
    *out = file;
    return 0;
}

static void op_file_close(struct bnd_env *base, struct bnd_file *file) {
    BND_ASSERT(file->requests == 0);
    bnd_link_remove(&file->link);
    bnd_sim_inode_unref(sim_of(base)->disk, file->inode);
    bnd_sim_free(file);
}

void env_files_close_all(struct bnd_sim_env *env) {
    while (!bnd_list_empty(&env->files)) {
        struct bnd_file *file = BND_CONTAINER(bnd_list_pop(&env->files), struct bnd_file, link);
        bnd_sim_inode_unref(env->disk, file->inode);
        bnd_sim_free(file);
    }
}

static int op_file_size(struct bnd_env *base, struct bnd_file *file, uint64_t *out,
                        struct bnd_error *err) {
    if (bnd_sim_disk_is_cut(sim_of(base)->disk)) {
        return BND_FAIL(err, IO, "size: the power is off");
    }
    *out = bnd_sim_inode_size(file->inode);
    return 0;
}

static int op_file_truncate(struct bnd_env *base, struct bnd_file *file, uint64_t size,
                            struct bnd_error *err) {
    struct bnd_sim_disk *disk = sim_of(base)->disk;
    int rv = bnd_sim_disk_injected(disk);
    rv = rv == 0 ? bnd_sim_inode_truncate(disk, file->inode, size) : rv;
    return rv == 0 ? 0 : bnd_error_set(err, rv, "truncate: %s", bnd_code_text(rv));
}

/* O_DIRECT refuses what is not aligned, and so does the simulated disk. */
static bool misaligned(const struct bnd_file *file, const void *data, size_t len, uint64_t offset) {
    return (file->flags & BND_OPEN_DIRECT) != 0 &&
           ((uintptr_t)data % BND_DIRECT_ALIGN != 0 || len % BND_DIRECT_ALIGN != 0 ||
            offset % BND_DIRECT_ALIGN != 0);
}

static int op_file_pread(struct bnd_env *base, struct bnd_file *file, void *out, size_t len,
                         uint64_t offset, size_t *out_read, struct bnd_error *err) {
    struct bnd_sim_disk *disk = sim_of(base)->disk;
    if (misaligned(file, out, len, offset)) {
        return BND_FAIL(err, INVALID, "read: not aligned for O_DIRECT");
    }
    int rv = bnd_sim_disk_injected(disk);
    rv = rv == 0 ? bnd_sim_inode_read(disk, file->inode, out, len, offset, out_read) : rv;
    return rv == 0 ? 0 : bnd_error_set(err, rv, "read: %s", bnd_code_text(rv));
}

static int op_file_pwrite(struct bnd_env *base, struct bnd_file *file, const void *data, size_t len,
                          uint64_t offset, struct bnd_error *err) {
    struct bnd_sim_disk *disk = sim_of(base)->disk;
    if (misaligned(file, data, len, offset)) {
        return BND_FAIL(err, INVALID, "write: not aligned for O_DIRECT");
    }
    int rv = bnd_sim_disk_injected(disk);
    struct bnd_sim_pending *pending = NULL;
    if (rv == 0 && len > 0) {
        rv = bnd_sim_inode_write_begin(disk, file->inode, bnd_slice(data, len), offset, &pending);
    }
    if (rv != 0) {
        return bnd_error_set(err, rv, "write: %s", bnd_code_text(rv));
    }
    if (pending != NULL) {
        bnd_sim_inode_write_end(disk, pending, false);
    }
    return 0;
}

static int op_file_sync(struct bnd_env *base, struct bnd_file *file, struct bnd_error *err) {
    struct bnd_sim_disk *disk = sim_of(base)->disk;
    int rv = bnd_sim_disk_injected(disk);
    rv = rv == 0 ? bnd_sim_inode_sync(disk, file->inode, bnd_sim_inode_mark(disk)) : rv;
    return rv == 0 ? 0 : bnd_error_set(err, rv, "sync: %s", bnd_code_text(rv));
}

/* Paths may end with a slash; the disk's do not. */
static void path_clean(const char *path, char out[512]) {
    size_t len = strlen(path);
    BND_ASSERT(len < 512);
    memcpy(out, path, len + 1);
    while (len > 0 && out[len - 1] == '/') {
        out[--len] = 0;
    }
}

static int op_dir_make(struct bnd_env *base, const char *path, struct bnd_error *err) {
    char clean[512];
    path_clean(path, clean);
    return bnd_sim_disk_dir_make(sim_of(base)->disk, clean, err);
}

static int op_dir_sync(struct bnd_env *base, const char *path, struct bnd_error *err) {
    char clean[512];
    path_clean(path, clean);
    int rv = bnd_sim_disk_injected(sim_of(base)->disk);
    if (rv != 0) {
        return bnd_error_set(err, rv, "sync directory %s: %s", clean, bnd_code_text(rv));
    }
    return bnd_sim_disk_dir_sync(sim_of(base)->disk, clean, err);
}

static int op_dir_list(struct bnd_env *base, const char *path,
                       int (*each)(void *data, const char *name), void *data,
                       struct bnd_error *err) {
    char clean[512];
    path_clean(path, clean);
    return bnd_sim_disk_dir_list(sim_of(base)->disk, clean, each, data, err);
}

static int op_rename(struct bnd_env *base, const char *from, const char *to,
                     struct bnd_error *err) {
    return bnd_sim_disk_rename(sim_of(base)->disk, from, to, err);
}

static int op_unlink(struct bnd_env *base, const char *path, struct bnd_error *err) {
    return bnd_sim_disk_unlink(sim_of(base)->disk, path, err);
}

static int op_disk_space(struct bnd_env *base, const char *path, uint64_t *out_free,
                         uint64_t *out_total, struct bnd_error *err) {
    bnd_sim_disk_space(sim_of(base)->disk, out_free, out_total);
    return 0;
}

/* ---- asynchronous
 * ----------------------------------------------------------------------------------- */

enum io_kind { IO_READ, IO_WRITE, IO_SYNC };

struct io_event {
    struct bnd_sim_event event;
    enum io_kind kind;
    struct bnd_io *io;
    struct bnd_file *file;
    struct bnd_iov iov;
    uint64_t offset;
    uint64_t mark;
    struct bnd_sim_pending *pending;
    bool durable;
    int failed; /* the code that it will be answered with */
};

/* The process is gone. A power cut has decided about the write already; a kill leaves it to chance.
 */
static void drop_io(struct bnd_sim_event *event) {
    struct io_event *e = BND_CONTAINER(event, struct io_event, event);
    struct bnd_sim_env *env = event->env;
    if (e->pending != NULL && !env->powerless) {
        if (bnd_sim_rng_chance(&env->loop_rng, 500)) {
            bnd_sim_inode_write_end(env->disk, e->pending, e->durable);
        } else {
            bnd_sim_inode_write_abandon(env->disk, e->pending);
        }
    }
    bnd_sim_free(e);
}

static int perform(struct bnd_sim_env *env, struct io_event *e, size_t *out_bytes) {
    struct bnd_sim_disk *disk = env->disk;
    *out_bytes = 0;
    switch (e->kind) {
    case IO_READ:
        return e->failed != 0 ? e->failed
                              : bnd_sim_inode_read(disk, e->file->inode, e->iov.data, e->iov.len,
                                                   e->offset, out_bytes);
    case IO_SYNC:
        return e->failed != 0 ? e->failed : bnd_sim_inode_sync(disk, e->file->inode, e->mark);
    case IO_WRITE:
        break;
    }
    if (e->failed == 0) {
        if (e->pending != NULL) {
            bnd_sim_inode_write_end(disk, e->pending, e->durable);
        }
        *out_bytes = e->iov.len;
    } else if (e->pending != NULL) { /* a failed write may have reached the disk all the same */
        if (bnd_sim_rng_chance(&env->loop_rng, 500)) {
            bnd_sim_inode_write_end(disk, e->pending, false);
        } else {
            bnd_sim_inode_write_abandon(disk, e->pending);
        }
    }
    return e->failed;
}

static void run_io(struct bnd_sim_event *event) {
    struct io_event *e = BND_CONTAINER(event, struct io_event, event);
    struct bnd_sim_env *env = event->env;
    uint64_t stalled_until_ns = bnd_sim_disk_stalled_until_ns(env->disk);
    if (stalled_until_ns != 0) {
        bnd_sim_env_at(env, event, stalled_until_ns - bnd_sim_world_now_ns(env->world));
        return;
    }
    size_t bytes = 0;
    int status = perform(env, e, &bytes);
    struct bnd_io *io = e->io;
    e->file->requests--;
    bnd_sim_free(e);
    if (!bnd_sim_env_halted(env)) {
        io->cb(io, status, status == 0 ? bytes : 0);
    }
}

static struct io_event *io_start(struct bnd_sim_env *env, enum io_kind kind, struct bnd_file *file,
                                 struct bnd_io *io) {
    struct io_event *e = bnd_sim_zalloc(sizeof *e);
    e->event.run = run_io;
    e->event.drop = drop_io;
    e->event.owed = true;
    e->kind = kind;
    e->file = file;
    e->io = io;
    e->failed = bnd_sim_disk_injected(env->disk);
    file->requests++;
    return e;
}

static int io_go(struct bnd_sim_env *env, struct io_event *e) {
    bnd_sim_env_at(env, &e->event,
                   bnd_sim_disk_due_ns(env->disk) - bnd_sim_world_now_ns(env->world));
    return 0;
}

static int op_file_read(struct bnd_env *base, struct bnd_file *file, struct bnd_io *io,
                        struct bnd_iov iov, uint64_t offset) {
    if (misaligned(file, iov.data, iov.len, offset)) {
        return BND_INVALID;
    }
    struct io_event *e = io_start(sim_of(base), IO_READ, file, io);
    e->iov = iov;
    e->offset = offset;
    return io_go(sim_of(base), e);
}

static int op_file_write(struct bnd_env *base, struct bnd_file *file, struct bnd_io *io,
                         struct bnd_iov iov, uint64_t offset, unsigned flags) {
    struct bnd_sim_env *env = sim_of(base);
    if (misaligned(file, iov.data, iov.len, offset)) {
        return BND_INVALID;
    }
    struct io_event *e = io_start(env, IO_WRITE, file, io);
    e->iov = iov;
    e->offset = offset;
    e->durable = (flags & BND_WRITE_DSYNC) != 0;
    if (iov.len > 0) {
        int rv = bnd_sim_inode_write_begin(env->disk, file->inode, bnd_slice(iov.data, iov.len),
                                           offset, &e->pending);
        e->failed = e->failed != 0 ? e->failed : rv;
    }
    return io_go(env, e);
}

static int op_file_datasync(struct bnd_env *base, struct bnd_file *file, struct bnd_io *io) {
    struct bnd_sim_env *env = sim_of(base);
    struct io_event *e = io_start(env, IO_SYNC, file, io);
    e->mark = bnd_sim_inode_mark(env->disk);
    return io_go(env, e);
}

void env_files_ops(struct bnd_env_ops *ops) {
    ops->file_open = op_file_open;
    ops->file_close = op_file_close;
    ops->file_size = op_file_size;
    ops->file_truncate = op_file_truncate;
    ops->file_pread = op_file_pread;
    ops->file_pwrite = op_file_pwrite;
    ops->file_sync = op_file_sync;
    ops->dir_make = op_dir_make;
    ops->dir_sync = op_dir_sync;
    ops->dir_list = op_dir_list;
    ops->rename = op_rename;
    ops->unlink = op_unlink;
    ops->disk_space = op_disk_space;
    ops->file_read = op_file_read;
    ops->file_write = op_file_write;
    ops->file_datasync = op_file_datasync;
}
