#include "tools/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *tools_json_text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

const char *tools_remote_flag(const struct tools_remote *remote, const char *name) {
    return tools_args_flag(&remote->api.args, name);
}

int tools_out_of_memory(void) {
    (void)fprintf(stderr, "bindery: out of memory\n");
    return TOOLS_FAILED;
}

int tools_system_failed(const char *what) {
    (void)fprintf(stderr, "bindery: %s: %s\n", what, strerror(errno));
    return TOOLS_FAILED;
}

void tools_remote_escape(struct bnd_buf *out, const char *raw, bool keep_slashes) {
    for (; *raw != 0; raw++) {
        unsigned char c = (unsigned char)*raw;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c) != NULL || (keep_slashes && c == '/');
        if (plain) {
            bnd_buf_u8(out, c);
        } else {
            bnd_buf_printf(out, "%%%02X", c);
        }
    }
}

int tools_remote_open(struct tools_remote *remote, const char *service) {
    json_t *accounts = tools_api_call(&remote->api, "GET", "/client/v4/accounts", NULL);
    if (accounts == NULL) {
        return TOOLS_FAILED;
    }
    bnd_buf_printf(&remote->base, "/client/v4/accounts/%s/%s",
                   tools_json_text(json_array_get(accounts, 0), "id"), service);
    json_decref(accounts);
    return remote->base.failed ? tools_out_of_memory() : -1;
}

int tools_remote_finish(const struct tools_remote *remote, json_t *result,
                        void (*print)(const json_t *result)) {
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (remote->api.json) {
        tools_api_print(result);
    } else if (print != NULL) {
        print(result);
    }
    json_decref(result);
    return TOOLS_OK;
}

/* ---- lists
 * ------------------------------------------------------------------------------------------------
 */

static void print_item(struct tools_listing *list, const json_t *item) {
    if (!list->remote->api.json) {
        list->print(item);
        return;
    }
    (void)printf("%s  ", list->count == 0 ? "[\n" : ",\n");
    (void)json_dumpf(item, stdout, JSON_COMPACT | JSON_ENCODE_ANY); /* as printf */
    list->count++;
}

/* The next page's cursor, owned; NULL: this was the last. */
static char *print_page(struct tools_listing *list, const json_t *envelope) {
    const json_t *items = list->items(envelope);
    for (size_t i = 0; i < json_array_size(items); i++) {
        print_item(list, json_array_get(items, i));
    }
    if (!list->remote->api.json && list->print_more != NULL) {
        list->print_more(envelope);
    }
    const char *cursor = tools_json_text(json_object_get(envelope, "result_info"), "cursor");
    return cursor[0] == 0 ? NULL : strdup(cursor);
}

int tools_remote_list(struct tools_listing *list) {
    char *cursor = NULL;
    bool failed = false;
    do {
        BND_AUTO_BUF struct bnd_buf path = {0};
        bnd_buf_printf(&path, "%s?%s", list->path, list->query);
        if (cursor != NULL) {
            bnd_buf_append_str(&path, "&cursor=");
            tools_remote_escape(&path, cursor, false);
        }
        bnd_buf_u8(&path, 0);
        free(cursor);
        cursor = NULL;
        json_t *envelope =
            path.failed ? NULL : tools_api_envelope(&list->remote->api, (const char *)path.data);
        failed = envelope == NULL;
        cursor = failed ? NULL : print_page(list, envelope);
        json_decref(envelope);
    } while (cursor != NULL);
    if (list->remote->api.json && !failed) {
        (void)printf("%s]\n", list->count == 0 ? "[" : "\n");
    }
    return failed ? TOOLS_FAILED : TOOLS_OK;
}

/* ---- files
 * ------------------------------------------------------------------------------------------------
 */

bool tools_is_stdio(const char *file) {
    return file == NULL || strcmp(file, "-") == 0;
}

int64_t tools_file_bytes(FILE *file) {
    struct stat stat;
    bool known = fstat(fileno(file), &stat) == 0 && S_ISREG(stat.st_mode) && ftello(file) == 0;
    return known ? (int64_t)stat.st_size : -1;
}

/* Files appear whole or not at all: what is not on the disk has no name yet. */
static bool file_close(FILE *file) {
    bool kept = fflush(file) == 0 && fsync(fileno(file)) == 0;
    int why = errno;
    bool closed = fclose(file) == 0;
    errno = kept ? errno : why;
    return kept && closed;
}

/* The name itself on the disk: what cannot do that (some file systems) does not fail for it. */
static void keep_name(const char *name) {
    BND_AUTO_BUF struct bnd_buf directory = {0};
    bnd_buf_append(&directory, name, strlen(name) + 1);
    int at = directory.failed ? -1 : open(dirname((char *)directory.data), O_RDONLY | O_DIRECTORY);
    if (at >= 0) {
        (void)fsync(at);
        (void)close(at);
    }
}

/* A link, unlike a rename, takes no name that is another's. Where there are no links, one that
 * comes in the moment between is replaced. */
static int take_new_name(const char *temporary, const char *name) {
    if (link(temporary, name) == 0) {
        (void)unlink(temporary); /* a second name of it, and no harm */
        return 0;
    }
    if (errno != EPERM && errno != EOPNOTSUPP) {
        return -1;
    }
    if (access(name, F_OK) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(temporary, name);
}

static int get_file(struct tools_remote *remote, struct tools_transfer *transfer, const char *name,
                    int (*take_name)(const char *temporary, const char *name)) {
    BND_AUTO_BUF struct bnd_buf part = {0};
    bnd_buf_printf(&part, "%s.part-%ld", name, (long)getpid());
    bnd_buf_u8(&part, 0);
    if (part.failed) {
        return tools_out_of_memory();
    }
    const char *temporary = (const char *)part.data;
    transfer->to = fopen(temporary, "wbx");
    if (transfer->to == NULL) {
        return tools_system_failed(temporary);
    }
    int rv = tools_api_transfer(&remote->api, transfer, NULL);
    bool closed = file_close(transfer->to);
    int status = rv != 0 ? TOOLS_FAILED : TOOLS_OK;
    if (rv == 0 && (!closed || take_name(temporary, name) != 0)) {
        status = tools_system_failed(name);
    }
    if (status == TOOLS_OK) {
        keep_name(name);
    } else {
        (void)unlink(temporary); /* a part is of no use, and no harm */
    }
    return status;
}

int tools_remote_get_file(struct tools_remote *remote, const char *path, const char *name) {
    struct tools_transfer transfer = {.method = "GET", .path = path};
    return get_file(remote, &transfer, name, rename);
}

int tools_remote_get_new_file(struct tools_remote *remote, struct tools_transfer *transfer,
                              const char *name) {
    transfer->method = "GET";
    if (tools_is_stdio(name)) {
        transfer->to = stdout;
        int rv = tools_api_transfer(&remote->api, transfer, NULL);
        return rv != 0               ? TOOLS_FAILED
               : fflush(stdout) != 0 ? tools_system_failed("stdout")
                                     : TOOLS_OK;
    }
    if (access(name, F_OK) == 0) { /* told before anything is fetched */
        errno = EEXIST;
        return tools_system_failed(name);
    }
    return get_file(remote, transfer, name, take_new_name);
}
