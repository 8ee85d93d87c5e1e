/* Calls of the client commands to a node's REST port. */
#ifndef BND_TOOLS_API_H
#define BND_TOOLS_API_H

#include <jansson.h>
#include <stdbool.h>

/* Where and as whom: from flags, else from the environment (BINDERY_URL, BINDERY_API_TOKEN), else
 * the default. */
struct tools_api {
    char *url;     /* "http://127.0.0.1:7700" */
    char *token;   /* may be NULL */
    char *ca_file; /* PEM, for https with the cluster's own CA; may be NULL */
    bool json;     /* print the result as JSON */
};

/* Parses argv (argv[0] is the command's name) with popt: --url, --token, --ca, --json, --help.
 * words: where words that are no flags go, at most 4, ended by NULL. Returns -1 when *api is
 * filled, else the exit status. */
int tools_api_parse(int argc, const char **argv, const char *help, struct tools_api *api,
                    const char *words[5]);
void tools_api_free(struct tools_api *api);

/* One call; body NULL: GET, else POST of that JSON text. Returns the envelope's result (owned), or
 * NULL after telling on stderr what was refused, and by whom. */
json_t *tools_api_call(const struct tools_api *api, const char *path, const char *body);

/* Prints a result as indented JSON. */
void tools_api_print(const json_t *result);

#endif
