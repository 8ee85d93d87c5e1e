/* The server of BND_RPC_BODY: bodies being written here for others, and reads.
 *
 * Invariants
 *  1. All file work is on the pool, pinned by body: the works of one body run in order.
 *  2. Bodies being written and bytes in memory are bounded: BND_FULL beyond.
 *  3. A body whose writer is silent for IDLE_NS is deleted.
 *  4. A read answers verified bytes or an error; a damaged body is fetched again. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#define IDLE_NS (120000 * BND_MS)
#define IDLE_CHECK_NS (10000 * BND_MS)

/* A body being written. */
struct body_upload {
    struct bnd_link link;
    struct bnd_bodies *bodies;
    uint64_t from; /* only it may go on */
    struct body_id id;
    uint64_t number;
    uint64_t offset; /* of the next append taken */
    uint64_t active_ns;
    unsigned works;
    bool over;                 /* finished, aborted or failed: freed when works is 0 */
    struct body_writer writer; /* the pool's, works being pinned */
    int failed;                /* likewise: why the writer is no more */
};

struct job {
    struct bnd_work work;
    struct bnd_bodies *bodies;
    struct body_upload *upload;      /* NULL: READ */
    struct bnd_rpc_request *request; /* NULL: nobody waits */
    struct body_request what;
    size_t bytes; /* counted */
    uint8_t *data;
    struct bnd_buf out;
    uint64_t deadline_ms;
    int rv;
};

static void reply_stamp(struct bnd_bodies *bodies, struct bnd_rpc_request *request, int status) {
    uint8_t bytes[BODY_REPLY_HEAD_BYTES];
    uint64_t stamp =
        bodies->config.stamp_ms == NULL ? 0 : bodies->config.stamp_ms(bodies->config.owner);
    uint64_t wall = bnd_wall_ms(bodies->config.env);
    bnd_put_u64(bytes, stamp > wall ? stamp : wall);
    struct bnd_slice part = bnd_slice(bytes, sizeof bytes);
    bnd_rpc_reply(request, status, &part, status == 0 ? 1 : 0);
}

static void upload_free(struct body_upload *upload) {
    body_writer_abort(&upload->writer); /* open only if the pool was closed under it */
    bnd_link_remove(&upload->link);
    upload->bodies->writing_count--;
    bnd_free(upload);
}

/* ---- on the pool ------------------------------------------------------------------------------
 */

static int run_write(struct job *job) {
    struct body_upload *upload = job->upload;
    struct bnd_bodies *bodies = job->bodies;
    if (upload->failed != 0) {
        return upload->failed;
    }
    switch (job->what.op) {
    case BODY_OPEN:
        return body_writer_open(&upload->writer, bodies->config.env, bodies->dir, &upload->id,
                                upload->number, NULL);
    case BODY_APPEND:
        return body_writer_append(&upload->writer, bnd_slice(job->data, job->bytes), NULL);
    case BODY_FINISH:
        if (upload->writer.size != job->what.size) {
            return BND_INVALID;
        }
        return body_writer_finish(&upload->writer, bodies->dir, job->what.deadline_ms, NULL);
    default:
        return BND_CANCELED; /* ABORT: the writer is aborted for every failure */
    }
}

static int run_read(struct job *job) {
    char path[BODY_PATH_MAX];
    if (!body_path(job->bodies->dir, &job->what.id, path)) {
        return BND_INVALID;
    }
    struct body_read_range range = {
        .size = job->what.size, .offset = job->what.offset, .len = job->what.len};
    int rv = body_read(job->bodies->config.env, path, &job->what.id, &range, &job->out, NULL);
    job->deadline_ms = range.deadline_ms;
    return rv;
}

static void job_run(struct bnd_work *work) {
    struct job *job = work->data;
    if (job->upload == NULL) {
        job->rv = run_read(job);
        return;
    }
    job->rv = run_write(job);
    if (job->rv != 0 && job->upload->failed == 0) {
        job->upload->failed = job->rv;
        body_writer_abort(&job->upload->writer);
    }
}

/* ---- back on the loop -------------------------------------------------------------------------
 */

