/* Bytes of one upload on disk, while this process works with them: internal to gateway/.
 *
 * The file has no name once it is open, so that whatever becomes of the process nothing is left of
 * it. It is written and read by its owner, one call at a time. */
#ifndef BND_GATEWAY_D1_SPOOL_H
#define BND_GATEWAY_D1_SPOOL_H

#include "base/env.h"

#define D1_SPOOL_READ_BYTES (128u << 10)

struct d1_spool {
    /* set by the owner */
    struct bnd_env *env; /* borrowed */
    const char *dir;     /* of the process's own data; borrowed to the end */
    uint64_t bytes_max;  /* most that will be written, */
    uint64_t to_come; /* and what others will still write there: BND_NOSPACE if the disk has not so
                         much to spare above its reserve */
    /* Of open, write and read, each time; bytes: what was read, borrowed until the next call. */
    void (*cb)(struct d1_spool *spool, int status, struct bnd_slice bytes);
    void *data;
    /* what it has */
    uint64_t size;
    /* private */
    struct bnd_file *file;
    struct bnd_io io;
    struct bnd_work work;
    int status;
    bool busy, closing;
    uint8_t *read;
};

/* From the heap: destroyed by d1_spool_close alone. */
int d1_spool_open(const struct d1_spool *config, struct d1_spool **out);
/* At the end. bytes are borrowed until cb. */
int d1_spool_write(struct d1_spool *spool, struct bnd_slice bytes);
/* At most D1_SPOOL_READ_BYTES. */
int d1_spool_read(struct d1_spool *spool, uint64_t offset);
/* No cb comes any more. Not while a write is under way, which borrows. NULL allowed. */
void d1_spool_close(struct d1_spool *spool);

#endif
