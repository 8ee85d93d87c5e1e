/* File requests over io_uring.
 *
 * Requests collect in `pending` during a pass and go to the kernel together before the loop waits,
 * or with the next durable write, which goes at once.
 * The ring's own descriptor is polled by libuv: it is readable while completions wait.
 *
 * Invariants:
 *  1. in_flight <= depth, and the completion queue has 2 * depth entries, so it cannot overflow.
 *  2. Only the thread that runs the env touches the ring (SINGLE_ISSUER, enabled by its first run).
 *  3. Between runs nothing is in the kernel: buffers may then be touched by destroy on any thread.
 * Failure modes: the kernel may refuse to submit for now (EAGAIN, EBUSY): the entries stay in the
 * ring and are submitted again 1 ms later. DEFER_TASKRUN is not used: with libuv it hangs
 * (measured). */
#include "engine/io/io_private.h"

#include <errno.h>

#define REAP_BATCH 64U

static bool ops_supported(struct io_uring *ring) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (probe == NULL) {
        return false;
    }
    bool all = io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
               io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0 &&
               io_uring_opcode_supported(probe, IORING_OP_FSYNC) != 0;
    io_uring_free_probe(probe);
    return all;
}

/* A sandbox may allow the setup call and refuse enter: one no-op says so before data depends on it.
 */
static int probe_ring(void) {
    struct io_uring ring;
    int rc = io_uring_queue_init(2, &ring, 0);
    if (rc < 0) {
        return rc;
    }
    rc = ops_supported(&ring) ? 0 : -EOPNOTSUPP;
    if (rc == 0) {
        io_uring_prep_nop(io_uring_get_sqe(&ring));
        rc = io_uring_submit_and_wait(&ring, 1);
    }
    io_uring_queue_exit(&ring);
    return rc < 0 ? rc : 0;
}

static int init_ring(struct io_uring_state *state, unsigned depth) {
    struct io_uring_params params = {.cq_entries = 2 * depth};
    params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
                   IORING_SETUP_R_DISABLED;
    int rc = io_uring_queue_init_params(depth, &state->ring, &params);
    state->disabled = rc == 0;
    if (rc == -EINVAL) { /* before Linux 6.0 */
        params = (struct io_uring_params){.cq_entries = 2 * depth, .flags = IORING_SETUP_CQSIZE};
        rc = io_uring_queue_init_params(depth, &state->ring, &params);
    }
    return rc;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct io_env *env = poll->data;
    io_env_tick(env);
    io_uring_state_reap(env);
}

int io_uring_state_open(struct io_env *env, unsigned depth, struct bnd_error *err) {
    struct io_uring_state *state = &env->uring;
    int rc = probe_ring();
    if (rc == 0) {
        rc = init_ring(state, depth);
    }
    if (rc < 0) {
        return BND_FAIL(err, UNSUPPORTED, "io_uring: %s", strerrordesc_np(-rc));
    }
    rc = uv_poll_init(&env->loop, &state->poll, state->ring.ring_fd);
    if (rc != 0) {
        io_uring_queue_exit(&state->ring);
        return BND_FAIL(err, UNSUPPORTED, "poll of io_uring: %s", uv_strerror(rc));
    }
    state->poll.data = env;
    state->depth = depth;
    state->open = true;
    return 0;
}

