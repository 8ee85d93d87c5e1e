/* What other replicas ask (spread_wire.h). Everything is checked against this replica's own scope;
 * nothing is answered from a tree that is being built. */
#include "kv/spread_private.h"

/* A request that is answered later: a list being made, something that is in the log, or marks. */
struct spread_served {
    struct bnd_link link;
    struct kv_spread *spread;
    struct bnd_rpc_request *request;
    struct spread_ticket *ticket; /* settled */
    bool awaits_marks;            /* of the scope's shard */
    struct spread_job job;        /* LIST */
    struct spread_scope scope;
    struct kv_buckets buckets;
    struct kv_walk walk;
    struct bnd_buf items;
    uint32_t items_count, scanned;
};

static void answer(struct bnd_rpc_request *request, int status, const struct bnd_buf *reply) {
    const struct bnd_slice part = reply != NULL ? bnd_buf_slice(reply) : bnd_slice(NULL, 0);
    if (status == 0 && reply != NULL && reply->failed) {
        status = BND_NOMEM;
    }
    bnd_rpc_reply(request, status, &part, status == 0 && reply != NULL ? 1 : 0);
}

/* ---- requests that are answered later
 * ----------------------------------------------------------------- */

/* NULL: it was answered. */
static struct spread_served *served_new(struct kv_spread *spread, struct bnd_rpc_request *request) {
    struct spread_served *served =
        spread->served_count < KV_SPREAD_SERVED ? bnd_zalloc(sizeof *served) : NULL;
    if (served == NULL) {
        answer(request, BND_BUSY, NULL);
        return NULL;
    }
    served->spread = spread;
    served->request = request;
    bnd_list_push(&spread->served, &served->link);
    spread->served_count++;
    return served;
}

static void served_end(struct spread_served *served, int status, const struct bnd_buf *reply) {
    answer(served->request, status, reply);
    bnd_link_remove(&served->link);
    served->spread->served_count--;
    spread_job_remove(&served->job);
    spread_ticket_void(served->ticket, true);
    bnd_buf_free(&served->items);
    bnd_free(served);
}

void spread_served_end(struct kv_spread *spread) {
    while (!bnd_list_empty(&spread->served)) {
        served_end(BND_CONTAINER(spread->served.next, struct spread_served, link), BND_CANCELED,
                   NULL);
    }
}

void spread_served_marked(struct kv_spread *spread, uint32_t shard, int status) {
    struct bnd_link *link = spread->served.next;
    while (link != &spread->served) {
        struct spread_served *served = BND_CONTAINER(link, struct spread_served, link);
        link = link->next;
        if (served->awaits_marks && served->scope.shard == shard) {
            served_end(served, status, NULL);
        }
    }
}

static void on_logged(void *data, int status) {
    struct spread_served *served = data;
    served->ticket = NULL;
    served_end(served, status, NULL);
}

/* ---- the scope
 * ---------------------------------------------------------------------------------------- */

/* 0: both sides see the shard alike. BND_EPOCH: one must look at the map; BND_BUSY: a tree is being
 * built, or marks are on their way; BND_PRECONDITION: another horizon. */
static int same_scope(struct spread_shard *shard, const struct kv_spread_ask *ask, uint64_t from) {
    struct kv_spread *spread = shard->spread;
    struct spread_scope own;
    if (shard->map.epoch != ask->epoch) {
        if (shard->map.epoch < ask->epoch) {
            spread->kv->config.view_wanted(spread->kv->config.owner);
        }
        return BND_EPOCH;
    }
    if (spread_role(shard, from) == SPREAD_NONE ||
        spread_role(shard, spread->kv->config.self) == SPREAD_NONE) {
        return BND_EPOCH;
    }
    if (!spread_scope(shard, &own)) {
        return BND_BUSY;
    }
    bool same = own.refused == ask->refused && own.collected == ask->collected;
    return same || !kv_rule(spread->kv, KV_RULE_SAME) ? 0 : BND_PRECONDITION;
}

/* ---- each kind
 * ---------------------------------------------------------------------------------------- */

static void serve_tree(struct spread_shard *shard, const struct kv_spread_ask *ask,
                       struct bnd_rpc_request *request) {
    BND_AUTO_BUF struct bnd_buf reply = {0};
    kv_tree_answer_encode(&reply, shard->tree, bnd_hash128_eq(ask->root, shard->tree->root),
                          spread_marks(shard).filled);
    answer(request, 0, &reply);
}

/* It counts from this moment, in which the trees are equal. The answer waits until a start would
 * know it: the asker tells group 0 that it is filled, and a put that this replica alone has would
 * be one of two that count. */
