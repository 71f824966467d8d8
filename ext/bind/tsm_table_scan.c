/* tsm_table_scan.c - walks over many rows; the type itself.
 *
 * What it is      _scan hands out the rows of some keys, behind a position, that fit a
 *                 pattern. A position is a bytes object (hash and key), so it stays good
 *                 whatever happens to the table. Each call is a turn of its own: it takes
 *                 one shard's lock for some rows, and counts reductions for them.
 */
#include "bind/tsm_table.h"

enum { TURN = 32 }; /* keys under one lock */

/* 1: value fits pattern, 0: not, -1: exception. Ellipsis fits everything. No lock held. */
static int
fits(PyObject* value, PyObject* pattern)
{
    if (pattern == Py_Ellipsis || value == pattern) {
        return 1;
    }
    if (Py_TYPE(value) != Py_TYPE(pattern)) {
        return 0;
    }
    if (!PyTuple_CheckExact(pattern)) {
        return tsm_same(value, pattern) ? 1 : PyObject_RichCompareBool(value, pattern, Py_EQ);
    }
    if (PyTuple_GET_SIZE(value) != PyTuple_GET_SIZE(pattern)) {
        return 0;
    }
    if (Py_EnterRecursiveCall(" in a pattern")) {
        return -1;
    }
    int rc = 1;
    for (Py_ssize_t i = 0; rc == 1 && i < PyTuple_GET_SIZE(pattern); i++) {
        rc = fits(PyTuple_GET_ITEM(value, i), PyTuple_GET_ITEM(pattern, i));
    }
    Py_LeaveRecursiveCall();
    return rc;
}

static int
add_rows(PyObject* rows, const tsm_entry_t* e, uint32_t* flags, Py_ssize_t* count)
{
    for (tsm_row_t* row = tsm_entry_row(e); row != NULL; row = tsm_row_next(row)) {
        PyObject* tuple = tsm_row_out(row, 0, NULL);
        int rc = tuple == NULL ? -1 : PyList_Append(rows, tuple);
        Py_XDECREF(tuple);
        if (rc < 0) {
            return -1;
        }
        *flags |= row->flags;
        ++*count;
    }
    return 0;
}

static PyObject*
position_of(const tsm_entry_t* e)
{
    PyObject* op = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(8 + e->len));
    if (op != NULL) {
        memcpy(PyBytes_AS_STRING(op), &e->hash, 8);
        memcpy(PyBytes_AS_STRING(op) + 8, e->key, e->len);
    }
    return op;
}

/* Keys behind the position, at most max of them, into rows. *position: where it ended, or
 * NULL at the end of the table. */
static int
collect(tsm_table_t* t, tsm_key_t* key, bool start, int max, PyObject* rows, uint32_t* flags, PyObject** position)
{
    uint32_t i = start || t->shard_count == 1 ? 0 : (uint32_t)(key->hash >> 58);
    const tsm_key_t* behind = start ? NULL : key;
    for (; i < t->shard_count; i++, behind = NULL) {
        tsm_shard_t* s = &t->shards[i];
        tsm_entry_t *e, *last = NULL;
        Py_ssize_t count = 0;
        int rc = 0, n = 0;
        tsm_shard_lock(t, s);
        e = tsm_store_after(t, s, behind);
        while (e != NULL && rc == 0 && n < max && count < 1024) {
            rc = add_rows(rows, e, flags, &count);
            last = e;
            n++;
            if ((e = e->a_next) == NULL && t->kind != TSM_ORDERED) {
                tsm_key_t here = {.bytes = last->key, .len = last->len, .hash = last->hash};
                e = tsm_store_after(t, s, &here); /* the next bucket */
            }
        }
        bool more = e != NULL || i + 1 < t->shard_count;
        *position = last != NULL && more && rc == 0 ? position_of(last) : NULL;
        rc = last != NULL && more && *position == NULL ? -1 : rc;
        tsm_shard_unlock(s);
        if (rc < 0 || last != NULL) {
            return rc;
        }
    }
    *position = NULL;
    return 0;
}

/* Drops what does not fit, copies out what does. */
static int
sift(PyObject* rows, PyObject* pattern, uint32_t flags)
{
    Py_ssize_t kept = 0, n = PyList_GET_SIZE(rows);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject* row = PyList_GET_ITEM(rows, i);
        int rc = (flags & TSM_ROW_MUTABLE) != 0 ? tsm_row_finish(row) : 0;
        rc = rc < 0 ? -1 : fits(row, pattern);
        if (rc < 0) {
            return -1;
        }
        if (rc == 1) {
            PyObject* other = PyList_GET_ITEM(rows, kept);
            PyList_SET_ITEM(rows, kept, row);
            PyList_SET_ITEM(rows, i, other);
            kept++;
        }
    }
    return PyList_SetSlice(rows, kept, n, NULL);
}

