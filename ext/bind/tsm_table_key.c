/* tsm_table_key.c - keys as bytes: what makes two keys the same, and which comes first.
 *
 * What it is      A key is written down before any lock is taken, and from then on equal
 *                 means equal bytes. No __eq__ or __hash__ is ever called.
 * The rule        exact form (set, bag, duplicate_bag): same type and same value, so 1, 1.0
 *                 and True are three keys; 0.0 is -0.0, nan is nan.
 *                 ordered form (ordered_set): None < numbers by value (1 is 1.0 is True)
 *                 < str by code points < bytes < Ref < Pid < tuple item by item < the rest.
 *                 Enum members, classes and functions are themselves; values of other
 *                 immutable classes are their class and the plain values that transom's
 *                 key_of names.
 * Encoding        ordered: bytes compare (memcmp, then length) as the keys do. A number is
 *                 sign and length of its integer part, that part, and the bits of its
 *                 fraction as a double; negative ones are complemented. Text is UTF-8 with
 *                 0 escaped as 0 FF, and ends with 0; so does a tuple.
 * Where tested    tests/property/test_table_keys.py
 * Source          the tuple layer of FoundationDB for encodings that sort
 */
#include "bind/tsm_table.h"

#include <math.h>
#include <stdlib.h>

enum {
    TAG_END = 0x00, TAG_NONE = 0x05, TAG_BOOL = 0x08, TAG_NUMBER = 0x10, TAG_INT = TSM_KEY_INT,
    TAG_BIGINT = 0x12, TAG_FLOAT = 0x13, TAG_COMPLEX = 0x14, TAG_STR = 0x20, TAG_BYTES = 0x28,
    TAG_REF = 0x30, TAG_PID = 0x38, TAG_TUPLE = 0x40, TAG_FROZENSET = 0x48, TAG_SELF = 0x50,
    TAG_OTHER = 0x58,
};

uint64_t tsm_key_seed = TSM_KEY_K;

static int
reserve(tsm_key_t* key, size_t more)
{
    if (TSM_LIKELY(more <= key->cap - key->len)) {
        return 0;
    }
    size_t cap = ((size_t)key->len + more) * 2;
    uint8_t* grown = cap > INT32_MAX ? NULL : malloc(cap);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(grown, key->bytes, key->len);
    tsm_key_drop(key);
    key->bytes = grown;
    key->cap = (uint32_t)cap;
    return 0;
}

void
tsm_key_free(tsm_key_t* key)
{
    free(key->bytes);
    key->bytes = key->buffer;
}

static int
put(tsm_key_t* key, const void* bytes, size_t n)
{
    if (reserve(key, n) < 0) {
        return -1;
    }
    memcpy(key->bytes + key->len, bytes, n);
    key->len += (uint32_t)n;
    return 0;
}

static int
put_byte(tsm_key_t* key, int byte)
{
    uint8_t b = (uint8_t)byte;
    return put(key, &b, 1);
}

static int
put_tagged(tsm_key_t* key, int tag, uint64_t word)
{
    uint8_t bytes[9];
    bytes[0] = (uint8_t)tag;
    memcpy(bytes + 1, &word, 8);
    return put(key, bytes, 9);
}

static int
put_sized(tsm_key_t* key, int tag, const void* bytes, size_t n)
{
    return put_tagged(key, tag, n) < 0 ? -1 : put(key, bytes, n);
}

/* ---- numbers ---- */

/* Magnitude of an int of any size, big endian without leading zeros. *bytes: malloc. */
static Py_ssize_t
magnitude(PyObject* op, uint8_t** bytes)
{
    PyObject* abs = PyNumber_Absolute(op);
    Py_ssize_t n = abs == NULL ? -1 : PyLong_AsNativeBytes(abs, NULL, 0, 0);
    *bytes = n < 0 ? NULL : malloc((size_t)n + 1);
    if (*bytes == NULL || PyLong_AsNativeBytes(abs, *bytes, n, 0) < 0) { /* 0: big endian */
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
        free(*bytes);
        Py_XDECREF(abs);
        return -1;
    }
    Py_DECREF(abs);
    Py_ssize_t zeros = 0;
    while (zeros < n && (*bytes)[zeros] == 0) {
        zeros++;
    }
    memmove(*bytes, *bytes + zeros, (size_t)(n - zeros));
    return n - zeros;
}

