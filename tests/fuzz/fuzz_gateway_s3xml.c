/* XML requests, and XML answers made of what was read: they must be read back the same. */
#include "base/utf8.h"
#include "gateway/s3/xml_read.h"
#include "gateway/s3/xml_write.h"
#include "tests/fuzz/fuzz.h"

static int see(void *data, const char *path, struct bnd_slice text) {
    struct bnd_buf *seen = data;
    BND_ASSERT(path[0] != 0);
    bnd_buf_bytes(seen, bnd_slice_str(path));
    bnd_buf_bytes(seen, text);
    return 0;
}

static int take_text(void *data, const char *path, struct bnd_slice text) {
    struct bnd_buf *out = data;
    bnd_buf_append_slice(out, text);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    BND_AUTO_BUF struct bnd_buf seen = {0};
    BND_AUTO_BUF struct bnd_buf xml = {0};
    BND_AUTO_BUF struct bnd_buf back = {0};
    (void)s3_xml_parse(bnd_slice(data, size), see, &seen); /* any refusal is well */
    /* The same bytes as a key in an answer: any XML 1.0 reader must take it (controls are no
     * characters of XML 1.0; clients that use such keys ask for encoding-type=url). */
    bool plain = bnd_utf8_valid(bnd_slice(data, size));
    for (size_t i = 0; i < size; i++) {
        bool noncharacter = data[i] >= 0xbe && i >= 2 && data[i - 1] == 0xbf && data[i - 2] == 0xef;
        plain = plain && !noncharacter && (data[i] >= 0x20 || data[i] == '\t' || data[i] == '\n');
    }
    s3_xml_key(&xml, "Key", bnd_slice(data, size), !plain);
    int rv = s3_xml_parse(bnd_buf_slice(&xml), take_text, &back);
    BND_ASSERT(rv == 0 || xml.len > S3_XML_BODY_MAX);
    if (plain && rv == 0) {
        BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&back), bnd_slice(data, size)));
    }
    return 0;
}
