/* Fetching bodies that should be here and are not, or are damaged, from other replicas.
 *
 * A wanted body is looked at on the pool first: a complete file ends it (unless forced: a block did
 * not match its hash). Else it is copied chunk by chunk into a temporary file, each chunk verified
 * by its sender against the sender's disk, and takes the name at the end, with the deadline of the
 * original. At most BODIES_FETCHES_MAX at a time, BODIES_WANTED_MAX waiting; what does not fit or
 * fails is found again by the sweep. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"
#include "base/assert.h"

/* A fresh commit's slowest replica is most often just finishing: looking at once would fetch what
 * is about to be there. */
#define DELAY_NS (3000 * BND_MS)
#define CALL_NS (10000 * BND_MS)
#define TICK_NS (500 * BND_MS)

struct wanted {
    struct bnd_link link;
    struct body_id id;
    uint64_t size;
    uint64_t due_ns;
    bool forced;
};

enum fetch_step { FETCH_IDLE, FETCH_LOOK, FETCH_OPEN, FETCH_READ, FETCH_APPEND, FETCH_FINISH };

/* FETCH_IDLE -> LOOK -> OPEN -> (READ -> APPEND)* -> FINISH -> IDLE; any error ends it. */
struct fetch {
    struct body_repair *repair;
    enum fetch_step step;
    bool giving_up; /* the pool's next work deletes the file */
    struct wanted want;
    struct bnd_object_replicas sources;
    size_t source; /* being asked */
    uint64_t offset;
    uint64_t deadline_ms;
    struct bnd_buf chunk;
    uint64_t read_after_ns; /* by the pace */
    struct bnd_timer pause; /* until then; running: step READ, and nothing is asked */
    bool paused;
    struct bnd_rpc_call call;
    struct bnd_work work;
    struct body_writer writer;
    uint64_t number;
    int rv; /* of the work */
};

struct body_repair {
    struct bnd_bodies *bodies;
    struct bnd_link queue; /* struct wanted */
    size_t queued;
    unsigned running;
    struct fetch fetches[BODIES_FETCHES_MAX];
    struct bnd_timer timer;
};

static struct bnd_env *env_of(const struct body_repair *repair) {
    return repair->bodies->config.env;
}

static void fetch_go(struct fetch *fetch, enum fetch_step step);
static void start_due(struct body_repair *repair);

/* ---- one fetch --------------------------------------------------------------------------------
 */

static void fetch_over(struct fetch *fetch) {
    struct body_repair *repair = fetch->repair;
    bnd_buf_free(&fetch->chunk);
    fetch->step = FETCH_IDLE;
    repair->running--;
    start_due(repair);
    body_close_check(repair->bodies);
}

static int look(const struct fetch *fetch) {
    char path[BODY_PATH_MAX];
    struct body_info info;
    const struct bnd_bodies *bodies = fetch->repair->bodies;
    if (!body_path(bodies->dir, &fetch->want.id, path)) {
        return BND_INVALID;
    }
    int rv = body_stat(bodies->config.env, path, &fetch->want.id, &info, NULL);
    return rv == 0 && (fetch->want.forced || info.size != fetch->want.size) ? BND_CORRUPT : rv;
}

static void fetch_run(struct bnd_work *work) {
    struct fetch *fetch = work->data;
    struct bnd_bodies *bodies = fetch->repair->bodies;
    if (fetch->giving_up) {
        body_writer_abort(&fetch->writer);
        fetch->rv = BND_CANCELED;
        return;
    }
    switch (fetch->step) {
    case FETCH_LOOK:
        fetch->rv = look(fetch);
        break;
    case FETCH_OPEN:
        fetch->rv = body_writer_open(&fetch->writer, bodies->config.env, bodies->dir,
                                     &fetch->want.id, fetch->number, NULL);
        break;
    case FETCH_APPEND:
        fetch->rv = body_writer_append(&fetch->writer, bnd_buf_slice(&fetch->chunk), NULL);
        break;
    default:
        fetch->rv = body_writer_finish(&fetch->writer, bodies->dir, fetch->deadline_ms, NULL);
        break;
    }
    if (fetch->rv != 0) {
        body_writer_abort(&fetch->writer);
    }
}

static void fetch_looked(struct fetch *fetch) {
    struct bnd_bodies *bodies = fetch->repair->bodies;
    struct bnd_object_replicas all = {0};
    bool needed = fetch->rv == BND_NOTFOUND || fetch->rv == BND_CORRUPT;
    if (!needed || body_disk_full(bodies) || /* the sweep asks again */
        bodies->config.replicas(bodies->config.owner, bnd_gid_shard(fetch->want.id.gid), &all) !=
            0) {
        fetch_over(fetch);
        return;
    }
    fetch->sources.count = 0;
    for (size_t i = 0; i < all.count && i < BND_REPLICAS_MAX; i++) {
        if (all.nodes[i] != bodies->config.self) {
            fetch->sources.nodes[fetch->sources.count++] = all.nodes[i];
        }
    }
    fetch->source = 0;
    fetch->offset = 0;
    fetch_go(fetch, FETCH_OPEN);
}

