/* Files of the simulated disk.
 *
 * Invariants: (1) `now` is what reads see; `durable` plus any choice among the pending writes is
 * what a power cut may leave. (2) A sector made durable by a later write is never overwritten by an
 * earlier one. (3) What makes a write durable first makes every earlier change of size durable, as
 * a journalling file system does. */
#include "tests/sim/disk_private.h"

#include "base/assert.h"
#include "tests/sim/memory.h"

#define CAPACITY_DEFAULT (UINT64_C(1) << 30)

struct bnd_sim_disk *bnd_sim_disk_create(struct bnd_sim_world *world, uint64_t node,
                                         uint64_t capacity_bytes) {
    struct bnd_sim_disk *disk = bnd_sim_zalloc(sizeof *disk);
    disk->world = world;
    disk->node = node;
    disk->capacity = capacity_bytes == 0 ? CAPACITY_DEFAULT : capacity_bytes;
    disk->latency = (struct bnd_sim_latency){
        .min_ns = BND_MS / 20, .max_ns = 2 * BND_MS, .slow_ns = 40 * BND_MS, .slow_per_mille = 10};
    disk->last = &disk->first;
    bnd_sim_rng_init(&disk->rng, bnd_sim_world_seed(world), "disk", node);
    return disk;
}

void bnd_sim_disk_wipe(struct bnd_sim_disk *disk) {
    while (disk->first != NULL) {
        struct change *change = disk->first;
        disk->first = change->next;
        change_free(disk, change);
    }
    disk->last = &disk->first;
    names_clear(disk, &disk->now);
    names_clear(disk, &disk->durable);
    BND_ASSERT(disk->inodes == NULL); /* else a file is open */
    disk->cut = false;
    disk->cut_at = 0;
}

void bnd_sim_disk_destroy(struct bnd_sim_disk *disk) {
    if (disk != NULL) {
        bnd_sim_disk_wipe(disk);
        bnd_sim_free(disk);
    }
}

/* ---- faults
 * ----------------------------------------------------------------------------------------- */

void bnd_sim_disk_latency(struct bnd_sim_disk *disk, const struct bnd_sim_latency *latency) {
    disk->latency = *latency;
}

void bnd_sim_disk_stall(struct bnd_sim_disk *disk, uint64_t duration_ns) {
    uint64_t until_ns = bnd_sim_world_now_ns(disk->world) + duration_ns;
    if (until_ns > disk->stalled_until_ns) {
        disk->stalled_until_ns = until_ns;
    }
}

void bnd_sim_disk_fail(struct bnd_sim_disk *disk, uint64_t n, int code, bool sticky) {
    BND_ASSERT(n > 0 && code < 0);
    disk->fail_at = disk->requests + n;
    disk->fail_code = code;
    disk->fail_sticky = sticky;
}

void bnd_sim_disk_heal(struct bnd_sim_disk *disk) {
    disk->fail_at = 0;
    disk->stalled_until_ns = 0;
}

void bnd_sim_disk_capacity(struct bnd_sim_disk *disk, uint64_t bytes) {
    disk->capacity = bytes;
}

uint64_t bnd_sim_disk_used(const struct bnd_sim_disk *disk) {
    return disk->used;
}

void bnd_sim_disk_space(const struct bnd_sim_disk *disk, uint64_t *out_free, uint64_t *out_total) {
    *out_total = disk->capacity;
    *out_free = disk->used >= disk->capacity ? 0 : disk->capacity - disk->used;
}

int bnd_sim_disk_flip(struct bnd_sim_disk *disk, const char *path, uint64_t offset, unsigned bit) {
    const struct name *name = names_find(&disk->now, path);
    if (name == NULL || name->inode == NULL) {
        return BND_NOTFOUND;
    }
    if (offset >= name->inode->now.size || offset >= name->inode->durable.size) {
        return BND_RANGE;
    }
    name->inode->now.data[offset] ^= (uint8_t)(1u << (bit % 8));
    name->inode->durable.data[offset] ^= (uint8_t)(1u << (bit % 8));
    return 0;
}

int bnd_sim_disk_injected(struct bnd_sim_disk *disk) {
    disk->requests++;
    if (disk->fail_at == 0 || disk->requests < disk->fail_at) {
        return 0;
    }
    return disk->fail_sticky || disk->requests == disk->fail_at ? disk->fail_code : 0;
}

uint64_t bnd_sim_disk_boot(struct bnd_sim_disk *disk) {
    return ++disk->boots;
}

uint64_t bnd_sim_disk_due_ns(struct bnd_sim_disk *disk) {
    const struct bnd_sim_latency *l = &disk->latency;
    bool slow = bnd_sim_rng_chance(&disk->rng, l->slow_per_mille);
    uint64_t delay_ns = bnd_sim_rng_range(&disk->rng, l->min_ns, slow ? l->slow_ns : l->max_ns);
    uint64_t due_ns = bnd_sim_world_now_ns(disk->world) + delay_ns;
    return due_ns > disk->stalled_until_ns ? due_ns : disk->stalled_until_ns + delay_ns;
}

