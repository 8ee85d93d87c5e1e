/* Joining the shards' answers to one page: pure. */
#ifndef BND_OBJECTS_MERGE_H
#define BND_OBJECTS_MERGE_H

#include "objects/command.h"

/* One shard's answer, and how far it has been taken. */
struct objects_answer {
    struct bnd_buf bytes;
    struct bnd_reader rest;
    struct objects_item next;
    bool has_next;
    bool truncated;
    struct bnd_buf last; /* the answer's last key */
};

/* Takes a reply (copied). BND_CORRUPT unless it is one, with items in rising order; BND_NOMEM. */
int objects_answer_set(struct objects_answer *answer, struct bnd_slice reply);
void objects_answer_free(struct objects_answer *answer);

/* Appends (objects_item_encode) to *out the next items of all answers in order, each common prefix
 * once, at most limit, and none above the smallest last key of a truncated answer: above it, that
 * shard may have more. *out_truncated: there is, or may be, more. *count rises by what was added;
 * *last is where (in out) the last item begins. BND_NOMEM. */
struct objects_merge {
    struct bnd_buf items;
    size_t last;
    uint32_t count;
    bool truncated;
};
int objects_merge(struct objects_merge *merge, struct objects_answer *answers, size_t count,
                  uint32_t limit);

#endif
