/* /bindery/v1/ca: the cluster's CA, and its change in two steps (ADR 0091). Group 0 decides; what
 * it refuses is told in words here. */
#include "catalog/issue.h"
#include "gateway/admin/admin_private.h"
#include "net/pki.h"

/* ---- the picture ------------------------------------------------------------------------------*/

static json_t *ca_json(struct bnd_slice cert) {
    uint8_t fingerprint[BND_PKI_FINGERPRINT_BYTES];
    char hex[2 * BND_PKI_FINGERPRINT_BYTES + 1];
    uint64_t expiry_s = 0;
    if (cert.len == 0 || bnd_pki_fingerprint(cert, fingerprint, NULL) != 0 ||
        bnd_pki_expiry(cert, &expiry_s, NULL) != 0) {
        return json_null();
    }
    bnd_hex_encode(fingerprint, sizeof fingerprint, hex);
    return json_pack("{s:s, s:o, s:o}", "sha256", hex, "expires", rest_time_json(expiry_s * 1000),
                     "pem", rest_text_json(cert));
}

/* Who is a member, and whether it has a certificate of the newest CA: null when that is not asked,
 * for no change is under way. */
static json_t *members_json(const struct bnd_catalog_view *view) {
    json_t *members = json_array();
    bool changing = view->settings.old_ca_cert.len > 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct bnd_node_record *node = &view->nodes[i];
        bool has = node->ca_generation == view->settings.ca_generation;
        if (node->state == BND_NODE_GONE) {
            continue;
        }
        json_t *member = json_pack("{s:I, s:s, s:o, s:o}", "id", (json_int_t)node->id, "role",
                                   node->role == BND_NODE_GATEWAY ? "gateway" : "storage",
                                   "address", rest_text_json(node->address), "ready",
                                   changing ? json_boolean(has) : json_null());
        if (json_array_append_new(members, member) != 0) {
            json_decref(members);
            return NULL;
        }
    }
    return members;
}

static json_t *picture(const struct rest_request *request) {
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    const struct bnd_settings *settings = &view->settings;
    return json_pack("{s:I, s:b, s:o, s:o, s:o}", "generation", (json_int_t)settings->ca_generation,
                     "rotating", settings->old_ca_cert.len > 0, "ca", ca_json(settings->ca_cert),
                     "old", ca_json(settings->old_ca_cert), "members", members_json(view));
}

void admin_run_ca(struct rest_request *request) {
    rest_reply(request, picture(request));
}

/* ---- the steps --------------------------------------------------------------------------------*/

static void on_begun(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    if (status == BND_PRECONDITION) {
        rest_fail(request, 409, REST_BAD_REQUEST,
                  "the CA is being changed already: `bindery ca` shows how far it is");
    } else if (status != 0) {
        rest_fail_code(request, status);
    } else {
        rest_reply(request, json_pack("{s:b}", "rotating", 1));
    }
}

void admin_run_ca_rotate(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    const struct bnd_settings *settings = &bnd_catalog_view(services->catalog)->settings;
    struct bnd_issue_ca next = {0};
    struct bnd_error err = {0};
    int rv = bnd_issue_next_ca(services->env, services->cluster_key, settings, &next, &err);
    if (rv != 0) {
        bnd_log(services->env, BND_LOG_ERROR, "rest", "no new CA: %s", err.message);
        rest_fail_code(request, rv);
        return;
    }
    struct bnd_catalog_command command = {.op = BND_CATALOG_CA_BEGIN,
                                          .number = settings->ca_generation,
                                          .a = bnd_buf_slice(&next.certificate),
                                          .b = bnd_buf_slice(&next.sealed_key),
                                          .c = bnd_buf_slice(&next.link)};
    request->call = (struct bnd_catalog_call){.cb = on_begun, .data = request};
    rv = bnd_catalog_write(services->catalog, &request->call, &command, 0);
    bnd_issue_ca_free(&next);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

static void on_finished(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    if (status == BND_NOTFOUND) {
        rest_fail(request, 409, REST_BAD_REQUEST, "the CA is not being changed");
    } else if (status == BND_PRECONDITION) {
        rest_fail(request, 409, REST_BAD_REQUEST,
                  "not every member has a certificate of the new CA: `bindery ca` shows which. One "
                  "that is down gets its own when it is back; one that will not come back is to be "
                  "decommissioned or replaced. force shuts them out for ever");
    } else if (status != 0) {
        rest_fail_code(request, status);
    } else {
        rest_reply(request, json_pack("{s:b}", "rotating", 0));
    }
}

void admin_run_ca_finish(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    const json_t *given = json_object_get(body, "force");
    bool good = given == NULL || json_is_boolean(given);
    bool force = json_is_true(given);
    json_decref(body);
    if (!good) {
        rest_fail(request, 400, REST_BAD_REQUEST, "force must be true or false");
        return;
    }
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    struct bnd_catalog_command command = {.op = BND_CATALOG_CA_FINISH,
                                          .number = view->settings.ca_generation,
                                          .a = bnd_slice_str(force ? "force" : "")};
    request->call = (struct bnd_catalog_call){.cb = on_finished, .data = request};
    int rv = bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}
