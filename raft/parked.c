/* Messages that wait, kept as bytes: one allocation each, and the codec is the copy. */
#include "raft/parked_private.h"

#include "base/alloc.h"

struct parked_message {
    struct bnd_link link;
    uint64_t from, to;
    struct bnd_buf bytes;
};

void bnd_parked_init(struct bnd_parked *parked, size_t count_max, size_t bytes_max) {
    *parked = (struct bnd_parked){.count_max = count_max, .bytes_max = bytes_max};
    bnd_list_init(&parked->list);
}

static struct parked_message *take(struct bnd_parked *parked) {
    struct bnd_link *link = bnd_list_pop(&parked->list);
    if (link == NULL) {
        return NULL;
    }
    struct parked_message *first = BND_CONTAINER(link, struct parked_message, link);
    parked->count--;
    parked->bytes -= first->bytes.len;
    return first;
}

void bnd_parked_close(struct bnd_parked *parked) {
    struct parked_message *first = NULL;
    while ((first = take(parked)) != NULL) {
        bnd_buf_free(&first->bytes);
        bnd_free(first);
    }
}

int bnd_parked_push(struct bnd_parked *parked, const struct bnd_message *message) {
    size_t bytes = bnd_message_bytes(message);
    if (parked->count == parked->count_max || bytes > parked->bytes_max - parked->bytes) {
        return BND_FULL;
    }
    struct parked_message *copy = bnd_zalloc(sizeof *copy);
    if (copy == NULL) {
        return BND_NOMEM;
    }
    copy->from = message->from;
    copy->to = message->to;
    bnd_message_encode(message, &copy->bytes);
    if (copy->bytes.failed) {
        bnd_buf_free(&copy->bytes);
        bnd_free(copy);
        return BND_NOMEM;
    }
    bnd_list_push(&parked->list, &copy->link);
    parked->count++;
    parked->bytes += copy->bytes.len;
    return 0;
}

bool bnd_parked_pop(struct bnd_parked *parked, struct bnd_message *out, struct bnd_buf *memory) {
    for (;;) {
        struct parked_message *first = take(parked);
        if (first == NULL) {
            return false;
        }
        int rv = bnd_message_decode(bnd_buf_slice(&first->bytes), out, NULL);
        if (rv == 0) {
            out->from = first->from;
            out->to = first->to;
        }
        *memory = first->bytes;
        bnd_free(first);
        if (rv == 0) {
            return true;
        }
        bnd_buf_free(memory);
    }
}
