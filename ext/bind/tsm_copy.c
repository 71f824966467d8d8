/* tsm_copy.c - isolation: what goes into a message leaves the sender's reach.
 *
 * Deeply immutable values go by reference; exact dict, list, set, frozenset, tuple and
 * bytearray are copied here; everything else by copy.deepcopy (src/transom/_copying.py), with one memo for the
 * whole message, so cycles and shared references survive across both. What cannot be
 * copied is a TypeError at the sender.
 */
#include "bind/tsm_agent.h"

#define IMMUTABLE_DEPTH 32 /* deeper tuples are copied, which is right as well */

static bool
is_immutable(PyObject* op, int depth)
{
    PyTypeObject* type = Py_TYPE(op);
    if (type == &PyUnicode_Type || type == &PyLong_Type || type == &TsmPid_Type
        || op == Py_None || type == &PyBool_Type || type == &PyFloat_Type
        || type == &PyBytes_Type || type == &TsmRef_Type) {
        return true;
    }
    if (type == &PyTuple_Type) {
        Py_ssize_t n = PyTuple_GET_SIZE(op);
        for (Py_ssize_t i = 0; i < n; i++) {
            if (depth >= IMMUTABLE_DEPTH || !is_immutable(PyTuple_GET_ITEM(op, i), depth + 1)) {
                return false;
            }
        }
        return true;
    }
    return PyType_IsSubtype(type, &TsmAgentRef_Type) || type == &TsmExit_Type || type == &TsmDown_Type || type == &TsmTimer_Type
           || type == &PyFunction_Type || type == &PyCFunction_Type || type == &PyType_Type
           || type == &PyComplex_Type || type == &PyRange_Type || op == Py_Ellipsis
           || op == Py_NotImplemented || PyType_Check(op);
}

static PyObject* copy_any(PyObject* op, PyObject** memo);

/* memo: id -> copy, as copy.deepcopy keeps it; made when first needed. */
static int
memo_put(PyObject** memo, PyObject* op, PyObject* copy)
{
    if (*memo == NULL && (*memo = PyDict_New()) == NULL) {
        return -1;
    }
    PyObject* id = PyLong_FromVoidPtr(op);
    int rc = id == NULL ? -1 : PyDict_SetItem(*memo, id, copy);
    Py_XDECREF(id);
    return rc;
}

static PyObject*
memo_get(PyObject* memo, PyObject* op)
{
    PyObject *id, *found = NULL;
    if (memo != NULL && (id = PyLong_FromVoidPtr(op)) != NULL) {
        (void)PyDict_GetItemRef(memo, id, &found);
        Py_DECREF(id);
    }
    return found;
}

static PyObject*
copy_list(PyObject* op, PyObject** memo)
{
    PyObject* copy = PyList_New(0);
    if (copy == NULL || memo_put(memo, op, copy) < 0) {
        Py_XDECREF(copy);
        return NULL;
    }
    for (Py_ssize_t i = 0;; i++) {
        PyObject* item = PyList_GetItemRef(op, i); /* the sender's threads may shrink it */
        if (item == NULL) {
            PyErr_Clear();
            return copy;
        }
        PyObject* item_copy = copy_any(item, memo);
        Py_DECREF(item);
        if (item_copy == NULL || PyList_Append(copy, item_copy) < 0) {
            Py_XDECREF(item_copy);
            Py_DECREF(copy);
            return NULL;
        }
        Py_DECREF(item_copy);
    }
}

static PyObject*
copy_dict(PyObject* op, PyObject** memo)
{
    PyObject* copy = PyDict_New();
    PyObject* flat = PyDict_Copy(op); /* a stable view: copying may run user code */
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    if (copy == NULL || flat == NULL || memo_put(memo, op, copy) < 0) {
        goto fail;
    }
    while (PyDict_Next(flat, &pos, &key, &value)) {
        PyObject* key_copy = copy_any(key, memo);
        PyObject* value_copy = key_copy == NULL ? NULL : copy_any(value, memo);
        int rc = value_copy == NULL ? -1 : PyDict_SetItem(copy, key_copy, value_copy);
        Py_XDECREF(key_copy);
        Py_XDECREF(value_copy);
        if (rc < 0) {
            goto fail;
        }
    }
    Py_DECREF(flat);
    return copy;
fail:
    Py_XDECREF(copy);
    Py_XDECREF(flat);
    return NULL;
}

