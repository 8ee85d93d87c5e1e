/* The last seconds, compared each second with every peer of a higher id: a write that did not reach
 * all replicas, because its coordinator died between two pushes, or a message was lost, is made up
 * for in seconds. Only seconds are looked at in which whatever is on its way has arrived. */
#include "kv/spread_private.h"

#include <stdlib.h>

#define DIGEST_SHARDS 4096u /* in one message; the rest have their turn next */
#define DIGEST_BYTES (128u << 10)
#define DIGEST_PEERS 256u

struct spread_digest {
    struct bnd_link link;
    struct kv_spread *spread;
    uint64_t peer;
    struct spread_call call;
    struct bnd_buf reply;
    struct bnd_reader rest;
    struct spread_transfer transfer;
};

static void digest_free(struct spread_digest *digest) {
    bnd_link_remove(&digest->link);
    spread_call_end(digest->spread, &digest->call);
    spread_transfer_end(digest->spread, &digest->transfer);
    bnd_buf_free(&digest->reply);
    bnd_free(digest);
}

void spread_digests_end(struct kv_spread *spread) {
    while (!bnd_list_empty(&spread->digests)) {
        digest_free(BND_CONTAINER(spread->digests.next, struct spread_digest, link));
    }
}

/* Both are replicas of a shard that is here. */
static bool shared(const struct spread_shard *shard, uint64_t node) {
    struct kv_marks marks = spread_marks(shard);
    return marks.there && marks.epoch == shard->map.epoch &&
           spread_role(shard, shard->spread->kv->config.self) == SPREAD_REPLICA &&
           spread_role(shard, node) == SPREAD_REPLICA;
}

/* ---- what differs
 * ------------------------------------------------------------------------------------ */

static void digest_next(struct spread_digest *digest);

/* The versions of a list, to be found by what they add to a sum. */
struct versions {
    uint64_t *hashes;
    size_t count;
};