PyDoc_STRVAR(scan_doc, "_scan($self, pattern, position, keys, /)\n--\n\nSome rows that fit, and the position to go on from or None.");

static PyObject*
scan(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_key_t key;
    key.bytes = key.buffer;
    key.hash = 0;
    PyObject *rows = NULL, *position = NULL;
    uint32_t flags = 0;
    tsm_table_t* t = n == 3 ? tsm_table_for(self, false, "select()") : NULL;
    if (t == NULL) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "_scan() takes 3 arguments (%zd given)", n);
    }
    tsm_worker_t* w = tsm_self;
    if (w != NULL && tsm_worker_proc(w) != NULL) {
        tsm_charge(w, TURN);
        if (tsm_budget_left(w) <= 0 && !tsm_reds_slow(w)) {
            return NULL;
        }
    }
    bool start = args[1] == Py_None;
    long max = PyLong_AsLong(args[2]);
    if (max < 0 || (!start && (!PyBytes_CheckExact(args[1]) || PyBytes_GET_SIZE(args[1]) < 8))) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "a continuation does not look like this: %R", args[1]);
    }
    if (!start) {
        const char* bytes = PyBytes_AS_STRING(args[1]);
        if (tsm_key_from_bytes(&key, bytes + 8, (size_t)PyBytes_GET_SIZE(args[1]) - 8) < 0) {
            return NULL;
        }
        memcpy(&key.hash, bytes, 8);
    }
    rows = PyList_New(0);
    int rc = rows == NULL ? -1 : collect(t, &key, start, max < TURN ? (int)max : TURN, rows, &flags, &position);
    tsm_key_drop(&key);
    PyObject* result = NULL;
    if (rc == 0 && tsm_load_acquire(&t->a_dead) != 0) { /* acquire: pairs with bury_table. */
        (void)tsm_table_gone(t, "select()");
    } else if (rc == 0 && sift(rows, args[0], flags) == 0) {
        result = PyTuple_Pack(2, rows, position == NULL ? Py_None : position);
    }
    Py_XDECREF(rows);
    Py_XDECREF(position);
    return result;
}

/* _swap(old, new): puts new in the place of the row that is the same as old; they have one key. */
PyDoc_STRVAR(swap_doc, "_swap($self, old, new, /)\n--\n\nReplace the row old by new, if it is still there.");

static PyObject*
swap(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_key_t key;
    tsm_table_t* t = n == 2 ? tsm_table_for(self, true, "select_replace()") : NULL;
    if (t == NULL) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "_swap() takes 2 rows (%zd given)", n);
    }
    if (t->kind > TSM_ORDERED) {
        return PyErr_Format(PyExc_TypeError, "select_replace() works on set and ordered_set, where a key has one row");
    }
    if (tsm_key_make(&key, PyTuple_GET_ITEM(args[1], t->keypos), t->kind == TSM_ORDERED) < 0) {
        return NULL;
    }
    tsm_entry_t *replaced = NULL, *new = NULL;
    tsm_row_t* old = tsm_row_new(args[0], "select_replace()");
    if (old == NULL || (new = tsm_entry_with(t, &key, args[1], "select_replace()")) == NULL) {
        goto done;
    }
    tsm_place_t place;
    tsm_shard_t* s = tsm_shard_of(t, key.hash);
    tsm_shard_lock(t, s);
    bool alive = tsm_load_acquire(&t->a_dead) == 0; /* acquire: pairs with bury_table. */
    tsm_store_seek(t, s, &key, &place);
    bool same = alive && place.found != NULL && tsm_row_same(tsm_entry_row(place.found), old);
    if (same) {
        replaced = place.found;
        tsm_store_replace(s, &place, new);
        new = NULL;
    }
    tsm_shard_unlock(s);
    if (replaced != NULL) {
        tsm_retire(replaced, TSM_LIMBO_ENTRY, true);
    }
    if (!alive) {
        (void)tsm_table_gone(t, "select_replace()");
    }
done:
    tsm_key_drop(&key);
    if (old != NULL) {
        tsm_row_free(old);
    }
    if (new != NULL) {
        tsm_entry_free(new);
    }
    return PyErr_Occurred() ? NULL : PyLong_FromLong(replaced != NULL);
}

