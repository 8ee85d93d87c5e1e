/* The codec of messages and configurations: round trips, cuts, hostile fields, splitting. */
#include "base/alloc.h"
#include "raft/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

static struct bnd_buf configuration_bytes(void) {
    struct bnd_raft_configuration c = {
        .members = {{5, BND_RAFT_VOTER}, {2, BND_RAFT_STANDBY}, {9, BND_RAFT_SPARE}}, .count = 3};
    struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&c, &bytes);
    return bytes;
}

static struct bnd_journal_entry entries[3];
static struct bnd_buf configuration;

/* One of each type. */
static struct bnd_message sample(enum bnd_message_type type) {
    struct bnd_message m = {.gid = 11, .term = 9, .type = type};
    switch (type) {
    case BND_MESSAGE_APPEND:
        entries[0] = (struct bnd_journal_entry){6, 7, BND_CORE_COMMAND, bnd_slice_str("abc")};
        entries[1] =
            (struct bnd_journal_entry){7, 8, BND_CORE_CONFIGURATION, bnd_buf_slice(&configuration)};
        entries[2] = (struct bnd_journal_entry){8, 9, BND_CORE_BARRIER, {0}};
        m.append = (struct bnd_message_append){5, 7, 8, 123, entries, 3};
        break;
    case BND_MESSAGE_APPEND_RESULT:
        m.append_result = (struct bnd_message_append_result){4, 3, 1};
        break;
    case BND_MESSAGE_VOTE:
        m.vote = (struct bnd_message_vote){2, 8, 7, true, false};
        break;
    case BND_MESSAGE_VOTE_RESULT:
        m.vote_result = (struct bnd_message_vote_result){false, true};
        break;
    case BND_MESSAGE_INSTALL:
        m.install.start = (struct bnd_journal_start){
            .index = 8, .term = 7, .config = bnd_buf_slice(&configuration), .config_index = 3};
        m.install.export_id = 99;
        break;
    case BND_MESSAGE_TIMEOUT_NOW:
        m.timeout_now = (struct bnd_message_timeout_now){8, 7};
        break;
    }
    return m;
}

static int decode_of(const struct bnd_message *m) {
    struct bnd_buf bytes = {0};
    struct bnd_message out;
    bnd_message_encode(m, &bytes);
    int rv = bnd_message_decode(bnd_buf_slice(&bytes), &out, NULL);
    if (rv == 0) {
        bnd_message_release(&out);
    }
    bnd_buf_free(&bytes);
    return rv;
}

static void every_type_round_trips_and_every_cut_is_refused(void **state) {
    (void)state;
    for (int type = BND_MESSAGE_APPEND; type <= BND_MESSAGE_TIMEOUT_NOW; type++) {
        struct bnd_message m = sample((enum bnd_message_type)type);
        struct bnd_buf bytes = {0}, again = {0};
        bnd_message_encode(&m, &bytes);
        assert_int_equal(bytes.len, bnd_message_bytes(&m));
        struct bnd_message out;
        assert_int_equal(bnd_message_decode(bnd_buf_slice(&bytes), &out, NULL), 0);
        assert_int_equal(out.type, type);
        assert_int_equal(out.gid, 11);
        bnd_message_encode(&out, &again);
        assert_true(bnd_slice_eq(bnd_buf_slice(&bytes), bnd_buf_slice(&again)));
        bnd_message_release(&out);
        bnd_message_release(&out);
        for (size_t cut = 0; cut < bytes.len; cut++) {
            uint8_t *exact = bnd_memdup(bytes.data, cut); /* so that overreads are seen */
            assert_int_equal(bnd_message_decode(bnd_slice(exact, cut), &out, NULL), BND_CORRUPT);
            bnd_free(exact);
        }
        bnd_buf_u8(&bytes, 0);
        assert_int_equal(bnd_message_decode(bnd_buf_slice(&bytes), &out, NULL), BND_CORRUPT);
        bnd_buf_free(&bytes);
        bnd_buf_free(&again);
    }
    struct bnd_message m = sample(BND_MESSAGE_VOTE);
    assert_true(m.vote.disrupt);
}

static void impossible_fields_are_refused(void **state) {
    (void)state;
    struct bnd_message m = sample(BND_MESSAGE_APPEND);
    assert_int_equal(decode_of(&m), 0);
    m.append.commit = 9;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND);
    m.append.prev_term = 0; /* would make the library give up */
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND);
    m.append.prev_index = UINT64_MAX;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND);
    entries[1].term = 6; /* falls */
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND);
    entries[2].term = 10; /* above the message's */
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND);
    entries[0].kind = 4;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND);
    entries[1].data.len--;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_VOTE);
    m.vote.candidate = 0;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_INSTALL);
    m.install.start.config_index = 9;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_TIMEOUT_NOW);
    m.term = 0;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    for (int type = BND_MESSAGE_APPEND; type <= BND_MESSAGE_TIMEOUT_NOW; type++) {
        m = sample((enum bnd_message_type)type); /* a term after which none can follow */
        m.term = UINT64_MAX;
        assert_int_equal(decode_of(&m), BND_CORRUPT);
    }
    m = sample(BND_MESSAGE_VOTE_RESULT);
    m.term = 0;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND);
    entries[2].data = bnd_slice_str("a barrier has none");
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_VOTE);
    m.vote.last_term = 10;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m.vote.last_term = 0;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND_RESULT);
    m.append_result.rejected = UINT64_MAX;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_APPEND_RESULT);
    m.append_result.last_index = UINT64_MAX;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
    m = sample(BND_MESSAGE_TIMEOUT_NOW);
    m.timeout_now.last_term = 10;
    assert_int_equal(decode_of(&m), BND_CORRUPT);
}

