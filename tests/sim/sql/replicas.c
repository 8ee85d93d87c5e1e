#include "tests/sim/sql/replicas.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "placement/shard.h"
#include "raft/member_plan.h"
#include "sql/command.h"
#include "sql/history.h"
#include "tests/sim/memory.h"

#include <inttypes.h>

/* How late a machine learns of a wish: mostly soon. */
#define LEARN_NS_MAX (300 * BND_MS)
#define LEARN_NS_LATE (4000 * BND_MS)

/* ---- state machines that are watched ----------------------------------------------------------*/

struct watched {
    struct simsql_machine *machine;
    struct simsql_group *group;
    struct bnd_fsm inner;
};

static bool before(const struct simsql_applied *a, const struct simsql_applied *b) {
    return a->index != b->index ? a->index < b->index : a->position < b->position;
}

/* The first to apply a command says what it did; every other must find the same. */
static void check_applied(struct watched *watched, const struct simsql_applied *now) {
    struct simsql_group *group = watched->group;
    size_t low = 0;
    size_t high = group->applied_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (before(&group->applied[middle], now)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < group->applied_count) {
        if (group->applied[low].index != now->index ||
            group->applied[low].position != now->position ||
            group->applied[low].hash != now->hash) {
            bnd_sim_divergence(&watched->machine->cluster->check,
                               "REPLICA: entry %" PRIu64 ".%" PRIu32 " of group %" PRIu64
                               " does something else on node %" PRIu64,
                               now->index, now->position, group->gid, watched->machine->id);
        }
        return;
    }
    if (group->applied_count == group->applied_cap) {
        group->applied_cap = group->applied_cap == 0 ? 256 : 2 * group->applied_cap;
        group->applied =
            bnd_sim_realloc(group->applied, group->applied_cap * sizeof *group->applied);
    }
    group->applied[group->applied_count++] = *now;
}

static int watched_open(void *fsm, uint64_t gid, uint32_t slot, struct bnd_state *state,
                        struct bnd_error *err) {
    struct watched *watched = fsm;
    return watched->inner.ops->open(watched->inner.self, gid, slot, state, err);
}

static int watched_apply(void *fsm, const struct bnd_fsm_apply *context, struct bnd_slice command,
                         struct bnd_buf *reply) {
    struct watched *watched = fsm;
    int status = watched->inner.ops->apply(watched->inner.self, context, command, reply);
    uint8_t number[4];
    bnd_put_u32(number, (uint32_t)status);
    const struct bnd_slice parts[] = {command, bnd_slice(number, 4), bnd_buf_slice(reply)};
    const struct simsql_applied now = {.index = context->index,
                                       .position = context->position,
                                       .hash = bnd_hash64_parts(parts, 3, context->term)};
    bnd_sim_trace(watched->machine->cluster->world, "appl",
                  watched->machine->id << 32 | bnd_gid_shard(context->gid), context->index,
                  command);
    watched->machine->cluster->counts.parts +=
        status == 0 && command.len > 0 && command.data[0] == SQL_STAGE;
    check_applied(watched, &now);
    return status;
}

static void watched_written(void *fsm, uint64_t index) {
    struct watched *watched = fsm;
    if (watched->inner.ops->written != NULL) {
        watched->inner.ops->written(watched->inner.self, index);
    }
}

static int watched_read(void *fsm, const struct bnd_fsm_read *context, struct bnd_slice query,
                        struct bnd_buf *reply) {
    struct watched *watched = fsm;
    return watched->inner.ops->read(watched->inner.self, context, query, reply);
}

static bool watched_grows(void *fsm, struct bnd_slice command) {
    struct watched *watched = fsm;
    return watched->inner.ops->grows != NULL &&
           watched->inner.ops->grows(watched->inner.self, command);
}

static void watched_close(void *fsm) {
    struct watched *watched = fsm;
    watched->inner.ops->close(watched->inner.self);
    bnd_free(watched);
}

int simsql_watch_fsm(struct simsql_machine *machine, uint64_t gid, const struct bnd_fsm *inner,
                     struct bnd_fsm *out) {
    static const struct bnd_fsm_ops ops = {
        .open = watched_open,
        .apply = watched_apply,
        .written = watched_written,
        .read = watched_read,
        .grows = watched_grows,
        .close = watched_close,
    };
    struct watched *watched = bnd_zalloc(sizeof *watched);
    BND_ASSERT(watched != NULL);
    watched->machine = machine;
    watched->group = &machine->cluster->groups[bnd_gid_shard(gid)];
    watched->inner = *inner;
    *out = (struct bnd_fsm){.ops = &ops, .self = watched};
    return 0;
}

