/* A whole tree with one peer: roots, sums of buckets, versions of the buckets that differ, records
 * both ways. When it has come to its end, each side has what the other had when it was listed, or
 * newer: a bucket whose sums were once equal since the exchange began is such a bucket too.
 *
 *  TREE -- equal --------------------------------> MERGED -- sole filled peer --> FILLED -> end
 *   | differ (asked twice: what is on its way arrives meanwhile)
 *  LIST -> MERGE -> TRANSFER -> MERGE ... -> LIST ... -> end of the shard -> MERGED
 *
 * The scope (epoch, both horizons) must be the same on both sides, and here from begin to end. */
#include "kv/spread_private.h"

#define TREE_ASKS 2u
#define TREE_AGAIN_NS (200 * BND_MS)
#define FILLED_ASKS 50u

struct spread_exchange {
    struct bnd_link link;
    struct kv_spread *spread;
    uint64_t peer;
    struct spread_scope scope;
    bool peer_filled;
    unsigned asks; /* of TREE, then of FILLED */
    struct kv_buckets buckets;
    struct spread_call call;
    struct bnd_timer timer;
    void (*resume)(struct spread_exchange *exchange);
    /* MERGE: the peer's list, and the own records beside it */
    struct spread_job job;
    struct bnd_buf list;
    struct kv_list_answer listed;
    struct bnd_reader items;
    struct kv_listed item; /* the first of items that was not dealt with */
    bool has_item, reached, unordered;
    struct kv_walk walk, listed_to;
    struct spread_transfer transfer;
    uint32_t names;
};

static void ask_list(struct spread_exchange *exchange);

/* ---- its end
 * ---------------------------------------------------------------------------------------- */

static void exchange_free(struct spread_exchange *exchange) {
    struct kv_spread *spread = exchange->spread;
    bnd_link_remove(&exchange->link);
    spread->exchanges_count--;
    spread_job_remove(&exchange->job);
    bnd_timer_stop(spread->kv->config.env, &exchange->timer);
    spread_call_end(spread, &exchange->call);
    spread_transfer_end(spread, &exchange->transfer);
    bnd_buf_free(&exchange->list);
    bnd_free(exchange);
}

static struct spread_peer *peer_of(const struct spread_exchange *exchange) {
    return spread_peer(&exchange->spread->shards[exchange->scope.shard], exchange->peer);
}

static void fail(struct spread_exchange *exchange, int status) {
    struct kv_spread *spread = exchange->spread;
    struct spread_peer *peer = peer_of(exchange);
    if (peer != NULL) {
        peer->exchanging = false;
        peer->failures += status != BND_BUSY && peer->failures < 20 ? 1 : 0;
        unsigned times = peer->failures > 0 ? peer->failures : 1; /* busy is no failure */
        peer->again_ns = spread_now_ns(spread) + times * SPREAD_AGAIN_NS;
    }
    if (status == BND_EPOCH) {
        spread->kv->config.view_wanted(spread->kv->config.owner);
    } else if (status == BND_CORRUPT) {
        bnd_log(spread->kv->config.env, BND_LOG_WARN, "kv",
                "shard %u: the exchange with node %llu failed: %s", exchange->scope.shard,
                (unsigned long long)exchange->peer, bnd_code_text(status));
    }
    exchange_free(exchange);
}

/* What was lost in the first seconds after a start shows in no digest: the trees are compared once
 * more when these are over. */
static uint64_t next_due_ns(const struct kv_spread *spread, const struct spread_peer *peer) {
    uint64_t now = spread_now_ns(spread);
    uint64_t jitter = bnd_random(spread->kv->config.env) % (SPREAD_EXCHANGE_EVERY_NS / 4);
    return now + (now - peer->up_ns < SPREAD_SETTLING_NS
                      ? SPREAD_SETTLING_NS
                      : SPREAD_EXCHANGE_EVERY_NS / 4 * 3 + jitter);
}

static void end(struct spread_exchange *exchange, bool answered) {
    struct kv_spread *spread = exchange->spread;
    struct spread_shard *shard = &spread->shards[exchange->scope.shard];
    struct spread_peer *peer = peer_of(exchange);
    if (peer != NULL) {
        peer->exchanging = false;
        peer->failures = 0;
        peer->wanted = false;
        peer->due_ns = next_due_ns(spread, peer);
        peer->merged = exchange->scope;
        peer->merged_filled = exchange->peer_filled;
        peer->answered_epoch = answered ? exchange->scope.epoch : peer->answered_epoch;
    }
    spread->kv->stats.exchanges++;
    exchange_free(exchange);
    spread_step(shard);
    spread_exchanges_run(spread);
}

/* ---- calls
 * ------------------------------------------------------------------------------------------ */

