/* Group 0's state machine: what it decides, over a real ordered map, as the cluster would see it.
 */
#include "catalog/issue.h"
#include "catalog/seal.h"
#include "tests/unit/catalog/machine.h"

/* ---- the cluster and its nodes
 * -------------------------------------------------------------------------- */

static const uint8_t key_a[BND_SECRET_HASH_LEN] = {1};
static const uint8_t key_b[BND_SECRET_HASH_LEN] = {2};

static void encode_node(struct bnd_buf *out, const uint8_t *key, enum bnd_node_role role) {
    struct bnd_node_record node = {.state = BND_NODE_ACTIVE,
                                   .role = role,
                                   .weight = role == BND_NODE_GATEWAY ? 0 : 100,
                                   .address = bnd_slice_str("127.0.0.9:7703"),
                                   .key_hash = bnd_slice(key, BND_SECRET_HASH_LEN)};
    bnd_node_encode(out, &node);
}

static void put_join_token(struct machine *m, const char *id, const char *secret,
                           uint64_t expires_ms) {
    struct bnd_buf record = {0};
    bnd_issue_join(bnd_slice_str(secret), expires_ms, &record);
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_JOIN_TOKEN, .a = bnd_slice_str(id), .b = bnd_buf_slice(&record)};
    assert_int_equal(apply(m, &command), 0);
    bnd_buf_free(&record);
}

/* Redeems; on 0 returns the node id that was issued, else the (negative) code. */
static long redeem_as(struct machine *m, const char *id, const char *secret, const uint8_t *key,
                      enum bnd_node_role role) {
    struct bnd_buf node = {0};
    uint8_t hash[BND_SHA256_LEN];
    bnd_sha256(bnd_slice_str(secret), hash);
    encode_node(&node, key, role);
    struct bnd_catalog_command command = {.op = BND_CATALOG_JOIN,
                                          .a = bnd_slice_str(id),
                                          .b = bnd_buf_slice(&node),
                                          .c = bnd_slice(hash, sizeof hash)};
    int status = apply(m, &command);
    bnd_buf_free(&node);
    if (status != 0) {
        return status;
    }
    struct bnd_node_record record;
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&m->reply), &record), 0);
    return (long)record.id;
}

static long redeem(struct machine *m, const char *id, const char *secret, const uint8_t *key) {
    return redeem_as(m, id, secret, key, BND_NODE_STORAGE);
}

static void a_join_token_belongs_to_the_first_key_that_redeems_it(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    put_join_token(m, "t1", "hush", m->stamp_ms + 1000);
    put_join_token(m, "t2", "hush", m->stamp_ms + 1000);
    assert_int_equal(redeem(m, "t1", "guess", key_a), BND_DENIED);
    assert_int_equal(redeem(m, "none", "hush", key_a), BND_DENIED);
    assert_int_equal(redeem(m, "t1", "hush", key_a), 2);
    m->stamp_ms += 5000;
    assert_int_equal(redeem(m, "t1", "hush", key_a),
                     2); /* a retry after a crash, even past the token's time */
    assert_int_equal(redeem(m, "t1", "hush", key_b), BND_DENIED);
    assert_int_equal(redeem(m, "t2", "hush", key_b), BND_EXPIRED);
    put_join_token(m, "t3", "hush", m->stamp_ms + 1000);
    assert_int_equal(redeem(m, "t3", "hush", key_b), 3);
}

static int put_join_record(struct machine *m, const char *id, const struct bnd_join_record *join) {
    struct bnd_buf record = {0};
    bnd_join_encode(&record, join);
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_JOIN_TOKEN, .a = bnd_slice_str(id), .b = bnd_buf_slice(&record)};
    int status = apply(m, &command);
    bnd_buf_free(&record);
    return status;
}

