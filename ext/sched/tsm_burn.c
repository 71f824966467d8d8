/* tsm_burn.c - see tsm_burn.h. */
#include "sched/tsm_burn.h"

#include "base/tsm_background.h"
#include "base/tsm_clock.h"

#define LOOK_NS 100000000u /* so long it may get little */
#define LEAST_SHARE 8      /* one part in so many of a core */

void
tsm_burn_begin(tsm_worker_t* w)
{
    /* relaxed: fixed before the worker took its first slot; the others: only who sets it sees
     * it 0, and the monitor is told by the release below. */
    uint64_t tid = tsm_load_relaxed(&w->a_tid);
    if (!tsm_sched.background || tsm_load_relaxed(&w->a_background) != 0) {
        return;
    }
    tsm_store_relaxed(&w->a_back_since_ns, tsm_now_ns()); /* relaxed, both: as above. */
    tsm_store_relaxed(&w->a_back_cpu_ns, tsm_thread_cpu_ns(&w->os_thread));
    if (tsm_background_enter(tid)) {
        /* sc: pairs with tsm_burn_check; and stop closes the node, then brings all back: one sees the other. */
        tsm_store_sc(&w->a_background, 1);
        if (tsm_load_sc(&tsm_sched.a_closing) != 0) { /* sc: as above. */
            tsm_burn_end(w);
        }
    }
}

void
tsm_burn_end(tsm_worker_t* w)
{
    /* relaxed: own thread's, or written under a lock that this thread has taken since; a 0 of
     * the monitor may come late, and then it leaves twice. */
    if (TSM_UNLIKELY(tsm_load_relaxed(&w->a_background) != 0)) {
        tsm_store_relaxed(&w->a_background, 0); /* relaxed: as above. */
        tsm_background_leave(tsm_load_relaxed(&w->a_tid)); /* relaxed: as above. */
    }
}

void
tsm_burn_check(tsm_worker_t* w, uint64_t now_ns)
{
    if (TSM_LIKELY(tsm_load_acquire(&w->a_background) == 0)) { /* acquire: pairs with tsm_burn_begin. */
        return;
    }
    /* relaxed, both: of this stay or, when it has just ended and begun anew, mixed: then it may
     * come back too early. */
    uint64_t since_ns = tsm_load_relaxed(&w->a_back_since_ns);
    uint64_t had_ns = tsm_load_relaxed(&w->a_back_cpu_ns);
    if (now_ns < since_ns + LOOK_NS) {
        return;
    }
    uint64_t cpu_ns = tsm_thread_cpu_ns(&w->os_thread);
    if (cpu_ns - had_ns < (now_ns - since_ns) / LEAST_SHARE) {
        tsm_store_relaxed(&w->a_background, 0); /* relaxed: see tsm_burn_end. */
        tsm_background_leave(tsm_load_relaxed(&w->a_tid)); /* relaxed: as above. */
    } else {
        tsm_store_relaxed(&w->a_back_since_ns, now_ns); /* relaxed, both: as above. */
        tsm_store_relaxed(&w->a_back_cpu_ns, cpu_ns);
    }
}
