/* tsm_table_dirtype.c - directories as Python sees them, and broadcasting.
 *
 * Protocol        A broadcast takes the list of receivers under the lock and sends outside of
 *                 it. The message is copied once; an immutable one is then the same object for
 *                 all, a mutable one is copied again for each. Every BATCH receivers the
 *                 sender leaves the runtime, counts reductions and may be preempted.
 */
#include "bind/tsm_table_dir.h"

#include <stdlib.h>

enum { BATCH = 256 };

typedef struct {
    PyObject_HEAD
    tsm_dir_t* dir;
} Directory;

static PyTypeObject Directory_Type;

/* Takes the reference. */
static PyObject*
handle_of(tsm_dir_t* d)
{
    Directory* self = PyObject_New(Directory, &Directory_Type);
    if (self == NULL) {
        tsm_dir_release(d);
        return NULL;
    }
    self->dir = d;
    return (PyObject*)self;
}

/* Enters the runtime where the caller is a process. False: it is dead, exception set. */
static bool
enter(tsm_worker_t** w)
{
    *w = tsm_self != NULL && tsm_worker_proc(tsm_self) != NULL ? tsm_self : NULL;
    if (*w == NULL) {
        return tsm_check_running();
    }
    return tsm_begin("this operation") != NULL;
}

static PyObject*
leave(tsm_worker_t* w, PyObject* result)
{
    if (w != NULL) {
        return tsm_done(result);
    }
    tsm_flush();
    return result;
}

static PyObject*
fail(tsm_dir_t* d, int rc)
{
    if (rc == TSM_DIR_GONE) {
        return PyErr_Format(tsm_tables.no_table, "the registry %R is gone: its owner ended", d->name == NULL ? Py_None : d->name);
    }
    return tsm_raise(rc, "join");
}

/* _directory(kind, name, unique, joined, left, owned): find by name or make. None: the name is taken. */
static PyObject*
directory(PyObject* Py_UNUSED(m), PyObject* args)
{
    PyObject *name, *joined, *left;
    int kind, unique, owned, rc = 0;
    if (!PyArg_ParseTuple(args, "iOpUUp:_directory", &kind, &name, &unique, &joined, &left, &owned)) {
        return NULL;
    }
    PyObject* name_or_null = name == Py_None ? NULL : name;
    tsm_dir_t* d = owned || name_or_null == NULL ? NULL : tsm_dir_named(kind, name);
    if (d != NULL) {
        return handle_of(d);
    }
    tsm_proc_t* p = owned ? tsm_begin("Registry()") : NULL;
    if (owned && p == NULL) {
        return NULL;
    }
    rc = tsm_dir_new(kind, name_or_null, unique != 0, joined, left, p, &d);
    if (owned && tsm_done(Py_NewRef(Py_None)) == NULL) {
        return NULL;
    }
    if (rc == -1 && !owned && (d = tsm_dir_named(kind, name)) != NULL) { /* made meanwhile */
        return handle_of(d);
    }
    return rc == 0 ? handle_of(d) : rc == -1 ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

static PyObject*
directory_named(PyObject* Py_UNUSED(m), PyObject* args)
{
    int kind;
    PyObject* name;
    if (!PyArg_ParseTuple(args, "iU:_directory_named", &kind, &name)) {
        return NULL;
    }
    tsm_dir_t* d = tsm_dir_named(kind, name);
    return d == NULL ? Py_NewRef(Py_None) : handle_of(d);
}

/* join(key, pid, value): None, or the Pid that has the key. */
static PyObject*
dir_join(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_dir_t* d = ((Directory*)self)->dir;
    tsm_key_t key;
    tsm_worker_t* w;
    tsm_pid_t taken, pid = n == 3 ? tsm_as_pid(args[1], "join") : 0;
    if (pid == 0 || tsm_key_make(&key, args[0], false) < 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "join takes a key, a Pid and a value");
    }
    PyObject* value = args[2] == Py_None ? NULL : tsm_copy(args[2], "join");
    PyObject* key_op = PyErr_Occurred() ? NULL : tsm_copy(args[0], "join");
    if (key_op == NULL || !enter(&w)) {
        tsm_key_drop(&key);
        Py_XDECREF(value);
        Py_XDECREF(key_op);
        return NULL;
    }
    int rc = tsm_dir_join(d, &key, key_op, pid, value, &taken);
    PyObject* result = rc == 0 ? Py_NewRef(Py_None) : taken != 0 ? tsm_pid_object(taken) : fail(d, rc);
    result = leave(w, result);
    if (rc != 0) {
        Py_XDECREF(value);
    }
    Py_DECREF(key_op);
    tsm_key_drop(&key);
    return result;
}

/* leave(key, pid, all): how many */
static PyObject*
dir_leave(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_key_t key;
    tsm_worker_t* w;
    tsm_pid_t pid = n == 3 ? tsm_as_pid(args[1], "leave") : 0;
    if (pid == 0 || tsm_key_make(&key, args[0], false) < 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "leave takes a key, a Pid and a flag");
    }
    PyObject* result = NULL;
    if (enter(&w)) {
        result = leave(w, PyLong_FromLongLong(tsm_dir_leave(((Directory*)self)->dir, &key, pid, args[2] == Py_True)));
    }
    tsm_key_drop(&key);
    return result;
}

