#include "node/metrics.h"

#include "base/version.h"
#include "engine/io/io.h"
#include "engine/journal/journal.h"
#include "engine/rocks/rocks.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static void type_line(struct bnd_buf *out, const char *name, const char *type) {
    bnd_buf_printf(out, "# TYPE %s %s\n", name, type);
}

static void metric(struct bnd_buf *out, const char *name, const char *type, uint64_t value) {
    type_line(out, name, type);
    bnd_buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

/* ---- the process
 * -------------------------------------------------------------------------------------------- */

static uint64_t resident_bytes(void) {
    unsigned long size = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    bool ok = file != NULL && fscanf(file, "%lu %lu", &size, &resident) == 2;
    if (file != NULL) {
        (void)fclose(file); /* was only read */
    }
    return ok ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* 0: not known. Since Linux 6.2 the directory's size says it. */
static uint64_t open_files(void) {
    struct stat about = {0};
    uint64_t count = 0;
    if (stat("/proc/self/fd", &about) == 0 && about.st_size > 0) {
        return (uint64_t)about.st_size;
    }
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL) {
        count++;
    }
    if (dir != NULL) {
        (void)closedir(dir); /* was only read */
    }
    return count > 3 ? count - 3 : 0; /* ".", ".." and the one it was read through */
}

/* Names as every Prometheus client library gives them. */
static void process_metrics(const struct node_metrics_sources *from, struct bnd_buf *out) {
    struct rusage usage = {0};
    struct rlimit files = {0};
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
        type_line(out, "process_cpu_seconds_total", "counter");
        bnd_buf_printf(out, "process_cpu_seconds_total %.3f\n", cpu_s);
    }
    metric(out, "process_resident_memory_bytes", "gauge", resident_bytes());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        metric(out, "process_max_fds", "gauge", files.rlim_cur);
    }
    metric(out, "process_open_fds", "gauge", open_files());
    metric(out, "process_start_time_seconds", "gauge", from->started_ms / 1000);
    type_line(out, "bindery_build_info", "gauge");
    bnd_buf_printf(out, "bindery_build_info{version=\"%s\",node=\"%" PRIu64 "\",role=\"%s\"} 1\n",
                   BND_VERSION_TEXT, from->identity->node,
                   from->identity->role == BND_NODE_GATEWAY ? "gateway" : "storage");
    metric(out, "bindery_io_uring", "gauge", bnd_io_env_backend(from->env) == BND_IO_URING);
}

/* ---- the disk
 * -----------------------------------------------------------------------------------------------
 */

const char *node_filesystem_name(const char *path) {
    static const struct {
        uint64_t magic;
        const char *name;
    } known[] = {
        {0xEF53, "ext4"},     {0x58465342, "xfs"},     {0x9123683E, "btrfs"}, {0x2FC12FC1, "zfs"},
        {0xF2F52010, "f2fs"}, {0x01021994, "tmpfs"},   {0x6969, "nfs"},       {0x65735546, "fuse"},
        {0xFF534D42, "cifs"}, {0x794C7630, "overlay"}, {0xFE534D42, "smb"},
    };
    struct statfs about;
    if (statfs(path, &about) == 0) {
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (known[i].magic == ((uint64_t)about.f_type & UINT32_MAX)) {
                return known[i].name;
            }
        }
    }
    return "other";
}

static void disk_metrics(const struct node_metrics_sources *from, struct bnd_buf *out) {
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    if (from->env->ops->disk_space(from->env, from->data, &free_bytes, &total_bytes, NULL) == 0) {
        metric(out, "bindery_disk_free_bytes", "gauge", free_bytes);
        metric(out, "bindery_disk_size_bytes", "gauge", total_bytes);
        metric(out, "bindery_disk_reserve_bytes", "gauge", node_disk_reserve(total_bytes));
    }
    if (from->disk != NULL) { /* 1: nearly full, 2: full */
        metric(out, "bindery_disk_full", "gauge", from->disk->space);
    }
    type_line(out, "bindery_disk_info", "gauge");
    bnd_buf_printf(out, "bindery_disk_info{filesystem=\"%s\"} 1\n",
                   node_filesystem_name(from->data));
}

