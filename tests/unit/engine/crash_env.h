/* A world of one process and one disk that loses power, for tests of what must survive it.
 *
 * Every change of the disk (write, sync, rename, unlink, create, directory sync) is one operation;
 * the power is cut at operation `cut_at`. Then each 512-byte sector that was written but not synced
 * is kept or lost as `keep` says, and directory changes since the last directory sync are all kept
 * or all lost; so is the directory itself, with all that is in it, until its parent is synced.
 * After the cut nothing reaches the disk: calls fail, requests are answered BND_IO. crash_reboot
 * makes what is left current. Single-threaded and deterministic: the pool's work runs from
 * crash_step. */
#ifndef TESTS_UNIT_ENGINE_CRASH_ENV_H
#define TESTS_UNIT_ENGINE_CRASH_ENV_H

#include "base/env.h"
#include "base/timer_heap.h"

#include <stdio.h>
#include <stdlib.h>

#define CRASH_SECTOR 512
#define CRASH_FILES 256
#define CRASH_NAME 128
#define CRASH_EVENTS 64

struct crash_inode {
    uint8_t *now;     /* as a reader sees it */
    uint8_t *durable; /* as of the last sync */
    uint8_t *dirty;   /* per sector */
    size_t size, durable_size, cap;
};

struct crash_name {
    char name[CRASH_NAME];
    int inode; /* -1: unused */
};

struct bnd_file {
    int inode;
};

struct crash_event {
    struct bnd_io *io;
    struct bnd_work *work;
    struct bnd_task *task;
    int status;
    size_t bytes;
};

struct crash_env {
    struct bnd_env env;
    struct crash_inode inodes[CRASH_FILES];
    struct crash_name names[CRASH_FILES], durable_names[CRASH_FILES];
    char dir[CRASH_NAME]; /* the only one, once it is made */
    bool dir_durable;     /* its parent was synced since */
    struct crash_event events[CRASH_EVENTS];
    size_t events_head, events_count;
    struct bnd_timer_heap timers;
    uint64_t now, rng;
    uint64_t ops;    /* changes of the disk so far */
    uint64_t cut_at; /* 0: never */
    unsigned keep;   /* see crash_keeps */
    bool kill; /* not the power but the process ends: what was written stays readable, un-synced */
    bool dead;
    bool hold_writes; /* asynchronous writes are not answered */
    int write_status; /* the next asynchronous writes fail with this */
    int read_status;  /* and asynchronous reads */
    int sync_status;  /* and syncs of files */
    bool work_full;   /* the pool refuses work */
    bool hold_reads;  /* the next asynchronous read is not answered: crash_answer_read does it */
    struct crash_event held_read;
    struct bnd_io *held;
    size_t held_bytes;
    uint64_t writes, syncs;
};

#define CRASH_KEEPS 10

static inline uint64_t crash_mix(uint64_t x) {
    x ^= x >> 31;
    x *= UINT64_C(0x7fb5d329728ea185);
    x ^= x >> 27;
    x *= UINT64_C(0x81dadef4bc2dd44d);
    return x ^ (x >> 33);
}

/* Is sector i of n un-synced ones kept? */
static inline bool crash_keeps(const struct crash_env *w, size_t i, size_t n) {
    switch (w->keep) {
    case 0:
        return false;
    case 1:
        return true;
    case 2:
        return i % 2 == 0;
    case 3:
        return i % 2 == 1;
    case 4:
        return i < n / 2;
    case 5:
        return i >= n / 2;
    case 6:
        return i > 0;
    case 7:
        return i + 1 < n;
    case 8:
        return i == 0;
    case 9:
        return i + 1 == n;
    default:
        return (crash_mix(w->keep * UINT64_C(1000003) + i) & 1) != 0;
    }
}

static inline bool crash_dir_kept(const struct crash_env *w) {
    return w->keep % 2 == 1;
}

static inline struct crash_env *crash_of(struct bnd_env *env) {
    return BND_CONTAINER(env, struct crash_env, env);
}

