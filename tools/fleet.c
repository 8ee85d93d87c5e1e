#include "tools/fleet.h"

#include "tools/command.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONNECT_TIMEOUT_MS = 2000, TIMEOUT_MS = 5000, ANSWER_MAX = 16 << 20, REST_BELOW_PEERS = 3 };

static double now_s(void) {
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at); /* cannot fail */
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* ---- who belongs to it
 * -------------------------------------------------------------------------------------- */

/* Scheme as in --url, host of the peer address, its port less three. */
static bool rest_url(const struct tools_api *api, const char *peers, char *out, size_t cap) {
    const char *colon = strrchr(peers, ':');
    const char *scheme = strncmp(api->url, "https:", 6) == 0 ? "https" : "http";
    long port = colon == NULL ? 0 : strtol(colon + 1, NULL, 10);
    if (port <= REST_BELOW_PEERS || port > 65535) {
        return false;
    }
    int length = snprintf(out, cap, "%s://%.*s:%ld", scheme, (int)(colon - peers), peers,
                          port - REST_BELOW_PEERS);
    return length > 0 && (size_t)length < cap;
}

static void node_clear(struct tools_node *node) {
    json_decref(node->status);
    node->status = NULL;
    tools_metrics_free(&node->metrics);
    node->problem[0] = 0;
    node->certificate_s = 0;
}

static void take_node(struct tools_fleet *fleet, const json_t *from, long long asked) {
    const char *address = json_string_value(json_object_get(from, "address"));
    const char *state = json_string_value(json_object_get(from, "state"));
    const char *role = json_string_value(json_object_get(from, "role"));
    struct tools_node *node = &fleet->nodes[fleet->count];
    *node = (struct tools_node){.id = json_integer_value(json_object_get(from, "id"))};
    if (address == NULL || state == NULL || role == NULL || strcmp(state, "gone") == 0) {
        return;
    }
    node->gateway = strcmp(role, "gateway") == 0;
    (void)snprintf(node->state, sizeof node->state, "%s", state);
    if (node->id == asked) {
        (void)snprintf(node->url, sizeof node->url, "%s", fleet->api->url);
    } else if (!rest_url(fleet->api, address, node->url, sizeof node->url)) {
        (void)snprintf(node->problem, sizeof node->problem, "its address %s has no REST port",
                       address);
    }
    fleet->count++;
}

/* A list of nodes from a status. asked: the node that --url leads to, or 0. */
static bool take_list(struct tools_fleet *fleet, const json_t *status, long long asked) {
    const json_t *nodes = json_object_get(status, "nodes");
    size_t all = json_array_size(nodes);
    struct tools_node *grown = calloc(TOOLS_FLEET_MAX, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    free(fleet->nodes);
    fleet->nodes = grown;
    fleet->count = 0;
    fleet->revision = json_integer_value(json_object_get(status, "revision"));
    for (size_t i = 0; i < all && fleet->count < TOOLS_FLEET_MAX; i++) {
        take_node(fleet, json_array_get(nodes, i), asked);
    }
    return true;
}

int tools_fleet_open(const struct tools_api *api, struct tools_fleet *out) {
    json_t *status = tools_api_call(api, "GET", "/bindery/v1/status", NULL);
    *out = (struct tools_fleet){.api = api};
    if (status == NULL) {
        return TOOLS_FAILED;
    }
    bool ok = take_list(out, status, json_integer_value(json_object_get(status, "self")));
    json_decref(status);
    return ok ? -1 : TOOLS_FAILED;
}

void tools_fleet_free(struct tools_fleet *fleet) {
    for (size_t i = 0; i < fleet->count; i++) {
        node_clear(&fleet->nodes[i]);
    }
    free(fleet->nodes);
    *fleet = (struct tools_fleet){0};
}

const struct tools_node *tools_fleet_find(const struct tools_fleet *fleet, long long id) {
    for (size_t i = 0; i < fleet->count; i++) {
        if (fleet->nodes[i].id == id) {
            return &fleet->nodes[i];
        }
    }
    return NULL;
}

/* ---- asking
 * -------------------------------------------------------------------------------------------------
 */

struct question {
    struct tools_node *node;
    bool metrics; /* else status */
    CURL *curl;
    struct bnd_buf answer;
};

static size_t take(char *data, size_t size, size_t count, void *out) {
    struct bnd_buf *answer = out;
    if (answer->len + size * count > ANSWER_MAX) {
        return 0;
    }
    bnd_buf_append(answer, data, size * count);
    return answer->failed ? 0 : size * count;
}

static bool ask(struct question *question, const struct tools_api *api, CURLM *multi,
                struct curl_slist *headers) {
    char url[256];
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        return false;
    }
    question->curl = curl;
    (void)snprintf(url, sizeof url, "%s%s", question->node->url,
                   question->metrics ? "/metrics" : "/bindery/v1/status?local");
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &question->answer);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PRIVATE, question);
    if (api->ca_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, api->ca_file);
    }
    return curl_multi_add_handle(multi, curl) == CURLM_OK;
}

