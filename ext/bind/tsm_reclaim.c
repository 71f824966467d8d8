/* tsm_reclaim.c - what only a process held is gone when it ends, cycles included.
 *
 * What it is      Reference counting frees what a process held, except what refers to
 *                 itself in a circle; the collector would find that, by stopping the world.
 *                 Here the end of a process starts a small search of its own: from what it
 *                 held, count the references found on the way (trial deletion); what has no
 *                 others is garbage and is cleared as the collector would clear it.
 * Who touches what
 *                 One tsm_reclaim per OS thread, own thread only. Objects of others are
 *                 never touched: the search stops at every object that is not private
 *                 (tsm_rc_is_private): made by this thread, no trace of another one.
 * Protocol        hold: while the process ends, remember what it refers to (locals of its
 *                 body, the exception that ended it, mailbox, context, awaitable, arguments)
 *                 run, in user mode:
 *                   1. scan: visit what is reachable, at most MAX_OBJECTS; lock each object
 *                      before it is traversed, and keep the lock
 *                   2. mark: what has a reference from elsewhere lives, and so does all it
 *                      reaches
 *                   3. verify: see below
 *                   4. unlock; run finalisers. If there were any, start over: they may have
 *                      resurrected anything. Else clear, as the collector does
 * Invariants      of step 3, against a thread X that gets at an object meanwhile
 *   I1  X cannot take a private object out of a locked container: the load without a lock
 *       fails on a shared count of zero, and the other one waits for the lock
 *   I2  from a container that is read without a lock (FREE: tuples, bound methods, ...) it
 *       can, so those are verified before what they contain
 *   I3  so what was verified stays private; after the last one all are, at once, and their
 *       counts are all explained: nobody else has a way to any of them
 *                 FREE objects that contain each other (exception, traceback, frame) have no
 *                 such order; they are verified again and again instead.
 * Left to the collector
 *                 Objects of another thread (a body that moved between schedulers, arguments
 *                 copied elsewhere), with weak references, touched by other threads, of
 *                 extension types; locals of plain functions; what was garbage before the
 *                 end; circles of more than MAX_OBJECTS. With a GIL, where nothing tells
 *                 what other threads know: circles through the globals of a function.
 * Rejected        docs/decisions/0010
 * Where tested    tests/semantics/test_reclaim.py, tests/leak
 * Source          Lins, Cyclic reference counting; CPython's gc_free_threading.c for clearing
 */
#include "bind/tsm_agent.h"

#include <stdlib.h>
#include <string.h>

#define MAX_OBJECTS 16384u /* about a millisecond */
#define MAX_ROUNDS 4       /* finalisers may make new garbage so often */
#define PASSES 8           /* of verifying what has no order */
#define KEEP_ENTRIES 1024u /* larger tables are given back after use */

enum kind { LEAF, LOCKED, FREE };
enum { TRAVERSED = 1, LIVE = 2, VERIFIED = 4 };

typedef struct {
    PyObject* op;
    uint32_t refs;  /* references found */
    uint32_t above; /* verify: FREE containers not verified yet */
    uint8_t kind, state;
} entry_t;

typedef struct tsm_reclaim {
    PyObject** held; /* strong references */
    size_t held_len, held_room;
    entry_t* entries;
    uint32_t len, room;
    uint32_t* index; /* open addressing, entry number + 1; twice `room` slots */
    uint32_t* work;  /* entry numbers, `room` of them */
    uint32_t work_len;
    PyObject* shared[2]; /* scan: not to be followed */
    bool full, running;
} reclaim_t;

static struct {
    traverseproc class_traverse; /* of classes written in Python */
    PyTypeObject *deque, *defaultdict;
    bool on;
    uint64_t a_runs, a_objects, a_left; /* statistics */
} shared;

/* ---- what may be searched ---- */

static enum kind
kind_of_builtin(PyTypeObject* t)
{
    if (t == &PyDict_Type || t == &PyList_Type || t == &PySet_Type || t == &PyCell_Type
        || t == &PyBaseObject_Type || t == shared.deque || t == shared.defaultdict) {
        return LOCKED;
    }
    if (t == &PyTuple_Type || t == &PyMethod_Type || t == &PyFunction_Type || t == &PyCoro_Type
        || t == &PyGen_Type || t == &PyAsyncGen_Type || t == &PyFrame_Type
        || t == &PyTraceBack_Type || t == &PyFrozenSet_Type || t == &PyContext_Type
        || t == &PyCFunction_Type || t == &TsmExit_Type || t == &TsmDown_Type) {
        return FREE;
    }
    bool builtin = (t->tp_flags & Py_TPFLAGS_HEAPTYPE) == 0;
    bool exception = PyType_FastSubclass(t, Py_TPFLAGS_BASE_EXC_SUBCLASS) != 0;
    bool hamt = strncmp(t->tp_name, "hamt", 4) == 0; /* what a Context is made of */
    return builtin && (exception || hamt) ? FREE : LEAF;
}

