/* tsm_start.c - starting a process and waiting until it is ready: proc_lib's protocol.
 *
 * What it is      Three objects. A How says what to start and with which options; it is made
 *                 once and used for every start. A Start is one start with its arguments,
 *                 awaitable and repeatable (transom/_operation.py: an Operation). A Starting
 *                 is one await of it.
 * Protocol        One operation makes the process with its link, its Down for start_monitor,
 *                 its origin, and who waits for it (MONITOR and STARTER, tsm_signal.c). Then
 *                 one signal comes back:
 *                   READY      it called init_ack, or its server's init is done
 *                   NOT_READY  it has ended before; nothing of it is left, no Exit, no Down
 *                 Out of time: the MONITOR and the link go, it is killed, and a Down tells
 *                 when it is gone. A READY that came too late finds no MONITOR.
 * Who touches what
 *                 How and Start never change. A Starting belongs to the process that awaits.
 * Rejected        The start as steps in Python: an alias, a monitor, a demonitor, two messages
 *                 and six frames for each start.
 * Where tested    tests/semantics/test_proc_lib.py, test_agent.py, test_supervisors.py
 * Source          proc_lib:start/5, start_link/5 and start_monitor/5 of OTP 26
 */
#include "bind/tsm_docs.h"
#include "bind/tsm_start.h"

#include <stddef.h>

enum kind { START, START_LINK, START_MONITOR };

typedef struct {
    PyObject_HEAD
    PyObject* given;             /* the tuple it was made of; holds all that follows */
    tsm_spawn_options_t options;
    PyObject* target;            /* an agent class, or a function */
    PyObject* reference;         /* NULL: target is a function; else the class of its references */
    PyObject* initial_call;      /* str */
    uint64_t timeout_ns;
    uint32_t server_flags;
} How;

typedef struct {
    PyObject_HEAD
    How* how;
    PyObject* args;    /* tuple, the named ones last */
    PyObject* kwnames; /* tuple or NULL */
    uint8_t kind;      /* enum kind */
} Start;

typedef struct {
    PyObject_HEAD
    Start* start;
    tsm_pid_t owner, pid; /* 0: not begun */
    uint64_t ref;         /* what READY, NOT_READY or, after the time, Down bears */
    uint64_t monitor_ref; /* START_MONITOR: the caller's */
    uint64_t timeout_ns;
    bool scanning;  /* mb_save is ours */
    bool late;      /* out of time: killed */
    bool impatient; /* the limit is the caller's of result(), not the start's */
    bool over;
} Starting;

PyObject*
tsm_start_nobody(void)
{
    PyErr_SetString(PyExc_RuntimeError, "init_ack(): nobody waits for it; it is for processes started "
                                        "through proc_lib, once");
    return NULL;
}

/* ---- what to start ---- */

static int
seconds_or_none(PyObject* op, uint64_t* ns)
{
    *ns = UINT64_MAX;
    return op == Py_None ? 0 : tsm_delay_ns(op, "timeout", ns);
}

/* _How(target, reference or None, server flags, initial call, timeout, link, *options) */
static PyObject*
how_new(PyTypeObject* type, PyObject* args, PyObject* Py_UNUSED(kwargs))
{
    enum { BEFORE = 6 };
    uint64_t timeout_ns;
    tsm_spawn_options_t options;
    if (PyTuple_GET_SIZE(args) != BEFORE + TSM_SPAWN_OPTIONS) {
        return PyErr_Format(PyExc_TypeError, "_How() takes %d arguments", BEFORE + TSM_SPAWN_OPTIONS);
    }
    PyObject** given = &PyTuple_GET_ITEM(args, 0);
    unsigned long flags = PyLong_AsUnsignedLong(given[2]);
    if (PyErr_Occurred() || seconds_or_none(given[4], &timeout_ns) < 0
        || tsm_spawn_options(given + BEFORE, &options) < 0) {
        return NULL;
    }
    How* self = (How*)type->tp_alloc(type, 0);
    if (self != NULL) {
        options.link = given[5] == Py_True;
        options.start = true;
        self->given = Py_NewRef(args);
        self->options = options;
        self->target = given[0];
        self->reference = given[1] == Py_None ? NULL : given[1];
        self->initial_call = given[3];
        self->timeout_ns = timeout_ns;
        self->server_flags = (uint32_t)flags;
    }
    return (PyObject*)self;
}

