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

/* The same on the pool, for the loop of a node that serves: a disk that hangs must not keep it from
 * anything. Writes of one name are done in their order. dir and data are copied. What cannot be
 * written, or not any more because the process ends, is logged with what is not kept. */
void node_file_write_later(struct bnd_env *env, const char *dir, const char *name,
                           struct bnd_slice data);

/* Reads dir/name, at most 1 MiB, into *out (replaced). BND_NOTFOUND, BND_TOOBIG, BND_IO. Blocking.
 */
int node_file_read(struct bnd_env *env, const char *dir, const char *name, struct bnd_buf *out,
                   struct bnd_error *err);

/* Locks dir/LOCK for this process until node_unlock or its end. BND_LOCKED names the holder's pid.
 * *out_fd is owned. */
int node_lock(const char *dir, int *out_fd, struct bnd_error *err);
void node_unlock(int fd);

#endif
