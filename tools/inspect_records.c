/* See inspect_records.h. Keys and values: SPEC.md, "Catalog", "State: Raft", "Objects",
 * "KV", "SQL state". */
#include "tools/inspect_records.h"

#include "catalog/keys.h"
#include "catalog/records.h"
#include "kv/keys.h"
#include "objects/keys.h"
#include "objects/manifest.h"
#include "placement/kv_map.h"
#include "raft/tuple.h"
#include "sql/keys.h"
#include "tools/inspect_sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

void tools_record_escape(struct bnd_buf *out, struct bnd_slice text) {
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c > ' ' && c < 0x7f && c != '%') {
            bnd_buf_u8(out, c);
        } else {
            bnd_buf_printf(out, "%%%02X", c);
        }
    }
}

void tools_record_time(struct bnd_buf *out, uint64_t ms) {
    if (ms == 0) {
        bnd_buf_append_str(out, "0 ms");
        return;
    }
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    char text[64];
    if (gmtime_r(&seconds, &parts) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) > 0) {
        bnd_buf_printf(out, "%s.%03uZ (%" PRIu64 " ms)", text, (unsigned)(ms % 1000), ms);
    } else {
        bnd_buf_printf(out, "%" PRIu64 " ms", ms);
    }
}

void tools_record_hex(struct bnd_buf *out, struct bnd_slice bytes) {
    for (size_t i = 0; i < bytes.len; i++) {
        bnd_buf_printf(out, "%02x", bytes.data[i]);
    }
}

/* ---- catalog
 * ---------------------------------------------------------------------------------------------- */

static int settings_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_settings r;
    int rv = bnd_settings_decode(record->value, &r);
    if (rv == 0) {
        bnd_buf_printf(out,
                       "settings: cluster %016" PRIx64 ", %u shards, %u replicas, hash version %u",
                       r.cluster_id, r.shards, r.replicas, r.hash_version);
        bnd_buf_printf(out, ", CA %u%s", r.ca_generation,
                       r.old_ca_cert.len > 0 ? ", being changed" : "");
    }
    return rv;
}

static int node_text(const struct tools_record *record, struct bnd_buf *out) {
    static const char *const states[] = {"?", "active", "draining", "gone", "leaving"};
    struct bnd_node_record r;
    int rv = bnd_node_decode(record->value, &r);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_printf(out, "node %" PRIu64 ": %s, %s, weight %u, address ", r.id, states[r.state],
                   r.role == BND_NODE_GATEWAY ? "gateway" : "storage", r.weight);
    tools_record_escape(out, r.address);
    bnd_buf_append_str(out, ", joined ");
    tools_record_time(out, r.joined_ms);
    return 0;
}

static int bucket_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_bucket_record r;
    int rv = bnd_bucket_decode(record->value, &r);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_append_str(out, "bucket ");
    tools_record_escape(out, r.name);
    bnd_buf_printf(
        out, ": id %" PRIu64 ", %s, placed by %u segments, deletion attempt %" PRIu64 ", made ",
        r.id, r.state == BND_BUCKET_ACTIVE ? "active" : "deleting", r.segments, r.attempt);
    tools_record_time(out, r.created_ms);
    return 0;
}

static int kv_namespace_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_kv_namespace_record r;
    int rv = bnd_kv_namespace_decode(record->value, &r);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_append_str(out, "KV namespace ");
    tools_record_escape(out, r.title);
    bnd_buf_printf(out, ": id %" PRIu64 ", %.*s, %s, made ", r.id, (int)r.public_id.len,
                   (const char *)r.public_id.data,
                   r.consistency == BND_KV_EVENTUAL ? "eventual" : "local");
    tools_record_time(out, r.created_ms);
    return 0;
}

static int d1_database_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_d1_database r;
    char uuid[BND_D1_UUID_TEXT + 1];
    int rv = bnd_d1_database_decode(record->value, &r);
    if (rv != 0) {
        return rv;
    }
    bnd_d1_uuid_text(r.uuid, uuid);
    bnd_buf_append_str(out, "D1 database ");
    tools_record_escape(out, r.name);
    bnd_buf_printf(out, ": %s, made ", uuid);
    tools_record_time(out, r.created_ms);
    return 0;
}

