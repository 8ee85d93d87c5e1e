/* The simulated network.
 *
 * Each ordered pair of nodes has a link: whether it is cut, whether its sender believes in the
 * connection, and when its last message arrives. Each unordered pair has one connection, kept by
 * its link with the smaller place first.
 *
 * Invariants: (1) a message is delivered only in the connection it was sent in, after the receiver
 * was told that it is up; (2) within (link, lane) messages arrive in the order of their sending;
 * (3) a node hears "down" before the next "up" of a peer. */
#include "tests/sim/mesh.h"

#include "base/assert.h"
#include "tests/sim/memory.h"

#define WATCHERS_MAX 8
#define BULK_BYTES_PER_US 100

struct link {
    bool cut;
    bool noticed;
    bool up;                          /* the sender has been told that the connection is up */
    uint64_t epoch;                   /* of the connection the sender believes in */
    uint64_t ready_ns;                /* the receiver is told "up" at this time at the latest */
    uint64_t last_ns[BND_MESH_LANES]; /* arrival of the last message */
    size_t queued[BND_MESH_LANES];
    uint64_t heard_ns; /* by the sender, from the receiver; 0: never */
};

enum connection_state { CONNECTION_DOWN, CONNECTION_UP };

/* Between places a < b. timer runs when it is on its way up or down. */
struct connection {
    struct bnd_sim_net *net;
    size_t a, b;
    enum connection_state state;
    bool broken; /* an end died: it must go down whatever the cuts say */
    uint64_t epoch;
    struct bnd_timer timer;
};

struct watcher {
    bnd_mesh_peer_cb cb;
    void *owner;
};

struct receiver {
    bnd_mesh_recv_cb cb;
    void *owner;
};

struct endpoint {
    struct bnd_mesh mesh;
    struct bnd_sim_net *net;
    struct bnd_sim_env *env;
    struct bnd_sim_end end;
    size_t place;
    struct receiver receivers[BND_MESH_KINDS];
    struct watcher watchers[WATCHERS_MAX];
    size_t watchers_count;
};

struct bnd_sim_net {
    struct bnd_sim_world *world;
    struct bnd_sim_net_config config;
    struct bnd_sim_rng rng;
    struct bnd_sim_net_stats stats;
    size_t count;
    uint64_t ids[BND_SIM_NET_NODES];
    struct endpoint *endpoints[BND_SIM_NET_NODES]; /* NULL: not attached */
    struct link links[BND_SIM_NET_NODES][BND_SIM_NET_NODES];
    struct connection connections[BND_SIM_NET_NODES][BND_SIM_NET_NODES];
    bool (*passes)(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                   struct bnd_slice message);
    void *passes_data;
};

static struct endpoint *endpoint_of(struct bnd_mesh *mesh) {
    return BND_CONTAINER(mesh, struct endpoint, mesh);
}

/* The place of an id; net->count if it has none. */
static size_t find_place(const struct bnd_sim_net *net, uint64_t id) {
    size_t place = 0;
    while (place < net->count && net->ids[place] != id) {
        place++;
    }
    return place;
}

static size_t make_place(struct bnd_sim_net *net, uint64_t id) {
    size_t place = find_place(net, id);
    if (place == net->count) {
        BND_ASSERT(net->count < BND_SIM_NET_NODES);
        net->ids[net->count++] = id;
    }
    return place;
}

static struct connection *connection_of(struct bnd_sim_net *net, size_t a, size_t b) {
    return a < b ? &net->connections[a][b] : &net->connections[b][a];
}

/* ---- messages
 * --------------------------------------------------------------------------------------- */

struct message {
    struct bnd_sim_event event;
    struct bnd_sim_net *net;
    size_t from, to;
    enum bnd_mesh_lane lane;
    enum bnd_mesh_kind kind;
    uint64_t epoch; /* 0: to itself */
    size_t len;
    uint8_t data[];
};

static void message_free(struct message *message) {
    if (message->epoch != 0) {
        message->net->links[message->from][message->to].queued[message->lane] -= message->len;
    }
    bnd_sim_free(message);
}

static void drop_message(struct bnd_sim_event *event) {
    struct message *message = BND_CONTAINER(event, struct message, event);
    message->net->stats.lost++;
    message_free(message);
}

