/* tsm_body.c - running what a process consists of: its coroutine or its function.
 *
 * What it is      hooks.run of the scheduler: resume the body once, see how it came back.
 * Protocol        inside the runtime: decide, choose the context; user code runs between
 *                 tsm_user_begin and tsm_user_end only. Order at an end:
 *                   1. the reason is made from the exception (user mode: may run __repr__)
 *                   2. death to the world (links, monitors fire)
 *                   3. the crash report is logged (user mode: handlers may block)
 *                 A process killed from outside is dead already; what its frames still do
 *                 on their way out changes nothing any more.
 * Contexts        A process whose context is empty runs in its worker's empty one, and
 *                 takes that over the moment it sets a variable; 64 bytes saved for each
 *                 process that never does.
 * Where tested    tests/semantics
 */
#include "bind/tsm_aio.h"
#include "bind/tsm_start.h"

#define UNWIND_TRIES 16 /* a dead coroutine that awaits so often is dropped */

/* ---- contexts ---- */

int
tsm_context_inherit(PyObject** context)
{
    PyObject* current = PyThreadState_Get()->context;
    *context = NULL;
    if (tsm_context_is_empty(current)) {
        return 0;
    }
    PyObject* copy = PyContext_CopyCurrent();
    if (copy == NULL) {
        return -1;
    }
    *context = PyObject_CallOneArg(tsm_bind.own_context, copy);
    Py_DECREF(copy);
    return *context == NULL ? -1 : 0;
}

static int
context_enter(tsm_proc_t* p)
{
    return p->context == NULL ? 0 : PyContext_Enter(p->context);
}

static void
context_leave(tsm_worker_t* w, tsm_proc_t* p)
{
    tsm_pyworker_t* py = w->py;
    if (p->context != NULL) {
        (void)PyContext_Exit(p->context);
        return;
    }
    if (TSM_LIKELY(tsm_context_is_empty(py->context))) {
        return;
    }
    PyObject* fresh = PyContext_New();
    if (fresh != NULL && PyContext_Exit(py->context) == 0) {
        p->context = py->context;
        py->context = fresh;
        (void)PyContext_Enter(fresh);
    } else {
        PyErr_Clear(); /* no memory: its variables stay with the worker */
        Py_XDECREF(fresh);
    }
}

/* ---- reasons ---- */

/* The exception set now, as an exit reason; user mode. */
static PyObject*
reason_of_exception(tsm_worker_t* w)
{
    PyObject* exc = PyErr_GetRaisedException();
    PyObject* reason = NULL;
    if (PyErr_GivenExceptionMatches(exc, tsm_bind.stop)) {
        PyObject* value = PyObject_GetAttrString(exc, "reason");
        reason = value == NULL ? NULL : tsm_reason(value);
        Py_XDECREF(value);
    }
    if (reason == NULL) {
        if (PyErr_Occurred()) {
            Py_SETREF(exc, PyErr_GetRaisedException()); /* the reason could not be copied */
        }
        reason = PyObject_CallOneArg(tsm_bind.make_crash, exc);
    }
    if (reason == NULL) {
        PyErr_WriteUnraisable(exc);
        reason = Py_NewRef(tsm_bind.s_killed);
    }
    tsm_reclaim_hold(w, exc); /* its traceback holds the frames */
    Py_DECREF(exc);
    return reason;
}

static bool
is_abnormal(PyObject* reason)
{
    if (reason == tsm_bind.s_normal || reason == tsm_bind.s_shutdown
        || reason == tsm_bind.s_killed) {
        return false;
    }
    if (PyTuple_CheckExact(reason) && PyTuple_GET_SIZE(reason) == 2) {
        PyObject* word = PyTuple_GET_ITEM(reason, 0);
        return !PyUnicode_CheckExact(word) || PyUnicode_Compare(word, tsm_bind.s_shutdown) != 0;
    }
    return true;
}

