/* The state machine alone: what each command must refuse, and what becomes of bodies. Commands are
 * applied as entries of a log are, over an ordered map; the wire is the real codec. */
#include "objects/fsm.h"

#include "raft/fsm.h"
#include "tests/sim/env.h"
#include "tests/sim/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SLOT = 7, GID = 0x100000001, BUCKET = 5 };

struct machine {
    struct bnd_sim_world *world;
    struct bnd_sim_store *store;
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *env;
    struct bnd_state *state;
    struct bnd_fsm fsm;
    struct bnd_buf reply;
    uint64_t bucket;
    uint64_t index;
    uint64_t stamp_ms;
    bool time_suspended;
};

static int setup(void **state) {
    static struct machine machine;
    memset(&machine, 0, sizeof machine);
    machine.world = bnd_sim_world_create(1);
    machine.store = bnd_sim_store_create(machine.world, 1);
    machine.disk = bnd_sim_disk_create(machine.world, 1, 0);
    machine.env = bnd_sim_env_create(machine.world, machine.disk, NULL, 1);
    bnd_sim_env_enter(machine.env);
    machine.state = bnd_sim_store_open(machine.store, machine.env);
    machine.bucket = BUCKET;
    machine.stamp_ms = 1000000;
    assert_int_equal(objects_fsm_create(GID, NULL, &machine.fsm), 0);
    assert_int_equal(machine.fsm.ops->open(machine.fsm.self, GID, SLOT, machine.state, NULL), 0);
    *state = &machine;
    return 0;
}

static int teardown(void **state) {
    struct machine *m = *state;
    bnd_buf_free(&m->reply);
    m->fsm.ops->close(m->fsm.self);
    m->state->ops->close(m->state);
    bnd_sim_env_leave(m->env);
    bnd_sim_env_stop(m->env);
    bnd_sim_store_destroy(m->store);
    bnd_sim_disk_destroy(m->disk);
    bnd_sim_world_destroy(m->world);
    return 0;
}

static int apply_bytes(struct machine *m, struct bnd_slice bytes) {
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    const struct bnd_fsm_apply context = {.gid = GID,
                                          .index = ++m->index,
                                          .stamp_ms = m->stamp_ms,
                                          .time_suspended = m->time_suspended,
                                          .slot = SLOT,
                                          .state = m->state,
                                          .batch = batch};
    bnd_buf_reset(&m->reply);
    int status = m->fsm.ops->apply(m->fsm.self, &context, bytes, &m->reply);
    if (status != 0) { /* as it was on entry: what the host relies on */
        assert_int_equal(m->state->ops->batch_bytes(batch), 0);
    }
    assert_int_equal(m->state->ops->write(m->state, batch), 0);
    m->state->ops->batch_destroy(batch);
    m->fsm.ops->written(m->fsm.self, m->index);
    return status;
}

static int apply(struct machine *m, struct objects_command *command) {
    struct objects_conditions none = {.view = bnd_object_conditions_none()};
    struct bnd_buf bytes = {0};
    command->bucket = m->bucket;
    command->conditions = command->conditions == NULL ? &none : command->conditions;
    objects_command_encode(&bytes, command);
    int status = apply_bytes(m, bnd_buf_slice(&bytes));
    command->conditions = NULL;
    bnd_buf_free(&bytes);
    return status;
}

static bool there(struct machine *m, const struct objects_key *key, struct bnd_buf *out) {
    int rv = m->state->ops->get(m->state, BND_CF_OBJECTS, objects_key_slice(key), out);
    assert_true(rv == 0 || rv == BND_NOTFOUND);
    return rv == 0;
}

static bool object_is_there(struct machine *m, const char *name) {
    struct objects_key key;
    struct bnd_buf value = {0};
    objects_key_object(&key, SLOT, BUCKET, bnd_slice_str(name));
    bool is = there(m, &key, &value);
    bnd_buf_free(&value);
    return is;
}

/* When the body may be freed: 0, not yet; UINT64_MAX: it has no record. */
static uint64_t body_free_after(struct machine *m, uint8_t version) {
    const uint8_t id[BND_OBJECT_ID_BYTES] = {version};
    struct objects_body_record record = {.free_after_ms = UINT64_MAX};
    struct objects_key key;
    struct bnd_buf value = {0};
    objects_key_version(&key, SLOT, OBJECTS_TAG_BODY, bnd_slice(id, sizeof id));
    if (there(m, &key, &value)) {
        assert_int_equal(objects_body_decode(bnd_buf_slice(&value), &record), 0);
    }
    bnd_buf_free(&value);
    return record.free_after_ms;
}

