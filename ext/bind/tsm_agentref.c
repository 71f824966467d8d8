/* tsm_agentref.c - references to agents, and the methods that show on them.
 *
 * What it is      For each agent class there is a class of references (transom/_agent.py)
 *                 whose attributes are Methods. `ref.add` is a Bound, with cast and options,
 *                 and makes a call when it is called. The interpreter would call the Method
 *                 itself only if references had no look-up of their own (agentref_getattro).
 */
#include "bind/tsm_agent.h"
#include "bind/tsm_lookup.h"
#include "bind/tsm_spare.h"

#include <stddef.h>

/* ---- methods ---- */

static PyObject*
method_vectorcall(PyObject* op, PyObject* const* args, size_t nargsf, PyObject* kwnames)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    if (n < 1 || !PyObject_TypeCheck(args[0], &TsmAgentRef_Type)) {
        return PyErr_Format(PyExc_TypeError, "%U() is called on a reference to an agent",
                            ((TsmMethod*)op)->name);
    }
    return tsm_call_new((TsmMethod*)op, (TsmAgentRef*)args[0], TSM_CALL_TIMEOUT_NS, args + 1,
                        n - 1, kwnames);
}

static PyObject*
method_new(PyTypeObject* type, PyObject* args, PyObject* Py_UNUSED(kwargs))
{
    PyObject *name, *owner, *function, *names;
    if (!PyArg_ParseTuple(args, "UO!O!", &name, &PyType_Type, &owner, &PyFunction_Type, &function)
        || (names = PyCode_GetVarnames((PyCodeObject*)PyFunction_GET_CODE(function))) == NULL) {
        return NULL;
    }
    TsmMethod* self = (TsmMethod*)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->vectorcall = method_vectorcall;
        self->name = Py_NewRef(name);
        PyUnicode_InternInPlace(&self->name);
        self->owner = Py_NewRef(owner);
        self->function = Py_NewRef(function);
        self->names = Py_NewRef(names);
        tsm_arguments_learn(self);
#if TSM_CLASSES_STAY
        tsm_immortalize((PyObject*)self); /* as its class: two counts a call that threads share */
#endif
    }
    Py_DECREF(names);
    return (PyObject*)self;
}

static int
method_traverse(PyObject* op, visitproc visit, void* arg)
{
    Py_VISIT(((TsmMethod*)op)->owner);
    Py_VISIT(((TsmMethod*)op)->function);
    Py_VISIT(((TsmMethod*)op)->kwdefaults);
    return 0;
}

static int
method_clear(PyObject* op)
{
    Py_CLEAR(((TsmMethod*)op)->owner);
    Py_CLEAR(((TsmMethod*)op)->function);
    Py_CLEAR(((TsmMethod*)op)->kwdefaults);
    return 0;
}

static void
method_dealloc(PyObject* op)
{
    PyObject_GC_UnTrack(op);
    (void)method_clear(op);
    Py_XDECREF(((TsmMethod*)op)->name);
    Py_XDECREF(((TsmMethod*)op)->names);
    Py_XDECREF(((TsmMethod*)op)->code);
    PyObject_GC_Del(op);
}

