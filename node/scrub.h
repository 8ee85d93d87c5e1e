/* The slow reading of everything that the state has on disk, so that damage is met while the other
 * replicas are whole: each table file is verified block by block once in `pass_s`, one after the
 * other, spread over the time, and never faster than 32 MiB a second. How far a pass has come
 * outlives a restart (file `scrub`, SPEC.md, "Data directory"). What is found is handled as any
 * damage (ADR 0086). */
#ifndef BND_NODE_SCRUB_H
#define BND_NODE_SCRUB_H

#include "engine/rocks/rocks.h"

struct scrub_work;

struct node_scrub {
    struct bnd_env *env; /* all borrowed */
    const char *data;
    struct bnd_state *state; /* of bnd_rocks_open */
    uint64_t pass_s;         /* 0: nothing is done */
    void *owner;
    void (*damaged)(void *owner, const char *what); /* on the loop */
    uint64_t bytes;                                 /* out: verified since start */
    /* private */
    struct bnd_timer timer;
    struct scrub_work *work; /* under way */
    uint64_t began_ms;       /* the pass, wall clock */
    uint64_t last;           /* files up to this number are done in it */
};

void node_scrub_start(struct node_scrub *scrub);
/* Before the state closes. What is being read is read to its end, and nobody hears of it. Also if
 * it was never started. */
void node_scrub_stop(struct node_scrub *scrub);

#endif