struct put {
    const char *key;
    uint8_t version;
    enum bnd_object_profile profile;
    uint64_t size;
    uint8_t holders;
    uint64_t deadline_ms;
    unsigned with; /* parts of the manifest; 0: whole */
};

static int put(struct machine *m, const struct put *what, struct objects_conditions *conditions) {
    static const uint8_t body[16];
    struct bnd_buf manifest = {0};
    struct bnd_object_meta meta = {.version = {what->version},
                                   .size = what->size,
                                   .etag_md5 = {what->version},
                                   .parts = what->profile == BND_PROFILE_PARTS ? 1 : 0,
                                   .profile = what->profile,
                                   .fields = bnd_object_fields_none()};
    objects_manifest_encode(&manifest, &meta,
                            bnd_slice(body, what->profile == 0 ? (size_t)what->size : 0),
                            what->with == 0 ? OBJECTS_WHOLE : what->with);
    struct objects_command command = {.kind = OBJECTS_PUT,
                                      .key = bnd_slice_str(what->key),
                                      .conditions = conditions,
                                      .deadline_ms = what->deadline_ms,
                                      .have_count = what->holders,
                                      .have = {1, 2, 3},
                                      .manifest = bnd_buf_slice(&manifest)};
    int status = apply(m, &command);
    bnd_buf_free(&manifest);
    return status;
}

static int put_body(struct machine *m, const char *key, uint8_t version) {
    const struct put what = {key, version, BND_PROFILE_COPIES, 100000, 2, m->stamp_ms, 0};
    return put(m, &what, NULL);
}

static int delete (struct machine *m, const char *key) {
    struct objects_command command = {.kind = OBJECTS_DELETE, .key = bnd_slice_str(key)};
    return apply(m, &command);
}

static int tick(struct machine *m) {
    struct objects_command command = {.kind = OBJECTS_TICK};
    return apply(m, &command);
}

/* ---- puts
 * ------------------------------------------------------------------------------------------- */

static void a_put_brings_what_it_says(void **state) {
    struct machine *m = *state;
    const struct put wrong[] = {
        {"k", 1, BND_PROFILE_COPIES, 100000, 0, m->stamp_ms, 0},  /* on no node */
        {"k", 1, BND_PROFILE_INLINE, 5, 2, m->stamp_ms, 0},       /* on nodes, but here */
        {"k", 1, BND_PROFILE_INLINE, 5, 0, 0, OBJECTS_WITH_HTTP}, /* without its bytes */
        {"k", 1, BND_PROFILE_PARTS, 5, 2, m->stamp_ms, 0}, /* only a completion makes these */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (put(m, &wrong[i], NULL) != BND_INVALID) {
            fail_msg("put %zu", i);
        }
    }
    struct objects_command cut = {
        .kind = OBJECTS_PUT, .key = bnd_slice_str("k"), .manifest = bnd_slice_str("no manifest")};
    assert_int_equal(apply(m, &cut), BND_INVALID);
    assert_false(object_is_there(m, "k"));
}

/* The sweep frees files that no record names once the group's stamp is past their deadline: a later
 * command must not name one. */
static void a_body_past_its_deadline_is_refused(void **state) {
    struct machine *m = *state;
    struct put late = {"k", 1, BND_PROFILE_COPIES, 100000, 2, m->stamp_ms - 1, 0};
    assert_int_equal(put(m, &late, NULL), BND_EXPIRED);
    assert_int_equal(m->reply.len, 1); /* told from an expired request id */
    assert_false(object_is_there(m, "k"));
    late.deadline_ms = m->stamp_ms;
    assert_int_equal(put(m, &late, NULL), 0);
    assert_int_equal(body_free_after(m, 1), 0);
}

static void a_condition_that_fails_changes_nothing(void **state) {
    struct machine *m = *state;
    struct objects_conditions absent = {.view = bnd_object_conditions_none()};
    absent.view.not_match_given = true;
    absent.view.not_match_count = 1;
    absent.not_match[0].kind = BND_ETAG_WILDCARD;
    absent.view.not_match = absent.not_match;
    assert_int_equal(put_body(m, "k", 1), 0);
    const struct put again = {"k", 2, BND_PROFILE_COPIES, 100000, 2, m->stamp_ms, 0};
    assert_int_equal(put(m, &again, &absent), BND_PRECONDITION);
    assert_int_equal(body_free_after(m, 1), 0);
    assert_int_equal(body_free_after(m, 2), UINT64_MAX);
}

