/* tsm_compat.h - every trick that depends on the version of CPython, and nothing else.
 *
 * Tried on 3.13 with and without the GIL. 3.14 and later are guarded but untested: an
 * unknown version takes the portable branch or fails to compile here, never silently
 * somewhere else.
 *
 *   trick                          3.13t              3.13 with GIL     3.14 and later
 *   immortal singletons            fields written     fields written    PyUnstable_SetImmortal (3.15) or skipped
 *   pending interpreter work       eval_breaker bits  eval_breaker bits eval_breaker bits (layout as 3.13)
 *   is a thread attached           tstate->state      unknown           tstate->state
 *   probe: does it run Python      bit 6, a no-op     unavailable       bit 6
 */
#ifndef TSM_COMPAT_H
#define TSM_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#if PY_VERSION_HEX < 0x030D0000
#error "transom needs CPython 3.13 or newer"
#endif

/* For objects made once and never freed; no other thread knows them yet. */
static inline void
tsm_immortalize(PyObject* op)
{
#if PY_VERSION_HEX >= 0x030F0000
    (void)PyUnstable_SetImmortal(op);
#elif PY_VERSION_HEX >= 0x030E0000
    (void)op; /* touched by all threads: slower there, still right */
#elif defined(Py_GIL_DISABLED)
    if (PyObject_IS_GC(op) && PyObject_GC_IsTracked(op)) {
        PyObject_GC_UnTrack(op);
    }
    op->ob_tid = 0;
    op->ob_ref_local = UINT32_MAX;
    op->ob_ref_shared = 0;
#else
    op->ob_refcnt = _Py_IMMORTAL_REFCNT;
#endif
}

/* The eight lowest bits ask the thread to do something at its next safe point; the bits
 * above hold the instrumentation version. Read by other threads, too. */
static inline bool
tsm_eval_pending(PyThreadState* ts)
{
    return (__atomic_load_n(&ts->eval_breaker, __ATOMIC_RELAXED) & 0xff) != 0;
}

#define TSM_BREAKER_GC (1u << 4)
#define TSM_BREAKER_MERGE (1u << 6) /* merge queued reference counts */

/* Is ts detached (waiting, sleeping, in I/O)? Only the free-threaded build can tell. */
static inline bool
tsm_is_detached(PyThreadState* ts)
{
#ifdef Py_GIL_DISABLED
    return __atomic_load_n(&ts->state, __ATOMIC_RELAXED) != 1; /* _Py_THREAD_ATTACHED */
#else
    (void)ts;
    return false;
#endif
}

/* Does ts execute Python code? Ask it to merge reference counts, which is harmless when
 * there are none; only code in the evaluation loop answers by clearing the bit. */
static inline void
tsm_probe_set(PyThreadState* ts)
{
#ifdef Py_GIL_DISABLED
    __atomic_fetch_or(&ts->eval_breaker, TSM_BREAKER_MERGE, __ATOMIC_RELAXED);
#else
    (void)ts;
#endif
}

static inline bool
tsm_probe_answered(PyThreadState* ts)
{
#ifdef Py_GIL_DISABLED
    return (__atomic_load_n(&ts->eval_breaker, __ATOMIC_RELAXED) & TSM_BREAKER_MERGE) == 0;
#else
    (void)ts;
    return false;
#endif
}

/* op was made by this thread and will be dropped by another one: the thread's own count is
 * moved into the shared one. Else the other thread would queue op for this one to free,
 * which may sleep for long. */
static inline void
tsm_disown(PyObject* op)
{
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030E0000
    uint32_t local = op->ob_ref_local;
    Py_ssize_t seen = __atomic_load_n(&op->ob_ref_shared, __ATOMIC_RELAXED);
    if (op->ob_tid != _Py_ThreadId() || local == UINT32_MAX || (seen & 3) > 1) {
        return; /* not ours, immortal, queued or merged already */
    }
    /* The order of _Py_ExplicitMergeRefcount: nobody takes op for ours once it is merged. */
    __atomic_store_n(&op->ob_ref_local, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&op->ob_tid, 0, __ATOMIC_RELAXED);
    Py_ssize_t merged;
    do {
        merged = (((seen >> 2) + (Py_ssize_t)local) << 2) | 3;
    } while (!__atomic_compare_exchange_n(&op->ob_ref_shared, &seen, merged, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
#else
    (void)op;
#endif
}

/* No variable is set in this context (or there is none). */
static inline bool
tsm_context_is_empty(PyObject* context)
{
    return context == NULL || Py_TYPE(context)->tp_as_mapping->mp_length(context) == 0;
}

#endif
