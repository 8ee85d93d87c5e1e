#include "gateway/front.h"

#define WAIT_NS (2500 * BND_MS)
#define WAIT_STEP_NS (20 * BND_MS)
#define WAITS_MAX 256u

int gateway_charge(struct gateway_front *front, size_t bytes) {
    if (bytes > front->bytes_max - front->bytes) {
        return BND_FULL;
    }
    front->bytes += bytes;
    return 0;
}

void gateway_discharge(struct gateway_front *front, size_t bytes) {
    front->bytes -= bytes;
}

static void on_wait(struct bnd_timer *timer) {
    struct gateway_view_wait *wait = timer->data;
    struct gateway_front *front = wait->front;
    bool answered = bnd_catalog_answered(front->catalog, wait->question);
    if (!answered && bnd_now_ns(front->env) - wait->since_ns < WAIT_NS) {
        bnd_timer_start(front->env, timer, WAIT_STEP_NS);
        return;
    }
    front->waits--;
    wait->cb(wait, answered ? 0 : BND_UNAVAILABLE);
}

int gateway_view_wait(struct gateway_front *front, struct gateway_view_wait *wait) {
    if (front->waits == WAITS_MAX) {
        return BND_FULL;
    }
    front->waits++;
    wait->front = front;
    wait->timer = (struct bnd_timer){.cb = on_wait, .data = wait};
    wait->since_ns = bnd_now_ns(front->env);
    wait->question = bnd_catalog_refresh(front->catalog);
    bnd_timer_start(front->env, &wait->timer, WAIT_STEP_NS);
    return 0;
}
