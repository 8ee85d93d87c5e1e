/* XML requests: internal to gateway/s3. */
#ifndef BND_GATEWAY_S3_XML_READ_H
#define BND_GATEWAY_S3_XML_READ_H

#include "gateway/s3/body.h"

#define S3_XML_BODY_MAX (4u << 20)

/* ---- parsing: pure ---- */

/* Called at the end of every element with its path from the root ("Delete/Object/Key") and its text
 * (of a leaf; the text between the elements of others is not given). Both borrowed. A non-zero
 * return stops the parse. */
typedef int (*s3_xml_element_cb)(void *data, const char *path, struct bnd_slice text);

/* Parses a document of UTF-8 XML by expat. Document type declarations (and so entities), more than
 * 6 levels, names above 64 bytes are refused. BND_INVALID: not such a document; BND_NOMEM; or what
 * each returned. */
int s3_xml_parse(struct bnd_slice document, s3_xml_element_cb each, void *data);

/* ---- a request's body as one document ---- */

struct s3_xml_body {
    struct s3_body body;
    struct bnd_buf text;
    size_t counted; /* bytes of the service's bound that this body holds */
    void (*done)(struct s3_request *request, struct bnd_slice document);
};

/* Reads the whole body, at most S3_XML_BODY_MAX bytes, checks its digests and calls done; or ends
 * the request. */
void s3_xml_body_read(struct s3_xml_body *xml, struct s3_request *request,
                      void (*done)(struct s3_request *request, struct bnd_slice document));
void s3_xml_body_close(struct s3_xml_body *xml, struct s3_request *request); /* zeroed: allowed */

#endif
