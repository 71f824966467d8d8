/* tsm_table_write.c - inserting, deleting, taking; changes of many rows at once.
 *
 * Protocol        Everything that can fail or run user code (keys, copies, memory) is done
 *                 before a lock is taken; what is replaced is retired after it is let go.
 *                 Ints that replace ints are written over them: nothing to allocate, and
 *                 nothing to retire.
 *                 A batch: all locks; a_batch odd; a grace period, after which no reader is
 *                 left that has not seen it; the change; a_batch even. In between readers
 *                 wait at the locks, so nobody sees half of it.
 */
#include "bind/tsm_table.h"

#include <stdlib.h>

bool
tsm_batch_begin(tsm_table_t* t)
{
    tsm_shards_lock(t);
    if (tsm_load_acquire(&t->a_dead) != 0) { /* acquire: pairs with bury_table. */
        tsm_shards_unlock(t);
        return false;
    }
    (void)tsm_add_sc(&t->a_batch, 1); /* sc: before the grace period; pairs with read_key. */
    tsm_grace();
    return true;
}

void
tsm_batch_end(tsm_table_t* t)
{
    (void)tsm_add_sc(&t->a_batch, 1); /* sc: a reader that sees it even sees the rows. */
    tsm_shards_unlock(t);
}

/* One row on its way in. */
typedef struct pending {
    tsm_key_t key;
    tsm_row_t* row;     /* bags: NULL once the table has it */
    tsm_entry_t* entry; /* with the row inside, in bags made when the key is new; NULL once the table has it */
    tsm_entry_t* old;   /* what it replaced */
    void* buckets;      /* what it outgrew */
} pending_t;

static int
check_row(tsm_table_t* t, PyObject* op, const char* what)
{
    if (!PyTuple_Check(op)) {
        PyErr_Format(PyExc_TypeError, "%s: a row is a tuple, not %.200s", what, Py_TYPE(op)->tp_name);
        return -1;
    }
    if (PyTuple_GET_SIZE(op) <= (Py_ssize_t)t->keypos) {
        PyErr_Format(PyExc_ValueError, "%s: the row %R has no position %u, where the key stands", what, op, t->keypos);
        return -1;
    }
    return tsm_row_fits(PyTuple_GET_SIZE(op), what);
}

static int
pending_make(tsm_table_t* t, pending_t* in, PyObject* op, const char* what)
{
    in->row = NULL; /* field by field: most of it is the key's buffer */
    in->entry = NULL;
    in->old = NULL;
    in->buckets = NULL;
    in->key.bytes = in->key.buffer;
    if (check_row(t, op, what) < 0 || tsm_key_make(&in->key, PyTuple_GET_ITEM(op, t->keypos), t->kind == TSM_ORDERED) < 0) {
        return -1;
    }
    if (t->kind > TSM_ORDERED) {
        in->row = tsm_row_new(op, what);
        return in->row == NULL ? -1 : 0;
    }
    in->entry = tsm_entry_with(t, &in->key, op, what);
    return in->entry == NULL ? -1 : 0;
}

/* Frees what the table did not take, retires what it gave up. No lock held. */
static void
pending_done(pending_t* in)
{
    tsm_key_drop(&in->key);
    if (in->entry != NULL) {
        tsm_entry_free(in->entry);
    }
    if (in->row != NULL) {
        tsm_row_free(in->row);
    }
    if (in->buckets != NULL) {
        tsm_retire(in->buckets, TSM_LIMBO_ARRAY, true);
    }
    if (in->old != NULL) {
        tsm_retire(in->old, TSM_LIMBO_ENTRY, (tsm_entry_row(in->old)->flags & TSM_ROW_HEAVY) != 0);
    }
}