static void a_join_token_begins_unused_and_its_joiner_shows_a_key(void **state) {
    struct machine *m = *state;
    struct bnd_buf bytes = {0};
    static const uint8_t hash[BND_SHA256_LEN] = {1};
    init_cluster(m);
    struct bnd_join_record used = {.secret_hash = bnd_slice(hash, sizeof hash),
                                   .expires_ms = m->stamp_ms + 1000,
                                   .node = 1,
                                   .key_hash = bnd_slice(key_a, sizeof key_a)};
    assert_int_equal(put_join_record(m, "t1", &used), BND_INVALID);
    put_join_token(m, "t2", "hush", m->stamp_ms + 1000);
    struct bnd_node_record keyless = {
        .state = BND_NODE_ACTIVE, .role = BND_NODE_STORAGE, .weight = 100};
    uint8_t secret[BND_SHA256_LEN];
    bnd_sha256(bnd_slice_str("hush"), secret);
    bnd_node_encode(&bytes, &keyless);
    struct bnd_catalog_command command = {.op = BND_CATALOG_JOIN,
                                          .a = bnd_slice_str("t2"),
                                          .b = bnd_buf_slice(&bytes),
                                          .c = bnd_slice(secret, sizeof secret)};
    assert_int_equal(apply(m, &command), BND_INVALID);
    bnd_buf_free(&bytes);
}

/* The table is bounded; what expired a week ago makes room. */
static void join_tokens_are_bounded_and_swept(void **state) {
    struct machine *m = *state;
    char id[16];
    static const uint8_t hash[BND_SHA256_LEN] = {1};
    struct bnd_join_record join = {.secret_hash = bnd_slice(hash, sizeof hash)};
    init_cluster(m);
    int status = 0;
    unsigned count = 0;
    for (; status == 0 && count < 10000; count++) {
        (void)snprintf(id, sizeof id, "t%u", count);
        join.expires_ms = m->stamp_ms + 1000;
        status = put_join_record(m, id, &join);
    }
    assert_int_equal(status, BND_FULL);
    assert_int_equal(count, 4096 + 1);
    m->stamp_ms += 1000 + UINT64_C(604800000);
    join.expires_ms = m->stamp_ms + 1000;
    assert_int_equal(put_join_record(m, "late", &join), BND_FULL); /* a joiner may still retry */
    m->stamp_ms += 1;
    join.expires_ms = m->stamp_ms + 1000;
    assert_int_equal(put_join_record(m, "late", &join), 0);
}

static void a_changed_node_keeps_its_key(void **state) {
    struct machine *m = *state;
    struct bnd_buf bytes = {0};
    struct bnd_node_record record;
    init_cluster(m);
    put_join_token(m, "t1", "hush", m->stamp_ms + 1000);
    assert_int_equal(redeem(m, "t1", "hush", key_a), 2);
    struct bnd_node_record moved = {.id = 2,
                                    .state = BND_NODE_ACTIVE,
                                    .role = BND_NODE_STORAGE,
                                    .weight = 100,
                                    .address = bnd_slice_str("127.0.0.8:7703"),
                                    .key_hash = bnd_slice(key_b, sizeof key_b)};
    bnd_node_encode(&bytes, &moved);
    struct bnd_catalog_command command = {.op = BND_CATALOG_NODE_SET, .a = bnd_buf_slice(&bytes)};
    assert_int_equal(apply(m, &command), 0);
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&m->reply), &record), 0);
    assert_true(bnd_slice_eq(record.address, moved.address));
    assert_true(bnd_slice_eq(record.key_hash, bnd_slice(key_a, sizeof key_a)));
    bnd_buf_free(&bytes);
}

/* Returns the code; the reply is the record. */
static int node_state(struct machine *m, uint64_t id, enum bnd_node_state wanted, bool force) {
    struct bnd_catalog_command command = {.op = BND_CATALOG_NODE_STATE,
                                          .id = id,
                                          .number = (uint64_t)wanted,
                                          .a = bnd_slice("x", force ? 1 : 0)};
    return apply(m, &command);
}

static int replace(struct machine *m, uint64_t dead, uint64_t fresh) {
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_NODE_REPLACE, .id = dead, .number = fresh};
    return apply(m, &command);
}

static int set_address(struct machine *m, uint64_t id, const char *address) {
    struct bnd_buf bytes = {0};
    struct bnd_node_record node = {.id = id,
                                   .state = BND_NODE_GONE, /* not its to decide */
                                   .role = BND_NODE_STORAGE,
                                   .address = bnd_slice_str(address),
                                   .zone = bnd_slice_str("z2")};
    bnd_node_encode(&bytes, &node);
    struct bnd_catalog_command command = {.op = BND_CATALOG_NODE_SET, .a = bnd_buf_slice(&bytes)};
    int rv = apply(m, &command);
    bnd_buf_free(&bytes);
    return rv;
}

