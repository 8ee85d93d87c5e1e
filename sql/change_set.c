/* See change_set.h. */
#include "sql/change_set.h"

#include "base/assert.h"
#include "base/error.h"
#include "sql/varint.h"

static void append(struct sql_change_set *set, const struct sql_page_change *change) {
    struct bnd_buf *out = &set->pages;
    BND_ASSERT(change->page > set->last);
    sql_varint_append(out, change->page - set->last);
    bnd_buf_u8(out, (uint8_t)change->value.form);
    if (change->value.form == SQL_PAGE_SPANS) {
        sql_varint_append(out, change->back);
        bnd_buf_u8(out, change->value.place);
        bnd_buf_u16(out, change->value.row_bytes);
        sql_varint_append(out, change->value.bytes.len);
    }
    bnd_buf_append_slice(out, change->value.bytes);
    set->last = change->page;
    set->count++;
}

/* How many bytes of spans the page may get upon its newest version; 0: it must be an image. */
static size_t room_for_spans(const struct sql_page_found *found) {
    if (found->inherited || found->spans >= SQL_CHAIN_SPANS_MAX ||
        found->spans_bytes >= SQL_CHAIN_BYTES_MAX) {
        return 0;
    }
    return SQL_CHAIN_BYTES_MAX - found->spans_bytes;
}

void sql_change_set_page(struct sql_change_set *set, uint32_t page,
                         const uint8_t old[SQL_PAGE_BYTES], const struct sql_page_found *found,
                         const uint8_t new[SQL_PAGE_BYTES], uint64_t version,
                         struct sql_page_found *out_found) {
    uint8_t spans[SQL_CHAIN_BYTES_MAX];
    size_t len = SIZE_MAX;
    if (old != NULL && memcmp(old, new, SQL_PAGE_BYTES) == 0) {
        *out_found = *found;
        return;
    }
    if (old != NULL) {
        BND_ASSERT(found->version < version);
        len = sql_spans_diff(old, new, spans, room_for_spans(found));
    }
    struct sql_page_change change = {
        .page = page, .value = {.form = SQL_PAGE_IMAGE, .bytes = bnd_slice(new, SQL_PAGE_BYTES)}};
    struct sql_page_found made = {.version = version};
    if (len < SQL_PAGE_BYTES) {
        made.spans = (uint16_t)(found->spans + 1);
        made.spans_bytes = found->spans_bytes + (uint32_t)len;
        change.back = version - found->version;
        change.value = (struct sql_page_value){.form = SQL_PAGE_SPANS,
                                               .place = (uint8_t)made.spans,
                                               .row_bytes = (uint16_t)made.spans_bytes,
                                               .bytes = bnd_slice(spans, len)};
    }
    append(set, &change);
    *out_found = made;
}

void sql_change_set_free(struct sql_change_set *set) {
    bnd_buf_free(&set->pages);
    *set = (struct sql_change_set){0};
}

int sql_change_set_next(struct bnd_reader *r, uint32_t *page, struct sql_page_change *out) {
    struct sql_page_change change = {0};
    uint64_t distance = sql_varint_read(r);
    uint8_t form = bnd_read_u8(r);
    if (r->failed || distance == 0 || distance > UINT32_MAX - *page ||
        (form != SQL_PAGE_IMAGE && form != SQL_PAGE_SPANS)) {
        return BND_INVALID;
    }
    change.page = *page + (uint32_t)distance;
    change.value.form = (enum sql_page_form)form;
    uint64_t len = SQL_PAGE_BYTES;
    if (form == SQL_PAGE_SPANS) {
        change.back = sql_varint_read(r);
        change.value.place = bnd_read_u8(r);
        change.value.row_bytes = bnd_read_u16(r);
        len = sql_varint_read(r);
        if (change.back == 0 || len > SQL_CHAIN_BYTES_MAX) {
            return BND_INVALID;
        }
    }
    change.value.bytes = bnd_read_raw(r, (size_t)len);
    if (r->failed || !sql_page_value_sound(&change.value)) {
        return BND_INVALID;
    }
    *page = change.page;
    *out = change;
    return 0;
}
