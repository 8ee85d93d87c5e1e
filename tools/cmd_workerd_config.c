/* bindery workerd-config: the configuration of a released workerd for a wrangler project. */
#include "tools/args.h"
#include "tools/commands.h"
#include "tools/jsonc.h"
#include "tools/workerd_config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_BYTES = 32, KEY_MIN = 32, KEY_MAX = 256, OUTPUT_MODE = 0600, FILE_PIECE = 4096 };

#define LISTEN_DEFAULT "127.0.0.1:8787"
#define PEERS_DEFAULT "127.0.0.1:8788"
#define BUCKET_DEFAULT "durable-objects"
#define S3_DEFAULT "http://127.0.0.1:7702"
#define BINDINGS_DEFAULT "http://127.0.0.1:7701"

const struct tools_flag tools_workerd_config_flags[] = {
    {"module", "FILE",
     "a bundled module (`wrangler deploy --dry-run --outdir dist`); again for more, the first is "
     "the main one"},
    {"env", "NAME", "environment of the project"},
    {"listen", "HOST:PORT", "HTTP; default " LISTEN_DEFAULT},
    {"peers", "HOST:PORT", "where other workerds reach this one; default " PEERS_DEFAULT},
    {"disk", "DIR", "folder of this workerd alone: a cache"},
    {"bucket", "NAME",
     "made by `bindery r2 bucket create NAME --path-segments 5`; default " BUCKET_DEFAULT},
    {"s3", "URL", "S3 port of a node or gateway; default " S3_DEFAULT},
    {"bindings", "URL",
     "bindings port of a node or gateway, for KV and D1; default " BINDINGS_DEFAULT
     ". The token is taken from BINDERY_API_TOKEN"},
    {"ca", "FILE", "PEM: the cluster's CA, for an https --bindings (or BINDERY_CA)"},
    {"key-file", "FILE", "secret that all workerds of the project share; made if it is not there"},
    {"out", "FILE", "where to write; default: stdout"},
    {"partial", NULL, "leave out bindings not supported yet"},
    {0}};

static const char *flag_or(const struct tools_args *args, const char *name, const char *fallback) {
    const char *value = tools_args_flag(args, name);
    return value != NULL ? value : fallback;
}

static int system_error(const char *path, struct bnd_error *err) {
    return bnd_error_set(err, bnd_code_from_errno(errno), "%s: %s", path, strerror(errno));
}

/* ---- files
 * --------------------------------------------------------------------------------------------- */

/* Replaces the file with bytes that only its owner may read: whole, or not at all. */
static int write_file(const char *path, struct bnd_slice bytes, struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf part = {0};
    bnd_buf_printf(&part, "%s.part", path);
    bnd_buf_u8(&part, 0);
    const char *name = (const char *)part.data;
    int fd = part.failed ? -1 : open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, OUTPUT_MODE);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (file == NULL) {
        return system_error(path, err);
    }
    bool written = fwrite(bytes.data, 1, bytes.len, file) == bytes.len && fflush(file) == 0 &&
                   fchmod(fd, OUTPUT_MODE) == 0 && fsync(fd) == 0;
    int rv = written ? 0 : system_error(path, err);
    (void)fclose(file); /* synced or given up */
    if (rv == 0 && rename(name, path) != 0) {
        rv = system_error(path, err);
    }
    return rv;
}

static int make_key(const char *path, char key[KEY_MAX + 1], struct bnd_error *err) {
    uint8_t bytes[KEY_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return system_error("getrandom", err);
    }
    bnd_hex_encode(bytes, sizeof bytes, key);
    return write_file(path, bnd_slice_str(key), err);
}

/* The key of the workerds' own connections; made the first time. */
static int read_key(const char *path, char key[KEY_MAX + 1], struct bnd_error *err) {
    FILE *file = fopen(path, "rb");
    if (file == NULL && errno == ENOENT) {
        return make_key(path, key, err);
    }
    if (file == NULL) {
        return system_error(path, err);
    }
    char bytes[KEY_MAX + 3]; /* the longest key, an end of line, and one byte that is too much */
    size_t len = fread(bytes, 1, sizeof bytes, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file); /* read only */
    while (len > 0 && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r')) {
        len--;
    }
    if (failed) {
        return system_error(path, err);
    }
    if (len < KEY_MIN || len > KEY_MAX || memchr(bytes, 0, len) != NULL) {
        return BND_FAIL(err, INVALID, "%s: a key is text of %d to %d bytes", path, KEY_MIN,
                        KEY_MAX);
    }
    memcpy(key, bytes, len);
    key[len] = 0;
    return 0;
}