static void
append_row(tsm_table_t* t, tsm_shard_t* s, tsm_entry_t* e, pending_t* in)
{
    tsm_bag_rows_t* rows = tsm_entry_bag(e);
    for (tsm_row_t* row = rows->a_first; t->kind == TSM_BAG && row != NULL; row = tsm_row_next(row)) {
        if (tsm_row_same(row, in->row)) {
            return; /* identical rows are one */
        }
    }
    tsm_shard_count(s, 1, 0, (int64_t)tsm_row_bytes(in->row));
    tsm_store_release(tsm_row_link(rows->last), in->row); /* release: pairs with tsm_row_next. */
    rows->last = in->row;
    in->row = NULL;
}

/* Under the lock. 0; 1: the key is there and only_new; -1: no memory, with an exception. */
static int
put_row(tsm_table_t* t, tsm_shard_t* s, pending_t* in, bool only_new)
{
    tsm_place_t place;
    if (tsm_store_reserve(t, s, &in->buckets) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    tsm_store_seek(t, s, &in->key, &place);
    if (place.found != NULL && only_new) {
        return 1;
    }
    if (place.found == NULL) {
        tsm_entry_t* e = in->entry != NULL ? in->entry : tsm_entry_new(t, &in->key, 0);
        if (e == NULL) {
            return -1;
        }
        if (e->bag) {
            *tsm_entry_bag(e) = (tsm_bag_rows_t){in->row, in->row};
        }
        tsm_store_link(s, &place, e);
        in->entry = NULL;
        in->row = NULL;
    } else if (t->kind <= TSM_ORDERED) {
        tsm_store_replace(s, &place, in->entry);
        in->old = place.found;
        in->entry = NULL;
    } else {
        append_row(t, s, place.found, in);
    }
    return 0;
}

/* As put_row. -2: the table is gone. */
static int
insert_pending(tsm_table_t* t, pending_t* in, bool only_new)
{
    tsm_shard_t* s = tsm_shard_of(t, in->key.hash);
    tsm_shard_lock(t, s);
    /* acquire: pairs with bury_table. */
    int rc = tsm_load_acquire(&t->a_dead) != 0 ? -2 : put_row(t, s, in, only_new);
    tsm_shard_unlock(s);
    return rc;
}

enum { QUICK_CELLS = 8 };

/* The common change, ints of a row that is there: written over what is there. 0; 1: not that
 * simple, take the long way; -1: an exception; -2: the table is gone. op: checked. */
static int
overwrite(tsm_table_t* t, PyObject* op)
{
    tsm_cell_t cells[QUICK_CELLS];
    tsm_key_t key;
    uint32_t n = (uint32_t)PyTuple_GET_SIZE(op);
    if (n > QUICK_CELLS || t->kind > TSM_ORDERED) {
        return 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        PyObject* item = PyTuple_GET_ITEM(op, i);
        if (PyLong_CheckExact(item) && PyUnstable_Long_IsCompact((PyLongObject*)item)) {
            cells[i] = tsm_cell_of(PyUnstable_Long_CompactValue((PyLongObject*)item));
        } else if (i == t->keypos && PyUnicode_CheckExact(item)) {
            cells[i] = 0; /* the one that is there is the same text */
        } else {
            return 1;
        }
    }
    if (tsm_key_make(&key, PyTuple_GET_ITEM(op, t->keypos), t->kind == TSM_ORDERED) < 0) {
        return -1;
    }
    tsm_shard_t* s = tsm_shard_of(t, key.hash);
    tsm_shard_lock(t, s);
    int rc = tsm_load_acquire(&t->a_dead) != 0 ? -2 : 1; /* acquire: pairs with bury_table. */
    tsm_entry_t* e = tsm_store_get(t, s, &key);
    if (rc == 1 && e != NULL && tsm_row_overwrite(tsm_entry_row(e), cells, n, t->keypos)) {
        rc = 0;
    }
    tsm_shard_unlock(s);
    tsm_key_drop(&key);
    return rc;
}

static int
insert_one(tsm_table_t* t, PyObject* op, bool only_new, const char* what)
{
    pending_t in;
    if (check_row(t, op, what) < 0) {
        return -1;
    }
    int rc = only_new ? 1 : overwrite(t, op);
    if (rc != 1) {
        return rc;
    }
    rc = pending_make(t, &in, op, what);
    if (rc == 0) {
        rc = insert_pending(t, &in, only_new);
    }
    pending_done(&in);
    return rc;
}

/* All keys absent, and memory for everything: under all locks. */
static int
may_put_all(tsm_table_t* t, pending_t* in, Py_ssize_t n, bool only_new)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        tsm_place_t place;
        tsm_shard_t* s = tsm_shard_of(t, in[i].key.hash);
        if (tsm_store_reserve(t, s, &in[i].buckets) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        tsm_store_seek(t, s, &in[i].key, &place);
        if (only_new && place.found != NULL) {
            return 1;
        }
    }
    return 0;
}

