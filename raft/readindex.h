/* Linearizable reads without a log write (internal; reference: raft/README.md, "Reads").
 *
 * A leader whose barrier of this term is committed notes R = commit index, then asks the voters
 * "is my term still yours?". A majority (itself included) that says so after the read arrived means
 * that no newer leader had committed anything by then; the read runs once R is written here.
 *
 * One round per group at a time; a read that arrives during a round waits for the next one. One
 * frame per peer in flight, with all groups that wait for that peer: no disk, one round trip,
 * shared by all groups. A lost frame is asked again after a while.
 *
 * A replica that follows asks its leader for R (replica_read.c): one frame per leader in flight,
 * with all groups it leads. The question itself says "that term is still mine"; with the leader's
 * own that is a majority of three voters, and the answer is R at once. */
#ifndef BND_RAFT_READINDEX_H
#define BND_RAFT_READINDEX_H

#include "base/bytes.h"
#include "base/env.h"
#include "base/error.h"
#include "base/queue.h"

struct bnd_raft_host;
struct group;

/* Groups in one frame. */
#define READ_FRAME_ITEMS_MAX 4096u

enum read_frame_kind {
    READ_FRAME_ASK = 1,
    READ_FRAME_ANSWER = 2,
    READ_FRAME_INDEX_ASK = 3, /* a replica asks its leader */
    READ_FRAME_INDEX = 4,     /* and is answered */
};

struct read_item {
    uint64_t gid;
    uint64_t term;
    bool ok;                    /* ANSWER and INDEX only */
    uint64_t index, index_term; /* INDEX only: what is committed, and the term of the entry there */
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

/* A leader that this node asks for indexes. */
struct index_peer {
    uint64_t node;
    struct bnd_buf frame; /* that is being filled */
    struct bnd_buf asked; /* u64 gids of the frame that is being filled or in flight */
    uint64_t round;       /* of that frame; 0: none */
    uint64_t sent_ns;
    bool sent;
};

struct replica_reads {
    struct index_peer *peers; /* grows with the nodes ever asked */
    size_t peers_count, peers_cap;
    uint64_t round_last;
    struct bnd_link groups; /* with reads */
    struct bnd_timer timer; /* while there are some */
    bool timer_armed, timer_due;
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
/* Does this node, by the group's last picture, follow no other than `leader` in this term, and will
 * it after a crash? */
bool readindex_confirms(const struct group *group, uint64_t term, uint64_t leader);

/* replica_read.c: reads of replicas that follow. */
void replica_read_open(struct bnd_raft_host *host);
void replica_read_close(struct bnd_raft_host *host);
/* Before entries are applied: lets the cores know what leaders have said to be committed. */
void replica_read_learn(struct bnd_raft_host *host);
/* Sends frames, runs reads whose index is written, gives up what waits too long. */
void replica_read_pass(struct bnd_raft_host *host);
/* The group's leader or term may be another. */
void replica_read_changed(struct group *group);
void replica_read_cancel(struct group *group, int status);
void replica_read_drop(struct group *group);
/* Frames INDEX_ASK and INDEX. */
void replica_read_asked(struct bnd_raft_host *host, uint64_t from, struct read_frame *frame);
void replica_read_answered(struct bnd_raft_host *host, uint64_t from, struct read_frame *frame);

#endif
