/* The catalog of one process: its view, kept fresh by one query under way at a time, and its bucket
 * cache. */
#include "catalog/catalog.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "catalog/name_cache.h"
#include "catalog/view.h"
#include "placement/shard.h"

#include <openssl/crypto.h>

enum { BUCKETS_DEFAULT = 16384, DATABASES_REMEMBERED = 32768, REFRESH_TIMEOUT_MS = 2000 };

struct bnd_catalog {
    struct bnd_catalog_config config;
    struct catalog_view *view;
    struct catalog_view *remembered; /* until there is a view */
    struct bnd_shard_call query;
    struct bnd_timer poll;
    bool asking;
    bool ask_again;
    bool confirmed;
    uint64_t questions; /* asked so far */
    uint64_t answered;  /* the number of the last one answered */
    uint64_t asked_ns;
    uint64_t confirmed_ns;
    struct catalog_name_cache buckets;   /* values: struct bnd_catalog_bucket */
    struct catalog_name_cache databases; /* of D1, by name and by text of uuid; values: uuids */
};

/* ---- the view
 * ------------------------------------------------------------------------------------------- */

static void ask(struct bnd_catalog *catalog);

static void arm(struct bnd_catalog *catalog) {
    bnd_timer_start(catalog->config.env, &catalog->poll, BND_CATALOG_POLL_MS * BND_MS);
}

static void take_answer(struct bnd_catalog *catalog, struct bnd_slice reply) {
    struct bnd_reader r = bnd_reader(reply);
    uint64_t revision = bnd_read_u64(&r);
    bool unchanged = catalog->view != NULL && catalog->view->view.revision == revision;
    if (r.failed || (bnd_reader_done(&r) && !unchanged)) {
        return;
    }
    if (!bnd_reader_done(&r)) {
        struct catalog_view *fresh = NULL;
        if (catalog_view_decode(reply, catalog->config.cluster_key, &fresh) != 0) {
            return;
        }
        catalog_view_free(catalog->view);
        catalog_view_free(catalog->remembered);
        catalog->remembered = NULL;
        catalog->view = fresh;
    }
    catalog->confirmed = true;
    catalog->answered = catalog->questions;
    catalog->confirmed_ns = catalog->asked_ns;
    if (!unchanged && catalog->config.changed != NULL) {
        catalog->config.changed(catalog->config.owner, &catalog->view->view);
    }
}

static void on_view(struct bnd_shard_call *call, int status, struct bnd_slice reply) {
    struct bnd_catalog *catalog = call->data;
    bool again = catalog->ask_again;
    catalog->asking = false;
    catalog->ask_again = false;
    if (status == 0) {
        take_answer(catalog, reply);
    }
    if (catalog->asking) {
        return; /* whoever was told of the change wants to know more: asked after `again`, too */
    }
    if (again) {
        ask(catalog);
    } else {
        arm(catalog);
    }
}

static void ask(struct bnd_catalog *catalog) {
    BND_ASSERT(!catalog->asking);
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    static const uint8_t version = BND_CATALOG_VIEW_SECTIONS;
    struct bnd_catalog_query query = {
        .kind = BND_CATALOG_QUERY_VIEW,
        .number = catalog->view == NULL ? 0 : catalog->view->view.revision,
        .a = bnd_slice(&version, sizeof version),
    };
    bnd_catalog_query_encode(&bytes, &query);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    catalog->query.cb = on_view;
    catalog->query.data = catalog;
    catalog->questions++;
    catalog->asked_ns = bnd_now_ns(catalog->config.env);
    bnd_timer_stop(catalog->config.env, &catalog->poll);
    if (!bytes.failed &&
        bnd_shard_call(catalog->config.client, &catalog->query, BND_SHARD_READ, BND_GID_SYSTEM,
                       &part, 1, REFRESH_TIMEOUT_MS * BND_MS) == 0) {
        catalog->asking = true;
    } else {
        arm(catalog);
    }
}

static void on_poll(struct bnd_timer *timer) {
    struct bnd_catalog *catalog = timer->data;
    if (!catalog->asking) {
        ask(catalog);
    }
}

uint64_t bnd_catalog_refresh(struct bnd_catalog *catalog) {
    if (catalog->asking) {
        catalog->ask_again = true;
        return catalog->questions + 1;
    }
    ask(catalog);
    return catalog->questions;
}

bool bnd_catalog_answered(const struct bnd_catalog *catalog, uint64_t question) {
    return catalog->answered >= question;
}

const struct bnd_catalog_view *bnd_catalog_view(const struct bnd_catalog *catalog) {
    return catalog->view == NULL ? NULL : &catalog->view->view;
}

