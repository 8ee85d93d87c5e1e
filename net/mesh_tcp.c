/* The mesh over TCP: peers, sending, time.
 *
 * Invariants: (1) lanes[l].up is a link in state UP whose certificate named this peer;
 * lanes[l].dial one that we dial and that is not up; (2) watchers hear up and down in turn, up
 * exactly while CONTROL has a connection; (3) when one lane's connection ends, the other's does
 * too, so that a caller who is told "down" has every message of that session either delivered or
 * lost; (4) a peer and lane without connection has its redial timer running or a dial under way;
 * (5) the mesh is freed when no link is left.
 *
 * Failure modes: see net/mesh_tcp.h. Without memory a message is refused (BND_FULL) and a dial put
 * off. */
#include "net/mesh_private.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

#define REDIAL_MIN_NS (50 * BND_MS)
#define REDIAL_MAX_NS (2000 * BND_MS)
#define REDIAL_DOUBLINGS_MAX 6
#define FALLBACK_NS (3000 * BND_MS) /* the higher id dials after one to two of these */
#define CLOCK_STALE_NS (5000 * BND_MS)

/* A message to self, in self_queue. */
struct self_message {
    struct bnd_link link;
    uint8_t kind;
    size_t len;
    uint8_t data[];
};

static struct bnd_mesh_tcp *tcp_of(struct bnd_mesh *mesh) {
    return BND_CONTAINER(mesh, struct bnd_mesh_tcp, mesh);
}

void mesh_say(struct bnd_mesh_tcp *tcp, enum bnd_log_level level, const char *fmt, ...) {
    uint64_t now = bnd_now_ns(tcp->env);
    if (now - tcp->log_window_ns > MESH_LOG_WINDOW_NS) {
        tcp->log_window_ns = now;
        tcp->log_lines = 0;
    }
    if (tcp->log_lines++ >= MESH_LOG_LINES) {
        return;
    }
    char line[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args); /* a cut line is still one */
    va_end(args);
    tcp->env->ops->log(tcp->env, level, "mesh", line);
}

struct peer *mesh_find(struct bnd_mesh_tcp *tcp, uint64_t node) {
    for (struct bnd_link *at = tcp->peers.next; at != &tcp->peers; at = at->next) {
        struct peer *peer = BND_CONTAINER(at, struct peer, in_mesh);
        if (peer->node == node) {
            return peer;
        }
    }
    return NULL;
}

void mesh_deliver(struct bnd_mesh_tcp *tcp, uint64_t from, uint8_t kind, struct bnd_slice message) {
    if (kind < BND_MESH_KINDS && tcp->receivers[kind].cb != NULL) {
        tcp->receivers[kind].cb(tcp->receivers[kind].owner, from, message);
    }
}

static void tell_watchers(struct peer *peer, bool up) {
    struct bnd_mesh_tcp *tcp = peer->tcp;
    uint64_t node = peer->node; /* a watcher may remove the peer */
    peer->told_up = up;
    for (size_t i = 0; i < tcp->watcher_count; i++) {
        tcp->watchers[i].cb(tcp->watchers[i].owner, node, up);
    }
}

/* ---- dialing
 * -------------------------------------------------------------------------------------------- */

/* Half to all of the delay. */
static uint64_t jittered(struct bnd_mesh_tcp *tcp, uint64_t delay_ns) {
    return delay_ns / 2 + bnd_random(tcp->env) % (delay_ns / 2 + 1);
}

void mesh_dial_later(struct peer_lane *lane) {
    struct bnd_mesh_tcp *tcp = lane->peer->tcp;
    uint64_t delay = 2 * FALLBACK_NS;
    if (tcp->self < lane->peer->node) {
        delay = REDIAL_MIN_NS << (lane->attempts < REDIAL_DOUBLINGS_MAX ? lane->attempts
                                                                        : REDIAL_DOUBLINGS_MAX);
        delay = delay < REDIAL_MAX_NS ? delay : REDIAL_MAX_NS;
    }
    lane->attempts++;
    bnd_timer_start(tcp->env, &lane->redial, jittered(tcp, delay));
}

