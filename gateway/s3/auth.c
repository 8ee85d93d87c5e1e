/* Who asks, and what they may: signatures against the S3 keys of the catalog.
 *
 * Invariants: 1. no request goes on while the catalog is older than BND_CATALOG_STALE_MS, so that a
 * revoked key does not outlive it: it is held, then 503; 2. an unknown access key is refused only
 * by a view that was confirmed after the request came; 3. the cache of signing keys is bounded and
 * never decides: a signing key belongs to the secret it was derived from. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "gateway/s3/s3_private.h"

#include <openssl/crypto.h>

enum {
    CACHE_PLACES = 256,
    SECRET_MAX = 64,
    REGION_MAX = 16,
    WAITING_MAX = 8192,
    WAIT_STEP_MS = 20,
    WAIT_KEY_MS = 3000,    /* for a view that may know an unknown key */
    WAIT_FRESH_MS = 10000, /* for any view that is fresh enough: an election of group 0 */
};

struct cached_key {
    uint8_t secret[SECRET_MAX];
    size_t secret_len; /* 0: free */
    uint8_t date[8];
    uint8_t region[REGION_MAX];
    size_t region_len;
    struct s3_signing_key key;
};

/* Direct-mapped: a collision costs four HMACs. */
struct s3_key_cache {
    struct cached_key places[CACHE_PLACES];
};

static void find_signing_key(struct s3_key_cache *cache, struct bnd_slice secret,
                             const struct s3_signature *signature, struct s3_signing_key *out) {
    struct bnd_slice parts[] = {signature->access_key, signature->date, signature->region};
    struct cached_key *place = &cache->places[bnd_hash64_parts(parts, 3, 0) % CACHE_PLACES];
    if (secret.len > SECRET_MAX || signature->region.len > REGION_MAX) {
        s3_signing_key_derive(secret, signature->date, signature->region, out);
        return;
    }
    if (place->secret_len != secret.len || place->region_len != signature->region.len ||
        CRYPTO_memcmp(place->secret, secret.data, secret.len) != 0 ||
        memcmp(place->date, signature->date.data, sizeof place->date) != 0 ||
        !bnd_slice_eq(bnd_slice(place->region, place->region_len), signature->region)) {
        s3_signing_key_derive(secret, signature->date, signature->region, &place->key);
        memcpy(place->secret, secret.data, secret.len);
        memcpy(place->date, signature->date.data, sizeof place->date);
        if (signature->region.len > 0) {
            memcpy(place->region, signature->region.data, signature->region.len);
        }
        place->secret_len = secret.len;
        place->region_len = signature->region.len;
    }
    *out = place->key;
}

bool s3_allowed(const struct s3_request *request, uint32_t permission, struct bnd_slice bucket) {
    if ((request->permissions & permission) != permission) {
        return false;
    }
    return request->restricted[0] == 0 ||
           bnd_slice_eq(bucket, bnd_slice_str(request->restricted)) ||
           request->target.operation == S3_LIST_BUCKETS;
}

/* ---- with the key
 * ----------------------------------------------------------------------------------- */

static void check_with(struct s3_request *request, const struct bnd_catalog_key *key) {
    if (key->secret.len == 0 || key->secret.len > S3_SECRET_MAX ||
        key->record.bucket.len >= sizeof request->restricted) {
        s3_fail(request, S3_InvalidAccessKeyId, NULL);
        return;
    }
    find_signing_key(request->service->keys, key->secret, &request->signature,
                     &request->signing_key);
    enum s3_error error =
        s3_signature_verify(&request->signature, request->http->head, &request->signing_key);
    if (error != S3_OK) {
        s3_fail(request, error == S3_InternalError ? S3_SlowDown : error, NULL);
        return;
    }
    request->permissions = key->record.permissions;
    if (key->record.bucket.len > 0) {
        memcpy(request->restricted, key->record.bucket.data, key->record.bucket.len);
    }
    s3_authorized(request);
}

/* ---- waiting for a view
 * ----------------------------------------------------------------------------------- */

