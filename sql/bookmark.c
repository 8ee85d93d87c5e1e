#include "sql/bookmark.h"

#include "base/assert.h"

/* Digits of the four groups, and where each begins. */
enum { GROUP_DIGITS = 8, HIGH = 9, LOW = 18, HASH = 27, HASH_DIGITS = 2 * BND_SQL_HASH_BYTES };
_Static_assert(HASH + HASH_DIGITS == BND_SQL_BOOKMARK_TEXT, "8-8-8-32 with its dashes");

static void put_group(char *out, uint32_t value) {
    uint8_t bytes[4];
    char digits[2 * sizeof bytes + 1];
    bnd_put_be32(bytes, value);
    bnd_hex_encode(bytes, sizeof bytes, digits);
    memcpy(out, digits, GROUP_DIGITS);
    out[GROUP_DIGITS] = '-';
}

void bnd_sql_bookmark_text(const struct bnd_sql_bookmark *bookmark,
                           char out[BND_SQL_BOOKMARK_TEXT + 1]) {
    BND_ASSERT(bookmark->version <= BND_SQL_VERSION_MAX);
    put_group(out, bookmark->epoch);
    put_group(out + HIGH, (uint32_t)(bookmark->version >> 16));
    put_group(out + LOW, (uint32_t)(bookmark->version & 0xffff) << 16);
    bnd_hex_encode(bookmark->hash, BND_SQL_HASH_BYTES, out + HASH);
}

static bool is_lower_hex(struct bnd_slice text) {
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return true;
}

/* The bytes of a group of digits, which is followed by a dash unless it is the last. */
static bool get_group(struct bnd_slice text, size_t at, size_t digits, uint8_t *out) {
    struct bnd_slice group = bnd_slice(text.data + at, digits);
    size_t end = at + digits;
    return is_lower_hex(group) && bnd_hex_decode(group, out, digits / 2) == 0 &&
           (end == text.len || text.data[end] == '-');
}

int bnd_sql_bookmark_parse(struct bnd_slice text, struct bnd_sql_bookmark *out) {
    uint8_t epoch[4], high[4], low[4];
    struct bnd_sql_bookmark bookmark;
    if (text.len != BND_SQL_BOOKMARK_TEXT || !get_group(text, 0, GROUP_DIGITS, epoch) ||
        !get_group(text, HIGH, GROUP_DIGITS, high) || !get_group(text, LOW, GROUP_DIGITS, low) ||
        !get_group(text, HASH, HASH_DIGITS, bookmark.hash) || (bnd_get_be32(low) & 0xffff) != 0) {
        return BND_INVALID;
    }
    bookmark.epoch = bnd_get_be32(epoch);
    bookmark.version = (uint64_t)bnd_get_be32(high) << 16 | bnd_get_be32(low) >> 16;
    *out = bookmark;
    return 0;
}

void bnd_sql_bookmark_put(uint8_t out[BND_SQL_BOOKMARK_BYTES],
                          const struct bnd_sql_bookmark *bookmark) {
    BND_ASSERT(bookmark->version <= BND_SQL_VERSION_MAX);
    bnd_put_u32(out, bookmark->epoch);
    bnd_put_u64(out + 4, bookmark->version);
    memcpy(out + 12, bookmark->hash, BND_SQL_HASH_BYTES);
}

void bnd_sql_bookmark_append(struct bnd_buf *out, const struct bnd_sql_bookmark *bookmark) {
    uint8_t bytes[BND_SQL_BOOKMARK_BYTES];
    bnd_sql_bookmark_put(bytes, bookmark);
    bnd_buf_append(out, bytes, sizeof bytes);
}

void bnd_sql_bookmark_get(const uint8_t bytes[BND_SQL_BOOKMARK_BYTES],
                          struct bnd_sql_bookmark *out) {
    struct bnd_reader r = bnd_reader(bnd_slice(bytes, BND_SQL_BOOKMARK_BYTES));
    bnd_sql_bookmark_read(&r, out);
    BND_ASSERT(bnd_reader_done(&r));
}

void bnd_sql_bookmark_read(struct bnd_reader *r, struct bnd_sql_bookmark *out) {
    out->epoch = bnd_read_u32(r);
    out->version = bnd_read_u64(r);
    bnd_read_into(r, out->hash, sizeof out->hash);
    r->failed = r->failed || out->version > BND_SQL_VERSION_MAX;
}
