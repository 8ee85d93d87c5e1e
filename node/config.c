/* Settings: the table, its sources, and their checks. */
#include "node/config.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "node/toml_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    FILE_BYTES_MAX = 1 << 20,
    NAME_MAX_LEN = 64,
    ENV_PREFIX_LEN = 8,
    DNS_LABEL_MAX = 63,
    S3_DOMAIN_MAX = 253 - 1 - DNS_LABEL_MAX /* a bucket's name and a dot go before it */
};

#define TEXT(field) BND_SETTING_TEXT, offsetof(struct bnd_config, field)
#define NUMBER(field) BND_SETTING_NUMBER, offsetof(struct bnd_config, field)
#define SCRUB_S_MAX UINT64_C(31536000) /* a year */
#define MOVE_RATE_MIN (UINT64_C(1) << 20)
#define KV_BULK_BYTES_MAX (UINT64_C(1) << 30)
#define D1_DATABASES_MAX UINT64_C(1000000)
/* More than clocks differ by, and a put takes: below, puts would be stamped again and again. */
#define KV_HORIZON_S_MIN UINT64_C(5)
#define KV_HORIZON_S_MAX UINT64_C(31536000)     /* a year */
#define D1_RETENTION_S_MAX UINT64_C(3153600000) /* a hundred years */
#define KV_BULK_GET_MAX UINT64_C(1000)          /* each key is compared with those before it */
#define BYTES(field) BND_SETTING_BYTES, offsetof(struct bnd_config, field)
#define BOOL(field) BND_SETTING_BOOL, offsetof(struct bnd_config, field)

