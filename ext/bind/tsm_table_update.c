/* tsm_table_update.c - update_counter and update_element.
 *
 * Protocol        One small addition changes its word in place, under the shard's lock. All
 *                 else makes a new entry and puts it in the old one's place, so a reader
 *                 sees all operations of a call or none.
 */
#include "bind/tsm_table.h"

#include <stdlib.h>

enum { MAX_OPS = 64 };

typedef struct op {
    Py_ssize_t pos;
    PyObject* value;     /* the increment, an exact int; or the new value's owner */
    PyObject* threshold; /* borrowed from the caller's arguments, like the next */
    PyObject* reset;
    tsm_cell_t cell; /* update_element: the value, copied in */
} op_t;

typedef struct update {
    const char* what;
    bool counter, single; /* single: one operation, not a list of one */
    Py_ssize_t n;
    uint32_t flags; /* update_element: what the new cells are */
    op_t ops[MAX_OPS];
    PyObject* results[MAX_OPS];
    tsm_entry_t* old;
    Py_ssize_t bad; /* which operation does not fit the row, else -1 */
} update_t;

static int
parse_counter(update_t* u, op_t* op, PyObject* spec, uint32_t keypos)
{
    PyObject* parts[4] = {NULL, NULL, NULL, NULL};
    Py_ssize_t n = PyTuple_CheckExact(spec) ? PyTuple_GET_SIZE(spec) : 0;
    op->pos = (Py_ssize_t)keypos + 1;
    if (n == 2 || n == 4) {
        for (Py_ssize_t i = 0; i < n; i++) {
            parts[i] = PyTuple_GET_ITEM(spec, i);
        }
        op->pos = PyLong_CheckExact(parts[0]) ? PyLong_AsSsize_t(parts[0]) : -1;
    } else {
        parts[1] = spec;
    }
    for (int i = 1; i < (n == 4 ? 4 : 2); i++) {
        if (!PyLong_CheckExact(parts[i])) {
            PyErr_Format(PyExc_TypeError, "%s: an operation is an int, (pos, increment), or (pos, increment, "
                         "threshold, reset), all ints, not %R", u->what, spec);
            return -1;
        }
    }
    op->value = parts[1];
    op->threshold = parts[2];
    op->reset = parts[3];
    return 0;
}

static int
parse_element(update_t* u, op_t* op, PyObject* spec)
{
    if (!PyTuple_CheckExact(spec) || PyTuple_GET_SIZE(spec) != 2 || !PyLong_CheckExact(PyTuple_GET_ITEM(spec, 0))) {
        PyErr_Format(PyExc_TypeError, "%s: a change is (pos, value), not %R", u->what, spec);
        return -1;
    }
    op->pos = PyLong_AsSsize_t(PyTuple_GET_ITEM(spec, 0));
    return tsm_cell_make(PyTuple_GET_ITEM(spec, 1), &op->cell, &u->flags, u->what);
}

/* list: a tuple of operations. Those parsed must be dropped with update_drop. */
static int
parse(update_t* u, PyObject* const* specs, Py_ssize_t count, uint32_t keypos)
{
    if (count > MAX_OPS) {
        PyErr_Format(PyExc_ValueError, "%s takes at most %d operations at once (%zd given)", u->what, MAX_OPS, count);
        return -1;
    }
    for (; u->n < count; u->n++) {
        op_t* op = &u->ops[u->n];
        op->cell = tsm_cell_of(0);
        u->results[u->n] = NULL;
        if ((u->counter ? parse_counter(u, op, specs[u->n], keypos) : parse_element(u, op, specs[u->n])) < 0) {
            return -1;
        }
        if (op->pos < 0 || op->pos == (Py_ssize_t)keypos) {
            PyErr_Clear(); /* a position beyond any size */
            PyErr_Format(PyExc_ValueError, op->pos < 0 ? "%s: a position counts from 0, it cannot be %zd"
                         : "%s: position %zd is the key's, which cannot change", u->what, op->pos);
            u->n++;
            return -1;
        }
    }
    return 0;
}

static void
update_drop(update_t* u)
{
    for (Py_ssize_t i = 0; i < u->n; i++) {
        Py_XDECREF(u->results[i]);
        tsm_cell_drop(u->ops[i].cell);
    }
    if (u->old != NULL) {
        tsm_retire(u->old, TSM_LIMBO_ENTRY, (tsm_entry_row(u->old)->flags & TSM_ROW_HEAVY) != 0);
    }
}

