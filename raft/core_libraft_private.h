/* What the two files of the libraft core share: the only place that includes <raft.h>. */
#ifndef BND_RAFT_CORE_LIBRAFT_PRIVATE_H
#define BND_RAFT_CORE_LIBRAFT_PRIVATE_H

#include "raft/core.h"
#include "raft/parked_private.h"

#include <raft.h>

/* Debian's header and object: see bnd_core_library_init for the check at run time. */
_Static_assert(sizeof(struct raft) == 656, "raft.h is not libraft 0.15.0's");

enum {
    ADDRESS_BYTES = 24,        /* a node id in decimal: the library wants an address */
    ENTRY_OVERHEAD_BYTES = 96, /* the library's entry, its reference count, and malloc */
    CONFIGURATION_BYTES_MAX = 256,
    HELD_MAX = 256,
    DELAYED_MAX = 256,
    PARKED_BYTES_MAX = 4 << 20,
    PROGRESS_PROBE = 0, /* the library's private states of a peer */
    PROGRESS_SNAPSHOT = 2,
};

enum pending_kind { PENDING_MARK, PENDING_APPEND, PENDING_INSTALL };

/* A log operation handed out and not yet durable. */
struct pending {
    struct bnd_link link;
    uint64_t op;
    enum pending_kind kind;
    void *request; /* struct raft_io_append or raft_io_snapshot_put; NULL for a mark */
};

enum later_kind { LATER_SEND, LATER_SNAPSHOT_GET, LATER_SNAPSHOT_PUT };

struct later {
    enum later_kind kind;
    void *request;
};

/* Where the library's log begins: what an INSTALL tells. */
struct base {
    uint64_t index, term, configuration_index;
    struct bnd_raft_configuration configuration;
};

/* What `changed` reports. */
struct notice {
    enum bnd_core_role role;
    uint64_t term, leader, change;
    bool ready, committed;
};

struct bnd_core {
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct raft_change change;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb io_closed;

    struct bnd_env *env;
    const struct bnd_core_ops *ops;
    void *owner;
    uint64_t gid, self;
    struct bnd_journal_floor floor;
    uint32_t guards;
    size_t message_bytes_max, log_bytes_max;

    bool started, inside;
    bool failed; /* nothing goes out any more; failure says why */
    bool dead;   /* and fatal was called */
    struct bnd_error failure;

    uint64_t term, vote; /* as last told by the library */
    bool meta_dirty;
    uint64_t op_last, op_durable;
    uint64_t op_hold; /* messages wait for this one */
    struct bnd_link pending;
    size_t pending_count;

    struct later *later;
    size_t later_count, later_cap;

    struct bnd_parked held;    /* G1 */
    struct bnd_parked delayed; /* B9 */
    uint64_t dropped;

    bool was_leader;
    uint64_t barrier_index;
    uint64_t verified_term, verified_index; /* G2 */
    uint64_t appending_end;                 /* of the AppendEntries being delivered */
    bool appending_rejected;
    const struct bnd_message *voting;        /* B18, B19: the VOTE being delivered; NULL: none */
    const struct bnd_guard_state *voting_on; /* and the picture before it */

    uint64_t applied_out;
    uint64_t last_change;
    uint64_t installs;
    struct base base;
    struct raft_buffer *install_buffers; /* of an install not yet durable */
    size_t log_bytes;
    bool compact_wanted;
    size_t compact_bytes;
    uint64_t keep_above;
    struct notice notice;

    struct raft_entry *load_entries; /* until raft_start */
    size_t load_count;
    uint64_t load_first;
    struct bnd_raft_configuration load_configuration; /* the newest */

    struct bnd_journal_entry *entries; /* scratch of translate() */
    size_t entries_cap;
    struct bnd_buf scratch;
};

/* The first failure stays. Outputs stop at once; settle() tells the owner. */
#define CORE_FAIL(core, CODE, ...)                                                                 \
    do {                                                                                           \
        if (!(core)->failed) {                                                                     \
            (core)->failed = true;                                                                 \
            (void)BND_FAIL(&(core)->failure, CODE, __VA_ARGS__);                                   \
        }                                                                                          \
    } while (0)

/* ---- core_libraft_io.c ------------------------------------------------------------------------
 */

extern const int core_to_library_role[3]; /* by enum bnd_raft_role */

void core_address_of(uint64_t node, char out[ADDRESS_BYTES]);
/* 0 or the library's code; *out is to be closed only on success. */
int core_to_library_configuration(const struct bnd_raft_configuration *configuration,
                                  struct raft_configuration *out);
void core_from_library_configuration(const struct raft_configuration *configuration,
                                     struct bnd_raft_configuration *out);

/* Appends the library's bytes of an encoded configuration. False: no memory. */
bool core_append_library_configuration(struct bnd_slice encoded, struct bnd_buf *out);

uint64_t core_log_count(const struct raft_log *log);
/* The term of the entry, 0 if not known; log is a struct raft_log. */
uint64_t core_log_term_of(const void *log, uint64_t index);
/* The entry in the library's memory, or NULL. */
const struct raft_entry *core_log_entry(const struct raft_log *log, uint64_t index);
/* The bytes of all entries from index on. */
size_t core_log_cost_from(const struct bnd_core *core, uint64_t index);

enum bnd_core_role core_role(const struct bnd_core *core);
struct bnd_guard_state core_picture(struct bnd_core *core);
bool core_guarded(const struct bnd_core *core, enum bnd_guard guard);

/* The neutral form of n consecutive entries from `index`, in core's scratch until the next call.
 * NULL: failed. */
const struct bnd_journal_entry *
core_translate(struct bnd_core *core, const struct raft_entry *entries, size_t n, uint64_t index);
/* Term and vote change one after the other in the library; they go out as one record, before
 * whatever else goes out next. */
void core_flush_meta(struct bnd_core *core);
void core_put_truncate(struct bnd_core *core, uint64_t index);
/* Calls `apply` for what the library has applied since. */
void core_put_applied(struct bnd_core *core);
/* `send` with what it must wait for; data is the core. */
int core_put_message(void *data, const struct bnd_message *message);

/* Fills in io and fsm. */
void core_wire_library(struct bnd_core *core);
/* Answers what waits on `later`. False: there was nothing. */
bool core_run_later(struct bnd_core *core);
/* Answers the pending log operations up to op with this status of the library's. */
void core_run_pending(struct bnd_core *core, uint64_t op, int status);

/* ---- core_libraft.c ---------------------------------------------------------------------------
 */

/* Does everything that callbacks put off, until nothing is left; ends the input. */
void core_settle(struct bnd_core *core);
/* G8: the library makes a sole voter leader without a new term. */
void core_raise_term(struct bnd_core *core);

#endif
