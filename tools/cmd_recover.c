/* bindery recover: a cluster that lost the majority of its nodes for good goes on from one of them
 * (ADR 0085). */
#include "base/alloc.h"
#include "catalog/command.h"
#include "catalog/keys.h"
#include "engine/io/io.h"
#include "engine/rocks/verify.h"
#include "objects/bodies/offline.h"
#include "placement/shard.h"
#include "tools/args.h"
#include "tools/commands.h"
#include "tools/stopped.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct tools_flag tools_recover_flags[] = {
    {"data", "DIR", "data directory of the stopped node that survives"},
    {"yes", NULL, "do not ask"},
    {0}};

enum { OTHERS_MAX = 256 };

struct recover {
    struct tools_stopped stopped;
    uint64_t others[OTHERS_MAX]; /* nodes in the configurations but this one */
    size_t others_count;
    uint64_t *lost; /* groups that are not here */
    size_t lost_count;
    uint64_t tables_damaged, bodies_lost;
    bool sole;  /* of every group here already */
    int status; /* of the journal's part */
    struct bnd_error why;
};

/* ---- what is here
 * ------------------------------------------------------------------------------------------- */

static void on_damaged_table(void *data, const struct bnd_rocks_damage *damage) {
    (void)fprintf(stderr, "bindery: %s is damaged: %s\n", damage->file, damage->problem);
}

static void on_body(void *data, enum bnd_bodies_finding what, const char *path, const char *text) {
    struct recover *recover = data;
    recover->bodies_lost++;
    (void)printf("  lost: body %s: %s\n", path, text);
}

/* A node is recovered from only if all that it says can be believed. */
static int check_whole(struct recover *recover, struct bnd_error *err) {
    const struct tools_stopped *stopped = &recover->stopped;
    struct bnd_rocks_verification verification = {.dir = stopped->state_dir,
                                                  .damaged = on_damaged_table};
    int rv = bnd_rocks_verify(&verification, err);
    if (rv == 0 && verification.damaged_files > 0) {
        rv = BND_FAIL(err, CORRUPT, "%" PRIu64 " files of the state are damaged",
                      verification.damaged_files);
    }
    for (size_t i = 0; rv == 0 && i < stopped->groups_count; i++) {
        char name[32];
        if (stopped->groups[i].status != 0) {
            rv = BND_FAIL(err, CORRUPT, "%s: %s", tools_group_text(stopped->groups[i].gid, name),
                          stopped->groups[i].why);
        }
    }
    return rv == 0 ? 0
                   : BND_WRAP(err, rv,
                              "this directory is damaged and cannot be recovered from "
                              "(`bindery doctor --data` tells more)");
}

static void add_other(struct recover *recover, uint64_t node) {
    for (size_t i = 0; i < recover->others_count; i++) {
        if (recover->others[i] == node) {
            return;
        }
    }
    if (recover->others_count < OTHERS_MAX) {
        recover->others[recover->others_count++] = node;
    }
}

static bool is_here(const struct recover *recover, uint64_t gid) {
    for (size_t i = 0; i < recover->stopped.groups_count; i++) {
        if (recover->stopped.groups[i].gid == gid) {
            return true;
        }
    }
    return false;
}

/* Has the cluster groups of SQL, as far as this node knows? Where group 0 says so only in its log,
 * the founders that RECOVER leaves, this node alone, make them at the next start. */
static bool has_sql(const struct recover *recover) {
    const struct tools_stopped *stopped = &recover->stopped;
    bool founded = false;
    for (size_t i = 0; i < stopped->groups_count && !founded; i++) {
        BND_AUTO_BUF struct bnd_buf value = {0};
        uint8_t key[5];
        bnd_put_be32(key, stopped->groups[i].slot);
        key[4] = CATALOG_TAG_SQL_FOUNDERS;
        founded = bnd_gid_kind(stopped->groups[i].gid) == BND_GROUP_SQL ||
                  (stopped->groups[i].gid == BND_GID_SYSTEM &&
                   stopped->state->ops->get(stopped->state, BND_CF_CATALOG,
                                            bnd_slice(key, sizeof key), &value) == 0);
    }
    return founded;
}

static void add_lost(struct recover *recover, enum bnd_group_kind kind, uint32_t shards) {
    for (uint32_t shard = 0; shard < shards; shard++) {
        uint64_t gid = bnd_gid(kind, shard);
        if (!is_here(recover, gid)) {
            recover->lost[recover->lost_count++] = gid;
        }
    }
}

