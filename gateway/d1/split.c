#include "gateway/d1/split.h"

#include <string.h>
#include <strings.h>

enum state {
    PLAIN,
    WORD,
    DASH,         /* one '-': another makes a comment */
    LINE_COMMENT, /* to the end of the line */
    SLASH,        /* a '/': a '*' makes a comment */
    COMMENT,      /* to its end */
    COMMENT_STAR, /* a '*' in it */
    QUOTED,       /* to split->quote; twice is one of it, which comes to the same */
};

static bool in_word(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c >= 0x80;
}

static bool word_is(const struct d1_split *split, const char *word) {
    return split->word_len == strlen(word) && strncasecmp(split->word, word, split->word_len) == 0;
}

/* Anything but a semicolon, white space and comments. */
static void token(struct d1_split *split) {
    split->any = true;
    split->after_semicolon = split->ended = false;
}

/* CREATE [TEMP | TEMPORARY] TRIGGER: from there only "; END ;" ends the statement. EXPLAIN [QUERY
 * PLAN] may stand before it. */
static void end_word(struct d1_split *split) {
    bool after = split->after_semicolon;
    token(split);
    if (split->trigger) {
        split->ended = after && word_is(split, "end");
    } else if (word_is(split, "explain") || word_is(split, "query") || word_is(split, "plan")) {
        return; /* do not count */
    } else if (split->words == 0) {
        split->create = word_is(split, "create");
    } else if (split->create && split->words <= 2) {
        split->trigger = word_is(split, "trigger");
        split->create = word_is(split, "temp") || word_is(split, "temporary");
    }
    split->words = split->words < 3 ? (uint8_t)(split->words + 1) : 3;
}

/* True: the statement ends here. */
static bool semicolon(struct d1_split *split) {
    if (split->trigger && !split->ended) {
        split->after_semicolon = true;
        return false;
    }
    return true;
}

static bool plain(struct d1_split *split, uint8_t c) {
    split->state = PLAIN;
    if (in_word(c)) {
        split->state = WORD;
        split->word[0] = (char)c;
        split->word_len = 1;
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
        token(split);
        split->state = QUOTED;
        split->quote = c == '[' ? ']' : c;
    } else if (c == '-' || c == '/') {
        split->state = c == '-' ? DASH : SLASH;
    } else if (c == ';') {
        return semicolon(split);
    } else if (strchr(" \t\r\n\f", c) == NULL || c == 0) {
        token(split);
    }
    return false;
}

/* True: a statement ends with this byte. */
static bool step(struct d1_split *split, uint8_t c) {
    switch ((enum state)split->state) {
    case WORD:
        if (in_word(c)) {
            if (split->word_len < sizeof split->word) {
                split->word[split->word_len++] = (char)c;
            }
            return false;
        }
        end_word(split);
        return plain(split, c);
    case DASH:
    case SLASH:
        if (c == (split->state == DASH ? '-' : '*')) {
            split->state = split->state == DASH ? LINE_COMMENT : COMMENT;
            return false;
        }
        token(split);
        return plain(split, c);
    case LINE_COMMENT:
        split->state = c == '\n' ? PLAIN : LINE_COMMENT;
        return false;
    case COMMENT:
    case COMMENT_STAR:
        split->state = c == '*'                                   ? COMMENT_STAR
                       : c == '/' && split->state == COMMENT_STAR ? PLAIN
                                                                  : COMMENT;
        return false;
    case QUOTED:
        split->state = c == split->quote ? PLAIN : QUOTED;
        return false;
    default:
        return plain(split, c);
    }
}

size_t d1_split_next(struct d1_split *split, struct bnd_slice bytes, bool *out_ended) {
    *out_ended = false;
    for (size_t i = 0; i < bytes.len; i++) {
        if (!step(split, bytes.data[i])) {
            continue;
        }
        bool any = split->any;
        *split = (struct d1_split){0};
        if (any) {
            *out_ended = true;
            return i + 1;
        }
    }
    return bytes.len;
}

bool d1_split_between(const struct d1_split *split) {
    return !split->any && split->state == PLAIN;
}

/* It may still be a word or a lone dash. */
bool d1_split_open(const struct d1_split *split) {
    return split->any || split->state == WORD || split->state == DASH || split->state == SLASH;
}

uint64_t d1_split_count(struct bnd_slice text) {
    struct d1_split split = {0};
    uint64_t count = 0;
    bool ended = false;
    for (size_t at = 0; at < text.len;) {
        at += d1_split_next(&split, bnd_slice(text.data + at, text.len - at), &ended);
        count += ended;
    }
    return count + d1_split_open(&split);
}
