/* tsm_names.c - registered names and timers. */
#include "bind/tsm_bind.h"
#include "bind/tsm_docs.h"

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
    {"register", (PyCFunction)(void (*)(void))py_register, METH_FASTCALL, tsm_doc_register},
    {"unregister", py_unregister, METH_O, tsm_doc_unregister},
    {"whereis", py_whereis, METH_O, tsm_doc_whereis},
    {"registered", py_registered, METH_NOARGS, tsm_doc_registered},
    {"send_after", (PyCFunction)(void (*)(void))py_send_after, METH_FASTCALL, tsm_doc_send_after},
    {"cancel_timer", py_cancel_timer, METH_O, tsm_doc_cancel_timer},
    {"read_timer", py_read_timer, METH_O, tsm_doc_read_timer},
    {NULL, NULL, 0, NULL},
};
