/* tsm_names.c - registered names and timers. */
#include "bind/tsm_bind.h"

/* ---- names ---- */

static int
check_name(PyObject* name, const char* what)
{
    if (!tsm_check_caller()) {
        return -1;
    }
    if (!PyUnicode_CheckExact(name) || PyUnicode_GET_LENGTH(name) == 0) {
        PyErr_Format(PyExc_TypeError, "%s: a name is a non-empty str, not %R", what, name);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(register_doc, "register(name, pid, /)\n--\n\n"
"Give pid a name that serves as its address until it ends or unregister.\n\n"
"Raises:\n    NameTaken: The name is taken, or pid has a name.\n    NoProcess: pid is dead.\n\n"
"Source: erlang:register/2.");

static PyObject*
py_register(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "register() takes a name and a Pid (%zd given)", n);
    }
    if (tsm_caller_is_dead()) {
        return tsm_raise_killed();
    }
    tsm_pid_t pid = check_name(args[0], "register()") < 0 ? 0 : tsm_as_pid(args[1], "register()");
    if (pid == 0) {
        return NULL;
    }
    tsm_proc_t* p = tsm_ptab_get_any(pid);
    int rc = p == NULL ? TSM_E_NOPROC
                       : tsm_name_register_any(args[0], tsm_name_hash(args[0]), p, pid);
    tsm_flush();
    if (rc == TSM_E_NAME_TAKEN) {
        return PyErr_Format(tsm_bind.name_taken, "register(): the name %R is taken", args[0]);
    }
    if (rc == TSM_E_HAS_NAME) {
        return PyErr_Format(tsm_bind.name_taken, "register(): the process cannot be %R, it has a name already", args[0]);
    }
    return rc < 0 ? tsm_raise(rc, "register()") : Py_NewRef(Py_None);
}

PyDoc_STRVAR(unregister_doc, "unregister(name, /)\n--\n\nRemove the name.\n\n"
"Raises:\n    NoProcess: Nobody has it.\n\nSource: erlang:unregister/1.");

