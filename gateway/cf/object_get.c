/* wrangler r2 object get, and lists of objects.
 *
 * The bytes of one version, one chunk at a time at the pace of the client. Nothing is sent before
 * the first bytes are there; after that the only honest end of a failure is a cut connection. */
#include "base/alloc.h"
#include "gateway/cf/cf.h"
#include "gateway/date.h"
#include "gateway/s3/base64.h"
#include "gateway/s3/fields.h"
#include "gateway/s3/query.h"

/* ---- get
 * ------------------------------------------------------------------------------------------------
 */

struct get_op {
    struct cf_op op; /* first */
    struct bnd_object_head head;
    struct bnd_object object;
    struct bnd_object_reader *reader;
    struct s3_reply reply;
    struct bnd_http_write write;
    uint64_t size;
    bool begun;
};

static void clean_get(struct rest_request *request) {
    struct get_op *op = request->data;
    bnd_object_reader_destroy(op->reader);
    bnd_object_free(&op->object);
    s3_reply_free(&op->reply);
}

/* Before a reader takes the object over: its bytes stay where they are. */
static void write_headers(struct get_op *op) {
    const struct bnd_object_meta *meta = &op->object.meta;
    struct bnd_object_fields fields = meta->fields;
    char etag[BND_OBJECT_ETAG_TEXT];
    char date[GATEWAY_DATE_TEXT];
    bnd_object_etag_text(meta, etag);
    gateway_date_http(meta->uploaded_ms, date);
    s3_reply_printf(&op->reply, "ETag", "\"%s\"", etag);
    s3_reply_printf(&op->reply, "Last-Modified", "%s", date);
    s3_reply_text(&op->reply, "cf-r2-storage-class",
                  bnd_slice_str(cf_storage_class(fields.storage_class)));
    fields.storage_class = bnd_slice(NULL, 0);
    s3_fields_write(&fields, &op->reply);
}

static struct bnd_http_response response_of(const struct get_op *op) {
    return (struct bnd_http_response){
        .status = 200, .headers = s3_reply_headers(&op->reply), .header_count = op->reply.count};
}

static int begin_response(struct rest_request *request) {
    struct get_op *op = request->data;
    struct bnd_http_response response = response_of(op);
    op->begun = true;
    return bnd_http_begin(request->http, &response, op->size);
}

static void fail_body(struct rest_request *request, int status) {
    struct get_op *op = request->data;
    if (!op->begun) {
        /* A version that was freed since its head: another one took its place, so again. */
        cf_fail(request, status == BND_NOTFOUND ? BND_UNAVAILABLE : status);
        return;
    }
    if (status != BND_CLOSED) {
        bnd_log(request->services->env, BND_LOG_WARN, "rest", "an object was cut while sent: %s",
                bnd_code_text(status));
    }
    rest_abort(request);
}

static void next_chunk(struct rest_request *request);

static void on_sent(struct bnd_http_write *write, int status) {
    if (status != 0) {
        rest_abort(write->data);
        return;
    }
    next_chunk(write->data);
}

static void on_chunk(struct bnd_object_reader *reader, void *data, int status,
                     struct bnd_slice chunk) {
    struct rest_request *request = data;
    struct get_op *op = request->data;
    if (status != 0) {
        fail_body(request, status);
        return;
    }
    if (chunk.len == 0) {
        bnd_http_end(request->http);
        rest_release(request);
        return;
    }
    int rv = op->begun ? 0 : begin_response(request);
    op->write = (struct bnd_http_write){.cb = on_sent, .data = request};
    rv = rv != 0 ? rv : bnd_http_write(request->http, &op->write, chunk);
    if (rv != 0) {
        rest_abort(request);
    }
}

static void next_chunk(struct rest_request *request) {
    struct get_op *op = request->data;
    int rv = bnd_object_reader_next(op->reader, on_chunk, request);
    if (rv != 0) {
        fail_body(request, rv);
    }
}

static void send_inline(struct rest_request *request) {
    struct get_op *op = request->data;
    struct bnd_http_response response = response_of(op);
    response.body = op->object.body;
    if (bnd_http_respond(request->http, &response) != 0) {
        bnd_http_abort(request->http);
    }
    rest_release(request);
}

static void send_head(struct rest_request *request) {
    if (begin_response(request) != 0) {
        rest_abort(request);
        return;
    }
    bnd_http_end(request->http);
    rest_release(request);
}

static void on_head(struct bnd_object_head *head, int status, struct bnd_object *object) {
    struct rest_request *request = head->data;
    struct get_op *op = request->data;
    if (status != 0) {
        cf_fail(request, status);
        return;
    }
    bnd_object_move(&op->object, object);
    op->size = op->object.meta.size;
    write_headers(op);
    if (op->reply.failed) {
        rest_fail_code(request, BND_NOMEM);
    } else if (request->http->head->method == BND_HTTP_HEAD) {
        send_head(request);
    } else if (op->object.body.data != NULL) {
        send_inline(request);
    } else {
        status = bnd_object_reader_open(request->services->objects, &op->object, 0, op->size,
                                        &op->reader);
        if (status != 0) {
            cf_fail(request, status);
            return;
        }
        next_chunk(request);
    }
}

static void begin_get(struct rest_request *request) {
    struct get_op *op = request->data;
    op->head = (struct bnd_object_head){.cb = on_head, .data = request};
    int rv = bnd_object_head(request->services->objects, &op->head, &op->op.name);
    if (rv != 0) {
        cf_fail(request, rv);
    }
}

void cf_run_object_get(struct rest_request *request) {
    cf_open(request, sizeof(struct get_op), begin_get, clean_get);
}

/* ---- list
 * -----------------------------------------------------------------------------------------------
 */

