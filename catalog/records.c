#include "catalog/records.h"

#include "base/utf8.h"

enum {
    RECORD_VERSION = 1,
    SETTINGS_VERSION = 2,
    NODE_PLACE_VERSION = 2,
    NODE_VERSION = 3,
    TOKEN_LIMITED_VERSION = 2,
};

static struct bnd_reader open_record(struct bnd_slice bytes) {
    struct bnd_reader r = bnd_reader(bytes);
    if (bnd_read_u8(&r) != RECORD_VERSION) {
        r.failed = true;
    }
    return r;
}

static int close_record(const struct bnd_reader *r) {
    return bnd_reader_done(r) ? 0 : BND_CORRUPT;
}

void bnd_settings_encode(struct bnd_buf *out, const struct bnd_settings *record) {
    bnd_buf_u8(out, SETTINGS_VERSION);
    bnd_buf_u64(out, record->cluster_id);
    bnd_buf_u32(out, record->shards);
    bnd_buf_u32(out, record->hash_version);
    bnd_buf_u32(out, record->replicas);
    bnd_buf_bytes(out, record->account);
    bnd_buf_bytes(out, record->ca_cert);
    bnd_buf_bytes(out, record->ca_key);
    bnd_buf_u32(out, record->ca_generation);
    bnd_buf_bytes(out, record->ca_link);
    bnd_buf_bytes(out, record->old_ca_cert);
    bnd_buf_bytes(out, record->old_ca_key);
}

