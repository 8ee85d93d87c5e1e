/* Deleting a bucket: one numbered attempt kept in group 0 (architecture 8; catalog/command.h,
 * objects/objects.h).
 *
 *   seal the name in group 0 -> seal every shard under the attempt -> empty: remove it
 *                                                                  -> not:   unseal shards, then
 * the name
 *
 * Whatever fails on the way is rolled back if it can be; what cannot is left to the next attempt,
 * which overtakes it: sealed shards refuse writes meanwhile, so nothing is lost. */
#ifndef BND_GATEWAY_BUCKET_DELETE_H
#define BND_GATEWAY_BUCKET_DELETE_H

#include "gateway/gateway.h"

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

#endif
