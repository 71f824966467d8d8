/* tsm_data.c - plain data as bytes, for replies of OS processes that may be hostile.
 *
 * What it is      _data_encode(value, default) and _data_decode(bytes, hook): None, bool, int, float,
 *                 complex, str, bytes, bytearray, list, tuple, dict, set and frozenset, of exactly
 *                 these types. Anything else goes through `default`, which gives (tag, payload);
 *                 reading such a pair calls hook(tag, payload).
 * Format          one tag byte, then: nothing (N T F), 8 bytes (i f), 16 (c), or a count of 8 bytes and
 *                 that many bytes (I s b a) or items (l t S Z; d: twice as many); x: two items.
 *                 Little endian. No references back: a value that is met twice is written twice.
 * Invariants      The reader runs no code but `hook`. It believes no count: each item takes a byte at
 *                 least, so a count above what is left is an error, and memory is bounded by a
 *                 constant times the input. Depth is bounded by DEPTH.
 * Rejected        pickle (its reader calls what the writer names; restricted to no names it still
 *                 grows its memo to any index it reads), marshal (crashes on bad input), JSON (no
 *                 bytes, tuples, or keys but str). Decision 0016.
 * Where tested    tests/unit/test_data.py: round trips, every cut and flipped byte
 */
#include "bind/tsm_bind.h"

#define DEPTH 200

/* ---- writing ---- */

typedef struct {
    PyObject* out; /* bytes, longer than used */
    Py_ssize_t used;
    PyObject* other; /* the callable `default` */
} writer_t;

static bool encode(writer_t* w, PyObject* value, int depth);

static bool
put(writer_t* w, char tag, const void* data, size_t size)
{
    Py_ssize_t need = w->used + 1 + (Py_ssize_t)size;
    if (need > PyBytes_GET_SIZE(w->out) && _PyBytes_Resize(&w->out, need + need / 2 + 64) < 0) {
        return false; /* out is NULL now */
    }
    char* at = PyBytes_AS_STRING(w->out) + w->used;
    at[0] = tag;
    if (size != 0) {
        memcpy(at + 1, data, size);
    }
    w->used = need;
    return true;
}

static bool
put_count(writer_t* w, char tag, Py_ssize_t count)
{
    uint64_t n = (uint64_t)count;
    return put(w, tag, &n, sizeof(n));
}

static bool
put_bytes(writer_t* w, char tag, const char* data, Py_ssize_t size)
{
    if (!put_count(w, tag, size)) {
        return false;
    }
    if (size == 0) {
        return true;
    }
    /* The first byte takes the place of a tag. */
    return put(w, data[0], data + 1, (size_t)size - 1);
}

static bool
put_int(writer_t* w, PyObject* value)
{
    int overflow = 0;
    int64_t small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        return !(small == -1 && PyErr_Occurred()) && put(w, 'i', &small, sizeof(small));
    }
    Py_ssize_t size = PyLong_AsNativeBytes(value, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
    char* digits = size < 0 ? NULL : PyMem_Malloc((size_t)size);
    if (digits == NULL) {
        return size < 0 ? false : (PyErr_NoMemory(), false);
    }
    bool ok = PyLong_AsNativeBytes(value, digits, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN) >= 0
        && put_bytes(w, 'I', digits, size);
    PyMem_Free(digits);
    return ok;
}

static bool
put_text(writer_t* w, PyObject* value)
{
    PyObject* text = PyUnicode_AsEncodedString(value, "utf-8", "surrogatepass");
    bool ok = text != NULL && put_bytes(w, 's', PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text));
    Py_XDECREF(text);
    return ok;
}

/* A bytearray may change its size under our hands: write a copy. */
static bool
put_bytearray(writer_t* w, PyObject* value)
{
    PyObject* copy = PyBytes_FromObject(value);
    bool ok = copy != NULL && put_bytes(w, 'a', PyBytes_AS_STRING(copy), PyBytes_GET_SIZE(copy));
    Py_XDECREF(copy);
    return ok;
}

/* Takes items, a list or tuple nobody else changes, or NULL. */
static bool
put_items(writer_t* w, char tag, PyObject* items, int depth)
{
    bool ok = items != NULL && put_count(w, tag, PySequence_Fast_GET_SIZE(items));
    for (Py_ssize_t i = 0; ok && i < PySequence_Fast_GET_SIZE(items); i++) {
        PyObject* item = PySequence_Fast_GET_ITEM(items, i);
        if (tag == 'd') {
            ok = encode(w, PyTuple_GET_ITEM(item, 0), depth) && encode(w, PyTuple_GET_ITEM(item, 1), depth);
        } else {
            ok = encode(w, item, depth);
        }
    }
    Py_XDECREF(items);
    return ok;
}

