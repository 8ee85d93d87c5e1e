/* One connection of the mesh.
 *
 *   dialed:   DIALING -> OPENING (TLS; our hello; its hello) -> UP -> DEAD
 *   accepted:            OPENING (TLS; its hello; our hello) -> UP -> DEAD
 *                        OPENING (TLS, no certificate) -> JOINING -> DEAD
 *
 * Invariants: (1) nothing of a peer is believed but what its certificate says: the hello must agree
 * with it; (2) a link that is not UP after MESH_SETUP_NS is closed; (3) after link_kill it has no
 * peer, no timer and no place in the dirty list, and is freed by its last callback; (4) `flight` is
 * not touched while flying.
 *
 * Failure modes: every end leads to mesh_link_lost (or link_kill, where the mesh ends it) exactly
 * once. */
#include "net/mesh_private.h"

#include "base/alloc.h"

static void link_open(void *owner);
static void link_read(void *owner, const uint8_t *data, size_t len);
static void link_end(void *owner, int status);

static const struct bnd_conn_events link_events = {
    .on_open = link_open, .on_read = link_read, .on_end = link_end};

/* ---- life
 * -----------------------------------------------------------------------------------------------
 */

static void setup_late(struct bnd_timer *timer) {
    struct link *link = timer->data;
    mesh_link_lost(link, link->state == LINK_JOINING ? "join request took too long"
                                                     : "no connection in time");
}

static struct link *link_new(struct bnd_mesh_tcp *tcp) {
    struct link *link = bnd_zalloc(sizeof *link);
    if (link != NULL) {
        link->tcp = tcp;
        link->timer = (struct bnd_timer){.cb = setup_late, .data = link};
        bnd_list_push(&tcp->links, &link->in_mesh);
        bnd_timer_start(tcp->env, &link->timer, MESH_SETUP_NS);
    }
    return link;
}

static void link_free(struct link *link) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    bnd_link_remove(&link->in_mesh);
    bnd_frame_joiner_free(&link->joiner);
    bnd_buf_free(&link->opening);
    bnd_buf_free(&link->fill);
    bnd_buf_free(&link->flight);
    bnd_free(link);
    mesh_free_if_over(tcp);
}

static void conn_closed(void *data) {
    link_free(data);
}

void link_identified(struct link *link) {
    if (link->stranger) {
        link->stranger = false;
        link->tcp->strangers--;
    }
}

void link_kill(struct link *link) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    if (link->state == LINK_DEAD) {
        return;
    }
    link_identified(link);
    join_forget(link);
    link->state = LINK_DEAD;
    link->peer = NULL;
    bnd_timer_stop(tcp->env, &link->timer);
    if (link->dirty) {
        link->dirty = false;
        bnd_link_remove(&link->in_dirty);
    }
    if (link->connecting) {
        tcp->abandoned++; /* a connect cannot be taken back: connect_done cleans up */
        return;
    }
    bnd_conn_close(link->conn, conn_closed, link);
}

/* ---- dial and accept
 * ------------------------------------------------------------------------------------ */

/* Makes the connection; on failure the stream is closed and the link has none. */
static int attach(struct link *link, struct bnd_stream *stream, struct bnd_tls_context *tls) {
    struct bnd_env *env = link->tcp->env;
    struct bnd_conn_options options = {
        .env = env, .stream = stream, .tls = tls, .handshake_timeout_ns = MESH_SETUP_NS};
    int rv = bnd_conn_create(&options, &link->conn);
    if (rv != 0) {
        env->ops->stream_close(env, stream, NULL, NULL);
        return rv;
    }
    bnd_conn_bind(link->conn, &link_events, link);
    bnd_conn_read(link->conn, true);
    link->state = LINK_OPENING;
    return 0;
}

/* Forgets a link that has no connection: not under way, not made. */
static void drop_unconnected(struct link *link) {
    bnd_timer_stop(link->tcp->env, &link->timer);
    link_free(link);
}

