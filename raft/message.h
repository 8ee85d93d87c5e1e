/* The messages between the cores of one group, free of any library's types, and their bytes
 * (SPEC.md, "Raft messages").
 *
 * gid, type and term are in every message; sender and receiver are not in the bytes: the mesh
 * authenticates the one and knows the other. */
#ifndef BND_RAFT_MESSAGE_H
#define BND_RAFT_MESSAGE_H

#include "engine/journal/journal.h"

enum bnd_message_type {
    BND_MESSAGE_APPEND = 1,    /* AppendEntries; without entries: heartbeat */
    BND_MESSAGE_APPEND_RESULT, /* also answers INSTALL */
    BND_MESSAGE_VOTE,
    BND_MESSAGE_VOTE_RESULT,
    BND_MESSAGE_INSTALL, /* InstallSnapshot: the start tuple only, data comes out of band */
    BND_MESSAGE_TIMEOUT_NOW,
};

struct bnd_message_append {
    uint64_t prev_index;
    uint64_t prev_term;
    uint64_t commit;   /* never above prev_index + entries_count */
    uint64_t stamp_ms; /* the sender's wall clock; the core leaves 0, the host stamps and checks */
    const struct bnd_journal_entry *entries; /* consecutive from prev_index + 1 */
    size_t entries_count;
};

struct bnd_message_append_result {
    uint64_t rejected;   /* 0: accepted; else the prev_index (or install index) that was refused */
    uint64_t last_index; /* accepted: everything up to here is stored and equal to the leader's;
                            else a hint */
    uint8_t
        space; /* enum bnd_raft_space of the sender's disk; the core leaves 0, the host sets it */
};

struct bnd_message_vote {
    uint64_t candidate;
    uint64_t last_index;
    uint64_t last_term;
    bool disrupt; /* sent after TIMEOUT_NOW: valid although a leader is known */
    bool pre_vote;
};

struct bnd_message_vote_result {
    bool granted;
    bool pre_vote;
};

struct bnd_message_install {
    struct bnd_journal_start start; /* slot is not in the bytes: it is local to a node */
    uint64_t export_id;             /* the sending host's; the core leaves 0 */
};

struct bnd_message_timeout_now {
    uint64_t last_index;
    uint64_t last_term;
};

struct bnd_message {
    uint64_t gid;
    uint64_t from, to; /* node ids; not encoded */
    uint64_t term;
    enum bnd_message_type type;
    union {
        struct bnd_message_append append;
        struct bnd_message_append_result append_result;
        struct bnd_message_vote vote;
        struct bnd_message_vote_result vote_result;
        struct bnd_message_install install;
        struct bnd_message_timeout_now timeout_now;
    };
    struct bnd_journal_entry *owned; /* entries allocated by decode; NULL otherwise */
};

/* Appends the bytes to *out (the caller checks out->failed). */
void bnd_message_encode(const struct bnd_message *message, struct bnd_buf *out);

/* Bytes of the encoded message. */
size_t bnd_message_bytes(const struct bnd_message *message);

/* Reads exactly one message. Slices in *out borrow from `bytes`; release with bnd_message_release.
 * from and to are left 0. BND_CORRUPT: cut, too long, unknown type or kind, or terms and indexes
 * that no core sends (term 0, an entry's term above the message's, falling terms, commit above the
 * entries, overflow). BND_NOMEM. */
int bnd_message_decode(struct bnd_slice bytes, struct bnd_message *out, struct bnd_error *err);

/* Cuts an APPEND into consecutive ones of at most bytes_max bytes of entries (a larger entry goes
 * alone; without entries: one message), each with its own prev_index and prev_term and with commit
 * clamped to its last entry: a follower would commit up to min(commit, what it has stored),
 * verified or not. Calls each(data, part) in order; part is borrowed. Returns the first code other
 * than 0 that `each` returned, after all were called. */
int bnd_message_split(const struct bnd_message *append, size_t bytes_max,
                      int (*each)(void *data, const struct bnd_message *part), void *data);

/* Frees what decode allocated; idempotent. */
void bnd_message_release(struct bnd_message *message);

#endif
