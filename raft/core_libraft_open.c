/* The core on Debian's libraft 0.15.0: the library as a whole, open, start, close. */
#include "raft/core_libraft_private.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "raft/core_private.h"

#include <limits.h>

/* ---- the library as a whole ---------------------------------------------------------------------
 */

static void *heap_malloc(void *data, size_t bytes) {
    (void)data;
    return bnd_alloc(bytes);
}
static void heap_free(void *data, void *memory) {
    (void)data;
    bnd_free(memory);
}
static void *heap_calloc(void *data, size_t count, size_t bytes) {
    (void)data;
    return bnd_calloc(count, bytes);
}
static void *heap_realloc(void *data, void *memory, size_t bytes) {
    (void)data;
    return bnd_realloc(memory, bytes);
}
static void *heap_aligned_alloc(void *data, size_t alignment, size_t bytes) {
    (void)data;
    return bnd_alloc_aligned(alignment, bytes);
}
static void heap_aligned_free(void *data, size_t alignment, void *memory) {
    (void)data, (void)alignment;
    bnd_free(memory);
}

static int probe_init(struct raft_io *io, raft_id id, const char *address) {
    (void)io, (void)id, (void)address;
    return 0;
}
static void probe_close(struct raft_io *io, raft_io_close_cb cb) {
    cb(io);
}
static int probe_snapshot_async(struct raft_fsm *fsm, struct raft_buffer *bufs[],
                                unsigned *n_bufs) {
    (void)fsm, (void)bufs, (void)n_bufs;
    return RAFT_BUSY;
}

/* Came with a later version. */
extern int raft_version_number(void) __attribute__((weak));

int bnd_core_library_init(struct bnd_error *err) {
    /* Static because the library keeps the pointer for ever; it holds no state. */
    static struct raft_heap heap = {NULL,         heap_malloc,        heap_free,        heap_calloc,
                                    heap_realloc, heap_aligned_alloc, heap_aligned_free};
    raft_heap_set(&heap);
    if (raft_version_number != NULL) {
        return BND_FAIL(err, VERSION, "libraft is newer than 0.15.0");
    }
    struct {
        struct raft raft;
        uint8_t after[64];
    } probe;
    memset(&probe, 0xa5, sizeof probe);
    struct raft_io io = {.version = 1, .init = probe_init, .close = probe_close};
    struct raft_fsm fsm = {.version = 3, .snapshot_async = probe_snapshot_async};
    /* 0.15.0 is the first to know, and so to refuse, this combination. */
    if (raft_init(&probe.raft, &io, &fsm, 1, "1") == 0) {
        raft_close(&probe.raft, NULL);
        return BND_FAIL(err, VERSION, "libraft is older than 0.15.0");
    }
    fsm.version = 1;
    if (raft_init(&probe.raft, &io, &fsm, 1, "1") != 0) {
        return BND_FAIL(err, NOMEM, "libraft cannot be initialised");
    }
    /* The layout that raft.h describes, by the values of 0.15.0 in fields near its end. */
    bool same = probe.raft.snapshot.threshold == 1024 && probe.raft.snapshot.trailing == 2048 &&
                !probe.raft.pre_vote && probe.raft.max_catch_up_rounds == 10 &&
                probe.raft.max_catch_up_round_duration == 5000 && probe.after[0] == 0xa5;
    raft_close(&probe.raft, NULL);
    return same ? 0 : BND_FAIL(err, VERSION, "libraft does not have the layout of 0.15.0");
}

/* ---- open ---------------------------------------------------------------------------------------
 */

static int load_entry(const struct bnd_journal_entry *entry, struct raft_entry *out) {
    out->term = entry->term;
    /* No batch: the library would look through its whole log for each entry that leaves it. */
    if (entry->kind == BND_CORE_BARRIER) {
        out->type = RAFT_BARRIER;
        return 0;
    }
    struct bnd_buf data = {0};
    if (entry->kind == BND_CORE_CONFIGURATION) {
        out->type = RAFT_CHANGE;
        if (!core_append_library_configuration(entry->data, &data)) {
            return BND_NOMEM;
        }
    } else {
        out->type = RAFT_COMMAND;
        bnd_buf_append_slice(&data, entry->data);
    }
    if (data.failed) {
        bnd_buf_free(&data);
        return BND_NOMEM;
    }
    out->buf = (struct raft_buffer){.base = data.data, .len = data.len}; /* taken by the library */
    return 0;
}

static void free_load(struct bnd_core *core) {
    for (size_t i = 0; i < core->load_count; i++) {
        raft_free(core->load_entries[i].buf.base);
    }
    raft_free(core->load_entries);
    core->load_entries = NULL;
    core->load_count = 0;
}

