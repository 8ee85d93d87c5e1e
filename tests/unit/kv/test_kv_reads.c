/* Reads through nodes that do not hold the key, large values, lists. */
#include "tests/unit/kv/kv_cluster.h"

/* 1 to 3 hold everything, 4 stores but holds nothing, 5 is a gateway. */
static struct cluster *five(uint64_t seed) {
    return cluster_open(seed, 5, 1, 3);
}

static void test_forwarded(void **state) {
    struct cluster *c = five(1);
    for (uint64_t id = 4; id <= 5; id++) {
        (void)put(c, id, "a", id == 4 ? "by 4" : "by 5");
        expect(c, id, "a", id == 4 ? "by 4" : "by 5");
        run(c, 100);
        expect(c, 1, "a", id == 4 ? "by 4" : "by 5");
        expect(c, id, "none", NULL);
        (void)put(c, id, "a", NULL);
        expect(c, id, "a", NULL);
    }
    struct putting putting;
    assert_int_equal(put_in(c, 5, 9, "a", "v", &putting), BND_NOTFOUND);
    cluster_close(c);
}

/* All nodes anew, and nothing but pushes brings a record to a replica. */
static void quiet(struct cluster *c) {
    for (size_t i = 0; i < c->count; i++) {
        crash(c, i + 1, BND_SIM_KILL);
        c->nodes[i].rules_off = KV_RULE_DIGEST | KV_RULE_EXCHANGE;
    }
    for (size_t i = 0; i < c->count; i++) {
        restart(c, i + 1);
    }
    run(c, 2000);
}

/* Through one node a client reads its own writes, though a replica that is asked lags behind. */
static void test_own_writes(void **state) {
    for (uint64_t behind = 1; behind <= 3; behind++) {
        struct cluster *c = five(10 + behind);
        quiet(c);
        (void)put(c, 5, "a", "old");
        run(c, 100);
        c->drop_type = KV_MESSAGE_PUSHES;
        c->drop_to = behind;
        for (unsigned i = 0; i < 8; i++) {
            char value[16];
            (void)snprintf(value, sizeof value, "new %u", i);
            struct putting putting;
            /* The replica that lags may be asked to coordinate: it has it then, and knows. */
            assert_int_equal(put_in(c, 5, NS, "a", value, &putting), 0);
            struct getting getting = {
                .get = {.namespace_id = NS, .key = bnd_slice_str("a"), .cache_ttl_s = 1}};
            assert_int_equal(get_with(c, 5, &getting), 0);
            assert_string_equal(getting.value, value);
            run(c, 1100);
            assert_int_equal(get_with(c, 5, &getting), 0);
            assert_string_equal(getting.value, value);
        }
        cluster_close(c);
    }
}

/* What others answered is kept for as long as the reader allows, absences too. */
/* The only replica that can be reached lags behind: its older record is no answer. */
static void test_own_writes_of_one_behind(void **state) {
    unsigned refused = 0;
    for (uint64_t behind = 1; behind <= 3; behind++) {
        struct cluster *c = five(30 + behind);
        quiet(c);
        (void)put(c, 5, "a", "old");
        run(c, 100);
        c->drop_type = KV_MESSAGE_PUSHES;
        c->drop_to = behind;
        (void)put(c, 5, "a", "new");
        for (uint64_t other = 1; other <= 3; other++) {
            if (other != behind) {
                bnd_sim_net_cut(c->net, 5, other, true, true);
                bnd_sim_net_cut(c->net, other, 5, true, true);
            }
        }
        run(c, 5000);
        struct getting getting = {
            .get = {.namespace_id = NS, .key = bnd_slice_str("a"), .cache_ttl_s = 1}};
        int status = get_with(c, 5, &getting);
        refused += status == BND_UNAVAILABLE;
        assert_true(status == BND_UNAVAILABLE || strcmp(getting.value, "new") == 0);
        cluster_close(c);
    }
    assert_true(refused > 0); /* else each of them was the coordinator */
}

