/* bindery token create, ls, rm, join; bindery key create, ls, rm: who may do what. A secret is
 * printed once, by the command that made it. */
#include "base/bytes.h"
#include "tools/api.h"
#include "tools/command.h"
#include "tools/commands.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERMISSIONS_DEFAULT "object_read,object_write"
#define PERMISSIONS_ALL "object_read,object_write,bucket_admin,cluster_admin"
#define PERMISSIONS_HELP                                                                           \
    "object_read, object_write, bucket_admin, cluster_admin, all, or Cloudflare's names "          \
    "(\"Workers R2 Storage Read\"); default object_read,object_write"

/* What tells API tokens and S3 keys apart. */
struct kind {
    const char *command;
    const char *path;
    const char *id; /* the name in answers of what is shown and revoked by */
    const char *secret;
    const char *heading;
    const char *help;
    const char *const *words; /* the subcommands, ended by NULL */
    bool of_buckets;          /* may be restricted to one */
};

struct call {
    const struct kind *kind;
    struct tools_api api;
    const char *words[TOOLS_API_WORDS + 1];
    char *label; /* flags, owned; NULL: not given */
    char *permissions;
    char *bucket;
    int read_only, write; /* key: in place of permissions */
    long ttl_s; /* 0: not given */
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
    if (call->read_only + call->write + (call->permissions != NULL) > 1) {
        return tools_usage(call->kind->command,
                           "--read-only, --write and --permissions exclude each other");
    }
    const char *given = call->read_only ? "object_read" : call->permissions;
    json_t *body = json_pack("{s:s, s:o}", "label", call->label == NULL ? "" : call->label,
                             "permissions", permissions_list(given));
    if (call->bucket != NULL) {
        (void)json_object_set_new(body, "bucket", json_string(call->bucket)); /* NULL: see below */
    }
    char *sent = call->bucket != NULL && json_object_get(body, "bucket") == NULL
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
                 call->kind->of_buckets ? "PERMISSIONS (BUCKET)" : "PERMISSIONS");
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
    (void)printf("%s %s is revoked, everywhere within 2 seconds\n", call->kind->command,
                 call->words[1]);
}

static int drop(struct call *call) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    char *id = curl_easy_escape(NULL, call->words[1], 0);
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
    char body[64] = "{}";
    if (call->ttl_s != 0) {
        (void)snprintf(body, sizeof body, "{\"ttl_s\":%ld}", call->ttl_s);
    }
    return finish(call, tools_api_call(&call->api, "POST", "/bindery/v1/join-tokens", body),
                  print_token);
}

/* ---- command lines
 * -------------------------------------------------------------------------------------- */

/* rm takes a word, the others none; -1: well. */
static int check_words(const struct call *call) {
    const char *command = call->kind->command;
    if (call->words[0] == NULL) {
        return tools_usage(command, "what to do is missing: %s", call->kind->help);
    }
    bool is_rm = strcmp(call->words[0], "rm") == 0;
    if (is_rm && (call->words[1] == NULL || call->words[1][0] == 0)) {
        return tools_usage(command, "which %s is missing: its id is in `bindery %s ls`", command,
                           command);
    }
    const char *more = call->words[is_rm ? 2 : 1];
    return more == NULL ? -1 : tools_usage(command, "unexpected argument %s", more);
}

static int run(struct call *call) {
    static const struct {
        const char *name;
        int (*run)(struct call *call);
    } all[] = {{"create", create}, {"ls", list}, {"rm", drop}, {"join", join}};
    int status = check_words(call);
    if (status != -1) {
        return status;
    }
    for (const char *const *word = call->kind->words; *word != NULL; word++) {
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            if (strcmp(all[i].name, *word) == 0 && strcmp(all[i].name, call->words[0]) == 0) {
                return all[i].run(call);
            }
        }
    }
    return tools_unknown(call->kind->command, "command", call->words[0], call->kind->words);
}

static int parse_and_run(int argc, const char **argv, struct call *call, struct poptOption *own) {
    struct tools_api_usage usage = {.help = call->kind->help, .own = own};
    int status = tools_api_parse(argc, argv, &usage, &call->api, call->words);
    status = status != -1 ? status : run(call);
    tools_api_free(&call->api);
    free(call->label);
    free(call->permissions);
    free(call->bucket);
    return status;
}

int tools_cmd_token(int argc, const char **argv) {
    static const char *const words[] = {"create", "ls", "rm", "join", NULL};
    static const struct kind kind = {.command = "token",
                                     .path = "/bindery/v1/tokens",
                                     .id = "id",
                                     .secret = "token",
                                     .heading = "ID",
                                     .help = "create|ls|rm ID|join [flags]",
                                     .words = words};
    struct call call = {.kind = &kind};
    struct poptOption own[] = {
        {"label", 0, POPT_ARG_STRING, &call.label, 0, "create: what it is for", "TEXT"},
        {"permissions", 0, POPT_ARG_STRING, &call.permissions, 0, "create: " PERMISSIONS_HELP,
         "LIST"},
        {"ttl", 0, POPT_ARG_LONG, &call.ttl_s, 0,
         "join: how long it can be redeemed; default a day", "SECONDS"},
        POPT_TABLEEND};
    return parse_and_run(argc, argv, &call, own);
}

int tools_cmd_key(int argc, const char **argv) {
    static const char *const words[] = {"create", "ls", "rm", NULL};
    static const struct kind kind = {.command = "key",
                                     .path = "/bindery/v1/keys",
                                     .id = "access_key_id",
                                     .secret = "secret_access_key",
                                     .heading = "ACCESS KEY ID",
                                     .help = "create|ls|rm ACCESS-KEY-ID [flags]",
                                     .words = words,
                                     .of_buckets = true};
    struct call call = {.kind = &kind};
    struct poptOption own[] = {
        {"label", 0, POPT_ARG_STRING, &call.label, 0, "create: what it is for", "TEXT"},
        {"permissions", 0, POPT_ARG_STRING, &call.permissions, 0, "create: " PERMISSIONS_HELP,
         "LIST"},
        {"bucket", 0, POPT_ARG_STRING, &call.bucket, 0, "create: for this bucket only", "NAME"},
        {"read-only", 0, POPT_ARG_NONE, &call.read_only, 0, "create: reads objects", NULL},
        {"write", 0, POPT_ARG_NONE, &call.write, 0, "create: reads and writes objects (default)",
         NULL},
        POPT_TABLEEND};
    return parse_and_run(argc, argv, &call, own);
}