static void serve_filled(struct spread_shard *shard, const struct kv_spread_ask *ask,
                         struct bnd_rpc_request *request) {
    if (spread_role(shard, request->from) != SPREAD_REPLICA) {
        answer(request, BND_EPOCH, NULL);
        return;
    }
    if (!bnd_hash128_eq(ask->root, shard->tree->root)) {
        answer(request, BND_PRECONDITION, NULL);
        return;
    }
    struct spread_served *served = served_new(shard->spread, request);
    if (served == NULL) {
        return;
    }
    struct kv_marks marks = spread_marks(shard);
    uint8_t bit = kv_counts_set(shard->spread->kv, shard->number, request->from);
    if (bit == 0 || (marks.counted & bit) != 0) {
        served_end(served, bit == 0 ? BND_EPOCH : 0, NULL);
        return;
    }
    marks.counted = (uint8_t)(marks.counted | bit);
    served->scope.shard = shard->number;
    served->awaits_marks = true;
    spread_mark(shard, &marks, false);
    if (shard->marking == NULL) { /* no memory, or the log is full */
        served_end(served, BND_BUSY, NULL);
    }
}

static bool each_listed(void *data, const struct kv_scanned *found) {
    struct spread_served *served = data;
    const struct kv_listed listed = {
        .namespace_id = found->namespace_id, .key = found->key, .version = found->record.version};
    if (served->items_count >= SPREAD_LIST_ITEMS || served->scanned >= SPREAD_LIST_SCANNED) {
        return false;
    }
    served->scanned++;
    if (kv_buckets_has(&served->buckets, kv_tree_bucket(found->namespace_id, found->key)) &&
        !kv_seen_dead(kv_record_seen(&found->record), served->scope.collected) &&
        !spread_gone(served->spread, found->namespace_id)) {
        kv_listed_put(&served->items, &listed);
        served->items_count++;
    }
    return true;
}

static int list_run(struct spread_job *job, size_t most) {
    struct spread_served *served = BND_CONTAINER(job, struct spread_served, job);
    struct spread_shard *shard = &served->spread->shards[served->scope.shard];
    struct spread_scope now;
    if (!spread_scope(shard, &now) || !spread_scope_eq(&now, &served->scope)) {
        served_end(served, BND_EPOCH, NULL);
        return 0;
    }
    uint32_t before = served->scanned;
    int rv = kv_walk_slice(&served->walk, served->spread->kv->store, served->scope.shard, most,
                           each_listed, served);
    if (rv != 0) {
        return rv;
    }
    /* A slice that took less than it might has come to a bound. */
    if (!served->walk.done && served->scanned - before == most &&
        served->items_count < SPREAD_LIST_ITEMS && served->scanned < SPREAD_LIST_SCANNED) {
        return 1;
    }
    BND_AUTO_BUF struct bnd_buf reply = {0};
    const struct kv_list_answer made = {.complete = served->walk.done,
                                        .namespace_id = served->walk.namespace_id,
                                        .key = kv_walk_key(&served->walk),
                                        .items = bnd_buf_slice(&served->items),
                                        .items_count = served->items_count};
    kv_list_answer_encode(&reply, &made);
    served_end(served, served->items.failed ? BND_NOMEM : 0, &reply);
    return 0;
}

static void serve_list(struct spread_shard *shard, const struct kv_spread_ask *ask,
                       struct bnd_rpc_request *request) {
    struct spread_served *served = served_new(shard->spread, request);
    if (served == NULL) {
        return;
    }
    (void)spread_scope(shard, &served->scope); /* same_scope has looked */
    served->buckets = ask->buckets;
    kv_walk_seek(&served->walk, ask->namespace_id, ask->key);
    served->job.run = list_run;
    spread_job_add(shard->spread, &served->job);
}

static void serve_fetch(struct spread_shard *shard, const struct kv_spread_ask *ask,
                        struct bnd_rpc_request *request) {
    struct kv_spread *spread = shard->spread;
    BND_AUTO_BUF struct bnd_buf reply = {0};
    BND_AUTO_BUF struct bnd_buf record = {0};
    struct bnd_reader names = bnd_reader(ask->items);
    uint64_t namespace_id = 0;
    struct bnd_slice key = {0};
    int rv = 0;
    for (uint32_t i = 0; rv == 0 && i < SPREAD_BATCH_ITEMS && reply.len < SPREAD_BATCH_BYTES &&
                         kv_name_next(&names, &namespace_id, &key);
         i++) {
        bnd_buf_reset(&record);
        rv = kv_store_get_encoded(spread->kv->store, shard->number, namespace_id, key, &record);
        if (rv == 0 || rv == BND_NOTFOUND) {
            bnd_buf_bytes(&reply, rv == 0 ? bnd_buf_slice(&record) : bnd_slice(NULL, 0));
            spread->kv->stats.records_sent += rv == 0 ? 1 : 0;
            rv = 0;
        }
    }
    answer(request, rv, &reply);
}

