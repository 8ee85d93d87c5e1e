/* bindery token create, ls, rm, join; bindery key create, ls, rm: who may do what. A secret is
 * printed once, by the command that made it. */
#include "base/bytes.h"
#include "tools/api.h"
#include "tools/commands.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TTL_DEFAULT_S = 86400, TTL_MAX_S = 2592000 };

#define PERMISSIONS_DEFAULT "object_read,object_write"
#define PERMISSIONS_ALL                                                                            \
    "object_read,object_write,bucket_admin,cluster_admin,kv_read,kv_write,kv_admin,d1_read,"       \
    "d1_write,d1_admin"
#define PERMISSIONS_HELP                                                                           \
    "object_read, object_write, bucket_admin, kv_read, kv_write, kv_admin, d1_read, d1_write, "    \
    "d1_admin, cluster_admin, all, or Cloudflare's names "                                         \
    "(\"Workers R2 Storage Read\"); default object_read,object_write"

const struct tools_verb tools_token_verbs[] = {
    {"create", "", "make an API token; it is shown this once"},
    {"ls", "", "list them, without their secrets"},
    {"rm", "ID", "revoke one"},
    {"join", "", "make a join token, for one more node or gateway"},
    {0}};
const struct tools_flag tools_token_flags[] = {
    {"label", "TEXT", "create: what it is for"},
    {"permissions", "LIST", "create: " PERMISSIONS_HELP},
    {"bucket", "NAME", "create: for this bucket only"},
    {"ttl", "SECONDS", "join: how long it can be redeemed; default a day"},
    {0}};

const struct tools_verb tools_key_verbs[] = {
    {"create", "", "make an S3 key; its secret is shown this once"},
    {"ls", "", "list them, without their secrets"},
    {"rm", "ACCESS-KEY-ID", "revoke one"},
    {0}};
const struct tools_flag tools_key_flags[] = {
    {"label", "TEXT", "create: what it is for"},
    {"permissions", "LIST", "create: " PERMISSIONS_HELP},
    {"bucket", "NAME", "create: for this bucket only"},
    {"read-only", NULL, "create: reads objects"},
    {"write", NULL, "create: reads and writes objects (default)"},
    {0}};

/* What tells API tokens and S3 keys apart. */
struct kind {
    const char *path;
    const char *id; /* the name in answers of what is shown and revoked by */
    const char *secret;
    const char *heading;
};

struct call {
    const struct kind *kind;
    struct tools_api api;
};

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

/* Prints the result as JSON if that was asked for, else by `print`; result NULL: it has been told
 * why. Takes result. */
static int finish(const struct call *call, json_t *result,
                  void (*print)(const struct call *call, const json_t *result)) {
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (call->api.json) {
        tools_api_print(result);
    } else {
        print(call, result);
    }
    json_decref(result);
    return TOOLS_OK;
}

/* ---- create
 * --------------------------------------------------------------------------------------------- */

/* "object-read,bucket_admin" as a JSON list. */
static json_t *permissions_list(const char *given) {
    json_t *list = json_array();
    const char *rest = given == NULL               ? PERMISSIONS_DEFAULT
                       : strcmp(given, "all") == 0 ? PERMISSIONS_ALL
                                                   : given;
    while (*rest != 0) {
        char name[64] = "";
        size_t len = strcspn(rest, ",");
        for (size_t i = 0; i < len && i < sizeof name - 1; i++) {
            name[i] = rest[i] == '-' ? '_' : rest[i];
        }
        (void)json_array_append_new(list, json_string(name)); /* without memory: refused there */
        rest += len + (rest[len] == ',');
    }
    return list;
}

static void print_created(const struct call *call, const json_t *result) {
    (void)printf("%s %s\n%s %s\n", call->kind->id, text(result, call->kind->id), call->kind->secret,
                 text(result, call->kind->secret));
    (void)fprintf(stderr, "The secret is shown this once and kept nowhere.\n");
}

