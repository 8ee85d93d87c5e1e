/* ListObjects, versions 1 and 2.
 *
 * Pages of the objects service become pages of S3: a page may hold less than max-keys and still be
 * truncated. Version 2's continuation token is the service's cursor as base64url; version 1's
 * marker is a plain key or prefix, so NextMarker is the last one given. */
#include "gateway/s3/base64.h"
#include "gateway/s3/digest.h"
#include "gateway/s3/s3_private.h"
#include "gateway/s3/xml_write.h"

struct list_op {
    struct bnd_object_list list;
    struct bnd_list_options options;
    struct bnd_buf cursor;
    struct bnd_buf xml; /* the answer, while the bucket is verified */
    bool v2;
    bool url;   /* encoding-type=url */
    bool owner; /* fetch-owner, and always in version 1 */
};

static struct list_op *op_of(struct s3_request *request) {
    return S3_OP(request, struct list_op);
}

static bool ends_with(struct bnd_slice text, struct bnd_slice end) {
    return end.len > 0 && text.len >= end.len &&
           memcmp(text.data + text.len - end.len, end.data, end.len) == 0;
}

static enum s3_error read_token(struct s3_request *request, const char **why) {
    struct list_op *op = op_of(request);
    struct bnd_slice token = s3_query_get(&request->query, "continuation-token");
    if (token.data == NULL) {
        op->options.after = s3_query_get(&request->query, "start-after");
        return S3_OK;
    }
    *why = "The continuation token provided is incorrect";
    if (token.len == 0 || !s3_base64_decode(token, true, &op->cursor) || op->cursor.failed ||
        op->cursor.len > BND_OBJECT_CURSOR_MAX) {
        return S3_InvalidArgument;
    }
    op->options.cursor = bnd_buf_slice(&op->cursor);
    return S3_OK;
}

static enum s3_error read_options(struct s3_request *request, const char **why) {
    struct list_op *op = op_of(request);
    const struct s3_query *query = &request->query;
    struct bnd_slice type = s3_query_get(query, "list-type");
    struct bnd_slice encoding = s3_query_get(query, "encoding-type");
    uint64_t limit = BND_OBJECT_LIST_MAX;
    op->options.bucket = s3_bucket_ref(request);
    op->options.prefix = s3_query_get(query, "prefix");
    op->options.delimiter = s3_query_get(query, "delimiter");
    op->v2 = bnd_slice_eq(type, bnd_slice_str("2"));
    op->url = bnd_slice_eq(encoding, bnd_slice_str("url"));
    op->owner = !op->v2 || bnd_slice_eq(s3_query_get(query, "fetch-owner"), bnd_slice_str("true"));
    if ((type.data != NULL && !op->v2) || (encoding.len > 0 && !op->url)) {
        *why = "list-type must be 2 and encoding-type must be url.";
        return S3_InvalidArgument;
    }
    if (!s3_query_number(query, "max-keys", BND_OBJECT_LIST_MAX, &limit)) {
        *why = "Provided max-keys not an integer or within integer range";
        return S3_InvalidArgument;
    }
    op->options.limit = (uint32_t)limit;
    if (op->options.prefix.len > BND_OBJECT_KEY_MAX ||
        op->options.delimiter.len > BND_OBJECT_KEY_MAX) {
        *why = s3_error_message(S3_KeyTooLongError);
        return S3_KeyTooLongError;
    }
    if (op->v2) {
        return read_token(request, why);
    }
    struct bnd_slice marker = s3_query_get(query, "marker");
    op->options.after = marker;
    /* A NextMarker that was a common prefix stands for all keys below it. */
    op->options.after_prefix = marker.len > op->options.prefix.len &&
                               bnd_slice_starts(marker, op->options.prefix) &&
                               ends_with(marker, op->options.delimiter);
    return S3_OK;
}

/* ---- the answer
 * ----------------------------------------------------------------------------------------- */

static int write_object(struct list_op *op, const struct bnd_list_item *item,
                        struct bnd_slice owner, struct bnd_buf *xml) {
    struct bnd_object_meta meta;
    char etag[BND_OBJECT_ETAG_TEXT];
    int rv = bnd_list_item_meta(item, &meta);
    if (rv != 0) {
        return rv;
    }
    bnd_object_etag_text(&meta, etag);
    s3_xml_open(xml, "Contents");
    s3_xml_key(xml, "Key", item->key, op->url);
    s3_xml_time(xml, "LastModified", meta.uploaded_ms);
    bnd_buf_printf(xml, "<ETag>&quot;%s&quot;</ETag>", etag);
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        if ((meta.checksums.present & 1u << kind) != 0 && s3_checksum_name(kind) != NULL) {
            s3_xml_string(xml, "ChecksumAlgorithm", s3_checksum_name(kind));
        }
    }
    s3_xml_number(xml, "Size", meta.size);
    if (meta.fields.storage_class.data == NULL) {
        s3_xml_string(xml, "StorageClass", "STANDARD");
    } else {
        s3_xml_element(xml, "StorageClass", meta.fields.storage_class);
    }
    if (op->owner) {
        s3_xml_open(xml, "Owner");
        s3_xml_element(xml, "ID", owner);
        s3_xml_element(xml, "DisplayName", owner);
        s3_xml_close(xml, "Owner");
    }
    s3_xml_close(xml, "Contents");
    return 0;
}

