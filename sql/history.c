/* See history.h.
 *
 * Invariants that reading relies on (ADR 0102): 1. the versions of a page in an epoch stand newest
 * first and end with an image; 2. the parent of an epoch is an older one; 3. a dead
 * number's epoch records go before its pages, and so do they, or get their cutoff, where a version
 * is not kept any more: while the record of the epoch that is read is there after a snapshot was
 * made, with no cutoff above the version, the snapshot's pages of it, and those it stands upon, are
 * whole, and what is missing there never was. */
#include "sql/history.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/error.h"
#include "sql/records.h"

#define KNOWN_MAX 4u                         /* epochs, of a line of parents most likely */
#define PAGE_PREFIX_BYTES (SQL_KEY_MAX - 8u) /* of a key: all versions of a page in an epoch */

struct known {
    uint32_t number, epoch;
    struct sql_epoch_row row;
};

struct sql_snapshot {
    struct bnd_state *state;
    uint32_t slot;
    struct bnd_state_iter *iter; /* over all pages of the slot */
    struct sql_key from, to;     /* its bounds, which it borrows */
    struct known known[KNOWN_MAX];
    size_t known_count, known_next;
};

static int get(struct bnd_state *state, const struct sql_key *key, struct bnd_buf *out) {
    bnd_buf_reset(out);
    return state->ops->get(state, BND_CF_SQL, sql_key_slice(key), out);
}

int sql_history_database(struct bnd_state *state, uint32_t slot,
                         const uint8_t uuid[BND_SQL_UUID_BYTES], struct sql_database_record *out) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct sql_database_row row;
    struct sql_key key;
    sql_key_database(&key, slot, uuid);
    int rv = get(state, &key, &value);
    rv = rv != 0 ? rv : sql_database_decode(sql_key_rest(&key), bnd_buf_slice(&value), &row);
    if (rv == 0) {
        *out = row.record;
    }
    return rv;
}

/* ---- pages ------------------------------------------------------------------------------------*/

/* A row of spans as it is walked, newest first. */
struct row {
    uint8_t bytes[SQL_CHAIN_BYTES_MAX];
    size_t ends[SQL_CHAIN_SPANS_MAX]; /* of the spans of one version in bytes */
    size_t count;
    uint8_t place; /* of the last one; what follows is one less, and an image follows 1 */
    size_t left;   /* of the row's bytes, after it */
};

/* Keeps one version's spans. BND_CORRUPT: it does not go on the row. */
static int row_add(struct row *row, const struct sql_page_value *value) {
    if (row->count > 0 && (value->place + 1 != row->place || value->row_bytes != row->left)) {
        return BND_CORRUPT;
    }
    size_t at = row->count == 0 ? 0 : row->ends[row->count - 1];
    BND_ASSERT(row->count < SQL_CHAIN_SPANS_MAX && at + value->bytes.len <= sizeof row->bytes);
    memcpy(row->bytes + at, value->bytes.data, value->bytes.len);
    row->ends[row->count++] = at + value->bytes.len;
    row->place = value->place;
    row->left = value->row_bytes - value->bytes.len;
    return 0;
}

static void row_apply(const struct row *row, uint8_t page[SQL_PAGE_BYTES]) {
    for (size_t i = row->count; i > 0; i--) {
        size_t at = i == 1 ? 0 : row->ends[i - 2];
        sql_spans_apply(bnd_slice(row->bytes + at, row->ends[i - 1] - at), page);
    }
}

/* The versions of a page in an epoch, from `from` on. BND_NOTFOUND: there are none. */
static int walk(const struct sql_snapshot *snapshot, const struct sql_key *from,
                uint8_t out[SQL_PAGE_BYTES], struct sql_page_found *found) {
    const struct bnd_state_ops *ops = snapshot->state->ops;
    struct bnd_state_iter *iter = snapshot->iter;
    struct row row;
    row.count = 0;
    for (ops->iter_seek(iter, sql_key_slice(from)); ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct sql_page_value value;
        if (key.len != SQL_KEY_MAX) {
            return BND_CORRUPT;
        }
        if (memcmp(key.data, from->bytes, PAGE_PREFIX_BYTES) != 0) {
            break;
        }
        int rv = sql_page_value_decode(
            bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES),
            ops->iter_value(iter), &value);
        if (rv != 0) {
            return rv;
        }
        if (row.count == 0) {
            found->version = ~bnd_get_be64(key.data + SQL_KEY_MAX - 8);
            found->spans = value.place;
            found->spans_bytes = value.row_bytes;
        }
        if (value.form == SQL_PAGE_IMAGE) {
            if (row.count > 0 && (row.place != 1 || row.left != 0)) {
                return BND_CORRUPT;
            }
            memcpy(out, value.bytes.data, SQL_PAGE_BYTES);
            row_apply(&row, out);
            return 0;
        }
        rv = row_add(&row, &value);
        if (rv != 0) {
            return rv;
        }
    }
    int rv = ops->iter_status(iter);
    return rv != 0 ? rv : row.count == 0 ? BND_NOTFOUND : BND_CORRUPT;
}