static long long certificate_end(CURL *curl) {
    struct curl_certinfo *info = NULL;
    static const char wanted[] = "Expire date:";
    if (curl_easy_getinfo(curl, CURLINFO_CERTINFO, &info) != CURLE_OK || info == NULL ||
        info->num_of_certs < 1) {
        return 0;
    }
    for (const struct curl_slist *line = info->certinfo[0]; line != NULL; line = line->next) {
        if (strncmp(line->data, wanted, sizeof wanted - 1) == 0) {
            time_t end = curl_getdate(line->data + sizeof wanted - 1, NULL);
            return end < 0 ? 0 : (long long)end;
        }
    }
    return 0;
}

static void take_status(struct tools_node *node, const struct bnd_buf *answer) {
    json_t *envelope = json_loadb((const char *)answer->data, answer->len, 0, NULL);
    node->status = json_incref(json_object_get(envelope, "result"));
    json_decref(envelope);
}

static void on_answer(struct question *question, CURLcode rv) {
    struct tools_node *node = question->node;
    long status = 0;
    (void)curl_easy_getinfo(question->curl, CURLINFO_RESPONSE_CODE, &status);
    if (rv != CURLE_OK) {
        (void)snprintf(node->problem, sizeof node->problem, "%s: %s", node->url,
                       curl_easy_strerror(rv));
    } else if (status != 200) {
        (void)snprintf(node->problem, sizeof node->problem, "%s answers %s with status %ld",
                       node->url, question->metrics ? "/metrics" : "the status", status);
    } else if (!question->metrics) {
        take_status(node, &question->answer);
    } else {
        (void)curl_easy_getinfo(question->curl, CURLINFO_TOTAL_TIME, &node->took_s);
        node->certificate_s = certificate_end(question->curl);
        node->at_s = now_s();
        if (tools_metrics_parse(&question->answer, &node->metrics) != 0) {
            (void)snprintf(node->problem, sizeof node->problem, "%s: its metrics cannot be read",
                           node->url);
        }
    }
}

static void wait_answers(CURLM *multi) {
    int running = 1;
    while (running > 0) {
        int left = 0;
        if (curl_multi_perform(multi, &running) != CURLM_OK) {
            return;
        }
        for (CURLMsg *message = NULL; (message = curl_multi_info_read(multi, &left)) != NULL;) {
            struct question *question = NULL;
            if (message->msg == CURLMSG_DONE &&
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &question) == CURLE_OK) {
                on_answer(question, message->data.result);
            }
        }
        if (running > 0 && curl_multi_poll(multi, NULL, 0, 1000, NULL) != CURLM_OK) {
            return;
        }
    }
}