static void write_echo(struct s3_request *request, struct bnd_buf *xml) {
    struct list_op *op = op_of(request);
    s3_xml_begin(xml, "ListBucketResult");
    s3_xml_element(xml, "Name", request->target.bucket);
    s3_xml_key(xml, "Prefix", op->options.prefix, op->url);
    if (op->options.delimiter.len > 0) {
        s3_xml_key(xml, "Delimiter", op->options.delimiter, op->url);
    }
    s3_xml_number(xml, "MaxKeys", op->options.limit);
    if (op->url) {
        s3_xml_string(xml, "EncodingType", "url");
    }
    if (!op->v2) {
        s3_xml_key(xml, "Marker", op->options.after, op->url);
        return;
    }
    struct bnd_slice token = s3_query_get(&request->query, "continuation-token");
    if (token.data != NULL) {
        s3_xml_element(xml, "ContinuationToken", token);
    }
    if (s3_query_has(&request->query, "start-after")) {
        s3_xml_key(xml, "StartAfter", s3_query_get(&request->query, "start-after"), op->url);
    }
}

static void write_next(struct list_op *op, const struct bnd_list_page *page, struct bnd_buf *xml) {
    if (op->v2) {
        s3_xml_number(xml, "KeyCount", page->count);
    }
    s3_xml_bool(xml, "IsTruncated", page->truncated);
    if (!page->truncated) {
        return;
    }
    if (op->v2) {
        BND_AUTO_BUF struct bnd_buf token = {0};
        s3_base64_encode(&token, page->cursor, true);
        s3_xml_element(xml, "NextContinuationToken", bnd_buf_slice(&token));
        xml->failed = xml->failed || token.failed;
    } else if (page->count > 0) {
        s3_xml_key(xml, "NextMarker", page->items[page->count - 1].key, op->url);
    }
}

static int write_page(struct s3_request *request, const struct bnd_list_page *page,
                      struct bnd_buf *xml) {
    struct list_op *op = op_of(request);
    const struct bnd_catalog_view *view = bnd_catalog_view(request->service->services->catalog);
    struct bnd_slice owner = view == NULL ? bnd_slice(NULL, 0) : view->settings.account;
    write_echo(request, xml);
    write_next(op, page, xml);
    for (size_t i = 0; i < page->count; i++) {
        if (page->items[i].is_prefix) {
            s3_xml_open(xml, "CommonPrefixes");
            s3_xml_key(xml, "Prefix", page->items[i].key, op->url);
            s3_xml_close(xml, "CommonPrefixes");
            continue;
        }
        int rv = write_object(op, &page->items[i], owner, xml);
        if (rv != 0) {
            return rv;
        }
    }
    s3_xml_close(xml, "ListBucketResult");
    return xml->failed ? BND_NOMEM : 0;
}

static void respond(struct s3_request *request) {
    struct bnd_buf xml = op_of(request)->xml;
    op_of(request)->xml = (struct bnd_buf){0};
    s3_respond_xml(request, &xml);
    bnd_buf_free(&xml);
}

/* ---- asking
 * ----------------------------------------------------------------------------------------- */

static void ask(struct s3_request *request);

static void on_page(struct bnd_object_list *list, int status, const struct bnd_list_page *page) {
    struct s3_request *request = list->data;
    struct list_op *op = op_of(request);
    if (status != 0) {
        s3_fail_code(request, status);
        return;
    }
    if (page->truncated && page->count == 0) {
        /* Nothing that version 1 could name as a marker: go on, for the client's sake. */
        bnd_buf_reset(&op->cursor);
        bnd_buf_append_slice(&op->cursor, page->cursor);
        op->options.cursor = bnd_buf_slice(&op->cursor);
        if (op->cursor.failed) {
            s3_fail_code(request, BND_NOMEM);
        } else {
            ask(request);
        }
        return;
    }
    int rv = write_page(request, page, &op->xml);
    if (rv != 0) {
        s3_fail_code(request, rv);
    } else if (page->count == 0) {
        s3_missing(request, S3_OK, respond);
    } else {
        respond(request);
    }
}

static void ask(struct s3_request *request) {
    struct list_op *op = op_of(request);
    op->list = (struct bnd_object_list){.cb = on_page, .data = request};
    int rv = bnd_object_list(request->service->services->objects, &op->list, &op->options);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void run(struct s3_request *request) {
    struct list_op *op = op_of(request);
    const char *why = NULL;
    enum s3_error error = read_options(request, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    if (op->options.limit == 0) {
        struct bnd_list_page none = {0};
        int rv = write_page(request, &none, &op->xml);
        if (rv != 0) {
            s3_fail_code(request, rv);
        } else {
            s3_missing(request, S3_OK, respond);
        }
        return;
    }
    ask(request);
}

static void clean(struct s3_request *request) {
    bnd_buf_free(&op_of(request)->cursor);
    bnd_buf_free(&op_of(request)->xml);
}

const struct s3_step s3_step_list_objects = {run, clean, BND_PERM_OBJECT_READ, true};
