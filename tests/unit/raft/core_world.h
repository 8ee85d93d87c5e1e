/* A few cores wired by hand in one memory: a virtual clock, a disk that becomes durable when told,
 * links that can be cut. Header only, for tests/unit/raft/test_core_*.c. */
#ifndef BND_TESTS_UNIT_RAFT_CORE_WORLD_H
#define BND_TESTS_UNIT_RAFT_CORE_WORLD_H

#include "base/alloc.h"
#include "base/assert.h"
#include "raft/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

#define WORLD_NODES 3
#define WORLD_LOG 512
#define WORLD_TEXT 64
#define WORLD_MAIL 4096

struct world_entry {
    uint64_t term;
    uint8_t kind;
    size_t len;
    uint8_t data[WORLD_TEXT];
};

/* What is on disk, or is on its way: entries[i] has index start.index + 1 + i. */
struct world_disk {
    uint64_t term, vote;
    uint64_t start_index, start_term, start_config_index;
    uint8_t start_config[WORLD_TEXT * 4];
    size_t start_config_len;
    struct world_entry entries[WORLD_LOG];
    size_t count;
};

struct world_mail {
    uint64_t from, to, after_op;
    struct bnd_buf bytes;
};

struct world;

struct world_node {
    struct world *world;
    uint64_t id;
    struct bnd_core *core;
    struct world_disk disk;
    struct bnd_journal_floor floor;
    uint64_t op_last, op_durable;
    bool disk_stuck;
    struct world_entry applied[WORLD_LOG]; /* by index */
    uint64_t applied_last, applied_first;
    unsigned truncates, installs, metas, changes, fatals, commit_jumps;
    uint64_t install_export, truncated_at;
    int fatal_code;
    struct world_mail mail[WORLD_MAIL]; /* sent, not yet gone */
    size_t mail_count;
    bool cut;
    size_t installs_wanted;
    struct bnd_message install_wanted;
};

struct world {
    struct bnd_env env;
    uint64_t now_ms, seed;
    uint32_t guards;
    size_t message_bytes_max, log_bytes_max;
    struct world_node nodes[WORLD_NODES + 1]; /* by id */
    size_t count;
    bool keep_mail; /* step() delivers nothing */
    uint64_t biggest_append;
};

static uint64_t world_now(struct bnd_env *env) {
    return ((struct world *)(void *)env)->now_ms * BND_MS;
}

static uint64_t world_random(struct bnd_env *env) {
    struct world *w = (struct world *)(void *)env;
    w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return w->seed >> 33;
}

static const struct bnd_env_ops world_env = {.now_ns = world_now, .random = world_random};

static void world_meta(void *owner, uint64_t op, uint64_t term, uint64_t vote) {
    struct world_node *n = owner;
    assert_int_equal(op, n->op_last + 1);
    assert_true(term >= n->disk.term);
    n->op_last = op;
    n->disk.term = term;
    n->disk.vote = vote;
    n->metas++;
}

/* Nothing of a term is written, or said, before the term is. */
static void world_check_term(const struct world_node *n) {
    struct bnd_core_status status;
    bnd_core_status(n->core, &status);
    assert_int_equal(status.term, n->disk.term);
}

static void world_append(void *owner, uint64_t op, const struct bnd_journal_entry *entries,
                         size_t count) {
    struct world_node *n = owner;
    world_check_term(n);
    assert_int_equal(op, n->op_last + 1);
    n->op_last = op;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entries[i].index, n->disk.start_index + n->disk.count + 1);
        assert_true(entries[i].data.len <= WORLD_TEXT * 4);
        struct world_entry *e = &n->disk.entries[n->disk.count++];
        e->term = entries[i].term;
        e->kind = entries[i].kind;
        e->len = entries[i].data.len < WORLD_TEXT ? entries[i].data.len : WORLD_TEXT;
        if (e->len > 0) {
            memcpy(e->data, entries[i].data.data, e->len);
        }
    }
}

static void world_truncate(void *owner, uint64_t op, uint64_t index) {
    struct world_node *n = owner;
    world_check_term(n);
    assert_int_equal(op, n->op_last + 1);
    assert_true(index > n->disk.start_index);
    assert_true(index <= n->disk.start_index + n->disk.count);
    n->op_last = op;
    n->disk.count = index - n->disk.start_index - 1;
    n->truncates++;
    n->truncated_at = index;
}

static void world_install(void *owner, uint64_t op, const struct bnd_journal_start *start,
                          uint64_t export_id) {
    struct world_node *n = owner;
    world_check_term(n);
    assert_int_equal(op, n->op_last + 1);
    n->op_last = op;
    n->disk.count = 0;
    n->disk.start_index = start->index;
    n->disk.start_term = start->term;
    n->disk.start_config_index = start->config_index;
    n->disk.start_config_len = start->config.len;
    memcpy(n->disk.start_config, start->config.data, start->config.len);
    n->applied_last = start->index;
    n->installs++;
    n->install_export = export_id;
}