/* ---- under the lock ---- */

/* The new value of a counter, a new reference; exact ints only, so no user code. */
static PyObject*
add(const op_t* op, PyObject* now)
{
    PyObject* sum = PyNumber_Add(now, op->value);
    if (sum == NULL || op->threshold == NULL) {
        return sum;
    }
    PyObject* zero = PyLong_FromLong(0);
    int up = zero == NULL ? -1 : PyObject_RichCompareBool(op->value, zero, Py_GE);
    int over = up < 0 ? -1 : PyObject_RichCompareBool(sum, op->threshold, up ? Py_GT : Py_LT);
    Py_XDECREF(zero);
    if (over != 0) {
        Py_SETREF(sum, over < 0 ? NULL : Py_NewRef(op->reset));
    }
    return sum;
}

/* Puts value into the cell of a row nobody sees yet. Takes value. What stood there goes
 * into *spare: dropping it may run user code. */
static void
cell_put(tsm_cell_t* cell, PyObject* value, tsm_cell_t* spare)
{
    int overflow;
    long long v = PyLong_AsLongLongAndOverflow(value, &overflow);
    *spare = *cell;
    if (overflow == 0 && v <= TSM_CELL_MAX && v >= -TSM_CELL_MAX) {
        *cell = tsm_cell_of(v);
        Py_DECREF(value);
    } else {
        *cell = (tsm_cell_t)value;
    }
}

/* Applies the operations to the row. -1: an exception, or u->bad. */
static int
apply(update_t* u, tsm_row_t* row)
{
    for (Py_ssize_t i = 0; i < u->n; i++) {
        op_t* op = &u->ops[i];
        bool fits = op->pos < (Py_ssize_t)row->n;
        if (!u->counter) {
            u->bad = fits ? u->bad : i;
            if (!fits) {
                return -1;
            }
            tsm_cell_t was = row->a_cells[op->pos];
            row->a_cells[op->pos] = op->cell;
            op->cell = was; /* dropped by update_drop */
            continue;
        }
        PyObject* now = fits ? tsm_cell_out(row->a_cells[op->pos]) : NULL;
        if (now == NULL || !PyLong_CheckExact(now)) {
            Py_XDECREF(now); /* the row has one as well */
            u->bad = i;
            return -1;
        }
        PyObject* sum = add(op, now);
        Py_DECREF(now);
        if (sum == NULL) {
            return -1;
        }
        u->results[i] = Py_NewRef(sum);
        cell_put(&row->a_cells[op->pos], sum, &op->cell);
    }
    return 0;
}

/* One increment of a small number by a small number, in place. False: not that simple. */
static bool
add_in_place(update_t* u, tsm_row_t* row, long long by)
{
    const op_t* op = &u->ops[0];
    if (op->pos >= (Py_ssize_t)row->n || !tsm_cell_is_int(row->a_cells[op->pos])) {
        return false;
    }
    intptr_t sum;
    if (__builtin_add_overflow(tsm_cell_int(row->a_cells[op->pos]), by, &sum) || sum > TSM_CELL_MAX
        || sum < -TSM_CELL_MAX) {
        return false;
    }
    u->results[0] = PyLong_FromLongLong(sum);
    if (u->results[0] == NULL) {
        PyErr_Clear();
        return false;
    }
    /* relaxed: one word under the lock; readers take the old one or the new. */
    tsm_store_relaxed(&row->a_cells[op->pos], tsm_cell_of(sum));
    return true;
}

static int
change_row(tsm_shard_t* s, tsm_place_t* place, update_t* u)
{
    int overflow = 1; /* of the only operation that can be done in place */
    long long by = u->counter && u->n == 1 && u->ops[0].threshold == NULL
        ? PyLong_AsLongLongAndOverflow(u->ops[0].value, &overflow) : 0;
    if (overflow == 0 && add_in_place(u, tsm_entry_row(place->found), by)) {
        return 0;
    }
    tsm_entry_t* e = tsm_entry_clone(place->found);
    if (e == NULL) {
        return -1;
    }
    tsm_entry_row(e)->flags |= (uint8_t)u->flags;
    int rc = apply(u, tsm_entry_row(e));
    u->old = rc < 0 ? e : place->found; /* which no reader has, or may still have */
    if (rc == 0) {
        tsm_store_replace(s, place, e);
    }
    return rc;
}

