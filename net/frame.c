/* Hello, frames, join head: the codecs of the peer protocol.
 *
 * Invariants of the joiner: partial holds less than one frame; message holds at most total bytes,
 * and total is at most BND_MESH_MESSAGE_MAX; memory is asked for as bytes arrive, doubling, never
 * on a length's word alone. */
#include "net/frame.h"

#define HELLO_MAGIC 0x50444e42u /* "BNDP" */
#define JOIN_MAGIC 0x4a444e42u  /* "BNDJ" */
#define FLAG_FIRST 1u
#define FLAG_LAST 2u
#define TOTAL_BYTES 4u
#define KEEP_BYTES (1u << 20)

_Static_assert(BND_MESH_MESSAGE_MAX < UINT32_MAX, "a message's length fits its field");
_Static_assert((unsigned)BND_MESH_KINDS <= (unsigned)BND_FRAME_PING,
               "kinds of messages and pings do not meet");

const char *bnd_hello_text(unsigned status) {
    static const char *const texts[BND_HELLO_STATUSES] = {
        "accepted",
        "it belongs to another cluster",
        "the certificate and the hello do not name the node that was meant",
        "the node is no member of the cluster",
        "no protocol version in common",
        "a connection the other way is being made",
        "the node is a member of the cluster no more",
    };
    return status < BND_HELLO_STATUSES ? texts[status] : "an unknown reason";
}

void bnd_hello_encode(const struct bnd_hello *hello, uint8_t out[BND_FRAME_HELLO_BYTES]) {
    bnd_put_u32(out, HELLO_MAGIC);
    bnd_put_u16(out + 4, hello->version);
    bnd_put_u16(out + 6, hello->version_min);
    out[8] = hello->lane;
    out[9] = hello->status;
    bnd_put_u16(out + 10, 0);
    memcpy(out + 12, hello->cluster, sizeof hello->cluster);
    bnd_put_u64(out + 28, hello->sender);
    bnd_put_u64(out + 36, hello->receiver);
}

int bnd_hello_decode(const uint8_t in[BND_FRAME_HELLO_BYTES], struct bnd_hello *out) {
    struct bnd_hello hello = {
        .version = bnd_get_u16(in + 4),
        .version_min = bnd_get_u16(in + 6),
        .lane = in[8],
        .status = in[9],
        .sender = bnd_get_u64(in + 28),
        .receiver = bnd_get_u64(in + 36),
    };
    memcpy(hello.cluster, in + 12, sizeof hello.cluster);
    if (bnd_get_u32(in) != HELLO_MAGIC || hello.version == 0 || hello.version_min == 0 ||
        hello.version < hello.version_min || hello.lane >= BND_MESH_LANES ||
        bnd_get_u16(in + 10) != 0) {
        return BND_CORRUPT;
    }
    *out = hello;
    return 0;
}

/* ---- out
 * ------------------------------------------------------------------------------------------------
 */

size_t bnd_frame_wire_bytes(size_t total) {
    if (total <= BND_FRAME_PAYLOAD_MAX) {
        return BND_FRAME_HEAD_BYTES + total;
    }
    size_t bytes = total + TOTAL_BYTES;
    size_t frames = (bytes + BND_FRAME_PAYLOAD_MAX - 1) / BND_FRAME_PAYLOAD_MAX;
    return bytes + frames * BND_FRAME_HEAD_BYTES;
}

static void append_head(struct bnd_buf *buf, size_t length, uint8_t kind, unsigned flags) {
    uint8_t head[BND_FRAME_HEAD_BYTES] = {0};
    bnd_put_u32(head, (uint32_t)length);
    head[4] = kind;
    head[5] = (uint8_t)flags;
    bnd_buf_append(buf, head, sizeof head);
}

/* Moves `bytes` bytes from the front of the parts at *at. */
static void append_parts(struct bnd_buf *buf, const struct bnd_slice *parts, size_t *at,
                         size_t *offset, size_t bytes) {
    while (bytes > 0) {
        size_t left = parts[*at].len - *offset;
        if (left == 0) {
            *offset = 0;
            (*at)++;
            continue;
        }
        size_t take = left < bytes ? left : bytes;
        bnd_buf_append(buf, parts[*at].data + *offset, take);
        bytes -= take;
        *offset += take;
    }
}

