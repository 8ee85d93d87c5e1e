#include "node/scrub.h"

#include "base/alloc.h"
#include "engine/rocks/verify.h"
#include "node/files.h"

#include <stdio.h>

#define MAGIC "BNDSCRUB"
#define BYTES_PER_S (UINT64_C(32) << 20)
#define FIRST_MS UINT64_C(60000)
#define WAIT_MS_MAX UINT64_C(3600000)
enum { VERSION = 1 };

/* On its own: a node that stops does not wait for a read. */
struct scrub_work {
    struct bnd_work work;
    struct node_scrub *scrub; /* NULL: it has stopped */
    struct bnd_rocks_file file;
    uint64_t left_bytes; /* of this pass, the file included */
    struct bnd_env *env;
    char *data; /* owned: it may outlive the node */
    uint64_t began_ms;
    int rv;
    struct bnd_error err;
};

/* ---- how far it is ----------------------------------------------------------------------------*/

static void load(struct node_scrub *scrub) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    uint64_t now = bnd_wall_ms(scrub->env);
    scrub->began_ms = now;
    scrub->last = 0;
    if (node_file_read(scrub->env, scrub->data, "scrub", &bytes, NULL) != 0) {
        return;
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&bytes));
    struct bnd_slice magic = bnd_read_raw(&r, strlen(MAGIC));
    uint8_t version = bnd_read_u8(&r);
    uint64_t began_ms = bnd_read_u64(&r);
    uint64_t last = bnd_read_u64(&r);
    if (bnd_reader_done(&r) && bnd_slice_eq(magic, bnd_slice_str(MAGIC)) && version == VERSION &&
        began_ms <= now) {
        scrub->began_ms = began_ms;
        scrub->last = last;
    }
}

/* ---- one file ---------------------------------------------------------------------------------*/

static void wait_ms(struct node_scrub *scrub, uint64_t ms) {
    ms = ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX;
    bnd_timer_start(scrub->env, &scrub->timer, ms * BND_MS);
}

static uint64_t left_ms(const struct node_scrub *scrub) {
    uint64_t end = scrub->began_ms + scrub->pass_s * 1000;
    uint64_t now = bnd_wall_ms(scrub->env);
    return end > now ? end - now : 0;
}

/* Its share of the time that is left, by its share of the bytes. */
static uint64_t pause_ms(const struct node_scrub *scrub, const struct scrub_work *work) {
    double share = work->left_bytes == 0 ? 0 : (double)work->file.bytes / (double)work->left_bytes;
    uint64_t spread = (uint64_t)(share * (double)left_ms(scrub));
    uint64_t least = work->file.bytes * 1000 / BYTES_PER_S;
    return spread > least ? spread : least;
}

/* Where the pass is once this file is done; on the pool, as the disk may hang. */
static void save(const struct scrub_work *work) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_buf_append_str(&bytes, MAGIC);
    bnd_buf_u8(&bytes, VERSION);
    bnd_buf_u64(&bytes, work->began_ms);
    bnd_buf_u64(&bytes, work->file.number);
    if (!bytes.failed) { /* lost, a pass goes on behind an earlier file */
        (void)node_file_write(work->env, work->data, "scrub", bnd_buf_slice(&bytes), NULL);
    }
}

static void run(struct bnd_work *bnd_work) {
    struct scrub_work *work = bnd_work->data;
    work->rv = bnd_rocks_verify_file(work->file.path, &work->err);
    if (work->rv != BND_CORRUPT) {
        save(work);
    }
}

static void take(struct node_scrub *scrub, const struct scrub_work *work) {
    if (work->rv == BND_CORRUPT) {
        scrub->damaged(scrub->owner, work->err.message);
        return; /* found again until it is repaired */
    }
    if (work->rv != 0 && work->rv != BND_NOTFOUND) {
        bnd_log(scrub->env, BND_LOG_WARN, "scrub", "%s", work->err.message);
    }
    scrub->bytes += work->rv == 0 ? work->file.bytes : 0;
    scrub->last = work->file.number;
    wait_ms(scrub, work->rv == BND_NOTFOUND ? 0 : pause_ms(scrub, work));
}

static struct scrub_work *work_new(struct node_scrub *scrub) {
    struct scrub_work *work = bnd_zalloc(sizeof *work);
    char *data = bnd_strdup(scrub->data);
    if (work == NULL || data == NULL) {
        bnd_free(work);
        bnd_free(data);
        return NULL;
    }
    work->scrub = scrub;
    work->env = scrub->env;
    work->data = data;
    work->began_ms = scrub->began_ms;
    return work;
}

static void work_free(struct scrub_work *work) {
    bnd_free(work->data);
    bnd_free(work);
}

static void done(struct bnd_work *bnd_work, int status) {
    struct scrub_work *work = bnd_work->data;
    struct node_scrub *scrub = work->scrub;
    if (scrub != NULL) {
        scrub->work = NULL;
        if (status == 0) {
            take(scrub, work);
        }
    }
    work_free(work);
}

/* ---- the pass ---------------------------------------------------------------------------------*/

static void see_file(void *data, const struct bnd_rocks_file *file) {
    struct scrub_work *work = data;
    if (file->number <= work->scrub->last) {
        return;
    }
    work->left_bytes += file->bytes;
    if (work->file.number == 0 || file->number < work->file.number) {
        work->file = *file;
    }
}

static void end_pass(struct node_scrub *scrub) {
    uint64_t left = left_ms(scrub);
    if (left == 0) {
        bnd_log(scrub->env, BND_LOG_INFO, "scrub", "every table file was verified");
        scrub->began_ms = bnd_wall_ms(scrub->env);
        scrub->last = 0;
    }
    wait_ms(scrub, left == 0 ? scrub->pass_s * 10 : left); /* a hundredth: there may be no file */
}

static void on_timer(struct bnd_timer *timer) {
    struct node_scrub *scrub = timer->data;
    struct scrub_work *work = work_new(scrub);
    if (work == NULL) {
        wait_ms(scrub, FIRST_MS);
        return;
    }
    bnd_rocks_each_file(scrub->state, see_file, work);
    if (work->file.number == 0) {
        work_free(work);
        end_pass(scrub);
        return;
    }
    work->work = (struct bnd_work){.run = run, .done = done, .data = work};
    scrub->work = work;
    if (scrub->env->ops->work(scrub->env, &work->work) != 0) {
        scrub->work = NULL;
        work_free(work);
        wait_ms(scrub, FIRST_MS); /* the pool is full: not now */
    }
}

void node_scrub_start(struct node_scrub *scrub) {
    if (scrub->pass_s == 0) {
        return;
    }
    load(scrub);
    scrub->timer = (struct bnd_timer){.cb = on_timer, .data = scrub};
    wait_ms(scrub, scrub->pass_s * 10 < FIRST_MS ? scrub->pass_s * 10 : FIRST_MS);
}

void node_scrub_stop(struct node_scrub *scrub) {
    if (scrub->timer.cb != NULL) {
        bnd_timer_stop(scrub->env, &scrub->timer);
    }
    if (scrub->work != NULL) {
        scrub->work->scrub = NULL;
        scrub->work = NULL;
    }
}