static void fetch_done(struct bnd_work *work, int status) {
    struct fetch *fetch = work->data;
    struct bnd_bodies *bodies = fetch->repair->bodies;
    body_work_done(bodies);
    if (status != 0) {
        body_writer_abort(&fetch->writer); /* the pool closes: blocking, but the last time */
    }
    if (status != 0 || fetch->giving_up || (fetch->rv != 0 && fetch->step != FETCH_LOOK)) {
        fetch_over(fetch);
        return;
    }
    switch (fetch->step) {
    case FETCH_LOOK:
        fetch_looked(fetch);
        break;
    case FETCH_APPEND:
        fetch->offset += fetch->chunk.len;
        fetch_go(fetch, FETCH_READ);
        break;
    case FETCH_OPEN:
        fetch_go(fetch, FETCH_READ);
        break;
    default:
        bodies->stats.bodies_fetched++;
        bodies->stats.bodies_fetched_bytes += fetch->want.size;
        fetch_over(fetch);
        break;
    }
}

static void fetch_give_up(struct fetch *fetch) {
    fetch->giving_up = true;
    fetch_go(fetch, FETCH_FINISH);
}

static void on_read(struct bnd_rpc_call *call, int status, struct bnd_slice reply);

/* Asks the current source, or the ones behind it. */
static void fetch_ask(struct fetch *fetch) {
    struct bnd_bodies *bodies = fetch->repair->bodies;
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    uint64_t left = fetch->want.size - fetch->offset;
    struct body_request request = {
        .op = BODY_READ, .id = fetch->want.id, .offset = fetch->offset, .size = fetch->want.size};
    request.len = left < BND_OBJECT_CHUNK_MAX ? (uint32_t)left : BND_OBJECT_CHUNK_MAX;
    body_request_encode(head, &request);
    struct bnd_slice part = bnd_slice(head, sizeof head);
    for (; fetch->source < fetch->sources.count; fetch->source++) {
        fetch->call.cb = on_read;
        fetch->call.data = fetch;
        if (bnd_rpc_call(bodies->config.rpc, &fetch->call, fetch->sources.nodes[fetch->source],
                         BND_MESH_BULK, BND_RPC_BODY, &part, 1, CALL_NS) == 0) {
            return;
        }
    }
    fetch_give_up(fetch);
}

static void on_pause(struct bnd_timer *timer) {
    struct fetch *fetch = timer->data;
    fetch->paused = false;
    fetch_ask(fetch);
}

/* Asks for the next chunk when the pace allows it. */
static void fetch_read(struct fetch *fetch) {
    struct bnd_env *env = env_of(fetch->repair);
    uint64_t now = bnd_now_ns(env);
    if (fetch->read_after_ns <= now) {
        fetch_ask(fetch);
        return;
    }
    fetch->paused = true;
    fetch->pause = (struct bnd_timer){.cb = on_pause, .data = fetch};
    bnd_timer_start(env, &fetch->pause, fetch->read_after_ns - now);
}

static void on_read(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct fetch *fetch = call->data;
    struct bnd_bodies *bodies = fetch->repair->bodies;
    uint64_t left = fetch->want.size - fetch->offset;
    size_t want = left < BND_OBJECT_CHUNK_MAX ? (size_t)left : BND_OBJECT_CHUNK_MAX;
    if (status != 0 || reply.len != BODY_REPLY_HEAD_BYTES + want) {
        fetch->source++;
        fetch_ask(fetch);
        return;
    }
    fetch->read_after_ns =
        bnd_pacer_add(bodies->config.pacer, bnd_now_ns(bodies->config.env), want);
    fetch->deadline_ms = bnd_get_u64(reply.data);
    bnd_buf_reset(&fetch->chunk);
    bnd_buf_append(&fetch->chunk, reply.data + BODY_REPLY_HEAD_BYTES, want);
    if (fetch->chunk.failed) {
        fetch_give_up(fetch);
    } else if (fetch->want.size == 0) {
        fetch_go(fetch, FETCH_FINISH);
    } else {
        fetch_go(fetch, FETCH_APPEND);
    }
}

