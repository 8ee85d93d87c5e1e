/* Project files. */
#include "tools/jsonc.h"

#include "tools/toml_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

/* ---- comments
 * ------------------------------------------------------------------------------------------ */

struct scan {
    uint8_t *text;
    size_t len;
    size_t at;
    size_t comma; /* after a value, with nothing but blanks and comments after it; or len: none */
    uint8_t last; /* byte that was neither blank nor comment */
};

static unsigned line_of(const struct scan *scan, size_t at) {
    unsigned line = 1;
    for (size_t i = 0; i < at; i++) {
        line += scan->text[i] == '\n';
    }
    return line;
}

static int skip_string(struct scan *scan, struct bnd_error *err) {
    size_t start = scan->at++;
    for (; scan->at < scan->len && scan->text[scan->at] != '\n'; scan->at++) {
        if (scan->text[scan->at] == '"') {
            scan->at++;
            return 0;
        }
        scan->at += scan->text[scan->at] == '\\';
    }
    return BND_FAIL(err, INVALID, "line %u: a string without end", line_of(scan, start));
}

static int blank_comment(struct scan *scan, struct bnd_error *err) {
    size_t start = scan->at;
    uint8_t kind = start + 1 < scan->len ? scan->text[start + 1] : 0;
    if (kind != '/' && kind != '*') {
        return BND_FAIL(err, INVALID, "line %u: a lone slash", line_of(scan, start));
    }
    for (scan->at += 2; scan->at < scan->len; scan->at++) {
        bool ends = kind == '/' ? scan->text[scan->at] == '\n'
                                : scan->text[scan->at] == '/' && scan->at > start + 2 &&
                                      scan->text[scan->at - 1] == '*';
        if (ends) {
            break;
        }
    }
    if (scan->at == scan->len && kind == '*') {
        return BND_FAIL(err, INVALID, "line %u: a comment without end", line_of(scan, start));
    }
    scan->at += kind == '*';
    for (size_t i = start; i < scan->at; i++) {
        scan->text[i] = scan->text[i] == '\n' ? '\n' : ' ';
    }
    return 0;
}

int tools_jsonc_strip(uint8_t *text, size_t len, struct bnd_error *err) {
    struct scan scan = {.text = text, .len = len, .comma = len, .last = '['};
    while (scan.at < len) {
        uint8_t byte = text[scan.at];
        int rv = 0;
        if (byte == '/') {
            rv = blank_comment(&scan, err);
        } else if (strchr(" \t\r\n", byte) != NULL && byte != 0) {
            scan.at++;
        } else {
            if ((byte == ']' || byte == '}') && scan.comma < len) {
                text[scan.comma] = ' ';
            }
            scan.comma = byte == ',' && strchr("[{,:", scan.last) == NULL ? scan.at : len;
            scan.last = byte;
            rv = byte == '"' ? skip_string(&scan, err) : 0;
            scan.at += byte != '"';
        }
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

/* ---- files
 * --------------------------------------------------------------------------------------------- */

static int read_file(const char *path, struct bnd_buf *out, struct bnd_error *err) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return bnd_error_set(err, bnd_code_from_errno(errno), "%s: %s", path, strerror(errno));
    }
    int rv = bnd_buf_reserve(out, FILE_MAX + 1) ? 0 : BND_FAIL(err, NOMEM, "no memory");
    if (rv == 0) {
        out->len = fread(out->data, 1, FILE_MAX + 1, file);
    }
    if (rv == 0 && ferror(file)) {
        rv = BND_FAIL(err, IO, "%s: %s", path, strerror(errno));
    } else if (out->len > FILE_MAX) {
        rv = BND_FAIL(err, TOOBIG, "%s: larger than 1 MiB", path);
    }
    (void)fclose(file); /* read only */
    return rv;
}

static bool ends_with(const char *text, const char *end) {
    size_t len = strlen(text);
    return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

static int parse(const char *path, const char *text, size_t len, json_t **out,
                 struct bnd_error *err) {
    json_error_t error;
    json_t *document = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL) {
        return BND_FAIL(err, INVALID, "%s: line %d: %s", path, error.line, error.text);
    }
    if (!json_is_object(document)) {
        json_decref(document);
        return BND_FAIL(err, INVALID, "%s: not an object", path);
    }
    *out = document;
    return 0;
}

int tools_project_read(const char *path, json_t **out, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    bool toml = ends_with(path, ".toml");
    if (!toml && !ends_with(path, ".json") && !ends_with(path, ".jsonc")) {
        return BND_FAIL(err, INVALID, "%s: its name ends in none of .jsonc, .json, .toml", path);
    }
    int rv = read_file(path, &text, err);
    if (rv != 0) {
        return rv;
    }
    if (toml) {
        char message[BND_ERROR_MESSAGE_MAX];
        char *json = tools_toml_to_json((const char *)text.data, text.len, message, sizeof message);
        if (json == NULL) {
            return BND_FAIL(err, INVALID, "%s: %s", path, message);
        }
        rv = parse(path, json, strlen(json), out, err);
        free(json);
        return rv;
    }
    rv = tools_jsonc_strip(text.data, text.len, err);
    return rv != 0 ? BND_WRAP(err, rv, "%s", path)
                   : parse(path, (const char *)text.data, text.len, out, err);
}
