/* tsm_counters.c - arrays of 64-bit integers that all processes change: atomics, counters.
 *
 * What it is      One block of C memory per array, shared by handles (a copy of a handle is
 *                 another handle of the same array). Arithmetic wraps around.
 *                 Split counters have a line of their own for each of some groups of
 *                 threads: an addition touches the caller's, reading adds all up, and so may
 *                 miss additions under way.
 * Memory ordering All operations of an array of atomics are sc, as OTP's; split counters are
 *                 relaxed.
 * Source          OTP atomics(3), counters(3)
 */
#include "bind/tsm_table.h"
#include "proc/tsm_det.h"

#include <stdlib.h>

enum { SPLITS = 16, LINE = 8 };

typedef struct {
    uint64_t a_refs;
    uint64_t size;   /* elements */
    uint64_t stride; /* words from one split to the next; 0: not split */
    bool is_signed;
    uint64_t a_words[];
} array_t;

typedef struct {
    PyObject_HEAD
    array_t* array;
} Array;

static PyTypeObject Array_Type;
static uint32_t a_threads;
static uint32_t a_arrays; /* that live */
static _Thread_local uint32_t my_split __attribute__((tls_model("initial-exec"))); /* + 1 */

static PyObject*
handle_of(array_t* a)
{
    Array* self = PyObject_New(Array, &Array_Type);
    if (self != NULL) {
        (void)tsm_add_relaxed(&a->a_refs, 1); /* relaxed: the caller has one. */
        self->array = a;
    }
    return (PyObject*)self;
}

static void
release(array_t* a)
{
    if (tsm_sub_acq_rel(&a->a_refs, 1) == 1) { /* acq_rel: the last one frees. */
        free(a);
        (void)tsm_sub_relaxed(&a_arrays, 1); /* relaxed: a count. */
    }
}

bool
tsm_counters_used(void)
{
    return tsm_load_relaxed(&a_arrays) != 0; /* relaxed: looked at between nodes. */
}

/* _array(size, signed, split) */
static PyObject*
array_new(PyObject* Py_UNUSED(m), PyObject* args)
{
    Py_ssize_t size;
    int is_signed, split;
    if (!PyArg_ParseTuple(args, "npp:_array", &size, &is_signed, &split)) {
        return NULL;
    }
    if (size < 1 || size > 1 << 28) {
        return PyErr_Format(PyExc_ValueError, "the size must be between 1 and 2**28, not %zd", size);
    }
    size_t stride = split ? ((size_t)size + LINE - 1) / LINE * LINE + LINE : 0;
    size_t words = split ? stride * SPLITS : (size_t)size;
    array_t* a = calloc(1, sizeof(*a) + words * sizeof(uint64_t));
    if (a == NULL) {
        return PyErr_NoMemory();
    }
    (void)tsm_add_relaxed(&a_arrays, 1); /* relaxed: a count. */
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_share_any();
    }
    a->a_refs = 1;
    a->size = (uint64_t)size;
    a->stride = stride;
    a->is_signed = is_signed != 0;
    PyObject* handle = handle_of(a);
    release(a);
    return handle;
}

static PyObject*
number(const array_t* a, uint64_t word)
{
    return a->is_signed ? PyLong_FromLongLong((long long)word) : PyLong_FromUnsignedLongLong(word);
}

/* Any int; its lowest 64 bits. */
static int
as_word(PyObject* op, uint64_t* word)
{
    if (!PyLong_Check(op)) {
        PyErr_Format(PyExc_TypeError, "an int is needed, not %.200s", Py_TYPE(op)->tp_name);
        return -1;
    }
    *word = PyLong_AsUnsignedLongLongMask(op);
    return *word == UINT64_MAX && PyErr_Occurred() ? -1 : 0;
}

/* args: index, then ints. */
static uint64_t*
parse(PyObject* self, PyObject* const* args, Py_ssize_t n, Py_ssize_t want, const char* what, uint64_t* words)
{
    array_t* a = ((Array*)self)->array;
    if (n != want) {
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments (%zd given)", what, want, n);
        return NULL;
    }
    Py_ssize_t i = PyLong_Check(args[0]) ? PyLong_AsSsize_t(args[0]) : -1;
    if (i < 0 || (uint64_t)i >= a->size) {
        PyErr_Clear();
        PyErr_Format(PyLong_Check(args[0]) ? PyExc_IndexError : PyExc_TypeError,
                     "%s: the index must be an int from 0 to %llu, not %R", what, (unsigned long long)a->size - 1, args[0]);
        return NULL;
    }
    for (Py_ssize_t k = 1; k < n; k++) {
        if (as_word(args[k], &words[k - 1]) < 0) {
            return NULL;
        }
    }
    return &a->a_words[i];
}

