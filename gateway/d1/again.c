#include "gateway/d1/again.h"

#include "base/error.h"

#define WAIT_NS (UINT64_C(250) * BND_MS)
#define GIVEN_UP_NS (UINT64_C(30000) * BND_MS)

bool d1_again_later(struct d1_again *again, int status, void (*cb)(struct bnd_timer *timer)) {
    bool may = bnd_code_class(status) == BND_CLASS_RETRY || status == BND_FULL;
    uint64_t now = bnd_now_ns(again->env);
    if (may && again->since_ns == 0) {
        again->since_ns = now;
    }
    if (!may || now - again->since_ns >= GIVEN_UP_NS) {
        again->since_ns = 0;
        return false;
    }
    again->timer = (struct bnd_timer){.cb = cb, .data = again->data};
    bnd_timer_start(again->env, &again->timer, WAIT_NS);
    return true;
}

void d1_again_stop(struct d1_again *again) {
    bnd_timer_stop(again->env, &again->timer);
}
