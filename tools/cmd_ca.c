/* bindery ca: the cluster's CA and how far its change is; ca rotate and ca finish, the two steps of
 * a change; ca pem, what clients are to trust. */
#include "tools/api.h"
#include "tools/commands.h"

#include <stdio.h>

const struct tools_verb tools_ca_verbs[] = {
    {"rotate", "",
     "first step: a new CA, trusted beside the old one; members get certificates of it"},
    {"finish", "", "second step: the old CA is trusted no more; the client ports show the new one"},
    {"pem", "", "print the certificates that clients are to trust"},
    {0}};
const struct tools_flag tools_ca_flags[] = {
    {"force", NULL, "finish: also if members lack certificates; they are shut out for ever"}, {0}};

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static void print_ca(const char *name, const json_t *ca) {
    if (json_is_object(ca)) {
        (void)printf("%-8s sha256 %s, ends %s\n", name, text(ca, "sha256"), text(ca, "expires"));
    }
}

static void print_picture(const json_t *picture) {
    const json_t *members = json_object_get(picture, "members");
    size_t i = 0;
    size_t ready = 0;
    json_t *member = NULL;
    print_ca("CA", json_object_get(picture, "ca"));
    print_ca("old CA", json_object_get(picture, "old"));
    if (!json_is_true(json_object_get(picture, "rotating"))) {
        (void)printf("no change is under way\n");
        return;
    }
    json_array_foreach(members, i, member) {
        bool has = json_is_true(json_object_get(member, "ready"));
        ready += has;
        if (!has) {
            (void)printf("  %s %lld at %s has no certificate of the new CA yet\n",
                         text(member, "role"),
                         (long long)json_integer_value(json_object_get(member, "id")),
                         text(member, "address"));
        }
    }
    (void)printf("%zu of %zu members have certificates of the new CA\n", ready,
                 json_array_size(members));
    (void)printf(ready == json_array_size(members)
                     ? "when every client trusts both (`bindery ca pem`): `bindery ca finish`\n"
                     : "members that are down get theirs when they are back\n");
}

static int show(const struct tools_api *api) {
    json_t *picture = tools_api_call(api, "GET", "/bindery/v1/ca", NULL);
    if (picture == NULL) {
        return TOOLS_FAILED;
    }
    if (tools_args_is(&api->args, "pem")) {
        (void)printf("%s%s", text(json_object_get(picture, "ca"), "pem"),
                     text(json_object_get(picture, "old"), "pem"));
    } else if (api->json) {
        tools_api_print(picture);
    } else {
        print_picture(picture);
    }
    json_decref(picture);
    return TOOLS_OK;
}

static int step(const struct tools_api *api, const char *path, const char *body, const char *done) {
    json_t *result = tools_api_call(api, "POST", path, body);
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (api->json) {
        tools_api_print(result);
    } else {
        (void)printf("%s\n", done);
    }
    json_decref(result);
    return TOOLS_OK;
}

static int run(const struct tools_api *api) {
    bool force = tools_args_flag(&api->args, "force") != NULL;
    if (tools_args_is(&api->args, "rotate")) {
        return step(api, "/bindery/v1/ca/rotate", "{}",
                    "A new CA is trusted beside the old one; members get certificates of it by "
                    "themselves.\nGive clients the output of `bindery ca pem`, look at `bindery "
                    "ca`, then `bindery ca finish`.");
    }
    if (tools_args_is(&api->args, "finish")) {
        return step(
            api, "/bindery/v1/ca/finish", force ? "{\"force\":true}" : "{}",
            "The old CA is trusted no more, and join tokens made before the change are void.");
    }
    return show(api);
}

int tools_cmd_ca(int argc, const char **argv) {
    struct tools_api api;
    int status = tools_api_parse(argc, argv, &api);
    status = status != -1 ? status : run(&api);
    tools_api_free(&api);
    return status;
}
