/* tsm_reds.c - counting reductions in Python code, and stopping it.
 *
 * What it is      Callbacks of sys.monitoring: PY_START and JUMP of agent code each use up
 *                 one reduction; at zero the process comes into the runtime (tsm_preempt),
 *                 which may park it, or end it by raising Killed. src/transom/_instrument.py
 *                 decides what is agent code and switches the events on.
 * Who touches what
 *   known         read by any thread without a lock; inserting is under the lock. Entries
 *                 are never removed and hold a reference, so a pointer is never stale
 *   demand        written by the monitor thread
 * Protocol        PY_START is on for all code. The first call of a code object asks
 *                 discover(); library code answers DISABLE (free from then on), agent code
 *                 gets local PY_START and JUMP events.
 *                 On demand: a thread that runs library Python code off its slot is found by
 *                 probes (tsm_compat.h); then JUMP is switched on globally for a second.
 *                 Whatever stops the world (switching events, collecting) waits for every
 *                 thread in attached native code, so all of it is put off while the monitor
 *                 sees one (a_native).
 * Source          DESIGN.md, three tiers; CPython's sys.monitoring (PEP 669)
 */
#include "bind/tsm_aio.h"

#include <stdlib.h>

#define DEMAND_NS 1000000000u
#define HOUSEKEEPING_NS 250000000u
#define PROBES 4

/* ---- known code objects: open addressing, pointer | 1 for library code ---- */

typedef struct {
    size_t mask;
    uintptr_t a_slots[];
} table_t;

static struct {
    tsm_mutex_t lock;
    table_t* a_table; /* replaced as a whole when it grows; old ones stay for readers */
    size_t count;     /* under lock */
    uint32_t a_demand;
    uint32_t a_native; /* some thread sits in native code, attached; by the monitor */
    uint64_t kept_ns;  /* monitor thread only, like the next */
    uint64_t demand_since_ns; /* monitor thread only */
} known;

enum verdict { UNKNOWN, AGENT, LIBRARY };

