/* Deleting a bucket: one numbered attempt kept in group 0 (architecture 8; catalog/command.h,
 * objects/objects.h).
 *
 *   seal the name in group 0 -> seal every shard under the attempt
 *     all empty: remove the name
 *     else:      unseal the shards, then the name
 *
 * Whatever fails on the way is rolled back if it can be; what cannot is left to the next attempt,
 * which overtakes it: the next client's, or the sweep's, once it is overdue. Sealed shards refuse
 * writes meanwhile, so nothing is lost. */
#ifndef BND_GATEWAY_BUCKET_DELETE_H
#define BND_GATEWAY_BUCKET_DELETE_H

#include "gateway/gateway.h"

#define BND_BUCKET_ATTEMPT_OVERDUE_MS UINT64_C(60000)

struct bnd_bucket_delete {
    /* status 0: it is gone. BND_NOTEMPTY: it holds objects or uploads in parts, and takes writes
     * again. BND_NOTFOUND. BND_EPOCH: another attempt overtook this one. Else it could not be
     * decided (class RETRY or UNKNOWN): ask again. */
    void (*cb)(struct bnd_bucket_delete *del, int status);
    void *data;
    /* private */
    const struct bnd_gateway_services *services;
    struct bnd_catalog_call call;
    struct bnd_bucket_seal seal;
    struct bnd_bucket_ref bucket;
    uint64_t attempt;
    int verdict; /* what cb is told when the roll-back has ended */
    size_t name_len;
    uint8_t name[BND_BUCKET_NAME_MAX];
};

/* The caller owns *del until cb; zero it before first use and set cb and data. cb comes exactly
 * once, later, if 0 is returned. BND_INVALID: no bucket can have that name; BND_FULL, BND_NOMEM. */
int bnd_bucket_delete(const struct bnd_gateway_services *services, struct bnd_bucket_delete *del,
                      struct bnd_slice name);

/* One pass over all buckets, which ends what is overdue: one attempt after the other. */
struct bnd_bucket_sweep {
    /* status 0: all were seen; attempts that could not be ended are left to the next pass.
     * BND_CANCELED: bnd_bucket_sweep_stop. Else group 0 could not be asked. */
    void (*cb)(struct bnd_bucket_sweep *sweep, int status);
    void *data;
    uint64_t ended; /* attempts that this pass has ended, either way */
    /* private */
    const struct bnd_gateway_services *services;
    struct bnd_catalog_call call;
    struct bnd_bucket_delete del;
    struct bnd_buf page;
    size_t page_at;
    uint32_t left; /* records of the page */
    bool more;
    bool stopping;
    size_t after_len;
    uint8_t after[BND_BUCKET_NAME_MAX];
};

/* Begins a pass: meant for one process, the leader of group 0, every half minute or so. Attempts
 * older than BND_BUCKET_ATTEMPT_OVERDUE_MS by this node's wall clock are taken over by one of its
 * own: its number rises, so what it overtakes can do nothing any more, even if it was alive. The
 * caller owns *sweep (cb and data set) until cb, which comes exactly once, later, if 0 is returned.
 * BND_FULL, BND_NOMEM. */
int bnd_bucket_delete_resume(const struct bnd_gateway_services *services,
                             struct bnd_bucket_sweep *sweep);
/* Lets a pass end with what it is at; cb still comes. */
void bnd_bucket_sweep_stop(struct bnd_bucket_sweep *sweep);

#endif
