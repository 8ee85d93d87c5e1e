/* XML answers: internal to gateway/s3. Pure; check buf->failed once, at the end. */
#ifndef BND_GATEWAY_S3_XML_WRITE_H
#define BND_GATEWAY_S3_XML_WRITE_H

#include "base/bytes.h"

#define S3_XML_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

/* The XML declaration and <root xmlns="...">. */
void s3_xml_begin(struct bnd_buf *out, const char *root);
void s3_xml_open(struct bnd_buf *out, const char *name);
void s3_xml_close(struct bnd_buf *out, const char *name);

/* Text content: markup is escaped, controls become character references, and what no XML 1.0
 * document can hold (NUL, U+FFFE, U+FFFF, bytes that are not UTF-8) becomes U+FFFD: clients that
 * need such keys byte for byte list with encoding-type=url. */
void s3_xml_text(struct bnd_buf *out, struct bnd_slice text);

/* <name>text</name> */
void s3_xml_element(struct bnd_buf *out, const char *name, struct bnd_slice text);
void s3_xml_string(struct bnd_buf *out, const char *name, const char *text);
void s3_xml_number(struct bnd_buf *out, const char *name, uint64_t value);
void s3_xml_bool(struct bnd_buf *out, const char *name, bool value);
void s3_xml_time(struct bnd_buf *out, const char *name, uint64_t ms);

/* <name>text</name>, percent-encoded ('/' kept) if `url`. */
void s3_xml_key(struct bnd_buf *out, const char *name, struct bnd_slice text, bool url);

#endif