static inline void crash_cut(struct crash_env *w) {
    w->dead = true;
    if (w->kill) {
        return;
    }
    for (int f = 0; f < CRASH_FILES; f++) {
        struct crash_inode *inode = &w->inodes[f];
        size_t n = 0, i = 0;
        size_t sectors = inode->size / CRASH_SECTOR + 1;
        for (size_t s = 0; s < sectors && inode->cap > 0; s++) {
            n += inode->dirty[s];
        }
        for (size_t s = 0; s < sectors && inode->cap > 0; s++) {
            if (inode->dirty[s] && crash_keeps(w, i++, n)) {
                memcpy(inode->durable + s * CRASH_SECTOR, inode->now + s * CRASH_SECTOR,
                       CRASH_SECTOR);
                size_t end =
                    (s + 1) * CRASH_SECTOR < inode->size ? (s + 1) * CRASH_SECTOR : inode->size;
                inode->durable_size = end > inode->durable_size ? end : inode->durable_size;
            }
        }
    }
    if (crash_dir_kept(w)) {
        memcpy(w->durable_names, w->names, sizeof w->names);
        w->dir_durable = true;
    }
    for (int i = 0; i < CRASH_FILES && !w->dir_durable; i++) {
        w->durable_names[i].inode = -1;
    }
}

/* Counts an operation whose change was just made; true if the power went. */
static inline bool crash_op(struct crash_env *w) {
    w->ops++;
    if (!w->dead && w->cut_at != 0 && w->ops == w->cut_at) {
        crash_cut(w);
    }
    return w->dead;
}

static inline int crash_dead(struct bnd_error *err) {
    return BND_FAIL(err, IO, "power is off");
}

static inline void crash_event(struct crash_env *w, struct crash_event e) {
    if (w->events_count == CRASH_EVENTS) {
        abort();
    }
    w->events[(w->events_head + w->events_count++) % CRASH_EVENTS] = e;
}

static inline int crash_lookup(struct crash_env *w, const char *path) {
    for (int i = 0; i < CRASH_FILES; i++) {
        if (w->names[i].inode >= 0 && strcmp(w->names[i].name, path) == 0) {
            return i;
        }
    }
    return -1;
}

static inline void crash_inode_grow(struct crash_inode *inode, size_t bytes) {
    if (bytes <= inode->cap) {
        return;
    }
    size_t cap = (bytes + 65535) / 65536 * 65536 + 65536;
    size_t old = inode->cap;
    inode->now = realloc(inode->now, cap);
    inode->durable = realloc(inode->durable, cap);
    inode->dirty = realloc(inode->dirty, cap / CRASH_SECTOR);
    memset(inode->now + old, 0, cap - old);
    memset(inode->durable + old, 0, cap - old);
    memset(inode->dirty + old / CRASH_SECTOR, 0, (cap - old) / CRASH_SECTOR);
    inode->cap = cap;
}

static inline void crash_store(struct crash_inode *inode, const void *data, size_t len,
                               uint64_t offset) {
    crash_inode_grow(inode, offset + len + CRASH_SECTOR);
    memcpy(inode->now + offset, data, len);
    for (size_t s = offset / CRASH_SECTOR; s * CRASH_SECTOR < offset + len; s++) {
        inode->dirty[s] = 1;
    }
    inode->size = offset + len > inode->size ? offset + len : inode->size;
}

static inline void crash_persist(struct crash_inode *inode, uint64_t offset, size_t len) {
    if (inode->cap == 0) {
        return;
    }
    for (size_t s = offset / CRASH_SECTOR; s * CRASH_SECTOR < offset + len; s++) {
        memcpy(inode->durable + s * CRASH_SECTOR, inode->now + s * CRASH_SECTOR, CRASH_SECTOR);
        inode->dirty[s] = 0;
    }
    inode->durable_size = inode->size;
}

/* ---- the table
 * --------------------------------------------------------------------------------------- */

