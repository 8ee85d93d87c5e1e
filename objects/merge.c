/* See merge.h. */
#include "objects/merge.h"

#include "base/assert.h"
#include "base/error.h"

static int item_cmp(const struct objects_item *a, const struct objects_item *b) {
    int order = bnd_slice_cmp(a->key, b->key);
    if (order != 0) {
        return order;
    }
    /* Uploads of one key differ by their ids, which open their values; a key and a common prefix
     * of the same bytes cannot both be. */
    return bnd_slice_cmp(a->value, b->value);
}

static int check(struct objects_answer *answer) {
    struct bnd_reader r = answer->rest;
    struct objects_item item;
    struct bnd_slice last = {0};
    size_t count = 0;
    for (; objects_item_next(&r, &item); count++) {
        if (count > 0 && bnd_slice_cmp(last, item.key) > 0) {
            return BND_CORRUPT;
        }
        last = item.key;
    }
    if (!bnd_reader_done(&r) || (answer->truncated && count == 0)) {
        return BND_CORRUPT;
    }
    bnd_buf_append_slice(&answer->last, last);
    return answer->last.failed ? BND_NOMEM : 0;
}

int objects_answer_set(struct objects_answer *answer, struct bnd_slice reply) {
    bnd_buf_reset(&answer->bytes);
    bnd_buf_reset(&answer->last);
    bnd_buf_append_slice(&answer->bytes, reply);
    if (answer->bytes.failed) {
        return BND_NOMEM;
    }
    answer->rest = bnd_reader(bnd_buf_slice(&answer->bytes));
    uint8_t truncated = bnd_read_u8(&answer->rest);
    if (answer->rest.failed || truncated > 1) {
        return BND_CORRUPT;
    }
    answer->truncated = truncated == 1;
    int rv = check(answer);
    answer->has_next = rv == 0 && objects_item_next(&answer->rest, &answer->next);
    return rv;
}

void objects_answer_free(struct objects_answer *answer) {
    bnd_buf_free(&answer->bytes);
    bnd_buf_free(&answer->last);
}

/* The answer whose next item comes first, or NULL. */
static struct objects_answer *first(struct objects_answer *answers, size_t count) {
    struct objects_answer *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (answers[i].has_next && (best == NULL || item_cmp(&answers[i].next, &best->next) < 0)) {
            best = &answers[i];
        }
    }
    return best;
}

static bool bound_of(const struct objects_answer *answers, size_t count, struct bnd_slice *out) {
    bool some = false;
    for (size_t i = 0; i < count; i++) {
        struct bnd_slice last = bnd_buf_slice(&answers[i].last);
        if (answers[i].truncated && (!some || bnd_slice_cmp(last, *out) < 0)) {
            *out = last;
            some = true;
        }
    }
    return some;
}

/* A common prefix that is the last item already: shards each have keys under it. */
static bool repeats(const struct objects_merge *merge, const struct objects_item *item) {
    if (!item->is_prefix || merge->count == 0) {
        return false;
    }
    struct objects_item last;
    struct bnd_reader r =
        bnd_reader(bnd_slice(merge->items.data + merge->last, merge->items.len - merge->last));
    bool decoded = objects_item_next(&r, &last);
    BND_ASSERT(decoded); /* encoded here */
    return last.is_prefix && bnd_slice_eq(last.key, item->key);
}

int objects_merge(struct objects_merge *merge, struct objects_answer *answers, size_t count,
                  uint32_t limit) {
    struct bnd_slice bound = {0};
    bool bounded = bound_of(answers, count, &bound);
    merge->truncated = false;
    for (;;) {
        struct objects_answer *answer = first(answers, count);
        if (answer == NULL || (bounded && bnd_slice_cmp(answer->next.key, bound) > 0)) {
            merge->truncated = bounded;
            break;
        }
        if (!repeats(merge, &answer->next)) {
            if (merge->count == limit) {
                merge->truncated = true;
                break;
            }
            size_t place = merge->items.len;
            objects_item_encode(&merge->items, &answer->next);
            if (merge->items.failed) {
                return BND_NOMEM;
            }
            merge->last = place;
            merge->count++;
        }
        answer->has_next = objects_item_next(&answer->rest, &answer->next);
    }
    return 0;
}
