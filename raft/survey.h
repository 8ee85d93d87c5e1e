/* The groups of the whole cluster, as their leaders see them: asked of every node at once (SPEC.md,
 * "Survey"). For people and for what waits until a node holds nothing any more; nothing decides
 * about data by it. */
#ifndef BND_RAFT_SURVEY_H
#define BND_RAFT_SURVEY_H

#include "net/rpc.h"
#include "raft/configuration.h"

struct bnd_survey_group {
    uint64_t gid;
    uint64_t leader; /* who told it */
    uint64_t term, commit, applied;
    bool committed; /* the members below are, and no change is under way */
    bool time_suspended;
    struct bnd_raft_configuration configuration;
};

struct bnd_survey_result {
    const struct bnd_survey_group *groups; /* by gid, one per group that has a ready leader */
    size_t groups_count;
    size_t nodes_silent; /* of those asked: whose groups may be missing */
};

/* The group in a result, or NULL. */
const struct bnd_survey_group *bnd_survey_find(const struct bnd_survey_result *result,
                                               uint64_t gid);

struct bnd_survey;

/* Asks these nodes (copied; self may be one of them), and calls cb once, later, on the loop, when
 * all have answered or timeout_ns is over. The result is borrowed until it returns. A node that
 * cannot be reached counts as silent. BND_NOMEM: cb does not come. */
int bnd_survey_start(struct bnd_env *env, struct bnd_rpc *rpc, const uint64_t *nodes, size_t count,
                     uint64_t timeout_ns,
                     void (*cb)(void *data, const struct bnd_survey_result *result), void *data,
                     struct bnd_survey **out);
/* cb will not come. Not from inside cb. NULL allowed. */
void bnd_survey_cancel(struct bnd_survey *survey);

#endif
