/* The decoders of a body's file, shared by reading (file.c) and inspecting (inspect.c). */
#ifndef BND_OBJECTS_BODIES_FILE_PRIVATE_H
#define BND_OBJECTS_BODIES_FILE_PRIVATE_H

#include "objects/bodies/file.h"

struct body_reading {
    struct bnd_env *env;
    struct bnd_file *file;
    const char *path;
};

struct body_footer {
    uint64_t size; /* of the data */
    uint64_t deadline_ms;
    uint64_t blocks;
    uint64_t chain;
    uint8_t version[BND_OBJECT_ID_BYTES];
};

/* BND_CORRUPT if the file ends before that. */
int body_read_exactly(const struct body_reading *reading, uint8_t *out, size_t len, uint64_t offset,
                      struct bnd_error *err);
/* Fills id and created_ms of *info. id: whose it must be; NULL: any. BND_CORRUPT, BND_VERSION. */
int body_parse_header(const struct body_reading *reading, const uint8_t *bytes,
                      const struct body_id *id, struct body_info *info, struct bnd_error *err);
/* BND_CORRUPT. */
int body_parse_footer(const struct body_reading *reading, const uint8_t *bytes,
                      struct body_footer *out, struct bnd_error *err);

void body_block_hash(const uint8_t *version, uint64_t block, struct bnd_slice data,
                     uint8_t out[BODY_HASH_BYTES]);
uint64_t body_chain_next(uint64_t chain, const uint8_t hash[BODY_HASH_BYTES]);

#endif
