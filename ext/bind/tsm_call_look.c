/* tsm_call_look.c - what can be seen of a call.
 *
 * What it is      The attributes of tsm_call.c's type, for Python's half: whose call it is, of
 *                 what, from whom, and with which arguments.
 */
#include "bind/tsm_agent.h"

PyObject*
tsm_call_repr(PyObject* op)
{
    static const char* const states[] = {"not sent", "sent", "done", "cast", "being sent"};
    TsmCall* self = (TsmCall*)op;
    /* acquire: as everywhere (tsm_call.c). */
    return PyUnicode_FromFormat("<call of %U, %s>", self->method->name, states[tsm_load_acquire(&self->a_state)]);
}

static PyObject*
call_get_to(PyObject* op, void* Py_UNUSED(closure))
{
    TsmCall* self = (TsmCall*)op;
    if (self->name != NULL) {
        return Py_NewRef(self->name);
    }
    return tsm_pid_object(self->to);
}

static PyObject*
call_get_pid(PyObject* op, void* Py_UNUSED(closure))
{
    return ((TsmCall*)op)->to == 0 ? Py_NewRef(Py_None) : tsm_pid_object(((TsmCall*)op)->to);
}

static PyObject*
call_get_from(PyObject* op, void* Py_UNUSED(closure))
{
    return ((TsmCall*)op)->from == 0 ? Py_NewRef(Py_None) : tsm_pid_object(((TsmCall*)op)->from);
}

static PyObject*
call_get_ref(PyObject* op, void* Py_UNUSED(closure))
{
    TsmCall* self = (TsmCall*)op;
    return self->ref == 0 ? Py_NewRef(Py_None) : tsm_ref_object(self->ref, self->from);
}

static PyObject*
call_get_method(PyObject* op, void* Py_UNUSED(closure))
{
    return Py_NewRef(((TsmCall*)op)->method->name);
}

static PyObject*
call_get_owner(PyObject* op, void* Py_UNUSED(closure))
{
    return Py_NewRef(((TsmCall*)op)->method->owner);
}

static PyObject*
call_get_timeout(PyObject* op, void* Py_UNUSED(closure))
{
    uint64_t ns = ((TsmCall*)op)->timeout_ns;
    return ns == UINT64_MAX ? Py_NewRef(Py_None) : PyFloat_FromDouble((double)ns / 1e9);
}

static PyObject*
call_get_open(PyObject* op, void* Py_UNUSED(closure))
{
    /* acquire: pairs with tsm_call_settle. */
    return PyBool_FromLong(tsm_load_acquire(&((TsmCall*)op)->a_settled) == 0);
}

/* Was it sent to the caller as a call? */
static PyObject*
call_get_mine(PyObject* op, void* Py_UNUSED(closure))
{
    tsm_proc_t* p = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    return PyBool_FromLong(p != NULL && tsm_call_is_for((TsmCall*)op, tsm_proc_pid(p)));
}

/* (args, kwargs): for whoever handles the call, in its process. */
PyObject*
tsm_call_arguments(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmCall* self = (TsmCall*)op;
    Py_ssize_t named = self->kwnames == NULL ? 0 : PyTuple_GET_SIZE(self->kwnames);
    Py_ssize_t n = Py_SIZE(self) - named;
    PyObject* args = PyTuple_New(n);
    PyObject* kwargs = PyDict_New();
    for (Py_ssize_t i = 0; args != NULL && i < n; i++) {
        PyTuple_SET_ITEM(args, i, Py_NewRef(self->args[i + 1]));
    }
    for (Py_ssize_t i = 0; kwargs != NULL && i < named; i++) {
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(self->kwnames, i), self->args[n + i + 1]) < 0) {
            Py_CLEAR(kwargs);
        }
    }
    if (args == NULL || kwargs == NULL) {
        Py_XDECREF(args);
        Py_XDECREF(kwargs);
        return NULL;
    }
    return Py_BuildValue("NN", args, kwargs);
}

PyGetSetDef tsm_call_getset[] = {
    {"_to", call_get_to, NULL, NULL, NULL},
    {"_pid", call_get_pid, NULL, NULL, NULL},
    {"_from", call_get_from, NULL, NULL, NULL},
    {"_ref", call_get_ref, NULL, NULL, NULL},
    {"_method", call_get_method, NULL, NULL, NULL},
    {"_owner", call_get_owner, NULL, NULL, NULL},
    {"_open", call_get_open, NULL, NULL, NULL},
    {"_mine", call_get_mine, NULL, NULL, NULL},
    {"_timeout", call_get_timeout, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
