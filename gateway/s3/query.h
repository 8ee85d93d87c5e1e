/* The parameters of a request, decoded once: internal to gateway/s3.
 *
 * Names are compared decoded, and none may come twice: the signature covers decoded names in sorted
 * order, so another spelling or order must not change what a signed request means. */
#ifndef BND_GATEWAY_S3_QUERY_H
#define BND_GATEWAY_S3_QUERY_H

#include "gateway/http/head.h"
#include "gateway/s3/error.h"

#define S3_PARAMETERS_MAX 32u

struct s3_query {
    struct {
        struct bnd_slice name;
        struct bnd_slice value;
    } items[S3_PARAMETERS_MAX];
    size_t count;
};

/* Decodes raw into space (raw.len bytes, kept as long as out). S3_InvalidArgument: a broken escape,
 * a name twice, too many; *why is then a constant sentence. */
enum s3_error s3_query_parse(struct bnd_slice raw, uint8_t *space, struct s3_query *out,
                             const char **why);

/* The value (maybe empty, data not NULL), or a slice with data NULL. */
struct bnd_slice s3_query_get(const struct s3_query *query, const char *name);
bool s3_query_has(const struct s3_query *query, const char *name);

/* A decimal value in 0..max into *out, which keeps its default if the parameter is not there or
 * empty. False if it is something else. Values above max are taken as max. */
bool s3_query_number(const struct s3_query *query, const char *name, uint64_t max, uint64_t *out);

/* Decimal digits only, at most 18. */
bool s3_decimal(struct bnd_slice text, uint64_t *out);

#endif
