/* The coordinator of a put.
 *
 *            +--- restamp: a newer version, a horizon, its own copy lost ---+
 *            v                                                              |
 *   WAITING -> STAMPED (own log, pushes) -- enough have it ------------> answered 0
 *     ^  |        |
 *     |  |        +-- too few are left, another epoch --+
 *     |  +-- a second without enough: UNAVAILABLE       |
 *     +------------- again in 100 ms, at most for 5 s --+
 *
 * Invariants:
 *  1. It is answered 0 only when this node has it applied and, of those that count, as many as
 *     kv_needed says, all under one epoch and one version.
 *  2. What is stamped is above every version that anybody has refused it for.
 *  3. Every write ends: by its deadline at the latest. */
#include "kv/coordinate.h"

#include "kv/push.h"

#define WRITES_MAX 16384u
#define WRITES_BYTES_MAX ((size_t)64 << 20)
#define DEADLINE_NS (UINT64_C(5000) * BND_MS)
/* Without enough replicas that are up it is given up after this: they may be coming back. */
#define SHORT_NS (UINT64_C(1000) * BND_MS)
#define RETRY_NS (UINT64_C(100) * BND_MS)
/* A peer that is up and has not answered is asked again. */
#define RESEND_NS (UINT64_C(1000) * BND_MS)
/* A `local` namespace waits so long for a peer that is up, before its own copy is enough. */
#define LOCAL_WAIT_NS (UINT64_C(500) * BND_MS)
#define RESTAMPS_MAX 64u

enum peer_state { PEER_NONE, PEER_WAITING, PEER_HAS_IT, PEER_FAILED };

struct target {
    struct kv_push_to to;
    struct kv_write *write;
    enum peer_state state;
};

struct kv_write {
    struct bnd_link link;
    struct bnd_kv *kv;
    struct kv_write_params params;
    kv_write_cb cb;
    void *data;
    uint32_t shard, epoch; /* epoch: of the attempt; 0: none is under way */
    struct kv_log_entry *entry;
    struct bnd_kv_version version;
    bool own_has_it;
    struct target targets[BND_KV_REPLICAS_MAX];
    size_t targets_count;
    uint64_t above_hlc; /* what the next stamp must be above */
    unsigned restamps;
    uint64_t begun_ns, sent_ns, retry_ns; /* retry_ns: when the next attempt begins; 0: none does */
    uint64_t short_since_ns;
};

struct kv_coordinate {
    struct bnd_link writes;
    size_t count, bytes; /* bytes: of keys, metadata and values */
};

int kv_coordinate_create(struct kv_coordinate **out) {
    struct kv_coordinate *coordinate = bnd_zalloc(sizeof *coordinate);
    if (coordinate == NULL) {
        return BND_NOMEM;
    }
    bnd_list_init(&coordinate->writes);
    *out = coordinate;
    return 0;
}

void kv_coordinate_destroy(struct kv_coordinate *coordinate) {
    BND_ASSERT(coordinate == NULL || coordinate->count == 0);
    bnd_free(coordinate);
}

unsigned kv_needed(const struct bnd_kv *kv, uint32_t shard) {
    const struct bnd_kv_shard *map = &kv->view.shards[shard];
    unsigned filled = 0;
    for (size_t i = 0; i < map->replicas_count; i++) {
        filled += kv_counts(kv, shard, map->replicas[i].node);
    }
    return filled < 2 ? filled : 2;
}

/* ---- the end of an attempt, and of a write
 * -------------------------------------------------------- */

/* What comes of the entry from now on is of no interest: an old version of the same put. */
static void attempt_end(struct kv_write *write) {
    for (size_t i = 0; i < write->targets_count; i++) {
        kv_push_forget(write->kv, &write->targets[i].to);
    }
    write->targets_count = 0;
    if (write->entry != NULL) {
        write->entry->data = NULL;
        kv_log_entry_unref(write->entry);
        write->entry = NULL;
    }
    write->own_has_it = false;
    write->epoch = 0;
}

static size_t bytes_of(const struct kv_write_params *params) {
    return params->key.len + params->metadata.len + params->value.len;
}

static void take_out(struct kv_write *write) {
    struct kv_coordinate *coordinate = write->kv->coordinate;
    bnd_link_remove(&write->link);
    coordinate->count--;
    coordinate->bytes -= bytes_of(&write->params);
}

static void finish(struct kv_write *write, int status, enum bnd_kv_durability durability) {
    struct bnd_kv *kv = write->kv;
    const struct kv_put_answer answer = {.durability = durability, .version = write->version};
    attempt_end(write);
    take_out(write);
    kv->stats.puts += status == 0;
    kv->stats.puts_local += status == 0 && durability == BND_KV_LOCAL;
    kv->stats.puts_refused += status != 0;
    write->cb(write->data, status, &answer);
    bnd_free(write);
}

