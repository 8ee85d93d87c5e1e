/* bindery kv: namespaces, keys and bulk files, over the REST port of a node (Cloudflare's API v4,
 * as wrangler uses it). A namespace is named by its id or its title. */
#include "base/bytes.h"
#include "tools/commands.h"
#include "tools/remote.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { ID_LEN = 32, PER_PAGE = 1000, BULK_GET_MAX = 100, BULK_RM_MAX = 10000, COPY_BYTES = 65536 };

const struct tools_verb tools_kv_verbs[] = {
    {"namespace create", "TITLE", "make a namespace; prints its id"},
    {"namespace ls", "", "list the namespaces"},
    {"namespace rename", "NAMESPACE TITLE", "give it another title"},
    {"namespace set", "NAMESPACE", "change its --consistency"},
    {"namespace rm", "NAMESPACE", "delete it with everything in it"},
    {"key put", "NAMESPACE KEY [FILE]", "store a file, or stdin (FILE - or none)"},
    {"key get", "NAMESPACE KEY [FILE]", "fetch into a file, or to stdout (FILE - or none)"},
    {"key rm", "NAMESPACE KEY", "delete a key"},
    {"key ls", "NAMESPACE", "list keys, in the order of their bytes"},
    {"bulk put", "NAMESPACE FILE",
     "store the pairs of a JSON file: [{\"key\", \"value\", ...}, ...]"},
    {"bulk get", "NAMESPACE FILE", "print the values of a JSON file's keys: [\"key\", ...]"},
    {"bulk rm", "NAMESPACE FILE", "delete a JSON file's keys: [\"key\", ...]"},
    {0}};
const struct tools_flag tools_kv_flags[] = {
    {"consistency", "WORD",
     "namespace create, set: eventual (default), or local: a partition's minority may write, and "
     "what it wrote is lost with its disk"},
    {"prefix", "TEXT", "key ls: only keys that begin with it"},
    {"ttl", "SECONDS", "key put: it expires after so long, at least 60"},
    {"expiration", "TIME", "key put: it expires then, in seconds since 1970"},
    {"metadata", "JSON", "key put: told with the key in lists, at most 1024 bytes"},
    {0}};

/* ---- paths
 * ------------------------------------------------------------------------------------------------
 */

struct kv {
    struct tools_remote remote;
    char id[ID_LEN + 1]; /* of the namespace that was named; "": none was */
};

static const char *word(const struct kv *kv, size_t i) {
    return kv->remote.api.args.words[i];
}

static const char *flag(const struct kv *kv, const char *name) {
    return tools_remote_flag(&kv->remote, name);
}

static bool is_id(const char *text) {
    return strlen(text) == ID_LEN && strspn(text, "0123456789abcdef") == ID_LEN;
}

/* Appends base, the namespace's id if there is one, and more. */
static void put_path(const struct kv *kv, struct bnd_buf *out, const char *more) {
    bnd_buf_append(out, kv->remote.base.data, kv->remote.base.len);
    if (kv->id[0] != 0) {
        bnd_buf_printf(out, "/%s", kv->id);
    }
    bnd_buf_append_str(out, more);
}

/* The path as text, after its last part; NULL: no memory, it was told. */
static const char *end_path(struct bnd_buf *path) {
    bnd_buf_u8(path, 0);
    if (path->failed) {
        (void)tools_out_of_memory();
        return NULL;
    }
    return (const char *)path->data;
}

static void put_key_path(const struct kv *kv, struct bnd_buf *out) {
    put_path(kv, out, "/values/");
    tools_remote_escape(out, word(kv, 1), false);
}

static json_t *call(const struct kv *kv, const char *method, const char *more, const json_t *body) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    put_path(kv, &path, more);
    char *sent = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    if (body != NULL && sent == NULL) {
        (void)fprintf(stderr, "bindery: a name is not UTF-8, or out of memory\n");
        return NULL;
    }
    const char *whole = end_path(&path);
    json_t *result = whole == NULL ? NULL : tools_api_call(&kv->remote.api, method, whole, sent);
    free(sent);
    return result;
}

/* ---- namespaces
 * ------------------------------------------------------------------------------------------------
 */

static json_t *namespace_page(const struct kv *kv, int page) {
    char more[64];
    (void)snprintf(more, sizeof more, "?per_page=%d&page=%d&order=title", PER_PAGE,
                   page); /* fits */
    return call(kv, "GET", more, NULL);
}

