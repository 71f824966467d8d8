/* tsm_copy_walk.c - the walk over a message, and the builtin containers.
 *
 * What it is   Recursion with the stack in heap memory. A list or dict is cloned first,
 *              which keeps its form (order, presized table, shared keys), and then what is
 *              mutable in the clone is replaced by its copy. Tuples and frozensets stay
 *              what they are unless a part of them was copied.
 * Cycles       A mutable copy is remembered before its parts are walked. A tuple is not
 *              there before its items are; when the way to an item led through the tuple
 *              itself, that way made it, and the first one made is taken.
 * No memo      A value to which the message holds a single reference cannot be met again
 *              (tsm_refs_are), so it is not remembered. References are counted exactly:
 *              what the walk itself holds is in `held`.
 * Rejected     Walking by C recursion with the heap as a fallback for great depth: two
 *              walks to keep alike. Remembering values by a mark in the object: there is
 *              no room in it, and other threads may copy it at the same time.
 */
#include "bind/tsm_copy.h"

static tsm_copy_frame_t*
top(tsm_copier_t* c)
{
    return &c->frames[c->depth - 1];
}

static int
grow(tsm_copier_t* c)
{
    size_t room = c->room == 0 ? 8 : c->room * 2;
    tsm_copy_frame_t* frames = PyMem_Realloc(c->frames, room * sizeof(*frames));
    if (frames == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    c->frames = frames;
    c->room = room;
    return 0;
}

tsm_copy_frame_t*
tsm_copy_push(tsm_copier_t* c, int step, PyObject* from, PyObject* to, PyObject* aux, bool unique)
{
    if ((!unique && to != NULL && tsm_memo_put(&c->memo, from, to) < 0)
        || (c->depth == c->room && grow(c) < 0)) {
        Py_XDECREF(to);
        Py_XDECREF(aux);
        return NULL;
    }
    tsm_copy_frame_t* f = &c->frames[c->depth++];
    *f = (tsm_copy_frame_t){
        .from = Py_NewRef(from), .to = to, .aux = aux, .step = (uint8_t)step, .unique = unique};
    return f;
}

void
tsm_copy_pop(tsm_copier_t* c)
{
    tsm_copy_frame_t f = c->frames[--c->depth];
    c->reduced -= f.step == TSM_STEP_REDUCE;
    Py_DECREF(f.from);
    Py_XDECREF(f.to);
    Py_XDECREF(f.aux);
    Py_XDECREF(f.key);
}

int
tsm_copy_finish(tsm_copier_t* c, PyObject** copy)
{
    *copy = Py_NewRef(top(c)->to);
    tsm_copy_pop(c);
    return TSM_COPY_DONE;
}

/* The contents are done; instances of subclasses have attributes as well. */
static int
finish_contents(tsm_copier_t* c, PyTypeObject* builtin, PyObject** copy)
{
    tsm_copy_frame_t* f = top(c);
    if (TSM_LIKELY(Py_IS_TYPE(f->to, builtin))) {
        return tsm_copy_finish(c, copy);
    }
    Py_CLEAR(f->aux);
    Py_CLEAR(f->key);
    f->step = TSM_STEP_STATE;
    f->phase = 0;
    f->at = 0;
    return tsm_copy_step_state(c, copy);
}

/* What is complete without a frame. Takes to. */
static int
flat(tsm_copier_t* c, PyObject* from, PyObject* to, bool unique, PyObject** copy)
{
    if (!unique && tsm_memo_put(&c->memo, from, to) < 0) {
        Py_DECREF(to);
        return TSM_COPY_FAILED;
    }
    *copy = to;
    return TSM_COPY_DONE;
}

/* ---- list ---- */

static int
enter_list(tsm_copier_t* c, PyObject* op, bool unique, PyObject** copy)
{
    PyObject* to = PyList_GetSlice(op, 0, PY_SSIZE_T_MAX);
    if (to == NULL) {
        return TSM_COPY_FAILED;
    }
    Py_ssize_t i = 0, n = PyList_GET_SIZE(to);
    if (!PyList_CheckExact(op)) {
        PyObject* sub = tsm_copy_alloc(&PyList_Type, Py_TYPE(op), NULL);
        if (sub == NULL || PyList_SetSlice(sub, 0, 0, to) < 0) {
            Py_XDECREF(sub);
            Py_DECREF(to);
            return TSM_COPY_FAILED;
        }
        Py_SETREF(to, sub);
    } else {
        while (i < n && tsm_copy_is_leaf(PyList_GET_ITEM(to, i))) {
            i++;
        }
        if (i == n) {
            c->nodes += n;
            return flat(c, op, to, unique, copy);
        }
    }
    c->nodes += n;
    tsm_copy_frame_t* f = tsm_copy_push(c, TSM_STEP_LIST, op, to, NULL, unique);
    if (f == NULL) {
        return TSM_COPY_FAILED;
    }
    f->at = i;
    return TSM_COPY_PUSHED;
}

static int
step_list(tsm_copier_t* c, PyObject** copy)
{
    tsm_copy_frame_t* f = top(c);
    if (*copy != NULL) {
        if (PyList_SetItem(f->to, f->at++, *copy) < 0) { /* takes it */
            return TSM_COPY_FAILED;
        }
    }
    for (; f->at < PyList_GET_SIZE(f->to); f->at++) {
        PyObject* item = PyList_GET_ITEM(f->to, f->at);
        if (tsm_copy_is_leaf(item)) {
            continue;
        }
        Py_INCREF(item);
        int rc = tsm_copy_enter(c, item, 3, copy); /* held by the list, its clone and here */
        bool same = rc == TSM_COPY_DONE && *copy == item;
        Py_DECREF(item);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
        f = top(c);
        if (same) {
            Py_DECREF(*copy);
        } else if (PyList_SetItem(f->to, f->at, *copy) < 0) {
            return TSM_COPY_FAILED;
        }
    }
    *copy = NULL;
    return finish_contents(c, &PyList_Type, copy);
}

/* ---- dict ---- */

/* [k0, v0, k1, ...] of a dict or a subclass, whatever that overrides. */
static PyObject*
pairs_of(PyObject* op)
{
    PyObject* pairs = PyList_New(0);
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    int rc = pairs == NULL ? -1 : 0;
    Py_BEGIN_CRITICAL_SECTION(op);
    while (rc == 0 && PyDict_Next(op, &pos, &key, &value)) {
        rc = PyList_Append(pairs, key) < 0 || PyList_Append(pairs, value) < 0 ? -1 : 0;
    }
    Py_END_CRITICAL_SECTION();
    if (rc < 0) {
        Py_CLEAR(pairs);
    }
    return pairs;
}

static int
enter_pairs(tsm_copier_t* c, PyObject* op, PyObject* to, bool unique)
{
    PyObject* pairs = to == NULL ? NULL : pairs_of(PyDict_CheckExact(op) ? to : op);
    if (pairs == NULL) {
        Py_XDECREF(to);
        return TSM_COPY_FAILED;
    }
    PyDict_Clear(to);
    tsm_copy_frame_t* f = tsm_copy_push(c, TSM_STEP_KEYS, op, to, pairs, unique);
    return f == NULL ? TSM_COPY_FAILED : TSM_COPY_PUSHED;
}

static int
enter_dict(tsm_copier_t* c, PyObject* op, bool unique, PyObject** copy)
{
    PyObject* to = PyDict_Copy(op);
    PyObject *key, *value;
    Py_ssize_t pos = 0, first = -1, here = 0;
    if (to == NULL) {
        return TSM_COPY_FAILED;
    }
    c->nodes += PyDict_GET_SIZE(to);
    while (PyDict_Next(to, &pos, &key, &value)) {
        if (!tsm_copy_is_leaf(key)) {
            int rc = tsm_copy_is_immutable(key, 0);
            if (rc < 0) {
                Py_DECREF(to);
                return TSM_COPY_FAILED;
            }
            if (rc == 0) {
                return enter_pairs(c, op, to, unique);
            }
        }
        if (first < 0 && !tsm_copy_is_leaf(value)) {
            first = here;
        }
        here = pos;
    }
    if (first < 0) {
        return flat(c, op, to, unique, copy);
    }
    tsm_copy_frame_t* f = tsm_copy_push(c, TSM_STEP_DICT, op, to, NULL, unique);
    if (f == NULL) {
        return TSM_COPY_FAILED;
    }
    f->at = first;
    return TSM_COPY_PUSHED;
}

int
tsm_copy_values(tsm_copier_t* c, PyObject* dict, PyObject** copy)
{
    tsm_copy_frame_t* f = top(c);
    PyObject *key, *value;
    if (*copy != NULL) {
        int rc = PyDict_SetItem(dict, f->key, *copy);
        Py_CLEAR(*copy);
        if (rc < 0) {
            return TSM_COPY_FAILED;
        }
    }
    while (PyDict_Next(dict, &f->at, &key, &value)) {
        if (tsm_copy_is_leaf(value)) {
            continue;
        }
        Py_XSETREF(f->key, Py_NewRef(key));
        Py_INCREF(value);
        int rc = tsm_copy_enter(c, value, 3, copy); /* held by the dict, its clone and here */
        bool same = rc == TSM_COPY_DONE && *copy == value;
        Py_DECREF(value);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
        f = top(c);
        rc = same ? 0 : PyDict_SetItem(dict, f->key, *copy);
        Py_CLEAR(*copy);
        if (rc < 0) {
            return TSM_COPY_FAILED;
        }
    }
    return TSM_COPY_DONE;
}

static int
step_dict(tsm_copier_t* c, PyObject** copy)
{
    int rc = tsm_copy_values(c, top(c)->to, copy);
    return rc == TSM_COPY_DONE ? tsm_copy_finish(c, copy) : rc;
}

static int
step_pairs(tsm_copier_t* c, PyObject** copy)
{
    for (;;) {
        tsm_copy_frame_t* f = top(c);
        if (*copy != NULL && f->at % 2 == 0) {
            Py_XSETREF(f->key, *copy);
            *copy = NULL;
            f->at++;
        } else if (*copy != NULL) {
            int rc = PyDict_SetItem(f->to, f->key, *copy);
            Py_CLEAR(*copy);
            if (rc < 0) {
                return TSM_COPY_FAILED;
            }
            f->at++;
        }
        if (f->at >= PyList_GET_SIZE(f->aux)) {
            return finish_contents(c, &PyDict_Type, copy);
        }
        int rc = tsm_copy_enter(c, PyList_GET_ITEM(f->aux, f->at), 0, copy);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
    }
}

/* ---- set and frozenset ---- */

static int
enter_set(tsm_copier_t* c, PyObject* op, int kind, bool unique, PyObject** copy)
{
    bool frozen = kind == TSM_COPY_FROZENSET;
    PyObject* to = frozen ? Py_NewRef(op) : PySet_New(op); /* a snapshot */
    PyObject* items = to == NULL ? NULL : PySequence_List(to);
    if (items == NULL) {
        Py_XDECREF(to);
        return TSM_COPY_FAILED;
    }
    c->nodes += PyList_GET_SIZE(items);
    int immutable = 1;
    for (Py_ssize_t i = 0; immutable > 0 && i < PyList_GET_SIZE(items); i++) {
        immutable = tsm_copy_is_immutable(PyList_GET_ITEM(items, i), 0);
    }
    if (immutable > 0 && kind != TSM_COPY_SET_SUB) {
        Py_DECREF(items);
        return flat(c, op, to, unique || frozen, copy);
    }
    if (frozen) {
        Py_CLEAR(to);
    } else if (kind == TSM_COPY_SET_SUB) {
        Py_SETREF(to, tsm_copy_alloc(&PySet_Type, Py_TYPE(op), NULL));
    } else {
        (void)PySet_Clear(to);
    }
    if (immutable < 0 || (to == NULL && !frozen)) {
        Py_XDECREF(to);
        Py_DECREF(items);
        return TSM_COPY_FAILED;
    }
    int step = frozen ? TSM_STEP_FROZENSET : TSM_STEP_SET;
    return tsm_copy_push(c, step, op, to, items, unique) == NULL ? TSM_COPY_FAILED : TSM_COPY_PUSHED;
}

static int
step_set(tsm_copier_t* c, PyObject** copy)
{
    for (;;) {
        tsm_copy_frame_t* f = top(c);
        if (*copy != NULL) {
            int rc = PySet_Add(f->to, *copy);
            Py_CLEAR(*copy);
            if (rc < 0) {
                return TSM_COPY_FAILED;
            }
            f->at++;
        }
        if (f->at >= PyList_GET_SIZE(f->aux)) {
            return finish_contents(c, &PySet_Type, copy);
        }
        int rc = tsm_copy_enter(c, PyList_GET_ITEM(f->aux, f->at), 0, copy);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
    }
}

static int
finish_frozenset(tsm_copier_t* c, PyObject** copy)
{
    tsm_copy_frame_t* f = top(c);
    if (f->phase == 0) { /* nothing in it was copied */
        f->to = Py_NewRef(f->from);
        return tsm_copy_finish(c, copy);
    }
    f->to = tsm_memo_get(&c->memo, f->from); /* the way through it may have made it */
    if (f->to == NULL) {
        f->to = PyFrozenSet_New(f->aux);
        if (f->to == NULL || tsm_memo_put(&c->memo, f->from, f->to) < 0) {
            return TSM_COPY_FAILED;
        }
    }
    return tsm_copy_finish(c, copy);
}

static int
step_frozenset(tsm_copier_t* c, PyObject** copy)
{
    for (;;) {
        tsm_copy_frame_t* f = top(c);
        if (*copy != NULL) {
            f->phase |= *copy != PyList_GET_ITEM(f->aux, f->at);
            int rc = PyList_SetItem(f->aux, f->at++, *copy); /* takes it */
            *copy = NULL;
            if (rc < 0) {
                return TSM_COPY_FAILED;
            }
        }
        if (f->at >= PyList_GET_SIZE(f->aux)) {
            return finish_frozenset(c, copy);
        }
        int rc = tsm_copy_enter(c, PyList_GET_ITEM(f->aux, f->at), 0, copy);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
    }
}

/* ---- tuple and its subclasses ---- */

static int
tuple_put(tsm_copy_frame_t* f, PyObject* copy) /* takes copy */
{
    PyObject* from = f->from;
    if (f->aux == NULL && copy != PyTuple_GET_ITEM(from, f->at)) {
        f->aux = PyTuple_New(Py_SIZE(from));
        if (f->aux == NULL) {
            Py_DECREF(copy);
            return -1;
        }
        for (Py_ssize_t i = 0; i < f->at; i++) {
            PyTuple_SET_ITEM(f->aux, i, Py_NewRef(PyTuple_GET_ITEM(from, i)));
        }
    }
    if (f->aux != NULL) {
        PyTuple_SET_ITEM(f->aux, f->at, copy);
    } else {
        Py_DECREF(copy);
    }
    f->at++;
    return 0;
}

static int
finish_tuple(tsm_copier_t* c, PyObject** copy)
{
    tsm_copy_frame_t* f = top(c);
    bool exact = PyTuple_CheckExact(f->from);
    if (f->aux == NULL) {
        if (exact || tsm_copy_is_bare(Py_TYPE(f->from))) {
            f->to = Py_NewRef(f->from);
            return tsm_copy_finish(c, copy);
        }
        f->aux = PyTuple_GetSlice(f->from, 0, Py_SIZE(f->from));
        if (f->aux == NULL) {
            return TSM_COPY_FAILED;
        }
    }
    f->to = f->unique ? NULL : tsm_memo_get(&c->memo, f->from); /* as for frozensets */
    if (f->to != NULL) {
        return tsm_copy_finish(c, copy);
    }
    f->to = exact ? Py_NewRef(f->aux) : tsm_copy_alloc(&PyTuple_Type, Py_TYPE(f->from), f->aux);
    if (f->to == NULL || (!f->unique && tsm_memo_put(&c->memo, f->from, f->to) < 0)) {
        return TSM_COPY_FAILED;
    }
    return finish_contents(c, &PyTuple_Type, copy);
}

static int
step_tuple(tsm_copier_t* c, PyObject** copy)
{
    for (;;) {
        tsm_copy_frame_t* f = top(c);
        if (*copy != NULL) {
            int rc = tuple_put(f, *copy);
            *copy = NULL;
            if (rc < 0) {
                return TSM_COPY_FAILED;
            }
        }
        if (f->at >= Py_SIZE(f->from)) {
            return finish_tuple(c, copy);
        }
        /* Held by the tuple alone, which cannot lose it. */
        int rc = tsm_copy_enter(c, PyTuple_GET_ITEM(f->from, f->at), 1, copy);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
    }
}

static int
enter_tuple(tsm_copier_t* c, PyObject* op, Py_ssize_t first, bool unique)
{
    c->nodes += Py_SIZE(op);
    tsm_copy_frame_t* f = tsm_copy_push(c, TSM_STEP_TUPLE, op, NULL, NULL, unique);
    if (f == NULL) {
        return TSM_COPY_FAILED;
    }
    f->at = first;
    return TSM_COPY_PUSHED;
}

/* ---- the walk ---- */

static int
enter_bytearray(tsm_copier_t* c, PyObject* op, bool unique, PyObject** copy)
{
    Py_buffer view; /* while it is held nobody can resize it */
    if (PyObject_GetBuffer(op, &view, PyBUF_SIMPLE) < 0) {
        return TSM_COPY_FAILED;
    }
    PyObject* to = PyByteArray_FromStringAndSize(view.buf, view.len);
    c->nodes += view.len / 64;
    PyBuffer_Release(&view);
    return to == NULL ? TSM_COPY_FAILED : flat(c, op, to, unique, copy);
}

static int
enter_kind(tsm_copier_t* c, PyObject* op, int kind, bool unique, PyObject** copy)
{
    switch (kind) {
    case TSM_COPY_LIST:
    case TSM_COPY_LIST_SUB:
        return enter_list(c, op, unique, copy);
    case TSM_COPY_DICT:
        return enter_dict(c, op, unique, copy);
    case TSM_COPY_DICT_SUB:
        return enter_pairs(c, op, tsm_copy_alloc(&PyDict_Type, Py_TYPE(op), NULL), unique);
    case TSM_COPY_SET:
    case TSM_COPY_SET_SUB:
    case TSM_COPY_FROZENSET:
        return enter_set(c, op, kind, unique, copy);
    case TSM_COPY_TUPLE:
    case TSM_COPY_TUPLE_SUB:
        return enter_tuple(c, op, 0, unique);
    case TSM_COPY_BYTEARRAY:
        return enter_bytearray(c, op, unique, copy);
    default:
        return tsm_copy_enter_object(c, op, kind, unique, copy);
    }
}

static Py_ssize_t
leading_leaves(PyObject* tuple)
{
    Py_ssize_t i = 0, n = Py_SIZE(tuple);
    while (i < n && tsm_copy_is_leaf(PyTuple_GET_ITEM(tuple, i))) {
        i++;
    }
    return i;
}

int
tsm_copy_enter(tsm_copier_t* c, PyObject* op, Py_ssize_t held, PyObject** copy)
{
    PyTypeObject* type = Py_TYPE(op);
    Py_ssize_t leaves = type == &PyTuple_Type ? leading_leaves(op) : -1;
    if (tsm_copy_is_leaf(op) || leaves == Py_SIZE(op)) {
        *copy = Py_NewRef(op);
        return TSM_COPY_DONE;
    }
    bool unique = held != 0 && tsm_refs_are(op, held);
    if (!unique && (*copy = tsm_memo_get(&c->memo, op)) != NULL) {
        return TSM_COPY_DONE;
    }
    int rc;
    if (leaves >= 0) {
        rc = enter_tuple(c, op, leaves, unique);
    } else if (type == &PyDict_Type) {
        rc = enter_dict(c, op, unique, copy);
    } else if (type == &PyList_Type) {
        rc = enter_list(c, op, unique, copy);
    } else {
        int kind = tsm_copy_kind(type);
        rc = kind < 0 ? TSM_COPY_FAILED : enter_kind(c, op, kind, unique, copy);
    }
    if (rc == TSM_COPY_FAILED && c->culprit == NULL) {
        c->culprit = Py_NewRef(op);
    }
    return rc;
}

static int
step(tsm_copier_t* c, PyObject** copy)
{
    switch (top(c)->step) {
    case TSM_STEP_LIST:
        return step_list(c, copy);
    case TSM_STEP_DICT:
        return step_dict(c, copy);
    case TSM_STEP_KEYS:
        return step_pairs(c, copy);
    case TSM_STEP_SET:
        return step_set(c, copy);
    case TSM_STEP_TUPLE:
        return step_tuple(c, copy);
    case TSM_STEP_FROZENSET:
        return step_frozenset(c, copy);
    case TSM_STEP_STATE:
        return tsm_copy_step_state(c, copy);
    case TSM_STEP_REDUCE:
        return tsm_copy_step_reduce(c, copy);
    default:
        return tsm_copy_step_part(c, copy);
    }
}

/* On failure the frames stay: they are the way to the culprit. */
PyObject*
tsm_copy_walk(tsm_copier_t* c, PyObject* root)
{
    PyObject* copy = NULL;
    int rc = tsm_copy_enter(c, root, 0, &copy);
    while (c->depth > 0 && rc != TSM_COPY_FAILED) {
        if (rc == TSM_COPY_PUSHED) {
            copy = NULL;
        }
        rc = step(c, &copy);
    }
    return rc == TSM_COPY_FAILED ? NULL : copy;
}
