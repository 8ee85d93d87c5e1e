/* White-box watchers: for each guard of raft/guard.h something that shows when it is missing, long
 * before (and far more often than) two replicas disagree.
 *
 *   G1  a leader's commit index moves onto an entry of an older term
 *   G2  a follower acknowledges an entry that the leader of that term does not have, or one not
 * durable G3  a candidate whose log is not durable G4  a configuration entry is taken back in
 * memory, or the log compacted while one is uncommitted G7  a leader has a configuration of its own
 * term before its barrier was committed; leaders are asked for one G8  one term led in two lives of
 * a node (tests/sim/ledger.h) B9  entries are cut off while log writes of an earlier pass are not
 * durable B12 two votes in one term B3b a message to nobody (tests/sim/mesh.c aborts) G5  the
 * library is told that a send failed, and frees twice: the process dies B18 a follower that does
 * not vote still follows a leader that is gone G9  a vote for a log that ends before the one that
 * the voter had before it was made again PREFIX an entry comes into a log under another index than
 * it has at its leader */
#include "raft/host_private.h"
#include "tests/sim/cluster.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>

/* A leader's messages may come long after it has gone, and pauses hold up the clock; an election
 * timeout here is 600 ms at most. */
#define ORPHAN_NS_MAX (7000 * BND_MS)

static struct bnd_core *core_of(const struct bnd_sim_node *node, uint64_t gid) {
    if (node->base.life != BND_SIM_UP || node->host == NULL || node->base.fatal) {
        return NULL;
    }
    const struct group *group = group_running(node->host, gid);
    return group == NULL ? NULL : group->core;
}

/* The term of an entry, 0 if it is not in memory. */
static uint64_t term_at(struct bnd_core *core, uint64_t index) {
    struct bnd_journal_entry entry;
    return bnd_core_entry(core, index, &entry) == 0 ? entry.term : 0;
}

static uint64_t term_in(void *log, uint64_t index) {
    return term_at(log, index);
}

/* ---- after a pass
 * ----------------------------------------------------------------------------------- */

/* Asks a new leader for a change of members before its barrier is committed: guard G7 refuses it.
 * raft/member.c never asks so early. */
static void ask_too_early(struct bnd_sim_replica *replica, struct bnd_core *core,
                          const struct bnd_core_status *status) {
    struct bnd_sim_node *node = replica->node;
    struct bnd_sim_rng *rng = &node->cluster->rng;
    const struct bnd_raft_configuration *members = &status->configuration;
    if (status->ready || !bnd_sim_rng_chance(rng, 300)) {
        return;
    }
    const struct bnd_raft_member *other = &members->members[bnd_sim_rng_below(rng, members->count)];
    bnd_sim_env_enter(node->base.env);
    if (other->role == BND_RAFT_STANDBY) {
        (void)bnd_core_member_assign(core, other->node, BND_RAFT_VOTER);
    } else {
        (void)bnd_core_member_remove(core, other->node);
    }
    host_wake(node->host);
    bnd_sim_env_leave(node->base.env);
}

static void watch_election(struct bnd_sim_replica *replica, struct bnd_core *core,
                           const struct bnd_core_status *status) {
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    cluster->counts.elections++;
    bnd_sim_logbook_leader(&cluster->groups[replica->gid - 1].logbook, replica->node->id,
                           status->term, status->last_index, term_in, core);
    ask_too_early(replica, core, status);
}

static void watch_leader(struct bnd_sim_replica *replica, struct bnd_core *core,
                         const struct bnd_core_status *status) {
    struct bnd_sim_node *node = replica->node;
    struct bnd_sim_cluster *cluster = node->cluster;
    const struct bnd_sim_seen *seen = &replica->seen;
    bnd_sim_ledger_leader(&cluster->groups[replica->gid - 1].ledger, node->id,
                          status->ready ? node->base.lives : 0, status->term);
    if (!seen->valid || !seen->leader || seen->term != status->term) {
        watch_election(replica, core, status);
        return;
    }
    uint64_t committed_term = term_at(core, status->commit);
    if (status->commit > seen->commit && committed_term != 0 && committed_term != status->term) {
        bnd_sim_violation(&cluster->check,
                          "G1: group %" PRIu64 ": leader %" PRIu64 " of term %" PRIu64
                          " commits index %" PRIu64 " of term %" PRIu64 " by counting",
                          replica->gid, node->id, status->term, status->commit, committed_term);
    }
    if (status->configuration_index > seen->configuration_index && !seen->ready && !status->ready) {
        bnd_sim_violation(&cluster->check,
                          "G7: group %" PRIu64 ": leader %" PRIu64 " of term %" PRIu64
                          " changes members before its barrier is committed",
                          replica->gid, node->id, status->term);
    }
}

