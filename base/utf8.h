/* UTF-8 (RFC 3629), exactly: no overlong forms, no surrogates, nothing above U+10FFFF, nothing cut
 * off. Pure. */
#ifndef BND_BASE_UTF8_H
#define BND_BASE_UTF8_H

#include "base/bytes.h"

/* The length of the sequence at the beginning of text (1..4), 0 if there is none. */
size_t bnd_utf8_next(struct bnd_slice text);
/* True for the empty text, too, and for NUL. */
bool bnd_utf8_valid(struct bnd_slice text);

#endif