static void run_message(struct bnd_sim_event *event) {
    struct message *message = BND_CONTAINER(event, struct message, event);
    struct bnd_sim_net *net = message->net;
    struct link *back = &net->links[message->to][message->from];
    struct endpoint *to = net->endpoints[message->to];
    bool arrives = message->epoch == 0 || (!net->links[message->from][message->to].cut &&
                                           back->up && back->epoch == message->epoch);
    if (!arrives || to == NULL) {
        drop_message(event);
        return;
    }
    struct bnd_slice data = bnd_slice(message->data, message->len);
    bnd_sim_trace(net->world, "msg ", net->ids[message->from], net->ids[message->to], data);
    net->stats.delivered++;
    back->heard_ns = bnd_sim_world_now_ns(net->world);
    const struct receiver *receiver = &to->receivers[message->kind];
    if (receiver->cb != NULL) {
        receiver->cb(receiver->owner, net->ids[message->from], data);
    }
    message_free(message);
}

static uint64_t draw_delay_ns(struct bnd_sim_net *net) {
    const struct bnd_sim_net_config *c = &net->config;
    bool slow = bnd_sim_rng_chance(&net->rng, c->slow_per_mille);
    return bnd_sim_rng_range(&net->rng, c->delay_ns_min, slow ? c->delay_ns_slow : c->delay_ns_max);
}

static size_t joined_len(const struct bnd_slice *parts, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    return len;
}

static struct message *message_make(struct endpoint *from, size_t to, const struct bnd_slice *parts,
                                    size_t count) {
    size_t len = joined_len(parts, count);
    struct message *message = bnd_sim_zalloc(sizeof *message + len);
    message->event.run = run_message;
    message->event.drop = drop_message;
    message->net = from->net;
    message->from = from->place;
    message->to = to;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            memcpy(message->data + message->len, parts[i].data, parts[i].len);
        }
        message->len += parts[i].len;
    }
    return message;
}

/* When it arrives: never before the one sent before it, nor before the receiver knows of the
 * connection. */
static uint64_t arrival_ns(struct bnd_sim_net *net, struct link *link,
                           const struct message *message) {
    uint64_t due_ns = bnd_sim_world_now_ns(net->world) + draw_delay_ns(net);
    due_ns = due_ns > link->ready_ns ? due_ns : link->ready_ns + 1;
    due_ns += message->len / BULK_BYTES_PER_US * 1000;
    uint64_t *last_ns = &link->last_ns[message->lane];
    *last_ns = due_ns > *last_ns ? due_ns : *last_ns + 1;
    return *last_ns;
}

static int op_send(struct bnd_mesh *mesh, uint64_t to_id, enum bnd_mesh_lane lane,
                   enum bnd_mesh_kind kind, const struct bnd_slice *parts, size_t count) {
    struct endpoint *from = endpoint_of(mesh);
    struct bnd_sim_net *net = from->net;
    BND_ASSERT(count <= BND_MESH_PARTS_MAX);
    BND_ASSERT(to_id != 0); /* nobody */
    BND_ASSERT(kind > 0 && kind < BND_MESH_KINDS && lane < BND_MESH_LANES);
    size_t len = joined_len(parts, count);
    if (len > BND_MESH_MESSAGE_MAX) {
        return BND_TOOBIG;
    }
    size_t to = find_place(net, to_id);
    if (to == from->place) {
        struct message *message = message_make(from, to, parts, count);
        message->kind = kind;
        bnd_sim_env_at(from->env, &message->event, 1000);
        return 0;
    }
    if (to == net->count || !net->links[from->place][to].up) {
        return BND_CLOSED;
    }
    struct link *link = &net->links[from->place][to];
    if (link->queued[lane] + len > BND_SIM_NET_QUEUE_BYTES ||
        bnd_sim_rng_chance(&net->rng, net->config.full_per_mille)) {
        return BND_FULL;
    }
    struct message *message = message_make(from, to, parts, count);
    message->lane = lane;
    message->kind = kind;
    message->epoch = link->epoch;
    link->queued[lane] += len;
    net->stats.sent++;
    bool lost = bnd_sim_rng_chance(&net->rng, net->config.loss_per_mille) || link->cut ||
                net->endpoints[to] == NULL ||
                (net->passes != NULL && !net->passes(net->passes_data, net->ids[from->place], to_id,
                                                     kind, bnd_slice(message->data, message->len)));
    if (lost) {
        drop_message(&message->event);
        return 0;
    }
    uint64_t due_ns = arrival_ns(net, link, message);
    bnd_sim_env_at(net->endpoints[to]->env, &message->event,
                   due_ns - bnd_sim_world_now_ns(net->world));
    return 0;
}