static void dial_now(struct peer_lane *lane) {
    struct peer *peer = lane->peer;
    struct bnd_mesh_tcp *tcp = peer->tcp;
    struct bnd_error err;
    if (lane->up != NULL || lane->dial != NULL) {
        return;
    }
    if (tcp->abandoned >= MESH_ABANDONED_MAX) {
        mesh_dial_later(lane);
        return;
    }
    int rv = link_dial(peer, (enum bnd_mesh_lane)(lane - peer->lanes), &lane->dial, &err);
    if (rv != 0) {
        mesh_say(tcp, BND_LOG_WARN, "node %llu at %s cannot be dialed: %s",
                 (unsigned long long)peer->node, peer->address, err.message);
        mesh_dial_later(lane);
    }
}

static void redial(struct bnd_timer *timer) {
    dial_now(timer->data);
}

static void first_dial(struct peer *peer) {
    for (unsigned lane = 0; lane < BND_MESH_LANES; lane++) {
        if (peer->tcp->self < peer->node) {
            peer->lanes[lane].attempts = 0;
            dial_now(&peer->lanes[lane]);
        } else if (peer->lanes[lane].up == NULL) {
            mesh_dial_later(&peer->lanes[lane]);
        }
    }
}

/* ---- sessions
 * ------------------------------------------------------------------------------------------- */

/* Ends both lanes' connections and plans new ones. */
static void end_session(struct peer *peer) {
    struct bnd_mesh_tcp *tcp = peer->tcp;
    for (unsigned i = 0; i < BND_MESH_LANES; i++) {
        struct peer_lane *lane = &peer->lanes[i];
        if (lane->up == NULL) {
            continue;
        }
        if (bnd_now_ns(tcp->env) - lane->up->up_ns > MESH_STABLE_NS) {
            lane->attempts = 0;
        }
        struct link *link = lane->up;
        lane->up = NULL;
        link_kill(link);
        if (lane->dial == NULL && !tcp->closing) {
            mesh_dial_later(lane);
        }
    }
    if (peer->told_up) {
        tell_watchers(peer, false);
    }
}

void mesh_link_lost(struct link *link, const char *why) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    struct peer *peer = link->peer;
    if (peer == NULL) {
        link_kill(link);
        return;
    }
    struct peer_lane *lane = &peer->lanes[link->lane];
    const char *name = link->lane == BND_MESH_CONTROL ? "control" : "bulk";
    if (lane->up == link) {
        mesh_say(tcp, BND_LOG_WARN, "node %llu lost (%s): %s", (unsigned long long)peer->node, name,
                 why);
        end_session(peer);
        return;
    }
    if (lane->dial == link) {
        lane->dial = NULL;
        if (lane->attempts < 2 || lane->attempts % 16 == 0) {
            mesh_say(tcp, BND_LOG_WARN, "node %llu at %s does not connect (%s): %s",
                     (unsigned long long)peer->node, peer->address, name, why);
        }
        if (lane->up == NULL) {
            mesh_dial_later(lane);
        }
    }
    link_kill(link);
}

void mesh_link_up(struct link *link, struct peer *peer) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    struct peer_lane *lane = &peer->lanes[link->lane];
    if (lane->dial != NULL) {
        struct link *dial = lane->dial;
        lane->dial = NULL;
        if (dial != link) {
            link_kill(dial);
        }
    }
    if (lane->up != NULL) {
        uint64_t node = peer->node;
        end_session(peer); /* the peer has begun anew; a watcher may remove it now */
        peer = mesh_find(tcp, node);
        if (peer == NULL || link->state == LINK_DEAD) {
            link_kill(link);
            return;
        }
        lane = &peer->lanes[link->lane];
    }
    bnd_timer_stop(tcp->env, &lane->redial);
    lane->up = link;
    link->peer = peer;
    link->state = LINK_UP;
    link->up_ns = bnd_now_ns(tcp->env);
    link->heard = true;
    peer->heard_ns = link->up_ns;
    if (link->lane == BND_MESH_CONTROL) {
        mesh_say(tcp, BND_LOG_INFO, "node %llu connected", (unsigned long long)peer->node);
        link_ping(link, true);
        tell_watchers(peer, true);
    }
}

