/* /metrics: what this process counts, in Prometheus' text format (exposition format 0.0.4). */
#include "gateway/admin/admin_private.h"
#include "gateway/front.h"
#include "kv/kv.h"

#include <stddef.h>
#include <stdio.h>

static void metric(struct bnd_buf *out, const char *name, const char *type, uint64_t value) {
    bnd_buf_printf(out, "# TYPE bindery_%s %s\nbindery_%s %llu\n", name, type, name,
                   (unsigned long long)value);
}

struct suspended_walk {
    const struct bnd_raft_host *host;
    uint64_t count;
};

static void count_suspended(void *data, uint64_t gid) {
    struct suspended_walk *walk = data;
    walk->count += bnd_raft_time_suspended(walk->host, gid);
}

static void raft_metrics(struct bnd_raft_host *host, struct bnd_buf *out) {
    struct bnd_raft_host_stats s;
    bnd_raft_host_stats(host, &s);
    metric(out, "raft_proposals_total", "counter", s.proposals);
    metric(out, "raft_entries_total", "counter", s.entries);
    metric(out, "raft_applied_total", "counter", s.applied);
    metric(out, "raft_reads_total", "counter", s.reads);
    metric(out, "raft_read_rounds_total", "counter", s.read_rounds);
    metric(out, "raft_elections_total", "counter", s.elections);
    metric(out, "raft_installs_sent_total", "counter", s.installs_sent);
    metric(out, "raft_installs_received_total", "counter", s.installs_received);
    metric(out, "raft_export_bytes_total", "counter", s.export_bytes);
    metric(out, "raft_handovers_total", "counter", s.handovers);
    metric(out, "raft_groups_moving", "gauge", s.moving);
    metric(out, "raft_persists_total", "counter", s.persists);
    metric(out, "raft_messages_sent_total", "counter", s.messages_sent);
    metric(out, "raft_messages_held", "gauge", s.messages_held);
    metric(out, "raft_proposals_bytes", "gauge", s.proposals_bytes);
    metric(out, "clock_handovers_total", "counter", s.clock_handovers);
    metric(out, "clock_off", "gauge", s.clock_off);
    if (s.clock_known) {
        bnd_buf_printf(
            out, "# TYPE bindery_clock_ahead_seconds gauge\nbindery_clock_ahead_seconds %.3f\n",
            (double)s.clock_ahead_ms / 1000);
    }
    struct suspended_walk walk = {.host = host};
    bnd_raft_each_group(host, count_suspended, &walk);
    metric(out, "clock_suspended_groups", "gauge", walk.count);
}

static void object_metrics(struct bnd_objects *objects, struct bnd_buf *out) {
    struct bnd_objects_stats s;
    bnd_objects_stats(objects, &s);
    metric(out, "objects_uploads_open", "gauge", s.uploads_open);
    metric(out, "objects_readers_open", "gauge", s.readers_open);
    metric(out, "objects_puts_inline_total", "counter", s.puts_inline);
    metric(out, "objects_puts_body_total", "counter", s.puts_body);
    metric(out, "objects_heads_total", "counter", s.heads);
    metric(out, "objects_deletes_total", "counter", s.deletes);
    metric(out, "objects_lists_total", "counter", s.lists);
    metric(out, "objects_in_bytes_total", "counter", s.bytes_in);
    metric(out, "objects_out_bytes_total", "counter", s.bytes_out);
    metric(out, "bodies_corrupt_total", "counter", s.bodies_corrupt);
    metric(out, "bodies_fetched_total", "counter", s.bodies_fetched);
    metric(out, "bodies_fetched_bytes_total", "counter", s.bodies_fetched_bytes);
    metric(out, "bodies_missing", "gauge", s.bodies_missing);
}

static void kv_metrics(const struct bnd_gateway_services *services, struct bnd_buf *out) {
    struct bnd_kv_stats s;
    bnd_kv_stats(services->kv, &s);
    metric(out, "kv_gets_total", "counter", s.gets);
    metric(out, "kv_gets_cached_total", "counter", s.gets_cached);
    metric(out, "kv_gets_forwarded_total", "counter", s.gets_forwarded);
    metric(out, "kv_puts_total", "counter", s.puts);
    metric(out, "kv_puts_local_total", "counter", s.puts_local);
    metric(out, "kv_puts_refused_total", "counter", s.puts_refused);
    metric(out, "kv_restamped_total", "counter", s.restamped);
    metric(out, "kv_pushes_sent_total", "counter", s.pushes_sent);
    metric(out, "kv_pushes_received_total", "counter", s.pushes_received);
    metric(out, "kv_digests_differing_total", "counter", s.digests_differing);
    metric(out, "kv_exchanges_total", "counter", s.exchanges);
    metric(out, "kv_records_sent_total", "counter", s.records_sent);
    metric(out, "kv_records_taken_total", "counter", s.records_taken);
    metric(out, "kv_tombstones_collected_total", "counter", s.tombstones_collected);
    metric(out, "kv_wiped_shards_total", "counter", s.wiped_shards);
    metric(out, "kv_log_bytes", "gauge", s.log_bytes);
    metric(out, "kv_cache_bytes", "gauge", s.cache_bytes);
    metric(out, "kv_records_cached", "gauge", s.records_cached);
    metric(out, "kv_shards_held", "gauge", s.shards_held);
    metric(out, "kv_shards_filled", "gauge", s.shards_filled);
    metric(out, "kv_shards_building", "gauge", s.shards_building);
    if (services->front != NULL) {
        metric(out, "kv_request_bytes", "gauge", services->front->bytes);
    }
}

