/* The parameters of a request, decoded once. */
#include "gateway/s3/query.h"

enum s3_error s3_query_parse(struct bnd_slice raw, uint8_t *space, struct s3_query *out,
                             const char **why) {
    struct bnd_slice name;
    struct bnd_slice value;
    out->count = 0;
    while (bnd_http_query_next(&raw, &name, &value, NULL)) {
        size_t name_len = 0;
        size_t value_len = 0;
        if (out->count == S3_PARAMETERS_MAX) {
            *why = "The request has too many query parameters.";
            return S3_InvalidArgument;
        }
        if (bnd_http_percent_decode(name, BND_HTTP_DECODE_PLUS, space, &name_len) != 0 ||
            bnd_http_percent_decode(value, BND_HTTP_DECODE_PLUS, space + name_len, &value_len) !=
                0) {
            *why = "A query parameter has a broken percent escape.";
            return S3_InvalidArgument;
        }
        name = bnd_slice(space, name_len);
        value = bnd_slice(space + name_len, value_len);
        space += name_len + value_len;
        for (size_t i = 0; i < out->count; i++) {
            if (bnd_slice_eq(out->items[i].name, name)) {
                *why = "A query parameter was given twice.";
                return S3_InvalidArgument;
            }
        }
        out->items[out->count].name = name;
        out->items[out->count].value = value;
        out->count++;
    }
    return S3_OK;
}

struct bnd_slice s3_query_get(const struct s3_query *query, const char *name) {
    struct bnd_slice wanted = bnd_slice_str(name);
    for (size_t i = 0; i < query->count; i++) {
        if (bnd_slice_eq(query->items[i].name, wanted)) {
            return query->items[i].value;
        }
    }
    return bnd_slice(NULL, 0);
}

bool s3_query_has(const struct s3_query *query, const char *name) {
    return s3_query_get(query, name).data != NULL;
}

bool s3_decimal(struct bnd_slice text, uint64_t *out) {
    uint64_t value = 0;
    if (text.len == 0 || text.len > 18) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

bool s3_query_number(const struct s3_query *query, const char *name, uint64_t max, uint64_t *out) {
    struct bnd_slice text = s3_query_get(query, name);
    uint64_t value = 0;
    if (text.len == 0) {
        return true;
    }
    if (!s3_decimal(text, &value)) {
        return false;
    }
    *out = value < max ? value : max;
    return true;
}