static int
how_traverse(PyObject* op, visitproc visit, void* arg)
{
    Py_VISIT(((How*)op)->given);
    return 0;
}

static void
how_dealloc(PyObject* op)
{
    PyObject_GC_UnTrack(op);
    Py_XDECREF(((How*)op)->given);
    PyObject_GC_Del(op);
}

static PyObject*
how_reduce(PyObject* op, PyObject* Py_UNUSED(none))
{
    return PyTuple_Pack(2, (PyObject*)Py_TYPE(op), ((How*)op)->given);
}

/* Is the caller a process that can wait here for what it starts? */
static bool
may_link(void)
{
    tsm_proc_t* p = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    return p != NULL && ((p->flags & TSM_PF_COROUTINE) != 0 || tsm_server_coro(p) != NULL);
}

static PyObject*
make_start(PyObject* how, enum kind kind, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    static const char* const names[] = {"start", "start_link", "start_monitor"};
    if (kind != START && !may_link()) {
        PyObject* done = PyObject_CallFunction(tsm_bind.start_demand, "s", names[kind]);
        if (done == NULL) {
            return NULL;
        }
        Py_DECREF(done);
    }
    Py_ssize_t total = n + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyTypeObject* type = (PyTypeObject*)tsm_bind.starting;
    PyObject* tuple = PyTuple_New(total);
    Start* self = tuple == NULL ? NULL : (Start*)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(tuple);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < total; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    self->how = (How*)Py_NewRef(how);
    self->args = tuple;
    self->kwnames = Py_XNewRef(kwnames);
    self->kind = (uint8_t)kind;
    return (PyObject*)self;
}

static PyObject*
how_start(PyObject* op, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    return make_start(op, START, args, n, kwnames);
}

static PyObject*
how_start_link(PyObject* op, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    return make_start(op, START_LINK, args, n, kwnames);
}

static PyObject*
how_start_monitor(PyObject* op, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    return make_start(op, START_MONITOR, args, n, kwnames);
}

#define FAST(name, fn) {name, (PyCFunction)(void (*)(void))fn, METH_FASTCALL | METH_KEYWORDS, NULL}

