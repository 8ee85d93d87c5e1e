/* The S3 service: what answers the S3 port (architecture 8, 12; ADR 0060).
 *
 * Buckets are group 0's, objects the objects service's; this folder turns requests into their
 * calls and back. It keeps no state but a bounded cache of signing keys. */
#ifndef BND_GATEWAY_S3_S3_H
#define BND_GATEWAY_S3_S3_H

#include "gateway/gateway.h"

struct s3_service;

struct s3_options {
    const struct bnd_gateway_services *services; /* borrowed until destroy */
    const char *domain;  /* of virtual-host style names, copied; NULL: none but the built-in ones */
    size_t memory_bytes; /* most bytes of XML bodies being read; 0: 64 MiB */
};

/* BND_NOMEM. */
int s3_service_create(const struct s3_options *options, struct s3_service **out);
/* When every request has ended (after the server's on_closed). NULL allowed. */
void s3_service_destroy(struct s3_service *service);

/* The handler for a server whose owner is a struct s3_service, and the names of what its requests
 * do (for bnd_http_options.operations). */
const struct bnd_http_handler *s3_handler(void);
const char *const *s3_operation_names(size_t *out_count);

#endif
