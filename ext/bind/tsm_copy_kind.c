/* tsm_copy_kind.c - what a class needs to be copied: judged once, then found in a cache.
 *
 * What it is        One table of 64-bit words: the upper half is the class's version tag,
 *                   the lower the kind. CPython gives each state of each class a tag of its
 *                   own and takes it away when the class or a base of it changes, so a word
 *                   whose tag is that of the class is about this class as it is now.
 * Who touches what  Words: any thread. A lost word is judged again.
 * Judged by         transom._copying.classify, in Python, where the rules are.
 * Not seen by tags  copyreg.pickle(): the size of its table is compared at each look-up.
 */
#include "bind/tsm_copy.h"
#include "bind/tsm_start.h"

enum { WORDS = 1024, PROBES = 2 };

static uint64_t a_words[WORDS];
static uint64_t a_copyreg_size; /* of copyreg.dispatch_table, when the words were made */

static size_t
place(uint32_t tag)
{
    return (size_t)(tag * UINT32_C(2654435761)) % WORDS;
}

static int
of_builtin(PyTypeObject* type)
{
    static const struct {
        PyTypeObject* type;
        int kind;
    } known[] = {
        {&PyDict_Type, TSM_COPY_DICT}, {&PyList_Type, TSM_COPY_LIST},
        {&PyTuple_Type, TSM_COPY_TUPLE}, {&PySet_Type, TSM_COPY_SET},
        {&PyFunction_Type, TSM_COPY_VALUE}, {&PyType_Type, TSM_COPY_VALUE},
        {&PyFrozenSet_Type, TSM_COPY_FROZENSET}, {&PyByteArray_Type, TSM_COPY_BYTEARRAY},
        {&PyMethod_Type, TSM_COPY_METHOD}, {&PyCFunction_Type, TSM_COPY_BUILTIN},
        {&PyCMethod_Type, TSM_COPY_BUILTIN}, {&TsmExit_Type, TSM_COPY_RECORD},
        {&TsmDown_Type, TSM_COPY_RECORD}, {&TsmShare_Type, TSM_COPY_SHARE},
        {&TsmMove_Type, TSM_COPY_MOVE}, {&TsmTimer_Type, TSM_COPY_VALUE},
        {&PyComplex_Type, TSM_COPY_VALUE}, {&PyRange_Type, TSM_COPY_VALUE},
        {&TsmHow_Type, TSM_COPY_VALUE}, /* of an agent class, in a ChildSpec */
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (type == known[i].type) {
            return known[i].kind;
        }
    }
    return 0;
}

/* copyreg.pickle() was called since: all words are about yesterday. */
static void
check_copyreg(void)
{
    uint64_t size = (uint64_t)PyDict_GET_SIZE(tsm_bind.copyreg_table);
    /* relaxed: a thread that sees the old size once judges as it would have a moment ago. */
    if (TSM_UNLIKELY(tsm_load_relaxed(&a_copyreg_size) != size)) {
        for (size_t i = 0; i < WORDS; i++) {
            tsm_store_relaxed(&a_words[i], 0); /* relaxed: each word stands alone. */
        }
        tsm_store_relaxed(&a_copyreg_size, size); /* relaxed: as above. */
    }
}

static int
judge(PyTypeObject* type)
{
    /* Before judging: a change of the class meanwhile makes the word void. */
    uint32_t tag = PyUnstable_Type_AssignVersionTag(type) ? tsm_type_tag(type) : 0;
    PyObject* result = PyObject_CallOneArg(tsm_bind.classify, (PyObject*)type);
    long kind = result == NULL ? -1 : PyLong_AsLong(result);
    Py_XDECREF(result);
    if (kind < 0) {
        return -1;
    }
    if (kind == 0 || kind > TSM_COPY_CLASSES) {
        PyErr_Format(PyExc_SystemError, "classify() returned %ld", kind);
        return -1;
    }
    if (tag != 0) {
        uint64_t word = (uint64_t)tag << 32 | (uint64_t)kind;
        size_t at = place(tag);
        for (int i = 0; i < PROBES; i++) {
            size_t probe = (at + (size_t)i) % WORDS;
            /* relaxed: a word is whole in itself. */
            if (i == PROBES - 1 || tsm_load_relaxed(&a_words[probe]) == 0) {
                tsm_store_relaxed(&a_words[probe], word); /* relaxed: as above. */
                break;
            }
        }
    }
    return (int)kind;
}

int
tsm_copy_kind(PyTypeObject* type)
{
    int kind = of_builtin(type);
    if (kind != 0) {
        return kind;
    }
    if (PyType_IsSubtype(type, &PyType_Type)) {
        return TSM_COPY_VALUE; /* a class */
    }
    check_copyreg();
    uint32_t tag = tsm_type_tag(type);
    size_t at = place(tag);
    for (int i = 0; tag != 0 && i < PROBES; i++) {
        uint64_t word = tsm_load_relaxed(&a_words[(at + (size_t)i) % WORDS]); /* relaxed: whole. */
        if ((uint32_t)(word >> 32) == tag) {
            return (int)(uint32_t)word;
        }
    }
    return judge(type);
}
