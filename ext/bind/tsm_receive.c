/* tsm_receive.c - selective receive and sleep.
 *
 * What it is      receive(...) returns an awaitable. Awaited, it scans the mailbox from
 *                 the save pointer; a match ends the await, else the process is suspended:
 *                 the awaitable yields the marker up to the driver (tsm_body.c).
 * Who touches what
 *                 A Receive object belongs to one process. The plain receive() without
 *                 match and timeout has no state and is one immortal object for all.
 * Protocol        first step: drain, scan from the oldest (or from the mark when it waits
 *                 for the reference the mark belongs to); later steps go on at mb_save.
 *                 A match, a time-out and a new receive start over.
 * Source          semantics 1.5; OTP's save pointer and receive markers
 */
#include "bind/tsm_aio.h"
#include "bind/tsm_start.h"

enum kind { RECEIVE, SLEEP };

typedef struct {
    PyObject_HEAD
    PyObject* match;     /* tuple; NULL: any message */
    uint64_t timeout_ns; /* UINT64_MAX: none */
    uint8_t kind;
    bool begun; /* the scan has started */
    bool calls; /* match holds a predicate: scanning runs user code */
} Receive;

static PyObject* receive_any; /* receive() without arguments */

/* ---- messages as objects ---- */

static PyObject*
down_object(tsm_sig_t* msg, tsm_pid_t receiver)
{
    PyObject* pid = tsm_pid_object(msg->from);
    PyObject* ref = tsm_ref_object(msg->ref, receiver);
    PyObject* op = NULL;
    if (pid != NULL && msg->name != NULL) {
        Py_SETREF(pid, PyTuple_Pack(2, (PyObject*)msg->name, tsm_bind.node_name));
    }
    if (pid != NULL && ref != NULL) {
        op = tsm_down_object(ref, pid, msg->term, msg->tag == NULL ? tsm_bind.s_down : msg->tag);
    }
    Py_XDECREF(pid);
    Py_XDECREF(ref);
    return op;
}

/* What a start waits for, where somebody else looks at it. */
static PyObject*
started_object(tsm_sig_t* msg, tsm_pid_t receiver)
{
    PyObject* ref = tsm_ref_object(msg->ref, receiver);
    PyObject* value = msg->term == NULL ? Py_None : (PyObject*)msg->term;
    return ref == NULL ? NULL : Py_BuildValue("NsO", ref, msg->kind == TSM_SIG_READY ? "ready" : "not ready", value);
}

PyObject*
tsm_message_object(tsm_sig_t* msg, tsm_pid_t receiver)
{
    if (tsm_sig_is_mail(msg->kind) || (msg->flags & TSM_SIGF_CONVERTED) != 0) {
        return msg->term;
    }
    PyObject* op = NULL;
    if (msg->kind == TSM_SIG_DOWN) {
        op = down_object(msg, receiver);
    } else if (msg->kind == TSM_SIG_READY || msg->kind == TSM_SIG_NOT_READY) {
        op = started_object(msg, receiver);
    } else {
        PyObject* pid = tsm_pid_object(msg->from);
        op = pid == NULL ? NULL : tsm_exit_object(pid, msg->term);
        Py_XDECREF(pid);
    }
    if (op != NULL) {
        Py_XDECREF((PyObject*)msg->term); /* the record holds one as well */
        msg->term = op;
        msg->flags |= TSM_SIGF_CONVERTED;
    }
    return op;
}

void
tsm_message_free(tsm_proc_t* p, tsm_sig_t* msg)
{
    if (TSM_LIKELY(msg->kind == TSM_SIG_MESSAGE)) {
        tsm_sig_free(msg);
    } else if (msg->kind == TSM_SIG_CALL) {
        if (tsm_call_is_over(msg->term)) {
            tsm_sig_free(msg);
        } else {
            tsm_call_accept_owner(p, msg);
        }
    } else {
        msg->term = NULL; /* the tag and name still go the ordinary way */
        tsm_bury(msg);
    }
}

/* ---- matching ---- */

