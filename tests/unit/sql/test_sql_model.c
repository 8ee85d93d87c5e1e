/* Random databases against a model: pages written, cut off and written again, restores, forks of
 * forks, imports, deletions, cutoffs. Every version of every database that can be reached reads as
 * the model has it; what is below a cutoff is refused, and never read wrong while it goes; what
 * nobody can reach is gone; two replicas are equal all along. */
#include "tests/unit/sql/machine.h"

enum {
    PAGES_MAX = 20,
    DATABASES_MAX = 60,
    LIVE_MAX = 6,
    VERSIONS_MAX = 1200,
    STEPS = 400,
    AHEAD_MAX = 3,
};

typedef uint8_t page_bytes[SQL_PAGE_BYTES];

struct model_version {
    uint32_t number; /* that the database has there */
    uint32_t epoch;
    bool hidden; /* of an import on its way */
    uint32_t page_count;
    uint64_t stamp_ms;
    uint8_t hash[BND_SQL_HASH_BYTES];
    const page_bytes *pages[PAGES_MAX]; /* from 1 on: pages[page - 1] */
    size_t target; /* of the restore that made it, the first of its epoch: a version's index */
};

#define NO_TARGET SIZE_MAX /* it is a branch's first */

struct model_database {
    uint8_t uuid;
    bool live;
    uint32_t number;
    uint32_t parent; /* number it was forked from; 0: none */
    uint64_t parent_version;
    uint32_t parent_epoch;
    uint64_t first;  /* version */
    uint64_t begin;  /* the first that can be seen of those under its present number */
    uint64_t cutoff; /* version; 0: none */
    uint64_t floor;  /* what is below it was below a cutoff once */
    size_t count;    /* versions */
    struct model_version *versions;
};

struct model {
    struct machine *m;
    uint64_t random;
    struct model_database databases[DATABASES_MAX];
    size_t count;
    page_bytes **made; /* every page ever made: versions share them */
    size_t made_count, made_cap;
    struct sql_snapshot *snapshot; /* a reader that takes its time */
    size_t seen[DATABASES_MAX];    /* versions that there were when it was made */
};

static uint64_t draw(struct model *model, uint64_t below) {
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return (model->random >> 33) % below;
}

static page_bytes *make_page(struct model *model, const page_bytes *from) {
    assert_true(BND_ROOM(model->made, model->made_count, model->made_cap, 64));
    page_bytes *page = bnd_zalloc(sizeof *page);
    if (from != NULL) {
        memcpy(page, from, sizeof *page);
    }
    model->made[model->made_count++] = page;
    return page;
}

/* A few bytes, a stretch, or all of it. */
static const page_bytes *changed(struct model *model, const page_bytes *from) {
    page_bytes *page = make_page(model, from);
    uint64_t kind = draw(model, 10);
    size_t runs = kind == 0 ? 1 : 1 + draw(model, 6);
    for (size_t i = 0; i < runs; i++) {
        size_t len = kind == 0 ? SQL_PAGE_BYTES : 1 + draw(model, kind < 3 ? 900 : 12);
        size_t at = draw(model, SQL_PAGE_BYTES - len + 1);
        for (size_t b = 0; b < len; b++) {
            (*page)[at + b] = (uint8_t)draw(model, 256);
        }
    }
    return (const page_bytes *)page;
}

static struct model_version *newest(struct model_database *database) {
    return &database->versions[database->count - 1];
}

static uint64_t newest_number(const struct model_database *database) {
    return database->first + database->count - 1;
}

static struct model_version *add_version(struct model *model, struct model_database *database) {
    if (database->versions == NULL) {
        database->versions = bnd_calloc(VERSIONS_MAX, sizeof *database->versions);
    }
    assert_true(database->count < VERSIONS_MAX);
    struct model_version *version = &database->versions[database->count++];
    version->stamp_ms = model->m->stamp_ms;
    return version;
}

static struct model_version *add_copy(struct model *model, struct model_database *database,
                                      const struct model_version *of) {
    struct model_version *version = add_version(model, database);
    *version = *of;
    version->stamp_ms = model->m->stamp_ms;
    return version;
}

