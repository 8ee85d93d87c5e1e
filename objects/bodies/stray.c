/* Files of groups that are not here any more: freed one by one, once every node that should hold
 * the group has said of the body that it is there, whole, or that nothing can name it (check.c,
 * HAVE). There is no state here to say what they are, so the others are asked.
 *
 *   look at the file's footer (pool) -> ask all -> unlink (pool) -> next
 *
 * What one of them does not confirm stays, and is found again by a later sweep. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#define CALL_NS (10000 * BND_MS)
enum { STRAYS_MAX = 512 };

struct question {
    struct body_strays *strays;
    struct bnd_rpc_call call;
    bool open;
};

struct body_strays {
    struct bnd_bodies *bodies;
    struct body_id queue[STRAYS_MAX]; /* a ring */
    size_t head, count;
    bool busy; /* with the first of the queue */
    struct bnd_work work;
    bool unlinking;
    struct body_info info;
    int rv; /* of the work, or the worst answer */
    struct question questions[BND_REPLICAS_MAX];
    size_t open;
};

static const struct body_id *first_of(const struct body_strays *strays) {
    return &strays->queue[strays->head];
}

static void run(struct bnd_work *work) {
    struct body_strays *strays = work->data;
    struct bnd_env *env = strays->bodies->config.env;
    const struct body_id *id = first_of(strays);
    char path[BODY_PATH_MAX];
    if (!body_path(strays->bodies->dir, id, path)) {
        strays->rv = BND_INVALID;
    } else if (strays->unlinking) {
        strays->rv = env->ops->unlink(env, path, NULL);
    } else {
        strays->rv = body_stat(env, path, id, &strays->info, NULL);
    }
}

static void next(struct body_strays *strays);

static void over(struct body_strays *strays) {
    strays->busy = false;
    strays->head = (strays->head + 1) % STRAYS_MAX;
    strays->count--;
    next(strays);
    body_close_check(strays->bodies);
}

static void work_on(struct body_strays *strays, bool unlinking);

static void answered(struct body_strays *strays) {
    if (strays->open > 0) {
        return;
    }
    if (strays->rv == 0 && body_group_of(strays->bodies, first_of(strays)->gid) == NULL) {
        work_on(strays, true);
    } else {
        over(strays);
    }
}

static void on_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct question *question = call->data;
    (void)reply;
    question->open = false;
    question->strays->open--;
    question->strays->rv = status != 0 ? status : question->strays->rv;
    answered(question->strays);
}

static void ask_all(struct body_strays *strays) {
    struct bnd_bodies *bodies = strays->bodies;
    struct bnd_object_replicas replicas = {0};
    const struct body_request request = {
        .op = BODY_HAVE, .id = *first_of(strays), .deadline_ms = strays->info.deadline_ms};
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    body_request_encode(head, &request);
    struct bnd_slice part = bnd_slice(head, sizeof head);
    strays->rv =
        bodies->config.replicas(bodies->config.owner, bnd_gid_shard(request.id.gid), &replicas);
    strays->rv = strays->rv == 0 && replicas.count == 0 ? BND_UNAVAILABLE : strays->rv;
    for (size_t i = 0; strays->rv == 0 && i < replicas.count; i++) {
        struct question *question = &strays->questions[i];
        if (replicas.nodes[i] == bodies->config.self) {
            strays->rv = BND_BUSY; /* the group is about to come here */
            break;
        }
        *question = (struct question){.strays = strays};
        question->call = (struct bnd_rpc_call){.cb = on_answer, .data = question};
        strays->rv = bnd_rpc_call(bodies->config.rpc, &question->call, replicas.nodes[i],
                                  BND_MESH_BULK, BND_RPC_BODY, &part, 1, CALL_NS);
        question->open = strays->rv == 0;
        strays->open += question->open;
    }
    answered(strays);
}

static void work_done(struct bnd_work *work, int status) {
    struct body_strays *strays = work->data;
    struct bnd_bodies *bodies = strays->bodies;
    body_work_done(bodies);
    bool good = status == 0 && strays->rv == 0 && !bodies->closing;
    bodies->stats.bodies_freed += good && strays->unlinking;
    if (good && !strays->unlinking) {
        ask_all(strays);
    } else {
        over(strays);
    }
}

static void work_on(struct body_strays *strays, bool unlinking) {
    strays->unlinking = unlinking;
    strays->work = (struct bnd_work){.run = run, .done = work_done, .data = strays};
    if (body_work(strays->bodies, &strays->work, first_of(strays)->version) != 0) {
        over(strays);
    }
}

static void next(struct body_strays *strays) {
    if (strays->bodies->closing) {
        strays->count = 0;
    } else if (strays->count > 0 && !strays->busy) {
        strays->busy = true;
        strays->open = 0;
        work_on(strays, false);
    }
}

void body_stray_found(struct body_strays *strays, const struct body_id *id) {
    if (strays->count == STRAYS_MAX || strays->bodies->closing) {
        return; /* the sweep comes again */
    }
    for (size_t i = 0; i < strays->count; i++) {
        const struct body_id *other = &strays->queue[(strays->head + i) % STRAYS_MAX];
        if (other->gid == id->gid && memcmp(other->version, id->version, sizeof id->version) == 0) {
            return;
        }
    }
    strays->queue[(strays->head + strays->count++) % STRAYS_MAX] = *id;
    next(strays);
}

int body_strays_create(struct bnd_bodies *bodies, struct body_strays **out) {
    struct body_strays *strays = bnd_zalloc(sizeof *strays);
    if (strays == NULL) {
        return BND_NOMEM;
    }
    strays->bodies = bodies;
    *out = strays;
    return 0;
}

void body_strays_close(struct body_strays *strays) {
    for (size_t i = 0; strays->open > 0 && i < BND_REPLICAS_MAX; i++) {
        struct question *question = &strays->questions[i];
        if (question->open) {
            bnd_rpc_cancel(&question->call);
            question->open = false;
            strays->open--;
        }
    }
}

void body_strays_destroy(struct body_strays *strays) {
    bnd_free(strays);
}