static int d1_name_text(const struct tools_record *record, struct bnd_buf *out) {
    char uuid[BND_D1_UUID_TEXT + 1];
    if (record->key.len < 2 || record->value.len != BND_D1_UUID_BYTES) {
        return BND_CORRUPT;
    }
    bnd_d1_uuid_text(record->value.data, uuid);
    bnd_buf_append_str(out, "D1 name ");
    tools_record_escape(out, bnd_slice(record->key.data + 1, record->key.len - 1));
    bnd_buf_printf(out, ": %s", uuid);
    return 0;
}

static int d1_count_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    uint8_t version = bnd_read_u8(&r);
    uint32_t count = bnd_read_u32(&r);
    if (version != 1 || !bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "%" PRIu32 " D1 databases", count);
    return 0;
}

static int kv_shard_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_kv_shard r;
    if (record->key.len != 1 + 8) {
        return BND_CORRUPT;
    }
    int rv = bnd_kv_shard_decode(record->value, &r);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_printf(out, "KV shard %" PRIu64 ": epoch %" PRIu32 ", replicas",
                   bnd_get_be64(record->key.data + 1), r.epoch);
    for (size_t i = 0; i < r.replicas_count; i++) {
        bnd_buf_printf(out, " %" PRIu64 "%s", r.replicas[i].node,
                       r.replicas[i].filled ? "" : " (filling)");
    }
    if (r.leaving != 0) {
        bnd_buf_printf(out, ", leaving %" PRIu64, r.leaving);
    }
    bnd_buf_printf(out, ", horizon %" PRIu64 " ms, collected %" PRIu64 " ms", r.horizon >> 16,
                   r.collected >> 16);
    return 0;
}

static int sql_founders_text(const struct tools_record *record, struct bnd_buf *out) {
    uint64_t nodes[BND_SQL_FOUNDERS_MAX];
    size_t count = 0;
    int rv = bnd_sql_founders_decode(record->value, nodes, &count);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_append_str(out, "founders of SQL's groups:");
    for (size_t i = 0; i < count; i++) {
        bnd_buf_printf(out, " %" PRIu64, nodes[i]);
    }
    return 0;
}

static int token_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_token_record r;
    int rv = bnd_token_decode(record->value, &r);
    if (rv == 0) {
        bnd_buf_append_str(out, "API token ");
        tools_record_escape(out, r.id);
        bnd_buf_printf(out, ": permissions %u, bucket ", r.permissions);
        tools_record_escape(out, r.bucket.len == 0 ? bnd_slice_str("(all)") : r.bucket);
        bnd_buf_append_str(out, ", label ");
        tools_record_escape(out, r.label);
    }
    return rv;
}

static int s3_key_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_key_record r;
    int rv = bnd_key_decode(record->value, &r);
    if (rv == 0) {
        bnd_buf_append_str(out, "S3 key ");
        tools_record_escape(out, r.access_key);
        bnd_buf_printf(out, ": permissions %u, bucket ", r.permissions);
        tools_record_escape(out, r.bucket.len == 0 ? bnd_slice_str("(all)") : r.bucket);
        bnd_buf_append_str(out, ", label ");
        tools_record_escape(out, r.label);
    }
    return rv;
}

static int join_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_join_record r;
    int rv = bnd_join_decode(record->value, &r);
    if (rv == 0) {
        bnd_buf_append_str(out, "join token ");
        tools_record_hex(out, bnd_slice(record->key.data + 1, record->key.len - 1));
        bnd_buf_printf(out, ": redeemed by node %" PRIu64 " (0: nobody), expires ", r.node);
        tools_record_time(out, r.expires_ms);
    }
    return rv;
}

static int counters_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    uint8_t version = bnd_read_u8(&r);
    uint64_t revision = bnd_read_u64(&r);
    uint64_t next_node = bnd_read_u64(&r);
    uint64_t next_bucket = bnd_read_u64(&r);
    if (r.failed || version < 1 || version > 2) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out,
                   "counters: revision %" PRIu64 ", next node %" PRIu64 ", next bucket %" PRIu64,
                   revision, next_node, next_bucket);
    return 0;
}