/* Takes hash and number out of the state, and compares the rest with the model's newest. */
static void settle(struct model *model, struct model_database *database) {
    struct sql_database_record record = machine_record(model->m, database->uuid);
    struct model_version *version = newest(database);
    database->number = version->number = record.number;
    assert_int_equal(record.state, SQL_DATABASE_LIVE);
    assert_int_equal(record.epoch, version->epoch);
    assert_int_equal(record.version, newest_number(database));
    assert_int_equal(record.page_count, version->page_count);
    assert_int_equal(record.stamp_ms, version->stamp_ms);
    memcpy(version->hash, record.hash, sizeof record.hash);
}

static bool is_kept(const struct model_database *database, size_t i) {
    return !database->versions[i].hidden && database->first + i >= database->floor;
}

static struct bnd_sql_bookmark bookmark_of(const struct model_database *database, size_t i) {
    struct bnd_sql_bookmark bookmark = {.epoch = database->versions[i].epoch,
                                        .version = database->first + i};
    memcpy(bookmark.hash, database->versions[i].hash, sizeof bookmark.hash);
    return bookmark;
}

static struct sql_at place_of(struct model *model, const struct model_database *database,
                              size_t i) {
    return (struct sql_at){.state = model->m->state,
                           .slot = SLOT,
                           .number = database->versions[i].number,
                           .epoch = database->versions[i].epoch,
                           .version = database->first + i};
}

/* ---- reading ----------------------------------------------------------------------------------*/

/* Below the cutoff: read as it was while it is still there, then not at all. Under a former number
 * it may be there for long. */
static void check_refused(struct model *model, const struct model_database *database, size_t i,
                          const struct sql_at *at) {
    const struct model_version *version = &database->versions[i];
    bool may_be = machine_count(model->m, SQL_TAG_PASS, 0) > 0 || version->hidden ||
                  version->number != database->number;
    for (uint32_t page = 1; page <= version->page_count; page++) {
        uint8_t bytes[SQL_PAGE_BYTES];
        int rv = sql_history_page(at, page, bytes, NULL);
        bool right = rv == 0 && memcmp(bytes, version->pages[page - 1], sizeof bytes) == 0;
        if (rv != BND_NOTFOUND && !(may_be && right)) {
            fail_msg("database %u, version %llu below its cutoff, page %u: %d", database->uuid,
                     (unsigned long long)at->version, page, rv);
        }
    }
}

static void check_version(struct model *model, const struct model_database *database, size_t i) {
    const struct model_version *version = &database->versions[i];
    const struct sql_at at = place_of(model, database, i);
    struct sql_commit_record commit;
    if (!is_kept(database, i)) {
        check_refused(model, database, i, &at);
        return;
    }
    assert_int_equal(sql_history_commit(&at, at.version, &commit), 0);
    assert_int_equal(commit.epoch, version->epoch);
    assert_int_equal(commit.page_count, version->page_count);
    assert_memory_equal(commit.hash, version->hash, sizeof commit.hash);
    for (uint32_t page = 1; page <= version->page_count; page++) {
        uint8_t bytes[SQL_PAGE_BYTES];
        int rv = sql_history_page(&at, page, bytes, NULL);
        if (rv != 0 || memcmp(bytes, version->pages[page - 1], sizeof bytes) != 0) {
            fail_msg("database %u, version %llu, page %u: %d", database->uuid,
                     (unsigned long long)at.version, page, rv);
        }
    }
}

