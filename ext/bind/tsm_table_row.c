/* tsm_table_row.c - rows: what a table keeps of a tuple, and the way in and out.
 *
 * What it is      Values are copied in by the rules of messages (tsm_copy). On the way out
 *                 numbers are made anew, immutable values go by reference, and everything
 *                 else is copied again, outside locks and read sections.
 * Invariants      TSM_ROW_MUTABLE if and only if some cell was a real copy on its way in;
 *                 such a copy is reachable from the row alone, so nobody changes it.
 */
#include "bind/tsm_table.h"

#define HEAVY_BYTES 256

size_t
tsm_row_bytes(const tsm_row_t* row)
{
    return sizeof(*row) + row->n * sizeof(tsm_cell_t);
}

tsm_row_t*
tsm_row_alloc(uint32_t n)
{
    tsm_row_t* row = tsm_alloc(sizeof(*row) + n * sizeof(tsm_cell_t));
    if (row == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    row->a_next = NULL;
    row->n = n;
    row->flags = 0;
    for (uint32_t i = 0; i < n; i++) {
        row->a_cells[i] = tsm_cell_of(0);
    }
    return row;
}

void
tsm_cell_drop(tsm_cell_t cell)
{
    if (!tsm_cell_is_int(cell)) {
        Py_DECREF((PyObject*)cell);
    }
}

void
tsm_row_free(tsm_row_t* row)
{
    for (uint32_t i = 0; i < row->n; i++) {
        tsm_cell_drop(row->a_cells[i]);
    }
    tsm_free(row, tsm_row_bytes(row));
}

static uint32_t
weight_of(PyObject* op)
{
    if (op == Py_None || PyBool_Check(op) || PyFloat_CheckExact(op) || tsm_pid_check(op)
        || tsm_ref_check(op) || PyType_Check(op)) {
        return 0;
    }
    Py_ssize_t size = PyUnicode_CheckExact(op) ? PyUnicode_GET_LENGTH(op) * PyUnicode_KIND(op)
                      : PyBytes_CheckExact(op) ? PyBytes_GET_SIZE(op) : HEAVY_BYTES;
    return size < HEAVY_BYTES ? 0 : TSM_ROW_HEAVY;
}

int
tsm_cell_make(PyObject* value, tsm_cell_t* cell, uint32_t* flags, const char* what)
{
    if (PyLong_CheckExact(value)) {
        if (PyUnstable_Long_IsCompact((PyLongObject*)value)) {
            *cell = tsm_cell_of(PyUnstable_Long_CompactValue((PyLongObject*)value));
            return 0;
        }
        int overflow;
        long long v = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0 && v <= TSM_CELL_MAX && v >= -TSM_CELL_MAX) {
            *cell = tsm_cell_of(v);
            return 0;
        }
    }
    PyObject* copy = tsm_copy(value, what);
    if (copy == NULL) {
        return -1;
    }
    *flags |= (copy != value ? TSM_ROW_MUTABLE : 0) | weight_of(copy);
    *cell = (tsm_cell_t)copy;
    return 0;
}

tsm_row_t*
tsm_row_new(PyObject* op, const char* what)
{
    Py_ssize_t n = PyTuple_GET_SIZE(op);
    tsm_row_t* row = n > INT32_MAX ? NULL : tsm_row_alloc((uint32_t)n);
    for (Py_ssize_t i = 0; row != NULL && i < n; i++) {
        if (tsm_cell_make(PyTuple_GET_ITEM(op, i), &row->a_cells[i], &row->flags, what) < 0) {
            tsm_row_free(row);
            return NULL;
        }
    }
    return row;
}

tsm_row_t*
tsm_row_clone(const tsm_row_t* row)
{
    tsm_row_t* copy = tsm_row_alloc(row->n);
    if (copy == NULL) {
        return NULL;
    }
    copy->flags = row->flags;
    for (uint32_t i = 0; i < row->n; i++) {
        tsm_cell_t cell = tsm_load_relaxed(&row->a_cells[i]); /* relaxed: one word, whole. */
        copy->a_cells[i] = cell;
        if (!tsm_cell_is_int(cell)) {
            Py_INCREF((PyObject*)cell);
        }
    }
    return copy;
}

PyObject*
tsm_cell_out(tsm_cell_t cell)
{
    if (tsm_cell_is_int(cell)) {
        return PyLong_FromLongLong(tsm_cell_int(cell));
    }
    PyObject* op = (PyObject*)cell;
    if (PyFloat_CheckExact(op)) { /* a new one: its count is not shared by the readers */
        return PyFloat_FromDouble(PyFloat_AS_DOUBLE(op));
    }
    return Py_NewRef(op);
}

PyObject*
tsm_row_out(const tsm_row_t* row)
{
    PyObject* tuple = PyTuple_New(row->n);
    for (uint32_t i = 0; tuple != NULL && i < row->n; i++) {
        /* relaxed: update_counter changes single words in place. */
        PyObject* item = tsm_cell_out(tsm_load_relaxed(&row->a_cells[i]));
        if (item == NULL) {
            Py_CLEAR(tuple); /* holds fresh numbers and references others hold, too */
        } else {
            PyTuple_SET_ITEM(tuple, i, item);
        }
    }
    return tuple;
}

int
tsm_row_finish(PyObject* tuple)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject* item = PyTuple_GET_ITEM(tuple, i);
        if (PyLong_CheckExact(item) || PyFloat_CheckExact(item) || PyUnicode_CheckExact(item)) {
            continue;
        }
        PyObject* copy = tsm_copy(item, "lookup()");
        if (copy == NULL) {
            return -1;
        }
        PyTuple_SET_ITEM(tuple, i, copy); /* the tuple is new, nobody else has it */
        Py_DECREF(item);
    }
    return 0;
}

static bool
cell_same(tsm_cell_t a, tsm_cell_t b)
{
    if (a == b) {
        return true;
    }
    return !tsm_cell_is_int(a) && !tsm_cell_is_int(b) && tsm_same((PyObject*)a, (PyObject*)b);
}

bool
tsm_row_same(const tsm_row_t* a, const tsm_row_t* b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++) {
        same = cell_same(a->a_cells[i], b->a_cells[i]);
    }
    return same;
}
