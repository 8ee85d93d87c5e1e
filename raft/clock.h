/* Clocks that lie, and time that jumps (internal to raft/; architecture 5, "Time"; ADR 0072).
 *
 * 1. A leader whose clock is more than CLOCK_OFF_MS from the median of the voters' clocks hands
 * over to a voter whose clock is not. It needs a majority's clocks to judge; it leads on when
 * nobody better can take over, and tries at most every CLOCK_RETRY_ELECTIONS. So a cluster whose
 * clocks all differ still has a leader: somebody is the median, and where views of it differ,
 * leadership moves at a bounded rate.
 * 2. A stamp that jumps by more than CLOCK_JUMP_MS is remembered in the group's applied tuple until
 *    it is confirmed; meanwhile nothing is deleted because its time is over.
 * 3. A group's leader moves an idle group's stamp every few minutes, so that quiet hours are no
 * jump. */
#ifndef BND_RAFT_CLOCK_H
#define BND_RAFT_CLOCK_H

#include "raft/group.h"

#define CLOCK_OFF_MS 500
#define CLOCK_ON_MS 400 /* back below it: the alarm ends */
#define CLOCK_RETRY_ELECTIONS 10u
#define CLOCK_JUMP_MS UINT64_C(600000)
#define CLOCK_IDLE_MS UINT64_C(240000)
#define CLOCK_IDLE_SPREAD_MS UINT64_C(60000) /* groups differ by up to this */

_Static_assert(2 * (CLOCK_IDLE_MS + CLOCK_IDLE_SPREAD_MS) <= CLOCK_JUMP_MS,
               "an idle group may miss one move of its stamp");

/* Where the clocks' middle is, seen from a clock at 0; count >= 1; sorts offsets. Of an even number
 * the value between the two in the middle that is nearest to 0: two clocks that differ cannot tell
 * which of them is wrong. */
int64_t clock_median(int64_t *offsets, size_t count);

/* Judges this node's clock, hands over what it should not lead, and moves idle groups' stamps. Each
 * tick; works about once a second. */
void clock_tick(struct bnd_raft_host *host);

/* False if the node's clock is known to be more than CLOCK_OFF_MS from the voters' median. */
bool clock_fit(const struct group *group, uint64_t node);

/* Moves the group's time on to an entry's stamp. */
void clock_move(struct tuple *tuple, uint64_t stamp_ms);

/* True if the command is the host's own and not the state machine's: its first byte is 0. */
bool clock_is_command(struct bnd_slice command);
/* Applies one: u8 0, u8 1 (confirm), u64 up_to_ms. Replies one byte, 1: a jump was confirmed.
 * Returns 0, or BND_INVALID for other bytes. */
int clock_apply(struct tuple *tuple, struct bnd_slice command, struct bnd_buf *reply);

#endif
