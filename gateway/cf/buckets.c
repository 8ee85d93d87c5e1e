/* wrangler r2 bucket list, create, info, delete. */
#include "base/alloc.h"
#include "gateway/bucket_delete.h"
#include "gateway/cf/cf.h"
#include "gateway/s3/query.h"

#define PAGE_MAX 1000u
#define SEGMENTS_MAX 16

static json_t *bucket_json(const struct bnd_bucket_record *bucket) {
    return json_pack("{s:o, s:o, s:s, s:s, s:s}", "name", rest_text_json(bucket->name),
                     "creation_date", rest_time_json(bucket->created_ms), "location", "auto",
                     "storage_class", "Standard", "jurisdiction", "default");
}

static void fail_name(struct rest_request *request) {
    rest_fail(request, 400, CF_BUCKET_NAME, "The specified bucket name is not valid.");
}

static void clean_data(struct rest_request *request) {
    bnd_free(request->data);
}

/* ---- list
 * -----------------------------------------------------------------------------------------------
 */

struct list_op {
    uint64_t limit;
    struct s3_query query;
    uint8_t space[];
};

/* BND_CORRUPT. *last: the last name, borrowed. */
static int take_buckets(struct bnd_reader *r, uint32_t count, json_t *buckets,
                        struct bnd_slice *last) {
    for (uint32_t i = 0; i < count; i++) {
        struct bnd_bucket_record bucket;
        if (bnd_bucket_decode(bnd_read_bytes(r), &bucket) != 0) {
            return BND_CORRUPT;
        }
        *last = bucket.name;
        if (json_array_append_new(buckets, bucket_json(&bucket)) != 0) {
            return BND_NOMEM;
        }
    }
    return bnd_reader_done(r) ? 0 : BND_CORRUPT;
}

static void on_buckets(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct list_op *op = request->data;
    struct bnd_reader r = bnd_reader(reply);
    struct bnd_slice last = {0};
    if (status != 0) {
        rest_fail_code(request, status);
        return;
    }
    bool more = bnd_read_u8(&r) != 0;
    uint32_t count = bnd_read_u32(&r);
    json_t *buckets = json_array();
    status = take_buckets(&r, count, buckets, &last);
    if (status != 0) {
        json_decref(buckets);
        rest_fail_code(request, status);
        return;
    }
    json_t *info = json_pack("{s:I}", "per_page", (json_int_t)op->limit);
    if (more) {
        (void)json_object_set_new(info, "cursor", rest_text_json(last)); /* info NULL: see below */
    }
    rest_reply_json(request, 200,
                    json_pack("{s:b, s:[], s:[], s:{s:o}, s:o}", "success", 1, "errors", "messages",
                              "result", "buckets", buckets, "result_info", info));
}

