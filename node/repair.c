/* The order of a repair, each step durable before the next:
 *
 *   state.new  what is sound, copied   ->  journal: damaged groups destroyed and created again
 *   state -> state.old, state.new -> state   ->  state.old removed   ->  mark removed
 *
 * A crash before the journal's batch changed nothing that counts. After it, the next start finds
 * the same damaged files again, but no group with a slot in them any more, copies once more and
 * goes on.
 */
#include "node/repair.h"

#include "base/alloc.h"
#include "engine/io/io.h"
#include "engine/journal/journal.h"
#include "engine/rocks/rocks.h"
#include "engine/rocks/verify.h"
#include "kv/keys.h"
#include "node/files.h"
#include "placement/shard.h"
#include "raft/core.h"
#include "raft/offline.h"
#include "raft/tuple.h"

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "damaged"
#define COPY_BATCH_BYTES ((size_t)1 << 20)
#define COPY_MEMORY_BYTES (UINT64_C(64) << 20)
#define STALL_WAIT_MS 10

struct repair_group {
    uint64_t gid;
    uint32_t slot;
    uint64_t last, last_term; /* of its log, or the floor of an earlier one */
    bool alone;               /* no other voter is known */
    bool damaged;
};

/* Slots of KV that are given up: their shards are filled again from other replicas. */
struct repair_kv {
    uint32_t first, last;
};

struct repair {
    struct bnd_env *env;
    const char *data;
    const struct node_identity *identity;
    char state[NODE_PATH_MAX], fresh[NODE_PATH_MAX], old[NODE_PATH_MAX], journal[NODE_PATH_MAX];
    struct repair_group *groups;
    size_t groups_count, groups_cap;
    size_t damaged_count;
    struct repair_kv *kv_damaged;
    size_t kv_damaged_count, kv_damaged_cap;
    bool unreadable; /* the state cannot be opened at all */
    bool done;
    int status;
    struct bnd_error why;
};

int node_repair_mark(struct bnd_env *env, const char *data, const char *what,
                     struct bnd_error *err) {
    return node_file_write(env, data, MARK, bnd_slice_str(what), err);
}

/* ---- directories
 * -------------------------------------------------------------------------------------------- */

static bool there(const char *path) {
    struct stat about;
    return stat(path, &about) == 0;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *walk) {
    return remove(path);
}

static void remove_tree(const char *path) {
    if (there(path)) {
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* what stays is met next time */
    }
}

static int take_fresh(const struct repair *repair, struct bnd_error *err) {
    struct bnd_env *env = repair->env;
    int rv = env->ops->rename(env, repair->fresh, repair->state, err);
    return rv != 0 ? rv : env->ops->dir_sync(env, repair->data, err);
}

static int swap_states(const struct repair *repair, struct bnd_error *err) {
    struct bnd_env *env = repair->env;
    int rv = 0;
    if (there(repair->state)) {
        rv = env->ops->rename(env, repair->state, repair->old, err);
        rv = rv != 0 ? rv : env->ops->dir_sync(env, repair->data, err);
    }
    return rv != 0 ? rv : take_fresh(repair, err);
}

static int finish(const struct repair *repair, struct bnd_error *err) {
    char mark[NODE_PATH_MAX];
    remove_tree(repair->old); /* while the mark is there: nobody would look for it later */
    int rv = node_path(repair->data, MARK, mark, err);
    rv = rv != 0 ? rv : repair->env->ops->unlink(repair->env, mark, err);
    return rv != 0 ? rv : repair->env->ops->dir_sync(repair->env, repair->data, err);
}

/* ---- what is damaged
 * ---------------------------------------------------------------------------------------- */

static struct bnd_raft_offline offline_of(const struct repair *repair) {
    return (struct bnd_raft_offline){.env = repair->env,
                                     .journal_dir = repair->journal,
                                     .cluster_id = node_cluster_number(repair->identity->cluster),
                                     .node_id = repair->identity->node};
}

/* The newest configuration that can be read: of the start, or of an entry. */
static bool has_others(const struct repair *repair, const struct bnd_journal_group *group) {
    struct bnd_raft_configuration configuration = {0};
    (void)bnd_raft_configuration_decode(group->start.config, &configuration, NULL);
    for (size_t i = 0; i < group->entries_count; i++) {
        if (group->entries[i].kind == BND_CORE_CONFIGURATION) {
            (void)bnd_raft_configuration_decode(group->entries[i].data, &configuration, NULL);
        }
    }
    bool voter = false;
    for (size_t i = 0; i < configuration.count; i++) {
        voter = voter || (configuration.members[i].role == BND_RAFT_VOTER &&
                          configuration.members[i].node != repair->identity->node);
    }
    /* An empty one is a joiner's, that has not been given anything yet. */
    return voter || configuration.count == 0;
}

