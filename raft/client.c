/* The shard client (raft/client.h): one call, attempt after attempt, until it has an outcome.
 *
 *     start ──> aim ──> ask ──answer of state machine or executor──────> outcome
 *                ^        │
 *                └─ wait ─┴─ not leader, busy, lost  (jittered, bounded)
 *
 * Invariants:
 *  1. A write (here always WRITE or EXECUTE) keeps its id and deadline over all attempts. Only when
 *     it was certainly never executed (no attempt went without an answer) may it get a new deadline,
 *     after BND_EXPIRED or BND_INVALID told that our idea of the cluster's time is wrong.
 *  2. `maybe` is set before an attempt leaves and cleared only by an answer that says "not
 *     executed" to the only attempt that ever left.
 *  3. low_seq is the lowest seq of a WRITE whose caller has no answer yet; for EXECUTE, which may
 *     run for long, the lowest in its group. The two have minters of their own.
 *  4. A caller is answered once, never from inside bnd_shard_call.
 *
 * A host cannot forget a proposal or read: a call given up meanwhile stays as an orphan without a
 * caller until the host answers. */
#include "raft/client.h"

#include "base/alloc.h"
#include "raft/execute.h"
#include "raft/host_private.h"
#include "raft/shard_serve.h"
#include "raft/shard_wire.h"

#define CALL_NS_DEFAULT (UINT64_C(15000) * BND_MS)
#define CALL_NS_MAX (UINT64_C(30000) * BND_MS)
#define ATTEMPT_NS_MAX (UINT64_C(3000) * BND_MS)
/* Of EXECUTE, for answers that are lost on the way: who executes joins the next attempt to the
 * first. */
#define EXECUTE_NS_MAX (UINT64_C(10000) * BND_MS)
#define DEADLINE_MS UINT64_C(30000)
#define WAIT_NS_MIN (UINT64_C(5) * BND_MS)
#define WAIT_NS_MAX (UINT64_C(320) * BND_MS)

struct route {
    uint64_t gid;
    uint64_t *nodes;
    size_t count, cap;
    size_t turn;     /* which node is asked next when no leader is known */
    uint64_t leader; /* last known; 0: none */
    /* The group's time where it is not the others', as after a clock that jumped; 0: it is. */
    uint64_t stamp_ms, stamp_at_ns;
};

enum { KINDS = BND_SHARD_EXECUTE + 1 };
enum asking { ASKING_NOBODY, ASKING_HOST, ASKING_EXECUTOR, ASKING_PEER, ASKING_STAMP };

struct op {
    struct bnd_shard_client *client; /* NULL: an orphan */
    struct bnd_shard_call *call;
    struct bnd_link link; /* in client.calls of its kind */
    enum bnd_shard_call_kind kind;
    uint64_t gid;
    uint64_t seq;         /* of a write */
    uint64_t deadline_ms; /* 0: not minted */
    uint64_t due_ns;
    uint64_t asked; /* node */
    enum asking asking;
    bool maybe; /* a write that may be or become executed by an attempt without an answer */
    bool relearns; /* the group's time, before it mints its deadline anew */
    bool over;  /* final holds the outcome, to be told by the timer */
    int final;
    unsigned waits;
    struct bnd_timer timer;
    union {
        struct bnd_raft_propose propose;
        struct bnd_raft_read read;
        struct bnd_rpc_call rpc;
        struct execution *execution;
    };
    size_t len;
    uint8_t bytes[];
};

/* The calls of one kind. */
struct calls {
    struct bnd_link ops;       /* writes: in order of seq */
    uint64_t minter, seq_last; /* of writes; 0: none yet */
};

struct bnd_shard_client {
    struct bnd_shard_client_config config;
    struct route *routes; /* sorted by gid */
    size_t routes_count, routes_cap;
    struct calls calls[KINDS];
    size_t ops_count, ops_bytes;
    uint64_t stamp_ms; /* 0: the cluster's time is not known */
    uint64_t stamp_at_ns;
    struct bnd_buf head; /* of the request on its way out */
};

