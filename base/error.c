/* Errors: the code table and its messages. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *bnd_code_text(int code) {
    switch (code) {
#define X(name, value, text, class)                                                                \
    case value:                                                                                    \
        return text;
        BND_CODES(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *bnd_code_name(int code) {
    switch (code) {
#define X(name, value, text, class)                                                                \
    case value:                                                                                    \
        return #name;
        BND_CODES(X)
#undef X
    default:
        return "?";
    }
}

enum bnd_class bnd_code_class(int code) {
    switch (code) {
#define X(name, value, text, class)                                                                \
    case value:                                                                                    \
        return BND_CLASS_##class;
        BND_CODES(X)
#undef X
    default:
        return BND_CLASS_BUG;
    }
}

int bnd_code_from_errno(int error) {
    switch (error) {
    case ENOMEM:
        return BND_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return BND_NOSPACE;
    case ENOENT:
        return BND_NOTFOUND;
    case EEXIST:
        return BND_EXISTS;
    case EACCES:
    case EPERM:
        return BND_DENIED;
    case EAGAIN:
    case EBUSY:
        return BND_BUSY;
    case ETIMEDOUT:
        return BND_TIMEOUT;
    case ECANCELED:
        return BND_CANCELED;
    case ECONNRESET:
    case ECONNREFUSED:
    case EPIPE:
    case ENOTCONN:
        return BND_CLOSED;
    case EINVAL:
        return BND_INVALID;
    default:
        return BND_IO;
    }
}

int bnd_error_set(struct bnd_error *err, int code, const char *fmt, ...) {
    if (err == NULL) {
        return code;
    }
    err->code = code;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->message, sizeof err->message, fmt, args); /* a cut message is still one */
    va_end(args);
    return code;
}

/* Puts text at `used`, cut to what fits. */
static void append_cut(char *message, size_t used, const char *text) {
    size_t room = BND_ERROR_MESSAGE_MAX - 1 - used;
    size_t len = strlen(text) < room ? strlen(text) : room;
    memcpy(message + used, text, len);
    message[used + len] = 0;
}

int bnd_error_wrap(struct bnd_error *err, int code, const char *fmt, ...) {
    if (err == NULL) {
        return code;
    }
    char inner[BND_ERROR_MESSAGE_MAX];
    memcpy(inner, err->message, sizeof inner);
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->message) {
        append_cut(err->message, (size_t)used, ": ");
        append_cut(err->message, strlen(err->message), inner);
    }
    err->code = code;
    return code;
}