static size_t
slot_of(uintptr_t code, size_t mask)
{
    return (size_t)((code >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & mask;
}

static enum verdict
known_find(PyObject* code)
{
    /* acquire: pairs with known_add: the table is filled before it is published. */
    table_t* table = tsm_load_acquire(&known.a_table);
    uintptr_t want = (uintptr_t)code;
    if (table == NULL) {
        return UNKNOWN;
    }
    for (size_t i = slot_of(want, table->mask);; i = (i + 1) & table->mask) {
        /* relaxed: the value is all there is; a missed one is asked about again. */
        uintptr_t have = tsm_load_relaxed(&table->a_slots[i]);
        if ((have & ~(uintptr_t)1) == want) {
            return (have & 1) != 0 ? LIBRARY : AGENT;
        }
        if (have == 0) {
            return UNKNOWN;
        }
    }
}

static void
table_put(table_t* table, uintptr_t entry)
{
    size_t i = slot_of(entry & ~(uintptr_t)1, table->mask);
    while (tsm_load_relaxed(&table->a_slots[i]) != 0) { /* relaxed: under the lock. */
        i = (i + 1) & table->mask;
    }
    tsm_store_relaxed(&table->a_slots[i], entry); /* relaxed: as in known_find. */
}

static table_t*
known_grow(table_t* old)
{
    size_t size = old == NULL ? 1024 : (old->mask + 1) * 2;
    table_t* table = calloc(1, sizeof(*table) + size * sizeof(uintptr_t));
    if (table == NULL) {
        return NULL;
    }
    table->mask = size - 1;
    for (size_t i = 0; old != NULL && i <= old->mask; i++) {
        uintptr_t entry = tsm_load_relaxed(&old->a_slots[i]); /* relaxed: under the lock. */
        if (entry != 0) {
            table_put(table, entry);
        }
    }
    /* release: pairs with known_find. The old table is leaked: readers may be in it. */
    tsm_store_release(&known.a_table, table);
    return table;
}

static void
known_add(PyObject* code, enum verdict verdict)
{
    tsm_mutex_lock(&known.lock);
    table_t* table = tsm_load_relaxed(&known.a_table); /* relaxed: under the lock. */
    if (table == NULL || known.count * 2 > table->mask) {
        table = known_grow(table);
    }
    if (table != NULL && known_find(code) == UNKNOWN) {
        table_put(table, (uintptr_t)Py_NewRef(code) | (verdict == LIBRARY));
        known.count++;
    } /* without memory the code is asked about again at its next call */
    tsm_mutex_unlock(&known.lock);
}

/* ---- the callbacks ---- */

/* Returns false with Killed set. */
bool
tsm_reds_slow(tsm_worker_t* w)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    if (p == NULL || tsm_in_runtime(w)) { /* a finaliser or hook inside the runtime */
        tsm_store_relaxed(&w->a_budget, tsm_det.slice_reds); /* relaxed: own counter. */
        return true;
    }
    bool in_grace = (p->flags & TSM_PF_DEAD) != 0;
    int32_t left = tsm_budget_left(w);
    bool alive = tsm_preempt(w);
    if (TSM_UNLIKELY((p->flags & TSM_PF_LIMITED) != 0) && tsm_limits_over(p)) {
        tsm_limits_enforce(w, p, true);
        alive = (p->flags & TSM_PF_DEAD) == 0;
    }
    alive |= (p->flags & TSM_PF_ENDING) != 0;
    tsm_op_end(w);
    if (tsm_has_buried()) {
        tsm_flush();
    }
    if (TSM_LIKELY(alive)) {
        return true;
    }
    if (in_grace && left > 0) { /* somebody poked it: what cleans up has its grace all the same */
        tsm_store_relaxed(&w->a_budget, left); /* relaxed: own counter. */
        return true;
    }
    if (p->kills > TSM_MAX_KILLS) {
        tsm_op_begin(w);
        tsm_abandon(w); /* swallows every kill: its thread rests for good */
    }
    (void)tsm_raise_killed();
    return false;
}

static inline PyObject*
count_one(tsm_worker_t* w)
{
    if (TSM_LIKELY(w != NULL)) {
        int32_t left = tsm_load_relaxed(&w->a_budget) - 1; /* relaxed: own counter. */
        tsm_store_relaxed(&w->a_budget, left);             /* relaxed: as above. */
        if (TSM_UNLIKELY(left <= 0) && !tsm_reds_slow(w)) {
            return NULL;
        }
    }
    return Py_None; /* immortal */
}

PyObject*
tsm_on_jump(PyObject* Py_UNUSED(self), PyObject* const* Py_UNUSED(args), size_t Py_UNUSED(nargsf),
            PyObject* Py_UNUSED(kwnames))
{
    return count_one(tsm_self);
}

/* Library code, from now on free of events. Where that stops the world it is left to a
 * later call, unless a worker asks and no thread is known to be in native code: the monitor
 * least of all may wait for one. */
static PyObject*
disable(void)
{
    /* relaxed: a mode. */
    if (TSM_DISABLE_STOPS_WORLD && (tsm_self == NULL || tsm_load_relaxed(&known.a_native) != 0)) {
        return Py_None; /* immortal */
    }
    return Py_NewRef(tsm_bind.s_disable);
}

static PyObject*
discover(PyObject* code)
{
    /* relaxed: a mode. While it is set, switching events on is put off. */
    PyObject* later = tsm_load_relaxed(&known.a_native) != 0 ? Py_True : Py_False;
    PyObject* answer = PyObject_CallFunctionObjArgs(tsm_bind.discover, code, later, NULL);
    if (answer == NULL) {
        return NULL;
    }
    bool agent = answer == Py_True;
    Py_DECREF(answer);
    known_add(code, agent ? AGENT : LIBRARY);
    return agent ? count_one(tsm_self) : disable();
}

PyObject*
tsm_on_start(PyObject* Py_UNUSED(self), PyObject* const* args, size_t Py_UNUSED(nargsf),
             PyObject* Py_UNUSED(kwnames))
{
    switch (known_find(args[0])) {
    case AGENT:
        return count_one(tsm_self);
    case LIBRARY:
        if (tsm_load_relaxed(&known.a_demand) != 0) { /* relaxed: a mode, seen soon. */
            return count_one(tsm_self);
        }
        return disable();
    case UNKNOWN:
        break;
    }
    return discover(args[0]);
}

/* Changes the verdict of a code object, or states it before it is asked about. */
static PyObject*
py_known_set(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    if (n != 2 || !PyCode_Check(args[0])) {
        return PyErr_Format(PyExc_TypeError, "_known_set(code, agent)");
    }
    enum verdict verdict = args[1] == Py_True ? AGENT : LIBRARY;
    known_add(args[0], verdict);
    tsm_mutex_lock(&known.lock);
    table_t* table = tsm_load_relaxed(&known.a_table); /* relaxed: under the lock. */
    uintptr_t want = (uintptr_t)args[0];
    for (size_t i = slot_of(want, table == NULL ? 0 : table->mask); table != NULL; i = (i + 1) & table->mask) {
        uintptr_t have = tsm_load_relaxed(&table->a_slots[i]); /* relaxed: under the lock. */
        if ((have & ~(uintptr_t)1) == want) {
            tsm_store_relaxed(&table->a_slots[i], want | (verdict == LIBRARY)); /* relaxed: as in known_find. */
            break;
        }
        if (have == 0) {
            break;
        }
    }
    tsm_mutex_unlock(&known.lock);
    Py_RETURN_NONE;
}

/* ---- on demand: library code ---- */

void
tsm_reds_taken(tsm_worker_t* Py_UNUSED(w), tsm_proc_t* Py_UNUSED(p))
{
}

void
tsm_reds_interrupt(tsm_worker_t* w)
{
    (void)PyThreadState_SetAsyncExc(((tsm_pyworker_t*)w->py)->ts->thread_id, tsm_bind.killed);
}

void
tsm_reds_calm(tsm_worker_t* w)
{
    (void)PyThreadState_SetAsyncExc(((tsm_pyworker_t*)w->py)->ts->thread_id, NULL);
}

bool
tsm_reds_is_native(void)
{
    return tsm_load_relaxed(&known.a_native) != 0; /* relaxed: a mode. */
}

/* Runs something attached on the monitor thread. */
static void
call_python(PyObject* fn, PyObject* arg)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject* done = PyObject_CallOneArg(fn, arg);
    if (done == NULL) {
        PyErr_WriteUnraisable(fn);
    }
    Py_XDECREF(done);
    PyGILState_Release(state);
}