static void retry_later(struct kv_write *write) {
    attempt_end(write);
    write->retry_ns = bnd_now_ns(write->kv->config.env) + RETRY_NS;
}

/* ---- the answers
 * ----------------------------------------------------------------------------------- */

static void stamp(struct kv_write *write);

static bool is_local(const struct kv_write *write) {
    struct bnd_kv_namespace of = {0};
    return kv_namespace(write->kv, write->params.namespace_id, &of) == KV_NAMESPACE_THERE &&
           of.local;
}

struct tally {
    unsigned counting;      /* have it, and count */
    unsigned could_count;   /* those, and those that may still answer */
    unsigned have, waiting; /* whether they count or not */
};

static struct tally tally(const struct kv_write *write) {
    struct tally t = {.counting = write->own_has_it, .could_count = 1, .have = write->own_has_it};
    for (size_t i = 0; i < write->targets_count; i++) {
        const struct target *target = &write->targets[i];
        bool counts = kv_counts(write->kv, write->shard, target->to.node);
        bool has_it = target->state == PEER_HAS_IT;
        bool waits = target->state == PEER_WAITING;
        t.counting += has_it && counts;
        t.could_count += (has_it || waits) && counts;
        t.have += has_it;
        t.waiting += waits;
    }
    return t;
}

/* Enough, or too few left. A sole filled replica is enough, but a newcomer that is there is waited
 * for: two disks are better than one. True: the write is gone. */
static bool judge(struct kv_write *write) {
    struct bnd_kv *kv = write->kv;
    uint64_t now = bnd_now_ns(kv->config.env);
    if (write->epoch == 0) {
        return false;
    }
    struct tally t = tally(write);
    unsigned needed = kv_needed(kv, write->shard);
    if (write->own_has_it && t.counting >= needed && (t.have >= 2 || t.waiting == 0)) {
        finish(write, 0, BND_KV_REPLICATED);
        return true;
    }
    bool alone = t.could_count < needed || now - write->sent_ns > LOCAL_WAIT_NS;
    if (write->own_has_it && alone && is_local(write)) {
        finish(write, 0, t.counting >= needed ? BND_KV_REPLICATED : BND_KV_LOCAL);
        return true;
    }
    if (t.could_count < needed && !is_local(write)) {
        write->short_since_ns = write->short_since_ns == 0 ? now : write->short_since_ns;
        retry_later(write);
    }
    return false;
}

static void restamp(struct kv_write *write, uint64_t above_hlc) {
    write->above_hlc = above_hlc > write->above_hlc ? above_hlc : write->above_hlc;
    write->kv->stats.restamped++;
    attempt_end(write);
    if (++write->restamps > RESTAMPS_MAX) {
        finish(write, BND_UNAVAILABLE, BND_KV_REPLICATED);
        return;
    }
    stamp(write);
}

static void on_answered(struct kv_push_to *to, const struct kv_ack *ack) {
    struct target *target = to->data;
    struct kv_write *write = target->write;
    target->state = ack->status == KV_ACK_OK ? PEER_HAS_IT : PEER_FAILED;
    switch (ack->status) {
    case KV_ACK_NEWER:
    case KV_ACK_TOO_OLD:
        restamp(write, ack->version.hlc);
        return;
    case KV_ACK_EPOCH:
        if (ack->version.hlc > write->epoch) {
            write->kv->config.view_wanted(write->kv->config.owner);
        }
        break;
    case KV_ACK_GONE:
        write->kv->config.view_wanted(write->kv->config.owner);
        break;
    default:
        break;
    }
    (void)judge(write);
}

static void on_applied(struct kv_log_entry *entry, int status) {
    struct kv_write *write = entry->data;
    if (write == NULL) {
        return; /* of an attempt that is over */
    }
    if (status != 0) {
        return; /* it closes, and answers all */
    }
    if (entry->result.outcome == KV_LOST) {
        restamp(write, entry->result.stands.version.hlc);
    } else if (entry->result.outcome == KV_LACKS) {
        finish(write, BND_UNAVAILABLE, BND_KV_REPLICATED);
    } else {
        write->own_has_it = true;
        (void)judge(write);
    }
}

/* ---- an attempt
 * ------------------------------------------------------------------------------------ */

