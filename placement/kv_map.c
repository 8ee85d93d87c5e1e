#include "placement/kv_map.h"

#include "base/assert.h"

enum { SHARD_VERSION = 1, HLC_MS_SHIFT = 16 };
/* Each move takes one: nobody gets there, and damaged bytes that say so are not believed. */
#define EPOCH_MAX (UINT32_MAX - 1024u)

size_t bnd_kv_shard_find(const struct bnd_kv_shard *shard, uint64_t node) {
    size_t at = 0;
    while (at < shard->replicas_count && shard->replicas[at].node != node) {
        at++;
    }
    return at;
}

static bool is_replica(const struct bnd_kv_shard *shard, uint64_t node) {
    return bnd_kv_shard_find(shard, node) < shard->replicas_count;
}

/* Filled replicas other than `node`. */
static size_t filled_without(const struct bnd_kv_shard *shard, uint64_t node) {
    size_t count = 0;
    for (size_t i = 0; i < shard->replicas_count; i++) {
        count += shard->replicas[i].filled && shard->replicas[i].node != node;
    }
    return count;
}

/* Replicas that fill, other than `node`. */
static size_t filling_without(const struct bnd_kv_shard *shard, uint64_t node) {
    size_t count = 0;
    for (size_t i = 0; i < shard->replicas_count; i++) {
        count += !shard->replicas[i].filled && shard->replicas[i].node != node;
    }
    return count;
}

static bool is_open(const struct bnd_kv_shard *shard) {
    return shard->horizon != shard->collected;
}

static bool is_confirmed(const struct bnd_kv_shard *shard) {
    for (size_t i = 0; i < shard->replicas_count; i++) {
        if (shard->replicas[i].filled && shard->replicas[i].confirmed != shard->horizon) {
            return false;
        }
    }
    return true;
}

static void keeps_invariants(const struct bnd_kv_shard *shard) {
    BND_ASSERT(shard->epoch > 0);
    BND_ASSERT(filled_without(shard, 0) > 0);
    BND_ASSERT(shard->leaving == 0 || !is_replica(shard, shard->leaving));
    BND_ASSERT(shard->collected <= shard->horizon);
}

/* After whatever can have been the last thing that a horizon waited for. */
static void settle(struct bnd_kv_shard *shard) {
    if (shard->leaving == 0 && is_confirmed(shard)) {
        shard->collected = shard->horizon;
    }
    keeps_invariants(shard);
}

static void insert(struct bnd_kv_shard *shard, struct bnd_kv_replica replica) {
    BND_ASSERT(shard->replicas_count < BND_KV_REPLICAS_MAX);
    size_t at = shard->replicas_count++;
    for (; at > 0 && shard->replicas[at - 1].node > replica.node; at--) {
        shard->replicas[at] = shard->replicas[at - 1];
    }
    shard->replicas[at] = replica;
}

static void take_out(struct bnd_kv_shard *shard, size_t at) {
    shard->replicas_count--;
    for (; at < shard->replicas_count; at++) {
        shard->replicas[at] = shard->replicas[at + 1];
    }
    shard->replicas[shard->replicas_count] = (struct bnd_kv_replica){0};
}

/* ---- transitions
 * -------------------------------------------------------------------------------------- */

int bnd_kv_shard_init(struct bnd_kv_shard *shard, const uint64_t *nodes, size_t count) {
    struct bnd_kv_shard fresh = {.epoch = 1};
    if (shard->epoch != 0) {
        return BND_EPOCH;
    }
    if (count == 0 || count > BND_KV_REPLICAS_MAX) {
        return BND_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] == 0 || is_replica(&fresh, nodes[i])) {
            return BND_INVALID;
        }
        insert(&fresh, (struct bnd_kv_replica){.node = nodes[i], .filled = true});
    }
    *shard = fresh;
    keeps_invariants(shard);
    return 0;
}

/* A filled replica leaves only when all others are filled; one that is not holds up nobody. */
static bool move_waits(const struct bnd_kv_shard *shard, uint64_t leaves) {
    size_t at = bnd_kv_shard_find(shard, leaves);
    bool unfilled_leaves = at < shard->replicas_count && !shard->replicas[at].filled;
    return shard->leaving != 0 || (!unfilled_leaves && filling_without(shard, leaves) > 0);
}

