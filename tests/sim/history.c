#include "tests/sim/history.h"

#include "base/assert.h"
#include "base/error.h"
#include "tests/sim/kv_fsm.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdlib.h>

/* One value of a key, from a place in the order on. */
struct version {
    uint64_t place;
    uint8_t *value;
    size_t len;
};

struct versions {
    struct version *items;
    size_t count, cap;
};

struct run {
    struct bnd_sim_history *history;
    struct bnd_sim_check *check;
    struct versions keys[BND_SIM_KEYS];
    struct bnd_sim_op **by_command;
    size_t writes;
};

void bnd_sim_history_free(struct bnd_sim_history *history) {
    for (size_t i = 0; i < history->count; i++) {
        bnd_sim_free(history->ops[i].reply);
    }
    bnd_sim_free(history->ops);
    *history = (struct bnd_sim_history){0};
}

size_t bnd_sim_history_invoke(struct bnd_sim_history *history, const struct bnd_sim_op *op) {
    BND_ASSERT(op->key < BND_SIM_KEYS);
    if (history->count == history->cap) {
        history->cap = history->cap == 0 ? 256 : 2 * history->cap;
        history->ops = bnd_sim_realloc(history->ops, history->cap * sizeof *history->ops);
    }
    history->ops[history->count] = *op;
    history->ops[history->count].outcome = BND_SIM_PENDING;
    history->ops[history->count].reply = NULL;
    return history->count++;
}

void bnd_sim_history_return(struct bnd_sim_history *history, size_t number, uint64_t now_ns,
                            enum bnd_sim_outcome outcome, int status, struct bnd_slice reply) {
    struct bnd_sim_op *op = &history->ops[number];
    BND_ASSERT(op->outcome == BND_SIM_PENDING);
    op->outcome = outcome;
    op->returned_ns = now_ns;
    op->status = status;
    op->reply = bnd_sim_memdup(reply.data, reply.len);
    op->reply_len = reply.len;
}

void bnd_sim_op_command(const struct bnd_sim_op *op, struct bnd_buf *out) {
    uint8_t token[8];
    uint8_t expected[8];
    bnd_put_u64(token, op->token);
    bnd_put_u64(expected, op->expected);
    struct bnd_slice key = bnd_slice(&op->key, 1);
    switch (op->kind) {
    case BND_SIM_PUT:
        kv_put(out, key, bnd_slice(token, 8));
        break;
    case BND_SIM_APPEND:
        kv_append(out, key, bnd_slice(token, 8));
        break;
    case BND_SIM_ADD:
        kv_add(out, key, op->token);
        break;
    case BND_SIM_CAS:
        kv_cas(out, key, bnd_slice(expected, op->expected == 0 ? 0 : 8), bnd_slice(token, 8));
        break;
    case BND_SIM_GET:
        kv_get(out, key);
        break;
    }
}

/* ---- the model
 * -------------------------------------------------------------------------------------- */

static struct bnd_slice latest(const struct versions *key) {
    return key->count == 0
               ? (struct bnd_slice){0}
               : bnd_slice(key->items[key->count - 1].value, key->items[key->count - 1].len);
}

static void set(struct versions *key, uint64_t place, struct bnd_slice old, uint64_t token,
                bool append) {
    if (key->count == key->cap) {
        key->cap = key->cap == 0 ? 32 : 2 * key->cap;
        key->items = bnd_sim_realloc(key->items, key->cap * sizeof *key->items);
    }
    size_t kept = append ? old.len : 0;
    struct version *version = &key->items[key->count++];
    version->place = place;
    version->len = kept + 8;
    version->value = bnd_sim_zalloc(version->len);
    if (kept > 0) {
        memcpy(version->value, old.data, kept);
    }
    bnd_put_u64(version->value + kept, token);
}