/* What a reader finds in a moment that is over: what was there, or that it is not kept any more. */
static void check_snapshot(struct model *model) {
    size_t which = draw(model, DATABASES_MAX);
    if (draw(model, 10) == 0) {
        sql_snapshot_close(model->snapshot);
        model->snapshot = NULL;
        assert_int_equal(sql_snapshot_open(model->m->state, SLOT, &model->snapshot), 0);
        for (size_t i = 0; i < DATABASES_MAX; i++) {
            model->seen[i] = i < model->count ? model->databases[i].count : 0;
        }
    }
    if (model->seen[which] == 0) {
        return;
    }
    const struct model_database *database = &model->databases[which];
    size_t i = draw(model, model->seen[which]);
    const struct model_version *version = &database->versions[i];
    const struct sql_at at = place_of(model, database, i);
    bool kept = database->live && is_kept(database, i);
    for (uint32_t page = 1; page <= version->page_count; page++) {
        uint8_t bytes[SQL_PAGE_BYTES];
        int rv = sql_snapshot_page(model->snapshot, &at, page, bytes, NULL);
        bool right = rv == 0 && memcmp(bytes, version->pages[page - 1], sizeof bytes) == 0;
        if (!right && (kept || rv != BND_NOTFOUND)) {
            fail_msg("a snapshot of database %u, version %llu, page %u: %d", database->uuid,
                     (unsigned long long)at.version, page, rv);
        }
    }
}

static void check_all(struct model *model, const struct model_database *database) {
    for (size_t i = 0; i < database->count; i++) {
        check_version(model, database, i);
    }
}

static void check_time(struct model *model, struct model_database *database) {
    struct sql_commit_record found;
    struct sql_database_record record = machine_record(model->m, database->uuid);
    const struct sql_at at = machine_at(model->m, &record);
    uint64_t stamp_ms = database->versions[draw(model, database->count)].stamp_ms;
    stamp_ms += draw(model, 3) - 1;
    size_t want = database->count;
    while (want > 0 && (database->versions[want - 1].stamp_ms > stamp_ms ||
                        database->versions[want - 1].hidden)) {
        want--;
    }
    bool kept = want > 0 && is_kept(database, want - 1);
    int rv = sql_history_at_time(&at, database->cutoff, stamp_ms, &found);
    assert_int_equal(rv, kept ? 0 : BND_NOTFOUND);
    if (kept) {
        assert_int_equal(found.version, database->first + want - 1);
        assert_int_equal(found.epoch, database->versions[want - 1].epoch);
    }
}

/* ---- changing ---------------------------------------------------------------------------------*/

static struct model_database *draw_live(struct model *model) {
    size_t live = 0;
    for (size_t i = 0; i < model->count; i++) {
        live += model->databases[i].live;
    }
    size_t which = live == 0 ? 0 : draw(model, live);
    for (size_t i = 0; i < model->count && live > 0; i++) {
        if (model->databases[i].live && which-- == 0) {
            return &model->databases[i];
        }
    }
    return NULL;
}

static struct model_database *add_database(struct model *model) {
    struct model_database *database = &model->databases[model->count];
    *database = (struct model_database){.uuid = (uint8_t)(model->count + 1), .live = true};
    model->count++;
    return database;
}

static void create(struct model *model) {
    struct model_database *database = add_database(model);
    assert_int_equal(machine_simple(model->m, SQL_CREATE, database->uuid), 0);
    (void)add_version(model, database);
    settle(model, database);
    assert_int_equal(machine_simple(model->m, SQL_CREATE, database->uuid), BND_EXISTS);
}

/* Pages as a leader that runs ahead knows them: of the state, then of its own change sets. */
struct ahead {
    struct sql_page_found found[PAGES_MAX];
    bool known[PAGES_MAX];
};

static void old_page(struct ahead *ahead, const struct sql_at *at, uint32_t page) {
    uint8_t bytes[SQL_PAGE_BYTES];
    if (!ahead->known[page - 1]) {
        assert_int_equal(sql_history_page(at, page, bytes, &ahead->found[page - 1]), 0);
        ahead->known[page - 1] = true;
    }
}

