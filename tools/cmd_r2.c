/* bindery r2: buckets and objects, over the REST port of a node (Cloudflare's API v4, as wrangler
 * uses it). Bodies are streamed both ways; a file that is got appears whole or not at all. */
#include "base/bytes.h"
#include "tools/commands.h"
#include "tools/remote.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENTS_MAX = 16 };

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

/* ---- paths
 * ------------------------------------------------------------------------------------------------
 */

/* base/<bucket>, owned; NULL: no memory, it was told. */
static char *bucket_path(const struct tools_remote *r2, const char *bucket, const char *more) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    bnd_buf_append(&path, r2->base.data, r2->base.len);
    bnd_buf_append_str(&path, "/");
    tools_remote_escape(&path, bucket, false);
    bnd_buf_append_str(&path, more);
    bnd_buf_u8(&path, 0);
    char *copy = path.failed ? NULL : strdup((const char *)path.data);
    if (copy == NULL) {
        (void)tools_out_of_memory();
    }
    return copy;
}

/* base/<bucket>/objects/<key> of the first word; NULL: it was told why not. */
static char *object_path(const struct tools_remote *r2) {
    const char *name = r2->api.args.words[0];
    const char *slash = strchr(name, '/');
    BND_AUTO_BUF struct bnd_buf more = {0};
    if (slash == NULL || slash == name || slash[1] == 0) {
        (void)fprintf(stderr, "bindery: '%s' is not BUCKET/KEY\n", name);
        return NULL;
    }
    char *bucket = strndup(name, (size_t)(slash - name));
    bnd_buf_append_str(&more, "/objects/");
    tools_remote_escape(&more, slash + 1, true);
    bnd_buf_u8(&more, 0);
    char *path = NULL;
    if (bucket == NULL || more.failed) {
        (void)tools_out_of_memory();
    } else {
        path = bucket_path(r2, bucket, (const char *)more.data);
    }
    free(bucket);
    return path;
}

/* ---- buckets
 * ---------------------------------------------------------------------------------------------- */

static void print_bucket(const json_t *bucket) {
    (void)printf("%-40s %s\n", tools_json_text(bucket, "name"),
                 tools_json_text(bucket, "creation_date"));
}

static int bucket_create(struct tools_remote *r2) {
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
                     ? tools_out_of_memory()
                     : tools_remote_finish(
                           r2, tools_api_call(&r2->api, "POST", (const char *)path.data, sent),
                           print_bucket);
    free(sent);
    return status;
}

static int bucket_call(struct tools_remote *r2, const char *method,
                       void (*print)(const json_t *result)) {
    char *path = bucket_path(r2, r2->api.args.words[0], "");
    json_t *result = path == NULL ? NULL : tools_api_call(&r2->api, method, path, NULL);
    free(path);
    return tools_remote_finish(r2, result, print);
}

static int bucket_info(struct tools_remote *r2) {
    return bucket_call(r2, "GET", print_bucket);
}

static int bucket_rm(struct tools_remote *r2) {
    return bucket_call(r2, "DELETE", NULL);
}

/* ---- lists
 * ------------------------------------------------------------------------------------------------
 */

static const json_t *buckets_of(const json_t *envelope) {
    return json_object_get(json_object_get(envelope, "result"), "buckets");
}

static int bucket_ls(struct tools_remote *r2) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    bnd_buf_append(&path, r2->base.data, r2->base.len);
    bnd_buf_u8(&path, 0);
    struct tools_listing list = {.remote = r2,
                                 .path = (const char *)path.data,
                                 .query = "per_page=1000",
                                 .items = buckets_of,
                                 .print = print_bucket};
    return path.failed ? tools_out_of_memory() : tools_remote_list(&list);
}

static const json_t *objects_of(const json_t *envelope) {
    return json_object_get(envelope, "result");
}

static void print_object(const json_t *object) {
    (void)printf("%12lld  %s  %s\n", (long long)json_integer_value(json_object_get(object, "size")),
                 tools_json_text(object, "last_modified"), tools_json_text(object, "key"));
}

static void print_prefixes(const json_t *envelope) {
    const json_t *all = json_object_get(json_object_get(envelope, "result_info"), "delimited");
    for (size_t i = 0; i < json_array_size(all); i++) {
        (void)printf("%12s  %24s  %s\n", "-", "", json_string_value(json_array_get(all, i)));
    }
}

