/* A put on the replica that coordinates it (ADR 0090, "Put"): stamp, own log, pushes, answers. */
#ifndef BND_KV_COORDINATE_H
#define BND_KV_COORDINATE_H

#include "kv/kv_private.h"
#include "kv/wire.h"

struct kv_write; /* one put under way */

/* As bnd_kv_put's; besides, BND_EPOCH: this node does not coordinate the shard any more, and
 * BND_BUSY: its clock is not fit: ask another replica.
 * With any status but 0 the answer's version tells what it was stamped with last, if it was (hlc 0:
 * it is not stored): it may be stored under that, so whoever tries again stamps above it, or two
 * outcomes of one put would have versions on both sides of a later one. */
typedef void (*kv_write_cb)(void *data, int status, const struct kv_put_answer *answer);

int kv_coordinate_create(struct kv_coordinate **out);
void kv_coordinate_destroy(struct kv_coordinate *coordinate); /* nothing may be under way */

/* params' slices are borrowed until cb, which comes later, once. BND_FULL, BND_NOMEM: never. */
int kv_coordinate_write(struct bnd_kv *kv, const struct kv_write_params *params, kv_write_cb cb,
                        void *data);
/* A new view. */
void kv_coordinate_view(struct bnd_kv *kv);
void kv_coordinate_tick(struct bnd_kv *kv);
/* All are answered BND_CANCELED, from inside. */
void kv_coordinate_close(struct bnd_kv *kv);

/* How many replicas that count a put needs, and who counts besides this node. */
unsigned kv_needed(const struct bnd_kv *kv, uint32_t shard);

#endif
