/* The sweep: compares the files here with what the groups' states say, directory by directory.
 *
 *   pool: list directory xx -> loop: merge with every group's records 'b' xx -> pool: look at the
 * files without a record, delete those that are garbage -> next directory
 *
 * Why a file may be deleted: it has no record in its group's state here, and that state has seen a
 * stamp beyond the file's deadline. The only command that could have given it a record is then
 * either applied here (and the record was dropped since, for ever) or will be refused (fsm.h, 2 and
 * 3). So a file whose footer cannot be read stays; one of a group that is not
 * here is left to stray.c.
 *
 * The directory is listed before the state is read: a file that came meanwhile is not in the list,
 * and is only looked at again by the fetch of what seems missing. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>

#define STEP_NS (10 * BND_MS)
#define TICK_GAP_NS (100 * BND_MS)
enum { FANS = 256, SUSPECTS_MAX = 512, NAMES_MAX = 65536 };

struct suspect {
    struct body_id id;
    uint64_t stamp_ms; /* that the group's state has seen */
};

struct body_sweep {
    struct bnd_bodies *bodies;
    struct bnd_timer timer;
    struct bnd_work work;
    unsigned fan;
    struct body_id *names; /* of the directory, in order */
    size_t names_count;
    size_t names_cap;
    int rv;
    struct suspect suspects[SUSPECTS_MAX];
    size_t suspects_count;
    bool young; /* some suspect's time is not over */
    uint64_t freed;
    uint64_t missing;  /* in this round over all directories */
    uint64_t bytes;    /* likewise: of live bodies that are here */
    uint64_t tick_gid; /* a group that needs its stamp moved; 0: none */
    struct bnd_shard_call tick;
    bool ticking;
    uint64_t ticked_ns;
    bool closing;
};

static struct bnd_env *env_of(const struct body_sweep *sweep) {
    return sweep->bodies->config.env;
}

/* ---- on the pool ------------------------------------------------------------------------------
 */

static int add_name(void *data, const char *name) {
    struct body_sweep *sweep = data;
    struct body_id id;
    if (body_name_parse(name, &id) != 0 || sweep->names_count == NAMES_MAX) {
        return 0; /* not ours; or more than one step takes: the rest waits for later rounds */
    }
    if (!BND_ROOM(sweep->names, sweep->names_count, sweep->names_cap, 64)) {
        return BND_NOMEM;
    }
    sweep->names[sweep->names_count++] = id;
    return 0;
}

static void run_list(struct bnd_work *work) {
    struct body_sweep *sweep = work->data;
    char path[BODY_PATH_MAX];
    sweep->names_count = 0;
    sweep->rv = BND_INVALID;
    if (body_fan_path(sweep->bodies->dir, sweep->fan, path)) {
        sweep->rv = env_of(sweep)->ops->dir_list(env_of(sweep), path, add_name, sweep, NULL);
    }
}

static void run_look(struct bnd_work *work) {
    struct body_sweep *sweep = work->data;
    struct bnd_env *env = env_of(sweep);
    for (size_t i = 0; i < sweep->suspects_count; i++) {
        const struct suspect *suspect = &sweep->suspects[i];
        struct body_info info;
        char path[BODY_PATH_MAX];
        if (!body_path(sweep->bodies->dir, &suspect->id, path) ||
            body_stat(env, path, &suspect->id, &info, NULL) != 0) {
            continue;
        }
        if (info.deadline_ms >= suspect->stamp_ms) {
            sweep->young = true;
        } else if (env->ops->unlink(env, path, NULL) == 0) {
            sweep->freed++;
        }
    }
}

/* ---- on the loop ------------------------------------------------------------------------------
 */

static void next_step(struct body_sweep *sweep) {
    uint64_t pause = STEP_NS;
    if (++sweep->fan == FANS) {
        sweep->fan = 0;
        sweep->bodies->stats.bodies_missing = sweep->missing;
        sweep->bodies->stats.bodies_bytes = sweep->bytes;
        sweep->missing = 0;
        sweep->bytes = 0;
        pause = sweep->bodies->config.sweep_ns;
    }
    if (!sweep->closing) {
        bnd_timer_start(env_of(sweep), &sweep->timer, pause);
    }
    body_close_check(sweep->bodies);
}

static void on_ticked(struct bnd_shard_call *call, int status, struct bnd_slice reply) {
    (void)status; /* asked again when the sweep comes by again */
    (void)reply;
    ((struct body_sweep *)call->data)->ticking = false;
}

