/* tsm_server.c - idle servers: a body that is an object, not a frame.
 *
 * What it is      An agent at rest is its state and nothing else. For each message the
 *                 scheduler calls a handler; an async handler's coroutine exists while it
 *                 runs.
 * Protocol        Born as a server with the arguments of init (tsm_start.c): the first turn
 *                 makes the agent and runs init; when that is done its starter is told.
 *                 Then, for each message, oldest first:
 *                   call      method(self, ...) right here; what it returns is the answer
 *                   other     Python decides (transom/_serve.py, dispatch)
 *                 A handler that returns a coroutine has it driven as any body is; other
 *                 messages wait until it is done. What handlers ask for beside that (stop,
 *                 continue, ...) is in flags, and then Python goes on (after).
 *                 An exception that leaves a handler: Python runs terminate (crashed) and
 *                 raises it again, which ends the process.
 * Who touches what
 *                 A Server belongs to its process; handlers change flags and timeout.
 * Source          gen_server
 */
#include "bind/tsm_lookup.h"
#include "bind/tsm_start.h"

#include "proc/tsm_fault.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject* agent; /* S_UNBORN: the tuple (kwnames or None, class, *arguments of init) */
    PyObject* coro;  /* of the handler that runs, or NULL */
    TsmCall* call;   /* being handled, or NULL */
    PyObject* extra; /* a dict of Python's, or NULL */
    uint64_t timeout_ns; /* of idleness; UINT64_MAX: none */
    uint32_t flags;
} Server;

/* As in transom/_serve.py. */
enum {
    S_AFTER = 1,    /* the handler asked for something: call after */
    S_DEBUG = 2,    /* sys watches: every message goes through Python */
    S_DEFERRED = 4, /* the call is answered by somebody, some time */
    S_ENDING = 8,   /* terminate runs: the next exception is the end */
    S_LINKED = 16,  /* started by its parent with a link */
    S_MACHINE = 32, /* every message goes through Python, which answers, too */
    S_LOOP = 64,    /* its handlers run on an event loop: Python has them run */
    S_UNBORN = 128, /* the first turn is still to come */
    S_BOOT = 256,   /* init is not done */
};

PyObject*
tsm_server_unborn(PyObject* agent, uint32_t flags, bool linked, PyObject* const* args, Py_ssize_t n,
                  PyObject* kwnames)
{
    Py_ssize_t total = n + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject* boot = PyTuple_New(total + 2);
    if (boot == NULL || tsm_copy_args(&PyTuple_GET_ITEM(boot, 2), args, total, kwnames) < 0) {
        Py_XDECREF(boot); /* what could not be copied is NULL in it */
        return NULL;
    }
    PyTuple_SET_ITEM(boot, 0, Py_NewRef(kwnames == NULL ? Py_None : kwnames));
    PyTuple_SET_ITEM(boot, 1, Py_NewRef(agent));
    Server* self = PyObject_New(Server, &TsmServer_Type);
    if (self == NULL) {
        Py_DECREF(boot);
        return NULL;
    }
    self->agent = boot;
    self->coro = NULL;
    self->call = NULL;
    self->extra = NULL;
    self->timeout_ns = UINT64_MAX;
    self->flags = flags | S_UNBORN | S_BOOT | (linked ? S_LINKED : 0u);
    return (PyObject*)self;
}

static void
server_dealloc(PyObject* op)
{
    Server* self = (Server*)op;
    Py_XDECREF(self->agent);
    Py_XDECREF(self->coro);
    Py_XDECREF(self->call);
    Py_XDECREF(self->extra);
    PyObject_Free(op);
}

PyObject*
tsm_server_coro(tsm_proc_t* p)
{
    return (p->flags & TSM_PF_SERVER) != 0 ? ((Server*)p->body)->coro : NULL;
}

PyObject*
tsm_server_agent(tsm_proc_t* p)
{
    return p->body == NULL ? NULL : ((Server*)p->body)->agent;
}

PyObject*
tsm_server_extra(tsm_proc_t* p)
{
    PyObject* extra = (p->flags & TSM_PF_SERVER) != 0 ? ((Server*)p->body)->extra : NULL;
    return Py_NewRef(extra == NULL ? Py_None : extra);
}

void
tsm_agent_visit(PyObject* op, visitproc visit, void* arg)
{
    if (Py_IS_TYPE(op, &TsmServer_Type)) {
        Server* self = (Server*)op;
        PyObject* held[4] = {self->agent, self->coro, (PyObject*)self->call, self->extra};
        for (int i = 0; i < 4; i++) {
            (void)visit(held[i], arg);
        }
    }
}

/* ---- answering ---- */

typedef struct {
    tsm_sig_t* sig; /* NULL: none is due */
    tsm_pid_t to;
} answer_t;