static bool in_scope(const struct spread_exchange *exchange) {
    struct spread_scope now;
    return spread_scope(&exchange->spread->shards[exchange->scope.shard], &now) &&
           spread_scope_eq(&now, &exchange->scope);
}

static const struct kv_tree *tree_of(const struct spread_exchange *exchange) {
    return exchange->spread->shards[exchange->scope.shard].tree;
}

static struct kv_spread_ask ask_of(const struct spread_exchange *exchange, enum kv_spread_op op) {
    return (struct kv_spread_ask){.op = op,
                                  .shard = exchange->scope.shard,
                                  .epoch = exchange->scope.epoch,
                                  .refused = exchange->scope.refused,
                                  .collected = exchange->scope.collected};
}

static void call(struct spread_exchange *exchange, const struct kv_spread_ask *ask,
                 void (*cb)(struct spread_call *, int, struct bnd_slice)) {
    exchange->call.peer = exchange->peer;
    exchange->call.cb = cb;
    exchange->call.data = exchange;
    spread_call(exchange->spread, &exchange->call, ask);
}

static void on_timer(struct bnd_timer *timer) {
    struct spread_exchange *exchange = timer->data;
    if (!in_scope(exchange)) {
        fail(exchange, BND_BUSY);
        return;
    }
    exchange->resume(exchange);
}

static void later(struct spread_exchange *exchange, uint64_t after_ns,
                  void (*resume)(struct spread_exchange *)) {
    exchange->resume = resume;
    bnd_timer_start(exchange->spread->kv->config.env, &exchange->timer, after_ns);
}

/* ---- FILLED
 * ----------------------------------------------------------------------------------------- */

static void ask_filled(struct spread_exchange *exchange);

static void on_filled(struct spread_call *of, int status, struct bnd_slice reply) {
    struct spread_exchange *exchange = of->data;
    (void)reply;
    if (status == BND_PRECONDITION && ++exchange->asks < FILLED_ASKS) {
        later(exchange, SPREAD_WAIT_NS, ask_filled); /* something was on its way */
        return;
    }
    if (status != 0) {
        fail(exchange, status);
        return;
    }
    end(exchange, true);
}

static void ask_filled(struct spread_exchange *exchange) {
    struct kv_spread_ask ask = ask_of(exchange, KV_SPREAD_FILLED);
    ask.root = tree_of(exchange)->root;
    call(exchange, &ask, on_filled);
}

/* The peer is the only filled replica, and this one is none: until the peer counts it, the peer's
 * own copy is enough for a put, so its answer must be of a moment in which the trees were equal. */
static void merged(struct spread_exchange *exchange) {
    const struct spread_shard *shard = &exchange->spread->shards[exchange->scope.shard];
    uint64_t self = exchange->spread->kv->config.self;
    if (!in_scope(exchange)) {
        fail(exchange, BND_BUSY);
    } else if (spread_fills(shard, self) && spread_sole_filled(shard) == exchange->peer) {
        exchange->asks = 0;
        ask_filled(exchange);
    } else {
        end(exchange, false);
    }
}

/* ---- MERGE
 * ------------------------------------------------------------------------------------------ */

static void item_next(struct spread_exchange *exchange) {
    struct kv_listed last = exchange->item;
    bool had = exchange->has_item;
    exchange->has_item = kv_listed_next(&exchange->items, &exchange->item);
    if (had && exchange->has_item &&
        kv_place_cmp(last.namespace_id, last.key, exchange->item.namespace_id,
                     exchange->item.key) >= 0) {
        exchange->unordered = true;
    }
}

static void want(struct spread_exchange *exchange) {
    kv_name_put(&exchange->transfer.want, exchange->item.namespace_id, exchange->item.key);
    exchange->names++;
}

static void give(struct spread_exchange *exchange, const struct kv_scanned *found) {
    kv_name_put(&exchange->transfer.give, found->namespace_id, found->key);
    exchange->names++;
}

static bool full(const struct spread_exchange *exchange) {
    return exchange->names >= SPREAD_LIST_ITEMS;
}

/* Beyond what the list is about? */
static bool past_list(const struct spread_exchange *exchange, const struct kv_scanned *found) {
    return !exchange->listed.complete &&
           kv_place_cmp(found->namespace_id, found->key, exchange->listed.namespace_id,
                        exchange->listed.key) > 0;
}

