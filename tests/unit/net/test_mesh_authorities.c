/* The mesh over real sockets while the cluster's CA is being changed (ADR 0091): who believes whom.
 */
#include "tests/unit/net/mesh_nodes.h"

/* Certificates of both CAs. now: what nodes are started with. */
struct change {
    struct cluster c;
    struct certs old;
    struct bnd_pki_successor next;
    struct bnd_buf both;
};

static void change_start(struct change *change) {
    struct bnd_error err;
    memset(change, 0, sizeof *change);
    cluster_start(&change->c, 2);
    real_run(&change->c.real, all_up, &change->c);
    change->old = change->c.certs;
    const struct bnd_pki_ca ca = {bnd_buf_slice(&change->old.ca),
                                  bnd_buf_slice(&change->old.ca_key)};
    assert_int_equal(bnd_pki_ca_succeed(&ca, bnd_wall_ms(change->c.real.env), &change->next, &err),
                     0);
    bnd_buf_append_slice(&change->both, bnd_buf_slice(&change->next.certificate_pem));
    bnd_buf_append_slice(&change->both, bnd_buf_slice(&change->old.ca));
}

static void change_stop(struct change *change) {
    memset(&change->c.certs, 0, sizeof change->c.certs); /* owned as change->old */
    cluster_stop(&change->c);
    certs_free(&change->old);
    bnd_pki_successor_free(&change->next);
    bnd_buf_free(&change->both);
}

static struct bnd_mesh_tcp_config config_of(struct node *node, struct certs *certs,
                                            struct bnd_slice trusted, const char *address) {
    return (struct bnd_mesh_tcp_config){
        .env = node->real->env,
        .self = node->id,
        .cluster = {CLUSTER},
        .listen_address = address,
        .tls = {bnd_buf_slice(&certs->cert), bnd_buf_slice(&certs->key), trusted},
        .on_join = on_join,
        .join_owner = node,
    };
}

/* A certificate of the new CA; linked: with the link. */
static void sign_new(struct change *change, uint64_t node, bool linked, struct certs *out) {
    struct certs signer = {.ca = change->next.certificate_pem, .ca_key = change->next.key_pem};
    certs_leaf(&change->c.real, CLUSTER, node, &signer);
    if (linked) {
        bnd_buf_append_slice(&signer.cert, bnd_buf_slice(&change->next.link_pem));
    }
    out->cert = signer.cert;
    out->key = signer.key;
}

static void leaf_free(struct certs *certs) {
    bnd_buf_free(&certs->cert);
    bnd_buf_free(&certs->key);
}

/* The node comes back on its address with these certificates. */
static void restart(struct change *change, unsigned index, struct certs *certs,
                    struct bnd_slice trusted) {
    struct node *node = &change->c.nodes[index];
    struct node *other = &change->c.nodes[1 - index];
    char address[BND_ADDRESS_MAX];
    struct bnd_error err = {0};
    uint64_t id = node->id;
    memcpy(address, node->address, sizeof address);
    node_stop(node);
    *node = (struct node){.real = &change->c.real, .id = id};
    struct bnd_mesh_tcp_config config = config_of(node, certs, trusted, address);
    if (bnd_mesh_tcp_create(&config, &node->tcp, &err) != 0) {
        fail_msg("%s", err.message);
    }
    node->mesh = bnd_mesh_tcp_mesh(node->tcp);
    bnd_mesh_tcp_address(node->tcp, node->address);
    node->mesh->ops->watch(node->mesh, on_peer, node);
    assert_int_equal(bnd_mesh_tcp_set_peer(node->tcp, other->id, other->address), 0);
}

/* Node 1 was down, or has not heard yet: it trusts the old CA alone. It dials, being the lower. */
static void test_who_trusts_the_old_ca_alone_believes_the_link(void **state) {
    struct change change;
    struct certs fresh = {0};
    change_start(&change);
    sign_new(&change, 2, true, &fresh);
    restart(&change, 1, &fresh, bnd_buf_slice(&change.both));
    real_run(&change.c.real, all_up, &change.c);
    leaf_free(&fresh);
    sign_new(&change, 1, true, &fresh); /* and the other way round, node 2 having heard nothing */
    certs_leaf(&change.c.real, CLUSTER, 2, &change.old);
    restart(&change, 1, &change.old, bnd_buf_slice(&change.old.ca));
    restart(&change, 0, &fresh, bnd_buf_slice(&change.both));
    real_run(&change.c.real, all_up, &change.c);
    leaf_free(&fresh);
    change_stop(&change);
}

static bool refused(void *data) {
    return strstr(data, "certificate refused") != NULL;
}

