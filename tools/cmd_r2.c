/* bindery r2: buckets and objects, over the REST port of a node (Cloudflare's API v4, as wrangler
 * uses it). Bodies are streamed both ways; a file that is got appears whole or not at all. */
#include "base/bytes.h"
#include "tools/api.h"
#include "tools/commands.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENTS_MAX = 16, PAGE = 1000 };

const struct tools_verb tools_r2_verbs[] = {
    {"bucket create", "BUCKET", "make a bucket"},
    {"bucket ls", "", "list the buckets"},
    {"bucket info", "BUCKET", "one bucket"},
    {"bucket rm", "BUCKET", "delete an empty bucket"},
    {"object ls", "BUCKET", "list objects"},
    {"object put", "BUCKET/KEY [FILE]", "store a file, or stdin (FILE - or none)"},
    {"object get", "BUCKET/KEY [FILE]", "fetch into a file, or to stdout (FILE - or none)"},
    {"object head", "BUCKET/KEY", "an object's size, etag and headers"},
    {"object rm", "BUCKET/KEY", "delete an object"},
    {0}};
const struct tools_flag tools_r2_flags[] = {
    {"path-segments", "N",
     "bucket create: keys with the same first N segments share a shard; 5 for workerd's cluster "
     "mode"},
    {"prefix", "TEXT", "object ls: only keys that begin with it"},
    {"delimiter", "TEXT", "object ls: fold keys that go on behind it into one line"},
    {"content-type", "TYPE", "object put: its Content-Type"},
    {"storage-class", "CLASS", "object put: Standard or InfrequentAccess"},
    {0}};

struct r2 {
    struct tools_api api;
    struct bnd_buf base; /* "/client/v4/accounts/<account>/r2/buckets", without end */
};

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static const char *flag(const struct r2 *r2, const char *name) {
    return tools_args_flag(&r2->api.args, name);
}

/* ---- paths
 * ------------------------------------------------------------------------------------------------
 */

/* Percent-encoded; slashes stay if they may. */
static void escape(struct bnd_buf *out, const char *raw, bool keep_slashes) {
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

static int out_of_memory(void) {
    (void)fprintf(stderr, "bindery: out of memory\n");
    return TOOLS_FAILED;
}

/* base/<bucket>, owned; NULL: no memory, it was told. */
static char *bucket_path(const struct r2 *r2, const char *bucket, const char *more) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    bnd_buf_append(&path, r2->base.data, r2->base.len);
    bnd_buf_append_str(&path, "/");
    escape(&path, bucket, false);
    bnd_buf_append_str(&path, more);
    bnd_buf_u8(&path, 0);
    char *copy = path.failed ? NULL : strdup((const char *)path.data);
    if (copy == NULL) {
        (void)out_of_memory();
    }
    return copy;
}

/* base/<bucket>/objects/<key> of the first word; NULL: it was told why not. */
static char *object_path(const struct r2 *r2) {
    const char *name = r2->api.args.words[0];
    const char *slash = strchr(name, '/');
    BND_AUTO_BUF struct bnd_buf more = {0};
    if (slash == NULL || slash == name || slash[1] == 0) {
        (void)fprintf(stderr, "bindery: '%s' is not BUCKET/KEY\n", name);
        return NULL;
    }
    char *bucket = strndup(name, (size_t)(slash - name));
    bnd_buf_append_str(&more, "/objects/");
    escape(&more, slash + 1, true);
    bnd_buf_u8(&more, 0);
    char *path = NULL;
    if (bucket == NULL || more.failed) {
        (void)out_of_memory();
    } else {
        path = bucket_path(r2, bucket, (const char *)more.data);
    }
    free(bucket);
    return path;
}

/* The account of the API is the cluster's: asked for, so that nobody has to type it. */
static int find_account(struct r2 *r2) {
    json_t *accounts = tools_api_call(&r2->api, "GET", "/client/v4/accounts", NULL);
    if (accounts == NULL) {
        return TOOLS_FAILED;
    }
    bnd_buf_printf(&r2->base, "/client/v4/accounts/%s/r2/buckets",
                   text(json_array_get(accounts, 0), "id"));
    json_decref(accounts);
    return r2->base.failed ? out_of_memory() : -1;
}