int bnd_catalog_remember(struct bnd_catalog *catalog, struct bnd_slice answer) {
    struct catalog_view *old = NULL;
    int rv =
        catalog->view != NULL ? 0 : catalog_view_decode(answer, catalog->config.cluster_key, &old);
    if (rv == 0 && old != NULL) {
        catalog_view_free(catalog->remembered);
        catalog->remembered = old;
    }
    return rv;
}

const struct bnd_catalog_view *bnd_catalog_last_view(const struct bnd_catalog *catalog) {
    const struct catalog_view *last = catalog->view != NULL ? catalog->view : catalog->remembered;
    return last == NULL ? NULL : &last->view;
}

uint64_t bnd_catalog_age_ms(const struct bnd_catalog *catalog) {
    if (!catalog->confirmed) {
        return UINT64_MAX;
    }
    return (bnd_now_ns(catalog->config.env) - catalog->confirmed_ns) / BND_MS;
}

const struct bnd_node_record *bnd_catalog_find_node(const struct bnd_catalog_view *view,
                                                    uint64_t id) {
    for (size_t i = 0; view != NULL && i < view->nodes_count; i++) {
        if (view->nodes[i].id == id) {
            return &view->nodes[i];
        }
    }
    return NULL;
}

const struct bnd_catalog_key *bnd_catalog_find_key(const struct bnd_catalog *catalog,
                                                   struct bnd_slice access_key) {
    const struct bnd_catalog_view *view = bnd_catalog_view(catalog);
    for (size_t i = 0; view != NULL && i < view->keys_count; i++) {
        if (bnd_slice_eq(view->keys[i].record.access_key, access_key)) {
            return &view->keys[i];
        }
    }
    return NULL;
}

static const struct bnd_token_record *find_token(const struct bnd_catalog_view *view,
                                                 struct bnd_slice token) {
    uint8_t hash[BND_SHA256_LEN];
    bnd_sha256(token, hash);
    for (size_t i = 0; view != NULL && i < view->tokens_count; i++) {
        if (bnd_secret_eq(view->tokens[i].secret_hash, bnd_slice(hash, sizeof hash))) {
            return &view->tokens[i];
        }
    }
    return NULL;
}

const struct bnd_kv_namespace_record *
bnd_catalog_find_kv_namespace(const struct bnd_catalog *catalog, struct bnd_slice public_id) {
    const struct bnd_catalog_view *view = bnd_catalog_view(catalog);
    size_t low = 0;
    size_t high = view == NULL ? 0 : view->kv_namespaces_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct bnd_kv_namespace_record *record =
            &view->kv_namespaces[view->kv_by_public_id[middle]];
        int order = bnd_slice_cmp(record->public_id, public_id);
        if (order == 0) {
            return record;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const struct bnd_token_record *bnd_catalog_find_token(const struct bnd_catalog *catalog,
                                                      struct bnd_slice token) {
    return find_token(bnd_catalog_view(catalog), token);
}

const struct bnd_token_record *bnd_catalog_find_last_token(const struct bnd_catalog *catalog,
                                                           struct bnd_slice token) {
    return find_token(bnd_catalog_last_view(catalog), token);
}

/* ---- calls
 * ---------------------------------------------------------------------------------------------- */

static void on_read(struct bnd_shard_call *shard, int status, struct bnd_slice reply) {
    struct bnd_catalog_call *call = BND_CONTAINER(shard, struct bnd_catalog_call, shard);
    call->cb(call, status, reply);
}

static void on_written(struct bnd_shard_call *shard, int status, struct bnd_slice reply) {
    struct bnd_catalog_call *call = BND_CONTAINER(shard, struct bnd_catalog_call, shard);
    if (status == 0) {
        (void)bnd_catalog_refresh(shard->data); /* nobody waits for it */
    }
    call->cb(call, status, reply);
}

static int send(struct bnd_catalog *catalog, struct bnd_catalog_call *call,
                enum bnd_shard_call_kind kind, const struct bnd_buf *bytes, uint64_t timeout_ns) {
    if (bytes->failed) {
        return BND_NOMEM;
    }
    struct bnd_slice part = bnd_buf_slice(bytes);
    call->shard.cb = kind == BND_SHARD_READ ? on_read : on_written;
    call->shard.data = catalog;
    return bnd_shard_call(catalog->config.client, &call->shard, kind, BND_GID_SYSTEM, &part, 1,
                          timeout_ns);
}

int bnd_catalog_write(struct bnd_catalog *catalog, struct bnd_catalog_call *call,
                      const struct bnd_catalog_command *command, uint64_t timeout_ns) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_catalog_command_encode(&bytes, command);
    return send(catalog, call, BND_SHARD_WRITE, &bytes, timeout_ns);
}

int bnd_catalog_read(struct bnd_catalog *catalog, struct bnd_catalog_call *call,
                     const struct bnd_catalog_query *query, uint64_t timeout_ns) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_catalog_query_encode(&bytes, query);
    return send(catalog, call, BND_SHARD_READ, &bytes, timeout_ns);
}

