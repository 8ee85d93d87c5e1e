/* Whether this node holds what its groups count on: asked by whoever wants to take a voter away, or
 * to make one (confirm.c), and by a node that holds files of a group it has left (stray.c).
 *
 * CHECK looks at every live body of a group: record by record on the loop, its file block by block
 * on the pool. It is asked again and again and answers how far it is; what is found missing or
 * damaged is fetched at once. One group at a time on a node; the others wait.
 * HAVE looks at one body: 0 says that it is here, whole, or that no live object can name it any
 * more.
 *
 * Invariant: a result is told only for CHECK_FRESH_NS, and of a check that began with the group's
 * state here. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#define CHECK_FRESH_NS (10000 * BND_MS)
#define CHECK_AGAIN_NS (300 * BND_MS) /* after one that found something missing */
#define CHECK_FORGET_NS (60000 * BND_MS)
enum { CHECKS_MAX = 1024, BATCH_MAX = 16 };

struct checked {
    struct body_id id;
    struct objects_body_record record;
    int rv;
};

struct check {
    struct bnd_link link;
    uint64_t gid;
    bool waits; /* for its turn, or is under way */
    bool known; /* there is a result, of done_ns */
    uint64_t missing;
    uint64_t done_ns, asked_ns;
};

struct body_checks {
    struct bnd_bodies *bodies;
    struct bnd_link list; /* struct check */
    size_t count;
    struct check *running; /* NULL: none */
    uint64_t missing;      /* in it, so far */
    uint8_t after[BND_OBJECT_ID_BYTES];
    bool begun;
    struct checked batch[BATCH_MAX];
    size_t batch_count;
    struct bnd_work work;
    struct bnd_timer timer; /* the next step */
};

static struct bnd_env *env_of(const struct body_checks *checks) {
    return checks->bodies->config.env;
}

struct objects_fsm *body_group_of(const struct bnd_bodies *bodies, uint64_t gid) {
    const struct bnd_link *head = &bodies->groups;
    for (struct bnd_link *link = head->next; link != head; link = link->next) {
        struct objects_fsm *fsm = BND_CONTAINER(link, struct objects_fsm, link);
        if (fsm->gid == gid && fsm->state != NULL) {
            return fsm;
        }
    }
    return NULL;
}

static int look_at(struct bnd_bodies *bodies, const struct body_id *id, uint64_t size) {
    char path[BODY_PATH_MAX];
    struct body_info info;
    if (!body_path(bodies->dir, id, path)) {
        return BND_INVALID;
    }
    int rv = body_verify(bodies->config.env, path, &info, NULL);
    bool other = rv == 0 && (info.size != size || info.id.gid != id->gid ||
                             memcmp(info.id.version, id->version, sizeof id->version) != 0);
    return other ? BND_CORRUPT : rv;
}

static void want(struct bnd_bodies *bodies, const struct body_id *id, uint64_t size, int rv) {
    struct objects_body_record record = {.size = size};
    if (!bodies->closing) {
        body_repair_want(bodies->repair, id, &record,
                         rv == BND_NOTFOUND ? BODY_WANT_NOW : BODY_WANT_FORCED);
    }
}

/* ---- a group's bodies -------------------------------------------------------------------------*/

static void start_next(struct body_checks *checks);

static void check_over(struct body_checks *checks, bool whole) {
    struct check *check = checks->running;
    checks->running = NULL;
    check->waits = false;
    check->known = whole;
    check->missing = checks->missing;
    check->done_ns = bnd_now_ns(env_of(checks));
    start_next(checks);
    body_close_check(checks->bodies);
}

static void run_batch(struct bnd_work *work) {
    struct body_checks *checks = work->data;
    for (size_t i = 0; i < checks->batch_count; i++) {
        struct checked *checked = &checks->batch[i];
        checked->rv = look_at(checks->bodies, &checked->id, checked->record.size);
    }
}

static void batch_done(struct bnd_work *work, int status) {
    struct body_checks *checks = work->data;
    struct bnd_bodies *bodies = checks->bodies;
    body_work_done(bodies);
    for (size_t i = 0; status == 0 && i < checks->batch_count; i++) {
        const struct checked *checked = &checks->batch[i];
        if (checked->rv != 0) {
            checks->missing++;
            want(bodies, &checked->id, checked->record.size, checked->rv);
        }
    }
    if (status != 0 || bodies->closing) {
        check_over(checks, false);
    } else {
        bnd_timer_start(env_of(checks), &checks->timer, 0);
    }
}