static void aim(struct op *op);
static void ask(struct op *op, uint64_t node);

/* Has it an id, so that it must not be executed twice? */
static bool is_write(const struct op *op) {
    return op->kind != BND_SHARD_READ;
}

static struct calls *calls_of(const struct op *op) {
    return &op->client->calls[op->kind];
}

/* ---- the cluster's time -----------------------------------------------------------------------*/

static uint64_t cluster_ms(const struct bnd_shard_client *client) {
    return client->stamp_ms + (bnd_now_ns(client->config.env) - client->stamp_at_ns) / BND_MS;
}

static void learn_stamp(struct bnd_shard_client *client, uint64_t stamp_ms) {
    if (client->stamp_ms == 0 || stamp_ms > cluster_ms(client)) {
        client->stamp_ms = stamp_ms;
        client->stamp_at_ns = bnd_now_ns(client->config.env);
    }
}

/* ---- routes -----------------------------------------------------------------------------------*/

static size_t route_place(const struct bnd_shard_client *client, uint64_t gid) {
    size_t low = 0;
    size_t high = client->routes_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (client->routes[middle].gid < gid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct route *route_find(const struct bnd_shard_client *client, uint64_t gid) {
    size_t at = route_place(client, gid);
    bool found = at < client->routes_count && client->routes[at].gid == gid;
    return found ? &client->routes[at] : NULL;
}

/* NULL: no memory. */
static struct route *route_make(struct bnd_shard_client *client, uint64_t gid) {
    struct route *route = route_find(client, gid);
    if (route != NULL || !BND_ROOM(client->routes, client->routes_count, client->routes_cap, 64)) {
        return route;
    }
    size_t at = route_place(client, gid);
    route = &client->routes[at];
    memmove(route + 1, route, (client->routes_count - at) * sizeof *route);
    *route = (struct route){.gid = gid};
    client->routes_count++;
    return route;
}

static uint64_t group_ms(const struct bnd_shard_client *client, uint64_t gid) {
    const struct route *route = route_find(client, gid);
    if (route == NULL || route->stamp_ms == 0) {
        return cluster_ms(client);
    }
    return route->stamp_ms + (bnd_now_ns(client->config.env) - route->stamp_at_ns) / BND_MS;
}

static void learn_group_stamp(struct op *op, uint64_t stamp_ms) {
    struct route *route = route_find(op->client, op->gid);
    op->relearns = false;
    if (route != NULL) {
        route->stamp_ms = stamp_ms;
        route->stamp_at_ns = bnd_now_ns(op->client->config.env);
    }
}

static void route_add(struct route *route, uint64_t node) {
    for (size_t i = 0; i < route->count; i++) {
        if (route->nodes[i] == node) {
            return;
        }
    }
    if (BND_ROOM(route->nodes, route->count, route->cap, 4)) {
        route->nodes[route->count++] = node;
    }
}

void bnd_shard_client_members(struct bnd_shard_client *client, uint64_t gid, const uint64_t *nodes,
                              size_t count) {
    struct route *route = route_make(client, gid);
    if (route == NULL) {
        return; /* calls wait for members until the map is told again */
    }
    route->count = 0;
    route->turn = 0;
    for (size_t i = 0; i < count; i++) {
        route_add(route, nodes[i]);
    }
}

void bnd_shard_client_member_add(struct bnd_shard_client *client, uint64_t gid, uint64_t node) {
    struct route *route = route_make(client, gid);
    if (route != NULL) {
        route_add(route, node);
    }
}

uint64_t bnd_shard_client_leader(const struct bnd_shard_client *client, uint64_t gid) {
    uint64_t here = client->config.host == NULL ? 0 : shard_leader(client->config.host, gid);
    if (here != 0) {
        return here;
    }
    const struct route *route = route_find(client, gid);
    return route == NULL ? 0 : route->leader;
}

static void set_leader(struct bnd_shard_client *client, uint64_t gid, uint64_t node) {
    struct route *route = route_find(client, gid);
    if (route != NULL) {
        route->leader = node;
    }
}

/* The node to ask now; 0: none is known. */
static uint64_t target(struct op *op) {
    uint64_t leader = bnd_shard_client_leader(op->client, op->gid);
    /* Whoever just said no is not asked twice in a row if another can be. */
    if (leader != 0 && (leader != op->asked || op->waits == 0)) {
        return leader;
    }
    struct route *route = route_find(op->client, op->gid);
    if (route == NULL || route->count == 0) {
        return leader;
    }
    return route->nodes[route->turn++ % route->count];
}

/* ---- outcomes ---------------------------------------------------------------------------------*/

/* Takes the op from its client and caller. What a host still holds of it comes back to an orphan.
 */
static void retire(struct op *op) {
    struct bnd_shard_client *client = op->client;
    bnd_link_remove(&op->link);
    client->ops_count--;
    client->ops_bytes -= op->len;
    bnd_timer_stop(client->config.env, &op->timer);
    if (op->asking == ASKING_PEER || op->asking == ASKING_STAMP) {
        bnd_rpc_cancel(&op->rpc);
    } else if (op->asking == ASKING_EXECUTOR) {
        execute_forget(op->execution);
    }
    if (op->call != NULL) {
        op->call->priv[0] = NULL;
    }
    op->client = NULL;
    op->call = NULL;
    if (op->asking != ASKING_HOST) {
        bnd_free(op);
    }
}

static void finish(struct op *op, int status, struct bnd_slice reply) {
    struct bnd_shard_call *call = op->call;
    retire(op); /* frees it; reply is not in it */
    call->cb(call, status, reply);
}

static int given_up(const struct op *op) {
    bool asking = op->asking != ASKING_NOBODY && op->asking != ASKING_STAMP;
    bool unknown = is_write(op) && (op->maybe || asking);
    return unknown ? BND_UNKNOWN : BND_UNAVAILABLE;
}

/* Told later: the caller may be inside bnd_shard_call. */
static void finish_later(struct op *op, int status) {
    op->over = true;
    op->final = status;
    bnd_timer_start(op->client->config.env, &op->timer, 0);
}

/* Waits, longer each time, then asks again; or ends at the due time. */
static void wait_and_retry(struct op *op) {
    struct bnd_env *env = op->client->config.env;
    uint64_t now = bnd_now_ns(env);
    uint64_t wait = WAIT_NS_MIN << (op->waits < 6 ? op->waits : 6);
    wait = wait < WAIT_NS_MAX ? wait : WAIT_NS_MAX;
    wait = wait / 2 + bnd_random(env) % (wait / 2 + 1);
    uint64_t left = op->due_ns > now ? op->due_ns - now : 0;
    op->waits++;
    bnd_timer_start(env, &op->timer, wait < left ? wait : left);
}

static void on_timer(struct bnd_timer *timer) {
    struct op *op = timer->data;
    if (op->over) {
        finish(op, op->final, bnd_slice(NULL, 0));
    } else if (bnd_now_ns(op->client->config.env) >= op->due_ns) {
        finish(op, given_up(op), bnd_slice(NULL, 0));
    } else if (op->asking == ASKING_NOBODY) {
        aim(op);
    }
}

/* Our idea of the group's time was refused: learn it from who is asked next, or say that nobody
 * knows. */
static void wrong_time(struct op *op) {
    op->relearns = true;
    if (op->maybe) {
        finish_later(op, BND_UNKNOWN);
        return;
    }
    op->deadline_ms = 0;
    wait_and_retry(op);
}

/* An attempt ended without an outcome. certain: this attempt was not and will not be executed. */
static void failed(struct op *op, int status, uint64_t hint, bool certain) {
    if (!certain) {
        op->maybe = is_write(op);
    }
    op->asking = ASKING_NOBODY;
    switch (status) {
    case BND_TOOBIG:
        finish_later(op, BND_TOOBIG);
        return;
    case BND_EXPIRED:
    case BND_INVALID:
        wrong_time(op);
        return;
    case BND_NOSPACE:
        if (!op->maybe) {
            finish_later(op, BND_NOSPACE);
            return;
        }
        /* An earlier attempt may have been executed: only time tells. */
        __attribute__((fallthrough));
    case BND_BUSY:
    case BND_FULL:
        wait_and_retry(op); /* the right node, at a bad time */
        return;
    default:
        break;
    }
    set_leader(op->client, op->gid, hint);
    if (hint != 0 && hint != op->asked && op->waits < 3) {
        op->waits++;
        bnd_timer_start(op->client->config.env, &op->timer, 0);
        return;
    }
    wait_and_retry(op);
}

/* ---- attempts ---------------------------------------------------------------------------------*/

static void on_proposed(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct op *op = propose->data;
    op->asking = ASKING_NOBODY;
    if (op->client == NULL) {
        bnd_free(op);
    } else if (propose_executed(propose)) {
        finish(op, status, reply);
    } else {
        failed(op, status, 0, status != BND_UNKNOWN);
    }
}

static void on_executed(void *data, bool executed, int status, struct bnd_slice bytes) {
    struct op *op = data;
    op->asking = ASKING_NOBODY;
    if (executed) {
        finish(op, status, bytes);
    } else {
        failed(op, status, 0, status != BND_UNKNOWN);
    }
}

static void on_read(struct bnd_raft_read *read, int status, const struct bnd_fsm_read *context) {
    struct op *op = read->data;
    op->asking = ASKING_NOBODY;
    if (op->client == NULL) {
        bnd_free(op);
        return;
    }
    if (status != 0) {
        failed(op, status, 0, true);
        return;
    }
    BND_AUTO_BUF struct bnd_buf reply = {0};
    struct bnd_raft_host *host = op->client->config.host;
    int rv = shard_query(host, context, bnd_slice(op->bytes, op->len), &reply);
    finish(op, rv, bnd_buf_slice(&reply));
}

static void on_rpc(struct bnd_rpc_call *rpc, int status, struct bnd_slice bytes) {
    struct op *op = rpc->data;
    bool stamp = op->asking == ASKING_STAMP;
    struct shard_reply reply = {0};
    op->asking = ASKING_NOBODY;
    if (status != 0 || shard_reply_decode(bytes, &reply) != 0) {
        failed(op, BND_UNAVAILABLE, 0, stamp);
        return;
    }
    if (stamp && op->relearns) {
        learn_group_stamp(op, reply.stamp_ms);
    } else if (reply.stamp_ms > 0) {
        learn_stamp(op->client, reply.stamp_ms);
    }
    if (stamp) {
        ask(op, op->asked);
    } else if (reply.executed) {
        set_leader(op->client, op->gid, op->asked);
        finish(op, reply.status, reply.body);
    } else {
        failed(op, reply.status, reply.leader, reply.status != BND_UNKNOWN);
    }
}

static uint64_t low_seq(const struct op *op) {
    const struct bnd_link *link = calls_of(op)->ops.next; /* op itself ends the search */
    while (op->kind == BND_SHARD_EXECUTE &&
           BND_CONTAINER(link, const struct op, link)->gid != op->gid) {
        link = link->next;
    }
    return BND_CONTAINER(link, const struct op, link)->seq;
}

static struct bnd_raft_request_id id_of(const struct op *op) {
    return (struct bnd_raft_request_id){.minter = calls_of(op)->minter, .seq = op->seq};
}

static int ask_executor(struct op *op) {
    const struct execute_request request = {
        .gid = op->gid,
        .id = id_of(op),
        .low_seq = low_seq(op),
        .deadline_ms = op->deadline_ms,
        .body = bnd_slice(op->bytes, op->len),
    };
    op->asking = ASKING_EXECUTOR;
    return execute_begin(op->client->config.host, &request, on_executed, op, &op->execution);
}

static void ask_host(struct op *op) {
    struct bnd_raft_host *host = op->client->config.host;
    int rv = 0;
    op->asking = ASKING_HOST;
    if (op->kind == BND_SHARD_EXECUTE) {
        rv = ask_executor(op);
    } else if (op->kind == BND_SHARD_WRITE) {
        op->propose = (struct bnd_raft_propose){
            .id = id_of(op),
            .low_seq = low_seq(op),
            .deadline_ms = op->deadline_ms,
            .command = bnd_slice(op->bytes, op->len),
            .cb = on_proposed,
            .data = op,
        };
        rv = bnd_raft_propose(host, op->gid, &op->propose);
    } else {
        op->read = (struct bnd_raft_read){.cb = on_read, .data = op};
        rv = bnd_raft_read(host, op->gid, &op->read);
    }
    if (rv != 0) {
        failed(op, rv, 0, true);
    }
}

static void ask_peer(struct op *op, enum shard_kind kind) {
    struct bnd_shard_client *client = op->client;
    uint64_t attempt_ns = kind == SHARD_EXECUTE ? EXECUTE_NS_MAX : ATTEMPT_NS_MAX;
    const struct shard_request request = {
        .kind = kind,
        .gid = op->gid,
        .id = id_of(op),
        .low_seq = shard_has_id(kind) ? low_seq(op) : 0,
        .deadline_ms = op->deadline_ms,
    };
    shard_request_head(&request, &client->head);
    if (client->head.failed) {
        failed(op, BND_BUSY, 0, true);
        return;
    }
    const struct bnd_slice parts[] = {bnd_buf_slice(&client->head), bnd_slice(op->bytes, op->len)};
    uint64_t left = op->due_ns - bnd_now_ns(client->config.env);
    op->asking = kind == SHARD_STAMP ? ASKING_STAMP : ASKING_PEER;
    op->rpc = (struct bnd_rpc_call){.cb = on_rpc, .data = op};
    enum bnd_mesh_lane lane = kind == SHARD_EXECUTE && op->len > SHARD_BULK_BYTES
                                  ? BND_MESH_BULK
                                  : BND_MESH_CONTROL;
    int rv =
        bnd_rpc_call(client->config.rpc, &op->rpc, op->asked, lane, BND_RPC_SHARD, parts,
                     kind == SHARD_STAMP ? 1 : 2, left < attempt_ns ? left : attempt_ns);
    if (rv != 0) {
        failed(op, rv, 0, true);
    }
}

/* One attempt at a node. A first write learns the cluster's time there before it mints its
 * deadline: a gateway's clock may say anything. */
static void ask(struct op *op, uint64_t node) {
    struct bnd_shard_client *client = op->client;
    struct bnd_raft_host *host = client->config.host;
    bool here = host != NULL && node == shard_node_id(host);
    uint64_t now = bnd_now_ns(client->config.env);
    op->asked = node;
    if (now >= op->due_ns) {
        finish_later(op, given_up(op));
        return;
    }
    bnd_timer_start(client->config.env, &op->timer, op->due_ns - now);
    if (is_write(op) && op->deadline_ms == 0) {
        if (here && op->relearns) {
            learn_group_stamp(op, host_group_now_ms(host, op->gid));
        } else if (here && client->stamp_ms == 0) {
            learn_stamp(client, host_group_now_ms(host, op->gid));
        }
        if (client->stamp_ms == 0 || op->relearns) {
            ask_peer(op, SHARD_STAMP);
            return;
        }
        op->deadline_ms = group_ms(client, op->gid) + DEADLINE_MS;
    }
    if (here) {
        ask_host(op);
    } else {
        static const enum shard_kind kinds[] = {SHARD_READ, SHARD_WRITE, SHARD_EXECUTE};
        ask_peer(op, kinds[op->kind]);
    }
}

static void aim(struct op *op) {
    uint64_t node = target(op);
    if (node == 0) {
        op->asked = 0;
        wait_and_retry(op);
    } else {
        ask(op, node);
    }
}

/* ---- calls ------------------------------------------------------------------------------------*/

static struct op *op_new(struct bnd_shard_client *client, const struct bnd_slice *parts,
                         size_t count, size_t len) {
    struct op *op = bnd_zalloc(sizeof *op + len);
    if (op == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            memcpy(op->bytes + op->len, parts[i].data, parts[i].len);
        }
        op->len += parts[i].len;
    }
    op->client = client;
    op->timer = (struct bnd_timer){.cb = on_timer, .data = op};
    return op;
}

static void mint(struct bnd_shard_client *client, struct calls *calls) {
    while (calls->minter == 0) {
        calls->minter = bnd_random(client->config.env);
    }
}

/* Gives a new op its seq and its place among the calls. */
static void enlist(struct op *op) {
    struct bnd_shard_client *client = op->client;
    struct calls *calls = calls_of(op);
    if (is_write(op)) {
        mint(client, calls);
        op->seq = ++calls->seq_last;
    }
    bnd_list_push(&calls->ops, &op->link);
    client->ops_count++;
    client->ops_bytes += op->len;
}

int bnd_shard_call(struct bnd_shard_client *client, struct bnd_shard_call *call,
                   enum bnd_shard_call_kind kind, uint64_t gid, const struct bnd_slice *parts,
                   size_t count, uint64_t timeout_ns) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    if (client->ops_count >= client->config.calls_max ||
        client->ops_bytes + len > client->config.bytes_max) {
        return BND_FULL;
    }
    struct op *op = op_new(client, parts, count, len);
    if (op == NULL) {
        return BND_FULL;
    }
    uint64_t timeout = timeout_ns == 0 ? CALL_NS_DEFAULT : timeout_ns;
    op->due_ns = bnd_now_ns(client->config.env) + (timeout < CALL_NS_MAX ? timeout : CALL_NS_MAX);
    op->call = call;
    op->kind = kind;
    op->gid = gid;
    enlist(op);
    call->priv[0] = op;
    if (len > (kind == BND_SHARD_EXECUTE ? BND_RAFT_EXECUTE_BODY_MAX : BND_RAFT_COMMAND_MAX)) {
        finish_later(op, BND_TOOBIG);
    } else {
        aim(op);
    }
    return 0;
}

