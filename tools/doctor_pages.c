/* Are the replicas of D1's databases equal? Each node reads every page of one version that its own
 * replica holds (/client/v4/accounts/.../d1/database/<uuid>/pages), and the hashes are compared. */
#include "tools/doctor.h"

#include "tools/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PER_PAGE 100u
#define DATABASES_DEFAULT 10u /* that are looked at where not all are asked for */
#define BEHIND_TRIES 50u      /* of a replica that is not there yet */
#define BEHIND_US 100000u
#define READ_S 600u   /* for all pages of one database */
#define SILENT_MAX 3u /* databases in a row that a node does not tell of, before it is left out */

struct pages {
    struct tools_findings *findings;
    const struct tools_fleet *fleet;
    char base[160];      /* the path of all databases */
    long long databases; /* that there are */
    unsigned compared, bad;
    long long pages_all;
    unsigned silent[TOOLS_FLEET_MAX]; /* of each node, in a row */
};

/* What the first replica that answered has. */
struct reference {
    const struct tools_node *node; /* NULL: none yet */
    long long version;
    char hash[17];
};

static json_t *call(const struct pages *pages, const struct tools_node *node, const char *path) {
    struct tools_api api = *pages->fleet->api;
    api.url = node->url;
    api.timeout_s = READ_S;
    return tools_api_call(&api, "GET", path, NULL);
}

/* One that hangs would take its time for each of thousands of databases. */
static void tell_silent(struct pages *pages, const struct tools_node *node, const char *uuid) {
    unsigned silent = ++pages->silent[node - pages->fleet->nodes];
    tools_found(pages->findings, TOOLS_FINDING_WARN, "databases",
                "look again; if it stays, at that node's log",
                "node %lld does not tell its pages of database %s%s", node->id, uuid,
                silent < SILENT_MAX ? "" : ", and is not asked any more");
}

/* The node's digest of the version (0: its newest), owned; NULL: it cannot be had, which has been
 * told, or the node has no replica. */
static json_t *digest(struct pages *pages, const struct tools_node *node, const char *uuid,
                      long long version) {
    char path[256];
    json_t *result = NULL;
    (void)snprintf(path, sizeof path, "%s/%s/pages?version=%lld", pages->base, uuid, version);
    for (unsigned i = 0; i < BEHIND_TRIES; i++) {
        result = call(pages, node, path);
        if (result == NULL || !json_is_true(json_object_get(result, "behind"))) {
            break;
        }
        json_decref(result);
        result = NULL;
        (void)usleep(BEHIND_US);
    }
    if (result == NULL) {
        tell_silent(pages, node, uuid);
        return NULL;
    }
    pages->silent[node - pages->fleet->nodes] = 0;
    if (!json_is_true(json_object_get(result, "replica"))) {
        json_decref(result);
        result = NULL;
    }
    return result;
}

static void tell_damaged(struct pages *pages, const struct tools_node *node, const char *uuid,
                         const json_t *result) {
    pages->bad++;
    tools_found(pages->findings, TOOLS_FINDING_BAD, "databases",
                "it is not served; replace the node: `bindery node replace`",
                "page %lld of database %s is damaged on node %lld",
                (long long)json_integer_value(json_object_get(result, "damaged_page")), uuid,
                node->id);
}

/* False: nothing more is to be asked about this database. */
static bool compare(struct pages *pages, const struct tools_node *node, const char *uuid,
                    struct reference *reference) {
    json_t *result = digest(pages, node, uuid, reference->version);
    const char *hash = json_string_value(json_object_get(result, "hash"));
    bool goes_on = true;
    if (result != NULL && hash == NULL) {
        tell_damaged(pages, node, uuid, result);
    } else if (result != NULL && reference->node == NULL) {
        reference->node = node;
        reference->version = (long long)json_integer_value(json_object_get(result, "version"));
        (void)snprintf(reference->hash, sizeof reference->hash, "%s", hash);
        pages->pages_all += (long long)json_integer_value(json_object_get(result, "pages"));
    } else if (result != NULL && strcmp(hash, reference->hash) != 0) {
        pages->bad++;
        goes_on = false;
        tools_found(pages->findings, TOOLS_FINDING_BAD, "databases",
                    "keep both nodes' data and tell us; then replace the one that is wrong",
                    "nodes %lld and %lld have different pages of database %s at version %lld",
                    reference->node->id, node->id, uuid, reference->version);
    }
    json_decref(result);
    return goes_on;
}

static void check_database(struct pages *pages, const char *uuid) {
    struct reference reference = {0};
    bool goes_on = true;
    for (size_t i = 0; goes_on && i < pages->fleet->count; i++) {
        const struct tools_node *node = &pages->fleet->nodes[i];
        if (!node->gateway && node->status != NULL && pages->silent[i] < SILENT_MAX) {
            goes_on = compare(pages, node, uuid, &reference);
        }
    }
    pages->compared += reference.node != NULL;
}

/* Of a page of the list. False: it was the last one. */
static bool check_databases(struct pages *pages, unsigned page, unsigned per_page) {
    char path[256];
    size_t i = 0;
    json_t *item = NULL;
    (void)snprintf(path, sizeof path, "%s?per_page=%u&page=%u", pages->base, per_page, page);
    json_t *envelope = tools_api_envelope(pages->fleet->api, path);
    const json_t *items = json_object_get(envelope, "result");
    const json_t *info = json_object_get(envelope, "result_info");
    if (envelope == NULL) {
        tools_found(pages->findings, TOOLS_FINDING_WARN, "databases", "look again",
                    "the list of databases cannot be read from number %u on",
                    (page - 1) * per_page);
    } else {
        pages->databases = (long long)json_integer_value(json_object_get(info, "total_count"));
    }
    json_array_foreach(items, i, item) {
        check_database(pages, tools_json_text(item, "uuid"));
    }
    bool more = json_array_size(items) == per_page;
    json_decref(envelope);
    return more;
}

void tools_doctor_pages(struct tools_findings *findings, const struct tools_fleet *fleet,
                        bool all) {
    struct pages pages = {.findings = findings, .fleet = fleet};
    const char *account = NULL;
    for (size_t i = 0; account == NULL && i < fleet->count; i++) {
        account = json_string_value(json_object_get(fleet->nodes[i].status, "cluster"));
    }
    if (account == NULL) {
        return; /* nobody answered: that has been told */
    }
    (void)snprintf(pages.base, sizeof pages.base, "/client/v4/accounts/%s/d1/database", account);
    unsigned page = 1;
    while (check_databases(&pages, page, all ? PER_PAGE : DATABASES_DEFAULT) && all) {
        page++;
    }
    if (pages.databases > 0 && pages.bad == 0) {
        tools_found(
            findings, TOOLS_FINDING_OK, "databases",
            pages.compared < pages.databases ? "--pages reads all" : NULL,
            "of %u of %lld databases all pages (%lld) are the same on each replica that told them",
            pages.compared, pages.databases, pages.pages_all);
    }
}
