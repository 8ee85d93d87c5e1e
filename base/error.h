/* Errors: one table of codes, one way to make a message.
 *
 * A function returns 0 or a negative `enum bnd_code`. Where a message helps the caller it takes a
 * last parameter `struct bnd_error *err`, which may be NULL; outputs are untouched on failure. Only
 * BND_FAIL creates an error, so that code and message cannot drift apart; BND_WRAP adds context on
 * the way up. Libraries return errors and do not log; node/ and gateway/ log. */
#ifndef BND_BASE_ERROR_H
#define BND_BASE_ERROR_H

/* What a caller can do about a code. */
enum bnd_class {
    BND_CLASS_OK,
    BND_CLASS_RETRY,   /* certainly not executed; the same call may succeed later */
    BND_CLASS_UNKNOWN, /* may or may not have been executed */
    BND_CLASS_CALLER,  /* the request is wrong, or the thing is not there: retrying changes nothing
                        */
    BND_CLASS_FULL,    /* a bound was met; retry after space or time */
    BND_CLASS_CORRUPT, /* stored or received bytes are damaged */
    BND_CLASS_BUG,     /* the environment or the program is broken */
};

#define BND_CODES(X)                                                                               \
    X(OK, 0, "ok", OK)                                                                             \
    X(NOMEM, -1, "out of memory", FULL)                                                            \
    X(IO, -2, "input/output error", BUG)                                                           \
    X(NOSPACE, -3, "no space left on device", FULL)                                                \
    X(CORRUPT, -4, "data is corrupt", CORRUPT)                                                     \
    X(INVALID, -5, "invalid argument", CALLER)                                                     \
    X(NOTFOUND, -6, "not found", CALLER)                                                           \
    X(EXISTS, -7, "already exists", CALLER)                                                        \
    X(PRECONDITION, -8, "precondition failed", CALLER)                                             \
    X(BUSY, -9, "busy, try again", RETRY)                                                          \
    X(FULL, -10, "queue or table full", FULL)                                                      \
    X(TIMEOUT, -11, "timed out", UNKNOWN)                                                          \
    X(CANCELED, -12, "canceled", RETRY)                                                            \
    X(NOTLEADER, -13, "not the leader", RETRY)                                                     \
    X(UNKNOWN, -14, "outcome unknown", UNKNOWN)                                                    \
    X(EXPIRED, -15, "past its deadline", UNKNOWN)                                                  \
    X(DENIED, -16, "access denied", CALLER)                                                        \
    X(UNSUPPORTED, -17, "not supported", CALLER)                                                   \
    X(VERSION, -18, "format version not known", CALLER)                                            \
    X(CLOSED, -19, "connection closed", UNKNOWN)                                                   \
    X(TOOBIG, -20, "too large", CALLER)                                                            \
    X(EPOCH, -21, "shard map out of date", RETRY)                                                  \
    X(UNAVAILABLE, -22, "unavailable", RETRY)                                                      \
    X(NOTEMPTY, -23, "not empty", CALLER)                                                          \
    X(RANGE, -24, "range not satisfiable", CALLER)                                                 \
    X(TORN, -25, "incomplete data at the end", CORRUPT)                                            \
    X(LOCKED, -26, "locked by another process", CALLER)                                            \
    X(CONFLICT, -27, "made on an older state, run it again", RETRY)

enum bnd_code {
#define X(name, value, text, class) BND_##name = (value),
    BND_CODES(X)
#undef X
};

#define BND_ERROR_MESSAGE_MAX 256

struct bnd_error {
    int code;
    char message[BND_ERROR_MESSAGE_MAX]; /* always terminated; cut, never overrun */
};

/* Returns the constant text of a code, or "unknown error". */
const char *bnd_code_text(int code);

/* Returns the constant name of a code ("BUSY"), or "?". */
const char *bnd_code_name(int code);

/* Returns what a caller can do about a code; BND_CLASS_BUG for a number that is none. */
enum bnd_class bnd_code_class(int code);

/* Maps an errno value (positive) to a code: ENOSPC and EDQUOT to NOSPACE, ENOENT to NOTFOUND, ...
 * else IO. */
int bnd_code_from_errno(int error);

/* Sets *err (NULL allowed) and returns code. Use through BND_FAIL. */
int bnd_error_set(struct bnd_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<context>: " before the message of *err (NULL allowed), keeps its code and returns `code`.
 */
int bnd_error_wrap(struct bnd_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define BND_FAIL(err, code, ...) bnd_error_set((err), BND_##code, __VA_ARGS__)
#define BND_WRAP(err, rv, ...) bnd_error_wrap((err), (rv), __VA_ARGS__)

#endif
