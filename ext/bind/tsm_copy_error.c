/* tsm_copy_error.c - where a copy failed, told in the words of the message.
 *
 * The frames of the walk are the way to the value that failed. This file reads them off
 * as a list of steps; transom._copying.explain writes the text.
 */
#include "bind/tsm_copy.h"

enum { SHOWN = 12 }; /* steps at either end of a long way */

/* New reference: a tuple (word, value ...), see _copying.py. */
static PyObject*
describe(const tsm_copy_frame_t* f)
{
    switch (f->step) {
    case TSM_STEP_LIST:
        return Py_BuildValue("sn", "item", f->at);
    case TSM_STEP_TUPLE:
        return Py_BuildValue("snO", "item", f->at, Py_TYPE(f->from));
    case TSM_STEP_DICT:
        return Py_BuildValue("sO", "key", f->key == NULL ? Py_None : f->key);
    case TSM_STEP_KEYS:
        if (f->at % 2 == 0) {
            return Py_BuildValue("sn", "keys", f->at / 2);
        }
        return Py_BuildValue("sO", "key", PyList_GET_ITEM(f->aux, f->at - 1));
    case TSM_STEP_SET:
    case TSM_STEP_FROZENSET:
        return Py_BuildValue("(s)", "element");
    case TSM_STEP_STATE:
        return Py_BuildValue("sO", "attribute", f->key == NULL ? Py_None : f->key);
    case TSM_STEP_REDUCE:
        return Py_BuildValue("sinO", "reduced", (int)f->phase + (f->error ? 8 : 0), f->at,
                             f->key == NULL ? Py_None : f->key);
    default:
        return f->at == TSM_COPY_RECORD ? Py_BuildValue("sO", "record", Py_TYPE(f->from))
                                        : Py_BuildValue("ss", "attribute", "__self__");
    }
}

static PyObject*
describe_way(tsm_copier_t* c, size_t depth)
{
    PyObject* steps = PyList_New(0);
    for (size_t i = 0; steps != NULL && i < depth; i++) {
        bool shown = i < SHOWN || depth - i <= SHOWN;
        PyObject* word = shown ? describe(&c->frames[i]) : Py_BuildValue("(s)", "more");
        if (word == NULL || PyList_Append(steps, word) < 0) {
            Py_CLEAR(steps);
        }
        Py_XDECREF(word);
        if (!shown) {
            i = depth - SHOWN - 1;
        }
    }
    return steps;
}

static PyObject*
describe_root(tsm_copy_root_t root)
{
    if (root.name != NULL) {
        return Py_BuildValue("sO", root.word, root.name);
    }
    return root.index < 0 ? Py_BuildValue("(s)", root.word) : Py_BuildValue("sn", root.word, root.index);
}

void
tsm_copy_explain(tsm_copier_t* c, tsm_copy_root_t root)
{
    PyObject* exc = PyErr_GetRaisedException();
    if (!PyObject_TypeCheck(exc, (PyTypeObject*)PyExc_Exception)) {
        PyErr_SetRaisedException(exc); /* Killed, KeyboardInterrupt: not about the message */
        return;
    }
    size_t depth = c->depth;
    PyObject* culprit = Py_XNewRef(c->culprit);
    if (culprit == NULL && depth > 0) {
        culprit = Py_NewRef(c->frames[--depth].from);
    }
    PyObject* steps = describe_way(c, depth);
    PyObject* start = steps == NULL ? NULL : describe_root(root);
    PyObject* better = NULL;
    if (start != NULL) {
        better = PyObject_CallFunctionObjArgs(tsm_bind.explain_copy, exc, start, steps,
                                              culprit == NULL ? Py_None : culprit, NULL);
    }
    Py_XDECREF(steps);
    Py_XDECREF(start);
    Py_XDECREF(culprit);
    if (better == NULL || !PyExceptionInstance_Check(better)) {
        PyErr_Clear(); /* no better text, then */
        Py_XDECREF(better);
        better = Py_NewRef(exc);
    }
    Py_DECREF(exc);
    PyErr_SetRaisedException(better);
}