/* How `file` is called from the folder `from`, both absolute and without links. */
static char *relative_path(const char *from, const char *file) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    size_t common = 0; /* up to and including a slash that both have */
    for (size_t i = 0;; i++) {
        bool from_ends = from[i] == 0 || from[i] == '/';
        if (from_ends && file[i] == '/') {
            common = i + 1;
        }
        if (from[i] == 0 || from[i] != file[i]) {
            break;
        }
    }
    const char *rest = strlen(from) < common ? "" : from + common;
    for (; *rest != 0; rest++) {
        if (rest[0] == '/' || rest[1] == 0) {
            bnd_buf_append_str(&out, "../");
        }
    }
    bnd_buf_append_str(&out, file + common);
    bnd_buf_u8(&out, 0);
    return out.failed ? NULL : strdup((const char *)out.data);
}

/* The folder that embed paths start from: of the output, or where we are. Owned; NULL with errno.
 */
static char *output_folder(const char *out) {
    const char *slash = out == NULL ? NULL : strrchr(out, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(out, (size_t)(slash - out) + 1);
    char *resolved = folder == NULL ? NULL : realpath(folder, NULL);
    free(folder);
    return resolved;
}

/* ---- the command
 * --------------------------------------------------------------------------------------- */

static int find_module(const char *folder, const char *path, struct tools_workerd_options *options,
                       struct bnd_error *err) {
    if (options->modules_count == TOOLS_MODULES_MAX) {
        return BND_FAIL(err, INVALID, "more than %d modules", TOOLS_MODULES_MAX);
    }
    char *resolved = realpath(path, NULL);
    char *file = resolved == NULL ? NULL : relative_path(folder, resolved);
    const char *slash = strrchr(path, '/');
    int rv = file == NULL ? system_error(path, err) : 0;
    if (rv == 0) {
        options->modules[options->modules_count++] =
            (struct tools_module){.name = slash == NULL ? path : slash + 1, .file = file};
    }
    free(resolved);
    return rv;
}

static int find_modules(const struct tools_args *args, struct tools_workerd_options *options,
                        struct bnd_error *err) {
    const char *out = tools_args_flag(args, "out");
    char *folder = output_folder(out);
    if (folder == NULL) {
        return system_error(out == NULL ? "." : out, err);
    }
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < args->given_count; i++) {
        if (strcmp(args->given[i].name, "module") == 0) {
            rv = find_module(folder, args->given[i].value, options, err);
        }
    }
    free(folder);
    return rv;
}

/* What Durable Objects need beyond the project. */
static int find_cluster(const struct tools_args *args, struct tools_workerd_options *options,
                        char key[KEY_MAX + 1], struct bnd_error *err) {
    options->access_key = getenv("AWS_ACCESS_KEY_ID");
    options->secret_key = getenv("AWS_SECRET_ACCESS_KEY");
    const char *key_file = tools_args_flag(args, "key-file");
    const char *disk = tools_args_flag(args, "disk");
    if (key_file == NULL || disk == NULL) {
        return BND_FAIL(err, INVALID, "Durable Objects need --key-file and --disk");
    }
    if (options->access_key == NULL || options->secret_key == NULL) {
        return BND_FAIL(err, INVALID,
                        "Durable Objects need an S3 key in AWS_ACCESS_KEY_ID and "
                        "AWS_SECRET_ACCESS_KEY (`bindery key create`)");
    }
    if (mkdir(disk, 0700) != 0 && errno != EEXIST) {
        return system_error(disk, err);
    }
    options->disk = realpath(disk, NULL);
    if (options->disk == NULL) {
        return system_error(disk, err);
    }
    options->cluster_key = key;
    return read_key(key_file, key, err);
}

/* Reads the whole file into *out. */
static int read_file(const char *path, struct bnd_buf *out, struct bnd_error *err) {
    char bytes[FILE_PIECE];
    size_t len = 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return system_error(path, err);
    }
    while ((len = fread(bytes, 1, sizeof bytes, file)) > 0) {
        bnd_buf_append(out, bytes, len);
    }
    int rv = ferror(file) != 0 ? system_error(path, err)
             : out->failed     ? BND_FAIL(err, NOMEM, "no memory")
                               : 0;
    (void)fclose(file); /* read only */
    return rv;
}

