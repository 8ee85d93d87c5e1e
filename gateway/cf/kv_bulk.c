/* Bulk put, delete and get.
 *
 * The whole body is read and every pair checked before the first one is stored; then WINDOW of them
 * are under way at a time. Those that could not be stored are named in the answer, as Cloudflare
 * has it: they are to be sent again. */
#include "base/alloc.h"
#include "gateway/cf/kv.h"
#include "gateway/kv/bulk_body.h"
#include "gateway/kv/bulk_get.h"
#include "gateway/kv/value.h"

#define WINDOW 64u

/* One pair on its way. */
struct slot {
    struct rest_request *request;
    size_t pair;
    struct kv_value value; /* of a large one */
    struct bnd_kv_put put;
};

struct bulk_op {
    struct cf_kv_op op; /* first */
    struct kv_bulk_body body;
    struct bnd_http_read read;
    size_t next; /* pair */
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

static void begin_pair(struct rest_request *request, struct slot *slot) {
    struct bulk_op *op = request->data;
    const struct kv_pair *pair = &op->body.pairs[op->next];
    slot->request = request;
    slot->pair = op->next++;
    op->under_way++;
    slot->value = (struct kv_value){0};
    slot->put = (struct bnd_kv_put){.namespace_id = op->op.namespace_id,
                                    .key = pair->key,
                                    .metadata = pair->metadata,
                                    .value = pair->value,
                                    .expires_ms = pair->expires_ms,
                                    .tombstone = op->body.deleting,
                                    .cb = on_put,
                                    .data = slot};
    if (pair->value.len <= BND_KV_INLINE_MAX) {
        put_pair(slot);
        return;
    }
    slot->value = (struct kv_value){.front = request->services->front,
                                    .kv = request->services->kv,
                                    .namespace_id = op->op.namespace_id,
                                    .key = pair->key,
                                    .cb = on_large_taken,
                                    .data = slot};
    int rv = kv_value_take(&slot->value, pair->value);
    if (rv != 0) {
        on_large_taken(&slot->value, rv == KV_VALUE_NOW ? 0 : rv);
    }
}

/* Pairs that fail at once come back here from within: the loop that is there goes on. */
static void pump(struct rest_request *request) {
    struct bulk_op *op = request->data;
    if (op->pumping) {
        return;
    }
    op->pumping = true;
    for (size_t i = 0; op->next < op->body.count && op->under_way < WINDOW; i = (i + 1) % WINDOW) {
        if (op->slots[i].request == NULL) {
            begin_pair(request, &op->slots[i]);
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

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    struct bulk_op *op = request->data;
    if (status != 0) {
        rest_abort(request);
        return;
    }
    int rv =
        chunk == NULL ? kv_bulk_body_end(&op->body) : kv_bulk_body_feed(&op->body, chunk->bytes);
    if (chunk != NULL) {
        bnd_http_chunk_release(chunk);
    }
    if (rv != 0) {
        fail_body(request, rv);
    } else if (chunk != NULL) {
        bnd_http_body_read(request->http, read);
    } else {
        pump(request);
    }
}

static void begin_bulk(struct rest_request *request) {
    struct bulk_op *op = request->data;
    op->body.front = request->services->front;
    op->body.now_ms = bnd_wall_ms(request->services->env);
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
