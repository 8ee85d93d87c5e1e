/* What commands share that work on the contents of a cluster (r2, kv) over Cloudflare's API. */
#ifndef BND_TOOLS_REMOTE_H
#define BND_TOOLS_REMOTE_H

#include "base/bytes.h"
#include "tools/api.h"

struct tools_remote {
    struct tools_api api;
    struct bnd_buf base; /* "/client/v4/accounts/<account>/<service>", without end */
};

/* Asks for the cluster's account, so that nobody has to type it. -1: base is filled; else the exit
 * status, after telling why. The owner frees base. */
int tools_remote_open(struct tools_remote *remote, const char *service);
const char *tools_remote_flag(const struct tools_remote *remote, const char *name);

/* Prints result or, with --json, dumps it; takes it; NULL: it was told why not. print may be NULL.
 */
int tools_remote_finish(const struct tools_remote *remote, json_t *result,
                        void (*print)(const json_t *result));

/* A list of any length: printed page by page, with --json as one array. */
struct tools_listing {
    struct tools_remote *remote;
    const char *path;
    const char *query; /* what goes before the cursor: "per_page=1000" */
    const json_t *(*items)(const json_t *envelope);
    void (*print)(const json_t *item);
    void (*print_more)(const json_t *envelope); /* of a page, without --json; may be NULL */
    size_t count;
};
int tools_remote_list(struct tools_listing *list);

/* A body into a file beside the one that was named, which takes its name once it is whole and on
 * the disk. */
int tools_remote_get_file(struct tools_remote *remote, const char *path, const char *name);
/* The same of a transfer whose path is set (and header, with its data), and only into a file that
 * is not there yet; no name, or "-": to stdout. */
int tools_remote_get_new_file(struct tools_remote *remote, struct tools_transfer *transfer,
                              const char *name);

/* Percent-encoded; slashes stay if they may. */
void tools_remote_escape(struct bnd_buf *out, const char *raw, bool keep_slashes);

/* The string of a member, "" if there is none. */
const char *tools_json_text(const json_t *object, const char *key);
/* No name, or "-". */
bool tools_is_stdio(const char *file);
/* Of a regular file at its beginning; -1: not known. */
int64_t tools_file_bytes(FILE *file);
/* Both tell on stderr and return TOOLS_FAILED. */
int tools_out_of_memory(void);
int tools_system_failed(const char *what);

#endif
