/* tsm_copy_wrap.c - share() and move(): parts of a message that are not copied.
 *
 * Both return a wrapper that exists only on the way: the receiver gets what is inside.
 * share hands over the object itself. move hands over the contents: the receiver gets a
 * fresh object that takes them, and the sender's object is left empty. That happens when
 * the whole message has been copied, so a message that fails moves nothing.
 *
 * Rejected: leaving the sender's object as it is and marking it moved (nothing could
 * detect its use); refusing objects with further references (a local variable is one).
 */
#include "bind/tsm_copy.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject* value; /* NULL once moved */
    PyObject* shell; /* Move, while a message is being made: what will take the contents */
} TsmWrap;

static int
wrap_traverse(PyObject* self, visitproc visit, void* arg)
{
    Py_VISIT(((TsmWrap*)self)->value);
    Py_VISIT(((TsmWrap*)self)->shell);
    return 0;
}

static int
wrap_clear(PyObject* self)
{
    Py_CLEAR(((TsmWrap*)self)->value);
    Py_CLEAR(((TsmWrap*)self)->shell);
    return 0;
}

static void
wrap_dealloc(PyObject* self)
{
    PyObject_GC_UnTrack(self);
    (void)wrap_clear(self);
    PyObject_GC_Del(self);
}

static PyObject*
wrap_repr(PyObject* self)
{
    PyObject* value = ((TsmWrap*)self)->value;
    const char* name = Py_IS_TYPE(self, &TsmShare_Type) ? "share" : "move";
    return value == NULL ? PyUnicode_FromFormat("%s(<moved>)", name)
                         : PyUnicode_FromFormat("%s(%R)", name, value);
}

#define WRAP(c_name, py_name, doc_) \
    PyTypeObject c_name = { \
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = py_name, \
        .tp_basicsize = sizeof(TsmWrap), \
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC \
                    | Py_TPFLAGS_DISALLOW_INSTANTIATION, \
        .tp_doc = doc_, \
        .tp_dealloc = wrap_dealloc, \
        .tp_traverse = wrap_traverse, \
        .tp_clear = wrap_clear, \
        .tp_repr = wrap_repr, \
        .tp_methods = wrap_methods, \
    }

/* Inside a __deepcopy__ hook the walk is copy.deepcopy's: the same rule there. */
static PyObject*
wrap_deepcopy(PyObject* self, PyObject* Py_UNUSED(memo))
{
    if (Py_IS_TYPE(self, &TsmShare_Type)) {
        return Py_NewRef(((TsmWrap*)self)->value);
    }
    PyErr_SetString(PyExc_TypeError, "move() works in messages, not inside __deepcopy__");
    return NULL;
}

