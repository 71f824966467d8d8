/* tsm_disown.c - what one thread makes and another drops, with all that hangs on it.
 *
 * What it is      Whoever drops the last reference to an object of another thread queues it for
 *                 that thread, under a lock of the interpreter that both meet in. Who finds it
 *                 held yields its core, and beside a process that computes it comes back with the
 *                 kernel's next tick, 4 ms later: the event loops lost a tenth of their time so
 *                 (docs/decisions/0022). Disowned objects are freed where they are dropped.
 * What it follows exact lists, tuples and dicts, cells, and the variables of coroutines and
 *                 generators, as long as they bear no trace of another thread. Of other objects
 *                 only the first is disowned.
 * Why it may      Another thread may come to them all the same, by way of something that both
 *                 have (a cache). So lists, dicts and cells are held by their lock meanwhile, and
 *                 what is locked is left alone; a coroutine has none, and is followed when the
 *                 one reference by which it was found is all there is.
 * Price           20 to 40 ns an object here; queueing and merging it cost as much.
 * Where tested    tests/semantics/test_aio.py, tests/stress/test_aio_races.py
 */
#include "bind/tsm_aio.h"

enum { DEPTH = 16 };

static bool
is_running_code(PyObject* op)
{
    return PyCoro_CheckExact(op) || PyAsyncGen_CheckExact(op) || PyGen_CheckExact(op);
}

/* Others may change what it holds. */
static bool
changes(PyObject* op)
{
    return PyList_CheckExact(op) || PyDict_CheckExact(op) || PyCell_Check(op);
}

static bool
is_plain(PyObject* op)
{
    return PyUnicode_CheckExact(op) || PyLong_CheckExact(op) || PyFloat_CheckExact(op) || PyBytes_CheckExact(op)
           || PyTuple_CheckExact(op) || changes(op) || is_running_code(op);
}

static int disown_plain(PyObject* op, void* depth);

/* Nothing in here runs other code, detaches or drops a reference. */
static void
disown_items(PyObject* op, int* depth)
{
    if (PyList_CheckExact(op)) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(op); i++) {
            (void)disown_plain(PyList_GET_ITEM(op, i), depth);
        }
    } else if (PyTuple_CheckExact(op)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(op); i++) {
            (void)disown_plain(PyTuple_GET_ITEM(op, i), depth);
        }
    } else if (PyDict_CheckExact(op)) {
        Py_ssize_t at = 0;
        PyObject *key, *value;
        while (PyDict_Next(op, &at, &key, &value)) {
            (void)disown_plain(key, depth);
            (void)disown_plain(value, depth);
        }
    } else if (PyCell_Check(op) || is_running_code(op)) {
        (void)Py_TYPE(op)->tp_traverse(op, disown_plain, depth);
    }
}

/* Once disowned op is no longer private: what hangs together in circles ends here, too.
 * A visitproc: depth is a pointer to how deep op lies. */
static int
disown_plain(PyObject* op, void* depth)
{
    int below = *(int*)depth + 1;
    if (below > DEPTH || !is_plain(op) || !tsm_rc_is_private(op)) {
        return 0;
    }
    bool locks = changes(op);
    if (locks && !tsm_object_trylock(op)) {
        return 0;
    }
    bool follow = !is_running_code(op) || tsm_rc(op) == 1;
    tsm_disown(op);
    if (follow) {
        disown_items(op, &below);
    }
    if (locks) {
        tsm_object_unlock(op);
    }
    return 0;
}

void
tsm_disown_all(PyObject* op)
{
    int depth = 0;
    if (!TSM_CAN_DISOWN) { /* then all would stay private, and circles have no end */
        return;
    }
    (void)disown_plain(op, &depth);
    tsm_disown(op); /* of any class, and also when it was seen by others */
}
