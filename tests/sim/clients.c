/* Invariant: an operation is given the outcome NOT_EXECUTED only when each of its attempts was
 * refused for certain. */
#include "tests/sim/clients.h"

#include "base/assert.h"
#include "tests/sim/memory.h"

#define CLIENTS_MAX 8
#define ATTEMPT_NS_MAX (1500 * BND_MS)
#define DEADLINE_MS 30000
#define KEY_WRITES_MAX 40 /* then the client goes on with other keys: lists stay short */

struct client {
    struct bnd_sim_clients *clients;
    struct bnd_sim_rng rng;
    struct bnd_timer timer; /* thinks, waits to retry, or gives an attempt up */
    uint64_t minter;
    uint64_t seq;
    bool busy;
    size_t group;
    size_t op; /* in the group's history */
    uint64_t give_up_ns;
    uint64_t deadline_ms;
    bool maybe;              /* an attempt may have been executed, or may yet be */
    struct attempt *attempt; /* the one it waits for */
    uint64_t node;           /* to try next */
    uint64_t last_token;     /* of its last write: what a cas expects, at times */
};

struct attempt {
    struct bnd_raft_propose propose;
    struct bnd_raft_read read;
    struct bnd_sim_event event;
    struct bnd_link link;
    struct client *client; /* NULL: it was given up */
    struct bnd_sim_node *node;
    size_t group;
    struct bnd_buf command; /* in the simulator's time: made and freed outside of nodes */
    bool is_read;
    bool arrived;
};

struct bnd_sim_clients {
    struct bnd_sim_cluster *cluster;
    struct client items[CLIENTS_MAX];
    size_t count;
    uint64_t think_ns;
    bool stopped;
    uint64_t tokens;
    uint64_t writes; /* over all keys */
    uint64_t answered[BND_SIM_GROUPS_MAX];
    struct bnd_link attempts;
};

static struct bnd_sim_op *op_of(const struct client *client) {
    return &client->clients->cluster->groups[client->group].history.ops[client->op];
}

static uint64_t now_ns(const struct client *client) {
    return bnd_sim_world_now_ns(client->clients->cluster->world);
}

static void think(struct client *client) {
    client->busy = false;
    bnd_sim_world_at(client->clients->cluster->world, &client->timer,
                     bnd_sim_rng_below(&client->rng, client->clients->think_ns) + 1);
}

/* ---- outcomes
 * --------------------------------------------------------------------------------------- */

static void finish(struct client *client, enum bnd_sim_outcome outcome, int status,
                   struct bnd_slice reply) {
    struct bnd_sim_group *group = &client->clients->cluster->groups[client->group];
    if (outcome != BND_SIM_PENDING) {
        bnd_sim_history_return(&group->history, client->op, now_ns(client), outcome, status, reply);
    }
    client->clients->answered[client->group] += outcome == BND_SIM_ANSWERED ? 1u : 0u;
    think(client);
}

static void retry(struct client *client) {
    client->attempt = NULL;
    if (now_ns(client) >= client->give_up_ns) {
        finish(client, client->maybe ? BND_SIM_PENDING : BND_SIM_NOT_EXECUTED, BND_UNAVAILABLE,
               (struct bnd_slice){0});
        return;
    }
    bnd_sim_world_at(client->clients->cluster->world, &client->timer,
                     bnd_sim_rng_range(&client->rng, BND_MS, 60 * BND_MS));
}

static void attempt_free(struct attempt *attempt) {
    bnd_link_remove(&attempt->link);
    bnd_buf_free(&attempt->command);
    bnd_sim_free(attempt);
}

/* The attempt is over without an answer from the state machine. */
static void attempt_failed(struct attempt *attempt, bool maybe) {
    struct client *client = attempt->client;
    attempt_free(attempt);
    if (client != NULL) {
        client->maybe = client->maybe || maybe;
        client->node = 0;
        retry(client);
    }
}

static void attempt_answered(struct attempt *attempt, int status, struct bnd_slice reply) {
    struct client *client = attempt->client;
    if (client != NULL) {
        client->attempt = NULL;
        finish(client, BND_SIM_ANSWERED, status, reply);
    }
    attempt_free(attempt);
}

