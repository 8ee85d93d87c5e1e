/* From a bucket's name to its id, and the truth behind "not found".
 *
 * A remembered bucket may have been deleted, and even made anew under another id. So its absence is
 * only ever told after group 0 was asked within the request; and where an answer could come from an
 * old id - something is missing, empty or sealed - group 0 is asked before it is given. */
#include "gateway/s3/s3_private.h"

struct bnd_bucket_ref s3_bucket_ref(const struct s3_request *request) {
    return (struct bnd_bucket_ref){.id = request->bucket.id, .segments = request->bucket.segments};
}

struct bnd_object_name s3_object_name(const struct s3_request *request) {
    return (struct bnd_object_name){.bucket = s3_bucket_ref(request), .key = request->target.key};
}

static void on_bucket(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct s3_request *request = call->data;
    struct bnd_catalog *catalog = request->service->services->catalog;
    struct bnd_bucket_record bucket;
    request->bucket_asked = true;
    if (status == BND_NOTFOUND) {
        request->bucket_found(request, NULL);
        return;
    }
    if (status == 0) {
        status = bnd_bucket_decode(reply, &bucket);
    }
    if (status != 0) {
        s3_fail_code(request, status);
        return;
    }
    bnd_catalog_bucket_learn(catalog, &bucket);
    request->bucket_found(request, &bucket);
}

static void ask(struct s3_request *request, struct bnd_slice name) {
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKET, .a = name};
    request->call = (struct bnd_catalog_call){.cb = on_bucket, .data = request};
    int rv = bnd_catalog_read(request->service->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

void s3_bucket_find(struct s3_request *request, struct bnd_slice name, bool fresh,
                    void (*found)(struct s3_request *request,
                                  const struct bnd_bucket_record *bucket)) {
    struct bnd_catalog_bucket known;
    request->bucket_found = found;
    request->bucket_asked = false;
    if (!fresh && bnd_catalog_bucket_known(request->service->services->catalog, name, &known)) {
        struct bnd_bucket_record record = {.id = known.id,
                                           .state = BND_BUCKET_ACTIVE,
                                           .segments = known.segments,
                                           .created_ms = known.created_ms,
                                           .name = name};
        found(request, &record);
        return;
    }
    ask(request, name);
}

void s3_bucket_take(struct s3_request *request, const struct bnd_bucket_record *bucket) {
    request->bucket = (struct bnd_catalog_bucket){
        .id = bucket->id, .segments = bucket->segments, .created_ms = bucket->created_ms};
    request->bucket_fresh = request->bucket_asked;
}

static void gone(struct s3_request *request) {
    bnd_catalog_bucket_forget(request->service->services->catalog, request->target.bucket);
    s3_fail(request, S3_NoSuchBucket, NULL);
}

static void stay(struct s3_request *request) {
    if (request->missing_same != NULL) {
        request->missing_same(request);
    } else {
        s3_fail(request, request->missing, NULL);
    }
}

static void on_verified(struct s3_request *request, const struct bnd_bucket_record *bucket) {
    if (bucket == NULL) {
        gone(request);
        return;
    }
    bool same = bucket->id == request->bucket.id;
    s3_bucket_take(request, bucket);
    if (same) {
        stay(request);
        return;
    }
    if (request->http->body_received > 0) {
        s3_fail(request, S3_ServiceUnavailable, NULL); /* the body is spent; the id is known now */
        return;
    }
    if (request->step->clean != NULL) {
        request->step->clean(request);
    }
    memset(request->op, 0, sizeof request->op);
    s3_reply_free(&request->reply);
    request->reply = (struct s3_reply){0};
    request->step->run(request);
}

void s3_missing(struct s3_request *request, enum s3_error error,
                void (*same)(struct s3_request *request)) {
    request->missing = error;
    request->missing_same = same;
    if (request->bucket_fresh) {
        stay(request);
    } else {
        s3_bucket_find(request, request->target.bucket, true, on_verified);
    }
}

static void on_locked(struct s3_request *request, const struct bnd_bucket_record *bucket) {
    if (bucket == NULL) {
        gone(request);
    } else {
        /* Being deleted, or made anew since: either is over soon, and the body is spent. */
        s3_fail(request, S3_ServiceUnavailable, "The bucket is being deleted; try again.");
    }
}

void s3_locked(struct s3_request *request) {
    s3_bucket_find(request, request->target.bucket, true, on_locked);
}