static PyMethodDef wrap_methods[] = {
    {"__deepcopy__", wrap_deepcopy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

WRAP(TsmShare_Type, "transom._core.Share", "What share() returns.");
WRAP(TsmMove_Type, "transom._core.Move", "What move() returns.");

static PyObject*
wrap(PyTypeObject* type, PyObject* value)
{
    TsmWrap* self = PyObject_GC_New(TsmWrap, type);
    if (self == NULL) {
        return NULL;
    }
    self->value = Py_NewRef(value);
    self->shell = NULL;
    PyObject_GC_Track(self);
    return (PyObject*)self;
}

PyObject*
tsm_share_value(PyObject* share)
{
    return ((TsmWrap*)share)->value;
}

/* ---- numpy arrays ----
 * The fields of numpy's array object (PyArrayObject_fields, part of its ABI), to exchange
 * those of two arrays. move_array() in _copying.py has looked the array over. */
typedef struct {
    PyObject_HEAD
    char* data;
    int nd;
    Py_ssize_t* dimensions;
    Py_ssize_t* strides;
    PyObject* base;
    PyObject* descr;
    int flags;
    PyObject* weakrefs;
    void* buffer_info;
    PyObject* mem_handler;
} array_t;

enum { ARRAY_OWNS = 0x4, ARRAY_WRITEABLE = 0x400 };

#define SWAP(type, a, b) \
    do { \
        type swapped = (a); \
        (a) = (b); \
        (b) = swapped; \
    } while (0)

/* The shell owns the memory from now on. The old object keeps the shell alive, so what
 * still looks at the memory through it (a view, a memoryview) never looks at freed memory. */
static void
array_take(PyObject* from, PyObject* shell)
{
    array_t *a = (array_t*)from, *b = (array_t*)shell;
    SWAP(char*, a->data, b->data);
    SWAP(int, a->nd, b->nd);
    SWAP(Py_ssize_t*, a->dimensions, b->dimensions);
    SWAP(Py_ssize_t*, a->strides, b->strides);
    SWAP(PyObject*, a->descr, b->descr);
    SWAP(int, a->flags, b->flags);
    SWAP(PyObject*, a->mem_handler, b->mem_handler);
    a->flags &= ~ARRAY_WRITEABLE;
    a->base = Py_NewRef(shell);
}

static PyObject*
array_shell(PyObject* from)
{
    PyObject* shell = PyObject_CallOneArg(tsm_bind.move_array, from);
    if (shell == NULL) {
        return NULL;
    }
    array_t *a = (array_t*)from, *b = (array_t*)shell;
    if (!Py_IS_TYPE(from, Py_TYPE(shell)) || Py_TYPE(from)->tp_basicsize < (Py_ssize_t)sizeof(array_t)
        || b->nd != 1 || b->dimensions[0] != 0 || b->base != NULL || (b->flags & ARRAY_OWNS) == 0
        || a->base != NULL || (a->flags & ARRAY_OWNS) == 0) {
        PyErr_SetString(PyExc_TypeError, "move(): arrays of this numpy are laid out otherwise; "
                                         "send a copy");
        Py_CLEAR(shell);
    }
    return shell;
}

/* ---- the rest ---- */

static int
check_exports(PyObject* value)
{
    if (((PyByteArrayObject*)value)->ob_exports > 0) {
        PyErr_SetString(PyExc_BufferError, "move(): the bytearray is in use by a memoryview");
        return -1;
    }
    return 0;
}

static bool
is_array(PyObject* value)
{
    const char* name = Py_TYPE(value)->tp_name;
    return strcmp(name, "numpy.ndarray") == 0;
}

static PyObject*
make_shell(PyObject* value)
{
    if (PyList_CheckExact(value)) {
        return PyList_New(0);
    }
    if (PyDict_CheckExact(value)) {
        return PyDict_New();
    }
    if (PySet_CheckExact(value)) {
        return PySet_New(NULL);
    }
    if (PyByteArray_CheckExact(value)) {
        return check_exports(value) < 0 ? NULL : PyByteArray_FromStringAndSize(NULL, 0);
    }
    return array_shell(value);
}

/* Lists are sliced and cleared, which copies pointers, not items. */
static int
take_contents(PyObject* value, PyObject* shell)
{
    int rc = 0;
    if (PyList_CheckExact(value)) {
        rc = PyList_SetSlice(shell, 0, 0, value);
    } else if (PyDict_CheckExact(value)) {
        rc = PyDict_Update(shell, value);
    } else if (PySet_CheckExact(value)) {
        PyObject* done = PyObject_CallMethod(shell, "update", "O", value);
        Py_XDECREF(done);
        rc = done == NULL ? -1 : 0;
    } else if (PyByteArray_CheckExact(value)) {
        rc = check_exports(value);
    }
    return rc;
}

/* Cannot fail. */
static void
leave_empty(PyObject* value, PyObject* shell)
{
    if (PyList_CheckExact(value)) {
        (void)PyList_SetSlice(value, 0, PY_SSIZE_T_MAX, NULL);
    } else if (PyDict_CheckExact(value)) {
        PyDict_Clear(value);
    } else if (PySet_CheckExact(value)) {
        (void)PySet_Clear(value);
    } else if (PyByteArray_CheckExact(value)) {
        PyByteArrayObject *a = (PyByteArrayObject*)value, *b = (PyByteArrayObject*)shell;
        SWAP(Py_ssize_t, ((PyVarObject*)a)->ob_size, ((PyVarObject*)b)->ob_size);
        SWAP(Py_ssize_t, a->ob_alloc, b->ob_alloc);
        SWAP(char*, a->ob_bytes, b->ob_bytes);
        SWAP(char*, a->ob_start, b->ob_start);
    } else {
        array_take(value, shell);
    }
}

/* Two threads may send one mark: only the first of them gets it. */
static int
claim(TsmWrap* self, PyObject* shell)
{
    bool mine = false;
    Py_BEGIN_CRITICAL_SECTION(self);
    if (self->value != NULL && self->shell == NULL) {
        self->shell = Py_NewRef(shell);
        mine = true;
    }
    Py_END_CRITICAL_SECTION();
    if (!mine) {
        PyErr_SetString(PyExc_ValueError, "move(): it has been moved already");
    }
    return mine ? 0 : -1;
}

static PyObject*
value_of(TsmWrap* self)
{
    PyObject* value;
    Py_BEGIN_CRITICAL_SECTION(self);
    value = Py_XNewRef(self->value);
    Py_END_CRITICAL_SECTION();
    if (value == NULL) {
        PyErr_SetString(PyExc_ValueError, "move(): it has been moved already");
    }
    return value;
}

PyObject*
tsm_move_begin(tsm_copier_t* c, PyObject* move)
{
    PyObject* value = value_of((TsmWrap*)move);
    if (value == NULL) {
        return NULL;
    }
    PyObject* shell = tsm_memo_get(&c->memo, value); /* copied or moved in this message before */
    if (shell == NULL && (shell = make_shell(value)) != NULL) {
        if ((c->moves == NULL && (c->moves = PyList_New(0)) == NULL)
            || tsm_memo_put(&c->memo, value, shell) < 0
            || claim((TsmWrap*)move, shell) < 0) {
            Py_CLEAR(shell);
        } else if (PyList_Append(c->moves, move) < 0) {
            Py_CLEAR(((TsmWrap*)move)->shell);
            Py_CLEAR(shell);
        }
    }
    Py_DECREF(value);
    return shell;
}

int
tsm_moves_commit(PyObject* moves)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(moves); i++) {
        TsmWrap* self = (TsmWrap*)PyList_GET_ITEM(moves, i);
        if (take_contents(self->value, self->shell) < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(moves); i++) {
        TsmWrap* self = (TsmWrap*)PyList_GET_ITEM(moves, i);
        leave_empty(self->value, self->shell);
        Py_CLEAR(self->value);
    }
    return 0;
}

void
tsm_moves_abandon(PyObject* moves)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(moves); i++) {
        Py_CLEAR(((TsmWrap*)PyList_GET_ITEM(moves, i))->shell);
    }
}