static struct bnd_node_record replied(struct machine *m) {
    struct bnd_node_record record;
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&m->reply), &record), 0);
    return record;
}

/* Nodes 2, 3, ... join. */
static void join_more(struct machine *m, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char id[24];
        uint8_t key[BND_SECRET_HASH_LEN] = {9, (uint8_t)i};
        snprintf(id, sizeof id, "j%zu", i);
        put_join_token(m, id, "hush", m->stamp_ms + 1000);
        assert_int_equal(redeem(m, id, "hush", key), 2 + (long)i);
    }
}

static void a_decommissioned_node_never_comes_back(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    join_more(m, 3);
    assert_int_equal(node_state(m, 1, BND_NODE_GONE, true), BND_PRECONDITION); /* it has replicas */
    assert_int_equal(node_state(m, 1, BND_NODE_LEAVING, false), 0);
    assert_int_equal(node_state(m, 1, BND_NODE_LEAVING, false), 0);
    assert_int_equal(node_state(m, 1, BND_NODE_GONE, false), 0);
    assert_int_equal(node_state(m, 1, BND_NODE_ACTIVE, true), BND_DENIED);
    assert_int_equal(node_state(m, 1, BND_NODE_GONE, true), BND_DENIED);
    assert_int_equal(set_address(m, 1, "127.0.0.4:7703"), BND_DENIED);
    assert_int_equal(replace(m, 1, 2), BND_PRECONDITION);
    assert_int_equal(node_state(m, 9, BND_NODE_ACTIVE, true), BND_NOTFOUND);
    put_join_token(m, "t9", "hush", m->stamp_ms + 1000);
    assert_int_equal(redeem(m, "t9", "hush", key_b), 5); /* and its id is not issued again */
}

static void groups_keep_their_voters_unless_forced(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(node_state(m, 1, BND_NODE_LEAVING, true), BND_PRECONDITION); /* the last one */
    join_more(m, 2);
    assert_int_equal(node_state(m, 3, BND_NODE_LEAVING, false), BND_PRECONDITION);
    assert_int_equal(node_state(m, 3, BND_NODE_LEAVING, true), 0);
    assert_int_equal(replied(m).state, BND_NODE_LEAVING);
    assert_int_equal(node_state(m, 2, BND_NODE_LEAVING, false), 0); /* of two one votes anyway */
    assert_int_equal(node_state(m, 1, BND_NODE_LEAVING, true), BND_PRECONDITION);
    assert_int_equal(node_state(m, 3, BND_NODE_DRAINING, true), BND_PRECONDITION);
    assert_int_equal(node_state(m, 3, BND_NODE_ACTIVE, false), 0); /* it may stay after all */
    assert_int_equal(node_state(m, 3, BND_NODE_DRAINING, false), 0);
    assert_int_equal(node_state(m, 3, 99, false), BND_PRECONDITION);
}

static void a_node_takes_the_place_of_another(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    join_more(m, 3);
    assert_int_equal(replied(m).place, 4);
    assert_int_equal(replace(m, 2, 2), BND_PRECONDITION);
    assert_int_equal(replace(m, 2, 9), BND_NOTFOUND);
    assert_int_equal(replace(m, 2, 4), 0);
    assert_int_equal(replied(m).id, 4);
    assert_int_equal(replied(m).place, 2);
    assert_int_equal(node_state(m, 2, BND_NODE_ACTIVE, true), BND_PRECONDITION); /* it is taken */
    assert_int_equal(replace(m, 2, 3), BND_PRECONDITION);
    assert_int_equal(replace(m, 3, 4), BND_PRECONDITION); /* 4 holds what was 2's */
    /* By joining; and a place can be handed on. */
    struct bnd_buf node = {0};
    struct bnd_node_record joining = {.place = 4,
                                      .state = BND_NODE_ACTIVE,
                                      .role = BND_NODE_STORAGE,
                                      .weight = 100,
                                      .key_hash = bnd_slice(key_b, BND_SECRET_HASH_LEN)};
    bnd_node_encode(&node, &joining);
    put_join_token(m, "t9", "hush", m->stamp_ms + 1000);
    uint8_t hash[BND_SHA256_LEN];
    bnd_sha256(bnd_slice_str("hush"), hash);
    struct bnd_catalog_command command = {.op = BND_CATALOG_JOIN,
                                          .a = bnd_slice_str("t9"),
                                          .b = bnd_buf_slice(&node),
                                          .c = bnd_slice(hash, sizeof hash)};
    /* 2 is still there, with the same place. */
    assert_int_equal(apply(m, &command), BND_PRECONDITION);
    assert_int_equal(node_state(m, 2, BND_NODE_GONE, false), 0);
    assert_int_equal(apply(m, &command), 0);
    assert_int_equal(replied(m).id, 5);
    assert_int_equal(replied(m).place, 2);
    bnd_buf_free(&node);
}