static void test_cache_ttl(void **state) {
    struct cluster *c = five(2);
    expect(c, 5, "a", NULL);
    (void)put(c, 1, "a", "there");
    run(c, 100);
    struct getting getting = get(c, 5, "a");
    assert_true(getting.now);
    assert_int_equal(getting.status, BND_NOTFOUND); /* within its 60 s */
    getting = (struct getting){
        .get = {.namespace_id = NS, .key = bnd_slice_str("a"), .cache_ttl_s = 300}};
    run(c, 61000);
    assert_int_equal(get_with(c, 5, &getting), BND_NOTFOUND);
    getting.get.cache_ttl_s = 60;
    assert_int_equal(get_with(c, 5, &getting), 0);
    assert_string_equal(getting.value, "there");
    assert_false(getting.now);
    assert_int_equal(get_with(c, 5, &getting), 0);
    assert_true(getting.now);
    struct bnd_kv_stats stats;
    bnd_kv_stats(node_of(c, 5)->kv, &stats);
    assert_true(stats.gets_cached >= 3);
    cluster_close(c);
}

/* `newest` sees what one replica alone has. */
static void test_newest(void **state) {
    struct cluster *c = five(3);
    quiet(c);
    (void)put(c, 1, "a", "old");
    run(c, 100);
    crash(c, 3, BND_SIM_KILL);
    run(c, 5000);
    (void)put(c, 2, "a", "new"); /* on 1 and 2 */
    restart(c, 3);
    crash(c, 1, BND_SIM_KILL);
    c->drop_type = KV_MESSAGE_PUSHES;
    run(c, 3030);
    expect(c, 3, "a", "old"); /* as it may be, unless the newest is asked for */
    struct getting getting = {
        .get = {.namespace_id = NS, .key = bnd_slice_str("a"), .newest = true}};
    for (uint64_t id = 2; id <= 5; id++) {
        assert_int_equal(get_with(c, id, &getting), 0);
        assert_string_equal(getting.value, "new");
    }
    cluster_close(c);
}

static void test_nobody_there(void **state) {
    struct cluster *c = five(4);
    (void)put(c, 1, "a", "v");
    for (uint64_t id = 1; id <= 3; id++) {
        crash(c, id, BND_SIM_KILL);
    }
    run(c, 5000);
    struct getting getting = get(c, 5, "a");
    assert_int_equal(getting.status, BND_UNAVAILABLE); /* never "there is none" */
    restart(c, 1);
    run(c, 5000);
    expect(c, 5, "a", "v"); /* one is enough to read */
    cluster_close(c);
}

/* A replica that has lost its state answers nobody from what it lacks. */
static void test_lost_state(void **state) {
    struct cluster *c = five(5);
    (void)put(c, 1, "a", "v");
    run(c, 70000); /* persisted, and the log compacted */
    crash(c, 2, BND_SIM_KILL);
    bnd_sim_store_wipe(node_of(c, 2)->store);
    restart(c, 2);
    struct getting getting = {.status = BND_UNAVAILABLE};
    for (unsigned i = 0; i < 2000 && !(getting.status == 0 && getting.now); i++) {
        getting = get(c, 2, "a"); /* from another, or its own once it is filled again */
        assert_true(getting.status == BND_UNAVAILABLE || getting.status == 0);
        run(c, STEP_MS);
    }
    assert_true(getting.now);
    assert_string_equal(getting.value, "v");
    assert_true(kv_store_lost(node_of(c, 2)->kv->store));
    cluster_close(c);
}

static void test_expiry(void **state) {
    struct cluster *c = five(6);
    uint64_t now_ms = bnd_wall_ms(bnd_sim_env(node_of(c, 1)->sim));
    struct putting putting = put_of(NS, "a", "v");
    putting.put.expires_ms = now_ms + 70000;
    put_begin(c, 1, &putting);
    assert_int_equal(put_wait(c, &putting), 0);
    expect(c, 1, "a", "v");
    expect(c, 5, "a", "v");
    run(c, 71000);
    for (uint64_t id = 1; id <= 5; id++) {
        expect(c, id, "a", NULL);
    }
    cluster_close(c);
}

/* ---- large values
 * ------------------------------------------------------------------------------- */

static void on_piece(void *data, int status) {
    *(int *)data = status;
}