static int create(struct call *call) {
    const char *label = tools_args_flag(&call->api.args, "label");
    const char *bucket = tools_args_flag(&call->api.args, "bucket");
    const char *permissions = tools_args_flag(&call->api.args, "permissions");
    bool read_only = tools_args_flag(&call->api.args, "read-only") != NULL;
    bool write = tools_args_flag(&call->api.args, "write") != NULL;
    if (read_only + write + (permissions != NULL) > 1) {
        return tools_usage(call->api.args.command->name,
                           "--read-only, --write and --permissions exclude each other");
    }
    json_t *body = json_pack("{s:s, s:o}", "label", label == NULL ? "" : label, "permissions",
                             permissions_list(read_only ? "object_read" : permissions));
    if (bucket != NULL) {
        (void)json_object_set_new(body, "bucket", json_string(bucket)); /* NULL: see below */
    }
    char *sent = bucket != NULL && json_object_get(body, "bucket") == NULL
                     ? NULL
                     : json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (sent == NULL) {
        (void)fprintf(stderr, "bindery: a flag is not UTF-8, or out of memory\n");
        return TOOLS_FAILED;
    }
    int status =
        finish(call, tools_api_call(&call->api, "POST", call->kind->path, sent), print_created);
    free(sent);
    return status;
}

/* ---- ls, rm, join
 * --------------------------------------------------------------------------------------- */

static void print_list(const struct call *call, const json_t *list) {
    size_t i = 0;
    json_t *item = NULL;
    (void)printf("%-33s %-25s %-20s %s\n", call->kind->heading, "CREATED", "LABEL",
                 "PERMISSIONS (BUCKET)");
    json_array_foreach(list, i, item) {
        size_t j = 0;
        json_t *name = NULL;
        (void)printf("%-33s %-25s %-20s ", text(item, call->kind->id), text(item, "created"),
                     text(item, "label"));
        json_array_foreach(json_object_get(item, "permissions"), j, name) {
            (void)printf("%s%s", j == 0 ? "" : ",", json_string_value(name));
        }
        const char *bucket = text(item, "bucket");
        (void)printf(bucket[0] == 0 ? "\n" : " (%s)\n", bucket);
    }
}

static int list(struct call *call) {
    return finish(call, tools_api_call(&call->api, "GET", call->kind->path, NULL), print_list);
}

static void print_removed(const struct call *call, const json_t *result) {
    (void)printf("%s %s is revoked, everywhere within 2 seconds\n", call->api.args.command->name,
                 call->api.args.words[0]);
}

static int drop(struct call *call) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    char *id = curl_easy_escape(NULL, call->api.args.words[0], 0);
    bnd_buf_printf(&path, "%s/%s", call->kind->path, id == NULL ? "" : id);
    curl_free(id);
    if (id == NULL || path.failed) {
        (void)fprintf(stderr, "bindery: out of memory\n");
        return TOOLS_FAILED;
    }
    return finish(call, tools_api_call(&call->api, "DELETE", (const char *)path.data, NULL),
                  print_removed);
}

static void print_token(const struct call *call, const json_t *result) {
    (void)printf("%s\n", text(result, "token"));
}

static int join(struct call *call) {
    char body[64];
    long ttl_s = 0;
    if (!tools_args_number(&call->api.args, "ttl", 1, TTL_MAX_S, TTL_DEFAULT_S, &ttl_s)) {
        return TOOLS_USAGE;
    }
    (void)snprintf(body, sizeof body, "{\"ttl_s\":%ld}", ttl_s); /* fits */
    return finish(call, tools_api_call(&call->api, "POST", "/bindery/v1/join-tokens", body),
                  print_token);
}

/* ---- command lines
 * -------------------------------------------------------------------------------------- */

static int parse_and_run(int argc, const char **argv, const struct kind *kind) {
    static const struct {
        const char *verb;
        int (*run)(struct call *call);
    } all[] = {{"create", create}, {"ls", list}, {"rm", drop}, {"join", join}};
    struct call call = {.kind = kind};
    int status = tools_api_parse(argc, argv, &call.api);
    for (size_t i = 0; status == -1 && i < sizeof all / sizeof all[0]; i++) {
        if (tools_args_is(&call.api.args, all[i].verb)) {
            status = all[i].run(&call);
        }
    }
    tools_api_free(&call.api);
    return status;
}

int tools_cmd_token(int argc, const char **argv) {
    static const struct kind kind = {
        .path = "/bindery/v1/tokens", .id = "id", .secret = "token", .heading = "ID"};
    return parse_and_run(argc, argv, &kind);
}

int tools_cmd_key(int argc, const char **argv) {
    static const struct kind kind = {.path = "/bindery/v1/keys",
                                     .id = "access_key_id",
                                     .secret = "secret_access_key",
                                     .heading = "ACCESS KEY ID"};
    return parse_and_run(argc, argv, &kind);
}
