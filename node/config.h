/* The settings of a node or gateway: one table, four sources, one precedence.
 *
 * flag (--base-port 7700) before environment (BINDERY_BASE_PORT=7700) before file (base_port = 7700
 * in TOML) before default. Every setting has one name and one parser whatever its source, so that
 * an error reads the same from everywhere: it names the source, the setting, the value and what was
 * expected; an unknown name is refused with the nearest known one. */
#ifndef BND_NODE_CONFIG_H
#define BND_NODE_CONFIG_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define BND_CONFIG_TEXT_MAX 1024

struct bnd_config {
    char data[BND_CONFIG_TEXT_MAX];      /* directory */
    char listen[BND_CONFIG_TEXT_MAX];    /* numeric host all ports are opened on */
    char advertise[BND_CONFIG_TEXT_MAX]; /* numeric host others reach this node by; empty: listen */
    char join[BND_CONFIG_TEXT_MAX];  /* "host:port,host:port" of peer ports; empty: a new cluster */
    char token[BND_CONFIG_TEXT_MAX]; /* join token */
    uint64_t replaces; /* with join, once: the dead node whose place this one takes; 0: nobody's */
    char zone[BND_CONFIG_TEXT_MAX];
    char tls_cert[BND_CONFIG_TEXT_MAX]; /* PEM files for the client ports; empty: from the cluster's
                                           CA */
    char tls_key[BND_CONFIG_TEXT_MAX];
    /* Where a new cluster's secrets go; empty: stdout. */
    char secrets_file[BND_CONFIG_TEXT_MAX];
    char s3_domain[BND_CONFIG_TEXT_MAX]; /* lower case; buckets are also <bucket>.<s3_domain> */
    char log_level[BND_CONFIG_TEXT_MAX]; /* debug, info, warn, error */
    uint64_t base_port;                  /* REST; +1 bindings, +2 S3, +3 peers */
    uint64_t memory;                     /* bytes for caches and buffers */
    uint64_t shards;                     /* at init only; a power of two */
    uint64_t replicas;                   /* at init only: 1, 3, 5 */
    uint64_t moves;                      /* groups led here that exchange replicas at a time */
    uint64_t move_rate;                  /* bytes per second taken in for moves; 0: no bound */
    uint64_t scrub_s;                    /* of one pass over the state's files; 0: none */
    uint64_t heartbeat_ms;
    uint64_t election_ms;
    uint64_t connections_max;         /* per client port; 0: by memory */
    uint64_t connections_per_address; /* per client port */
    uint64_t head_timeout_ms;
    uint64_t body_timeout_ms;
    uint64_t idle_timeout_ms;
    uint64_t kv_namespaces_max;
    uint64_t kv_bulk_pairs_max; /* of one bulk put or delete */
    uint64_t kv_bulk_bytes_max; /* of one bulk body */
    uint64_t kv_bulk_get_max;   /* keys of one bulk get */
    uint64_t kv_ttl_min_s;
    uint64_t kv_horizon_s; /* tombstones are kept for so long */
    uint64_t kv_absent_s;  /* a silent replica holds their deletion back for so long */
    uint64_t d1_databases_max;
    uint64_t d1_retention_s; /* of versions that others took the place of; 0: for ever */
    bool insecure;           /* client ports without TLS; loopback only */
};

enum bnd_setting_type { BND_SETTING_TEXT, BND_SETTING_NUMBER, BND_SETTING_BYTES, BND_SETTING_BOOL };

struct bnd_setting {
    const char
        *name; /* as in TOML: words joined by _; the flag has - and the environment upper case */
    enum bnd_setting_type type;
    size_t offset;        /* in struct bnd_config */
    const char *fallback; /* the default, as text */
    const char *value;    /* what stands for the value in help: "DIR" */
    const char *help;
};

/* The table, ended by a NULL name. */
const struct bnd_setting *bnd_settings_table(void);

/* "base_port" -> "base-port"; out gets at most cap bytes, terminated. */
void bnd_setting_flag(const struct bnd_setting *setting, char *out, size_t cap);
void bnd_setting_variable(const struct bnd_setting *setting, char *out, size_t cap);

struct bnd_config_flag {
    const char *name; /* without --, or as in TOML */
    const char *value;
};

struct bnd_config_sources {
    const char *file; /* path of a TOML file, or NULL */
    const struct bnd_config_flag *flags;
    size_t flags_count;
    char *const *environment; /* as environ: only BINDERY_* is looked at; NULL: none */
};

/* Fills *out from all sources and checks the values against each other. BND_INVALID: err names
 * source and setting. BND_NOTFOUND: the file is not there. On failure *out is untouched. */
int bnd_config_load(const struct bnd_config_sources *sources, struct bnd_config *out,
                    struct bnd_error *err);

/* Appends one "name = value" line per setting, for `config check`. */
void bnd_config_print(const struct bnd_config *config, struct bnd_buf *out);

/* The name in `known` (ended by NULL) nearest to `name` by edit distance, or NULL if none is near
 * enough to be meant (more than a third of its letters differ). */
const char *bnd_nearest_name(const char *name, const char *const *known);

/* "512MiB", "1GiB", "64k", "1000000" -> bytes. BND_INVALID. */
int bnd_parse_bytes(const char *text, uint64_t *out);

#endif
