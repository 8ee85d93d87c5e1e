/* White-box watchers: for each guard of raft/guard.h something that shows when it is missing, long before (and
 * far more often than) two replicas disagree.
 *
 *   G1  a leader's commit index moves onto an entry of an older term
 *   G2  a follower acknowledges an entry that the leader of that term does not have, or one not durable
 *   G3  a candidate whose log is not durable
 *   G4  a configuration entry is taken back in memory
 *   G7  a leader has a configuration of its own term before its barrier was committed
 *   G8  one term led in two lives of a node (tests/sim/ledger.h)
 *   B9  entries are cut off while log writes of an earlier pass are not durable
 *   B12 two votes in one term
 *   B3b a message to nobody (tests/sim/mesh.c aborts)
 *   G5  the library is told that a send failed, and frees twice: the process dies */
#include "raft/group.h"
#include "tests/sim/cluster.h"
#include "tests/sim/memory.h"

#include <inttypes.h>

static struct bnd_core *core_of(const struct bnd_sim_node *node, uint64_t gid) {
    if (node->life != BND_SIM_UP || node->host == NULL || node->fatal) {
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

/* ---- after a pass ----------------------------------------------------------------------------------- */

static void watch_leader(struct bnd_sim_replica *replica, struct bnd_core *core,
                         const struct bnd_core_status *status) {
    struct bnd_sim_node *node = replica->node;
    struct bnd_sim_cluster *cluster = node->cluster;
    const struct bnd_sim_seen *seen = &replica->seen;
    bnd_sim_ledger_leader(&cluster->groups[replica->gid - 1].ledger, node->id,
                          status->ready ? node->lives : 0, status->term);
    if (!seen->valid || !seen->leader || seen->term != status->term) {
        cluster->counts.elections++;
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

static void watch_log(struct bnd_sim_replica *replica, struct bnd_core *core,
                      const struct bnd_core_status *status) {
    const struct bnd_sim_seen *seen = &replica->seen;
    struct bnd_sim_cluster *cluster = replica->node->cluster;
    if (!seen->valid) {
        return;
    }
    uint64_t term = term_at(core, seen->last_index);
    bool cut = status->last_index < seen->last_index || (term != 0 && term != seen->last_term);
    cluster->counts.truncations += cut && seen->last_index >= status->first_index ? 1u : 0u;
    if (cut && status->configuration_index < seen->configuration_index) {
        bnd_sim_violation(&cluster->check,
                          "G4: group %" PRIu64 ": node %" PRIu64
                          " takes the configuration of index %" PRIu64 " back",
                          replica->gid, replica->node->id, seen->configuration_index);
    }
    if (cut && status->ops_durable < seen->ops_last) {
        bnd_sim_violation(&cluster->check,
                          "B9: group %" PRIu64 ": node %" PRIu64
                          " cuts its log with log writes under way",
                          replica->gid, replica->node->id);
    }
    if (status->commit < seen->commit) {
        bnd_sim_violation(&cluster->check,
                          "group %" PRIu64 ": the commit index of node %" PRIu64 " falls", replica->gid,
                          replica->node->id);
    }
}

static void watch_replica(struct bnd_sim_replica *replica, struct bnd_core *core) {
    struct bnd_core_status status;
    bnd_core_status(core, &status);
    watch_log(replica, core, &status);
    if (status.role == BND_CORE_LEADER) {
        watch_leader(replica, core, &status);
    } else if (status.role == BND_CORE_CANDIDATE && status.stored < status.last_index) {
        bnd_sim_violation(&replica->node->cluster->check,
                          "G3: group %" PRIu64 ": node %" PRIu64 " is a candidate with index %" PRIu64
                          " durable of %" PRIu64,
                          replica->gid, replica->node->id, status.stored, status.last_index);
    }
    replica->seen = (struct bnd_sim_seen){.valid = true,
                                          .leader = status.role == BND_CORE_LEADER,
                                          .ready = status.ready,
                                          .term = status.term,
                                          .commit = status.commit,
                                          .last_index = status.last_index,
                                          .last_term = status.last_term,
                                          .configuration_index = status.configuration_index,
                                          .ops_last = status.ops_last};
}

static void watch_ack(struct bnd_sim_node *node, const struct bnd_sim_ack *ack) {
    struct bnd_sim_cluster *cluster = node->cluster;
    struct bnd_core *core = core_of(node, ack->gid);
    uint64_t leader_id =
        bnd_sim_ledger_leader_of(&cluster->groups[ack->gid - 1].ledger, ack->term);
    if (core == NULL || leader_id == 0) {
        return;
    }
    struct bnd_core_status own;
    bnd_core_status(core, &own);
    if (own.term == ack->term && own.stored < ack->index) {
        bnd_sim_violation(&cluster->check,
                          "G2: group %" PRIu64 ": node %" PRIu64 " acknowledges index %" PRIu64
                          ", durable is %" PRIu64,
                          ack->gid, node->id, ack->index, own.stored);
    }
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

void bnd_sim_watch_pass(struct bnd_sim_node *node) {
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

/* ---- at a sending ----------------------------------------------------------------------------------- */

static void watch_vote(struct bnd_sim_cluster *cluster, uint64_t voter, uint64_t candidate,
                       const struct bnd_message *message) {
    struct bnd_sim_group *group = &cluster->groups[message->gid - 1];
    for (size_t i = 0; i < group->votes_count; i++) {
        if (group->votes[i].voter == voter && group->votes[i].term == message->term) {
            if (group->votes[i].candidate != candidate) {
                bnd_sim_violation(&cluster->check,
                                  "B12: group %" PRIu64 ": node %" PRIu64 " votes twice in term %" PRIu64,
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
    if (message.type == BND_MESSAGE_APPEND_RESULT && message.append_result.rejected == 0 &&
        node->acks_count < BND_SIM_ACKS_MAX) {
        node->acks[node->acks_count++] = (struct bnd_sim_ack){
            .gid = message.gid, .term = message.term, .index = message.append_result.last_index};
    } else if (message.type == BND_MESSAGE_VOTE_RESULT && message.vote_result.granted &&
               !message.vote_result.pre_vote) {
        watch_vote(cluster, from, to, &message);
    }
    bnd_message_release(&message);
    return true;
}