static void a_node_tells_where_it_is_and_nothing_else(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(set_address(m, 1, "127.0.0.4:7703"), 0);
    struct bnd_node_record record = replied(m);
    assert_true(bnd_slice_eq(record.address, bnd_slice_str("127.0.0.4:7703")));
    assert_true(bnd_slice_eq(record.zone, bnd_slice_str("z2")));
    assert_int_equal(record.state, BND_NODE_ACTIVE);
    assert_int_equal(record.weight, 100);
    assert_int_equal(record.place, 1);
    assert_int_equal(set_address(m, 5, "127.0.0.4:7703"), BND_NOTFOUND);
}

/* Records of version 1, as clusters made before have them. */
static void a_record_without_a_place_has_its_own(void **state) {
    (void)state;
    struct bnd_buf bytes = {0};
    bnd_buf_u8(&bytes, 1);
    bnd_buf_u64(&bytes, 7);
    bnd_buf_u8(&bytes, BND_NODE_ACTIVE);
    bnd_buf_u8(&bytes, BND_NODE_STORAGE);
    bnd_buf_u32(&bytes, 100);
    bnd_buf_u64(&bytes, 0);
    for (size_t i = 0; i < 3; i++) {
        bnd_buf_bytes(&bytes, bnd_slice(NULL, 0));
    }
    struct bnd_node_record record;
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&bytes), &record), 0);
    assert_int_equal(record.place, 7);
    assert_int_equal(record.weight, 100);
    bytes.data[0] = 3;
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&bytes), &record), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

/* Nothing may ever be placed on a gateway: not by its joining, nor by a later change of its
 * record. */
static void a_gateway_has_no_weight_for_ever(void **state) {
    struct machine *m = *state;
    struct bnd_buf bytes = {0};
    struct bnd_node_record record;
    init_cluster(m);
    put_join_token(m, "t1", "hush", m->stamp_ms + 1000);
    assert_int_equal(redeem_as(m, "t1", "hush", key_a, BND_NODE_GATEWAY), 2);
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&m->reply), &record), 0);
    assert_int_equal(record.role, BND_NODE_GATEWAY);
    assert_int_equal(record.weight, 0);
    assert_int_equal(redeem(m, "t1", "hush", key_a), BND_DENIED);
    assert_int_equal(redeem_as(m, "t1", "hush", key_a, BND_NODE_GATEWAY), 2);

    struct bnd_node_record promoted = {
        .id = 2, .state = BND_NODE_ACTIVE, .role = BND_NODE_STORAGE, .weight = 100};
    bnd_node_encode(&bytes, &promoted);
    struct bnd_catalog_command command = {.op = BND_CATALOG_NODE_SET, .a = bnd_buf_slice(&bytes)};
    assert_int_equal(apply(m, &command), 0);
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&m->reply), &record), 0);
    assert_int_equal(record.role, BND_NODE_GATEWAY);
    assert_int_equal(record.weight, 0);

    bnd_buf_reset(&bytes);
    promoted.role = BND_NODE_GATEWAY;
    bnd_node_encode(&bytes, &promoted);
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&bytes), &record), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

/* ---- buckets
 * -------------------------------------------------------------------------------------------- */