/* ---- the host's
 * ------------------------------------------------------------------------------------------- */

static int tuple_text(const struct tools_record *record, struct bnd_buf *out) {
    static const char *const roles[] = {"spare", "standby", "voter"};
    struct tuple t;
    struct bnd_slice young;
    int rv = tuple_decode(record->value, &t, &young, NULL);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_printf(out, "applied to index %" PRIu64 " of term %" PRIu64 ", members", t.index,
                   t.term);
    for (size_t i = 0; i < t.configuration.count; i++) {
        bnd_buf_printf(out, " %" PRIu64 ":%s", t.configuration.members[i].node,
                       roles[t.configuration.members[i].role]);
    }
    bnd_buf_printf(out,
                   " (of index %" PRIu64 "), state version %u, %" PRIu64
                   " records of request ids (%zu bytes of them here), stamp ",
                   t.configuration_index, t.state_version, t.dedupe_count, young.len);
    tools_record_time(out, t.stamp_ms);
    if (t.jump_to_ms != 0) {
        bnd_buf_append_str(out, ", TIME SUSPENDED since a jump to ");
        tools_record_time(out, t.jump_to_ms);
    }
    return 0;
}

/* Numbers of a key behind its tag, big-endian. */
static uint64_t key_number(const struct tools_record *record, size_t n) {
    return bnd_get_be64(record->key.data + 1 + 8 * n);
}

static int outcome_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    uint64_t deadline = bnd_read_u64(&r);
    int32_t status = (int32_t)bnd_read_u32(&r);
    struct bnd_slice reply = bnd_read_bytes(&r);
    if (record->key.len != 17 || !bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out,
                   "outcome of request %" PRIx64 "-%" PRIu64 ": status %d, reply of %zu bytes, "
                   "until ",
                   key_number(record, 0), key_number(record, 1), status, reply.len);
    tools_record_time(out, deadline);
    return 0;
}

static int minter_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    uint64_t low = bnd_read_u64(&r);
    uint64_t until = bnd_read_u64(&r);
    if (record->key.len != 9 || !bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "minter %" PRIx64 ": ids below %" PRIu64 " are refused, until ",
                   key_number(record, 0), low);
    tools_record_time(out, until);
    return 0;
}

static int opaque_text(const struct tools_record *record, struct bnd_buf *out) {
    tools_record_hex(out, record->key);
    bnd_buf_printf(out, ": %zu bytes", record->value.len);
    return 0;
}

/* ---- objects
 * ---------------------------------------------------------------------------------------------- */

static int object_text(const struct tools_record *record, struct bnd_buf *out) {
    static const char *const profiles[] = {"inline", "one body", "parts"};
    struct bnd_object_meta meta;
    struct bnd_slice body;
    char etag[BND_OBJECT_ETAG_TEXT];
    char version[BND_OBJECT_ID_TEXT];
    int rv =
        record->key.len <= 9 ? BND_CORRUPT : objects_manifest_decode(record->value, &meta, &body);
    if (rv != 0) {
        return rv;
    }
    bnd_object_etag_text(&meta, etag);
    bnd_object_id_text(meta.version, version);
    bnd_buf_printf(out, "object of bucket %" PRIu64 ", key ", key_number(record, 0));
    tools_record_escape(out, bnd_slice(record->key.data + 9, record->key.len - 9));
    bnd_buf_printf(out, ": %" PRIu64 " bytes, %s, etag %s, version %s, uploaded ", meta.size,
                   profiles[meta.profile], etag, version);
    tools_record_time(out, meta.uploaded_ms);
    if (meta.fields.content_type.data != NULL) {
        bnd_buf_append_str(out, ", content type ");
        tools_record_escape(out, meta.fields.content_type);
    }
    return 0;
}

static int table_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    struct objects_segment segment;
    size_t count = 0;
    uint64_t size = 0;
    while (objects_segment_next(&r, &segment)) {
        count++;
        size += segment.size;
    }
    if (r.failed || record->key.len != 1 + BND_OBJECT_ID_BYTES) {
        return BND_CORRUPT;
    }
    bnd_buf_append_str(out, "bodies of version ");
    tools_record_hex(out, bnd_slice(record->key.data + 1, BND_OBJECT_ID_BYTES));
    bnd_buf_printf(out, ": %zu of %" PRIu64 " bytes", count, size);
    return 0;
}