void bnd_catalog_cancel(struct bnd_catalog_call *call) {
    bnd_shard_call_cancel(&call->shard);
}

/* ---- buckets, databases
 * ----------------------------------------------------------------------------------
 */

_Static_assert(sizeof(struct bnd_catalog_bucket) <= CATALOG_NAME_VALUE_BYTES, "a bucket fits");
_Static_assert(BND_D1_UUID_BYTES <= CATALOG_NAME_VALUE_BYTES, "a uuid fits");
_Static_assert(BND_BUCKET_NAME_MAX <= CATALOG_NAME_MAX && BND_D1_NAME_MAX <= CATALOG_NAME_MAX,
               "names fit");

bool bnd_catalog_bucket_known(const struct bnd_catalog *catalog, struct bnd_slice name,
                              struct bnd_catalog_bucket *out) {
    const struct catalog_name *found = catalog_name_find(&catalog->buckets, name);
    if (found == NULL) {
        return false;
    }
    memcpy(out, found->value, sizeof *out);
    return true;
}

void bnd_catalog_bucket_learn(struct bnd_catalog *catalog, const struct bnd_bucket_record *bucket) {
    BND_ASSERT(bnd_bucket_name_valid(bucket->name));
    const struct bnd_catalog_bucket ref = {
        .id = bucket->id, .segments = bucket->segments, .created_ms = bucket->created_ms};
    memcpy(catalog_name_put(&catalog->buckets, bucket->name)->value, &ref, sizeof ref);
}

void bnd_catalog_bucket_forget(struct bnd_catalog *catalog, struct bnd_slice name) {
    catalog_name_drop(&catalog->buckets, name);
}

bool bnd_catalog_d1_known(const struct bnd_catalog *catalog, struct bnd_slice name,
                          uint8_t out[BND_D1_UUID_BYTES]) {
    const struct catalog_name *found = catalog_name_find(&catalog->databases, name);
    if (found == NULL) {
        return false;
    }
    memcpy(out, found->value, BND_D1_UUID_BYTES);
    return true;
}

void bnd_catalog_d1_learn(struct bnd_catalog *catalog, const struct bnd_d1_database *database) {
    BND_ASSERT(bnd_d1_name_valid(database->name));
    char text[BND_D1_UUID_TEXT + 1];
    const struct bnd_slice keys[] = {database->name, bnd_slice(text, BND_D1_UUID_TEXT)};
    bnd_d1_uuid_text(database->uuid, text);
    for (size_t i = 0; i < 2; i++) {
        memcpy(catalog_name_put(&catalog->databases, keys[i])->value, database->uuid,
               BND_D1_UUID_BYTES);
    }
}

void bnd_catalog_d1_forget(struct bnd_catalog *catalog, struct bnd_slice name) {
    catalog_name_drop(&catalog->databases, name);
}

/* ---- life
 * -----------------------------------------------------------------------------------------------
 */

int bnd_catalog_create(const struct bnd_catalog_config *config, struct bnd_catalog **out) {
    struct bnd_catalog *catalog = bnd_zalloc(sizeof *catalog);
    if (catalog == NULL) {
        return BND_NOMEM;
    }
    size_t buckets = config->buckets_max == 0 ? BUCKETS_DEFAULT : config->buckets_max;
    if (catalog_name_cache_init(&catalog->buckets, buckets) != 0 ||
        catalog_name_cache_init(&catalog->databases, DATABASES_REMEMBERED) != 0) {
        catalog_name_cache_free(&catalog->buckets);
        bnd_free(catalog);
        return BND_NOMEM;
    }
    catalog->config = *config;
    catalog->poll.cb = on_poll;
    catalog->poll.data = catalog;
    ask(catalog);
    *out = catalog;
    return 0;
}

void bnd_catalog_destroy(struct bnd_catalog *catalog) {
    if (catalog == NULL) {
        return;
    }
    bnd_timer_stop(catalog->config.env, &catalog->poll);
    if (catalog->asking) {
        bnd_shard_call_cancel(&catalog->query);
    }
    catalog_view_free(catalog->remembered);
    catalog_view_free(catalog->view);
    catalog_name_cache_free(&catalog->buckets);
    catalog_name_cache_free(&catalog->databases);
    OPENSSL_cleanse(catalog->config.cluster_key, BND_CLUSTER_KEY_LEN);
    bnd_free(catalog);
}
