/* Calls over the mesh. Wire: SPEC.md, "Calls".
 *
 * Invariants: (1) a call is in `slots` exactly while it is unanswered, and its id names its slot;
 * ids are not used twice, so that a late reply meets nobody; (2) a reply counts only from the node
 * that was asked; (3) calls and served requests are each bounded by in_flight_max.
 *
 * Failure modes: a message that does not parse is dropped (its sender sees a timeout). A reply that
 * the mesh does not take is lost: the caller sees a timeout, or BND_CLOSED with the connection. */
#include "net/rpc.h"

#include "base/alloc.h"

#define IN_FLIGHT_DEFAULT 65536
#define REQUEST_HEAD 10
#define REPLY_HEAD 14
#define SLOTS_FIRST 64

enum rpc_type { RPC_REQUEST = 1, RPC_REPLY = 2 };

struct rpc_slot {
    struct bnd_rpc_call *call; /* NULL: free */
    uint32_t next_free;        /* index + 1 of the next free slot, 0: none */
};

struct bnd_rpc {
    struct bnd_env *env;
    struct bnd_mesh *mesh;
    size_t in_flight_max;
    struct rpc_slot *slots;
    size_t slot_count;
    uint32_t first_free; /* index + 1 */
    uint32_t generation; /* high half of the next id */
    struct bnd_link calls;
    size_t serving;
    struct {
        bnd_rpc_handler cb;
        void *owner;
    } handlers[BND_RPC_SERVICES];
};

static void call_forget(struct bnd_rpc_call *call) {
    struct bnd_rpc *rpc = call->rpc;
    uint32_t index = (uint32_t)call->id;
    BND_ASSERT(index < rpc->slot_count);
    BND_ASSERT(rpc->slots[index].call == call);
    bnd_timer_stop(rpc->env, &call->timer);
    bnd_link_remove(&call->link);
    rpc->slots[index] = (struct rpc_slot){.call = NULL, .next_free = rpc->first_free};
    rpc->first_free = index + 1;
    call->rpc = NULL;
}

static void call_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    call_forget(call);
    call->cb(call, status, reply);
}

static void call_late(struct bnd_timer *timer) {
    call_answer(timer->data, BND_TIMEOUT, bnd_slice(NULL, 0));
}

static void calls_fail(struct bnd_rpc *rpc, uint64_t node, bool all, int status) {
    struct bnd_link failed;
    bnd_list_init(&failed);
    for (struct bnd_link *at = rpc->calls.next; at != &rpc->calls;) {
        struct bnd_rpc_call *call = BND_CONTAINER(at, struct bnd_rpc_call, link);
        at = at->next;
        if (all || call->to == node) {
            bnd_link_remove(&call->link);
            bnd_list_push(&failed, &call->link);
        }
    }
    /* A callback may cancel another call of this list, or make a new one: hence first collected,
     * then told. */
    while (!bnd_list_empty(&failed)) {
        call_answer(BND_CONTAINER(failed.next, struct bnd_rpc_call, link), status,
                    bnd_slice(NULL, 0));
    }
}

static void on_peer(void *owner, uint64_t node, bool up) {
    if (!up) {
        calls_fail(owner, node, false, BND_CLOSED);
    }
}

static void send_reply(struct bnd_rpc_request *request, int status, const struct bnd_slice *parts,
                       size_t count) {
    struct bnd_slice all[BND_MESH_PARTS_MAX];
    uint8_t head[REPLY_HEAD] = {RPC_REPLY, 0};
    bnd_put_u64(head + 2, request->id);
    bnd_put_u32(head + 10, (uint32_t)status);
    all[0] = bnd_slice(head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        all[1 + i] = parts[i];
    }
    struct bnd_mesh *mesh = request->rpc->mesh;
    int rv = mesh->ops->send(mesh, request->from, request->lane, BND_MESH_RPC, all, 1 + count);
    if (rv == BND_TOOBIG && count > 0) {
        send_reply(request, BND_TOOBIG, NULL, 0);
    }
}

static void on_request(struct bnd_rpc *rpc, uint64_t from, struct bnd_reader *r) {
    uint8_t lane_service = bnd_read_u8(r);
    struct bnd_rpc_request stub = {.rpc = rpc, .from = from, .id = bnd_read_u64(r)};
    unsigned service = lane_service & 0x7fu;
    stub.lane = (lane_service & 0x80u) != 0 ? BND_MESH_BULK : BND_MESH_CONTROL;
    if (r->failed) {
        return;
    }
    if (service >= BND_RPC_SERVICES || rpc->handlers[service].cb == NULL) {
        send_reply(&stub, BND_UNSUPPORTED, NULL, 0);
        return;
    }
    struct bnd_rpc_request *request =
        rpc->serving < rpc->in_flight_max ? bnd_alloc(sizeof *request) : NULL;
    if (request == NULL) {
        send_reply(&stub, BND_FULL, NULL, 0);
        return;
    }
    *request = stub;
    request->payload = r->rest;
    rpc->serving++;
    rpc->handlers[service].cb(rpc->handlers[service].owner, request);
}

static void on_reply(struct bnd_rpc *rpc, uint64_t from, struct bnd_reader *r) {
    (void)bnd_read_u8(r); /* reserved */
    uint64_t id = bnd_read_u64(r);
    int status = (int)bnd_read_u32(r);
    uint32_t index = (uint32_t)id;
    if (r->failed || index >= rpc->slot_count) {
        return;
    }
    struct bnd_rpc_call *call = rpc->slots[index].call;
    if (call == NULL || call->id != id || call->to != from) {
        return;
    }
    if (status > 0 || (status < 0 && strcmp(bnd_code_name(status), "?") == 0)) {
        status = BND_CORRUPT;
    }
    call_answer(call, status, status == 0 ? r->rest : bnd_slice(NULL, 0));
}

