/* What clients of a simulated KV cluster have written and read, and what must be true of it
 * (ADR 0090; kv/kv.h, "Promises").
 *
 * Every value is one write's alone: it begins with the write's number and is filled from it, so
 * that whatever is read names who wrote it, and one wrong byte shows. */
#ifndef BND_TESTS_SIM_KV_HISTORY_H
#define BND_TESTS_SIM_KV_HISTORY_H

#include "tests/sim/kv/cluster.h"

#define SIMKV_KEYS 40       /* per namespace */
#define SIMKV_DELAYS 24     /* staleness: powers of two of ms */
#define SIMKV_VALUE_MIN 16u /* bytes */

struct simkv_write {
    uint64_t namespace_id;
    uint32_t key;
    bool tombstone;
    size_t size;
    uint64_t expires_ms;
    uint64_t start_ns, end_ns; /* end 0: it has no answer (yet) */
    uint64_t node;
    bool acked; /* status 0 */
    enum bnd_kv_durability durability;
    struct bnd_kv_version version; /* of an acknowledged one */
    bool seen;                     /* read by somebody */
};

struct simkv_history {
    struct simkv_cluster *cluster;
    struct simkv_write *writes;
    size_t count, cap;
    uint64_t delays[2][SIMKV_DELAYS]; /* how stale reads were: in trouble, and in calm */
    uint64_t delay_max_ms[2];
    uint64_t reads;
};

/* A read's answer. write 0: there was nothing; else its number. */
struct simkv_seen {
    uint64_t namespace_id;
    uint32_t key;
    uint64_t start_ns;
    uint64_t slowest_ms; /* of all clocks, when it began */
    bool fresh;          /* not from what the node remembers of others' answers */
    bool found;
    uint64_t write; /* the number in the value */
    struct bnd_kv_version version;
    uint64_t expires_ms;
    uint64_t size;
};

/* A write begins; returns its number (from 1). */
uint64_t simkv_history_begin(struct simkv_history *history, const struct simkv_write *write);
static inline struct simkv_write *simkv_history_at(struct simkv_history *history, uint64_t number) {
    return &history->writes[number - 1];
}
void simkv_history_end(struct simkv_history *history, uint64_t number, int status,
                       enum bnd_kv_durability durability, struct bnd_kv_version version);
/* Checks that somebody wrote it, and that it is not expired; measures how stale it is. */
void simkv_history_read(struct simkv_history *history, const struct simkv_seen *seen);
/* The client had had `own` (a version) acknowledged through the node, and has read this through it.
 */
void simkv_history_own(struct simkv_history *history, const struct simkv_seen *seen,
                       uint64_t own_write);
void simkv_history_free(struct simkv_history *history);

bool simkv_namespace_lives(const struct simkv_cluster *cluster, uint64_t id);
uint64_t simkv_slowest_ms(const struct simkv_cluster *cluster);
/* What a value of a write is at an offset: fills out[len]. */
void simkv_value_fill(uint64_t number, uint64_t offset, uint8_t *out, size_t len);
/* False: a byte is wrong. */
bool simkv_value_right(uint64_t number, uint64_t offset, struct bnd_slice bytes);
size_t simkv_key(uint32_t key, uint8_t out[16]);

/* ---- at the end, when all is quiet ------------------------------------------------------------*/

/* All replicas of every shard hold the same, and nobody else anything. Tells why not, if asked. */
bool simkv_equal(struct simkv_cluster *cluster, bool tell);
/* What a read gives then: no write that was acknowledged before another began, which was too. */
void simkv_history_last(struct simkv_history *history, const struct simkv_seen *seen);
/* What the replicas hold is what the acknowledged writes leave. */
void simkv_history_check(struct simkv_history *history);

#endif
