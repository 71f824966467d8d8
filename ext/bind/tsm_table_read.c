/* tsm_table_read.c - lookups, and the order of keys.
 *
 * Protocol        1. the key becomes bytes; 2. read section: find, copy out numbers and
 *                 references; 3. outside: copy what is mutable. While a batch is under way
 *                 (a_batch odd), or buckets split, step 2 happens under the shard's lock.
 */
#include "bind/tsm_table.h"

PyObject*
tsm_table_gone(tsm_table_t* t, const char* what)
{
    if (t->name != NULL) {
        return PyErr_Format(tsm_tables.no_table, "%s: the table %R is gone: its owner ended or it was dropped", what, t->name);
    }
    return PyErr_Format(tsm_tables.no_table, "%s: the table is gone: its owner ended or it was dropped", what);
}

static bool
is_dead(tsm_table_t* t)
{
    return tsm_load_acquire(&t->a_dead) != 0; /* acquire: pairs with bury_table. */
}

tsm_table_t*
tsm_table_check(PyObject* self, bool write, const char* what)
{
    tsm_table_t* t = ((TsmTable*)self)->table;
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* me = w == NULL ? NULL : tsm_worker_proc(w);
    if (me != NULL) {
        if (TSM_UNLIKELY((me->flags & TSM_PF_DEAD) != 0)) {
            (void)tsm_raise_killed();
            return NULL;
        }
        tsm_charge(w, 1);
    }
    if (TSM_UNLIKELY(is_dead(t))) {
        (void)tsm_table_gone(t, what);
        return NULL;
    }
    if (t->access == TSM_PRIVATE || (write && t->access != TSM_PUBLIC)) {
        tsm_pid_t owner = tsm_load_relaxed(&t->a_owner); /* relaxed: only the owner gives it up. */
        if (me == NULL || tsm_proc_pid(me) != owner) {
            PyErr_Format(tsm_tables.denied, "%s: the table is %s: only its owner may %s it", what,
                         t->access == TSM_PRIVATE ? "private" : "protected", write ? "write to" : "read");
            return NULL;
        }
    }
    return tsm_reader_ready() < 0 ? NULL : t;
}

/* How a row leaves: as a tuple, as one of its cells, or not at all. */
typedef struct reading {
    PyObject* key;  /* as the caller has it, borrowed */
    PyObject* rows; /* list, made when there is a row */
    int64_t cell;   /* >= 0: only this one of the first row; -1: rows; -2: is there one */
    PyObject* value;
    uint32_t flags;
    bool found, failed, short_row;
    bool busy; /* a writer did not get on: again, under the lock */
} reading_t;

/* In a section or under the lock. */
static inline __attribute__((always_inline)) void
read_entry(tsm_table_t* t, tsm_entry_t* e, reading_t* r)
{
    r->found = true;
    if (r->cell == -2) {
        return;
    }
    tsm_row_t* row = tsm_entry_row(e);
    if (r->cell >= 0) {
        r->short_row = r->cell >= row->n;
        r->flags = row->flags;
        /* relaxed: one word. */
        r->value = r->short_row ? NULL : tsm_cell_out(tsm_load_relaxed(&row->a_cells[r->cell]));
        return;
    }
    r->rows = PyList_New(1);
    if (r->rows == NULL) {
        r->failed = true;
        return;
    }
    PyObject* tuple = tsm_row_out(row, t->keypos, r->key);
    r->failed = tuple == NULL;
    r->busy = tuple == NULL && PyErr_Occurred() == NULL;
    r->flags = row->flags;
    PyList_SET_ITEM(r->rows, 0, tuple == NULL ? Py_NewRef(Py_None) : tuple);
    while (!r->failed && (row = tsm_row_next(row)) != NULL) {
        tuple = tsm_row_out(row, t->keypos, r->key);
        r->flags |= row->flags;
        r->failed = tuple == NULL || PyList_Append(r->rows, tuple) < 0;
        Py_XDECREF(tuple);
    }
}

static void
read_locked(tsm_table_t* t, const tsm_key_t* key, reading_t* r)
{
    tsm_shard_t* s = tsm_shard_of(t, key->hash);
    tsm_shard_lock(t, s);
    tsm_entry_t* e = tsm_store_get(t, s, key);
    if (e != NULL) {
        read_entry(t, e, r);
    }
    tsm_shard_unlock(s);
}

