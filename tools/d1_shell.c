/* bindery d1 shell: statements as they are typed, each text run when its last statement is ended by
 * a semicolon; lines that begin with a dot are the shell's own. On a terminal with editing and a
 * history, and a statement that fails is told and the next one read; from a file or pipe the first
 * that fails ends it. */
#include "gateway/d1/split.h"
#include "tools/d1.h"

#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HISTORY_LINES = 1000 };

struct shell {
    const struct tools_d1 *d1;
    enum tools_table_mode mode;
    bool timer;
    bool quit;
    bool failed;
    struct d1_split split;
    struct bnd_buf text; /* typed, and not run yet */
    /* of a terminal */
    EditLine *edit; /* NULL: stdin is none */
    History *history;
    char *line; /* else: getline's */
    size_t line_cap;
};

/* ---- lines
 * ------------------------------------------------------------------------------------------------
 */

static char *prompt(EditLine *edit) {
    static char first[] = "d1> ";
    static char more[] = "...> ";
    struct shell *shell = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &shell); /* set below */
    return shell != NULL && shell->text.len > 0 ? more : first;
}

/* Without memory for it the terminal is read as a file is. */
static void open_terminal(struct shell *shell) {
    HistEvent event;
    if (isatty(STDIN_FILENO) != 1) {
        return;
    }
    shell->history = history_init();
    shell->edit = shell->history == NULL ? NULL : el_init("bindery", stdin, stdout, stderr);
    if (shell->edit == NULL) {
        return;
    }
    (void)history(shell->history, &event, H_SETSIZE, HISTORY_LINES); /* or fewer */
    (void)el_set(shell->edit, EL_CLIENTDATA, shell);
    (void)el_set(shell->edit, EL_PROMPT, prompt);
    (void)el_set(shell->edit, EL_EDITOR, "emacs");
    (void)el_set(shell->edit, EL_SIGNAL, 1);
    (void)el_set(shell->edit, EL_HIST, history, shell->history);
}

static void close_terminal(struct shell *shell) {
    if (shell->edit != NULL) {
        el_end(shell->edit);
    }
    if (shell->history != NULL) {
        history_end(shell->history);
    }
    free(shell->line);
}

/* The next line with its end; data NULL: there is none. */
static struct bnd_slice read_line(struct shell *shell) {
    if (shell->edit == NULL) {
        ssize_t len = getline(&shell->line, &shell->line_cap, stdin);
        return len < 0 ? bnd_slice(NULL, 0) : bnd_slice(shell->line, (size_t)len);
    }
    HistEvent event;
    int len = 0;
    const char *line = el_gets(shell->edit, &len);
    if (line == NULL || len <= 0) {
        return bnd_slice(NULL, 0);
    }
    (void)history(shell->history, &event, H_ENTER, line); /* not remembered: no memory */
    return bnd_slice(line, (size_t)len);
}

/* ---- statements
 * ------------------------------------------------------------------------------------------------
 */

static void run(struct shell *shell) {
    json_t *results = tools_d1_run(shell->d1, bnd_buf_slice(&shell->text), NULL);
    shell->failed |= results == NULL;
    tools_d1_print(results, shell->mode, shell->timer);
    json_decref(results);
    bnd_buf_reset(&shell->text);
}

/* True: the line ends a statement, and nothing else begins on it. */
static bool take(struct shell *shell, struct bnd_slice line) {
    bool any = false;
    bnd_buf_append_slice(&shell->text, line);
    for (size_t at = 0; at < line.len;) {
        bool ended = false;
        at += d1_split_next(&shell->split, bnd_slice(line.data + at, line.len - at), &ended);
        any |= ended;
    }
    return any && d1_split_between(&shell->split);
}

/* ---- dot commands
 * ------------------------------------------------------------------------------------------------
 */

