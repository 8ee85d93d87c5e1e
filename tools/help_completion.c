/* Completion scripts. Each knows three things of the table: the commands, the verbs by the words
 * before them ("r2 bucket" -> create, ls, ...), and the flags of each command; whatever else there
 * is to complete is a file. */
#include "tools/help.h"

#include "base/assert.h"

#include <string.h>

/* Text in single quotes; each shell has its own escape for one inside. */
static void quoted(FILE *out, const char *text, const char *escaped) {
    (void)fputc('\'', out); /* a closed stdout is the reader's choice */
    for (; *text != 0; text++) {
        if (*text == '\'') {
            (void)fputs(escaped, out);
        } else {
            (void)fputc(*text, out);
        }
    }
    (void)fputc('\'', out);
}

/* ---- words of verbs
 * ------------------------------------------------------------------------------------------- */

struct step {
    const char *after; /* the words before: "token", "r2 bucket" */
    const char *word;
    const char *help;
};

/* Calls each once for every word that may follow the command, then for the second words of verbs
 * of two, those after the same word together. */
static void each_step(const struct tools_command *command,
                      void (*each)(void *data, const struct step *step), void *data) {
    char after[TOOLS_FLAG_NAME_MAX];
    char word[TOOLS_FLAG_NAME_MAX];
    char last[TOOLS_FLAG_NAME_MAX] = "";
    for (const struct tools_verb *verb = command->verbs; verb->name != NULL; verb++) {
        size_t len = strcspn(verb->name, " ");
        (void)snprintf(word, sizeof word, "%.*s", (int)len, verb->name); /* fits */
        if (strcmp(word, last) != 0) {
            struct step step = {command->name, word, verb->name[len] == 0 ? verb->help : word};
            each(data, &step);
        }
        memcpy(last, word, sizeof last);
    }
    for (const struct tools_verb *verb = command->verbs; verb->name != NULL; verb++) {
        const char *space = strchr(verb->name, ' ');
        if (space != NULL) {
            (void)snprintf(after, sizeof after, "%s %.*s", command->name, (int)(space - verb->name),
                           verb->name); /* fits */
            struct step step = {after, space + 1, verb->help};
            each(data, &step);
        }
    }
}

/* ---- bash
 * -----------------------------------------------------------------------------------------------
 */

struct lines {
    FILE *out;
    char after[TOOLS_FLAG_NAME_MAX]; /* of the line that is open; "": none is */
};

static void bash_step(void *data, const struct step *step) {
    struct lines *lines = data;
    if (strcmp(lines->after, step->after) != 0) {
        (void)fprintf(lines->out, "%s    '%s') candidates='", lines->after[0] == 0 ? "" : "' ;;\n",
                      step->after);
        (void)snprintf(lines->after, sizeof lines->after, "%s", step->after); /* fits */
        (void)fputs(step->word, lines->out);
    } else {
        (void)fprintf(lines->out, " %s", step->word);
    }
}

static void bash_flag(void *data, const struct tools_flag *flag) {
    (void)fprintf(data, " --%s", flag->name);
}

static void bash_valued(void *data, const struct tools_flag *flag) {
    if (flag->value != NULL) {
        (void)fprintf(data, " --%s", flag->name);
    }
}

static void bash(FILE *out) {
    (void)fputs("# bash completion of bindery: source this, or put it into "
                "/usr/share/bash-completion/completions/bindery\n"
                "_bindery() {\n"
                "  local current=${COMP_WORDS[COMP_CWORD]} before=() candidates='' flags='' "
                "valued='' i\n"
                "  case ${COMP_WORDS[1]} in\n",
                out);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        (void)fprintf(out, "    %s) flags='--help", command->name);
        tools_each_flag(command, bash_flag, out);
        (void)fprintf(out, "' valued='");
        tools_each_flag(command, bash_valued, out);
        (void)fprintf(out, " ' ;;\n");
    }
    (void)fputs("  esac\n"
                "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                "    case ${COMP_WORDS[i]} in\n"
                "      =) ((i++)) ;;\n"
                "      -*) [[ $valued == *\" ${COMP_WORDS[i]} \"* && ${COMP_WORDS[i + 1]} != = ]] "
                "&& ((i++)) ;;\n"
                "      *) before+=(\"${COMP_WORDS[i]}\") ;;\n"
                "    esac\n"
                "  done\n"
                "  ((i > COMP_CWORD)) && return # the value of a flag: a file, if anything\n"
                "  [[ $current == -* ]] && { COMPREPLY=($(compgen -W \"$flags\" -- \"$current\")); "
                "return; }\n"
                "  case ${before[*]} in\n"
                "    '') candidates='",
                out);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        (void)fprintf(out, "%s%s", command == tools_commands() ? "" : " ", command->name);
    }
    (void)fputs("' ;;\n", out);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        struct lines lines = {.out = out};
        if (command->verbs != NULL) {
            each_step(command, bash_step, &lines);
            (void)fputs("' ;;\n", out);
        }
    }
    (void)fputs("  esac\n"
                "  COMPREPLY=($(compgen -W \"$candidates\" -- \"$current\"))\n"
                "}\n"
                "complete -o default -F _bindery bindery\n",
                out);
}