static void fill_set(struct model *model, struct model_database *database, struct ahead *ahead,
                     const struct sql_at *at, struct sql_change_set *set) {
    struct model_version before = *newest(database);
    struct model_version *after = add_version(model, database);
    uint64_t number = newest_number(database);
    after->epoch = before.epoch;
    after->page_count = before.page_count;
    if (before.page_count == 0 || draw(model, 4) == 0) {
        after->page_count = (uint32_t)(1 + draw(model, PAGES_MAX));
    }
    for (uint32_t page = 1; page <= after->page_count; page++) {
        bool has = page <= before.page_count;
        const page_bytes *old = has ? before.pages[page - 1] : NULL;
        after->pages[page - 1] = old;
        if (has && draw(model, 4) != 0) {
            continue;
        }
        const page_bytes *new = draw(model, 12) == 0 && has ? old : changed(model, old);
        if (has) {
            old_page(ahead, at, page);
        }
        sql_change_set_page(set, page, has ? *old : NULL, &ahead->found[page - 1], *new, number,
                            &ahead->found[page - 1]);
        ahead->known[page - 1] = true;
        after->pages[page - 1] = new;
    }
    for (uint32_t page = after->page_count + 1; page <= PAGES_MAX; page++) {
        ahead->known[page - 1] = false;
    }
}

/* What a leader knows without reading is what the state then says. */
static void check_found(struct model *model, const struct model_database *database,
                        const struct ahead *ahead) {
    struct sql_database_record record = machine_record(model->m, database->uuid);
    const struct sql_at at = machine_at(model->m, &record);
    for (uint32_t page = 1; page <= record.page_count; page++) {
        uint8_t bytes[SQL_PAGE_BYTES];
        struct sql_page_found found;
        if (ahead->known[page - 1]) {
            assert_int_equal(sql_history_page(&at, page, bytes, &found), 0);
            assert_int_equal(found.version, ahead->found[page - 1].version);
            assert_int_equal(found.inherited, ahead->found[page - 1].inherited);
            assert_int_equal(found.spans, ahead->found[page - 1].spans);
            assert_int_equal(found.spans_bytes, ahead->found[page - 1].spans_bytes);
            assert_true(found.spans <= SQL_CHAIN_SPANS_MAX);
            assert_true(found.spans_bytes <= SQL_CHAIN_BYTES_MAX);
        }
    }
}

static void commit(struct model *model, struct model_database *database) {
    struct ahead ahead = {0};
    struct sql_database_record record = machine_record(model->m, database->uuid);
    const struct sql_at at = machine_at(model->m, &record);
    size_t count = 1 + draw(model, AHEAD_MAX);
    struct sql_change_set sets[AHEAD_MAX] = {0};
    struct machine_commit commits[AHEAD_MAX];
    size_t first = database->count;
    for (size_t i = 0; i < count; i++) {
        fill_set(model, database, &ahead, &at, &sets[i]);
        commits[i] = (struct machine_commit){
            .uuid = database->uuid,
            .header = machine_header(model->m, &record, newest(database)->page_count),
            .set = &sets[i],
            .answer = i % 2 == 0 ? "answer" : NULL};
        commits[i].header.base += i;
    }
    for (size_t i = 0; i < count; i++) {
        if (draw(model, 8) == 0) { /* one that was made on another version changes nothing */
            struct machine_commit wrong = commits[i];
            wrong.header.base += draw(model, 2) == 0 ? 1 : UINT64_MAX;
            assert_int_not_equal(machine_commit(model->m, &wrong), 0);
        }
        assert_int_equal(machine_commit(model->m, &commits[i]), 0);
        size_t kept = database->count;
        database->count = first + i + 1;
        settle(model, database);
        database->count = kept;
        sql_change_set_free(&sets[i]);
    }
    check_found(model, database, &ahead);
}

static void restore(struct model *model, struct model_database *database) {
    size_t target = draw(model, database->count);
    uint64_t base = newest_number(database);
    uint32_t epoch = newest(database)->epoch;
    const struct bnd_sql_bookmark bookmark = bookmark_of(database, target);
    struct bnd_sql_bookmark forged = bookmark;
    forged.epoch += 1 + epoch;
    assert_int_equal(machine_restore_to(model->m, database->uuid, base, forged), BND_NOTFOUND);
    forged = (struct bnd_sql_bookmark){.epoch = (uint32_t)draw(model, epoch + 1),
                                       .version = draw(model, base + 2)};
    assert_int_equal(machine_restore_to(model->m, database->uuid, base, forged), BND_NOTFOUND);
    assert_int_equal(machine_restore_to(model->m, database->uuid, base + 1, bookmark),
                     BND_CONFLICT);
    bool kept = is_kept(database, target);
    assert_int_equal(machine_restore_to(model->m, database->uuid, base, bookmark),
                     kept ? 0 : BND_NOTFOUND);
    if (!kept) {
        return;
    }
    struct model_version *made = add_copy(model, database, &database->versions[target]);
    made->epoch = epoch + 1;
    made->target = target;
    settle(model, database);
}

