/* bindery top: a live view of a cluster, on a plain terminal. */
#include "tools/commands.h"

#include "tools/api.h"
#include "tools/top_view.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum {
    INTERVAL_DEFAULT_MS = 2000,
    INTERVAL_MIN_MS = 200,
    INTERVAL_MAX_MS = 600000,
    OPERATIONS_SHOWN = 8
};

const struct tools_flag tools_top_flags[] = {
    {"interval", "SECONDS", "between two looks; default 2"},
    {"once", NULL, "look twice, print once, end"},
    {0}};

#define CLEAR "\033[H\033[2J\033[3J"

static double real(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static long long number(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

/* ---- numbers for people
 * ------------------------------------------------------------------------------------- */

enum { CELL = 16 };

/* null is "-". */
static const char *bytes_text(const json_t *value, char out[CELL]) {
    static const char units[] = " KMGTP";
    double bytes = json_number_value(value);
    size_t unit = 0;
    for (; bytes >= 1000 && unit + 2 < sizeof units; unit++) {
        bytes /= 1024;
    }
    if (!json_is_number(value)) {
        (void)snprintf(out, CELL, "-");
    } else if (unit == 0) {
        (void)snprintf(out, CELL, "%.0f", bytes);
    } else {
        (void)snprintf(out, CELL, bytes < 10 ? "%.1f%c" : "%.0f%c", bytes, units[unit]);
    }
    return out;
}

static const char *time_text(const json_t *value, char out[CELL]) {
    double s = json_number_value(value);
    if (!json_is_number(value)) {
        (void)snprintf(out, CELL, "-");
    } else if (s < 0.001) {
        (void)snprintf(out, CELL, "%.0fus", s * 1e6);
    } else if (s < 1) {
        (void)snprintf(out, CELL, s < 0.01 ? "%.1fms" : "%.0fms", s * 1e3);
    } else {
        (void)snprintf(out, CELL, "%.1fs", s);
    }
    return out;
}

static const char *count_text(const json_t *value, char out[CELL]) {
    double count = json_number_value(value);
    if (!json_is_number(value)) {
        (void)snprintf(out, CELL, "-");
    } else {
        (void)snprintf(out, CELL, count > 0 && count < 9.95 ? "%.1f" : "%.0f", count);
    }
    return out;
}

static const char *offset_text(const json_t *value, char out[CELL]) {
    if (!json_is_number(value)) {
        (void)snprintf(out, CELL, "-");
    } else {
        (void)snprintf(out, CELL, "%+.0fms", json_number_value(value) * 1e3);
    }
    return out;
}

/* ---- the screen
 * --------------------------------------------------------------------------------------------- */

static void print_node(const json_t *node) {
    char cells[16][CELL];
    const json_t *requests = json_object_get(node, "requests_per_s");
    const json_t *queues = json_object_get(node, "queues");
    char groups[2 * CELL];
    if (!json_is_true(json_object_get(node, "up"))) {
        (void)printf("%-5lld %-8s %s\n", number(node, "id"), text(node, "state"),
                     text(node, "problem"));
        return;
    }
    (void)snprintf(groups, sizeof groups, "%.0f/%.0f", real(node, "groups_led"),
                   real(node, "groups"));
    bool gateway = strcmp(text(node, "role"), "gateway") == 0;
    (void)printf("%-5lld %-8s %7s %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s %5s %6s %6s %5s %6s\n",
                 number(node, "id"), gateway ? "gateway" : text(node, "state"),
                 gateway ? "-" : groups, count_text(json_object_get(requests, "s3"), cells[0]),
                 count_text(json_object_get(requests, "bindings"), cells[1]),
                 count_text(json_object_get(requests, "rest"), cells[2]),
                 time_text(json_object_get(node, "request_p50_s"), cells[3]),
                 time_text(json_object_get(node, "request_p99_s"), cells[4]),
                 bytes_text(json_object_get(node, "in_bytes_per_s"), cells[5]),
                 bytes_text(json_object_get(node, "out_bytes_per_s"), cells[6]),
                 time_text(json_object_get(node, "commit_p99_s"), cells[7]),
                 count_text(json_object_get(node, "journal_syncs_per_s"), cells[8]),
                 time_text(json_object_get(node, "journal_write_p99_s"), cells[9]),
                 count_text(json_object_get(queues, "requests_open"), cells[10]),
                 bytes_text(json_object_get(queues, "journal_bytes"), cells[11]),
                 bytes_text(json_object_get(node, "rss_bytes"), cells[12]),
                 bytes_text(json_object_get(node, "disk_free_bytes"), cells[13]),
                 offset_text(json_object_get(node, "clock_offset_s"), cells[14]));
}

static int by_rate(const void *left, const void *right) {
    double a = real(*(json_t *const *)left, "per_s");
    double b = real(*(json_t *const *)right, "per_s");
    return a > b ? -1 : a < b;
}

static void print_operations(json_t *operations) {
    json_t *sorted[64];
    size_t count = 0;
    size_t i = 0;
    json_t *operation = NULL;
    json_array_foreach(operations, i, operation) {
        if (count < sizeof sorted / sizeof sorted[0] && real(operation, "per_s") > 0) {
            sorted[count++] = operation;
        }
    }
    qsort(sorted, count, sizeof *sorted, by_rate);
    (void)printf("\n%-9s %-24s %8s %8s %8s\n", "PORT", "OPERATION", "REQ/S", "P50", "P99");
    for (i = 0; i < count && i < OPERATIONS_SHOWN; i++) {
        char cells[3][CELL];
        (void)printf("%-9s %-24s %8s %8s %8s\n", text(sorted[i], "port"),
                     text(sorted[i], "operation"),
                     count_text(json_object_get(sorted[i], "per_s"), cells[0]),
                     time_text(json_object_get(sorted[i], "p50_s"), cells[1]),
                     time_text(json_object_get(sorted[i], "p99_s"), cells[2]));
    }
}

/* Without a leader first, then by lag. */
static int by_trouble(const void *left, const void *right) {
    const json_t *a = *(json_t *const *)left;
    const json_t *b = *(json_t *const *)right;
    bool headless_a = number(a, "leader") == 0;
    bool headless_b = number(b, "leader") == 0;
    if (headless_a != headless_b) {
        return headless_a ? -1 : 1;
    }
    long long more = number(b, "lag") - number(a, "lag");
    long long order = more != 0 ? more : number(a, "gid") - number(b, "gid");
    return order > 0 ? 1 : order < 0 ? -1 : 0;
}

static void print_groups(json_t *groups, size_t lines) {
    size_t count = json_array_size(groups);
    json_t **sorted = calloc(count + 1, sizeof(json_t *));
    if (sorted == NULL) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = json_array_get(groups, i);
    }
    qsort(sorted, count, sizeof(json_t *), by_trouble);
    (void)printf("\n%-8s %-6s %-7s %-6s %-10s %-8s %s\n", "GROUP", "SHARD", "LEADER", "TERM",
                 "COMMIT", "LAG", "MEMBERS");
    for (size_t i = 0; i < count && i < lines; i++) {
        size_t k = 0;
        json_t *member = NULL;
        (void)printf("%-8s %-6lld %-7lld %-6lld %-10lld %-8lld", text(sorted[i], "kind"),
                     number(sorted[i], "shard"), number(sorted[i], "leader"),
                     number(sorted[i], "term"), number(sorted[i], "commit"),
                     number(sorted[i], "lag"));
        json_array_foreach(json_object_get(sorted[i], "members"), k, member) {
            (void)printf(" %lld:%s", number(member, "node"), text(member, "role"));
        }
        (void)printf("\n");
    }
    if (count > lines) {
        (void)printf("... and %zu more\n", count - lines);
    }
    free(sorted);
}

static void print_view(json_t *view, size_t group_lines) {
    size_t i = 0;
    json_t *node = NULL;
    (void)printf("%-5s %-8s %7s %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s %5s %6s %6s %5s %6s\n",
                 "NODE", "STATE", "LED", "S3/S", "BIND/S", "REST/S", "P50", "P99", "IN/S", "OUT/S",
                 "COMMIT", "SYNC/S", "SYNC", "OPEN", "JQUEUE", "RSS", "FREE", "CLOCK");
    json_array_foreach(json_object_get(view, "nodes"), i, node) {
        print_node(node);
    }
    print_operations(json_object_get(view, "operations"));
    print_groups(json_object_get(view, "groups"), group_lines);
}

/* ---- the terminal
 * ------------------------------------------------------------------------------------------- */

struct screen {
    bool keys; /* stdin is a terminal that gives keys at once */
    struct termios before;
};

static void screen_open(struct screen *screen) {
    screen->keys = isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &screen->before) == 0;
    if (screen->keys) {
        struct termios raw = screen->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C ends the program */
        screen->keys = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
}

static void screen_close(const struct screen *screen) {
    if (screen->keys) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen->before); /* nothing else to be done */
    }
}

