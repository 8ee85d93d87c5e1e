/* The log sink: one structured line per call. Nothing here fails: what cannot be written is lost.
 */
#include "engine/io/io_private.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct cursor {
    char *out;
    size_t len;
    size_t cap; /* without the end of the line */
};

static bool put(struct cursor *c, const char *text, size_t len) {
    if (c->cap - c->len < len) {
        return false;
    }
    memcpy(c->out + c->len, text, len);
    c->len += len;
    return true;
}

/* Stops at the first byte whose escape does not fit, so that none is cut in half. */
static void put_escaped(struct cursor *c, const char *text) {
    static const char hex[] = "0123456789abcdef";
    for (const char *p = text; *p != 0; p++) {
        unsigned char byte = (unsigned char)*p;
        char escape[4] = {'\\', *p, 0, 0};
        bool fits = true;
        if (byte == '"' || byte == '\\') {
            fits = put(c, escape, 2);
        } else if (byte == '\n') {
            fits = put(c, "\\n", 2);
        } else if (byte < 0x20 || byte == 0x7f) {
            escape[1] = 'x';
            escape[2] = hex[byte >> 4];
            escape[3] = hex[byte & 15];
            fits = put(c, escape, 4);
        } else {
            fits = put(c, p, 1);
        }
        if (!fits) {
            return;
        }
    }
}

static void put_word(struct cursor *c, const char *text) {
    bool plain = *text != 0;
    for (const char *p = text; *p != 0; p++) {
        unsigned char byte = (unsigned char)*p;
        plain = plain && byte > 0x20 && byte != '"' && byte != '\\' && byte != '=' && byte != 0x7f;
    }
    (void)(plain || put(c, "\"", 1)); /* cut lines are cut at the end only: the cap is far away */
    put_escaped(c, text);
    (void)(plain || put(c, "\"", 1));
}

static const char *level_text(enum bnd_log_level level) {
    switch (level) {
    case BND_LOG_DEBUG:
        return "debug";
    case BND_LOG_INFO:
        return "info";
    case BND_LOG_WARN:
        return "warn";
    case BND_LOG_ERROR:
        return "error";
    }
    return "unknown";
}

size_t bnd_io_log_line(char out[BND_IO_LOG_LINE_MAX], uint64_t wall_ms, enum bnd_log_level level,
                       const char *component, const char *line) {
    struct cursor c = {.out = out, .cap = BND_IO_LOG_LINE_MAX - 3};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    (void)gmtime_r(&seconds, &tm); /* fails only for years that do not fit an int: zeros then */
    int used = snprintf(out, c.cap, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03uZ level=%s component=",
                        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                        tm.tm_sec, (unsigned)(wall_ms % 1000), level_text(level));
    c.len = (size_t)used;
    size_t cap = c.cap;
    c.cap = c.len + 64; /* a component cannot crowd out the message */
    put_word(&c, component);
    c.cap = cap;
    (void)put(&c, " msg=\"", 6);
    put_escaped(&c, line);
    memcpy(out + c.len, "\"\n", 3);
    return c.len + 2;
}

void io_log(struct bnd_env *base, enum bnd_log_level level, const char *component,
            const char *line) {
    struct io_env *env = io_env_of(base);
    if (level < env->options.log_level) {
        return;
    }
    if (env->options.log != NULL) {
        env->options.log(env->options.log_data, level, component, line);
        return;
    }
    char out[BND_IO_LOG_LINE_MAX];
    size_t len = bnd_io_log_line(out, base->ops->wall_ms(base), level, component, line);
    /* One write, so that lines of several threads do not mix; nobody to tell if stderr is gone. */
    ssize_t written = write(STDERR_FILENO, out, len);
    (void)written;
}
