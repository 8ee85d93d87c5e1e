/* Writing the Cap'n Proto configuration of a workerd (workerd.capnp of npm workerd >= 1.20261117):
 * a worker, its KV namespaces and D1 databases on the bindings port of a node, and its Durable
 * Objects in cluster mode on a bucket. */
#ifndef BND_TOOLS_WORKERD_CONFIG_H
#define BND_TOOLS_WORKERD_CONFIG_H

#include "tools/wrangler.h"

#define TOOLS_MODULES_MAX 32

struct tools_module {
    const char *name; /* as the worker imports it */
    char *file;       /* from the configuration's folder: what embed needs. Owned by the caller */
};

struct tools_workerd_options {
    struct tools_module modules[TOOLS_MODULES_MAX]; /* the first is the main one */
    size_t modules_count;
    const char *listen; /* "host:port" of HTTP */
    /* of KV and D1; unused if the project has neither */
    const char *bindings; /* "host:port" of a node's or gateway's bindings port */
    bool bindings_tls;    /* it is reached by https */
    struct bnd_slice ca;  /* PEM: who has signed its certificate; empty: those that are known */
    const char *token;    /* bearer */
    /* of Durable Objects; unused if the project has none */
    const char *peers; /* "host:port" where other workerds of the cluster reach this one */
    const char *disk;  /* a folder of this workerd's own: a cache */
    const char *bucket;
    const char *endpoint; /* S3 URL of a node or gateway */
    const char *access_key;
    const char *secret_key;
    const char *cluster_key; /* at least 32 bytes, the same for all workerds of the project */
};

/* Appends the configuration. BND_INVALID: a module whose ending says no type; BND_NOMEM. */
int tools_workerd_config(const struct tools_project *project,
                         const struct tools_workerd_options *options, struct bnd_buf *out,
                         struct bnd_error *err);

/* Appends a Cap'n Proto text literal: quoted, controls, quotes and backslashes escaped. */
void tools_capnp_text(struct bnd_buf *out, const char *text, size_t len);

#endif