/* A database that begins as another was. */
static struct model_database *descend(struct model *model, const struct model_database *source,
                                      size_t at, uint32_t epoch) {
    struct model_version version = source->versions[at];
    struct model_database *database = add_database(model);
    database->first = database->begin = source->first + at + 1;
    database->parent = version.number;
    database->parent_epoch = version.epoch;
    database->parent_version = source->first + at;
    struct model_version *made = add_copy(model, database, &version);
    made->epoch = epoch;
    made->target = NO_TARGET;
    settle(model, database);
    return database;
}

static void fork_one(struct model *model, struct model_database *source) {
    size_t at = draw(model, source->count);
    bool kept = is_kept(source, at);
    assert_int_equal(machine_fork_at(model->m, (uint8_t)(model->count + 1), source->uuid,
                                     bookmark_of(source, at)),
                     kept ? 0 : BND_NOTFOUND);
    if (kept) {
        (void)descend(model, source, at, 0);
    }
}

static void delete_one(struct model *model, struct model_database *database) {
    assert_int_equal(machine_simple(model->m, SQL_DELETE, database->uuid), 0);
    assert_int_equal(machine_simple(model->m, SQL_DELETE, database->uuid), 0);
    assert_int_equal(machine_simple(model->m, SQL_CREATE, database->uuid), BND_NOTFOUND);
    database->live = false;
}

/* The branch's versions are the database's from now on, and nobody sees them but for a last one. */
static void take_over(struct model *model, struct model_database *database,
                      struct model_database *branch) {
    for (size_t i = 0; i < branch->count; i++) {
        struct model_version *version = add_version(model, database);
        *version = branch->versions[i];
        version->hidden = true;
    }
    (void)add_copy(model, database, newest(branch));
    database->begin = newest_number(database);
    database->cutoff = 0;
    settle(model, database);
    bnd_free(branch->versions);
    *branch = (struct model_database){.uuid = branch->uuid, .number = SQL_NUMBER_NONE};
}

static void import(struct model *model, struct model_database *database) {
    assert_int_equal(machine_branch(model->m, (uint8_t)(model->count + 1), database->uuid, true),
                     0);
    struct model_database *branch =
        descend(model, database, database->count - 1, newest(database)->epoch + 1);
    for (uint64_t left = draw(model, 3); left > 0; left--) {
        model->m->stamp_ms += draw(model, 20);
        commit(model, branch);
    }
    uint64_t version = newest_number(branch);
    if (draw(model, 4) == 0) {
        delete_one(model, branch);
        assert_int_equal(machine_swap(model->m, database->uuid, branch->uuid, version),
                         BND_PRECONDITION);
        return;
    }
    model->m->stamp_ms += draw(model, 20);
    assert_int_equal(machine_swap(model->m, database->uuid, branch->uuid, version), 0);
    take_over(model, database, branch);
}

/* ---- retention --------------------------------------------------------------------------------*/

/* A version of a page that the state has. */
struct held {
    uint32_t page, epoch;
    uint64_t version;
    bool image;
    bool needed;
};

struct holding {
    struct held *held; /* as the keys stand */
    size_t count, cap;
    bool epochs[VERSIONS_MAX]; /* needed */
};

