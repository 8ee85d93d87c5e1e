/* Writing a body: the same bytes to every replica, each at its own pace within a window.
 *
 *   open -> write ... write -> finish
 *     every replica: OPEN -> APPEND (one at a time, in order) -> FINISH -> done
 *                      \------------ any error, or too far behind -> failed
 *
 * Invariants
 *  1. At most window_bytes, and one write, are in memory; of all puts put_bytes_max, and one write
 *     each.
 *  2. A replica is failed for good by any error but BND_FULL, which is asked again; the put fails
 *     once fewer than a majority of the voters are left.
 *  3. A replica that keeps the others waiting for LAG_NS is failed: one slow disk must not slow
 *     every upload.
 *  4. The deadline is minted once, when the body is complete, from the newest stamp a replica told
 *     and the time since by this process's monotonic clock. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#define CALL_NS (20000 * BND_MS)
#define TICK_NS (250 * BND_MS)
#define LAG_NS (2000 * BND_MS)
#define KEEPALIVE_NS (20000 * BND_MS)
#define GRACE_NS (300 * BND_MS)
#define RETRY_NS (5 * BND_MS)
enum { DEADLINE_MS = 60000 };

enum replica_state {
    REPLICA_OPENING,
    REPLICA_READY,
    REPLICA_SENDING,
    REPLICA_FINISHING,
    REPLICA_DONE,
    REPLICA_FAILED
};

/* Bytes on their way: in order, each kept until every live replica has it. */
struct chunk {
    struct bnd_link link;
    uint64_t offset;
    uint64_t made_ns;
    size_t len;
    uint8_t data[];
};

struct replica {
    struct bnd_body_put *put;
    uint64_t node;
    enum replica_state state;
    uint64_t acked; /* bytes it has */
    size_t sending; /* bytes of the append under way */
    uint64_t heard_ns;
    struct bnd_rpc_call call;
};

struct bnd_body_put {
    struct bnd_bodies *bodies;
    struct body_id id;
    struct replica replicas[BND_REPLICAS_MAX]; /* voters first */
    size_t count;
    size_t voters;
    struct bnd_link chunks;
    size_t bytes;        /* in chunks */
    uint64_t size;       /* in chunks that were, and are */
    struct bnd_buf tail; /* not yet a chunk */
    bool finishing;
    uint64_t deadline_ms;
    uint64_t majority_ns; /* when enough were done; 0: not yet */
    uint64_t stamp_ms;    /* newest told, */
    uint64_t stamp_ns;    /* and when */
    int failed;
    struct bnd_timer timer;
    struct bnd_task task; /* answers the user */
    bool answering;
    int answer;
    bnd_body_put_cb cb; /* NULL: nothing is asked */
    void *cb_data;
    struct bnd_body_placed *placed;
};

static struct bnd_env *env_of(const struct bnd_body_put *put) {
    return put->bodies->config.env;
}

static bool live(const struct replica *replica) {
    return replica->state != REPLICA_FAILED;
}

/* ---- the user's answer ------------------------------------------------------------------------
 */

static void on_task(struct bnd_task *task) {
    struct bnd_body_put *put = task->data;
    bnd_body_put_cb cb = put->cb;
    if (cb == NULL) { /* destroyed meanwhile */
        bnd_free(put);
        return;
    }
    put->answering = false;
    put->cb = NULL;
    cb(put->cb_data, put->answer);
}

static void answer(struct bnd_body_put *put, int status) {
    if (put->cb == NULL || put->answering) {
        return;
    }
    put->answering = true;
    put->answer = status;
    put->task.cb = on_task;
    put->task.data = put;
    bnd_defer(env_of(put), &put->task);
}

static void fail(struct bnd_body_put *put, int status) {
    put->failed = put->failed == 0 ? status : put->failed;
    answer(put, put->failed);
}

static unsigned voters_in(const struct bnd_body_put *put, enum replica_state state) {
    unsigned count = 0;
    for (size_t i = 0; i < put->voters; i++) {
        count += put->replicas[i].state == state ? 1 : 0;
    }
    return count;
}

static void replica_fail(struct replica *replica, int status) {
    struct bnd_body_put *put = replica->put;
    bnd_rpc_cancel(&replica->call);
    replica->state = REPLICA_FAILED;
    if (put->voters - voters_in(put, REPLICA_FAILED) < put->voters / 2 + 1) {
        bool full = status == BND_FULL || status == BND_NOSPACE || status == BND_NOMEM;
        fail(put, full ? status : BND_UNAVAILABLE);
    }
}

/* ---- moving on --------------------------------------------------------------------------------
 */

static void pump(struct bnd_body_put *put);

