#include "tests/sim/kv/clients.h"

#include "base/assert.h"
#include "kv/record.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>

#define CLIENTS_MAX 6
#define ANSWER_NS (90 * SIMKV_SECOND) /* every operation has an answer within */
#define OWN_NS (50 * SIMKV_SECOND)    /* own writes are remembered for 60 s */
#define METADATA_MAX 24
#define LARGE_MAX (600u << 10)

enum kind { PUT, DELETE, PUT_LARGE, GET, LIST };

struct client;

struct op {
    struct bnd_link link;
    struct simkv_clients *clients;
    struct client *client; /* NULL: a read of everything */
    struct simkv_machine *machine;
    uint64_t life;
    struct bnd_timer late;
    enum kind kind;
    bool over;
    uint64_t number; /* of a write */
    struct simkv_seen seen;
    uint8_t key[16], metadata[METADATA_MAX];
    size_t key_len, metadata_len;
    uint8_t *value;
    size_t size;
    uint64_t at; /* of a large value */
    struct bnd_kv_blob *blob;
    struct bnd_kv_put put;
    struct bnd_kv_get get;
    struct bnd_kv_read read;
    struct bnd_kv_list list;
};

/* The last write of a client through the node it is with. */
struct own {
    uint64_t write;
    uint64_t ns;
};

struct client {
    struct simkv_clients *clients;
    struct bnd_sim_rng rng;
    struct bnd_timer timer;
    struct op *op;
    struct simkv_machine *machine;
    uint64_t life;
    unsigned left; /* operations with this machine */
    struct own own[SIMKV_NAMESPACE_IDS][SIMKV_KEYS];
};

struct simkv_clients {
    struct simkv_cluster *cluster;
    struct simkv_history *history;
    struct client items[CLIENTS_MAX];
    size_t count;
    uint64_t think_ns;
    bool stopped;
    struct bnd_timer *behind; /* the next acknowledgement; or NULL */
    uint64_t acked;
    struct bnd_link ops;
    size_t reading; /* of simkv_clients_read_all */
};

/* ---- the end of an operation ------------------------------------------------------------------*/

static void think(struct client *client) {
    struct simkv_clients *clients = client->clients;
    bnd_sim_world_at(clients->cluster->world, &client->timer,
                     1 + bnd_sim_rng_below(&client->rng, clients->think_ns));
}

static void op_free(struct op *op) {
    bnd_sim_world_cancel(op->clients->cluster->world, &op->late);
    bnd_link_remove(&op->link);
    bnd_sim_free(op->value);
    bnd_sim_free(op);
}

/* The memory stays until the machine is down, or for ever: the node may still look at it inside the
 * callback that this comes from. */
static void op_over(struct op *op) {
    BND_ASSERT(!op->over);
    op->over = true;
    bnd_sim_world_cancel(op->clients->cluster->world, &op->late);
    if (op->blob != NULL) {
        bnd_kv_blob_free(op->blob);
        op->blob = NULL;
    }
    if (op->client == NULL) {
        op->clients->reading--;
        return;
    }
    op->client->op = NULL;
    think(op->client);
}

static void trace(const struct op *op, int status, uint64_t what) {
    bnd_sim_trace(op->clients->cluster->world, "done", op->machine->id << 8 | op->kind,
                  (uint64_t)(uint32_t)status << 32 | what, bnd_slice(op->key, op->key_len));
}

/* ---- writes -----------------------------------------------------------------------------------*/

static void write_over(struct op *op, int status, enum bnd_kv_durability durability,
                       struct bnd_kv_version version) {
    struct simkv_clients *clients = op->clients;
    trace(op, status, version.hlc);
    simkv_history_end(clients->history, op->number, status, durability, version);
    if (clients->cluster->verbose) {
        (void)fprintf(stderr,
                      "%" PRIu64 " client: write %" PRIu64 " through node %" PRIu64 ": %d, %s, "
                      "version %" PRIu64 ".%" PRIu64 " of %" PRIu64 "\n",
                      simkv_now_ns(clients->cluster) / BND_MS, op->number, op->machine->id, status,
                      durability == BND_KV_LOCAL ? "local" : "replicated", version.hlc >> 16,
                      version.hlc & 0xffff, version.writer);
    }
    if (status == 0) {
        clients->acked++;
        op->client->own[op->seen.namespace_id][op->seen.key] =
            (struct own){.write = op->number, .ns = simkv_now_ns(clients->cluster)};
        if (clients->behind != NULL) {
            bnd_sim_world_at(clients->cluster->world, clients->behind, 1);
            clients->behind = NULL;
            clients->stopped = true;
        }
    }
    op_over(op);
}