static PyMethodDef how_methods[] = {
    FAST("start", how_start),
    FAST("start_link", how_start_link),
    FAST("start_monitor", how_start_monitor),
    {"__reduce__", how_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject TsmHow_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._How",
    .tp_basicsize = sizeof(How),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = how_new,
    .tp_dealloc = how_dealloc,
    .tp_traverse = how_traverse,
    .tp_methods = how_methods,
};

/* ---- beginning ---- */

/* The exception set now: of a name that is taken another one. */
static int
refused(How* how)
{
    if (how->options.name != NULL && PyErr_ExceptionMatches(tsm_bind.name_taken)) {
        PyErr_Clear();
        PyObject* error = PyObject_CallOneArg(tsm_bind.start_taken, how->options.name);
        if (error != NULL) {
            PyErr_SetRaisedException(error);
        }
    }
    return -1;
}

/* True: exception. Receive is in the middle of the mailbox. */
static bool
is_scanning(const tsm_proc_t* p)
{
    if (TSM_UNLIKELY((p->flags & TSM_PF_SCANNING) != 0)) {
        PyErr_SetString(PyExc_RuntimeError, "a start: not inside a predicate of receive");
        return true;
    }
    return false;
}

/* User mode. -1: exception, and nothing was started. */
static int
begin(Starting* self)
{
    Start* start = self->start;
    How* how = start->how;
    tsm_spawn_options_t options = how->options;
    options.link |= start->kind == START_LINK;
    options.monitor = start->kind == START_MONITOR;
    tsm_proc_t* p = tsm_here("a start");
    if (p == NULL) {
        return -1;
    }
    if (is_scanning(p)) {
        return -1;
    }
    PyObject* const* args = &PyTuple_GET_ITEM(start->args, 0);
    Py_ssize_t n = PyTuple_GET_SIZE(start->args)
                   - (start->kwnames == NULL ? 0 : PyTuple_GET_SIZE(start->kwnames));
    uint32_t flag = TSM_PF_SERVER;
    PyObject* body = how->reference != NULL
        ? tsm_server_unborn(how->target, how->server_flags, options.link, args, n, start->kwnames)
        : tsm_spawn_make_body(how->target, args, n, start->kwnames, &flag);
    if (body == NULL) {
        return -1;
    }
    PyObject* origin = tsm_origin_of_child(how->initial_call);
    if (origin == NULL) {
        tsm_spawn_drop_body(body, flag);
        return -1;
    }
    tsm_spawned_t out;
    if (tsm_spawn_body(&options, body, flag, origin, &out) < 0) {
        return refused(how);
    }
    self->owner = out.parent;
    self->pid = out.pid;
    self->ref = out.start_ref;
    self->monitor_ref = out.ref;
    return 0;
}

/* ---- waiting ---- */

bool
tsm_start_ready(tsm_proc_t* p)
{
    return (p->flags & TSM_PF_TIMED_OUT) != 0 || tsm_scan_ref(p, ((Starting*)p->wait)->ref);
}

/* Out of time. From here on nothing but the Down comes of it. */
static int
give_up(tsm_proc_t* p, Starting* self)
{
    tsm_sig_t* kill = tsm_sig_new(TSM_SIG_EXIT);
    uint64_t ref = 0;
    tsm_ptimer_disarm(p);
    if (kill == NULL || tsm_unlink_owner(p, self->pid) < 0
        || tsm_monitor_owner(p, self->pid, TSM_ALIAS_NONE, false, NULL, NULL, &ref) < 0) {
        if (kill != NULL) {
            tsm_sig_free(kill);
        }
        PyErr_NoMemory();
        return -1;
    }
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_MONITOR, self->ref);
    if (rel != NULL) {
        tsm_rel_take_owner(p, rel);
        tsm_rel_free(rel);
    }
    kill->term = Py_NewRef(tsm_bind.s_kill);
    kill->from = tsm_proc_pid(p);
    (void)tsm_signal_any(self->pid, kill);
    tsm_mark_owner(p, ref);
    self->ref = ref;
    self->timeout_ns = UINT64_MAX;
    self->late = true;
    p->mb_save = p->mark;
    return 0;
}

enum step { WAITS, READY, NOT_NEEDED, FAILED, LATE, BROKEN };

/* Takes what came. *value: what READY or NOT_READY carried; new reference or NULL. */
static enum step
take(tsm_proc_t* p, Starting* self, PyObject** value)
{
    tsm_sig_t* msg = tsm_mailbox_take_owner(p, p->mb_save);
    enum step what = msg->kind == TSM_SIG_READY ? READY
                     : (msg->flags & TSM_SIGF_IGNORE) != 0 ? NOT_NEEDED : FAILED;
    PyObject* term = msg->term;
    if (term != NULL && msg->kind != TSM_SIG_DOWN && (msg->flags & TSM_SIGF_CONVERTED) != 0) {
        term = PyTuple_GET_ITEM(term, 2); /* somebody has looked at the mailbox */
    }
    *value = Py_XNewRef(term);
    p->mb_save = &p->mb_first;
    tsm_bury(msg);
    if (tsm_ptimer_is_armed(p)) {
        tsm_ptimer_disarm(p);
    }
    return self->late ? LATE : what;
}

