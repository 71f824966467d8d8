/* tsm_compat_class.h - tricks of tsm_compat.h about what classes have and hold.
 *
 *   trick                          3.13t              with GIL          3.14t, 3.15 and later
 *   what a class has, for ever     immortal           the GIL is held   not known
 *   names of attributes            shared keys        shared keys       3.14t: shared keys; unknown
 *   methods called directly        a field of the descriptor, which specialised calls (3.14) never look at
 */
#ifndef TSM_COMPAT_CLASS_H
#define TSM_COMPAT_CLASS_H

#include "bind/tsm_compat.h"

/* A class of Python's lives as long as the program, with its functions: 3.13t makes them
 * immortal once there are threads. What belongs to a class may be so from the beginning. */
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030E0000
#define TSM_CLASSES_STAY 1
#else
#define TSM_CLASSES_STAY 0
#endif

/* From now on a call of this method of a built-in class gets to fn, and not to what CPython
 * checks first (keywords, self, recursion), which is returned. */
static inline vectorcallfunc
tsm_method_redirect(PyObject* descr, vectorcallfunc fn)
{
    vectorcallfunc before = ((PyMethodDescrObject*)descr)->vectorcall;
    ((PyMethodDescrObject*)descr)->vectorcall = fn;
    return before;
}

/* What a class has cannot end between a look at the class's number and the use of it: it never
 * ends, or no other thread runs meanwhile. */
static inline bool
tsm_stays(PyObject* op)
{
#ifdef Py_GIL_DISABLED
    return _Py_IsImmortal(op);
#else
    (void)op;
    return true;
#endif
}

/* How many names the instances of a class keep values under (its shared keys); 0: none, or it is
 * not known. Names are only ever added, by any thread; what this instance has under a name was
 * put there by who owned it before, so a count that its owner sees includes that name. */
#define TSM_KEYS_COUNT 24

static inline uint32_t
tsm_own_names(PyTypeObject* type)
{
#if TSM_CAN_RECLAIM
    if ((type->tp_flags & Py_TPFLAGS_INLINE_VALUES) != 0) {
        char* keys = (char*)(void*)((PyHeapTypeObject*)(void*)type)->ht_cached_keys;
        return (uint32_t)_Py_atomic_load_ssize_acquire((Py_ssize_t*)(void*)(keys + TSM_KEYS_COUNT));
    }
#else
    (void)type;
#endif
    return 0;
}

/* For tsm_lookup.c alone: what needs the interpreter's inner headers. */
#ifdef TSM_COMPAT_CLASS_INNER
#if TSM_CAN_RECLAIM
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include "internal/pycore_dict.h"
#pragma GCC diagnostic pop

_Static_assert(offsetof(struct _dictkeysobject, dk_nentries) == TSM_KEYS_COUNT, "other keys");

/* None of those names is name. False also where that is not known. */
static inline bool
tsm_own_names_lack(PyTypeObject* type, PyObject* name)
{
    if ((type->tp_flags & Py_TPFLAGS_INLINE_VALUES) == 0) {
        return true;
    }
    uint32_t n = tsm_own_names(type);
    PyDictKeysObject* keys = ((PyHeapTypeObject*)(void*)type)->ht_cached_keys;
    if (keys->dk_kind == DICT_KEYS_GENERAL) {
        return false;
    }
    PyDictUnicodeEntry* entries = DK_UNICODE_ENTRIES(keys);
    for (uint32_t i = 0; i < n; i++) {
        PyObject* known = _Py_atomic_load_ptr_acquire(&entries[i].me_key);
        if (known == NULL || PyUnicode_Compare(known, name) == 0) {
            return false;
        }
    }
    return true;
}
#else
static inline bool
tsm_own_names_lack(PyTypeObject* type, PyObject* name)
{
    (void)type, (void)name;
    return false;
}
#endif
#endif

#endif
