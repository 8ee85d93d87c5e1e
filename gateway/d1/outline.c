#include "gateway/d1/outline.h"

#include "base/alloc.h"
#include "base/error.h"
#include "sql/request.h"

#include <string.h>
#include <strings.h>

/* ---- tokens
 * ------------------------------------------------------------------------------------------------
 */

struct token {
    struct bnd_slice text; /* a name without its quotes */
    bool word;             /* or a quoted name; else one character, or a string in '' */
    char quote;            /* 0: none */
};

static bool in_word(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c >= 0x80;
}

static struct bnd_slice behind(struct bnd_slice text, size_t len) {
    return bnd_slice(text.data + len, text.len - len);
}

/* Past blanks and comments. */
static struct bnd_slice skip_blank(struct bnd_slice text) {
    for (;;) {
        if (text.len > 0 && memchr(" \t\r\n\f", text.data[0], 5) != NULL) {
            text = behind(text, 1);
        } else if (text.len > 1 && memcmp(text.data, "--", 2) == 0) {
            const uint8_t *end = memchr(text.data, '\n', text.len);
            text = behind(text, end == NULL ? text.len : (size_t)(end - text.data));
        } else if (text.len > 1 && memcmp(text.data, "/*", 2) == 0) {
            const uint8_t *end = memmem(text.data + 2, text.len - 2, "*/", 2);
            text = behind(text, end == NULL ? text.len : (size_t)(end + 2 - text.data));
        } else {
            return text;
        }
    }
}

static struct token quoted(struct bnd_slice *text, char quote) {
    size_t len = 1;
    for (; len < text->len; len++) {
        if (text->data[len] == (uint8_t)quote) {
            bool twice = quote != ']' && len + 1 < text->len && text->data[len + 1] == quote;
            if (!twice) {
                break;
            }
            len++;
        }
    }
    struct token token = {
        .text = bnd_slice(text->data + 1, len - 1), .word = quote != '\'', .quote = quote};
    *text = behind(*text, len < text->len ? len + 1 : text->len);
    return token;
}

/* Takes the next one from *text; of length 0 at the end. */
static struct token next(struct bnd_slice *text) {
    *text = skip_blank(*text);
    if (text->len == 0) {
        return (struct token){.text = *text};
    }
    char c = (char)text->data[0];
    if (c == '\'' || c == '"' || c == '`' || c == '[') {
        return quoted(text, c == '[' ? ']' : c);
    }
    size_t len = 0;
    while (len < text->len && in_word(text->data[len])) {
        len++;
    }
    struct token token = {.text = bnd_slice(text->data, len == 0 ? 1 : len), .word = len > 0};
    *text = behind(*text, token.text.len);
    return token;
}

static bool is(const struct token *token, const char *word) {
    return token->word && token->quote == 0 && token->text.len == strlen(word) &&
           strncasecmp((const char *)token->text.data, word, token->text.len) == 0;
}

/* ---- statements
 * ------------------------------------------------------------------------------------------------
 */

enum kind { OTHER, TABLE, INDEX, TRIGGER, INSERT, MEDDLES, ALTERS };

struct what {
    enum kind kind;
    bool unique;
    bool links;                      /* of TABLE: it has foreign keys */
    char table[D1_OUTLINE_NAME_MAX]; /* of TABLE and INDEX; "": not told */
    char name[D1_OUTLINE_NAME_MAX];  /* of INDEX */
    size_t plain_len; /* of INDEX: its text up to the bracket, if it is plain; else 0 */
};

/* [schema.]name: the last part, its doubled quotes single. Returns the token behind it. */
static struct token read_name(struct bnd_slice *text, struct token token,
                              char out[D1_OUTLINE_NAME_MAX]) {
    struct token name = token;
    token = next(text);
    if (token.text.len == 1 && token.text.data[0] == '.') {
        name = next(text);
        token = next(text);
    }
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < name.text.len; i++) {
        if (len + 1 == D1_OUTLINE_NAME_MAX || name.text.data[i] == 0) {
            out[0] = 0;
            return token; /* too long a name: it is not told */
        }
        out[len++] = (char)name.text.data[i];
        if (name.quote != 0 && name.text.data[i] == (uint8_t)name.quote) {
            i++; /* twice is one of it */
        }
    }
    out[len] = 0;
    return token;
}

