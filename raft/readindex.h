/* Linearizable reads without a log write (internal; reference: raft/README.md, "Reads").
 *
 * A leader whose barrier of this term is committed notes R = commit index, then asks the voters
 * "is my term still yours?". A majority (itself included) that says so after the read arrived means
 * that no newer leader had committed anything by then; the read runs once R is written here.
 *
 * One round per group at a time; a read that arrives during a round waits for the next one. One
 * frame per peer in flight, with all groups that wait for that peer: no disk, one round trip,
 * shared by all groups. A lost frame is asked again after a while. */
#ifndef BND_RAFT_READINDEX_H
#define BND_RAFT_READINDEX_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/queue.h"

struct bnd_raft_host;
struct group;

/* Groups in one frame. */
#define READ_FRAME_ITEMS_MAX 4096u

enum read_frame_kind { READ_FRAME_ASK = 1, READ_FRAME_ANSWER = 2 };

struct read_item {
    uint64_t gid;
    uint64_t term;
    bool ok; /* ANSWER only */
};

/* Frames (SPEC.md, "Raft read frames"). read_frame_item appends; the count is written by end. */
void read_frame_begin(struct bnd_buf *out, enum read_frame_kind kind, uint64_t round);
void read_frame_item(struct bnd_buf *out, enum read_frame_kind kind, const struct read_item *item);
void read_frame_end(struct bnd_buf *out, uint32_t count);

struct read_frame {
    enum read_frame_kind kind;
    uint64_t round;
    uint32_t count;
    struct bnd_reader items;
};

/* BND_CORRUPT: cut, too long, unknown kind, no or too many items, ok neither 0 nor 1. */
int read_frame_decode(struct bnd_slice bytes, struct read_frame *out, struct bnd_error *err);
void read_frame_next(struct read_frame *frame, struct read_item *out);

/* A group's round, as asked of one peer. */
struct read_asked {
    uint64_t gid;
    uint64_t seq;
};

struct read_peer {
    uint64_t node;
    struct bnd_buf pending; /* u64 gids, sorted */
    struct bnd_buf asked;   /* struct read_asked of the frame in flight */
    uint64_t round;         /* in flight; 0: none */
    uint64_t sent_ns;
    bool blocked; /* could not send: again at the next tick */
};

struct readindex {
    struct read_peer *peers; /* sorted by node; grows with the nodes ever asked */
    size_t peers_count, peers_cap;
    uint64_t round_last;
};

void readindex_open(struct bnd_raft_host *host);
void readindex_close(struct bnd_raft_host *host);
/* Starts rounds, sends frames, runs reads whose index is written. */
void readindex_pass(struct bnd_raft_host *host);
/* Asks again what was lost. */
void readindex_tick(struct bnd_raft_host *host);
/* Leadership, term or members changed: reads of an earlier term are answered BND_NOTLEADER. */
void readindex_changed(struct group *group);
/* Answers every read of the group with status. */
void readindex_cancel(struct group *group, int status);
/* Forgets them without an answer (after host_fatal). */
void readindex_drop(struct group *group);

#endif