static bool each_own(void *data, const struct kv_scanned *found) {
    struct spread_exchange *exchange = data;
    exchange->reached = past_list(exchange, found);
    int order = -1;
    while (!exchange->reached && !full(exchange) && exchange->has_item) {
        order = kv_place_cmp(found->namespace_id, found->key, exchange->item.namespace_id,
                             exchange->item.key);
        if (order <= 0) {
            break;
        }
        want(exchange);
        item_next(exchange);
        order = -1;
    }
    if (exchange->reached || full(exchange)) {
        return false;
    }
    struct kv_seen seen = kv_record_seen(&found->record);
    if (order == 0) {
        int newer = kv_version_cmp(seen.version, exchange->item.version);
        if (newer < 0) {
            want(exchange);
        } else if (newer > 0) {
            give(exchange, found);
        }
        item_next(exchange);
    } else if (!kv_seen_dead(seen, exchange->scope.collected) &&
               !spread_gone(exchange->spread, found->namespace_id) &&
               kv_buckets_has(&exchange->buckets,
                              kv_tree_bucket(found->namespace_id, found->key))) {
        give(exchange, found);
    }
    return true;
}

static void merge_again(struct spread_exchange *exchange) {
    spread_job_add(exchange->spread, &exchange->job);
}

static void list_done(struct spread_exchange *exchange) {
    if (exchange->listed.complete) {
        merged(exchange);
        return;
    }
    kv_walk_seek(&exchange->listed_to, exchange->listed.namespace_id, exchange->listed.key);
    ask_list(exchange);
}

static void on_transferred(struct spread_transfer *transfer, int status) {
    struct spread_exchange *exchange = transfer->data;
    if (status != 0) {
        fail(exchange, status);
        return;
    }
    spread_transfer_end(exchange->spread, transfer);
    exchange->names = 0;
    if (!in_scope(exchange)) {
        fail(exchange, BND_BUSY);
    } else if (exchange->reached && !exchange->has_item) {
        list_done(exchange);
    } else {
        merge_again(exchange);
    }
}

static void transfer_begin(struct spread_exchange *exchange) {
    struct spread_transfer *transfer = &exchange->transfer;
    if (transfer->want.failed || transfer->give.failed) {
        fail(exchange, BND_NOMEM);
        return;
    }
    transfer->scope = exchange->scope;
    transfer->peer = exchange->peer;
    transfer->fresh = false;
    transfer->cb = on_transferred;
    transfer->data = exchange;
    spread_transfer_begin(exchange->spread, transfer);
}

static int merge_run(struct spread_job *job, size_t most) {
    struct spread_exchange *exchange = BND_CONTAINER(job, struct spread_exchange, job);
    if (!in_scope(exchange)) {
        fail(exchange, BND_BUSY);
        return 0;
    }
    int rv = exchange->reached ? 0
                               : kv_walk_slice(&exchange->walk, exchange->spread->kv->store,
                                               exchange->scope.shard, most, each_own, exchange);
    if (rv != 0) {
        return rv;
    }
    exchange->reached = exchange->reached || exchange->walk.done;
    while (exchange->reached && exchange->has_item && !full(exchange)) {
        want(exchange); /* there are none of ours beside them */
        item_next(exchange);
    }
    if (exchange->unordered || exchange->items.failed) {
        fail(exchange, BND_CORRUPT);
        return 0;
    }
    bool over = exchange->reached && !exchange->has_item;
    if (!over && !full(exchange)) {
        return 1;
    }
    if (exchange->names > 0) {
        transfer_begin(exchange);
    } else {
        list_done(exchange);
    }
    return 0;
}

/* ---- LIST
 * ------------------------------------------------------------------------------------------- */

/* The answer must be about places above the one that was asked, or it would never end. */
static bool moves_on(const struct spread_exchange *exchange, const struct kv_list_answer *answer) {
    return answer->complete ||
           kv_place_cmp(answer->namespace_id, answer->key, exchange->listed_to.namespace_id,
                        kv_walk_key(&exchange->listed_to)) > 0;
}

static void on_listed(struct spread_call *of, int status, struct bnd_slice reply) {
    struct spread_exchange *exchange = of->data;
    bnd_buf_reset(&exchange->list);
    bnd_buf_append_slice(&exchange->list, reply);
    status = status == 0 && exchange->list.failed ? BND_NOMEM : status;
    status = status == 0 ? kv_list_answer_decode(bnd_buf_slice(&exchange->list), &exchange->listed)
                         : status;
    if (status == 0 && !moves_on(exchange, &exchange->listed)) {
        status = BND_CORRUPT;
    }
    if (status != 0) {
        fail(exchange, status);
        return;
    }
    exchange->items = bnd_reader(exchange->listed.items);
    exchange->has_item = false;
    exchange->reached = false;
    item_next(exchange);
    merge_again(exchange);
}

static void ask_list(struct spread_exchange *exchange) {
    struct kv_spread_ask ask = ask_of(exchange, KV_SPREAD_LIST);
    ask.buckets = exchange->buckets;
    ask.namespace_id = exchange->listed_to.namespace_id;
    ask.key = kv_walk_key(&exchange->listed_to);
    call(exchange, &ask, on_listed);
}

