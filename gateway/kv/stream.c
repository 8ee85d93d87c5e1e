#include "gateway/kv/stream.h"

#include "gateway/kv/rules.h"

static void next_piece(struct kv_stream *stream);

static void on_sent(struct bnd_http_write *write, int status) {
    struct kv_stream *stream = write->data;
    if (status != 0) {
        stream->done(stream, status);
        return;
    }
    next_piece(stream);
}

static void take_item(struct kv_stream *stream, const struct bnd_kv_item *item);

/* A value that is small now is sent as the one piece it is. */
static void send_small(struct kv_stream *stream, const struct bnd_kv_item *item);

static void on_again(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct kv_stream *stream = get->data;
    if (status != 0) {
        stream->done(stream, status);
    } else if (item->size == item->value.len) {
        send_small(stream, item);
    } else {
        take_item(stream, item);
        next_piece(stream);
    }
}

/* The version was superseded before its first piece was read. */
static void look_again(struct kv_stream *stream) {
    if (stream->again++ == KV_AGAIN_MAX) {
        stream->done(stream, BND_BUSY);
        return;
    }
    stream->get = (struct bnd_kv_get){.namespace_id = stream->namespace_id,
                                      .key = stream->key,
                                      .newest = stream->newest,
                                      .cb = on_again,
                                      .data = stream};
    int rv = bnd_kv_get(stream->kv, &stream->get);
    if (rv < 0) {
        stream->done(stream, rv);
    }
}

static void failed(struct kv_stream *stream, int status) {
    if (!stream->begun && status == BND_NOTFOUND) {
        look_again(stream);
        return;
    }
    stream->done(stream, status);
}

static int send_bytes(struct kv_stream *stream, struct bnd_slice bytes) {
    int rv = stream->begun ? 0 : stream->begin(stream);
    stream->begun = true;
    bnd_buf_reset(&stream->piece);
    bnd_buf_append_slice(&stream->piece, bytes);
    rv = rv == 0 && stream->piece.failed ? BND_NOMEM : rv;
    stream->write = (struct bnd_http_write){.cb = on_sent, .data = stream};
    return rv != 0 ? rv
                   : bnd_http_write(stream->http, &stream->write, bnd_buf_slice(&stream->piece));
}

static void on_read(struct bnd_kv_read *read, int status, struct bnd_slice piece) {
    struct kv_stream *stream = read->data;
    if (status != 0) {
        failed(stream, status);
        return;
    }
    if (piece.len == 0) {
        bnd_http_end(stream->http);
        stream->done(stream, 0);
        return;
    }
    int rv = send_bytes(stream, piece);
    if (rv != 0) {
        stream->done(stream, rv);
    }
}

static void next_piece(struct kv_stream *stream) {
    if (stream->read.cb == NULL) { /* a small value: it has been sent */
        bnd_http_end(stream->http);
        stream->done(stream, 0);
        return;
    }
    int rv = bnd_kv_read(stream->kv, &stream->read);
    if (rv != 0) {
        failed(stream, rv);
    }
}

static void take_item(struct kv_stream *stream, const struct bnd_kv_item *item) {
    bnd_buf_reset(&stream->metadata);
    bnd_buf_append_slice(&stream->metadata, item->metadata);
    stream->expires_ms = item->expires_ms;
    stream->size = item->size;
    stream->read = (struct bnd_kv_read){.namespace_id = stream->namespace_id,
                                        .key = stream->key,
                                        .version = item->version,
                                        .size = item->size,
                                        .cb = on_read,
                                        .data = stream};
}

static void send_small(struct kv_stream *stream, const struct bnd_kv_item *item) {
    take_item(stream, item);
    stream->read.cb = NULL;
    int rv = send_bytes(stream, item->value);
    if (rv != 0) {
        stream->done(stream, rv);
    }
}

void kv_stream_start(struct kv_stream *stream, const struct bnd_kv_item *item) {
    int rv = gateway_charge(stream->front, BND_KV_INLINE_MAX);
    if (rv != 0) {
        stream->done(stream, rv);
        return;
    }
    stream->charged = BND_KV_INLINE_MAX;
    take_item(stream, item);
    if (stream->metadata.failed) {
        stream->done(stream, BND_NOMEM);
        return;
    }
    next_piece(stream);
}

void kv_stream_free(struct kv_stream *stream) {
    gateway_discharge(stream->front, stream->charged);
    bnd_buf_free(&stream->metadata);
    bnd_buf_free(&stream->piece);
}
