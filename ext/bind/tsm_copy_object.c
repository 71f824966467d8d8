/* tsm_copy_object.c - copying instances of classes.
 *
 * A class without hooks of its own is copied as it lies there: attributes in __dict__ and
 * in slots, without running any of its methods. One that says how it is copied
 * (__deepcopy__, copyreg, __reduce_ex__, __getstate__ ...) is asked, as copy.deepcopy does.
 * Exceptions are rebuilt without their __init__, which often takes other arguments than
 * the ones that are kept.
 */
#include "bind/tsm_copy.h"

static tsm_copy_frame_t*
top(tsm_copier_t* c)
{
    return &c->frames[c->depth - 1];
}

/* A new instance of a subclass of a builtin, made by the builtin's own constructor. */
PyObject*
tsm_copy_alloc(PyTypeObject* builtin, PyTypeObject* type, PyObject* arg)
{
    PyObject* args = arg == NULL ? PyTuple_New(0) : PyTuple_Pack(1, arg);
    PyObject* op = args == NULL ? NULL : builtin->tp_new(type, args, NULL);
    Py_XDECREF(args);
    return op;
}

/* ---- attributes ---- */

static bool
has_dict(PyTypeObject* type)
{
    return (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) != 0 || type->tp_dictoffset != 0;
}

/* The n-th slot of a class and those it is built on, or NULL. */
static PyMemberDef*
slot_at(PyTypeObject* type, Py_ssize_t n)
{
    for (; type != NULL && (type->tp_flags & Py_TPFLAGS_HEAPTYPE) != 0; type = type->tp_base) {
        for (PyMemberDef* m = type->tp_members; m != NULL && m->name != NULL; m++) {
            if (m->type == Py_T_OBJECT_EX && n-- == 0) {
                return m;
            }
        }
    }
    return NULL;
}

/* New reference; NULL without an exception where the slot is empty. */
static PyObject*
slot_value(PyObject* op, PyMemberDef* slot)
{
    PyObject** at = (PyObject**)(void*)((char*)op + slot->offset);
    /* relaxed: only asks whether there is something; PyMember_GetOne reads it. */
    if (tsm_load_relaxed(at) == NULL) {
        return NULL;
    }
    PyObject* value = PyMember_GetOne((const char*)op, slot);
    if (value == NULL) {
        PyErr_Clear(); /* emptied this very moment */
    }
    return value;
}

static int
slots_are_immutable(PyObject* op, int depth)
{
    PyMemberDef* slot;
    int rc = 1;
    for (Py_ssize_t i = 0; rc > 0 && (slot = slot_at(Py_TYPE(op), i)) != NULL; i++) {
        PyObject* value = slot_value(op, slot);
        rc = value == NULL ? 1 : tsm_copy_is_immutable(value, depth);
        Py_XDECREF(value);
    }
    return rc;
}

/* Looks at the values under the dict's lock, at those that are not plain afterwards. */
static int
dict_is_immutable(PyObject* dict, int depth)
{
    enum { MOST = 32 };
    PyObject *key, *value, *others[MOST];
    Py_ssize_t pos = 0;
    int n = 0, rc = 1;
    Py_BEGIN_CRITICAL_SECTION(dict);
    while (rc > 0 && PyDict_Next(dict, &pos, &key, &value)) {
        if (!tsm_copy_is_leaf(value)) {
            if (n < MOST && !PyDict_CheckExact(value) && !PyList_CheckExact(value)) {
                others[n++] = Py_NewRef(value);
            } else {
                rc = 0; /* also one with so many parts: it is walked */
            }
        }
    }
    Py_END_CRITICAL_SECTION();
    for (int i = 0; i < n; i++) {
        rc = rc > 0 ? tsm_copy_is_immutable(others[i], depth) : rc;
        Py_DECREF(others[i]);
    }
    return rc;
}

bool
tsm_copy_is_bare(PyTypeObject* type)
{
    return !has_dict(type) && slot_at(type, 0) == NULL;
}

int
tsm_copy_state_is_immutable(PyObject* op, int depth)
{
    int rc = slots_are_immutable(op, depth);
    if (rc <= 0 || !has_dict(Py_TYPE(op))) {
        return rc;
    }
    PyObject* dict = PyObject_GenericGetDict(op, NULL);
    if (dict == NULL) {
        return -1;
    }
    rc = dict_is_immutable(dict, depth);
    Py_DECREF(dict);
    return rc;
}

