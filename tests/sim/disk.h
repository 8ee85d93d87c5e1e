/* The simulated disk of one node: it outlives the node's incarnations (tests/sim/README.md: fault
 * model).
 *
 * What a file reads now, and what a power cut would leave of it, are kept apart. Each write is
 * pending until it is made durable (its own DSYNC completion, or a sync that began after it); a
 * power cut keeps of each pending write a drawn subset of its 512-byte sectors. Directory entries
 * are durable only after dir_sync of their directory; of the pending ones a cut keeps, per
 * directory, the first few in order.
 *
 * This header is the hardware's side: synchronous, without time. tests/sim/env.h puts latency in
 * front of it. */
#ifndef BND_TESTS_SIM_DISK_H
#define BND_TESTS_SIM_DISK_H

#include "base/error.h"
#include "tests/sim/world.h"

#define BND_SIM_SECTOR 512

struct bnd_sim_disk;
struct bnd_sim_inode;   /* a file's contents; referenced by directory entries and open files */
struct bnd_sim_pending; /* a write that is under way */

/* Which sectors of each pending write a power cut keeps. */
enum bnd_sim_keep {
    BND_SIM_KEEP_RANDOM, /* per write drawn: none, all, a prefix, or each sector by itself */
    BND_SIM_KEEP_NONE,
    BND_SIM_KEEP_ALL,
    BND_SIM_KEEP_FIRST_HALF,
    BND_SIM_KEEP_LAST_HALF,
    BND_SIM_KEEP_ALTERNATE,
    BND_SIM_KEEPS,
};

/* Capacity 0: 1 GiB. */
struct bnd_sim_disk *bnd_sim_disk_create(struct bnd_sim_world *world, uint64_t node,
                                         uint64_t capacity_bytes);
/* No file may be open. NULL allowed. */
void bnd_sim_disk_destroy(struct bnd_sim_disk *disk);
/* A new, empty disk in the same place: the node lost its own. No file may be open. */
void bnd_sim_disk_wipe(struct bnd_sim_disk *disk);

/* ---- faults
 * ----------------------------------------------------------------------------------------- */

/* Latency of each request; slow ones (per mille) take up to slow_ns. The default is 50 us to 2 ms,
 * 10 per mille up to 40 ms. */
struct bnd_sim_latency {
    uint64_t min_ns;
    uint64_t max_ns;
    uint64_t slow_ns;
    unsigned slow_per_mille;
};
void bnd_sim_disk_latency(struct bnd_sim_disk *disk, const struct bnd_sim_latency *latency);
/* No request completes for the next `duration_ns`. */
void bnd_sim_disk_stall(struct bnd_sim_disk *disk, uint64_t duration_ns);
/* The n-th write, truncate, sync or read from now (1: the next) fails with `code`, and so do all
 * later ones until bnd_sim_disk_heal if `sticky`. */
void bnd_sim_disk_fail(struct bnd_sim_disk *disk, uint64_t n, int code, bool sticky);
void bnd_sim_disk_heal(struct bnd_sim_disk *disk); /* ends failures and stalls */
void bnd_sim_disk_capacity(struct bnd_sim_disk *disk, uint64_t bytes);
uint64_t bnd_sim_disk_used(const struct bnd_sim_disk *disk);
/* Flips one bit of a file, in what is read and in what is durable. BND_NOTFOUND, BND_RANGE. */
int bnd_sim_disk_flip(struct bnd_sim_disk *disk, const char *path, uint64_t offset, unsigned bit);

/* Cut: the power fails at the n-th change from now (a write, truncate, sync, create, rename,
 * unlink; 1: the next): of it and of everything pending `keep` decides what stays; nothing after it
 * has any effect and every later request on this disk is answered BND_IO (blocking) or never
 * (asynchronous). The test then discards the node with bnd_sim_env_crash. n = 0: off. */
void bnd_sim_disk_cut_at(struct bnd_sim_disk *disk, uint64_t n, enum bnd_sim_keep keep);
bool bnd_sim_disk_is_cut(const struct bnd_sim_disk *disk);
/* How many changes there have been since creation: what n can be. */
uint64_t bnd_sim_disk_changes(const struct bnd_sim_disk *disk);

/* Power fails now: what is read becomes what was durable, by `keep`. No file may be open, no write
 * under way (bnd_sim_env_crash sees to both). Does nothing to a disk that is cut but to end the
 * cut. */
void bnd_sim_disk_power_cut(struct bnd_sim_disk *disk, enum bnd_sim_keep keep);

/* ---- used by tests/sim/env.c
 * ------------------------------------------------------------------------ */

/* Errors as struct bnd_env_ops. An inode is referenced until bnd_sim_inode_unref. */
int bnd_sim_disk_open(struct bnd_sim_disk *disk, const char *path, unsigned flags,
                      struct bnd_sim_inode **out, struct bnd_error *err);
void bnd_sim_inode_unref(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode);
uint64_t bnd_sim_inode_size(const struct bnd_sim_inode *inode);
int bnd_sim_inode_truncate(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode, uint64_t size);
int bnd_sim_inode_read(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode, void *out,
                       size_t len, uint64_t offset, size_t *out_read);
/* A write in two steps. begin copies the data: from then on a power cut may keep sectors of it. end
 * makes it readable (and durable, if `durable`); abandon forgets it, after a failure or when a
 * killed process never got to it. */
int bnd_sim_inode_write_begin(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode,
                              struct bnd_slice data, uint64_t offset, struct bnd_sim_pending **out);
void bnd_sim_inode_write_end(struct bnd_sim_disk *disk, struct bnd_sim_pending *pending,
                             bool durable);
void bnd_sim_inode_write_abandon(struct bnd_sim_disk *disk, struct bnd_sim_pending *pending);
/* What has been written and not synced so far: the number to give to sync. */
uint64_t bnd_sim_inode_mark(struct bnd_sim_disk *disk);
/* Makes durable everything that ended before `mark` was taken. */
int bnd_sim_inode_sync(struct bnd_sim_disk *disk, struct bnd_sim_inode *inode, uint64_t mark);

int bnd_sim_disk_dir_make(struct bnd_sim_disk *disk, const char *path, struct bnd_error *err);
int bnd_sim_disk_dir_sync(struct bnd_sim_disk *disk, const char *path, struct bnd_error *err);
int bnd_sim_disk_dir_list(struct bnd_sim_disk *disk, const char *path,
                          int (*each)(void *data, const char *name), void *data,
                          struct bnd_error *err);
int bnd_sim_disk_rename(struct bnd_sim_disk *disk, const char *from, const char *to,
                        struct bnd_error *err);
int bnd_sim_disk_unlink(struct bnd_sim_disk *disk, const char *path, struct bnd_error *err);
void bnd_sim_disk_space(const struct bnd_sim_disk *disk, uint64_t *out_free, uint64_t *out_total);

/* Counts incarnations: 1 for the first. */
uint64_t bnd_sim_disk_boot(struct bnd_sim_disk *disk);
/* When a request submitted now completes. */
uint64_t bnd_sim_disk_due_ns(struct bnd_sim_disk *disk);
/* Whether requests due now must wait for a stall: until when, or 0. */
uint64_t bnd_sim_disk_stalled_until_ns(const struct bnd_sim_disk *disk);
/* 0, or the code with which the request that is being made must fail. Counts one request. */
int bnd_sim_disk_injected(struct bnd_sim_disk *disk);

#endif