static void storage_metrics(const struct node_metrics_sources *from, struct bnd_buf *out) {
    struct bnd_journal_stats journal;
    bnd_raft_host_journal(from->host, &journal);
    metric(out, "bindery_state_unpersisted_bytes", "gauge",
           from->state->ops->unpersisted_bytes(from->state));
    metric(out, "bindery_state_scrubbed_bytes_total", "counter", from->scrubbed_bytes);
    metric(out, "bindery_journal_written_bytes_total", "counter", journal.bytes_written);
    metric(out, "bindery_journal_batches_total", "counter", journal.batches);
    metric(out, "bindery_journal_queued_bytes", "gauge", journal.bytes_queued);
    metric(out, "bindery_journal_segments", "gauge", journal.segments);
    type_line(out, "bindery_journal_write_seconds", "histogram");
    bnd_histogram_print(&journal.writes, "bindery_journal_write_seconds", "", out);
}

/* ---- the groups
 * --------------------------------------------------------------------------------------------- */

struct group_totals {
    const struct bnd_raft_host *host;
    uint64_t groups, led, leaderless, unapplied_max, behind_max, log_bytes;
};

static void add_group(void *data, uint64_t gid) {
    struct group_totals *totals = data;
    struct bnd_raft_group_status status;
    if (bnd_raft_group_status(totals->host, gid, &status) != 0) {
        return;
    }
    uint64_t unapplied = status.commit > status.applied ? status.commit - status.applied : 0;
    totals->groups++;
    totals->led += status.state == BND_RAFT_LEADER;
    totals->leaderless += status.leader == 0;
    totals->log_bytes += status.log_bytes;
    totals->unapplied_max = unapplied > totals->unapplied_max ? unapplied : totals->unapplied_max;
    for (size_t i = 0; i < status.members_count && status.state == BND_RAFT_LEADER; i++) {
        uint64_t behind =
            status.last_index > status.match[i] ? status.last_index - status.match[i] : 0;
        totals->behind_max = behind > totals->behind_max ? behind : totals->behind_max;
    }
}

static void group_metrics(const struct node_metrics_sources *from, struct bnd_buf *out) {
    struct group_totals totals = {.host = from->host};
    struct bnd_raft_host_stats stats;
    bnd_raft_each_group(from->host, add_group, &totals);
    bnd_raft_host_stats(from->host, &stats);
    metric(out, "bindery_raft_groups", "gauge", totals.groups);
    metric(out, "bindery_raft_groups_led", "gauge", totals.led);
    metric(out, "bindery_raft_groups_leaderless", "gauge", totals.leaderless);
    metric(out, "bindery_raft_unapplied_entries_max", "gauge", totals.unapplied_max);
    metric(out, "bindery_raft_replica_behind_entries_max", "gauge", totals.behind_max);
    metric(out, "bindery_raft_log_bytes", "gauge", totals.log_bytes);
    type_line(out, "bindery_raft_commit_seconds", "histogram");
    bnd_histogram_print(&stats.commits, "bindery_raft_commit_seconds", "", out);
}

/* ---- SQL --------------------------------------------------------------------------------------*/

static void sql_metrics(const struct node_metrics_sources *from, struct bnd_buf *out) {
    struct bnd_sql_stats stats;
    bnd_sql_stats(from->sql, &stats);
    metric(out, "bindery_sql_queries_total", "counter", stats.queries);
    metric(out, "bindery_sql_transactions_total", "counter", stats.transactions);
    metric(out, "bindery_sql_reads_total", "counter", stats.reads);
    metric(out, "bindery_sql_failures_total", "counter", stats.failures);
    metric(out, "bindery_sql_conflicts_total", "counter", stats.conflicts);
    metric(out, "bindery_sql_entries_total", "counter", stats.entries);
    metric(out, "bindery_sql_change_set_bytes_total", "counter", stats.change_set_bytes);
    metric(out, "bindery_sql_cutoffs_total", "counter", stats.cutoffs);
    metric(out, "bindery_sql_collected_keys_total", "counter", stats.collected_keys);
    metric(out, "bindery_sql_databases_open", "gauge", stats.databases_open);
    metric(out, "bindery_sql_pages_bytes", "gauge", stats.pages_bytes);
}

