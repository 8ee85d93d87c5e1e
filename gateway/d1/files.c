#include "gateway/d1/files.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdio.h>

void d1_files_init(struct d1_files *files, struct bnd_env *env, struct gateway_front *front) {
    files->env = env;
    files->front = front;
    files->count = 0;
    bnd_list_init(&files->list);
}

void d1_file_clear(struct d1_files *files, struct d1_file *file) {
    bnd_buf_free(&file->bytes);
    gateway_discharge(files->front, file->charged);
    file->charged = 0;
    file->whole = false;
}

void d1_file_drop(struct d1_files *files, struct d1_file *file) {
    BND_ASSERT(!file->busy);
    d1_file_clear(files, file);
    bnd_link_remove(&file->link);
    files->count--;
    bnd_free(file);
}

static void drop_old(struct d1_files *files) {
    uint64_t now = bnd_now_ns(files->env);
    struct bnd_link *link = files->list.next;
    while (link != &files->list) {
        struct d1_file *file = BND_CONTAINER(link, struct d1_file, link);
        link = link->next;
        if (!file->busy && now - file->since_ns > D1_FILE_KEPT_NS) {
            d1_file_drop(files, file);
        }
    }
}

void d1_files_free(struct d1_files *files) {
    while (files->list.next != &files->list) {
        d1_file_drop(files, BND_CONTAINER(files->list.next, struct d1_file, link));
    }
}

struct d1_file *d1_file_open(struct d1_files *files, const uint8_t uuid[BND_SQL_UUID_BYTES],
                             const char *etag) {
    uint8_t id[(D1_FILE_ID_TEXT - 1) / 2];
    drop_old(files);
    struct d1_file *file = files->count == D1_FILES_MAX ? NULL : bnd_zalloc(sizeof *file);
    if (file == NULL) {
        return NULL;
    }
    files->env->ops->random_secret(files->env, id, sizeof id);
    bnd_hex_encode(id, sizeof id, file->id);
    memcpy(file->uuid, uuid, sizeof file->uuid);
    (void)snprintf(file->etag, sizeof file->etag, "%s", etag); /* of this length */
    file->bytes_max = etag[0] == 0 ? D1_EXPORT_BYTES_MAX : D1_IMPORT_BYTES_MAX;
    file->since_ns = bnd_now_ns(files->env);
    bnd_list_push(&files->list, &file->link);
    files->count++;
    return file;
}

struct d1_file *d1_file_find(struct d1_files *files, struct bnd_slice id) {
    drop_old(files);
    for (struct bnd_link *link = files->list.next; link != &files->list; link = link->next) {
        struct d1_file *file = BND_CONTAINER(link, struct d1_file, link);
        if (bnd_slice_eq(bnd_slice_str(file->id), id)) {
            return file;
        }
    }
    return NULL;
}

int d1_file_take(struct d1_files *files, struct d1_file *file, struct bnd_slice bytes) {
    if (file->bytes.len + bytes.len > file->bytes_max) {
        return BND_TOOBIG;
    }
    bnd_buf_append_slice(&file->bytes, bytes);
    if (file->bytes.failed) {
        return BND_NOMEM;
    }
    size_t held = file->bytes.cap;
    int rv = held <= file->charged ? 0 : gateway_charge(files->front, held - file->charged);
    file->charged = rv == 0 && held > file->charged ? held : file->charged;
    return rv;
}
