#include "tools/settings_options.h"

#include "base/assert.h"
#include "tools/command.h"

#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

enum {
    SETTINGS_MAX = 32,
    FLAGS_MAX = 64,
    WORDS_MAX = 8,
    NAME_CAP = 64,
    OPTION_CONFIG = 1,
    OPTION_SETTING = 100
};

struct parser {
    struct poptOption options[SETTINGS_MAX + 3];
    char names[SETTINGS_MAX][NAME_CAP];
    struct bnd_config_flag flags[FLAGS_MAX];
    char *values[FLAGS_MAX]; /* owned: what flags[].value points to */
    size_t flags_count;
    char *file;
};

static void build_options(struct parser *parser) {
    const struct bnd_setting *table = bnd_settings_table();
    size_t count = 0;
    for (; table[count].name != NULL; count++) {
        BND_ASSERT(count < SETTINGS_MAX);
        bool is_flag = table[count].type == BND_SETTING_BOOL;
        bnd_setting_flag(&table[count], parser->names[count], NAME_CAP);
        parser->options[count] = (struct poptOption){
            .longName = parser->names[count],
            .argInfo = is_flag ? POPT_ARG_NONE : POPT_ARG_STRING,
            .val = OPTION_SETTING + (int)count,
            .descrip = table[count].help,
            .argDescrip = is_flag ? NULL : table[count].value,
        };
    }
    parser->options[count++] =
        (struct poptOption){.longName = "config",
                            .argInfo = POPT_ARG_STRING,
                            .val = OPTION_CONFIG,
                            .descrip = "TOML file with any of these settings (with _ for -)",
                            .argDescrip = "FILE"};
    struct poptOption help[] = {POPT_AUTOHELP POPT_TABLEEND};
    parser->options[count++] = help[0];
    parser->options[count] = help[1];
}

/* An option that popt does not know, with the nearest that it does. */
static int bad_option(const struct parser *parser, const char *command, const char *option,
                      int rv) {
    const char *known[SETTINGS_MAX + 2];
    size_t count = 0;
    if (rv != POPT_ERROR_BADOPT) {
        return tools_usage(command, "%s: %s", option, poptStrerror(rv));
    }
    for (size_t i = 0; parser->options[i].longName != NULL; i++) {
        known[count++] = parser->options[i].longName;
    }
    known[count] = NULL;
    while (*option == '-') {
        option++;
    }
    return tools_unknown(command, "flag", option, known);
}

static int take_options(struct parser *parser, poptContext context, const char *command) {
    int rv = 0;
    while ((rv = poptGetNextOpt(context)) > 0) {
        char *value = poptGetOptArg(context);
        if (rv == OPTION_CONFIG) {
            free(parser->file);
            parser->file = value;
            continue;
        }
        if (parser->flags_count == FLAGS_MAX) {
            free(value);
            return tools_usage(command, "more than %d flags", FLAGS_MAX);
        }
        const struct bnd_setting *setting = &bnd_settings_table()[rv - OPTION_SETTING];
        parser->values[parser->flags_count] = value;
        parser->flags[parser->flags_count++] = (struct bnd_config_flag){
            .name = setting->name, .value = value != NULL ? value : "true"};
    }
    if (rv < -1) {
        return bad_option(parser, command, poptBadOption(context, POPT_BADOPTION_NOALIAS), rv);
    }
    return -1;
}

static int take_words(poptContext context, const char *command, const char **words) {
    const char *word = NULL;
    size_t count = 0;
    while ((word = poptGetArg(context)) != NULL) {
        if (words == NULL || count == WORDS_MAX - 1) {
            return tools_usage(command, "unexpected argument %s", word);
        }
        words[count++] = strdup(word); /* lives as long as the process: argv does too */
    }
    if (words != NULL) {
        words[count] = NULL;
    }
    return -1;
}

int tools_settings_parse(int argc, const char **argv, const char *help, struct bnd_config *out,
                         const char **words) {
    struct parser parser = {0};
    struct bnd_error err = {0};
    build_options(&parser);
    poptContext context = poptGetContext("bindery", argc, argv, parser.options, 0);
    poptSetOtherOptionHelp(context, help);
    int status = take_options(&parser, context, argv[0]);
    status = status != -1 ? status : take_words(context, argv[0], words);
    if (status == -1) {
        struct bnd_config_sources sources = {.file = parser.file,
                                             .flags = parser.flags,
                                             .flags_count = parser.flags_count,
                                             .environment = environ};
        if (bnd_config_load(&sources, out, &err) != 0) {
            status = tools_fail(&err);
        }
    }
    for (size_t i = 0; i < parser.flags_count; i++) {
        free(parser.values[i]);
    }
    free(parser.file);
    poptFreeContext(context);
    return status;
}