static void a_replaced_or_deleted_body_is_freed_ten_minutes_later(void **state) {
    struct machine *m = *state;
    assert_int_equal(put_body(m, "k", 1), 0);
    assert_int_equal(put_body(m, "k", 2), 0);
    uint64_t due = m->stamp_ms + OBJECTS_BODY_KEEP_MS;
    assert_int_equal(body_free_after(m, 1), due);
    m->stamp_ms += 1;
    assert_int_equal(delete (m, "k"), 0);
    assert_int_equal(body_free_after(m, 2), due + 1);
    m->stamp_ms = due;
    assert_int_equal(tick(m), 0);
    assert_int_equal(body_free_after(m, 1), due);
    m->stamp_ms = due + 1;
    assert_int_equal(put_body(m, "other", 3), 0); /* any put with a body frees what is due */
    assert_int_equal(body_free_after(m, 1), UINT64_MAX);
    assert_int_equal(body_free_after(m, 2), due + 1);
    m->stamp_ms = due + 2;
    m->time_suspended = true; /* nobody knows whether ten minutes went by */
    assert_int_equal(tick(m), 0);
    assert_int_equal(body_free_after(m, 2), due + 1);
    m->time_suspended = false;
    assert_int_equal(tick(m), 0);
    assert_int_equal(body_free_after(m, 2), UINT64_MAX);
    assert_int_equal(body_free_after(m, 3), 0);
}

static void one_command_frees_a_bounded_number(void **state) {
    struct machine *m = *state;
    for (uint8_t i = 1; i <= 20; i++) {
        assert_int_equal(put_body(m, "k", i), 0);
    }
    m->stamp_ms += OBJECTS_BODY_KEEP_MS + 1;
    assert_int_equal(put_body(m, "other", 100), 0);
    size_t left = 0;
    for (uint8_t i = 1; i < 20; i++) {
        left += body_free_after(m, i) != UINT64_MAX;
    }
    assert_int_equal(left, 19 - OBJECTS_FREES_PER_COMMAND);
}

static void deletes_of_many_are_checked_before_the_first(void **state) {
    struct machine *m = *state;
    struct bnd_buf items = {0};
    assert_int_equal(put_body(m, "a", 1), 0);
    bnd_buf_bytes(&items, bnd_slice_str("a"));
    bnd_buf_bytes(&items, bnd_slice_str(""));
    struct objects_command command = {
        .kind = OBJECTS_DELETE_MANY, .count = 2, .items = bnd_buf_slice(&items)};
    assert_int_equal(apply(m, &command), BND_INVALID); /* an empty key */
    command.count = 1;
    assert_int_equal(apply(m, &command), BND_INVALID); /* more keys than it says */
    assert_true(object_is_there(m, "a"));
    command.items.len = 5;
    assert_int_equal(apply(m, &command), 0);
    assert_false(object_is_there(m, "a"));
    bnd_buf_free(&items);
}

