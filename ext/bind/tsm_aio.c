/* tsm_aio.c - what aio() returns: the process's half of an operation on a loop.
 *
 * What it is      One awaitable for three uses. `await` runs something and gives its
 *                 result; `async for` gives what a stream brings, one by one; `async
 *                 with` keeps a context manager open on the loop. Nothing happens before.
 * Protocol        first step: the operation is made (user mode), queued for the loop and
 *                 waited for. The result itself is handed over, not a copy of it.
 *                 The handle's end, by whatever way, is the operation's end: see "giving
 *                 up" in tsm_aio.h. A process that is killed drops its handles.
 * Outside         Where no process awaits it, Python does (transom/_aio.py).
 * Where tested    tests/semantics/test_aio.py
 */
#include "bind/tsm_agent.h"
#include "bind/tsm_aio.h"

enum want { WANT_RESULT, WANT_ITEM, WANT_ENTER, WANT_EXIT, WANT_NOTHING };

typedef struct {
    PyObject_HEAD
    PyObject* what; /* until the operation is made */
    PyObject* loop; /* which one: an int */
    TsmIoOp* op;
    uint64_t timeout_ns;
    uint32_t window;
    uint8_t kind;
    uint8_t want;
    tsm_pid_t a_user; /* atomic: who uses it; 0: nobody yet; OUTSIDE: no process */
} TsmAio;

#define OUTSIDE UINT64_MAX

static bool
here(void)
{
    return tsm_self != NULL && tsm_worker_proc(tsm_self) != NULL;
}

static tsm_pid_t
user(void)
{
    return here() ? tsm_proc_pid(tsm_worker_proc(tsm_self)) : OUTSIDE;
}

/* ---- giving up ---- */

/* Any thread, also in the runtime. */
static void
give_up(TsmAio* self)
{
    TsmIoOp* op = self->op;
    if (op == NULL) {
        return;
    }
    tsm_mutex_lock(&op->lock);
    bool tell = !op->ended && !op->dropped && !op->noted;
    op->noted |= tell;
    op->dropped |= !op->ended;
    op->waiting = false;
    tsm_mutex_unlock(&op->lock);
    if (tell) {
        (void)tsm_io_push(op->loop, &op->note); /* closed: it ends everything itself */
    }
}

static void
aio_dealloc(PyObject* op)
{
    TsmAio* self = (TsmAio*)op;
    give_up(self);
    Py_XDECREF(self->what);
    Py_XDECREF(self->loop);
    Py_XDECREF(self->op);
    PyObject_Free(op);
}

/* ---- beginning ---- */

static PyObject*
context_of_caller(void)
{
    PyObject* context = NULL;
    if (tsm_context_inherit(&context) < 0) {
        return NULL;
    }
    return context != NULL ? context : PyContext_New();
}

/* User mode: makes the operation. */
static int
prepare(TsmAio* self)
{
    PyObject* loop = PyObject_CallOneArg(tsm_bind.aio_loop, self->loop);
    PyObject* context = loop == NULL ? NULL : context_of_caller();
    if (context != NULL) {
        self->op = tsm_io_op_new((TsmIoLoop*)loop, self->what, context, (enum tsm_io_kind)self->kind,
                                 self->kind == TSM_IO_STREAM ? self->window : 1);
    }
    Py_XDECREF(loop);
    Py_XDECREF(context);
    if (self->op == NULL) {
        return -1;
    }
    self->what = NULL; /* the operation's now */
    tsm_disown_all(self->op->what); /* it will be dropped by the loop's thread, like the other two */
    tsm_disown(self->op->context);
    tsm_disown((PyObject*)self->op);
    return 0;
}

/* Inside the runtime. False: an exception is set. */
static bool
submit(tsm_proc_t* p, TsmAio* self)
{
    TsmIoOp* op = self->op;
    op->owner = tsm_proc_pid(p);
    if (!tsm_io_push(op->loop, &op->start)) {
        op->ended = true; /* nobody else knows it */
        PyErr_SetString(tsm_bind.not_running, "aio(): the event loops have stopped; the node is stopping");
        return false;
    }
    return true;
}