static inline uint64_t crash_now(struct bnd_env *env) {
    return crash_of(env)->now;
}
static inline uint64_t crash_random(struct bnd_env *env) {
    struct crash_env *w = crash_of(env);
    w->rng += UINT64_C(0x9e3779b97f4a7c15);
    return crash_mix(w->rng);
}
static inline void crash_timer_start(struct bnd_env *env, struct bnd_timer *timer, uint64_t delay) {
    bnd_timer_heap_set(&crash_of(env)->timers, timer, crash_of(env)->now + delay);
}
static inline void crash_timer_stop(struct bnd_env *env, struct bnd_timer *timer) {
    bnd_timer_heap_remove(&crash_of(env)->timers, timer);
}
static inline void crash_defer(struct bnd_env *env, struct bnd_task *task) {
    crash_event(crash_of(env), (struct crash_event){.task = task});
}
static inline int crash_work(struct bnd_env *env, struct bnd_work *work) {
    struct crash_env *w = crash_of(env);
    if (w->work_full) {
        return BND_FULL;
    }
    crash_event(w, (struct crash_event){.work = work});
    return 0;
}
static inline int crash_open(struct bnd_env *env, const char *path, unsigned flags,
                             struct bnd_file **out, struct bnd_error *err) {
    struct crash_env *w = crash_of(env);
    int at = crash_lookup(w, path);
    if (w->dead) {
        return crash_dead(err);
    }
    if (at < 0) {
        int inode = 0;
        if ((flags & BND_OPEN_CREATE) == 0) {
            return BND_FAIL(err, NOTFOUND, "%s: not found", path);
        }
        while (w->inodes[inode].cap != 0) {
            inode++;
        }
        for (at = 0; w->names[at].inode >= 0; at++) {
        }
        crash_inode_grow(&w->inodes[inode], 1);
        snprintf(w->names[at].name, CRASH_NAME, "%s", path);
        w->names[at].inode = inode;
        if (crash_op(w)) {
            return crash_dead(err);
        }
    }
    *out = malloc(sizeof(struct bnd_file));
    (*out)->inode = w->names[at].inode;
    return 0;
}
static inline void crash_close(struct bnd_env *env, struct bnd_file *file) {
    free(file);
}
static inline int crash_size(struct bnd_env *env, struct bnd_file *file, uint64_t *out,
                             struct bnd_error *err) {
    *out = crash_of(env)->inodes[file->inode].size;
    return 0;
}
static inline int crash_pread(struct bnd_env *env, struct bnd_file *file, void *out, size_t len,
                              uint64_t offset, size_t *out_read, struct bnd_error *err) {
    struct crash_inode *inode = &crash_of(env)->inodes[file->inode];
    size_t left = offset < inode->size ? inode->size - offset : 0;
    *out_read = len < left ? len : left;
    memcpy(out, inode->now + offset, *out_read);
    return 0;
}
static inline int crash_pwrite(struct bnd_env *env, struct bnd_file *file, const void *data,
                               size_t len, uint64_t offset, struct bnd_error *err) {
    struct crash_env *w = crash_of(env);
    if (w->dead) {
        return crash_dead(err);
    }
    crash_store(&w->inodes[file->inode], data, len, offset);
    w->writes++;
    return crash_op(w) ? crash_dead(err) : 0;
}
static inline int crash_sync(struct bnd_env *env, struct bnd_file *file, struct bnd_error *err) {
    struct crash_env *w = crash_of(env);
    if (w->dead ||
        crash_op(w)) { /* cut before it took effect; after it is the next operation's cut */
        return crash_dead(err);
    }
    if (w->sync_status != 0) {
        return bnd_error_set(err, w->sync_status, "sync: %s", bnd_code_text(w->sync_status));
    }
    crash_persist(&w->inodes[file->inode], 0, w->inodes[file->inode].size);
    w->syncs++;
    return 0;
}
static inline int crash_dir_make(struct bnd_env *env, const char *path, struct bnd_error *err) {
    snprintf(crash_of(env)->dir, CRASH_NAME, "%s", path);
    return 0;
}
/* Frees the files that no name leads to any more, readable or durable. */
static inline void crash_reclaim(struct crash_env *w) {
    for (int f = 0; f < CRASH_FILES; f++) {
        struct crash_inode *inode = &w->inodes[f];
        bool named = false;
        for (int i = 0; i < CRASH_FILES; i++) {
            named = named || w->names[i].inode == f || w->durable_names[i].inode == f;
        }
        if (!named && inode->cap != 0) {
            free(inode->now);
            free(inode->durable);
            free(inode->dirty);
            *inode = (struct crash_inode){0};
        }
    }
}
static inline int crash_dir_sync(struct bnd_env *env, const char *path, struct bnd_error *err) {
    struct crash_env *w = crash_of(env);
    if (w->dead || crash_op(w)) {
        return crash_dead(err);
    }
    w->syncs++;
    if (strcmp(path, w->dir) != 0) {
        w->dir_durable = true;
        return 0;
    }
    memcpy(w->durable_names, w->names, sizeof w->names);
    crash_reclaim(w);
    return 0;
}
static inline int crash_by_name(const void *a, const void *b) {
    return strcmp(a, b);
}
static inline int crash_dir_list(struct bnd_env *env, const char *path,
                                 int (*each)(void *data, const char *name), void *data,
                                 struct bnd_error *err) {
    struct crash_env *w = crash_of(env);
    static char found[CRASH_FILES][CRASH_NAME];
    size_t count = 0, prefix = strlen(path) + 1;
    for (int i = 0; i < CRASH_FILES; i++) {
        if (w->names[i].inode >= 0) {
            snprintf(found[count++], CRASH_NAME, "%s", w->names[i].name + prefix);
        }
    }
    qsort(found, count, CRASH_NAME, crash_by_name);
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < count; i++) {
        rv = each(data, found[i]);
    }
    return rv;
}
static inline int crash_rename(struct bnd_env *env, const char *from, const char *to,
                               struct bnd_error *err) {
    struct crash_env *w = crash_of(env);
    int at = crash_lookup(w, from);
    if (w->dead || at < 0 || crash_lookup(w, to) >= 0) {
        return w->dead ? crash_dead(err) : BND_FAIL(err, NOTFOUND, "rename %s to %s", from, to);
    }
    snprintf(w->names[at].name, CRASH_NAME, "%s", to);
    return crash_op(w) ? crash_dead(err) : 0;
}
static inline int crash_unlink(struct bnd_env *env, const char *path, struct bnd_error *err) {
    struct crash_env *w = crash_of(env);
    int at = crash_lookup(w, path);
    if (w->dead || at < 0) {
        return w->dead ? crash_dead(err) : BND_FAIL(err, NOTFOUND, "unlink %s", path);
    }
    w->names[at].inode = -1; /* the inode goes once no durable name is left */
    return crash_op(w) ? crash_dead(err) : 0;
}
static inline int crash_read(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io,
                             struct bnd_iov iov, uint64_t offset) {
    size_t got = 0;
    int status = crash_of(env)->read_status;
    (void)crash_pread(env, file, iov.data, iov.len, offset, &got, NULL);
    struct crash_event e = {.io = io, .status = status, .bytes = status == 0 ? got : 0};
    if (crash_of(env)->hold_reads) {
        crash_of(env)->held_read = e;
        return 0;
    }
    crash_event(crash_of(env), e);
    return 0;
}
static inline int crash_write(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io,
                              struct bnd_iov iov, uint64_t offset, unsigned flags) {
    struct crash_env *w = crash_of(env);
    struct crash_event e = {.io = io, .bytes = iov.len, .status = w->write_status};
    if (iov.len % BND_DIRECT_ALIGN != 0 || offset % BND_DIRECT_ALIGN != 0 ||
        (uintptr_t)iov.data % BND_DIRECT_ALIGN != 0 || flags != BND_WRITE_DSYNC) {
        abort(); /* the test's world accepts only what O_DIRECT does */
    }
    if (!w->dead && e.status == 0) {
        crash_store(&w->inodes[file->inode], iov.data, iov.len, offset);
        w->writes++;
        if (!crash_op(w)) {
            crash_persist(&w->inodes[file->inode], offset, iov.len);
        }
    }
    if (w->dead) {
        e.status = BND_IO;
    }
    if (w->hold_writes) {
        w->held = io;
        w->held_bytes = iov.len;
        return 0;
    }
    crash_event(w, e);
    return 0;
}

