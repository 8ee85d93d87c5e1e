/* bindery workerd-config: the configuration of a released workerd for a wrangler project. */
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/jsonc.h"
#include "tools/workerd_config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_BYTES = 32, KEY_MIN = 32, KEY_MAX = 256, OUTPUT_MODE = 0600 };

struct flags {
    char **modules; /* popt's */
    char *environment, *listen, *peers, *disk, *bucket, *endpoint, *key_file, *out;
    int partial;
};

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
    size_t len = fread(key, 1, KEY_MAX, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file); /* read only */
    while (len > 0 && (key[len - 1] == '\n' || key[len - 1] == '\r')) {
        len--;
    }
    key[len] = 0;
    return failed ? system_error(path, err)
           : len < KEY_MIN
               ? BND_FAIL(err, INVALID, "%s: a key has at least %d bytes", path, KEY_MIN)
               : 0;
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

static int find_modules(const struct flags *flags, struct tools_workerd_options *options,
                        struct bnd_error *err) {
    char *folder = output_folder(flags->out);
    if (folder == NULL) {
        return system_error(flags->out == NULL ? "." : flags->out, err);
    }
    int rv = 0;
    for (char **module = flags->modules; rv == 0 && *module != NULL; module++) {
        if (options->modules_count == TOOLS_MODULES_MAX) {
            rv = BND_FAIL(err, INVALID, "more than %d modules", TOOLS_MODULES_MAX);
            break;
        }
        char *resolved = realpath(*module, NULL);
        char *file = resolved == NULL ? NULL : relative_path(folder, resolved);
        const char *slash = strrchr(*module, '/');
        if (file == NULL) {
            rv = system_error(*module, err);
        } else {
            options->modules[options->modules_count++] =
                (struct tools_module){.name = slash == NULL ? *module : slash + 1, .file = file};
        }
        free(resolved);
    }
    free(folder);
    return rv;
}

/* What Durable Objects need beyond the project. */
static int find_cluster(const struct flags *flags, struct tools_workerd_options *options,
                        char key[KEY_MAX + 1], struct bnd_error *err) {
    options->access_key = getenv("AWS_ACCESS_KEY_ID");
    options->secret_key = getenv("AWS_SECRET_ACCESS_KEY");
    if (flags->key_file == NULL || flags->disk == NULL) {
        return BND_FAIL(err, INVALID, "Durable Objects need --key-file and --disk");
    }
    if (options->access_key == NULL || options->secret_key == NULL) {
        return BND_FAIL(err, INVALID,
                        "Durable Objects need an S3 key in AWS_ACCESS_KEY_ID and "
                        "AWS_SECRET_ACCESS_KEY (`bindery key create`)");
    }
    if (mkdir(flags->disk, 0700) != 0 && errno != EEXIST) {
        return system_error(flags->disk, err);
    }
    options->disk = realpath(flags->disk, NULL);
    if (options->disk == NULL) {
        return system_error(flags->disk, err);
    }
    options->cluster_key = key;
    return read_key(flags->key_file, key, err);
}

static bool has_objects(const struct tools_project *project) {
    for (size_t i = 0; i < project->classes_count; i++) {
        if (project->classes[i].live) {
            return true;
        }
    }
    return false;
}

