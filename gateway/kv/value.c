#include "gateway/kv/value.h"

#include "base/alloc.h"

#define AGAIN_FOR_NS (2500 * BND_MS)
#define AGAIN_NS (200 * BND_MS)

static int go_on(struct kv_value *value);
static int send_piece(struct kv_value *value);

static void on_again(struct bnd_timer *timer) {
    struct kv_value *value = timer->data;
    int rv = send_piece(value);
    if (rv != 0) {
        value->cb(value, rv);
    }
}

/* The first piece is still here: a node that has just learned of the shard, or lost a peer, knows
 * better in a moment, as for small values, which the store itself tries for so long. */
static bool try_again(struct kv_value *value, int status) {
    uint64_t now = bnd_now_ns(value->front->env);
    if (value->piece_taken || bnd_code_class(status) != BND_CLASS_RETRY || status == BND_CANCELED ||
        now - value->begun_ns > AGAIN_FOR_NS) {
        return false;
    }
    bnd_kv_blob_free(value->blob);
    value->blob = NULL;
    value->again = (struct bnd_timer){.cb = on_again, .data = value};
    bnd_timer_start(value->front->env, &value->again, AGAIN_NS);
    return true;
}

static void on_piece(void *data, int status) {
    struct kv_value *value = data;
    if (status != 0 && try_again(value, status)) {
        return;
    }
    if (status == 0) {
        value->piece_taken = true;
        bnd_buf_reset(&value->buffer);
        status = go_on(value);
    }
    if (status != 0) {
        value->cb(value, status == KV_VALUE_NOW ? 0 : status);
    }
}

static int send_piece(struct kv_value *value) {
    if (value->begun_ns == 0) {
        value->begun_ns = bnd_now_ns(value->front->env);
    }
    int rv = value->blob != NULL
                 ? 0
                 : bnd_kv_blob_begin(value->kv, value->namespace_id, value->key, &value->blob);
    return rv != 0 ? rv
                   : bnd_kv_blob_piece(value->blob, bnd_buf_slice(&value->buffer), on_piece, value);
}

/* Room for what is there and more: exactly that, or a whole piece once it is more than a small
 * value has. */
static int make_room(struct kv_value *value, size_t more) {
    size_t wanted = value->buffer.len + more;
    if (wanted <= value->charged) {
        return 0;
    }
    wanted = value->charged > 0 ? BND_KV_INLINE_MAX : wanted;
    int rv = gateway_charge(value->front, wanted - value->charged);
    if (rv != 0) {
        return rv;
    }
    value->charged = wanted;
    return bnd_buf_reserve(&value->buffer, wanted - value->buffer.len) ? 0 : BND_NOMEM;
}

/* A full buffer is sent only when more is known to come: a value of exactly that size is no large
 * one. */
static int go_on(struct kv_value *value) {
    while (value->rest.len > 0) {
        size_t room = BND_KV_INLINE_MAX - value->buffer.len;
        if (room == 0) {
            return send_piece(value);
        }
        size_t len = value->rest.len < room ? value->rest.len : room;
        int rv = make_room(value, len);
        if (rv != 0) {
            return rv;
        }
        bnd_buf_append(&value->buffer, value->rest.data, len);
        value->rest = bnd_slice(value->rest.data + len, value->rest.len - len);
    }
    if (value->ending && value->blob != NULL && value->buffer.len > 0) {
        return send_piece(value);
    }
    return KV_VALUE_NOW;
}

int kv_value_take(struct kv_value *value, struct bnd_slice bytes) {
    if (bytes.len > value->front->kv_limits.value_bytes_max - value->bytes) {
        return BND_TOOBIG;
    }
    value->bytes += bytes.len;
    value->rest = bytes;
    return go_on(value);
}

int kv_value_end(struct kv_value *value) {
    value->ending = true;
    return go_on(value);
}

void kv_value_give(const struct kv_value *value, struct bnd_kv_put *put) {
    put->blob = value->blob;
    put->value = value->blob == NULL ? bnd_buf_slice(&value->buffer) : bnd_slice(NULL, 0);
}

void kv_value_free(struct kv_value *value) {
    if (value->blob != NULL) {
        bnd_kv_blob_free(value->blob);
        value->blob = NULL;
    }
    bnd_buf_free(&value->buffer);
    if (value->front != NULL) {
        bnd_timer_stop(value->front->env, &value->again);
        gateway_discharge(value->front, value->charged);
        value->charged = 0;
    }
}
