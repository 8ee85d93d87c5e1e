/* The store as a whole: made, started, closed. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"
#include "base/assert.h"

int body_work(struct bnd_bodies *bodies, struct bnd_work *work, const uint8_t *version) {
    uint64_t pin = version == NULL ? 0 : bnd_get_u64(version) | 1;
    work->pin = pin;
    int rv = bodies->config.env->ops->work(bodies->config.env, work);
    bodies->works += rv == 0 ? 1 : 0;
    return rv;
}

void body_work_done(struct bnd_bodies *bodies) {
    BND_ASSERT(bodies->works > 0);
    bodies->works--;
}

static void free_all(struct bnd_bodies *bodies) {
    body_repair_destroy(bodies->repair);
    body_sweep_destroy(bodies->sweep);
    body_checks_destroy(bodies->checks);
    body_strays_destroy(bodies->strays);
    bnd_free(bodies->dir);
    bnd_free(bodies);
}

static void on_idle(struct bnd_timer *timer) {
    struct bnd_bodies *bodies = timer->data;
    void (*closed)(void *) = bodies->closed;
    void *data = bodies->closed_data;
    free_all(bodies);
    closed(data);
}

void body_close_check(struct bnd_bodies *bodies) {
    bool idle = bodies->works == 0 && bnd_list_empty(&bodies->writing) &&
                (bodies->repair == NULL || body_repair_idle(bodies->repair));
    if (bodies->closing && idle) {
        bodies->idle.cb = on_idle; /* later: whoever called still uses the struct */
        bnd_timer_start(bodies->config.env, &bodies->idle, 0);
    }
}

static int open_store(struct bnd_bodies *bodies, struct bnd_error *err) {
    bodies->dir = bnd_strdup(bodies->config.dir);
    if (bodies->dir == NULL || body_repair_create(bodies, &bodies->repair) != 0 ||
        body_sweep_create(bodies, &bodies->sweep) != 0 ||
        body_checks_create(bodies, &bodies->checks) != 0 ||
        body_strays_create(bodies, &bodies->strays) != 0) {
        return BND_FAIL(err, NOMEM, "no memory for the body store");
    }
    return body_dir_open(bodies->config.env, bodies->dir, err);
}

int bnd_bodies_create(const struct bnd_bodies_config *config, struct bnd_bodies **out,
                      struct bnd_error *err) {
    struct bnd_bodies *bodies = bnd_zalloc(sizeof *bodies);
    if (bodies == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for the body store");
    }
    bodies->config = *config;
    bodies->config.window_bytes = config->window_bytes == 0 ? 1u << 20 : config->window_bytes;
    bodies->config.put_bytes_max = config->put_bytes_max == 0 ? 64u << 20 : config->put_bytes_max;
    bodies->config.uploads_max = config->uploads_max == 0 ? 1024 : config->uploads_max;
    bodies->config.bytes_max = config->bytes_max == 0 ? 64u << 20 : config->bytes_max;
    bodies->config.sweep_ns = config->sweep_ns == 0 ? 60000 * BND_MS : config->sweep_ns;
    bnd_list_init(&bodies->writing);
    bnd_list_init(&bodies->groups);
    bnd_list_init(&bodies->confirms);
    int rv = config->dir == NULL ? 0 : open_store(bodies, err);
    if (rv != 0) {
        free_all(bodies);
        return rv;
    }
    body_store_start(bodies);
    *out = bodies;
    return 0;
}

void bnd_bodies_start(struct bnd_bodies *bodies, struct bnd_shard_client *client) {
    bodies->client = client;
    if (bodies->sweep != NULL) {
        body_sweep_start(bodies->sweep);
    }
}

void bnd_bodies_close(struct bnd_bodies *bodies, void (*closed)(void *data), void *data) {
    bodies->closing = true;
    bodies->closed = closed;
    bodies->closed_data = data;
    body_store_close(bodies);
    body_confirms_close(bodies);
    if (bodies->repair != NULL) {
        body_sweep_close(bodies->sweep);
        body_repair_close(bodies->repair);
        body_checks_close(bodies->checks);
        body_strays_close(bodies->strays);
    }
    body_close_check(bodies);
}

void bnd_bodies_stats(const struct bnd_bodies *bodies, struct bnd_objects_stats *out) {
    out->bodies_written = bodies->stats.bodies_written;
    out->bodies_read_blocks = bodies->stats.bodies_read_blocks;
    out->bodies_corrupt = bodies->stats.bodies_corrupt;
    out->bodies_fetched = bodies->stats.bodies_fetched;
    out->bodies_fetched_bytes = bodies->stats.bodies_fetched_bytes;
    out->bodies_freed = bodies->stats.bodies_freed;
    out->bodies_missing = bodies->stats.bodies_missing;
    out->bodies_bytes = bodies->stats.bodies_bytes;
    out->store_bytes_now = bodies->bytes;
}

void bnd_bodies_group_add(struct bnd_bodies *bodies, struct objects_fsm *fsm) {
    bnd_list_push(&bodies->groups, &fsm->link);
}

void bnd_bodies_group_remove(struct bnd_bodies *bodies, struct objects_fsm *fsm) {
    (void)bodies; /* nothing of the group is kept but the link */
    bnd_link_remove(&fsm->link);
}

void bnd_bodies_committed(struct bnd_bodies *bodies, uint64_t gid, const uint8_t *version,
                          const struct objects_body_record *record) {
    if (bodies->repair == NULL || bodies->closing) {
        return;
    }
    for (unsigned i = 0; i < record->have_count; i++) {
        if (record->have[i] == bodies->config.self) {
            return;
        }
    }
    struct body_id id = {.gid = gid};
    memcpy(id.version, version, sizeof id.version);
    body_repair_want(bodies->repair, &id, record, BODY_WANT_SOON);
}