static const struct bnd_setting settings[] = {
    {"data", TEXT(data), "", "DIR", "data directory (made if missing); required"},
    {"listen", TEXT(listen), "127.0.0.1", "HOST", "numeric address the four ports are opened on"},
    {"advertise", TEXT(advertise), "", "HOST",
     "numeric address others reach this node by (default: listen)"},
    {"base_port", NUMBER(base_port), "7700", "PORT",
     "REST; bindings, S3 and peers are the next three"},
    {"join", TEXT(join), "", "HOST:PORT,...", "join the cluster of these nodes (their peer ports)"},
    {"token", TEXT(token), "", "TOKEN",
     "join token, printed at the first start or by `bindery token join`"},
    {"replaces", NUMBER(replaces), "0", "NODE",
     "when joining: take the place of this dead node, so that nothing else moves"},
    {"zone", TEXT(zone), "", "LABEL", "failure domain: replicas of a shard go to different ones"},
    {"memory", BYTES(memory), "", "SIZE",
     "bytes for caches and buffers (default: a quarter of RAM)"},
    {"shards", NUMBER(shards), "64", "N",
     "first start only: shards per kind of group, a power of two"},
    {"replicas", NUMBER(replicas), "3", "N",
     "first start only: replicas wanted per shard: 1, 3 or 5"},
    {"tls_cert", TEXT(tls_cert), "", "FILE",
     "PEM certificate chain of the client ports (default: cluster CA)"},
    {"tls_key", TEXT(tls_key), "", "FILE", "PEM key of tls_cert"},
    {"s3_domain", TEXT(s3_domain), "", "NAME",
     "S3 buckets are also reached as BUCKET.NAME (virtual-host style)"},
    {"insecure", BOOL(insecure), "false", "",
     "client ports without TLS; refused on addresses but loopback"},
    {"moves", NUMBER(moves), "4", "N",
     "groups that a node exchanges replicas of at a time, when nodes come and go: 1 to 1024"},
    {"move_rate", BYTES(move_rate), "64MiB", "BYTES",
     "bytes a second that a node takes in of groups it gets or catches up with: at least 1MiB; 0: "
     "no "
     "bound"},
    {"scrub_s", NUMBER(scrub_s), "2592000", "S",
     "every table file of the state is read and verified once in so many seconds; 0: never"},
    {"heartbeat_ms", NUMBER(heartbeat_ms), "200", "MS", "Raft heartbeat interval, at least 2"},
    {"election_ms", NUMBER(election_ms), "1000", "MS",
     "Raft election timeout, at least 3 heartbeats"},
    {"connections_max", NUMBER(connections_max), "0", "N",
     "connections of each client port (0: by memory, at most 16384)"},
    {"connections_per_address", NUMBER(connections_per_address), "4096", "N",
     "connections of one client address to each port"},
    {"head_timeout_ms", NUMBER(head_timeout_ms), "30000", "MS",
     "a request's head must be there so long after its first byte"},
    {"body_timeout_ms", NUMBER(body_timeout_ms), "30000", "MS",
     "1 KiB of a body must come in this time while it is waited for"},
    {"idle_timeout_ms", NUMBER(idle_timeout_ms), "900000", "MS",
     "connections without a request are closed after this"},
    {"kv_namespaces_max", NUMBER(kv_namespaces_max), "1000", "N",
     "KV namespaces there may be: up to 16384"},
    {"kv_bulk_pairs_max", NUMBER(kv_bulk_pairs_max), "10000", "N",
     "pairs of one KV bulk put, keys of one bulk delete"},
    {"kv_bulk_bytes_max", BYTES(kv_bulk_bytes_max), "100000000", "SIZE",
     "bytes of the body of one KV bulk put or delete"},
    {"kv_bulk_get_max", NUMBER(kv_bulk_get_max), "100", "N", "keys of one KV bulk get"},
    {"kv_ttl_min_s", NUMBER(kv_ttl_min_s), "60", "S", "shortest time to live of a KV key"},
    {"kv_horizon_s", NUMBER(kv_horizon_s), "86400", "S",
     "deletions and expiries of KV are remembered for so long, as far as every replica has them: "
     "5 to 31536000, the same on all nodes"},
    {"kv_absent_s", NUMBER(kv_absent_s), "604800", "S",
     "a silent replica of KV holds that back for so long; one that comes back later forgets what "
     "it "
     "had from before, and fills again: kv_horizon_s to 31536000, the same on all nodes"},
    {"d1_databases_max", NUMBER(d1_databases_max), "50000", "N",
     "D1 databases there may be: up to 1000000"},
    {"d1_retention_s", NUMBER(d1_retention_s), "2592000", "S",
     "how long each version of a D1 database can be restored and forked; 0: for ever"},
    {"secrets_file", TEXT(secrets_file), "", "FILE",
     "first start only: write the new cluster's tokens and keys here (mode 600), not to stdout"},
    {"log_level", TEXT(log_level), "info", "LEVEL", "debug, info, warn or error"},
    {0},
};

const struct bnd_setting *bnd_settings_table(void) {
    return settings;
}

static void spell(const char *name, char *out, size_t cap, char joiner, bool upper) {
    size_t i = 0;
    for (; name[i] != 0 && i + 1 < cap; i++) {
        char c = name[i] == '_' ? joiner : name[i];
        out[i] = upper ? (char)toupper((unsigned char)c) : c;
    }
    out[i] = 0;
}

void bnd_setting_flag(const struct bnd_setting *setting, char *out, size_t cap) {
    spell(setting->name, out, cap, '-', false);
}

void bnd_setting_variable(const struct bnd_setting *setting, char *out, size_t cap) {
    BND_ASSERT(cap > ENV_PREFIX_LEN);
    memcpy(out, "BINDERY_", ENV_PREFIX_LEN);
    spell(setting->name, out + ENV_PREFIX_LEN, cap - ENV_PREFIX_LEN, '_', true);
}

/* ---- names
 * ---------------------------------------------------------------------------------------------- */

static size_t min3(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein distance; names longer than NAME_MAX_LEN are far from everything. */
static size_t distance(const char *a, const char *b) {
    size_t la = strlen(a);
    size_t lb = strlen(b);
    if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN) {
        return SIZE_MAX;
    }
    size_t row[NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= lb; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t next = min3(row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = row[j];
            row[j] = next;
        }
    }
    return row[lb];
}