/* ---- time
 * -----------------------------------------------------------------------------------------------
 */

static void tick_link(struct bnd_mesh_tcp *tcp, struct link *link) {
    link->silent_ticks = link->heard ? 0 : link->silent_ticks + 1;
    link->heard = false;
    if (link->silent_ticks >= MESH_DEAD_TICKS) {
        mesh_link_lost(link, "nothing heard for 3 s");
        return;
    }
    bool clock = link->lane == BND_MESH_CONTROL && tcp->tick_count % MESH_CLOCK_TICKS == 0;
    if (clock || (!link->sent && link_queued(link) == 0)) {
        link_ping(link, clock);
    }
    link->sent = false;
}

static void tick(struct bnd_timer *timer) {
    struct bnd_mesh_tcp *tcp = timer->data;
    bnd_timer_start(tcp->env, timer, MESH_TICK_NS);
    tcp->tick_count++;
    /* Links leave the list only in their last callback, never in here: the walk is safe. */
    for (struct bnd_link *at = tcp->links.next; at != &tcp->links && !tcp->closing; at = at->next) {
        struct link *link = BND_CONTAINER(at, struct link, in_mesh);
        if (link->state == LINK_UP) {
            tick_link(tcp, link);
        }
    }
}

void mesh_wake(struct bnd_mesh_tcp *tcp) {
    if (!tcp->self_pending) {
        tcp->self_pending = true;
        bnd_defer(tcp->env, &tcp->self_task);
    }
}

static void flush_all(struct bnd_hook *hook) {
    struct bnd_mesh_tcp *tcp = hook->data;
    struct bnd_link *at;
    while ((at = bnd_list_pop(&tcp->dirty)) != NULL) {
        struct link *link = BND_CONTAINER(at, struct link, in_dirty);
        link->dirty = false;
        link_flush(link);
    }
}

/* ---- the interface of net/mesh.h
 * ------------------------------------------------------------------------ */

static uint64_t mesh_self(struct bnd_mesh *mesh) {
    return tcp_of(mesh)->self;
}

static void mesh_receive(struct bnd_mesh *mesh, enum bnd_mesh_kind kind, bnd_mesh_recv_cb cb,
                         void *owner) {
    struct bnd_mesh_tcp *tcp = tcp_of(mesh);
    BND_ASSERT(kind > 0 && kind < BND_MESH_KINDS);
    tcp->receivers[kind].cb = cb;
    tcp->receivers[kind].owner = owner;
}

static void mesh_watch(struct bnd_mesh *mesh, bnd_mesh_peer_cb cb, void *owner) {
    struct bnd_mesh_tcp *tcp = tcp_of(mesh);
    BND_ASSERT(tcp->watcher_count < MESH_WATCHERS_MAX);
    tcp->watchers[tcp->watcher_count].cb = cb;
    tcp->watchers[tcp->watcher_count].owner = owner;
    tcp->watcher_count++;
    for (struct bnd_link *at = tcp->peers.next; at != &tcp->peers; at = at->next) {
        struct peer *peer = BND_CONTAINER(at, struct peer, in_mesh);
        if (peer->told_up) {
            cb(owner, peer->node, true);
        }
    }
}

/* Also what mesh_wake is for: after it the hook runs. */
static void deliver_self(struct bnd_task *task) {
    struct bnd_mesh_tcp *tcp = task->data;
    struct bnd_link batch; /* what is sent from inside waits for the next pass */
    struct bnd_link *at;
    bnd_list_take(&tcp->self_queue, &batch);
    tcp->self_pending = false;
    while ((at = bnd_list_pop(&batch)) != NULL) {
        struct self_message *message = BND_CONTAINER(at, struct self_message, link);
        tcp->self_bytes -= message->len;
        if (!tcp->closing) {
            mesh_deliver(tcp, tcp->self, message->kind, bnd_slice(message->data, message->len));
        }
        bnd_free(message);
    }
    mesh_free_if_over(tcp);
}

