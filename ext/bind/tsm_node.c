/* tsm_node.c - starting and stopping the node, and the scheduler's hooks into Python. */
#include "bind/tsm_lookup.h"
#include "bind/tsm_spare.h"

#include "base/tsm_clock.h"

#include <errno.h>

/* ---- hooks: terms ---- */

static void
term_ref(void* term)
{
    Py_INCREF((PyObject*)term);
}

static void
term_unref(void* term)
{
    Py_DECREF((PyObject*)term);
}

static bool
term_equal(void* a, void* b)
{
    return a == b || PyUnicode_Compare(a, b) == 0; /* exact str: no user code, no error */
}

/* ---- hooks: threads ---- */

static void
thread_forget(tsm_pyworker_t* py)
{
    Py_CLEAR(py->stop);
    tsm_lookup_forget(py);
    for (int kind = 0; kind < TSM_SPARE_KINDS; kind++) {
        tsm_spare_t* spare = &py->spares[kind];
        spare->room = 0; /* what is dropped from here on is freed */
        while (spare->count != 0) {
            tsm_spare_drop(spare->kept[--spare->count]);
        }
    }
    if (py->context != NULL) {
        (void)PyContext_Exit(py->context);
        Py_CLEAR(py->context);
    }
}

static int
thread_begin(tsm_worker_t* w)
{
    tsm_pyworker_t* py = PyMem_RawCalloc(1, sizeof(*py));
    if (py == NULL) {
        return -1;
    }
    py->ts = PyThreadState_New(tsm_bind.interp);
    if (py->ts == NULL) {
        PyMem_RawFree(py);
        return -1;
    }
    for (int kind = 0; kind < TSM_SPARE_KINDS; kind++) {
        py->spares[kind].room = TSM_SPARE_EACH;
    }
    PyEval_RestoreThread(py->ts);
    py->context = PyContext_New();
    if (py->context == NULL || PyContext_Enter(py->context) < 0) {
        PyErr_Clear(); /* without it processes share this thread's own context */
        Py_CLEAR(py->context);
    }
    tsm_store_release(&w->py, (void*)py); /* release: pairs with pending and look_at. */
    return 0;
}

static void
thread_end(tsm_worker_t* w)
{
    tsm_pyworker_t* py = w->py;
    tsm_reclaim_thread_end(w);
    thread_forget(py);
    PyThreadState_Clear(py->ts);
    tsm_mutex_lock(&w->lock); /* against holds */
    tsm_store_release(&w->py, NULL); /* release: as in thread_begin. */
    tsm_mutex_unlock(&w->lock);
    PyThreadState_DeleteCurrent();
    PyMem_RawFree(py->lookups);
    PyMem_RawFree(py);
}

static void
attach(tsm_worker_t* w)
{
    PyEval_RestoreThread(((tsm_pyworker_t*)w->py)->ts);
}

static void
detach(tsm_worker_t* Py_UNUSED(w))
{
    (void)PyEval_SaveThread();
}

static bool
pending(tsm_worker_t* w)
{
    tsm_pyworker_t* py = tsm_load_acquire(&w->py); /* acquire: pairs with thread_begin. */
    return py != NULL && tsm_eval_pending(py->ts);
}

static bool
detached(tsm_worker_t* w)
{
    tsm_pyworker_t* py = tsm_load_acquire(&w->py); /* acquire: pairs with thread_begin. */
    return py != NULL && tsm_is_detached(py->ts);
}

static bool
holds(tsm_worker_t* w)
{
    tsm_pyworker_t* py = tsm_load_acquire(&w->py); /* acquire: pairs with thread_begin. */
    return py != NULL && tsm_holds_world(py->ts);
}

