/* See inspect_state.h. */
#include "tools/inspect_state.h"

#include "base/json.h"
#include "catalog/keys.h"
#include "catalog/records.h"
#include "kv/record.h"
#include "objects/keys.h"
#include "objects/manifest.h"
#include "raft/tuple.h"
#include "tools/inspect_records.h"

#include <inttypes.h>

static const char *const family_names[BND_CF_COUNT] = {
    [BND_CF_RAFT] = "raft", [BND_CF_CATALOG] = "catalog", [BND_CF_OBJECTS] = "objects", [BND_CF_KV] = "kv",
    [BND_CF_SQL] = "sql"};

enum { SLOT_BYTES = 4 }; /* what every key begins with (engine/state.h) */

struct looking {
    const struct tools_state_look *look;
    uint64_t damaged;
    uint32_t slot;       /* being looked at */
    struct bnd_buf text; /* of one line */
};

/* ,"name":"text" */
static void add_text(struct bnd_buf *out, const char *name, const char *text) {
    bnd_buf_printf(out, ",\"%s\":\"", name);
    bnd_json_text(out, text);
    bnd_buf_u8(out, '"');
}

static void print(struct looking *looking) {
    bnd_buf_u8(&looking->text, 0);
    looking->look->print(looking->look->data,
                         looking->text.failed ? "(no memory)" : (const char *)looking->text.data);
    bnd_buf_free(&looking->text);
}

static void say_damage(struct looking *looking, enum bnd_state_cf cf, struct bnd_slice key,
                       const char *what) {
    looking->damaged++;
    bnd_buf_reset(&looking->text);
    if (looking->look->json) {
        bnd_buf_printf(&looking->text, "{\"slot\":%u,\"family\":\"%s\",\"damaged\":true,\"key\":\"",
                       looking->slot, family_names[cf]);
        for (size_t i = 0; i < key.len; i++) {
            bnd_buf_printf(&looking->text, "%02x", key.data[i]);
        }
        bnd_buf_u8(&looking->text, '"');
        add_text(&looking->text, "problem", what);
        bnd_buf_u8(&looking->text, '}');
        print(looking);
        return;
    }
    bnd_buf_printf(&looking->text, "  DAMAGED: %s: ", family_names[cf]);
    tools_record_escape(&looking->text, key);
    bnd_buf_printf(&looking->text, "%s%s", key.len == 0 ? "" : ": ", what);
    print(looking);
}

/* ---- slots
 * ------------------------------------------------------------------------------------------------
 */

/* The slot whose range a key lies in: also of one that is cut short, as nothing of ours is, and sorts
 * before the slot that it is the beginning of. */
static uint32_t slot_of(struct bnd_slice key) {
    uint8_t bytes[SLOT_BYTES] = {0};
    memcpy(bytes, key.data, key.len < SLOT_BYTES ? key.len : SLOT_BYTES);
    return bnd_get_be32(bytes) - (key.len < SLOT_BYTES);
}

/* The next slot in use from `from` on in a family; UINT32_MAX: there is none, or it cannot be told.
 */
static uint32_t next_slot(struct looking *looking, enum bnd_state_cf cf, uint32_t from) {
    struct bnd_state *state = looking->look->state;
    uint8_t key[SLOT_BYTES];
    static const uint8_t past[] = {0xff, 0xff, 0xff, 0xff, 0xff};
    bnd_put_be32(key, from);
    struct bnd_state_iter *iter =
        state->ops->iter(state, cf, bnd_slice(key, sizeof key), bnd_slice(past, sizeof past));
    if (iter == NULL) {
        say_damage(looking, cf, bnd_slice(NULL, 0), "what follows cannot be read");
        return UINT32_MAX;
    }
    uint32_t found = UINT32_MAX;
    if (state->ops->iter_valid(iter)) {
        found = slot_of(state->ops->iter_key(iter));
    } else if (state->ops->iter_status(iter) != 0) {
        say_damage(looking, cf, bnd_slice(NULL, 0), "what follows cannot be read");
    }
    state->ops->iter_destroy(iter);
    return found;
}

/* Calls each for every record of a slot in a family whose key, behind the slot, begins with prefix.
 */
struct scan {
    enum bnd_state_cf cf;
    uint32_t slot;
    struct bnd_slice prefix;
    void (*each)(void *data, const struct tools_record *record);
    void *data;
};