/* What was in the log after the last pass and is not any more; nothing if a state was installed. */
static void watch_cut(struct bnd_sim_replica *replica, const struct bnd_core_status *status) {
    const struct bnd_sim_seen *seen = &replica->seen;
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    cluster->counts.truncations++;
    if (status->configuration_index < seen->configuration_index) {
        bnd_sim_violation(&cluster->check,
                          "G4: group %" PRIu64 ": node %" PRIu64
                          " takes the configuration of index %" PRIu64 " back",
                          replica->gid, replica->node->id, seen->configuration_index);
    }
    if (status->ops_durable < seen->ops_last) {
        bnd_sim_violation(&cluster->check,
                          "B9: group %" PRIu64 ": node %" PRIu64
                          " cuts its log with log writes under way",
                          replica->gid, replica->node->id);
    }
}

/* The core of the node, if it leads the group in this term; or NULL. */
static struct bnd_core *leader_core(const struct bnd_sim_cluster *cluster, uint64_t node,
                                    uint64_t gid, uint64_t term) {
    struct bnd_core *core =
        node == 0 || node > BND_SIM_NODES_MAX ? NULL : core_of(&cluster->nodes[node - 1], gid);
    struct bnd_core_status status;
    if (core == NULL) {
        return NULL;
    }
    bnd_core_status(core, &status);
    return status.role == BND_CORE_LEADER && status.term == term ? core : NULL;
}

/* What a follower takes from the leader that it had before this pass stands there under the same
 * index. */
static void watch_appended(struct bnd_sim_replica *replica, const struct bnd_core_status *status,
                           const struct bnd_journal_entry *entry) {
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    const struct bnd_sim_seen *seen = &replica->seen;
    struct bnd_core *leader =
        seen->valid && seen->term == status->term && seen->following == status->leader
            ? leader_core(cluster, status->leader, replica->gid, status->term)
            : NULL;
    struct bnd_core_status theirs;
    if (leader == NULL || status->role != BND_CORE_FOLLOWER) {
        return;
    }
    bnd_core_status(leader, &theirs);
    uint64_t term = term_at(leader, entry->index);
    if (entry->index > theirs.last_index || (term != 0 && term != entry->term)) {
        bnd_sim_violation(
            &cluster->check,
            "PREFIX: group %" PRIu64 ": node %" PRIu64 " takes index %" PRIu64 " of term %" PRIu64
            " from node %" PRIu64 ", which has none or another there",
            replica->gid, replica->node->id, entry->index, entry->term, status->leader);
    }
}

/* The entries that are new since the last pass, and those that are newly committed. */
static void watch_entries(struct bnd_sim_replica *replica, struct bnd_core *core,
                          const struct bnd_core_status *status, bool cut) {
    const struct bnd_sim_seen *seen = &replica->seen;
    struct bnd_sim_logbook *logbook = &replica->node->cluster->groups[replica->gid - 1].logbook;
    struct bnd_journal_entry entry;
    bool fresh = !seen->valid || seen->installs != status->installs;
    uint64_t known = fresh ? status->first_index - 1 : cut ? seen->commit : seen->last_index;
    for (uint64_t i = known + 1; i <= status->last_index; i++) {
        if (bnd_core_entry(core, i, &entry) == 0) {
            bnd_sim_logbook_entry(logbook, replica->node->id, &entry);
            if (!fresh) {
                watch_appended(replica, status, &entry);
            }
        }
    }
    for (uint64_t i = (fresh ? status->first_index - 1 : seen->commit) + 1; i <= status->commit;
         i++) {
        uint64_t term = term_at(core, i);
        if (term != 0) {
            bnd_sim_logbook_committed(logbook, replica->node->id, i, term, status->term);
        }
    }
}