/* The next live bodies behind the last. Fails like an iterator. */
static int take_batch(struct body_checks *checks, const struct objects_fsm *fsm) {
    const struct bnd_state_ops *ops = fsm->state->ops;
    struct objects_key from;
    struct objects_key to;
    objects_key_version(&from, fsm->slot, OBJECTS_TAG_BODY,
                        bnd_slice(checks->after, checks->begun ? sizeof checks->after : 0));
    objects_key_version(&to, fsm->slot, OBJECTS_TAG_BODY, bnd_slice(NULL, 0));
    (void)objects_key_past(&to); /* cannot fail: a tag is in it */
    struct bnd_state_iter *iter =
        ops->iter(fsm->state, BND_CF_OBJECTS, objects_key_slice(&from), objects_key_slice(&to));
    checks->batch_count = 0;
    if (iter == NULL) {
        return BND_NOMEM;
    }
    for (; ops->iter_valid(iter) && checks->batch_count < BATCH_MAX; ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct checked *checked = &checks->batch[checks->batch_count];
        if (key.len != 5 + BND_OBJECT_ID_BYTES ||
            (checks->begun && memcmp(key.data + 5, checks->after, sizeof checks->after) == 0)) {
            continue;
        }
        *checked = (struct checked){.id = {.gid = fsm->gid}};
        memcpy(checked->id.version, key.data + 5, sizeof checked->id.version);
        memcpy(checks->after, key.data + 5, sizeof checks->after);
        checks->begun = true;
        int rv = objects_body_decode(ops->iter_value(iter), &checked->record);
        checks->missing += rv != 0;
        checks->batch_count += rv == 0 && checked->record.free_after_ms == 0;
    }
    int rv = ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv;
}

static void on_step(struct bnd_timer *timer) {
    struct body_checks *checks = timer->data;
    const struct objects_fsm *fsm = body_group_of(checks->bodies, checks->running->gid);
    if (fsm == NULL || checks->bodies->closing || take_batch(checks, fsm) != 0) {
        check_over(checks, false);
    } else if (checks->batch_count == 0) {
        check_over(checks, true);
    } else {
        checks->work = (struct bnd_work){.run = run_batch, .done = batch_done, .data = checks};
        if (body_work(checks->bodies, &checks->work, NULL) != 0) {
            check_over(checks, false); /* asked again later */
        }
    }
}

static void start_next(struct body_checks *checks) {
    for (struct bnd_link *link = checks->list.next;
         checks->running == NULL && !checks->bodies->closing && link != &checks->list;
         link = link->next) {
        struct check *check = BND_CONTAINER(link, struct check, link);
        if (check->waits) {
            checks->running = check;
            checks->missing = 0;
            checks->begun = false;
            bnd_timer_start(env_of(checks), &checks->timer, 0);
        }
    }
}

/* ---- requests ---------------------------------------------------------------------------------*/

/* The check of a group, made if there is none; NULL: too many, or no memory. Forgets old ones. */
static struct check *check_of(struct body_checks *checks, uint64_t gid) {
    uint64_t now = bnd_now_ns(env_of(checks));
    struct bnd_link *link = checks->list.next;
    while (link != &checks->list) {
        struct check *check = BND_CONTAINER(link, struct check, link);
        link = link->next;
        if (check->gid == gid) {
            return check;
        }
        if (!check->waits && now - check->asked_ns > CHECK_FORGET_NS) {
            bnd_link_remove(&check->link);
            bnd_free(check);
            checks->count--;
        }
    }
    struct check *check = checks->count < CHECKS_MAX ? bnd_zalloc(sizeof *check) : NULL;
    if (check != NULL) {
        check->gid = gid;
        bnd_list_push(&checks->list, &check->link);
        checks->count++;
    }
    return check;
}

