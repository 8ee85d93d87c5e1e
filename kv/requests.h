/* What a node answers others with. Inside kv/. */
#ifndef BND_KV_REQUESTS_H
#define BND_KV_REQUESTS_H

#include "kv/kv_private.h"
#include "kv/wire.h"

/* Into *out: the blob's id and the piece, or no piece past the end. BND_NOTFOUND: another version
 * stands, or it was swept. */
int kv_read_here(struct bnd_kv *kv, uint32_t shard, const struct kv_call_read *read,
                 struct bnd_buf *out);
/* A page of shards that this node serves; scan_max and now_ms are set here. */
int kv_list_here(struct bnd_kv *kv, const struct kv_list_query *query, struct kv_page *out);

#endif
