/* Applied state: one ordered map per node (architecture 4 and 7). engine/rocks implements it with
 * RocksDB (write-ahead log off, atomic flush); tests/sim with a map in memory of the same
 * durability: what was written but not persisted is lost by a crash, all column families together.
 *
 * Keys begin with a big-endian u32 slot, so that each Raft group's state is a range that can be
 * exported, rebuilt beside the old one, and dropped. */
#ifndef BND_ENGINE_STATE_H
#define BND_ENGINE_STATE_H

#include "base/env.h"

/* Column families: one per service, so that each has its own options. RAFT holds what the host
 * itself keeps per group (applied tuple, request ids). */
enum bnd_state_cf {
    BND_CF_RAFT,
    BND_CF_CATALOG,
    BND_CF_OBJECTS,
    BND_CF_KV,
    BND_CF_SQL,
    BND_CF_COUNT
};

struct bnd_state;
struct bnd_state_batch; /* indexed: its reads see its own writes over the state */
struct bnd_state_iter;  /* over a snapshot taken when it was made */

/* Answers when everything written before the call is durable. */
struct bnd_state_persist {
    void (*cb)(struct bnd_state_persist *persist, int status);
    void *data;
    void *priv[12];
};

struct bnd_state_ops {
    void (*close)(struct bnd_state *state);

    struct bnd_state_batch *(*batch_create)(struct bnd_state *state); /* NULL: no memory */
    void (*batch_destroy)(struct bnd_state_batch *batch);
    void (*batch_clear)(struct bnd_state_batch *batch);
    size_t (*batch_bytes)(const struct bnd_state_batch *batch);
    void (*batch_put)(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                      struct bnd_slice value);
    void (*batch_delete)(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key);
    /* Replaces *out by the value. BND_NOTFOUND, BND_CORRUPT, BND_IO. */
    int (*batch_get)(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                     struct bnd_buf *out);
    /* Reads of the batch look into below next, before the state: for one that is being written (see
     * write). below must not change, and outlive that. NULL: into the state again. */
    void (*batch_over)(struct bnd_state_batch *batch, struct bnd_state_batch *below);
    /* Keys in [from, to) as the batch sees them, both borrowed until iter_destroy. The batch must
     * not change while the iterator lives, nor be over another. */
    struct bnd_state_iter *(*batch_iter)(struct bnd_state_batch *batch, enum bnd_state_cf cf,
                                         struct bnd_slice from, struct bnd_slice to);

    /* Applies the batch atomically; visible to reads at once, durable only after persist. BND_BUSY:
     * the store asks to wait (nothing was written: queue and try again later, never spin); BND_IO:
     * final. From ANY thread; the batch may be read (batch_get) by its owner meanwhile. */
    int (*write)(struct bnd_state *state, struct bnd_state_batch *batch);
    /* As write, but where that answers BND_BUSY this waits. Blocking: for start, before anybody is
     * served. */
    int (*write_waiting)(struct bnd_state *state, struct bnd_state_batch *batch);

    int (*get)(struct bnd_state *state, enum bnd_state_cf cf, struct bnd_slice key,
               struct bnd_buf *out);
    struct bnd_state_iter *(*iter)(struct bnd_state *state, enum bnd_state_cf cf,
                                   struct bnd_slice from, struct bnd_slice to);
    bool (*iter_valid)(const struct bnd_state_iter *iter);
    void (*iter_next)(struct bnd_state_iter *iter);
    void (*iter_seek)(struct bnd_state_iter *iter, struct bnd_slice key); /* first key >= key */
    struct bnd_slice (*iter_key)(const struct bnd_state_iter *iter); /* until next, seek, destroy */
    struct bnd_slice (*iter_value)(const struct bnd_state_iter *iter);
    int (*iter_status)(const struct bnd_state_iter *iter); /* 0, or why valid went false early */
    void (*iter_destroy)(struct bnd_state_iter *iter);

    /* Persists all column families together. Asynchronous; several may be under way. */
    int (*persist)(struct bnd_state *state, struct bnd_state_persist *persist);
    /* The value a crash now would leave. Blocking; for start and for compaction decisions. */
    int (*get_persisted)(struct bnd_state *state, enum bnd_state_cf cf, struct bnd_slice key,
                         struct bnd_buf *out);
    /* Deletes every key in [from, to) of every family, for good, in the background; no reader may
     * need them. Not atomic with anything. */
    int (*drop_range)(struct bnd_state *state, struct bnd_slice from, struct bnd_slice to);
    /* Bytes written and not yet persisted: the host asks for a persist above its bound. */
    size_t (*unpersisted_bytes)(struct bnd_state *state);
};

struct bnd_state {
    const struct bnd_state_ops *ops;
};

#endif
