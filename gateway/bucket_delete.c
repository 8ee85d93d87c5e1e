/* Deleting a bucket, and ending what others began.
 *
 * Invariants: 1. group 0 hears REMOVE only after every shard was sealed and empty under the newest
 * attempt; 2. the shards are unsealed before group 0 calls the bucket ACTIVE again, so that no
 * ACTIVE bucket stays sealed: a crash between the two leaves it DELETING, and so to the sweep;
 * 3. "not empty" is told only once nothing of the attempt is left: a deletion that the sweep may
 * still carry out is not called refused. */
#include "gateway/bucket_delete.h"

static struct bnd_slice name_of(const struct bnd_bucket_delete *del) {
    return bnd_slice(del->name, del->name_len);
}

static void finish(struct bnd_bucket_delete *del, int status) {
    if (status == 0) {
        bnd_catalog_bucket_forget(del->services->catalog, name_of(del));
    }
    del->cb(del, status);
}

static int command(struct bnd_bucket_delete *del, enum bnd_catalog_op op,
                   void (*cb)(struct bnd_catalog_call *call, int status, struct bnd_slice reply)) {
    struct bnd_catalog_command command = {
        .op = op, .id = del->bucket.id, .number = del->attempt, .a = name_of(del)};
    del->call = (struct bnd_catalog_call){.cb = cb, .data = del};
    return bnd_catalog_write(del->services->catalog, &del->call, &command, 0);
}

/* ---- back
 * -----------------------------------------------------------------------------------------------
 */

/* status: of the way back. If it failed, the name stays sealed until a later attempt ends this one,
 * which deletes the bucket if it is empty by then: the verdict would not be true. If a newer one
 * has the bucket, or had it, nothing of this one is left. */
static void end_back(struct bnd_bucket_delete *del, int status) {
    bool back = status == 0 || status == BND_EPOCH || status == BND_NOTFOUND;
    finish(del, back ? del->verdict : status);
}

static void on_name_unsealed(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    end_back(call->data, status);
}

static void on_shards_unsealed(struct bnd_bucket_seal *seal, int status, bool holds_anything) {
    struct bnd_bucket_delete *del = seal->data;
    if (status == 0) {
        status = command(del, BND_CATALOG_BUCKET_UNSEAL, on_name_unsealed);
        if (status == 0) {
            return;
        }
    }
    end_back(del, status);
}

static void roll_back(struct bnd_bucket_delete *del, int verdict) {
    del->verdict = verdict;
    del->seal = (struct bnd_bucket_seal){.cb = on_shards_unsealed, .data = del};
    int rv = bnd_bucket_unseal(del->services->objects, &del->seal, del->bucket, del->attempt);
    if (rv != 0) {
        end_back(del, rv);
    }
}

/* ---- forth
 * ---------------------------------------------------------------------------------------------- */

static void on_removed(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    finish(call->data, status);
}

static void on_shards_sealed(struct bnd_bucket_seal *seal, int status, bool holds_anything) {
    struct bnd_bucket_delete *del = seal->data;
    if (status == BND_EPOCH) {
        finish(del, status);
    } else if (status != 0 || holds_anything) {
        roll_back(del, status != 0 ? status : BND_NOTEMPTY);
    } else {
        status = command(del, BND_CATALOG_BUCKET_REMOVE, on_removed);
        if (status != 0) {
            roll_back(del, status);
        }
    }
}

static void on_name_sealed(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct bnd_bucket_delete *del = call->data;
    struct bnd_bucket_record record;
    if (status == 0) {
        status = bnd_bucket_decode(reply, &record);
    }
    if (status != 0) {
        finish(del, status);
        return;
    }
    del->bucket = (struct bnd_bucket_ref){.id = record.id, .segments = record.segments};
    del->attempt = record.attempt;
    del->seal = (struct bnd_bucket_seal){.cb = on_shards_sealed, .data = del};
    status = bnd_bucket_seal(del->services->objects, &del->seal, del->bucket, del->attempt);
    if (status != 0) {
        roll_back(del, status);
    }
}

int bnd_bucket_delete(const struct bnd_gateway_services *services, struct bnd_bucket_delete *del,
                      struct bnd_slice name) {
    if (!bnd_bucket_name_valid(name)) {
        return BND_INVALID;
    }
    del->services = services;
    del->name_len = name.len;
    memcpy(del->name, name.data, name.len);
    return command(del, BND_CATALOG_BUCKET_SEAL, on_name_sealed);
}

