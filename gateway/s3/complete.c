/* CompleteMultipartUpload.
 *
 *   XML -> the upload's parts, page by page: their checksums -> complete
 *
 * What the object is, is decided in the objects service's state machine, in one entry; the pages
 * are read before only for the checksum of the whole, which is made of those of the parts: joined
 * CRCs (FULL_OBJECT) or the checksum of the parts' checksums (COMPOSITE). A part that is replaced
 * in between has another etag, and the entry refuses it. */
#include "base/alloc.h"
#include "base/assert.h"
#include "gateway/s3/base64.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/put.h"
#include "gateway/s3/xml_read.h"
#include "gateway/s3/xml_write.h"

#include <stddef.h>
#include <stdio.h>

/* A part as the client lists it. */
struct listed_part {
    uint32_t number; /* 0: none read yet */
    bool has_etag;
    enum bnd_checksum kind; /* BND_CHECKSUM_COUNT: no checksum given */
    uint8_t etag_md5[16];
    uint8_t checksum[32];
};

struct complete_op {
    struct s3_xml_body xml; /* first: xml_read.c finds it */
    struct bnd_multipart_complete complete;
    struct bnd_multipart_parts pages;
    struct bnd_multipart_complete_options options;
    struct bnd_buf listed;   /* of struct listed_part */
    struct listed_part part; /* being read */
    struct bnd_multipart_part_ref *refs;
    size_t count;
    size_t matched;         /* listed parts whose stored checksum has been taken */
    enum bnd_checksum kind; /* the upload's; BND_CHECKSUM_COUNT: none, or not of every part */
    bool composite;
    struct s3_digest digest; /* of the parts' checksums */
    uint8_t joined[8];       /* the CRC of the parts so far */
    struct s3_conditions conditions;
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
};

static struct complete_op *op_of(struct s3_request *request) {
    return S3_OP(request, struct complete_op);
}

static const struct listed_part *listed(const struct complete_op *op, size_t i) {
    return (const struct listed_part *)(const void *)op->listed.data + i;
}

/* ---- the list
 * ----------------------------------------------------------------------------------- */

static void reset_part(struct complete_op *op) {
    op->part = (struct listed_part){.kind = BND_CHECKSUM_COUNT};
}

static int end_part(struct complete_op *op) {
    if (op->part.number == 0 || !op->part.has_etag || op->count == BND_OBJECT_PARTS_MAX) {
        return BND_INVALID;
    }
    bnd_buf_append(&op->listed, &op->part, sizeof op->part);
    op->count++;
    reset_part(op);
    return op->listed.failed ? BND_NOMEM : 0;
}

static int read_etag(struct complete_op *op, struct bnd_slice text) {
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"') {
        text = bnd_slice(text.data + 1, text.len - 2);
    }
    if (bnd_hex_decode(text, op->part.etag_md5, sizeof op->part.etag_md5) != 0) {
        memset(op->part.etag_md5, 0, sizeof op->part.etag_md5); /* none of ours: matches no part */
    }
    op->part.has_etag = true;
    return 0;
}

static int read_checksum(struct complete_op *op, const char *element, struct bnd_slice text) {
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        const char *name = s3_checksum_element(kind);
        if (name == NULL || strcmp(element, name) != 0) {
            continue;
        }
        BND_ASSERT(bnd_checksum_bytes(kind) <= sizeof op->part.checksum);
        op->part.kind = kind;
        return s3_base64_decode_exact(text, op->part.checksum, bnd_checksum_bytes(kind))
                   ? 0
                   : BND_INVALID;
    }
    return 0; /* elements of later versions of S3 */
}

static int on_element(void *data, const char *path, struct bnd_slice text) {
    static const char root[] = "CompleteMultipartUpload";
    static const char part[] = "CompleteMultipartUpload/Part/";
    struct complete_op *op = data;
    uint64_t number = 0;
    if (strncmp(path, part, sizeof part - 1) == 0) {
        const char *element = path + sizeof part - 1;
        if (strcmp(element, "PartNumber") == 0) {
            bool good = s3_decimal(text, &number) && number >= 1 && number <= BND_OBJECT_PARTS_MAX;
            op->part.number = good ? (uint32_t)number : 0;
            return good ? 0 : BND_INVALID;
        }
        return strcmp(element, "ETag") == 0 ? read_etag(op, text)
                                            : read_checksum(op, element, text);
    }
    if (strcmp(path, "CompleteMultipartUpload/Part") == 0) {
        return end_part(op);
    }
    return strncmp(path, root, sizeof root - 1) == 0 ? 0 : BND_INVALID;
}

/* ---- the answer
 * --------------------------------------------------------------------------------- */