static void on_put(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
                   struct bnd_kv_version version) {
    write_over(put->data, status, durability, version);
}

static void put_start(struct op *op) {
    int rv = bnd_kv_put(op->machine->kv, &op->put);
    if (rv != 0) { /* refused at once */
        write_over(op, rv, BND_KV_REPLICATED, (struct bnd_kv_version){0});
    }
}

static void next_piece(struct op *op);

static void on_piece(void *data, int status) {
    struct op *op = data;
    if (status != 0) {
        write_over(op, status, BND_KV_REPLICATED, (struct bnd_kv_version){0});
        return;
    }
    next_piece(op);
}

static void next_piece(struct op *op) {
    if (op->at == op->size) {
        op->put.blob = op->blob;
        put_start(op);
        return;
    }
    size_t len = op->size - op->at < BND_KV_INLINE_MAX ? op->size - op->at : BND_KV_INLINE_MAX;
    struct bnd_slice piece = bnd_slice(op->value + op->at, len);
    op->at += len;
    int rv = bnd_kv_blob_piece(op->blob, piece, on_piece, op);
    if (rv != 0) {
        write_over(op, rv, BND_KV_REPLICATED, (struct bnd_kv_version){0});
    }
}

static void write_start(struct op *op, uint64_t expires_ms) {
    struct simkv_clients *clients = op->clients;
    struct simkv_write write = {.namespace_id = op->seen.namespace_id,
                                .key = op->seen.key,
                                .tombstone = op->kind == DELETE,
                                .size = op->size,
                                .expires_ms = expires_ms,
                                .node = op->machine->id};
    op->number = simkv_history_begin(clients->history, &write);
    op->put = (struct bnd_kv_put){.namespace_id = op->seen.namespace_id,
                                  .key = bnd_slice(op->key, op->key_len),
                                  .expires_ms = expires_ms,
                                  .tombstone = op->kind == DELETE,
                                  .cb = on_put,
                                  .data = op};
    if (op->kind != DELETE) {
        op->value = bnd_sim_zalloc(op->size);
        simkv_value_fill(op->number, 0, op->value, op->size);
        int len =
            snprintf((char *)op->metadata, METADATA_MAX, "{\"write\":%" PRIu64 "}", op->number);
        op->metadata_len = (size_t)len;
        op->put.metadata = bnd_slice(op->metadata, op->metadata_len);
    }
    if (clients->cluster->verbose) {
        (void)fprintf(stderr,
                      "%" PRIu64 " client: write %" PRIu64 " of namespace %" PRIu64
                      " key %u through node %" PRIu64 ": %s, %zu bytes, expires %" PRIu64 "\n",
                      simkv_now_ns(clients->cluster) / BND_MS, op->number, op->seen.namespace_id,
                      op->seen.key, op->machine->id, op->kind == DELETE ? "delete" : "put",
                      op->size, expires_ms);
    }
    if (op->kind == PUT_LARGE) {
        int rv = bnd_kv_blob_begin(op->machine->kv, op->seen.namespace_id, op->put.key, &op->blob);
        if (rv != 0) {
            write_over(op, rv, BND_KV_REPLICATED, (struct bnd_kv_version){0});
            return;
        }
        next_piece(op);
        return;
    }
    op->put.value = bnd_slice(op->value, op->size);
    put_start(op);
}

/* ---- reads ------------------------------------------------------------------------------------*/

static void judge_own(struct op *op) {
    struct client *client = op->client;
    if (client == NULL) {
        return;
    }
    const struct own *own = &client->own[op->seen.namespace_id][op->seen.key];
    if (own->write != 0 && op->seen.start_ns - own->ns < OWN_NS && own->ns < op->seen.start_ns) {
        simkv_history_own(op->clients->history, &op->seen, own->write);
    }
}

static void read_over(struct op *op, int status) {
    struct simkv_clients *clients = op->clients;
    trace(op, status, op->seen.write);
    op->seen.found = status == 0;
    if (op->client == NULL && status != 0 && status != BND_NOTFOUND) {
        bnd_sim_violation(&clients->cluster->check,
                          "a read of a quiet cluster through node %" PRIu64 " is %d",
                          op->machine->id, status);
    }
    if (status == 0 || status == BND_NOTFOUND) {
        simkv_history_read(clients->history, &op->seen);
        if (op->client == NULL) {
            simkv_history_last(clients->history, &op->seen);
        }
        judge_own(op);
    }
    if (clients->cluster->verbose) {
        (void)fprintf(stderr,
                      "%" PRIu64 " client: namespace %" PRIu64 " key %u through node %" PRIu64
                      " is %d: write %" PRIu64 "\n",
                      simkv_now_ns(clients->cluster) / BND_MS, op->seen.namespace_id, op->seen.key,
                      op->machine->id, status, status == 0 ? op->seen.write : 0);
    }
    op_over(op);
}

