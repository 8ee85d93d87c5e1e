/* Between the files of the body store. */
#ifndef BND_OBJECTS_BODIES_PRIVATE_H
#define BND_OBJECTS_BODIES_PRIVATE_H

#include "objects/bodies/bodies.h"
#include "objects/bodies/wire.h"

enum { BODIES_FETCHES_MAX = 4, BODIES_WANTED_MAX = 1024 };

struct body_checks;
struct body_repair;
struct body_strays;
struct body_sweep;

struct bnd_bodies {
    struct bnd_bodies_config config;
    char *dir; /* NULL: stores nothing */
    struct bnd_shard_client *client;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    uint64_t number;         /* of the last temporary file */
    unsigned works;          /* on the pool */
    size_t put_bytes;        /* of puts, not yet on their replicas */
    size_t bytes;            /* waiting to be written or read for others */
    struct bnd_link writing; /* store: struct body_upload */
    size_t writing_count;
    struct bnd_timer idle;
    struct bnd_link groups;     /* struct objects_fsm */
    struct body_repair *repair; /* NULL in a gateway, as all below */
    struct body_sweep *sweep;
    struct body_checks *checks;
    struct body_strays *strays;
    struct bnd_link confirms; /* confirm.c: what others said of their bodies */
    size_t confirms_count;
    struct bnd_objects_stats stats; /* of bodies */
};

/* Puts a work on the pool, counted; done must call body_work_done first. BND_FULL. */
int body_work(struct bnd_bodies *bodies, struct bnd_work *work, const uint8_t *version);
void body_work_done(struct bnd_bodies *bodies);
/* Called when something that close waits for is over. */
void body_close_check(struct bnd_bodies *bodies);

/* True while this node takes no more bytes: bodies go to the other replicas, or fail. */
static inline bool body_disk_full(const struct bnd_bodies *bodies) {
    return bodies->config.disk_full != NULL && bodies->config.disk_full(bodies->config.owner);
}

/* The server (store.c). */
void body_store_start(struct bnd_bodies *bodies);
void body_store_close(struct bnd_bodies *bodies);

/* Fetching missing and damaged bodies (repair.c). */
int body_repair_create(struct bnd_bodies *bodies, struct body_repair **out);
enum body_want {
    BODY_WANT_SOON, /* it may be just arriving */
    BODY_WANT_NOW,
    BODY_WANT_FORCED, /* although the file looks complete */
};
/* Wants a body here. Dropped when too many are wanted already: the sweep comes again. */
void body_repair_want(struct body_repair *repair, const struct body_id *id,
                      const struct objects_body_record *record, enum body_want want);
void body_repair_close(struct body_repair *repair);
bool body_repair_idle(const struct body_repair *repair);
void body_repair_destroy(struct body_repair *repair);

/* Whether this node holds what it should (check.c). */
int body_checks_create(struct bnd_bodies *bodies, struct body_checks **out);
/* Answer CHECK and HAVE; a code: not answered. */
int body_check_serve(struct body_checks *checks, struct bnd_rpc_request *request, uint64_t gid);
int body_have_serve(struct body_checks *checks, struct bnd_rpc_request *request,
                    const struct body_request *what);
void body_checks_close(struct body_checks *checks);
void body_checks_destroy(struct body_checks *checks); /* NULL allowed */
/* The group's state here, or NULL. */
struct objects_fsm *body_group_of(const struct bnd_bodies *bodies, uint64_t gid);

/* Whether others do (confirm.c). */
void body_confirms_close(struct bnd_bodies *bodies);

/* Files of groups that are not here (stray.c). */
int body_strays_create(struct bnd_bodies *bodies, struct body_strays **out);
void body_stray_found(struct body_strays *strays, const struct body_id *id);
void body_strays_close(struct body_strays *strays);
void body_strays_destroy(struct body_strays *strays); /* NULL allowed */

/* Comparing files and state (sweep.c). */
int body_sweep_create(struct bnd_bodies *bodies, struct body_sweep **out);
void body_sweep_start(struct body_sweep *sweep);
void body_sweep_close(struct body_sweep *sweep);
void body_sweep_destroy(struct body_sweep *sweep);

#endif