void bnd_shard_call_cancel(struct bnd_shard_call *call) {
    struct op *op = call->priv[0];
    if (op != NULL) {
        retire(op);
    }
}

/* ---- the client -------------------------------------------------------------------------------*/

int bnd_shard_client_create(const struct bnd_shard_client_config *config,
                            struct bnd_shard_client **out) {
    struct bnd_shard_client *client = bnd_zalloc(sizeof *client);
    if (client == NULL) {
        return BND_NOMEM;
    }
    client->config = *config;
    client->config.calls_max = config->calls_max == 0 ? 65536 : config->calls_max;
    client->config.bytes_max = config->bytes_max == 0 ? 64u << 20 : config->bytes_max;
    for (size_t kind = 0; kind < KINDS; kind++) {
        bnd_list_init(&client->calls[kind].ops);
    }
    mint(client, &client->calls[BND_SHARD_WRITE]); /* EXECUTE's with its first: most have none */
    if (config->host != NULL) {
        shard_serve(config->host, config->rpc);
    }
    *out = client;
    return 0;
}

void bnd_shard_client_hostless(struct bnd_shard_client *client) {
    client->config.host = NULL;
    bnd_rpc_serve(client->config.rpc, BND_RPC_SHARD, NULL, NULL);
}

void bnd_shard_client_destroy(struct bnd_shard_client *client) {
    if (client == NULL) {
        return;
    }
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct bnd_link *ops = &client->calls[kind].ops;
        while (!bnd_list_empty(ops)) {
            finish(BND_CONTAINER(ops->next, struct op, link),
                   kind == BND_SHARD_READ ? BND_CANCELED : BND_UNKNOWN, bnd_slice(NULL, 0));
        }
    }
    for (size_t i = 0; i < client->routes_count; i++) {
        bnd_free(client->routes[i].nodes);
    }
    bnd_free(client->routes);
    bnd_buf_free(&client->head);
    bnd_free(client);
}
