/* tsm_reds.c - counting reductions in Python code, and stopping it.
 *
 * What it is      Callbacks of sys.monitoring: PY_START and JUMP of agent code each use up
 *                 one reduction; at zero the process comes into the runtime (tsm_preempt),
 *                 which may park it, or end it by raising Killed. src/transom/_instrument.py
 *                 decides what is agent code and switches the events on.
 * Who touches what
 *   known         read by any thread without a lock; changing it is under the lock. Entries
 *                 are never removed and hold a reference, so a pointer is never stale
 *   demand        written by the monitor thread
 * Protocol        The events are on for all code while a node runs. The first event of a
 *                 code object asks discover(); library code answers DISABLE, which switches
 *                 off that one place and stops nobody (free from then on).
 *                 On demand: a thread that runs library Python code off its slot is found by
 *                 probes (tsm_compat.h); then what was switched off is asked again, and
 *                 counted for a second.
 *                 What stops the world (asking again, collecting) waits for every thread in
 *                 attached native code. All of it is the monitor's to do, and is put off
 *                 until no such thread is to be seen (tsm_world.c).
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
    uint32_t a_rules; /* how often they were changed; what was judged before is judged anew */
    uint32_t a_demand;
    uint32_t a_restart; /* code that was switched off counts now: ask again */
    uint32_t a_native; /* some thread sits in native code, attached; by the monitor */
    /* monitor thread only */
    bool collect; /* a collection is due */
    uint64_t kept_ns;
    uint64_t demand_since_ns;
    tsm_asker_t asker;
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

/* Where code stands in the table, or would. Caller holds the lock. */
static uintptr_t*
table_place(table_t* table, uintptr_t code)
{
    size_t i = slot_of(code, table->mask);
    for (;; i = (i + 1) & table->mask) {
        uintptr_t have = tsm_load_relaxed(&table->a_slots[i]); /* relaxed: under the lock. */
        if (have == 0 || (have & ~(uintptr_t)1) == code) {
            return &table->a_slots[i];
        }
    }
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
            /* relaxed: published with the table. */
            tsm_store_relaxed(table_place(table, entry & ~(uintptr_t)1), entry);
        }
    }
    /* release: pairs with known_find. The old table is leaked: readers may be in it. */
    tsm_store_release(&known.a_table, table);
    return table;
}

/* Without memory the code is asked about again at its next event. */
static void
known_set(PyObject* code, enum verdict verdict)
{
    tsm_mutex_lock(&known.lock);
    table_t* table = tsm_load_relaxed(&known.a_table); /* relaxed: under the lock. */
    if (table == NULL || known.count * 2 > table->mask) {
        table = known_grow(table);
    }
    if (table != NULL) {
        uintptr_t* place = table_place(table, (uintptr_t)code);
        if (tsm_load_relaxed(place) == 0) { /* relaxed: under the lock. */
            Py_INCREF(code);
            known.count++;
        }
        tsm_store_relaxed(place, (uintptr_t)code | (verdict == LIBRARY)); /* relaxed: as in known_find. */
    }
    tsm_mutex_unlock(&known.lock);
}

