/* tsm_lookup.h - what was found under a name in a class, remembered by each thread.
 *
 * What it is      A call looks up two names: the method in the class of the reference, and
 *                 the function in the class of the agent. CPython's own look-up costs some
 *                 250 instructions each (3.13t does not specialise), so the answer is kept
 *                 under the number of the class's state, which is never used again.
 * What is kept    Only what cannot go away while it is kept (tsm_stays), so that nothing
 *                 is counted and nothing outlives its class because of it; for the rest it
 *                 is remembered that the ordinary way must be gone.
 * Invariants      The answer is what PyObject_GetAttr(op, name) would find in the class:
 *   I1  the class has no __getattribute__ and no __getattr__
 *   I2  what is kept is no data descriptor, so an attribute of the instance comes first: no
 *       instance has one of that name in its values (own: how many names these had when that was
 *       looked at; names are only ever added), and this one keeps no dict
 *   I3  a change of the class or of its bases ends the number
 * Who touches what
 *                 A table belongs to its thread.
 */
#ifndef TSM_LOOKUP_H
#define TSM_LOOKUP_H

#include "bind/tsm_bind.h"
#include "bind/tsm_compat_class.h"

typedef struct tsm_found {
    uint32_t tag;    /* of the class; 0: nothing is kept here */
    uint32_t own;    /* I2 */
    PyObject* name;  /* interned; a reference, so that no other name comes to lie there */
    PyObject* found; /* borrowed; NULL: look it up the ordinary way */
} tsm_found_t;

enum { TSM_LOOKUPS = 64 };

/* Looks, and keeps the answer. As tsm_lookup. */
PyObject* tsm_lookup_slow(tsm_worker_t* w, PyObject* op, PyObject* name);
void tsm_lookup_forget(tsm_pyworker_t* py); /* its thread ends */

static inline tsm_found_t*
tsm_lookup_place(tsm_pyworker_t* py, uint32_t tag, PyObject* name)
{
    return &py->lookups[(tag ^ (uint32_t)((uintptr_t)name >> 4)) % TSM_LOOKUPS];
}

/* What the class of op has under name (a str), where reading the attribute would
 * find just that: a plain function, or the method of a reference. Borrowed; NULL: go the
 * ordinary way. Workers only; no exception. */
static inline PyObject*
tsm_lookup(tsm_worker_t* w, PyObject* op, PyObject* name)
{
    tsm_pyworker_t* py = w->py;
    PyTypeObject* type = Py_TYPE(op);
    uint32_t tag = tsm_type_tag(type);
    if (TSM_LIKELY(py->lookups != NULL)) {
        tsm_found_t* at = tsm_lookup_place(py, tag, name);
        if (TSM_LIKELY(at->tag == tag && at->name == name && tag != 0)) {
            if (at->found == NULL || tsm_managed_dict(op) != NULL) {
                return NULL;
            }
            if (TSM_LIKELY(at->own == tsm_own_names(type))) {
                return at->found;
            }
        }
    }
    return tsm_lookup_slow(w, op, name);
}

#endif