void s3_checksums_element(const struct bnd_object_checksums *checksums, uint32_t parts,
                          struct bnd_buf *xml) {
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        const char *name = s3_checksum_element(kind);
        if ((checksums->present & 1u << kind) == 0 || name == NULL) {
            continue;
        }
        s3_xml_open(xml, name);
        s3_base64_encode(xml, bnd_slice(checksums->value[kind], bnd_checksum_bytes(kind)), false);
        if ((checksums->composite & 1u << kind) != 0) {
            bnd_buf_printf(xml, "-%u", parts);
        }
        s3_xml_close(xml, name);
    }
}

static void respond(struct s3_request *request, const struct bnd_object *object) {
    const struct complete_op *op = op_of(request);
    BND_AUTO_BUF struct bnd_buf xml = {0};
    char etag[BND_OBJECT_ETAG_TEXT];
    bnd_object_etag_text(&object->meta, etag);
    s3_xml_begin(&xml, "CompleteMultipartUploadResult");
    s3_xml_open(&xml, "Location");
    bnd_buf_append_str(&xml, "/");
    s3_xml_text(&xml, request->target.bucket);
    bnd_buf_append_str(&xml, "/");
    s3_xml_text(&xml, request->target.key);
    s3_xml_close(&xml, "Location");
    s3_xml_element(&xml, "Bucket", request->target.bucket);
    s3_xml_element(&xml, "Key", request->target.key);
    bnd_buf_printf(&xml, "<ETag>&quot;%s&quot;</ETag>", etag);
    s3_checksums_element(&op->options.checksums, (uint32_t)op->count, &xml);
    if (op->options.checksums.present != 0) {
        s3_xml_string(&xml, "ChecksumType", op->composite ? "COMPOSITE" : "FULL_OBJECT");
    }
    s3_xml_close(&xml, "CompleteMultipartUploadResult");
    s3_respond_xml(request, &xml);
}

static void on_completed(struct bnd_multipart_complete *complete, int status,
                         struct bnd_object *object, uint32_t out_part) {
    struct s3_request *request = complete->data;
    switch (status) {
    case 0:
        respond(request, object);
        return;
    case BND_INVALID:
        s3_fail(request, S3_InvalidPart, NULL);
        return;
    case BND_RANGE:
        s3_fail(request, S3_EntityTooSmall, NULL);
        return;
    case BND_PRECONDITION:
        s3_missing(request, S3_PreconditionFailed, NULL);
        return;
    default:
        s3_fail_upload(request, status);
    }
}