static int upload_text(const struct tools_record *record, struct bnd_buf *out) {
    uint8_t key[BND_OBJECT_KEY_MAX];
    size_t len = 0;
    const uint8_t *id = NULL;
    struct objects_upload_record upload;
    int rv = record->key.len <= 9
                 ? BND_CORRUPT
                 : objects_key_upload_parse(bnd_slice(record->key.data + 9, record->key.len - 9),
                                            key, &len, &id);
    rv = rv != 0 ? rv : objects_upload_decode(record->value, &upload);
    if (rv != 0 || len > sizeof key) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "upload to bucket %" PRIu64 ", key ", key_number(record, 0));
    tools_record_escape(out, bnd_slice(key, len));
    bnd_buf_append_str(out, ": id ");
    tools_record_hex(out, bnd_slice(id, BND_OBJECT_ID_BYTES));
    bnd_buf_append_str(out, ", begun ");
    tools_record_time(out, upload.initiated_ms);
    return 0;
}

static int part_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    struct bnd_multipart_part part;
    objects_part_read(&r, &part);
    if (!bnd_reader_done(&r) || record->key.len != 1 + BND_OBJECT_ID_BYTES + 4) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "part %u of upload ", part.number);
    tools_record_hex(out, bnd_slice(record->key.data + 1, BND_OBJECT_ID_BYTES));
    bnd_buf_printf(out, ": %" PRIu64 " bytes, version ", part.size);
    tools_record_hex(out, bnd_slice(part.version, sizeof part.version));
    return 0;
}

static int body_text(const struct tools_record *record, struct bnd_buf *out) {
    struct objects_body_record body;
    int rv = record->key.len != 1 + BND_OBJECT_ID_BYTES ? BND_CORRUPT
                                                        : objects_body_decode(record->value, &body);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_append_str(out, "body ");
    tools_record_hex(out, bnd_slice(record->key.data + 1, BND_OBJECT_ID_BYTES));
    bnd_buf_printf(out, ": %" PRIu64 " bytes, at its commit on nodes", body.size);
    for (size_t i = 0; i < body.have_count; i++) {
        bnd_buf_printf(out, " %" PRIu64, body.have[i]);
    }
    if (body.free_after_ms != 0) {
        bnd_buf_append_str(out, ", to be freed after ");
        tools_record_time(out, body.free_after_ms);
    }
    return 0;
}

static int free_text(const struct tools_record *record, struct bnd_buf *out) {
    if (record->key.len != 9 + BND_OBJECT_ID_BYTES || record->value.len != 0) {
        return BND_CORRUPT;
    }
    bnd_buf_append_str(out, "body ");
    tools_record_hex(out, bnd_slice(record->key.data + 9, BND_OBJECT_ID_BYTES));
    bnd_buf_append_str(out, record->value.len == 0 ? " goes after "
                                                   : ", if nobody names it, goes after ");
    tools_record_time(out, key_number(record, 0));
    return 0;
}

static int seal_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    uint64_t attempt = bnd_read_u64(&r);
    uint8_t sealed = bnd_read_u8(&r);
    if (record->key.len != 9 || !bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "seal of bucket %" PRIu64 ": attempt %" PRIu64 ", %s",
                   key_number(record, 0), attempt, sealed != 0 ? "sealed" : "open");
    return 0;
}

/* ---- KV
 * ---------------------------------------------------------------------------------------------- */

static int kv_record_text(const struct tools_record *record, struct bnd_buf *out) {
    struct kv_record r;
    if (record->key.len <= 9 || kv_record_decode(record->value, &r) != 0) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "record of namespace %" PRIu64 ", key ", key_number(record, 0));
    tools_record_escape(out, bnd_slice(record->key.data + 9, record->key.len - 9));
    bnd_buf_printf(out, ": %s of %u bytes, counter %u by node %" PRIu64 " in epoch %u at ",
                   (r.flags & KV_RECORD_TOMBSTONE) != 0 ? "tombstone"
                   : (r.flags & KV_RECORD_BLOB) != 0    ? "large value"
                                                        : "value",
                   r.size, (unsigned)(r.version.hlc & 0xffff), r.version.writer, r.epoch);
    tools_record_time(out, r.version.hlc >> 16);
    if (r.expires_ms != 0) {
        bnd_buf_append_str(out, ", expires ");
        tools_record_time(out, r.expires_ms);
    }
    return 0;
}