void io_uring_state_start(struct io_env *env) {
    struct io_uring_state *state = &env->uring;
    if (state->disabled) {
        /* not io_uring_enable_rings: liburing 2.3 declares it and its shared library lacks it */
        int fd = state->ring.ring_fd;
        BND_ASSERT(io_uring_register((unsigned)fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0);
        state->disabled = false;
    }
    BND_ASSERT(uv_poll_start(&state->poll, UV_READABLE, on_poll) == 0);
}

static void prepare(struct io_uring_sqe *sqe, struct io_req *req) {
    uint64_t offset = req->offset + req->done;
    switch ((enum io_op)req->op) {
    case IO_OP_READ:
        io_uring_prep_read(sqe, req->file->fd, req->data + req->done, (unsigned)io_req_chunk(req),
                           offset);
        break;
    case IO_OP_WRITE:
        io_uring_prep_write(sqe, req->file->fd, req->data + req->done, (unsigned)io_req_chunk(req),
                            offset);
        sqe->rw_flags = (req->flags & BND_WRITE_DSYNC) != 0 ? RWF_DSYNC : 0;
        break;
    case IO_OP_DATASYNC:
        io_uring_prep_fsync(sqe, req->file->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, req);
}

/* False: the kernel asks to come back later. */
static bool submit(struct io_uring_state *state) {
    int rc = io_uring_submit(&state->ring);
    state->retry = rc == -EAGAIN || rc == -EBUSY || rc == -EINTR;
    /* Anything else is our misuse of the ring, not an outcome of a request. */
    BND_ASSERT(rc >= 0 || state->retry);
    return rc >= 0;
}

void io_uring_state_flush(struct io_env *env) {
    struct io_uring_state *state = &env->uring;
    while (!bnd_list_empty(&state->pending) && state->in_flight < state->depth) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&state->ring);
        if (sqe == NULL) { /* the submission queue is full of what the kernel did not take yet */
            if (!submit(state)) {
                return;
            }
            continue;
        }
        struct bnd_link *link = bnd_list_pop(&state->pending);
        prepare(sqe, BND_CONTAINER(link, struct io_req, link));
        state->in_flight++;
    }
    if (io_uring_sq_ready(&state->ring) > 0) {
        (void)submit(state); /* a refusal sets retry */
    } else {
        state->retry = false;
    }
}

/* Moves up to REAP_BATCH completions to out; returns how many requests are answered, *out_seen how
 * many completions there were. */
static unsigned take(struct io_env *env, struct io_req *out[REAP_BATCH], unsigned *out_seen) {
    struct io_uring_state *state = &env->uring;
    struct io_uring_cqe *cqes[REAP_BATCH];
    unsigned seen = io_uring_peek_batch_cqe(&state->ring, cqes, REAP_BATCH);
    unsigned answered = 0;
    for (unsigned i = 0; i < seen; i++) {
        struct io_req *req = io_uring_cqe_get_data(cqes[i]);
        BND_ASSERT(req != NULL);
        BND_ASSERT(state->in_flight > 0);
        state->in_flight--;
        if (io_req_advance(env, req, cqes[i]->res)) {
            out[answered++] = req;
        } else {
            bnd_list_push(&state->pending, &req->link);
        }
    }
    io_uring_cq_advance(&state->ring, seen);
    *out_seen = seen;
    return answered;
}

static void answer_completed(struct io_env *env) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&env->uring.completed)) != NULL) {
        io_req_answer(env, BND_CONTAINER(link, struct io_req, link));
    }
}

void io_uring_state_reap(struct io_env *env) {
    answer_completed(env);
    /* What callbacks submit from here is answered in a later pass, unless it completes at once and
     * a whole batch was seen. */
    unsigned seen = REAP_BATCH;
    while (seen == REAP_BATCH) {
        struct io_req *reqs[REAP_BATCH];
        unsigned answered = take(env, reqs, &seen);
        for (unsigned i = 0; i < answered; i++) {
            io_req_answer(env, reqs[i]);
        }
    }
}

void io_uring_state_quiesce(struct io_env *env) {
    struct io_uring_state *state = &env->uring;
    while (state->in_flight > 0) {
        int rc = io_uring_submit_and_wait(&state->ring, 1);
        BND_ASSERT(rc >= 0 || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY);
        struct io_req *reqs[REAP_BATCH];
        unsigned seen = 0;
        unsigned answered = take(env, reqs, &seen);
        for (unsigned i = 0; i < answered; i++) {
            bnd_list_push(&state->completed, &reqs[i]->link);
        }
    }
}

void io_uring_state_cancel(struct io_env *env) {
    struct io_uring_state *state = &env->uring;
    BND_ASSERT(state->in_flight == 0);
    answer_completed(env);
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&state->pending)) != NULL) {
        struct io_req *req = BND_CONTAINER(link, struct io_req, link);
        req->status = BND_CANCELED;
        io_req_answer(env, req);
    }
}

void io_uring_state_close(struct io_env *env) {
    if (env->uring.open) {
        io_uring_queue_exit(&env->uring.ring);
        env->uring.open = false;
    }
}