/* Executes op at `place`; leaves the answer it must have had. */
static int execute(struct versions *key, const struct bnd_sim_op *op, uint64_t place,
                   uint8_t reply[8], struct bnd_slice *out_reply) {
    struct bnd_slice old = latest(key);
    uint8_t expected[8];
    bnd_put_u64(expected, op->expected);
    *out_reply = (struct bnd_slice){0};
    switch (op->kind) {
    case BND_SIM_PUT:
        set(key, place, old, op->token, false);
        return 0;
    case BND_SIM_APPEND:
        set(key, place, old, op->token, true);
        bnd_put_u64(reply, old.len + 8);
        *out_reply = bnd_slice(reply, 8);
        return 0;
    case BND_SIM_ADD:
        bnd_put_u64(reply, (old.len == 8 ? bnd_get_u64(old.data) : 0) + op->token);
        set(key, place, old, bnd_get_u64(reply), false);
        *out_reply = bnd_slice(reply, 8);
        return 0;
    case BND_SIM_CAS:
        if (!bnd_slice_eq(old, bnd_slice(expected, op->expected == 0 ? 0 : 8))) {
            *out_reply = old;
            return BND_PRECONDITION;
        }
        set(key, place, old, op->token, false);
        return 0;
    case BND_SIM_GET:
        break;
    }
    BND_UNREACHABLE("a read is no command");
}

/* ---- the checks
 * ------------------------------------------------------------------------------------- */

static int by_command(const void *a, const void *b) {
    uint64_t x = (*(struct bnd_sim_op *const *)a)->command;
    uint64_t y = (*(struct bnd_sim_op *const *)b)->command;
    return x < y ? -1 : x > y;
}

static int by_return(const void *a, const void *b) {
    uint64_t x = (*(struct bnd_sim_op *const *)a)->returned_ns;
    uint64_t y = (*(struct bnd_sim_op *const *)b)->returned_ns;
    return x < y ? -1 : x > y;
}

static void index_commands(struct run *run) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    run->by_command = bnd_sim_zalloc(run->history->count * sizeof(struct bnd_sim_op *));
    for (size_t i = 0; i < run->history->count; i++) {
        struct bnd_sim_op *op = &run->history->ops[i];
        op->place = 0;
        if (op->kind == BND_SIM_GET) {
            continue;
        }
        bnd_buf_reset(&command);
        bnd_sim_op_command(op, &command);
        op->command = bnd_sim_command_hash(bnd_buf_slice(&command));
        run->by_command[run->writes++] = op;
    }
    qsort(run->by_command, run->writes, sizeof *run->by_command, by_command);
}

static void replay_one(struct run *run, const struct bnd_sim_ledger_entry *entry, uint64_t place) {
    struct bnd_sim_op wanted = {.command = entry->command};
    const struct bnd_sim_op *key = &wanted;
    struct bnd_sim_op **found = run->writes == 0 ? NULL
                                                 : bsearch(&key, run->by_command, run->writes,
                                                           sizeof *run->by_command, by_command);
    if (found == NULL) {
        bnd_sim_divergence(run->check, "index %" PRIu64 ": a command that no client sent",
                           entry->index);
        return;
    }
    struct bnd_sim_op *op = *found;
    if (op->place != 0) {
        bnd_sim_divergence(run->check, "index %" PRIu64 ": operation %" PRIu64 " executed twice",
                           entry->index, op->token);
        return;
    }
    op->place = place;
    uint8_t bytes[8];
    struct bnd_slice reply;
    int status = execute(&run->keys[op->key], op, place, bytes, &reply);
    if (op->outcome == BND_SIM_NOT_EXECUTED) {
        bnd_sim_divergence(run->check,
                           "index %" PRIu64 ": operation %" PRIu64
                           " was executed, its client was told not",
                           entry->index, op->token);
    }
    if (status != entry->status || (op->outcome == BND_SIM_ANSWERED && op->status != status)) {
        bnd_sim_divergence(run->check,
                           "index %" PRIu64 ": operation %" PRIu64
                           " should give %d, gave %d, answered %d",
                           entry->index, op->token, status, entry->status, op->status);
    } else if (op->outcome == BND_SIM_ANSWERED &&
               !bnd_slice_eq(reply, bnd_slice(op->reply, op->reply_len))) {
        bnd_sim_divergence(run->check, "index %" PRIu64 ": operation %" PRIu64 " has a wrong reply",
                           entry->index, op->token);
    }
}