/* User mode: the answer as a signal. -1: exception. */
static int
make_answer(Server* self, PyObject* value, answer_t* answer)
{
    if (self->call == NULL || self->call->ref == 0 || (self->flags & S_DEFERRED) != 0) {
        return 0;
    }
    tsm_call_settle(self->call);
    answer->to = self->call->from;
    answer->sig = tsm_message_new(value, self->call->ref, false);
    return answer->sig == NULL ? -1 : 0;
}

/* ---- the first turn ---- */

/* As object.__new__(kind), which refuses what derives from dict and the like, too. */
static PyObject*
new_agent(PyObject* kind)
{
    if (TSM_UNLIKELY(((PyTypeObject*)kind)->tp_new != PyBaseObject_Type.tp_new)) {
        return PyObject_CallMethod((PyObject*)&PyBaseObject_Type, "__new__", "O", kind);
    }
    PyObject* none = PyTuple_New(0);
    PyObject* agent = none == NULL ? NULL : PyBaseObject_Type.tp_new((PyTypeObject*)kind, none, NULL);
    Py_XDECREF(none);
    return agent;
}

/* The agent is made and its init called. What that gave: a coroutine to go on with, or the
 * turn is over. */
static PyObject*
boot(Server* self)
{
    self->flags &= ~(uint32_t)S_UNBORN;
    PyObject* given = self->agent;
    self->agent = NULL;
    PyObject* names = PyTuple_GET_ITEM(given, 0);
    PyObject* kind = PyTuple_GET_ITEM(given, 1);
    self->agent = new_agent(kind);
    if (self->agent == NULL) {
        self->agent = given; /* crash reports may look at it */
        return NULL;
    }
    size_t n = (size_t)PyTuple_GET_SIZE(given) - 1; /* with self */
    PyObject** args = &PyTuple_GET_ITEM(given, 1);  /* the tuple is nobody else's */
    bool loop = (self->flags & S_LOOP) != 0;
    Py_SETREF(args[0], Py_NewRef(loop ? (PyObject*)self : self->agent));
    size_t positional = n - (names == Py_None ? 0 : (size_t)PyTuple_GET_SIZE(names));
    names = names == Py_None ? NULL : names;
    PyObject* result = loop ? PyObject_Vectorcall(tsm_bind.server_enter, args, positional, names)
                            : PyObject_VectorcallMethod(tsm_bind.s_init, args, positional, names);
    Py_DECREF(given);
    return result;
}

/* init is done. Takes result. NULL: exception. */
static PyObject*
booted(Server* self, PyObject* result)
{
    if ((self->flags & S_MACHINE) != 0) {
        PyObject* done = PyObject_CallFunctionObjArgs(tsm_bind.server_booted, (PyObject*)self, result, NULL);
        Py_SETREF(result, done);
        if (result == NULL) {
            return NULL;
        }
    }
    tsm_proc_t* p = tsm_begin("init()");
    bool told = p != NULL && tsm_ready_owner(p, NULL);
    if (p != NULL && tsm_done(Py_NewRef(Py_None)) != NULL && !told) {
        (void)tsm_start_nobody();
    }
    if (PyErr_Occurred()) {
        Py_DECREF(result);
        return NULL;
    }
    self->flags &= ~(uint32_t)S_BOOT;
    return result;
}

/* ---- turns: one message, in user mode ---- */

/* What a handler gave: the coroutine to go on with, or the turn is over. Takes result
 * (NULL: exception). */
static void
took(Server* self, PyObject* result, answer_t* answer)
{
    if (result != NULL && PyCoro_CheckExact(result)) {
        self->coro = result;
        return;
    }
    if (TSM_UNLIKELY((self->flags & S_BOOT) != 0) && result != NULL) {
        result = booted(self, result);
    }
    if (result != NULL && make_answer(self, result, answer) < 0) {
        Py_CLEAR(result);
    }
    bool failed = result == NULL;
    Py_XDECREF(result);
    TsmCall* call = self->call;
    if (!failed) {
        self->call = NULL;
        Py_XDECREF(call);
        self->flags &= ~(uint32_t)S_DEFERRED;
    }
}

/* The exception set now leaves a handler: run terminate. False: it is the end. */
static bool
crashed(Server* self)
{
    if ((self->flags & (S_ENDING | S_BOOT)) != 0) {
        return false;
    }
    self->flags |= S_ENDING;
    PyObject* exc = PyErr_GetRaisedException();
    self->coro = PyObject_CallFunctionObjArgs(tsm_bind.server_crashed, (PyObject*)self, exc, NULL);
    Py_DECREF(exc);
    return self->coro != NULL;
}

