/* bindery clock: a node's clock against the others'; clock confirm: after a jump of time, when the
 * clocks are right, lets deletion by time go on. */
#include "tools/api.h"
#include "tools/commands.h"

#include <stdio.h>

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static void print_ahead(const json_t *object) {
    const json_t *ahead = json_object_get(object, "ahead_ms");
    if (json_is_integer(ahead)) {
        (void)printf("%+lld ms\n", (long long)json_integer_value(ahead));
    } else {
        (void)printf("not known\n");
    }
}

static void print_clock(const json_t *clock) {
    size_t i = 0;
    json_t *item = NULL;
    (void)printf("node %lld against the median: ",
                 (long long)json_integer_value(json_object_get(clock, "self")));
    print_ahead(clock);
    if (json_is_true(json_object_get(clock, "off"))) {
        (void)printf("  off by more than 500 ms: it leads no shard that another node can lead\n");
    }
    json_array_foreach(json_object_get(clock, "peers"), i, item) {
        (void)printf("  node %lld against this one: ",
                     (long long)json_integer_value(json_object_get(item, "node")));
        print_ahead(item);
    }
    const json_t *suspended = json_object_get(clock, "suspended");
    if (json_array_size(suspended) == 0) {
        (void)printf("no group's time has jumped\n");
        return;
    }
    (void)printf("deletion by time is suspended in %zu groups of this node, whose time jumped:\n",
                 json_array_size(suspended));
    json_array_foreach(suspended, i, item) {
        (void)printf("  %llx: %s -> %s\n",
                     (unsigned long long)json_integer_value(json_object_get(item, "gid")),
                     text(item, "from"), text(item, "to"));
    }
    (void)printf("if the clocks are right now: `bindery clock confirm`\n");
}

static void print_confirmed(const json_t *result) {
    (void)printf("confirmed the time of %lld groups\n",
                 (long long)json_integer_value(json_object_get(result, "confirmed")));
}

static int ask(const struct tools_api *api) {
    bool confirm = tools_args_is(&api->args, "confirm");
    json_t *result = tools_api_call(api, confirm ? "POST" : "GET",
                                    confirm ? "/bindery/v1/clock/confirm" : "/bindery/v1/clock",
                                    confirm ? "{}" : NULL);
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (api->json) {
        tools_api_print(result);
    } else if (confirm) {
        print_confirmed(result);
    } else {
        print_clock(result);
    }
    json_decref(result);
    return TOOLS_OK;
}

int tools_cmd_clock(int argc, const char **argv) {
    struct tools_api api;
    int status = tools_api_parse(argc, argv, &api);
    status = status != -1 ? status : ask(&api);
    tools_api_free(&api);
    return status;
}
