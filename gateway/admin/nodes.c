/* What becomes of a node: /bindery/v1/nodes/<id>/drain, undrain, decommission, replace. Group 0
 * decides; what it refuses is told in words here. */
#include "base/alloc.h"
#include "gateway/admin/admin_private.h"
#include "placement/rendezvous.h"

#include <stdio.h>
#include <string.h>

#define SEGMENT_NODE 3 /* of /bindery/v1/nodes/<id>/... */
enum { TEXT_MAX = 320 };

/* The node that the path names, or NULL: the request has been ended. */
static const struct bnd_node_record *named(struct rest_request *request) {
    struct bnd_slice text = rest_segment(request, SEGMENT_NODE);
    uint64_t id = 0;
    bool number = text.len > 0 && text.len < 19;
    for (size_t i = 0; number && i < text.len; i++) {
        number = text.data[i] >= '0' && text.data[i] <= '9';
        id = 10 * id + (uint64_t)(text.data[i] - '0');
    }
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    const struct bnd_node_record *node = number ? bnd_catalog_find_node(view, id) : NULL;
    if (node == NULL) {
        rest_fail(request, 404, REST_BAD_REQUEST, "there is no such node");
    }
    return node;
}

static bool storing(const struct bnd_node_record *node) {
    return node->role == BND_NODE_STORAGE && node->weight > 0 &&
           (node->state == BND_NODE_ACTIVE || node->state == BND_NODE_DRAINING);
}

/* ---- answers ----------------------------------------------------------------------------------*/

static void on_decided(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_node_record node;
    if (status == BND_DENIED) {
        rest_fail(request, 409, REST_BAD_REQUEST, "that node is gone for ever");
    } else if (status == BND_PRECONDITION) {
        rest_fail(request, 409, REST_BAD_REQUEST, request->data);
    } else if (status != 0 || bnd_node_decode(reply, &node) != 0) {
        rest_fail_code(request, status != 0 ? status : BND_CORRUPT);
    } else {
        rest_reply(request, json_pack("{s:I, s:s}", "id", (json_int_t)node.id, "state",
                                      admin_node_state_text(node.state)));
    }
}

static void clean_text(struct rest_request *request) {
    bnd_free(request->data);
}

/* Sends the command; `refusal` is what BND_PRECONDITION will have meant. */
static void decide(struct rest_request *request, const struct bnd_catalog_command *command,
                   const char *refusal) {
    request->data = bnd_strdup(refusal);
    request->clean = clean_text;
    request->call = (struct bnd_catalog_call){.cb = on_decided, .data = request};
    int rv = request->data == NULL
                 ? BND_NOMEM
                 : bnd_catalog_write(request->services->catalog, &request->call, command, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

/* Reads {"force": bool, "with": id}; false: the request has been ended. */
static bool read_body(struct rest_request *request, bool *out_force, json_int_t *out_with) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return false;
    }
    const json_t *force = json_object_get(body, "force");
    const json_t *with = json_object_get(body, "with");
    bool good = (force == NULL || json_is_boolean(force)) &&
                (with == NULL || (json_is_integer(with) && json_integer_value(with) > 0));
    *out_force = json_is_true(force);
    *out_with = json_integer_value(with);
    json_decref(body);
    if (!good) {
        rest_fail(request, 400, REST_BAD_REQUEST,
                  "force must be true or false, with the id of a node");
    }
    return good;
}

/* ---- what is asked for ------------------------------------------------------------------------*/

static void change_state(struct rest_request *request, enum bnd_node_state state,
                         const char *refusal) {
    bool force = false;
    json_int_t with = 0;
    const struct bnd_node_record *node = named(request);
    uint64_t id = node == NULL ? 0 : node->id;
    if (node == NULL || !read_body(request, &force, &with)) {
        return;
    }
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_NODE_STATE, .id = id, .number = (uint64_t)state};
    decide(request, &command, refusal);
}

void admin_run_node_drain(struct rest_request *request) {
    change_state(request, BND_NODE_DRAINING, "only an active storage node can be drained");
}

void admin_run_node_undrain(struct rest_request *request) {
    change_state(request, BND_NODE_ACTIVE, "another node has taken that node's place");
}

/* What decommissioning it would cost. */
static void loss_text(const struct rest_request *request, const struct bnd_node_record *node,
                      char out[TEXT_MAX]) {
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    size_t count = 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        count += storing(&view->nodes[i]);
    }
    size_t left = count - storing(node);
    size_t before = bnd_place_voters(count, view->settings.replicas);
    size_t after = bnd_place_voters(left, view->settings.replicas);
    int len = left == 0
                  ? snprintf(out, TEXT_MAX,
                             "node %llu is the last one that stores: nothing can be "
                             "moved away from it",
                             (unsigned long long)node->id)
                  : snprintf(out, TEXT_MAX,
                             "without node %llu %zu storage nodes are left, so that groups of %zu "
                             "voters become groups of %zu, which go on without %zu of them; "
                             "force does it nevertheless",
                             (unsigned long long)node->id, left, before, after, after / 2);
    (void)len; /* cut, never overrun */
}

void admin_run_node_decommission(struct rest_request *request) {
    bool force = false;
    json_int_t with = 0;
    char refusal[TEXT_MAX];
    const struct bnd_node_record *node = named(request);
    if (node == NULL) {
        return;
    }
    bool gateway = node->role == BND_NODE_GATEWAY;
    struct bnd_catalog_command command = {.op = BND_CATALOG_NODE_STATE,
                                          .id = node->id,
                                          .number = gateway ? BND_NODE_GONE : BND_NODE_LEAVING};
    loss_text(request, node, refusal);
    if (!read_body(request, &force, &with)) {
        return;
    }
    command.a = bnd_slice("force", force ? 5 : 0);
    decide(request, &command, refusal);
}

/* A node that lives is moved away from, copy by copy; to swap it for another would count on what it
 * alone may hold. */
void admin_run_node_replace(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    bool force = false;
    json_int_t with = 0;
    const struct bnd_node_record *node = named(request);
    uint64_t id = node == NULL ? 0 : node->id;
    if (node == NULL || !read_body(request, &force, &with)) {
        return;
    }
    if (with == 0) {
        rest_fail(request, 400, REST_BAD_REQUEST, "with is missing: the node that takes its place");
        return;
    }
    if (!force && (id == services->self || services->mesh->ops->up(services->mesh, id))) {
        rest_fail(request, 409, REST_BAD_REQUEST,
                  "that node is up: decommission it, or use force if it is to be replaced alive");
        return;
    }
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_NODE_REPLACE, .id = id, .number = (uint64_t)with};
    decide(
        request, &command,
        "the one must be a storage node whose place is not taken, the other an active one with a "
        "place of its own");
}
