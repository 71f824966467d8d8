/* tsm_background.c - see tsm_background.h. */
#define _GNU_SOURCE
#include "base/tsm_background.h"

#include "base/tsm_os.h"

#include <errno.h>

#if defined(TSM_LINUX)
#include <sched.h>
#include <sys/types.h>
#endif

#if defined(TSM_LINUX) && defined(SCHED_IDLE)

static uint32_t a_refused; /* any thread: somebody could not come back */

static bool
set_policy(uint64_t tid, int policy)
{
    const struct sched_param none = {0};
    return sched_setscheduler((pid_t)tid, policy, &none) == 0;
}

bool
tsm_background_enter(uint64_t tid)
{
    if (tsm_load_relaxed(&a_refused) != 0) { /* relaxed: a fact alone. */
        return false;
    }
    /* Whoever runs a program under another policy has a reason. */
    return sched_getscheduler((pid_t)tid) == SCHED_OTHER && set_policy(tid, SCHED_IDLE);
}

void
tsm_background_leave(uint64_t tid)
{
    if (!set_policy(tid, SCHED_OTHER) && errno == EPERM) { /* that it might was found out before */
        tsm_store_relaxed(&a_refused, 1); /* relaxed: as above. */
    }
}

static void
try_it(void* arg)
{
    bool* possible = arg;
    uint64_t tid = tsm_gettid();
    *possible = tsm_background_enter(tid) && set_policy(tid, SCHED_OTHER);
}

bool
tsm_background_possible(void)
{
    static enum { UNKNOWN, NO, YES } known;
    if (known == UNKNOWN) {
        tsm_os_thread_t thread;
        bool possible = false;
        if (tsm_thread_start(try_it, &possible, 0, &thread) < 0) {
            return false;
        }
        tsm_thread_join(&thread);
        known = possible ? YES : NO;
    }
    return known == YES;
}

#else

bool
tsm_background_possible(void)
{
    return false;
}

bool
tsm_background_enter(uint64_t tid)
{
    (void)tid;
    return false;
}

void
tsm_background_leave(uint64_t tid)
{
    (void)tid;
}

#endif
