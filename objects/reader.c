/* Readers: the bytes of one version, chunk by chunk, with one chunk fetched ahead. */
#include "objects/objects_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#define RETRY_NS (300 * BND_MS)
/* So long a chunk may be silent everywhere, as when its nodes are restarted, before the reader
 * fails. */
#define SILENCE_NS_MAX (10000 * BND_MS)
enum { READERS_MAX_DEFAULT = 4096 };
#define READER_BYTES_MAX_DEFAULT (UINT64_C(256) << 20)

struct bnd_object_reader {
    struct bnd_objects *objects;
    struct bnd_link link;
    struct bnd_object object;
    uint64_t offset; /* in the object, of the next byte to fetch */
    uint64_t end;
    struct bnd_reader segments; /* of an object in parts: those behind the current one */
    struct objects_segment segment;
    uint64_t segment_offset; /* where the current one begins in the object */
    struct bnd_body_get get;
    uint64_t served_by; /* the node that gave the last chunk; 0: none yet */
    bool fetching;
    uint64_t since_ns; /* this chunk is asked for */
    struct bnd_timer timer;
    struct bnd_buf ready; /* fetched, not given yet */
    struct bnd_buf given;
    uint64_t reserved; /* bytes that the two can take, of objects.reader_bytes */
    bool has_ready;
    int failed;
    struct bnd_task task;
    bool task_waits;
    bool destroyed;
    bool in_call;
    bnd_object_reader_cb cb; /* NULL: nothing is asked */
    void *data;
};

static struct bnd_env *env_of(const struct bnd_object_reader *reader) {
    return reader->objects->config.env;
}

/* What a reader of so many bytes holds at most: one chunk given, the next one ready. */
static uint64_t reserve(uint64_t length) {
    return length < 2 * BND_OBJECT_CHUNK_MAX ? length : 2 * BND_OBJECT_CHUNK_MAX;
}

int bnd_object_reader_open(struct bnd_objects *objects, struct bnd_object *object, uint64_t offset,
                           uint64_t length, struct bnd_object_reader **out) {
    size_t max = objects->config.readers_max;
    if (offset > object->meta.size || length > object->meta.size - offset) {
        return BND_RANGE;
    }
    size_t bytes_max = objects->config.reader_bytes_max;
    bytes_max = bytes_max == 0 ? READER_BYTES_MAX_DEFAULT : bytes_max;
    if (objects->closing || objects->stats.readers_open >= (max == 0 ? READERS_MAX_DEFAULT : max) ||
        objects->reader_bytes + reserve(length) > bytes_max) {
        return BND_FULL;
    }
    struct bnd_object_reader *reader = bnd_zalloc(sizeof *reader);
    if (reader == NULL) {
        return BND_NOMEM;
    }
    reader->objects = objects;
    bnd_object_move(&reader->object, object);
    const struct bnd_object_meta *meta = &reader->object.meta;
    reader->offset = offset;
    reader->end = offset + length;
    reader->segments = bnd_reader(reader->object.parts);
    if (meta->profile == BND_PROFILE_COPIES) {
        reader->segment.size = meta->size;
        memcpy(reader->segment.version, meta->version, sizeof meta->version);
    }
    bnd_list_push(&objects->readers, &reader->link);
    objects->stats.readers_open++;
    reader->reserved = reserve(length);
    objects->reader_bytes += reader->reserved;
    *out = reader;
    return 0;
}

const struct bnd_object *bnd_object_reader_object(const struct bnd_object_reader *reader) {
    return &reader->object;
}

/* ---- fetching ---------------------------------------------------------------------------------
 */

static void answer_later(struct bnd_object_reader *reader);

/* The body that holds the next byte. False: the segments do not reach it (checked at decoding). */
static bool find_segment(struct bnd_object_reader *reader) {
    while (reader->offset >= reader->segment_offset + reader->segment.size) {
        uint64_t next = reader->segment_offset + reader->segment.size;
        if (!objects_segment_next(&reader->segments, &reader->segment)) {
            return false;
        }
        reader->segment_offset = next;
    }
    return true;
}

static void fetch_failed(struct bnd_object_reader *reader, int status) {
    reader->failed = status;
    reader->fetching = false;
    answer_later(reader);
}

static void on_got(struct bnd_body_get *get, int status, struct bnd_slice bytes);

static void fetch_ask(struct bnd_object_reader *reader) {
    struct bnd_body_range range = {.gid = reader->object.gid,
                                   .size = reader->segment.size,
                                   .offset = reader->offset - reader->segment_offset};
    uint64_t left = reader->segment.size - range.offset;
    left = left < reader->end - reader->offset ? left : reader->end - reader->offset;
    /* Up to the end of a block, so that later chunks are whole blocks. */
    uint64_t len = BND_OBJECT_CHUNK_MAX - range.offset % BND_OBJECT_CHUNK_MAX;
    range.len = (uint32_t)(left < len ? left : len);
    memcpy(range.version, reader->segment.version, sizeof range.version);
    reader->get.cb = on_got;
    reader->get.data = reader;
    int rv = bnd_body_get(reader->objects->bodies, &reader->get, &range);
    if (rv != 0) {
        on_got(&reader->get, rv, bnd_slice(NULL, 0));
    }
}

static void on_retry(struct bnd_timer *timer) {
    fetch_ask(timer->data);
}

