/* Small files of the data directory: written whole or not at all, and the lock that keeps a second
 * process out. */
#ifndef BND_NODE_FILES_H
#define BND_NODE_FILES_H

#include "base/env.h"

#define NODE_PATH_MAX 4096

/* dir + "/" + name into out. BND_TOOBIG, with the path in err. */
int node_path(const char *dir, const char *name, char out[NODE_PATH_MAX], struct bnd_error *err);

/* Replaces dir/name by data: a temporary file, synced, renamed, directory synced. After a crash the
 * file is the old or the new one. Readable by its owner only. Blocking. */
int node_file_write(struct bnd_env *env, const char *dir, const char *name, struct bnd_slice data,
                    struct bnd_error *err);

/* A file that is kept up to date by the loop of a node that serves, which no disk that hangs must
 * keep from anything. Zero at first. */
struct node_kept {
    struct node_keeping *keeping; /* the newest write under way, or NULL; private */
    uint64_t hash;                /* of what is in the file, or on its way there; 0: not known */
};

/* As node_file_write, but on the pool, and not at all for what the file holds already. dir and data
 * are copied. Writes are done in their order, and before the env is gone. What cannot be written is
 * logged, and the next call writes again. */
void node_kept_write(struct node_kept *kept, struct bnd_env *env, const char *dir, const char *name,
                     struct bnd_slice data);
/* *kept may go; what is on its way is still written. */
void node_kept_close(struct node_kept *kept);

/* Reads dir/name, at most 1 MiB, into *out (replaced). BND_NOTFOUND, BND_TOOBIG, BND_IO. Blocking.
 */
int node_file_read(struct bnd_env *env, const char *dir, const char *name, struct bnd_buf *out,
                   struct bnd_error *err);

/* Locks dir/LOCK for this process until node_unlock or its end. BND_LOCKED names the holder's pid.
 * *out_fd is owned. */
int node_lock(const char *dir, int *out_fd, struct bnd_error *err);
void node_unlock(int fd);

#endif