const char *bnd_nearest_name(const char *name, const char *const *known) {
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; known[i] != NULL; i++) {
        size_t d = distance(name, known[i]);
        if (d < least) {
            least = d;
            nearest = known[i];
        }
    }
    return least <= strlen(name) / 3 + 1 ? nearest : NULL;
}

static int unknown(const char *source, const char *name, struct bnd_error *err) {
    const char *known[sizeof settings / sizeof settings[0]];
    size_t count = 0;
    for (; settings[count].name != NULL; count++) {
        known[count] = settings[count].name;
    }
    known[count] = NULL;
    const char *nearest = bnd_nearest_name(name, known);
    if (nearest == NULL) {
        return BND_FAIL(err, INVALID, "%s: unknown setting %s", source, name);
    }
    return BND_FAIL(err, INVALID, "%s: unknown setting %s; did you mean %s?", source, name,
                    nearest);
}

static const struct bnd_setting *find(const char *name) {
    for (const struct bnd_setting *setting = settings; setting->name != NULL; setting++) {
        if (strcmp(setting->name, name) == 0) {
            return setting;
        }
    }
    return NULL;
}

/* ---- values
 * --------------------------------------------------------------------------------------------- */

int bnd_parse_bytes(const char *text, uint64_t *out) {
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"", 0},     {"b", 0},  {"k", 10},   {"kib", 10}, {"m", 20},
                 {"mib", 20}, {"g", 30}, {"gib", 30}, {"t", 40},   {"tib", 40}};
    if (!isdigit((unsigned char)text[0])) {
        return BND_INVALID;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    for (size_t i = 0; errno == 0 && i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(end, units[i].unit) == 0) {
            if (number > UINT64_MAX >> units[i].shift) {
                return BND_INVALID;
            }
            *out = (uint64_t)number << units[i].shift;
            return 0;
        }
    }
    return BND_INVALID;
}

static int parse_number(const char *text, uint64_t *out) {
    char *end = NULL;
    errno = 0;
    if (!isdigit((unsigned char)text[0])) {
        return BND_INVALID;
    }
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != 0) {
        return BND_INVALID;
    }
    *out = number;
    return 0;
}

static int set(struct bnd_config *config, const char *source, const struct bnd_setting *setting,
               const char *value, struct bnd_error *err) {
    char *field = (char *)config + setting->offset;
    switch (setting->type) {
    case BND_SETTING_TEXT:
        if (strlen(value) >= BND_CONFIG_TEXT_MAX) {
            return BND_FAIL(err, INVALID, "%s: %s is longer than %d bytes", source, setting->name,
                            BND_CONFIG_TEXT_MAX - 1);
        }
        memcpy(field, value, strlen(value) + 1);
        return 0;
    case BND_SETTING_NUMBER:
        if (parse_number(value, (uint64_t *)(void *)field) != 0) {
            return BND_FAIL(err, INVALID, "%s: %s must be a whole number, not '%.64s'", source,
                            setting->name, value);
        }
        return 0;
    case BND_SETTING_BYTES:
        if (bnd_parse_bytes(value, (uint64_t *)(void *)field) != 0) {
            return BND_FAIL(err, INVALID, "%s: %s must be a size such as 512MiB, not '%.64s'",
                            source, setting->name, value);
        }
        return 0;
    case BND_SETTING_BOOL:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
            return BND_FAIL(err, INVALID, "%s: %s must be true or false, not '%.64s'", source,
                            setting->name, value);
        }
        *(bool *)(void *)field = value[0] == 't';
        return 0;
    }
    BND_UNREACHABLE("setting type");
}

/* ---- sources
 * -------------------------------------------------------------------------------------------- */

static void set_defaults(struct bnd_config *config) {
    memset(config, 0, sizeof *config);
    for (const struct bnd_setting *setting = settings; setting->name != NULL; setting++) {
        if (setting->type != BND_SETTING_BYTES || setting->fallback[0] != 0) {
            int rv = set(config, "default", setting, setting->fallback, NULL);
            BND_ASSERT(rv == 0);
        }
    }
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    config->memory =
        pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes / 4 : 1u << 30;
}

