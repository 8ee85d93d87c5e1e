/* Bytes that a request puts aside, on the disk of this process, and takes back in pieces: internal
 * to gateway/. One call at a time. What is on disk has no name, and goes with the process. */
#ifndef BND_GATEWAY_KV_ASIDE_H
#define BND_GATEWAY_KV_ASIDE_H

#include "gateway/d1/spool.h"

struct kv_aside {
    /* set by the owner */
    struct bnd_env *env;
    const char *dir;    /* of the process's own data; both borrowed */
    uint64_t bytes_max; /* most that will be put aside */
    /* Of each write and read, once, later. BND_NOSPACE: the disk has not so much to spare; errors
     * of the disk. */
    void (*cb)(struct kv_aside *aside, int status);
    void *data;
    /* private; zero at first */
    struct d1_spool *spool;
    struct bnd_slice rest; /* to be written */
    bool reading;
    struct bnd_slice hand; /* what was read last, */
    uint64_t hand_at;      /* from here on */
};

/* After what was written before; borrowed until cb. 0, or an error: cb does not come. */
int kv_aside_write(struct kv_aside *aside, struct bnd_slice bytes);
/* Takes what is from offset on into the hand. BND_CORRUPT (from cb): there is none. */
int kv_aside_read(struct kv_aside *aside, uint64_t offset);
/* What the hand has from offset on, at most len bytes of it; until the next read. Empty: nothing.
 */
struct bnd_slice kv_aside_at(const struct kv_aside *aside, uint64_t offset, size_t len);
/* Not while a write is under way. Idempotent. */
void kv_aside_close(struct kv_aside *aside);

#endif
