#include "gateway/kv/bulk_get.h"

#include "gateway/json_scan.h"

/* ---- what is asked for
 * ------------------------------------------------------------------------------------------------
 */

static struct bnd_slice text_of(const json_t *string) {
    return bnd_slice(json_string_value(string), json_string_length(string));
}

/* A number, or a string of one, as the runtime sends it. */
static bool cache_ttl_check(struct kv_bulk_get *bulk, const json_t *ttl) {
    char text[24];
    if (ttl == NULL || json_is_null(ttl)) {
        return true;
    }
    struct bnd_slice given = text_of(ttl);
    if (json_is_integer(ttl)) {
        int len =
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(ttl)); /* fits */
        given = bnd_slice(text, (size_t)len);
    } else if (!json_is_string(ttl)) {
        return kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST, "cacheTtl must be a number");
    }
    return kv_cache_ttl_check(&bulk->front->kv_limits, given, &bulk->get.cache_ttl_s,
                              &bulk->refusal);
}

static bool keys_check(struct kv_bulk_get *bulk, const json_t *keys) {
    size_t count = json_array_size(keys);
    if (!json_is_array(keys)) {
        return kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST, "keys must be an array of strings");
    }
    if (count > bulk->front->kv_limits.bulk_get_max) {
        return kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST,
                         "You can request a maximum of %llu keys",
                         (unsigned long long)bulk->front->kv_limits.bulk_get_max);
    }
    if (count == 0) {
        return kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST,
                         "You must request a minimum of 1 key");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *key = json_array_get(keys, i);
        if (!json_is_string(key)) {
            return kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST,
                             "keys must be an array of strings");
        }
        if (!kv_key_check(text_of(key), &bulk->refusal)) {
            return false;
        }
    }
    return true;
}

static bool read_body(struct kv_bulk_get *bulk, struct bnd_slice text) {
    bulk->body = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(bulk->body)) {
        return kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST, "The body must be a JSON object");
    }
    const json_t *type = json_object_get(bulk->body, "type");
    bulk->with_metadata = json_is_true(json_object_get(bulk->body, "withMetadata"));
    if (type != NULL && !json_is_null(type)) {
        struct bnd_slice name = text_of(type);
        bulk->as_json = bnd_slice_eq(name, bnd_slice_str("json"));
        if (!bulk->as_json && !bnd_slice_eq(name, bnd_slice_str("text"))) {
            return kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST,
                             "\"%.*s\" is not a valid type. Use \"json\" or \"text\"",
                             (int)(name.len < 32 ? name.len : 32), (const char *)name.data);
        }
    }
    return keys_check(bulk, json_object_get(bulk->body, "keys")) &&
           cache_ttl_check(bulk, json_object_get(bulk->body, "cacheTtl"));
}

/* ---- one value
 * ------------------------------------------------------------------------------------------------
 */

static struct bnd_slice key_at(const struct kv_bulk_get *bulk, size_t i) {
    return text_of(json_array_get(json_object_get(bulk->body, "keys"), i));
}

/* Counts what the answer has grown to. */
static int charge(struct kv_bulk_get *bulk, size_t wanted) {
    if (wanted <= bulk->charged) {
        return 0;
    }
    int rv = gateway_charge(bulk->front, wanted - bulk->charged);
    bulk->charged = rv == 0 ? wanted : bulk->charged;
    return rv;
}

static void put_key(struct kv_bulk_get *bulk) {
    bnd_buf_append_str(&bulk->out, bulk->out.len == 1 ? "" : ",");
    gateway_json_string(&bulk->out, key_at(bulk, bulk->at));
    bnd_buf_u8(&bulk->out, ':');
}

struct found {
    struct bnd_slice value, metadata;
    uint64_t expires_ms;
};

static int refuse_size(struct kv_bulk_get *bulk) {
    (void)kv_refuse(&bulk->refusal, 413, KV_TOO_LARGE,
                    "Total size of request exceeds the limit of %uMB", KV_BULK_GET_BYTES_MAX >> 20);
    return KV_BULK_REFUSED;
}

/* 0, KV_BULK_REFUSED, or a code. */
static int put_found(struct kv_bulk_get *bulk, const struct found *found) {
    if (found->value.len > KV_BULK_GET_BYTES_MAX - bulk->bytes) {
        return refuse_size(bulk);
    }
    bulk->bytes += found->value.len;
    if (bulk->as_json && !gateway_json_valid(found->value)) {
        (void)kv_refuse(&bulk->refusal, 400, KV_BAD_REQUEST,
                        "At least one of the requested keys corresponds to a non-json value");
        return KV_BULK_REFUSED;
    }
    put_key(bulk);
    bnd_buf_append_str(&bulk->out, bulk->with_metadata ? "{\"value\":" : "");
    if (bulk->as_json) {
        bnd_buf_append_slice(&bulk->out, found->value);
    } else {
        gateway_json_string(&bulk->out, found->value);
    }
    if (bulk->with_metadata) {
        bnd_buf_append_str(&bulk->out, ",\"metadata\":");
        bnd_buf_append_slice(&bulk->out,
                             found->metadata.len > 0 ? found->metadata : bnd_slice_str("null"));
        if (bulk->with_expiration && found->expires_ms > 0) {
            bnd_buf_printf(&bulk->out, ",\"expiration\":%llu",
                           (unsigned long long)(found->expires_ms / 1000));
        }
        bnd_buf_u8(&bulk->out, '}');
    }
    return bulk->out.failed ? BND_NOMEM : charge(bulk, bulk->out.len);
}

