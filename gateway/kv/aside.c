#include "gateway/kv/aside.h"

#define WRITE_BYTES ((size_t)1 << 20) /* at a time */

static int write_some(struct kv_aside *aside) {
    size_t len = aside->rest.len < WRITE_BYTES ? aside->rest.len : WRITE_BYTES;
    int rv = d1_spool_write(aside->spool, bnd_slice(aside->rest.data, len));
    aside->rest = bnd_slice(aside->rest.data + len, aside->rest.len - len);
    return rv;
}

static void on_spool(struct d1_spool *spool, int status, struct bnd_slice bytes) {
    struct kv_aside *aside = spool->data;
    if (aside->reading) {
        aside->reading = false;
        aside->hand = bytes;
        status = status == 0 && bytes.len == 0 ? BND_CORRUPT : status;
    } else if (status == 0 && aside->rest.len > 0) {
        status = write_some(aside);
        if (status == 0) {
            return;
        }
    }
    aside->cb(aside, status);
}

int kv_aside_write(struct kv_aside *aside, struct bnd_slice bytes) {
    aside->rest = bytes;
    if (aside->spool != NULL) {
        return write_some(aside);
    }
    const struct d1_spool config = {.env = aside->env,
                                    .dir = aside->dir,
                                    .bytes_max = aside->bytes_max,
                                    .cb = on_spool,
                                    .data = aside};
    return d1_spool_open(&config, &aside->spool);
}

int kv_aside_read(struct kv_aside *aside, uint64_t offset) {
    aside->hand = bnd_slice(NULL, 0);
    aside->hand_at = offset;
    int rv = d1_spool_read(aside->spool, offset);
    aside->reading = rv == 0;
    return rv;
}

struct bnd_slice kv_aside_at(const struct kv_aside *aside, uint64_t offset, size_t len) {
    if (offset < aside->hand_at || offset - aside->hand_at >= aside->hand.len) {
        return bnd_slice(NULL, 0);
    }
    size_t skip = (size_t)(offset - aside->hand_at);
    size_t left = aside->hand.len - skip;
    return bnd_slice(aside->hand.data + skip, left < len ? left : len);
}

void kv_aside_close(struct kv_aside *aside) {
    d1_spool_close(aside->spool);
    aside->spool = NULL;
}
