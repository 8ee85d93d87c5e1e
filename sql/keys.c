/* See keys.h. */
#include "sql/keys.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/hash.h"

#define VALUE_FORMAT 1u

static void add_be32(struct sql_key *key, uint32_t v) {
    bnd_put_be32(key->bytes + key->len, v);
    key->len += 4;
}

static void add_be64(struct sql_key *key, uint64_t v) {
    bnd_put_be64(key->bytes + key->len, v);
    key->len += 8;
}

void sql_key_tag(struct sql_key *out, uint32_t slot, enum sql_tag tag) {
    bnd_put_be32(out->bytes, slot);
    out->bytes[SQL_KEY_SLOT_BYTES] = (uint8_t)tag;
    out->len = SQL_KEY_SLOT_BYTES + 1;
}

void sql_key_database(struct sql_key *out, uint32_t slot, const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    sql_key_tag(out, slot, SQL_TAG_DATABASE);
    memcpy(out->bytes + out->len, uuid, BND_SQL_UUID_BYTES);
    out->len += BND_SQL_UUID_BYTES;
}

void sql_key_number(struct sql_key *out, uint32_t slot, enum sql_tag tag, uint32_t number) {
    sql_key_tag(out, slot, tag);
    add_be32(out, number);
}

void sql_key_pair(struct sql_key *out, uint32_t slot, enum sql_tag tag, uint32_t number,
                  uint32_t second) {
    sql_key_number(out, slot, tag, number);
    add_be32(out, second);
}

void sql_key_commit(struct sql_key *out, uint32_t slot, uint32_t number, uint64_t version) {
    sql_key_number(out, slot, SQL_TAG_COMMIT, number);
    add_be64(out, version);
}

void sql_key_page(struct sql_key *out, uint32_t slot, uint32_t number, uint32_t page,
                  uint32_t epoch, uint64_t version) {
    sql_key_pair(out, slot, SQL_TAG_PAGE, number, page);
    add_be32(out, epoch);
    add_be64(out, ~version);
}

void sql_key_dead(struct sql_key *out, uint32_t slot, uint64_t due_ms, uint32_t number) {
    sql_key_tag(out, slot, SQL_TAG_DEAD);
    add_be64(out, due_ms);
    add_be32(out, number);
}

void sql_key_rest_set(struct sql_key *out, uint32_t slot, struct bnd_slice rest) {
    BND_ASSERT(rest.len > 0 && rest.len <= SQL_KEY_PAGE_BYTES);
    bnd_put_be32(out->bytes, slot);
    memcpy(out->bytes + SQL_KEY_SLOT_BYTES, rest.data, rest.len);
    out->len = SQL_KEY_SLOT_BYTES + rest.len;
}

void sql_key_past(struct sql_key *key) {
    while (key->bytes[key->len - 1] == 0xff) {
        key->len--;
        BND_ASSERT(key->len > SQL_KEY_SLOT_BYTES); /* a tag is never 0xff */
    }
    key->bytes[key->len - 1]++;
}

static uint32_t check_of(struct bnd_slice key, struct bnd_slice value) {
    return (uint32_t)bnd_hash64(value, bnd_hash64(key, 0));
}

size_t sql_value_begin(struct bnd_buf *out) {
    size_t begin = out->len;
    bnd_buf_u8(out, VALUE_FORMAT);
    return begin;
}

void sql_value_end(struct bnd_buf *out, size_t begin, const struct sql_key *key) {
    if (!out->failed) {
        bnd_buf_u32(out,
                    check_of(sql_key_rest(key), bnd_slice(out->data + begin, out->len - begin)));
    }
}

int sql_value_open(struct bnd_slice key, struct bnd_slice value, struct bnd_reader *out) {
    if (value.len < 1 + SQL_VALUE_CHECK_BYTES || value.data[0] != VALUE_FORMAT) {
        return BND_CORRUPT;
    }
    struct bnd_slice checked = bnd_slice(value.data, value.len - SQL_VALUE_CHECK_BYTES);
    if (bnd_get_u32(value.data + checked.len) != check_of(key, checked)) {
        return BND_CORRUPT;
    }
    *out = bnd_reader(bnd_slice(checked.data + 1, checked.len - 1));
    return 0;
}