static bool
matches_ref(tsm_sig_t* msg, PyObject* message, uint64_t id)
{
    if (msg->ref == id) {
        return true; /* its DOWN, or sent to this alias */
    }
    if (PyTuple_CheckExact(message) && PyTuple_GET_SIZE(message) > 0) {
        PyObject* first = PyTuple_GET_ITEM(message, 0);
        return tsm_ref_check(first) && ((TsmRef*)first)->id == id;
    }
    return false;
}

static int
matches_one(PyObject* message, tsm_sig_t* msg, PyObject* want)
{
    if (tsm_ref_check(want)) {
        return matches_ref(msg, message, ((TsmRef*)want)->id);
    }
    if (PyType_Check(want) && Py_TYPE(want) == &PyType_Type) {
        return PyObject_TypeCheck(message, (PyTypeObject*)want);
    }
    /* The rest is user code: predicates, and classes with an __instancecheck__. */
    tsm_worker_t* w = tsm_self;
    tsm_worker_proc(w)->flags |= TSM_PF_SCANNING;
    Py_INCREF(message);
    tsm_op_end(w);
    int found = -1;
    if (PyType_Check(want) || !PyCallable_Check(want)) {
        found = PyObject_IsInstance(message, want);
    } else {
        PyObject* answer = PyObject_CallOneArg(want, message);
        found = answer == NULL ? -1 : PyObject_IsTrue(answer);
        Py_XDECREF(answer);
    }
    Py_DECREF(message); /* the mailbox holds one */
    tsm_op_begin(w);
    tsm_worker_proc(w)->flags &= ~(uint32_t)TSM_PF_SCANNING;
    /* Died meanwhile: a call in the mailbox has told its caller, so msg may be gone. */
    return (tsm_worker_proc(w)->flags & TSM_PF_DEAD) != 0 ? -1 : found;
}

static int
matches(tsm_proc_t* p, Receive* self, tsm_sig_t* msg)
{
    PyObject* message = tsm_message_object(msg, tsm_proc_pid(p));
    if (message == NULL) {
        return -1;
    }
    if (self->match == NULL) {
        return 1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->match); i++) {
        int found = matches_one(message, msg, PyTuple_GET_ITEM(self->match, i));
        if (found != 0) {
            return found;
        }
    }
    return 0;
}

static tsm_sig_t**
scan_start(tsm_proc_t* p, Receive* self)
{
    if (p->mark_ref != 0 && self->match != NULL && PyTuple_GET_SIZE(self->match) == 1) {
        PyObject* want = PyTuple_GET_ITEM(self->match, 0);
        if (tsm_ref_check(want) && ((TsmRef*)want)->id == p->mark_ref) {
            return p->mark;
        }
    }
    return &p->mb_first;
}

/* 1: mb_save stands at a match; 0: at the end of the mailbox; -1: exception, or dead. */
static int
scan(tsm_proc_t* p, Receive* self)
{
    while (*p->mb_save != NULL) {
        tsm_sig_t** at = p->mb_save;
        tsm_sig_t* msg = *at;
        int found = matches(p, self, msg);
        if (found > 0) {
            /* A predicate takes its time: a priority message may stand here by now. */
            for (at = *at == msg ? at : &p->mb_first; *at != msg;) {
                at = (tsm_sig_t**)(void*)&(*at)->node.next;
            }
            p->mb_save = at;
        }
        if (found != 0) {
            return found;
        }
        tsm_charge(tsm_self, 1);
        if (p->mb_save == at && *at == msg) { /* else it has set us back to the start */
            p->mb_save = (tsm_sig_t**)(void*)&msg->node.next;
        }
    }
    return 0;
}

/* Takes the message at mb_save out. New reference. */
static PyObject*
take_match(tsm_proc_t* p)
{
    tsm_sig_t* msg = tsm_mailbox_take_owner(p, p->mb_save);
    PyObject* message = msg->term;
    p->mb_save = &p->mb_first;
    tsm_message_free(p, msg);
    return message;
}

/* Who takes any message and has one need not look for more: the inbox's line is written by
 * senders on other cores all the time. But what is urgent or has priority comes first. */
static bool
inbox_due(tsm_proc_t* p, const Receive* self)
{
    /* relaxed: set after the push, so who knows of the signal sees it. */
    return self != (Receive*)receive_any || p->mb_first == NULL || tsm_load_relaxed(&p->a_urgent) != 0;
}