/* ---- the sweep
 * ------------------------------------------------------------------------------------------ */

enum { SWEEP_PAGE = 1000 };

static void sweep_on(struct bnd_bucket_sweep *sweep);

static void sweep_end(struct bnd_bucket_sweep *sweep, int status) {
    bnd_buf_free(&sweep->page);
    sweep->cb(sweep, status);
}

static void on_swept(struct bnd_bucket_delete *del, int status) {
    struct bnd_bucket_sweep *sweep = del->data;
    sweep->ended += status == 0 || status == BND_NOTEMPTY ? 1 : 0;
    sweep_on(sweep);
}

static void on_buckets(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct bnd_bucket_sweep *sweep = call->data;
    struct bnd_reader r = bnd_reader(reply);
    if (status == 0) {
        sweep->more = bnd_read_u8(&r) != 0;
        sweep->left = bnd_read_u32(&r);
        sweep->page_at = 0;
        bnd_buf_reset(&sweep->page);
        bnd_buf_append_slice(&sweep->page, r.rest);
        sweep->more = sweep->more && sweep->left > 0;
        status = r.failed ? BND_CORRUPT : sweep->page.failed ? BND_NOMEM : 0;
    }
    if (status != 0) {
        sweep_end(sweep, status);
    } else {
        sweep_on(sweep);
    }
}

static int ask_buckets(struct bnd_bucket_sweep *sweep) {
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKETS,
                                      .number = SWEEP_PAGE,
                                      .b = bnd_slice(sweep->after, sweep->after_len)};
    sweep->call = (struct bnd_catalog_call){.cb = on_buckets, .data = sweep};
    return bnd_catalog_read(sweep->services->catalog, &sweep->call, &query, 0);
}

static bool overdue(const struct bnd_bucket_sweep *sweep, const struct bnd_bucket_record *bucket) {
    return bucket->state == BND_BUCKET_DELETING &&
           bucket->attempt_ms + BND_BUCKET_ATTEMPT_OVERDUE_MS < bnd_wall_ms(sweep->services->env);
}

/* Takes the next record of the page. 1: an attempt is under way; 0: nothing to do; or a code. */
static int sweep_one(struct bnd_bucket_sweep *sweep) {
    struct bnd_reader r =
        bnd_reader(bnd_slice(sweep->page.data + sweep->page_at, sweep->page.len - sweep->page_at));
    struct bnd_bucket_record bucket;
    struct bnd_slice bytes = bnd_read_bytes(&r);
    if (r.failed || bnd_bucket_decode(bytes, &bucket) != 0 ||
        bucket.name.len > sizeof sweep->after) {
        return BND_CORRUPT;
    }
    sweep->left--;
    sweep->page_at = sweep->page.len - r.rest.len;
    sweep->after_len = bucket.name.len;
    memcpy(sweep->after, bucket.name.data, bucket.name.len);
    if (!overdue(sweep, &bucket)) {
        return 0;
    }
    sweep->del = (struct bnd_bucket_delete){.cb = on_swept, .data = sweep};
    int rv = bnd_bucket_delete(sweep->services, &sweep->del, bucket.name);
    return rv == 0 ? 1 : rv;
}

static void sweep_on(struct bnd_bucket_sweep *sweep) {
    int rv = sweep->stopping ? BND_CANCELED : 0;
    while (rv == 0 && sweep->left > 0) {
        rv = sweep_one(sweep);
    }
    if (rv == 0 && sweep->more) {
        rv = ask_buckets(sweep);
        rv = rv == 0 ? 1 : rv;
    }
    if (rv <= 0) {
        sweep_end(sweep, rv);
    }
}

int bnd_bucket_delete_resume(const struct bnd_gateway_services *services,
                             struct bnd_bucket_sweep *sweep) {
    sweep->services = services;
    sweep->ended = 0;
    sweep->left = 0;
    sweep->stopping = false;
    sweep->after_len = 0;
    sweep->page = (struct bnd_buf){0};
    return ask_buckets(sweep);
}

void bnd_bucket_sweep_stop(struct bnd_bucket_sweep *sweep) {
    sweep->stopping = true;
}
