/* See keys.h. */
#include "objects/keys.h"

#include "base/assert.h"
#include "base/error.h"

static void start(struct objects_key *out, uint32_t slot, enum objects_tag tag) {
    bnd_put_be32(out->bytes, slot);
    out->bytes[4] = (uint8_t)tag;
    out->len = 5;
}

static void add(struct objects_key *out, const void *data, size_t len) {
    BND_ASSERT(len <= sizeof out->bytes - out->len);
    if (len > 0) {
        memcpy(out->bytes + out->len, data, len);
        out->len += len;
    }
}

static void add_be64(struct objects_key *out, uint64_t v) {
    uint8_t bytes[8];
    bnd_put_be64(bytes, v);
    add(out, bytes, sizeof bytes);
}

void objects_key_object(struct objects_key *out, uint32_t slot, uint64_t bucket,
                        struct bnd_slice key) {
    start(out, slot, OBJECTS_TAG_OBJECT);
    add_be64(out, bucket);
    add(out, key.data, key.len);
}

void objects_key_version(struct objects_key *out, uint32_t slot, enum objects_tag tag,
                         struct bnd_slice version) {
    BND_ASSERT(version.len <= BND_OBJECT_ID_BYTES);
    start(out, slot, tag);
    add(out, version.data, version.len);
}

void objects_key_upload(struct objects_key *out, uint32_t slot, uint64_t bucket,
                        struct bnd_slice key, const uint8_t *upload_id) {
    start(out, slot, OBJECTS_TAG_UPLOAD);
    add_be64(out, bucket);
    for (size_t i = 0; i < key.len; i++) {
        add(out, key.data + i, 1);
        if (key.data[i] == 0) {
            add(out, "\xff", 1);
        }
    }
    if (upload_id != NULL) {
        add(out, "\0\0", 2);
        add(out, upload_id, BND_OBJECT_ID_BYTES);
    }
}

void objects_key_part(struct objects_key *out, uint32_t slot, const uint8_t *upload_id,
                      uint32_t number) {
    uint8_t bytes[4];
    bnd_put_be32(bytes, number);
    start(out, slot, OBJECTS_TAG_PART);
    add(out, upload_id, BND_OBJECT_ID_BYTES);
    add(out, bytes, sizeof bytes);
}

void objects_key_free(struct objects_key *out, uint32_t slot, uint64_t time_ms,
                      const uint8_t *version) {
    start(out, slot, OBJECTS_TAG_FREE);
    add_be64(out, time_ms);
    if (version != NULL) {
        add(out, version, BND_OBJECT_ID_BYTES);
    }
}

void objects_key_seal(struct objects_key *out, uint32_t slot, uint64_t bucket) {
    start(out, slot, OBJECTS_TAG_SEAL);
    add_be64(out, bucket);
}

bool objects_key_past(struct objects_key *key) {
    while (key->len > 0 && key->bytes[key->len - 1] == 0xff) {
        key->len--;
    }
    if (key->len == 0) {
        return false;
    }
    key->bytes[key->len - 1]++;
    return true;
}

int objects_key_upload_parse(struct bnd_slice rest, uint8_t *out_key, size_t *out_len,
                             const uint8_t **out_upload_id) {
    size_t len = 0;
    for (size_t i = 0; i < rest.len && len < BND_OBJECT_KEY_MAX + 1; i++) {
        uint8_t byte = rest.data[i];
        if (byte == 0) {
            if (++i == rest.len) {
                return BND_CORRUPT;
            }
            if (rest.data[i] == 0) {
                if (rest.len - i - 1 != BND_OBJECT_ID_BYTES || len == 0) {
                    return BND_CORRUPT;
                }
                *out_len = len;
                *out_upload_id = rest.data + i + 1;
                return 0;
            }
            if (rest.data[i] != 0xff) {
                return BND_CORRUPT;
            }
        }
        if (len < BND_OBJECT_KEY_MAX) {
            out_key[len] = byte;
        }
        len++;
    }
    return BND_CORRUPT;
}