static const struct bnd_env_ops crash_ops = {
    .now_ns = crash_now,
    .random = crash_random,
    .timer_start = crash_timer_start,
    .timer_stop = crash_timer_stop,
    .defer = crash_defer,
    .work = crash_work,
    .file_open = crash_open,
    .file_close = crash_close,
    .file_size = crash_size,
    .file_pread = crash_pread,
    .file_pwrite = crash_pwrite,
    .file_sync = crash_sync,
    .dir_make = crash_dir_make,
    .dir_sync = crash_dir_sync,
    .dir_list = crash_dir_list,
    .rename = crash_rename,
    .unlink = crash_unlink,
    .file_read = crash_read,
    .file_write = crash_write,
};

/* ---- for tests
 * ----------------------------------------------------------------------------------------- */

static inline struct crash_env *crash_env_create(uint64_t seed) {
    struct crash_env *w = calloc(1, sizeof *w);
    w->env.ops = &crash_ops;
    w->now = UINT64_C(20000) * BND_MS;
    w->rng = seed;
    for (int i = 0; i < CRASH_FILES; i++) {
        w->names[i].inode = w->durable_names[i].inode = -1;
    }
    return w;
}

static inline void crash_env_destroy(struct crash_env *w) {
    for (int i = 0; i < CRASH_FILES; i++) {
        free(w->inodes[i].now);
        free(w->inodes[i].durable);
        free(w->inodes[i].dirty);
    }
    bnd_timer_heap_free(&w->timers);
    free(w);
}