static void on_message(void *owner, uint64_t from, struct bnd_slice message) {
    struct bnd_rpc *rpc = owner;
    struct bnd_reader r = bnd_reader(message);
    switch (bnd_read_u8(&r)) {
    case RPC_REQUEST:
        on_request(rpc, from, &r);
        break;
    case RPC_REPLY:
        on_reply(rpc, from, &r);
        break;
    default:
        break; /* a newer peer's: unanswered, as if lost */
    }
}

int bnd_rpc_create(struct bnd_env *env, struct bnd_mesh *mesh, size_t in_flight_max,
                   struct bnd_rpc **out) {
    struct bnd_rpc *rpc = bnd_zalloc(sizeof *rpc);
    if (rpc == NULL) {
        return BND_NOMEM;
    }
    rpc->env = env;
    rpc->mesh = mesh;
    rpc->in_flight_max = in_flight_max == 0 ? IN_FLIGHT_DEFAULT : in_flight_max;
    BND_ASSERT(rpc->in_flight_max < UINT32_MAX);
    rpc->generation = (uint32_t)bnd_random(env);
    bnd_list_init(&rpc->calls);
    mesh->ops->receive(mesh, BND_MESH_RPC, on_message, rpc);
    mesh->ops->watch(mesh, on_peer, rpc);
    *out = rpc;
    return 0;
}

void bnd_rpc_destroy(struct bnd_rpc *rpc) {
    if (rpc == NULL) {
        return;
    }
    while (!bnd_list_empty(&rpc->calls)) {
        calls_fail(rpc, 0, true, BND_CANCELED);
    }
    bnd_free(rpc->slots);
    bnd_free(rpc);
}

void bnd_rpc_serve(struct bnd_rpc *rpc, enum bnd_rpc_service service, bnd_rpc_handler handler,
                   void *owner) {
    BND_ASSERT(service > 0 && service < BND_RPC_SERVICES);
    rpc->handlers[service].cb = handler;
    rpc->handlers[service].owner = owner;
}

/* Makes first_free non-zero. */
static int slots_grow(struct bnd_rpc *rpc) {
    size_t count = rpc->slot_count == 0 ? SLOTS_FIRST : 2 * rpc->slot_count;
    count = count > rpc->in_flight_max ? rpc->in_flight_max : count;
    if (count == rpc->slot_count) {
        return BND_FULL;
    }
    struct rpc_slot *slots = bnd_realloc(rpc->slots, count * sizeof *slots);
    if (slots == NULL) {
        return BND_FULL;
    }
    for (size_t i = rpc->slot_count; i < count; i++) {
        slots[i] =
            (struct rpc_slot){.call = NULL, .next_free = i + 1 < count ? (uint32_t)i + 2 : 0};
    }
    rpc->first_free = (uint32_t)rpc->slot_count + 1;
    rpc->slots = slots;
    rpc->slot_count = count;
    return 0;
}

int bnd_rpc_call(struct bnd_rpc *rpc, struct bnd_rpc_call *call, uint64_t to,
                 enum bnd_mesh_lane lane, enum bnd_rpc_service service,
                 const struct bnd_slice *parts, size_t count, uint64_t timeout_ns) {
    BND_ASSERT(call->rpc == NULL);
    BND_ASSERT(count < BND_MESH_PARTS_MAX);
    int rv = rpc->first_free == 0 ? slots_grow(rpc) : 0;
    if (rv != 0) {
        return rv;
    }
    uint32_t index = rpc->first_free - 1;
    uint64_t id = ((uint64_t)rpc->generation << 32) | index;
    struct bnd_slice all[BND_MESH_PARTS_MAX];
    uint8_t head[REQUEST_HEAD] = {RPC_REQUEST,
                                  (uint8_t)(service | (lane == BND_MESH_BULK ? 0x80u : 0u))};
    bnd_put_u64(head + 2, id);
    all[0] = bnd_slice(head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        all[1 + i] = parts[i];
    }
    rv = rpc->mesh->ops->send(rpc->mesh, to, lane, BND_MESH_RPC, all, 1 + count);
    if (rv != 0) {
        return rv;
    }
    rpc->generation++;
    rpc->first_free = rpc->slots[index].next_free;
    rpc->slots[index] = (struct rpc_slot){.call = call, .next_free = 0};
    call->rpc = rpc;
    call->id = id;
    call->to = to;
    call->timer = (struct bnd_timer){.cb = call_late, .data = call};
    bnd_list_push(&rpc->calls, &call->link);
    bnd_timer_start(rpc->env, &call->timer, timeout_ns);
    return 0;
}

void bnd_rpc_cancel(struct bnd_rpc_call *call) {
    if (call->rpc != NULL) {
        call_forget(call);
    }
}

void bnd_rpc_reply(struct bnd_rpc_request *request, int status, const struct bnd_slice *parts,
                   size_t count) {
    BND_ASSERT(count < BND_MESH_PARTS_MAX);
    BND_ASSERT(request->rpc->serving > 0);
    request->rpc->serving--;
    send_reply(request, status, parts, count);
    bnd_free(request);
}
