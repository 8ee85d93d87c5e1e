/* Asynchronous file requests: what is the same for both backends, and the threads backend.
 *
 * Invariants:
 *  1. A request is answered once: io_req_answer is its last step, on the loop.
 *  2. A write answered 0 has put all its bytes; a short one is submitted again for the rest.
 *  3. A failed datasync is never repeated: the kernel may have dropped the dirty pages already. */
#include "engine/io/io_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK_BYTES_MAX ((size_t)1 << 30) /* one system call; the kernel stops at 2 GiB - 4 KiB */
#define RETRIES_MAX 16                    /* of EINTR and EAGAIN for one piece */

static const char *op_text(uint8_t op) {
    return op == IO_OP_READ ? "read" : op == IO_OP_WRITE ? "write" : "fdatasync";
}

size_t io_req_chunk(const struct io_req *req) {
    size_t rest = req->len - req->done;
    return rest < CHUNK_BYTES_MAX ? rest : CHUNK_BYTES_MAX;
}

/* The callback carries only a code; the reason is kept for the operator here. */
static void req_fail(struct io_env *env, struct io_req *req, int error) {
    int code = io_code_from_errno(error);
    req->status = (int16_t)code;
    bnd_log(&env->base, BND_LOG_WARN, "io", "%s %s, %zu bytes at %llu: %s", op_text(req->op),
            req->file->path, req->len, (unsigned long long)req->offset, strerrordesc_np(error));
}

bool io_req_advance(struct io_env *env, struct io_req *req, long result) {
    if ((result == -EINTR || result == -EAGAIN) && req->op != IO_OP_DATASYNC &&
        req->retries < RETRIES_MAX) {
        req->retries++;
        return false;
    }
    if (result < 0) {
        req_fail(env, req, (int)-result);
        return true;
    }
    size_t moved = (size_t)result;
    BND_ASSERT(moved <= req->len - req->done);
    req->done += moved;
    req->retries = 0;
    if (req->done == req->len) {
        return true;
    }
    if (req->op == IO_OP_READ) {
        /* After an odd piece an O_DIRECT read is at the end; asking again would be misaligned. */
        return moved == 0 || (req->file->direct && moved % BND_DIRECT_ALIGN != 0);
    }
    if (moved == 0) {
        req_fail(env, req, EIO); /* a write that moves nothing would never end */
        return true;
    }
    return false;
}

void io_req_answer(struct io_env *env, struct io_req *req) {
    struct bnd_io *io = io_of_req(req);
    int status = req->status;
    size_t done = req->done;
    BND_ASSERT(env->io_under_way > 0);
    env->io_under_way--;
    BND_ASSERT(atomic_fetch_sub(&req->file->under_way, 1) > 0);
    io->cb(io, status, done); /* the request may be used again from here on */
}

/* ---- threads backend ----------------------------------------------------------------------------
 */

static long req_call(const struct io_req *req) {
    struct iovec iov = {.iov_base = req->data + req->done, .iov_len = io_req_chunk(req)};
    off_t offset = (off_t)(req->offset + req->done);
    ssize_t rc = 0;
    switch ((enum io_op)req->op) {
    case IO_OP_READ:
        rc = preadv2(req->file->fd, &iov, 1, offset, 0);
        break;
    case IO_OP_WRITE:
        rc = pwritev2(req->file->fd, &iov, 1, offset,
                      (req->flags & BND_WRITE_DSYNC) != 0 ? RWF_DSYNC : 0);
        break;
    case IO_OP_DATASYNC:
        rc = fdatasync(req->file->fd);
        break;
    }
    return rc < 0 ? -(long)errno : (long)rc;
}

static void work_run(struct bnd_work *work) {
    struct io_req *req = BND_CONTAINER(work, struct io_req, work);
    struct io_env *env = work->data;
    while (!io_req_advance(env, req, req_call(req))) {
    }
}

static void work_done(struct bnd_work *work, int status) {
    struct io_req *req = BND_CONTAINER(work, struct io_req, work);
    if (status != 0) {
        req->status = (int16_t)status;
    }
    io_req_answer(work->data, req);
}

/* ---- submission ---------------------------------------------------------------------------------
 */

static int submit(struct io_env *env, struct bnd_io *io, const struct io_req *filled) {
    if (env->destroying) {
        return BND_CANCELED;
    }
    if (env->io_under_way >= env->options.io_queue_max) {
        return BND_FULL;
    }
    struct io_req *req = io_req_of(io);
    *req = *filled;
    if (env->backend == BND_IO_URING) {
        bnd_list_push(&env->uring.pending, &req->link);
    } else {
        req->work = (struct bnd_work){.run = work_run, .done = work_done, .data = env};
        int rv = io_pool_submit(&env->io_pool, &req->work);
        if (rv != 0) {
            return rv;
        }
    }
    env->io_under_way++;
    atomic_fetch_add(&req->file->under_way, 1);
    if (env->backend == BND_IO_URING && env->running && (req->flags & BND_WRITE_DSYNC) != 0) {
        io_uring_state_flush(env); /* somebody waits for the disk: it works while the pass goes on */
    }
    return 0;
}

int io_file_read(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io, struct bnd_iov iov,
                 uint64_t offset) {
    struct io_req req = {
        .file = file, .data = iov.data, .len = iov.len, .offset = offset, .op = IO_OP_READ};
    return submit(io_env_of(env), io, &req);
}

int io_file_write(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io, struct bnd_iov iov,
                  uint64_t offset, unsigned flags) {
    struct io_req req = {.file = file,
                         .data = iov.data,
                         .len = iov.len,
                         .offset = offset,
                         .op = IO_OP_WRITE,
                         .flags = (uint8_t)flags};
    return submit(io_env_of(env), io, &req);
}

int io_file_datasync(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io) {
    struct io_req req = {.file = file, .op = IO_OP_DATASYNC};
    return submit(io_env_of(env), io, &req);
}