struct list_op {
    struct cf_op op; /* first */
    struct bnd_object_list list;
    struct bnd_buf cursor;
    uint64_t limit;
    struct s3_query query;
    uint8_t space[];
};

static void clean_list(struct rest_request *request) {
    struct list_op *op = request->data;
    bnd_buf_free(&op->cursor);
}

static json_t *http_json(const struct bnd_object_fields *fields) {
    const struct {
        const char *name;
        struct bnd_slice value;
    } known[] = {
        {"contentType", fields->content_type},
        {"contentLanguage", fields->content_language},
        {"contentDisposition", fields->content_disposition},
        {"contentEncoding", fields->content_encoding},
        {"cacheControl", fields->cache_control},
    };
    json_t *http = json_object();
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].value.data != NULL &&
            json_object_set_new(http, known[i].name, rest_text_json(known[i].value)) != 0) {
            json_decref(http);
            return NULL;
        }
    }
    return http;
}

/* Names that are not UTF-8 no JSON can hold: they are left out. */
static json_t *custom_json(struct bnd_slice custom) {
    struct bnd_reader reader = bnd_reader(custom);
    struct bnd_slice name;
    struct bnd_slice value;
    json_t *pairs = json_object();
    while (bnd_object_custom_next(&reader, &name, &value)) {
        json_t *name_json = rest_text_json(name);
        if (json_is_string(name_json)) {
            /* A lack of memory leaves the answer without it; the next one then cuts it off. */
            (void)json_object_set_new(pairs, json_string_value(name_json), rest_text_json(value));
        }
        json_decref(name_json);
    }
    return pairs;
}

/* Adds an item to one of the two arrays. BND_CORRUPT, BND_NOMEM. */
static int add_item(const struct bnd_list_item *item, json_t *objects, json_t *prefixes) {
    if (item->is_prefix) {
        return json_array_append_new(prefixes, rest_text_json(item->key)) == 0 ? 0 : BND_NOMEM;
    }
    struct bnd_object_meta meta;
    int rv = bnd_list_item_meta(item, &meta);
    if (rv != 0) {
        return rv;
    }
    json_t *object = cf_object_json(item->key, &meta);
    if (json_object_set_new(object, "http_metadata", http_json(&meta.fields)) != 0 ||
        json_object_set_new(object, "custom_metadata", custom_json(meta.fields.custom)) != 0 ||
        json_array_append(objects, object) != 0) {
        rv = BND_NOMEM;
    }
    json_decref(object);
    return rv;
}

static json_t *page_info(const struct list_op *op, const struct bnd_list_page *page,
                         json_t *prefixes) {
    BND_AUTO_BUF struct bnd_buf cursor = {0};
    if (page->truncated) {
        s3_base64_encode(&cursor, page->cursor, true);
    }
    json_t *cursor_json =
        cursor.failed ? NULL : json_stringn((const char *)cursor.data, cursor.len);
    if (!page->truncated) {
        json_decref(cursor_json);
        cursor_json = json_string("");
    }
    return json_pack("{s:o, s:b, s:I, s:O}", "cursor", cursor_json, "is_truncated", page->truncated,
                     "per_page", (json_int_t)op->limit, "delimited", prefixes);
}

static void on_page(struct bnd_object_list *list, int status, const struct bnd_list_page *page) {
    struct rest_request *request = list->data;
    struct list_op *op = request->data;
    if (status != 0) {
        cf_fail(request, status);
        return;
    }
    json_t *objects = json_array();
    json_t *prefixes = json_array();
    for (size_t i = 0; i < page->count && status == 0; i++) {
        status = add_item(&page->items[i], objects, prefixes);
    }
    if (status != 0) {
        rest_fail_code(request, status);
    } else {
        rest_reply_json(request, 200,
                        json_pack("{s:b, s:[], s:[], s:O, s:o}", "success", 1, "errors", "messages",
                                  "result", objects, "result_info", page_info(op, page, prefixes)));
    }
    json_decref(objects);
    json_decref(prefixes);
}

static void begin_list(struct rest_request *request) {
    struct list_op *op = request->data;
    const char *why = "per_page must be a number from 1 to 1000.";
    op->limit = BND_OBJECT_LIST_MAX;
    if (s3_query_parse(request->http->head->query, op->space, &op->query, &why) != S3_OK ||
        !s3_query_number(&op->query, "per_page", BND_OBJECT_LIST_MAX, &op->limit) ||
        op->limit == 0) {
        rest_fail(request, 400, CF_ARGUMENT, why);
        return;
    }
    if (!s3_base64_decode(s3_query_get(&op->query, "cursor"), true, &op->cursor)) {
        rest_fail(request, 400, CF_ARGUMENT, "The cursor is not valid.");
        return;
    }
    struct bnd_list_options options = {
        .bucket = op->op.bucket,
        .prefix = s3_query_get(&op->query, "prefix"),
        .delimiter = s3_query_get(&op->query, "delimiter"),
        .after = s3_query_get(&op->query, "start_after"),
        .cursor = bnd_buf_slice(&op->cursor),
        .limit = (uint32_t)op->limit,
        .include = BND_LIST_HTTP | BND_LIST_CUSTOM,
    };
    op->list = (struct bnd_object_list){.cb = on_page, .data = request};
    int rv = bnd_object_list(request->services->objects, &op->list, &options);
    if (rv == BND_INVALID) {
        rest_fail(request, 400, CF_ARGUMENT, "The cursor or a parameter is not valid.");
    } else if (rv != 0) {
        cf_fail(request, rv);
    }
}

void cf_run_object_list(struct rest_request *request) {
    cf_open(request, sizeof(struct list_op) + request->http->head->query.len + 1, begin_list,
            clean_list);
}
