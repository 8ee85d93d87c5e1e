/* See plain.h. A name that is forgotten leaves its memory to itself or the next. */
#include "objects/plain.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

#define PREFIX_BYTES 5u /* slot and tag */

struct objects_plain_name {
    uint16_t len; /* 0: forgotten */
    uint16_t room;
    uint8_t bytes[];
};

static struct bnd_slice name_of(const struct objects_key *key) {
    BND_ASSERT(key->len > PREFIX_BYTES && key->bytes[PREFIX_BYTES - 1] == OBJECTS_TAG_OBJECT);
    return bnd_slice(key->bytes + PREFIX_BYTES, key->len - PREFIX_BYTES);
}

static bool holds(const struct objects_plain_name *place, struct bnd_slice name) {
    return place != NULL && place->len == name.len &&
           memcmp(place->bytes, name.data, name.len) == 0;
}

/* Where the name is, or where it would go. */
static struct objects_plain_name **place_of(const struct objects_plain *plain,
                                            struct bnd_slice name) {
    uint64_t hash = bnd_hash64(name, 0);
    struct objects_plain_name **first = &plain->places[hash % OBJECTS_PLAIN_PLACES];
    struct objects_plain_name **second = &plain->places[(hash >> 32) % OBJECTS_PLAIN_PLACES];
    bool first_free = *first == NULL || (*first)->len == 0;
    if (holds(*first, name) || (first_free && !holds(*second, name))) {
        return first;
    }
    bool second_free = *second == NULL || (*second)->len == 0;
    return second_free || holds(*second, name) || (hash >> 63) != 0 ? second : first;
}

bool objects_plain_knows(const struct objects_plain *plain, const struct objects_key *key) {
    struct bnd_slice name = name_of(key);
    return plain->places != NULL && holds(*place_of(plain, name), name);
}

void objects_plain_remember(struct objects_plain *plain, const struct objects_key *key) {
    struct bnd_slice name = name_of(key);
    if (name.len > OBJECTS_PLAIN_NAME_MAX) {
        return;
    }
    if (plain->places == NULL) {
        plain->places = bnd_calloc(OBJECTS_PLAIN_PLACES, sizeof(struct objects_plain_name *));
        if (plain->places == NULL) {
            return;
        }
    }
    struct objects_plain_name **place = place_of(plain, name);
    if (*place == NULL || (*place)->room < name.len) {
        struct objects_plain_name *fresh = bnd_alloc(sizeof *fresh + name.len);
        if (fresh == NULL) {
            return; /* who is in its place stays */
        }
        fresh->room = (uint16_t)name.len;
        bnd_free(*place);
        *place = fresh;
    }
    (*place)->len = (uint16_t)name.len;
    memcpy((*place)->bytes, name.data, name.len);
}

void objects_plain_forget(struct objects_plain *plain, const struct objects_key *key) {
    struct bnd_slice name = name_of(key);
    if (objects_plain_knows(plain, key)) {
        (*place_of(plain, name))->len = 0;
    }
}

void objects_plain_clear(struct objects_plain *plain) {
    for (size_t i = 0; plain->places != NULL && i < OBJECTS_PLAIN_PLACES; i++) {
        bnd_free(plain->places[i]);
    }
    bnd_free(plain->places);
    plain->places = NULL;
}