static void
safepoint(tsm_worker_t* w)
{
    tsm_reclaim_run(w);
    if (!tsm_eval_pending(((tsm_pyworker_t*)w->py)->ts)) {
        return;
    }
    PyObject* done = PyObject_CallNoArgs(tsm_bind.safepoint);
    if (done == NULL && PyErr_ExceptionMatches(tsm_bind.killed)) {
        PyErr_Clear(); /* meant for the dead process parked here, which gets it anyway */
    } else if (done == NULL) {
        PyErr_WriteUnraisable(tsm_bind.safepoint);
    }
    Py_XDECREF(done);
}

/* Python code, and so outside the runtime; the slot may be gone afterwards. */
static bool
outside(tsm_worker_t* w)
{
    tsm_leave(w);
    PyObject* answer = PyObject_CallNoArgs(tsm_bind.outside);
    if (answer == NULL) {
        PyErr_WriteUnraisable(tsm_bind.outside);
    }
    bool may = answer == Py_True;
    Py_XDECREF(answer);
    (void)tsm_enter(w);
    return may;
}

static const tsm_sched_hooks_t sched_hooks = {
    .thread_begin = thread_begin,
    .thread_end = thread_end,
    .attach = attach,
    .detach = detach,
    .safepoint = safepoint,
    .pending = pending,
    .detached = detached,
    .holds = holds,
    .run = tsm_body_run,
    .blocks = tsm_blocks,
    .release = tsm_body_release,
    .taken = tsm_reds_taken,
    .tick = tsm_reds_tick,
    .outside = outside,
    .interrupt = tsm_reds_interrupt,
    .calm = tsm_reds_calm,
};

/* ---- start ---- */

/* The interpreter keeps an array of all threads and stops the world to let it grow (at 8,
 * 16, 32 ... threads). Grow it before there is anything that could hold a stop up: to room
 * for all workers and a few of the program's own. */
static void
reserve_threads(uint32_t workers)
{
    enum { OTHERS = 64, MOST = 1024 };
    static uint32_t room;
    PyThreadState* made[MOST];
    uint32_t n = 0, wanted = workers < MOST - OTHERS ? workers + OTHERS : MOST;
    if (wanted <= room) {
        return;
    }
    room = wanted;
    while (n < wanted && (made[n] = PyThreadState_New(tsm_bind.interp)) != NULL) {
        n++;
    }
    while (n-- > 0) {
        PyThreadState_Clear(made[n]);
        PyThreadState_Delete(made[n]);
    }
}

static PyObject*
py_start(PyObject* Py_UNUSED(m), PyObject* args)
{
    unsigned int slots, max_processes, max_threads;
    PyObject* name;
    if (!PyArg_ParseTuple(args, "IIIU:_start", &slots, &max_processes, &max_threads, &name)) {
        return NULL;
    }
    if (tsm_bind.forked) {
        (void)tsm_check_running();
        return NULL;
    }
    int rc = tsm_ptab_init(max_processes);
    if (rc == TSM_OK) {
        tsm_bind.interp = PyInterpreterState_Get();
        Py_XSETREF(tsm_bind.node_name, Py_NewRef(name));
        reserve_threads(slots + max_threads);
        Py_BEGIN_ALLOW_THREADS
        rc = tsm_sched_start(slots, max_threads, &sched_hooks);
        Py_END_ALLOW_THREADS
    }
    if (rc >= 0 && tsm_births_watch() < 0) {
        PyErr_Clear(); /* then they are born there */
    }
    return rc < 0 ? tsm_raise(rc, "start()") : Py_NewRef(Py_None);
}

/* ---- stop ---- */

/* Sends reason to every process that lives. Returns how many there were. */
static uint32_t
exit_all(PyObject* reason)
{
    uint32_t sent = 0;
    uint32_t high = tsm_ptab_high_any();
    for (uint32_t i = 0; i < high; i++) {
        tsm_proc_t* p = tsm_ptab_slot_any(i);
        tsm_pid_t pid = tsm_proc_pid(p);
        if (tsm_inbox_is_dead(&p->inbox)) {
            continue;
        }
        sent++;
        tsm_sig_t* sig = tsm_sig_new(TSM_SIG_EXIT);
        if (sig != NULL) {
            sig->term = Py_NewRef(reason);
            (void)tsm_signal_any(pid, sig);
        }
    }
    tsm_flush();
    return sent;
}