static int kv_value_text(const struct tools_record *record, struct bnd_buf *out) {
    if (record->key.len <= 9) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "value of namespace %" PRIu64 ", key ", key_number(record, 0));
    tools_record_escape(out, bnd_slice(record->key.data + 9, record->key.len - 9));
    bnd_buf_printf(out, ": %zu bytes", record->value.len);
    return 0;
}

static int kv_piece_text(const struct tools_record *record, struct bnd_buf *out) {
    bool is_head = record->key.len == 1 + KV_BLOB_ID_BYTES;
    if (!is_head && record->key.len != 1 + KV_BLOB_ID_BYTES + 4) {
        return BND_CORRUPT;
    }
    bnd_buf_append_str(out, is_head ? "head of large value " : "piece of large value ");
    tools_record_hex(out, bnd_slice(record->key.data + 1, KV_BLOB_ID_BYTES));
    bnd_buf_printf(out, ": %zu bytes", record->value.len);
    return 0;
}

static int kv_free_text(const struct tools_record *record, struct bnd_buf *out) {
    if (record->key.len != 9 + KV_BLOB_ID_BYTES || record->value.len > 1) {
        return BND_CORRUPT;
    }
    bnd_buf_append_str(out, "large value ");
    tools_record_hex(out, bnd_slice(record->key.data + 9, KV_BLOB_ID_BYTES));
    bnd_buf_append_str(out, record->value.len == 0 ? " goes after "
                                                   : ", if nobody names it, goes after ");
    tools_record_time(out, key_number(record, 0));
    return 0;
}

static int kv_marks_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    uint8_t format = bnd_read_u8(&r);
    uint8_t flags = bnd_read_u8(&r);
    uint32_t epoch = bnd_read_u32(&r);
    uint64_t refused = bnd_read_u64(&r);
    uint64_t collected = bnd_read_u64(&r);
    if (!bnd_reader_done(&r) || format != 1 || flags >> (1 + BND_KV_REPLICAS_MAX) != 0) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "marks: %s, sealed in epoch %u, refuses new versions before ",
                   (flags & 1) != 0 ? "filled" : "not filled", epoch);
    tools_record_time(out, refused >> 16);
    bnd_buf_append_str(out, ", collected up to ");
    tools_record_time(out, collected >> 16);
    return 0;
}

static int kv_applied_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r = bnd_reader(record->value);
    uint8_t format = bnd_read_u8(&r);
    uint64_t index = bnd_read_u64(&r);
    uint64_t hlc = bnd_read_u64(&r);
    uint8_t lost = bnd_read_u8(&r);
    if (!bnd_reader_done(&r) || format != 1) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "KV log applied to entry %" PRIu64 "%s, clock at ", index,
                   lost == 0   ? ""
                   : lost == 1 ? ", state lost once"
                               : ", state lost, the log is being applied again");
    tools_record_time(out, hlc >> 16);
    return 0;
}

static int kv_known_text(const struct tools_record *record, struct bnd_buf *out) {
    if (record->key.len != 5 || record->value.len != 0) {
        return BND_CORRUPT;
    }
    bnd_buf_printf(out, "KV shard %u is here", bnd_get_be32(record->key.data + 1));
    return 0;
}

/* ---- all
 * ------------------------------------------------------------------------------------------------
 */