/* The handler asked for more than its answer. */
static void
after(Server* self)
{
    self->flags &= ~(uint32_t)S_AFTER;
    self->coro = PyObject_CallOneArg(tsm_bind.server_after, (PyObject*)self);
}

static PyObject*
call_method(Server* self)
{
    TsmCall* call = self->call;
    PyObject* owner = call->method->owner;
    if (TSM_UNLIKELY((PyObject*)Py_TYPE(self->agent) != owner)
        && !PyObject_TypeCheck(self->agent, (PyTypeObject*)owner)) {
        return PyObject_CallFunctionObjArgs(tsm_bind.server_refuse, (PyObject*)self, (PyObject*)call, NULL);
    }
    Py_ssize_t named = call->kwnames == NULL ? 0 : PyTuple_GET_SIZE(call->kwnames);
    call->args[0] = self->agent; /* borrowed for the time of the call */
    size_t n = (size_t)(Py_SIZE(call) - named + 1);
    PyObject* function = tsm_lookup(tsm_self, self->agent, call->method->name);
    PyObject* result = NULL;
    if (TSM_LIKELY(function != NULL)) {
        Py_INCREF(function); /* its class may change meanwhile */
        result = PyObject_Vectorcall(function, call->args, n, call->kwnames);
        Py_DECREF(function);
    } else {
        result = PyObject_VectorcallMethod(call->method->name, call->args, n, call->kwnames);
    }
    call->args[0] = NULL;
    return result;
}

/* Takes message. */
static void
handle(Server* self, PyObject* message, answer_t* answer)
{
    bool call = Py_IS_TYPE(message, &TsmCall_Type)
                && tsm_call_is_for((TsmCall*)message, tsm_proc_pid(tsm_worker_proc(tsm_self)));
    if (TSM_LIKELY(call) && (self->flags & (S_DEBUG | S_MACHINE | S_LOOP)) == 0) {
        self->call = (TsmCall*)message;
        took(self, call_method(self), answer);
        return;
    }
    PyObject* result;
    if (call && (self->flags & S_MACHINE) == 0) {
        self->call = (TsmCall*)Py_NewRef(message);
    }
    result = PyObject_CallFunctionObjArgs(tsm_bind.server_dispatch, (PyObject*)self, message, NULL);
    Py_DECREF(message);
    took(self, result, answer);
}

/* One step of the handler's coroutine. False: it waits. */
static bool
go_on(Server* self, answer_t* answer)
{
    PyObject* result = NULL;
    PySendResult how = tsm_body_resume(self->coro, &result);
    if (how == PYGEN_NEXT) {
        return false;
    }
    Py_CLEAR(self->coro);
    took(self, how == PYGEN_RETURN ? result : NULL, answer);
    return true;
}

/* ---- the loop ---- */

static void
post_answer(tsm_worker_t* w, answer_t* answer)
{
    if (answer->sig == NULL) {
        return;
    }
    tsm_proc_t* p = tsm_worker_proc(w);
    if ((p->flags & TSM_PF_DEAD) != 0) {
        tsm_bury(answer->sig);
        return;
    }
    /* An answer that a fault may drop leaves the monitor to the one who waits. */
    if (TSM_LIKELY(tsm_fault_count == 0) && TSM_LIKELY(tsm_call_release_owner(p, answer->sig->ref))) {
        answer->sig->flags |= TSM_SIGF_RELEASED;
    }
    (void)tsm_signal_any(answer->to, answer->sig);
}

enum turn { T_NEXT, T_WAITS, T_ENDED };

/* A turn, or the next step of one, with message (taken) or the coroutine that stands. On
 * T_ENDED the exception is set. Inside the runtime on entry and on return. */
static enum turn
turn(tsm_worker_t* w, tsm_proc_t* p, Server* self, PyObject* message)
{
    answer_t answer = {NULL, 0};
    enum turn how = T_NEXT;
    tsm_user_begin(w);
    if (TSM_UNLIKELY((self->flags & S_UNBORN) != 0)) {
        took(self, boot(self), &answer);
    } else if (message != NULL) {
        handle(self, message, &answer);
    } else if (!go_on(self, &answer)) {
        how = T_WAITS;
    }
    if (TSM_UNLIKELY(PyErr_Occurred() != NULL) && ((p->flags & TSM_PF_DEAD) != 0 || !crashed(self))) {
        how = T_ENDED;
    } else if (TSM_UNLIKELY((self->flags & S_AFTER) != 0) && self->coro == NULL && how == T_NEXT) {
        after(self);
        how = PyErr_Occurred() ? T_ENDED : T_NEXT;
    }
    if (how != T_ENDED && tsm_has_buried()) {
        tsm_flush();
    }
    tsm_user_end(w);
    post_answer(w, &answer);
    return how;
}

/* The next message as an object, or what stands for idleness. NULL: none. Inside the
 * runtime. New reference. */