/* Inside the runtime. */
static enum step
step(tsm_proc_t* p, Starting* self, PyObject** value)
{
    if ((p->flags & TSM_PF_DEAD) != 0 || (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p))) {
        return WAITS; /* dead: tsm_done raises */
    }
    if (!self->scanning) {
        p->mb_save = p->mark_ref == self->ref ? p->mark : &p->mb_first;
        self->scanning = true;
    }
    if (tsm_scan_ref(p, self->ref)) {
        return take(p, self, value);
    }
    if ((p->flags & TSM_PF_TIMED_OUT) != 0 || self->timeout_ns == 0) {
        return give_up(p, self) < 0 ? BROKEN : WAITS;
    }
    if (self->timeout_ns != UINT64_MAX && !tsm_ptimer_runs(p)) {
        (void)tsm_ptimer_arm(p, self->timeout_ns); /* no memory: it waits without a limit */
    }
    return WAITS;
}

/* ---- what came of it; user mode ---- */

static PyObject*
started(Starting* self, PyObject* value)
{
    Start* start = self->start;
    if (start->how->reference != NULL) {
        return tsm_agentref_make((PyTypeObject*)start->how->reference, self->pid);
    }
    return value == NULL || value == Py_None ? tsm_pid_object(self->pid) : Py_NewRef(value);
}

/* Takes result (NULL: exception). */
static PyObject*
with_ref(Starting* self, PyObject* result)
{
    if (self->start->kind != START_MONITOR || result == NULL) {
        return result;
    }
    PyObject* ref = tsm_ref_object(self->monitor_ref, self->owner);
    PyObject* both = ref == NULL ? NULL : PyTuple_Pack(2, result, ref);
    Py_XDECREF(ref);
    Py_DECREF(result);
    return both;
}

static PyObject*
raise_start_error(Starting* self, PyObject* reason)
{
    PyObject* ref = self->start->kind != START_MONITOR ? Py_NewRef(Py_None)
                                                       : tsm_ref_object(self->monitor_ref, self->owner);
    PyObject* own = ref == NULL ? NULL : tsm_copy(reason, "a reason"); /* others may be told the same */
    PyObject* error = own == NULL ? NULL : PyObject_CallFunctionObjArgs(tsm_bind.start_error, own, ref, NULL);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    Py_XDECREF(own);
    Py_XDECREF(ref);
    return NULL;
}

/* Takes value. */
static PyObject*
conclude(Starting* self, enum step what, PyObject* value)
{
    PyObject* result = NULL;
    self->over = true;
    if (what == READY) {
        result = with_ref(self, started(self, value));
    } else if (what == NOT_NEEDED) {
        result = with_ref(self, Py_NewRef(Py_None));
    } else if (what == LATE && self->impatient) {
        PyErr_SetString(PyExc_TimeoutError, "result(): not started in time; what was to be started is killed");
    } else {
        (void)raise_start_error(self, what == LATE ? tsm_bind.s_timeout : value);
    }
    Py_XDECREF(value);
    return result;
}

/* Leaves the runtime with what step gave, which was not WAITS. */
static PyObject*
finish(Starting* self, enum step what, PyObject* value)
{
    PyObject* alive = tsm_done(what == BROKEN ? NULL : Py_NewRef(Py_None));
    if (alive == NULL) {
        self->over = true;
        Py_XDECREF(value);
        return NULL;
    }
    return conclude(self, what, value);
}

