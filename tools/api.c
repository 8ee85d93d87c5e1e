#include "tools/api.h"

#include "base/bytes.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define URL_DEFAULT "http://127.0.0.1:7700"
enum { TIMEOUT_S = 30, STALLED_S = 60, ANSWER_MAX = 16 << 20 };

const struct tools_flag tools_api_flags[] = {
    {"url", "URL", "REST port of a node (BINDERY_URL); default " URL_DEFAULT},
    {"token", "TOKEN", "API token (BINDERY_API_TOKEN)"},
    {"ca", "FILE", "CA certificate for https: certs/ca.pem of a node (BINDERY_CA)"},
    {"json", NULL, "print JSON"},
    {0}};

static const char *flag_or(const struct tools_api *api, const char *flag, const char *variable,
                           const char *fallback) {
    const char *value = tools_args_flag(&api->args, flag);
    value = value != NULL ? value : getenv(variable);
    return value != NULL ? value : fallback;
}

int tools_api_parse(int argc, const char **argv, struct tools_api *api) {
    int status = tools_args_parse(argc, argv, &api->args);
    api->url = flag_or(api, "url", "BINDERY_URL", URL_DEFAULT);
    api->token = flag_or(api, "token", "BINDERY_API_TOKEN", NULL);
    api->ca_file = flag_or(api, "ca", "BINDERY_CA", NULL);
    api->json = tools_args_flag(&api->args, "json") != NULL;
    api->timeout_s = TIMEOUT_S;
    return status;
}

void tools_api_free(struct tools_api *api) {
    tools_args_free(&api->args);
}

/* ---- one call
 * --------------------------------------------------------------------------------------------- */

struct call {
    const struct tools_api *api;
    CURL *curl;
    struct curl_slist *headers;
    long status;
    struct bnd_buf answer; /* of all but a transfer's success */
    FILE *to;              /* where that goes; NULL: into answer */
    FILE *from;            /* what is sent */
    int file_errno;        /* why `to` or `from` failed; 0: they did not */
};

static size_t take(char *data, size_t size, size_t count, void *owner) {
    struct call *call = owner;
    long status = 0;
    (void)curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    if (call->to != NULL && status == 200) {
        bool written = fwrite(data, size, count, call->to) == count;
        call->file_errno = written ? 0 : errno;
        return written ? size * count : 0;
    }
    if (call->answer.len + size * count > ANSWER_MAX) {
        return 0; /* curl ends the transfer with an error */
    }
    bnd_buf_append(&call->answer, data, size * count);
    return call->answer.failed ? 0 : size * count;
}

/* A file that cannot be read to its end must not look as if it ended there. */
static size_t give(char *out, size_t size, size_t count, void *owner) {
    struct call *call = owner;
    size_t len = fread(out, 1, size * count, call->from);
    call->file_errno = ferror(call->from) ? errno : 0;
    return call->file_errno != 0 ? CURL_READFUNC_ABORT : len;
}

static bool add_header(struct call *call, const char *text) {
    struct curl_slist *more = curl_slist_append(call->headers, text);
    call->headers = more != NULL ? more : call->headers;
    return more != NULL;
}

static void call_close(struct call *call) {
    curl_slist_free_all(call->headers);
    curl_easy_cleanup(call->curl);
    bnd_buf_free(&call->answer);
}

