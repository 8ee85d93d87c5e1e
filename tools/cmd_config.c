/* bindery config check: the settings as a node would see them, or what is wrong with them. */
#include "tools/commands.h"
#include "tools/settings_options.h"

#include <stdio.h>

int tools_cmd_config(int argc, const char **argv) {
    struct bnd_config config;
    int status = tools_settings_parse(argc, argv, &config);
    if (status != -1) {
        return status;
    }
    BND_AUTO_BUF struct bnd_buf text = {0};
    bnd_config_print(&config, &text);
    (void)fwrite(text.data, 1, text.len, stdout); /* a closed stdout is the reader's choice */
    return TOOLS_OK;
}
