/* tsm_blocks.c - which functions block: their processes start off the slot.
 *
 * What it is      A process is known for blocking once its slot was taken (tsm_park.c), which
 *                 helps nothing where each lives for one blocking call. So what the last calls
 *                 of a plain function did is remembered for the function: it slept for most of
 *                 its time (a request over HTTP), and the next one starts without a slot.
 * Who touches what
 *   memory        any thread, without a lock: a byte for each function, or for several whose
 *                 hashes meet, which costs one of them a hand-over. A byte is written when it
 *                 changes, which it does not while a function goes on doing what it does.
 * Values          0: takes a slot. Else it starts off the slot, and becomes 0 after so many
 *                 quick runs.
 * Rejected        A word in the table of known code (tsm_reds.c): builtins have no code, and
 *                 the body of a task is our own function, the user's is its argument.
 *                 Functions that compute in native code: they would all start at once, more
 *                 threads than cores.
 * Where tested    tests/semantics/test_blocking.py
 * Source          docs/decisions/0005
 */
#include "bind/tsm_bind.h"

#include "base/tsm_clock.h"

enum { SIZE = 4096, MOST_ARGS = 4 };

static uint8_t a_memory[SIZE];

/* What a call of fn runs; only compared. */
static uintptr_t
identity(PyObject* fn)
{
    if (PyMethod_Check(fn)) {
        fn = PyMethod_GET_FUNCTION(fn);
    }
    if (PyFunction_Check(fn)) {
        return (uintptr_t)PyFunction_GET_CODE(fn);
    }
    return PyCFunction_Check(fn) ? (uintptr_t)((PyCFunctionObject*)fn)->m_ml : (uintptr_t)Py_TYPE(fn);
}

/* body: (callable, args, kwargs). What a function does that is handed functions depends on
 * them, too: that of a task, to begin with. */
static uint8_t*
memory_of(PyObject* body)
{
    PyObject* args = PyTuple_GET_ITEM(body, 1);
    uint64_t hash = identity(PyTuple_GET_ITEM(body, 0));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args) && i < MOST_ARGS; i++) {
        PyObject* arg = PyTuple_GET_ITEM(args, i);
        if (PyFunction_Check(arg) || PyMethod_Check(arg) || PyCFunction_Check(arg)) {
            hash = hash * UINT64_C(0x9E3779B97F4A7C15) + identity(arg);
        }
    }
    return &a_memory[(hash >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 52 & (SIZE - 1)];
}

bool
tsm_blocks(tsm_proc_t* p)
{
    /* A server that is pinned keeps a thread, too, but is no call. */
    if ((p->flags & (TSM_PF_COROUTINE | TSM_PF_SERVER | TSM_PF_STARTED | TSM_PF_DEAD)) != 0) {
        return false;
    }
    return tsm_load_relaxed(memory_of(p->body)) != 0; /* relaxed: a hint. */
}

void
tsm_blocks_learn(tsm_worker_t* w, PyObject* body)
{
    uint8_t* at = memory_of(body);
    uint8_t before = tsm_load_relaxed(at), after = before; /* relaxed: a hint. */
    uint64_t ran_ns = tsm_now_ns() - w->user_since_ns;
    if (ran_ns > TSM_QUICK_NS && (tsm_thread_cpu_ns(&w->os_thread) - w->user_cpu_ns) < ran_ns / 2) {
        after = TSM_QUICK_RUNS;
    } else if (before > 0) {
        after = before - 1;
    }
    if (after != before) {
        tsm_store_relaxed(at, after); /* relaxed: as above. */
    }
}