/* ---- buckets
 * ---------------------------------------------------------------------------------------------- */

static void print_bucket(const json_t *bucket) {
    (void)printf("%-40s %s\n", text(bucket, "name"), text(bucket, "creation_date"));
}

/* Prints or, with --json, dumps; takes result; NULL: it was told why not. */
static int finish(const struct r2 *r2, json_t *result, void (*print)(const json_t *result)) {
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (r2->api.json) {
        tools_api_print(result);
    } else if (print != NULL) {
        print(result);
    }
    json_decref(result);
    return TOOLS_OK;
}

static int bucket_create(struct r2 *r2) {
    long segments = 0;
    if (!tools_args_number(&r2->api.args, "path-segments", 0, SEGMENTS_MAX, 0, &segments)) {
        return TOOLS_USAGE;
    }
    json_t *body = json_pack("{s:s, s:I}", "name", r2->api.args.words[0], "pathSegments",
                             (json_int_t)segments);
    char *sent = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (sent == NULL) {
        (void)fprintf(stderr, "bindery: the name is not UTF-8, or out of memory\n");
        return TOOLS_FAILED;
    }
    BND_AUTO_BUF struct bnd_buf path = {0};
    bnd_buf_append(&path, r2->base.data, r2->base.len);
    bnd_buf_u8(&path, 0);
    int status = path.failed
                     ? out_of_memory()
                     : finish(r2, tools_api_call(&r2->api, "POST", (const char *)path.data, sent),
                              print_bucket);
    free(sent);
    return status;
}

static int bucket_call(struct r2 *r2, const char *method, void (*print)(const json_t *result)) {
    char *path = bucket_path(r2, r2->api.args.words[0], "");
    json_t *result = path == NULL ? NULL : tools_api_call(&r2->api, method, path, NULL);
    free(path);
    return finish(r2, result, print);
}

static int bucket_info(struct r2 *r2) {
    return bucket_call(r2, "GET", print_bucket);
}

static int bucket_rm(struct r2 *r2) {
    return bucket_call(r2, "DELETE", NULL);
}

/* ---- lists
 * ------------------------------------------------------------------------------------------------
 */

/* A list of any length: printed page by page, --json as one array. */
struct listing {
    struct r2 *r2;
    const char *path;
    const char *query; /* what follows per_page and cursor; "" or begins with & */
    const json_t *(*items)(const json_t *envelope);
    void (*print)(const json_t *item);
    void (*print_more)(const json_t *envelope); /* of a page, without --json; may be NULL */
    size_t count;
};

static void print_item(struct listing *list, const json_t *item) {
    if (!list->r2->api.json) {
        list->print(item);
        return;
    }
    (void)printf("%s  ", list->count == 0 ? "[\n" : ",\n");
    (void)json_dumpf(item, stdout, JSON_COMPACT | JSON_ENCODE_ANY); /* as printf */
    list->count++;
}

/* The next page's cursor, owned; NULL: this was the last. */
static char *print_page(struct listing *list, const json_t *envelope) {
    const json_t *items = list->items(envelope);
    for (size_t i = 0; i < json_array_size(items); i++) {
        print_item(list, json_array_get(items, i));
    }
    if (!list->r2->api.json && list->print_more != NULL) {
        list->print_more(envelope);
    }
    const char *cursor = text(json_object_get(envelope, "result_info"), "cursor");
    return cursor[0] == 0 ? NULL : strdup(cursor);
}

static int run_listing(struct listing *list) {
    char *cursor = NULL;
    bool failed = false;
    do {
        BND_AUTO_BUF struct bnd_buf path = {0};
        bnd_buf_printf(&path, "%s?per_page=%d%s", list->path, PAGE, list->query);
        if (cursor != NULL) {
            bnd_buf_append_str(&path, "&cursor=");
            escape(&path, cursor, false);
        }
        bnd_buf_u8(&path, 0);
        free(cursor);
        cursor = NULL;
        json_t *envelope =
            path.failed ? NULL : tools_api_envelope(&list->r2->api, (const char *)path.data);
        failed = envelope == NULL;
        cursor = failed ? NULL : print_page(list, envelope);
        json_decref(envelope);
    } while (cursor != NULL);
    if (list->r2->api.json && !failed) {
        (void)printf("%s]\n", list->count == 0 ? "[" : "\n");
    }
    return failed ? TOOLS_FAILED : TOOLS_OK;
}