/* ---- TREE
 * ------------------------------------------------------------------------------------------- */

static void ask_tree(struct spread_exchange *exchange);

/* Returns how many buckets have differed each time. */
static uint32_t differing(struct spread_exchange *exchange, struct bnd_slice buckets) {
    const struct kv_tree *tree = tree_of(exchange);
    struct kv_buckets before = exchange->buckets;
    uint32_t count = 0;
    memset(&exchange->buckets, 0, sizeof exchange->buckets);
    for (uint32_t i = 0; i < KV_TREE_BUCKETS; i++) {
        if ((exchange->asks == 1 || kv_buckets_has(&before, i)) &&
            !bnd_hash128_eq(tree->buckets[i], kv_tree_answer_sum(buckets, i))) {
            kv_buckets_add(&exchange->buckets, i);
            count++;
        }
    }
    return count;
}

static void on_tree(struct spread_call *of, int status, struct bnd_slice reply) {
    struct spread_exchange *exchange = of->data;
    struct kv_tree_answer answer;
    status = status == 0 ? kv_tree_answer_decode(reply, &answer) : status;
    status = status == 0 && !in_scope(exchange) ? BND_BUSY : status;
    if (status != 0) {
        fail(exchange, status);
        return;
    }
    exchange->peer_filled = answer.filled;
    exchange->asks++;
    if (answer.equal || differing(exchange, answer.buckets) == 0) {
        merged(exchange);
    } else if (exchange->asks < TREE_ASKS) {
        later(exchange, TREE_AGAIN_NS, ask_tree);
    } else {
        ask_list(exchange);
    }
}

static void ask_tree(struct spread_exchange *exchange) {
    struct kv_spread_ask ask = ask_of(exchange, KV_SPREAD_TREE);
    ask.root = tree_of(exchange)->root;
    call(exchange, &ask, on_tree);
}

/* ---- which
 * ------------------------------------------------------------------------------------------ */

static void begin(struct spread_shard *shard, struct spread_peer *peer,
                  const struct spread_scope *scope) {
    struct kv_spread *spread = shard->spread;
    struct spread_exchange *exchange = bnd_zalloc(sizeof *exchange);
    if (exchange == NULL) {
        return; /* the next tick tries again */
    }
    exchange->spread = spread;
    exchange->peer = peer->node;
    exchange->scope = *scope;
    exchange->job.run = merge_run;
    exchange->timer = (struct bnd_timer){.cb = on_timer, .data = exchange};
    bnd_list_push(&spread->exchanges, &exchange->link);
    spread->exchanges_count++;
    peer->exchanging = true;
    ask_tree(exchange);
}

/* Of two, the one with the lower id begins those that come with time; each those it needs. */
static bool is_due(const struct spread_shard *shard, const struct spread_peer *peer) {
    const struct kv_spread *spread = shard->spread;
    struct bnd_mesh *mesh = spread->kv->config.mesh;
    uint64_t now = spread_now_ns(spread);
    bool timed = kv_rule(spread->kv, KV_RULE_EXCHANGE) && peer->due_ns <= now &&
                 spread->kv->config.self < peer->node;
    return (peer->wanted || timed) && !peer->exchanging && peer->again_ns <= now &&
           mesh->ops->up(mesh, peer->node);
}

/* A peer that takes its time leaves room for the others. */
static bool is_crowded(const struct kv_spread *spread, uint64_t node) {
    size_t count = 0;
    const struct bnd_link *head = &spread->exchanges;
    for (const struct bnd_link *at = head->next; at != head; at = at->next) {
        count += BND_CONTAINER(at, struct spread_exchange, link)->peer == node ? 1 : 0;
    }
    return count >= KV_SPREAD_EXCHANGES / 2;
}

void spread_exchanges_run(struct kv_spread *spread) {
    uint32_t first = spread->next;
    for (uint32_t i = 0; i < spread->shards_count; i++) {
        struct spread_shard *shard = &spread->shards[(first + i) % spread->shards_count];
        struct spread_scope scope;
        bool able = false;
        for (size_t p = 0; p < shard->peers_count; p++) {
            if (!is_due(shard, &shard->peers[p])) {
                continue;
            }
            if (spread->exchanges_count >= KV_SPREAD_EXCHANGES) {
                spread->next = shard->number;
                return;
            }
            able = able || spread_scope(shard, &scope);
            if (able && !is_crowded(spread, shard->peers[p].node)) {
                begin(shard, &shard->peers[p], &scope);
            }
        }
    }
}

void spread_exchanges_end(struct kv_spread *spread) {
    while (!bnd_list_empty(&spread->exchanges)) {
        exchange_free(BND_CONTAINER(spread->exchanges.next, struct spread_exchange, link));
    }
}
