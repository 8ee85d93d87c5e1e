#include "tools/settings_options.h"

#include <string.h>

extern char **environ;

const struct tools_flag tools_settings_flags[] = {
    {"config", "FILE", "TOML file with any of these settings (with _ for -)"}, {0}};

int tools_settings_parse(int argc, const char **argv, struct bnd_config *out) {
    struct tools_args args;
    struct bnd_config_flag flags[TOOLS_GIVEN_MAX];
    struct bnd_config_sources sources = {.flags = flags, .environment = environ};
    struct bnd_error err = {0};
    int status = tools_args_parse(argc, argv, &args);
    for (size_t i = 0; status == -1 && i < args.given_count; i++) {
        const struct tools_given *given = &args.given[i];
        if (strcmp(given->name, tools_settings_flags[0].name) == 0) {
            sources.file = given->value;
        } else {
            flags[sources.flags_count++] = (struct bnd_config_flag){
                .name = given->name, .value = given->value != NULL ? given->value : "true"};
        }
    }
    int rv = status == -1 ? bnd_config_load(&sources, out, &err) : 0;
    if (rv != 0) {
        int failed = tools_fail(&err);
        status = rv == BND_NOMEM ? failed : TOOLS_USAGE;
    }
    tools_args_free(&args);
    return status;
}
