/* An immutable ordered map from bytes to bytes: a treap whose versions share what they have in
 * common.
 *
 * A version is a pointer to its root (NULL: empty); taking one is a reference, changing one makes
 * another. So a snapshot, and "what has been persisted", cost nothing. Priorities are hashes of
 * keys, so that a map's shape depends on its contents alone. Nodes that only one version holds are
 * changed in place. Simulator's memory. */
#ifndef BND_TESTS_SIM_TREE_H
#define BND_TESTS_SIM_TREE_H

#include "base/bytes.h"

struct tree;

struct tree *tree_ref(struct tree *tree);
void tree_unref(struct tree *tree); /* NULL allowed */

/* These take the version they are given and return the new one. */
struct tree *tree_put(struct tree *tree, struct bnd_slice key, struct bnd_slice value);
struct tree *tree_remove(struct tree *tree, struct bnd_slice key);
struct tree *tree_remove_range(struct tree *tree, struct bnd_slice from, struct bnd_slice to);

/* Borrowed; data is NULL if the key is not there (an empty value is not NULL). */
struct bnd_slice tree_get(const struct tree *tree, struct bnd_slice key);

/* A place in one version: the path from its root. */
#define TREE_DEPTH_MAX 128
struct tree_cursor {
    const struct tree *path[TREE_DEPTH_MAX]; /* nodes whose own key is not passed yet, root first */
    size_t depth;                            /* 0: at the end */
};
void tree_seek(struct tree_cursor *cursor, const struct tree *tree, struct bnd_slice key);
void tree_next(struct tree_cursor *cursor);
struct bnd_slice tree_cursor_key(const struct tree_cursor *cursor);
struct bnd_slice tree_cursor_value(const struct tree_cursor *cursor);

#endif
