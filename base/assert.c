#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void bnd_assert_failed(const char *text, const char *file, int line,
                                 const char *function) {
    (void)fprintf(stderr, "%s:%d: %s: assertion `%s' failed\n", file, line, function, text);
    abort();
}