/* Runs one event. False: none is left (timers apart). */
static inline bool crash_step(struct crash_env *w) {
    if (w->events_count == 0) {
        return false;
    }
    struct crash_event e = w->events[w->events_head];
    w->events_head = (w->events_head + 1) % CRASH_EVENTS;
    w->events_count--;
    w->now += 1000;
    if (e.io != NULL) {
        e.io->cb(e.io, e.status, e.bytes);
    } else if (e.work != NULL) {
        e.work->run(e.work);
        e.work->done(e.work, 0);
    } else {
        e.task->cb(e.task);
    }
    return true;
}

static inline void crash_settle(struct crash_env *w) {
    while (crash_step(w)) {
    }
}

/* Lets time pass, timers firing in order. */
static inline void crash_advance(struct crash_env *w, uint64_t ns) {
    uint64_t until = w->now + ns;
    while (bnd_timer_heap_next(&w->timers) <= until) {
        w->now = bnd_timer_heap_next(&w->timers);
        struct bnd_timer *timer = bnd_timer_heap_pop(&w->timers, w->now);
        timer->cb(timer);
        crash_settle(w);
    }
    w->now = until > w->now ? until : w->now;
}

/* Power is back: what is durable is what there is. Without a cut before: a cut now, with nothing
 * kept. After a kill the disk is as the process left it. */
static inline void crash_reboot(struct crash_env *w) {
    bool killed = w->dead && w->kill;
    w->kill = false;
    if (killed) {
        w->dead = false;
        w->cut_at = 0;
        w->ops = 0;
        return;
    }
    if (!w->dead) {
        w->keep = 0;
        crash_cut(w);
    }
    memcpy(w->names, w->durable_names, sizeof w->names);
    crash_reclaim(w);
    for (int f = 0; f < CRASH_FILES; f++) {
        struct crash_inode *inode = &w->inodes[f];
        if (inode->cap == 0) {
            continue;
        }
        memcpy(inode->now, inode->durable, inode->cap);
        inode->size = inode->durable_size;
        memset(inode->dirty, 0, inode->cap / CRASH_SECTOR);
    }
    w->dead = false;
    w->cut_at = 0;
    w->ops = 0;
}

/* The file whose name ends so, or NULL. */
static inline struct crash_inode *crash_file(struct crash_env *w, const char *name_end) {
    for (int i = 0; i < CRASH_FILES; i++) {
        size_t len = strlen(w->names[i].name), end = strlen(name_end);
        if (w->names[i].inode >= 0 && len >= end &&
            strcmp(w->names[i].name + len - end, name_end) == 0) {
            return &w->inodes[w->names[i].inode];
        }
    }
    return NULL;
}

#endif