/* A process runs on one thread at a time, so what is its own is touched by one alone. */
static int
check_use(TsmAio* self)
{
    tsm_pid_t mine = tsm_load_relaxed(&self->a_user); /* relaxed: our own write, or not ours. */
    if (mine != user()) {
        PyErr_SetString(PyExc_RuntimeError, "aio(): another process uses this operation, which alone can wait for it");
        return -1;
    }
    if (self->want == WANT_NOTHING || (self->op == NULL && self->what == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "what aio() returns can be used once; call aio() again");
        return -1;
    }
    return self->op != NULL ? 0 : prepare(self);
}

static int
begin_as(TsmAio* self, enum tsm_io_kind kind, enum want want)
{
    tsm_pid_t seen = 0;
    /* acq_rel: one user gets it; what follows is that user's alone. */
    if (!tsm_cas_acq_rel(&self->a_user, &seen, user())) {
        PyErr_SetString(PyExc_RuntimeError, "what aio() returns can be used once; call aio() again");
        return -1;
    }
    self->kind = (uint8_t)kind;
    self->want = (uint8_t)want;
    return 0;
}

/* ---- one look ---- */

enum got { GOT_NOTHING, GOT_ITEM, GOT_END, GOT_ERROR, GOT_TIMEOUT };

/* Under the lock: there is room again, the loop should know. */
static bool
room_again(TsmIoOp* op)
{
    if (!op->stalled || op->len > op->cap / 2) {
        return false;
    }
    op->stalled = false;
    bool tell = !op->noted && !op->dropped;
    op->noted |= tell;
    return tell;
}

/* What is there; value: new reference. When nothing is: the loop will wake the process. */
static enum got
look(TsmIoOp* op, PyObject** value)
{
    enum got got = GOT_NOTHING;
    bool tell = false;
    tsm_sig_t* spare = tsm_sig_new(TSM_SIG_TIMEOUT);
    tsm_mutex_lock(&op->lock);
    op->waiting = false;
    if (op->nudge == NULL) {
        op->nudge = spare;
        spare = NULL;
    }
    if (op->len > 0) {
        got = GOT_ITEM;
        *value = op->ring[op->head];
        op->head = (op->head + 1) % op->cap;
        op->len--;
        tell = room_again(op);
    } else if (op->ended || op->dropped) {
        *value = op->error;
        op->error = NULL;
        got = *value == NULL ? GOT_END : GOT_ERROR;
    } else if (op->nudge == NULL) {
        PyErr_NoMemory();
        got = GOT_ERROR;
    } else {
        op->waiting = true;
    }
    tsm_mutex_unlock(&op->lock);
    if (spare != NULL) {
        tsm_sig_free(spare);
    }
    if (tell) {
        (void)tsm_io_push(op->loop, &op->note);
    }
    return got;
}

bool
tsm_aio_ready(tsm_proc_t* p)
{
    TsmIoOp* op = ((TsmAio*)p->wait)->op;
    if ((p->flags & TSM_PF_TIMED_OUT) != 0) {
        return true;
    }
    tsm_mutex_lock(&op->lock);
    bool ready = op->len > 0 || op->ended || op->dropped;
    tsm_mutex_unlock(&op->lock);
    return ready;
}

/* Inside the runtime, alive. */
static enum got
step(tsm_proc_t* p, TsmAio* self, PyObject** value)
{
    if ((p->flags & TSM_PF_DEAD) != 0 || (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p))) {
        return GOT_NOTHING; /* dead: tsm_done raises */
    }
    enum got got = look(self->op, value);
    if (got == GOT_NOTHING && self->want != WANT_EXIT) {
        if ((p->flags & TSM_PF_TIMED_OUT) != 0 || self->timeout_ns == 0) {
            give_up(self);
            got = GOT_TIMEOUT;
        } else if (self->timeout_ns != UINT64_MAX && !tsm_ptimer_runs(p)) {
            (void)tsm_ptimer_arm(p, self->timeout_ns); /* no memory: it waits without a limit */
        }
    }
    if (got != GOT_NOTHING && tsm_ptimer_is_armed(p)) {
        tsm_ptimer_disarm(p);
    }
    return got;
}

