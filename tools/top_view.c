#include "tools/top_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS "bindery_http_request_seconds"

/* ---- the past
 * -----------------------------------------------------------------------------------------------
 */

void tools_top_forget(struct tools_top_past *past) {
    for (size_t i = 0; i < past->count; i++) {
        tools_metrics_free(&past->nodes[i].metrics);
    }
    past->count = 0;
}

void tools_top_remember(struct tools_top_past *past, struct tools_fleet *fleet) {
    tools_top_forget(past);
    for (size_t i = 0; i < fleet->count; i++) {
        struct tools_node *node = &fleet->nodes[i];
        if (node->metrics.count > 0) {
            past->nodes[past->count].id = node->id;
            past->nodes[past->count].at_s = node->at_s;
            past->nodes[past->count].metrics = node->metrics;
            node->metrics = (struct tools_metrics){0};
            past->count++;
        }
    }
}

/* A node between two reads. */
struct span {
    const struct tools_metrics *now;
    const struct tools_metrics *before; /* NULL: not read before */
    double seconds;
};

static struct span span_of(const struct tools_top_past *past, const struct tools_node *node) {
    struct span span = {.now = &node->metrics};
    for (size_t i = 0; i < past->count; i++) {
        if (past->nodes[i].id == node->id && node->at_s > past->nodes[i].at_s) {
            span.before = &past->nodes[i].metrics;
            span.seconds = node->at_s - past->nodes[i].at_s;
        }
    }
    return span;
}

/* ---- numbers
 * ------------------------------------------------------------------------------------------------
 */

/* The sum of a metric over its series; only those with label `of` equal to `is`, unless of is NULL.
 */
static double sum(const struct tools_metrics *metrics, const char *name, const char *of,
                  const char *is) {
    size_t count = 0;
    double total = 0;
    const struct tools_sample *sample = tools_metrics_named(metrics, name, &count);
    for (size_t i = 0; i < count; i++) {
        if (of == NULL || bnd_slice_eq(tools_label(sample[i].labels, of), bnd_slice_str(is))) {
            total += sample[i].value;
        }
    }
    return total;
}

static json_t *rate(const struct span *span, const char *name, const char *of, const char *is) {
    if (span->before == NULL) {
        return json_null();
    }
    double more = sum(span->now, name, of, is) - sum(span->before, name, of, is);
    return json_real(more < 0 ? 0 : more / span->seconds);
}

static json_t *quantile(const struct tools_histogram *histogram, double q) {
    double value = tools_histogram_quantile(histogram, q);
    return value < 0 ? json_null() : json_real(value);
}

static json_t *histogram_json(const struct span *span, const char *name, double q) {
    struct tools_histogram histogram = {0};
    if (span->before != NULL) {
        tools_histogram_add(&histogram, span->now, span->before, name, bnd_slice(NULL, 0));
    }
    return quantile(&histogram, q);
}

static json_t *gauge(const struct tools_metrics *metrics, const char *name) {
    size_t count = 0;
    double value = sum(metrics, name, NULL, NULL);
    if (tools_metrics_named(metrics, name, &count) == NULL) {
        return json_null();
    }
    bool whole = fabs(value) < 9e15 && value == floor(value);
    return whole ? json_integer((json_int_t)value) : json_real(value);
}

/* ---- nodes
 * --------------------------------------------------------------------------------------------------
 */

static json_t *clock_json(const struct tools_fleet *fleet, long long id) {
    double offset_s = 0;
    return tools_fleet_clock(fleet, id, &offset_s) ? json_real(offset_s) : json_null();
}

static json_t *requests_json(const struct span *span) {
    return json_pack("{s:o, s:o, s:o}", "rest", rate(span, REQUESTS "_count", "port", "rest"),
                     "bindings", rate(span, "bindery_http_requests_total", "port", "bindings"),
                     "s3", rate(span, REQUESTS "_count", "port", "s3"));
}

/* What clients asked for: /metrics and health, which this program and monitors fetch, are left out
 * of the quantiles. */
static void add_client_requests(struct tools_histogram *histogram, const struct span *span) {
    size_t count = 0;
    const struct tools_sample *sample = tools_metrics_named(span->now, REQUESTS "_count", &count);
    for (size_t i = 0; i < count; i++) {
        if (!bnd_slice_eq(tools_label(sample[i].labels, "operation"), bnd_slice_str("health")) &&
            !bnd_slice_eq(tools_label(sample[i].labels, "operation"), bnd_slice_str("cluster"))) {
            tools_histogram_add(histogram, span->now, span->before, REQUESTS, sample[i].labels);
        }
    }
}