static int add_group(void *data, const struct bnd_journal_group *group) {
    struct repair *repair = data;
    if (!group->exists || bnd_gid_is_log(group->gid)) {
        return 0; /* KV's log stays: it knows by the state's index what it has lost (kv/log.h) */
    }
    if (!BND_ROOM(repair->groups, repair->groups_count, repair->groups_cap, 128)) {
        return BND_NOMEM;
    }
    size_t count = group->entries_count;
    struct repair_group known = {.gid = group->gid,
                                 .slot = group->start.slot,
                                 .last = group->start.index + count,
                                 .last_term =
                                     count > 0 ? group->entries[count - 1].term : group->start.term,
                                 .alone = !has_others(repair, group)};
    if (known.last_term < group->floor.term ||
        (known.last_term == group->floor.term && known.last < group->floor.index)) {
        known.last = group->floor.index;
        known.last_term = group->floor.term;
    }
    repair->groups[repair->groups_count++] = known;
    return 0;
}

static int read_groups(struct repair *repair, struct bnd_error *err) {
    struct bnd_raft_offline from = offline_of(repair);
    struct bnd_journal_config config = {.env = from.env,
                                        .dir = from.journal_dir,
                                        .cluster_id = from.cluster_id,
                                        .node_id = from.node_id};
    return bnd_journal_read(&config, add_group, repair, NULL, err);
}

/* Without memory the repair ends before anything is changed: find_damaged looks at the count. */
static void give_up_kv(struct repair *repair, uint32_t first, uint32_t last) {
    if (BND_ROOM(repair->kv_damaged, repair->kv_damaged_count, repair->kv_damaged_cap, 64)) {
        repair->kv_damaged[repair->kv_damaged_count] =
            (struct repair_kv){.first = first, .last = last};
    }
    repair->kv_damaged_count++;
}

static bool is_kv_damaged(const struct repair *repair, uint32_t slot) {
    bool damaged = false;
    for (size_t i = 0; i < repair->kv_damaged_count; i++) {
        damaged = damaged ||
                  (slot >= repair->kv_damaged[i].first && slot <= repair->kv_damaged[i].last);
    }
    return damaged;
}

static void on_damage(void *data, const struct bnd_rocks_damage *damage) {
    struct repair *repair = data;
    bnd_log(repair->env, BND_LOG_ERROR, "repair", "%s is damaged: %s", damage->file,
            damage->problem);
    for (size_t i = 0; i < repair->groups_count; i++) {
        struct repair_group *group = &repair->groups[i];
        if (group->slot >= damage->slot_first && group->slot <= damage->slot_last) {
            group->damaged = true;
        }
    }
    if (strcmp(damage->family, "kv") == 0) {
        give_up_kv(repair, damage->slot_first, damage->slot_last);
    }
}

/* It is made anew. BND_CORRUPT: there is no other replica to fill it. */
static int give_up(struct repair *repair, struct repair_group *group, struct bnd_error *err) {
    group->damaged = true;
    repair->damaged_count++;
    return !group->alone ? 0
                         : BND_FAIL(err, CORRUPT,
                                    "the state of group %" PRIx64 " is damaged, and there is no "
                                    "other replica: nothing was changed (`bindery doctor --data`)",
                                    group->gid);
}

/* A shard of KV has other replicas where group 0 has other voters. */
static int check_kv(const struct repair *repair, struct bnd_error *err) {
    bool alone = false;
    for (size_t i = 0; i < repair->groups_count; i++) {
        alone = alone || (repair->groups[i].gid == BND_GID_SYSTEM && repair->groups[i].alone);
    }
    if (repair->kv_damaged_count > repair->kv_damaged_cap) {
        return BND_FAIL(err, NOMEM, "no memory to repair");
    }
    return !alone || repair->kv_damaged_count == 0
               ? 0
               : BND_FAIL(err, CORRUPT,
                          "the state of KV is damaged, and there is no other node: nothing was "
                          "changed (`bindery doctor --data`)");
}