static bool
all_dead(void)
{
    uint32_t high = tsm_ptab_live_any() == 0 ? 0 : tsm_ptab_high_any();
    for (uint32_t i = 0; i < high; i++) {
        if (!tsm_inbox_is_dead(&tsm_ptab_slot_any(i)->inbox)) {
            return false;
        }
    }
    return true;
}

/* The last frame of every process is gone. */
static bool
all_unwound(void)
{
    return tsm_ptab_live_any() == 0;
}

static bool
no_visitors(void)
{
    return tsm_load_sc(&tsm_sched.a_visitors) == 0; /* sc: as in ask_idle, tsm_info.c. */
}

/* Until done() or the time has come. Detached between looks; the looks get rarer, a
 * short wait stays short. */
static void
wait_until(bool (*done)(void), uint64_t deadline_ns)
{
    int64_t nap_ns = 50000;
    tsm_event_t never = {0};
    while (!done() && tsm_now_ns() < deadline_ns) {
        Py_BEGIN_ALLOW_THREADS
        (void)tsm_event_wait(&never, nap_ns);
        Py_END_ALLOW_THREADS
        nap_ns = nap_ns < 5000000 ? nap_ns * 2 : nap_ns;
    }
}

/* Nobody runs them any more: they are ended here, so that the next node does not find them
 * alive. One whose thread was left behind in native code is served like any blocked one;
 * of the others this thread is the owner now. */
static void
end_leftovers(void)
{
    uint32_t high = tsm_ptab_high_any();
    for (uint32_t i = 0; i < high; i++) {
        tsm_proc_t* p = tsm_ptab_slot_any(i);
        if (tsm_inbox_is_dead(&p->inbox)) {
            continue;
        }
        if (tsm_load_acquire(&p->a_worker) != NULL) { /* acquire: as in tsm_poke_any. */
            tsm_poke_any(p, TSM_ST_BLOCKED);
            continue;
        }
        p->flags |= TSM_PF_STRANDED; /* a queue may have known it: the struct stays */
        Py_INCREF(tsm_bind.s_killed);
        tsm_proc_die_owner(p, tsm_bind.s_killed, NULL);
        tsm_mailbox_clear_owner(p);
        if ((p->flags & TSM_PF_COROUTINE) != 0) {
            PyObject* closed = PyObject_CallMethodNoArgs(p->body, tsm_bind.s_close);
            if (closed == NULL) {
                PyErr_WriteUnraisable(p->body);
            }
            Py_XDECREF(closed);
        }
        tsm_body_release(p);
    }
    tsm_flush();
}

/* _stop(grace, timeout) -> bool: every thread came home. */
static PyObject*
py_stop(PyObject* Py_UNUSED(m), PyObject* args)
{
    double grace, timeout;
    if (!PyArg_ParseTuple(args, "dd:_stop", &grace, &timeout) || !tsm_check_running()) {
        return NULL;
    }
    if (tsm_self != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "stop() cannot be called from inside a process; end the main "
                        "process instead, or call it from the thread that started the node");
        return NULL;
    }
    uint64_t now_ns = tsm_now_ns();
    uint64_t deadline_ns = now_ns + (uint64_t)(timeout * 1e9);
    tsm_sched.stopping = true;
    if (exit_all(tsm_bind.s_shutdown) > 0) {
        wait_until(all_dead, now_ns + (uint64_t)(grace * 1e9));
        (void)exit_all(tsm_bind.s_kill);
    }
    /* finally blocks run, and native calls may return, until nine tenths of the time. */
    wait_until(all_unwound, now_ns + (uint64_t)(timeout * 0.9e9));
    bool all_ended;
    now_ns = tsm_now_ns();
    Py_BEGIN_ALLOW_THREADS
    all_ended = tsm_sched_stop(deadline_ns > now_ns ? (int64_t)(deadline_ns - now_ns) : 0);
    Py_END_ALLOW_THREADS
    wait_until(no_visitors, UINT64_MAX); /* each stays for microseconds */
    end_leftovers();
    tsm_ptimer_clear();
    tsm_flush();
    tsm_sched.stopping = false;
    return PyBool_FromLong(all_ended);
}