/* One log record for an abnormal end; user mode. */
static void
report(tsm_pid_t pid, PyObject* reason, PyObject* name, PyObject* label, PyObject* origin, PyObject* details)
{
    PyObject* pid_op = tsm_pid_object(pid);
    PyObject* done = pid_op == NULL ? NULL
        : PyObject_CallFunctionObjArgs(tsm_bind.report, pid_op, reason, name, label, origin, details, NULL);
    Py_XDECREF(pid_op);
    if (done == NULL) {
        PyErr_WriteUnraisable(tsm_bind.report);
    }
    Py_XDECREF(done);
}

/* A dead process raised something on its way out. */
static void
swallow_unwinding(tsm_worker_t* w)
{
    PyObject* exc = PyErr_GetRaisedException();
    tsm_reclaim_hold(w, exc);
    PyErr_SetRaisedException(exc);
    if (PyErr_ExceptionMatches(tsm_bind.killed) || PyErr_ExceptionMatches(PyExc_GeneratorExit)
        || PyErr_ExceptionMatches(tsm_bind.stop)) {
        PyErr_Clear();
    } else {
        PyErr_WriteUnraisable(NULL);
    }
}

static PyObject*
label_of(tsm_proc_t* p)
{
    return p->cold != NULL && p->cold->label != NULL ? p->cold->label : Py_None;
}

/* It returned: nobody has to be told why, and its frame holds nothing any more. */
static void
end_normally(tsm_worker_t* w, tsm_proc_t* p, PyObject* result)
{
    PyObject* body = p->body;
    p->body = NULL;
    p->flags |= TSM_PF_ENDING;
    tsm_user_begin(w);
    Py_DECREF(result);
    Py_XDECREF(body);
    tsm_reclaim_run(w); /* before anybody hears of the end */
    tsm_user_end(w);
    if ((p->flags & TSM_PF_DEAD) == 0 && tsm_proc_service_owner(p)) { /* an exit that came first wins */
        tsm_proc_die_owner(p, Py_NewRef(tsm_bind.s_normal), NULL);
    }
}

/* The body came to its end by itself, result or exception set; inside the runtime. Dead
 * on return. The report is made in user mode, but Killed is not raised in it. */
void
tsm_body_conclude(tsm_worker_t* w, tsm_proc_t* p, PyObject* result)
{
    if ((p->flags & TSM_PF_DEAD) != 0) {
        tsm_user_begin(w);
        Py_XDECREF(result);
        if (result == NULL) {
            swallow_unwinding(w);
        }
        tsm_reclaim_run(w);
        tsm_user_end(w);
        return;
    }
    if (TSM_LIKELY(result != NULL && (p->flags & TSM_PF_COROUTINE) != 0)) {
        end_normally(w, p, result);
        return;
    }
    tsm_pid_t pid = tsm_proc_pid(p);
    PyObject* label = Py_NewRef(label_of(p));
    /* relaxed: a hint; a name given at this very moment may be missed. */
    PyObject* name = tsm_load_relaxed(&p->a_name) == NULL ? NULL : tsm_name_of_any(p);
    name = name == NULL ? Py_NewRef(Py_None) : name;
    PyObject* origin = tsm_origin_of(p);
    PyObject* details = tsm_server_extra(p);
    p->flags |= TSM_PF_ENDING;
    tsm_user_begin(w);
    PyObject* reason = result == NULL ? reason_of_exception(w) : Py_NewRef(tsm_bind.s_normal);
    Py_XDECREF(result);
    tsm_reclaim_run(w); /* before anybody hears of the end */
    PyObject* keep = Py_NewRef(reason);
    tsm_user_end(w);
    if ((p->flags & TSM_PF_DEAD) == 0) {
        (void)tsm_proc_service_owner(p); /* an exit that came first wins */
    }
    bool mine = (p->flags & TSM_PF_DEAD) == 0;
    if (mine) {
        tsm_proc_die_owner(p, reason, NULL);
    }
    /* The rest runs in no process: a logging handler may send, which the dead cannot.
     * relaxed, both: own thread's field. */
    tsm_store_relaxed(&w->a_proc, NULL);
    tsm_leave(w);
    if (!mine) {
        Py_DECREF(reason);
    } else if (is_abnormal(keep)) {
        report(pid, keep, name, label, origin, details);
    }
    Py_DECREF(name);
    Py_DECREF(label);
    Py_DECREF(origin);
    Py_DECREF(details);
    Py_DECREF(keep);
    (void)tsm_enter(w);
    tsm_store_relaxed(&w->a_proc, p); /* relaxed: as above. */
}