static int add_piece(struct cluster *c, uint64_t id, struct bnd_kv_blob *blob,
                     struct bnd_slice piece) {
    int status = PENDING;
    bnd_sim_env_enter(node_of(c, id)->sim);
    int rv = bnd_kv_blob_piece(blob, piece, on_piece, &status);
    bnd_sim_env_leave(node_of(c, id)->sim);
    for (unsigned i = 0; rv == 0 && i < 1000 && status == PENDING; i++) {
        run(c, STEP_MS);
    }
    return rv != 0 ? rv : status;
}

static uint8_t byte_at(size_t at, uint8_t salt) {
    return (uint8_t)(at * 31 + at / 4096 + salt);
}

static struct bnd_kv_blob *upload(struct cluster *c, uint64_t id, size_t size, uint8_t salt) {
    BND_AUTO uint8_t *piece = bnd_alloc(BND_KV_INLINE_MAX);
    struct bnd_kv_blob *blob = NULL;
    bnd_sim_env_enter(node_of(c, id)->sim);
    assert_int_equal(bnd_kv_blob_begin(node_of(c, id)->kv, NS, bnd_slice_str("big"), &blob), 0);
    bnd_sim_env_leave(node_of(c, id)->sim);
    for (size_t at = 0; at < size;) {
        size_t len = size - at < BND_KV_INLINE_MAX ? size - at : BND_KV_INLINE_MAX;
        for (size_t i = 0; i < len; i++) {
            piece[i] = byte_at(at + i, salt);
        }
        assert_int_equal(add_piece(c, id, blob, bnd_slice(piece, len)), 0);
        at += len;
    }
    return blob;
}

static int put_blob(struct cluster *c, uint64_t id, struct bnd_kv_blob *blob) {
    struct putting putting = put_of(NS, "big", "");
    putting.put.blob = blob;
    put_begin(c, id, &putting);
    int status = put_wait(c, &putting);
    bnd_sim_env_enter(node_of(c, id)->sim);
    bnd_kv_blob_free(blob);
    bnd_sim_env_leave(node_of(c, id)->sim);
    return status;
}

struct reading {
    struct bnd_kv_read read;
    int status;
    size_t got, at;
    uint8_t salt;
};

static void on_read(struct bnd_kv_read *read, int status, struct bnd_slice piece) {
    struct reading *reading = read->data;
    reading->status = status;
    reading->got = piece.len;
    for (size_t i = 0; i < piece.len; i++) {
        assert_int_equal(piece.data[i], byte_at(reading->at + i, reading->salt));
    }
    reading->at += piece.len;
}

/* Piece after piece to the end; status of the last. */
static int download(struct cluster *c, uint64_t id, struct reading *reading) {
    do {
        reading->status = PENDING;
        bnd_sim_env_enter(node_of(c, id)->sim);
        int rv = bnd_kv_read(node_of(c, id)->kv, &reading->read);
        bnd_sim_env_leave(node_of(c, id)->sim);
        assert_int_equal(rv, 0);
        for (unsigned i = 0; i < 1000 && reading->status == PENDING; i++) {
            run(c, STEP_MS);
        }
    } while (reading->status == 0 && reading->got > 0);
    return reading->status;
}

static struct reading reading_of(const struct getting *item, uint8_t salt) {
    struct reading reading = {.salt = salt};
    reading.read = (struct bnd_kv_read){.namespace_id = NS,
                                        .key = bnd_slice_str("big"),
                                        .version = item->version,
                                        .size = item->size,
                                        .cb = on_read};
    return reading;
}

static void test_large(void **state) {
    static const size_t sizes[] = {BND_KV_INLINE_MAX + 1, 2 * BND_KV_INLINE_MAX, 700000};
    struct cluster *c = five(7);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t by = i == 0 ? 1 : i + 3; /* a replica, another node, a gateway */
        assert_int_equal(put_blob(c, by, upload(c, by, sizes[i], (uint8_t)i)), 0);
        run(c, 500);
        for (uint64_t id = 1; id <= 5; id++) {
            struct getting getting = {
                .get = {.namespace_id = NS, .key = bnd_slice_str("big"), .newest = true}};
            assert_int_equal(get_with(c, id, &getting), 0);
            assert_int_equal(getting.size, sizes[i]);
            struct reading reading = reading_of(&getting, (uint8_t)i);
            reading.read.data = &reading;
            assert_int_equal(download(c, id, &reading), 0);
            assert_int_equal(reading.at, sizes[i]);
        }
    }
    cluster_close(c);
}

