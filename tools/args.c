/* Reading a command line: popt does the flags by a table made of the command's, verbs and counts of
 * words are ours. */
#include "tools/args.h"

#include "base/assert.h"

#include <errno.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct poptOption options[TOOLS_FLAGS_MAX + 1];
    char names[TOOLS_FLAGS_MAX][TOOLS_FLAG_NAME_MAX];
    size_t count;
};

static void add_flag(void *data, const struct tools_flag *flag) {
    struct parser *parser = data;
    BND_ASSERT(parser->count < TOOLS_FLAGS_MAX);
    char *name = parser->names[parser->count];
    (void)snprintf(name, TOOLS_FLAG_NAME_MAX, "%s", flag->name); /* the tables' names fit */
    parser->options[parser->count++] = (struct poptOption){
        .longName = name,
        .argInfo = flag->value == NULL ? POPT_ARG_NONE : POPT_ARG_STRING,
        .val = (int)parser->count,
    };
}

static int bad_flag(const struct parser *parser, const char *command, poptContext context, int rv) {
    const char *known[TOOLS_FLAGS_MAX + 2];
    const char *flag = poptBadOption(context, POPT_BADOPTION_NOALIAS);
    size_t count = 0;
    if (rv != POPT_ERROR_BADOPT) {
        return tools_usage(command, "%s: %s", flag, poptStrerror(rv));
    }
    for (; count < parser->count; count++) {
        known[count] = parser->names[count];
    }
    known[count++] = "help";
    known[count] = NULL;
    return tools_unknown(command, "flag", flag + strspn(flag, "-"), known);
}

static int take_flags(const struct parser *parser, poptContext context, struct tools_args *out) {
    int rv = 0;
    while ((rv = poptGetNextOpt(context)) > 0) {
        char *value = poptGetOptArg(context);
        if (out->given_count == TOOLS_GIVEN_MAX) {
            free(value);
            return tools_usage(out->command->name, "more than %d flags", TOOLS_GIVEN_MAX);
        }
        struct tools_given *given = &out->given[out->given_count++];
        (void)snprintf(given->name, sizeof given->name, "%s", parser->names[rv - 1]); /* fits */
        given->value = value;
    }
    return rv < -1 ? bad_flag(parser, out->command->name, context, rv) : -1;
}

static int take_words(poptContext context, struct tools_args *out) {
    const char *word = NULL;
    while ((word = poptGetArg(context)) != NULL) {
        if (out->words_count == TOOLS_WORDS_MAX) {
            return tools_usage(out->command->name, "unexpected argument %s", word);
        }
        out->words[out->words_count] = strdup(word);
        if (out->words[out->words_count++] == NULL) {
            return tools_usage(out->command->name, "out of memory");
        }
    }
    return -1;
}

/* ---- verbs
 * ------------------------------------------------------------------------------------------------
 */

/* How many of the words name this verb: 0, or as many as its name has. */
static size_t verb_match(const struct tools_verb *verb, char *const *words) {
    const char *rest = verb->name;
    size_t count = 0;
    while (*rest != 0) {
        size_t len = strcspn(rest, " ");
        const char *word = words[count];
        if (word == NULL || strlen(word) != len || strncmp(word, rest, len) != 0) {
            return 0;
        }
        count++;
        rest += len + strspn(rest + len, " ");
    }
    return count;
}

static void drop_words(struct tools_args *args, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(args->words[i]);
    }
    memmove(args->words, args->words + count,
            (args->words_count - count + 1) * sizeof args->words[0]);
    args->words_count -= count;
}

