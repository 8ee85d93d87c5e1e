/* Blocking files and directories. Thread-safe: a bnd_file is only a descriptor and its name.
 *
 * Every failure names the call, the path and the system's reason. EINTR is retried: it is a signal,
 * not an outcome. */
#include "base/alloc.h"
#include "engine/io/io_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MODE_FILE 0600 /* state holds secrets */
#define MODE_DIR 0700

static int fail(struct bnd_error *err, int error, const char *call, const char *path) {
    return bnd_error_set(err, io_code_from_errno(error), "%s %s: %s", call, path,
                         strerrordesc_np(error));
}

static int fail_at(struct bnd_error *err, int error, const char *call, const struct bnd_file *file,
                   uint64_t offset) {
    return bnd_error_set(err, io_code_from_errno(error), "%s %s at %llu: %s", call, file->path,
                         (unsigned long long)offset, strerrordesc_np(error));
}

static int open_retry(const char *path, int flags) {
    int fd = -1;
    do {
        fd = open(path, flags | O_CLOEXEC, MODE_FILE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

int io_file_open(struct bnd_env *env, const char *path, unsigned flags, struct bnd_file **out,
                 struct bnd_error *err) {
    unsigned access = flags & (BND_OPEN_READ | BND_OPEN_WRITE);
    BND_ASSERT(access != 0);
    int mode = access == BND_OPEN_READ ? O_RDONLY : access == BND_OPEN_WRITE ? O_WRONLY : O_RDWR;
    mode |= (flags & BND_OPEN_CREATE) != 0 ? O_CREAT : 0;
    mode |= (flags & BND_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    bool direct = (flags & BND_OPEN_DIRECT) != 0;
    BND_AUTO struct bnd_file *file = bnd_zalloc(sizeof *file);
    BND_AUTO char *name = bnd_strdup(path);
    if (file == NULL || name == NULL) {
        return BND_FAIL(err, NOMEM, "open %s: out of memory", path);
    }
    int fd = open_retry(path, mode | (direct ? O_DIRECT : 0));
    if (fd < 0 && errno == EINVAL && direct) { /* the file system refuses O_DIRECT: only a hint */
        direct = false;
        /* The refused open may have created the file already: it is ours. */
        fd = open_retry(path, mode);
        if (fd < 0 && errno == EEXIST) {
            fd = open_retry(path, mode & ~O_EXCL);
        }
    }
    if (fd < 0) {
        return fail(err, errno, "open", path);
    }
    file->fd = fd;
    file->direct = direct;
    file->path = BND_TAKE(name);
    *out = BND_TAKE(file);
    return 0;
}

void io_file_close(struct bnd_env *env, struct bnd_file *file) {
    BND_ASSERT(atomic_load(&file->under_way) == 0);
    (void)close(
        file->fd); /* what matters was synced before; the descriptor is gone whatever it says */
    bnd_free(file->path);
    bnd_free(file);
}

int io_file_size(struct bnd_env *env, struct bnd_file *file, uint64_t *out, struct bnd_error *err) {
    struct stat st;
    if (fstat(file->fd, &st) != 0) {
        return fail(err, errno, "stat", file->path);
    }
    *out = (uint64_t)st.st_size;
    return 0;
}

int io_file_truncate(struct bnd_env *env, struct bnd_file *file, uint64_t size,
                     struct bnd_error *err) {
    if (size > INT64_MAX) {
        return BND_FAIL(err, TOOBIG, "truncate %s: %llu bytes", file->path,
                        (unsigned long long)size);
    }
    int rc = 0;
    do {
        rc = ftruncate(file->fd, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : fail(err, errno, "truncate", file->path);
}

int io_file_pread(struct bnd_env *env, struct bnd_file *file, void *out, size_t len,
                  uint64_t offset, size_t *out_read, struct bnd_error *err) {
    struct io_req req = {.file = file, .data = out, .len = len, .offset = offset, .op = IO_OP_READ};
    while (req.done < len) {
        size_t chunk = io_req_chunk(&req);
        ssize_t got = pread(file->fd, req.data + req.done, chunk, (off_t)(offset + req.done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_at(err, errno, "read", file, offset + req.done);
        }
        req.done += (size_t)got;
        /* After an odd piece an O_DIRECT read is at the end; asking again would be misaligned. */
        if (got == 0 || (file->direct && got % BND_DIRECT_ALIGN != 0)) {
            break;
        }
    }
    *out_read = req.done;
    return 0;
}

int io_file_pwrite(struct bnd_env *env, struct bnd_file *file, const void *data, size_t len,
                   uint64_t offset, struct bnd_error *err) {
    const uint8_t *bytes = data;
    size_t done = 0;
    while (done < len) {
        ssize_t put = pwrite(file->fd, bytes + done, len - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return fail_at(err, put < 0 ? errno : EIO, "write", file, offset + done);
        }
        done += (size_t)put;
    }
    return 0;
}

int io_file_sync(struct bnd_env *env, struct bnd_file *file, struct bnd_error *err) {
    /* Never retried: after a failed fsync the kernel may have dropped the dirty pages. */
    return fsync(file->fd) == 0 ? 0 : fail(err, errno, "fsync", file->path);
}

int io_dir_make(struct bnd_env *env, const char *path, struct bnd_error *err) {
    if (mkdir(path, MODE_DIR) == 0) {
        return 0;
    }
    int error = errno;
    struct stat st;
    if (error == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return 0;
    }
    return fail(err, error, "mkdir", path);
}

int io_dir_sync(struct bnd_env *env, const char *path, struct bnd_error *err) {
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return fail(err, errno, "open directory", path);
    }
    int error = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd); /* nothing was written through it */
    return error == 0 ? 0 : fail(err, error, "fsync directory", path);
}

struct names {
    char **items;
    size_t count;
    size_t cap;
};

static bool names_add(struct names *names, const char *name) {
    char *copy = BND_ROOM(names->items, names->count, names->cap, 64) ? bnd_strdup(name) : NULL;
    if (copy == NULL) {
        return false;
    }
    names->items[names->count++] = copy;
    return true;
}

static void names_free(struct names *names) {
    for (size_t i = 0; i < names->count; i++) {
        bnd_free(names->items[i]);
    }
    bnd_free(names->items);
}

static int names_compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_read(struct names *names, const char *path, struct bnd_error *err) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return fail(err, errno, "open directory", path);
    }
    int rv = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            rv = errno == 0 ? 0 : fail(err, errno, "read directory", path);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (!names_add(names, entry->d_name)) {
            rv = BND_FAIL(err, NOMEM, "read directory %s: out of memory", path);
            break;
        }
    }
    (void)closedir(dir); /* only read from */
    return rv;
}

int io_dir_list(struct bnd_env *env, const char *path, int (*each)(void *data, const char *name),
                void *data, struct bnd_error *err) {
    struct names names = {0};
    int rv = names_read(&names, path, err);
    if (rv == 0 && names.count > 0) {
        qsort(names.items, names.count, sizeof *names.items, names_compare);
    }
    for (size_t i = 0; rv == 0 && i < names.count; i++) {
        rv = each(data, names.items[i]);
    }
    names_free(&names);
    return rv;
}

int io_rename(struct bnd_env *env, const char *from, const char *to, struct bnd_error *err) {
    if (rename(from, to) == 0) {
        return 0;
    }
    int error = errno;
    return bnd_error_set(err, io_code_from_errno(error), "rename %s to %s: %s", from, to,
                         strerrordesc_np(error));
}

int io_unlink(struct bnd_env *env, const char *path, struct bnd_error *err) {
    return unlink(path) == 0 ? 0 : fail(err, errno, "unlink", path);
}

int io_disk_space(struct bnd_env *env, const char *path, uint64_t *out_free, uint64_t *out_total,
                  struct bnd_error *err) {
    struct statvfs st;
    if (statvfs(path, &st) != 0) {
        return fail(err, errno, "statvfs", path);
    }
    *out_free = (uint64_t)st.f_bavail * st.f_frsize;
    *out_total = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}