uint64_t bnd_sim_disk_stalled_until_ns(const struct bnd_sim_disk *disk) {
    return disk->stalled_until_ns > bnd_sim_world_now_ns(disk->world) ? disk->stalled_until_ns : 0;
}

void bnd_sim_disk_cut_at(struct bnd_sim_disk *disk, uint64_t n, enum bnd_sim_keep keep) {
    disk->cut_at = n == 0 ? 0 : disk->changes + n;
    disk->cut_keep = keep;
}

bool bnd_sim_disk_is_cut(const struct bnd_sim_disk *disk) {
    return disk->cut;
}

uint64_t bnd_sim_disk_changes(const struct bnd_sim_disk *disk) {
    return disk->changes;
}

bool bnd_sim_disk_change(struct bnd_sim_disk *disk) {
    if (disk->cut) {
        return true;
    }
    disk->changes++;
    if (disk->cut_at != 0 && disk->changes >= disk->cut_at) {
        disk->cut = true;
        cut_settle(disk, disk->cut_keep);
    }
    return disk->cut;
}

/* ---- images
 * ----------------------------------------------------------------------------------------- */

void image_resize(struct image *image, uint64_t size) {
    if (size > image->cap) {
        uint64_t cap = image->cap < 4096 ? 4096 : image->cap;
        while (cap < size) {
            cap *= 2;
        }
        image->data = bnd_sim_realloc(image->data, cap);
        image->cap = cap;
    }
    if (size > image->size) {
        memset(image->data + image->size, 0, size - image->size);
    }
    image->size = size;
}

void image_copy(struct image *to, const struct image *from) {
    to->size = 0;
    image_resize(to, from->size);
    if (from->size > 0) {
        memcpy(to->data, from->data, from->size);
    }
}

/* ---- inodes
 * ----------------------------------------------------------------------------------------- */

struct bnd_sim_inode *inode_make(struct bnd_sim_disk *disk) {
    struct bnd_sim_inode *inode = bnd_sim_zalloc(sizeof *inode);
    inode->number = ++disk->inode_number;
    inode->last = &inode->first;
    inode->next = disk->inodes;
    disk->inodes = inode;
    return inode;
}

void inode_ref(struct bnd_sim_inode *inode) {
    inode->refs++;
}

static void pending_free(struct bnd_sim_pending *pending) {
    bnd_sim_free(pending->data);
    bnd_sim_free(pending->superseded);
    bnd_sim_free(pending);
}

void inode_pending_free_all(struct bnd_sim_inode *inode) {
    while (inode->first != NULL) {
        struct bnd_sim_pending *pending = inode->first;
        inode->first = pending->next;
        pending_free(pending);
    }
    inode->last = &inode->first;
}

void bnd_sim_inode_unref(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode) {
    BND_ASSERT(inode->refs > 0);
    if (--inode->refs > 0) {
        return;
    }
    struct bnd_sim_inode **at = &disk->inodes;
    while (*at != inode) {
        at = &(*at)->next;
    }
    *at = inode->next;
    disk->used -= inode->now.size;
    inode_pending_free_all(inode);
    bnd_sim_free(inode->now.data);
    bnd_sim_free(inode->durable.data);
    bnd_sim_free(inode);
}

uint64_t bnd_sim_inode_size(const struct bnd_sim_inode *inode) {
    return inode->now.size;
}

static int resize_now(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode, uint64_t size) {
    if (size > inode->now.size && disk->used + (size - inode->now.size) > disk->capacity) {
        return BND_NOSPACE;
    }
    disk->used = disk->used - inode->now.size + size;
    image_resize(&inode->now, size);
    return 0;
}

static struct bnd_sim_pending *pending_add(struct bnd_sim_inode *inode, uint64_t offset) {
    struct bnd_sim_pending *pending = bnd_sim_zalloc(sizeof *pending);
    pending->inode = inode;
    pending->offset = offset;
    *inode->last = pending;
    inode->last = &pending->next;
    return pending;
}

int bnd_sim_inode_truncate(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode, uint64_t size) {
    if (bnd_sim_disk_change(disk)) {
        return BND_IO;
    }
    int rv = resize_now(disk, inode, size);
    if (rv == 0) {
        pending_add(inode, size)->ended = ++disk->clock;
    }
    return rv;
}

int bnd_sim_inode_read(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode, void *out,
                       size_t len, uint64_t offset, size_t *out_read) {
    if (disk->cut) {
        return BND_IO;
    }
    uint64_t size = inode->now.size;
    size_t bytes = offset >= size ? 0 : (size - offset < len ? (size_t)(size - offset) : len);
    if (bytes > 0) {
        memcpy(out, inode->now.data + offset, bytes);
    }
    *out_read = bytes;
    return 0;
}