static const json_t *buckets_of(const json_t *envelope) {
    return json_object_get(json_object_get(envelope, "result"), "buckets");
}

static int bucket_ls(struct r2 *r2) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    bnd_buf_append(&path, r2->base.data, r2->base.len);
    bnd_buf_u8(&path, 0);
    struct listing list = {.r2 = r2,
                           .path = (const char *)path.data,
                           .query = "",
                           .items = buckets_of,
                           .print = print_bucket};
    return path.failed ? out_of_memory() : run_listing(&list);
}

static const json_t *objects_of(const json_t *envelope) {
    return json_object_get(envelope, "result");
}

static void print_object(const json_t *object) {
    (void)printf("%12lld  %s  %s\n", (long long)json_integer_value(json_object_get(object, "size")),
                 text(object, "last_modified"), text(object, "key"));
}

static void print_prefixes(const json_t *envelope) {
    const json_t *all = json_object_get(json_object_get(envelope, "result_info"), "delimited");
    for (size_t i = 0; i < json_array_size(all); i++) {
        (void)printf("%12s  %24s  %s\n", "-", "", json_string_value(json_array_get(all, i)));
    }
}

static int object_ls(struct r2 *r2) {
    BND_AUTO_BUF struct bnd_buf query = {0};
    static const char *const names[] = {"prefix", "delimiter"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (flag(r2, names[i]) != NULL) {
            bnd_buf_printf(&query, "&%s=", names[i]);
            escape(&query, flag(r2, names[i]), false);
        }
    }
    bnd_buf_u8(&query, 0);
    char *path = bucket_path(r2, r2->api.args.words[0], "/objects");
    struct listing list = {.r2 = r2,
                           .path = path,
                           .query = (const char *)query.data,
                           .items = objects_of,
                           .print = print_object,
                           .print_more = print_prefixes};
    int status = path == NULL ? TOOLS_FAILED : query.failed ? out_of_memory() : run_listing(&list);
    free(path);
    return status;
}

/* ---- objects
 * ---------------------------------------------------------------------------------------------- */

static int system_failed(const char *what) {
    (void)fprintf(stderr, "bindery: %s: %s\n", what, strerror(errno));
    return TOOLS_FAILED;
}

static bool is_stdio(const char *file) {
    return file == NULL || strcmp(file, "-") == 0;
}

static int64_t length_of(FILE *file) {
    struct stat stat;
    bool known = fstat(fileno(file), &stat) == 0 && S_ISREG(stat.st_mode) && ftello(file) == 0;
    return known ? (int64_t)stat.st_size : -1;
}

static int object_put(struct r2 *r2) {
    const char *name = r2->api.args.words[1];
    const char *headers[3] = {NULL};
    BND_AUTO_BUF struct bnd_buf type = {0};
    BND_AUTO_BUF struct bnd_buf class = {0};
    size_t count = 0;
    if (flag(r2, "content-type") != NULL) {
        bnd_buf_printf(&type, "Content-Type: %s", flag(r2, "content-type"));
        headers[count++] = (const char *)type.data;
    }
    if (flag(r2, "storage-class") != NULL) {
        bnd_buf_printf(&class, "cf-r2-storage-class: %s", flag(r2, "storage-class"));
        headers[count++] = (const char *)class.data;
    }
    if (type.failed || class.failed) {
        return out_of_memory();
    }
    FILE *from = is_stdio(name) ? stdin : fopen(name, "rb");
    if (from == NULL) {
        return system_failed(name);
    }
    char *path = object_path(r2);
    struct tools_transfer transfer = {.method = "PUT",
                                      .path = path,
                                      .from = from,
                                      .from_bytes = length_of(from),
                                      .headers = headers};
    json_t *result = NULL;
    if (path != NULL) {
        (void)tools_api_transfer(&r2->api, &transfer, &result); /* NULL says it, too */
    }
    free(path);
    if (from != stdin) {
        (void)fclose(from); /* read only */
    }
    return finish(r2, result, print_object);
}