static PyObject*
starting_next(PyObject* op)
{
    Starting* self = (Starting*)op;
    if (self->over || (self->pid == 0 && begin(self) < 0)) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("a start");
    if (p == NULL) {
        return NULL;
    }
    tsm_worker_t* w = tsm_self;
    tsm_stop_waiting(p, op);
    if (self->owner != tsm_proc_pid(p)) {
        PyErr_SetString(PyExc_RuntimeError, "this start was begun by another process, which alone can wait for it");
    }
    if (self->owner != tsm_proc_pid(p) || is_scanning(p)) {
        return tsm_done(NULL);
    }
    PyObject* value = NULL;
    enum step what = step(p, self, &value);
    if (what == WAITS) {
        return tsm_suspend(w, p, op, false);
    }
    value = finish(self, what, value);
    return value == NULL ? NULL : tsm_finish_await(w, value);
}

/* The coroutine that awaits it is closed: nobody wants to know any more. */
static PyObject*
starting_close(PyObject* op, PyObject* Py_UNUSED(none))
{
    Starting* self = (Starting*)op;
    tsm_proc_t* p = tsm_self == NULL || self->pid == 0 || self->over ? NULL : tsm_worker_proc(tsm_self);
    if (p != NULL && is_scanning(p)) {
        return NULL;
    }
    self->over = true;
    if (p == NULL || tsm_proc_pid(p) != self->owner || (p->flags & TSM_PF_DEAD) != 0) {
        Py_RETURN_NONE;
    }
    if ((p = tsm_begin("a start")) == NULL) {
        return NULL;
    }
    bool cancelled;
    tsm_stop_waiting(p, op);
    tsm_ptimer_disarm(p);
    p->mb_save = &p->mb_first;
    (void)tsm_demonitor_owner(p, self->ref, true, &cancelled);
    return tsm_done(Py_NewRef(Py_None));
}

static void
starting_dealloc(PyObject* op)
{
    PyObject_GC_UnTrack(op);
    Py_XDECREF(((Starting*)op)->start);
    PyObject_GC_Del(op);
}

static int
starting_traverse(PyObject* op, visitproc visit, void* arg)
{
    Py_VISIT(((Starting*)op)->start);
    return 0;
}

static PyMethodDef starting_methods[] = {
    {"close", starting_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject TsmStarting_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Starting",
    .tp_basicsize = sizeof(Starting),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC
                | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = starting_dealloc,
    .tp_traverse = starting_traverse,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = starting_next,
    .tp_methods = starting_methods,
};

/* ---- one start ---- */

static Starting*
starting_new(Start* start)
{
    Starting* self = PyObject_GC_New(Starting, &TsmStarting_Type);
    if (self != NULL) {
        self->start = (Start*)Py_NewRef(start);
        self->owner = self->pid = 0;
        self->ref = self->monitor_ref = 0;
        self->timeout_ns = start->how->timeout_ns;
        self->scanning = self->late = self->impatient = self->over = false;
    }
    return self;
}

static PyObject*
start_await(PyObject* op)
{
    if (TSM_UNLIKELY(!may_link())) {
        return PyObject_CallOneArg(tsm_bind.start_outside, op);
    }
    return (PyObject*)starting_new((Start*)op);
}

/* Before anything is started, which nobody would take care of. False: exception. */
static bool
may_block(void)
{
    tsm_proc_t* p = tsm_begin("result()");
    if (p == NULL) {
        return false;
    }
    bool may = tsm_token_try(p);
    if (!may) {
        PyErr_Format(PyExc_RuntimeError,
                     "result(): %u processes already occupy an OS thread (max_threads); in an async "
                     "def await the start, which needs none", tsm_sched.max_tokens);
    }
    return tsm_done(may ? Py_NewRef(Py_None) : NULL) != NULL;
}

static PyObject*
wait_blocking(Starting* self)
{
    if (!may_block() || begin(self) < 0) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("result()");
    if (p == NULL) {
        return NULL;
    }
    PyObject* value = NULL;
    enum step what;
    int rc = TSM_OK;
    while ((what = step(p, self, &value)) == WAITS && rc == TSM_OK && (p->flags & TSM_PF_DEAD) == 0) {
        rc = tsm_wait_threaded(tsm_self);
    }
    if (what == WAITS) {
        tsm_ptimer_disarm(p);
        return (p->flags & TSM_PF_DEAD) != 0 || PyErr_Occurred() ? tsm_done(NULL)
                                                                   : tsm_done(tsm_raise(rc, "result()"));
    }
    return finish(self, what, value);
}

PyDoc_STRVAR(result_doc, "result($self, /, timeout=None)\n--\n\n"
"Start it, block the calling thread until it is ready, and return what the start gives.\n\n"
"In a process only the process waits: its slot goes on with others.\n\n"
"Args:\n    timeout: Seconds; None leaves it to the start's own limit.\n\n"
"Raises:\n    TimeoutError: Not ready in time.");

static PyObject*
start_result(PyObject* op, PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"timeout", NULL};
    PyObject* timeout = Py_None;
    uint64_t ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:result", names, &timeout)
        || seconds_or_none(timeout, &ns) < 0) {
        return NULL;
    }
    if (tsm_self == NULL || tsm_worker_proc(tsm_self) == NULL) {
        return PyObject_CallFunctionObjArgs(tsm_bind.start_blocking, op, timeout, NULL);
    }
    Starting* self = starting_new((Start*)op);
    if (self == NULL) {
        return NULL;
    }
    if (ns < self->timeout_ns) {
        self->timeout_ns = ns;
        self->impatient = true;
    }
    PyObject* result = wait_blocking(self);
    Py_DECREF(self);
    return result;
}