static void bytes_that_are_no_command_are_refused(void **state) {
    struct machine *m = *state;
    static const uint8_t bad[][2] = {{0, 0}, {OBJECTS_TICK + 1, 0}, {255, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(apply_bytes(m, bnd_slice(bad[i], 2)), BND_INVALID);
    }
    assert_int_equal(apply_bytes(m, bnd_slice(NULL, 0)), BND_INVALID);
}

/* ---- uploads in parts
 * ------------------------------------------------------------------------------- */

static const uint8_t upload[BND_OBJECT_ID_BYTES] = {9, 9};

static int upload_command(struct machine *m, enum objects_command_kind kind, const char *key) {
    struct objects_command command = {.kind = kind,
                                      .key = bnd_slice_str(key),
                                      .upload_id = upload,
                                      .create = {.fields = bnd_object_fields_none()}};
    return apply(m, &command);
}

struct part {
    uint32_t number;
    uint8_t version; /* and md5 */
    uint64_t size;
    uint8_t holders;
    uint64_t deadline_ms;
};

static int put_part(struct machine *m, const char *key, const struct part *what) {
    struct objects_command command = {.kind = OBJECTS_PART,
                                      .key = bnd_slice_str(key),
                                      .upload_id = upload,
                                      .deadline_ms = what->deadline_ms,
                                      .have_count = what->holders,
                                      .have = {1, 2, 3},
                                      .part = {.number = what->number,
                                               .size = what->size,
                                               .version = {what->version},
                                               .etag_md5 = {what->version}}};
    return apply(m, &command);
}

static int simple_part(struct machine *m, uint32_t number, uint8_t version, uint64_t size) {
    const struct part what = {number, version, size, 2, m->stamp_ms};
    return put_part(m, "k", &what);
}

/* refs: pairs of number and md5's first byte, ended by 0. */
static int complete(struct machine *m, const char *key, const unsigned *refs, uint64_t part_min,
                    bool equal_sizes) {
    struct bnd_buf manifest = {0};
    struct bnd_buf items = {0};
    struct bnd_object_meta meta = {.version = {77},
                                   .parts = 1,
                                   .profile = BND_PROFILE_PARTS,
                                   .fields = bnd_object_fields_none()};
    objects_manifest_encode(&manifest, &meta, bnd_slice(NULL, 0), OBJECTS_WHOLE);
    struct objects_command command = {.kind = OBJECTS_COMPLETE,
                                      .key = bnd_slice_str(key),
                                      .upload_id = upload,
                                      .manifest = bnd_buf_slice(&manifest),
                                      .part_min = part_min,
                                      .equal_sizes = equal_sizes};
    for (; *refs != 0; refs += 2, command.count++) {
        const struct bnd_multipart_part_ref ref = {.number = refs[0],
                                                   .etag_md5 = {(uint8_t)refs[1]}};
        objects_part_ref_encode(&items, &ref);
    }
    command.items = bnd_buf_slice(&items);
    int status = apply(m, &command);
    bnd_buf_free(&manifest);
    bnd_buf_free(&items);
    return status;
}

static void parts_belong_to_an_upload(void **state) {
    struct machine *m = *state;
    const struct part homeless = {1, 1, 100, 0, m->stamp_ms};
    const struct part late = {1, 1, 100, 2, m->stamp_ms - 1};
    assert_int_equal(simple_part(m, 1, 1, 100), BND_NOTFOUND);
    assert_int_equal(upload_command(m, OBJECTS_ABORT, "k"), BND_NOTFOUND);
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), 0);
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), BND_EXISTS);
    assert_int_equal(put_part(m, "k", &homeless), BND_INVALID);
    assert_int_equal(put_part(m, "k", &late), BND_EXPIRED);
    assert_int_equal(m->reply.len, 1);
    assert_int_equal(put_part(m, "other", &(struct part){1, 1, 100, 2, m->stamp_ms}), BND_NOTFOUND);
    assert_int_equal(body_free_after(m, 1), UINT64_MAX);
    assert_int_equal(simple_part(m, 1, 1, 100), 0);
    assert_int_equal(simple_part(m, 1, 2, 100), 0); /* in its place */
    assert_int_equal(body_free_after(m, 1), m->stamp_ms + OBJECTS_BODY_KEEP_MS);
    assert_int_equal(body_free_after(m, 2), 0);
    assert_int_equal(upload_command(m, OBJECTS_ABORT, "k"), 0);
    assert_int_equal(body_free_after(m, 2), m->stamp_ms + OBJECTS_BODY_KEEP_MS);
    assert_int_equal(upload_command(m, OBJECTS_ABORT, "k"), BND_NOTFOUND);
}