static struct bnd_bucket_record bucket_command(struct machine *m, enum bnd_catalog_op op,
                                               const char *name, uint64_t id, uint64_t number,
                                               int expected) {
    struct bnd_bucket_record record = {0};
    struct bnd_catalog_command command = {
        .op = op, .a = bnd_slice_str(name), .id = id, .number = number};
    assert_int_equal(apply(m, &command), expected);
    if (m->reply.len > 0) {
        assert_int_equal(bnd_bucket_decode(bnd_buf_slice(&m->reply), &record), 0);
    }
    return record;
}

static void bucket_ids_are_never_reused(void **state) {
    struct machine *m = *state;
    struct bnd_bucket_record first =
        bucket_command(m, BND_CATALOG_BUCKET_CREATE, "photos", 0, 5, 0);
    assert_int_equal(first.segments, 5);
    struct bnd_bucket_record again =
        bucket_command(m, BND_CATALOG_BUCKET_CREATE, "photos", 0, 0, BND_EXISTS);
    assert_int_equal(again.id, first.id);
    assert_int_equal(again.segments, 5);
    struct bnd_bucket_record sealed = bucket_command(m, BND_CATALOG_BUCKET_SEAL, "photos", 0, 0, 0);
    bucket_command(m, BND_CATALOG_BUCKET_REMOVE, "photos", first.id, sealed.attempt, 0);
    struct bnd_bucket_record second =
        bucket_command(m, BND_CATALOG_BUCKET_CREATE, "photos", 0, 0, 0);
    assert_true(second.id > first.id);
    bucket_command(m, BND_CATALOG_BUCKET_REMOVE, "photos", first.id, sealed.attempt, BND_NOTFOUND);
}

static void only_the_newest_deletion_attempt_decides(void **state) {
    struct machine *m = *state;
    uint64_t id = bucket_command(m, BND_CATALOG_BUCKET_CREATE, "photos", 0, 0, 0).id;
    bucket_command(m, BND_CATALOG_BUCKET_REMOVE, "photos", id, 0,
                   BND_EPOCH); /* no attempt was begun */
    uint64_t one = bucket_command(m, BND_CATALOG_BUCKET_SEAL, "photos", 0, 0, 0).attempt;
    uint64_t two = bucket_command(m, BND_CATALOG_BUCKET_SEAL, "photos", 0, 0, 0).attempt;
    assert_true(two > one);
    bucket_command(m, BND_CATALOG_BUCKET_REMOVE, "photos", id, one, BND_EPOCH);
    bucket_command(m, BND_CATALOG_BUCKET_UNSEAL, "photos", id, one, BND_EPOCH);
    struct bnd_bucket_record after =
        bucket_command(m, BND_CATALOG_BUCKET_UNSEAL, "photos", id, two, 0);
    assert_int_equal(after.state, BND_BUCKET_ACTIVE);
    bucket_command(m, BND_CATALOG_BUCKET_REMOVE, "photos", id, two,
                   BND_EPOCH); /* rolled back already */
    bucket_command(m, BND_CATALOG_BUCKET_SEAL, "nothing", 0, 0, BND_NOTFOUND);
}

static void bucket_names_are_checked(void **state) {
    struct machine *m = *state;
    static const char *const bad[] = {
        "ab",  "-abc", "abc-",
        "Abc", "a.b",  "a_b",
        "a b", "",     "a234567890123456789012345678901234567890123456789012345678901234"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bucket_command(m, BND_CATALOG_BUCKET_CREATE, bad[i], 0, 0, BND_INVALID);
    }
    bucket_command(m, BND_CATALOG_BUCKET_CREATE, "abc", 0, 256, BND_INVALID);
    bucket_command(m, BND_CATALOG_BUCKET_CREATE,
                   "a23456789012345678901234567890123456789012345678901234567890123", 0, 0, 0);
}

/* Lists with a limit; returns how many came and whether more are there, and the last name. */
static uint32_t list(struct machine *m, const char *prefix, const char *after, uint64_t limit,
                     bool *more, char last[64]) {
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_BUCKETS,
                                  .number = limit,
                                  .a = bnd_slice_str(prefix),
                                  .b = bnd_slice_str(after)};
    assert_int_equal(query(m, &q), 0);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&m->reply));
    *more = bnd_read_u8(&r) != 0;
    uint32_t count = bnd_read_u32(&r);
    for (uint32_t i = 0; i < count; i++) {
        struct bnd_bucket_record record;
        assert_int_equal(bnd_bucket_decode(bnd_read_bytes(&r), &record), 0);
        memcpy(last, record.name.data, record.name.len);
        last[record.name.len] = 0;
    }
    assert_true(bnd_reader_done(&r));
    return count;
}

