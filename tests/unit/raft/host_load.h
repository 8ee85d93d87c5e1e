/* A client that adds to one counter, one operation after the other, with retries under the same id
 * on whichever node leads: what a gateway does. After host_cluster.h. */
#ifndef BND_TESTS_UNIT_RAFT_HOST_LOAD_H
#define BND_TESTS_UNIT_RAFT_HOST_LOAD_H

#include "tests/unit/raft/host_cluster.h"

struct load {
    struct cluster *cluster;
    uint64_t gid, minter, seq;
    size_t pad;    /* bytes put beside each addition */
    size_t key_at; /* of the padding: one of 32 keys */
    int64_t acknowledged;
    bool busy, padding, stopped;
    struct bnd_raft_propose propose;
    struct node *at; /* where the attempt is */
    struct bnd_timer timer;
    uint64_t longest_ns, began_ns;
    uint8_t command[KV_VALUE_MAX + 64];
    size_t command_len;
};

static void load_try(struct load *load);

static void load_later(struct load *load, uint64_t delay_ns) {
    bnd_sim_world_at(load->cluster->world, &load->timer, delay_ns);
}

static void load_next(struct load *load) {
    static uint8_t bytes[KV_VALUE_MAX];
    struct bnd_buf command = {0};
    load->padding = load->pad > 0 && !load->padding;
    if (load->padding) {
        char key[8];
        snprintf(key, sizeof key, "p%zu", load->key_at++ % 32);
        memset(bytes, (int)load->seq, sizeof bytes);
        kv_put(&command, bnd_slice_str(key), bnd_slice(bytes, load->pad));
    } else {
        kv_add(&command, bnd_slice_str("load"), 1);
    }
    memcpy(load->command, command.data, command.len);
    load->command_len = command.len;
    bnd_buf_free(&command);
    load->seq++;
    load->began_ns = bnd_sim_world_now_ns(load->cluster->world);
    load_try(load);
}

static void load_answered(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct load *load = propose->data;
    load->busy = false;
    if (status != 0) {
        /* Only what a client may retry. */
        assert_true(status == BND_NOTLEADER || status == BND_BUSY || status == BND_FULL ||
                    status == BND_UNKNOWN || status == BND_CANCELED);
        load_later(load, 20 * BND_MS);
        return;
    }
    if (!load->padding) {
        load->acknowledged++;
        assert_int_equal(reply.len, 8);
        assert_int_equal(bnd_get_u64(reply.data), load->acknowledged);
    }
    uint64_t took = bnd_sim_world_now_ns(load->cluster->world) - load->began_ns;
    load->longest_ns = took > load->longest_ns ? took : load->longest_ns;
    load_later(load, BND_MS);
    load->began_ns = 0;
}

static void load_try(struct load *load) {
    struct leader_wait wait = {.cluster = load->cluster, .gid = load->gid};
    if (!has_leader(&wait)) {
        load_later(load, 20 * BND_MS);
        return;
    }
    load->propose = (struct bnd_raft_propose){
        .id = {.minter = load->minter, .seq = load->seq},
        .low_seq = load->seq,
        .deadline_ms = deadline(wait.leader, 60000),
        .command = bnd_slice(load->command, load->command_len),
        .cb = load_answered,
        .data = load,
    };
    load->at = wait.leader;
    bnd_sim_env_enter(wait.leader->env);
    int rv = bnd_raft_propose(wait.leader->host, load->gid, &load->propose);
    bnd_sim_env_leave(wait.leader->env);
    load->busy = rv == 0;
    if (rv != 0) {
        assert_true(rv == BND_NOTLEADER || rv == BND_BUSY || rv == BND_FULL || rv == BND_NOTFOUND);
        load_later(load, 20 * BND_MS);
    }
}

static void load_due(struct bnd_timer *timer) {
    struct load *load = timer->data;
    if (load->began_ns != 0) {
        load_try(load);
    } else if (!load->stopped) {
        load_next(load);
    }
}

static void load_start(struct load *load, struct cluster *cluster, uint64_t gid, size_t pad) {
    *load = (struct load){.cluster = cluster, .gid = gid, .minter = 77, .pad = pad};
    load->timer = (struct bnd_timer){.cb = load_due, .data = load};
    load_later(load, BND_MS);
}

/* The node is about to be crashed: what it was asked is not answered, and is asked again. */
static void load_node_dies(struct load *load, const struct node *node) {
    if (load->busy && load->at == node) {
        load->busy = false;
        load_later(load, 20 * BND_MS);
    }
}

static bool load_is_idle(void *data) {
    struct load *load = data;
    return !load->busy && load->began_ns == 0;
}

/* Waits for the operation under way; then the counter holds what was acknowledged. */
static void load_stop(struct load *load) {
    load->stopped = true;
    assert_true(bnd_sim_run_until_true(load->cluster->world, load_is_idle, load, 60 * SECOND));
    bnd_sim_world_cancel(load->cluster->world, &load->timer);
}

#endif
