#include "gateway/d1/files.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "gateway/d1/load.h"
#include "gateway/d1/spool.h"

#include <stdio.h>

#define LOOK_NS (UINT64_C(10) * 1000 * BND_MS) /* for what is too old */
#define FRONT_PART 4

void d1_file_clear(struct d1_files *files, struct d1_file *file) {
    if (file->load != NULL) {
        d1_load_free(file->load);
        bnd_free(file->load);
    }
    d1_spool_close(file->spool);
    file->load = NULL;
    file->spool = NULL;
    bnd_buf_free(&file->bytes);
    gateway_discharge(files->front, file->charged);
    files->bytes -= file->charged;
    file->charged = 0;
    file->whole = false;
}

void d1_file_drop(struct d1_files *files, struct d1_file *file) {
    BND_ASSERT(!file->busy);
    d1_file_clear(files, file);
    d1_branch_end(&file->branch);
    bnd_buf_free(&file->tables);
    bnd_link_remove(&file->link);
    files->count--;
    bnd_free(file);
}

static void on_timer(struct bnd_timer *timer) {
    struct d1_files *files = timer->data;
    uint64_t now = bnd_now_ns(files->env);
    struct bnd_link *link = files->list.next;
    while (link != &files->list) {
        struct d1_file *file = BND_CONTAINER(link, struct d1_file, link);
        link = link->next;
        bool loading = file->load != NULL && file->load->state == D1_LOADING;
        if (file->load != NULL && !loading) { /* its end is told for a while, its bytes are not */
            d1_spool_close(file->spool);
            file->spool = NULL;
        }
        if (file->busy || loading) {
            file->used_ns = now;
        } else if (now - file->used_ns >= D1_FILE_KEPT_NS) {
            d1_file_drop(files, file);
        }
    }
    if (files->count > 0) {
        bnd_timer_start(files->env, timer, LOOK_NS);
    }
}

/* The oldest one that was got makes room. False: there is none. */
static bool drop_got(struct d1_files *files) {
    for (struct bnd_link *link = files->list.next; link != &files->list; link = link->next) {
        struct d1_file *file = BND_CONTAINER(link, struct d1_file, link);
        if (file->got && !file->busy) {
            d1_file_drop(files, file);
            return true;
        }
    }
    return false;
}

void d1_files_init(struct d1_files *files, struct bnd_env *env, struct gateway_front *front) {
    files->env = env;
    files->front = front;
    files->count = files->bytes = 0;
    bnd_list_init(&files->list);
    files->timer = (struct bnd_timer){.cb = on_timer, .data = files};
}

void d1_files_free(struct d1_files *files) {
    bnd_timer_stop(files->env, &files->timer);
    while (files->list.next != &files->list) {
        d1_file_drop(files, BND_CONTAINER(files->list.next, struct d1_file, link));
    }
}

struct d1_file *d1_file_open(struct d1_files *files, const uint8_t uuid[BND_SQL_UUID_BYTES],
                             const char *etag) {
    uint8_t id[(D1_FILE_ID_TEXT - 1) / 2];
    bool room = files->count < D1_FILES_MAX || drop_got(files);
    struct d1_file *file = room ? bnd_zalloc(sizeof *file) : NULL;
    if (file == NULL) {
        return NULL;
    }
    if (files->count == 0) {
        bnd_timer_start(files->env, &files->timer, LOOK_NS);
    }
    files->env->ops->random_secret(files->env, id, sizeof id);
    bnd_hex_encode(id, sizeof id, file->id);
    memcpy(file->uuid, uuid, sizeof file->uuid);
    (void)snprintf(file->etag, sizeof file->etag, "%s", etag); /* of this length */
    file->used_ns = bnd_now_ns(files->env);
    bnd_list_push(&files->list, &file->link);
    files->count++;
    return file;
}

struct d1_file *d1_file_find(struct d1_files *files, struct bnd_slice id) {
    for (struct bnd_link *link = files->list.next; link != &files->list; link = link->next) {
        struct d1_file *file = BND_CONTAINER(link, struct d1_file, link);
        if (bnd_slice_eq(bnd_slice_str(file->id), id)) {
            return file;
        }
    }
    return NULL;
}

struct d1_file *d1_file_loading(struct d1_files *files, const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct d1_file *found = NULL;
    for (struct bnd_link *link = files->list.next; link != &files->list; link = link->next) {
        struct d1_file *file = BND_CONTAINER(link, struct d1_file, link);
        if (file->load != NULL && memcmp(file->uuid, uuid, sizeof file->uuid) == 0) {
            found = file;
        }
    }
    return found;
}

uint64_t d1_files_to_come(const struct d1_files *files) {
    uint64_t bytes = 0;
    for (struct bnd_link *link = files->list.next; link != &files->list; link = link->next) {
        const struct d1_file *file = BND_CONTAINER(link, struct d1_file, link);
        if (file->spool != NULL && !file->whole) {
            bytes += file->spool->bytes_max - file->spool->size;
        }
    }
    return bytes;
}

static int charge(struct d1_files *files, struct d1_file *file, size_t bytes) {
    size_t bytes_max = files->front->bytes_max / FRONT_PART;
    do {
        if (bytes <= bytes_max - files->bytes && gateway_charge(files->front, bytes) == 0) {
            files->bytes += bytes;
            file->charged += bytes;
            return 0;
        }
    } while (drop_got(files));
    return BND_FULL;
}

int d1_file_take(struct d1_files *files, struct d1_file *file, struct bnd_slice bytes) {
    if (file->bytes.len + bytes.len > D1_IMPORT_MEMORY_MAX) {
        return BND_TOOBIG;
    }
    bnd_buf_append_slice(&file->bytes, bytes);
    if (file->bytes.failed) {
        return BND_NOMEM;
    }
    size_t held = file->bytes.cap;
    return held > file->charged ? charge(files, file, held - file->charged) : 0;
}
