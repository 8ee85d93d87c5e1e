/* Numbers whose databases were deleted. One that others were forked from waits (PINNED) until each
 * of these is swept; then, and else at once, it has a time from which on it is swept (DEAD): epochs
 * first, so that who still reads it finds it gone and nothing older (history.c), then pages, then
 * commits, a bounded count of keys at a time. */
#include "sql/fsm_private.h"

#include "base/error.h"

static int has_forks(const struct sql_change *change, uint32_t number, bool *out) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct sql_key from;
    sql_key_number(&from, change->context->slot, SQL_TAG_FORK, number);
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter = sql_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    *out = ops->iter_valid(iter);
    int rv = ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv;
}

static int put_dead(const struct sql_change *change, const struct sql_key *key,
                    const struct sql_dead_row *row) {
    struct bnd_buf *value = &change->fsm->value;
    bnd_buf_reset(value);
    sql_dead_encode(value, key, row);
    return sql_change_put_value(change, key);
}

static int add_due(const struct sql_change *change, uint64_t due_ms, uint32_t number,
                   uint32_t parent) {
    const struct sql_dead_row row = {.parent_number = parent};
    struct sql_key key;
    sql_key_dead(&key, change->context->slot, due_ms, number);
    if (change->fsm->due_known && due_ms < change->fsm->due_ms) {
        change->fsm->due_ms = due_ms;
    }
    return put_dead(change, &key, &row);
}

int sql_dead_add(const struct sql_change *change, uint32_t number) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_epoch_row first;
    uint32_t epoch = 0;
    struct sql_key key;
    bool forked = false;
    int rv = sql_must(sql_change_first_epoch(change, number, &epoch, &first));
    rv = rv != 0 ? rv : has_forks(change, number, &forked);
    if (rv != 0) {
        return rv;
    }
    if (!forked) {
        return add_due(change, change->context->stamp_ms + SQL_DEAD_KEEP_MS, number,
                       first.parent_number);
    }
    sql_key_number(&key, change->context->slot, SQL_TAG_PINNED, number);
    bnd_buf_reset(value);
    sql_number_encode(value, &key, first.parent_number);
    return sql_change_put_value(change, &key);
}

/* ---- one number -------------------------------------------------------------------------------*/

struct dead {
    struct sql_key key;
    uint64_t due_ms;
    uint32_t number;
    struct sql_dead_row row;
    uint8_t last[SQL_KEY_PAGE_BYTES]; /* what row.last points to */
};

/* The one that is due first; BND_NOTFOUND: there is none. */
static int first_dead(const struct sql_change *change, struct dead *out) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct sql_key from;
    sql_key_tag(&from, change->context->slot, SQL_TAG_DEAD);
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter = sql_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = ops->iter_status(iter);
    if (rv == 0 && !ops->iter_valid(iter)) {
        rv = BND_NOTFOUND;
    }
    if (rv == 0) {
        struct bnd_slice key = ops->iter_key(iter);
        struct bnd_slice rest =
            bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES);
        rv = sql_dead_decode(rest, ops->iter_value(iter), &out->row);
        if (rv == 0) {
            sql_key_rest_set(&out->key, change->context->slot, rest);
            out->due_ms = bnd_get_be64(rest.data + 1);
            out->number = bnd_get_be32(rest.data + 9);
            memcpy(out->last, out->row.last.data, out->row.last.len);
            out->row.last.data = out->last;
        }
    }
    ops->iter_destroy(iter);
    return rv;
}

/* What of a section is still there: from the key on that was deleted last. */
static void section_range(const struct sql_change *change, const struct dead *dead,
                          struct sql_key *from, struct sql_key *to) {
    static const enum sql_tag tags[SQL_SECTION_END] = {
        [SQL_SECTION_EPOCHS] = SQL_TAG_EPOCH,
        [SQL_SECTION_PAGES] = SQL_TAG_PAGE,
        [SQL_SECTION_COMMITS] = SQL_TAG_COMMIT,
    };
    sql_key_number(from, change->context->slot, tags[dead->row.section], dead->number);
    *to = *from;
    sql_key_past(to);
    if (dead->row.last.len > 0) {
        sql_key_rest_set(from, change->context->slot, dead->row.last);
    }
}

