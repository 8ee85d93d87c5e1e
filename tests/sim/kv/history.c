#include "tests/sim/kv/history.h"

#include "base/assert.h"
#include "kv/record.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- values -----------------------------------------------------------------------------------*/

/* The eight bytes from offset (a multiple of 8) on. */
static uint64_t word_at(uint64_t number, uint64_t offset) {
    return offset == 0 ? number : (number + offset / 8) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The run of bytes from `at` on that lies in one word: at most len. */
static size_t run_at(uint64_t number, uint64_t at, size_t len, uint8_t out[8]) {
    size_t skip = (size_t)(at % 8);
    uint8_t word[8];
    size_t run = 8 - skip < len ? 8 - skip : len;
    bnd_put_u64(word, word_at(number, at - skip));
    memcpy(out, word + skip, run);
    return run;
}

void simkv_value_fill(uint64_t number, uint64_t offset, uint8_t *out, size_t len) {
    uint8_t bytes[8];
    for (size_t done = 0; done < len;) {
        size_t run = run_at(number, offset + done, len - done, bytes);
        memcpy(out + done, bytes, run);
        done += run;
    }
}

bool simkv_value_right(uint64_t number, uint64_t offset, struct bnd_slice bytes) {
    uint8_t expected[8];
    for (size_t done = 0; done < bytes.len;) {
        size_t run = run_at(number, offset + done, bytes.len - done, expected);
        if (memcmp(bytes.data + done, expected, run) != 0) {
            return false;
        }
        done += run;
    }
    return true;
}

size_t simkv_key(uint32_t key, uint8_t out[16]) {
    int len = snprintf((char *)out, 16, "key/%02u", key);
    return (size_t)len;
}

/* ---- writes -----------------------------------------------------------------------------------*/

uint64_t simkv_history_begin(struct simkv_history *history, const struct simkv_write *write) {
    if (history->count == history->cap) {
        history->cap = history->cap == 0 ? 1024 : 2 * history->cap;
        history->writes = bnd_sim_realloc(history->writes, history->cap * sizeof *history->writes);
    }
    history->writes[history->count] = *write;
    history->writes[history->count].start_ns = simkv_now_ns(history->cluster);
    return ++history->count;
}

static bool counts(const struct simkv_write *write) {
    return write->acked && write->durability == BND_KV_REPLICATED;
}

/* One that was acknowledged before this one began must not win over it. */
static void check_order(struct simkv_history *history, uint64_t number) {
    const struct simkv_write *later = simkv_history_at(history, number);
    for (uint64_t i = 1; i <= history->count && counts(later); i++) {
        const struct simkv_write *other = simkv_history_at(history, i);
        if (!counts(other) || other->namespace_id != later->namespace_id ||
            other->key != later->key || i == number) {
            continue;
        }
        int order = kv_version_cmp(other->version, later->version);
        if ((other->end_ns < later->start_ns && order >= 0) ||
            (later->end_ns < other->start_ns && order <= 0) || order == 0) {
            bnd_sim_violation(&history->cluster->check,
                              "ORDER: namespace %" PRIu64 " key %u: write %" PRIu64
                              " began after write %" PRIu64 " was acknowledged, and loses to it",
                              later->namespace_id, later->key, order >= 0 ? number : i,
                              order >= 0 ? i : number);
        }
    }
}

void simkv_history_end(struct simkv_history *history, uint64_t number, int status,
                       enum bnd_kv_durability durability, struct bnd_kv_version version) {
    struct simkv_write *write = simkv_history_at(history, number);
    write->end_ns = simkv_now_ns(history->cluster);
    write->acked = status == 0;
    write->durability = durability;
    write->version = version;
    if (status == 0 && version.hlc == 0) {
        bnd_sim_violation(&history->cluster->check, "an acknowledged write without a version");
    }
    check_order(history, number);
}

void simkv_history_free(struct simkv_history *history) {
    bnd_sim_free(history->writes);
}

/* ---- reads ------------------------------------------------------------------------------------*/

uint64_t simkv_slowest_ms(const struct simkv_cluster *cluster) {
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < cluster->machines_count; i++) {
        uint64_t wall_ms = bnd_sim_wall_ms(cluster->world, &cluster->machines[i].base.clock);
        least = wall_ms < least ? wall_ms : least;
    }
    return least;
}

/* When the first write was acknowledged that this read should have seen, if all were at once. What
 * was missed since before the faults were over is counted as theirs. */