static int
insert_many(tsm_table_t* t, PyObject* list, bool only_new, const char* what)
{
    Py_ssize_t n = PyTuple_GET_SIZE(list), made = 0;
    pending_t* in = n == 0 ? NULL : calloc((size_t)n, sizeof(*in));
    int rc = in == NULL && n > 0 ? (PyErr_NoMemory(), -1) : 0;
    for (; rc == 0 && made < n; made++) {
        rc = pending_make(t, &in[made], PyTuple_GET_ITEM(list, made), what);
        if (rc == 0 && in[made].entry == NULL) {
            in[made].entry = tsm_entry_new(t, &in[made].key, 0);
            rc = in[made].entry == NULL ? -1 : 0;
        }
    }
    if (rc == 0 && n > 0) {
        if (!tsm_batch_begin(t)) {
            rc = -2;
        } else {
            rc = may_put_all(t, in, n, only_new);
            for (Py_ssize_t i = 0; rc == 0 && i < n; i++) {
                void* kept = in[i].buckets;
                (void)put_row(t, tsm_shard_of(t, in[i].key.hash), &in[i], false);
                if (kept != NULL) { /* a second split retires its array with another's slot */
                    void* later = in[i].buckets;
                    in[i].buckets = kept;
                    free(later); /* made in this batch, so no reader knows it */
                }
            }
            tsm_batch_end(t);
        }
    }
    for (Py_ssize_t i = 0; i < made; i++) {
        pending_done(&in[i]);
    }
    free(in);
    return rc;
}

static int
insert_any(PyObject* self, PyObject* op, bool only_new, const char* what)
{
    tsm_table_t* t = tsm_table_for(self, true, what);
    if (t == NULL) {
        return -1;
    }
    int rc;
    if (PyList_CheckExact(op)) {
        PyObject* rows = PyList_AsTuple(op);
        rc = rows == NULL ? -1 : insert_many(t, rows, only_new, what);
        Py_XDECREF(rows);
    } else {
        rc = insert_one(t, op, only_new, what);
    }
    if (rc == -2) {
        (void)tsm_table_gone(t, what);
    }
    return rc;
}

PyDoc_STRVAR(insert_doc, "insert($self, row, /)\n--\n\n"
"Put a row, a tuple, into the table; or a list of rows, all at one moment.\n\n"
"In a set or ordered_set it replaces the row with the same key; in a bag an identical row is\n"
"kept once; a duplicate_bag keeps all. Values are copied in, unless deeply immutable. Runs in\n"
"the caller under a lock of microseconds.\n\n"
"Raises:\n    TypeError: A row is no tuple, or its key cannot be a key.\n"
"    ValueError: The row is too short to have a key, or has 2**24 elements.\n    NoTable: The table is gone.\n"
"    TableAccess: The table is not public, and the caller not its owner.\n\nSource: ets:insert/2.");

