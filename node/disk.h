/* The room on a node's disk, looked at four times a second (architecture 7; ADR 0076).
 *
 * The reserve is four journal segments and 5 % of the file system. Below it the disk is nearly
 * full: nothing that grows is taken, deletes are. Below half of it no Raft entry is taken at all,
 * so that what the journal and the state still need for what was taken before always finds room. A
 * state ends only an eighth above the bound where it began. */
#ifndef BND_NODE_DISK_H
#define BND_NODE_DISK_H

#include "base/env.h"
#include "raft/host.h"

struct node_disk {
    struct bnd_env *env;
    const char *path; /* borrowed */
    void *owner;
    void (*changed)(void *owner, enum bnd_raft_space space); /* on the loop */
    /* read by others */
    enum bnd_raft_space space;
    uint64_t free_bytes, total_bytes; /* as of the last look */
    /* private */
    struct bnd_timer timer;
    struct bnd_work work;
    uint64_t looked_free, looked_total;
    int looked;
    bool looking, blind, stopping;
    void (*stopped)(void *data);
    void *stopped_data;
};

/* Bytes that must be free on a file system of this size for a disk with room. */
uint64_t node_disk_reserve(uint64_t total_bytes);

/* The space of a disk that was `before`. Pure. */
enum bnd_raft_space node_disk_judge(enum bnd_raft_space before, uint64_t free_bytes,
                                    uint64_t total_bytes);

/* Blocking: is there room to start? What the journal holds above the persisted state is applied and
 * may have to be flushed, and RocksDB ends the process where a flush meets a full disk.
 * BND_NOSPACE: less than NODE_DISK_START_BYTES are free. Other codes: as of the look. */
#define NODE_DISK_START_BYTES (UINT64_C(96) << 20)
int node_disk_may_start(struct bnd_env *env, const char *path, struct bnd_error *err);

/* Looks at once (blocking, for start), then by itself; disk: zeroed, the first four fields set. */
void node_disk_start(struct node_disk *disk);
/* No `changed` after it; `stopped` comes once, perhaps from inside the call. */
void node_disk_stop(struct node_disk *disk, void (*stopped)(void *data), void *data);

/* "ok", or what is refused and why, for people. */
void node_disk_text(const struct node_disk *disk, struct bnd_buf *out);

#endif