/* A class counts as the built-in type it derives from; other extension types are left to
 * the collector, whose authors had it in mind. */
static enum kind
kind_of(PyTypeObject* t)
{
    if (t->tp_del != NULL || PyType_FastSubclass(t, Py_TPFLAGS_TYPE_SUBCLASS)) {
        return LEAF;
    }
    while ((t->tp_flags & Py_TPFLAGS_HEAPTYPE) != 0 && t->tp_traverse == shared.class_traverse
           && t->tp_base != NULL) {
        t = t->tp_base;
    }
    return kind_of_builtin(t);
}

static enum kind
kind_of_object(PyObject* op)
{
    if (!PyObject_IS_GC(op) || !tsm_rc_is_private(op) || !PyObject_GC_IsTracked(op)) {
        return LEAF;
    }
    PyTypeObject* t = Py_TYPE(op);
    if ((t == &PyCoro_Type || t == &PyGen_Type || t == &PyAsyncGen_Type) && tsm_generator_borrows(op)) {
        return LEAF;
    }
    return kind_of(t);
}

/* ---- the table of objects met ---- */

static entry_t*
find(reclaim_t* r, PyObject* op, uint32_t* slot)
{
    uint32_t mask = 2 * r->room - 1;
    uint32_t i = (uint32_t)((uintptr_t)op >> 4) * 0x9E3779B1u;
    for (i = (i ^ i >> 15) & mask; r->index[i] != 0; i = (i + 1) & mask) {
        if (r->entries[r->index[i] - 1].op == op) {
            return &r->entries[r->index[i] - 1];
        }
    }
    *slot = i;
    return NULL;
}

static bool
grow(reclaim_t* r)
{
    uint32_t room = r->room == 0 ? 64 : 2 * r->room, slot = 0;
    void* entries = realloc(r->entries, room * sizeof(entry_t));
    r->entries = entries != NULL ? entries : r->entries;
    void* work = realloc(r->work, room * sizeof(uint32_t));
    r->work = work != NULL ? work : r->work;
    uint32_t* index = calloc(2 * (size_t)room, sizeof(uint32_t));
    if (entries == NULL || work == NULL || index == NULL) {
        free(index);
        return false;
    }
    free(r->index);
    r->index = index;
    r->room = room;
    for (uint32_t i = 0; i < r->len; i++) {
        (void)find(r, r->entries[i].op, &slot);
        r->index[slot] = i + 1;
    }
    return true;
}

static void
forget_entries(reclaim_t* r)
{
    if (r->room > KEEP_ENTRIES) {
        free(r->entries);
        free(r->index);
        free(r->work);
        r->entries = NULL;
        r->index = r->work = NULL;
        r->room = 0;
    } else if (r->len != 0) {
        memset(r->index, 0, 2 * (size_t)r->room * sizeof(uint32_t));
    }
    r->len = r->work_len = 0;
    r->full = false;
}

/* ---- 1. scan ---- */

static void
meet(reclaim_t* r, PyObject* op)
{
    uint32_t slot = 0;
    entry_t* e = r->room == 0 ? NULL : find(r, op, &slot);
    if (e != NULL) {
        e->refs++;
        return;
    }
    enum kind kind = kind_of_object(op);
    if (kind == LEAF) {
        return;
    }
    if (r->len >= MAX_OBJECTS || (r->len == r->room && !grow(r))) {
        r->full = true;
        return;
    }
    (void)find(r, op, &slot);
    r->entries[r->len] = (entry_t){.op = op, .refs = 1, .kind = (uint8_t)kind};
    r->index[slot] = ++r->len;
}

static int
visit_meet(PyObject* op, void* arg)
{
    reclaim_t* r = arg;
    if (op != r->shared[0] && op != r->shared[1]) {
        meet(r, op);
    }
    return 0;
}

