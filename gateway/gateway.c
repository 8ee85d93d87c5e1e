/* The three client ports of a process, and the sweep of bucket deletions that nobody ended.
 *
 * Closing: the ports first (requests under way get their grace), the sweep's pass beside them, then
 * the services; on_closed last. */
#include "gateway/gateway.h"

#include "base/alloc.h"
#include "gateway/bucket_delete.h"
#include "gateway/front.h"
#include "gateway/rest.h"
#include "gateway/s3/s3.h"
#include "gateway/worker/worker.h"
#include "placement/shard.h"

#define PORTS 3
/* workerd reads the answer to a put only once it has written the whole body, and waits for ever if
 * the connection ends before. */
#define BINDINGS_DRAIN_BYTES (256u << 20)
#define MEMORY_DEFAULT (64u << 20)
#define SWEEP_EVERY_NS (30000 * BND_MS)

struct bnd_gateway {
    struct bnd_gateway_services services;
    struct bnd_audit audit;
    struct gateway_front front;
    struct bnd_http_server *servers[PORTS];
    struct bnd_rest_port watched[PORTS];
    size_t open; /* servers that are not closed yet */
    struct s3_service *s3;
    struct bnd_rest *rest;
    struct worker *worker;
    struct bnd_timer sweep_timer;
    struct bnd_bucket_sweep sweep;
    bool sweeping;
    bool closing;
    void (*on_closed)(void *data);
    void *data;
};

/* ---- life
 * ------------------------------------------------------------------------------------------------
 */

struct port {
    const char *name; /* in metrics */
    const char *address;
    const struct bnd_http_handler *handler;
    void *owner;
    const char *const *(*operations)(size_t *out_count); /* NULL: not told apart */
    size_t drain_bytes_max;                              /* 0: the server's default */
};

/* What a connection takes while nothing is under way on it. */
#define CONNECTION_BYTES (3u << 10)
#define CONNECTION_BYTES_TLS (48u << 10)
#define CONNECTIONS_MIN 256u
#define CONNECTIONS_MAX 16384u

static size_t memory_of(const struct bnd_gateway_config *config) {
    return config->memory_bytes == 0 ? MEMORY_DEFAULT : config->memory_bytes;
}

static struct bnd_http_limits limits_of(const struct bnd_gateway_config *config) {
    struct bnd_http_limits limits = config->limits;
    size_t memory = memory_of(config);
    limits.buffer_bytes_max = memory / PORTS;
    if (limits.connections_max == 0) {
        size_t fits =
            memory / PORTS / (config->tls == NULL ? CONNECTION_BYTES : CONNECTION_BYTES_TLS);
        limits.connections_max = fits < CONNECTIONS_MIN   ? CONNECTIONS_MIN
                                 : fits > CONNECTIONS_MAX ? CONNECTIONS_MAX
                                                          : fits;
    }
    return limits;
}

static int open_port(struct bnd_gateway *gateway, const struct bnd_gateway_config *config,
                     const struct port *port, struct bnd_error *err) {
    if (port->address == NULL) {
        return 0;
    }
    struct bnd_http_options options = {
        .env = gateway->services.env,
        .address = port->address,
        .tls = config->tls,
        .limits = limits_of(config),
        .handler = port->handler,
        .owner = port->owner,
    };
    if (port->drain_bytes_max > 0) {
        options.limits.drain_bytes_max = port->drain_bytes_max;
    }
    if (port->operations != NULL) {
        options.operations = port->operations(&options.operations_count);
    }
    int rv = bnd_http_server_create(&options, &gateway->servers[gateway->open], err);
    if (rv == 0) {
        gateway->watched[gateway->open] =
            (struct bnd_rest_port){.name = port->name, .server = gateway->servers[gateway->open]};
        gateway->open++;
        bnd_rest_watch(gateway->rest, gateway->watched, gateway->open);
    }
    return rv;
}