static void fetch_go(struct fetch *fetch, enum fetch_step step) {
    struct bnd_bodies *bodies = fetch->repair->bodies;
    fetch->step = step;
    if (bodies->closing && !fetch->giving_up) {
        fetch->giving_up = true;
        fetch->step = FETCH_FINISH;
    } else if (step == FETCH_READ) {
        if (fetch->offset < fetch->want.size || fetch->want.size == 0) {
            fetch_read(fetch);
            return;
        }
        fetch->step = FETCH_FINISH;
    }
    fetch->work.run = fetch_run;
    fetch->work.done = fetch_done;
    fetch->work.data = fetch;
    if (body_work(bodies, &fetch->work, fetch->want.id.version) != 0) {
        body_writer_abort(&fetch->writer); /* no room on the pool: blocking, but rare and short */
        fetch_over(fetch);
    }
}

/* ---- the queue --------------------------------------------------------------------------------
 */

static void start_one(struct body_repair *repair, struct wanted *want) {
    for (size_t i = 0; i < BODIES_FETCHES_MAX; i++) {
        struct fetch *fetch = &repair->fetches[i];
        if (fetch->step == FETCH_IDLE) {
            *fetch =
                (struct fetch){.repair = repair, .want = *want, .number = ++repair->bodies->number};
            repair->running++;
            fetch_go(fetch, FETCH_LOOK);
            return;
        }
    }
    BND_UNREACHABLE("a fetch is free");
}

static void start_due(struct body_repair *repair) {
    uint64_t now = bnd_now_ns(env_of(repair));
    while (!repair->bodies->closing && repair->running < BODIES_FETCHES_MAX &&
           !bnd_list_empty(&repair->queue)) {
        struct wanted *want = BND_CONTAINER(repair->queue.next, struct wanted, link);
        if (want->due_ns > now) {
            break;
        }
        bnd_link_remove(&want->link);
        repair->queued--;
        start_one(repair, want);
        bnd_free(want);
    }
}

static void on_tick(struct bnd_timer *timer) {
    struct body_repair *repair = timer->data;
    start_due(repair);
    if (!bnd_list_empty(&repair->queue)) {
        bnd_timer_start(env_of(repair), timer, TICK_NS);
    }
}

static bool is_wanted(const struct body_repair *repair, const struct body_id *id) {
    for (struct bnd_link *link = repair->queue.next; link != &repair->queue; link = link->next) {
        const struct wanted *want = BND_CONTAINER(link, struct wanted, link);
        if (memcmp(want->id.version, id->version, sizeof id->version) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < BODIES_FETCHES_MAX; i++) {
        const struct fetch *fetch = &repair->fetches[i];
        if (fetch->step != FETCH_IDLE &&
            memcmp(fetch->want.id.version, id->version, sizeof id->version) == 0) {
            return true;
        }
    }
    return false;
}

void body_repair_want(struct body_repair *repair, const struct body_id *id,
                      const struct objects_body_record *record, enum body_want how) {
    if (repair->queued >= BODIES_WANTED_MAX || is_wanted(repair, id)) {
        return;
    }
    struct wanted *want = bnd_zalloc(sizeof *want);
    if (want == NULL) {
        return; /* the sweep comes again */
    }
    want->id = *id;
    want->size = record->size;
    want->forced = how == BODY_WANT_FORCED;
    want->due_ns = bnd_now_ns(env_of(repair)) + (how == BODY_WANT_NOW ? 0 : DELAY_NS);
    if (how == BODY_WANT_NOW) { /* before those that wait */
        bnd_list_push(repair->queue.next, &want->link);
    } else {
        bnd_list_push(&repair->queue, &want->link);
    }
    repair->queued++;
    repair->timer.cb = on_tick;
    repair->timer.data = repair;
    bnd_timer_start(env_of(repair), &repair->timer, how == BODY_WANT_NOW ? 0 : TICK_NS);
}

int body_repair_create(struct bnd_bodies *bodies, struct body_repair **out) {
    struct body_repair *repair = bnd_zalloc(sizeof *repair);
    if (repair == NULL) {
        return BND_NOMEM;
    }
    repair->bodies = bodies;
    bnd_list_init(&repair->queue);
    *out = repair;
    return 0;
}

void body_repair_close(struct body_repair *repair) {
    bnd_timer_stop(env_of(repair), &repair->timer);
    while (!bnd_list_empty(&repair->queue)) {
        struct bnd_link *link = bnd_list_pop(&repair->queue);
        bnd_free(BND_CONTAINER(link, struct wanted, link));
    }
    repair->queued = 0;
    for (size_t i = 0; i < BODIES_FETCHES_MAX; i++) {
        struct fetch *fetch = &repair->fetches[i];
        if (fetch->step == FETCH_READ) {
            if (fetch->paused) {
                bnd_timer_stop(env_of(repair), &fetch->pause);
                fetch->paused = false;
            } else {
                bnd_rpc_cancel(&fetch->call);
            }
            fetch_give_up(fetch);
        }
    }
}

bool body_repair_idle(const struct body_repair *repair) {
    return repair->running == 0;
}

void body_repair_destroy(struct body_repair *repair) {
    bnd_free(repair);
}
