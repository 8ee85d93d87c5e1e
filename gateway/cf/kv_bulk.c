/* Bulk put, delete and get.
 *
 * The whole body is read and every pair checked before the first one is stored; then WINDOW of them
 * are under way at a time. Those that could not be stored are named in the answer, as Cloudflare
 * has it: they are to be sent again.
 *
 * Of a put the first HERE_BYTES of values stay in memory, the others are put aside (aside.h) as
 * they come, and taken back one after the other: small ones as a whole, of all that are under way
 * at most TAKEN_BYTES, large ones in pieces, at the pace of the store. So a body of any size takes
 * little memory but for its largest value, which JSON has as a whole. */
#include "base/alloc.h"
#include "gateway/cf/kv.h"
#include "gateway/kv/aside.h"
#include "gateway/kv/bulk_body.h"
#include "gateway/kv/bulk_get.h"
#include "gateway/kv/value.h"

#define WINDOW 64u
#define HERE_BYTES ((size_t)1 << 20)
#define TAKEN_BYTES ((size_t)2 << 20)

/* One pair on its way. */
struct slot {
    struct rest_request *request;
    size_t pair;
    struct kv_value value; /* of a large one */
    struct bnd_buf taken;  /* of one that was put aside: value and metadata, a large value's only */
    size_t taken_bytes;    /* that are counted for it */
    size_t at;             /* of its bytes aside, those that are dealt with */
    struct bnd_kv_put put;
};

struct bulk_op {
    struct cf_kv_op op; /* first */
    struct kv_bulk_body body;
    struct bnd_http_read read;
    struct kv_aside aside;
    bool whole;          /* the body has ended */
    struct slot *taking; /* what is aside is being taken back into it */
    size_t taken_bytes;  /* of all slots */
    size_t next;         /* pair */
    size_t under_way;
    size_t failed_count;
    int first_failure;
    bool local; /* one of them is on one replica alone */
    bool pumping;
    json_t *failed; /* keys */
    struct slot slots[WINDOW];
};

static void clean_bulk(struct rest_request *request) {
    struct bulk_op *op = request->data;
    kv_aside_close(&op->aside);
    kv_bulk_body_free(&op->body);
    json_decref(op->failed);
}

/* ---- the pairs
 * ------------------------------------------------------------------------------------------------
 */

static void finish(struct rest_request *request) {
    struct bulk_op *op = request->data;
    size_t count = op->body.count;
    if (op->failed_count > 0 && op->failed_count == count) {
        cf_kv_fail_code(request, op->op.what, op->first_failure);
        return;
    }
    json_t *result =
        json_pack("{s:I, s:O}", "successful_key_count", (json_int_t)(count - op->failed_count),
                  "unsuccessful_keys", op->failed);
    if (op->local && result != NULL) {
        (void)json_object_set_new(result, "durability", json_string("local")); /* a hint */
    }
    rest_reply(request, result);
}

static void pump(struct rest_request *request);

static void pair_done(struct slot *slot, int status) {
    struct rest_request *request = slot->request;
    struct bulk_op *op = request->data;
    if (status != 0) {
        op->first_failure = op->failed_count == 0 ? status : op->first_failure;
        op->failed_count++;
        (void)json_array_append_new(op->failed, rest_text_json(op->body.pairs[slot->pair].key));
    }
    kv_value_free(&slot->value);
    bnd_buf_free(&slot->taken);
    gateway_discharge(op->body.front, slot->taken_bytes);
    op->taken_bytes -= slot->taken_bytes;
    op->taking = op->taking == slot ? NULL : op->taking;
    slot->request = NULL;
    op->under_way--;
    pump(request);
}

static void on_put(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
                   struct bnd_kv_version version) {
    struct slot *slot = put->data;
    struct bulk_op *op = slot->request->data;
    op->local |= status == 0 && durability == BND_KV_LOCAL;
    pair_done(slot, status);
}

static void put_pair(struct slot *slot) {
    int rv = bnd_kv_put(slot->request->services->kv, &slot->put);
    if (rv != 0) {
        pair_done(slot, rv);
    }
}

