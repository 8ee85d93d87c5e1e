/* What the replicas hold when all is quiet, against each other and against the history. */
#include "base/assert.h"
#include "base/hash.h"
#include "kv/keys.h"
#include "placement/shard.h"
#include "tests/sim/kv/history.h"
#include "tests/sim/memory.h"

#include <inttypes.h>

struct shard_scan {
    struct simkv_machine *machine;
    uint32_t shard;
    uint64_t collected;
    /* NULL or called for each record that is not dead below the horizon. */
    void (*each)(void *data, uint64_t namespace_id, struct bnd_slice key,
                 const struct kv_record *record, struct bnd_slice encoded);
    void *data;
    size_t records;
    size_t rest; /* records of namespaces that are no more */
};

bool simkv_namespace_lives(const struct simkv_cluster *cluster, uint64_t id) {
    for (size_t i = 0; i < cluster->view.namespaces_count; i++) {
        if (cluster->view.namespaces[i].id == id) {
            return true;
        }
    }
    return false;
}

static void scan(struct shard_scan *scan) {
    struct simkv_machine *machine = scan->machine;
    const struct bnd_state_ops *ops = machine->base.state->ops;
    struct kv_key from;
    struct kv_key to;
    kv_key_tag(&from, KV_SLOT(scan->shard), KV_TAG_RECORD);
    kv_key_past_tag(&to, KV_SLOT(scan->shard), KV_TAG_RECORD);
    bnd_sim_env_enter(machine->base.env);
    struct bnd_state_iter *iter =
        ops->iter(machine->base.state, BND_CF_KV, kv_key_slice(&from), kv_key_slice(&to));
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct kv_record record;
        BND_ASSERT(kv_record_decode(ops->iter_value(iter), &record) == 0);
        uint64_t namespace_id = bnd_get_be64(key.data + 5);
        bool lives = simkv_namespace_lives(machine->cluster, namespace_id);
        scan->rest += !lives;
        if (!lives || kv_seen_dead(kv_record_seen(&record), scan->collected)) {
            continue;
        }
        scan->records++;
        scan->each(scan->data, namespace_id, bnd_slice(key.data + 13, key.len - 13), &record,
                   ops->iter_value(iter));
    }
    BND_ASSERT(ops->iter_status(iter) == 0);
    ops->iter_destroy(iter);
    bnd_sim_env_leave(machine->base.env);
}

/* ---- replicas against each other --------------------------------------------------------------*/

struct digest {
    struct simkv_machine *machine;
    uint32_t shard;
    uint64_t hash;
};

static void mix(struct digest *digest, struct bnd_slice bytes) {
    digest->hash = bnd_hash64(bytes, digest->hash);
}

static void digest_record(void *data, uint64_t namespace_id, struct bnd_slice key,
                          const struct kv_record *record, struct bnd_slice encoded) {
    struct digest *digest = data;
    struct bnd_buf value = {0};
    struct kv_key at;
    uint8_t id[8];
    bnd_put_u64(id, namespace_id);
    mix(digest, bnd_slice(id, 8));
    mix(digest, key);
    mix(digest, encoded);
    if ((record->flags & KV_RECORD_SPLIT) != 0) {
        kv_key_name(&at, digest->shard, KV_TAG_VALUE, namespace_id, key);
        int rv = digest->machine->base.state->ops->get(digest->machine->base.state, BND_CF_KV,
                                                  kv_key_slice(&at), &value);
        BND_ASSERT(rv == 0);
        mix(digest, bnd_buf_slice(&value));
    }
    bnd_buf_free(&value);
}

static uint64_t digest_of(struct simkv_machine *machine, uint32_t shard, size_t *out_records) {
    struct digest digest = {.machine = machine, .shard = shard};
    struct shard_scan all = {.machine = machine,
                             .shard = shard,
                             .collected = machine->cluster->view.shards[shard].collected,
                             .each = digest_record,
                             .data = &digest};
    scan(&all);
    *out_records = all.records;
    return digest.hash;
}

static bool shard_equal(struct simkv_cluster *cluster, uint32_t number, bool tell) {
    const struct bnd_kv_shard *shard = &cluster->view.shards[number];
    uint64_t first = 0;
    bool begun = false;
    for (size_t i = 0; i < cluster->machines_count; i++) {
        struct simkv_machine *machine = &cluster->machines[i];
        size_t records = 0;
        if (machine->base.life != BND_SIM_UP || machine->base.fatal) {
            return false;
        }
        uint64_t hash = digest_of(machine, number, &records);
        bool replica = bnd_kv_shard_find(shard, machine->id) < shard->replicas_count;
        bool right = replica ? !begun || hash == first : records == 0;
        if (!right) {
            if (tell) {
                bnd_sim_divergence(&cluster->check,
                                   replica ? "UNEQUAL: shard %u: node %" PRIu64
                                             " holds other records than the replicas before it"
                                           : "LEFTOVER: shard %u: node %" PRIu64
                                             " is no replica and holds records",
                                   number, machine->id);
            }
            return false;
        }
        if (replica && !begun) {
            begun = true;
            first = hash;
        }
    }
    return true;
}

bool simkv_equal(struct simkv_cluster *cluster, bool tell) {
    bool equal = true;
    for (uint32_t i = 0; i < cluster->shards_count; i++) {
        equal = shard_equal(cluster, i, tell) && equal;
    }
    return equal;
}

/* ---- replicas against the history -------------------------------------------------------------*/