/* Groups that still fit below nodes and operations. */
static size_t group_lines(const json_t *view) {
    struct winsize size = {0};
    size_t used = json_array_size(json_object_get(view, "nodes")) + OPERATIONS_SHOWN + 8;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) {
        return 10;
    }
    return size.ws_row > used + 3 ? size.ws_row - used : 3;
}

/* True when q was typed, or the input is at its end. */
static bool wait_key(const struct screen *screen, int interval_ms) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;
    int rv = poll(&input, screen->keys ? 1 : 0, interval_ms);
    return rv > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q');
}

/* ---- the command
 * -------------------------------------------------------------------------------------------- */

struct top {
    struct tools_api api;
    struct tools_fleet fleet;
    struct tools_top_past past;
    struct screen screen;
    int interval_ms;
    bool once;
};

static void show(const struct top *top, json_t *view) {
    if (top->api.json) {
        (void)json_dumpf(view, stdout, top->once ? JSON_INDENT(2) : JSON_COMPACT);
        (void)printf("\n"); /* a closed stdout is the reader's choice */
    } else {
        bool clear = !top->once && isatty(STDOUT_FILENO) == 1;
        (void)printf("%sbindery top: %zu nodes, revision %lld, every %.1f s%s\n\n",
                     clear ? CLEAR : "", top->fleet.count, top->fleet.revision,
                     top->interval_ms / 1000.0, clear ? "; q ends" : "");
        print_view(view, top->once ? SIZE_MAX : group_lines(view));
    }
    (void)fflush(stdout);
}

