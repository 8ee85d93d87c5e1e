/* A bookmark's text that is parsed is written again as it was. Seeds:
 * tests/fuzz/corpus/fuzz_sql_bookmark. */
#include "sql/bookmark.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct bnd_sql_bookmark bookmark;
    if (bnd_sql_bookmark_parse(bnd_slice(data, len), &bookmark) != 0) {
        return 0;
    }
    char text[BND_SQL_BOOKMARK_TEXT + 1];
    bnd_sql_bookmark_text(&bookmark, text);
    BND_ASSERT(bnd_slice_eq(bnd_slice_str(text), bnd_slice(data, len)));
    return 0;
}