static json_t *load_json(const struct span *span) {
    struct tools_histogram requests = {0};
    if (span->before != NULL) {
        add_client_requests(&requests, span);
    }
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "requests_per_s", requests_json(span),
        "request_p50_s", quantile(&requests, 0.5), "request_p99_s", quantile(&requests, 0.99),
        "in_bytes_per_s", rate(span, "bindery_http_in_bytes_total", NULL, NULL), "out_bytes_per_s",
        rate(span, "bindery_http_out_bytes_total", NULL, NULL), "commits_per_s",
        rate(span, "bindery_raft_commit_seconds_count", NULL, NULL), "commit_p99_s",
        histogram_json(span, "bindery_raft_commit_seconds", 0.99), "journal_syncs_per_s",
        rate(span, "bindery_journal_write_seconds_count", NULL, NULL), "journal_write_p99_s",
        histogram_json(span, "bindery_journal_write_seconds", 0.99), "cpu_cores",
        rate(span, "process_cpu_seconds_total", NULL, NULL));
}

static json_t *queues_json(const struct tools_metrics *metrics) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "connections",
                     gauge(metrics, "bindery_http_connections"), "requests_open",
                     gauge(metrics, "bindery_http_requests_open"), "proposals_bytes",
                     gauge(metrics, "bindery_raft_proposals_bytes"), "journal_bytes",
                     gauge(metrics, "bindery_journal_queued_bytes"), "unpersisted_bytes",
                     gauge(metrics, "bindery_state_unpersisted_bytes"));
}

static json_t *node_json(const struct tools_top_past *past, const struct tools_fleet *fleet,
                         const struct tools_node *node) {
    const struct tools_metrics *metrics = &node->metrics;
    struct span span = span_of(past, node);
    const char *version = json_string_value(json_object_get(node->status, "version"));
    json_t *json = json_pack(
        "{s:I, s:s, s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
        (json_int_t)node->id, "role", node->gateway ? "gateway" : "storage", "state", node->state,
        "url", node->url, "up", metrics->count > 0, "problem", node->problem, "version",
        version == NULL ? "" : version, "groups", gauge(metrics, "bindery_raft_groups"),
        "groups_led", gauge(metrics, "bindery_raft_groups_led"), "rss_bytes",
        gauge(metrics, "process_resident_memory_bytes"), "disk_free_bytes",
        gauge(metrics, "bindery_disk_free_bytes"), "disk_size_bytes",
        gauge(metrics, "bindery_disk_size_bytes"), "clock_offset_s", clock_json(fleet, node->id),
        "queues", queues_json(metrics));
    json_t *load = load_json(&span);
    bool ok = json != NULL && load != NULL && json_object_update(json, load) == 0;
    json_decref(load);
    if (!ok) {
        json_decref(json);
    }
    return ok ? json : NULL;
}

/* ---- operations
 * --------------------------------------------------------------------------------------------- */

static json_t *operation_json(const struct tools_top_past *past, const struct tools_fleet *fleet,
                              struct bnd_slice labels) {
    struct tools_histogram histogram = {0};
    double seconds = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        struct span span = span_of(past, &fleet->nodes[i]);
        if (span.before != NULL) {
            tools_histogram_add(&histogram, span.now, span.before, REQUESTS, labels);
            seconds = span.seconds;
        }
    }
    double total = tools_histogram_total(&histogram);
    struct bnd_slice port = tools_label(labels, "port");
    struct bnd_slice operation = tools_label(labels, "operation");
    return json_pack("{s:s%, s:s%, s:f, s:o, s:o}", "port", port.data, port.len, "operation",
                     operation.data, operation.len, "per_s", seconds > 0 ? total / seconds : 0.0,
                     "p50_s", quantile(&histogram, 0.5), "p99_s", quantile(&histogram, 0.99));
}

static bool is_known(const json_t *operations, struct bnd_slice labels) {
    size_t i = 0;
    json_t *known = NULL;
    struct bnd_slice port = tools_label(labels, "port");
    struct bnd_slice operation = tools_label(labels, "operation");
    json_array_foreach((json_t *)(uintptr_t)operations, i, known) {
        const char *name = json_string_value(json_object_get(known, "operation"));
        const char *of = json_string_value(json_object_get(known, "port"));
        if (bnd_slice_eq(bnd_slice_str(name), operation) && bnd_slice_eq(bnd_slice_str(of), port)) {
            return true;
        }
    }
    return false;
}