static int
put_number(tsm_key_t* key, bool negative, const uint8_t* whole, size_t n, double fraction)
{
    if (put_byte(key, TAG_NUMBER) < 0 || reserve(key, n + 16) < 0) {
        return -1;
    }
    uint8_t* start = key->bytes + key->len;
    uint8_t* at = start;
    if (n < 0x70) {
        *at++ = (uint8_t)(0x80 + n);
    } else {
        *at++ = 0xF0;
        for (int shift = 24; shift >= 0; shift -= 8) {
            *at++ = (uint8_t)(n >> shift);
        }
    }
    memcpy(at, whole, n);
    at += n;
    uint64_t bits;
    memcpy(&bits, &fraction, 8);
    for (int shift = 56; shift >= 0; shift -= 8) {
        *at++ = (uint8_t)(bits >> shift);
    }
    for (uint8_t* b = start; negative && b < at; b++) {
        *b = (uint8_t)~*b;
    }
    key->len += (uint32_t)(at - start);
    return 0;
}

static int
put_ordered_int(tsm_key_t* key, PyObject* op, double fraction)
{
    int overflow;
    long long v = PyLong_AsLongLongAndOverflow(op, &overflow);
    if (overflow != 0) {
        uint8_t* bytes;
        Py_ssize_t n = magnitude(op, &bytes);
        int rc = n < 0 ? -1 : put_number(key, overflow < 0, bytes, (size_t)n, fraction);
        if (n >= 0) {
            free(bytes);
        }
        return rc;
    }
    uint8_t whole[8];
    size_t n = 0;
    uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (n > 0 || (u >> shift) != 0) {
            whole[n++] = (uint8_t)(u >> shift);
        }
    }
    return put_number(key, v < 0, whole, n, fraction);
}

static int
put_ordered_float(tsm_key_t* key, double x)
{
    if (isnan(x)) {
        PyErr_SetString(PyExc_ValueError, "nan is no key of an ordered_set: it has no place among the numbers");
        return -1;
    }
    if (isinf(x)) {
        return put_byte(key, TAG_NUMBER) < 0 ? -1 : put_byte(key, x > 0 ? 0xFF : 0x00);
    }
    double whole, fraction = modf(fabs(x), &whole);
    if (whole == 0) {
        return put_number(key, x < 0, NULL, 0, fraction);
    }
    PyObject* op = PyLong_FromDouble(x < 0 ? -whole : whole);
    int rc = op == NULL ? -1 : put_ordered_int(key, op, fraction);
    Py_XDECREF(op);
    return rc;
}

static int
put_int(tsm_key_t* key, PyObject* op)
{
    int overflow;
    if (key->ordered) {
        return put_ordered_int(key, op, 0.0);
    }
    long long v = PyLong_AsLongLongAndOverflow(op, &overflow);
    if (TSM_LIKELY(overflow == 0)) {
        return put_tagged(key, TAG_INT, (uint64_t)v);
    }
    uint8_t* bytes;
    Py_ssize_t n = magnitude(op, &bytes);
    if (n < 0) {
        return -1;
    }
    int rc = put_byte(key, overflow < 0) < 0 ? -1 : put_sized(key, TAG_BIGINT, bytes, (size_t)n);
    free(bytes);
    return rc;
}

static uint64_t
float_bits(double x)
{
    uint64_t bits;
    x = isnan(x) ? (double)NAN : x == 0 ? 0.0 : x;
    memcpy(&bits, &x, 8);
    return bits;
}

/* ---- text ---- */

