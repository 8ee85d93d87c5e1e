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

static void on_name_unsealed(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct bnd_bucket_delete *del = call->data;
    finish(del, del->verdict);
}

static void on_shards_unsealed(struct bnd_bucket_seal *seal, int status, bool holds_anything) {
    struct bnd_bucket_delete *del = seal->data;
    if (status != 0 || command(del, BND_CATALOG_BUCKET_UNSEAL, on_name_unsealed) != 0) {
        finish(del, del->verdict); /* the name stays sealed until a later attempt ends this one */
    }
}

static void roll_back(struct bnd_bucket_delete *del, int verdict) {
    del->verdict = verdict;
    del->seal = (struct bnd_bucket_seal){.cb = on_shards_unsealed, .data = del};
    if (bnd_bucket_unseal(del->services->objects, &del->seal, del->bucket, del->attempt) != 0) {
        finish(del, verdict);
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