static void watch_log(struct bnd_sim_replica *replica, struct bnd_core *core,
                      const struct bnd_core_status *status) {
    const struct bnd_sim_seen *seen = &replica->seen;
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    uint64_t term = term_at(core, seen->last_index);
    bool installed = seen->valid && seen->installs != status->installs;
    bool cut = seen->valid && !installed &&
               (status->last_index < seen->last_index || (term != 0 && term != seen->last_term));
    if (cut) {
        watch_cut(replica, status);
    }
    watch_entries(replica, core, status, cut);
    if (!seen->valid) {
        return;
    }
    if (!installed && status->first_index > seen->first_index && !status->configuration_committed &&
        !seen->configuration_committed &&
        status->configuration_index == seen->configuration_index) {
        bnd_sim_violation(&cluster->check,
                          "G4: group %" PRIu64 ": node %" PRIu64
                          " compacts its log with the configuration of index %" PRIu64
                          " uncommitted",
                          replica->gid, replica->node->id, status->configuration_index);
    }
    if (status->commit < seen->commit) {
        bnd_sim_violation(&cluster->check,
                          "group %" PRIu64 ": the commit index of node %" PRIu64 " falls",
                          replica->gid, replica->node->id);
    }
}

/* For a reader of the trace: who holds which configuration, and who stands or leads. */
static void tell(const struct bnd_sim_replica *replica, const struct bnd_core_status *status) {
    const struct bnd_sim_seen *seen = &replica->seen;
    const struct bnd_sim_cluster *cluster = replica->node->cluster;
    bool leads = status->role == BND_CORE_LEADER;
    if (!cluster->verbose || (seen->valid && seen->leader == leads && seen->term == status->term &&
                              seen->configuration_index == status->configuration_index &&
                              seen->configuration_committed == status->configuration_committed)) {
        return;
    }
    (void)fprintf(
        stderr,
        "%12" PRIu64 " us node %" PRIu64 " group %" PRIu64 " term %" PRIu64 " vote %" PRIu64
        "%s last %" PRIu64 " commit %" PRIu64 " configuration %" PRIu64 "%s:",
        (bnd_sim_world_now_ns(cluster->world) - BND_SIM_START_NS) / 1000, replica->node->id,
        replica->gid, status->term, status->vote, leads ? " leads" : "", status->last_index,
        status->commit, status->configuration_index,
        status->configuration_committed ? " (committed)" : "");
    for (size_t i = 0; i < status->configuration.count; i++) {
        (void)fprintf(stderr, " %" PRIu64 "%c", status->configuration.members[i].node,
                      "-sv"[status->configuration.members[i].role]);
    }
    (void)fputc('\n', stderr);
}

static void watch_configuration(struct bnd_sim_replica *replica,
                                const struct bnd_core_status *status) {
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    tell(replica, status);
    if (!status->configuration_committed) {
        return;
    }
    struct bnd_sim_member_changes changes =
        bnd_sim_logbook_configuration(&cluster->groups[replica->gid - 1].logbook,
                                      status->configuration_index, &status->configuration);
    cluster->counts.joins += changes.joins;
    cluster->counts.removals += changes.removals;
}

/* Since when a follower that does not vote has named a leader that is none, with nothing in its
 * way; 0: it does not. */
static uint64_t watch_orphan(struct bnd_sim_replica *replica,
                             const struct bnd_core_status *status) {
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    const struct bnd_raft_configuration *members = &status->configuration;
    uint64_t now = bnd_sim_world_now_ns(cluster->world);
    size_t self = bnd_raft_configuration_find(members, replica->node->id);
    bool votes = self < members->count && members->members[self].role == BND_RAFT_VOTER;
    if (votes || status->leader == 0 || status->ops_last != status->ops_durable ||
        leader_core(cluster, status->leader, replica->gid, status->term) != NULL) {
        return 0;
    }
    uint64_t since = replica->seen.valid ? replica->seen.orphan_since_ns : 0;
    if (since != 0 && now - since > ORPHAN_NS_MAX) {
        bnd_sim_violation(&cluster->check,
                          "B18: group %" PRIu64 ": node %" PRIu64 " still follows node %" PRIu64
                          ", which leads no more",
                          replica->gid, replica->node->id, status->leader);
    }
    return since == 0 ? now : since;
}

