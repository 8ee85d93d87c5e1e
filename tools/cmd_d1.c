/* bindery d1: databases and what is in them, over the REST port of a node (Cloudflare's API v4, as
 * wrangler uses it). A database is named by its uuid or its name. */
#include "base/bytes.h"
#include "tools/commands.h"
#include "tools/d1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { PER_PAGE = 1000, FILE_MAX = 4 << 20 };

const struct tools_verb tools_d1_verbs[] = {
    {"create", "NAME", "make a database; prints its uuid"},
    {"list", "", "list the databases, in the order of their names"},
    {"info", "DATABASE", "its size, tables and age"},
    {"delete", "DATABASE", "delete it with everything in it"},
    {"execute", "DATABASE", "run the statements of --command or --file as one transaction"},
    {"export", "DATABASE",
     "write it to --output as SQL text, or with --format db as a file that SQLite opens, as it "
     "is or was at --bookmark or --timestamp; prints the bookmark that it is of"},
    {"shell", "DATABASE", "read statements from the terminal or stdin; .help says what else"},
    {"time-travel info", "DATABASE", "the bookmark of now, or of --timestamp"},
    {"time-travel restore", "DATABASE",
     "make it as it was at --bookmark or --timestamp; prints the bookmark that undoes it"},
    {"time-travel fork", "DATABASE NAME",
     "make another one that begins as it is, or was at --bookmark or --timestamp"},
    {0}};
const struct tools_flag tools_d1_flags[] = {
    {"command", "SQL", "execute: the statements"},
    {"file", "FILE", "execute: a file of statements, at most 4 MiB; - for stdin"},
    {"mode", "WORD", "execute: how rows are printed: box (default), line, csv, json"},
    {"output", "FILE", "export: a file that is not there yet; - (default) for stdout"},
    {"format", "WORD", "export: sql (default), db"},
    {"filter", "TEXT", "list: only names that contain it"},
    {"timestamp", "TIME", "time-travel, export: seconds since 1970, or as 2026-11-30T12:00:00Z"},
    {"bookmark", "BOOKMARK", "time-travel restore, fork, export: to, at this one"},
    {0}};

static const char *word(const struct tools_d1 *d1, size_t i) {
    return d1->remote.api.args.words[i];
}

static const char *flag(const struct tools_d1 *d1, const char *name) {
    return tools_remote_flag(&d1->remote, name);
}

/* Of the named database; more: what follows its name. */
static void put_path(const struct tools_d1 *d1, const char *more, struct bnd_buf *out) {
    bnd_buf_append(out, d1->remote.base.data, d1->remote.base.len);
    bnd_buf_append_str(out, "/");
    tools_remote_escape(out, word(d1, 0), false);
    bnd_buf_append_str(out, more);
    bnd_buf_u8(out, 0);
}

/* A call about the named database. */
static json_t *call(const struct tools_d1 *d1, const char *method, const char *more,
                    const json_t *body) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    char *sent = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    put_path(d1, more, &path);
    if (path.failed || (body != NULL && sent == NULL)) {
        free(sent);
        (void)tools_out_of_memory();
        return NULL;
    }
    json_t *result = tools_api_call(&d1->remote.api, method, (const char *)path.data, sent);
    free(sent);
    return result;
}

/* ---- databases
 * ------------------------------------------------------------------------------------------------
 */

static void print_database(const json_t *item) {
    (void)printf("%s  %s  %s\n", tools_json_text(item, "uuid"), tools_json_text(item, "created_at"),
                 tools_json_text(item, "name"));
}

static int create(struct tools_d1 *d1) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    json_t *body = json_pack("{s:s}", "name", word(d1, 0));
    char *sent = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    bnd_buf_append(&path, d1->remote.base.data, d1->remote.base.len);
    bnd_buf_u8(&path, 0);
    json_t *result = NULL;
    if (sent == NULL) {
        (void)fprintf(stderr, "bindery: the name is not UTF-8\n");
    } else if (!path.failed) {
        result = tools_api_call(&d1->remote.api, "POST", (const char *)path.data, sent);
    }
    free(sent);
    json_decref(body);
    return tools_remote_finish(&d1->remote, result, print_database);
}