static void a_completion_lists_the_parts_as_they_are(void **state) {
    struct machine *m = *state;
    static const unsigned right[] = {1, 1, 2, 2, 4, 4, 0};
    static const unsigned order[] = {2, 2, 1, 1, 0};
    static const unsigned twice[] = {1, 1, 1, 1, 0};
    static const unsigned other_md5[] = {1, 1, 2, 3, 0};
    assert_int_equal(put_body(m, "k", 50), 0);
    assert_int_equal(complete(m, "k", right, 0, false), BND_NOTFOUND);
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), 0);
    assert_int_equal(simple_part(m, 1, 1, 100), 0);
    assert_int_equal(simple_part(m, 2, 2, 90), 0);
    assert_int_equal(simple_part(m, 3, 3, 10), 0);
    assert_int_equal(simple_part(m, 4, 4, 10), 0);
    assert_int_equal(complete(m, "k", order, 0, false), BND_INVALID);
    assert_int_equal(complete(m, "k", twice, 0, false), BND_INVALID);
    assert_int_equal(complete(m, "k", other_md5, 0, false), BND_INVALID);
    assert_int_equal(bnd_get_u32(m->reply.data), 2);
    static const unsigned above[] = {1, 1, 5, 5, 0};
    assert_int_equal(complete(m, "k", above, 0, false), BND_INVALID);
    static const unsigned same_md5_elsewhere[] = {1, 1, 5, 4, 0};
    assert_int_equal(complete(m, "k", same_md5_elsewhere, 0, false), BND_INVALID);
    assert_int_equal(complete(m, "k", right, 91, false),
                     BND_RANGE); /* only the last may be small */
    assert_int_equal(bnd_get_u32(m->reply.data), 2);
    assert_int_equal(complete(m, "k", right, 0, true), BND_RANGE);
    assert_int_equal(body_free_after(m, 50), 0);
    assert_int_equal(complete(m, "k", right, 90, false), 0);
    assert_int_equal(bnd_get_u64(m->reply.data + 8), 200);
    assert_int_equal(body_free_after(m, 1), 0);
    assert_int_equal(body_free_after(m, 4), 0);
    assert_int_equal(body_free_after(m, 3), m->stamp_ms + OBJECTS_BODY_KEEP_MS);  /* not listed */
    assert_int_equal(body_free_after(m, 50), m->stamp_ms + OBJECTS_BODY_KEEP_MS); /* replaced */
    assert_int_equal(complete(m, "k", right, 0, false), BND_NOTFOUND);            /* once */
    assert_int_equal(put_body(m, "k", 60), 0); /* every part of it goes, and its table */
    for (uint8_t version = 1; version <= 4; version++) {
        assert_int_equal(body_free_after(m, version), m->stamp_ms + OBJECTS_BODY_KEEP_MS);
    }
    struct objects_key key;
    struct bnd_buf value = {0};
    const uint8_t joined[BND_OBJECT_ID_BYTES] = {77};
    objects_key_version(&key, SLOT, OBJECTS_TAG_TABLE, bnd_slice(joined, sizeof joined));
    assert_false(there(m, &key, &value));
    bnd_buf_free(&value);
}

/* The etag of a later part does not stand for one that was never uploaded. */
static void a_part_that_is_not_there_is_missed(void **state) {
    struct machine *m = *state;
    static const unsigned refs[] = {1, 1, 3, 4, 0};
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), 0);
    assert_int_equal(simple_part(m, 1, 1, 100), 0);
    assert_int_equal(simple_part(m, 4, 4, 100), 0);
    assert_int_equal(complete(m, "k", refs, 0, false), BND_INVALID);
    assert_int_equal(bnd_get_u32(m->reply.data), 3);
}

static void an_object_in_parts_has_a_largest_size(void **state) {
    struct machine *m = *state;
    unsigned refs[2 * 1025 + 1] = {0};
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), 0);
    for (unsigned i = 0; i < 1025; i++) { /* 1024 of the largest are 5 TiB */
        const struct part what = {i + 1, 1, BND_OBJECT_BODY_MAX, 2, m->stamp_ms};
        assert_int_equal(put_part(m, "k", &what), 0);
        refs[2 * i] = i + 1;
        refs[2 * i + 1] = 1;
        if (i == 1023) {
            assert_true(BND_OBJECT_BODY_MAX * 1024 == BND_OBJECT_SIZE_MAX);
        }
    }
    assert_int_equal(complete(m, "k", refs, 0, false), BND_TOOBIG);
    assert_int_equal(bnd_get_u32(m->reply.data), 1025);
}

/* ---- seals
 * ------------------------------------------------------------------------------------------ */

static int seal(struct machine *m, enum objects_command_kind kind, uint64_t attempt) {
    struct objects_command command = {.kind = kind, .attempt = attempt};
    return apply(m, &command);
}

static void a_sealed_bucket_takes_nothing(void **state) {
    struct machine *m = *state;
    static const unsigned refs[] = {1, 1, 0};
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), 0);
    assert_int_equal(simple_part(m, 1, 1, 100), 0);
    assert_int_equal(seal(m, OBJECTS_SEAL, 3), 0);
    assert_int_equal(m->reply.data[0], 1); /* an upload under way holds it */
    const struct put small = {"s", 2, BND_PROFILE_INLINE, 5, 0, 0, 0};
    assert_int_equal(put(m, &small, NULL), BND_LOCKED);
    assert_int_equal(put_body(m, "b", 2), BND_LOCKED);
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "other"), BND_LOCKED);
    assert_int_equal(simple_part(m, 2, 2, 100), BND_LOCKED);
    assert_int_equal(complete(m, "k", refs, 0, false), BND_LOCKED);
    assert_int_equal(upload_command(m, OBJECTS_ABORT, "k"), 0); /* what empties it may go on */
    assert_int_equal(seal(m, OBJECTS_UNSEAL, 3), 0);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(seal(m, OBJECTS_SEAL, 4), 0);
    assert_int_equal(m->reply.data[0], 1); /* an object, too */
    assert_int_equal(delete (m, "s"), 0);
    assert_int_equal(seal(m, OBJECTS_SEAL, 4), 0);
    assert_int_equal(m->reply.data[0], 0);
}

