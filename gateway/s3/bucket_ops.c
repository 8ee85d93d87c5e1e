/* ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation. */
#include "gateway/bucket_delete.h"
#include "gateway/s3/s3_private.h"
#include "gateway/s3/xml_write.h"

#define BUCKETS_PAGE 1000u
#define BUCKETS_MAX 10000u /* as S3, and at most about a megabyte of XML */
#define SEGMENTS_HEADER "x-bindery-path-segments"
#define SEGMENTS_MAX 16u

static struct bnd_catalog *catalog_of(const struct s3_request *request) {
    return request->service->services->catalog;
}

/* ---- ListBuckets
 * ---------------------------------------------------------------------------------------- */

struct list_buckets_op {
    struct bnd_catalog_call call;
    struct bnd_buf xml;
    uint64_t left; /* how many more may be listed */
    struct bnd_slice prefix;
    size_t after_len;
    uint8_t after[BND_BUCKET_NAME_MAX];
};

static struct list_buckets_op *list_of(struct s3_request *request) {
    return S3_OP(request, struct list_buckets_op);
}

/* Writes what the key may see, and remembers the last name. BND_CORRUPT. */
static int write_buckets(struct s3_request *request, struct bnd_reader *r, uint32_t count) {
    struct list_buckets_op *op = list_of(request);
    for (uint32_t i = 0; i < count; i++) {
        struct bnd_bucket_record bucket;
        if (bnd_bucket_decode(bnd_read_bytes(r), &bucket) != 0 ||
            bucket.name.len > sizeof op->after) {
            return BND_CORRUPT;
        }
        op->after_len = bucket.name.len;
        memcpy(op->after, bucket.name.data, bucket.name.len);
        op->left -= op->left > 0 ? 1 : 0;
        if (request->restricted[0] != 0 &&
            !bnd_slice_eq(bucket.name, bnd_slice_str(request->restricted))) {
            continue; /* a key of one bucket sees no other */
        }
        s3_xml_open(&op->xml, "Bucket");
        s3_xml_element(&op->xml, "Name", bucket.name);
        s3_xml_time(&op->xml, "CreationDate", bucket.created_ms);
        s3_xml_close(&op->xml, "Bucket");
    }
    return bnd_reader_done(r) ? 0 : BND_CORRUPT;
}

static void write_owner(const struct s3_request *request, struct bnd_buf *xml) {
    const struct bnd_catalog_view *view = bnd_catalog_view(catalog_of(request));
    struct bnd_slice account = view == NULL ? bnd_slice(NULL, 0) : view->settings.account;
    s3_xml_open(xml, "Owner");
    s3_xml_element(xml, "ID", account);
    s3_xml_element(xml, "DisplayName", account);
    s3_xml_close(xml, "Owner");
}

static void ask_buckets(struct s3_request *request);

static void on_buckets(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct s3_request *request = call->data;
    struct list_buckets_op *op = list_of(request);
    struct bnd_reader r = bnd_reader(reply);
    bool more = bnd_read_u8(&r) != 0;
    uint32_t count = bnd_read_u32(&r);
    status = status != 0 ? status : write_buckets(request, &r, count);
    if (status != 0) {
        s3_fail_code(request, status);
        return;
    }
    more = more && count > 0;
    if (more && op->left > 0) {
        ask_buckets(request);
        return;
    }
    s3_xml_close(&op->xml, "Buckets");
    if (more) {
        s3_xml_element(&op->xml, "ContinuationToken", bnd_slice(op->after, op->after_len));
    }
    s3_xml_close(&op->xml, "ListAllMyBucketsResult");
    struct bnd_buf xml = op->xml;
    op->xml = (struct bnd_buf){0};
    s3_respond_xml(request, &xml);
    bnd_buf_free(&xml);
}

static void ask_buckets(struct s3_request *request) {
    struct list_buckets_op *op = list_of(request);
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKETS,
                                      .number = op->left < BUCKETS_PAGE ? op->left : BUCKETS_PAGE,
                                      .a = op->prefix,
                                      .b = bnd_slice(op->after, op->after_len)};
    op->call = (struct bnd_catalog_call){.cb = on_buckets, .data = request};
    int rv = bnd_catalog_read(catalog_of(request), &op->call, &query, 0);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

/* Clients made before S3 listed buckets in pages ask for no number: they get BUCKETS_MAX at once.
 */