static void connect_done(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct link *link = connect->data;
    struct bnd_mesh_tcp *tcp = link->tcp;
    link->connecting = false;
    if (link->state == LINK_DEAD) {
        tcp->abandoned--;
        if (status == 0) {
            tcp->env->ops->stream_close(tcp->env, stream, NULL, NULL);
        }
        drop_unconnected(link);
        return;
    }
    int rv = status != 0 ? status : attach(link, stream, tcp->client_tls);
    if (rv != 0) {
        struct peer *peer = link->peer;
        struct peer_lane *lane = &peer->lanes[link->lane];
        lane->dial = NULL;
        if (lane->attempts < 2) {
            mesh_say(tcp, BND_LOG_INFO, "node %llu at %s does not answer: %s",
                     (unsigned long long)peer->node, peer->address, bnd_code_text(rv));
        }
        mesh_dial_later(lane);
        drop_unconnected(link);
    }
}

int link_dial(struct peer *peer, enum bnd_mesh_lane lane, struct link **out,
              struct bnd_error *err) {
    struct bnd_mesh_tcp *tcp = peer->tcp;
    struct link *link = link_new(tcp);
    if (link == NULL) {
        return BND_FAIL(err, NOMEM, "connection");
    }
    link->peer = peer;
    link->lane = lane;
    link->dialed = true;
    link->state = LINK_DIALING;
    link->connect = (struct bnd_connect){.cb = connect_done, .data = link};
    int rv = tcp->env->ops->connect(tcp->env, peer->address, &link->connect, err);
    if (rv != 0) {
        drop_unconnected(link);
        return rv;
    }
    link->connecting = true;
    *out = link;
    return 0;
}

/* Whoever has been unidentified longest: a node needs milliseconds for it. */
static void shed_stranger(struct bnd_mesh_tcp *tcp) {
    char address[BND_ADDRESS_MAX];
    struct bnd_link *at = tcp->links.next;
    while (!BND_CONTAINER(at, struct link, in_mesh)->stranger) {
        at = at->next;
        BND_ASSERT(at != &tcp->links);
    }
    struct link *link = BND_CONTAINER(at, struct link, in_mesh);
    bnd_conn_peer(link->conn, address);
    tcp->stats.shed++;
    mesh_say(tcp, BND_LOG_WARN, "connection from %s shed: %u are not yet identified", address,
             tcp->strangers);
    link_kill(link);
}

void link_accept(struct bnd_mesh_tcp *tcp, struct bnd_stream *stream) {
    if (tcp->strangers >= MESH_STRANGERS_MAX) {
        shed_stranger(tcp);
    }
    struct link *link = link_new(tcp);
    if (link == NULL) {
        tcp->env->ops->stream_close(tcp->env, stream, NULL, NULL);
        return;
    }
    if (attach(link, stream, tcp->server_tls) != 0) {
        drop_unconnected(link);
        return;
    }
    link->stranger = true;
    tcp->strangers++;
}

/* ---- hello
 * ---------------------------------------------------------------------------------------------- */

static void send_hello(struct link *link, uint64_t receiver, enum bnd_hello_status status) {
    uint8_t bytes[BND_FRAME_HELLO_BYTES];
    struct bnd_hello hello = {
        .version = BND_FRAME_VERSION,
        .version_min = BND_FRAME_VERSION,
        .lane = (uint8_t)link->lane,
        .status = (uint8_t)status,
        .sender = link->tcp->self,
        .receiver = receiver,
    };
    memcpy(hello.cluster, link->tcp->cluster, sizeof hello.cluster);
    bnd_hello_encode(&hello, bytes);
    bnd_buf_append(&link->fill, bytes, sizeof bytes);
    if (status == BND_HELLO_OK) {
        link_mark_dirty(link);
    } else {
        link_flush(link); /* the connection ends now */
    }
}

