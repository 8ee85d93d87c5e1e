/* XML answers, written by appending: S3's documents are flat lists. */
#include "gateway/s3/xml_write.h"

#include "base/utf8.h"
#include "gateway/date.h"
#include "gateway/s3/canonical.h"

static void append_ascii(struct bnd_buf *out, uint8_t c) {
    switch (c) {
    case '&':
        bnd_buf_append_str(out, "&amp;");
        break;
    case '<':
        bnd_buf_append_str(out, "&lt;");
        break;
    case '>':
        bnd_buf_append_str(out, "&gt;");
        break;
    case '"':
        bnd_buf_append_str(out, "&quot;");
        break;
    case 0:
        bnd_buf_append_str(out, "\xef\xbf\xbd");
        break;
    default:
        if (c < 0x20 || c == 0x7f) {
            bnd_buf_printf(out, "&#x%X;", c);
        } else {
            bnd_buf_u8(out, c);
        }
    }
}

/* U+FFFE and U+FFFF: UTF-8, but no characters of XML 1.0. */
static bool noncharacter(struct bnd_slice text) {
    return text.len >= 3 && text.data[0] == 0xef && text.data[1] == 0xbf && text.data[2] >= 0xbe;
}

void s3_xml_text(struct bnd_buf *out, struct bnd_slice text) {
    while (text.len > 0) {
        size_t len = bnd_utf8_next(text);
        if (len == 1) {
            append_ascii(out, text.data[0]);
        } else if (len > 1 && !noncharacter(text)) {
            bnd_buf_append(out, text.data, len);
        } else {
            bnd_buf_append_str(out, "\xef\xbf\xbd");
            len = len == 0 ? 1 : len;
        }
        text = bnd_slice(text.data + len, text.len - len);
    }
}

void s3_xml_begin(struct bnd_buf *out, const char *root) {
    bnd_buf_append_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
    bnd_buf_append_str(out, root);
    bnd_buf_append_str(out, " xmlns=\"" S3_XML_NAMESPACE "\">");
}

void s3_xml_open(struct bnd_buf *out, const char *name) {
    bnd_buf_append_str(out, "<");
    bnd_buf_append_str(out, name);
    bnd_buf_append_str(out, ">");
}

void s3_xml_close(struct bnd_buf *out, const char *name) {
    bnd_buf_append_str(out, "</");
    bnd_buf_append_str(out, name);
    bnd_buf_append_str(out, ">");
}

void s3_xml_element(struct bnd_buf *out, const char *name, struct bnd_slice text) {
    s3_xml_open(out, name);
    s3_xml_text(out, text);
    s3_xml_close(out, name);
}

void s3_xml_string(struct bnd_buf *out, const char *name, const char *text) {
    s3_xml_element(out, name, bnd_slice_str(text));
}

void s3_xml_number(struct bnd_buf *out, const char *name, uint64_t value) {
    bnd_buf_printf(out, "<%s>%llu</%s>", name, (unsigned long long)value, name);
}

void s3_xml_bool(struct bnd_buf *out, const char *name, bool value) {
    s3_xml_string(out, name, value ? "true" : "false");
}

void s3_xml_time(struct bnd_buf *out, const char *name, uint64_t ms) {
    char text[GATEWAY_DATE_TEXT];
    gateway_date_iso(ms, text);
    s3_xml_string(out, name, text);
}

void s3_xml_key(struct bnd_buf *out, const char *name, struct bnd_slice text, bool url) {
    s3_xml_open(out, name);
    if (url) {
        s3_uri_encode(out, text, true);
    } else {
        s3_xml_text(out, text);
    }
    s3_xml_close(out, name);
}