/* ---- the functions ---- */

PyDoc_STRVAR(share_doc, "share(value, /)\n--\n\n"
"Mark a part of a message to go by reference: you vouch that sharing it is safe.\n\n"
"For what cannot be copied (a lock, a connection pool), and for large data that nobody\n"
"changes any more. Sender and receiver then hold the same object, and its races are yours.\n\n"
"Args:\n"
"    value: Any object. The mark may stand anywhere inside a message, an argument of spawn,\n"
"        an exit reason or a reply; the receiver gets value itself, without the mark.\n\n"
"Returns:\n    The mark; typed as value, for that is what arrives.\n\n"
"Callable from any thread; does not block.\n\n"
"Example:\n"
"    >>> import threading, transom\n"
"    >>> lock = threading.Lock()\n"
"    >>> async def main():\n"
"    ...     transom.send(transom.current_pid(), {\"lock\": transom.share(lock)})\n"
"    ...     return (await transom.receive())[\"lock\"] is lock\n"
"    >>> transom.run(main)\n"
"    True\n\n"
"Source: none in OTP, where only literals and large binaries are shared.");

static PyObject*
py_share(PyObject* Py_UNUSED(m), PyObject* value)
{
    return Py_IS_TYPE(value, &TsmShare_Type) ? Py_NewRef(value) : wrap(&TsmShare_Type, value);
}

PyDoc_STRVAR(move_doc, "move(value, /)\n--\n\n"
"Mark a part of a message to change hands without a copy: the receiver gets the contents in\n"
"a fresh object, and yours is left empty.\n\n"
"That happens when the message is sent; one that cannot be sent moves nothing. Of a list,\n"
"dict or set the items go by reference, so keep no reference to mutable ones. A numpy array\n"
"must own its memory; afterwards yours has no elements and cannot be written, while views\n"
"made of it before still see the memory: drop them.\n\n"
"Args:\n"
"    value: A bytearray, list, dict, set or numpy array (exactly: no subclass), anywhere\n"
"        inside a message. A mark is good for one message.\n\n"
"Returns:\n    The mark; typed as value, for that is what arrives.\n\n"
"Raises:\n"
"    TypeError: value is of another type, or a view of another array.\n"
"    BufferError: The bytearray is in use by a memoryview (also raised when sending).\n\n"
"Callable from any thread; does not block.\n\n"
"Example:\n"
"    >>> import transom\n"
"    >>> frame = bytearray(b\"pixels\")\n"
"    >>> async def main():\n"
"    ...     transom.send(transom.current_pid(), transom.move(frame))\n"
"    ...     return await transom.receive(), frame\n"
"    >>> transom.run(main)\n"
"    (bytearray(b'pixels'), bytearray(b''))\n\n"
"Source: none in OTP, whose large binaries are shared and immutable.");

static PyObject*
py_move(PyObject* Py_UNUSED(m), PyObject* value)
{
    bool known = PyList_CheckExact(value) || PyDict_CheckExact(value) || PySet_CheckExact(value)
                 || PyByteArray_CheckExact(value) || is_array(value);
    if (!known) {
        PyErr_Format(PyExc_TypeError, "move() takes a bytearray, list, dict, set or numpy array, "
                     "not %.200s; send it as it is, then it is copied", Py_TYPE(value)->tp_name);
        return NULL;
    }
    PyObject* shell = make_shell(value); /* so that what cannot be moved is known here */
    if (shell == NULL) {
        return NULL;
    }
    Py_DECREF(shell);
    return wrap(&TsmMove_Type, value);
}

PyMethodDef tsm_copy_methods[] = {
    {"share", py_share, METH_O, share_doc},
    {"move", py_move, METH_O, move_doc},
    {NULL, NULL, 0, NULL},
};