static void watch_replica(struct bnd_sim_replica *replica, struct bnd_core *core) {
    struct bnd_core_status status;
    bnd_core_status(core, &status);
    uint64_t orphan_since_ns = watch_orphan(replica, &status);
    watch_log(replica, core, &status);
    watch_configuration(replica, &status);
    if (status.role == BND_CORE_LEADER) {
        watch_leader(replica, core, &status);
    } else if (status.role == BND_CORE_CANDIDATE && status.stored < status.last_index) {
        bnd_sim_violation(&replica->node->cluster->check,
                          "G3: group %" PRIu64 ": node %" PRIu64
                          " is a candidate with index %" PRIu64 " durable of %" PRIu64,
                          replica->gid, replica->node->id, status.stored, status.last_index);
    }
    replica->seen = (struct bnd_sim_seen){.valid = true,
                                          .leader = status.role == BND_CORE_LEADER,
                                          .ready = status.ready,
                                          .term = status.term,
                                          .following = status.leader,
                                          .commit = status.commit,
                                          .last_index = status.last_index,
                                          .last_term = status.last_term,
                                          .first_index = status.first_index,
                                          .configuration_index = status.configuration_index,
                                          .configuration_committed = status.configuration_committed,
                                          .ops_last = status.ops_last,
                                          .installs = status.installs,
                                          .orphan_since_ns = orphan_since_ns};
}

static void watch_ack(struct bnd_sim_node *node, const struct bnd_sim_ack *ack) {
    struct bnd_sim_cluster *cluster = node->cluster;
    struct bnd_core *core = core_of(node, ack->gid);
    uint64_t leader_id = bnd_sim_ledger_leader_of(&cluster->groups[ack->gid - 1].ledger, ack->term);
    if (core == NULL || leader_id == 0) {
        return;
    }
    struct bnd_core_status own;
    bnd_core_status(core, &own);
    struct bnd_core *leader = core_of(&cluster->nodes[leader_id - 1], ack->gid);
    if (leader == NULL || own.term != ack->term) {
        return;
    }
    struct bnd_core_status theirs;
    bnd_core_status(leader, &theirs);
    if (theirs.role != BND_CORE_LEADER || theirs.term != ack->term) {
        return;
    }
    uint64_t mine = term_at(core, ack->index);
    uint64_t wanted = term_at(leader, ack->index);
    if (ack->index > theirs.last_index || (mine != 0 && wanted != 0 && mine != wanted)) {
        bnd_sim_violation(&cluster->check,
                          "G2: group %" PRIu64 ": node %" PRIu64 " acknowledges index %" PRIu64
                          " in term %" PRIu64 ", which leader %" PRIu64 " does not have",
                          ack->gid, node->id, ack->index, ack->term, leader_id);
    }
}

static void count_installs(struct bnd_sim_node *node) {
    struct bnd_raft_host_stats stats;
    bnd_raft_host_stats(node->host, &stats);
    node->cluster->counts.installs += stats.installs_received - node->installs;
    node->installs = stats.installs_received;
}

void bnd_sim_watch_pass(struct bnd_sim_node *node) {
    if (node->base.life == BND_SIM_UP) {
        count_installs(node);
    }
    for (size_t g = 0; g < node->cluster->groups_count; g++) {
        struct bnd_core *core = core_of(node, g + 1);
        if (core == NULL) {
            node->replicas[g].seen.valid = false;
        } else {
            watch_replica(&node->replicas[g], core);
        }
    }
    for (size_t i = 0; i < node->acks_count; i++) {
        watch_ack(node, &node->acks[i]);
    }
    node->acks_count = 0;
}

/* ---- at a sending
 * ----------------------------------------------------------------------------------- */

static void watch_request(struct bnd_sim_cluster *cluster, uint64_t candidate,
                          const struct bnd_message *message) {
    struct bnd_sim_group *group = &cluster->groups[message->gid - 1];
    if (group->requests_count == group->requests_cap) {
        group->requests_cap = group->requests_cap == 0 ? 64 : 2 * group->requests_cap;
        group->requests =
            bnd_sim_realloc(group->requests, group->requests_cap * sizeof *group->requests);
    }
    group->requests[group->requests_count++] = (struct bnd_sim_request){
        candidate, message->term, message->vote.last_index, message->vote.last_term};
}