/* A page, owned; NULL: it was told why not. */
static json_t *read_page(struct tools_d1 *d1, int page) {
    BND_AUTO_BUF struct bnd_buf path = {0};
    bnd_buf_append(&path, d1->remote.base.data, d1->remote.base.len);
    bnd_buf_printf(&path, "?per_page=%d&page=%d", PER_PAGE, page);
    if (flag(d1, "filter") != NULL) {
        bnd_buf_append_str(&path, "&name=");
        tools_remote_escape(&path, flag(d1, "filter"), false);
    }
    bnd_buf_u8(&path, 0);
    return path.failed ? NULL
                       : tools_api_call(&d1->remote.api, "GET", (const char *)path.data, NULL);
}

static int list(struct tools_d1 *d1) {
    json_t *all = json_array();
    bool failed = all == NULL;
    size_t count = PER_PAGE;
    for (int page = 1; !failed && count == PER_PAGE; page++) {
        json_t *items = read_page(d1, page);
        count = json_array_size(items);
        failed = items == NULL || json_array_extend(all, items) != 0;
        json_decref(items);
    }
    for (size_t i = 0; !failed && !d1->remote.api.json && i < json_array_size(all); i++) {
        print_database(json_array_get(all, i));
    }
    if (failed) {
        json_decref(all);
        all = NULL;
    }
    return tools_remote_finish(&d1->remote, all, NULL);
}

static void print_info(const json_t *item) {
    (void)printf("uuid     %s\nname     %s\ncreated  %s\ntables   %lld\nsize     %lld\n",
                 tools_json_text(item, "uuid"), tools_json_text(item, "name"),
                 tools_json_text(item, "created_at"),
                 (long long)json_integer_value(json_object_get(item, "num_tables")),
                 (long long)json_integer_value(json_object_get(item, "file_size")));
}

static int info(struct tools_d1 *d1) {
    return tools_remote_finish(&d1->remote, call(d1, "GET", "", NULL), print_info);
}

static int delete (struct tools_d1 *d1) {
    return tools_remote_finish(&d1->remote, call(d1, "DELETE", "", NULL), NULL);
}

/* ---- statements
 * ------------------------------------------------------------------------------------------------
 */

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static void print_result(const json_t *result, enum tools_table_mode mode, bool figures) {
    const json_t *columns = json_object_get(json_object_get(result, "results"), "columns");
    const json_t *rows = json_object_get(json_object_get(result, "results"), "rows");
    const json_t *meta = json_object_get(result, "meta");
    if (json_array_size(columns) > 0) {
        tools_table_print(stdout, mode, columns, rows);
    }
    if (figures) {
        (void)fflush(stdout); /* in order with what follows, as printf */
        (void)fprintf(stderr, "-- %zu rows, %.0f changed, %.2f ms, %.0f rows read, %.0f written\n",
                      json_array_size(rows), number(meta, "changes"), number(meta, "duration"),
                      number(meta, "rows_read"), number(meta, "rows_written"));
    }
}

void tools_d1_print(const json_t *results, enum tools_table_mode mode, bool figures) {
    for (size_t i = 0; i < json_array_size(results); i++) {
        print_result(json_array_get(results, i), mode, figures);
    }
}

json_t *tools_d1_run(const struct tools_d1 *d1, struct bnd_slice sql, const char *parameter) {
    json_t *text = json_stringn((const char *)sql.data, sql.len);
    json_t *body = text == NULL ? NULL
                   : parameter == NULL
                       ? json_pack("{s:o}", "sql", text)
                       : json_pack("{s:o, s:[s]}", "sql", text, "params", parameter);
    if (body == NULL) {
        (void)fprintf(stderr, "bindery: the statements are not UTF-8\n");
        return NULL;
    }
    json_t *results = call(d1, "POST", "/raw", body);
    json_decref(body);
    return results;
}

static int run_sql(struct tools_d1 *d1, struct bnd_slice sql) {
    enum tools_table_mode mode = TOOLS_TABLE_BOX;
    if (flag(d1, "mode") != NULL && !tools_table_mode_read(flag(d1, "mode"), &mode)) {
        return TOOLS_USAGE;
    }
    json_t *results = tools_d1_run(d1, sql, NULL);
    if (!d1->remote.api.json) {
        tools_d1_print(results, mode, true);
    }
    return tools_remote_finish(&d1->remote, results, NULL);
}

