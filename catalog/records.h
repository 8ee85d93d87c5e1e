/* The records of group 0 and their codec (SPEC.md, "Catalog"). Decoded records borrow from the
 * bytes they were decoded from. Every decoder answers BND_CORRUPT for bytes that are not exactly
 * one record of a known version. */
#ifndef BND_CATALOG_RECORDS_H
#define BND_CATALOG_RECORDS_H

#include "base/bytes.h"
#include "base/error.h"

#define BND_BUCKET_NAME_MIN 3
#define BND_BUCKET_NAME_MAX 63
#define BND_LABEL_MAX 128      /* names of tokens and keys, zones */
#define BND_ACCESS_KEY_MAX 64  /* S3 access key id */
#define BND_TOKEN_ID_MAX 32    /* text of a token's id */
#define BND_SECRET_HASH_LEN 32 /* SHA-256 */
#define BND_KV_TITLE_MAX 512
#define BND_KV_PUBLIC_ID_LEN 32 /* lowercase hex */
#define BND_D1_NAME_MAX 64      /* of a D1 database */
#define BND_D1_UUID_BYTES 16    /* its uuid */
#define BND_D1_UUID_TEXT 36     /* the same as text, lowercase, with its four dashes */

/* What a token or key allows. */
enum bnd_permission {
    BND_PERM_OBJECT_READ = 1,
    BND_PERM_OBJECT_WRITE = 2,
    BND_PERM_BUCKET_ADMIN = 4, /* create, list, delete buckets */
    BND_PERM_CLUSTER_ADMIN = 8,
    BND_PERM_KV_READ = 16,
    BND_PERM_KV_WRITE = 32,
    BND_PERM_KV_ADMIN = 64, /* create, rename, delete namespaces */
    BND_PERM_D1_READ = 128,
    BND_PERM_D1_WRITE = 256,
    BND_PERM_D1_ADMIN = 512, /* create, delete databases */
    BND_PERM_ALL = 1023,
};

struct bnd_settings {
    uint64_t cluster_id;
    uint32_t shards;          /* per kind; never changes */
    uint32_t hash_version;    /* BND_SHARD_HASH_VERSION at init */
    uint32_t replicas;        /* wanted per group: 1, 3 or 5 */
    struct bnd_slice account; /* 32 hex digits: the account id of the REST API */
    struct bnd_slice ca_cert; /* PEM: signs the nodes' certificates */
    struct bnd_slice ca_key;  /* PEM, sealed (catalog/seal.h) */
    uint32_t ca_generation;   /* of ca_cert: 1 is the first */
    /* While the CA is being changed (ADR 0091), else empty: */
    struct bnd_slice ca_link;     /* PEM: ca_cert's name and key, signed by old_ca_cert */
    struct bnd_slice old_ca_cert; /* PEM: still trusted, and what signs for the client ports */
    struct bnd_slice old_ca_key;  /* PEM, sealed */
};

enum bnd_node_state {
    BND_NODE_ACTIVE = 1,
    BND_NODE_DRAINING = 2, /* keeps what it stores, and leads nothing */
    BND_NODE_GONE = 3,     /* for ever: the id is refused */
    BND_NODE_LEAVING = 4,  /* what it stores is moved away; then it is gone */
};
/* Fixed when the id is issued. A gateway stores nothing: its weight is 0 for ever. */
enum bnd_node_role { BND_NODE_STORAGE = 1, BND_NODE_GATEWAY = 2 };

struct bnd_node_record {
    uint64_t id;
    uint64_t place; /* what it is placed by (placement/rendezvous.h): its own id, or that of the
                       node whose place it has taken */
    enum bnd_node_state state;
    enum bnd_node_role role;
    uint32_t weight;
    uint64_t joined_ms;
    struct bnd_slice address; /* "host:port" of the peer port */
    struct bnd_slice zone;
    struct bnd_slice key_hash; /* SHA-256 of its public key: who redeemed which join token */
    uint32_t ca_generation;    /* the newest CA of which it said, during a change of the CA, that it
                                  has a certificate; 0: it has not said so */
};

enum bnd_bucket_state { BND_BUCKET_ACTIVE = 1, BND_BUCKET_DELETING = 2 };

struct bnd_bucket_record {
    uint64_t id; /* never reused */
    enum bnd_bucket_state state;
    uint8_t segments; /* of a key that place an object (placement/shard.h) */
    uint64_t created_ms;
    uint64_t attempt;    /* number of the newest deletion attempt, 0: none yet */
    uint64_t attempt_ms; /* when it began */
    struct bnd_slice name;
};