static void end_if_closed(struct bnd_gateway *gateway) {
    if (gateway->open > 0 || gateway->sweeping) {
        return;
    }
    s3_service_destroy(gateway->s3);
    bnd_rest_destroy(gateway->rest);
    worker_destroy(gateway->worker);
    void (*on_closed)(void *data) = gateway->on_closed;
    void *data = gateway->data;
    bnd_free(gateway);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

static void on_server_closed(void *data) {
    struct bnd_gateway *gateway = data;
    gateway->open--;
    end_if_closed(gateway);
}

/* ---- the sweep
 * -------------------------------------------------------------------------------------------- */

static void arm_sweep(struct bnd_gateway *gateway) {
    bnd_timer_start(gateway->services.env, &gateway->sweep_timer, SWEEP_EVERY_NS);
}

static void on_swept(struct bnd_bucket_sweep *sweep, int status) {
    struct bnd_gateway *gateway = sweep->data;
    gateway->sweeping = false;
    if (sweep->ended > 0) {
        bnd_log(gateway->services.env, BND_LOG_INFO, "gateway",
                "ended %llu overdue deletions of buckets", (unsigned long long)sweep->ended);
    }
    if (gateway->closing) {
        end_if_closed(gateway);
    } else {
        arm_sweep(gateway);
    }
}

/* One process sweeps: the node that leads group 0. */
static void on_sweep_timer(struct bnd_timer *timer) {
    struct bnd_gateway *gateway = timer->data;
    const struct bnd_gateway_services *services = &gateway->services;
    bool leads = services->host != NULL &&
                 bnd_shard_client_leader(services->client, BND_GID_SYSTEM) == services->self;
    gateway->sweep.cb = on_swept;
    gateway->sweep.data = gateway;
    gateway->sweeping = leads && bnd_bucket_delete_resume(services, &gateway->sweep) == 0;
    if (!gateway->sweeping) {
        arm_sweep(gateway);
    }
}

int bnd_gateway_create(const struct bnd_gateway_config *config, struct bnd_gateway **out,
                       struct bnd_error *err) {
    struct bnd_gateway *gateway = bnd_zalloc(sizeof *gateway);
    if (gateway == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for the client ports");
    }
    gateway->services = config->services;
    gateway->audit.env = config->services.env;
    gateway->services.audit = &gateway->audit;
    gateway->front = (struct gateway_front){
        .env = config->services.env,
        .catalog = config->services.catalog,
        .kv_limits = kv_limits_or_default(&config->kv_limits),
        .d1_limits = d1_limits_or_default(&config->d1_limits),
        .bytes_max = config->held_bytes == 0 ? MEMORY_DEFAULT : config->held_bytes,
    };
    gateway->services.front = &gateway->front;
    gateway->sweep_timer.cb = on_sweep_timer;
    gateway->sweep_timer.data = gateway;
    struct s3_options s3 = {.services = &gateway->services,
                            .domain = config->s3_domain,
                            .memory_bytes = config->memory_bytes / PORTS};
    int rv = s3_service_create(&s3, &gateway->s3);
    rv = rv != 0 ? rv : bnd_rest_create(&gateway->services, &gateway->rest);
    rv = rv != 0 ? rv : worker_create(&gateway->services, &gateway->worker);
    if (rv != 0) {
        rv = bnd_error_set(err, rv, "client ports: %s", bnd_code_text(rv));
    }
    const struct port ports[PORTS] = {
        {"rest", config->rest_address, bnd_rest_handler(), gateway->rest, bnd_rest_operation_names,
         0},
        {"bindings", config->bindings_address, worker_handler(), gateway->worker,
         worker_operation_names, BINDINGS_DRAIN_BYTES},
        {"s3", config->s3_address, s3_handler(), gateway->s3, s3_operation_names, 0},
    };
    for (size_t i = 0; i < PORTS && rv == 0; i++) {
        rv = open_port(gateway, config, &ports[i], err);
    }
    if (rv != 0) {
        bnd_gateway_close(gateway, 0, NULL, NULL);
        return rv;
    }
    arm_sweep(gateway);
    *out = gateway;
    return 0;
}

void bnd_gateway_set_tls(struct bnd_gateway *gateway, struct bnd_tls_context *tls) {
    for (size_t i = 0; i < gateway->open && !gateway->closing; i++) {
        bnd_http_server_set_tls(gateway->servers[i], tls);
    }
}

void bnd_gateway_close(struct bnd_gateway *gateway, uint64_t grace_ns,
                       void (*on_closed)(void *data), void *data) {
    if (gateway == NULL) {
        return;
    }
    gateway->on_closed = on_closed;
    gateway->data = data;
    gateway->closing = true;
    bnd_timer_stop(gateway->services.env, &gateway->sweep_timer);
    bnd_bucket_sweep_stop(&gateway->sweep);
    size_t count = gateway->open;
    if (count > 0) {
        bnd_rest_watch(gateway->rest, NULL, 0); /* /metrics is served while the others go */
    }
    for (size_t i = 0; i < count; i++) {
        bnd_http_server_close(gateway->servers[i], grace_ns, on_server_closed, gateway);
    }
    if (count == 0) {
        end_if_closed(gateway);
    }
}
