/* bindery config check: the settings as a node would see them, or what is wrong with them. */
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/settings_options.h"

#include <stdio.h>
#include <string.h>

int tools_cmd_config(int argc, const char **argv) {
    struct bnd_config config;
    const char *words[8] = {NULL};
    static const char *const known[] = {"check", NULL};
    int status =
        tools_settings_parse(argc, argv, "check [--config FILE] [settings]", &config, words);
    if (status != -1) {
        return status;
    }
    if (words[0] == NULL) {
        return tools_usage("config", "what to do is missing: check");
    }
    if (strcmp(words[0], "check") != 0) {
        return tools_unknown("config", "command", words[0], known);
    }
    BND_AUTO_BUF struct bnd_buf text = {0};
    bnd_config_print(&config, &text);
    (void)fwrite(text.data, 1, text.len, stdout); /* a closed stdout is the reader's choice */
    return TOOLS_OK;
}
