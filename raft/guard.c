/* The guards as decisions. What each stands against is told in guard.h and in the ADR it names.
 *
 * Invariant: with all guards on and a library that keeps its own contract, no verdict but FATAL
 * loses anything that was promised; DROP, HOLD and DELAY only look like a slow or lossy network to
 * the library. */
#include "raft/guard.h"

static bool on(const struct bnd_guard_state *state, enum bnd_guard guard) {
    return (state->guards & (uint32_t)guard) != 0;
}

uint64_t bnd_guard_conflict(const struct bnd_guard_state *state,
                            const struct bnd_message *message) {
    const struct bnd_message_append *append = &message->append;
    if (append->prev_index > 0 &&
        state->term_of(state->log, append->prev_index) != append->prev_term) {
        return 0; /* will be rejected, nothing is removed */
    }
    for (size_t i = 0; i < append->entries_count; i++) {
        uint64_t local = state->term_of(state->log, append->entries[i].index);
        if (local == 0) {
            return 0;
        }
        if (local != append->entries[i].term) {
            return append->entries[i].index;
        }
    }
    return 0;
}

static enum bnd_guard_verdict judge_append(const struct bnd_guard_state *state,
                                           const struct bnd_message *message, uint64_t *out_index) {
    uint64_t conflict = bnd_guard_conflict(state, message);
    if (conflict == 0) {
        return BND_GUARD_DELIVER;
    }
    /* At or below commit the library itself gives up, and the core with it. */
    if (on(state, BND_GUARD_CONFIGURATION) && conflict > state->commit &&
        conflict <= state->last_change) {
        *out_index = conflict;
        return BND_GUARD_FATAL_ROLLBACK;
    }
    if (on(state, BND_GUARD_CONFLICT) && state->ops_pending > 0) {
        return BND_GUARD_DELAY;
    }
    return BND_GUARD_DELIVER;
}

/* Does a log that ends with this entry end before the floor? */
static bool below_floor(const struct bnd_guard_state *state, uint64_t index, uint64_t term) {
    return on(state, BND_GUARD_FLOOR) &&
           (term < state->floor_term || (term == state->floor_term && index < state->floor_index));
}

static bool is_below_floor(const struct bnd_guard_state *state) {
    uint64_t term = state->last_index == 0 ? 0 : state->term_of(state->log, state->last_index);
    return below_floor(state, state->last_index, term);
}

static enum bnd_guard_verdict judge_vote(const struct bnd_guard_state *state,
                                         const struct bnd_message *message) {
    bool second = !message->vote.pre_vote && message->term == state->term && state->vote != 0 &&
                  state->vote != message->vote.candidate;
    if (below_floor(state, message->vote.last_index, message->vote.last_term)) {
        return BND_GUARD_DROP;
    }
    return second && on(state, BND_GUARD_VOTE) ? BND_GUARD_DROP : BND_GUARD_DELIVER;
}

void bnd_guard_cut_prefix(const struct bnd_guard_state *state, struct bnd_message *message) {
    struct bnd_message_append *append = &message->append;
    if (!on(state, BND_GUARD_PREFIX) || message->type != BND_MESSAGE_APPEND ||
        message->term < state->term || append->prev_index >= state->commit) {
        return;
    }
    uint64_t known = state->term_of(state->log, state->commit);
    uint64_t cut = state->commit - append->prev_index;
    if (known == 0 || known > message->term ||
        (cut <= append->entries_count && append->entries[cut - 1].term != known)) {
        return;
    }
    cut = cut < append->entries_count ? cut : append->entries_count;
    append->entries += cut;
    append->entries_count -= cut;
    append->prev_index = state->commit;
    append->prev_term = known;
    uint64_t end = append->prev_index + append->entries_count;
    append->commit = append->commit < end ? append->commit : end;
}

