#include "tools/api.h"

#include "base/bytes.h"
#include "tools/command.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_DEFAULT "http://127.0.0.1:7700"
enum { TIMEOUT_S = 30, ANSWER_MAX = 16 << 20 };

static char *copy_or(char *given, const char *variable, const char *fallback) {
    const char *from = given != NULL ? NULL : getenv(variable);
    if (given == NULL && from == NULL) {
        from = fallback;
    }
    return given != NULL ? given : from == NULL ? NULL : strdup(from);
}

/* An option that popt does not know, with the nearest that it does. */
static int bad_option(const char *command, const char *option, int rv,
                      const struct poptOption *own) {
    const char *known[TOOLS_API_OWN + 6] = {"url", "token", "ca", "json", "help"};
    size_t count = 5;
    for (; own != NULL && own->longName != NULL && count < TOOLS_API_OWN + 5; own++) {
        known[count++] = own->longName;
    }
    option += strspn(option, "-");
    return rv == POPT_ERROR_BADOPT ? tools_unknown(command, "flag", option, known)
                                   : tools_usage(command, "%s: %s", option, poptStrerror(rv));
}

int tools_api_parse(int argc, const char **argv, const struct tools_api_usage *usage,
                    struct tools_api *api, const char *words[TOOLS_API_WORDS + 1]) {
    int json = 0;
    *api = (struct tools_api){0};
    struct poptOption none[] = {POPT_TABLEEND};
    struct poptOption options[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, usage->own != NULL ? usage->own : none, 0, NULL, NULL},
        {"url", 0, POPT_ARG_STRING, &api->url, 0, "REST port of a node (BINDERY_URL)", "URL"},
        {"token", 0, POPT_ARG_STRING, &api->token, 0, "API token (BINDERY_API_TOKEN)", "TOKEN"},
        {"ca", 0, POPT_ARG_STRING, &api->ca_file, 0,
         "CA certificate for https: certs/ca.pem of a node (BINDERY_CA)", "FILE"},
        {"json", 0, POPT_ARG_NONE, &json, 0, "print JSON", NULL},
        POPT_AUTOHELP POPT_TABLEEND};
    poptContext context = poptGetContext("bindery", argc, argv, options, 0);
    poptSetOtherOptionHelp(context, usage->help);
    int rv = poptGetNextOpt(context);
    int status = rv >= -1 ? -1
                          : bad_option(argv[0], poptBadOption(context, POPT_BADOPTION_NOALIAS), rv,
                                       usage->own);
    size_t count = 0;
    for (const char *word = NULL; status == -1 && (word = poptGetArg(context)) != NULL;) {
        if (count == TOOLS_API_WORDS) {
            status = tools_usage(argv[0], "unexpected argument %s", word);
        } else {
            words[count++] = strdup(word); /* lives as long as the process, as argv does */
        }
    }
    words[count] = NULL;
    poptFreeContext(context);
    api->url = copy_or(api->url, "BINDERY_URL", URL_DEFAULT);
    api->token = copy_or(api->token, "BINDERY_API_TOKEN", NULL);
    api->ca_file = copy_or(api->ca_file, "BINDERY_CA", NULL);
    api->json = json != 0;
    return status;
}

void tools_api_free(struct tools_api *api) {
    free(api->url);
    free(api->token);
    free(api->ca_file);
}

static size_t take(char *data, size_t size, size_t count, void *out) {
    struct bnd_buf *answer = out;
    if (answer->len + size * count > ANSWER_MAX) {
        return 0; /* curl ends the transfer with an error */
    }
    bnd_buf_append(answer, data, size * count);
    return answer->failed ? 0 : size * count;
}

/* The envelope's result; or tells its first error. */
static json_t *open_envelope(const struct tools_api *api, const struct bnd_buf *answer,
                             long status) {
    json_error_t error;
    json_t *envelope = json_loadb((const char *)answer->data, answer->len, 0, &error);
    json_t *result = json_is_true(json_object_get(envelope, "success"))
                         ? json_object_get(envelope, "result")
                         : NULL;
    if (result == NULL) {
        json_t *first = json_array_get(json_object_get(envelope, "errors"), 0);
        const char *message = json_string_value(json_object_get(first, "message"));
        (void)fprintf(stderr, "bindery: %s: status %ld: %s\n", api->url, status,
                      message != NULL ? message : "the answer is no envelope");
    }
    json_incref(result);
    json_decref(envelope);
    return result;
}

/* Options fail only by a wrong type. */
static void prepare(CURL *curl, const struct tools_api *api, const char *method, const char *body) {
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    if (api->ca_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, api->ca_file);
    }
    if (body != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

json_t *tools_api_call(const struct tools_api *api, const char *method, const char *path,
                       const char *body) {
    BND_AUTO_BUF struct bnd_buf url = {0};
    BND_AUTO_BUF struct bnd_buf bearer = {0};
    BND_AUTO_BUF struct bnd_buf answer = {0};
    json_t *result = NULL;
    long status = 0;
    bnd_buf_printf(&url, "%s%s", api->url, path);
    bnd_buf_printf(&bearer, "Authorization: Bearer %s", api->token == NULL ? "" : api->token);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers =
        bearer.failed ? NULL : curl_slist_append(NULL, (const char *)bearer.data);
    if (curl == NULL || headers == NULL || url.failed) {
        (void)fprintf(stderr, "bindery: out of memory\n");
        curl_slist_free_all(headers);
        curl_easy_cleanup(curl);
        return NULL;
    }
    prepare(curl, api, method, body);
    (void)curl_easy_setopt(curl, CURLOPT_URL, (const char *)url.data);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    CURLcode rv = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (rv != CURLE_OK) {
        (void)fprintf(stderr, "bindery: %s: %s\n", api->url, curl_easy_strerror(rv));
    } else {
        result = open_envelope(api, &answer, status);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return result;
}

void tools_api_print(const json_t *result) {
    (void)json_dumpf(result, stdout, JSON_INDENT(2)); /* a closed stdout is the reader's choice */
    (void)printf("\n");
}