/* ---- zsh
 * ------------------------------------------------------------------------------------------------
 */

/* 'word:help' for _describe, which ends the word at a colon. */
static void zsh_item(FILE *out, const char *prefix, const char *word, const char *help) {
    (void)fprintf(out, " '%s%s'", prefix, word);
    (void)fputs("':'", out);
    quoted(out, help, "'\\''");
}

static void zsh_step(void *data, const struct step *step) {
    struct lines *lines = data;
    if (strcmp(lines->after, step->after) != 0) {
        (void)fprintf(lines->out, "%s    '%s') list=(", lines->after[0] == 0 ? "" : ") ;;\n",
                      step->after);
        (void)snprintf(lines->after, sizeof lines->after, "%s", step->after); /* fits */
    }
    zsh_item(lines->out, "", step->word, step->help);
}

static void zsh_flag(void *data, const struct tools_flag *flag) {
    zsh_item(data, "--", flag->name, flag->help);
}

static void zsh(FILE *out) {
    (void)fputs("#compdef bindery\n"
                "# zsh completion of bindery: put it as _bindery into a directory of $fpath\n"
                "_bindery() {\n"
                "  local valued='' i word\n"
                "  local -a before list flags\n"
                "  case ${words[2]} in\n",
                out);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        (void)fprintf(out, "    %s) flags=('--help:this command'", command->name);
        tools_each_flag(command, zsh_flag, out);
        (void)fprintf(out, ") valued='");
        tools_each_flag(command, bash_valued, out);
        (void)fprintf(out, " ' ;;\n");
    }
    (void)fputs("  esac\n"
                "  for ((i = 2; i < CURRENT; i++)); do\n"
                "    word=${words[i]}\n"
                "    if [[ $valued == *\" $word \"* ]]; then ((i++))\n"
                "    elif [[ $word != -* ]]; then before+=($word); fi\n"
                "  done\n"
                "  ((i > CURRENT)) && { _files; return; }\n"
                "  [[ ${words[CURRENT]} == -* ]] && { _describe flag flags; return; }\n"
                "  case ${before[*]} in\n"
                "    '') list=(",
                out);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        zsh_item(out, "", command->name, command->summary);
    }
    (void)fputs(") ;;\n", out);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        struct lines lines = {.out = out};
        if (command->verbs != NULL) {
            each_step(command, zsh_step, &lines);
            (void)fputs(") ;;\n", out);
        }
    }
    (void)fputs(
        "  esac\n"
        "  if (($#list)); then _describe command list; else _files; fi\n"
        "}\n"
        "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _bindery \"$@\"; else compdef "
        "_bindery bindery; fi\n",
        out);
}

/* ---- fish
 * -----------------------------------------------------------------------------------------------
 */

struct fish {
    FILE *out;
    const char *command;
};

static void fish_step(void *data, const struct step *step) {
    FILE *out = data;
    (void)fprintf(out, "complete -c bindery -f -n '__bindery_after %s' -a %s -d ", step->after,
                  step->word);
    quoted(out, step->help, "\\'");
    (void)fputc('\n', out);
}

static void fish_flag(void *data, const struct tools_flag *flag) {
    const struct fish *fish = data;
    (void)fprintf(fish->out, "complete -c bindery -n '__fish_seen_subcommand_from %s' -l %s%s -d ",
                  fish->command, flag->name, flag->value == NULL ? "" : " -r");
    quoted(fish->out, flag->help, "\\'");
    (void)fputc('\n', fish->out);
}

static void fish(FILE *out) {
    (void)fputs(
        "# fish completion of bindery: put it into ~/.config/fish/completions/bindery.fish\n"
        "function __bindery_after --description 'the words so far that are no flags'\n"
        "  set -l words (string match --invert -- '-*' (commandline -opc)[2..-1])\n"
        "  test \"$words\" = \"$argv\"\n"
        "end\n",
        out);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        struct fish flags = {out, command->name};
        struct step step = {"", command->name, command->summary};
        fish_step(out, &step);
        if (command->verbs != NULL) {
            each_step(command, fish_step, out);
        }
        tools_each_flag(command, fish_flag, &flags);
    }
}

void tools_help_completion(const char *shell, FILE *out) {
    if (strcmp(shell, "bash") == 0) {
        bash(out);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh(out);
    } else {
        BND_ASSERT(strcmp(shell, "fish") == 0);
        fish(out);
    }
}