static bool
put_other(writer_t* w, PyObject* value, int depth)
{
    PyObject* pair = PyObject_CallOneArg(w->other, value);
    if (pair == NULL) {
        return false;
    }
    bool ok = PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2;
    if (!ok) {
        PyErr_SetString(PyExc_TypeError, "default() gives (tag, payload)");
    }
    ok = ok && put(w, 'x', NULL, 0) && encode(w, PyTuple_GET_ITEM(pair, 0), depth)
        && encode(w, PyTuple_GET_ITEM(pair, 1), depth);
    Py_DECREF(pair);
    return ok;
}

static bool
put_number(writer_t* w, PyObject* value)
{
    if (PyLong_CheckExact(value)) {
        return put_int(w, value);
    }
    if (PyFloat_CheckExact(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        return put(w, 'f', &number, sizeof(number));
    }
    double parts[2] = {PyComplex_RealAsDouble(value), PyComplex_ImagAsDouble(value)};
    return put(w, 'c', parts, sizeof(parts));
}

static bool
encode(writer_t* w, PyObject* value, int depth)
{
    if (depth > DEPTH) {
        PyErr_Format(PyExc_ValueError, "data is nested deeper than %d levels, or contains itself", DEPTH);
        return false;
    }
    if (value == Py_None || value == Py_True || value == Py_False) {
        return put(w, value == Py_None ? 'N' : value == Py_True ? 'T' : 'F', NULL, 0);
    }
    if (PyLong_CheckExact(value) || PyFloat_CheckExact(value) || PyComplex_CheckExact(value)) {
        return put_number(w, value);
    }
    if (PyUnicode_CheckExact(value)) {
        return put_text(w, value);
    }
    if (PyBytes_CheckExact(value)) {
        return put_bytes(w, 'b', PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    }
    if (PyByteArray_CheckExact(value)) {
        return put_bytearray(w, value);
    }
    if (PyTuple_CheckExact(value)) {
        return put_items(w, 't', Py_NewRef(value), depth + 1);
    }
    if (PyList_CheckExact(value)) {
        return put_items(w, 'l', PyList_AsTuple(value), depth + 1);
    }
    if (PyDict_CheckExact(value)) {
        return put_items(w, 'd', PyDict_Items(value), depth + 1);
    }
    if (PySet_CheckExact(value)) {
        return put_items(w, 'S', PySequence_List(value), depth + 1);
    }
    if (PyFrozenSet_CheckExact(value)) {
        return put_items(w, 'Z', PySequence_List(value), depth + 1);
    }
    return put_other(w, value, depth + 1);
}

static PyObject*
py_encode(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "_data_encode() takes a value and a function");
    }
    writer_t w = {PyBytes_FromStringAndSize(NULL, 64), 0, args[1]};
    if (w.out == NULL) {
        return NULL;
    }
    if (!encode(&w, args[0], 0)) {
        Py_XDECREF(w.out);
        return NULL;
    }
    return _PyBytes_Resize(&w.out, w.used) < 0 ? NULL : w.out;
}

/* ---- reading ---- */

typedef struct {
    const char* at;
    const char* end;
    PyObject* hook;
} reader_t;

static PyObject* decode(reader_t* r, int depth);

static PyObject*
bad(const char* why)
{
    PyErr_Format(PyExc_ValueError, "bad data: %s", why);
    return NULL;
}

/* size bytes, or NULL with an exception. */
static const char*
take(reader_t* r, uint64_t size)
{
    if (size > (uint64_t)(r->end - r->at)) {
        bad("it ends too soon");
        return NULL;
    }
    const char* at = r->at;
    r->at += size;
    return at;
}

/* A count that what is left can hold; -1 with an exception. */
static Py_ssize_t
take_count(reader_t* r, int each)
{
    uint64_t n = 0;
    const char* at = take(r, sizeof(n));
    if (at == NULL) {
        return -1;
    }
    memcpy(&n, at, sizeof(n));
    if (n > (uint64_t)(r->end - r->at) / (uint64_t)each) {
        bad("a count is larger than what follows");
        return -1;
    }
    return (Py_ssize_t)n;
}

static PyObject*
take_number(reader_t* r, char tag)
{
    double parts[2] = {0.0, 0.0};
    int64_t whole = 0;
    size_t size = tag == 'c' ? sizeof(parts) : 8;
    const char* at = take(r, size);
    if (at == NULL) {
        return NULL;
    }
    if (tag == 'i') {
        memcpy(&whole, at, size);
        return PyLong_FromLongLong(whole);
    }
    memcpy(parts, at, size);
    return tag == 'f' ? PyFloat_FromDouble(parts[0]) : PyComplex_FromDoubles(parts[0], parts[1]);
}