static void hold(struct model *model, uint32_t number, struct holding *out) {
    struct bnd_state *state = model->m->state;
    struct sql_key from;
    sql_key_number(&from, SLOT, SQL_TAG_PAGE, number);
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter =
        state->ops->iter(state, BND_CF_SQL, sql_key_slice(&from), sql_key_slice(&to));
    for (; state->ops->iter_valid(iter); state->ops->iter_next(iter)) {
        const uint8_t *key = state->ops->iter_key(iter).data + SQL_KEY_SLOT_BYTES;
        assert_true(BND_ROOM(out->held, out->count, out->cap, 64));
        out->held[out->count++] =
            (struct held){.page = bnd_get_be32(key + 5),
                          .epoch = bnd_get_be32(key + 9),
                          .version = ~bnd_get_be64(key + 13),
                          .image = state->ops->iter_value(iter).data[1] == SQL_PAGE_IMAGE};
    }
    state->ops->iter_destroy(iter);
}

/* Whoever reads at this place sees of each page the newest version that is not above it, and needs
 * what that stands upon. */
static void need_pages(struct holding *holding, uint32_t epoch, uint64_t version) {
    uint32_t found = 0; /* page of which the reader has what it needs */
    uint32_t within = 0;
    for (size_t i = 0; i < holding->count; i++) {
        struct held *held = &holding->held[i];
        if (held->epoch != epoch || held->version > version || held->page == found) {
            continue;
        }
        assert_true(within == 0 || within == held->page);
        held->needed = true;
        within = held->image ? 0 : held->page;
        found = held->image ? held->page : found;
    }
}

static void need(const struct model_database *database, struct holding *holding, uint32_t epoch,
                 uint64_t version) {
    need_pages(holding, epoch, version);
    holding->epochs[epoch] = true;
    for (size_t i = 0; i < database->count && epoch > 0; i++) {
        if (database->versions[i].epoch == epoch) {
            size_t target = database->versions[i].target;
            if (target != NO_TARGET && database->versions[target].number == database->number) {
                need(database, holding, database->versions[target].epoch, database->first + target);
            }
            return;
        }
    }
}

static bool is_pinned(struct model *model, uint32_t number, uint32_t fork) {
    struct bnd_buf value = {0};
    struct sql_key key;
    sql_key_pair(&key, SLOT, SQL_TAG_FORK, number, fork);
    int rv = model->m->state->ops->get(model->m->state, BND_CF_SQL, sql_key_slice(&key), &value);
    bnd_buf_free(&value);
    return rv == 0;
}

/* What of the keys is needed, from the definition: read at every version that stays. */
static void need_all(struct model *model, const struct model_database *database,
                     struct holding *holding) {
    for (size_t i = 0; i < holding->count; i++) {
        holding->held[i].needed = false;
    }
    memset(holding->epochs, 0, sizeof holding->epochs);
    size_t begin = database->begin - database->first; /* its epoch says whose fork it is */
    holding->epochs[database->versions[begin].epoch] = true;
    for (size_t i = begin; i < database->count; i++) {
        if (database->first + i >= database->cutoff) {
            need(database, holding, database->versions[i].epoch, database->first + i);
        }
    }
    for (size_t i = 0; i < model->count; i++) {
        const struct model_database *fork = &model->databases[i];
        if (fork->count > 0 && fork->parent == database->number &&
            is_pinned(model, database->number, fork->versions[0].number)) {
            need(database, holding, fork->parent_epoch, fork->parent_version);
        }
    }
}

static void check_kept(struct model *model, const struct model_database *database,
                       const struct holding *before) {
    struct holding after = {0};
    size_t at = 0;
    size_t epochs = 0;
    hold(model, database->number, &after);
    for (size_t i = 0; i < before->count; i++) {
        if (before->held[i].needed) {
            assert_true(at < after.count);
            assert_int_equal(after.held[at].page, before->held[i].page);
            assert_int_equal(after.held[at].epoch, before->held[i].epoch);
            assert_int_equal(after.held[at].version, before->held[i].version);
            at++;
        }
    }
    assert_int_equal(at, after.count);
    for (size_t i = 0; i < VERSIONS_MAX; i++) {
        epochs += before->epochs[i];
    }
    assert_int_equal(machine_count(model->m, SQL_TAG_EPOCH, database->number), epochs);
    uint64_t commits = database->live ? newest_number(database) - database->cutoff + 1 : 0;
    assert_int_equal(machine_count(model->m, SQL_TAG_COMMIT, database->number), commits);
    bnd_free(after.held);
}