/* One look at the mailbox. 1: *message; 0: nothing yet; -1: exception (time-out too). */
static int
receive_step(tsm_proc_t* p, Receive* self, PyObject** message)
{
    if (inbox_due(p, self) && !tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p)) {
        return -1; /* dead: tsm_done raises */
    }
    if (self->kind == RECEIVE) {
        if (!self->begun) {
            p->mb_save = scan_start(p, self);
            if (self != (Receive*)receive_any) { /* all threads have that one: it is never written */
                self->begun = true;
            }
        }
        int found = self->match == NULL ? *p->mb_save != NULL : scan(p, self);
        if (found > 0) {
            if (tsm_message_object(*p->mb_save, tsm_proc_pid(p)) == NULL) {
                return -1;
            }
            *message = take_match(p);
            if (tsm_ptimer_is_armed(p)) {
                tsm_ptimer_disarm(p);
            }
            return 1;
        }
        if (found < 0) {
            return -1;
        }
    }
    if ((p->flags & TSM_PF_TIMED_OUT) != 0 || self->timeout_ns == 0) {
        tsm_ptimer_disarm(p);
        p->mb_save = &p->mb_first;
        if (self->kind == SLEEP) {
            *message = Py_NewRef(Py_None);
            return 1;
        }
        PyErr_Format(PyExc_TimeoutError, "receive: no matching message within %d.%03d seconds",
                     (int)(self->timeout_ns / 1000000000u),
                     (int)(self->timeout_ns / 1000000u % 1000u));
        return -1;
    }
    if (self->timeout_ns != UINT64_MAX && !tsm_ptimer_runs(p)
        && tsm_ptimer_arm(p, self->timeout_ns) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Called by the driver before it resumes a waiting process: false when there is nothing
 * for it yet, so that its frames need not be touched. */
bool
tsm_receive_ready(tsm_proc_t* p)
{
    Receive* self = p->wait;
    if (TSM_LIKELY((PyObject*)self == receive_any)) {
        return *p->mb_save != NULL;
    }
    if (Py_IS_TYPE((PyObject*)p->wait, &TsmCall_Type)) {
        return tsm_call_ready(p);
    }
    if (Py_IS_TYPE((PyObject*)p->wait, &TsmAnyCall_Type)) {
        return tsm_anycall_ready(p);
    }
    if (Py_IS_TYPE((PyObject*)p->wait, &TsmAio_Type)) {
        return tsm_aio_ready(p);
    }
    if (Py_IS_TYPE((PyObject*)p->wait, &TsmStarting_Type)) {
        return tsm_start_ready(p);
    }
    if ((p->flags & TSM_PF_TIMED_OUT) != 0) {
        return true;
    }
    if (self->kind == SLEEP) {
        return false;
    }
    if (self->match == NULL || self->calls) {
        return *p->mb_save != NULL;
    }
    int found = scan(p, self);
    if (found < 0) {
        PyErr_Clear(); /* out of memory making the record: receive meets it again */
    }
    return found != 0;
}

/* ---- the awaitable ---- */

/* Ends the await with value. The exception object is used again while nobody else holds
 * it; the driver clears its value (tsm_body.c). */
PyObject*
tsm_finish_await(tsm_worker_t* w, PyObject* value)
{
    tsm_pyworker_t* py = w->py;
    PyObject* stop = py->stop;
    if (stop == NULL || Py_REFCNT(stop) != 1) {
        Py_XSETREF(py->stop, PyObject_CallNoArgs(PyExc_StopIteration));
        stop = py->stop;
        if (stop == NULL) {
            Py_DECREF(value);
            return NULL;
        }
    }
    Py_XSETREF(((PyStopIterationObject*)stop)->value, value);
    PyErr_SetRaisedException(Py_NewRef(stop));
    return NULL;
}

PyObject*
tsm_suspend(tsm_worker_t* w, tsm_proc_t* p, PyObject* self, bool yield)
{
    p->wait = yield ? NULL : Py_NewRef(self); /* the body may hold it in ways we do not see */
    w->yield_wanted = yield;
    return tsm_done(Py_NewRef(tsm_bind.marker));
}

/* The caller holds self, so for the usual case this is not the last reference. */
void
tsm_stop_waiting(tsm_proc_t* p, PyObject* self)
{
    PyObject* waited = p->wait;
    p->wait = NULL;
    if (waited != NULL && (waited == self || tsm_bury_term(waited) < 0)) {
        Py_DECREF(waited);
    }
}

static PyObject*
receive_next(PyObject* op)
{
    Receive* self = (Receive*)op;
    tsm_proc_t* p = tsm_begin(self->kind == SLEEP ? "sleep()" : "receive()");
    if (p == NULL) {
        return NULL;
    }
    tsm_worker_t* w = tsm_self;
    if (TSM_UNLIKELY((p->flags & TSM_PF_SCANNING) != 0)) {
        PyErr_SetString(PyExc_RuntimeError, "receive(): not inside a predicate of receive");
        return tsm_done(NULL);
    }
    tsm_stop_waiting(p, op);
    /* A turn is over at a yield point, too. relaxed: own thread's counter. */
    if (TSM_UNLIKELY(tsm_load_relaxed(&w->a_budget) <= 0) && !self->begun) {
        return tsm_suspend(w, p, op, true);
    }
    PyObject* message = NULL;
    int rc = receive_step(p, self, &message);
    if (rc == 0) {
        return tsm_suspend(w, p, op, false);
    }
    if (self->begun) {
        self->begun = false;
    }
    if (rc < 0) {
        tsm_ptimer_disarm(p);
        return tsm_done(NULL);
    }
    message = tsm_done(message);
    return message == NULL ? NULL : tsm_finish_await(w, message);
}

/* sleep(0) and an exhausted turn: once round the run queue. */
static PyObject*
yield_next(PyObject* op)
{
    Receive* self = (Receive*)op;
    if (self->kind != SLEEP || self->timeout_ns != 0) {
        return receive_next(op);
    }
    if (self->begun) {
        return NULL; /* StopIteration without a value: None */
    }
    tsm_proc_t* p = tsm_begin("sleep()");
    if (p == NULL) {
        return NULL;
    }
    self->begun = true;
    tsm_stop_waiting(p, op);
    return tsm_suspend(tsm_self, p, op, true);
}

static int
receive_traverse(PyObject* op, visitproc visit, void* arg)
{
    Py_VISIT(((Receive*)op)->match);
    return 0;
}

static int
receive_clear(PyObject* op)
{
    Py_CLEAR(((Receive*)op)->match);
    return 0;
}

static void
receive_dealloc(PyObject* op)
{
    PyObject_GC_UnTrack(op);
    (void)receive_clear(op);
    PyObject_GC_Del(op);
}

static PyAsyncMethods receive_async = {.am_await = PyObject_SelfIter};

PyTypeObject TsmReceive_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom.Receive",
    .tp_basicsize = sizeof(Receive),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC
                | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "What receive() and sleep() return; await it.",
    .tp_dealloc = receive_dealloc,
    .tp_traverse = receive_traverse,
    .tp_clear = receive_clear,
    .tp_as_async = &receive_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = yield_next,
};

