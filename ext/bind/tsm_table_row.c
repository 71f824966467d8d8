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
#define TRIES 64

PyObject* tsm_small_ints[TSM_SMALL_COUNT];

void
tsm_row_module_init(void)
{
    for (int i = 0; i < TSM_SMALL_COUNT; i++) {
        tsm_small_ints[i] = PyLong_FromLong(TSM_SMALL_MIN + i);
    }
}

size_t
tsm_row_bytes(const tsm_row_t* row)
{
    return sizeof(*row) + (row->n + ((row->flags & TSM_ROW_LINKED) != 0)) * sizeof(tsm_cell_t);
}

int
tsm_row_fits(Py_ssize_t n, const char* what)
{
    if (TSM_LIKELY(n < TSM_ROW_LENGTH)) {
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "%s: a row has fewer than 2**24 elements, not %zd", what, n);
    return -1;
}

void
tsm_row_init(tsm_row_t* row, uint32_t n, uint32_t flags)
{
    row->n = n;
    row->flags = (uint8_t)flags;
    row->a_seq = 0;
    for (uint32_t i = 0; i < n; i++) {
        row->a_cells[i] = tsm_cell_of(0);
    }
    if ((flags & TSM_ROW_LINKED) != 0) {
        *tsm_row_link(row) = NULL;
    }
}

void
tsm_cell_drop(tsm_cell_t cell)
{
    if (!tsm_cell_is_int(cell)) {
        Py_DECREF((PyObject*)cell);
    }
}

void
tsm_row_clear(tsm_row_t* row)
{
    for (uint32_t i = 0; i < row->n; i++) {
        tsm_cell_drop(row->a_cells[i]);
    }
}

void
tsm_row_free(tsm_row_t* row)
{
    tsm_row_clear(row);
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

int
tsm_row_fill(tsm_row_t* row, PyObject* op, const char* what)
{
    uint32_t flags = row->flags;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < row->n; i++) {
        rc = tsm_cell_make(PyTuple_GET_ITEM(op, i), &row->a_cells[i], &flags, what);
    }
    row->flags = (uint8_t)flags;
    return rc;
}

tsm_row_t*
tsm_row_new(PyObject* op, const char* what)
{
    Py_ssize_t n = PyTuple_GET_SIZE(op);
    if (tsm_row_fits(n, what) < 0) {
        return NULL;
    }
    tsm_row_t* row = tsm_alloc(sizeof(*row) + ((size_t)n + 1) * sizeof(tsm_cell_t));
    if (row == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    tsm_row_init(row, (uint32_t)n, TSM_ROW_LINKED);
    if (tsm_row_fill(row, op, what) < 0) {
        tsm_row_free(row);
        return NULL;
    }
    return row;
}

/* A writer that overwrites more than one cell: readers that saw some begin again. */
bool
tsm_row_overwrite(tsm_row_t* row, const tsm_cell_t* cells, uint32_t n, uint32_t keypos)
{
    bool alike = row->n == n;
    for (uint32_t i = 0; alike && i < n; i++) {
        alike = tsm_cell_is_int(row->a_cells[i]) == tsm_cell_is_int(cells[i]);
    }
    if (!alike) {
        return false;
    }
    if (n == 2) {
        /* relaxed: one word beside the key; readers take the old one or the new. */
        tsm_store_relaxed(&row->a_cells[1 - keypos], cells[1 - keypos]);
        return true;
    }
    uint32_t seq = row->a_seq;
    tsm_store_relaxed(&row->a_seq, seq + 1); /* relaxed: the release of each cell orders it. */
    for (uint32_t i = 0; i < n; i++) {
        if (i != keypos) {
            tsm_store_release(&row->a_cells[i], cells[i]); /* release: who sees it sees a_seq odd; cells_out. */
        }
    }
    tsm_store_release(&row->a_seq, seq + 2); /* release: even after all cells; pairs with tsm_row_out. */
    return true;
}

PyObject*
tsm_cell_out(tsm_cell_t cell)
{
    if (tsm_cell_is_int(cell)) {
        return tsm_int_out(tsm_cell_int(cell));
    }
    PyObject* op = (PyObject*)cell;
    if (PyFloat_CheckExact(op)) { /* a new one: its count is not shared by the readers */
        return PyFloat_FromDouble(PyFloat_AS_DOUBLE(op));
    }
    return Py_NewRef(op);
}

/* Is what the caller asked with as good as the cell of the key? Then no int has to be made,
 * and the count of a text that readers on other cores use, too, is left alone. In an
 * ordered_set True and 1.0 find 1: type and type must be the same. */
static inline bool
stands_in(PyObject* key, tsm_cell_t cell)
{
    return tsm_cell_is_int(cell) ? PyLong_CheckExact(key) : PyUnicode_CheckExact(key) && PyUnicode_CheckExact((PyObject*)cell);
}

static PyObject*
cells_out(const tsm_row_t* row, uint32_t keypos, PyObject* key)
{
    PyObject* tuple = PyTuple_New(row->n);
    for (uint32_t i = 0; tuple != NULL && i < row->n; i++) {
        /* acquire: pairs with tsm_row_overwrite: a new cell shows in a_seq. */
        tsm_cell_t cell = tsm_load_acquire(&row->a_cells[i]);
        bool known = i == keypos && key != NULL && stands_in(key, cell);
        PyObject* item = known ? Py_NewRef(key) : tsm_cell_out(cell);
        if (item == NULL) {
            Py_CLEAR(tuple); /* holds fresh numbers and references others hold, too */
        } else {
            PyTuple_SET_ITEM(tuple, i, item);
        }
    }
    return tuple;
}

PyObject*
tsm_row_out(tsm_row_t* row, uint32_t keypos, PyObject* key)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t seq = tsm_load_acquire(&row->a_seq); /* acquire: pairs with tsm_row_overwrite. */
        if (TSM_UNLIKELY((seq & 1) != 0)) {
            tsm_pause();
            continue;
        }
        PyObject* tuple = cells_out(row, keypos, key);
        /* relaxed: the acquire of each cell orders it. */
        if (TSM_LIKELY(tuple == NULL || tsm_load_relaxed(&row->a_seq) == seq)) {
            return tuple;
        }
        Py_DECREF(tuple); /* fresh numbers, and references the row has, too */
    }
    return NULL;
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