/* Whether it may be stamped here and now; 0, or why not. *again: try again in a while. */
static int may_stamp(struct kv_write *write, bool *again) {
    struct bnd_kv *kv = write->kv;
    struct bnd_kv_namespace of = {0};
    enum kv_namespace_state state = kv_namespace(kv, write->params.namespace_id, &of);
    *again = false;
    if (state == KV_NAMESPACE_GONE) {
        return BND_NOTFOUND;
    }
    if (state == KV_NAMESPACE_UNKNOWN) {
        kv->config.view_wanted(kv->config.owner);
        *again = true;
        return BND_NOTFOUND;
    }
    if (!kv_serves(kv, write->shard)) {
        return BND_EPOCH;
    }
    if (!kv_clock_fit(kv, write->shard)) {
        return BND_BUSY;
    }
    if (!of.local && !kv->config.view_fresh(kv->config.owner)) {
        *again = true;
        return BND_UNAVAILABLE;
    }
    bool grows = (write->params.flags & KV_RECORD_TOMBSTONE) == 0;
    return grows && !kv->config.has_room(kv->config.owner) ? BND_NOSPACE : 0;
}

/* Those that are up, besides this node. */
static void find_targets(struct kv_write *write) {
    struct bnd_kv *kv = write->kv;
    const struct bnd_kv_shard *map = &kv->view.shards[write->shard];
    write->targets_count = 0;
    for (size_t i = 0; i < map->replicas_count; i++) {
        uint64_t node = map->replicas[i].node;
        if (node != kv->config.self && kv->config.mesh->ops->up(kv->config.mesh, node)) {
            struct target *target = &write->targets[write->targets_count++];
            *target = (struct target){.write = write, .state = PEER_WAITING};
            target->to = (struct kv_push_to){.answered = on_answered, .node = node, .data = target};
        }
    }
}

static void send_to(struct kv_write *write, struct target *target) {
    int rv = kv_push_send(write->kv, &target->to, write->entry, write->epoch);
    target->state = rv == 0 ? PEER_WAITING : PEER_FAILED;
}

/* The stamp: above all that was seen and refused, and not ahead of what others take. 0: it cannot
 * be now. */
static uint64_t next_hlc(struct kv_write *write) {
    struct bnd_kv *kv = write->kv;
    uint64_t wall_ms = kv_wall_ms(kv);
    uint64_t refused = kv_store_marks(kv->store, write->shard).refused;
    uint64_t above = write->above_hlc > refused ? write->above_hlc : refused;
    if (kv_hlc_ahead(above + 1, wall_ms)) {
        return 0;
    }
    kv_hlc_see(&kv->hlc, above, wall_ms);
    return kv_hlc_next(&kv->hlc, wall_ms);
}

static struct kv_log_entry *make_entry(struct kv_write *write) {
    const struct kv_write_params *params = &write->params;
    struct kv_record record = {.version = write->version,
                               .epoch = write->kv->view.shards[write->shard].epoch,
                               .flags = params->flags,
                               .expires_ms = params->expires_ms,
                               .size = params->size,
                               .metadata = params->metadata,
                               .value = params->value};
    memcpy(record.blob, params->blob, sizeof record.blob);
    struct kv_log_entry *entry =
        kv_log_entry_record(write->shard, params->namespace_id, params->key, &record);
    if (entry != NULL) {
        entry->applied = on_applied;
        entry->data = write;
        entry->hot = true;
    }
    return entry;
}

/* Its own copy and the pushes, at once. An error: nothing was begun. */
static int begin(struct kv_write *write, uint64_t hlc) {
    struct bnd_kv *kv = write->kv;
    struct bnd_kv_version before = write->version;
    write->version = (struct bnd_kv_version){.hlc = hlc, .writer = kv->config.self};
    write->entry = make_entry(write);
    int rv = write->entry == NULL ? BND_NOMEM : kv_log_append(kv->log, write->entry);
    if (rv != 0) {
        write->version = before;
        attempt_end(write);
        return rv;
    }
    write->epoch = kv->view.shards[write->shard].epoch;
    write->sent_ns = bnd_now_ns(kv->config.env);
    for (size_t i = 0; i < write->targets_count; i++) {
        send_to(write, &write->targets[i]);
    }
    (void)judge(write); /* it does not have it itself: this ends nothing */
    return 0;
}

/* One attempt, or a wait for the next; the write may be gone after it. */
static void stamp(struct kv_write *write) {
    struct bnd_kv *kv = write->kv;
    uint64_t now = bnd_now_ns(kv->config.env);
    bool again = false;
    int rv = may_stamp(write, &again);
    write->retry_ns = 0;
    bool late = now - write->begun_ns > (again ? SHORT_NS : DEADLINE_NS);
    if ((rv != 0 && !again) || late) {
        finish(write, rv != 0 ? rv : BND_UNAVAILABLE, BND_KV_REPLICATED);
        return;
    }
    uint64_t hlc = rv == 0 ? next_hlc(write) : 0;
    if (hlc == 0) {
        retry_later(write);
        return;
    }
    find_targets(write);
    if (tally(write).could_count < kv_needed(kv, write->shard) && !is_local(write)) {
        write->short_since_ns = write->short_since_ns == 0 ? now : write->short_since_ns;
        retry_later(write); /* nothing is stored that cannot be acknowledged */
        return;
    }
    rv = begin(write, hlc);
    if (rv != 0) {
        finish(write, rv, BND_KV_REPLICATED);
    }
}