static int run(struct top *top) {
    int status = tools_fleet_open(&top->api, &top->fleet);
    if (status != -1) {
        return status;
    }
    screen_open(&top->screen);
    bool ok = tools_fleet_read(&top->fleet);
    bool again = ok;
    while (again) {
        tools_top_remember(&top->past, &top->fleet);
        if (wait_key(&top->screen, top->interval_ms)) {
            break;
        }
        ok = tools_fleet_read(&top->fleet);
        json_t *view = ok ? tools_top_view(&top->past, &top->fleet) : NULL;
        ok = view != NULL;
        if (ok) {
            show(top, view);
        }
        json_decref(view);
        again = ok && !top->once;
    }
    screen_close(&top->screen);
    if (!ok) {
        (void)fprintf(stderr, "bindery: out of memory\n");
    }
    return ok ? TOOLS_OK : TOOLS_FAILED;
}

/* False: it was told what is wrong with it. */
static bool read_interval(const struct tools_args *args, int *out_ms) {
    const char *given = tools_args_flag(args, "interval");
    char *end = NULL;
    double seconds = given == NULL ? INTERVAL_DEFAULT_MS / 1000.0 : strtod(given, &end);
    if ((given != NULL && (end == given || *end != 0)) ||
        !(seconds >= INTERVAL_MIN_MS / 1000.0 && seconds <= INTERVAL_MAX_MS / 1000.0)) {
        (void)tools_usage("top", "--interval must be a number of seconds from 0.2 to 600");
        return false;
    }
    *out_ms = (int)(seconds * 1000);
    return true;
}

int tools_cmd_top(int argc, const char **argv) {
    struct top *top = calloc(1, sizeof *top);
    if (top == NULL) {
        return TOOLS_FAILED;
    }
    int status = tools_api_parse(argc, argv, &top->api);
    if (status == -1 && !read_interval(&top->api.args, &top->interval_ms)) {
        status = TOOLS_USAGE;
    }
    if (status == -1) {
        top->once = tools_args_flag(&top->api.args, "once") != NULL;
        status = run(top);
    }
    tools_fleet_free(&top->fleet);
    tools_top_forget(&top->past);
    tools_api_free(&top->api);
    free(top);
    return status;
}