/* ---- connections
 * ------------------------------------------------------------------------------------ */

/* Tells one end, on its loop, that the connection came up or went down. */
struct notice {
    struct bnd_sim_event event;
    struct bnd_sim_net *net;
    size_t at, peer;
    bool up;
    uint64_t epoch;
};

static void drop_notice(struct bnd_sim_event *event) {
    bnd_sim_free(BND_CONTAINER(event, struct notice, event));
}

static void tell(struct bnd_sim_net *net, size_t at, size_t peer, bool up) {
    const struct endpoint *endpoint = net->endpoints[at];
    bnd_sim_trace(net->world, up ? "up  " : "down", net->ids[at], net->ids[peer],
                  (struct bnd_slice){0});
    for (size_t i = 0; i < endpoint->watchers_count; i++) {
        endpoint->watchers[i].cb(endpoint->watchers[i].owner, net->ids[peer], up);
    }
}

static void run_notice(struct bnd_sim_event *event) {
    struct notice notice = *BND_CONTAINER(event, struct notice, event);
    bnd_sim_free(BND_CONTAINER(event, struct notice, event));
    struct bnd_sim_net *net = notice.net;
    struct link *link = &net->links[notice.at][notice.peer];
    if (net->endpoints[notice.at] == NULL) {
        return;
    }
    if (link->up && (!notice.up || link->epoch != notice.epoch)) {
        link->up = false;
        tell(net, notice.at, notice.peer, false);
    }
    if (notice.up && !link->up) {
        link->up = true;
        link->epoch = notice.epoch;
        link->heard_ns = bnd_sim_world_now_ns(net->world);
        tell(net, notice.at, notice.peer, true);
    }
}

/* Notices of one connection reach an end in order: up to 1 ms from now, after the last one's time.
 */
static void send_notice(struct bnd_sim_net *net, size_t at, size_t peer, bool up, uint64_t epoch) {
    if (net->endpoints[at] == NULL) {
        return;
    }
    struct notice *notice = bnd_sim_zalloc(sizeof *notice);
    *notice = (struct notice){.net = net, .at = at, .peer = peer, .up = up, .epoch = epoch};
    notice->event.run = run_notice;
    notice->event.drop = drop_notice;
    struct link *towards = &net->links[peer][at]; /* what the peer sends must wait for our "up" */
    uint64_t now_ns = bnd_sim_world_now_ns(net->world);
    uint64_t due_ns = now_ns + bnd_sim_rng_below(&net->rng, BND_MS);
    due_ns = due_ns > towards->ready_ns ? due_ns : towards->ready_ns + 1;
    towards->ready_ns = due_ns;
    bnd_sim_env_at(net->endpoints[at]->env, &notice->event, due_ns - now_ns);
}

static bool wanted(const struct bnd_sim_net *net, size_t a, size_t b) {
    const struct link *there = &net->links[a][b];
    const struct link *back = &net->links[b][a];
    return net->endpoints[a] != NULL && net->endpoints[b] != NULL &&
           !(there->cut && there->noticed) && !(back->cut && back->noticed);
}

/* Starts what the connection needs to get where it should be. */
static void refresh(struct bnd_sim_net *net, struct connection *c) {
    bool want = wanted(net, c->a, c->b) && !c->broken;
    if (c->timer.place != 0 || want == (c->state == CONNECTION_UP)) {
        return;
    }
    uint64_t delay_ns = bnd_sim_rng_below(&net->rng, want ? net->config.connect_ns_max + 1
                                                          : net->config.notice_ns_max + 1);
    bnd_sim_world_at(net->world, &c->timer, delay_ns);
}

static void on_connection(struct bnd_timer *timer) {
    struct connection *c = timer->data;
    struct bnd_sim_net *net = c->net;
    bool want = wanted(net, c->a, c->b) && !c->broken;
    if (c->state == CONNECTION_DOWN && want) {
        /* None can be made while either direction is cut, noticed or not. */
        if (net->links[c->a][c->b].cut || net->links[c->b][c->a].cut) {
            bnd_sim_world_at(net->world, timer, net->config.connect_ns_max + 1);
            return;
        }
        c->state = CONNECTION_UP;
        c->epoch++;
        net->stats.connections++;
        send_notice(net, c->a, c->b, true, c->epoch);
        send_notice(net, c->b, c->a, true, c->epoch);
    } else if (c->state == CONNECTION_UP && !want) {
        c->state = CONNECTION_DOWN;
        c->broken = false;
        send_notice(net, c->a, c->b, false, c->epoch);
        send_notice(net, c->b, c->a, false, c->epoch);
    }
    refresh(net, c);
}

