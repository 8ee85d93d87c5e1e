/* If-* headers (RFC 9110 13.1) as conditions that the state machine decides. */
#include "gateway/s3/conditions.h"

#include "gateway/date.h"

#include <stdio.h>

static struct bnd_slice skip_blanks(struct bnd_slice text) {
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t' || text.data[0] == ',')) {
        text = bnd_slice(text.data + 1, text.len - 1);
    }
    return text;
}

/* Takes one entity tag; unquoted ones, as some clients send them, end at a comma or a blank. */
static bool next_etag(struct bnd_slice *text, struct bnd_etag *out) {
    struct bnd_slice rest = *text;
    out->kind = BND_ETAG_STRONG;
    if (rest.data[0] == '*') {
        *out = (struct bnd_etag){.kind = BND_ETAG_WILDCARD};
        *text = bnd_slice(rest.data + 1, rest.len - 1);
        return true;
    }
    if (bnd_slice_starts(rest, bnd_slice_str("W/\""))) {
        out->kind = BND_ETAG_WEAK;
        rest = bnd_slice(rest.data + 2, rest.len - 2);
    }
    bool quoted = rest.data[0] == '"';
    size_t at = quoted ? 1 : 0;
    while (at < rest.len && (quoted ? rest.data[at] != '"'
                                    : rest.data[at] != ',' && rest.data[at] != ' ' &&
                                          rest.data[at] != '\t' && rest.data[at] != '"')) {
        at++;
    }
    if (quoted && at == rest.len) {
        return false;
    }
    out->value = quoted ? bnd_slice(rest.data + 1, at - 1) : bnd_slice(rest.data, at);
    at += quoted ? 1 : 0;
    *text = bnd_slice(rest.data + at, rest.len - at);
    return at > 0;
}

/* All fields of that name are one list. */
static bool read_list(const struct bnd_http_head *head, const char *name, struct bnd_etag *etags,
                      size_t *out_count, bool *out_given) {
    const struct bnd_http_header *field;
    size_t from = 0;
    while ((field = bnd_http_head_find(head->headers, head->header_count, name, &from)) != NULL) {
        struct bnd_slice text = skip_blanks(field->value);
        *out_given = true;
        while (text.len > 0) {
            if (*out_count == BND_OBJECT_ETAGS_MAX || !next_etag(&text, &etags[*out_count])) {
                return false;
            }
            (*out_count)++;
            text = skip_blanks(text);
        }
    }
    return true;
}

static void read_date(const struct bnd_http_head *head, const char *name, uint64_t add_ms,
                      uint64_t *out_ms) {
    size_t from = 0;
    uint64_t ms = 0;
    const struct bnd_http_header *field =
        bnd_http_head_find(head->headers, head->header_count, name, &from);
    if (field != NULL && gateway_date_parse(field->value, &ms)) {
        *out_ms = ms + add_ms;
    }
}

enum s3_error s3_conditions_read(const struct bnd_http_head *head, const char *prefix,
                                 struct s3_conditions *out, const char **why) {
    struct bnd_object_conditions *c = &out->conditions;
    char name[64];
    *c = bnd_object_conditions_none();
    c->match = out->match;
    c->not_match = out->not_match;
    c->seconds = true; /* what HTTP dates can say */
    *why = "A list of entity tags is not well formed.";
    (void)snprintf(name, sizeof name, "%sif-match", prefix);
    if (!read_list(head, name, out->match, &c->match_count, &c->match_given)) {
        return S3_InvalidArgument;
    }
    (void)snprintf(name, sizeof name, "%sif-none-match", prefix);
    if (!read_list(head, name, out->not_match, &c->not_match_count, &c->not_match_given)) {
        return S3_InvalidArgument;
    }
    (void)snprintf(name, sizeof name, "%sif-modified-since", prefix);
    read_date(head, name, 0, &c->uploaded_after_ms);
    (void)snprintf(name, sizeof name, "%sif-unmodified-since", prefix);
    read_date(head, name, 1000, &c->uploaded_before_ms); /* its own second passes */
    return S3_OK;
}

bool s3_conditions_any(const struct s3_conditions *conditions) {
    const struct bnd_object_conditions *c = &conditions->conditions;
    return c->match_given || c->not_match_given || c->uploaded_after_ms != BND_OBJECT_NO_TIME ||
           c->uploaded_before_ms != BND_OBJECT_NO_TIME;
}