/* Called in the main thread. */
static PyObject*
py_main_thread(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_world_main_thread(PyThreadState_Get());
    Py_RETURN_NONE;
}

static PyObject*
py_forked(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_world_main_thread(NULL); /* another one is it now */
    if (tsm_load_relaxed(&tsm_sched.a_running) != 0) { /* relaxed: the only thread. */
        tsm_bind.forked = true;
        tsm_store_relaxed(&tsm_sched.a_running, 0); /* relaxed: as above. */
    }
    tsm_self = NULL;
    Py_RETURN_NONE;
}

/* Why the calling process is dead; None while it lives. For what runs while it unwinds. */
static PyObject*
py_exit_reason(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_proc_t* p = tsm_here("_exit_reason()");
    if (p == NULL) {
        return NULL;
    }
    bool dead = (p->flags & TSM_PF_DEAD) != 0 && p->exit_term != NULL;
    return Py_NewRef(dead ? (PyObject*)p->exit_term : Py_None);
}

/* _left_behind() -> bool: a thread of a node that was stopped still sits in native code, and whoever stops the world
 * would wait for it. */
static PyObject*
py_left_behind(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    return PyBool_FromLong(!tsm_bind.forked && tsm_sched_left_any());
}

static PyObject*
py_is_running(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    return PyBool_FromLong(tsm_load_acquire(&tsm_sched.a_running) != 0); /* acquire: start. */
}

/* ---- set-up ---- */

static int
take(PyObject* dict, const char* name, PyObject** to)
{
    PyObject* value = PyDict_GetItemString(dict, name);
    if (value == NULL) {
        PyErr_Format(PyExc_KeyError, "_setup: %s is missing", name);
        return -1;
    }
    Py_XSETREF(*to, Py_NewRef(value));
    return 0;
}

