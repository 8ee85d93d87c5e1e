/* What mesh_tcp.c (peers, sending, time), mesh_link.c (one connection) and mesh_join.c share. */
#ifndef BND_NET_MESH_PRIVATE_H
#define BND_NET_MESH_PRIVATE_H

#include "net/conn.h"
#include "net/frame.h"
#include "net/mesh_tcp.h"
#include "net/tls.h"

#define MESH_TICK_NS (200 * BND_MS)
#define MESH_DEAD_TICKS 15u           /* 3 s */
#define MESH_CLOCK_TICKS 5u           /* a clock sample each second */
#define MESH_SETUP_NS (5000 * BND_MS) /* dial, TLS and hello together */
#define MESH_STABLE_NS (2000 * BND_MS)
#define MESH_STRANGERS_MAX 128 /* accepted and not yet identified */
#define MESH_ABANDONED_MAX 64  /* dials given up that the kernel has not */
#define MESH_JOINS_MAX 8
#define MESH_WATCHERS_MAX 8
#define MESH_QUEUE_BYTES (16u << 20)
#define MESH_KEEP_BYTES (1u << 20) /* buffers above are freed when empty */
#define MESH_LOG_LINES 20u
#define MESH_LOG_WINDOW_NS (10000 * BND_MS)

enum link_state {
    LINK_DIALING, /* TCP connect under way */
    LINK_OPENING, /* TLS, then hello */
    LINK_JOINING, /* a stranger with a request */
    LINK_UP,
    LINK_DEAD, /* closing: nothing but the last callbacks comes */
};

/* One connection, from dial or accept to its last callback. */
struct link {
    struct bnd_mesh_tcp *tcp;
    struct peer *peer; /* dialed: from the start; accepted: from UP; NULL otherwise and when DEAD */
    enum bnd_mesh_lane lane;
    enum link_state state;
    bool dialed;
    bool stranger; /* accepted and not yet identified: counted in tcp->strangers */
    bool connecting;
    bool flying;
    bool dirty;
    bool heard; /* since the last tick */
    bool sent;
    unsigned silent_ticks;
    uint64_t up_ns;
    uint64_t ping_stamp_ns; /* of the ping not yet answered; 0: none */
    struct bnd_link in_mesh;
    struct bnd_link in_dirty;
    struct bnd_connect connect;
    struct bnd_conn *conn;
    struct bnd_timer timer; /* bounds the set-up */
    struct bnd_frame_joiner joiner;
    struct bnd_buf opening; /* hello or join request so far */
    struct bnd_pki_identity identity;
    struct bnd_buf fill; /* queued since the last flush */
    struct bnd_buf flight;
    struct bnd_write write;
    struct bnd_join_request *join;
};

struct peer {
    struct bnd_link in_mesh;
    struct bnd_mesh_tcp *tcp;
    uint64_t node;
    char address[BND_ADDRESS_MAX];
    bool told_up;
    uint64_t heard_ns; /* 0: never */
    bool clock_known;
    int64_t clock_offset_ms;
    uint64_t clock_rtt_ns;
    uint64_t clock_ns;
    struct peer_lane {
        struct peer *peer;
        struct link *up;
        struct link *dial; /* DIALING or OPENING, ours */
        struct bnd_timer redial;
        unsigned attempts;
    } lanes[BND_MESH_LANES];
};

struct bnd_mesh_tcp {
    struct bnd_mesh mesh;
    struct bnd_env *env;
    uint64_t self;
    uint8_t cluster[BND_PKI_CLUSTER_BYTES];
    struct bnd_listener *listener;
    struct bnd_tls_context *server_tls;
    struct bnd_tls_context *client_tls;
    size_t queue_bytes_max[BND_MESH_LANES];
    bnd_mesh_join_cb on_join;
    void *join_owner;
    bool (*is_gone)(void *owner, uint64_t node);
    bool (*admits)(void *owner, uint64_t node);
    void (*told_gone)(void *owner, uint64_t by);
    void *gone_owner;
    struct bnd_hook hook;
    struct bnd_timer tick;
    unsigned tick_count;
    struct bnd_link peers;
    struct bnd_link links;
    struct bnd_link dirty;
    unsigned strangers;
    unsigned abandoned;
    unsigned joins;
    struct {
        bnd_mesh_recv_cb cb;
        void *owner;
    } receivers[BND_MESH_KINDS];
    struct {
        bnd_mesh_peer_cb cb;
        void *owner;
    } watchers[MESH_WATCHERS_MAX];
    size_t watcher_count;
    /* messages to self */
    struct bnd_task self_task;
    bool self_pending;
    struct bnd_link self_queue;
    size_t self_bytes;
    struct bnd_mesh_tcp_stats stats;
    uint64_t log_window_ns;
    unsigned log_lines;
    bool closing;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

/* mesh_tcp.c */
void mesh_say(struct bnd_mesh_tcp *tcp, enum bnd_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct peer *mesh_find(struct bnd_mesh_tcp *tcp, uint64_t node);
void mesh_deliver(struct bnd_mesh_tcp *tcp, uint64_t from, uint8_t kind, struct bnd_slice message);
void mesh_free_if_over(struct bnd_mesh_tcp *tcp);
/* Makes `link` the peer's connection of its lane; ends an older session first. */
void mesh_link_up(struct link *link, struct peer *peer);
/* A connection of the peer is over, or a dial failed: closes what must go with it and plans the
 * next dial. */
void mesh_link_lost(struct link *link, const char *why);
void mesh_dial_later(struct peer_lane *lane);

/* mesh_link.c */
void link_identified(struct link *link); /* no longer a stranger; idempotent */
int link_dial(struct peer *peer, enum bnd_mesh_lane lane, struct link **out, struct bnd_error *err);
void link_accept(struct bnd_mesh_tcp *tcp, struct bnd_stream *stream);
/* Ends it quietly: no callback to peer or mesh but mesh_free_if_over. Idempotent. */
void link_kill(struct link *link);
void link_flush(struct link *link);
void link_mark_dirty(struct link *link);
size_t link_queued(const struct link *link);
void link_ping(struct link *link, bool clock);

/* mesh_join.c */
void join_begin(struct link *link);
void join_read(struct link *link, struct bnd_slice data);
void join_forget(struct link *link); /* the link dies: a reply to come goes nowhere */

/* One more pass of the loop comes without waiting: what is queued by a hook that runs after the
 * mesh's own would else lie until something happens. */
void mesh_wake(struct bnd_mesh_tcp *tcp);

#endif
