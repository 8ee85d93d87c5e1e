/* Fields and metadata of objects, from headers and back. */
#include "gateway/s3/fields.h"

#include "gateway/date.h"
#include "gateway/s3/base64.h"
#include "gateway/s3/digest.h"
#include "gateway/s3/xml_write.h"

#include <stdio.h>

#define META_PREFIX "x-amz-meta-"
#define META_PREFIX_LEN (sizeof META_PREFIX - 1)

static enum s3_error read_field(const struct bnd_http_head *head, const char *name,
                                struct bnd_slice *out, const char **why) {
    size_t from = 0;
    const struct bnd_http_header *field =
        bnd_http_head_find(head->headers, head->header_count, name, &from);
    if (field == NULL || field->value.len == 0) {
        return S3_OK;
    }
    if (field->value.len > BND_OBJECT_FIELD_MAX) {
        *why = "A header of the object is longer than 2,048 bytes.";
        return S3_InvalidArgument;
    }
    *out = field->value;
    return S3_OK;
}

/* Takes "aws-chunked" out of a list of codings: it is how the body travels, not what it is. */
static void strip_chunked(struct bnd_slice *encoding) {
    struct bnd_slice chunked = bnd_slice_str("aws-chunked");
    struct bnd_slice text = *encoding;
    if (text.len < chunked.len ||
        !bnd_http_text_is(bnd_slice(text.data, chunked.len), "aws-chunked")) {
        return;
    }
    size_t at = chunked.len;
    while (at < text.len && (text.data[at] == ' ' || text.data[at] == ',')) {
        at++;
    }
    if (at == text.len) {
        *encoding = bnd_slice(NULL, 0);
    } else if (at > chunked.len) {
        *encoding = bnd_slice(text.data + at, text.len - at);
    }
}

static enum s3_error read_storage_class(struct bnd_object_fields *fields, const char **why) {
    struct bnd_slice class = fields->storage_class;
    if (class.data == NULL || bnd_slice_eq(class, bnd_slice_str("STANDARD"))) {
        fields->storage_class = bnd_slice(NULL, 0);
        return S3_OK;
    }
    *why = s3_error_message(S3_InvalidStorageClass);
    return bnd_slice_eq(class, bnd_slice_str("STANDARD_IA")) ? S3_OK : S3_InvalidStorageClass;
}

/* The custom metadata, names in lower case; equal names are one list, as in HTTP. */
static enum s3_error read_custom(const struct bnd_http_head *head, struct bnd_buf *space,
                                 struct bnd_object_fields *out, const char **why) {
    size_t bytes = 0;
    size_t begin = space->len;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct bnd_http_header *field = &head->headers[i];
        if (field->name.len <= META_PREFIX_LEN ||
            !bnd_http_text_is(bnd_slice(field->name.data, META_PREFIX_LEN), META_PREFIX)) {
            continue;
        }
        uint8_t name[256];
        size_t len = field->name.len - META_PREFIX_LEN;
        bytes += len + field->value.len;
        if (len > sizeof name || bytes > BND_OBJECT_CUSTOM_MAX) {
            *why = s3_error_message(S3_MetadataTooLarge);
            return S3_MetadataTooLarge;
        }
        for (size_t k = 0; k < len; k++) {
            uint8_t c = field->name.data[META_PREFIX_LEN + k];
            name[k] = c >= 'A' && c <= 'Z' ? c | 32 : c;
        }
        bnd_object_custom_add(space, bnd_slice(name, len), field->value);
    }
    if (space->failed) {
        *why = s3_error_message(S3_ServiceUnavailable);
        return S3_ServiceUnavailable;
    }
    if (space->len > begin) {
        out->custom = bnd_slice(space->data + begin, space->len - begin);
    }
    return S3_OK;
}