static struct token skip_if_not_exists(struct bnd_slice *text, struct token token) {
    if (is(&token, "if")) {
        (void)next(text); /* NOT */
        (void)next(text); /* EXISTS */
        return next(text);
    }
    return token;
}

static bool is_char(const struct token *token, char c) {
    return !token->word && token->quote == 0 && token->text.len == 1 && token->text.data[0] == c;
}

/* "(column [COLLATE name] [ASC|DESC], ...)", and then nothing. The length of all before the end;
 * 0: it is something else. */
static size_t read_columns(struct bnd_slice text, struct token token) {
    size_t len = text.len;
    bool sound = is_char(&token, '(');
    while (sound && !is_char(&token, ')')) {
        struct token column = next(&text);
        token = next(&text);
        if (is(&token, "collate")) {
            (void)next(&text);
            token = next(&text);
        }
        if (is(&token, "asc") || is(&token, "desc")) {
            token = next(&text);
        }
        sound = column.word && (is_char(&token, ',') || is_char(&token, ')'));
    }
    len -= text.len;
    while (text.len > 0 && memchr(" \t\r\n\f;", text.data[0], 6) != NULL) {
        text = behind(text, 1);
    }
    return sound && text.len == 0 ? len : 0;
}

static bool has_links(struct bnd_slice text) {
    bool links = false;
    while (!links && text.len > 0) {
        struct token token = next(&text);
        links = is(&token, "references");
    }
    return links;
}

static void read_create(struct bnd_slice text, struct what *out) {
    const uint8_t *begin = text.data;
    struct token token = next(&text);
    out->unique = is(&token, "unique");
    if (out->unique) {
        token = next(&text);
    }
    if (is(&token, "trigger")) {
        out->kind = TRIGGER;
    } else if (is(&token, "table")) {
        out->kind = TABLE;
        token = skip_if_not_exists(&text, next(&text));
        (void)read_name(&text, token, out->table);
        out->links = has_links(text);
    } else if (is(&token, "index")) {
        out->kind = INDEX;
        token = skip_if_not_exists(&text, next(&text));
        token = read_name(&text, token, out->name);
        if (is(&token, "on")) {
            token = read_name(&text, next(&text), out->table);
            size_t before = (size_t)(text.data - begin);
            size_t len = read_columns(text, token);
            out->plain_len = len > 0 && out->name[0] != 0 ? before + len : 0;
        }
    }
}

/* ON CONFLICT would go by an index that is there too soon. */
static bool is_plain(struct bnd_slice text) {
    struct token token = next(&text);
    bool plain = is(&token, "into");
    while (plain && token.text.data != NULL && text.len > 0) {
        token = next(&text);
        plain = !is(&token, "conflict") && !is(&token, "select");
    }
    return plain;
}

static bool is_sequence(struct bnd_slice text) {
    struct token from = next(&text);
    struct token name = next(&text);
    struct token end = next(&text);
    return is(&from, "from") && name.word && name.text.len == 15 &&
           strncasecmp((const char *)name.text.data, "sqlite_sequence", 15) == 0 &&
           (end.text.len == 0 || end.text.data[0] == ';');
}

static struct what look(struct bnd_slice text) {
    struct what what = {.kind = OTHER};
    const uint8_t *begin = text.data;
    struct token first = next(&text);
    if (is(&first, "create")) {
        read_create(text, &what);
        what.plain_len += what.plain_len > 0 ? (size_t)(text.data - begin) : 0;
    } else if (is(&first, "insert")) {
        what.kind = is_plain(text) ? INSERT : MEDDLES;
    } else if (is(&first, "drop") || is(&first, "alter")) {
        what.kind = ALTERS;
    } else if (is(&first, "delete")) {
        what.kind = is_sequence(text) ? OTHER : MEDDLES;
    } else if (!is(&first, "pragma")) {
        what.kind = MEDDLES;
    }
    return what;
}

/* ---- before
 * ------------------------------------------------------------------------------------------------
 */