static int find_damaged(struct repair *repair, struct bnd_error *err) {
    struct bnd_rocks_verification verification = {
        .dir = repair->state, .damaged = on_damage, .data = repair};
    struct bnd_error why = {0};
    repair->unreadable = bnd_rocks_verify(&verification, &why) != 0;
    if (repair->unreadable) {
        bnd_log(repair->env, BND_LOG_ERROR, "repair", "nothing of the state can be read: %s",
                why.message);
    }
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < repair->groups_count; i++) {
        struct repair_group *group = &repair->groups[i];
        rv = group->damaged || repair->unreadable ? give_up(repair, group, err) : 0;
    }
    return rv != 0 ? rv : check_kv(repair, err);
}

/* ---- what is sound
 * ------------------------------------------------------------------------------------------ */

/* The store may ask to wait; this is start-up, and there is nothing else to do. */
static int write_batch(struct bnd_state *to, struct bnd_state_batch *batch) {
    int rv = BND_BUSY;
    while ((rv = to->ops->write(to, batch)) == BND_BUSY) {
        (void)poll(NULL, 0, STALL_WAIT_MS); /* an early end is as good */
    }
    to->ops->batch_clear(batch);
    return rv;
}

static int copy_range(struct bnd_state *from, struct bnd_state *to, struct bnd_state_batch *batch,
                      enum bnd_state_cf cf, uint32_t slot) {
    uint8_t low[4];
    uint8_t high[4];
    bnd_put_be32(low, slot);
    bnd_put_be32(high, slot + 1);
    struct bnd_state_iter *iter =
        from->ops->iter(from, cf, bnd_slice(low, sizeof low), bnd_slice(high, sizeof high));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    for (; rv == 0 && from->ops->iter_valid(iter); from->ops->iter_next(iter)) {
        to->ops->batch_put(batch, cf, from->ops->iter_key(iter), from->ops->iter_value(iter));
        if (to->ops->batch_bytes(batch) > COPY_BATCH_BYTES) {
            rv = write_batch(to, batch);
        }
    }
    rv = rv != 0 ? rv : from->ops->iter_status(iter);
    from->ops->iter_destroy(iter);
    return rv;
}

static int copy_group(struct bnd_state *from, struct bnd_state *to, struct bnd_state_batch *batch,
                      uint32_t slot) {
    int rv = 0;
    for (int cf = 0; rv == 0 && cf < BND_CF_COUNT; cf++) {
        rv = copy_range(from, to, batch, (enum bnd_state_cf)cf, slot);
    }
    return rv;
}

/* The next slot of KV from `from` on; 0: there is none. */
static int next_kv_slot(struct bnd_state *state, uint32_t from, uint32_t *out) {
    uint8_t low[4];
    static const uint8_t past[] = {0xff, 0xff, 0xff, 0xff, 0xff};
    bnd_put_be32(low, from);
    struct bnd_state_iter *iter = state->ops->iter(state, BND_CF_KV, bnd_slice(low, sizeof low),
                                                   bnd_slice(past, sizeof past));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    *out = 0;
    int rv = 0;
    if (state->ops->iter_valid(iter)) {
        struct bnd_slice key = state->ops->iter_key(iter);
        *out = key.len >= 4 ? bnd_get_be32(key.data) : 0;
    } else {
        rv = state->ops->iter_status(iter);
    }
    state->ops->iter_destroy(iter);
    return rv;
}

/* What of KV is sound. Its slot 0 says what there is: without it nothing is kept, and all shards
 * are filled again. A slot in the way of which the next one is not found is given up. */
static int copy_kv(struct repair *repair, struct bnd_state *from, struct bnd_state *to,
                   struct bnd_state_batch *batch) {
    if (is_kv_damaged(repair, 0)) {
        return 0;
    }
    int rv = copy_range(from, to, batch, BND_CF_KV, 0);
    uint32_t slot = 0;
    uint32_t at = KV_SLOT(0);
    while (rv == 0) {
        rv = next_kv_slot(from, at, &slot);
        if (rv != 0 || slot == 0) {
            break;
        }
        rv = is_kv_damaged(repair, slot) ? 0 : copy_range(from, to, batch, BND_CF_KV, slot);
        if (rv != BND_CORRUPT) {
            at = slot + 1;
            continue;
        }
        give_up_kv(repair, slot, slot); /* copied once more, without it */
        at = slot + 1;
        rv = 0;
    }
    if (rv == BND_CORRUPT) { /* slot 0, or the way to the next one */
        give_up_kv(repair, 0, UINT32_MAX);
        rv = 0;
    }
    return rv;
}