int bnd_kv_shard_move(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t joins, uint64_t leaves) {
    if (shard->epoch == 0 || shard->epoch != epoch) {
        return BND_EPOCH;
    }
    size_t left = shard->replicas_count - (leaves != 0);
    if ((joins == 0 && leaves == 0) || (joins != 0 && is_replica(shard, joins)) ||
        (leaves != 0 && !is_replica(shard, leaves)) || left + (joins != 0) > BND_KV_REPLICAS_MAX ||
        filled_without(shard, leaves) == 0) {
        return BND_INVALID;
    }
    if (move_waits(shard, leaves)) {
        return BND_BUSY;
    }
    if (leaves != 0) {
        take_out(shard, bnd_kv_shard_find(shard, leaves));
    }
    if (joins != 0) {
        insert(shard, (struct bnd_kv_replica){.node = joins, .confirmed = shard->collected});
    }
    shard->leaving = leaves;
    shard->epoch++;
    settle(shard);
    return 0;
}

/* The replica of a command made under this epoch. */
static int acting(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node,
                  struct bnd_kv_replica **out) {
    if (shard->epoch == 0 || shard->epoch != epoch) {
        return BND_EPOCH;
    }
    size_t at = bnd_kv_shard_find(shard, node);
    if (at == shard->replicas_count) {
        return BND_NOTFOUND;
    }
    *out = &shard->replicas[at];
    return 0;
}

int bnd_kv_shard_filled(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node,
                        uint64_t collected) {
    struct bnd_kv_replica *replica = NULL;
    int rv = acting(shard, epoch, node, &replica);
    if (rv != 0 || replica->filled) {
        return rv;
    }
    if (collected != shard->collected) {
        return BND_EPOCH;
    }
    replica->filled = true;
    replica->confirmed = shard->collected; /* not what it had confirmed before it lost its data */
    settle(shard);
    return 0;
}

int bnd_kv_shard_unfilled(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node) {
    struct bnd_kv_replica *replica = NULL;
    int rv = acting(shard, epoch, node, &replica);
    if (rv != 0 || !replica->filled) {
        return rv;
    }
    if (filled_without(shard, node) == 0) {
        return BND_INVALID;
    }
    replica->filled = false;
    shard->epoch++;
    settle(shard);
    return 0;
}

int bnd_kv_shard_left(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node) {
    if (shard->epoch == 0 || shard->epoch != epoch) {
        return BND_EPOCH;
    }
    if (node == 0 || shard->leaving != node) {
        return BND_NOTFOUND;
    }
    shard->leaving = 0;
    settle(shard);
    return 0;
}

int bnd_kv_shard_propose(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t horizon) {
    if (shard->epoch == 0 || shard->epoch != epoch) {
        return BND_EPOCH;
    }
    if (horizon <= shard->horizon) {
        return horizon == shard->horizon && is_open(shard) ? 0 : BND_INVALID;
    }
    if (is_open(shard) || shard->leaving != 0) {
        return BND_BUSY;
    }
    shard->horizon = horizon;
    keeps_invariants(shard);
    return 0;
}

static bool has_compared(const struct bnd_kv_shard *shard,
                         const struct bnd_kv_confirmation *confirmation) {
    for (size_t i = 0; i < shard->replicas_count; i++) {
        const struct bnd_kv_replica *other = &shard->replicas[i];
        size_t at = 0;
        while (at < confirmation->equal_count && confirmation->equal[at] != other->node) {
            at++;
        }
        if (other->filled && other->node != confirmation->node && at == confirmation->equal_count) {
            return false;
        }
    }
    return true;
}

int bnd_kv_shard_confirm(struct bnd_kv_shard *shard, uint32_t epoch,
                         const struct bnd_kv_confirmation *confirmation) {
    struct bnd_kv_replica *replica = NULL;
    int rv = acting(shard, epoch, confirmation->node, &replica);
    if (rv != 0) {
        return rv;
    }
    if (confirmation->horizon != shard->horizon) {
        return BND_EPOCH;
    }
    if (replica->filled && replica->confirmed == shard->horizon) {
        return 0;
    }
    if (!replica->filled) {
        return BND_BUSY;
    }
    if (!has_compared(shard, confirmation)) {
        return BND_EPOCH;
    }
    replica->confirmed = shard->horizon;
    settle(shard);
    return 0;
}

void bnd_kv_shard_recover(struct bnd_kv_shard *shard, uint64_t survivor, uint32_t gap) {
    BND_ASSERT(survivor != 0);
    BND_ASSERT(gap > 0);
    *shard = (struct bnd_kv_shard){
        .epoch = shard->epoch + gap,
        .replicas = {{.node = survivor, .filled = true, .confirmed = shard->collected}},
        .replicas_count = 1,
        .horizon = shard->horizon,
        .collected = shard->collected,
    };
    keeps_invariants(shard);
}

/* ---- codec
 * -------------------------------------------------------------------------------------------- */