static void wrong_bytes(const struct op *op) {
    bnd_sim_violation(&op->clients->cluster->check,
                      "BYTES: namespace %" PRIu64 " key %u: the value of write %" PRIu64
                      " is read with other bytes",
                      op->seen.namespace_id, op->seen.key, op->seen.write);
}

static void on_read(struct bnd_kv_read *read, int status, struct bnd_slice piece) {
    struct op *op = read->data;
    if (status != 0) {
        op_over(op); /* superseded and swept meanwhile, or nobody has it now */
        return;
    }
    if (piece.len == 0) {
        if (op->at != op->seen.size) {
            wrong_bytes(op);
        }
        read_over(op, 0);
        return;
    }
    if (op->at == 0 && piece.len >= 8) {
        op->seen.write = bnd_get_u64(piece.data);
    }
    if (!simkv_value_right(op->seen.write, op->at, piece)) {
        wrong_bytes(op);
    }
    op->at += piece.len;
    int rv = bnd_kv_read(op->machine->kv, read);
    if (rv != 0) {
        op_over(op);
    }
}

static void on_get(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct op *op = get->data;
    if (status != 0) {
        read_over(op, status);
        return;
    }
    op->seen.version = item->version;
    op->seen.expires_ms = item->expires_ms;
    op->seen.size = item->size;
    if (item->size <= BND_KV_INLINE_MAX) {
        char metadata[METADATA_MAX];
        op->seen.write = item->value.len >= 8 ? bnd_get_u64(item->value.data) : 0;
        int len = snprintf(metadata, sizeof metadata, "{\"write\":%" PRIu64 "}", op->seen.write);
        if (item->value.len != item->size || !simkv_value_right(op->seen.write, 0, item->value) ||
            !bnd_slice_eq(item->metadata, bnd_slice(metadata, (size_t)len))) {
            wrong_bytes(op);
        }
        read_over(op, 0);
        return;
    }
    op->read = (struct bnd_kv_read){.namespace_id = op->seen.namespace_id,
                                    .key = bnd_slice(op->key, op->key_len),
                                    .version = item->version,
                                    .size = item->size,
                                    .cb = on_read,
                                    .data = op};
    int rv = bnd_kv_read(op->machine->kv, &op->read);
    if (rv != 0) {
        op_over(op);
    }
}

/* What a node that is no replica has read it may give again for a minute; here mostly for a second,
 * and only those reads are measured. */
static void get_start(struct op *op, bool newest, bool cached) {
    op->seen.fresh = !cached;
    op->get = (struct bnd_kv_get){.namespace_id = op->seen.namespace_id,
                                  .key = bnd_slice(op->key, op->key_len),
                                  .newest = newest,
                                  .cache_ttl_s = cached ? 0 : 1,
                                  .cb = on_get,
                                  .data = op};
    int rv = bnd_kv_get(op->machine->kv, &op->get);
    if (rv != 0 && rv != BND_KV_NOW) {
        read_over(op, rv);
    }
}

static void on_list(struct bnd_kv_list *list, int status, const struct bnd_kv_list_entry *entries,
                    size_t count, bool complete, struct bnd_slice last) {
    struct op *op = list->data;
    struct bnd_sim_check *check = &op->clients->cluster->check;
    trace(op, status, count);
    (void)complete;
    (void)last;
    for (size_t i = 0; status == 0 && i < count; i++) {
        if (i > 0 && bnd_slice_cmp(entries[i - 1].key, entries[i].key) >= 0) {
            bnd_sim_violation(check, "LIST: not in order, or a key twice");
        }
        if (bnd_slice_cmp(entries[i].key, list->after) <= 0 || count > list->limit) {
            bnd_sim_violation(check, "LIST: a key that was not asked for");
        }
    }
    op_over(op);
}

static void list_start(struct op *op) {
    op->list = (struct bnd_kv_list){.namespace_id = op->seen.namespace_id,
                                    .after = bnd_slice(op->key, op->key_len / 2),
                                    .limit = 1 + op->seen.key,
                                    .cb = on_list,
                                    .data = op};
    op->clients->cluster->counts.lists++;
    int rv = bnd_kv_list(op->machine->kv, &op->list);
    if (rv != 0) {
        op_over(op);
    }
}

