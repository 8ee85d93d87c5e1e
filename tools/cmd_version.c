/* bindery version */
#include "base/version.h"
#include "tools/args.h"
#include "tools/commands.h"

#include <stdio.h>

int tools_cmd_version(int argc, const char **argv) {
    struct tools_args args;
    int status = tools_args_parse(argc, argv, &args);
    if (status == -1) {
        (void)printf("bindery %s\n", BND_VERSION_TEXT);
        status = TOOLS_OK;
    }
    tools_args_free(&args);
    return status;
}