static inline __attribute__((always_inline)) void
read_key(tsm_table_t* t, const tsm_key_t* key, reading_t* r)
{
    bool sure = false;
    tsm_read_begin();
    /* relaxed: behind the fence of the section; pairs with tsm_batch_begin. */
    if (TSM_LIKELY((tsm_load_relaxed(&t->a_batch) & 1) == 0)) {
        tsm_entry_t* e = tsm_store_find(t, key, &sure);
        if (e != NULL) {
            read_entry(t, e, r);
        }
    }
    tsm_read_end();
    if (TSM_UNLIKELY(!sure || r->busy)) {
        Py_CLEAR(r->rows);
        r->found = r->failed = r->busy = false;
        read_locked(t, key, r);
    }
}

static int
finish_rows(reading_t* r)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(r->rows); i++) {
        if (tsm_row_finish(PyList_GET_ITEM(r->rows, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* -1 with an exception. Inlined, like what it calls, for each kind of reading. */
static inline __attribute__((always_inline)) int
read_any(PyObject* self, reading_t* r, const char* what)
{
    tsm_key_t key;
    tsm_table_t* t = tsm_table_for(self, false, what);
    if (t == NULL || tsm_key_make(&key, r->key, t->kind == TSM_ORDERED) < 0) {
        return -1;
    }
    read_key(t, &key, r);
    tsm_key_drop(&key);
    if (TSM_UNLIKELY(!r->found && is_dead(t))) {
        (void)tsm_table_gone(t, what);
        return -1;
    }
    if (TSM_UNLIKELY(r->failed || ((r->flags & TSM_ROW_MUTABLE) != 0 && r->rows != NULL && finish_rows(r) < 0))) {
        Py_CLEAR(r->rows);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(lookup_doc, "lookup($self, key, /)\n--\n\n"
"The rows with this key, as a list of tuples: none or one in a set, any number in a bag, in\n"
"the order they were inserted.\n\nRuns in the caller and takes no lock. Values are copied out.\n\n"
"Raises:\n    NoTable: The table is gone.\n    TableAccess: It is private, and the caller not its owner.\n"
"    TypeError: key cannot be a key.\n\nSource: ets:lookup/2.");

PyObject*
tsm_table_lookup(PyObject* self, PyObject* key)
{
    reading_t r = {.key = key, .cell = -1};
    if (read_any(self, &r, "lookup()") < 0) {
        return NULL;
    }
    return r.rows != NULL ? r.rows : PyList_New(0);
}

PyDoc_STRVAR(member_doc, "member($self, key, /)\n--\n\nWhether there is a row with this key.\n\nSource: ets:member/2.");

PyObject*
tsm_table_member(PyObject* self, PyObject* key)
{
    reading_t r = {.key = key, .cell = -2};
    return read_any(self, &r, "member()") < 0 ? NULL : PyBool_FromLong(r.found);
}

PyDoc_STRVAR(lookup_element_doc, "lookup_element($self, key, pos, default=..., /)\n--\n\n"
"The element at pos, counted from 0, of the row with this key (in a bag: of the first).\n\n"
"Raises:\n    KeyError: No such key, and no default given.\n    IndexError: The row is shorter.\n\n"
"Source: ets:lookup_element/3,4.");

PyObject*
tsm_table_lookup_element(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    if (n < 2 || n > 3) {
        return PyErr_Format(PyExc_TypeError, "lookup_element() takes a key, a position and a default (%zd given)", n);
    }
    Py_ssize_t pos = PyNumber_AsSsize_t(args[1], PyExc_IndexError);
    if (pos == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (pos < 0) {
        return PyErr_Format(PyExc_IndexError, "lookup_element(): a position counts from 0, it cannot be %zd", pos);
    }
    reading_t r = {.key = args[0], .cell = pos};
    if (read_any(self, &r, "lookup_element()") < 0) {
        return NULL;
    }
    if (!r.found) {
        if (n == 3) {
            return Py_NewRef(args[2]);
        }
        PyErr_SetObject(PyExc_KeyError, args[0]);
        return NULL;
    }
    if (r.short_row) {
        return PyErr_Format(PyExc_IndexError, "lookup_element(): the row has no position %zd", pos);
    }
    if (r.value != NULL && (r.flags & TSM_ROW_MUTABLE) != 0) {
        Py_SETREF(r.value, tsm_copy(r.value, "lookup_element()"));
    }
    return r.value;
}

/* ---- the order of keys ---- */

static PyObject*
key_of_entry(tsm_table_t* t, tsm_entry_t* e, bool* mutable)
{
    tsm_row_t* row = tsm_entry_row(e);
    *mutable = (row->flags & TSM_ROW_MUTABLE) != 0;
    return tsm_cell_out(row->a_cells[t->keypos]);
}

/* The key behind (before) key, which is NULL for the ends. */
static PyObject*
step(tsm_table_t* t, const tsm_key_t* key, bool back)
{
    PyObject* found = NULL;
    bool mutable = false;
    uint32_t i = key == NULL || t->kind == TSM_ORDERED ? 0 : (uint32_t)(key->hash >> 58);
    for (; found == NULL && !PyErr_Occurred() && i < t->shard_count; i++) {
        tsm_shard_t* s = &t->shards[i];
        tsm_shard_lock(t, s);
        tsm_entry_t* e = back ? tsm_store_before(t, key) : tsm_store_after(t, s, key);
        if (e != NULL) {
            found = key_of_entry(t, e, &mutable);
        }
        tsm_shard_unlock(s);
        key = back ? key : NULL; /* in the next shard, from its beginning */
    }
    if (found != NULL && mutable) {
        Py_SETREF(found, tsm_copy(found, "next()"));
    }
    return found != NULL || PyErr_Occurred() ? found : Py_NewRef(Py_Ellipsis);
}

static PyObject*
end_of_table(PyObject* self, const char* what, bool back)
{
    tsm_table_t* t = tsm_table_for(self, false, what);
    return t == NULL ? NULL : step(t, NULL, back && t->kind == TSM_ORDERED);
}

static PyObject*
neighbour(PyObject* self, PyObject* key_op, const char* what, bool back)
{
    tsm_key_t key;
    tsm_table_t* t = tsm_table_for(self, false, what);
    if (t == NULL || tsm_key_make(&key, key_op, t->kind == TSM_ORDERED) < 0) {
        return NULL;
    }
    PyObject* found = step(t, &key, back && t->kind == TSM_ORDERED);
    tsm_key_drop(&key);
    return found;
}

PyDoc_STRVAR(first_doc, "first($self, /)\n--\n\n"
"The first key of the table, or ``...`` (Ellipsis) when it is empty.\n\n"
"An ordered_set is walked in the order of its keys, the other kinds in an order of their own\n"
"that does not change as the table grows. Each key that is there during the whole walk comes\n"
"exactly once.\n\nSource: ets:first/1; '$end_of_table' is ``...`` here.");
PyDoc_STRVAR(last_doc, "last($self, /)\n--\n\n"
"The last key of an ordered_set, or ``...``; the same as first() for the other kinds.\n\nSource: ets:last/1.");
PyDoc_STRVAR(next_doc, "next($self, key, /)\n--\n\n"
"The key behind key, or ``...`` at the end. key itself need not be in the table (any more).\n\nSource: ets:next/2.");
PyDoc_STRVAR(prev_doc, "prev($self, key, /)\n--\n\n"
"The key before key in an ordered_set, or ``...``; the same as next() for the other kinds.\n\nSource: ets:prev/2.");

static PyObject* first(PyObject* self, PyObject* Py_UNUSED(x)) { return end_of_table(self, "first()", false); }
static PyObject* last(PyObject* self, PyObject* Py_UNUSED(x)) { return end_of_table(self, "last()", true); }
static PyObject* next(PyObject* self, PyObject* key) { return neighbour(self, key, "next()", false); }
static PyObject* prev(PyObject* self, PyObject* key) { return neighbour(self, key, "prev()", true); }

PyMethodDef tsm_table_read_methods[] = {
    {"lookup", tsm_table_lookup, METH_O, lookup_doc},
    {"member", tsm_table_member, METH_O, member_doc},
    {"lookup_element", (PyCFunction)(void (*)(void))tsm_table_lookup_element, METH_FASTCALL, lookup_element_doc},
    {"first", first, METH_NOARGS, first_doc},
    {"last", last, METH_NOARGS, last_doc},
    {"next", next, METH_O, next_doc},
    {"prev", prev, METH_O, prev_doc},
    {NULL, NULL, 0, NULL},
};
