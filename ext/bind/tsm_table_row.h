/* tsm_table_row.h - rows: what a table keeps of a tuple (tsm_table_row.c).
 */
#ifndef TSM_TABLE_ROW_H
#define TSM_TABLE_ROW_H

#include "bind/tsm_bind.h"

/* A cell is a reference, or an int of at most 62 bits shifted left by one, plus one. */
typedef intptr_t tsm_cell_t;

enum { TSM_ROW_MUTABLE = 1, TSM_ROW_HEAVY = 2, TSM_ROW_LINKED = 4, TSM_ROW_LENGTH = 1 << 24 };

typedef struct tsm_row {
    uint32_t n : 24; /* below TSM_ROW_LENGTH */
    uint32_t flags : 8;
    uint32_t a_seq;       /* odd while several cells are overwritten in place, under the lock */
    tsm_cell_t a_cells[]; /* ints are overwritten in place, under the lock. LINKED (in bags): the
                           * next row of the key stands behind them */
} tsm_row_t;

static inline tsm_row_t**
tsm_row_link(tsm_row_t* row)
{
    return (tsm_row_t**)&row->a_cells[row->n];
}

/* The next row of the key, in a bag. */
static inline tsm_row_t*
tsm_row_next(tsm_row_t* row)
{
    /* acquire: pairs with append_row and unhook_same: a whole row. */
    return (row->flags & TSM_ROW_LINKED) == 0 ? NULL : tsm_load_acquire(tsm_row_link(row));
}

#define TSM_CELL_MAX (INTPTR_MAX >> 1)
static inline bool tsm_cell_is_int(tsm_cell_t c) { return (c & 1) != 0; }
static inline intptr_t tsm_cell_int(tsm_cell_t c) { return c >> 1; }
static inline tsm_cell_t
tsm_cell_of(intptr_t v)
{
    return (tsm_cell_t)((uintptr_t)v << 1 | 1);
}

/* Adds to the int that stands there; under the lock. False: no int does, or it would not be one. */
static inline bool
tsm_cell_add(tsm_cell_t* cell, int32_t by, intptr_t* sum)
{
    tsm_cell_t now = *cell, then; /* 2v + 1, and 2 * by more */
    if (TSM_UNLIKELY(!tsm_cell_is_int(now))) {
        return false;
    }
    if (TSM_UNLIKELY(__builtin_add_overflow(now, (intptr_t)by * 2, &then))) {
        return false;
    }
    if (TSM_UNLIKELY(then < tsm_cell_of(-TSM_CELL_MAX))) {
        return false;
    }
    tsm_store_relaxed(cell, then); /* relaxed: one word; readers take the old one or the new. */
    *sum = tsm_cell_int(then);
    return true;
}

enum { TSM_SMALL_MIN = -5, TSM_SMALL_COUNT = 262 };
extern PyObject* tsm_small_ints[TSM_SMALL_COUNT]; /* the interpreter's own, immortal; set once */
void tsm_row_module_init(void);

/* The int v, a new reference; NULL: no memory, with an exception. */
static inline PyObject*
tsm_int_out(intptr_t v)
{
    size_t i = (size_t)v - (size_t)TSM_SMALL_MIN;
    return TSM_LIKELY(i < TSM_SMALL_COUNT) ? tsm_small_ints[i] : PyLong_FromLongLong(v);
}

/* -1 with an exception: no row can be that long. */
int tsm_row_fits(Py_ssize_t n, const char* what);
void tsm_row_init(tsm_row_t* row, uint32_t n, uint32_t flags); /* all cells 0 */
/* Copies the values in. op: a tuple of its length. -1: some may be in. */
int tsm_row_fill(tsm_row_t* row, PyObject* op, const char* what);
tsm_row_t* tsm_row_new(PyObject* op, const char* what); /* a LINKED one, on its own */
void tsm_row_free(tsm_row_t* row);                      /* drops references, like the next */
void tsm_row_clear(tsm_row_t* row);
/* Puts ints in the place of ints, in the row of their number; the key's cell, which is the same
 * or 0 for one that is no int, stays. Under the lock. False: other things stand there. */
bool tsm_row_overwrite(tsm_row_t* row, const tsm_cell_t* cells, uint32_t n, uint32_t keypos);
int tsm_cell_make(PyObject* value, tsm_cell_t* cell, uint32_t* flags, const char* what);
void tsm_cell_drop(tsm_cell_t cell);
PyObject* tsm_cell_out(tsm_cell_t cell); /* new reference, not yet copied */
/* The row as a tuple; under the lock or in a section. If it is TSM_ROW_MUTABLE,
 * tsm_row_finish must follow outside. NULL without an exception: only in a section, when a
 * writer does not get on; look under the lock. key: an object the caller holds, which the
 * row has as its key at keypos; it may stand in for that; or NULL. */
PyObject* tsm_row_out(tsm_row_t* row, uint32_t keypos, PyObject* key);
int tsm_row_finish(PyObject* tuple); /* -1: a value could not be copied out */
bool tsm_row_same(const tsm_row_t* a, const tsm_row_t* b);

#endif
