/* The state machine's table, its access to the state, and heads. */
#include "objects/fsm.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/error.h"
#include "objects/fsm_private.h"

int objects_change_get(const struct objects_change *change, const struct objects_key *key,
                       struct bnd_buf *out) {
    bnd_buf_reset(out);
    return change->context->state->ops->batch_get(change->context->batch, BND_CF_OBJECTS,
                                                  objects_key_slice(key), out);
}

/* Who knows what now lies under the name says so after its write. */
static void forget_name(const struct objects_change *change, const struct objects_key *key) {
    if (key->bytes[4] == OBJECTS_TAG_OBJECT) {
        objects_plain_forget(&change->fsm->plain, key);
    }
}

void objects_change_put(const struct objects_change *change, const struct objects_key *key,
                        struct bnd_slice value) {
    forget_name(change, key);
    change->context->state->ops->batch_put(change->context->batch, BND_CF_OBJECTS,
                                           objects_key_slice(key), value);
}

void objects_change_delete(const struct objects_change *change, const struct objects_key *key) {
    forget_name(change, key);
    change->context->state->ops->batch_delete(change->context->batch, BND_CF_OBJECTS,
                                              objects_key_slice(key));
}

struct bnd_state_iter *objects_change_iter(const struct objects_change *change,
                                           const struct objects_key *from,
                                           const struct objects_key *to) {
    return change->context->state->ops->batch_iter(change->context->batch, BND_CF_OBJECTS,
                                                   objects_key_slice(from), objects_key_slice(to));
}

static int fsm_open(void *self, uint64_t gid, uint32_t slot, struct bnd_state *state,
                    struct bnd_error *err) {
    struct objects_fsm *fsm = self;
    if (gid != fsm->gid) {
        return BND_FAIL(err, INVALID, "state machine of group %llx opened as %llx",
                        (unsigned long long)fsm->gid, (unsigned long long)gid);
    }
    fsm->slot = slot;
    fsm->state = state;
    /* Another state may be older than what was applied before: nothing is known of its stamp. */
    fsm->applied_stamp_ms = 0;
    fsm->written_stamp_ms = 0;
    fsm->sweep_fan = 0;
    memset(fsm->seals, 0, sizeof fsm->seals);
    objects_plain_clear(&fsm->plain);
    return 0;
}

static int dispatch(const struct objects_change *change) {
    switch (change->command->kind) {
    case OBJECTS_PUT:
        return objects_apply_put(change);
    case OBJECTS_DELETE:
        return objects_apply_delete(change);
    case OBJECTS_DELETE_MANY:
        return objects_apply_delete_many(change);
    case OBJECTS_CREATE:
        return objects_apply_create(change);
    case OBJECTS_PART:
        return objects_apply_part(change);
    case OBJECTS_COMPLETE:
        return objects_apply_complete(change);
    case OBJECTS_ABORT:
        return objects_apply_abort(change);
    case OBJECTS_SEAL:
        return objects_apply_seal(change);
    case OBJECTS_UNSEAL:
        return objects_apply_unseal(change);
    case OBJECTS_TICK:
        return objects_body_free_due(change, OBJECTS_TICK_FREES_MAX);
    }
    return BND_INVALID;
}

static int fsm_apply(void *self, const struct bnd_fsm_apply *context, struct bnd_slice bytes,
                     struct bnd_buf *reply) {
    struct objects_fsm *fsm = self;
    struct objects_conditions room;
    struct objects_command command;
    fsm->applied_stamp_ms = context->stamp_ms;
    int rv = objects_command_decode(bytes, &room, &command);
    if (rv != 0) {
        return rv;
    }
    struct objects_change change = {
        .fsm = fsm, .context = context, .command = &command, .reply = reply};
    rv = dispatch(&change);
    return rv == 0 && reply->failed ? BND_NOMEM : rv;
}

static void fsm_written(void *self, uint64_t index) {
    struct objects_fsm *fsm = self;
    (void)index; /* all that was applied is written by now: one batch at a time */
    fsm->written_stamp_ms = fsm->applied_stamp_ms;
}

int objects_read_head(const struct bnd_fsm_read *context, const struct objects_query *query,
                      struct bnd_buf *reply) {
    BND_AUTO_BUF struct bnd_buf manifest = {0};
    BND_AUTO_BUF struct bnd_buf table = {0};
    const struct bnd_state_ops *ops = context->state->ops;
    struct objects_key key;
    objects_key_object(&key, context->slot, query->bucket, query->key);
    int rv = ops->get(context->state, BND_CF_OBJECTS, objects_key_slice(&key), &manifest);
    if (rv != 0) {
        return rv;
    }
    struct bnd_object_meta meta;
    struct bnd_slice body;
    rv = objects_manifest_decode(bnd_buf_slice(&manifest), &meta, &body);
    if (rv == 0 && meta.profile == BND_PROFILE_PARTS) {
        objects_key_version(&key, context->slot, OBJECTS_TAG_TABLE,
                            bnd_slice(meta.version, sizeof meta.version));
        rv = ops->get(context->state, BND_CF_OBJECTS, objects_key_slice(&key), &table);
        rv = rv == BND_NOTFOUND ? BND_CORRUPT : rv; /* a manifest is never without its table */
    }
    if (rv != 0) {
        return rv;
    }
    bnd_buf_bytes(reply, bnd_buf_slice(&manifest));
    bnd_buf_bytes(reply, bnd_buf_slice(&table));
    return reply->failed ? BND_NOMEM : 0;
}

static int fsm_read(void *self, const struct bnd_fsm_read *context, struct bnd_slice bytes,
                    struct bnd_buf *reply) {
    (void)self; /* nothing is kept beside the state */
    struct objects_query query;
    int rv = objects_query_decode(bytes, &query);
    if (rv != 0) {
        return rv;
    }
    switch (query.kind) {
    case OBJECTS_HEAD:
        return objects_read_head(context, &query, reply);
    case OBJECTS_LIST:
    case OBJECTS_UPLOADS:
        return objects_read_list(context, &query, reply);
    case OBJECTS_PARTS:
        return objects_read_parts(context, &query, reply);
    }
    return BND_INVALID;
}

/* What frees, or is small and ends something, is taken while the disk has its reserve. */
static bool fsm_grows(void *self, struct bnd_slice command) {
    switch (command.len == 0 ? 0 : command.data[0]) {
    case OBJECTS_PUT:
    case OBJECTS_CREATE:
    case OBJECTS_PART:
    case OBJECTS_COMPLETE:
        return true;
    default:
        return false;
    }
}

static void fsm_close(void *self) {
    struct objects_fsm *fsm = self;
    if (fsm->hooks.closed != NULL) {
        fsm->hooks.closed(fsm->hooks.owner, fsm);
    }
    objects_plain_clear(&fsm->plain);
    bnd_free(fsm);
}

int objects_fsm_create(uint64_t gid, const struct objects_fsm_hooks *hooks, struct bnd_fsm *out) {
    static const struct bnd_fsm_ops ops = {
        .open = fsm_open,
        .apply = fsm_apply,
        .written = fsm_written,
        .read = fsm_read,
        .grows = fsm_grows,
        .close = fsm_close,
    };
    struct objects_fsm *fsm = bnd_zalloc(sizeof *fsm);
    if (fsm == NULL) {
        return BND_NOMEM;
    }
    if (hooks != NULL) {
        fsm->hooks = *hooks;
    }
    fsm->gid = gid;
    *out = (struct bnd_fsm){.ops = &ops, .self = fsm};
    return 0;
}
