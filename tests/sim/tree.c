/* Invariants: keys in order from left to right; a parent's priority is not below its children's; a
 * node with refs > 1 is never changed. Depth is bounded in expectation only; TREE_DEPTH_MAX is
 * asserted. */
#include "tests/sim/tree.h"

#include "base/assert.h"
#include "base/hash.h"
#include "tests/sim/memory.h"

struct entry {
    unsigned refs;
    uint64_t priority;
    size_t key_len;
    size_t value_len;
    uint8_t bytes[];
};

struct tree {
    unsigned refs;
    struct entry *entry;
    struct tree *left;
    struct tree *right;
};

static struct bnd_slice key_of(const struct tree *tree) {
    return bnd_slice(tree->entry->bytes, tree->entry->key_len);
}

static struct entry *entry_make(struct bnd_slice key, struct bnd_slice value) {
    struct entry *entry = bnd_sim_zalloc(sizeof *entry + key.len + value.len + 1);
    entry->refs = 1;
    entry->priority = bnd_hash64(key, 0x7265);
    entry->key_len = key.len;
    entry->value_len = value.len;
    if (key.len > 0) {
        memcpy(entry->bytes, key.data, key.len);
    }
    if (value.len > 0) {
        memcpy(entry->bytes + key.len, value.data, value.len);
    }
    return entry;
}

static void entry_unref(struct entry *entry) {
    if (--entry->refs == 0) {
        bnd_sim_free(entry);
    }
}

struct tree *tree_ref(struct tree *tree) {
    if (tree != NULL) {
        tree->refs++;
    }
    return tree;
}

void tree_unref(struct tree *tree) {
    while (tree != NULL && --tree->refs == 0) {
        struct tree *right = tree->right;
        tree_unref(tree->left);
        entry_unref(tree->entry);
        bnd_sim_free(tree);
        tree = right;
    }
}

static struct tree *node_make(struct entry *entry, struct tree *left, struct tree *right) {
    struct tree *node = bnd_sim_zalloc(sizeof *node);
    *node = (struct tree){.refs = 1, .entry = entry, .left = left, .right = right};
    return node;
}

/* Takes a version's root and returns it as one that may be changed. */
static struct tree *own(struct tree *tree) {
    if (tree->refs == 1) {
        return tree;
    }
    tree->refs--;
    tree->entry->refs++;
    return node_make(tree->entry, tree_ref(tree->left), tree_ref(tree->right));
}

/* Splits (takes) tree into keys below `key` and the others. */
static void split(struct tree *tree, struct bnd_slice key, struct tree **out_below,
                  struct tree **out_rest) {
    if (tree == NULL) {
        *out_below = NULL;
        *out_rest = NULL;
        return;
    }
    tree = own(tree);
    if (bnd_slice_cmp(key_of(tree), key) < 0) {
        split(tree->right, key, &tree->right, out_rest);
        *out_below = tree;
    } else {
        split(tree->left, key, out_below, &tree->left);
        *out_rest = tree;
    }
}

/* Joins (takes) two trees, every key of the first below every key of the second. */
static struct tree *join(struct tree *below, struct tree *above) {
    if (below == NULL || above == NULL) {
        return below == NULL ? above : below;
    }
    if (below->entry->priority >= above->entry->priority) {
        below = own(below);
        below->right = join(below->right, above);
        return below;
    }
    above = own(above);
    above->left = join(below, above->left);
    return above;
}

static struct tree *put(struct tree *tree, struct entry *entry, struct bnd_slice key) {
    if (tree == NULL) {
        return node_make(entry, NULL, NULL);
    }
    int order = bnd_slice_cmp(key, key_of(tree));
    if (order == 0) {
        tree = own(tree);
        entry_unref(tree->entry);
        tree->entry = entry;
        return tree;
    }
    if (entry->priority >
        tree->entry->priority) { /* the key cannot be below: its priority is the same */
        struct tree *below = NULL;
        struct tree *rest = NULL;
        split(tree, key, &below, &rest);
        return node_make(entry, below, rest);
    }
    tree = own(tree);
    struct tree **side = order < 0 ? &tree->left : &tree->right;
    *side = put(*side, entry, key);
    return tree;
}

struct tree *tree_put(struct tree *tree, struct bnd_slice key, struct bnd_slice value) {
    return put(tree, entry_make(key, value), key);
}

struct tree *tree_remove(struct tree *tree, struct bnd_slice key) {
    if (tree_get(tree, key).data == NULL) {
        return tree;
    }
    tree = own(tree);
    int order = bnd_slice_cmp(key, key_of(tree));
    if (order == 0) {
        struct tree *rest = join(tree->left, tree->right);
        entry_unref(tree->entry);
        bnd_sim_free(tree);
        return rest;
    }
    struct tree **side = order < 0 ? &tree->left : &tree->right;
    *side = tree_remove(*side, key);
    return tree;
}

struct tree *tree_remove_range(struct tree *tree, struct bnd_slice from, struct bnd_slice to) {
    if (bnd_slice_cmp(from, to) >= 0) {
        return tree;
    }
    struct tree *below = NULL;
    struct tree *rest = NULL;
    struct tree *inside = NULL;
    struct tree *above = NULL;
    split(tree, from, &below, &rest);
    split(rest, to, &inside, &above);
    tree_unref(inside);
    return join(below, above);
}

struct bnd_slice tree_get(const struct tree *tree, struct bnd_slice key) {
    while (tree != NULL) {
        int order = bnd_slice_cmp(key, key_of(tree));
        if (order == 0) {
            return bnd_slice(tree->entry->bytes + tree->entry->key_len, tree->entry->value_len);
        }
        tree = order < 0 ? tree->left : tree->right;
    }
    return (struct bnd_slice){0};
}

static void push(struct tree_cursor *cursor, const struct tree *tree) {
    BND_ASSERT(cursor->depth < TREE_DEPTH_MAX);
    cursor->path[cursor->depth++] = tree;
}

void tree_seek(struct tree_cursor *cursor, const struct tree *tree, struct bnd_slice key) {
    cursor->depth = 0;
    while (tree != NULL) {
        if (bnd_slice_cmp(key_of(tree), key) >= 0) {
            push(cursor, tree);
            tree = tree->left;
        } else {
            tree = tree->right;
        }
    }
}

void tree_next(struct tree_cursor *cursor) {
    BND_ASSERT(cursor->depth > 0);
    const struct tree *tree = cursor->path[--cursor->depth]->right;
    while (tree != NULL) {
        push(cursor, tree);
        tree = tree->left;
    }
}

struct bnd_slice tree_cursor_key(const struct tree_cursor *cursor) {
    BND_ASSERT(cursor->depth > 0);
    return key_of(cursor->path[cursor->depth - 1]);
}

struct bnd_slice tree_cursor_value(const struct tree_cursor *cursor) {
    BND_ASSERT(cursor->depth > 0);
    const struct entry *entry = cursor->path[cursor->depth - 1]->entry;
    return bnd_slice(entry->bytes + entry->key_len, entry->value_len);
}
