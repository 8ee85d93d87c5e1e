/* bindery completion SHELL, bindery man: what help.h writes from the table of commands. */
#include "tools/args.h"
#include "tools/commands.h"
#include "tools/help.h"

int tools_cmd_completion(int argc, const char **argv) {
    struct tools_args args;
    int status = tools_args_parse(argc, argv, &args);
    if (status == -1) {
        tools_help_completion(args.verb->name, stdout);
        status = TOOLS_OK;
    }
    tools_args_free(&args);
    return status;
}

int tools_cmd_man(int argc, const char **argv) {
    struct tools_args args;
    int status = tools_args_parse(argc, argv, &args);
    if (status == -1) {
        tools_help_manual(stdout);
        status = TOOLS_OK;
    }
    tools_args_free(&args);
    return status;
}
