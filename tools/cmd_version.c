/* bindery version */
#include "tools/command.h"
#include "tools/commands.h"
#include "base/version.h"

#include <stdio.h>

int tools_cmd_version(int argc, const char **argv) {
    if (argc > 1) {
        return tools_usage("version", "unexpected argument %s", argv[1]);
    }
    (void)printf("bindery %s\n", BND_VERSION_TEXT);
    return TOOLS_OK;
}