/* ---- what came of it; user mode ---- */

static PyObject*
raise_timeout(TsmAio* self)
{
    static const char* const names[] = {"not done", "no item of the stream", "not open"};
    return PyErr_Format(PyExc_TimeoutError, "aio(): %s within %d.%03d seconds", names[self->kind],
                        (int)(self->timeout_ns / 1000000000u), (int)(self->timeout_ns / 1000000u % 1000u));
}

/* Takes value. The item, or NULL with an exception: StopAsyncIteration at the end of a stream. */
static PyObject*
conclude(TsmAio* self, enum got got, PyObject* value)
{
    if (self->want == WANT_RESULT || self->want == WANT_EXIT || (got != GOT_ITEM && got != GOT_END)) {
        self->want = WANT_NOTHING;
    }
    switch (got) {
    case GOT_ITEM:
        return value;
    case GOT_ERROR:
        PyErr_SetRaisedException(value);
        return NULL;
    case GOT_TIMEOUT:
        return raise_timeout(self);
    case GOT_END:
    case GOT_NOTHING:
        break;
    }
    if (self->kind == TSM_IO_STREAM) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
    } else {
        PyErr_SetString(PyExc_RuntimeError, "aio(): what it ran ended without a result");
    }
    return NULL;
}

/* An exception in step, or a death: the value is not wanted. */
static PyObject*
fail(PyObject* value)
{
    PyObject* none = tsm_done(NULL);
    Py_XDECREF(value);
    return none;
}

static int
check_place(tsm_proc_t* p)
{
    if ((p->flags & TSM_PF_SCANNING) != 0) {
        PyErr_SetString(PyExc_RuntimeError, "aio(): not inside a predicate of receive");
        return -1;
    }
    return 0;
}

static PyObject*
aio_next(PyObject* op)
{
    TsmAio* self = (TsmAio*)op;
    if (check_use(self) < 0) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("aio()");
    if (p == NULL) {
        return NULL;
    }
    tsm_worker_t* w = tsm_self;
    tsm_stop_waiting(p, op);
    if (check_place(p) < 0 || (self->op->owner == 0 && !submit(p, self))) {
        return tsm_done(NULL);
    }
    PyObject* value = NULL;
    enum got got = step(p, self, &value);
    if ((p->flags & TSM_PF_DEAD) != 0 || (got == GOT_ERROR && value == NULL)) {
        return fail(value);
    }
    if (got == GOT_NOTHING) {
        return tsm_suspend(w, p, op, false);
    }
    if (tsm_done(Py_NewRef(Py_None)) == NULL) {
        Py_XDECREF(value);
        return NULL;
    }
    value = conclude(self, got, value);
    return value == NULL ? NULL : tsm_finish_await(w, value);
}

/* ---- blocking ---- */

static PyObject*
wait_blocking(TsmAio* self)
{
    if (check_use(self) < 0) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("result()");
    if (p == NULL) {
        return NULL;
    }
    if (!tsm_token_try(p)) {
        PyErr_Format(PyExc_RuntimeError,
                     "result(): %u processes already occupy an OS thread (max_threads); in an async "
                     "def await aio(...), which needs none", tsm_sched.max_tokens);
        return tsm_done(NULL);
    }
    if (check_place(p) < 0 || (self->op->owner == 0 && !submit(p, self))) {
        return tsm_done(NULL);
    }
    PyObject* value = NULL;
    enum got got;
    int rc = TSM_OK;
    while ((got = step(p, self, &value)) == GOT_NOTHING && rc == TSM_OK && (p->flags & TSM_PF_DEAD) == 0) {
        rc = tsm_wait_threaded(tsm_self);
    }
    if ((p->flags & TSM_PF_DEAD) != 0 || (got == GOT_ERROR && value == NULL)) {
        give_up(self);
        return fail(value);
    }
    if (got == GOT_NOTHING) {
        tsm_ptimer_disarm(p);
        give_up(self);
        return tsm_done(tsm_raise(rc, "result()"));
    }
    if (tsm_done(Py_NewRef(Py_None)) == NULL) {
        Py_XDECREF(value);
        return NULL;
    }
    return conclude(self, got, value);
}