static void test_without_the_link_it_is_a_strangers(void **state) {
    struct change change;
    struct certs fresh = {0};
    change_start(&change);
    sign_new(&change, 2, false, &fresh);
    restart(&change, 1, &fresh, bnd_buf_slice(&change.both));
    change.c.real.log[0] = 0;
    real_run(&change.c.real, refused, change.c.real.log);
    assert_false(change.c.nodes[0].mesh->ops->up(change.c.nodes[0].mesh, 2));
    leaf_free(&fresh);
    change_stop(&change);
}

/* In the end: new certificates for connections from now on, and the old CA's are refused. */
static void test_the_old_ca_is_trusted_no_more_once_it_is_dropped(void **state) {
    struct change change;
    struct certs fresh = {0};
    struct bnd_error err = {0};
    change_start(&change);
    sign_new(&change, 1, false, &fresh);
    const struct bnd_mesh_tcp_tls tls = {bnd_buf_slice(&fresh.cert), bnd_buf_slice(&fresh.key),
                                         bnd_buf_slice(&change.next.certificate_pem)};
    assert_int_equal(bnd_mesh_tcp_renew(change.c.nodes[0].tcp, &tls, &err), 0);
    leaf_free(&fresh);
    certs_leaf(&change.c.real, CLUSTER, 2, &change.old);
    restart(&change, 1, &change.old, bnd_buf_slice(&change.both));
    change.c.real.log[0] = 0;
    real_run(&change.c.real, refused, change.c.real.log);
    assert_false(change.c.nodes[0].mesh->ops->up(change.c.nodes[0].mesh, 2));
    sign_new(&change, 2, false, &fresh);
    restart(&change, 1, &fresh, bnd_buf_slice(&change.next.certificate_pem));
    real_run(&change.c.real, all_up, &change.c);
    leaf_free(&fresh);
    change_stop(&change);
}

/* ---- joiners ----------------------------------------------------------------------------------*/

struct joiner {
    bool done;
    int status;
};

static void joined(void *data, int status, struct bnd_slice reply, const char *failure) {
    struct joiner *joiner = data;
    joiner->done = true;
    joiner->status = status;
}

static bool joiner_done(void *data) {
    return ((struct joiner *)data)->done;
}

static bool join_asked(void *data) {
    return ((struct node *)data)->join != NULL;
}

/* A joiner whose token pins that CA asks node 2. */
static int join_pinning(struct change *change, struct bnd_slice ca) {
    struct node *node = &change->c.nodes[1];
    struct joiner joiner = {0};
    struct bnd_join_call *call = NULL;
    struct bnd_error err;
    uint8_t fingerprint[32];
    assert_int_equal(bnd_pki_fingerprint(ca, fingerprint, &err), 0);
    struct bnd_join_call_options options = {.env = change->c.real.env,
                                            .address = node->address,
                                            .ca_fingerprint = fingerprint,
                                            .request = bnd_slice_str("let me in"),
                                            .cb = joined,
                                            .data = &joiner};
    node->join = NULL;
    assert_int_equal(bnd_mesh_join_call(&options, &call, &err), 0);
    bool asked = real_run_for(&change->c.real, 2000 * BND_MS, join_asked, node);
    if (asked) {
        bnd_mesh_join_reply(node->join, 0, bnd_slice_str("welcome"));
    }
    real_run(&change->c.real, joiner_done, &joiner);
    return joiner.status;
}

static void test_join_tokens_of_both_cas_are_good_until_the_old_one_goes(void **state) {
    struct change change;
    struct certs fresh = {0};
    change_start(&change);
    sign_new(&change, 2, true, &fresh);
    restart(&change, 1, &fresh, bnd_buf_slice(&change.both));
    assert_int_equal(join_pinning(&change, bnd_buf_slice(&change.old.ca)), 0);
    assert_int_equal(join_pinning(&change, bnd_buf_slice(&change.next.certificate_pem)), 0);
    leaf_free(&fresh);
    sign_new(&change, 2, false, &fresh);
    restart(&change, 1, &fresh, bnd_buf_slice(&change.next.certificate_pem));
    assert_int_equal(join_pinning(&change, bnd_buf_slice(&change.old.ca)), BND_DENIED);
    assert_int_equal(join_pinning(&change, bnd_buf_slice(&change.next.certificate_pem)), 0);
    leaf_free(&fresh);
    change_stop(&change);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_trusts_the_old_ca_alone_believes_the_link),
        cmocka_unit_test(test_without_the_link_it_is_a_strangers),
        cmocka_unit_test(test_the_old_ca_is_trusted_no_more_once_it_is_dropped),
        cmocka_unit_test(test_join_tokens_of_both_cas_are_good_until_the_old_one_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
