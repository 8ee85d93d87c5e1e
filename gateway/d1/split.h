/* Where statements end in SQL text, as it comes: comments, strings, quoted names, and the bodies of
 * triggers are looked through (https://www.sqlite.org/c3ref/complete.html). For gateway/ and the
 * shell of tools/. Pure. */
#ifndef BND_GATEWAY_D1_SPLIT_H
#define BND_GATEWAY_D1_SPLIT_H

#include "base/bytes.h"

struct d1_split {
    bool any; /* the statement in hand has more than white space and comments */
    /* private */
    uint8_t state, quote;
    uint8_t words;    /* of the statement: its first ones say whether it is a trigger */
    uint8_t word_len; /* of the word in hand, cut */
    char word[10];
    bool create, trigger;
    bool after_semicolon, ended; /* within a trigger: what the last tokens were */
};

/* Looks at bytes up to the end of a statement, semicolon included, or to their own; returns how
 * many. *out_ended: a statement that has something in it ended. Zero the struct at first; carry it
 * on. */
size_t d1_split_next(struct d1_split *split, struct bnd_slice bytes, bool *out_ended);

/* Nothing of a statement or a comment has begun. */
bool d1_split_between(const struct d1_split *split);

/* A statement has begun: what ends here ends without a semicolon. */
bool d1_split_open(const struct d1_split *split);

/* Statements of a whole text; one without a semicolon at the end counts. */
uint64_t d1_split_count(struct bnd_slice text);

#endif