static int
put_escaped(tsm_key_t* key, int tag, const uint8_t* bytes, size_t n)
{
    if (put_byte(key, tag) < 0 || reserve(key, 2 * n + 1) < 0) {
        return -1;
    }
    uint8_t* at = key->bytes + key->len;
    for (size_t i = 0; i < n; i++) {
        *at++ = bytes[i];
        if (bytes[i] == 0) {
            *at++ = 0xFF;
        }
    }
    *at++ = TAG_END;
    key->len = (uint32_t)(at - key->bytes);
    return 0;
}

static int
put_ordered_str(tsm_key_t* key, PyObject* op)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(op);
    if (PyUnicode_IS_ASCII(op)) {
        return put_escaped(key, TAG_STR, PyUnicode_1BYTE_DATA(op), (size_t)n);
    }
    if (put_byte(key, TAG_STR) < 0 || reserve(key, 4 * (size_t)n + 1) < 0) {
        return -1;
    }
    uint8_t* at = key->bytes + key->len;
    for (Py_ssize_t i = 0; i < n; i++) { /* lone surrogates are written like the rest */
        Py_UCS4 c = PyUnicode_READ_CHAR(op, i);
        if (c == 0) {
            *at++ = 0;
            *at++ = 0xFF;
        } else if (c < 0x80) {
            *at++ = (uint8_t)c;
        } else if (c < 0x800) {
            *at++ = (uint8_t)(0xC0 | c >> 6);
            *at++ = (uint8_t)(0x80 | (c & 0x3F));
        } else if (c < 0x10000) {
            *at++ = (uint8_t)(0xE0 | c >> 12);
            *at++ = (uint8_t)(0x80 | (c >> 6 & 0x3F));
            *at++ = (uint8_t)(0x80 | (c & 0x3F));
        } else {
            *at++ = (uint8_t)(0xF0 | c >> 18);
            *at++ = (uint8_t)(0x80 | (c >> 12 & 0x3F));
            *at++ = (uint8_t)(0x80 | (c >> 6 & 0x3F));
            *at++ = (uint8_t)(0x80 | (c & 0x3F));
        }
    }
    *at++ = TAG_END;
    key->len = (uint32_t)(at - key->bytes);
    return 0;
}

static int
put_str(tsm_key_t* key, PyObject* op)
{
    if (key->ordered) {
        return put_ordered_str(key, op);
    }
    /* The kind is the smallest that fits, so equal text has equal bytes. */
    size_t kind = PyUnicode_KIND(op);
    return put_sized(key, TAG_STR + (int)kind, PyUnicode_DATA(op), (size_t)PyUnicode_GET_LENGTH(op) * kind);
}

/* ---- the rest ---- */

static int put_any(tsm_key_t* key, PyObject* op);

static int
put_items(tsm_key_t* key, PyObject* tuple)
{
    if (!key->ordered && put_tagged(key, TAG_TUPLE, (uint64_t)PyTuple_GET_SIZE(tuple)) < 0) {
        return -1;
    }
    if (key->ordered && put_byte(key, TAG_TUPLE) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (put_any(key, PyTuple_GET_ITEM(tuple, i)) < 0) {
            return -1;
        }
    }
    return key->ordered ? put_byte(key, TAG_END) : 0;
}