static Receive*
receive_new(enum kind kind, PyObject* match, uint64_t timeout_ns)
{
    Receive* self = PyObject_GC_New(Receive, &TsmReceive_Type);
    if (self != NULL) {
        self->match = Py_XNewRef(match);
        self->timeout_ns = timeout_ns;
        self->kind = (uint8_t)kind;
        self->begun = self->calls = false;
    }
    return self;
}

static int
check_match(Receive* self, PyObject* want)
{
    if (tsm_ref_check(want) || PyType_Check(want)) {
        self->calls |= PyType_Check(want) && Py_TYPE(want) != &PyType_Type;
        return 0;
    }
    self->calls = true;
    if (PyFunction_Check(want)
        && (((PyCodeObject*)PyFunction_GET_CODE(want))->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)) != 0) {
        PyErr_Format(PyExc_TypeError, "receive(): a predicate is a plain function; %R is an async one, "
                     "whose coroutine would accept every message", want);
        return -1;
    }
    if (PyCallable_Check(want)) {
        return 0;
    }
    PyObject* args = NULL; /* int | str and the like work as isinstance takes them */
    if (PyObject_GetOptionalAttrString(want, "__args__", &args) < 0) {
        return -1;
    }
    Py_XDECREF(args);
    if (args == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "receive() matches by types, predicates and Refs, not by %R; write "
                     "receive(lambda m: m == %R) to wait for one value", want, want);
        return -1;
    }
    return 0;
}

