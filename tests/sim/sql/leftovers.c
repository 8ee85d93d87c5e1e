#include "tests/sim/sql/leftovers.h"

#include "base/assert.h"
#include "base/error.h"
#include "placement/shard.h"
#include "sql/keys.h"
#include "sql/records.h"

#include <inttypes.h>

#define NUMBERS_MAX 2048u /* that a group gives out */
#define SWEEP_NS (6 * SIMSQL_SECOND)
#define SWEEPS_MAX 10u
/* Deleted databases are kept for ten minutes; a jump of so many would suspend a group's time. */
#define PASS_MS UINT64_C(305000)

/* A replica of a settled group. */
struct replica {
    const struct simsql_machine *machine;
    uint32_t slot;
};

static struct replica replica_of(const struct simsql_cluster *cluster, size_t g) {
    const struct simsql_group *group = &cluster->groups[g];
    struct replica replica = {.machine = &cluster->machines[group->want.members[0].node - 1]};
    struct bnd_raft_group_status status;
    BND_ASSERT(bnd_raft_group_status(replica.machine->host, group->gid, &status) == 0);
    replica.slot = status.slot;
    return replica;
}

/* Every key of a tag; each may stop it with false. */
static void each(const struct replica *replica, enum sql_tag tag,
                 bool (*see)(void *data, struct bnd_slice rest, struct bnd_slice value),
                 void *data) {
    struct bnd_state *state = replica->machine->base.state;
    struct sql_key from;
    sql_key_tag(&from, replica->slot, tag);
    struct sql_key to = from;
    sql_key_past(&to);
    bnd_sim_env_enter(replica->machine->base.env);
    struct bnd_state_iter *iter =
        state->ops->iter(state, BND_CF_SQL, sql_key_slice(&from), sql_key_slice(&to));
    BND_ASSERT(iter != NULL);
    for (bool more = true; more && state->ops->iter_valid(iter); state->ops->iter_next(iter)) {
        struct bnd_slice key = state->ops->iter_key(iter);
        more = see(data, bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES),
                   state->ops->iter_value(iter));
    }
    state->ops->iter_destroy(iter);
    bnd_sim_env_leave(replica->machine->base.env);
}

/* ---- time passes ------------------------------------------------------------------------------*/

static bool see_one(void *data, struct bnd_slice rest, struct bnd_slice value) {
    (void)rest;
    (void)value;
    *(bool *)data = true;
    return false;
}

static bool is_busy(const struct simsql_cluster *cluster) {
    static const enum sql_tag tags[] = {SQL_TAG_DEAD, SQL_TAG_LEASE, SQL_TAG_PASS,
                                        SQL_TAG_UNPINNED};
    bool busy = false;
    for (size_t g = 0; !busy && g < SIMSQL_SHARDS; g++) {
        struct replica replica = replica_of(cluster, g);
        for (size_t i = 0; !busy && i < sizeof tags / sizeof *tags; i++) {
            each(&replica, tags[i], see_one, &busy);
        }
    }
    return busy;
}

void simsql_sweep(struct simsql_cluster *cluster) {
    for (unsigned i = 0; i < 2; i++) {
        bnd_sim_world_pass(cluster->world, PASS_MS);
        bnd_sim_run_for(cluster->world, 2 * SIMSQL_SECOND);
    }
    for (unsigned i = 0; i < SWEEPS_MAX && is_busy(cluster); i++) {
        bnd_sim_run_for(cluster->world, SWEEP_NS);
    }
}

/* ---- what is left -----------------------------------------------------------------------------*/

struct left {
    struct simsql_cluster *cluster;
    uint64_t gid;
    const struct simsql_uuid *uuids;
    size_t uuids_count;
    size_t live;             /* of them that the group has */
    bool right[NUMBERS_MAX]; /* a database's that somebody has, or what such a one stands upon */
    bool waits[NUMBERS_MAX]; /* for its forks */
    bool changed;
    enum sql_tag tag;
};

static void tell(const struct left *left, const char *what, uint32_t number) {
    bnd_sim_violation(&left->cluster->check, "LEFT: group %" PRIu64 ": %s %" PRIu32, left->gid,
                      what, number);
}