/* False: no memory, it was told. Options fail only by a wrong type. */
static bool call_open(struct call *call, const struct tools_api *api, const char *method,
                      const char *path) {
    BND_AUTO_BUF struct bnd_buf url = {0};
    BND_AUTO_BUF struct bnd_buf bearer = {0};
    bnd_buf_printf(&url, "%s%s", api->url, path);
    bnd_buf_printf(&bearer, "Authorization: Bearer %s", api->token == NULL ? "" : api->token);
    *call = (struct call){.api = api, .curl = curl_easy_init()};
    if (call->curl == NULL || url.failed || bearer.failed ||
        !add_header(call, (const char *)bearer.data)) {
        (void)fprintf(stderr, "bindery: out of memory\n");
        return false;
    }
    (void)curl_easy_setopt(call->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(call->curl, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(call->curl, CURLOPT_WRITEDATA, call);
    (void)curl_easy_setopt(call->curl, CURLOPT_CONNECTTIMEOUT, (long)TIMEOUT_S);
    if (api->ca_file != NULL) {
        (void)curl_easy_setopt(call->curl, CURLOPT_CAINFO, api->ca_file);
    }
    (void)curl_easy_setopt(call->curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(call->curl, CURLOPT_URL, (const char *)url.data);
    return true;
}

/* False: nothing came back, it was told why. */
static bool perform(struct call *call) {
    char why[CURL_ERROR_SIZE] = "";
    (void)curl_easy_setopt(call->curl, CURLOPT_HTTPHEADER, call->headers);
    (void)curl_easy_setopt(call->curl, CURLOPT_ERRORBUFFER, why);
    CURLcode rv = curl_easy_perform(call->curl);
    (void)curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &call->status);
    if (rv == CURLE_OK) {
        return true;
    }
    if (call->file_errno != 0) {
        (void)fprintf(stderr, "bindery: %s: %s\n", call->to != NULL ? "writing" : "reading",
                      strerror(call->file_errno));
    } else {
        (void)fprintf(stderr, "bindery: %s: %s\n", call->api->url,
                      why[0] != 0 ? why : curl_easy_strerror(rv));
    }
    return false;
}

/* The envelope of a success; NULL: it was told what its first error is. */
static json_t *open_envelope(const struct call *call) {
    json_error_t error;
    json_t *envelope = json_loadb((const char *)call->answer.data, call->answer.len, 0, &error);
    if (json_is_true(json_object_get(envelope, "success"))) {
        return envelope;
    }
    json_t *first = json_array_get(json_object_get(envelope, "errors"), 0);
    const char *message = json_string_value(json_object_get(first, "message"));
    (void)fprintf(stderr, "bindery: %s: status %ld: %s\n", call->api->url, call->status,
                  message != NULL ? message : "the answer is no envelope");
    json_decref(envelope);
    return NULL;
}

static json_t *result_of(json_t *envelope) {
    json_t *result = json_object_get(envelope, "result");
    result = envelope == NULL ? NULL : result == NULL ? json_null() : json_incref(result);
    json_decref(envelope);
    return result;
}

static json_t *call_envelope(const struct tools_api *api, const char *method, const char *path,
                             const char *body) {
    struct call call;
    json_t *envelope = NULL;
    if (call_open(&call, api, method, path)) {
        (void)curl_easy_setopt(call.curl, CURLOPT_TIMEOUT, (long)api->timeout_s);
        if (body != NULL) {
            (void)curl_easy_setopt(call.curl, CURLOPT_POSTFIELDS, body);
        }
        envelope = perform(&call) ? open_envelope(&call) : NULL;
    }
    call_close(&call);
    return envelope;
}

json_t *tools_api_call(const struct tools_api *api, const char *method, const char *path,
                       const char *body) {
    return result_of(call_envelope(api, method, path, body));
}

json_t *tools_api_envelope(const struct tools_api *api, const char *path) {
    return call_envelope(api, "GET", path, NULL);
}

/* ---- a transfer
 * --------------------------------------------------------------------------------------------- */

static bool prepare(struct call *call, const struct tools_transfer *transfer) {
    for (size_t i = 0; transfer->headers != NULL && transfer->headers[i] != NULL; i++) {
        if (!add_header(call, transfer->headers[i])) {
            (void)fprintf(stderr, "bindery: out of memory\n");
            return false;
        }
    }
    call->to = transfer->to;
    (void)curl_easy_setopt(call->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(call->curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    if (strcmp(transfer->method, "HEAD") == 0) {
        (void)curl_easy_setopt(call->curl, CURLOPT_NOBODY, 1L);
    } else if (strcmp(transfer->method, "PUT") == 0) {
        (void)curl_easy_setopt(call->curl, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(call->curl, CURLOPT_READFUNCTION, give);
        call->from = transfer->from;
        (void)curl_easy_setopt(call->curl, CURLOPT_READDATA, call);
        (void)curl_easy_setopt(call->curl, CURLOPT_INFILESIZE_LARGE,
                               (curl_off_t)transfer->from_bytes);
    }
    return true;
}

static int finish(struct call *call, const struct tools_transfer *transfer, json_t **out) {
    bool is_put = strcmp(transfer->method, "PUT") == 0;
    if (is_put || (call->status != 200 && strcmp(transfer->method, "HEAD") != 0)) {
        json_t *result = result_of(open_envelope(call));
        bool done = is_put && result != NULL;
        if (done && out != NULL) {
            *out = json_incref(result);
        }
        json_decref(result);
        return done ? 0 : -1;
    }
    if (call->status != 200) {
        (void)fprintf(stderr, "bindery: %s: status %ld%s\n", call->api->url, call->status,
                      call->status == 404 ? ": there is no such object or bucket" : "");
        return -1;
    }
    struct curl_header *header = NULL;
    while (transfer->header != NULL &&
           (header = curl_easy_nextheader(call->curl, CURLH_HEADER, -1, header)) != NULL) {
        transfer->header(transfer->data, header->name, header->value);
    }
    return 0;
}

int tools_api_transfer(const struct tools_api *api, const struct tools_transfer *transfer,
                       json_t **out) {
    struct call call;
    int rv = -1;
    if (call_open(&call, api, transfer->method, transfer->path) && prepare(&call, transfer) &&
        perform(&call)) {
        rv = finish(&call, transfer, out);
    }
    call_close(&call);
    return rv;
}

void tools_api_print(const json_t *result) {
    (void)json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY); /* a closed stdout is the
                                                                           reader's choice */
    (void)printf("\n");
}