static void serve_piece(struct spread_shard *shard, const struct kv_spread_ask *ask,
                        struct bnd_rpc_request *request) {
    BND_AUTO_BUF struct bnd_buf piece = {0};
    int rv =
        kv_store_piece_get(shard->spread->kv->store, shard->number, ask->blob, ask->number, &piece);
    answer(request, rv, &piece);
}

static void serve_have(struct spread_shard *shard, const struct kv_spread_ask *ask,
                       struct bnd_rpc_request *request) {
    BND_AUTO_BUF struct bnd_buf reply = {0};
    uint32_t have = 0;
    int rv = kv_store_pieces(shard->spread->kv->store, shard->number, ask->blob, &have);
    bnd_buf_u32(&reply, have);
    answer(request, rv, &reply);
}

/* Takes what was given; one reply when all of it is in the log and applied. */
static void serve_taken(struct spread_shard *shard, const struct kv_spread_ask *ask,
                        struct bnd_rpc_request *request) {
    struct spread_served *served = served_new(shard->spread, request);
    if (served == NULL) {
        return;
    }
    struct spread_ticket *ticket = spread_ticket_new(on_logged, served);
    if (ticket == NULL) {
        served_end(served, BND_NOMEM, NULL);
        return;
    }
    int rv = 0;
    if (ask->op == KV_SPREAD_OFFER) {
        const struct kv_piece piece = {.shard = shard->number,
                                       .namespace_id = ask->namespace_id,
                                       .key = ask->key,
                                       .blob = ask->blob,
                                       .number = ask->number,
                                       .bytes = ask->bytes};
        rv = ask->key.len == 0 ? BND_CORRUPT : spread_take_piece(shard->spread, &piece, ticket);
    } else {
        struct bnd_reader items = bnd_reader(ask->items);
        struct kv_given given;
        while (rv == 0 && kv_given_next(&items, &given)) {
            rv = spread_take(shard->spread, shard->number, &given, ask->fresh, ticket);
        }
    }
    if (rv != 0) { /* what was taken stays */
        spread_ticket_void(ticket, false);
        served_end(served, rv, NULL);
    } else if (spread_ticket_settle(ticket, &rv)) {
        served_end(served, rv, NULL);
    } else {
        served->ticket = ticket;
    }
}

static void serve_shard(struct spread_shard *shard, const struct kv_spread_ask *ask,
                        struct bnd_rpc_request *request) {
    bool there = spread_marks(shard).there;
    bool compares = ask->op == KV_SPREAD_TREE || ask->op == KV_SPREAD_LIST ||
                    ask->op == KV_SPREAD_FILLED || (ask->op == KV_SPREAD_GIVE && !ask->fresh);
    int rv = there ? 0 : BND_EPOCH;
    if (rv == 0 && compares) {
        rv = same_scope(shard, ask, request->from);
    } else if (rv == 0 && ask->op == KV_SPREAD_GIVE && ask->epoch != shard->map.epoch &&
               kv_rule(shard->spread->kv, KV_RULE_SEAL)) {
        rv = BND_EPOCH;
    }
    if (rv != 0) {
        answer(request, rv, NULL);
    } else if (ask->op == KV_SPREAD_TREE) {
        serve_tree(shard, ask, request);
    } else if (ask->op == KV_SPREAD_FILLED) {
        serve_filled(shard, ask, request);
    } else if (ask->op == KV_SPREAD_LIST) {
        serve_list(shard, ask, request);
    } else if (ask->op == KV_SPREAD_FETCH) {
        serve_fetch(shard, ask, request);
    } else if (ask->op == KV_SPREAD_PIECE) {
        serve_piece(shard, ask, request);
    } else if (ask->op == KV_SPREAD_HAVE) {
        serve_have(shard, ask, request);
    } else {
        serve_taken(shard, ask, request);
    }
}

void kv_spread_call(struct kv_spread *spread, struct bnd_rpc_request *request) {
    struct kv_spread_ask ask;
    int rv = kv_spread_ask_decode(request->payload, &ask);
    if (rv != 0) {
        answer(request, rv, NULL);
        return;
    }
    if (!spread->open) {
        answer(request, BND_BUSY, NULL);
        return;
    }
    if (ask.op == KV_SPREAD_SUMS) {
        BND_AUTO_BUF struct bnd_buf reply = {0};
        spread_digest_serve(spread, &ask, request->from, &reply);
        answer(request, 0, &reply);
        return;
    }
    struct spread_shard *shard = spread_shard(spread, ask.shard);
    if (shard == NULL) {
        answer(request, BND_EPOCH, NULL);
        return;
    }
    serve_shard(shard, &ask, request);
}