static int send_self(struct bnd_mesh_tcp *tcp, enum bnd_mesh_kind kind,
                     const struct bnd_slice *parts, size_t count, size_t total) {
    if (tcp->self_bytes + total > tcp->queue_bytes_max[BND_MESH_CONTROL]) {
        return BND_FULL;
    }
    struct self_message *message = bnd_alloc(sizeof *message + total);
    if (message == NULL) {
        return BND_FULL;
    }
    *message = (struct self_message){.kind = (uint8_t)kind, .len = total};
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            memcpy(message->data + at, parts[i].data, parts[i].len);
            at += parts[i].len;
        }
    }
    tcp->self_bytes += total;
    bnd_list_push(&tcp->self_queue, &message->link);
    mesh_wake(tcp);
    return 0;
}

static int mesh_send(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane,
                     enum bnd_mesh_kind kind, const struct bnd_slice *parts, size_t count) {
    struct bnd_mesh_tcp *tcp = tcp_of(mesh);
    BND_ASSERT(count <= BND_MESH_PARTS_MAX);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += parts[i].len;
    }
    if (total > BND_MESH_MESSAGE_MAX) {
        return BND_TOOBIG;
    }
    if (tcp->closing) {
        return BND_CLOSED;
    }
    if (to == tcp->self) {
        return send_self(tcp, kind, parts, count, total);
    }
    struct peer *peer = mesh_find(tcp, to);
    struct link *link = peer == NULL ? NULL : peer->lanes[lane].up;
    if (link == NULL) {
        return BND_CLOSED;
    }
    size_t wire = bnd_frame_wire_bytes(total);
    if (link_queued(link) + wire > tcp->queue_bytes_max[lane] ||
        !bnd_buf_reserve(&link->fill, wire)) {
        link->fill.failed = false;
        return BND_FULL;
    }
    bnd_frame_append(&link->fill, (uint8_t)kind, parts, count);
    BND_ASSERT(!link->fill.failed);
    link_mark_dirty(link);
    return 0;
}

static size_t mesh_queued(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane) {
    struct peer *peer = mesh_find(tcp_of(mesh), to);
    return peer == NULL || peer->lanes[lane].up == NULL ? 0 : link_queued(peer->lanes[lane].up);
}

static bool mesh_up(struct bnd_mesh *mesh, uint64_t node) {
    struct peer *peer = mesh_find(tcp_of(mesh), node);
    return peer != NULL && peer->lanes[BND_MESH_CONTROL].up != NULL;
}

static uint64_t mesh_silence_ns(struct bnd_mesh *mesh, uint64_t node) {
    struct bnd_mesh_tcp *tcp = tcp_of(mesh);
    struct peer *peer = mesh_find(tcp, node);
    return peer == NULL || peer->heard_ns == 0 ? UINT64_MAX : bnd_now_ns(tcp->env) - peer->heard_ns;
}

static bool mesh_clock_offset_ms(struct bnd_mesh *mesh, uint64_t node, int64_t *out_ms) {
    struct bnd_mesh_tcp *tcp = tcp_of(mesh);
    struct peer *peer = mesh_find(tcp, node);
    if (peer == NULL || !peer->clock_known ||
        bnd_now_ns(tcp->env) - peer->clock_ns > CLOCK_STALE_NS) {
        return false;
    }
    *out_ms = peer->clock_offset_ms;
    return true;
}

static const struct bnd_mesh_ops mesh_ops = {
    .self = mesh_self,
    .receive = mesh_receive,
    .watch = mesh_watch,
    .send = mesh_send,
    .queued = mesh_queued,
    .up = mesh_up,
    .silence_ns = mesh_silence_ns,
    .clock_offset_ms = mesh_clock_offset_ms,
};

/* ---- public
 * --------------------------------------------------------------------------------------------- */

static void on_accept(void *data, struct bnd_stream *stream) {
    link_accept(data, stream);
}