static bool see_database(void *data, struct bnd_slice rest, struct bnd_slice value) {
    struct left *left = data;
    struct sql_database_row row;
    bool known = false;
    if (sql_database_decode(rest, value, &row) != 0) {
        tell(left, "a damaged record of a database", 0);
        return true;
    }
    for (size_t i = 0; i < left->uuids_count; i++) {
        known =
            known || memcmp(rest.data + 1, left->uuids[i].bytes, sizeof left->uuids[i].bytes) == 0;
    }
    if (row.record.state == SQL_DATABASE_DELETED) {
        if (known) {
            tell(left, "a database is deleted that somebody has: number", row.record.number);
        }
        return true;
    }
    if (!known || row.record.state == SQL_DATABASE_HELD || row.staged > 0) {
        tell(left,
             !known           ? "a database that nobody has: number"
             : row.staged > 0 ? "staged parts of number"
                              : "held for an import that is gone: number",
             row.record.number);
    }
    BND_ASSERT(row.record.number < NUMBERS_MAX);
    left->live += known;
    left->right[row.record.number] = true;
    return true;
}

static uint32_t number_of(struct bnd_slice rest, size_t at) {
    uint32_t number = bnd_get_be32(rest.data + at);
    BND_ASSERT(number < NUMBERS_MAX);
    return number;
}

static bool see_pinned(void *data, struct bnd_slice rest, struct bnd_slice value) {
    (void)value;
    ((struct left *)data)->waits[number_of(rest, 1)] = true;
    return true;
}

static bool see_fork(void *data, struct bnd_slice rest, struct bnd_slice value) {
    struct left *left = data;
    uint32_t parent = number_of(rest, 1);
    (void)value;
    if (left->right[number_of(rest, 5)] && left->waits[parent] && !left->right[parent]) {
        left->right[parent] = true;
        left->changed = true;
    }
    return true;
}

static bool see_number(void *data, struct bnd_slice rest, struct bnd_slice value) {
    static const char *const names[UINT8_MAX] = {
        [SQL_TAG_EPOCH] = "an epoch of number",  [SQL_TAG_COMMIT] = "a commit of number",
        [SQL_TAG_PAGE] = "a page of number",     [SQL_TAG_STAGED] = "a staged part of number",
        [SQL_TAG_FORK] = "a fork of number",     [SQL_TAG_PINNED] = "who waits for forks: number",
        [SQL_TAG_LEASE] = "the lease of number",
    };
    const struct left *left = data;
    uint32_t number = number_of(rest, 1);
    (void)value;
    if (!left->right[number] || left->tag == SQL_TAG_STAGED || left->tag == SQL_TAG_LEASE ||
        (left->tag == SQL_TAG_FORK && !left->right[number_of(rest, 5)])) {
        tell(left, names[left->tag], number);
        return false;
    }
    return true;
}

static bool see_dead(void *data, struct bnd_slice rest, struct bnd_slice value) {
    (void)value;
    tell(data, "it was not swept: number", number_of(rest, 9));
    return false;
}

/* Over what a database was before an import none goes, as long as it is there. */
static bool see_wish(void *data, struct bnd_slice rest, struct bnd_slice value) {
    const struct left *left = data;
    uint32_t number = number_of(rest, 1);
    (void)value;
    if (!left->waits[number]) {
        tell(left, "no pass came over number", number);
    }
    return true;
}

static size_t check_group(struct simsql_cluster *cluster, size_t g, const struct simsql_uuid *uuids,
                          size_t count) {
    static const enum sql_tag tags[] = {SQL_TAG_EPOCH, SQL_TAG_COMMIT, SQL_TAG_PAGE, SQL_TAG_STAGED,
                                        SQL_TAG_FORK,  SQL_TAG_PINNED, SQL_TAG_LEASE};
    struct replica replica = replica_of(cluster, g);
    struct left left = {
        .cluster = cluster, .gid = cluster->groups[g].gid, .uuids = uuids, .uuids_count = count};
    each(&replica, SQL_TAG_DATABASE, see_database, &left);
    each(&replica, SQL_TAG_PINNED, see_pinned, &left);
    do {
        left.changed = false;
        each(&replica, SQL_TAG_FORK, see_fork, &left);
    } while (left.changed);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        left.tag = tags[i];
        each(&replica, tags[i], see_number, &left);
    }
    each(&replica, SQL_TAG_DEAD, see_dead, &left);
    each(&replica, SQL_TAG_UNPINNED, see_wish, &left);
    return left.live;
}

void simsql_check_left(struct simsql_cluster *cluster, const struct simsql_uuid *uuids,
                       size_t count) {
    size_t live = 0;
    for (size_t g = 0; g < SIMSQL_SHARDS; g++) {
        live += check_group(cluster, g, uuids, count);
    }
    if (live != count) {
        bnd_sim_violation(&cluster->check, "LEFT: %zu of %zu databases are there", live, count);
    }
}
