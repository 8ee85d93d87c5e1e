/* A query that is asked again while nothing was executed and that may change: a leader is being
 * elected, a queue is full. Half a minute after the first refusal in a row it is given up. Internal
 * to gateway/. */
#ifndef BND_GATEWAY_D1_AGAIN_H
#define BND_GATEWAY_D1_AGAIN_H

#include "base/env.h"

struct d1_again {
    struct bnd_env *env; /* borrowed; set by the owner, like data */
    void *data;
    /* private */
    struct bnd_timer timer;
    uint64_t since_ns; /* of the first refusal in a row; 0: there was none */
};

/* How it was answered: 0 or a code. True: cb comes in a moment (its timer has data), to ask again.
 * False: that is the end of it. */
bool d1_again_later(struct d1_again *again, int status, void (*cb)(struct bnd_timer *timer));
void d1_again_stop(struct d1_again *again);

#endif
