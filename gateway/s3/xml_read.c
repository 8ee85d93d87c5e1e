/* XML requests, by expat with every feature that a request has no need of refused: document types
 * (so entities), depth, size.
 *
 * Invariant: `path` names the open elements, and `ends` where each begins in it. After a stop
 * nothing changes: expat still tells the end of an empty element whose start was refused. */
#include "gateway/s3/xml_read.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <expat.h>
#include <stddef.h>

enum { DEPTH_MAX = 6, NAME_MAX_LEN = 64, PATH_MAX_LEN = DEPTH_MAX * (NAME_MAX_LEN + 1) };

struct parse {
    XML_Parser parser;
    s3_xml_element_cb each;
    void *data;
    struct bnd_buf text;
    char path[PATH_MAX_LEN + 1];
    size_t ends[DEPTH_MAX]; /* length of the path before each open element */
    size_t depth;
    int rv;
};

static void stop(struct parse *parse, int rv) {
    parse->rv = rv;
    (void)XML_StopParser(parse->parser, XML_FALSE); /* fails only if it is stopping already */
}

static void on_start(void *data, const XML_Char *name, const XML_Char **attributes) {
    struct parse *parse = data;
    if (parse->rv != 0) {
        return;
    }
    size_t len = strlen(name);
    size_t used = strlen(parse->path);
    if (parse->depth == DEPTH_MAX || len > NAME_MAX_LEN) {
        stop(parse, BND_INVALID);
        return;
    }
    parse->ends[parse->depth++] = used;
    if (used > 0) {
        parse->path[used++] = '/';
    }
    memcpy(parse->path + used, name, len + 1);
    bnd_buf_reset(&parse->text);
}

static void on_end(void *data, const XML_Char *name) {
    struct parse *parse = data;
    if (parse->rv != 0) {
        return;
    }
    BND_ASSERT(parse->depth > 0);
    int rv = parse->text.failed
                 ? BND_NOMEM
                 : parse->each(parse->data, parse->path, bnd_buf_slice(&parse->text));
    bnd_buf_reset(&parse->text);
    parse->path[parse->ends[--parse->depth]] = 0;
    if (rv != 0) {
        stop(parse, rv);
    }
}

static void on_text(void *data, const XML_Char *text, int len) {
    struct parse *parse = data;
    if (parse->rv == 0) {
        bnd_buf_append(&parse->text, text, (size_t)len);
    }
}

static void on_doctype(void *data, const XML_Char *name, const XML_Char *system_id,
                       const XML_Char *public_id, int has_internal_subset) {
    stop(data, BND_INVALID);
}

int s3_xml_parse(struct bnd_slice document, s3_xml_element_cb each, void *data) {
    struct parse parse = {.each = each, .data = data};
    if (document.len == 0 || document.len > S3_XML_BODY_MAX) {
        return BND_INVALID;
    }
    static const XML_Memory_Handling_Suite memory = {bnd_alloc, bnd_realloc, bnd_free};
    parse.parser = XML_ParserCreate_MM("UTF-8", &memory, NULL);
    if (parse.parser == NULL) {
        return BND_NOMEM;
    }
    XML_SetUserData(parse.parser, &parse);
    XML_SetElementHandler(parse.parser, on_start, on_end);
    XML_SetCharacterDataHandler(parse.parser, on_text);
    XML_SetStartDoctypeDeclHandler(parse.parser, on_doctype);
    enum XML_Status status =
        XML_Parse(parse.parser, (const char *)document.data, (int)document.len, XML_TRUE);
    if (status != XML_STATUS_OK && parse.rv == 0) {
        parse.rv = XML_GetErrorCode(parse.parser) == XML_ERROR_NO_MEMORY ? BND_NOMEM : BND_INVALID;
    }
    XML_ParserFree(parse.parser);
    bnd_buf_free(&parse.text);
    return parse.rv;
}

/* ---- bodies
 * --------------------------------------------------------------------------------------------- */

/* Both of a request's XML operations begin with their struct s3_xml_body. */
static struct s3_xml_body *body_of(struct s3_request *request) {
    return (struct s3_xml_body *)(void *)request->op;
}

static void on_data(struct s3_request *request, struct bnd_slice data) {
    struct s3_xml_body *xml = body_of(request);
    struct s3_service *service = request->service;
    if (xml->text.len + data.len > S3_XML_BODY_MAX) {
        s3_fail(request, S3_MalformedXML, NULL);
        return;
    }
    if (service->xml_bytes + data.len > service->xml_bytes_max) {
        s3_fail(request, S3_SlowDown, NULL);
        return;
    }
    service->xml_bytes += data.len;
    xml->counted += data.len;
    bnd_buf_append_slice(&xml->text, data);
    if (xml->text.failed) {
        s3_fail_code(request, BND_NOMEM);
        return;
    }
    s3_body_next(&xml->body);
}

static void on_body_end(struct s3_request *request) {
    struct s3_xml_body *xml = body_of(request);
    xml->done(request, bnd_buf_slice(&xml->text));
}

void s3_xml_body_read(struct s3_xml_body *xml, struct s3_request *request,
                      void (*done)(struct s3_request *request, struct bnd_slice document)) {
    const char *why = NULL;
    xml->done = done;
    enum s3_error error = s3_body_open(&xml->body, request, 0, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    xml->body.on_data = on_data;
    xml->body.on_end = on_body_end;
    s3_body_next(&xml->body);
}

void s3_xml_body_close(struct s3_xml_body *xml, struct s3_request *request) {
    request->service->xml_bytes -= xml->counted;
    xml->counted = 0;
    s3_body_close(&xml->body);
    bnd_buf_free(&xml->text);
}