static void
traverse(PyObject* op, visitproc visit, void* arg)
{
    (void)Py_TYPE(op)->tp_traverse(op, visit, arg);
}

/* Attached from here to unlock, without a pause: nothing below runs user code. */
static void
scan(reclaim_t* r, PyObject* const* roots, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        meet(r, roots[i]);
    }
    for (uint32_t i = 0; i < r->len && !r->full; i++) {
        if (tsm_object_trylock(r->entries[i].op)) {
            r->entries[i].state |= TRAVERSED;
            PyObject* op = r->entries[i].op;
            tsm_shared_by_all(op, r->shared);
            traverse(op, visit_meet, r);
        }
    }
}

static void
unlock(reclaim_t* r)
{
    for (uint32_t i = 0; i < r->len; i++) {
        if ((r->entries[i].state & TRAVERSED) != 0) {
            tsm_object_unlock(r->entries[i].op);
        }
    }
}

/* ---- 2. mark ---- */

static int
visit_live(PyObject* op, void* arg)
{
    reclaim_t* r = arg;
    uint32_t slot;
    entry_t* e = find(r, op, &slot);
    if (e != NULL && (e->state & LIVE) == 0) {
        e->state |= LIVE;
        r->work[r->work_len++] = (uint32_t)(e - r->entries);
    }
    return 0;
}

static void
spread_life(reclaim_t* r)
{
    while (r->work_len > 0) {
        entry_t* e = &r->entries[r->work[--r->work_len]];
        if ((e->state & TRAVERSED) != 0) {
            traverse(e->op, visit_live, r);
        }
    }
}

static bool
explained(const entry_t* e)
{
    return tsm_rc_is_private(e->op) && tsm_rc(e->op) == (Py_ssize_t)e->refs;
}

/* Its __dict__ shares the values of an instance: who has the dict has them, too. */
static bool
dict_lives(reclaim_t* r, const entry_t* e)
{
    PyObject* dict = tsm_managed_dict(e->op);
    uint32_t slot;
    if (dict == NULL || !PyObject_GC_IsTracked(dict)) {
        return false;
    }
    entry_t* d = find(r, dict, &slot);
    return d == NULL || (d->state & LIVE) != 0;
}

/* Returns how many are garbage. */
static uint32_t
mark(reclaim_t* r)
{
    uint32_t garbage = 0;
    for (uint32_t i = 0; i < r->len; i++) {
        entry_t* e = &r->entries[i];
        if ((e->state & TRAVERSED) == 0 || !explained(e)) {
            (void)visit_live(e->op, r);
        }
    }
    spread_life(r);
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < r->len; i++) {
            if ((r->entries[i].state & LIVE) == 0 && dict_lives(r, &r->entries[i])) {
                (void)visit_live(r->entries[i].op, r);
                spread_life(r);
                changed = true;
            }
        }
    }
    for (uint32_t i = 0; i < r->len; i++) {
        garbage += (r->entries[i].state & LIVE) == 0;
    }
    return garbage;
}

/* ---- 3. verify ---- */

#ifdef Py_GIL_DISABLED

static int
visit_below(PyObject* op, void* arg)
{
    uint32_t slot;
    entry_t* e = find(arg, op, &slot);
    if (e != NULL) {
        e->above++;
    }
    return 0;
}

static int
visit_verified(PyObject* op, void* arg)
{
    reclaim_t* r = arg;
    uint32_t slot;
    entry_t* e = find(r, op, &slot);
    if (e != NULL && --e->above == 0 && (e->state & LIVE) == 0) {
        r->work[r->work_len++] = (uint32_t)(e - r->entries);
    }
    return 0;
}

/* What can be taken out of e without a lock. */
static void
each_open(reclaim_t* r, const entry_t* e, visitproc visit)
{
    PyObject* dict;
    if (e->kind == FREE) {
        traverse(e->op, visit, r);
    } else if ((dict = tsm_managed_dict(e->op)) != NULL) {
        (void)visit(dict, r);
    }
}

static bool
verify(reclaim_t* r)
{
    for (uint32_t i = 0; i < r->len; i++) {
        if ((r->entries[i].state & LIVE) == 0) {
            each_open(r, &r->entries[i], visit_below);
        }
    }
    for (uint32_t i = 0; i < r->len; i++) {
        if ((r->entries[i].state & LIVE) == 0 && r->entries[i].above == 0) {
            r->work[r->work_len++] = i;
        }
    }
    while (r->work_len > 0) {
        entry_t* e = &r->entries[r->work[--r->work_len]];
        if (!explained(e)) {
            return false;
        }
        e->state |= VERIFIED;
        each_open(r, e, visit_verified);
    }
    for (int pass = 0; pass < PASSES; pass++) {
        for (uint32_t i = 0; i < r->len; i++) {
            entry_t* e = &r->entries[i];
            if ((e->state & (LIVE | VERIFIED)) == 0 && !explained(e)) {
                return false;
            }
        }
    }
    return true;
}