static int epoch_of(const struct sql_at *at, uint32_t epoch, struct sql_epoch_row *out) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct sql_key key;
    sql_key_pair(&key, at->slot, SQL_TAG_EPOCH, at->number, epoch);
    int rv = get(at->state, &key, &value);
    return rv != 0 ? rv : sql_epoch_decode(sql_key_rest(&key), bnd_buf_slice(&value), out);
}

static int page_in_epoch(const struct sql_snapshot *snapshot, const struct sql_at *at,
                         uint32_t page, uint8_t out[SQL_PAGE_BYTES], struct sql_page_found *found) {
    struct sql_key from;
    sql_key_page(&from, at->slot, at->number, page, at->epoch, at->version);
    return walk(snapshot, &from, out, found);
}

/* ---- snapshots --------------------------------------------------------------------------------*/

int sql_snapshot_open(struct bnd_state *state, uint32_t slot, struct sql_snapshot **out) {
    struct sql_snapshot *snapshot = bnd_alloc(sizeof *snapshot);
    if (snapshot == NULL) {
        return BND_NOMEM;
    }
    snapshot->state = state;
    snapshot->slot = slot;
    snapshot->known_count = snapshot->known_next = 0;
    sql_key_tag(&snapshot->from, slot, SQL_TAG_PAGE);
    sql_key_tag(&snapshot->to, slot, SQL_TAG_PAGE);
    sql_key_past(&snapshot->to);
    snapshot->iter = state->ops->iter(state, BND_CF_SQL, sql_key_slice(&snapshot->from),
                                      sql_key_slice(&snapshot->to));
    if (snapshot->iter == NULL) {
        bnd_free(snapshot);
        return BND_NOMEM;
    }
    *out = snapshot;
    return 0;
}

void sql_snapshot_close(struct sql_snapshot *snapshot) {
    if (snapshot != NULL) {
        snapshot->state->ops->iter_destroy(snapshot->iter);
        bnd_free(snapshot);
    }
}

/* The epoch's record, as it was there after the snapshot was made: invariant 3. */
static int known_epoch(struct sql_snapshot *snapshot, const struct sql_at *at,
                       struct sql_epoch_row *out) {
    for (size_t i = 0; i < snapshot->known_count; i++) {
        const struct known *known = &snapshot->known[i];
        if (known->number == at->number && known->epoch == at->epoch) {
            *out = known->row;
            return 0;
        }
    }
    int rv = epoch_of(at, at->epoch, out);
    if (rv != 0) {
        return rv;
    }
    snapshot->known[snapshot->known_next] =
        (struct known){.number = at->number, .epoch = at->epoch, .row = *out};
    snapshot->known_next = (snapshot->known_next + 1) % KNOWN_MAX;
    snapshot->known_count += snapshot->known_count < KNOWN_MAX;
    return 0;
}

/* From the epochs that *at's stands upon, whose own has nothing of the page. */
static int page_inherited(struct sql_snapshot *snapshot, const struct sql_at *at,
                          const struct sql_epoch_row *own, uint32_t page,
                          uint8_t out[SQL_PAGE_BYTES], struct sql_page_found *found) {
    struct sql_at place = *at;
    struct sql_epoch_row epoch = *own;
    int rv = BND_NOTFOUND;
    while (rv == BND_NOTFOUND) {
        if (epoch.parent_number == 0 || place.version < epoch.first_version) {
            return BND_NOTFOUND;
        }
        place.number = epoch.parent_number;
        place.epoch = epoch.parent_epoch;
        place.version = epoch.parent_version;
        rv = page_in_epoch(snapshot, &place, page, out, found);
        int gone = rv == BND_NOTFOUND ? known_epoch(snapshot, &place, &epoch) : 0;
        if (gone != 0) {
            return gone;
        }
    }
    found->inherited = true;
    return rv;
}

int sql_snapshot_page(struct sql_snapshot *snapshot, const struct sql_at *at, uint32_t page,
                      uint8_t out[SQL_PAGE_BYTES], struct sql_page_found *found) {
    struct sql_page_found seen = {0};
    struct sql_epoch_row epoch;
    BND_ASSERT(at->state == snapshot->state && at->slot == snapshot->slot);
    int rv = known_epoch(snapshot, at, &epoch);
    if (rv != 0 || at->version < epoch.cutoff) {
        return rv != 0 ? rv : BND_NOTFOUND;
    }
    rv = page_in_epoch(snapshot, at, page, out, &seen);
    rv = rv == BND_NOTFOUND ? page_inherited(snapshot, at, &epoch, page, out, &seen) : rv;
    if (rv == 0 && found != NULL) {
        *found = seen;
    }
    return rv;
}

