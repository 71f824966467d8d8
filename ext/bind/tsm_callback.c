/* tsm_callback.c - what sys.monitoring calls: a callable without the wrapping of a function.
 *
 * What it is      An event costs what CPython needs to make its arguments and to call. A
 *                 built-in function adds a check of the recursion depth and of its flags to
 *                 each call, a tenth of the whole; a type of our own is called directly.
 * Who touches what
 *                 Made once with the module, immortal, never changed.
 */
#include "bind/tsm_bind.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
} Callback;

static PyTypeObject Callback_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._Callback",
    .tp_basicsize = sizeof(Callback),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE
                | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(Callback, vectorcall),
    .tp_call = PyVectorcall_Call,
};

int
tsm_callbacks_init(PyObject* module)
{
    static const struct {
        const char* name;
        vectorcallfunc call;
    } callbacks[] = {{"_on_code", tsm_on_code}, {"_on_return", tsm_on_return}};
    if (PyType_Ready(&Callback_Type) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(callbacks) / sizeof(callbacks[0]); i++) {
        Callback* self = PyObject_New(Callback, &Callback_Type);
        if (self == NULL) {
            return -1;
        }
        self->vectorcall = callbacks[i].call;
        tsm_immortalize((PyObject*)self);
        if (PyModule_AddObjectRef(module, callbacks[i].name, (PyObject*)self) < 0) {
            return -1;
        }
    }
    return 0;
}