static void buckets_are_listed_in_pages(void **state) {
    struct machine *m = *state;
    char last[64];
    bool more = false;
    static const char *const names[] = {"aaa", "logs-1", "logs-2", "logs-3", "zzz"};
    for (size_t i = 0; i < 5; i++) {
        bucket_command(m, BND_CATALOG_BUCKET_CREATE, names[i], 0, 0, 0);
    }
    assert_int_equal(list(m, "logs-", "", 2, &more, last), 2);
    assert_true(more);
    assert_string_equal(last, "logs-2");
    assert_int_equal(list(m, "logs-", "logs-2", 2, &more, last), 1);
    assert_false(more);
    assert_int_equal(list(m, "", "", 1000, &more, last), 5);
    assert_false(more);
    struct bnd_catalog_query zero = {.kind = BND_CATALOG_QUERY_BUCKETS};
    assert_int_equal(query(m, &zero), BND_INVALID);
}

/* ---- the view
 * ------------------------------------------------------------------------------------------- */

static uint64_t revision(struct machine *m, uint64_t known, bool *whole) {
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW, .number = known};
    assert_int_equal(query(m, &q), 0);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&m->reply));
    uint64_t number = bnd_read_u64(&r);
    *whole = !bnd_reader_done(&r);
    return number;
}

static const struct bnd_issue_scope scope = {.permissions = BND_PERM_ALL,
                                             .label = {.data = (const uint8_t *)"ci", .len = 2}};

static void a_revoked_token_moves_the_revision(void **state) {
    struct machine *m = *state;
    struct bnd_buf record = {0};
    char id[BND_TOKEN_ID_TEXT];
    char token[BND_TOKEN_TEXT_LEN + 1];
    bool whole = false;
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW};
    assert_int_equal(query(m, &q), BND_NOTFOUND); /* before the cluster is set up */
    init_cluster(m);
    uint64_t before = revision(m, 0, &whole);
    assert_true(whole);
    assert_int_equal(revision(m, before, &whole), before);
    assert_false(whole);
    bnd_issue_token(bnd_sim_env(m->env), &scope, &record, id, token);
    struct bnd_catalog_command put = {.op = BND_CATALOG_TOKEN_PUT, .a = bnd_buf_slice(&record)};
    assert_int_equal(apply(m, &put), 0);
    assert_int_equal(apply(m, &put), BND_EXISTS);
    uint64_t with = revision(m, before, &whole);
    assert_true(with > before && whole);
    struct bnd_catalog_command drop = {.op = BND_CATALOG_TOKEN_DELETE, .a = bnd_slice_str(id)};
    assert_int_equal(apply(m, &drop), 0);
    assert_int_equal(apply(m, &drop), BND_NOTFOUND);
    assert_true(revision(m, with, &whole) > with);
    bnd_buf_free(&record);
}

/* A token as it was stored before tokens could be limited is one of every bucket; one of a bucket
 * is nothing to who does not know of the limit. */