static void reopen(struct machine *m) {
    m->fsm.ops->close(m->fsm.self);
    assert_int_equal(objects_fsm_create(GID, NULL, &m->fsm), 0);
    assert_int_equal(m->fsm.ops->open(m->fsm.self, GID, SLOT, m->state, NULL), 0);
}

/* With nothing remembered, and where the place in memory is another bucket's. */
static void a_seal_is_of_its_bucket_and_outlives_a_restart(void **state) {
    struct machine *m = *state;
    const struct put small = {"s", 2, BND_PROFILE_INLINE, 5, 0, 0, 0};
    const struct put other = {"s", 3, BND_PROFILE_INLINE, 5, 0, 0, 0};
    assert_int_equal(seal(m, OBJECTS_SEAL, 3), 0);
    reopen(m);
    assert_int_equal(put(m, &small, NULL), BND_LOCKED);
    m->bucket = BUCKET + OBJECTS_SEALS_KNOWN;
    assert_int_equal(put(m, &other, NULL), 0);
    m->bucket = BUCKET;
    assert_int_equal(put(m, &small, NULL), BND_LOCKED);
    assert_int_equal(put(m, &small, NULL), BND_LOCKED);
}

static void an_older_attempt_neither_seals_nor_unseals(void **state) {
    struct machine *m = *state;
    const struct put small = {"s", 2, BND_PROFILE_INLINE, 5, 0, 0, 0};
    assert_int_equal(seal(m, OBJECTS_UNSEAL, 2), 0); /* before its seal came */
    assert_int_equal(seal(m, OBJECTS_SEAL, 2), BND_EPOCH);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(seal(m, OBJECTS_SEAL, 5), 0);
    assert_int_equal(seal(m, OBJECTS_SEAL, 4), BND_EPOCH);
    assert_int_equal(seal(m, OBJECTS_UNSEAL, 4), BND_EPOCH);
    assert_int_equal(put(m, &small, NULL), BND_LOCKED);
    assert_int_equal(seal(m, OBJECTS_UNSEAL, 5), 0);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(seal(m, OBJECTS_SEAL, 0), BND_INVALID);
}

/* ---- a state that contradicts itself stops the node
 * ---------------------------------------------------- */

static void drop(struct machine *m, enum objects_tag tag, uint8_t version) {
    const uint8_t id[BND_OBJECT_ID_BYTES] = {version};
    struct objects_key key;
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    objects_key_version(&key, SLOT, tag, bnd_slice(id, sizeof id));
    m->state->ops->batch_delete(batch, BND_CF_OBJECTS, objects_key_slice(&key));
    assert_int_equal(m->state->ops->write(m->state, batch), 0);
    m->state->ops->batch_destroy(batch);
}

static int head(struct machine *m, const char *name) {
    struct bnd_buf bytes = {0};
    struct bnd_fsm_read context = {.gid = GID, .slot = SLOT, .state = m->state};
    struct objects_query query = {
        .kind = OBJECTS_HEAD, .bucket = BUCKET, .key = bnd_slice_str(name)};
    objects_query_encode(&bytes, &query);
    bnd_buf_reset(&m->reply);
    int status = m->fsm.ops->read(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply);
    bnd_buf_free(&bytes);
    return status;
}

static void a_missing_record_or_table_is_corruption(void **state) {
    struct machine *m = *state;
    static const unsigned refs[] = {1, 1, 0};
    assert_int_equal(put_body(m, "b", 5), 0);
    drop(m, OBJECTS_TAG_BODY, 5);
    assert_int_equal(delete (m, "b"), BND_CORRUPT);
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), 0);
    assert_int_equal(simple_part(m, 1, 1, 100), 0);
    assert_int_equal(complete(m, "k", refs, 0, false), 0);
    assert_int_equal(head(m, "k"), 0);
    drop(m, OBJECTS_TAG_TABLE, 77);
    assert_int_equal(head(m, "k"), BND_CORRUPT);
    assert_int_equal(delete (m, "k"), BND_CORRUPT);
}

