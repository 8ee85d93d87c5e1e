/* From a wrangler project to what a workerd config needs. */
#include "tools/wrangler.h"

#include "catalog/records.h"
#include "node/config.h"

#include <stdio.h>
#include <string.h>

/* Keys that change nothing in a workerd config, keys read here, and keys of what is not supported
 * yet. Each list ends with NULL. */
static const char *const plain_keys[] = {"$schema",
                                         "account_id",
                                         "alias",
                                         "base_dir",
                                         "build",
                                         "compatibility_date",
                                         "compatibility_flags",
                                         "d1_databases",
                                         "define",
                                         "dev",
                                         "durable_objects",
                                         "env",
                                         "find_additional_modules",
                                         "jsx_factory",
                                         "jsx_fragment",
                                         "keep_names",
                                         "keep_vars",
                                         "kv_namespaces",
                                         "limits",
                                         "logpush",
                                         "main",
                                         "migrations",
                                         "minify",
                                         "name",
                                         "no_bundle",
                                         "observability",
                                         "placement",
                                         "preserve_file_names",
                                         "preview_urls",
                                         "route",
                                         "routes",
                                         "rules",
                                         "send_metrics",
                                         "tsconfig",
                                         "upload_source_maps",
                                         "vars",
                                         "workers_dev",
                                         NULL};
static const char *const other_keys[] = {"ai",
                                         "analytics_engine_datasets",
                                         "assets",
                                         "browser",
                                         "cloudchamber",
                                         "containers",
                                         "data_blobs",
                                         "dispatch_namespaces",
                                         "hyperdrive",
                                         "images",
                                         "mtls_certificates",
                                         "pipelines",
                                         "queues",
                                         "r2_buckets",
                                         "ratelimits",
                                         "secrets_store_secrets",
                                         "send_email",
                                         "services",
                                         "site",
                                         "tail_consumers",
                                         "text_blobs",
                                         "triggers",
                                         "unsafe",
                                         "vectorize",
                                         "version_metadata",
                                         "wasm_modules",
                                         "workflows",
                                         NULL};
enum { KEYS_MAX = 80 };

static bool in_list(const char *const *list, const char *name) {
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return true;
        }
    }
    return false;
}

static int unknown_key(const char *key, struct bnd_error *err) {
    const char *all[KEYS_MAX];
    size_t count = 0;
    for (const char *const *name = plain_keys; *name != NULL; name++) {
        all[count++] = *name;
    }
    for (const char *const *name = other_keys; *name != NULL; name++) {
        all[count++] = *name;
    }
    all[count] = NULL;
    const char *nearest = bnd_nearest_name(key, all);
    return nearest == NULL
               ? BND_FAIL(err, INVALID, "unknown key %s", key)
               : BND_FAIL(err, INVALID, "unknown key %s, did you mean %s?", key, nearest);
}

static int check_keys(const json_t *object, bool partial, struct bnd_error *err) {
    for (void *iter = json_object_iter((json_t *)(uintptr_t)object); iter != NULL;
         iter = json_object_iter_next((json_t *)(uintptr_t)object, iter)) {
        const char *key = json_object_iter_key(iter);
        if (in_list(plain_keys, key)) {
            continue;
        }
        if (!in_list(other_keys, key)) {
            return unknown_key(key, err);
        }
        if (!partial) {
            return BND_FAIL(err, UNSUPPORTED, "%s is not supported yet (--partial leaves it out)",
                            key);
        }
    }
    return 0;
}

/* ---- classes and migrations
 * ----------------------------------------------------------------------------------- */

static struct tools_class *find_class(struct tools_project *project, const char *name) {
    for (size_t i = 0; name != NULL && i < project->classes_count; i++) {
        if (project->classes[i].live && strcmp(project->classes[i].name, name) == 0) {
            return &project->classes[i];
        }
    }
    return NULL;
}

static int add_class(struct tools_project *project, const char *name, bool sql,
                     struct bnd_error *err) {
    struct tools_class made = {.name = name, .sql = sql, .live = true};
    unsigned earlier = 0;
    if (name == NULL || name[0] == 0 || strlen(name) > 64) {
        return BND_FAIL(err, INVALID, "migrations: a class name is missing, no text or too long");
    }
    if (find_class(project, name) != NULL) {
        return BND_FAIL(err, INVALID, "migrations: class %s is made twice", name);
    }
    if (project->classes_count == TOOLS_CLASSES_MAX) {
        return BND_FAIL(err, INVALID, "migrations: more than %d classes", TOOLS_CLASSES_MAX);
    }
    (void)snprintf(made.key, sizeof made.key, "%s-%s", project->name, name);
    size_t len = strlen(made.key);
    for (size_t i = 0; i < project->classes_count; i++) {
        const char *key = project->classes[i].key;
        earlier += strncmp(key, made.key, len) == 0 && (key[len] == 0 || key[len] == '~');
    }
    if (earlier > 0) { /* '~' is in no class name */
        (void)snprintf(made.key + len, sizeof made.key - len, "~%u", earlier + 1);
    }
    project->classes[project->classes_count++] = made;
    return 0;
}

