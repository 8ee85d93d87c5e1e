/* See disk.h. A look that fails changes nothing and is logged once: an error of the disk itself is
 * the journal's to meet. */
#include "node/disk.h"

#include "base/bytes.h"
#include "engine/journal/journal.h"

#define LOOK_NS (250 * BND_MS)
#define RESERVE_SEGMENTS 4u
#define RESERVE_PERCENT 5u

uint64_t node_disk_reserve(uint64_t total_bytes) {
    return RESERVE_SEGMENTS * BND_JOURNAL_SEGMENT_BYTES + total_bytes / 100 * RESERVE_PERCENT;
}

/* A bound that is left upwards only an eighth above it. */
static bool below(uint64_t free_bytes, uint64_t bound, bool was_below) {
    return free_bytes < (was_below ? bound + bound / 8 : bound);
}

enum bnd_raft_space node_disk_judge(enum bnd_raft_space before, uint64_t free_bytes,
                                    uint64_t total_bytes) {
    uint64_t reserve = node_disk_reserve(total_bytes);
    if (below(free_bytes, reserve / 2, before == BND_RAFT_SPACE_NONE)) {
        return BND_RAFT_SPACE_NONE;
    }
    return below(free_bytes, reserve, before != BND_RAFT_SPACE_OK) ? BND_RAFT_SPACE_LOW
                                                                   : BND_RAFT_SPACE_OK;
}

void node_disk_text(const struct node_disk *disk, struct bnd_buf *out) {
    static const char *const refused[] = {[BND_RAFT_SPACE_LOW] =
                                              "nearly full, only deletes are taken",
                                          [BND_RAFT_SPACE_NONE] = "full, nothing is taken"};
    if (disk->space == BND_RAFT_SPACE_OK) {
        bnd_buf_append_str(out, "ok");
        return;
    }
    bnd_buf_printf(out, "%s: %llu MiB free, %llu MiB are kept in reserve", refused[disk->space],
                   (unsigned long long)(disk->free_bytes >> 20),
                   (unsigned long long)(node_disk_reserve(disk->total_bytes) >> 20));
}

int node_disk_may_start(struct bnd_env *env, const char *path, struct bnd_error *err) {
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    int rv = env->ops->disk_space(env, path, &free_bytes, &total_bytes, err);
    if (rv == 0 && free_bytes < NODE_DISK_START_BYTES) {
        return BND_FAIL(err, NOSPACE, "data: %s has %llu MiB free, a node needs %llu MiB to start",
                        path, (unsigned long long)(free_bytes >> 20),
                        (unsigned long long)(NODE_DISK_START_BYTES >> 20));
    }
    return rv;
}

static void tell(struct node_disk *disk) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    node_disk_text(disk, &text);
    bnd_log(disk->env, disk->space == BND_RAFT_SPACE_OK ? BND_LOG_INFO : BND_LOG_ERROR, "disk",
            "%s: %.*s", disk->path, (int)text.len, (const char *)text.data);
    disk->changed(disk->owner, disk->space);
}

static void look(struct node_disk *disk) {
    struct bnd_error err = {0};
    disk->looked = disk->env->ops->disk_space(disk->env, disk->path, &disk->looked_free,
                                              &disk->looked_total, &err);
}

static void looked(struct node_disk *disk) {
    if (disk->looked != 0) {
        if (!disk->blind) {
            bnd_log(disk->env, BND_LOG_ERROR, "disk", "%s: its free space is not known: %s",
                    disk->path, bnd_code_text(disk->looked));
        }
        disk->blind = true;
        return;
    }
    disk->blind = false;
    disk->free_bytes = disk->looked_free;
    disk->total_bytes = disk->looked_total;
    enum bnd_raft_space space = node_disk_judge(disk->space, disk->free_bytes, disk->total_bytes);
    if (space != disk->space) {
        disk->space = space;
        tell(disk);
    }
}

static void look_run(struct bnd_work *work) {
    look(work->data);
}

static void look_done(struct bnd_work *work, int status) {
    struct node_disk *disk = work->data;
    disk->looking = false;
    if (disk->stopping) {
        disk->stopped(disk->stopped_data);
        return;
    }
    if (status == 0) {
        looked(disk);
    }
    bnd_timer_start(disk->env, &disk->timer, LOOK_NS);
}

static void on_timer(struct bnd_timer *timer) {
    struct node_disk *disk = timer->data;
    disk->work = (struct bnd_work){.run = look_run, .done = look_done, .data = disk};
    disk->looking = disk->env->ops->work(disk->env, &disk->work) == 0;
    if (!disk->looking) {
        bnd_timer_start(disk->env, timer, LOOK_NS); /* the pool is full */
    }
}

void node_disk_start(struct node_disk *disk) {
    disk->timer.cb = on_timer;
    disk->timer.data = disk;
    look(disk);
    looked(disk);
    bnd_timer_start(disk->env, &disk->timer, LOOK_NS);
}

void node_disk_stop(struct node_disk *disk, void (*stopped)(void *data), void *data) {
    bnd_timer_stop(disk->env, &disk->timer);
    disk->stopping = true;
    disk->stopped = stopped;
    disk->stopped_data = data;
    if (!disk->looking) {
        stopped(data);
    }
}
