/* tsm_origin.c - where a process comes from: its ancestors and what it was started to run.
 *
 * What it is      One reference per process to an Origin, shared by all children of one
 *                 parent that run the same thing. Kept beside the label among what few
 *                 processes have (tsm_cold_t). An Origin never changes, but for the notes
 *                 of what was born of it.
 * Who touches what
 *                 born    any process with this origin; made with it, and locked as any dict
 * Source          proc_lib: $ancestors, $initial_call
 */
#include "bind/tsm_start.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject* ancestors;    /* tuple of Pids and names, nearest first */
    PyObject* initial_call; /* str */
    PyObject* born;         /* initial call -> the Origin last given to a child */
} Origin;

/* Takes ancestors (NULL: exception). */
static Origin*
origin_new(PyObject* ancestors, PyObject* initial_call)
{
    PyObject* born = ancestors == NULL ? NULL : PyDict_New();
    Origin* self = born == NULL ? NULL : PyObject_New(Origin, &TsmOrigin_Type);
    if (self == NULL) {
        Py_XDECREF(ancestors);
        Py_XDECREF(born);
        return NULL;
    }
    self->ancestors = ancestors;
    self->initial_call = Py_NewRef(initial_call);
    self->born = born;
    return self;
}

static void
origin_dealloc(PyObject* op)
{
    Origin* self = (Origin*)op;
    Py_DECREF(self->ancestors);
    Py_DECREF(self->initial_call);
    Py_DECREF(self->born);
    PyObject_Free(op);
}

static PyObject*
origin_repr(PyObject* op)
{
    return PyUnicode_FromFormat("Origin(%R, %R)", ((Origin*)op)->ancestors, ((Origin*)op)->initial_call);
}

static PyObject*
origin_self(PyObject* op, PyObject* Py_UNUSED(memo))
{
    return Py_NewRef(op);
}

static PyMemberDef origin_members[] = {
    {"ancestors", Py_T_OBJECT_EX, offsetof(Origin, ancestors), Py_READONLY, NULL},
    {"initial_call", Py_T_OBJECT_EX, offsetof(Origin, initial_call), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef origin_methods[] = {
    {"__copy__", origin_self, METH_NOARGS, NULL},
    {"__deepcopy__", origin_self, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject TsmOrigin_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Origin",
    .tp_basicsize = sizeof(Origin),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = origin_dealloc,
    .tp_repr = origin_repr,
    .tp_members = origin_members,
    .tp_methods = origin_methods,
};

PyObject*
tsm_origin_of(tsm_proc_t* p)
{
    PyObject* origin = p->cold == NULL ? NULL : p->cold->origin;
    return Py_NewRef(origin == NULL ? Py_None : origin);
}

/* The calling process has none yet. Borrowed. */
static Origin*
origin_make(tsm_proc_t* p)
{
    PyObject* call = tsm_initial_call_of(p);
    Origin* mine = call == NULL ? NULL : origin_new(PyTuple_New(0), call);
    Py_XDECREF(call);
    if (mine == NULL || tsm_begin("a start") == NULL) {
        Py_XDECREF(mine);
        return NULL;
    }
    bool made = tsm_cold_owner(p) != NULL;
    if (made) {
        p->cold->origin = mine;
    } else {
        PyErr_NoMemory();
    }
    if (tsm_done(made ? Py_NewRef(Py_None) : NULL) != NULL) {
        return mine;
    }
    if (!made) {
        Py_DECREF(mine);
    }
    return NULL;
}

/* Is a child's origin still right? name: of its parent, or NULL. */
static bool
is_child_of(Origin* child, PyObject* name, tsm_pid_t parent)
{
    PyObject* nearest = PyTuple_GET_ITEM(child->ancestors, 0);
    if (name != NULL) {
        return PyUnicode_CheckExact(nearest) && PyUnicode_Compare(nearest, name) == 0;
    }
    return tsm_pid_check(nearest) && ((TsmPid*)nearest)->pid == parent;
}

static PyObject*
ancestors_of_child(Origin* parent, PyObject* name, tsm_pid_t pid)
{
    PyObject* nearest = name != NULL ? Py_NewRef(name) : tsm_pid_object(pid);
    Py_ssize_t n = PyTuple_GET_SIZE(parent->ancestors);
    PyObject* tuple = nearest == NULL ? NULL : PyTuple_New(n + 1);
    if (tuple == NULL) {
        Py_XDECREF(nearest);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, nearest);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTuple_SET_ITEM(tuple, i + 1, Py_NewRef(PyTuple_GET_ITEM(parent->ancestors, i)));
    }
    return tuple;
}

PyObject*
tsm_origin_of_child(PyObject* initial_call)
{
    tsm_proc_t* p = tsm_here("a start");
    Origin* mine = p == NULL || p->cold == NULL ? NULL : p->cold->origin;
    PyObject* known = NULL;
    if (p != NULL && mine == NULL) {
        mine = origin_make(p);
    }
    if (mine == NULL || PyDict_GetItemRef(mine->born, initial_call, &known) < 0) {
        return NULL;
    }
    /* relaxed: a hint; a name given at this very moment may be missed. */
    PyObject* name = tsm_load_relaxed(&p->a_name) == NULL ? NULL : tsm_name_of_any(p);
    if (known == NULL || !is_child_of((Origin*)known, name, tsm_proc_pid(p))) {
        PyObject* ancestors = ancestors_of_child(mine, name, tsm_proc_pid(p));
        Py_XSETREF(known, (PyObject*)origin_new(ancestors, initial_call));
        if (known != NULL && PyDict_SetItem(mine->born, initial_call, known) < 0) {
            Py_CLEAR(known);
        }
    }
    Py_XDECREF(name);
    return known;
}