/* ---- bound ---- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    TsmMethod* method;
    TsmAgentRef* to;
    uint64_t timeout_ns;
} Bound;

static PyObject*
bound_vectorcall(PyObject* op, PyObject* const* args, size_t nargsf, PyObject* kwnames)
{
    Bound* self = (Bound*)op;
    return tsm_call_new(self->method, self->to, self->timeout_ns, args, PyVectorcall_NARGS(nargsf),
                        kwnames);
}

static PyObject*
bound_make(TsmMethod* method, TsmAgentRef* to, uint64_t timeout_ns)
{
    Bound* self = (Bound*)tsm_spare_new(TSM_SPARE_BOUND, &TsmBound_Type, 0);
    if (self != NULL) {
        self->vectorcall = bound_vectorcall;
        self->method = (TsmMethod*)Py_NewRef(method);
        self->to = (TsmAgentRef*)Py_NewRef(to);
        self->timeout_ns = timeout_ns;
    }
    return (PyObject*)self;
}

static PyObject*
method_get(PyObject* op, PyObject* to, PyObject* Py_UNUSED(type))
{
    if (to == NULL || to == Py_None) {
        return Py_NewRef(op);
    }
    if (!PyObject_TypeCheck(to, &TsmAgentRef_Type)) {
        return PyErr_Format(PyExc_TypeError, "a method of a reference, not of %.200s",
                            Py_TYPE(to)->tp_name);
    }
    return bound_make((TsmMethod*)op, (TsmAgentRef*)to, TSM_CALL_TIMEOUT_NS);
}

static void
bound_dealloc(PyObject* op)
{
    Py_DECREF(((Bound*)op)->method);
    Py_DECREF(((Bound*)op)->to);
    tsm_spare_free(TSM_SPARE_BOUND, op);
}

PyDoc_STRVAR(cast_doc, "cast($self, /, *args, **kwargs)\n--\n\n"
"Send the call and expect no answer; never blocks and never fails because of the agent.\n\n"
"Source: gen_server:cast/2.");

static PyObject*
bound_cast(PyObject* op, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    Bound* self = (Bound*)op;
    PyObject* call = tsm_call_new(self->method, self->to, self->timeout_ns, args, n, kwnames);
    return call == NULL ? NULL : tsm_call_cast(call);
}

PyDoc_STRVAR(options_doc, "options($self, /, *, timeout)\n--\n\n"
"The same method with another time limit for its calls.\n\n"
"Args:\n    timeout: Seconds, 0 to 8e9; None waits for ever. Default of calls: 5.");

static PyObject*
bound_options(PyObject* op, PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"timeout", NULL};
    Bound* self = (Bound*)op;
    PyObject* timeout = NULL;
    uint64_t ns = UINT64_MAX;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:options", names, &timeout)) {
        return NULL;
    }
    if (timeout == NULL) {
        ns = self->timeout_ns;
    } else if (timeout != Py_None && tsm_delay_ns(timeout, "timeout", &ns) < 0) {
        return NULL;
    }
    return bound_make(self->method, self->to, ns);
}

static PyObject*
bound_repr(PyObject* op)
{
    return PyUnicode_FromFormat("<method %U of %R>", ((Bound*)op)->method->name, ((Bound*)op)->to);
}

static PyObject*
bound_name(PyObject* op, void* Py_UNUSED(closure))
{
    return Py_NewRef(((Bound*)op)->method->name);
}

static PyMethodDef bound_methods[] = {
    {"cast", (PyCFunction)(void (*)(void))bound_cast, METH_FASTCALL | METH_KEYWORDS, cast_doc},
    {"options", (PyCFunction)(void (*)(void))bound_options, METH_VARARGS | METH_KEYWORDS, options_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef bound_getset[] = {
    {"__name__", bound_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject TsmMethod_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Method",
    .tp_basicsize = sizeof(TsmMethod),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL
                | Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_IMMUTABLETYPE,
    .tp_new = method_new,
    .tp_dealloc = method_dealloc,
    .tp_traverse = method_traverse,
    .tp_clear = method_clear,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(TsmMethod, vectorcall),
    .tp_descr_get = method_get,
};

PyTypeObject TsmBound_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Bound",
    .tp_basicsize = sizeof(Bound),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE
                | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = bound_dealloc,
    .tp_repr = bound_repr,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Bound, vectorcall),
    .tp_methods = bound_methods,
    .tp_getset = bound_getset,
};

/* ---- references ---- */

PyObject*
tsm_agentref_make(PyTypeObject* type, tsm_pid_t pid)
{
    TsmAgentRef* self = (TsmAgentRef*)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->pid = pid;
        self->name = NULL;
    }
    return (PyObject*)self;
}