int sql_history_page(const struct sql_at *at, uint32_t page, uint8_t out[SQL_PAGE_BYTES],
                     struct sql_page_found *found) {
    struct sql_snapshot *snapshot = NULL;
    int rv = sql_snapshot_open(at->state, at->slot, &snapshot);
    if (rv == 0) {
        rv = sql_snapshot_page(snapshot, at, page, out, found);
        sql_snapshot_close(snapshot);
    }
    return rv;
}

/* ---- commits ----------------------------------------------------------------------------------*/

int sql_history_commit(const struct sql_at *at, uint64_t version, struct sql_commit_record *out) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct sql_commit_row row;
    struct sql_key key;
    if (version > at->version) {
        return BND_NOTFOUND;
    }
    sql_key_commit(&key, at->slot, at->number, version);
    int rv = get(at->state, &key, &value);
    rv = rv != 0 ? rv : sql_commit_decode(sql_key_rest(&key), bnd_buf_slice(&value), &row);
    if (rv == 0) {
        *out = row.record;
    }
    return rv;
}

int sql_history_epoch_here(struct bnd_state *state, struct bnd_state_iter *iter,
                           uint32_t *out_epoch, struct sql_epoch_row *out) {
    const struct bnd_state_ops *ops = state->ops;
    if (!ops->iter_valid(iter)) {
        int rv = ops->iter_status(iter);
        return rv != 0 ? rv : BND_NOTFOUND;
    }
    struct bnd_slice key = ops->iter_key(iter);
    struct bnd_slice rest = bnd_slice(key.data + SQL_KEY_SLOT_BYTES, key.len - SQL_KEY_SLOT_BYTES);
    int rv = sql_epoch_decode(rest, ops->iter_value(iter), out);
    if (rv == 0) {
        *out_epoch = bnd_get_be32(rest.data + 5);
    }
    return rv;
}

/* What the number began with. */
static int first_epoch(const struct sql_at *at, uint32_t *out_epoch, struct sql_epoch_row *out) {
    struct sql_key from;
    sql_key_number(&from, at->slot, SQL_TAG_EPOCH, at->number);
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter =
        at->state->ops->iter(at->state, BND_CF_SQL, sql_key_slice(&from), sql_key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = sql_history_epoch_here(at->state, iter, out_epoch, out);
    at->state->ops->iter_destroy(iter);
    return rv;
}

int sql_history_oldest(const struct sql_at *at, uint64_t cutoff, struct sql_commit_record *out) {
    struct sql_epoch_row row = {.first_version = cutoff};
    uint32_t epoch = 0;
    int rv = cutoff > 0 ? 0 : first_epoch(at, &epoch, &row);
    return rv != 0 ? rv : sql_history_commit(at, row.first_version, out);
}

/* Of the versions that the database has under this number, from `first` on. */
static int number_at_time(const struct sql_at *at, uint64_t first, uint64_t stamp_ms,
                          struct sql_commit_record *out) {
    struct sql_commit_record best;
    int rv = sql_history_commit(at, first, &best);
    if (rv != 0 || best.stamp_ms > stamp_ms) {
        return rv != 0 ? rv : BND_NOTFOUND;
    }
    uint64_t above = at->version + 1; /* best is one, above is none */
    while (best.version + 1 < above) {
        struct sql_commit_record middle;
        rv = sql_history_commit(at, best.version + (above - best.version) / 2, &middle);
        if (rv != 0) {
            return rv;
        }
        if (middle.stamp_ms <= stamp_ms) {
            best = middle;
        } else {
            above = middle.version;
        }
    }
    *out = best;
    return 0;
}

/* A database that was imported into goes on under a number of its own, whose first epoch is not 0:
 * before that it had the parent's, which is not kept any more if this number has a cutoff. */
int sql_history_at_time(const struct sql_at *at, uint64_t cutoff, uint64_t stamp_ms,
                        struct sql_commit_record *out) {
    struct sql_at place = *at;
    for (;;) {
        struct sql_epoch_row row = {0};
        uint32_t epoch = 0;
        uint64_t first = cutoff;
        int rv = cutoff > 0 ? 0 : first_epoch(&place, &epoch, &row);
        if (cutoff == 0) { /* what it was may have had one of its own */
            first = row.cutoff > row.first_version ? row.cutoff : row.first_version;
        }
        rv = rv != 0 ? rv : number_at_time(&place, first, stamp_ms, out);
        bool begins = epoch == 0 || row.parent_number == place.number || row.cutoff > 0;
        if (rv != BND_NOTFOUND || begins) {
            return rv;
        }
        place.number = row.parent_number;
        place.version = row.parent_version;
    }
}