static void refresh_all(struct bnd_sim_net *net) {
    for (size_t a = 0; a < net->count; a++) {
        for (size_t b = a + 1; b < net->count; b++) {
            refresh(net, &net->connections[a][b]);
        }
    }
}

/* ---- the table
 * -------------------------------------------------------------------------------------- */

static uint64_t op_self(struct bnd_mesh *mesh) {
    return bnd_sim_env_node(endpoint_of(mesh)->env);
}

static void op_receive(struct bnd_mesh *mesh, enum bnd_mesh_kind kind, bnd_mesh_recv_cb cb,
                       void *owner) {
    BND_ASSERT(kind > 0 && kind < BND_MESH_KINDS);
    endpoint_of(mesh)->receivers[kind] = (struct receiver){.cb = cb, .owner = owner};
}

static void op_watch(struct bnd_mesh *mesh, bnd_mesh_peer_cb cb, void *owner) {
    struct endpoint *endpoint = endpoint_of(mesh);
    BND_ASSERT(endpoint->watchers_count < WATCHERS_MAX);
    endpoint->watchers[endpoint->watchers_count++] = (struct watcher){.cb = cb, .owner = owner};
    for (size_t peer = 0; peer < endpoint->net->count; peer++) {
        if (endpoint->net->links[endpoint->place][peer].up) {
            cb(owner, endpoint->net->ids[peer], true);
        }
    }
}

static size_t op_queued(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane) {
    const struct endpoint *endpoint = endpoint_of(mesh);
    size_t place = find_place(endpoint->net, to);
    return place == endpoint->net->count
               ? 0
               : endpoint->net->links[endpoint->place][place].queued[lane];
}

static bool op_up(struct bnd_mesh *mesh, uint64_t node) {
    const struct endpoint *endpoint = endpoint_of(mesh);
    size_t place = find_place(endpoint->net, node);
    return place < endpoint->net->count && endpoint->net->links[endpoint->place][place].up;
}

static uint64_t op_silence_ns(struct bnd_mesh *mesh, uint64_t node) {
    const struct endpoint *endpoint = endpoint_of(mesh);
    size_t place = find_place(endpoint->net, node);
    if (place == endpoint->net->count ||
        endpoint->net->links[endpoint->place][place].heard_ns == 0) {
        return UINT64_MAX;
    }
    return bnd_sim_world_now_ns(endpoint->net->world) -
           endpoint->net->links[endpoint->place][place].heard_ns;
}

/* Exact, as if the last ping had taken no time. */
static bool op_clock_offset_ms(struct bnd_mesh *mesh, uint64_t node, int64_t *out_ms) {
    const struct endpoint *endpoint = endpoint_of(mesh);
    size_t place = find_place(endpoint->net, node);
    if (!op_up(mesh, node) || endpoint->net->endpoints[place] == NULL) {
        return false;
    }
    uint64_t theirs = bnd_wall_ms(bnd_sim_env(endpoint->net->endpoints[place]->env));
    *out_ms = (int64_t)(theirs - bnd_wall_ms(bnd_sim_env(endpoint->env)));
    return true;
}

static const struct bnd_mesh_ops mesh_ops = {
    .self = op_self,
    .receive = op_receive,
    .watch = op_watch,
    .send = op_send,
    .queued = op_queued,
    .up = op_up,
    .silence_ns = op_silence_ns,
    .clock_offset_ms = op_clock_offset_ms,
};

/* ---- life
 * ------------------------------------------------------------------------------------------- */

void bnd_sim_net_config_default(struct bnd_sim_net_config *config) {
    *config = (struct bnd_sim_net_config){
        .delay_ns_min = BND_MS / 10,
        .delay_ns_max = 5 * BND_MS,
        .delay_ns_slow = 200 * BND_MS,
        .slow_per_mille = 20,
        .loss_per_mille = 5,
        .connect_ns_max = 50 * BND_MS,
        .notice_ns_max = 500 * BND_MS,
    };
}