enum { STATE_BEGIN, STATE_DICT, STATE_SLOTS };

static int
begin_state(tsm_copy_frame_t* f)
{
    f->phase = STATE_SLOTS;
    f->at = 0;
    if (!has_dict(Py_TYPE(f->from))) {
        return 0;
    }
    PyObject* dict = PyObject_GenericGetDict(f->from, NULL);
    f->aux = dict == NULL ? NULL : PyDict_Copy(dict);
    Py_XDECREF(dict);
    if (f->aux == NULL) {
        return -1;
    }
    if (PyDict_GET_SIZE(f->aux) > 0) {
        f->phase = STATE_DICT;
        /* By the descriptor, which knows where this class keeps attributes; no __setattr__. */
        return PyObject_GenericSetAttr(f->to, tsm_bind.s_dict, f->aux);
    }
    return 0;
}

static int
step_slots(tsm_copier_t* c, PyObject** copy)
{
    for (;;) {
        tsm_copy_frame_t* f = top(c);
        PyMemberDef* slot = slot_at(Py_TYPE(f->from), f->at);
        if (slot == NULL) {
            return tsm_copy_finish(c, copy);
        }
        if (*copy != NULL) {
            PyObject** at = (PyObject**)(void*)((char*)f->to + slot->offset);
            Py_XSETREF(*at, *copy); /* nobody else knows the instance yet */
            *copy = NULL;
            f->at++;
            continue;
        }
        PyObject* value = slot_value(f->from, slot);
        if (value == NULL) {
            f->at++;
            continue;
        }
        if (tsm_copy_is_leaf(value)) {
            *copy = value;
            continue;
        }
        Py_XSETREF(f->key, PyUnicode_FromString(slot->name));
        if (f->key == NULL) {
            Py_DECREF(value);
            return TSM_COPY_FAILED;
        }
        int rc = tsm_copy_enter(c, value, 2, copy); /* held by the slot and here */
        Py_DECREF(value);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
    }
}

int
tsm_copy_step_state(tsm_copier_t* c, PyObject** copy)
{
    tsm_copy_frame_t* f = top(c);
    if (f->phase == STATE_BEGIN && begin_state(f) < 0) {
        return TSM_COPY_FAILED;
    }
    if (f->phase == STATE_DICT) {
        int rc = tsm_copy_values(c, f->aux, copy);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
        f = top(c);
        f->phase = STATE_SLOTS;
        f->at = 0;
    }
    return step_slots(c, copy);
}

static int
enter_plain(tsm_copier_t* c, PyObject* op, bool unique)
{
    PyTypeObject* type = Py_TYPE(op);
    PyObject* to = type->tp_alloc(type, 0);
    c->nodes += 4;
    if (to == NULL || tsm_copy_push(c, TSM_STEP_STATE, op, to, NULL, unique) == NULL) {
        return TSM_COPY_FAILED;
    }
    return TSM_COPY_PUSHED;
}

/* ---- classes that say how they are copied ---- */

static int
enter_hook(tsm_copier_t* c, PyObject* op, PyObject** copy)
{
    PyObject* memo = tsm_memo_dict(&c->memo);
    *copy = memo == NULL ? NULL : PyObject_CallMethodOneArg(op, tsm_bind.s_deepcopy, memo);
    if (*copy == NULL) {
        return TSM_COPY_FAILED;
    }
    c->nodes += 4;
    if (*copy != op && tsm_memo_put(&c->memo, op, *copy) < 0) {
        Py_CLEAR(*copy);
        return TSM_COPY_FAILED;
    }
    return TSM_COPY_DONE;
}

enum { R_FUNC, R_ARGS, R_STATE, R_LIST, R_DICT, R_SETTER, R_ITEM, R_KEY, R_FIELDS };
enum { PHASE_ARGS, PHASE_STATE, PHASE_LIST, PHASE_KEY, PHASE_VALUE };

static PyObject*
reduce(PyObject* op)
{
    PyObject* reductor;
    int found = PyDict_GetItemRef(tsm_bind.copyreg_table, (PyObject*)Py_TYPE(op), &reductor);
    if (found < 0) {
        return NULL;
    }
    if (found == 0) {
        return PyObject_CallMethodOneArg(op, tsm_bind.s_reduce_ex, tsm_bind.four);
    }
    PyObject* reduced = PyObject_CallOneArg(reductor, op);
    Py_DECREF(reductor);
    return reduced;
}