/* Who has less of a value than its size is no end of it, whoever is asked. */
static void test_large_cut(void **state) {
    struct cluster *c = five(17);
    assert_int_equal(put_blob(c, 1, upload(c, 1, 2 * BND_KV_INLINE_MAX, 1)), 0);
    run(c, 500);
    for (uint64_t id = 1; id <= 5; id++) {
        struct getting getting = get(c, id, "big");
        struct reading reading = reading_of(&getting, 1);
        reading.read.data = &reading;
        reading.read.size += BND_KV_INLINE_MAX;
        assert_int_equal(download(c, id, &reading), BND_NOTFOUND);
        assert_int_equal(reading.at, 2 * BND_KV_INLINE_MAX);
    }
    cluster_close(c);
}

/* A reader goes on with what it began, though the value is another one meanwhile. */
static void test_large_superseded(void **state) {
    struct cluster *c = five(8);
    assert_int_equal(put_blob(c, 1, upload(c, 1, 700000, 1)), 0);
    struct getting getting = get(c, 1, "big");
    struct reading reading = reading_of(&getting, 1);
    reading.read.data = &reading;
    reading.status = PENDING;
    bnd_sim_env_enter(node_of(c, 1)->sim);
    assert_int_equal(bnd_kv_read(node_of(c, 1)->kv, &reading.read), 0);
    bnd_sim_env_leave(node_of(c, 1)->sim);
    run(c, 100);
    assert_int_equal(reading.status, 0);
    (void)put(c, 1, "big", "small now");
    assert_int_equal(download(c, 1, &reading), 0);
    assert_int_equal(reading.at, 700000);
    cluster_close(c);
}

/* A node dies while pieces come: two are enough. All of it survives power loss. */
static void test_large_crash(void **state) {
    struct cluster *c = five(9);
    struct bnd_kv_blob *blob = NULL;
    BND_AUTO uint8_t *piece = bnd_alloc(BND_KV_INLINE_MAX);
    bnd_sim_env_enter(node_of(c, 5)->sim);
    assert_int_equal(bnd_kv_blob_begin(node_of(c, 5)->kv, NS, bnd_slice_str("big"), &blob), 0);
    bnd_sim_env_leave(node_of(c, 5)->sim);
    for (unsigned n = 0; n < 3; n++) {
        if (n == 1) {
            crash(c, 3, BND_SIM_POWER);
        }
        for (size_t i = 0; i < BND_KV_INLINE_MAX; i++) {
            piece[i] = byte_at(n * (size_t)BND_KV_INLINE_MAX + i, 3);
        }
        assert_int_equal(add_piece(c, 5, blob, bnd_slice(piece, BND_KV_INLINE_MAX)), 0);
    }
    assert_int_equal(put_blob(c, 5, blob), 0);
    for (uint64_t id = 1; id <= 2; id++) {
        crash(c, id, BND_SIM_POWER);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        restart(c, id);
    }
    run(c, 70000); /* 3 gets it by exchange */
    for (uint64_t id = 1; id <= 3; id++) {
        struct getting getting = get(c, id, "big");
        assert_int_equal(getting.status, 0);
        struct reading reading = reading_of(&getting, 3);
        reading.read.data = &reading;
        assert_int_equal(download(c, id, &reading), 0);
        assert_int_equal(reading.at, 3 * (size_t)BND_KV_INLINE_MAX);
    }
    cluster_close(c);
}

static void lanes_full(struct cluster *c, bool full) {
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = 0;
    net.full_per_mille = full ? 1000 : 0;
    bnd_sim_net_configure(c->net, &net);
}

/* A piece that nobody could take at first, or that was lost, is sent again. */
static void test_large_not_taken(void **state) {
    static const uint8_t piece[BND_KV_INLINE_MAX] = {1};
    for (unsigned lost = 0; lost < 2; lost++) {
        struct cluster *c = five(20 + lost);
        struct bnd_kv_blob *blob = NULL;
        int status = PENDING;
        c->drop_type = lost ? KV_MESSAGE_PUSHES : 0;
        lanes_full(c, !lost);
        bnd_sim_env_enter(node_of(c, 5)->sim);
        assert_int_equal(bnd_kv_blob_begin(node_of(c, 5)->kv, NS, bnd_slice_str("big"), &blob), 0);
        assert_int_equal(
            bnd_kv_blob_piece(blob, bnd_slice(piece, sizeof piece), on_piece, &status), 0);
        bnd_sim_env_leave(node_of(c, 5)->sim);
        run(c, 500);
        assert_int_equal(status, PENDING);
        c->drop_type = 0;
        lanes_full(c, false);
        run(c, 1500);
        assert_int_equal(status, 0);
        assert_int_equal(add_piece(c, 5, blob, bnd_slice_str("the rest")), 0);
        assert_int_equal(put_blob(c, 5, blob), 0);
        cluster_close(c);
    }
}