static bool ask_all(struct tools_fleet *fleet, struct question *questions, CURLM *multi,
                    struct curl_slist *headers) {
    bool ok = true;
    for (size_t i = 0; ok && i < 2 * fleet->count; i++) {
        questions[i] = (struct question){.node = &fleet->nodes[i / 2], .metrics = i % 2 == 1};
        ok = questions[i].node->url[0] == 0 || ask(&questions[i], fleet->api, multi, headers);
    }
    if (ok) {
        wait_answers(multi);
    }
    for (size_t i = 0; i < 2 * fleet->count; i++) {
        if (questions[i].curl != NULL) {
            (void)curl_multi_remove_handle(multi, questions[i].curl); /* it is there */
            curl_easy_cleanup(questions[i].curl);
        }
        bnd_buf_free(&questions[i].answer);
    }
    return ok;
}

/* The newest list wins; what was read stays with the nodes that are still in it. */
static bool refresh_list(struct tools_fleet *fleet) {
    const struct tools_node *newest = NULL;
    long long revision = fleet->revision;
    for (size_t i = 0; i < fleet->count; i++) {
        long long here = json_integer_value(json_object_get(fleet->nodes[i].status, "revision"));
        if (here > revision) {
            revision = here;
            newest = &fleet->nodes[i];
        }
    }
    if (newest == NULL) {
        return true;
    }
    struct tools_fleet old = *fleet;
    json_t *status = json_incref(newest->status);
    long long asked = 0;
    for (size_t i = 0; i < old.count; i++) {
        asked = strcmp(old.nodes[i].url, fleet->api->url) == 0 ? old.nodes[i].id : asked;
    }
    fleet->nodes = NULL;
    bool ok = take_list(fleet, status, asked);
    for (size_t i = 0; ok && i < fleet->count; i++) {
        for (size_t k = 0; k < old.count; k++) {
            if (old.nodes[k].id == fleet->nodes[i].id) {
                struct tools_node taken = old.nodes[k];
                memcpy(taken.state, fleet->nodes[i].state, sizeof taken.state);
                memcpy(taken.url, fleet->nodes[i].url, sizeof taken.url);
                fleet->nodes[i] = taken;
                old.nodes[k] = (struct tools_node){0};
            }
        }
    }
    json_decref(status);
    if (ok) {
        tools_fleet_free(&old);
    } else {
        *fleet = old;
    }
    return ok;
}

bool tools_fleet_read(struct tools_fleet *fleet) {
    BND_AUTO_BUF struct bnd_buf bearer = {0};
    bnd_buf_printf(&bearer, "Authorization: Bearer %s",
                   fleet->api->token == NULL ? "" : fleet->api->token);
    for (size_t i = 0; i < fleet->count; i++) {
        node_clear(&fleet->nodes[i]);
    }
    struct question *questions = calloc(2 * TOOLS_FLEET_MAX, sizeof *questions);
    CURLM *multi = curl_multi_init();
    struct curl_slist *headers =
        bearer.failed ? NULL : curl_slist_append(NULL, (const char *)bearer.data);
    bool ok = questions != NULL && multi != NULL && headers != NULL &&
              ask_all(fleet, questions, multi, headers);
    free(questions);
    curl_slist_free_all(headers);
    (void)curl_multi_cleanup(multi); /* nothing is in it */
    return ok && refresh_list(fleet);
}

/* ---- clocks
 * -------------------------------------------------------------------------------------------------
 */

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

bool tools_fleet_clock(const struct tools_fleet *fleet, long long id, double *out_s) {
    double measured[TOOLS_FLEET_MAX];
    size_t count = 0;
    char labels[48];
    (void)snprintf(labels, sizeof labels, "peer=\"%lld\"", id);
    for (size_t i = 0; i < fleet->count; i++) {
        const struct tools_sample *offset = tools_metrics_find(
            &fleet->nodes[i].metrics, "bindery_peer_clock_offset_seconds", bnd_slice_str(labels));
        if (offset != NULL) {
            measured[count++] = offset->value;
        }
    }
    if (count == 0) {
        return false;
    }
    qsort(measured, count, sizeof *measured, compare_doubles);
    *out_s = (measured[(count - 1) / 2] + measured[count / 2]) / 2;
    return true;
}