static void on_large_ended(struct kv_value *value, int status) {
    struct slot *slot = value->data;
    if (status != 0) {
        pair_done(slot, status);
        return;
    }
    kv_value_give(value, &slot->put);
    put_pair(slot);
}

static void on_large_taken(struct kv_value *value, int status) {
    value->cb = on_large_ended;
    int rv = status != 0 ? status : kv_value_end(value);
    if (rv != 0) {
        on_large_ended(value, rv == KV_VALUE_NOW ? 0 : rv);
    }
}

/* ---- what was put aside
 * ------------------------------------------------------------------------------------------------
 */

static bool is_large(const struct kv_pair *pair) {
    return pair->value.len > BND_KV_INLINE_MAX;
}

/* Bytes of memory that a pair put aside takes while it is under way. */
static size_t bytes_taken(const struct kv_pair *pair) {
    bool aside = pair->aside != KV_PAIR_HERE;
    return (aside && !is_large(pair) ? pair->value.len : 0) + (aside ? pair->metadata.len : 0);
}

/* All of it is here, or in the store. What comes of it may end the request: the pump, last. */
static void taken(struct slot *slot) {
    struct rest_request *request = slot->request;
    struct bulk_op *op = request->data;
    const struct kv_pair *pair = &op->body.pairs[slot->pair];
    struct bnd_slice bytes = bnd_buf_slice(&slot->taken);
    size_t small = is_large(pair) ? 0 : pair->value.len;
    bool pumped = op->pumping;
    op->pumping = true;
    op->taking = NULL;
    slot->put.value = bnd_slice(bytes.data, small);
    slot->put.metadata = bnd_slice(bytes.data + small, bytes.len - small);
    if (is_large(pair)) {
        on_large_taken(&slot->value, 0);
    } else {
        put_pair(slot);
    }
    op->pumping = pumped;
    pump(request);
}

static void take(struct slot *slot);

static void on_piece_taken(struct kv_value *value, int status) {
    struct slot *slot = value->data;
    if (status != 0) {
        pair_done(slot, status);
    } else {
        take(slot);
    }
}

/* One part that is in the hand. 0: it is on its way, and its cb comes; KV_VALUE_NOW: it is taken.
 */
static int take_part(struct slot *slot, const struct kv_pair *pair, struct bnd_slice part) {
    slot->at += part.len;
    if (is_large(pair) && slot->at <= pair->value.len) {
        return kv_value_take(&slot->value, part);
    }
    bnd_buf_append_slice(&slot->taken, part);
    return slot->taken.failed ? BND_NOMEM : KV_VALUE_NOW;
}

static void take(struct slot *slot) {
    struct bulk_op *op = slot->request->data;
    const struct kv_pair *pair = &op->body.pairs[slot->pair];
    size_t all = pair->value.len + pair->metadata.len;
    int rv = KV_VALUE_NOW;
    while (rv == KV_VALUE_NOW && slot->at < all) {
        size_t to = is_large(pair) && slot->at < pair->value.len ? pair->value.len : all;
        struct bnd_slice part = kv_aside_at(&op->aside, pair->aside + slot->at, to - slot->at);
        rv = part.len > 0 ? take_part(slot, pair, part)
                          : kv_aside_read(&op->aside, pair->aside + slot->at);
    }
    if (rv == KV_VALUE_NOW) {
        taken(slot);
    } else if (rv != 0) {
        pair_done(slot, rv);
    }
}

/* ---- one after the other
 * ------------------------------------------------------------------------------------------------
 */

static void begin_pair(struct rest_request *request, struct slot *slot) {
    struct bulk_op *op = request->data;
    const struct kv_pair *pair = &op->body.pairs[op->next];
    slot->request = request;
    slot->pair = op->next++;
    op->under_way++;
    slot->value = (struct kv_value){0};
    slot->at = 0;
    slot->put = (struct bnd_kv_put){.namespace_id = op->op.namespace_id,
                                    .key = pair->key,
                                    .metadata = pair->metadata,
                                    .value = pair->value,
                                    .expires_ms = pair->expires_ms,
                                    .tombstone = op->body.deleting,
                                    .cb = on_put,
                                    .data = slot};
    if (is_large(pair)) {
        slot->value = (struct kv_value){.front = request->services->front,
                                        .kv = request->services->kv,
                                        .namespace_id = op->op.namespace_id,
                                        .key = pair->key,
                                        .cb = on_large_taken,
                                        .data = slot};
    }
    if (pair->aside != KV_PAIR_HERE) {
        slot->value.cb = on_piece_taken;
        op->taking = slot;
        take(slot);
    } else if (is_large(pair)) {
        int rv = kv_value_take(&slot->value, pair->value);
        if (rv != 0) {
            on_large_taken(&slot->value, rv == KV_VALUE_NOW ? 0 : rv);
        }
    } else {
        put_pair(slot);
    }
}