static void run_scan(struct looking *looking, const struct scan *scan) {
    struct bnd_state *state = looking->look->state;
    struct objects_key from = {.len = 4};
    bnd_put_be32(from.bytes, scan->slot);
    memcpy(from.bytes + 4, scan->prefix.data == NULL ? (const uint8_t *)"" : scan->prefix.data,
           scan->prefix.len);
    from.len += scan->prefix.len;
    struct objects_key to = from;
    if (scan->prefix.len == 0 || !objects_key_past(&to)) {
        bnd_put_be32(to.bytes, scan->slot + 1); /* UINT32_MAX is nobody's */
        to.len = SLOT_BYTES;
    }
    struct bnd_state_iter *iter =
        state->ops->iter(state, scan->cf, objects_key_slice(&from), objects_key_slice(&to));
    for (; iter != NULL && state->ops->iter_valid(iter); state->ops->iter_next(iter)) {
        struct bnd_slice key = state->ops->iter_key(iter);
        if (key.len <= SLOT_BYTES) {
            say_damage(looking, scan->cf, key, "a key that ends with its slot, or before");
            continue;
        }
        struct tools_record record = {scan->cf,
                                      bnd_slice(key.data + SLOT_BYTES, key.len - SLOT_BYTES),
                                      state->ops->iter_value(iter)};
        scan->each(scan->data, &record);
    }
    if (iter == NULL || state->ops->iter_status(iter) != 0) {
        say_damage(looking, scan->cf, bnd_slice(NULL, 0),
                   "the rest of this slot cannot be read (its file is damaged)");
    }
    if (iter != NULL) {
        state->ops->iter_destroy(iter);
    }
}

struct counting {
    struct looking *looking;
    uint64_t counts[256];
};

/* The text of a record, as it is or in an object with where it was found. */
static void print_text(struct looking *looking, const struct tools_record *record) {
    BND_AUTO_BUF struct bnd_buf line = {0};
    if (!looking->look->json) {
        print(looking);
        return;
    }
    bnd_buf_u8(&looking->text, 0);
    const char *text = looking->text.failed ? "" : (const char *)looking->text.data;
    bnd_buf_printf(&line, "{\"slot\":%u,\"family\":\"%s\",\"kind\":\"%s\"", looking->slot,
                   family_names[record->cf], tools_record_kind(record->cf, record->key.data[0]));
    add_text(&line, "record", text + strspn(text, " "));
    bnd_buf_u8(&line, '}');
    struct bnd_buf old = looking->text;
    looking->text = line;
    line = old;
    print(looking);
}

static void take_record(void *data, const struct tools_record *record) {
    struct counting *counting = data;
    struct looking *looking = counting->looking;
    bnd_buf_reset(&looking->text);
    bnd_buf_append_str(&looking->text, "  ");
    int rv = tools_record_text(record, &looking->text);
    if (rv != 0) {
        say_damage(looking, record->cf, record->key, "no record of a known kind");
        return;
    }
    counting->counts[record->key.data[0]]++;
    if (looking->look->records ||
        (record->cf == BND_CF_RAFT && record->key.data[0] == TUPLE_KEY_APPLIED)) {
        print_text(looking, record);
    }
}

static void inspect_family(struct looking *looking, uint32_t slot, enum bnd_state_cf cf) {
    struct counting counting = {.looking = looking};
    struct scan scan = {.cf = cf, .slot = slot, .each = take_record, .data = &counting};
    bool any = false;
    run_scan(looking, &scan);
    bool json = looking->look->json;
    bnd_buf_reset(&looking->text);
    if (json) {
        bnd_buf_printf(&looking->text, "{\"slot\":%u,", slot);
    }
    bnd_buf_printf(&looking->text,
                   json ? "\"family\":\"%s\",\"counts\":{" : "  %s:", family_names[cf]);
    for (unsigned tag = 0; tag < 256; tag++) {
        if (counting.counts[tag] > 0 && !(cf == BND_CF_RAFT && tag == TUPLE_KEY_APPLIED)) {
            const char *kind = tools_record_kind(cf, (uint8_t)tag);
            bnd_buf_append_str(&looking->text, any ? "," : "");
            if (json) {
                bnd_buf_printf(&looking->text, "\"%s\":%" PRIu64, kind, counting.counts[tag]);
            } else {
                bnd_buf_printf(&looking->text, " %" PRIu64 " %s", counting.counts[tag], kind);
            }
            any = true;
        }
    }
    bnd_buf_append_str(&looking->text, json ? "}}" : "");
    if (any) {
        print(looking);
    }
}

static void inspect_slot(struct looking *looking, uint32_t slot) {
    looking->slot = slot;
    bnd_buf_reset(&looking->text);
    if (!looking->look->json) { /* there each line says its slot */
        if (slot >= KV_SLOT(0)) {
            bnd_buf_printf(&looking->text, "slot %u (KV shard %u)", slot, slot - KV_SLOT(0));
        } else {
            bnd_buf_printf(&looking->text, slot == 0 ? "slot 0 (the node's own)" : "slot %u", slot);
        }
        print(looking);
    }
    for (int cf = 0; cf < BND_CF_COUNT; cf++) {
        inspect_family(looking, slot, (enum bnd_state_cf)cf);
    }
}

static void each_slot(struct looking *looking, void (*each)(void *data, uint32_t slot),
                      void *data) {
    uint32_t next[BND_CF_COUNT];
    for (int cf = 0; cf < BND_CF_COUNT; cf++) {
        next[cf] = next_slot(looking, (enum bnd_state_cf)cf, 0);
    }
    for (;;) {
        uint32_t least = UINT32_MAX;
        for (int cf = 0; cf < BND_CF_COUNT; cf++) {
            least = next[cf] < least ? next[cf] : least;
        }
        if (least == UINT32_MAX) {
            return;
        }
        each(data, least);
        for (int cf = 0; cf < BND_CF_COUNT; cf++) {
            if (next[cf] == least) {
                next[cf] = next_slot(looking, (enum bnd_state_cf)cf, least + 1);
            }
        }
    }
}

