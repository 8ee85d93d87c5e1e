/* Small writes of a pass leave together (ADR 0012): what streams write at once is copied here and
 * handed to the kernel by one system call, before the loop waits or when this is full.
 *
 * The ring is its own. MSG_DONTWAIT makes each send complete inside the submission: when that
 * returns every answer is there, nothing stays in the kernel, and the bytes may be used again.
 *
 * Invariants:
 *  1. A stream has at most one entry in `list`, so a send that the kernel takes only in part cannot
 *     be overtaken by the next one.
 *  2. No event of a stream comes from within: what went wrong is told in a later pass.
 * Failure modes: without a ring (refused, or lost) every write goes to the kernel by itself. */
#include "base/alloc.h"
#include "engine/io/io_private.h"

#include <errno.h>
#include <sys/socket.h>

void io_sends_open(struct io_env *env) {
    struct io_sends *sends = &env->sends;
    sends->bytes = bnd_alloc(IO_SENDS_BYTES);
    sends->open = sends->bytes != NULL && io_uring_queue_init(IO_SENDS_MAX, &sends->ring, 0) == 0;
}

static void give_up(struct io_sends *sends) {
    io_uring_queue_exit(&sends->ring);
    sends->open = false;
}

void io_sends_close(struct io_env *env) {
    BND_ASSERT(env->sends.count == 0);
    if (env->sends.open) {
        give_up(&env->sends);
    }
    bnd_free(env->sends.bytes);
}

uint8_t *io_sends_room(struct io_env *env, struct bnd_stream *stream, unsigned place, size_t len,
                       unsigned *out_place) {
    struct io_sends *sends = &env->sends;
    bool last = place != 0 && place == sends->count;
    if ((place != 0 && !last) || (!last && sends->count == IO_SENDS_MAX) ||
        sends->used + len > IO_SENDS_BYTES) {
        io_sends_flush(env);
        last = false;
        if (!sends->open || !io_stream_may_collect(stream)) {
            return NULL;
        }
    }
    if (!last) {
        sends->list[sends->count++] = (struct io_send){.stream = stream, .at = sends->used};
    }
    uint8_t *room = sends->bytes + sends->used;
    sends->list[sends->count - 1].len += len;
    sends->used += len;
    *out_place = sends->count;
    return room;
}

/* How many of the first `count` entries the kernel has taken on: an answer is there for each. */
static unsigned submit(struct io_sends *sends, unsigned count) {
    unsigned submitted = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct io_send *send = &sends->list[i];
        struct io_uring_sqe *sqe = io_uring_get_sqe(&sends->ring);
        BND_ASSERT(sqe != NULL); /* the ring has as many as the list, and is empty */
        io_uring_prep_send(sqe, io_stream_fd(send->stream), sends->bytes + send->at, send->len,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
        io_uring_sqe_set_data64(sqe, i);
    }
    while (submitted < count) {
        int rc = io_uring_submit(&sends->ring);
        if (rc <= 0 && rc != -EINTR) {
            break;
        }
        submitted += rc > 0 ? (unsigned)rc : 0;
    }
    return submitted;
}

static void reap(struct io_sends *sends, unsigned submitted, long results[IO_SENDS_MAX]) {
    for (unsigned i = 0; i < submitted; i++) {
        struct io_uring_cqe *cqe = NULL;
        while (io_uring_wait_cqe(&sends->ring, &cqe) == -EINTR) {
        }
        BND_ASSERT(cqe != NULL);
        results[io_uring_cqe_get_data64(cqe)] = cqe->res;
        io_uring_cqe_seen(&sends->ring, cqe);
    }
}

static long send_one(const struct io_sends *sends) {
    const struct io_send *one = &sends->list[0];
    ssize_t sent = send(io_stream_fd(one->stream), sends->bytes + one->at, one->len,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : sent;
}

void io_sends_flush(struct io_env *env) {
    struct io_sends *sends = &env->sends;
    unsigned count = sends->count;
    long results[IO_SENDS_MAX];
    if (count == 0) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        results[i] = -EAGAIN; /* of what is not submitted: it goes the other way */
    }
    if (count == 1) {
        results[0] = send_one(sends);
    } else {
        unsigned submitted = submit(sends, count);
        reap(sends, submitted, results);
        if (submitted < count) {
            give_up(sends);
        }
    }
    sends->count = 0;
    sends->used = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct io_send *send = &sends->list[i];
        io_stream_sent(send->stream, sends->bytes + send->at, send->len, results[i]);
    }
}
