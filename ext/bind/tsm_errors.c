/* tsm_errors.c - the edge between Python and the core: entering, leaving, exceptions. */
#include "bind/tsm_agent.h"

#include <errno.h>
#include <math.h>

tsm_bind_t tsm_bind;

PyObject*
tsm_raise(int rc, const char* what)
{
    switch (rc) {
    case TSM_E_NOMEM:
        return PyErr_NoMemory();
    case TSM_E_NOPROC:
        return PyErr_Format(tsm_bind.no_process, "%s: no such process", what);
    case TSM_E_LIMIT:
        return PyErr_Format(tsm_bind.process_limit,
                            "%s: the process table is full (%u processes); raise it with "
                            "max_processes= in run() or start(), or end some first",
                            what, (unsigned)tsm_ptab_live_any());
    case TSM_E_NAME_TAKEN:
        return PyErr_Format(tsm_bind.name_taken, "%s: the name is taken", what);
    case TSM_E_HAS_NAME:
        return PyErr_Format(tsm_bind.name_taken, "%s: the process has a name already", what);
    case TSM_E_NOT_OWNER:
        return PyErr_Format(tsm_bind.not_owner, "%s: the reference belongs to another process",
                            what);
    case TSM_E_THREADS:
        return PyErr_Format(PyExc_RuntimeError, "%s: the system gives no more threads", what);
    default:
        return PyErr_Format(PyExc_SystemError, "%s: error %d", what, rc);
    }
}

PyObject*
tsm_raise_killed(void)
{
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* p = w == NULL ? NULL : tsm_worker_proc(w);
    if (p != NULL) {
        /* What is left for finally blocks. A body that swallows Killed again and again
         * gets it at every event, so also between its try blocks.
         * relaxed: own thread's counter. */
        p->kills += p->kills < UINT16_MAX;
        tsm_store_relaxed(&w->a_budget, p->kills > TSM_GRACE_KILLS ? 1 : TSM_GRACE_REDS);
    }
    PyErr_SetNone(tsm_bind.killed);
    return NULL;
}

/* Outside a process an address means nothing without a node. */
bool
tsm_check_caller(void)
{
    return tsm_self != NULL || tsm_check_running();
}

bool
tsm_check_running(void)
{
    if (tsm_bind.forked) {
        PyErr_SetString(tsm_bind.forked_error,
                        "this is a fork of a process that ran a transom node: its schedulers and "
                        "processes did not survive the fork; start children with the spawn or "
                        "forkserver method of multiprocessing, or with subprocess");
        return false;
    }
    /* acquire: pairs with tsm_sched_start. */
    if (tsm_load_acquire(&tsm_sched.a_running) == 0) {
        PyErr_SetString(tsm_bind.not_running,
                        "no node is running: call transom.run(main) or transom.start() first");
        return false;
    }
    return true;
}

tsm_proc_t*
tsm_here(const char* what)
{
    tsm_proc_t* p = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    if (p == NULL && (!tsm_bind.forked || tsm_check_running())) {
        PyErr_Format(tsm_bind.not_in_process,
                     "%s works only inside a process: call it from a function started with "
                     "transom.run() or transom.spawn()", what);
    }
    return p;
}

tsm_proc_t*
tsm_begin_slow(const char* what)
{
    if (tsm_here(what) != NULL) {
        (void)tsm_done(NULL); /* dead */
    }
    return NULL;
}

/* Finalisers may run; an exception already set stays. */
static void
flush_keeping_exception(void)
{
    if (tsm_has_buried()) {
        PyObject* exc = PyErr_GetRaisedException();
        tsm_flush();
        PyErr_SetRaisedException(exc);
    }
}

PyObject*
tsm_done_slow(PyObject* result, bool dead)
{
    flush_keeping_exception();
    if (TSM_UNLIKELY(dead)) {
        Py_XDECREF(result);
        PyErr_Clear();
        return tsm_raise_killed();
    }
    return result;
}