static int add_index(struct d1_outline *outline, struct bnd_slice statement,
                     const struct what *what) {
    struct d1_outline_index *index = NULL;
    if (outline->count == D1_OUTLINE_INDEXES_MAX) {
        return 0;
    }
    if (!BND_ROOM(outline->indexes, outline->count, outline->cap, 16)) {
        return BND_NOMEM;
    }
    index = &outline->indexes[outline->count++];
    *index = (struct d1_outline_index){
        .unique = what->unique, .plain = what->plain_len > 0, .at = outline->texts.len};
    memcpy(index->table, what->table, sizeof index->table);
    index->made = what->table[0] == 0 || outline->texts.len + statement.len > D1_OUTLINE_BYTES_MAX;
    if (!index->made) {
        index->len = statement.len;
        bnd_buf_append_slice(&outline->texts, statement);
    }
    return outline->texts.failed ? BND_NOMEM : 0;
}

int d1_outline_add(struct d1_outline *outline, struct bnd_slice statement) {
    struct what what = look(statement);
    switch (what.kind) {
    case INDEX:
        return add_index(outline, statement, &what);
    case TRIGGER:
        outline->trigger = true;
        break;
    case INSERT:
        outline->meddles = outline->meddles || outline->trigger;
        outline->early = outline->count;
        outline->rows = true;
        break;
    case MEDDLES:
        outline->meddles = outline->rows = true;
        break;
    case ALTERS:
        outline->alters = true;
        break;
    case TABLE:
        outline->links = outline->links || what.links;
        break;
    case OTHER:
        break;
    }
    return 0;
}

static bool is_filled(const struct d1_outline *outline, const struct d1_outline_index *index) {
    bool early = (size_t)(index - outline->indexes) < outline->early;
    bool looked_up = early || (outline->links && !outline->unlinked);
    return outline->fills && index->plain && index->len > 0 && !outline->alters &&
           !outline->meddles && !(index->unique && looked_up);
}

static bool moves(const struct d1_outline *outline, const struct d1_outline_index *index) {
    bool filled = is_filled(outline, index);
    return !filled && !index->made && !outline->alters && !(index->unique && outline->meddles);
}

size_t d1_outline_moved(const struct d1_outline *outline) {
    size_t count = 0;
    for (size_t i = 0; i < outline->count; i++) {
        count += moves(outline, &outline->indexes[i]);
    }
    return count;
}

/* ---- then
 * ------------------------------------------------------------------------------------------------
 */

bool d1_outline_place(struct d1_outline *outline, struct bnd_slice statement, struct bnd_buf *out) {
    struct what what = look(statement);
    if (what.kind == INDEX && outline->passed < outline->count) {
        struct d1_outline_index *index = &outline->indexes[outline->passed++];
        bool before = index->made && index->len > 0;
        index->made = true;
        index->empty = !before && is_filled(outline, index);
        if (index->empty) {
            bnd_buf_append(out, statement.data, what.plain_len);
            bnd_buf_append_str(out, BND_SQL_FILL_SUFFIX ";\n");
        }
        return before || index->empty;
    }
    if (what.kind != TABLE || what.table[0] == 0) {
        return false;
    }
    for (size_t i = outline->passed; i < outline->count; i++) {
        struct d1_outline_index *index = &outline->indexes[i];
        if (moves(outline, index) && strcasecmp(index->table, what.table) == 0) {
            bnd_buf_append(out, outline->texts.data + index->at, index->len);
            bnd_buf_append_str(out, "\n;\n"); /* it may have ended with the file, or in a comment */
            index->made = true;
        }
    }
    return false;
}

bool d1_outline_empty(const struct d1_outline *outline, size_t *at, char out[D1_OUTLINE_NAME_MAX]) {
    while (*at < outline->count) {
        const struct d1_outline_index *index = &outline->indexes[(*at)++];
        if (index->empty) {
            struct what what = look(bnd_slice(outline->texts.data + index->at, index->len));
            memcpy(out, what.name, sizeof what.name);
            return true;
        }
    }
    return false;
}

void d1_outline_free(struct d1_outline *outline) {
    bnd_free(outline->indexes);
    bnd_buf_free(&outline->texts);
    *outline = (struct d1_outline){0};
}