static int make(const char *file, const struct flags *flags, struct bnd_error *err) {
    json_t *document = NULL;
    struct tools_project project;
    char key[KEY_MAX + 1];
    BND_AUTO_BUF struct bnd_buf text = {0};
    struct tools_project_options wanted = {.environment = flags->environment,
                                           .partial = flags->partial != 0};
    struct tools_workerd_options options = {
        .listen = flags->listen != NULL ? flags->listen : "127.0.0.1:8787",
        .peers = flags->peers != NULL ? flags->peers : "127.0.0.1:8788",
        .bucket = flags->bucket != NULL ? flags->bucket : "durable-objects",
        .endpoint = flags->endpoint != NULL ? flags->endpoint : "http://127.0.0.1:7702",
    };
    int rv = tools_project_read(file, &document, err);
    if (rv != 0) {
        return rv;
    }
    rv = tools_project_parse(document, &wanted, &project, err);
    if (rv != 0) {
        (void)BND_WRAP(err, rv, "%s", file);
    }
    rv = rv != 0 ? rv : find_modules(flags, &options, err);
    if (rv == 0 && has_objects(&project)) {
        rv = find_cluster(flags, &options, key, err);
    }
    rv = rv != 0 ? rv : tools_workerd_config(&project, &options, &text, err);
    if (rv == 0 && flags->out != NULL) {
        rv = write_file(flags->out, bnd_buf_slice(&text), err);
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

static int bad_option(poptContext context, int rv, const struct poptOption *options) {
    const char *known[16];
    size_t count = 0;
    const char *option = poptBadOption(context, POPT_BADOPTION_NOALIAS);
    if (rv != POPT_ERROR_BADOPT) {
        return tools_usage("workerd-config", "%s: %s", option, poptStrerror(rv));
    }
    for (; options->longName != NULL; options++) {
        known[count++] = options->longName;
    }
    known[count] = NULL;
    return tools_unknown("workerd-config", "flag", option + strspn(option, "-"), known);
}

static void flags_free(struct flags *flags) {
    for (char **module = flags->modules; module != NULL && *module != NULL; module++) {
        free(*module);
    }
    free(flags->modules);
    free(flags->environment);
    free(flags->listen);
    free(flags->peers);
    free(flags->disk);
    free(flags->bucket);
    free(flags->endpoint);
    free(flags->key_file);
    free(flags->out);
}

int tools_cmd_workerd_config(int argc, const char **argv) {
    struct flags f = {0};
    struct bnd_error err = {0};
    struct poptOption options[] = {
        {"module", 0, POPT_ARG_ARGV, &f.modules, 0,
         "a bundled module (`wrangler deploy --dry-run --outdir dist`); the first is the main one",
         "FILE"},
        {"env", 0, POPT_ARG_STRING, &f.environment, 0, "environment of the project", "NAME"},
        {"listen", 0, POPT_ARG_STRING, &f.listen, 0, "HTTP; default 127.0.0.1:8787", "HOST:PORT"},
        {"peers", 0, POPT_ARG_STRING, &f.peers, 0,
         "where other workerds reach this one; default 127.0.0.1:8788", "HOST:PORT"},
        {"disk", 0, POPT_ARG_STRING, &f.disk, 0, "folder of this workerd alone: a cache", "DIR"},
        {"bucket", 0, POPT_ARG_STRING, &f.bucket, 0,
         "made with header x-bindery-path-segments: 5; default durable-objects", "NAME"},
        {"s3", 0, POPT_ARG_STRING, &f.endpoint, 0,
         "S3 port of a node or gateway; default http://127.0.0.1:7702", "URL"},
        {"key-file", 0, POPT_ARG_STRING, &f.key_file, 0,
         "secret that all workerds of the project share; made if it is not there", "FILE"},
        {"out", 0, POPT_ARG_STRING, &f.out, 0, "where to write; default: stdout", "FILE"},
        {"partial", 0, POPT_ARG_NONE, &f.partial, 0, "leave out bindings not supported yet", NULL},
        POPT_AUTOHELP POPT_TABLEEND};
    poptContext context = poptGetContext("bindery", argc, argv, options, 0);
    poptSetOtherOptionHelp(context, "wrangler.jsonc --module FILE [flags]");
    int rv = poptGetNextOpt(context);
    const char *file = rv < -1 ? NULL : poptGetArg(context);
    const char *more = rv < -1 ? NULL : poptPeekArg(context);
    int status = TOOLS_OK;
    if (rv < -1) {
        status = bad_option(context, rv, options);
    } else if (file == NULL || more != NULL || f.modules == NULL) {
        status = more != NULL   ? tools_usage(argv[0], "unexpected argument %s", more)
                 : file == NULL ? tools_usage(argv[0], "the project's file is missing")
                                : tools_usage(argv[0], "--module is missing");
    } else if (make(file, &f, &err) != 0) {
        status = tools_fail(&err);
    }
    poptFreeContext(context);
    flags_free(&f);
    return status;
}
