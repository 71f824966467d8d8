/* tsm_types.c - Pid, Ref, Timer, and the messages Exit and Down.
 *
 * All are immutable values. A pid or reference is made anew for each holder: one shared
 * object per process would be touched by every thread (reference count contention).
 */
#include "bind/tsm_aio.h"
#include "bind/tsm_docs.h"
#include "bind/tsm_start.h"

#include <stddef.h>

/* ---- Pid ---- */

PyObject*
tsm_pid_object(tsm_pid_t pid)
{
    TsmPid* op = PyObject_New(TsmPid, &TsmPid_Type);
    if (op != NULL) {
        op->pid = pid;
    }
    return (PyObject*)op;
}

static Py_hash_t
hash_u64(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0x9E3779B97F4A7C15);
    Py_hash_t h = (Py_hash_t)(x ^ (x >> 29));
    return h == -1 ? -2 : h;
}

static PyObject*
pid_repr(PyObject* self)
{
    tsm_pid_t pid = ((TsmPid*)self)->pid;
    return PyUnicode_FromFormat("<0.%u.%u>", (unsigned)tsm_pid_idx(pid),
                                (unsigned)tsm_pid_gen(pid));
}

static Py_hash_t
pid_hash(PyObject* self)
{
    return hash_u64(((TsmPid*)self)->pid);
}

static PyObject*
compare_u64(uint64_t a, uint64_t b, int op)
{
    Py_RETURN_RICHCOMPARE(a, b, op);
}

static uint64_t
pid_order(PyObject* self) /* by number, then by serial */
{
    tsm_pid_t pid = ((TsmPid*)self)->pid;
    return (uint64_t)tsm_pid_idx(pid) << 32 | tsm_pid_gen(pid);
}

static PyObject*
pid_compare(PyObject* a, PyObject* b, int op)
{
    if (!tsm_pid_check(a) || !tsm_pid_check(b)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    return compare_u64(pid_order(a), pid_order(b), op);
}

static PyObject*
value_copy(PyObject* self, PyObject* Py_UNUSED(memo))
{
    return Py_NewRef(self);
}

static PyObject*
pid_new(PyTypeObject* Py_UNUSED(type), PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"number", "serial", NULL};
    unsigned int number, serial;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "II:Pid", names, &number, &serial)) {
        return NULL;
    }
    if (serial == 0) {
        PyErr_SetString(PyExc_ValueError, "Pid: serial starts at 1");
        return NULL;
    }
    return tsm_pid_object(tsm_pid_make(number, serial));
}

static PyObject*
pid_reduce(PyObject* self, PyObject* Py_UNUSED(none))
{
    tsm_pid_t pid = ((TsmPid*)self)->pid;
    return Py_BuildValue("O(II)", &TsmPid_Type, tsm_pid_idx(pid), tsm_pid_gen(pid));
}

static PyObject* pid_send(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);

PyDoc_STRVAR(pid_send_doc, "send($self, message, /, *, priority=False)\n--\n\n"
"Send message to this process; the same as transom.send(self, message).");