PyMethodDef tsm_table_scan_methods[] = {
    {"_swap", (PyCFunction)(void (*)(void))swap, METH_FASTCALL, swap_doc},
    {"_scan", (PyCFunction)(void (*)(void))scan, METH_FASTCALL, scan_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject*
fits_function(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    int rc = n == 2 ? fits(args[0], args[1]) : 0;
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject*
same_function(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    return PyBool_FromLong(n == 2 && tsm_same(args[0], args[1]));
}

static PyObject*
immutable_function(PyObject* Py_UNUSED(m), PyObject* value)
{
    PyObject* copy = tsm_copy(value, "persistent_term.put()");
    bool same = copy == value;
    Py_XDECREF(copy);
    return copy == NULL ? NULL : PyBool_FromLong(same);
}

static PyMethodDef scan_functions[] = {
    {"_table_immutable", immutable_function, METH_O, NULL},
    {"_table_fits", (PyCFunction)(void (*)(void))fits_function, METH_FASTCALL, NULL},
    {"_table_same", (PyCFunction)(void (*)(void))same_function, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

/* ---- the type ---- */

static void
handle_dealloc(PyObject* self)
{
    PyTypeObject* type = Py_TYPE(self);
    tsm_table_t* t = ((TsmTable*)self)->table;
    if (t != NULL) {
        tsm_table_release(t);
    }
    type->tp_free(self);
}

static PyObject*
handle_copy(PyObject* self, PyObject* Py_UNUSED(memo))
{
    return tsm_table_handle(((TsmTable*)self)->table);
}

static Py_hash_t
handle_hash(PyObject* self)
{
    return (Py_hash_t)(((TsmTable*)self)->table->id * 31 + 7);
}

static PyObject*
handle_compare(PyObject* a, PyObject* b, int op)
{
    if (!PyObject_TypeCheck(b, &TsmTable_Type) || (op != Py_EQ && op != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    return PyBool_FromLong((((TsmTable*)a)->table == ((TsmTable*)b)->table) == (op == Py_EQ));
}

static PyObject*
handle_repr(PyObject* self)
{
    static const char* kinds[] = {"set", "ordered_set", "bag", "duplicate_bag"};
    tsm_table_t* t = ((TsmTable*)self)->table;
    const char* dead = tsm_load_acquire(&t->a_dead) != 0 ? ", gone" : ""; /* acquire: pairs with bury_table. */
    if (t->name != NULL) {
        return PyUnicode_FromFormat("<Table %R %s%s>", t->name, kinds[t->kind], dead);
    }
    return PyUnicode_FromFormat("<Table #%llu %s%s>", (unsigned long long)t->id, kinds[t->kind], dead);
}

static PyObject*
handle_reduce(PyObject* self, PyObject* Py_UNUSED(none))
{
    return PyErr_Format(PyExc_TypeError, "%R lives in this node and cannot be pickled", self);
}

static PyMethodDef handle_methods[] = {
    {"__copy__", handle_copy, METH_NOARGS, NULL},
    {"__deepcopy__", handle_copy, METH_O, NULL},
    {"__reduce__", handle_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject TsmTable_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Table",
    .tp_basicsize = sizeof(TsmTable),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_doc = "A handle of a table; see transom.Table.",
    .tp_dealloc = handle_dealloc,
    .tp_repr = handle_repr,
    .tp_hash = handle_hash,
    .tp_richcompare = handle_compare,
};

static PyMethodDef all_methods[64];

/* A method checks at each call that self is of its class, and looks through the bases of all
 * that is no direct instance. So transom.Table has the methods of its base anew. */
int
tsm_table_add_methods(PyTypeObject* type)
{
    for (PyMethodDef* m = all_methods; m->ml_name != NULL; m++) {
        PyObject* method = PyDescr_NewMethod(type, m);
        if (method != NULL) {
            tsm_table_redirect(method, m->ml_name);
        }
        int rc = method == NULL ? -1 : PyObject_SetAttrString((PyObject*)type, m->ml_name, method);
        Py_XDECREF(method);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

int
tsm_table_init(PyObject* module)
{
    PyMethodDef* parts[] = {handle_methods, tsm_table_own_methods, tsm_table_read_methods, tsm_table_write_methods,
                            tsm_table_update_methods, tsm_table_scan_methods};
    size_t n = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (PyMethodDef* m = parts[i]; m->ml_name != NULL; m++) {
            all_methods[n++] = *m;
        }
    }
    TsmTable_Type.tp_methods = all_methods;
    tsm_key_init();
    tsm_row_module_init();
    if (tsm_epoch_init() < 0 || PyType_Ready(&TsmTable_Type) < 0 || tsm_table_own_init(module) < 0
        || PyModule_AddObjectRef(module, "_Table", (PyObject*)&TsmTable_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, scan_functions) < 0 ? -1 : PyModule_AddFunctions(module, tsm_table_functions);
}
