#include "gateway/d1/use.h"

_Static_assert(BND_D1_UUID_BYTES == BND_SQL_UUID_BYTES, "one uuid");

static void act(struct d1_use *use) {
    int rv = use->act(use);
    if (rv != 0) {
        use->failed(use, rv);
    }
}

static bool by_uuid(const struct d1_use *use, uint8_t out[BND_D1_UUID_BYTES]) {
    return bnd_d1_uuid_parse(use->named, out);
}

/* A uuid may be written in capitals. */
static struct bnd_slice key_of(const struct d1_use *use) {
    return use->text[0] == 0 ? use->named : bnd_slice_str(use->text);
}

/* ---- one of the two groups does not know it
 * ------------------------------------------------------------------------------------------------
 */

static void on_forgotten(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct d1_use *use = call->data;
    use->failed(use, status == 0 ? BND_NOTFOUND : status);
}

/* Its SQL group keeps a tombstone: what remains is to forget it here. */
static void forget(struct d1_use *use) {
    const struct bnd_catalog_command command = {.op = BND_CATALOG_D1_DELETE,
                                                .b = bnd_slice(use->uuid, sizeof use->uuid)};
    use->call = (struct bnd_catalog_call){.cb = on_forgotten, .data = use};
    int rv = bnd_catalog_write(use->catalog, &use->call, &command, 0);
    if (rv != 0) {
        use->failed(use, rv);
    }
}

static void on_made(struct bnd_sql_admin *admin, int status) {
    struct d1_use *use = admin->data;
    if (status == BND_NOTFOUND) {
        forget(use);
    } else if (status != 0 && status != BND_EXISTS) {
        use->failed(use, status);
    } else {
        act(use);
    }
}

static void make(struct d1_use *use) {
    use->admin = (struct bnd_sql_admin){.cb = on_made, .data = use};
    int rv = bnd_sql_create_database(use->sql, &use->admin, use->uuid);
    if (rv != 0) {
        use->failed(use, rv);
    }
}

/* ---- group 0
 * ------------------------------------------------------------------------------------------------
 */

static void on_database(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct d1_use *use = call->data;
    struct bnd_d1_database database;
    status = status != 0 ? status : bnd_d1_database_decode(reply, &database);
    if (status != 0) {
        use->failed(use, status);
        return;
    }
    bool same = use->found && memcmp(use->uuid, database.uuid, sizeof use->uuid) == 0;
    memcpy(use->uuid, database.uuid, sizeof use->uuid);
    bnd_catalog_d1_learn(use->catalog, &database);
    use->known = same; /* asked before with this uuid, to which the SQL group said no */
    if (same) {
        make(use);
    } else {
        use->found = true;
        act(use);
    }
}

static void ask(struct d1_use *use) {
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_D1_DATABASE, .b = use->named};
    uint8_t uuid[BND_D1_UUID_BYTES];
    if (by_uuid(use, uuid)) {
        query.a = bnd_slice(uuid, sizeof uuid);
        query.b = bnd_slice(NULL, 0);
    }
    use->call = (struct bnd_catalog_call){.cb = on_database, .data = use};
    int rv = bnd_catalog_read(use->catalog, &use->call, &query, 0);
    if (rv != 0) {
        use->failed(use, rv);
    }
}

void d1_use_start(struct d1_use *use) {
    uint8_t uuid[BND_D1_UUID_BYTES];
    use->known = false;
    use->text[0] = 0;
    if (by_uuid(use, uuid)) {
        bnd_d1_uuid_text(uuid, use->text);
    }
    use->found = bnd_catalog_d1_known(use->catalog, key_of(use), use->uuid);
    if (use->found) {
        act(use);
    } else if (use->text[0] == 0 && !bnd_d1_name_valid(use->named)) {
        use->failed(use, BND_NOTFOUND);
    } else {
        ask(use);
    }
}

bool d1_use_missing(struct d1_use *use) {
    if (use->known) {
        return false;
    }
    bnd_catalog_d1_forget(use->catalog, key_of(use));
    ask(use);
    return true;
}