static int make_classes(struct tools_project *project, const json_t *names, bool sql,
                        struct bnd_error *err) {
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < json_array_size(names); i++) {
        rv = add_class(project, json_string_value(json_array_get(names, i)), sql, err);
    }
    return rv;
}

static int rename_classes(struct tools_project *project, const json_t *renames,
                          struct bnd_error *err) {
    for (size_t i = 0; i < json_array_size(renames); i++) {
        const json_t *pair = json_array_get(renames, i);
        const char *to = json_string_value(json_object_get(pair, "to"));
        struct tools_class *class =
            find_class(project, json_string_value(json_object_get(pair, "from")));
        if (class == NULL || to == NULL || to[0] == 0 || find_class(project, to) != NULL) {
            return BND_FAIL(err, INVALID,
                            "migrations: renamed_classes needs \"from\" a class that is there and "
                            "\"to\" a new name");
        }
        class->name = to;
    }
    return 0;
}

static int delete_classes(struct tools_project *project, const json_t *names,
                          struct bnd_error *err) {
    for (size_t i = 0; i < json_array_size(names); i++) {
        struct tools_class *class =
            find_class(project, json_string_value(json_array_get(names, i)));
        if (class == NULL) {
            return BND_FAIL(err, INVALID, "migrations: deleted_classes names no class there is");
        }
        class->live = false;
    }
    return 0;
}

static int migrate(struct tools_project *project, const json_t *step, struct bnd_error *err) {
    static const char *const known[] = {
        "tag", "new_classes", "new_sqlite_classes", "deleted_classes", "renamed_classes", NULL};
    for (void *iter = json_object_iter((json_t *)(uintptr_t)step); iter != NULL;
         iter = json_object_iter_next((json_t *)(uintptr_t)step, iter)) {
        const char *key = json_object_iter_key(iter);
        if (!in_list(known, key)) {
            return BND_FAIL(err, UNSUPPORTED, "migrations: %s is not supported", key);
        }
        if (strcmp(key, "tag") != 0 && !json_is_array(json_object_iter_value(iter))) {
            return BND_FAIL(err, INVALID, "migrations: %s is no list", key);
        }
    }
    int rv = make_classes(project, json_object_get(step, "new_classes"), false, err);
    rv = rv != 0 ? rv
                 : make_classes(project, json_object_get(step, "new_sqlite_classes"), true, err);
    rv = rv != 0 ? rv : rename_classes(project, json_object_get(step, "renamed_classes"), err);
    return rv != 0 ? rv : delete_classes(project, json_object_get(step, "deleted_classes"), err);
}

static int read_migrations(struct tools_project *project, const json_t *migrations,
                           struct bnd_error *err) {
    int rv = 0;
    if (migrations != NULL && !json_is_array(migrations)) {
        return BND_FAIL(err, INVALID, "migrations: no list");
    }
    for (size_t i = 0; rv == 0 && i < json_array_size(migrations); i++) {
        const json_t *step = json_array_get(migrations, i);
        rv = json_is_object(step) ? migrate(project, step, err)
                                  : BND_FAIL(err, INVALID, "migrations: entry %zu is no object", i);
    }
    return rv;
}

static int check_bindings(struct tools_project *project, struct bnd_error *err) {
    for (size_t i = 0; i < json_array_size(project->bindings); i++) {
        const json_t *binding = json_array_get(project->bindings, i);
        const char *name = json_string_value(json_object_get(binding, "name"));
        const char *class = json_string_value(json_object_get(binding, "class_name"));
        const char *script = json_string_value(json_object_get(binding, "script_name"));
        if (name == NULL || class == NULL) {
            return BND_FAIL(err, INVALID, "durable_objects: a binding needs name and class_name");
        }
        if (script != NULL && strcmp(script, project->name) != 0) {
            return BND_FAIL(err, UNSUPPORTED,
                            "durable_objects: %s is a class of another script, %s", name, script);
        }
        if (find_class(project, class) == NULL) {
            return BND_FAIL(err, INVALID,
                            "durable_objects: %s binds class %s, which no migration makes", name,
                            class);
        }
    }
    return 0;
}

/* `id` is what the cluster calls the namespace: wrangler would make one that is missing. */
static int check_kv(const struct tools_project *project, struct bnd_error *err) {
    for (size_t i = 0; i < json_array_size(project->kv); i++) {
        const json_t *binding = json_array_get(project->kv, i);
        const char *name = json_string_value(json_object_get(binding, "binding"));
        const char *id = json_string_value(json_object_get(binding, "id"));
        if (name == NULL) {
            return BND_FAIL(err, INVALID, "kv_namespaces: entry %zu has no binding", i);
        }
        if (id == NULL || !bnd_kv_public_id_valid(bnd_slice_str(id))) {
            return BND_FAIL(err, INVALID,
                            "kv_namespaces: %s needs the id of a namespace (`bindery kv namespace "
                            "ls`): 32 hex digits",
                            name);
        }
    }
    return 0;
}