/* Chunks that every live replica has go. */
static void release(struct bnd_body_put *put) {
    uint64_t acked = UINT64_MAX;
    for (size_t i = 0; i < put->count; i++) {
        if (live(&put->replicas[i]) && put->replicas[i].acked < acked) {
            acked = put->replicas[i].acked;
        }
    }
    while (!bnd_list_empty(&put->chunks)) {
        struct chunk *chunk = BND_CONTAINER(put->chunks.next, struct chunk, link);
        if (chunk->offset + chunk->len > acked) {
            break;
        }
        bnd_link_remove(&chunk->link);
        put->bytes -= chunk->len;
        put->bodies->put_bytes -= chunk->len;
        bnd_free(chunk);
    }
}

static void on_reply(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct replica *replica = call->data;
    struct bnd_body_put *put = replica->put;
    uint64_t now = bnd_now_ns(env_of(put));
    if (status == BND_FULL && replica->state == REPLICA_SENDING) {
        replica->state = REPLICA_READY; /* nothing was taken: ask again soon */
        replica->sending = 0;
        bnd_timer_start(env_of(put), &put->timer, RETRY_NS);
        return;
    }
    if (status != 0 || reply.len < BODY_REPLY_HEAD_BYTES) {
        replica_fail(replica, status != 0 ? status : BND_CORRUPT);
        pump(put);
        return;
    }
    uint64_t stamp = bnd_get_u64(reply.data);
    if (stamp >= put->stamp_ms) {
        put->stamp_ms = stamp;
        put->stamp_ns = now;
    }
    replica->acked += replica->sending;
    replica->sending = 0;
    replica->heard_ns = now;
    replica->state = replica->state == REPLICA_FINISHING ? REPLICA_DONE : REPLICA_READY;
    pump(put);
}

static int send(struct replica *replica, struct body_request *request) {
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    struct bnd_body_put *put = replica->put;
    request->id = put->id;
    body_request_encode(head, request);
    struct bnd_slice parts[2] = {bnd_slice(head, sizeof head), request->data};
    replica->call.cb = on_reply;
    replica->call.data = replica;
    return bnd_rpc_call(put->bodies->config.rpc, &replica->call, replica->node, BND_MESH_BULK,
                        BND_RPC_BODY, parts, 2, CALL_NS);
}

static struct chunk *next_chunk(const struct replica *replica) {
    struct bnd_link *head = &replica->put->chunks;
    for (struct bnd_link *link = head->next; link != head; link = link->next) {
        struct chunk *chunk = BND_CONTAINER(link, struct chunk, link);
        if (chunk->offset == replica->acked) {
            return chunk;
        }
    }
    return NULL;
}

static void mint_deadline(struct bnd_body_put *put) {
    if (put->deadline_ms == 0) {
        put->deadline_ms =
            put->stamp_ms + (bnd_now_ns(env_of(put)) - put->stamp_ns) / BND_MS + DEADLINE_MS;
    }
}

/* Sends a ready replica what it needs next, if anything. */
static void replica_pump(struct replica *replica) {
    struct bnd_body_put *put = replica->put;
    struct body_request request = {.op = BODY_APPEND, .offset = replica->acked};
    enum replica_state next = REPLICA_SENDING;
    struct chunk *chunk = next_chunk(replica);
    bool all = put->finishing && put->tail.len == 0 && replica->acked == put->size;
    bool silent = bnd_now_ns(env_of(put)) - replica->heard_ns > KEEPALIVE_NS;
    if (chunk != NULL) {
        request.data = bnd_slice(chunk->data, chunk->len);
    } else if (all) {
        mint_deadline(put);
        request.op = BODY_FINISH;
        request.size = put->size;
        request.deadline_ms = put->deadline_ms;
        next = REPLICA_FINISHING;
    } else if (!silent) {
        return;
    }
    int rv = send(replica, &request);
    if (rv == 0) {
        replica->state = next;
        replica->sending = request.data.len;
    } else if (rv == BND_FULL) {
        bnd_timer_start(env_of(put), &put->timer, RETRY_NS);
    } else {
        replica_fail(replica, rv);
    }
}