static void on_got(struct bnd_body_get *get, int status, struct bnd_slice bytes) {
    struct bnd_object_reader *reader = get->data;
    uint64_t waited = bnd_now_ns(env_of(reader)) - reader->since_ns;
    if (status == BND_UNAVAILABLE && waited < SILENCE_NS_MAX) {
        reader->timer.cb = on_retry;
        reader->timer.data = reader;
        bnd_timer_start(env_of(reader), &reader->timer, RETRY_NS);
        return;
    }
    if (status == 0) {
        bnd_buf_reset(&reader->ready);
        bnd_buf_append_slice(&reader->ready, bytes);
        status = reader->ready.failed ? BND_NOMEM : 0;
    }
    if (status != 0) {
        fetch_failed(reader, status);
        return;
    }
    bool switched = reader->served_by != 0 && reader->served_by != get->from;
    reader->objects->stats.replica_switches += switched ? 1 : 0;
    reader->served_by = get->from;
    reader->fetching = false;
    reader->has_ready = true;
    reader->offset += bytes.len;
    if (reader->cb != NULL) {
        answer_later(reader);
    }
}

/* Asks for the next chunk if there is one, and room. */
static void fetch(struct bnd_object_reader *reader) {
    if (reader->fetching || reader->has_ready || reader->failed != 0 ||
        reader->offset == reader->end) {
        return;
    }
    if (!find_segment(reader)) {
        fetch_failed(reader, BND_CORRUPT);
        return;
    }
    reader->fetching = true;
    reader->since_ns = bnd_now_ns(env_of(reader));
    fetch_ask(reader);
}

/* ---- giving -----------------------------------------------------------------------------------
 */

static void reader_drop(struct bnd_object_reader *reader) {
    if (!reader->task_waits && !reader->in_call) {
        bnd_free(reader);
    }
}

static void give(struct bnd_object_reader *reader, int status, struct bnd_slice chunk) {
    bnd_object_reader_cb cb = reader->cb;
    reader->cb = NULL;
    reader->in_call = true;
    cb(reader, reader->data, status, chunk);
    reader->in_call = false;
    if (reader->destroyed) {
        reader_drop(reader);
    }
}

static void give_inline(struct bnd_object_reader *reader) {
    uint64_t left = reader->end - reader->offset;
    size_t len = left < BND_OBJECT_CHUNK_MAX ? (size_t)left : BND_OBJECT_CHUNK_MAX;
    struct bnd_slice chunk = bnd_slice(reader->object.body.data + reader->offset, len);
    reader->offset += len;
    reader->objects->stats.bytes_out += len;
    give(reader, 0, chunk);
}

static void give_ready(struct bnd_object_reader *reader) {
    struct bnd_buf swapped = reader->given;
    reader->given = reader->ready;
    reader->ready = swapped;
    reader->has_ready = false;
    reader->objects->stats.bytes_out += reader->given.len;
    fetch(reader);
    give(reader, 0, bnd_buf_slice(&reader->given));
}

static void on_task(struct bnd_task *task) {
    struct bnd_object_reader *reader = task->data;
    reader->task_waits = false;
    if (reader->destroyed) {
        reader_drop(reader);
    } else if (reader->cb == NULL) {
        return;
    } else if (reader->has_ready) {
        give_ready(reader);
    } else if (reader->failed != 0) {
        give(reader, reader->failed, bnd_slice(NULL, 0));
    } else if (reader->offset == reader->end && !reader->fetching) {
        reader->objects->stats.reads++;
        give(reader, 0, bnd_slice(NULL, 0));
    } else if (reader->object.meta.profile == BND_PROFILE_INLINE) {
        give_inline(reader);
    }
}

static void answer_later(struct bnd_object_reader *reader) {
    if (!reader->task_waits && reader->cb != NULL) {
        reader->task_waits = true;
        reader->task.cb = on_task;
        reader->task.data = reader;
        bnd_defer(env_of(reader), &reader->task);
    }
}

int bnd_object_reader_next(struct bnd_object_reader *reader, bnd_object_reader_cb cb, void *data) {
    BND_ASSERT(reader->cb == NULL);
    if (reader->object.meta.profile == BND_PROFILE_INLINE && reader->object.body.data == NULL) {
        return BND_INVALID; /* an object from a commit or a list: it has no body with it */
    }
    reader->cb = cb;
    reader->data = data;
    if (reader->object.meta.profile != BND_PROFILE_INLINE) {
        fetch(reader);
    }
    if (!reader->fetching) {
        answer_later(reader);
    }
    return 0;
}

void bnd_object_reader_destroy(struct bnd_object_reader *reader) {
    if (reader == NULL) {
        return;
    }
    bnd_body_get_cancel(&reader->get);
    bnd_timer_stop(env_of(reader), &reader->timer);
    bnd_link_remove(&reader->link);
    reader->objects->stats.readers_open--;
    reader->objects->reader_bytes -= reader->reserved;
    bnd_object_free(&reader->object);
    bnd_buf_free(&reader->ready);
    bnd_buf_free(&reader->given);
    reader->destroyed = true;
    reader_drop(reader);
}

void objects_readers_cancel(struct bnd_objects *objects) {
    while (!bnd_list_empty(&objects->readers)) {
        struct bnd_object_reader *reader =
            BND_CONTAINER(objects->readers.next, struct bnd_object_reader, link);
        bnd_object_reader_cb cb = reader->cb;
        reader->cb = NULL;
        if (cb != NULL) {
            reader->in_call = true;
            cb(reader, reader->data, BND_CANCELED, bnd_slice(NULL, 0));
            reader->in_call = false;
        }
        if (!reader->destroyed) {
            bnd_object_reader_destroy(reader);
        } else {
            reader_drop(reader);
        }
    }
}