static Receive*
receive_parse(PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    uint64_t timeout_ns = UINT64_MAX;
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject* name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_CompareWithASCIIString(name, "timeout") != 0) {
            PyErr_Format(PyExc_TypeError, "receive() got an unexpected argument %R", name);
            return NULL;
        }
        if (args[n + i] != Py_None && !(PyFloat_Check(args[n + i])
            && PyFloat_AS_DOUBLE(args[n + i]) == Py_HUGE_VAL)
            && tsm_delay_ns(args[n + i], "timeout", &timeout_ns) < 0) {
            return NULL;
        }
    }
    PyObject* match = n == 0 ? NULL : PyTuple_New(n);
    if (n != 0 && match == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTuple_SET_ITEM(match, i, Py_NewRef(args[i]));
    }
    Receive* self = receive_new(RECEIVE, match, timeout_ns);
    Py_XDECREF(match);
    for (Py_ssize_t i = 0; self != NULL && i < n; i++) {
        if (check_match(self, args[i]) < 0) {
            Py_CLEAR(self);
        }
    }
    return self;
}

PyObject*
tsm_receive(PyObject* Py_UNUSED(self), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    if (n == 0 && kwnames == NULL) {
        return Py_NewRef(receive_any);
    }
    return (PyObject*)receive_parse(args, n, kwnames);
}

int
tsm_receive_init(void)
{
    receive_any = (PyObject*)receive_new(RECEIVE, NULL, UINT64_MAX);
    if (receive_any == NULL) {
        return -1;
    }
    tsm_immortalize(receive_any);
    return 0;
}

PyObject*
tsm_sleep(PyObject* Py_UNUSED(self), PyObject* arg)
{
    uint64_t ns;
    if (tsm_delay_ns(arg, "seconds", &ns) < 0) {
        return NULL;
    }
    return (PyObject*)receive_new(SLEEP, NULL, ns);
}

/* ---- the same for plain functions: the worker waits with the process ---- */

static PyObject*
sync_wait(Receive* self, const char* what)
{
    tsm_proc_t* p = self == NULL ? NULL : tsm_begin(what);
    PyObject* message = NULL;
    int rc = -1;
    if (p == NULL) {
        Py_XDECREF(self);
        return NULL;
    }
    if ((p->flags & TSM_PF_SCANNING) != 0) {
        PyErr_Format(PyExc_RuntimeError, "%s: not inside a predicate of receive", what);
    } else if (!tsm_token_try(p)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s: %u processes already occupy an OS thread (max_threads); use an async "
                     "def with await receive(), which needs none", what, tsm_sched.max_tokens);
    } else {
        rc = receive_step(p, self, &message);
    }
    while (rc == 0 && (rc = tsm_wait_threaded(tsm_self)) == TSM_OK) {
        if (TSM_UNLIKELY((p->flags & TSM_PF_LIMITED) != 0) && tsm_limits_over(p)) {
            tsm_limits_enforce(tsm_self, p, true);
        }
        if ((p->flags & TSM_PF_DEAD) != 0) {
            break;
        }
        rc = receive_step(p, self, &message);
    }
    if (rc == TSM_E_THREADS && !PyErr_Occurred() && (p->flags & TSM_PF_DEAD) == 0) {
        (void)tsm_raise(rc, what);
    }
    if (message == NULL) {
        tsm_ptimer_disarm(p);
    }
    message = tsm_done(message);
    Py_DECREF(self);
    return message;
}

PyObject*
tsm_sync_receive(PyObject* Py_UNUSED(self), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    return sync_wait(receive_parse(args, n, kwnames), "sync.receive()");
}

PyObject*
tsm_sync_sleep(PyObject* Py_UNUSED(self), PyObject* arg)
{
    uint64_t ns;
    if (tsm_delay_ns(arg, "seconds", &ns) < 0) {
        return NULL;
    }
    return sync_wait(receive_new(SLEEP, NULL, ns), "sync.sleep()");
}