/* Moves the stamp of an idle group, so that what waits for it can be freed. */
static void tick(struct body_sweep *sweep) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct objects_command command = {.kind = OBJECTS_TICK};
    uint64_t gid = sweep->tick_gid;
    sweep->tick_gid = 0;
    uint64_t now = bnd_now_ns(env_of(sweep));
    if (gid == 0 || sweep->ticking || sweep->closing || now - sweep->ticked_ns < TICK_GAP_NS) {
        return;
    }
    sweep->ticked_ns = now;
    objects_command_encode(&bytes, &command);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    sweep->tick = (struct bnd_shard_call){.cb = on_ticked, .data = sweep};
    sweep->ticking = !bytes.failed && bnd_shard_call(sweep->bodies->client, &sweep->tick,
                                                     BND_SHARD_WRITE, gid, &part, 1, 0) == 0;
}

static void look_done(struct bnd_work *work, int status) {
    struct body_sweep *sweep = work->data;
    body_work_done(sweep->bodies);
    sweep->bodies->stats.bodies_freed += sweep->freed;
    if (status == 0 && sweep->young) {
        tick(sweep);
    }
    next_step(sweep);
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(((const struct body_id *)a)->version, ((const struct body_id *)b)->version,
                  BND_OBJECT_ID_BYTES);
}

static bool has_file(const struct body_sweep *sweep, uint64_t gid, const uint8_t *version) {
    struct body_id id = {.gid = gid};
    memcpy(id.version, version, sizeof id.version);
    if (sweep->names_count == 0) {
        return false; /* there may be no array */
    }
    const struct body_id *found =
        bsearch(&id, sweep->names, sweep->names_count, sizeof id, compare_ids);
    return found != NULL && found->gid == gid;
}

static void mark_missing(struct body_sweep *sweep, const struct objects_fsm *fsm,
                         const uint8_t *version, struct bnd_slice value) {
    struct objects_body_record record;
    if (objects_body_decode(value, &record) != 0) {
        return;
    }
    if (record.free_after_ms != 0) {
        return; /* about to go: not worth a fetch */
    }
    if (has_file(sweep, fsm->gid, version)) {
        sweep->bytes += record.size;
        return;
    }
    struct body_id id = {.gid = fsm->gid};
    memcpy(id.version, version, sizeof id.version);
    sweep->missing++;
    body_repair_want(sweep->bodies->repair, &id, &record, BODY_WANT_SOON);
}

/* What the group's state holds and the directory does not. A group with few bodies, or none, is not
 * asked for every directory: it is read on to its next record, which says where to ask again. */
static void find_missing(struct body_sweep *sweep, struct objects_fsm *fsm) {
    const struct bnd_state_ops *ops = fsm->state->ops;
    uint8_t fan = (uint8_t)sweep->fan;
    struct objects_key from;
    struct objects_key to;
    if (sweep->fan == 0) {
        fsm->sweep_fan = 0;
    }
    if (sweep->fan < fsm->sweep_fan) {
        return;
    }
    objects_key_version(&from, fsm->slot, OBJECTS_TAG_BODY, bnd_slice(&fan, 1));
    objects_key_version(&to, fsm->slot, OBJECTS_TAG_BODY, bnd_slice(NULL, 0));
    (void)objects_key_past(&to); /* cannot fail: a tag is in it */
    struct bnd_state_iter *iter =
        ops->iter(fsm->state, BND_CF_OBJECTS, objects_key_slice(&from), objects_key_slice(&to));
    if (iter == NULL) {
        return; /* next round */
    }
    unsigned next = FANS;
    for (; next == FANS && ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        if (key.len == 5 + BND_OBJECT_ID_BYTES && key.data[5] == fan) {
            mark_missing(sweep, fsm, key.data + 5, ops->iter_value(iter));
        } else if (key.len > 5) {
            next = key.data[5];
        }
    }
    if (ops->iter_status(iter) == 0) {
        fsm->sweep_fan = (uint16_t)next;
    }
    ops->iter_destroy(iter);
}

static bool suspended(const struct body_sweep *sweep, uint64_t gid) {
    const struct bnd_bodies_config *config = &sweep->bodies->config;
    return config->time_suspended != NULL && config->time_suspended(config->owner, gid);
}

/* Files without a record, in groups that are here and whose time can be trusted; and files of
 * groups that are not here. */
