/* Records of bodies: referenced ('b'), waiting to be freed ('b' and 'f'), gone. See fsm.h, 2 and 3.
 */
#include "objects/fsm_private.h"

#include "base/assert.h"
#include "base/error.h"

static void body_key(const struct objects_change *change, struct objects_key *key,
                     const uint8_t *version) {
    objects_key_version(key, change->context->slot, OBJECTS_TAG_BODY,
                        bnd_slice(version, BND_OBJECT_ID_BYTES));
}

int objects_body_late(const struct objects_change *change) {
    if (change->context->stamp_ms <= change->command->deadline_ms) {
        return 0;
    }
    /* One byte tells this refusal from that of a request id past its time: nothing was executed. */
    bnd_buf_u8(change->reply, 1);
    return BND_EXPIRED;
}

static int store(const struct objects_change *change, const uint8_t *version,
                 const struct objects_body_record *record) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct objects_key key;
    objects_body_encode(&value, record);
    if (value.failed) {
        return BND_NOMEM;
    }
    body_key(change, &key, version);
    objects_change_put(change, &key, bnd_buf_slice(&value));
    return 0;
}

int objects_body_add(const struct objects_change *change, const uint8_t *version, uint64_t size) {
    const struct objects_command *command = change->command;
    struct objects_body_record record = {.size = size, .have_count = command->have_count};
    for (unsigned i = 0; i < command->have_count; i++) {
        record.have[i] = command->have[i];
    }
    int rv = store(change, version, &record);
    if (rv == 0 && change->fsm->hooks.body != NULL) {
        change->fsm->hooks.body(change->fsm->hooks.owner, change->fsm, version, &record);
    }
    return rv;
}

int objects_body_release(const struct objects_change *change, const uint8_t *version) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct objects_body_record record;
    struct objects_key key;
    body_key(change, &key, version);
    int rv = objects_change_get(change, &key, &value);
    if (rv == 0) {
        rv = objects_body_decode(bnd_buf_slice(&value), &record);
    }
    if (rv != 0) {
        return rv == BND_NOTFOUND ? BND_CORRUPT : rv; /* it had a name, so it has a record */
    }
    BND_ASSERT(record.free_after_ms == 0);
    record.free_after_ms = change->context->stamp_ms + OBJECTS_BODY_KEEP_MS;
    objects_key_free(&key, change->context->slot, record.free_after_ms, version);
    objects_change_put(change, &key, bnd_slice(NULL, 0));
    return store(change, version, &record);
}

/* Gathers the versions whose time is over, as (time, version). */
static int gather_due(const struct objects_change *change, unsigned limit, struct bnd_buf *out) {
    struct objects_key from;
    struct objects_key to;
    objects_key_free(&from, change->context->slot, 0, NULL);
    objects_key_free(&to, change->context->slot, change->context->stamp_ms, NULL);
    const struct bnd_state_ops *ops = change->context->state->ops;
    struct bnd_state_iter *iter = objects_change_iter(change, &from, &to);
    if (iter == NULL) {
        return BND_NOMEM;
    }
    for (; limit > 0 && ops->iter_valid(iter); ops->iter_next(iter), limit--) {
        struct bnd_slice key = ops->iter_key(iter);
        if (key.len != 5 + 8 + BND_OBJECT_ID_BYTES) {
            ops->iter_destroy(iter);
            return BND_CORRUPT;
        }
        bnd_buf_append(out, key.data + 5, key.len - 5);
    }
    int rv = ops->iter_status(iter);
    ops->iter_destroy(iter);
    return rv == 0 && out->failed ? BND_NOMEM : rv;
}

int objects_body_free_due(const struct objects_change *change, unsigned limit) {
    BND_AUTO_BUF struct bnd_buf due = {0};
    if (change->context->time_suspended) {
        return 0;
    }
    int rv = gather_due(change, limit, &due);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&due));
    while (rv == 0 && r.rest.len > 0) {
        struct objects_key key;
        uint64_t time_ms = bnd_read_be64(&r);
        const uint8_t *version = bnd_read_raw(&r, BND_OBJECT_ID_BYTES).data;
        objects_key_free(&key, change->context->slot, time_ms, version);
        objects_change_delete(change, &key);
        body_key(change, &key, version);
        objects_change_delete(change, &key);
    }
    return rv;
}