/* Whether the next pair may begin; what it takes is counted for the slot. When others are under way
 * it waits for what they give back. */
static bool has_room(struct bulk_op *op, struct slot *slot) {
    size_t bytes = bytes_taken(&op->body.pairs[op->next]);
    bool fits = op->under_way == 0 || bytes <= TAKEN_BYTES - op->taken_bytes;
    slot->taken_bytes = fits && gateway_charge(op->body.front, bytes) == 0 ? bytes : 0;
    op->taken_bytes += slot->taken_bytes;
    return slot->taken_bytes == bytes;
}

/* There is no room for it, though it is alone. */
static void fail_next(struct rest_request *request) {
    struct bulk_op *op = request->data;
    struct slot *slot = &op->slots[0];
    slot->request = request;
    slot->pair = op->next++;
    slot->value = (struct kv_value){0};
    op->under_way++;
    pair_done(slot, BND_FULL);
}

/* Pairs that fail at once come back here from within: the loop that is there goes on. */
static void pump(struct rest_request *request) {
    struct bulk_op *op = request->data;
    if (op->pumping) {
        return;
    }
    op->pumping = true;
    bool room = true;
    for (size_t i = 0;
         room && op->next < op->body.count && op->under_way < WINDOW && op->taking == NULL;
         i = (i + 1) % WINDOW) {
        if (op->slots[i].request != NULL) {
            continue;
        }
        room = has_room(op, &op->slots[i]);
        if (room) {
            begin_pair(request, &op->slots[i]);
        } else if (op->under_way == 0) {
            room = true;
            fail_next(request);
        }
    }
    op->pumping = false;
    if (op->under_way == 0) {
        finish(request);
    }
}

/* ---- the body
 * ------------------------------------------------------------------------------------------------
 */

static void fail_body(struct rest_request *request, int status) {
    struct bulk_op *op = request->data;
    if (status == BND_INVALID) {
        cf_kv_refuse(request, op->op.what, &op->body.refusal);
    } else {
        cf_kv_fail_code(request, op->op.what, status);
    }
}

static void go_on(struct rest_request *request) {
    struct bulk_op *op = request->data;
    if (op->whole) {
        kv_bulk_body_settle(&op->body);
        pump(request);
    } else {
        bnd_http_body_read(request->http, &op->read);
    }
}

/* Of the body, or of a pair that is taken back. */
static void on_aside(struct kv_aside *aside, int status) {
    struct rest_request *request = aside->data;
    struct bulk_op *op = request->data;
    if (op->taking != NULL) {
        if (status != 0) {
            pair_done(op->taking, status);
        } else {
            take(op->taking);
        }
        return;
    }
    kv_bulk_body_taken(&op->body);
    if (status != 0) {
        fail_body(request, status);
    } else {
        go_on(request);
    }
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    struct bulk_op *op = request->data;
    if (status != 0) {
        rest_abort(request);
        return;
    }
    op->whole = chunk == NULL;
    int rv =
        chunk == NULL ? kv_bulk_body_end(&op->body) : kv_bulk_body_feed(&op->body, chunk->bytes);
    if (chunk != NULL) {
        bnd_http_chunk_release(chunk);
    }
    bool aside = op->body.aside.len > 0;
    if (rv == 0 && aside) {
        rv = kv_aside_write(&op->aside, bnd_buf_slice(&op->body.aside));
    }
    if (rv != 0) {
        fail_body(request, rv);
    } else if (!aside) {
        go_on(request);
    }
}

