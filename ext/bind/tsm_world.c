/* tsm_world.c - is this a good moment to stop the world?
 *
 * What it is      Stopping the world waits for every attached thread to reach the evaluation
 *                 loop or to detach. A thread in a native call does neither before that ends,
 *                 and all others stand still meanwhile. So whoever wants the world stopped asks
 *                 here first: all threads that are attached are probed (tsm_compat.h), and have
 *                 to answer within FRESH_NS.
 * Who is asked    workers, also those that an earlier node left behind; threads of event loops;
 *                 the main thread. Threads the program made itself cannot be known: their
 *                 state may go at any moment.
 * The window      A thread may answer and enter a native call before the world stops: for
 *                 FRESH_NS at most, and what the caller takes to begin. Where the machine is so
 *                 busy that answers do not come in time, those to the last question count, too,
 *                 after PATIENCE_NS: a window of STALE_NS, but never put off for ever.
 * Rejected        Bringing every worker to a gate of our own first: no window, but all wait for
 *                 the one that does not come, at each try.
 * Where tested    tests/semantics/test_new_code.py, tests/semantics/test_loop_watch.py
 * Source          docs/decisions/0004
 */
#include "base/tsm_clock.h"
#include "bind/tsm_aio.h"

#define NAP_NS 50000
#define NAPS 4
#define FRESH_NS 500000u
#define STALE_NS 10000000u
#define PATIENCE_NS 200000000u

static PyThreadState* main_thread; /* lives as long as the program; set by its own thread */

void
tsm_world_main_thread(PyThreadState* ts)
{
    tsm_store_release(&main_thread, ts); /* release: pairs with all_threads. */
}

typedef bool (*visit_t)(PyThreadState* ts);

static bool
visit_worker(tsm_worker_t* w, visit_t visit)
{
    tsm_mutex_lock(&w->lock); /* against thread_end */
    tsm_pyworker_t* py = tsm_load_acquire(&w->py); /* acquire: pairs with thread_begin. */
    bool yes = py == NULL || visit(py->ts);
    tsm_mutex_unlock(&w->lock);
    return yes;
}

/* True when visit says so of every thread. */
static bool
all_threads(visit_t visit)
{
    PyThreadState* ts = tsm_load_acquire(&main_thread); /* acquire: pairs with its store. */
    bool yes = ts == NULL || visit(ts);
    tsm_mutex_lock(&tsm_sched.pool_lock);
    for (tsm_worker_t* w = tsm_sched.all; w != NULL; w = w->all_next) {
        yes &= visit_worker(w, visit);
    }
    for (tsm_worker_t* w = tsm_sched.left; w != NULL; w = w->all_next) {
        yes &= visit_worker(w, visit);
    }
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    return tsm_io_all_threads(visit) && yes;
}

/* True: it is detached, and nothing need be asked. */
static bool
ask(PyThreadState* ts)
{
    if (!tsm_holds_world(ts)) {
        return true;
    }
    tsm_probe_set(ts);
    return false;
}

/* Detached, in the evaluation loop a moment ago, or attached since it was asked. */
static bool
has_answered(PyThreadState* ts)
{
    return !tsm_holds_world(ts) || tsm_probe_answered(ts);
}

static bool
all_answer(tsm_asker_t* asker, uint64_t now_ns)
{
    bool late = asker->asked_ns != 0 && now_ns - asker->asked_ns < STALE_NS;
    if (late && now_ns - asker->wanted_ns > PATIENCE_NS && all_threads(has_answered)) {
        return true;
    }
    asker->asked_ns = now_ns;
    if (all_threads(ask)) {
        return true;
    }
    tsm_event_t never = {0};
    for (int i = 0; i < NAPS; i++) {
        (void)tsm_event_wait(&never, NAP_NS);
        if (all_threads(has_answered)) {
            return tsm_now_ns() - now_ns < FRESH_NS;
        }
    }
    return false;
}

/* Detached; takes NAPS * NAP_NS, about. False: not now; ask again soon. */
bool
tsm_world_is_quick(tsm_asker_t* asker)
{
    uint64_t now_ns = tsm_now_ns();
    if (asker->wanted_ns == 0) {
        asker->wanted_ns = now_ns;
    }
    if (!all_answer(asker, now_ns)) {
        return false;
    }
    *asker = (tsm_asker_t){0};
    return true;
}
