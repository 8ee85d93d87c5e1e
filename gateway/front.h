/* What the surfaces of KV and D1 share: their limits, a bound on memory, and waiting for a view
 * that may know more. One per gateway. Internal to gateway/. */
#ifndef BND_GATEWAY_FRONT_H
#define BND_GATEWAY_FRONT_H

#include "base/env.h"
#include "catalog/catalog.h"
#include "gateway/d1/rules.h"
#include "gateway/kv/rules.h"

struct gateway_front {
    struct bnd_env *env;         /* borrowed */
    struct bnd_catalog *catalog; /* borrowed */
    struct kv_limits kv_limits;
    struct d1_limits d1_limits;
    size_t bytes_max; /* of values and answers that requests hold; above: 503 */
    size_t bytes;
    size_t waits; /* requests that wait for a newer view */
};

/* Counts bytes that a request is about to hold. BND_FULL: there is no room for them now. */
int gateway_charge(struct gateway_front *front, size_t bytes);
void gateway_discharge(struct gateway_front *front, size_t bytes);

/* Waits until group 0 has been asked after this call: what is unknown may be new. */
struct gateway_view_wait {
    /* 0: the view is newer than the call; BND_UNAVAILABLE: group 0 did not answer in time. */
    void (*cb)(struct gateway_view_wait *wait, int status);
    void *data;
    struct gateway_front *front; /* private from here on */
    struct bnd_timer timer;
    uint64_t question;
    uint64_t since_ns;
};
/* Later, once. BND_FULL: too many are waiting. */
int gateway_view_wait(struct gateway_front *front, struct gateway_view_wait *wait);

#endif