void bnd_frame_append(struct bnd_buf *buf, uint8_t kind, const struct bnd_slice *parts,
                      size_t count) {
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += parts[i].len;
    }
    BND_ASSERT(total <= BND_MESH_MESSAGE_MAX);
    if (!bnd_buf_reserve(buf, bnd_frame_wire_bytes(total))) {
        buf->failed = true;
        return;
    }
    size_t at = 0;
    size_t offset = 0;
    if (total <= BND_FRAME_PAYLOAD_MAX) {
        append_head(buf, total, kind, FLAG_FIRST | FLAG_LAST);
        append_parts(buf, parts, &at, &offset, total);
        return;
    }
    append_head(buf, BND_FRAME_PAYLOAD_MAX, kind, FLAG_FIRST);
    bnd_buf_u32(buf, (uint32_t)total);
    append_parts(buf, parts, &at, &offset, BND_FRAME_PAYLOAD_MAX - TOTAL_BYTES);
    for (size_t left = total - (BND_FRAME_PAYLOAD_MAX - TOTAL_BYTES); left > 0;) {
        size_t take = left < BND_FRAME_PAYLOAD_MAX ? left : BND_FRAME_PAYLOAD_MAX;
        left -= take;
        append_head(buf, take, kind, left == 0 ? FLAG_LAST : 0);
        append_parts(buf, parts, &at, &offset, take);
    }
}

/* ---- in
 * -------------------------------------------------------------------------------------------------
 */

void bnd_frame_joiner_free(struct bnd_frame_joiner *joiner) {
    bnd_buf_free(&joiner->partial);
    bnd_buf_free(&joiner->message);
    joiner->total = 0;
}

/* The bytes the frame at the front has, 0 if its head is not there yet, or BND_CORRUPT. */
static long frame_bytes(struct bnd_slice input) {
    if (input.len < BND_FRAME_HEAD_BYTES) {
        return 0;
    }
    uint32_t length = bnd_get_u32(input.data);
    uint8_t kind = input.data[4];
    uint8_t flags = input.data[5];
    bool ping = kind == BND_FRAME_PING || kind == BND_FRAME_PONG;
    bool bad_ping = ping && (length != BND_FRAME_PING_BYTES || flags != (FLAG_FIRST | FLAG_LAST));
    if (length > BND_FRAME_PAYLOAD_MAX || kind == 0 || (kind >= BND_FRAME_PING && !ping) ||
        bad_ping || (flags & ~(FLAG_FIRST | FLAG_LAST)) != 0 || bnd_get_u16(input.data + 6) != 0) {
        return BND_CORRUPT;
    }
    return (long)(BND_FRAME_HEAD_BYTES + length);
}

/* Begins a message of several frames. */
static int join_first(struct bnd_frame_joiner *joiner, uint8_t kind, struct bnd_slice payload) {
    if (payload.len <= TOTAL_BYTES) {
        return BND_CORRUPT;
    }
    uint32_t total = bnd_get_u32(payload.data);
    if (total > BND_MESH_MESSAGE_MAX || total <= payload.len - TOTAL_BYTES) {
        return BND_CORRUPT;
    }
    joiner->total = total;
    joiner->kind = kind;
    bnd_buf_append(&joiner->message, payload.data + TOTAL_BYTES, payload.len - TOTAL_BYTES);
    return joiner->message.failed ? BND_NOMEM : 0;
}

/* Whether the stream goes on: 1, 0 (cb says stop), or a code. */
static int join_next(struct bnd_frame_joiner *joiner, bool last, struct bnd_slice payload,
                     bnd_frame_cb cb, void *owner) {
    size_t left = joiner->total - joiner->message.len;
    if (payload.len == 0 || payload.len > left || last != (payload.len == left)) {
        return BND_CORRUPT;
    }
    bnd_buf_append(&joiner->message, payload.data, payload.len);
    if (joiner->message.failed) {
        return BND_NOMEM;
    }
    if (!last) {
        return 1;
    }
    bool more = cb(owner, joiner->kind, bnd_buf_slice(&joiner->message));
    joiner->total = 0;
    bnd_buf_reset(&joiner->message);
    if (joiner->message.cap > KEEP_BYTES) {
        bnd_buf_free(&joiner->message);
    }
    return more ? 1 : 0;
}

