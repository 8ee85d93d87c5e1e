/* Calls of the client commands to a node's REST port. */
#ifndef BND_TOOLS_API_H
#define BND_TOOLS_API_H

#include <jansson.h>
#include <popt.h>
#include <stdbool.h>

/* Where and as whom: from flags, else from the environment (BINDERY_URL, BINDERY_API_TOKEN,
 * BINDERY_CA), else the default. */
struct tools_api {
    char *url;     /* "http://127.0.0.1:7700" */
    char *token;   /* may be NULL */
    char *ca_file; /* PEM, for https with the cluster's own CA; may be NULL */
    bool json;     /* print the result as JSON */
};

enum { TOOLS_API_WORDS = 4, TOOLS_API_OWN = 8 };

struct tools_api_usage {
    const char *help;       /* what follows the command's name: "ls [flags]" */
    struct poptOption *own; /* the command's own flags: at most TOOLS_API_OWN, their val 0, ended as
                               popt's tables are; NULL: none */
};

/* Parses argv (argv[0] is the command's name) with popt: --url, --token, --ca, --json, --help and
 * the command's own. words: where words that are no flags go, at most TOOLS_API_WORDS, ended by
 * NULL. Returns -1 when *api is filled, else the exit status; tools_api_free in any case. */
int tools_api_parse(int argc, const char **argv, const struct tools_api_usage *usage,
                    struct tools_api *api, const char *words[TOOLS_API_WORDS + 1]);
void tools_api_free(struct tools_api *api);

/* One call; body: JSON text or NULL. Returns the envelope's result (owned), or NULL after telling
 * on stderr what was refused, and by whom. */
json_t *tools_api_call(const struct tools_api *api, const char *method, const char *path,
                       const char *body);

/* Prints a result as indented JSON. */
void tools_api_print(const json_t *result);

#endif