/* members(key, values): pids, or (pid, value) */
static PyObject*
dir_members(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_key_t key;
    tsm_pid_t* pids;
    PyObject** values = NULL;
    bool with = n == 2 && args[1] == Py_True;
    if (n != 2 || tsm_key_make(&key, args[0], false) < 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "members takes a key and a flag");
    }
    int64_t count = tsm_dir_members(((Directory*)self)->dir, &key, &pids, with ? &values : NULL);
    tsm_key_drop(&key);
    PyObject* list = count < 0 ? PyErr_NoMemory() : PyList_New((Py_ssize_t)count);
    for (int64_t i = 0; i < count; i++) {
        PyObject* item = tsm_pid_object(pids[i]);
        if (with && item != NULL) {
            PyObject* value = values[i] == NULL ? Py_NewRef(Py_None) : tsm_copy(values[i], "lookup");
            PyObject* pair = value == NULL ? NULL : PyTuple_Pack(2, item, value);
            Py_DECREF(item);
            Py_XDECREF(value);
            item = pair;
        }
        if (with) {
            Py_XDECREF(values[i]);
        }
        if (item == NULL) {
            Py_CLEAR(list);
        } else if (list != NULL) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        } else {
            Py_DECREF(item);
        }
    }
    if (count >= 0) {
        free(pids);
        free(values);
    }
    return list;
}

static PyObject*
dir_first(PyObject* self, PyObject* key_op)
{
    tsm_key_t key;
    if (tsm_key_make(&key, key_op, false) < 0) {
        return NULL;
    }
    tsm_pid_t pid = tsm_dir_first(((Directory*)self)->dir, &key);
    tsm_key_drop(&key);
    return pid == 0 ? Py_NewRef(Py_None) : tsm_pid_object(pid);
}

/* set_value(key, pid, value): bool */
static PyObject*
dir_set_value(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_key_t key;
    tsm_worker_t* w;
    tsm_pid_t pid = n == 3 ? tsm_as_pid(args[1], "update_value") : 0;
    PyObject* value = pid == 0 ? NULL : tsm_copy(args[2], "update_value");
    if (value == NULL || tsm_key_make(&key, args[0], false) < 0) {
        Py_XDECREF(value);
        return NULL;
    }
    PyObject* result = NULL;
    if (enter(&w)) {
        result = leave(w, PyBool_FromLong(tsm_dir_set(((Directory*)self)->dir, &key, pid, value)));
    } else {
        Py_DECREF(value);
    }
    tsm_key_drop(&key);
    return result;
}

/* listing(pid or None, members) */
static PyObject*
dir_listing(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "listing takes a Pid or None, and a flag");
    }
    tsm_pid_t pid = args[0] == Py_None ? 0 : tsm_as_pid(args[0], "keys");
    PyObject* list = pid == 0 && args[0] != Py_None ? NULL : PyList_New(0);
    if (list != NULL && tsm_dir_list(((Directory*)self)->dir, pid, args[1] == Py_True, list) < 0) {
        Py_CLEAR(list);
    }
    return list;
}

/* watch(key) or watch(...): (ref, [(key, pid), ...]) */
static PyObject*
dir_watch(PyObject* self, PyObject* key_op)
{
    tsm_key_t key;
    bool all = key_op == Py_Ellipsis;
    if (tsm_here("monitor()") == NULL || (!all && tsm_key_make(&key, key_op, false) < 0)) {
        return NULL;
    }
    PyObject* snapshot = PyList_New(0);
    tsm_proc_t* me = snapshot == NULL ? NULL : tsm_begin("monitor()");
    PyObject* result = NULL;
    if (me != NULL) {
        uint64_t id = tsm_ref_new();
        int rc = tsm_dir_watch(((Directory*)self)->dir, all ? NULL : &key, me, id, snapshot);
        PyObject* ref = rc < 0 ? fail(((Directory*)self)->dir, rc) : tsm_ref_object(id, tsm_proc_pid(me));
        result = ref == NULL ? NULL : PyTuple_Pack(2, ref, snapshot);
        Py_XDECREF(ref);
        result = tsm_done(result);
    }
    Py_XDECREF(snapshot);
    if (!all) {
        tsm_key_drop(&key);
    }
    return result;
}

static PyObject*
dir_unwatch(PyObject* self, PyObject* ref)
{
    if (!tsm_ref_check(ref)) {
        return PyErr_Format(PyExc_TypeError, "demonitor() takes a Ref, not %.200s", Py_TYPE(ref)->tp_name);
    }
    tsm_proc_t* me = tsm_here("demonitor()");
    if (me == NULL) {
        return NULL;
    }
    tsm_dir_unwatch(((Directory*)self)->dir, tsm_proc_pid(me), ((TsmRef*)ref)->id);
    Py_RETURN_NONE;
}

/* ---- broadcast ---- */