struct found {
    bool there;
    bool tombstone;
    struct bnd_kv_version version;
    uint64_t expires_ms;
};

struct gathering {
    uint64_t namespace_id;
    struct found keys[SIMKV_KEYS];
};

static void gather(void *data, uint64_t namespace_id, struct bnd_slice key,
                   const struct kv_record *record, struct bnd_slice encoded) {
    struct gathering *gathering = data;
    (void)encoded;
    for (uint32_t i = 0; namespace_id == gathering->namespace_id && i < SIMKV_KEYS; i++) {
        uint8_t name[16];
        if (bnd_slice_eq(bnd_slice(name, simkv_key(i, name)), key)) {
            gathering->keys[i] = (struct found){
                .there = true,
                .tombstone = (record->flags & KV_RECORD_TOMBSTONE) != 0,
                .version = record->version,
                .expires_ms = record->expires_ms,
            };
        }
    }
}

static void ignore(void *data, uint64_t namespace_id, struct bnd_slice key,
                   const struct kv_record *record, struct bnd_slice encoded) {
}

static void check_rest(struct simkv_cluster *cluster) {
    for (size_t m = 0; m < cluster->machines_count; m++) {
        struct simkv_machine *machine = &cluster->machines[m];
        for (uint32_t i = 0; machine->base.life == BND_SIM_UP && i < cluster->shards_count; i++) {
            struct shard_scan all = {.machine = machine, .shard = i, .each = ignore};
            scan(&all);
            if (all.rest > 0) {
                bnd_sim_divergence(&cluster->check,
                                   "REST: shard %u: node %" PRIu64
                                   " holds %zu records of deleted namespaces",
                                   i, machine->id, all.rest);
            }
        }
    }
}

/* What must have survived: the highest version acknowledged on two replicas. */
static const struct simkv_write *newest(struct simkv_history *history, uint64_t namespace_id,
                                        uint32_t key) {
    const struct simkv_write *best = NULL;
    for (uint64_t i = 1; i <= history->count; i++) {
        const struct simkv_write *write = simkv_history_at(history, i);
        if (write->acked && write->durability == BND_KV_REPLICATED &&
            write->namespace_id == namespace_id && write->key == key &&
            (best == NULL || kv_version_cmp(write->version, best->version) > 0)) {
            best = write;
        }
    }
    return best;
}

static bool dies(const struct simkv_write *write, uint64_t now_ms) {
    return write->tombstone || (write->expires_ms != 0 && write->expires_ms <= now_ms);
}

/* Nothing is there: a write may have won that leaves nothing, whether it was acknowledged or not.
 */
static bool may_be_gone(struct simkv_history *history, const struct simkv_write *newest) {
    uint64_t now_ms = simkv_wall_ms(history->cluster);
    for (uint64_t i = 1; i <= history->count; i++) {
        const struct simkv_write *write = simkv_history_at(history, i);
        if (write->namespace_id == newest->namespace_id && write->key == newest->key &&
            dies(write, now_ms) &&
            (!write->acked || kv_version_cmp(write->version, newest->version) >= 0)) {
            return true;
        }
    }
    return false;
}

static void check_key(struct simkv_history *history, uint64_t namespace_id, uint32_t key,
                      const struct found *found) {
    struct simkv_cluster *cluster = history->cluster;
    const struct simkv_write *write = newest(history, namespace_id, key);
    uint64_t now_ms = simkv_wall_ms(cluster);
    if (write == NULL) {
        return; /* whatever is there was read by the client at the end, and somebody wrote it */
    }
    uint64_t number = (uint64_t)(write - history->writes) + 1;
    if (!found->there) {
        if (!may_be_gone(history, write)) {
            bnd_sim_divergence(&cluster->check,
                               "LOST: namespace %" PRIu64 " key %u: nothing is there, and write "
                               "%" PRIu64 " was acknowledged",
                               namespace_id, key, number);
        }
        return;
    }
    int order = kv_version_cmp(found->version, write->version);
    if (order < 0) {
        bnd_sim_divergence(&cluster->check,
                           "%s: namespace %" PRIu64 " key %u: an older version than that of write "
                           "%" PRIu64 ", which was acknowledged",
                           dies(write, now_ms) ? "BACK" : "LOST", namespace_id, key, number);
    } else if (order == 0 &&
               (found->tombstone != write->tombstone || found->expires_ms != write->expires_ms)) {
        bnd_sim_divergence(&cluster->check,
                           "namespace %" PRIu64 " key %u: another record under the version of "
                           "write %" PRIu64,
                           namespace_id, key, number);
    }
}

void simkv_history_check(struct simkv_history *history) {
    struct simkv_cluster *cluster = history->cluster;
    check_rest(cluster);
    for (size_t n = 0; n < cluster->view.namespaces_count; n++) {
        struct gathering gathering = {.namespace_id = cluster->view.namespaces[n].id};
        for (uint32_t i = 0; i < cluster->shards_count; i++) {
            const struct bnd_kv_shard *shard = &cluster->view.shards[i];
            struct shard_scan all = {.machine = simkv_machine_of(cluster, shard->replicas[0].node),
                                     .shard = i,
                                     .collected = shard->collected,
                                     .each = gather,
                                     .data = &gathering};
            scan(&all);
        }
        for (uint32_t key = 0; key < SIMKV_KEYS; key++) {
            check_key(history, gathering.namespace_id, key, &gathering.keys[key]);
        }
    }
}