static void on_proposed(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct attempt *attempt = BND_CONTAINER(propose, struct attempt, propose);
    bool executed = status == 0 || status == BND_PRECONDITION;
    bnd_sim_trace(attempt->node->cluster->world, "answ", attempt->node->id, (uint64_t)-status,
                  reply);
    if (executed) {
        attempt_answered(attempt, status, reply);
    } else {
        attempt_failed(attempt,
                       status != BND_NOTLEADER && status != BND_BUSY && status != BND_FULL);
    }
}

static void on_read(struct bnd_raft_read *read, int status, const struct bnd_fsm_read *context) {
    struct attempt *attempt = BND_CONTAINER(read, struct attempt, read);
    if (status != 0) {
        attempt_failed(attempt, false);
        return;
    }
    BND_AUTO_BUF struct bnd_buf reply = {0};
    const struct bnd_fsm *fsm = &attempt->node->replicas[attempt->group].fsm;
    int rv = fsm->ops->read(fsm->self, context, bnd_buf_slice(&attempt->command), &reply);
    bnd_sim_trace(attempt->node->cluster->world, "read", attempt->node->id, (uint64_t)-rv,
                  bnd_buf_slice(&reply));
    attempt_answered(attempt, 0, rv == 0 ? bnd_buf_slice(&reply) : (struct bnd_slice){0});
}

/* ---- attempts
 * --------------------------------------------------------------------------------------- */

static uint64_t lowest_seq(const struct client *client) {
    return client->seq; /* one operation at a time, and none asked again later */
}

static void on_arrival(struct bnd_sim_event *event) {
    struct attempt *attempt = BND_CONTAINER(event, struct attempt, event);
    struct client *client = attempt->client;
    struct bnd_sim_node *node = attempt->node;
    if (client == NULL || node->host == NULL || node->base.fatal) {
        attempt_failed(attempt, false);
        return;
    }
    uint64_t gid = attempt->group + 1;
    attempt->arrived = true;
    int rv = 0;
    if (attempt->is_read) {
        attempt->read.cb = on_read;
        rv = bnd_raft_read_replica(node->host, gid, &attempt->read);
    } else {
        if (client->deadline_ms == 0) {
            client->deadline_ms = bnd_raft_stamp_ms(node->host) + DEADLINE_MS;
        }
        attempt->propose.cb = on_proposed;
        attempt->propose.id =
            (struct bnd_raft_request_id){.minter = client->minter, .seq = client->seq};
        attempt->propose.low_seq = lowest_seq(client);
        attempt->propose.deadline_ms = client->deadline_ms;
        attempt->propose.command = bnd_buf_slice(&attempt->command);
        rv = bnd_raft_propose(node->host, gid, &attempt->propose);
    }
    if (rv != 0) {
        struct bnd_raft_group_status status;
        uint64_t hint = bnd_raft_group_status(node->host, gid, &status) == 0 ? status.leader : 0;
        attempt_failed(attempt, false);
        client->node = hint == node->id ? 0 : hint;
    }
}

static void on_lost(struct bnd_sim_event *event) {
    attempt_failed(BND_CONTAINER(event, struct attempt, event), false);
}

static uint64_t any_node(struct client *client) {
    const struct bnd_sim_cluster *cluster = client->clients->cluster;
    uint64_t id = 0;
    do {
        id = 1 + bnd_sim_rng_below(&client->rng, BND_SIM_NODES_MAX);
    } while (!cluster->nodes[id - 1].exists);
    return id;
}

static void send(struct client *client) {
    struct bnd_sim_cluster *cluster = client->clients->cluster;
    uint64_t id = client->node != 0 ? client->node : any_node(client);
    struct bnd_sim_node *node = &cluster->nodes[id - 1];
    if (node->base.life != BND_SIM_UP || node->base.fatal) {
        client->node = 0;
        retry(client);
        return;
    }
    struct attempt *attempt = bnd_sim_zalloc(sizeof *attempt);
    attempt->client = client;
    attempt->node = node;
    attempt->group = client->group;
    attempt->is_read = op_of(client)->kind == BND_SIM_GET;
    bnd_sim_op_command(op_of(client), &attempt->command);
    BND_ASSERT(!attempt->command.failed);
    attempt->event.run = on_arrival;
    attempt->event.drop = on_lost;
    client->attempt = attempt;
    bnd_list_push(&client->clients->attempts, &attempt->link);
    bnd_sim_world_at(cluster->world, &client->timer, ATTEMPT_NS_MAX);
    bnd_sim_env_at(node->base.env, &attempt->event, bnd_sim_rng_below(&client->rng, 2 * BND_MS));
}

/* ---- operations
 * ------------------------------------------------------------------------------------- */

