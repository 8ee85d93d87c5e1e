/* Between tests/sim/disk.c (files), names.c (directories) and cut.c (what a power cut leaves). */
#ifndef BND_TESTS_SIM_DISK_PRIVATE_H
#define BND_TESTS_SIM_DISK_PRIVATE_H

#include "tests/sim/disk.h"

/* A growable array of bytes in the simulator's memory. */
struct image {
    uint8_t *data;
    uint64_t size;
    uint64_t cap;
};

/* One change of a file that is not durable yet, oldest first in its inode. */
struct bnd_sim_pending {
    struct bnd_sim_pending *next;
    struct bnd_sim_inode *inode;
    uint64_t offset; /* of the write; the new size for a truncation */
    uint64_t ended;  /* disk->clock when it became readable; 0: still under way */
    size_t len;      /* 0: a truncation */
    uint8_t *data;
    uint8_t *superseded; /* per sector: a later write there is durable already; NULL: none */
};

struct bnd_sim_inode {
    struct bnd_sim_inode *next; /* all of the disk */
    uint64_t number;
    unsigned refs; /* directory entries (both kinds) and open files */
    struct image now;
    struct image durable;
    struct bnd_sim_pending *first;
    struct bnd_sim_pending **last;
};

/* Directory entries: a sorted array of paths. A directory has no inode. */
struct name {
    char *path;
    struct bnd_sim_inode *inode;
};

struct names {
    struct name *items;
    size_t count;
    size_t cap;
};

enum change_kind { CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME };

/* A change of a directory that is not durable yet. */
struct change {
    struct change *next;
    enum change_kind kind;
    char *dir; /* whose sync makes it durable */
    char *path;
    char *to; /* rename only */
    struct bnd_sim_inode *inode;
};

struct bnd_sim_disk {
    struct bnd_sim_world *world;
    uint64_t node;
    struct bnd_sim_rng rng;
    struct bnd_sim_latency latency;
    uint64_t stalled_until_ns;
    uint64_t capacity;
    uint64_t used;
    uint64_t clock;   /* counts ends of writes, and marks */
    uint64_t changes; /* counts what cut_at counts */
    uint64_t cut_at;  /* value of changes; 0: off */
    enum bnd_sim_keep cut_keep;
    bool cut;
    uint64_t boots;
    uint64_t requests;
    uint64_t fail_at;
    int fail_code;
    bool fail_sticky;
    uint64_t inode_number;
    struct bnd_sim_inode *inodes;
    struct names now;
    struct names durable;
    struct change *first;
    struct change **last;
};

/* Counts one change. True: the power is off, at this change or before; the change must have no
 * effect. */
bool bnd_sim_disk_change(struct bnd_sim_disk *disk);

void image_resize(struct image *image, uint64_t size);
void image_copy(struct image *to, const struct image *from);

/* Frees the inode once nobody refers to it. */
struct bnd_sim_inode *inode_make(struct bnd_sim_disk *disk);
void inode_ref(struct bnd_sim_inode *inode);
void inode_pending_free_all(struct bnd_sim_inode *inode);

struct name *names_find(const struct names *names, const char *path);
void names_put(struct bnd_sim_disk *disk, struct names *names, const char *path,
               struct bnd_sim_inode *inode);
void names_remove(struct bnd_sim_disk *disk, struct names *names, const char *path);
void names_clear(struct bnd_sim_disk *disk, struct names *names);
void change_apply(struct bnd_sim_disk *disk, struct names *names, const struct change *change);
void change_free(struct bnd_sim_disk *disk, struct change *change);

/* Decides what the disk holds after a cut (durable images and names); leaves what is read alone. */
void cut_settle(struct bnd_sim_disk *disk, enum bnd_sim_keep keep);

#endif
