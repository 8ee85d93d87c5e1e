/* A workerd configuration. */
#include "tools/workerd_config.h"

#include <stdlib.h>
#include <string.h>

void tools_capnp_text(struct bnd_buf *out, const char *text, size_t len) {
    bnd_buf_u8(out, '"');
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte < 0x20 || byte == 0x7f) {
            bnd_buf_printf(out, "\\x%02x", (unsigned)byte);
        } else {
            if (byte == '"' || byte == '\\') {
                bnd_buf_u8(out, '\\');
            }
            bnd_buf_u8(out, byte);
        }
    }
    bnd_buf_u8(out, '"');
}

static void put_text(struct bnd_buf *out, const char *before, const char *text) {
    bnd_buf_append_str(out, before);
    tools_capnp_text(out, text, strlen(text));
}

/* The kind of a module by the end of its name, as wrangler's default rules have it. */
static const char *module_kind(const char *name) {
    static const struct {
        const char *end;
        const char *kind;
    } kinds[] = {{".js", "esModule"}, {".mjs", "esModule"}, {".cjs", "commonJsModule"},
                 {".wasm", "wasm"},   {".txt", "text"},     {".html", "text"},
                 {".sql", "text"},    {".json", "json"},    {".bin", "data"}};
    const char *end = strrchr(name, '.');
    for (size_t i = 0; end != NULL && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(end, kinds[i].end) == 0) {
            return kinds[i].kind;
        }
    }
    return NULL;
}

static int put_modules(const struct tools_workerd_options *options, struct bnd_buf *out,
                       struct bnd_error *err) {
    bnd_buf_append_str(out, "      modules = [");
    for (size_t i = 0; i < options->modules_count; i++) {
        const struct tools_module *module = &options->modules[i];
        const char *kind = module_kind(module->name);
        if (kind == NULL) {
            return BND_FAIL(err, INVALID, "module %s: its ending says no type", module->name);
        }
        put_text(out, i == 0 ? "(name = " : ",\n        (name = ", module->name);
        bnd_buf_printf(out, ", %s = embed ", kind);
        tools_capnp_text(out, module->file, strlen(module->file));
        bnd_buf_append_str(out, ")");
    }
    bnd_buf_append_str(out, "],\n");
    return 0;
}

static void put_compatibility(const struct tools_project *project, struct bnd_buf *out) {
    size_t count = json_array_size(project->compatibility_flags);
    put_text(out, "      compatibilityDate = ", project->compatibility_date);
    bnd_buf_append_str(out, ",\n");
    for (size_t i = 0; i < count; i++) {
        put_text(out, i == 0 ? "      compatibilityFlags = [" : ", ",
                 json_string_value(json_array_get(project->compatibility_flags, i)));
    }
    bnd_buf_append_str(out, count > 0 ? "],\n" : "");
}

/* Strings are text, all else is JSON: as wrangler does. */
static int put_var(const char *name, const json_t *value, struct bnd_buf *out) {
    put_text(out, "        (name = ", name);
    if (json_is_string(value)) {
        bnd_buf_append_str(out, ", text = ");
        tools_capnp_text(out, json_string_value(value), json_string_length(value));
    } else {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (text == NULL) {
            return BND_NOMEM;
        }
        put_text(out, ", json = ", text);
        free(text);
    }
    bnd_buf_append_str(out, "),\n");
    return 0;
}

/* One service for each namespace or database, however many bindings it has: the header says which.
 */
struct service {
    const char *kind; /* "kv" */
    const json_t *bindings;
    const char *(*named)(const json_t *binding);
};

static const char *kv_named(const json_t *binding) {
    return json_string_value(json_object_get(binding, "id"));
}

static bool again(const struct service *service, size_t at) {
    const char *named = service->named(json_array_get(service->bindings, at));
    for (size_t i = 0; i < at; i++) {
        if (strcmp(service->named(json_array_get(service->bindings, i)), named) == 0) {
            return true;
        }
    }
    return false;
}

/* "host" of "host:port" or "[::1]:port": what the certificate is for. */
static void put_host(struct bnd_buf *out, const char *address) {
    const char *colon = strrchr(address, ':');
    size_t len = colon == NULL ? strlen(address) : (size_t)(colon - address);
    if (len >= 2 && address[0] == '[') {
        address++;
        len -= 2;
    }
    tools_capnp_text(out, address, len);
}