static void
set_demand(bool on, uint64_t now_ns)
{
    tsm_store_relaxed(&known.a_demand, on); /* relaxed: a mode, seen soon. */
    known.demand_since_ns = now_ns;
    call_python(tsm_bind.demand, on ? Py_True : Py_False);
}

/* What does a worker do that is off its slot? A verdict needs a probe set in this very run
 * and a tick to answer it; Python must answer several in a row, so that a body that hops
 * between short native calls does not count. */
enum sight { ELSEWHERE, IN_PYTHON, IN_NATIVE };

static enum sight
look_at(tsm_worker_t* w)
{
    /* relaxed, all: decides only about probes. */
    tsm_proc_t* p = tsm_load_relaxed(&w->a_proc);
    tsm_pyworker_t* py = tsm_load_acquire(&w->py); /* acquire: pairs with thread_begin. */
    if (p == NULL || py == NULL || tsm_load_relaxed(&w->a_slot) != NULL
        || tsm_load_relaxed(&p->a_status) != TSM_ST_BLOCKED || tsm_is_detached(py->ts)) {
        if (py != NULL) {
            py->probes = 0;
        }
        return ELSEWHERE;
    }
    uint64_t run_ns = tsm_load_relaxed(&w->user_since_ns); /* relaxed: as above. */
    bool same_run = py->probes != 0 && py->probe_ns == run_ns;
    bool answered = tsm_probe_answered(py->ts);
    py->probe_ns = run_ns;
    py->probes = same_run && answered ? py->probes + 1 : 1;
    tsm_probe_set(py->ts);
    return py->probes > PROBES ? IN_PYTHON : same_run && answered ? ELSEWHERE : IN_NATIVE;
}

/* Monitor thread, detached. */
bool
tsm_reds_native(void)
{
    return tsm_load_relaxed(&known.a_native); /* relaxed: a mode, seen soon. */
}

void
tsm_reds_tick(uint64_t now_ns)
{
    bool python = false, native = tsm_sched_left_any();
    tsm_io_tick();
    tsm_mutex_lock(&tsm_sched.pool_lock);
    tsm_worker_t* w = tsm_sched.all;
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    for (; w != NULL; w = w->all_next) {
        enum sight sight = look_at(w);
        python |= sight == IN_PYTHON;
        native |= sight == IN_NATIVE;
    }
    tsm_store_relaxed(&known.a_native, native); /* relaxed: a mode, seen soon. */
    if (native) {
        return; /* whatever stops the world would wait for it */
    }
    bool demand = tsm_load_relaxed(&known.a_demand) != 0; /* relaxed: our own write. */
    if (python && !demand) {
        set_demand(true, now_ns);
    } else if (demand && !python && now_ns - known.demand_since_ns > DEMAND_NS) {
        set_demand(false, now_ns);
    }
    if (now_ns - known.kept_ns > HOUSEKEEPING_NS) {
        known.kept_ns = now_ns;
        call_python(tsm_bind.housekeeping, Py_None);
    }
}

void
tsm_reds_calm_down(void)
{
    tsm_store_relaxed(&known.a_native, 0); /* relaxed: no node runs. */
    if (tsm_load_relaxed(&known.a_demand) != 0) { /* relaxed: as above. */
        set_demand(false, 0);
    }
}

PyMethodDef tsm_reds_methods[] = {
    {"_known_set", (PyCFunction)(void (*)(void))py_known_set, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
