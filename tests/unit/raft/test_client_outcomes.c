/* What the shard client tells its caller, and asks its peer, when answers are refusals, silence, or
 * lost: against a peer that answers as the test says. */
#include "raft/client.h"
#include "raft/shard_wire.h"
#include "tests/sim/mesh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

#define GID 7
#define SECOND (UINT64_C(1000) * BND_MS)
#define STAMP_MS 1000000

/* One answer: `silent`, or a reply. The last one is given again and again; without any all are
 * silent. */
struct answer {
    bool silent, executed;
    int status;
};

struct seen {
    uint64_t minter, seq, low_seq, deadline_ms;
};

struct side {
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *env;
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
};

struct rig {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct side here, there;
    struct bnd_shard_client *client;
    const struct answer *answers;
    size_t answers_count, asked;
    struct seen seen[8]; /* by attempt % 8 */
    struct bnd_rpc_request *unanswered[64];
    size_t unanswered_count;
};

struct call {
    struct bnd_shard_call call;
    bool done;
    int status;
};

static void on_called(struct bnd_shard_call *shard_call, int status, struct bnd_slice reply) {
    struct call *call = shard_call->data;
    (void)reply;
    call->done = true;
    call->status = status;
}

static void on_request(void *owner, struct bnd_rpc_request *rpc_request) {
    struct rig *r = owner;
    struct shard_request request;
    struct bnd_buf head = {0};
    assert_int_equal(shard_request_decode(rpc_request->payload, &request), 0);
    struct shard_reply reply = {.stamp_ms = STAMP_MS};
    if (request.kind != SHARD_STAMP) {
        r->seen[r->asked % 8] =
            (struct seen){request.id.minter, request.id.seq, request.low_seq, request.deadline_ms};
        struct answer answer = {.silent = true};
        if (r->answers_count > 0) {
            answer = r->answers[r->asked < r->answers_count ? r->asked : r->answers_count - 1];
        }
        r->asked++;
        if (answer.silent) {
            assert_true(r->unanswered_count < 64);
            r->unanswered[r->unanswered_count++] = rpc_request;
            return;
        }
        reply.executed = answer.executed;
        reply.status = answer.status;
    }
    shard_reply_head(&reply, &head);
    const struct bnd_slice part = bnd_buf_slice(&head);
    bnd_rpc_reply(rpc_request, 0, &part, 1);
    bnd_buf_free(&head);
}

static void side_open(struct rig *r, struct side *side, uint64_t node) {
    side->disk = bnd_sim_disk_create(r->world, node, 0);
    side->env = bnd_sim_env_create(r->world, side->disk, NULL, node);
    bnd_sim_env_enter(side->env);
    side->mesh = bnd_sim_net_attach(r->net, side->env);
    assert_int_equal(bnd_rpc_create(bnd_sim_env(side->env), side->mesh, 0, &side->rpc), 0);
    bnd_sim_env_leave(side->env);
}

static void side_close(struct side *side) {
    bnd_sim_env_enter(side->env);
    bnd_rpc_destroy(side->rpc);
    bnd_sim_net_detach(side->mesh);
    bnd_sim_env_leave(side->env);
    bnd_sim_env_stop(side->env);
    bnd_sim_disk_destroy(side->disk);
}

static void client_close(struct rig *r) {
    bnd_sim_env_enter(r->here.env);
    bnd_shard_client_destroy(r->client);
    r->client = NULL;
    bnd_sim_env_leave(r->here.env);
}

static void rig_open(struct rig *r, const struct answer *answers, size_t count) {
    static const uint64_t nodes[] = {2};
    *r = (struct rig){.answers = answers, .answers_count = count};
    r->world = bnd_sim_world_create(5);
    r->net = bnd_sim_net_create(r->world, &(struct bnd_sim_net_config){0});
    side_open(r, &r->here, 1);
    side_open(r, &r->there, 2);
    bnd_sim_env_enter(r->there.env);
    bnd_rpc_serve(r->there.rpc, BND_RPC_SHARD, on_request, r);
    bnd_sim_env_leave(r->there.env);
    bnd_sim_env_enter(r->here.env);
    const struct bnd_shard_client_config config = {
        .env = bnd_sim_env(r->here.env), .rpc = r->here.rpc, .calls_max = 3, .bytes_max = 1000};
    assert_int_equal(bnd_shard_client_create(&config, &r->client), 0);
    bnd_shard_client_members(r->client, GID, nodes, 1);
    bnd_sim_env_leave(r->here.env);
    bnd_sim_run_for(r->world, SECOND);
}

static void rig_close(struct rig *r) {
    client_close(r);
    bnd_sim_env_enter(r->there.env);
    for (size_t i = 0; i < r->unanswered_count; i++) {
        bnd_rpc_reply(r->unanswered[i], BND_BUSY, NULL, 0);
    }
    bnd_sim_env_leave(r->there.env);
    side_close(&r->here);
    side_close(&r->there);
    bnd_sim_net_destroy(r->net);
    bnd_sim_world_destroy(r->world);
}

static int start(struct rig *r, struct call *call, enum bnd_shard_call_kind kind, size_t len) {
    static const uint8_t body[2000];
    const struct bnd_slice part = bnd_slice(body, len);
    *call = (struct call){.call = {.cb = on_called, .data = call}};
    bnd_sim_env_enter(r->here.env);
    int rv = bnd_shard_call(r->client, &call->call, kind, GID, &part, 1, 20 * SECOND);
    bnd_sim_env_leave(r->here.env);
    return rv;
}

