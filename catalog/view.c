#include "catalog/view.h"

#include "base/alloc.h"

#include <openssl/crypto.h>
#include <stdlib.h>

void catalog_view_free(struct catalog_view *view) {
    if (view == NULL) {
        return;
    }
    if (view->secrets.data != NULL) {
        OPENSSL_cleanse(view->secrets.data, view->secrets.cap);
    }
    bnd_buf_free(&view->secrets);
    bnd_free((void *)view->view.nodes);
    bnd_free((void *)view->view.tokens);
    bnd_free((void *)view->view.keys);
    bnd_free((void *)view->view.kv_namespaces);
    bnd_free((void *)view->view.kv_by_public_id);
    bnd_free((void *)view->view.kv_shards);
    bnd_free(view->bytes);
    bnd_free(view);
}

/* Reads a count and allocates an array for it. Every record takes at least 5 bytes, which bounds a
 * hostile count. */
static void *read_array(struct bnd_reader *r, size_t size, size_t *out_count) {
    uint32_t count = bnd_read_u32(r);
    if (r->failed || count > r->rest.len / 5) {
        r->failed = true;
        return NULL;
    }
    *out_count = count;
    return bnd_calloc(count, size);
}

static int read_nodes(struct bnd_reader *r, struct bnd_catalog_view *view) {
    struct bnd_node_record *nodes = read_array(r, sizeof *nodes, &view->nodes_count);
    view->nodes = nodes;
    for (size_t i = 0; nodes != NULL && i < view->nodes_count; i++) {
        if (bnd_node_decode(bnd_read_bytes(r), &nodes[i]) != 0) {
            return BND_CORRUPT;
        }
    }
    return r->failed ? BND_CORRUPT : nodes == NULL ? BND_NOMEM : 0;
}

static int read_tokens(struct bnd_reader *r, struct bnd_catalog_view *view) {
    struct bnd_token_record *tokens = read_array(r, sizeof *tokens, &view->tokens_count);
    view->tokens = tokens;
    for (size_t i = 0; tokens != NULL && i < view->tokens_count; i++) {
        if (bnd_token_decode(bnd_read_bytes(r), &tokens[i]) != 0) {
            return BND_CORRUPT;
        }
    }
    return r->failed ? BND_CORRUPT : tokens == NULL ? BND_NOMEM : 0;
}

/* Secrets are unsealed one behind the other into view->secrets, with room made first so that it
 * never moves. */
static int read_keys(struct bnd_reader *r, struct catalog_view *view,
                     const uint8_t cluster_key[BND_CLUSTER_KEY_LEN]) {
    size_t count = 0;
    struct bnd_catalog_key *keys = read_array(r, sizeof *keys, &count);
    view->view.keys = keys;
    if (keys == NULL) {
        return r->failed ? BND_CORRUPT : BND_NOMEM;
    }
    if (!bnd_buf_reserve(&view->secrets, r->rest.len + 1)) {
        return BND_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct bnd_catalog_key *key = &keys[view->view.keys_count];
        if (bnd_key_decode(bnd_read_bytes(r), &key->record) != 0) {
            return BND_CORRUPT;
        }
        size_t at = view->secrets.len;
        if (bnd_unseal(cluster_key, key->record.sealed_secret, &view->secrets) == 0) {
            key->secret = bnd_slice(view->secrets.data + at, view->secrets.len - at);
            view->view.keys_count++;
        }
    }
    return 0;
}

/* ---- sections
 * ------------------------------------------------------------------------------------------------
 */

static int by_public_id(const void *a, const void *b, void *data) {
    const struct bnd_kv_namespace_record *records = data;
    return bnd_slice_cmp(records[*(const uint32_t *)a].public_id,
                         records[*(const uint32_t *)b].public_id);
}

