/* See clock.h. */
#include "raft/clock.h"

#include "base/assert.h"
#include "raft/host_private.h"

#define JUDGE_TICKS 10u /* at ticks of 100 ms once a second, as often as clocks are measured */

enum { COMMAND_HOST = 0, COMMAND_CONFIRM = 1 };

/* ---- the median -------------------------------------------------------------------------------*/

int64_t clock_median(int64_t *offsets, size_t count) {
    BND_ASSERT(count >= 1);
    for (size_t i = 1; i < count; i++) { /* at most BND_RAFT_MEMBERS_MAX: insertion */
        int64_t value = offsets[i];
        size_t at = i;
        for (; at > 0 && offsets[at - 1] > value; at--) {
            offsets[at] = offsets[at - 1];
        }
        offsets[at] = value;
    }
    int64_t low = offsets[(count - 1) / 2];
    int64_t high = offsets[count / 2];
    if (low > 0) {
        return low;
    }
    return high < 0 ? high : 0;
}

static int64_t distance(int64_t a, int64_t b) {
    return a > b ? a - b : b - a;
}

/* The median of the voters' clocks against ours; false: fewer than a majority of them are known, or
 * we are none. */
static bool judge(const struct group *group, int64_t *out_ms) {
    const struct bnd_raft_configuration *members = &group->status.configuration;
    struct bnd_raft_host *host = group->host;
    struct bnd_mesh *mesh = host->config.mesh;
    int64_t offsets[BND_RAFT_MEMBERS_MAX];
    size_t known = 0;
    size_t voters = 0;
    bool self = false;
    for (size_t i = 0; i < members->count; i++) {
        uint64_t node = members->members[i].node;
        if (members->members[i].role != BND_RAFT_VOTER) {
            continue;
        }
        voters++;
        if (node == host->config.node_id) {
            self = true;
            offsets[known++] = 0;
        } else if (mesh->ops->clock_offset_ms(mesh, node, &offsets[known])) {
            known++;
        }
    }
    if (!self || known <= voters / 2) {
        return false;
    }
    *out_ms = clock_median(offsets, known);
    return true;
}

bool clock_fit(const struct group *group, uint64_t node) {
    struct bnd_mesh *mesh = group->host->config.mesh;
    int64_t median = 0;
    int64_t offset = 0;
    if (!judge(group, &median)) {
        return true;
    }
    bool known =
        node == group->host->config.node_id || mesh->ops->clock_offset_ms(mesh, node, &offset);
    return !known || distance(offset, median) <= CLOCK_OFF_MS;
}

/* ---- leadership -------------------------------------------------------------------------------*/

static void hand_over_if_off(struct group *group, int64_t median) {
    struct bnd_raft_host *host = group->host;
    uint64_t now = bnd_now_ns(host->config.env);
    if (group->status.role != BND_CORE_LEADER || distance(median, 0) <= CLOCK_OFF_MS ||
        group->yield_until_ns != 0 || now < group->clock_after_ns) {
        return;
    }
    uint64_t next = host_successor(group);
    if (next != 0 && clock_fit(group, next)) {
        group->clock_after_ns =
            now + (uint64_t)host->config.election_ms * CLOCK_RETRY_ELECTIONS * BND_MS;
        host->stats.clock_handovers++;
        host_yield(group, 0);
    }
}

/* Tells of a change for better or worse. worst: over all groups, against their medians. */
static void note(struct bnd_raft_host *host, bool known, int64_t worst) {
    struct bnd_raft_host_stats *stats = &host->stats;
    stats->clock_known = known;
    stats->clock_ahead_ms = known ? -worst : 0;
    if (!known) {
        return; /* an alarm lasts until the clock is known to be right */
    }
    bool off = distance(worst, 0) > (stats->clock_off ? CLOCK_ON_MS : CLOCK_OFF_MS);
    if (off != stats->clock_off) {
        stats->clock_off = off;
        if (host->config.clock_changed != NULL) {
            host->config.clock_changed(host->config.owner, -worst, off);
        }
    }
}

/* ---- the time of a group ----------------------------------------------------------------------*/

static bool idle_too_long(const struct group *group) {
    uint64_t wall = bnd_wall_ms(group->host->config.env);
    uint64_t most = CLOCK_IDLE_MS + group->gid % CLOCK_IDLE_SPREAD_MS;
    return group->stamp_ms != 0 && wall > group->stamp_ms && wall - group->stamp_ms > most;
}

void clock_tick(struct bnd_raft_host *host) {
    bool known = false;
    int64_t worst = 0;
    if (host->clock_ticks++ % JUDGE_TICKS != 0) {
        return;
    }
    for (size_t i = 0; i < host->groups_count && !host->dead; i++) {
        struct group *group = host->groups[i];
        int64_t median = 0;
        if (group->phase != GROUP_RUNNING || group->destroying) {
            continue;
        }
        group_refresh(group);
        if (idle_too_long(group)) {
            propose_stamp(group);
        }
        if (judge(group, &median)) {
            known = true;
            worst = distance(median, 0) > distance(worst, 0) ? median : worst;
            hand_over_if_off(group, median);
        }
    }
    note(host, known, worst);
}

void clock_move(struct tuple *tuple, uint64_t stamp_ms) {
    if (stamp_ms <= tuple->stamp_ms) {
        return;
    }
    if (tuple->stamp_ms != 0 && stamp_ms - tuple->stamp_ms > CLOCK_JUMP_MS) {
        if (tuple->jump_to_ms == 0) {
            tuple->jump_from_ms = tuple->stamp_ms;
        }
        tuple->jump_to_ms = stamp_ms;
    }
    tuple->stamp_ms = stamp_ms;
}

/* ---- the host's own command -------------------------------------------------------------------*/

void bnd_raft_confirm_time(uint64_t up_to_ms, uint8_t out[BND_RAFT_CONFIRM_BYTES]) {
    out[0] = COMMAND_HOST;
    out[1] = COMMAND_CONFIRM;
    bnd_put_u64(out + 2, up_to_ms);
}

bool clock_is_command(struct bnd_slice command) {
    return command.len > 0 && command.data[0] == COMMAND_HOST;
}

int clock_apply(struct tuple *tuple, struct bnd_slice command, struct bnd_buf *reply) {
    if (command.len != BND_RAFT_CONFIRM_BYTES || command.data[1] != COMMAND_CONFIRM) {
        return BND_INVALID;
    }
    bool confirmed = tuple->jump_to_ms != 0 && tuple->jump_to_ms <= bnd_get_u64(command.data + 2);
    if (confirmed) {
        tuple->jump_from_ms = 0;
        tuple->jump_to_ms = 0;
    }
    bnd_buf_u8(reply, confirmed);
    return 0;
}

bool bnd_raft_time_suspended(const struct bnd_raft_host *host, uint64_t gid) {
    const struct group *group = group_running(host, gid);
    return group != NULL && group->written.jump_to_ms != 0;
}
