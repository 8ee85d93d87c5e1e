/* What is asked again, and for how long. */
#include "gateway/d1/again.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND (UINT64_C(1000) * BND_MS)

struct world {
    struct bnd_env env; /* first */
    uint64_t now_ns;
    struct bnd_timer *timer;
    unsigned asked;
    struct d1_again again;
};

static uint64_t now_ns(struct bnd_env *env) {
    return ((struct world *)env)->now_ns;
}

static void timer_start(struct bnd_env *env, struct bnd_timer *timer, uint64_t delay_ns) {
    assert_true(delay_ns > 0 && delay_ns <= SECOND);
    ((struct world *)env)->timer = timer;
}

static void timer_stop(struct bnd_env *env, struct bnd_timer *timer) {
    ((struct world *)env)->timer = NULL;
}

static const struct bnd_env_ops ops = {
    .now_ns = now_ns, .timer_start = timer_start, .timer_stop = timer_stop};

static int setup(void **state) {
    static struct world world;
    world = (struct world){.env.ops = &ops, .now_ns = SECOND};
    world.again = (struct d1_again){.env = &world.env, .data = &world};
    *state = &world;
    return 0;
}

static void ask(struct bnd_timer *timer) {
    ((struct world *)timer->data)->asked++;
}

/* True: it has been asked again. */
static bool answered(struct world *world, int status) {
    unsigned before = world->asked;
    world->timer = NULL;
    if (!d1_again_later(&world->again, status, ask)) {
        assert_null(world->timer);
        return false;
    }
    world->timer->cb(world->timer);
    assert_int_equal(world->asked, before + 1);
    return true;
}

static void only_what_was_not_executed_is_asked_again(void **state) {
    struct world *world = *state;
    assert_true(answered(world, BND_UNAVAILABLE));
    assert_true(answered(world, BND_FULL));
    assert_false(answered(world, 0));
    assert_false(answered(world, BND_UNKNOWN));
    assert_false(answered(world, BND_NOSPACE));
    assert_false(answered(world, BND_NOTFOUND));
}

/* By time: each try may itself have waited for a leader. */
static void it_is_given_up(void **state) {
    struct world *world = *state;
    assert_true(answered(world, BND_UNAVAILABLE));
    world->now_ns += 29 * SECOND;
    assert_true(answered(world, BND_UNAVAILABLE));
    world->now_ns += SECOND;
    assert_false(answered(world, BND_UNAVAILABLE));
}

static void an_answer_begins_anew(void **state) {
    struct world *world = *state;
    assert_true(answered(world, BND_UNAVAILABLE));
    world->now_ns += 29 * SECOND;
    assert_false(answered(world, 0));
    world->now_ns += 29 * SECOND;
    assert_true(answered(world, BND_UNAVAILABLE));
    world->now_ns += 29 * SECOND;
    assert_true(answered(world, BND_UNAVAILABLE));
    d1_again_stop(&world->again);
    assert_null(world->timer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_what_was_not_executed_is_asked_again, setup),
        cmocka_unit_test_setup(it_is_given_up, setup),
        cmocka_unit_test_setup(an_answer_begins_anew, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