static int run_file(struct tools_d1 *d1, const char *name) {
    BND_AUTO_BUF struct bnd_buf text = {0};
    char piece[4096];
    size_t len = 0;
    FILE *from = tools_is_stdio(name) ? stdin : fopen(name, "rb");
    if (from == NULL) {
        return tools_system_failed(name);
    }
    while (text.len <= FILE_MAX && (len = fread(piece, 1, sizeof piece, from)) > 0) {
        bnd_buf_append(&text, piece, len);
    }
    bool failed = ferror(from) != 0;
    if (from != stdin) {
        (void)fclose(from); /* read only */
    }
    if (failed) {
        return tools_system_failed(name);
    }
    if (text.failed) {
        return tools_out_of_memory();
    }
    if (text.len > FILE_MAX) {
        (void)fprintf(stderr,
                      "bindery: %s: larger than 4 MiB, which is as much as one transaction "
                      "may have\n",
                      name);
        return TOOLS_FAILED;
    }
    return run_sql(d1, bnd_buf_slice(&text));
}

static int execute(struct tools_d1 *d1) {
    const char *command = flag(d1, "command");
    const char *file = flag(d1, "file");
    if ((command == NULL) == (file == NULL)) {
        return tools_usage("d1", "execute: --command or --file, one of them");
    }
    return command != NULL ? run_sql(d1, bnd_slice_str(command)) : run_file(d1, file);
}

/* ---- Time Travel
 * ------------------------------------------------------------------------------------------------
 */

static void print_bookmark(const json_t *result) {
    (void)printf("%s\n", tools_json_text(result, "bookmark"));
}

static void print_restored(const json_t *result) {
    (void)printf("restored to %s\nto undo it, restore %s\n", tools_json_text(result, "bookmark"),
                 tools_json_text(result, "previous_bookmark"));
}

/* "<path>?<name>=<the flag's value>"; name NULL: the path alone. */
static void put_more_at(const struct tools_d1 *d1, const char *path, const char *name,
                        struct bnd_buf *out) {
    bnd_buf_append_str(out, path);
    if (name != NULL) {
        bnd_buf_printf(out, "?%s=", name);
        tools_remote_escape(out, flag(d1, name), false);
    }
    bnd_buf_u8(out, 0);
}

static json_t *call_at(struct tools_d1 *d1, const char *method, const char *path,
                       const char *name) {
    BND_AUTO_BUF struct bnd_buf more = {0};
    put_more_at(d1, path, name, &more);
    return more.failed ? NULL : call(d1, method, (const char *)more.data, NULL);
}

static int travel_info(struct tools_d1 *d1) {
    const char *by = flag(d1, "timestamp") != NULL ? "timestamp" : NULL;
    return tools_remote_finish(&d1->remote, call_at(d1, "GET", "/time_travel/bookmark", by),
                               print_bookmark);
}

static int travel_restore(struct tools_d1 *d1) {
    bool by_time = flag(d1, "timestamp") != NULL;
    if (by_time == (flag(d1, "bookmark") != NULL)) {
        return tools_usage("d1", "time-travel restore: --bookmark or --timestamp, one of them");
    }
    json_t *result =
        call_at(d1, "POST", "/time_travel/restore", by_time ? "timestamp" : "bookmark");
    return tools_remote_finish(&d1->remote, result, print_restored);
}

static int travel_fork(struct tools_d1 *d1) {
    BND_AUTO_BUF struct bnd_buf more = {0};
    static const char *const places[] = {"bookmark", "timestamp"};
    bnd_buf_append_str(&more, "/time_travel/fork?name=");
    tools_remote_escape(&more, word(d1, 1), false);
    for (size_t i = 0; i < 2; i++) {
        if (flag(d1, places[i]) != NULL) {
            bnd_buf_printf(&more, "&%s=", places[i]);
            tools_remote_escape(&more, flag(d1, places[i]), false);
        }
    }
    bnd_buf_u8(&more, 0);
    json_t *result = more.failed ? NULL : call(d1, "POST", (const char *)more.data, NULL);
    return tools_remote_finish(&d1->remote, result, print_database);
}

/* ---- exports
 * ------------------------------------------------------------------------------------------------
 */

struct download {
    struct tools_d1 *d1;
    char bookmark[64]; /* of what was got */
};