/* fresh: with the row of the default, or NULL. 0 done; 1 no such key; -1 failed; -2 dead. */
static int
run(tsm_table_t* t, const tsm_key_t* key, update_t* u, tsm_entry_t** fresh, void** grown)
{
    tsm_place_t place;
    tsm_shard_t* s = tsm_shard_of(t, key->hash);
    tsm_shard_lock(t, s);
    int rc = tsm_load_acquire(&t->a_dead) != 0 ? -2 : 0; /* acquire: pairs with bury_table. */
    if (rc == 0 && *fresh != NULL && tsm_store_reserve(t, s, grown) < 0) {
        PyErr_NoMemory();
        rc = -1;
    }
    if (rc == 0) {
        tsm_store_seek(t, s, key, &place);
        if (place.found != NULL) {
            rc = change_row(s, &place, u);
        } else if (*fresh != NULL && (rc = apply(u, tsm_entry_row(*fresh))) == 0) {
            tsm_entry_row(*fresh)->flags |= (uint8_t)u->flags;
            tsm_store_link(s, &place, *fresh);
            *fresh = NULL;
        } else if (*fresh == NULL) {
            rc = 1;
        }
    }
    tsm_shard_unlock(s);
    return rc;
}

static tsm_entry_t*
default_entry(tsm_table_t* t, const tsm_key_t* key, PyObject* op, PyObject* key_op, const char* what)
{
    if (!PyTuple_Check(op) || PyTuple_GET_SIZE(op) <= (Py_ssize_t)t->keypos) {
        PyErr_Format(PyExc_TypeError, "%s: the default is a row, a tuple with a place for the key, not %R", what, op);
        return NULL;
    }
    PyObject* list = PySequence_List(op);
    if (list == NULL || PyList_SetItem(list, t->keypos, Py_NewRef(key_op)) < 0) {
        Py_XDECREF(list);
        return NULL;
    }
    PyObject* row = PyList_AsTuple(list);
    Py_DECREF(list);
    tsm_entry_t* made = row == NULL ? NULL : tsm_entry_with(t, key, row, what);
    Py_XDECREF(row);
    return made;
}

static int
explain_bad(const update_t* u)
{
    if (u->bad >= 0) {
        PyErr_Format(u->counter ? PyExc_TypeError : PyExc_IndexError,
                     u->counter ? "%s: the row has no int at position %zd" : "%s: the row has no position %zd",
                     u->what, u->ops[u->bad].pos);
    }
    return -1;
}

/* 0 done; 1: no such key; -1: an exception. */
static int
update(tsm_table_t* t, PyObject* key_op, update_t* u, PyObject* fallback)
{
    tsm_key_t key;
    tsm_entry_t* fresh = NULL;
    void* grown = NULL;
    if (tsm_key_make(&key, key_op, t->kind == TSM_ORDERED) < 0) {
        return -1;
    }
    int rc = 0;
    if (fallback != NULL) {
        fresh = default_entry(t, &key, fallback, key_op, u->what);
        rc = fresh == NULL ? -1 : 0;
    }
    rc = rc < 0 ? rc : run(t, &key, u, &fresh, &grown);
    if (fresh != NULL) {
        tsm_entry_free(fresh);
    }
    if (grown != NULL) {
        tsm_retire(grown, TSM_LIMBO_ARRAY, true);
    }
    tsm_key_drop(&key);
    if (rc == -2) {
        (void)tsm_table_gone(t, u->what);
    }
    return rc == -1 ? explain_bad(u) : rc;
}

/* The table, if it may be updated and the arguments are as many as it takes; NULL: an exception. */
static tsm_table_t*
check_update(PyObject* self, Py_ssize_t n, const char* what)
{
    if (TSM_UNLIKELY(n < 2 || n > 3)) {
        PyErr_Format(PyExc_TypeError, "%s takes a key, what to do, and a default row (%zd given)", what, n);
        return NULL;
    }
    tsm_table_t* t = tsm_table_for(self, true, what);
    if (TSM_UNLIKELY(t != NULL && t->kind > TSM_ORDERED)) {
        PyErr_Format(PyExc_TypeError, "%s works on set and ordered_set, where a key has one row", what);
        return NULL;
    }
    return t;
}

