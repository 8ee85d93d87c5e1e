/* Calls of the client commands to a node's REST port. */
#ifndef BND_TOOLS_API_H
#define BND_TOOLS_API_H

#include "tools/args.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* Where and as whom: from flags, else from the environment (BINDERY_URL, BINDERY_API_TOKEN,
 * BINDERY_CA), else the default. */
struct tools_api {
    struct tools_args args; /* the whole command line */
    const char *url;        /* "http://127.0.0.1:7700" */
    const char *token;      /* may be NULL */
    const char *ca_file;    /* PEM, for https with the cluster's own CA; may be NULL */
    bool json;              /* print the result as JSON */
    unsigned timeout_s;     /* of a call, a transfer's is another */
};

/* Of every client command: --url, --token, --ca, --json. */
extern const struct tools_flag tools_api_flags[];

/* Parses argv as tools_args_parse does. Returns -1 when *api is filled, else the exit status;
 * tools_api_free in any case. */
int tools_api_parse(int argc, const char **argv, struct tools_api *api);
void tools_api_free(struct tools_api *api);

/* One call; body: JSON text or NULL. Returns the envelope's result (owned; JSON null if it has
 * none), or NULL after telling on stderr what was refused, and by whom. */
json_t *tools_api_call(const struct tools_api *api, const char *method, const char *path,
                       const char *body);
/* The same for the whole envelope: lists go on by its result_info. */
json_t *tools_api_envelope(const struct tools_api *api, const char *path);

/* A call whose body is sent or received piece by piece. */
struct tools_transfer {
    const char *method; /* GET, HEAD or PUT */
    const char *path;
    FILE *from;                 /* PUT: the body to send, to its end */
    int64_t from_bytes;         /* its length; -1: not known */
    const char *const *headers; /* more of them, ended by NULL; may be NULL */
    FILE *to;                   /* GET: where a success's body goes */
    /* HEAD, GET: called with each header of a success; may be NULL */
    void (*header)(void *data, const char *name, const char *value);
    void *data;
};

/* Returns 0 after a success, else -1 after telling on stderr what went wrong; what was written to
 * `to` by then is a part. Gives up when nothing moves for a minute. PUT: *out (may be NULL) is the
 * envelope's result, owned. */
int tools_api_transfer(const struct tools_api *api, const struct tools_transfer *transfer,
                       json_t **out);

/* Prints a result as indented JSON. */
void tools_api_print(const json_t *result);

#endif