static PyMethodDef pid_methods[] = {
    {"send", (PyCFunction)(void (*)(void))pid_send, METH_FASTCALL | METH_KEYWORDS, pid_send_doc},
    {"__copy__", value_copy, METH_NOARGS, NULL},
    {"__deepcopy__", value_copy, METH_O, NULL},
    {"__reduce__", pid_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject TsmPid_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom.Pid",
    .tp_basicsize = sizeof(TsmPid),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .tp_doc = tsm_doc_Pid_type,
    .tp_new = pid_new,
    .tp_repr = pid_repr,
    .tp_hash = pid_hash,
    .tp_richcompare = pid_compare,
    .tp_methods = pid_methods,
};

/* ---- Ref ---- */

PyObject*
tsm_ref_object(uint64_t id, tsm_pid_t owner)
{
    TsmRef* op = PyObject_New(TsmRef, &TsmRef_Type);
    if (op != NULL) {
        op->id = id;
        op->owner = owner;
    }
    return (PyObject*)op;
}

static PyObject*
ref_repr(PyObject* self)
{
    TsmRef* ref = (TsmRef*)self;
    return PyUnicode_FromFormat("#Ref<0.%u.%llu>", (unsigned)tsm_pid_idx(ref->owner),
                                (unsigned long long)ref->id);
}

static Py_hash_t
ref_hash(PyObject* self)
{
    return hash_u64(((TsmRef*)self)->id);
}

static PyObject*
ref_compare(PyObject* a, PyObject* b, int op)
{
    if (!tsm_ref_check(a) || !tsm_ref_check(b)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    return compare_u64(((TsmRef*)a)->id, ((TsmRef*)b)->id, op);
}

static PyMethodDef ref_methods[] = {
    {"__copy__", value_copy, METH_NOARGS, NULL},
    {"__deepcopy__", value_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject TsmRef_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom.Ref",
    .tp_basicsize = sizeof(TsmRef),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = tsm_doc_Ref_type,
    .tp_repr = ref_repr,
    .tp_hash = ref_hash,
    .tp_richcompare = ref_compare,
    .tp_methods = ref_methods,
};

/* ---- Timer ---- */

static PyObject*
timer_repr(PyObject* self)
{
    return PyUnicode_FromFormat("<transom.Timer %llu>",
                                (unsigned long long)((TsmTimer*)self)->handle.id);
}

PyTypeObject TsmTimer_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom.Timer",
    .tp_basicsize = sizeof(TsmTimer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = tsm_doc_Timer_type,
    .tp_repr = timer_repr,
    .tp_methods = ref_methods,
};

/* ---- Exit and Down: records with named, read-only fields ---- */

/* The reason may be one object for all that are told of one end. Nobody sees it: the first
 * who looks at the reason of a record gives the record a copy of its own. The one it came
 * with stays: another thread may be reading it. */
typedef struct {
    PyObject_HEAD
    PyObject* fields[4];
    PyObject* a_own; /* its own reason, or NULL; set once, by any thread */
} TsmRecord;

static int
record_size(PyTypeObject* type)
{
    return type == &TsmExit_Type ? 2 : 4;
}

static int
reason_index(PyTypeObject* type)
{
    return type == &TsmExit_Type ? 1 : 2;
}

/* As whoever holds the record sees it. Borrowed. */
static PyObject*
field(PyObject* self, int i)
{
    TsmRecord* record = (TsmRecord*)self;
    /* acquire: pairs with tsm_record_reason; the copy is whole. */
    PyObject* own = i == reason_index(Py_TYPE(self)) ? tsm_load_acquire(&record->a_own) : NULL;
    return own != NULL ? own : record->fields[i];
}

PyObject*
tsm_record_make(PyTypeObject* type, PyObject* const* fields)
{
    TsmRecord* op = PyObject_GC_New(TsmRecord, type);
    if (op == NULL) {
        return NULL;
    }
    for (int i = 0; i < 4; i++) {
        op->fields[i] = i < record_size(type) ? Py_NewRef(fields[i]) : NULL;
    }
    op->a_own = Py_NewRef(op->fields[reason_index(type)]);
    PyObject_GC_Track(op);
    return (PyObject*)op;
}

/* Of a signal: others may have been told the same reason. */
static PyObject*
signal_record(PyTypeObject* type, PyObject* const* fields)
{
    PyObject* op = tsm_record_make(type, fields);
    if (op != NULL) {
        Py_CLEAR(((TsmRecord*)op)->a_own);
    }
    return op;
}

PyObject*
tsm_exit_object(PyObject* sender, PyObject* reason)
{
    PyObject* fields[2] = {sender, reason};
    return signal_record(&TsmExit_Type, fields);
}

PyObject*
tsm_down_object(PyObject* ref, PyObject* pid, PyObject* reason, PyObject* tag)
{
    PyObject* fields[4] = {ref, pid, reason, tag};
    return signal_record(&TsmDown_Type, fields);
}

PyObject*
tsm_record_reason(PyObject* self)
{
    TsmRecord* record = (TsmRecord*)self;
    PyObject* none = NULL;
    /* acquire: pairs with the swap below. */
    if (tsm_load_acquire(&record->a_own) == NULL) {
        PyObject* shared = record->fields[reason_index(Py_TYPE(self))];
        PyObject* own = tsm_copy(shared, "a reason");
        if (own == NULL) {
            PyErr_Clear(); /* its hooks copied it when it was given, and fail now: then it is shared */
            own = Py_NewRef(shared);
        }
        /* acq_rel: publishes the copy; who comes second drops its own. */
        if (!tsm_cas_acq_rel(&record->a_own, &none, own)) {
            Py_DECREF(own);
        }
    }
    return Py_NewRef(field(self, reason_index(Py_TYPE(self))));
}

PyObject*
tsm_record_reason_shared(PyObject* self)
{
    return Py_NewRef(((TsmRecord*)self)->fields[reason_index(Py_TYPE(self))]);
}

static PyObject*
get_reason(PyObject* self, void* Py_UNUSED(closure))
{
    return tsm_record_reason(self);
}

static PyObject*
exit_new(PyTypeObject* Py_UNUSED(type), PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"sender", "reason", NULL};
    PyObject *sender, *reason;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Exit", names, &sender, &reason)) {
        return NULL;
    }
    PyObject* fields[2] = {sender, reason};
    return tsm_record_make(&TsmExit_Type, fields);
}

static PyObject*
down_new(PyTypeObject* Py_UNUSED(type), PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"ref", "pid", "reason", "tag", NULL};
    PyObject *ref, *pid, *reason, *tag = tsm_bind.s_down;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|O:Down", names, &ref, &pid, &reason,
                                     &tag)) {
        return NULL;
    }
    PyObject* fields[4] = {ref, pid, reason, tag};
    return tsm_record_make(&TsmDown_Type, fields);
}