/* Looking for a group's first key can meet the damage of a file that holds only others' keys: then
 * it is given up too. */
static int copy_groups(struct repair *repair, struct bnd_state *from, struct bnd_state *to,
                       struct bnd_error *err) {
    struct bnd_state_batch *batch = to->ops->batch_create(to);
    if (batch == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to copy what is sound");
    }
    int copied = 0;
    int rv = 0;
    for (size_t i = 0; copied == 0 && rv == 0 && i < repair->groups_count; i++) {
        struct repair_group *group = &repair->groups[i];
        copied = group->damaged ? 0 : copy_group(from, to, batch, group->slot);
        if (copied == BND_CORRUPT) {
            copied = 0;
            rv = give_up(repair, group, err);
        }
    }
    copied = copied != 0 || rv != 0 ? copied : copy_kv(repair, from, to, batch);
    rv = rv != 0 ? rv : check_kv(repair, err);
    copied = copied != 0 || rv != 0 ? copied : write_batch(to, batch);
    to->ops->batch_destroy(batch);
    return copied == 0 ? rv
                       : bnd_error_set(err, copied, "copying what is sound: %s",
                                       bnd_code_text(copied));
}

/* Every group that was copied stands in the new files as it did in the old. */
static int check_copy(const struct repair *repair, struct bnd_state *from, struct bnd_error *err) {
    struct bnd_state *copy = NULL;
    int rv = bnd_rocks_open_read_only(repair->env, repair->fresh, &copy, err);
    for (size_t i = 0; rv == 0 && i < repair->groups_count; i++) {
        struct tuple was = {0};
        struct tuple is = {0};
        if (repair->groups[i].damaged) {
            continue;
        }
        rv = tuple_load(from, repair->groups[i].slot, false, &was, err);
        rv = rv != 0 ? rv : tuple_load(copy, repair->groups[i].slot, false, &is, err);
        if (rv == 0 && (was.index != is.index || was.term != is.term)) {
            rv = BND_FAIL(err, IO, "%s: group %" PRIx64 " was not copied", repair->fresh,
                          repair->groups[i].gid);
        }
    }
    if (copy != NULL) {
        copy->ops->close(copy);
    }
    return rv;
}

static int copy_once(struct repair *repair, struct bnd_error *err) {
    struct bnd_state *from = NULL;
    struct bnd_state *to = NULL;
    struct bnd_rocks_config config = {
        .env = repair->env, .dir = repair->fresh, .memory_bytes = COPY_MEMORY_BYTES};
    remove_tree(repair->fresh);
    int rv = bnd_rocks_open(&config, &to, err);
    if (rv == 0 && !repair->unreadable) {
        rv = bnd_rocks_open_read_only(repair->env, repair->state, &from, err);
    }
    if (rv == 0 && from != NULL) {
        rv = copy_groups(repair, from, to, err);
    }
    if (to != NULL) {
        to->ops->close(to); /* persists */
    }
    rv = rv != 0 || from == NULL ? rv : check_copy(repair, from, err);
    if (from != NULL) {
        from->ops->close(from);
    }
    return rv;
}

/* Anew without what was given up meanwhile, so that the new files hold nothing of it. */
static int copy_sound(struct repair *repair, struct bnd_error *err) {
    size_t damaged = 0;
    int rv = 0;
    do {
        damaged = repair->damaged_count + repair->kv_damaged_count;
        rv = copy_once(repair, err);
    } while (rv == 0 && repair->damaged_count + repair->kv_damaged_count > damaged);
    return rv;
}

/* ---- the journal
 * -------------------------------------------------------------------------------------------- */

static void on_made(void *data, int status, const struct bnd_error *err) {
    struct repair *repair = data;
    repair->done = true;
    repair->status = status;
    repair->why = *err;
    bnd_io_env_stop(repair->env);
}