/* The outcome of one write that the peer answers so. */
static int outcome(struct rig *r, const struct answer *answers, size_t count) {
    struct call call;
    rig_open(r, answers, count);
    assert_int_equal(start(r, &call, BND_SHARD_WRITE, 1), 0);
    bnd_sim_run_for(r->world, 60 * SECOND);
    assert_true(call.done);
    return call.status;
}

static const struct answer refused = {.status = BND_NOTLEADER};
static const struct answer maybe = {.status = BND_UNKNOWN};
static const struct answer expired = {.status = BND_EXPIRED};
static const struct answer silent = {.silent = true};
static const struct answer executed = {.executed = true};

static void refusals_alone_are_not_executed(void **state) {
    (void)state;
    struct rig r;
    assert_int_equal(outcome(&r, &refused, 1), BND_UNAVAILABLE);
    assert_true(r.asked > 5);
    rig_close(&r);
}

static void what_may_have_been_executed_stays_unknown(void **state) {
    (void)state;
    const struct answer first[] = {maybe, silent};
    for (size_t f = 0; f < 2; f++) {
        struct rig r;
        struct answer answers[] = {first[f], refused};
        assert_int_equal(outcome(&r, answers, 2), BND_UNKNOWN);
        assert_true(r.asked > 2);
        rig_close(&r);
        answers[1] = expired; /* with another deadline it would be another operation */
        assert_int_equal(outcome(&r, answers, 2), BND_UNKNOWN);
        assert_int_equal(r.asked, 2);
        rig_close(&r);
    }
}

static void a_deadline_that_was_refused_is_minted_anew(void **state) {
    (void)state;
    struct rig r;
    const struct answer answers[] = {expired, executed};
    assert_int_equal(outcome(&r, answers, 2), 0);
    assert_int_equal(r.asked, 2);
    rig_close(&r);
}

static void every_attempt_is_the_same_operation(void **state) {
    (void)state;
    struct rig r;
    const struct answer answers[] = {maybe, refused, silent, maybe, executed};
    assert_int_equal(outcome(&r, answers, 5), 0);
    assert_int_equal(r.asked, 5);
    for (size_t i = 1; i < 5; i++) {
        assert_memory_equal(&r.seen[i], &r.seen[0], sizeof r.seen[0]);
    }
    assert_true(r.seen[0].deadline_ms > STAMP_MS);
    rig_close(&r);
}

/* The oldest write that may still be asked again says which outcomes must be kept. */
static void the_oldest_open_write_bounds_what_is_forgotten(void **state) {
    (void)state;
    struct rig r;
    struct call first;
    struct call second;
    const struct answer answers[] = {silent, executed};
    rig_open(&r, answers, 2);
    assert_int_equal(start(&r, &first, BND_SHARD_WRITE, 1), 0);
    bnd_sim_run_for(r.world, SECOND / 10);
    assert_int_equal(r.asked, 1);
    assert_int_equal(start(&r, &second, BND_SHARD_WRITE, 1), 0);
    bnd_sim_run_for(r.world, SECOND / 10);
    assert_int_equal(r.asked, 2);
    assert_true(second.done);
    assert_false(first.done);
    assert_int_equal(r.seen[1].seq, r.seen[0].seq + 1);
    assert_int_equal(r.seen[1].low_seq, r.seen[0].seq);
    rig_close(&r);
    assert_true(first.done);
}

static void close_says_what_is_known(void **state) {
    (void)state;
    struct rig r;
    struct call write;
    struct call read;
    rig_open(&r, NULL, 0);
    assert_int_equal(start(&r, &write, BND_SHARD_WRITE, 1), 0);
    assert_int_equal(start(&r, &read, BND_SHARD_READ, 1), 0);
    bnd_sim_run_for(r.world, SECOND / 10);
    assert_false(write.done || read.done);
    client_close(&r);
    assert_int_equal(write.status, BND_UNKNOWN);
    assert_int_equal(read.status, BND_CANCELED);
    rig_close(&r);
}

static void calls_under_way_are_bounded(void **state) {
    (void)state;
    struct rig r;
    struct call calls[3];
    struct call more;
    rig_open(&r, NULL, 0);
    assert_int_equal(start(&r, &more, BND_SHARD_WRITE, 1001), BND_FULL);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(start(&r, &calls[i], BND_SHARD_WRITE, 300), 0);
    }
    assert_int_equal(start(&r, &more, BND_SHARD_READ, 1), BND_FULL);
    bnd_sim_run_for(r.world, 60 * SECOND);
    assert_true(calls[0].done && calls[1].done && calls[2].done);
    assert_int_equal(start(&r, &more, BND_SHARD_READ, 1), 0);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_alone_are_not_executed),
        cmocka_unit_test(what_may_have_been_executed_stays_unknown),
        cmocka_unit_test(a_deadline_that_was_refused_is_minted_anew),
        cmocka_unit_test(every_attempt_is_the_same_operation),
        cmocka_unit_test(the_oldest_open_write_bounds_what_is_forgotten),
        cmocka_unit_test(close_says_what_is_known),
        cmocka_unit_test(calls_under_way_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