/* ---- the ports
 * ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *type;
    size_t offset;
    bool is_size; /* a size_t, else a uint64_t */
} http_counters[] = {
#define COUNTER(name, field)                                                                       \
    { "http_" name "_total", "counter", offsetof(struct bnd_http_counters, field), false }
#define GAUGE(name, field)                                                                         \
    { "http_" name, "gauge", offsetof(struct bnd_http_counters, field), true }
    COUNTER("connections_accepted", connections_accepted),
    COUNTER("connections_refused", connections_refused),
    COUNTER("connections_refused_address", connections_refused_address),
    COUNTER("timeouts_head", timeouts_head),
    COUNTER("timeouts_body", timeouts_body),
    COUNTER("timeouts_write", timeouts_write),
    COUNTER("timeouts_idle", timeouts_idle),
    COUNTER("requests", requests),
    COUNTER("responses_1xx", responses[1]),
    COUNTER("responses_2xx", responses[2]),
    COUNTER("responses_3xx", responses[3]),
    COUNTER("responses_4xx", responses[4]),
    COUNTER("responses_5xx", responses[5]),
    COUNTER("refused_heads", refused_heads),
    COUNTER("refused_overload", refused_overload),
    COUNTER("aborted", aborted),
    COUNTER("in_bytes", bytes_in),
    COUNTER("out_bytes", bytes_out),
    GAUGE("connections", connections),
    GAUGE("requests_open", requests_open),
    GAUGE("buffer_bytes", buffer_bytes),
#undef COUNTER
#undef GAUGE
};

static uint64_t counter_value(const struct bnd_http_counters *counters, size_t i) {
    const void *field = (const char *)counters + http_counters[i].offset;
    return http_counters[i].is_size ? *(const size_t *)field : *(const uint64_t *)field;
}

static void http_metrics(const struct bnd_rest *rest, struct bnd_buf *out) {
    struct bnd_http_counters counters[BND_REST_PORTS_MAX];
    for (size_t p = 0; p < rest->ports_count; p++) {
        bnd_http_server_counters(rest->ports[p].server, &counters[p]);
    }
    for (size_t i = 0; i < sizeof http_counters / sizeof http_counters[0]; i++) {
        const char *name = http_counters[i].name;
        if (rest->ports_count > 0) {
            bnd_buf_printf(out, "# TYPE bindery_%s %s\n", name, http_counters[i].type);
        }
        for (size_t p = 0; p < rest->ports_count; p++) {
            bnd_buf_printf(out, "bindery_%s{port=\"%s\"} %llu\n", name, rest->ports[p].name,
                           (unsigned long long)counter_value(&counters[p], i));
        }
    }
}

static void operation_metrics(const struct bnd_rest *rest, struct bnd_buf *out) {
    static const char *const name = "bindery_http_request_seconds";
    bnd_buf_printf(out, "# TYPE %s histogram\n", name);
    for (size_t p = 0; p < rest->ports_count; p++) {
        const char *operation = NULL;
        const struct bnd_histogram *took = NULL;
        for (size_t i = 0;
             (took = bnd_http_server_operation(rest->ports[p].server, i, &operation)) != NULL;
             i++) {
            char labels[96];
            (void)snprintf(labels, sizeof labels, "port=\"%s\",operation=\"%s\"",
                           rest->ports[p].name, operation);
            if (bnd_histogram_count(took) > 0) { /* what never came has no series */
                bnd_histogram_print(took, name, labels, out);
            }
        }
    }
}

/* ---- all
 * ------------------------------------------------------------------------------------------------
 */

void admin_run_metrics(struct rest_request *request) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    const struct bnd_gateway_services *services = request->services;
    uint64_t age_ms = bnd_catalog_age_ms(services->catalog);
    if (age_ms != UINT64_MAX) {
        bnd_buf_printf(
            &out, "# TYPE bindery_catalog_age_seconds gauge\nbindery_catalog_age_seconds %.3f\n",
            (double)age_ms / 1000);
    }
    http_metrics(request->rest, &out);
    if (services->audit != NULL) {
        metric(&out, "audit_calls_total", "counter", services->audit->calls);
        metric(&out, "audit_refusals_total", "counter", services->audit->refusals);
    }
    operation_metrics(request->rest, &out);
    object_metrics(services->objects, &out);
    if (services->kv != NULL) {
        kv_metrics(services, &out);
    }
    if (services->host != NULL) {
        raft_metrics(services->host, &out);
    }
    if (services->metrics != NULL) {
        services->metrics(services->owner, &out);
    }
    BND_AUTO_BUF struct bnd_buf text = {0};
    admin_metrics_help(bnd_buf_slice(&out), &text);
    if (out.failed || text.failed) {
        rest_fail_code(request, BND_NOMEM);
    } else {
        rest_exposition(request, bnd_buf_slice(&text));
    }
}