/* ---- one operation after the other ------------------------------------------------------------*/

static void on_late(struct bnd_timer *timer) {
    struct op *op = timer->data;
    bnd_sim_violation(&op->clients->cluster->check,
                      "SILENT: an operation %d through node %" PRIu64 " has no answer after 90 s",
                      (int)op->kind, op->machine->id);
}

static struct op *op_make(struct simkv_clients *clients, struct client *client,
                          struct simkv_machine *machine, uint64_t namespace_id, uint32_t key) {
    struct op *op = bnd_sim_zalloc(sizeof *op);
    op->clients = clients;
    op->client = client;
    op->machine = machine;
    op->life = machine->base.lives;
    op->late = (struct bnd_timer){.cb = on_late, .data = op};
    op->key_len = simkv_key(key, op->key);
    op->seen = (struct simkv_seen){.namespace_id = namespace_id,
                                   .key = key,
                                   .start_ns = simkv_now_ns(clients->cluster),
                                   .slowest_ms = simkv_slowest_ms(clients->cluster)};
    bnd_list_push(&clients->ops, &op->link);
    bnd_sim_world_at(clients->cluster->world, &op->late, ANSWER_NS);
    return op;
}

static enum kind draw_kind(struct client *client, size_t *out_size) {
    struct bnd_sim_rng *rng = &client->rng;
    uint64_t draw = bnd_sim_rng_below(rng, 1000);
    *out_size = SIMKV_VALUE_MIN + bnd_sim_rng_below(rng, 200);
    if (draw < 8) {
        *out_size = bnd_sim_rng_range(rng, BND_KV_INLINE_MAX + 1, LARGE_MAX);
        return PUT_LARGE;
    }
    if (draw < 50) {
        *out_size = bnd_sim_rng_range(rng, 3000, 20000);
        return PUT;
    }
    return draw < 400 ? PUT : draw < 580 ? DELETE : draw < 960 ? GET : LIST;
}

static void start(struct client *client) {
    struct simkv_clients *clients = client->clients;
    struct simkv_cluster *cluster = clients->cluster;
    struct bnd_sim_rng *rng = &client->rng;
    size_t at = bnd_sim_rng_below(rng, cluster->view.namespaces_count);
    /* Some are written again and again, most now and then: what comes back stays to be seen. */
    uint64_t heat = bnd_sim_rng_below(rng, 100);
    uint32_t key = (uint32_t)bnd_sim_rng_below(rng, heat < 15 ? 2 : heat < 60 ? 10 : SIMKV_KEYS);
    struct op *op = op_make(clients, client, client->machine, cluster->view.namespaces[at].id, key);
    client->op = op;
    op->kind = draw_kind(client, &op->size);
    uint64_t expires_ms = 0;
    if (op->kind == PUT && bnd_sim_rng_chance(rng, 200)) {
        expires_ms = simkv_wall_ms(cluster) + bnd_sim_rng_range(rng, 1000, 30000);
    }
    bool newest = bnd_sim_rng_chance(rng, 100);
    bool cached = bnd_sim_rng_chance(rng, 200);
    bnd_sim_env_enter(client->machine->base.env);
    switch (op->kind) {
    case PUT_LARGE:
        cluster->counts.large++;
        write_start(op, 0);
        break;
    case PUT:
        write_start(op, expires_ms);
        break;
    case DELETE:
        op->size = 0;
        write_start(op, 0);
        break;
    case GET:
        cluster->counts.gets++;
        get_start(op, newest, cached);
        break;
    case LIST:
        list_start(op);
        break;
    }
    bnd_sim_env_leave(client->machine->base.env);
}

static bool serves(const struct simkv_machine *machine) {
    return machine->base.life == BND_SIM_UP && !machine->base.fatal && machine->known.revision > 0;
}

/* False: nobody is up. */
static bool choose_machine(struct client *client) {
    struct simkv_cluster *cluster = client->clients->cluster;
    struct bnd_sim_rng *rng = &client->rng;
    bool stays = client->machine != NULL && client->left > 0 && serves(client->machine) &&
                 client->machine->base.lives == client->life;
    for (size_t tries = 0; !stays && tries < 8; tries++) {
        struct simkv_machine *machine =
            &cluster->machines[bnd_sim_rng_below(rng, cluster->machines_count)];
        if (serves(machine)) {
            memset(client->own, 0, sizeof client->own);
            client->machine = machine;
            client->life = machine->base.lives;
            client->left = (unsigned)bnd_sim_rng_range(rng, 5, 60);
            stays = true;
        }
    }
    client->left -= stays;
    return stays;
}