/* ---- lists
 * ----------------------------------------------------------------------------------- */

struct listing {
    struct bnd_kv_list list;
    int status;
    bool complete;
    size_t count;
    char keys[128][16];
    char last[BND_KV_KEY_MAX + 1];
};

static void on_list(struct bnd_kv_list *list, int status, const struct bnd_kv_list_entry *entries,
                    size_t count, bool complete, struct bnd_slice last) {
    struct listing *listing = list->data;
    assert_int_equal(listing->status, PENDING);
    listing->status = status;
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(listing->keys[listing->count++], 16, "%.*s", (int)entries[i].key.len,
                       (const char *)entries[i].key.data);
    }
    listing->complete = complete;
    (void)snprintf(listing->last, sizeof listing->last, "%.*s", (int)last.len,
                   (const char *)last.data);
}

static int list_page(struct cluster *c, uint64_t id, struct listing *listing) {
    listing->list.cb = on_list;
    listing->list.data = listing;
    listing->status = PENDING;
    bnd_sim_env_enter(node_of(c, id)->sim);
    int rv = bnd_kv_list(node_of(c, id)->kv, &listing->list);
    bnd_sim_env_leave(node_of(c, id)->sim);
    for (unsigned i = 0; rv == 0 && i < 3000 && listing->status == PENDING; i++) {
        run(c, STEP_MS);
    }
    return rv != 0 ? rv : listing->status;
}

static void list_all(struct cluster *c, uint64_t id, uint32_t limit, struct listing *out) {
    *out = (struct listing){.list = {.namespace_id = NS, .limit = limit}};
    char after[BND_KV_KEY_MAX + 1] = "";
    do {
        out->list.after = bnd_slice_str(after);
        assert_int_equal(list_page(c, id, out), 0);
        (void)snprintf(after, sizeof after, "%s", out->last);
    } while (!out->complete);
}

static void test_list(void **state) {
    struct cluster *c = five(20);
    /* Shards on different nodes: 4 takes the place of 3 in two of them. */
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(bnd_kv_shard_move(&c->shards[i], 1, 4, 3), 0);
    }
    map_changed(c);
    run(c, 20000);
    char key[16];
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "k%02u", i);
        (void)put(c, 1 + i % 5, key, "v");
    }
    (void)put(c, 1, "k50", NULL);
    run(c, 200);
    static struct listing listing;
    static const uint32_t limits[] = {1000, 7};
    for (uint64_t id = 1; id <= 5; id++) {
        for (unsigned l = 0; l < 2; l++) {
            list_all(c, id, limits[l], &listing);
            assert_int_equal(listing.count, 99);
            for (unsigned i = 0; i < 99; i++) {
                (void)snprintf(key, sizeof key, "k%02u", i < 50 ? i : i + 1);
                assert_string_equal(listing.keys[i], key);
            }
        }
    }
    listing =
        (struct listing){.list = {.namespace_id = NS, .limit = 100, .prefix = bnd_slice_str("k3")}};
    assert_int_equal(list_page(c, 5, &listing), 0);
    assert_int_equal(listing.count, 10);
    assert_true(listing.complete);
    cluster_close(c);
}

/* What was acknowledged is in the next list, committed or not, of the node that coordinated it. */
static void test_list_after_put(void **state) {
    struct cluster *c = five(22);
    char key[16];
    for (unsigned i = 0; i < 10; i++) {
        (void)snprintf(key, sizeof key, "k%02u", i);
        (void)put(c, 1, key, "v");
        static struct listing listing;
        listing = (struct listing){
            .list = {.namespace_id = NS, .limit = 100, .prefix = bnd_slice_str(key)}};
        assert_int_equal(list_page(c, 1, &listing), 0);
        assert_int_equal(listing.count, 1);
    }
    cluster_close(c);
}