enum bnd_guard_verdict bnd_guard_incoming(const struct bnd_guard_state *state,
                                          const struct bnd_message *message, uint64_t *out_index) {
    bool from_leader = message->type == BND_MESSAGE_APPEND || message->type == BND_MESSAGE_INSTALL;
    if (from_leader && state->role == BND_CORE_LEADER && message->term == state->term) {
        return BND_GUARD_FATAL_TWO_LEADERS;
    }
    if (from_leader && message->term < state->term) {
        return BND_GUARD_DELIVER; /* only answered */
    }
    switch (message->type) {
    case BND_MESSAGE_APPEND:
        return judge_append(state, message, out_index);
    case BND_MESSAGE_INSTALL:
        return on(state, BND_GUARD_CONFLICT) && state->ops_pending > 0 ? BND_GUARD_DELAY
                                                                       : BND_GUARD_DELIVER;
    case BND_MESSAGE_APPEND_RESULT:
        return on(state, BND_GUARD_BARRIER) && state->role == BND_CORE_LEADER &&
                       message->term == state->term && state->stored < state->barrier_index
                   ? BND_GUARD_HOLD
                   : BND_GUARD_DELIVER;
    case BND_MESSAGE_VOTE:
        return judge_vote(state, message);
    case BND_MESSAGE_TIMEOUT_NOW:
        if ((on(state, BND_GUARD_ELECTION) && state->ops_pending > 0) || is_below_floor(state) ||
            (on(state, BND_GUARD_SOLE_VOTER) && state->sole_voter)) {
            return BND_GUARD_DROP;
        }
        return BND_GUARD_DELIVER;
    default:
        return BND_GUARD_DELIVER;
    }
}

bool bnd_guard_outgoing(const struct bnd_guard_state *state, uint64_t appending_end,
                        struct bnd_message *message) {
    if (message->to == 0 && on(state, BND_GUARD_ADDRESS)) {
        return false;
    }
    if (message->type != BND_MESSAGE_APPEND_RESULT || message->append_result.rejected != 0 ||
        message->term != state->term || !on(state, BND_GUARD_ACK)) {
        return true;
    }
    uint64_t verified = state->verified_term == state->term ? state->verified_index : 0;
    if (appending_end > verified) {
        verified = appending_end;
    }
    if (state->commit > verified) {
        verified = state->commit;
    }
    if (verified == 0) {
        return false;
    }
    if (message->append_result.last_index > verified) {
        message->append_result.last_index = verified;
    }
    return true;
}

void bnd_guard_withhold(const struct bnd_guard_state *state, bool receiver_votes,
                        struct bnd_message *message) {
    struct bnd_message_append *append = &message->append;
    uint64_t change = state->last_change;
    if (on(state, BND_GUARD_WITHHOLD) && !receiver_votes && change > state->commit &&
        change > append->prev_index && change <= append->prev_index + append->entries_count) {
        append->entries_count = change - append->prev_index - 1;
    }
}

bool bnd_guard_grants_vote(const struct bnd_guard_state *before,
                           const struct bnd_guard_state *state, const struct bnd_message *message) {
    const struct bnd_message_vote *vote = &message->vote;
    if (!on(state, BND_GUARD_STANDBY) || state->voter || (before->has_leader && !vote->disrupt)) {
        return false;
    }
    if (vote->pre_vote ? message->term < state->term
                       : message->term != state->term ||
                             (state->vote != 0 && state->vote != vote->candidate)) {
        return false;
    }
    uint64_t last_term = state->last_index == 0 ? 0 : state->term_of(state->log, state->last_index);
    return vote->last_term > last_term ||
           (vote->last_term == last_term && vote->last_index >= state->last_index);
}

uint64_t bnd_guard_refusal_term(const struct bnd_guard_state *state,
                                const struct bnd_message *message, uint64_t term) {
    bool behind = message->vote.pre_vote && message->term < state->term;
    return behind && on(state, BND_GUARD_TERM) ? state->term : term;
}

bool bnd_guard_must_forget_leader(const struct bnd_guard_state *state) {
    return on(state, BND_GUARD_STANDBY) && state->role == BND_CORE_FOLLOWER && !state->voter &&
           state->has_leader && state->ops_pending == 0;
}

bool bnd_guard_may_tick(const struct bnd_guard_state *state) {
    return state->role == BND_CORE_LEADER ||
           ((!on(state, BND_GUARD_ELECTION) || state->ops_pending == 0) && !is_below_floor(state));
}

bool bnd_guard_may_compact(const struct bnd_guard_state *state) {
    return !on(state, BND_GUARD_CONFIGURATION) || state->last_change <= state->commit;
}

bool bnd_guard_may_change(const struct bnd_guard_state *state) {
    return !on(state, BND_GUARD_MEMBERSHIP) ||
           (state->role == BND_CORE_LEADER && state->barrier_index > 0 &&
            state->commit >= state->barrier_index);
}

bool bnd_guard_must_raise_term(const struct bnd_guard_state *state) {
    return on(state, BND_GUARD_SOLE_VOTER) && state->sole_voter && state->role != BND_CORE_LEADER;
}
