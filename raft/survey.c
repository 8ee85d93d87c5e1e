/* See survey.h. A question is one call per node on the control lane; whoever hosts groups answers
 * for those that it leads and is ready in. */
#include "raft/survey.h"

#include "base/alloc.h"
#include "raft/host_private.h"
#include "raft/survey_wire.h"

/* ---- the answering side -----------------------------------------------------------------------*/

static void tell_group(struct group *group, struct bnd_buf *out) {
    group_refresh(group);
    const struct bnd_core_status *status = &group->status;
    if (!status->ready) {
        return;
    }
    const struct bnd_survey_group told = {
        .gid = group->gid,
        .term = status->term,
        .commit = status->commit,
        .applied = group->written.index,
        .committed = status->configuration_committed && !status->changing,
        .time_suspended = group->written.jump_to_ms != 0,
        .configuration = status->configuration,
    };
    survey_group_encode(&told, out);
}

static void on_request(void *owner, struct bnd_rpc_request *request) {
    struct bnd_raft_host *host = owner;
    BND_AUTO_BUF struct bnd_buf reply = {0};
    survey_reply_begin(&reply);
    for (size_t i = 0; i < host->groups_count && !host->dead && !host->closing; i++) {
        struct group *group = host->groups[i];
        if (group->phase == GROUP_RUNNING && !group->destroying) {
            tell_group(group, &reply);
        }
    }
    struct bnd_slice bytes = bnd_buf_slice(&reply);
    bool ok = !reply.failed && !host->dead && !host->closing;
    bnd_rpc_reply(request, ok ? 0 : BND_UNAVAILABLE, &bytes, ok ? 1 : 0);
}

void survey_open(struct bnd_raft_host *host) {
    bnd_rpc_serve(host->config.rpc, BND_RPC_SURVEY, on_request, host);
}

void survey_close(struct bnd_raft_host *host) {
    bnd_rpc_serve(host->config.rpc, BND_RPC_SURVEY, NULL, NULL);
}

/* ---- the asking side --------------------------------------------------------------------------*/

struct question {
    struct bnd_survey *survey;
    struct bnd_rpc_call call;
    uint64_t node;
    bool open;
};

struct bnd_survey {
    struct bnd_env *env;
    void (*cb)(void *data, const struct bnd_survey_result *result);
    void *data;
    struct bnd_survey_group *groups;
    size_t groups_count, groups_cap;
    size_t silent;
    size_t open;
    uint64_t answering;    /* whose answer is being read */
    bool failed;           /* no memory: everybody counts as silent */
    struct bnd_timer done; /* nobody could be asked */
    size_t count;
    struct question questions[];
};

static void survey_free(struct bnd_survey *survey) {
    bnd_free(survey->groups);
    bnd_free(survey);
}

static size_t place_of(const struct bnd_survey_group *groups, size_t count, uint64_t gid) {
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (groups[middle].gid < gid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct bnd_survey_group *bnd_survey_find(const struct bnd_survey_result *result,
                                               uint64_t gid) {
    size_t at = place_of(result->groups, result->groups_count, gid);
    bool found = at < result->groups_count && result->groups[at].gid == gid;
    return found ? &result->groups[at] : NULL;
}

/* Of two that say that they lead, the one of the later term does. */
static void take_group(void *data, const struct bnd_survey_group *group) {
    struct bnd_survey *survey = data;
    size_t at = place_of(survey->groups, survey->groups_count, group->gid);
    bool known = at < survey->groups_count && survey->groups[at].gid == group->gid;
    if (known && survey->groups[at].term >= group->term) {
        return;
    }
    if (!known) {
        if (!BND_ROOM(survey->groups, survey->groups_count, survey->groups_cap, 128)) {
            survey->failed = true;
            return;
        }
        memmove(survey->groups + at + 1, survey->groups + at,
                (survey->groups_count - at) * sizeof *group);
        survey->groups_count++;
    }
    survey->groups[at] = *group;
    survey->groups[at].leader = survey->answering;
}

static void finish(struct bnd_survey *survey) {
    const struct bnd_survey_result result = {
        .groups = survey->groups,
        .groups_count = survey->failed ? 0 : survey->groups_count,
        .nodes_silent = survey->failed ? survey->count : survey->silent,
    };
    survey->cb(survey->data, &result);
    survey_free(survey);
}

static void on_done(struct bnd_timer *timer) {
    finish(timer->data);
}

static void on_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct question *question = call->data;
    struct bnd_survey *survey = question->survey;
    question->open = false;
    survey->open--;
    survey->answering = question->node;
    survey->silent += status != 0 || survey_reply_decode(reply, take_group, survey) != 0;
    if (survey->open == 0) {
        finish(survey);
    }
}

int bnd_survey_start(struct bnd_env *env, struct bnd_rpc *rpc, const uint64_t *nodes, size_t count,
                     uint64_t timeout_ns,
                     void (*cb)(void *data, const struct bnd_survey_result *result), void *data,
                     struct bnd_survey **out) {
    struct bnd_survey *survey = bnd_zalloc(sizeof *survey + count * sizeof(struct question));
    if (survey == NULL) {
        return BND_NOMEM;
    }
    survey->env = env;
    survey->cb = cb;
    survey->data = data;
    survey->count = count;
    for (size_t i = 0; i < count; i++) {
        struct question *question = &survey->questions[i];
        *question = (struct question){.survey = survey, .node = nodes[i]};
        question->call = (struct bnd_rpc_call){.cb = on_answer, .data = question};
        question->open = bnd_rpc_call(rpc, &question->call, nodes[i], BND_MESH_CONTROL,
                                      BND_RPC_SURVEY, NULL, 0, timeout_ns) == 0;
        survey->open += question->open;
        survey->silent += !question->open;
    }
    if (survey->open == 0) { /* told later all the same */
        survey->done = (struct bnd_timer){.cb = on_done, .data = survey};
        bnd_timer_start(env, &survey->done, 0);
    }
    *out = survey;
    return 0;
}

void bnd_survey_cancel(struct bnd_survey *survey) {
    if (survey == NULL) {
        return;
    }
    for (size_t i = 0; i < survey->count; i++) {
        if (survey->questions[i].open) {
            bnd_rpc_cancel(&survey->questions[i].call);
        }
    }
    bnd_timer_stop(survey->env, &survey->done);
    survey_free(survey);
}
