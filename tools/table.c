#include "tools/table.h"

#include "base/bytes.h"
#include "base/utf8.h"
#include "tools/command.h"

#include <string.h>

#define WIDTH_MAX 60u

/* ---- cells
 * ------------------------------------------------------------------------------------------------
 */

static void put_blob(struct bnd_buf *out, const json_t *bytes) {
    bnd_buf_append_str(out, "X'");
    for (size_t i = 0; i < json_array_size(bytes); i++) {
        bnd_buf_printf(out, "%02llX",
                       (unsigned long long)json_integer_value(json_array_get(bytes, i)) & 0xff);
    }
    bnd_buf_append_str(out, "'");
}

/* The value as it is: what a terminal may be shown comes later. */
static void put_value(struct bnd_buf *out, const json_t *value, const char *null) {
    if (json_is_string(value)) {
        bnd_buf_append(out, json_string_value(value), json_string_length(value));
    } else if (json_is_array(value)) {
        put_blob(out, value);
    } else if (value == NULL || json_is_null(value)) {
        bnd_buf_append_str(out, null);
    } else if (json_is_integer(value)) {
        bnd_buf_printf(out, "%lld", (long long)json_integer_value(value));
    } else {
        bnd_buf_printf(out, "%.15g", json_number_value(value));
    }
}

static void put_shown(struct bnd_buf *out, const json_t *value) {
    size_t from = out->len;
    put_value(out, value, "NULL");
    for (size_t i = from; i < out->len; i++) {
        if (out->data[i] < 0x20 || out->data[i] == 0x7f) {
            out->data[i] = '?';
        }
    }
}

/* Places on a terminal, if each character takes one. */
static size_t width_of(struct bnd_slice text) {
    size_t width = 0;
    for (size_t i = 0; i < text.len; width++) {
        size_t len = bnd_utf8_next(bnd_slice(text.data + i, text.len - i));
        i += len == 0 ? 1 : len;
    }
    return width;
}

/* ---- box, line
 * ------------------------------------------------------------------------------------------------
 */

static size_t cell_width(const json_t *value) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    put_shown(&text, value);
    return width_of(bnd_buf_slice(&text));
}

static size_t column_width(const json_t *columns, const json_t *rows, size_t column) {
    size_t width = cell_width(json_array_get(columns, column));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        size_t other = cell_width(json_array_get(json_array_get(rows, i), column));
        width = other > width ? other : width;
    }
    return width < WIDTH_MAX ? width : WIDTH_MAX;
}

static void print_cell(FILE *out, const json_t *value, size_t width, bool last) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    put_shown(&text, value);
    size_t own = width_of(bnd_buf_slice(&text));
    int pad = last || own > width ? 0 : (int)(width - own);
    (void)fprintf(out, "%.*s%*s%s", (int)text.len, (const char *)text.data, pad, "",
                  last ? "\n" : "  ");
}

static void print_box(FILE *out, const json_t *columns, const json_t *rows) {
    size_t count = json_array_size(columns);
    size_t widths[128];
    size_t known =
        count < sizeof widths / sizeof widths[0] ? count : sizeof widths / sizeof widths[0];
    for (size_t i = 0; i < known; i++) {
        widths[i] = column_width(columns, rows, i);
        print_cell(out, json_array_get(columns, i), widths[i], i + 1 == known);
    }
    for (size_t i = 0; i < known; i++) {
        for (size_t at = 0; at < widths[i]; at++) {
            (void)fputc('-', out);
        }
        (void)fputs(i + 1 == known ? "\n" : "  ", out);
    }
    for (size_t row = 0; row < json_array_size(rows); row++) {
        for (size_t i = 0; i < known; i++) {
            print_cell(out, json_array_get(json_array_get(rows, row), i), widths[i],
                       i + 1 == known);
        }
    }
}

static void print_line(FILE *out, const json_t *columns, const json_t *rows) {
    for (size_t row = 0; row < json_array_size(rows); row++) {
        for (size_t i = 0; i < json_array_size(columns); i++) {
            BND_AUTO_BUF struct bnd_buf text = {0};
            put_shown(&text, json_array_get(columns, i));
            bnd_buf_append_str(&text, " = ");
            put_shown(&text, json_array_get(json_array_get(rows, row), i));
            (void)fprintf(out, "%.*s\n", (int)text.len, (const char *)text.data);
        }
        (void)fputc('\n', out);
    }
}

/* ---- CSV, JSON
 * ------------------------------------------------------------------------------------------------
 */

static void print_csv_cell(FILE *out, const json_t *value) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    put_value(&text, value, "");
    struct bnd_slice cell = bnd_buf_slice(&text);
    bool quoted = false;
    for (size_t i = 0; i < cell.len; i++) {
        quoted |= strchr(",\"\r\n", cell.data[i]) != NULL && cell.data[i] != 0;
    }
    (void)fputs(quoted ? "\"" : "", out);
    for (size_t i = 0; i < cell.len; i++) {
        (void)fputs(cell.data[i] == '"' ? "\"" : "", out);
        (void)fputc(cell.data[i], out);
    }
    (void)fputs(quoted ? "\"" : "", out);
}

static void print_csv_row(FILE *out, const json_t *row) {
    for (size_t i = 0; i < json_array_size(row); i++) {
        (void)fputs(i == 0 ? "" : ",", out);
        print_csv_cell(out, json_array_get(row, i));
    }
    (void)fputs("\r\n", out);
}

static void print_csv(FILE *out, const json_t *columns, const json_t *rows) {
    print_csv_row(out, columns);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        print_csv_row(out, json_array_get(rows, i));
    }
}

static void print_json(FILE *out, const json_t *columns, const json_t *rows) {
    for (size_t row = 0; row < json_array_size(rows); row++) {
        json_t *object = json_object();
        for (size_t i = 0; i < json_array_size(columns); i++) {
            (void)json_object_set(object, json_string_value(json_array_get(columns, i)),
                                  json_array_get(json_array_get(rows, row), i)); /* as printf */
        }
        (void)fputs(row == 0 ? "[" : ",\n ", out);
        (void)json_dumpf(object, out, JSON_COMPACT); /* likewise */
        json_decref(object);
    }
    (void)fputs(json_array_size(rows) == 0 ? "[]\n" : "]\n", out);
}

bool tools_table_mode_read(const char *name, enum tools_table_mode *out) {
    static const char *const names[] = {"box", "line", "csv", "json", NULL};
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum tools_table_mode)i;
            return true;
        }
    }
    (void)tools_unknown("d1", "mode", name, names);
    return false;
}

void tools_table_print(FILE *out, enum tools_table_mode mode, const json_t *columns,
                       const json_t *rows) {
    switch (mode) {
    case TOOLS_TABLE_BOX:
        print_box(out, columns, rows);
        return;
    case TOOLS_TABLE_LINE:
        print_line(out, columns, rows);
        return;
    case TOOLS_TABLE_CSV:
        print_csv(out, columns, rows);
        return;
    case TOOLS_TABLE_JSON:
        print_json(out, columns, rows);
        return;
    }
}