/* The keys of the members as bytes objects, sorted: two equal sets look alike. */
static int
put_frozenset(tsm_key_t* key, PyObject* op)
{
    PyObject* members = PySequence_Tuple(op);
    PyObject* list = members == NULL ? NULL : PyList_New(0);
    for (Py_ssize_t i = 0; list != NULL && i < PyTuple_GET_SIZE(members); i++) {
        tsm_key_t one;
        PyObject* bytes = NULL;
        if (tsm_key_make(&one, PyTuple_GET_ITEM(members, i), key->ordered) == 0) {
            bytes = PyBytes_FromStringAndSize((const char*)one.bytes, one.len);
            tsm_key_drop(&one);
        }
        if (bytes == NULL || PyList_Append(list, bytes) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(bytes);
    }
    Py_XDECREF(members);
    int rc = list == NULL || PyList_Sort(list) < 0 || put_byte(key, TAG_FROZENSET) < 0 ? -1 : 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(list); i++) {
        PyObject* bytes = PyList_GET_ITEM(list, i);
        rc = put_escaped(key, TAG_BYTES, (const uint8_t*)PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    }
    Py_XDECREF(list);
    return rc < 0 ? -1 : put_byte(key, TAG_END);
}

/* key_of answers with None for what is itself alone, and with a tuple for the rest. */
static int
put_other(tsm_key_t* key, PyObject* op)
{
    PyObject* parts = PyObject_CallOneArg(tsm_tables.key_of, op);
    int rc = -1;
    if (parts == Py_None) {
        rc = put_tagged(key, TAG_SELF, (uint64_t)(uintptr_t)op);
    } else if (parts != NULL && PyTuple_CheckExact(parts)) {
        rc = put_tagged(key, TAG_OTHER, (uint64_t)(uintptr_t)Py_TYPE(op));
        rc = rc < 0 ? -1 : put_items(key, parts);
    }
    Py_XDECREF(parts);
    return rc;
}

static int
put_big_endian(tsm_key_t* key, int tag, uint64_t word)
{
    return put_tagged(key, tag, key->ordered ? __builtin_bswap64(word) : word);
}

static int
put_any(tsm_key_t* key, PyObject* op)
{
    PyTypeObject* type = Py_TYPE(op);
    if (type == &PyLong_Type) {
        return put_int(key, op);
    }
    if (type == &PyUnicode_Type) {
        return put_str(key, op);
    }
    if (type == &PyBool_Type) {
        return key->ordered ? put_ordered_int(key, op, 0.0) : put_tagged(key, TAG_BOOL, op == Py_True);
    }
    if (type == &PyFloat_Type) {
        double x = PyFloat_AS_DOUBLE(op);
        return key->ordered ? put_ordered_float(key, x) : put_tagged(key, TAG_FLOAT, float_bits(x));
    }
    if (type == &TsmPid_Type) {
        uint64_t pid = ((TsmPid*)op)->pid;
        return put_big_endian(key, TAG_PID, key->ordered ? pid << 32 | pid >> 32 : pid);
    }
    if (type == &TsmRef_Type) {
        return put_big_endian(key, TAG_REF, ((TsmRef*)op)->id);
    }
    if (op == Py_None) {
        return put_byte(key, TAG_NONE);
    }
    if (type == &PyBytes_Type) {
        const uint8_t* bytes = (const uint8_t*)PyBytes_AS_STRING(op);
        size_t n = (size_t)PyBytes_GET_SIZE(op);
        return key->ordered ? put_escaped(key, TAG_BYTES, bytes, n) : put_sized(key, TAG_BYTES, bytes, n);
    }
    if (type == &PyComplex_Type) {
        uint64_t parts[2] = {float_bits(PyComplex_RealAsDouble(op)), float_bits(PyComplex_ImagAsDouble(op))};
        return put_tagged(key, TAG_COMPLEX, parts[0]) < 0 ? -1 : put(key, &parts[1], 8);
    }
    if (type == &PyFunction_Type || type == &PyCFunction_Type || type == &PyType_Type || op == Py_Ellipsis) {
        return put_tagged(key, TAG_SELF, (uint64_t)(uintptr_t)op);
    }
    if (Py_EnterRecursiveCall(" in a table key")) {
        return -1;
    }
    int rc = type == &PyTuple_Type ? put_items(key, op)
             : type == &PyFrozenSet_Type ? put_frozenset(key, op) : put_other(key, op);
    Py_LeaveRecursiveCall();
    return rc;
}

static uint64_t
hash_bytes(const uint8_t* bytes, size_t n)
{
    uint64_t h = tsm_key_seed ^ n * TSM_KEY_K, word;
    for (; n >= 8; bytes += 8, n -= 8) {
        memcpy(&word, bytes, 8);
        h = (h ^ word) * TSM_KEY_K;
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, bytes, n);
    return tsm_key_mix(h ^ word);
}

static void
key_init(tsm_key_t* key, bool ordered)
{
    key->bytes = key->buffer;
    key->cap = TSM_KEY_INLINE;
    key->len = 0;
    key->ordered = ordered;
}

/* The interpreter's secret, so PYTHONHASHSEED counts. */
void
tsm_key_init(void)
{
    PyObject* text = PyUnicode_FromString("transom table");
    tsm_key_seed = (text == NULL ? 0 : (uint64_t)PyObject_Hash(text)) | 1;
    Py_XDECREF(text);
}

void
tsm_key_fix_order(void)
{
    tsm_key_seed = TSM_KEY_K;
}

int
tsm_key_make_any(tsm_key_t* key, PyObject* op, bool ordered)
{
    key_init(key, ordered);
    if (put_any(key, op) < 0) {
        tsm_key_drop(key);
        return -1;
    }
    key->hash = ordered ? 0 : hash_bytes(key->bytes, key->len);
    return 0;
}

uint64_t
tsm_key_hash(const tsm_key_t* key)
{
    return hash_bytes(key->bytes, key->len);
}

/* hash and bytes of an entry, to go on behind it. */
int
tsm_key_from_bytes(tsm_key_t* key, const void* bytes, size_t len)
{
    key_init(key, false);
    if (put(key, bytes, len) < 0) {
        return -1;
    }
    key->hash = 0;
    return 0;
}

/* ---- equality of values ---- */

static bool
same_dict(PyObject* a, PyObject* b)
{
    PyObject *name, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(b, &at, &name, &value)) {
        if (!PyUnicode_CheckExact(name)) {
            return false; /* looking anything else up may run user code */
        }
    }
    at = 0;
    while (PyDict_Next(a, &at, &name, &value)) {
        PyObject* other = PyUnicode_CheckExact(name) ? PyDict_GetItemWithError(b, name) : NULL;
        if (other == NULL || !tsm_same(value, other)) {
            return false;
        }
    }
    return PyDict_GET_SIZE(a) == PyDict_GET_SIZE(b);
}

