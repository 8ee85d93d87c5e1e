/* Directories of the simulated disk: one sorted array of full paths as they are read now, one as
 * they are durable, and the list of changes between the two.
 *
 * Invariant: `durable` with all pending changes applied in order is `now`. */
#include "tests/sim/disk_private.h"

#include "base/assert.h"
#include "tests/sim/memory.h"

/* ---- the arrays
 * ------------------------------------------------------------------------------------- */

static size_t place_of(const struct names *names, const char *path) {
    size_t low = 0;
    size_t high = names->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(names->items[middle].path, path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct name *names_find(const struct names *names, const char *path) {
    size_t at = place_of(names, path);
    return at < names->count && strcmp(names->items[at].path, path) == 0 ? &names->items[at] : NULL;
}

void names_put(struct bnd_sim_disk *disk, struct names *names, const char *path,
               struct bnd_sim_inode *inode) {
    if (inode != NULL) {
        inode_ref(inode);
    }
    struct name *there = names_find(names, path);
    if (there != NULL) {
        if (there->inode != NULL) {
            bnd_sim_inode_unref(disk, there->inode);
        }
        there->inode = inode;
        return;
    }
    if (names->count == names->cap) {
        names->cap = names->cap == 0 ? 16 : 2 * names->cap;
        names->items = bnd_sim_realloc(names->items, names->cap * sizeof *names->items);
    }
    size_t at = place_of(names, path);
    memmove(names->items + at + 1, names->items + at, (names->count - at) * sizeof *names->items);
    names->items[at] = (struct name){.path = bnd_sim_strdup(path), .inode = inode};
    names->count++;
}

void names_remove(struct bnd_sim_disk *disk, struct names *names, const char *path) {
    struct name *name = names_find(names, path);
    if (name == NULL) {
        return;
    }
    if (name->inode != NULL) {
        bnd_sim_inode_unref(disk, name->inode);
    }
    bnd_sim_free(name->path);
    size_t at = (size_t)(name - names->items);
    names->count--;
    memmove(name, name + 1, (names->count - at) * sizeof *name);
}

void names_clear(struct bnd_sim_disk *disk, struct names *names) {
    while (names->count > 0) {
        names_remove(disk, names, names->items[names->count - 1].path);
    }
    bnd_sim_free(names->items);
    *names = (struct names){0};
}

/* ---- changes
 * ---------------------------------------------------------------------------------------- */

/* Returns the directory a path is in, owned; "" for one without. */
static char *parent_of(const char *path) {
    char *dir = bnd_sim_strdup(path);
    char *slash = strrchr(dir, '/');
    *(slash == NULL ? dir : slash) = 0;
    return dir;
}

static bool dir_exists(const struct bnd_sim_disk *disk, const char *dir) {
    if (dir[0] == 0) {
        return true;
    }
    const struct name *name = names_find(&disk->now, dir);
    return name != NULL && name->inode == NULL;
}

static bool parent_exists(const struct bnd_sim_disk *disk, const char *path) {
    char *dir = parent_of(path);
    bool exists = dir_exists(disk, dir);
    bnd_sim_free(dir);
    return exists;
}

void change_apply(struct bnd_sim_disk *disk, struct names *names, const struct change *change) {
    switch (change->kind) {
    case CHANGE_LINK:
        names_put(disk, names, change->path, change->inode);
        break;
    case CHANGE_UNLINK:
        names_remove(disk, names, change->path);
        break;
    case CHANGE_RENAME:
        names_put(disk, names, change->to, change->inode);
        names_remove(disk, names, change->path);
        break;
    }
}

void change_free(struct bnd_sim_disk *disk, struct change *change) {
    if (change->inode != NULL) {
        bnd_sim_inode_unref(disk, change->inode);
    }
    bnd_sim_free(change->dir);
    bnd_sim_free(change->path);
    bnd_sim_free(change->to);
    bnd_sim_free(change);
}

/* Changes what is read now, and notes what a dir_sync has to do. False: the power is off. */
static bool change_make(struct bnd_sim_disk *disk, enum change_kind kind, const char *path,
                        const char *to, struct bnd_sim_inode *inode) {
    if (disk->cut) {
        return false;
    }
    bnd_sim_trace(disk->world, "dskn", disk->node, (uint64_t)kind, bnd_slice_str(path));
    struct change *change = bnd_sim_zalloc(sizeof *change);
    change->kind = kind;
    change->dir = parent_of(path);
    change->path = bnd_sim_strdup(path);
    change->to = to == NULL ? NULL : bnd_sim_strdup(to);
    change->inode = inode;
    if (inode != NULL) {
        inode_ref(inode);
    }
    *disk->last = change;
    disk->last = &change->next;
    change_apply(disk, &disk->now, change);
    return !bnd_sim_disk_change(disk);
}

/* ---- what env asks
 * ---------------------------------------------------------------------------------- */

int bnd_sim_disk_open(struct bnd_sim_disk *disk, const char *path, unsigned flags,
                      struct bnd_sim_inode **out, struct bnd_error *err) {
    if (disk->cut) {
        return BND_FAIL(err, IO, "open %s: the power is off", path);
    }
    struct name *name = names_find(&disk->now, path);
    if (name != NULL && (flags & BND_OPEN_CREATE) != 0 && (flags & BND_OPEN_EXCLUSIVE) != 0) {
        return BND_FAIL(err, EXISTS, "open %s: it exists", path);
    }
    if (name != NULL && name->inode == NULL) {
        return BND_FAIL(err, INVALID, "open %s: is a directory", path);
    }
    if (name != NULL) {
        inode_ref(name->inode);
        *out = name->inode;
        return 0;
    }
    if ((flags & BND_OPEN_CREATE) == 0 || !parent_exists(disk, path)) {
        return BND_FAIL(err, NOTFOUND, "open %s: not found", path);
    }
    struct bnd_sim_inode *inode = inode_make(disk);
    inode_ref(inode);
    if (!change_make(disk, CHANGE_LINK, path, NULL, inode)) {
        bnd_sim_inode_unref(disk, inode);
        return BND_FAIL(err, IO, "open %s: the power is off", path);
    }
    *out = inode;
    return 0;
}

int bnd_sim_disk_dir_make(struct bnd_sim_disk *disk, const char *path, struct bnd_error *err) {
    const struct name *name = names_find(&disk->now, path);
    if (name != NULL && name->inode != NULL) {
        return BND_FAIL(err, EXISTS, "mkdir %s: a file is there", path);
    }
    if (name != NULL || path[0] == 0) {
        return 0;
    }
    if (!parent_exists(disk, path)) {
        return BND_FAIL(err, NOTFOUND, "mkdir %s: its directory does not exist", path);
    }
    if (!change_make(disk, CHANGE_LINK, path, NULL, NULL)) {
        return BND_FAIL(err, IO, "mkdir %s: the power is off", path);
    }
    return 0;
}

int bnd_sim_disk_dir_sync(struct bnd_sim_disk *disk, const char *path, struct bnd_error *err) {
    if (!dir_exists(disk, path)) {
        return BND_FAIL(err, NOTFOUND, "sync directory %s: not found", path);
    }
    bnd_sim_trace(disk->world, "dskd", disk->node, 0, bnd_slice_str(path));
    if (bnd_sim_disk_change(disk)) {
        return BND_FAIL(err, IO, "sync directory %s: the power is off", path);
    }
    struct change **at = &disk->first;
    while (*at != NULL) {
        struct change *change = *at;
        if (strcmp(change->dir, path) == 0) {
            change_apply(disk, &disk->durable, change);
            *at = change->next;
            change_free(disk, change);
        } else {
            at = &change->next;
        }
    }
    disk->last = at;
    return 0;
}

int bnd_sim_disk_dir_list(struct bnd_sim_disk *disk, const char *path,
                          int (*each)(void *data, const char *name), void *data,
                          struct bnd_error *err) {
    if (disk->cut) {
        return BND_FAIL(err, IO, "list %s: the power is off", path);
    }
    if (!dir_exists(disk, path)) {
        return BND_FAIL(err, NOTFOUND, "list %s: not found", path);
    }
    /* each() may change the directory: collect first. */
    size_t len = path[0] == 0 ? 0 : strlen(path) + 1;
    char **found = bnd_sim_zalloc((disk->now.count + 1) * sizeof *found);
    size_t count = 0;
    for (size_t i = 0; i < disk->now.count; i++) {
        const char *full = disk->now.items[i].path;
        if ((len == 0 || (strncmp(full, path, len - 1) == 0 && full[len - 1] == '/')) &&
            full[len] != 0 && strchr(full + len, '/') == NULL) {
            found[count++] = bnd_sim_strdup(full + len);
        }
    }
    int rv = 0;
    for (size_t i = 0; i < count; i++) {
        rv = rv == 0 ? each(data, found[i]) : rv;
        bnd_sim_free(found[i]);
    }
    bnd_sim_free(found);
    return rv;
}

int bnd_sim_disk_rename(struct bnd_sim_disk *disk, const char *from, const char *to,
                        struct bnd_error *err) {
    const struct name *name = names_find(&disk->now, from);
    if (name == NULL || !parent_exists(disk, to)) {
        return BND_FAIL(err, NOTFOUND, "rename %s to %s: not found", from, to);
    }
    if (name->inode == NULL) {
        return BND_FAIL(err, UNSUPPORTED, "rename %s: directories are not renamed here", from);
    }
    struct bnd_sim_inode *inode = name->inode;
    char *dir_from = parent_of(from);
    char *dir_to = parent_of(to);
    bool on = true;
    if (strcmp(from, to) == 0) {
        on = !disk->cut;
    } else if (strcmp(dir_from, dir_to) == 0) {
        on = change_make(disk, CHANGE_RENAME, from, to, inode);
    } else { /* each directory learns its half by its own sync */
        on = change_make(disk, CHANGE_LINK, to, NULL, inode) &&
             change_make(disk, CHANGE_UNLINK, from, NULL, NULL);
    }
    bnd_sim_free(dir_from);
    bnd_sim_free(dir_to);
    return on ? 0 : BND_FAIL(err, IO, "rename %s: the power is off", from);
}

int bnd_sim_disk_unlink(struct bnd_sim_disk *disk, const char *path, struct bnd_error *err) {
    const struct name *name = names_find(&disk->now, path);
    if (name == NULL || name->inode == NULL) {
        return BND_FAIL(err, NOTFOUND, "unlink %s: not found", path);
    }
    if (!change_make(disk, CHANGE_UNLINK, path, NULL, NULL)) {
        return BND_FAIL(err, IO, "unlink %s: the power is off", path);
    }
    return 0;
}