static void tokens_of_one_bucket_are_another_version(void **state) {
    struct bnd_buf bytes = {0};
    struct bnd_token_record token = {.id = bnd_slice_str("id"),
                                     .permissions = BND_PERM_OBJECT_READ,
                                     .secret_hash =
                                         bnd_slice("0123456789abcdef0123456789abcdef", 32),
                                     .label = bnd_slice_str("ci")};
    static const char old[] = "\1\2\0\0\0id\1\0\0\0\0\0\0\0\0\0\0\0\40\0\0\0"
                              "0123456789abcdef0123456789abcdef\2\0\0\0ci";
    bnd_token_encode(&bytes, &token);
    assert_true(bnd_slice_eq(bnd_buf_slice(&bytes), bnd_slice(old, sizeof old - 1)));
    struct bnd_token_record got;
    assert_int_equal(bnd_token_decode(bnd_buf_slice(&bytes), &got), 0);
    assert_int_equal(got.bucket.len, 0);
    bnd_buf_reset(&bytes);
    token.bucket = bnd_slice_str("mine");
    bnd_token_encode(&bytes, &token);
    assert_int_equal(bytes.data[0], 2);
    assert_int_equal(bnd_token_decode(bnd_buf_slice(&bytes), &got), 0);
    assert_true(bnd_slice_eq(got.bucket, token.bucket));
    bytes.data[0] = 1; /* the limit cannot be left out */
    assert_int_equal(bnd_token_decode(bnd_buf_slice(&bytes), &got), BND_CORRUPT);
    bnd_buf_reset(&bytes);
    token.bucket = bnd_slice_str("No Bucket");
    bnd_token_encode(&bytes, &token);
    assert_int_equal(bnd_token_decode(bnd_buf_slice(&bytes), &got), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

static int set_node_again(struct machine *m, uint64_t id, enum bnd_node_role role) {
    struct bnd_buf bytes = {0};
    struct bnd_node_record node = {.id = id,
                                   .state = BND_NODE_ACTIVE,
                                   .role = role,
                                   .weight = role == BND_NODE_GATEWAY ? 0 : 100,
                                   .address = bnd_slice_str("127.0.0.9:7703")};
    bnd_node_encode(&bytes, &node);
    struct bnd_catalog_command command = {.op = BND_CATALOG_NODE_SET, .a = bnd_buf_slice(&bytes)};
    int status = apply(m, &command);
    bnd_buf_free(&bytes);
    return status;
}

static uint64_t bucket_made(struct machine *m, const char *name) {
    struct bnd_bucket_record bucket;
    struct bnd_catalog_command command = {.op = BND_CATALOG_BUCKET_CREATE,
                                          .a = bnd_slice_str(name)};
    assert_int_equal(apply(m, &command), 0);
    assert_int_equal(bnd_bucket_decode(bnd_buf_slice(&m->reply), &bucket), 0);
    return bucket.id;
}

/* The lost nodes are refused for ever, and no id that they may have issued is issued again. */
static void a_recovery_gives_up_the_other_nodes_and_leaves_a_gap_of_ids(void **state) {
    struct machine *m = *state;
    static const uint8_t keys[4][BND_SECRET_HASH_LEN] = {{1}, {2}, {3}, {4}};
    static const char *const tokens[] = {"t2", "t3", "t4", "t5"};
    init_cluster(m);
    for (size_t i = 0; i < 4; i++) {
        put_join_token(m, tokens[i], "hush", m->stamp_ms + 1000);
    }
    assert_int_equal(redeem(m, "t2", "hush", keys[0]), 2);
    assert_int_equal(redeem(m, "t3", "hush", keys[1]), 3);
    assert_int_equal(redeem_as(m, "t4", "hush", keys[2], BND_NODE_GATEWAY), 4);
    uint64_t bucket = bucket_made(m, "before");
    struct bnd_catalog_command recover = {.op = BND_CATALOG_RECOVER, .id = 9};
    assert_int_equal(apply(m, &recover), BND_NOTFOUND);
    recover.id = 2;
    assert_int_equal(apply(m, &recover), 0);
    assert_int_equal(set_node_again(m, 1, BND_NODE_STORAGE), BND_DENIED);
    assert_int_equal(set_node_again(m, 3, BND_NODE_STORAGE), BND_DENIED);
    assert_int_equal(set_node_again(m, 2, BND_NODE_STORAGE), 0);
    assert_int_equal(set_node_again(m, 4, BND_NODE_GATEWAY), 0);
    assert_true(redeem(m, "t5", "hush", keys[3]) > 1 << 20);
    assert_true(bucket_made(m, "after") > bucket + (1 << 20));
}

static void tokens_are_bounded(void **state) {
    struct machine *m = *state;
    char id[BND_TOKEN_ID_TEXT];
    char token[BND_TOKEN_TEXT_LEN + 1];
    int status = 0;
    unsigned count = 0;
    init_cluster(m);
    for (; status == 0 && count < 10000; count++) {
        struct bnd_buf record = {0};
        bnd_issue_token(bnd_sim_env(m->env), &scope, &record, id, token);
        struct bnd_catalog_command put = {.op = BND_CATALOG_TOKEN_PUT, .a = bnd_buf_slice(&record)};
        status = apply(m, &put);
        bnd_buf_free(&record);
    }
    assert_int_equal(status, BND_FULL);
    assert_int_equal(count, 4096 + 1);
}

static void bytes_that_are_no_command_change_nothing(void **state) {
    struct machine *m = *state;
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    struct bnd_fsm_apply context = {.index = 1, .slot = SLOT, .state = m->state, .batch = batch};
    static const uint8_t bad[] = {0, 255, 3};
    for (size_t i = 0; i < sizeof bad; i++) {
        assert_int_equal(m->fsm.ops->apply(NULL, &context, bnd_slice(&bad[i], 1), &m->reply),
                         BND_INVALID);
    }
    for (int op = BND_CATALOG_INIT; op < BND_CATALOG_OPS; op++) {
        struct bnd_buf bytes = {0};
        struct bnd_catalog_command command = {.op = (enum bnd_catalog_op)op};
        bnd_catalog_command_encode(&bytes, &command);
        assert_int_not_equal(m->fsm.ops->apply(NULL, &context, bnd_buf_slice(&bytes), &m->reply),
                             0);
        bnd_buf_free(&bytes);
    }
    m->state->ops->batch_destroy(batch);
}

/* ---- secrets
 * -------------------------------------------------------------------------------------------- */

static void a_sealed_secret_opens_only_unchanged_and_with_its_key(void **state) {
    struct machine *m = *state;
    struct bnd_buf sealed = {0};
    struct bnd_buf plain = {0};
    uint8_t key[BND_CLUSTER_KEY_LEN] = {42};
    uint8_t other[BND_CLUSTER_KEY_LEN] = {43};
    assert_int_equal(bnd_seal(bnd_sim_env(m->env), key, bnd_slice_str("secret"), &sealed), 0);
    assert_int_equal(bnd_unseal(key, bnd_buf_slice(&sealed), &plain), 0);
    assert_memory_equal(plain.data, "secret", 6);
    assert_int_equal(bnd_unseal(other, bnd_buf_slice(&sealed), &plain), BND_CORRUPT);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] ^= 1;
        assert_int_equal(bnd_unseal(key, bnd_buf_slice(&sealed), &plain), BND_CORRUPT);
        sealed.data[i] ^= 1;
    }
    assert_int_equal(bnd_unseal(key, bnd_slice(sealed.data, 28), &plain), BND_CORRUPT);
    bnd_buf_free(&sealed);
    bnd_buf_free(&plain);
}