static int
start_traverse(PyObject* op, visitproc visit, void* arg)
{
    Py_VISIT(((Start*)op)->how);
    Py_VISIT(((Start*)op)->args);
    return 0;
}

static int
start_clear(PyObject* op)
{
    Py_CLEAR(((Start*)op)->args);
    return 0;
}

static void
start_dealloc(PyObject* op)
{
    Start* self = (Start*)op;
    PyObject_GC_UnTrack(op);
    (void)start_clear(op);
    Py_XDECREF(self->how);
    Py_XDECREF(self->kwnames);
    Py_TYPE(op)->tp_free(op); /* a class of Python's is given back by its own dealloc, which calls this one */
}

static PyMethodDef start_methods[] = {
    {"result", (PyCFunction)(void (*)(void))start_result, METH_VARARGS | METH_KEYWORDS, result_doc},
    {NULL, NULL, 0, NULL},
};

static PyAsyncMethods start_async = {.am_await = start_await};

PyTypeObject TsmStart_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Start",
    .tp_basicsize = sizeof(Start),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = start_dealloc,
    .tp_traverse = start_traverse,
    .tp_clear = start_clear,
    .tp_as_async = &start_async,
    .tp_methods = start_methods,
};

/* ---- in the process that is started ---- */

static PyObject*
py_init_ack(PyObject* Py_UNUSED(m), PyObject* value)
{
    PyObject* copy = value == Py_None ? NULL : tsm_copy(value, "an answer of init_ack");
    if (copy == NULL && value != Py_None) {
        return NULL;
    }
    if (copy != NULL && copy != value) {
        tsm_limits_sent(copy);
    }
    tsm_proc_t* p = tsm_begin("init_ack()");
    bool told = p != NULL && tsm_ready_owner(p, copy);
    PyObject* done = p == NULL ? NULL : tsm_done(Py_NewRef(Py_None));
    Py_XDECREF(copy);
    return done == NULL || told ? done : tsm_start_nobody();
}

static PyObject*
py_init_ignore(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_proc_t* p = tsm_begin("init_ignore()");
    if (p == NULL) {
        return NULL;
    }
    (void)tsm_ignore_owner(p);
    return tsm_done(Py_NewRef(Py_None));
}

PyMethodDef tsm_start_methods[] = {
    {"_init_ack", py_init_ack, METH_O, NULL},
    {"_init_ignore", py_init_ignore, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
