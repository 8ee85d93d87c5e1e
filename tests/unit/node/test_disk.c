/* The reserve of a disk: its size, and when it is met. */
#include "node/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define TOTAL (UINT64_C(10000) * MIB)

static void the_reserve_is_four_segments_and_five_percent(void **state) {
    (void)state;
    assert_int_equal(node_disk_reserve(TOTAL), (4 * 64 + 500) * MIB);
}

static void spaces_begin_at_their_bounds_and_end_an_eighth_above(void **state) {
    (void)state;
    static const struct {
        enum bnd_raft_space before;
        uint64_t free_mib;
        enum bnd_raft_space after;
    } cases[] = {
        {BND_RAFT_SPACE_OK, 756, BND_RAFT_SPACE_OK},
        {BND_RAFT_SPACE_OK, 755, BND_RAFT_SPACE_LOW},
        {BND_RAFT_SPACE_LOW, 850, BND_RAFT_SPACE_LOW},
        {BND_RAFT_SPACE_LOW, 851, BND_RAFT_SPACE_OK},
        {BND_RAFT_SPACE_LOW, 378, BND_RAFT_SPACE_LOW},
        {BND_RAFT_SPACE_LOW, 377, BND_RAFT_SPACE_NONE},
        {BND_RAFT_SPACE_NONE, 425, BND_RAFT_SPACE_NONE},
        {BND_RAFT_SPACE_NONE, 426, BND_RAFT_SPACE_LOW},
        {BND_RAFT_SPACE_NONE, 851, BND_RAFT_SPACE_OK},
        {BND_RAFT_SPACE_OK, 0, BND_RAFT_SPACE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(node_disk_judge(cases[i].before, cases[i].free_mib * MIB, TOTAL),
                         cases[i].after);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reserve_is_four_segments_and_five_percent),
        cmocka_unit_test(spaces_begin_at_their_bounds_and_end_an_eighth_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