static void print_column(struct shell *shell, const char *sql, const char *parameter,
                         const char *end) {
    json_t *results = tools_d1_run(shell->d1, bnd_slice_str(sql), parameter);
    const json_t *rows =
        json_object_get(json_object_get(json_array_get(results, 0), "results"), "rows");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *cell = json_string_value(json_array_get(json_array_get(rows, i), 0));
        (void)printf("%s%s\n", cell == NULL ? "" : cell, end);
    }
    shell->failed |= results == NULL;
    json_decref(results);
}

static void tables(struct shell *shell, const char *argument) {
    (void)argument; /* takes none */
    print_column(shell,
                 "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND "
                 "substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
                 NULL, "");
}

static void schema(struct shell *shell, const char *argument) {
    bool all = argument[0] == 0;
    print_column(
        shell,
        all ? "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY tbl_name, rowid"
            : "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name = ? "
              "ORDER BY rowid",
        all ? NULL : argument, ";");
}

static void mode(struct shell *shell, const char *argument) {
    shell->failed |= !tools_table_mode_read(argument, &shell->mode);
}

static void timer(struct shell *shell, const char *argument) {
    bool on = strcmp(argument, "on") == 0;
    if (!on && strcmp(argument, "off") != 0) {
        (void)fprintf(stderr, "bindery: .timer on, or .timer off\n");
        shell->failed = true;
        return;
    }
    shell->timer = on;
}

static void quit(struct shell *shell, const char *argument) {
    (void)argument; /* takes none */
    shell->quit = true;
}

static void help(struct shell *shell, const char *argument);

static const struct {
    const char *name;
    const char *about;
    void (*run)(struct shell *shell, const char *argument);
} commands[] = {
    {".tables", "tables and views", tables},
    {".schema", "[TABLE]: the statements that made them", schema},
    {".mode", "box, line, csv or json: how rows are printed", mode},
    {".timer", "on or off: what each statement has cost", timer},
    {".help", "this list", help},
    {".quit", "the end; so is the end of the input", quit},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void help(struct shell *shell, const char *argument) {
    (void)argument; /* takes none */
    for (size_t i = 0; i < COMMANDS; i++) {
        (void)printf("%-8s %s\n", commands[i].name, commands[i].about);
    }
}

static void dot(struct shell *shell, struct bnd_slice line) {
    char name[16] = "";
    char argument[128] = "";
    char text[160];
    const char *known[COMMANDS + 1] = {NULL};
    size_t len = line.len < sizeof text - 1 ? line.len : sizeof text - 1;
    memcpy(text, line.data, len);
    text[len] = 0;
    (void)sscanf(text, "%15s %127s", name, argument); /* what is not there stays empty */
    for (size_t i = 0; i < COMMANDS; i++) {
        known[i] = commands[i].name;
        if (strcmp(name, commands[i].name) == 0) {
            commands[i].run(shell, argument);
            return;
        }
    }
    (void)tools_unknown("d1", "shell command", name, known);
    shell->failed = true;
}

int tools_d1_shell(const struct tools_d1 *d1) {
    struct shell shell = {.d1 = d1};
    open_terminal(&shell);
    bool goes_on = true;
    while (goes_on && !shell.quit) {
        struct bnd_slice line = read_line(&shell);
        bool between = shell.text.len == 0;
        shell.failed = false;
        if (line.data == NULL) {
            break;
        }
        if (between && line.data[0] == '.') {
            dot(&shell, line);
        } else if (take(&shell, line)) {
            run(&shell);
        } else if (d1_split_between(&shell.split)) {
            bnd_buf_reset(&shell.text); /* white space, comments */
        }
        goes_on = shell.edit != NULL || !shell.failed;
    }
    if (!shell.quit && goes_on && shell.text.len > 0) {
        run(&shell);
        goes_on = !shell.failed;
    }
    close_terminal(&shell);
    bnd_buf_free(&shell.text);
    return goes_on ? TOOLS_OK : TOOLS_FAILED;
}