/* Into a file beside the one that was named, which takes its name once it is whole. */
static int get_file(struct r2 *r2, const char *path, const char *name) {
    BND_AUTO_BUF struct bnd_buf part = {0};
    bnd_buf_printf(&part, "%s.part-%ld", name, (long)getpid());
    bnd_buf_u8(&part, 0);
    if (part.failed) {
        return out_of_memory();
    }
    const char *temporary = (const char *)part.data;
    FILE *to = fopen(temporary, "wbx");
    if (to == NULL) {
        return system_failed(temporary);
    }
    struct tools_transfer transfer = {.method = "GET", .path = path, .to = to};
    int rv = tools_api_transfer(&r2->api, &transfer, NULL);
    bool closed = fclose(to) == 0;
    int status = rv != 0 ? TOOLS_FAILED : TOOLS_OK;
    if (rv == 0 && (!closed || rename(temporary, name) != 0)) {
        status = system_failed(name);
    }
    if (status != TOOLS_OK) {
        (void)unlink(temporary); /* a part is of no use, and no harm */
    }
    return status;
}

static int object_get(struct r2 *r2) {
    const char *name = r2->api.args.words[1];
    char *path = object_path(r2);
    int status = TOOLS_FAILED;
    if (path != NULL && !is_stdio(name)) {
        status = get_file(r2, path, name);
    } else if (path != NULL) {
        struct tools_transfer transfer = {.method = "GET", .path = path, .to = stdout};
        status = tools_api_transfer(&r2->api, &transfer, NULL) == 0 ? TOOLS_OK : TOOLS_FAILED;
        if (status == TOOLS_OK && fflush(stdout) != 0) {
            status = system_failed("stdout");
        }
    }
    free(path);
    return status;
}

/* Hop-by-hop headers say nothing of the object. */
static void take_header(void *headers, const char *name, const char *value) {
    static const char *const dull[] = {"date", "connection", "server", "keep-alive"};
    for (size_t i = 0; i < sizeof dull / sizeof dull[0]; i++) {
        if (curl_strequal(name, dull[i])) {
            return;
        }
    }
    (void)json_object_set_new(headers, name, json_string(value)); /* not UTF-8: left out */
}

static void print_headers(const json_t *headers) {
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)headers, name, value) {
        (void)printf("%s: %s\n", name, json_string_value(value));
    }
}

static int object_head(struct r2 *r2) {
    char *path = object_path(r2);
    json_t *headers = json_object();
    struct tools_transfer transfer = {
        .method = "HEAD", .path = path, .header = take_header, .data = headers};
    bool found =
        path != NULL && headers != NULL && tools_api_transfer(&r2->api, &transfer, NULL) == 0;
    free(path);
    if (!found) {
        json_decref(headers);
        headers = NULL;
    }
    return finish(r2, headers, print_headers);
}

static int object_rm(struct r2 *r2) {
    char *path = object_path(r2);
    json_t *result = path == NULL ? NULL : tools_api_call(&r2->api, "DELETE", path, NULL);
    free(path);
    return finish(r2, result, NULL);
}

int tools_cmd_r2(int argc, const char **argv) {
    static const struct {
        const char *verb;
        int (*run)(struct r2 *r2);
    } all[] = {{"bucket create", bucket_create}, {"bucket ls", bucket_ls},
               {"bucket info", bucket_info},     {"bucket rm", bucket_rm},
               {"object ls", object_ls},         {"object put", object_put},
               {"object get", object_get},       {"object head", object_head},
               {"object rm", object_rm}};
    struct r2 r2 = {0};
    int status = tools_api_parse(argc, argv, &r2.api);
    status = status != -1 ? status : find_account(&r2);
    for (size_t i = 0; status == -1 && i < sizeof all / sizeof all[0]; i++) {
        if (tools_args_is(&r2.api.args, all[i].verb)) {
            status = all[i].run(&r2);
        }
    }
    bnd_buf_free(&r2.base);
    tools_api_free(&r2.api);
    return status;
}
