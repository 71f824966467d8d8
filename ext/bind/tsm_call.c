/* tsm_call.c - a call to an agent: making it, sending it, waiting for its answer.
 *
 * What it is      An awaitable that is also the message the agent gets, so that a call
 *                 needs one object. Nothing happens until it is awaited, asked for its
 *                 result(), or sent.
 * Protocol        first step: copy the arguments (user mode), monitor the agent with an
 *                 alias that the first answer or the Down ends, send: all that is one
 *                 signal (TSM_SIG_CALL). Then wait for what bears its reference; older mail
 *                 is never looked at (the mark). An agent that answers by itself ends the
 *                 monitor on its side and says so in the answer.
 *                 A time-out takes the monitor back: a late answer finds no address.
 * Outside         Where no process awaits it, Python makes a short-lived process of it
 *                 (transom/_call.py).
 * Source          gen:call, with the alias of OTP 24
 */
#include "bind/tsm_agent.h"
#include "bind/tsm_docs.h"
#include "bind/tsm_spare.h"

enum { SMALL = 3 }; /* arguments: calls with fewer are kept for the next one */

PyObject*
tsm_call_new(TsmMethod* method, TsmAgentRef* to, uint64_t timeout_ns, PyObject* const* args,
             Py_ssize_t n, PyObject* kwnames)
{
    Py_ssize_t total = n + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    if (TSM_UNLIKELY(!tsm_arguments_fit(method, n, kwnames)) && tsm_arguments_check(method, args, n, kwnames) < 0) {
        return NULL;
    }
    TsmCall* self = (TsmCall*)(total < SMALL ? tsm_spare_new(TSM_SPARE_CALL_0 + (unsigned)total, &TsmCall_Type, total)
                                             : (PyObject*)PyObject_GC_NewVar(TsmCall, &TsmCall_Type, total));
    if (self == NULL) {
        return NULL;
    }
    self->method = (TsmMethod*)Py_NewRef(method);
    self->name = Py_XNewRef(to->name);
    self->kwnames = Py_XNewRef(kwnames);
    self->to = to->pid;
    self->from = 0;
    self->ref = 0;
    self->timeout_ns = timeout_ns;
    self->a_state = TSM_CALL_NEW;
    self->begun = false;
    self->a_settled = self->a_over = 0;
    self->tracked = false;
    self->args[0] = NULL;
    for (Py_ssize_t i = 0; i < total; i++) {
        self->args[i + 1] = Py_NewRef(args[i]);
        self->tracked |= PyObject_IS_GC(args[i]) != 0;
    }
    if (self->tracked) { /* one that is never sent may stand in what it is to be called with */
        PyObject_GC_Track(self);
    }
    return (PyObject*)self;
}

static int
call_traverse(PyObject* op, visitproc visit, void* arg)
{
    TsmCall* self = (TsmCall*)op;
    for (Py_ssize_t i = 1; i <= Py_SIZE(self); i++) {
        Py_VISIT(self->args[i]);
    }
    return 0;
}

/* Finalisers may have it still. */
static int
call_clear(PyObject* op)
{
    TsmCall* self = (TsmCall*)op;
    for (Py_ssize_t i = 1; i <= Py_SIZE(self); i++) {
        Py_SETREF(self->args[i], Py_NewRef(Py_None));
    }
    return 0;
}

static void
call_dealloc(PyObject* op)
{
    TsmCall* self = (TsmCall*)op;
    if (self->tracked) {
        PyObject_GC_UnTrack(op);
    }
    for (Py_ssize_t i = 1; i <= Py_SIZE(self); i++) {
        Py_XDECREF(self->args[i]);
    }
    Py_DECREF(self->method);
    Py_XDECREF(self->name);
    Py_XDECREF(self->kwnames);
    if (Py_SIZE(self) < SMALL) {
        tsm_spare_free(TSM_SPARE_CALL_0 + (unsigned)Py_SIZE(self), op);
    } else {
        PyObject_GC_Del(op);
    }
}

/* ---- whose it is ---- */

static uint8_t
state_of(const TsmCall* self)
{
    return tsm_load_acquire(&self->a_state); /* acquire: pairs with set_state. */
}

static void
set_state(TsmCall* self, enum tsm_call_state state)
{
    tsm_store_release(&self->a_state, (uint8_t)state); /* release: sent, then its arguments are copies. */
}

/* True: it was new and is the caller's now, who sends it or gives it back. Copying the arguments
 * runs user code, which may have the same call, as other threads may. */