/* A copy for each where the message can change. */
static int
send_copies(tsm_pid_t* pids, int64_t count, tsm_pid_t but, PyObject* message, int64_t* sent)
{
    for (int64_t i = 0; i < count; i++) {
        if (pids[i] == but) {
            continue;
        }
        tsm_worker_t* w;
        tsm_sig_t* sig = tsm_message_new(message, 0, false);
        if (sig == NULL) {
            return -1;
        }
        if (!enter(&w)) {
            tsm_bury(sig);
            return -1;
        }
        (void)tsm_signal_any(pids[i], sig);
        ++*sent;
        Py_XDECREF(leave(w, Py_NewRef(Py_None)));
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

static int
send_shared(tsm_pid_t* pids, int64_t count, tsm_pid_t but, PyObject* message, int64_t* sent)
{
    for (int64_t i = 0; i < count;) {
        tsm_worker_t* w;
        bool full = false;
        if (!enter(&w)) {
            return -1;
        }
        for (int64_t end = i + BATCH < count ? i + BATCH : count; i < end && !full; i++) {
            tsm_sig_t* sig = pids[i] == but ? NULL : tsm_sig_new(TSM_SIG_MESSAGE);
            full = sig == NULL && pids[i] != but;
            if (sig != NULL) {
                sig->term = Py_NewRef(message);
                (void)tsm_signal_any(pids[i], sig);
                ++*sent;
            }
        }
        if (w != NULL) {
            tsm_charge(w, BATCH);
        }
        PyObject* ok = leave(w, Py_NewRef(Py_None));
        Py_XDECREF(ok);
        if (ok == NULL || (full && PyErr_NoMemory() == NULL)) {
            return -1;
        }
        if (w != NULL && tsm_budget_left(w) <= 0 && !tsm_reds_slow(w)) {
            return -1;
        }
    }
    return 0;
}

/* broadcast(key, message, pid left out or None): how many */
static PyObject*
dir_broadcast(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_key_t key;
    tsm_pid_t* pids;
    int64_t sent = 0;
    tsm_pid_t but = n == 3 && args[2] != Py_None ? tsm_as_pid(args[2], "broadcast_from()") : 0;
    if (n != 3 || PyErr_Occurred() || tsm_key_make(&key, args[0], false) < 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "broadcast takes a key, a message and a Pid");
    }
    PyObject* message = tsm_copy(args[1], "broadcast()");
    int64_t count = message == NULL ? -1 : tsm_dir_members(((Directory*)self)->dir, &key, &pids, NULL);
    tsm_key_drop(&key);
    if (count < 0) {
        Py_XDECREF(message);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    int rc = message == args[1] ? send_shared(pids, count, but, message, &sent)
                                : send_copies(pids, count, but, message, &sent);
    free(pids);
    Py_DECREF(message);
    return rc < 0 ? NULL : PyLong_FromLongLong(sent);
}

/* ---- the type ---- */

static PyObject*
dir_count(PyObject* self, PyObject* Py_UNUSED(none))
{
    tsm_dir_t* d = ((Directory*)self)->dir;
    tsm_mutex_lock(&d->lock);
    uint64_t total = d->total;
    tsm_mutex_unlock(&d->lock);
    return PyLong_FromUnsignedLongLong(total);
}

static PyObject*
dir_copy(PyObject* self, PyObject* Py_UNUSED(memo))
{
    tsm_dir_t* d = ((Directory*)self)->dir;
    (void)tsm_add_relaxed(&d->a_refs, 1); /* relaxed: the handle has one. */
    return handle_of(d);
}

static void
dir_dealloc(PyObject* self)
{
    tsm_dir_release(((Directory*)self)->dir);
    PyObject_Free(self);
}

#define FAST(fn) (PyCFunction)(void (*)(void))fn, METH_FASTCALL

static PyMethodDef dir_methods[] = {
    {"join", FAST(dir_join), NULL},
    {"leave", FAST(dir_leave), NULL},
    {"members", FAST(dir_members), NULL},
    {"first", dir_first, METH_O, NULL},
    {"set_value", FAST(dir_set_value), NULL},
    {"listing", FAST(dir_listing), NULL},
    {"watch", dir_watch, METH_O, NULL},
    {"unwatch", dir_unwatch, METH_O, NULL},
    {"broadcast", FAST(dir_broadcast), NULL},
    {"count", dir_count, METH_NOARGS, NULL},
    {"__copy__", dir_copy, METH_NOARGS, NULL},
    {"__deepcopy__", dir_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Directory_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Directory",
    .tp_basicsize = sizeof(Directory),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "A handle of a directory of processes.",
    .tp_dealloc = dir_dealloc,
    .tp_methods = dir_methods,
};

static PyMethodDef functions[] = {
    {"_directory", directory, METH_VARARGS, NULL},
    {"_directory_named", directory_named, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static void
died(tsm_proc_t* p)
{
    tsm_dir_died(p);
    tsm_table_died(p);
}

int
tsm_dir_init(PyObject* module)
{
    tsm_hooks.died = died;
    if (PyType_Ready(&Directory_Type) < 0
        || PyModule_AddObjectRef(module, "_Directory", (PyObject*)&Directory_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