/* An update without operations. They are left as they are: there is room for many, and one is used. */
static void
update_init(update_t* u, bool counter)
{
    u->what = counter ? "update_counter()" : "update_element()";
    u->counter = counter;
    u->n = 0;
    u->flags = 0;
    u->old = NULL;
    u->bad = -1;
}

static PyObject*
results_of(update_t* u)
{
    if (u->single) {
        return Py_XNewRef(u->results[0]);
    }
    PyObject* list = PyList_New(u->n);
    for (Py_ssize_t i = 0; list != NULL && i < u->n; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef(u->results[i]));
    }
    return list;
}

/* specs: one operation or a list of them. */
static int
parse_all(update_t* u, PyObject* spec, uint32_t keypos, PyObject** held)
{
    *held = NULL;
    u->single = !PyList_CheckExact(spec);
    if (u->single) {
        return parse(u, &spec, 1, keypos);
    }
    *held = PyList_AsTuple(spec); /* another thread may change the list */
    return *held == NULL ? -1 : parse(u, ((PyTupleObject*)*held)->ob_item, PyTuple_GET_SIZE(*held), keypos);
}

/* An increment of the small number behind the key. NULL without an exception: not that simple,
 * take the long way. */
static inline PyObject*
add_quick(tsm_table_t* t, PyObject* key_op, PyObject* by_op)
{
    tsm_key_t key;
    if (!tsm_key_is_word(by_op) || tsm_key_make(&key, key_op, t->kind == TSM_ORDERED) < 0) {
        return NULL;
    }
    intptr_t sum = 0;
    tsm_shard_t* s = tsm_shard_of(t, key.hash);
    tsm_shard_lock(t, s);
    tsm_entry_t* e = tsm_store_get(t, s, &key); /* a dead table has been emptied, or will be */
    tsm_row_t* row = e == NULL ? NULL : tsm_entry_row(e);
    bool done = row != NULL && t->keypos + 1 < row->n
        && tsm_cell_add(&row->a_cells[t->keypos + 1], (int32_t)tsm_key_word(by_op), &sum);
    tsm_shard_unlock(s);
    tsm_key_drop(&key);
    return done ? tsm_int_out(sum) : NULL;
}

/* Under the lock, with a key that is a word. False: not that simple. */
static inline bool
add_to_word(tsm_table_t* t, tsm_shard_t* s, uint64_t hash, uint64_t word, int32_t by, intptr_t* sum)
{
    tsm_buckets_t b = tsm_load_relaxed(&s->a_buckets); /* relaxed: under the lock. */
    tsm_entry_t* e = TSM_LIKELY(b != 0) ? tsm_chain_word(b, hash, word) : NULL;
    if (TSM_UNLIKELY(e == NULL)) {
        return false;
    }
    tsm_row_t* row = tsm_entry_row_of_word(e);
    return TSM_LIKELY(t->keypos + 1 < row->n) && tsm_cell_add(&row->a_cells[t->keypos + 1], by, sum);
}

static __attribute__((noinline)) PyObject*
add_slowly(tsm_table_t* t, PyObject* const* args, Py_ssize_t n)
{
    update_t u;
    update_init(&u, true);
    PyObject *held, *result = NULL;
    int rc = parse_all(&u, args[1], t->keypos, &held);
    rc = rc < 0 ? rc : update(t, args[0], &u, n == 3 ? args[2] : NULL);
    if (rc == 1) {
        PyErr_SetObject(PyExc_KeyError, args[0]);
    } else if (rc == 0) {
        result = results_of(&u);
    }
    Py_XDECREF(held);
    update_drop(&u);
    return result;
}

PyDoc_STRVAR(update_counter_doc, "update_counter($self, key, op, default=..., /)\n--\n\n"
"Add to numbers of the row with this key, as one step, and return what they are now.\n\n"
"op is an int, added to the element behind the key; or (pos, increment); or (pos, increment,\n"
"threshold, reset), where a result beyond threshold (above it, or below it when increment is\n"
"negative) becomes reset; or a list of these, done in order, all or none. Positions count\n"
"from 0. default is the row to start from when there is none; its key is replaced by key.\n"
"Ints have any size.\n\nReturns:\n    int, or for a list of operations a list.\n\n"
"Raises:\n    KeyError: No such key, and no default.\n    TypeError: No int stands there, or the table is a bag.\n\n"
"Source: ets:update_counter/3,4.");

