/* tsm_compat.h - every trick that depends on the version of CPython, and nothing else.
 *
 * Tried on 3.13 with and without the GIL and on 3.14t. Later ones are guarded but untested:
 * an unknown version takes the portable branch or fails to compile here, never silently
 * somewhere else. What changed with 3.14, and why what is done there is right: decision 0021.
 *
 *   trick                          3.13t, 3.14t       with GIL          3.15 and later
 *   immortal singletons            fields written     fields written    PyUnstable_SetImmortal
 *   pending interpreter work       eval_breaker bits  eval_breaker bits eval_breaker bits (layout as 3.14)
 *   is a thread attached           tstate->state      unknown           tstate->state
 *   probe: does it run Python      bit 6, a no-op     unavailable       bit 6
 *   DISABLE of sys.monitoring      3.14t: only at good moments  at once  as 3.14
 *   giving up a thread's count     merged by hand     nothing to do     not done
 *   counts of one thread's objects ob_ref_* fields    ob_refcnt         nothing counts as private
 *   what all share                 seen by its counts globals of functions  seen by its counts
 *   locals of a returning frame    words of the frame words of the frame  none are found
 *   borrowed values of generators  tag bits (3.14)    tag bits (3.14)   no generator is looked into
 *   stack of another thread        words of frames, with the world stopped   none is found
 *   hiding bodies from collection  3.13t: untracked   not done          not done
 *   exactly n references           split count read   ob_refcnt         as 3.14
 *   has the class changed          tp_version_tag     tp_version_tag    tp_version_tag
 *   what classes have and hold     see tsm_compat_class.h
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
#elif defined(Py_GIL_DISABLED)
    if (PyObject_IS_GC(op) && PyObject_GC_IsTracked(op)) {
        PyObject_GC_UnTrack(op);
    }
    op->ob_tid = 0;
    op->ob_ref_local = UINT32_MAX;
    op->ob_ref_shared = 0;
#if PY_VERSION_HEX >= 0x030E0000
    op->ob_gc_bits |= 1u << 6; /* _PyGC_BITS_DEFERRED: the stack does not count it either */
#endif
#elif PY_VERSION_HEX >= 0x030E0000
    op->ob_flags = _Py_IMMORTAL_FLAGS;
    op->ob_refcnt = _Py_IMMORTAL_INITIAL_REFCNT;
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

/* Does the interpreter stop the world when a callback of sys.monitoring answers DISABLE? */
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
#define TSM_DISABLE_STOPS_WORLD 1
#else
#define TSM_DISABLE_STOPS_WORLD 0
#endif