/* Does a replica that was made again vote for a log that ends before the one that it had had? */
static void watch_floor(struct bnd_sim_cluster *cluster, uint64_t voter, uint64_t candidate,
                        const struct bnd_message *message) {
    const struct bnd_sim_node *node = &cluster->nodes[voter - 1];
    const struct group *group = group_find(node->host, message->gid);
    const struct bnd_sim_group *told = &cluster->groups[message->gid - 1];
    for (size_t i = told->requests_count; group != NULL && i-- > 0;) {
        const struct bnd_sim_request *request = &told->requests[i];
        if (request->candidate != candidate || request->term != message->term) {
            continue;
        }
        if (request->last_term < group->floor.term ||
            (request->last_term == group->floor.term && request->last_index < group->floor.index)) {
            bnd_sim_violation(&cluster->check,
                              "G9: group %" PRIu64 ": node %" PRIu64
                              " votes for a log up to %" PRIu64 " of term %" PRIu64
                              ", and had had one up to %" PRIu64 " of term %" PRIu64,
                              message->gid, voter, request->last_index, request->last_term,
                              group->floor.index, group->floor.term);
        }
        return;
    }
}

static void watch_vote(struct bnd_sim_cluster *cluster, uint64_t voter, uint64_t candidate,
                       const struct bnd_message *message) {
    struct bnd_sim_group *group = &cluster->groups[message->gid - 1];
    for (size_t i = 0; i < group->votes_count; i++) {
        if (group->votes[i].voter == voter && group->votes[i].term == message->term) {
            if (group->votes[i].candidate != candidate) {
                bnd_sim_violation(&cluster->check,
                                  "B12: group %" PRIu64 ": node %" PRIu64
                                  " votes twice in term %" PRIu64,
                                  message->gid, voter, message->term);
            }
            return;
        }
    }
    if (group->votes_count == group->votes_cap) {
        group->votes_cap = group->votes_cap == 0 ? 64 : 2 * group->votes_cap;
        group->votes = bnd_sim_realloc(group->votes, group->votes_cap * sizeof *group->votes);
    }
    group->votes[group->votes_count].voter = voter;
    group->votes[group->votes_count].term = message->term;
    group->votes[group->votes_count++].candidate = candidate;
}

static void watch_append_result(struct bnd_sim_node *node, const struct bnd_message *message) {
    struct bnd_core *core = core_of(node, message->gid);
    struct bnd_core_status status;
    if (core == NULL || message->append_result.rejected != 0) {
        return;
    }
    bnd_core_status(core, &status);
    if (status.term == message->term && status.stored < message->append_result.last_index) {
        bnd_sim_violation(&node->cluster->check,
                          "G2: group %" PRIu64 ": node %" PRIu64 " acknowledges index %" PRIu64
                          ", durable is %" PRIu64,
                          message->gid, node->id, message->append_result.last_index, status.stored);
    }
    if (node->acks_count < BND_SIM_ACKS_MAX) {
        node->acks[node->acks_count++] = (struct bnd_sim_ack){
            .gid = message->gid, .term = message->term, .index = message->append_result.last_index};
    }
}

bool bnd_sim_watch_message(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                           struct bnd_slice bytes) {
    struct bnd_sim_cluster *cluster = data;
    struct bnd_sim_node *node = &cluster->nodes[from - 1];
    struct bnd_message message;
    if (kind != BND_MESH_RAFT) {
        return true;
    }
    if (bnd_message_decode(bytes, &message, NULL) != 0) {
        bnd_sim_violation(&cluster->check, "node %" PRIu64 " sends what cannot be decoded", from);
        return true;
    }
    if (message.type == BND_MESSAGE_APPEND_RESULT) {
        watch_append_result(node, &message);
    } else if (message.type == BND_MESSAGE_VOTE_RESULT && message.vote_result.granted &&
               !message.vote_result.pre_vote) {
        watch_vote(cluster, from, to, &message);
        watch_floor(cluster, from, to, &message);
    } else if (message.type == BND_MESSAGE_VOTE && !message.vote.pre_vote) {
        watch_request(cluster, from, &message);
    }
    bnd_message_release(&message);
    return true;
}