enum s3_error s3_fields_read(const struct bnd_http_head *head, struct bnd_buf *space,
                             struct bnd_object_fields *out, const char **why) {
    *out = bnd_object_fields_none();
    const struct {
        const char *name;
        struct bnd_slice *field;
    } fields[] = {
        {"content-type", &out->content_type},
        {"content-language", &out->content_language},
        {"content-disposition", &out->content_disposition},
        {"content-encoding", &out->content_encoding},
        {"cache-control", &out->cache_control},
        {"x-amz-storage-class", &out->storage_class},
    };
    enum s3_error error = S3_OK;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && error == S3_OK; i++) {
        error = read_field(head, fields[i].name, fields[i].field, why);
    }
    error = error != S3_OK ? error : read_storage_class(out, why);
    error = error != S3_OK ? error : read_custom(head, space, out, why);
    if (error == S3_OK) {
        size_t from = 0;
        const struct bnd_http_header *expires =
            bnd_http_head_find(head->headers, head->header_count, "expires", &from);
        strip_chunked(&out->content_encoding);
        if (expires != NULL) {
            (void)gateway_date_parse(expires->value,
                                     &out->cache_expiry_ms); /* "0" is no date: none */
        }
    }
    return error;
}

static void write_custom(struct bnd_slice custom, struct s3_reply *reply) {
    struct bnd_reader reader = bnd_reader(custom);
    struct bnd_slice name;
    struct bnd_slice value;
    uint64_t missing = 0;
    while (bnd_object_custom_next(&reader, &name, &value)) {
        char *place = s3_reply_space(reply, META_PREFIX_LEN + name.len);
        if (place == NULL) {
            return;
        }
        memcpy(place, META_PREFIX, META_PREFIX_LEN);
        memcpy(place + META_PREFIX_LEN, name.data, name.len);
        missing +=
            !s3_reply_add(reply, bnd_slice(place, META_PREFIX_LEN + name.len), value) ? 1 : 0;
    }
    if (missing > 0) {
        s3_reply_number(reply, "x-amz-missing-meta", missing);
    }
}

void s3_fields_write(const struct bnd_object_fields *fields, struct s3_reply *reply) {
    const struct {
        const char *name;
        struct bnd_slice value;
    } known[] = {
        {"Content-Language", fields->content_language},
        {"Content-Disposition", fields->content_disposition},
        {"Content-Encoding", fields->content_encoding},
        {"Cache-Control", fields->cache_control},
        {"x-amz-storage-class", fields->storage_class},
    };
    s3_reply_text(reply, "Content-Type",
                  fields->content_type.data == NULL ? bnd_slice_str("application/octet-stream")
                                                    : fields->content_type);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].value.data != NULL) {
            s3_reply_text(reply, known[i].name, known[i].value);
        }
    }
    if (fields->cache_expiry_ms != BND_OBJECT_NO_TIME) {
        char date[GATEWAY_DATE_TEXT];
        gateway_date_http(fields->cache_expiry_ms, date);
        s3_reply_printf(reply, "Expires", "%s", date);
    }
    write_custom(fields->custom, reply);
}

void s3_checksums_write(const struct bnd_object_meta *meta, struct s3_reply *reply) {
    bool composite = false;
    bool any = false;
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        BND_AUTO_BUF struct bnd_buf text = {0};
        if ((meta->checksums.present & 1u << kind) == 0 || s3_checksum_header(kind) == NULL) {
            continue;
        }
        s3_base64_encode(&text, bnd_slice(meta->checksums.value[kind], bnd_checksum_bytes(kind)),
                         false);
        bool parts = (meta->checksums.composite & 1u << kind) != 0;
        char count[16] = "";
        if (parts) {
            (void)snprintf(count, sizeof count, "-%u", meta->parts);
        }
        if (!text.failed) {
            s3_reply_printf(reply, s3_checksum_header(kind), "%.*s%s", (int)text.len, text.data,
                            count);
        }
        composite = composite || parts;
        any = true;
    }
    if (any) {
        s3_reply_text(reply, "x-amz-checksum-type",
                      bnd_slice_str(composite ? "COMPOSITE" : "FULL_OBJECT"));
    }
}
