#include "tests/sim/check.h"

#include <stdarg.h>
#include <stdio.h>

static void keep(unsigned count, char *out, size_t bytes, const char *fmt, va_list args) {
    if (count == 0) {
        (void)vsnprintf(out, bytes, fmt, args); /* a cut message is still one */
    }
}

static void print(const struct bnd_sim_check *check, const char *fmt, va_list args) {
    if (check->print) {
        (void)fputs("violation: ", stderr);
        (void)vfprintf(stderr, fmt, args);
        (void)fputc('\n', stderr);
    }
}

void bnd_sim_violation(struct bnd_sim_check *check, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    keep(check->violations++, check->first, sizeof check->first, fmt, args);
    va_end(args);
    va_start(args, fmt);
    print(check, fmt, args);
    va_end(args);
}

void bnd_sim_divergence(struct bnd_sim_check *check, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    keep(check->divergences++, check->first_divergence, sizeof check->first_divergence, fmt, args);
    va_end(args);
    va_start(args, fmt);
    keep(check->violations++, check->first, sizeof check->first, fmt, args);
    va_end(args);
    va_start(args, fmt);
    print(check, fmt, args);
    va_end(args);
}