static void measure(struct simkv_history *history, const struct simkv_seen *seen) {
    const struct simkv_cluster *cluster = history->cluster;
    uint64_t since_ns = 0;
    for (uint64_t i = 1; i <= history->count; i++) {
        const struct simkv_write *write = simkv_history_at(history, i);
        if (counts(write) && write->namespace_id == seen->namespace_id && write->key == seen->key &&
            write->end_ns < seen->start_ns && kv_version_cmp(write->version, seen->version) > 0 &&
            (since_ns == 0 || write->end_ns < since_ns)) {
            since_ns = write->end_ns;
        }
    }
    bool calm = cluster->calm && (since_ns == 0 || since_ns > cluster->calm_since_ns);
    uint64_t delay_ms = since_ns == 0 ? 0 : (seen->start_ns - since_ns) / BND_MS + 1;
    if (cluster->verbose && calm && delay_ms > 1000) {
        (void)fprintf(stderr, "%" PRIu64 " client: write %" PRIu64 " is read %" PRIu64 " ms late\n",
                      simkv_now_ns(cluster) / BND_MS, seen->write, delay_ms);
    }
    size_t bucket = 0;
    while (bucket + 1 < SIMKV_DELAYS && delay_ms >> bucket != 0) {
        bucket++;
    }
    history->delays[calm][bucket]++;
    if (delay_ms > history->delay_max_ms[calm]) {
        history->delay_max_ms[calm] = delay_ms;
    }
}

void simkv_history_read(struct simkv_history *history, const struct simkv_seen *seen) {
    struct bnd_sim_check *check = &history->cluster->check;
    history->reads++;
    if (!seen->found) {
        return;
    }
    if (seen->write == 0 || seen->write > history->count) {
        bnd_sim_violation(check, "INVENTED: namespace %" PRIu64 " key %u: nobody wrote it",
                          seen->namespace_id, seen->key);
        return;
    }
    struct simkv_write *write = simkv_history_at(history, seen->write);
    write->seen = true;
    /* A put that was stamped again may be seen under its first version. */
    if (write->namespace_id != seen->namespace_id || write->key != seen->key || write->tombstone ||
        write->size != seen->size || write->expires_ms != seen->expires_ms ||
        (write->acked && kv_version_cmp(write->version, seen->version) < 0)) {
        bnd_sim_violation(check,
                          "MIXED: namespace %" PRIu64 " key %u: write %" PRIu64
                          " is read with other attributes than it was written with",
                          seen->namespace_id, seen->key, seen->write);
    }
    if (seen->expires_ms != 0 && seen->expires_ms < seen->slowest_ms &&
        seen->expires_ms < simkv_slowest_ms(history->cluster)) {
        bnd_sim_violation(check, "EXPIRED: namespace %" PRIu64 " key %u: write %" PRIu64 " is read",
                          seen->namespace_id, seen->key, seen->write);
    }
    if (seen->fresh) {
        measure(history, seen);
    }
}

void simkv_history_last(struct simkv_history *history, const struct simkv_seen *seen) {
    if (!seen->found || seen->write == 0 || seen->write > history->count) {
        return;
    }
    const struct simkv_write *last = simkv_history_at(history, seen->write);
    for (uint64_t i = 1; i <= history->count && counts(last); i++) {
        const struct simkv_write *write = simkv_history_at(history, i);
        if (counts(write) && write->namespace_id == last->namespace_id && write->key == last->key &&
            write->start_ns > last->end_ns) {
            bnd_sim_divergence(&history->cluster->check,
                               "AGAIN: namespace %" PRIu64 " key %u: write %" PRIu64
                               " has won over write %" PRIu64 ", which began after it was "
                               "acknowledged",
                               seen->namespace_id, seen->key, seen->write, i);
        }
    }
}

/* Nothing is right after an own write if that, or one that may have come after it, left nothing. */
static bool may_be_absent(struct simkv_history *history, uint64_t own_number) {
    const struct simkv_write *own = simkv_history_at(history, own_number);
    uint64_t now_ms = simkv_wall_ms(history->cluster);
    for (uint64_t i = 1; i <= history->count; i++) {
        const struct simkv_write *write = simkv_history_at(history, i);
        bool after =
            i == own_number || !write->acked || kv_version_cmp(write->version, own->version) > 0;
        bool leaves_none =
            write->tombstone || (write->expires_ms != 0 && write->expires_ms <= now_ms + 700000);
        if (write->namespace_id == own->namespace_id && write->key == own->key && after &&
            leaves_none) {
            return true;
        }
    }
    return false;
}

void simkv_history_own(struct simkv_history *history, const struct simkv_seen *seen,
                       uint64_t own_write) {
    const struct simkv_write *own = simkv_history_at(history, own_write);
    if (!counts(own) || !simkv_namespace_lives(history->cluster, own->namespace_id)) {
        return; /* a local one is lost with its replica's place in the shard */
    }
    bool older = seen->found ? kv_version_cmp(seen->version, own->version) < 0
                             : !may_be_absent(history, own_write);
    if (older) {
        bnd_sim_violation(&history->cluster->check,
                          "OWN: namespace %" PRIu64 " key %u: a client does not read its write "
                          "%" PRIu64 " through node %" PRIu64 ", but %" PRIu64,
                          seen->namespace_id, seen->key, own_write, own->node,
                          seen->found ? seen->write : 0);
    }
}