PyObject*
tsm_record_tuple(PyObject* self)
{
    int n = record_size(Py_TYPE(self));
    PyObject* tuple = PyTuple_New(n);
    for (int i = 0; tuple != NULL && i < n; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(field(self, i)));
    }
    return tuple;
}

static PyObject*
record_repr(PyObject* self)
{
    PyObject* f[4] = {NULL};
    for (int i = 0; i < record_size(Py_TYPE(self)); i++) {
        f[i] = field(self, i);
    }
    if (Py_IS_TYPE(self, &TsmExit_Type)) {
        return PyUnicode_FromFormat("Exit(sender=%R, reason=%R)", f[0], f[1]);
    }
    return PyUnicode_FromFormat("Down(ref=%R, pid=%R, reason=%R, tag=%R)", f[0], f[1], f[2], f[3]);
}

static Py_hash_t
record_hash(PyObject* self)
{
    PyObject* tuple = tsm_record_tuple(self);
    if (tuple == NULL) {
        return -1;
    }
    Py_hash_t h = PyObject_Hash(tuple);
    Py_DECREF(tuple);
    return h;
}

static PyObject*
record_compare(PyObject* a, PyObject* b, int op)
{
    if (Py_TYPE(a) != Py_TYPE(b) || (op != Py_EQ && op != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    for (int i = 0; i < record_size(Py_TYPE(a)); i++) {
        int same = PyObject_RichCompareBool(field(a, i), field(b, i), Py_EQ);
        if (same <= 0) {
            return same < 0 ? NULL : PyBool_FromLong(op == Py_NE);
        }
    }
    return PyBool_FromLong(op == Py_EQ);
}

static int
record_traverse(PyObject* self, visitproc visit, void* arg)
{
    for (int i = 0; i < 4; i++) {
        Py_VISIT(((TsmRecord*)self)->fields[i]);
    }
    Py_VISIT(((TsmRecord*)self)->a_own);
    return 0;
}

static int
record_clear(PyObject* self)
{
    for (int i = 0; i < 4; i++) {
        Py_CLEAR(((TsmRecord*)self)->fields[i]);
    }
    Py_CLEAR(((TsmRecord*)self)->a_own);
    return 0;
}

static void
record_dealloc(PyObject* self)
{
    PyObject_GC_UnTrack(self);
    (void)record_clear(self);
    PyObject_GC_Del(self);
}

static PyObject*
record_reduce(PyObject* self, PyObject* Py_UNUSED(none))
{
    PyObject* tuple = tsm_record_tuple(self);
    return tuple == NULL ? NULL : Py_BuildValue("ON", Py_TYPE(self), tuple);
}

static PyMethodDef record_methods[] = {
    {"__reduce__", record_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

#define FIELD(name, i, doc) \
    {name, Py_T_OBJECT_EX, offsetof(TsmRecord, fields) + (i) * sizeof(PyObject*), Py_READONLY, doc}

static PyMemberDef exit_members[] = {
    FIELD("sender", 0, "Pid of the process that ended or sent the exit signal."),
    {NULL, 0, 0, 0, NULL},
};

static PyMemberDef down_members[] = {
    FIELD("ref", 0, "The reference monitor() returned."),
    FIELD("pid", 1, "The process watched, or (name, node) when watched by name."),
    FIELD("tag", 3, "The tag given to monitor(), else \"DOWN\"."),
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef exit_getset[] = {
    {"reason", get_reason, NULL, "Why: a word such as \"normal\", a tuple, or a Crash.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef down_getset[] = {
    {"reason", get_reason, NULL, "Why it ended; \"noproc\" when it was dead already.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define RECORD(c_name, py_name, new_, members_, getset_, doc_) \
    PyTypeObject c_name = { \
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = py_name, \
        .tp_basicsize = sizeof(TsmRecord), \
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC, \
        .tp_doc = doc_, \
        .tp_new = new_, \
        .tp_dealloc = record_dealloc, \
        .tp_traverse = record_traverse, \
        .tp_clear = record_clear, \
        .tp_repr = record_repr, \
        .tp_hash = record_hash, \
        .tp_richcompare = record_compare, \
        .tp_members = members_, \
        .tp_getset = getset_, \
        .tp_methods = record_methods, \
    }

RECORD(TsmExit_Type, "transom.Exit", exit_new, exit_members, exit_getset, tsm_doc_Exit_type);
RECORD(TsmDown_Type, "transom.Down", down_new, down_members, down_getset, tsm_doc_Down_type);

static PyObject*
pid_send(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    PyObject* full[3] = {self, NULL, NULL};
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    if (n != 1 || named > 1) {
        return PyErr_Format(PyExc_TypeError, "send() takes one message (%zd given)", n);
    }
    full[1] = args[0];
    if (named == 1) {
        full[2] = args[1];
    }
    return tsm_send(NULL, full, 2, kwnames);
}

static int
add_match_args(PyTypeObject* type, PyObject* names)
{
    if (names == NULL) {
        return -1;
    }
    int rc = PyDict_SetItemString(type->tp_dict, "__match_args__", names);
    Py_DECREF(names);
    return rc;
}

int
tsm_types_init(PyObject* module)
{
    PyTypeObject* types[] = {&TsmPid_Type, &TsmRef_Type, &TsmTimer_Type, &TsmExit_Type,
                             &TsmDown_Type, &TsmReceive_Type, &TsmShare_Type, &TsmMove_Type,
                             &TsmMethod_Type, &TsmBound_Type,
                             &TsmAgentRef_Type, &TsmCall_Type, &TsmServer_Type, &TsmAnyCall_Type,
                             &TsmIoLoop_Type, &TsmIoOp_Type, &TsmAio_Type,
                             &TsmHow_Type, &TsmStart_Type, &TsmStarting_Type, &TsmOrigin_Type};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (PyModule_AddType(module, types[i]) < 0) {
            return -1;
        }
    }
    if (add_match_args(&TsmExit_Type, Py_BuildValue("(ss)", "sender", "reason")) < 0
        || add_match_args(&TsmDown_Type, Py_BuildValue("(sss)", "ref", "pid", "reason")) < 0) {
        return -1;
    }
    return 0;
}
