#include "bench/d1_table.h"

#include "base/alloc.h"
#include "bench/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES (1u << 20)

static const char *const names[] = {"read", "scan", "sum", "update", "insert", "batch", "fill"};

enum d1_op d1_op_named(const char *name) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum d1_op)i;
        }
    }
    fprintf(stderr, "%s: there is no --op %s\n", program_invocation_short_name, name);
    exit(2);
}

const char *d1_op_name(enum d1_op op) {
    return names[op];
}

const char *d1_sql(enum d1_op op) {
    static const char *const sql[] = {
        [D1_READ] = D1_READ_ROW,     [D1_SCAN] = D1_SCAN_T,       [D1_SUM] = D1_SUM_T,
        [D1_UPDATE] = D1_UPDATE_ROW, [D1_INSERT] = D1_INSERT_ROW, [D1_BATCH] = D1_INSERT_ROW,
        [D1_FILL] = D1_FILL_ROW};
    return sql[op];
}

uint64_t d1_draw_id(enum d1_op op, uint64_t rows, uint64_t *random) {
    rows -= op == D1_SCAN ? D1_SCAN_ROWS - 1 : op == D1_SUM ? D1_SUM_ROWS - 1 : 0;
    return 1 + wire_random(random) % rows;
}

bool d1_rows_fit(enum d1_op op, uint64_t rows) {
    return rows >= (op == D1_SUM ? D1_SUM_ROWS : D1_BATCH_ROWS) && rows % D1_BATCH_ROWS == 0;
}

static const uint8_t *make_text(void) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t *text = bnd_alloc(TEXT_BYTES);
    if (text == NULL) {
        errno = ENOMEM;
        wire_die("values");
    }
    uint64_t state = 1;
    for (size_t at = 0; at < TEXT_BYTES; at++) {
        text[at] = (uint8_t)letters[wire_random(&state) >> 58];
    }
    return text;
}

struct bnd_slice d1_value(uint64_t id) {
    static const uint8_t *text;
    if (text == NULL) {
        text = make_text();
    }
    uint64_t x = (id ^ (id >> 33)) * UINT64_C(0xFF51AFD7ED558CCD);
    return bnd_slice(text + (x >> 20) % (TEXT_BYTES - D1_VALUE_BYTES), D1_VALUE_BYTES);
}