static void refuse(struct link *link, uint64_t sender, enum bnd_hello_status status) {
    char address[BND_ADDRESS_MAX];
    bnd_conn_peer(link->conn, address);
    if (status != BND_HELLO_BUSY) {
        link->tcp->stats.refused++;
        mesh_say(link->tcp, BND_LOG_WARN, "connection from %s refused: it says it is node %llu; %s",
                 address, (unsigned long long)sender, bnd_hello_text(status));
    }
    send_hello(link, sender, status);
    if (link->state != LINK_DEAD) {
        mesh_link_lost(link, bnd_hello_text(status));
    }
}

/* Makes a peer of one that is none, if its owner says so. The address is that of this connection,
 * whose port is no listener's: until a better one is told, only the other dials. */
static bool admit(const struct link *link, uint64_t node) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    char address[BND_ADDRESS_MAX];
    bnd_conn_peer(link->conn, address);
    return tcp->admits != NULL && tcp->admits(tcp->gone_owner, node) &&
           bnd_mesh_tcp_set_peer(tcp, node, address) == 0;
}

/* Why a connection with this hello cannot be accepted, or OK. */
static enum bnd_hello_status judge(const struct link *link, const struct bnd_hello *hello) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    if (memcmp(hello->cluster, tcp->cluster, sizeof tcp->cluster) != 0 ||
        memcmp(link->identity.cluster, tcp->cluster, sizeof tcp->cluster) != 0) {
        return BND_HELLO_CLUSTER;
    }
    if (hello->sender != link->identity.node || hello->receiver != tcp->self) {
        return BND_HELLO_IDENTITY;
    }
    if (hello->version < BND_FRAME_VERSION || hello->version_min > BND_FRAME_VERSION) {
        return BND_HELLO_VERSION;
    }
    struct peer *peer = mesh_find(tcp, hello->sender);
    if (peer == NULL) {
        bool gone = tcp->is_gone != NULL && tcp->is_gone(tcp->gone_owner, hello->sender);
        bool fresh = !gone && admit(link, hello->sender);
        return gone ? BND_HELLO_GONE : fresh ? BND_HELLO_OK : BND_HELLO_UNKNOWN;
    }
    /* Two that dial each other at once would each replace the other's connection: the lower id's
     * stays. */
    struct link *dial = peer->lanes[hello->lane].dial;
    if (dial != NULL && dial->state == LINK_OPENING && tcp->self < hello->sender) {
        return BND_HELLO_BUSY;
    }
    return BND_HELLO_OK;
}

static void hello_accepted(struct link *link, const struct bnd_hello *hello) {
    enum bnd_hello_status status = judge(link, hello);
    link->lane = (enum bnd_mesh_lane)hello->lane;
    if (status != BND_HELLO_OK) {
        refuse(link, hello->sender, status);
        return;
    }
    bnd_timer_stop(link->tcp->env, &link->timer);
    link_identified(link);
    send_hello(link, hello->sender, BND_HELLO_OK);
    mesh_link_up(link, mesh_find(link->tcp, hello->sender));
}

static void hello_answered(struct link *link, const struct bnd_hello *hello) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    if (hello->status != BND_HELLO_OK) {
        bool gone = hello->status == BND_HELLO_GONE && hello->sender == link->peer->node &&
                    hello->receiver == tcp->self &&
                    memcmp(hello->cluster, tcp->cluster, sizeof tcp->cluster) == 0;
        mesh_link_lost(link, bnd_hello_text(hello->status));
        if (gone && tcp->told_gone != NULL) {
            tcp->told_gone(tcp->gone_owner, hello->sender);
        }
        return;
    }
    if (memcmp(hello->cluster, tcp->cluster, sizeof tcp->cluster) != 0 ||
        hello->sender != link->peer->node || hello->receiver != tcp->self ||
        hello->lane != link->lane || hello->version != BND_FRAME_VERSION) {
        mesh_link_lost(link, "its hello does not answer ours");
        return;
    }
    bnd_timer_stop(tcp->env, &link->timer);
    mesh_link_up(link, link->peer);
}

