/* tsm_spare.h - memory of short-lived objects, kept by each thread for the next of their size.
 *
 * What it is      A call makes and drops two small objects; the allocator, which finds its page
 *                 empty after each, costs more than what happens to them. As the freelists of
 *                 CPython: memory of an object stays memory of that type, and goes back to the
 *                 allocator when there are TSM_SPARE_EACH of them, and with the thread.
 * Who touches what
 *                 A list belongs to its thread. What one thread made another may keep.
 */
#ifndef TSM_SPARE_H
#define TSM_SPARE_H

#include "bind/tsm_bind.h"

/* The list of the calling thread, or NULL: it is no worker. Checked builds keep nothing, so
 * that a use after the end is found. */
static inline tsm_spare_t*
tsm_spare_of(enum tsm_spare_kind kind)
{
#if defined(TSM_ASAN) || defined(TSM_DEBUG) || defined(Py_REF_DEBUG)
    (void)kind;
    return NULL;
#else
    tsm_worker_t* w = tsm_self;
    tsm_pyworker_t* py = w == NULL ? NULL : w->py;
    return py == NULL ? NULL : &py->spares[kind];
#endif
}

/* An object of a type with items of its own, n of them; the kind is theirs. */
static inline PyObject*
tsm_spare_new(enum tsm_spare_kind kind, PyTypeObject* type, Py_ssize_t n)
{
    tsm_spare_t* spare = tsm_spare_of(kind);
    if (TSM_LIKELY(spare != NULL && spare->count != 0)) {
        PyObject* op = spare->kept[--spare->count];
        return type->tp_itemsize == 0 ? PyObject_Init(op, type) : (PyObject*)PyObject_InitVar((PyVarObject*)op, type, n);
    }
    if (PyType_IS_GC(type)) { /* not tracked yet, nor when it comes back */
        return (PyObject*)_PyObject_GC_NewVar(type, n);
    }
    return type->tp_itemsize == 0 ? (PyObject*)_PyObject_New(type) : (PyObject*)_PyObject_NewVar(type, n);
}

/* Its memory goes back to the allocator. */
static inline void
tsm_spare_drop(PyObject* op)
{
    if (PyObject_IS_GC(op)) {
        PyObject_GC_Del(op);
    } else {
        PyObject_Free(op);
    }
}

/* From tp_dealloc. */
static inline void
tsm_spare_free(enum tsm_spare_kind kind, PyObject* op)
{
    tsm_spare_t* spare = tsm_spare_of(kind);
    if (TSM_LIKELY(spare != NULL && spare->count < spare->room)) {
        spare->kept[spare->count++] = op;
        return;
    }
    tsm_spare_drop(op);
}

#endif
