/* The commands and queries of group 0 and their codec (SPEC.md, "Catalog"). Decoded forms borrow.
 */
#ifndef BND_CATALOG_COMMAND_H
#define BND_CATALOG_COMMAND_H

#include "catalog/records.h"

/* Numbers are part of the format: never reuse one. */
enum bnd_catalog_op {
    BND_CATALOG_INIT = 1, /* a: settings; b: the first node; EXISTS when done before */
    BND_CATALOG_BUCKET_CREATE =
        2, /* a: name; number: segments -> bucket record; EXISTS with the record there */
    BND_CATALOG_BUCKET_SEAL =
        3, /* a: name -> record with a new attempt number (a running attempt is overtaken) */
    BND_CATALOG_BUCKET_UNSEAL =
        4, /* a: name; id; number: attempt; BND_EPOCH if another attempt is newer */
    BND_CATALOG_BUCKET_REMOVE = 5, /* a: name; id; number: attempt; likewise */
    BND_CATALOG_JOIN_TOKEN = 6,    /* a: token id; b: join record */
    BND_CATALOG_JOIN =
        7, /* a: token id; b: node record (id 0; place 0, or the node to replace); c: secret hash ->
              node record with its id; BND_PRECONDITION: that node has no place to give */
    BND_CATALOG_NODE_SET = 8,      /* a: node record: the address and zone of a known id */
    BND_CATALOG_TOKEN_PUT = 9,     /* a: token record */
    BND_CATALOG_TOKEN_DELETE = 10, /* a: token id */
    BND_CATALOG_KEY_PUT = 11,      /* a: key record; EXISTS */
    BND_CATALOG_KEY_DELETE = 12,   /* a: access key */
    BND_CATALOG_NODE_STATE =
        13, /* id: node; number: its new state; a: not empty: also if groups lose voters by it ->
               node record; BND_PRECONDITION: not from its present state, or groups would */
    BND_CATALOG_NODE_REPLACE =
        14, /* id: the node that leaves; number: the one that takes its place -> the latter's
               record; BND_PRECONDITION: one of them cannot */
    BND_CATALOG_RECOVER =
        15, /* id: the node that group 0 was recovered on, from quorum loss: every other node that
               stores is gone, and ids of nodes and buckets go on far above (ADR 0085) */
    BND_CATALOG_KV_CREATE =
        16, /* a: title; b: public id; number: consistency; id: the most namespaces there may be ->
               record; EXISTS with the record that has the title; FULL */
    BND_CATALOG_KV_RENAME = 17, /* b: public id; a: title -> record; EXISTS: another has it */
    BND_CATALOG_KV_DELETE = 18, /* b: public id -> the record it was */
    BND_CATALOG_KV_SET = 19,    /* b: public id; number: consistency -> record */
    /* The map of KV's shards (placement/kv_map.h). id: shard; number: the epoch it was decided
     * under; a: u64 numbers. Only nodes send these. BND_EPOCH, BND_BUSY, ... as there;
     * BND_PRECONDITION: who should become a replica does not store, or leaves. */
    BND_CATALOG_KV_MAP_INIT = 20,     /* a: the replicas; number: 0 */
    BND_CATALOG_KV_MAP_MOVE = 21,     /* a: who joins, who leaves (0: nobody) */
    BND_CATALOG_KV_MAP_FILLED = 22,   /* a: node, the horizon collected when it was reached */
    BND_CATALOG_KV_MAP_LEFT = 23,     /* a: node */
    BND_CATALOG_KV_MAP_PROPOSE = 24,  /* a: horizon */
    BND_CATALOG_KV_MAP_CONFIRM = 25,  /* a: node, horizon, whom it has been equal with */
    BND_CATALOG_KV_MAP_UNFILLED = 26, /* a: node */
    BND_CATALOG_CA_BEGIN =
        30, /* number: the generation of the CA there is; a: certificate, b: sealed key, c: link of
               the next one; BND_PRECONDITION: another is being changed, or it is another's turn */
    BND_CATALOG_CA_CONFIRM = 31, /* id: a node; number: of this generation it has a certificate and
                                    trusts the CA; BND_EPOCH: another is the newest */
    BND_CATALOG_CA_FINISH =
        32,                     /* number: the newest generation; a: not empty: also if nodes lack
                                   certificates of it ->  the old CA is trusted no more; NOTFOUND:
                                   none is being changed; BND_EPOCH;  BND_PRECONDITION: nodes lack */
    BND_CATALOG_D1_CREATE =
        41, /* a: name; b: uuid (16 bytes); number: the most databases there may be -> record;
               EXISTS with the record that has the name; FULL; PRECONDITION: no node can hold it.
               The first one names the founders of SQL's groups (fsm_sql_found.c) */
    BND_CATALOG_D1_DELETE = 42, /* b: uuid -> the record it was */
    BND_CATALOG_OPS,
};

struct bnd_catalog_command {
    enum bnd_catalog_op op;
    uint64_t id;
    uint64_t number;
    struct bnd_slice a, b, c;
};

/* The version of the view from which on sections follow: u8 tag, bytes. What a reader does not know
 * it skips. */
#define BND_CATALOG_VIEW_SECTIONS 2
enum bnd_catalog_section {
    BND_CATALOG_SECTION_KV_NAMESPACES = 1, /* as the query's answer */
    BND_CATALOG_SECTION_KV_MAP = 2, /* count u32, of each shard that was made: number u32, map */
    BND_CATALOG_SECTION_SQL = 3,    /* who makes its groups; left out: it has none */
};

enum bnd_catalog_query_kind {
    BND_CATALOG_QUERY_BUCKET = 1, /* a: name -> bucket record; NOTFOUND */
    BND_CATALOG_QUERY_BUCKETS =
        2, /* a: prefix; b: names after this; number: limit -> more u8, count u32, records */
    BND_CATALOG_QUERY_VIEW = 3, /* number: revision known -> revision u64 and, if another, the whole
                                   view; a: u8 version of the view that the asker knows, empty: 1 */
    BND_CATALOG_QUERY_KV_NAMESPACES =
        4, /* a: public id, empty: all -> next id u64, count u32, records; NOTFOUND */
    BND_CATALOG_QUERY_D1_DATABASE =
        5, /* a: uuid (16 bytes), or empty; b: then the name -> record; NOTFOUND */
    BND_CATALOG_QUERY_D1_DATABASES =
        6, /* in order of names; a: what names contain, empty: all; b: u64 how many to pass over;
              number: limit -> total u32, count u32, records */
    BND_CATALOG_QUERIES,
};

struct bnd_catalog_query {
    enum bnd_catalog_query_kind kind;
    uint64_t number;
    struct bnd_slice a, b;
};

void bnd_catalog_command_encode(struct bnd_buf *out, const struct bnd_catalog_command *command);
/* BND_INVALID for what is no command. */
int bnd_catalog_command_decode(struct bnd_slice bytes, struct bnd_catalog_command *out);
void bnd_catalog_query_encode(struct bnd_buf *out, const struct bnd_catalog_query *query);
int bnd_catalog_query_decode(struct bnd_slice bytes, struct bnd_catalog_query *out);

#endif
