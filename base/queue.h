/* Intrusive doubly linked lists. A node is in at most one list; zero-initialised nodes are in none.
 */
#ifndef BND_BASE_QUEUE_H
#define BND_BASE_QUEUE_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>

struct bnd_link {
    struct bnd_link *next;
    struct bnd_link *prev;
};

/* The list head is a link of its own. */
static inline void bnd_list_init(struct bnd_link *head) {
    head->next = head;
    head->prev = head;
}
static inline bool bnd_list_empty(const struct bnd_link *head) {
    return head->next == head;
}
static inline bool bnd_link_linked(const struct bnd_link *link) {
    return link->next != NULL;
}
static inline void bnd_list_push(struct bnd_link *head, struct bnd_link *link) { /* at the tail */
    BND_ASSERT(!bnd_link_linked(link));
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}
static inline void bnd_link_remove(struct bnd_link *link) {
    BND_ASSERT(bnd_link_linked(link));
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = NULL;
    link->prev = NULL;
}
/* Removes and returns the first link, or NULL. */
static inline struct bnd_link *bnd_list_pop(struct bnd_link *head) {
    if (bnd_list_empty(head)) {
        return NULL;
    }
    struct bnd_link *first = head->next;
    bnd_link_remove(first);
    return first;
}
/* Moves every link of a list, in order, behind those of another. */
static inline void bnd_list_move(struct bnd_link *from, struct bnd_link *to) {
    if (bnd_list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    bnd_list_init(from);
}
/* The same to `out`, which it initialises. For a pass over a list that callbacks may add to or take
 * from meanwhile: what is added stays in the list. */
static inline void bnd_list_take(struct bnd_link *head, struct bnd_link *out) {
    bnd_list_init(out);
    bnd_list_move(head, out);
}
#define BND_CONTAINER(pointer, type, member)                                                       \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
