/* The audit log: who asked the control plane for what and what came of it, and who was refused by
 * any port. One structured line each (component "audit"), on the node that was asked:
 *
 *   port=rest who=<token or access key id, or -> call=POST status=200 request=<id> from=<address>
 *   path=/bindery/v1/keys
 *
 * Never a secret, never a query. Refusals are limited to 50 lines a second, so
 * that bad credentials cannot fill a disk; how many were left out is said, and all are counted. */
#ifndef BND_GATEWAY_AUDIT_H
#define BND_GATEWAY_AUDIT_H

#include "base/bytes.h"
#include "base/env.h"

struct bnd_audit {
    struct bnd_env *env; /* borrowed; the rest is zero before first use */
    uint64_t calls;      /* of the control plane, all outcomes */
    uint64_t refusals;
    uint64_t window_ns;
    unsigned lines; /* of refusals in this window */
    uint64_t left_out;
};

struct bnd_audit_call {
    const char *port;     /* "rest", "s3" */
    struct bnd_slice who; /* id of the token or key; empty: nobody known */
    struct bnd_slice method;
    struct bnd_slice path; /* as received, without the query */
    const char *id;        /* of the request */
    const char *from;      /* "host:port" of the client */
    unsigned status;       /* of the answer; 0: cut off, the outcome is not known */
};

/* A call that changes the cluster, whatever came of it. */
void bnd_audit_control(struct bnd_audit *audit, const struct bnd_audit_call *call);
/* A call that was not allowed. */
void bnd_audit_refusal(struct bnd_audit *audit, const struct bnd_audit_call *call);

#endif