/* Decides what can be decided: a view that is too old decides nothing, and one from before the
 * request came does not decide that a key is unknown. */
static bool decide(struct s3_request *request, uint64_t waited_ms) {
    const struct bnd_gateway_services *services = request->service->services;
    uint64_t age_ms = bnd_catalog_age_ms(services->catalog);
    if (age_ms > BND_CATALOG_STALE_MS) {
        if (waited_ms < WAIT_FRESH_MS) {
            return false;
        }
        s3_fail(request, S3_ServiceUnavailable, "The cluster's catalog cannot be reached.");
        return true;
    }
    const struct bnd_catalog_key *key =
        bnd_catalog_find_key(services->catalog, request->signature.access_key);
    if (key != NULL) {
        check_with(request, key);
        return true;
    }
    if (request->question != 0 && bnd_catalog_answered(services->catalog, request->question)) {
        s3_fail(request, S3_InvalidAccessKeyId, NULL);
        return true;
    }
    if (waited_ms >= WAIT_KEY_MS) {
        s3_fail(request, S3_ServiceUnavailable, "The cluster's catalog cannot be reached.");
        return true;
    }
    return false;
}

/* Takes it from the list first: a decided request is gone. */
static void decide_waiting(struct s3_request *request) {
    struct s3_service *service = request->service;
    uint64_t waited_ns = bnd_now_ns(service->services->env) - request->wait_since_ns;
    bnd_link_remove(&request->wait_link);
    service->waiting_count--;
    if (!decide(request, waited_ns / BND_MS)) {
        bnd_list_push(&service->waiting, &request->wait_link);
        service->waiting_count++;
    }
}

static void on_wait(struct bnd_timer *timer) {
    struct s3_service *service = timer->data;
    for (size_t count = service->waiting_count; count > 0; count--) { /* each once, in order */
        decide_waiting(BND_CONTAINER(service->waiting.next, struct s3_request, wait_link));
    }
    if (!bnd_list_empty(&service->waiting)) {
        bnd_timer_start(service->services->env, timer, WAIT_STEP_MS * BND_MS);
    }
}

static void wait_for_view(struct s3_request *request) {
    struct s3_service *service = request->service;
    if (service->waiting_count == WAITING_MAX) {
        s3_fail(request, S3_SlowDown, NULL);
        return;
    }
    if (bnd_list_empty(&service->waiting)) {
        bnd_timer_start(service->services->env, &service->wait_timer, WAIT_STEP_MS * BND_MS);
    }
    request->wait_since_ns = bnd_now_ns(service->services->env);
    bnd_list_push(&service->waiting, &request->wait_link);
    service->waiting_count++;
    request->question = bnd_catalog_refresh(service->services->catalog);
}

void s3_authorize(struct s3_request *request) {
    const struct bnd_gateway_services *services = request->service->services;
    const struct bnd_http_head *head = request->http->head;
    const char *why = NULL;
    if (!s3_signature_present(head)) {
        s3_fail(request, S3_AccessDenied, "The request is not signed.");
        return;
    }
    if (s3_header(request, "authorization").data != NULL &&
        s3_query_has(&request->query, "X-Amz-Signature")) {
        s3_fail(request, S3_InvalidArgument,
                "Only one of the Authorization header and X-Amz-Signature is allowed.");
        return;
    }
    enum s3_error error =
        s3_signature_parse(head, bnd_wall_ms(services->env), &request->signature, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    if (!decide(request, 0)) {
        wait_for_view(request);
    }
}

int s3_auth_open(struct s3_service *service) {
    bnd_list_init(&service->waiting);
    service->wait_timer.cb = on_wait;
    service->wait_timer.data = service;
    service->keys = bnd_zalloc(sizeof *service->keys);
    return service->keys == NULL ? BND_NOMEM : 0;
}

void s3_auth_close(struct s3_service *service) {
    BND_ASSERT(bnd_list_empty(&service->waiting));
    bnd_timer_stop(service->services->env, &service->wait_timer);
    OPENSSL_cleanse(service->keys, sizeof *service->keys);
    bnd_free(service->keys);
}