static bool
claim(TsmCall* self)
{
    uint8_t expected = TSM_CALL_NEW;
    return tsm_cas_acq_rel(&self->a_state, &expected, TSM_CALL_SENDING); /* acq_rel: as a lock. */
}

static void
give_back(TsmCall* self)
{
    if (state_of(self) == TSM_CALL_SENDING) {
        set_state(self, TSM_CALL_NEW);
    }
}

bool
tsm_call_is_for(const TsmCall* call, tsm_pid_t pid)
{
    uint8_t state = state_of(call);
    return state != TSM_CALL_NEW && state != TSM_CALL_SENDING && call->to == pid;
}

static PyObject*
raise_error(TsmCall* self, PyObject* reason)
{
    PyObject* error = PyObject_CallFunctionObjArgs(tsm_bind.call_error, (PyObject*)self, reason, NULL);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return NULL;
}

/* ---- who waits for whom (transom/_cycles.py), when that is asked for ---- */

static bool watching; /* changed by a program at will; a call sees it or not */

PyObject*
tsm_watch_calls(PyObject* Py_UNUSED(m), PyObject* arg)
{
    /* relaxed, both: a switch; the notes themselves are guarded by Python's dict. */
    bool before = tsm_load_relaxed(&watching);
    tsm_store_relaxed(&watching, arg == Py_True);
    return PyBool_FromLong(before);
}

static bool
is_watching(void)
{
    return TSM_UNLIKELY(tsm_load_relaxed(&watching)); /* relaxed: as above. */
}

void
tsm_call_settle(TsmCall* call)
{
    /* release: pairs with call_get_open: who answers has settled before it calls back. */
    tsm_store_release(&call->a_settled, 1);
}

/* Before the DEMONITOR is pushed. */
static void
set_over(TsmCall* call)
{
    tsm_store_relaxed(&call->a_over, 1); /* relaxed: the push releases it. */
}

bool
tsm_call_is_over(const TsmCall* call)
{
    tsm_proc_t* asker = tsm_ptab_get_any(call->from);
    /* relaxed: whoever has handled the DEMONITOR has acquired it; else that is still to come. The
     * same goes for a death, which closes the inbox before it tells anybody. */
    return tsm_load_relaxed(&call->a_over) != 0 || asker == NULL || tsm_inbox_is_dead(&asker->inbox);
}

static void
unwatch(TsmCall* self)
{
    PyObject* exc = PyErr_GetRaisedException();
    PyObject* done = PyObject_CallOneArg(tsm_bind.call_unwatch, (PyObject*)self);
    if (done == NULL) {
        PyErr_WriteUnraisable(tsm_bind.call_unwatch);
    }
    Py_XDECREF(done);
    PyErr_SetRaisedException(exc);
}

/* ---- sending ---- */

/* User mode. From here on the arguments are the agent's. */
static int
isolate(TsmCall* self)
{
    for (Py_ssize_t i = 1; i <= Py_SIZE(self); i++) {
        PyObject* copy = tsm_copy(self->args[i], "an argument of a call");
        if (copy == NULL) {
            return -1;
        }
        Py_SETREF(self->args[i], copy);
    }
    return 0;
}

static int
resolve(TsmCall* self)
{
    if (self->name != NULL) {
        self->to = tsm_name_find_any(self->name, tsm_name_hash(self->name));
    }
    return self->to == 0 ? TSM_E_NOPROC : TSM_OK;
}

/* NULL: sent; else the reason (borrowed) for which it cannot be. No memory: exception. */
static PyObject*
send_owner(tsm_proc_t* p, TsmCall* self)
{
    set_state(self, TSM_CALL_DONE);
    if (resolve(self) < 0) {
        return tsm_bind.s_noproc;
    }
    if (self->to == tsm_proc_pid(p)) {
        return tsm_bind.s_calling_self;
    }
    if (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p)) {
        return NULL; /* dead: tsm_done raises */
    }
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_CALL);
    uint64_t ref = tsm_ref_new();
    tsm_mark_owner(p, ref); /* what has arrived so far is older */
    tsm_rel_t* rel = sig == NULL ? NULL : tsm_rel_add_owner(p, TSM_REL_MONITOR, ref);
    if (rel == NULL) {
        if (sig != NULL) {
            tsm_sig_free(sig);
        }
        PyErr_NoMemory();
        return NULL;
    }
    rel->peer = self->to;
    rel->alias_mode = TSM_ALIAS_REPLY_DEMONITOR;
    self->ref = ref;
    self->from = tsm_proc_pid(p);
    set_state(self, TSM_CALL_SENT);
    sig->term = Py_NewRef(self);
    sig->from = self->from;
    sig->ref = ref;
    sig->flags = TSM_SIGF_ASKS;
    if (TSM_UNLIKELY(tsm_signal_any(self->to, sig) == TSM_E_FULL) && !tsm_call_full(self->to, sig)) {
        tsm_rel_take_owner(p, rel);
        tsm_rel_free(rel);
        set_state(self, TSM_CALL_DONE);
        return tsm_bind.s_queue_full;
    }
    return NULL;
}