static void inspect_each(void *data, uint32_t slot) {
    inspect_slot(data, slot);
}

/* ---- one object
 * ------------------------------------------------------------------------------------------- */

struct finding {
    struct looking *looking;
    struct bnd_slice bucket;
    struct bnd_slice key;
    uint64_t bucket_id; /* 0: not known */
    uint32_t slot;
    uint64_t found;
};

static void print_record(void *data, const struct tools_record *record) {
    struct finding *finding = data;
    struct looking *looking = finding->looking;
    looking->slot = finding->slot;
    bnd_buf_reset(&looking->text);
    if (!looking->look->json) {
        bnd_buf_printf(&looking->text, "slot %u: ", finding->slot);
    }
    if (tools_record_text(record, &looking->text) != 0) {
        say_damage(looking, record->cf, record->key, "no record of a known kind");
    } else {
        print_text(looking, record);
    }
    finding->found++;
}

static void scan_for(struct finding *finding, struct objects_key *key,
                     void (*each)(void *data, const struct tools_record *record)) {
    struct scan scan = {.cf = BND_CF_OBJECTS,
                        .slot = finding->slot,
                        .prefix = bnd_slice(key->bytes + 4, key->len - 4),
                        .each = each,
                        .data = finding};
    run_scan(finding->looking, &scan);
}

/* The object itself, then the bodies or parts that its version has. */
static void take_object(void *data, const struct tools_record *record) {
    struct finding *finding = data;
    struct objects_key key;
    struct bnd_slice body;
    struct bnd_object_meta meta;
    bool is_it = record->key.len == 9 + finding->key.len; /* not a longer one */
    if (!is_it) {
        return;
    }
    print_record(finding, record);
    if (objects_manifest_decode(record->value, &meta, &body) != 0) {
        return;
    }
    objects_key_version(&key, finding->slot, OBJECTS_TAG_TABLE,
                        bnd_slice(meta.version, sizeof meta.version));
    scan_for(finding, &key, print_record);
    objects_key_version(&key, finding->slot, OBJECTS_TAG_BODY,
                        bnd_slice(meta.version, sizeof meta.version));
    scan_for(finding, &key, print_record);
}

static void find_object(void *data, uint32_t slot) {
    struct finding *finding = data;
    struct objects_key key;
    finding->slot = slot;
    objects_key_object(&key, slot, finding->bucket_id, finding->key);
    scan_for(finding, &key, take_object);
    objects_key_upload(&key, slot, finding->bucket_id, finding->key, NULL);
    key.bytes[key.len++] = 0; /* the key's end: not a longer one */
    key.bytes[key.len++] = 0;
    scan_for(finding, &key, print_record);
}

static void take_bucket(void *data, const struct tools_record *record) {
    struct finding *finding = data;
    struct bnd_bucket_record bucket;
    if (bnd_bucket_decode(record->value, &bucket) == 0 &&
        bnd_slice_eq(bucket.name, finding->bucket)) {
        finding->bucket_id = bucket.id;
    }
}

static void find_bucket(void *data, uint32_t slot) {
    struct finding *finding = data;
    const uint8_t tag = CATALOG_TAG_BUCKET;
    struct scan scan = {.cf = BND_CF_CATALOG,
                        .slot = slot,
                        .prefix = bnd_slice(&tag, 1),
                        .each = take_bucket,
                        .data = finding};
    run_scan(finding->looking, &scan);
}

static int inspect_object(struct looking *looking, struct bnd_error *err) {
    const char *name = looking->look->object;
    const char *slash = strchr(name, '/');
    if (slash == NULL || slash[1] == 0 || strlen(slash + 1) > BND_OBJECT_KEY_MAX) {
        return BND_FAIL(err, INVALID, "'%.64s' is not BUCKET/KEY", name);
    }
    struct finding finding = {.looking = looking,
                              .bucket = bnd_slice(name, (size_t)(slash - name)),
                              .key = bnd_slice_str(slash + 1)};
    each_slot(looking, find_bucket, &finding);
    if (finding.bucket_id == 0) {
        return BND_FAIL(err, NOTFOUND, "no bucket of this name is in the state of this node");
    }
    each_slot(looking, find_object, &finding);
    return finding.found == 0
               ? BND_FAIL(err, NOTFOUND, "this node's state has no such object in bucket %.*s",
                          (int)finding.bucket.len, (const char *)finding.bucket.data)
               : 0;
}

int tools_inspect_state(const struct tools_state_look *look, struct bnd_error *err) {
    struct looking looking = {.look = look};
    int rv = 0;
    if (look->object != NULL) {
        rv = inspect_object(&looking, err);
    } else {
        each_slot(&looking, inspect_each, &looking);
    }
    bnd_buf_free(&looking.text);
    if (looking.damaged > 0) {
        return BND_FAIL(err, CORRUPT, "%" PRIu64 " records or files are damaged", looking.damaged);
    }
    return rv;
}
