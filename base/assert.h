/* Asserts that stay on in release. Bytes from disk or network are never asserted: they are
 * BND_CORRUPT. */
#ifndef BND_BASE_ASSERT_H
#define BND_BASE_ASSERT_H

/* Prints "file:line: function: assertion `text' failed" to stderr and aborts. */
_Noreturn void bnd_assert_failed(const char *text, const char *file, int line,
                                 const char *function);

#define BND_ASSERT(condition)                                                                      \
    ((condition) ? (void)0 : bnd_assert_failed(#condition, __FILE__, __LINE__, __func__))

/* For code that cannot be reached while the invariants hold. */
#define BND_UNREACHABLE(text) bnd_assert_failed(text, __FILE__, __LINE__, __func__)

/* Expensive checks: debug builds and the simulator only. */
#ifdef BND_DEBUG
#define BND_CHECK_SLOW(condition) BND_ASSERT(condition)
#else
#define BND_CHECK_SLOW(condition) ((void)0)
#endif

#endif