static void on_timer(struct bnd_timer *timer) {
    struct client *client = timer->data;
    if (client->clients->stopped) {
        return;
    }
    if (choose_machine(client)) {
        start(client);
    } else {
        think(client);
    }
}

/* What was under way may or may not have happened. */
static void on_died(void *data, struct simkv_machine *machine) {
    struct simkv_clients *clients = data;
    struct bnd_link *link = clients->ops.next;
    while (link != &clients->ops) {
        struct op *op = BND_CONTAINER(link, struct op, link);
        link = link->next;
        if (op->machine != machine) {
            continue;
        }
        if (!op->over) {
            op->blob = NULL; /* it went with the node */
            op_over(op);
        }
        op_free(op);
    }
}

/* ---- the whole --------------------------------------------------------------------------------*/

struct simkv_clients *simkv_clients_create(struct simkv_cluster *cluster,
                                           struct simkv_history *history, size_t count,
                                           uint64_t think_ns) {
    struct simkv_clients *clients = bnd_sim_zalloc(sizeof *clients);
    BND_ASSERT(count <= CLIENTS_MAX);
    clients->cluster = cluster;
    clients->history = history;
    clients->count = count;
    clients->think_ns = think_ns;
    bnd_list_init(&clients->ops);
    cluster->died = on_died;
    cluster->died_data = clients;
    for (size_t i = 0; i < count; i++) {
        struct client *client = &clients->items[i];
        client->clients = clients;
        bnd_sim_rng_init(&client->rng, bnd_sim_world_seed(cluster->world), "kv client", i);
        client->timer = (struct bnd_timer){.cb = on_timer, .data = client};
        think(client);
    }
    return clients;
}

void simkv_clients_destroy(struct simkv_clients *clients) {
    for (size_t i = 0; i < clients->count; i++) {
        bnd_sim_world_cancel(clients->cluster->world, &clients->items[i].timer);
    }
    BND_ASSERT(bnd_list_empty(&clients->ops));
    clients->cluster->died = NULL;
    bnd_sim_free(clients);
}

void simkv_clients_stop(struct simkv_clients *clients) {
    clients->stopped = true;
}

void simkv_clients_hurry(struct simkv_clients *clients, uint64_t think_ns) {
    clients->think_ns = think_ns;
}

void simkv_clients_stop_behind_ack(struct simkv_clients *clients, struct bnd_timer *behind) {
    clients->behind = behind;
}

bool simkv_clients_idle(const struct simkv_clients *clients) {
    for (size_t i = 0; i < clients->count; i++) {
        if (clients->items[i].op != NULL) {
            return false;
        }
    }
    return true;
}

uint64_t simkv_clients_acked(struct simkv_clients *clients) {
    uint64_t acked = clients->acked;
    clients->acked = 0;
    return acked;
}

static bool all_read(void *data) {
    return ((const struct simkv_clients *)data)->reading == 0;
}

static void read_on(struct simkv_clients *clients, struct simkv_machine *machine,
                    uint64_t namespace_id) {
    for (uint32_t key = 0; key < SIMKV_KEYS; key++) {
        struct op *op = op_make(clients, NULL, machine, namespace_id, key);
        op->kind = GET;
        clients->reading++;
        bnd_sim_env_enter(machine->base.env);
        get_start(op, false, false);
        bnd_sim_env_leave(machine->base.env);
    }
}

void simkv_clients_read_all(struct simkv_clients *clients) {
    struct simkv_cluster *cluster = clients->cluster;
    /* What a node has read or written through others it remembers for a minute, but tombstones are
     * collected here after seconds: it would ask in vain for what is no more. */
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = 0; /* each is asked once, and must be answered */
    bnd_sim_net_configure(cluster->net, &net);
    bnd_sim_run_for(cluster->world, 62 * SIMKV_SECOND);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        for (size_t n = 0; n < cluster->view.namespaces_count; n++) {
            read_on(clients, &cluster->machines[i], cluster->view.namespaces[n].id);
        }
    }
    if (!bnd_sim_run_until_true(cluster->world, all_read, clients, 60 * SIMKV_SECOND)) {
        bnd_sim_violation(&cluster->check, "reads of a quiet cluster have no answer");
    }
}