/* ---- running ---- */

/* The marker means one of our awaitables; anything else belongs to asyncio or the like. */
static int
check_yielded(PyObject* yielded)
{
    bool ours = yielded == tsm_bind.marker;
    if (!ours) {
        PyObject* error = PyObject_CallOneArg(tsm_bind.foreign_await, yielded);
        if (error != NULL) {
            PyErr_SetRaisedException(error);
        }
    }
    Py_DECREF(yielded);
    return ours ? 0 : -1;
}

/* coro.throw(exception set now). As PyIter_Send. */
static PySendResult
throw_in(PyObject* coro, PyObject** result)
{
    PyObject* exc = PyErr_GetRaisedException();
    *result = PyObject_CallMethodOneArg(coro, tsm_bind.s_throw, exc);
    Py_DECREF(exc);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) { /* it caught it and returned */
        PyErr_Clear();
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    return PYGEN_ERROR;
}

/* The last message would stay alive in the exception that delivered it. */
static void
forget_delivered(tsm_worker_t* w)
{
    PyObject* stop = ((tsm_pyworker_t*)w->py)->stop;
    if (stop != NULL) {
        Py_CLEAR(((PyStopIterationObject*)stop)->value);
    }
}

PySendResult
tsm_body_resume(PyObject* coro, PyObject** result)
{
    PySendResult how = PyIter_Send(coro, Py_None, result);
    while (how == PYGEN_NEXT && check_yielded(*result) < 0) {
        how = throw_in(coro, result);
    }
    forget_delivered(tsm_self);
    return how;
}

/* body = (callable, args, kwargs or None). Returns its value. */
static PyObject*
call_body(PyObject* body)
{
    PyObject* kwargs = PyTuple_GET_ITEM(body, 2);
    return PyObject_Call(PyTuple_GET_ITEM(body, 0), PyTuple_GET_ITEM(body, 1),
                         kwargs == Py_None ? NULL : kwargs);
}

/* The first run of a function: what it returns may be a coroutine to go on with. In user
 * mode on entry; inside the runtime on return. */
static enum tsm_run
run_call(tsm_worker_t* w, tsm_proc_t* p)
{
    PyObject* result = call_body(p->body);
    tsm_user_end(w);
    if (TSM_UNLIKELY(tsm_worker_slot(w) == NULL)) {
        tsm_blocks_learn(w, p->body);
    }
    if (result != NULL && PyCoro_CheckExact(result)) {
        (void)tsm_bury_term(p->body);
        p->body = result;
        tsm_hide_body(result);
        p->flags |= TSM_PF_COROUTINE;
        if ((p->flags & TSM_PF_PINNED) == 0) {
            p->flags &= ~(uint32_t)TSM_PF_THREADED;
        }
        return TSM_RUN_YIELD;
    }
    tsm_body_conclude(w, p, result);
    return TSM_RUN_ENDED;
}

enum tsm_run
tsm_body_waits(tsm_worker_t* w, tsm_proc_t* p)
{
    if (w->yield_wanted) {
        return TSM_RUN_YIELD;
    }
    /* Between its last look and here the slot may have been taken, and another thread may
     * have moved mail into the mailbox: the empty inbox then says nothing. */
    bool mail = *p->mb_save != NULL || (p->flags & TSM_PF_TIMED_OUT) != 0
                || (p->wait != NULL && Py_IS_TYPE((PyObject*)p->wait, &TsmAio_Type));
    return TSM_UNLIKELY(mail) && p->wait != NULL && tsm_receive_ready(p) ? TSM_RUN_YIELD : TSM_RUN_WAIT;
}