static __attribute__((noinline)) PyObject*
add_any(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_table_t* t = check_update(self, n, "update_counter()");
    PyObject* result = t == NULL ? NULL : add_quick(t, args[0], args[1]);
    return result != NULL || t == NULL || PyErr_Occurred() ? result : add_slowly(t, args, n);
}

/* By somebody else than the owner, or no longer by it alone. */
static __attribute__((noinline)) PyObject*
add_shared(PyObject* self, PyObject* const* args, Py_ssize_t n, bool mine)
{
    tsm_table_t* t = ((TsmTable*)self)->table;
    if ((!mine && t->access != TSM_PUBLIC) || !tsm_bias_is_shared(&t->bias)) {
        return add_any(self, args, n);
    }
    intptr_t sum;
    uint64_t word = tsm_key_word(args[0]), hash = tsm_key_hash_word(word);
    tsm_shard_t* s = &t->shards[hash >> 58];
    tsm_mutex_lock(&s->lock.mutex);
    bool done = add_to_word(t, s, hash, word, (int32_t)tsm_key_word(args[1]), &sum);
    tsm_mutex_unlock(&s->lock.mutex);
    if (!done) {
        return add_any(self, args, n);
    }
    tsm_charge(tsm_self, 1);
    return tsm_int_out(sum);
}

/* First the call that loops make, an increment in a set where the key is a small int that is there:
 * each question is asked once, no key is written down, and what is called is called last, so
 * there is next to no frame. Until it is done nothing has happened, not even a reduction. */
PyObject*
tsm_table_update_counter(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    tsm_table_t* t = ((TsmTable*)self)->table;
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* me = TSM_LIKELY(w != NULL) ? tsm_worker_proc(w) : NULL;
    if (TSM_UNLIKELY((n != 2 && n != 3) || me == NULL || (me->flags & TSM_PF_DEAD) != 0 || t->kind != TSM_SET
                     || !tsm_key_is_word(args[0]) || !tsm_key_is_word(args[1])
                     || tsm_load_acquire(&t->a_dead) != 0)) { /* acquire: pairs with bury_table. */
        return add_any(self, args, n);
    }
    uint64_t word = tsm_key_word(args[0]), hash = tsm_key_hash_word(word);
    tsm_shard_t* s = &t->shards[hash >> 58];
    bool mine = tsm_table_is_of(t, me);
    if (TSM_UNLIKELY(!mine || !tsm_bias_enter(&t->bias, &s->lock))) {
        return add_shared(self, args, n, mine);
    }
    intptr_t sum;
    bool done = add_to_word(t, s, hash, word, (int32_t)tsm_key_word(args[1]), &sum);
    tsm_bias_leave(&s->lock);
    if (TSM_UNLIKELY(!done)) {
        return add_any(self, args, n);
    }
    tsm_charge(w, 1);
    return tsm_int_out(sum);
}

PyDoc_STRVAR(update_element_doc, "update_element($self, key, change, default=..., /)\n--\n\n"
"Replace elements of the row with this key, as one step: (pos, value), or a list of these.\n\n"
"Returns:\n    bool: False when there is no such key, and no default row to start from.\n\n"
"Raises:\n    IndexError: The row is shorter.\n    ValueError: pos is the key's.\n\n"
"Source: ets:update_element/3,4.");

static PyObject*
update_element(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    update_t u;
    tsm_table_t* t = check_update(self, n, "update_element()");
    if (t == NULL) {
        return NULL;
    }
    update_init(&u, false);
    PyObject* held;
    int rc = parse_all(&u, args[1], t->keypos, &held);
    rc = rc < 0 ? rc : update(t, args[0], &u, n == 3 ? args[2] : NULL);
    Py_XDECREF(held);
    update_drop(&u);
    return rc < 0 ? NULL : PyBool_FromLong(rc == 0);
}

PyMethodDef tsm_table_update_methods[] = {
    {"update_counter", (PyCFunction)(void (*)(void))tsm_table_update_counter, METH_FASTCALL, update_counter_doc},
    {"update_element", (PyCFunction)(void (*)(void))update_element, METH_FASTCALL, update_element_doc},
    {NULL, NULL, 0, NULL},
};
