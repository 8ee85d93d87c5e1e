/* bindery inspect journal DIR: what a journal's files hold, read-only, as far as they can be
 * decoded. */
#include "engine/io/io.h"
#include "engine/journal/journal.h"
#include "tools/command.h"
#include "tools/commands.h"

#include <stdio.h>
#include <string.h>

static void print_line(void *data, const char *line) {
    (void)puts(line); /* a closed stdout is the reader's choice */
}

static int inspect_journal(const char *dir, bool records) {
    struct bnd_env *env = NULL;
    struct bnd_error err = {0};
    int rv = bnd_io_env_create(NULL, &env, &err);
    rv = rv != 0 ? rv : bnd_journal_inspect(env, dir, records, print_line, NULL, &err);
    bnd_io_env_destroy(env);
    return rv == 0 ? TOOLS_OK : tools_fail(&err);
}

int tools_cmd_inspect(int argc, const char **argv) {
    static const char *const known[] = {"journal", NULL};
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        (void)printf("Usage: bindery inspect journal DIR [--records]\n\nReads the journal of a "
                     "stopped node (DATA/journal)"
                     " and prints its segments and batches,\nwith --records every record. Nothing "
                     "is changed.\n");
        return TOOLS_OK;
    }
    if (argc < 2) {
        return tools_usage("inspect", "what to look at is missing: journal");
    }
    if (strcmp(argv[1], "journal") != 0) {
        return tools_unknown("inspect", "thing", argv[1], known);
    }
    bool records = argc == 4 && strcmp(argv[3], "--records") == 0;
    if (argc != 3 && !records) {
        return tools_usage("inspect", "journal takes a directory and maybe --records");
    }
    return inspect_journal(argv[2], records);
}