static int unknown_verb(const struct tools_args *args) {
    const char *known[TOOLS_FLAGS_MAX + 1];
    char all[256] = "";
    char word[256];
    size_t count = 0;
    const char *name = args->command->name;
    for (const struct tools_verb *verb = args->command->verbs; verb->name != NULL; verb++) {
        BND_ASSERT(count < TOOLS_FLAGS_MAX);
        known[count++] = verb->name;
        size_t len = strlen(all);
        (void)snprintf(all + len, sizeof all - len, "%s%s", len == 0 ? "" : ", ", verb->name);
    }
    known[count] = NULL;
    if (args->words[0] == NULL) {
        return tools_usage(name, "what to do is missing: %s", all);
    }
    bool two = strchr(known[0], ' ') != NULL && args->words[1] != NULL;
    (void)snprintf(word, sizeof word, "%s%s%s", args->words[0], two ? " " : "",
                   two ? args->words[1] : ""); /* cut: for the message only */
    return tools_unknown(name, "command", word, known);
}

static int take_verb(struct tools_args *args) {
    const struct tools_verb *verb = args->command->verbs;
    if (verb == NULL || (args->command->verb_optional && args->words_count == 0)) {
        return -1;
    }
    for (; verb->name != NULL; verb++) {
        size_t count = verb_match(verb, args->words);
        if (count > 0) {
            args->verb = verb;
            drop_words(args, count);
            return -1;
        }
    }
    return unknown_verb(args);
}

/* "A [B]": A must be there, B may. */
static int check_words(const struct tools_args *args) {
    const char *rest = args->verb != NULL            ? args->verb->args
                       : args->command->args != NULL ? args->command->args
                                                     : "";
    size_t count = 0;
    while (*rest != 0) {
        size_t len = strcspn(rest, " ");
        if (args->words[count] == NULL && rest[0] != '[') {
            return tools_usage(args->command->name, "%s%s%.*s is missing",
                               args->verb == NULL ? "" : args->verb->name,
                               args->verb == NULL ? "" : ": ", (int)len, rest);
        }
        count += args->words[count] != NULL;
        rest += len + strspn(rest + len, " ");
    }
    return args->words[count] == NULL
               ? -1
               : tools_usage(args->command->name, "unexpected argument %s", args->words[count]);
}

/* ---- the calls
 * -------------------------------------------------------------------------------------------- */

int tools_args_parse(int argc, const char **argv, struct tools_args *out) {
    struct parser parser = {0};
    *out = (struct tools_args){.command = tools_command_find(argv[0])};
    BND_ASSERT(out->command != NULL);
    tools_each_flag(out->command, add_flag, &parser);
    poptContext context = poptGetContext("bindery", argc, argv, parser.options, 0);
    if (context == NULL) {
        return tools_usage(argv[0], "out of memory");
    }
    int status = take_flags(&parser, context, out);
    status = status != -1 ? status : take_words(context, out);
    status = status != -1 ? status : take_verb(out);
    status = status != -1 ? status : check_words(out);
    poptFreeContext(context);
    return status;
}

void tools_args_free(struct tools_args *args) {
    for (size_t i = 0; i < args->given_count; i++) {
        free(args->given[i].value);
    }
    for (size_t i = 0; i < args->words_count; i++) {
        free(args->words[i]);
    }
}

const char *tools_args_flag(const struct tools_args *args, const char *name) {
    for (size_t i = args->given_count; i > 0; i--) {
        if (strcmp(args->given[i - 1].name, name) == 0) {
            return args->given[i - 1].value != NULL ? args->given[i - 1].value : "";
        }
    }
    return NULL;
}

bool tools_args_is(const struct tools_args *args, const char *verb) {
    return args->verb != NULL && strcmp(args->verb->name, verb) == 0;
}

bool tools_args_number(const struct tools_args *args, const char *name, long min, long max,
                       long fallback, long *out) {
    const char *text = tools_args_flag(args, name);
    char *end = NULL;
    if (text == NULL) {
        *out = fallback;
        return true;
    }
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || value < min || value > max) {
        (void)tools_usage(args->command->name, "--%s must be a number from %ld to %ld, not '%.64s'",
                          name, min, max, text);
        return false;
    }
    *out = value;
    return true;
}