/* Takes hello bytes from *data. */
static void read_hello(struct link *link, struct bnd_slice *data) {
    size_t need = BND_FRAME_HELLO_BYTES - link->opening.len;
    size_t take = need < data->len ? need : data->len;
    struct bnd_hello hello;
    bnd_buf_append(&link->opening, data->data, take);
    *data = bnd_slice(data->data + take, data->len - take);
    if (link->opening.failed) {
        mesh_link_lost(link, "out of memory");
        return;
    }
    if (link->opening.len < BND_FRAME_HELLO_BYTES) {
        return;
    }
    if (bnd_hello_decode(link->opening.data, &hello) != 0) {
        mesh_link_lost(link, "not a hello of the peer protocol");
    } else if (link->dialed) {
        hello_answered(link, &hello);
    } else {
        hello_accepted(link, &hello);
    }
    if (link->state == LINK_UP) {
        bnd_buf_free(&link->opening);
    }
}

/* ---- frames
 * --------------------------------------------------------------------------------------------- */

static void clock_sample(struct link *link, struct bnd_slice payload) {
    struct peer *peer = link->peer;
    uint64_t now = bnd_now_ns(link->tcp->env);
    uint64_t stamp = bnd_get_u64(payload.data);
    if (stamp != link->ping_stamp_ns || stamp == 0) {
        return;
    }
    link->ping_stamp_ns = 0;
    uint64_t rtt = now - stamp;
    bool better = !peer->clock_known || rtt <= 2 * peer->clock_rtt_ns + BND_MS ||
                  now - peer->clock_ns > 4 * MESH_CLOCK_TICKS * MESH_TICK_NS;
    if (!better) {
        return;
    }
    uint64_t middle_ms = bnd_wall_ms(link->tcp->env) - rtt / 2 / BND_MS;
    peer->clock_offset_ms = (int64_t)(bnd_get_u64(payload.data + 8) - middle_ms);
    peer->clock_rtt_ns = rtt;
    peer->clock_ns = now;
    peer->clock_known = true;
}

static void append_ping(struct link *link, uint8_t kind, uint64_t stamp) {
    uint8_t payload[BND_FRAME_PING_BYTES];
    struct bnd_slice part = bnd_slice(payload, sizeof payload);
    bnd_put_u64(payload, stamp);
    bnd_put_u64(payload + 8, bnd_wall_ms(link->tcp->env));
    bnd_frame_append(&link->fill, kind, &part, 1);
    link->fill.failed = false; /* without memory no ping: the next tick tries again */
    link_mark_dirty(link);
}

void link_ping(struct link *link, bool clock) {
    uint64_t stamp = bnd_now_ns(link->tcp->env);
    if (clock) {
        link->ping_stamp_ns = stamp;
    }
    append_ping(link, BND_FRAME_PING, stamp);
}

static bool on_frame(void *owner, uint8_t kind, struct bnd_slice payload) {
    struct link *link = owner;
    if (kind == BND_FRAME_PONG) {
        clock_sample(link, payload);
    } else if (kind == BND_FRAME_PING) {
        /* Answers are bounded as messages are: a flood of pings is not answered. */
        if (link_queued(link) < BND_FRAME_MAX) {
            append_ping(link, BND_FRAME_PONG, bnd_get_u64(payload.data));
        }
    } else {
        mesh_deliver(link->tcp, link->peer->node, kind, payload);
    }
    return link->state == LINK_UP; /* the receiver may have ended it */
}

/* ---- events of the connection
 * --------------------------------------------------------------------------- */

