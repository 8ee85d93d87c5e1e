/* What a power cut leaves (tests/sim/README.md: fault model). */
#include "tests/sim/disk_private.h"

#include "tests/sim/memory.h"

/* How one pending write fares under BND_SIM_KEEP_RANDOM. */
enum fate { FATE_NONE, FATE_ALL, FATE_PREFIX, FATE_EACH, FATES };

static bool keeps_sector(struct bnd_sim_rng *rng, enum bnd_sim_keep keep, enum fate fate,
                         size_t sector, size_t sectors) {
    switch (keep) {
    case BND_SIM_KEEP_NONE:
        return false;
    case BND_SIM_KEEP_ALL:
        return true;
    case BND_SIM_KEEP_FIRST_HALF:
        return sector < sectors / 2;
    case BND_SIM_KEEP_LAST_HALF:
        return sector >= sectors / 2;
    case BND_SIM_KEEP_ALTERNATE:
        return sector % 2 == 0;
    case BND_SIM_KEEP_RANDOM:
    case BND_SIM_KEEPS:
        break;
    }
    return fate == FATE_ALL || (fate == FATE_EACH && bnd_sim_rng_chance(rng, 500));
}

static void settle_write(struct bnd_sim_disk *disk, const struct bnd_sim_pending *p,
                         enum bnd_sim_keep keep) {
    size_t sectors = (p->len + BND_SIM_SECTOR - 1) / BND_SIM_SECTOR;
    enum fate fate = (enum fate)bnd_sim_rng_below(&disk->rng, FATES);
    if (keep == BND_SIM_KEEP_RANDOM && fate == FATE_PREFIX) {
        sectors = bnd_sim_rng_below(&disk->rng, sectors + 1);
        fate = FATE_ALL;
    }
    for (size_t s = 0; s < sectors; s++) {
        if ((p->superseded != NULL && p->superseded[s] != 0) ||
            !keeps_sector(&disk->rng, keep, fate, s, sectors)) {
            continue;
        }
        size_t at = s * BND_SIM_SECTOR;
        size_t bytes = p->len - at < BND_SIM_SECTOR ? p->len - at : BND_SIM_SECTOR;
        if (p->offset + at + bytes > p->inode->durable.size) {
            image_resize(&p->inode->durable, p->offset + at + bytes);
        }
        memcpy(p->inode->durable.data + p->offset + at, p->data + at, bytes);
    }
}

static void settle_inode(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode,
                         enum bnd_sim_keep keep) {
    for (struct bnd_sim_pending *p = inode->first; p != NULL; p = p->next) {
        if (p->len > 0) {
            settle_write(disk, p, keep);
        } else if (keeps_sector(&disk->rng, keep, FATE_EACH, 0, 2)) {
            image_resize(&inode->durable, p->offset);
        }
    }
    inode_pending_free_all(inode);
}

/* Of each directory's pending changes the first few stay, in order. */
static void settle_names(struct bnd_sim_disk *disk, enum bnd_sim_keep keep) {
    static const unsigned lose_choices[] = {0, 300, 1000};
    unsigned lose = lose_choices[bnd_sim_rng_below(&disk->rng, 3)];
    if (keep != BND_SIM_KEEP_RANDOM) {
        lose = keep == BND_SIM_KEEP_ALL ? 0 : (keep == BND_SIM_KEEP_NONE ? 1000 : 300);
    }
    struct names lost = {0}; /* directories that keep nothing more */
    while (disk->first != NULL) {
        struct change *change = disk->first;
        disk->first = change->next;
        if (names_find(&lost, change->dir) == NULL) {
            if (bnd_sim_rng_chance(&disk->rng, lose)) {
                names_put(disk, &lost, change->dir, NULL);
            } else {
                change_apply(disk, &disk->durable, change);
            }
        }
        change_free(disk, change);
    }
    disk->last = &disk->first;
    names_clear(disk, &lost);
}

static bool orphaned(const struct names *names, const char *path) {
    char *dir = bnd_sim_strdup(path);
    bool orphan = false;
    for (char *slash = strrchr(dir, '/'); slash != NULL && slash != dir;
         slash = strrchr(dir, '/')) {
        *slash = 0;
        orphan = orphan || names_find(names, dir) == NULL;
    }
    bnd_sim_free(dir);
    return orphan;
}

void cut_settle(struct bnd_sim_disk *disk, enum bnd_sim_keep keep) {
    for (struct bnd_sim_inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
        settle_inode(disk, inode, keep);
    }
    settle_names(disk, keep);
    for (size_t i = disk->durable.count;
         i-- > 0;) { /* a lost directory takes what is in it along */
        if (orphaned(&disk->durable, disk->durable.items[i].path)) {
            names_remove(disk, &disk->durable, disk->durable.items[i].path);
        }
    }
}

void bnd_sim_disk_power_cut(struct bnd_sim_disk *disk, enum bnd_sim_keep keep) {
    if (!disk->cut) {
        cut_settle(disk, keep);
    }
    disk->cut = false;
    disk->cut_at = 0;
    names_clear(disk, &disk->now);
    for (size_t i = 0; i < disk->durable.count; i++) {
        names_put(disk, &disk->now, disk->durable.items[i].path, disk->durable.items[i].inode);
    }
    disk->used = 0;
    for (struct bnd_sim_inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
        image_copy(&inode->now, &inode->durable);
        disk->used += inode->now.size;
    }
}