const char *tools_project_database(const json_t *binding) {
    const char *id = json_string_value(json_object_get(binding, "database_id"));
    return id != NULL ? id : json_string_value(json_object_get(binding, "database_name"));
}

static int check_d1(const struct tools_project *project, struct bnd_error *err) {
    for (size_t i = 0; i < json_array_size(project->d1); i++) {
        const json_t *binding = json_array_get(project->d1, i);
        const char *name = json_string_value(json_object_get(binding, "binding"));
        const json_t *id = json_object_get(binding, "database_id");
        const char *named = tools_project_database(binding);
        uint8_t uuid[BND_D1_UUID_BYTES];
        if (name == NULL) {
            return BND_FAIL(err, INVALID, "d1_databases: entry %zu has no binding", i);
        }
        bool valid = named != NULL && (id != NULL ? bnd_d1_uuid_parse(bnd_slice_str(named), uuid)
                                                  : bnd_d1_name_valid(bnd_slice_str(named)));
        if (!valid) {
            return BND_FAIL(err, INVALID,
                            "d1_databases: %s needs the database_id of a database (`bindery d1 "
                            "list`), or its database_name",
                            name);
        }
    }
    return 0;
}

/* ---- the project
 * --------------------------------------------------------------------------------------------- */

/* Names go into paths of a bucket, one segment of them. */
static bool name_valid(const char *name) {
    size_t len = name == NULL ? 0 : strlen(name);
    return len > 0 && len < sizeof((struct tools_project *)0)->name &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == len;
}

static int read_name(const json_t *top, const json_t *chosen, const char *environment,
                     struct tools_project *project, struct bnd_error *err) {
    const char *own = json_string_value(json_object_get(chosen, "name"));
    const char *base = json_string_value(json_object_get(top, "name"));
    char joined[2 * sizeof project->name];
    if (chosen != top && own == NULL && name_valid(base)) {
        (void)snprintf(joined, sizeof joined, "%s-%.60s", base, environment);
        own = joined;
    }
    if (!name_valid(own)) {
        return BND_FAIL(err, INVALID, "name: 1 to 63 letters, digits, - and _ are needed");
    }
    memcpy(project->name, own, strlen(own) + 1);
    return 0;
}

static const json_t *inherited(const json_t *top, const json_t *chosen, const char *key) {
    const json_t *own = json_object_get(chosen, key);
    return own != NULL ? own : json_object_get(top, key);
}

static int choose(const json_t *document, const struct tools_project_options *options,
                  const json_t **out, struct bnd_error *err) {
    *out = document;
    if (options->environment == NULL) {
        return check_keys(document, options->partial, err);
    }
    *out = json_object_get(json_object_get(document, "env"), options->environment);
    if (!json_is_object(*out)) {
        return BND_FAIL(err, INVALID, "env: there is no environment %s", options->environment);
    }
    int rv = check_keys(*out, options->partial, err);
    return rv != 0 ? rv : check_keys(document, true, err); /* bindings are not inherited */
}

int tools_project_parse(const json_t *document, const struct tools_project_options *options,
                        struct tools_project *out, struct bnd_error *err) {
    const json_t *chosen = NULL;
    *out = (struct tools_project){0};
    int rv = choose(document, options, &chosen, err);
    rv = rv != 0 ? rv : read_name(document, chosen, options->environment, out, err);
    if (rv != 0) {
        return rv;
    }
    out->compatibility_date = json_string_value(inherited(document, chosen, "compatibility_date"));
    out->compatibility_flags = inherited(document, chosen, "compatibility_flags");
    out->vars = json_object_get(chosen, "vars");
    const json_t *objects = json_object_get(chosen, "durable_objects");
    out->bindings = json_object_get(objects, "bindings");
    if (out->compatibility_date == NULL) {
        return BND_FAIL(err, INVALID, "compatibility_date is missing");
    }
    if (out->vars != NULL && !json_is_object(out->vars)) {
        return BND_FAIL(err, INVALID, "vars: no object");
    }
    if (objects != NULL && !json_is_array(out->bindings)) {
        return BND_FAIL(err, INVALID, "durable_objects: bindings is no list");
    }
    for (size_t i = 0; i < json_array_size(out->compatibility_flags); i++) {
        if (!json_is_string(json_array_get(out->compatibility_flags, i))) {
            return BND_FAIL(err, INVALID, "compatibility_flags: no list of texts");
        }
    }
    out->kv = json_object_get(chosen, "kv_namespaces");
    if (out->kv != NULL && !json_is_array(out->kv)) {
        return BND_FAIL(err, INVALID, "kv_namespaces: no list");
    }
    out->d1 = json_object_get(chosen, "d1_databases");
    if (out->d1 != NULL && !json_is_array(out->d1)) {
        return BND_FAIL(err, INVALID, "d1_databases: no list");
    }
    rv = check_kv(out, err);
    rv = rv != 0 ? rv : check_d1(out, err);
    if (rv != 0) {
        return rv;
    }
    rv = read_migrations(out, inherited(document, chosen, "migrations"), err);
    return rv != 0 ? rv : check_bindings(out, err);
}