/* ---- who should have them ---------------------------------------------------------------------*/

static void learn(struct bnd_sim_event *event) {
    struct simsql_machine *machine = event->data;
    struct simsql_cluster *cluster = machine->cluster;
    machine->learning = false;
    if (machine->base.life != BND_SIM_UP || machine->base.fatal) {
        return;
    }
    for (size_t g = 0; g < SIMSQL_SHARDS; g++) {
        const struct simsql_group *group = &cluster->groups[g];
        uint64_t nodes[SIMSQL_MACHINES_MAX];
        if (machine->known[g].version == group->want.version) {
            continue;
        }
        machine->known[g] = group->want;
        for (size_t i = 0; i < group->want.count; i++) {
            nodes[i] = group->want.members[i].node;
        }
        bnd_shard_client_members(machine->client, group->gid, nodes, group->want.count);
        if (!machine->gateway) {
            bnd_raft_group_want(machine->host, group->gid, group->want.members, group->want.count);
        }
    }
}

static void not_learned(struct bnd_sim_event *event) {
    ((struct simsql_machine *)event->data)->learning = false;
}

void simsql_learn(struct simsql_machine *machine) {
    struct bnd_sim_rng *rng = &machine->cluster->rng;
    if (machine->base.life != BND_SIM_UP || machine->learning) {
        return;
    }
    machine->learning = true;
    machine->learn = (struct bnd_sim_event){.run = learn, .drop = not_learned, .data = machine};
    bnd_sim_env_at(
        machine->base.env, &machine->learn,
        bnd_sim_rng_below(rng, bnd_sim_rng_chance(rng, 900) ? LEARN_NS_MAX : LEARN_NS_LATE));
}

static bool has(const struct simsql_want *want, uint64_t node) {
    for (size_t i = 0; i < want->count; i++) {
        if (want->members[i].node == node) {
            return true;
        }
    }
    return false;
}

static uint32_t nodes_of(const struct simsql_want *want) {
    uint32_t nodes = 0;
    for (size_t i = 0; i < want->count; i++) {
        nodes |= 1u << want->members[i].node;
    }
    return nodes;
}

bool simsql_knows(const struct simsql_machine *machine, uint64_t gid) {
    return bnd_gid_kind(gid) == BND_GROUP_SQL && bnd_gid_shard(gid) < SIMSQL_SHARDS &&
           has(&machine->known[bnd_gid_shard(gid)], machine->id);
}

void simsql_want(struct simsql_cluster *cluster, size_t g, uint32_t nodes) {
    struct simsql_want *want = &cluster->groups[g].want;
    uint8_t bytes[4];
    want->version++;
    want->count = 0;
    for (uint64_t node = 1; node <= cluster->nodes_count; node++) {
        if ((nodes & 1u << node) != 0) {
            want->members[want->count++] =
                (struct bnd_raft_member){.node = node, .role = BND_RAFT_VOTER};
        }
    }
    BND_ASSERT(want->count > 0);
    bnd_put_u32(bytes, nodes);
    bnd_sim_trace(cluster->world, "wish", g + 1, want->version, bnd_slice(bytes, 4));
    for (size_t n = 0; n < SIMSQL_MACHINES_MAX; n++) {
        simsql_learn(&cluster->machines[n]);
    }
}

/* One more, one less, or one for another; of 1 to 3 nodes. */
void simsql_wish(struct simsql_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    size_t g = bnd_sim_rng_below(rng, SIMSQL_SHARDS);
    const struct simsql_want *want = &cluster->groups[g].want;
    uint32_t nodes = nodes_of(want);
    uint64_t place = bnd_sim_rng_below(rng, cluster->nodes_count);
    if (cluster->machines[place].lost) {
        return;
    }
    uint32_t drawn = 2u << place;
    if ((nodes & drawn) != 0) {
        nodes &= want->count > 1 && bnd_sim_rng_chance(rng, 300) ? ~drawn : UINT32_MAX;
    } else {
        nodes |= drawn;
        if (want->count >= 3) {
            nodes &= ~(1u << want->members[bnd_sim_rng_below(rng, want->count)].node);
        }
    }
    cluster->counts.wishes++;
    simsql_want(cluster, g, nodes);
}

/* ---- at rest ----------------------------------------------------------------------------------*/