/* Version 1 had the first CA and no other. */
int bnd_settings_decode(struct bnd_slice bytes, struct bnd_settings *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    struct bnd_settings record = {.cluster_id = bnd_read_u64(&r), .ca_generation = 1};
    record.shards = bnd_read_u32(&r);
    record.hash_version = bnd_read_u32(&r);
    record.replicas = bnd_read_u32(&r);
    record.account = bnd_read_bytes(&r);
    record.ca_cert = bnd_read_bytes(&r);
    record.ca_key = bnd_read_bytes(&r);
    if (version == SETTINGS_VERSION) {
        record.ca_generation = bnd_read_u32(&r);
        record.ca_link = bnd_read_bytes(&r);
        record.old_ca_cert = bnd_read_bytes(&r);
        record.old_ca_key = bnd_read_bytes(&r);
    } else if (version != RECORD_VERSION) {
        r.failed = true;
    }
    bool changing = record.old_ca_cert.len > 0;
    if (changing != (record.ca_link.len > 0) || changing != (record.old_ca_key.len > 0) ||
        record.ca_generation == 0) {
        return BND_CORRUPT;
    }
    if (close_record(&r) != 0 || record.shards == 0 || (record.shards & (record.shards - 1)) != 0) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

void bnd_node_encode(struct bnd_buf *out, const struct bnd_node_record *record) {
    bnd_buf_u8(out, NODE_VERSION);
    bnd_buf_u64(out, record->id);
    bnd_buf_u64(out, record->place);
    bnd_buf_u8(out, (uint8_t)record->state);
    bnd_buf_u8(out, (uint8_t)record->role);
    bnd_buf_u32(out, record->weight);
    bnd_buf_u64(out, record->joined_ms);
    bnd_buf_bytes(out, record->address);
    bnd_buf_bytes(out, record->zone);
    bnd_buf_bytes(out, record->key_hash);
    bnd_buf_u32(out, record->ca_generation);
}

/* Version 1 had no place: each node had its own; version 2 had no generation of the CA. */
int bnd_node_decode(struct bnd_slice bytes, struct bnd_node_record *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    struct bnd_node_record record = {.id = bnd_read_u64(&r)};
    record.place = version >= NODE_PLACE_VERSION ? bnd_read_u64(&r) : record.id;
    if (version < RECORD_VERSION || version > NODE_VERSION) {
        r.failed = true;
    }
    uint8_t state = bnd_read_u8(&r);
    record.state = (enum bnd_node_state)state;
    uint8_t role = bnd_read_u8(&r);
    record.role = (enum bnd_node_role)role;
    record.weight = bnd_read_u32(&r);
    record.joined_ms = bnd_read_u64(&r);
    record.address = bnd_read_bytes(&r);
    record.zone = bnd_read_bytes(&r);
    record.key_hash = bnd_read_bytes(&r);
    record.ca_generation = version == NODE_VERSION ? bnd_read_u32(&r) : 0;
    if (close_record(&r) != 0 || state < BND_NODE_ACTIVE || state > BND_NODE_LEAVING ||
        role < BND_NODE_STORAGE || role > BND_NODE_GATEWAY ||
        (role == BND_NODE_GATEWAY && record.weight != 0)) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

void bnd_bucket_encode(struct bnd_buf *out, const struct bnd_bucket_record *record) {
    bnd_buf_u8(out, RECORD_VERSION);
    bnd_buf_u64(out, record->id);
    bnd_buf_u8(out, (uint8_t)record->state);
    bnd_buf_u8(out, record->segments);
    bnd_buf_u64(out, record->created_ms);
    bnd_buf_u64(out, record->attempt);
    bnd_buf_u64(out, record->attempt_ms);
    bnd_buf_bytes(out, record->name);
}

int bnd_bucket_decode(struct bnd_slice bytes, struct bnd_bucket_record *out) {
    struct bnd_reader r = open_record(bytes);
    struct bnd_bucket_record record = {.id = bnd_read_u64(&r)};
    uint8_t state = bnd_read_u8(&r);
    record.state = (enum bnd_bucket_state)state;
    record.segments = bnd_read_u8(&r);
    record.created_ms = bnd_read_u64(&r);
    record.attempt = bnd_read_u64(&r);
    record.attempt_ms = bnd_read_u64(&r);
    record.name = bnd_read_bytes(&r);
    if (close_record(&r) != 0 || state < BND_BUCKET_ACTIVE || state > BND_BUCKET_DELETING) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

/* Only a token of one bucket is of version 2: who does not know of the limit cannot read it as a
 * token without one. */
void bnd_token_encode(struct bnd_buf *out, const struct bnd_token_record *record) {
    bool limited = record->bucket.len > 0;
    bnd_buf_u8(out, limited ? TOKEN_LIMITED_VERSION : RECORD_VERSION);
    bnd_buf_bytes(out, record->id);
    bnd_buf_u32(out, record->permissions);
    bnd_buf_u64(out, record->created_ms);
    bnd_buf_bytes(out, record->secret_hash);
    bnd_buf_bytes(out, record->label);
    if (limited) {
        bnd_buf_bytes(out, record->bucket);
    }
}

int bnd_token_decode(struct bnd_slice bytes, struct bnd_token_record *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    struct bnd_token_record record = {.id = bnd_read_bytes(&r)};
    record.permissions = bnd_read_u32(&r);
    record.created_ms = bnd_read_u64(&r);
    record.secret_hash = bnd_read_bytes(&r);
    record.label = bnd_read_bytes(&r);
    if (version == TOKEN_LIMITED_VERSION) {
        record.bucket = bnd_read_bytes(&r);
        r.failed = r.failed || !bnd_bucket_name_valid(record.bucket);
    } else if (version != RECORD_VERSION) {
        r.failed = true;
    }
    if (close_record(&r) != 0 || record.secret_hash.len != BND_SECRET_HASH_LEN) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

void bnd_key_encode(struct bnd_buf *out, const struct bnd_key_record *record) {
    bnd_buf_u8(out, RECORD_VERSION);
    bnd_buf_bytes(out, record->access_key);
    bnd_buf_u32(out, record->permissions);
    bnd_buf_u64(out, record->created_ms);
    bnd_buf_bytes(out, record->sealed_secret);
    bnd_buf_bytes(out, record->bucket);
    bnd_buf_bytes(out, record->label);
}

int bnd_key_decode(struct bnd_slice bytes, struct bnd_key_record *out) {
    struct bnd_reader r = open_record(bytes);
    struct bnd_key_record record = {.access_key = bnd_read_bytes(&r)};
    record.permissions = bnd_read_u32(&r);
    record.created_ms = bnd_read_u64(&r);
    record.sealed_secret = bnd_read_bytes(&r);
    record.bucket = bnd_read_bytes(&r);
    record.label = bnd_read_bytes(&r);
    if (close_record(&r) != 0 || record.access_key.len > BND_ACCESS_KEY_MAX) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

void bnd_join_encode(struct bnd_buf *out, const struct bnd_join_record *record) {
    bnd_buf_u8(out, RECORD_VERSION);
    bnd_buf_bytes(out, record->secret_hash);
    bnd_buf_u64(out, record->expires_ms);
    bnd_buf_bytes(out, record->key_hash);
    bnd_buf_u64(out, record->node);
}

int bnd_join_decode(struct bnd_slice bytes, struct bnd_join_record *out) {
    struct bnd_reader r = open_record(bytes);
    struct bnd_join_record record = {.secret_hash = bnd_read_bytes(&r)};
    record.expires_ms = bnd_read_u64(&r);
    record.key_hash = bnd_read_bytes(&r);
    record.node = bnd_read_u64(&r);
    if (close_record(&r) != 0 || record.secret_hash.len != BND_SECRET_HASH_LEN) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

void bnd_kv_namespace_encode(struct bnd_buf *out, const struct bnd_kv_namespace_record *record) {
    bnd_buf_u8(out, RECORD_VERSION);
    bnd_buf_u64(out, record->id);
    bnd_buf_u8(out, (uint8_t)record->consistency);
    bnd_buf_u64(out, record->created_ms);
    bnd_buf_bytes(out, record->public_id);
    bnd_buf_bytes(out, record->title);
}

int bnd_kv_namespace_decode(struct bnd_slice bytes, struct bnd_kv_namespace_record *out) {
    struct bnd_reader r = open_record(bytes);
    struct bnd_kv_namespace_record record = {.id = bnd_read_u64(&r)};
    uint8_t consistency = bnd_read_u8(&r);
    record.consistency = (enum bnd_kv_consistency)consistency;
    record.created_ms = bnd_read_u64(&r);
    record.public_id = bnd_read_bytes(&r);
    record.title = bnd_read_bytes(&r);
    if (close_record(&r) != 0 || record.id == 0 || consistency < BND_KV_EVENTUAL ||
        consistency > BND_KV_CONSISTENCY_LOCAL || !bnd_kv_public_id_valid(record.public_id) ||
        !bnd_kv_title_valid(record.title)) {
        return BND_CORRUPT;
    }
    *out = record;
    return 0;
}

void bnd_d1_database_encode(struct bnd_buf *out, const struct bnd_d1_database *record) {
    bnd_buf_u8(out, RECORD_VERSION);
    bnd_buf_append(out, record->uuid, sizeof record->uuid);
    bnd_buf_u64(out, record->created_ms);
    bnd_buf_bytes(out, record->name);
}

int bnd_d1_database_decode(struct bnd_slice bytes, struct bnd_d1_database *out) {
    struct bnd_reader r = open_record(bytes);
    struct bnd_d1_database record = {0};
    struct bnd_slice uuid = bnd_read_raw(&r, sizeof record.uuid);
    record.created_ms = bnd_read_u64(&r);
    record.name = bnd_read_bytes(&r);
    if (close_record(&r) != 0 || !bnd_d1_name_valid(record.name)) {
        return BND_CORRUPT;
    }
    memcpy(record.uuid, uuid.data, sizeof record.uuid);
    *out = record;
    return 0;
}

static bool alphanumeric(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool bnd_d1_name_valid(struct bnd_slice name) {
    uint8_t uuid[BND_D1_UUID_BYTES];
    if (name.len == 0 || name.len > BND_D1_NAME_MAX || !alphanumeric(name.data[0])) {
        return false;
    }
    for (size_t i = 1; i < name.len; i++) {
        if (!alphanumeric(name.data[i]) && name.data[i] != '-' && name.data[i] != '_') {
            return false;
        }
    }
    return !bnd_d1_uuid_parse(name, uuid);
}

static bool is_dash(size_t at) {
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool bnd_d1_uuid_parse(struct bnd_slice text, uint8_t out[BND_D1_UUID_BYTES]) {
    char digits[2 * BND_D1_UUID_BYTES];
    size_t count = 0;
    if (text.len != BND_D1_UUID_TEXT) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (is_dash(i) != (c == '-')) {
            return false;
        }
        if (c != '-') {
            digits[count++] = (char)(c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c);
        }
    }
    uint8_t uuid[BND_D1_UUID_BYTES];
    if (bnd_hex_decode(bnd_slice(digits, sizeof digits), uuid, sizeof uuid) != 0) {
        return false;
    }
    memcpy(out, uuid, sizeof uuid);
    return true;
}

void bnd_d1_uuid_text(const uint8_t uuid[BND_D1_UUID_BYTES], char out[BND_D1_UUID_TEXT + 1]) {
    char digits[2 * BND_D1_UUID_BYTES + 1];
    size_t at = 0;
    bnd_hex_encode(uuid, BND_D1_UUID_BYTES, digits);
    for (size_t i = 0; i < BND_D1_UUID_TEXT; i++) {
        out[i] = is_dash(i) ? '-' : digits[at++];
    }
    out[BND_D1_UUID_TEXT] = 0;
}

void bnd_sql_founders_encode(struct bnd_buf *out, const uint64_t *nodes, size_t count) {
    bnd_buf_u8(out, RECORD_VERSION);
    bnd_buf_u8(out, (uint8_t)count);
    for (size_t i = 0; i < count; i++) {
        bnd_buf_u64(out, nodes[i]);
    }
}

int bnd_sql_founders_decode(struct bnd_slice bytes, uint64_t out[BND_SQL_FOUNDERS_MAX],
                            size_t *out_count) {
    struct bnd_reader r = open_record(bytes);
    uint64_t nodes[BND_SQL_FOUNDERS_MAX] = {0};
    uint8_t count = bnd_read_u8(&r);
    if (r.failed || count == 0 || count > BND_SQL_FOUNDERS_MAX) {
        return BND_CORRUPT;
    }
    for (uint8_t i = 0; i < count; i++) {
        nodes[i] = bnd_read_u64(&r);
        if (nodes[i] <= (i == 0 ? 0 : nodes[i - 1])) {
            return BND_CORRUPT;
        }
    }
    int rv = close_record(&r);
    if (rv == 0) {
        memcpy(out, nodes, sizeof nodes);
        *out_count = count;
    }
    return rv;
}

bool bnd_kv_title_valid(struct bnd_slice title) {
    for (size_t i = 0; i < title.len; i++) {
        if (title.data[i] < 0x20 || title.data[i] == 0x7f) {
            return false;
        }
    }
    return title.len > 0 && title.len <= BND_KV_TITLE_MAX && bnd_utf8_valid(title);
}

bool bnd_kv_public_id_valid(struct bnd_slice id) {
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return id.len == BND_KV_PUBLIC_ID_LEN;
}

bool bnd_bucket_name_valid(struct bnd_slice name) {
    if (name.len < BND_BUCKET_NAME_MIN || name.len > BND_BUCKET_NAME_MAX || name.data[0] == '-' ||
        name.data[name.len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!(c == '-' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) {
            return false;
        }
    }
    return true;
}