static enum tsm_run
run_coroutine(tsm_worker_t* w, tsm_proc_t* p)
{
    PyObject* result = NULL;
    PySendResult how = tsm_body_resume(p->body, &result);
    tsm_user_end(w);
    if (TSM_LIKELY(how == PYGEN_NEXT)) {
        return tsm_body_waits(w, p);
    }
    tsm_body_conclude(w, p, how == PYGEN_RETURN ? result : NULL);
    return TSM_RUN_ENDED;
}

/* Dead, and its frames stand: Killed is thrown in; a body that goes on awaiting gets it
 * again, until it gives in or is dropped. */
static void
unwind(tsm_worker_t* w, tsm_proc_t* p)
{
    PyObject* coro = (p->flags & TSM_PF_COROUTINE) != 0 ? p->body : tsm_server_coro(p);
    if (coro == NULL) {
        return;
    }
    tsm_user_begin(w);
    PyObject* result = NULL;
    PySendResult how = PYGEN_NEXT;
    if ((p->flags & TSM_PF_STARTED) == 0) {
        result = PyObject_CallMethodNoArgs(coro, tsm_bind.s_close);
        how = result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
    }
    for (int i = 0; how == PYGEN_NEXT && i < UNWIND_TRIES; i++) {
        Py_CLEAR(result);
        (void)tsm_raise_killed();
        how = throw_in(coro, &result);
    }
    Py_XDECREF(result);
    if (how == PYGEN_ERROR) {
        swallow_unwinding(w);
    }
    forget_delivered(w);
    PyObject* wait = p->wait; /* what it matched may be part of what it held */
    p->wait = NULL;
    Py_XDECREF(wait);
    tsm_reclaim_run(w);
    tsm_user_end(w);
}

static enum tsm_run
run_body(tsm_worker_t* w, tsm_proc_t* p)
{
    if (p->wait != NULL && (p->flags & TSM_PF_DEAD) == 0 && !tsm_receive_ready(p)) {
        return TSM_RUN_WAIT;
    }
    bool dead = (p->flags & TSM_PF_DEAD) != 0; /* receive_ready may have drained */
    enum tsm_run how = TSM_RUN_ENDED;
    if (context_enter(p) < 0) {
        PyErr_WriteUnraisable(p->context); /* entered elsewhere: cannot be */
    }
    if (dead) {
        unwind(w, p);
    } else {
        p->flags |= TSM_PF_STARTED;
        if (TSM_UNLIKELY((p->flags & TSM_PF_LIMITED) != 0)) {
            tsm_limits_adopt();
        }
        if ((p->flags & TSM_PF_SERVER) != 0) {
            how = tsm_server_run(w, p);
        } else {
            tsm_user_begin(w);
            how = (p->flags & TSM_PF_COROUTINE) != 0 ? run_coroutine(w, p) : run_call(w, p);
        }
    }
    context_leave(w, p);
    if (how == TSM_RUN_ENDED) {
        tsm_reclaim_hold_process(w, p);
    }
    return how;
}

static enum tsm_run
run_limited(tsm_worker_t* w, tsm_proc_t* p)
{
    if (tsm_limits_over(p)) {
        tsm_limits_enforce(w, p, false);
    }
    tsm_limits_turn_begin(p);
    enum tsm_run how = run_body(w, p);
    tsm_limits_turn_end();
    if (how == TSM_RUN_ENDED) {
        tsm_limits_ended(w, p);
    }
    return how;
}

enum tsm_run
tsm_body_run(tsm_worker_t* w, tsm_proc_t* p)
{
    return TSM_LIKELY((p->flags & TSM_PF_LIMITED) == 0) ? run_body(w, p) : run_limited(w, p);
}

void
tsm_body_release(tsm_proc_t* p)
{
    if (TSM_UNLIKELY((p->flags & TSM_PF_LIMITED) != 0)) {
        tsm_limits_release(p);
    }
    void* held[3] = {p->body, p->context, p->wait};
    p->body = p->context = p->wait = NULL;
    for (int i = 0; i < 3; i++) {
        if (held[i] != NULL && tsm_bury_term(held[i]) < 0) {
            Py_DECREF((PyObject*)held[i]);
        }
    }
}