/* The id of the first word, which is one or a title. False: it was told that there is none. */
static bool find_namespace(struct kv *kv) {
    const char *named = word(kv, 0);
    if (is_id(named)) {
        memcpy(kv->id, named, ID_LEN + 1);
        return true;
    }
    size_t count = 1;
    for (int page = 1; count > 0; page++) {
        json_t *items = namespace_page(kv, page);
        count = json_array_size(items);
        for (size_t i = 0; i < count && kv->id[0] == 0; i++) {
            const json_t *item = json_array_get(items, i);
            if (strcmp(tools_json_text(item, "title"), named) == 0 &&
                is_id(tools_json_text(item, "id"))) {
                memcpy(kv->id, tools_json_text(item, "id"), ID_LEN + 1);
            }
        }
        bool failed = items == NULL;
        json_decref(items);
        if (failed || kv->id[0] != 0) {
            return !failed;
        }
    }
    (void)fprintf(stderr, "bindery: there is no KV namespace %s\n", named);
    return false;
}

static void print_namespace(const json_t *item) {
    (void)printf("%s  %-8s  %s\n", tools_json_text(item, "id"),
                 tools_json_text(item, "consistency"), tools_json_text(item, "title"));
}

static int namespace_create(struct kv *kv) {
    json_t *body = json_pack("{s:s}", "title", word(kv, 0));
    if (flag(kv, "consistency") != NULL && body != NULL) {
        (void)json_object_set_new(body, "consistency", json_string(flag(kv, "consistency")));
    }
    json_t *result = body == NULL ? NULL : call(kv, "POST", "", body);
    if (body == NULL) {
        (void)fprintf(stderr, "bindery: the title is not UTF-8\n");
    }
    json_decref(body);
    return tools_remote_finish(&kv->remote, result, print_namespace);
}

static int namespace_ls(struct kv *kv) {
    json_t *all = json_array();
    bool failed = all == NULL;
    for (int page = 1; !failed; page++) {
        json_t *items = namespace_page(kv, page);
        size_t count = json_array_size(items);
        failed = items == NULL || json_array_extend(all, items) != 0;
        json_decref(items);
        if (count == 0) {
            break;
        }
    }
    for (size_t i = 0; !failed && !kv->remote.api.json && i < json_array_size(all); i++) {
        print_namespace(json_array_get(all, i));
    }
    if (failed) {
        json_decref(all);
        all = NULL;
    }
    return tools_remote_finish(&kv->remote, all, NULL);
}

static int namespace_update(struct kv *kv, const char *member, const char *value) {
    json_t *body = json_pack("{s:s}", member, value);
    json_t *result = body == NULL ? NULL : call(kv, "PUT", "", body);
    if (body == NULL) {
        (void)fprintf(stderr, "bindery: %s is not UTF-8\n", member);
    }
    json_decref(body);
    return tools_remote_finish(&kv->remote, result, print_namespace);
}

static int namespace_rename(struct kv *kv) {
    return namespace_update(kv, "title", word(kv, 1));
}

static int namespace_set(struct kv *kv) {
    const char *consistency = flag(kv, "consistency");
    return consistency == NULL ? tools_usage("kv", "--consistency is missing")
                               : namespace_update(kv, "consistency", consistency);
}

static int namespace_rm(struct kv *kv) {
    return tools_remote_finish(&kv->remote, call(kv, "DELETE", "", NULL), NULL);
}

/* ---- keys
 * ------------------------------------------------------------------------------------------------
 */

static bool copy(FILE *from, FILE *to) {
    static char bytes[COPY_BYTES];
    size_t len = 0;
    while ((len = fread(bytes, 1, sizeof bytes, from)) > 0) {
        if (fwrite(bytes, 1, len, to) != len) {
            return false;
        }
    }
    return ferror(from) == 0;
}

/* The value and its metadata as form data, in a temporary file; NULL with errno. */
static FILE *make_form(FILE *value, const char *metadata, const char *boundary) {
    FILE *form = tmpfile();
    if (form == NULL) {
        return NULL;
    }
    (void)fprintf(form, "--%s\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n%s\r\n",
                  boundary, metadata);
    (void)fprintf(form, "--%s\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\n", boundary);
    bool copied = copy(value, form);
    (void)fprintf(form, "\r\n--%s--\r\n", boundary);
    if (!copied || ferror(form) != 0 || fflush(form) != 0 || fseek(form, 0, SEEK_SET) != 0) {
        (void)fclose(form);
        return NULL;
    }
    return form;
}

static int send_value(struct kv *kv, const char *path, FILE *from, const char *content_type) {
    const char *const headers[] = {content_type, NULL};
    struct tools_transfer transfer = {.method = "PUT",
                                      .path = path,
                                      .from = from,
                                      .from_bytes = tools_file_bytes(from),
                                      .headers = headers};
    json_t *result = NULL;
    (void)tools_api_transfer(&kv->remote.api, &transfer, &result); /* NULL says it, too */
    return tools_remote_finish(&kv->remote, result, NULL);
}