static PyObject*
next_message(tsm_proc_t* p, Server* self)
{
    tsm_sig_t* msg = p->mb_first;
    if (msg == NULL) {
        if ((p->flags & TSM_PF_TIMED_OUT) != 0 || self->timeout_ns == 0) {
            tsm_ptimer_disarm(p);
            self->timeout_ns = UINT64_MAX;
            return Py_NewRef(tsm_bind.s_timeout_message);
        }
        if (self->timeout_ns != UINT64_MAX && !tsm_ptimer_runs(p)) {
            (void)tsm_ptimer_arm(p, self->timeout_ns); /* no memory: it stays idle */
        }
        return NULL;
    }
    if (TSM_UNLIKELY(self->timeout_ns != UINT64_MAX)) {
        tsm_ptimer_disarm(p);
        self->timeout_ns = UINT64_MAX;
    }
    if (tsm_message_object(msg, tsm_proc_pid(p)) == NULL) {
        PyErr_Clear(); /* no memory for the record: it is lost */
        tsm_bury(tsm_mailbox_take_owner(p, &p->mb_first));
        return NULL;
    }
    msg = tsm_mailbox_take_owner(p, &p->mb_first);
    PyObject* message = msg->term;
    p->mb_save = &p->mb_first;
    tsm_message_free(p, msg);
    return message;
}

/* May it go on? Looks at the inbox and the budget. */
static bool
may_go_on(tsm_worker_t* w, tsm_proc_t* p, enum tsm_run* how)
{
    if (!tsm_inbox_is_empty(&p->inbox)) {
        (void)tsm_proc_service_owner(p);
    }
    *how = TSM_RUN_YIELD;
    /* relaxed: own thread's counter. */
    return (p->flags & TSM_PF_DEAD) == 0 && tsm_load_relaxed(&w->a_budget) > 0;
}

enum tsm_run
tsm_server_run(tsm_worker_t* w, tsm_proc_t* p)
{
    Server* self = p->body;
    enum tsm_run how;
    for (;;) {
        PyObject* message = NULL;
        if (self->coro == NULL && (self->flags & S_UNBORN) == 0) {
            if (!may_go_on(w, p, &how)) {
                return (p->flags & TSM_PF_DEAD) != 0 ? TSM_RUN_ENDED : how;
            }
            message = next_message(p, self);
            if (message == NULL) {
                return TSM_RUN_WAIT;
            }
            tsm_charge(w, 1);
        }
        switch (turn(w, p, self, message)) {
        case T_ENDED:
            tsm_body_conclude(w, p, NULL);
            return TSM_RUN_ENDED;
        case T_WAITS:
            return tsm_body_waits(w, p);
        case T_NEXT:
            break;
        }
        if ((p->flags & TSM_PF_DEAD) != 0) { /* with a frame it comes back to be unwound */
            return self->coro == NULL ? TSM_RUN_ENDED : TSM_RUN_YIELD;
        }
    }
}

/* ---- for Python ---- */

static PyObject*
py_server(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_proc_t* p = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    if (p == NULL || (p->flags & TSM_PF_SERVER) == 0) {
        Py_RETURN_NONE;
    }
    return Py_NewRef((PyObject*)p->body);
}

/* Is the caller a finaliser on the thread of a process that waits? That thread may be given a slot
 * at any moment, and nobody can take it back before it has returned. */
static PyObject*
py_in_service(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    return PyBool_FromLong(tsm_self != NULL && tsm_worker_proc(tsm_self) == NULL && tsm_in_runtime(tsm_self));
}

static PyObject*
server_timeout(PyObject* op, PyObject* arg)
{
    uint64_t ns = UINT64_MAX;
    if (arg != Py_None && tsm_delay_ns(arg, "seconds", &ns) < 0) {
        return NULL;
    }
    ((Server*)op)->timeout_ns = ns;
    Py_RETURN_NONE;
}

static PyMemberDef server_members[] = {
    {"agent", Py_T_OBJECT_EX, offsetof(Server, agent), 0, NULL},
    {"call", _Py_T_OBJECT, offsetof(Server, call), Py_READONLY, NULL},
    {"extra", _Py_T_OBJECT, offsetof(Server, extra), 0, NULL},
    {"flags", Py_T_UINT, offsetof(Server, flags), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef server_methods[] = {
    {"set_timeout", server_timeout, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject TsmServer_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Server",
    .tp_basicsize = sizeof(Server),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = server_dealloc,
    .tp_members = server_members,
    .tp_methods = server_methods,
};

PyMethodDef tsm_server_methods[] = {
    {"_server", py_server, METH_NOARGS, NULL},
    {"_in_service", py_in_service, METH_NOARGS, NULL},
    {"_watch_calls", tsm_watch_calls, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
