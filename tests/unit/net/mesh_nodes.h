/* Meshes over real sockets for tests: several nodes of one cluster in one process. */
#ifndef BND_TESTS_UNIT_NET_MESH_NODES_H
#define BND_TESTS_UNIT_NET_MESH_NODES_H

#include "net/mesh_tcp.h"
#include "tests/unit/net/real.h"

#define NODES_MAX 3
#define CLUSTER 7

struct node {
    struct real *real;
    uint64_t id;
    struct bnd_mesh_tcp *tcp;
    struct bnd_mesh *mesh;
    char address[BND_ADDRESS_MAX];
    unsigned ups;
    unsigned downs;
    uint64_t received[BND_MESH_LANES];
    uint64_t next[BND_MESH_LANES][NODES_MAX + 1]; /* the number expected from a sender */
    bool out_of_order;
    size_t big;
    bool big_wrong;
    bool closed;
    struct bnd_join_request *join;
    char join_text[64];
};

struct cluster {
    struct real real;
    struct certs certs;
    struct node nodes[NODES_MAX];
    unsigned count;
};

/* A test message: u64 number, u8 lane; or, on kind READ, a pattern. */
static inline void on_numbered(void *owner, uint64_t from, struct bnd_slice message) {
    struct node *node = owner;
    struct bnd_reader r = bnd_reader(message);
    uint64_t number = bnd_read_u64(&r);
    uint8_t lane = bnd_read_u8(&r);
    node->out_of_order |= r.failed || number != node->next[lane][from];
    node->next[lane][from] = number + 1;
    node->received[lane]++;
}

static inline void on_big(void *owner, uint64_t from, struct bnd_slice message) {
    struct node *node = owner;
    for (size_t i = 0; i < message.len; i++) {
        node->big_wrong |= message.data[i] != (uint8_t)(i * 131 >> 7);
    }
    node->big = message.len;
}

static inline void on_peer(void *owner, uint64_t peer, bool up) {
    struct node *node = owner;
    node->ups += up;
    node->downs += !up;
}

static inline void on_join(void *owner, struct bnd_join_request *request,
                           struct bnd_slice payload) {
    struct node *node = owner;
    (void)snprintf(node->join_text, sizeof node->join_text, "%.*s", (int)payload.len,
                   (const char *)payload.data);
    node->join = request;
}

static inline void node_start(struct cluster *c, struct node *node, uint64_t id,
                              const char *address) {
    struct bnd_error err = {0};
    *node = (struct node){.real = &c->real, .id = id};
    certs_leaf(&c->real, CLUSTER, id, &c->certs);
    struct bnd_mesh_tcp_config config = {
        .env = c->real.env,
        .self = id,
        .cluster = {CLUSTER},
        .listen_address = address,
        .tls = {bnd_buf_slice(&c->certs.cert), bnd_buf_slice(&c->certs.key),
                bnd_buf_slice(&c->certs.ca)},
        .on_join = on_join,
        .join_owner = node,
    };
    if (bnd_mesh_tcp_create(&config, &node->tcp, &err) != 0) {
        fail_msg("%s", err.message);
    }
    node->mesh = bnd_mesh_tcp_mesh(node->tcp);
    bnd_mesh_tcp_address(node->tcp, node->address);
    node->mesh->ops->receive(node->mesh, BND_MESH_RAFT, on_numbered, node);
    node->mesh->ops->receive(node->mesh, BND_MESH_READ, on_big, node);
    node->mesh->ops->watch(node->mesh, on_peer, node);
}

static inline void node_stop(struct node *node) {
    bnd_mesh_tcp_close(node->tcp, real_set, &node->closed);
    real_run(node->real, real_is_set, &node->closed);
}

static inline bool lane_ready(struct node *node, uint64_t to, enum bnd_mesh_lane lane) {
    struct bnd_slice part = bnd_slice("x", 1);
    return node->mesh->ops->send(node->mesh, to, lane, BND_MESH_RPC, &part, 1) == 0;
}

/* Every pair has both lanes. */
static inline bool all_up(void *data) {
    struct cluster *c = data;
    for (unsigned i = 0; i < c->count; i++) {
        for (unsigned j = 0; j < c->count; j++) {
            if (i != j && (!c->nodes[i].mesh->ops->up(c->nodes[i].mesh, c->nodes[j].id) ||
                           !lane_ready(&c->nodes[i], c->nodes[j].id, BND_MESH_BULK))) {
                return false;
            }
        }
    }
    return true;
}

static inline void cluster_start(struct cluster *c, unsigned count) {
    memset(c, 0, sizeof *c);
    real_open(&c->real);
    certs_ca(&c->real, CLUSTER, &c->certs);
    c->count = count;
    for (unsigned i = 0; i < count; i++) {
        node_start(c, &c->nodes[i], i + 1, "127.0.0.1:0");
    }
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < count; j++) {
            if (i != j) {
                assert_int_equal(
                    bnd_mesh_tcp_set_peer(c->nodes[i].tcp, c->nodes[j].id, c->nodes[j].address), 0);
            }
        }
    }
}

static inline void cluster_stop(struct cluster *c) {
    for (unsigned i = 0; i < c->count; i++) {
        node_stop(&c->nodes[i]);
        assert_int_equal(c->nodes[i].ups, c->nodes[i].downs);
    }
    bnd_io_env_destroy(c->real.env);
    certs_free(&c->certs);
}

#endif
