/* Group 0's state machine over a real ordered map, for the tests of this folder. */
#ifndef BND_TESTS_UNIT_CATALOG_MACHINE_H
#define BND_TESTS_UNIT_CATALOG_MACHINE_H

#include "catalog/command.h"
#include "catalog/fsm.h"
#include "tests/sim/env.h"
#include "tests/sim/state.h"
#include "tests/sim/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SLOT = 7 };

struct machine {
    struct bnd_sim_world *world;
    struct bnd_sim_store *store;
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *env;
    struct bnd_state *state;
    struct bnd_fsm fsm;
    struct bnd_buf reply;
    uint64_t index;
    uint64_t stamp_ms;
};

static inline int setup(void **state) {
    static struct machine machine;
    memset(&machine, 0, sizeof machine);
    machine.world = bnd_sim_world_create(1);
    machine.store = bnd_sim_store_create(machine.world, 1);
    machine.disk = bnd_sim_disk_create(machine.world, 1, 0);
    machine.env = bnd_sim_env_create(machine.world, machine.disk, NULL, 1);
    bnd_sim_env_enter(machine.env);
    machine.state = bnd_sim_store_open(machine.store, machine.env);
    machine.stamp_ms = 1000000;
    bnd_catalog_fsm_make(&machine.fsm);
    *state = &machine;
    return 0;
}

static inline int teardown(void **state) {
    struct machine *m = *state;
    bnd_buf_free(&m->reply);
    m->state->ops->close(m->state);
    bnd_sim_env_leave(m->env);
    bnd_sim_env_stop(m->env);
    bnd_sim_store_destroy(m->store);
    bnd_sim_disk_destroy(m->disk);
    bnd_sim_world_destroy(m->world);
    return 0;
}

static inline int apply(struct machine *m, const struct bnd_catalog_command *command) {
    struct bnd_buf bytes = {0};
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    struct bnd_fsm_apply context = {.index = ++m->index,
                                    .stamp_ms = m->stamp_ms,
                                    .slot = SLOT,
                                    .state = m->state,
                                    .batch = batch};
    bnd_catalog_command_encode(&bytes, command);
    bnd_buf_reset(&m->reply);
    int status = m->fsm.ops->apply(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply);
    if (status != 0) { /* as it was on entry: what the host relies on */
        assert_int_equal(m->state->ops->batch_bytes(batch), 0);
    }
    assert_int_equal(m->state->ops->write(m->state, batch), 0);
    m->state->ops->batch_destroy(batch);
    bnd_buf_free(&bytes);
    return status;
}

static inline int query(struct machine *m, const struct bnd_catalog_query *q) {
    struct bnd_buf bytes = {0};
    struct bnd_fsm_read context = {.applied = m->index, .slot = SLOT, .state = m->state};
    bnd_catalog_query_encode(&bytes, q);
    bnd_buf_reset(&m->reply);
    int status = m->fsm.ops->read(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply);
    bnd_buf_free(&bytes);
    return status;
}

static inline void init_cluster(struct machine *m) {
    struct bnd_buf settings = {0};
    struct bnd_buf node = {0};
    struct bnd_settings s = {.cluster_id = 9,
                             .shards = 64,
                             .hash_version = 1,
                             .replicas = 3,
                             .ca_cert = bnd_slice_str("ca 1"),
                             .ca_key = bnd_slice_str("key 1"),
                             .ca_generation = 1};
    struct bnd_node_record n = {
        .id = 1, .state = BND_NODE_ACTIVE, .role = BND_NODE_STORAGE, .weight = 100};
    bnd_settings_encode(&settings, &s);
    bnd_node_encode(&node, &n);
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_INIT, .a = bnd_buf_slice(&settings), .b = bnd_buf_slice(&node)};
    assert_int_equal(apply(m, &command), 0);
    assert_int_equal(apply(m, &command), BND_EXISTS);
    bnd_buf_free(&settings);
    bnd_buf_free(&node);
}

#endif
