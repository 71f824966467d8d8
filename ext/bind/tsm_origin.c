/* tsm_origin.c - where a process comes from: its ancestors and what it was started to run.
 *
 * What it is      One reference per process to an Origin (transom/_proc_lib.py), shared by
 *                 all children of one parent that run the same thing. Kept beside the label
 *                 among what few processes have (tsm_cold_t).
 * Source          proc_lib: $ancestors, $initial_call
 */
#include "bind/tsm_bind.h"

/* New reference; None for a process that was not started through proc_lib. Owner of p. */
PyObject*
tsm_origin_of(tsm_proc_t* p)
{
    PyObject* origin = p->cold == NULL ? NULL : p->cold->origin;
    return Py_NewRef(origin == NULL ? Py_None : origin);
}

/* Takes origin. -1: no memory. Owner of p, inside the runtime. */
int
tsm_origin_set(tsm_proc_t* p, PyObject* origin)
{
    if (tsm_cold_owner(p) == NULL || (p->cold->origin != NULL && tsm_bury_term(p->cold->origin) < 0)) {
        Py_DECREF(origin);
        PyErr_NoMemory();
        return -1;
    }
    p->cold->origin = origin;
    return 0;
}

static PyObject*
py_origin(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(ignored))
{
    tsm_proc_t* p = tsm_here("_origin()");
    return p == NULL ? NULL : tsm_origin_of(p);
}

static PyObject*
py_set_origin(PyObject* Py_UNUSED(m), PyObject* origin)
{
    tsm_proc_t* p = tsm_begin("_set_origin()");
    if (p == NULL) {
        return NULL;
    }
    return tsm_done(tsm_origin_set(p, Py_NewRef(origin)) < 0 ? NULL : Py_NewRef(Py_None));
}

PyMethodDef tsm_origin_methods[] = {
    {"_origin", py_origin, METH_NOARGS, NULL},
    {"_set_origin", py_set_origin, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
