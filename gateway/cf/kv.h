/* Cloudflare's REST API of Workers KV, as wrangler and the `cloudflare` SDK use it: internal to
 * gateway/cf (https://developers.cloudflare.com/api/resources/kv/). */
#ifndef BND_GATEWAY_CF_KV_H
#define BND_GATEWAY_CF_KV_H

#include "gateway/front.h"
#include "gateway/rest_request.h"
#include "kv/kv.h"

/* Segments of "/client/v4/accounts/<account>/storage/kv/namespaces/<id>/values/<key>". */
enum cf_kv_segment { CF_KV_NAMESPACE = 7, CF_KV_KEY = 9 };

/* First in the state of every operation on what is in a namespace; request->data points to it. */
struct cf_kv_op {
    const char *what; /* "get": goes before the text of an error, as Cloudflare has it */
    uint64_t namespace_id;
    struct bnd_slice key; /* of the path, checked; data NULL in what has none */
    struct gateway_view_wait wait;
    void (*found)(struct rest_request *request);
    void (*clean)(struct rest_request *request); /* of what the operation holds; may be NULL */
};

struct cf_kv_open {
    size_t bytes; /* of the operation's state */
    const char *what;
    bool key; /* the path has one */
    void (*found)(struct rest_request *request);
    void (*clean)(struct rest_request *request);
};
/* Allocates the operation (zeroed), checks the key, finds the namespace and calls found, perhaps
 * before it returns; or ends the request. */
void cf_kv_open(struct rest_request *request, const struct cf_kv_open *open);

/* Ends of a request, with what: 'text' as message. */
void cf_kv_fail(struct rest_request *request, unsigned status, enum kv_code code, const char *what,
                const char *text);
void cf_kv_refuse(struct rest_request *request, const char *what, const struct kv_refusal *refusal);
/* A code of the store; BND_NOTFOUND: the namespace is gone. */
void cf_kv_fail_code(struct rest_request *request, const char *what, int status);
void cf_kv_no_key(struct rest_request *request, const char *what);
/* The success without a result. */
void cf_kv_done(struct rest_request *request, enum bnd_kv_durability durability);

void cf_kv_run_namespace_list(struct rest_request *request);
void cf_kv_run_namespace_create(struct rest_request *request);
void cf_kv_run_namespace_get(struct rest_request *request);
void cf_kv_run_namespace_update(struct rest_request *request);
void cf_kv_run_namespace_delete(struct rest_request *request);
void cf_kv_run_get(struct rest_request *request);
void cf_kv_run_metadata(struct rest_request *request);
void cf_kv_run_put(struct rest_request *request);
void cf_kv_run_delete(struct rest_request *request);
void cf_kv_run_keys(struct rest_request *request);
void cf_kv_run_bulk_put(struct rest_request *request);
void cf_kv_run_bulk_delete(struct rest_request *request);
void cf_kv_run_bulk_get(struct rest_request *request);

#endif