static json_t *operations_json(const struct tools_top_past *past, const struct tools_fleet *fleet) {
    json_t *operations = json_array();
    for (size_t i = 0; i < fleet->count && operations != NULL; i++) {
        size_t count = 0;
        const struct tools_sample *sample =
            tools_metrics_named(&fleet->nodes[i].metrics, REQUESTS "_count", &count);
        for (size_t k = 0; k < count; k++) {
            struct bnd_slice labels = sample[k].labels;
            if (tools_label(labels, "port").data == NULL ||
                tools_label(labels, "operation").data == NULL || is_known(operations, labels)) {
                continue;
            }
            if (json_array_append_new(operations, operation_json(past, fleet, labels)) != 0) {
                json_decref(operations);
                return NULL;
            }
        }
    }
    return operations;
}

/* ---- groups
 * -------------------------------------------------------------------------------------------------
 */

static long long number(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

/* What one node says about a group. */
struct told {
    long long gid;
    size_t node; /* its place in the fleet */
    const json_t *group;
};

static int by_gid(const void *left, const void *right) {
    const struct told *a = left;
    const struct told *b = right;
    if (a->gid != b->gid) {
        return a->gid < b->gid ? -1 : 1;
    }
    return a->node < b->node ? -1 : a->node > b->node;
}

/* What all nodes say about all groups, in order of gid; owned. NULL: no memory. */
static struct told *told_groups(const struct tools_fleet *fleet, size_t *out_count) {
    size_t count = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        count += json_array_size(json_object_get(fleet->nodes[i].status, "groups"));
    }
    struct told *told = calloc(count + 1, sizeof *told);
    if (told == NULL) {
        return NULL;
    }
    *out_count = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        size_t k = 0;
        json_t *group = NULL;
        json_array_foreach(json_object_get(fleet->nodes[i].status, "groups"), k, group) {
            told[(*out_count)++] = (struct told){number(group, "gid"), i, group};
        }
    }
    qsort(told, *out_count, sizeof *told, by_gid);
    return told;
}

/* What the nodes say about one group: its leader's word counts, the highest term among them. */
static json_t *group_json(const struct tools_fleet *fleet, const struct told *told, size_t count) {
    const json_t *best = told[0].group;
    long long lag = 0;
    bool led = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *group = told[i].group;
        bool leads = number(group, "leader") == fleet->nodes[told[i].node].id;
        if (leads && (!led || number(group, "term") > number(best, "term"))) {
            best = group;
            led = true;
        }
    }
    for (size_t i = 0; i < count; i++) {
        long long behind = number(best, "commit") - number(told[i].group, "applied");
        lag = behind > lag ? behind : lag;
    }
    return json_pack("{s:I, s:O, s:O, s:I, s:I, s:I, s:I, s:I, s:O}", "gid",
                     (json_int_t)told[0].gid, "kind", json_object_get(best, "kind"), "shard",
                     json_object_get(best, "shard"), "leader",
                     (json_int_t)(led ? number(best, "leader") : 0), "term",
                     (json_int_t)number(best, "term"), "commit", (json_int_t)number(best, "commit"),
                     "lag", (json_int_t)lag, "answering", (json_int_t)count, "members",
                     json_object_get(best, "members"));
}

static json_t *groups_json(const struct tools_fleet *fleet) {
    size_t count = 0;
    struct told *told = told_groups(fleet, &count);
    json_t *groups = told == NULL ? NULL : json_array();
    size_t end = 0;
    for (size_t i = 0; i < count && groups != NULL; i = end) {
        for (end = i + 1; end < count && told[end].gid == told[i].gid; end++) {
        }
        if (json_array_append_new(groups, group_json(fleet, &told[i], end - i)) != 0) {
            json_decref(groups);
            groups = NULL;
        }
    }
    free(told);
    return groups;
}

json_t *tools_top_view(const struct tools_top_past *past, const struct tools_fleet *fleet) {
    json_t *nodes = json_array();
    for (size_t i = 0; i < fleet->count && nodes != NULL; i++) {
        if (json_array_append_new(nodes, node_json(past, fleet, &fleet->nodes[i])) != 0) {
            json_decref(nodes);
            nodes = NULL;
        }
    }
    return json_pack("{s:o, s:o, s:o}", "nodes", nodes, "operations", operations_json(past, fleet),
                     "groups", groups_json(fleet));
}