/* ---- the others
 * --------------------------------------------------------------------------------------------- */

static void peer_metrics(const struct node_metrics_sources *from, struct bnd_buf *out) {
    struct bnd_mesh *mesh = bnd_mesh_tcp_mesh(from->mesh);
    const struct bnd_catalog_view *view = from->view;
    BND_AUTO_BUF struct bnd_buf offsets = {0};
    struct bnd_mesh_tcp_stats stats;
    bnd_mesh_tcp_stats(from->mesh, &stats);
    metric(out, "bindery_peers_refused_total", "counter", stats.refused);
    metric(out, "bindery_peers_shed_total", "counter", stats.shed);
    type_line(out, "bindery_peer_up", "gauge");
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct bnd_node_record *peer = &view->nodes[i];
        int64_t offset_ms = 0;
        if (peer->id == from->identity->node || peer->state == BND_NODE_GONE ||
            peer->role == BND_NODE_GATEWAY) {
            continue;
        }
        bnd_buf_printf(out, "bindery_peer_up{peer=\"%" PRIu64 "\"} %d\n", peer->id,
                       mesh->ops->up(mesh, peer->id));
        if (mesh->ops->clock_offset_ms(mesh, peer->id, &offset_ms)) {
            bnd_buf_printf(&offsets,
                           "bindery_peer_clock_offset_seconds{peer=\"%" PRIu64 "\"} %.3f\n",
                           peer->id, (double)offset_ms / 1000);
        }
    }
    type_line(out, "bindery_peer_clock_offset_seconds", "gauge");
    bnd_buf_append_slice(out, bnd_buf_slice(&offsets));
    out->failed = out->failed || offsets.failed;
}

static void certificate_metrics(const struct node_metrics_sources *from, struct bnd_buf *out) {
    const struct {
        const char *name;
        struct bnd_slice pem;
    } certificates[] = {{"node", bnd_buf_slice(&from->identity->node_cert)},
                        {"ca", bnd_buf_slice(&from->identity->ca_cert)}};
    type_line(out, "bindery_certificate_expiry_seconds", "gauge");
    for (size_t i = 0; i < sizeof certificates / sizeof certificates[0]; i++) {
        uint64_t expiry_s = 0;
        if (bnd_pki_expiry(certificates[i].pem, &expiry_s, NULL) == 0) {
            bnd_buf_printf(out,
                           "bindery_certificate_expiry_seconds{certificate=\"%s\"} %" PRIu64 "\n",
                           certificates[i].name, expiry_s);
        }
    }
}

void node_metrics_print(const struct node_metrics_sources *from, struct bnd_buf *out) {
    process_metrics(from, out);
    disk_metrics(from, out);
    certificate_metrics(from, out);
    if (from->view != NULL) {
        peer_metrics(from, out);
    }
    if (from->host != NULL) {
        storage_metrics(from, out);
        group_metrics(from, out);
    }
    if (from->sql != NULL) {
        sql_metrics(from, out);
    }
}

static void count_group(void *data, uint64_t gid) {
    (void)gid;
    (*(size_t *)data)++;
}

uint64_t node_replica_bytes(struct bnd_raft_host *host, struct bnd_state *state,
                            const struct bnd_objects *objects) {
    struct bnd_objects_stats stats;
    size_t groups = 0;
    bnd_raft_each_group(host, count_group, &groups);
    bnd_objects_stats(objects, &stats);
    uint64_t bytes =
        bnd_rocks_live_bytes(state) + state->ops->unpersisted_bytes(state) + stats.bodies_bytes;
    return groups == 0 ? 0 : bytes / groups;
}
