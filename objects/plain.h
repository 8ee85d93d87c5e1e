/* Names of a group under which no body lies: nothing, or an object that is whole in its manifest.
 *
 * A put without conditions has nothing to ask of what it replaces but its bodies, which must be
 * released. Under such a name there are none, and reading the old manifest, the dearest step of
 * applying a small put, is left out. Only names are remembered that a put of a whole object named
 * last; everything else that is written under a name makes it forgotten. What is not remembered is
 * read: forgetting, at any time, changes no outcome.
 *
 * Bounds: OBJECTS_PLAIN_PLACES names of at most OBJECTS_PLAIN_NAME_MAX bytes; a name has the choice
 * of two places, and where both are taken it drives one out. */
#ifndef BND_OBJECTS_PLAIN_H
#define BND_OBJECTS_PLAIN_H

#include "objects/keys.h"

#define OBJECTS_PLAIN_PLACES 1024u
#define OBJECTS_PLAIN_NAME_MAX 192u /* bucket and key; longer names are never remembered */

struct objects_plain {
    struct objects_plain_name **places; /* NULL before the first; by the name's hash */
};

/* Keys are those of objects ('o'); their slot does not count. */
bool objects_plain_knows(const struct objects_plain *plain, const struct objects_key *key);
/* Without memory nothing is remembered. */
void objects_plain_remember(struct objects_plain *plain, const struct objects_key *key);
void objects_plain_forget(struct objects_plain *plain, const struct objects_key *key);
/* Forgets all, and gives the memory back. */
void objects_plain_clear(struct objects_plain *plain);

#endif