int body_check_serve(struct body_checks *checks, struct bnd_rpc_request *request, uint64_t gid) {
    uint64_t now = bnd_now_ns(env_of(checks));
    if (body_group_of(checks->bodies, gid) == NULL) {
        return BND_NOTFOUND;
    }
    struct check *check = check_of(checks, gid);
    if (check == NULL) {
        return BND_FULL;
    }
    check->asked_ns = now;
    uint64_t age = now - check->done_ns;
    bool fresh = check->known && age < CHECK_FRESH_NS;
    if (!check->waits && (!fresh || (check->missing > 0 && age > CHECK_AGAIN_NS))) {
        check->waits = true;
        start_next(checks);
    }
    uint8_t bytes[BODY_REPLY_HEAD_BYTES + 1 + 8] = {0};
    bytes[BODY_REPLY_HEAD_BYTES] = fresh;
    bnd_put_u64(bytes + BODY_REPLY_HEAD_BYTES + 1, fresh ? check->missing : 0);
    struct bnd_slice part = bnd_slice(bytes, sizeof bytes);
    bnd_rpc_reply(request, 0, &part, 1);
    return 0;
}

/* ---- one body ---------------------------------------------------------------------------------*/

struct have {
    struct bnd_work work;
    struct bnd_bodies *bodies;
    struct bnd_rpc_request *request;
    struct body_id id;
    uint64_t size;
    int rv;
};

static void have_answer(struct bnd_rpc_request *request, int status) {
    const uint8_t bytes[BODY_REPLY_HEAD_BYTES] = {0};
    struct bnd_slice part = bnd_slice(bytes, sizeof bytes);
    bnd_rpc_reply(request, status, &part, status == 0 ? 1 : 0);
}

static void have_run(struct bnd_work *work) {
    struct have *have = work->data;
    have->rv = look_at(have->bodies, &have->id, have->size);
}

static void have_done(struct bnd_work *work, int status) {
    struct have *have = work->data;
    struct bnd_bodies *bodies = have->bodies;
    body_work_done(bodies);
    if (status == 0 && have->rv != 0) {
        want(bodies, &have->id, have->size, have->rv);
    }
    have_answer(have->request, status != 0 ? status : have->rv);
    bnd_free(have);
    body_close_check(bodies);
}

int body_have_serve(struct body_checks *checks, struct bnd_rpc_request *request,
                    const struct body_request *what) {
    struct bnd_bodies *bodies = checks->bodies;
    const struct objects_fsm *fsm = body_group_of(bodies, what->id.gid);
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct objects_body_record record;
    struct objects_key key;
    if (fsm == NULL) {
        return BND_NOTFOUND;
    }
    bool suspended = bodies->config.time_suspended != NULL &&
                     bodies->config.time_suspended(bodies->config.owner, fsm->gid);
    if (suspended || fsm->written_stamp_ms <= what->deadline_ms) {
        return BND_BUSY; /* the command that names it may still come */
    }
    objects_key_version(&key, fsm->slot, OBJECTS_TAG_BODY,
                        bnd_slice(what->id.version, sizeof what->id.version));
    int rv = fsm->state->ops->get(fsm->state, BND_CF_OBJECTS, objects_key_slice(&key), &value);
    if (rv == BND_NOTFOUND) {
        have_answer(request, 0);
        return 0;
    }
    rv = rv != 0 ? rv : objects_body_decode(bnd_buf_slice(&value), &record);
    struct have *have = rv != 0 ? NULL : bnd_zalloc(sizeof *have);
    if (have == NULL) {
        return rv != 0 ? rv : BND_NOMEM;
    }
    *have =
        (struct have){.bodies = bodies, .request = request, .id = what->id, .size = record.size};
    have->work = (struct bnd_work){.run = have_run, .done = have_done, .data = have};
    rv = body_work(bodies, &have->work, what->id.version);
    if (rv != 0) {
        bnd_free(have);
    }
    return rv;
}

/* ---- the whole --------------------------------------------------------------------------------*/

int body_checks_create(struct bnd_bodies *bodies, struct body_checks **out) {
    struct body_checks *checks = bnd_zalloc(sizeof *checks);
    if (checks == NULL) {
        return BND_NOMEM;
    }
    checks->bodies = bodies;
    checks->timer = (struct bnd_timer){.cb = on_step, .data = checks};
    bnd_list_init(&checks->list);
    *out = checks;
    return 0;
}

void body_checks_close(struct body_checks *checks) {
    bnd_timer_stop(env_of(checks), &checks->timer);
}

void body_checks_destroy(struct body_checks *checks) {
    struct bnd_link *link = NULL;
    if (checks == NULL) {
        return;
    }
    while ((link = bnd_list_pop(&checks->list)) != NULL) {
        bnd_free(BND_CONTAINER(link, struct check, link));
    }
    bnd_free(checks);
}