/* A state that takes nothing for a while holds a list up, and fails it only after 3 s. */
static void test_list_of_a_stalled_state(void **state) {
    static struct listing listing;
    struct cluster *c = five(24);
    (void)put(c, 1, "a", "v");
    bnd_sim_store_stall(node_of(c, 1)->store, 1000 * BND_MS);
    listing = (struct listing){.list = {.namespace_id = NS, .limit = 100}};
    assert_int_equal(list_page(c, 1, &listing), 0);
    assert_int_equal(listing.count, 1);
    (void)put(c, 1, "b", "v");
    bnd_sim_store_stall(node_of(c, 1)->store, 10000 * BND_MS);
    listing = (struct listing){.list = {.namespace_id = NS, .limit = 100}};
    assert_int_equal(list_page(c, 1, &listing), BND_BUSY);
    listing = (struct listing){.list = {.namespace_id = NS, .limit = 100}};
    assert_int_equal(list_page(c, 2, &listing), 0); /* the others go on */
    assert_int_equal(listing.count, 2);
    cluster_close(c);
}

/* So many deleted keys that a node looks at no more of them in one page: what other nodes have
 * behind its last key waits for the next page, and comes once. */
static void test_list_over_the_dead(void **state) {
    enum { AT_ONCE = 256 };
    static struct putting dead[AT_ONCE];
    static char names[AT_ONCE][16];
    static struct listing listing;
    struct cluster *c = five(23);
    for (uint32_t i = 0; i < 2; i++) { /* 4 has the first two shards, as in test_list */
        assert_int_equal(bnd_kv_shard_move(&c->shards[i], 1, 4, 3), 0);
    }
    map_changed(c);
    run(c, 20000);
    (void)put(c, 1, "k", "v");
    for (unsigned name = 0, count = 0; count < 80 * AT_ONCE; name++) {
        unsigned at = count % AT_ONCE;
        (void)snprintf(names[at], sizeof names[at], "d%06u", name);
        if (bnd_shard_of(BND_GROUP_KV, NS, bnd_slice_str(names[at]), SHARDS) > 1) {
            continue;
        }
        dead[at] = put_of(NS, names[at], NULL);
        put_begin(c, 1, &dead[at]);
        count++;
        for (unsigned i = 0; at == AT_ONCE - 1 && i < AT_ONCE; i++) {
            assert_int_equal(put_wait(c, &dead[i]), 0);
        }
    }
    for (unsigned i = 0; i < 10; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "z%u", i);
        (void)put(c, 1, key, "v");
    }
    run(c, 2000);
    for (uint64_t id = 1; id <= 5; id++) {
        list_all(c, id, 100, &listing);
        assert_int_equal(listing.count, 11);
    }
    cluster_close(c);
}

/* A node that dies is asked no more; without any replica of a shard it is an error, never a list
 * that lacks something. */
static void test_list_without_nodes(void **state) {
    struct cluster *c = five(21);
    char key[16];
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(key, sizeof key, "k%02u", i);
        (void)put(c, 1, key, "v");
    }
    run(c, 200);
    crash(c, 1, BND_SIM_KILL);
    crash(c, 2, BND_SIM_KILL);
    static struct listing listing;
    list_all(c, 5, 1000, &listing); /* not noticed yet */
    assert_int_equal(listing.count, 20);
    crash(c, 3, BND_SIM_KILL);
    run(c, 5000);
    listing = (struct listing){.list = {.namespace_id = NS, .limit = 10}};
    assert_int_equal(list_page(c, 5, &listing), BND_UNAVAILABLE);
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_own_writes),
        cmocka_unit_test(test_own_writes_of_one_behind),
        cmocka_unit_test(test_cache_ttl),
        cmocka_unit_test(test_newest),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_lost_state),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_large_cut),
        cmocka_unit_test(test_large_superseded),
        cmocka_unit_test(test_large_crash),
        cmocka_unit_test(test_large_not_taken),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_after_put),
        cmocka_unit_test(test_list_of_a_stalled_state),
        cmocka_unit_test(test_list_over_the_dead),
        cmocka_unit_test(test_list_without_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
