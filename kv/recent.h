/* The records of the last seconds, by the second of their HLC: what replicas compare each second to
 * find a write that did not reach all of them (ADR 0090, "Spread").
 *
 * Per shard and second it keeps the sum of the hashes (kv_tree_hash) of the records that are
 * current, and a list of them within a bound of bytes per node. A record that takes another's place
 * takes it here too: a replica that never saw the older one has the same sums.
 *
 * Invariants:
 *  1. The sum of a second that is `known` is exact, whatever was left out of its list. (But for
 *     records that were here before the shard was begun with a stamp of after it, by a clock far
 *     ahead: they may make sums differ that should not, which costs a look at the lists.)
 *  2. A list holds every current record of its second, unless `lost` says otherwise.
 *  3. At most bytes_max is kept.
 *
 * Seconds: of wall-clock time since 1970. It holds KV_RECENT_SECONDS of them up to
 * KV_RECENT_AHEAD after the newest `now` it was told. */
#ifndef BND_KV_RECENT_H
#define BND_KV_RECENT_H

#include "base/hash.h"
#include "kv/entry.h"
#include "kv/tree.h"

#define KV_RECENT_SECONDS 16u
#define KV_RECENT_AHEAD 3u

struct kv_recent;

/* BND_NOMEM. bytes_max bounds the lists; the sums take about 1 KiB for each shard that is begun. */
int kv_recent_create(uint32_t shards, size_t bytes_max, struct kv_recent **out);
void kv_recent_destroy(struct kv_recent *recent); /* NULL allowed */

/* Forgets what is older than the window. A `now` below the newest one told changes nothing; but one
 * below the whole window does (the clock was far ahead, and has been put right): all begin anew. */
void kv_recent_tick(struct kv_recent *recent, uint64_t now_second);
/* Begins a shard, or begins it anew (its records are dropped): empty, and what is stamped from this
 * second on is known. A shard that was never begun knows nothing. BND_NOMEM: nothing has changed.
 */
int kv_recent_begin(struct kv_recent *recent, uint32_t shard, uint64_t known_from_second);

/* As kv_tree_applied. */
void kv_recent_applied(struct kv_recent *recent, uint32_t shard,
                       const struct kv_replaced *replaced);

struct kv_recent_sum {
    struct bnd_hash128 sum;
    uint32_t count; /* records in the sum */
    bool known;     /* false: outside the window, or before the shard's first known second */
    bool lost;      /* the list is not whole */
};
struct kv_recent_sum kv_recent_sum(const struct kv_recent *recent, uint32_t shard, uint64_t second);

/* Calls each() for the listed records of a second, in the order in which they came, until it
 * returns false. entry is borrowed until it returns; nothing may be applied meanwhile. */
void kv_recent_list(const struct kv_recent *recent, uint32_t shard, uint64_t second,
                    bool (*each)(void *data, const struct kv_entry *entry), void *data);

size_t kv_recent_bytes(const struct kv_recent *recent);

#endif
