/* tsm_config.h - compiler words every other file leans on; no code.
 *
 * Switches, all given with -D and tested with #ifdef (they are never defined as 0):
 *   TSM_DEBUG           tsm_assert and the validate() functions are compiled in
 *   TSM_MODEL           the atomics are the schedule explorer's (tests/model)
 *   TSM_FUTEX_PORTABLE  use the pthread stand-in for futexes although the system has
 *                       them
 * and, found here from the compiler: TSM_ASAN, TSM_TSAN, TSM_LINUX.
 */
#ifndef TSM_CONFIG_H
#define TSM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__linux__)
#define TSM_LINUX
#endif

#if defined(__SANITIZE_THREAD__)
#define TSM_TSAN
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TSM_ASAN
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) && !defined(TSM_TSAN)
#define TSM_TSAN
#endif
#if __has_feature(address_sanitizer) && !defined(TSM_ASAN)
#define TSM_ASAN
#endif
#endif

/* Fields written by different threads are kept this far apart. */
#define TSM_CACHELINE 64

#define TSM_LIKELY(x) __builtin_expect(!!(x), 1)
#define TSM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define TSM_NODISCARD __attribute__((warn_unused_result))
#define TSM_NORETURN __attribute__((noreturn))
#define TSM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define TSM_ALIGNED(n) __attribute__((aligned(n)))
#define TSM_UNUSED __attribute__((unused))

/* Hot functions live in headers; the cold half of each is out of line. */
#define TSM_INLINE static inline __attribute__((always_inline, unused))
#define TSM_COLD __attribute__((noinline, cold))

/* Thread-local words are read on every message: initial-exec is one %fs-relative
 * load. The static TLS block is small, so only pointers and counters go there. */
#if defined(__ELF__)
#define TSM_TLS __thread __attribute__((tls_model("initial-exec")))
#else
#define TSM_TLS __thread
#endif

#define TSM_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
