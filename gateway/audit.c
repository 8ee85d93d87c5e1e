#include "gateway/audit.h"

#define REFUSALS_MAX 50u
#define WINDOW_NS (1000 * BND_MS)

static void write_line(struct bnd_audit *audit, enum bnd_log_level level,
                       const struct bnd_audit_call *call) {
    bool known = call->who.len > 0;
    bnd_log(audit->env, level, "audit",
            "port=%s who=%.*s call=%.*s status=%u request=%s from=%s path=%.*s", call->port,
            known ? (int)call->who.len : 1, known ? (const char *)call->who.data : "-",
            (int)call->method.len, (const char *)call->method.data, call->status, call->id,
            call->from, (int)call->path.len, (const char *)call->path.data);
}

void bnd_audit_control(struct bnd_audit *audit, const struct bnd_audit_call *call) {
    audit->calls++;
    write_line(audit, BND_LOG_INFO, call);
}

void bnd_audit_refusal(struct bnd_audit *audit, const struct bnd_audit_call *call) {
    uint64_t now = bnd_now_ns(audit->env);
    audit->refusals++;
    if (now - audit->window_ns >= WINDOW_NS) {
        audit->window_ns = now;
        audit->lines = 0;
        if (audit->left_out > 0) {
            bnd_log(audit->env, BND_LOG_WARN, "audit", "%llu refusals were not written down",
                    (unsigned long long)audit->left_out);
            audit->left_out = 0;
        }
    }
    if (audit->lines == REFUSALS_MAX) {
        audit->left_out++;
        return;
    }
    audit->lines++;
    write_line(audit, BND_LOG_WARN, call);
}