static void begin_bulk(struct rest_request *request) {
    struct bulk_op *op = request->data;
    op->body.front = request->services->front;
    op->body.now_ms = bnd_wall_ms(request->services->env);
    op->body.here_max = HERE_BYTES;
    op->aside = (struct kv_aside){.env = request->services->env,
                                  .dir = request->services->dir,
                                  .bytes_max = op->body.front->kv_limits.bulk_bytes_max,
                                  .cb = on_aside,
                                  .data = request};
    op->failed = json_array();
    kv_bulk_body_init(&op->body);
    op->read =
        (struct bnd_http_read){.cb = on_piece, .data = request, .bytes_min = BND_HTTP_CHUNK_BYTES};
    bnd_http_body_read(request->http, &op->read);
}

static void begin_bulk_delete(struct rest_request *request) {
    struct bulk_op *op = request->data;
    op->body.deleting = true;
    begin_bulk(request);
}

void cf_kv_run_bulk_put(struct rest_request *request) {
    static const struct cf_kv_open open = {.bytes = sizeof(struct bulk_op),
                                           .what = "put bulk",
                                           .found = begin_bulk,
                                           .clean = clean_bulk};
    cf_kv_open(request, &open);
}

void cf_kv_run_bulk_delete(struct rest_request *request) {
    static const struct cf_kv_open open = {.bytes = sizeof(struct bulk_op),
                                           .what = "remove bulk",
                                           .found = begin_bulk_delete,
                                           .clean = clean_bulk};
    cf_kv_open(request, &open);
}

/* ---- get
 * ------------------------------------------------------------------------------------------------
 */

struct bulk_get_op {
    struct cf_kv_op op; /* first */
    struct kv_bulk_get get;
    struct bnd_http_write writes[3]; /* head, values and tail of the envelope */
    size_t writing;
    bool cut;
};

static void clean_bulk_get(struct rest_request *request) {
    struct bulk_get_op *op = request->data;
    kv_bulk_get_free(&op->get);
}

static void on_written(struct bnd_http_write *write, int status) {
    struct rest_request *request = write->data;
    struct bulk_get_op *op = request->data;
    op->cut |= status != 0;
    if (--op->writing > 0) {
        return;
    }
    if (op->cut) {
        rest_abort(request);
        return;
    }
    bnd_http_end(request->http);
    rest_release(request);
}

/* The values are sent from where they lie. */
static void send_values(struct rest_request *request) {
    static const char head[] =
        "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":{\"values\":";
    struct bulk_get_op *op = request->data;
    const struct bnd_slice parts[] = {bnd_slice_str(head), bnd_buf_slice(&op->get.out),
                                      bnd_slice_str("}}")};
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/json")},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = 2};
    int rv = bnd_http_begin(request->http, &response, parts[0].len + parts[1].len + parts[2].len);
    for (size_t i = 0; i < 3 && rv == 0; i++) {
        op->writes[i] = (struct bnd_http_write){.cb = on_written, .data = request};
        rv = bnd_http_write(request->http, &op->writes[i], parts[i]);
        op->writing += rv == 0;
    }
    op->cut = rv != 0;
    if (op->writing == 0) {
        rest_abort(request);
    }
}

static void on_values(struct kv_bulk_get *get, int status) {
    struct rest_request *request = get->data;
    if (status == KV_BULK_REFUSED) {
        cf_kv_refuse(request, "get bulk", &get->refusal);
        return;
    }
    if (status != 0) {
        cf_kv_fail_code(request, "get bulk", status);
        return;
    }
    send_values(request);
}

static void begin_bulk_get(struct rest_request *request) {
    struct bulk_get_op *op = request->data;
    op->get.front = request->services->front;
    op->get.kv = request->services->kv;
    op->get.namespace_id = op->op.namespace_id;
    op->get.with_expiration = true;
    op->get.cb = on_values;
    op->get.data = request;
    kv_bulk_get(&op->get, bnd_buf_slice(&request->body));
}

void cf_kv_run_bulk_get(struct rest_request *request) {
    static const struct cf_kv_open open = {.bytes = sizeof(struct bulk_get_op),
                                           .what = "get bulk",
                                           .found = begin_bulk_get,
                                           .clean = clean_bulk_get};
    cf_kv_open(request, &open);
}