/* The sweep trusts the stamp: it must be of what reads of the state see. */
static void damaged_records_stop_the_node(void **state) {
    struct machine *m = *state;
    struct objects_key key;
    const uint8_t id[BND_OBJECT_ID_BYTES] = {1};
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    objects_key_seal(&key, SLOT, BUCKET);
    m->state->ops->batch_put(batch, BND_CF_OBJECTS, objects_key_slice(&key), bnd_slice_str("seal"));
    assert_int_equal(m->state->ops->write(m->state, batch), 0);
    assert_int_equal(put_body(m, "k", 1), BND_CORRUPT);
    m->state->ops->batch_clear(batch);
    m->state->ops->batch_delete(batch, BND_CF_OBJECTS, objects_key_slice(&key));
    objects_key_free(&key, SLOT, 5, id);
    key.len--; /* one byte of the version is gone */
    m->state->ops->batch_put(batch, BND_CF_OBJECTS, objects_key_slice(&key), bnd_slice(NULL, 0));
    assert_int_equal(m->state->ops->write(m->state, batch), 0);
    m->state->ops->batch_destroy(batch);
    assert_int_equal(tick(m), BND_CORRUPT);
}

/* A page ends by its bytes, too: it is one message, and many come at once. */
static void a_page_of_a_list_is_bounded_in_bytes(void **state) {
    struct machine *m = *state;
    static uint8_t value[8000];
    struct bnd_buf custom = {0};
    struct bnd_buf manifest = {0};
    struct bnd_buf bytes = {0};
    bnd_object_custom_add(&custom, bnd_slice_str("n"), bnd_slice(value, sizeof value));
    struct bnd_object_meta meta = {.fields = bnd_object_fields_none()};
    meta.fields.custom = bnd_buf_slice(&custom);
    objects_manifest_encode(&manifest, &meta, bnd_slice("", 0), OBJECTS_WHOLE);
    for (unsigned i = 0; i < 60; i++) {
        const char name[] = {(char)('a' + i / 26), (char)('a' + i % 26), 0};
        struct objects_command command = {
            .kind = OBJECTS_PUT, .key = bnd_slice_str(name), .manifest = bnd_buf_slice(&manifest)};
        assert_int_equal(apply(m, &command), 0);
    }
    struct bnd_fsm_read context = {.gid = GID, .slot = SLOT, .state = m->state};
    struct objects_query query = {
        .kind = OBJECTS_LIST, .bucket = BUCKET, .limit = 1000, .include = BND_LIST_CUSTOM};
    objects_query_encode(&bytes, &query);
    bnd_buf_reset(&m->reply);
    assert_int_equal(m->fsm.ops->read(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply), 0);
    assert_int_equal(m->reply.data[0], 1); /* there is more */
    assert_in_range(m->reply.len, 200 * 1024, 300 * 1024);
    query.limit = 3; /* or by what was asked for */
    bnd_buf_reset(&bytes);
    objects_query_encode(&bytes, &query);
    bnd_buf_reset(&m->reply);
    assert_int_equal(m->fsm.ops->read(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply), 0);
    assert_int_equal(m->reply.data[0], 1);
    assert_in_range(m->reply.len, 3 * 8000, 4 * 8000);
    bnd_buf_free(&bytes);
    bnd_buf_free(&custom);
    bnd_buf_free(&manifest);
}

/* The machine remembers names without a body; what it remembers must never cost a body's release. */
static void a_body_is_released_whatever_was_put_before_it(void **state) {
    struct machine *m = *state;
    static const unsigned parts[] = {1, 3, 0};
    const struct put small = {"k", 90, BND_PROFILE_INLINE, 5, 0, 0, 0};
    uint64_t due = m->stamp_ms + OBJECTS_BODY_KEEP_MS;
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(put_body(m, "k", 1), 0);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(body_free_after(m, 1), due);
    assert_int_equal(put_body(m, "k", 2), 0);
    assert_int_equal(delete (m, "k"), 0);
    assert_int_equal(body_free_after(m, 2), due);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(upload_command(m, OBJECTS_CREATE, "k"), 0);
    assert_int_equal(simple_part(m, 1, 3, 100), 0);
    assert_int_equal(complete(m, "k", parts, 0, false), 0);
    assert_int_equal(body_free_after(m, 3), 0);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(body_free_after(m, 3), due);
}

