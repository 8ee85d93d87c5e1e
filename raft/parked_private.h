/* Messages that a guard made wait: a bounded FIFO of copies. Full: the message is dropped, which
 * the network may do at any time. */
#ifndef BND_RAFT_PARKED_PRIVATE_H
#define BND_RAFT_PARKED_PRIVATE_H

#include "raft/message.h"

struct bnd_parked {
    struct bnd_link list; /* of struct parked_message */
    size_t count, bytes;
    size_t count_max, bytes_max;
};

void bnd_parked_init(struct bnd_parked *parked, size_t count_max, size_t bytes_max);
void bnd_parked_close(struct bnd_parked *parked);

/* Copies the message to the end. BND_FULL, BND_NOMEM: dropped. */
int bnd_parked_push(struct bnd_parked *parked, const struct bnd_message *message);

/* Takes the first one: *out borrows from *memory until bnd_buf_free(memory), and is to be released.
 * False: empty. One that cannot be read back for want of memory is dropped. */
bool bnd_parked_pop(struct bnd_parked *parked, struct bnd_message *out, struct bnd_buf *memory);

#endif