/* Flags that a type does not have, and a count that its bytes cannot hold. */
static void impossible_bytes_are_refused(void **state) {
    (void)state;
    struct bnd_message out;
    for (int type = BND_MESSAGE_APPEND; type <= BND_MESSAGE_TIMEOUT_NOW; type++) {
        struct bnd_message m = sample((enum bnd_message_type)type);
        struct bnd_buf bytes = {0};
        bool votes = type == BND_MESSAGE_VOTE || type == BND_MESSAGE_VOTE_RESULT;
        bnd_message_encode(&m, &bytes);
        bool result = type == BND_MESSAGE_APPEND_RESULT; /* 1 is there: a disk of kind 3 */
        bytes.data[1] |= votes ? 4 : result ? 2 : 1;
        assert_int_equal(bnd_message_decode(bnd_buf_slice(&bytes), &out, NULL), BND_CORRUPT);
        bnd_buf_free(&bytes);
    }
    struct bnd_message m = sample(BND_MESSAGE_APPEND);
    struct bnd_buf bytes = {0};
    bnd_message_encode(&m, &bytes);
    bnd_put_u32(bytes.data + 50, UINT32_MAX); /* refused before memory is asked for */
    struct bnd_error err;
    assert_int_equal(bnd_message_decode(bnd_buf_slice(&bytes), &out, &err), BND_CORRUPT);
    assert_string_equal(err.message, "AppendEntries is cut");
    bnd_buf_free(&bytes);
}

static void configurations_are_checked(void **state) {
    (void)state;
    struct bnd_raft_configuration c;
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&configuration), &c, NULL), 0);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.members[1].node, 2);
    assert_int_equal(c.members[1].role, BND_RAFT_STANDBY);
    assert_int_equal(bnd_raft_configuration_voters(&c), 1);
    assert_int_equal(bnd_raft_configuration_find(&c, 9), 2);
    assert_int_equal(bnd_raft_configuration_find(&c, 4), 3);
    struct bnd_buf bad = configuration_bytes();
    bad.data[0] = 2;
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bad), &c, NULL), BND_VERSION);
    bad.data[0] = 1;
    bad.data[2] = 9; /* node 5 becomes 9, twice */
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bad), &c, NULL), BND_CORRUPT);
    bad.data[2] = 0;
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bad), &c, NULL), BND_CORRUPT);
    bad.data[2] = 5;
    bad.data[10] = 3; /* role */
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bad), &c, NULL), BND_CORRUPT);
    bad.data[10] = 0;
    bad.data[1] = 17;
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bad), &c, NULL), BND_CORRUPT);
    bad.data[1] = 0;
    assert_int_equal(bnd_raft_configuration_decode(bnd_slice(bad.data, 2), &c, NULL), BND_CORRUPT);
    bnd_buf_reset(&bad);
    bnd_buf_u8(&bad, 1);
    bnd_buf_u8(&bad, BND_RAFT_MEMBERS_MAX + 1); /* all of them there */
    for (uint64_t node = 1; node <= BND_RAFT_MEMBERS_MAX + 1; node++) {
        bnd_buf_u64(&bad, node);
        bnd_buf_u8(&bad, BND_RAFT_VOTER);
    }
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bad), &c, NULL), BND_CORRUPT);
    bnd_buf_free(&bad);
}

struct parts {
    uint64_t next, term, commit_max;
    size_t count, entries;
};

static int collect(void *data, const struct bnd_message *part) {
    struct parts *parts = data;
    assert_int_equal(part->append.prev_index, parts->next - 1);
    assert_int_equal(part->append.prev_term, parts->term);
    uint64_t last = part->append.prev_index + part->append.entries_count;
    assert_true(part->append.commit <= last);
    parts->next = last + 1;
    if (part->append.entries_count > 0) {
        parts->term = part->append.entries[part->append.entries_count - 1].term;
    }
    parts->commit_max = part->append.commit;
    parts->entries += part->append.entries_count;
    return parts->count++ == 1 ? BND_FULL : 0;
}

static void a_split_is_the_same_log(void **state) {
    (void)state;
    struct bnd_message m = sample(BND_MESSAGE_APPEND);
    m.append.commit = 8;
    for (size_t bytes_max = 0; bytes_max < 200; bytes_max++) {
        struct parts parts = {.next = 6, .term = 7};
        int rv = bnd_message_split(&m, bytes_max, collect, &parts);
        assert_int_equal(rv, parts.count > 1 ? BND_FULL : 0);
        assert_int_equal(parts.entries, 3);
        assert_int_equal(parts.next, 9);
        assert_int_equal(parts.commit_max, 8);
        assert_true(bytes_max > 0 || parts.count == 3);
    }
    struct parts parts = {.next = 6, .term = 7};
    m.append.entries_count = 0; /* a heartbeat */
    assert_int_equal(bnd_message_split(&m, 10, collect, &parts), 0);
    assert_int_equal(parts.count, 1);
    assert_int_equal(parts.commit_max, 5); /* clamped */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_round_trips_and_every_cut_is_refused),
        cmocka_unit_test(impossible_fields_are_refused),
        cmocka_unit_test(impossible_bytes_are_refused),
        cmocka_unit_test(configurations_are_checked),
        cmocka_unit_test(a_split_is_the_same_log),
    };
    configuration = configuration_bytes();
    int rv = cmocka_run_group_tests(tests, NULL, NULL);
    bnd_buf_free(&configuration);
    return rv;
}