static const struct {
    enum bnd_state_cf cf;
    uint8_t tag;
    const char *kind;
    int (*text)(const struct tools_record *record, struct bnd_buf *out);
} kinds[] = {
    {BND_CF_RAFT, TUPLE_KEY_APPLIED, "applied tuple", tuple_text},
    {BND_CF_RAFT, TUPLE_KEY_OUTCOME, "outcomes", outcome_text},
    {BND_CF_RAFT, TUPLE_KEY_MINTER, "minters", minter_text},
    {BND_CF_RAFT, TUPLE_KEY_STAGED, "staged entries", opaque_text},
    {BND_CF_RAFT, TUPLE_KEY_SLOT_NEXT, "next slot", opaque_text},
    {BND_CF_CATALOG, CATALOG_TAG_SETTINGS, "settings", settings_text},
    {BND_CF_CATALOG, CATALOG_TAG_COUNTERS, "counters", counters_text},
    {BND_CF_CATALOG, CATALOG_TAG_NODE, "nodes", node_text},
    {BND_CF_CATALOG, CATALOG_TAG_BUCKET, "buckets", bucket_text},
    {BND_CF_CATALOG, CATALOG_TAG_JOIN, "join tokens", join_text},
    {BND_CF_CATALOG, CATALOG_TAG_TOKEN, "API tokens", token_text},
    {BND_CF_CATALOG, CATALOG_TAG_KEY, "S3 keys", s3_key_text},
    {BND_CF_CATALOG, CATALOG_TAG_KV_NAMESPACE, "KV namespaces", kv_namespace_text},
    {BND_CF_CATALOG, CATALOG_TAG_KV_SHARD, "KV shards", kv_shard_text},
    {BND_CF_CATALOG, CATALOG_TAG_D1_DATABASE, "D1 databases", d1_database_text},
    {BND_CF_CATALOG, CATALOG_TAG_D1_NAME, "D1 names", d1_name_text},
    {BND_CF_CATALOG, CATALOG_TAG_D1_COUNT, "D1 count", d1_count_text},
    {BND_CF_CATALOG, CATALOG_TAG_SQL_FOUNDERS, "founders of SQL", sql_founders_text},
    {BND_CF_OBJECTS, OBJECTS_TAG_OBJECT, "objects", object_text},
    {BND_CF_OBJECTS, OBJECTS_TAG_TABLE, "tables of parts", table_text},
    {BND_CF_OBJECTS, OBJECTS_TAG_UPLOAD, "uploads", upload_text},
    {BND_CF_OBJECTS, OBJECTS_TAG_PART, "parts of uploads", part_text},
    {BND_CF_OBJECTS, OBJECTS_TAG_BODY, "bodies", body_text},
    {BND_CF_OBJECTS, OBJECTS_TAG_FREE, "bodies to be freed", free_text},
    {BND_CF_OBJECTS, OBJECTS_TAG_SEAL, "seals", seal_text},
    {BND_CF_KV, KV_TAG_RECORD, "records", kv_record_text},
    {BND_CF_KV, KV_TAG_VALUE, "values", kv_value_text},
    {BND_CF_KV, KV_TAG_PIECE, "pieces", kv_piece_text},
    {BND_CF_KV, KV_TAG_FREE, "large values to be freed", kv_free_text},
    {BND_CF_KV, KV_TAG_MARKS, "marks", kv_marks_text},
    {BND_CF_KV, KV_TAG_APPLIED, "applied index", kv_applied_text},
    {BND_CF_KV, KV_TAG_SHARD, "shards", kv_known_text},
    {BND_CF_SQL, SQL_TAG_COUNTERS, "counters", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_DATABASE, "databases", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_EPOCH, "epochs", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_COMMIT, "commits", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_PAGE, "versions of pages", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_STAGED, "staged parts", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_FORK, "forks", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_LEASE, "branches", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_PINNED, "deleted and kept", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_DEAD, "deleted and to be swept", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_PASS, "passes under way", tools_sql_text},
    {BND_CF_SQL, SQL_TAG_UNPINNED, "forks gone", tools_sql_text},
};

const char *tools_record_kind(enum bnd_state_cf cf, uint8_t tag) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].cf == cf && kinds[i].tag == tag) {
            return kinds[i].kind;
        }
    }
    return NULL;
}

int tools_record_text(const struct tools_record *record, struct bnd_buf *out) {
    for (size_t i = 0; record->key.len > 0 && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].cf == record->cf && kinds[i].tag == record->key.data[0]) {
            return kinds[i].text(record, out);
        }
    }
    return BND_CORRUPT;
}
