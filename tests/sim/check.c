#include "tests/sim/check.h"

#include <stdarg.h>
#include <stdio.h>

void bnd_sim_violation(struct bnd_sim_check *check, const char *fmt, ...) {
    if (check->violations++ == 0) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(check->first, sizeof check->first, fmt, args); /* a cut message is still one */
        va_end(args);
    }
}