PyDoc_STRVAR(result_doc, "result($self, /, timeout=None)\n--\n\n"
"Run it, block until it is done, and return its result; for plain functions and threads.\n\n"
"In a process only the process waits: its slot goes on with others.\n\n"
"Args:\n    timeout: Seconds; None: as aio() was told.\n\n"
"Raises:\n    TimeoutError: Not done in time; it is cancelled.");

static PyObject*
aio_result(PyObject* op, PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"timeout", NULL};
    TsmAio* self = (TsmAio*)op;
    PyObject* timeout = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:result", names, &timeout)) {
        return NULL;
    }
    if (timeout != Py_None && tsm_delay_ns(timeout, "timeout", &self->timeout_ns) < 0) {
        return NULL;
    }
    if (!here()) {
        return PyObject_CallOneArg(tsm_bind.aio_blocking, op); /* a process awaits it */
    }
    return begin_as(self, TSM_IO_AWAIT, WANT_RESULT) < 0 ? NULL : wait_blocking(self);
}

/* ---- as an awaitable, a stream, a block ---- */

static bool
in_coroutine(void)
{
    /* A plain function may run an event loop of its own. */
    return here() && (tsm_worker_proc(tsm_self)->flags & (TSM_PF_COROUTINE | TSM_PF_SERVER)) != 0;
}

static PyObject*
aio_await(PyObject* op)
{
    TsmAio* self = (TsmAio*)op;
    if (self->kind == TSM_IO_AWAIT && begin_as(self, TSM_IO_AWAIT, WANT_RESULT) < 0) {
        return NULL;
    }
    return in_coroutine() ? Py_NewRef(op) : PyObject_CallOneArg(tsm_bind.aio_outside, op);
}

static PyObject*
aio_aiter(PyObject* op)
{
    if (begin_as((TsmAio*)op, TSM_IO_STREAM, WANT_ITEM) < 0) {
        return NULL;
    }
    return in_coroutine() ? Py_NewRef(op) : PyObject_CallOneArg(tsm_bind.aio_outside_stream, op);
}

static PyObject*
aio_anext(PyObject* op)
{
    return Py_NewRef(op);
}

/* for x in aio(stream), in a plain function. */
static PyObject*
aio_iter(PyObject* op)
{
    if (begin_as((TsmAio*)op, TSM_IO_STREAM, WANT_ITEM) < 0) {
        return NULL;
    }
    return PyObject_CallOneArg(tsm_bind.aio_blocking_stream, op);
}

static PyObject*
aio_wait(PyObject* op, PyObject* Py_UNUSED(none))
{
    return wait_blocking((TsmAio*)op);
}

static PyObject*
aio_aenter(PyObject* op, PyObject* Py_UNUSED(none))
{
    if (!in_coroutine()) {
        PyErr_SetString(tsm_bind.not_in_process, "async with aio(...) is for processes; in an asyncio program enter the "
                        "context manager itself");
        return NULL;
    }
    return begin_as((TsmAio*)op, TSM_IO_SESSION, WANT_ENTER) < 0 ? NULL : Py_NewRef(op);
}

/* The block is left: tell the task that holds it open, and wait for its answer. */
static PyObject*
aio_aexit(PyObject* op, PyObject* args)
{
    TsmAio* self = (TsmAio*)op;
    PyObject *type, *error, *traceback;
    if (!PyArg_ParseTuple(args, "OOO:__aexit__", &type, &error, &traceback)) {
        return NULL;
    }
    TsmIoOp* io = self->op;
    if (io != NULL) {
        tsm_mutex_lock(&io->lock);
        bool tell = !io->ended && !io->dropped && !io->noted;
        io->noted |= tell;
        io->released = true;
        io->exit_error = error == Py_None ? NULL : Py_NewRef(error);
        tsm_mutex_unlock(&io->lock);
        if (tell) {
            (void)tsm_io_push(io->loop, &io->note);
        }
        self->want = WANT_EXIT;
    }
    return Py_NewRef(op);
}

/* ---- giving it up by hand; coroutines call these, too ---- */

