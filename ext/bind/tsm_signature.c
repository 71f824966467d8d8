/* tsm_signature.c - do these arguments fit the method that is called?
 *
 * Why here        A call with a wrong argument is the caller's mistake: found when the call is
 *                 made, it is a TypeError where the mistake is; found by the agent, it would end it.
 * What it is      What CPython does when it calls a function, without the binding. A misfit is
 *                 left to inspect.signature, which knows how to say what is wrong.
 */
#include "bind/tsm_agent.h"

enum { MOST = 64 }; /* parameters looked at; a method with more is not judged */

/* The parameter of that name, without self; -1: none. */
static int
parameter_named(const TsmMethod* method, PyObject* name, int first, int last)
{
    for (int i = first; i < last; i++) {
        PyObject* known = PyTuple_GET_ITEM(method->names, i + 1);
        if (known == name || PyUnicode_Compare(known, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* Marks what kwnames gives. False: one is unknown or given twice. */
static bool
take_named(const TsmMethod* method, const PyCodeObject* code, PyObject* kwnames, int all, uint64_t* given)
{
    int first = code->co_posonlyargcount > 0 ? code->co_posonlyargcount - 1 : 0;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); k++) {
        int i = parameter_named(method, PyTuple_GET_ITEM(kwnames, k), first, all);
        if (i < 0 && (code->co_flags & CO_VARKEYWORDS) == 0) {
            return false;
        }
        if (i >= 0 && (*given & (UINT64_C(1) << i)) != 0) {
            return false;
        }
        *given |= i >= 0 ? UINT64_C(1) << i : 0;
    }
    return true;
}

static bool
fits(const TsmMethod* method, Py_ssize_t n, PyObject* kwnames)
{
    const PyCodeObject* code = (PyCodeObject*)method->code;
    if (TSM_UNLIKELY(PyFunction_GET_CODE(method->function) != method->code)) {
        return false; /* it got another one since: names are of the old. Not for us to judge. */
    }
    int positional = code->co_argcount - 1, all = positional + code->co_kwonlyargcount;
    if (positional < 0 || all > MOST) {
        return true; /* def method(*args), or too long to look at */
    }
    if (n > positional && (code->co_flags & CO_VARARGS) == 0) {
        return false;
    }
    if (kwnames == NULL && code->co_kwonlyargcount == 0) {
        return n >= method->needed;
    }
    Py_ssize_t placed = n < positional ? n : positional;
    uint64_t given = placed >= MOST ? UINT64_MAX : (UINT64_C(1) << placed) - 1;
    if (kwnames != NULL && !take_named(method, code, kwnames, all, &given)) {
        return false;
    }
    for (int i = 0; i < all; i++) {
        bool optional = i < positional ? i >= method->needed
            : method->kwdefaults != NULL
                && PyDict_Contains(method->kwdefaults, PyTuple_GET_ITEM(method->names, i + 1)) == 1;
        if (!optional && (given & (UINT64_C(1) << i)) == 0) {
            return false;
        }
    }
    return true;
}

void
tsm_arguments_learn(TsmMethod* method)
{
    PyObject* defaults = PyFunction_GET_DEFAULTS(method->function);
    const PyCodeObject* code = (PyCodeObject*)PyFunction_GET_CODE(method->function);
    method->code = Py_NewRef((PyObject*)code);
    method->kwdefaults = Py_XNewRef(PyFunction_GET_KW_DEFAULTS(method->function));
    method->needed = code->co_argcount - 1 - (defaults == NULL ? 0 : (int)PyTuple_GET_SIZE(defaults));
    method->most = (code->co_flags & CO_VARARGS) != 0 ? INT_MAX : code->co_argcount - 1;
    if (code->co_argcount < 1 || code->co_kwonlyargcount != 0) {
        method->most = -1;
    }
}

int
tsm_arguments_check(TsmMethod* method, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    if (TSM_LIKELY(fits(method, n, kwnames))) {
        return 0;
    }
    PyObject* wrong = PyTuple_New(n);
    PyObject* named = PyDict_New();
    for (Py_ssize_t i = 0; wrong != NULL && i < n; i++) {
        PyTuple_SET_ITEM(wrong, i, Py_NewRef(args[i]));
    }
    for (Py_ssize_t k = 0; named != NULL && kwnames != NULL && k < PyTuple_GET_SIZE(kwnames); k++) {
        if (PyDict_SetItem(named, PyTuple_GET_ITEM(kwnames, k), args[n + k]) < 0) {
            Py_CLEAR(named);
        }
    }
    PyObject* fine = wrong == NULL || named == NULL ? NULL
        : PyObject_CallFunctionObjArgs(tsm_bind.check_arguments, method->function, method->owner, wrong, named, NULL);
    Py_XDECREF(wrong);
    Py_XDECREF(named);
    Py_XDECREF(fine);
    return fine == NULL ? -1 : 0;
}
