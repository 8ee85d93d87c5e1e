/* Commands, queries, replies and change sets of SQL groups: what is accepted survives a second
 * journey. The first byte says which. */
#include "base/error.h"
#include "sql/pack.h"
#include "tests/fuzz/fuzz.h"

static void command(struct bnd_slice bytes) {
    struct sql_command read;
    struct bnd_buf out = {0};
    if (sql_command_decode(bytes, &read) == 0) {
        sql_command_encode(&out, &read);
        fuzz_same(&out, bytes);
    }
}

static void query(struct bnd_slice bytes) {
    struct sql_query read;
    struct bnd_buf out = {0};
    if (sql_query_decode(bytes, &read) == 0) {
        sql_query_encode(&out, &read);
        fuzz_same(&out, bytes);
    }
}

static void record(struct bnd_slice bytes) {
    struct sql_database_record read;
    struct bnd_buf out = {0};
    if (sql_record_decode(bytes, &read) == 0) {
        sql_record_encode(&out, &read);
        fuzz_same(&out, bytes);
    }
}

static void change_set(struct bnd_slice bytes) {
    struct bnd_reader r = bnd_reader(bytes);
    struct sql_page_change change;
    uint32_t page = 0;
    uint32_t before = 0;
    while (sql_change_set_next(&r, &page, &change) == 0) {
        BND_ASSERT(page > before && page == change.page);
        BND_ASSERT(sql_page_value_sound(&change.value));
        BND_ASSERT((change.value.form == SQL_PAGE_SPANS) == (change.back > 0));
        before = page;
    }
    BND_ASSERT(page == before);
}

/* u16 size, then what is said to be packed. */
static void packed(struct bnd_slice bytes) {
    struct sql_unpacker *unpacker = NULL;
    struct bnd_buf out = {0};
    struct bnd_reader r = bnd_reader(bytes);
    size_t size = bnd_read_u16(&r);
    if (!r.failed && sql_unpacker_create(&unpacker) == 0) {
        int rv = sql_unpack(unpacker, r.rest, size, &out);
        BND_ASSERT(rv == 0 ? out.len == size : out.len == 0);
        if (rv == 0) {
            change_set(bnd_buf_slice(&out));
        }
    }
    sql_unpacker_destroy(unpacker);
    bnd_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_part *const parts[] = {command, query, record, change_set, packed};
    return fuzz_one_of(parts, sizeof parts / sizeof *parts, data, size);
}