static void complete(struct s3_request *request) {
    struct complete_op *op = op_of(request);
    op->refs = bnd_calloc(op->count, sizeof *op->refs);
    if (op->refs == NULL) {
        s3_fail_code(request, BND_NOMEM);
        return;
    }
    for (size_t i = 0; i < op->count; i++) {
        op->refs[i].number = listed(op, i)->number;
        memcpy(op->refs[i].etag_md5, listed(op, i)->etag_md5, sizeof op->refs[i].etag_md5);
    }
    op->options.name = s3_object_name(request);
    op->options.upload_id = op->upload_id;
    op->options.parts = op->refs;
    op->options.count = op->count;
    op->options.part_min = BND_OBJECT_PART_MIN;
    op->options.conditions = op->conditions.conditions;
    op->complete = (struct bnd_multipart_complete){.cb = on_completed, .data = request};
    int rv =
        bnd_multipart_complete(request->service->services->objects, &op->complete, &op->options);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

/* ---- the checksum of the whole
 * ------------------------------------------------------------------ */

/* What the client says of the whole, in a header: of a composite one, "<base64>-<parts>". */
static bool as_client_says(struct s3_request *request) {
    const struct complete_op *op = op_of(request);
    struct bnd_slice text = s3_header(request, s3_checksum_header(op->kind));
    uint8_t value[BND_CHECKSUM_BYTES_MAX];
    size_t len = bnd_checksum_bytes(op->kind);
    if (text.data == NULL) {
        return true;
    }
    const uint8_t *dash = memchr(text.data, '-', text.len);
    if (dash != NULL) {
        text.len = (size_t)(dash - text.data);
    }
    return s3_base64_decode_exact(text, value, len) &&
           memcmp(value, op->options.checksums.value[op->kind], len) == 0;
}

static void end_parts(struct s3_request *request) {
    struct complete_op *op = op_of(request);
    if (op->kind == BND_CHECKSUM_COUNT || op->matched < op->count) {
        complete(request); /* a part is missing, or without checksum: the entry decides */
        return;
    }
    struct bnd_object_checksums *sums = &op->options.checksums;
    if (op->composite) {
        s3_digest_final(&op->digest, sums);
        sums->composite = sums->present;
    } else {
        memcpy(sums->value[op->kind], op->joined, bnd_checksum_bytes(op->kind));
        sums->present = (uint8_t)(1u << op->kind);
    }
    if (!as_client_says(request)) {
        s3_fail(request, S3_BadDigest, NULL);
        return;
    }
    complete(request);
}

/* Takes the checksum of a stored part that is the next listed one. False: the client lists another
 * checksum for it. */
static bool take_part(struct complete_op *op, const struct bnd_multipart_part *part) {
    const struct listed_part *wanted = listed(op, op->matched);
    const uint8_t *value = part->checksums.value[op->kind];
    size_t len = bnd_checksum_bytes(op->kind);
    if (part->number != wanted->number) {
        return true;
    }
    if ((part->checksums.present & 1u << op->kind) == 0) {
        op->kind = BND_CHECKSUM_COUNT; /* uploaded without one: the object has none either */
        return true;
    }
    if (wanted->kind == op->kind && memcmp(wanted->checksum, value, len) != 0) {
        return false;
    }
    if (op->composite) {
        s3_digest_update(&op->digest, bnd_slice(value, len));
    } else if (op->matched == 0) {
        memcpy(op->joined, value, len);
    } else {
        s3_crc_join(op->kind, op->joined, value, part->size);
    }
    op->matched++;
    return true;
}

static bool joinable(enum bnd_checksum kind) {
    return kind == BND_CHECKSUM_CRC32 || kind == BND_CHECKSUM_CRC32C ||
           kind == BND_CHECKSUM_CRC64NVME;
}

/* What the upload was begun with. */
static int begin_checksum(struct complete_op *op, const struct bnd_multipart_parts_page *page) {
    if (page->checksum == 0) {
        return 0;
    }
    op->kind = (enum bnd_checksum)__builtin_ctz(page->checksum);
    op->composite = page->composite || !joinable(op->kind);
    return op->composite ? s3_digest_init(&op->digest, 1u << op->kind) : 0;
}

static void ask_parts(struct s3_request *request, uint32_t after);

static void on_parts(struct bnd_multipart_parts *pages, int status,
                     const struct bnd_multipart_parts_page *page) {
    struct s3_request *request = pages->data;
    struct complete_op *op = op_of(request);
    bool first = op->kind == BND_CHECKSUM_COUNT;
    status = status == 0 && first ? begin_checksum(op, page) : status;
    if (status != 0) {
        s3_fail_upload(request, status);
        return;
    }
    for (size_t i = 0; i < page->count; i++) {
        if (op->kind == BND_CHECKSUM_COUNT || op->matched == op->count) {
            break;
        }
        if (!take_part(op, &page->parts[i])) {
            s3_fail(request, S3_InvalidPart, NULL);
            return;
        }
    }
    if (op->kind != BND_CHECKSUM_COUNT && op->matched < op->count && page->truncated &&
        page->count > 0) {
        ask_parts(request, page->parts[page->count - 1].number);
    } else {
        end_parts(request);
    }
}

static void ask_parts(struct s3_request *request, uint32_t after) {
    struct complete_op *op = op_of(request);
    struct bnd_multipart_parts_options options = {.name = s3_object_name(request),
                                                  .upload_id = op->upload_id,
                                                  .after = after,
                                                  .limit = BND_OBJECT_LIST_MAX};
    op->pages = (struct bnd_multipart_parts){.cb = on_parts, .data = request};
    int rv = bnd_multipart_parts(request->service->services->objects, &op->pages, &options);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

/* ---- the request
 * -------------------------------------------------------------------------------- */

static bool ascending(const struct complete_op *op) {
    for (size_t i = 1; i < op->count; i++) {
        if (listed(op, i)->number <= listed(op, i - 1)->number) {
            return false;
        }
    }
    return true;
}

static void on_document(struct s3_request *request, struct bnd_slice document) {
    struct complete_op *op = op_of(request);
    reset_part(op);
    op->kind = BND_CHECKSUM_COUNT;
    int rv = s3_xml_parse(document, on_element, op);
    if (rv == BND_INVALID || (rv == 0 && op->count == 0)) {
        s3_fail(request, S3_MalformedXML, NULL);
    } else if (rv != 0) {
        s3_fail_code(request, rv);
    } else if (!ascending(op)) {
        s3_fail(request, S3_InvalidPartOrder, NULL);
    } else {
        ask_parts(request, 0);
    }
}

static void run(struct s3_request *request) {
    struct complete_op *op = op_of(request);
    const char *why = NULL;
    if (bnd_object_id_parse(s3_query_get(&request->query, "uploadId"), op->upload_id) != 0) {
        s3_missing(request, S3_NoSuchUpload, NULL);
        return;
    }
    enum s3_error error = s3_conditions_read(request->http->head, "", &op->conditions, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    op->xml.body.list_of_parts = true; /* x-amz-checksum-* is of the object, not of the list */
    s3_xml_body_read(&op->xml, request, on_document);
}

static void clean(struct s3_request *request) {
    struct complete_op *op = op_of(request);
    s3_xml_body_close(&op->xml, request);
    s3_digest_free(&op->digest);
    bnd_buf_free(&op->listed);
    bnd_free(op->refs);
}

const struct s3_step s3_step_complete = {run, clean, BND_PERM_OBJECT_WRITE, true};
