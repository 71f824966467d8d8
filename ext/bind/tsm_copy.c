/* tsm_copy.c - isolation: what goes into a message leaves the sender's reach.
 *
 * Deeply immutable values go by reference; everything else is copied, once per message:
 * cycles and shared parts stay what they are. What cannot be copied is a TypeError at the
 * sender that names the way to it, and nothing is sent. The parts are listed in tsm_copy.h.
 */
#include "bind/tsm_copy.h"

#define IMMUTABLE_DEPTH 32 /* deeper values are walked, which is right as well */

static int compound_is_immutable(PyObject* op, int depth);

static int
are_immutable(PyObject* const* items, Py_ssize_t n, int depth)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!tsm_copy_is_leaf(items[i])) {
            int rc = compound_is_immutable(items[i], depth);
            if (rc <= 0) {
                return rc;
            }
        }
    }
    return 1;
}

static int
set_is_immutable(PyObject* set, int depth)
{
    PyObject* iter = PyObject_GetIter(set);
    PyObject* item = NULL;
    int rc = iter == NULL ? -1 : 1;
    while (rc > 0 && (item = PyIter_Next(iter)) != NULL) {
        rc = tsm_copy_is_immutable(item, depth);
        Py_DECREF(item);
    }
    Py_XDECREF(iter);
    return rc > 0 && PyErr_Occurred() ? -1 : rc;
}

static int
part_is_immutable(PyObject* op, int kind, int depth)
{
    if (kind == TSM_COPY_RECORD) {
        PyObject* fields = tsm_record_tuple(op);
        int rc = fields == NULL ? -1 : tsm_copy_is_immutable(fields, depth);
        Py_XDECREF(fields);
        return rc;
    }
    if (kind == TSM_COPY_METHOD) {
        return tsm_copy_is_immutable(PyMethod_GET_SELF(op), depth);
    }
    PyObject* self = PyCFunction_GET_SELF(op);
    /* A module's function; the capsule is what binding generators keep their code in. */
    if (self == NULL || PyModule_Check(self) || PyCapsule_CheckExact(self)) {
        return 1;
    }
    return tsm_copy_is_immutable(self, depth);
}

static __attribute__((noinline)) int
instance_is_immutable(PyObject* op, int depth)
{
    int kind = tsm_copy_kind(Py_TYPE(op));
    switch (kind) {
    case -1:
        return -1;
    case TSM_COPY_VALUE:
        return 1;
    case TSM_COPY_FROZEN:
        return depth < IMMUTABLE_DEPTH ? tsm_copy_state_is_immutable(op, depth + 1) : 0;
    case TSM_COPY_SCALAR_SUB:
        return tsm_copy_is_bare(Py_TYPE(op));
    case TSM_COPY_TUPLE_SUB:
        if (depth >= IMMUTABLE_DEPTH || !tsm_copy_is_bare(Py_TYPE(op))) {
            return 0;
        }
        return are_immutable(((PyTupleObject*)op)->ob_item, Py_SIZE(op), depth + 1);
    case TSM_COPY_FROZENSET:
        return depth < IMMUTABLE_DEPTH ? set_is_immutable(op, depth + 1) : 0;
    case TSM_COPY_RECORD:
    case TSM_COPY_METHOD:
    case TSM_COPY_BUILTIN:
        return depth < IMMUTABLE_DEPTH ? part_is_immutable(op, kind, depth + 1) : 0;
    default:
        return 0;
    }
}

static int
compound_is_immutable(PyObject* op, int depth)
{
    PyTypeObject* type = Py_TYPE(op);
    if (type == &PyTuple_Type) {
        if (depth >= IMMUTABLE_DEPTH) {
            return Py_SIZE(op) == 0;
        }
        return are_immutable(((PyTupleObject*)op)->ob_item, Py_SIZE(op), depth + 1);
    }
    if (type == &PyDict_Type || type == &PyList_Type) {
        return 0;
    }
    return instance_is_immutable(op, depth);
}

int
tsm_copy_is_immutable(PyObject* op, int depth)
{
    return tsm_copy_is_leaf(op) ? 1 : compound_is_immutable(op, depth);
}

/* ---- entry points ---- */