static uint64_t
split_offset(const array_t* a)
{
    if (TSM_UNLIKELY(my_split == 0)) {
        my_split = 1 + tsm_add_relaxed(&a_threads, 1) % SPLITS; /* relaxed: only spreads threads. */
    }
    return (my_split - 1) * a->stride;
}

static uint64_t
read_word(const array_t* a, uint64_t* word)
{
    uint64_t sum = 0;
    if (a->stride == 0) {
        return tsm_load_sc(word); /* sc: see Memory ordering. */
    }
    for (uint64_t i = 0; i < SPLITS; i++) {
        sum += tsm_load_relaxed(word + i * a->stride); /* relaxed: split counters. */
    }
    return sum;
}

static PyObject*
array_get(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    uint64_t* word = parse(self, args, n, 1, "get()", NULL);
    return word == NULL ? NULL : number(((Array*)self)->array, read_word(((Array*)self)->array, word));
}

static PyObject*
array_put(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    uint64_t value;
    const array_t* a = ((Array*)self)->array;
    uint64_t* word = parse(self, args, n, 2, "put()", &value);
    if (word == NULL) {
        return NULL;
    }
    for (uint64_t i = 1; a->stride != 0 && i < SPLITS; i++) {
        tsm_store_relaxed(word + i * a->stride, 0); /* relaxed: split counters. */
    }
    tsm_store_sc(word, value); /* sc: see Memory ordering. */
    Py_RETURN_NONE;
}

static PyObject*
array_add(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    uint64_t by;
    const array_t* a = ((Array*)self)->array;
    uint64_t* word = parse(self, args, n, 2, "add()", &by);
    if (word == NULL) {
        return NULL;
    }
    if (a->stride != 0) {
        (void)tsm_add_relaxed(word + split_offset(a), by); /* relaxed: split counters. */
    } else {
        (void)tsm_add_sc(word, by); /* sc: see Memory ordering. */
    }
    Py_RETURN_NONE;
}

static PyObject*
array_add_get(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    uint64_t by;
    uint64_t* word = parse(self, args, n, 2, "add_get()", &by);
    return word == NULL ? NULL : number(((Array*)self)->array, tsm_add_sc(word, by) + by); /* sc: see above. */
}

static PyObject*
array_exchange(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    uint64_t value;
    uint64_t* word = parse(self, args, n, 2, "exchange()", &value);
    return word == NULL ? NULL : number(((Array*)self)->array, tsm_swap_sc(word, value)); /* sc: see above. */
}

static PyObject*
array_compare_exchange(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    uint64_t values[2];
    uint64_t* word = parse(self, args, n, 3, "compare_exchange()", values);
    if (word == NULL) {
        return NULL;
    }
    if (tsm_cas_sc(word, &values[0], values[1])) { /* sc: see above. */
        Py_RETURN_NONE;
    }
    return number(((Array*)self)->array, values[0]);
}

static PyObject*
array_size(PyObject* self, PyObject* Py_UNUSED(none))
{
    return PyLong_FromUnsignedLongLong(((Array*)self)->array->size);
}

static PyObject*
array_copy(PyObject* self, PyObject* Py_UNUSED(memo))
{
    return handle_of(((Array*)self)->array);
}

static void
array_dealloc(PyObject* self)
{
    release(((Array*)self)->array);
    PyObject_Free(self);
}

#define FAST(fn) (PyCFunction)(void (*)(void))fn, METH_FASTCALL

static PyMethodDef array_methods[] = {
    {"get", FAST(array_get), NULL},
    {"put", FAST(array_put), NULL},
    {"add", FAST(array_add), NULL},
    {"add_get", FAST(array_add_get), NULL},
    {"exchange", FAST(array_exchange), NULL},
    {"compare_exchange", FAST(array_compare_exchange), NULL},
    {"size", array_size, METH_NOARGS, NULL},
    {"__copy__", array_copy, METH_NOARGS, NULL},
    {"__deepcopy__", array_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Array_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Array",
    .tp_basicsize = sizeof(Array),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "A handle of an array of 64-bit integers; see transom.counters.",
    .tp_dealloc = array_dealloc,
    .tp_methods = array_methods,
};

static PyMethodDef functions[] = {
    {"_array", array_new, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
tsm_counters_init(PyObject* module)
{
    if (PyType_Ready(&Array_Type) < 0 || PyModule_AddObjectRef(module, "_Array", (PyObject*)&Array_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