struct bnd_token_record {
    struct bnd_slice id; /* 16 bytes: what is shown and revoked by */
    uint32_t permissions;
    uint64_t created_ms;
    struct bnd_slice secret_hash;
    struct bnd_slice label;
    struct bnd_slice bucket; /* the name of the only one it is good for; empty: every bucket */
};

struct bnd_key_record {
    struct bnd_slice access_key;
    uint32_t permissions;
    uint64_t created_ms;
    struct bnd_slice sealed_secret;
    struct bnd_slice bucket; /* empty: every bucket */
    struct bnd_slice label;
};

/* What a namespace gives up: nothing that was acknowledged by two replicas (eventual), or also that
 * for the sake of writing in a minority (local); ADR 0090. */
enum bnd_kv_consistency { BND_KV_EVENTUAL = 1, BND_KV_CONSISTENCY_LOCAL = 2 };

struct bnd_kv_namespace_record {
    uint64_t id; /* never reused: what records of the namespace are stored under */
    enum bnd_kv_consistency consistency;
    uint64_t created_ms;
    struct bnd_slice public_id; /* what clients call it */
    struct bnd_slice title;
};

/* A D1 database: what is in it has the SQL group of its uuid. */
struct bnd_d1_database {
    uint8_t uuid[BND_D1_UUID_BYTES];
    uint64_t created_ms;
    struct bnd_slice name;
};

struct bnd_join_record {
    struct bnd_slice secret_hash;
    uint64_t expires_ms;
    struct bnd_slice key_hash; /* of the public key that redeemed it; empty: nobody yet */
    uint64_t node;             /* the id that was issued, 0: none */
};

void bnd_settings_encode(struct bnd_buf *out, const struct bnd_settings *record);
int bnd_settings_decode(struct bnd_slice bytes, struct bnd_settings *out);
void bnd_node_encode(struct bnd_buf *out, const struct bnd_node_record *record);
int bnd_node_decode(struct bnd_slice bytes, struct bnd_node_record *out);
void bnd_bucket_encode(struct bnd_buf *out, const struct bnd_bucket_record *record);
int bnd_bucket_decode(struct bnd_slice bytes, struct bnd_bucket_record *out);
void bnd_token_encode(struct bnd_buf *out, const struct bnd_token_record *record);
int bnd_token_decode(struct bnd_slice bytes, struct bnd_token_record *out);
void bnd_key_encode(struct bnd_buf *out, const struct bnd_key_record *record);
int bnd_key_decode(struct bnd_slice bytes, struct bnd_key_record *out);
void bnd_join_encode(struct bnd_buf *out, const struct bnd_join_record *record);
int bnd_join_decode(struct bnd_slice bytes, struct bnd_join_record *out);

void bnd_kv_namespace_encode(struct bnd_buf *out, const struct bnd_kv_namespace_record *record);
int bnd_kv_namespace_decode(struct bnd_slice bytes, struct bnd_kv_namespace_record *out);

void bnd_d1_database_encode(struct bnd_buf *out, const struct bnd_d1_database *record);
int bnd_d1_database_decode(struct bnd_slice bytes, struct bnd_d1_database *out);

/* 1 to BND_D1_NAME_MAX letters, digits, - and _, beginning with a letter or digit, and not of the
 * form of a uuid: who names a database may use either. */
bool bnd_d1_name_valid(struct bnd_slice name);
/* Text of a uuid, in upper or lower case. False: it is none. */
bool bnd_d1_uuid_parse(struct bnd_slice text, uint8_t out[BND_D1_UUID_BYTES]);
void bnd_d1_uuid_text(const uint8_t uuid[BND_D1_UUID_BYTES], char out[BND_D1_UUID_TEXT + 1]);

/* Who makes the groups of SQL: rising, at most BND_SQL_FOUNDERS_MAX. */
#define BND_SQL_FOUNDERS_MAX 5
void bnd_sql_founders_encode(struct bnd_buf *out, const uint64_t *nodes, size_t count);
int bnd_sql_founders_decode(struct bnd_slice bytes, uint64_t out[BND_SQL_FOUNDERS_MAX],
                            size_t *out_count);

/* 1 to BND_KV_TITLE_MAX bytes of UTF-8 without control characters. */
bool bnd_kv_title_valid(struct bnd_slice title);
/* BND_KV_PUBLIC_ID_LEN lowercase hex digits. */
bool bnd_kv_public_id_valid(struct bnd_slice id);

/* R2's rule: 3 to 63 of a-z, 0-9 and -, not beginning or ending with -. */
bool bnd_bucket_name_valid(struct bnd_slice name);

#endif