static int find_lost(struct recover *recover, struct bnd_error *err) {
    uint32_t shards = recover->stopped.identity.shards;
    recover->lost = calloc(2 * (size_t)shards + 1, sizeof *recover->lost);
    if (recover->lost == NULL) {
        return BND_FAIL(err, NOMEM, "no memory");
    }
    add_lost(recover, BND_GROUP_OBJECTS, shards);
    add_lost(recover, BND_GROUP_SQL, has_sql(recover) ? shards : 0);
    return is_here(recover, BND_GID_SYSTEM)
               ? 0
               : BND_FAIL(err, NOTFOUND, "group 0 is not on this node: recover on one that has it");
}

static int look(struct recover *recover, struct bnd_error *err) {
    struct tools_stopped *stopped = &recover->stopped;
    int rv = tools_stopped_state(stopped, err);
    rv = rv != 0 ? rv : tools_stopped_groups(stopped, err);
    rv = rv != 0 ? rv : check_whole(recover, err);
    rv = rv != 0 ? rv : find_lost(recover, err);
    recover->sole = true;
    for (size_t i = 0; rv == 0 && i < stopped->groups_count; i++) {
        const struct bnd_raft_configuration *members = &stopped->groups[i].configuration;
        recover->sole = recover->sole && members->count == 1 &&
                        members->members[0].node == stopped->identity.node;
        for (size_t k = 0; k < members->count; k++) {
            if (members->members[k].node != stopped->identity.node) {
                add_other(recover, members->members[k].node);
            }
        }
    }
    if (rv == 0 && recover->sole && recover->lost_count == 0) {
        return BND_FAIL(err, PRECONDITION,
                        "nothing to recover: node %" PRIu64 " is the only member of every group",
                        stopped->identity.node);
    }
    return rv;
}

/* ---- what is said
 * ------------------------------------------------------------------------------------------- */

static void print_members(const struct bnd_raft_offline_group *group) {
    static const char *const roles[] = {"spare", "standby", "voter"};
    for (size_t i = 0; i < group->configuration.count; i++) {
        (void)printf(" %" PRIu64 ":%s", group->configuration.members[i].node,
                     roles[group->configuration.members[i].role]);
    }
    (void)printf("%s\n", group->configuration.count == 0 ? " none known: it holds nothing" : "");
}

static void print_groups(const struct recover *recover) {
    (void)printf("\nOf each group this node has the log up to LAST. Whatever the others "
                 "acknowledged above it is LOST;\nwhat is here above APPLIED is kept, acknowledged "
                 "or not.\n\n%-12s %-8s %-12s %-12s %s\n",
                 "GROUP", "TERM", "LAST", "APPLIED", "MEMBERS");
    for (size_t i = 0; i < recover->stopped.groups_count; i++) {
        const struct bnd_raft_offline_group *group = &recover->stopped.groups[i];
        char name[32];
        (void)printf("%-12s %-8" PRIu64 " %-12" PRIu64 " %-12" PRIu64,
                     tools_group_text(group->gid, name), group->term, group->last, group->applied);
        print_members(group);
    }
    for (size_t i = 0; i < recover->lost_count; i++) {
        char name[32];
        (void)printf("%-12s LOST ENTIRELY: no replica here; it is made anew, empty\n",
                     tools_group_text(recover->lost[i], name));
    }
}

static void print_bodies(struct recover *recover) {
    struct bnd_bodies_check check = {.env = recover->stopped.env,
                                     .state = recover->stopped.state,
                                     .dir = recover->stopped.bodies_dir,
                                     .found = on_body,
                                     .data = recover};
    (void)printf("\nBodies of large objects, as of what is applied, all read and verified:\n");
    for (size_t i = 0; i < recover->stopped.groups_count; i++) {
        const struct bnd_raft_offline_group *group = &recover->stopped.groups[i];
        struct bnd_error err = {0};
        if (bnd_gid_kind(group->gid) == BND_GROUP_OBJECTS &&
            bnd_bodies_check_group(&check, group->gid, group->slot, &err) != 0) {
            (void)printf("  %s\n", err.message);
        }
    }
    (void)printf("  %" PRIu64 " of %" PRIu64 " are here%s\n", check.present, check.referenced,
                 recover->bodies_lost == 0 ? "" : "; the others are lost with their nodes");
}