/* Asks what code is and keeps the answer; UNKNOWN with an exception. */
static enum verdict
judge(PyObject* code)
{
    for (;;) {
        /* acquire: pairs with py_judge_anew: the rules asked are as new as this at least. */
        uint32_t rules = tsm_load_acquire(&known.a_rules);
        PyObject* answer = PyObject_CallOneArg(tsm_bind.discover, code);
        if (answer == NULL) {
            return UNKNOWN;
        }
        enum verdict verdict = answer == Py_True ? AGENT : LIBRARY;
        Py_DECREF(answer);
        known_set(code, verdict);
        /* sc: after the verdict was kept; py_judge_anew changes this, then reads them. */
        if (tsm_load_sc(&known.a_rules) == rules) {
            return verdict;
        }
    }
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

/* Library code, free of this event from now on. Where saying so stops the world it is left to a
 * later time, unless a worker asks and no thread is known to be in native code: the monitor
 * least of all may wait for one. */
PyObject*
tsm_disable_here(void)
{
    /* relaxed: a mode. */
    if (TSM_DISABLE_STOPS_WORLD && (tsm_self == NULL || tsm_load_relaxed(&known.a_native) != 0)) {
        return Py_None; /* immortal */
    }
    return Py_NewRef(tsm_bind.s_disable);
}

/* PY_START and JUMP. */
PyObject*
tsm_on_code(PyObject* Py_UNUSED(self), PyObject* const* args, size_t Py_UNUSED(nargsf), PyObject* Py_UNUSED(kwnames))
{
    enum verdict verdict = known_find(args[0]);
    if (TSM_UNLIKELY(verdict == UNKNOWN) && (verdict = judge(args[0])) == UNKNOWN) {
        return NULL;
    }
    if (TSM_LIKELY(verdict == AGENT) || tsm_load_relaxed(&known.a_demand) != 0) { /* relaxed: a mode. */
        return count_one(tsm_self);
    }
    return tsm_disable_here();
}

bool
tsm_reds_is_agent(PyObject* code)
{
    return known_find(code) == AGENT;
}

/* All code known so far; NULL with an exception. */
static PyObject*
known_codes(void)
{
    tsm_mutex_lock(&known.lock);
    table_t* table = tsm_load_relaxed(&known.a_table); /* relaxed: under the lock. */
    tsm_mutex_unlock(&known.lock);
    PyObject* codes = PyList_New(0);
    for (size_t i = 0; codes != NULL && table != NULL && i <= table->mask; i++) {
        uintptr_t entry = tsm_load_relaxed(&table->a_slots[i]) & ~(uintptr_t)1; /* relaxed: as in known_find. */
        if (entry != 0 && PyList_Append(codes, (PyObject*)entry) < 0) {
            Py_CLEAR(codes);
        }
    }
    return codes;
}

/* _restart_due() -> bool: events that are switched off have to be asked again. Takes the request. */
static PyObject*
py_restart_due(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    return PyBool_FromLong(tsm_swap_relaxed(&known.a_restart, 0) != 0); /* relaxed: a request. */
}

/* _judge_anew() -> bool: the rules have changed. What counts no longer is switched off at its next event; what counts
 * from now on has to be asked again: by the monitor when that is quick, or by who starts the next node; or by the
 * caller (True), in a deterministic run, which leaves nothing to the clock. */
static PyObject*
py_judge_anew(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    (void)tsm_add_sc(&known.a_rules, 1); /* sc: before the verdicts are read; see judge. */
    PyObject* codes = known_codes();
    for (Py_ssize_t i = 0; codes != NULL && i < PyList_GET_SIZE(codes); i++) {
        PyObject* code = PyList_GET_ITEM(codes, i);
        enum verdict before = known_find(code), after = judge(code);
        if (after == UNKNOWN) {
            Py_CLEAR(codes);
        } else if (before == LIBRARY && after == AGENT) {
            tsm_store_relaxed(&known.a_restart, 1); /* relaxed: a request. */
        }
    }
    if (codes == NULL) {
        return NULL;
    }
    Py_DECREF(codes);
    return tsm_det.on != 0 ? py_restart_due(NULL, NULL) : Py_NewRef(Py_False);
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

/* Runs something attached on the monitor thread. True: it said yes. */
static bool
call_python(PyObject* fn)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject* answer = PyObject_CallNoArgs(fn);
    if (answer == NULL) {
        PyErr_WriteUnraisable(fn);
    }
    bool yes = answer == Py_True;
    Py_XDECREF(answer);
    PyGILState_Release(state);
    return yes;
}

/* All that stops the world, at a moment when that is quick. */
static void
stop_world(bool demand, uint64_t now_ns)
{
    bool restart = demand || tsm_load_relaxed(&known.a_restart) != 0; /* relaxed: a request. */
    if (!(restart || known.collect)) {
        known.asker = (tsm_asker_t){0};
        return;
    }
    if (!tsm_world_is_quick(&known.asker)) {
        return;
    }
    if (restart) {
        known.demand_since_ns = now_ns;
        tsm_store_relaxed(&known.a_restart, 0); /* relaxed: a request. */
        if (demand) {
            tsm_store_relaxed(&known.a_demand, 1); /* relaxed: a mode. */
        }
        (void)call_python(tsm_bind.restart_events);
    } else {
        known.collect = false;
        (void)call_python(tsm_bind.collect);
    }
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
    bool demand = tsm_load_relaxed(&known.a_demand) != 0; /* relaxed: our own write. */
    if (demand && !python && now_ns - known.demand_since_ns > DEMAND_NS) {
        tsm_store_relaxed(&known.a_demand, 0); /* relaxed: a mode; what has an event now is switched off. */
    }
    if (now_ns - known.kept_ns > HOUSEKEEPING_NS) {
        known.kept_ns = now_ns;
        known.collect = call_python(tsm_bind.collection_due);
    }
    if (!native) {
        stop_world(python && !demand, now_ns);
    }
}

void
tsm_reds_calm_down(void)
{
    tsm_store_relaxed(&known.a_native, 0); /* relaxed: no node runs. */
    tsm_store_relaxed(&known.a_demand, 0); /* relaxed: as above. */
    known.collect = false;
}

PyMethodDef tsm_reds_methods[] = {
    {"_judge_anew", py_judge_anew, METH_NOARGS, NULL},
    {"_restart_due", py_restart_due, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