static void job_answer_read(struct job *job) {
    struct bnd_bodies *bodies = job->bodies;
    uint8_t head[BODY_REPLY_HEAD_BYTES];
    if (job->rv == 0) {
        bnd_put_u64(head, job->deadline_ms);
        bodies->stats.bodies_read_blocks += job->what.len / BODY_BLOCK_BYTES + 1;
    } else if (job->rv == BND_CORRUPT) {
        struct objects_body_record record = {.size = job->what.size};
        bodies->stats.bodies_corrupt++;
        bnd_log(bodies->config.env, BND_LOG_WARN, "bodies",
                "a damaged body of group %llx: fetching", (unsigned long long)job->what.id.gid);
        if (!bodies->closing) {
            body_repair_want(bodies->repair, &job->what.id, &record, BODY_WANT_FORCED);
        }
    }
    struct bnd_slice parts[2] = {bnd_slice(head, sizeof head), bnd_buf_slice(&job->out)};
    bnd_rpc_reply(job->request, job->rv, parts, job->rv == 0 ? 2 : 0);
}

static void job_done(struct bnd_work *work, int status) {
    struct job *job = work->data;
    struct bnd_bodies *bodies = job->bodies;
    struct body_upload *upload = job->upload;
    job->rv = status != 0 ? status : job->rv;
    body_work_done(bodies);
    bodies->bytes -= job->bytes;
    if (upload == NULL) {
        job_answer_read(job);
    } else {
        upload->works--;
        upload->over = upload->over || job->rv != 0;
        bodies->stats.bodies_written += job->rv == 0 && job->what.op == BODY_FINISH ? 1 : 0;
        if (job->request != NULL) {
            bool aborted = job->what.op == BODY_ABORT && job->rv == BND_CANCELED;
            reply_stamp(bodies, job->request, aborted ? 0 : job->rv);
        }
        if (upload->over && upload->works == 0) {
            upload_free(upload);
        }
    }
    bnd_buf_free(&job->out);
    bnd_free(job->data);
    bnd_free(job);
    body_close_check(bodies);
}

/* Sends a job to the pool. Takes nothing on failure. */
static int job_start(struct bnd_bodies *bodies, struct body_upload *upload,
                     struct bnd_rpc_request *request, const struct body_request *what) {
    size_t bytes = what->op == BODY_READ ? what->len : what->data.len;
    if (bytes > bodies->config.bytes_max - bodies->bytes) {
        return BND_FULL;
    }
    struct job *job = bnd_zalloc(sizeof *job);
    uint8_t *data = what->data.len > 0 ? bnd_memdup(what->data.data, what->data.len) : NULL;
    if (job == NULL || (what->data.len > 0 && data == NULL)) {
        bnd_free(job);
        bnd_free(data);
        return BND_NOMEM;
    }
    *job = (struct job){.bodies = bodies,
                        .upload = upload,
                        .request = request,
                        .what = *what,
                        .bytes = bytes,
                        .data = data};
    job->what.data = bnd_slice(NULL, 0); /* the request's: gone by then */
    job->work.run = job_run;
    job->work.done = job_done;
    job->work.data = job;
    int rv = body_work(bodies, &job->work, upload == NULL ? NULL : what->id.version);
    if (rv != 0) {
        bnd_free(job);
        bnd_free(data);
        return rv;
    }
    bodies->bytes += bytes;
    if (upload != NULL) {
        upload->works++;
        upload->active_ns = bnd_now_ns(bodies->config.env);
    }
    return 0;
}

