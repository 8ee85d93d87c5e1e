/* Files of level 0 that cannot be opened.
 *
 * An iterator of RocksDB 7.8 opens every file of level 0, newest first. Where one does not open,
 * Version::AddIteratorsForLevel gives it the range tombstones of the file before it, and the end of
 * the iterator frees them twice. So nobody may make one. */
#include "engine/rocks/rocks_private.h"
#include "engine/rocks/verify.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The footer is looked for where the manifest says that the file ends. */
static int try_open(const char *path, uint64_t bytes, struct bnd_error *err) {
    struct stat about;
    if (stat(path, &about) == 0 && (uint64_t)about.st_size != bytes) {
        return BND_FAIL(err, CORRUPT, "Corruption: %s has %llu bytes in place of %llu", path,
                        (unsigned long long)about.st_size, (unsigned long long)bytes);
    }
    return bnd_rocks_open_file(path, err);
}

static int family_of(const char *const names[ROCKS_CFS], const char *name) {
    int family = 0;
    while (family < ROCKS_CFS && strcmp(names[family], name) != 0) {
        family++;
    }
    return family;
}

/* 0: it opens, or none of ours looks at it. */
static int look(struct rocks *rocks, const rocksdb_livefiles_t *files, int i, int family,
                struct bnd_error *err) {
    char path[PATH_MAX];
    if (rocksdb_livefiles_level(files, i) != 0 || family == ROCKS_CFS) {
        return 0;
    }
    int len =
        snprintf(path, sizeof path, "%s/rocks%s", rocks->dir, rocksdb_livefiles_name(files, i));
    if (len < 0 || (size_t)len >= sizeof path) {
        return BND_FAIL(err, TOOBIG, "state directory: the path is too long");
    }
    return try_open(path, rocksdb_livefiles_size(files, i), err);
}

int rocks_level0_check(struct rocks *rocks, const char *const names[ROCKS_CFS], bool stopped,
                       struct bnd_error *err) {
    const rocksdb_livefiles_t *files = rocksdb_livefiles(rocks->db);
    int count = files == NULL ? 0 : rocksdb_livefiles_count(files);
    int rv = 0;
    for (int i = 0; i < count; i++) {
        int family = family_of(names, rocksdb_livefiles_column_family_name(files, i));
        struct bnd_error why = {0};
        int opened = look(rocks, files, i, family, &why);
        if (opened != 0 && (stopped || opened != BND_NOTFOUND)) {
            rocks->barred[family] = true;
            rv = bnd_error_set(err, opened, "state: open: %s", why.message);
            bnd_log(rocks->env, BND_LOG_ERROR, "rocks", "open: %s", why.message);
        }
    }
    if (files != NULL) {
        rocksdb_livefiles_destroy(files);
    }
    return rv;
}