/* Exactly what is needed is left. Time stands still: no fork is swept meanwhile. */
static void pass_whole(struct model *model, struct model_database *database) {
    struct holding before = {0};
    hold(model, database->number, &before);
    need_all(model, database, &before);
    model->m->time_suspended = true;
    machine_end_pass(model->m);
    model->m->time_suspended = false;
    check_kept(model, database, &before);
    for (size_t i = 0; i < model->count; i++) {
        if (model->databases[i].live) {
            check_all(model, &model->databases[i]);
        }
    }
    bnd_free(before.held);
}

static void retain(struct model *model, struct model_database *database) {
    struct machine *m = model->m;
    bool passing = machine_count(m, SQL_TAG_PASS, 0) > 0;
    uint64_t least = database->cutoff > database->begin ? database->cutoff : database->begin;
    uint64_t cutoff = least + draw(model, newest_number(database) - least + 1);
    uint64_t age_ms = m->stamp_ms - database->versions[cutoff - database->first].stamp_ms;
    if (cutoff != database->cutoff) {
        assert_int_equal(machine_retain(m, database->uuid, cutoff, age_ms + 1), BND_PRECONDITION);
    }
    if (database->cutoff > database->begin) {
        assert_int_equal(machine_retain(m, database->uuid, least - 1, 0), BND_PRECONDITION);
    }
    assert_int_equal(machine_retain(m, database->uuid, newest_number(database) + 1, 0),
                     BND_PRECONDITION);
    m->time_suspended = true;
    assert_int_equal(machine_retain(m, database->uuid, cutoff, age_ms), BND_PRECONDITION);
    m->time_suspended = false;
    assert_int_equal(machine_retain(m, database->uuid, cutoff, age_ms),
                     passing ? BND_PRECONDITION : 0);
    if (!passing) {
        database->cutoff = database->floor = cutoff;
        if (draw(model, 2) == 0) {
            pass_whole(model, database);
        }
    }
}

/* One that was deleted keeps what its forks begin with. */
static void retain_deleted(struct model *model) {
    struct model_database *database = &model->databases[draw(model, model->count)];
    bool waits = !database->live && machine_count(model->m, SQL_TAG_PINNED, database->number) > 0;
    bool passing = machine_count(model->m, SQL_TAG_PASS, 0) > 0;
    if (database->live) {
        return;
    }
    assert_int_equal(machine_retain(model->m, database->uuid, 0, 0), BND_PRECONDITION);
    assert_int_equal(machine_retain(model->m, database->uuid, SQL_CUTOFF_ALL, 0),
                     waits && !passing ? 0 : BND_PRECONDITION);
    if (waits && !passing) {
        database->cutoff = database->floor = SQL_CUTOFF_ALL;
        pass_whole(model, database);
    }
}

static void step(struct model *model) {
    struct model_database *database = draw_live(model);
    uint64_t what = draw(model, 100);
    size_t live = 0;
    for (size_t i = 0; i < model->count; i++) {
        live += model->databases[i].live;
    }
    bool room = live < LIVE_MAX && model->count < DATABASES_MAX;
    model->m->stamp_ms += draw(model, 50);
    if (database == NULL || (what < 4 && room)) {
        create(model);
    } else if (what < 12 && room) {
        fork_one(model, database);
    } else if (what < 20) {
        restore(model, database);
    } else if (what < 24 && model->count < DATABASES_MAX) {
        delete_one(model, database);
    } else if (what < 28) {
        model->m->stamp_ms += draw(model, SQL_DEAD_KEEP_MS);
        machine_ticks(model->m, 1);
    } else if (what < 33) {
        retain(model, database);
    } else if (what < 35) {
        retain_deleted(model);
    } else if (what < 38 && model->count < DATABASES_MAX) {
        import(model, database);
    } else if (what < 43) {
        check_version(model, database, draw(model, database->count));
        check_time(model, database);
    } else {
        commit(model, database);
    }
}