static int world_send(void *owner, const struct bnd_message *message, uint64_t after_op) {
    struct world_node *n = owner;
    world_check_term(n);
    assert_int_equal(message->from, n->id);
    assert_true(after_op <= n->op_last);
    if (message->type == BND_MESSAGE_INSTALL) {
        n->installs_wanted++;
        n->install_wanted = *message;
        return 0;
    }
    if (message->type == BND_MESSAGE_APPEND &&
        bnd_message_bytes(message) > n->world->biggest_append) {
        n->world->biggest_append = bnd_message_bytes(message);
    }
    assert_true(n->mail_count < WORLD_MAIL);
    struct world_mail *m = &n->mail[n->mail_count++];
    *m = (struct world_mail){.from = n->id, .to = message->to, .after_op = after_op};
    bnd_message_encode(message, &m->bytes);
    assert_false(m->bytes.failed);
    assert_int_equal(m->bytes.len, bnd_message_bytes(message));
    return 0;
}

static void world_apply(void *owner, const struct bnd_journal_entry *entry) {
    struct world_node *n = owner;
    assert_int_equal(entry->index, n->applied_last + 1);
    n->applied_last = entry->index;
    assert_true(entry->index < WORLD_LOG);
    struct world_entry *e = &n->applied[entry->index];
    e->term = entry->term;
    e->kind = entry->kind;
    e->len = entry->data.len < WORLD_TEXT ? entry->data.len : WORLD_TEXT;
    if (e->len > 0) {
        memcpy(e->data, entry->data.data, e->len);
    }
}

static void world_changed(void *owner) {
    ((struct world_node *)owner)->changes++;
}

static void world_fatal(void *owner, const struct bnd_error *why) {
    struct world_node *n = owner;
    n->fatals++;
    n->fatal_code = why->code;
}

static const struct bnd_core_ops world_ops = {
    .persist_meta = world_meta,
    .append = world_append,
    .truncate = world_truncate,
    .install = world_install,
    .send = world_send,
    .apply = world_apply,
    .changed = world_changed,
    .fatal = world_fatal,
};

static void world_open(struct world *w, uint64_t id) {
    struct world_node *n = &w->nodes[id];
    struct bnd_journal_entry entries[WORLD_LOG];
    for (size_t i = 0; i < n->disk.count; i++) {
        struct world_entry *e = &n->disk.entries[i];
        entries[i] = (struct bnd_journal_entry){.index = n->disk.start_index + 1 + i,
                                                .term = e->term,
                                                .kind = e->kind,
                                                .data = bnd_slice(e->data, e->len)};
    }
    struct bnd_core_config config = {
        .env = &w->env,
        .ops = &world_ops,
        .owner = n,
        .gid = 7,
        .self = id,
        .election_ms = 300,
        .heartbeat_ms = 50,
        .guards = w->guards,
        .message_bytes_max = w->message_bytes_max,
        .log_bytes_max = w->log_bytes_max,
        .term = n->disk.term,
        .vote = n->disk.vote,
        .floor = n->floor,
        .start = {.index = n->disk.start_index,
                  .term = n->disk.start_term,
                  .config_index = n->disk.start_config_index,
                  .config = bnd_slice(n->disk.start_config, n->disk.start_config_len)},
        .entries = entries,
        .entries_count = n->disk.count,
    };
    n->op_last = n->op_durable = 0;
    n->applied_last = n->disk.start_index;
    struct bnd_error err;
    assert_int_equal(bnd_core_open(&config, &n->core, &err), 0);
    bnd_core_start(n->core);
}

/* Voters first..last, on every one of them the same entry 1. */
static void world_bootstrap(struct world *w, size_t voters) {
    struct bnd_raft_configuration configuration = {.count = voters};
    for (size_t i = 0; i < voters; i++) {
        configuration.members[i] = (struct bnd_raft_member){.node = i + 1, .role = BND_RAFT_VOTER};
    }
    struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&configuration, &bytes);
    for (size_t id = 1; id <= voters; id++) {
        struct world_disk *d = &w->nodes[id].disk;
        d->term = 1;
        d->count = 1;
        d->entries[0] =
            (struct world_entry){.term = 1, .kind = BND_CORE_CONFIGURATION, .len = bytes.len};
        memcpy(d->entries[0].data, bytes.data, bytes.len);
    }
    bnd_buf_free(&bytes);
}