PyObject*
tsm_table_insert(PyObject* self, PyObject* op)
{
    return insert_any(self, op, false, "insert()") < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(insert_new_doc, "insert_new($self, row, /)\n--\n\n"
"As insert(), if no row with its key is there; of a list all rows or none.\n\n"
"Returns:\n    bool: Whether it was inserted.\n\nSource: ets:insert_new/2.");

static PyObject*
insert_new(PyObject* self, PyObject* op)
{
    int rc = insert_any(self, op, true, "insert_new()");
    return rc < 0 ? NULL : PyBool_FromLong(rc == 0);
}

/* ---- out again ---- */

static void
retire_entry(tsm_entry_t* e, bool rows_too)
{
    bool heavy = false;
    for (tsm_row_t *row = rows_too ? tsm_entry_row(e) : NULL, *after; row != NULL; row = after) {
        after = tsm_row_next(row);
        heavy = heavy || (row->flags & TSM_ROW_HEAVY) != 0;
        if (e->bag) {
            tsm_retire(row, TSM_LIMBO_ROW, false);
        }
    }
    tsm_retire(e, TSM_LIMBO_ENTRY, heavy);
}

/* Unlinks the entry of key and returns it, or NULL. -1 in *rc: an exception is set. */
static tsm_entry_t*
take_entry(PyObject* self, PyObject* key_op, const char* what, int* rc)
{
    tsm_key_t key;
    tsm_place_t place;
    tsm_table_t* t = tsm_table_for(self, true, what);
    *rc = -1;
    if (t == NULL || tsm_key_make(&key, key_op, t->kind == TSM_ORDERED) < 0) {
        return NULL;
    }
    tsm_shard_t* s = tsm_shard_of(t, key.hash);
    tsm_shard_lock(t, s);
    bool dead = tsm_load_acquire(&t->a_dead) != 0; /* acquire: pairs with bury_table. */
    tsm_store_seek(t, s, &key, &place);
    if (!dead && place.found != NULL) {
        tsm_store_unlink(s, &place);
    }
    tsm_shard_unlock(s);
    tsm_key_drop(&key);
    if (dead) {
        (void)tsm_table_gone(t, what);
        return NULL;
    }
    *rc = 0;
    return place.found;
}

PyDoc_STRVAR(delete_doc, "delete($self, key, /)\n--\n\nDelete all rows with this key; none is fine.\n\nSource: ets:delete/2.");

static PyObject*
delete(PyObject* self, PyObject* key)
{
    int rc;
    tsm_entry_t* e = take_entry(self, key, "delete()", &rc);
    if (e != NULL) {
        retire_entry(e, true);
    }
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(take_doc, "take($self, key, /)\n--\n\nDelete all rows with this key and return them, as lookup().\n\nSource: ets:take/2.");

static PyObject*
take(PyObject* self, PyObject* key)
{
    int rc;
    tsm_entry_t* e = take_entry(self, key, "take()", &rc);
    PyObject* rows = rc < 0 ? NULL : PyList_New(0);
    for (tsm_row_t* row = e == NULL ? NULL : tsm_entry_row(e); rows != NULL && row != NULL; row = tsm_row_next(row)) {
        PyObject* tuple = tsm_row_out(row, 0, NULL); /* unlinked: nobody changes it any more */
        bool bad = tuple == NULL || ((row->flags & TSM_ROW_MUTABLE) != 0 && tsm_row_finish(tuple) < 0)
                   || PyList_Append(rows, tuple) < 0;
        Py_XDECREF(tuple);
        if (bad) {
            Py_CLEAR(rows);
        }
    }
    if (e != NULL) {
        retire_entry(e, true);
    }
    return rows;
}

/* Unhooks rows that are the same as `like`, at most room of them; their links stay as they
 * are, readers may stand on them. */
static uint32_t
unhook_same(tsm_shard_t* s, tsm_place_t* place, const tsm_row_t* like, tsm_row_t** gone, uint32_t room, bool* emptied)
{
    tsm_entry_t* e = place->found;
    uint32_t count = 0;
    tsm_row_t *first = tsm_entry_row(e), **at = NULL; /* the link to row; NULL: it is the first */
    for (tsm_row_t *row = first, *before = NULL, *after; row != NULL && count < room; row = after) {
        after = tsm_row_next(row);
        if (!tsm_row_same(row, like)) {
            before = row;
            at = tsm_row_link(row);
            continue;
        }
        if (at == NULL && after == NULL) {
            tsm_store_unlink(s, place); /* the last row takes the entry with it */
            *emptied = true;
        } else {
            tsm_bag_rows_t* rows = tsm_entry_bag(e);
            rows->last = after == NULL ? before : rows->last;
            tsm_store_release(at == NULL ? &rows->a_first : at, after); /* release: pairs with tsm_row_next. */
            tsm_shard_count(s, -1, 0, -(int64_t)tsm_row_bytes(row));
        }
        gone[count++] = row;
    }
    return count;
}

PyDoc_STRVAR(delete_object_doc, "delete_object($self, row, /)\n--\n\n"
"Delete exactly this row, in a duplicate_bag all that are like it; other rows with its key stay.\n\n"
"Two rows are like when their values have the same types and structure; instances of other\n"
"classes than the plain ones only when they are the same object.\n\n"
"Returns:\n    int: How many were deleted.\n\nSource: ets:delete_object/2.");

static PyObject*
delete_object(PyObject* self, PyObject* op)
{
    pending_t in;
    tsm_place_t place;
    tsm_row_t* gone[64];
    Py_ssize_t total = 0;
    tsm_table_t* t = tsm_table_for(self, true, "delete_object()");
    if (t == NULL) {
        return NULL;
    }
    int rc = pending_make(t, &in, op, "delete_object()");
    for (uint32_t n = 64; rc == 0 && n == 64; total += n) {
        bool emptied = false;
        tsm_shard_t* s = tsm_shard_of(t, in.key.hash);
        tsm_shard_lock(t, s);
        rc = tsm_load_acquire(&t->a_dead) != 0 ? -2 : 0; /* acquire: pairs with bury_table. */
        tsm_store_seek(t, s, &in.key, &place);
        n = rc < 0 || place.found == NULL ? 0 : unhook_same(s, &place, in.entry != NULL ? tsm_entry_row(in.entry) : in.row, gone, 64, &emptied);
        tsm_shard_unlock(s);
        for (uint32_t i = 0; i < n; i++) {
            if (in.entry == NULL) { /* else it is inside the entry */
                tsm_retire(gone[i], TSM_LIMBO_ROW, (gone[i]->flags & TSM_ROW_HEAVY) != 0);
            }
        }
        if (emptied) {
            retire_entry(place.found, in.entry != NULL);
        }
    }
    pending_done(&in);
    if (rc == -2) {
        return tsm_table_gone(t, "delete_object()");
    }
    return rc < 0 ? NULL : PyLong_FromSsize_t(total);
}

PyDoc_STRVAR(delete_all_doc, "delete_all($self, /)\n--\n\nDelete all rows, at one moment; the table stays.\n\nSource: ets:delete_all_objects/1.");

static PyObject*
delete_all(PyObject* self, PyObject* Py_UNUSED(none))
{
    tsm_cut_t cut;
    tsm_table_t* t = tsm_table_for(self, true, "delete_all()");
    if (t == NULL) {
        return NULL;
    }
    if (!tsm_batch_begin(t)) {
        return tsm_table_gone(t, "delete_all()");
    }
    tsm_store_cut(t, &cut);
    tsm_batch_end(t);
    tsm_store_free(&cut);
    Py_RETURN_NONE;
}

PyMethodDef tsm_table_write_methods[] = {
    {"insert", tsm_table_insert, METH_O, insert_doc},
    {"insert_new", insert_new, METH_O, insert_new_doc},
    {"delete", delete, METH_O, delete_doc},
    {"take", take, METH_O, take_doc},
    {"delete_object", delete_object, METH_O, delete_object_doc},
    {"delete_all", delete_all, METH_NOARGS, delete_all_doc},
    {NULL, NULL, 0, NULL},
};