int bnd_sim_inode_write_begin(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode,
                              struct bnd_slice data, uint64_t offset,
                              struct bnd_sim_pending **out) {
    BND_ASSERT(data.len > 0);
    if (disk->cut) {
        return BND_IO;
    }
    uint64_t end = offset + data.len;
    if (end > inode->now.size && disk->used + (end - inode->now.size) > disk->capacity) {
        return BND_NOSPACE;
    }
    struct bnd_sim_pending *pending = pending_add(inode, offset);
    pending->len = data.len;
    pending->data = bnd_sim_memdup(data.data, data.len);
    bnd_sim_trace(disk->world, "dskw", disk->node << 32 | inode->number, offset, data);
    if (bnd_sim_disk_change(disk)) { /* with this write among what the cut decides about */
        return BND_IO;
    }
    *out = pending;
    return 0;
}

static void pending_remove(struct bnd_sim_pending *pending) {
    struct bnd_sim_inode *inode = pending->inode;
    struct bnd_sim_pending **at = &inode->first;
    while (*at != pending) {
        at = &(*at)->next;
    }
    *at = pending->next;
    if (inode->last == &pending->next) {
        inode->last = at;
    }
    pending_free(pending);
}

void bnd_sim_inode_write_abandon(struct bnd_sim_disk *disk, struct bnd_sim_pending *pending) {
    if (!disk->cut) {
        pending_remove(pending);
    }
}

/* Marks the sectors of older writes that lie in [from, to): they have lost to a durable one. Writes
 * still under way are left alone: they may well land later. */
static void supersede(struct bnd_sim_inode *inode, const struct bnd_sim_pending *until,
                      uint64_t from, uint64_t to) {
    for (struct bnd_sim_pending *p = inode->first; p != until; p = p->next) {
        uint64_t end = p->offset + p->len;
        if (p->len == 0 || p->ended == 0 || p->offset >= to || end <= from) {
            continue;
        }
        size_t sectors = (p->len + BND_SIM_SECTOR - 1) / BND_SIM_SECTOR;
        if (p->superseded == NULL) {
            p->superseded = bnd_sim_zalloc(sectors);
        }
        for (size_t s = 0; s < sectors; s++) {
            uint64_t first = p->offset + s * BND_SIM_SECTOR;
            uint64_t last = first + BND_SIM_SECTOR < end ? first + BND_SIM_SECTOR : end;
            if (first < to && last > from) {
                p->superseded[s] = 1;
            }
        }
    }
}

/* Takes the pending change out of its inode; what is readable of it is durable from now on. */
static void make_durable(struct bnd_sim_pending *pending) {
    struct bnd_sim_inode *inode = pending->inode;
    uint64_t from = pending->offset;
    uint64_t to = from + pending->len;
    if (pending->len == 0) {
        image_resize(&inode->durable, from);
        to = UINT64_MAX;
    } else {
        to = to < inode->now.size ? to : inode->now.size;
        if (to > inode->durable.size) {
            image_resize(&inode->durable, to);
        }
        if (to > from) {
            memcpy(inode->durable.data + from, inode->now.data + from, to - from);
        }
    }
    supersede(inode, pending, from, to);
    pending_remove(pending);
}

/* Makes the changes of size before `until` durable: they go to disk in order. */
static void settle_sizes(struct bnd_sim_inode *inode, const struct bnd_sim_pending *until) {
    struct bnd_sim_pending *p = inode->first;
    while (p != until) {
        struct bnd_sim_pending *next = p->next;
        if (p->len == 0) {
            make_durable(p);
        }
        p = next;
    }
}

/* Moves it to the end of its list, so that what has ended stands there in the order of its ends. */
static void move_last(struct bnd_sim_pending *pending) {
    struct bnd_sim_inode *inode = pending->inode;
    struct bnd_sim_pending **at = &inode->first;
    while (*at != pending) {
        at = &(*at)->next;
    }
    if (pending->next == NULL) {
        return;
    }
    *at = pending->next;
    pending->next = NULL;
    *inode->last = pending;
    inode->last = &pending->next;
}

void bnd_sim_inode_write_end(struct bnd_sim_disk *disk, struct bnd_sim_pending *pending,
                             bool durable) {
    if (disk->cut) {
        return;
    }
    struct bnd_sim_inode *inode = pending->inode;
    uint64_t end = pending->offset + pending->len;
    if (end > inode->now.size) {
        disk->used += end - inode->now.size;
        image_resize(&inode->now, end);
    }
    memcpy(inode->now.data + pending->offset, pending->data, pending->len);
    pending->ended = ++disk->clock;
    move_last(pending);
    if (durable) {
        settle_sizes(inode, pending);
        make_durable(pending);
    }
}

uint64_t bnd_sim_inode_mark(struct bnd_sim_disk *disk) {
    return ++disk->clock;
}

int bnd_sim_inode_sync(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode, uint64_t mark) {
    bnd_sim_trace(disk->world, "dsks", disk->node << 32 | inode->number, 0, (struct bnd_slice){0});
    if (bnd_sim_disk_change(disk)) {
        return BND_IO;
    }
    struct bnd_sim_pending *p = inode->first;
    while (p != NULL) {
        struct bnd_sim_pending *next = p->next;
        if (p->ended != 0 && p->ended < mark) {
            make_durable(p);
        }
        p = next;
    }
    return 0;
}