static int send_form(struct kv *kv, const char *path, FILE *value) {
    uint8_t bytes[16];
    char boundary[2 * sizeof bytes + 1];
    char type[96];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return tools_system_failed("getrandom");
    }
    bnd_hex_encode(bytes, sizeof bytes, boundary);
    (void)snprintf(type, sizeof type, "Content-Type: multipart/form-data; boundary=%s",
                   boundary); /* fits */
    FILE *form = make_form(value, flag(kv, "metadata"), boundary);
    if (form == NULL) {
        return tools_system_failed("temporary file");
    }
    int status = send_value(kv, path, form, type);
    (void)fclose(form); /* it is gone with this */
    return status;
}

static int key_put(struct kv *kv) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    const char *name = word(kv, 2);
    long seconds = 0;
    if (!tools_args_number(&kv->remote.api.args, "ttl", 1, LONG_MAX, 0, &seconds) ||
        !tools_args_number(&kv->remote.api.args, "expiration", 1, LONG_MAX, 0, &seconds)) {
        return TOOLS_USAGE;
    }
    put_key_path(kv, &path);
    if (flag(kv, "ttl") != NULL) {
        bnd_buf_printf(&path, "?expiration_ttl=%s", flag(kv, "ttl"));
    } else if (flag(kv, "expiration") != NULL) {
        bnd_buf_printf(&path, "?expiration=%s", flag(kv, "expiration"));
    }
    const char *whole = end_path(&path);
    if (whole == NULL) {
        return TOOLS_FAILED;
    }
    FILE *from = tools_is_stdio(name) ? stdin : fopen(name, "rb");
    if (from == NULL) {
        return tools_system_failed(name);
    }
    int status = flag(kv, "metadata") != NULL
                     ? send_form(kv, whole, from)
                     : send_value(kv, whole, from, "Content-Type: application/octet-stream");
    if (from != stdin) {
        (void)fclose(from); /* read only */
    }
    return status;
}

static int key_get(struct kv *kv) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    put_key_path(kv, &path);
    const char *whole = end_path(&path);
    if (whole == NULL) {
        return TOOLS_FAILED;
    }
    if (!tools_is_stdio(word(kv, 2))) {
        return tools_remote_get_file(&kv->remote, whole, word(kv, 2));
    }
    struct tools_transfer transfer = {.method = "GET", .path = whole, .to = stdout};
    if (tools_api_transfer(&kv->remote.api, &transfer, NULL) != 0) {
        return TOOLS_FAILED;
    }
    return fflush(stdout) == 0 ? TOOLS_OK : tools_system_failed("stdout");
}

static int key_rm(struct kv *kv) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    put_key_path(kv, &path);
    const char *whole = end_path(&path);
    json_t *result = whole == NULL ? NULL : tools_api_call(&kv->remote.api, "DELETE", whole, NULL);
    return tools_remote_finish(&kv->remote, result, NULL);
}

static const json_t *result_of(const json_t *envelope) {
    return json_object_get(envelope, "result");
}

static void print_key(const json_t *key) {
    const json_t *metadata = json_object_get(key, "metadata");
    json_int_t expiration = json_integer_value(json_object_get(key, "expiration"));
    (void)printf("%s", tools_json_text(key, "name"));
    if (expiration > 0) {
        (void)printf("  expiration=%lld", (long long)expiration);
    }
    if (metadata != NULL) {
        (void)printf("  metadata=");
        (void)json_dumpf(metadata, stdout, JSON_COMPACT | JSON_ENCODE_ANY); /* as printf */
    }
    (void)printf("\n");
}

static int key_ls(struct kv *kv) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    BND_AUTO_BUF struct bnd_buf query = {0};
    put_path(kv, &path, "/keys");
    bnd_buf_append_str(&query, "prefix=");
    if (flag(kv, "prefix") != NULL) {
        tools_remote_escape(&query, flag(kv, "prefix"), false);
    }
    const char *whole = end_path(&path);
    const char *asked = end_path(&query);
    struct tools_listing list = {.remote = &kv->remote,
                                 .path = whole,
                                 .query = asked,
                                 .items = result_of,
                                 .print = print_key};
    return whole == NULL || asked == NULL ? TOOLS_FAILED : tools_remote_list(&list);
}

/* ---- bulk files
 * ------------------------------------------------------------------------------------------------
 */

static void print_bulk(const json_t *result) {
    const json_t *failed = json_object_get(result, "unsuccessful_keys");
    (void)printf("%lld keys\n",
                 (long long)json_integer_value(json_object_get(result, "successful_key_count")));
    for (size_t i = 0; i < json_array_size(failed); i++) {
        (void)fprintf(stderr, "bindery: not stored, try again: %s\n",
                      json_string_value(json_array_get(failed, i)));
    }
}