static int hash_cmp(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Reads the list: what is newer there is wanted. */
static int read_list(struct spread_digest *digest, const struct kv_differing *differing,
                     struct versions *out) {
    struct kv_store *store = digest->spread->kv->store;
    struct bnd_reader items = bnd_reader(differing->items);
    struct kv_listed item;
    out->count = 0;
    out->hashes = bnd_calloc(differing->items_count, sizeof *out->hashes);
    int rv = out->hashes == NULL ? BND_NOMEM : 0;
    while (rv == 0 && out->count < differing->items_count && kv_listed_next(&items, &item)) {
        struct kv_seen own = {0};
        out->hashes[out->count++] = kv_tree_hash(item.namespace_id, item.key, item.version).low;
        rv = item.key.len == 0
                 ? BND_CORRUPT
                 : kv_store_seen(store, differing->shard, item.namespace_id, item.key, &own);
        if (rv == 0 && kv_version_cmp(own.version, item.version) < 0) {
            kv_name_put(&digest->transfer.want, item.namespace_id, item.key);
        }
    }
    if (rv == 0) {
        qsort(out->hashes, out->count, sizeof *out->hashes, hash_cmp);
    }
    return rv;
}

struct missing {
    struct spread_digest *digest;
    const struct versions *theirs;
    uint32_t count;
};

static bool each_own(void *data, const struct kv_entry *entry) {
    struct missing *missing = data;
    uint64_t hash = kv_tree_hash(entry->namespace_id, entry->key, entry->seen.version).low;
    if (missing->theirs->count == 0 ||
        bsearch(&hash, missing->theirs->hashes, missing->theirs->count, sizeof hash, hash_cmp) ==
            NULL) {
        kv_name_put(&missing->digest->transfer.give, entry->namespace_id, entry->key);
        missing->count++;
    }
    return missing->count < SPREAD_LIST_ITEMS;
}

/* A list that is not whole cannot say what is missing: the trees can. */
static void note_lost(struct spread_shard *shard, uint64_t node) {
    struct spread_peer *peer = spread_peer(shard, node);
    if (peer != NULL) {
        peer->due_ns = 0;
    }
}

static void on_transferred(struct spread_transfer *transfer, int status) {
    struct spread_digest *digest = transfer->data;
    spread_transfer_end(digest->spread, transfer);
    if (status != 0) {
        digest_free(digest); /* the next round is in a second */
        return;
    }
    digest_next(digest);
}

/* True: a transfer is under way. */
static int make_up(struct spread_digest *digest, struct spread_shard *shard,
                   const struct kv_differing *differing, bool *out_under_way) {
    struct spread_transfer *transfer = &digest->transfer;
    struct kv_marks marks = spread_marks(shard);
    struct versions theirs = {0};
    struct missing missing = {.digest = digest, .theirs = &theirs};
    int rv = read_list(digest, differing, &theirs);
    if (rv == 0) {
        kv_recent_list(digest->spread->recent, shard->number, differing->second, each_own,
                       &missing);
    }
    bnd_free(theirs.hashes);
    if (rv != 0 || transfer->want.failed || transfer->give.failed) {
        return rv != 0 ? rv : BND_NOMEM;
    }
    if (transfer->want.len == 0 && transfer->give.len == 0) {
        return 0;
    }
    transfer->scope = (struct spread_scope){.shard = shard->number,
                                            .epoch = marks.epoch,
                                            .refused = marks.refused,
                                            .collected = marks.collected};
    transfer->peer = digest->peer;
    transfer->fresh = true;
    transfer->cb = on_transferred;
    transfer->data = digest;
    spread_transfer_begin(digest->spread, transfer);
    *out_under_way = true;
    return 0;
}

static void digest_next(struct spread_digest *digest) {
    struct kv_spread *spread = digest->spread;
    struct kv_differing differing;
    while (kv_differing_next(&digest->rest, &differing)) {
        struct spread_shard *shard = spread_shard(spread, differing.shard);
        if (shard == NULL || !shared(shard, digest->peer)) {
            continue;
        }
        spread->kv->stats.digests_differing++;
        if (differing.lost || kv_recent_sum(spread->recent, shard->number, differing.second).lost) {
            note_lost(shard, digest->peer);
        }
        bool under_way = false;
        int rv = make_up(digest, shard, &differing, &under_way);
        if (under_way) {
            return;
        }
        if (rv != 0) {
            break;
        }
    }
    digest_free(digest);
}

static void on_sums(struct spread_call *call, int status, struct bnd_slice reply) {
    struct spread_digest *digest = call->data;
    bnd_buf_append_slice(&digest->reply, reply);
    if (status != 0 || digest->reply.failed || kv_differing_check(reply) != 0) {
        digest_free(digest);
        return;
    }
    digest->rest = bnd_reader(bnd_buf_slice(&digest->reply));
    digest_next(digest);
}

/* ---- what is asked
 * ----------------------------------------------------------------------------------- */

static struct kv_sums sums_of(const struct spread_shard *shard, uint64_t second) {
    struct kv_sums sums = {.shard = shard->number, .epoch = shard->map.epoch};
    for (unsigned i = 0; i < SPREAD_DIGEST_SECONDS; i++) {
        struct kv_recent_sum sum = kv_recent_sum(shard->spread->recent, shard->number, second + i);
        if (sum.known) {
            sums.known |= (uint8_t)(1u << i);
            sums.sums[i] = sum.sum;
        }
    }
    return sums;
}

static void digest_begin(struct kv_spread *spread, uint64_t node, uint64_t second) {
    struct kv_spread_ask ask = {
        .op = KV_SPREAD_SUMS, .second = second, .seconds_count = SPREAD_DIGEST_SECONDS};
    BND_AUTO_BUF struct bnd_buf items = {0};
    uint32_t first = (uint32_t)(second % spread->shards_count);
    for (uint32_t i = 0; i < spread->shards_count && ask.items_count < DIGEST_SHARDS; i++) {
        struct spread_shard *shard = &spread->shards[(first + i) % spread->shards_count];
        if (shard->map.epoch != 0 && shared(shard, node)) {
            const struct kv_sums sums = sums_of(shard, second);
            kv_sums_put(&items, &sums);
            ask.items_count++;
        }
    }
    struct spread_digest *digest = items.failed ? NULL : bnd_zalloc(sizeof *digest);
    if (digest == NULL || ask.items_count == 0) {
        bnd_free(digest);
        return;
    }
    digest->spread = spread;
    digest->peer = node;
    digest->call.peer = node;
    digest->call.cb = on_sums;
    digest->call.data = digest;
    bnd_list_push(&spread->digests, &digest->link);
    ask.items = bnd_buf_slice(&items);
    spread_call(spread, &digest->call, &ask);
}

static bool under_way(const struct kv_spread *spread, uint64_t node) {
    for (const struct bnd_link *at = spread->digests.next; at != &spread->digests; at = at->next) {
        if (BND_CONTAINER(at, struct spread_digest, link)->peer == node) {
            return true;
        }
    }
    return false;
}

void spread_digests_run(struct kv_spread *spread) {
    struct bnd_mesh *mesh = spread->kv->config.mesh;
    uint64_t second = kv_wall_ms(spread->kv) / 1000 - SPREAD_DIGEST_OLDEST_S;
    uint64_t asked[DIGEST_PEERS];
    size_t asked_count = 0;
    for (uint32_t i = 0; i < spread->shards_count && kv_rule(spread->kv, KV_RULE_DIGEST); i++) {
        for (size_t p = 0; p < spread->shards[i].peers_count; p++) {
            uint64_t node = spread->shards[i].peers[p].node;
            size_t at = 0;
            while (at < asked_count && asked[at] != node) {
                at++;
            }
            if (at < asked_count || at == DIGEST_PEERS || node <= spread->kv->config.self ||
                !mesh->ops->up(mesh, node)) {
                continue;
            }
            asked[asked_count++] = node;
            if (!under_way(spread, node)) {
                digest_begin(spread, node, second);
            }
        }
    }
}

/* ---- what is answered
 * -------------------------------------------------------------------------------- */

struct listing {
    struct bnd_buf items;
    uint32_t count;
    bool cut;
};

static bool each_listed(void *data, const struct kv_entry *entry) {
    struct listing *listing = data;
    const struct kv_listed listed = {
        .namespace_id = entry->namespace_id, .key = entry->key, .version = entry->seen.version};
    if (listing->count >= SPREAD_LIST_ITEMS || listing->items.len >= DIGEST_BYTES) {
        listing->cut = true;
        return false;
    }
    kv_listed_put(&listing->items, &listed);
    listing->count++;
    return true;
}

static void list_second(struct kv_spread *spread, uint32_t shard, uint64_t second, bool lost,
                        struct bnd_buf *out) {
    struct listing listing = {0};
    kv_recent_list(spread->recent, shard, second, each_listed, &listing);
    if (!listing.items.failed) {
        const struct kv_differing differing = {.shard = shard,
                                               .second = second,
                                               .lost = lost || listing.cut,
                                               .items = bnd_buf_slice(&listing.items),
                                               .items_count = listing.count};
        kv_differing_put(out, &differing);
    }
    bnd_buf_free(&listing.items);
}

void spread_digest_serve(struct kv_spread *spread, const struct kv_spread_ask *ask, uint64_t from,
                         struct bnd_buf *out) {
    struct bnd_reader items = bnd_reader(ask->items);
    struct kv_sums sums;
    while (out->len < DIGEST_BYTES && kv_sums_next(&items, &sums)) {
        struct spread_shard *shard = spread_shard(spread, sums.shard);
        if (shard == NULL || shard->map.epoch != sums.epoch || !shared(shard, from)) {
            continue;
        }
        for (unsigned i = 0; i < ask->seconds_count && out->len < DIGEST_BYTES; i++) {
            uint64_t second = ask->second + i;
            struct kv_recent_sum own = kv_recent_sum(spread->recent, sums.shard, second);
            bool known = own.known && (sums.known >> i & 1) != 0;
            if (known && !bnd_hash128_eq(own.sum, sums.sums[i])) {
                list_second(spread, sums.shard, second, own.lost, out);
            }
        }
    }
}
