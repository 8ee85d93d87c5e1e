/* Between the files of the body store. */
#ifndef BND_OBJECTS_BODIES_PRIVATE_H
#define BND_OBJECTS_BODIES_PRIVATE_H

#include "objects/bodies/bodies.h"
#include "objects/bodies/wire.h"

enum { BODIES_FETCHES_MAX = 4, BODIES_WANTED_MAX = 1024 };

struct body_repair;
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
    size_t bytes;            /* waiting to be written or read for others */
    struct bnd_link writing; /* store: struct body_upload */
    size_t writing_count;
    struct bnd_timer idle;
    struct bnd_link groups;     /* struct objects_fsm */
    struct body_repair *repair; /* NULL in a gateway */
    struct body_sweep *sweep;
    struct bnd_objects_stats stats; /* of bodies */
};

/* Puts a work on the pool, counted; done must call body_work_done first. BND_FULL. */
int body_work(struct bnd_bodies *bodies, struct bnd_work *work, const uint8_t *version);
void body_work_done(struct bnd_bodies *bodies);
/* Called when something that close waits for is over. */
void body_close_check(struct bnd_bodies *bodies);

/* The server (store.c). */
void body_store_start(struct bnd_bodies *bodies);
void body_store_close(struct bnd_bodies *bodies);

/* Fetching missing and damaged bodies (repair.c). */
int body_repair_create(struct bnd_bodies *bodies, struct body_repair **out);
/* Wants a body here; forced: although the file looks complete. Dropped when too many are wanted
 * already: the sweep comes again. */
void body_repair_want(struct body_repair *repair, const struct body_id *id,
                      const struct objects_body_record *record, bool forced);
void body_repair_close(struct body_repair *repair);
bool body_repair_idle(const struct body_repair *repair);
void body_repair_destroy(struct body_repair *repair);

/* Comparing files and state (sweep.c). */
int body_sweep_create(struct bnd_bodies *bodies, struct body_sweep **out);
void body_sweep_start(struct body_sweep *sweep);
void body_sweep_close(struct body_sweep *sweep);
void body_sweep_destroy(struct body_sweep *sweep);

#endif