static void put_service(const char *kind, const char *named,
                        const struct tools_workerd_options *options, struct bnd_buf *out) {
    BND_AUTO_BUF struct bnd_buf bearer = {0};
    bnd_buf_printf(&bearer, "Bearer %s", options->token);
    out->failed |= bearer.failed;
    bnd_buf_printf(out, "    (name = \"bindery-%s-%s\", external = (address = ", kind, named);
    tools_capnp_text(out, options->bindings, strlen(options->bindings));
    bnd_buf_append_str(out, options->bindings_tls ? ", https = (options = (" : ", http = (");
    bnd_buf_printf(out,
                   "injectRequestHeaders = [\n"
                   "      (name = \"X-Bindery-Binding\", value = \"%s:%s\"),\n"
                   "      (name = \"Authorization\", value = ",
                   kind, named);
    tools_capnp_text(out, (const char *)bearer.data, bearer.len);
    bnd_buf_append_str(out, ")]");
    if (options->bindings_tls) {
        bnd_buf_append_str(out, "),\n      certificateHost = ");
        put_host(out, options->bindings);
        if (options->ca.len > 0) {
            bnd_buf_append_str(out, ",\n      tlsOptions = (trustedCertificates = [");
            tools_capnp_text(out, (const char *)options->ca.data, options->ca.len);
            bnd_buf_append_str(out, "])");
        }
    }
    bnd_buf_append_str(out, "))),\n");
}

static void put_services(const struct service *service, const struct tools_workerd_options *options,
                         struct bnd_buf *out) {
    for (size_t i = 0; i < json_array_size(service->bindings); i++) {
        if (!again(service, i)) {
            put_service(service->kind, service->named(json_array_get(service->bindings, i)),
                        options, out);
        }
    }
}

static void put_kv_bindings(const struct tools_project *project, struct bnd_buf *out) {
    for (size_t i = 0; i < json_array_size(project->kv); i++) {
        const json_t *binding = json_array_get(project->kv, i);
        put_text(out, "        (name = ", json_string_value(json_object_get(binding, "binding")));
        bnd_buf_printf(out, ", kvNamespace = \"bindery-kv-%s\"),\n",
                       json_string_value(json_object_get(binding, "id")));
    }
}

/* As wrangler writes it: the API is workerd's own, what it fetches from is ours. */
static void put_d1_bindings(const struct tools_project *project, struct bnd_buf *out) {
    for (size_t i = 0; i < json_array_size(project->d1); i++) {
        const json_t *binding = json_array_get(project->d1, i);
        put_text(out, "        (name = ", json_string_value(json_object_get(binding, "binding")));
        bnd_buf_printf(out,
                       ", wrapped = (moduleName = \"cloudflare-internal:d1-api\",\n"
                       "          innerBindings = [(name = \"fetcher\", service = "
                       "\"bindery-d1-%s\")])),\n",
                       tools_project_database(binding));
    }
}

static int put_bindings(const struct tools_project *project, struct bnd_buf *out) {
    int rv = 0;
    json_t *vars = (json_t *)(uintptr_t)project->vars;
    bnd_buf_append_str(out, "      bindings = [\n");
    for (void *iter = json_object_iter(vars); rv == 0 && iter != NULL;
         iter = json_object_iter_next(vars, iter)) {
        rv = put_var(json_object_iter_key(iter), json_object_iter_value(iter), out);
    }
    for (size_t i = 0; i < json_array_size(project->bindings); i++) {
        const json_t *binding = json_array_get(project->bindings, i);
        put_text(out, "        (name = ", json_string_value(json_object_get(binding, "name")));
        put_text(out, ", durableObjectNamespace = ",
                 json_string_value(json_object_get(binding, "class_name")));
        bnd_buf_append_str(out, "),\n");
    }
    put_kv_bindings(project, out);
    put_d1_bindings(project, out);
    bnd_buf_append_str(out, "      ])),\n");
    return rv;
}