#else /* with the GIL nobody gets at anything */

static bool
verify(reclaim_t* Py_UNUSED(r))
{
    return true;
}

#endif

/* ---- 4. finalise and clear: user code from here on ---- */

static bool
needs_finaliser(PyObject* op)
{
    return Py_TYPE(op)->tp_finalize != NULL && !PyObject_GC_IsFinalized(op);
}

static void
finalise_or_clear(PyObject* op, bool finalise)
{
    if (finalise) {
        if (needs_finaliser(op)) {
            PyObject_CallFinalizer(op);
        }
    } else if (Py_TYPE(op)->tp_clear != NULL) {
        (void)Py_TYPE(op)->tp_clear(op);
    }
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(NULL);
    }
}

/* Returns true when finalisers ran and the search must start over. */
static bool
clear(reclaim_t* r, uint32_t garbage)
{
    bool finalise = false;
    uint32_t n = 0;
    PyObject** ops = malloc(garbage * sizeof(*ops));
    if (ops == NULL) {
        return false; /* the collector's */
    }
    for (uint32_t i = 0; i < r->len; i++) {
        if ((r->entries[i].state & LIVE) == 0) {
            ops[n++] = Py_NewRef(r->entries[i].op);
            finalise |= needs_finaliser(r->entries[i].op);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        finalise_or_clear(ops[i], finalise);
    }
    for (uint32_t i = 0; i < n; i++) {
        Py_DECREF(ops[i]);
    }
    free(ops);
    return finalise;
}

static void
count(uint64_t* a_what, uint64_t n)
{
    (void)tsm_add_relaxed(a_what, n); /* relaxed: a statistic. */
}

static void
search(reclaim_t* r, PyObject* const* roots, size_t n)
{
    bool again = true;
    count(&shared.a_runs, 1);
    for (int round = 0; again && round < MAX_ROUNDS; round++) {
        scan(r, roots, n);
        uint32_t garbage = r->full ? 0 : mark(r);
        bool sure = garbage > 0 && verify(r);
        unlock(r);
        again = sure && clear(r, garbage);
        if (sure && !again) {
            count(&shared.a_objects, garbage);
        }
        if (r->full || (garbage > 0 && !sure)) {
            count(&shared.a_left, 1);
        }
        forget_entries(r);
    }
}

/* ---- holding ---- */

static int
visit_any(PyObject* op, void* Py_UNUSED(arg))
{
    return kind_of_object(op) != LEAF;
}

/* May op be part of a circle or lead to one? Most state does not. */
static bool
is_suspect(PyObject* op)
{
    if (kind_of_object(op) == LEAF || !tsm_object_trylock(op)) {
        return false;
    }
    bool leads_on = Py_TYPE(op)->tp_traverse(op, visit_any, NULL) != 0;
    tsm_object_unlock(op);
    return leads_on;
}

static reclaim_t*
reclaim_of(tsm_worker_t* w)
{
    tsm_pyworker_t* py = w == NULL ? NULL : w->py;
    if (py == NULL || !shared.on) {
        return NULL;
    }
    if (py->reclaim == NULL) {
        py->reclaim = calloc(1, sizeof(*py->reclaim));
    }
    return py->reclaim;
}

void
tsm_reclaim_hold(tsm_worker_t* w, PyObject* op)
{
    if (op == NULL || !is_suspect(op)) {
        return;
    }
    reclaim_t* r = reclaim_of(w);
    if (r == NULL) {
        return;
    }
    if (r->held_len == r->held_room) {
        size_t room = r->held_room == 0 ? 16 : 2 * r->held_room;
        PyObject** held = room > MAX_OBJECTS ? NULL : realloc(r->held, room * sizeof(*held));
        if (held == NULL) {
            return; /* the collector's */
        }
        r->held = held;
        r->held_room = room;
    }
    r->held[r->held_len++] = Py_NewRef(op);
}

/* What the process itself refers to, when it has ended; inside the runtime: nothing is
 * dropped here. */
void
tsm_reclaim_hold_process(tsm_worker_t* w, tsm_proc_t* p)
{
    if ((p->flags & TSM_PF_SERVER) != 0) {
        tsm_reclaim_hold(w, tsm_server_agent(p));
    } else if ((p->flags & TSM_PF_COROUTINE) == 0) {
        tsm_reclaim_hold(w, p->body);
    }
    tsm_reclaim_hold(w, p->context);
    tsm_reclaim_hold(w, p->exit_term);
    for (tsm_sig_t* msg = p->mb_first; msg != NULL; msg = tsm_sig_next(msg)) {
        tsm_reclaim_hold(w, msg->term);
    }
    const tsm_pyworker_t* py = w->py;
    if (py->reclaim != NULL && py->reclaim->held_len != 0 && !tsm_has_buried()) {
        (void)tsm_bury_term(Py_NewRef(Py_None)); /* so that the worker comes to user mode */
    }
}

void
tsm_reclaim_run(tsm_worker_t* w)
{
    reclaim_t* r = ((tsm_pyworker_t*)w->py)->reclaim;
    if (r == NULL || r->held_len == 0 || r->running) {
        return;
    }
    r->running = true;
    while (r->held_len > 0) { /* finalisers may end processes here, too */
        PyObject** held = r->held;
        size_t n = r->held_len;
        r->held = NULL;
        r->held_len = r->held_room = 0;
        search(r, held, n);
        for (size_t i = 0; i < n; i++) {
            Py_DECREF(held[i]);
        }
        free(held);
    }
    r->running = false;
}

void
tsm_reclaim_thread_end(tsm_worker_t* w)
{
    tsm_pyworker_t* py = w->py;
    if (py->reclaim != NULL) {
        tsm_reclaim_run(w);
        free(py->reclaim->entries);
        free(py->reclaim->index);
        free(py->reclaim->work);
        free(py->reclaim);
        py->reclaim = NULL;
    }
}

/* PY_RETURN, of coroutines of agent code: when the body of the process returns, its variables are
 * about to go, and with them the last way to the circles in them. */
PyObject*
tsm_on_return(PyObject* Py_UNUSED(self), PyObject* const* args, size_t Py_UNUSED(nargsf), PyObject* Py_UNUSED(kwnames))
{
    if ((((PyCodeObject*)args[0])->co_flags & CO_COROUTINE) == 0 || !tsm_reds_is_agent(args[0])) {
        return tsm_disable_here();
    }
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* p = w == NULL ? NULL : tsm_worker_proc(w);
    if (p == NULL || p->body == NULL || (p->flags & TSM_PF_COROUTINE) == 0
        || !tsm_coro_is_current(((tsm_pyworker_t*)w->py)->ts, p->body)) {
        return Py_None; /* immortal */
    }
    Py_ssize_t count_of_locals;
    void** locals = tsm_coro_locals(p->body, &count_of_locals);
    for (Py_ssize_t i = 0; i < count_of_locals; i++) {
        tsm_reclaim_hold(w, tsm_frame_value(locals[i]));
    }
    return Py_None;
}

static PyObject*
py_reclaim_info(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    /* relaxed, all: statistics. */
    unsigned long long runs = tsm_load_relaxed(&shared.a_runs);
    unsigned long long objects = tsm_load_relaxed(&shared.a_objects);
    unsigned long long left = tsm_load_relaxed(&shared.a_left);
    return Py_BuildValue("{s:K,s:K,s:K}", "searches", runs, "objects", objects, "left", left);
}

static PyTypeObject*
collections_type(const char* name)
{
    PyObject* module = PyImport_ImportModule("collections");
    PyObject* type = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    return (PyTypeObject*)type; /* kept for good */
}

int
tsm_reclaim_init(void)
{
    shared.deque = collections_type("deque");
    shared.defaultdict = collections_type("defaultdict");
    PyObject* probe = PyObject_CallFunction((PyObject*)&PyType_Type, "s(){}", "probe");
    if (shared.deque == NULL || shared.defaultdict == NULL || probe == NULL) {
        return -1;
    }
    shared.class_traverse = ((PyTypeObject*)probe)->tp_traverse;
    Py_DECREF(probe);
    shared.on = TSM_CAN_RECLAIM;
    return 0;
}

PyMethodDef tsm_reclaim_methods[] = {
    {"_reclaim_info", py_reclaim_info, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
