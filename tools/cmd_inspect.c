/* bindery inspect: what a stopped node's files hold, read-only, as far as it can be decoded. */
#include "engine/io/io.h"
#include "engine/journal/journal.h"
#include "engine/rocks/rocks.h"
#include "objects/bodies/file.h"
#include "tools/args.h"
#include "tools/commands.h"
#include "tools/inspect_state.h"

#include <stdio.h>

const struct tools_verb tools_inspect_verbs[] = {
    {"journal", "DIR", "segments and batches of a journal (DATA/journal)"},
    {"state", "DIR [BUCKET/KEY]",
     "groups' slots of a state directory (DATA/state): how far applied, records per kind; or all "
     "that is stored of one object"},
    {"body", "FILE", "one body (a file of DATA/bodies): header, footer, every block's hash"},
    {0}};
const struct tools_flag tools_inspect_flags[] = {
    {"records", NULL, "journal, state: every record; body: every block"},
    {"json", NULL, "one JSON object a line"},
    {0}};

static void print_line(void *data, const char *line) {
    (void)puts(line); /* a closed stdout is the reader's choice */
}

/* What the flags say. */
struct wish {
    bool records, json;
};

static int inspect_journal(struct bnd_env *env, const char *dir, const struct wish *wish,
                           struct bnd_error *err) {
    const struct bnd_journal_look look = {
        .dir = dir, .records = wish->records, .json = wish->json, .print = print_line};
    return bnd_journal_inspect(env, &look, err);
}

static int inspect_body(struct bnd_env *env, const char *path, const struct wish *wish,
                        struct bnd_error *err) {
    const struct body_inspection look = {
        .path = path, .each = wish->records, .json = wish->json, .print = print_line};
    return body_inspect(env, &look, err);
}

static int inspect_state(struct bnd_env *env, const struct tools_args *args,
                         const struct wish *wish, struct bnd_error *err) {
    struct bnd_state *state = NULL;
    int rv = bnd_rocks_open_read_only(env, args->words[0], &state, err);
    if (rv != 0) {
        return rv;
    }
    struct tools_state_look look = {.state = state,
                                    .records = wish->records,
                                    .json = wish->json,
                                    .object = args->words[1],
                                    .print = print_line};
    rv = tools_inspect_state(&look, err);
    state->ops->close(state);
    return rv;
}

static int inspect(const struct tools_args *args) {
    struct bnd_env *env = NULL;
    struct bnd_error err = {0};
    const struct wish wish = {.records = tools_args_flag(args, "records") != NULL,
                              .json = tools_args_flag(args, "json") != NULL};
    int rv = bnd_io_env_create(NULL, &env, &err);
    if (rv == 0 && tools_args_is(args, "journal")) {
        rv = inspect_journal(env, args->words[0], &wish, &err);
    } else if (rv == 0 && tools_args_is(args, "body")) {
        rv = inspect_body(env, args->words[0], &wish, &err);
    } else if (rv == 0) {
        rv = inspect_state(env, args, &wish, &err);
    }
    bnd_io_env_destroy(env);
    return rv == 0 ? TOOLS_OK : tools_fail(&err);
}

int tools_cmd_inspect(int argc, const char **argv) {
    struct tools_args args;
    int status = tools_args_parse(argc, argv, &args);
    status = status != -1 ? status : inspect(&args);
    tools_args_free(&args);
    return status;
}