static void find_suspects(struct body_sweep *sweep) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    for (size_t i = 0; i < sweep->names_count && sweep->suspects_count < SUSPECTS_MAX; i++) {
        const struct body_id *id = &sweep->names[i];
        const struct objects_fsm *fsm = body_group_of(sweep->bodies, id->gid);
        struct objects_key key;
        if (fsm == NULL) {
            body_stray_found(sweep->bodies->strays, id);
            continue;
        }
        objects_key_version(&key, fsm->slot, OBJECTS_TAG_BODY,
                            bnd_slice(id->version, sizeof id->version));
        bnd_buf_reset(&value);
        int rv = fsm->state->ops->get(fsm->state, BND_CF_OBJECTS, objects_key_slice(&key), &value);
        if (rv == BND_NOTFOUND && !suspended(sweep, fsm->gid)) {
            sweep->suspects[sweep->suspects_count++] =
                (struct suspect){.id = *id, .stamp_ms = fsm->written_stamp_ms};
            sweep->tick_gid = fsm->gid;
        }
    }
}

/* A group with bodies whose time is over needs a command to drop their records. */
static void find_due(struct body_sweep *sweep, const struct objects_fsm *fsm) {
    const struct bnd_state_ops *ops = fsm->state->ops;
    struct objects_key from;
    struct objects_key to;
    objects_key_free(&from, fsm->slot, 0, NULL);
    objects_key_free(&to, fsm->slot, bnd_wall_ms(env_of(sweep)), NULL);
    struct bnd_state_iter *iter =
        ops->iter(fsm->state, BND_CF_OBJECTS, objects_key_slice(&from), objects_key_slice(&to));
    if (iter == NULL) {
        return;
    }
    if (ops->iter_valid(iter) && !suspended(sweep, fsm->gid)) {
        sweep->tick_gid = fsm->gid;
        tick(sweep);
    }
    ops->iter_destroy(iter);
}

/* Every group's records of this directory; and of one group in turn, whether any is due. */
static void find_in_groups(struct body_sweep *sweep) {
    const struct bnd_link *head = &sweep->bodies->groups;
    unsigned count = 0;
    unsigned place = 0;
    for (struct bnd_link *link = head->next; link != head; link = link->next) {
        count++;
    }
    for (struct bnd_link *link = head->next; link != head; link = link->next, place++) {
        struct objects_fsm *fsm = BND_CONTAINER(link, struct objects_fsm, link);
        if (fsm->state == NULL) {
            continue;
        }
        find_missing(sweep, fsm);
        if (sweep->fan == place * FANS / count) { /* each group once in a round */
            find_due(sweep, fsm);
        }
    }
}

static void list_done(struct bnd_work *work, int status) {
    struct body_sweep *sweep = work->data;
    struct bnd_bodies *bodies = sweep->bodies;
    body_work_done(bodies);
    if (status != 0 || sweep->rv != 0 || sweep->closing) {
        next_step(sweep);
        return;
    }
    /* By version alone: the directory's order is by group. */
    if (sweep->names_count > 1) {
        qsort(sweep->names, sweep->names_count, sizeof *sweep->names, compare_ids);
    }
    sweep->suspects_count = 0;
    sweep->young = false;
    sweep->freed = 0;
    find_in_groups(sweep);
    find_suspects(sweep);
    sweep->work.run = run_look;
    sweep->work.done = look_done;
    if (sweep->suspects_count == 0 || body_work(bodies, &sweep->work, NULL) != 0) {
        next_step(sweep);
    }
}

static void on_step(struct bnd_timer *timer) {
    struct body_sweep *sweep = timer->data;
    sweep->work.run = run_list;
    sweep->work.done = list_done;
    sweep->work.data = sweep;
    if (body_work(sweep->bodies, &sweep->work, NULL) != 0) {
        next_step(sweep);
    }
}

int body_sweep_create(struct bnd_bodies *bodies, struct body_sweep **out) {
    struct body_sweep *sweep = bnd_zalloc(sizeof *sweep);
    if (sweep == NULL) {
        return BND_NOMEM;
    }
    sweep->bodies = bodies;
    sweep->timer.cb = on_step;
    sweep->timer.data = sweep;
    *out = sweep;
    return 0;
}

void body_sweep_start(struct body_sweep *sweep) {
    bnd_timer_start(env_of(sweep), &sweep->timer, sweep->bodies->config.sweep_ns);
}

void body_sweep_close(struct body_sweep *sweep) {
    sweep->closing = true;
    bnd_timer_stop(env_of(sweep), &sweep->timer);
    if (sweep->ticking) {
        bnd_shard_call_cancel(&sweep->tick);
        sweep->ticking = false;
    }
}

void body_sweep_destroy(struct body_sweep *sweep) {
    if (sweep != NULL) {
        bnd_free(sweep->names);
        bnd_free(sweep);
    }
}
