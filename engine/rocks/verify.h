/* Verifying the files of the state block by block: of a stopped node for `bindery doctor --data`,
 * and one by one while it runs. RocksDB's C interface has no such call, so this one is behind a
 * shim in C++. */
#ifndef BND_ENGINE_ROCKS_VERIFY_H
#define BND_ENGINE_ROCKS_VERIFY_H

#include "base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bnd_rocks_damage {
    const char *file;    /* path */
    const char *family;  /* column family */
    const char *problem; /* RocksDB's text */
    uint32_t slot_first; /* slots whose keys lie in the file */
    uint32_t slot_last;
};

struct bnd_rocks_verification {
    const char *dir;                                                    /* DATA/state */
    void (*damaged)(void *data, const struct bnd_rocks_damage *damage); /* borrowed for the call */
    void *data;
    uint64_t files, damaged_files; /* out */
};

/* Reads every table file that is in use and verifies each block's checksum; calls damaged for each
 * file that does not verify, and goes on. Changes nothing, takes no lock. Blocking. 0: all were
 * looked at, damaged or not. BND_CORRUPT, BND_IO: the store cannot be opened at all. */
int bnd_rocks_verify(struct bnd_rocks_verification *verification, struct bnd_error *err);

/* One table file, of a running store too. Any thread; blocking. BND_CORRUPT with the problem;
 * BND_NOTFOUND: it is not there any more; BND_IO. */
int bnd_rocks_verify_file(const char *path, struct bnd_error *err);

/* The same of its footer, index and properties alone, which is what opening it reads. */
int bnd_rocks_open_file(const char *path, struct bnd_error *err);

#ifdef __cplusplus
}
#endif

#endif