/* Would whoever stops the world wait for ts? With a GIL nobody does. */
static inline bool
tsm_holds_world(PyThreadState* ts)
{
#ifdef Py_GIL_DISABLED
    return !tsm_is_detached(ts);
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

#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030F0000
#define TSM_CAN_DISOWN 1
#else
#define TSM_CAN_DISOWN 0
#endif

/* op was made by this thread and will be dropped by another one: the thread's own count is
 * moved into the shared one. Else the other thread would queue op for this one to free,
 * which may sleep for long. */
static inline void
tsm_disown(PyObject* op)
{
#if TSM_CAN_DISOWN
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

/* The number CPython gives this state of the class; 0: none at the moment. */
static inline uint32_t
tsm_type_tag(PyTypeObject* type)
{
    return __atomic_load_n(&type->tp_version_tag, __ATOMIC_RELAXED);
}

/* op has exactly n references, n > 0. false also where that takes more than one read. */
static inline bool
tsm_refs_are(PyObject* op, Py_ssize_t n)
{
#ifdef Py_GIL_DISABLED
    Py_ssize_t shared = __atomic_load_n(&op->ob_ref_shared, __ATOMIC_RELAXED);
    if (shared == 0) { /* ours alone: the local half is all, and only we change it */
        return _Py_IsOwnedByCurrentThread(op)
               && (Py_ssize_t)__atomic_load_n(&op->ob_ref_local, __ATOMIC_RELAXED) == n;
    }
    return shared == ((n << _Py_REF_SHARED_SHIFT) | 3); /* _Py_REF_MERGED: no local half */
#else
    return Py_REFCNT(op) == n;
#endif
}

/* No variable is set in this context (or there is none). */
static inline bool
tsm_context_is_empty(PyObject* context)
{
    return context == NULL || Py_TYPE(context)->tp_as_mapping->mp_length(context) == 0;
}

/* ---- reclaiming (tsm_reclaim.c) ---- */

#if PY_VERSION_HEX < 0x030F0000
#define TSM_CAN_RECLAIM 1
#else
#define TSM_CAN_RECLAIM 0
#endif

/* Made by the calling thread, mortal, and no other thread has ever left a trace in its
 * count that is still there: neither a reference nor the mark of a weak one. Its count is then
 * exact, and as long as this stays true no thread can take a reference out of a container without
 * that container's lock (_Py_TryIncrefCompare refuses a shared count of zero). By that lock it can,
 * and what it has taken and dropped again leaves no trace. */
static inline bool
tsm_rc_is_private(PyObject* op)
{
#if !TSM_CAN_RECLAIM
    (void)op;
    return false;
#elif defined(Py_GIL_DISABLED)
    return __atomic_load_n(&op->ob_tid, __ATOMIC_RELAXED) == _Py_ThreadId()
           && __atomic_load_n(&op->ob_ref_local, __ATOMIC_RELAXED) != UINT32_MAX
           && __atomic_load_n(&op->ob_ref_shared, __ATOMIC_ACQUIRE) == 0;
#else
    Py_ssize_t offset = Py_TYPE(op)->tp_weaklistoffset;
    return !_Py_IsImmortal(op)
           && (offset == 0 || *(PyObject**)(void*)((char*)op + offset) == NULL);
#endif
}

/* What a search from op had better not follow, or NULLs. With a GIL everything that is not
 * immortal looks private: the globals of a function would lead to all that lives, at the
 * end of every process that raised something. */
static inline void
tsm_shared_by_all(PyObject* op, PyObject* shared[2])
{
    shared[0] = shared[1] = NULL;
#ifndef Py_GIL_DISABLED
    if (PyFunction_Check(op)) {
        shared[0] = ((PyFunctionObject*)op)->func_globals;
        shared[1] = ((PyFunctionObject*)op)->func_builtins;
    }
#else
    (void)op;
#endif
}

/* The count of a private object. */
static inline Py_ssize_t
tsm_rc(PyObject* op)
{
#ifdef Py_GIL_DISABLED
    return (Py_ssize_t)__atomic_load_n(&op->ob_ref_local, __ATOMIC_RELAXED);
#else
    return Py_REFCNT(op);
#endif
}

/* The lock that critical sections take. The caller neither detaches nor blocks before it
 * unlocks. */
static inline bool
tsm_object_trylock(PyObject* op)
{
#ifdef Py_GIL_DISABLED
    uint8_t unlocked = 0;
    return __atomic_compare_exchange_n(&op->ob_mutex._bits, &unlocked, 1 /* _Py_LOCKED */, false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
#else
    (void)op;
    return true;
#endif
}

static inline void
tsm_object_unlock(PyObject* op)
{
#ifdef Py_GIL_DISABLED
    PyMutex_Unlock(&op->ob_mutex);
#else
    (void)op;
#endif
}

/* The dict an instance keeps its attributes in, once it was asked for; borrowed or NULL. */
static inline PyObject*
tsm_managed_dict(PyObject* op)
{
#if !TSM_CAN_RECLAIM
    (void)op;
    return NULL;
#else
    if ((Py_TYPE(op)->tp_flags & Py_TPFLAGS_MANAGED_DICT) == 0) {
        return NULL;
    }
#ifdef Py_GIL_DISABLED
    return __atomic_load_n((PyObject**)(void*)op - 1, __ATOMIC_ACQUIRE);
#else
    return ((PyObject**)(void*)op)[-3];
#endif
#endif
}

/* Words of a _PyInterpreterFrame; tsm_compat_inner.h checks them against the definition. */
enum {
    TSM_FRAME_CODE = 0,
    TSM_FRAME_PREVIOUS = 1,
    TSM_FRAME_INSTRUCTION = 7,
    TSM_FRAME_STACK = 8, /* 3.14: behind the last value. 3.13: a number, not always known */
#if PY_VERSION_HEX < 0x030E0000
    TSM_FRAME_LOCALS = 9
#else
    TSM_FRAME_LOCALS = 10 /* first in word 9, without a GIL: whose copy of the bytecode it runs */
#endif
};

/* 3.14 keeps notes in the lowest bits of what a frame refers to: 1, there is no count for
 * this reference (the interpreter knows that something else holds the object); 3, it is a
 * number. Nothing at all is 1, too. */
#define TSM_TAG_BITS ((uintptr_t)3)
#define TSM_TAG_UNCOUNTED ((uintptr_t)1)

static inline PyObject*
tsm_frame_value(void* word)
{
#if PY_VERSION_HEX < 0x030E0000
    return word;
#else
    uintptr_t bits = (uintptr_t)word;
    return (bits & TSM_TAG_BITS) == 3 ? NULL : (PyObject*)(bits & ~TSM_TAG_BITS);
#endif
}

#if PY_VERSION_HEX < 0x030E0000
typedef PyGenObject tsm_gen_t;
#define TSM_GEN_FRAME(gen) ((void**)(void*)((PyGenObject*)(gen))->gi_iframe)
#else
typedef struct { /* its beginning; the interpreter keeps it to itself from 3.14 on */
    PyObject_HEAD
    PyObject *weakrefs, *name, *qualname;
    _PyErr_StackItem exc_state;
    PyObject* origin_or_finalizer;
    char hooks_inited, closed, running_async;
    int8_t gi_frame_state;
    void* frame[];
} tsm_gen_t;
#define TSM_GEN_FRAME(gen) (((tsm_gen_t*)(gen))->frame)
#endif

/* Is this the innermost frame the thread runs? */
static inline bool
tsm_coro_is_current(PyThreadState* ts, PyObject* coro)
{
    return (void*)ts->current_frame == (void*)TSM_GEN_FRAME(coro);
}

/* Variables, cells and closure of a coroutine's frame, whatever its state: words for
 * tsm_frame_value. */
static inline void**
tsm_coro_locals(PyObject* coro, Py_ssize_t* n)
{
#if TSM_CAN_RECLAIM
    void** frame = TSM_GEN_FRAME(coro);
    *n = ((PyCodeObject*)tsm_frame_value(frame[TSM_FRAME_CODE]))->co_nlocalsplus;
    return frame + TSM_FRAME_LOCALS;
#else
    (void)coro;
    *n = 0;
    return NULL;
#endif
}

/* Would visiting this generator of any kind find more references to private objects than
 * it holds? A value on its stack may be borrowed from its variables (or its constants). */
static inline bool
tsm_generator_borrows(PyObject* op)
{
#if PY_VERSION_HEX < 0x030E0000
    (void)op;
    return false;
#else
    int state = ((tsm_gen_t*)op)->gi_frame_state;
    if (!TSM_CAN_RECLAIM || state >= 0) { /* runs (its stack may not be known), or has ended */
        return !TSM_CAN_RECLAIM || state < 4;
    }
    void** frame = TSM_GEN_FRAME(op);
    void** end = frame[TSM_FRAME_STACK];
    for (void** at = frame + TSM_FRAME_LOCALS; at < end; at++) {
        PyObject* value = tsm_frame_value(*at);
        if (value != NULL && ((uintptr_t)*at & TSM_TAG_BITS) == TSM_TAG_UNCOUNTED && tsm_rc_is_private(value)) {
            return true;
        }
    }
    return false;
#endif
}

typedef struct {
    PyCodeObject* code; /* one reference */
    int offset;         /* of the instruction, for PyCode_Addr2Line */
} tsm_seen_frame_t;

typedef struct {
    PyThreadState* ts;
    tsm_seen_frame_t* frames;
    int n, max;
} tsm_stack_t;

/* Where the instructions begin that this frame runs. */
static inline char*
tsm_frame_bytecode(void** frame, PyCodeObject* code)
{
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
    int32_t copy = *(int32_t*)(void*)&frame[TSM_FRAME_STACK + 1];
    return code->co_tlbc->entries[copy];
#else
    (void)frame;
    return code->co_code_adaptive;
#endif
}

/* The innermost frames of a thread that cannot run meanwhile. Allocates nothing. */
static inline void
tsm_walk_stack(tsm_stack_t* stack)
{
#if TSM_CAN_RECLAIM
    void** frame = (void**)(void*)stack->ts->current_frame;
    for (; frame != NULL && stack->n < stack->max; frame = frame[TSM_FRAME_PREVIOUS]) {
        PyObject* code = tsm_frame_value(frame[TSM_FRAME_CODE]);
        if (code != NULL && PyCode_Check(code)) { /* else: the C stack between two of Python's */
            int offset = (int)((char*)frame[TSM_FRAME_INSTRUCTION] - tsm_frame_bytecode(frame, (PyCodeObject*)code));
            stack->frames[stack->n++] = (tsm_seen_frame_t){(PyCodeObject*)Py_NewRef(code), offset};
        }
    }
#else
    (void)stack;
#endif
}

static inline int
tsm_walk_stopped(PyObject* Py_UNUSED(op), void* stack)
{
    tsm_walk_stack(stack);
    return 0; /* no further objects */
}

/* The same for a thread that runs: stops the world, which the visit of all objects does;
 * see decision 0004 for when that may be. */
static inline void
tsm_stack_of(tsm_stack_t* stack)
{
#ifdef Py_GIL_DISABLED
    PyUnstable_GC_VisitObjects(tsm_walk_stopped, stack);
#else
    tsm_walk_stack(stack); /* it waits for the GIL */
#endif
}

/* A process's coroutine is alive as long as the process, which the collector does not
 * see; that it need not look at it either halves its pauses. What the coroutine refers to
 * counts as referred to from outside, which is right. gen_dealloc of the GIL build would
 * not bear it. Nor would 3.14t: the frame refers to functions without counting, and the
 * collector, which must see that, sees it by way of the coroutine. */
static inline void
tsm_hide_body(PyObject* coro)
{
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030E0000
    PyObject_GC_UnTrack(coro);
#else
    (void)coro;
#endif
}

#endif