static void link_open(void *owner) {
    struct link *link = owner;
    struct bnd_mesh_tcp *tcp = link->tcp;
    struct bnd_error err;
    BND_AUTO_BUF struct bnd_buf der = {0};
    int rv = bnd_conn_peer_certificate(link->conn, &der);
    if (rv == 0 && der.len == 0 && !link->dialed && tcp->on_join != NULL) {
        join_begin(link);
        return;
    }
    rv = rv == 0 ? bnd_pki_identity_read(bnd_buf_slice(&der), &link->identity, &err) : rv;
    if (rv != 0) {
        mesh_link_lost(link, rv == BND_NOMEM ? "out of memory" : err.message);
        return;
    }
    if (!link->dialed) {
        return; /* its hello comes first */
    }
    if (memcmp(link->identity.cluster, tcp->cluster, sizeof tcp->cluster) != 0) {
        mesh_link_lost(link, bnd_hello_text(BND_HELLO_CLUSTER));
    } else if (link->identity.node != link->peer->node) {
        mesh_link_lost(link, "its certificate is that of another node");
    } else {
        send_hello(link, link->peer->node, BND_HELLO_OK);
    }
}

static void link_read(void *owner, const uint8_t *data, size_t len) {
    struct link *link = owner;
    struct bnd_slice rest = bnd_slice(data, len);
    if (link->state == LINK_JOINING) {
        join_read(link, rest);
        return;
    }
    if (link->state == LINK_OPENING) {
        read_hello(link, &rest);
    }
    if (link->state != LINK_UP) {
        return;
    }
    link->heard = true;
    link->peer->heard_ns = bnd_now_ns(link->tcp->env);
    int rv = bnd_frame_feed(&link->joiner, rest, on_frame, link);
    if (rv != 0 && link->state == LINK_UP) {
        mesh_link_lost(link, rv == BND_CORRUPT ? "bytes that are no frame" : bnd_code_text(rv));
    }
}

static void link_end(void *owner, int status) {
    struct link *link = owner;
    char address[BND_ADDRESS_MAX];
    const char *why = bnd_conn_failure(link->conn);
    why = why[0] != 0 ? why : status == 0 ? "closed by the peer" : bnd_code_text(status);
    if (!link->dialed && link->state == LINK_OPENING) {
        bnd_conn_peer(link->conn, address);
        link->tcp->stats.refused++;
        mesh_say(link->tcp, BND_LOG_WARN, "connection from %s failed: %s", address, why);
    }
    mesh_link_lost(link, why);
}

/* ---- sending
 * -------------------------------------------------------------------------------------------- */

size_t link_queued(const struct link *link) {
    return link->fill.len + (link->flying ? bnd_conn_queued(link->conn) : 0);
}

void link_mark_dirty(struct link *link) {
    if (!link->dirty && link->state != LINK_DEAD) {
        link->dirty = true;
        bnd_list_push(&link->tcp->dirty, &link->in_dirty);
        mesh_wake(link->tcp);
    }
}

static void emptied(struct bnd_buf *buf) {
    bnd_buf_reset(buf);
    if (buf->cap > MESH_KEEP_BYTES) {
        bnd_buf_free(buf);
    }
}

static void flight_done(struct bnd_write *write, int status) {
    struct link *link = write->data;
    link->flying = false;
    emptied(&link->flight);
    if (link->state == LINK_DEAD) {
        return;
    }
    if (status != 0) {
        mesh_link_lost(link, bnd_code_text(status));
        return;
    }
    link_flush(link);
}

void link_flush(struct link *link) {
    if (link->flying || link->fill.len == 0 || link->state == LINK_DEAD) {
        return;
    }
    link->sent = true;
    struct bnd_iov iov = {link->fill.data, link->fill.len};
    long taken = bnd_conn_try_write(link->conn, &iov, 1);
    if (taken < 0) {
        mesh_link_lost(link, bnd_code_text((int)taken));
        return;
    }
    if ((size_t)taken == link->fill.len) {
        emptied(&link->fill);
        return;
    }
    struct bnd_buf swap = link->flight;
    link->flight = link->fill;
    link->fill = swap;
    iov = (struct bnd_iov){link->flight.data + taken, link->flight.len - (size_t)taken};
    link->write = (struct bnd_write){.cb = flight_done, .data = link};
    link->flying = true;
    int rv = bnd_conn_write(link->conn, &link->write, &iov, 1);
    if (rv != 0) {
        link->flying = false;
        mesh_link_lost(link, bnd_code_text(rv));
    }
}