/* ---- from outside
 * ---------------------------------------------------------------------------------- */

int kv_coordinate_write(struct bnd_kv *kv, const struct kv_write_params *params, kv_write_cb cb,
                        void *data) {
    if (kv->coordinate->count >= WRITES_MAX ||
        kv->coordinate->bytes + bytes_of(params) > WRITES_BYTES_MAX) {
        return BND_FULL;
    }
    struct kv_write *write = bnd_zalloc(sizeof *write);
    if (write == NULL) {
        return BND_NOMEM;
    }
    write->kv = kv;
    write->params = *params;
    write->cb = cb;
    write->data = data;
    write->above_hlc = params->above_hlc;
    write->shard = kv_shard_of(kv, params->namespace_id, params->key);
    write->begun_ns = bnd_now_ns(kv->config.env);
    bnd_list_push(&kv->coordinate->writes, &write->link);
    kv->coordinate->count++;
    kv->coordinate->bytes += bytes_of(params);
    bool again = false;
    int rv = may_stamp(write, &again);
    uint64_t hlc = rv == 0 ? next_hlc(write) : 0;
    if (hlc == 0) { /* what it ends with is told from the tick */
        write->retry_ns = write->begun_ns;
        return 0;
    }
    find_targets(write);
    if (tally(write).could_count < kv_needed(kv, write->shard) && !is_local(write)) {
        write->short_since_ns = write->begun_ns;
        write->retry_ns = write->begun_ns + RETRY_NS;
        return 0;
    }
    rv = begin(write, hlc);
    if (rv != 0) {
        take_out(write);
        bnd_free(write);
    }
    return rv;
}

/* Calls step for each write; those that are made meanwhile come at the end, and step may end its
 * own. */
static void each_write(struct bnd_kv *kv, void (*step)(struct kv_write *write)) {
    struct bnd_link taken;
    struct bnd_link *link = NULL;
    bnd_list_take(&kv->coordinate->writes, &taken);
    while ((link = bnd_list_pop(&taken)) != NULL) {
        bnd_list_push(&kv->coordinate->writes, link);
        step(BND_CONTAINER(link, struct kv_write, link));
    }
}

/* The attempt's epoch is over, or whoever counts now makes it enough. */
static void step_view(struct kv_write *write) {
    struct bnd_kv *kv = write->kv;
    if (write->epoch != 0 &&
        (kv->view.shards[write->shard].epoch != write->epoch || !kv_serves(kv, write->shard))) {
        attempt_end(write);
        stamp(write);
    } else if (write->epoch != 0) {
        (void)judge(write);
    } else {
        stamp(write);
    }
}

void kv_coordinate_view(struct bnd_kv *kv) {
    each_write(kv, step_view);
}

static void resend(struct kv_write *write, uint64_t now) {
    write->sent_ns = now;
    for (size_t i = 0; i < write->targets_count; i++) {
        struct target *target = &write->targets[i];
        if (target->state == PEER_WAITING) {
            kv_push_forget(write->kv, &target->to);
            send_to(write, target);
        }
    }
}

static void step_tick(struct kv_write *write) {
    struct bnd_kv *kv = write->kv;
    uint64_t now = bnd_now_ns(kv->config.env);
    bool is_short = write->short_since_ns != 0 && now - write->short_since_ns > SHORT_NS;
    if (now - write->begun_ns > DEADLINE_NS || (is_short && write->epoch == 0)) {
        finish(write, BND_UNAVAILABLE, BND_KV_REPLICATED);
    } else if (write->retry_ns != 0 && now >= write->retry_ns) {
        stamp(write);
    } else if (write->epoch != 0 && !judge(write) && write->epoch != 0 &&
               now - write->sent_ns > RESEND_NS) {
        resend(write, now);
        (void)judge(write);
    }
}

void kv_coordinate_tick(struct bnd_kv *kv) {
    each_write(kv, step_tick);
}

void kv_coordinate_close(struct bnd_kv *kv) {
    while (!bnd_list_empty(&kv->coordinate->writes)) {
        finish(BND_CONTAINER(kv->coordinate->writes.next, struct kv_write, link), BND_CANCELED,
               BND_KV_REPLICATED);
    }
}