void bnd_kv_shard_encode(struct bnd_buf *out, const struct bnd_kv_shard *shard) {
    bnd_buf_u8(out, SHARD_VERSION);
    bnd_buf_u32(out, shard->epoch);
    bnd_buf_u64(out, shard->leaving);
    bnd_buf_u64(out, shard->horizon);
    bnd_buf_u64(out, shard->collected);
    bnd_buf_u8(out, (uint8_t)shard->replicas_count);
    for (size_t i = 0; i < shard->replicas_count; i++) {
        const struct bnd_kv_replica *replica = &shard->replicas[i];
        bnd_buf_u64(out, replica->node);
        bnd_buf_u8(out, replica->filled);
        bnd_buf_u64(out, replica->confirmed);
    }
}

static bool read_replica(struct bnd_reader *r, struct bnd_kv_shard *shard) {
    uint64_t before =
        shard->replicas_count == 0 ? 0 : shard->replicas[shard->replicas_count - 1].node;
    struct bnd_kv_replica replica = {.node = bnd_read_u64(r)};
    uint8_t filled = bnd_read_u8(r);
    replica.filled = filled == 1;
    replica.confirmed = bnd_read_u64(r);
    shard->replicas[shard->replicas_count++] = replica;
    return !r->failed && filled <= 1 && replica.node > before &&
           replica.confirmed <= shard->horizon &&
           (!replica.filled || replica.confirmed >= shard->collected);
}

int bnd_kv_shard_decode(struct bnd_slice bytes, struct bnd_kv_shard *out) {
    struct bnd_reader r = bnd_reader(bytes);
    bool good = bnd_read_u8(&r) == SHARD_VERSION;
    struct bnd_kv_shard shard = {.epoch = bnd_read_u32(&r)};
    shard.leaving = bnd_read_u64(&r);
    shard.horizon = bnd_read_u64(&r);
    shard.collected = bnd_read_u64(&r);
    uint8_t count = bnd_read_u8(&r);
    good = good && !r.failed && shard.epoch > 0 && shard.epoch <= EPOCH_MAX &&
           shard.collected <= shard.horizon && count <= BND_KV_REPLICAS_MAX;
    for (uint8_t i = 0; good && i < count; i++) {
        good = read_replica(&r, &shard);
    }
    if (!good || !bnd_reader_done(&r) || filled_without(&shard, 0) == 0 ||
        (shard.leaving != 0 && is_replica(&shard, shard.leaving))) {
        return BND_CORRUPT;
    }
    *out = shard;
    return 0;
}

/* ---- what to do next
 * ---------------------------------------------------------------------------------- */

static enum bnd_kv_node ask(const struct bnd_kv_plan *plan, uint64_t node) {
    return plan->node(plan->data, node);
}

static bool is_wanted(const struct bnd_kv_plan *plan, uint64_t node) {
    for (size_t i = 0; i < plan->wanted_count; i++) {
        if (plan->wanted[i] == node) {
            return true;
        }
    }
    return false;
}

/* The best wanted node that is up and no replica yet, or 0. */
static uint64_t next_joiner(const struct bnd_kv_shard *shard, const struct bnd_kv_plan *plan) {
    for (size_t i = 0; i < plan->wanted_count; i++) {
        if (!is_replica(shard, plan->wanted[i]) && ask(plan, plan->wanted[i]) == BND_KV_NODE_UP) {
            return plan->wanted[i];
        }
    }
    return 0;
}

/* The replica that is wanted least, or 0: one that is not filled first, then one that is gone, one
 * that is down, and the rest. */
static uint64_t next_leaver(const struct bnd_kv_shard *shard, const struct bnd_kv_plan *plan) {
    uint64_t found = 0;
    int found_rank = -1;
    for (size_t i = 0; i < shard->replicas_count; i++) {
        const struct bnd_kv_replica *replica = &shard->replicas[i];
        int rank = (replica->filled ? 0 : BND_KV_NODE_GONE + 1) + (int)ask(plan, replica->node);
        if (!is_wanted(plan, replica->node) && rank > found_rank) {
            found = replica->node;
            found_rank = rank;
        }
    }
    return found;
}

/* Does a replica fill that is awaited? */
static bool fills(const struct bnd_kv_shard *shard, const struct bnd_kv_plan *plan) {
    for (size_t i = 0; i < shard->replicas_count; i++) {
        if (!shard->replicas[i].filled && ask(plan, shard->replicas[i].node) < BND_KV_NODE_ABSENT) {
            return true;
        }
    }
    return false;
}

