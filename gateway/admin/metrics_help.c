/* What each metric means: the # HELP lines of /metrics. One table for all parts of the process, so
 * that whoever reads dashboards has one place to look; tests/clients checks that no metric is
 * without. */
#include "gateway/admin/admin_private.h"

static const struct {
    const char *name;
    const char *help;
} helps[] = {
    {"bindery_audit_calls_total", "Control-plane calls written to the audit log."},
    {"bindery_audit_refusals_total", "Requests refused for want of a right, in the audit log."},
    {"bindery_bodies_corrupt_total", "Copies of bodies found damaged; each is fetched anew."},
    {"bindery_bodies_fetched_bytes_total", "Bytes of bodies fetched from other replicas."},
    {"bindery_bodies_fetched_total", "Bodies fetched from other replicas."},
    {"bindery_bodies_missing", "Bodies this node should hold and does not yet."},
    {"bindery_build_info", "1; labels tell version, node id and role."},
    {"bindery_catalog_age_seconds", "Since group 0 last confirmed this process's view of it."},
    {"bindery_certificate_expiry_seconds", "When a certificate expires, in seconds since 1970."},
    {"bindery_clock_ahead_seconds", "This node's clock minus the median of all."},
    {"bindery_clock_handovers_total", "Leaderships given up because this node's clock is off."},
    {"bindery_clock_off", "1 while this node's clock is more than 500 ms off the median."},
    {"bindery_clock_suspended_groups",
     "Groups that delete nothing by time since their time jumped: bindery clock confirm."},
    {"bindery_disk_free_bytes", "Free space of the data directory's file system."},
    {"bindery_disk_full", "0: room; 1: below the reserve, takes nothing that grows; 2: below half "
                          "of it, takes nothing."},
    {"bindery_disk_info", "1; the label tells the file system's type."},
    {"bindery_disk_reserve_bytes", "Free space below which nothing that grows is taken."},
    {"bindery_disk_size_bytes", "Size of the data directory's file system."},
    {"bindery_gateway_nodes", "Storage nodes of the cluster, as this gateway knows them."},
    {"bindery_gateway_nodes_up", "Those of them that it is connected to."},
    {"bindery_http_aborted_total", "Answers cut off, because of a failure or the client."},
    {"bindery_http_buffer_bytes", "Memory in request and answer buffers."},
    {"bindery_http_connections", "Open client connections."},
    {"bindery_http_connections_accepted_total", "Client connections accepted."},
    {"bindery_http_connections_refused_address_total",
     "Connections closed because their address had too many."},
    {"bindery_http_connections_refused_total", "Connections closed for want of room."},
    {"bindery_http_in_bytes_total", "Bytes received from clients."},
    {"bindery_http_out_bytes_total", "Bytes sent to clients."},
    {"bindery_http_refused_heads_total", "Requests refused as malformed or oversized."},
    {"bindery_http_refused_overload_total", "Requests answered 503 before they were served."},
    {"bindery_http_request_seconds", "From a request's head to the end of its answer."},
    {"bindery_http_requests_open", "Requests being served."},
    {"bindery_http_requests_total", "Requests whose head was read."},
    {"bindery_http_responses_1xx_total", "Interim answers (100 Continue)."},
    {"bindery_http_responses_2xx_total", "Answers of success."},
    {"bindery_http_responses_3xx_total", "Answers 304 and the like."},
    {"bindery_http_responses_4xx_total", "Answers that say the request cannot be served as it is."},
    {"bindery_http_responses_5xx_total", "Answers 503 (try again), 507, 501 and 500."},
    {"bindery_http_timeouts_body_total", "Connections closed as their body came too slowly."},
    {"bindery_http_timeouts_head_total", "Connections closed as their head came too slowly."},
    {"bindery_http_timeouts_idle_total", "Idle connections closed."},
    {"bindery_http_timeouts_write_total", "Connections closed as nobody read the answer."},
    {"bindery_io_uring", "1 if files are written through io_uring, 0 through threads."},
    {"bindery_journal_batches_total", "Durable writes of the journal."},
    {"bindery_journal_queued_bytes", "Bytes waiting for the journal's next write."},
    {"bindery_journal_segments", "Segment files of the journal in use."},
    {"bindery_journal_write_seconds", "Time of a durable write of the journal."},
    {"bindery_journal_written_bytes_total", "Bytes written to the journal."},
    {"bindery_kv_cache_bytes", "Memory of records that are cached."},
    {"bindery_kv_digests_differing_total", "Seconds in which two replicas were found to differ."},
    {"bindery_kv_exchanges_total", "Comparisons of whole shards with another replica."},
    {"bindery_kv_gets_cached_total", "Values answered from memory."},
    {"bindery_kv_gets_forwarded_total", "Values asked for from another node."},
    {"bindery_sql_queries_total", "Requests of D1 that this node's executor was given."},
    {"bindery_sql_transactions_total", "Transactions that it has committed."},
    {"bindery_sql_reads_total", "Requests answered by readers, replicas included."},
    {"bindery_sql_failures_total", "Requests whose SQL failed."},
    {"bindery_sql_conflicts_total",
     "Transactions run again because they stood on a state that was gone."},
    {"bindery_sql_entries_total", "Passes of writers."},
    {"bindery_sql_change_set_bytes_total", "Bytes of change sets that it has committed, packed."},
    {"bindery_sql_cutoffs_total", "Cutoffs that this node, as a leader, has given databases."},
    {"bindery_sql_collected_keys_total", "Keys of old versions that the retention deleted here."},
    {"bindery_sql_databases_open", "Databases with a connection."},
    {"bindery_sql_pages_bytes", "Bytes that connections and their pages hold."},
    {"bindery_kv_gets_total", "Values asked for."},
    {"bindery_kv_log_bytes", "Bytes of KV in the journal that the state does not have durably."},
    {"bindery_kv_pushes_received_total", "Records received so."},
    {"bindery_kv_pushes_sent_total", "Records sent to other replicas as they were written."},
    {"bindery_kv_puts_local_total",
     "Of them those on this node alone, in namespaces that are local."},
    {"bindery_kv_puts_refused_total",
     "Puts and deletes refused for want of replicas, room or a fresh view."},
    {"bindery_kv_puts_total", "Puts and deletes answered as stored."},
    {"bindery_kv_records_cached", "Records that are cached."},
    {"bindery_kv_records_sent_total", "Records sent to replicas that lacked them."},
    {"bindery_kv_records_taken_total", "Records taken from other replicas that this one lacked."},
    {"bindery_kv_request_bytes", "Memory of values and answers that KV requests hold."},
    {"bindery_kv_restamped_total", "Puts stamped again, as a replica had a newer version."},
    {"bindery_kv_shards_building", "Of them those whose tree is being built."},
    {"bindery_kv_shards_filled", "Of them those that serve: equal with a replica that was."},
    {"bindery_kv_shards_held", "KV shards with a replica on this node."},
    {"bindery_kv_tombstones_collected_total",
     "Deleted and expired records that are gone for good."},
    {"bindery_kv_wiped_shards_total", "Shards emptied to be filled again: away for too long."},
    {"bindery_objects_deletes_total", "Objects asked to be deleted."},
    {"bindery_objects_heads_total", "Objects looked up, also for reading them."},
    {"bindery_objects_in_bytes_total", "Bytes of objects received."},
    {"bindery_objects_lists_total", "Pages of lists."},
    {"bindery_objects_out_bytes_total", "Bytes of objects sent."},
    {"bindery_objects_puts_body_total", "Objects and parts stored as a body of their own."},
    {"bindery_objects_puts_inline_total", "Small objects stored inside the replicated log."},
    {"bindery_objects_readers_open", "Objects being sent."},
    {"bindery_objects_uploads_open", "Objects and parts being received."},
    {"bindery_peer_clock_offset_seconds", "A peer's clock minus this node's."},
    {"bindery_peer_up", "1 while the peer answers heartbeats."},
    {"bindery_peers_refused_total", "Peer connections refused: a foreign or revoked certificate."},
    {"bindery_peers_shed_total", "Unidentified peer connections closed to make room."},
    {"bindery_raft_applied_total", "Operations applied to the state."},
    {"bindery_raft_commit_seconds", "From a proposal on this leader until it is committed."},
    {"bindery_raft_elections_total", "Elections this node began."},
    {"bindery_raft_entries_total", "Entries proposed; one holds many operations."},
    {"bindery_raft_export_bytes_total", "Bytes of state sent to replicas beyond the log."},
    {"bindery_raft_groups", "Groups with a replica on this node."},
    {"bindery_raft_groups_leaderless", "Groups here that know no leader."},
    {"bindery_raft_groups_led", "Groups this node leads."},
    {"bindery_raft_groups_moving", "Groups whose members are being changed by this node."},
    {"bindery_raft_handovers_total", "Leaderships handed to another node on purpose."},
    {"bindery_raft_installs_received_total", "Whole states received, as the log was too short."},
    {"bindery_raft_installs_sent_total", "Whole states sent, as the log was too short."},
    {"bindery_raft_log_bytes", "Entries of all groups in memory."},
    {"bindery_raft_messages_held", "Messages waiting for the journal."},
    {"bindery_raft_messages_sent_total", "Raft messages sent."},
    {"bindery_raft_persists_total", "Times the applied state was made durable."},
    {"bindery_raft_proposals_bytes", "Operations waiting for their commit."},
    {"bindery_raft_proposals_total", "Operations proposed by this node as a leader."},
    {"bindery_raft_read_rounds_total", "Rounds that confirmed leadership for reads."},
    {"bindery_raft_reads_total", "Linearizable reads."},
    {"bindery_raft_replica_behind_entries_max",
     "Entries that the furthest replica of a group led here lacks."},
    {"bindery_raft_unapplied_entries_max", "Committed entries that wait to be applied, at most."},
    {"bindery_state_scrubbed_bytes_total",
     "Bytes of the state's table files that the scrub has read and found sound."},
    {"bindery_state_unpersisted_bytes", "Applied state that only the journal makes durable yet."},
    {"process_cpu_seconds_total", "User and system CPU time."},
    {"process_max_fds", "Most file descriptors this process may have."},
    {"process_open_fds", "Open file descriptors."},
    {"process_resident_memory_bytes", "Resident memory."},
    {"process_start_time_seconds", "When the process started, in seconds since 1970."},
};

static const char *help_of(struct bnd_slice name) {
    for (size_t i = 0; i < sizeof helps / sizeof helps[0]; i++) {
        if (bnd_slice_eq(name, bnd_slice_str(helps[i].name))) {
            return helps[i].help;
        }
    }
    return NULL;
}

void admin_metrics_help(struct bnd_slice text, struct bnd_buf *out) {
    struct bnd_slice type = bnd_slice_str("# TYPE ");
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data) + 1;
        struct bnd_slice line = bnd_slice(text.data, len);
        if (bnd_slice_starts(line, type)) {
            const uint8_t *name = line.data + type.len;
            const uint8_t *space = memchr(name, ' ', line.len - type.len);
            size_t name_len = space == NULL ? 0 : (size_t)(space - name);
            const char *help = help_of(bnd_slice(name, name_len));
            if (help != NULL) {
                bnd_buf_printf(out, "# HELP %.*s %s\n", (int)name_len, (const char *)name, help);
            }
        }
        bnd_buf_append_slice(out, line);
        text = bnd_slice(text.data + len, text.len - len);
    }
}