static void run_list_buckets(struct s3_request *request) {
    struct list_buckets_op *op = list_of(request);
    struct bnd_slice after = s3_query_get(&request->query, "continuation-token");
    op->left = BUCKETS_MAX;
    op->prefix = s3_query_get(&request->query, "prefix");
    if (!s3_query_number(&request->query, "max-buckets", BUCKETS_MAX, &op->left) || op->left == 0 ||
        op->prefix.len > BND_BUCKET_NAME_MAX || after.len > BND_BUCKET_NAME_MAX) {
        s3_fail(request, S3_InvalidArgument, NULL);
        return;
    }
    op->after_len = after.len;
    if (after.len > 0) {
        memcpy(op->after, after.data, after.len);
    }
    s3_xml_begin(&op->xml, "ListAllMyBucketsResult");
    write_owner(request, &op->xml);
    s3_xml_open(&op->xml, "Buckets");
    ask_buckets(request);
}

static void clean_list_buckets(struct s3_request *request) {
    bnd_buf_free(&list_of(request)->xml);
}

/* ---- CreateBucket
 * --------------------------------------------------------------------------------------- */

static void on_created(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct s3_request *request = call->data;
    struct bnd_bucket_record bucket;
    bool exists = status == BND_EXISTS;
    status = status != 0 && !exists ? status : bnd_bucket_decode(reply, &bucket);
    if (status != 0) {
        s3_fail_code(request, status);
        return;
    }
    if (exists && bucket.state == BND_BUCKET_ACTIVE) {
        s3_fail(request, S3_BucketAlreadyOwnedByYou, NULL);
        return;
    }
    if (exists) {
        s3_fail(request, S3_ServiceUnavailable, "The bucket is being deleted; try again.");
        return;
    }
    bnd_catalog_bucket_learn(catalog_of(request), &bucket);
    s3_reply_printf(&request->reply, "Location", "/%.*s", (int)bucket.name.len,
                    (const char *)bucket.name.data);
    s3_respond(request, 200, bnd_slice(NULL, 0));
}

/* A LocationConstraint in the body is R2's hint of a place, of which this cluster has one: it is
 * not read. */
static void run_create_bucket(struct s3_request *request) {
    struct bnd_slice text = s3_header(request, SEGMENTS_HEADER);
    uint64_t segments = 0;
    if (text.data != NULL && (!s3_decimal(text, &segments) || segments > SEGMENTS_MAX)) {
        s3_fail(request, S3_InvalidArgument, SEGMENTS_HEADER " must be a number from 0 to 16.");
        return;
    }
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_BUCKET_CREATE, .number = segments, .a = request->target.bucket};
    request->call = (struct bnd_catalog_call){.cb = on_created, .data = request};
    int rv = bnd_catalog_write(catalog_of(request), &request->call, &command, 0);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

/* ---- HeadBucket, GetBucketLocation
 * ---------------------------------------------------------------------- */

static void answer_head(struct s3_request *request) {
    s3_reply_text(&request->reply, "x-amz-bucket-region", bnd_slice_str("auto"));
    s3_respond(request, 200, bnd_slice(NULL, 0));
}

static void run_head_bucket(struct s3_request *request) {
    s3_missing(request, S3_OK, answer_head);
}

static void answer_location(struct s3_request *request) {
    BND_AUTO_BUF struct bnd_buf xml = {0};
    s3_xml_begin(&xml, "LocationConstraint");
    s3_xml_text(&xml, bnd_slice_str("auto"));
    s3_xml_close(&xml, "LocationConstraint");
    s3_respond_xml(request, &xml);
}

static void run_location(struct s3_request *request) {
    s3_missing(request, S3_OK, answer_location);
}

/* ---- DeleteBucket
 * --------------------------------------------------------------------------------------- */

static void on_deleted(struct bnd_bucket_delete *del, int status) {
    struct s3_request *request = del->data;
    if (status == 0) {
        s3_respond(request, 204, bnd_slice(NULL, 0));
    } else if (status == BND_NOTEMPTY) {
        s3_fail(request, S3_BucketNotEmpty, NULL);
    } else if (status == BND_NOTFOUND) {
        s3_fail(request, S3_NoSuchBucket, NULL);
    } else {
        s3_fail_code(request, status);
    }
}

static void run_delete_bucket(struct s3_request *request) {
    struct bnd_bucket_delete *del = S3_OP(request, struct bnd_bucket_delete);
    del->cb = on_deleted;
    del->data = request;
    int rv = bnd_bucket_delete(request->service->services, del, request->target.bucket);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

const struct s3_step s3_step_list_buckets = {run_list_buckets, clean_list_buckets,
                                             BND_PERM_OBJECT_READ, false};
const struct s3_step s3_step_create_bucket = {run_create_bucket, NULL, BND_PERM_BUCKET_ADMIN,
                                              false};
const struct s3_step s3_step_head_bucket = {run_head_bucket, NULL, BND_PERM_OBJECT_READ, true};
const struct s3_step s3_step_delete_bucket = {run_delete_bucket, NULL, BND_PERM_BUCKET_ADMIN,
                                              false};
const struct s3_step s3_step_bucket_location = {run_location, NULL, BND_PERM_OBJECT_READ, true};
