/* What `bindery workerd-config` takes from a wrangler project: name, compatibility, variables, KV
 * namespaces, D1 databases and Durable Object classes
 * (developers.cloudflare.com/workers/wrangler/configuration). */
#ifndef BND_TOOLS_WRANGLER_H
#define BND_TOOLS_WRANGLER_H

#include "base/bytes.h"
#include "base/error.h"

#include <jansson.h>

#define TOOLS_CLASSES_MAX 64

/* A Durable Object namespace, after all migrations. */
struct tools_class {
    const char *name;
    char key[160]; /* names its objects for ever: renames keep it, a class made anew gets another */
    bool sql;
    bool live;
};

/* All strings borrow from the document. */
struct tools_project {
    char name[64];
    const char *compatibility_date;
    const json_t *compatibility_flags; /* array of strings, or NULL */
    const json_t *vars;                /* object or NULL */
    const json_t *bindings;            /* of Durable Objects: array or NULL, checked */
    const json_t *kv;                  /* bindings of KV: array or NULL, checked */
    const json_t *d1;                  /* bindings of D1: array or NULL, checked */
    struct tools_class classes[TOOLS_CLASSES_MAX];
    size_t classes_count; /* live or not */
};

/* Reads a document. environment: of `env`, NULL: the top level (wrangler's rules: what it does not
 * set is inherited, but for vars and bindings). partial: leave out what is not supported, in place
 * of refusing it. BND_INVALID with the place: a key that wrangler does not know (with the nearest),
 * wrong types, a class bound and made by no migration; BND_UNSUPPORTED: a binding of another kind,
 * a class of another script. */
struct tools_project_options {
    const char *environment;
    bool partial;
};
int tools_project_parse(const json_t *document, const struct tools_project_options *options,
                        struct tools_project *out, struct bnd_error *err);

/* What a checked binding of D1 names its database by: its uuid, or without one its name. */
const char *tools_project_database(const json_t *binding);

#endif