/* An object that makes new objects whenever it is asked would go on for ever. */
enum { MOST_REDUCED = 100000 };

static int
enter_reduce(tsm_copier_t* c, PyObject* op, bool error, bool unique, PyObject** copy)
{
    if (c->reduced >= MOST_REDUCED) {
        PyErr_SetString(PyExc_RecursionError, "objects that reduce to others without end");
        return TSM_COPY_FAILED;
    }
    PyObject* reduced = reduce(op);
    if (reduced != NULL && PyUnicode_Check(reduced)) {
        Py_DECREF(reduced); /* the name of a global */
        *copy = Py_NewRef(op);
        return TSM_COPY_DONE;
    }
    if (reduced != NULL && (!PyTuple_Check(reduced) || Py_SIZE(reduced) < 2 || Py_SIZE(reduced) > 6
        || !PyTuple_Check(PyTuple_GET_ITEM(reduced, R_ARGS)))) {
        PyErr_SetString(PyExc_TypeError, "__reduce_ex__() must return a str or a tuple of 2 to 6 items");
        Py_CLEAR(reduced);
    }
    PyObject* aux = reduced == NULL ? NULL : PyList_New(R_FIELDS);
    if (aux == NULL) {
        Py_XDECREF(reduced);
        return TSM_COPY_FAILED;
    }
    for (Py_ssize_t i = 0; i < R_FIELDS; i++) {
        PyObject* item = i < Py_SIZE(reduced) ? PyTuple_GET_ITEM(reduced, i) : Py_None;
        bool iterated = (i == R_LIST || i == R_DICT) && item != Py_None;
        PyObject* field = iterated ? PyObject_GetIter(item) : Py_NewRef(item);
        if (field == NULL) {
            Py_DECREF(reduced);
            Py_DECREF(aux);
            return TSM_COPY_FAILED;
        }
        PyList_SET_ITEM(aux, i, field);
    }
    Py_DECREF(reduced);
    c->nodes += 8;
    tsm_copy_frame_t* f = tsm_copy_push(c, TSM_STEP_REDUCE, op, NULL, aux, unique);
    if (f == NULL) {
        return TSM_COPY_FAILED;
    }
    c->reduced++;
    f->error = error && PyList_GET_ITEM(aux, R_FUNC) == (PyObject*)Py_TYPE(op);
    return TSM_COPY_PUSHED;
}

static PyObject*
make_error(PyTypeObject* type, PyObject* args)
{
    PyTypeObject* builtin = type;
    while ((builtin->tp_flags & Py_TPFLAGS_HEAPTYPE) != 0) {
        builtin = builtin->tp_base;
    }
    PyObject* op = builtin->tp_new(type, args, NULL);
    if (op != NULL && builtin->tp_init(op, args, NULL) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) {
            Py_CLEAR(op);
        } else {
            PyErr_Clear(); /* not the arguments it is usually made with; they are kept in args */
        }
    }
    return op;
}

static int
update_dict(PyObject* to, PyObject* state)
{
    if (state == Py_None) {
        return 0;
    }
    PyObject* dict = PyObject_GetAttr(to, tsm_bind.s_dict);
    int rc = dict == NULL ? -1 : PyDict_Update(dict, state);
    Py_XDECREF(dict);
    return rc;
}