static void secrets_are_equal_only_as_a_whole(void **state) {
    struct bnd_slice secret = bnd_slice_str("secret");
    assert_true(bnd_secret_eq(secret, bnd_slice_str("secret")));
    assert_false(bnd_secret_eq(secret, bnd_slice_str("secreT")));
    assert_false(bnd_secret_eq(secret, bnd_slice_str("secre")));
    assert_false(bnd_secret_eq(secret, bnd_slice_str("secrets")));
    assert_false(bnd_secret_eq(secret, bnd_slice_str("")));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_join_token_belongs_to_the_first_key_that_redeems_it),
        TEST(a_join_token_begins_unused_and_its_joiner_shows_a_key),
        TEST(a_recovery_gives_up_the_other_nodes_and_leaves_a_gap_of_ids),
        TEST(join_tokens_are_bounded_and_swept),
        TEST(a_changed_node_keeps_its_key),
        TEST(a_decommissioned_node_never_comes_back),
        TEST(groups_keep_their_voters_unless_forced),
        TEST(a_node_takes_the_place_of_another),
        TEST(a_node_tells_where_it_is_and_nothing_else),
        TEST(a_record_without_a_place_has_its_own),
        TEST(a_gateway_has_no_weight_for_ever),
        TEST(bucket_ids_are_never_reused),
        TEST(only_the_newest_deletion_attempt_decides),
        TEST(bucket_names_are_checked),
        TEST(buckets_are_listed_in_pages),
        TEST(a_revoked_token_moves_the_revision),
        TEST(tokens_of_one_bucket_are_another_version),
        TEST(tokens_are_bounded),
        TEST(bytes_that_are_no_command_change_nothing),
        TEST(a_sealed_secret_opens_only_unchanged_and_with_its_key),
        TEST(secrets_are_equal_only_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