static PyObject*
agentref_new(PyTypeObject* type, PyObject* args, PyObject* Py_UNUSED(kwargs))
{
    PyObject* to;
    if (!PyArg_ParseTuple(args, "O", &to)) {
        return NULL;
    }
    if (!tsm_pid_check(to) && !PyUnicode_CheckExact(to)) {
        return PyErr_Format(PyExc_TypeError, "a reference is made of a Pid or a name, not %R", to);
    }
    TsmAgentRef* self = (TsmAgentRef*)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->pid = tsm_pid_check(to) ? ((TsmPid*)to)->pid : 0;
        self->name = self->pid != 0 ? NULL : Py_NewRef(to);
    }
    return (PyObject*)self;
}

static void
agentref_dealloc(PyObject* op)
{
    Py_XDECREF(((TsmAgentRef*)op)->name);
    Py_TYPE(op)->tp_free(op); /* a class of Python's is given back by its own dealloc, which calls this one */
}

/* No __getattr__ of Python's: its mere presence would cost each call two look-ups more. */
static PyObject*
agentref_getattro(PyObject* op, PyObject* name)
{
    PyObject* found = tsm_self == NULL ? NULL : tsm_lookup(tsm_self, op, name);
    if (TSM_LIKELY(found != NULL && Py_IS_TYPE(found, &TsmMethod_Type))) {
        return bound_make((TsmMethod*)found, (TsmAgentRef*)op, TSM_CALL_TIMEOUT_NS);
    }
    found = PyObject_GenericGetAttr(op, name);
    if (TSM_UNLIKELY(found == NULL) && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return PyObject_CallFunctionObjArgs(tsm_bind.no_method, op, name, NULL); /* raises */
    }
    return found;
}

/* What every primitive asks a reference for. */
static PyObject*
agentref_pid(PyObject* op, void* Py_UNUSED(closure))
{
    TsmAgentRef* self = (TsmAgentRef*)op;
    tsm_pid_t pid = self->pid;
    if (pid == 0) {
        pid = tsm_name_find_any(self->name, tsm_name_hash(self->name));
    }
    return pid != 0 ? tsm_pid_object(pid)
                    : PyErr_Format(tsm_bind.no_process, "no process is registered as %R", self->name);
}

static PyObject*
agentref_name(PyObject* op, void* Py_UNUSED(closure))
{
    PyObject* name = ((TsmAgentRef*)op)->name;
    return Py_NewRef(name == NULL ? Py_None : name);
}

static Py_hash_t
agentref_hash(PyObject* op)
{
    TsmAgentRef* self = (TsmAgentRef*)op;
    return self->name != NULL ? PyObject_Hash(self->name) : (Py_hash_t)(self->pid % 2147483647u);
}

static PyObject*
agentref_compare(PyObject* a, PyObject* b, int op)
{
    if ((op != Py_EQ && op != Py_NE) || !PyObject_TypeCheck(b, &TsmAgentRef_Type)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    TsmAgentRef *x = (TsmAgentRef*)a, *y = (TsmAgentRef*)b;
    bool same = x->pid == y->pid && (x->name == NULL) == (y->name == NULL)
                && (x->name == NULL || PyUnicode_Compare(x->name, y->name) == 0);
    return PyBool_FromLong(same == (op == Py_EQ));
}

static PyObject*
agentref_self(PyObject* op, PyObject* Py_UNUSED(memo))
{
    return Py_NewRef(op);
}

static PyMethodDef agentref_methods[] = {
    {"__copy__", agentref_self, METH_NOARGS, NULL},
    {"__deepcopy__", agentref_self, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef agentref_getset[] = {
    {"_transom_pid", agentref_pid, NULL, NULL, NULL},
    {"_transom_name", agentref_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject TsmAgentRef_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._AgentRef",
    .tp_basicsize = sizeof(TsmAgentRef),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_doc = "A reference to an agent.",
    .tp_new = agentref_new,
    .tp_dealloc = agentref_dealloc,
    .tp_hash = agentref_hash,
    .tp_getattro = agentref_getattro,
    .tp_richcompare = agentref_compare,
    .tp_methods = agentref_methods,
    .tp_getset = agentref_getset,
};
