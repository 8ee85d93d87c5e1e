/* Inside the store: store.c changes and reads records, store_blob.c pieces, store_shard.c marks and
 * whole ranges, store_list.c scans and pages. */
#ifndef BND_KV_STORE_PRIVATE_H
#define BND_KV_STORE_PRIVATE_H

#include "base/alloc.h"
#include "base/assert.h"
#include "kv/store.h"

/* Values from this size on have a key of their own, so that a look at a version, and a scan, never
 * read them; engine/rocks keeps them in blob files. */
#define STORE_SPLIT_BYTES 4096u
/* A superseded blob stays so long for those who read it. */
#define STORE_BLOB_LINGER_MS (UINT64_C(600) * 1000)

struct shard_marks {
    struct kv_marks is;
    /* A damaged file took them, and what they spoke of: until kv_store_recovered. None are written
     * meanwhile, so that a start that is cut short finds them lost again. */
    bool lost;
};

/* On disk, with the index applied. */
enum store_loss {
    STORE_WHOLE,
    STORE_LOST,   /* once, while the log was there */
    STORE_LOSING, /* and the log is not applied again yet: no marks of it are believed */
};

struct kv_store {
    struct kv_store_config config;
    const struct bnd_state_ops *ops;
    struct bnd_state_batch *batch; /* what is collected */
    struct bnd_state_batch *other; /* empty, or what is being written, with what it brings: */
    bool writing;
    uint64_t applied_writing, hlc_writing;
    enum store_loss loss_writing;
    bool dirty;                     /* the batch holds changes */
    bool recovering;                /* until kv_store_recovered: writes wait */
    enum store_loss loss, loss_new; /* as committed; from the next commit on */
    uint64_t applied, hlc;
    struct kv_cache cache;
    struct shard_marks *marks; /* by shard */
    size_t marks_count;
    struct bnd_buf old;     /* a record being replaced */
    struct bnd_buf scratch; /* bytes being built */
};

/* The record as it stands, without a split value; borrows from *bytes. hlc 0: none. */
int store_head(struct kv_store *store, uint32_t shard, uint64_t namespace_id, struct bnd_slice key,
               struct bnd_buf *bytes, struct kv_record *out);
/* Takes the value or blob of a record that goes. */
void store_release(struct kv_store *store, const struct kv_apply *of, const struct kv_record *old);
void store_changed(struct kv_store *store, const struct kv_apply *of, struct kv_seen was,
                   struct kv_seen is);
/* Reads by the batch over the state. */
int store_read(struct kv_store *store, const struct kv_key *key, struct bnd_buf *out);
void store_write(struct kv_store *store, const struct kv_key *key, struct bnd_slice value);
void store_remove(struct kv_store *store, const struct kv_key *key);
/* store_blob.c: its record names the blob no more. */
void store_superseded(struct kv_store *store, uint32_t shard, const uint8_t *blob, uint64_t now_ms);
/* Writes what is collected. BND_BUSY also while something is being written. */
int store_flush(struct kv_store *store);
/* store_shard.c: loads the marks of all shards. */
int store_marks_load(struct kv_store *store, struct bnd_error *err);

#endif