static bool
same_items(PyObject** a, PyObject** b, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!tsm_same(a[i], b[i])) {
            return false;
        }
    }
    return true;
}

static bool
same_nested(PyObject* a, PyObject* b)
{
    if (Py_EnterRecursiveCall(" in a table row")) {
        PyErr_Clear();
        return false;
    }
    bool same = false;
    Py_ssize_t n = PyDict_CheckExact(a) ? -1 : Py_SIZE(a);
    if (n < 0) {
        same = same_dict(a, b);
    } else if (n == Py_SIZE(b) && PyTuple_CheckExact(a)) {
        same = same_items(((PyTupleObject*)a)->ob_item, ((PyTupleObject*)b)->ob_item, n);
    } else if (n == Py_SIZE(b)) {
        same = same_items(((PyListObject*)a)->ob_item, ((PyListObject*)b)->ob_item, n);
    }
    Py_LeaveRecursiveCall();
    return same;
}

bool
tsm_same(PyObject* a, PyObject* b)
{
    PyTypeObject* type = Py_TYPE(a);
    if (a == b) {
        return true;
    }
    if (type != Py_TYPE(b)) {
        return false;
    }
    if (type == &PyUnicode_Type) {
        return PyUnicode_Compare(a, b) == 0;
    }
    if (type == &PyFloat_Type) {
        return float_bits(PyFloat_AS_DOUBLE(a)) == float_bits(PyFloat_AS_DOUBLE(b));
    }
    if (type == &PyTuple_Type || type == &PyList_Type || type == &PyDict_Type) {
        return same_nested(a, b);
    }
    if (type == &PyLong_Type || type == &PyBytes_Type || type == &PyComplex_Type || type == &TsmPid_Type
        || type == &TsmRef_Type) {
        return PyObject_RichCompareBool(a, b, Py_EQ) == 1; /* of these types: no user code */
    }
    return false;
}