tsm_pid_t
tsm_as_pid(PyObject* op, const char* what)
{
    if (tsm_pid_check(op)) {
        return ((TsmPid*)op)->pid;
    }
    if (PyObject_TypeCheck(op, &TsmAgentRef_Type) && ((TsmAgentRef*)op)->pid != 0) {
        return ((TsmAgentRef*)op)->pid;
    }
    PyObject* pid = NULL;
    if (PyObject_GetOptionalAttrString(op, "_transom_pid", &pid) < 0) {
        return 0;
    }
    if (pid == NULL || !tsm_pid_check(pid)) {
        Py_XDECREF(pid);
        PyErr_Format(PyExc_TypeError, "%s: a Pid is needed, not %R", what, op);
        return 0;
    }
    tsm_pid_t value = ((TsmPid*)pid)->pid;
    Py_DECREF(pid);
    return value;
}

uint64_t
tsm_name_hash(PyObject* name)
{
    if (TSM_UNLIKELY(tsm_det.on != 0) && PyUnicode_CheckExact(name)) {
        uint64_t hash = 0; /* one that does not change from program to program: names are listed in its order */
        for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(name); i++) {
            hash = (hash ^ PyUnicode_READ_CHAR(name, i)) * UINT64_C(0x100000001B3);
        }
        return hash;
    }
    return (uint64_t)PyObject_Hash(name);
}

static int
resolve_name(PyObject* name, tsm_pid_t* pid, bool may_fail, const char* what)
{
    if (!PyUnicode_CheckExact(name)) {
        PyErr_Format(PyExc_TypeError, "%s: a name is a str, not %.200s", what,
                     Py_TYPE(name)->tp_name);
        return -1;
    }
    *pid = tsm_name_find_any(name, tsm_name_hash(name));
    if (*pid == 0 && may_fail) {
        PyErr_Format(tsm_bind.no_process, "%s: no process is registered as %R", what, name);
        return -1;
    }
    return 0;
}

/* 0; 1: the (name, node) form, which never fails: *pid is 0 for an unknown name. */
int
tsm_resolve(PyObject* dest, const char* what, tsm_pid_t* pid, uint64_t* alias)
{
    *alias = 0;
    if (TSM_LIKELY(tsm_pid_check(dest))) {
        *pid = ((TsmPid*)dest)->pid;
        return 0;
    }
    if (tsm_ref_check(dest)) {
        TsmRef* ref = (TsmRef*)dest;
        *pid = ref->owner;
        *alias = ref->id;
        return 0;
    }
    if (PyUnicode_Check(dest)) {
        return resolve_name(dest, pid, true, what);
    }
    if (PyTuple_CheckExact(dest) && PyTuple_GET_SIZE(dest) == 2
        && PyUnicode_CheckExact(PyTuple_GET_ITEM(dest, 1))) {
        return resolve_name(PyTuple_GET_ITEM(dest, 0), pid, false, what) < 0 ? -1 : 1;
    }
    *pid = tsm_as_pid(dest, what);
    return *pid == 0 ? -1 : 0;
}

int
tsm_delay_ns(PyObject* seconds, const char* what, uint64_t* ns)
{
    double s = PyFloat_AsDouble(seconds);
    if (s == -1.0 && PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not %.200s", what,
                     Py_TYPE(seconds)->tp_name);
        return -1;
    }
    if (!(s >= 0.0) || s > 8e9) { /* 2**33 ms times a thousand is plenty, NaN is not */
        PyErr_Format(PyExc_ValueError, "%s must be between 0 and 8e9 seconds, not %R", what,
                     seconds);
        return -1;
    }
    *ns = (uint64_t)(s * 1e9);
    return 0;
}

int
tsm_wait_event(tsm_event_t* event, int64_t timeout_ns)
{
    for (;;) {
        int rc;
        Py_BEGIN_ALLOW_THREADS
        rc = tsm_event_wait(event, timeout_ns);
        Py_END_ALLOW_THREADS
        if (rc == -EINTR) {
            if (PyErr_CheckSignals() < 0) {
                return -1;
            }
            continue;
        }
        return rc == 0 ? 0 : 1;
    }
}
