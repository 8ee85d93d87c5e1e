#include "base/env.h"

#include <stdarg.h>
#include <stdio.h>

void bnd_log(struct bnd_env *env, enum bnd_log_level level, const char *component, const char *fmt,
             ...) {
    char line[1001];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args); /* a cut line is still one */
    va_end(args);
    env->ops->log(env, level, component, line);
}