PyObject*
tsm_call_cast(PyObject* op)
{
    TsmCall* self = (TsmCall*)op;
    tsm_sig_t* sig = NULL;
    if (tsm_caller_is_dead()) {
        Py_DECREF(op);
        return tsm_raise_killed();
    }
    if (!tsm_check_caller() || isolate(self) < 0) {
        Py_DECREF(op);
        return NULL;
    }
    set_state(self, TSM_CALL_CAST);
    if (resolve(self) < 0) {
        Py_DECREF(op);
        Py_RETURN_NONE;
    }
    if ((sig = tsm_sig_new(TSM_SIG_MESSAGE)) == NULL) {
        Py_DECREF(op);
        return PyErr_NoMemory();
    }
    sig->term = op;
    sig->ref = 0;
    sig->flags = TSM_SIGF_ASKS;
    return tsm_post(self->to, sig);
}

/* ---- waiting ---- */

enum step { WAITS, ANSWERED, DOWN, TIMED_OUT };

/* Where the scan begins. */
static void
scan_begin(tsm_proc_t* p, TsmCall* self)
{
    p->mb_save = p->mark_ref == self->ref ? p->mark : &p->mb_first;
    self->begun = true;
}

bool
tsm_call_ready(tsm_proc_t* p)
{
    return (p->flags & TSM_PF_TIMED_OUT) != 0 || tsm_scan_ref(p, ((TsmCall*)p->wait)->ref);
}

/* Takes the answer. *value: it, or the reason of the Down; new reference, NULL: no memory. */
static enum step
take(tsm_proc_t* p, PyObject** value)
{
    tsm_sig_t* msg = tsm_mailbox_take_owner(p, p->mb_save);
    enum step what = msg->kind == TSM_SIG_DOWN ? DOWN : ANSWERED;
    *value = msg->term;
    p->mb_save = &p->mb_first;
    if (TSM_LIKELY(what == ANSWERED)) {
        tsm_message_free(p, msg);
    } else {
        *value = (msg->flags & TSM_SIGF_CONVERTED) != 0 ? tsm_record_reason_shared(*value) : Py_NewRef(*value);
        tsm_bury(msg);
    }
    if (tsm_ptimer_is_armed(p)) {
        tsm_ptimer_disarm(p);
    }
    return what;
}

/* Inside the runtime, alive. */
static enum step
step(tsm_proc_t* p, TsmCall* self, PyObject** value)
{
    if ((p->flags & TSM_PF_DEAD) != 0 || (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p))) {
        return WAITS; /* dead: tsm_done raises */
    }
    if (!self->begun) {
        scan_begin(p, self);
    }
    if (tsm_scan_ref(p, self->ref)) {
        return take(p, value);
    }
    if ((p->flags & TSM_PF_TIMED_OUT) != 0 || self->timeout_ns == 0) {
        bool cancelled;
        tsm_ptimer_disarm(p);
        p->mb_save = &p->mb_first;
        set_over(self);
        (void)tsm_demonitor_owner(p, self->ref, true, &cancelled);
        return TIMED_OUT;
    }
    if (self->timeout_ns != UINT64_MAX && !tsm_ptimer_runs(p)) {
        (void)tsm_ptimer_arm(p, self->timeout_ns); /* no memory: it waits without a limit */
    }
    return WAITS;
}

/* What came of the call, after the runtime is left. Takes value. */
static PyObject*
conclude(TsmCall* self, enum step what, PyObject* value)
{
    set_state(self, TSM_CALL_DONE);
    if (is_watching()) {
        unwatch(self);
    }
    if (what == ANSWERED) {
        if (TSM_LIKELY((PyObject*)Py_TYPE(value) != tsm_bind.refused)) {
            return value;
        }
        what = DOWN;
    }
    if (what == DOWN && value != NULL) {
        PyObject* own = tsm_copy(value, "a reason"); /* others may be told of the same end */
        if (own == NULL) {
            Py_DECREF(value);
            return NULL;
        }
        Py_SETREF(value, own);
    }
    (void)raise_error(self, what == DOWN ? value : tsm_bind.s_timeout);
    Py_XDECREF(value);
    return NULL;
}

