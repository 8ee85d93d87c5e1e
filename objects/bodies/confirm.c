/* The asking side of check.c's CHECK: does a node hold every live body of a group? Asked while
 * somebody wants to know, answered from what was heard lately. */
#include "objects/bodies/bodies_private.h"

#include "base/alloc.h"

#define CALL_NS (3000 * BND_MS)
#define ASK_AGAIN_NS (300 * BND_MS)
#define FRESH_NS (10000 * BND_MS)
#define FORGET_NS (60000 * BND_MS)
enum { CONFIRMS_MAX = 4096 };

struct confirm {
    struct bnd_link link;
    struct bnd_bodies *bodies;
    struct bnd_rpc_call call;
    uint64_t gid, node;
    bool asking;
    bool holds; /* it said so, at told_ns */
    uint64_t told_ns, asked_ns, wanted_ns;
};

static void on_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct confirm *confirm = call->data;
    bool told = status == 0 && reply.len == BODY_REPLY_HEAD_BYTES + 1 + 8;
    confirm->asking = false;
    confirm->holds = told && reply.data[BODY_REPLY_HEAD_BYTES] != 0 &&
                     bnd_get_u64(reply.data + BODY_REPLY_HEAD_BYTES + 1) == 0;
    confirm->told_ns = bnd_now_ns(confirm->bodies->config.env);
}

static void ask(struct confirm *confirm) {
    struct bnd_bodies *bodies = confirm->bodies;
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    const struct body_request request = {.op = BODY_CHECK, .id = {.gid = confirm->gid}};
    body_request_encode(head, &request);
    struct bnd_slice part = bnd_slice(head, sizeof head);
    confirm->call = (struct bnd_rpc_call){.cb = on_answer, .data = confirm};
    confirm->asking = bnd_rpc_call(bodies->config.rpc, &confirm->call, confirm->node, BND_MESH_BULK,
                                   BND_RPC_BODY, &part, 1, CALL_NS) == 0;
    confirm->asked_ns = bnd_now_ns(bodies->config.env);
}

static struct confirm *find(struct bnd_bodies *bodies, uint64_t gid, uint64_t node, uint64_t now) {
    struct bnd_link *link = bodies->confirms.next;
    while (link != &bodies->confirms) {
        struct confirm *confirm = BND_CONTAINER(link, struct confirm, link);
        link = link->next;
        if (confirm->gid == gid && confirm->node == node) {
            return confirm;
        }
        if (!confirm->asking && now - confirm->wanted_ns > FORGET_NS) {
            bnd_link_remove(&confirm->link);
            bnd_free(confirm);
            bodies->confirms_count--;
        }
    }
    struct confirm *confirm =
        bodies->confirms_count < CONFIRMS_MAX ? bnd_zalloc(sizeof *confirm) : NULL;
    if (confirm != NULL) {
        confirm->bodies = bodies;
        confirm->gid = gid;
        confirm->node = node;
        bnd_list_push(&bodies->confirms, &confirm->link);
        bodies->confirms_count++;
    }
    return confirm;
}

bool bnd_bodies_hold_all(struct bnd_bodies *bodies, uint64_t gid, uint64_t node) {
    uint64_t now = bnd_now_ns(bodies->config.env);
    struct confirm *confirm = bodies->closing ? NULL : find(bodies, gid, node, now);
    if (confirm == NULL) {
        return false; /* asked again */
    }
    confirm->wanted_ns = now;
    if (confirm->holds && now - confirm->told_ns < FRESH_NS) {
        return true;
    }
    if (!confirm->asking && (confirm->asked_ns == 0 || now - confirm->asked_ns > ASK_AGAIN_NS)) {
        ask(confirm);
    }
    return false;
}

void body_confirms_close(struct bnd_bodies *bodies) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&bodies->confirms)) != NULL) {
        struct confirm *confirm = BND_CONTAINER(link, struct confirm, link);
        if (confirm->asking) {
            bnd_rpc_cancel(&confirm->call);
        }
        bnd_free(confirm);
    }
    bodies->confirms_count = 0;
}