static int object_ls(struct tools_remote *r2) {
    BND_AUTO_BUF struct bnd_buf query = {0};
    static const char *const names[] = {"prefix", "delimiter"};
    bnd_buf_append_str(&query, "per_page=1000");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (tools_remote_flag(r2, names[i]) != NULL) {
            bnd_buf_printf(&query, "&%s=", names[i]);
            tools_remote_escape(&query, tools_remote_flag(r2, names[i]), false);
        }
    }
    bnd_buf_u8(&query, 0);
    char *path = bucket_path(r2, r2->api.args.words[0], "/objects");
    struct tools_listing list = {.remote = r2,
                                 .path = path,
                                 .query = (const char *)query.data,
                                 .items = objects_of,
                                 .print = print_object,
                                 .print_more = print_prefixes};
    int status = path == NULL   ? TOOLS_FAILED
                 : query.failed ? tools_out_of_memory()
                                : tools_remote_list(&list);
    free(path);
    return status;
}

/* ---- objects
 * ---------------------------------------------------------------------------------------------- */

static int object_put(struct tools_remote *r2) {
    const char *name = r2->api.args.words[1];
    const char *headers[3] = {NULL};
    BND_AUTO_BUF struct bnd_buf type = {0};
    BND_AUTO_BUF struct bnd_buf class = {0};
    size_t count = 0;
    if (tools_remote_flag(r2, "content-type") != NULL) {
        bnd_buf_printf(&type, "Content-Type: %s", tools_remote_flag(r2, "content-type"));
        headers[count++] = (const char *)type.data;
    }
    if (tools_remote_flag(r2, "storage-class") != NULL) {
        bnd_buf_printf(&class, "cf-r2-storage-class: %s", tools_remote_flag(r2, "storage-class"));
        headers[count++] = (const char *)class.data;
    }
    if (type.failed || class.failed) {
        return tools_out_of_memory();
    }
    FILE *from = tools_is_stdio(name) ? stdin : fopen(name, "rb");
    if (from == NULL) {
        return tools_system_failed(name);
    }
    char *path = object_path(r2);
    struct tools_transfer transfer = {.method = "PUT",
                                      .path = path,
                                      .from = from,
                                      .from_bytes = tools_file_bytes(from),
                                      .headers = headers};
    json_t *result = NULL;
    if (path != NULL) {
        (void)tools_api_transfer(&r2->api, &transfer, &result); /* NULL says it, too */
    }
    free(path);
    if (from != stdin) {
        (void)fclose(from); /* read only */
    }
    return tools_remote_finish(r2, result, print_object);
}

static int object_get(struct tools_remote *r2) {
    const char *name = r2->api.args.words[1];
    char *path = object_path(r2);
    int status = TOOLS_FAILED;
    if (path != NULL && !tools_is_stdio(name)) {
        status = tools_remote_get_file(r2, path, name);
    } else if (path != NULL) {
        struct tools_transfer transfer = {.method = "GET", .path = path, .to = stdout};
        status = tools_api_transfer(&r2->api, &transfer, NULL) == 0 ? TOOLS_OK : TOOLS_FAILED;
        if (status == TOOLS_OK && fflush(stdout) != 0) {
            status = tools_system_failed("stdout");
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

static int object_head(struct tools_remote *r2) {
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
    return tools_remote_finish(r2, headers, print_headers);
}

static int object_rm(struct tools_remote *r2) {
    char *path = object_path(r2);
    json_t *result = path == NULL ? NULL : tools_api_call(&r2->api, "DELETE", path, NULL);
    free(path);
    return tools_remote_finish(r2, result, NULL);
}

int tools_cmd_r2(int argc, const char **argv) {
    static const struct {
        const char *verb;
        int (*run)(struct tools_remote *r2);
    } all[] = {{"bucket create", bucket_create}, {"bucket ls", bucket_ls},
               {"bucket info", bucket_info},     {"bucket rm", bucket_rm},
               {"object ls", object_ls},         {"object put", object_put},
               {"object get", object_get},       {"object head", object_head},
               {"object rm", object_rm}};
    struct tools_remote r2 = {0};
    int status = tools_api_parse(argc, argv, &r2.api);
    status = status != -1 ? status : tools_remote_open(&r2, "r2/buckets");
    for (size_t i = 0; status == -1 && i < sizeof all / sizeof all[0]; i++) {
        if (tools_args_is(&r2.api.args, all[i].verb)) {
            status = all[i].run(&r2);
        }
    }
    bnd_buf_free(&r2.base);
    tools_api_free(&r2.api);
    return status;
}