static int load(struct bnd_core *core, const struct bnd_core_config *config, size_t skip) {
    size_t count = config->entries_count - skip;
    struct bnd_slice configuration = config->start.config;
    core->load_first = count > 0 ? config->entries[skip].index : config->start.index + 1;
    core->last_change = config->start.config_index;
    if (count == 0) {
        goto decode;
    }
    core->load_entries = raft_calloc(count, sizeof *core->load_entries);
    if (core->load_entries == NULL) {
        return BND_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const struct bnd_journal_entry *entry = &config->entries[skip + i];
        if (load_entry(entry, &core->load_entries[i]) != 0) {
            return BND_NOMEM;
        }
        core->load_count++;
        if (entry->kind == BND_CORE_CONFIGURATION) {
            core->last_change = entry->index;
            configuration = entry->data;
        }
    }
decode:
    /* Checked before; an empty one is a joiner's. */
    (void)bnd_raft_configuration_decode(configuration, &core->load_configuration, NULL);
    if (config->start.index > 0) {
        core->base.index = config->start.index;
        core->base.term = config->start.term;
        core->base.configuration_index = config->start.config_index;
        (void)bnd_raft_configuration_decode(config->start.config, &core->base.configuration, NULL);
    }
    return 0;
}

static void copy_config(struct bnd_core *core, const struct bnd_core_config *config) {
    core->env = config->env;
    core->ops = config->ops;
    core->owner = config->owner;
    core->gid = config->gid;
    core->self = config->self;
    core->guards = config->guards;
    core->floor = config->floor;
    core->message_bytes_max =
        config->message_bytes_max == 0 ? 256 << 10 : config->message_bytes_max;
    core->log_bytes_max = config->log_bytes_max == 0 ? 1 << 20 : config->log_bytes_max;
    core->term = config->term;
    core->vote = config->vote;
    core->applied_out = config->start.index;
    core->keep_above = UINT64_MAX;
    bnd_list_init(&core->pending);
    bnd_parked_init(&core->held, HELD_MAX, PARKED_BYTES_MAX);
    bnd_parked_init(&core->delayed, DELAYED_MAX, PARKED_BYTES_MAX);
}

/* Frees all that is not the library's. */
static void free_core(struct bnd_core *core) {
    free_load(core);
    bnd_parked_close(&core->held);
    bnd_parked_close(&core->delayed);
    bnd_buf_free(&core->scratch);
    bnd_free(core->entries);
    bnd_free(core->later);
    bnd_free(core);
}

int bnd_core_open(const struct bnd_core_config *config, struct bnd_core **out,
                  struct bnd_error *err) {
    uint32_t election_ms = config->election_ms == 0 ? 1000 : config->election_ms;
    uint32_t heartbeat_ms = config->heartbeat_ms == 0 ? 100 : config->heartbeat_ms;
    if (config->self == 0 || heartbeat_ms >= election_ms || election_ms > INT_MAX / 2) {
        return BND_FAIL(err, INVALID, "node %llu, election %u ms, heartbeat %u ms",
                        (unsigned long long)config->self, election_ms, heartbeat_ms);
    }
    size_t skip = 0;
    int rv = core_check_recovered(config, &skip, err);
    if (rv != 0) {
        return rv;
    }
    struct bnd_core *core = bnd_zalloc(sizeof *core);
    if (core == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for a core");
    }
    copy_config(core, config);
    core_wire_library(core);
    char address[ADDRESS_BYTES];
    core_address_of(core->self, address);
    if (load(core, config, skip) != 0 ||
        raft_init(&core->raft, &core->io, &core->fsm, core->self, address) != 0) {
        free_core(core);
        return BND_FAIL(err, NOMEM, "no memory for a core's log");
    }
    raft_set_election_timeout(&core->raft, election_ms);
    raft_set_heartbeat_timeout(&core->raft, heartbeat_ms);
    raft_set_install_snapshot_timeout(
        &core->raft, config->install_timeout_ms == 0 ? 600000 : config->install_timeout_ms);
    raft_set_snapshot_threshold(&core->raft, UINT_MAX); /* bytes decide: core_settle() */
    raft_set_pre_vote(&core->raft, true);
    *out = core;
    return 0;
}

void bnd_core_start(struct bnd_core *core) {
    BND_ASSERT(!core->started);
    core->started = true;
    core->inside = true;
    const struct bnd_raft_configuration *c = &core->load_configuration;
    size_t self = bnd_raft_configuration_find(c, core->self);
    bool sole = self < c->count && c->members[self].role == BND_RAFT_VOTER &&
                bnd_raft_configuration_voters(c) == 1;
    if (sole && core_guarded(core, BND_GUARD_SOLE_VOTER)) {
        core_raise_term(core); /* before the library loads it */
        core_flush_meta(core);
    }
    if (!core->failed && raft_start(&core->raft) != 0) {
        CORE_FAIL(core, NOMEM, "group %llu: cannot start: %s", (unsigned long long)core->gid,
                  raft_errmsg(&core->raft));
    }
    core->log_bytes = core_log_cost_from(core, 0);
    core_settle(core);
}

void bnd_core_close(struct bnd_core *core) {
    if (core == NULL) {
        return;
    }
    BND_ASSERT(!core->inside);
    core->failed = true; /* no output from here on */
    raft_close(&core->raft, NULL);
    (void)core_run_later(core);
    core_run_pending(core, UINT64_MAX, 0);
    (void)core_run_later(core);
    core->io_closed(&core->io);
    free_core(core);
}