/* What bindings of KV and D1 need beyond the project; ca holds what options borrow. */
static int find_port(const struct tools_args *args, struct tools_workerd_options *options,
                     struct bnd_buf *ca, struct bnd_error *err) {
    const char *url = flag_or(args, "bindings", BINDINGS_DEFAULT);
    const char *ca_file = tools_args_flag(args, "ca");
    ca_file = ca_file != NULL ? ca_file : getenv("BINDERY_CA");
    options->token = getenv("BINDERY_API_TOKEN");
    options->bindings_tls = strncmp(url, "https://", 8) == 0;
    if (!options->bindings_tls && strncmp(url, "http://", 7) != 0) {
        return BND_FAIL(err, INVALID, "--bindings: %s is no http or https URL", url);
    }
    options->bindings = strstr(url, "://") + 3;
    if (strpbrk(options->bindings, "/?#@") != NULL || strchr(options->bindings, ':') == NULL) {
        return BND_FAIL(err, INVALID, "--bindings: %s is not http://HOST:PORT", url);
    }
    if (options->token == NULL || options->token[0] == 0) {
        return BND_FAIL(err, INVALID,
                        "KV and D1 need a token in BINDERY_API_TOKEN (`bindery token create "
                        "--permissions kv_read,kv_write,d1_read,d1_write`)");
    }
    if (!options->bindings_tls || ca_file == NULL) {
        return 0;
    }
    int rv = read_file(ca_file, ca, err);
    options->ca = bnd_buf_slice(ca);
    return rv;
}

static bool has_objects(const struct tools_project *project) {
    for (size_t i = 0; i < project->classes_count; i++) {
        if (project->classes[i].live) {
            return true;
        }
    }
    return false;
}

static int make(const struct tools_args *args, struct bnd_error *err) {
    const char *file = args->words[0];
    const char *out = tools_args_flag(args, "out");
    json_t *document = NULL;
    struct tools_project project;
    char key[KEY_MAX + 1];
    BND_AUTO_BUF struct bnd_buf text = {0};
    BND_AUTO_BUF struct bnd_buf ca = {0};
    struct tools_project_options wanted = {.environment = tools_args_flag(args, "env"),
                                           .partial = tools_args_flag(args, "partial") != NULL};
    struct tools_workerd_options options = {
        .listen = flag_or(args, "listen", LISTEN_DEFAULT),
        .peers = flag_or(args, "peers", PEERS_DEFAULT),
        .bucket = flag_or(args, "bucket", BUCKET_DEFAULT),
        .endpoint = flag_or(args, "s3", S3_DEFAULT),
    };
    int rv = tools_project_read(file, &document, err);
    if (rv != 0) {
        return rv;
    }
    rv = tools_project_parse(document, &wanted, &project, err);
    if (rv != 0) {
        (void)BND_WRAP(err, rv, "%s", file);
    }
    rv = rv != 0 ? rv : find_modules(args, &options, err);
    if (rv == 0 && has_objects(&project)) {
        rv = find_cluster(args, &options, key, err);
    }
    if (rv == 0 && json_array_size(project.kv) + json_array_size(project.d1) > 0) {
        rv = find_port(args, &options, &ca, err);
    }
    rv = rv != 0 ? rv : tools_workerd_config(&project, &options, &text, err);
    if (rv == 0 && out != NULL) {
        rv = write_file(out, bnd_buf_slice(&text), err);
    } else if (rv == 0 &&
               (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0)) {
        rv = system_error("stdout", err);
    }
    for (size_t i = 0; i < options.modules_count; i++) {
        free(options.modules[i].file);
    }
    free((char *)(uintptr_t)options.disk);
    json_decref(document);
    return rv;
}

int tools_cmd_workerd_config(int argc, const char **argv) {
    struct tools_args args;
    struct bnd_error err = {0};
    int status = tools_args_parse(argc, argv, &args);
    if (status == -1 && tools_args_flag(&args, "module") == NULL) {
        status = tools_usage(argv[0], "--module is missing");
    }
    if (status == -1) {
        status = make(&args, &err) == 0 ? TOOLS_OK : tools_fail(&err);
    }
    tools_args_free(&args);
    return status;
}