struct file_walk {
    struct bnd_config *config;
    const char *path;
    struct bnd_error *err;
    int rv;
};

static int set_from_file(void *data, const char *key, const char *value) {
    struct file_walk *walk = data;
    const struct bnd_setting *setting = find(key);
    walk->rv = setting == NULL ? unknown(walk->path, key, walk->err)
                               : set(walk->config, walk->path, setting, value, walk->err);
    return walk->rv != 0 ? 1 : 0;
}

static int load_file(struct bnd_config *config, const char *path, struct bnd_error *err) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return bnd_error_set(err, bnd_code_from_errno(errno), "%s: %s", path, strerror(errno));
    }
    BND_AUTO char *text = bnd_alloc(FILE_BYTES_MAX + 1);
    size_t len = text == NULL ? 0 : fread(text, 1, FILE_BYTES_MAX + 1, file);
    (void)fclose(file); /* only read from */
    if (text == NULL) {
        return BND_FAIL(err, NOMEM, "%s: no memory to read it", path);
    }
    if (len > FILE_BYTES_MAX) {
        return BND_FAIL(err, TOOBIG, "%s: larger than %d bytes", path, FILE_BYTES_MAX);
    }
    struct file_walk walk = {.config = config, .path = path, .err = err};
    char message[200] = "";
    int rv = node_toml_each(text, len, set_from_file, &walk, message, sizeof message);
    if (rv == -1) {
        return BND_FAIL(err, INVALID, "%s: %s", path, message);
    }
    return walk.rv;
}

