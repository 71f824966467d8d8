/* tsm_anycall.c - waiting for the first answer to any of several calls.
 *
 * What it is      _first(calls, timeout): awaited, gives the index of a call whose answer
 *                 (or Down) has arrived, and leaves that in the mailbox; awaiting that
 *                 call then takes it without waiting. The request collections of
 *                 transom/_requests.py are built on it.
 * Cost            one look at each message that bears a reference, times the calls.
 * Source          gen_server:wait_response/3 with a request id collection
 */
#include "bind/tsm_agent.h"

typedef struct {
    PyObject_VAR_HEAD
    uint64_t timeout_ns;
    bool begun;
    uint64_t refs[1];
} AnyCall;

static Py_ssize_t
index_of(AnyCall* self, uint64_t ref)
{
    Py_ssize_t n = Py_SIZE(self);
    for (Py_ssize_t i = 0; ref != 0 && i < n; i++) {
        if (self->refs[i] == ref) {
            return i;
        }
    }
    return -1;
}

/* The index of the first answer from mb_save on, or -1. */
static Py_ssize_t
scan(tsm_proc_t* p, AnyCall* self)
{
    Py_ssize_t found = -1;
    while (*p->mb_save != NULL && (found = index_of(self, (*p->mb_save)->ref)) < 0) {
        tsm_charge(tsm_self, 1);
        p->mb_save = (tsm_sig_t**)(void*)&(*p->mb_save)->node.next;
    }
    return found;
}

bool
tsm_anycall_ready(tsm_proc_t* p)
{
    return (p->flags & TSM_PF_TIMED_OUT) != 0 || scan(p, p->wait) >= 0;
}

static PyObject*
any_next(PyObject* op)
{
    AnyCall* self = (AnyCall*)op;
    tsm_proc_t* p = tsm_begin("waiting for answers");
    if (p == NULL) {
        return NULL;
    }
    tsm_worker_t* w = tsm_self;
    if (TSM_UNLIKELY((p->flags & TSM_PF_SCANNING) != 0)) {
        PyErr_SetString(PyExc_RuntimeError, "waiting for answers: not inside a predicate of receive");
        return tsm_done(NULL);
    }
    tsm_stop_waiting(p, op);
    if (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p)) {
        return tsm_done(NULL); /* dead: raises */
    }
    if (!self->begun) {
        p->mb_save = &p->mb_first;
        self->begun = true;
    }
    Py_ssize_t found = scan(p, self);
    if (found < 0 && (p->flags & TSM_PF_TIMED_OUT) == 0 && self->timeout_ns != 0) {
        if (self->timeout_ns != UINT64_MAX && !tsm_ptimer_runs(p)) {
            (void)tsm_ptimer_arm(p, self->timeout_ns); /* no memory: no limit */
        }
        return tsm_suspend(w, p, op, false);
    }
    p->mb_save = &p->mb_first;
    self->begun = false;
    tsm_ptimer_disarm(p);
    if (found < 0) {
        PyErr_SetString(PyExc_TimeoutError, "no answer to any of the calls in time");
        return tsm_done(NULL);
    }
    PyObject* index = tsm_done(PyLong_FromSsize_t(found));
    return index == NULL ? NULL : tsm_finish_await(w, index);
}

static PyObject*
py_first(PyObject* Py_UNUSED(m), PyObject* args)
{
    PyObject *calls, *timeout;
    uint64_t ns = UINT64_MAX;
    if (!PyArg_ParseTuple(args, "O!O:_first", &PyTuple_Type, &calls, &timeout)) {
        return NULL;
    }
    if (timeout != Py_None && tsm_delay_ns(timeout, "timeout", &ns) < 0) {
        return NULL;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(calls);
    AnyCall* self = PyObject_NewVar(AnyCall, &TsmAnyCall_Type, n);
    if (self == NULL) {
        return NULL;
    }
    self->timeout_ns = ns;
    self->begun = false;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject* call = PyTuple_GET_ITEM(calls, i);
        self->refs[i] = Py_IS_TYPE(call, &TsmCall_Type) ? ((TsmCall*)call)->ref : 0;
    }
    return (PyObject*)self;
}

static PyAsyncMethods any_async = {.am_await = PyObject_SelfIter};

PyTypeObject TsmAnyCall_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._AnyCall",
    .tp_basicsize = sizeof(AnyCall),
    .tp_itemsize = sizeof(uint64_t),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_async = &any_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = any_next,
};

PyMethodDef tsm_anycall_methods[] = {
    {"_first", py_first, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
