/* Deletes of single objects, gathered: one command per group and bucket is under way at a time, and
 * what comes meanwhile shares the next. A burst of deletes (a workerd that compacts its log) so
 * takes one place among its group's writes, however many they are.
 *
 *   add -> waiting --(nothing of this group and bucket is under way)--> flying -> answered
 *
 * Invariants: 1. a batch is in objects->deletes while it has anything waiting or flying; 2. a
 * delete is answered once, never from inside bnd_object_delete; 3. a batch's op answers all that
 * fly with it. */
#include "base/alloc.h"
#include "base/assert.h"
#include "objects/objects_private.h"

enum { FLYING_MAX = 256, WAITING_MAX = 16384 };
#define FLYING_BYTES_MAX (64u << 10)

struct waiting_delete {
    struct bnd_link link; /* in a batch, or in the flight of one */
    struct bnd_object_delete *del;
    size_t len;
    uint8_t key[];
};

struct delete_batch {
    struct bnd_link link; /* in objects->deletes */
    struct bnd_objects *objects;
    uint64_t gid;
    uint64_t bucket;
    struct bnd_link waiting;
    bool flying;
};

struct delete_flight {
    struct objects_op op;
    struct delete_batch *batch;
    struct bnd_link deletes;
    size_t count;
    int status;
    uint8_t existed[FLYING_MAX];
};

static struct waiting_delete *waiting_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct waiting_delete, link);
}

static void answer(struct bnd_objects *objects, struct waiting_delete *one, int status,
                   bool existed) {
    struct bnd_object_delete *del = one->del;
    objects->deletes_count--;
    objects->stats.deletes += status == 0;
    bnd_free(one);
    del->cb(del, status, existed);
}

static void drop_if_done(struct delete_batch *batch) {
    if (!batch->flying && bnd_list_empty(&batch->waiting)) {
        bnd_link_remove(&batch->link);
        bnd_free(batch);
    }
}

/* ---- flying -----------------------------------------------------------------------------------*/

static void take_off(struct delete_batch *batch);

static void on_answered(struct objects_op *op, size_t call, int status, struct bnd_slice reply) {
    struct delete_flight *flight = (struct delete_flight *)op;
    (void)call; /* there is one */
    flight->status = status == 0 && reply.len != flight->count ? BND_CORRUPT : status;
    if (flight->status == 0) {
        memcpy(flight->existed, reply.data, reply.len);
    }
}

static void land(struct delete_flight *flight, int status) {
    struct bnd_objects *objects = flight->op.objects;
    struct bnd_link *link = NULL;
    for (size_t i = 0; (link = bnd_list_pop(&flight->deletes)) != NULL; i++) {
        answer(objects, waiting_at(link), status, status == 0 && flight->existed[i] == 1);
    }
}

static void on_finish(struct objects_op *op) {
    struct delete_flight *flight = (struct delete_flight *)op;
    struct delete_batch *batch = flight->batch;
    land(flight, flight->status);
    batch->flying = false;
    take_off(batch);
}

static void on_cancel(struct objects_op *op, int status) {
    struct delete_flight *flight = (struct delete_flight *)op;
    land(flight, status);
    flight->batch->flying = false; /* what waits is ended by objects_deletes_cancel */
}

/* Moves what fits from the batch into the flight, and its keys to *items. */
static void board(struct delete_flight *flight, struct bnd_buf *items) {
    struct delete_batch *batch = flight->batch;
    while (!bnd_list_empty(&batch->waiting) && flight->count < FLYING_MAX) {
        struct waiting_delete *one = waiting_at(batch->waiting.next);
        if (flight->count > 0 && items->len + one->len > FLYING_BYTES_MAX) {
            return;
        }
        bnd_link_remove(&one->link);
        bnd_list_push(&flight->deletes, &one->link);
        bnd_buf_bytes(items, bnd_slice(one->key, one->len));
        flight->count++;
    }
}

static int send(struct delete_flight *flight) {
    BND_AUTO_BUF struct bnd_buf items = {0};
    board(flight, &items);
    const struct objects_command command = {
        .kind = OBJECTS_DELETE_MANY,
        .bucket = flight->batch->bucket,
        .count = (uint32_t)flight->count,
        .items = bnd_buf_slice(&items),
    };
    return items.failed ? BND_NOMEM
                        : objects_op_command(&flight->op, 0, flight->batch->gid, &command);
}