static void print_others(const struct recover *recover) {
    (void)printf("\nNode %" PRIu64 " will be the only voter of its groups. Nodes",
                 recover->stopped.identity.node);
    for (size_t i = 0; i < recover->others_count; i++) {
        (void)printf("%s %" PRIu64, i == 0 ? "" : ",", recover->others[i]);
    }
    (void)printf(
        " are\ngiven up for ever: their ids are refused. Destroy their data directories now. As "
        "long as they\nrun with them they are the old cluster, and answer every client that "
        "reaches them.\nTheir machines may join again as new nodes, with empty directories.\n");
}

static bool agreed(const struct tools_args *args) {
    char answer[16] = "";
    if (tools_args_flag(args, "yes") != NULL) {
        return true;
    }
    (void)printf("\nGo on? Type yes: ");
    (void)fflush(stdout);
    bool yes = fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0;
    if (!yes) {
        (void)fprintf(stderr, "bindery: nothing was changed\n");
    }
    return yes;
}

/* ---- what is done
 * ------------------------------------------------------------------------------------------- */

static void on_done(void *data, int status, const struct bnd_error *err) {
    struct recover *recover = data;
    recover->status = status;
    recover->why = *err;
    bnd_io_env_stop(recover->stopped.env);
}

/* Without its list of peers the node dials nobody and lets nobody in until its own group 0 tells it
 * who is left: an old leader must not get at a recovered log. */
static int forget_peers(const struct tools_stopped *stopped, struct bnd_error *err) {
    char from[NODE_PATH_MAX];
    char to[NODE_PATH_MAX];
    struct bnd_env *env = stopped->env;
    int rv = node_path(stopped->data, "peers", from, err);
    rv = rv != 0 ? rv : node_path(stopped->data, "peers.before-recovery", to, err);
    if (rv != 0 || access(from, F_OK) != 0) {
        return rv;
    }
    rv = env->ops->rename(env, from, to, err);
    return rv != 0 ? rv : env->ops->dir_sync(env, stopped->data, err);
}

static int rewrite(struct recover *recover, struct bnd_error *err) {
    const struct tools_stopped *stopped = &recover->stopped;
    struct bnd_raft_offline from = tools_stopped_raft(stopped);
    BND_AUTO_BUF struct bnd_buf command = {0};
    bnd_catalog_command_encode(
        &command,
        &(struct bnd_catalog_command){.op = BND_CATALOG_RECOVER, .id = stopped->identity.node});
    struct bnd_raft_recovery recovery = {.groups = stopped->groups,
                                         .groups_count = stopped->groups_count,
                                         .lost = recover->lost,
                                         .lost_count = recover->lost_count,
                                         .command_gid = BND_GID_SYSTEM,
                                         .command = bnd_buf_slice(&command),
                                         .minter = bnd_random(stopped->env) | 1};
    int rv = bnd_raft_offline_slot_next(&from, stopped->groups, stopped->groups_count,
                                        &recovery.slot_next, err);
    rv = rv != 0 ? rv : forget_peers(stopped, err);
    rv = rv != 0 ? rv : bnd_raft_recover(&from, &recovery, on_done, recover, err);
    if (rv != 0) {
        return rv;
    }
    bnd_io_env_run(stopped->env);
    return recover->status == 0 ? 0
                                : bnd_error_set(err, recover->status, "%s", recover->why.message);
}

static int run(struct recover *recover, const struct tools_args *args, const char *data) {
    struct bnd_error err = {0};
    int rv = tools_stopped_open(&recover->stopped, data, &err);
    rv = rv != 0 ? rv : look(recover, &err);
    if (rv != 0) {
        return tools_fail(&err);
    }
    print_groups(recover);
    print_bodies(recover);
    print_others(recover);
    if (!agreed(args)) {
        return TOOLS_FAILED;
    }
    rv = rewrite(recover, &err);
    if (rv != 0) {
        return tools_fail(&err);
    }
    (void)printf("\nDone. Start this node; then let new nodes join it (`bindery token join`).\n");
    return TOOLS_OK;
}

int tools_cmd_recover(int argc, const char **argv) {
    struct tools_args args;
    struct recover *recover = calloc(1, sizeof *recover);
    int status = recover == NULL ? TOOLS_FAILED : tools_args_parse(argc, argv, &args);
    if (recover == NULL) {
        return status;
    }
    const char *data = status == -1 ? tools_args_flag(&args, "data") : NULL;
    if (status == -1 && data == NULL) {
        status = tools_usage("recover", "--data DIR is missing");
    }
    if (status == -1) {
        recover->stopped.lock = -1;
        status = run(recover, &args, data);
        tools_stopped_close(&recover->stopped);
    }
    tools_args_free(&args);
    free(recover->lost);
    free(recover);
    return status;
}