static PyObject*
aio_close(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmAio* self = (TsmAio*)op;
    give_up(self);
    self->want = WANT_NOTHING;
    Py_RETURN_NONE;
}

static PyObject*
aio_throw(PyObject* op, PyObject* args)
{
    PyObject *first, *value = NULL, *traceback = NULL;
    if (!PyArg_ParseTuple(args, "O|OO:throw", &first, &value, &traceback)) {
        return NULL;
    }
    Py_XDECREF(aio_close(op, NULL));
    if (PyExceptionInstance_Check(first)) {
        PyErr_SetObject((PyObject*)Py_TYPE(first), first);
    } else {
        PyErr_SetObject(first, value == Py_None ? NULL : value);
    }
    return NULL;
}

static PyObject*
aio_parts(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmAio* self = (TsmAio*)op;
    PyObject* what = self->what;
    if (what == NULL || tsm_load_relaxed(&self->a_user) != OUTSIDE) { /* relaxed: our own write. */
        PyErr_SetString(PyExc_RuntimeError, "what aio() returns can be used once; call aio() again");
        return NULL;
    }
    PyObject* timeout = self->timeout_ns == UINT64_MAX ? Py_NewRef(Py_None)
                                                        : PyFloat_FromDouble((double)self->timeout_ns / 1e9);
    self->what = NULL;
    return Py_BuildValue("(NNO)", what, timeout, self->loop);
}

static PyObject*
aio_new(PyTypeObject* type, PyObject* args, PyObject* Py_UNUSED(kwargs))
{
    PyObject *what, *timeout, *loop;
    unsigned int window;
    uint64_t ns = UINT64_MAX;
    if (!PyArg_ParseTuple(args, "OOO!I:_Aio", &what, &timeout, &PyLong_Type, &loop, &window)) {
        return NULL;
    }
    if (timeout != Py_None && tsm_delay_ns(timeout, "timeout", &ns) < 0) {
        return NULL;
    }
    TsmAio* self = PyObject_New(TsmAio, type);
    if (self == NULL) {
        return NULL;
    }
    self->what = Py_NewRef(what);
    self->loop = Py_NewRef(loop);
    self->op = NULL;
    self->timeout_ns = ns;
    self->window = window < 2 ? 2 : window;
    self->kind = TSM_IO_AWAIT;
    self->want = WANT_RESULT;
    self->a_user = 0;
    tsm_disown((PyObject*)self); /* a process goes on on another thread now and then */
    return (PyObject*)self;
}

static PyMethodDef aio_methods[] = {
    {"result", (PyCFunction)(void (*)(void))aio_result, METH_VARARGS | METH_KEYWORDS, result_doc},
    {"close", aio_close, METH_NOARGS, "close($self, /)\n--\n\nGive it up: what runs on the loop is cancelled."},
    {"throw", aio_throw, METH_VARARGS,
     "throw($self, error, value=None, traceback=None, /)\n--\n\nAs ``close``, and raise error in who awaits it: for coroutines. At once."},
    {"__aenter__", aio_aenter, METH_NOARGS, NULL},
    {"__aexit__", aio_aexit, METH_VARARGS, NULL},
    {"_wait", aio_wait, METH_NOARGS, NULL},
    {"_parts", aio_parts, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyAsyncMethods aio_async = {.am_await = aio_await, .am_aiter = aio_aiter, .am_anext = aio_anext};

PyTypeObject TsmAio_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom.Aio",
    .tp_basicsize = sizeof(TsmAio),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .tp_doc = "What aio() returns: await it, iterate over it, enter it, or ask for its result(). For one use, by the\n"
              "process that made it, which waits.\n\n"
              "Example:\n"
              "    >>> import asyncio, transom\n"
              "    >>> async def main():\n"
              "    ...     return await transom.aio(asyncio.sleep(0, 'slept'))\n"
              "    >>> transom.run(main)\n"
              "    'slept'\n\n"
              "Source: none in OTP; the awaitables of asyncio.",
    .tp_new = aio_new,
    .tp_dealloc = aio_dealloc,
    .tp_as_async = &aio_async,
    .tp_iter = aio_iter,
    .tp_iternext = aio_next,
    .tp_methods = aio_methods,
};