/* Keys of a time: lists, counters and registers side by side; after many writes all clients move
 * on. */
static uint8_t draw_key(struct client *client) {
    uint64_t era = client->clients->writes / KEY_WRITES_MAX / 4;
    return (uint8_t)((era * 4 + bnd_sim_rng_below(&client->rng, 4)) % BND_SIM_KEYS);
}

static void begin(struct client *client) {
    struct bnd_sim_clients *clients = client->clients;
    struct bnd_sim_op op = {.invoked_ns = now_ns(client), .token = ++clients->tokens};
    client->group = bnd_sim_rng_below(&client->rng, clients->cluster->groups_count);
    op.key = draw_key(client);
    if (bnd_sim_rng_chance(&client->rng, 300)) {
        op.kind = BND_SIM_GET;
    } else if (op.key % 4 < 2) {
        op.kind = BND_SIM_APPEND;
    } else if (op.key % 4 == 2) {
        op.kind = BND_SIM_ADD;
    } else {
        op.kind = bnd_sim_rng_chance(&client->rng, 500) ? BND_SIM_CAS : BND_SIM_PUT;
        op.expected = bnd_sim_rng_chance(&client->rng, 800) ? client->last_token : 0;
    }
    clients->writes += op.kind != BND_SIM_GET ? 1u : 0u;
    client->last_token = op.kind == BND_SIM_PUT ? op.token : client->last_token;
    client->seq++;
    client->op = bnd_sim_history_invoke(&clients->cluster->groups[client->group].history, &op);
    client->busy = true;
    client->maybe = false;
    client->deadline_ms = 0;
    client->give_up_ns =
        now_ns(client) + bnd_sim_rng_range(&client->rng, 200 * BND_MS, 6000 * BND_MS);
    send(client);
}

static void on_timer(struct bnd_timer *timer) {
    struct client *client = timer->data;
    if (!client->busy) {
        if (!client->clients->stopped) {
            begin(client);
        }
        return;
    }
    if (client->attempt != NULL) { /* no answer: it may come too late for us */
        client->attempt->client = NULL;
        client->maybe = true;
        client->node = 0;
        retry(client);
        return;
    }
    send(client);
}

static void on_died(void *data, struct bnd_sim_node *node) {
    struct bnd_sim_clients *clients = data;
    struct bnd_link *link = clients->attempts.next;
    while (link != &clients->attempts) {
        struct attempt *attempt = BND_CONTAINER(link, struct attempt, link);
        link = link->next;
        if (attempt->node == node) {
            attempt_failed(attempt, true);
        }
    }
}

/* ---- life
 * ------------------------------------------------------------------------------------------- */

struct bnd_sim_clients *bnd_sim_clients_create(struct bnd_sim_cluster *cluster, size_t count,
                                               uint64_t think_ns) {
    BND_ASSERT(count <= CLIENTS_MAX);
    struct bnd_sim_clients *clients = bnd_sim_zalloc(sizeof *clients);
    clients->cluster = cluster;
    clients->count = count;
    clients->think_ns = think_ns;
    bnd_list_init(&clients->attempts);
    cluster->died = on_died;
    cluster->died_data = clients;
    for (size_t i = 0; i < count; i++) {
        struct client *client = &clients->items[i];
        client->clients = clients;
        client->timer = (struct bnd_timer){.cb = on_timer, .data = client};
        bnd_sim_rng_init(&client->rng, bnd_sim_world_seed(cluster->world), "client", i);
        client->minter = bnd_sim_rng_u64(&client->rng) | 1;
        think(client);
    }
    return clients;
}

void bnd_sim_clients_stop(struct bnd_sim_clients *clients) {
    clients->stopped = true;
}

uint64_t bnd_sim_clients_answered(struct bnd_sim_clients *clients, size_t group) {
    uint64_t answered = clients->answered[group];
    clients->answered[group] = 0;
    return answered;
}

void bnd_sim_clients_destroy(struct bnd_sim_clients *clients) {
    if (clients == NULL) {
        return;
    }
    while (!bnd_list_empty(&clients->attempts)) {
        attempt_free(BND_CONTAINER(clients->attempts.next, struct attempt, link));
    }
    for (size_t i = 0; i < clients->count; i++) {
        bnd_sim_world_cancel(clients->cluster->world, &clients->items[i].timer);
    }
    clients->cluster->died = NULL;
    bnd_sim_free(clients);
}