static int load_environment(struct bnd_config *config, char *const *environment,
                            struct bnd_error *err) {
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        const char *equals = strchr(environment[i], '=');
        if (equals == NULL || strncmp(environment[i], "BINDERY_", ENV_PREFIX_LEN) != 0) {
            continue;
        }
        char name[NAME_MAX_LEN + 1];
        size_t len = (size_t)(equals - environment[i]) - ENV_PREFIX_LEN;
        if (len > NAME_MAX_LEN) {
            return BND_FAIL(err, INVALID, "environment: unknown setting %.80s", environment[i]);
        }
        for (size_t j = 0; j < len; j++) {
            name[j] = (char)tolower((unsigned char)environment[i][ENV_PREFIX_LEN + j]);
        }
        name[len] = 0;
        if (strcmp(name, "url") == 0 || strcmp(name, "api_token") == 0 || strcmp(name, "ca") == 0) {
            continue; /* the client commands': where the cluster is, how it is known, who asks */
        }
        const struct bnd_setting *setting = find(name);
        int rv = setting == NULL ? unknown("environment", name, err)
                                 : set(config, "environment", setting, equals + 1, err);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int load_flags(struct bnd_config *config, const struct bnd_config_sources *sources,
                      struct bnd_error *err) {
    for (size_t i = 0; i < sources->flags_count; i++) {
        char name[NAME_MAX_LEN + 1];
        size_t len = 0;
        for (const char *c = sources->flags[i].name; *c != 0 && len < NAME_MAX_LEN; c++) {
            name[len++] = *c == '-' ? '_' : *c;
        }
        name[len] = 0;
        const struct bnd_setting *setting = find(name);
        int rv = setting == NULL ? unknown("flags", name, err)
                                 : set(config, "flags", setting, sources->flags[i].value, err);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

/* ---- checks of values against each other
 * ---------------------------------------------------------------- */

static bool loopback(const char *host) {
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "[::1]") == 0;
}

/* A name in DNS's letters, digits and hyphens, and no numeric address: its buckets could not be
 * told from it. */
static int check_s3_domain(const char *domain, struct bnd_error *err) {
    size_t label = 0;
    bool has_letter = false;
    bool good = domain[0] != '-' && strlen(domain) <= S3_DOMAIN_MAX;
    for (const char *c = domain; *c != 0 && good; c++) {
        bool letter = *c >= 'a' && *c <= 'z';
        has_letter = has_letter || letter;
        if (*c == '.') {
            good = label > 0 && c[-1] != '-' && c[1] != '-';
            label = 0;
        } else {
            good = (letter || isdigit((unsigned char)*c) || *c == '-') && ++label <= DNS_LABEL_MAX;
        }
    }
    good = good && label > 0 && has_letter && domain[strlen(domain) - 1] != '-';
    if (domain[0] != 0 && !good) {
        return BND_FAIL(err, INVALID,
                        "s3_domain must be a DNS name in lower case such as s3.example.com, not "
                        "'%.64s'",
                        domain);
    }
    return 0;
}

static int check_kv_horizon(const struct bnd_config *config, struct bnd_error *err) {
    if (config->kv_horizon_s < KV_HORIZON_S_MIN || config->kv_horizon_s > KV_HORIZON_S_MAX) {
        return BND_FAIL(err, INVALID, "kv_horizon_s must be %llu to %llu, not %llu",
                        (unsigned long long)KV_HORIZON_S_MIN, (unsigned long long)KV_HORIZON_S_MAX,
                        (unsigned long long)config->kv_horizon_s);
    }
    if (config->kv_absent_s < config->kv_horizon_s || config->kv_absent_s > KV_HORIZON_S_MAX) {
        return BND_FAIL(err, INVALID, "kv_absent_s must be kv_horizon_s (%llu) to %llu, not %llu",
                        (unsigned long long)config->kv_horizon_s,
                        (unsigned long long)KV_HORIZON_S_MAX,
                        (unsigned long long)config->kv_absent_s);
    }
    return 0;
}

static int check_kv(const struct bnd_config *config, struct bnd_error *err) {
    if (config->kv_namespaces_max == 0 || config->kv_namespaces_max > 16384) {
        return BND_FAIL(err, INVALID, "kv_namespaces_max must be 1 to 16384, not %llu",
                        (unsigned long long)config->kv_namespaces_max);
    }
    if (config->kv_bulk_bytes_max > KV_BULK_BYTES_MAX ||
        config->kv_bulk_get_max > KV_BULK_GET_MAX) {
        return BND_FAIL(err, INVALID,
                        "kv_bulk_bytes_max must be at most 1GiB and kv_bulk_get_max at most %llu",
                        (unsigned long long)KV_BULK_GET_MAX);
    }
    if (config->kv_bulk_pairs_max == 0 || config->kv_bulk_bytes_max == 0 ||
        config->kv_bulk_get_max == 0 || config->kv_ttl_min_s == 0) {
        return BND_FAIL(err, INVALID,
                        "kv_bulk_pairs_max, kv_bulk_bytes_max, kv_bulk_get_max and kv_ttl_min_s "
                        "must not be 0");
    }
    return check_kv_horizon(config, err);
}

static int check_d1(const struct bnd_config *config, struct bnd_error *err) {
    if (config->d1_databases_max == 0 || config->d1_databases_max > D1_DATABASES_MAX) {
        return BND_FAIL(err, INVALID, "d1_databases_max must be 1 to %llu, not %llu",
                        (unsigned long long)D1_DATABASES_MAX,
                        (unsigned long long)config->d1_databases_max);
    }
    if (config->d1_retention_s > D1_RETENTION_S_MAX) {
        return BND_FAIL(err, INVALID, "d1_retention_s must be at most %llu, not %llu",
                        (unsigned long long)D1_RETENTION_S_MAX,
                        (unsigned long long)config->d1_retention_s);
    }
    return 0;
}

static int check(const struct bnd_config *config, struct bnd_error *err) {
    if (config->base_port == 0 || config->base_port > 65535 - 3) {
        return BND_FAIL(err, INVALID, "base_port must be 1 to 65532, not %llu",
                        (unsigned long long)config->base_port);
    }
    if (config->shards == 0 || config->shards > 65536 ||
        (config->shards & (config->shards - 1)) != 0) {
        return BND_FAIL(err, INVALID, "shards must be a power of two up to 65536, not %llu",
                        (unsigned long long)config->shards);
    }
    if (config->replicas != 1 && config->replicas != 3 && config->replicas != 5) {
        return BND_FAIL(err, INVALID, "replicas must be 1, 3 or 5, not %llu",
                        (unsigned long long)config->replicas);
    }
    if (config->moves == 0 || config->moves > 1024) {
        return BND_FAIL(err, INVALID, "moves must be 1 to 1024, not %llu",
                        (unsigned long long)config->moves);
    }
    if (config->move_rate != 0 && config->move_rate < MOVE_RATE_MIN) {
        return BND_FAIL(err, INVALID, "move_rate must be 0 or at least 1MiB, not %llu",
                        (unsigned long long)config->move_rate);
    }
    if (config->scrub_s > SCRUB_S_MAX) {
        return BND_FAIL(err, INVALID, "scrub_s must be at most %llu, not %llu",
                        (unsigned long long)SCRUB_S_MAX, (unsigned long long)config->scrub_s);
    }
    if (config->heartbeat_ms < 2 || config->election_ms < 3 * config->heartbeat_ms ||
        config->election_ms > 60000) {
        return BND_FAIL(err, INVALID, "election_ms must be 3 x heartbeat_ms (at least 2) to 60000");
    }
    if (config->connections_per_address == 0 || config->head_timeout_ms == 0 ||
        config->body_timeout_ms == 0 || config->idle_timeout_ms == 0) {
        return BND_FAIL(err, INVALID,
                        "connections_per_address, head_timeout_ms, body_timeout_ms and "
                        "idle_timeout_ms must be at least 1");
    }
    if (config->insecure && !loopback(config->listen)) {
        return BND_FAIL(err, INVALID,
                        "insecure is refused on %s: only loopback addresses may be without TLS",
                        config->listen);
    }
    if ((config->tls_cert[0] == 0) != (config->tls_key[0] == 0)) {
        return BND_FAIL(err, INVALID, "tls_cert and tls_key must be given together");
    }
    if (config->join[0] != 0 && config->token[0] == 0) {
        return BND_FAIL(err, INVALID,
                        "join needs a token: `bindery token join` on a member prints one");
    }
    int rv = check_s3_domain(config->s3_domain, err);
    rv = rv != 0 ? rv : check_kv(config, err);
    rv = rv != 0 ? rv : check_d1(config, err);
    if (rv != 0) {
        return rv;
    }
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(config->log_level, levels[i]) == 0) {
            return 0;
        }
    }
    return BND_FAIL(err, INVALID, "log_level must be debug, info, warn or error, not '%.32s'",
                    config->log_level);
}