/* -1: waiting for it would close a circle, or another exception. */
static int
watch(TsmCall* self)
{
    PyObject* circle = PyObject_CallOneArg(tsm_bind.call_watch, (PyObject*)self);
    if (circle == Py_None) {
        Py_DECREF(circle);
        return 0;
    }
    if (circle != NULL) {
        set_state(self, TSM_CALL_DONE);
        (void)raise_error(self, circle);
        Py_DECREF(circle);
    }
    return -1;
}

/* It is the caller's to send, or was sent, by whom is asked next (check_mine). */
static int
check_fresh(TsmCall* self)
{
    if (TSM_LIKELY(claim(self))) {
        if (isolate(self) < 0 || (is_watching() && watch(self) < 0)) {
            give_back(self);
            return -1;
        }
        return 0;
    }
    uint8_t state = state_of(self);
    if (state == TSM_CALL_SENT) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    state == TSM_CALL_SENDING ? "this call is being sent by somebody else, who alone can wait for it"
                                              : "a call can be awaited once; call the method again for another one");
    return -1;
}

/* Inside the runtime. False: exception. */
static bool
check_mine(tsm_proc_t* p, TsmCall* self)
{
    bool sent = state_of(self) != TSM_CALL_SENDING;
    if ((p->flags & TSM_PF_SCANNING) != 0) {
        PyErr_SetString(PyExc_RuntimeError, "a call: not inside a predicate of receive");
    } else if (sent && self->from != tsm_proc_pid(p)) {
        PyErr_SetString(PyExc_RuntimeError, "this call was sent by another process, which alone can wait for it");
    } else {
        return true;
    }
    if (!sent) {
        give_back(self);
    }
    return false;
}

static PyObject*
call_next(PyObject* op)
{
    TsmCall* self = (TsmCall*)op;
    if (state_of(self) != TSM_CALL_SENT && check_fresh(self) < 0) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("a call");
    if (p == NULL) {
        give_back(self);
        return NULL;
    }
    tsm_worker_t* w = tsm_self;
    tsm_stop_waiting(p, op);
    if (!check_mine(p, self)) {
        return tsm_done(NULL);
    }
    if (state_of(self) == TSM_CALL_SENDING) {
        PyObject* refused = send_owner(p, self);
        if (refused != NULL || PyErr_Occurred()) {
            if (tsm_done(refused == NULL ? NULL : Py_NewRef(refused)) != NULL) {
                (void)raise_error(self, refused);
                Py_DECREF(refused);
            }
            return NULL;
        }
    }
    PyObject* value = NULL;
    enum step what = step(p, self, &value);
    if (what == WAITS) {
        return tsm_suspend(w, p, op, false);
    }
    value = tsm_done(value == NULL ? Py_NewRef(Py_None) : value);
    if (value == NULL) {
        return NULL;
    }
    value = conclude(self, what, value);
    return value == NULL ? NULL : tsm_finish_await(w, value);
}

static PyObject*
call_await(PyObject* op)
{
    /* A plain function may run an event loop of its own. */
    tsm_proc_t* p = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    if (TSM_LIKELY(p != NULL && (p->flags & TSM_PF_COROUTINE) != 0)) {
        return Py_NewRef(op);
    }
    if (p != NULL && tsm_server_coro(p) != NULL) {
        return Py_NewRef(op);
    }
    return PyObject_CallOneArg(tsm_bind.call_outside, op);
}

/* ---- blocking ---- */

static PyObject*
wait_blocking(tsm_proc_t* p, TsmCall* self)
{
    PyObject* value = NULL;
    enum step what = WAITS;
    int rc = TSM_OK;
    while ((what = step(p, self, &value)) == WAITS && rc == TSM_OK && (p->flags & TSM_PF_DEAD) == 0) {
        rc = tsm_wait_threaded(tsm_self);
    }
    if (what == WAITS) {
        tsm_ptimer_disarm(p);
        return (p->flags & TSM_PF_DEAD) != 0 || PyErr_Occurred() ? tsm_done(NULL)
                                                                   : tsm_done(tsm_raise(rc, "result()"));
    }
    value = tsm_done(value == NULL ? Py_NewRef(Py_None) : value);
    return value == NULL ? NULL : conclude(self, what, value);
}

PyDoc_STRVAR(result_doc, "result($self, /, timeout=...)\n--\n\n"
"Send the call, block until the answer is there, and return it; for plain functions and threads.\n\n"
"In a process only the process waits: its slot goes on with others.\n\n"
"Args:\n    timeout: Seconds; None waits for ever; not given: as the call has it (5, or options).\n\n"
"Raises:\n    CallError: As when it is awaited.");