static bool leader_of(const struct simsql_cluster *cluster, size_t g,
                      struct bnd_raft_group_status *out) {
    const struct simsql_group *group = &cluster->groups[g];
    uint64_t nodes[SIMSQL_MACHINES_MAX];
    for (size_t i = 0; i < group->want.count; i++) {
        nodes[i] = group->want.members[i].node;
    }
    uint64_t term = 0;
    bool rests = false;
    for (size_t n = 0; n < cluster->nodes_count; n++) {
        const struct simsql_machine *machine = &cluster->machines[n];
        struct bnd_raft_group_status status;
        if (machine->lost) {
            continue;
        }
        if (machine->base.life != BND_SIM_UP || machine->base.fatal) {
            return false;
        }
        if (bnd_raft_group_status(machine->host, group->gid, &status) != 0 || status.term < term ||
            (status.term == term && !status.ready)) {
            continue;
        }
        struct bnd_raft_configuration members = {.count = status.members_count};
        memcpy(members.members, status.members, status.members_count * sizeof *status.members);
        rests = status.ready && status.commit == status.last_index &&
                member_as_wanted(&members, nodes, group->want.count);
        term = status.term;
        *out = status;
    }
    return rests;
}

static bool group_settled(const struct simsql_cluster *cluster, size_t g) {
    struct bnd_raft_group_status leader = {0};
    if (!leader_of(cluster, g, &leader)) {
        return false;
    }
    for (size_t n = 0; n < cluster->nodes_count; n++) {
        const struct simsql_machine *machine = &cluster->machines[n];
        struct bnd_raft_group_status status;
        if (machine->lost) {
            continue;
        }
        bool there = bnd_raft_group_status(machine->host, cluster->groups[g].gid, &status) == 0;
        if (there != has(&cluster->groups[g].want, machine->id) ||
            (there &&
             (status.last_index != leader.last_index || status.applied != status.last_index))) {
            return false;
        }
    }
    return true;
}

bool simsql_settled(const struct simsql_cluster *cluster) {
    for (size_t g = 0; g < SIMSQL_SHARDS; g++) {
        if (!group_settled(cluster, g)) {
            return false;
        }
    }
    return true;
}

/* ---- lost for good ----------------------------------------------------------------------------*/

/* Every replica is as the others are, and whoever it leaves are a majority. */
static bool can_lose(const struct simsql_cluster *cluster, const struct simsql_machine *machine) {
    for (size_t g = 0; g < SIMSQL_SHARDS; g++) {
        const struct simsql_want *want = &cluster->groups[g].want;
        if (has(want, machine->id) && want->count < 3) {
            return false;
        }
    }
    return !machine->lost && simsql_settled(cluster);
}

/* Another takes its place in a group: one that is new, or any; or nobody. */
static void replace(struct simsql_cluster *cluster, size_t g, uint64_t lost) {
    uint32_t nodes = nodes_of(&cluster->groups[g].want);
    if ((nodes & 1u << lost) == 0) {
        return;
    }
    nodes &= ~(1u << lost);
    for (uint64_t node = cluster->nodes_count; node > 0; node--) {
        if (!cluster->machines[node - 1].lost && (nodes & 1u << node) == 0) {
            nodes |= 1u << node;
            break;
        }
    }
    simsql_want(cluster, g, nodes);
}

bool simsql_lose(struct simsql_cluster *cluster) {
    struct simsql_machine *machine =
        &cluster->machines[bnd_sim_rng_below(&cluster->rng, cluster->nodes_count)];
    if (cluster->nodes_count < 3 || !can_lose(cluster, machine)) {
        return false;
    }
    cluster->counts.losses++;
    bnd_sim_trace(cluster->world, "lost", machine->id, cluster->nodes_count, (struct bnd_slice){0});
    simsql_crash(machine, BND_SIM_POWER);
    machine->lost = true;
    bnd_sim_disk_wipe(machine->base.disk);
    bnd_sim_store_wipe(machine->base.store);
    if (cluster->nodes_count + 1 < SIMSQL_MACHINES_MAX) {
        simsql_start(&cluster->machines[cluster->nodes_count++]);
    }
    for (size_t g = 0; g < SIMSQL_SHARDS; g++) {
        replace(cluster, g, machine->id);
    }
    return true;
}

/* ---- equal ------------------------------------------------------------------------------------*/

static uint64_t state_hash(const struct simsql_machine *machine, uint64_t gid) {
    struct bnd_raft_group_status status;
    BND_ASSERT(bnd_raft_group_status(machine->host, gid, &status) == 0);
    uint8_t from[4];
    uint8_t to[4];
    bnd_put_be32(from, status.slot);
    bnd_put_be32(to, status.slot + 1);
    return bnd_sim_store_hash(machine->base.store, false, bnd_slice(from, 4), bnd_slice(to, 4), 4);
}

