/* Seals: the shard's half of deleting a bucket. Record: u64 newest attempt, u8 1 while sealed.
 *
 * The machine remembers of some buckets whether they are sealed; only the functions here change
 * records, and they change what is remembered with them. */
#include "objects/fsm_private.h"

#include "base/error.h"

struct seal {
    uint64_t attempt; /* 0: never sealed */
    bool sealed;
};

static struct objects_seal_known *known(const struct objects_change *change) {
    return &change->fsm->seals[change->command->bucket % OBJECTS_SEALS_KNOWN];
}

static void remember(const struct objects_change *change, bool sealed) {
    *known(change) =
        (struct objects_seal_known){.bucket = change->command->bucket, .sealed = sealed};
}

static int load(const struct objects_change *change, struct seal *out) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct objects_key key;
    objects_key_seal(&key, change->context->slot, change->command->bucket);
    int rv = objects_change_get(change, &key, &value);
    *out = (struct seal){0};
    if (rv != 0) {
        return rv == BND_NOTFOUND ? 0 : rv;
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&value));
    out->attempt = bnd_read_u64(&r);
    out->sealed = bnd_read_u8(&r) == 1;
    return bnd_reader_done(&r) ? 0 : BND_CORRUPT;
}

static void store(const struct objects_change *change, struct seal seal) {
    uint8_t value[9];
    struct objects_key key;
    bnd_put_u64(value, seal.attempt);
    value[8] = seal.sealed ? 1 : 0;
    objects_key_seal(&key, change->context->slot, change->command->bucket);
    objects_change_put(change, &key, bnd_slice(value, sizeof value));
    remember(change, seal.sealed);
}

int objects_change_unsealed(const struct objects_change *change) {
    if (change->command->bucket != 0 && known(change)->bucket == change->command->bucket) {
        return known(change)->sealed ? BND_LOCKED : 0;
    }
    struct seal seal;
    int rv = load(change, &seal);
    if (rv != 0) {
        return rv;
    }
    remember(change, seal.sealed);
    return seal.sealed ? BND_LOCKED : 0;
}

/* Is there any key that begins as *from does? */
static int any(const struct objects_change *change, const struct objects_key *from, bool *out) {
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct objects_key to = *from;
    if (!objects_key_past(&to)) {
        return BND_INVALID; /* not with a tag in the key */
    }
    struct bnd_state_iter *iter = objects_change_iter(change, from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    *out = *out || ops->iter_valid(iter);
    int rv = ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv;
}

int objects_apply_seal(const struct objects_change *change) {
    const struct objects_command *command = change->command;
    struct seal seal;
    bool holds = false;
    struct objects_key key;
    int rv = load(change, &seal);
    if (rv != 0) {
        return rv;
    }
    if (command->attempt < seal.attempt || (command->attempt == seal.attempt && !seal.sealed)) {
        return BND_EPOCH;
    }
    objects_key_object(&key, change->context->slot, command->bucket, bnd_slice(NULL, 0));
    rv = any(change, &key, &holds);
    if (rv == 0) {
        objects_key_upload(&key, change->context->slot, command->bucket, bnd_slice(NULL, 0), NULL);
        rv = any(change, &key, &holds);
    }
    if (rv == 0) {
        store(change, (struct seal){.attempt = command->attempt, .sealed = true});
        bnd_buf_u8(change->reply, holds ? 1 : 0);
    }
    return rv;
}

int objects_apply_unseal(const struct objects_change *change) {
    struct seal seal;
    int rv = load(change, &seal);
    if (rv != 0) {
        return rv;
    }
    if (change->command->attempt < seal.attempt) {
        return BND_EPOCH;
    }
    /* Also where the seal never came: it may still be on its way. */
    store(change, (struct seal){.attempt = change->command->attempt, .sealed = false});
    bnd_buf_u8(change->reply, 0);
    return 0;
}