static struct world *world_make(size_t count, size_t voters, uint32_t guards) {
    struct bnd_error err;
    assert_int_equal(bnd_core_library_init(&err), 0);
    struct world *w = bnd_zalloc(sizeof *w);
    assert_non_null(w);
    w->env.ops = &world_env;
    w->now_ms = 100000;
    w->seed = 42;
    w->guards = guards;
    w->count = count;
    for (size_t id = 1; id <= count; id++) {
        w->nodes[id].world = w;
        w->nodes[id].id = id;
    }
    world_bootstrap(w, voters);
    return w;
}

static __attribute__((unused)) void world_open_all(struct world *w) {
    for (size_t id = 1; id <= w->count; id++) {
        world_open(w, id);
    }
}

static void world_crash(struct world *w, uint64_t id) {
    struct world_node *n = &w->nodes[id];
    bnd_core_close(n->core);
    n->core = NULL;
    for (size_t i = 0; i < n->mail_count; i++) {
        bnd_buf_free(&n->mail[i].bytes);
    }
    n->mail_count = 0;
}

static void world_free(struct world *w) {
    for (size_t id = 1; id <= w->count; id++) {
        world_crash(w, id);
    }
    bnd_free(w);
}

static void world_sync(struct world *w, uint64_t id) {
    struct world_node *n = &w->nodes[id];
    if (n->core != NULL && n->op_durable < n->op_last) {
        n->op_durable = n->op_last;
        bnd_core_persisted(n->core, n->op_durable);
    }
}

static void world_give(struct world *w, uint64_t from, uint64_t to, struct bnd_message *message) {
    message->from = from;
    message->to = to;
    if (to >= 1 && to <= w->count && w->nodes[to].core != NULL && !w->nodes[to].cut &&
        !w->nodes[from].cut) {
        bnd_core_recv(w->nodes[to].core, message);
    }
}

/* Delivers what may leave node id now. */
static void world_mail_out(struct world *w, uint64_t id) {
    struct world_node *n = &w->nodes[id];
    size_t count = n->mail_count;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct world_mail m = n->mail[i];
        if (m.after_op > n->op_durable) {
            n->mail[kept++] = m;
            continue;
        }
        struct bnd_message message;
        struct bnd_error err;
        assert_int_equal(bnd_message_decode(bnd_buf_slice(&m.bytes), &message, &err), 0);
        world_give(w, m.from, m.to, &message);
        bnd_message_release(&message);
        bnd_buf_free(&m.bytes);
    }
    for (size_t i = count; i < n->mail_count; i++) { /* sent meanwhile */
        n->mail[kept++] = n->mail[i];
    }
    n->mail_count = kept;
}

/* Disk and network until nothing moves; the clock stands. */
static void world_settle(struct world *w) {
    for (int round = 0; round < 50; round++) {
        for (size_t id = 1; id <= w->count; id++) {
            if (!w->nodes[id].disk_stuck) {
                world_sync(w, id);
            }
            if (!w->keep_mail) {
                world_mail_out(w, id);
            }
        }
    }
}

static void world_run(struct world *w, uint64_t ms) {
    for (uint64_t t = 0; t < ms; t += 10) {
        w->now_ms += 10;
        for (size_t id = 1; id <= w->count; id++) {
            if (w->nodes[id].core != NULL) {
                bnd_core_tick(w->nodes[id].core);
            }
        }
        world_settle(w);
    }
}

static struct bnd_core_status world_status(struct world *w, uint64_t id) {
    struct bnd_core_status status;
    bnd_core_status(w->nodes[id].core, &status);
    return status;
}

/* The one ready leader that is not cut off, 0 if none. */
static uint64_t world_leader(struct world *w) {
    for (size_t id = 1; id <= w->count; id++) {
        if (w->nodes[id].core != NULL && !w->nodes[id].cut && world_status(w, id).ready) {
            return id;
        }
    }
    return 0;
}

static uint64_t world_elect(struct world *w) {
    for (int i = 0; i < 100 && world_leader(w) == 0; i++) {
        world_run(w, 100);
    }
    uint64_t leader = world_leader(w);
    assert_true(leader != 0);
    return leader;
}

static uint64_t world_propose(struct world *w, uint64_t id, const char *text) {
    uint64_t index = 0, term = 0;
    assert_int_equal(bnd_core_propose(w->nodes[id].core, bnd_slice_str(text), &index, &term), 0);
    assert_int_equal(term, world_status(w, id).term);
    return index;
}

static void world_assert_applied(struct world *w, uint64_t id, uint64_t index, const char *text) {
    struct world_node *n = &w->nodes[id];
    assert_true(n->applied_last >= index);
    assert_int_equal(n->applied[index].kind, BND_CORE_COMMAND);
    assert_int_equal(n->applied[index].len, strlen(text));
    assert_memory_equal(n->applied[index].data, text, strlen(text));
}

#endif