/* The lowest place >= floor where the key has this value, or UINT64_MAX. */
static uint64_t place_of_value(const struct versions *key, uint64_t floor, struct bnd_slice value) {
    size_t i = key->count;
    while (i > 0 && key->items[i - 1].place > floor) {
        i--;
    }
    struct bnd_slice at_floor =
        i == 0 ? (struct bnd_slice){0} : bnd_slice(key->items[i - 1].value, key->items[i - 1].len);
    if (bnd_slice_eq(at_floor, value)) {
        return floor;
    }
    for (; i < key->count; i++) {
        if (bnd_slice_eq(bnd_slice(key->items[i].value, key->items[i].len), value)) {
            return key->items[i].place;
        }
    }
    return UINT64_MAX;
}

static void check_one(struct run *run, struct bnd_sim_op *op, uint64_t floor) {
    if (op->kind != BND_SIM_GET) {
        if (op->outcome == BND_SIM_ANSWERED && op->place == 0) {
            bnd_sim_divergence(run->check, "operation %" PRIu64 " on key %u: acknowledged and lost",
                               op->token, op->key);
        } else if (op->place != 0 && op->place <= floor) {
            bnd_sim_divergence(run->check,
                               "operation %" PRIu64 " on key %u: took effect before it began",
                               op->token, op->key);
        }
        return;
    }
    if (op->outcome != BND_SIM_ANSWERED) {
        return;
    }
    op->place = place_of_value(&run->keys[op->key], floor, bnd_slice(op->reply, op->reply_len));
    if (op->place == UINT64_MAX) {
        op->place = 0;
        bnd_sim_divergence(run->check,
                           "read of key %u at %" PRIu64
                           " us: stale, or a value that never was (%zu bytes)",
                           op->key, op->invoked_ns / 1000, op->reply_len);
    }
}

static void check_order(struct run *run) {
    struct bnd_sim_history *history = run->history;
    struct bnd_sim_op **returned = bnd_sim_zalloc(history->count * sizeof(struct bnd_sim_op *));
    size_t count = 0;
    for (size_t i = 0; i < history->count; i++) {
        if (history->ops[i].outcome == BND_SIM_ANSWERED) {
            returned[count++] = &history->ops[i];
        }
    }
    qsort(returned, count, sizeof(struct bnd_sim_op *), by_return);
    uint64_t floor = 0;
    size_t done = 0;
    for (size_t i = 0; i < history->count; i++) {
        struct bnd_sim_op *op = &history->ops[i];
        BND_ASSERT(i == 0 || op->invoked_ns >= history->ops[i - 1].invoked_ns);
        while (done < count && returned[done]->returned_ns < op->invoked_ns) {
            uint64_t place = returned[done++]->place; /* began earlier, so it is placed */
            floor = place > floor ? place : floor;
        }
        check_one(run, op, floor);
    }
    bnd_sim_free(returned);
}

void bnd_sim_history_check(struct bnd_sim_history *history, const struct bnd_sim_ledger *ledger,
                           struct bnd_sim_check *check) {
    struct run run = {.history = history, .check = check};
    index_commands(&run);
    for (size_t i = 0; i < ledger->count; i++) {
        replay_one(&run, &ledger->entries[i], i + 1);
    }
    check_order(&run);
    bnd_sim_free(run.by_command);
    for (size_t k = 0; k < BND_SIM_KEYS; k++) {
        for (size_t v = 0; v < run.keys[k].count; v++) {
            bnd_sim_free(run.keys[k].items[v].value);
        }
        bnd_sim_free(run.keys[k].items);
    }
}