struct bnd_sim_net *bnd_sim_net_create(struct bnd_sim_world *world,
                                       const struct bnd_sim_net_config *config) {
    struct bnd_sim_net *net = bnd_sim_zalloc(sizeof *net);
    net->world = world;
    bnd_sim_net_config_default(&net->config);
    if (config != NULL) {
        net->config = *config;
    }
    bnd_sim_rng_init(&net->rng, bnd_sim_world_seed(world), "net", 0);
    for (size_t a = 0; a < BND_SIM_NET_NODES; a++) {
        for (size_t b = a + 1; b < BND_SIM_NET_NODES; b++) {
            struct connection *c = &net->connections[a][b];
            *c = (struct connection){.net = net, .a = a, .b = b};
            c->timer.cb = on_connection;
            c->timer.data = c;
        }
    }
    return net;
}

void bnd_sim_net_destroy(struct bnd_sim_net *net) {
    if (net == NULL) {
        return;
    }
    for (size_t a = 0; a < net->count; a++) {
        BND_ASSERT(net->endpoints[a] == NULL);
        for (size_t b = a + 1; b < net->count; b++) {
            bnd_sim_world_cancel(net->world, &net->connections[a][b].timer);
        }
    }
    bnd_sim_free(net);
}

void bnd_sim_net_configure(struct bnd_sim_net *net, const struct bnd_sim_net_config *config) {
    net->config = *config;
}

static void endpoint_leave(struct endpoint *endpoint) {
    struct bnd_sim_net *net = endpoint->net;
    net->endpoints[endpoint->place] = NULL;
    for (size_t peer = 0; peer < net->count; peer++) {
        if (peer == endpoint->place) {
            continue;
        }
        net->links[endpoint->place][peer].up = false;
        net->links[endpoint->place][peer].heard_ns = 0;
        struct connection *c = connection_of(net, endpoint->place, peer);
        c->broken = c->state == CONNECTION_UP;
        refresh(net, c);
    }
    bnd_sim_free(endpoint);
}

static void on_end(struct bnd_sim_end *end, bool crashed) {
    endpoint_leave(end->data);
}

struct bnd_mesh *bnd_sim_net_attach(struct bnd_sim_net *net, struct bnd_sim_env *env) {
    struct endpoint *endpoint = bnd_sim_zalloc(sizeof *endpoint);
    endpoint->mesh.ops = &mesh_ops;
    endpoint->net = net;
    endpoint->env = env;
    endpoint->place = make_place(net, bnd_sim_env_node(env));
    endpoint->end = (struct bnd_sim_end){.cb = on_end, .data = endpoint};
    BND_ASSERT(net->endpoints[endpoint->place] == NULL);
    net->endpoints[endpoint->place] = endpoint;
    bnd_sim_env_on_end(env, &endpoint->end);
    refresh_all(net);
    return &endpoint->mesh;
}

void bnd_sim_net_detach(struct bnd_mesh *mesh) {
    struct endpoint *endpoint = endpoint_of(mesh);
    bnd_sim_env_not_on_end(&endpoint->end);
    endpoint_leave(endpoint);
}

/* ---- faults
 * ----------------------------------------------------------------------------------------- */

void bnd_sim_net_cut(struct bnd_sim_net *net, uint64_t from, uint64_t to, bool cut, bool noticed) {
    struct link *link = &net->links[make_place(net, from)][make_place(net, to)];
    link->cut = cut;
    link->noticed = noticed;
    refresh_all(net);
}

void bnd_sim_net_isolate(struct bnd_sim_net *net, uint64_t node, bool noticed) {
    for (size_t peer = 0; peer < net->count; peer++) {
        if (net->ids[peer] != node) {
            bnd_sim_net_cut(net, node, net->ids[peer], true, noticed);
            bnd_sim_net_cut(net, net->ids[peer], node, true, noticed);
        }
    }
}

void bnd_sim_net_heal(struct bnd_sim_net *net) {
    for (size_t a = 0; a < net->count; a++) {
        for (size_t b = 0; b < net->count; b++) {
            net->links[a][b].cut = false;
        }
    }
    refresh_all(net);
}

void bnd_sim_net_filter(struct bnd_sim_net *net,
                        bool (*passes)(void *data, uint64_t from, uint64_t to,
                                       enum bnd_mesh_kind kind, struct bnd_slice message),
                        void *data) {
    net->passes = passes;
    net->passes_data = data;
}

void bnd_sim_net_stats(const struct bnd_sim_net *net, struct bnd_sim_net_stats *out) {
    *out = net->stats;
}