/* ---- one key after the other
 * ------------------------------------------------------------------------------------------------
 */

static void pump(struct kv_bulk_get *bulk);

/* The key that was asked for is done with. status: 0, KV_BULK_REFUSED or a code. */
static void settle(struct kv_bulk_get *bulk, int status) {
    bulk->waiting = false;
    bulk->again = 0;
    bulk->failed = status;
    bulk->at++;
    if (!bulk->in_call) {
        pump(bulk);
    }
}

static void on_read(struct bnd_kv_read *read, int status, struct bnd_slice piece) {
    struct kv_bulk_get *bulk = read->data;
    if (status == 0 && piece.len > 0) {
        bnd_buf_append_slice(&bulk->large, piece);
        status = bulk->large.failed ? BND_NOMEM : bnd_kv_read(bulk->kv, &bulk->read);
        if (status == 0) {
            return;
        }
    }
    if (status == 0 && bulk->large.len != bulk->large_bytes) {
        status = BND_NOTFOUND; /* whoever gave the rest has no more of it */
    }
    if (status == BND_NOTFOUND &&
        bulk->again++ < KV_AGAIN_MAX) { /* superseded: the same key again */
        bulk->waiting = false;
        pump(bulk);
        return;
    }
    status = status == BND_NOTFOUND ? BND_BUSY : status;
    const struct found found = {.value = bnd_buf_slice(&bulk->large),
                                .metadata = bnd_buf_slice(&bulk->metadata),
                                .expires_ms = bulk->expires_ms};
    settle(bulk, status != 0 ? status : put_found(bulk, &found));
}

/* A large value: settled once its last piece is there. */
static int begin_large(struct kv_bulk_get *bulk, const struct bnd_kv_item *item) {
    bnd_buf_reset(&bulk->large);
    bnd_buf_reset(&bulk->metadata);
    bnd_buf_append_slice(&bulk->metadata, item->metadata);
    bulk->expires_ms = item->expires_ms;
    bulk->large_bytes = item->size;
    bulk->read = (struct bnd_kv_read){.namespace_id = bulk->namespace_id,
                                      .key = key_at(bulk, bulk->at),
                                      .version = item->version,
                                      .size = item->size,
                                      .cb = on_read,
                                      .data = bulk};
    if (item->size > KV_BULK_GET_BYTES_MAX - bulk->bytes) {
        return refuse_size(bulk);
    }
    int rv = bulk->metadata.failed ? BND_NOMEM : charge(bulk, bulk->out.len + item->size);
    return rv != 0 ? rv : bnd_kv_read(bulk->kv, &bulk->read);
}

static void on_got(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct kv_bulk_get *bulk = get->data;
    if (status == BND_NOTFOUND) {
        put_key(bulk);
        bnd_buf_append_str(&bulk->out, "null");
        settle(bulk, bulk->out.failed ? BND_NOMEM : 0);
    } else if (status != 0) {
        settle(bulk, status);
    } else if (item->size == item->value.len) {
        const struct found found = {item->value, item->metadata, item->expires_ms};
        settle(bulk, put_found(bulk, &found));
    } else {
        int rv = begin_large(bulk, item);
        if (rv != 0) {
            settle(bulk, rv);
        }
    }
}

/* A key that was asked for twice is told once, as in a JavaScript object. */
static bool told_before(const struct kv_bulk_get *bulk) {
    for (size_t i = 0; i < bulk->at; i++) {
        if (bnd_slice_eq(key_at(bulk, i), key_at(bulk, bulk->at))) {
            return true;
        }
    }
    return false;
}

static int ask(struct kv_bulk_get *bulk) {
    bulk->get.namespace_id = bulk->namespace_id;
    bulk->get.key = key_at(bulk, bulk->at);
    bulk->get.newest = bulk->newest;
    bulk->get.cb = on_got;
    bulk->get.data = bulk;
    bulk->waiting = true;
    bulk->in_call = true;
    int rv = bnd_kv_get(bulk->kv, &bulk->get);
    bulk->in_call = false;
    return rv < 0 ? rv : 0;
}

/* Values that are here are answered within the call: a loop, not a stack. The owner may free bulk
 * in its callback, which is the last thing that happens here. */
static void pump(struct kv_bulk_get *bulk) {
    size_t count = json_array_size(json_object_get(bulk->body, "keys"));
    while (bulk->failed == 0 && bulk->at < count) {
        if (told_before(bulk)) {
            bulk->at++;
            continue;
        }
        int rv = ask(bulk);
        if (rv == 0 && bulk->waiting) {
            return;
        }
        bulk->failed = rv != 0 ? rv : bulk->failed;
    }
    bnd_buf_u8(&bulk->out, '}');
    bulk->cb(bulk, bulk->failed == 0 && bulk->out.failed ? BND_NOMEM : bulk->failed);
}

void kv_bulk_get(struct kv_bulk_get *bulk, struct bnd_slice text) {
    if (!read_body(bulk, text)) {
        bulk->cb(bulk, KV_BULK_REFUSED);
        return;
    }
    bnd_buf_u8(&bulk->out, '{');
    pump(bulk);
}

void kv_bulk_get_free(struct kv_bulk_get *bulk) {
    gateway_discharge(bulk->front, bulk->charged);
    bnd_buf_free(&bulk->out);
    bnd_buf_free(&bulk->large);
    bnd_buf_free(&bulk->metadata);
    json_decref(bulk->body);
}