static size_t live_classes(const struct tools_project *project) {
    size_t count = 0;
    for (size_t i = 0; i < project->classes_count; i++) {
        count += project->classes[i].live;
    }
    return count;
}

static void put_classes(const struct tools_project *project, struct bnd_buf *out) {
    if (live_classes(project) == 0) {
        return;
    }
    bnd_buf_append_str(out, "      durableObjectNamespaces = [\n");
    for (size_t i = 0; i < project->classes_count; i++) {
        const struct tools_class *class = &project->classes[i];
        if (class->live) {
            put_text(out, "        (className = ", class->name);
            put_text(out, ", uniqueKey = ", class->key);
            bnd_buf_append_str(out, class->sql ? ", enableSql = true),\n" : "),\n");
        }
    }
    bnd_buf_append_str(out, "      ],\n"
                            "      durableObjectStorage = (localDisk = \"bindery-do-cache\"),\n");
}

static void put_option(struct bnd_buf *out, const char *before, const char *name,
                       const char *value) {
    BND_AUTO_BUF struct bnd_buf pair = {0};
    bnd_buf_printf(&pair, "%s=%s", name, value);
    out->failed |= pair.failed;
    bnd_buf_append_str(out, before);
    tools_capnp_text(out, (const char *)pair.data, pair.len);
}

/* <worker name> is the prefix in the bucket: one path segment, so that the log and the owner record
 * of one object (<prefix>/v1/do/<namespace>/<id>/...) share their first five. */
static void put_cluster(const struct tools_project *project,
                        const struct tools_workerd_options *options, struct bnd_buf *out) {
    BND_AUTO_BUF struct bnd_buf url = {0};
    bnd_buf_printf(&url, "s3://%s/%s", options->bucket, project->name);
    out->failed |= url.failed;
    bnd_buf_append_str(out, "  cluster = (\n    bucket = ");
    tools_capnp_text(out, (const char *)url.data, url.len);
    put_option(out, ",\n    bucketOptions = [", "aws_endpoint", options->endpoint);
    put_option(out, ", ", "aws_region", "auto");
    put_option(out, ",\n      ", "aws_access_key_id", options->access_key);
    put_option(out, ", ", "aws_secret_access_key", options->secret_key);
    put_text(out, "],\n    address = ", options->peers);
    put_text(out, ",\n    key = ", options->cluster_key);
    bnd_buf_append_str(out, "),\n");
}

int tools_workerd_config(const struct tools_project *project,
                         const struct tools_workerd_options *options, struct bnd_buf *out,
                         struct bnd_error *err) {
    bool objects = live_classes(project) > 0;
    bnd_buf_append_str(out, "# Made by `bindery workerd-config`");
    const struct service kv = {"kv", project->kv, kv_named};
    const struct service d1 = {"d1", project->d1, tools_project_database};
    bool secrets = objects || json_array_size(kv.bindings) + json_array_size(d1.bindings) > 0;
    bnd_buf_append_str(out, secrets ? ": holds secrets." : ".");
    bnd_buf_append_str(out, objects ? " Serve it with --experimental.\n" : "\n");
    bnd_buf_append_str(out, "using Workerd = import \"/workerd/workerd.capnp\";\n"
                            "const config :Workerd.Config = (\n  services = [\n    (name = ");
    tools_capnp_text(out, project->name, strlen(project->name));
    bnd_buf_append_str(out, ", worker = (\n");
    int rv = put_modules(options, out, err);
    if (rv != 0) {
        return rv;
    }
    put_compatibility(project, out);
    put_classes(project, out);
    rv = put_bindings(project, out);
    put_services(&kv, options, out);
    put_services(&d1, options, out);
    if (objects) {
        put_text(out, "    (name = \"bindery-do-cache\", disk = (path = ", options->disk);
        bnd_buf_append_str(out, ", writable = true)),\n");
    }
    put_text(out, "  ],\n  sockets = [(name = \"http\", address = ", options->listen);
    put_text(out, ", http = (), service = ", project->name);
    bnd_buf_append_str(out, ")],\n");
    if (objects) {
        put_cluster(project, options, out);
    }
    bnd_buf_append_str(out, ");\n");
    return rv != 0 || out->failed ? BND_FAIL(err, NOMEM, "no memory") : 0;
}