/* Deletes what was written; frees the upload once its works are over. */
static void upload_abort(struct body_upload *upload) {
    struct bnd_bodies *bodies = upload->bodies;
    struct body_request what = {.op = BODY_ABORT, .id = upload->id};
    upload->over = true;
    if (upload->works == 0 && job_start(bodies, upload, NULL, &what) != 0) {
        upload_free(upload); /* no pool: blocking, but rare and short */
    } else if (upload->works > 0) {
        (void)job_start(bodies, upload, NULL, &what); /* else: the next start deletes it */
    }
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static struct body_upload *upload_find(struct bnd_bodies *bodies, uint64_t from,
                                       const struct body_id *id) {
    for (struct bnd_link *link = bodies->writing.next; link != &bodies->writing;
         link = link->next) {
        struct body_upload *upload = BND_CONTAINER(link, struct body_upload, link);
        if (upload->from == from && upload->id.gid == id->gid && !upload->over &&
            memcmp(upload->id.version, id->version, sizeof id->version) == 0) {
            return upload;
        }
    }
    return NULL;
}

static int serve_open(struct bnd_bodies *bodies, struct bnd_rpc_request *request,
                      const struct body_request *what) {
    if (upload_find(bodies, request->from, &what->id) != NULL) {
        return BND_EXISTS;
    }
    if (body_disk_full(bodies)) {
        return BND_NOSPACE;
    }
    if (bodies->writing_count >= bodies->config.uploads_max) {
        return BND_FULL;
    }
    struct body_upload *upload = bnd_zalloc(sizeof *upload);
    if (upload == NULL) {
        return BND_NOMEM;
    }
    upload->bodies = bodies;
    upload->from = request->from;
    upload->id = what->id;
    upload->number = ++bodies->number;
    int rv = job_start(bodies, upload, request, what);
    if (rv != 0) {
        bnd_free(upload);
        return rv;
    }
    bnd_list_push(&bodies->writing, &upload->link);
    bodies->writing_count++;
    return 0;
}

static int serve_write(struct bnd_bodies *bodies, struct bnd_rpc_request *request,
                       const struct body_request *what) {
    struct body_upload *upload = upload_find(bodies, request->from, &what->id);
    if (upload == NULL) {
        return BND_NOTFOUND;
    }
    if (what->op == BODY_APPEND && what->offset != upload->offset) {
        return BND_INVALID;
    }
    if (what->op == BODY_APPEND && body_disk_full(bodies)) {
        upload_abort(upload);
        return BND_NOSPACE;
    }
    int rv = job_start(bodies, upload, request, what);
    if (rv == 0) {
        upload->offset += what->data.len;
        upload->over = what->op != BODY_APPEND;
    }
    return rv;
}

static void serve(void *owner, struct bnd_rpc_request *request) {
    struct bnd_bodies *bodies = owner;
    struct body_request what;
    int rv = body_request_decode(request->payload, &what);
    if (rv == 0 && bodies->closing) {
        rv = BND_CANCELED;
    }
    if (rv == 0 && bodies->dir == NULL) {
        rv = BND_UNSUPPORTED;
    }
    if (rv == 0) {
        switch (what.op) {
        case BODY_OPEN:
            rv = serve_open(bodies, request, &what);
            break;
        case BODY_READ:
            rv = job_start(bodies, NULL, request, &what);
            break;
        case BODY_CHECK:
            rv = body_check_serve(bodies->checks, request, what.id.gid);
            break;
        case BODY_HAVE:
            rv = body_have_serve(bodies->checks, request, &what);
            break;
        default:
            rv = serve_write(bodies, request, &what);
            break;
        }
    }
    if (rv != 0) {
        reply_stamp(bodies, request, rv);
    }
}

static void on_idle_check(struct bnd_timer *timer) {
    struct bnd_bodies *bodies = timer->data;
    uint64_t now = bnd_now_ns(bodies->config.env);
    struct bnd_link *link = bodies->writing.next;
    while (link != &bodies->writing) {
        struct body_upload *upload = BND_CONTAINER(link, struct body_upload, link);
        link = link->next;
        if (!upload->over && now - upload->active_ns > IDLE_NS) {
            upload_abort(upload);
        }
    }
    bnd_timer_start(bodies->config.env, timer, IDLE_CHECK_NS);
}

void body_store_start(struct bnd_bodies *bodies) {
    bodies->idle.cb = on_idle_check;
    bodies->idle.data = bodies;
    bnd_timer_start(bodies->config.env, &bodies->idle, IDLE_CHECK_NS);
    bnd_rpc_serve(bodies->config.rpc, BND_RPC_BODY, serve, bodies);
}

void body_store_close(struct bnd_bodies *bodies) {
    bnd_timer_stop(bodies->config.env, &bodies->idle);
    bnd_rpc_serve(bodies->config.rpc, BND_RPC_BODY, NULL, NULL);
    struct bnd_link *link = bodies->writing.next;
    while (link != &bodies->writing) {
        struct body_upload *upload = BND_CONTAINER(link, struct body_upload, link);
        link = link->next;
        if (!upload->over) {
            upload_abort(upload);
        }
    }
}