int bnd_config_load(const struct bnd_config_sources *sources, struct bnd_config *out,
                    struct bnd_error *err) {
    struct bnd_config config;
    set_defaults(&config);
    int rv = sources->file == NULL ? 0 : load_file(&config, sources->file, err);
    rv = rv != 0 ? rv : load_environment(&config, sources->environment, err);
    rv = rv != 0 ? rv : load_flags(&config, sources, err);
    rv = rv != 0 ? rv : check(&config, err);
    if (rv == 0) {
        *out = config;
    }
    return rv;
}

void bnd_config_print(const struct bnd_config *config, struct bnd_buf *out) {
    for (const struct bnd_setting *setting = settings; setting->name != NULL; setting++) {
        const char *field = (const char *)config + setting->offset;
        switch (setting->type) {
        case BND_SETTING_TEXT:
            bnd_buf_printf(out, "%s = \"%s\"\n", setting->name,
                           strcmp(setting->name, "token") == 0 && field[0] != 0 ? "(secret)"
                                                                                : field);
            break;
        case BND_SETTING_NUMBER:
        case BND_SETTING_BYTES:
            bnd_buf_printf(out, "%s = %llu\n", setting->name,
                           (unsigned long long)*(const uint64_t *)(const void *)field);
            break;
        case BND_SETTING_BOOL:
            bnd_buf_printf(out, "%s = %s\n", setting->name,
                           *(const bool *)(const void *)field ? "true" : "false");
            break;
        }
    }
}
