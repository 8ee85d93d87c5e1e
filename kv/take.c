/* Records that come from other replicas, not from a put: what of them is wanted, and their way into
 * the log. */
#include "kv/spread_private.h"

struct spread_ticket *spread_ticket_new(void (*cb)(void *data, int status), void *data) {
    struct spread_ticket *ticket = bnd_alloc(sizeof *ticket);
    if (ticket != NULL) {
        *ticket = (struct spread_ticket){.refs = 1, .cb = cb, .data = data};
    }
    return ticket;
}

bool spread_ticket_settle(struct spread_ticket *ticket, int *out_status) {
    if (--ticket->refs > 0) {
        return false;
    }
    *out_status = ticket->status;
    bnd_free(ticket);
    return true;
}

void spread_ticket_void(struct spread_ticket *ticket, bool settled) {
    if (ticket == NULL) {
        return;
    }
    ticket->cb = NULL;
    if (!settled && --ticket->refs == 0) {
        bnd_free(ticket);
    }
}

static void ticket_back(struct spread_ticket *ticket, int status) {
    ticket->status = ticket->status == 0 ? status : ticket->status;
    if (--ticket->refs > 0) {
        return;
    }
    void (*cb)(void *, int) = ticket->cb;
    void *data = ticket->data;
    status = ticket->status;
    bnd_free(ticket);
    if (cb != NULL) {
        cb(data, status);
    }
}

static void on_applied(void *data, int status, const struct kv_applied *applied) {
    bool lacks = status == 0 && applied != NULL && applied->outcome == KV_LACKS;
    ticket_back(data, lacks ? BND_NOTFOUND : status);
}

bool spread_gone(const struct kv_spread *spread, uint64_t namespace_id) {
    return kv_rule(spread->kv, KV_RULE_NAMESPACE) &&
           kv_namespace(spread->kv, namespace_id, NULL) == KV_NAMESPACE_GONE;
}

/* What is appended behind the entry that drops the shard would stay, on a node that is no replica
 * of it and does not drop it again. */
static bool is_dropped(const struct kv_spread *spread, uint32_t shard) {
    bool wiping = shard < spread->shards_count && spread->shards[shard].wiping;
    return wiping || !kv_store_marks(spread->kv->store, shard).there;
}

int spread_wants(struct kv_spread *spread, uint32_t shard, const struct kv_given *given, bool fresh,
                 struct kv_record *out, bool *out_wanted) {
    struct kv_marks marks = kv_store_marks(spread->kv->store, shard);
    struct kv_seen own = {0};
    if (given->key.len == 0 || kv_record_decode(given->record, out) != 0 ||
        (out->flags & KV_RECORD_SPLIT) != 0) {
        return BND_CORRUPT;
    }
    struct kv_seen seen = kv_record_seen(out);
    *out_wanted = false;
    if (is_dropped(spread, shard)) {
        return BND_EPOCH;
    }
    if (spread_gone(spread, given->namespace_id) || kv_seen_dead(seen, marks.collected) ||
        (fresh && seen.version.hlc < marks.refused && kv_rule(spread->kv, KV_RULE_REFUSE))) {
        return 0;
    }
    int rv = kv_store_seen(spread->kv->store, shard, given->namespace_id, given->key, &own);
    *out_wanted = rv == 0 && kv_version_cmp(own.version, seen.version) < 0;
    return rv;
}

/* The journal's reserve is not for what can be asked for again. */
static bool has_room(const struct kv_spread *spread) {
    return spread->kv->config.has_room(spread->kv->config.owner);
}

int spread_take(struct kv_spread *spread, uint32_t shard, const struct kv_given *given, bool fresh,
                struct spread_ticket *ticket) {
    struct kv_record record;
    bool wanted = false;
    int rv = spread_wants(spread, shard, given, fresh, &record, &wanted);
    if (rv != 0 || !wanted) {
        return rv;
    }
    if ((record.flags & KV_RECORD_TOMBSTONE) == 0 && !has_room(spread)) {
        return BND_NOSPACE;
    }
    const struct kv_take take = {.shard = shard,
                                 .namespace_id = given->namespace_id,
                                 .key = given->key,
                                 .record = given->record,
                                 .done = on_applied,
                                 .data = ticket};
    rv = kv_take(spread->kv, &take);
    if (rv == 0) {
        ticket->refs++;
        spread->kv->stats.records_taken++;
    }
    return rv;
}

int spread_take_piece(struct kv_spread *spread, const struct kv_piece *piece,
                      struct spread_ticket *ticket) {
    if (is_dropped(spread, piece->shard)) {
        return BND_EPOCH;
    }
    int rv = has_room(spread) ? kv_take_piece(spread->kv, piece, on_applied, ticket) : BND_NOSPACE;
    ticket->refs += rv == 0 ? 1 : 0;
    return rv;
}