static int
set_attributes(PyObject* to, PyObject* state)
{
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    if (state == Py_None) {
        return 0;
    }
    if (!PyDict_Check(state)) {
        PyErr_SetString(PyExc_TypeError, "the state of slots must be a dict");
        return -1;
    }
    while (PyDict_Next(state, &pos, &key, &value)) { /* a copy of ours */
        if (PyObject_SetAttr(to, key, value) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
set_state(PyObject* to, PyObject* state, PyObject* set_with)
{
    PyObject *method = NULL, *done;
    if (set_with != Py_None) {
        done = PyObject_CallFunctionObjArgs(set_with, to, state, NULL);
    } else {
        int found = PyObject_GetOptionalAttr(to, tsm_bind.s_setstate, &method);
        if (found < 0) {
            return -1;
        }
        if (found == 0) {
            if (PyTuple_Check(state) && Py_SIZE(state) == 2) {
                return update_dict(to, PyTuple_GET_ITEM(state, 0)) < 0
                    ? -1 : set_attributes(to, PyTuple_GET_ITEM(state, 1));
            }
            return update_dict(to, state);
        }
        done = PyObject_CallOneArg(method, state);
        Py_DECREF(method);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
append(PyObject* to, PyObject* item)
{
    if (PyList_CheckExact(to)) {
        return PyList_Append(to, item);
    }
    PyObject* done = PyObject_CallMethodOneArg(to, tsm_bind.s_append, item);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
reduce_make(tsm_copier_t* c, tsm_copy_frame_t* f, PyObject* args)
{
    PyObject* func = PyList_GET_ITEM(f->aux, R_FUNC);
    f->phase = PHASE_STATE;
    f->to = f->unique ? NULL : tsm_memo_get(&c->memo, f->from); /* met again among its arguments */
    if (f->to != NULL) {
        f->phase = PHASE_KEY; /* and completed there */
        return PyList_SetItem(f->aux, R_DICT, Py_NewRef(Py_None));
    }
    f->to = f->error ? make_error(Py_TYPE(f->from), args) : PyObject_CallObject(func, args);
    return f->to == NULL || (!f->unique && tsm_memo_put(&c->memo, f->from, f->to) < 0) ? -1 : 0;
}

/* A part is copied; takes copy. */
static int
reduce_take(tsm_copier_t* c, tsm_copy_frame_t* f, PyObject* copy)
{
    int rc = 0;
    switch (f->phase) {
    case PHASE_ARGS:
        rc = reduce_make(c, f, copy);
        break;
    case PHASE_STATE:
        rc = set_state(f->to, copy, PyList_GET_ITEM(f->aux, R_SETTER));
        f->phase = PHASE_LIST;
        break;
    case PHASE_LIST:
        rc = append(f->to, copy);
        f->at++;
        break;
    case PHASE_KEY:
        f->phase = PHASE_VALUE;
        return PyList_SetItem(f->aux, R_KEY, copy);
    default:
        rc = PyObject_SetItem(f->to, PyList_GET_ITEM(f->aux, R_KEY), copy);
        f->phase = PHASE_KEY;
    }
    Py_DECREF(copy);
    return rc;
}

static PyObject*
next_of(tsm_copy_frame_t* f, Py_ssize_t field)
{
    PyObject* iter = PyList_GET_ITEM(f->aux, field);
    PyObject* item = iter == Py_None ? NULL : PyIter_Next(iter);
    if (item != NULL && PyList_SetItem(f->aux, R_ITEM, item) < 0) {
        return NULL;
    }
    return item; /* borrowed from aux */
}

/* The next part to copy, borrowed; NULL with or without an exception at the end. */
static PyObject*
reduce_next(tsm_copy_frame_t* f)
{
    PyObject* part;
    switch (f->phase) {
    case PHASE_ARGS:
        return PyList_GET_ITEM(f->aux, R_ARGS);
    case PHASE_STATE:
        part = PyList_GET_ITEM(f->aux, R_STATE);
        if (part != Py_None) {
            return part;
        }
        f->phase = PHASE_LIST;
        /* fall through */
    case PHASE_LIST:
        part = next_of(f, R_LIST);
        if (part != NULL || PyErr_Occurred()) {
            return part;
        }
        f->phase = PHASE_KEY;
        /* fall through */
    case PHASE_KEY:
        part = next_of(f, R_DICT);
        if (part == NULL) {
            return NULL;
        }
        if (!PyTuple_Check(part) || Py_SIZE(part) != 2) {
            PyErr_SetString(PyExc_TypeError, "__reduce_ex__(): dict items must be pairs");
            return NULL;
        }
        Py_XSETREF(f->key, Py_NewRef(PyTuple_GET_ITEM(part, 0)));
        return f->key;
    default:
        return PyTuple_GET_ITEM(PyList_GET_ITEM(f->aux, R_ITEM), 1);
    }
}

int
tsm_copy_step_reduce(tsm_copier_t* c, PyObject** copy)
{
    for (;;) {
        tsm_copy_frame_t* f = top(c);
        if (*copy != NULL && reduce_take(c, f, *copy) < 0) {
            return TSM_COPY_FAILED;
        }
        PyObject* part = reduce_next(f);
        if (part == NULL) {
            return PyErr_Occurred() ? TSM_COPY_FAILED : tsm_copy_finish(c, copy);
        }
        int rc = tsm_copy_enter(c, part, f->phase <= PHASE_STATE ? 1 : 2, copy);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
    }
}

/* ---- rebuilt from one part: bound methods, Exit and Down ---- */

static PyObject*
rebuild(PyObject* op, int kind, PyObject* part)
{
    if (kind == TSM_COPY_RECORD) {
        return tsm_record_make(Py_TYPE(op), ((PyTupleObject*)part)->ob_item);
    }
    if (kind == TSM_COPY_METHOD) {
        return PyMethod_New(PyMethod_GET_FUNCTION(op), part);
    }
    PyCFunctionObject* fn = (PyCFunctionObject*)op;
    return PyCMethod_New(fn->m_ml, part, fn->m_module, PyCFunction_GET_CLASS(op));
}

static int
enter_part(tsm_copier_t* c, PyObject* op, int kind, bool unique, PyObject** copy)
{
    int immutable = tsm_copy_is_immutable(op, 0);
    if (immutable != 0) {
        *copy = immutable < 0 ? NULL : Py_NewRef(op);
        return immutable < 0 ? TSM_COPY_FAILED : TSM_COPY_DONE;
    }
    PyObject* part = kind == TSM_COPY_RECORD   ? tsm_record_tuple(op)
                     : kind == TSM_COPY_METHOD ? Py_NewRef(PyMethod_GET_SELF(op))
                                               : Py_NewRef(PyCFunction_GET_SELF(op));
    if (part == NULL) {
        return TSM_COPY_FAILED;
    }
    tsm_copy_frame_t* f = tsm_copy_push(c, TSM_STEP_PART, op, NULL, part, unique);
    if (f == NULL) {
        return TSM_COPY_FAILED;
    }
    f->at = kind;
    return TSM_COPY_PUSHED;
}

int
tsm_copy_step_part(tsm_copier_t* c, PyObject** copy)
{
    tsm_copy_frame_t* f = top(c);
    if (*copy == NULL) {
        int rc = tsm_copy_enter(c, f->aux, 0, copy);
        if (rc != TSM_COPY_DONE) {
            return rc;
        }
        f = top(c);
    }
    bool same = *copy == f->aux;
    f->to = f->unique ? NULL : tsm_memo_get(&c->memo, f->from); /* the way through it may have made it */
    bool made = f->to == NULL;
    if (made) {
        f->to = same ? Py_NewRef(f->from) : rebuild(f->from, (int)f->at, *copy);
    }
    Py_CLEAR(*copy);
    if (f->to == NULL || (made && !same && !f->unique && tsm_memo_put(&c->memo, f->from, f->to) < 0)) {
        return TSM_COPY_FAILED;
    }
    return tsm_copy_finish(c, copy);
}

/* ---- by kind ---- */

int
tsm_copy_enter_object(tsm_copier_t* c, PyObject* op, int kind, bool unique, PyObject** copy)
{
    switch (kind) {
    case TSM_COPY_VALUE:
        *copy = Py_NewRef(op);
        return TSM_COPY_DONE;
    case TSM_COPY_FROZEN: {
        int immutable = tsm_copy_state_is_immutable(op, 0);
        if (immutable != 0) {
            *copy = immutable < 0 ? NULL : Py_NewRef(op);
            return immutable < 0 ? TSM_COPY_FAILED : TSM_COPY_DONE;
        }
        return enter_plain(c, op, unique);
    }
    case TSM_COPY_SCALAR_SUB:
        if (tsm_copy_is_bare(Py_TYPE(op))) {
            *copy = Py_NewRef(op);
            return TSM_COPY_DONE;
        }
        return enter_reduce(c, op, false, unique, copy);
    case TSM_COPY_PLAIN:
        return enter_plain(c, op, unique);
    case TSM_COPY_HOOK:
        return enter_hook(c, op, copy);
    case TSM_COPY_REDUCE:
    case TSM_COPY_ERROR:
        return enter_reduce(c, op, kind == TSM_COPY_ERROR, unique, copy);
    case TSM_COPY_SHARE:
        *copy = Py_NewRef(tsm_share_value(op));
        return TSM_COPY_DONE;
    case TSM_COPY_MOVE:
        *copy = tsm_move_begin(c, op);
        return *copy == NULL ? TSM_COPY_FAILED : TSM_COPY_DONE;
    case TSM_COPY_METHOD:
    case TSM_COPY_BUILTIN:
    case TSM_COPY_RECORD:
        return enter_part(c, op, kind, unique, copy);
    default:
        PyErr_SetString(PyExc_TypeError, "it belongs to the program's threads or to one process");
        return TSM_COPY_FAILED;
    }
}
