/* Between tests/sim/env.c (loop, life) and env_files.c (the file half of the table). */
#ifndef BND_TESTS_SIM_ENV_PRIVATE_H
#define BND_TESTS_SIM_ENV_PRIVATE_H

#include "base/alloc.h"
#include "tests/sim/env.h"
#include "tests/sim/memory.h"

struct bnd_file {
    struct bnd_sim_inode *inode;
    unsigned flags;
    unsigned requests; /* under way */
    struct bnd_link link;
};

struct bnd_sim_env {
    struct bnd_env env;
    struct bnd_alloc_observer observer;
    struct bnd_sim_blocks blocks;
    struct bnd_sim_world *world;
    struct bnd_sim_disk *disk;
    const struct bnd_sim_clock *clock;
    uint64_t node;
    uint64_t monotonic_offset_ns;
    struct bnd_sim_rng rng;      /* what the node draws */
    struct bnd_sim_rng loop_rng; /* how long its passes and works take */
    struct bnd_sim_heap heap;    /* its timers and events */
    struct bnd_timer wake;       /* in the world's heap */
    uint64_t free_at_ns;         /* the loop is busy or paused until then */
    struct bnd_link tasks;
    struct bnd_link hooks;
    struct bnd_link events;
    struct bnd_link files;
    struct bnd_link ends;
    struct bnd_hook *hook_next; /* during the hooks: which is next */
    size_t works;
    unsigned entered;
    const struct bnd_alloc_observer *observer_before;
    bool in_pass;
    bool halted;
    bool powerless; /* the incarnation is ending by a power cut */
    int log_from;
};

static inline struct bnd_sim_env *sim_of(struct bnd_env *env) {
    return BND_CONTAINER(env, struct bnd_sim_env, env);
}

/* Fills the file half of the table. */
void env_files_ops(struct bnd_env_ops *ops);
/* Closes what is open, at the end of an incarnation. */
void env_files_close_all(struct bnd_sim_env *env);

#endif