/* Keys that were not stored make the command fail. */
static int finish_bulk(struct kv *kv, json_t *result) {
    bool all = json_array_size(json_object_get(result, "unsuccessful_keys")) == 0;
    int status = tools_remote_finish(&kv->remote, result, print_bulk);
    return status == TOOLS_OK && !all ? TOOLS_FAILED : status;
}

static int bulk_put(struct kv *kv) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    put_path(kv, &path, "/bulk");
    const char *whole = end_path(&path);
    FILE *from = whole == NULL ? NULL : fopen(word(kv, 1), "rb");
    if (from == NULL) {
        return whole == NULL ? TOOLS_FAILED : tools_system_failed(word(kv, 1));
    }
    const char *const headers[] = {"Content-Type: application/json", NULL};
    struct tools_transfer transfer = {.method = "PUT",
                                      .path = whole,
                                      .from = from,
                                      .from_bytes = tools_file_bytes(from),
                                      .headers = headers};
    json_t *result = NULL;
    (void)tools_api_transfer(&kv->remote.api, &transfer, &result); /* NULL says it, too */
    (void)fclose(from);                                            /* read only */
    return finish_bulk(kv, result);
}

/* The file's array of strings, owned; NULL: it was told what is wrong with it. */
static json_t *read_keys(const char *file) {
    json_error_t error;
    json_t *keys = json_load_file(file, JSON_ALLOW_NUL, &error);
    bool ok = json_is_array(keys);
    for (size_t i = 0; ok && i < json_array_size(keys); i++) {
        ok = json_is_string(json_array_get(keys, i));
    }
    if (keys == NULL) {
        (void)fprintf(stderr, "bindery: %s:%d: %s\n", file, error.line, error.text);
    } else if (!ok) {
        (void)fprintf(stderr, "bindery: %s: not a JSON array of strings\n", file);
    }
    if (!ok) {
        json_decref(keys);
        return NULL;
    }
    return keys;
}

/* Keys [from, from + max) of an array, owned. */
static json_t *some_keys(const json_t *keys, size_t from, size_t max) {
    json_t *some = json_array();
    for (size_t i = from; i < json_array_size(keys) && i - from < max; i++) {
        if (json_array_append(some, json_array_get(keys, i)) != 0) {
            json_decref(some);
            return NULL;
        }
    }
    return some;
}

static int bulk_get(struct kv *kv) {
    json_t *keys = read_keys(word(kv, 1));
    json_t *values = keys == NULL ? NULL : json_object();
    for (size_t i = 0; values != NULL && i < json_array_size(keys); i += BULK_GET_MAX) {
        json_t *body = json_pack("{s:o}", "keys", some_keys(keys, i, BULK_GET_MAX));
        json_t *result = body == NULL ? NULL : call(kv, "POST", "/bulk/get", body);
        if (result == NULL || json_object_update(values, json_object_get(result, "values")) != 0) {
            json_decref(values);
            values = NULL;
        }
        json_decref(result);
        json_decref(body);
    }
    json_decref(keys);
    return tools_remote_finish(&kv->remote, values, tools_api_print);
}

static int bulk_rm(struct kv *kv) {
    json_t *keys = read_keys(word(kv, 1));
    int status = keys == NULL ? TOOLS_FAILED : TOOLS_OK;
    for (size_t i = 0; status == TOOLS_OK && i < json_array_size(keys); i += BULK_RM_MAX) {
        json_t *some = some_keys(keys, i, BULK_RM_MAX);
        status = finish_bulk(kv, some == NULL ? NULL : call(kv, "POST", "/bulk/delete", some));
        json_decref(some);
    }
    json_decref(keys);
    return status;
}

int tools_cmd_kv(int argc, const char **argv) {
    static const struct {
        const char *verb;
        bool named; /* its first word is a namespace */
        int (*run)(struct kv *kv);
    } all[] = {{"namespace create", false, namespace_create},
               {"namespace ls", false, namespace_ls},
               {"namespace rename", true, namespace_rename},
               {"namespace set", true, namespace_set},
               {"namespace rm", true, namespace_rm},
               {"key put", true, key_put},
               {"key get", true, key_get},
               {"key rm", true, key_rm},
               {"key ls", true, key_ls},
               {"bulk put", true, bulk_put},
               {"bulk get", true, bulk_get},
               {"bulk rm", true, bulk_rm}};
    struct kv kv = {0};
    int status = tools_api_parse(argc, argv, &kv.remote.api);
    status = status != -1 ? status : tools_remote_open(&kv.remote, "storage/kv/namespaces");
    for (size_t i = 0; status == -1 && i < sizeof all / sizeof all[0]; i++) {
        if (tools_args_is(&kv.remote.api.args, all[i].verb)) {
            status = all[i].named && !find_namespace(&kv) ? TOOLS_FAILED : all[i].run(&kv);
        }
    }
    bnd_buf_free(&kv.remote.base);
    tools_api_free(&kv.remote.api);
    return status;
}