static PyObject*
py_setup(PyObject* Py_UNUSED(m), PyObject* dict)
{
    tsm_bind_t* b = &tsm_bind;
    const struct {
        const char* name;
        PyObject** to;
    } wanted[] = {
        {"NotInProcess", &b->not_in_process}, {"NotRunning", &b->not_running},
        {"NoProcess", &b->no_process}, {"NameTaken", &b->name_taken},
        {"ProcessLimit", &b->process_limit}, {"ForkedError", &b->forked_error},
        {"NotOwner", &b->not_owner}, {"QueueFull", &b->queue_full}, {"Killed", &b->killed}, {"Stop", &b->stop},
        {"make_crash", &b->make_crash}, {"report", &b->report}, {"discover", &b->discover},
        {"restart_events", &b->restart_events}, {"collection_due", &b->collection_due}, {"collect", &b->collect},
        {"outside", &b->outside}, {"classify", &b->classify},
        {"explain_copy", &b->explain_copy}, {"move_array", &b->move_array},
        {"copyreg_table", &b->copyreg_table},
        {"own_context", &b->own_context}, {"safepoint", &b->safepoint},
        {"DISABLE", &b->s_disable}, {"report_heap", &b->report_heap},
        {"report_queue", &b->report_queue},
        {"check_arguments", &b->check_arguments}, {"call_error", &b->call_error},
        {"no_method", &b->no_method}, {"call_outside", &b->call_outside},
        {"call_blocking", &b->call_blocking}, {"call_watch", &b->call_watch},
        {"aio_loop", &b->aio_loop}, {"aio_outside", &b->aio_outside},
        {"aio_outside_stream", &b->aio_outside_stream}, {"aio_blocking", &b->aio_blocking},
        {"aio_blocking_stream", &b->aio_blocking_stream},
        {"home_var", &b->home_var}, {"foreign_await", &b->foreign_await}, {"call_unwatch", &b->call_unwatch}, {"Refused", &b->refused},
        {"server_dispatch", &b->server_dispatch}, {"server_crashed", &b->server_crashed},
        {"server_after", &b->server_after}, {"server_refuse", &b->server_refuse},
        {"server_timeout", &b->s_timeout_message},
        {"server_booted", &b->server_booted}, {"server_enter", &b->server_enter},
        {"Starting", &b->starting}, {"start_demand", &b->start_demand},
        {"start_outside", &b->start_outside}, {"start_blocking", &b->start_blocking},
        {"start_error", &b->start_error}, {"start_taken", &b->start_taken},
        {"DISABLE", &b->s_disable},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (take(dict, wanted[i].name, wanted[i].to) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static int
intern(PyObject** to, const char* text)
{
    *to = PyUnicode_InternFromString(text);
    return *to == NULL ? -1 : 0;
}

int
tsm_node_init(void)
{
    tsm_bind_t* b = &tsm_bind;
    if (intern(&b->s_normal, "normal") < 0 || intern(&b->s_kill, "kill") < 0
        || intern(&b->s_killed, "killed") < 0 || intern(&b->s_noproc, "noproc") < 0
        || intern(&b->s_noconnection, "noconnection") < 0 || intern(&b->s_shutdown, "shutdown") < 0
        || intern(&b->s_down, "DOWN") < 0 || intern(&b->s_throw, "throw") < 0
        || intern(&b->s_close, "close") < 0 || intern(&b->s_deepcopy, "__deepcopy__") < 0
        || intern(&b->s_reduce_ex, "__reduce_ex__") < 0 || intern(&b->s_dict, "__dict__") < 0
        || intern(&b->s_setstate, "__setstate__") < 0 || intern(&b->s_append, "append") < 0
        || intern(&b->s_timeout, "timeout") < 0
        || intern(&b->s_calling_self, "calling_self") < 0
        || intern(&b->s_queue_full, "queue_full") < 0 || intern(&b->s_init, "init") < 0
        || (b->four = PyLong_FromLong(4)) == NULL) {
        return -1;
    }
    PyObject* words[] = {b->s_normal, b->s_kill, b->s_killed, b->s_noproc,
                         b->s_noconnection, b->s_shutdown, b->s_down};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        tsm_immortalize(words[i]);
    }
    tsm_terms = (tsm_terms_t){b->s_normal, b->s_kill, b->s_killed,
                              b->s_noproc, b->s_noconnection, b->s_shutdown};
    b->marker = (PyObject*)&TsmReceive_Type;
    tsm_hooks = (tsm_hooks_t){.term_ref = term_ref, .term_unref = term_unref,
                              .term_equal = term_equal, .info = tsm_info_hook,
                              .ready = tsm_ready_any, .poke = tsm_poke_any,
                              .later = tsm_ptimer_later, .timer_fired = tsm_ptimer_fired,
                              .mail = tsm_limits_mail};
    tsm_ptimer_init();
    return 0;
}

PyMethodDef tsm_node_methods[] = {
    {"_setup", py_setup, METH_O, NULL},
    {"_start", py_start, METH_VARARGS, NULL},
    {"_stop", py_stop, METH_VARARGS, NULL},
    {"_forked", py_forked, METH_NOARGS, NULL},
    {"_main_thread", py_main_thread, METH_NOARGS, NULL},
    {"_exit_reason", py_exit_reason, METH_NOARGS, NULL},
    {"_is_running", py_is_running, METH_NOARGS, NULL},
    {"_left_behind", py_left_behind, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
