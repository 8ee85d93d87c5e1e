/* The catalog: what a node or gateway knows of group 0, and how it changes it (architecture 5).
 *
 * Nodes, settings, tokens and S3 keys are small and needed by every request: each process keeps a
 * whole copy, the view, and asks group 0 once a second whether its revision moved (so a revocation
 * is effective everywhere within 2 s while group 0 can be reached; a node that cannot reach it for
 * longer than BND_CATALOG_STALE_MS says so, and its client ports refuse). Buckets and D1 databases
 * can be many: they are looked up by name and remembered. "No such bucket" always comes from a
 * linearizable read of group 0; a remembered bucket that was deleted since is found out by its
 * shards, which are sealed for ever (objects/). */
#ifndef BND_CATALOG_CATALOG_H
#define BND_CATALOG_CATALOG_H

#include "base/env.h"
#include "catalog/command.h"
#include "catalog/seal.h"
#include "placement/kv_map.h"
#include "raft/client.h"

#define BND_CATALOG_POLL_MS 1000
#define BND_CATALOG_STALE_MS 5000

struct bnd_catalog;

/* A S3 key ready for use: the secret unsealed. */
struct bnd_catalog_key {
    struct bnd_key_record record;
    struct bnd_slice secret;
};

/* Borrowed from the catalog until its next change: do not keep it over a return to the loop. */
struct bnd_catalog_view {
    uint64_t revision;
    struct bnd_slice answer; /* of group 0, that it was decoded from */
    struct bnd_settings settings;
    const struct bnd_node_record *nodes;
    size_t nodes_count;
    const struct bnd_token_record *tokens;
    size_t tokens_count;
    const struct bnd_catalog_key *keys;
    size_t keys_count;
    const struct bnd_kv_namespace_record *kv_namespaces; /* sorted by id */
    size_t kv_namespaces_count;
    uint64_t kv_namespace_next;      /* every id below it that is not listed is deleted */
    const struct bnd_kv_shard *kv_shards; /* of each; epoch 0: not made yet */
    uint32_t kv_shards_count;             /* settings.shards; 0: the answer knew nothing of KV */
    const uint32_t *kv_by_public_id; /* places in kv_namespaces, sorted by public id */
    uint64_t sql_founders[BND_SQL_FOUNDERS_MAX]; /* who makes SQL's groups, rising */
    size_t sql_founders_count;                   /* 0: it has no groups */
};

struct bnd_catalog_config {
    struct bnd_env *env;             /* borrowed */
    struct bnd_shard_client *client; /* borrowed */
    uint8_t cluster_key[BND_CLUSTER_KEY_LEN];
    size_t buckets_max; /* remembered; 0: 16,384 */
    void *owner;
    /* The view changed (also the first time). On the loop. */
    void (*changed)(void *owner, const struct bnd_catalog_view *view);
};

/* Starts asking group 0 at once. BND_NOMEM. */
int bnd_catalog_create(const struct bnd_catalog_config *config, struct bnd_catalog **out);
/* Calls under way are forgotten (their callbacks do not come). NULL allowed. */
void bnd_catalog_destroy(struct bnd_catalog *catalog);

/* The record of a node in a view, or NULL. view NULL: there is none. */
const struct bnd_node_record *bnd_catalog_find_node(const struct bnd_catalog_view *view,
                                                    uint64_t id);

/* NULL until the first answer of group 0. */
const struct bnd_catalog_view *bnd_catalog_view(const struct bnd_catalog *catalog);
/* Gives it what was heard before this process began (bnd_catalog_view.answer), to be told to
 * operators until group 0 itself answers: it may be old, so nothing is decided by it and `changed`
 * does not come. BND_CORRUPT, BND_NOMEM. */
int bnd_catalog_remember(struct bnd_catalog *catalog, struct bnd_slice answer);
/* The view, however old; before the first one what was remembered; else NULL. For showing how the
 * cluster is when no majority of group 0 can be reached. */
const struct bnd_catalog_view *bnd_catalog_last_view(const struct bnd_catalog *catalog);

/* Milliseconds since group 0 last confirmed the view; UINT64_MAX: never. */
uint64_t bnd_catalog_age_ms(const struct bnd_catalog *catalog);
/* Asks group 0 now, or again once it has answered what it is being asked. For an access key not in
 * the view: it may be new. Returns the number of a question asked after this call. */
uint64_t bnd_catalog_refresh(struct bnd_catalog *catalog);
/* True once that question, or a later one, has been answered: the view is of after the call. */
bool bnd_catalog_answered(const struct bnd_catalog *catalog, uint64_t question);

/* The key or token in the view, or NULL. token: the secret text as the client sent it. */
const struct bnd_catalog_key *bnd_catalog_find_key(const struct bnd_catalog *catalog,
                                                   struct bnd_slice access_key);
const struct bnd_token_record *bnd_catalog_find_token(const struct bnd_catalog *catalog,
                                                      struct bnd_slice token);
/* The same in the last view. */
const struct bnd_token_record *bnd_catalog_find_last_token(const struct bnd_catalog *catalog,
                                                           struct bnd_slice token);

/* The namespace in the view, or NULL; borrowed from it. */
const struct bnd_kv_namespace_record *
bnd_catalog_find_kv_namespace(const struct bnd_catalog *catalog, struct bnd_slice public_id);

/* One command or query. The caller owns it until cb; zero it before first use. */
struct bnd_catalog_call {
    /* status and reply as catalog/command.h says of the command, or the shard client's codes. */
    void (*cb)(struct bnd_catalog_call *call, int status, struct bnd_slice reply);
    void *data;
    struct bnd_shard_call shard; /* private */
};
/* timeout_ns as bnd_shard_call. BND_FULL, BND_NOMEM: cb will not come. A command that succeeds is
 * followed by a refresh, so that this process's view has it soon. */
int bnd_catalog_write(struct bnd_catalog *catalog, struct bnd_catalog_call *call,
                      const struct bnd_catalog_command *command, uint64_t timeout_ns);
int bnd_catalog_read(struct bnd_catalog *catalog, struct bnd_catalog_call *call,
                     const struct bnd_catalog_query *query, uint64_t timeout_ns);
void bnd_catalog_cancel(struct bnd_catalog_call *call);

/* What routing an object needs of its bucket. */
struct bnd_catalog_bucket {
    uint64_t id;
    uint8_t segments;
    uint64_t created_ms;
};

/* True if the bucket is remembered: no round trip. */
bool bnd_catalog_bucket_known(const struct bnd_catalog *catalog, struct bnd_slice name,
                              struct bnd_catalog_bucket *out);
/* Remembers what a query or a creation answered; forgets what turned out to be gone. */
void bnd_catalog_bucket_learn(struct bnd_catalog *catalog, const struct bnd_bucket_record *bucket);
void bnd_catalog_bucket_forget(struct bnd_catalog *catalog, struct bnd_slice name);

/* The same for D1 databases: the uuid of a name, or of the lowercase text of a uuid (it is there,
 * or was). One that was deleted since is found out by its SQL group, which keeps a tombstone. */
bool bnd_catalog_d1_known(const struct bnd_catalog *catalog, struct bnd_slice name,
                          uint8_t out[BND_D1_UUID_BYTES]);
void bnd_catalog_d1_learn(struct bnd_catalog *catalog, const struct bnd_d1_database *database);
void bnd_catalog_d1_forget(struct bnd_catalog *catalog, struct bnd_slice name);

#endif
