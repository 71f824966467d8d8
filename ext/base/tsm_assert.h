/* tsm_assert.h - what happens when the core itself is wrong.
 *
 *   tsm_assert(cond)  debug builds only: on the hot path, and in validate() functions
 *   tsm_check(cond)   always: cheap, for states that would corrupt memory
 *   tsm_fatal(fmt)    print, let the hook add what it knows, abort
 * A wrong runtime must not limp: none of them returns when the condition fails. User
 * mistakes and lack of memory are never reported this way.
 */
#ifndef TSM_ASSERT_H
#define TSM_ASSERT_H

#include "base/tsm_config.h"

void tsm_fatal(const char* fmt, ...) TSM_NORETURN TSM_COLD TSM_PRINTF(1, 2);

/* Called once by the first tsm_fatal, after the message and before abort(). NULL: none.
 * Set it while single-threaded. */
void tsm_fatal_set_hook(void (*hook)(void));

#define tsm_check(cond)                                                         \
    do {                                                                        \
        if (TSM_UNLIKELY(!(cond))) {                                            \
            tsm_fatal("%s:%d: broken invariant: %s", __FILE__, __LINE__, #cond); \
        }                                                                       \
    } while (0)

#ifdef TSM_DEBUG
#define tsm_assert(cond) tsm_check(cond)
#else
#define tsm_assert(cond) ((void)sizeof((cond) ? 1 : 0))
#endif

#endif