static int take_frame(struct bnd_frame_joiner *joiner, struct bnd_slice frame, bnd_frame_cb cb,
                      void *owner) {
    uint8_t kind = frame.data[4];
    unsigned flags = frame.data[5];
    struct bnd_slice payload =
        bnd_slice(frame.data + BND_FRAME_HEAD_BYTES, frame.len - BND_FRAME_HEAD_BYTES);
    if (kind >= BND_FRAME_PING) {
        return cb(owner, kind, payload) ? 1 : 0; /* may stand between the frames of a message */
    }
    if ((joiner->total != 0) == ((flags & FLAG_FIRST) != 0) ||
        (joiner->total != 0 && kind != joiner->kind)) {
        return BND_CORRUPT;
    }
    if (joiner->total != 0) {
        return join_next(joiner, (flags & FLAG_LAST) != 0, payload, cb, owner);
    }
    if ((flags & FLAG_LAST) != 0) {
        return cb(owner, kind, payload) ? 1 : 0;
    }
    int rv = join_first(joiner, kind, payload);
    return rv == 0 ? 1 : rv;
}

/* Completes the frame in `partial` from *input; 1: done or none, 0: stop or needs more, or a code.
 */
static int finish_partial(struct bnd_frame_joiner *joiner, struct bnd_slice *input, bnd_frame_cb cb,
                          void *owner) {
    while (joiner->partial.len > 0) {
        long bytes = frame_bytes(bnd_buf_slice(&joiner->partial));
        if (bytes < 0) {
            return (int)bytes;
        }
        if (bytes > 0 && (size_t)bytes == joiner->partial.len) {
            int rv = take_frame(joiner, bnd_buf_slice(&joiner->partial), cb, owner);
            bnd_buf_reset(&joiner->partial);
            return rv;
        }
        size_t need = (bytes == 0 ? BND_FRAME_HEAD_BYTES : (size_t)bytes) - joiner->partial.len;
        size_t take = need < input->len ? need : input->len;
        if (take == 0) {
            return 0;
        }
        bnd_buf_append(&joiner->partial, input->data, take);
        if (joiner->partial.failed) {
            return BND_NOMEM;
        }
        *input = bnd_slice(input->data + take, input->len - take);
    }
    return 1;
}

int bnd_frame_feed(struct bnd_frame_joiner *joiner, struct bnd_slice input, bnd_frame_cb cb,
                   void *owner) {
    int rv = finish_partial(joiner, &input, cb, owner);
    while (rv == 1 && input.len > 0) {
        long bytes = frame_bytes(input);
        if (bytes < 0) {
            return (int)bytes;
        }
        if (bytes == 0 || (size_t)bytes > input.len) {
            bnd_buf_append_slice(&joiner->partial, input);
            return joiner->partial.failed ? BND_NOMEM : 0;
        }
        rv = take_frame(joiner, bnd_slice(input.data, (size_t)bytes), cb, owner);
        input = bnd_slice(input.data + bytes, input.len - (size_t)bytes);
    }
    return rv < 0 ? rv : 0;
}

/* ---- join
 * -----------------------------------------------------------------------------------------------
 */

void bnd_join_head_encode(int status, uint32_t length, uint8_t out[BND_FRAME_JOIN_HEAD_BYTES]) {
    bnd_put_u32(out, JOIN_MAGIC);
    bnd_put_u16(out + 4, BND_FRAME_VERSION);
    bnd_put_u16(out + 6, 0);
    bnd_put_u32(out + 8, (uint32_t)status);
    bnd_put_u32(out + 12, length);
}

int bnd_join_head_decode(const uint8_t in[BND_FRAME_JOIN_HEAD_BYTES], uint32_t length_max,
                         int *out_status, uint32_t *out_length) {
    if (bnd_get_u32(in) != JOIN_MAGIC) {
        return BND_CORRUPT;
    }
    if (bnd_get_u16(in + 4) != BND_FRAME_VERSION) {
        return BND_VERSION;
    }
    int status = (int)bnd_get_u32(in + 8);
    uint32_t length = bnd_get_u32(in + 12);
    if (bnd_get_u16(in + 6) != 0 || length > length_max || status > 0 ||
        (status < 0 && strcmp(bnd_code_name(status), "?") == 0)) {
        return BND_CORRUPT;
    }
    *out_status = status;
    *out_length = length;
    return 0;
}