static int read_kv_namespaces(struct bnd_reader *r, struct bnd_catalog_view *view) {
    view->kv_namespace_next = bnd_read_u64(r);
    struct bnd_kv_namespace_record *records =
        read_array(r, sizeof *records, &view->kv_namespaces_count);
    view->kv_namespaces = records;
    uint32_t *order = r->failed ? NULL : bnd_calloc(view->kv_namespaces_count + 1, sizeof *order);
    view->kv_by_public_id = order;
    if (records == NULL || order == NULL) {
        return r->failed ? BND_CORRUPT : BND_NOMEM;
    }
    for (size_t i = 0; i < view->kv_namespaces_count; i++) {
        order[i] = (uint32_t)i;
        if (bnd_kv_namespace_decode(bnd_read_bytes(r), &records[i]) != 0 ||
            (i > 0 && records[i].id <= records[i - 1].id)) {
            return BND_CORRUPT;
        }
    }
    qsort_r(order, view->kv_namespaces_count, sizeof *order, by_public_id, records);
    return bnd_reader_done(r) ? 0 : BND_CORRUPT;
}

static int read_kv_map(struct bnd_reader *r, struct bnd_catalog_view *view) {
    struct bnd_kv_shard *shards = bnd_calloc(view->settings.shards, sizeof *shards);
    uint32_t count = bnd_read_u32(r);
    uint32_t next = 0;
    view->kv_shards = shards;
    view->kv_shards_count = view->settings.shards;
    if (shards == NULL) {
        return BND_NOMEM;
    }
    for (; count > 0 && !r->failed; count--) {
        uint32_t number = bnd_read_u32(r);
        if (number < next || number >= view->settings.shards ||
            bnd_kv_shard_decode(bnd_read_bytes(r), &shards[number]) != 0) {
            return BND_CORRUPT;
        }
        next = number + 1;
    }
    return bnd_reader_done(r) ? 0 : BND_CORRUPT;
}

/* Those that are not known are of a later version. */
static int read_sections(struct bnd_reader *r, struct bnd_catalog_view *view) {
    int rv = 0;
    while (rv == 0 && !r->failed && r->rest.len > 0) {
        uint8_t tag = bnd_read_u8(r);
        struct bnd_reader section = bnd_reader(bnd_read_bytes(r));
        if (r->failed) {
            break;
        }
        if (tag == BND_CATALOG_SECTION_KV_NAMESPACES) {
            if (view->kv_namespaces != NULL) {
                return BND_CORRUPT;
            }
            rv = read_kv_namespaces(&section, view);
        } else if (tag == BND_CATALOG_SECTION_KV_MAP) {
            if (view->kv_shards != NULL) {
                return BND_CORRUPT;
            }
            rv = read_kv_map(&section, view);
        } else if (tag == BND_CATALOG_SECTION_SQL) {
            rv = view->sql_founders_count > 0
                     ? BND_CORRUPT
                     : bnd_sql_founders_decode(section.rest, view->sql_founders,
                                               &view->sql_founders_count);
        }
    }
    return r->failed ? BND_CORRUPT : rv;
}

int catalog_view_decode(struct bnd_slice reply, const uint8_t cluster_key[BND_CLUSTER_KEY_LEN],
                        struct catalog_view **out) {
    struct catalog_view *view = bnd_zalloc(sizeof *view);
    if (view == NULL) {
        return BND_NOMEM;
    }
    view->bytes = bnd_memdup(reply.data, reply.len);
    int rv = view->bytes == NULL ? BND_NOMEM : 0;
    struct bnd_reader r = bnd_reader(bnd_slice(view->bytes, reply.len));
    if (rv == 0) {
        view->view.answer = bnd_slice(view->bytes, reply.len);
        view->view.revision = bnd_read_u64(&r);
        rv = bnd_settings_decode(bnd_read_bytes(&r), &view->view.settings);
    }
    rv = rv != 0 ? rv : read_nodes(&r, &view->view);
    rv = rv != 0 ? rv : read_tokens(&r, &view->view);
    rv = rv != 0 ? rv : read_keys(&r, view, cluster_key);
    rv = rv != 0 ? rv : read_sections(&r, &view->view);
    if (rv == 0 && !bnd_reader_done(&r)) {
        rv = BND_CORRUPT;
    }
    if (rv != 0) {
        catalog_view_free(view);
        return rv;
    }
    *out = view;
    return 0;
}