static void a_body_of_another_state_is_released(void **state) {
    struct machine *m = *state;
    const struct put small = {"k", 90, BND_PROFILE_INLINE, 5, 0, 0, 0};
    struct bnd_fsm other;
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(objects_fsm_create(GID, NULL, &other), 0);
    assert_int_equal(other.ops->open(other.self, GID, SLOT, m->state, NULL), 0);
    struct bnd_fsm mine = m->fsm;
    m->fsm = other; /* stands for what came with an import */
    assert_int_equal(put_body(m, "k", 1), 0);
    m->fsm = mine;
    other.ops->close(other.self);
    assert_int_equal(m->fsm.ops->open(m->fsm.self, GID, SLOT, m->state, NULL), 0);
    assert_int_equal(put(m, &small, NULL), 0);
    assert_int_equal(body_free_after(m, 1), m->stamp_ms + OBJECTS_BODY_KEEP_MS);
}

static void conditions_are_decided_under_a_remembered_name(void **state) {
    struct machine *m = *state;
    const struct put small = {"k", 90, BND_PROFILE_INLINE, 5, 0, 0, 0};
    struct objects_conditions asked = {.view = bnd_object_conditions_none()};
    assert_int_equal(put(m, &small, NULL), 0);
    asked.view.match_given = true; /* of an empty list: matches nothing */
    assert_int_equal(put(m, &small, &asked), BND_PRECONDITION);
    asked.view = bnd_object_conditions_none();
    asked.view.not_match_given = true;
    asked.view.not_match_count = 1;
    asked.not_match[0].kind = BND_ETAG_WILDCARD;
    asked.view.not_match = asked.not_match;
    assert_int_equal(put(m, &small, &asked), BND_PRECONDITION);
    asked.view = bnd_object_conditions_none();
    asked.view.uploaded_before_ms = 1;
    assert_int_equal(put(m, &small, &asked), BND_PRECONDITION);
    asked.view = bnd_object_conditions_none();
    asked.view.uploaded_after_ms = m->stamp_ms;
    assert_int_equal(put(m, &small, &asked), BND_PRECONDITION);
}

static void the_stamp_follows_the_state(void **state) {
    struct machine *m = *state;
    const struct objects_fsm *fsm = m->fsm.self;
    assert_int_equal(tick(m), 0);
    assert_int_equal(fsm->written_stamp_ms, m->stamp_ms);
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    const struct bnd_fsm_apply context = {.gid = GID,
                                          .index = ++m->index,
                                          .stamp_ms = m->stamp_ms + 1000,
                                          .slot = SLOT,
                                          .state = m->state,
                                          .batch = batch};
    struct objects_command command = {.kind = OBJECTS_TICK};
    struct bnd_buf bytes = {0};
    objects_command_encode(&bytes, &command);
    assert_int_equal(m->fsm.ops->apply(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply), 0);
    assert_int_equal(fsm->written_stamp_ms, m->stamp_ms);
    m->state->ops->batch_destroy(batch);
    assert_int_equal(m->fsm.ops->open(m->fsm.self, GID, SLOT + 1, m->state, NULL), 0);
    assert_int_equal(fsm->written_stamp_ms, 0); /* another state, perhaps an older one */
    struct bnd_error err;
    assert_int_equal(m->fsm.ops->open(m->fsm.self, GID + 1, SLOT, m->state, &err), BND_INVALID);
    bnd_buf_free(&bytes);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_put_brings_what_it_says),
        TEST(a_body_past_its_deadline_is_refused),
        TEST(a_condition_that_fails_changes_nothing),
        TEST(a_replaced_or_deleted_body_is_freed_ten_minutes_later),
        TEST(one_command_frees_a_bounded_number),
        TEST(deletes_of_many_are_checked_before_the_first),
        TEST(bytes_that_are_no_command_are_refused),
        TEST(parts_belong_to_an_upload),
        TEST(a_completion_lists_the_parts_as_they_are),
        TEST(a_part_that_is_not_there_is_missed),
        TEST(an_object_in_parts_has_a_largest_size),
        TEST(a_sealed_bucket_takes_nothing),
        TEST(a_seal_is_of_its_bucket_and_outlives_a_restart),
        TEST(an_older_attempt_neither_seals_nor_unseals),
        TEST(a_missing_record_or_table_is_corruption),
        TEST(damaged_records_stop_the_node),
        TEST(a_page_of_a_list_is_bounded_in_bytes),
        TEST(a_body_is_released_whatever_was_put_before_it),
        TEST(a_body_of_another_state_is_released),
        TEST(conditions_are_decided_under_a_remembered_name),
        TEST(the_stamp_follows_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
