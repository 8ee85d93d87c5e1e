/* Keys of BND_CF_OBJECTS: slot (BE32), a tag byte, the rest as below (SPEC.md, "Objects").
 *
 *   'o' bucket (BE64) key                           manifest
 *   't' version                                     segments of an object made of parts
 *   'u' bucket (BE64) escaped key 00 00 upload id   upload in parts, begun
 *   'm' upload id, part (BE32)                      a part of it
 *   'b' version                                     body in the body store
 *   'f' time ms (BE64) version                      body to be freed at that time (empty)
 *   's' bucket (BE64)                               seal
 *
 * An escaped key has 00 FF for each 00, so that the order of escaped keys is that of keys. */
#ifndef BND_OBJECTS_KEYS_H
#define BND_OBJECTS_KEYS_H

#include "objects/objects.h"

enum objects_tag {
    OBJECTS_TAG_OBJECT = 'o',
    OBJECTS_TAG_TABLE = 't',
    OBJECTS_TAG_UPLOAD = 'u',
    OBJECTS_TAG_PART = 'm',
    OBJECTS_TAG_BODY = 'b',
    OBJECTS_TAG_FREE = 'f',
    OBJECTS_TAG_SEAL = 's',
};

#define OBJECTS_STATE_KEY_MAX (5 + 8 + 2 * BND_OBJECT_KEY_MAX + 2 + BND_OBJECT_ID_BYTES)

struct objects_key {
    uint8_t bytes[OBJECTS_STATE_KEY_MAX];
    size_t len;
};

static inline struct bnd_slice objects_key_slice(const struct objects_key *key) {
    return bnd_slice(key->bytes, key->len);
}

/* key may be empty, or a prefix: then the first place where such keys may be. */
void objects_key_object(struct objects_key *out, uint32_t slot, uint64_t bucket,
                        struct bnd_slice key);
/* Of 't' and 'b', also with fewer bytes of the version (as the start of a range). */
void objects_key_version(struct objects_key *out, uint32_t slot, enum objects_tag tag,
                         struct bnd_slice version);
/* upload_id NULL: the first place where uploads of this key may be (escaped, without its end). */
void objects_key_upload(struct objects_key *out, uint32_t slot, uint64_t bucket,
                        struct bnd_slice key, const uint8_t *upload_id);
void objects_key_part(struct objects_key *out, uint32_t slot, const uint8_t *upload_id,
                      uint32_t number);
void objects_key_free(struct objects_key *out, uint32_t slot, uint64_t time_ms,
                      const uint8_t *version);
void objects_key_seal(struct objects_key *out, uint32_t slot, uint64_t bucket);

/* Makes *key the first key above every key that begins with it: false if there is none. */
bool objects_key_past(struct objects_key *key);

/* Splits the state key of an upload, behind slot, tag and bucket, into key and upload id. key: room
 * of BND_OBJECT_KEY_MAX. BND_CORRUPT. */
int objects_key_upload_parse(struct bnd_slice rest, uint8_t *out_key, size_t *out_len,
                             const uint8_t **out_upload_id);

#endif
