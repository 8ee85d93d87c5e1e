/* A large value on its way out, piece by piece at the pace of the client: internal to gateway/.
 *
 * Nothing is sent before the first piece is there; a version that was superseded and swept before
 * it is looked up again. After that the only honest end of a failure is a cut connection. */
#ifndef BND_GATEWAY_KV_STREAM_H
#define BND_GATEWAY_KV_STREAM_H

#include "gateway/front.h"
#include "gateway/http/server.h"
#include "kv/kv.h"

struct kv_stream {
    /* Set by the owner. */
    struct gateway_front *front;
    struct bnd_kv *kv;
    struct bnd_http_request *http;
    uint64_t namespace_id;
    struct bnd_slice key; /* borrowed for its life */
    bool newest;
    /* Begins the response (bnd_http_begin with size bytes); metadata and expires_ms are of the
     * version that is sent. */
    int (*begin)(struct kv_stream *stream);
    /* 0: all was sent, the HTTP request has been ended. A code with begun false: nothing was sent;
     * with begun true: the owner cuts the connection. */
    void (*done)(struct kv_stream *stream, int status);
    void *data;
    /* Told to begin and done. */
    struct bnd_buf metadata;
    uint64_t expires_ms;
    uint64_t size;
    bool begun;
    /* private; zero at first */
    struct bnd_buf piece; /* on its way to the client */
    size_t charged;
    unsigned again;
    struct bnd_kv_get get;
    struct bnd_kv_read read;
    struct bnd_http_write write;
};

/* Sends the value of an item that has no value of its own. item is borrowed for the call. done
 * comes once, perhaps before this returns. */
void kv_stream_start(struct kv_stream *stream, const struct bnd_kv_item *item);
/* From done on. */
void kv_stream_free(struct kv_stream *stream);

#endif
