/* tsm_lookup.c - finding a name in a class and keeping the answer; essay in tsm_lookup.h. */
#define TSM_COMPAT_CLASS_INNER
#include "bind/tsm_compat_class.h"

#include "bind/tsm_agent.h"
#include "bind/tsm_lookup.h"

/* I1, I2: may anything but the class itself answer for its instances, name by name? */
static bool
is_plain(PyTypeObject* type, PyObject* name)
{
    if (type->tp_getattro != PyObject_GenericGetAttr && type->tp_getattro != TsmAgentRef_Type.tp_getattro) {
        return false;
    }
    bool managed = (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) != 0;
    return (managed || type->tp_dictoffset == 0) && tsm_own_names_lack(type, name);
}

PyObject*
tsm_lookup_slow(tsm_worker_t* w, PyObject* op, PyObject* name)
{
    tsm_pyworker_t* py = w->py;
    PyTypeObject* type = Py_TYPE(op);
    /* Before looking: a change meanwhile makes the answer void. */
    uint32_t tag = PyUnstable_Type_AssignVersionTag(type) ? tsm_type_tag(type) : 0;
    if (tag == 0 || !PyUnicode_CheckExact(name) || !PyUnicode_CHECK_INTERNED(name)) {
        return NULL;
    }
    if (py->lookups == NULL
        && (py->lookups = PyMem_RawCalloc(TSM_LOOKUPS, sizeof(tsm_found_t))) == NULL) {
        return NULL;
    }
    uint32_t own = tsm_own_names(type);
    PyObject* found = is_plain(type, name) ? _PyType_LookupRef(type, name) : NULL;
    if (found != NULL) {
        bool known = PyFunction_Check(found) || Py_IS_TYPE(found, &TsmMethod_Type);
        bool stays = known && tsm_stays(found);
        Py_DECREF(found);
        found = stays ? found : NULL;
    }
    tsm_found_t* at = tsm_lookup_place(py, tag, name);
    PyObject* before = at->name;
    *at = (tsm_found_t){.tag = tag, .own = own, .name = Py_NewRef(name), .found = found};
    Py_XDECREF(before);
    return tsm_managed_dict(op) == NULL ? found : NULL;
}

void
tsm_lookup_forget(tsm_pyworker_t* py)
{
    for (size_t i = 0; py->lookups != NULL && i < TSM_LOOKUPS; i++) {
        Py_CLEAR(py->lookups[i].name);
        py->lookups[i].tag = 0;
    }
}