/* Finished: by all that live, or by enough while the rest had their grace. */
static void check_done(struct bnd_body_put *put) {
    unsigned all = 0;
    unsigned done = 0;
    for (size_t i = 0; i < put->count; i++) {
        all += live(&put->replicas[i]) ? 1 : 0;
        done += put->replicas[i].state == REPLICA_DONE ? 1 : 0;
    }
    if (voters_in(put, REPLICA_DONE) < put->voters / 2 + 1) {
        return;
    }
    uint64_t now = bnd_now_ns(env_of(put));
    put->majority_ns = put->majority_ns == 0 ? now : put->majority_ns;
    if (put->cb == NULL || put->answering || (done < all && now - put->majority_ns < GRACE_NS)) {
        return;
    }
    struct bnd_body_placed placed = {.deadline_ms = put->deadline_ms,
                                     .degraded = done < put->count};
    for (size_t i = 0; i < put->count; i++) {
        if (put->replicas[i].state == REPLICA_DONE) {
            placed.have[placed.have_count++] = put->replicas[i].node;
        }
    }
    *put->placed = placed;
    answer(put, 0);
}

/* True while all puts together hold as much as they may. */
static bool pressed(const struct bnd_body_put *put) {
    return put->bodies->put_bytes >= put->bodies->config.put_bytes_max;
}

/* Cuts whole chunks off the tail, whole blocks while pressed, and at the end what is left.
 * BND_NOMEM. */
static int cut_chunks(struct bnd_body_put *put) {
    size_t at = 0;
    size_t least = put->finishing ? 1 : pressed(put) ? BODY_BLOCK_BYTES : BND_OBJECT_CHUNK_MAX;
    while (put->tail.len - at >= least) {
        size_t len = put->tail.len - at;
        len = len < BND_OBJECT_CHUNK_MAX ? len : BND_OBJECT_CHUNK_MAX;
        len = put->finishing ? len : len - len % BODY_BLOCK_BYTES;
        struct chunk *chunk = bnd_alloc(sizeof *chunk + len);
        if (chunk == NULL) {
            return BND_NOMEM;
        }
        *chunk =
            (struct chunk){.offset = put->size, .made_ns = bnd_now_ns(env_of(put)), .len = len};
        memcpy(chunk->data, put->tail.data + at, len);
        bnd_list_push(&put->chunks, &chunk->link);
        put->size += len;
        put->bytes += len;
        at += len;
    }
    if (at > 0) {
        memmove(put->tail.data, put->tail.data + at, put->tail.len - at);
        put->tail.len -= at;
    }
    /* Its room is not counted: kept for the next chunk only while there is plenty. */
    if (put->tail.len == 0 && put->bodies->put_bytes > put->bodies->config.put_bytes_max / 2) {
        bnd_buf_free(&put->tail);
    }
    return 0;
}

/* While pressed, each goes on with what it has, and then with one write at a time. */
static bool room(const struct bnd_body_put *put) {
    size_t held = put->bytes + put->tail.len;
    return held < put->bodies->config.window_bytes && (held < BODY_BLOCK_BYTES || !pressed(put));
}

static void pump(struct bnd_body_put *put) {
    if (put->failed == 0 && cut_chunks(put) != 0) {
        fail(put, BND_NOMEM);
    }
    for (size_t i = 0; i < put->count && put->failed == 0; i++) {
        if (put->replicas[i].state == REPLICA_READY) {
            replica_pump(&put->replicas[i]);
        }
    }
    release(put);
    if (put->failed != 0) {
        return;
    }
    if (put->finishing) {
        check_done(put);
    } else if (room(put)) {
        answer(put, 0);
    }
}

/* Fails replicas that alone keep the oldest chunk, or the end, waiting. */
static void drop_laggards(struct bnd_body_put *put) {
    if (bnd_list_empty(&put->chunks)) {
        return;
    }
    const struct chunk *oldest = BND_CONTAINER(put->chunks.next, struct chunk, link);
    uint64_t end = oldest->offset + oldest->len;
    size_t have = 0;
    for (size_t i = 0; i < put->voters; i++) {
        have += live(&put->replicas[i]) && put->replicas[i].acked >= end ? 1 : 0;
    }
    if (bnd_now_ns(env_of(put)) - oldest->made_ns < LAG_NS || have < put->voters / 2 + 1) {
        return;
    }
    for (size_t i = 0; i < put->count; i++) {
        if (live(&put->replicas[i]) && put->replicas[i].acked < end) {
            replica_fail(&put->replicas[i], BND_TIMEOUT);
        }
    }
}

static void on_timer(struct bnd_timer *timer) {
    struct bnd_body_put *put = timer->data;
    bnd_timer_start(env_of(put), timer, TICK_NS);
    drop_laggards(put);
    pump(put);
}

/* ---- the interface ----------------------------------------------------------------------------
 */

