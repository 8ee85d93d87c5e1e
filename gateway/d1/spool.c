#include "gateway/d1/spool.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdio.h>

#define PATH_MAX_BYTES 4096u
#define NAME "d1-upload" /* while it is being opened */
#define RESERVE_PART 20u /* of the disk stays free, as of the journal's admission */
#define OPEN_PIN UINT64_C(0x64312d75706c6f61) /* opened one after the other: one name */

static void destroy(struct d1_spool *spool) {
    bnd_free(spool->read);
    bnd_free(spool);
}

/* ---- on the pool
 * ------------------------------------------------------------------------------------------------
 */

static int has_room(const struct d1_spool *spool) {
    uint64_t left = 0;
    uint64_t total = 0;
    int rv = spool->env->ops->disk_space(spool->env, spool->dir, &left, &total, NULL);
    uint64_t reserve = total / RESERVE_PART;
    uint64_t wanted = spool->bytes_max + spool->to_come;
    return rv != 0 ? rv : left < reserve || left - reserve < wanted ? BND_NOSPACE : 0;
}

static void on_open(struct bnd_work *work) {
    struct d1_spool *spool = work->data;
    const struct bnd_env_ops *ops = spool->env->ops;
    char path[PATH_MAX_BYTES];
    int len = snprintf(path, sizeof path, "%s/%s", spool->dir, NAME);
    spool->status = len < 0 || (size_t)len >= sizeof path ? BND_TOOBIG : has_room(spool);
    if (spool->status == 0) {
        spool->status = ops->file_open(
            spool->env, path, BND_OPEN_READ | BND_OPEN_WRITE | BND_OPEN_CREATE, &spool->file, NULL);
    }
    if (spool->status == 0) {
        spool->status = ops->unlink(spool->env, path, NULL);
    }
}

static void on_close(struct bnd_work *work) {
    struct d1_spool *spool = work->data;
    if (spool->file != NULL) {
        spool->env->ops->file_close(spool->env, spool->file);
    }
}

/* ---- on the loop
 * ------------------------------------------------------------------------------------------------
 */

static void on_closed(struct bnd_work *work, int status) {
    struct d1_spool *spool = work->data;
    if (status != 0) {
        on_close(work);
    }
    destroy(spool);
}

/* Giving back a gigabyte takes a while: not on the loop, unless the pool is full. */
static void close_now(struct d1_spool *spool) {
    spool->work = (struct bnd_work){.run = on_close, .done = on_closed, .data = spool};
    if (spool->env->ops->work(spool->env, &spool->work) != 0) {
        on_closed(&spool->work, BND_FULL);
    }
}

static void done(struct d1_spool *spool, int status, struct bnd_slice bytes) {
    spool->busy = false;
    if (spool->closing) {
        close_now(spool);
    } else {
        spool->cb(spool, status, bytes);
    }
}

static void on_opened(struct bnd_work *work, int status) {
    struct d1_spool *spool = work->data;
    done(spool, status != 0 ? status : spool->status, bnd_slice(NULL, 0));
}

int d1_spool_open(const struct d1_spool *config, struct d1_spool **out) {
    struct d1_spool *spool = bnd_memdup(config, sizeof *config);
    if (spool == NULL) {
        return BND_NOMEM;
    }
    spool->work =
        (struct bnd_work){.run = on_open, .done = on_opened, .data = spool, .pin = OPEN_PIN};
    int rv = spool->env->ops->work(spool->env, &spool->work);
    if (rv != 0) {
        destroy(spool);
        return rv;
    }
    spool->busy = true;
    *out = spool;
    return 0;
}

static void on_written(struct bnd_io *io, int status, size_t bytes) {
    struct d1_spool *spool = io->data;
    spool->size += status == 0 ? bytes : 0;
    done(spool, status, bnd_slice(NULL, 0));
}

int d1_spool_write(struct d1_spool *spool, struct bnd_slice bytes) {
    BND_ASSERT(!spool->busy && spool->file != NULL);
    spool->io = (struct bnd_io){.cb = on_written, .data = spool};
    const struct bnd_iov iov = {.data = (void *)(uintptr_t)bytes.data, .len = bytes.len};
    int rv = spool->env->ops->file_write(spool->env, spool->file, &spool->io, iov, spool->size, 0);
    spool->busy = rv == 0;
    return rv;
}

static void on_read(struct bnd_io *io, int status, size_t bytes) {
    struct d1_spool *spool = io->data;
    done(spool, status, bnd_slice(spool->read, status == 0 ? bytes : 0));
}

int d1_spool_read(struct d1_spool *spool, uint64_t offset) {
    BND_ASSERT(!spool->busy && spool->file != NULL);
    if (spool->read == NULL) {
        spool->read = bnd_alloc(D1_SPOOL_READ_BYTES);
    }
    if (spool->read == NULL) {
        return BND_NOMEM;
    }
    spool->io = (struct bnd_io){.cb = on_read, .data = spool};
    const struct bnd_iov iov = {.data = spool->read, .len = D1_SPOOL_READ_BYTES};
    int rv = spool->env->ops->file_read(spool->env, spool->file, &spool->io, iov, offset);
    spool->busy = rv == 0;
    return rv;
}

void d1_spool_close(struct d1_spool *spool) {
    if (spool == NULL) {
        return;
    }
    if (spool->busy) {
        spool->closing = true;
    } else {
        close_now(spool);
    }
}