void simsql_compare(struct simsql_cluster *cluster) {
    for (size_t g = 0; g < SIMSQL_SHARDS; g++) {
        const struct simsql_group *group = &cluster->groups[g];
        const struct simsql_machine *first = &cluster->machines[group->want.members[0].node - 1];
        uint64_t hash = state_hash(first, group->gid);
        for (size_t i = 1; i < group->want.count; i++) {
            const struct simsql_machine *other =
                &cluster->machines[group->want.members[i].node - 1];
            if (state_hash(other, group->gid) != hash) {
                bnd_sim_divergence(&cluster->check,
                                   "REPLICA: the settled states of group %" PRIu64
                                   " on nodes %" PRIu64 " and %" PRIu64 " differ",
                                   group->gid, first->id, other->id);
            }
        }
    }
}

/* ---- pages ------------------------------------------------------------------------------------*/

/* A hash of all pages of a version; *at is of it. */
static uint64_t pages_hash(const struct simsql_machine *machine, const struct sql_at *at,
                           uint32_t count) {
    uint8_t page[SQL_PAGE_BYTES];
    uint64_t hash = count;
    for (uint32_t number = 1; number <= count; number++) {
        int rv = sql_history_page(at, number, page, NULL);
        if (rv != 0 && rv != BND_NOTFOUND) { /* a page of the free list is never written */
            bnd_sim_divergence(&machine->cluster->check,
                               "PAGES: node %" PRIu64 ": page %" PRIu32 " of version %" PRIu64
                               ": %s",
                               machine->id, number, at->version, bnd_code_text(rv));
        }
        hash = bnd_hash64(rv == 0 ? bnd_slice(page, sizeof page) : bnd_slice(NULL, 0), hash + 1);
    }
    return hash;
}

/* The version as the machine has it; false: it has none. */
static bool version_of(const struct simsql_machine *machine, uint64_t gid,
                       const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version,
                       struct sql_at *out_at, uint32_t *out_count) {
    struct bnd_raft_group_status status;
    struct sql_database_record record;
    struct sql_commit_record commit;
    BND_ASSERT(bnd_raft_group_status(machine->host, gid, &status) == 0);
    if (sql_history_database(machine->base.state, status.slot, uuid, &record) != 0) {
        return false;
    }
    *out_at = (struct sql_at){.state = machine->base.state,
                              .slot = status.slot,
                              .number = record.number,
                              .epoch = record.epoch,
                              .version = record.version};
    if (sql_history_commit(out_at, version == 0 ? record.version : version, &commit) != 0) {
        return false;
    }
    out_at->version = commit.version;
    out_at->epoch = commit.epoch;
    *out_count = commit.page_count;
    return true;
}

static void compare_version(struct simsql_cluster *cluster, const struct simsql_group *group,
                            const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version) {
    uint64_t first = 0;
    for (size_t i = 0; i < group->want.count; i++) {
        const struct simsql_machine *machine = &cluster->machines[group->want.members[i].node - 1];
        struct sql_at at;
        uint32_t count = 0;
        bnd_sim_env_enter(machine->base.env);
        uint64_t hash = version_of(machine, group->gid, uuid, version, &at, &count)
                            ? pages_hash(machine, &at, count)
                            : 0;
        bnd_sim_env_leave(machine->base.env);
        first = i == 0 ? hash : first;
        if (hash != first) {
            bnd_sim_divergence(&cluster->check,
                               "PAGES: version %" PRIu64 " has other pages on node %" PRIu64
                               " than on node %" PRIu64,
                               version, machine->id, group->want.members[0].node);
        }
    }
}

void simsql_compare_pages(struct simsql_cluster *cluster, const uint8_t uuid[BND_SQL_UUID_BYTES],
                          uint64_t step) {
    uint32_t shard =
        bnd_shard_of(BND_GROUP_SQL, 0, bnd_slice(uuid, BND_SQL_UUID_BYTES), SIMSQL_SHARDS);
    const struct simsql_group *group = &cluster->groups[shard];
    const struct simsql_machine *first = &cluster->machines[group->want.members[0].node - 1];
    struct sql_at newest;
    uint32_t count = 0;
    bnd_sim_env_enter(first->base.env);
    bool there = version_of(first, group->gid, uuid, 0, &newest, &count);
    bnd_sim_env_leave(first->base.env);
    for (uint64_t version = 1; there && version < newest.version; version += step) {
        compare_version(cluster, group, uuid, version);
    }
    compare_version(cluster, group, uuid, 0);
}