int bnd_body_put_open(struct bnd_bodies *bodies, uint64_t gid, const uint8_t *version,
                      struct bnd_body_put **out) {
    struct bnd_object_replicas replicas = {0};
    if (bodies->put_bytes >= bodies->config.put_bytes_max) {
        return BND_FULL;
    }
    int rv = bodies->config.replicas(bodies->config.owner, bnd_gid_shard(gid), &replicas);
    if (rv != 0 || replicas.voters == 0 || replicas.count > BND_REPLICAS_MAX ||
        replicas.voters > replicas.count) {
        return rv != 0 ? rv : BND_UNAVAILABLE;
    }
    struct bnd_body_put *put = bnd_zalloc(sizeof *put);
    if (put == NULL) {
        return BND_NOMEM;
    }
    put->bodies = bodies;
    put->id.gid = gid;
    memcpy(put->id.version, version, sizeof put->id.version);
    put->count = replicas.count;
    put->voters = replicas.voters;
    bnd_list_init(&put->chunks);
    put->timer.cb = on_timer;
    put->timer.data = put;
    bnd_timer_start(env_of(put), &put->timer, TICK_NS);
    for (size_t i = 0; i < put->count; i++) {
        struct body_request request = {.op = BODY_OPEN};
        struct replica *replica = &put->replicas[i];
        replica->put = put;
        replica->node = replicas.nodes[i];
        replica->heard_ns = bnd_now_ns(env_of(put));
        rv = send(replica, &request);
        if (rv != 0) {
            replica_fail(replica, rv);
        }
    }
    rv = put->failed;
    if (rv != 0) {
        bnd_body_put_destroy(put);
        return rv;
    }
    *out = put;
    return 0;
}

/* Takes the user's bytes; a failure is met by whoever looks at the tail. */
static void gather(struct bnd_body_put *put, struct bnd_slice data) {
    bnd_buf_append_slice(&put->tail, data);
    put->bodies->put_bytes += put->tail.failed ? 0 : data.len;
}

static void advance(struct bnd_body_put *put) {
    if (put->tail.failed) {
        fail(put, BND_NOMEM);
    } else if (put->failed != 0) {
        answer(put, put->failed);
    } else {
        pump(put);
    }
}

void bnd_body_put_write(struct bnd_body_put *put, struct bnd_slice data, bnd_body_put_cb cb,
                        void *cb_data) {
    BND_ASSERT(put->cb == NULL && !put->finishing);
    put->cb = cb;
    put->cb_data = cb_data;
    gather(put, data);
    advance(put);
}

void bnd_body_put_preload(struct bnd_body_put *put, struct bnd_slice data) {
    BND_ASSERT(put->cb == NULL && put->size == 0 && put->tail.len == 0);
    gather(put, data);
}

void bnd_body_put_finish(struct bnd_body_put *put, struct bnd_body_placed *out_placed,
                         bnd_body_put_cb cb, void *cb_data) {
    BND_ASSERT(put->cb == NULL && !put->finishing);
    put->cb = cb;
    put->cb_data = cb_data;
    put->placed = out_placed;
    put->finishing = true;
    advance(put);
}

static void on_abort_reply(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    (void)status; /* a replica that did not hear it deletes the body by itself, later */
    (void)reply;
    bnd_free(call);
}

/* Best effort: tells a replica to forget the body. */
static void send_abort(const struct bnd_body_put *put, uint64_t node) {
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    struct body_request request = {.op = BODY_ABORT, .id = put->id};
    struct bnd_rpc_call *call = bnd_zalloc(sizeof *call);
    if (call == NULL) {
        return;
    }
    body_request_encode(head, &request);
    struct bnd_slice part = bnd_slice(head, sizeof head);
    call->cb = on_abort_reply;
    if (bnd_rpc_call(put->bodies->config.rpc, call, node, BND_MESH_BULK, BND_RPC_BODY, &part, 1,
                     CALL_NS) != 0) {
        bnd_free(call);
    }
}

void bnd_body_put_destroy(struct bnd_body_put *put) {
    if (put == NULL) {
        return;
    }
    bnd_timer_stop(env_of(put), &put->timer);
    put->bodies->put_bytes -= put->bytes + put->tail.len;
    for (size_t i = 0; i < put->count; i++) {
        struct replica *replica = &put->replicas[i];
        bnd_rpc_cancel(&replica->call);
        if (replica->state != REPLICA_DONE && replica->state != REPLICA_FINISHING) {
            send_abort(put, replica->node);
        }
    }
    while (!bnd_list_empty(&put->chunks)) {
        struct bnd_link *link = bnd_list_pop(&put->chunks);
        bnd_free(BND_CONTAINER(link, struct chunk, link));
    }
    bnd_buf_free(&put->tail);
    if (put->answering) { /* the task cannot be taken back: it comes, and frees */
        put->cb = NULL;
        put->bodies = NULL;
        return;
    }
    bnd_free(put);
}