/* A large copy counts as work: the sender's slice ends the sooner. */
static void
charge(Py_ssize_t nodes)
{
    enum { NODES_PER_REDUCTION = 16 };
    tsm_worker_t* w = tsm_self;
    if (nodes >= NODES_PER_REDUCTION && w != NULL && tsm_worker_proc(w) != NULL) {
        Py_ssize_t reds = nodes / NODES_PER_REDUCTION;
        tsm_charge(w, reds < TSM_BUDGET_REDS ? (int32_t)reds : TSM_BUDGET_REDS);
    }
}

static void
copier_init(tsm_copier_t* c)
{
    *c = (tsm_copier_t){.frames = NULL};
    tsm_memo_init(&c->memo);
}

static void
copier_clear(tsm_copier_t* c)
{
    PyObject* exc = PyErr_GetRaisedException(); /* what is dropped may run user code */
    while (c->depth > 0) {
        tsm_copy_pop(c);
    }
    PyMem_Free(c->frames);
    tsm_memo_clear(&c->memo);
    if (c->moves != NULL) {
        tsm_moves_abandon(c->moves);
        Py_DECREF(c->moves);
    }
    Py_XDECREF(c->culprit);
    PyErr_SetRaisedException(exc);
}

static int
commit(tsm_copier_t* c)
{
    if (c->moves != NULL && tsm_moves_commit(c->moves) < 0) {
        return -1;
    }
    charge(c->nodes);
    return 0;
}

/* Out of line, each: what goes by reference needs none of its registers and stack. */
static __attribute__((noinline)) PyObject*
copy_mutable(PyObject* value, const char* word)
{
    tsm_copier_t c;
    copier_init(&c);
    PyObject* copy = tsm_copy_walk(&c, value);
    if (copy == NULL) {
        tsm_copy_explain(&c, (tsm_copy_root_t){.word = word, .index = -1});
    } else if (commit(&c) < 0) {
        Py_CLEAR(copy);
    }
    copier_clear(&c);
    return copy;
}

static __attribute__((noinline)) PyObject*
copy_compound(PyObject* value, const char* word)
{
    int immutable = compound_is_immutable(value, 0);
    if (TSM_LIKELY(immutable > 0)) {
        return Py_NewRef(value);
    }
    return immutable < 0 ? NULL : copy_mutable(value, word);
}

PyObject*
tsm_copy(PyObject* value, const char* word)
{
    return TSM_LIKELY(tsm_copy_is_leaf(value)) ? Py_NewRef(value) : copy_compound(value, word);
}

static tsm_copy_root_t
root_of(Py_ssize_t i, Py_ssize_t positional, PyObject* kwnames)
{
    if (i < positional) {
        return (tsm_copy_root_t){.word = "args", .index = i};
    }
    PyObject* name = PyTuple_GET_ITEM(kwnames, i - positional);
    return (tsm_copy_root_t){.word = "kwargs", .index = -1, .name = name};
}

/* One memo for all arguments: what two of them share, their copies share. */
int
tsm_copy_args(PyObject** to, PyObject* const* from, Py_ssize_t n, PyObject* kwnames)
{
    Py_ssize_t positional = n - (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    int immutable = are_immutable(from, n, 0);
    if (immutable < 0) {
        return -1;
    }
    if (TSM_LIKELY(immutable > 0)) {
        for (Py_ssize_t i = 0; i < n; i++) {
            to[i] = Py_NewRef(from[i]);
        }
        return 0;
    }
    tsm_copier_t c;
    copier_init(&c);
    Py_ssize_t done = 0;
    while (done < n && (to[done] = tsm_copy_walk(&c, from[done])) != NULL) {
        done++;
    }
    int rc = 0;
    if (done < n) {
        tsm_copy_explain(&c, root_of(done, positional, kwnames));
        rc = -1;
    } else {
        rc = commit(&c);
    }
    copier_clear(&c);
    if (rc < 0) {
        PyObject* exc = PyErr_GetRaisedException();
        while (done-- > 0) {
            Py_DECREF(to[done]);
        }
        PyErr_SetRaisedException(exc);
    }
    return rc;
}

PyObject*
tsm_reason(PyObject* value)
{
    if (PyUnicode_CheckExact(value)) {
        PyObject* words[] = {tsm_bind.s_normal, tsm_bind.s_kill, tsm_bind.s_killed,
                             tsm_bind.s_noproc, tsm_bind.s_noconnection, tsm_bind.s_shutdown};
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (value == words[i] || PyUnicode_Compare(value, words[i]) == 0) {
                return Py_NewRef(words[i]);
            }
        }
    }
    return tsm_copy(value, "reason");
}