static void fail_all(struct delete_batch *batch, int status) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&batch->waiting)) != NULL) {
        answer(batch->objects, waiting_at(link), status, false);
    }
}

/* Sends what waits, or ends the batch. What cannot be sent is answered at once: take_off is never
 * called from inside bnd_object_delete. */
static void take_off(struct delete_batch *batch) {
    if (batch->flying) {
        return;
    }
    while (!batch->flying && !bnd_list_empty(&batch->waiting)) {
        int rv = 0;
        struct delete_flight *flight = objects_op_create(batch->objects, sizeof *flight, 1, &rv);
        batch->flying = true; /* also while answering: whoever deletes from there only waits */
        if (flight == NULL) {
            fail_all(batch, rv);
            batch->flying = false;
            continue;
        }
        flight->op.answered = on_answered;
        flight->op.finish = on_finish;
        flight->op.cancel = on_cancel;
        flight->batch = batch;
        bnd_list_init(&flight->deletes);
        rv = send(flight);
        if (rv != 0) {
            land(flight, rv);
            objects_op_drop(&flight->op);
            batch->flying = false;
        }
    }
    drop_if_done(batch);
}

/* ---- gathering --------------------------------------------------------------------------------*/

static struct delete_batch *find_batch(struct bnd_objects *objects, uint64_t gid, uint64_t bucket) {
    for (struct bnd_link *link = objects->deletes.next; link != &objects->deletes;
         link = link->next) {
        struct delete_batch *batch = BND_CONTAINER(link, struct delete_batch, link);
        if (batch->gid == gid && batch->bucket == bucket) {
            return batch;
        }
    }
    struct delete_batch *batch = bnd_zalloc(sizeof *batch);
    if (batch != NULL) {
        batch->objects = objects;
        batch->gid = gid;
        batch->bucket = bucket;
        bnd_list_init(&batch->waiting);
        bnd_list_push(&objects->deletes, &batch->link);
    }
    return batch;
}

/* In the next pass: what came in one goes together. */
static void on_timer(struct bnd_timer *timer) {
    struct bnd_objects *objects = timer->data;
    objects->deletes_due = false;
    struct bnd_link *link = objects->deletes.next;
    while (!objects->closing && link != &objects->deletes) {
        struct delete_batch *batch = BND_CONTAINER(link, struct delete_batch, link);
        link = link->next; /* take_off frees at most this batch; others are added at the end */
        take_off(batch);
    }
}

int objects_delete_add(struct bnd_objects *objects, struct bnd_object_delete *del,
                       const struct bnd_object_name *name) {
    if (objects->closing) {
        return BND_CANCELED;
    }
    if (objects->deletes_count >= WAITING_MAX) {
        return BND_FULL;
    }
    struct waiting_delete *one = bnd_alloc(sizeof *one + name->key.len);
    struct delete_batch *batch =
        one == NULL ? NULL : find_batch(objects, objects_gid(objects, name), name->bucket.id);
    if (batch == NULL) {
        bnd_free(one);
        return BND_NOMEM;
    }
    *one = (struct waiting_delete){.del = del, .len = name->key.len};
    memcpy(one->key, name->key.data, name->key.len);
    bnd_list_push(&batch->waiting, &one->link);
    objects->deletes_count++;
    if (!objects->deletes_due) {
        objects->deletes_due = true;
        objects->deletes_timer = (struct bnd_timer){.cb = on_timer, .data = objects};
        bnd_timer_start(objects->config.env, &objects->deletes_timer, 0);
    }
    return 0;
}

void objects_deletes_cancel(struct bnd_objects *objects) {
    if (objects->deletes_due) {
        bnd_timer_stop(objects->config.env, &objects->deletes_timer);
    }
    struct bnd_link *link = objects->deletes.next;
    while (link != &objects->deletes) {
        struct delete_batch *batch = BND_CONTAINER(link, struct delete_batch, link);
        link = link->next;
        fail_all(batch, BND_CANCELED);
        drop_if_done(batch); /* else we are called from inside one of its answers */
    }
}