static void on_header(void *data, const char *name, const char *value) {
    struct download *download = data;
    if (strcasecmp(name, "x-bindery-bookmark") == 0) {
        (void)snprintf(download->bookmark, sizeof download->bookmark, "%s", value); /* fits */
    }
}

static int get(struct download *download, const char *path) {
    const char *name = flag(download->d1, "output");
    struct tools_transfer transfer = {.path = path, .header = on_header, .data = download};
    int status = tools_remote_get_new_file(&download->d1->remote, &transfer, name);
    if (status != TOOLS_OK || tools_is_stdio(name)) {
        return status;
    }
    json_t *result = json_pack("{s:s}", "bookmark", download->bookmark);
    return tools_remote_finish(&download->d1->remote, result, print_bookmark);
}

static int export_db(struct download *download, const char *place) {
    BND_AUTO_BUF struct bnd_buf more = {0};
    BND_AUTO_BUF struct bnd_buf path = {0};
    if (tools_is_stdio(flag(download->d1, "output")) && isatty(STDOUT_FILENO)) {
        return tools_usage("d1", "export: a database is nothing for a terminal: --output FILE");
    }
    put_more_at(download->d1, "/sqlite", place, &more);
    if (!more.failed) {
        put_path(download->d1, (const char *)more.data, &path);
    }
    return more.failed || path.failed ? tools_out_of_memory()
                                      : get(download, (const char *)path.data);
}

/* The node makes the text as it is read, under a URL of its own: of which the path is taken, for
 * --url may lead there otherwise than the node thinks. */
static int export_sql(struct download *download) {
    json_t *body = json_pack("{s:s}", "output_format", "polling");
    json_t *result = body == NULL ? NULL : call(download->d1, "POST", "/export", body);
    const char *url = tools_json_text(json_object_get(result, "result"), "signed_url");
    const char *host = strstr(url, "://");
    const char *path = host == NULL ? NULL : strchr(host + 3, '/');
    int status = TOOLS_FAILED;
    if (path != NULL) {
        on_header(download, "x-bindery-bookmark", tools_json_text(result, "at_bookmark"));
        status = get(download, path);
    } else if (result != NULL) {
        (void)fprintf(stderr, "bindery: the answer names no file\n");
    }
    json_decref(body);
    json_decref(result);
    return status;
}

static int export(struct tools_d1 *d1) {
    const char *format = flag(d1, "format");
    bool by_time = flag(d1, "timestamp") != NULL;
    bool by_bookmark = flag(d1, "bookmark") != NULL;
    struct download download = {.d1 = d1};
    if (by_time && by_bookmark) {
        return tools_usage("d1", "export: --bookmark or --timestamp, one of them");
    }
    if (format != NULL && strcmp(format, "db") == 0) {
        return export_db(&download, by_time ? "timestamp" : by_bookmark ? "bookmark" : NULL);
    }
    if (format != NULL && strcmp(format, "sql") != 0) {
        return tools_usage("d1", "export: --format is sql or db");
    }
    if (by_time || by_bookmark) {
        return tools_usage("d1", "export: --bookmark and --timestamp are for --format db");
    }
    return export_sql(&download);
}

static int shell(struct tools_d1 *d1) {
    return tools_d1_shell(d1);
}

int tools_cmd_d1(int argc, const char **argv) {
    static const struct {
        const char *verb;
        int (*run)(struct tools_d1 *d1);
    } all[] = {{"create", create},
               {"list", list},
               {"info", info},
               {"delete", delete},
               {"execute", execute},
               {"export", export},
               {"shell", shell},
               {"time-travel info", travel_info},
               {"time-travel restore", travel_restore},
               {"time-travel fork", travel_fork}};
    struct tools_d1 d1 = {0};
    int status = tools_api_parse(argc, argv, &d1.remote.api);
    status = status != -1 ? status : tools_remote_open(&d1.remote, "d1/database");
    for (size_t i = 0; status == -1 && i < sizeof all / sizeof all[0]; i++) {
        if (tools_args_is(&d1.remote.api.args, all[i].verb)) {
            status = all[i].run(&d1);
        }
    }
    bnd_buf_free(&d1.remote.base);
    tools_api_free(&d1.remote.api);
    return status;
}