int bnd_mesh_tcp_renew(struct bnd_mesh_tcp *tcp, const struct bnd_mesh_tcp_tls *tls,
                       struct bnd_error *err) {
    struct bnd_pki_identity identity;
    int rv = bnd_pki_node_verify(tls->ca_pem, tls->certificate_pem, bnd_wall_ms(tcp->env),
                                 &identity, err);
    if (rv != 0) {
        return BND_WRAP(err, rv == BND_NOMEM ? rv : BND_INVALID, "the node's own certificate");
    }
    if (identity.node != tcp->self ||
        memcmp(identity.cluster, tcp->cluster, sizeof tcp->cluster) != 0) {
        return BND_FAIL(err, INVALID, "the certificate is that of node %llu, or of another cluster",
                        (unsigned long long)identity.node);
    }
    BND_AUTO_BUF struct bnd_buf chain = {0};
    bnd_buf_append_slice(&chain, tls->certificate_pem);
    bnd_buf_append_slice(&chain, tls->ca_pem);
    if (chain.failed) {
        return BND_FAIL(err, NOMEM, "certificate chain");
    }
    struct bnd_tls_config config = {
        .role = BND_TLS_SERVER,
        .verify = tcp->on_join != NULL ? BND_TLS_VERIFY_OPTIONAL : BND_TLS_VERIFY_CA,
        .certificate_pem = bnd_buf_slice(&chain),
        .key_pem = tls->key_pem,
        .ca_pem = tls->ca_pem,
        .tls13_only = true,
    };
    struct bnd_tls_context *server = NULL;
    struct bnd_tls_context *client = NULL;
    rv = bnd_tls_context_create(&config, &server, err);
    if (rv != 0) {
        return rv;
    }
    config.role = BND_TLS_CLIENT;
    config.verify = BND_TLS_VERIFY_CA;
    rv = bnd_tls_context_create(&config, &client, err);
    if (rv != 0) {
        bnd_tls_context_destroy(server);
        return rv;
    }
    bnd_tls_context_destroy(tcp->server_tls);
    bnd_tls_context_destroy(tcp->client_tls);
    tcp->server_tls = server;
    tcp->client_tls = client;
    return 0;
}

static int mesh_init(struct bnd_mesh_tcp *tcp, const struct bnd_mesh_tcp_config *config,
                     struct bnd_error *err) {
    tcp->mesh.ops = &mesh_ops;
    tcp->env = config->env;
    tcp->self = config->self;
    memcpy(tcp->cluster, config->cluster, sizeof tcp->cluster);
    tcp->on_join = config->on_join;
    tcp->join_owner = config->join_owner;
    tcp->is_gone = config->is_gone;
    tcp->admits = config->admits;
    tcp->told_gone = config->told_gone;
    tcp->gone_owner = config->gone_owner;
    for (unsigned i = 0; i < BND_MESH_LANES; i++) {
        size_t bytes =
            config->queue_bytes_max[i] == 0 ? MESH_QUEUE_BYTES : config->queue_bytes_max[i];
        if (bytes < bnd_frame_wire_bytes(BND_MESH_MESSAGE_MAX)) {
            return BND_FAIL(err, INVALID,
                            "a peer queue of %zu bytes does not hold the largest message", bytes);
        }
        tcp->queue_bytes_max[i] = bytes;
    }
    bnd_list_init(&tcp->peers);
    bnd_list_init(&tcp->links);
    bnd_list_init(&tcp->dirty);
    bnd_list_init(&tcp->self_queue);
    tcp->self_task = (struct bnd_task){.cb = deliver_self, .data = tcp};
    tcp->hook = (struct bnd_hook){.cb = flush_all, .data = tcp};
    tcp->tick = (struct bnd_timer){.cb = tick, .data = tcp};
    return bnd_mesh_tcp_renew(tcp, &config->tls, err);
}

int bnd_mesh_tcp_create(const struct bnd_mesh_tcp_config *config, struct bnd_mesh_tcp **out,
                        struct bnd_error *err) {
    struct bnd_env *env = config->env;
    struct bnd_mesh_tcp *tcp = bnd_zalloc(sizeof *tcp);
    if (tcp == NULL) {
        return BND_FAIL(err, NOMEM, "mesh");
    }
    int rv = mesh_init(tcp, config, err);
    if (rv == 0) {
        rv =
            env->ops->listen(env, config->listen_address, 128, on_accept, tcp, &tcp->listener, err);
    }
    if (rv != 0) {
        bnd_tls_context_destroy(tcp->server_tls);
        bnd_tls_context_destroy(tcp->client_tls);
        bnd_free(tcp);
        return rv;
    }
    env->ops->hook_add(env, &tcp->hook);
    bnd_timer_start(env, &tcp->tick, MESH_TICK_NS);
    *out = tcp;
    return 0;
}