/* Tuples, sets and frozensets: the items as a list, copied, and put together again. */
static PyObject*
copy_items(PyObject* op, PyObject** memo)
{
    PyObject* flat = PySequence_List(op);
    PyObject* items = flat == NULL ? NULL : PyList_New(0);
    bool same = true;
    for (Py_ssize_t i = 0; items != NULL && i < PyList_GET_SIZE(flat); i++) {
        PyObject* item = copy_any(PyList_GET_ITEM(flat, i), memo);
        if (item == NULL || PyList_Append(items, item) < 0) {
            Py_CLEAR(items);
        }
        same = same && item == PyList_GET_ITEM(flat, i);
        Py_XDECREF(item);
    }
    Py_XDECREF(flat);
    if (items == NULL) {
        return NULL;
    }
    PyObject* copy = memo_get(*memo, op); /* a cycle may have made it meanwhile */
    if (copy == NULL && same && !PySet_CheckExact(op)) {
        copy = Py_NewRef(op); /* immutable, and all in it, too */
    } else if (copy == NULL) {
        copy = PyTuple_CheckExact(op) ? PyList_AsTuple(items)
               : PyFrozenSet_CheckExact(op) ? PyFrozenSet_New(items) : PySet_New(items);
        if (copy != NULL && memo_put(memo, op, copy) < 0) {
            Py_CLEAR(copy);
        }
    }
    Py_DECREF(items);
    return copy;
}

/* Turns the TypeError set now into one that says text about what; it becomes the cause. */
static void
explain(const char* format, const char* what)
{
    PyObject* cause = PyErr_GetRaisedException();
    PyErr_Format(PyExc_TypeError, format, what, cause);
    PyObject* exc = PyErr_GetRaisedException();
    PyException_SetCause(exc, cause);
    PyErr_SetRaisedException(exc);
}

static PyObject*
copy_object(PyObject* op, PyObject** memo)
{
    if (*memo == NULL && (*memo = PyDict_New()) == NULL) {
        return NULL;
    }
    PyObject* copy = PyObject_CallFunctionObjArgs(tsm_bind.deepcopy, op, *memo, NULL);
    if (copy == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        explain("%.200s: %S", Py_TYPE(op)->tp_name);
    }
    return copy;
}

static PyObject*
copy_any(PyObject* op, PyObject** memo)
{
    if (is_immutable(op, 0)) {
        return Py_NewRef(op);
    }
    PyObject* copy = memo_get(*memo, op);
    if (copy != NULL) {
        return copy;
    }
    if (Py_EnterRecursiveCall(" while copying a message")) {
        return NULL;
    }
    if (PyDict_CheckExact(op)) {
        copy = copy_dict(op, memo);
    } else if (PyList_CheckExact(op)) {
        copy = copy_list(op, memo);
    } else if (PyTuple_CheckExact(op) || PyAnySet_CheckExact(op)) {
        copy = copy_items(op, memo);
    } else {
        copy = copy_object(op, memo);
    }
    Py_LeaveRecursiveCall();
    return copy;
}

PyObject*
tsm_copy(PyObject* value, const char* where)
{
    if (TSM_LIKELY(is_immutable(value, 0))) {
        return Py_NewRef(value);
    }
    PyObject* memo = NULL;
    PyObject* copy = copy_any(value, &memo);
    Py_XDECREF(memo);
    if (copy == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        explain("%s: it cannot be copied into another process (%S); send plain data, or the Pid of "
                "the process that owns it", where);
    }
    return copy;
}

PyObject*
tsm_reason(PyObject* value)
{
    if (PyUnicode_CheckExact(value)) {
        PyObject* words[] = {tsm_bind.s_normal, tsm_bind.s_kill, tsm_bind.s_killed,
                             tsm_bind.s_noproc, tsm_bind.s_noconnection, tsm_bind.s_shutdown};
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (value == words[i] || PyUnicode_Compare(value, words[i]) == 0) {
                return Py_NewRef(words[i]);
            }
        }
    }
    return tsm_copy(value, "exit reason");
}