void cf_run_bucket_list(struct rest_request *request) {
    struct bnd_slice raw = request->http->head->query;
    const char *why = "per_page must be a number from 1 to 1000.";
    struct list_op *op = bnd_zalloc(sizeof *op + raw.len + 1);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = op;
    request->clean = clean_data;
    op->limit = PAGE_MAX;
    if (s3_query_parse(raw, op->space, &op->query, &why) != S3_OK ||
        !s3_query_number(&op->query, "per_page", PAGE_MAX, &op->limit) || op->limit == 0) {
        rest_fail(request, 400, CF_ARGUMENT, why);
        return;
    }
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKETS,
                                      .number = op->limit,
                                      .b = s3_query_get(&op->query, "cursor")};
    if (query.b.len > BND_BUCKET_NAME_MAX) {
        rest_fail(request, 400, CF_ARGUMENT, "The cursor is not valid.");
        return;
    }
    request->call = (struct bnd_catalog_call){.cb = on_buckets, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

/* ---- create
 * --------------------------------------------------------------------------------------------- */

static void on_created(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_bucket_record bucket;
    if (status == BND_EXISTS) {
        rest_fail(request, 409, CF_BUCKET_EXISTS,
                  "The bucket you tried to create already exists, and you own it.");
        return;
    }
    status = status != 0 ? status : bnd_bucket_decode(reply, &bucket);
    if (status != 0) {
        rest_fail_code(request, status);
        return;
    }
    bnd_catalog_bucket_learn(request->services->catalog, &bucket);
    rest_reply(request, bucket_json(&bucket));
}

static const char *create_problem(const json_t *body) {
    json_t *class = json_object_get(body, "storageClass");
    json_t *segments = json_object_get(body, "pathSegments");
    if (class != NULL &&
        (!json_is_string(class) || strcmp(json_string_value(class), "Standard") != 0)) {
        return "Only \"Standard\" can be a bucket's storage class: give others per object.";
    }
    if (segments != NULL && (!json_is_integer(segments) || json_integer_value(segments) < 0 ||
                             json_integer_value(segments) > SEGMENTS_MAX)) {
        return "pathSegments must be a number from 0 to 16.";
    }
    return NULL;
}

/* locationHint is R2's hint of a place, of which a cluster has one: it is not read. pathSegments is
 * ours: by how many segments of a key its objects are placed (objects/objects.h). */
void cf_run_bucket_create(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    json_t *name_json = json_object_get(body, "name");
    struct bnd_slice name = bnd_slice(json_string_value(name_json), json_string_length(name_json));
    const char *problem = create_problem(body);
    if (!bnd_bucket_name_valid(name)) {
        fail_name(request);
    } else if (problem != NULL) {
        rest_fail(request, 400, CF_ARGUMENT, problem);
    } else {
        json_int_t segments = json_integer_value(json_object_get(body, "pathSegments"));
        struct bnd_catalog_command command = {
            .op = BND_CATALOG_BUCKET_CREATE, .number = (uint64_t)segments, .a = name};
        request->call = (struct bnd_catalog_call){.cb = on_created, .data = request};
        int rv = bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
        if (rv != 0) {
            rest_fail_code(request, rv);
        }
    }
    json_decref(body);
}

/* ---- info
 * -----------------------------------------------------------------------------------------------
 */

static void on_bucket(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_bucket_record bucket;
    if (status == BND_NOTFOUND) {
        rest_fail(request, 404, CF_NO_BUCKET, "The specified bucket does not exist.");
        return;
    }
    status = status != 0 ? status : bnd_bucket_decode(reply, &bucket);
    if (status != 0) {
        rest_fail_code(request, status);
        return;
    }
    rest_reply(request, bucket_json(&bucket));
}

void cf_run_bucket_get(struct rest_request *request) {
    struct bnd_slice name = rest_segment(request, CF_SEGMENT_BUCKET);
    if (!bnd_bucket_name_valid(name)) {
        fail_name(request);
        return;
    }
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKET, .a = name};
    request->call = (struct bnd_catalog_call){.cb = on_bucket, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

/* ---- delete
 * --------------------------------------------------------------------------------------------- */

static void on_deleted(struct bnd_bucket_delete *del, int status) {
    struct rest_request *request = del->data;
    if (status == 0) {
        rest_reply(request, json_object());
    } else if (status == BND_NOTEMPTY) {
        rest_fail(request, 409, CF_BUCKET_NOT_EMPTY,
                  "The bucket you tried to delete is not empty.");
    } else if (status == BND_NOTFOUND) {
        rest_fail(request, 404, CF_NO_BUCKET, "The specified bucket does not exist.");
    } else {
        rest_fail_code(request, status);
    }
}

void cf_run_bucket_delete(struct rest_request *request) {
    struct bnd_bucket_delete *del = bnd_zalloc(sizeof *del);
    if (del == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = del;
    request->clean = clean_data;
    del->cb = on_deleted;
    del->data = request;
    int rv = bnd_bucket_delete(request->services, del, rest_segment(request, CF_SEGMENT_BUCKET));
    if (rv == BND_INVALID) {
        fail_name(request);
    } else if (rv != 0) {
        rest_fail_code(request, rv);
    }
}