/* Slots above every one that a group owns: the new files hold nothing else. */
static int make_anew(struct repair *repair, struct bnd_error *err) {
    struct bnd_raft_offline from = offline_of(repair);
    BND_AUTO struct bnd_raft_anew_group *groups =
        bnd_calloc(repair->damaged_count + 1, sizeof *groups);
    struct bnd_raft_anew anew = {.groups = groups, .slot_next = 1};
    if (groups == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to repair");
    }
    for (size_t i = 0; i < repair->groups_count; i++) {
        const struct repair_group *group = &repair->groups[i];
        anew.slot_next = group->slot >= anew.slot_next ? group->slot + 1 : anew.slot_next;
        if (group->damaged) {
            groups[anew.count++] = (struct bnd_raft_anew_group){
                .gid = group->gid, .last = group->last, .last_term = group->last_term};
        }
    }
    if (anew.count == 0) {
        return 0;
    }
    int rv = bnd_raft_make_anew(&from, &anew, on_made, repair, err);
    if (rv != 0) {
        return rv;
    }
    bnd_io_env_run(repair->env);
    if (!repair->done) {
        return BND_FAIL(err, CANCELED, "stopped while repairing");
    }
    return repair->status == 0 ? 0 : bnd_error_set(err, repair->status, "%s", repair->why.message);
}

/* ---- all of it
 * ---------------------------------------------------------------------------------------------- */

static int paths(struct repair *repair, struct bnd_error *err) {
    int rv = node_path(repair->data, "state", repair->state, err);
    rv = rv != 0 ? rv : node_path(repair->data, "state.new", repair->fresh, err);
    rv = rv != 0 ? rv : node_path(repair->data, "state.old", repair->old, err);
    return rv != 0 ? rv : node_path(repair->data, "journal", repair->journal, err);
}

static int run(struct repair *repair, struct bnd_error *err) {
    int rv = paths(repair, err);
    /* Cut off between the renames. Without the old one it is not known that the journal's batch was
     * written: a state that was gone from the start leaves none. */
    if (rv == 0 && !there(repair->state) && there(repair->fresh) && there(repair->old)) {
        rv = take_fresh(repair, err);
        return rv != 0 ? rv : finish(repair, err);
    }
    if (rv == 0 && there(repair->state)) {
        remove_tree(repair->old); /* of an earlier repair */
    }
    rv = rv != 0 ? rv : read_groups(repair, err);
    rv = rv != 0 ? rv : find_damaged(repair, err);
    rv = rv != 0 ? rv : copy_sound(repair, err);
    rv = rv != 0 ? rv : make_anew(repair, err);
    rv = rv != 0 ? rv : swap_states(repair, err);
    rv = rv != 0 ? rv : finish(repair, err);
    if (rv == 0) {
        bnd_log(repair->env, BND_LOG_WARN, "repair",
                "%zu of %zu groups were damaged and are filled again by their leaders",
                repair->damaged_count, repair->groups_count);
    }
    if (rv == 0 && (repair->kv_damaged_count > 0 || repair->unreadable)) {
        bnd_log(repair->env, BND_LOG_WARN, "repair",
                "KV was damaged: its shards are filled again by their other replicas");
    }
    return rv;
}

int node_repair_run(struct bnd_env *env, const char *data, const struct node_identity *identity,
                    struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf what = {0};
    if (node_file_read(env, data, MARK, &what, NULL) == BND_NOTFOUND) {
        return 0;
    }
    struct repair *repair = bnd_zalloc(sizeof *repair);
    if (repair == NULL) {
        return BND_FAIL(err, NOMEM, "no memory to repair");
    }
    bnd_log(env, BND_LOG_WARN, "repair", "the state was found damaged: %.*s", (int)what.len,
            (const char *)what.data);
    repair->env = env;
    repair->data = data;
    repair->identity = identity;
    int rv = run(repair, err);
    bnd_free(repair->groups);
    bnd_free(repair->kv_damaged);
    bnd_free(repair);
    return rv == 0 ? 0 : BND_WRAP(err, rv, "repair");
}

int node_repair_open(const char *data, const struct node_identity *identity,
                     const struct bnd_rocks_config *config, struct bnd_state **out,
                     struct bnd_error *err) {
    struct bnd_error why = {0};
    int rv = node_repair_run(config->env, data, identity, err);
    if (rv != 0) {
        return rv;
    }
    rv = bnd_rocks_open(config, out, &why);
    if (rv == BND_CORRUPT) {
        rv = node_repair_mark(config->env, data, why.message, err);
        rv = rv != 0 ? rv : node_repair_run(config->env, data, identity, err);
        return rv != 0 ? rv : bnd_rocks_open(config, out, err);
    }
    return rv == 0 ? 0 : bnd_error_set(err, rv, "%s", why.message);
}