static PyObject*
call_result(PyObject* op, PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"timeout", NULL};
    TsmCall* self = (TsmCall*)op;
    PyObject* timeout = NULL;
    uint64_t ns = UINT64_MAX;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:result", names, &timeout)) {
        return NULL;
    }
    if (timeout != NULL && timeout != Py_None && tsm_delay_ns(timeout, "timeout", &ns) < 0) {
        return NULL;
    }
    if (tsm_self == NULL || tsm_worker_proc(tsm_self) == NULL) {
        if (timeout != NULL && state_of(self) == TSM_CALL_NEW) {
            self->timeout_ns = ns;
        }
        return PyObject_CallOneArg(tsm_bind.call_blocking, op);
    }
    if (state_of(self) != TSM_CALL_SENT && check_fresh(self) < 0) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("result()");
    if (p == NULL) {
        give_back(self);
        return NULL;
    }
    if (!check_mine(p, self)) {
        return tsm_done(NULL);
    }
    if (!tsm_token_try(p)) { /* before it is sent: nobody would take the answer */
        give_back(self);
        PyErr_Format(PyExc_RuntimeError,
                     "result(): %u processes already occupy an OS thread (max_threads); in an async "
                     "def await the call, which needs none", tsm_sched.max_tokens);
        return tsm_done(NULL);
    }
    if (timeout != NULL) {
        self->timeout_ns = ns;
    }
    PyObject* refused = state_of(self) == TSM_CALL_SENDING ? send_owner(p, self) : NULL;
    if (refused != NULL || PyErr_Occurred()) {
        if (tsm_done(refused == NULL ? NULL : Py_NewRef(refused)) != NULL) {
            (void)raise_error(self, refused);
            Py_DECREF(refused);
        }
        return NULL;
    }
    return wait_blocking(p, self);
}

PyDoc_STRVAR(call_send_doc, "send($self, /)\n--\n\n"
"Send the call now and return it, to await it later; the answer waits in the mailbox, where only\n"
"this call finds it. Only inside a process.\n\n"
"Raises:\n    CallError: No process has the name, or it is the caller itself.\n\n"
"Source: gen_server:send_request/2.");

static PyObject*
call_send(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmCall* self = (TsmCall*)op;
    if (!claim(self)) {
        return PyErr_Format(PyExc_RuntimeError, "this call has been sent already");
    }
    tsm_proc_t* p = isolate(self) < 0 ? NULL : tsm_begin("send()");
    if (p == NULL) {
        give_back(self);
        return NULL;
    }
    PyObject* refused = send_owner(p, self);
    if (tsm_done(PyErr_Occurred() ? NULL : Py_NewRef(op)) == NULL) {
        return NULL;
    }
    if (refused != NULL) {
        Py_DECREF(op);
        return raise_error(self, refused);
    }
    return op;
}

/* ---- the type ---- */

static PyObject*
call_settle(PyObject* op, PyObject* Py_UNUSED(none))
{
    tsm_call_settle((TsmCall*)op);
    Py_RETURN_NONE;
}

/* The caller is about to take its monitor back. */
static PyObject*
call_over(PyObject* op, PyObject* Py_UNUSED(none))
{
    set_over((TsmCall*)op);
    Py_RETURN_NONE;
}

static PyObject*
call_self(PyObject* op, PyObject* Py_UNUSED(memo))
{
    return Py_NewRef(op);
}

static PyMethodDef call_methods[] = {
    {"result", (PyCFunction)(void (*)(void))call_result, METH_VARARGS | METH_KEYWORDS, result_doc},
    {"send", call_send, METH_NOARGS, call_send_doc},
    {"_settle", call_settle, METH_NOARGS, NULL},
    {"_over", call_over, METH_NOARGS, NULL},
    {"_arguments", tsm_call_arguments, METH_NOARGS, NULL},
    {"__copy__", call_self, METH_NOARGS, NULL},
    {"__deepcopy__", call_self, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyAsyncMethods call_async = {.am_await = call_await};

PyTypeObject TsmCall_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom.Call",
    .tp_basicsize = sizeof(TsmCall),
    .tp_itemsize = sizeof(PyObject*),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION
                | Py_TPFLAGS_HAVE_GC,
    .tp_doc = tsm_doc_Call_type,
    .tp_dealloc = call_dealloc,
    .tp_traverse = call_traverse,
    .tp_clear = call_clear,
    .tp_repr = tsm_call_repr,
    .tp_as_async = &call_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = call_next,
    .tp_methods = call_methods,
    .tp_getset = tsm_call_getset,
};