static PyObject*
take_bytes(reader_t* r, char tag)
{
    Py_ssize_t n = take_count(r, 1);
    const char* at = n < 0 ? NULL : take(r, (uint64_t)n);
    if (at == NULL) {
        return NULL;
    }
    switch (tag) {
    case 's':
        return PyUnicode_DecodeUTF8(at, n, "surrogatepass");
    case 'b':
        return PyBytes_FromStringAndSize(at, n);
    case 'a':
        return PyByteArray_FromStringAndSize(at, n);
    default:
        return PyLong_FromNativeBytes(at, (size_t)n, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
    }
}

/* A tuple or list is shown to nobody before it is full. */
static PyObject*
take_sequence(reader_t* r, char tag, int depth)
{
    Py_ssize_t n = take_count(r, 1);
    PyObject* all = n < 0 ? NULL : tag == 't' ? PyTuple_New(n) : PyList_New(n);
    for (Py_ssize_t i = 0; all != NULL && i < n; i++) {
        PyObject* item = decode(r, depth);
        if (item == NULL) {
            Py_CLEAR(all);
        } else if (tag == 't') {
            PyTuple_SET_ITEM(all, i, item);
        } else {
            PyList_SET_ITEM(all, i, item);
        }
    }
    return all;
}

static PyObject*
take_set(reader_t* r, char tag, int depth)
{
    Py_ssize_t n = take_count(r, 1);
    PyObject* all = n < 0 ? NULL : tag == 'S' ? PySet_New(NULL) : PyFrozenSet_New(NULL);
    for (Py_ssize_t i = 0; all != NULL && i < n; i++) {
        PyObject* item = decode(r, depth);
        if (item == NULL || PySet_Add(all, item) < 0) {
            Py_CLEAR(all);
        }
        Py_XDECREF(item);
    }
    return all;
}

static PyObject*
take_dict(reader_t* r, int depth)
{
    Py_ssize_t n = take_count(r, 2);
    PyObject* all = n < 0 ? NULL : PyDict_New();
    for (Py_ssize_t i = 0; all != NULL && i < n; i++) {
        PyObject* key = decode(r, depth);
        PyObject* value = key == NULL ? NULL : decode(r, depth);
        if (value == NULL || PyDict_SetItem(all, key, value) < 0) {
            Py_CLEAR(all);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return all;
}

static PyObject*
take_other(reader_t* r, int depth)
{
    PyObject* tag = decode(r, depth);
    PyObject* payload = tag == NULL ? NULL : decode(r, depth);
    PyObject* value = payload == NULL ? NULL : PyObject_CallFunctionObjArgs(r->hook, tag, payload, NULL);
    Py_XDECREF(tag);
    Py_XDECREF(payload);
    return value;
}

static PyObject*
decode(reader_t* r, int depth)
{
    const char* tag = take(r, 1);
    if (tag == NULL) {
        return NULL;
    }
    if (depth > DEPTH + 1) {
        return bad("nested too deep");
    }
    switch (*tag) {
    case 'N':
        return Py_NewRef(Py_None);
    case 'T':
        return Py_NewRef(Py_True);
    case 'F':
        return Py_NewRef(Py_False);
    case 'i':
    case 'f':
    case 'c':
        return take_number(r, *tag);
    case 'I':
    case 's':
    case 'b':
    case 'a':
        return take_bytes(r, *tag);
    case 'l':
    case 't':
        return take_sequence(r, *tag, depth + 1);
    case 'S':
    case 'Z':
        return take_set(r, *tag, depth + 1);
    case 'd':
        return take_dict(r, depth + 1);
    case 'x':
        return take_other(r, depth + 1);
    default:
        return bad("an unknown tag");
    }
}

static PyObject*
py_decode(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    if (n != 2 || !PyBytes_CheckExact(args[0])) {
        return PyErr_Format(PyExc_TypeError, "_data_decode() takes bytes and a function");
    }
    const char* data = PyBytes_AS_STRING(args[0]);
    reader_t r = {data, data + PyBytes_GET_SIZE(args[0]), args[1]};
    PyObject* value = decode(&r, 0);
    if (value != NULL && r.at != r.end) {
        Py_DECREF(value);
        return bad("something follows the value");
    }
    return value;
}

PyMethodDef tsm_data_methods[] = {
    {"_data_encode", (PyCFunction)(void (*)(void))py_encode, METH_FASTCALL, NULL},
    {"_data_decode", (PyCFunction)(void (*)(void))py_decode, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