static PyObject*
py_unregister(PyObject* Py_UNUSED(m), PyObject* name)
{
    if (check_name(name, "unregister()") < 0) {
        return NULL;
    }
    if (tsm_caller_is_dead()) {
        return tsm_raise_killed();
    }
    int rc = tsm_name_unregister_any(name, tsm_name_hash(name));
    tsm_flush();
    if (rc < 0) {
        return PyErr_Format(tsm_bind.no_process, "unregister(): no process is registered as %R", name);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(whereis_doc, "whereis(name, /)\n--\n\nThe Pid registered under name, or None.\n\n"
"Source: erlang:whereis/1.");

static PyObject*
py_whereis(PyObject* Py_UNUSED(m), PyObject* name)
{
    if (check_name(name, "whereis()") < 0) {
        return NULL;
    }
    tsm_pid_t pid = tsm_name_find_any(name, tsm_name_hash(name));
    return pid == 0 ? Py_NewRef(Py_None) : tsm_pid_object(pid);
}

static void
collect_name(void* list, void* name, tsm_pid_t Py_UNUSED(pid))
{
    if (list != NULL && PyList_Append(list, name) < 0) {
        PyErr_Clear(); /* out of memory under the table's lock: the list is short of it */
    }
}

PyDoc_STRVAR(registered_doc, "registered()\n--\n\nAll registered names, in no order.");

static PyObject*
py_registered(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    PyObject* list = tsm_check_caller() ? PyList_New(0) : NULL;
    if (list != NULL) {
        tsm_name_each_any(collect_name, list);
    }
    return list;
}

/* ---- timers ---- */

PyDoc_STRVAR(send_after_doc, "send_after(delay, dest, message, /)\n--\n\n"
"Send message to dest in delay seconds, never early, with a resolution of 1 ms.\n\n"
"dest is a Pid, an alias, or a name (looked up when the timer fires). A timer aimed at a Pid\n"
"is void when that process ends. The message is copied now. Callable from any thread.\n\n"
"Returns:\n    Timer: for cancel_timer and read_timer.\n\nSource: erlang:send_after/3.");

static PyObject*
py_send_after(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    uint64_t delay_ns, alias = 0, hash = 0;
    tsm_pid_t pid = 0;
    PyObject* name = NULL;
    if (n != 3) {
        return PyErr_Format(PyExc_TypeError, "send_after() takes delay, dest and message (%zd given)", n);
    }
    if (tsm_caller_is_dead()) {
        return tsm_raise_killed();
    }
    if (tsm_delay_ns(args[0], "delay", &delay_ns) < 0 || !tsm_check_running()) {
        return NULL;
    }
    if (PyUnicode_CheckExact(args[1])) {
        name = Py_NewRef(args[1]);
        hash = tsm_name_hash(name);
    } else if (tsm_resolve(args[1], "send_after()", &pid, &alias) < 0) {
        return NULL;
    }
    tsm_sig_t* sig = tsm_message_new(args[2], alias, false);
    TsmTimer* op = sig == NULL ? NULL : PyObject_New(TsmTimer, &TsmTimer_Type);
    int rc = TSM_E_NOMEM;
    if (op != NULL) {
        tsm_worker_t* w = tsm_self;
        bool inside = w != NULL && tsm_worker_proc(w) != NULL;
        if (inside) {
            tsm_op_begin(w);
        }
        rc = tsm_ptimer_set(delay_ns, pid, name, hash, sig, &op->handle);
        if (inside) {
            tsm_charge(w, 1);
            tsm_op_end(w);
        }
    }
    if (rc < 0) {
        Py_XDECREF(op);
        Py_XDECREF(name);
        if (sig == NULL) {
            return NULL;
        }
        tsm_bury(sig);
        tsm_flush();
        return PyErr_NoMemory();
    }
    return (PyObject*)op;
}

static PyObject*
seconds_or_none(bool found, uint64_t left_ns)
{
    return found ? PyFloat_FromDouble((double)left_ns / 1e9) : Py_NewRef(Py_None);
}

static TsmTimer*
as_timer(PyObject* op, const char* what)
{
    if (!Py_IS_TYPE(op, &TsmTimer_Type)) {
        PyErr_Format(PyExc_TypeError, "%s: a Timer is needed, not %.200s", what, Py_TYPE(op)->tp_name);
        return NULL;
    }
    return (TsmTimer*)op;
}

PyDoc_STRVAR(cancel_timer_doc, "cancel_timer(timer, /)\n--\n\n"
"Cancel the timer. Returns the seconds that were left (then its message will not arrive), or\n"
"None when it had fired, was cancelled, or its target is dead.\n\nSource: erlang:cancel_timer/1.");

static PyObject*
py_cancel_timer(PyObject* Py_UNUSED(m), PyObject* arg)
{
    uint64_t left_ns = 0;
    TsmTimer* op = as_timer(arg, "cancel_timer()");
    if (op == NULL) {
        return NULL;
    }
    bool found = tsm_ptimer_cancel(&op->handle, &left_ns);
    tsm_flush();
    return seconds_or_none(found, left_ns);
}

PyDoc_STRVAR(read_timer_doc, "read_timer(timer, /)\n--\n\n"
"Seconds left, or None; as cancel_timer but without cancelling.\n\nSource: erlang:read_timer/1.");

static PyObject*
py_read_timer(PyObject* Py_UNUSED(m), PyObject* arg)
{
    uint64_t left_ns = 0;
    TsmTimer* op = as_timer(arg, "read_timer()");
    if (op == NULL) {
        return NULL;
    }
    bool found = tsm_ptimer_read(&op->handle, &left_ns);
    return seconds_or_none(found, left_ns);
}

PyMethodDef tsm_names_methods[] = {
    {"register", (PyCFunction)(void (*)(void))py_register, METH_FASTCALL, register_doc},
    {"unregister", py_unregister, METH_O, unregister_doc},
    {"whereis", py_whereis, METH_O, whereis_doc},
    {"registered", py_registered, METH_NOARGS, registered_doc},
    {"send_after", (PyCFunction)(void (*)(void))py_send_after, METH_FASTCALL, send_after_doc},
    {"cancel_timer", py_cancel_timer, METH_O, cancel_timer_doc},
    {"read_timer", py_read_timer, METH_O, read_timer_doc},
    {NULL, NULL, 0, NULL},
};