/* ---- the end ----------------------------------------------------------------------------------*/

/* Does what has the number live, or something that descends from it? */
static bool is_reachable(const struct model *model, uint32_t number) {
    bool reachable = false;
    for (size_t d = 0; d < model->count && !reachable; d++) {
        const struct model_database *database = &model->databases[d];
        const struct model_version *versions = database->versions;
        reachable = database->live && database->number == number;
        if (!reachable && database->count > 0 && database->parent == number) {
            reachable = is_reachable(model, versions[0].number);
        }
        for (size_t i = 1; i < database->count && !reachable; i++) {
            reachable = versions[i - 1].number == number && versions[i].number != number &&
                        is_reachable(model, versions[i].number);
        }
    }
    return reachable;
}

static void check_end(struct model *model, const struct model_database *database, size_t i) {
    static const enum sql_tag tags[] = {SQL_TAG_EPOCH, SQL_TAG_COMMIT, SQL_TAG_PAGE,
                                        SQL_TAG_FORK,  SQL_TAG_PINNED, SQL_TAG_UNPINNED};
    uint32_t number = database->versions[i].number;
    if (is_reachable(model, number)) {
        check_version(model, database, i);
        return;
    }
    for (size_t t = 0; t < sizeof tags / sizeof *tags; t++) {
        assert_int_equal(machine_count(model->m, tags[t], number), 0);
    }
}

static void check_swept(struct model *model) {
    model->m->stamp_ms += SQL_DEAD_KEEP_MS + 1;
    machine_ticks(model->m, 60);
    machine_end_pass(model->m);
    assert_int_equal(machine_count(model->m, SQL_TAG_DEAD, 0), 0);
    assert_int_equal(machine_count(model->m, SQL_TAG_STAGED, 0), 0);
    for (size_t i = 0; i < model->count; i++) {
        const struct model_database *database = &model->databases[i];
        for (size_t v = 0; v < database->count; v++) {
            check_end(model, database, v);
        }
    }
}

static void run_seed(struct machine *m, uint64_t seed) {
    struct model model = {.m = m, .random = seed};
    for (int i = 0; i < STEPS; i++) {
        step(&model);
        check_snapshot(&model);
        if (i % 50 == 0) {
            machine_equal(m);
        }
    }
    for (size_t i = 0; i < model.count; i++) {
        if (model.databases[i].live) {
            check_all(&model, &model.databases[i]);
        }
    }
    check_swept(&model);
    for (size_t i = 0; i < model.count; i++) { /* in the end nothing is left of any of them */
        if (model.databases[i].live) {
            delete_one(&model, &model.databases[i]);
        }
    }
    check_swept(&model);
    machine_nothing_is_left(m);
    sql_snapshot_close(model.snapshot);
    for (size_t i = 0; i < model.count; i++) {
        bnd_free(model.databases[i].versions);
    }
    for (size_t i = 0; i < model.made_count; i++) {
        bnd_free(model.made[i]);
    }
    bnd_free(model.made);
}

/* SQL_MODEL_SEED=S and SQL_MODEL_COUNT=N: seeds S to S + N - 1 instead. */
static void run_seeds(int (*setup)(void **state), uint64_t count) {
    const char *wanted = getenv("SQL_MODEL_SEED");
    const char *counted = getenv("SQL_MODEL_COUNT");
    uint64_t first = wanted == NULL ? 1 : strtoull(wanted, NULL, 10);
    uint64_t seeds = counted == NULL ? count : strtoull(counted, NULL, 10);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        void *machine = NULL;
        (void)setup(&machine);
        (void)printf("seed %llu\n", (unsigned long long)seed);
        run_seed(machine, seed);
        (void)machine_teardown(&machine);
    }
}

static void test_model(void **state) {
    (void)state;
    run_seeds(machine_setup, 25);
}

static void test_model_over_rocksdb(void **state) {
    (void)state;
    run_seeds(machine_setup_rocks, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model),
                                       cmocka_unit_test(test_model_over_rocksdb)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