struct bnd_mesh *bnd_mesh_tcp_mesh(struct bnd_mesh_tcp *tcp) {
    return &tcp->mesh;
}

void bnd_mesh_tcp_address(struct bnd_mesh_tcp *tcp, char out[BND_ADDRESS_MAX]) {
    tcp->env->ops->listener_address(tcp->env, tcp->listener, out);
}

int bnd_mesh_tcp_set_peer(struct bnd_mesh_tcp *tcp, uint64_t node, const char *address) {
    BND_ASSERT(!tcp->closing);
    if (node == 0 || node == tcp->self || strlen(address) >= BND_ADDRESS_MAX) {
        return BND_INVALID;
    }
    struct peer *peer = mesh_find(tcp, node);
    if (peer != NULL && strcmp(peer->address, address) == 0) {
        return 0;
    }
    bool fresh = peer == NULL;
    if (fresh) {
        peer = bnd_zalloc(sizeof *peer);
        if (peer == NULL) {
            return BND_NOMEM;
        }
        peer->tcp = tcp;
        peer->node = node;
        for (unsigned i = 0; i < BND_MESH_LANES; i++) {
            peer->lanes[i].peer = peer;
            peer->lanes[i].redial = (struct bnd_timer){.cb = redial, .data = &peer->lanes[i]};
        }
        bnd_list_push(&tcp->peers, &peer->in_mesh);
    }
    (void)snprintf(peer->address, sizeof peer->address, "%s", address);
    for (unsigned i = 0; i < BND_MESH_LANES && !fresh; i++) {
        struct link *old = peer->lanes[i].dial; /* goes to the old address */
        peer->lanes[i].dial = NULL;
        if (old != NULL) {
            link_kill(old);
        }
    }
    first_dial(peer);
    return 0;
}

void bnd_mesh_tcp_remove_peer(struct bnd_mesh_tcp *tcp, uint64_t node) {
    struct peer *peer = mesh_find(tcp, node);
    if (peer == NULL) {
        return;
    }
    bnd_link_remove(&peer->in_mesh);
    end_session(peer);
    for (unsigned i = 0; i < BND_MESH_LANES; i++) {
        if (peer->lanes[i].dial != NULL) {
            link_kill(peer->lanes[i].dial);
        }
        bnd_timer_stop(tcp->env, &peer->lanes[i].redial);
    }
    bnd_free(peer);
}

void bnd_mesh_tcp_stats(const struct bnd_mesh_tcp *tcp, struct bnd_mesh_tcp_stats *out) {
    *out = tcp->stats;
}

void mesh_free_if_over(struct bnd_mesh_tcp *tcp) {
    if (!tcp->closing || tcp->self_pending || !bnd_list_empty(&tcp->links)) {
        return;
    }
    void (*on_closed)(void *) = tcp->on_closed;
    void *data = tcp->on_closed_data;
    bnd_tls_context_destroy(tcp->server_tls);
    bnd_tls_context_destroy(tcp->client_tls);
    bnd_free(tcp);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

void bnd_mesh_tcp_close(struct bnd_mesh_tcp *tcp, void (*on_closed)(void *data), void *data) {
    BND_ASSERT(!tcp->closing);
    tcp->closing = true;
    tcp->on_closed = on_closed;
    tcp->on_closed_data = data;
    tcp->env->ops->listener_close(tcp->env, tcp->listener);
    tcp->env->ops->hook_remove(tcp->env, &tcp->hook);
    bnd_timer_stop(tcp->env, &tcp->tick);
    while (!bnd_list_empty(&tcp->peers)) {
        bnd_mesh_tcp_remove_peer(tcp, BND_CONTAINER(tcp->peers.next, struct peer, in_mesh)->node);
    }
    for (struct bnd_link *at = tcp->links.next; at != &tcp->links; at = at->next) {
        link_kill(BND_CONTAINER(at, struct link, in_mesh));
    }
    mesh_wake(tcp); /* frees in a later pass even where no link is left to wait for */
}
