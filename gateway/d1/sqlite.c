#include "gateway/d1/sqlite.h"

#include "sql/request.h"

#define PAGE_BYTES_AT 16u
#define WRITE_VERSION_AT 18u
#define READ_VERSION_AT 19u
#define CHANGES_AT 24u
#define PAGES_AT 28u
#define PAGES_OF_CHANGE_AT 92u /* the count of changes that the number of pages is of */
#define ROLLBACK_JOURNAL 1u

static const char magic[16] = "SQLite format 3";

bool d1_sqlite_header_sound(struct bnd_slice first, uint64_t bytes) {
    const uint8_t *header = first.data;
    return first.len >= BND_SQL_PAGE_BYTES && bytes % BND_SQL_PAGE_BYTES == 0 &&
           memcmp(header, magic, sizeof magic) == 0 &&
           ((uint32_t)header[PAGE_BYTES_AT] << 8 | header[PAGE_BYTES_AT + 1]) ==
               BND_SQL_PAGE_BYTES &&
           header[WRITE_VERSION_AT] == ROLLBACK_JOURNAL &&
           header[READ_VERSION_AT] == ROLLBACK_JOURNAL &&
           bnd_get_be32(header + PAGES_AT) == bytes / BND_SQL_PAGE_BYTES &&
           bnd_get_be32(header + CHANGES_AT) == bnd_get_be32(header + PAGES_OF_CHANGE_AT);
}