/* A leaver that is never heard of again hands over nothing. */
static struct bnd_kv_step step_leaving(const struct bnd_kv_shard *shard,
                                       const struct bnd_kv_plan *plan) {
    enum bnd_kv_node leaver = ask(plan, shard->leaving);
    bool over = leaver == BND_KV_NODE_GONE || (leaver == BND_KV_NODE_ABSENT && !fills(shard, plan));
    return (struct bnd_kv_step){.kind = over ? BND_KV_STEP_LEFT : BND_KV_STEP_NONE,
                                .leaves = over ? shard->leaving : 0};
}

static struct bnd_kv_step step_members(const struct bnd_kv_shard *shard,
                                       const struct bnd_kv_plan *plan) {
    uint64_t joins = next_joiner(shard, plan);
    uint64_t leaves = next_leaver(shard, plan);
    struct bnd_kv_shard after = *shard;
    if (leaves != 0 && shard->replicas_count <= plan->wanted_count && joins == 0 &&
        ask(plan, leaves) != BND_KV_NODE_GONE) {
        leaves = 0; /* who shall take its place is down: it keeps its own */
    }
    if (bnd_kv_shard_move(&after, shard->epoch, joins, leaves) == 0) {
        return (struct bnd_kv_step){.kind = BND_KV_STEP_MOVE, .joins = joins, .leaves = leaves};
    }
    if (joins != 0 && bnd_kv_shard_move(&after, shard->epoch, joins, 0) == 0) {
        return (struct bnd_kv_step){.kind = BND_KV_STEP_MOVE, .joins = joins};
    }
    return (struct bnd_kv_step){.kind = BND_KV_STEP_NONE};
}

/* A replica that holds the open horizon back for too long is left out, but never a second one: of a
 * write acknowledged on two of three, two others have a copy at least, one other might not. Without
 * an open horizon the next is proposed when it is time, and nobody who is awaited fills: it would
 * have to begin again. */
static struct bnd_kv_step step_horizon(const struct bnd_kv_shard *shard,
                                       const struct bnd_kv_plan *plan) {
    for (size_t i = 0; is_open(shard) && i < shard->replicas_count; i++) {
        const struct bnd_kv_replica *replica = &shard->replicas[i];
        if (replica->filled && filled_without(shard, 0) == shard->replicas_count &&
            shard->replicas_count > 1 && ask(plan, replica->node) >= BND_KV_NODE_ABSENT) {
            return (struct bnd_kv_step){.kind = BND_KV_STEP_UNFILLED, .leaves = replica->node};
        }
    }
    uint64_t last_ms = shard->horizon >> HLC_MS_SHIFT;
    uint64_t next_ms =
        plan->now_ms < plan->horizon_age_ms ? 0 : plan->now_ms - plan->horizon_age_ms;
    if (is_open(shard) || fills(shard, plan) || next_ms <= last_ms ||
        next_ms - last_ms < plan->horizon_every_ms) {
        return (struct bnd_kv_step){.kind = BND_KV_STEP_NONE};
    }
    return (struct bnd_kv_step){.kind = BND_KV_STEP_PROPOSE, .horizon = next_ms << HLC_MS_SHIFT};
}

static struct bnd_kv_step step_init(const struct bnd_kv_plan *plan) {
    struct bnd_kv_step step = {.kind =
                                   plan->wanted_count > 0 ? BND_KV_STEP_INIT : BND_KV_STEP_NONE};
    for (size_t i = 0; i < plan->wanted_count; i++) {
        step.nodes[step.nodes_count++] = plan->wanted[i];
    }
    return step;
}

const char *bnd_kv_step_text(enum bnd_kv_step_kind kind) {
    static const char *const texts[] = {
        [BND_KV_STEP_NONE] = "nothing",      [BND_KV_STEP_INIT] = "init",
        [BND_KV_STEP_MOVE] = "move",         [BND_KV_STEP_LEFT] = "left",
        [BND_KV_STEP_UNFILLED] = "left out", [BND_KV_STEP_PROPOSE] = "horizon",
    };
    return texts[kind];
}

struct bnd_kv_step bnd_kv_plan_step(const struct bnd_kv_shard *shard,
                                    const struct bnd_kv_plan *plan) {
    BND_ASSERT(plan->wanted_count <= BND_KV_REPLICAS_MAX);
    if (shard->epoch == 0) {
        return step_init(plan);
    }
    if (shard->leaving != 0) {
        return step_leaving(shard, plan);
    }
    struct bnd_kv_step step = step_members(shard, plan);
    return step.kind != BND_KV_STEP_NONE ? step : step_horizon(shard, plan);
}