/* Deletes at most *keys of the section; the row says how far it went. */
static int sweep_section(const struct sql_change *change, struct dead *dead, unsigned *keys) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    BND_AUTO_BUF struct bnd_buf found = {0};
    struct sql_key from;
    struct sql_key to;
    section_range(change, dead, &from, &to);
    struct bnd_state_iter *iter = sql_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    unsigned left = *keys;
    bool more = false;
    for (; ops->iter_valid(iter); ops->iter_next(iter), left--) {
        struct bnd_slice key = ops->iter_key(iter);
        more = left == 0;
        if (more || key.len > SQL_KEY_MAX) {
            break;
        }
        bnd_buf_bytes(&found,
                      bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES));
    }
    int rv = ops->iter_status(iter);
    rv = rv == 0 && !more && ops->iter_valid(iter) ? BND_CORRUPT : rv; /* a key that is too long */
    ops->iter_destroy(iter);
    if (rv != 0 || found.failed) {
        return rv != 0 ? rv : BND_NOMEM;
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&found));
    while (r.rest.len > 0) {
        struct bnd_slice rest = bnd_read_bytes(&r);
        struct sql_key key;
        sql_key_rest_set(&key, change->context->slot, rest);
        sql_change_delete(change, &key);
        memcpy(dead->last, rest.data, rest.len);
        dead->row.last = bnd_slice(dead->last, rest.len);
    }
    *keys = left;
    if (!more) {
        dead->row.section++;
        dead->row.last.len = 0;
    }
    return 0;
}

/* The parent is free of it. */
static int end_fork(const struct sql_change *change, uint32_t parent, uint32_t number) {
    struct bnd_buf *value = &change->fsm->value;
    struct sql_fork_row fork;
    struct sql_key key;
    sql_key_pair(&key, change->context->slot, SQL_TAG_FORK, parent, number);
    int rv = sql_must(sql_change_get(change, &key, value));
    rv = rv != 0 ? rv : sql_fork_decode(sql_key_rest(&key), bnd_buf_slice(value), &fork);
    if (rv != 0) {
        return rv;
    }
    sql_change_delete(change, &key);
    sql_plan_clear(change->fsm);
    return sql_unpinned(change, parent, &fork);
}

/* Nothing of the number is left: its parent may have waited for that. */
static int end_number(const struct sql_change *change, const struct dead *dead) {
    struct bnd_buf *value = &change->fsm->value;
    uint32_t parent = dead->row.parent_number;
    uint32_t grandparent = 0;
    bool forked = false;
    struct sql_key key;
    sql_change_delete(change, &dead->key);
    sql_key_number(&key, change->context->slot, SQL_TAG_UNPINNED, dead->number);
    sql_change_delete(change, &key);
    if (parent == 0) {
        return 0;
    }
    int rv = end_fork(change, parent, dead->number);
    if (rv != 0) {
        return rv;
    }
    sql_key_number(&key, change->context->slot, SQL_TAG_PINNED, parent);
    rv = sql_change_get(change, &key, value);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? 0 : rv; /* it lives */
    }
    rv = sql_number_decode(sql_key_rest(&key), bnd_buf_slice(value), &grandparent);
    rv = rv != 0 ? rv : has_forks(change, parent, &forked);
    if (rv != 0 || forked) {
        return rv;
    }
    sql_change_delete(change, &key);
    return add_due(change, change->context->stamp_ms, parent, grandparent);
}

static int sweep_number(const struct sql_change *change, struct dead *dead, unsigned *keys) {
    bool begins = dead->row.section == SQL_SECTION_EPOCHS && dead->row.last.len == 0;
    int rv = begins ? sql_pass_end(change, dead->number) : 0;
    while (rv == 0 && *keys > 0 && dead->row.section < SQL_SECTION_END) {
        rv = sweep_section(change, dead, keys);
    }
    if (rv != 0) {
        return rv;
    }
    return dead->row.section == SQL_SECTION_END ? end_number(change, dead)
                                                : put_dead(change, &dead->key, &dead->row);
}

int sql_dead_sweep(const struct sql_change *change, unsigned keys) {
    struct sql_fsm *fsm = change->fsm;
    uint64_t now_ms = change->context->stamp_ms;
    if (change->context->time_suspended) {
        return 0;
    }
    while (keys > 0 && (!fsm->due_known || fsm->due_ms <= now_ms)) {
        struct dead dead;
        int rv = first_dead(change, &dead);
        if (rv != 0 && rv != BND_NOTFOUND) {
            return rv;
        }
        fsm->due_known = true;
        fsm->due_ms = rv == BND_NOTFOUND ? UINT64_MAX : dead.due_ms;
        if (fsm->due_ms > now_ms) {
            return 0;
        }
        rv = sweep_number(change, &dead, &keys);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}
